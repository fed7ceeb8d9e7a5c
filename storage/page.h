/*
 * Filling pages of results: the inside of a store, shared by the read paths.
 *
 * Every page is of one moment: the head is noted under the tail's lock, and nothing beyond it is
 * looked at. What is in the tail is copied under the lock; what is not is in the tables for good, and
 * is read in a transaction begun under the lock, without holding it.
 */
#ifndef STORAGE_PAGE_H
#define STORAGE_PAGE_H

#include "storage/store_inside.h"

struct filling {
	const struct read_range *range;
	struct page *page;
	size_t start; /* of the page in its buffer */
	bool full;
};

/* The first position that a range wants, as of a head; backward 0 when there is none. */
static inline uint64_t range_first_position(const struct read_range *range, uint64_t head)
{
	if (range->backward)
		return range->from == 0 || range->from > head ? head : range->from;
	return range->from == 0 ? 1 : range->from;
}

struct filling filling_begin(const struct read_range *range, struct page *page);
/* false: the record does not fit any more, and the page is full. */
bool filling_add(struct filling *filling, struct span record);

/*
 * Begin a read transaction under the tail's lock, which is held for reading. The lock may be let go
 * and taken again: then *again is set, there is no transaction, and what was looked at has changed.
 */
int store_begin_read(struct store *store, struct kv_txn **txn, bool *again, struct error *error);

#endif
