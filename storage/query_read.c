/*
 * Reads by query, and counts.
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
