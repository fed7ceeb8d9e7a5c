#include "base/error.h"
#include "tests/unit/unit.h"
#include <errno.h>

static void a_message_is_set_and_prefixed(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(error_set(&error, -EINVAL, "%d is odd", 3), -EINVAL);
	assert_string_equal(error.message, "3 is odd");
	error_prefix(&error, "line %d", 7);
	assert_string_equal(error.message, "line 7: 3 is odd");
}

static void what_a_damaged_file_holds_is_quoted_readably(void **state)
{
	static const struct {
		const char *name, *message;
	} cases[] = {
		{"lokal", "cluster \"lokal\""},        {"Bücher", "cluster \"Bücher\""},
		{"loc\xe1l", "cluster \"loc?l\""},     {"\033[2Jx\x7f", "cluster \"?[2Jx?\""},
		{"B\xc3\xbc\xff", "cluster \"B???\""},
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		error_set(&error, -EXDEV, "cluster \"%s\"", cases[i].name);
		assert_string_equal(error.message, cases[i].message);
	}
}

static void an_errno_is_told_in_words(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(error_set_errno(&error, ENOENT, "open %s", "x"), -ENOENT);
	assert_string_equal(error.message, "open x: No such file or directory");
}

static void a_message_may_be_made_from_itself(void **state)
{
	struct error error;

	(void)state;
	error_set(&error, -EIO, "disk");
	error_set(&error, -EIO, "%s and %s", error.message, error.message);
	assert_string_equal(error.message, "disk and disk");
	error_prefix(&error, "%s", error.message);
	assert_string_equal(error.message, "disk and disk: disk and disk");
}

static void long_messages_are_cut_but_not_within_a_character(void **state)
{
	struct error error;
	char text[2 * ERROR_MESSAGE_BYTES];

	(void)state;
	for (size_t shift = 0; shift < 4; shift++) { /* € has three bytes, the emoji four */
		static const char *const letters[] = {"a", "\u00e4", "\u20ac", "\U0001f600"};

		for (size_t i = 0; i < COUNT_OF(letters); i++) {
			size_t width = strlen(letters[i]);
			size_t size = shift;

			memset(text, 'x', shift);
			for (; size + width < sizeof text; size += width)
				memcpy(text + size, letters[i], width);
			text[size] = '\0';
			error_set(&error, -EIO, "%s", text);
			size_t kept = (ERROR_MESSAGE_BYTES - 1 - shift) / width * width + shift;

			assert_int_equal(strlen(error.message), kept);
			error_prefix(&error, "p");
			kept = (ERROR_MESSAGE_BYTES - 4 - shift) / width * width + shift + 3;
			assert_int_equal(strlen(error.message), kept);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_set_and_prefixed),
		cmocka_unit_test(what_a_damaged_file_holds_is_quoted_readably),
		cmocka_unit_test(an_errno_is_told_in_words),
		cmocka_unit_test(a_message_may_be_made_from_itself),
		cmocka_unit_test(long_messages_are_cut_but_not_within_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
