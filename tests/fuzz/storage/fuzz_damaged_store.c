/*
 * A store whose tables were damaged: the verification finds it; whatever is read is what was there
 * before, or is called damage; what is written afterwards does not end the process.
 *
 * Input: edits of 8 bytes each: table, what is done, u16 which row, u16 where in it, u16 an argument.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "storage/kv.h"
#include "storage/store.h"
#include "storage/system.h"
#include "storage/verify.h"

#include <errno.h>
#include <stdio.h>

#define EDIT_BYTES   8
#define EDITS_MAX    16
#define COMMANDS     400
#define TABLE_ROWS   4096
#define TAIL_BYTES   (1 * MIB)
#define LONG_NAME    480
#define READ_AT_ONCE 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct row {
	struct span key, value;
};

/* The store before it is damaged: its rows, and all that can be read. */
static struct {
	struct row *rows[KV_TABLE_COUNT];
	uint32_t counts[KV_TABLE_COUNT];
	struct buffer records;
	struct span at[COMMANDS + 1]; /* the record at each position; empty: it was dropped */
	char long_name[LONG_NAME + 1];
} whole;

/* ---- making it ---- */

static void must(int status, const struct error *error)
{
	if (status != 0)
		fprintf(stderr, "%s\n", error->message);
	ASSERT(status == 0);
}

static void add_event(struct buffer *items, const char *stream, uint64_t number)
{
	struct expectation expectation = {
		.kind = EXPECTATION_ANY, .written = true, .stream = span_of_string(stream)};
	uint8_t id[UUID_BYTES] = {0};

	bytes_set_be64(id, number);
	bytes_set_be64(id + 8, number);
	id[6] = number % 5 == 0 ? 0x40 : 0x70;
	struct record_fields fields = {.id = id,
				       .stream = expectation.stream,
				       .type = span_of_string(number % 9 == 0 ? "rare" : "usual"),
				       .data = span_of_string("{}"),
				       .tag_count = 1,
				       .tags = {span_of_string(number % 2 == 0 ? "even" : "odd")}};
	size_t item = command_item_begin(items);

	command_item_add_expectation(items, &expectation);
	command_item_add_record(items, &fields);
	command_item_end(items, item);
}

static void add_checkpoint(struct buffer *items, const char *consumer, uint64_t position)
{
	struct system_checkpoint checkpoint = {.position = position};
	struct record_fields fields;
	struct buffer text;
	uint8_t id[UUID_BYTES];

	buffer_init(&text);
	system_checkpoint_fields(span_of_string(consumer), &checkpoint, id, &text, &fields);
	size_t item = command_item_begin(items);
	command_item_add_checkpoint(items, NULL, &fields);
	command_item_end(items, item);
	buffer_close(&text);
}

static int apply(struct store *store, uint64_t index, const struct buffer *items,
		 struct error *error)
{
	size_t size = COMMAND_HEADER_BYTES + items->size;
	uint8_t *body = memory_alloc(size);
	struct apply_result result;

	command_header_write(body, COMMAND_BATCH, 1, (int64_t)index * 1000);
	memcpy(body + COMMAND_HEADER_BYTES, items->data, items->size);
	return store_apply(store, index, body, size, NULL, &result, error);
}

static int apply_one(struct store *store, uint64_t index, struct error *error)
{
	struct buffer items;

	buffer_init(&items);
	if (index % 11 == 0)
		add_checkpoint(&items, index % 2 == 0 ? "a" : "b", index);
	else if (index % 31 == 0)
		add_event(&items, whole.long_name, index);
	else
		add_event(&items, index % 17 == 0 ? "$meta" : "Order-1", index);
	int status = apply(store, index, &items, error);

	buffer_close(&items);
	return status;
}

static int open_store(struct kv_memory_disk *disk, struct store **store, struct error *error)
{
	struct store_options options = {.kv = kv_memory_open(disk), .tail_bytes_max = TAIL_BYTES};

	return store_open(store, &options, error);
}

static void fill(struct kv_memory_disk *disk)
{
	struct store_identity identity = {.cluster_id = "0123456789abcde", .node_id = 1};
	struct store *store;
	struct error error;
	bool again = true;

	must(open_store(disk, &store, &error), &error);
	must(store_set_identity(store, &identity, &error), &error);
	for (uint64_t index = 1; index <= COMMANDS; index++) {
		must(apply_one(store, index, &error), &error);
		if (index % 200 == 0)
			must(store_flush(store, &error), &error);
	}
	must(store_flush(store, &error), &error);
	while (again)
		must(store_trim(store, &again, &error), &error);
	store_close(store);
}

static struct span keep(struct span bytes)
{
	return span_of(memory_copy(bytes.data, bytes.size), bytes.size);
}

static void keep_table(struct kv_txn *txn, enum kv_table table)
{
	struct kv_cursor *cursor;
	struct kv_pair pair;
	struct error error;

	whole.rows[table] = memory_zeroed(TABLE_ROWS, sizeof(struct row));
	must(kv_cursor_open(txn, table, &cursor, &error), &error);
	int status = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, &error);
	for (; status == 0; whole.counts[table]++) {
		ASSERT(whole.counts[table] < TABLE_ROWS);
		whole.rows[table][whole.counts[table]] =
			(struct row){keep(pair.key), keep(pair.value)};
		status = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, &error);
	}
	kv_cursor_close(cursor);
}

static void keep_records(struct kv_memory_disk *disk)
{
	struct read_range range = {.limit = READ_AT_ONCE, .bytes_max = 16 * MIB};
	struct store *store;
	struct page page = {0};
	struct error error;

	must(open_store(disk, &store, &error), &error);
	must(store_read_all(store, &range, true, &page, &error), &error);
	ASSERT(page.count > COMMANDS / 2 && page.end);
	whole.records = page.records;
	for (struct span left = buffer_span(&whole.records); left.size > 0;) {
		struct record record;

		ASSERT(record_parse(left, &record) == 0 && record.position <= COMMANDS);
		whole.at[record.position] = record.bytes;
		left = span_of(left.data + record.bytes.size, left.size - record.bytes.size);
	}
	store_close(store);
}

static void make_whole(void)
{
	struct kv_memory_disk *disk = kv_memory_disk_new();
	struct kv_txn *txn;
	struct error error;

	memset(whole.long_name, 'n', LONG_NAME);
	fill(disk);
	struct kv *kv = kv_memory_open(disk);

	must(kv_begin(kv, KV_READ, &txn, &error), &error);
	for (int table = 0; table < KV_TABLE_COUNT; table++)
		keep_table(txn, (enum kv_table)table);
	kv_abort(txn);
	kv_close(kv);
	keep_records(disk);
	kv_memory_disk_free(disk);
}

/* ---- damage ---- */

static uint16_t u16(const uint8_t *at)
{
	return (uint16_t)(at[0] | at[1] << 8);
}

enum edit { EDIT_FLIP, EDIT_SET, EDIT_CUT, EDIT_GROW, EDIT_SWAP, EDIT_DROP, EDIT_KINDS };

/* The value of a row after an edit; false: the row is gone. */
static bool damage(const uint8_t *edit, const struct row *row, const struct row *other,
		   struct buffer *value)
{
	size_t at = u16(edit + 4);
	uint16_t argument = u16(edit + 6);

	buffer_append_span(value, row->value);
	at = value->size > 0 ? at % value->size : 0;
	switch (edit[1] % EDIT_KINDS) {
	case EDIT_FLIP:
		if (value->size > 0)
			value->data[at] ^= (uint8_t)argument;
		return true;
	case EDIT_SET:
		for (size_t i = at; i < value->size && i < at + (argument >> 8) % 32u; i++)
			value->data[i] = (uint8_t)argument;
		return true;
	case EDIT_CUT:
		value->size = at;
		return true;
	case EDIT_GROW:
		buffer_append(value, &argument, 1 + argument % 2);
		return true;
	case EDIT_SWAP:
		buffer_clear(value);
		buffer_append_span(value, other->value);
		return true;
	default:
		return false;
	}
}

struct damaged {
	bool any;     /* some value is another */
	bool dropped; /* rows are missing: LMDB would have lost them */
};

static void edit_row(struct kv_txn *txn, const uint8_t *edit, struct damaged *damaged)
{
	enum kv_table table = (enum kv_table)(edit[0] % KV_TABLE_COUNT);
	uint32_t count = whole.counts[table];

	if (count == 0)
		return;
	const struct row *row = &whole.rows[table][u16(edit + 2) % count];
	const struct row *other = &whole.rows[table][u16(edit + 6) % count];
	struct buffer value;
	struct error error;

	buffer_init(&value);
	if (damage(edit, row, other, &value)) {
		must(kv_put(txn, table, row->key, buffer_span(&value), false, &error), &error);
		damaged->any |= !span_equal(buffer_span(&value), row->value);
	} else {
		int status = kv_delete(txn, table, row->key, &error);

		ASSERT(status == 0 || status == -ENOENT);
		damaged->dropped = true;
	}
	buffer_close(&value);
}

/* One edit for each row, so that none takes back another. */
static bool is_repeated(const uint8_t *edits, size_t number)
{
	const uint8_t *edit = edits + number * EDIT_BYTES;
	uint32_t table = edit[0] % KV_TABLE_COUNT, count = whole.counts[table];

	for (size_t i = 0; i < number; i++) {
		const uint8_t *before = edits + i * EDIT_BYTES;

		if (before[0] % KV_TABLE_COUNT == table && count > 0 &&
		    u16(before + 2) % count == u16(edit + 2) % count)
			return true;
	}
	return false;
}

static struct kv_memory_disk *make_damaged(const uint8_t *edits, size_t count,
					   struct damaged *damaged)
{
	struct kv_memory_disk *disk = kv_memory_disk_new();
	struct kv *kv = kv_memory_open(disk);
	struct kv_txn *txn;
	struct error error;

	must(kv_begin(kv, KV_WRITE, &txn, &error), &error);
	for (int table = 0; table < KV_TABLE_COUNT; table++)
		for (uint32_t i = 0; i < whole.counts[table]; i++)
			must(kv_put(txn, (enum kv_table)table, whole.rows[table][i].key,
				    whole.rows[table][i].value, true, &error),
			     &error);
	must(kv_commit(txn, &error), &error);
	must(kv_begin(kv, KV_WRITE, &txn, &error), &error);
	for (size_t i = 0; i < count; i++)
		if (!is_repeated(edits, i))
			edit_row(txn, edits + i * EDIT_BYTES, damaged);
	must(kv_commit(txn, &error), &error);
	kv_close(kv);
	return disk;
}

/* ---- what must hold ---- */

static void check_verify(struct kv_memory_disk *disk, const struct damaged *damaged)
{
	static const struct verify_options options;
	static struct verify_report report;
	struct kv *kv = kv_memory_open(disk);
	struct error error = {{0}};
	int status = verify_store(kv, &options, &report, &error);

	ASSERT(status == 0 || error.message[0] != '\0');
	if (damaged->any)
		ASSERT(status != 0 || report.problem_count > 0);
	else if (!damaged->dropped)
		ASSERT(status == 0 && report.problem_count == 0);
	kv_close(kv);
}

/* A status of a read: right, damage, or what is missing because a row is. */
static bool came(int status, const struct damaged *damaged, const struct error *error)
{
	ASSERT(status == 0 || status == -EBADMSG || (status == -ENOENT && damaged->dropped));
	ASSERT(status != -EBADMSG || error->message[0] != '\0');
	return status == 0;
}

static void check_single(struct store *store, const struct record *record,
			 const struct damaged *damaged)
{
	struct error error = {{0}};
	struct buffer into;

	buffer_init(&into);
	if (came(store_read_position(store, record->position, &into, &error), damaged, &error))
		ASSERT(span_equal(buffer_span(&into), record->bytes));
	buffer_clear(&into);
	if (came(store_read_version(store, record->stream, record->version, &into, &error), damaged,
		 &error))
		ASSERT(span_equal(buffer_span(&into), record->bytes));
	buffer_clear(&into);
	if (!system_is_checkpoint_stream(record->stream) &&
	    came(store_read_id(store, record->id, &into, &error), damaged, &error))
		ASSERT(span_equal(buffer_span(&into), record->bytes));
	buffer_close(&into);
}

/* Those whose turn it is: all of them would take too long. */
static void check_singles(struct store *store, const struct damaged *damaged, uint32_t turn)
{
	struct record record;

	for (uint32_t position = 1 + turn % 16; position <= COMMANDS; position += 16)
		if (whole.at[position].size > 0) {
			ASSERT(record_parse(whole.at[position], &record) == 0);
			check_single(store, &record, damaged);
		}
}

/* The records of a page are some of those that were there, in order. */
static void check_subset(const struct page *page, bool backward)
{
	struct span left = buffer_span(&page->records);
	struct record record;
	uint64_t before = backward ? UINT64_MAX : 0;

	while (left.size > 0) {
		ASSERT(record_parse(left, &record) == 0 && record.position <= COMMANDS);
		ASSERT(backward ? record.position < before : record.position > before);
		before = record.position;
		ASSERT(span_equal(whole.at[record.position], record.bytes));
		left = span_of(left.data + record.bytes.size, left.size - record.bytes.size);
	}
}

static void make_query(struct query *query, uint32_t turn)
{
	query_init(query);
	query_add_item(query);
	if (turn % 4 == 0)
		query_add_name(query, QUERY_TYPES, span_of_string("rare"));
	if (turn % 4 == 1 || turn % 4 == 3)
		query_add_name(query, QUERY_TAGS, span_of_string("odd"));
	if (turn % 4 == 2 || turn % 4 == 3)
		query_add_name(query, QUERY_CATEGORIES, span_of_string("Order"));
}

static void check_pages(struct store *store, const struct damaged *damaged, uint32_t turn)
{
	struct read_range range = {
		.limit = 100, .bytes_max = 16 * MIB, .backward = turn % 2 == 1, .from = turn % 300};
	struct stream_status status;
	struct query_tally tally = {0};
	struct error error = {{0}};
	struct page page = {0};
	struct query query;

	make_query(&query, turn);
	if (came(store_read_all(store, &range, true, &page, &error), damaged, &error))
		check_subset(&page, range.backward);
	buffer_clear(&page.records);
	if (came(store_read_query(store, &query, &range, &page, &error), damaged, &error))
		check_subset(&page, range.backward);
	buffer_clear(&page.records);
	if (came(store_read_stream(store, span_of_string("Order-1"), &range, &page, &status,
				   &error),
		 damaged, &error))
		check_subset(&page, range.backward);
	buffer_clear(&page.records);
	range.backward = false;
	(void)came(store_read_raw(store, &range, &page, &error), damaged, &error);
	(void)came(store_count(store, &query, &tally, &error), damaged, &error);
	buffer_close(&page.records);
	query_close(&query);
}

static void check_names(struct store *store, const struct damaged *damaged, uint32_t turn)
{
	struct name_range range = {.kind = (enum name_kind)(turn % 3), .limit = 10};
	struct name_page page = {0};
	struct error error = {{0}};
	uint64_t position = turn % COMMANDS, hash;

	(void)came(store_list_names(store, &range, &page, &error), damaged, &error);
	buffer_close(&page.entries);
	buffer_close(&page.text);
	(void)came(store_position_at(store, (int64_t)turn * 100, &position, &error), damaged,
		   &error);
	position = turn % COMMANDS;
	(void)store_digest(store, &position, &hash, &error);
}

/* The first of them that fails ends what may be asked: the store has stopped then. */
static void check_writes(struct store *store, uint32_t turn)
{
	struct error error = {{0}};
	struct query query;
	struct buffer items;
	bool again = true;

	buffer_init(&items);
	make_query(&query, turn);
	size_t item = command_item_begin(&items);
	command_item_add_condition(&items, 0, turn % COMMANDS, &query);
	command_item_end(&items, item);
	int status = apply(store, COMMANDS + 1, &items, &error);
	for (uint64_t index = COMMANDS + 2; status == 0 && index < COMMANDS + 40; index++)
		status = apply_one(store, index, &error);
	if (status == 0)
		status = store_flush(store, &error);
	while (status == 0 && again)
		status = store_trim(store, &again, &error);
	if (status != 0 && status != -EBADMSG)
		fprintf(stderr, "%d: %s\n", status, error.message);
	ASSERT(status == 0 || (status == -EBADMSG && error.message[0] != '\0'));
	query_close(&query);
	buffer_close(&items);
}

static void check_store(struct kv_memory_disk *disk, const struct damaged *damaged, uint32_t turn)
{
	struct error error = {{0}};
	struct store *store;
	int status = open_store(disk, &store, &error);

	if (status != 0) {
		ASSERT((damaged->any || damaged->dropped) && error.message[0] != '\0');
		return;
	}
	check_singles(store, damaged, turn);
	check_pages(store, damaged, turn);
	check_names(store, damaged, turn);
	check_writes(store, turn);
	store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t count = size / EDIT_BYTES < EDITS_MAX ? size / EDIT_BYTES : EDITS_MAX;
	struct damaged damaged = {0};

	if (whole.records.size == 0)
		make_whole();
	struct kv_memory_disk *disk = make_damaged(data, count, &damaged);
	uint32_t turn = count > 0 ? bytes_le32(data + (count - 1) * EDIT_BYTES + 4) : 0;

	check_verify(disk, &damaged);
	check_store(disk, &damaged, turn);
	kv_memory_disk_free(disk);
	return 0;
}
