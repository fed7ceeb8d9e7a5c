/*
 * The flush. For each table what a generation adds is gathered, sorted by key, and put:
 *
 *   records ─► blocks
 *   records ─► (list, position) pairs ─► by list ─► rows by name, closed chunks by number
 *   records ─► ids, sorted
 */
#include "storage/flush.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/text.h"
#include "storage/block.h"

#include <errno.h>
#include <stdlib.h>

struct flush {
	struct kv_txn *txn;
	const struct tail_generation *generation;
	struct tables_state *state;
	struct error *error;
};

/* ---- blocks ---- */

/* Load the last block to go on with it, if the next record fits into it. */
static int resume_block(struct flush *flush, struct block_builder *builder, bool *resumed)
{
	struct tables_key key;
	struct span value, record;
	struct block block;
	uint64_t hash = 0;

	*resumed = false;
	if (flush->state->last_block == 0)
		return 0;
	tables_number_key(flush->state->last_block, &key);
	int rc = kv_get(flush->txn, KV_BLOCK, tables_key_span(&key), &value, flush->error);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (rc != 0 || block_open(value, &block) != 0 ||
	    block.first_position + block.count != flush->generation->first_position)
		return tables_damage(flush->txn->kv, flush->error, "the block at position %llu",
				     (unsigned long long)flush->state->last_block);
	if (value.size + BLOCK_TABLE_ROW_BYTES + flush->generation->records[0].size >
	    BLOCK_BYTES_MAX)
		return 0;
	block_builder_start(builder, block.first_position, block.hash_before);
	for (uint32_t i = 0; i < block.count; i++) {
		if (block_record(&block, i, &record, &hash) != 0)
			return tables_damage(flush->txn->kv, flush->error,
					     "the record at position %llu",
					     (unsigned long long)(block.first_position + i));
		block_builder_add(builder, record, hash);
	}
	if (hash != flush->generation->hash_before)
		return tables_damage(flush->txn->kv, flush->error,
				     "the running hash at position %llu",
				     (unsigned long long)(flush->generation->first_position - 1));
	*resumed = true;
	return 0;
}

static int put_block(struct flush *flush, const struct block_builder *builder, struct buffer *value)
{
	struct tables_key key;
	bool is_new = builder->first_position > flush->state->last_block;

	block_builder_finish(builder, value);
	tables_number_key(builder->first_position, &key);
	flush->state->last_block = builder->first_position;
	return kv_put(flush->txn, KV_BLOCK, tables_key_span(&key), buffer_span(value), is_new,
		      flush->error);
}

static int put_blocks(struct flush *flush)
{
	const struct tail_generation *generation = flush->generation;
	struct block_builder builder;
	struct buffer value;
	uint64_t hash = generation->hash_before;
	bool resumed;

	block_builder_init(&builder);
	buffer_init(&value);
	int rc = resume_block(flush, &builder, &resumed);
	if (rc == 0 && !resumed)
		block_builder_start(&builder, generation->first_position, hash);
	for (uint32_t i = 0; rc == 0 && i < generation->count; i++) {
		const struct tail_record *record = &generation->records[i];

		if (!block_builder_fits(&builder, record->size)) {
			rc = put_block(flush, &builder, &value);
			block_builder_start(&builder, generation->first_position + i, hash);
		}
		block_builder_add(&builder, span_of(record->bytes, record->size), record->hash);
		hash = record->hash;
	}
	if (rc == 0)
		rc = put_block(flush, &builder, &value);
	block_builder_close(&builder);
	buffer_close(&value);
	return rc;
}

/* ---- lists ---- */

struct pair {
	uint32_t list;  /* number in names */
	uint32_t place; /* of the record in the generation */
};

struct closed_chunk {
	uint64_t number, ordinal;
	size_t offset, size; /* in chunk_bytes */
};

/* What a generation adds to the lists of one kind. */
struct gathered {
	enum tables_list kind;
	const struct map *names;
	struct buffer pairs;  /* in order of place */
	uint32_t *starts;     /* of each list in places; one more at the end */
	uint32_t *places;     /* by list */
	struct buffer chunks; /* struct closed_chunk */
	struct buffer chunk_bytes;
	struct buffer positions; /* uint64_t: of one list */
	struct buffer open, row; /* of one list */
};

static void gathered_init(struct gathered *gathered, enum tables_list kind, const struct map *names)
{
	*gathered = (struct gathered){.kind = kind, .names = names};
}

static void gathered_close(struct gathered *gathered)
{
	memory_free(gathered->starts);
	memory_free(gathered->places);
	buffer_close(&gathered->pairs);
	buffer_close(&gathered->chunks);
	buffer_close(&gathered->chunk_bytes);
	buffer_close(&gathered->positions);
	buffer_close(&gathered->open);
	buffer_close(&gathered->row);
}

static void gather(struct gathered *gathered, uint32_t list, uint32_t place)
{
	struct pair pair = {.list = list, .place = place};

	buffer_append(&gathered->pairs, &pair, sizeof pair);
}

/* Counting sort of the pairs by list; places stay in order. */
static void sort_pairs(struct gathered *gathered)
{
	const struct pair *pairs = (const struct pair *)(const void *)gathered->pairs.data;
	size_t count = gathered->pairs.size / sizeof pairs[0];
	uint32_t lists = gathered->names->count;

	gathered->starts = memory_zeroed((size_t)lists + 1, sizeof gathered->starts[0]);
	gathered->places = memory_alloc(count * sizeof gathered->places[0]);
	for (size_t i = 0; i < count; i++)
		gathered->starts[pairs[i].list + 1]++;
	for (uint32_t list = 0; list < lists; list++)
		gathered->starts[list + 1] += gathered->starts[list];
	for (size_t i = 0; i < count; i++)
		gathered->places[gathered->starts[pairs[i].list]++] = pairs[i].place;
	memmove(gathered->starts + 1, gathered->starts, lists * sizeof gathered->starts[0]);
	gathered->starts[0] = 0;
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

/* The positions of the row's open chunk, then the new ones; *before counts the former. */
static int join_positions(struct flush *flush, struct gathered *gathered, uint32_t list,
			  const struct tables_row *row, uint32_t *before)
{
	uint32_t end = gathered->starts[list + 1];
	struct buffer *positions = &gathered->positions;

	buffer_clear(positions);
	uint64_t *open =
		(uint64_t *)(void *)buffer_reserve(positions, POSTING_COUNT_MAX * sizeof open[0]);
	*before = 0;
	if (posting_unpack(row->chunk, open, before) != 0 || *before > row->facts.version)
		return tables_damage(flush->txn->kv, flush->error, "an open chunk of table %s",
				     kv_table_name(tables_of_names(gathered->kind)));
	positions->size = *before * sizeof open[0];
	for (uint32_t i = gathered->starts[list]; i < end; i++) {
		uint64_t position = flush->generation->first_position + gathered->places[i];

		/* A tag that is twice on a record is listed once. */
		if (i == gathered->starts[list] || gathered->places[i] != gathered->places[i - 1])
			buffer_append(positions, &position, sizeof position);
	}
	return 0;
}

static void cut_chunks(struct gathered *gathered, const struct tables_row *row, uint64_t ordinal)
{
	const uint64_t *positions = (const uint64_t *)(const void *)gathered->positions.data;
	size_t count = gathered->positions.size / sizeof positions[0];

	for (;;) {
		buffer_clear(&gathered->open);
		if (posting_pack(positions, count, POSTING_OPEN_BYTES, &gathered->open) == count)
			return;
		struct closed_chunk chunk = {.number = row->number, .ordinal = ordinal};
		chunk.offset = gathered->chunk_bytes.size;
		size_t packed = posting_pack(positions, count, POSTING_CLOSED_BYTES,
					     &gathered->chunk_bytes);
		chunk.size = gathered->chunk_bytes.size - chunk.offset;
		buffer_append(&gathered->chunks, &chunk, sizeof chunk);
		positions += packed;
		count -= packed;
		ordinal += packed;
	}
}

static int64_t created_at(const struct flush *flush, uint32_t place)
{
	return record_created(flush->generation->records[place].bytes);
}

/* What holds of the list after this generation. */
static int advance_facts(struct flush *flush, const struct gathered *gathered, uint32_t list,
			 uint64_t added, struct stream_facts *facts)
{
	uint64_t version = facts->version + added;

	if (gathered->kind == TABLES_STREAMS) {
		*facts = flush->generation->streams[list].facts;
		if (facts->version != version)
			return tables_damage(
				flush->txn->kv, flush->error,
				"a row of table stream: versions %llu and %llu differ; it",
				(unsigned long long)facts->version, (unsigned long long)version);
		return 0;
	}
	if (facts->version == 0)
		facts->created = created_at(flush, gathered->places[gathered->starts[list]]);
	facts->updated = created_at(flush, gathered->places[gathered->starts[list + 1] - 1]);
	facts->version = version;
	facts->first_version = 1;
	facts->state = STREAM_LIVE;
	return 0;
}

static int put_row(struct flush *flush, struct gathered *gathered, const struct tables_key *key,
		   const struct tables_row *row)
{
	buffer_clear(&gathered->row);
	tables_row_encode(tables_key_span(key), row, &gathered->row);
	return kv_put(flush->txn, tables_of_names(gathered->kind), tables_key_span(key),
		      buffer_span(&gathered->row), false, flush->error);
}

static int put_list(struct flush *flush, struct gathered *gathered, const struct name_order *which)
{
	struct tables_key key;
	struct tables_row row = {0};
	uint32_t before;
	int rc = tables_get_row(flush->txn, gathered->kind, which->name, &key, &row, flush->error);

	if (rc == -ENOENT) {
		row = (struct tables_row){.number = ++flush->state->lists[gathered->kind]};
		rc = 0;
	}
	if (rc == 0)
		rc = join_positions(flush, gathered, which->list, &row, &before);
	if (rc != 0)
		return rc;
	cut_chunks(gathered, &row, row.facts.version - before + 1);
	uint64_t added = gathered->positions.size / sizeof(uint64_t) - before;
	rc = advance_facts(flush, gathered, which->list, added, &row.facts);
	if (rc != 0)
		return rc;
	row.name = which->name.size > TABLES_NAME_BYTES_MAX ? which->name : span_of(NULL, 0);
	row.chunk = buffer_span(&gathered->open);
	return put_row(flush, gathered, &key, &row);
}

static int compare_chunks(const void *a, const void *b)
{
	const struct closed_chunk *left = a, *right = b;

	if (left->number != right->number)
		return left->number < right->number ? -1 : 1;
	return (left->ordinal > right->ordinal) - (left->ordinal < right->ordinal);
}

static int put_chunks(struct flush *flush, struct gathered *gathered)
{
	struct closed_chunk *chunks = (struct closed_chunk *)(void *)gathered->chunks.data;
	size_t count = gathered->chunks.size / sizeof chunks[0];
	struct buffer *value = &gathered->row;
	int rc = 0;

	if (count > 0)
		qsort(chunks, count, sizeof chunks[0], compare_chunks);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct tables_key key;

		tables_chunk_key(chunks[i].number, chunks[i].ordinal, &key);
		buffer_clear(value);
		buffer_append(value, gathered->chunk_bytes.data + chunks[i].offset, chunks[i].size);
		tables_chunk_seal(tables_key_span(&key), value);
		rc = kv_put(flush->txn, tables_of_chunks(gathered->kind), tables_key_span(&key),
			    buffer_span(value), false, flush->error);
	}
	return rc;
}

static int put_lists(struct flush *flush, struct gathered *gathered)
{
	uint32_t lists = gathered->names->count;
	int rc = 0;

	if (lists == 0)
		return 0;
	sort_pairs(gathered);
	struct name_order *order = order_names(gathered->names);
	for (uint32_t i = 0; rc == 0 && i < lists; i++)
		rc = put_list(flush, gathered, &order[i]);
	memory_free(order);
	return rc == 0 ? put_chunks(flush, gathered) : rc;
}

static int put_streams(struct flush *flush)
{
	const struct tail_generation *generation = flush->generation;
	struct gathered streams;

	gathered_init(&streams, TABLES_STREAMS, &generation->names);
	for (uint32_t i = 0; i < generation->count; i++)
		gather(&streams, generation->records[i].stream, i);
	int rc = put_lists(flush, &streams);
	gathered_close(&streams);
	return rc;
}

/* ---- categories, types and tags ---- */

static uint32_t number_of(struct map *names, struct span name)
{
	return (uint32_t)*map_put(names, name, names->count);
}

#define SYSTEM_STREAM UINT32_MAX
#define NO_CATEGORY   (UINT32_MAX - 1) /* the name begins with '-' */

/* The category of each stream of the generation. */
static uint32_t *number_categories(const struct tail_generation *generation, struct map *names)
{
	const struct map *streams = &generation->names;
	uint32_t *categories = memory_alloc(streams->count * sizeof categories[0]);

	for (uint32_t i = 0; i < streams->count; i++) {
		struct span stream = map_key(streams, &streams->entries[i]);

		if (stream.data[0] == '$')
			categories[i] = SYSTEM_STREAM;
		else if (text_category(stream).size == 0)
			categories[i] = NO_CATEGORY;
		else
			categories[i] = number_of(names, text_category(stream));
	}
	return categories;
}

static void gather_record(const struct record *record, uint32_t place, struct gathered *types,
			  struct map *type_names, struct gathered *tags, struct map *tag_names)
{
	gather(types, number_of(type_names, record->type), place);
	for (uint32_t i = 0; i < record->tag_count; i++)
		gather(tags, number_of(tag_names, record->tags[i]), place);
}

static int put_labels(struct flush *flush)
{
	const struct tail_generation *generation = flush->generation;
	struct map names[TABLES_LISTS];
	struct gathered labels[TABLES_LISTS];
	int rc = 0;

	for (int kind = TABLES_CATEGORIES; kind < TABLES_LISTS; kind++) {
		map_init(&names[kind]);
		gathered_init(&labels[kind], (enum tables_list)kind, &names[kind]);
	}
	uint32_t *categories = number_categories(generation, &names[TABLES_CATEGORIES]);
	for (uint32_t i = 0; i < generation->count; i++) {
		struct span bytes =
			span_of(generation->records[i].bytes, generation->records[i].size);
		uint32_t category = categories[generation->records[i].stream];
		struct record record;

		if (category == SYSTEM_STREAM)
			continue;
		int parsed = record_parse(bytes, &record);
		ASSERT(parsed == 0);
		if (category != NO_CATEGORY)
			gather(&labels[TABLES_CATEGORIES], category, i);
		gather_record(&record, i, &labels[TABLES_TYPES], &names[TABLES_TYPES],
			      &labels[TABLES_TAGS], &names[TABLES_TAGS]);
	}
	memory_free(categories);
	for (int kind = TABLES_CATEGORIES; kind < TABLES_LISTS; kind++) {
		if (rc == 0)
			rc = put_lists(flush, &labels[kind]);
		gathered_close(&labels[kind]);
		map_close(&names[kind]);
	}
	return rc;
}

/* ---- ids and times ---- */

struct id_row {
	uint64_t high, low; /* big-endian: they compare as the bytes do */
	uint64_t position;
};

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
	bytes_set_le64(position, row->position);
	if (tables_id_is_v7(id) && memcmp(id, flush->state->greatest_v7, UUID_BYTES) > 0)
		memcpy(flush->state->greatest_v7, id, UUID_BYTES);
	return kv_put(flush->txn, KV_EVENT_ID, span_of(id, UUID_BYTES), span_of(position, 8), false,
		      flush->error);
}

static int put_ids(struct flush *flush)
{
	const struct tail_generation *generation = flush->generation;
	struct id_row *rows = memory_alloc(generation->count * sizeof rows[0]);
	int rc = 0;

	for (uint32_t i = 0; i < generation->count; i++) {
		const uint8_t *id = record_id(generation->records[i].bytes);

		rows[i] = (struct id_row){.high = bytes_be64(id),
					  .low = bytes_be64(id + 8),
					  .position = generation->first_position + i};
	}
	qsort(rows, generation->count, sizeof rows[0], compare_ids);
	for (uint32_t i = 0; rc == 0 && i < generation->count; i++)
		rc = put_id(flush, &rows[i]);
	memory_free(rows);
	return rc;
}

static int put_times(struct flush *flush)
{
	const struct tail_generation *generation = flush->generation;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < generation->count; i++) {
		uint64_t position = generation->first_position + i;
		struct tables_key key;

		if ((position - 1) % TABLES_TIME_STEP != 0)
			continue;
		tables_time_key(created_at(flush, i), position, &key);
		rc = kv_put(flush->txn, KV_TIME, tables_key_span(&key), span_of(NULL, 0), true,
			    flush->error);
	}
	return rc;
}

/* ---- the transaction ---- */

static int put_all(struct flush *flush)
{
	int rc = 0;

	if (flush->generation->count > 0) {
		rc = put_blocks(flush);
		if (rc == 0)
			rc = put_streams(flush);
		if (rc == 0)
			rc = put_labels(flush);
		if (rc == 0)
			rc = put_ids(flush);
		if (rc == 0)
			rc = put_times(flush);
	}
	return rc == 0 ? tables_put_state(flush->txn, flush->state, flush->error) : rc;
}

static int flush_once(struct kv *kv, const struct tail_generation *generation,
		      struct tables_state *state, struct error *error)
{
	struct flush flush = {.generation = generation, .state = state, .error = error};
	int rc = kv_begin(kv, KV_WRITE, &flush.txn, error);

	if (rc != 0)
		return rc;
	rc = put_all(&flush);
	if (rc != 0) {
		kv_abort(flush.txn);
		return rc;
	}
	return kv_commit(flush.txn, error);
}

int flush_generation(struct kv *kv, const struct tail_generation *generation,
		     struct tables_state *state, struct error *error)
{
	for (;;) {
		struct tables_state stored = *state;
		int rc = flush_once(kv, generation, &stored, error);

		if (rc == 0)
			*state = stored;
		if (rc != -ENOBUFS)
			return rc;
		rc = kv_grow(kv, error);
		if (rc != 0)
			return rc;
	}
}
