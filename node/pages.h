/*
 * Memory of pages that were sent, for the next ones: a page of some MiB that is made anew each time
 * costs more for its fresh memory than for its content. LIMIT_PAGES_KEPT_BYTES at most. Any thread.
 */
#ifndef NODE_PAGES_H
#define NODE_PAGES_H

#include "base/buffer.h"

#include <stdbool.h>

struct pages;

struct pages *pages_new(void);
void pages_free(struct pages *pages);
/* An empty buffer, with memory if there is some: that of a page of some 100 KiB at most, or a larger one.
 * `into` is initialised here. */
void pages_take(struct pages *pages, bool large, struct buffer *into);
/* The buffer's memory is kept, or freed; it is left empty, without any. */
void pages_give(struct pages *pages, struct buffer *buffer);

#endif
