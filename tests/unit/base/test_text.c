#include "base/limits.h"
#include "base/text.h"
#include "tests/unit/unit.h"

#define BYTES(literal) (literal), sizeof(literal) - 1

static void well_formed_text_is_told_from_the_rest(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		bool wanted;
	} cases[] = {
		{BYTES(""), true},
		{BYTES("plain"), true},
		{BYTES("long enough for more than one word"), true},
		{BYTES("\0"), true},
		{BYTES("\x7f"), true},
		{BYTES("\x80"), false},
		{BYTES("\xbf"), false},
		{BYTES("\xc0\x80"), false}, /* overlong */
		{BYTES("\xc1\xbf"), false},
		{BYTES("\xc2\x80"), true},
		{BYTES("\xdf\xbf"), true},
		{BYTES("\xc3"), false},
		{BYTES("\xc3("), false},
		{BYTES("\xe0\x9f\xbf"), false}, /* overlong */
		{BYTES("\xe0\xa0\x80"), true},
		{BYTES("\xed\x9f\xbf"), true},
		{BYTES("\xed\xa0\x80"), false}, /* surrogate */
		{BYTES("\xed\xbf\xbf"), false},
		{BYTES("\xee\x80\x80"), true},
		{BYTES("\xef\xbf\xbf"), true},
		{BYTES("\xe2\x82"), false},
		{BYTES("\xe2\x82("), false},
		{BYTES("\xf0\x8f\xbf\xbf"), false}, /* overlong */
		{BYTES("\xf0\x90\x80\x80"), true},
		{BYTES("\xf4\x8f\xbf\xbf"), true},
		{BYTES("\xf4\x90\x80\x80"), false}, /* beyond U+10FFFF */
		{BYTES("\xf5\x80\x80\x80"), false},
		{BYTES("\xff"), false},
		{BYTES("\xf0\x9f\x98"), false},
		{BYTES("eight by\xf0\x9f\x98\x80tes"), true},
		{BYTES("1234567\xf0\x9f\x98"), false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i].bytes, cases[i].size);

		if (text_is_utf8(exact) != cases[i].wanted)
			fail_msg("case %zu", i);
		unit_free_exact(exact);
	}
}

/* Encode as the standard's table has it, surrogates and all. */
static size_t encode(uint32_t point, uint8_t bytes[4])
{
	size_t more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
	static const uint8_t leads[] = {0x00, 0xc0, 0xe0, 0xf0};

	bytes[0] = (uint8_t)(leads[more] | point >> (6 * more));
	for (size_t i = 1; i <= more; i++)
		bytes[i] = (uint8_t)(0x80 | ((point >> (6 * (more - i))) & 0x3f));
	return more + 1;
}

static void every_code_point_but_surrogates_is_well_formed(void **state)
{
	(void)state;
	for (uint32_t point = 0; point < 0x120000; point++) {
		bool wanted = point < 0x110000 && (point < 0xd800 || point > 0xdfff);
		uint8_t bytes[4];
		size_t size = encode(point, bytes);

		if (text_is_utf8(span_of(bytes, size)) != wanted)
			fail_msg("U+%04X", point);
		if (size > 1 && text_is_utf8(span_of(bytes, size - 1)))
			fail_msg("U+%04X without its last byte", point);
	}
}

static void stream_names_are_refused_with_the_reason(void **state)
{
	static char longest[LIMIT_STREAM_NAME_BYTES + 1];
	const struct {
		const char *bytes;
		size_t size;
		const char *problem;
	} cases[] = {
		{BYTES("Order-42"), NULL},
		{BYTES("a$"), NULL},
		{BYTES("Gr\xc3\xb6\xc3\x9f"
		       "e \xe2\x82\xac"),
		 NULL},
		{BYTES("\xc2\xa0"), NULL},
		{longest, LIMIT_STREAM_NAME_BYTES, NULL},
		{longest, LIMIT_STREAM_NAME_BYTES + 1, "is longer than 1024 bytes"},
		{NULL, 0, "is empty"},
		{BYTES("a\xff"), "is not well-formed UTF-8"},
		{BYTES("a\nb"), "contains a control character"},
		{BYTES("a\0"), "contains a control character"},
		{BYTES("\x7f"), "contains a control character"},
		{BYTES("a\xc2\x9f"), "contains a control character"},
		{BYTES("$x"), "begins with '$', which is reserved for the system"},
	};

	(void)state;
	memset(longest, 'x', sizeof longest);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i].bytes, cases[i].size);
		const char *problem = text_stream_name_problem(exact);

		if (cases[i].problem == NULL
			    ? problem != NULL
			    : problem == NULL || strcmp(problem, cases[i].problem) != 0)
			fail_msg("case %zu: %s", i, problem == NULL ? "allowed" : problem);
		unit_free_exact(exact);
	}
}

static void labels_are_1_to_255_bytes_of_text(void **state)
{
	char longest[256];

	(void)state;
	memset(longest, 'x', sizeof longest);
	assert_null(text_label_problem(span_of_string("$any-thing\n")));
	assert_null(text_label_problem(span_of(longest, 255)));
	assert_string_equal(text_label_problem(span_of(longest, 256)), "is longer than 255 bytes");
	assert_string_equal(text_label_problem(span_of(NULL, 0)), "is empty");
	assert_string_equal(text_label_problem(span_of("\xc3", 1)), "is not well-formed UTF-8");
}

static void the_category_ends_before_the_first_dash(void **state)
{
	static const char *const cases[][2] = {
		{"Order-42", "Order"}, {"Order", "Order"}, {"Order-42-7", "Order"},
		{"-42", ""},           {"", ""},           {"Order-", "Order"}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_true(
			span_equal_string(text_category(span_of_string(cases[i][0])), cases[i][1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(well_formed_text_is_told_from_the_rest),
		cmocka_unit_test(every_code_point_but_surrogates_is_well_formed),
		cmocka_unit_test(stream_names_are_refused_with_the_reason),
		cmocka_unit_test(labels_are_1_to_255_bytes_of_text),
		cmocka_unit_test(the_category_ends_before_the_first_dash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
