/*
 * The state machine as libraft sees it (step 7, its first half).
 *
 * The happy path: libraft calls apply for each committed command, in order; its payload is checked
 * and copied into the queue of held commands; a command of the current term releases all that is
 * held.
 *
 * Failures: a payload that does not open is damage: `fail` is called once, and from then on nothing
 * is handed on and snapshots answer busy; libraft is told success, since it would go on in a worse
 * way. Held commands are freed with the state machine: libraft applies them again after a restart.
 */
#include "raft/fsm.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "storage/command.h"

#include <errno.h>
#include <inttypes.h>

struct held_command {
	struct held_command *next;
	uint64_t index, term;
	size_t size;
	uint8_t body[];
};

struct fsm {
	struct raft_fsm raft_fsm;
	struct raft *raft;
	struct guard *guard;
	struct fsm_downstream downstream;
	struct held_command *first, **last;
	uint64_t held;
	uint64_t seen_index; /* of the last command that libraft applied */
	/* The last command that was handed on or that a manifest contains. It is the state at libraft's
	 * last applied index, too, because what lies between is no command. */
	uint64_t state_index;
	uint64_t snapshot_index; /* state_index when the snapshot began */
	bool failed;
};

static void fsm_fail(struct fsm *fsm, const struct error *error)
{
	if (fsm->failed)
		return;
	fsm->failed = true;
	fsm->downstream.fail(fsm->downstream.arg, error);
}

static void hold(struct fsm *fsm, const struct payload *payload)
{
	struct held_command *command = memory_alloc(sizeof *command + payload->body.size);

	*command = (struct held_command){
		.index = payload->index, .term = payload->term, .size = payload->body.size};
	memcpy(command->body, payload->body.data, payload->body.size);
	*fsm->last = command;
	fsm->last = &command->next;
	fsm->held++;
}

static void hand_on(struct fsm *fsm, uint64_t index, uint64_t term, struct span body)
{
	ASSERT(fsm->held == 0);
	fsm->state_index = index;
	fsm->downstream.apply(fsm->downstream.arg, index, term, body);
}

static void release_held(struct fsm *fsm)
{
	struct held_command *command = fsm->first;

	fsm->first = NULL;
	fsm->last = &fsm->first;
	fsm->held = 0;
	while (command != NULL) {
		struct held_command *next = command->next;

		hand_on(fsm, command->index, command->term, span_of(command->body, command->size));
		memory_free(command);
		command = next;
	}
}

static int open_command(const struct fsm *fsm, const struct raft_buffer *buffer,
			struct payload *payload, struct error *error)
{
	/* Before apply returns, libraft has not counted this one yet. */
	uint64_t index = raft_last_applied(fsm->raft) + 1;
	int status = payload_open(span_of(buffer->base, buffer->len), index, payload, error);

	if (status < 0)
		return status;
	if (index <= fsm->seen_index)
		return error_set(error, -EBADMSG, "index %" PRIu64 " comes after index %" PRIu64,
				 index, fsm->seen_index);
	if (payload->term > fsm->raft->current_term)
		return error_set(error, -EBADMSG,
				 "index %" PRIu64 " is of term %" PRIu64 ", this node in term %llu",
				 index, payload->term, fsm->raft->current_term);
	return 0;
}

static int fsm_apply(struct raft_fsm *raft_fsm, const struct raft_buffer *buffer, void **result)
{
	struct fsm *fsm = raft_fsm->data;
	struct payload payload;
	struct error error;

	*result = NULL;
	if (fsm->failed)
		return 0;
	if (open_command(fsm, buffer, &payload, &error) < 0) {
		error_prefix(&error, "a committed command is damaged");
		fsm_fail(fsm, &error);
		return 0;
	}
	fsm->seen_index = payload.index;
	if (payload.term != fsm->raft->current_term) {
		hold(fsm, &payload);
		return 0;
	}
	release_held(fsm);
	hand_on(fsm, payload.index, payload.term, payload.body);
	return 0;
}

/* Legal answers are 0 and RAFT_BUSY: libraft asks again at the next apply, so this must be cheap.
 */
static int fsm_snapshot(struct raft_fsm *raft_fsm, struct raft_buffer *buffers[], unsigned *count)
{
	struct fsm *fsm = raft_fsm->data;

	if (fsm->failed || fsm->held > 0 || fsm->state_index == 0 ||
	    !guard_snapshot_allowed(fsm->guard) ||
	    !fsm->downstream.snapshot_begin(fsm->downstream.arg, fsm->state_index))
		return RAFT_BUSY;
	*buffers = raft_calloc(1, sizeof **buffers);
	if (*buffers == NULL)
		return RAFT_BUSY;
	(*buffers)[0].base = raft_calloc(1, MANIFEST_BYTES);
	if ((*buffers)[0].base == NULL) {
		raft_free(*buffers);
		return RAFT_BUSY;
	}
	(*buffers)[0].len = MANIFEST_BYTES;
	*count = 1;
	fsm->snapshot_index = fsm->state_index;
	return 0;
}

/* A thread of libuv's pool. An error makes libraft drop this snapshot and try again later. */
static int fsm_snapshot_async(struct raft_fsm *raft_fsm, struct raft_buffer *buffers[],
			      unsigned *count)
{
	struct fsm *fsm = raft_fsm->data;
	struct manifest manifest;

	ASSERT(*count == 1 && (*buffers)[0].len == MANIFEST_BYTES);
	if (fsm->downstream.snapshot_wait(fsm->downstream.arg, fsm->snapshot_index, &manifest) != 0)
		return RAFT_CANCELED;
	ASSERT(manifest.applied_index >= fsm->snapshot_index);
	manifest_encode(&manifest, (*buffers)[0].base);
	return 0;
}

static int fsm_snapshot_finalize(struct raft_fsm *raft_fsm, struct raft_buffer *buffers[],
				 unsigned *count)
{
	(void)raft_fsm;
	if (*buffers != NULL) {
		for (unsigned i = 0; i < *count; i++)
			raft_free((*buffers)[i].base);
		raft_free(*buffers);
	}
	*buffers = NULL;
	*count = 0;
	return 0;
}

static void drop_held(struct fsm *fsm)
{
	while (fsm->first != NULL) {
		struct held_command *next = fsm->first->next;

		memory_free(fsm->first);
		fsm->first = next;
	}
	fsm->last = &fsm->first;
	fsm->held = 0;
}

static int fsm_restore(struct raft_fsm *raft_fsm, struct raft_buffer *buffer)
{
	struct fsm *fsm = raft_fsm->data;
	struct manifest manifest;
	struct error error;
	int rc = manifest_decode(span_of(buffer->base, buffer->len), &manifest, &error);

	raft_free(buffer->base);
	if (fsm->failed)
		return 0;
	if (rc != 0) {
		error_prefix(&error, "the manifest in a raft snapshot is damaged");
		fsm_fail(fsm, &error);
		return 0;
	}
	drop_held(fsm); /* the snapshot contains them, or replaces them */
	fsm->state_index = manifest.applied_index;
	fsm->downstream.restore(fsm->downstream.arg, &manifest);
	return 0;
}

struct fsm *fsm_new(struct raft *raft, const struct fsm_downstream *downstream)
{
	struct fsm *fsm = memory_zeroed(1, sizeof *fsm);

	fsm->raft = raft;
	fsm->downstream = *downstream;
	fsm->last = &fsm->first;
	fsm->raft_fsm = (struct raft_fsm){.version = 3,
					  .data = fsm,
					  .apply = fsm_apply,
					  .snapshot = fsm_snapshot,
					  .restore = fsm_restore,
					  .snapshot_finalize = fsm_snapshot_finalize,
					  .snapshot_async = fsm_snapshot_async};
	return fsm;
}

void fsm_set_guard(struct fsm *fsm, struct guard *guard)
{
	ASSERT(fsm->guard == NULL || guard == NULL);
	fsm->guard = guard;
}

struct raft_fsm *fsm_raft(struct fsm *fsm)
{
	return &fsm->raft_fsm;
}

void fsm_free(struct fsm *fsm)
{
	drop_held(fsm);
	memory_free(fsm);
}

uint64_t fsm_held(const struct fsm *fsm)
{
	return fsm->held;
}
