/*
 * MessagePack (github.com/msgpack/msgpack/blob/master/spec.md) in three parts:
 *
 *   scanner  finds the end of one value in bytes that are still arriving; checks depth and size,
 * and never believes a declared length: it allocates nothing at all; reader   pulls values out of
 * bytes that a scanner has passed; each function returns false, and does not move, when the next
 * value has another type or is cut short; writer   packs into a buffer, by msgpack-c.
 *
 * None of it is thread-safe on one object.
 */
#ifndef BASE_MSGPACK_H
#define BASE_MSGPACK_H

#include "base/buffer.h"
#include "base/limits.h"

#include <msgpack/pack.h>

/* ---- scanner ---- */

enum msgpack_scan {
	MSGPACK_SCAN_MORE,     /* a well-formed beginning: bytes are missing */
	MSGPACK_SCAN_VALUE,    /* one whole value: scanner->offset bytes long */
	MSGPACK_SCAN_INVALID,  /* a byte that no value begins with (0xc1) */
	MSGPACK_SCAN_TOO_DEEP, /* nested deeper than depth_max */
	MSGPACK_SCAN_TOO_LONG, /* cannot end within bytes_max, whatever follows */
};

struct msgpack_scanner {
	size_t bytes_max;
	uint32_t depth_max; /* a scalar has depth 0, [1] depth 1; at most LIMIT_DEPTH */
	size_t offset;      /* scanned so far, from the first byte of the value */
	size_t skip;        /* bytes of a string or blob that have not arrived yet */
	uint32_t depth;
	uint64_t missing;               /* values, at all open levels together */
	uint64_t left[LIMIT_DEPTH + 1]; /* values missing, at each open level */
};

void msgpack_scanner_init(struct msgpack_scanner *scanner, size_t bytes_max, uint32_t depth_max);
/*
 * Go on where the last call stopped. `bytes` is the value from its first byte, as far as it has
 * arrived; each byte is looked at once over all calls (but for the 1-6 bytes of a header that
 * arrives in pieces). After VALUE call init for the next one; after INVALID, TOO_DEEP and TOO_LONG
 * the stream is lost. TOO_LONG is said as soon as it is certain: each missing value needs at least
 * a byte.
 */
enum msgpack_scan msgpack_scan(struct msgpack_scanner *scanner, const uint8_t *bytes, size_t size);

/* ---- reader ---- */

enum msgpack_type {
	MSGPACK_TYPE_END, /* no bytes left */
	MSGPACK_TYPE_NIL,
	MSGPACK_TYPE_BOOL,
	MSGPACK_TYPE_INT, /* signed or unsigned, any width */
	MSGPACK_TYPE_FLOAT,
	MSGPACK_TYPE_STR,
	MSGPACK_TYPE_BIN,
	MSGPACK_TYPE_ARRAY,
	MSGPACK_TYPE_MAP,
	MSGPACK_TYPE_EXT,
	MSGPACK_TYPE_INVALID,
};

struct msgpack_reader {
	const uint8_t *at;
	const uint8_t *end;
};

static inline struct msgpack_reader msgpack_reader_of(struct span bytes)
{
	const uint8_t *end = bytes.size > 0 ? bytes.data + bytes.size : bytes.data;

	return (struct msgpack_reader){.at = bytes.data, .end = end};
}

enum msgpack_type msgpack_read_type(const struct msgpack_reader *reader); /* of the next value */
const char *msgpack_type_name(enum msgpack_type type);                    /* "nil", "map", … */
bool msgpack_read_nil(struct msgpack_reader *reader);
bool msgpack_read_bool(struct msgpack_reader *reader, bool *value);
bool msgpack_read_u64(struct msgpack_reader *reader, uint64_t *value); /* not for negative values */
bool msgpack_read_i64(struct msgpack_reader *reader, int64_t *value);  /* not above INT64_MAX */
bool msgpack_read_str(struct msgpack_reader *reader, struct span *value);
bool msgpack_read_bin(struct msgpack_reader *reader, struct span *value);
bool msgpack_read_bytes(struct msgpack_reader *reader, struct span *value); /* bin or str */
bool msgpack_read_array(struct msgpack_reader *reader, uint32_t *count);
bool msgpack_read_map(struct msgpack_reader *reader, uint32_t *pairs);
bool msgpack_read_skip(struct msgpack_reader *reader); /* one value of any kind */
bool msgpack_read_raw(struct msgpack_reader *reader,
		      struct span *value); /* one value, as its bytes */

/* ---- writer ---- */

void msgpack_write_nil(struct buffer *buffer);
void msgpack_write_bool(struct buffer *buffer, bool value);
void msgpack_write_u64(struct buffer *buffer, uint64_t value);
void msgpack_write_i64(struct buffer *buffer, int64_t value);
void msgpack_write_double(struct buffer *buffer, double value);
void msgpack_write_str(struct buffer *buffer, struct span value);
void msgpack_write_string(struct buffer *buffer, const char *text);
void msgpack_write_bin(struct buffer *buffer, struct span value);
void msgpack_write_array(struct buffer *buffer, uint32_t count);
void msgpack_write_map(struct buffer *buffer, uint32_t pairs);

#endif
