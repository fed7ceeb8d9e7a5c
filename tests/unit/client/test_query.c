/* Queries as they are typed. */
#include "client/tool.h"
#include "client/tool_query.h"
#include "client/wire.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As the protocol has it. */
static void assert_means(struct tool_query *query, const char *text, const char *expected)
{
	struct annal_query built;
	struct buffer bytes;
	struct error error;

	if (tool_query_build(query, &built, &error) != 0)
		fail_msg("%s: %s", text, error.message);
	buffer_init(&bytes);
	wire_write_query(&bytes, &built);
	json_t *value = tool_json_from_msgpack(buffer_span(&bytes));
	char *json = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

	if (strcmp(json, expected) != 0)
		fail_msg("%s: %s instead of %s", text, json, expected);
	free(json);
	json_decref(value);
	buffer_close(&bytes);
}

static void a_query_is_understood(void **state)
{
	static const char *const cases[][2] = {
		{"all", "\"all\""},
		{" all ", "\"all\""},
		{"type=A", "[{\"types\":[\"A\"]}]"},
		{"type=A,B", "[{\"types\":[\"A\",\"B\"]}]"},
		{"tag=x tag=y", "[{\"tags\":[\"x\",\"y\"]}]"},
		{"tag=x type=A tag=y", "[{\"types\":[\"A\"],\"tags\":[\"x\",\"y\"]}]"},
		{"type=A,B tag=x category=Order; tag=y",
		 "[{\"types\":[\"A\",\"B\"],\"tags\":[\"x\"],\"categories\":[\"Order\"]},"
		 "{\"tags\":[\"y\"]}]"},
		{"stream=S-1,S-2;prefix=S", "[{\"streams\":[\"S-1\",\"S-2\"]},"
					    "{\"stream_prefix\":\"S\"}]"},
		{"prefix=a,b tag=x", "[{\"tags\":[\"x\"],\"stream_prefix\":\"a\"},"
				     "{\"tags\":[\"x\"],\"stream_prefix\":\"b\"}]"},
		{"tag=a=b:c/d", "[{\"tags\":[\"a=b:c/d\"]}]"},
		{"tag=\"a b,c;d\\\"e\\\\\",f", "[{\"tags\":[\"a b,c;d\\\"e\\\\\",\"f\"]}]"},
		{"tag=a\\ b\\,c\\;d", "[{\"tags\":[\"a b,c;d\"]}]"},
		{"tag=x\"y z\"w", "[{\"tags\":[\"xy zw\"]}]"},
		{"\ttype=A\n;\n tag=\xc3\xa4 ", "[{\"types\":[\"A\"]},{\"tags\":[\"\xc3\xa4\"]}]"},
		{"type=all", "[{\"types\":[\"all\"]}]"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tool_query *query = tool_query_new();
		struct span exact = unit_exact(cases[i][0], strlen(cases[i][0]) + 1);
		struct error error;

		if (tool_query_parse(query, (const char *)exact.data, &error) != 0)
			fail_msg("%s: %s", cases[i][0], error.message);
		unit_free_exact(exact); /* it keeps what it needs */
		assert_means(query, cases[i][0], cases[i][1]);
		assert_false(tool_query_is_empty(query));
		tool_query_free(query);
	}
}

static void what_is_no_query_is_told_with_its_place(void **state)
{
	static const char *const cases[][2] = {
		{"", "at character 1 (''): an item"},
		{"  ", "at character 3"},
		{"typ=A", "at character 1 ('typ=A'): type=, tag="},
		{"type", "an `=` and a value"},
		{"type A", "an `=` and a value"},
		{"type=", "at character 6 (''): a value"},
		{"type=A,", "at character 8 (''): a value"},
		{"type=,A", "at character 6 (',A'): a value"},
		{"type=A;", "at character 8 (''): an item"},
		{"type=A;;tag=x", "at character 8 (';tag=x'): an item"},
		{"type=A, B", "at character 8 (' B'): a value"},
		{"type=A B", "at character 8 ('B'): type=, tag="},
		{"tag=\"a b", "at character 5 ('\"a b'): the closing quote"},
		{"tag=\"a\\", "the closing quote"},
		{"tag=\"\"", "a value is wanted"},
		{"tag=a\\", "behind the backslash"},
		{"all; tag=x", "at character 1 ('all; tag=x'): type=, tag="},
		{"tags=x", "type=, tag="},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct tool_query *query = tool_query_new();
		struct span exact = unit_exact(cases[i][0], strlen(cases[i][0]) + 1);
		struct error error;

		assert_int_equal(tool_query_parse(query, (const char *)exact.data, &error),
				 -EINVAL);
		if (strstr(error.message, cases[i][1]) == NULL)
			fail_msg("%s: %s", cases[i][0], error.message);
		unit_free_exact(exact);
		tool_query_free(query);
	}
}

static void options_make_one_item(void **state)
{
	struct tool_query *query = tool_query_new();
	struct error error;

	(void)state;
	assert_true(tool_query_is_empty(query));
	assert_means(query, "nothing", "\"all\"");
	assert_int_equal(tool_query_add(query, TOOL_QUERY_TAG, "a,b; c", &error), 0);
	assert_int_equal(tool_query_add(query, TOOL_QUERY_PREFIX, "P", &error), 0);
	assert_int_equal(tool_query_add(query, TOOL_QUERY_TYPE, "A", &error), 0);
	assert_int_equal(tool_query_add(query, TOOL_QUERY_TAG, "d", &error), 0);
	assert_means(query, "options",
		     "[{\"types\":[\"A\"],\"tags\":[\"a,b; c\",\"d\"],"
		     "\"stream_prefix\":\"P\"}]");
	assert_int_equal(tool_query_add(query, TOOL_QUERY_PREFIX, "Q", &error), 0);
	assert_means(query, "options",
		     "[{\"types\":[\"A\"],\"tags\":[\"a,b; c\",\"d\"],\"stream_prefix\":\"P\"},"
		     "{\"types\":[\"A\"],\"tags\":[\"a,b; c\",\"d\"],\"stream_prefix\":\"Q\"}]");
	assert_int_equal(tool_query_add(query, TOOL_QUERY_TYPE, "", &error), -EINVAL);
	assert_non_null(strstr(error.message, "type is empty"));
	tool_query_free(query);
}

static void too_much_is_refused(void **state)
{
	struct tool_query *query = tool_query_new();
	struct annal_query built;
	struct buffer text;
	struct error error;

	(void)state;
	buffer_init(&text);
	for (unsigned i = 0; i <= LIMIT_QUERY_ITEMS; i++)
		buffer_append_span(&text, span_of_string(i > 0 ? ";tag=x" : "tag=x"));
	buffer_append(&text, "", 1);
	assert_int_equal(tool_query_parse(query, (const char *)text.data, &error), -EINVAL);
	assert_non_null(strstr(error.message, "64 items"));
	tool_query_free(query);

	query = tool_query_new();
	for (unsigned i = 0; i < LIMIT_QUERY_NAMES; i++)
		assert_int_equal(tool_query_add(query, TOOL_QUERY_PREFIX, "P", &error), 0);
	assert_int_equal(tool_query_add(query, TOOL_QUERY_PREFIX, "P", &error), -EINVAL);
	assert_non_null(strstr(error.message, "1024 values"));
	assert_int_equal(tool_query_build(query, &built, &error), -EINVAL);
	assert_non_null(strstr(error.message, "at most 64 items"));
	tool_query_free(query);
	buffer_close(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_query_is_understood),
		cmocka_unit_test(what_is_no_query_is_told_with_its_place),
		cmocka_unit_test(options_make_one_item),
		cmocka_unit_test(too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
