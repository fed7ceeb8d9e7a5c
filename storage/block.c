/* Blocks of records: build and read. */
#include "storage/block.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mutant.h"

#include <errno.h>

#define MAGIC           "ANB2"
#define CHECKSUM_OFFSET 32

static_assert(CHECKSUM_OFFSET + 4 == BLOCK_HEADER_BYTES, "the checksum comes last");

/* ---- building ---- */

void block_builder_init(struct block_builder *builder)
{
	*builder = (struct block_builder){0};
	buffer_init(&builder->table);
	buffer_init(&builder->holes);
	buffer_init(&builder->records);
}

void block_builder_close(struct block_builder *builder)
{
	buffer_close(&builder->table);
	buffer_close(&builder->holes);
	buffer_close(&builder->records);
}

void block_builder_start(struct block_builder *builder, uint64_t first_position,
			 uint64_t hash_before)
{
	ASSERT(first_position >= 1);
	builder->first_position = builder->next_position = first_position;
	builder->hash_before = builder->hash = hash_before;
	builder->count = builder->hole_count = 0;
	builder->ends_with_hole = false;
	buffer_clear(&builder->table);
	buffer_clear(&builder->holes);
	buffer_clear(&builder->records);
}

size_t block_builder_bytes(const struct block_builder *builder)
{
	return BLOCK_HEADER_BYTES + builder->table.size + builder->holes.size +
	       builder->records.size;
}

static bool spans(const struct block_builder *builder, uint64_t last)
{
	ASSERT(last >= builder->first_position);
	return last - builder->first_position < BLOCK_POSITIONS_MAX;
}

bool block_builder_fits(const struct block_builder *builder, size_t size)
{
	if (builder->count == 0)
		return true;
	return spans(builder, builder->next_position) &&
	       block_builder_bytes(builder) + BLOCK_TABLE_ROW_BYTES + size <= BLOCK_BYTES_MAX;
}

static void add_row(struct block_builder *builder, uint64_t hash_after)
{
	uint8_t *row = buffer_reserve(&builder->table, BLOCK_TABLE_ROW_BYTES);

	bytes_set_le64(row, hash_after);
	bytes_set_le32(row + 8, (uint32_t)builder->records.size);
	builder->table.size += BLOCK_TABLE_ROW_BYTES;
	builder->count++;
	builder->hash = hash_after;
}

void block_builder_add(struct block_builder *builder, struct span record, uint64_t hash_after)
{
	ASSERT(builder->first_position >= 1 && block_builder_fits(builder, record.size));
	buffer_append_span(&builder->records, record);
	add_row(builder, hash_after);
	builder->next_position++;
	builder->ends_with_hole = false;
}

bool block_builder_fits_hole(const struct block_builder *builder, uint64_t last)
{
	size_t more = builder->ends_with_hole ? 0 : BLOCK_TABLE_ROW_BYTES + BLOCK_HOLE_ROW_BYTES;

	return spans(builder, last) && block_builder_bytes(builder) + more <= BLOCK_BYTES_MAX;
}

void block_builder_add_hole(struct block_builder *builder, uint64_t last, uint64_t hash_after)
{
	uint32_t offset = (uint32_t)(last - builder->first_position);

	ASSERT(last >= builder->next_position && block_builder_fits_hole(builder, last));
	if (builder->ends_with_hole) {
		bytes_set_le64(builder->table.data + builder->table.size - BLOCK_TABLE_ROW_BYTES,
			       hash_after);
		bytes_set_le32(builder->holes.data + builder->holes.size - 4, offset);
		builder->hash = hash_after;
	} else {
		uint8_t *row = buffer_reserve(&builder->holes, BLOCK_HOLE_ROW_BYTES);

		bytes_set_le32(row, builder->count);
		bytes_set_le32(row + 4, offset);
		builder->holes.size += BLOCK_HOLE_ROW_BYTES;
		builder->hole_count++;
		add_row(builder, hash_after);
	}
	builder->next_position = last + 1;
	builder->ends_with_hole = true;
}

bool block_builder_fits_block(const struct block_builder *builder, const struct block *block)
{
	size_t bytes = block->records.size + (size_t)block->count * BLOCK_TABLE_ROW_BYTES +
		       (size_t)block->hole_count * BLOCK_HOLE_ROW_BYTES;

	return spans(builder, block->first_position + block->position_count) &&
	       block_builder_bytes(builder) + bytes <= BLOCK_BYTES_MAX;
}

int block_builder_add_block(struct block_builder *builder, const struct block *block)
{
	uint64_t last = block->first_position + block->position_count - 1;
	struct block_entry entry;

	ASSERT(builder->next_position == block->first_position);
	for (uint64_t position = block->first_position; position <= last;
	     position = entry.last + 1) {
		struct span record;
		uint64_t hash;

		if (block_find(block, position, &entry) != 0 || entry.last > last)
			return -EBADMSG;
		if (entry.is_hole) {
			hash = block_hash_after(block, entry.index);
			block_builder_add_hole(builder, entry.last, hash);
			continue;
		}
		if (block_record(block, entry.index, &record, &hash) != 0)
			return -EBADMSG;
		block_builder_add(builder, record, hash);
	}
	return 0;
}

/* `rows` are those of the entries and of the holes, which stand behind the header. */
static uint32_t checksum_of(const uint8_t *header, struct span rows, uint32_t hole_count)
{
	uint64_t checksum = checksum64(header, CHECKSUM_OFFSET);

	if (hole_count > 0)
		checksum = checksum64_seeded(rows.data, rows.size, checksum);
	return (uint32_t)checksum;
}

void block_builder_finish(const struct block_builder *builder, struct buffer *into)
{
	ASSERT(builder->count >= 1);
	buffer_clear(into);
	uint8_t *header = buffer_reserve(into, block_builder_bytes(builder));

	memcpy(header, MAGIC, 4);
	bytes_set_le32(header + 4, builder->count);
	bytes_set_le64(header + 8, builder->first_position);
	bytes_set_le64(header + 16, builder->hash_before);
	bytes_set_le32(header + 24, (uint32_t)builder->records.size);
	bytes_set_le32(header + 28, builder->hole_count);
	into->size += BLOCK_HEADER_BYTES;
	buffer_append_span(into, buffer_span(&builder->table));
	buffer_append_span(into, buffer_span(&builder->holes));
	struct span rows =
		span_of(header + BLOCK_HEADER_BYTES, builder->table.size + builder->holes.size);
	bytes_set_le32(header + CHECKSUM_OFFSET, checksum_of(header, rows, builder->hole_count));
	buffer_append_span(into, buffer_span(&builder->records));
}

/* ---- reading ---- */

static const uint8_t *hole_row(const struct block *block, uint32_t number)
{
	ASSERT(number < block->hole_count);
	return block->holes + (size_t)number * BLOCK_HOLE_ROW_BYTES;
}

static int count_positions(struct block *block)
{
	block->position_count = block->count;
	if (block->hole_count == 0)
		return 0;
	const uint8_t *last = hole_row(block, block->hole_count - 1);
	uint32_t index = bytes_le32(last);

	if (index >= block->count)
		return -EBADMSG;
	block->position_count = (uint64_t)bytes_le32(last + 4) + (block->count - index);
	return 0;
}

int block_open(struct span value, struct block *block)
{
	const uint8_t *header = value.data;

	if (value.size < BLOCK_HEADER_BYTES || memcmp(header, MAGIC, 4) != 0)
		return -EBADMSG;
	uint64_t count = bytes_le32(header + 4), size = bytes_le32(header + 24);
	uint64_t holes = bytes_le32(header + 28), table_bytes = count * BLOCK_TABLE_ROW_BYTES;
	uint64_t rows_bytes = table_bytes + holes * BLOCK_HOLE_ROW_BYTES;

	if (count == 0 || holes > count || value.size != BLOCK_HEADER_BYTES + rows_bytes + size)
		return -EBADMSG;
	struct span rows = span_of(header + BLOCK_HEADER_BYTES, rows_bytes);
	if (bytes_le32(header + CHECKSUM_OFFSET) != checksum_of(header, rows, (uint32_t)holes))
		return -EBADMSG;
	block->first_position = bytes_le64(header + 8);
	block->hash_before = bytes_le64(header + 16);
	block->count = (uint32_t)count;
	block->hole_count = (uint32_t)holes;
	block->table = rows.data;
	block->holes = rows.data + table_bytes;
	block->records = span_of(rows.data + rows_bytes, size);
	if (count_positions(block) != 0 || block->first_position == 0 ||
	    block->position_count > UINT64_MAX - block->first_position)
		return -EBADMSG;
	return 0;
}

bool block_holds(const struct block *block, uint64_t position)
{
	return block->count > 0 && position >= block->first_position &&
	       position - block->first_position < block->position_count;
}

/* How many holes begin at this place of a position or before it. */
static uint32_t holes_before(const struct block *block, uint64_t offset)
{
	uint32_t low = 0, high = block->hole_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		const uint8_t *row = hole_row(block, middle);
		uint64_t begin = bytes_le32(row);

		if (middle > 0)
			begin += (uint64_t)bytes_le32(row - 4) -
				 bytes_le32(row - BLOCK_HOLE_ROW_BYTES);
		if (begin <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int block_find(const struct block *block, uint64_t position, struct block_entry *entry)
{
	ASSERT(block_holds(block, position));
	uint64_t offset = position - block->first_position, index = offset;
	uint32_t before = block->hole_count > 0 ? holes_before(block, offset) : 0;

	*entry = (struct block_entry){.first = position, .last = position};
	if (before > 0) {
		const uint8_t *row = hole_row(block, before - 1);
		uint64_t hole = bytes_le32(row), end = bytes_le32(row + 4), begin = hole;

		if (before > 1)
			begin += (uint64_t)bytes_le32(row - 4) -
				 bytes_le32(row - BLOCK_HOLE_ROW_BYTES);
		entry->is_hole = offset <= end;
		if (entry->is_hole) {
			entry->first = block->first_position + begin;
			entry->last = block->first_position + end;
		}
		index = entry->is_hole ? hole : hole + (offset - end);
	}
	entry->index = (uint32_t)index;
	return index < block->count ? 0 : -EBADMSG;
}

uint64_t block_hash_after(const struct block *block, uint32_t index)
{
	ASSERT(index < block->count);
	return bytes_le64(block->table + (size_t)index * BLOCK_TABLE_ROW_BYTES);
}

int block_record(const struct block *block, uint32_t index, struct span *record, uint64_t *hash)
{
	ASSERT(index < block->count);
	const uint8_t *row = block->table + (size_t)index * BLOCK_TABLE_ROW_BYTES;
	uint64_t before = index == 0 ? block->hash_before : bytes_le64(row - 12);
	uint32_t begin = index == 0 ? 0 : bytes_le32(row - 4), end = bytes_le32(row + 8);

	if (begin >= end || end > block->records.size)
		return -EBADMSG;
	uint64_t after = checksum64_seeded(block->records.data + begin, end - begin, before);
	if (after != bytes_le64(row) && !MUTANT(RECORD_UNCHECKED))
		return -EBADMSG;
	*record = span_of(block->records.data + begin, end - begin);
	*hash = after;
	return 0;
}

void block_get_hole(const struct block *block, const struct block_entry *entry, struct hole *hole)
{
	ASSERT(entry->is_hole);
	*hole = (struct hole){.first = entry->first,
			      .last = entry->last,
			      .hash_before = entry->index == 0
						     ? block->hash_before
						     : block_hash_after(block, entry->index - 1),
			      .hash_after = block_hash_after(block, entry->index)};
}
