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
#include "base/spare.h"
#include "base/workers.h"
#include "node/input_bound.h"
#include "node/settings.h"
#include "raft/replica.h"
#include "storage/flusher.h"
#include "storage/store.h"

struct uv_loop_s;
struct append_service;
struct backup_service;
struct node_inside;
struct own_writes;
struct catch_up;
struct deadlines;
struct listener;
struct log_rest;
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
	struct own_writes *own_writes;
	struct reader *reader;
	struct notifier *notifier;
	struct log_rest *log_rest;
	struct catch_up *catch_up;
	struct backup_service *backup;
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	int64_t started_ms;
	bool stopping;
	uint32_t writes_in_flight;      /* node/write.c counts them */
	struct spare spare_requests;    /* private to request.c */
	struct spare spare_writes;      /* private to write.c */
	uint64_t unsent_bytes;          /* of all sessions; node/session.c counts them */
	struct input_bound input;       /* the same */
	struct node_counters *counters; /* node/stats.h */
	struct node_inside *inside;     /* private to node.c */
};

/* What a start that failed is about: the exit codes of annald. */
enum node_exit {
	NODE_EXIT_OK = 0,
	NODE_EXIT_USAGE = 1,     /* flags, environment, configuration */
	NODE_EXIT_PORT = 2,      /* an address cannot be listened on */
	NODE_EXIT_DIRECTORY = 3, /* the data folder: unreadable, in use, somebody else's */
	NODE_EXIT_DAMAGE = 4,    /* the data is damaged */
	NODE_EXIT_OTHER = 5,     /* the data is another cluster's or node's */
	NODE_EXIT_FAILED = 71,   /* while running: an error after which nothing may be written */
	NODE_EXIT_SIGNAL = 130,  /* a second signal */
};

/*
 * Start a node; the settings are prepared. NODE_EXIT_OK, or what is wrong, with a message for the
 * operator: then nothing was touched, but for a data folder that was made and is empty of data.
 */
enum node_exit node_start(struct node **node, const struct node_settings *settings,
			  struct error *error);
/* Serve until node_stop is done: the loop runs in the calling thread. Frees the node. */
void node_run(struct node *node);
/* SIGTERM and SIGINT stop it; another one while it stops ends the process at once. */
void node_stop_on_signals(struct node *node);
/* Finish what is in flight, hand leadership over, flush; at most NODE_GRACE_MS. Loop thread. */
#define NODE_GRACE_MS 5000
void node_stop(struct node *node);

/* Run `post->run(post)` on the loop thread; any thread may call it. */
struct node_post {
	struct mail mail;
	void (*run)(struct node_post *post);
};
void node_post(struct node *node, struct node_post *post);

/* The node must stop now, without another write: log the message and exit. Any thread. */
_Noreturn void node_fail(struct node *node, const struct error *error);

/* The status of the replica as of this turn of the loop, cached. Loop thread. */
const struct replica_status *node_replica_status(struct node *node);
#define NODE_REMOVED_MESSAGE "this node was removed from the cluster: connect to one of its members"

#endif
