/* Pages of results, and the transactions that they are read in. */
#include "storage/page.h"

#include "base/assert.h"

#include <errno.h>

struct filling filling_begin(const struct read_range *range, struct page *page)
{
	ASSERT(range->limit >= 1);
	page->count = 0;
	page->next = 0;
	page->end = false;
	return (struct filling){.range = range, .page = page, .start = page->records.size};
}

bool filling_add(struct filling *filling, struct span record)
{
	struct page *page = filling->page;
	size_t used = page->records.size - filling->start;

	ASSERT(!filling->full);
	if (page->count > 0 &&
	    (used >= filling->range->bytes_max || record.size > filling->range->bytes_max - used)) {
		filling->full = true;
		return false;
	}
	buffer_append_span(&page->records, record);
	page->count++;
	filling->full = page->count >= filling->range->limit;
	return true;
}

int store_begin_read(struct store *store, struct kv_txn **txn, bool *again, struct error *error)
{
	int rc = kv_begin(store->kv, KV_READ_TRY, txn, error);

	*again = rc == -EAGAIN;
	if (!*again)
		return rc;
	pthread_rwlock_unlock(&store->tail.lock);
	rc = kv_begin(store->kv, KV_READ, txn, error); /* waits until the map has grown */
	if (rc == 0)
		kv_abort(*txn);
	pthread_rwlock_rdlock(&store->tail.lock);
	return rc;
}
