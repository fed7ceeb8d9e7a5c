/* What a follower says when it rejects: as it reaches the network behind the guard. */
#include "tests/unit/unit.h"

#include "base/memory.h"
#include "raft/guard_internal.h"

#include <string.h>

#define SENT_MAX 4
#define TERM     3
#define SNAPSHOT 7 /* where the follower's log ends: a snapshot and nothing behind it */

static struct raft_io network;
static struct raft raft;
static struct raft_fsm fsm;
static struct guard *guard;
static struct raft_append_entries_result sent[SENT_MAX];
static unsigned sent_count;
static int refuse; /* what send answers, 0: it takes the message */

static int network_init(struct raft_io *io, raft_id id, const char *address)
{
	(void)io;
	(void)id;
	(void)address;
	return 0;
}

static int network_send(struct raft_io *io, struct raft_io_send *request,
			const struct raft_message *message, raft_io_send_cb done)
{
	(void)io;
	if (refuse != 0)
		return refuse;
	assert_true(sent_count < SENT_MAX);
	assert_int_equal(message->type, RAFT_IO_APPEND_ENTRIES_RESULT);
	sent[sent_count++] = message->append_entries_result;
	done(request, 0);
	return 0;
}

static void network_close(struct raft_io *io, raft_io_close_cb closed)
{
	closed(io);
}

static int setup(void **state)
{
	(void)state;
	network = (struct raft_io){
		.version = 2, .init = network_init, .send = network_send, .close = network_close};
	sent_count = 0;
	refuse = 0;
	return 0;
}

static void on_fail(void *arg, const struct error *error)
{
	(void)arg;
	fail_msg("%s", error->message);
}

static void open_with(uint32_t rows)
{
	const struct guard_options options = {.rows = rows, .fail = on_fail};

	guard = guard_new(&raft, &network, &options);
	assert_int_equal(raft_init(&raft, guard_io(guard), &fsm, 1, "1"), 0);
	raft.state = RAFT_FOLLOWER;
	raft.current_term = TERM;
	raft.commit_index = SNAPSHOT;
	raft.log.offset = SNAPSHOT;
	raft.log.snapshot.last_index = SNAPSHOT;
	raft.log.snapshot.last_term = TERM;
}

static int teardown(void **state)
{
	(void)state;
	raft_close(&raft, NULL);
	guard_free(guard);
	return 0;
}

static void on_rejection_sent(struct raft_io_send *request, int status)
{
	(void)request;
	assert_true(status == 0 || status == RAFT_CANCELED);
}

/* The rejection that libraft sends while it answers an AppendEntries. */
static void reject(raft_term term, raft_index prev, unsigned n_entries)
{
	static struct raft_io_send request;
	struct raft_message asked = {
		.type = RAFT_IO_APPEND_ENTRIES,
		.server_id = 2,
		.append_entries = {.term = term, .prev_log_index = prev, .n_entries = n_entries}};
	struct raft_message answer = {.type = RAFT_IO_APPEND_ENTRIES_RESULT,
				      .server_id = 2,
				      .append_entries_result = {.term = TERM,
								.rejected = prev,
								.last_log_index = SNAPSHOT}};

	guard->answering = &asked;
	assert_int_equal(guard_send(guard_io(guard), &request, &answer, on_rejection_sent), 0);
	guard->answering = NULL;
	guard_end_dropped(guard);
}

static void a_heartbeat_beyond_the_log_is_told_what_is_committed(void **state)
{
	(void)state;
	open_with(GUARD_JUMP);
	reject(TERM, 20, 0);
	assert_int_equal(sent_count, 2);
	assert_int_equal(sent[0].rejected, 0);
	assert_int_equal(sent[0].last_log_index, SNAPSHOT);
	assert_int_equal(sent[0].term, TERM);
	assert_int_equal(sent[1].rejected, 20);
}

static void others_are_rejected_and_no_more(void **state)
{
	(void)state;
	open_with(GUARD_JUMP);
	reject(TERM, 20, 1);       /* entries: the leader probes, and knows how to go on */
	reject(TERM, SNAPSHOT, 0); /* within the log: of another term */
	reject(TERM - 1, 20, 0);   /* a leader that is none any more need not have it */
	assert_int_equal(sent_count, 3);
	for (unsigned i = 0; i < sent_count; i++)
		assert_int_not_equal(sent[i].rejected, 0);
}

static void one_with_nothing_committed_has_nothing_to_tell(void **state)
{
	(void)state;
	open_with(GUARD_JUMP);
	raft.commit_index = 0;
	reject(TERM, 20, 0);
	assert_int_equal(sent_count, 1);
	assert_int_equal(sent[0].rejected, 20);
}

static void without_the_row_nothing_is_told(void **state)
{
	(void)state;
	open_with(0);
	reject(TERM, 20, 0);
	assert_int_equal(sent_count, 1);
}

static void what_the_network_refuses_is_freed(void **state)
{
	struct guard_counters counters;

	(void)state;
	open_with(GUARD_JUMP);
	refuse = RAFT_NOCONNECTION;
	reject(TERM, 20, 0);
	guard_get_counters(guard, &counters);
	assert_int_equal(counters.committed_told, 0);
	assert_int_equal(sent_count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_heartbeat_beyond_the_log_is_told_what_is_committed),
		TEST(others_are_rejected_and_no_more),
		TEST(one_with_nothing_committed_has_nothing_to_tell),
		TEST(without_the_row_nothing_is_told),
		TEST(what_the_network_refuses_is_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
