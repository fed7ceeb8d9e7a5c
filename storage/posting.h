/*
 * Packed positions: increasing numbers as differences, in 7-bit groups, lowest first (LEB128).
 *
 *   chunk    varint first position; varint difference (at least 1) to the one before, for each
 * further varint   1 to 10 bytes; bit 7 set: another byte follows; shortest form
 *
 * A posting list is cut into chunks: closed ones of at most POSTING_CLOSED_BYTES each, and an open
 * one of at most POSTING_OPEN_BYTES, which lies in the row of the list's name (tables.h), so that
 * appending to a short list touches one row.
 */
#ifndef STORAGE_POSTING_H
#define STORAGE_POSTING_H

#include "base/buffer.h"

#define POSTING_OPEN_BYTES   256
#define POSTING_CLOSED_BYTES 960
#define POSTING_COUNT_MAX    POSTING_CLOSED_BYTES /* each takes a byte at least */
#define VARINT_BYTES_MAX     10

/* Bytes written to `at`, which has room for VARINT_BYTES_MAX. */
size_t varint_write(uint8_t *at, uint64_t value);
/* Take one off the front; false (bytes untouched) when it is cut short or too long. */
bool varint_read(struct span *bytes, uint64_t *value);

/* Pack the first of the positions, as many as fit into bytes_max: their number. */
size_t posting_pack(const uint64_t *positions, size_t count, size_t bytes_max, struct buffer *into);
/* Unpack a whole chunk into room for POSTING_COUNT_MAX: 0, or -EBADMSG. An empty chunk has none. */
int posting_unpack(struct span chunk, uint64_t *positions, uint32_t *count);

#endif
