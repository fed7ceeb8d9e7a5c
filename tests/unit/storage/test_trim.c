/*
 * Dropping superseded checkpoints, against a history of everything that was ever applied: what is there
 * is as it was, what is not was superseded, and nothing else follows from it.
 */
#include "tests/unit/storage/feed.h"

#include "storage/system.h"
#include "storage/tables.h"
#include "storage/verify.h"

#define RECORDS_MAX 3000
#define STREAMS     6
#define CONSUMERS   3 /* the first of them */

struct history {
	uint64_t seed;
	struct feed_place place;
	struct store *store;
	struct buffer names[STREAMS];
	uint64_t applied; /* raft index */
	uint32_t count;
	struct span records[RECORDS_MAX]; /* position - 1 */
	uint64_t hashes[RECORDS_MAX];
	bool kept[RECORDS_MAX]; /* as last read */
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
	*history = (struct history){.seed = seed};
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
	static const uint8_t noise[3000] = {7};
	struct error error;
	char name[32] = {0};

	memcpy(name, stream.data, stream.size);
	struct feed_append append = feed_single(name, ++history->applied);
	append.events[0].data = span_of(noise, roll(history, sizeof noise));
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
		assert_int_equal(rc, kept ? 0 : -ENOENT);
		assert_true(!kept || span_equal(buffer_span(&into), record));
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
		count += history->kept[i];
		if (history->kept[i] && first == 0) {
			first = version;
			created = record_created(history->records[i].data);
		}
	}
	buffer_init(&page.records);
	assert_ok(store_read_stream(history->store, name, &range, &page, &status, &error));
	assert_int_equal(page.count, count);
	assert_true(page.end);
	check_page(history, &page, &last, backward);
	assert_int_equal(status.version, version);
	assert_int_equal(status.first_version, first);
	assert_int_equal(status.count, count);
	assert_int_equal(status.created, created);
	assert_ok(store_stream_status(history->store, name, &status, &error));
	assert_int_equal(status.first_version, first);
	assert_int_equal(status.count, count);
	buffer_close(&page.records);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_was_superseded_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
