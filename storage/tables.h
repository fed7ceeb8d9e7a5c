/*
 * What is in the tables of the store: keys big-endian, values little-endian.
 *
 *   meta         "state" → struct tables_state, "identity" → who this node is (below)
 *   block        u64 position of the first record → a block (block.h)
 *   event_id     16 bytes → u64: bits 0…43 the position, bits 44…62 the low bits of the XXH3-64 of the
 *                key with the position as seed, bit 63 set. With bit 63 clear, as it was before there
 *                was a checksum, it is the position alone. Without the records of checkpoints (system.h), so that
 *                dropping them changes no decision about ids
 *   time         u64 created of a record + 2^63 (so that it sorts), u64 its position → nothing;
 *                for the first record of those at positions 1 to 1,024, 1,025 to 2,048, …
 *   stream, category, type, tag                     name key → row
 *   stream_record, category_record, type_record, tag_record
 *                u64 number of the list, u64 ordinal of the chunk's first record → closed chunk
 *                (posting.h), then its checksum
 *
 * The ordinal of a record in a list counts from 1; for a stream it is the version. System records
 * (streams with '$') are listed by stream only, so that the other lists hold events alone.
 *
 * Superseded records of checkpoints are dropped (trim.h): they are holes in the blocks (block.h) and
 * off the front of their list, whose ordinals go on. While ingesting from a peer that dropped some
 * before, a checkpoint's stream may hold older records than the one that its versions jump to: their
 * ordinals are those just before it, above their versions. The last ordinal is always the version.
 *
 *   name key     at most 400 bytes: the name. Longer ones: the first 400 bytes, 0xff, u64 XXH3-64 of the
 *                name, u32 probe: 0, 1, … until the row that has the name, or none. (No name of 413
 *                bytes is its own key, so the two kinds never meet.)
 *   row          u8 state (enum stream_state), bit 7 set: the name is in the row
 *                varint number of the list, from 1; never used twice in a table
 *                varint version: records in the list so far
 *                varint first version
 *                i64 created, i64 updated: of the first and the last record
 *                [varint bytes of the name; the name]
 *                open chunk (posting.h): the last records; the closed chunks end before it
 *                u32 checksum
 *   checksum     of rows and chunks: the low half of the XXH3-64 of all bytes before it, with the
 *                XXH3-64 of the key as seed
 *
 *   state        0   8  "ANNALST2"
 *                8   8  applied raft index
 *               16   8  last position
 *               24   8  its created, ns (i64)
 *               32   8  running hash
 *               40   8  events: records outside of system streams
 *               48   8  first position of the last block; 0: none
 *               56  32  lists so far: streams, categories, types, tags (u64 each)
 *               88  16  the greatest event id of version 7; zeros: none
 *              104   8  flags: bit 0: records are being ingested
 *              112   8  position of the last record; 0: none
 *              120  16  streams of checkpoints; records in them but for the last of each (u64 each)
 *              136   8  what was dropped was superseded by a record at this position or before it
 *              144   8  position of the last event: of the last record outside of system streams; 0: none
 *              152   8  XXH3-64 of bytes 0…151
 *   identity     0   8  "ANNALID1"; 8  16  cluster id; 24  8  node id; 32  8  XXH3-64 of bytes 0…31
 */
#ifndef STORAGE_TABLES_H
#define STORAGE_TABLES_H

#include "storage/kv.h"
#include "storage/posting.h"
#include "storage/store.h"
#include "storage/stream.h"

#define TABLES_NAME_BYTES_MAX 400 /* of a name that is its own key */
#define TABLES_KEY_BYTES_MAX  (TABLES_NAME_BYTES_MAX + 13)
#define TABLES_TIME_STEP      1024

static_assert(TABLES_KEY_BYTES_MAX <= KV_KEY_BYTES_MAX, "every key fits");

enum tables_list { TABLES_STREAMS, TABLES_CATEGORIES, TABLES_TYPES, TABLES_TAGS, TABLES_LISTS };

struct tables_state {
	uint64_t applied_index, position;
	int64_t created;
	uint64_t hash;
	uint64_t events;
	uint64_t last_block;
	uint64_t lists[TABLES_LISTS];
	uint8_t greatest_v7[UUID_BYTES];
	bool ingesting;
	uint64_t last_record; /* position of the last record; a hole may follow while ingesting */
	uint64_t checkpoint_streams; /* streams of checkpoints ... */
	uint64_t superseded;         /* ... and the records in them, but for the last of each */
	uint64_t horizon;            /* what was dropped was superseded by a record up to here */
	uint64_t last_event;         /* position of the last record outside of system streams */
};

struct tables_row {
	uint64_t number;
	struct stream_facts facts;
	struct span name;  /* empty when the key is the name */
	struct span chunk; /* open */
};

struct tables_key {
	uint8_t bytes[TABLES_KEY_BYTES_MAX];
	size_t size;
};

/* Positions are divided into runs: the first record of each is in table time. */
static inline uint64_t tables_time_run(uint64_t position)
{
	return (position - 1) / TABLES_TIME_STEP;
}

enum kv_table tables_of_names(enum tables_list list);
enum kv_table tables_of_chunks(enum tables_list list);

static inline struct span tables_key_span(const struct tables_key *key)
{
	return span_of(key->bytes, key->size);
}

/* ---- keys ---- */

void tables_name_key(struct span name, uint32_t probe, struct tables_key *key);
void tables_number_key(uint64_t number, struct tables_key *key); /* of block */
void tables_chunk_key(uint64_t number, uint64_t ordinal, struct tables_key *key);
void tables_time_key(int64_t created, uint64_t position, struct tables_key *key);

/* ---- values; the parsers return 0 or -EBADMSG ---- */

void tables_state_encode(const struct tables_state *state, struct buffer *into);
int tables_state_decode(struct span value, struct tables_state *state);
void tables_identity_encode(const struct store_identity *identity, struct buffer *into);
int tables_identity_decode(struct span value, struct store_identity *identity);
void tables_row_encode(struct span key, const struct tables_row *row, struct buffer *into);
int tables_row_decode(struct span key, struct span value, struct tables_row *row);
/* For table event_id. */
void tables_id_encode(const uint8_t id[UUID_BYTES], uint64_t position, uint8_t value[8]);
/* Append the checksum to a chunk; check it and take it off. */
void tables_chunk_seal(struct span key, struct buffer *chunk);
int tables_chunk_open(struct span key, struct span value, struct span *chunk);

/*
 * ---- lookups and writes: 0, -ENOENT, or an operating error with a message (-EBADMSG: damage) ----
 *
 * A key with a flipped bit looks as if it had never been there. So a lookup that finds nothing (of a name, an
 * id, or in meta) looks at the two pairs between which the key would be: a damaged key that stands in its place does not fit
 * its checksum, and where the way to that place is damaged, they do not lie on both sides of it.
 */

int tables_get_state(struct kv_txn *txn, struct tables_state *state, struct error *error);
int tables_get_identity(struct kv_txn *txn, struct store_identity *identity, struct error *error);
int tables_put_state(struct kv_txn *txn, const struct tables_state *state, struct error *error);
/* *key is the row's key, or on -ENOENT the one that a new row would have. */
int tables_get_row(struct kv_txn *txn, enum tables_list list, struct span name,
		   struct tables_key *key, struct tables_row *row, struct error *error);
/* Whose the tables are from now on, whatever they said before. Durable when it returns. */
int tables_write_identity(struct kv *kv, const struct store_identity *identity,
			  struct error *error);
int tables_get_id(struct kv_txn *txn, const uint8_t id[UUID_BYTES], uint64_t *position,
		  struct error *error);

/* Write "<what> is damaged … what to do" and return -EBADMSG. */
int tables_damage(struct kv *kv, struct error *error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

bool tables_id_is_v7(const uint8_t id[UUID_BYTES]);

#endif
