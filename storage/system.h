/*
 * System records: what annal keeps about streams and consumers, as records of the same log. The
 * latest checkpoint or snapshot is the last record of its system stream: there are no further tables.
 *
 *   stream                   type                   data (msgpack map)
 *   $checkpoint-<consumer>   $checkpoint            {position: u64, epoch: u64}
 *                            $checkpoint-deleted    {}
 *   $snapshot-<stream>       $snapshot              {version: u64, type: str, data: bin}
 *                            $snapshot-deleted      {}: all snapshots before it
 *
 * A checkpoint that another one follows in its stream is superseded: the store may drop it
 * (store_trim), which leaves a hole in the positions. Snapshots are kept: an older one can be asked
 * for.
 */
#ifndef STORAGE_SYSTEM_H
#define STORAGE_SYSTEM_H

#include "storage/record.h"

#define SYSTEM_CHECKPOINT_PREFIX "$checkpoint-"
#define SYSTEM_SNAPSHOT_PREFIX   "$snapshot-"

struct system_checkpoint {
	bool deleted;
	uint64_t position;
	uint64_t epoch; /* 0: without fencing */
};

struct system_snapshot {
	bool deleted;
	uint64_t version;
	struct span type, data;
};

/* Whether a stream of that name keeps checkpoints. */
bool system_is_checkpoint_stream(struct span stream);
bool system_is_checkpoint_record(const uint8_t *record);
/* The consumer (snapshot: stream) that the name of a system stream tells. */
struct span system_name(struct span stream, const char *prefix);
/* prefix + name, appended to `into`. */
void system_stream_name(const char *prefix, struct span name, struct buffer *into);

/*
 * Fields for a record; stream and data are written into `text`, which must live as long as the
 * fields. A new id is drawn into `id`.
 */
void system_checkpoint_fields(struct span consumer, const struct system_checkpoint *checkpoint,
			      uint8_t id[UUID_BYTES], struct buffer *text,
			      struct record_fields *fields);
void system_snapshot_fields(struct span stream, const struct system_snapshot *snapshot,
			    uint8_t id[UUID_BYTES], struct buffer *text,
			    struct record_fields *fields);

/* 0, or -EBADMSG: it is no such record. Spans point into the record. */
int system_checkpoint_parse(const struct record *record, struct system_checkpoint *checkpoint);
int system_snapshot_parse(const struct record *record, struct system_snapshot *snapshot);

#endif
