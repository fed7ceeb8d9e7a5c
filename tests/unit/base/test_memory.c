#include "base/memory.h"
#include "tests/unit/base/child.h"
#include <stdlib.h>

/* The sanitizers' allocators end the process themselves unless told otherwise. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void nothing_is_a_block_too(void **state)
{
	void *block = memory_alloc(0);

	(void)state;
	assert_non_null(block);
	block = memory_resize(block, 0);
	assert_non_null(block);
	memory_free(block);
	block = memory_zeroed(0, 8);
	assert_non_null(block);
	memory_free(block);
	block = memory_copy(NULL, 0);
	assert_non_null(block);
	memory_free(block);
	memory_free(NULL);
}

static void zeroed_is_zero_and_copies_are_equal(void **state)
{
	static const uint8_t zeros[100];
	uint8_t *block = memory_zeroed(10, 10);
	char *text = memory_copy_string("annal");

	(void)state;
	assert_memory_equal(block, zeros, sizeof zeros);
	block = memory_resize(block, 200);
	assert_memory_equal(block, zeros, sizeof zeros);
	memory_free(block);
	assert_string_equal(text, "annal");
	memory_free(text);
}

static void overflow_the_product(void)
{
	memory_zeroed(SIZE_MAX / 2, 4);
}

static void ask_for_everything(void)
{
	memory_alloc(SIZE_MAX / 4);
}

static void resize_to_everything(void)
{
	memory_resize(memory_alloc(1), SIZE_MAX / 4);
}

static void find_nothing_made(void)
{
	memory_or_stop(NULL);
}

static void without_memory_the_process_ends_with_70_and_one_line(void **state)
{
	void (*const runs[])(void) = {overflow_the_product, ask_for_everything,
				      resize_to_everything, find_nothing_made};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(runs); i++) {
		char text[8192];
		int status = child_run(runs[i], text, sizeof text);

		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), 70);
		assert_non_null(strstr(text, "out of memory"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_a_block_too),
		cmocka_unit_test(zeroed_is_zero_and_copies_are_equal),
		cmocka_unit_test(without_memory_the_process_ends_with_70_and_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
