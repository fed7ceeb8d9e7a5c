/* The hard state on file. Opening reads both slots and both notes; afterwards one page is mapped.
 */
#include "raft/hardstate.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/file.h"
#include "base/memory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC         "ANHS0001"
#define MAGIC_BYTES   8
#define SLOT_BYTES    512
#define SLOT_CHECKSUM 48
#define NOTES_OFFSET  4096
#define NOTE_BYTES    64
#define NOTE_CHECKSUM 24
#define FILE_BYTES    8192

static_assert(SLOT_CHECKSUM == 40 + 8 && SLOT_CHECKSUM + 8 <= SLOT_BYTES,
	      "the checksum follows the last field");
static_assert(NOTES_OFFSET >= 2 * SLOT_BYTES, "notes are no part of a slot's page");
static_assert(NOTES_OFFSET + 2 * NOTE_BYTES <= FILE_BYTES, "both notes are in the file");

struct hardstate_file {
	int descriptor;
	uint8_t *notes;    /* mapped: NOTES_OFFSET to the end */
	uint64_t sequence; /* of the newest slot */
	uint64_t noted;    /* notes since then */
	char *path;
};

static void slot_encode(const struct hardstate *state, uint64_t sequence, uint8_t into[SLOT_BYTES])
{
	memset(into, 0, SLOT_BYTES);
	memcpy(into, MAGIC, MAGIC_BYTES);
	bytes_set_le64(into + 8, sequence);
	bytes_set_le64(into + 16, state->term);
	bytes_set_le64(into + 24, state->vote);
	bytes_set_le64(into + 32, state->synced_index);
	bytes_set_le64(into + 40, state->pulled_index);
	bytes_set_le64(into + SLOT_CHECKSUM, checksum64(into, SLOT_CHECKSUM));
}

static bool slot_is_whole(const uint8_t *slot)
{
	return memcmp(slot, MAGIC, MAGIC_BYTES) == 0 &&
	       bytes_le64(slot + SLOT_CHECKSUM) == checksum64(slot, SLOT_CHECKSUM);
}

static void read_notes(const struct hardstate_file *file, struct hardstate *state)
{
	for (int i = 0; i < 2; i++) {
		uint8_t *note = file->notes + i * NOTE_BYTES;
		uint64_t synced = bytes_le64(note + 16);

		/* Of a slot that is damaged; its number comes again, with the next save. */
		if (bytes_le64(note) > file->sequence)
			memset(note, 0, NOTE_BYTES);
		if (bytes_le64(note) == file->sequence &&
		    bytes_le64(note + NOTE_CHECKSUM) == checksum64(note, NOTE_CHECKSUM) &&
		    synced > state->synced_index)
			state->synced_index = synced;
	}
}

static int read_slots(struct hardstate_file *file, struct hardstate *state, struct error *error)
{
	uint8_t bytes[2 * SLOT_BYTES];
	const uint8_t *newest = NULL;
	ssize_t size = pread(file->descriptor, bytes, sizeof bytes, 0);

	if (size < 0)
		return error_set_errno(error, errno, "read %s", file->path);
	if ((size_t)size < sizeof bytes)
		return error_set(error, -EBADMSG, "%s is too short to be a hard state", file->path);
	for (int i = 0; i < 2; i++) {
		const uint8_t *slot = bytes + i * SLOT_BYTES;

		if (slot_is_whole(slot) && bytes_le64(slot + 8) % 2 == (uint64_t)i &&
		    (newest == NULL || bytes_le64(slot + 8) > bytes_le64(newest + 8)))
			newest = slot;
	}
	if (newest == NULL)
		return error_set(error, -EBADMSG,
				 "%s is damaged: neither of its two records is whole. The node may "
				 "have forgotten a vote: empty its directory, remove it from the "
				 "cluster and add it again under a new id",
				 file->path);
	file->sequence = bytes_le64(newest + 8);
	state->term = bytes_le64(newest + 16);
	state->vote = bytes_le64(newest + 24);
	state->synced_index = bytes_le64(newest + 32);
	state->pulled_index = bytes_le64(newest + 40);
	return 0;
}

static int write_slot(struct hardstate_file *file, const struct hardstate *state,
		      struct error *error)
{
	uint8_t slot[SLOT_BYTES];
	uint64_t sequence = file->sequence + 1;
	off_t offset = (off_t)(sequence % 2 * SLOT_BYTES);

	slot_encode(state, sequence, slot);
	ssize_t size = pwrite(file->descriptor, slot, sizeof slot, offset);

	if (size != (ssize_t)sizeof slot)
		return error_set_errno(error, size < 0 ? errno : ENOSPC, "write %s", file->path);
	if (fdatasync(file->descriptor) != 0)
		return error_set_errno(error, errno, "sync %s", file->path);
	file->sequence = sequence;
	file->noted = 0;
	return 0;
}

static int open_descriptor(struct hardstate_file *file, struct error *error)
{
	file->descriptor = open(file->path, O_RDWR | O_CLOEXEC);
	return file->descriptor >= 0 ? 0 : error_set_errno(error, errno, "open %s", file->path);
}

static int map_notes(struct hardstate_file *file, struct error *error)
{
	struct stat found;

	if (fstat(file->descriptor, &found) != 0)
		return error_set_errno(error, errno, "look at %s", file->path);
	if (found.st_size != FILE_BYTES)
		return error_set(error, -EBADMSG, "%s has %lld bytes instead of %d", file->path,
				 (long long)found.st_size, FILE_BYTES);
	void *notes = mmap(NULL, FILE_BYTES - NOTES_OFFSET, PROT_READ | PROT_WRITE, MAP_SHARED,
			   file->descriptor, NOTES_OFFSET);

	if (notes == MAP_FAILED)
		return error_set_errno(error, errno, "map %s", file->path);
	file->notes = notes;
	return 0;
}

/*
 * 1: there is none, or an empty one, whose creation was cut off before anything relied on it; 0: there is;
 * or an error.
 */
static int is_missing(const char *path, struct error *error)
{
	struct stat found;

	if (stat(path, &found) == 0)
		return found.st_size == 0;
	return errno == ENOENT ? 1 : error_set_errno(error, errno, "look for %s", path);
}

static int create(const char *path, struct error *error)
{
	const struct hardstate nothing = {0};
	uint8_t bytes[FILE_BYTES] = {0};

	slot_encode(&nothing, 1, bytes + SLOT_BYTES);
	return file_replace(path, span_of(bytes, sizeof bytes), error);
}

int hardstate_file_open(struct hardstate_file **opened, const char *path, bool create_it,
			struct hardstate *state, struct error *error)
{
	struct hardstate_file *file = memory_zeroed(1, sizeof *file);
	struct hardstate found = {0};
	int status = 0;

	file->path = memory_copy_string(path);
	file->descriptor = -1;
	if (create_it)
		status = is_missing(path, error);
	if (status > 0)
		status = create(path, error);
	if (status == 0)
		status = open_descriptor(file, error);
	if (status == 0)
		status = map_notes(file, error);
	if (status == 0)
		status = read_slots(file, &found, error);
	if (status < 0) {
		hardstate_file_close(file);
		return status;
	}
	read_notes(file, &found);
	*state = found;
	*opened = file;
	return 0;
}

static int save(void *impl, const struct hardstate *state, struct error *error)
{
	ASSERT(impl != NULL);
	return write_slot(impl, state, error);
}

static void note(void *impl, const struct hardstate *state)
{
	struct hardstate_file *file = impl;
	uint8_t *at = file->notes + file->noted % 2 * NOTE_BYTES;
	uint8_t bytes[NOTE_CHECKSUM + 8];

	bytes_set_le64(bytes, file->sequence);
	bytes_set_le64(bytes + 8, ++file->noted);
	bytes_set_le64(bytes + 16, state->synced_index);
	bytes_set_le64(bytes + NOTE_CHECKSUM, checksum64(bytes, NOTE_CHECKSUM));
	memcpy(at, bytes, sizeof bytes);
}

struct hardstate_keeper hardstate_file_keeper(struct hardstate_file *file)
{
	ASSERT(file != NULL);
	return (struct hardstate_keeper){.impl = file, .save = save, .note = note};
}

void hardstate_file_close(struct hardstate_file *file)
{
	if (file == NULL)
		return;
	if (file->notes != NULL)
		munmap(file->notes, FILE_BYTES - NOTES_OFFSET);
	if (file->descriptor >= 0)
		close(file->descriptor);
	memory_free(file->path);
	memory_free(file);
}
