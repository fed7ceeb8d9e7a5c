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

/* ---- queries ---- */

static void a_query_by_each_of_its_parts(void **state)
{
	struct follower *followers[COUNT_OF(queries)];

	(void)state;
	for (int stream = 0; stream < STREAMS; stream++)
		append(stream, 48, 10);
	harness_flush(&harness);
	for (int stream = 0; stream < STREAMS; stream++)
		append(stream, 24, 10);
	tell();
	for (int i = 0; i < QUERIES; i++)
		followers[i] = follow_query(&subscribers[i % 4], i, 0, 500, UINT64_MAX);
	settle();
	for (int stream = STREAMS - 1; stream >= 0; stream--) {
		append(stream, 48, 10);
		tell();
	}
	for (int i = 0; i < QUERIES; i++) {
		assert_complete(followers[i]);
		assert_int_equal(followers[i]->caught_up_times, 1);
		assert_int_equal(followers[i]->fell_behind_times, 0);
		assert_true(queries[i].wants == wants_nothing ? followers[i]->events == 0
							      : followers[i]->events >= 10);
	}
}

static void run_for_ms(int64_t ms)
{
	int64_t until = clock_monotonic_ms() + ms;

	while (clock_monotonic_ms() < until) {
		turn();
		usleep(1000);
	}
}

static void a_query_that_matches_nothing_learns_how_far_the_log_is(void **state)
{
	(void)state;
	struct follower *live = follow_query(&subscribers[0], QUERIES - 1, 0, 500, UINT64_MAX);

	settle();
	run_for_ms(1500);
	assert_int_equal(live->checkpoints, 0); /* the log rests */
	append(0, 5, 10);
	tell();
	run_for_ms(1300);
	assert_int_equal(live->checkpoints, 1);
	assert_int_equal(live->told, 5);
	append(0, LIMIT_CHECKPOINT_POSITIONS, 10); /* that much is told sooner */
	tell();
	run_for_ms(350);
	assert_int_equal(live->checkpoints, 2);
	assert_int_equal(live->told, 5 + LIMIT_CHECKPOINT_POSITIONS);
	run_for_ms(1500);
	assert_int_equal(live->checkpoints, 2);
}

/* In the row of those that wait to be told: how many stand before one of another session. */
static uint32_t partings(void)
{
	uint32_t count = 0;

	for (size_t i = 0; i < COUNT_OF(subscribers); i++)
		for (const struct subscription *at =
			     *session_subscriptions(subscribers[i].client.session);
		     at != NULL; at = at->session_next)
			count += at->turn_next != NULL &&
				 at->turn_next->subscriber != at->subscriber;
	return count;
}

static void those_of_one_session_are_told_together(void **state)
{
	struct follower *followers[40];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(followers); i++) {
		followers[i] = follow_query(&subscribers[i % 4], QUERIES - 1, 0, 500, UINT64_MAX);
		settle();
	}
	assert_int_equal(partings(), 3);
	append(0, 5, 10);
	tell();
	run_for_ms(1300);
	assert_int_equal(partings(), 3);
	for (size_t i = 0; i < COUNT_OF(followers); i++)
		assert_int_equal(followers[i]->told, 5);
}

static void a_scan_of_history_tells_how_far_it_is(void **state)
{
	(void)state;
	for (int i = 0; i < 15; i++) {
		append(0, 10000, 10);
		harness_flush(&harness);
	}
	tell();
	struct follower *follower = follow_query(&subscribers[0], SCANNED, 0, 500, UINT64_MAX);
	struct follower *rare = follow_query(&subscribers[0], QUERIES - 1, 0, 500, UINT64_MAX);

	settle();
	assert_complete(follower);
	assert_complete(rare);
	assert_int_equal(follower->told, 150000);
	assert_int_equal(follower->events, 0);
	assert_true(follower->checkpoints >= 2); /* of 65,536 positions each */
}

static void who_does_not_read_is_not_told_either(void **state)
{
	(void)state;
	harness.node.settings.out_queue_bytes = 8 * KIB;
	subscribers[0].client.slow = true;
	for (int i = 0; i < KEPT; i++)
		follow_query(&subscribers[0], QUERIES - 1, 0, 500, UINT64_MAX);
	settle();
	for (int i = 0; i < 60; i++) {
		append(0, LIMIT_CHECKPOINT_POSITIONS, 0);
		tell();
		run_for_ms(110);
		assert_true(session_unsent(subscribers[0].client.session) < 8 * KIB);
	}
	drain(&subscribers[0]);
	run_for_ms(1500);
	for (int i = 0; i < KEPT; i++)
		assert_int_equal(subscribers[0].followers[i].told, 60 * LIMIT_CHECKPOINT_POSITIONS);
}

/* types: `others`, and one of that number. */
static void subscribe_to_types(struct client *client, const char *others, int number,
			       const char *more)
{
	char text[96];

	snprintf(text, sizeof text, "[{types: [%s 'X%d']%s}]", others, number, more);
	params_format(&params, "{s", 1, "query");
	notation_append(&params, text);
	client_send(client, "subscribe", buffer_span(&params));
}

static uint64_t bytes_received(struct client *client)
{
	session_flush(client->session);
	uint64_t bytes = client->received.size;

	buffer_clear(&client->received);
	return bytes;
}

/* Each of many queries wants every event: more links than a feed holds. */
static void many_queries_that_want_the_same_events(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	for (int i = 0; i < 3000; i++)
		subscribe_to_types(&subscribers[i % 4].client, "'T0', 'T1', 'T2',", i, "");
	harness_settle(&harness);
	assert_int_equal(harness.node.notifier->live_count, 3000);
	for (int i = 0; i < 4; i++)
		bytes_received(&subscribers[i].client);
	store_append_labelled(harness.node.store, ++harness.index, "s0", 30, 10, 0);
	harness_notify(&harness);
	assert_int_equal(harness.node.notifier->seen, 30);
	assert_int_equal(harness.node.notifier->fell_behind, 0);
	assert_int_equal(harness.node.notifier->events, 3000 * 30);
	for (int i = 0; i < 4; i++)
		bytes += bytes_received(&subscribers[i].client);
	assert_true(bytes > 3000 * 30 * 70); /* what a record comes to at least */
}

static void ten_thousand_idle_queries_cost_little(void **state)
{
	struct client *client = &subscribers[3].client;
	struct followed_set *set = &harness.node.notifier->followed;

	(void)state;
	for (int i = 0; i < 10000; i++)
		subscribe_to_types(client, "", i % 5000, ", categories: ['Other']");
	harness_settle(&harness);
	assert_int_equal(harness.node.notifier->live_count, 10000);
	assert_int_equal(set->queries.count, 5000); /* equal ones are one */
	assert_int_equal(set->labels.count, 1);
	assert_true(set->bytes / 5000 <= 800);
	bytes_received(client);
	for (int i = 0; i < 100; i++)
		store_append_labelled(harness.node.store, ++harness.index, "s0", 1000, 10, 0);
	int64_t begin = clock_monotonic_ms();

	harness_notify(&harness);
	assert_true(clock_monotonic_ms() - begin < 2000); /* 10^9 comparisons would take longer */
	assert_int_equal(harness.node.notifier->seen, 100000);
	assert_int_equal(bytes_received(client), 0);
	client_close(client);
	client->session = NULL;
	assert_int_equal(set->queries.count + set->labels.count + set->bytes, 0);
}

static void queries_have_a_bound(void **state)
{
	struct client *client = &subscribers[3].client;
	struct buffer text;
	char tag[64];

	(void)state;
	buffer_init(&text);
	for (int i = 0; i < 1000; i++) {
		buffer_clear(&text);
		buffer_append_span(&text, span_of_string("[{streams: ['x'"));
		for (int j = 0; j < 1000; j++) {
			snprintf(tag, sizeof tag, ", 'stream-%d-%d'", i, j);
			buffer_append_span(&text, span_of_string(tag));
		}
		buffer_append(&text, "]}]", 4);
		params_format(&params, "{s", 1, "query");
		notation_append(&params, (const char *)text.data);
		client_send(client, "subscribe", buffer_span(&params));
	}
	harness_settle(&harness);
	session_flush(client->session);
	assert_true(harness.node.notifier->followed.bytes <= LIMIT_FOLLOWED_BYTES);
	assert_in_range(harness.node.notifier->live_count, 100, 999);
	assert_non_null(memmem(client->received.data, client->received.size, "OVERLOADED", 10));
	buffer_clear(&client->received);
	buffer_close(&text);
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
		TEST(a_query_by_each_of_its_parts),
		TEST(a_query_that_matches_nothing_learns_how_far_the_log_is),
		TEST(those_of_one_session_are_told_together),
		TEST(a_scan_of_history_tells_how_far_it_is),
		TEST(who_does_not_read_is_not_told_either),
		TEST(many_queries_that_want_the_same_events),
		TEST(ten_thousand_idle_queries_cost_little),
		TEST(queries_have_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
