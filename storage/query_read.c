/* Reads by query. */
#include "base/assert.h"
#include "storage/page.h"

#include <errno.h>

#define STEP_RECORDS 1024

static bool matches(const struct query *query, struct span bytes)
{
	struct record record;
	int rc = record_parse(bytes, &record);

	ASSERT(rc == 0);
	return query_matches(query, &record);
}

/* Go through the records of a page: add those that match to the filling. */
static void take_matches(const struct query *query, const struct page *all, uint64_t head,
			 struct filling *filling, uint64_t *next)
{
	struct span rest = buffer_span(&all->records);
	struct record record;

	for (uint32_t i = 0; i < all->count; i++) {
		int rc = record_parse(rest, &record);

		ASSERT(rc == 0);
		if (record.position > head)
			return;
		if (query_matches(query, &record) && !filling_add(filling, record.bytes))
			return;
		*next = record.position + (filling->range->backward ? UINT64_MAX : 1);
		if (filling->full)
			return;
		rest = span_of(record.bytes.data + record.bytes.size,
			       rest.size - record.bytes.size);
	}
	*next = all->next;
}

static bool is_end(const struct read_range *range, uint64_t next, uint64_t head)
{
	return range->backward ? next == 0 : next > head;
}

int store_read_query(struct store *store, const struct query *query, const struct read_range *range,
		     struct page *page, struct error *error)
{
	struct filling filling = filling_begin(range, page);
	struct read_range step = {.from = range->from,
				  .backward = range->backward,
				  .limit = STEP_RECORDS,
				  .bytes_max = LIMIT_READ_BYTES_DEFAULT};
	struct page all;
	int rc;

	buffer_init(&all.records);
	for (bool first = true;; first = false) {
		buffer_clear(&all.records);
		rc = store_read_all(store, &step, true, &all, error);
		if (rc != 0)
			break;
		if (first)
			page->head = all.head;
		take_matches(query, &all, page->head, &filling, &step.from);
		if (filling.full || is_end(range, step.from, page->head))
			break;
	}
	buffer_close(&all.records);
	page->next = step.from;
	page->end = is_end(range, page->next, page->head);
	return rc;
}

int store_count(struct store *store, const struct query *query, struct query_tally *tally,
		struct error *error)
{
	struct read_range range = {
		.from = tally->next, .limit = STEP_RECORDS, .bytes_max = LIMIT_READ_BYTES_DEFAULT};
	struct page page;

	buffer_init(&page.records);
	int rc = store_read_query(store, query, &range, &page, error);
	struct span rest = buffer_span(&page.records);

	if (rc == 0 && tally->next == 0)
		tally->head = page.head;
	for (uint32_t i = 0; rc == 0 && i < page.count; i++) {
		struct record record;

		rc = record_parse(rest, &record);
		ASSERT(rc == 0);
		tally->count += record.position <= tally->head;
		rest = span_of(record.bytes.data + record.bytes.size,
			       rest.size - record.bytes.size);
	}
	if (rc == 0) {
		tally->next = page.next;
		tally->end = page.next > tally->head;
	}
	buffer_close(&page.records);
	return rc;
}

int store_find_match(struct store *store, const struct query *query, uint64_t after,
		     uint64_t *position, struct error *error)
{
	uint64_t looked_at = 0, found = 0;
	struct buffer record;
	int rc = 0;

	buffer_init(&record);
	for (uint64_t at = after + 1; rc == 0 && found == 0 && at <= store->head.position; at++) {
		const struct tail_record *in_tail = tail_find(&store->tail, at);
		struct kv_txn *txn;

		buffer_clear(&record);
		if (in_tail != NULL)
			buffer_append(&record, in_tail->bytes, in_tail->size);
		else if ((rc = store_lookup_txn(store, &txn, error)) == 0)
			rc = store_get_record(txn, at, &record, NULL, error);
		if (rc == 0 && matches(query, buffer_span(&record)))
			found = at;
		if (rc == 0 && found == 0 && query_item_count(query) > 0 &&
		    query_item(query, 0)->prefix.size > 0 && ++looked_at > LIMIT_CONDITION_SCAN)
			rc = error_set(error, -E2BIG, "more than %u events to look at",
				       LIMIT_CONDITION_SCAN);
	}
	buffer_close(&record);
	if (rc == 0)
		*position = found;
	return rc;
}
