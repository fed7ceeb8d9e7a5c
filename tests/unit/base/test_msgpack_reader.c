#include "base/bytes.h"
#include "base/msgpack.h"
#include "tests/unit/unit.h"
#include <stdio.h>

#define BYTES(literal) (literal), sizeof(literal) - 1

static void integers_of_every_form_are_read(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		bool is_u64, is_i64;
		uint64_t bits;
	} cases[] = {
		{BYTES("\x00"), true, true, 0},
		{BYTES("\x7f"), true, true, 127},
		{BYTES("\xff"), false, true, (uint64_t)-1},
		{BYTES("\xe0"), false, true, (uint64_t)-32},
		{BYTES("\xcc\xff"), true, true, 255},
		{BYTES("\xcd\xff\xfe"), true, true, 65534},
		{BYTES("\xce\xff\xff\xff\xfe"), true, true, 4294967294},
		{BYTES("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"), true, true, INT64_MAX},
		{BYTES("\xcf\x80\x00\x00\x00\x00\x00\x00\x00"), true, false, UINT64_C(1) << 63},
		{BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), true, false, UINT64_MAX},
		{BYTES("\xd0\x7f"), true, true, 127},
		{BYTES("\xd0\x80"), false, true, (uint64_t)-128},
		{BYTES("\xd1\x80\x00"), false, true, (uint64_t)-32768},
		{BYTES("\xd1\x00\x01"), true, true, 1},
		{BYTES("\xd2\x80\x00\x00\x00"), false, true, (uint64_t)INT32_MIN},
		{BYTES("\xd2\x7f\xff\xff\xff"), true, true, INT32_MAX},
		{BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), false, true, UINT64_C(1) << 63},
		{BYTES("\xd3\x00\x00\x00\x00\x00\x00\x00\x02"), true, true, 2},
		{BYTES(""), false, false, 0},
		{BYTES("\xcc"), false, false, 0},
		{BYTES("\xcf\x01\x02\x03\x04\x05\x06\x07"), false, false, 0},
		{BYTES("\xca\x00\x00\x00\x00"), false, false, 0},
		{BYTES("\xc0"), false, false, 0},
		{BYTES("\xa1"
		       "1"),
		 false, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i].bytes, cases[i].size);
		struct msgpack_reader reader = msgpack_reader_of(exact);
		uint64_t u64 = 77;
		int64_t i64 = 77;

		assert_int_equal(msgpack_read_u64(&reader, &u64), cases[i].is_u64);
		assert_true(u64 == (cases[i].is_u64 ? cases[i].bits : 77));
		assert_ptr_equal(reader.at, cases[i].is_u64 ? reader.end : exact.data);
		reader = msgpack_reader_of(exact);
		assert_int_equal(msgpack_read_i64(&reader, &i64), cases[i].is_i64);
		assert_true(i64 == (cases[i].is_i64 ? (int64_t)cases[i].bits : 77));
		assert_ptr_equal(reader.at, cases[i].is_i64 ? reader.end : exact.data);
		unit_free_exact(exact);
	}
}

static const struct {
	const char *bytes;
	size_t size;
	bool is_str, is_bin;
	size_t header;
} blobs[] = {
	{BYTES("\xa0"), true, false, 1},
	{BYTES("\xa2"
	       "ab"),
	 true, false, 1},
	{BYTES("\xd9\x02"
	       "ab"),
	 true, false, 2},
	{BYTES("\xda\x00\x02"
	       "ab"),
	 true, false, 3},
	{BYTES("\xdb\x00\x00\x00\x02"
	       "ab"),
	 true, false, 5},
	{BYTES("\xc4\x02"
	       "ab"),
	 false, true, 2},
	{BYTES("\xc5\x00\x02"
	       "ab"),
	 false, true, 3},
	{BYTES("\xc6\x00\x00\x00\x02"
	       "ab"),
	 false, true, 5},
	{BYTES("\xc4\x00"), false, true, 2},
	/* cut short, and of other types */
	{BYTES(""), false, false, 0},
	{BYTES("\xa2"
	       "a"),
	 false, false, 0},
	{BYTES("\xd9"), false, false, 0},
	{BYTES("\xd9\x02"
	       "a"),
	 false, false, 0},
	{BYTES("\xda\x00"), false, false, 0},
	{BYTES("\xda\x00\x02"
	       "a"),
	 false, false, 0},
	{BYTES("\xdb\x00\x00\x00"), false, false, 0},
	{BYTES("\xdb\xff\xff\xff\xff"
	       "a"),
	 false, false, 0},
	{BYTES("\xc4"), false, false, 0},
	{BYTES("\xc4\x02"
	       "a"),
	 false, false, 0},
	{BYTES("\xc5\x00"), false, false, 0},
	{BYTES("\xc6\x00\x00\x00"), false, false, 0},
	{BYTES("\xc6\xff\xff\xff\xff"
	       "a"),
	 false, false, 0},
	{BYTES("\x01"), false, false, 0},
	{BYTES("\xc7\x01\x01"
	       "a"),
	 false, false, 0},
};

static void strings_and_blobs_are_borrowed_in_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(blobs); i++) {
		bool (*const reads[])(struct msgpack_reader *, struct span *) = {
			msgpack_read_str, msgpack_read_bin, msgpack_read_bytes};
		bool wanted[] = {blobs[i].is_str, blobs[i].is_bin,
				 blobs[i].is_str || blobs[i].is_bin};
		struct span exact = unit_exact(blobs[i].bytes, blobs[i].size);

		for (size_t j = 0; j < COUNT_OF(reads); j++) {
			struct msgpack_reader reader = msgpack_reader_of(exact);
			struct span value = {0};

			if (reads[j](&reader, &value) != wanted[j])
				fail_msg("case %zu, reader %zu", i, j);
			assert_ptr_equal(reader.at, wanted[j] ? reader.end : exact.data);
			if (wanted[j]) {
				assert_ptr_equal(value.data, exact.data + blobs[i].header);
				assert_int_equal(value.size, exact.size - blobs[i].header);
			}
		}
		unit_free_exact(exact);
	}
}

static void a_count_needs_as_many_bytes_behind_it(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		bool is_array, is_map;
		uint32_t count;
	} cases[] = {
		{BYTES("\x90"), true, false, 0},
		{BYTES("\x92\x01\x02"), true, false, 2},
		{BYTES("\x92\x01"), false, false, 0},
		{BYTES("\xdc\x00\x01\x01"), true, false, 1},
		{BYTES("\xdc\x00"), false, false, 0},
		{BYTES("\xdc\x00\x01"), false, false, 0},
		{BYTES("\xdd\x00\x00\x00\x01\x01"), true, false, 1},
		{BYTES("\xdd\xff\xff\xff\xff\x01"), false, false, 0},
		{BYTES("\xdd\x00\x00\x00"), false, false, 0},
		{BYTES("\x80"), false, true, 0},
		{BYTES("\x81\x01\x02"), false, true, 1},
		{BYTES("\x81\x01"), false, false, 0},
		{BYTES("\xde\x00\x01\x01\x02"), false, true, 1},
		{BYTES("\xde\x00\x02\x01\x02\x03"), false, false, 0},
		{BYTES("\xdf\x00\x00\x00\x01\x01\x02"), false, true, 1},
		{BYTES("\xdf\xff\xff\xff\xff\x01\x02"), false, false, 0},
		{BYTES("\xdf\x00\x00\x00"), false, false, 0},
		{BYTES(""), false, false, 0},
		{BYTES("\x01"), false, false, 0},
		{BYTES("\xa1"
		       "a"),
		 false, false, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i].bytes, cases[i].size);
		struct msgpack_reader reader = msgpack_reader_of(exact);
		uint32_t count = 77;

		assert_int_equal(msgpack_read_array(&reader, &count), cases[i].is_array);
		assert_int_equal(count, cases[i].is_array ? cases[i].count : 77);
		reader = msgpack_reader_of(exact);
		count = 77;
		assert_int_equal(msgpack_read_map(&reader, &count), cases[i].is_map);
		assert_int_equal(count, cases[i].is_map ? cases[i].count : 77);
		unit_free_exact(exact);
	}
}

static void types_are_told_by_the_first_byte(void **state)
{
	static const struct {
		uint8_t first, last;
		enum msgpack_type type;
		const char *name;
	} ranges[] = {
		{0x00, 0x7f, MSGPACK_TYPE_INT, "int"},
		{0x80, 0x8f, MSGPACK_TYPE_MAP, "map"},
		{0x90, 0x9f, MSGPACK_TYPE_ARRAY, "array"},
		{0xa0, 0xbf, MSGPACK_TYPE_STR, "str"},
		{0xc0, 0xc0, MSGPACK_TYPE_NIL, "nil"},
		{0xc1, 0xc1, MSGPACK_TYPE_INVALID, "an invalid byte"},
		{0xc2, 0xc3, MSGPACK_TYPE_BOOL, "bool"},
		{0xc4, 0xc6, MSGPACK_TYPE_BIN, "bin"},
		{0xc7, 0xc9, MSGPACK_TYPE_EXT, "ext"},
		{0xca, 0xcb, MSGPACK_TYPE_FLOAT, "float"},
		{0xcc, 0xd3, MSGPACK_TYPE_INT, "int"},
		{0xd4, 0xd8, MSGPACK_TYPE_EXT, "ext"},
		{0xd9, 0xdb, MSGPACK_TYPE_STR, "str"},
		{0xdc, 0xdd, MSGPACK_TYPE_ARRAY, "array"},
		{0xde, 0xdf, MSGPACK_TYPE_MAP, "map"},
		{0xe0, 0xff, MSGPACK_TYPE_INT, "int"},
	};
	struct msgpack_reader empty = msgpack_reader_of(span_of(NULL, 0));
	int next = 0;

	(void)state;
	assert_int_equal(msgpack_read_type(&empty), MSGPACK_TYPE_END);
	assert_string_equal(msgpack_type_name(MSGPACK_TYPE_END), "nothing");
	for (size_t i = 0; i < COUNT_OF(ranges); i++) {
		assert_int_equal(ranges[i].first, next);
		for (next = ranges[i].first; next <= ranges[i].last; next++) {
			uint8_t byte = (uint8_t)next;
			struct msgpack_reader reader = msgpack_reader_of(span_of(&byte, 1));

			assert_int_equal(msgpack_read_type(&reader), ranges[i].type);
			assert_string_equal(msgpack_type_name(ranges[i].type), ranges[i].name);
		}
	}
	assert_int_equal(next, 256);
}

static void nil_and_bool_are_read_and_nothing_else_is(void **state)
{
	(void)state;
	for (int byte = -1; byte < 256; byte++) {
		uint8_t first = (uint8_t)byte;
		struct span exact = unit_exact(&first, byte < 0 ? 0 : 1);
		struct msgpack_reader reader = msgpack_reader_of(exact);
		bool value = false;

		assert_int_equal(msgpack_read_nil(&reader), byte == 0xc0);
		reader = msgpack_reader_of(exact);
		assert_int_equal(msgpack_read_bool(&reader, &value), byte == 0xc2 || byte == 0xc3);
		assert_int_equal(value, byte == 0xc3);
		unit_free_exact(exact);
	}
}

static void what_is_written_is_read_back(void **state)
{
	static const uint64_t numbers[] = {0,          1,
					   127,        128,
					   255,        256,
					   65535,      65536,
					   UINT32_MAX, UINT64_C(1) << 32,
					   INT64_MAX,  UINT64_C(1) << 63,
					   UINT64_MAX};
	struct buffer buffer;

	(void)state;
	buffer_init(&buffer);
	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		uint64_t u64;
		int64_t i64;

		buffer_clear(&buffer);
		msgpack_write_u64(&buffer, numbers[i]);
		msgpack_write_i64(&buffer, (int64_t)numbers[i]);
		msgpack_write_i64(&buffer, -(int64_t)(numbers[i] >> 1));
		struct msgpack_reader reader = msgpack_reader_of(buffer_span(&buffer));

		assert_true(msgpack_read_u64(&reader, &u64) && u64 == numbers[i]);
		assert_true(msgpack_read_i64(&reader, &i64) && i64 == (int64_t)numbers[i]);
		assert_true(msgpack_read_i64(&reader, &i64) && i64 == -(int64_t)(numbers[i] >> 1));
		assert_int_equal(msgpack_read_type(&reader), MSGPACK_TYPE_END);
	}
	buffer_close(&buffer);
}

static void strings_of_every_length_class_are_read_back(void **state)
{
	static const size_t sizes[] = {0, 1, 31, 32, 255, 256, 65535, 65536};
	struct buffer buffer;

	(void)state;
	buffer_init(&buffer);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		uint8_t *bytes = memory_zeroed(1, sizes[i] + 1);
		struct span wanted = span_of(bytes, sizes[i]);
		struct span str, bin;

		memset(bytes, 'x', sizes[i]);
		buffer_clear(&buffer);
		msgpack_write_str(&buffer, wanted);
		msgpack_write_bin(&buffer, wanted);
		struct msgpack_reader reader = msgpack_reader_of(buffer_span(&buffer));

		assert_true(msgpack_read_str(&reader, &str) && span_equal(str, wanted));
		assert_true(msgpack_read_bin(&reader, &bin) && span_equal(bin, wanted));
		assert_ptr_equal(reader.at, reader.end);
		memory_free(bytes);
	}
	buffer_close(&buffer);
}

/* {"a": [nil, true, false, 1.5], "b": bin} with a number in front and behind */
static void write_nested(struct buffer *buffer)
{
	msgpack_write_u64(buffer, 7);
	msgpack_write_map(buffer, 2);
	msgpack_write_string(buffer, "a");
	msgpack_write_array(buffer, 4);
	msgpack_write_nil(buffer);
	msgpack_write_bool(buffer, true);
	msgpack_write_bool(buffer, false);
	msgpack_write_double(buffer, 1.5);
	msgpack_write_string(buffer, "b");
	msgpack_write_bin(buffer, span_of("\0\1", 2));
	msgpack_write_u64(buffer, 8);
}

static void values_of_any_kind_are_skipped_and_taken_raw(void **state)
{
	static const char map[] = "\x82\xa1"
				  "a\x94\xc0\xc3\xc2\xcb\x3f\xf8\0\0\0\0\0\0\xa1"
				  "b\xc4\2\0\1";
	struct buffer buffer;
	struct span raw;
	uint64_t number;

	(void)state;
	buffer_init(&buffer);
	write_nested(&buffer);
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&buffer));

	assert_true(msgpack_read_skip(&reader));
	assert_true(msgpack_read_raw(&reader, &raw));
	assert_true(span_equal(raw, span_of(map, sizeof map - 1)));
	assert_true(msgpack_read_u64(&reader, &number) && number == 8);
	assert_false(msgpack_read_skip(&reader));
	assert_false(msgpack_read_raw(&reader, &raw));
	buffer_close(&buffer);
}

static void a_value_cut_short_anywhere_is_not_skipped(void **state)
{
	struct buffer buffer;

	(void)state;
	buffer_init(&buffer);
	msgpack_write_array(&buffer, 1);
	write_nested(&buffer);
	buffer.data[0] = 0x93;
	for (size_t size = 0; size <= buffer.size; size++) {
		struct span exact = unit_exact(buffer.data, size);
		struct msgpack_reader reader = msgpack_reader_of(exact);

		assert_int_equal(msgpack_read_skip(&reader), size == buffer.size);
		assert_ptr_equal(reader.at, size == buffer.size ? reader.end : exact.data);
		unit_free_exact(exact);
	}
	buffer_close(&buffer);
}

/* The reader and the scanner have to agree on what a value is. */
static void skip_agrees_with_the_scanner_on_random_bytes(void **state)
{
	uint64_t seed = 3;

	(void)state;
	for (int round = 0; round < 50000; round++) {
		uint8_t bytes[32];
		size_t size = (size_t)(unit_random(&seed) % sizeof bytes);
		struct msgpack_scanner scanner;

		for (size_t i = 0; i < size; i++) /* the half with containers and headers */
			bytes[i] = (uint8_t)(unit_random(&seed) % 3 == 0
						     ? 0x80 + unit_random(&seed) % 0x60
						     : unit_random(&seed) % 8);
		struct span exact = unit_exact(bytes, size);
		struct msgpack_reader reader = msgpack_reader_of(exact);

		msgpack_scanner_init(&scanner, SIZE_MAX, LIMIT_DEPTH);
		enum msgpack_scan outcome = msgpack_scan(&scanner, exact.data, exact.size);

		if (outcome != MSGPACK_SCAN_TOO_DEEP) {
			assert_int_equal(msgpack_read_skip(&reader), outcome == MSGPACK_SCAN_VALUE);
			if (outcome == MSGPACK_SCAN_VALUE)
				assert_ptr_equal(reader.at, exact.data + scanner.offset);
		}
		unit_free_exact(exact);
	}
}

static void any_read_of_random_bytes_stays_within_them(void **state)
{
	uint64_t seed = 4;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		uint8_t bytes[12];
		size_t size = (size_t)(unit_random(&seed) % sizeof bytes);

		for (size_t i = 0; i < size; i++)
			bytes[i] = (uint8_t)(unit_random(&seed) >> 32);
		if (size > 0 && round % 2 == 0)
			bytes[0] = (uint8_t)(0xc0 + bytes[0] % 0x20);
		struct span exact = unit_exact(bytes, size);
		struct msgpack_reader reader = msgpack_reader_of(exact);
		struct span value;
		uint32_t count;
		uint64_t u64;
		int64_t i64;
		bool truth;
		bool read = msgpack_read_u64(&reader, &u64) || msgpack_read_i64(&reader, &i64) ||
			    msgpack_read_bytes(&reader, &value) ||
			    msgpack_read_array(&reader, &count) ||
			    msgpack_read_map(&reader, &count) || msgpack_read_nil(&reader) ||
			    msgpack_read_bool(&reader, &truth) || msgpack_read_skip(&reader);

		assert_true(reader.at <= reader.end);
		assert_int_equal(read, reader.at > exact.data);
		unit_free_exact(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_are_told_by_the_first_byte),
		cmocka_unit_test(nil_and_bool_are_read_and_nothing_else_is),
		cmocka_unit_test(integers_of_every_form_are_read),
		cmocka_unit_test(strings_and_blobs_are_borrowed_in_place),
		cmocka_unit_test(a_count_needs_as_many_bytes_behind_it),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(strings_of_every_length_class_are_read_back),
		cmocka_unit_test(values_of_any_kind_are_skipped_and_taken_raw),
		cmocka_unit_test(a_value_cut_short_anywhere_is_not_skipped),
		cmocka_unit_test(skip_agrees_with_the_scanner_on_random_bytes),
		cmocka_unit_test(any_read_of_random_bytes_stays_within_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
