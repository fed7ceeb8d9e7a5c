/*
 * Writing a backup file: PATH.partial until it is whole, then PATH. What is written goes to the disk
 * soon and leaves the page cache, so that a large backup does not push out what the store reads.
 */
#include "base/backup_inside.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>
#include <zstd.h>

#define LEVEL          1 /* the quickest: appends share the processors */
#define SUFFIX         ".partial"
#define PUSHED_OUT_LAG (16 * MIB) /* what is written is waited for this far behind */

struct backup_writer {
	int file; /* -1: there is none */
	char *path, *partial;
	struct backup_header header;
	struct backup_chain chain;
	uint32_t frames;
	uint64_t content_bytes, bytes, pushed_out;
	uint64_t first_position; /* of what is in `content` */
	uint64_t checksum;
	struct buffer content, packed;
	ZSTD_CCtx *zstd;
};

/* ---- the file ---- */

/* Hand what was written to the disk without waiting, and forget what has arrived there. */
static void push_out(struct backup_writer *writer)
{
	uint64_t done = writer->bytes > PUSHED_OUT_LAG ? writer->bytes - PUSHED_OUT_LAG : 0;

	(void)sync_file_range(writer->file, 0, 0, SYNC_FILE_RANGE_WRITE);
	if (done <= writer->pushed_out)
		return;
	(void)sync_file_range(
		writer->file, (off_t)writer->pushed_out, (off_t)(done - writer->pushed_out),
		SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
	(void)posix_fadvise(writer->file, (off_t)writer->pushed_out,
			    (off_t)(done - writer->pushed_out), POSIX_FADV_DONTNEED);
	writer->pushed_out = done;
}

static int write_all(struct backup_writer *writer, const void *data, size_t size,
		     struct error *error)
{
	const uint8_t *from = data;

	while (size > 0) {
		ssize_t written = write(writer->file, from, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return error_set_errno(error, written < 0 ? errno : ENOSPC,
					       "cannot write %s", writer->partial);
		from += written;
		size -= (size_t)written;
		writer->bytes += (uint64_t)written;
	}
	return 0;
}

static int open_partial(struct backup_writer *writer, struct error *error)
{
	uint8_t bytes[BACKUP_HEADER_BYTES];

	if (access(writer->path, F_OK) == 0)
		return error_set(error, -EEXIST, "%s is there already: give a new name",
				 writer->path);
	writer->file = open(writer->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (writer->file < 0 && errno == EEXIST)
		return error_set(error, -EEXIST,
				 "%s is there already: remove it, if it is left of a backup that "
				 "was cut off",
				 writer->partial);
	if (writer->file < 0)
		return error_set_errno(error, errno, "cannot make %s", writer->partial);
	writer->checksum = backup_header_encode(&writer->header, bytes);
	return write_all(writer, bytes, sizeof bytes, error);
}

int backup_writer_open(struct backup_writer **into, const char *path,
		       const struct backup_header *header, struct error *error)
{
	size_t size = strlen(path);

	if (size == 0 || size + sizeof SUFFIX > PATH_MAX)
		return error_set(error, -EINVAL, "the name of a backup has 1 to %zu bytes",
				 PATH_MAX - sizeof SUFFIX);
	struct backup_writer *writer = memory_zeroed(1, sizeof *writer);

	writer->file = -1;
	writer->header = *header;
	writer->path = memory_copy_string(path);
	writer->partial = memory_alloc(size + sizeof SUFFIX);
	memcpy(writer->partial, path, size);
	memcpy(writer->partial + size, SUFFIX, sizeof SUFFIX);
	buffer_init(&writer->content);
	buffer_init(&writer->packed);
	writer->zstd = memory_or_stop(ZSTD_createCCtx());
	int rc = open_partial(writer, error);

	if (rc != 0) {
		backup_writer_close(writer);
		return rc;
	}
	*into = writer;
	return 0;
}

/* ---- frames ---- */

static int write_frame(struct backup_writer *writer, struct error *error)
{
	size_t bound = ZSTD_compressBound(writer->content.size);
	struct backup_frame frame = {.number = writer->frames + 1,
				     .content_bytes = (uint32_t)writer->content.size,
				     .position = writer->first_position};
	uint8_t bytes[BACKUP_FRAME_HEADER_BYTES];

	ASSERT(writer->content.size > 0 && writer->content.size <= BACKUP_CONTENT_BYTES_MAX);
	buffer_clear(&writer->packed);
	size_t size = ZSTD_compressCCtx(writer->zstd, buffer_reserve(&writer->packed, bound), bound,
					writer->content.data, writer->content.size, LEVEL);

	ASSERT(!ZSTD_isError(size));
	frame.packed_bytes = (uint32_t)size;
	frame.packed_checksum = checksum64(writer->packed.data, size);
	writer->checksum = backup_frame_encode(&frame, writer->checksum, bytes);
	int rc = write_all(writer, bytes, sizeof bytes, error);

	if (rc == 0)
		rc = write_all(writer, writer->packed.data, size, error);
	if (rc != 0)
		return rc;
	push_out(writer);
	writer->frames++;
	writer->content_bytes += writer->content.size;
	buffer_clear(&writer->content);
	return 0;
}

int backup_writer_add(struct backup_writer *writer, struct span items, struct error *error)
{
	while (items.size > 0 && writer->chain.position < writer->header.position) {
		uint64_t before = writer->chain.position;
		size_t size;
		int rc = backup_chain_add(&writer->chain, items, &size, error);

		if (rc != 0)
			return rc;
		if (size > BACKUP_CONTENT_BYTES_MAX - BACKUP_CONTENT_BYTES)
			return error_set(error, -EBADMSG, "a record of %zu bytes is too large",
					 size);
		if (writer->content.size == 0)
			writer->first_position = before + 1;
		buffer_append(&writer->content, items.data, size);
		items = span_of(items.data + size, items.size - size);
		if (writer->content.size >= BACKUP_CONTENT_BYTES)
			rc = write_frame(writer, error);
		if (rc != 0)
			return rc;
	}
	return 0;
}

uint64_t backup_writer_position(const struct backup_writer *writer)
{
	return writer->chain.position;
}

uint64_t backup_writer_bytes(const struct backup_writer *writer)
{
	return writer->bytes;
}

/* ---- the end ---- */

int backup_writer_complete(struct backup_writer *writer, struct error *error)
{
	const struct backup_chain *chain = &writer->chain;
	uint8_t bytes[BACKUP_TRAILER_BYTES];
	int rc = 0;

	if (chain->position != writer->header.position || chain->hash != writer->header.hash)
		return error_set(error, -EBADMSG,
				 "the records end at position %" PRIu64 " with hash %016" PRIx64
				 ", wanted are %" PRIu64 " and %016" PRIx64,
				 chain->position, chain->hash, writer->header.position,
				 writer->header.hash);
	if (writer->content.size > 0)
		rc = write_frame(writer, error);
	struct backup_trailer trailer = {.frames = writer->frames,
					 .records = chain->records,
					 .holes = chain->holes,
					 .content_bytes = writer->content_bytes,
					 .file_bytes = writer->bytes + BACKUP_TRAILER_BYTES,
					 .position = chain->position,
					 .hash = chain->hash};

	(void)backup_trailer_encode(&trailer, writer->checksum, bytes);
	if (rc == 0)
		rc = write_all(writer, bytes, sizeof bytes, error);
	if (rc == 0 && fsync(writer->file) < 0)
		rc = error_set_errno(error, errno, "cannot sync %s", writer->partial);
	return rc;
}

/* Some file systems cannot rename without replacing; all but a few can link. */
static int rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	return link(from, to) == 0 ? unlink(from) : -1;
}

int backup_writer_publish(struct backup_writer *writer, struct error *error)
{
	ASSERT(writer->file >= 0);
	if (rename_new(writer->partial, writer->path) < 0)
		return error_set_errno(error, errno, "cannot name the backup %s", writer->path);
	close(writer->file);
	writer->file = -1;
	int rc = file_sync_parent(writer->path, error);

	/* Whoever is told that there is no backup must not find one. */
	if (rc != 0)
		unlink(writer->path);
	return rc;
}

void backup_writer_close(struct backup_writer *writer)
{
	if (writer->file >= 0) {
		close(writer->file);
		unlink(writer->partial);
	}
	ZSTD_freeCCtx(writer->zstd);
	buffer_close(&writer->content);
	buffer_close(&writer->packed);
	memory_free(writer->partial);
	memory_free(writer->path);
	memory_free(writer);
}
