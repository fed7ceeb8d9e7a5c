/* What clients send, all together: who has little is read, who has much waits for its turn, nobody for ever. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "node/input_bound.h"

#define SHARES 64
#define LARGE  (LIMIT_NODE_INPUT_BYTES / 32) /* of 32 connections: the bound */

static struct input_bound bound;
static struct input_share shares[SHARES];
static uint32_t told[SHARES]; /* how often go_on was called */

static void on_go_on(struct input_share *share)
{
	told[share - shares]++;
}

static void begin(void)
{
	memset(&bound, 0, sizeof bound);
	memset(shares, 0, sizeof shares);
	memset(told, 0, sizeof told);
	for (size_t i = 0; i < SHARES; i++)
		shares[i].go_on = on_go_on;
}

static bool holds(size_t i, size_t bytes, uint64_t message)
{
	input_set(&bound, &shares[i], bytes);
	return input_may_read(&bound, &shares[i], message);
}

/* Shares 0 to 32 are in the middle of their first message; the last of them goes beyond the bound. */
static void fill(void)
{
	begin();
	for (size_t i = 0; i < 32; i++)
		assert_true(holds(i, LARGE, 1));
	assert_false(bound.pressed);
	assert_true(holds(32, LARGE, 1)); /* the first turn */
	assert_true(bound.pressed);
}

static void below_the_bound_all_are_read(void **state)
{
	(void)state;
	begin();
	for (size_t i = 0; i < 32; i++)
		assert_true(holds(i, LARGE, 1));
	assert_int_equal(bound.bytes, LIMIT_NODE_INPUT_BYTES);
	for (size_t i = 0; i < 32; i++)
		input_end(&bound, &shares[i]);
	assert_int_equal(bound.bytes, 0);
}

static void beyond_it_those_with_little_are_read(void **state)
{
	(void)state;
	fill();
	assert_true(holds(40, LIMIT_PRESSED_IN_BYTES, 1));
	assert_true(holds(41, 0, 0));
	assert_int_equal(shares[40].state, INPUT_READ);
}

static void those_with_much_have_turns_in_order(void **state)
{
	(void)state;
	fill();
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(holds(i, LARGE + 1, 1), i + 1 < LIMIT_INPUT_TURNS);
	assert_int_equal(bound.turns, LIMIT_INPUT_TURNS);
	assert_int_equal(bound.waiting, 33 - LIMIT_INPUT_TURNS);
	size_t next = LIMIT_INPUT_TURNS - 1; /* has waited longest */

	/* More bytes of the same message: it goes on. The next message: behind the others. */
	assert_true(holds(32, LARGE + 4096, 1));
	assert_int_equal(told[next], 0);
	assert_false(holds(32, LARGE, 2));
	assert_int_equal(told[next], 1);
	assert_int_equal(shares[next].state, INPUT_TURN);
	assert_true(holds(next, LARGE + 2, 1));
	/* One that ends, and one whose message is whole but not answered, free theirs. */
	input_end(&bound, &shares[next]);
	assert_int_equal(told[next + 1], 1);
	assert_false(holds(0, LARGE, 0));
	assert_int_equal(told[next + 2], 1);
	assert_int_equal(bound.turns, LIMIT_INPUT_TURNS);
}

static void who_waits_may_go(void **state)
{
	(void)state;
	fill();
	for (size_t i = 0; i < 32; i++)
		(void)holds(i, LARGE + 1, 1);
	uint32_t waiting = bound.waiting;

	input_end(&bound, &shares[31]); /* the last */
	input_end(&bound, &shares[10]);
	assert_int_equal(bound.waiting, waiting - 2);
	assert_false(holds(31, LARGE, 1));
	assert_int_equal(bound.waiting, waiting - 1);
	assert_int_equal(shares[31].state, INPUT_WAITING);
}

static void with_room_again_all_are_read(void **state)
{
	(void)state;
	fill();
	for (size_t i = 0; i < 32; i++)
		(void)holds(i, LARGE + 1, 1);
	for (size_t i = 0; i < 8; i++) {
		assert_true(bound.pressed);
		input_end(&bound, &shares[i]);
	}
	input_end(&bound, &shares[8]);
	input_end(&bound, &shares[9]);
	assert_false(bound.pressed);
	assert_int_equal(bound.waiting, 0);
	for (size_t i = 10; i < 33; i++) {
		assert_int_equal(told[i], 1);
		assert_true(input_may_read(&bound, &shares[i], 1));
	}
	assert_int_equal(bound.turns, 0);
}

/* Its message is whole, and its answer may take an hour. */
static void who_is_between_two_messages_waits_for_room_alone(void **state)
{
	(void)state;
	fill();
	assert_false(holds(5, LARGE, 0));
	assert_int_equal(bound.waiting, 1);
	assert_int_equal(bound.turns, 1);
	input_end(&bound, &shares[32]);
	assert_int_equal(told[5], 0);
	for (size_t i = 10; i < 20; i++)
		input_end(&bound, &shares[i]);
	assert_false(bound.pressed);
	assert_int_equal(told[5], 1);
	assert_true(input_may_read(&bound, &shares[5], 0));
	assert_int_equal(bound.waiting, 0);
}

static void other_nodes_do_not_wait(void **state)
{
	(void)state;
	fill();
	input_is_of_node(&bound, &shares[50]);
	assert_true(holds(50, 4 * LARGE, 1));
	assert_int_equal(shares[50].state, INPUT_READ);
	for (size_t i = 0; i < LIMIT_INPUT_NODES + 5; i++)
		input_is_of_node(&bound, &shares[i]);
	assert_int_equal(bound.nodes, LIMIT_INPUT_NODES);
	input_end(&bound, &shares[50]);
	assert_int_equal(bound.nodes, LIMIT_INPUT_NODES - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(below_the_bound_all_are_read),
		cmocka_unit_test(beyond_it_those_with_little_are_read),
		cmocka_unit_test(those_with_much_have_turns_in_order),
		cmocka_unit_test(who_waits_may_go),
		cmocka_unit_test(with_room_again_all_are_read),
		cmocka_unit_test(who_is_between_two_messages_waits_for_room_alone),
		cmocka_unit_test(other_nodes_do_not_wait),
	};

	return cmocka_run_group_tests_name("input_bound", tests, NULL, NULL);
}
