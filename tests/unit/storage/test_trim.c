/*
 * Dropping superseded checkpoints, against a history of everything that was ever applied: what is there
 * is as it was, what is not was superseded, and nothing else follows from it.
 */
#include "tests/unit/storage/feed.h"

#include "storage/hole.h"
#include "storage/system.h"
#include "storage/tables.h"
#include "storage/verify.h"

#define RECORDS_MAX 3000
#define EVENT_BYTES 3000
#define STREAMS     6
#define CONSUMERS   3 /* the first of them */

struct history {
	uint64_t seed;
	struct feed_place place;
	struct store *store;
	struct buffer names[STREAMS];
	uint64_t applied;     /* raft index */
	uint64_t event_bytes; /* at most */
	uint32_t count;
	struct span records[RECORDS_MAX]; /* position - 1 */
	uint64_t hashes[RECORDS_MAX];
	bool kept[RECORDS_MAX]; /* as last read */
	bool has_left_overs;    /* pulled, and not trimmed since: see tables.h */
};

static uint64_t roll(struct history *history, uint64_t sides)
{
	return unit_random(&history->seed) % sides;
}

static void make_names(struct history *history)
{
	static const char *const beginnings[STREAMS] = {"$checkpoint-a", "$checkpoint-b",
							"$checkpoint-",  "$snapshot-x",
							"Order-1",       "Order-2"};

	for (int i = 0; i < STREAMS; i++) {
		buffer_init(&history->names[i]);
		buffer_append_span(&history->names[i], span_of_string(beginnings[i]));
	}
	for (int i = 0; i < 450; i++) /* a name that is no key */
		buffer_append(&history->names[2], "n", 1);
}

static void open_store(struct history *history)
{
	history->store = feed_store(&history->place);
}

static void start(struct history *history, bool in_memory, uint64_t seed)
{
	*history = (struct history){.seed = seed, .event_bytes = EVENT_BYTES};
	feed_place_init(&history->place, in_memory);
	make_names(history);
	open_store(history);
}

static void stop(struct history *history)
{
	store_close(history->store);
	for (uint32_t i = 0; i < history->count; i++)
		unit_free_exact(history->records[i]);
	for (int i = 0; i < STREAMS; i++)
		buffer_close(&history->names[i]);
	feed_place_close(&history->place);
}

static void apply_checkpoint(struct history *history, struct span stream)
{
	struct system_checkpoint checkpoint = {.position = roll(history, 100),
					       .deleted = roll(history, 20) == 0};
	struct apply_result result;
	struct record_fields fields;
	struct buffer text, items;
	uint8_t id[UUID_BYTES];
	struct error error;

	buffer_init(&text);
	buffer_init(&items);
	checkpoint.deleted = checkpoint.deleted && history->count > STREAMS;
	system_checkpoint_fields(system_name(stream, SYSTEM_CHECKPOINT_PREFIX), &checkpoint, id,
				 &text, &fields);
	size_t item = command_item_begin(&items);
	command_item_add_checkpoint(&items, NULL, &fields);
	command_item_end(&items, item);
	history->applied++;
	struct span body = feed_command(&items, 1, (int64_t)history->applied * 1000);
	assert_ok(store_apply(history->store, history->applied, (uint8_t *)(uintptr_t)body.data,
			      body.size, NULL, &result, &error));
	buffer_close(&text);
	buffer_close(&items);
}

static void apply_event(struct history *history, struct span stream)
{
	static const uint8_t noise[8000] = {7};
	struct error error;
	char name[32] = {0};

	memcpy(name, stream.data, stream.size);
	struct feed_append append = feed_single(name, ++history->applied);
	append.events[0].data = span_of(noise, roll(history, history->event_bytes));
	if (roll(history, 3) == 0)
		append.events[0].id[6] = 0x40;
	assert_ok(feed_apply(history->store, history->applied, &append, NULL, &error));
}

static void remember(struct history *history)
{
	uint64_t position = store_head(history->store);
	struct buffer into;
	struct error error;

	if (position == history->count) /* nothing to delete */
		return;
	assert_int_equal(position, history->count + 1);
	buffer_init(&into);
	assert_ok(store_read_position(history->store, position, &into, &error));
	history->records[history->count] = unit_exact(into.data, into.size);
	buffer_close(&into);
	assert_ok(
		store_digest(history->store, &position, &history->hashes[history->count], &error));
	history->count++;
}

static void append_to(struct history *history, uint32_t stream)
{
	struct span name = buffer_span(&history->names[stream]);

	if (stream < CONSUMERS)
		apply_checkpoint(history, name);
	else
		apply_event(history, name);
	remember(history);
}

/* Mostly checkpoints, in turns with little and with much else. */
static void append_some(struct history *history)
{
	uint64_t others = roll(history, 3);

	for (uint64_t i = roll(history, 60); i > 0 && history->count < RECORDS_MAX; i--)
		append_to(history, roll(history, 4) <= others
					   ? CONSUMERS + (uint32_t)roll(history, 3)
					   : (uint32_t)roll(history, CONSUMERS));
}

static void trim_all(struct store *store)
{
	bool again = true;
	struct error error;

	while (again)
		assert_ok(store_trim(store, &again, &error));
}

/* ---- what must hold ---- */

static struct span stream_of(const struct history *history, uint32_t index)
{
	return record_stream(history->records[index].data);
}

/* Whether a record of a checkpoint has a later one, among the first `last` records. */
static bool is_superseded(const struct history *history, uint32_t index, uint64_t last)
{
	if (!system_is_checkpoint_stream(stream_of(history, index)))
		return false;
	for (uint32_t i = index + 1; i < last; i++)
		if (span_equal(stream_of(history, i), stream_of(history, index)))
			return true;
	return false;
}

static void check_page(struct history *history, const struct page *page, uint64_t *last,
		       bool backward)
{
	struct span left = buffer_span(&page->records);

	while (left.size > 0) {
		struct record record;

		assert_int_equal(record_parse(left, &record), 0);
		assert_in_range(record.position, 1, history->count);
		assert_true(*last == 0 ||
			    (backward ? record.position < *last : record.position > *last));
		*last = record.position;
		assert_true(span_equal(record.bytes, history->records[record.position - 1]));
		history->kept[record.position - 1] = true;
		left = span_of(left.data + record.bytes.size, left.size - record.bytes.size);
	}
}

/* All that there is, page by page, into kept. */
static void read_kept(struct history *history, bool backward)
{
	struct read_range range = {.backward = backward, .bytes_max = 1 * MIB};
	struct page page = {0};
	struct error error;
	uint64_t last = 0;

	memset(history->kept, 0, sizeof history->kept);
	do {
		range.limit = 1 + (uint32_t)roll(history, 300);
		buffer_init(&page.records);
		assert_ok(store_read_all(history->store, &range, true, &page, &error));
		check_page(history, &page, &last, backward);
		assert_true(page.end || page.count > 0);
		range.from = page.next;
		buffer_close(&page.records);
	} while (!page.end);
	assert_int_equal(page.head, history->count);
}

static void check_kept(struct history *history, bool all_dropped)
{
	static bool forward[RECORDS_MAX];
	struct store_status status;
	uint64_t superseded = 0;

	store_get_status(history->store, &status);
	read_kept(history, false);
	memcpy(forward, history->kept, sizeof forward);
	read_kept(history, true);
	assert_memory_equal(forward, history->kept, sizeof forward);
	for (uint32_t i = 0; i < history->count; i++) {
		bool may_go = is_superseded(history, i, status.durable_position);

		if (!history->kept[i] && !may_go)
			fail_msg("position %u is gone", i + 1);
		if (all_dropped && history->kept[i] && may_go)
			fail_msg("position %u is still there", i + 1);
		superseded += history->kept[i] && may_go;
	}
	assert_int_equal(status.superseded, superseded);
}

/* By its version: of a checkpoint's stream what all later versions follow without a gap. */
static bool is_readable(const struct history *history, uint32_t index)
{
	if (!history->has_left_overs || !system_is_checkpoint_stream(stream_of(history, index)))
		return history->kept[index];
	for (uint32_t i = index; i < history->count; i++)
		if (!history->kept[i] &&
		    span_equal(stream_of(history, i), stream_of(history, index)))
			return false;
	return true;
}

static void check_single_reads(struct history *history)
{
	struct error error;

	for (uint32_t i = 0; i < history->count; i++) {
		bool kept = history->kept[i],
		     last_of_hole = i + 1 < history->count && !kept && history->kept[i + 1];
		struct span record = history->records[i];
		uint64_t position = i + 1, hash;
		struct buffer into;

		buffer_init(&into);
		int rc = store_read_position(history->store, position, &into, &error);
		assert_int_equal(rc, kept ? 0 : -ENOENT);
		assert_true(!kept || span_equal(buffer_span(&into), record));
		rc = store_digest(history->store, &position, &hash, &error);
		if (kept || last_of_hole)
			assert_int_equal(rc, 0);
		assert_true(rc == 0 || (rc == -ENOENT && strstr(error.message, "not known")));
		assert_true(rc != 0 || hash == history->hashes[i]);
		buffer_clear(&into);
		rc = store_read_version(history->store, stream_of(history, i),
					record_version(record.data), &into, &error);
		assert_int_equal(rc, is_readable(history, i) ? 0 : -ENOENT);
		assert_true(rc != 0 || span_equal(buffer_span(&into), record));
		buffer_clear(&into);
		bool listed = !system_is_checkpoint_stream(stream_of(history, i));
		rc = store_read_id(history->store, record_id(record.data), &into, &error);
		assert_int_equal(rc, listed ? 0 : -ENOENT);
		buffer_close(&into);
	}
}

static void check_stream(struct history *history, struct span name, bool backward)
{
	struct read_range range = {.limit = 10000, .bytes_max = 100 * MIB, .backward = backward};
	struct page page;
	struct stream_status status;
	struct error error;
	uint64_t version = 0, first = 0, count = 0, last = 0;
	int64_t created = 0;

	for (uint32_t i = 0; i < history->count; i++) {
		if (!span_equal(stream_of(history, i), name))
			continue;
		version = record_version(history->records[i].data);
		count += is_readable(history, i);
		if (is_readable(history, i) && first == 0) {
			first = version;
			created = record_created(history->records[i].data);
		}
	}
	buffer_init(&page.records);
	assert_ok(store_read_stream(history->store, name, &range, &page, &status, &error));
	assert_int_equal(page.count, count);
	assert_true(page.end);
	check_page(history, &page, &last, backward);
	buffer_close(&page.records);
	assert_int_equal(status.version, version);
	if (history->has_left_overs)
		return;
	assert_int_equal(status.first_version, first);
	assert_int_equal(status.count, count);
	assert_int_equal(status.created, created);
	assert_ok(store_stream_status(history->store, name, &status, &error));
	assert_int_equal(status.first_version, first);
	assert_int_equal(status.count, count);
}

static void check_times(struct history *history)
{
	struct error error;

	for (int i = 0; i < 50; i++) {
		int64_t created = (int64_t)roll(history, history->applied * 1000 + 2000);
		uint64_t found, wanted = 1;

		while (wanted <= history->count &&
		       (!history->kept[wanted - 1] ||
			record_created(history->records[wanted - 1].data) < created))
			wanted++;
		assert_ok(store_position_at(history->store, created, &found, &error));
		assert_int_equal(found, wanted);
	}
}

static void check_verified(struct feed_place *place)
{
	static const struct verify_options options;
	static struct verify_report report;
	struct kv *kv = feed_kv(place);
	struct error error;

	assert_ok(verify_store(kv, &options, &report, &error));
	if (report.problem_count > 0)
		fail_msg("%s", report.problems[0]);
	kv_close(kv);
}

static void check_everything(struct history *history, bool all_dropped)
{
	check_kept(history, all_dropped);
	check_single_reads(history);
	for (int i = 0; i < STREAMS; i++) {
		check_stream(history, buffer_span(&history->names[i]), false);
		check_stream(history, buffer_span(&history->names[i]), true);
	}
	check_times(history);
}

/* ---- tests ---- */

static void trim_at_random(struct history *history)
{
	bool again;
	struct error error;

	if (roll(history, 2) == 0)
		assert_ok(store_flush(history->store, &error));
	if (roll(history, 2) == 0)
		assert_ok(store_trim(history->store, &again, &error));
	if (roll(history, 12) == 0) {
		assert_ok(store_flush(history->store, &error));
		store_close(history->store);
		check_verified(&history->place);
		open_store(history);
	}
}

static void run_trim(bool in_memory, uint64_t seed)
{
	static struct history history;
	struct error error;

	start(&history, in_memory, seed);
	for (int i = 0; i < STREAMS; i++)
		append_to(&history, (uint32_t)i);
	while (history.count < RECORDS_MAX) {
		append_some(&history);
		trim_at_random(&history);
		if (roll(&history, 25) == 0)
			check_everything(&history, false);
	}
	assert_ok(store_flush(history.store, &error));
	trim_all(history.store);
	check_everything(&history, true);
	store_close(history.store);
	check_verified(&history.place);
	open_store(&history);
	check_everything(&history, true);
	stop(&history);
}

static void only_what_was_superseded_goes(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		run_trim(true, seed);
	for (uint64_t seed = 1; seed <= 2; seed++)
		run_trim(false, seed);
}

/* ---- another store ingests what is left ---- */

/* A page of raw, as a peer ships it, from the position behind the head. */
static void pull_page(struct store *source, struct store *store, uint64_t limit)
{
	struct read_range range = {
		.from = store_head(store) + 1, .limit = (uint32_t)limit, .bytes_max = 1 * MIB};
	struct store_status status;
	struct page page;
	struct error error;

	buffer_init(&page.records);
	assert_ok(store_read_raw(source, &range, &page, &error));
	store_get_status(source, &status);
	store_ingest_horizon(store, status.horizon);
	assert_ok(store_ingest(store, buffer_span(&page.records), &error));
	assert_int_equal(store_head(store), page.next - 1);
	buffer_close(&page.records);
}

/* Until it has all that the source has; now and then it is killed. */
static void pull_all(struct history *history, struct store *source, struct feed_place *place)
{
	struct store *store = feed_store(place);
	struct manifest manifest;
	struct error error;

	assert_ok(store_flush(source, &error));
	store_get_manifest(source, &manifest);
	assert_ok(store_ingest_begin(store, &error));
	while (store_head(store) < manifest.position) {
		pull_page(source, store, 1 + roll(history, 200));
		if (roll(history, 3) == 0)
			assert_ok(store_flush(store, &error));
		if (roll(history, 10) == 0) {
			store_close(store);
			store = feed_store(place);
			assert_ok(store_ingest_begin(store, &error));
		}
	}
	assert_ok(store_ingest_end(store, &manifest, &error));
	store_close(store);
}

/* What the other store has is checked against the same history. */
static void check_other(struct history *history, struct feed_place *place, bool trimmed)
{
	struct store *own = history->store;

	check_verified(place);
	history->store = feed_store(place);
	history->has_left_overs = true;
	check_everything(history, false);
	if (trimmed)
		trim_all(history->store);
	history->has_left_overs = !trimmed;
	check_everything(history, trimmed);
	history->has_left_overs = false;
	store_close(history->store);
	check_verified(place);
	history->store = own;
}

static void run_pull(uint64_t seed)
{
	static struct history history;
	struct feed_place place;
	struct error error;
	bool again;

	start(&history, true, seed);
	feed_place_init(&place, seed % 4 != 0);
	while (history.count < RECORDS_MAX) {
		append_some(&history);
		if (roll(&history, 4) == 0) {
			assert_ok(store_flush(history.store, &error));
			assert_ok(store_trim(history.store, &again, &error));
		}
		/* It falls behind and catches up again and again, and may not have dropped as much. */
		if (roll(&history, 12) == 0) {
			pull_all(&history, history.store, &place);
			check_other(&history, &place, roll(&history, 2) == 0);
		}
	}
	trim_all(history.store);
	pull_all(&history, history.store, &place);
	check_other(&history, &place, true);
	stop(&history);
	feed_place_close(&place);
}

static void a_store_that_pulls_what_is_left_becomes_equal(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++)
		run_pull(seed);
}

/* ---- crashes ---- */

/* Flush and trim with the n-th commit failing; true when none failed any more. */
static bool trim_with_failure(struct history *history, uint64_t failing)
{
	bool again = true;
	struct error error;

	kv_memory_disk_fail(history->place.disk, failing);
	int rc = store_flush(history->store, &error);
	while (rc == 0 && again)
		rc = store_trim(history->store, &again, &error);
	kv_memory_disk_fail(history->place.disk, 0);
	assert_true(rc == 0 || rc == -EIO);
	return rc == 0;
}

/* Many blocks, so that it takes several transactions. */
static void every_commit_may_fail(void **state)
{
	static struct history history;
	bool whole = false;

	(void)state;
	for (uint64_t failing = 1; !whole; failing++) {
		start(&history, true, 77);
		history.event_bytes = 8000;
		while (history.count < RECORDS_MAX)
			append_to(&history,
				  history.count % 2 == 0 ? CONSUMERS + 1 : history.count % 3);
		struct error error;
		assert_ok(store_flush(history.store, &error));
		whole = trim_with_failure(&history, failing);
		check_kept(&history, whole);
		store_close(history.store);
		check_verified(&history.place);
		open_store(&history);
		check_kept(&history, whole);
		trim_all(history.store); /* it goes on where it was */
		check_everything(&history, true);
		stop(&history);
		assert_true(!whole || failing > 2);
	}
}

/* ---- what it costs ---- */

#define MANY 200000

static uint64_t count_pairs(struct feed_place *place, enum kv_table table)
{
	struct kv *kv = feed_kv(place);
	struct kv_txn *txn;
	struct kv_cursor *cursor;
	struct kv_pair pair;
	struct error error;
	uint64_t count = 0;

	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	assert_ok(kv_cursor_open(txn, table, &cursor, &error));
	int rc = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, &error);
	for (; rc == 0; count++)
		rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, &error);
	kv_cursor_close(cursor);
	kv_abort(txn);
	kv_close(kv);
	return count;
}

/* Flushed now and then, and trimmed when the store wants it. */
static void commit_many(struct history *history, uint64_t events_every)
{
	struct error error;
	bool again;

	for (uint32_t i = 1; i <= MANY; i++) {
		if (events_every > 0 && i % events_every == 0)
			apply_event(history, buffer_span(&history->names[CONSUMERS + 1]));
		else
			apply_checkpoint(history, buffer_span(&history->names[i % CONSUMERS]));
		if (i % 700 == 0)
			assert_ok(store_flush(history->store, &error));
		while (store_wants_trim(history->store))
			assert_ok(store_trim(history->store, &again, &error));
	}
	assert_ok(store_flush(history->store, &error));
	trim_all(history->store);
	store_close(history->store);
}

static void checkpoints_alone_cost_nothing_that_grows(void **state)
{
	static struct history history;

	(void)state;
	start(&history, false, 5);
	commit_many(&history, 0);
	assert_in_range(count_pairs(&history.place, KV_BLOCK), 1, 3);
	assert_in_range(count_pairs(&history.place, KV_STREAM_RECORD), 0, CONSUMERS);
	assert_int_equal(count_pairs(&history.place, KV_STREAM), CONSUMERS);
	assert_int_equal(count_pairs(&history.place, KV_EVENT_ID), 0);
	assert_in_range(count_pairs(&history.place, KV_TIME), 1, CONSUMERS);
	check_verified(&history.place);
	open_store(&history);
	stop(&history);
}

/* An event among 50 records: what is left costs as little as if there were events alone. */
static void checkpoints_among_events_leave_full_blocks(void **state)
{
	static struct history history;
	uint64_t events = MANY / 50, event_bytes = EVENT_BYTES / 2;

	(void)state;
	start(&history, false, 6);
	commit_many(&history, 50);
	assert_in_range(count_pairs(&history.place, KV_BLOCK), 1,
			events * event_bytes / LIMIT_BLOCK_BYTES * 2);
	assert_in_range(count_pairs(&history.place, KV_STREAM_RECORD), 0, events / 100);
	assert_int_equal(count_pairs(&history.place, KV_EVENT_ID), events);
	assert_in_range(count_pairs(&history.place, KV_TIME), 1, MANY / TABLES_TIME_STEP + 1);
	check_verified(&history.place);
	open_store(&history);
	stop(&history);
}

static void nothing_is_dropped_while_it_is_held(void **state)
{
	static struct history history;
	bool again;
	struct error error;

	(void)state;
	start(&history, true, 9);
	while (history.count < RECORDS_MAX)
		append_to(&history, history.count % CONSUMERS);
	assert_ok(store_flush(history.store, &error));
	assert_true(store_wants_trim(history.store));
	store_hold_trim(history.store);
	store_hold_trim(history.store);
	assert_false(store_wants_trim(history.store));
	assert_ok(store_trim(history.store, &again, &error));
	assert_false(again);
	check_everything(&history, false);
	for (uint32_t i = 0; i < history.count; i++)
		assert_true(history.kept[i]);
	store_release_trim(history.store);
	assert_false(store_wants_trim(history.store));
	store_release_trim(history.store);
	assert_true(store_wants_trim(history.store));
	trim_all(history.store);
	check_everything(&history, true);
	stop(&history);
}

/* ---- pulling from a peer whose records were superseded behind the manifest ---- */

static void a_manifest_before_the_horizon_is_refused(void **state)
{
	static struct history history;
	struct feed_place place;
	struct manifest early, late;
	struct error error;

	(void)state;
	start(&history, true, 10);
	feed_place_init(&place, true);
	append_to(&history, 0);
	append_to(&history, CONSUMERS + 1);
	assert_ok(store_flush(history.store, &error));
	store_get_manifest(history.store, &early);
	append_to(&history, 0);
	append_to(&history, CONSUMERS + 1);
	assert_ok(store_flush(history.store, &error));
	store_get_manifest(history.store, &late);
	trim_all(history.store); /* position 1: at `early`, it was the checkpoint */
	struct store *store = feed_store(&place);
	assert_ok(store_ingest_begin(store, &error));
	pull_page(history.store, store, 2);
	assert_int_equal(store_head(store), early.position);
	assert_int_equal(store_ingest_end(store, &early, &error), -EINVAL);
	assert_ok(store_flush(store, &error));
	store_close(store);
	store = feed_store(&place); /* not forgotten */
	assert_ok(store_ingest_begin(store, &error));
	assert_int_equal(store_ingest_end(store, &early, &error), -EINVAL);
	pull_page(history.store, store, 100);
	assert_ok(store_ingest_end(store, &late, &error));
	store_close(store);
	check_verified(&place);
	stop(&history);
	feed_place_close(&place);
}

static void holes_that_do_not_follow_are_refused(void **state)
{
	static struct history history;
	struct hole hole = {.first = 1, .last = 5, .hash_after = 7};
	uint8_t bytes[HOLE_BYTES];
	struct error error;

	(void)state;
	start(&history, true, 11);
	assert_ok(store_ingest_begin(history.store, &error));
	for (int i = 0; i < 4; i++) {
		struct hole wrong = hole;

		wrong.first += i == 0; /* a gap */
		wrong.hash_before += i == 1;
		hole_encode(&wrong, bytes);
		bytes[0] = i == 2 ? 0x93 : bytes[0];
		size_t size = i == 3 ? HOLE_BYTES - 1 : HOLE_BYTES;
		assert_int_equal(store_ingest(history.store, span_of(bytes, size), &error),
				 -EBADMSG);
		assert_int_equal(store_head(history.store), 0);
	}
	hole_encode(&hole, bytes);
	assert_ok(store_ingest(history.store, span_of(bytes, sizeof bytes), &error));
	assert_int_equal(store_ingest(history.store, span_of(bytes, sizeof bytes), &error),
			 -EBADMSG); /* nothing new in it */
	assert_int_equal(store_head(history.store), 5);
	/* One that begins before the head: the hash before it is known, and is another. */
	hole = (struct hole){.first = 6, .last = 9, .hash_before = 8, .hash_after = 7};
	hole_encode(&hole, bytes);
	assert_int_equal(store_ingest(history.store, span_of(bytes, sizeof bytes), &error),
			 -EBADMSG);
	hole.hash_before = 7;
	hole_encode(&hole, bytes);
	assert_ok(store_ingest(history.store, span_of(bytes, sizeof bytes), &error));
	hole.last = 12;
	hole_encode(&hole, bytes);
	assert_ok(store_ingest(history.store, span_of(bytes, sizeof bytes), &error));
	hole.last = 15;
	hole.hash_before = 9;
	hole_encode(&hole, bytes);
	assert_int_equal(store_ingest(history.store, span_of(bytes, sizeof bytes), &error),
			 -EBADMSG);
	assert_int_equal(store_head(history.store), 12);
	stop(&history);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_was_superseded_goes),
		cmocka_unit_test(nothing_is_dropped_while_it_is_held),
		cmocka_unit_test(every_commit_may_fail),
		cmocka_unit_test(checkpoints_alone_cost_nothing_that_grows),
		cmocka_unit_test(checkpoints_among_events_leave_full_blocks),
		cmocka_unit_test(holes_that_do_not_follow_are_refused),
		cmocka_unit_test(a_manifest_before_the_horizon_is_refused),
		cmocka_unit_test(a_store_that_pulls_what_is_left_becomes_equal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
