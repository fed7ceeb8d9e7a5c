/*
 * The guard: a raft_io around another one. This file has the plumbing: what is passed on as it is, the
 * start and the end, and what happens after each event.
 *
 *            libraft ── append, send, truncate, snapshot_put, set_term, … ──► guard ──► inner raft_io
 *            libraft ◄── tick, receive, completions ────────────────────────  guard ◄── inner raft_io
 *
 * The other subjects: guard_append.c (the order in which completions and results reach libraft),
 * guard_receive.c (messages that libraft must not see, or not like that), guard_send.c (answers that
 * say too much, and flow), guard_state.c (what is remembered on disk beside libraft's log),
 * guard_members.c (changes of members that are taken back), guard_elect.c (when elections begin).
 *
 * After each event (guard_after_event) libraft's public state is looked at: has it given up, has it
 * become leader, can something go on that was held.
 *
 * Failure: guard_fail is called once. From then on every callback of the inner raft_io ends here, and
 * libraft hears nothing more, and what it asks for is granted and not done; the process is expected to
 * end.
 */
#include "raft/guard_internal.h"
#include "raft/libraft_error.h"

#include <stdio.h>

void guard_fail(struct guard *guard, const struct error *error)
{
	if (guard->failed)
		return;
	guard->failed = true;
	guard->options.fail(guard->options.arg, error);
}

int guard_inner_status(struct guard *guard, int status)
{
	if (status != 0)
		snprintf(guard->io.errmsg, sizeof guard->io.errmsg, "%s", guard->inner->errmsg);
	return status;
}

int guard_fail_stop(struct guard *guard, int status, const char *what)
{
	struct error error;

	if (status == 0 || !guard_has(guard, GUARD_FAILSTOP))
		return status;
	error_set(&error, -1, "%s: %s (%s)", what, guard->inner->errmsg,
		  libraft_reason(status, guard->inner->errmsg));
	guard_fail(guard, &error);
	return 0;
}

const struct raft_entry *guard_entry(const struct raft *raft, raft_index index)
{
	const struct raft_log *log = &raft->log;
	size_t count = 0;

	if (log->size > 0)
		count = (log->back + log->size - log->front) % log->size;
	if (index <= log->offset || index > log->offset + count)
		return NULL;
	return &log->entries[(log->front + (size_t)(index - 1 - log->offset)) % log->size];
}

/* ---- leadership ---- */

static void barrier_committed(struct raft_barrier *barrier, int status)
{
	(void)status;
	memory_free(barrier);
}

/* While an old transfer is pending libraft refuses: then again after the next event. */
static void propose_barrier(struct guard *guard)
{
	struct raft_barrier *barrier = memory_zeroed(1, sizeof *barrier);
	raft_index index = raft_last_index(guard->raft) + 1;

	guard->barrier_index = index;
	if (raft_barrier(guard->raft, barrier, barrier_committed) != 0) {
		guard->barrier_index = 0;
		memory_free(barrier);
		return;
	}
	guard->barrier_proposed = true;
	guard->counters.barriers++;
}

static void notice_leadership(struct guard *guard)
{
	struct raft *raft = guard->raft;
	bool wanted = guard_has(guard, GUARD_BARRIER);

	if (raft->state != RAFT_LEADER)
		return;
	if (guard->leader_term != raft->current_term) {
		guard->leader_term = raft->current_term;
		guard->barrier_index = 0;
		guard->barrier_proposed = false;
		guard->barrier_stored = !wanted;
	} else if (guard->barrier_proposed) {
		return;
	}
	if (wanted)
		propose_barrier(guard);
	else
		guard->barrier_proposed = true;
	if (guard->barrier_proposed && guard->options.became_leader != NULL)
		guard->options.became_leader(guard->options.arg, raft->current_term);
}

/* libraft turns its back on any error that it cannot handle, and stays silent. */
static bool notice_end(struct guard *guard)
{
	struct error error;

	if (!guard->started || guard->raft->state != RAFT_UNAVAILABLE ||
	    !guard_has(guard, GUARD_FAILSTOP))
		return false;
	error_set(&error, -1, "libraft has given up: %s",
		  guard->io.errmsg[0] != '\0' ? guard->io.errmsg : raft_errmsg(guard->raft));
	guard_fail(guard, &error);
	return true;
}

void guard_after_event(struct guard *guard)
{
	ASSERT(guard->answering == NULL);
	guard_end_dropped(guard);
	if (guard_is_over(guard) || notice_end(guard))
		return;
	notice_leadership(guard);
	guard_members_watch(guard);
	guard_pump(guard);
	if (!guard_is_over(guard) && guard->options.changed != NULL)
		guard->options.changed(guard->options.arg);
}

/* ---- the raft_io that libraft sees ---- */

static void on_tick(struct raft_io *inner)
{
	struct guard *guard = inner->data;

	if (guard_is_over(guard))
		return;
	/* A candidate while a snapshot is being installed would leave libraft with a leader that is
	 * none. */
	if (guard->installing && guard_has(guard, GUARD_SERIAL))
		return;
	guard_elect_tick(guard);
	guard->tick(&guard->io);
	guard_after_event(guard);
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
	struct guard *guard = guard_of(io);

	return guard_inner_status(guard, guard->inner->init(guard->inner, id, address));
}

static int io_start(struct raft_io *io, unsigned tick_ms, raft_io_tick_cb tick,
		    raft_io_recv_cb receive)
{
	struct guard *guard = guard_of(io);

	guard->tick = tick;
	guard->receive = receive;
	int status = guard->inner->start(guard->inner, tick_ms, on_tick, guard_receive);

	guard->started = status == 0;
	return guard_inner_status(guard, status);
}

static void on_closed(struct raft_io *inner)
{
	struct guard *guard = inner->data;

	guard_end_appends(guard);
	guard_end_dropped(guard);
	guard->closed(&guard->io);
}

static void io_close(struct raft_io *io, raft_io_close_cb closed)
{
	struct guard *guard = guard_of(io);

	guard->closing = true;
	guard->closed = closed;
	guard_drop_results(guard);
	guard_write_close(guard);
	guard_end_dropped(guard);
	guard->inner->close(guard->inner, on_closed);
}

static int io_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
	struct guard *guard = guard_of(io);

	return guard_inner_status(guard, guard->inner->recover(guard->inner, configuration));
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
			   raft_io_snapshot_get_cb done)
{
	struct guard *guard = guard_of(io);

	return guard_inner_status(guard, guard->inner->snapshot_get(guard->inner, request, done));
}

static raft_time io_time(struct raft_io *io)
{
	struct raft_io *inner = guard_of(io)->inner;

	return inner->time(inner);
}

static int io_random(struct raft_io *io, int min, int max)
{
	struct raft_io *inner = guard_of(io)->inner;

	return inner->random(inner, min, max);
}

static int io_async_work(struct raft_io *io, struct raft_io_async_work *request,
			 raft_io_async_work_cb done)
{
	struct guard *guard = guard_of(io);

	return guard_inner_status(guard, guard->inner->async_work(guard->inner, request, done));
}

/* ---- life ---- */

struct guard *guard_new(struct raft *raft, struct raft_io *inner,
			const struct guard_options *options)
{
	struct guard *guard = memory_zeroed(1, sizeof *guard);

	ASSERT(options->fail != NULL);
	guard->raft = raft;
	guard->inner = inner;
	guard->options = *options;
	guard->hard = options->loaded;
	guard->results_last = &guard->results_first;
	guard_appends_init(&guard->waiting);
	guard_appends_init(&guard->in_flight);
	guard_appends_init(&guard->done);
	raft_configuration_init(&guard->configuration[0]);
	raft_configuration_init(&guard->configuration[1]);
	inner->data = guard;
	guard->io = (struct raft_io){
		.version = 2,
		.impl = guard,
		.init = io_init,
		.close = io_close,
		.load = guard_load,
		.start = io_start,
		.bootstrap = guard_bootstrap,
		.recover = io_recover,
		.set_term = guard_set_term,
		.set_vote = guard_set_vote,
		.send = guard_send,
		.append = guard_append,
		.truncate = guard_truncate,
		.snapshot_put = guard_snapshot_put,
		.snapshot_get = io_snapshot_get,
		.time = io_time,
		.random = io_random,
		.async_work = io_async_work,
	};
	return guard;
}

struct raft_io *guard_io(struct guard *guard)
{
	ASSERT(guard != NULL);
	return &guard->io;
}

void guard_free(struct guard *guard)
{
	if (guard == NULL)
		return;
	ASSERT(guard->waiting.first == NULL && guard->in_flight.first == NULL &&
	       guard->done.first == NULL);
	guard_drop_results(guard);
	guard_members_close(guard);
	memory_free(guard);
}

/* ---- questions ---- */

const struct error *guard_damage(const struct guard *guard)
{
	ASSERT(guard != NULL);
	return &guard->damage;
}

bool guard_snapshot_allowed(const struct guard *guard)
{
	const struct raft *raft = guard->raft;

	if (guard_is_over(guard))
		return false;
	if (guard_has(guard, GUARD_SERIAL) && (guard->putting || guard->truncating))
		return false;
	/* A snapshot says which members are agreed upon. */
	return !guard_has(guard, GUARD_MEMBERS) ||
	       (raft->configuration_uncommitted_index == 0 &&
		raft->configuration_index <= raft->last_applied);
}

bool guard_is_quiet(const struct guard *guard)
{
	const struct raft *raft = guard->raft;

	if (guard_is_over(guard) || raft->state != RAFT_LEADER || !guard->barrier_stored ||
	    guard->leader_term != raft->current_term)
		return false;
	if (guard->putting || guard->truncating || raft->snapshot.pending.term != 0 ||
	    raft->snapshot.put.data != NULL)
		return false;
	if (raft->configuration_uncommitted_index != 0 || raft->leader_state.change != NULL ||
	    raft->transfer != NULL)
		return false;
	return raft->commit_index == raft_last_index(guard->raft) &&
	       raft->last_applied == raft->commit_index;
}

uint64_t guard_log_bytes(const struct guard *guard)
{
	ASSERT(guard != NULL);
	return guard->log_bytes;
}

void guard_get_counters(const struct guard *guard, struct guard_counters *counters)
{
	ASSERT(guard != NULL);
	*counters = guard->counters;
}
