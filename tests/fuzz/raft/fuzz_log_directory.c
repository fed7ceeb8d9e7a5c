/*
 * A raft directory with any files in it, as a node that starts finds it: the preflight, libraft's own reading of
 * metadata, segments and snapshots, the guard's checks. Refused as damage, with a message that names the directory;
 * or taken: then each command is whole and at its index, and reading it once more finds the same.
 *
 * Checksums (of libraft over each batch and each snapshot's configuration, ours over each payload and over the
 * manifest) are made right first, so that the fuzzer gets behind them.
 *
 * Input, numbers of one byte unless said:
 *   what is so (below); how far the store has applied; with HAS_RECORD: term, vote, synced index of our record
 *   files: which (below), two numbers of its name, u16 bytes of content (the rest, when there are less), content
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "raft/hardstate.h"
#include "raft/offline.h"
#include "raft/payload.h"
#include "raft/peers.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_CHECKSUMS 1u
#define HAS_STARTED    2u /* the peers file says that raft was there before */
#define HAS_RECORD     4u

#define SEGMENT_BYTES (32 * KIB)
#define FILES_MAX     12
#define PATH_BYTES    128
#define NODE_ID       1

enum file_kind {
	FILE_METADATA,         /* 1 + a % 2 */
	FILE_OPEN_SEGMENT,     /* a */
	FILE_CLOSED_SEGMENT,   /* a to a + b */
	FILE_SNAPSHOT,         /* term a, index b */
	FILE_SNAPSHOT_CONTENT, /* term a, index b */
	FILE_OTHER,            /* the content is the name */
	FILE_KINDS,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the directory: one for the process, emptied for each input ---- */

static char data_dir[PATH_BYTES - 64];

static void empty(const char *folder)
{
	DIR *opened = opendir(folder);
	struct dirent *entry;

	while (opened != NULL && (entry = readdir(opened)) != NULL)
		(void)unlinkat(dirfd(opened), entry->d_name, 0);
	if (opened != NULL)
		closedir(opened);
}

static void empty_all(void)
{
	char folder[PATH_BYTES];

	snprintf(folder, sizeof folder, "%s/raft", data_dir);
	empty(folder);
	empty(data_dir);
}

static void remove_all(void)
{
	char folder[PATH_BYTES];

	empty_all();
	snprintf(folder, sizeof folder, "%s/raft", data_dir);
	(void)rmdir(folder);
	(void)rmdir(data_dir);
}

static void make_once(void)
{
	char folder[PATH_BYTES];

	if (data_dir[0] != '\0')
		return;
	/* In memory where there is such a place: each input makes files and syncs them. */
	snprintf(data_dir, sizeof data_dir, "%s/annal-fuzz-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	const char *made = mkdtemp(data_dir);

	ASSERT(made != NULL);
	snprintf(folder, sizeof folder, "%s/raft", data_dir);
	int status = mkdir(folder, 0700);

	ASSERT(status == 0);
	atexit(remove_all);
}

/* ---- checksums ---- */

/* libraft's: CRC-32 from the highest bit on that begins with zero and is not inverted. */
static uint32_t crc32_of(const uint8_t *data, size_t size)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < size; i++) {
		crc ^= (uint32_t)data[i] << 24;
		for (int bit = 0; bit < 8; bit++)
			crc = crc << 1 ^ (crc >> 31 != 0 ? UINT32_C(0x04c11db7) : 0);
	}
	return crc;
}

static void mend_payload(uint8_t *payload, size_t size)
{
	if (size < PAYLOAD_HEADER_BYTES || memcmp(payload, "ANP1", 4) != 0)
		return;
	size_t body = bytes_le32(payload + 4);

	if (body <= size - PAYLOAD_HEADER_BYTES)
		bytes_set_le64(payload + 24, checksum64_seeded(payload + PAYLOAD_HEADER_BYTES, body,
							       checksum64(payload, 24)));
}

/*
 * u64 format; batches: u32 checksum of the header, u32 checksum of the data; the header: u64 count, and for each
 * entry u64 term, u8 type, 3 bytes, u32 size; the data.
 */
static void mend_segment(uint8_t *content, size_t size)
{
	size_t at = 8;

	while (at + 16 <= size) {
		uint8_t *header = content + at + 8;
		uint64_t count = bytes_le64(header);

		if (count > (size - at - 16) / 16)
			return;
		size_t header_bytes = 8 + 16 * (size_t)count, data_bytes = 0;
		uint8_t *data = header + header_bytes;
		size_t room = size - at - 8 - header_bytes;

		for (size_t i = 0; i < count; i++) {
			size_t entry_bytes = bytes_le32(header + 8 + 16 * i + 12);

			if (entry_bytes > room - data_bytes)
				return;
			mend_payload(data + data_bytes, entry_bytes);
			data_bytes += entry_bytes;
		}
		bytes_set_le32(content + at, crc32_of(header, header_bytes));
		bytes_set_le32(content + at + 4, crc32_of(data, data_bytes));
		at += 8 + header_bytes + data_bytes;
	}
}

/* u64 format; u64 checksum of what follows; u64 index, u64 bytes of the configuration; the configuration. */
static void mend_snapshot(uint8_t *content, size_t size)
{
	if (size >= 32)
		bytes_set_le64(content + 8, crc32_of(content + 16, size - 16));
}

static void mend_manifest(uint8_t *content, size_t size)
{
	for (size_t at = 0; at + MANIFEST_BYTES <= size; at++)
		if (memcmp(content + at, "ANNALMF1", 8) == 0)
			bytes_set_le64(content + at + MANIFEST_BYTES - 8,
				       checksum64(content + at, MANIFEST_BYTES - 8));
}

static void mend(enum file_kind kind, uint8_t *content, size_t size)
{
	if (kind == FILE_OPEN_SEGMENT || kind == FILE_CLOSED_SEGMENT)
		mend_segment(content, size);
	else if (kind == FILE_SNAPSHOT)
		mend_snapshot(content, size);
	else if (kind == FILE_SNAPSHOT_CONTENT)
		mend_manifest(content, size);
}

/* ---- files ---- */

static void write_file(const char *name, struct span content)
{
	char path[PATH_BYTES + 64];

	snprintf(path, sizeof path, "%s/raft/%s", data_dir, name);
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

	ASSERT(fd >= 0);
	ssize_t written = write(fd, content.data, content.size);

	ASSERT(written == (ssize_t)content.size);
	close(fd);
}

/* False: none that a directory can hold. */
static bool take_name(struct span text, char name[40])
{
	size_t size = text.size < 39 ? text.size : 39;

	memcpy(name, text.data, size);
	name[size] = '\0';
	return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
	       strcmp(name, "..") != 0;
}

static bool name_of(enum file_kind kind, unsigned a, unsigned b, struct span content, char name[40])
{
	switch (kind) {
	case FILE_METADATA:
		snprintf(name, 40, "metadata%u", 1 + a % 2);
		return true;
	case FILE_OPEN_SEGMENT:
		snprintf(name, 40, "open-%u", a);
		return true;
	case FILE_CLOSED_SEGMENT:
		snprintf(name, 40, "%016u-%016u", a, a + b);
		return true;
	case FILE_SNAPSHOT:
		snprintf(name, 40, "snapshot-%u-%u-5.meta", a, b);
		return true;
	case FILE_SNAPSHOT_CONTENT:
		snprintf(name, 40, "snapshot-%u-%u-5", a, b);
		return true;
	default:
		return take_name(content, name);
	}
}

static void make_files(struct span rest, bool mended)
{
	for (int i = 0; i < FILES_MAX && rest.size >= 5; i++) {
		enum file_kind kind = rest.data[0] % FILE_KINDS;
		unsigned a = rest.data[1], b = rest.data[2];
		size_t size = rest.data[3] | (size_t)rest.data[4] << 8;

		rest = span_of(rest.data + 5, rest.size - 5);
		size = size < rest.size ? size : rest.size;
		uint8_t *content = memory_copy(rest.data, size);
		char name[40];

		if (mended)
			mend(kind, content, size);
		if (name_of(kind, a, b, span_of(content, size), name))
			write_file(name, kind == FILE_OTHER ? span_of(content, 0)
							    : span_of(content, size));
		memory_free(content);
		rest = span_of(rest.data + size, rest.size - size);
	}
}

static void make_peers(bool started)
{
	struct peers *peers = memory_zeroed(1, sizeof *peers);
	char path[PATH_BYTES];
	struct error error;

	peers->node_id = NODE_ID;
	peers->instance = 77;
	peers->stage = started ? PEERS_STARTED : PEERS_FORMED;
	snprintf(path, sizeof path, "%s/peers", data_dir);
	int status = peers_save(path, peers, &error);

	ASSERT(status == 0);
	memory_free(peers);
}

static void make_record(const uint8_t *numbers)
{
	struct hardstate state,
		wanted = {.term = numbers[0], .vote = numbers[1], .synced_index = numbers[2]};
	struct hardstate_file *file;
	char path[PATH_BYTES];
	struct error error;

	snprintf(path, sizeof path, "%s/hardstate", data_dir);
	int status = hardstate_file_open(&file, path, true, &state, &error);

	ASSERT(status == 0);
	struct hardstate_keeper keeper = hardstate_file_keeper(file);

	status = keeper.save(keeper.impl, &wanted, &error);
	ASSERT(status == 0);
	hardstate_file_close(file);
}

/* ---- what must hold ---- */

static int check_command(void *arg, uint64_t index, struct span body, struct error *error)
{
	const struct offline_facts *facts = arg;

	(void)error;
	ASSERT(index <= facts->last_index);
	ASSERT(body.size == 0 || body.data != NULL);
	return 0;
}

/* 0: read; its facts. Else it was refused as it should be. */
static int read_directory(const struct offline_options *options, bool record_is_lost,
			  struct offline_facts *facts)
{
	struct error error = {{0}};
	struct offline *offline;
	int status = offline_open(&offline, options, &error);

	if (status != 0) {
		bool right = status == -EBADMSG || (status == -ENOENT && record_is_lost);

		if (!right || strstr(error.message, data_dir) == NULL)
			fprintf(stderr, "%d: %s\n", status, error.message);
		ASSERT(right && strstr(error.message, data_dir) != NULL);
		return status;
	}
	*facts = *offline_facts(offline);
	ASSERT(facts->last_index >= options->store_applied_index);
	ASSERT(!facts->has_snapshot || facts->last_index >= facts->snapshot_index);
	ASSERT(facts->member_count <= LIMIT_MEMBERS);
	status = offline_each_command(offline, 0, check_command, facts, &error);
	ASSERT(status == 0);
	offline_close(offline);
	return 0;
}

static void check_same(const struct offline_facts *one, const struct offline_facts *other)
{
	ASSERT(one->term == other->term && one->last_index == other->last_index);
	ASSERT(one->last_term == other->last_term && one->member_count == other->member_count);
	ASSERT(one->has_snapshot == other->has_snapshot);
	ASSERT(one->snapshot_index == other->snapshot_index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct offline_options options = {.data_dir = data_dir,
					  .cluster_name = "test",
					  .node_id = NODE_ID,
					  .segment_bytes = SEGMENT_BYTES};
	struct offline_facts first, again;

	if (size < 2)
		return 0;
	unsigned flags = data[0];
	size_t head = (flags & HAS_RECORD) != 0 ? 5 : 2;

	if (size < head)
		return 0;
	make_once();
	empty_all();
	options.store_applied_index = data[1];
	make_peers((flags & HAS_STARTED) != 0);
	if ((flags & HAS_RECORD) != 0)
		make_record(data + 2);
	make_files(span_of(data + head, size - head), (flags & KEEP_CHECKSUMS) == 0);
	/* Of a file that is missing the system's own error is told. */
	bool record_is_lost = (flags & (HAS_STARTED | HAS_RECORD)) == HAS_STARTED;

	/* libraft does not free all that it has read when it refuses a log; when it takes one it does. */
	__lsan_disable();
	int status = read_directory(&options, record_is_lost, &first);

	__lsan_enable();
	if (status == 0) {
		status = read_directory(&options, record_is_lost, &again);
		ASSERT(status == 0);
		check_same(&first, &again);
	}
	return 0;
}
