/*
 * The small files of a data directory with any content: refused with a message that names the file, or
 * taken. The hard state that is taken is saved and opened again as the same; of the peers file, what is
 * written again are the same bytes. Checksums are made right first, so that what lies behind them is
 * reached; the second bit of the first byte leaves them as they are.
 *
 * Input: which file (bit 0), checksums (bit 1); its content.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "raft/hardstate.h"
#include "raft/peers.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define HARDSTATE_BYTES 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int make_file(struct span content, char path[64])
{
	int fd = memfd_create("state", MFD_CLOEXEC);

	ASSERT(fd >= 0);
	ASSERT(write(fd, content.data, content.size) == (ssize_t)content.size);
	snprintf(path, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void check_refusal(int status, const char *path, const struct error *error)
{
	ASSERT(status == -EBADMSG);
	ASSERT(strstr(error->message, path) != NULL && strlen(error->message) > strlen(path));
}

/* ---- the hard state: hardstate.h has the offsets ---- */

static void seal(uint8_t *at, size_t size)
{
	bytes_set_le64(at + size, checksum64(at, size));
}

static void mend_hardstate(struct buffer *content)
{
	if (content->size < HARDSTATE_BYTES) {
		size_t missing = HARDSTATE_BYTES - content->size;

		memset(buffer_reserve(content, missing), 0, missing);
		content->size += missing;
	}
	for (size_t slot = 0; slot < 2; slot++)
		seal(content->data + 512 * slot, 48);
	for (size_t note = 0; note < 2; note++)
		seal(content->data + 4096 + 64 * note, 24);
}

/* One more save, and the numbers of slots begin again: no node comes so far. */
static bool is_at_the_end(const struct buffer *content)
{
	return bytes_le64(content->data + 8) >= UINT64_MAX - 1 ||
	       bytes_le64(content->data + 512 + 8) >= UINT64_MAX - 1;
}

static void check_saved(const char *path, struct hardstate_file *file, struct hardstate *wanted)
{
	struct hardstate_keeper keeper = hardstate_file_keeper(file);
	struct hardstate found;
	struct error error;

	wanted->term++;
	ASSERT(keeper.save(keeper.impl, wanted, &error) == 0);
	wanted->synced_index++;
	keeper.note(keeper.impl, wanted);
	hardstate_file_close(file);
	ASSERT(hardstate_file_open(&file, path, false, &found, &error) == 0);
	ASSERT(found.term == wanted->term && found.vote == wanted->vote);
	ASSERT(found.pulled_index == wanted->pulled_index);
	/* A note counts when it is above what the slot says. */
	ASSERT(found.synced_index == wanted->synced_index ||
	       found.synced_index == wanted->synced_index - 1);
	hardstate_file_close(file);
}

static void check_hardstate(struct buffer *content, bool mended)
{
	struct hardstate_file *file;
	struct hardstate state;
	struct error error = {{0}};
	char path[64];

	if (mended)
		mend_hardstate(content);
	int fd = make_file(buffer_span(content), path);
	int status = hardstate_file_open(&file, path, false, &state, &error);

	if (status != 0)
		check_refusal(status, path, &error);
	else if (state.term < UINT64_MAX && state.synced_index < UINT64_MAX &&
		 !is_at_the_end(content))
		check_saved(path, file, &state);
	else
		hardstate_file_close(file);
	close(fd);
}

/* ---- the peers file ---- */

static void check_peers(struct buffer *content, bool mended)
{
	struct peers *peers = memory_zeroed(1, sizeof *peers);
	struct error error = {{0}};
	struct buffer again;
	char path[64];

	if (mended && content->size >= 8)
		seal(content->data, content->size - 8);
	int fd = make_file(buffer_span(content), path);
	int status = peers_read(path, peers, &error);

	buffer_init(&again);
	if (status != 0) {
		check_refusal(status, path, &error);
	} else {
		peers_encode(peers, &again);
		ASSERT(again.size == content->size && again.size >= 64);
		/* Four bytes in front of the lists are not looked at, and so not what the checksum sees. */
		ASSERT(memcmp(again.data, content->data, 52) == 0);
		ASSERT(memcmp(again.data + 56, content->data + 56, again.size - 64) == 0);
	}
	buffer_close(&again);
	memory_free(peers);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer content;

	if (size < 1)
		return 0;
	buffer_init(&content);
	buffer_append(&content, data + 1, size - 1);
	if ((data[0] & 1) == 0)
		check_hardstate(&content, (data[0] & 2) == 0);
	else
		check_peers(&content, (data[0] & 2) == 0);
	buffer_close(&content);
	return 0;
}
