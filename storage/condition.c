/*
 * Conditions of appends: whether an event behind a position matches. On the apply thread, under the apply
 * lock.
 *
 * All other appends wait meanwhile, so what it takes is bounded (machine.h, struct match_budget); and it
 * must come to the same answer on every node, wherever the tail begins. For that the items of a query are
 * gone through one after the other, each in the tables and then in the tail.
 *
 * An item with several parts is searched for so many rounds through its lists that, if they do not do,
 * each part has more events than the budget allows. What is found before that is counted exactly, unless
 * the lists are so short that they are within the budget anyway.
 */
#include "base/assert.h"
#include "base/mutant.h"
#include "storage/store_inside.h"

#include <errno.h>

struct deciding {
	struct store *store;
	struct query item; /* a query with one item, borrowed */
	uint64_t first;    /* position of the tail */
	uint64_t after, last;
	struct match_budget *budget;
	uint64_t found;        /* 0: nothing */
	struct buffer *counts; /* uint64_t for each part of the item */
};

static int refuse(struct error *error)
{
	return error_set(error, -E2BIG, "the condition would look at too many events");
}

static bool has_tables(const struct deciding *deciding)
{
	return deciding->after + 1 < deciding->first;
}

static bool has_tail(const struct deciding *deciding, uint64_t last)
{
	return last >= deciding->first;
}

/* ---- the two sides ---- */

static int open_tables(struct deciding *deciding, struct error *error)
{
	struct store *store = deciding->store;
	struct kv_txn *txn;
	int rc = store_lookup_txn(store, &txn, error);

	store->matcher.decides = true;
	return rc == 0 ? matcher_open_tables(&store->matcher, &deciding->item, txn, false, error)
		       : rc;
}

static void open_tail(struct deciding *deciding)
{
	struct store *store = deciding->store;

	store->matcher.decides = true;
	matcher_open_tail(&store->matcher, &deciding->item, &store->tail, false);
}

static uint64_t *counts_of(struct deciding *deciding)
{
	uint32_t count = matcher_group_count(&deciding->store->matcher);
	size_t size = count * sizeof(uint64_t);

	if (deciding->counts->size < size) {
		buffer_clear(deciding->counts);
		memset(buffer_reserve(deciding->counts, size), 0, size);
		deciding->counts->size = size;
	}
	return (uint64_t *)(void *)deciding->counts->data;
}

/* Search from `from` to `last` on the side that the matcher was opened on; closes it. */
static int search(struct deciding *deciding, uint64_t from, uint64_t last, struct error *error)
{
	struct matcher *matcher = &deciding->store->matcher;
	enum matcher_result result;

	matcher->last_key = last;
	matcher->looks = deciding->budget->looks;
	/* In all but the last of them each part goes on by an event: that is one more than it may be. */
	matcher->rounds = deciding->budget->depth + 2;
	matcher_add_sizes(matcher, counts_of(deciding));
	int rc = matcher_next(matcher, &from, &result, error);
	deciding->budget->looks = matcher->looks;
	matcher_close(matcher);
	if (rc != 0)
		return rc;
	if (result == MATCHER_NO_LOOKS || result == MATCHER_NO_STEPS)
		return refuse(error);
	if (result == MATCHER_FOUND)
		deciding->found = from;
	return 0;
}

static int search_sides(struct deciding *deciding, struct error *error)
{
	uint64_t after = deciding->after, first = deciding->first, last = deciding->last;
	int rc = 0;

	if (has_tables(deciding) && !MUTANT(TABLES_IGNORED)) {
		rc = open_tables(deciding, error);
		if (rc == 0)
			rc = search(deciding, after + 1, last < first ? last : first - 1, error);
	}
	if (rc != 0 || deciding->found != 0 || !has_tail(deciding, last) || MUTANT(TAIL_IGNORED))
		return rc;
	open_tail(deciding);
	return search(deciding, after + 1 > first ? after + 1 : first, last, error);
}

/* ---- the bound on items with several parts ---- */

static bool is_within(struct deciding *deciding)
{
	const uint64_t *counts = (const uint64_t *)(const void *)deciding->counts->data;
	size_t count = deciding->counts->size / sizeof counts[0];
	bool within = count < 2;

	for (size_t i = 0; i < count; i++)
		within = within || counts[i] <= deciding->budget->depth;
	return within;
}

/* How many events each part has, behind `after` and up to `last`. */
static int count_exactly(struct deciding *deciding, uint64_t last, struct error *error)
{
	struct matcher *matcher = &deciding->store->matcher;
	uint64_t after = deciding->after, first = deciding->first;
	int rc = 0;

	memset(deciding->counts->data, 0, deciding->counts->size);
	if (has_tables(deciding)) {
		rc = open_tables(deciding, error);
		if (rc != 0)
			return rc;
		rc = matcher_add_between(matcher, after, last < first ? last : first - 1,
					 counts_of(deciding), error);
		matcher_close(matcher);
	}
	if (rc != 0 || !has_tail(deciding, last))
		return rc;
	open_tail(deciding);
	rc = matcher_add_between(matcher, after + 1 > first ? after : first - 1, last,
				 counts_of(deciding), error);
	matcher_close(matcher);
	return rc;
}

static int decide_item(struct deciding *deciding, struct error *error)
{
	buffer_clear(deciding->counts);
	deciding->found = 0;
	int rc = search_sides(deciding, error);

	if (rc != 0 || is_within(deciding))
		return rc;
	rc = count_exactly(deciding, deciding->found != 0 ? deciding->found : deciding->last,
			   error);
	return rc != 0 || is_within(deciding) ? rc : refuse(error);
}

static int decide_items(struct deciding *deciding, const struct query *query, uint64_t *position,
			struct error *error)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < query_item_count(query); i++) {
		deciding->item = *query;
		deciding->item.items.data += i * sizeof(struct query_item);
		deciding->item.items.size = sizeof(struct query_item);
		rc = decide_item(deciding, error);
		if (rc != 0 || deciding->found == 0)
			continue;
		*position = deciding->found;
		deciding->last = deciding->found - 1;
		if (deciding->last == deciding->after)
			break;
	}
	return rc;
}

/* ---- "all" ---- */

/* Over what is no event: a system record, or a part of a hole; false: the looks are used up. */
static bool skip(struct deciding *deciding, uint64_t *at, uint64_t count)
{
	uint64_t *looks = &deciding->budget->looks;

	if (*looks < count)
		return false;
	*looks -= count;
	*at += count;
	return true;
}

/* To the first event at or behind *at, or to where the tail begins. */
static int skip_in_tables(struct deciding *deciding, uint64_t *at, struct error *error)
{
	struct block_reader blocks;
	struct kv_txn *txn;
	int rc = store_lookup_txn(deciding->store, &txn, error);

	if (rc == 0)
		rc = block_reader_open(&blocks, txn, error);
	if (rc != 0)
		return rc;
	while (rc == 0 && *at < deciding->first) {
		struct span record;
		uint64_t hash, count = 1;

		rc = block_reader_get(&blocks, *at, &record, &hash, error);
		if (rc == 0 && !record_is_system(record.data))
			break;
		if (rc == -ENODATA)
			count = blocks.hole.last - *at + 1;
		if (rc == 0 || rc == -ENODATA)
			rc = skip(deciding, at, count) ? 0 : refuse(error);
	}
	block_reader_close(&blocks);
	return rc == -ENOENT ? tables_damage(txn->kv, error, "the block table: position %llu",
					     (unsigned long long)*at)
			     : rc;
}

static int skip_in_tail(struct deciding *deciding, uint64_t *at, struct error *error)
{
	while (*at >= deciding->first && *at < deciding->last) {
		const struct tail_record *record = tail_find(&deciding->store->tail, *at);

		if (record != NULL && !record_is_system(record->bytes))
			break;
		if (!skip(deciding, at, 1))
			return refuse(error);
	}
	return 0;
}

/* There is one, at `last` or before it. */
static int find_first_event(struct deciding *deciding, uint64_t *position, struct error *error)
{
	uint64_t at = deciding->after + 1;
	int rc = skip_in_tables(deciding, &at, error);

	if (rc == 0)
		rc = skip_in_tail(deciding, &at, error);
	if (rc == 0)
		*position = at;
	return rc;
}

/* ---- door ---- */

int store_find_match(struct store *store, const struct query *query, uint64_t after,
		     struct match_budget *budget, uint64_t *position, struct error *error)
{
	struct deciding deciding = {.store = store,
				    .first = tail_first_position(&store->tail),
				    .after = after,
				    .last = store->last_event,
				    .budget = budget,
				    .counts = &store->counts};
	uint64_t found = 0;
	int rc = 0;

	if (after < store->last_event)
		rc = query_is_all(query) ? find_first_event(&deciding, &found, error)
					 : decide_items(&deciding, query, &found, error);
	if (rc == 0)
		*position = found;
	return rc;
}
