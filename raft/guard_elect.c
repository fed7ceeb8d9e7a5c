/*
 * Elections that come too late, or too early (row ELECT). libraft 0.15 follows a leader until its own
 * timeout, which it draws between one and two election timeouts, and refuses every vote meanwhile. So
 * after a leader's end the first candidate finds voters that still believe in it, and has to come again.
 *
 *   a candidate asks, and this node has heard     it forgets its leader first: what Raft says of voters
 *   nothing for an election timeout               (dissertation, 4.2.3)
 *   the network says: the leader's process        it forgets its leader at once, and begins an election
 *   has ended (guard_peer_gone)                   itself after a moment that is drawn (guard_campaign)
 *   a leader's disk has not ended a write for     it tells the voter that has most of the log to stand
 *   two election timeouts that a majority of      for election (Raft's transfer of leadership), and
 *   others has stored; or for six                 steps down; nobody whose disk stalls stands for
 *                                                 election until the write has ended
 *   this process did not run for a while          that time does not count: what the leader sent
 *                                                 meanwhile is still to be read
 *
 * None of it touches what Raft's safety rests on: an election may begin at any moment. A leader that lives
 * all the same keeps the other followers, and those refuse the vote before any term changes (pre-vote).
 */
#include "raft/guard_internal.h"

#define CAMPAIGN_FIRST_MS 10 /* at least: all others hear of it, too */
#define CAMPAIGN_ATTEMPTS 4  /* then libraft's own timeout counts again */
#define STALL_TIMEOUTS    6  /* election timeouts in which a leader's write may not end … */
#define LAG_TIMEOUTS      2  /* … and in which it may not when others could go on at once */

static raft_time now_ms(const struct guard *guard)
{
	return guard->inner->time(guard->inner);
}

static bool follows(const struct raft *raft)
{
	return raft->state == RAFT_FOLLOWER && raft->follower_state.current_leader.id != 0;
}

static void forget_leader(struct raft *raft)
{
	ASSERT(follows(raft));
	raft_free(raft->follower_state.current_leader.address);
	raft->follower_state.current_leader.address = NULL;
	raft->follower_state.current_leader.id = 0;
}

void guard_elect_vote_asked(struct guard *guard)
{
	struct raft *raft = guard->raft;

	if (guard_has(guard, GUARD_ELECT) && follows(raft) && !guard->installing &&
	    now_ms(guard) - raft->election_timer_start >= raft->election_timeout)
		forget_leader(raft);
}

/* By ticks: when this process did not run, the write may have ended unseen. */
static void count_waiting(struct guard *guard)
{
	const struct guard_append *oldest = guard->in_flight.first;
	uint64_t number = oldest != NULL ? oldest->number : 0;

	if (number != guard->waiting_number) {
		guard->waiting_number = number;
		guard->waiting_ticks = 0;
	}
	guard->waiting_ticks += number != 0;
}

/* Whether a majority without this node has said that it has this entry on disk. */
static bool others_have_stored(const struct raft *raft, raft_index index)
{
	unsigned voters = 0, stored = 0;

	ASSERT(raft->state == RAFT_LEADER);
	for (unsigned i = 0; i < raft->configuration.n; i++) {
		const struct raft_server *server = &raft->configuration.servers[i];

		if (server->role != RAFT_VOTER)
			continue;
		voters++;
		stored += server->id != raft->id &&
			  raft->leader_state.progress[i].match_index >= index;
	}
	return stored > voters / 2;
}

/* A leader is patient with a stall that may be that of all disks: then nobody else would do better. */
static bool disk_stalls(const struct guard *guard)
{
	const struct guard_append *oldest = guard->in_flight.first;
	const struct raft *raft = guard->raft;
	unsigned timeouts = LAG_TIMEOUTS;

	if (oldest == NULL || oldest->number != guard->waiting_number)
		return false;
	if (raft->state == RAFT_LEADER && !others_have_stored(raft, oldest->stored))
		timeouts = STALL_TIMEOUTS;
	return (raft_time)guard->waiting_ticks * raft->heartbeat_timeout >
	       (raft_time)timeouts * raft->election_timeout;
}

/* The voter with most of the log: the others need not wait until they miss their leader. */
static void tell_successor(struct guard *guard)
{
	const struct raft *raft = guard->raft;
	struct raft_message message = {.type = RAFT_IO_TIMEOUT_NOW};
	raft_index best = 0;

	for (unsigned i = 0; i < raft->configuration.n; i++) {
		const struct raft_server *server = &raft->configuration.servers[i];
		const struct raft_progress *progress = &raft->leader_state.progress[i];

		if (server->role != RAFT_VOTER || server->id == raft->id ||
		    !progress->recent_recv || progress->match_index <= best)
			continue;
		best = progress->match_index;
		message.server_id = server->id;
		message.server_address = server->address;
	}
	const struct raft_entry *entry = guard_entry(raft, best);

	/* One that was told already, by a transfer, is enough: two would share the votes. */
	if (entry == NULL || raft->transfer != NULL)
		return;
	message.timeout_now = (struct raft_timeout_now){
		.term = raft->current_term, .last_log_index = best, .last_log_term = entry->term};
	guard_tell(guard, &message);
}

/* Only for others that could lead: a majority that answers without this node. */
static void resign(struct guard *guard, raft_time now)
{
	struct raft *raft = guard->raft;
	unsigned voters = 0, answering = 0;

	for (unsigned i = 0; i < raft->configuration.n; i++) {
		const struct raft_server *server = &raft->configuration.servers[i];

		if (server->role != RAFT_VOTER)
			continue;
		voters++;
		answering += server->id != raft->id && raft->leader_state.progress[i].recent_recv;
	}
	if (answering <= voters / 2)
		return;
	tell_successor(guard);
	/* libraft's next tick finds that it has heard of nobody, and steps down. */
	for (unsigned i = 0; i < raft->configuration.n; i++)
		raft->leader_state.progress[i].recent_recv = false;
	raft->election_timer_start = now - raft->election_timeout;
	guard->counters.resigned++;
}

static void heed_disk(struct guard *guard, raft_time now)
{
	struct raft *raft = guard->raft;

	count_waiting(guard);
	if (!disk_stalls(guard) || !guard_has(guard, GUARD_ELECT))
		return;
	if (raft->state == RAFT_LEADER)
		resign(guard, now);
	else
		raft->election_timer_start = now;
}

static void excuse_stall(struct guard *guard, raft_time now)
{
	struct raft *raft = guard->raft;
	raft_time since = now - guard->ticked_ms, usual = raft->heartbeat_timeout;
	bool stalled = guard->ticked_ms != 0 && since > 2 * usual;

	guard->ticked_ms = now;
	if (!stalled || !guard_has(guard, GUARD_ELECT))
		return;
	raft->election_timer_start += since - usual;
	if (raft->election_timer_start > now)
		raft->election_timer_start = now;
}

void guard_elect_tick(struct guard *guard)
{
	raft_time now = now_ms(guard);

	excuse_stall(guard, now);
	heed_disk(guard, now);
}

/* ---- the leader is gone ---- */

static bool is_voter(const struct raft *raft)
{
	for (unsigned i = 0; i < raft->configuration.n; i++)
		if (raft->configuration.servers[i].id == raft->id)
			return raft->configuration.servers[i].role == RAFT_VOTER;
	return false;
}

static int draw_ms(struct guard *guard, int least, int span)
{
	ASSERT(least > 0 && span > 0);
	return guard->inner->random(guard->inner, least, least + span);
}

int guard_peer_gone(struct guard *guard, raft_id peer)
{
	struct raft *raft = guard->raft;

	if (guard_is_over(guard) || !guard_has(guard, GUARD_ELECT) || guard->installing ||
	    !follows(raft) || raft->follower_state.current_leader.id != peer)
		return -1;
	forget_leader(raft);
	guard->campaign_ms = now_ms(guard);
	guard->campaigns = 0;
	guard->counters.leaders_gone++;
	guard_after_event(guard);
	return draw_ms(guard, CAMPAIGN_FIRST_MS, (int)raft->election_timeout / 4);
}

/* Somebody has this node's vote, of lately: it may be about to win. */
static bool has_voted_lately(const struct guard *guard, raft_time span)
{
	const struct raft *raft = guard->raft;

	return raft->state == RAFT_FOLLOWER && raft->election_timer_start > guard->campaign_ms &&
	       now_ms(guard) - raft->election_timer_start < span;
}

int guard_campaign(struct guard *guard)
{
	struct raft *raft = guard->raft;
	int quarter = (int)raft->election_timeout / 4;

	if (guard_is_over(guard) || follows(raft) || !is_voter(raft) ||
	    (raft->state != RAFT_FOLLOWER && raft->state != RAFT_CANDIDATE) ||
	    guard->campaign_ms == 0 || guard->campaigns == CAMPAIGN_ATTEMPTS)
		return -1;
	guard->campaigns++;
	if (!guard->installing && guard->follower_appends == 0 && !disk_stalls(guard) &&
	    !has_voted_lately(guard, (raft_time)quarter)) {
		/* Expired: libraft's next tick begins an election. */
		if (raft->state == RAFT_FOLLOWER)
			raft->follower_state.randomized_election_timeout = 0;
		else
			raft->candidate_state.randomized_election_timeout = 0;
		guard->tick(&guard->io);
		guard_after_event(guard);
	}
	return draw_ms(guard, quarter, quarter);
}
