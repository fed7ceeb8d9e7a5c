/* Files that are imported: lines out of bytes, events out of lines. */
#include "client/tool.h"
#include "client/tool_line.h"
#include "client/tool_source.h"
#include "tests/unit/unit.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- lines ---- */

static void a_line_keeps_its_data_byte_by_byte(void **state)
{
	const char *text = " { \"x\":[1,{\"data\":9}], \"stream\":\"S-1\",\"type\" : \"T\","
			   "\"data\": {\"n\":1.10, \"s\":\"}\\\"]\"} ,\"metadata\":null,"
			   "\"tags\":[\"a\",\"\\u00e4\"],"
			   "\"id\":\"8F435BF8-f97e-5f3a-b52d-65f11f3fb4f1\"} ";
	struct tool_line line;
	struct buffer bytes;
	struct error error;

	(void)state;
	buffer_init(&bytes);
	buffer_append(&bytes, "before", 7);
	assert_int_equal(tool_line_parse(span_of_string(text), 1, &line, &bytes, &error), 0);
	const char *base = (const char *)bytes.data;

	assert_string_equal(base, "before");
	assert_string_equal(base + line.stream_at, "S-1");
	assert_string_equal(base + line.type_at, "T");
	assert_true(span_equal_string(span_of(base + line.data_at, line.data_size),
				      "{\"n\":1.10, \"s\":\"}\\\"]\"}"));
	assert_true(
		span_equal_string(span_of(base + line.metadata_at, line.metadata_size), "null"));
	assert_int_equal(line.tags_count, 2);
	assert_string_equal(base + line.tags_at, "a");
	assert_string_equal(base + line.tags_at + 2, "\xc3\xa4");
	assert_true(line.has_id);
	assert_int_equal(line.id[0], 0x8f);
	buffer_close(&bytes);
}

static void scalars_and_base64_are_data_too(void **state)
{
	static const char *const cases[][2] = {
		{"{\"stream\":\"S\",\"type\":\"T\"}", ""},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data\":7}", "7"},
		{"{\"data\":-1.5e3,\"stream\":\"S\",\"type\":\"T\"}", "-1.5e3"},
		{"{\"stream\":\"S\",\"data\":\"a,b\",\"type\":\"T\"}", "\"a,b\""},
		{"{\"stream\":\"S\",\"data\":[],\"type\":\"T\"}", "[]"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data\":true}", "true"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data\":1,\"data\":2}", "2"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_base64\":\"\"}", ""},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_base64\":\"aGk=\"}", "hi"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_base64\":\"aGkh\"}", "hi!"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_text\":\"a\\n\\u00e4\\\"\"}",
		 "a\n\xc3\xa4\""},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_text\":\"\"}", ""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i][0], strlen(cases[i][0]));
		struct tool_line line;
		struct buffer bytes;
		struct error error;

		buffer_init(&bytes);
		if (tool_line_parse(exact, 1, &line, &bytes, &error) != 0)
			fail_msg("%s: %s", cases[i][0], error.message);
		assert_true(span_equal_string(span_of(bytes.data + line.data_at, line.data_size),
					      cases[i][1]));
		buffer_close(&bytes);
		unit_free_exact(exact);
	}
}

static void a_line_may_say_what_it_expects(void **state)
{
	static const struct {
		const char *value;
		struct annal_expect expect;
	} cases[] = {{"7", {ANNAL_EXPECT_VERSION, 7}},
		     {"0", {ANNAL_EXPECT_VERSION, 0}},
		     {"\"any\"", {ANNAL_EXPECT_ANY, 0}},
		     {"\"no_stream\"", {ANNAL_EXPECT_NO_STREAM, 0}},
		     {"\"stream_exists\"", {ANNAL_EXPECT_STREAM_EXISTS, 0}}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tool_line line;
		struct buffer bytes;
		struct error error;
		char text[128];

		buffer_init(&bytes);
		snprintf(text, sizeof text,
			 "{\"stream\":\"S\",\"type\":\"T\",\"expected_version\":%s}",
			 cases[i].value);
		assert_int_equal(tool_line_parse(span_of_string(text), 1, &line, &bytes, &error),
				 0);
		assert_true(line.has_expect);
		assert_int_equal(line.expect.kind, cases[i].expect.kind);
		assert_int_equal(line.expect.version, cases[i].expect.version);
		buffer_close(&bytes);
	}
}

static void what_is_shown_says_what_it_is(void **state)
{
	static const char *const cases[][2] = {
		{"{\"a\" : 1}", "\"d\":{\"a\" : 1}"},
		{"{\n}", "\"d\":{ }"},
		{"hi \"you\"\n", "\"d_text\":\"hi \\\"you\\\"\\u000a\""},
		{"\xff", "\"d_base64\":\"/w==\""},
		{"", "\"d_text\":\"\""},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buffer text;

		buffer_init(&text);
		tool_json_payload(&text, "d", annal_text(cases[i][0]), TOOL_PAYLOAD_SHOWN);
		if (!span_equal_string(buffer_span(&text), cases[i][1]))
			fail_msg("%s: %.*s", cases[i][0], (int)text.size, (char *)text.data);
		buffer_close(&text);
	}
}

static void a_bad_line_is_told(void **state)
{
	static const char *const cases[][2] = {
		{"", "no JSON"},
		{"{\"stream\":", "no JSON"},
		{"[]", "no object"},
		{"7", "no JSON"},
		{"{\"type\":\"T\"}", "\"stream\" is missing"},
		{"{\"stream\":\"S\"}", "\"type\" is missing"},
		{"{\"stream\":7,\"type\":\"T\"}", "\"stream\" is no text"},
		{"{\"stream\":\"\",\"type\":\"T\"}", "\"stream\" is empty"},
		{"{\"stream\":\"$x\",\"type\":\"T\"}", "reserved"},
		{"{\"stream\":\"a\\u0000\",\"type\":\"T\"}", "control character"},
		{"{\"stream\":\"S\",\"type\":\"a\\u0000b\"}", "zero byte"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"id\":\"1\"}", "no UUID"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"id\":1}", "no UUID"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"tags\":\"x\"}", "no array"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"tags\":[1]}", "no text"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_base64\":\"a\"}", "no base64"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_base64\":\"a===\"}", "no base64"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_base64\":\"\",\"data\":1}", "beside"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_text\":\"\",\"data\":1}", "beside"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_text\":\"\",\"data_base64\":\"\"}",
		 "beside"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"data_text\":1}", "no text"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"expected_version\":-1}", "no version"},
		{"{\"stream\":\"S\",\"type\":\"T\",\"expected_version\":\"new\"}", "no version"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tool_line line;
		struct buffer bytes;
		struct error error;

		buffer_init(&bytes);
		assert_true(tool_line_parse(span_of_string(cases[i][0]), 1, &line, &bytes, &error) <
			    0);
		if (strstr(error.message, cases[i][1]) == NULL)
			fail_msg("%s: %s", cases[i][0], error.message);
		assert_int_equal(bytes.size, 0);
		buffer_close(&bytes);
	}
}

static void an_id_that_is_missing_comes_from_the_line(void **state)
{
	struct span text = span_of_string("{\"stream\":\"S\",\"type\":\"T\"}");
	struct span other = span_of_string("{\"stream\":\"S\",\"type\":\"U\"}");
	struct tool_line first, again, later, different;
	struct buffer bytes;
	struct error error;

	(void)state;
	buffer_init(&bytes);
	assert_int_equal(tool_line_parse(text, 5, &first, &bytes, &error), 0);
	assert_int_equal(tool_line_parse(text, 5, &again, &bytes, &error), 0);
	assert_int_equal(tool_line_parse(text, 6, &later, &bytes, &error), 0);
	assert_int_equal(tool_line_parse(other, 5, &different, &bytes, &error), 0);
	assert_false(first.has_id);
	assert_memory_equal(first.id, again.id, ANNAL_ID_BYTES);
	assert_memory_not_equal(first.id, later.id, ANNAL_ID_BYTES);
	assert_memory_not_equal(first.id, different.id, ANNAL_ID_BYTES);
	assert_int_equal(first.id[6] >> 4, 8);
	buffer_close(&bytes);
}

static void base64_goes_there_and_back(void **state)
{
	uint8_t bytes[64];
	struct buffer text, back;

	(void)state;
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 37);
	buffer_init(&text);
	buffer_init(&back);
	for (size_t size = 0; size <= sizeof bytes; size++) {
		buffer_clear(&text);
		buffer_clear(&back);
		tool_base64(&text, span_of(bytes, size));
		assert_true(tool_base64_decode((const char *)text.data, text.size, &back));
		assert_true(span_equal(buffer_span(&back), span_of(bytes, size)));
	}
	buffer_close(&text);
	buffer_close(&back);
}

static void an_exported_event_is_imported_as_it_was(void **state)
{
	static const char *const payloads[] = {"{\"a\" : 1.10}",
					       "\x01\xff",
					       "",
					       "null",
					       "{\n}",
					       "\"",
					       "99999999999999999999999",
					       " 1",
					       "1\n",
					       "{}\r",
					       "hi",
					       "a\tb\n",
					       "\x7f",
					       "\xc3\xa4",
					       "\xc3"};
	struct annal_bytes tag = annal_text("t\"\n");

	(void)state;
	for (size_t i = 0; i < COUNT_OF(payloads); i++) {
		const struct annal_event event = {.position = 3,
						  .version = 2,
						  .id = {7},
						  .stream = annal_text("S\"-\\1"),
						  .type = annal_text("T\x7f"),
						  .data = annal_text(payloads[i]),
						  .tags = &tag,
						  .tags_count = 1};
		struct buffer text, bytes;
		struct tool_line line;
		struct error error;

		buffer_init(&text);
		buffer_init(&bytes);
		tool_event_line(&text, &event, TOOL_PAYLOAD_EXACT);
		assert_null(memchr(text.data, '\n', text.size));
		if (tool_line_parse(buffer_span(&text), 1, &line, &bytes, &error) != 0)
			fail_msg("%s", error.message);
		assert_string_equal((char *)bytes.data + line.stream_at, "S\"-\\1");
		assert_string_equal((char *)bytes.data + line.type_at, "T\x7f");
		assert_string_equal((char *)bytes.data + line.tags_at, "t\"\n");
		assert_memory_equal(line.id, event.id, ANNAL_ID_BYTES);
		assert_int_equal(line.data_size, strlen(payloads[i]));
		assert_memory_equal(bytes.data + line.data_at, payloads[i], line.data_size);
		buffer_close(&text);
		buffer_close(&bytes);
	}
}

/* ---- files ---- */

static void with_file(const void *bytes, size_t size, void (*look)(struct tool_source *source))
{
	char path[] = "/tmp/annal-unit-XXXXXX";
	int fd = mkstemp(path);
	struct tool_source source;
	struct error error;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), size);
	close(fd);
	assert_int_equal(tool_source_open(&source, path, &error), 0);
	look(&source);
	tool_source_close(&source);
	unlink(path);
}

static void expect_line(struct tool_source *source, const char *text)
{
	struct span line;
	struct error error;

	assert_int_equal(tool_source_next(source, &line, &error), 1);
	assert_true(span_equal_string(line, text));
}

static void expect_end(struct tool_source *source)
{
	struct span line;
	struct error error;

	assert_int_equal(tool_source_next(source, &line, &error), 0);
}

static void look_at_lines(struct tool_source *source)
{
	expect_line(source, "one");
	expect_line(source, "");
	expect_line(source, "two");
	assert_int_equal(source->line, 3);
	expect_line(source, "last");
	expect_end(source);
	expect_end(source);
}

static void lines_end_with_a_newline_or_the_file(void **state)
{
	(void)state;
	with_file("one\n\r\ntwo\r\nlast", 15, look_at_lines);
	with_file("one\n\ntwo\nlast\n", 14, look_at_lines);
	with_file("", 0, expect_end);
}

#define LONG_BYTES 700000u

static void look_at_long_lines(struct tool_source *source)
{
	struct span line;
	struct error error;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(tool_source_next(source, &line, &error), 1);
		assert_int_equal(line.size, LONG_BYTES);
		assert_int_equal(line.data[LONG_BYTES - 1], 'a' + i);
	}
	expect_end(source);
}

static void look_at_damage(struct tool_source *source)
{
	struct span line;
	struct error error;
	int status;

	while ((status = tool_source_next(source, &line, &error)) == 1)
		;
	assert_true(status < 0);
	if (strstr(error.message, "cut short") == NULL && strstr(error.message, "damaged") == NULL)
		fail_msg("%s", error.message);
}

static void compressed_files_are_found_out_by_themselves(void **state)
{
	size_t size = 3 * (LONG_BYTES + 1), room = ZSTD_compressBound(size);
	uint8_t *text = memory_alloc(size), *packed = memory_alloc(room);

	(void)state;
	for (size_t i = 0; i < size; i++)
		text[i] = i % (LONG_BYTES + 1) == LONG_BYTES
				  ? '\n'
				  : (uint8_t)('a' + i / (LONG_BYTES + 1));
	size_t packed_size = ZSTD_compress(packed, room, text, size, 3);

	assert_false(ZSTD_isError(packed_size));
	with_file(text, size, look_at_long_lines);
	with_file(packed, packed_size, look_at_long_lines);
	with_file(packed, packed_size - 1, look_at_damage);
	packed[packed_size / 2] ^= 0xff;
	packed[packed_size / 2 + 1] ^= 0xff;
	with_file(packed, packed_size - 3, look_at_damage);
	memory_free(text);
	memory_free(packed);
}

static void a_file_that_is_not_there_is_told(void **state)
{
	struct tool_source source;
	struct error error;

	(void)state;
	assert_true(tool_source_open(&source, "/nowhere/file", &error) < 0);
	assert_non_null(strstr(error.message, "/nowhere/file"));
	tool_source_close(&source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_keeps_its_data_byte_by_byte),
		cmocka_unit_test(scalars_and_base64_are_data_too),
		cmocka_unit_test(a_line_may_say_what_it_expects),
		cmocka_unit_test(what_is_shown_says_what_it_is),
		cmocka_unit_test(a_bad_line_is_told),
		cmocka_unit_test(an_id_that_is_missing_comes_from_the_line),
		cmocka_unit_test(base64_goes_there_and_back),
		cmocka_unit_test(an_exported_event_is_imported_as_it_was),
		cmocka_unit_test(lines_end_with_a_newline_or_the_file),
		cmocka_unit_test(compressed_files_are_found_out_by_themselves),
		cmocka_unit_test(a_file_that_is_not_there_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
