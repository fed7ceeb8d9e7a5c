/*
 * Reads by query, counts, and conditions.
 *
 * A read goes through its range in turns, as those of read.c do: each turn is on one side, the tail
 * under its lock or the tables in a transaction, opens a matcher there, and takes what it finds. So
 * that nobody waits long for the lock, and no transaction lasts, a turn ends after some steps, too.
 */
#include "base/assert.h"
#include "storage/page.h"

#include <errno.h>

#define TAIL_STEPS   16384u  /* seeks in lists while the tail's lock is held */
#define TABLES_STEPS 262144u /* the same in one transaction */
#define COUNT_TURNS  4u      /* of one store_count */

struct reading_query {
	struct store *store;
	const struct query *query;
	struct matcher matcher;
	bool backward;
	uint64_t head;
	uint64_t position;         /* the next to look at; backward, 0 when done */
	uint64_t looks;            /* left */
	bool stopped;              /* the page is full, or the looks are used up */
	struct filling *filling;   /* of a read */
	struct query_tally *tally; /* of a count */
};

static bool is_through(const struct reading_query *reading)
{
	return reading->backward ? reading->position == 0 : reading->position > reading->head;
}

/* ---- a turn: positions from low to high, on one side ---- */

static int take_match(struct reading_query *reading, uint64_t position, struct error *error)
{
	struct span record;

	reading->position = position;
	if (reading->tally != NULL) {
		reading->tally->count++;
	} else {
		int rc = matcher_record(&reading->matcher, position, &record, error);

		if (rc != 0)
			return rc;
		reading->stopped = !filling_add(reading->filling, record);
		if (reading->stopped)
			return 0;
		reading->stopped = reading->filling->full;
	}
	reading->position += reading->backward ? UINT64_MAX : 1;
	return 0;
}

static int take_matches(struct reading_query *reading, uint64_t low, uint64_t high,
			struct error *error)
{
	struct matcher *matcher = &reading->matcher;
	bool backward = reading->backward;
	uint64_t key = list_key(reading->position, backward);
	enum matcher_result result;
	int rc = 0;

	matcher->last_key = list_key(backward ? low : high, backward);
	matcher->looks = reading->looks;
	do {
		rc = matcher_next(matcher, &key, &result, error);
		if (rc == 0 && result == MATCHER_FOUND) {
			rc = take_match(reading, list_key(key, backward), error);
			key++;
		}
	} while (rc == 0 && result == MATCHER_FOUND && !reading->stopped);
	reading->looks = matcher->looks;
	if (rc != 0 || result == MATCHER_FOUND)
		return rc;
	reading->stopped = result == MATCHER_NO_LOOKS;
	if (result == MATCHER_END)
		reading->position = backward ? low - 1 : high + 1;
	else
		reading->position = list_key(key, backward);
	return 0;
}

/* When one list decides all, its ordinals tell how many there are. */
static int take_rank(struct reading_query *reading, struct list_cursor *list, uint64_t high,
		     struct error *error)
{
	uint64_t before, rank;
	int rc = list_cursor_rank(list, reading->position - 1, &before, error);

	if (rc == 0)
		rc = list_cursor_rank(list, high, &rank, error);
	if (rc != 0)
		return rc;
	reading->tally->count += rank - before;
	reading->position = high + 1;
	return 0;
}

/* On the side that the matcher was opened on; closes it. */
static int run_turn(struct reading_query *reading, uint64_t low, uint64_t high, uint64_t steps,
		    struct error *error)
{
	struct list_cursor *single =
		reading->tally == NULL ? NULL : matcher_single(&reading->matcher);

	reading->matcher.steps = steps;
	int rc = single != NULL ? take_rank(reading, single, high, error)
				: take_matches(reading, low, high, error);
	matcher_close(&reading->matcher);
	return rc;
}

/* The lock is held on entry and on return, and let go in between. */
static int turn(struct reading_query *reading, struct error *error)
{
	struct store *store = reading->store;
	uint64_t first = tail_first_position(&store->tail);
	struct kv_txn *txn;
	bool again;

	if (reading->position >= first) {
		matcher_open_tail(&reading->matcher, reading->query, &store->tail,
				  reading->backward);
		int rc = run_turn(reading, first, reading->head, TAIL_STEPS, error);

		pthread_rwlock_unlock(&store->tail.lock); /* whoever waits for it comes first */
		pthread_rwlock_rdlock(&store->tail.lock);
		return rc;
	}
	int rc = store_begin_read(store, &txn, &again, error);
	if (rc != 0 || again)
		return rc;
	pthread_rwlock_unlock(&store->tail.lock);
	rc = matcher_open_tables(&reading->matcher, reading->query, txn, reading->backward, error);
	if (rc == 0) /* a flush may have moved what was applied behind the head of this page */
		rc = run_turn(reading, 1, first <= reading->head ? first - 1 : reading->head,
			      TABLES_STEPS, error);
	kv_abort(txn);
	pthread_rwlock_rdlock(&store->tail.lock);
	return rc;
}

/* ---- doors ---- */

int store_read_query(struct store *store, const struct query *query, const struct read_range *range,
		     struct page *page, struct error *error)
{
	struct filling filling = filling_begin(range, page);
	struct reading_query reading = {.store = store,
					.query = query,
					.backward = range->backward,
					.looks = LIMIT_SCAN_RECORDS,
					.filling = &filling};
	int rc = 0;

	if (query_is_all(query))
		return store_read_all(store, range, false, page, error);
	pthread_rwlock_rdlock(&store->tail.lock);
	page->head = store->head.position;
	reading.head = page->head;
	reading.position = range_first_position(range, page->head);
	while (rc == 0 && !reading.stopped && !is_through(&reading))
		rc = turn(&reading, error);
	pthread_rwlock_unlock(&store->tail.lock);
	matcher_free(&reading.matcher);
	page->next = reading.position;
	page->end = is_through(&reading);
	return rc;
}

int store_count(struct store *store, const struct query *query, struct query_tally *tally,
		struct error *error)
{
	struct reading_query reading = {.store = store,
					.query = query,
					.position = tally->next,
					.looks = LIMIT_SCAN_RECORDS,
					.tally = tally};
	int rc = 0;

	ASSERT(!tally->end);
	pthread_rwlock_rdlock(&store->tail.lock);
	if (tally->next == 0) {
		tally->head = store->head.position;
		reading.position = 1;
	}
	reading.head = tally->head;
	if (query_is_all(query)) {
		tally->count = store->event_count;
		reading.position = tally->head + 1;
	}
	for (uint32_t i = 0; rc == 0 && i < COUNT_TURNS; i++)
		if (!reading.stopped && !is_through(&reading))
			rc = turn(&reading, error);
	pthread_rwlock_unlock(&store->tail.lock);
	matcher_free(&reading.matcher);
	tally->next = reading.position;
	tally->end = is_through(&reading);
	return rc;
}

/* ---- conditions: on the apply thread, under the apply lock ---- */

/* Whether there is a match from `from` to `last`, on the side that the matcher was opened on. */
static int find_match(struct matcher *matcher, uint64_t from, uint64_t last, uint64_t *looks,
		      uint64_t *position, struct error *error)
{
	enum matcher_result result;

	matcher->last_key = last;
	matcher->looks = *looks;
	matcher->count_dropped = true;
	int rc = matcher_next(matcher, &from, &result, error);
	*looks = matcher->looks;
	matcher_close(matcher);
	if (rc == 0 && result == MATCHER_NO_LOOKS)
		rc = error_set(error, -E2BIG, "the prefix leaves more than %u records to look at",
			       LIMIT_CONDITION_SCAN);
	if (rc == 0 && result == MATCHER_FOUND)
		*position = from;
	return rc;
}

/* The first event of the tables from `from` to `last`. */
static int find_event_in_tables(struct kv_txn *txn, uint64_t from, uint64_t last,
				uint64_t *position, struct error *error)
{
	struct block_reader blocks;
	int rc = block_reader_open(&blocks, txn, error);

	if (rc != 0)
		return rc;
	for (uint64_t at = from; rc == 0 && *position == 0 && at <= last; at++) {
		struct span record;
		uint64_t hash;

		rc = block_reader_get(&blocks, at, &record, &hash, error);
		if (rc == 0 && !record_is_system(record.data))
			*position = at;
		if (rc == -ENODATA) {
			at = blocks.hole.last;
			rc = 0;
		}
	}
	block_reader_close(&blocks);
	if (rc == -ENOENT)
		rc = tables_damage(txn->kv, error, "the block table: a position from %llu on",
				   (unsigned long long)from);
	return rc;
}

static int find_in_tables(struct store *store, const struct query *query, uint64_t from,
			  uint64_t last, uint64_t *looks, uint64_t *position, struct error *error)
{
	struct kv_txn *txn;
	int rc = store_lookup_txn(store, &txn, error);

	if (rc != 0)
		return rc;
	if (query_is_all(query))
		return find_event_in_tables(txn, from, last, position, error);
	rc = matcher_open_tables(&store->matcher, query, txn, false, error);
	return rc == 0 ? find_match(&store->matcher, from, last, looks, position, error) : rc;
}

static int find_in_tail(struct store *store, const struct query *query, uint64_t from,
			uint64_t *looks, uint64_t *position, struct error *error)
{
	uint64_t head = store->head.position;

	if (query_is_all(query)) {
		for (uint64_t at = from; *position == 0 && at <= head; at++) {
			const struct tail_record *record = tail_find(&store->tail, at);

			if (record != NULL && !record_is_system(record->bytes))
				*position = at;
		}
		return 0;
	}
	matcher_open_tail(&store->matcher, query, &store->tail, false);
	return find_match(&store->matcher, from, head, looks, position, error);
}

int store_find_match(struct store *store, const struct query *query, uint64_t after,
		     uint64_t *position, struct error *error)
{
	uint64_t first = tail_first_position(&store->tail);
	uint64_t looks = LIMIT_CONDITION_SCAN, found = 0;
	int rc = 0;

	if (after < store->head.position && after + 1 < first)
		rc = find_in_tables(store, query, after + 1, first - 1, &looks, &found, error);
	if (rc == 0 && found == 0 && after < store->head.position)
		rc = find_in_tail(store, query, after + 1 > first ? after + 1 : first, &looks,
				  &found, error);
	if (rc == 0)
		*position = found;
	return rc;
}
