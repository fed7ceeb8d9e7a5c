#include "client/decode.h"
#include "client/wire.h"
#include "tests/unit/unit.h"
#include <string.h>

static void write_event(struct buffer *into, uint64_t position, uint32_t tags)
{
	msgpack_write_array(into, 10); /* one element more than there is today */
	msgpack_write_u64(into, position);
	msgpack_write_u64(into, 2);
	msgpack_write_i64(into, -5);
	msgpack_write_bin(into, span_of("0123456789abcdef", 16));
	msgpack_write_string(into, "S");
	msgpack_write_string(into, "T");
	msgpack_write_bin(into, span_of_string("data"));
	msgpack_write_string(into, "meta");
	msgpack_write_array(into, tags);
	for (uint32_t i = 0; i < tags; i++)
		msgpack_write_string(into, i % 2 == 0 ? "even" : "odd");
	msgpack_write_nil(into);
}

static void write_events(struct buffer *into)
{
	msgpack_write_array(into, 40);
	for (uint32_t i = 0; i < 40; i++)
		write_event(into, i + 1, i % 33);
}

static void write_error(struct buffer *into)
{
	msgpack_write_map(into, 5);
	wire_write_text(into, "code", "WRONG_EXPECTED_VERSION");
	wire_write_text(into, "message", "no");
	wire_write_number(into, "unknown_field", 1);
	msgpack_write_string(into, "violations");
	msgpack_write_array(into, 2);
	for (int i = 0; i < 2; i++) {
		msgpack_write_map(into, 5);
		wire_write_number(into, "index", (uint64_t)i);
		wire_write_text(into, "stream", "S");
		if (i == 0)
			wire_write_number(into, "expected", 3);
		else
			wire_write_text(into, "expected", "no_stream");
		wire_write_number(into, "actual", 9);
		wire_write_text(into, "state", "live");
	}
	msgpack_write_string(into, "events");
	write_events(into);
}

static void write_append_result(struct buffer *into)
{
	msgpack_write_map(into, 7);
	wire_write_number(into, "first_position", 10);
	wire_write_number(into, "position", 12);
	msgpack_write_string(into, "versions");
	msgpack_write_map(into, 2);
	wire_write_number(into, "A", 1);
	wire_write_number(into, "B", 2);
	wire_write_number(into, "created", 77);
	msgpack_write_string(into, "duplicate");
	msgpack_write_bool(into, true);
	msgpack_write_string(into, "first_version");
	msgpack_write_nil(into);
	wire_write_number(into, "version", 2);
}

static void events_are_decoded_with_their_tags(void **state)
{
	struct decode_events events;
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	decode_events_init(&events);
	write_events(&bytes);
	for (int round = 0; round < 2; round++) {
		assert_true(decode_events(buffer_span(&bytes), &events));
		assert_int_equal(events.count, 40);
		for (uint32_t i = 0; i < 40; i++) {
			const struct annal_event *event = &events.events[i];

			assert_int_equal(event->position, i + 1);
			assert_int_equal(event->created_ns, -5);
			assert_memory_equal(event->id, "0123456789abcdef", 16);
			assert_true(span_equal_string(decode_span(event->data), "data"));
			assert_true(span_equal_string(decode_span(event->metadata), "meta"));
			assert_int_equal(event->tags_count, i % 33);
			if (event->tags_count > 1)
				assert_true(span_equal_string(decode_span(event->tags[1]), "odd"));
		}
	}
	decode_events_close(&events);
	buffer_close(&bytes);
}

static void more_tags_than_allowed_are_no_event(void **state)
{
	struct decode_events events;
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	decode_events_init(&events);
	write_event(&bytes, 1, LIMIT_TAGS + 1);
	assert_false(decode_event(buffer_span(&bytes), &events));
	decode_events_close(&events);
	buffer_close(&bytes);
}

static void the_fields_of_an_append_are_decoded(void **state)
{
	struct decode_versions versions = {0};
	struct annal_append_result result;
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	write_append_result(&bytes);
	assert_true(decode_append_result(buffer_span(&bytes), true, &result, &versions));
	assert_int_equal(result.first_position, 10);
	assert_int_equal(result.position, 12);
	assert_int_equal(result.first_version, 0);
	assert_int_equal(result.version, 2);
	assert_int_equal(result.created_ns, 77);
	assert_true(result.duplicate);
	assert_int_equal(result.versions_count, 2);
	assert_true(span_equal_string(decode_span(result.versions[1].stream), "B"));
	memory_free(versions.items);
	buffer_close(&bytes);
}

static void the_fields_of_an_error_are_decoded(void **state)
{
	struct decode_error error;
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	decode_error_init(&error);
	write_error(&bytes);
	assert_true(decode_error(buffer_span(&bytes), &error));
	memset(bytes.data, 0, bytes.size); /* it has a copy */
	assert_int_equal(error.public.code, ANNAL_WRONG_EXPECTED_VERSION);
	assert_string_equal(error.public.message, "no");
	assert_int_equal(error.public.violations_count, 2);
	assert_int_equal(error.public.violations[0].expect.kind, ANNAL_EXPECT_VERSION);
	assert_int_equal(error.public.violations[0].expect.version, 3);
	assert_int_equal(error.public.violations[1].expect.kind, ANNAL_EXPECT_NO_STREAM);
	assert_int_equal(error.public.violations[1].actual, 9);
	assert_int_equal(error.public.events_count, 40);
	decode_error_close(&error);
	buffer_close(&bytes);
}

static void an_unknown_code_keeps_its_name(void **state)
{
	struct decode_error error;
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	decode_error_init(&error);
	msgpack_write_map(&bytes, 2);
	wire_write_text(&bytes, "code", "LATER_IDEA");
	wire_write_text(&bytes, "message", "hm");
	assert_true(decode_error(buffer_span(&bytes), &error));
	assert_int_equal(error.public.code, ANNAL_UNKNOWN_ERROR);
	assert_string_equal(error.public.message, "LATER_IDEA: hm");
	decode_error_close(&error);
	buffer_close(&bytes);
}

static void every_code_has_its_name(void **state)
{
	(void)state;
	assert_string_equal(annal_code_name(ANNAL_OK), "OK");
	for (int code = ANNAL_OK + 1; code < ANNAL_UNREACHABLE; code++)
		assert_int_equal(decode_code(annal_text(annal_code_name((enum annal_code)code))),
				 code);
	assert_string_equal(annal_code_name(ANNAL_UNREACHABLE), "UNREACHABLE");
	assert_int_equal(decode_code(annal_text("UNREACHABLE")), ANNAL_UNKNOWN_ERROR);
}

static void messages_are_told_apart(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		bool good;
		enum decode_kind kind;
		bool failed;
	} cases[] = {
		{"\x94\x01\x05\xc0\x80", 5, true, DECODE_RESPONSE, false},
		{"\x94\x01\x05\x80\xc0", 5, true, DECODE_RESPONSE, true},
		{"\x93\x02\xa1x\x90", 5, true, DECODE_NOTIFICATION, false},
		{"\x94\x01\x05\x80\x80", 5, false, 0, false},  /* both error and result */
		{"\x94\x00\x05\xa1x\x90", 6, false, 0, false}, /* a request */
		{"\x93\x01\x05\xc0", 4, false, 0, false},
		{"\x94\x01\xff\xc0\x80", 5, false, 0, false},
		{"\x94\x01\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x80", 13, false, 0, false},
		{"\x93\x02\xa1x\x80", 5, false, 0, false},
		{"\x93\x02\x05\x90", 4, false, 0, false},
		{"\x80", 1, false, 0, false},
		{"\x90", 1, false, 0, false},
		{"\xc0", 1, false, 0, false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i].bytes, cases[i].size);
		struct decode_message message;

		assert_int_equal(decode_message(exact, &message), cases[i].good);
		if (cases[i].good) {
			assert_int_equal(message.kind, cases[i].kind);
			assert_int_equal(message.failed, cases[i].failed);
		}
		unit_free_exact(exact);
	}
}

/* Cut short anywhere it is refused; with any byte changed, it is decoded or refused, no more. */
static void assert_survives(struct buffer *bytes, bool (*decode)(struct span))
{
	uint64_t chance = 42;

	assert_true(decode(buffer_span(bytes)));
	for (size_t size = 0; size < bytes->size; size += 1 + bytes->size / 500) {
		struct span cut = unit_exact(bytes->data, size);

		assert_false(decode(cut));
		unit_free_exact(cut);
	}
	for (int round = 0; round < 5000; round++) {
		struct span changed = unit_exact(bytes->data, bytes->size);
		uint8_t *at = (uint8_t *)(uintptr_t)changed.data;

		at[unit_random(&chance) % changed.size] = (uint8_t)unit_random(&chance);
		decode(changed);
		unit_free_exact(changed);
	}
}

static bool decode_as_error(struct span bytes)
{
	struct decode_error error;

	decode_error_init(&error);
	bool good = decode_error(bytes, &error);

	decode_error_close(&error);
	return good;
}

static bool decode_as_result(struct span bytes)
{
	struct decode_versions versions = {0};
	struct annal_append_result result;
	bool good = decode_append_result(bytes, true, &result, &versions);

	memory_free(versions.items);
	return good;
}

static void hostile_answers_are_refused(void **state)
{
	struct buffer error, result;

	(void)state;
	buffer_init(&error);
	buffer_init(&result);
	write_error(&error);
	write_append_result(&result);
	assert_survives(&error, decode_as_error);
	assert_survives(&result, decode_as_result);
	buffer_close(&error);
	buffer_close(&result);
}

/* The smallest items there are: many more than any node answers, in a message that is not too large. */
static void more_items_than_there_can_be_are_refused(void **state)
{
	const uint32_t counts[] = {LIMIT_APPEND_EVENTS, LIMIT_APPEND_EVENTS + 1,
				   2 * LIMIT_APPEND_EVENTS, 2 * LIMIT_APPEND_EVENTS + 1};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		struct buffer error, result;

		buffer_init(&error);
		buffer_init(&result);
		msgpack_write_map(&error, 2);
		msgpack_write_string(&error, "code");
		msgpack_write_string(&error, "WRONG_EXPECTED_VERSION");
		msgpack_write_string(&error, "violations");
		msgpack_write_array(&error, counts[i]);
		msgpack_write_map(&result, 2);
		msgpack_write_string(&result, "position");
		msgpack_write_u64(&result, 5);
		msgpack_write_string(&result, "versions");
		msgpack_write_map(&result, counts[i]);
		for (uint32_t item = 0; item < counts[i]; item++) {
			msgpack_write_map(&error, 0);
			msgpack_write_string(&result, "");
			msgpack_write_u64(&result, 1);
		}
		assert_int_equal(decode_as_error(buffer_span(&error)), i < 3);
		assert_int_equal(decode_as_result(buffer_span(&result)), i < 1);
		buffer_close(&error);
		buffer_close(&result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_are_decoded_with_their_tags),
		cmocka_unit_test(more_tags_than_allowed_are_no_event),
		cmocka_unit_test(the_fields_of_an_append_are_decoded),
		cmocka_unit_test(the_fields_of_an_error_are_decoded),
		cmocka_unit_test(an_unknown_code_keeps_its_name),
		cmocka_unit_test(every_code_has_its_name),
		cmocka_unit_test(messages_are_told_apart),
		cmocka_unit_test(hostile_answers_are_refused),
		cmocka_unit_test(more_items_than_there_can_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
