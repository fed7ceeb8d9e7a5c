/*
 * Frames of a peer that was let in: whatever is decoded can be encoded again to the same bytes, and
 * what is not plausible is refused. Checksums are mended first, so that the fuzzer gets behind them.
 *
 * Input: header, meta, payload, as on the wire; what is missing counts as zeros.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "raft/payload.h"
#include "raft/wire.h"

#define PEER           3
#define INPUT_MAX      (64 * 1024)
#define ENTRIES_OFFSET WIRE_APPEND_META_BYTES

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The commands among the entries get the seal that their place asks for. */
static void seal_commands(const uint8_t *meta, size_t meta_bytes, uint8_t *payload, size_t bytes)
{
	size_t offset = 0;

	if (meta_bytes < ENTRIES_OFFSET)
		return;
	uint64_t index = bytes_le64(meta + 8) + 1;

	for (size_t at = ENTRIES_OFFSET; at + WIRE_ENTRY_META_BYTES <= meta_bytes;
	     at += WIRE_ENTRY_META_BYTES, index++) {
		size_t entry = bytes_le32(meta + at + 8);

		if (entry > bytes - offset)
			return;
		if (meta[at + 12] == RAFT_COMMAND && entry % 8 == 0 && entry > PAYLOAD_HEADER_BYTES)
			payload_seal(payload + offset, entry - PAYLOAD_HEADER_BYTES, index,
				     bytes_le64(meta + at));
		offset += entry;
	}
}

/* What has no checksum of its own: see wire.h. */
static uint64_t checksum_of_rest(uint8_t type, const uint8_t *meta, size_t meta_bytes,
				 const uint8_t *payload, size_t bytes)
{
	uint64_t checksum = 0;
	size_t offset = 0;

	if (type == WIRE_SNAPSHOT)
		return checksum64_seeded(payload, bytes, 0);
	for (size_t at = ENTRIES_OFFSET; at + WIRE_ENTRY_META_BYTES <= meta_bytes;
	     at += WIRE_ENTRY_META_BYTES) {
		size_t entry = bytes_le32(meta + at + 8);

		if (entry > bytes - offset)
			return 0;
		if (entry > 0 && meta[at + 12] != RAFT_COMMAND)
			checksum = checksum64_seeded(payload + offset, entry, checksum);
		offset += entry;
	}
	return checksum;
}

static void check_again(struct raft_message *message, const uint8_t *frame, size_t head,
			const uint8_t *payload)
{
	struct buffer again;

	buffer_init(&again);
	wire_encode(message, &again);
	/* A configuration may come with other padding. */
	if (message->type != RAFT_IO_INSTALL_SNAPSHOT)
		ASSERT(again.size == head && memcmp(again.data, frame, head) == 0);
	size_t offset = 0;

	for (unsigned i = 0; i < wire_payload_count(message); i++) {
		struct raft_buffer part = wire_payload_at(message, i);

		ASSERT(memcmp(part.base, payload + offset, part.len) == 0);
		offset += part.len;
	}
	buffer_close(&again);
}

static void mend(uint8_t *frame, size_t head, uint8_t *payload, size_t payload_bytes)
{
	size_t meta_bytes = head - WIRE_HEADER_BYTES;
	uint8_t *meta = frame + WIRE_HEADER_BYTES;

	if (frame[4] == WIRE_APPEND)
		seal_commands(meta, meta_bytes, payload, payload_bytes);
	bytes_set_le64(frame + 16, checksum64_seeded(meta, meta_bytes, checksum64(frame, 16)));
	bytes_set_le64(frame + 24, frame[4] == WIRE_APPEND || frame[4] == WIRE_SNAPSHOT
					   ? checksum_of_rest(frame[4], meta, meta_bytes, payload,
							      payload_bytes)
					   : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wire_header header;
	struct raft_message message;
	struct error error;

	if (size < WIRE_HEADER_BYTES || wire_parse_header(data, &header, &error) < 0 ||
	    header.meta_bytes > INPUT_MAX || header.payload_bytes > INPUT_MAX)
		return 0;
	size_t head = WIRE_HEADER_BYTES + header.meta_bytes;
	uint8_t *frame = memory_zeroed(1, head);
	uint8_t *payload = header.payload_bytes > 0 ? raft_calloc(1, header.payload_bytes) : NULL;

	memcpy(frame, data, size < head ? size : head);
	if (size > head && payload != NULL)
		memcpy(payload, data + head,
		       size - head < header.payload_bytes ? size - head : header.payload_bytes);
	mend(frame, head, payload, header.payload_bytes);
	ASSERT(wire_parse_header(frame, &header, &error) == 0);
	if (wire_decode(&header, span_of(frame + WIRE_HEADER_BYTES, header.meta_bytes), payload,
			PEER, &message, &error) == 0) {
		check_again(&message, frame, head, payload);
		wire_release(&message);
	} else {
		raft_free(payload);
	}
	memory_free(frame);
	return 0;
}
