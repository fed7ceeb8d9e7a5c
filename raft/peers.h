/*
 * What a node knows for good of itself and of its peers, in data_dir/peers. Each data directory gets a
 * random instance number when it is made; a member that comes back with another instance under the same
 * id and nonce has lost its data (its log and its vote), and must not take part under that id.
 *
 * The file is replaced as a whole (written aside, synced, renamed). Little-endian:
 *
 *   "ANPEERS1"; u64 node id; u64 instance; 16 bytes cluster id; u8 stage; 3 zero bytes;
 *   u32 initial members; u32 records; u32 zero
 *   each initial member: u64 id, u64 instance
 *   each record: u64 id, u64 nonce, u64 instance
 *   u64 XXH3-64 of all before
 *
 * Loop thread; peers_encode is safe on any thread with a buffer of its own.
 */
#ifndef RAFT_PEERS_H
#define RAFT_PEERS_H

#include "raft/handshake.h"

#define PEERS_RECORDS 256u /* ids ever seen; the oldest ones of removed members make room */

enum peers_stage {
	PEERS_NEW,     /* an instance and nothing else */
	PEERS_FORMED,  /* the cluster is known; the log may not exist yet */
	PEERS_STARTED, /* raft was started on this directory */
};

struct peer_record {
	uint64_t id, nonce, instance;
};

struct peers {
	uint64_t node_id;
	uint64_t instance;
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	enum peers_stage stage;
	uint32_t initial_count; /* 0: this node joined later */
	struct handshake_instance initial[LIMIT_MEMBERS];
	uint32_t record_count;
	struct peer_record records[PEERS_RECORDS];
};

/* -ENOENT when there is no file, -EBADMSG when it is damaged. */
int peers_read(const char *path, struct peers *peers, struct error *error);
void peers_encode(const struct peers *peers, struct buffer *into);
/* Durable when it returns. */
int peers_save(const char *path, const struct peers *peers, struct error *error);

/* The recorded instance of a member; 0: none. */
uint64_t peers_instance_of(const struct peers *peers, uint64_t id, uint64_t nonce);
/* Whether this instance is recorded for this id, whatever its nonce. */
bool peers_has(const struct peers *peers, uint64_t id, uint64_t instance);
/* First come: records the instance when there is none yet; true: the file must be written again. */
bool peers_record(struct peers *peers, uint64_t id, uint64_t nonce, uint64_t instance);

#endif
