/* Blocks of records: build and read. */
#include "storage/block.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

#include <errno.h>

#define MAGIC           "ANB1"
#define CHECKSUM_OFFSET 28

void block_builder_init(struct block_builder *builder)
{
	*builder = (struct block_builder){0};
	buffer_init(&builder->table);
	buffer_init(&builder->records);
}

void block_builder_close(struct block_builder *builder)
{
	buffer_close(&builder->table);
	buffer_close(&builder->records);
}

void block_builder_start(struct block_builder *builder, uint64_t first_position,
			 uint64_t hash_before)
{
	ASSERT(first_position >= 1);
	builder->first_position = first_position;
	builder->hash_before = hash_before;
	builder->count = 0;
	buffer_clear(&builder->table);
	buffer_clear(&builder->records);
}

bool block_builder_fits(const struct block_builder *builder, size_t size)
{
	size_t used = BLOCK_HEADER_BYTES + builder->table.size + builder->records.size;

	return builder->count == 0 || used + BLOCK_TABLE_ROW_BYTES + size <= BLOCK_BYTES_MAX;
}

void block_builder_add(struct block_builder *builder, struct span record, uint64_t hash_after)
{
	ASSERT(builder->first_position >= 1 && block_builder_fits(builder, record.size));
	buffer_append_span(&builder->records, record);
	uint8_t *row = buffer_reserve(&builder->table, BLOCK_TABLE_ROW_BYTES);

	bytes_set_le64(row, hash_after);
	bytes_set_le32(row + 8, (uint32_t)builder->records.size);
	builder->table.size += BLOCK_TABLE_ROW_BYTES;
	builder->count++;
}

static uint32_t header_checksum(const uint8_t *header)
{
	return (uint32_t)checksum64(header, CHECKSUM_OFFSET);
}

void block_builder_finish(const struct block_builder *builder, struct buffer *into)
{
	ASSERT(builder->count >= 1);
	buffer_clear(into);
	uint8_t *header = buffer_reserve(into, BLOCK_HEADER_BYTES);

	memcpy(header, MAGIC, 4);
	bytes_set_le32(header + 4, builder->count);
	bytes_set_le64(header + 8, builder->first_position);
	bytes_set_le64(header + 16, builder->hash_before);
	bytes_set_le32(header + 24, (uint32_t)builder->records.size);
	bytes_set_le32(header + CHECKSUM_OFFSET, header_checksum(header));
	into->size += BLOCK_HEADER_BYTES;
	buffer_append_span(into, buffer_span(&builder->table));
	buffer_append_span(into, buffer_span(&builder->records));
}

int block_open(struct span value, struct block *block)
{
	const uint8_t *header = value.data;

	if (value.size < BLOCK_HEADER_BYTES || memcmp(header, MAGIC, 4) != 0 ||
	    bytes_le32(header + CHECKSUM_OFFSET) != header_checksum(header))
		return -EBADMSG;
	uint64_t count = bytes_le32(header + 4), size = bytes_le32(header + 24);
	uint64_t table_bytes = count * BLOCK_TABLE_ROW_BYTES;

	if (count == 0 || value.size != BLOCK_HEADER_BYTES + table_bytes + size)
		return -EBADMSG;
	block->first_position = bytes_le64(header + 8);
	block->hash_before = bytes_le64(header + 16);
	block->count = (uint32_t)count;
	block->table = header + BLOCK_HEADER_BYTES;
	block->records = span_of(block->table + table_bytes, size);
	return 0;
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
	if (after != bytes_le64(row))
		return -EBADMSG;
	*record = span_of(block->records.data + begin, end - begin);
	*hash = after;
	return 0;
}
