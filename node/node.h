/*
 * One node: what its parts share. No static state: several nodes can live in one process.
 *
 *   listener ─ stream ─ session ─ dispatch ─┬─ append ── route (leader elsewhere) ── peer_client
 *                                           ├─ read ──── workers (LMDB may fault)
 *                                           ├─ subscribe ◄─ notify ◄─ replica.applied
 *                                           └─ admin
 *   replica.pull ─ catch_up ── peer_client
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "base/mailbox.h"
#include "base/workers.h"
#include "node/settings.h"
#include "raft/replica.h"
#include "storage/flusher.h"
#include "storage/store.h"

struct uv_loop_s;
struct append_service;
struct catch_up;
struct deadlines;
struct listener;
struct notifier;
struct reader;
struct router;

struct node {
	struct node_settings settings;
	struct uv_loop_s *loop;
	struct store *store;
	struct flusher *flusher;
	struct replica *replica;
	struct workers *workers; /* reads; results come back by node_post */
	struct listener *listener;
	struct deadlines *deadlines;
	struct append_service *appends;
	struct router *router;
	struct reader *reader;
	struct notifier *notifier;
	struct catch_up *catch_up;
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	int64_t started_ms;
	bool stopping;
	struct node_counters *counters; /* node/stats.h */
};

/* Run `post->run(post)` on the loop thread; any thread may call it. */
struct node_post {
	struct mail mail;
	void (*run)(struct node_post *post);
};
void node_post(struct node *node, struct node_post *post);

/* The node must stop now, without another write: log the message and exit. Loop thread. */
void node_fail(struct node *node, const struct error *error);

/* The status of the replica as of this turn of the loop, cached. Loop thread. */
const struct replica_status *node_replica_status(struct node *node);

#endif
