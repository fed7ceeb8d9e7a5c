/* What is stored, whole by its checksum, and not what it could be all the same: damage, never an answer. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/block.h"
#include "storage/tables.h"

#include <errno.h>
#include <string.h>

/* ---- rows ---- */

static const char KEY[] = "Order-1";

static int open_row(const void *content, size_t size, struct tables_row *row)
{
	struct span key = span_of_string(KEY);
	struct buffer value;

	buffer_init(&value);
	buffer_append_span(&value, span_of(content, size));
	tables_chunk_seal(key, &value);
	struct span exact = unit_exact(value.data, value.size);
	int rc = tables_row_decode(key, exact, row);

	unit_free_exact(exact);
	buffer_close(&value);
	return rc;
}

/* State, number, version, first version, created, updated, three bytes of name, one of a chunk. */
static const uint8_t row_content[] = {0x80, 7, 5, 1, 1, 0, 0, 0, 0,   0,   0,   0, 2,
				      0,    0, 0, 0, 0, 0, 0, 3, 'a', 'b', 'c', 9};
#define NAME_AT 20

static void a_row_that_is_cut_short_is_damage(void **state)
{
	struct tables_row row;

	(void)state;
	assert_int_equal(open_row(row_content, sizeof row_content, &row), 0);
	assert_int_equal(row.number, 7);
	assert_int_equal(row.name.size, 3);
	assert_int_equal(row.chunk.size, 1);
	assert_int_equal(row.facts.updated, 2);
	for (size_t size = 1; size < NAME_AT + 4; size++)
		if (open_row(row_content, size, &row) != -EBADMSG)
			fail_msg("the first %zu bytes are taken for a row", size);
	for (size_t size = 0; size <= 4; size++)
		assert_int_equal(
			tables_row_decode(span_of_string(KEY), span_of(row_content, size), &row),
			-EBADMSG);
}

static void a_row_of_what_cannot_be_is_damage(void **state)
{
	static const struct {
		size_t at;
		uint8_t byte;
	} cases[] = {{0, 0x84}, {0, 0x04}, {1, 0}, {NAME_AT, 0}, {NAME_AT, 5}, {NAME_AT, 0xff}};
	uint8_t content[sizeof row_content + POSTING_OPEN_BYTES];
	struct tables_row row;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		memcpy(content, row_content, sizeof row_content);
		content[cases[i].at] = cases[i].byte;
		if (open_row(content, sizeof row_content, &row) != -EBADMSG)
			fail_msg("byte %zu may be %u", cases[i].at, cases[i].byte);
	}
	/* More than an open chunk can be. */
	memset(content, 0, sizeof content);
	memcpy(content, row_content, sizeof row_content);
	assert_int_equal(open_row(content, sizeof row_content - 1 + POSTING_OPEN_BYTES, &row), 0);
	assert_int_equal(open_row(content, sizeof row_content + POSTING_OPEN_BYTES, &row),
			 -EBADMSG);
}

static void a_row_under_another_key_is_damage(void **state)
{
	struct tables_row row;
	struct buffer value;

	(void)state;
	buffer_init(&value);
	buffer_append_span(&value, span_of(row_content, sizeof row_content));
	tables_chunk_seal(span_of_string(KEY), &value);
	assert_int_equal(tables_row_decode(span_of_string("Order-2"), buffer_span(&value), &row),
			 -EBADMSG);
	for (size_t at = 0; at < value.size; at++) {
		value.data[at] ^= 1;
		assert_int_equal(tables_row_decode(span_of_string(KEY), buffer_span(&value), &row),
				 -EBADMSG);
		value.data[at] ^= 1;
	}
	buffer_close(&value);
}

/* ---- state and identity ---- */

static void check_short_and_flipped(struct buffer *value, int (*decode)(struct span value))
{
	assert_int_equal(decode(buffer_span(value)), 0);
	for (size_t size = 0; size < value->size; size++)
		assert_int_equal(decode(span_of(value->data, size)), -EBADMSG);
	for (size_t at = 0; at < value->size; at++) {
		value->data[at] ^= 0x10;
		assert_int_equal(decode(buffer_span(value)), -EBADMSG);
		value->data[at] ^= 0x10;
	}
}

static int decode_state(struct span value)
{
	struct tables_state state;

	return tables_state_decode(value, &state);
}

static int decode_identity(struct span value)
{
	struct store_identity identity;

	return tables_identity_decode(value, &identity);
}

static void a_state_or_identity_is_whole_or_damage(void **state)
{
	struct tables_state stored = {.position = 5, .ingesting = true};
	struct store_identity identity = {.node_id = 3};
	struct buffer value;

	(void)state;
	buffer_init(&value);
	tables_state_encode(&stored, &value);
	check_short_and_flipped(&value, decode_state);
	/* A flag that nobody here has set. */
	size_t end = value.size - 8;

	bytes_set_le64(value.data + 104, 2);
	bytes_set_le64(value.data + end, checksum64(value.data, end));
	assert_int_equal(decode_state(buffer_span(&value)), -EBADMSG);
	buffer_clear(&value);
	tables_identity_encode(&identity, &value);
	check_short_and_flipped(&value, decode_identity);
	buffer_close(&value);
}

/* ---- holes ---- */

static void a_hole_of_what_cannot_be_is_damage(void **state)
{
	static const struct hole wrong[] = {
		{.first = 0, .last = 5},
		{.first = 6, .last = 5},
		{.first = LIMIT_POSITION, .last = LIMIT_POSITION + 1},
		{.first = 1, .last = (uint64_t)HOLE_POSITIONS_MAX + 1},
	};
	const struct hole right = {.first = 2, .last = (uint64_t)HOLE_POSITIONS_MAX + 1};
	uint8_t bytes[HOLE_BYTES];
	struct hole hole;

	(void)state;
	hole_encode(&right, bytes);
	assert_int_equal(hole_parse(span_of(bytes, HOLE_BYTES), &hole), 0);
	assert_int_equal(hole.last, right.last);
	for (size_t size = 0; size < HOLE_BYTES; size++)
		assert_int_equal(hole_parse(span_of(bytes, size), &hole), -EBADMSG);
	assert_false(hole_is_next(span_of(bytes, 0)));
	for (size_t at = 0; at < HOLE_BYTES; at += at == 0 ? 1 : 9) {
		bytes[at] ^= 1;
		assert_int_equal(hole_parse(span_of(bytes, HOLE_BYTES), &hole), -EBADMSG);
		bytes[at] ^= 1;
	}
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		bytes_set_be64(bytes + 2, wrong[i].first);
		bytes_set_be64(bytes + 11, wrong[i].last);
		assert_int_equal(hole_parse(span_of(bytes, HOLE_BYTES), &hole), -EBADMSG);
	}
}

/* ---- blocks ---- */

/* Records at 10 and 11, nothing at 12 to 14, one at 15, nothing at 16 and 17. */
static void make_block(struct buffer *value)
{
	static const char *const records[] = {"first", "second", "third"};
	struct block_builder builder;
	uint64_t hash = 77;

	block_builder_init(&builder);
	block_builder_start(&builder, 10, hash);
	for (size_t i = 0; i < COUNT_OF(records); i++) {
		struct span record = span_of_string(records[i]);

		hash = checksum64_seeded(record.data, record.size, hash);
		block_builder_add(&builder, record, hash);
		if (i == 1)
			block_builder_add_hole(&builder, 14, ++hash);
	}
	block_builder_add_hole(&builder, 17, ++hash);
	buffer_init(value);
	block_builder_finish(&builder, value);
	block_builder_close(&builder);
}

#define ROW_AT(row)   (BLOCK_HEADER_BYTES + (row)*BLOCK_TABLE_ROW_BYTES)
#define HOLE_AT(hole) (ROW_AT(5) + (hole)*BLOCK_HOLE_ROW_BYTES)

static void reseal(struct buffer *value)
{
	uint64_t holes = bytes_le32(value->data + 28), count = bytes_le32(value->data + 4);
	uint64_t checksum = checksum64(value->data, 32);

	if (holes > 0)
		checksum = checksum64_seeded(
			value->data + BLOCK_HEADER_BYTES,
			count * BLOCK_TABLE_ROW_BYTES + holes * BLOCK_HOLE_ROW_BYTES, checksum);
	bytes_set_le32(value->data + 32, (uint32_t)checksum);
}

/* Every position of it, and every record. */
static int read_block(struct span value)
{
	struct block_entry entry;
	struct span record;
	struct block block;
	uint64_t hash;
	int rc = block_open(value, &block);

	for (uint64_t i = 0; rc == 0 && i < block.position_count && i < 20; i++) {
		rc = block_find(&block, block.first_position + i, &entry);
		if (rc == 0 && !entry.is_hole)
			rc = block_record(&block, entry.index, &record, &hash);
	}
	return rc;
}

static void a_block_of_what_cannot_be_is_damage(void **state)
{
	static const struct {
		const char *what;
		size_t at, bytes; /* 4 or 8 */
		uint64_t number;
		bool is_sealed;
	} cases[] = {
		{"no entry", 4, 4, 0, false},
		{"another number of entries", 4, 4, 6, false},
		{"more holes than entries", 28, 4, 6, false},
		{"another size", 24, 4, 3, false},
		{"position 0", 8, 8, 0, true},
		{"beyond the last position", 8, 8, UINT64_MAX - 3, true},
		{"a hole at no entry", HOLE_AT(1), 4, 5, true},
		{"holes in another order", HOLE_AT(0), 4, 4, true},
		{"a record that ends where it begins", ROW_AT(0) + 8, 4, 0, true},
		{"a record beyond the end", ROW_AT(3) + 8, 4, 1000, true},
		{"another hash", ROW_AT(1), 8, 12345, true},
	};
	struct buffer value;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		make_block(&value);
		assert_int_equal(read_block(buffer_span(&value)), 0);
		reseal(&value);
		assert_int_equal(read_block(buffer_span(&value)), 0);
		if (cases[i].bytes == 4)
			bytes_set_le32(value.data + cases[i].at, (uint32_t)cases[i].number);
		else
			bytes_set_le64(value.data + cases[i].at, cases[i].number);
		if (cases[i].is_sealed)
			reseal(&value);
		if (read_block(buffer_span(&value)) != -EBADMSG)
			fail_msg("%s", cases[i].what);
		buffer_close(&value);
	}
}

static void a_block_that_is_cut_short_or_flipped_is_damage(void **state)
{
	struct buffer value;

	(void)state;
	make_block(&value);
	for (size_t size = 0; size < value.size; size++)
		assert_int_equal(read_block(span_of(value.data, size)), -EBADMSG);
	for (size_t at = 0; at < value.size; at++) {
		value.data[at] ^= 2;
		if (read_block(buffer_span(&value)) != -EBADMSG)
			fail_msg("byte %zu", at);
		value.data[at] ^= 2;
	}
	buffer_close(&value);
}

/* What is joined is checked on its way. */
static void a_damaged_block_is_not_joined_to_another(void **state)
{
	static const size_t flipped[] = {ROW_AT(0), ROW_AT(3) + 8, HOLE_AT(0) + 4};
	struct block_builder builder;
	struct buffer value;
	struct block block;

	(void)state;
	block_builder_init(&builder);
	for (size_t i = 0; i <= COUNT_OF(flipped); i++) {
		make_block(&value);
		if (i < COUNT_OF(flipped)) {
			value.data[flipped[i]] ^= 8;
			reseal(&value);
		}
		assert_int_equal(block_open(buffer_span(&value), &block), 0);
		block_builder_start(&builder, 10, 77);
		assert_true(block_builder_fits_block(&builder, &block));
		assert_int_equal(block_builder_add_block(&builder, &block),
				 i < COUNT_OF(flipped) ? -EBADMSG : 0);
		buffer_close(&value);
	}
	assert_int_equal(builder.next_position, 18);
	block_builder_close(&builder);
}

static void a_block_spans_no_more_than_it_can_count(void **state)
{
	struct block_builder builder;
	struct buffer value;
	struct block block;

	(void)state;
	make_block(&value);
	assert_int_equal(block_open(buffer_span(&value), &block), 0);
	block_builder_init(&builder);
	block_builder_start(&builder, 1, 0);
	assert_false(block_builder_fits_hole(&builder, 1 + (uint64_t)BLOCK_POSITIONS_MAX));
	assert_true(block_builder_fits_hole(&builder, BLOCK_POSITIONS_MAX));
	block_builder_add_hole(&builder, BLOCK_POSITIONS_MAX - 1, 1);
	assert_true(block_builder_fits(&builder, 10));
	block_builder_add(&builder, span_of_string("0123456789"), 2);
	assert_false(block_builder_fits(&builder, 10));
	block.first_position = builder.next_position;
	assert_false(block_builder_fits_block(&builder, &block));
	/* Nor more bytes than go into one value, unless it is one record. */
	block_builder_start(&builder, 1, 0);
	assert_true(block_builder_fits(&builder, 2 * BLOCK_BYTES_MAX));
	uint8_t *large = memory_zeroed(1, BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES - 40);

	block_builder_add(&builder, span_of(large, BLOCK_BYTES_MAX - BLOCK_HEADER_BYTES - 40), 1);
	assert_false(block_builder_fits(&builder, 28));
	assert_true(block_builder_fits_hole(&builder, 2));
	block_builder_add_hole(&builder, 2, 2);
	assert_true(block_builder_fits_hole(&builder, 3));
	block.first_position = builder.next_position;
	assert_false(block_builder_fits_block(&builder, &block));
	memory_free(large);
	block_builder_close(&builder);
	buffer_close(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_that_is_cut_short_is_damage),
		cmocka_unit_test(a_row_of_what_cannot_be_is_damage),
		cmocka_unit_test(a_row_under_another_key_is_damage),
		cmocka_unit_test(a_state_or_identity_is_whole_or_damage),
		cmocka_unit_test(a_hole_of_what_cannot_be_is_damage),
		cmocka_unit_test(a_block_of_what_cannot_be_is_damage),
		cmocka_unit_test(a_block_that_is_cut_short_or_flipped_is_damage),
		cmocka_unit_test(a_damaged_block_is_not_joined_to_another),
		cmocka_unit_test(a_block_spans_no_more_than_it_can_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
