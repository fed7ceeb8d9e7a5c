/* The wheel of deadlines: none early, none late by more than a tick, none forgotten. */
#include "tests/unit/unit.h"

#include "node/deadline.h"
#include <stdlib.h>

#define REQUESTS 3000

static struct deadlines *deadlines;
static struct request requests[REQUESTS];
static int64_t expired_ms[REQUESTS]; /* 0: not yet */
static int64_t now_ms;

/* Instead of request.c: who expires takes its neighbour along, which must not upset the wheel. */
void request_expire(struct request *request)
{
	size_t i = (size_t)(request - requests);

	assert_int_equal(expired_ms[i], 0);
	expired_ms[i] = now_ms;
	if (i % 7 == 0 && i + 1 < REQUESTS)
		deadlines_remove(deadlines, &requests[i + 1]);
}

static void begin(int64_t at_ms)
{
	now_ms = at_ms;
	deadlines = deadlines_new(now_ms);
	memset(requests, 0, sizeof requests);
	memset(expired_ms, 0, sizeof expired_ms);
}

static void add(size_t i, int64_t deadline_ms)
{
	requests[i].deadline_ms = deadline_ms;
	deadlines_add(deadlines, &requests[i]);
}

static void one_expires_in_its_tick(void **state)
{
	(void)state;
	for (int64_t delay_ms = 0; delay_ms < 40; delay_ms++) {
		begin(1000003);
		add(1, now_ms + delay_ms);
		while (expired_ms[1] == 0) {
			now_ms++;
			deadlines_advance(deadlines, now_ms);
		}
		assert_true(expired_ms[1] >= 1000003 + delay_ms);
		assert_true(expired_ms[1] <= 1000003 + delay_ms + 2 * DEADLINE_TICK_MS);
		assert_int_equal(deadlines->count, 0);
		deadlines_free(deadlines);
	}
}

static void one_that_is_removed_does_not_expire(void **state)
{
	(void)state;
	begin(5);
	add(1, 100);
	deadlines_remove(deadlines, &requests[1]);
	deadlines_remove(deadlines, &requests[1]);
	now_ms = 100000;
	deadlines_advance(deadlines, now_ms);
	assert_int_equal(expired_ms[1], 0);
	deadlines_free(deadlines);
}

/* Longer than several turns of the wheel, and looked at in uneven steps. */
static void many_expire_when_due(void **state)
{
	uint64_t seed = 42;

	(void)state;
	begin(123456789);
	for (size_t i = 0; i < REQUESTS; i++)
		add(i, now_ms + (int64_t)(unit_random(&seed) % 60000));
	while (deadlines->count > 0) {
		now_ms += (int64_t)(unit_random(&seed) % 50);
		deadlines_advance(deadlines, now_ms);
		for (size_t i = 0; i < REQUESTS; i++) {
			if (expired_ms[i] != 0)
				assert_true(expired_ms[i] >= requests[i].deadline_ms);
			else if (requests[i].deadline_link != NULL)
				assert_true(now_ms <=
					    requests[i].deadline_ms + 2 * DEADLINE_TICK_MS);
		}
	}
	for (size_t i = 0; i < REQUESTS; i++) /* but for those taken along */
		assert_true(expired_ms[i] != 0 || (i % 7 == 1 && expired_ms[i - 1] != 0));
	deadlines_free(deadlines);
}

static void a_long_pause_is_made_up_for(void **state)
{
	(void)state;
	begin(0);
	add(1, 50);
	add(2, 3600 * 1000);
	now_ms = 3500 * 1000;
	deadlines_advance(deadlines, now_ms);
	assert_int_equal(expired_ms[1], now_ms);
	assert_int_equal(expired_ms[2], 0);
	now_ms = 3600 * 1000 + DEADLINE_TICK_MS;
	deadlines_advance(deadlines, now_ms);
	assert_int_equal(expired_ms[2], now_ms);
	deadlines_free(deadlines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_expires_in_its_tick),
		cmocka_unit_test(one_that_is_removed_does_not_expire),
		cmocka_unit_test(many_expire_when_due),
		cmocka_unit_test(a_long_pause_is_made_up_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
