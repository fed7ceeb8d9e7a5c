/*
 * The scanner, given bytes in pieces, says what it says of the whole; with a bound it says TOO_LONG
 * only of what does not end within it; what it passes the reader can skip.
 *
 * Input: bytes_max, depth_max, piece size, then the bytes.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "base/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum msgpack_scan scan_pieces(struct msgpack_scanner *scanner, struct span bytes,
				     size_t piece)
{
	enum msgpack_scan outcome = MSGPACK_SCAN_MORE;

	for (size_t arrived = 0; outcome == MSGPACK_SCAN_MORE && arrived < bytes.size;) {
		size_t before = scanner->offset;

		arrived = bytes.size - arrived < piece ? bytes.size : arrived + piece;
		/* A copy that ends where the bytes end, for the sanitizer to watch. */
		uint8_t *copy = memory_copy(bytes.data, arrived);

		outcome = msgpack_scan(scanner, copy, arrived);
		ASSERT(scanner->offset >= before && scanner->offset <= arrived);
		memory_free(copy);
	}
	return outcome;
}

static void check_bound(struct span bytes, size_t bytes_max, uint32_t depth_max)
{
	struct msgpack_scanner bounded, free;

	msgpack_scanner_init(&bounded, bytes_max, depth_max);
	msgpack_scanner_init(&free, SIZE_MAX, depth_max);
	enum msgpack_scan outcome = msgpack_scan(&bounded, bytes.data, bytes.size);
	enum msgpack_scan wanted = msgpack_scan(&free, bytes.data, bytes.size);
	bool fits = wanted == MSGPACK_SCAN_VALUE && free.offset <= bytes_max;

	ASSERT(outcome == wanted || outcome == MSGPACK_SCAN_TOO_LONG);
	ASSERT((outcome == MSGPACK_SCAN_VALUE) == fits);
}

static void check_skip(struct span bytes, uint32_t depth_max)
{
	struct msgpack_reader reader = msgpack_reader_of(bytes);
	struct msgpack_scanner scanner;

	msgpack_scanner_init(&scanner, SIZE_MAX, depth_max);
	enum msgpack_scan outcome = msgpack_scan(&scanner, bytes.data, bytes.size);
	bool skipped = msgpack_read_skip(&reader);

	ASSERT(outcome == MSGPACK_SCAN_TOO_DEEP || skipped == (outcome == MSGPACK_SCAN_VALUE));
	ASSERT(outcome != MSGPACK_SCAN_VALUE || reader.at == bytes.data + scanner.offset);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msgpack_scanner whole, pieces;

	if (size < 4 || size > 4096)
		return 0;
	size_t bytes_max = data[0];
	uint32_t depth_max = data[1] % (LIMIT_DEPTH + 1);
	struct span bytes = span_of(data + 3, size - 3);

	msgpack_scanner_init(&whole, bytes_max, depth_max);
	msgpack_scanner_init(&pieces, bytes_max, depth_max);
	enum msgpack_scan wanted = msgpack_scan(&whole, bytes.data, bytes.size);

	ASSERT(scan_pieces(&pieces, bytes, 1u + data[2] % 16u) == wanted);
	ASSERT(wanted != MSGPACK_SCAN_VALUE || pieces.offset == whole.offset);
	check_bound(bytes, bytes_max, depth_max);
	check_skip(bytes, depth_max);
	return 0;
}
