/*
 * What the other members say to one that is alone (lone.h), and the time that passes.
 *
 *   lone_lead      they vote for this node and store what it sends: it leads, and its log is at rest
 *   lone_follow    another member's AppendEntries without entries
 */
#ifndef TESTS_RAFT_LONE_PEERS_H
#define TESTS_RAFT_LONE_PEERS_H

#include "tests/unit/raft/lone.h"

/* ---- time and peers ---- */

static inline void lone_tick(struct lone *lone, int64_t ms)
{
	for (; ms > 0; ms -= LONE_TICK_MS) {
		lone_now_ms += LONE_TICK_MS;
		lone->tick(&lone->disk);
	}
}

static inline void lone_say(struct lone *lone, raft_id from, struct raft_message message)
{
	message.server_id = from;
	message.server_address = lone->addresses[from];
	lone->receive(&lone->disk, &message);
}

static inline void lone_vote(struct lone *lone, raft_id from, bool granted, bool pre_vote)
{
	raft_term term = lone_raft(lone)->current_term;

	lone_say(lone, from,
		 (struct raft_message){.type = RAFT_IO_REQUEST_VOTE_RESULT,
				       .request_vote_result = {term, granted,
							       pre_vote ? raft_tribool_true
									: raft_tribool_false}});
}

/* A member says that it has stored everything up to `last`. */
static inline void lone_stored(struct lone *lone, raft_id from, raft_index last)
{
	lone_say(lone, from,
		 (struct raft_message){
			 .type = RAFT_IO_APPEND_ENTRIES_RESULT,
			 .append_entries_result = {.term = lone_raft(lone)->current_term,
						   .last_log_index = last}});
}

/* RAFT_SPARE for those that are no members. */
static inline int lone_role(struct lone *lone, raft_id id)
{
	const struct raft_configuration *configuration = &lone_raft(lone)->configuration;

	for (unsigned i = 0; i < configuration->n; i++)
		if (configuration->servers[i].id == id)
			return configuration->servers[i].role;
	return RAFT_SPARE;
}

/* Those that replicate the log have all of it, but for `but`; what that commits is written, too. */
static inline void lone_replicate_but(struct lone *lone, raft_id but)
{
	struct raft *raft = lone_raft(lone);

	for (int round = 0; round < 3; round++) {
		lone_settle(lone);
		for (raft_id id = 2; id <= LONE_MEMBERS; id++) {
			if (id != but && lone_role(lone, id) != RAFT_SPARE)
				lone_stored(lone, id, raft_last_index(raft));
		}
	}
	lone_settle(lone);
}

static inline void lone_replicate(struct lone *lone)
{
	lone_replicate_but(lone, 0);
}

/* Leader by the votes of 2…, with nothing stored yet anywhere. */
static inline void lone_win(struct lone *lone)
{
	struct raft *raft = lone_raft(lone);

	for (int i = 0; i < 100 && raft->state == RAFT_FOLLOWER; i++)
		lone_tick(lone, LONE_TICK_MS);
	assert_int_equal(raft->state, RAFT_CANDIDATE);
	for (int phase = 0; phase < 2; phase++)
		for (raft_id id = 2; id <= lone->members && raft->state == RAFT_CANDIDATE; id++)
			if (raft->candidate_state.in_pre_vote == (phase == 0))
				lone_vote(lone, id, true, phase == 0);
	assert_int_equal(raft->state, RAFT_LEADER);
}

static inline void lone_lead(struct lone *lone)
{
	lone_win(lone);
	lone_replicate(lone);
	assert_true(guard_is_quiet(lone->instance.guard));
	lone->message_count = 0;
}

/* A proposal of this leader. */
static inline void lone_propose(struct lone *lone, struct raft_apply *request, size_t body_bytes)
{
	struct raft *raft = lone_raft(lone);
	struct raft_buffer buffer =
		lone_payload(raft_last_index(raft) + 1, raft->current_term, body_bytes);

	assert_int_equal(raft_apply(raft, request, &buffer, 1, NULL), 0);
}

/* ---- following ---- */

/* All in one batch, as messages bring them. */
static inline void lone_join(unsigned count, struct raft_entry entries[])
{
	size_t size = 0, at = 0;

	for (unsigned i = 0; i < count; i++)
		size += entries[i].buf.len;
	uint8_t *batch = raft_malloc(size);

	for (unsigned i = 0; i < count; i++) {
		memcpy(batch + at, entries[i].buf.base, entries[i].buf.len);
		raft_free(entries[i].batch);
		entries[i].batch = batch;
		entries[i].buf.base = batch + at;
		at += entries[i].buf.len;
	}
}

/* Takes the entries. */
static inline void lone_append(struct lone *lone, raft_id leader, raft_term term, raft_index prev,
			       raft_term prev_term, raft_index commit, unsigned count,
			       const struct raft_entry entries[])
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES,
				       .append_entries = {.term = term,
							  .prev_log_index = prev,
							  .prev_log_term = prev_term,
							  .leader_commit = commit,
							  .n_entries = count}};

	if (count > 0) {
		message.append_entries.entries = raft_malloc(count * sizeof *entries);
		memcpy(message.append_entries.entries, entries, count * sizeof *entries);
		lone_join(count, message.append_entries.entries);
	}
	lone_say(lone, leader, message);
}

static inline raft_term lone_term_at(struct lone *lone, raft_index index)
{
	const struct raft_entry *entry = guard_entry(lone_raft(lone), index);

	return entry != NULL ? entry->term : lone_raft(lone)->log.snapshot.last_term;
}

/* Its log is this node's. */
static inline void lone_follow(struct lone *lone, raft_id leader, raft_term term)
{
	raft_index last = raft_last_index(lone_raft(lone));

	lone_append(lone, leader, term, last, lone_term_at(lone, last),
		    lone_raft(lone)->commit_index, 0, NULL);
}

/* InstallSnapshot, whose manifest speaks of `applied`. */
static inline void lone_install(struct lone *lone, raft_id leader, raft_term term, raft_index index,
				uint64_t applied)
{
	struct raft_message message = {.type = RAFT_IO_INSTALL_SNAPSHOT,
				       .install_snapshot = {.term = term,
							    .last_index = index,
							    .last_term = term,
							    .conf_index = 1,
							    .data = lone_manifest(applied)}};

	lone_configuration(lone, lone->members, lone->roles, &message.install_snapshot.conf);
	lone_say(lone, leader, message);
}

static inline void lone_ask_vote(struct lone *lone, raft_id from, raft_term term, bool pre_vote,
				 bool disrupt)
{
	lone_say(lone, from,
		 (struct raft_message){.type = RAFT_IO_REQUEST_VOTE,
				       .request_vote = {.term = term,
							.candidate_id = from,
							.last_log_index = 1000,
							.last_log_term = term,
							.disrupt_leader = disrupt,
							.pre_vote = pre_vote}});
}

static inline void lone_time_out(struct lone *lone, raft_id leader)
{
	raft_index last = raft_last_index(lone_raft(lone));

	lone_say(lone, leader,
		 (struct raft_message){.type = RAFT_IO_TIMEOUT_NOW,
				       .timeout_now = {.term = lone_raft(lone)->current_term,
						       .last_log_index = last,
						       .last_log_term = lone_term_at(lone, last)}});
}

/* The last message of a type; fails when there is none. */
static inline struct lone_message lone_sent(const struct lone *lone, unsigned type)
{
	for (unsigned i = lone->message_count; i > 0; i--)
		if (lone->messages[i - 1].type == type)
			return lone->messages[i - 1];
	fail_msg("no message of type %u was sent", type);
	return (struct lone_message){0};
}

static inline unsigned lone_count_sent(const struct lone *lone, unsigned type)
{
	unsigned count = 0;

	for (unsigned i = 0; i < lone->message_count; i++)
		count += lone->messages[i].type == type;
	return count;
}

#endif
