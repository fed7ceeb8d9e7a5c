/* Packed positions. */
#include "storage/posting.h"

#include "base/assert.h"

#include <errno.h>

size_t varint_write(uint8_t *at, uint64_t value)
{
	size_t size = 0;

	while (value >= 0x80) {
		at[size++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	at[size++] = (uint8_t)value;
	ASSERT(size <= VARINT_BYTES_MAX);
	return size;
}

bool varint_read(struct span *bytes, uint64_t *value)
{
	uint64_t result = 0;

	for (size_t i = 0; i < bytes->size && i < VARINT_BYTES_MAX; i++) {
		uint8_t byte = bytes->data[i];

		if (i == VARINT_BYTES_MAX - 1 && byte > 1)
			return false;
		result |= (uint64_t)(byte & 0x7f) << (7 * i);
		if (byte >= 0x80)
			continue;
		if (byte == 0 && i > 0)
			return false;
		bytes->data += i + 1;
		bytes->size -= i + 1;
		*value = result;
		return true;
	}
	return false;
}

size_t posting_pack(const uint64_t *positions, size_t count, size_t bytes_max, struct buffer *into)
{
	uint64_t before = 0;
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t packed[VARINT_BYTES_MAX];

		ASSERT(positions[i] > before);
		size_t size = varint_write(packed, positions[i] - before);
		if (used + size > bytes_max)
			return i;
		buffer_append(into, packed, size);
		used += size;
		before = positions[i];
	}
	return count;
}

int posting_unpack(struct span chunk, uint64_t *positions, uint32_t *count)
{
	uint64_t position = 0;
	uint32_t unpacked = 0;

	if (chunk.size > POSTING_CLOSED_BYTES)
		return -EBADMSG;
	while (chunk.size > 0) {
		uint64_t difference;

		if (!varint_read(&chunk, &difference) || difference == 0 ||
		    difference > UINT64_MAX - position)
			return -EBADMSG;
		position += difference;
		positions[unpacked++] = position;
	}
	ASSERT(unpacked <= POSTING_COUNT_MAX);
	*count = unpacked;
	return 0;
}
