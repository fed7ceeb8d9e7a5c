/* Pages of events with the memory behind them: the inside of reads (read.c) and iterators (iterator.c). */
#ifndef CLIENT_PAGE_H
#define CLIENT_PAGE_H

#include "client/client.h"

struct page {
	struct annal_page public; /* first: the user's pointer is ours */
	struct decode_events events;
	struct buffer raw; /* that they point into */
};

struct page *page_new(void);
void page_free(struct page *page); /* NULL is allowed */
/* From an answer in page->raw, whatever the page was before. */
bool page_decode(struct page *page, struct span answer);
/* Read into a page that is new, or not needed any more; it waits for the answer. */
enum annal_code page_read(struct annal_client *client, const struct annal_read *read,
			  struct page *page);

#endif
