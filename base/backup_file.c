/* The parts of a backup file as bytes, the chain of its items, and the check of a whole file. */
#include "base/backup_inside.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/msgpack.h"

#include <errno.h>
#include <inttypes.h>

#define MAGIC       "ANNALBK1"
#define MAGIC_BYTES 8
#define FORMAT      1

/* Of a record: its first bytes have a fixed width (storage/record.h). */
#define RECORD_FIRST_BYTE      0x99
#define RECORD_POSITION_OFFSET 2
#define RECORD_BYTES_MIN       46
#define ITEM_DEPTH_MAX         2 /* the tags of a record */

#define HEADER_CHECKSUM  (BACKUP_HEADER_BYTES - 8)
#define FRAME_CHECKSUM   (BACKUP_FRAME_HEADER_BYTES - 8)
#define TRAILER_CHECKSUM (BACKUP_TRAILER_BYTES - 8)

uint64_t backup_header_encode(const struct backup_header *header, uint8_t into[BACKUP_HEADER_BYTES])
{
	memcpy(into, MAGIC, MAGIC_BYTES);
	bytes_set_le32(into + 8, FORMAT);
	bytes_set_le32(into + 12, 0);
	memcpy(into + 16, header->cluster_id, BACKUP_CLUSTER_ID_BYTES);
	bytes_set_le64(into + 32, header->node_id);
	bytes_set_le64(into + 40, (uint64_t)header->created);
	bytes_set_le64(into + 48, header->position);
	bytes_set_le64(into + 56, (uint64_t)header->last_created);
	bytes_set_le64(into + 64, header->applied_index);
	bytes_set_le64(into + 72, header->hash);
	uint64_t checksum = checksum64(into, HEADER_CHECKSUM);

	bytes_set_le64(into + HEADER_CHECKSUM, checksum);
	return checksum;
}

int backup_header_decode(const uint8_t from[BACKUP_HEADER_BYTES], struct backup_header *header,
			 uint64_t *checksum, struct error *error)
{
	if (memcmp(from, MAGIC, MAGIC_BYTES) != 0)
		return error_set(error, -EBADMSG,
				 "it is no backup of annal, or its first bytes are damaged: it "
				 "does not begin with " MAGIC);
	*checksum = checksum64(from, HEADER_CHECKSUM);
	if (bytes_le64(from + HEADER_CHECKSUM) != *checksum)
		return error_set(error, -EBADMSG, "its header is damaged: the checksum is wrong");
	if (bytes_le32(from + 8) != FORMAT)
		return error_set(error, -EBADMSG,
				 "it has format %" PRIu32 ", this program reads format %d",
				 bytes_le32(from + 8), FORMAT);
	memcpy(header->cluster_id, from + 16, BACKUP_CLUSTER_ID_BYTES);
	header->node_id = bytes_le64(from + 32);
	header->created = (int64_t)bytes_le64(from + 40);
	header->position = bytes_le64(from + 48);
	header->last_created = (int64_t)bytes_le64(from + 56);
	header->applied_index = bytes_le64(from + 64);
	header->hash = bytes_le64(from + 72);
	return 0;
}

uint64_t backup_frame_encode(const struct backup_frame *frame, uint64_t seed,
			     uint8_t into[BACKUP_FRAME_HEADER_BYTES])
{
	memcpy(into, BACKUP_FRAME_MAGIC, BACKUP_MAGIC_BYTES);
	bytes_set_le32(into + 4, frame->number);
	bytes_set_le32(into + 8, frame->packed_bytes);
	bytes_set_le32(into + 12, frame->content_bytes);
	bytes_set_le64(into + 16, frame->position);
	bytes_set_le64(into + 24, frame->packed_checksum);
	uint64_t checksum = checksum64_seeded(into, FRAME_CHECKSUM, seed);

	bytes_set_le64(into + FRAME_CHECKSUM, checksum);
	return checksum;
}

bool backup_frame_decode(const uint8_t from[BACKUP_FRAME_HEADER_BYTES], uint64_t seed,
			 struct backup_frame *frame, uint64_t *checksum)
{
	*checksum = checksum64_seeded(from, FRAME_CHECKSUM, seed);
	*frame = (struct backup_frame){
		.number = bytes_le32(from + 4),
		.packed_bytes = bytes_le32(from + 8),
		.content_bytes = bytes_le32(from + 12),
		.position = bytes_le64(from + 16),
		.packed_checksum = bytes_le64(from + 24),
	};
	return bytes_le64(from + FRAME_CHECKSUM) == *checksum;
}

uint64_t backup_trailer_encode(const struct backup_trailer *trailer, uint64_t seed,
			       uint8_t into[BACKUP_TRAILER_BYTES])
{
	memcpy(into, BACKUP_TRAILER_MAGIC, BACKUP_MAGIC_BYTES);
	bytes_set_le32(into + 4, trailer->frames);
	bytes_set_le64(into + 8, trailer->records);
	bytes_set_le64(into + 16, trailer->holes);
	bytes_set_le64(into + 24, trailer->content_bytes);
	bytes_set_le64(into + 32, trailer->file_bytes);
	bytes_set_le64(into + 40, trailer->position);
	bytes_set_le64(into + 48, trailer->hash);
	uint64_t checksum = checksum64_seeded(into, TRAILER_CHECKSUM, seed);

	bytes_set_le64(into + TRAILER_CHECKSUM, checksum);
	return checksum;
}

bool backup_trailer_decode(const uint8_t from[BACKUP_TRAILER_BYTES], uint64_t seed,
			   struct backup_trailer *trailer)
{
	*trailer = (struct backup_trailer){
		.frames = bytes_le32(from + 4),
		.records = bytes_le64(from + 8),
		.holes = bytes_le64(from + 16),
		.content_bytes = bytes_le64(from + 24),
		.file_bytes = bytes_le64(from + 32),
		.position = bytes_le64(from + 40),
		.hash = bytes_le64(from + 48),
	};
	return bytes_le64(from + TRAILER_CHECKSUM) ==
	       checksum64_seeded(from, TRAILER_CHECKSUM, seed);
}

/* ---- the chain ---- */

static int add_record(struct backup_chain *chain, struct span record, struct error *error)
{
	uint64_t position = 0;

	if (record.size >= RECORD_BYTES_MIN && record.data[RECORD_POSITION_OFFSET - 1] == 0xcf)
		position = bytes_be64(record.data + RECORD_POSITION_OFFSET);
	if (position != chain->position + 1)
		return error_set(error, -EBADMSG,
				 "behind position %" PRIu64 " comes a record of position %" PRIu64,
				 chain->position, position);
	chain->hash = checksum64_seeded(record.data, record.size, chain->hash);
	chain->position = position;
	chain->records++;
	return 0;
}

static int add_hole(struct backup_chain *chain, struct span hole, struct error *error)
{
	struct msgpack_reader reader = msgpack_reader_of(hole);
	uint64_t first, last, before, after;
	uint32_t count;

	if (!msgpack_read_array(&reader, &count) || count != 4 ||
	    !msgpack_read_u64(&reader, &first) || !msgpack_read_u64(&reader, &last) ||
	    !msgpack_read_u64(&reader, &before) || !msgpack_read_u64(&reader, &after))
		return error_set(error, -EBADMSG,
				 "what comes behind position %" PRIu64
				 " is neither a record nor a hole",
				 chain->position);
	if (first != chain->position + 1 || last < first || before != chain->hash)
		return error_set(error, -EBADMSG,
				 "the hole from position %" PRIu64 " to %" PRIu64
				 " does not follow position %" PRIu64,
				 first, last, chain->position);
	chain->hash = after;
	chain->position = last;
	chain->holes++;
	return 0;
}

int backup_chain_add(struct backup_chain *chain, struct span bytes, size_t *size,
		     struct error *error)
{
	struct msgpack_scanner scanner;

	ASSERT(bytes.size > 0);
	msgpack_scanner_init(&scanner, bytes.size, ITEM_DEPTH_MAX);
	if (msgpack_scan(&scanner, bytes.data, bytes.size) != MSGPACK_SCAN_VALUE)
		return error_set(error, -EBADMSG,
				 "what comes behind position %" PRIu64 " is no whole record",
				 chain->position);
	struct span item = span_of(bytes.data, scanner.offset);
	int rc = item.data[0] == RECORD_FIRST_BYTE ? add_record(chain, item, error)
						   : add_hole(chain, item, error);

	if (rc == 0)
		*size = item.size;
	return rc;
}

/* ---- a whole file ---- */

int backup_file_verify(const char *path, void (*progress)(void *arg, uint64_t bytes, uint64_t all),
		       void *arg, struct backup_report *report, struct error *error)
{
	struct backup_reader *reader;
	struct backup_report read;
	struct span items;
	int rc = backup_reader_open(&reader, path, error);

	if (rc != 0)
		return rc;
	backup_reader_report(reader, &read);
	do {
		rc = backup_reader_next(reader, &items, error);
		if (rc == 0 && progress != NULL)
			progress(arg, backup_reader_bytes(reader), read.file_bytes);
	} while (rc == 0 && items.size > 0);
	if (rc == 0)
		backup_reader_report(reader, report);
	backup_reader_close(reader);
	return rc;
}
