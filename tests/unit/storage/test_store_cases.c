/* Single cases of the store that the model would meet too rarely, or never. */
#include "tests/unit/storage/feed.h"

#include "base/checksum.h"
#include "storage/verify.h"

/* Its list has several closed chunks and an open one: both directions cross all of them. */
static void a_long_stream_is_read_from_end_to_end(void **state)
{
	struct feed_place place;
	struct stream_status status;
	struct page page;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t index = 1; index <= 3000; index++) {
		struct feed_append append = feed_single(index % 3 == 0 ? "a-1" : "b-1", index);

		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (index % 170 == 0)
			assert_ok(store_flush(store, &error));
	}
	for (int backward = 0; backward <= 1; backward++) {
		struct read_range range = {
			.backward = backward == 1, .limit = 10000, .bytes_max = 16 * MIB};

		buffer_init(&page.records);
		assert_ok(store_read_stream(store, span_of_string("b-1"), &range, &page, &status,
					    &error));
		assert_int_equal(page.count, 2000);
		assert_true(page.end);
		struct span left = buffer_span(&page.records);
		for (uint64_t i = 1; i <= 2000; i++) {
			struct record record;

			assert_int_equal(record_parse(left, &record), 0);
			assert_int_equal(record.version, backward == 1 ? 2001 - i : i);
			left.data += record.bytes.size;
			left.size -= record.bytes.size;
		}
		buffer_close(&page.records);
	}
	store_close(store);
	feed_place_close(&place);
}

static void apply_system_records(struct store *store, uint64_t index, uint32_t count)
{
	struct expectation expectation = {.written = true, .stream = span_of_string("$meta-x")};
	struct apply_result result;
	struct buffer items;
	struct error error;

	buffer_init(&items);
	size_t item = command_item_begin(&items);
	command_item_add_expectation(&items, &expectation);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t id[UUID_BYTES] = {0};
		struct record_fields fields = {
			.id = id, .stream = expectation.stream, .type = span_of_string("$meta")};

		bytes_set_be64(id, index);
		bytes_set_be64(id + 8, i);
		command_item_add_record(&items, &fields);
	}
	command_item_end(&items, item);
	struct span body = feed_command(&items, 1, 1);
	buffer_close(&items);
	assert_ok(store_apply(store, index, (uint8_t *)(uintptr_t)body.data, body.size, NULL,
			      &result, &error));
	assert_int_equal(result.last_position - result.first_position + 1, count);
}

/* A page that finds nothing for long ends without being the end, in the tail and in the tables. */
static void skipping_system_records_is_bounded(void **state)
{
	struct feed_place place;
	struct page page;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t index = 1; index <= 7; index++)
		apply_system_records(store, index, 10000);
	struct feed_append append = feed_single("Order-1", 1);
	assert_ok(feed_apply(store, 8, &append, NULL, &error));
	for (int flushed = 0; flushed <= 1; flushed++) {
		struct read_range range = {.limit = 10, .bytes_max = 1 * MIB};

		buffer_init(&page.records);
		assert_ok(store_read_all(store, &range, false, &page, &error));
		assert_int_equal(page.count, 0);
		assert_false(page.end);
		assert_int_equal(page.next, LIMIT_SCAN_RECORDS + 1);
		range.from = page.next;
		assert_ok(store_read_all(store, &range, false, &page, &error));
		assert_int_equal(page.count, 1);
		assert_true(page.end);
		buffer_close(&page.records);
		assert_ok(store_flush(store, &error));
	}
	store_close(store);
	feed_place_close(&place);
}

/* Two names of 1,024 bytes with the same XXH3-64: the same words, in each other's place. */
static void make_equal_hashes(char a[1025], char b[1025])
{
	memset(a, 'x', 1024);
	a[1024] = 0;
	memcpy(a + 456, "!!!@", 4);
	memcpy(a + 584, "lm;l", 4);
	memcpy(b, a, 1025);
	a[462] = b[590] = 'a';
	a[590] = b[462] = 'c';
	assert_int_equal(checksum64(a, 1024), checksum64(b, 1024));
	assert_memory_not_equal(a, b, 1024);
}

static void names_of_equal_hash_are_told_apart(void **state)
{
	struct feed_place place;
	struct stream_status status;
	struct error error;
	char names[2][1025];
	uint64_t index = 0;

	(void)state;
	make_equal_hashes(names[0], names[1]);
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t version = 1; version <= 3; version++) {
		for (int i = 0; i < 2; i++) {
			struct feed_append append = feed_single(names[i], ++index);

			assert_ok(store_stream_status(store, span_of_string(names[i]), &status,
						      &error));
			assert_int_equal(status.version, version - 1);
			assert_ok(feed_apply(store, index, &append, NULL, &error));
			assert_ok(store_flush(store, &error));
			store_close(store);
			store = feed_store(&place);
			assert_ok(store_stream_status(store, span_of_string(names[i]), &status,
						      &error));
			assert_int_equal(status.version, version);
		}
	}
	store_close(store);
	feed_place_close(&place);
}

/* The category of "-x" is empty: there is no list for it. */
static struct verify_report report;

static void a_name_may_begin_with_the_mark_of_categories(void **state)
{
	static const char *const names[] = {"-", "-x", "--", "a-"};
	struct feed_place place;
	struct stream_status status;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t i = 0; i < 4; i++) {
		struct feed_append append = feed_single(names[i], i + 1);

		assert_ok(feed_apply(store, i + 1, &append, NULL, &error));
	}
	assert_ok(store_flush(store, &error));
	for (int i = 0; i < 4; i++) {
		assert_ok(store_stream_status(store, span_of_string(names[i]), &status, &error));
		assert_int_equal(status.version, 1);
	}
	store_close(store);
	struct kv *kv = feed_kv(&place);
	struct verify_options options = {0};
	assert_ok(verify_store(kv, &options, &report, &error));
	assert_int_equal(report.problem_count, 0);
	kv_close(kv);
	feed_place_close(&place);
}

/* The same commands, flushed at other moments, on another kind of disk. */
static void when_a_store_flushes_changes_nothing(void **state)
{
	struct feed_place places[3];
	struct store *stores[3];
	struct store_status status[3];
	struct error error;

	(void)state;
	for (int i = 0; i < 3; i++) {
		feed_place_init(&places[i], i < 2);
		stores[i] = feed_store(&places[i]);
	}
	for (uint64_t index = 1; index <= 500; index++) {
		struct feed_append append =
			feed_single(index % 2 == 0 ? "a-1" : "b-1", index % 400);

		for (uint64_t i = 0; i < 3; i++) {
			assert_ok(feed_apply(stores[i], index, &append, NULL, &error));
			if (index % (7 + 50 * i) == 0)
				assert_ok(store_flush(stores[i], &error));
		}
	}
	for (int i = 0; i < 3; i++) {
		store_get_status(stores[i], &status[i]);
		assert_int_equal(status[i].head, 400);
		assert_int_equal(status[i].hash, status[0].hash);
		store_close(stores[i]);
		feed_place_close(&places[i]);
	}
}

static void never_decided(void *arg, uint32_t item, const struct outcome *outcome)
{
	(void)arg;
	(void)outcome;
	fail_msg("item %u was decided again", item);
}

/* The raft log is replayed from before what is durable: nobody is told twice. */
static void an_index_that_was_applied_is_skipped(void **state)
{
	struct apply_sink sink = {.decided = never_decided};
	struct store_status before, after;
	struct feed_place place;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t index = 5; index <= 9; index += 2) { /* indexes of commands have gaps */
		struct feed_append append = feed_single("s", index);

		assert_ok(feed_apply(store, index, &append, NULL, &error));
	}
	store_get_status(store, &before);
	for (uint64_t index = 1; index <= 9; index++) {
		struct feed_append append = feed_single("s", 100 + index);

		assert_ok(feed_apply(store, index, &append, &sink, &error));
	}
	store_get_status(store, &after);
	assert_int_equal(after.applied_index, before.applied_index);
	assert_int_equal(after.head, before.head);
	assert_int_equal(after.hash, before.hash);
	assert_int_equal(after.tail_records, before.tail_records);
	store_close(store);
	feed_place_close(&place);
}

static void after_an_error_nothing_is_applied_or_flushed(void **state)
{
	struct feed_append append = feed_single("s", 1);
	struct apply_result result;
	struct feed_place place;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	uint8_t *body = memory_copy("no command at all", 17);
	assert_int_equal(store_apply(store, 1, body, 17, NULL, &result, &error), -EBADMSG);
	assert_int_equal(feed_apply(store, 2, &append, NULL, &error), -ESHUTDOWN);
	assert_int_equal(store_flush(store, &error), -ESHUTDOWN);
	store_close(store);
	feed_place_close(&place);
}

static void an_identity_is_written_once(void **state)
{
	struct store_identity identity = {.cluster_id = "a cluster", .node_id = 7}, read;
	struct manifest manifest;
	struct feed_place place;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	assert_int_equal(store_get_identity(store, &read, &error), -ENODATA);
	assert_ok(store_set_identity(store, &identity, &error));
	assert_int_equal(store_set_identity(store, &identity, &error), -EEXIST);
	store_close(store);
	store = feed_store(&place);
	assert_ok(store_get_identity(store, &read, &error));
	assert_memory_equal(&read, &identity, sizeof read);
	store_get_manifest(store, &manifest);
	assert_memory_equal(manifest.cluster_id, identity.cluster_id, CLUSTER_ID_BYTES);
	store_close(store);
	feed_place_close(&place);
}

static void count_visited(void *arg, struct span record)
{
	uint64_t *next = arg;

	assert_int_equal(record_position(record.data), (*next)++);
}

static void the_tail_is_visited_as_long_as_it_is_there(void **state)
{
	struct feed_place place;
	struct error error;
	uint64_t next;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t index = 1; index <= 20; index++) {
		struct feed_append append = feed_single("s", index);

		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (index == 10)
			assert_ok(store_flush(store, &error));
	}
	next = 10;
	assert_int_equal(store_visit_tail(store, 10, 20, count_visited, &next), -ENOENT);
	assert_int_equal(next, 10);
	next = 11;
	assert_int_equal(store_visit_tail(store, 11, 15, count_visited, &next), 0);
	assert_int_equal(next, 16);
	assert_int_equal(store_visit_tail(store, 16, 99, count_visited, &next), 0);
	assert_int_equal(next, 21);
	assert_int_equal(store_visit_tail(store, 21, 99, count_visited, &next), 0);
	assert_int_equal(next, 21);
	store_close(store);
	feed_place_close(&place);
}

static void a_tail_beyond_its_bound_says_so(void **state)
{
	static uint8_t large[300000];
	struct feed_place place;
	struct error error;
	uint64_t index = 0;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	assert_false(store_is_full(store));
	while (index < 4) {
		struct feed_append append = feed_single("s", ++index);

		append.events[0].data = span_of(large, sizeof large);
		assert_ok(feed_apply(store, index, &append, NULL, &error));
	}
	assert_true(store_is_full(store));
	assert_ok(store_flush(store, &error));
	assert_false(store_is_full(store));
	store_close(store);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_identity_is_written_once),
		cmocka_unit_test(an_index_that_was_applied_is_skipped),
		cmocka_unit_test(after_an_error_nothing_is_applied_or_flushed),
		cmocka_unit_test(the_tail_is_visited_as_long_as_it_is_there),
		cmocka_unit_test(a_tail_beyond_its_bound_says_so),
		cmocka_unit_test(a_long_stream_is_read_from_end_to_end),
		cmocka_unit_test(when_a_store_flushes_changes_nothing),
		cmocka_unit_test(skipping_system_records_is_bounded),
		cmocka_unit_test(names_of_equal_hash_are_told_apart),
		cmocka_unit_test(a_name_may_begin_with_the_mark_of_categories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
