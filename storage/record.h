/*
 * The stored record: one event (or system record) as it is in the log, in the tail, in a block of
 * the store, in every answer and in every notification. Nothing re-encodes it after step 5 of the
 * data path; step 7 fills three blanks in place.
 *
 *   offset  bytes  content
 *        0      1  0x99: a msgpack array of 9
 *        1      9  0xcf, position u64 big-endian            (blank until applied)
 *       10      9  0xcf, version u64 big-endian             (blank until applied)
 *       19      9  0xcf, created u64 big-endian, ns since 1970 UTC; 0xd3 were it negative (blank)
 *       28     18  0xc4 0x10, the id, 16 bytes
 *       46      …  stream str, type str, data bin, metadata bin, tags array of str
 *
 * Strings and blobs are in their shortest form. data and metadata are always bin, tags are without
 * duplicates, in the order given. Whether names are UTF-8 is checked where they come in, not here.
 */
#ifndef STORAGE_RECORD_H
#define STORAGE_RECORD_H

#include "base/buffer.h"
#include "base/limits.h"
#include "base/uuid.h"

#define RECORD_POSITION_OFFSET 2
#define RECORD_VERSION_OFFSET  11
#define RECORD_CREATED_OFFSET  20
#define RECORD_ID_OFFSET       30
#define RECORD_STREAM_OFFSET   46

/* A system stream's name is a prefix ("$snapshot-") and possibly a whole stream name. */
#define RECORD_STREAM_BYTES_MAX (LIMIT_STREAM_NAME_BYTES + 32u)
/* data and metadata together are at most LIMIT_EVENT_BYTES; the rest is names, tags and headers. */
#define RECORD_BYTES_MAX (LIMIT_EVENT_BYTES + 16 * KIB)

static_assert(RECORD_STREAM_OFFSET + 3 + RECORD_STREAM_BYTES_MAX + 2 + LIMIT_TYPE_BYTES + 2 * 5 +
			      3 + LIMIT_TAGS * (2 + LIMIT_TAG_BYTES) <=
		      16 * KIB,
	      "everything but data and metadata fits into the allowance of RECORD_BYTES_MAX");

struct record {
	uint64_t position;
	uint64_t version;
	int64_t created;   /* ns since 1970 UTC */
	const uint8_t *id; /* UUID_BYTES */
	struct span stream;
	struct span type;
	struct span data;
	struct span metadata;
	uint32_t tag_count;
	struct span tags[LIMIT_TAGS];
	struct span bytes; /* the whole record */
};

/* What a client gives; spans are borrowed for the call. */
struct record_fields {
	const uint8_t *id;
	struct span stream, type, data, metadata;
	uint32_t tag_count;
	struct span tags[LIMIT_TAGS];
};

/* Append the record with its blanks zero. The fields are within their limits (asserted). */
void record_encode(struct buffer *buffer, const struct record_fields *fields);
/* Fill the blanks. */
void record_stamp(uint8_t *record, uint64_t position, uint64_t version, int64_t created);
/*
 * Parse the record at the front of `bytes`, checking every bound: 0 and record->bytes its extent,
 * or -EBADMSG. The spans point into `bytes`.
 */
int record_parse(struct span bytes, struct record *record);

/* Without a parse, for the hot path: the record was parsed once before, or its checksum was right.
 */
uint64_t record_position(const uint8_t *record);
uint64_t record_version(const uint8_t *record);
int64_t record_created(const uint8_t *record);
const uint8_t *record_id(const uint8_t *record);
struct span record_stream(const uint8_t *record);
/* System records live in streams whose name begins with '$'. */
bool record_is_system(const uint8_t *record);

#endif
