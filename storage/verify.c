/*
 * Verification. One pass over the blocks notes what each list must hold (a count and a hash over
 * its positions, in order); then each list is walked, and must come to the same.
 */
#include "storage/verify.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "storage/block.h"
#include "storage/system.h"
#include "storage/tables.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define PROGRESS_STEP 65536

/* What a list must come to. */
struct wanted {
	uint64_t count;
	uint64_t positions_hash;
	uint64_t last_position, last_version;
	int64_t created, updated;
	bool found;
};

struct verify {
	struct kv_txn *txn;
	const struct verify_options *options;
	struct verify_report *report;
	struct error *error;
	struct tables_state state;
	struct map names[TABLES_LISTS]; /* name → number of the wanted */
	struct buffer wanted[TABLES_LISTS];
	uint64_t chunks[TABLES_LISTS]; /* walked */
	struct buffer numbers;         /* a byte for each number of a list: taken */
	uint64_t next_position;
	uint64_t shown; /* of the progress */
	uint64_t hash;
	int64_t created;
	uint64_t last_block, last_record, last_event;
	uint64_t times;
	uint64_t checkpoints; /* records, and ... */
	uint64_t checkpoint_streams;
	uint8_t greatest_v7[UUID_BYTES];
};

__attribute__((format(printf, 2, 3))) static void problem(struct verify *verify, const char *format,
							  ...)
{
	struct verify_report *report = verify->report;
	va_list arguments;

	if (report->problem_count < VERIFY_PROBLEMS_MAX) {
		va_start(arguments, format);
		vsnprintf(report->problems[report->problem_count], VERIFY_PROBLEM_BYTES, format,
			  arguments);
		va_end(arguments);
	}
	report->problem_count++;
}

#define SHOWN(span)   (int)((span).size < 100 ? (span).size : 100), (const char *)(span).data
#define NUMBER(value) ((unsigned long long)(value))

/* ---- what records say ---- */

static uint64_t mix(uint64_t hash, uint64_t position)
{
	uint8_t bytes[8];

	bytes_set_le64(bytes, position);
	return checksum64_seeded(bytes, sizeof bytes, hash);
}

static struct wanted *find_wanted(struct verify *verify, int kind, struct span name)
{
	struct wanted *wanted = (struct wanted *)(void *)verify->wanted[kind].data;
	const uint64_t *number = map_get(&verify->names[kind], name);

	return number != NULL ? &wanted[*number] : NULL;
}

static struct wanted *want(struct verify *verify, int kind, struct span name,
			   const struct record *record)
{
	struct wanted *wanted = find_wanted(verify, kind, name);

	if (wanted == NULL) {
		struct wanted fresh = {.created = record->created};

		map_put(&verify->names[kind], name, verify->names[kind].count);
		buffer_append(&verify->wanted[kind], &fresh, sizeof fresh);
		wanted = find_wanted(verify, kind, name);
	}
	if (wanted->last_position == record->position) /* a tag that is twice on it */
		return wanted;
	wanted->count++;
	wanted->last_position = record->position;
	wanted->positions_hash = mix(wanted->positions_hash, record->position);
	wanted->updated = record->created;
	return wanted;
}

static void want_stream(struct verify *verify, const struct record *record)
{
	struct wanted *stream = want(verify, TABLES_STREAMS, record->stream, record);
	bool is_checkpoint = system_is_checkpoint_stream(record->stream);
	bool follows = is_checkpoint ? record->version > stream->last_version
				     : record->version == stream->last_version + 1;

	if (!follows)
		problem(verify, "position %llu: version %llu where stream %.*s is at %llu",
			NUMBER(record->position), NUMBER(record->version), SHOWN(record->stream),
			NUMBER(stream->last_version));
	stream->last_version = record->version;
	verify->checkpoints += is_checkpoint;
	verify->checkpoint_streams += is_checkpoint && stream->count == 1;
}

static void want_all(struct verify *verify, const struct record *record)
{
	want_stream(verify, record);
	if (record->stream.data[0] == '$')
		return;
	verify->report->events++;
	if (text_category(record->stream).size > 0)
		want(verify, TABLES_CATEGORIES, text_category(record->stream), record);
	want(verify, TABLES_TYPES, record->type, record);
	for (uint32_t i = 0; i < record->tag_count; i++)
		want(verify, TABLES_TAGS, record->tags[i], record);
}

static int check_id(struct verify *verify, const struct record *record)
{
	uint64_t position = 0;
	char text[UUID_TEXT_BYTES];

	if (system_is_checkpoint_stream(record->stream))
		return 0;
	int rc = tables_get_id(verify->txn, record->id, &position, verify->error);

	if (rc != 0 && rc != -ENOENT && rc != -EBADMSG)
		return rc;
	uuid_format(record->id, text);
	if (position != record->position)
		problem(verify, "position %llu: its id %s leads to position %llu",
			NUMBER(record->position), text, NUMBER(position));
	if (tables_id_is_v7(record->id) && memcmp(record->id, verify->greatest_v7, UUID_BYTES) > 0)
		memcpy(verify->greatest_v7, record->id, UUID_BYTES);
	return 0;
}

static int check_time(struct verify *verify, const struct record *record)
{
	struct tables_key key;
	struct span value;

	if (verify->last_record != 0 &&
	    tables_time_run(verify->last_record) == tables_time_run(record->position))
		return 0;
	verify->times++;
	tables_time_key(record->created, record->position, &key);
	int rc = kv_get(verify->txn, KV_TIME, tables_key_span(&key), &value, verify->error);
	if (rc == -ENOENT)
		problem(verify, "position %llu is not in table time", NUMBER(record->position));
	else if (rc == 0 && value.size > 0)
		problem(verify, "position %llu has a value in table time, which holds none",
			NUMBER(record->position));
	return rc == -ENOENT ? 0 : rc;
}

static int check_record(struct verify *verify, struct span bytes, uint64_t position)
{
	struct record record;

	verify->report->records++;
	verify->report->record_bytes += bytes.size;
	if (record_parse(bytes, &record) != 0 || record.bytes.size != bytes.size) {
		problem(verify, "position %llu: the record is malformed", NUMBER(position));
		return 0;
	}
	if (record.position != position)
		problem(verify, "position %llu: the record says %llu", NUMBER(position),
			NUMBER(record.position));
	if (record.created < verify->created)
		problem(verify, "position %llu: its time is before that of the record before it",
			NUMBER(position));
	verify->created = record.created;
	want_all(verify, &record);
	int rc = check_id(verify, &record);
	if (rc == 0)
		rc = check_time(verify, &record);
	verify->last_record = position;
	if (record.stream.data[0] != '$')
		verify->last_event = position;
	return rc;
}

static void check_hole(struct verify *verify, const struct block *block,
		       const struct block_entry *entry)
{
	verify->report->holes++;
	verify->report->dropped += entry->last - entry->first + 1;
	verify->hash = block_hash_after(block, entry->index);
}

static void show_progress(struct verify *verify, uint64_t position)
{
	if (position / PROGRESS_STEP == verify->shown || verify->options->progress == NULL)
		return;
	verify->shown = position / PROGRESS_STEP;
	verify->options->progress(verify->options->arg, position, verify->state.position);
}

static int check_block_records(struct verify *verify, const struct block *block)
{
	uint64_t position = block->first_position;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < block->count; i++) {
		struct block_entry entry;
		struct span record;

		if (!block_holds(block, position) || block_find(block, position, &entry) != 0 ||
		    entry.index != i || entry.first != position) {
			problem(verify, "the block at position %llu: its holes are wrong",
				NUMBER(block->first_position));
			return 0;
		}
		position = entry.last + 1;
		show_progress(verify, entry.first);
		if (entry.is_hole) {
			check_hole(verify, block, &entry);
		} else if (block_record(block, i, &record, &verify->hash) != 0) {
			problem(verify, "position %llu: the record is damaged (checksum)",
				NUMBER(entry.first));
			verify->hash = block_hash_after(block, i);
		} else {
			rc = check_record(verify, record, entry.first);
		}
	}
	return rc;
}

static int check_block(struct verify *verify, const struct kv_pair *pair)
{
	struct block block;
	uint64_t key = pair->key.size == 8 ? bytes_be64(pair->key.data) : 0;

	verify->report->blocks++;
	if (key == 0 || block_open(pair->value, &block) != 0 || block.first_position != key) {
		problem(verify, "the block with key %llu is damaged", NUMBER(key));
		return 0;
	}
	if (key != verify->next_position)
		problem(verify, "a block begins at position %llu where %llu is next", NUMBER(key),
			NUMBER(verify->next_position));
	else if (block.hash_before != verify->hash)
		problem(verify, "the running hash is broken before position %llu", NUMBER(key));
	if (pair->value.size > BLOCK_BYTES_MAX && block.count > 1)
		problem(verify, "the block at position %llu is too large", NUMBER(key));
	verify->last_block = key;
	verify->next_position = key + block.position_count;
	return check_block_records(verify, &block);
}

/* ---- walking a table ---- */

static int for_each(struct verify *verify, enum kv_table table,
		    int (*visit)(struct verify *verify, const struct kv_pair *pair))
{
	struct kv_cursor *cursor;
	struct kv_pair pair;
	int rc = kv_cursor_open(verify->txn, table, &cursor, verify->error);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, verify->error);
	while (rc == 0) {
		rc = visit(verify, &pair);
		if (rc == 0)
			rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair,
					    verify->error);
	}
	kv_cursor_close(cursor);
	return rc == -ENOENT ? 0 : rc;
}

static int count_pairs(struct verify *verify, enum kv_table table, uint64_t *count)
{
	struct kv_cursor *cursor;
	struct kv_pair pair;
	int rc = kv_cursor_open(verify->txn, table, &cursor, verify->error);

	*count = 0;
	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, verify->error);
	for (; rc == 0; ++*count)
		rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, verify->error);
	kv_cursor_close(cursor);
	return rc == -ENOENT ? 0 : rc;
}

/* ---- lists ---- */

struct walk {
	uint64_t ordinal; /* of the next position */
	uint64_t count;
	uint64_t last_position;
	uint64_t positions_hash;
	uint64_t positions[POSTING_COUNT_MAX];
};

static bool walk_chunk(struct walk *walk, struct span chunk)
{
	uint32_t count;

	if (posting_unpack(chunk, walk->positions, &count) != 0 ||
	    (count > 0 && walk->positions[0] <= walk->last_position))
		return false;
	for (uint32_t i = 0; i < count; i++)
		walk->positions_hash = mix(walk->positions_hash, walk->positions[i]);
	if (count > 0)
		walk->last_position = walk->positions[count - 1];
	walk->ordinal += count;
	walk->count += count;
	return true;
}

/* The closed chunks of a list, in order; false when one of them is wrong. */
static int walk_closed(struct verify *verify, int kind, uint64_t number, struct walk *walk,
		       bool *whole)
{
	struct kv_cursor *cursor;
	struct tables_key key;
	struct kv_pair pair;
	struct span chunk;
	int rc = kv_cursor_open(verify->txn, tables_of_chunks((enum tables_list)kind), &cursor,
				verify->error);

	if (rc != 0)
		return rc;
	*whole = true;
	tables_chunk_key(number, 0, &key);
	rc = kv_cursor_seek(cursor, KV_AT_LEAST, tables_key_span(&key), &pair, verify->error);
	while (rc == 0 && pair.key.size == 16 && bytes_be64(pair.key.data) == number) {
		verify->chunks[kind]++;
		*whole = *whole && bytes_be64(pair.key.data + 8) == walk->ordinal &&
			 tables_chunk_open(pair.key, pair.value, &chunk) == 0 && chunk.size > 0 &&
			 walk_chunk(walk, chunk);
		rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, verify->error);
	}
	kv_cursor_close(cursor);
	return rc == -ENOENT ? 0 : rc;
}

static bool take_number(struct verify *verify, uint64_t number)
{
	if (number == 0 || number > verify->numbers.size || verify->numbers.data[number - 1] != 0)
		return false;
	verify->numbers.data[number - 1] = 1;
	return true;
}

static bool is_as_wanted(const struct tables_row *row, const struct walk *walk,
			 const struct wanted *wanted)
{
	const struct stream_facts *facts = &row->facts;
	uint64_t last = wanted->last_version != 0 ? wanted->last_version : wanted->count;

	return walk->count == wanted->count && walk->positions_hash == wanted->positions_hash &&
	       facts->version == last && facts->first_version == last - wanted->count + 1 &&
	       facts->created == wanted->created && facts->updated == wanted->updated &&
	       facts->state == STREAM_LIVE;
}

static bool key_fits(struct span key, struct span name)
{
	struct tables_key wanted;

	if (name.size <= TABLES_NAME_BYTES_MAX)
		return span_equal(key, name);
	tables_name_key(name, 0, &wanted); /* the probe, in the last 4 bytes, may be another */
	return key.size == wanted.size && memcmp(key.data, wanted.bytes, key.size - 4) == 0;
}

static int check_row(struct verify *verify, int kind, const struct kv_pair *pair)
{
	const char *table = kv_table_name(tables_of_names((enum tables_list)kind));
	struct walk walk = {0};
	struct tables_row row;
	bool whole;

	if (tables_row_decode(pair->key, pair->value, &row) != 0) {
		problem(verify, "table %s: the row of %.*s is damaged", table, SHOWN(pair->key));
		return 0;
	}
	struct span name = row.name.size > 0 ? row.name : pair->key;
	struct wanted *wanted = find_wanted(verify, kind, name);
	if (wanted == NULL || wanted->found || !key_fits(pair->key, name)) {
		problem(verify, "table %s: a row for %.*s, which no record has", table,
			SHOWN(name));
		return 0;
	}
	wanted->found = true;
	walk.ordinal = row.facts.first_version;
	if (!take_number(verify, row.number))
		problem(verify, "table %s: %.*s has number %llu, which is taken or too large",
			table, SHOWN(name), NUMBER(row.number));
	int rc = walk_closed(verify, kind, row.number, &walk, &whole);
	if (rc == 0 &&
	    (!whole || !walk_chunk(&walk, row.chunk) || !is_as_wanted(&row, &walk, wanted)))
		problem(verify, "table %s: the list of %.*s is not what the records say", table,
			SHOWN(name));
	return rc;
}

#define DEFINE_CHECK_ROW(function, kind)                                                           \
	static int function(struct verify *verify, const struct kv_pair *pair)                     \
	{                                                                                          \
		return check_row(verify, kind, pair);                                              \
	}
DEFINE_CHECK_ROW(check_stream_row, TABLES_STREAMS)
DEFINE_CHECK_ROW(check_category_row, TABLES_CATEGORIES)
DEFINE_CHECK_ROW(check_type_row, TABLES_TYPES)
DEFINE_CHECK_ROW(check_tag_row, TABLES_TAGS)

static void report_missing(struct verify *verify, int kind)
{
	const struct wanted *wanted =
		(const struct wanted *)(const void *)verify->wanted[kind].data;
	const struct map *names = &verify->names[kind];

	for (uint32_t i = 0; i < names->count; i++) {
		struct span name = map_key(names, &names->entries[i]);

		if (!wanted[i].found)
			problem(verify, "table %s: there is no row for %.*s",
				kv_table_name(tables_of_names((enum tables_list)kind)),
				SHOWN(name));
	}
}

static int check_list(struct verify *verify, int kind)
{
	static int (*const visits[])(struct verify *, const struct kv_pair *) = {
		check_stream_row, check_category_row, check_type_row, check_tag_row};
	uint64_t names = verify->names[kind].count, pairs;

	/* As many as there should be: larger numbers are wrong anyway. */
	buffer_clear(&verify->numbers);
	memset(buffer_reserve(&verify->numbers, names + 1), 0, names + 1);
	verify->numbers.size = names;
	int rc = for_each(verify, tables_of_names((enum tables_list)kind), visits[kind]);
	if (rc != 0)
		return rc;
	report_missing(verify, kind);
	if (verify->state.lists[kind] != names)
		problem(verify, "meta: %llu lists in table %s, but the records have %llu",
			NUMBER(verify->state.lists[kind]),
			kv_table_name(tables_of_names((enum tables_list)kind)), NUMBER(names));
	rc = count_pairs(verify, tables_of_chunks((enum tables_list)kind), &pairs);
	if (rc == 0 && pairs != verify->chunks[kind])
		problem(verify, "table %s: %llu chunks, but only %llu belong to a list",
			kv_table_name(tables_of_chunks((enum tables_list)kind)), NUMBER(pairs),
			NUMBER(verify->chunks[kind]));
	return rc;
}

/* ---- the rest ---- */

static int check_counts(struct verify *verify)
{
	uint64_t ids, times;
	int rc = count_pairs(verify, KV_EVENT_ID, &ids);

	if (rc == 0)
		rc = count_pairs(verify, KV_TIME, &times);
	if (rc != 0)
		return rc;
	if (ids != verify->report->records - verify->checkpoints)
		problem(verify, "table event_id: %llu ids for %llu records that are no checkpoints",
			NUMBER(ids), NUMBER(verify->report->records - verify->checkpoints));
	if (times != verify->times)
		problem(verify, "table time: %llu entries, not %llu", NUMBER(times),
			NUMBER(verify->times));
	return 0;
}

static void check_state(struct verify *verify)
{
	const struct tables_state *state = &verify->state;

	if (state->position != verify->next_position - 1)
		problem(verify, "meta: the last position is %llu, but the records end at %llu",
			NUMBER(state->position), NUMBER(verify->next_position - 1));
	if (state->hash != verify->hash)
		problem(verify,
			"meta: the running hash is %016llx, but that of the records %016llx",
			NUMBER(state->hash), NUMBER(verify->hash));
	if (state->created != verify->created)
		problem(verify, "meta: the time is not that of the last record");
	if (state->events != verify->report->events)
		problem(verify, "meta: %llu events, but there are %llu", NUMBER(state->events),
			NUMBER(verify->report->events));
	if (state->last_block != verify->last_block)
		problem(verify, "meta: the last block is said to be at %llu, but is at %llu",
			NUMBER(state->last_block), NUMBER(verify->last_block));
	if (state->last_record != verify->last_record)
		problem(verify, "meta: the last record is said to be at %llu, but is at %llu",
			NUMBER(state->last_record), NUMBER(verify->last_record));
	if (state->last_event != verify->last_event)
		problem(verify, "meta: the last event is said to be at %llu, but is at %llu",
			NUMBER(state->last_event), NUMBER(verify->last_event));
	if (state->checkpoint_streams != verify->checkpoint_streams ||
	    state->superseded != verify->checkpoints - verify->checkpoint_streams)
		problem(verify,
			"meta: %llu streams of checkpoints and %llu superseded, but there are "
			"%llu and %llu",
			NUMBER(state->checkpoint_streams), NUMBER(state->superseded),
			NUMBER(verify->checkpoint_streams),
			NUMBER(verify->checkpoints - verify->checkpoint_streams));
	if (!state->ingesting && (state->horizon > state->position ||
				  (state->horizon == 0 && verify->report->holes > 0)))
		problem(verify, "meta: records were dropped, but not up to %llu",
			NUMBER(state->horizon));
	if (memcmp(state->greatest_v7, verify->greatest_v7, UUID_BYTES) != 0)
		problem(verify, "meta: the greatest id of version 7 is wrong");
}

static int load_state(struct verify *verify)
{
	int rc = tables_get_state(verify->txn, &verify->state, verify->error);

	if (rc == -EBADMSG) {
		problem(verify, "meta: the state is damaged");
		return 0;
	}
	verify->report->applied_index = verify->state.applied_index;
	verify->report->position = verify->state.position;
	verify->report->hash = verify->state.hash;
	verify->report->ingesting = verify->state.ingesting;
	return rc == -ENOENT ? 0 : rc;
}

static int check_identity(struct verify *verify)
{
	struct store_identity identity;
	int rc = tables_get_identity(verify->txn, &identity, verify->error);

	if (rc == -EBADMSG)
		problem(verify, "meta: the identity is damaged");
	return rc == -ENOENT || rc == -EBADMSG
		       ? 0
		       : rc; /* a store that nobody has opened for a node has none */
}

static int check_all(struct verify *verify)
{
	int rc = load_state(verify);

	if (rc == 0)
		rc = check_identity(verify);
	if (rc == 0)
		rc = for_each(verify, KV_BLOCK, check_block);
	for (int kind = 0; rc == 0 && kind < TABLES_LISTS; kind++)
		rc = check_list(verify, kind);
	if (rc == 0)
		rc = check_counts(verify);
	if (rc == 0)
		check_state(verify);
	verify->report->streams = verify->names[TABLES_STREAMS].count;
	verify->report->categories = verify->names[TABLES_CATEGORIES].count;
	verify->report->types = verify->names[TABLES_TYPES].count;
	verify->report->tags = verify->names[TABLES_TAGS].count;
	return rc;
}

int verify_store(struct kv *kv, const struct verify_options *options, struct verify_report *report,
		 struct error *error)
{
	struct verify *verify = memory_zeroed(1, sizeof *verify);

	*report = (struct verify_report){0};
	verify->options = options;
	verify->report = report;
	verify->error = error;
	verify->next_position = 1;
	int rc = kv_begin(kv, KV_READ, &verify->txn, error);
	if (rc == 0) {
		rc = check_all(verify);
		kv_abort(verify->txn);
	}
	for (int kind = 0; kind < TABLES_LISTS; kind++) {
		map_close(&verify->names[kind]);
		buffer_close(&verify->wanted[kind]);
	}
	buffer_close(&verify->numbers);
	memory_free(verify);
	return rc;
}
