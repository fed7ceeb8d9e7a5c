/*
 * Values of the tables, as LMDB would hand them out: refused, or whole; what is taken and encoded again
 * is the same bytes, and positions increase. Checksums are made right first, so that the parsers behind
 * them are reached.
 *
 * Input: which kind of value; for those with a key its size and the key; the value.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "storage/block.h"
#include "storage/system.h"
#include "storage/tables.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_equal(struct buffer *made, struct span wanted)
{
	ASSERT(span_equal(buffer_span(made), wanted));
	buffer_close(made);
}

static void seal64(uint8_t *value, size_t size)
{
	if (size >= 8)
		bytes_set_le64(value + size - 8, checksum64(value, size - 8));
}

static void seal32(struct span key, uint8_t *value, size_t size)
{
	uint64_t seed = checksum64(key.data, key.size);

	if (size >= 4)
		bytes_set_le32(value + size - 4,
			       (uint32_t)checksum64_seeded(value, size - 4, seed));
}

/* ---- values of a fixed size ---- */

static void check_manifest(uint8_t *value, size_t size)
{
	uint8_t again[MANIFEST_BYTES];
	struct manifest manifest;
	struct error error = {{0}};

	seal64(value, size);
	int status = manifest_decode(span_of(value, size), &manifest, &error);

	ASSERT((status == -EBADMSG) == (error.message[0] != '\0'));
	if (status == 0) {
		manifest_encode(&manifest, again);
		ASSERT(size == MANIFEST_BYTES && memcmp(again, value, MANIFEST_BYTES) == 0);
	}
}

static void check_state(uint8_t *value, size_t size)
{
	struct tables_state state;
	struct buffer again;

	seal64(value, size);
	if (tables_state_decode(span_of(value, size), &state) != 0)
		return;
	buffer_init(&again);
	tables_state_encode(&state, &again);
	check_equal(&again, span_of(value, size));
}

static void check_identity(uint8_t *value, size_t size)
{
	struct store_identity identity;
	struct buffer again;

	seal64(value, size);
	if (tables_identity_decode(span_of(value, size), &identity) != 0)
		return;
	buffer_init(&again);
	tables_identity_encode(&identity, &again);
	check_equal(&again, span_of(value, size));
}

static void check_hole(struct span value)
{
	uint8_t again[HOLE_BYTES];
	struct hole hole;

	if (hole_parse(value, &hole) != 0)
		return;
	ASSERT(hole_is_next(value) && hole.first >= 1 && hole.first <= hole.last);
	hole_encode(&hole, again);
	ASSERT(memcmp(again, value.data, HOLE_BYTES) == 0);
}

/* ---- lists ---- */

static void check_positions(struct span chunk)
{
	uint64_t positions[POSTING_COUNT_MAX];
	struct buffer again;
	uint32_t count;

	if (posting_unpack(chunk, positions, &count) != 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		ASSERT(positions[i] > (i == 0 ? 0 : positions[i - 1]));
	buffer_init(&again);
	ASSERT(posting_pack(positions, count, POSTING_CLOSED_BYTES, &again) == count);
	check_equal(&again, chunk);
}

static void check_chunk(struct span key, uint8_t *value, size_t size)
{
	struct span chunk;

	seal32(key, value, size);
	if (tables_chunk_open(key, span_of(value, size), &chunk) == 0)
		check_positions(chunk);
}

static void check_row(struct span key, uint8_t *value, size_t size)
{
	struct tables_row row = {0};
	struct buffer again;

	seal32(key, value, size);
	if (tables_row_decode(key, span_of(value, size), &row) != 0)
		return;
	ASSERT(row.chunk.size <= POSTING_OPEN_BYTES);
	buffer_init(&again);
	tables_row_encode(key, &row, &again);
	check_equal(&again, span_of(value, size));
	check_positions(row.chunk);
}

/* ---- blocks ---- */

/* The header's checksum and the running hashes, as far as the sizes in it allow. */
static void mend_block(uint8_t *value, size_t size)
{
	uint64_t count = size < BLOCK_HEADER_BYTES ? 0 : bytes_le32(value + 4);
	uint64_t holes = size < BLOCK_HEADER_BYTES ? 0 : bytes_le32(value + 28);
	uint64_t rows = count * BLOCK_TABLE_ROW_BYTES + holes * BLOCK_HOLE_ROW_BYTES;

	if (count == 0 || holes > count || rows > size - BLOCK_HEADER_BYTES)
		return;
	uint8_t *row = value + BLOCK_HEADER_BYTES, *records = row + rows;
	uint64_t hash = bytes_le64(value + 16);
	size_t bytes = size - BLOCK_HEADER_BYTES - rows, begin = 0;

	for (uint64_t i = 0; i < count; i++, row += BLOCK_TABLE_ROW_BYTES) {
		size_t end = bytes_le32(row + 8);

		if (end > begin && end <= bytes) {
			hash = checksum64_seeded(records + begin, end - begin, hash);
			bytes_set_le64(row, hash);
			begin = end;
		}
		hash = bytes_le64(row);
	}
	bytes_set_le32(value + 24, (uint32_t)bytes);
	uint64_t checksum = checksum64(value, 32);

	if (holes > 0)
		checksum = checksum64_seeded(value + BLOCK_HEADER_BYTES, rows, checksum);
	bytes_set_le32(value + 32, (uint32_t)checksum);
}

static void check_entries(const struct block *block)
{
	uint64_t position = block->first_position, hash;
	struct block_entry entry;
	struct span record;
	struct hole hole;

	/* Whatever it says of itself: it has no more entries than rows. */
	for (uint32_t i = 0; i <= block->count && block_holds(block, position); i++) {
		if (block_find(block, position, &entry) != 0)
			return;
		ASSERT(entry.index < block->count && entry.first <= entry.last);
		if (!entry.is_hole)
			(void)block_record(block, entry.index, &record, &hash);
		else
			block_get_hole(block, &entry, &hole);
		if (entry.last < position || entry.last == UINT64_MAX)
			return;
		position = entry.last + 1;
	}
}

static void check_rebuilt(const struct block *block, struct span value)
{
	struct block_builder builder;
	struct buffer again;

	if (block->first_position == 0 ||
	    block->first_position > UINT64_MAX - 2 - block->position_count ||
	    value.size > BLOCK_BYTES_MAX)
		return;
	block_builder_init(&builder);
	buffer_init(&again);
	block_builder_start(&builder, block->first_position, block->hash_before);
	if (block_builder_fits_block(&builder, block) &&
	    block_builder_add_block(&builder, block) == 0) {
		block_builder_finish(&builder, &again);
		ASSERT(builder.count <= block->count && again.size <= value.size);
		ASSERT(builder.next_position == block->first_position + block->position_count);
		ASSERT(block_open(buffer_span(&again), &(struct block){0}) == 0);
	}
	buffer_close(&again);
	block_builder_close(&builder);
}

static void check_block(uint8_t *value, size_t size)
{
	struct block block;

	mend_block(value, size);
	if (block_open(span_of(value, size), &block) != 0)
		return;
	check_entries(&block);
	check_rebuilt(&block, span_of(value, size));
}

/* ---- records with a meaning of their own ---- */

static void check_system_record(struct span value)
{
	struct system_checkpoint checkpoint;
	struct system_snapshot snapshot;
	struct record record;

	if (record_parse(value, &record) != 0)
		return;
	if (system_checkpoint_parse(&record, &checkpoint) == 0)
		ASSERT(!checkpoint.deleted || (checkpoint.position == 0 && checkpoint.epoch == 0));
	if (system_snapshot_parse(&record, &snapshot) == 0 && !snapshot.deleted)
		ASSERT(snapshot.type.size + snapshot.data.size <= record.data.size);
}

static void check(uint8_t kind, struct span key, uint8_t *value, size_t size)
{
	switch (kind % 8) {
	case 0:
		check_manifest(value, size);
		break;
	case 1:
		check_state(value, size);
		break;
	case 2:
		check_identity(value, size);
		break;
	case 3:
		check_hole(span_of(value, size));
		break;
	case 4:
		check_chunk(key, value, size);
		break;
	case 5:
		check_row(key, value, size);
		break;
	case 6:
		check_block(value, size);
		break;
	default:
		check_system_record(span_of(value, size));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	uint8_t kind = data[0];
	bool has_key = kind % 8 == 4 || kind % 8 == 5;
	size_t key_size = has_key ? data[1] % 32 + 1u : 0, head = has_key ? 2 + key_size : 1;

	if (size < head)
		return 0;
	/* A copy that ends where the bytes end, for the sanitizer to watch. */
	uint8_t *value = memory_copy(data + head, size - head);

	check(kind, span_of(data + head - key_size, key_size), value, size - head);
	memory_free(value);
	return 0;
}
