#include "base/checksum.h"
#include "tests/unit/unit.h"

/* Stored data depends on these very values. */
static void the_function_is_xxh3_for_ever(void **state)
{
	(void)state;
	assert_true(checksum64(NULL, 0) == UINT64_C(0x2d06800538d394c2));
	assert_true(checksum64("abc", 3) == UINT64_C(0x78af5f94892f3950));
}

static void a_seed_of_0_is_no_seed_and_others_matter(void **state)
{
	(void)state;
	assert_true(checksum64_seeded("abc", 3, 0) == checksum64("abc", 3));
	assert_true(checksum64_seeded("abc", 3, 1) != checksum64("abc", 3));
	assert_true(checksum64_seeded(NULL, 0, 1) != checksum64_seeded(NULL, 0, 2));
}

static void any_flipped_bit_is_seen(void **state)
{
	uint8_t bytes[300] = {0};
	uint64_t whole = checksum64(bytes, sizeof bytes);

	(void)state;
	for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_true(checksum64(bytes, sizeof bytes) != whole);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_true(checksum64(bytes, sizeof bytes) == whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_function_is_xxh3_for_ever),
		cmocka_unit_test(a_seed_of_0_is_no_seed_and_others_matter),
		cmocka_unit_test(any_flipped_bit_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
