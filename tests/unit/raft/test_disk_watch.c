/* When free space counts as low. */
#include "tests/unit/unit.h"

#include "raft/disk_watch.h"

static void low_space_must_rise_above_the_floor_by_an_eighth(void **state)
{
	(void)state;
	assert_false(disk_watch_judge(false, 800, 800));
	assert_true(disk_watch_judge(false, 799, 800));
	assert_true(disk_watch_judge(true, 799, 800));
	assert_true(disk_watch_judge(true, 899, 800));
	assert_false(disk_watch_judge(true, 900, 800));
}

static void no_floor_is_never_met(void **state)
{
	(void)state;
	assert_false(disk_watch_judge(false, 0, 0));
	assert_false(disk_watch_judge(true, 0, 0));
	assert_true(disk_watch_judge(true, UINT64_MAX - 1, UINT64_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(low_space_must_rise_above_the_floor_by_an_eighth),
		cmocka_unit_test(no_floor_is_never_met),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
