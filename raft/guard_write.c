/*
 * Appends on their way to the disk, one write at a time.
 *
 * raft_uv writes one batch of appends at a time, too, and gathers what comes meanwhile in one buffer, which
 * it allocates, clears and copies anew for each append. A follower that fell behind by some megabytes of
 * small appends spent seconds on that in one turn of its loop (libraft 0.15, src/uv_segment.c,
 * uvEnsureSegmentBufferIsLargeEnough). So what comes while a write is under way waits here, and goes on
 * as one append.
 *
 *   guard_append ──► waiting ──one write──► in_flight ──► done (guard_append.c)
 *
 * Truncations, snapshots and the end find nothing waiting: guard_write_all() before each of them keeps
 * the order that libraft asked for.
 */
#include "raft/guard_internal.h"
#include "raft/libraft_error.h"

#include <string.h>

/* In one write; a single append may be larger. */
#define WRITE_BYTES (2 * 1024 * 1024)

/* What the inner raft_io gets: one or several appends of in_flight at once. */
struct guard_write {
	struct raft_io_append request;
	struct guard *guard;
	unsigned appends;
	struct raft_entry *joined; /* NULL: of one append, its own entries are written */
};

static void fail_append(struct guard *guard, int status)
{
	struct error error;

	error_set(&error, -1, "a write to the raft log failed: %s (%s)",
		  guard->inner->errmsg[0] != '\0' ? guard->inner->errmsg : "no details",
		  libraft_reason(status, guard->inner->errmsg));
	guard_fail(guard, &error);
}

static void end_append(struct guard *guard, struct guard_append *append, int status)
{
	if (!append->leader)
		guard->follower_appends--;
	append->status = status;
	if (guard->failed) {
		memory_free(append);
		return;
	}
	if (guard->truncating && append->number > guard->truncated_after)
		guard->truncating = false;
	if (status == 0)
		guard_note_synced(guard, append->stored);
	guard_appends_put(&guard->done, append);
}

/* raft_uv cancels what is queued before it ends what it writes: so its appends need not be the first. */
static void end_write(struct guard_write *write, int status)
{
	struct guard *guard = write->guard;
	struct guard_append *append = guard->in_flight.first;

	while (write->appends > 0) {
		ASSERT(append != NULL);
		struct guard_append *next = append->next;

		if (append->write == write) {
			guard_appends_remove(&guard->in_flight, append);
			end_append(guard, append, status);
			write->appends--;
		}
		append = next;
	}
	memory_free(write->joined);
	memory_free(write);
}

static void on_written(struct raft_io_append *request, int status)
{
	struct guard_write *write = request->data;
	struct guard *guard = write->guard;

	if (status != 0 && status != RAFT_CANCELED && guard_has(guard, GUARD_FAILSTOP) &&
	    !guard->closing)
		fail_append(guard, status);
	if (!guard->failed)
		guard_inner_status(guard, status);
	end_write(write, status);
	if (guard_is_over(guard))
		return;
	/* First the disk, which would be idle; then libraft, which takes its time. */
	if (guard->in_flight.first == NULL)
		guard_write_waiting(guard);
	guard_after_event(guard);
}

/* As much of what waits as fits into one write goes into in_flight. */
static struct guard_write *gather(struct guard *guard, const struct raft_entry **entries,
				  unsigned *count)
{
	struct guard_write *write = memory_zeroed(1, sizeof *write);
	struct guard_append *append = guard->waiting.first;
	size_t bytes = 0;

	write->request.data = write;
	write->guard = guard;
	*entries = append->entries;
	*count = 0;
	for (; append != NULL; append = append->next) {
		bytes += append->bytes;
		if (write->appends > 0 && bytes > WRITE_BYTES)
			break;
		write->appends++;
		*count += append->count;
	}
	if (write->appends > 1)
		*entries = write->joined = memory_alloc(*count * sizeof **entries);
	for (unsigned i = 0, at = 0; i < write->appends; i++) {
		append = guard_appends_take(&guard->waiting);
		append->write = write;
		if (write->joined != NULL)
			memcpy(write->joined + at, append->entries,
			       append->count * sizeof **entries);
		at += append->count;
		guard_appends_put(&guard->in_flight, append);
	}
	return write;
}

void guard_write_waiting(struct guard *guard)
{
	const struct raft_entry *entries;
	unsigned count;

	if (guard->waiting.first == NULL || guard->failed)
		return;
	struct guard_write *write = gather(guard, &entries, &count);
	int status =
		guard->inner->append(guard->inner, &write->request, entries, count, on_written);

	if (status == 0)
		return;
	if (guard_has(guard, GUARD_FAILSTOP))
		fail_append(guard, status);
	end_write(write, guard_inner_status(guard, status));
}

void guard_write_all(struct guard *guard)
{
	while (guard->waiting.first != NULL && !guard->failed)
		guard_write_waiting(guard);
}

void guard_write_close(struct guard *guard)
{
	guard_write_all(guard);
	while (guard->waiting.first != NULL)
		memory_free(guard_appends_take(&guard->waiting));
}

/* ---- append ---- */

/* libraft answers with its last index, whatever was asked: the answer ends where the request does. */
static raft_index end_of_request(const struct guard *guard)
{
	const struct raft_message *message = guard->answering;

	if (guard->raft->state == RAFT_LEADER || message == NULL ||
	    message->type != RAFT_IO_APPEND_ENTRIES)
		return raft_last_index(guard->raft);
	return message->append_entries.prev_log_index + message->append_entries.n_entries;
}

int guard_append(struct raft_io *io, struct raft_io_append *request,
		 const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	struct guard *guard = guard_of(io);

	if (guard->failed)
		return 0;
	struct guard_append *append = memory_zeroed(1, sizeof *append);

	append->outer = request;
	append->done = done;
	append->entries = entries;
	append->count = count;
	append->number = ++guard->appends_submitted;
	append->term = guard->raft->current_term;
	append->leader = guard->raft->state == RAFT_LEADER;
	append->acknowledged = end_of_request(guard);
	append->stored = raft_last_index(guard->raft);
	for (unsigned i = 0; i < count; i++)
		append->bytes += entries[i].buf.len;
	guard->log_bytes += append->bytes;
	if (!append->leader)
		guard->follower_appends++;
	guard_appends_put(&guard->waiting, append);
	if (guard->in_flight.first == NULL)
		guard_write_waiting(guard);
	return 0;
}
