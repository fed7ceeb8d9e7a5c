/*
 * The backup file: everything that a store keeps, up to one position, in one file. Little-endian.
 *
 *   header   offset bytes
 *                 0     8  "ANNALBK1"
 *                 8     4  format: 1
 *                12     4  zero
 *                16    16  cluster id
 *                32     8  id of the node that wrote it
 *                40     8  when it did: i64, ns since 1970 UTC
 *                48     8  position of the last record; 0: there is none
 *                56     8  created of that record, i64
 *                64     8  applied raft index: commands up to it are contained
 *                72     8  running hash at that position
 *                80     8  XXH3-64 of bytes 0…79
 *
 *   frame         0     4  "ANBF"
 *                 4     4  its number, from 1
 *                 8     4  bytes of the zstd frame behind this
 *                12     4  bytes of its content
 *                16     8  position that its content begins at
 *                24     8  XXH3-64 of the zstd frame
 *                32     8  XXH3-64 of bytes 0…31, seeded with the last field of the frame before it (of
 *                          the header, for the first): so frames cannot change places, nor files
 *                40     …  a zstd frame: whole items, one after the other
 *
 *   trailer       0     4  "ANBT"
 *                 4     4  number of frames
 *                 8     8  records
 *                16     8  holes
 *                24     8  bytes of all content
 *                32     8  bytes of the file, this trailer included
 *                40     8  position of the last record, as in the header
 *                48     8  running hash at that position
 *                56     8  XXH3-64 of bytes 0…55, seeded with the last field of the last frame: the
 *                          checksum of the whole file
 *
 * An item is a stored record (a msgpack array of 9, its position at offset 2), or a hole where records
 * were dropped: a msgpack array of 4 numbers [first position, last position, running hash before, and
 * after]. Positions follow each other from 1 without a gap. The running hash of a record is its
 * XXH3-64, seeded with that of the record before it; 0 before the first.
 *
 * Nothing in here is trusted before its checksum is right, and no size before it is within its bound.
 * An object belongs to one thread at a time.
 *
 * Errors: negative errno with a message that names the file. -EBADMSG: damaged, cut off, or no backup.
 */
#ifndef BASE_BACKUP_FILE_H
#define BASE_BACKUP_FILE_H

#include "base/error.h"
#include "base/limits.h"
#include "base/span.h"

#define BACKUP_CLUSTER_ID_BYTES 16

struct backup_header {
	uint8_t cluster_id[BACKUP_CLUSTER_ID_BYTES];
	uint64_t node_id;
	int64_t created; /* of the backup */
	uint64_t position;
	int64_t last_created; /* of the record at that position */
	uint64_t applied_index;
	uint64_t hash;
};

struct backup_report {
	struct backup_header header;
	uint64_t frames, records, holes;
	uint64_t content_bytes, file_bytes;
};

/* ---- verify ---- */

/*
 * Read the whole file and check every checksum, every position and the running hash: 0 and the report,
 * or what is wrong, and where. `progress`, now and then (may be NULL): bytes read of all.
 */
int backup_file_verify(const char *path, void (*progress)(void *arg, uint64_t bytes, uint64_t all),
		       void *arg, struct backup_report *report, struct error *error);

/* ---- read ---- */

struct backup_reader;

int backup_reader_open(struct backup_reader **reader, const char *path, struct error *error);
const struct backup_header *backup_reader_header(const struct backup_reader *reader);
/*
 * The items of the next frame, checked, valid until the next call. Empty: the trailer was reached and
 * all of the file is right.
 */
int backup_reader_next(struct backup_reader *reader, struct span *items, struct error *error);
/* What was read so far; whole once backup_reader_next has said that it is the end. */
void backup_reader_report(const struct backup_reader *reader, struct backup_report *report);
/* Bytes of the file that were read. */
uint64_t backup_reader_bytes(const struct backup_reader *reader);
void backup_reader_close(struct backup_reader *reader);

/* ---- write ---- */

struct backup_writer;

/*
 * Begin PATH.partial, readable for its owner alone. -EEXIST: PATH, or PATH.partial, is there; -EINVAL:
 * the name is too long; others of the file system.
 */
int backup_writer_open(struct backup_writer **writer, const char *path,
		       const struct backup_header *header, struct error *error);
/*
 * Whole items, following those before; what is behind the header's position is left out. -EBADMSG: they
 * do not follow.
 */
int backup_writer_add(struct backup_writer *writer, struct span items, struct error *error);
uint64_t backup_writer_position(const struct backup_writer *writer); /* of the last one added */
uint64_t backup_writer_bytes(const struct backup_writer *writer);    /* in the file */
/* All items are there: the trailer; -EBADMSG when they are not those that the header promises. */
int backup_writer_complete(struct backup_writer *writer, struct error *error);
/* Durable under its own name when it returns; -EEXIST: something is there by now. After complete. */
int backup_writer_publish(struct backup_writer *writer, struct error *error);
/* Frees the writer, and removes PATH.partial unless it was published. */
void backup_writer_close(struct backup_writer *writer);

#endif
