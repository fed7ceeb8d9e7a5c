/*
 * The payload of a raft entry: a command behind a header of our own. libraft 0.15 loses the log of
 * a node whose payload length is no multiple of 8, and cannot tell a torn tail from damage, so each
 * payload says itself what it is, where it belongs, and whether it is whole. Little-endian.
 *
 *   offset bytes
 *        0     4  "ANP1"
 *        4     4  bytes of the body, without padding
 *        8     8  raft index that this entry must have
 *       16     8  term in which it was proposed
 *       24     8  XXH3-64 of the body, seeded with the XXH3-64 of bytes 0…23
 *       32     …  body (storage/command.h), then zeros up to a multiple of 8
 */
#ifndef RAFT_PAYLOAD_H
#define RAFT_PAYLOAD_H

#include "base/error.h"
#include "base/span.h"

#define PAYLOAD_HEADER_BYTES 32

struct payload {
	uint64_t index;
	uint64_t term;
	struct span body;
};

/* Bytes of a whole payload around a body of this size. */
size_t payload_bytes(size_t body_bytes);
/* Fill in header and padding around the body that is already at `payload + PAYLOAD_HEADER_BYTES`.
 */
void payload_seal(uint8_t *payload, size_t body_bytes, uint64_t index, uint64_t term);
/* Check everything; -EBADMSG with what is wrong. expected_index 0: any. */
int payload_open(struct span bytes, uint64_t expected_index, struct payload *payload,
		 struct error *error);

#endif
