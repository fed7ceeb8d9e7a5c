/* Damage: every flipped byte of every value is found offline, and never served. */
#include "tests/unit/storage/feed.h"

#include "base/checksum.h"
#include "storage/block.h"
#include "storage/system.h"
#include "storage/tables.h"
#include "storage/verify.h"

#define COMMANDS 40

static struct verify_report report;
static struct buffer whole; /* all records of the store before it was damaged */

/* Lists long enough that there are closed chunks, a name that is no key, system records. */
static void make_store(struct feed_place *place)
{
	struct store *store = feed_store(place);
	struct error error;
	char name[480];

	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = 0;
	for (uint64_t index = 1; index <= COMMANDS; index++) {
		const char *stream = index % 13 == 0 ? name : index % 7 == 0 ? "$meta" : "Order-1";
		struct feed_append append = feed_single(stream, index);

		append.events[0].tag_count = 2;
		append.events[0].tags[0] = span_of_string(index % 2 == 0 ? "even" : "odd");
		append.events[0].tags[1] = append.events[0].tags[0];
		if (index % 5 == 0)
			append.events[0].id[6] = 0x40;
		assert_ok(feed_apply(store, index, &append, NULL, &error));
	}
	assert_ok(store_flush(store, &error));
	store_close(store);
}

/* Checkpoints in between, of which all but the last are dropped. */
static void make_store_with_holes(struct feed_place *place)
{
	struct store *store = feed_store(place);
	bool again = true;
	struct error error;

	for (uint64_t index = 1; index <= COMMANDS; index++) {
		struct feed_append append = feed_single("Order-1", index);

		if (index % 4 == 0)
			assert_ok(feed_apply(store, index, &append, NULL, &error));
		else
			feed_checkpoint(store, index, index % 3 == 0 ? "a" : "b", index);
	}
	assert_ok(store_flush(store, &error));
	while (again)
		assert_ok(store_trim(store, &again, &error));
	store_close(store);
}

static void make_long_store(struct feed_place *place)
{
	struct store *store = feed_store(place);
	struct error error;

	for (uint64_t index = 1; index <= 3000; index++) {
		struct feed_append append = feed_single(index % 3 == 0 ? "a-1" : "b-1", index);

		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (index % 500 == 0)
			assert_ok(store_flush(store, &error));
	}
	store_close(store);
}

static void verify(struct feed_place *place)
{
	static const struct verify_options options;
	struct kv *kv = feed_kv(place);
	struct error error;

	assert_ok(verify_store(kv, &options, &report, &error));
	kv_close(kv);
}

static void put(struct feed_place *place, enum kv_table table, struct span key, struct span value)
{
	struct kv *kv = feed_kv(place);
	struct kv_txn *txn;
	struct error error;

	assert_ok(kv_begin(kv, KV_WRITE, &txn, &error));
	assert_ok(kv_put(txn, table, key, value, false, &error));
	assert_ok(kv_commit(txn, &error));
	kv_close(kv);
}

static int read_all_again(struct store *store, struct error *error)
{
	struct read_range range = {.limit = 10000, .bytes_max = 16 * MIB};
	struct page page;

	buffer_init(&page.records);
	int rc = store_read_all(store, &range, true, &page, error);
	if (rc == 0)
		assert_true(span_equal(buffer_span(&page.records), buffer_span(&whole)));
	buffer_close(&page.records);
	return rc;
}

/* Ask for each record in every way: what comes is right, or is called damage. */
static void check_single_reads(struct store *store)
{
	struct span left = buffer_span(&whole);
	struct record record;
	struct error error;

	while (left.size > 0) {
		struct buffer into[3];
		int rc[3];

		assert_int_equal(record_parse(left, &record), 0);
		for (int i = 0; i < 3; i++)
			buffer_init(&into[i]);
		rc[0] = store_read_position(store, record.position, &into[0], &error);
		rc[1] = store_read_id(store, record.id, &into[1], &error);
		rc[2] = store_read_version(store, record.stream, record.version, &into[2], &error);
		for (int i = 0; i < 3; i++) {
			if (rc[i] == 0)
				assert_true(span_equal(buffer_span(&into[i]), record.bytes));
			else if (i != 1 || !system_is_checkpoint_stream(record.stream))
				assert_int_equal(rc[i], -EBADMSG);
			else /* its id is not listed */
				assert_int_equal(rc[i], -ENOENT);
			buffer_close(&into[i]);
		}
		left.data += record.bytes.size;
		left.size -= record.bytes.size;
	}
}

static void check_reads(struct feed_place *place)
{
	struct store_options options = {.kv = feed_kv(place), .tail_bytes_max = 1 * MIB};
	struct store *store;
	struct error error;
	int rc = store_open(&store, &options, &error);

	if (rc != 0) {
		assert_int_equal(rc, -EBADMSG);
		return;
	}
	rc = read_all_again(store, &error);
	assert_true(rc == 0 || rc == -EBADMSG);
	check_single_reads(store);
	store_close(store);
}

/* One bit in each byte of the value; with an eye on time, reads are tried for some of them. */
static void flip_value(struct feed_place *place, enum kv_table table, struct span key,
		       struct span value, size_t step)
{
	uint8_t *bytes = memory_copy(value.data, value.size);

	for (size_t i = 0; i < value.size; i += step) {
		bytes[i] ^= (uint8_t)(1 << (i % 8));
		put(place, table, key, span_of(bytes, value.size));
		verify(place);
		if (report.problem_count == 0)
			fail_msg("a flip in byte %zu of a value of table %s was not found", i,
				 kv_table_name(table));
		check_reads(place);
		bytes[i] ^= (uint8_t)(1 << (i % 8));
	}
	put(place, table, key, span_of(bytes, value.size));
	memory_free(bytes);
}

static uint32_t flip_table(struct feed_place *place, enum kv_table table, size_t step)
{
	struct kv *kv = feed_kv(place);
	struct kv_txn *txn;
	struct kv_cursor *cursor;
	struct kv_pair pair;
	struct error error;
	uint32_t count = 0;

	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	assert_ok(kv_cursor_open(txn, table, &cursor, &error));
	int rc = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, &error);
	for (; rc == 0; count++) {
		flip_value(place, table, pair.key, pair.value, step);
		rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, &error);
	}
	kv_cursor_close(cursor);
	kv_abort(txn);
	kv_close(kv);
	return count;
}

static void remember_records(struct feed_place *place)
{
	struct read_range range = {.limit = 10000, .bytes_max = 16 * MIB};
	struct store *store = feed_store(place);
	struct page page;
	struct error error;

	buffer_init(&page.records);
	assert_ok(store_read_all(store, &range, true, &page, &error));
	whole = page.records;
	store_close(store);
}

static void every_flipped_byte_is_found_and_never_served(void **state)
{
	static const enum kv_table tables[] = {KV_META,     KV_BLOCK, KV_EVENT_ID, KV_STREAM,
					       KV_CATEGORY, KV_TYPE,  KV_TAG};
	struct feed_place place;

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	remember_records(&place);
	verify(&place);
	assert_int_equal(report.problem_count, 0);
	assert_int_equal(report.records, COMMANDS);
	for (size_t i = 0; i < COUNT_OF(tables); i++)
		assert_true(flip_table(&place, tables[i], tables[i] == KV_BLOCK ? 3 : 1) > 0);
	verify(&place);
	assert_int_equal(report.problem_count, 0);
	buffer_close(&whole);
	feed_place_close(&place);
}

static void every_flipped_byte_beside_holes_is_found(void **state)
{
	static const enum kv_table tables[] = {KV_META, KV_BLOCK, KV_STREAM};
	struct feed_place place;

	(void)state;
	feed_place_init(&place, true);
	make_store_with_holes(&place);
	remember_records(&place);
	verify(&place);
	assert_int_equal(report.problem_count, 0);
	assert_int_equal(report.records + report.dropped, COMMANDS);
	assert_true(report.holes > 5);
	for (size_t i = 0; i < COUNT_OF(tables); i++)
		assert_true(flip_table(&place, tables[i], 1) > 0);
	verify(&place);
	assert_int_equal(report.problem_count, 0);
	buffer_close(&whole);
	feed_place_close(&place);
}

static void flips_in_closed_chunks_are_found(void **state)
{
	static const enum kv_table tables[] = {KV_STREAM_RECORD, KV_CATEGORY_RECORD,
					       KV_TYPE_RECORD};
	struct feed_place place;

	(void)state;
	feed_place_init(&place, true);
	make_long_store(&place);
	remember_records(&place);
	for (size_t i = 0; i < COUNT_OF(tables); i++)
		assert_true(flip_table(&place, tables[i], 400) > 1);
	verify(&place);
	assert_int_equal(report.problem_count, 0);
	buffer_close(&whole);
	feed_place_close(&place);
}

/* What is more than there should be, or is put in another's place. */
static void strange_rows_are_found(void **state)
{
	(void)state;
	for (int table = 0; table < KV_TABLE_COUNT; table++) {
		struct feed_place place;

		if (table == KV_META)
			continue; /* who else keeps something there is none of our business */
		feed_place_init(&place, true);
		make_store(&place);
		put(&place, (enum kv_table)table, span_of_string("zzzzzzzzzzzzzzzz"),
		    span_of_string("somevalu"));
		verify(&place);
		assert_true(report.problem_count > 0);
		feed_place_close(&place);
	}
}

static void a_row_of_another_key_is_found(void **state)
{
	struct feed_place place;
	struct kv_txn *txn;
	struct span value;
	struct error error;
	uint8_t copy[600];

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	struct kv *kv = feed_kv(&place);
	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	assert_ok(kv_get(txn, KV_TAG, span_of_string("odd"), &value, &error));
	assert_true(value.size < sizeof copy);
	memcpy(copy, value.data, value.size);
	size_t size = value.size;
	kv_abort(txn);
	kv_close(kv);
	put(&place, KV_TAG, span_of_string("even"), span_of(copy, size));
	verify(&place);
	assert_true(report.problem_count > 0);
	feed_place_close(&place);
}

static void problems_beyond_the_room_are_counted(void **state)
{
	struct feed_place place;

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	for (uint64_t i = 1; i <= VERIFY_PROBLEMS_MAX + 5; i++) {
		struct feed_append append = feed_single("s", i);

		append.events[0].id[6] = i % 5 == 0 ? 0x40 : append.events[0].id[6];
		put(&place, KV_EVENT_ID, span_of(append.events[0].id, UUID_BYTES),
		    span_of_string("12345678"));
	}
	verify(&place);
	assert_int_equal(report.problem_count, VERIFY_PROBLEMS_MAX + 5);
	feed_place_close(&place);
}

static void get(struct feed_place *place, enum kv_table table, struct span key, struct buffer *into)
{
	struct kv *kv = feed_kv(place);
	struct kv_txn *txn;
	struct span value;
	struct error error;

	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	assert_ok(kv_get(txn, table, key, &value, &error));
	buffer_append_span(into, value);
	kv_abort(txn);
	kv_close(kv);
}

/* One field of a row made wrong, and its checksum right. */
static void rows_that_lie_are_found(void **state)
{
	struct span key = span_of_string("Order-1");
	struct feed_place place;
	struct buffer value, lie;

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	buffer_init(&value);
	buffer_init(&lie);
	get(&place, KV_STREAM, key, &value);
	for (int field = 0; field < 7; field++) {
		struct tables_row row;

		assert_int_equal(tables_row_decode(key, buffer_span(&value), &row), 0);
		row.number += field == 0;
		row.facts.version += field == 1;
		row.facts.first_version += field == 2;
		row.facts.created += field == 3;
		row.facts.updated += field == 4;
		row.facts.state = field == 5 ? STREAM_DELETED : row.facts.state;
		row.chunk.size -= field == 6;
		buffer_clear(&lie);
		tables_row_encode(key, &row, &lie);
		put(&place, KV_STREAM, key, buffer_span(&lie));
		verify(&place);
		if (report.problem_count == 0)
			fail_msg("a row with another field %d was not found", field);
	}
	put(&place, KV_STREAM, key, buffer_span(&value));
	verify(&place);
	assert_int_equal(report.problem_count, 0);
	buffer_close(&value);
	buffer_close(&lie);
	feed_place_close(&place);
}

static void a_state_that_lies_is_found(void **state)
{
	struct span key = span_of_string("state");
	struct feed_place place;
	struct buffer value, lie;

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	buffer_init(&value);
	buffer_init(&lie);
	get(&place, KV_META, key, &value);
	for (int field = 0; field < 11 + TABLES_LISTS; field++) {
		struct tables_state tables;

		assert_int_equal(tables_state_decode(buffer_span(&value), &tables), 0);
		tables.position += field == 0;
		tables.created += field == 1;
		tables.hash += field == 2;
		tables.events += field == 3;
		tables.last_block += field == 4;
		tables.greatest_v7[9] ^= field == 5;
		tables.last_record -= field == 6;
		tables.checkpoint_streams += field == 7;
		tables.superseded += field == 8;
		tables.horizon = field == 9 ? tables.position + 1 : tables.horizon;
		tables.last_event -= field == 10;
		if (field >= 11)
			tables.lists[field - 11]++;
		buffer_clear(&lie);
		tables_state_encode(&tables, &lie);
		put(&place, KV_META, key, buffer_span(&lie));
		verify(&place);
		if (report.problem_count == 0)
			fail_msg("a state with another field %d was not found", field);
	}
	buffer_close(&value);
	buffer_close(&lie);
	feed_place_close(&place);
}

/* A directory of the version before: no damage, and the message says what to do. */
static void an_earlier_format_is_refused(void **state)
{
	struct span key = span_of_string("state");
	struct feed_place place;
	struct buffer value;
	struct store *store;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	buffer_init(&value);
	get(&place, KV_META, key, &value);
	value.data[7] = '1';
	put(&place, KV_META, key, buffer_span(&value));
	struct store_options options = {.kv = feed_kv(&place), .tail_bytes_max = 1 * MIB};
	assert_int_equal(store_open(&store, &options, &error), -ENOTSUP);
	assert_non_null(strstr(error.message, "earlier format"));
	buffer_close(&value);
	feed_place_close(&place);
}

/* The last block, whole in itself, but not that of this store: the next flush does not go on with it. */
static void a_flush_does_not_go_on_with_a_strange_block(void **state)
{
	struct feed_append append = feed_single("Order-1", 12345);
	struct block_builder builder;
	struct tables_key key;
	struct feed_place place;
	struct buffer value, strange;
	struct block block;
	struct span record;
	uint64_t hash, strange_hash = 1;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	make_store(&place);
	buffer_init(&value);
	buffer_init(&strange);
	block_builder_init(&builder);
	tables_number_key(1, &key);
	get(&place, KV_BLOCK, tables_key_span(&key), &value);
	assert_int_equal(block_open(buffer_span(&value), &block), 0);
	block_builder_start(&builder, 1, strange_hash);
	for (uint32_t i = 0; i < block.count; i++) {
		assert_int_equal(block_record(&block, i, &record, &hash), 0);
		strange_hash = checksum64_seeded(record.data, record.size, strange_hash);
		block_builder_add(&builder, record, strange_hash);
	}
	block_builder_finish(&builder, &strange);
	put(&place, KV_BLOCK, tables_key_span(&key), buffer_span(&strange));
	verify(&place);
	assert_true(report.problem_count > 0);
	struct store *store = feed_store(&place);
	assert_ok(feed_apply(store, COMMANDS + 1, &append, NULL, &error));
	assert_int_equal(store_flush(store, &error), -EBADMSG);
	store_close(store);
	block_builder_close(&builder);
	buffer_close(&value);
	buffer_close(&strange);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strange_rows_are_found),
		cmocka_unit_test(a_row_of_another_key_is_found),
		cmocka_unit_test(rows_that_lie_are_found),
		cmocka_unit_test(a_state_that_lies_is_found),
		cmocka_unit_test(a_flush_does_not_go_on_with_a_strange_block),
		cmocka_unit_test(an_earlier_format_is_refused),
		cmocka_unit_test(problems_beyond_the_room_are_counted),
		cmocka_unit_test(every_flipped_byte_is_found_and_never_served),
		cmocka_unit_test(every_flipped_byte_beside_holes_is_found),
		cmocka_unit_test(flips_in_closed_chunks_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
