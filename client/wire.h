/*
 * Requests as bytes. A request is encoded once and sent as often as needed: what changes from one
 * attempt to the next has a fixed width and is patched in place.
 *
 *   0x94 0x00 0xce <msgid u32> <method str> 0x91 <map: "timeout_ms" 0xce <u32>, …>
 *
 * A write also has "forward" with a bool of one byte.
 */
#ifndef CLIENT_WIRE_H
#define CLIENT_WIRE_H

#include "base/msgpack.h"
#include "client/annal.h"

struct wire_request {
	struct buffer bytes;
	size_t timeout_at; /* of the four bytes */
	size_t forward_at; /* of the one byte; 0: the request has none */
};

void wire_request_init(struct wire_request *request);
void wire_request_close(struct wire_request *request);

/* Begin anew: everything up to the first of `pairs` own parameters, which the caller writes. */
void wire_request_begin(struct wire_request *request, const char *method, uint32_t pairs,
			bool forwardable);
void wire_request_patch(struct wire_request *request, uint32_t msgid, uint32_t timeout_ms,
			bool forward);

/* Values. */
void wire_write_text(struct buffer *buffer, const char *key, const char *value);
void wire_write_string(struct buffer *buffer, const char *key, struct annal_bytes value);
void wire_write_bin(struct buffer *buffer, const char *key, struct annal_bytes value);
void wire_write_number(struct buffer *buffer, const char *key, uint64_t value);
void wire_write_query(struct buffer *buffer, const struct annal_query *query); /* without a key */

/* A checkpoint's own parameters: how many pairs, and their bytes. */
uint32_t wire_checkpoint_pairs(const struct annal_checkpoint *checkpoint);
void wire_write_checkpoint(struct buffer *buffer, const struct annal_checkpoint *checkpoint);

/* Whole requests. `at_least` is the position for a session read, 0 for none. */
void wire_append(struct wire_request *request, const struct annal_append *append);
void wire_read(struct wire_request *request, const struct annal_read *read, uint64_t at_least);
/* `params`: a msgpack map that a scanner has passed, or empty; a timeout_ms in it is left out.
 * False when it is something else. */
bool wire_generic(struct wire_request *request, const char *method, struct span params,
		  uint32_t *timeout_ms);

/* NULL when the append can be encoded, else what is wrong, as a sentence. */
const char *wire_append_problem(const struct annal_append *append);

/* The consistency parameter: how many pairs it takes (0 or 1), and its bytes. */
uint32_t wire_consistency_pairs(enum annal_consistency consistency, uint64_t at_least);
void wire_write_consistency(struct buffer *buffer, enum annal_consistency consistency,
			    uint64_t at_least);

#endif
