/* Subscriptions while anything at all happens, at random. */
#include "tests/unit/node/subscribe_model.h"

#define SEEDS 12

static uint64_t random_state;

static uint64_t below(uint64_t bound)
{
	return unit_random(&random_state) % bound;
}

static void random_follow(struct subscriber_client *subscriber)
{
	uint64_t head = store_head(harness.node.store);
	int stream = (int)below(STREAMS + 3);
	int64_t after = below(3) == 0 ? (int64_t)below(head + 20) : 0;

	if (subscriber->count == KEPT)
		return;
	if (stream >= STREAMS)
		stream = -1;
	if (below(8) == 0)
		after = AFTER_END;
	uint64_t batch = 1 + below(below(2) == 0 ? 5 : 600);
	uint64_t window = below(2) ? UINT64_MAX : below(100);

	if (below(2) == 0)
		follow_query(subscriber, (int)below((uint64_t)QUERIES), after, batch, window);
	else
		follow(subscriber, stream, below(2) == 0, after, batch, window);
}

static void random_unsubscribe(struct subscriber_client *subscriber)
{
	if (subscriber->count == 0)
		return;
	uint32_t which = (uint32_t)below(subscriber->count);

	if (subscriber->followers[which].number == 0)
		return;
	client_send(&subscriber->client, "unsubscribe",
		    params_format(&params, "{su", 1, "subscription",
				  subscriber->followers[which].number));
	see(subscriber);
	subscriber->count--;
	subscriber->followers[which] = subscriber->followers[subscriber->count];
	subscriber->requests[which] = subscriber->requests[subscriber->count];
}

static void random_credit(struct subscriber_client *subscriber)
{
	for (uint32_t i = 0; i < subscriber->count; i++)
		if (subscriber->followers[i].number != 0)
			credit(subscriber, &subscriber->followers[i], below(60));
}

static void random_reconnect(struct subscriber_client *subscriber)
{
	client_close(&subscriber->client);
	subscriber->count = 0;
	client_open(&subscriber->client, &harness);
	subscriber->client.slow = below(2) == 0;
}

static void random_step(void)
{
	struct subscriber_client *subscriber = &subscribers[below(COUNT_OF(subscribers))];

	switch (below(12)) {
	case 0:
	case 1:
	case 2:
		append((int)below(STREAMS), 1 + (uint32_t)below(40), below(300));
		if (below(3) != 0)
			tell();
		break;
	case 3:
		append((int)below(STREAMS), 1 + (uint32_t)below(1500), below(20));
		break;
	case 4:
		harness_flush(&harness);
		break;
	case 5:
		random_follow(subscriber);
		break;
	case 6:
		random_credit(subscriber);
		break;
	case 7:
		drain(subscriber);
		break;
	case 8:
		if (below(4) == 0)
			random_unsubscribe(subscriber);
		if (below(16) == 0)
			random_reconnect(subscriber);
		break;
	case 9:
		tell();
		break;
	case 10:
		settle();
		break;
	default:
		turn();
	}
	see_all();
}

static void finish(void)
{
	bool done = false;

	tell();
	while (!done) {
		done = true;
		for (size_t i = 0; i < COUNT_OF(subscribers); i++) {
			struct subscriber_client *subscriber = &subscribers[i];

			subscriber->client.slow = false;
			drain(subscriber);
			settle();
			for (uint32_t j = 0; j < subscriber->count; j++) {
				struct follower *follower = &subscriber->followers[j];

				if (follower->allowed == 0)
					credit(subscriber, follower, 10000);
				done = done && follower->live;
			}
		}
		settle();
	}
}

static void whatever_happens_each_sees_each_event_once_and_in_order(void **state)
{
	uint64_t live = 0, behind = 0, events = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		random_state = seed;
		if (seed > 1)
			setup(NULL);
		harness.node.settings.out_queue_bytes = 16 * KIB << below(6);
		for (int step = 0; step < 400; step++)
			random_step();
		finish();
		for (size_t i = 0; i < COUNT_OF(subscribers); i++) {
			for (uint32_t j = 0; j < subscribers[i].count; j++) {
				assert_complete(&subscribers[i].followers[j]);
				live += subscribers[i].followers[j].caught_up_times;
				behind += subscribers[i].followers[j].fell_behind_times;
				events += subscribers[i].followers[j].events;
			}
		}
		if (seed < SEEDS)
			teardown(NULL);
	}
	/* The steps do lead to where things could go wrong. */
	print_message("went live %u, fell behind %u times, %u events\n", (unsigned)live,
		      (unsigned)behind, (unsigned)events);
	assert_true(live > 300 && behind > 50 && events > 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			whatever_happens_each_sees_each_event_once_and_in_order, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
