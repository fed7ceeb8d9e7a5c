/* The check of a raft directory before raft_uv gets it. */
#include "raft/preflight.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "raft/open_segment.h"
#include "raft/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INDEX_DIGITS 16
#define SNAPSHOT_HEAD_BYTES                                                                        \
	32 /* u64 format, checksum, index, bytes of the configuration that follows */
#define SNAPSHOT_BYTES_MAX (MIB + SNAPSHOT_HEAD_BYTES) /* libraft refuses one that is longer */
#define READ_BYTES         (4 * KIB)

/* What raft_uv tries out at each start, and leaves behind when it is cut off there; it cannot start with it. */
static const char probe_name[] = ".probe";

static bool is_open_segment(const char *name)
{
	return strncmp(name, "open-", 5) == 0;
}

/*
 * Prepared, and nothing was written to it. A hole reads as zeros, by what SEEK_DATA promises, and libraft
 * removes a segment of zeros once it has read it all.
 */
static bool is_unwritten(int file, const struct stat *stat, size_t segment_bytes)
{
	return (size_t)stat->st_size >= segment_bytes && lseek(file, 0, SEEK_DATA) < 0 &&
	       errno == ENXIO;
}

/*
 * What raft_uv makes, and what it leaves behind when it is cut off; 'N' stands for a number, 'I' for an index of
 * 16 digits, '*' for anything.
 */
static const char *const known_names[] = {"metadata1",      "metadata2",           "open-N", "I-I",
					  "snapshot-N-N-N", "snapshot-N-N-N.meta", "tmp-*"};

static bool matches(const char *name, const char *pattern)
{
	for (; *pattern != '\0' && *pattern != '*'; pattern++) {
		size_t digits = strspn(name, "0123456789");

		if (*pattern == 'N' || *pattern == 'I') {
			if (digits == 0 || (*pattern == 'I' && digits != INDEX_DIGITS))
				return false;
			name += digits;
		} else if (*name++ != *pattern) {
			return false;
		}
	}
	return *pattern == '*' || *name == '\0';
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < sizeof known_names / sizeof known_names[0]; i++)
		if (matches(name, known_names[i]))
			return true;
	return false;
}

static int prepare_open(int directory, const char *name, size_t segment_bytes, struct error *error)
{
	struct stat stat;
	int file = openat(directory, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int status = 0;

	if (file < 0)
		return error_set_errno(error, errno, "open segment %s", name);
	if (fstat(file, &stat) != 0)
		status = error_set_errno(error, errno, "stat segment %s", name);
	else if ((size_t)stat.st_size < segment_bytes &&
		 (ftruncate(file, (off_t)segment_bytes) != 0 || fsync(file) != 0))
		status = error_set_errno(error, errno, "extend segment %s", name);
	else if (!is_unwritten(file, &stat, segment_bytes))
		status = open_segment_prepare(file, name, error);
	else if (unlinkat(directory, name, 0) != 0)
		status = error_set_errno(error, errno, "remove the unwritten segment %s", name);
	close(file);
	return status;
}

static bool is_snapshot(const char *name)
{
	return matches(name, "snapshot-N-N-N.meta");
}

/* False: one that libraft would read beyond its end. All else that can be wrong with it libraft finds. */
static bool holds_configuration(struct span content)
{
	if (content.size < SNAPSHOT_HEAD_BYTES)
		return true;
	uint64_t size = bytes_le64(content.data + SNAPSHOT_HEAD_BYTES - 8);

	return size > content.size - SNAPSHOT_HEAD_BYTES ||
	       wire_holds_configuration(span_of(content.data + SNAPSHOT_HEAD_BYTES, (size_t)size));
}

static int check_snapshot(int directory, const char *name, struct error *error)
{
	int file = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct buffer content;
	ssize_t count;

	if (file < 0)
		return error_set_errno(error, errno, "open %s", name);
	buffer_init(&content);
	do {
		count = read(file, buffer_reserve(&content, READ_BYTES), READ_BYTES);
		content.size += count > 0 ? (size_t)count : 0;
	} while ((count > 0 && content.size < SNAPSHOT_BYTES_MAX) || (count < 0 && errno == EINTR));
	int status = 0;

	if (count < 0)
		status = error_set_errno(error, errno, "read %s", name);
	else if (!holds_configuration(buffer_span(&content)))
		status = error_set(
			error, -EBADMSG,
			"%s is damaged: it is cut short where it says who the members are", name);
	buffer_close(&content);
	close(file);
	return status;
}

static int check_file(int directory, const char *name, size_t segment_bytes, struct error *error)
{
	struct stat stat;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (strcmp(name, probe_name) == 0)
		return unlinkat(directory, name, 0) == 0
			       ? 0
			       : error_set_errno(error, errno, "remove %s", name);
	if (fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW) != 0)
		return error_set_errno(error, errno, "stat %s", name);
	if (!S_ISREG(stat.st_mode) || !is_known(name))
		return error_set(error, -EBADMSG,
				 "\"%s\" is no part of a raft log: move it out of the directory",
				 name);
	if (is_snapshot(name))
		return check_snapshot(directory, name, error);
	return is_open_segment(name) ? prepare_open(directory, name, segment_bytes, error) : 0;
}

/* NULL, and errno: 0 at the end. */
static struct dirent *next_entry(DIR *directory)
{
	errno = 0;
	return readdir(directory);
}

static int check_all(DIR *directory, size_t segment_bytes, struct error *error)
{
	struct dirent *entry;
	int status = 0;

	while (status == 0 && (entry = next_entry(directory)) != NULL)
		status = check_file(dirfd(directory), entry->d_name, segment_bytes, error);
	if (status == 0 && errno != 0)
		status = error_set_errno(error, errno, "list the files");
	return status;
}

int raft_preflight(const char *directory, size_t segment_bytes, struct error *error)
{
	ASSERT(segment_bytes > 0);
	DIR *opened = opendir(directory);

	if (opened == NULL && errno == ENOENT)
		return 0;
	if (opened == NULL)
		return error_set_errno(error, errno, "open %s", directory);
	int status = check_all(opened, segment_bytes, error);

	if (status < 0)
		error_prefix(error, "%s", directory);
	closedir(opened);
	return status;
}
