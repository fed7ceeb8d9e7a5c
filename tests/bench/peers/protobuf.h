/* As much of protobuf's encoding as etcd's requests need: numbers and runs of bytes. */
#ifndef TESTS_BENCH_PEERS_PROTOBUF_H
#define TESTS_BENCH_PEERS_PROTOBUF_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

struct protobuf_field {
	uint32_t number;
	uint64_t value;    /* of a number */
	struct span bytes; /* of a run of bytes, else empty */
};

size_t protobuf_number_bytes(uint64_t number); /* encoded */
void protobuf_put_number(struct buffer *out, uint32_t field, uint64_t number);
void protobuf_put_bytes(struct buffer *out, uint32_t field, const void *data, size_t size);
/* Of a field whose `size` bytes follow. */
void protobuf_put_head(struct buffer *out, uint32_t field, size_t size);

/* The field at the front of `rest`, which moves on; false at the end. */
bool protobuf_next(struct span *rest, struct protobuf_field *field);

#endif
