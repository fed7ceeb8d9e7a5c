/* Subscriptions: one thing at a time. */
#include "tests/unit/node/subscribe_model.h"

static void history_then_caught_up_then_live(void **state)
{
	(void)state;
	append(0, 5, 10);
	append(1, 5, 10);
	tell();
	struct follower *one = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[1], -1, false, 0, 500, UINT64_MAX);
	struct follower *late = follow(&subscribers[1], 1, false, 3, 500, UINT64_MAX);

	settle();
	assert_int_equal(one->events, 5);
	assert_int_equal(all->events, 10);
	assert_int_equal(late->events, 2);
	append(0, 2, 10);
	tell();
	assert_int_equal(one->events, 7); /* on the loop: no worker was needed */
	assert_int_equal(all->events, 12);
	assert_int_equal(late->events, 2);
	assert_complete(one);
	assert_complete(all);
	assert_complete(late);
}

static void a_stream_that_does_not_exist_yet(void **state)
{
	(void)state;
	struct follower *follower = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);

	settle();
	assert_int_equal(follower->caught_up_times, 1);
	append(0, 3, 10);
	tell();
	assert_int_equal(follower->events, 3);
}

static void after_the_end_only_new_ones(void **state)
{
	(void)state;
	append(0, 5, 10);
	tell();
	struct follower *one = follow(&subscribers[0], 0, false, AFTER_END, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[0], -1, false, AFTER_END, 500, UINT64_MAX);

	settle();
	assert_int_equal(one->caught_up_times, 1);
	assert_int_equal(all->caught_up_times, 1);
	append(0, 2, 10);
	tell();
	settle();
	assert_int_equal(one->events, 2);
	assert_int_equal(all->events, 2);
}

static void after_what_is_not_there_yet(void **state)
{
	(void)state;
	append(0, 5, 10);
	tell();
	struct follower *one = follow(&subscribers[0], 0, false, 7, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[0], -1, false, 7, 500, UINT64_MAX);

	settle();
	append(0, 4, 10);
	tell();
	assert_int_equal(one->events, 2);
	assert_int_equal(all->events, 2);
}

static void a_window_bounds_history_and_live(void **state)
{
	(void)state;
	append(0, 50, 10);
	tell();
	struct follower *follower = follow(&subscribers[0], 0, false, 0, 500, 10);

	settle();
	assert_int_equal(follower->events, 10);
	assert_int_equal(follower->caught_up_times, 0);
	credit(&subscribers[0], follower, 40);
	settle();
	assert_int_equal(follower->events, 50);
	assert_int_equal(follower->caught_up_times, 1);
	append(0, 5, 10);
	tell();
	settle();
	assert_int_equal(follower->events, 50);
	assert_int_equal(follower->fell_behind_times, 1);
	credit(&subscribers[0], follower, 3);
	settle();
	assert_int_equal(follower->events, 53);
	credit(&subscribers[0], follower, UINT64_MAX - 1000);
	settle();
	assert_int_equal(follower->events, 55);
	assert_complete(follower);
}

static void a_window_of_nothing_learns_that_there_is_nothing(void **state)
{
	(void)state;
	struct follower *empty = follow(&subscribers[0], 0, false, 0, 500, 0);
	struct follower *full = follow(&subscribers[0], 1, false, 0, 500, 0);

	append(1, 1, 10);
	tell();
	settle();
	assert_int_equal(empty->caught_up_times, 1);
	assert_int_equal(full->events, 0);
	credit(&subscribers[0], full, 1);
	settle();
	assert_int_equal(full->events, 1);
	assert_complete(full);
}

static void records_that_left_the_tail_before_they_were_handed_out(void **state)
{
	(void)state;
	struct follower *one = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[0], -1, true, 0, 500, UINT64_MAX);

	settle();
	for (int i = 0; i < 30; i++) {
		append(i % STREAMS, 1000, 10);
		if (i % 3 == 0)
			harness_flush(&harness);
	}
	tell();
	settle();
	assert_int_equal(one->events, 6000);
	assert_int_equal(all->events, 30000);
	assert_int_equal(one->fell_behind_times + all->fell_behind_times, 0);
}

static void who_sees_nothing_learns_how_far_the_log_is(void **state)
{
	(void)state;
	struct follower *live = follow(&subscribers[0], -1, false, 0, 500, UINT64_MAX);
	struct follower *one = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);

	settle();
	for (int i = 0; i < 3; i++) {
		append(4, 1000, 10);
		tell();
	}
	settle();
	assert_int_equal(live->events, 0);
	assert_int_equal(live->checkpoints, 3);
	assert_int_equal(live->told, 3000);
	assert_int_equal(one->checkpoints, 0);
}

static void a_slow_reader_slows_only_itself_and_its_memory_is_bounded(void **state)
{
	(void)state;
	harness.node.settings.out_queue_bytes = 64 * KIB;
	subscribers[0].client.slow = true;
	struct follower *slow = follow(&subscribers[0], 0, false, 0, 10, UINT64_MAX);
	struct follower *fast = follow(&subscribers[1], 0, false, 0, 500, UINT64_MAX);

	settle();
	for (int i = 0; i < 200; i++) {
		append(0, 10, 1000);
		tell();
		settle();
		assert_true(session_unsent(subscribers[0].client.session) < 64 * KIB);
	}
	assert_int_equal(fast->events, 2000);
	assert_int_equal(slow->fell_behind_times, 1);
	while (slow->events < 2000) {
		drain(&subscribers[0]);
		settle();
		assert_true(session_unsent(subscribers[0].client.session) < 64 * KIB);
	}
	assert_complete(slow);
}

static void one_unsubscribes(void **state)
{
	(void)state;
	append(0, 3, 10);
	tell();
	struct follower *follower = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);

	settle();
	/* Of another connection: not found, and nothing happens. */
	client_send(&subscribers[1].client, "unsubscribe",
		    params_format(&params, "{su", 1, "subscription", follower->number));
	session_flush(subscribers[1].client.session);
	struct msgpack_reader reader =
		msgpack_reader_of(buffer_span(&subscribers[1].client.received));
	uint32_t count;
	struct span error = {0};

	assert_true(msgpack_read_array(&reader, &count) && msgpack_read_skip(&reader) &&
		    msgpack_read_skip(&reader) && msgpack_read_raw(&reader, &error));
	assert_true(map_is_text(error, "code", "NOT_FOUND"));
	assert_true(map_is_text(error, "what", "subscription"));
	buffer_clear(&subscribers[1].client.received);
	append(0, 1, 10);
	tell();
	assert_int_equal(follower->events, 4);
	client_send(&subscribers[0].client, "unsubscribe",
		    params_format(&params, "{su", 1, "subscription", follower->number));
	see_all();
	append(0, 1, 10);
	tell();
	settle();
	assert_int_equal(follower->events, 4);
	assert_int_equal(harness.node.notifier->numbers.count, 0);
	assert_int_equal(harness.node.notifier->topics.count, 0);
}

static void all_are_told_when_the_node_stops(void **state)
{
	(void)state;
	append(0, 3, 10);
	tell();
	for (int i = 0; i < 8; i++)
		follow(&subscribers[i % 2], i % 4 == 0 ? -1 : 0, false, 0, 500,
		       i == 3 ? 0 : UINT64_MAX);
	see_all();
	notifier_stop(harness.node.notifier);
	settle();
	for (int i = 0; i < 8; i++)
		assert_true(subscribers[i % 2].followers[i / 2].dropped);
	assert_int_equal(harness.node.notifier->numbers.count, 0);
}

static void ten_thousand_idle_ones_cost_nothing(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof name, "idle-%d", i);
		client_send(&subscribers[0].client, "subscribe",
			    params_format(&params, "{ss", 1, "stream", name));
	}
	harness_settle(&harness);
	assert_int_equal(harness.node.notifier->live_count, 10000);
	session_flush(subscribers[0].client.session);
	buffer_clear(&subscribers[0].client.received);
	store_append(harness.node.store, ++harness.index, "idle-77", 1, 10);
	store_append(harness.node.store, ++harness.index, "s0", 1000, 10);
	harness_notify(&harness);
	session_flush(subscribers[0].client.session);
	assert_in_range(subscribers[0].client.received.size, 1, 200);
	buffer_clear(&subscribers[0].client.received);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(history_then_caught_up_then_live),
		TEST(a_stream_that_does_not_exist_yet),
		TEST(after_the_end_only_new_ones),
		TEST(after_what_is_not_there_yet),
		TEST(a_window_bounds_history_and_live),
		TEST(a_window_of_nothing_learns_that_there_is_nothing),
		TEST(records_that_left_the_tail_before_they_were_handed_out),
		TEST(who_sees_nothing_learns_how_far_the_log_is),
		TEST(a_slow_reader_slows_only_itself_and_its_memory_is_bounded),
		TEST(one_unsubscribes),
		TEST(all_are_told_when_the_node_stops),
		TEST(ten_thousand_idle_ones_cost_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
