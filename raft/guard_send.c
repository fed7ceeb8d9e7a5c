/*
 * Messages on their way to the network: answers that say too much are corrected (CLAMP, JUMP, VOTE),
 * those that answer for another time are dropped (SERIAL, CLAMP), and what is not yet sent to a peer
 * is bounded (FLOW): RAFT_NOCONNECTION makes libraft come again at the next heartbeat.
 *
 * A commit that nothing else is about to carry is told by a message of the guard's own (guard_tell_commit).
 *
 * An answer that is dropped, or that the network refuses, is accepted and ended later as canceled: an
 * error at once would make libraft 0.15 free the entries of the request a second time, or give up.
 */
#include "raft/guard_internal.h"

struct send {
	struct raft_io_send request;
	struct raft_io_send *outer;
	raft_io_send_cb done;
	struct guard *guard;
	raft_id peer;
	size_t bytes;
};

/* What an entry costs beside its payload. */
#define ENTRY_OVERHEAD_BYTES 16

/* ---- answers ---- */

/* The leader takes a success for a statement about every entry up to the index in it. */
static bool clamp_success(struct guard *guard, struct raft_append_entries_result *result)
{
	raft_index limit = UINT64_MAX;

	if (guard->completing != NULL) {
		if (guard->completing->term != guard->raft->current_term)
			return false;
		limit = guard->completing->acknowledged;
	} else if (guard->answering != NULL && guard->answering->type == RAFT_IO_APPEND_ENTRIES) {
		limit = guard->answering->append_entries.prev_log_index +
			guard->answering->append_entries.n_entries;
	}
	/* What is committed here is the same everywhere. */
	if (limit < guard->raft->commit_index)
		limit = guard->raft->commit_index;
	if (result->last_log_index > limit) {
		result->last_log_index = limit;
		guard->counters.clamped++;
	}
	return true;
}

/* Where the leader tries next: before the whole term that does not match. */
static void jump_back(struct guard *guard, struct raft_append_entries_result *result)
{
	const struct raft *raft = guard->raft;
	const struct raft_message *message = guard->answering;

	if (message == NULL || message->type != RAFT_IO_APPEND_ENTRIES ||
	    message->append_entries.term != raft->current_term)
		return;
	raft_index index = message->append_entries.prev_log_index;
	const struct raft_entry *entry = guard_entry(raft, index);

	if (entry == NULL)
		return;
	raft_term conflicting = entry->term;

	while (entry != NULL && entry->term == conflicting && index > raft->commit_index)
		entry = guard_entry(raft, --index);
	if (result->last_log_index > index) {
		result->last_log_index = index;
		guard->counters.jumped++;
	}
}

/* An installation that ends after its leader did has nobody to answer to. */
static bool is_late_install(const struct guard *guard)
{
	return guard->put_done && (guard->raft->state != RAFT_FOLLOWER ||
				   guard->put_term != guard->raft->current_term);
}

static bool correct_result(struct guard *guard, struct raft_message *message)
{
	struct raft_append_entries_result *result = &message->append_entries_result;

	if (guard_has(guard, GUARD_SERIAL) && (is_late_install(guard) || message->server_id == 0))
		return false;
	if (result->rejected == 0 && guard_has(guard, GUARD_CLAMP))
		return clamp_success(guard, result);
	if (result->rejected != 0 && guard_has(guard, GUARD_JUMP))
		jump_back(guard, result);
	return true;
}

/* A candidate that lags must learn the term, or nobody is ever elected. */
static void correct_vote(struct guard *guard, struct raft_request_vote_result *result)
{
	if (result->pre_vote == raft_tribool_true && !result->vote_granted &&
	    result->term < guard->raft->current_term && guard_has(guard, GUARD_VOTE)) {
		result->term = guard->raft->current_term;
		guard->counters.votes_raised++;
	}
}

static int drop_answer(struct guard *guard, struct raft_io_send *request, raft_io_send_cb done)
{
	struct guard_dropped *dropped = memory_zeroed(1, sizeof *dropped);

	dropped->request = request;
	dropped->done = done;
	dropped->next = guard->dropped;
	guard->dropped = dropped;
	guard->counters.dropped++;
	return 0;
}

void guard_end_dropped(struct guard *guard)
{
	while (guard->dropped != NULL) {
		struct guard_dropped *dropped = guard->dropped;

		guard->dropped = dropped->next;
		if (dropped->done != NULL && !guard->failed)
			dropped->done(dropped->request, RAFT_CANCELED);
		memory_free(dropped);
	}
}

/* ---- messages of the guard's own ---- */

static void on_told(struct raft_io_send *request, int status)
{
	(void)status;
	memory_free(request);
}

bool guard_tell(struct guard *guard, const struct raft_message *message)
{
	struct raft_io_send *request = memory_zeroed(1, sizeof *request);

	if (guard->inner->send(guard->inner, request, message, on_told) == 0)
		return true;
	memory_free(request);
	return false;
}

/*
 * A leader that has sent its snapshot waits for a success that reaches it, and until its timeout for
 * nothing else. A node that was away to fetch what the snapshot speaks of never gave that answer; all
 * that the leader would see are rejections of its heartbeats, and when the timeout has passed, the log
 * behind the snapshot can be gone, again and again. What is committed here is in that leader's log, so
 * a success up to there is true at any time.
 */
static void tell_committed(struct guard *guard, const struct raft_message *rejection)
{
	const struct raft *raft = guard->raft;
	const struct raft_message *asked = guard->answering;

	if (!guard_has(guard, GUARD_JUMP) || asked == NULL ||
	    asked->type != RAFT_IO_APPEND_ENTRIES || asked->append_entries.n_entries > 0 ||
	    asked->append_entries.term != raft->current_term || raft->commit_index == 0 ||
	    asked->append_entries.prev_log_index <= raft_last_index(guard->raft))
		return;
	struct raft_message message = *rejection;

	message.append_entries_result.rejected = 0;
	message.append_entries_result.last_log_index = raft->commit_index;
	guard->counters.committed_told += guard_tell(guard, &message);
}

static int send_answer(struct guard *guard, struct raft_io_send *request,
		       const struct raft_message *message, raft_io_send_cb done)
{
	struct raft_message corrected = *message;

	if (message->type == RAFT_IO_REQUEST_VOTE_RESULT)
		correct_vote(guard, &corrected.request_vote_result);
	else if (!correct_result(guard, &corrected))
		return drop_answer(guard, request, done);
	if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT &&
	    corrected.append_entries_result.rejected != 0)
		tell_committed(guard, &corrected);
	int status = guard->inner->send(guard->inner, request, &corrected, done);

	return status == 0 ? 0 : drop_answer(guard, request, done);
}

/* ---- flow ---- */

static struct guard_peer *find_peer(struct guard *guard, raft_id id)
{
	struct guard_peer *idle = NULL;

	for (int i = 0; i < GUARD_PEERS; i++) {
		struct guard_peer *peer = &guard->peers[i];

		if (peer->id == id)
			return peer;
		if (peer->messages == 0 && (idle == NULL || (peer->id == 0 && idle->id != 0)))
			idle = peer;
	}
	ASSERT(idle != NULL);
	*idle = (struct guard_peer){.id = id};
	return idle;
}

static void on_sent(struct raft_io_send *request, int status)
{
	struct send *send = request->data;
	struct guard *guard = send->guard;
	struct guard_peer *peer = find_peer(guard, send->peer);
	struct raft_io_send *outer = send->outer;
	raft_io_send_cb done = send->done;

	ASSERT(peer->messages > 0 && peer->bytes >= send->bytes);
	peer->bytes -= send->bytes;
	peer->messages--;
	memory_free(send);
	if (done != NULL && !guard->failed)
		done(outer, status);
}

static size_t bytes_of(const struct raft_append_entries *append)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < append->n_entries; i++)
		bytes += append->entries[i].buf.len + ENTRY_OVERHEAD_BYTES;
	return bytes;
}

static bool is_too_much(const struct guard *guard, const struct guard_peer *peer, size_t bytes)
{
	const struct guard_options *options = &guard->options;

	return (bytes > 0 && peer->bytes > 0 &&
		peer->bytes + bytes > options->peer_in_flight_bytes) ||
	       peer->messages >= options->peer_in_flight_messages;
}

/* The receiver takes no commit index beyond the entries that it comes with. */
static void note_told(struct guard_peer *peer, const struct raft_append_entries *append)
{
	raft_index end = append->prev_log_index + append->n_entries;

	peer->told = append->leader_commit < end ? append->leader_commit : end;
}

static int send_bounded(struct guard *guard, struct raft_io_send *request,
			const struct raft_message *message, raft_io_send_cb done)
{
	struct guard_peer *peer = find_peer(guard, message->server_id);
	size_t bytes = bytes_of(&message->append_entries);

	if (is_too_much(guard, peer, bytes)) {
		guard->counters.flow_refused++;
		return RAFT_NOCONNECTION;
	}
	struct send *send = memory_zeroed(1, sizeof *send);

	send->request.data = send;
	send->outer = request;
	send->done = done;
	send->guard = guard;
	send->peer = message->server_id;
	send->bytes = bytes;
	peer->bytes += bytes;
	peer->messages++;
	int status = guard->inner->send(guard->inner, &send->request, message, on_sent);

	if (status != 0) {
		peer->bytes -= bytes;
		peer->messages--;
		memory_free(send);
	} else {
		note_told(peer, &message->append_entries);
	}
	return guard_inner_status(guard, status);
}

int guard_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *message,
	       raft_io_send_cb done)
{
	struct guard *guard = guard_of(io);

	if (guard->failed)
		return message->type == RAFT_IO_APPEND_ENTRIES ? RAFT_NOCONNECTION : 0;
	if (message->type == RAFT_IO_APPEND_ENTRIES && guard_has(guard, GUARD_FLOW))
		return send_bounded(guard, request, message, done);
	if (message->type == RAFT_IO_APPEND_ENTRIES_RESULT ||
	    message->type == RAFT_IO_REQUEST_VOTE_RESULT)
		return send_answer(guard, request, message, done);
	return guard_inner_status(guard, guard->inner->send(guard->inner, request, message, done));
}

/* ---- news of a commit ---- */

static void tell_commit(struct guard *guard, const struct raft_server *server, raft_term term)
{
	const struct raft *raft = guard->raft;
	struct raft_message message = {
		.type = RAFT_IO_APPEND_ENTRIES,
		.server_id = server->id,
		.server_address = server->address,
		.append_entries = {.term = raft->current_term,
				   .prev_log_index = raft->commit_index,
				   .prev_log_term = term,
				   .leader_commit = raft->commit_index},
	};

	if (send_bounded(guard, NULL, &message, NULL) == 0)
		guard->counters.commits_told++;
}

void guard_tell_commit(struct guard *guard)
{
	const struct raft *raft = guard->raft;
	const struct raft_configuration *configuration = &raft->configuration;

	/* FLOW knows what each peer was sent. */
	if (guard_is_over(guard) || raft->state != RAFT_LEADER || !guard->barrier_stored ||
	    !guard_has(guard, GUARD_FLOW))
		return;
	const struct raft_entry *entry = guard_entry(raft, raft->commit_index);

	/* What is on its way is soon committed, too: then both are told in one. */
	if (entry == NULL || raft->commit_index < raft_last_index(guard->raft))
		return;
	for (unsigned i = 0; i < configuration->n; i++) {
		const struct raft_server *server = &configuration->servers[i];

		if (server->id != raft->id &&
		    raft->leader_state.progress[i].match_index >= raft->commit_index &&
		    find_peer(guard, server->id)->told < raft->commit_index)
			tell_commit(guard, server, entry->term);
	}
}
