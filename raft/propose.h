/*
 * Group commit: step 5 of the data path. Proposals of one turn of the loop are gathered into one command
 * (storage/command.h) of up to LIMIT_ENTRY_BYTES; an append above that makes an entry of its own. Fewer
 * than PROPOSE_EAGER entries in flight: sent at once; else only full ones, until one completes; never
 * more than LIMIT_ENTRIES_IN_FLIGHT. Order is kept.
 *
 *   proposal ─► queue ─► batch, proposed ─► committed ─► applied (decided) ─► done
 *                │            └─ leadership lost: PROPOSAL_UNKNOWN
 *                └─ PROPOSAL_NOT_PROPOSED
 *
 * Knows nothing of libraft: `submit` proposes a payload. Loop thread, but for propose_sink.
 */
#ifndef RAFT_PROPOSE_H
#define RAFT_PROPOSE_H

#include "raft/replica.h"
#include "storage/pack.h"

#define PROPOSE_EAGER 2u

/* A run of proposals in order. */
struct proposals {
	struct proposal *first;
	struct proposal **last;
	uint32_t count;
};

struct batch {
	struct batch *next; /* in flight, by index */
	uint64_t index;
	struct proposals proposals;
	struct proposal *undecided; /* apply thread: the one that is decided next */
	bool settled;               /* libraft has called back for it */
	bool applying;              /* handed to the apply thread */
	void *request;              /* of the submitter, freed with memory_free */
};

struct propose_options {
	void *arg;
	/*
	 * Propose `payload` (raft_malloc, taken when 0 is returned): the body is in place, to be sealed.
	 * Sets batch->index and batch->request. Not 0: not the leader now.
	 */
	int (*submit)(void *arg, struct batch *batch, uint8_t *payload, size_t body_bytes);
	bool pack; /* what gets smaller */
};

struct propose {
	struct propose_options options;
	struct proposals queue;
	uint64_t queue_bytes;
	struct batch *in_flight; /* oldest first */
	struct batch **in_flight_last;
	uint32_t unsettled;                /* batches that libraft has not called back for */
	struct proposals unknown, refused; /* to be told by propose_tell */
	struct pack pack;
	struct buffer gathered; /* a batch that is to be packed */
};

void proposals_init(struct proposals *proposals);
/* Take the oldest one out. */
struct proposal *proposals_take(struct proposals *proposals);

void propose_init(struct propose *propose, const struct propose_options *options);
void propose_close(struct propose *propose); /* nothing is left in it */
void propose_add(struct propose *propose, struct proposal *proposal);
/* Propose what may be proposed now. */
void propose_flush(struct propose *propose);
bool propose_is_idle(const struct propose *propose); /* nothing queued, nothing in flight */

/* The command at this index is about to be applied: its batch, if it was proposed here; NULL else. */
struct batch *propose_take_applying(struct propose *propose, uint64_t index);
/* What the store tells of a batch; apply thread. */
struct apply_sink propose_sink(struct batch *batch);
/* libraft's callback for a batch; `lost`: leadership was lost, what became of it is not known. */
void propose_settled(struct propose *propose, struct batch *batch, bool lost);
/* A batch that was handed to the apply thread came back: done() is called now. */
void propose_applied(struct batch *batch, enum proposal_result result);
/* No leader any more: the queue is refused; batches that are not applying and are settled are unknown. */
void propose_drop(struct propose *propose);
/* Call done() for what was refused or is unknown. */
void propose_tell(struct propose *propose);

#endif
