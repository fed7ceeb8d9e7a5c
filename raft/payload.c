/* Sealing and opening the payload of a raft entry (the guard's row PAYLOAD). */
#include "raft/payload.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

#include <errno.h>
#include <inttypes.h>

#define MAGIC           UINT32_C(0x31504e41) /* "ANP1" */
#define CHECKSUM_OFFSET 24
#define ALIGNMENT       8u

size_t payload_bytes(size_t body_bytes)
{
	return (PAYLOAD_HEADER_BYTES + body_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t payload_checksum(const uint8_t *payload, size_t body_bytes)
{
	uint64_t header = checksum64(payload, CHECKSUM_OFFSET);

	return checksum64_seeded(payload + PAYLOAD_HEADER_BYTES, body_bytes, header);
}

void payload_seal(uint8_t *payload, size_t body_bytes, uint64_t index, uint64_t term)
{
	size_t padded = payload_bytes(body_bytes);

	ASSERT(body_bytes <= UINT32_MAX);
	bytes_set_le32(payload, MAGIC);
	bytes_set_le32(payload + 4, (uint32_t)body_bytes);
	bytes_set_le64(payload + 8, index);
	bytes_set_le64(payload + 16, term);
	bytes_set_le64(payload + CHECKSUM_OFFSET, payload_checksum(payload, body_bytes));
	memset(payload + PAYLOAD_HEADER_BYTES + body_bytes, 0,
	       padded - PAYLOAD_HEADER_BYTES - body_bytes);
}

/* The padding is outside of the checksum, so it must be what it always is. */
static bool padding_is_zero(struct span bytes, size_t body_bytes)
{
	for (size_t i = PAYLOAD_HEADER_BYTES + body_bytes; i < bytes.size; i++)
		if (bytes.data[i] != 0)
			return false;
	return true;
}

int payload_open(struct span bytes, uint64_t expected_index, struct payload *payload,
		 struct error *error)
{
	if (bytes.size < PAYLOAD_HEADER_BYTES || bytes_le32(bytes.data) != MAGIC)
		return error_set(error, -EBADMSG, "payload: %zu bytes without its header",
				 bytes.size);
	size_t body_bytes = bytes_le32(bytes.data + 4);
	uint64_t index = bytes_le64(bytes.data + 8);

	if (payload_bytes(body_bytes) != bytes.size)
		return error_set(error, -EBADMSG,
				 "payload of index %" PRIu64 ": %zu bytes, its header says %zu",
				 index, bytes.size, payload_bytes(body_bytes));
	if (payload_checksum(bytes.data, body_bytes) != bytes_le64(bytes.data + CHECKSUM_OFFSET) ||
	    !padding_is_zero(bytes, body_bytes))
		return error_set(error, -EBADMSG,
				 "payload of index %" PRIu64 ": its checksum does not fit", index);
	if (expected_index != 0 && index != expected_index)
		return error_set(error, -EBADMSG,
				 "payload of index %" PRIu64 " found at index %" PRIu64, index,
				 expected_index);
	payload->index = index;
	payload->term = bytes_le64(bytes.data + 16);
	payload->body = span_of(bytes.data + PAYLOAD_HEADER_BYTES, body_bytes);
	return 0;
}
