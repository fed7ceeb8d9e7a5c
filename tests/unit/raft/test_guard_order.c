/* What libraft must not see, or not yet, or not like that: one follower or leader, message by message. */
#include "tests/unit/raft/lone_peers.h"

static struct lone lone;
static struct guard_counters counters;

static void start(unsigned members)
{
	lone_init(&lone, members);
	lone_start(&lone);
}

static void look(void)
{
	guard_get_counters(lone.instance.guard, &counters);
}

static void end(void)
{
	assert_int_equal(lone.failures, 0);
	lone_close(&lone);
}

static raft_index last_index(void)
{
	return raft_last_index(lone_raft(&lone));
}

/* Entries from `first` to `last`, of one term, behind one of `prev_term`. */
static void append(raft_id leader, raft_term term, raft_index first, raft_index last,
		   raft_term prev_term, raft_term of_term, raft_index commit)
{
	struct raft_entry entries[64];
	unsigned count = 0;

	for (raft_index index = first; index <= last; index++)
		entries[count++] = lone_entry(index, of_term, 8);
	lone_append(&lone, leader, term, first - 1, prev_term, commit, count, entries);
}

/* ---- while a snapshot is installed ---- */

static void start_installing(void)
{
	start(3);
	append(2, 2, 2, 4, 1, 2, 1);
	lone_settle(&lone);
	lone_install(&lone, 2, 2, 10, 9);
	assert_non_null(lone.put);
	assert_int_equal(lone.put_trailing, 0);
	/* The log is gone as far as libraft is concerned. */
	assert_int_equal(lone.hard.synced_index, 4);
	assert_int_equal(lone.hard.pulled_index, 9);
	lone.message_count = 0;
}

static void nothing_else_happens_while_a_snapshot_is_installed(void **state)
{
	(void)state;
	start_installing();
	lone_tick(&lone, 5 * LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_FOLLOWER);
	lone_ask_vote(&lone, 3, 9, false, true);
	assert_int_equal(lone_raft(&lone)->current_term, 2);
	lone_time_out(&lone, 2);
	lone_install(&lone, 2, 2, 12, 11);
	assert_int_equal(lone.message_count, 0);
	assert_false(guard_snapshot_allowed(lone.instance.guard));
	assert_int_equal(guard_peer_gone(lone.instance.guard, 2), -1);
	look();
	assert_int_equal(counters.dropped, 3);
	lone_settle(&lone);
	assert_int_equal(lone.restored.applied_index, 9);
	assert_int_equal(lone.hard.synced_index, 10);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).last, 10);
	/* Now it may stand for election again. */
	lone_tick(&lone, 5 * LONE_ELECTION_MS);
	assert_int_equal(lone_raft(&lone)->state, RAFT_CANDIDATE);
	end();
}

/* The leader that sent it leads no more: nobody would know what to do with the answer. */
static void an_installation_that_ends_late_is_not_answered(void **state)
{
	(void)state;
	start_installing();
	lone_follow(&lone, 3, 3);
	lone.message_count = 0;
	lone_end_put(&lone, 0);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT), 0);
	assert_int_equal(last_index(), 10);
	end();
}

/* A manifest tells how far the store may be ahead of the log; one that is older takes nothing back. */
static void what_was_pulled_is_remembered(void **state)
{
	(void)state;
	start(3);
	lone_install(&lone, 2, 2, 10, 9);
	lone_settle(&lone);
	assert_int_equal(lone.hard.pulled_index, 9);
	unsigned saves = lone.saves;

	lone_install(&lone, 2, 2, 12, 8);
	lone_settle(&lone);
	assert_int_equal(lone.hard.pulled_index, 9);
	assert_int_equal(lone.saves, saves);
	end();
}

/* ---- while the log is truncated, or its own snapshot is put ---- */

/* A follower of 2 whose entries 3 and 4 are cut off by 3, in term 3; the disk is busy with it. */
static void start_truncating(void)
{
	start(3);
	append(2, 2, 2, 4, 1, 2, 2);
	lone_settle(&lone);
	append(3, 3, 3, 3, 2, 3, 2);
	assert_int_equal(lone.truncated_at, 3);
	assert_int_equal(lone.hard.synced_index, 2);
	assert_int_equal(lone.write_count, 1);
}

static void one_truncation_at_a_time(void **state)
{
	(void)state;
	start_truncating();
	/* Another leader cuts off what is being written: not yet. */
	append(2, 4, 3, 3, 2, 4, 2);
	look();
	assert_int_equal(counters.stripped, 1);
	assert_int_equal(guard_entry(lone_raft(&lone), 3)->term, 3);
	lone_install(&lone, 2, 4, 9, 9);
	assert_null(lone.put);
	assert_false(guard_snapshot_allowed(lone.instance.guard));
	lone_settle(&lone);
	assert_true(guard_snapshot_allowed(lone.instance.guard));
	append(2, 4, 3, 3, 2, 4, 2);
	assert_int_equal(guard_entry(lone_raft(&lone), 3)->term, 4);
	lone_settle(&lone);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).last, 3);
	end();
}

/* A follower that begins a snapshot of its own at index 2. */
static void start_putting(void)
{
	start(3);
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	raft_set_snapshot_trailing(lone_raft(&lone), 0);
	append(2, 2, 2, 4, 1, 2, 1);
	lone_settle(&lone);
	append(2, 2, 5, 5, 2, 2, 2);
	lone_end_write(&lone, 0);
	assert_int_equal(lone.applied_index, 2);
	lone_end_work(&lone);
	assert_non_null(lone.put);
	/* Never 0: that would replace the log. */
	assert_int_equal(lone.put_trailing, 1);
}

static void its_own_snapshot_is_put_alone(void **state)
{
	(void)state;
	start_putting();
	append(3, 3, 4, 4, 2, 3, 2);
	assert_int_equal(guard_entry(lone_raft(&lone), 4)->term, 2);
	lone_install(&lone, 3, 3, 9, 9);
	assert_int_equal(lone.restores, 1);
	lone_end_put(&lone, 0);
	append(3, 3, 4, 4, 2, 3, 2);
	assert_int_equal(guard_entry(lone_raft(&lone), 4)->term, 3);
	lone_settle(&lone);
	end();
}

/* The log was truncated between its beginning and the end of the work: libraft takes another later. */
static void its_own_snapshot_waits_for_a_truncation(void **state)
{
	(void)state;
	start(3);
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	append(2, 2, 2, 4, 1, 2, 2);
	lone_end_write(&lone, 0);
	assert_int_equal(lone.applied_index, 2);
	assert_non_null(lone.work);
	append(3, 3, 3, 3, 2, 3, 2);
	assert_int_equal(lone.truncated_at, 3);
	lone_end_work(&lone);
	assert_null(lone.put);
	lone_settle(&lone);
	append(3, 3, 4, 4, 3, 3, 4);
	lone_settle(&lone);
	assert_int_equal(lone_raft(&lone)->log.snapshot.last_index, 4);
	end();
}

static void a_snapshot_waits_for_members_to_be_agreed_upon(void **state)
{
	static const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_SPARE};
	struct raft_entry entries[2];

	(void)state;
	start(3);
	assert_true(guard_snapshot_allowed(lone.instance.guard));
	entries[0] = lone_change(&lone, 2, 3, roles);
	lone_append(&lone, 2, 2, 1, 1, 1, 1, entries);
	lone_settle(&lone);
	assert_false(guard_snapshot_allowed(lone.instance.guard));
	append(2, 2, 3, 3, 2, 2, 3);
	lone_settle(&lone);
	assert_true(guard_snapshot_allowed(lone.instance.guard));
	end();

	/* After a start libraft takes what is in its log for agreed upon. */
	lone_init(&lone, 3);
	lone_hold(&lone, lone_change(&lone, 1, 3, roles));
	lone_start(&lone);
	assert_int_equal(lone_raft(&lone)->configuration_uncommitted_index, 0);
	assert_false(guard_snapshot_allowed(lone.instance.guard));
	end();
}

/* ---- snapshots of the state machine ---- */

static void a_snapshot_that_the_store_refuses_is_dropped(void **state)
{
	(void)state;
	start(3);
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	lone.snapshot_refused = true;
	append(2, 2, 2, 2, 1, 2, 2);
	lone_end_write(&lone, 0);
	assert_null(lone.work);
	lone.snapshot_refused = false;
	lone.snapshot_status = -ETIMEDOUT;
	append(2, 2, 3, 3, 2, 2, 3);
	lone_end_write(&lone, 0);
	lone_end_work(&lone);
	assert_null(lone.put);
	lone.snapshot_status = 0;
	append(2, 2, 4, 4, 2, 2, 4);
	lone_settle(&lone);
	assert_int_equal(lone_raft(&lone)->log.snapshot.last_index, 4);
	end();
}

/* Of an earlier term, which only a command of this one makes certain. */
static void commands_of_an_earlier_term_are_held(void **state)
{
	(void)state;
	start(3);
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	append(2, 2, 2, 3, 1, 2, 1);
	lone_settle(&lone);
	lone_append(&lone, 3, 3, 3, 2, 3, 0, NULL);
	assert_int_equal(lone_raft(&lone)->last_applied, 3);
	assert_int_equal(lone.applied_count, 0);
	assert_int_equal(fsm_held(lone.instance.fsm), 2);
	assert_null(lone.work);
	/* A snapshot replaces them. */
	lone_install(&lone, 3, 3, 9, 9);
	lone_settle(&lone);
	assert_int_equal(fsm_held(lone.instance.fsm), 0);
	append(3, 3, 10, 10, 3, 3, 10);
	lone_settle(&lone);
	assert_int_equal(lone.applied_count, 1);
	assert_int_equal(lone.applied_index, 10);
	end();
}

/* ---- entries ---- */

static void entries_below_the_own_snapshot_are_trimmed(void **state)
{
	(void)state;
	start(3);
	lone_install(&lone, 2, 2, 10, 10);
	lone_settle(&lone);
	append(2, 2, 8, 12, 2, 2, 1);
	lone_settle(&lone);
	assert_int_equal(last_index(), 12);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).last, 12);
	append(2, 2, 6, 9, 2, 2, 1);
	lone_settle(&lone);
	assert_int_equal(last_index(), 12);
	append(2, 2, 6, 5, 2, 2, 1);
	lone_settle(&lone);
	look();
	assert_int_equal(counters.trimmed, 3);
	assert_int_equal(counters.stripped, 1);
	end();
}

static void a_node_that_takes_no_entries_hears_heartbeats(void **state)
{
	(void)state;
	start(3);
	lone.takes_no_entries = true;
	append(2, 2, 2, 4, 1, 2, 1);
	lone_settle(&lone);
	assert_int_equal(last_index(), 1);
	assert_int_equal(lone_raft(&lone)->follower_state.current_leader.id, 2);
	lone.takes_no_entries = false;
	append(2, 2, 2, 4, 1, 2, 1);
	lone_settle(&lone);
	assert_int_equal(last_index(), 4);
	end();
}

/* Behind the request another leader's log may be: neither acknowledged nor committed by it. */
static void a_request_speaks_of_its_own_entries_only(void **state)
{
	(void)state;
	start(3);
	append(2, 2, 2, 6, 1, 2, 1);
	lone_settle(&lone);
	append(3, 3, 3, 2, 2, 2, 6);
	lone_settle(&lone);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).last, 2);
	assert_int_equal(lone_raft(&lone)->commit_index, 2);
	look();
	assert_int_equal(counters.clamped, 1);
	end();
}

static void a_rejection_goes_back_a_whole_term(void **state)
{
	(void)state;
	start(3);
	append(2, 2, 2, 3, 1, 2, 2);
	lone_settle(&lone);
	append(3, 3, 4, 9, 2, 3, 2);
	lone_settle(&lone);
	/* Another one of term 4 has term 4 at index 9. */
	append(2, 4, 10, 9, 4, 4, 2);
	struct lone_message result = lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT);

	assert_int_equal(result.rejected, 9);
	assert_int_equal(result.last, 3);
	/* Never behind what is committed. */
	append(2, 4, 4, 3, 4, 4, 2);
	result = lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT);
	assert_int_equal(result.last, 2);
	/* One who leads no more, and one who is ahead of the log, learn what libraft says. */
	append(3, 3, 10, 9, 4, 3, 2);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).rejected, 9);
	append(2, 4, 31, 30, 4, 4, 2);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).last, 9);
	end();
}

/* ---- members ---- */

static void a_change_that_was_not_agreed_upon_is_taken_back(void **state)
{
	static const int shrunk[] = {0, RAFT_VOTER, RAFT_VOTER};
	struct raft_entry entry;

	(void)state;
	/* The change before is compacted away: a copy serves. */
	for (int again = 0; again < 2; again++) {
		if (again) {
			/* The same after a restart, where libraft takes it for agreed upon. */
			lone_init(&lone, 3);
			lone_hold(&lone, lone_change(&lone, 2, 2, shrunk));
			lone.term = 2;
			lone_start(&lone);
		} else {
			start(3);
			entry = lone_change(&lone, 2, 2, shrunk);
			lone_append(&lone, 2, 2, 1, 1, 1, 1, &entry);
			lone_settle(&lone);
		}
		assert_int_equal(lone_raft(&lone)->configuration.n, 2);
		append(3, 3, 2, 2, 1, 3, 1);
		assert_int_equal(lone_raft(&lone)->configuration.n, 3);
		assert_int_equal(lone_raft(&lone)->configuration_index, 1);
		lone_settle(&lone);
		end();
	}
}

/* The one before is still in the log. */
static void a_change_is_taken_back_to_the_one_in_the_log(void **state)
{
	static const int first[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_SPARE};
	static const int second[] = {0, RAFT_VOTER, RAFT_VOTER};
	struct raft_entry entries[2];

	(void)state;
	start(3);
	entries[0] = lone_change(&lone, 2, 3, first);
	lone_append(&lone, 2, 2, 1, 1, 1, 1, entries);
	lone_settle(&lone);
	entries[0] = lone_change(&lone, 2, 2, second);
	lone_append(&lone, 2, 2, 2, 2, 2, 1, entries);
	lone_settle(&lone);
	append(3, 3, 3, 3, 2, 3, 2);
	assert_int_equal(lone_raft(&lone)->configuration.n, 3);
	assert_int_equal(lone_role(&lone, 3), RAFT_SPARE);
	assert_int_equal(lone_raft(&lone)->configuration_index, 2);
	lone_settle(&lone);
	end();
}

/* ---- a leader ---- */

static void results_wait_until_the_barrier_is_stored_here(void **state)
{
	(void)state;
	lone_init(&lone, 3);
	lone.term = 2;
	lone_hold(&lone, lone_entry(2, 1, 8));
	lone_hold(&lone, lone_entry(3, 1, 8));
	lone_start(&lone);
	lone_win(&lone);
	assert_int_equal(last_index(), 4);
	for (int i = 0; i < GUARD_HELD_RESULTS + 10; i++)
		lone_stored(&lone, 2 + (raft_id)i % 2, 3);
	assert_int_equal(lone_raft(&lone)->commit_index, 1);
	look();
	assert_int_equal(counters.held_results, GUARD_HELD_RESULTS);
	lone_end_write(&lone, 0);
	assert_int_equal(instance_progress(&lone.instance, 2)->match_index, 3);
	/* Of an earlier term, they commit nothing by themselves. */
	assert_int_equal(lone_raft(&lone)->commit_index, 1);
	lone_stored(&lone, 2, 4);
	assert_int_equal(lone_raft(&lone)->commit_index, 4);
	lone_settle(&lone);
	end();
}

static void results_of_a_term_that_is_over_are_dropped(void **state)
{
	(void)state;
	start(3);
	lone_win(&lone);
	lone_stored(&lone, 2, 1);
	lone_follow(&lone, 3, lone_raft(&lone)->current_term + 1);
	assert_int_equal(lone.instance.guard->results_count, 0);
	lone_settle(&lone);
	end();
}

/* Its own append must not be ahead of what can be committed. */
static void an_own_write_completes_when_a_quorum_matches_it(void **state)
{
	static struct raft_apply requests[2];

	(void)state;
	start(5);
	lone_lead(&lone);
	raft_index before = last_index();

	lone_propose(&lone, &requests[0], 8);
	lone_settle(&lone);
	assert_int_equal(lone_raft(&lone)->last_stored, before);
	lone_stored(&lone, 2, before + 1);
	assert_int_equal(lone_raft(&lone)->last_stored, before);
	lone_stored(&lone, 3, before + 1);
	assert_int_equal(lone_raft(&lone)->last_stored, before + 1);
	assert_int_equal(lone_raft(&lone)->commit_index, before + 1);
	/* What waits is let go before a later term is heard of. */
	lone_propose(&lone, &requests[1], 8);
	lone_settle(&lone);
	assert_int_equal(lone_raft(&lone)->last_stored, before + 1);
	lone_follow(&lone, 4, lone_raft(&lone)->current_term + 1);
	assert_int_equal(lone_raft(&lone)->last_stored, before + 2);
	end();
}

/* libraft refuses it as long as it believes that leadership is being handed over. */
static void a_barrier_that_is_refused_is_proposed_again(void **state)
{
	static struct raft_transfer hand_over;

	(void)state;
	start(3);
	lone_lead(&lone);
	assert_int_equal(raft_transfer(lone_raft(&lone), &hand_over, 2, NULL), 0);
	assert_false(guard_is_quiet(lone.instance.guard));
	/* Another one leads for a moment, and gives leadership back at once. */
	lone_tick(&lone, LONE_ELECTION_MS / 2);
	lone_settle(&lone);
	lone_follow(&lone, 3, lone_raft(&lone)->current_term + 1);
	lone_time_out(&lone, 3);
	assert_non_null(lone_raft(&lone)->transfer);
	lone_win(&lone);
	assert_int_equal(lone.leaderships, 1);
	look();
	uint64_t barriers = counters.barriers;

	for (int i = 0; i < 12 && lone.leaderships == 1; i++) {
		lone_tick(&lone, LONE_TICK_MS);
		lone_settle(&lone);
	}
	assert_int_equal(lone.leaderships, 2);
	look();
	assert_int_equal(counters.barriers, barriers + 1);
	lone_replicate(&lone);
	assert_true(guard_is_quiet(lone.instance.guard));
	end();
}

/* Everything that a change of members has to wait for. */
static void a_log_is_at_rest_when_nothing_moves(void **state)
{
	static struct raft_apply requests[2];
	static struct raft_change change;
	struct guard *guard;

	(void)state;
	start(3);
	guard = lone.instance.guard;
	assert_false(guard_is_quiet(guard));
	lone_win(&lone);
	assert_false(guard_is_quiet(guard));
	lone_replicate(&lone);
	assert_true(guard_is_quiet(guard));
	lone_propose(&lone, &requests[0], 8);
	assert_false(guard_is_quiet(guard));
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	lone_end_write(&lone, 0);
	lone_stored(&lone, 2, last_index());
	assert_int_equal(lone_raft(&lone)->last_applied, last_index());
	assert_non_null(lone.work);
	assert_false(guard_is_quiet(guard));
	lone_end_work(&lone);
	assert_non_null(lone.put);
	assert_false(guard_is_quiet(guard));
	lone_settle(&lone);
	assert_true(guard_is_quiet(guard));
	assert_int_equal(raft_assign(lone_raft(&lone), &change, 3, RAFT_SPARE, NULL), 0);
	assert_false(guard_is_quiet(guard));
	lone_replicate(&lone);
	assert_true(guard_is_quiet(guard));
	end();
}

/* ---- flow ---- */

static void what_is_on_its_way_to_a_peer_is_bounded(void **state)
{
	static struct raft_apply requests[8];

	(void)state;
	lone_init(&lone, 3);
	lone.options.peer_in_flight_bytes = 3000;
	lone_start(&lone);
	lone_lead(&lone);
	for (size_t i = 0; i < 4; i++)
		lone_propose(&lone, &requests[i], 1000);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_APPEND_ENTRIES), 4); /* two to each */
	look();
	assert_true(counters.flow_refused >= 4);
	lone_replicate(&lone);
	for (int i = 0; i < 3; i++) {
		lone_tick(&lone, LONE_TICK_MS);
		lone_replicate(&lone);
	}
	assert_int_equal(instance_progress(&lone.instance, 3)->match_index, last_index());
	/* One that is larger than the bound goes alone. */
	lone_propose(&lone, &requests[4], 5000);
	lone_replicate(&lone);
	assert_int_equal(lone_raft(&lone)->commit_index, last_index());
	end();

	lone_init(&lone, 3);
	lone.options.peer_in_flight_messages = 2;
	lone_start(&lone);
	lone_lead(&lone);
	for (size_t i = 5; i < 8; i++)
		lone_propose(&lone, &requests[i], 8);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_APPEND_ENTRIES), 4);
	lone_settle(&lone);
	end();
}

/* More than there is room for have been peers: idle ones make place. */
static void peers_come_and_go(void **state)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES};
	static struct raft_io_send requests[2 * GUARD_PEERS];

	(void)state;
	start(3);
	for (raft_id id = 1; id <= 2 * GUARD_PEERS; id++) {
		message.server_id = id;
		assert_int_equal(guard_send(guard_io(lone.instance.guard), &requests[id - 1],
					    &message, NULL),
				 0);
		if (id % 2 == 0)
			lone_settle(&lone);
	}
	end();
}

static void a_network_that_refuses_is_no_failure(void **state)
{
	static struct raft_apply request;

	(void)state;
	start(3);
	lone_lead(&lone);
	lone.answers.send = RAFT_NOCONNECTION;
	lone_propose(&lone, &request, 8);
	lone.answers.send = 0;
	for (unsigned i = 0; i < GUARD_PEERS; i++)
		assert_int_equal(lone.instance.guard->peers[i].messages, 0);
	lone_tick(&lone, LONE_TICK_MS);
	lone_replicate(&lone);
	assert_int_equal(lone_raft(&lone)->commit_index, last_index());
	end();

	/* An answer: libraft hears of its end in time. */
	start(3);
	lone.answers.send = RAFT_NOCONNECTION;
	append(2, 2, 2, 3, 1, 2, 1);
	lone_end_write(&lone, 0);
	lone_ask_vote(&lone, 3, 3, true, false);
	assert_int_equal(lone_raft(&lone)->state, RAFT_FOLLOWER);
	assert_null(lone.instance.guard->dropped);
	end();
}

static void a_commit_is_told_when_nothing_else_would(void **state)
{
	static struct raft_apply requests[2];
	struct guard *guard;

	(void)state;
	start(3);
	guard = lone.instance.guard;
	guard_tell_commit(guard);
	lone_lead(&lone);
	/* Those that lead tell it once to each. */
	lone_propose(&lone, &requests[0], 8);
	guard_tell_commit(guard);
	lone_replicate(&lone);
	lone.message_count = 0;
	guard_tell_commit(guard);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_APPEND_ENTRIES), 2);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES).commit, last_index());
	guard_tell_commit(guard);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_APPEND_ENTRIES), 2);
	lone_settle(&lone);
	/* Not to one that has not stored it, nor when the network refuses. */
	lone_propose(&lone, &requests[1], 8);
	lone_replicate_but(&lone, 3);
	lone.message_count = 0;
	lone.answers.send = RAFT_NOCONNECTION;
	look();
	uint64_t told = counters.commits_told;

	guard_tell_commit(guard);
	look();
	assert_int_equal(counters.commits_told, told);
	lone.answers.send = 0;
	guard_tell_commit(guard);
	assert_int_equal(lone_count_sent(&lone, RAFT_IO_APPEND_ENTRIES), 1);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES).to, 2);
	lone_settle(&lone);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_else_happens_while_a_snapshot_is_installed),
		cmocka_unit_test(an_installation_that_ends_late_is_not_answered),
		cmocka_unit_test(what_was_pulled_is_remembered),
		cmocka_unit_test(one_truncation_at_a_time),
		cmocka_unit_test(its_own_snapshot_is_put_alone),
		cmocka_unit_test(its_own_snapshot_waits_for_a_truncation),
		cmocka_unit_test(a_snapshot_waits_for_members_to_be_agreed_upon),
		cmocka_unit_test(a_snapshot_that_the_store_refuses_is_dropped),
		cmocka_unit_test(commands_of_an_earlier_term_are_held),
		cmocka_unit_test(entries_below_the_own_snapshot_are_trimmed),
		cmocka_unit_test(a_node_that_takes_no_entries_hears_heartbeats),
		cmocka_unit_test(a_request_speaks_of_its_own_entries_only),
		cmocka_unit_test(a_rejection_goes_back_a_whole_term),
		cmocka_unit_test(a_change_that_was_not_agreed_upon_is_taken_back),
		cmocka_unit_test(a_change_is_taken_back_to_the_one_in_the_log),
		cmocka_unit_test(results_wait_until_the_barrier_is_stored_here),
		cmocka_unit_test(results_of_a_term_that_is_over_are_dropped),
		cmocka_unit_test(an_own_write_completes_when_a_quorum_matches_it),
		cmocka_unit_test(a_barrier_that_is_refused_is_proposed_again),
		cmocka_unit_test(a_log_is_at_rest_when_nothing_moves),
		cmocka_unit_test(what_is_on_its_way_to_a_peer_is_bounded),
		cmocka_unit_test(peers_come_and_go),
		cmocka_unit_test(a_network_that_refuses_is_no_failure),
		cmocka_unit_test(a_commit_is_told_when_nothing_else_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
