/*
 * The tail: applied records that are not in the tables yet, where they lie in the commands that
 * they came in, with indexes over streams, categories, types, tags and ids. Two generations: records
 * join the active one; a flush freezes it, writes it out and drops it, while the next one fills.
 *
 *            freeze                       drop
 *   active ─────────► frozen (flushing) ───────► freed, but for its arrays
 *
 * Threads: the lock guards everything. Who changes the tail holds it for writing: the apply thread
 * to add, the flush thread to freeze and to drop; both also hold the store's apply lock, so that
 * either of them may look at the tail without the lock of the tail. Readers hold it for reading,
 * and never wait for anything else meanwhile.
 */
#ifndef STORAGE_TAIL_H
#define STORAGE_TAIL_H

#include "base/map.h"
#include "storage/hole.h"
#include "storage/machine.h"
#include "storage/tables.h"

#include <pthread.h>
#include <stdatomic.h>

struct tail_record {
	const uint8_t *bytes;
	uint64_t hash; /* running, after it */
	uint32_t size;
};

#define TAIL_FEW 2

/* Places (indexes) of records in their generation, in order, each once. */
struct tail_list {
	uint32_t count;
	uint32_t capacity; /* of many; 0: they are in few */
	union {
		uint32_t few[TAIL_FEW];
		uint32_t *many;
	} places;
};

struct tail_stream {
	struct stream_facts facts; /* as of the last record in this generation */
	uint64_t first_version;    /* of its first record in this generation */
	uint32_t category;         /* index of its list, or one of the two below */
	struct tail_list list;
};

#define TAIL_SYSTEM      UINT32_MAX       /* of a system stream: its records are in no other list */
#define TAIL_NO_CATEGORY (UINT32_MAX - 1) /* the name begins with '-' */

/* The lists of one kind, as in the tables. Those of streams lie in `streams`. */
struct tail_names {
	struct map map; /* name → index */
	uint32_t capacity;
	struct tail_list *lists;
};

/* A hole that was ingested, and the place of the record behind it. */
struct tail_hole {
	struct hole hole;
	uint32_t place;
};

struct tail_generation {
	uint64_t first_position, next_position;
	uint64_t hash_before;
	uint32_t count, capacity;
	struct buffer holes; /* struct tail_hole, in order; none unless records were ingested */
	struct tail_record *records;
	struct tail_names names[TABLES_LISTS];
	struct tail_stream *streams;
	/*
	 * Ids are looked up by 8-byte slots: the low half of the id's hash above, the place of the record
	 * plus 1 below; 0: free. So a stranger costs one line of slots, and growing reads no record.
	 */
	uint32_t id_slots_count; /* a power of two, or 0; at most half full */
	uint64_t *id_slots;
	uint8_t greatest_v7[UUID_BYTES]; /* of all here: new ids of version 7 are mostly above it */
	struct buffer bodies;            /* uint8_t *: owned memory */
	uint64_t body_bytes;
	uint64_t list_bytes; /* of places beyond the few */
};

/* The arrays of a generation, emptied: the next one begins with them, so that their pages are touched once. */
struct tail_arrays {
	uint32_t capacity; /* of records; the slots follow from it */
	struct tail_record *records;
	uint64_t *id_slots;
};

struct tail {
	pthread_rwlock_t lock;
	struct tail_generation *active;
	struct tail_generation *frozen; /* NULL unless a flush is running (or has failed) */
	struct tail_arrays spare;       /* while none is frozen; only who freezes and drops looks */
	atomic_uint_fast64_t bytes;     /* of both generations, indexes included */
};

/* The head is that of the tables. */
void tail_init(struct tail *tail, const struct machine_head *head);
void tail_close(struct tail *tail);

/* ---- changes: under the lock for writing ---- */

/* Memory of memory_alloc that records added later lie in. */
void tail_own(struct tail *tail, uint8_t *take_body, size_t size);
void tail_add(struct tail *tail, const struct machine_decision *decision);
/* One record, with what is known of its stream after it. */
void tail_add_record(struct tail *tail, const struct tail_record *record, struct span stream,
		     const struct stream_facts *facts);
/* A hole (hole.h) behind all that is there, while ingesting. */
void tail_add_hole(struct tail *tail, const struct hole *hole);
/* Freeze the active generation, which may be empty; none is frozen. */
void tail_freeze(struct tail *tail, const struct machine_head *head);
/* Take the frozen one out, for tail_recycle outside of the lock, before the next one is frozen. */
struct tail_generation *tail_drop(struct tail *tail);
void tail_recycle(struct tail *tail, struct tail_generation *take_dropped);
/* Bring `bytes` up to date after additions. */
void tail_count_bytes(struct tail *tail);

/* ---- looking: under the lock for reading ---- */

uint64_t
tail_first_position(const struct tail *tail); /* of the oldest record, or of the next one */
uint64_t tail_records(const struct tail *tail);
/* NULL when the position is not in the tail, or in a hole. */
const struct tail_record *tail_find(const struct tail *tail, uint64_t position);
/* The hole of the tail that a position is in, or NULL. */
const struct hole *tail_find_hole(const struct tail *tail, uint64_t position);
/* The position of the record at a place: with holes, positions are not consecutive. */
static inline uint64_t tail_position(const struct tail_generation *generation, uint32_t place)
{
	return generation->holes.size == 0 ? generation->first_position + place
					   : record_position(generation->records[place].bytes);
}
/* The place of the first record at this position or behind it; the count when there is none. */
uint32_t tail_place(const struct tail_generation *generation, uint64_t position);
/* 0 when the id is not in the tail; those of checkpoints never are (tables.h). */
uint64_t tail_find_id(const struct tail *tail, const uint8_t id[UUID_BYTES]);
/* Brought near, as they are looked up or added to soon: an id; a stream, by its name's hash64. */
void tail_prefetch_id(const struct tail *tail, const uint8_t id[UUID_BYTES]);
void tail_prefetch_stream(const struct tail *tail, uint64_t hash, enum map_step step);
/* What is known of the stream at the head; false when no record of it is in the tail. */
bool tail_find_stream(const struct tail *tail, struct span name, struct stream_facts *facts);
/* A stream's records in the tail, looked up once for several versions. Under the lock. */
struct tail_versions {
	const struct tail_generation *generations[2];
	const struct tail_stream *streams[2]; /* NULL: it has none there */
};
void tail_open_versions(const struct tail *tail, struct span name, struct tail_versions *versions);
/* NULL: it is not in the tail. */
const struct tail_record *tail_version(const struct tail_versions *versions, uint64_t version);
/* The record with that version of a stream; NULL when it is not in the tail. */
const struct tail_record *tail_find_version(const struct tail *tail, struct span name,
					    uint64_t version);
/* The places of a name's records, or NULL; those of one index. */
const struct tail_list *tail_find_list(const struct tail_generation *generation,
				       enum tables_list kind, struct span name);
const struct tail_list *tail_list(const struct tail_generation *generation, enum tables_list kind,
				  uint32_t index);
static inline const uint32_t *tail_places(const struct tail_list *list)
{
	return list->capacity > 0 ? list->places.many : list->places.few;
}

#endif
