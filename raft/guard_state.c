/*
 * What the guard remembers beside libraft, and the check of what libraft loads.
 *
 * Each change of term and vote is saved in our own checksummed record before libraft's, and each
 * truncation before it happens; how far the log reaches is noted when appends are done. So our record
 * is never behind libraft's metadata in term and vote, and never ahead of its log.
 *
 * At start, a record that is one step ahead of the metadata is a crash between the two writes: the
 * metadata is brought up to date. Anything else that does not fit is damage: a bit flipped in the
 * metadata, which has no checksum, or a log that lost its tail in an open segment, which libraft takes
 * for a torn write. Then loading fails with RAFT_CORRUPT and a message, and nothing was changed.
 */
#include "raft/guard_internal.h"
#include "raft/payload.h"
#include "raft/wire.h"
#include "storage/manifest.h"

#include <errno.h>
#include <stdio.h>

#define HOW_TO_MEND                                                                                \
	"Empty this node's directory, remove it from the cluster and add it again under a new id"

struct loaded {
	raft_term term;
	raft_id vote;
	const struct raft_snapshot *snapshot;
	raft_index start;
	struct raft_entry *entries;
	size_t count;
};

static raft_index last_of(const struct loaded *loaded)
{
	if (loaded->count > 0)
		return loaded->start + loaded->count - 1;
	return loaded->snapshot != NULL ? loaded->snapshot->index : 0;
}

static bool is_nothing(const struct hardstate *hard)
{
	return hard->term == 0 && hard->vote == 0 && hard->synced_index == 0;
}

/* ---- saving ---- */

static void save(struct guard *guard, const struct hardstate *hard)
{
	const struct hardstate_keeper *keeper = &guard->options.keeper;
	struct error error;

	if (guard_has(guard, GUARD_MEMORY) && keeper->save != NULL &&
	    keeper->save(keeper->impl, hard, &error) < 0) {
		error_prefix(&error, "term and vote could not be recorded");
		guard_fail(guard, &error);
		return;
	}
	guard->hard = *hard;
}

void guard_note_synced(struct guard *guard, raft_index index)
{
	const struct hardstate_keeper *keeper = &guard->options.keeper;

	if (index <= guard->hard.synced_index)
		return;
	guard->hard.synced_index = index;
	if (guard_has(guard, GUARD_MEMORY) && keeper->note != NULL)
		keeper->note(keeper->impl, &guard->hard);
}

void guard_forget_synced(struct guard *guard, raft_index last)
{
	struct hardstate hard = guard->hard;

	if (hard.synced_index <= last)
		return;
	hard.synced_index = last;
	save(guard, &hard);
}

/* Manifests need not grow with the index of the snapshots that they are in. */
static uint64_t pulled_by(const struct raft_snapshot *snapshot)
{
	struct manifest manifest;
	struct error error;

	if (snapshot->n_bufs != 1 ||
	    manifest_decode(span_of(snapshot->bufs[0].base, snapshot->bufs[0].len), &manifest,
			    &error) < 0)
		return 0;
	return manifest.applied_index;
}

void guard_record_install(struct guard *guard, const struct raft_snapshot *snapshot)
{
	struct hardstate hard = guard->hard;
	uint64_t pulled = pulled_by(snapshot);

	if (hard.synced_index <= snapshot->index && pulled <= hard.pulled_index)
		return;
	if (hard.synced_index > snapshot->index)
		hard.synced_index = snapshot->index;
	if (pulled > hard.pulled_index)
		hard.pulled_index = pulled;
	save(guard, &hard);
}

int guard_set_term(struct raft_io *io, raft_term term)
{
	struct guard *guard = guard_of(io);
	struct hardstate hard = guard->hard;

	hard.term = term;
	hard.vote = 0;
	ASSERT(term >= guard->hard.term);
	if (!guard->failed)
		save(guard, &hard);
	if (guard->failed)
		return 0;
	int status = guard_inner_status(guard, guard->inner->set_term(guard->inner, term));

	return guard_fail_stop(guard, status, "libraft's term could not be written");
}

int guard_set_vote(struct raft_io *io, raft_id vote)
{
	struct guard *guard = guard_of(io);
	struct hardstate hard = guard->hard;

	hard.vote = vote;
	if (!guard->failed)
		save(guard, &hard);
	if (guard->failed)
		return 0;
	int status = guard_inner_status(guard, guard->inner->set_vote(guard->inner, vote));

	return guard_fail_stop(guard, status, "libraft's vote could not be written");
}

/* libraft gives a bootstrapped node term 1. */
int guard_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
	struct guard *guard = guard_of(io);
	const struct hardstate hard = {.term = 1};
	int status = guard->inner->bootstrap(guard->inner, configuration);

	if (status == 0)
		save(guard, &hard);
	return guard_inner_status(guard, guard->failed ? RAFT_IOERR : status);
}

/* ---- checking ---- */

static int check_payloads(const struct loaded *loaded, struct error *error)
{
	for (size_t i = 0; i < loaded->count; i++) {
		const struct raft_entry *entry = &loaded->entries[i];
		raft_index index = loaded->start + i;
		struct payload payload;

		if (entry->type == RAFT_CHANGE &&
		    !wire_holds_configuration(span_of(entry->buf.base, entry->buf.len)))
			return error_set(error, -EBADMSG,
					 "the raft log is damaged at index %llu: it is cut short "
					 "where it says who the members are",
					 index);
		if (entry->type != RAFT_COMMAND)
			continue;
		if (payload_open(span_of(entry->buf.base, entry->buf.len), index, &payload, error) <
		    0) {
			error_prefix(error, "the raft log is damaged at index %llu", index);
			return -EBADMSG;
		}
		if (payload.term != entry->term)
			return error_set(error, -EBADMSG,
					 "the raft log is damaged at index %llu: an entry of term "
					 "%llu has a payload of term %" PRIu64,
					 index, entry->term, payload.term);
	}
	return 0;
}

static int check_length(const struct guard *guard, const struct loaded *loaded, struct error *error)
{
	raft_index last = last_of(loaded);
	uint64_t synced = guard->options.loaded.synced_index;
	uint64_t applied = guard->options.store_applied_index;

	if (last < synced)
		return error_set(error, -EBADMSG,
				 "the raft log ends at index %llu, but reached %" PRIu64
				 " on stable storage: its tail is damaged or gone. " HOW_TO_MEND,
				 last, synced);
	if (last < applied && guard->options.loaded.pulled_index < applied)
		return error_set(
			error, -EBADMSG,
			"the raft log ends at index %llu, but the store has applied %" PRIu64
			": entries of the log are gone. " HOW_TO_MEND,
			last, applied);
	return 0;
}

static bool is_interrupted_save(const struct hardstate *hard, const struct loaded *loaded)
{
	if (hard->term == loaded->term)
		return loaded->vote == 0;
	return hard->term > loaded->term && hard->vote == 0;
}

static int check_term(const struct guard *guard, const struct loaded *loaded, struct error *error)
{
	const struct hardstate *hard = &guard->options.loaded;
	bool equal = hard->term == loaded->term && hard->vote == loaded->vote;

	if (equal || is_nothing(hard) || is_interrupted_save(hard, loaded))
		return 0;
	return error_set(error, -EBADMSG,
			 "libraft's metadata says term %llu and vote %llu, our record term %" PRIu64
			 " and vote %" PRIu64 ": one of them is damaged. " HOW_TO_MEND,
			 loaded->term, loaded->vote, hard->term, hard->vote);
}

/* ---- loading ---- */

/* Our record, when it is ahead, becomes what libraft starts with; a first one is made of what is. */
static int adopt(struct guard *guard, struct loaded *loaded)
{
	struct hardstate hard = guard->options.loaded;
	int status = 0;

	if (is_nothing(&hard)) {
		hard.term = loaded->term;
		hard.vote = loaded->vote;
		hard.synced_index = last_of(loaded);
		if (!is_nothing(&hard))
			save(guard, &hard);
		return guard->failed ? RAFT_IOERR : 0;
	}
	if (hard.term != loaded->term)
		status = guard->inner->set_term(guard->inner, hard.term);
	if (status == 0 && hard.vote != 0 &&
	    (hard.vote != loaded->vote || hard.term != loaded->term))
		status = guard->inner->set_vote(guard->inner, hard.vote);
	loaded->term = hard.term;
	loaded->vote = hard.vote;
	return status;
}

/*
 * libraft frees a batch when no entry of it is in the log any more, although messages that are being
 * sent still refer to it, and then once more when they are done. Without batches it counts right.
 */
static void split_batches(struct loaded *loaded)
{
	void *batch = NULL;

	for (size_t i = 0; i < loaded->count; i++) {
		struct raft_entry *entry = &loaded->entries[i];
		void *copy = raft_malloc(entry->buf.len);

		ASSERT(copy != NULL);
		if (entry->buf.len > 0)
			memcpy(copy, entry->buf.base, entry->buf.len);
		entry->buf.base = copy;
		/* The entries of a batch follow each other. */
		if (entry->batch != batch)
			raft_free(batch);
		batch = entry->batch;
		entry->batch = NULL;
	}
	raft_free(batch);
}

static void free_loaded(struct loaded *loaded, struct raft_snapshot *snapshot)
{
	void *batch = NULL;

	for (size_t i = 0; i < loaded->count; i++) {
		if (loaded->entries[i].batch != batch)
			raft_free(loaded->entries[i].batch);
		batch = loaded->entries[i].batch;
	}
	raft_free(loaded->entries);
	if (snapshot == NULL)
		return;
	raft_configuration_close(&snapshot->configuration);
	for (unsigned i = 0; i < snapshot->n_bufs; i++)
		raft_free(snapshot->bufs[i].base);
	raft_free(snapshot->bufs);
	raft_free(snapshot);
}

static int check(struct guard *guard, struct loaded *loaded)
{
	struct error *error = &guard->damage;
	int status = 0;

	if (guard_has(guard, GUARD_PAYLOAD))
		status = check_payloads(loaded, error);
	if (status == 0 && guard_has(guard, GUARD_MEMORY))
		status = check_length(guard, loaded, error);
	if (status == 0 && guard_has(guard, GUARD_MEMORY))
		status = check_term(guard, loaded, error);
	if (status < 0) {
		snprintf(guard->io.errmsg, sizeof guard->io.errmsg, "%s", error->message);
		return RAFT_CORRUPT;
	}
	if (!guard_has(guard, GUARD_MEMORY))
		return 0;
	return guard_inner_status(guard, adopt(guard, loaded));
}

int guard_load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
	       raft_index *start, struct raft_entry *entries[], size_t *count)
{
	struct guard *guard = guard_of(io);
	int status = guard->inner->load(guard->inner, term, vote, snapshot, start, entries, count);

	if (status != 0)
		return guard_inner_status(guard, status);
	struct loaded loaded = {
		.term = *term,
		.vote = *vote,
		.snapshot = *snapshot,
		.start = *start,
		.entries = *entries,
		.count = *count,
	};

	status = check(guard, &loaded);
	if (status != 0) {
		free_loaded(&loaded, *snapshot);
		return status;
	}
	if (guard_has(guard, GUARD_BATCH))
		split_batches(&loaded);
	*term = loaded.term;
	*vote = loaded.vote;
	for (size_t i = 0; i < loaded.count; i++)
		guard->log_bytes += loaded.entries[i].buf.len;
	guard_members_loaded(guard, *snapshot, loaded.start, loaded.entries, loaded.count);
	return 0;
}
