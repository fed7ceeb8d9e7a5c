/*
 * The raft part of a data directory whose node does not run: what it holds, and how it is made to begin
 * anew behind a snapshot.
 *
 * A store that was not filled by its own log (restored from a backup, or all that is left of a cluster)
 * must never be told of by a log that begins at index 1: a node that is added later would apply that log
 * to an empty store. So the directory gets a snapshot instead of entries: it holds the store's manifest and
 * a configuration with this node as the only voter, at an index that the store has reached. Whoever is
 * added gets that snapshot first, and pulls the records (docs/decisions/0005).
 *
 * The caller holds the lock of the directory, and keeps a mark in it until all is done. Each function may
 * be called again after a crash at any moment. Blocking; one thread.
 */
#ifndef RAFT_OFFLINE_H
#define RAFT_OFFLINE_H

#include "raft/replica.h"

struct offline;

struct offline_options {
	const char *data_dir;
	const char *cluster_name;
	uint64_t node_id;
	uint64_t segment_bytes;
	uint64_t store_applied_index; /* as the store says; the log must reach it */
};

struct offline_facts {
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	uint64_t term, last_index, last_term;
	bool has_snapshot;
	uint64_t snapshot_index;
	struct manifest manifest; /* of the snapshot */
	uint32_t member_count;    /* of the last configuration, agreed upon or not */
	struct member members[LIMIT_MEMBERS];
};

/* Whose directory it is: -ENOENT when raft was never there, -EBADMSG when the file is damaged. */
int offline_node_id(const char *data_dir, uint64_t *node_id, struct error *error);

/*
 * Read what is there, checked as at a start. An empty directory is a log without entries. -EBADMSG: it is
 * damaged. -EEXIST: it is another node's.
 */
int offline_open(struct offline **offline, const struct offline_options *options,
		 struct error *error);
void offline_close(struct offline *offline);
const struct offline_facts *offline_facts(const struct offline *offline);
/* The commands behind an index, whether they were agreed upon or not, in order, as long as it is 0. */
int offline_each_command(struct offline *offline, uint64_t after,
			 int (*visit)(void *arg, uint64_t index, struct span body,
				      struct error *error),
			 void *arg, struct error *error);

/*
 * Draw the id of a new cluster of this node alone, where others reach it. The directory does not know it
 * yet. -EINVAL: the addresses are none.
 */
int offline_new_cluster(struct offline *offline, const char *peer_advertise,
			const char *client_advertise, uint8_t cluster_id[CLUSTER_ID_BYTES],
			struct error *error);
/*
 * Begin that cluster: a new term, the snapshot at `index` (not below any that the log has reached) with this
 * manifest, instead of the log; and the peers file. Once a node starts, it leads.
 */
int offline_begin(struct offline *offline, const struct manifest *manifest, uint64_t index,
		  struct error *error);

/* An empty directory for a node that will be added to this cluster, with a store that has applied so far. */
int offline_make_joining(const struct offline_options *options,
			 const uint8_t cluster_id[CLUSTER_ID_BYTES], struct error *error);

#endif
