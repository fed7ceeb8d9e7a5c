/*
 * Frames between nodes: every raft message, as bytes. Pure functions; nothing here waits or connects.
 * Little-endian. A frame is a header, then `meta` (fixed by the type), then `payload`.
 *
 *   offset bytes  header
 *        0     4  "ANR1"
 *        4     1  type (enum wire_type)
 *        5     3  zero
 *        8     4  bytes of meta
 *       12     4  bytes of payload
 *       16     8  XXH3-64 of bytes 0…15 and meta
 *       24     8  XXH3-64 of what the payload holds without a checksum of its own: the entries that are
 *                 no commands, one after the other, or the data of a snapshot; 0 when there is nothing
 *
 *   type            meta, each field u64 unless said                                     payload
 *   APPEND          term, previous index, previous term, leader's commit, then for each  the entries'
 *                   entry: term; u32 bytes; u8 type (1 command, 2 barrier, 3 change);    contents
 *                   3 zero bytes
 *   APPEND_RESULT   term, rejected index, last index
 *   VOTE            term, candidate, last index, last term, flags (1 disrupt leader, 2 pre-vote)
 *   VOTE_RESULT     term, flags (1 granted, 2 answers a pre-vote, 4 does not say which)
 *   SNAPSHOT        term, last index, last term, index of the configuration, then the   a manifest
 *                   configuration as libraft encodes it
 *   TIMEOUT_NOW     term, last index, last term
 *   HELLO, WELCOME  see raft/handshake.h
 *   NEWS            u64 position of the sender's last record: of the node itself, no message of raft
 *
 * Nothing that libraft could choke on passes wire_decode: counts and sizes are bounded before anything
 * is allocated, indexes and terms must be plausible, commands must open (payload.h) with their index and
 * term, configurations must decode and name endpoints.
 */
#ifndef RAFT_WIRE_H
#define RAFT_WIRE_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/limits.h"

#include <raft.h>

enum wire_type {
	WIRE_APPEND = 1,
	WIRE_APPEND_RESULT,
	WIRE_VOTE,
	WIRE_VOTE_RESULT,
	WIRE_SNAPSHOT,
	WIRE_TIMEOUT_NOW,
	WIRE_HELLO,
	WIRE_WELCOME,
	WIRE_NEWS,
};

#define WIRE_HEADER_BYTES      32
#define WIRE_APPEND_META_BYTES 32
#define WIRE_ENTRY_META_BYTES  16
#define WIRE_ENTRIES           65536u /* of one frame */
#define WIRE_META_BYTES        (WIRE_APPEND_META_BYTES + WIRE_ENTRIES * WIRE_ENTRY_META_BYTES)
#define WIRE_SMALL_META_BYTES  8192u /* of every other type */
#define WIRE_PAYLOAD_BYTES     LIMIT_PEER_IN_FLIGHT_BYTES

struct wire_header {
	enum wire_type type;
	uint32_t meta_bytes;
	uint32_t payload_bytes;
	uint64_t meta_checksum;
	uint64_t payload_checksum;
};

/*
 * How many of its entries an APPEND may carry in one frame: a prefix of what libraft asks to send. What
 * is left out, the follower has not got: it says so, and gets it next.
 */
unsigned wire_entries_that_fit(const struct raft_append_entries *append);

/* Append header and meta; the payload stays where it is (wire_payload_buffers). */
void wire_encode(const struct raft_message *message, struct buffer *into);
/* The number of buffers of the payload, and each of them; borrowed from the message. */
unsigned wire_payload_count(const struct raft_message *message);
struct raft_buffer wire_payload_at(const struct raft_message *message, unsigned number);

/* Append a frame of HELLO or WELCOME around its meta. */
void wire_encode_handshake(enum wire_type type, struct span meta, struct buffer *into);

/* A frame of NEWS; its meta has been checked: -EBADMSG when it is none. */
void wire_encode_news(uint64_t head, struct buffer *into);
int wire_decode_news(struct span meta, uint64_t *head, struct error *error);

/* 0, or -EBADMSG: no header, an unknown type, a size over its bound. */
int wire_parse_header(const uint8_t bytes[WIRE_HEADER_BYTES], struct wire_header *header,
		      struct error *error);
/* -EBADMSG unless this is the meta that the header speaks of. */
int wire_check_meta(const struct wire_header *header, struct span meta, struct error *error);

/*
 * Decode a raft message from `sender`. `payload` is memory of raft_malloc (NULL when there is none). On
 * success it belongs to the message, as libraft wants it; on failure (-EBADMSG) it stays the caller's.
 * server_address is left NULL.
 */
int wire_decode(const struct wire_header *header, struct span meta, void *payload, uint64_t sender,
		struct raft_message *message, struct error *error);
/* Free what a decoded message owns, when libraft does not get it. */
void wire_release(struct raft_message *message);

/* Whether a configuration goes as far as it says, and no further: libraft decodes them without looking. */
bool wire_holds_configuration(struct span bytes);
/* Decode a configuration as libraft encodes it; the caller closes it. -EBADMSG. */
int wire_decode_configuration(struct span bytes, struct raft_configuration *configuration,
			      struct error *error);

#endif
