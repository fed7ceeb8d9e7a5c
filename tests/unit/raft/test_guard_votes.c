/* Votes, and elections that come neither too late nor too early. */
#include "tests/unit/raft/lone_peers.h"

#define STALL_TICKS (6 * LONE_ELECTION_MS / LONE_TICK_MS)

static struct lone lone;

static void start(unsigned members, const int roles[])
{
	lone_init(&lone, members);
	for (unsigned id = 1; roles != NULL && id <= members; id++)
		lone.roles[id] = roles[id];
	lone.draws_most = true;
	lone_start(&lone);
}

static void end(void)
{
	assert_int_equal(lone.failures, 0);
	lone_close(&lone);
}

static raft_id followed(void)
{
	const struct raft *raft = lone_raft(&lone);

	return raft->state == RAFT_FOLLOWER ? raft->follower_state.current_leader.id : 0;
}

/* ---- votes ---- */

static void a_member_without_a_vote_votes(void **state)
{
	static const struct {
		int own_role;
		unsigned without;
		bool granted;
	} cases[] = {
		{RAFT_VOTER, 0, true},
		{RAFT_STANDBY, 0, true},
		{RAFT_SPARE, 0, true},
		{LONE_NO_MEMBER, 0, false},
		{RAFT_STANDBY, GUARD_MEMBERS, false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const int roles[] = {0, cases[i].own_role, RAFT_VOTER, RAFT_VOTER};

		lone_init(&lone, 3);
		memcpy(lone.roles, roles, sizeof roles);
		lone.options.rows &= ~cases[i].without;
		lone_start(&lone);
		lone_ask_vote(&lone, 2, 2, false, false);
		if (lone_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT).granted != cases[i].granted)
			fail_msg("case %zu", i);
		if (cases[i].own_role != LONE_NO_MEMBER)
			assert_int_equal(lone_role(&lone, 1), cases[i].own_role);
		end();
	}
}

/* libraft would let the one that leadership is handed to have a vote that is given away. */
static void a_vote_is_given_once_while_leadership_is_handed_over(void **state)
{
	static struct raft_transfer hand_over;
	raft_term term;

	(void)state;
	start(3, NULL);
	lone_lead(&lone);
	assert_int_equal(raft_transfer(lone_raft(&lone), &hand_over, 2, NULL), 0);
	term = lone_raft(&lone)->current_term;
	lone_ask_vote(&lone, 2, term, false, true);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT), 0);
	lone_ask_vote(&lone, 2, term, true, false);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT), 1);
	lone_ask_vote(&lone, 2, term + 1, false, true);
	assert_true(lone_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT).granted);
	end();
}

static void a_candidate_that_lags_learns_the_term(void **state)
{
	(void)state;
	start(3, NULL);
	lone_follow(&lone, 3, 7);
	lone_ask_vote(&lone, 2, 5, true, false);
	struct lone_message result = lone_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT);

	assert_false(result.granted);
	assert_int_equal(result.term, 7);
	end();
}

static void a_leader_that_is_not_heard_of_is_forgotten(void **state)
{
	(void)state;
	start(3, NULL);
	lone_follow(&lone, 3, 2);
	lone_tick(&lone, LONE_ELECTION_MS - LONE_TICK_MS);
	lone_ask_vote(&lone, 2, 3, true, false);
	assert_false(lone_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT).granted);
	assert_int_equal(followed(), 3);
	lone_tick(&lone, LONE_TICK_MS);
	lone_ask_vote(&lone, 2, 3, true, false);
	assert_true(lone_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT).granted);
	assert_int_equal(followed(), 0);
	end();
}

/* ---- a leader that ends ---- */

static void a_leader_that_ends_is_replaced_at_once(void **state)
{
	int after_ms;

	(void)state;
	start(3, NULL);
	assert_int_equal(guard_campaign(lone.instance.guard), -1);
	assert_int_equal(guard_peer_gone(lone.instance.guard, 3), -1);
	lone_follow(&lone, 3, 2);
	assert_int_equal(guard_peer_gone(lone.instance.guard, 2), -1);
	assert_int_equal(guard_campaign(lone.instance.guard), -1);
	after_ms = guard_peer_gone(lone.instance.guard, 3);
	assert_in_range(after_ms, 10, LONE_ELECTION_MS / 2);
	assert_int_equal(followed(), 0);
	lone_now_ms += after_ms;
	/* A few attempts, then libraft's own timeout counts again. */
	for (int i = 0; i < 4; i++) {
		after_ms = guard_campaign(lone.instance.guard);
		assert_in_range(after_ms, LONE_ELECTION_MS / 4, LONE_ELECTION_MS / 2);
		assert_int_equal(lone_raft(&lone)->state, RAFT_CANDIDATE);
		assert_int_equal(lone_count_sent(&lone, RAFT_IO_REQUEST_VOTE), 2 * (i + 1));
		lone_now_ms += after_ms;
	}
	assert_int_equal(guard_campaign(lone.instance.guard), -1);
	lone_win(&lone);
	assert_int_equal(guard_campaign(lone.instance.guard), -1);
	end();
}

static void a_campaign_waits_for_what_is_under_way(void **state)
{
	struct raft_entry entry;

	(void)state;
	start(3, NULL);
	lone_follow(&lone, 3, 2);
	/* What the leader sent last is being written. */
	entry = lone_entry(2, 2, 8);
	lone_append(&lone, 3, 2, 1, 1, 1, 1, &entry);
	assert_in_range(guard_peer_gone(lone.instance.guard, 3), 10, LONE_ELECTION_MS);
	assert_in_range(guard_campaign(lone.instance.guard), 1, LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_FOLLOWER);
	lone_settle(&lone);
	/* Another one has this node's vote, and may be about to win. */
	lone_now_ms += 20;
	lone_ask_vote(&lone, 2, 3, false, false);
	assert_true(lone_sent(&lone, RAFT_IO_REQUEST_VOTE_RESULT).granted);
	assert_in_range(guard_campaign(lone.instance.guard), 1, LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_FOLLOWER);
	/* It did not win. */
	lone_now_ms += LONE_ELECTION_MS / 2;
	assert_in_range(guard_campaign(lone.instance.guard), 1, LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_CANDIDATE);
	end();
}

static void who_may_not_lead_begins_no_election(void **state)
{
	static const int own_roles[] = {RAFT_STANDBY, RAFT_SPARE, LONE_NO_MEMBER};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(own_roles); i++) {
		const int roles[] = {0, own_roles[i], RAFT_VOTER, RAFT_VOTER};

		start(3, roles);
		lone_follow(&lone, 3, 2);
		assert_in_range(guard_peer_gone(lone.instance.guard, 3), 10, LONE_ELECTION_MS);
		assert_int_equal(guard_campaign(lone.instance.guard), -1);
		end();
	}
	lone_init(&lone, 3);
	lone.options.rows &= ~(unsigned)GUARD_ELECT;
	lone_start(&lone);
	lone_follow(&lone, 3, 2);
	assert_int_equal(guard_peer_gone(lone.instance.guard, 3), -1);
	end();
}

/* ---- what did not run ---- */

static void a_pause_of_this_process_is_not_the_leaders_end(void **state)
{
	(void)state;
	start(3, NULL);
	lone_follow(&lone, 3, 2);
	lone_tick(&lone, LONE_ELECTION_MS);
	lone_now_ms += 100 * LONE_ELECTION_MS;
	lone_tick(&lone, LONE_TICK_MS);
	assert_int_equal(followed(), 3);
	/* From there on it counts. */
	lone_tick(&lone, 2 * LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_CANDIDATE);
	end();
}

/* Answers of some others, tick by tick, while the disk ends nothing; how many until it leads no more. */
static int ticks_until_it_resigns(unsigned answering, int most)
{
	for (int i = 0; i < most; i++) {
		lone_tick(&lone, LONE_TICK_MS);
		while (lone.send_count > 0)
			lone_end_send(&lone, 0);
		if (lone_raft(&lone)->state != RAFT_LEADER)
			return i + 1;
		for (raft_id id = 2; id < 2 + answering; id++)
			lone_stored(&lone, id, instance_progress(&lone.instance, id)->match_index);
	}
	return most;
}

static void a_leader_whose_disk_stalls_steps_down_for_those_that_can_lead(void **state)
{
	static const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_VOTER, RAFT_SPARE};
	static struct raft_apply request;
	int ticks;

	(void)state;
	start(4, roles);
	lone_lead(&lone);
	lone_propose(&lone, &request, 8);
	ticks = ticks_until_it_resigns(2, 10 * STALL_TICKS);
	assert_in_range(ticks, STALL_TICKS, STALL_TICKS + 3);
	/* It does not stand for election until the write has ended. */
	lone_tick(&lone, 10 * LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_FOLLOWER);
	lone_end_write(&lone, 0);
	lone_tick(&lone, 3 * LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_CANDIDATE);
	end();

	/* One of three is no majority without it. */
	start(4, roles);
	lone_lead(&lone);
	lone_propose(&lone, &request, 8);
	assert_int_equal(ticks_until_it_resigns(1, 2 * STALL_TICKS), 2 * STALL_TICKS);
	end();

	/* A write that ends in time is none that stalls, whatever follows it. */
	start(3, NULL);
	lone_lead(&lone);
	for (int i = 0; i < 4; i++) {
		lone_propose(&lone, &request, 8);
		assert_int_equal(ticks_until_it_resigns(2, STALL_TICKS / 2), STALL_TICKS / 2);
		lone_replicate(&lone);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_without_a_vote_votes),
		cmocka_unit_test(a_vote_is_given_once_while_leadership_is_handed_over),
		cmocka_unit_test(a_candidate_that_lags_learns_the_term),
		cmocka_unit_test(a_leader_that_is_not_heard_of_is_forgotten),
		cmocka_unit_test(a_leader_that_ends_is_replaced_at_once),
		cmocka_unit_test(a_campaign_waits_for_what_is_under_way),
		cmocka_unit_test(who_may_not_lead_begins_no_election),
		cmocka_unit_test(a_pause_of_this_process_is_not_the_leaders_end),
		cmocka_unit_test(a_leader_whose_disk_stalls_steps_down_for_those_that_can_lead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
