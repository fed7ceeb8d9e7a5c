#include "raft/open_segment.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/limits.h"

#include <errno.h>
#include <inttypes.h>
#include <raft.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT         1
#define FORMAT_BYTES   8u
#define SECTOR_BYTES   512u /* that a disk writes whole or not at all */
#define CHECKSUM_BYTES 8u
#define COUNT_BYTES    8u
#define ENTRY_BYTES    16u
#define ENTRIES_MAX    262144u /* of a batch: of more libraft takes no notice */
#define READ_BYTES     (256 * KIB)
#define MORE_BYTES     4096 /* zeros, behind a segment that is as good as full */

/* What is looked at of the file: `bytes` from `start` on. */
struct view {
	int file;
	size_t size; /* of the file */
	size_t start;
	struct buffer bytes;
	uint32_t table[256]; /* of checksums */
};

static void fill_table(uint32_t table[256])
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t bits = byte << 24;

		for (int bit = 0; bit < 8; bit++)
			bits = bits << 1 ^ (bits >> 31 != 0 ? UINT32_C(0x04c11db7) : 0);
		table[byte] = bits;
	}
}

static uint32_t checksum_of(const uint32_t table[256], const uint8_t *data, size_t size)
{
	uint32_t checksum = 0;

	for (size_t i = 0; i < size; i++)
		checksum = checksum << 8 ^ table[checksum >> 24 ^ data[i]];
	return checksum;
}

static int read_from(struct view *view, size_t at, size_t wanted, struct error *error)
{
	buffer_clear(&view->bytes);
	view->start = at;
	while (view->bytes.size < wanted) {
		ssize_t count = pread(view->file, buffer_reserve(&view->bytes, wanted),
				      wanted - view->bytes.size, (off_t)(at + view->bytes.size));

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return error_set_errno(error, count < 0 ? errno : EIO, "read at byte %zu",
					       at);
		view->bytes.size += (size_t)count;
	}
	return 0;
}

/* `*found`: these bytes of the file, which has them; valid until the next call. */
static int look(struct view *view, size_t at, size_t size, const uint8_t **found,
		struct error *error)
{
	ASSERT(size <= view->size && at <= view->size - size);
	if (at < view->start || at + size > view->start + view->bytes.size) {
		size_t wanted = size > READ_BYTES ? size : READ_BYTES;
		size_t left = view->size - at;
		int status = read_from(view, at, wanted < left ? wanted : left, error);

		if (status < 0)
			return status;
	}
	*found = view->bytes.data + (at - view->start);
	return 0;
}

static int damaged(struct error *error, size_t at, const char *what)
{
	return error_set(error, -EBADMSG, "damaged at byte %zu: %s", at, what);
}

/* The bytes of the batch; 0: libraft goes no further. -EBADMSG: it would fail. */
static int measure(struct view *view, size_t at, size_t *batch_bytes, struct error *error)
{
	size_t room = view->size - at - CHECKSUM_BYTES, data_bytes = 0;
	const uint8_t *batch, *entry;

	*batch_bytes = 0;
	int status = look(view, at, CHECKSUM_BYTES + COUNT_BYTES, &batch, error);

	if (status < 0)
		return status;
	uint32_t checksum = bytes_le32(batch);
	uint64_t count = bytes_le64(batch + CHECKSUM_BYTES);

	if (count == 0 || count > ENTRIES_MAX)
		return 0;
	size_t header_bytes = COUNT_BYTES + ENTRY_BYTES * (size_t)count;

	if (header_bytes > room)
		return damaged(error, at, "it has no room for as many entries as a batch says");
	status = look(view, at + CHECKSUM_BYTES, header_bytes, &batch, error);
	if (status < 0)
		return status;
	if (checksum_of(view->table, batch, header_bytes) != checksum)
		return 0;
	for (entry = batch + COUNT_BYTES; entry < batch + header_bytes; entry += ENTRY_BYTES) {
		if (entry[8] < RAFT_COMMAND || entry[8] > RAFT_CHANGE)
			return damaged(error, at, "an entry is of no type that there is");
		data_bytes += bytes_le32(entry + 12);
	}
	if (data_bytes > room - header_bytes)
		return damaged(error, at, "it ends before the entries of a batch do");
	*batch_bytes = CHECKSUM_BYTES + header_bytes + data_bytes;
	return 0;
}

static int add_zeros(struct view *view, struct error *error)
{
	if (ftruncate(view->file, (off_t)(view->size + MORE_BYTES)) != 0 || fsync(view->file) != 0)
		return error_set_errno(error, errno, "extend");
	return 0;
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/*
 * The first write puts the format there. Where its sector has not been written, that write was cut off, of which
 * later sectors may be there all the same; it was never synced, and nothing was written behind it before it
 * was. libraft gives up on such a segment, and removes one of zeros.
 */
static int empty(struct view *view, struct error *error)
{
	if (ftruncate(view->file, 0) != 0 || ftruncate(view->file, (off_t)view->size) != 0 ||
	    fsync(view->file) != 0)
		return error_set_errno(error, errno, "empty");
	return 0;
}

static int check_batches(struct view *view, struct error *error)
{
	size_t at = FORMAT_BYTES, batch_bytes = 0;
	size_t sector_bytes = view->size < SECTOR_BYTES ? view->size : SECTOR_BYTES;
	const uint8_t *first;
	int status = look(view, 0, sector_bytes, &first, error);

	if (status == 0 && is_zero(first, sector_bytes))
		return empty(view, error);
	if (status < 0 || bytes_le64(first) != FORMAT)
		return status;
	do {
		if (at == view->size)
			return 0;
		if (view->size - at < CHECKSUM_BYTES + COUNT_BYTES)
			return add_zeros(view, error);
		status = measure(view, at, &batch_bytes, error);
		at += batch_bytes;
	} while (status == 0 && batch_bytes > 0);
	return status;
}

int open_segment_prepare(int file, const char *name, struct error *error)
{
	struct view view = {.file = file};
	struct stat stat;
	int status = 0;

	buffer_init(&view.bytes);
	fill_table(view.table);
	if (fstat(file, &stat) != 0)
		status = error_set_errno(error, errno, "stat");
	view.size = status == 0 ? (size_t)stat.st_size : 0;
	if (view.size >= FORMAT_BYTES)
		status = check_batches(&view, error);
	if (status < 0)
		error_prefix(error, "open segment %s", name);
	buffer_close(&view.bytes);
	return status;
}
