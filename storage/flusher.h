/*
 * The flush thread of a node (step 9). It flushes the store when
 *
 *   - the tail holds half of what it may (options.tail_bytes), or
 *   - the oldest record or command that is not durable is age_ms old, so that an idle node has
 *     little to replay, or
 *   - somebody asked for an index (libraft's snapshots do).
 *
 * After a flush it drops superseded checkpoints, when enough have gathered (store_trim).
 *
 * Threads: any, but for new and free. Callbacks come from the flush thread, without any lock held.
 */
#ifndef STORAGE_FLUSHER_H
#define STORAGE_FLUSHER_H

#include "storage/store.h"

struct flusher;

struct flusher_options {
	struct store *store; /* outlives the flusher */
	uint64_t tail_bytes; /* flush at so many; half of the store's tail_bytes_max */
	uint32_t age_ms;     /* LIMIT_FLUSH_AGE_MS */
	/* A flush has ended: store_get_manifest tells what is durable now. May be NULL. */
	void (*flushed)(void *arg);
	/* A flush or a trim failed: the node must stop. Called once; nothing is flushed from then on. */
	void (*failed)(void *arg, const struct error *error);
	void *arg;
};

/* Starts the thread. */
struct flusher *flusher_new(const struct flusher_options *options);
/* Flushes what there is (unless a flush failed before), ends the thread. Nobody waits any more. */
void flusher_free(struct flusher *flusher);

/* Call after each store_apply that changed something: cheap unless there is something to do. */
void flusher_notice(struct flusher *flusher);

/*
 * Ask that everything up to this raft index becomes durable. An index that is not applied yet is
 * waited for: it is that of a command (libraft's barriers and changes of membership never come here).
 * Returns at once.
 */
void flusher_request(struct flusher *flusher, uint64_t index);
/* flusher_request, then wait: 0, -ETIMEDOUT, or -EIO when a flush failed. */
int flusher_wait(struct flusher *flusher, uint64_t index, uint32_t timeout_ms);

#endif
