/* Reads of one stream, as of one moment: see read.c. */
#include "base/assert.h"
#include "storage/list.h"
#include "storage/page.h"
#include "storage/system.h"

#include <errno.h>

struct reading_stream {
	struct store *store;
	struct span name;
	struct filling filling;
	struct stream_facts facts; /* as of the page's head */
	uint64_t version;          /* the next to look at */
};

static bool done_stream(const struct reading_stream *reading)
{
	return reading->filling.full || reading->version > reading->facts.version ||
	       reading->version < reading->facts.first_version || reading->version == 0;
}

static void step(struct reading_stream *reading)
{
	reading->version += reading->filling.range->backward ? UINT64_MAX : 1;
}

static void take_versions_from_tail(struct reading_stream *reading)
{
	struct tail_versions versions;

	if (done_stream(reading))
		return;
	tail_open_versions(&reading->store->tail, reading->name, &versions);
	while (!done_stream(reading)) {
		const struct tail_record *record = tail_version(&versions, reading->version);

		if (record == NULL ||
		    !filling_add(&reading->filling, span_of(record->bytes, record->size)))
			return;
		step(reading);
	}
}

/*
 * Until they are dropped, older records of a checkpoint may stand just before the one that versions
 * jumped to (tables.h): they are superseded, and not shown.
 */
static bool is_left_over(const struct reading_stream *reading, const uint8_t *record)
{
	return system_is_checkpoint_stream(reading->name) &&
	       record_version(record) < reading->version;
}

/* -ENODATA: this version was dropped. */
static int get_version(struct reading_stream *reading, struct list_reader *list,
		       struct block_reader *blocks, struct span *record, struct error *error)
{
	uint64_t position, hash;
	int rc = list_reader_get(list, reading->version, &position, error);

	if (rc == 0)
		rc = block_reader_get(blocks, position, record, &hash, error);
	if (rc != 0 && rc != -ENOENT && rc != -ENODATA)
		return rc;
	if (rc == 0 && is_left_over(reading, record->data))
		return -ENODATA;
	if (rc != 0 || record_version(record->data) != reading->version ||
	    !span_equal(record_stream(record->data), reading->name))
		return tables_damage(
			reading->store->kv, error,
			"the list of stream %.*s: version %llu is not at position %llu; it",
			(int)(reading->name.size < 100 ? reading->name.size : 100),
			(const char *)reading->name.data, (unsigned long long)reading->version,
			(unsigned long long)position);
	return 0;
}

/* More may have been dropped from a checkpoint's stream than was known before. */
static void know_first_version(struct reading_stream *reading, const struct stream_facts *stored)
{
	struct stream_facts *facts = &reading->facts;

	if (stored->first_version <= facts->first_version)
		return;
	facts->first_version = stored->first_version <= facts->version ? stored->first_version
								       : facts->version + 1;
	facts->created = stored->created;
	if (!reading->filling.range->backward && reading->version < facts->first_version)
		reading->version = facts->first_version;
}

/* All that a checkpoint's stream had was superseded and dropped meanwhile. */
static bool is_outdated(const struct reading_stream *reading)
{
	return system_is_checkpoint_stream(reading->name) &&
	       reading->facts.first_version > reading->facts.version;
}

static int take_versions(struct reading_stream *reading, struct list_reader *list,
			 struct block_reader *blocks, struct error *error)
{
	int rc = 0;

	if (reading->version > list->row.facts.version)
		return tables_damage(reading->store->kv, error, "a row of table stream");
	know_first_version(reading, &list->row.facts);
	while (rc == 0 && !done_stream(reading) && reading->version <= list->row.facts.version) {
		struct span record;

		rc = get_version(reading, list, blocks, &record, error);
		if (rc == -ENODATA)
			rc = 0;
		else if (rc != 0 || !filling_add(&reading->filling, record))
			break;
		step(reading);
	}
	return rc;
}

static int take_listed(struct reading_stream *reading, struct list_reader *list, struct kv_txn *txn,
		       struct error *error)
{
	struct block_reader blocks;
	int rc = block_reader_open(&blocks, txn, error);

	if (rc != 0)
		return rc;
	rc = take_versions(reading, list, &blocks, error);
	block_reader_close(&blocks);
	return rc;
}

static int take_versions_from_tables(struct reading_stream *reading, struct kv_txn *txn,
				     struct error *error)
{
	struct list_reader list;
	int rc = list_reader_open(&list, txn, TABLES_STREAMS, reading->name, error);

	if (rc == -ENOENT)
		return tables_damage(reading->store->kv, error,
				     "table stream: a row is missing; it");
	if (rc != 0)
		return rc;
	rc = take_listed(reading, &list, txn, error);
	list_reader_close(&list);
	return rc;
}

static int turn_stream(struct reading_stream *reading, struct error *error)
{
	struct store *store = reading->store;
	struct kv_txn *txn;
	bool again;

	take_versions_from_tail(reading);
	if (done_stream(reading))
		return 0;
	int rc = store_begin_read(store, &txn, &again, error);
	if (rc != 0 || again)
		return rc;
	pthread_rwlock_unlock(&store->tail.lock);
	rc = take_versions_from_tables(reading, txn, error);
	kv_abort(txn);
	pthread_rwlock_rdlock(&store->tail.lock);
	return rc;
}

/*
 * Facts and head of one moment. The lock is held on entry and on return, but not in between: a
 * stream that is not in the tail is, as of this head, as the transaction begun here shows it. So is
 * what was dropped of a checkpoint's stream, which the tail does not know.
 */
static int find_facts(struct store *store, struct span name, struct stream_facts *facts,
		      uint64_t *head, struct error *error)
{
	bool is_checkpoint = system_is_checkpoint_stream(name), in_tail = false;
	struct kv_txn *txn;
	struct tables_key key;
	struct tables_row row = {0};
	bool again = true;
	int rc = 0;

	while (rc == 0 && again) {
		*head = store->head.position;
		in_tail = tail_find_stream(&store->tail, name, facts);
		if (in_tail && !is_checkpoint)
			return 0;
		rc = store_begin_read(store, &txn, &again, error);
	}
	if (rc != 0)
		return rc;
	pthread_rwlock_unlock(&store->tail.lock);
	rc = tables_get_row(txn, TABLES_STREAMS, name, &key, &row, error);
	kv_abort(txn);
	pthread_rwlock_rdlock(&store->tail.lock);
	if (!in_tail) {
		*facts = row.facts;
	} else if (row.facts.first_version > facts->first_version) {
		facts->first_version = row.facts.first_version;
		facts->created = row.facts.created;
	}
	return rc == -ENOENT ? 0 : rc;
}

static void tell_status(const struct stream_facts *facts, uint64_t head,
			struct stream_status *status)
{
	*status = (struct stream_status){
		.state = facts->state,
		.version = facts->version,
		.first_version = facts->first_version,
		.created = facts->created,
		.updated = facts->updated,
		.head = head,
	};
	if (facts->first_version > 0)
		status->count = facts->version - facts->first_version + 1;
}

static uint64_t first_version(const struct read_range *range, const struct stream_facts *facts)
{
	if (range->backward)
		return range->from == 0 || range->from > facts->version ? facts->version
									: range->from;
	return range->from < facts->first_version ? facts->first_version : range->from;
}

static int take_settled(struct reading_stream *reading, struct kv_txn *txn, struct error *error)
{
	struct list_reader list;
	int rc = list_reader_open(&list, txn, TABLES_STREAMS, reading->name, error);

	if (rc == 0)
		reading->facts = list.row.facts;
	reading->version = first_version(reading->filling.range, &reading->facts);
	if (rc != 0)
		return rc == -ENOENT ? 0 : rc; /* there is no such stream */
	if (!done_stream(reading))
		rc = take_listed(reading, &list, txn, error);
	list_reader_close(&list);
	return rc;
}

/*
 * The usual case: a stream that the tail does not know is as one transaction shows it, and its row is
 * looked up once. *settled false: it is another case, and nothing has been done. The lock is held on
 * entry and on return.
 */
static int read_settled(struct reading_stream *reading, bool *settled, struct error *error)
{
	struct store *store = reading->store;
	struct stream_facts facts;
	struct kv_txn *txn;
	bool again;

	*settled = false;
	if (system_is_checkpoint_stream(reading->name) ||
	    tail_find_stream(&store->tail, reading->name, &facts))
		return 0;
	reading->filling.page->head = store->head.position;
	int rc = store_begin_read(store, &txn, &again, error);
	if (rc != 0 || again)
		return rc;
	pthread_rwlock_unlock(&store->tail.lock);
	rc = take_settled(reading, txn, error);
	kv_abort(txn);
	pthread_rwlock_rdlock(&store->tail.lock);
	*settled = true;
	return rc;
}

static void end_page(const struct reading_stream *reading, struct stream_status *status)
{
	const struct stream_facts *facts = &reading->facts;
	struct page *page = reading->filling.page;

	page->next = reading->version;
	page->end = facts->version == 0 ||
		    (reading->filling.range->backward
			     ? reading->version == 0 || reading->version < facts->first_version
			     : reading->version > facts->version);
	tell_status(facts, page->head, status);
}

int store_read_stream(struct store *store, struct span stream, const struct read_range *range,
		      struct page *page, struct stream_status *status, struct error *error)
{
	struct reading_stream reading = {
		.store = store, .name = stream, .filling = filling_begin(range, page)};

	bool settled;

	ASSERT(stream.size >= 1);
	pthread_rwlock_rdlock(&store->tail.lock);
	int rc = read_settled(&reading, &settled, error);

	while (rc == 0 && !settled) {
		rc = find_facts(store, stream, &reading.facts, &page->head, error);
		reading.version = first_version(range, &reading.facts);
		while (rc == 0 && !done_stream(&reading))
			rc = turn_stream(&reading, error);
		settled = page->count > 0 || !is_outdated(&reading);
	}
	pthread_rwlock_unlock(&store->tail.lock);
	end_page(&reading, status);
	return rc;
}

/* ---- at once ---- */

/* Whether the page lies in the tail as a whole; then it is taken, unless it proves large. */
static bool take_at_once(struct reading_stream *reading)
{
	const struct read_range *range = reading->filling.range;
	const struct page *page = reading->filling.page;
	struct tail_versions versions;

	if (done_stream(reading))
		return true;
	uint64_t left = range->backward ? reading->version - reading->facts.first_version
					: reading->facts.version - reading->version;
	uint64_t count = left < range->limit ? left + 1 : range->limit;

	tail_open_versions(&reading->store->tail, reading->name, &versions);
	if (count > LIMIT_AT_ONCE_RECORDS ||
	    tail_version(&versions, range->backward ? reading->version - (count - 1)
						    : reading->version) == NULL)
		return false;
	while (!done_stream(reading)) {
		const struct tail_record *record = tail_version(&versions, reading->version);
		size_t used = page->records.size - reading->filling.start;

		if (record == NULL || used + record->size > LIMIT_AT_ONCE_BYTES)
			return false;
		if (!filling_add(&reading->filling, span_of(record->bytes, record->size)))
			return true;
		step(reading);
	}
	return true;
}

bool store_read_stream_at_once(struct store *store, struct span stream,
			       const struct read_range *range, struct page *page,
			       struct stream_status *status)
{
	struct reading_stream reading = {
		.store = store, .name = stream, .filling = filling_begin(range, page)};
	bool taken = false;

	if (system_is_checkpoint_stream(stream) || pthread_rwlock_tryrdlock(&store->tail.lock) != 0)
		return false;
	if (tail_find_stream(&store->tail, stream, &reading.facts)) {
		page->head = store->head.position;
		reading.version = first_version(range, &reading.facts);
		taken = take_at_once(&reading);
	}
	pthread_rwlock_unlock(&store->tail.lock);
	if (taken)
		end_page(&reading, status);
	return taken;
}

int store_stream_status(struct store *store, struct span stream, struct stream_status *status,
			struct error *error)
{
	struct stream_facts facts;
	uint64_t head;

	pthread_rwlock_rdlock(&store->tail.lock);
	int rc = find_facts(store, stream, &facts, &head, error);
	pthread_rwlock_unlock(&store->tail.lock);
	if (rc == 0)
		tell_status(&facts, head, status);
	return rc;
}
