/* Changes of members and of leadership, phase by phase, on a leader whose peers do what a test says. */
#include "tests/unit/raft/lone_peers.h"

#include "raft/members.h"

#define ADDED "127.0.0.1:5000"

static struct lone lone;
static struct members members;

static struct {
	unsigned count;
	int status;
	struct error error;
} told;

static void on_told(void *arg, int status, const struct error *error)
{
	assert_ptr_equal(arg, &told);
	/* The next one may begin in it. */
	assert_int_equal(members.kind, MEMBERS_NONE);
	told.count++;
	told.status = status;
	told.error = *error;
}

static void turn(void)
{
	members_turn(&members, &lone.instance, true);
}

static void expect_told(const char *what, int status, const char *said)
{
	if (told.count != 1 || told.status != status ||
	    (said != NULL && strstr(told.error.message, said) == NULL))
		fail_msg("%s: told %u times, %d, '%s'", what, told.count, told.status,
			 told.error.message);
}

static void begin_with(unsigned count, const int roles[])
{
	lone_init(&lone, count);
	for (unsigned id = 1; roles != NULL && id <= count; id++)
		lone.roles[id] = roles[id];
	memset(&members, 0, sizeof members);
	told.count = 0;
	lone_start(&lone);
}

static void lead_with(unsigned count, const int roles[])
{
	begin_with(count, roles);
	lone_lead(&lone);
}

static void end(void)
{
	assert_int_equal(lone.failures, 0);
	lone_close(&lone);
}

static void add(uint64_t id, enum member_role role)
{
	members_add(&members, &lone.instance, id, ADDED, "127.0.0.1:6000", role, on_told, &told);
}

static void assign(uint64_t id, enum member_role role)
{
	members_assign(&members, &lone.instance, id, role, on_told, &told);
}

static void remove_one(uint64_t id)
{
	members_remove(&members, &lone.instance, id, on_told, &told);
}

static void transfer(uint64_t id)
{
	members_transfer(&members, &lone.instance, id, on_told, &told);
}

/* One who leads a later term speaks. */
static void step_down(raft_id leader)
{
	lone_follow(&lone, leader, lone_raft(&lone)->current_term + 1);
	assert_int_equal(lone_raft(&lone)->state, RAFT_FOLLOWER);
}

/* ---- the happy paths ---- */

/* Walks on until it is over; writes down each phase as it begins. */
static void walk(char path[128])
{
	static const char *const names[] = {"reach",    "settle",      "log",
					    "catch-up", "taking-over", "over"};
	int phase = -1;

	path[0] = '\0';
	for (int step = 0; members.kind != MEMBERS_NONE; step++) {
		assert_true(step < 100);
		if ((int)members.phase != phase) {
			phase = (int)members.phase;
			strcat(strcat(path, path[0] != '\0' ? " " : ""), names[phase]);
		}
		assert_int_equal(members_hold(&members),
				 phase == PHASE_SETTLE || phase == PHASE_TAKING_OVER);
		if (members_reaching(&members) != NULL) {
			assert_string_equal(members_reaching(&members)->peer, ADDED);
			members_reached(&members, members.id + 1, "of no concern");
			members_reached(&members, members.id, "");
			continue;
		}
		turn();
		if (members.kind != MEMBERS_NONE && (int)members.phase == phase)
			lone_replicate(&lone);
	}
}

static void a_change_goes_from_phase_to_phase(void **state)
{
	static const struct {
		const char *what;
		enum members_kind kind;
		int role; /* in raft, before; -1: no member */
		enum member_role wished;
		const char *path;
	} cases[] = {
		{"add a spare", MEMBERS_ADD, -1, MEMBER_SPARE, "reach settle log"},
		{"add a standby", MEMBERS_ADD, -1, MEMBER_STANDBY, "reach settle log settle log"},
		{"add a voter", MEMBERS_ADD, -1, MEMBER_VOTER,
		 "reach settle log settle log catch-up settle log"},
		{"spare to standby", MEMBERS_ASSIGN, RAFT_SPARE, MEMBER_STANDBY, "settle log"},
		{"spare to voter", MEMBERS_ASSIGN, RAFT_SPARE, MEMBER_VOTER,
		 "settle log catch-up settle log"},
		{"standby to voter", MEMBERS_ASSIGN, RAFT_STANDBY, MEMBER_VOTER,
		 "catch-up settle log"},
		{"voter to spare", MEMBERS_ASSIGN, RAFT_VOTER, MEMBER_SPARE, "settle log"},
		{"nothing to do", MEMBERS_ASSIGN, RAFT_SPARE, MEMBER_SPARE, "over"},
		{"remove a voter", MEMBERS_REMOVE, RAFT_VOTER, 0, "settle log"},
		{"remove a spare", MEMBERS_REMOVE, RAFT_SPARE, 0, "settle log"},
	};
	static const int in_raft[] = {
		[MEMBER_VOTER] = RAFT_VOTER,
		[MEMBER_STANDBY] = RAFT_STANDBY,
		[MEMBER_SPARE] = RAFT_SPARE,
	};
	char path[128];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, cases[i].role};

		lead_with(cases[i].role < 0 ? 3 : 4, roles);
		if (cases[i].kind == MEMBERS_ADD)
			add(4, cases[i].wished);
		else if (cases[i].kind == MEMBERS_ASSIGN)
			assign(4, cases[i].wished);
		else
			remove_one(4);
		walk(path);
		if (strcmp(path, cases[i].path) != 0)
			fail_msg("%s: %s", cases[i].what, path);
		expect_told(cases[i].what, 0, NULL);
		assert_int_equal(lone_raft(&lone)->configuration.n,
				 cases[i].kind == MEMBERS_REMOVE ? 3 : 4);
		if (cases[i].kind != MEMBERS_REMOVE)
			assert_int_equal(lone_role(&lone, 4), in_raft[cases[i].wished]);
		end();
	}
}

/* ---- requests that are refused ---- */

static void what_cannot_be_is_refused_in_the_next_turn(void **state)
{
	static const int roles[] = {0,          RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY, RAFT_VOTER,
				    RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_VOTER,   RAFT_VOTER};
	struct error error;

	(void)state;
	begin_with(3, roles);
	remove_one(2);
	turn();
	expect_told("a follower", -EPERM, "not the leader");
	lone_lead(&lone);

	told.count = 0;
	members_add(&members, &lone.instance, 4, "127.0.0.1:1002", ADDED, MEMBER_VOTER, on_told,
		    &told);
	turn();
	expect_told("an address that is taken", -EEXIST, "127.0.0.1:1002 is the address of node 2");
	told.count = 0;
	transfer(3);
	turn();
	expect_told("a successor without a vote", -EINVAL, "no voter");
	told.count = 0;
	add(4, MEMBER_VOTER);
	error_set(&error, -EBUSY, "something else");
	members_refuse(&members, -EBUSY, &error);
	assert_null(members_reaching(&members));
	members_reached(&members, 4, "");
	turn();
	expect_told("what was refused from outside", -EBUSY, "something else");
	told.count = 0;
	add(4, MEMBER_VOTER);
	members_reached(&members, 4, "it is of another cluster");
	turn();
	expect_told("one that cannot be a member", -EHOSTUNREACH,
		    ADDED " cannot be added: it is of another cluster; nothing was changed");
	end();

	lead_with(LIMIT_MEMBERS, roles);
	told.count = 0;
	add(LIMIT_MEMBERS + 1, MEMBER_SPARE);
	turn();
	expect_told("one too many", -EINVAL, "at most 9 members");
	end();
}

/* As a configuration of another program might have it. */
static void an_address_that_cannot_be_read_is_no_obstacle(void **state)
{
	char path[128];

	(void)state;
	lone_init(&lone, 3);
	strcpy(lone.addresses[2], "nonsense");
	memset(&members, 0, sizeof members);
	told.count = 0;
	lone_start(&lone);
	lone_lead(&lone);
	add(4, MEMBER_SPARE);
	walk(path);
	expect_told("add", 0, NULL);
	end();
}

/* ---- time that runs out ---- */

static void expect_deadline(const char *what, int64_t ms, int status, const char *said)
{
	lone_now_ms += ms - 1;
	turn();
	assert_int_equal(told.count, 0);
	lone_now_ms++;
	turn();
	expect_told(what, status, said);
	told.count = 0;
}

static void each_phase_ends_in_time(void **state)
{
	static const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY};
	static struct raft_apply requests[2 * MEMBERS_CATCH_UP_ENTRIES];

	(void)state;
	lead_with(4, roles);
	add(5, MEMBER_VOTER);
	expect_deadline("reach", MEMBERS_REACH_MS, -EHOSTUNREACH,
			"nobody answers at " ADDED ": start node 5 there");

	/* Near enough to hold intake, but never all of it. */
	lone_propose(&lone, &requests[0], 8);
	lone_replicate_but(&lone, 4);
	assign(4, MEMBER_VOTER);
	turn();
	assert_int_equal(members.phase, PHASE_SETTLE);
	expect_deadline("settle without the member", MEMBERS_SETTLE_MS, -ETIMEDOUT,
			"did not get the whole log in 5000 ms");

	/* Not committed. */
	lone_propose(&lone, &requests[1], 8);
	assign(3, MEMBER_SPARE);
	expect_deadline("settle", MEMBERS_SETTLE_MS, -ETIMEDOUT, "the log did not come to rest");
	lone_replicate_but(&lone, 4);
	assign(3, MEMBER_SPARE);
	lone_now_ms += MEMBERS_SETTLE_MS;
	members_turn(&members, &lone.instance, false);
	expect_told("settle with proposals in flight", -ETIMEDOUT, "did not come to rest");
	told.count = 0;

	for (size_t i = 2; i < COUNT_OF(requests); i++) {
		lone_propose(&lone, &requests[i], 8);
		lone_replicate_but(&lone, 4);
	}
	assign(4, MEMBER_VOTER);
	expect_deadline("catch up", MEMBERS_CATCH_UP_MS, -ETIMEDOUT,
			"node 4 is a standby now and still catching up");
	end();
}

/* Of a short log a member that has nothing is near the end, too. */
static void a_member_without_any_log_is_waited_for(void **state)
{
	static const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY};
	char path[128];

	(void)state;
	begin_with(3, roles);
	lone_win(&lone);
	lone_replicate_but(&lone, 3);
	assert_int_equal(instance_progress(&lone.instance, 3)->match_index, 0);
	assign(3, MEMBER_VOTER);
	turn();
	assert_int_equal(members.phase, PHASE_CATCH_UP);
	lone_stored(&lone, 3, raft_last_index(lone_raft(&lone)));
	walk(path);
	expect_told("assign", 0, NULL);
	end();
}

/* ---- leadership that goes ---- */

static void leadership_is_lost_in_a_phase(void **state)
{
	static const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_SPARE};
	static const struct {
		const char *what;
		enum members_phase phase;
		bool after_a_step;
		int status;
	} cases[] = {
		{"while it is reached", PHASE_REACH, false, -EAGAIN},
		{"before anything is proposed", PHASE_SETTLE, false, -EAGAIN},
		{"with a change in the log", PHASE_IN_LOG, true, -EINPROGRESS},
		{"between two changes", PHASE_CATCH_UP, true, -EINPROGRESS},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		lead_with(4, roles);
		if (cases[i].phase == PHASE_REACH)
			add(5, MEMBER_SPARE);
		else
			assign(4, MEMBER_VOTER);
		if (cases[i].after_a_step)
			turn();
		if (cases[i].phase == PHASE_CATCH_UP) {
			lone_replicate(&lone);
			turn();
		}
		assert_int_equal(members.phase, cases[i].phase);
		step_down(2);
		turn();
		expect_told(cases[i].what, cases[i].status, "leadership was lost");
		turn();
		assert_int_equal(told.count, 1);
		end();
	}
}

/* A leader of a later term is another one, be it the same node. */
static void a_change_does_not_outlive_its_term(void **state)
{
	(void)state;
	lead_with(3, NULL);
	assign(3, MEMBER_SPARE);
	step_down(2);
	lone_lead(&lone);
	turn();
	expect_told("led again", -EAGAIN, "ask the new leader");
	assert_int_equal(lone_role(&lone, 3), RAFT_VOTER);
	end();
}

/* raft is closed under it, as before a pull: libraft ends what it was asked for. */
static void a_closed_raft_ends_a_change_once(void **state)
{
	(void)state;
	for (int closed_first = 0; closed_first < 2; closed_first++) {
		lead_with(3, NULL);
		remove_one(3);
		turn();
		assert_int_equal(members.phase, PHASE_IN_LOG);
		if (closed_first)
			lone_close(&lone);
		members_turn(&members, NULL, true);
		expect_told("removal", -EINPROGRESS, "the change may still happen");
		if (!closed_first)
			lone_close(&lone);
		assert_int_equal(told.count, 1);

		lead_with(3, NULL);
		transfer(2);
		turn();
		assert_int_equal(members.phase, PHASE_TAKING_OVER);
		if (closed_first)
			lone_close(&lone);
		members_turn(&members, NULL, true);
		expect_told("transfer", -EINPROGRESS, "the change may still happen");
		if (!closed_first)
			lone_close(&lone);
		assert_int_equal(told.count, 1);
	}
}

/* ---- handing over ---- */

static void a_successor_takes_over(void **state)
{
	static const struct {
		const char *what;
		uint64_t asked; /* 0: any */
		raft_id takes;
		int status;
		const char *said;
	} cases[] = {
		{"the one that was asked", 2, 2, 0, NULL},
		{"another one", 2, 3, -EAGAIN, "node 3 leads now"},
		{"anybody", 0, 3, 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		lead_with(3, NULL);
		transfer(cases[i].asked);
		turn();
		assert_int_equal(members.phase, PHASE_TAKING_OVER);
		assert_true(members_hold(&members));
		assert_int_equal(lone_sent(&lone, RAFT_IO_TIMEOUT_NOW).to, 2);
		lone_settle(&lone);
		turn();
		assert_int_equal(told.count, 0);
		step_down(cases[i].takes);
		turn();
		expect_told(cases[i].what, cases[i].status, cases[i].said);
		end();
	}
}

static void nobody_in_particular_is_the_voter_with_most_of_the_log(void **state)
{
	static const int roles[] = {0,          RAFT_VOTER, RAFT_VOTER, RAFT_STANDBY,
				    RAFT_VOTER, RAFT_VOTER};
	static struct raft_apply request;

	(void)state;
	lead_with(5, roles);
	lone_propose(&lone, &request, 8);
	lone_settle(&lone);
	for (raft_id id = 3; id <= 5; id++)
		lone_stored(&lone, id, raft_last_index(lone_raft(&lone)));
	lone_settle(&lone);
	transfer(0);
	assert_int_equal(members.id, 4);
	turn();
	assert_int_equal(lone_sent(&lone, RAFT_IO_TIMEOUT_NOW).to, 4);
	end();
}

/* libraft gives up after an election timeout, and leads on. */
static void a_successor_that_does_nothing_is_asked_again(void **state)
{
	(void)state;
	lead_with(3, NULL);
	transfer(2);
	for (unsigned time = 1; time <= MEMBERS_HAND_OVERS_MAX; time++) {
		assert_int_equal(told.count, 0);
		turn();
		assert_int_equal(members.phase, PHASE_TAKING_OVER);
		assert_int_equal(lone_count_sent(&lone, RAFT_IO_TIMEOUT_NOW), time);
		for (int i = 0; i <= LONE_ELECTION_MS / LONE_TICK_MS; i++) {
			lone_tick(&lone, LONE_TICK_MS);
			lone_replicate(&lone);
		}
		turn();
	}
	expect_told("transfer", -ETIMEDOUT, "node 2 did not take over");
	assert_int_equal(lone_raft(&lone)->state, RAFT_LEADER);
	end();
}

static void a_hand_over_that_nothing_is_heard_of_ends_in_time(void **state)
{
	(void)state;
	lead_with(3, NULL);
	transfer(2);
	turn();
	expect_deadline("transfer", MEMBERS_SETTLE_MS, -ETIMEDOUT,
			"node 2 did not take over in time");
	end();
}

static void a_leader_that_is_to_go_says_who_is_to_be_asked(void **state)
{
	(void)state;
	for (int removing = 0; removing < 2; removing++) {
		lead_with(3, NULL);
		if (removing)
			remove_one(1);
		else
			assign(1, MEMBER_SPARE);
		turn();
		assert_int_equal(lone_sent(&lone, RAFT_IO_TIMEOUT_NOW).to, 2);
		step_down(2);
		turn();
		expect_told("itself", -EAGAIN, "node 2 leads now: ask it to do this");
		end();
	}
}

/* Nothing of what was asked for is in the log: it can be asked for again. */
static void a_hand_over_before_a_removal_leaves_no_doubt(void **state)
{
	(void)state;
	lead_with(3, NULL);
	remove_one(1);
	turn();
	members_turn(&members, NULL, true);
	expect_told("no raft", -EAGAIN, "before anything was changed");
	end();
}

/* ---- libraft refuses ---- */

static void *no_malloc(void *data, size_t size)
{
	(void)data, (void)size;
	return NULL;
}

static void *no_calloc(void *data, size_t count, size_t size)
{
	(void)data, (void)count, (void)size;
	return NULL;
}

static void *no_realloc(void *data, void *block, size_t size)
{
	(void)data, (void)block, (void)size;
	return NULL;
}

static void plain_free(void *data, void *block)
{
	(void)data;
	free(block);
}

static void what_libraft_refuses_is_said(void **state)
{
	static struct raft_heap empty = {.malloc = no_malloc,
					 .calloc = no_calloc,
					 .realloc = no_realloc,
					 .free = plain_free};

	(void)state;
	for (int which = 0; which < 2; which++) {
		lead_with(3, NULL);
		if (which == 0)
			add(4, MEMBER_SPARE);
		else
			remove_one(3);
		members_reached(&members, 4, "");
		raft_heap_set(&empty);
		turn();
		raft_heap_set_default();
		expect_told("no memory", -EBUSY, NULL);
		assert_int_equal(lone_raft(&lone)->configuration.n, 3);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_goes_from_phase_to_phase),
		cmocka_unit_test(what_cannot_be_is_refused_in_the_next_turn),
		cmocka_unit_test(an_address_that_cannot_be_read_is_no_obstacle),
		cmocka_unit_test(each_phase_ends_in_time),
		cmocka_unit_test(a_member_without_any_log_is_waited_for),
		cmocka_unit_test(leadership_is_lost_in_a_phase),
		cmocka_unit_test(a_change_does_not_outlive_its_term),
		cmocka_unit_test(a_closed_raft_ends_a_change_once),
		cmocka_unit_test(a_successor_takes_over),
		cmocka_unit_test(nobody_in_particular_is_the_voter_with_most_of_the_log),
		cmocka_unit_test(a_successor_that_does_nothing_is_asked_again),
		cmocka_unit_test(a_hand_over_that_nothing_is_heard_of_ends_in_time),
		cmocka_unit_test(a_leader_that_is_to_go_says_who_is_to_be_asked),
		cmocka_unit_test(a_hand_over_before_a_removal_leaves_no_doubt),
		cmocka_unit_test(what_libraft_refuses_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
