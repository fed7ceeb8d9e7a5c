/* Thousands of random appends, decided by the machine and by the rules of the oracle. */
#include "tests/unit/storage/machine_oracle.h"

#define WORLDS  300
#define APPENDS 60

/* Now and then a stream is deleted, seldom for good. */
static void change_a_stream(uint64_t *random, struct world *world, struct oracle *oracle)
{
	uint32_t stream = (uint32_t)(unit_random(random) % COUNT_OF(streams));

	if (oracle->streams[stream].state != STREAM_LIVE || !chance(random, 10) ||
	    world->mark_count == COUNT_OF(world->marks))
		return;
	oracle->streams[stream].state = chance(random, 20) ? STREAM_TOMBSTONED : STREAM_DELETED;
	world_mark_stream(world, streams[stream], oracle->streams[stream].state);
}

static void run_world(uint64_t seed, uint32_t seen[ANSWER_COUNT + 1])
{
	static struct oracle oracle;
	struct world world;
	uint64_t random = seed;

	oracle = (struct oracle){0};
	world_init(&world);
	for (uint32_t i = 0; i < APPENDS; i++) {
		struct ask ask = oracle_make_ask(&random, &oracle);

		assert_true(oracle.count + COUNT_OF(ask.events) < ORACLE_RECORDS);
		struct wanted wanted = oracle_decide(&oracle, &ask, world.clock + 1);
		const struct outcome *outcome = world_append(&world, &ask);
		oracle_compare(outcome, &oracle, &ask, &wanted);
		assert_int_equal(world.count, oracle.count);
		seen[wanted.duplicate ? ANSWER_COUNT : wanted.code]++;
		change_a_stream(&random, &world, &oracle);
	}
	world_close(&world);
}

static void random_appends_are_decided_as_the_rules_say(void **state)
{
	static const enum answer_code codes[] = {ANSWER_OK,
						 ANSWER_COUNT, /* duplicates */
						 ANSWER_EVENT_ID_CONFLICT,
						 ANSWER_WRONG_EXPECTED_VERSION,
						 ANSWER_CONDITION_FAILED,
						 ANSWER_CHECKPOINT_CONFLICT,
						 ANSWER_NOT_FOUND,
						 ANSWER_STREAM_TOMBSTONED};
	uint32_t seen[ANSWER_COUNT + 1] = {0}, all = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= WORLDS; seed++)
		run_world(seed, seen);
	/* It looked at every outcome often. */
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		all += seen[codes[i]];
		if (seen[codes[i]] < WORLDS * APPENDS / 100)
			fail_msg("outcome %u was seen %u times only", codes[i], seen[codes[i]]);
	}
	assert_int_equal(all, WORLDS * APPENDS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_appends_are_decided_as_the_rules_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
