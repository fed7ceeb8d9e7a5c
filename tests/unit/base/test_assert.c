#include "base/assert.h"
#include "base/log.h"
#include "tests/unit/base/child.h"
#include <signal.h>

static void hold(void)
{
	ASSERT(1 + 1 == 2);
}

static void fail_with_a_past(void)
{
	signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on with the next test */
	log_set_node(42);
	log_info("test", "something happened before", "number=%d", 5);
	ASSERT(1 + 1 == 3);
}

static void what_holds_is_silent(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(child_run(hold, text, sizeof text), 0);
	assert_string_equal(text, "");
}

static void what_breaks_aborts_and_tells_all(void **state)
{
	static const char *const parts[] = {"node 42",           "broken invariant: 1 + 1 == 3",
					    "test_assert.c:",    "fail_with_a_past",
					    "last log lines:\n", "backtrace:\n"};
	char text[16384];

	(void)state;
	int status = child_run(fail_with_a_past, text, sizeof text);

	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	for (size_t i = 0; i < COUNT_OF(parts); i++)
		if (strstr(text, parts[i]) == NULL)
			fail_msg("'%s' is not in: %s", parts[i], text);
	/* The line as it was logged, and again among the recent ones. */
	const char *first = strstr(text, "something happened before\" number=5\n");

	assert_non_null(first);
	assert_non_null(strstr(first + 1, "something happened before\" number=5\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_holds_is_silent),
		cmocka_unit_test(what_breaks_aborts_and_tells_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
