/*
 * Subscriptions (PROTOCOL, section "Subscribe"): a cursor that reads history in pages and goes live
 * exactly where history ends.
 *
 *                       ┌───────────────── more ─────────────────┐
 *              subscribe▼              page                      │
 *   LOCATING ─────► QUEUED ──slot──► READING ──┬── all sent ──► LIVE   fed by the notifier
 *   (after: "end"     ▲ ▲                      │                 │
 *    of a stream)     │ │                      ▼                 │  fell_behind
 *                     │ └──drained─────── DRAINING ◄─────────────┤  unsent bytes over their share
 *                     └────credit──────── UNPAID ◄───────────────┘  window used up
 *
 *   any of them ──unsubscribe, session gone, dropped──► ENDED
 *
 * Crossing: a page that ends at head H covers everything up to H. Is the notifier's `seen` ≤ H,
 * then every later record is handed out later, and what is handed out again (up to H) is skipped by
 * the cursor; else H + 1 … seen is taken from the tail at once (or by another page). So there is no
 * gap and no repeat, and `caught_up` is true when it is said.
 *
 * Memory: a subscription without a page is a small struct; at most LIMIT_SUBSCRIPTION_PAGES pages
 * of a node are in memory, each for a moment: no read transaction and no page is held for a slow
 * reader. Queries are shared by those that follow an equal one, and bounded in all (followed.h).
 *
 * What PROTOCOL leaves open:
 * - exactly one of `stream` and `query` is given; `system: true` with `query: "all"` shows system
 *   records, too. `batch`: 1…10000 events in a notification (default 500; fewer when they are
 * large).
 * - the last element of every notification is a position in the log: of `events` that of the last
 *   event in it; of the others, that up to which nothing more is to come. `after` is a version for
 *   a stream and a position for a query: who follows a stream resumes after the version of its last
 * event.
 * - `caught_up` comes once each time that it goes live, after "end" too.
 * - a window that is used up when there is more to send is falling behind, too.
 * - `window` 0: nothing but what `credit` allows. Credit without a window, or for no subscription
 * of this connection, is ignored.
 * - `checkpoint` is for queries: in history when LIMIT_CHECKPOINT_POSITIONS have passed without a
 * match; live see progress.c.
 * - `dropped` comes with SHUTTING_DOWN and INTERNAL; resume on another node.
 * - more than LIMIT_SUBSCRIPTIONS on a connection, or queries of more than LIMIT_FOLLOWED_BYTES on the
 * node: OVERLOADED {retry_after_ms, reason}.
 * - on a node that belongs to no cluster yet: NOT_READY.
 * Loop thread.
 */
#ifndef NODE_SUBSCRIBE_H
#define NODE_SUBSCRIBE_H

#include "base/span.h"

struct request;
struct session;

void method_subscribe(struct request *request);
void method_unsubscribe(struct request *request);
/* The notification ["credit", params]; what is malformed in it is ignored. */
void subscribe_credit(struct session *session, struct span params);
/* The session goes: its subscriptions end without a word. */
void subscriptions_end(struct session *session);

#endif
