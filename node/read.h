/*
 * Reads: read_stream, read_all, read_event, stream_info (read.c); load; count, position_at (count.c);
 * stream_list, category_list, type_list (names.c). PROTOCOL, section "Read".
 *
 *   request ─ arguments ─ wait.h (consistency) ─ lane ─► worker: store_*, ─ node_post ─► answer
 *                                                  ▲        result encoded behind its header
 *                                                  └ again ─┘ a count, a part at a time
 *
 * A lane is what one session has under way. It starts the next read when the session's unsent bytes
 * are below LIMIT_OUT_QUEUE_BYTES and its pages under way would stay within LIMIT_SESSION_READS and
 * LIMIT_SESSION_READ_BYTES; lanes take turns for the LIMIT_NODE_READ_BYTES of the node. So what a
 * reader can make a node hold is bounded, and who reads a lot does not hold up who reads little.
 *
 * What PROTOCOL leaves open:
 * - `from` 0 is the same as none. Forward beyond the end: no events, `end` true, `next` = `from`,
 * so that reading on finds what comes there. Backward beyond the end: from the last on.
 * - `next` is the `from` of the next page: one behind the last record looked at (forward), one
 * before it (backward; 0 with `end` true once the first was given). A page can have fewer events
 * than `limit`, even none, without `end`: at its bytes, or after LIMIT_SCAN_RECORDS system records.
 * - `max_bytes` counts the events' bytes; above what a message can carry it is that. A page has at
 * least one event if there is one.
 * - read_event wants exactly one of `position`, `id`, and `stream` with `version`. A position finds
 *   system records too.
 * - Streams whose name begins with `$` can be read by name.
 * - load gives up to `limit` events (default LIMIT_READ_EVENTS) and takes `max_bytes`, the snapshot
 *   included; with `end` false the rest is read by read_stream from `next`.
 * - count counts "all" without a query. It is of the head that it began at, and given up when its
 *   time is over.
 * - position_at: the head + 1 when no record is as young as that.
 * - lists: `next` is the last name of the page, nil at the end.
 * - a node that belongs to no cluster yet answers NOT_READY, with `wanted` 0.
 */
#ifndef NODE_READ_H
#define NODE_READ_H

#include "node/request.h"
#include "storage/query.h"

struct reader;
struct waits;

struct reader *reader_new(struct node *node);
/*
 * Before it: sessions are gone, the workers are joined, what they posted has run. Who waits is answered
 * SHUTTING_DOWN. Its timers close later, in the loop.
 */
void reader_free(struct reader *reader);
struct waits *reader_waits(struct reader *reader);
struct pages *reader_pages(struct reader *reader);

struct reader_status {
	uint64_t waiting; /* for a position, a barrier or their turn */
	uint64_t running; /* on workers */
	uint64_t running_bytes_max;
	uint64_t reads, events, bytes; /* answered since the start */
};
void reader_get_status(const struct reader *reader, struct reader_status *status);

/* The argument `query`; its names point into the params. False: the request has been answered. */
bool query_from_request(struct request *request, struct query *query, bool *given);
/* A node that no cluster has let in yet shows no empty store: true, NOT_READY has been answered. */
bool read_refuse_before_joining(struct request *request);

void method_read_stream(struct request *request);
void method_read_all(struct request *request);
void method_read_event(struct request *request);
void method_stream_info(struct request *request);
void method_load(struct request *request);
void method_count(struct request *request);
void method_position_at(struct request *request);
void method_stream_list(struct request *request);
void method_category_list(struct request *request);
void method_type_list(struct request *request);

#endif
