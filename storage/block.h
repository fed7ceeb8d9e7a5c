/*
 * A block: consecutive records in one value of the store. Little-endian.
 *
 *   offset bytes
 *        0     4  "ANB1"
 *        4     4  number of records, at least 1
 *        8     8  position of the first
 *       16     8  running hash before the first
 *       24     4  bytes of all records
 *       28     4  checksum of bytes 0…27: the low half of their XXH3-64
 *       32    12  for each record: u64 running hash after it; u32 where it ends in the records
 *        …     …  the records (record.h), one after the other
 *
 * The running hash is also the checksum of each record: hash_n = XXH3-64 of record n with seed
 * hash_(n-1), and hash_0 = 0. A record is read only if it gives the hash that stands behind it.
 *
 * A block has BLOCK_BYTES_MAX bytes at most, unless it is a single larger record.
 */
#ifndef STORAGE_BLOCK_H
#define STORAGE_BLOCK_H

#include "base/buffer.h"
#include "base/limits.h"

/* Fills whole pages of LMDB, which puts 16 bytes before a value that is larger than a page. */
#define BLOCK_BYTES_MAX       (LIMIT_BLOCK_BYTES - 16)
#define BLOCK_HEADER_BYTES    32
#define BLOCK_TABLE_ROW_BYTES 12

struct block_builder {
	uint64_t first_position;
	uint64_t hash_before;
	uint32_t count;
	struct buffer table, records;
};

void block_builder_init(struct block_builder *builder); /* allocates nothing */
void block_builder_close(struct block_builder *builder);
void block_builder_start(struct block_builder *builder, uint64_t first_position,
			 uint64_t hash_before);
/* Whether a record of this size may be added; always, when there is none yet. */
bool block_builder_fits(const struct block_builder *builder, size_t size);
void block_builder_add(struct block_builder *builder, struct span record, uint64_t hash_after);
void block_builder_finish(const struct block_builder *builder, struct buffer *into); /* replaced */

struct block {
	uint64_t first_position;
	uint64_t hash_before;
	uint32_t count;
	const uint8_t *table;
	struct span records;
};

/* Check the frame; -EBADMSG. The block points into `value`. */
int block_open(struct span value, struct block *block);
/* The record with this index and the hash after it, checked; -EBADMSG. */
int block_record(const struct block *block, uint32_t index, struct span *record, uint64_t *hash);

#endif
