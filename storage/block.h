/*
 * A block: consecutive positions in one value of the store. Little-endian.
 *
 *   offset bytes
 *        0     4  "ANB2"
 *        4     4  number of entries, at least 1
 *        8     8  first position
 *       16     8  running hash before it
 *       24     4  bytes of all records
 *       28     4  number of holes
 *       32     4  checksum of bytes 0…31: the low half of their XXH3-64; with holes, that of the
 *                 rows below, with the XXH3-64 of bytes 0…31 as seed
 *       36    12  for each entry: u64 running hash after it; u32 where it ends in the records
 *        …     8  for each hole: u32 which entry it is; u32 its last position, counted from the first
 *                 of the block
 *        …     …  the records (record.h), one after the other
 *
 * An entry is a record, at one position, or a hole (hole.h): a run of them, without any bytes.
 * Neighbouring holes are one. So a block without holes costs as little as if there were none, and a
 * run of dropped records costs the same however long it is.
 *
 * The running hash is also the checksum of each record: hash_n = XXH3-64 of record n with seed
 * hash_(n-1), and hash_0 = 0. A record is read only if it gives the hash that stands behind it.
 *
 * A block has BLOCK_BYTES_MAX bytes at most, unless it is a single larger record.
 */
#ifndef STORAGE_BLOCK_H
#define STORAGE_BLOCK_H

#include "base/limits.h"
#include "storage/hole.h"

/* Fills whole pages of LMDB, which puts 16 bytes before a value that is larger than a page. */
#define BLOCK_BYTES_MAX       (LIMIT_BLOCK_BYTES - 16)
#define BLOCK_HEADER_BYTES    36
#define BLOCK_TABLE_ROW_BYTES 12
#define BLOCK_HOLE_ROW_BYTES  8
#define BLOCK_POSITIONS_MAX   UINT32_MAX

static_assert(HOLE_POSITIONS_MAX <= BLOCK_POSITIONS_MAX, "a hole fits into an empty block");

struct block_builder {
	uint64_t first_position, next_position;
	uint64_t hash_before, hash; /* after all that was added */
	uint32_t count, hole_count;
	bool ends_with_hole;
	struct buffer table, holes, records;
};

void block_builder_init(struct block_builder *builder); /* allocates nothing */
void block_builder_close(struct block_builder *builder);
void block_builder_start(struct block_builder *builder, uint64_t first_position,
			 uint64_t hash_before);
/* Whether a record of this size may be added; always, when there is none yet. */
bool block_builder_fits(const struct block_builder *builder, size_t size);
void block_builder_add(struct block_builder *builder, struct span record, uint64_t hash_after);
/* Whether a hole up to this position may be added. */
bool block_builder_fits_hole(const struct block_builder *builder, uint64_t last);
/* A hole that begins at next_position. */
void block_builder_add_hole(struct block_builder *builder, uint64_t last, uint64_t hash_after);
struct block;
/*
 * All that a block holds, which begins at next_position; the records are checked: -EBADMSG. It fits:
 * see block_builder_fits_block.
 */
int block_builder_add_block(struct block_builder *builder, const struct block *block);
bool block_builder_fits_block(const struct block_builder *builder, const struct block *block);
size_t block_builder_bytes(const struct block_builder *builder);
void block_builder_finish(const struct block_builder *builder, struct buffer *into); /* replaced */

struct block {
	uint64_t first_position;
	uint64_t position_count;
	uint64_t hash_before;
	uint32_t count, hole_count;
	const uint8_t *table, *holes;
	struct span records;
};

/* What stands at one position. */
struct block_entry {
	uint32_t index;
	uint64_t first, last; /* positions: one, unless it is a hole */
	bool is_hole;
};

/* Check the frame; -EBADMSG. The block points into `value`. */
int block_open(struct span value, struct block *block);
bool block_holds(const struct block *block, uint64_t position);
/* The entry at a position that it holds; -EBADMSG. */
int block_find(const struct block *block, uint64_t position, struct block_entry *entry);
/* The record with this index and the hash after it, checked; -EBADMSG, also for a hole. */
int block_record(const struct block *block, uint32_t index, struct span *record, uint64_t *hash);
void block_get_hole(const struct block *block, const struct block_entry *entry, struct hole *hole);
uint64_t block_hash_after(const struct block *block, uint32_t index);

#endif
