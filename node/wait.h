/*
 * Waiting until this node may answer a read: until it has applied a position ({at_least}), or until
 * it has applied everything that was acknowledged before the read came (linearizable).
 *
 *   local ─────────────────────────────────────────────────────► may read at once
 *   at_least ────────────────────────────► POSITION ──applied──► reached
 *   linearizable ──► BARRIER ──position──►    │
 *                       └────────────────┬────┘
 *                                     deadline ──► answered with an error
 *
 * Barrier: the leader asks its replica; any other node asks the leader ("$read_barrier"). One
 * question is outstanding at a time; it serves those that had come before it was sent, and who
 * comes later waits for the next one. A question that fails (no leader, connection lost, leader
 * changed) is asked again until those who wait run out of time.
 *
 * Answers given here: NOT_READY {head, wanted} when the position was not reached, NO_LEADER
 * {retry_after_ms} or TIMEOUT {outcome: "none"} when no barrier could be had; NO_LEADER soon on a node
 * that was removed. Loop thread.
 */
#ifndef NODE_WAIT_H
#define NODE_WAIT_H

#include "node/request.h"

struct waits;

enum consistency_kind { CONSISTENCY_LOCAL, CONSISTENCY_AT_LEAST, CONSISTENCY_LINEARIZABLE };

struct consistency {
	enum consistency_kind kind;
	uint64_t position; /* AT_LEAST */
};

/* From the argument `consistency`, local without one; false: wrong, the request has been answered.
 */
bool consistency_from_request(struct request *request, struct consistency *consistency);

/* Embedded in what waits; it must live until done(), or waits_give_up(). */
struct waiter {
	struct request *request; /* the owner's; NULL: there is nobody to answer */
	/* Once. false: the node is stopping, or was removed; the request has been answered so. */
	void (*done)(struct waiter *waiter, bool reached);
	/* private */
	uint64_t position;              /* 0: waits for a barrier */
	size_t place;                   /* in the heap */
	struct waiter *next, *previous; /* among those that wait for a barrier */
	bool asking;
};

struct waits *waits_new(struct node *node);
/* Who waits is answered SHUTTING_DOWN. The memory goes when the loop has closed its timer. */
void waits_free(struct waits *waits);
/* true: it holds already, and done() is not called. `waiter` has its request and done set. */
bool waits_add(struct waits *waits, struct waiter *waiter, struct consistency consistency);
/* request->ended: answers what was missing, if there is anybody to answer; done() is not called. */
void waits_give_up(struct waits *waits, struct waiter *waiter);
/* The head has moved. */
void waits_advance(struct waits *waits, uint64_t head);
/* Leader or role changed: a question to another node than the leader is asked anew. */
void waits_role_changed(struct waits *waits);

/* NOT_READY {head, wanted}: the error of a node that has not what is asked of it. */
void wait_answer_not_ready(struct request *request, uint64_t wanted, const char *message);

/* "$read_barrier" {} → {position}: asked by followers; NOT_LEADER elsewhere. */
void method_read_barrier(struct request *request);

#endif
