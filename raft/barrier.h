/*
 * Points to read at. One term marker (COMMAND_TERM) in the log serves all who asked before it was
 * proposed: when it has passed the apply thread, the head of the store covers everything that was
 * acknowledged before they asked. (It is a command, not a barrier of libraft: the store's applied index
 * follows it, so a node that only reads can drop its log, too.)
 *
 *   waiting ─► carried by a marker: proposed, committed, through the FIFO ─► ready(position)
 *
 * Loop thread only.
 */
#ifndef RAFT_BARRIER_H
#define RAFT_BARRIER_H

#include "raft/apply.h"

struct barrier_wait;

struct barrier {
	struct barrier_wait *waiting, **waiting_last;
	struct barrier_wait *carried; /* by the marker in the log */
	uint64_t index;               /* of the marker in the log; 0: there is none */
	uint32_t markers;             /* in the FIFO */
};

void barrier_init(struct barrier *barrier);
void barrier_add(struct barrier *barrier, void (*ready)(void *arg, uint64_t position), void *arg);
/* Whether a marker is to be proposed now; then barrier_proposed with its index. */
bool barrier_wants(const struct barrier *barrier);
void barrier_proposed(struct barrier *barrier, uint64_t index);
/* A term marker is committed: if it is the barrier's, the item carries on who waits. */
void barrier_committed(struct barrier *barrier, uint64_t index, struct apply_item *item);
/* This node does not lead (any more): all who wait are told so. What is in the FIFO goes on. */
void barrier_drop(struct barrier *barrier);
bool barrier_is_idle(const struct barrier *barrier);

#endif
