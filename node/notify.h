/*
 * The notifier: what happens when records have been applied. It wakes reads that wait for a
 * position (wait.h), and feeds the live subscriptions (subscribe.h).
 *
 *   replica.applied ──┐                      ┌─ tail visit (memory) ─┐
 *   catch_up ingested ┴─► target moves on ───┤                       ├─► one pass ─► deliveries
 *                                            └─ page on a worker ────┘
 *
 * `seen` is the last position that was handed to live subscriptions. Records seen + 1 … target are
 * taken from the tail on the loop, in pieces. When a flush has moved them out of the tail
 * meanwhile, a worker reads a page of them, and the live subscriptions do not notice. The one pass
 * looks each record's stream up among the topics (streams that somebody follows), its names among
 * the labels of the queries that somebody follows (followed.h), and copies what somebody wants
 * (feed.c); so its cost is records + deliveries, however many idle subscriptions there are.
 * Loop thread.
 */
#ifndef NODE_NOTIFY_H
#define NODE_NOTIFY_H

#include <stdint.h>

struct node;
struct notifier;

/* node->store is open. */
struct notifier *notifier_new(struct node *node);
/* Before it: sessions are gone, the workers are joined, what they posted has run. */
void notifier_free(struct notifier *notifier);
/* Records first…last can be read since before this call. */
void notifier_applied(struct notifier *notifier, uint64_t first, uint64_t last);
/* Leader, role or term changed. */
void notifier_role_changed(struct notifier *notifier);
/* The node is stopping: every subscription is told so (`dropped`, SHUTTING_DOWN) and ends. */
void notifier_stop(struct notifier *notifier);

struct notifier_status {
	uint64_t subscriptions, live;
	uint64_t seen;          /* last position handed out */
	uint64_t events, bytes; /* sent to subscribers since the start */
	uint64_t fell_behind;   /* how often one did */
	uint64_t queries;       /* different ones that are followed */
	uint64_t query_bytes;
};
void notifier_get_status(const struct notifier *notifier, struct notifier_status *status);

#endif
