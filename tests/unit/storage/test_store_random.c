/*
 * Random appends, several in a command, decided by a whole store: with flushes, dropped checkpoints and
 * new starts in between, every outcome is what the oracle says.
 */
#include "tests/unit/storage/machine_oracle.h"

#define STORES   40
#define COMMANDS 40
#define ITEMS    4

struct run {
	struct feed_place place;
	struct store *store;
	struct oracle oracle;
	uint64_t random, index;
	uint32_t item_count;
	struct ask asks[ITEMS];
	struct error error;
};

static void check_item(void *arg, uint32_t item, const struct outcome *outcome)
{
	struct run *run = arg;
	const struct ask *ask = &run->asks[item];
	struct wanted wanted = oracle_decide(&run->oracle, ask, (int64_t)run->index * 1000);

	assert_in_range(item, 0, run->item_count - 1);
	oracle_compare(outcome, &run->oracle, ask, &wanted);
	assert_int_equal(store_head(run->store), run->oracle.count);
}

static void apply_some(struct run *run)
{
	struct apply_sink sink = {.decided = check_item, .arg = run};
	uint64_t before = run->oracle.count;
	struct apply_result result;
	struct buffer items;

	buffer_init(&items);
	run->index++;
	run->item_count = 1 + (uint32_t)(unit_random(&run->random) % ITEMS);
	for (uint32_t i = 0; i < run->item_count; i++) {
		run->asks[i] = oracle_make_ask(&run->random, &run->oracle);
		ask_encode(&run->asks[i], &items);
	}
	struct span body = feed_command(&items, run->item_count, (int64_t)run->index * 1000);
	buffer_close(&items);
	if (store_apply(run->store, run->index, (uint8_t *)(uintptr_t)body.data, body.size, &sink,
			&result, &run->error) != 0)
		fail_msg("%s", run->error.message);
	if (run->oracle.count == before) {
		assert_int_equal(result.first_position, 0);
		return;
	}
	assert_int_equal(result.first_position, before + 1);
	assert_int_equal(result.last_position, run->oracle.count);
}

static void check_counts(struct run *run)
{
	uint64_t events = 0, kept = 0;
	struct store_status status;

	for (uint32_t i = 0; i < run->oracle.count; i++) {
		const char *stream = run->oracle.log[i].event.stream;

		events += stream != NULL && stream[0] != '$';
	}
	for (uint32_t i = 0; i < COUNT_OF(streams); i++)
		kept += run->oracle.streams[i].version > 0;
	for (uint32_t i = 0; i < ORACLE_CONSUMERS; i++)
		kept += run->oracle.checkpoints[i].ever;
	store_get_status(run->store, &status);
	assert_int_equal(status.head, run->oracle.count);
	assert_int_equal(status.event_count, events);
	assert_int_equal(status.stream_count, kept);
}

static void flush_and_trim(struct run *run)
{
	bool again = unit_random(&run->random) % 2 == 0;

	if (store_flush(run->store, &run->error) != 0)
		fail_msg("%s", run->error.message);
	while (again)
		if (store_trim(run->store, &again, &run->error) != 0)
			fail_msg("%s", run->error.message);
	if (unit_random(&run->random) % 3 == 0) {
		store_close(run->store);
		run->store = feed_store(&run->place);
	}
	check_counts(run);
}

static void run_store(bool in_memory, uint64_t seed)
{
	static struct run run;

	run = (struct run){.random = seed};
	feed_place_init(&run.place, in_memory);
	run.store = feed_store(&run.place);
	for (uint32_t i = 0; i < COMMANDS; i++) {
		assert_true(run.oracle.count + ITEMS * COUNT_OF(run.asks[0].events) <
			    ORACLE_RECORDS);
		apply_some(&run);
		if (unit_random(&run.random) % 5 == 0)
			flush_and_trim(&run);
	}
	flush_and_trim(&run);
	store_close(run.store);
	feed_place_close(&run.place);
}

static void a_store_in_memory_decides_as_the_rules_say(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= STORES; seed++)
		run_store(true, seed);
}

static void a_store_on_disk_decides_as_the_rules_say(void **state)
{
	(void)state;
	for (uint64_t seed = 1000; seed < 1000 + STORES / 8; seed++)
		run_store(false, seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_store_in_memory_decides_as_the_rules_say),
		cmocka_unit_test(a_store_on_disk_decides_as_the_rules_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
