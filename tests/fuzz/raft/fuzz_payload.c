/*
 * The payload of a raft entry: refused with a message, or whole, at its place, and what sealing its body
 * again gives. The checksum is made right first when the first byte says so.
 *
 * Input: whether to mend (bit 0), whether an index is expected (bit 1); the payload.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "raft/payload.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(uint8_t *payload, size_t size)
{
	if (size < PAYLOAD_HEADER_BYTES)
		return;
	size_t body = bytes_le32(payload + 4);

	if (body > size - PAYLOAD_HEADER_BYTES)
		return;
	bytes_set_le64(payload + 24, checksum64_seeded(payload + PAYLOAD_HEADER_BYTES, body,
						       checksum64(payload, 24)));
}

static void check_sealed(struct span bytes, const struct payload *payload)
{
	size_t size = payload_bytes(payload->body.size);
	uint8_t *again = memory_alloc(size);

	ASSERT(size == bytes.size && size % 8 == 0);
	memcpy(again + PAYLOAD_HEADER_BYTES, payload->body.data, payload->body.size);
	payload_seal(again, payload->body.size, payload->index, payload->term);
	ASSERT(memcmp(again, bytes.data, size) == 0);
	memory_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error error = {{0}};
	struct payload payload;

	if (size < 1)
		return 0;
	uint8_t *copy = memory_copy(data + 1, size - 1);
	struct span bytes = span_of(copy, size - 1);
	uint64_t expected = (data[0] & 2) != 0 ? 7 : 0;

	if ((data[0] & 1) != 0)
		mend(copy, size - 1);
	int status = payload_open(bytes, expected, &payload, &error);

	if (status == 0) {
		ASSERT(expected == 0 || payload.index == expected);
		check_sealed(bytes, &payload);
	} else {
		ASSERT(status == -EBADMSG && error.message[0] != '\0');
	}
	memory_free(copy);
	return 0;
}
