/*
 * Messages on their way to libraft. The happy path: the message is delivered as it is. What is done to
 * others, each of which is as if the network had lost or shortened it:
 *
 *   a vote or TimeoutNow while a snapshot is installed         dropped
 *   TimeoutNow while entries are being written                 dropped
 *   a second vote in a term, for whom we hand leadership to    dropped
 *   InstallSnapshot during a put or a truncation               dropped
 *   entries that conflict with ours during a put or truncation stripped: a heartbeat remains
 *   entries while this node takes none                         stripped
 *   entries below our snapshot                                 trimmed to begin behind it
 *   a vote asked of a member that has none     answered as a voter does (guard_members.c)
 *   a commit index beyond the request                          lowered to the end of the request
 *   an AppendEntries result before our barrier is stored       kept until it is (guard_append.c)
 */
#include "raft/guard_internal.h"

#include "base/mutant.h"

#include <string.h>

static void drop(struct guard *guard, struct raft_message *message)
{
	guard->counters.dropped++;
	if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
		raft_free(message->append_entries.entries[0].batch);
		raft_free(message->append_entries.entries);
	}
	if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&message->install_snapshot.conf);
		raft_free(message->install_snapshot.data.base);
	}
}

/* 0 for those that change nothing in the receiver's term. */
static raft_term term_of(const struct raft_message *message)
{
	switch (message->type) {
	case RAFT_IO_APPEND_ENTRIES:
		return message->append_entries.term;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		return message->append_entries_result.term;
	case RAFT_IO_REQUEST_VOTE:
		return message->request_vote.pre_vote ? 0 : message->request_vote.term;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		return message->request_vote_result.term;
	case RAFT_IO_INSTALL_SNAPSHOT:
		return message->install_snapshot.term;
	case RAFT_IO_TIMEOUT_NOW:
		return message->timeout_now.term;
	default:
		return 0;
	}
}

/* libraft lets the node that leadership is handed to have a vote that is given away already. */
static bool is_second_vote(const struct guard *guard, const struct raft_message *message)
{
	const struct raft *raft = guard->raft;
	const struct raft_request_vote *request = &message->request_vote;

	return !request->pre_vote && request->term == raft->current_term && raft->voted_for != 0 &&
	       raft->voted_for != request->candidate_id;
}

static bool must_drop(const struct guard *guard, const struct raft_message *message)
{
	switch (message->type) {
	case RAFT_IO_REQUEST_VOTE:
		return guard->installing ||
		       (guard->raft->transfer != NULL && is_second_vote(guard, message));
	case RAFT_IO_TIMEOUT_NOW:
		return guard->installing || guard->follower_appends > 0;
	case RAFT_IO_INSTALL_SNAPSHOT:
		return guard->putting || guard->truncating;
	default:
		return false;
	}
}

/* ---- AppendEntries ---- */

static raft_term term_at(const struct raft *raft, raft_index index)
{
	const struct raft_entry *entry = guard_entry(raft, index);

	if (entry != NULL)
		return entry->term;
	return index == raft->log.snapshot.last_index ? raft->log.snapshot.last_term : 0;
}

/* The first entry in it that libraft would truncate its log for; 0: none. */
static raft_index first_conflict(const struct guard *guard,
				 const struct raft_append_entries *append)
{
	const struct raft *raft = guard->raft;

	if (append->term < raft->current_term ||
	    (append->prev_log_index > 0 &&
	     term_at(raft, append->prev_log_index) != append->prev_log_term))
		return 0;
	for (unsigned i = 0; i < append->n_entries; i++) {
		raft_index index = append->prev_log_index + 1 + i;
		raft_term term = term_at(raft, index);

		if (term == 0)
			return 0;
		if (term != append->entries[i].term)
			return index;
	}
	return 0;
}

static void strip(struct guard *guard, struct raft_append_entries *append)
{
	guard->counters.stripped++;
	raft_free(append->entries[0].batch);
	raft_free(append->entries);
	append->entries = NULL;
	append->n_entries = 0;
}

static void trim(struct guard *guard, struct raft_append_entries *append)
{
	const struct raft_log *log = &guard->raft->log;

	if (append->term < guard->raft->current_term || log->snapshot.last_index == 0 ||
	    append->prev_log_index >= log->snapshot.last_index ||
	    term_at(guard->raft, append->prev_log_index) != 0)
		return;
	raft_index skip = log->snapshot.last_index - append->prev_log_index;

	guard->counters.trimmed++;
	if (append->n_entries > 0 && skip >= append->n_entries) {
		strip(guard, append);
	} else if (append->n_entries > 0) {
		append->n_entries -= (unsigned)skip;
		memmove(append->entries, append->entries + skip,
			append->n_entries * sizeof *append->entries);
	}
	append->prev_log_index = log->snapshot.last_index;
	append->prev_log_term = log->snapshot.last_term;
}

static bool takes_entries(const struct guard *guard)
{
	return guard->options.accepts_entries == NULL ||
	       guard->options.accepts_entries(guard->options.arg);
}

static void prepare_append(struct guard *guard, struct raft_append_entries *append)
{
	if (guard_has(guard, GUARD_SERIAL))
		trim(guard, append);
	if (append->n_entries > 0 && !takes_entries(guard))
		strip(guard, append);
	raft_index conflict = first_conflict(guard, append);

	if (conflict > 0 && guard_has(guard, GUARD_SERIAL) &&
	    (guard->putting || guard->truncating)) {
		strip(guard, append);
		conflict = 0;
	}
	if (conflict > guard->raft->commit_index)
		guard_members_take_back(guard, conflict);
	/* What lies beyond the request may be of another leader's log. */
	raft_index end = append->prev_log_index + append->n_entries;

	if (guard_has(guard, GUARD_CLAMP) && append->leader_commit > end)
		append->leader_commit = end;
}

/* ---- votes ---- */

/* libraft looks at the role only to refuse, and changes no configuration while it answers. */
static void receive_as_voter(struct guard *guard, struct raft_message *message)
{
	bool lends = guard_has(guard, GUARD_MEMBERS) && !MUTANT(VOTE_NOT_LENT);
	struct raft_server *self = lends ? guard_members_non_voter(guard) : NULL;
	int role = self != NULL ? self->role : RAFT_VOTER;

	if (self != NULL)
		self->role = RAFT_VOTER;
	guard->receive(&guard->io, message);
	if (self == NULL)
		return;
	ASSERT(self->id == guard->raft->id);
	self->role = role;
	guard->counters.votes_lent++;
}

/* ---- the door ---- */

void guard_receive(struct raft_io *inner, struct raft_message *message)
{
	struct guard *guard = inner->data;

	if (guard_is_over(guard)) {
		drop(guard, message);
		return;
	}
	/* What is held back waits for a quorum of a term that is over. */
	if (term_of(message) > guard->raft->current_term)
		guard_release_appends(guard);
	if (guard->failed) {
		drop(guard, message);
		return;
	}
	if (guard_has(guard, GUARD_SERIAL) && must_drop(guard, message)) {
		drop(guard, message);
		return;
	}
	if (message->type == RAFT_IO_REQUEST_VOTE)
		guard_elect_vote_asked(guard);
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		prepare_append(guard, &message->append_entries);
	if (guard->failed) {
		drop(guard, message);
		return;
	}
	if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT && guard_hold_result(guard, message))
		return;
	/* libraft changes what it is given. */
	struct raft_message answering = *message;

	guard->answering = &answering;
	if (message->type == RAFT_IO_REQUEST_VOTE)
		receive_as_voter(guard, message);
	else
		guard->receive(&guard->io, message);
	guard->answering = NULL;
	guard_after_event(guard);
}
