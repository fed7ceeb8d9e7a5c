/* A leader whose disk stalls: the real libraft and the guard, with a disk that ends a write when it is told
 * to, a clock that is set, and two voters that are played by the test. */
#include "tests/unit/unit.h"

#include "base/memory.h"
#include "raft/guard.h"

#define HEARTBEAT_MS 50
#define ELECTION_MS  500
#define SENT_MAX     512
#define WRITES_MAX   8
#define TERM         2 /* of this node as leader; the snapshot is of term 1 */
#define BEGIN        7 /* index of the snapshot */

static struct raft_io inner;
static struct raft raft;
static struct raft_fsm fsm;
static struct guard *guard;

static raft_time now;
static raft_io_tick_cb tick_cb;
static raft_io_recv_cb receive_cb;
static struct raft_io_append *writes[WRITES_MAX]; /* in order */
static unsigned write_count, ended;
static struct sent {
	struct raft_io_send *request;
	raft_io_send_cb done;
} sent[SENT_MAX];
static unsigned sent_count;
static unsigned votes_asked, told;
static struct raft_message last_told;
static struct raft_apply applies[4];
static struct raft_transfer transfer;

/* ---- the world around libraft ---- */

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
	(void)io;
	(void)id;
	(void)address;
	return 0;
}

static void io_close(struct raft_io *io, raft_io_close_cb closed)
{
	while (ended < write_count) {
		struct raft_io_append *request = writes[ended++];

		request->cb(request, RAFT_CANCELED);
	}
	closed(io);
}

static struct raft_snapshot *snapshot_of_three(void)
{
	struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);
	static const char *const addresses[] = {"1", "2", "3"};

	snapshot->index = BEGIN;
	snapshot->term = 1;
	raft_configuration_init(&snapshot->configuration);
	for (raft_id id = 1; id <= 3; id++)
		assert_int_equal(raft_configuration_add(&snapshot->configuration, id,
							addresses[id - 1], RAFT_VOTER),
				 0);
	snapshot->configuration_index = 1;
	snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
	snapshot->bufs[0] = (struct raft_buffer){.base = raft_calloc(1, 8), .len = 8};
	snapshot->n_bufs = 1;
	return snapshot;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
		   struct raft_snapshot **snapshot, raft_index *start, struct raft_entry *entries[],
		   size_t *count)
{
	(void)io;
	*term = 1;
	*vote = 0;
	*snapshot = snapshot_of_three();
	*start = BEGIN + 1;
	*entries = NULL;
	*count = 0;
	return 0;
}

static int io_start(struct raft_io *io, unsigned ms, raft_io_tick_cb tick, raft_io_recv_cb receive)
{
	(void)io;
	assert_int_equal(ms, HEARTBEAT_MS);
	tick_cb = tick;
	receive_cb = receive;
	return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
	(void)io;
	(void)term;
	return 0;
}

static int io_set_vote(struct raft_io *io, raft_id vote)
{
	(void)io;
	(void)vote;
	return 0;
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
		   const struct raft_message *message, raft_io_send_cb done)
{
	(void)io;
	assert_true(sent_count < SENT_MAX);
	sent[sent_count++] = (struct sent){request, done};
	votes_asked += message->type == RAFT_IO_REQUEST_VOTE;
	if (message->type == RAFT_IO_TIMEOUT_NOW) {
		told++;
		last_told = *message;
	}
	return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
		     const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	(void)io;
	(void)entries;
	(void)count;
	assert_true(write_count < WRITES_MAX);
	request->cb = done;
	writes[write_count++] = request;
	return 0;
}

static raft_time io_time(struct raft_io *io)
{
	(void)io;
	return now;
}

static int io_random(struct raft_io *io, int min, int max)
{
	(void)io;
	(void)max;
	return min;
}

static int fsm_apply(struct raft_fsm *of, const struct raft_buffer *buffer, void **result)
{
	(void)of;
	(void)buffer;
	(void)result;
	return 0;
}

static int fsm_restore(struct raft_fsm *of, struct raft_buffer *buffer)
{
	(void)of;
	raft_free(buffer->base);
	return 0;
}

static void on_fail(void *arg, const struct error *error)
{
	(void)arg;
	fail_msg("%s", error->message);
}

/* ---- what happens ---- */

/* The network has taken everything. */
static void end_sends(void)
{
	for (unsigned i = 0; i < sent_count; i++)
		if (sent[i].done != NULL)
			sent[i].done(sent[i].request, 0);
	sent_count = 0;
}

static void end_write(void)
{
	struct raft_io_append *request = writes[ended++];

	assert_true(ended <= write_count);
	request->cb(request, 0);
	end_sends();
}

static void receive(struct raft_message message)
{
	message.server_address = message.server_id == 2 ? "2" : "3";
	receive_cb(&inner, &message);
	end_sends();
}

static void vote_from(raft_id id)
{
	receive((struct raft_message){.type = RAFT_IO_REQUEST_VOTE_RESULT,
				      .server_id = id,
				      .request_vote_result = {.term = TERM,
							      .vote_granted = true,
							      .pre_vote = raft_tribool_false}});
}

/* That follower has everything up to this on disk. */
static void stored_on(raft_id id, raft_index last)
{
	receive((struct raft_message){
		.type = RAFT_IO_APPEND_ENTRIES_RESULT,
		.server_id = id,
		.append_entries_result = {.term = raft.current_term, .last_log_index = last}});
}

static void tick(void)
{
	now += HEARTBEAT_MS;
	tick_cb(&inner);
	end_sends();
}

/* Heartbeats go on, and are answered by followers with this much of the log; 0: with silence. */
static void pass(unsigned timeouts, raft_index second, raft_index third)
{
	for (unsigned i = 0; i < timeouts * ELECTION_MS / HEARTBEAT_MS; i++) {
		if (raft.state == RAFT_LEADER && second != 0)
			stored_on(2, second);
		if (raft.state == RAFT_LEADER && third != 0)
			stored_on(3, third);
		tick();
	}
}

static void on_applied(struct raft_apply *request, int status, void *result)
{
	(void)request;
	(void)status;
	(void)result;
}

static void propose(unsigned number)
{
	struct raft_buffer buffer = {.base = raft_calloc(1, 8), .len = 8};

	assert_int_equal(raft_apply(&raft, &applies[number], &buffer, 1, on_applied), 0);
	end_sends();
}

/* This node leads, its barrier is stored and committed, and an entry behind it is being written. */
static int setup(void **state)
{
	const struct guard_options options = {.rows = GUARD_ALL,
					      .peer_in_flight_bytes = 1 << 20,
					      .peer_in_flight_messages = 100,
					      .fail = on_fail};

	(void)state;
	inner = (struct raft_io){.version = 2,
				 .init = io_init,
				 .close = io_close,
				 .load = io_load,
				 .start = io_start,
				 .set_term = io_set_term,
				 .set_vote = io_set_vote,
				 .send = io_send,
				 .append = io_append,
				 .time = io_time,
				 .random = io_random};
	fsm = (struct raft_fsm){.version = 1, .apply = fsm_apply, .restore = fsm_restore};
	now = 1000;
	write_count = ended = 0;
	sent_count = votes_asked = told = 0;
	guard = guard_new(&raft, &inner, &options);
	assert_int_equal(raft_init(&raft, guard_io(guard), &fsm, 1, "1"), 0);
	raft_set_heartbeat_timeout(&raft, HEARTBEAT_MS);
	raft_set_election_timeout(&raft, ELECTION_MS);
	assert_int_equal(raft_start(&raft), 0);
	while (raft.state == RAFT_FOLLOWER)
		tick();
	vote_from(2);
	assert_int_equal(raft.state, RAFT_LEADER);
	assert_int_equal(raft.current_term, TERM);
	stored_on(2, BEGIN);
	stored_on(3, BEGIN);
	end_write(); /* the barrier, BEGIN + 1 */
	stored_on(2, BEGIN + 1);
	stored_on(3, BEGIN + 1);
	propose(0); /* BEGIN + 2 */
	assert_int_equal(write_count, ended + 1);
	assert_int_equal(raft_last_index(&raft), BEGIN + 2);
	votes_asked = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	raft_close(&raft, NULL);
	end_sends();
	guard_free(guard);
	return 0;
}

static uint64_t resigned(void)
{
	struct guard_counters counters;

	guard_get_counters(guard, &counters);
	return counters.resigned;
}

/* ---- the tests ---- */

static void a_leader_that_others_have_overtaken_hands_over_soon(void **state)
{
	(void)state;
	pass(2, BEGIN + 2, BEGIN + 2);
	assert_int_equal(raft.state, RAFT_LEADER);
	pass(1, BEGIN + 2, BEGIN + 2);
	assert_int_equal(raft.state, RAFT_FOLLOWER);
	assert_int_equal(resigned(), 1);
	assert_int_equal(told, 1);
	assert_int_equal(last_told.timeout_now.term, TERM);
	assert_int_equal(last_told.timeout_now.last_log_index, BEGIN + 2);
	assert_int_equal(last_told.timeout_now.last_log_term, TERM);
	/* What it could not write is committed by nobody yet, and by itself never was. */
	assert_int_equal(raft.commit_index, BEGIN + 1);
}

static void the_voter_with_most_of_the_log_is_told(void **state)
{
	(void)state;
	propose(1); /* BEGIN + 3 waits behind the write that stalls */
	pass(3, BEGIN + 2, BEGIN + 3);
	assert_int_equal(told, 1);
	assert_int_equal(last_told.server_id, 3);
	assert_int_equal(last_told.timeout_now.last_log_index, BEGIN + 3);
}

/* All disks may stall alike; or only this leader has the entry: it is given more time. */
static void a_stall_that_others_share_is_borne_longer(void **state)
{
	(void)state;
	pass(6, BEGIN + 2, BEGIN + 1);
	assert_int_equal(raft.state, RAFT_LEADER);
	pass(1, BEGIN + 2, BEGIN + 1);
	assert_int_equal(raft.state, RAFT_FOLLOWER);
	assert_int_equal(resigned(), 1);
	assert_int_equal(last_told.server_id, 2);
}

static void without_a_majority_that_answers_it_leads_on(void **state)
{
	(void)state;
	stored_on(2, BEGIN + 2);
	stored_on(3, BEGIN + 2);
	pass(8, BEGIN + 2, 0);
	assert_int_equal(raft.state, RAFT_LEADER);
	assert_int_equal(resigned(), 0);
	assert_int_equal(told, 0);
}

static void a_disk_that_is_slow_but_writes_changes_nothing(void **state)
{
	(void)state;
	for (unsigned i = 1; i < COUNT_OF(applies); i++) {
		raft_index last = BEGIN + 1 + i;

		pass(1, last, last);
		propose(i);
		pass(1, last, last);
		assert_int_equal(raft.state, RAFT_LEADER);
		end_write();
	}
	assert_int_equal(resigned(), 0);
	assert_int_equal(told, 0);
}

/* It would be elected, for it has most of the log, and stall again. */
static void it_does_not_stand_again_until_the_write_has_ended(void **state)
{
	(void)state;
	pass(3, BEGIN + 2, BEGIN + 2);
	assert_int_equal(raft.state, RAFT_FOLLOWER);
	pass(10, 0, 0);
	assert_int_equal(raft.state, RAFT_FOLLOWER);
	assert_int_equal(votes_asked, 0);
	end_write();
	pass(2, 0, 0);
	assert_int_equal(raft.state, RAFT_CANDIDATE);
}

static void a_transfer_that_is_under_way_is_enough(void **state)
{
	(void)state;
	pass(2, BEGIN + 2, BEGIN + 2);
	assert_int_equal(raft_transfer(&raft, &transfer, 2, NULL), 0);
	end_sends();
	assert_int_equal(told, 1); /* by libraft: that voter has all */
	pass(1, BEGIN + 2, BEGIN + 2);
	assert_int_equal(raft.state, RAFT_FOLLOWER);
	assert_int_equal(told, 1);
	assert_int_equal(last_told.server_id, 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_leader_that_others_have_overtaken_hands_over_soon),
		TEST(the_voter_with_most_of_the_log_is_told),
		TEST(a_stall_that_others_share_is_borne_longer),
		TEST(without_a_majority_that_answers_it_leads_on),
		TEST(a_disk_that_is_slow_but_writes_changes_nothing),
		TEST(it_does_not_stand_again_until_the_write_has_ended),
		TEST(a_transfer_that_is_under_way_is_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
