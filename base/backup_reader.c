/* Reading a backup file, front to back. */
#include "base/backup_inside.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/checksum.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

struct backup_reader {
	int file;
	char *path;
	struct backup_report report; /* file_bytes: as the file system says */
	struct backup_chain chain;
	uint64_t at;       /* bytes read */
	uint64_t checksum; /* the last field of what was read last */
	struct buffer packed, content;
	ZSTD_DCtx *zstd;
};

/* Bytes of the file; *size less than wanted: it ends there. */
static int read_up_to(struct backup_reader *reader, uint8_t *into, size_t wanted, size_t *size,
		      struct error *error)
{
	*size = 0;
	while (*size < wanted) {
		ssize_t got = read(reader->file, into + *size, wanted - *size);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_set_errno(error, errno, "cannot read %s", reader->path);
		if (got == 0)
			break;
		*size += (size_t)got;
	}
	reader->at += *size;
	return 0;
}

static int cut_off(const struct backup_reader *reader, struct error *error, const char *where)
{
	return error_set(error, -EBADMSG, "%s is cut off: it ends at byte %" PRIu64 ", %s",
			 reader->path, reader->at, where);
}

static int read_exactly(struct backup_reader *reader, uint8_t *into, size_t wanted,
			const char *where, struct error *error)
{
	size_t size;
	int rc = read_up_to(reader, into, wanted, &size, error);

	if (rc == 0 && size < wanted)
		rc = cut_off(reader, error, where);
	return rc;
}

static int read_header(struct backup_reader *reader, struct error *error)
{
	uint8_t bytes[BACKUP_HEADER_BYTES];
	int rc = read_exactly(reader, bytes, sizeof bytes, "within its header", error);

	if (rc != 0)
		return rc;
	rc = backup_header_decode(bytes, &reader->report.header, &reader->checksum, error);
	if (rc != 0)
		error_prefix(error, "%s", reader->path);
	return rc;
}

static int open_file(struct backup_reader *reader, struct error *error)
{
	struct stat stat;

	reader->file = open(reader->path, O_RDONLY | O_CLOEXEC);
	if (reader->file < 0)
		return error_set_errno(error, errno, "cannot open %s", reader->path);
	if (fstat(reader->file, &stat) < 0)
		return error_set_errno(error, errno, "cannot read %s", reader->path);
	if (!S_ISREG(stat.st_mode))
		return error_set(error, -EINVAL, "%s is no regular file", reader->path);
	reader->report.file_bytes = (uint64_t)stat.st_size;
	(void)posix_fadvise(reader->file, 0, 0, POSIX_FADV_SEQUENTIAL);
	return read_header(reader, error);
}

int backup_reader_open(struct backup_reader **into, const char *path, struct error *error)
{
	struct backup_reader *reader = memory_zeroed(1, sizeof *reader);

	reader->path = memory_copy_string(path);
	buffer_init(&reader->packed);
	buffer_init(&reader->content);
	reader->zstd = memory_or_stop(ZSTD_createDCtx());
	int rc = open_file(reader, error);

	if (rc != 0) {
		backup_reader_close(reader);
		return rc;
	}
	*into = reader;
	return 0;
}

const struct backup_header *backup_reader_header(const struct backup_reader *reader)
{
	return &reader->report.header;
}

void backup_reader_report(const struct backup_reader *reader, struct backup_report *report)
{
	*report = reader->report;
	report->records = reader->chain.records;
	report->holes = reader->chain.holes;
}

uint64_t backup_reader_bytes(const struct backup_reader *reader)
{
	return reader->at;
}

void backup_reader_close(struct backup_reader *reader)
{
	if (reader->file >= 0)
		close(reader->file);
	ZSTD_freeDCtx(reader->zstd);
	buffer_close(&reader->packed);
	buffer_close(&reader->content);
	memory_free(reader->path);
	memory_free(reader);
}

/* ---- frames ---- */

/* Of the frame that is being read. */
static int damaged(const struct backup_reader *reader, struct error *error, const char *what)
{
	return error_set(error, -EBADMSG,
			 "%s is damaged in frame %" PRIu64 ", before byte %" PRIu64 ": %s",
			 reader->path, reader->report.frames + 1, reader->at, what);
}

static int unpack(struct backup_reader *reader, const struct backup_frame *frame,
		  struct error *error)
{
	uint8_t *into;

	if (checksum64(reader->packed.data, frame->packed_bytes) != frame->packed_checksum)
		return damaged(reader, error, "the checksum of its content is wrong");
	buffer_clear(&reader->content);
	into = buffer_reserve(&reader->content, frame->content_bytes);
	size_t size = ZSTD_decompressDCtx(reader->zstd, into, frame->content_bytes,
					  reader->packed.data, frame->packed_bytes);

	if (ZSTD_isError(size) || size != frame->content_bytes)
		return damaged(reader, error, "its content cannot be unpacked");
	reader->content.size = size;
	return 0;
}

static int follow_chain(struct backup_reader *reader, struct error *error)
{
	struct span left = buffer_span(&reader->content);
	size_t size;

	while (left.size > 0) {
		int rc = backup_chain_add(&reader->chain, left, &size, error);

		if (rc != 0) {
			error_prefix(error, "%s is damaged in frame %" PRIu64, reader->path,
				     reader->report.frames + 1);
			return rc;
		}
		left = span_of(left.data + size, left.size - size);
	}
	return 0;
}

static int read_frame(struct backup_reader *reader, const uint8_t *bytes, struct error *error)
{
	struct backup_frame frame;

	if (!backup_frame_decode(bytes, reader->checksum, &frame, &reader->checksum))
		return damaged(reader, error, "the checksum of its header is wrong");
	if (frame.number != reader->report.frames + 1 ||
	    frame.position != reader->chain.position + 1)
		return damaged(reader, error, "it does not follow the frame before it");
	if (frame.content_bytes == 0 || frame.content_bytes > BACKUP_CONTENT_BYTES_MAX ||
	    frame.packed_bytes == 0 ||
	    frame.packed_bytes > ZSTD_COMPRESSBOUND(BACKUP_CONTENT_BYTES_MAX))
		return damaged(reader, error, "its size is out of bounds");
	if (frame.packed_bytes > reader->report.file_bytes - reader->at)
		return cut_off(reader, error, "within a frame");
	buffer_clear(&reader->packed);
	int rc = read_exactly(reader, buffer_reserve(&reader->packed, frame.packed_bytes),
			      frame.packed_bytes, "within a frame", error);

	if (rc == 0)
		rc = unpack(reader, &frame, error);
	if (rc == 0)
		rc = follow_chain(reader, error);
	if (rc != 0)
		return rc;
	reader->report.frames++;
	reader->report.content_bytes += frame.content_bytes;
	return 0;
}

/* ---- the trailer ---- */

static int check_end(struct backup_reader *reader, struct error *error)
{
	uint8_t more;
	size_t size;
	uint64_t end = reader->at;
	int rc = read_up_to(reader, &more, 1, &size, error);

	if (rc == 0 && size > 0)
		rc = error_set(error, -EBADMSG,
			       "%s is damaged: there are bytes behind its trailer, which ends at "
			       "byte %" PRIu64,
			       reader->path, end);
	reader->report.file_bytes = end;
	return rc;
}

static int read_trailer(struct backup_reader *reader, const uint8_t *bytes, struct error *error)
{
	const struct backup_header *header = &reader->report.header;
	const struct backup_chain *chain = &reader->chain;
	struct backup_trailer trailer;

	if (!backup_trailer_decode(bytes, reader->checksum, &trailer))
		return error_set(error, -EBADMSG,
				 "%s is damaged: the checksum of its trailer is wrong",
				 reader->path);
	if (trailer.frames != reader->report.frames || trailer.records != chain->records ||
	    trailer.holes != chain->holes ||
	    trailer.content_bytes != reader->report.content_bytes ||
	    trailer.file_bytes != reader->at)
		return error_set(error, -EBADMSG,
				 "%s is damaged: its trailer tells of %" PRIu32
				 " frames and %" PRIu64 " records, found are %" PRIu64
				 " and %" PRIu64,
				 reader->path, trailer.frames, trailer.records,
				 reader->report.frames, chain->records);
	if (chain->position != header->position || trailer.position != header->position ||
	    chain->hash != header->hash || trailer.hash != header->hash)
		return error_set(
			error, -EBADMSG,
			"%s is damaged: its records end at position %" PRIu64
			" with hash %016" PRIx64 ", its header says %" PRIu64 " and %016" PRIx64,
			reader->path, chain->position, chain->hash, header->position, header->hash);
	return check_end(reader, error);
}

int backup_reader_next(struct backup_reader *reader, struct span *items, struct error *error)
{
	static const char where[] = "and its trailer is missing";
	uint8_t bytes[BACKUP_TRAILER_BYTES];
	int rc = read_exactly(reader, bytes, BACKUP_FRAME_HEADER_BYTES, where, error);

	if (rc != 0)
		return rc;
	*items = (struct span){0};
	if (memcmp(bytes, BACKUP_FRAME_MAGIC, BACKUP_MAGIC_BYTES) == 0) {
		rc = read_frame(reader, bytes, error);
		if (rc == 0)
			*items = buffer_span(&reader->content);
		return rc;
	}
	if (memcmp(bytes, BACKUP_TRAILER_MAGIC, BACKUP_MAGIC_BYTES) != 0)
		return damaged(reader, error, "it begins like neither a frame nor the trailer");
	rc = read_exactly(reader, bytes + BACKUP_FRAME_HEADER_BYTES,
			  BACKUP_TRAILER_BYTES - BACKUP_FRAME_HEADER_BYTES, where, error);
	return rc != 0 ? rc : read_trailer(reader, bytes, error);
}
