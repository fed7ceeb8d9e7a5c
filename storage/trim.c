/* Dropping superseded checkpoints, see trim.h. */
#include "storage/trim.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "storage/block_reader.h"
#include "storage/chunks.h"
#include "storage/list.h"
#include "storage/store_inside.h"
#include "storage/system.h"

#include <errno.h>
#include <stdlib.h>

#define QUOTA_MIN 64

/* One stream of checkpoints that has something to drop. */
struct stream {
	struct span name;      /* in the read transaction */
	uint32_t dropped;      /* so far, from the front of its list */
	uint64_t last_dropped; /* position */
};

struct candidate {
	uint64_t position;
	uint32_t stream;
};

struct trim {
	struct kv_txn *read, *write; /* of the same moment: nobody else writes meanwhile */
	struct tables_state *state;
	struct error *error;
	struct buffer streams;    /* struct stream */
	struct buffer candidates; /* struct candidate, by position */
	size_t next;              /* the first candidate that is not dropped yet */
	bool more;                /* there are others than these */

	struct block_reader blocks, ahead; /* `ahead` looks beyond the block that is rewritten */
	struct block_builder builder;
	struct buffer value;
	bool took_last;    /* the last block of the table went into the builder */
	uint64_t last_put; /* first position of the block that was put last */

	/* Table time: a run whose entry was dropped, and which has got no other yet; 0: none. */
	uint64_t open_run; /* number + 1 */
};

static struct stream *streams_of(const struct trim *trim)
{
	return (struct stream *)(void *)trim->streams.data;
}

static const struct candidate *next_candidate(const struct trim *trim)
{
	const struct candidate *all = (const struct candidate *)(const void *)trim->candidates.data;

	return trim->next < trim->candidates.size / sizeof all[0] ? &all[trim->next] : NULL;
}

static int damaged_at(struct trim *trim, uint64_t position)
{
	return tables_damage(trim->read->kv, trim->error, "the block around position %llu",
			     (unsigned long long)position);
}

bool trim_is_due(const struct tables_state *state)
{
	return state->superseded >= TRIM_SUPERSEDED_MIN &&
	       state->superseded >= state->checkpoint_streams;
}

/* ---- gathering ---- */

static size_t room_left(const struct trim *trim)
{
	return TRIM_CANDIDATES_MAX - trim->candidates.size / sizeof(struct candidate);
}

/* The oldest records of a stream, but for its last: so many that each stream has its share. */
static int gather_stream(struct trim *trim, struct span name)
{
	uint64_t share = TRIM_CANDIDATES_MAX / (trim->state->checkpoint_streams + 1);
	struct stream stream = {.name = name};
	struct list_reader list;
	int rc = list_reader_open(&list, trim->read, TABLES_STREAMS, name, trim->error);

	if (rc != 0)
		return rc == -ENOENT
			       ? tables_damage(trim->read->kv, trim->error, "a row of table stream")
			       : rc;
	const struct stream_facts *facts = &list.row.facts;
	uint64_t superseded = facts->version - facts->first_version + MUTANT(TRIM_TAKES_LAST);
	uint64_t count = superseded;
	uint32_t number = (uint32_t)(trim->streams.size / sizeof stream);

	if (share < QUOTA_MIN)
		share = QUOTA_MIN;
	if (count > share)
		count = share;
	if (count > room_left(trim))
		count = room_left(trim);
	trim->more = trim->more || count < superseded;
	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		struct candidate candidate = {.stream = number};

		rc = list_reader_get(&list, facts->first_version + i, &candidate.position,
				     trim->error);
		if (rc == 0)
			buffer_append(&trim->candidates, &candidate, sizeof candidate);
	}
	if (rc == 0 && count > 0)
		buffer_append(&trim->streams, &stream, sizeof stream);
	list_reader_close(&list);
	return rc;
}

static int gather_row(struct trim *trim, const struct kv_pair *pair)
{
	struct tables_row row;

	if (tables_row_decode(pair->key, pair->value, &row) != 0)
		return tables_damage(trim->read->kv, trim->error, "a row of table stream");
	if (row.facts.version <= row.facts.first_version)
		return 0;
	if (room_left(trim) == 0) {
		trim->more = true;
		return 0;
	}
	return gather_stream(trim, row.name.size > 0 ? row.name : pair->key);
}

static int compare_candidates(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	return (left->position > right->position) - (left->position < right->position);
}

static int gather(struct trim *trim)
{
	struct span prefix = span_of_string(SYSTEM_CHECKPOINT_PREFIX);
	struct kv_cursor *cursor;
	struct kv_pair pair;
	int rc = kv_cursor_open(trim->read, KV_STREAM, &cursor, trim->error);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(cursor, KV_AT_LEAST, prefix, &pair, trim->error);
	while (rc == 0 && pair.key.size > prefix.size &&
	       memcmp(pair.key.data, prefix.data, prefix.size) == 0 &&
	       (room_left(trim) > 0 || !trim->more)) {
		rc = gather_row(trim, &pair);
		if (rc == 0)
			rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, trim->error);
	}
	kv_cursor_close(cursor);
	if (trim->candidates.size > 0)
		qsort(trim->candidates.data, trim->candidates.size / sizeof(struct candidate),
		      sizeof(struct candidate), compare_candidates);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- table time ---- */

/* The record goes: if it is the one that its run is listed by, another must take its place. */
static int drop_time(struct trim *trim, uint64_t position, int64_t created)
{
	struct tables_key key;

	if (trim->open_run == tables_time_run(position) + 1)
		return 0;
	tables_time_key(created, position, &key);
	int rc = kv_delete(trim->write, KV_TIME, tables_key_span(&key), trim->error);
	if (rc == 0)
		trim->open_run = tables_time_run(position) + 1;
	return rc == -ENOENT ? 0 : rc;
}

static int keep_time(struct trim *trim, uint64_t position, int64_t created)
{
	struct tables_key key;

	if (trim->open_run == 0)
		return 0;
	bool is_of_run = trim->open_run == tables_time_run(position) + 1;
	trim->open_run = 0;
	if (!is_of_run)
		return 0;
	tables_time_key(created, position, &key);
	return kv_put(trim->write, KV_TIME, tables_key_span(&key), span_of(NULL, 0), false,
		      trim->error);
}

/* What stands behind the blocks that were rewritten: the next record, if it is of the open run. */
static int close_run(struct trim *trim)
{
	uint64_t position = trim->builder.next_position;
	struct span record;
	uint64_t hash;

	while (trim->open_run != 0) {
		int rc = block_reader_get(&trim->ahead, position, &record, &hash, trim->error);

		if (rc == 0)
			return keep_time(trim, position, record_created(record.data));
		if (rc != -ENODATA && rc != -ENOENT)
			return rc;
		if (rc == -ENOENT || tables_time_run(trim->ahead.hole.last) + 1 > trim->open_run)
			trim->open_run = 0;
		position = trim->ahead.hole.last + 1;
	}
	return 0;
}

/* ---- blocks ---- */

static int put_block(struct trim *trim)
{
	struct block_builder *builder = &trim->builder;
	struct tables_key key;

	block_builder_finish(builder, &trim->value);
	tables_number_key(builder->first_position, &key);
	trim->last_put = builder->first_position;
	int rc = kv_put(trim->write, KV_BLOCK, tables_key_span(&key), buffer_span(&trim->value),
			false, trim->error);
	block_builder_start(builder, builder->next_position, builder->hash);
	return rc;
}

static int add_hole(struct trim *trim, uint64_t last, uint64_t hash_after)
{
	int rc = block_builder_fits_hole(&trim->builder, last) ? 0 : put_block(trim);

	if (rc == 0)
		block_builder_add_hole(&trim->builder, last, hash_after);
	return rc;
}

static int add_record(struct trim *trim, struct span record, uint64_t hash_after)
{
	int rc = block_builder_fits(&trim->builder, record.size) ? 0 : put_block(trim);

	if (rc == 0)
		rc = keep_time(trim, trim->builder.next_position, record_created(record.data));
	if (rc == 0)
		block_builder_add(&trim->builder, record, hash_after);
	return rc;
}

static int drop_record(struct trim *trim, struct span record, uint64_t hash_after)
{
	const struct candidate *candidate = next_candidate(trim);
	struct stream *stream = &streams_of(trim)[candidate->stream];

	if (!span_equal(record_stream(record.data), stream->name))
		return damaged_at(trim, candidate->position);
	stream->dropped++;
	stream->last_dropped = candidate->position;
	trim->state->superseded--;
	trim->next++;
	int rc = drop_time(trim, stream->last_dropped, record_created(record.data));
	return rc == 0 ? add_hole(trim, stream->last_dropped, hash_after) : rc;
}

static int take_entry(struct trim *trim, const struct block *block, const struct block_entry *entry)
{
	const struct candidate *candidate = next_candidate(trim);
	struct span record;
	uint64_t hash;

	if (entry->is_hole)
		return add_hole(trim, entry->last, block_hash_after(block, entry->index));
	if (block_record(block, entry->index, &record, &hash) != 0)
		return damaged_at(trim, entry->first);
	if (candidate != NULL && candidate->position == entry->first)
		return drop_record(trim, record, hash);
	return add_record(trim, record, hash);
}

/* Take a block out of the table, into the builder: without the candidates that it has. */
static int take_block(struct trim *trim, const struct block *block)
{
	uint64_t last = block->first_position + block->position_count - 1;
	uint64_t position = block->first_position;
	struct tables_key key;

	ASSERT(trim->builder.next_position == position);
	tables_number_key(position, &key);
	int rc = kv_delete(trim->write, KV_BLOCK, tables_key_span(&key), trim->error);
	if (rc == -ENOENT || (rc == 0 && block->hash_before != trim->builder.hash))
		return damaged_at(trim, position);
	trim->took_last = trim->took_last || position == trim->state->last_block;
	while (rc == 0 && position <= last) {
		struct block_entry entry;

		if (block_find(block, position, &entry) != 0)
			return damaged_at(trim, position);
		position = entry.last + 1;
		rc = take_entry(trim, block, &entry);
	}
	return rc;
}

static bool is_small(const struct block *block)
{
	return block->records.size + (size_t)block->count * BLOCK_TABLE_ROW_BYTES <
	       BLOCK_BYTES_MAX / 2;
}

static bool has_run(const struct trim *trim)
{
	return trim->builder.next_position > trim->builder.first_position;
}

/* Begin a run of blocks with the one before this one, when it is small. */
static int begin_run(struct trim *trim, const struct block *block)
{
	struct block_builder *builder = &trim->builder;

	block_builder_start(builder, block->first_position, block->hash_before);
	if (block->first_position == 1)
		return 0;
	int rc = block_reader_load(&trim->ahead, block->first_position - 1, trim->error);
	if (rc == -ENOENT)
		return damaged_at(trim, block->first_position - 1);
	if (rc != 0 || !is_small(&trim->ahead.block))
		return rc;
	block_builder_start(builder, trim->ahead.block.first_position,
			    trim->ahead.block.hash_before);
	return take_block(trim, &trim->ahead.block);
}

/* The block behind the run has no candidates: it joins when it fits. */
static int join_next(struct trim *trim)
{
	if (!has_run(trim))
		return 0;
	int rc = block_reader_load(&trim->ahead, trim->builder.next_position, trim->error);

	if (rc == 0 && block_builder_fits_block(&trim->builder, &trim->ahead.block))
		return take_block(trim, &trim->ahead.block);
	return rc == -ENOENT ? 0 : rc;
}

static int end_run(struct trim *trim)
{
	if (!has_run(trim))
		return 0;
	int rc = close_run(trim);

	return rc == 0 ? put_block(trim) : rc;
}

/* Take a block with candidates; it goes on with the run, or begins another. */
static int rewrite_block(struct trim *trim, const struct block *block)
{
	int rc = 0;

	if (block->first_position != trim->builder.next_position)
		rc = join_next(trim);
	if (rc == 0 && block->first_position != trim->builder.next_position) {
		rc = end_run(trim);
		if (rc == 0)
			rc = begin_run(trim, block);
	}
	return rc == 0 ? take_block(trim, block) : rc;
}

static int rewrite_blocks(struct trim *trim)
{
	const struct candidate *candidate = next_candidate(trim), *before;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && candidate != NULL && i < TRIM_BLOCKS_MAX; i++) {
		before = candidate;
		rc = block_reader_load(&trim->blocks, candidate->position, trim->error);
		if (rc == 0)
			rc = rewrite_block(trim, &trim->blocks.block);
		candidate = next_candidate(trim);
		if (rc == -ENOENT || (rc == 0 && candidate == before)) /* nothing, or a hole */
			return damaged_at(trim, before->position);
	}
	if (rc == 0)
		rc = join_next(trim);
	return rc == 0 ? end_run(trim) : rc;
}

/* ---- lists ---- */

/* The time of the record that is now the first of its list. */
static int find_created(struct trim *trim, struct span name, uint64_t ordinal, int64_t *created)
{
	struct list_reader list;
	struct span record;
	uint64_t position, hash;
	int rc = list_reader_open(&list, trim->read, TABLES_STREAMS, name, trim->error);

	if (rc != 0)
		return rc;
	rc = list_reader_get(&list, ordinal, &position, trim->error);
	list_reader_close(&list);
	if (rc == 0)
		rc = block_reader_get(&trim->ahead, position, &record, &hash, trim->error);
	if (rc == -ENOENT || rc == -ENODATA)
		return damaged_at(trim, position);
	if (rc == 0)
		*created = record_created(record.data);
	return rc;
}

static size_t count_up_to(const uint64_t *positions, size_t count, uint64_t last)
{
	size_t at = 0;

	while (at < count && positions[at] <= last)
		at++;
	return at;
}

/* Off the closed chunks; *dropped counts. */
static int drop_closed(struct trim *trim, const struct stream *stream, const struct tables_row *row,
		       uint32_t open_count, size_t *dropped)
{
	struct buffer positions;
	struct chunks_taken taken = {.kind = TABLES_STREAMS,
				     .number = row->number,
				     .ordinal = row->facts.first_version,
				     .end = row->facts.version - open_count + 1,
				     .after = &positions};

	buffer_init(&positions);
	int rc = chunks_take(trim->write, &taken, stream->last_dropped, trim->error);
	const uint64_t *all = (const uint64_t *)(const void *)positions.data;
	size_t count = positions.size / sizeof all[0];

	*dropped = count_up_to(all, count, stream->last_dropped);
	if (rc == 0 && *dropped < count)
		rc = chunks_put(trim->write, TABLES_STREAMS, row->number,
				row->facts.first_version + *dropped, all + *dropped,
				count - *dropped, trim->error);
	buffer_close(&positions);
	return rc;
}

static int put_row(struct trim *trim, const struct tables_key *key, const struct tables_row *row)
{
	buffer_clear(&trim->value);
	tables_row_encode(tables_key_span(key), row, &trim->value);
	return kv_put(trim->write, KV_STREAM, tables_key_span(key), buffer_span(&trim->value),
		      false, trim->error);
}

static int damaged_list(struct trim *trim)
{
	return tables_damage(trim->read->kv, trim->error, "the list of a checkpoint's stream");
}

static int drop_listed(struct trim *trim, const struct stream *stream)
{
	uint64_t open[POSTING_COUNT_MAX];
	struct tables_key key;
	struct tables_row row = {0};
	struct buffer chunk;
	uint32_t count;
	size_t closed;
	int rc = tables_get_row(trim->write, TABLES_STREAMS, stream->name, &key, &row, trim->error);

	if (rc == -ENOENT || (rc == 0 && posting_unpack(row.chunk, open, &count) != 0))
		return damaged_list(trim);
	if (rc == 0)
		rc = drop_closed(trim, stream, &row, count, &closed);
	if (rc != 0)
		return rc;
	size_t opened = count_up_to(open, count, stream->last_dropped);
	if (closed + opened != stream->dropped)
		return damaged_list(trim);
	row.facts.first_version += stream->dropped;
	rc = find_created(trim, stream->name, row.facts.first_version, &row.facts.created);
	if (rc != 0)
		return rc;
	buffer_init(&chunk);
	size_t packed = posting_pack(open + opened, count - opened, POSTING_OPEN_BYTES, &chunk);
	ASSERT(packed == count - opened);
	row.chunk = buffer_span(&chunk);
	row.name = stream->name.size > TABLES_NAME_BYTES_MAX ? stream->name : span_of(NULL, 0);
	rc = put_row(trim, &key, &row);
	buffer_close(&chunk);
	return rc;
}

static int drop_all_listed(struct trim *trim)
{
	const struct stream *streams = streams_of(trim);
	size_t count = trim->streams.size / sizeof streams[0];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		if (streams[i].dropped > 0)
			rc = drop_listed(trim, &streams[i]);
	return rc;
}

/* ---- the transaction ---- */

static int write_all(struct trim *trim)
{
	int rc = block_reader_open(&trim->blocks, trim->read, trim->error);

	if (rc != 0)
		return rc;
	rc = block_reader_open(&trim->ahead, trim->read, trim->error);
	if (rc == 0) {
		rc = rewrite_blocks(trim);
		if (rc == 0)
			rc = drop_all_listed(trim);
		block_reader_close(&trim->ahead);
	}
	block_reader_close(&trim->blocks);
	trim->state->horizon = MUTANT(HORIZON_FORGOTTEN) ? 0 : trim->state->position;
	if (trim->took_last)
		trim->state->last_block = trim->last_put;
	return rc == 0 ? tables_put_state(trim->write, trim->state, trim->error) : rc;
}

static int write_once(struct trim *trim)
{
	int rc = kv_begin(trim->read->kv, KV_WRITE, &trim->write, trim->error);

	if (rc != 0)
		return rc;
	rc = write_all(trim);
	if (rc == 0)
		return kv_commit(trim->write, trim->error);
	kv_abort(trim->write);
	return rc;
}

static int trim_once(struct kv *kv, struct tables_state *state, bool *again, struct error *error)
{
	struct trim trim = {.state = state, .error = error};
	int rc = kv_begin(kv, KV_READ, &trim.read, error);

	if (rc != 0)
		return rc;
	block_builder_init(&trim.builder);
	rc = gather(&trim);
	if (rc == 0 && trim.candidates.size > 0)
		rc = write_once(&trim);
	*again = trim.more || next_candidate(&trim) != NULL;
	kv_abort(trim.read);
	block_builder_close(&trim.builder);
	buffer_close(&trim.value);
	buffer_close(&trim.streams);
	buffer_close(&trim.candidates);
	return rc;
}

int trim_step(struct kv *kv, struct tables_state *state, bool *again, struct error *error)
{
	for (;;) {
		struct tables_state stored = *state;
		int rc = trim_once(kv, &stored, again, error);

		if (rc == 0)
			*state = stored;
		if (rc != -ENOBUFS)
			return rc;
		rc = kv_grow(kv, error);
		if (rc != 0)
			return rc;
	}
}

/* ---- the store's doors ---- */

bool store_wants_trim(struct store *store)
{
	pthread_rwlock_rdlock(&store->tail.lock);
	bool due = trim_is_due(&store->durable);
	pthread_rwlock_unlock(&store->tail.lock);
	return due && atomic_load(&store->trim_holds) == 0;
}

static int trim_locked(struct store *store, bool *again, struct error *error)
{
	struct tables_state state = store->durable;
	int rc = trim_step(store->kv, &state, again, error);

	if (rc != 0) {
		error_prefix(error, "trim");
		return rc;
	}
	pthread_mutex_lock(&store->apply_lock);
	pthread_rwlock_wrlock(&store->tail.lock);
	store->durable = state;
	pthread_rwlock_unlock(&store->tail.lock);
	pthread_mutex_unlock(&store->apply_lock);
	return 0;
}

int store_trim(struct store *store, bool *again, struct error *error)
{
	int rc = 0;

	*again = false;
	pthread_mutex_lock(&store->flush_lock);
	/* A flush that failed is done again first: what it writes knows nothing of a trim. */
	if (atomic_load(&store->trim_holds) == 0 && store->tail.frozen == NULL)
		rc = trim_locked(store, again, error);
	pthread_mutex_unlock(&store->flush_lock);
	return rc;
}

void store_hold_trim(struct store *store)
{
	pthread_mutex_lock(&store->flush_lock); /* not within a step */
	atomic_fetch_add(&store->trim_holds, 1);
	pthread_mutex_unlock(&store->flush_lock);
}

void store_release_trim(struct store *store)
{
	uint_fast64_t before = atomic_fetch_sub(&store->trim_holds, 1);

	ASSERT(before >= 1);
}
