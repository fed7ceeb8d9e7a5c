/*
 * The flush. For each table what a generation adds is gathered, sorted by key, and put:
 *
 *   records ─► blocks, and ids: gathered, sorted
 *   lists   ─► rows by name, closed chunks by number
 */
#include "storage/flush.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "storage/block.h"
#include "storage/chunks.h"
#include "storage/system.h"

#include <errno.h>
#include <stdlib.h>

struct flush {
	struct kv_txn *txn;
	const struct tail_generation *generation;
	struct tables_state *state;
	struct error *error;
	struct flush_memory *memory;
	uint64_t last_record; /* position of the last one before the generation; 0: none */
};

struct attempt {
	const struct tail_generation *generation;
	const struct tables_state *stored;
	struct flush_memory *memory;
	struct tables_state result;
};

struct id_row {
	uint64_t high, low; /* big-endian: they compare as the bytes do */
	uint64_t position;
};

/* ---- blocks ---- */

struct writing {
	struct block_builder builder;
	struct buffer value;
};

static int damaged_block(struct flush *flush, uint64_t position)
{
	return tables_damage(flush->txn->kv, flush->error, "the block around position %llu",
			     (unsigned long long)position);
}

/* Load the last block to go on with it, if there is room in it. */
static int resume_block(struct flush *flush, struct block_builder *builder)
{
	const struct tail_generation *generation = flush->generation;
	size_t more = BLOCK_TABLE_ROW_BYTES + BLOCK_HOLE_ROW_BYTES;
	struct tables_key key;
	struct span value;
	struct block block;

	block_builder_start(builder, generation->first_position, generation->hash_before);
	if (flush->state->last_block == 0)
		return 0;
	tables_number_key(flush->state->last_block, &key);
	int rc = kv_get(flush->txn, KV_BLOCK, tables_key_span(&key), &value, flush->error);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (rc != 0 || block_open(value, &block) != 0 ||
	    block.first_position + block.position_count != generation->first_position)
		return damaged_block(flush, flush->state->last_block);
	if (generation->count > 0)
		more += generation->records[0].size;
	if (value.size + more > BLOCK_BYTES_MAX)
		return 0;
	block_builder_start(builder, block.first_position, block.hash_before);
	rc = block_builder_add_block(builder, &block);
	if (rc != 0 || builder->hash != generation->hash_before)
		return damaged_block(flush, builder->next_position);
	return 0;
}

static int put_block(struct flush *flush, struct writing *writing)
{
	struct block_builder *builder = &writing->builder;
	bool is_new = builder->first_position > flush->state->last_block;
	struct tables_key key;

	block_builder_finish(builder, &writing->value);
	tables_number_key(builder->first_position, &key);
	flush->state->last_block = builder->first_position;
	int rc = kv_put(flush->txn, KV_BLOCK, tables_key_span(&key), buffer_span(&writing->value),
			is_new, flush->error);
	block_builder_start(builder, builder->next_position, builder->hash);
	return rc;
}

static int write_hole(struct flush *flush, struct writing *writing, const struct hole *hole)
{
	int rc = 0;

	if (!block_builder_fits_hole(&writing->builder, hole->last))
		rc = put_block(flush, writing);
	if (rc == 0)
		block_builder_add_hole(&writing->builder, hole->last, hole->hash_after);
	return rc;
}

/* While the record is near: to come back to it later would cost more than the copy. */
static void gather_id(struct flush *flush, const uint8_t *record)
{
	const uint8_t *id = record_id(record);
	const struct id_row row = {.high = bytes_be64(id),
				   .low = bytes_be64(id + 8),
				   .position = record_position(record)};

	if (!system_is_checkpoint_record(record))
		buffer_append(&flush->memory->ids, &row, sizeof row);
}

static int write_record(struct flush *flush, struct writing *writing,
			const struct tail_record *record)
{
	int rc = 0;

	if (!block_builder_fits(&writing->builder, record->size))
		rc = put_block(flush, writing);
	if (rc == 0)
		block_builder_add(&writing->builder, span_of(record->bytes, record->size),
				  record->hash);
	gather_id(flush, record->bytes);
	return rc;
}

static int write_all(struct flush *flush, struct writing *writing)
{
	const struct tail_generation *generation = flush->generation;
	const struct tail_hole *holes =
		(const struct tail_hole *)(const void *)generation->holes.data;
	size_t hole_count = generation->holes.size / sizeof holes[0], at = 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < generation->count; i++) {
		for (; rc == 0 && at < hole_count && holes[at].place == i; at++)
			rc = write_hole(flush, writing, &holes[at].hole);
		if (rc == 0)
			rc = write_record(flush, writing, &generation->records[i]);
	}
	for (; rc == 0 && at < hole_count; at++)
		rc = write_hole(flush, writing, &holes[at].hole);
	return rc == 0 && writing->builder.count > 0 ? put_block(flush, writing) : rc;
}

static int put_blocks(struct flush *flush)
{
	struct writing writing;

	buffer_clear(&flush->memory->ids);
	block_builder_init(&writing.builder);
	buffer_init(&writing.value);
	int rc = resume_block(flush, &writing.builder);
	if (rc == 0)
		rc = write_all(flush, &writing);
	block_builder_close(&writing.builder);
	buffer_close(&writing.value);
	return rc;
}

/* ---- lists ---- */

struct closed_chunk {
	uint64_t number, ordinal;
	size_t offset, size; /* in chunk_bytes */
};

/* The lists of one kind, on their way to the tables. */
struct listing {
	enum tables_list kind;
	struct buffer chunks; /* struct closed_chunk */
	struct buffer chunk_bytes;
	struct buffer positions; /* uint64_t: of one list */
	struct buffer open, row; /* of one list */
};

static void listing_close(struct listing *listing)
{
	buffer_close(&listing->chunks);
	buffer_close(&listing->chunk_bytes);
	buffer_close(&listing->positions);
	buffer_close(&listing->open);
	buffer_close(&listing->row);
}

struct name_order {
	struct span name;
	uint32_t list;
};

static int compare_names(const void *a, const void *b)
{
	const struct name_order *left = a, *right = b;
	size_t common = left->name.size < right->name.size ? left->name.size : right->name.size;
	int order = memcmp(left->name.data, right->name.data, common);

	return order != 0 ? order
			  : (left->name.size > right->name.size) -
				    (left->name.size < right->name.size);
}

/* The lists in the order of their keys (nearly, for names that are no keys). */
static struct name_order *order_names(const struct map *names)
{
	struct name_order *order = memory_alloc(names->count * sizeof order[0]);

	for (uint32_t i = 0; i < names->count; i++)
		order[i] =
			(struct name_order){.name = map_key(names, &names->entries[i]), .list = i};
	qsort(order, names->count, sizeof order[0], compare_names);
	return order;
}

static uint64_t records_in(const struct stream_facts *facts)
{
	return facts->first_version == 0 ? 0 : facts->version - facts->first_version + 1;
}

/*
 * Versions of a checkpoint's stream jump over what the peer had dropped: the ordinals of what is
 * listed here move up to the new ones, so that there is no gap. For that all chunks are cut again.
 */
static int jump(struct flush *flush, struct listing *listing, const struct tail_list *list,
		const struct name_order *which, struct tables_row *row, uint32_t open_count)
{
	struct stream_facts *facts = &row->facts;
	uint64_t next = flush->generation->streams[which->list].facts.version - list->count;
	struct chunks_taken taken = {.kind = TABLES_STREAMS,
				     .number = row->number,
				     .ordinal = facts->first_version,
				     .end = facts->version - open_count + 1,
				     .after = &listing->positions};

	ASSERT(next > facts->version);
	if (records_in(facts) > open_count) {
		int rc = chunks_take(flush->txn, &taken, UINT64_MAX, flush->error);

		if (rc != 0)
			return rc;
	}
	if (facts->first_version > 0)
		facts->first_version += next - facts->version;
	facts->version = next;
	return 0;
}

static bool jumps(const struct flush *flush, enum tables_list kind, const struct tail_list *list,
		  const struct name_order *which, const struct tables_row *row)
{
	return kind == TABLES_STREAMS && system_is_checkpoint_stream(which->name) &&
	       flush->generation->streams[which->list].facts.version >
		       row->facts.version + list->count;
}

/*
 * The positions of the row's open chunk, then the new ones; when ordinals jump, those of the closed
 * chunks before them. *ordinal is that of the first.
 */
static int join_positions(struct flush *flush, struct listing *listing,
			  const struct name_order *which, struct tables_row *row, uint64_t *ordinal)
{
	const struct tail_list *list = tail_list(flush->generation, listing->kind, which->list);
	const uint32_t *places = tail_places(list);
	struct buffer *positions = &listing->positions;
	uint64_t open[POSTING_COUNT_MAX];
	uint32_t count = 0;
	int rc = 0;

	buffer_clear(positions);
	if (posting_unpack(row->chunk, open, &count) != 0 || count > row->facts.version)
		return tables_damage(flush->txn->kv, flush->error, "an open chunk of table %s",
				     kv_table_name(tables_of_names(listing->kind)));
	if (jumps(flush, listing->kind, list, which, row))
		rc = jump(flush, listing, list, which, row, count);
	if (rc != 0)
		return rc;
	*ordinal = row->facts.version - positions->size / sizeof open[0] - count + 1;
	buffer_append(positions, open, count * sizeof open[0]);
	uint64_t *joined =
		(uint64_t *)(void *)buffer_reserve(positions, list->count * sizeof joined[0]);
	for (uint32_t i = 0; i < list->count; i++)
		joined[i] = tail_position(flush->generation, places[i]);
	positions->size += list->count * sizeof joined[0];
	return 0;
}

static void cut_chunks(struct listing *listing, const struct tables_row *row, uint64_t ordinal)
{
	const uint64_t *positions = (const uint64_t *)(const void *)listing->positions.data;
	size_t count = listing->positions.size / sizeof positions[0];

	for (;;) {
		buffer_clear(&listing->open);
		if (posting_pack(positions, count, POSTING_OPEN_BYTES, &listing->open) == count)
			return;
		struct closed_chunk chunk = {.number = row->number, .ordinal = ordinal};
		chunk.offset = listing->chunk_bytes.size;
		size_t packed =
			posting_pack(positions, count, POSTING_CLOSED_BYTES, &listing->chunk_bytes);
		chunk.size = listing->chunk_bytes.size - chunk.offset;
		buffer_append(&listing->chunks, &chunk, sizeof chunk);
		positions += packed;
		count -= packed;
		ordinal += packed;
	}
}

static int64_t created_at(const struct flush *flush, uint32_t place)
{
	return record_created(flush->generation->records[place].bytes);
}

/*
 * A checkpoint's stream: what the tail says of its first version may be too low, since the trim has
 * advanced it, or too high, since versions jumped while ingesting (tables.h).
 */
static void advance_checkpoint(struct flush *flush, const struct tail_list *list,
			       const struct stream_facts *before, struct stream_facts *facts)
{
	bool is_first = records_in(before) == 0;

	facts->first_version = is_first ? facts->version - list->count + 1 : before->first_version;
	facts->created = is_first ? created_at(flush, tail_places(list)[0]) : before->created;
	flush->state->checkpoint_streams += is_first;
	flush->state->superseded += list->count - is_first;
}

/* What holds of the list after this generation. */
static int advance_facts(struct flush *flush, enum tables_list kind, const struct name_order *which,
			 const struct tail_list *list, struct stream_facts *facts)
{
	const uint32_t *places = tail_places(list);
	const struct stream_facts before = *facts;
	uint64_t version = before.version + list->count;

	if (kind == TABLES_STREAMS) {
		*facts = flush->generation->streams[which->list].facts;
		if (facts->version != version)
			return tables_damage(
				flush->txn->kv, flush->error,
				"a row of table stream: versions %llu and %llu differ; it",
				(unsigned long long)facts->version, (unsigned long long)version);
		if (system_is_checkpoint_stream(which->name))
			advance_checkpoint(flush, list, &before, facts);
		return 0;
	}
	if (facts->version == 0)
		facts->created = created_at(flush, places[0]);
	facts->updated = created_at(flush, places[list->count - 1]);
	facts->version = version;
	facts->first_version = 1;
	facts->state = STREAM_LIVE;
	return 0;
}

static int put_row(struct flush *flush, struct listing *listing, const struct tables_key *key,
		   const struct tables_row *row)
{
	buffer_clear(&listing->row);
	tables_row_encode(tables_key_span(key), row, &listing->row);
	return kv_put(flush->txn, tables_of_names(listing->kind), tables_key_span(key),
		      buffer_span(&listing->row), false, flush->error);
}

static int put_list(struct flush *flush, struct listing *listing, const struct name_order *which)
{
	const struct tail_list *list = tail_list(flush->generation, listing->kind, which->list);
	struct tables_key key;
	struct tables_row row = {0};
	uint64_t ordinal;
	int rc = tables_get_row(flush->txn, listing->kind, which->name, &key, &row, flush->error);

	if (rc == -ENOENT) {
		row = (struct tables_row){.number = ++flush->state->lists[listing->kind]};
		rc = 0;
	}
	if (rc == 0)
		rc = join_positions(flush, listing, which, &row, &ordinal);
	if (rc != 0)
		return rc;
	cut_chunks(listing, &row, ordinal);
	rc = advance_facts(flush, listing->kind, which, list, &row.facts);
	if (rc != 0)
		return rc;
	row.name = which->name.size > TABLES_NAME_BYTES_MAX ? which->name : span_of(NULL, 0);
	row.chunk = buffer_span(&listing->open);
	return put_row(flush, listing, &key, &row);
}

static int compare_chunks(const void *a, const void *b)
{
	const struct closed_chunk *left = a, *right = b;

	if (left->number != right->number)
		return left->number < right->number ? -1 : 1;
	return (left->ordinal > right->ordinal) - (left->ordinal < right->ordinal);
}

static int put_chunks(struct flush *flush, struct listing *listing)
{
	struct closed_chunk *chunks = (struct closed_chunk *)(void *)listing->chunks.data;
	size_t count = listing->chunks.size / sizeof chunks[0];
	struct buffer *value = &listing->row;
	int rc = 0;

	if (count > 0)
		qsort(chunks, count, sizeof chunks[0], compare_chunks);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct tables_key key;

		tables_chunk_key(chunks[i].number, chunks[i].ordinal, &key);
		buffer_clear(value);
		buffer_append(value, listing->chunk_bytes.data + chunks[i].offset, chunks[i].size);
		tables_chunk_seal(tables_key_span(&key), value);
		rc = kv_put(flush->txn, tables_of_chunks(listing->kind), tables_key_span(&key),
			    buffer_span(value), false, flush->error);
	}
	return rc;
}

static int put_lists(struct flush *flush, enum tables_list kind)
{
	const struct map *names = &flush->generation->names[kind].map;
	struct listing listing = {.kind = kind};
	int rc = 0;

	if (names->count == 0 || (MUTANT(TAGS_NOT_FLUSHED) && kind == TABLES_TAGS))
		return 0;
	struct name_order *order = order_names(names);
	for (uint32_t i = 0; rc == 0 && i < names->count; i++)
		rc = put_list(flush, &listing, &order[i]);
	memory_free(order);
	if (rc == 0)
		rc = put_chunks(flush, &listing);
	listing_close(&listing);
	return rc;
}

/* ---- ids and times ---- */

static int compare_ids(const void *a, const void *b)
{
	const struct id_row *left = a, *right = b;

	if (left->high != right->high)
		return left->high < right->high ? -1 : 1;
	return (left->low > right->low) - (left->low < right->low);
}

static int put_id(struct flush *flush, const struct id_row *row)
{
	uint8_t id[UUID_BYTES], position[8];

	bytes_set_be64(id, row->high);
	bytes_set_be64(id + 8, row->low);
	tables_id_encode(id, row->position, position);
	if (tables_id_is_v7(id) &&
	    (memcmp(id, flush->state->greatest_v7, UUID_BYTES) > 0 || MUTANT(GREATEST_ID)))
		memcpy(flush->state->greatest_v7, id, UUID_BYTES);
	return kv_put(flush->txn, KV_EVENT_ID, span_of(id, UUID_BYTES), span_of(position, 8), false,
		      flush->error);
}

/* Clients of one process make ids of version 7 in order: then there is nothing to sort. */
static bool is_sorted(const struct id_row *rows, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (compare_ids(&rows[i - 1], &rows[i]) > 0)
			return false;
	return true;
}

static int put_ids(struct flush *flush)
{
	struct id_row *rows = (struct id_row *)(void *)flush->memory->ids.data;
	size_t count = flush->memory->ids.size / sizeof rows[0];
	int rc = 0;

	if (!is_sorted(rows, count))
		qsort(rows, count, sizeof rows[0], compare_ids);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = put_id(flush, &rows[i]);
	return rc;
}

/* The first record of each run of positions is listed. */
static int put_times(struct flush *flush)
{
	const struct tail_generation *generation = flush->generation;
	uint64_t listed = flush->last_record;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < generation->count; i++) {
		uint64_t position = tail_position(generation, i);
		struct tables_key key;

		if (listed != 0 && tables_time_run(position) == tables_time_run(listed))
			continue;
		tables_time_key(created_at(flush, i), position, &key);
		rc = kv_put(flush->txn, KV_TIME, tables_key_span(&key), span_of(NULL, 0), true,
			    flush->error);
		listed = position;
	}
	return rc;
}

/* ---- the transaction ---- */

static int put_all(struct flush *flush)
{
	int rc = 0;

	if (flush->generation->next_position > flush->generation->first_position) {
		rc = put_blocks(flush);
		for (int kind = 0; rc == 0 && kind < TABLES_LISTS; kind++)
			rc = put_lists(flush, (enum tables_list)kind);
		if (rc == 0)
			rc = put_ids(flush);
		if (rc == 0)
			rc = put_times(flush);
	}
	return rc == 0 ? tables_put_state(flush->txn, flush->state, flush->error) : rc;
}

/* A new attempt begins with the state that is stored. */
static int flush_all(struct kv_txn *txn, void *arg, struct error *error)
{
	struct attempt *attempt = arg;
	const struct tail_generation *generation = attempt->generation;
	struct flush flush = {.txn = txn,
			      .generation = generation,
			      .state = &attempt->result,
			      .error = error,
			      .memory = attempt->memory,
			      .last_record = attempt->stored->last_record};

	attempt->result = *attempt->stored;
	if (generation->count > 0)
		attempt->result.last_record = tail_position(generation, generation->count - 1);
	return put_all(&flush);
}

void flush_memory_init(struct flush_memory *memory)
{
	buffer_init(&memory->ids);
}

void flush_memory_close(struct flush_memory *memory)
{
	buffer_close(&memory->ids);
}

int flush_generation(struct kv *kv, const struct tail_generation *generation,
		     struct flush_memory *memory, struct tables_state *state, struct error *error)
{
	struct attempt attempt = {.generation = generation, .stored = state, .memory = memory};
	int rc = kv_write(kv, flush_all, &attempt, error);

	if (rc == 0)
		*state = attempt.result;
	return rc;
}
