#include "client/tool.h"
#include "client/wire.h"
#include "tests/unit/unit.h"
#include <stdlib.h>
#include <string.h>

static const uint8_t id[ANNAL_ID_BYTES] = {0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#define ID_TEXT "ab0102030405060708090a0b0c0d0e0f"

/* A request as JSON, bin as hexadecimal text. */
static void assert_request(const struct wire_request *request, const char *expected)
{
	struct msgpack_scanner scanner;
	json_t *value;
	char *text;

	msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
	assert_int_equal(msgpack_scan(&scanner, request->bytes.data, request->bytes.size),
			 MSGPACK_SCAN_VALUE);
	assert_int_equal(scanner.offset, request->bytes.size);
	value = tool_json_from_msgpack(buffer_span(&request->bytes));
	text = json_dumps(value, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(value);
}

static void one_stream_goes_in_the_short_form(void **state)
{
	const char *const tags[] = {"a", "b"};
	const struct annal_new_event events[] = {
		{.id = id, .type = "T", .data = annal_text("xy")},
		{.id = id, .type = "U", .metadata = annal_text("m"), .tags = tags, .tags_count = 2},
	};
	const struct annal_write write = {.stream = "S-1",
					  .expect = {ANNAL_EXPECT_VERSION, 7},
					  .events = events,
					  .events_count = 2};
	const struct annal_append append = {.writes = &write, .writes_count = 1};
	struct wire_request request;

	(void)state;
	wire_request_init(&request);
	wire_append(&request, &append);
	wire_request_patch(&request, 513, 4321, false);
	assert_request(&request,
		       "[0,513,\"append\",[{\"timeout_ms\":4321,\"forward\":false,"
		       "\"stream\":\"S-1\",\"expected_version\":7,\"events\":["
		       "{\"id\":\"" ID_TEXT "\",\"type\":\"T\",\"data\":\"7879\"},"
		       "{\"id\":\"" ID_TEXT "\",\"type\":\"U\",\"data\":\"\",\"metadata\":\"6d\","
		       "\"tags\":[\"a\",\"b\"]}]}]]");
	/* Sent again: only what is patched changes. */
	wire_request_patch(&request, UINT32_MAX, 1, true);
	json_t *again = tool_json_from_msgpack(buffer_span(&request.bytes));

	assert_int_equal(json_integer_value(json_array_get(again, 1)), UINT32_MAX);
	json_decref(again);
	wire_request_close(&request);
}

static void several_streams_and_all_parts_go_in_the_long_form(void **state)
{
	const struct annal_new_event event = {.id = id, .type = "T"};
	const struct annal_write writes[] = {
		{.stream = "A",
		 .expect = {.kind = ANNAL_EXPECT_NO_STREAM},
		 .events = &event,
		 .events_count = 1},
		{.stream = "B", .events = &event, .events_count = 1},
	};
	const struct annal_check check = {"C", {.kind = ANNAL_EXPECT_STREAM_EXISTS}};
	const char *const types[] = {"T"};
	const struct annal_query_item item = {.types = {types, 1}, .stream_prefix = "P"};
	const struct annal_condition conditions[] = {{{&item, 1}, 9}, {{NULL, 0}, 10}};
	const struct annal_checkpoint checkpoint = {"me", 5, 2};
	const struct annal_append append = {.writes = writes,
					    .writes_count = 2,
					    .checks = &check,
					    .checks_count = 1,
					    .conditions = conditions,
					    .conditions_count = 2,
					    .checkpoint = &checkpoint,
					    .want_conflict_events = true};
	struct wire_request request;

	(void)state;
	wire_request_init(&request);
	wire_append(&request, &append);
	wire_request_patch(&request, 1, 2, true);
#define EVENT "[{\"id\":\"" ID_TEXT "\",\"type\":\"T\",\"data\":\"\"}]"
	assert_request(&request,
		       "[0,1,\"append\",[{\"timeout_ms\":2,\"forward\":true,\"writes\":["
		       "{\"stream\":\"A\",\"expected_version\":\"no_stream\",\"events\":" EVENT "},"
		       "{\"stream\":\"B\",\"events\":" EVENT "}],"
		       "\"checks\":[{\"stream\":\"C\",\"expected_version\":\"stream_exists\"}],"
		       "\"condition\":[{\"fail_if\":[{\"types\":[\"T\"],\"stream_prefix\":\"P\"}],"
		       "\"after\":9},{\"fail_if\":\"all\",\"after\":10}],"
		       "\"checkpoint\":{\"consumer\":\"me\",\"position\":5,\"epoch\":2},"
		       "\"on_conflict\":\"events\"}]]");
	wire_request_close(&request);
}

static void an_event_without_id_gets_one_that_stays(void **state)
{
	const struct annal_new_event event = {.type = "T"};
	const struct annal_write write = {.stream = "A", .events = &event, .events_count = 1};
	const struct annal_append append = {.writes = &write, .writes_count = 1};
	struct wire_request first, second;

	(void)state;
	wire_request_init(&first);
	wire_request_init(&second);
	wire_append(&first, &append);
	wire_append(&second, &append);
	assert_int_equal(first.bytes.size, second.bytes.size);
	assert_memory_not_equal(first.bytes.data, second.bytes.data, first.bytes.size);
	wire_request_close(&first);
	wire_request_close(&second);
}

static void reads_carry_what_was_asked_for(void **state)
{
	const struct {
		struct annal_read read;
		uint64_t at_least;
		const char *expected;
	} cases[] = {
		{{.stream = "S"}, 0, "[0,1,\"read_stream\",[{\"timeout_ms\":2,\"stream\":\"S\"}]]"},
		{{.stream = "S", .from = 3, .backward = true, .limit = 5, .max_bytes = 6},
		 9,
		 "[0,1,\"read_stream\",[{\"timeout_ms\":2,\"stream\":\"S\",\"from\":3,"
		 "\"direction\":\"backward\",\"limit\":5,\"max_bytes\":6,"
		 "\"consistency\":{\"at_least\":9}}]]"},
		{{.system = true, .consistency = ANNAL_CONSISTENCY_LINEARIZABLE},
		 9,
		 "[0,1,\"read_all\",[{\"timeout_ms\":2,\"system\":true,"
		 "\"consistency\":\"linearizable\"}]]"},
		{{.consistency = ANNAL_CONSISTENCY_LOCAL},
		 9,
		 "[0,1,\"read_all\",[{\"timeout_ms\":2}]]"},
	};
	struct wire_request request;

	(void)state;
	wire_request_init(&request);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		wire_read(&request, &cases[i].read, cases[i].at_least);
		wire_request_patch(&request, 1, 2, true);
		assert_request(&request, cases[i].expected);
	}
	wire_request_close(&request);
}

static void parameters_of_any_method_are_passed_on(void **state)
{
	struct wire_request request;
	struct buffer params;
	uint32_t timeout_ms = 0;

	(void)state;
	buffer_init(&params);
	msgpack_write_map(&params, 3);
	wire_write_number(&params, "a", 1);
	wire_write_number(&params, "timeout_ms", 99);
	wire_write_text(&params, "b", "x");
	wire_request_init(&request);
	assert_true(wire_generic(&request, "any", buffer_span(&params), &timeout_ms));
	assert_int_equal(timeout_ms, 99);
	wire_request_patch(&request, 1, 2, true);
	assert_request(&request, "[0,1,\"any\",[{\"timeout_ms\":2,\"a\":1,\"b\":\"x\"}]]");
	for (size_t size = 1; size < params.size; size++) {
		struct span cut = unit_exact(params.data, size);

		assert_false(wire_generic(&request, "any", cut, &timeout_ms));
		unit_free_exact(cut);
	}
	assert_true(wire_generic(&request, "any", (struct span){0}, &timeout_ms));
	wire_request_close(&request);
	buffer_close(&params);
}

static void an_append_that_cannot_be_encoded_is_told(void **state)
{
	const struct annal_new_event no_type = {0}, good = {.type = "T"};
	const struct annal_write no_stream = {.events = &good, .events_count = 1};
	const struct annal_write no_events = {.stream = "S"};
	const struct annal_write many = {.stream = "S", .events = &good, .events_count = 10001};
	const struct annal_write untyped = {.stream = "S", .events = &no_type, .events_count = 1};
	const struct annal_append cases[] = {
		{0},
		{.writes = &no_stream, .writes_count = 1},
		{.writes = &no_events, .writes_count = 1},
		{.writes = &many, .writes_count = 1},
		{.writes = &untyped, .writes_count = 1},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_non_null(wire_append_problem(&cases[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_stream_goes_in_the_short_form),
		cmocka_unit_test(several_streams_and_all_parts_go_in_the_long_form),
		cmocka_unit_test(an_event_without_id_gets_one_that_stays),
		cmocka_unit_test(reads_carry_what_was_asked_for),
		cmocka_unit_test(parameters_of_any_method_are_passed_on),
		cmocka_unit_test(an_append_that_cannot_be_encoded_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
