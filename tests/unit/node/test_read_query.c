/* Reads by query, and what is asked about the log as a whole: counts, lists, an aggregate in one call. */
#include "tests/unit/node/notation.h"
#include "tests/unit/node/read_client.h"

#include "storage/system.h"

static struct answer ask(const char *method, const char *text)
{
	buffer_clear(&params);
	notation_append(&params, text);
	return call(method, buffer_span(&params));
}

static void assert_value(struct answer answer, const char *key, const char *text)
{
	struct buffer expected;
	struct span found = map_find(answer.result, key);

	buffer_init(&expected);
	notation_append(&expected, text);
	if (!span_equal(found, buffer_span(&expected)))
		fail_msg("%s is not %s", key, text);
	buffer_close(&expected);
}

static void append_labelled(const char *stream, uint32_t count, uint64_t labels)
{
	store_append_labelled(harness.node.store, ++harness.index, stream, count, 10, labels);
	harness_notify(&harness);
}

/* Types T0 T0 T0 T0 T0 T0 T0 T0 T1 …; tags by the bits of the position - 1. */
static void fill(void)
{
	append_labelled("a-1", 12, 0);
	harness_append(&harness, "$s", 2);
	harness_flush(&harness);
	append_labelled("b", 4, 12);
}

static void pages_by_query(void **state)
{
	(void)state;
	fill();
	ASSERT_EVENTS(ask("read_all", "{query: [{types: ['T1']}]}"), 0, 9, 10, 11, 12, 15, 16, 17,
		      18);
	ASSERT_EVENTS(ask("read_all", "{query: [{tags: ['a', 'c']}], from: 7}"), 0, 8, 16, 18);
	ASSERT_EVENTS(
		ask("read_all", "{query: [{streams: ['b']}], direction: 'backward', limit: 3}"), 0,
		18, 17, 16);
	ASSERT_EVENTS(
		ask("read_all", "{query: [{stream_prefix: 'a-', tags: ['a']}], system: true}"), 0,
		2, 4, 6, 8, 10, 12);
	struct answer answer = ask("read_all", "{query: [{types: ['T1']}], limit: 4}");

	ASSERT_EVENTS(answer, 0, 9, 10, 11, 12);
	assert_false(map_bool(answer.result, "end"));
	assert_in_range(map_u64(answer.result, "next"), 13, 15);
	assert_value(answer, "head", "18");
	assert_value(ask("read_all", "{query: [{types: ['None']}]}"), "end", "true");
	answer = ask("read_all", "{query: [{types: []}]}");
	assert_error(answer, "INVALID_ARGUMENT");
	assert_true(map_is_text(answer.error, "argument", "query[0].types"));
}

static void counts(void **state)
{
	static const struct {
		const char *arguments, *count;
	} cases[] = {
		{"{}", "16"},
		{"{query: 'all'}", "16"},
		{"{query: [{types: ['T1']}]}", "8"},
		{"{query: [{types: ['T1']}, {tags: ['a']}]}", "12"},
		{"{query: [{stream_prefix: 'b'}]}", "4"},
		{"{query: [{types: ['None']}]}", "0"},
	};

	(void)state;
	fill();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct answer answer = ask("count", cases[i].arguments);

		assert_value(answer, "count", cases[i].count);
		assert_value(answer, "head", "18");
	}
}

static void a_count_is_given_up_when_nobody_waits_for_it(void **state)
{
	struct reader_status status;

	(void)state;
	for (int i = 0; i < 60; i++) {
		append_labelled("a-1", 10000, 0);
		harness_flush(&harness);
	}
	struct answer answer = ask("count", "{query: [{stream_prefix: 'a'}], timeout_ms: 1}");

	assert_error(answer, "TIMEOUT");
	assert_true(map_is_text(answer.error, "outcome", "none"));
	for (int i = 0; i < 10; i++) {
		params_format(&params, "{s", 1, "query");
		notation_append(&params, "[{stream_prefix: 'a'}]");
		client_send(&client, "count", buffer_span(&params));
	}
	client_close(&client);
	client.session = NULL;
	harness_settle(&harness);
	reader_get_status(harness.node.reader, &status);
	assert_int_equal(status.reads, 0);
	assert_int_equal(status.running, 0);
	client_open(&client, &harness);
	assert_value(ask("count", "{query: [{stream_prefix: 'a'}]}"), "count", "600000");
}

static void lists_in_pages(void **state)
{
	(void)state;
	fill();
	append_labelled("a-2", 1, 0);
	struct answer answer = ask("stream_list", "{limit: 2}");

	assert_value(answer, "streams", "[['a-1', 12], ['a-2', 1]]");
	assert_value(answer, "next", "'a-2'");
	assert_value(answer, "end", "false");
	answer = ask("stream_list", "{after: 'a-2'}");
	assert_value(answer, "streams", "[['b', 4]]");
	assert_value(answer, "next", "nil");
	assert_value(answer, "end", "true");
	assert_value(answer, "head", "19");
	assert_value(ask("stream_list", "{category: 'a'}"), "streams", "[['a-1', 12], ['a-2', 1]]");
	assert_value(ask("stream_list", "{prefix: '$'}"), "streams", "[['$s', 2]]");
	assert_value(ask("category_list", "{}"), "categories", "[['a', 13], ['b', 4]]");
	assert_value(ask("type_list", "{limit: 1}"), "types", "[['T0', 9]]");
	assert_value(ask("type_list", "{after: 'T0'}"), "types", "[['T1', 8]]");
	assert_value(ask("type_list", "{prefix: 'x'}"), "types", "[]");
	assert_error(ask("type_list", "{limit: 0}"), "INVALID_ARGUMENT");
	assert_error(ask("type_list", "{prefix: 7}"), "INVALID_ARGUMENT");
}

/* What one message cannot carry comes with the next one. */
static void a_list_is_bounded_in_bytes(void **state)
{
	char name[1025], arguments[1200];
	uint32_t found = 0, pages = 0, count;
	struct span streams;

	(void)state;
	harness.node.settings.max_message = 64 * KIB + 20 * KIB;
	memset(name, 'x', sizeof name);
	name[1024] = '\0';
	for (int i = 0; i < 100; i++) {
		name[0] = (char)('0' + i / 10);
		name[1] = (char)('0' + i % 10);
		harness_append(&harness, name, 1);
	}
	snprintf(arguments, sizeof arguments, "{}");
	for (bool end = false; !end; pages++) {
		struct answer answer = ask("stream_list", arguments);

		end = map_bool(answer.result, "end");
		assert_true(answer.result.size <= 21 * KIB);
		struct msgpack_reader reader =
			msgpack_reader_of(map_find(answer.result, "streams"));

		assert_true(msgpack_read_array(&reader, &count) && count > 0);
		found += count;
		reader = msgpack_reader_of(map_find(answer.result, "next"));
		if (msgpack_read_str(&reader, &streams))
			snprintf(arguments, sizeof arguments, "{after: '%.*s'}", (int)streams.size,
				 (const char *)streams.data);
	}
	assert_int_equal(found, 100);
	assert_in_range(pages, 5, 8);
}

static void positions_by_time(void **state)
{
	(void)state;
	for (int i = 1; i <= 3; i++)
		harness_append(&harness, "a", 2); /* created at 1000 + the number of the command */
	assert_value(ask("position_at", "{time: 0}"), "position", "1");
	assert_value(ask("position_at", "{time: -7}"), "position", "1");
	assert_value(ask("position_at", "{time: 1002}"), "position", "3");
	assert_value(ask("position_at", "{time: 1004}"), "position", "7");
	assert_value(ask("position_at", "{time: 1004}"), "head", "6");
	assert_error(ask("position_at", "{}"), "INVALID_ARGUMENT");
	assert_error(ask("position_at", "{time: 'noon'}"), "INVALID_ARGUMENT");
}

/* ---- load ---- */

static void put_snapshot(const char *stream, const struct system_snapshot *snapshot)
{
	uint8_t id[UUID_BYTES];
	struct record_fields fields = {0};
	struct apply_result result;
	struct buffer body, text;
	struct error error;
	size_t size;

	buffer_init(&body);
	buffer_init(&text);
	buffer_reserve(&body, COMMAND_HEADER_BYTES);
	body.size = COMMAND_HEADER_BYTES;
	size_t item = command_item_begin(&body);

	system_snapshot_fields(span_of_string(stream), snapshot, id, &text, &fields);
	struct expectation expectation = {.written = true, .stream = fields.stream};

	command_item_add_expectation(&body, &expectation);
	command_item_add_record(&body, &fields);
	command_item_end(&body, item);
	command_header_write(body.data, COMMAND_BATCH, 1, 5000);
	uint8_t *taken = buffer_take(&body, &size);

	assert_int_equal(store_apply(harness.node.store, ++harness.index, taken, size, NULL,
				     &result, &error),
			 0);
	buffer_close(&text);
	harness_notify(&harness);
}

static void an_aggregate_in_one_call(void **state)
{
	struct system_snapshot snapshot = {
		.version = 7, .type = span_of_string("sum"), .data = span_of_string("seven")};

	(void)state;
	assert_error(ask("load", "{stream: 'a'}"), "STREAM_NOT_FOUND");
	harness_append(&harness, "a", 10);
	struct answer answer = ask("load", "{stream: 'a'}");

	assert_value(answer, "snapshot", "nil");
	ASSERT_EVENTS(answer, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
	put_snapshot("a", &snapshot);
	answer = ask("load", "{stream: 'a'}");
	assert_value(answer, "snapshot",
		     "{version: 7, type: 'sum', data: b'seven', created: 5000}");
	ASSERT_EVENTS(answer, 1, 8, 9, 10);
	assert_value(answer, "version", "10");
	assert_value(answer, "next", "11");
	assert_value(answer, "end", "true");
	assert_value(answer, "head", "11");
	assert_value(answer, "state", "'live'");
	answer = ask("load", "{stream: 'a', limit: 2}");
	ASSERT_EVENTS(answer, 1, 8, 9);
	assert_value(answer, "next", "10");
	assert_value(answer, "end", "false");
	harness_flush(&harness);
	snapshot.version = 10;
	put_snapshot("a", &snapshot);
	assert_events(ask("load", "{stream: 'a'}"), 1, NULL, 0);
	snapshot = (struct system_snapshot){.deleted = true};
	put_snapshot("a", &snapshot);
	assert_value(ask("load", "{stream: 'a'}"), "snapshot", "nil");
}

/* A snapshot and an event, each as large as may be, in messages that carry twice that, barely. */
static void what_does_not_fit_beside_a_snapshot_comes_later(void **state)
{
	uint8_t *data = memory_zeroed(1, LIMIT_EVENT_BYTES);
	struct system_snapshot snapshot = {.version = 1,
					   .data = span_of(data, LIMIT_EVENT_BYTES - KIB)};

	(void)state;
	harness.node.settings.max_message = 2 * LIMIT_EVENT_BYTES;
	for (int i = 0; i < 3; i++)
		store_append(harness.node.store, ++harness.index, "a", 1, LIMIT_EVENT_BYTES - KIB);
	put_snapshot("a", &snapshot);
	struct answer answer = ask("load", "{stream: 'a'}");

	assert_events(answer, 1, NULL, 0);
	assert_value(answer, "next", "2");
	assert_value(answer, "end", "false");
	assert_true(answer.result.size < harness.node.settings.max_message);
	memory_free(data);
}

static void what_is_no_snapshot_is_damage(void **state)
{
	(void)state;
	harness_append(&harness, "a", 1);
	harness_append(&harness, "$snapshot-a", 1);
	assert_error(ask("load", "{stream: 'a'}"), "INTERNAL");
}

/* ---- a node without a cluster ---- */

static void a_node_that_belongs_to_no_cluster_shows_no_empty_store(void **state)
{
	static const struct {
		const char *method, *arguments;
	} cases[] = {
		{"read_stream", "{stream: 'a'}"},
		{"read_all", "{}"},
		{"read_event", "{position: 1}"},
		{"stream_info", "{stream: 'a'}"},
		{"load", "{stream: 'a'}"},
		{"count", "{}"},
		{"position_at", "{time: 0}"},
		{"stream_list", "{}"},
		{"category_list", "{}"},
		{"type_list", "{}"},
		{"read_all", "{consistency: 'linearizable'}"},
		{"read_all", "{consistency: {at_least: 1}, timeout_ms: 10}"},
		{"subscribe", "{stream: 'a'}"},
		{"subscribe", "{query: 'all'}"},
	};

	(void)state;
	harness.status.state = REPLICA_FORMING;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct answer answer = {0};
		uint64_t msgid;

		buffer_clear(&params);
		notation_append(&params, cases[i].arguments);
		client_send(&client, cases[i].method, buffer_span(&params));
		while (!take_answer(&answer, &msgid))
			uv_run(&harness.loop, UV_RUN_ONCE);
		assert_error(answer, "NOT_READY");
		assert_int_equal(map_u64(answer.error, "head"), 0);
	}
	harness.status.state = REPLICA_RUNNING;
	harness_append(&harness, "a", 1);
	ASSERT_EVENTS(ask("read_all", "{}"), 0, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(pages_by_query),
		TEST(counts),
		TEST(a_count_is_given_up_when_nobody_waits_for_it),
		TEST(lists_in_pages),
		TEST(a_list_is_bounded_in_bytes),
		TEST(positions_by_time),
		TEST(an_aggregate_in_one_call),
		TEST(what_does_not_fit_beside_a_snapshot_comes_later),
		TEST(what_is_no_snapshot_is_damage),
		TEST(a_node_that_belongs_to_no_cluster_shows_no_empty_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
