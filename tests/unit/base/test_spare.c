/* Blocks that are used again: each is in one place only, no more are kept than may be, what was in them stays. */
#include "tests/unit/unit.h"

#include "base/spare.h"

#include <string.h>

#define BLOCKS 100u
#define BYTES  48u

static void blocks_come_again_as_they_were(void **state)
{
	struct spare spare = {0};
	uint8_t *blocks[BLOCKS];
	uint32_t kept = 0;

	(void)state;
	for (uint32_t i = 0; i < BLOCKS; i++) {
		static const uint8_t zeros[BYTES];

		blocks[i] = spare_take(&spare, BYTES);
		assert_memory_equal(blocks[i], zeros, BYTES);
		memset(blocks[i], (int)i + 1, BYTES);
	}
	for (uint32_t i = 0; i < BLOCKS; i++) {
		if (spare_give(&spare, blocks[i], BLOCKS / 2))
			kept++;
		else
			memory_free(blocks[i]);
	}
	assert_int_equal(kept, spare.count);
	assert_true(kept == BLOCKS / 2 || kept == 0); /* 0: under AddressSanitizer */
	for (uint32_t i = kept; i > 0; i--) {
		uint8_t *block = spare_take(&spare, BYTES);

		assert_ptr_equal(block, blocks[i - 1]);
		assert_int_equal(block[sizeof(void *)], i);
		assert_int_equal(block[BYTES - 1], i);
		memory_free(block);
	}
	assert_null(spare_take_kept(&spare));
}

static void what_is_kept_can_be_taken_out(void **state)
{
	struct spare spare = {0};
	void *one = spare_take(&spare, BYTES), *two = spare_take(&spare, BYTES), *kept;

	(void)state;
	if (!spare_give(&spare, one, BLOCKS))
		memory_free(one);
	if (!spare_give(&spare, two, BLOCKS))
		memory_free(two);
	while ((kept = spare_take_kept(&spare)) != NULL)
		memory_free(kept);
	assert_int_equal(spare.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_come_again_as_they_were),
		cmocka_unit_test(what_is_kept_can_be_taken_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
