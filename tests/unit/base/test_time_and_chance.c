/* clock, random, uuid */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/uuid.h"
#include "tests/unit/unit.h"
#include <ctype.h>

static void the_monotonic_clock_never_goes_back(void **state)
{
	int64_t before_ms = clock_monotonic_ms();
	int64_t last = clock_monotonic_ns();

	(void)state;
	assert_true(before_ms <= last / 1000000);
	for (int i = 0; i < 10000; i++) {
		int64_t now = clock_monotonic_ns();

		assert_true(now >= last);
		last = now;
	}
}

static void real_time_is_of_this_age_and_in_nanoseconds(void **state)
{
	int64_t seconds = clock_realtime_ns() / 1000000000;

	(void)state;
	assert_true(seconds > 1700000000 && seconds < 5000000000);
}

static void random_bytes_fill_all_and_nothing_else(void **state)
{
	uint8_t bytes[300 + 1];
	int changed = 0;

	(void)state;
	memset(bytes, 0, sizeof bytes);
	for (int round = 0; round < 8; round++) { /* each byte is 0 eight times: 2^-64 each */
		uint8_t drawn[300];

		random_bytes(drawn, sizeof drawn);
		for (size_t i = 0; i < sizeof drawn; i++)
			bytes[i] |= drawn[i];
	}
	for (size_t i = 0; i < 300; i++)
		changed += bytes[i] != 0;
	assert_int_equal(changed, 300);
	assert_int_equal(bytes[300], 0);
	random_bytes(bytes, 0);
	assert_true(random_u64() != random_u64());
}

static void new_ids_are_version_7_of_now(void **state)
{
	uint64_t before_ms = (uint64_t)clock_realtime_ns() / 1000000;
	uint8_t id[UUID_BYTES];

	(void)state;
	uuid7_generate(id);
	uint64_t ms = bytes_be64(id) >> 16;

	assert_true(ms + 60000 > before_ms && ms < before_ms + 60000);
	assert_int_equal(id[6] >> 4, 7);
	assert_int_equal(id[8] >> 6, 2);
}

/* Far more than a millisecond's counter holds. */
static void new_ids_increase_strictly(void **state)
{
	uint8_t last[UUID_BYTES] = {0};

	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint8_t id[UUID_BYTES];

		uuid7_generate(id);
		assert_true(memcmp(last, id, sizeof id) < 0);
		assert_true(id[6] >> 4 == 7 && id[8] >> 6 == 2);
		memcpy(last, id, sizeof id);
	}
}

static void ids_are_written_and_read_back(void **state)
{
	static const uint8_t wanted[UUID_BYTES] = {0x01, 0x8f, 0xa0, 0xb1, 0xc2, 0xd3, 0x74, 0xe5,
						   0x96, 0x07, 0x18, 0x29, 0x3a, 0x4b, 0x5c, 0x6d};
	static const char text[] = "018fa0b1-c2d3-74e5-9607-18293a4b5c6d";
	char formatted[UUID_TEXT_BYTES], upper[UUID_TEXT_BYTES];
	uint8_t id[UUID_BYTES];

	(void)state;
	uuid_format(wanted, formatted);
	assert_string_equal(formatted, text);
	for (size_t i = 0; i < sizeof upper; i++)
		upper[i] = (char)toupper(text[i]);
	assert_true(uuid_parse(text, id));
	assert_memory_equal(id, wanted, sizeof id);
	memset(id, 0, sizeof id);
	assert_true(uuid_parse(upper, id));
	assert_memory_equal(id, wanted, sizeof id);
}

static void anything_else_is_no_id(void **state)
{
	static const char *const cases[] = {
		"",
		"018fa0b1",
		"018fa0b1c2d374e5960718293a4b5c6d",
		"018fa0b1-c2d3-74e5-9607-18293a4b5c6",
		"018fa0b1-c2d3-74e5-9607-18293a4b5c6d0",
		"018fa0b1-c2d3-74e5-9607-18293a4b5c6d ",
		"018fa0b1-c2d3-74e5-9607-18293a4b5c6g",
		"018fa0b1-c2d3-74e5-960718293a4b-5c6d",
		"018fa0b1-c2d3-74e5-9607--8293a4b5c6d",
		"{018fa0b1-c2d3-74e5-9607-18293a4b5c6d}",
		" 018fa0b1-c2d3-74e5-9607-18293a4b5c6d",
		"018fa0b1_c2d3_74e5_9607_18293a4b5c6d",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span exact = unit_exact(cases[i], strlen(cases[i]) + 1);
		uint8_t id[UUID_BYTES] = {7};

		if (uuid_parse((const char *)exact.data, id))
			fail_msg("'%s' is taken", cases[i]);
		assert_int_equal(id[0], 7);
		unit_free_exact(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_monotonic_clock_never_goes_back),
		cmocka_unit_test(real_time_is_of_this_age_and_in_nanoseconds),
		cmocka_unit_test(random_bytes_fill_all_and_nothing_else),
		cmocka_unit_test(new_ids_are_version_7_of_now),
		cmocka_unit_test(new_ids_increase_strictly),
		cmocka_unit_test(ids_are_written_and_read_back),
		cmocka_unit_test(anything_else_is_no_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
