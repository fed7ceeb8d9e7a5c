/* Packed positions and blocks: what is packed is unpacked; limits are kept; damage is refused. */
#include "tests/unit/unit.h"

#include "base/checksum.h"
#include "storage/block.h"
#include "storage/posting.h"

#include <errno.h>

static void varints_take_the_shortest_form(void **state)
{
	static const struct {
		uint64_t value;
		size_t size;
	} cases[] = {{0, 1},
		     {1, 1},
		     {127, 1},
		     {128, 2},
		     {16383, 2},
		     {16384, 3},
		     {UINT64_MAX >> 1, 9},
		     {UINT64_MAX, 10},
		     {1u << 28, 5},
		     {UINT32_MAX, 5},
		     {(UINT64_MAX >> 1) + 1, 10}};
	uint8_t bytes[VARINT_BYTES_MAX];
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_int_equal(varint_write(bytes, cases[i].value), cases[i].size);
		struct span exact = unit_exact(bytes, cases[i].size), rest = exact;
		assert_true(varint_read(&rest, &value));
		assert_int_equal(value, cases[i].value);
		assert_int_equal(rest.size, 0);
		rest = span_of(exact.data, cases[i].size - 1);
		assert_false(varint_read(&rest, &value)); /* cut short */
		unit_free_exact(exact);
	}
}

static void longer_forms_and_overflow_are_refused(void **state)
{
	static const char *const cases[] = {"\x80\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
					    "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01"};
	static const size_t sizes[] = {2, 10, 11};
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span bytes = span_of(cases[i], sizes[i]);

		assert_false(varint_read(&bytes, &value));
	}
}

static void positions_survive_in_as_many_chunks_as_they_need(void **state)
{
	uint64_t positions[5000], unpacked[POSTING_COUNT_MAX], seed = 1, last = 0;
	uint32_t count;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(positions); i++)
		positions[i] = last += 1 + (unit_random(&seed) >> (unit_random(&seed) % 40 + 20));
	for (size_t done = 0, packed; done < COUNT_OF(positions); done += packed) {
		struct buffer chunk;

		buffer_init(&chunk);
		packed = posting_pack(positions + done, COUNT_OF(positions) - done,
				      POSTING_CLOSED_BYTES, &chunk);
		assert_true(packed > 0 && chunk.size <= POSTING_CLOSED_BYTES);
		assert_int_equal(posting_unpack(buffer_span(&chunk), unpacked, &count), 0);
		assert_int_equal(count, packed);
		assert_memory_equal(unpacked, positions + done, packed * sizeof unpacked[0]);
		buffer_close(&chunk);
	}
}

static void chunks_that_do_not_increase_are_refused(void **state)
{
	uint64_t unpacked[POSTING_COUNT_MAX];
	uint8_t large[POSTING_CLOSED_BYTES + 1];
	uint32_t count;

	(void)state;
	memset(large, 1, sizeof large);
	assert_int_equal(posting_unpack(span_of("\x05\x00", 2), unpacked, &count), -EBADMSG);
	assert_int_equal(posting_unpack(span_of("\x05\x80", 2), unpacked, &count), -EBADMSG);
	assert_int_equal(posting_unpack(span_of("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01", 11),
					unpacked, &count),
			 -EBADMSG);
	assert_int_equal(posting_unpack(span_of(large, sizeof large), unpacked, &count), -EBADMSG);
	assert_int_equal(posting_unpack(span_of(large, sizeof large - 1), unpacked, &count), 0);
	assert_int_equal(count, POSTING_COUNT_MAX);
	assert_int_equal(posting_unpack(span_of(large, 0), unpacked, &count), 0);
	assert_int_equal(count, 0);
}

static void a_block_is_closed_before_it_grows_too_large(void **state)
{
	static uint8_t record[3 * LIMIT_BLOCK_BYTES];
	struct block_builder builder;
	struct buffer value;
	struct block block;

	(void)state;
	block_builder_init(&builder);
	buffer_init(&value);
	for (size_t size = 1; size < sizeof record; size = size * 3 + 1) {
		uint64_t hash = 99;
		uint32_t count = 0;

		block_builder_start(&builder, 1000, hash);
		for (; block_builder_fits(&builder, size); count++) {
			hash = checksum64_seeded(record, size, hash);
			block_builder_add(&builder, span_of(record, size), hash);
		}
		block_builder_finish(&builder, &value);
		assert_true(count == 1 || value.size <= BLOCK_BYTES_MAX);
		assert_true(count == 1 ||
			    value.size + size + BLOCK_TABLE_ROW_BYTES > BLOCK_BYTES_MAX);
		struct span exact = unit_exact(value.data, value.size);
		assert_int_equal(block_open(exact, &block), 0);
		assert_int_equal(block.count, count);
		for (uint32_t i = 0; i < count; i++) {
			struct span read;

			assert_int_equal(block_record(&block, i, &read, &hash), 0);
			assert_int_equal(read.size, size);
		}
		assert_int_equal(block_open(span_of(exact.data, exact.size - 1), &block), -EBADMSG);
		unit_free_exact(exact);
	}
	block_builder_close(&builder);
	buffer_close(&value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(varints_take_the_shortest_form),
		cmocka_unit_test(longer_forms_and_overflow_are_refused),
		cmocka_unit_test(positions_survive_in_as_many_chunks_as_they_need),
		cmocka_unit_test(chunks_that_do_not_increase_are_refused),
		cmocka_unit_test(a_block_is_closed_before_it_grows_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
