#include "base/answer.h"
#include "tests/unit/unit.h"

static void every_answer_has_its_name_and_a_meaning(void **state)
{
	(void)state;
	assert_string_equal(answer_name(ANSWER_OK), "OK");
	assert_string_equal(answer_name(ANSWER_WRONG_EXPECTED_VERSION), "WRONG_EXPECTED_VERSION");
	assert_string_equal(answer_name(ANSWER_INTERNAL), "INTERNAL");
	assert_int_equal(ANSWER_INTERNAL, ANSWER_COUNT - 1);
	for (enum answer_code code = ANSWER_OK; code < ANSWER_COUNT; code++) {
		assert_non_null(answer_name(code));
		assert_true(strlen(answer_meaning(code)) > 10);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_answer_has_its_name_and_a_meaning),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
