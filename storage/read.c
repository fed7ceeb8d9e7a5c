/*
 * Reads: the tables up to some position, the tail beyond it, as one consistent page.
 *
 * A read notes the head under the tail's lock and never looks beyond it. It goes through its range
 * in turns: what is in the tail is copied under the lock; what is not is in the tables for good,
 * and is read in a transaction begun under the lock, without holding the lock. A flush that ends in
 * between moves records from the tail to the tables, and only means another turn.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "storage/page.h"

#include <errno.h>

static struct span record_span(const struct tail_record *record)
{
	return span_of(record->bytes, record->size);
}

/* ---- all records ---- */

struct reading_all {
	struct store *store;
	struct filling filling;
	bool with_system;
	bool raw;          /* with holes */
	uint64_t position; /* the next to look at; backward, 0 when done */
	uint64_t scanned;
};

static bool done_all(const struct reading_all *reading)
{
	bool backward = reading->filling.range->backward;
	uint64_t head = reading->filling.page->head;

	return reading->filling.full || reading->scanned >= LIMIT_SCAN_RECORDS ||
	       (backward ? reading->position == 0 : reading->position > head);
}

/* Take one record into account; false when the page was full already. */
static bool take_record(struct reading_all *reading, struct span record)
{
	bool wanted = reading->with_system || !record_is_system(record.data);

	if (wanted && !filling_add(&reading->filling, record))
		return false;
	reading->scanned++;
	reading->position += reading->filling.range->backward ? UINT64_MAX : 1;
	return true;
}

/* Over a hole in one step; in a raw page it is told. false when the page was full already. */
static bool take_hole(struct reading_all *reading, const struct hole *hole)
{
	uint8_t bytes[HOLE_BYTES];

	ASSERT(hole->first <= reading->position && reading->position <= hole->last);
	if (reading->raw) {
		hole_encode(hole, bytes);
		if (!filling_add(&reading->filling, span_of(bytes, sizeof bytes)))
			return false;
	}
	reading->position = reading->filling.range->backward ? hole->first - 1 : hole->last + 1;
	return true;
}

static void take_from_tail(struct reading_all *reading)
{
	const struct tail *tail = &reading->store->tail;
	bool taken = true;

	while (taken && !done_all(reading)) {
		const struct tail_record *record = tail_find(tail, reading->position);
		const struct hole *hole =
			record == NULL ? tail_find_hole(tail, reading->position) : NULL;

		if (record != NULL)
			taken = take_record(reading, record_span(record));
		else
			taken = hole != NULL && take_hole(reading, hole);
	}
}

/* From the tables, up to `last` (forward) or downwards. */
static int take_from_tables(struct reading_all *reading, struct kv_txn *txn, uint64_t last,
			    struct error *error)
{
	struct block_reader blocks;
	int rc = block_reader_open(&blocks, txn, error);

	if (rc != 0)
		return rc;
	while (!done_all(reading) && reading->position <= last) {
		struct span record;
		uint64_t hash;

		rc = block_reader_get(&blocks, reading->position, &record, &hash, error);
		if (rc == -ENOENT)
			rc = tables_damage(reading->store->kv, error,
					   "the block table: position %llu",
					   (unsigned long long)reading->position);
		if (rc == -ENODATA) {
			rc = 0;
			if (!take_hole(reading, &blocks.hole))
				break;
		} else if (rc != 0 || !take_record(reading, record)) {
			break;
		}
	}
	block_reader_close(&blocks);
	return rc;
}

/* One turn: what the tail has, then what the tables have. The lock is held on entry and on return.
 */
static int turn_all(struct reading_all *reading, struct error *error)
{
	struct store *store = reading->store;
	struct kv_txn *txn;
	bool again;

	take_from_tail(reading);
	if (done_all(reading))
		return 0;
	uint64_t last = tail_first_position(&store->tail) - 1;
	int rc = store_begin_read(store, &txn, &again, error);
	if (rc != 0 || again)
		return rc;
	pthread_rwlock_unlock(&store->tail.lock);
	rc = take_from_tables(reading, txn, last, error);
	kv_abort(txn);
	pthread_rwlock_rdlock(&store->tail.lock);
	return rc;
}

static uint64_t first_position(const struct read_range *range, uint64_t head)
{
	if (range->backward)
		return range->from == 0 || range->from > head ? head : range->from;
	return range->from == 0 ? 1 : range->from;
}

static int read_page(struct reading_all *reading, const struct read_range *range, struct page *page,
		     struct error *error)
{
	struct store *store = reading->store;
	int rc = 0;

	pthread_rwlock_rdlock(&store->tail.lock);
	page->head = store->head.position;
	reading->position = first_position(range, page->head);
	while (rc == 0 && !done_all(reading))
		rc = turn_all(reading, error);
	pthread_rwlock_unlock(&store->tail.lock);
	page->next = reading->position;
	page->end = range->backward ? reading->position == 0 : reading->position > page->head;
	return rc;
}

int store_read_all(struct store *store, const struct read_range *range, bool with_system,
		   struct page *page, struct error *error)
{
	struct reading_all reading = {
		.store = store, .filling = filling_begin(range, page), .with_system = with_system};

	return read_page(&reading, range, page, error);
}

int store_read_raw(struct store *store, const struct read_range *range, struct page *page,
		   struct error *error)
{
	struct reading_all reading = {.store = store,
				      .filling = filling_begin(range, page),
				      .with_system = true,
				      .raw = true};

	ASSERT(!range->backward);
	return read_page(&reading, range, page, error);
}

/* ---- single records ---- */

/* -ENODATA: *hole. */
static int get_record(struct kv_txn *txn, uint64_t position, struct buffer *into, uint64_t *hash,
		      struct hole *hole, struct error *error)
{
	struct block_reader blocks;
	struct span record;
	uint64_t after;
	int rc = block_reader_open(&blocks, txn, error);

	if (rc != 0)
		return rc;
	rc = block_reader_get(&blocks, position, &record, &after, error);
	if (rc == 0 && into != NULL)
		buffer_append_span(into, record);
	if (rc == 0)
		*hash = after;
	if (rc == -ENODATA)
		*hole = blocks.hole;
	block_reader_close(&blocks);
	return rc;
}

int store_get_record(struct kv_txn *txn, uint64_t position, struct buffer *into, uint64_t *hash,
		     struct error *error)
{
	struct hole hole;
	uint64_t after;
	int rc = get_record(txn, position, into, &after, &hole, error);

	if (rc == 0 && hash != NULL)
		*hash = after;
	return rc == -ENODATA ? -ENOENT : rc;
}

int store_find_hash(struct store *store, uint64_t position, uint64_t *hash, struct error *error)
{
	const struct tail_record *record = tail_find(&store->tail, position);
	const struct hole *found = record == NULL ? tail_find_hole(&store->tail, position) : NULL;
	struct hole hole;
	struct kv_txn *txn;
	int rc = 0;

	if (record != NULL) {
		*hash = record->hash;
		return 0;
	}
	if (found == NULL) {
		rc = store_lookup_txn(store, &txn, error);
		if (rc == 0)
			rc = get_record(txn, position, NULL, hash, &hole, error);
		if (rc == -ENOENT)
			return tables_damage(store->kv, error, "the block table: position %llu",
					     (unsigned long long)position);
		if (rc != -ENODATA)
			return rc;
		found = &hole;
	}
	*hash = found->hash_after;
	return found->last == position ? 0 : -ENODATA;
}

/*
 * The record at *position, or the one with the id; *position is set. The lock is held on entry only.
 * -ENODATA: the position is in a hole, which is told.
 */
static int get_one(struct store *store, const uint8_t *id, uint64_t *position, struct buffer *into,
		   uint64_t *hash, struct hole *hole, struct error *error)
{
	struct kv_txn *txn;
	bool again = true;
	int rc = 0;

	while (rc == 0 && again) {
		if (id != NULL)
			*position = tail_find_id(&store->tail, id);
		const struct tail_record *record = tail_find(&store->tail, *position);

		const struct hole *found = tail_find_hole(&store->tail, *position);

		if (record != NULL && into != NULL)
			buffer_append(into, record->bytes, record->size);
		if (record != NULL)
			*hash = record->hash;
		if (found != NULL)
			*hole = *found;
		if (record != NULL || found != NULL) {
			pthread_rwlock_unlock(&store->tail.lock);
			return record != NULL ? 0 : -ENODATA;
		}
		rc = store_begin_read(store, &txn, &again, error);
	}
	pthread_rwlock_unlock(&store->tail.lock);
	if (rc != 0)
		return rc;
	if (id != NULL)
		rc = tables_get_id(txn, id, position, error);
	if (rc == 0)
		rc = get_record(txn, *position, into, hash, hole, error);
	kv_abort(txn);
	return rc;
}

int store_read_position(struct store *store, uint64_t position, struct buffer *into,
			struct error *error)
{
	struct hole hole;
	uint64_t hash;

	pthread_rwlock_rdlock(&store->tail.lock);
	if (position == 0 || position > store->head.position) {
		pthread_rwlock_unlock(&store->tail.lock);
		return error_set(error, -ENOENT, "there is no record at position %llu",
				 (unsigned long long)position);
	}
	int rc = get_one(store, NULL, &position, into, &hash, &hole, error);
	if (rc == -ENODATA)
		return error_set(error, -ENOENT,
				 "the record at position %llu was dropped: a later checkpoint "
				 "superseded it",
				 (unsigned long long)position);
	if (rc == -ENOENT)
		rc = tables_damage(store->kv, error, "the block table: position %llu",
				   (unsigned long long)position);
	return rc;
}

static int check_id(struct store *store, const uint8_t *id, const struct buffer *into, size_t start,
		    struct error *error)
{
	if (memcmp(record_id(into->data + start), id, UUID_BYTES) == 0)
		return 0;
	return tables_damage(store->kv, error,
			     "table event_id: the id at position %llu is another; it",
			     (unsigned long long)record_position(into->data + start));
}

int store_read_id(struct store *store, const uint8_t id[UUID_BYTES], struct buffer *into,
		  struct error *error)
{
	uint64_t position = 0, hash;
	size_t start = into->size;
	struct hole hole;

	pthread_rwlock_rdlock(&store->tail.lock);
	int rc = get_one(store, id, &position, into, &hash, &hole, error);
	if (rc == 0)
		rc = check_id(store, id, into, start, error);
	if (rc == -ENODATA || (rc == -ENOENT && position != 0))
		rc = tables_damage(store->kv, error,
				   "table event_id: it points to position %llu; it",
				   (unsigned long long)position);
	if (rc == -ENOENT)
		rc = error_set(error, -ENOENT, "there is no record with that id");
	return rc;
}

int store_read_version(struct store *store, struct span stream, uint64_t version,
		       struct buffer *into, struct error *error)
{
	struct read_range range = {.from = version, .limit = 1, .bytes_max = RECORD_BYTES_MAX};
	struct page page = {.records = *into};
	struct stream_status status;

	if (version == 0)
		return error_set(error, -ENOENT, "versions begin at 1");
	int rc = store_read_stream(store, stream, &range, &page, &status, error);
	bool found = rc == 0 && page.count > 0 &&
		     record_version(page.records.data + into->size) == version;
	if (rc == 0 && !found) {
		page.records.size = into->size;
		rc = error_set(error, -ENOENT,
			       "the stream has no readable version %llu: it has %llu to %llu",
			       (unsigned long long)version,
			       (unsigned long long)status.first_version,
			       (unsigned long long)status.version);
	}
	*into = page.records;
	return rc;
}

static int digest_in_hole(const struct hole *hole, uint64_t position, uint64_t *hash,
			  struct error *error)
{
	if (position == hole->last) {
		*hash = hole->hash_after;
		return 0;
	}
	return error_set(error, -ENOENT,
			 "the running hash at position %llu is not known any more, since the "
			 "superseded records of %llu to %llu were dropped; that at %llu is",
			 (unsigned long long)position, (unsigned long long)hole->first,
			 (unsigned long long)hole->last, (unsigned long long)hole->last);
}

int store_digest(struct store *store, uint64_t *position, uint64_t *hash, struct error *error)
{
	struct hole hole;

	pthread_rwlock_rdlock(&store->tail.lock);
	uint64_t head = store->head.position;

	if (*position == 0 || *position == head) {
		*position = head;
		*hash = store->head.hash;
		pthread_rwlock_unlock(&store->tail.lock);
		return 0;
	}
	if (*position > head) {
		pthread_rwlock_unlock(&store->tail.lock);
		return error_set(error, -ENOENT, "position %llu is beyond the head %llu",
				 (unsigned long long)*position, (unsigned long long)head);
	}
	int rc = get_one(store, NULL, position, NULL, hash, &hole, error);
	if (rc == -ENODATA)
		return digest_in_hole(&hole, *position, hash, error);
	if (rc == -ENOENT)
		rc = tables_damage(store->kv, error, "the block table: position %llu",
				   (unsigned long long)*position);
	return rc;
}

/* ---- positions by time ---- */

static bool is_before(const struct tail_record *record, int64_t created)
{
	return record_created(record->bytes) < created;
}

/* The first record of a generation that is not before `created`; 0: there is none. */
static uint64_t find_time_in(const struct tail_generation *generation, int64_t created)
{
	uint32_t low = 0, high = generation->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (is_before(&generation->records[middle], created))
			low = middle + 1;
		else
			high = middle;
	}
	return low < generation->count ? tail_position(generation, low) : 0;
}

/* The first position of the tail that is not before `created`. */
static uint64_t find_time_in_tail(const struct tail *tail, uint64_t head, int64_t created)
{
	uint64_t position = tail->frozen != NULL ? find_time_in(tail->frozen, created) : 0;

	if (position == 0)
		position = find_time_in(tail->active, created);
	return position != 0 ? position : head + 1;
}

/* The oldest record of the tail; NULL: it has none. */
static const struct tail_record *first_of_tail(const struct tail *tail)
{
	if (tail->frozen != NULL && tail->frozen->count > 0)
		return &tail->frozen->records[0];
	return tail->active->count > 0 ? &tail->active->records[0] : NULL;
}

/* The last listed position that is before `created`, to scan from; 1 when there is none. */
static int find_listed_time(struct kv_txn *txn, int64_t created, uint64_t *position,
			    struct error *error)
{
	struct kv_cursor *cursor;
	struct tables_key key;
	struct kv_pair pair;
	int rc = kv_cursor_open(txn, KV_TIME, &cursor, error);

	if (rc != 0)
		return rc;
	tables_time_key(created, 0, &key);
	*position = 1;
	rc = kv_cursor_seek(cursor, KV_AT_MOST, tables_key_span(&key), &pair, error);
	if (rc == 0 && pair.key.size == 16)
		*position = bytes_be64(pair.key.data + 8);
	kv_cursor_close(cursor);
	return rc == -ENOENT ? 0 : rc;
}

static int find_time_in_tables(struct kv_txn *txn, int64_t created, uint64_t last,
			       uint64_t *position, struct error *error)
{
	struct block_reader blocks;
	struct span record;
	uint64_t hash, at;
	int rc = find_listed_time(txn, created, &at, error);

	if (rc == 0)
		rc = block_reader_open(&blocks, txn, error);
	if (rc != 0)
		return rc;
	while (at <= last) {
		rc = block_reader_get(&blocks, at, &record, &hash, error);
		if (rc == -ENODATA) {
			at = blocks.hole.last + 1;
			rc = 0;
			continue;
		}
		if (rc != 0 || record_created(record.data) >= created)
			break;
		at++;
	}
	block_reader_close(&blocks);
	if (rc == -ENOENT)
		rc = tables_damage(txn->kv, error, "the block table: position %llu",
				   (unsigned long long)at);
	*position = at;
	return rc;
}

int store_position_at(struct store *store, int64_t created, uint64_t *position, struct error *error)
{
	struct kv_txn *txn;
	bool again = true;
	uint64_t last = 0, found;
	int rc = 0;

	pthread_rwlock_rdlock(&store->tail.lock);
	while (rc == 0 && again) {
		const struct tail_record *first = first_of_tail(&store->tail);

		last = tail_first_position(&store->tail) - 1;
		if (first != NULL && is_before(first, created)) {
			*position = find_time_in_tail(&store->tail, store->head.position, created);
			pthread_rwlock_unlock(&store->tail.lock);
			return 0;
		}
		rc = store_begin_read(store, &txn, &again, error);
	}
	pthread_rwlock_unlock(&store->tail.lock);
	if (rc != 0)
		return rc;
	rc = find_time_in_tables(txn, created, last, &found, error);
	kv_abort(txn);
	if (rc == 0)
		*position = found;
	return rc;
}

int store_visit_tail(struct store *store, uint64_t first, uint64_t last,
		     void (*visit)(void *arg, struct span record), void *arg)
{
	int rc = 0;

	ASSERT(first >= 1);
	pthread_rwlock_rdlock(&store->tail.lock);
	if (first < tail_first_position(&store->tail))
		rc = -ENOENT;
	for (uint64_t position = first; rc == 0 && position <= last; position++) {
		const struct tail_record *record = tail_find(&store->tail, position);
		const struct hole *hole =
			record == NULL ? tail_find_hole(&store->tail, position) : NULL;

		if (record != NULL)
			visit(arg, record_span(record));
		else if (hole != NULL)
			position = hole->last;
		else
			break;
	}
	pthread_rwlock_unlock(&store->tail.lock);
	return rc;
}
