/*
 * Catching up: this node's log no longer connects to the cluster's, and raft is closed until the
 * store covers a manifest (replica.h, PULLING). The missing records are read from any other member
 * over the wire protocol and ingested.
 *
 *   pull ─► BEGINNING ─► FETCHING ─► ENDING ─► IDLE          replica_resume()
 *           worker:      pages       worker:
 *           ingest_begin             ingest_end
 *
 *   FETCHING: up to LIMIT_PULLS_IN_FLIGHT pages are asked for ahead, each with its own range of
 *   positions. The first in order is verified and ingested on a worker, one at a time; a page that
 *   was cut short (bytes, or the peer's head) is asked for again from where it ended.
 *
 * Pages are raw: where the peer has dropped superseded checkpoints, a hole takes their place. What a
 * hole lacks may have been the last checkpoint of a consumer as of the manifest; then the peer's own
 * manifest, which comes with each page, becomes the one to reach (pull_page.h). The hard state notes
 * that the store goes beyond what raft knows of (replica_note_pulled).
 *
 * A peer that cannot be reached, does not answer, answers with an error or does not have the
 * records yet: the next one, followers first, with a growing pause once all were tried; for ever. So
 * too one whose records do not parse, or do not follow the head; it is asked again once others' did.
 * A node that is killed meanwhile goes on at its head: replica calls pull again. No member has
 * records that fit, or they lead to another hash than the manifest's: the node fails, with the
 * reason. Progress is logged once a second. Loop thread.
 */
#ifndef NODE_CATCH_UP_H
#define NODE_CATCH_UP_H

#include <stdbool.h>
#include <stdint.h>

struct catch_up;
struct manifest;
struct node;

struct catch_up *catch_up_new(struct node *node);
/* Before it: sessions are gone, the workers are joined, what they posted has run. Handles close
 * later, in the loop. */
void catch_up_free(struct catch_up *catch_up);
/* Bring the store to this manifest, then replica_resume(). None is under way. */
void catch_up_pull(struct catch_up *catch_up, const struct manifest *manifest);

struct catch_up_status {
	bool active;
	uint64_t from, head, wanted; /* positions: where it began, where it is, where it ends */
	uint64_t records_per_second;
};
void catch_up_get_status(const struct catch_up *catch_up, struct catch_up_status *status);

#endif
