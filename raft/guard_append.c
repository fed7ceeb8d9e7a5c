/*
 * The guard's order of events: appends (guard_write.c), truncations and snapshots go to the disk; what
 * comes back reaches libraft when it can stand it.
 *
 * An append that is done on disk joins the queue `done`. From there it goes to libraft at once on a
 * follower, and on a leader whose barrier is not stored yet. After that a leader's own append waits
 * until a quorum matches it (COMMIT): libraft 0.15 commits only when a follower acknowledges exactly
 * what the leader has stored, so the leader's own mark must never be ahead of what can be committed.
 *
 * The results of followers wait until the barrier of this term is stored here (HOLD): before, libraft
 * would count entries of earlier terms as committed (Raft, figure 8).
 *
 * Failures: an append, put or truncation that fails stops the node (FAILSTOP), because libraft goes on
 * with a log in memory that is not the one on disk. libraft itself is told of success then, and never
 * hears of it again: its own paths for errors free memory that it has not got. A truncation or an installation while a snapshot is
 * being put, or the other way round, would be lost inside raft_uv, which remembers one barrier only:
 * guard_receive.c keeps such messages away, and what comes through all the same is refused here.
 */
#include "raft/guard_internal.h"
#include "raft/libraft_error.h"

struct put {
	struct raft_io_snapshot_put request;
	struct raft_io_snapshot_put *outer;
	raft_io_snapshot_put_cb done;
	struct guard *guard;
	raft_index index; /* of the snapshot */
	bool install;
};

/* ---- queues ---- */

void guard_appends_init(struct guard_appends *appends)
{
	appends->first = NULL;
	appends->last = &appends->first;
}

void guard_appends_put(struct guard_appends *appends, struct guard_append *append)
{
	append->next = NULL;
	*appends->last = append;
	appends->last = &append->next;
}

struct guard_append *guard_appends_take(struct guard_appends *appends)
{
	struct guard_append *append = appends->first;

	ASSERT(append != NULL);
	appends->first = append->next;
	if (appends->first == NULL)
		appends->last = &appends->first;
	return append;
}

void guard_appends_remove(struct guard_appends *appends, struct guard_append *append)
{
	struct guard_append **at = &appends->first;

	while (*at != append) {
		ASSERT(*at != NULL);
		at = &(*at)->next;
	}
	*at = append->next;
	if (append->next == NULL)
		appends->last = at;
}

/* Completions of what is about to be cut off say nothing about how far the log reaches. */
static void appends_limit_stored(struct guard_appends *appends, raft_index last)
{
	for (struct guard_append *append = appends->first; append != NULL; append = append->next)
		if (append->stored > last)
			append->stored = last;
}

/* ---- what goes on ---- */

static int descending(const void *a, const void *b)
{
	raft_index left = *(const raft_index *)a, right = *(const raft_index *)b;

	return left < right ? 1 : left > right ? -1 : 0;
}

/* The index that this leader's append may reach: with it, a majority would have it. */
static raft_index quorum_match(const struct raft *raft)
{
	const struct raft_configuration *configuration = &raft->configuration;
	raft_index *matches = memory_alloc((configuration->n + 1) * sizeof *matches);
	unsigned others = 0, voters = 0;

	for (unsigned i = 0; i < configuration->n; i++) {
		if (configuration->servers[i].role != RAFT_VOTER)
			continue;
		voters++;
		if (configuration->servers[i].id != raft->id)
			matches[others++] = raft->leader_state.progress[i].match_index;
	}
	/* voters > others: this node is one of them. */
	unsigned needed = voters / 2 + 1 - (voters - others);
	raft_index match = UINT64_MAX;

	qsort(matches, others, sizeof *matches, descending);
	ASSERT(needed <= others); /* there are voters */
	if (needed > 0)
		match = matches[needed - 1];
	memory_free(matches);
	return match;
}

static bool leads(const struct guard *guard, raft_term term)
{
	return guard->raft->state == RAFT_LEADER && guard->raft->current_term == term &&
	       guard->leader_term == term;
}

static bool append_must_wait(const struct guard *guard, const struct guard_append *append)
{
	return guard_has(guard, GUARD_COMMIT) && append->leader && leads(guard, append->term) &&
	       guard->barrier_stored && append->acknowledged > quorum_match(guard->raft);
}

static void complete(struct guard *guard, struct guard_append *append)
{
	bool with_barrier = append->leader && append->term == guard->leader_term &&
			    guard->barrier_index != 0 &&
			    append->acknowledged >= guard->barrier_index;

	guard->completing = append;
	append->done(append->outer, append->status);
	guard->completing = NULL;
	if (with_barrier && append->status == 0 && append->term == guard->leader_term)
		guard->barrier_stored = true;
	memory_free(append);
}

static bool complete_appends(struct guard *guard)
{
	bool any = false;

	while (guard->done.first != NULL && !guard->failed) {
		if (append_must_wait(guard, guard->done.first)) {
			guard->counters.held_appends++;
			break;
		}
		complete(guard, guard_appends_take(&guard->done));
		any = true;
	}
	return any;
}

void guard_release_appends(struct guard *guard)
{
	while (guard->done.first != NULL && !guard->failed)
		complete(guard, guard_appends_take(&guard->done));
}

/* libraft 0.15 cuts its log at each append that is canceled, and crashes when it was cut before it already:
 * so they end from the last to the first, whatever order they came back in. */
void guard_end_appends(struct guard *guard)
{
	struct guard_append *last_first = NULL;

	ASSERT(guard->closing);
	while (guard->done.first != NULL) {
		struct guard_append *append = guard_appends_take(&guard->done);
		struct guard_append **at = &last_first;

		while (*at != NULL && (*at)->number > append->number)
			at = &(*at)->next;
		append->next = *at;
		*at = append;
	}
	while (last_first != NULL) {
		struct guard_append *append = last_first;

		last_first = append->next;
		if (guard->failed)
			memory_free(append);
		else
			complete(guard, append);
	}
}

/* ---- results ---- */

static void free_result(struct guard *guard, struct guard_held_result *held)
{
	guard->results_first = held->next;
	if (guard->results_first == NULL)
		guard->results_last = &guard->results_first;
	guard->results_count--;
	memory_free((char *)(uintptr_t)held->message.server_address);
	memory_free(held);
}

void guard_drop_results(struct guard *guard)
{
	while (guard->results_first != NULL)
		free_result(guard, guard->results_first);
}

bool guard_hold_result(struct guard *guard, const struct raft_message *message)
{
	ASSERT(message->type == RAFT_IO_APPEND_ENTRIES_RESULT);
	if (!guard_has(guard, GUARD_HOLD) || guard->barrier_stored ||
	    !leads(guard, message->append_entries_result.term))
		return false;
	if (guard->results_count == GUARD_HELD_RESULTS)
		return true;
	struct guard_held_result *held = memory_zeroed(1, sizeof *held);

	held->message = *message;
	held->message.server_address = memory_copy_string(message->server_address);
	*guard->results_last = held;
	guard->results_last = &held->next;
	guard->results_count++;
	guard->counters.held_results++;
	return true;
}

static bool deliver_results(struct guard *guard)
{
	bool any = false;

	if (!leads(guard, guard->leader_term))
		guard_drop_results(guard);
	while (guard->results_first != NULL && guard->barrier_stored && !guard->failed) {
		struct guard_held_result *held = guard->results_first;

		guard->receive(&guard->io, &held->message);
		free_result(guard, held);
		any = true;
	}
	return any;
}

void guard_pump(struct guard *guard)
{
	bool any = true;

	if (guard->pumping)
		return;
	guard->pumping = true;
	while (any && !guard_is_over(guard)) {
		any = complete_appends(guard);
		any = deliver_results(guard) || any;
	}
	guard->pumping = false;
}

/* ---- truncate ---- */

static void count_truncated(struct guard *guard, raft_index index)
{
	const struct raft_entry *entry;

	while ((entry = guard_entry(guard->raft, index++)) != NULL) {
		ASSERT(guard->log_bytes >= entry->buf.len);
		guard->log_bytes -= entry->buf.len;
	}
}

int guard_truncate(struct raft_io *io, raft_index index)
{
	struct guard *guard = guard_of(io);
	struct error error;

	ASSERT(index > 0);
	if (guard->failed)
		return 0;
	if (guard_has(guard, GUARD_SERIAL) && (guard->putting || guard->truncating)) {
		error_set(&error, -1, "the log is to be truncated at index %llu while %s", index,
			  guard->putting ? "a snapshot is being put" : "it is truncated already");
		guard_fail(guard, &error);
		return 0;
	}
	guard_write_all(guard);
	appends_limit_stored(&guard->in_flight, index - 1);
	guard_forget_synced(guard, index - 1);
	if (guard->failed)
		return 0;
	guard->truncating = true;
	guard->truncated_after = guard->appends_submitted;
	count_truncated(guard, index);
	int status = guard_inner_status(guard, guard->inner->truncate(guard->inner, index));

	return guard_fail_stop(guard, status, "the raft log could not be truncated");
}

/* ---- snapshots ---- */

static void count_log(struct guard *guard)
{
	const struct raft *raft = guard->raft;
	const struct raft_entry *entry;
	raft_index index = raft->log.offset + 1;

	guard->log_bytes = 0;
	while ((entry = guard_entry(raft, index++)) != NULL)
		guard->log_bytes += entry->buf.len;
}

static bool put_failed(struct guard *guard, int status)
{
	struct error error;

	if (status == 0 || status == RAFT_CANCELED || guard->closing ||
	    !guard_has(guard, GUARD_FAILSTOP))
		return false;
	error_set(&error, -1, "a raft snapshot could not be written: %s (%s)", guard->inner->errmsg,
		  libraft_reason(status, guard->inner->errmsg));
	guard_fail(guard, &error);
	return true;
}

static void on_put(struct raft_io_snapshot_put *request, int status)
{
	struct put *put = request->data;
	struct put finished = *put;
	struct guard *guard = put->guard;

	memory_free(put);
	guard->putting = guard->installing = false;
	if (guard->failed || put_failed(guard, status))
		return;
	if (finished.install && status == 0)
		guard_note_synced(guard, finished.index);
	guard->put_done = true;
	finished.done(finished.outer, status);
	guard->put_done = false;
	count_log(guard);
	guard_after_event(guard);
}

/* The log is replaced by the snapshot, so that is how far it will reach. */
static void prepare_install(struct guard *guard, const struct raft_snapshot *snapshot)
{
	guard->installing = true;
	/* libraft's log in memory is empty already. */
	guard->log_bytes = 0;
	appends_limit_stored(&guard->in_flight, 0);
	guard_record_install(guard, snapshot);
}

int guard_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
		       const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	struct guard *guard = guard_of(io);
	bool own = request->data == guard->raft;

	guard_write_all(guard);
	if (guard->failed)
		return 0;
	/* libraft drops its own snapshot then, and takes another one later. */
	if (own && guard_has(guard, GUARD_SERIAL) && (guard->putting || guard->truncating))
		return RAFT_BUSY;
	/* raft_uv takes trailing 0 for a snapshot that replaces the log. */
	if (own && trailing == 0)
		trailing = 1;
	if (!own)
		prepare_install(guard, snapshot);
	if (guard->failed)
		return 0;
	struct put *put = memory_zeroed(1, sizeof *put);

	put->request.data = put;
	put->outer = request;
	put->done = done;
	put->guard = guard;
	put->index = snapshot->index;
	put->install = !own;
	guard->putting = true;
	guard->put_term = guard->raft->current_term;
	int status =
		guard->inner->snapshot_put(guard->inner, trailing, &put->request, snapshot, on_put);

	if (status != 0) {
		guard->putting = guard->installing = false;
		memory_free(put);
		put_failed(guard, status);
	}
	return guard_inner_status(guard, status);
}
