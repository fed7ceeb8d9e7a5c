/*
 * The first frame of each side of a peer connection (raft/wire.h frames it). Pure functions.
 * Little-endian; all that follows the version may change with it.
 *
 *   u16 version (1); u8 purpose; u8 verdict; u32 zero
 *   u64 from id; u64 to id; u64 instance of the sender's data directory (0 in a
 *     refusal)
 *   u64 nonce of the sender; u64 nonce of the receiver, as the sender knows them (0: not known)
 *   u64 instance of the receiver, as the sender has recorded it (0: none)
 *   u64, by purpose: FORMING: hash of the initial members (roster_hash); RAFT: log index of the
 *     configuration that has the sender (0: none that it knows)
 *   16 bytes cluster id (zeros: not known yet)
 *   u8 size + cluster name; u16 size + endpoint text of the sender; u16 size + reason
 *   u8 count, then for each initial member of a formed cluster: u64 id, u64 instance
 *
 * The node that connects sends HELLO; the other one answers WELCOME and, unless the verdict is
 * HANDSHAKE_ACCEPTED, closes after it. Then raft messages flow from the node that connected.
 */
#ifndef RAFT_HANDSHAKE_H
#define RAFT_HANDSHAKE_H

#include "raft/endpoint.h"
#include "raft/wire.h"
#include "storage/manifest.h"

#define HANDSHAKE_VERSION      1
#define HANDSHAKE_NAME_BYTES   256
#define HANDSHAKE_REASON_BYTES 400

enum handshake_purpose {
	HANDSHAKE_RAFT = 1, /* raft messages follow */
	HANDSHAKE_FORMING,  /* asks for the instance, or for the list of a formed cluster */
};

enum handshake_verdict {
	HANDSHAKE_NONE, /* in HELLO */
	HANDSHAKE_ACCEPTED,
	HANDSHAKE_LATER,     /* not now (forming, pulling): try again */
	HANDSHAKE_MISMATCH,  /* another cluster, version, id: the operator must look */
	HANDSHAKE_DATA_LOST, /* this id was here with another data directory */
	HANDSHAKE_REMOVED,   /* this id was removed from the cluster */
};

struct handshake_instance {
	uint64_t id, instance;
};

struct handshake {
	uint16_t version;
	enum handshake_purpose purpose;
	enum handshake_verdict verdict;
	uint64_t from, to, instance, from_nonce, to_nonce, to_instance;
	uint64_t members_hash;        /* FORMING */
	uint64_t configuration_index; /* RAFT */
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	char cluster_name[HANDSHAKE_NAME_BYTES];
	char endpoint[ENDPOINT_TEXT_BYTES];
	char reason[HANDSHAKE_REASON_BYTES];
	uint32_t instance_count;
	struct handshake_instance instances[LIMIT_MEMBERS];
};

/* Append the frame. */
void handshake_encode(const struct handshake *handshake, enum wire_type type, struct buffer *into);
/* From the meta of a frame; -EBADMSG, or -EPROTONOSUPPORT for another version. */
int handshake_decode(struct span meta, struct handshake *handshake, struct error *error);

#endif
