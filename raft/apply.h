/*
 * The apply thread: step 7 of the data path. Committed commands wait here in a FIFO; the thread hands one
 * after the other to store_apply and sends them back to the loop when they are done.
 *
 *   loop: apply_put ──► FIFO ──► thread: store_apply ──► done ──► loop: apply_take
 *
 * After an error of the store nothing more is applied: what comes is sent back with that error.
 */
#ifndef RAFT_APPLY_H
#define RAFT_APPLY_H

#include "base/mailbox.h"
#include "storage/flusher.h"

struct apply;
struct batch;

struct apply_item {
	struct mail mail; /* first */
	uint64_t index;   /* 0: a marker, which only passes through */
	uint8_t *body;    /* a command in memory of memory_alloc; the store takes it */
	size_t size;
	bool is_term; /* COMMAND_TERM: of this term … */
	uint64_t term;
	struct batch *batch; /* local proposals that wait for the outcomes, or NULL */
	struct apply_sink sink;
	/* Filled in by the thread. */
	int status;
	struct error error;
	struct apply_result result;
	uint64_t head; /* of the store after it */
	/* A marker's: called by whoever takes it. */
	void (*passed)(void *arg, uint64_t head);
	void *arg;
};

/* `wake` is called on the apply thread when something is there to take. The flusher is told of progress. */
struct apply *apply_new(struct store *store, struct flusher *flusher, void (*wake)(void *arg),
			void *arg);
/* Takes the item (memory_alloc). Loop. */
void apply_put(struct apply *apply, struct apply_item *item);
/* What is done, oldest first, linked by mail.next; the caller frees it. Loop. */
struct apply_item *apply_take(struct apply *apply);
uint64_t apply_backlog_bytes(const struct apply *apply); /* put, not taken back */
uint64_t apply_put_index(const struct apply *apply);     /* of the last command put */
/* The store went forward by other means (ingest) while the FIFO was empty: start from where it is. */
void apply_resync(struct apply *apply);
/* Applies what is in the FIFO, then joins. Everything was taken, or is freed unseen. */
void apply_free(struct apply *apply);

#endif
