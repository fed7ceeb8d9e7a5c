/*
 * Stopping, step by step:
 *
 *   DRAINING ──► HANDING_OVER ──► CLOSING_RAFT ──► APPLYING ──► CLOSING ──► DONE
 *      │ no grace left, or nobody to hand over to ──▲
 *
 * What was proposed and not decided by then is unknown to its proposer; what was never proposed is
 * told as such.
 */
#include "raft/replica_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <unistd.h>

static bool grace_is_over(const struct replica *replica)
{
	return clock_monotonic_ms() >= replica->stop_deadline_ms;
}

/* ---- the last step: handles and sockets ---- */

static void free_abandoned(void *arg)
{
	replica_free(arg);
}

static void on_part_closed(void *arg)
{
	struct replica *replica = arg;
	void (*stopped)(void *arg) = replica->stopped;

	ASSERT(replica->open_parts > 0);
	if (--replica->open_parts > 0)
		return;
	replica->stop = STOP_DONE;
	stopped(replica->stopped_arg);
}

static void on_handle_closed(uv_handle_t *handle)
{
	on_part_closed(handle->data);
}

static void close_handles(struct replica *replica)
{
	uv_handle_t *handles[] = {(uv_handle_t *)&replica->prepare, (uv_handle_t *)&replica->check,
				  (uv_handle_t *)&replica->wake, (uv_handle_t *)&replica->step,
				  (uv_handle_t *)&replica->campaign};

	for (size_t i = 0; i < sizeof handles / sizeof handles[0]; i++) {
		handles[i]->data = replica;
		uv_close(handles[i], on_handle_closed);
		replica->open_parts++;
	}
}

static void close_parts(struct replica *replica)
{
	replica->stop = STOP_CLOSING;
	replica->open_parts = 2;
	transport_close(replica->transport, on_part_closed, replica);
	disk_watch_close(&replica->disk, on_part_closed, replica);
	/* Nothing wakes the loop any more once the apply thread is gone. */
	if (replica->apply != NULL)
		apply_free(replica->apply);
	replica->apply = NULL;
	close_handles(replica);
}

/* ---- the steps before ---- */

static void on_raft_closed(void *arg)
{
	struct replica *replica = arg;

	replica->raft_closed = true;
	witness_raft_closed(replica);
	replica_wake(replica);
}

static void on_drained(void *arg, uint64_t head)
{
	struct replica *replica = arg;

	(void)head;
	replica->drained = true;
	replica_wake(replica);
}

static void close_raft(struct replica *replica)
{
	struct instance *instance = replica->instance;

	replica->stop = STOP_CLOSING_RAFT;
	if (instance == NULL) {
		/* Forming, or pulling: then it is closed, or about to be. */
		replica->raft_closed |= replica->state != REPLICA_PULLING;
		return;
	}
	replica->raft_closed = false;
	replica->instance = NULL;
	instance_close(instance, on_raft_closed, replica);
}

static void begin_applying(struct replica *replica)
{
	struct apply_item *marker;

	replica->stop = STOP_APPLYING;
	replica->drained = replica->apply == NULL;
	if (replica->drained)
		return;
	marker = memory_zeroed(1, sizeof *marker);
	marker->passed = on_drained;
	marker->arg = replica;
	apply_put(replica->apply, marker);
}

static void on_handed_over(void *arg, int status, const struct error *error)
{
	struct replica *replica = arg;

	if (status < 0)
		log_info("replica", "stopping without a successor", "reason=\"%s\"",
			 error->message);
	replica->handing_over = false;
	replica_wake(replica);
}

static void begin_hand_over(struct replica *replica)
{
	replica->stop = STOP_HANDING_OVER;
	if (!instance_is_leader(replica->instance) || grace_is_over(replica) ||
	    !members_has_other_voter(replica->instance) || replica->members.kind != MEMBERS_NONE)
		return;
	replica->handing_over = true;
	members_transfer(&replica->members, replica->instance, 0, on_handed_over, replica);
}

static void finish(struct replica *replica)
{
	if (replica->saving)
		return;
	propose_drop(&replica->propose);
	propose_tell(&replica->propose);
	if (replica->state != REPLICA_STOPPED)
		replica_move(replica, REPLICA_STOPPED);
	close_parts(replica);
}

void replica_stop_turn(struct replica *replica)
{
	if (replica->stop == STOP_DRAINING &&
	    (propose_is_idle(&replica->propose) || grace_is_over(replica)))
		begin_hand_over(replica);
	if (replica->stop == STOP_HANDING_OVER &&
	    (!replica->handing_over || grace_is_over(replica)))
		close_raft(replica);
	if (replica->stop == STOP_CLOSING_RAFT && replica->raft_closed)
		begin_applying(replica);
	if (replica->stop == STOP_APPLYING && replica->drained &&
	    replica->members.kind == MEMBERS_NONE)
		finish(replica);
}

void replica_stop(struct replica *replica, uint64_t grace_ms, void (*stopped)(void *arg), void *arg)
{
	ASSERT(replica->stop == STOP_NOT && stopped != NULL);
	log_info("replica", "stopping", "state=%d", (int)replica->state);
	replica->stop = STOP_DRAINING;
	replica->stop_deadline_ms = clock_monotonic_ms() + (int64_t)grace_ms;
	replica->stopped = stopped;
	replica->stopped_arg = arg;
	replica_wake(replica);
}

void replica_abandon(struct replica *replica)
{
	replica->abandoned = true;
	/* The store is the caller's again from now on. */
	apply_free(replica->apply);
	replica->apply = NULL;
	replica_stop(replica, 0, free_abandoned, replica);
}

void replica_free(struct replica *replica)
{
	ASSERT(replica->stop == STOP_DONE && replica->instance == NULL);
	transport_free(replica->transport);
	witness_close(&replica->witness);
	propose_close(&replica->propose);
	buffer_close(&replica->save_bytes);
	close(replica->lock);
	memory_free(replica);
}
