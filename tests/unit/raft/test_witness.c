/* A node that pulls and is a witness meanwhile: which entries it takes, when it begins, how it is ended. */
#include "tests/unit/raft/lone_peers.h"
#include "tests/unit/storage/feed.h"

#include "raft/replica_inside.h"

#define RETAINED_BYTES 100000
#define ENTRY_BYTES    1000

static struct lone lone;
static struct replica replica;

static bool accepts(void *arg)
{
	(void)arg;
	return witness_accepts_entries(&replica);
}

static void start(uint64_t retained_bytes)
{
	lone_init(&lone, 3);
	lone.options.accepts_entries = accepts;
	lone_start(&lone);
	memset(&replica, 0, sizeof replica);
	replica.state = REPLICA_PULLING;
	replica.instance = &lone.instance;
	replica.options.log_retained_bytes = retained_bytes;
	assert_true(witness_runs(&replica));
}

static void end(void)
{
	assert_int_equal(lone.failures, 0);
	lone_close(&lone);
}

/* One entry behind the last; whether it was taken. */
static bool append(raft_id leader, raft_term term, raft_term of_term)
{
	raft_index last = raft_last_index(lone_raft(&lone));
	struct raft_entry entry = lone_entry(last + 1, of_term, ENTRY_BYTES);

	lone_append(&lone, leader, term, last, lone_term_at(&lone, last), 1, 1, &entry);
	lone_settle(&lone);
	return raft_last_index(lone_raft(&lone)) == last + 1;
}

static unsigned append_all(raft_id leader, raft_term term)
{
	unsigned count = 0;

	while (append(leader, term, term))
		assert_true(++count < 10 * RETAINED_BYTES / ENTRY_BYTES);
	return count;
}

/* A leader whose log had them before its term commits nothing without them: they have no bound. */
static void entries_from_before_the_leaders_term_are_always_taken(void **state)
{
	unsigned count;

	(void)state;
	start(RETAINED_BYTES);
	/* What the leader had before it led, then two times what may be retained. */
	for (int i = 0; i < 500; i++)
		assert_true(append(2, 3, 2));
	assert_int_equal(replica.witness.log_bytes, 0);
	count = append_all(2, 3);
	assert_in_range(count, 190, 210);
	assert_false(append(2, 3, 3));

	/* Another one leads: what it has of that term is beyond the bound, and is needed. */
	lone_follow(&lone, 3, 5);
	for (int i = 0; i < 100; i++)
		assert_true(append(3, 5, 3));
	for (int i = 0; i < 100; i++)
		assert_true(append(3, 5, 4));
	/* The first of its own is what commits all of them; from there on the bound holds. */
	assert_true(append(3, 5, 5));
	assert_false(append(3, 5, 5));
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).rejected, 0);

	/* The next one sends entries with the first message of its term: they come again. */
	assert_false(append(2, 6, 5));
	assert_true(append(2, 6, 5));
	end();
}

/* libraft could not read them back. */
static void a_log_of_too_many_entries_takes_none(void **state)
{
	static struct raft_entry entries[5000];
	raft_index last = 1;

	(void)state;
	start(UINT64_MAX / 4);
	while (last - 1 < LIMIT_LOG_ENTRIES) {
		for (size_t i = 0; i < COUNT_OF(entries); i++)
			entries[i] = lone_entry(last + 1 + i, 2, 8);
		lone_append(&lone, 2, 3, last, last == 1 ? 1 : 2, 1, COUNT_OF(entries), entries);
		lone_settle(&lone);
		last += COUNT_OF(entries);
		assert_int_equal(raft_last_index(lone_raft(&lone)), last);
	}
	assert_false(append(2, 3, 2));
	end();
}

static void a_later_snapshot_need_not_have_a_later_manifest(void **state)
{
	struct manifest manifest = {.applied_index = 10, .position = 10};

	(void)state;
	memset(&replica, 0, sizeof replica);
	witness_restored(&replica, &manifest);
	assert_int_equal(replica.manifest.position, 10);
	manifest = (struct manifest){.applied_index = 9, .position = 9};
	witness_restored(&replica, &manifest);
	assert_int_equal(replica.manifest.position, 10);
}

/* ---- when it begins ---- */

static struct feed_place place;
static uv_loop_t loop;
static unsigned failures;
static struct error failure;
static bool waits_in_vain; /* whoever waits for a condition */

int uv_cond_timedwait(uv_cond_t *condition, uv_mutex_t *lock, uint64_t timeout_ns)
{
	(void)timeout_ns;
	if (waits_in_vain)
		return UV_ETIMEDOUT;
	uv_cond_wait(condition, lock);
	return 0;
}

static void on_fail(void *arg, const struct error *error)
{
	(void)arg;
	failures++;
	failure = *error;
}

static void on_wake(uv_async_t *wake)
{
	(void)wake;
}

/* A pull that has begun, raft closed, on a directory without a log. */
static void begin_pull(void)
{
	memset(&replica, 0, sizeof replica);
	failures = 0;
	waits_in_vain = false;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_async_init(&loop, &replica.wake, on_wake), 0);
	feed_place_init(&place, true);
	replica.options.loop = &loop;
	replica.options.store = feed_store(&place);
	replica.options.fail = on_fail;
	replica.options.segment_bytes = 64 * KIB;
	strcpy(replica.data_dir, "/nowhere");
	replica.state = REPLICA_PULLING;
	replica.raft_closed = true;
	witness_init(&replica.witness);
	witness_pull_begins(&replica);
}

static void end_pull(void)
{
	witness_close(&replica.witness);
	store_close(replica.options.store);
	feed_place_close(&place);
	uv_close((uv_handle_t *)&replica.wake, NULL);
	while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
		;
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void wait_ms(int64_t ms)
{
	lone_now_ms += ms;
	witness_turn(&replica);
}

static void a_pull_that_gets_nothing_makes_a_witness(void **state)
{
	struct feed_append append = feed_single("Order-1", 1);
	struct error error;

	(void)state;
	begin_pull();
	wait_ms(WITNESS_AFTER_MS - 1);
	assert_int_equal(failures, 0);
	/* Something came: it waits anew. */
	assert_ok(feed_apply(replica.options.store, 1, &append, NULL, &error));
	wait_ms(WITNESS_AFTER_MS - 1);
	wait_ms(WITNESS_AFTER_MS - 1);
	assert_int_equal(failures, 0);
	/* And where it cannot open the log, the node ends, and says why. */
	wait_ms(1);
	assert_int_equal(failures, 1);
	if (strstr(failure.message, "/nowhere/hardstate") == NULL)
		fail_msg("%s", failure.message);
	assert_false(replica.witness.runs);
	end_pull();
}

static void no_witness_begins_while_a_pull_begins_or_ends(void **state)
{
	bool *const flags[] = {&replica.pull_wanted, &replica.resume_wanted};

	(void)state;
	begin_pull();
	for (size_t i = 0; i < COUNT_OF(flags); i++) {
		*flags[i] = true;
		wait_ms(10 * WITNESS_AFTER_MS);
		*flags[i] = false;
	}
	replica.raft_closed = false;
	wait_ms(10 * WITNESS_AFTER_MS);
	replica.raft_closed = true;
	assert_int_equal(failures, 0);
	end_pull();
}

static void a_pull_that_ends_forbids_it_until_the_next_one(void **state)
{
	struct error error;

	(void)state;
	begin_pull();
	assert_int_equal(witness_end_wait(&replica, &error), 0);
	wait_ms(10 * WITNESS_AFTER_MS);
	assert_int_equal(failures, 0);
	witness_pull_begins(&replica);
	wait_ms(WITNESS_AFTER_MS);
	assert_int_equal(failures, 1);
	end_pull();
}

static void end_wait(void *arg)
{
	struct error error;

	*(int *)arg = witness_end_wait(&replica, &error);
}

static bool is_forbidden(void)
{
	uv_mutex_lock(&replica.witness.lock);
	bool forbidden = replica.witness.forbidden;

	uv_mutex_unlock(&replica.witness.lock);
	return forbidden;
}

static void the_end_of_a_pull_waits_until_raft_is_closed(void **state)
{
	uv_thread_t thread;
	struct error error;
	int status = 1;

	(void)state;
	begin_pull();
	replica.witness.runs = true;
	waits_in_vain = true;
	assert_int_equal(witness_end_wait(&replica, &error), -ETIMEDOUT);
	assert_non_null(strstr(error.message, "raft was not closed in 5 s"));
	waits_in_vain = false;
	replica.witness.forbidden = false;
	assert_int_equal(uv_thread_create(&thread, end_wait, &status), 0);
	while (!is_forbidden())
		;
	witness_raft_closed(&replica);
	uv_thread_join(&thread);
	assert_int_equal(status, 0);
	end_pull();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_from_before_the_leaders_term_are_always_taken),
		cmocka_unit_test(a_log_of_too_many_entries_takes_none),
		cmocka_unit_test(a_later_snapshot_need_not_have_a_later_manifest),
		cmocka_unit_test(a_pull_that_gets_nothing_makes_a_witness),
		cmocka_unit_test(no_witness_begins_while_a_pull_begins_or_ends),
		cmocka_unit_test(a_pull_that_ends_forbids_it_until_the_next_one),
		cmocka_unit_test(the_end_of_a_pull_waits_until_raft_is_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
