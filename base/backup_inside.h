/* What the reader and the writer of a backup file share; nobody else includes this. */
#ifndef BASE_BACKUP_INSIDE_H
#define BASE_BACKUP_INSIDE_H

#include "base/backup_file.h"

#define BACKUP_HEADER_BYTES       88
#define BACKUP_FRAME_HEADER_BYTES 40
#define BACKUP_TRAILER_BYTES      64
#define BACKUP_MAGIC_BYTES        4 /* of a frame and of the trailer */
#define BACKUP_FRAME_MAGIC        "ANBF"
#define BACKUP_TRAILER_MAGIC      "ANBT"

/* A frame is closed at the first; it is never larger than the second. */
#define BACKUP_CONTENT_BYTES     (4 * MIB)
#define BACKUP_CONTENT_BYTES_MAX (16 * MIB)

static_assert(BACKUP_CONTENT_BYTES + LIMIT_EVENT_BYTES + 16 * KIB <= BACKUP_CONTENT_BYTES_MAX,
	      "the largest record fits behind what does not close a frame");

struct backup_frame {
	uint32_t number, packed_bytes, content_bytes;
	uint64_t position; /* that the content begins at */
	uint64_t packed_checksum;
};

struct backup_trailer {
	uint32_t frames;
	uint64_t records, holes, content_bytes, file_bytes, position, hash;
};

/* Each gives the checksum in its last field; the seed is that of what is before it. */
uint64_t backup_header_encode(const struct backup_header *header,
			      uint8_t into[BACKUP_HEADER_BYTES]);
uint64_t backup_frame_encode(const struct backup_frame *frame, uint64_t seed,
			     uint8_t into[BACKUP_FRAME_HEADER_BYTES]);
uint64_t backup_trailer_encode(const struct backup_trailer *trailer, uint64_t seed,
			       uint8_t into[BACKUP_TRAILER_BYTES]);
/* -EBADMSG with what is wrong with the header. */
int backup_header_decode(const uint8_t from[BACKUP_HEADER_BYTES], struct backup_header *header,
			 uint64_t *checksum, struct error *error);
/* false: the checksum is wrong. */
bool backup_frame_decode(const uint8_t from[BACKUP_FRAME_HEADER_BYTES], uint64_t seed,
			 struct backup_frame *frame, uint64_t *checksum);
bool backup_trailer_decode(const uint8_t from[BACKUP_TRAILER_BYTES], uint64_t seed,
			   struct backup_trailer *trailer);

/* How far items have come. */
struct backup_chain {
	uint64_t position, hash;
	uint64_t records, holes;
};

/*
 * The item at the front of `bytes` follows: its size in *size, the chain moved on. -EBADMSG, with what
 * is wrong, leaves the chain as it was.
 */
int backup_chain_add(struct backup_chain *chain, struct span bytes, size_t *size,
		     struct error *error);

#endif
