/*
 * The methods: one table feeds the declarations, the dispatch and the documentation. A handler gets a
 * request of which it owns one reference: it answers, at once or later, and releases it.
 */
#ifndef NODE_METHODS_H
#define NODE_METHODS_H

#include "node/request.h"

enum method_flag {
	METHOD_BEGINS =
		1, /* begins something: refused with SHUTTING_DOWN once the node is stopping */
	METHOD_READS = 2,   /* sees what its connection wrote (own_writes.h) */
	METHOD_PRIVATE = 4, /* between nodes; not for clients, not in the documentation */
	METHOD_EMPTY = 8,   /* writes, and its result is {} (write.h) */
	METHOD_UNORDERED =
		16,        /* keeps no order with what else its connection sends to the leader */
	METHOD_BY_ID = 32, /* with ids it may be proposed twice: it happens once */
};

/* X(name on the wire, handler, flags) — in order of how often they are asked for */
#define METHOD_TABLE(X)                                                                            \
	X("append", method_append, METHOD_BEGINS | METHOD_BY_ID)                                   \
	X("read_stream", method_read_stream, METHOD_READS)                                         \
	X("read_all", method_read_all, METHOD_READS)                                               \
	X("read_event", method_read_event, METHOD_READS)                                           \
	X("$read_barrier", method_read_barrier, METHOD_PRIVATE)                                    \
	X("checkpoint_put", method_checkpoint_put, METHOD_BEGINS)                                  \
	X("checkpoint_get", method_checkpoint_get, METHOD_READS)                                   \
	X("ping", method_ping, 0)                                                                  \
	X("hello", method_hello, 0)                                                                \
	X("stream_info", method_stream_info, METHOD_READS)                                         \
	X("subscribe", method_subscribe, METHOD_BEGINS)                                            \
	X("unsubscribe", method_unsubscribe, 0)                                                    \
	X("load", method_load, METHOD_READS)                                                       \
	X("count", method_count, METHOD_READS)                                                     \
	X("position_at", method_position_at, METHOD_READS)                                         \
	X("stream_list", method_stream_list, METHOD_READS)                                         \
	X("category_list", method_category_list, METHOD_READS)                                     \
	X("type_list", method_type_list, METHOD_READS)                                             \
	X("checkpoint_list", method_checkpoint_list, METHOD_READS)                                 \
	X("checkpoint_delete", method_checkpoint_delete, METHOD_BEGINS | METHOD_EMPTY)             \
	X("snapshot_put", method_snapshot_put, METHOD_BEGINS | METHOD_EMPTY)                       \
	X("snapshot_get", method_snapshot_get, METHOD_READS)                                       \
	X("snapshot_delete", method_snapshot_delete, METHOD_BEGINS | METHOD_EMPTY)                 \
	X("stats", method_stats, 0)                                                                \
	X("digest", method_digest, METHOD_READS)                                                   \
	X("cluster_status", method_cluster_status, 0)                                              \
	X("cluster_add", method_cluster_add, METHOD_BEGINS | METHOD_UNORDERED)                     \
	X("cluster_assign", method_cluster_assign, METHOD_BEGINS | METHOD_UNORDERED)               \
	X("cluster_remove", method_cluster_remove, METHOD_BEGINS | METHOD_UNORDERED)               \
	X("cluster_transfer", method_cluster_transfer, METHOD_BEGINS | METHOD_UNORDERED)           \
	X("backup", method_backup, METHOD_BEGINS)

#define X(name, handler, flags) void handler(struct request *request);
METHOD_TABLE(X)
#undef X

struct method {
	const char *name;
	void (*handle)(struct request *request);
	unsigned flags;
};

/* NULL when there is none of that name. */
const struct method *method_find(struct span name);

#endif
