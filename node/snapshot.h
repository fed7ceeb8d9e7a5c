/*
 * Snapshots of streams: what their clients made of the events up to a version, kept beside them (PROTOCOL,
 * section "Snapshots"; storage/system.h). Writes go the way of write.h, reads that of read.h.
 *
 * What PROTOCOL leaves open:
 * - putting one has no effect on those before it: an older one is found by `max_version`.
 * - what is found is the one that was stored last, not the one with the highest version.
 * - deleting takes all that were stored before.
 *
 * Whether there is one to delete is not among the rules of the machine. So a worker looks first, and the
 * stream of snapshots must still be at the version that it saw when the answer is decided, be it to delete
 * or to say NOT_FOUND; else it looks again:
 *
 *   look (worker) ─► propose: at that version? ─ yes ─► answered
 *        └──────────────── no ◄──┘
 */
#ifndef NODE_SNAPSHOT_H
#define NODE_SNAPSHOT_H

#include "node/request.h"

void method_snapshot_put(struct request *request);
void method_snapshot_get(struct request *request);
void method_snapshot_delete(struct request *request);

#endif
