/*
 * Reading one's own writes on one connection. An append that was forwarded is answered when the leader
 * has applied it; this node applies it a moment later. A read of the same connection with consistency
 * "local" that comes in between waits for that moment, at most OWN_WRITES_MS: then it is answered with
 * what is there. So a client of one node finds what it wrote, and nobody waits for a node cut off.
 * Loop thread.
 */
#ifndef NODE_OWN_WRITES_H
#define NODE_OWN_WRITES_H

#include "node/request.h"

#define OWN_WRITES_MS 1000 /* and no more than half of the request's time */

struct own_writes;

struct own_writes *own_writes_new(struct node *node);
void own_writes_free(struct own_writes *own_writes); /* what waits is answered SHUTTING_DOWN */
/* True: the request is held, and given to its method later. Takes the reference then. */
bool own_writes_hold(struct own_writes *own_writes, struct request *request);
/* The head has moved. */
void own_writes_advance(struct own_writes *own_writes);
/* Now and then while requests wait: those that have waited long enough are let go. */
void own_writes_check(struct own_writes *own_writes, int64_t now_ms);

#endif
