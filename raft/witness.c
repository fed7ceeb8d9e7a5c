/*
 * A node that pulls runs no raft, and does not vote. When those that have what it needs wait for its vote
 * in turn, perhaps because a third one is gone for good, nobody would ever go on. So a pull that gets
 * nothing for WITNESS_AFTER_MS makes the node a witness:
 *
 *   PULLING, raft closed ──── nothing came for a while ────► PULLING, witness: raft runs
 *            ▲                                                   │ votes, stores entries, leads if it must
 *            └── records come, or the store is complete ◄────────┘ applies nothing, takes no snapshot
 *
 * While a witness leads no append is taken. So its election timeout, which libraft draws from one to two times as
 * long, begins where that of the others ends: it campaigns only when they, who have the records, have tried in
 * vain, because its log is longer.
 *
 * As a leader it proposes its term marker, so that what is committed before is certain to the others, and
 * takes no appends. What it hears of as committed comes again from the log once the store is complete. Its log
 * cannot be shortened meanwhile, so entries are refused beyond a bound; but for those that a new leader's log
 * had before its term: without them that leader would never commit anything.
 *
 * Loop thread, but for witness_end_wait.
 */
#include "raft/replica_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>

#define END_WAIT_NS (UINT64_C(5000) * 1000 * 1000)

void witness_init(struct witness *witness)
{
	*witness = (struct witness){0};
	int status = uv_mutex_init(&witness->lock);

	ASSERT(status == 0);
	status = uv_cond_init(&witness->ended);
	ASSERT(status == 0);
}

void witness_close(struct witness *witness)
{
	ASSERT(!witness->runs);
	uv_cond_destroy(&witness->ended);
	uv_mutex_destroy(&witness->lock);
}

static void note_progress(struct replica *replica)
{
	replica->witness.head = store_head(replica->options.store);
	replica->witness.since_ms = clock_monotonic_ms();
}

void witness_pull_begins(struct replica *replica)
{
	struct witness *witness = &replica->witness;

	uv_mutex_lock(&witness->lock);
	witness->forbidden = false;
	uv_mutex_unlock(&witness->lock);
	witness->after_ms = WITNESS_AFTER_MS;
	note_progress(replica);
}

/* False: the pull is about to end. */
static bool try_begin(struct witness *witness)
{
	uv_mutex_lock(&witness->lock);
	bool allowed = !witness->forbidden;

	witness->runs = allowed;
	uv_mutex_unlock(&witness->lock);
	return allowed;
}

static void set_over(struct witness *witness)
{
	uv_mutex_lock(&witness->lock);
	witness->runs = false;
	uv_cond_broadcast(&witness->ended);
	uv_mutex_unlock(&witness->lock);
}

static bool is_unwanted(struct replica *replica)
{
	struct witness *witness = &replica->witness;

	uv_mutex_lock(&witness->lock);
	bool forbidden = witness->forbidden;

	uv_mutex_unlock(&witness->lock);
	return forbidden || replica->resume_wanted ||
	       store_head(replica->options.store) != witness->head;
}

static void on_closed(void *arg)
{
	struct replica *replica = arg;

	set_over(&replica->witness);
	replica->raft_closed = true;
	note_progress(replica);
	/* Records that come in long intervals are not worth opening the log in each. */
	if (replica->witness.after_ms < WITNESS_AFTER_MAX_MS)
		replica->witness.after_ms *= 2;
	replica_wake(replica);
}

static void end(struct replica *replica)
{
	struct instance *instance = replica->instance;
	struct replica_status status;

	log_info("replica", "a witness no more: records to pull are there", "head=%" PRIu64,
		 store_head(replica->options.store));
	replica_get_status(replica, &status);
	replica->last = status;
	replica->raft_closed = false;
	replica->instance = NULL;
	replica_look_at_configuration(replica);
	instance_close(instance, on_closed, replica);
}

static void begin(struct replica *replica)
{
	struct error error;

	if (!try_begin(&replica->witness))
		return;
	replica->witness.log_bytes = 0;
	log_warn("replica", "nobody has the records to pull yet: a witness meanwhile",
		 "index=%" PRIu64 " position=%" PRIu64, replica->manifest.applied_index,
		 replica->manifest.position);
	if (replica_open_instance(replica, false, &error) == 0)
		return;
	if (replica->instance == NULL)
		set_over(&replica->witness);
	replica_fail(replica, &error);
}

bool witness_runs(const struct replica *replica)
{
	return replica->state == REPLICA_PULLING && replica->instance != NULL;
}

void witness_turn(struct replica *replica)
{
	struct witness *witness = &replica->witness;

	ASSERT(replica->state == REPLICA_PULLING);
	if (replica->instance != NULL) {
		if (is_unwanted(replica))
			end(replica);
		return;
	}
	if (!replica->raft_closed || replica->pull_wanted || replica->resume_wanted)
		return;
	if (store_head(replica->options.store) != witness->head)
		note_progress(replica);
	if (clock_monotonic_ms() - witness->since_ms >= witness->after_ms)
		begin(replica);
}

bool witness_accepts_entries(struct replica *replica)
{
	struct instance *instance = replica->instance;
	struct witness *witness = &replica->witness;
	struct raft *raft = &instance->raft;
	uint64_t bytes = guard_log_bytes(instance->guard);

	if (raft_last_index(raft) - raft->log.offset >= LIMIT_LOG_ENTRIES)
		return false;
	if (instance_last_term(instance) != raft->current_term)
		return true;
	if (witness->log_bytes == 0)
		witness->log_bytes = bytes;
	return bytes < witness->log_bytes + 2 * replica->options.log_retained_bytes;
}

void witness_restored(struct replica *replica, const struct manifest *manifest)
{
	/* Later snapshots need not have later manifests. */
	if (manifest->applied_index > replica->manifest.applied_index)
		replica->manifest = *manifest;
}

void witness_raft_closed(struct replica *replica)
{
	set_over(&replica->witness);
}

int witness_end_wait(struct replica *replica, struct error *error)
{
	struct witness *witness = &replica->witness;
	int status = 0;

	uv_mutex_lock(&witness->lock);
	witness->forbidden = true;
	while (witness->runs && status == 0) {
		uv_async_send(&replica->wake);
		status = uv_cond_timedwait(&witness->ended, &witness->lock, END_WAIT_NS);
	}
	uv_mutex_unlock(&witness->lock);
	if (status != 0)
		return error_set(error, -ETIMEDOUT, "raft was not closed in 5 s");
	return 0;
}
