/*
 * A backup of any bytes is verified, or refused with a message that names it; what is verified reads as
 * items that come to what the header says. The input is tried as it is, and once more with every
 * checksum on the way made right, so that what lies behind them is reached.
 */
#include "base/assert.h"
#include "base/backup_inside.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seal(uint8_t *bytes, size_t size, uint64_t seed)
{
	uint64_t checksum = checksum64_seeded(bytes, size - 8, seed);

	bytes_set_le64(bytes + size - 8, checksum);
	return checksum;
}

static void mend(struct buffer *file)
{
	uint8_t *at = file->data;
	size_t left = file->size;

	if (left < BACKUP_HEADER_BYTES)
		return;
	uint64_t seed = seal(at, BACKUP_HEADER_BYTES, 0);

	at += BACKUP_HEADER_BYTES;
	left -= BACKUP_HEADER_BYTES;
	while (left >= BACKUP_FRAME_HEADER_BYTES &&
	       memcmp(at, BACKUP_FRAME_MAGIC, BACKUP_MAGIC_BYTES) == 0) {
		size_t packed = bytes_le32(at + 8);

		if (packed > left - BACKUP_FRAME_HEADER_BYTES)
			return;
		bytes_set_le64(at + 24, checksum64(at + BACKUP_FRAME_HEADER_BYTES, packed));
		seed = seal(at, BACKUP_FRAME_HEADER_BYTES, seed);
		at += BACKUP_FRAME_HEADER_BYTES + packed;
		left -= BACKUP_FRAME_HEADER_BYTES + packed;
	}
	if (left >= BACKUP_TRAILER_BYTES)
		(void)seal(at, BACKUP_TRAILER_BYTES, seed);
}

static void check_items(const char *path, const struct backup_report *report)
{
	struct backup_chain chain = {0};
	struct backup_reader *reader;
	struct error error;
	struct span items;
	uint64_t bytes = 0;
	size_t size;

	ASSERT(backup_reader_open(&reader, path, &error) == 0);
	while (backup_reader_next(reader, &items, &error) == 0 && items.size > 0)
		for (; items.size > 0; items = span_of(items.data + size, items.size - size)) {
			ASSERT(backup_chain_add(&chain, items, &size, &error) == 0);
			bytes += size;
		}
	backup_reader_close(reader);
	ASSERT(bytes == report->content_bytes);
	ASSERT(chain.records == report->records && chain.holes == report->holes);
	ASSERT(chain.position == report->header.position && chain.hash == report->header.hash);
}

static void check(struct span file)
{
	struct backup_report report;
	struct error error = {{0}};
	char path[64];
	int fd = memfd_create("backup", MFD_CLOEXEC);

	ASSERT(fd >= 0);
	ASSERT(write(fd, file.data, file.size) == (ssize_t)file.size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int status = backup_file_verify(path, NULL, NULL, &report, &error);

	ASSERT(status <= 0 && (status < 0) == (error.message[0] != '\0'));
	if (status < 0)
		ASSERT(strstr(error.message, path) != NULL);
	else
		check_items(path, &report);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer file;

	check(span_of(data, size));
	buffer_init(&file);
	buffer_append(&file, data, size);
	mend(&file);
	check(buffer_span(&file));
	buffer_close(&file);
	return 0;
}
