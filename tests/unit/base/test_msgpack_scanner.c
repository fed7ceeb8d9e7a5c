#include "base/msgpack.h"
#include "tests/unit/unit.h"

/* ---- single cases ---- */

struct scan_case {
	const char *bytes;
	size_t size;
	enum msgpack_scan outcome;
	size_t offset; /* after it */
};

#define BYTES(literal) (literal), sizeof(literal) - 1

static enum msgpack_scan scan_once(const char *bytes, size_t size, size_t max, uint32_t depth,
				   size_t *offset)
{
	struct msgpack_scanner scanner;
	struct span exact = unit_exact(bytes, size);

	msgpack_scanner_init(&scanner, max, depth);
	enum msgpack_scan outcome = msgpack_scan(&scanner, exact.data, exact.size);

	*offset = scanner.offset;
	unit_free_exact(exact);
	return outcome;
}

static const struct scan_case kinds[] = {
	{BYTES(""), MSGPACK_SCAN_MORE, 0},
	{BYTES("\x00"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\x7f\x00"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\xe0"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\xc0"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\xc1"), MSGPACK_SCAN_INVALID, 0},
	{BYTES("\xc3"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\xcc"), MSGPACK_SCAN_MORE, 1},
	{BYTES("\xcc\xff"), MSGPACK_SCAN_VALUE, 2},
	{BYTES("\xcd\xff\xff"), MSGPACK_SCAN_VALUE, 3},
	{BYTES("\xce....."), MSGPACK_SCAN_VALUE, 5},
	{BYTES("\xcf........."), MSGPACK_SCAN_VALUE, 9},
	{BYTES("\xd0.."), MSGPACK_SCAN_VALUE, 2},
	{BYTES("\xd1..."), MSGPACK_SCAN_VALUE, 3},
	{BYTES("\xd2....."), MSGPACK_SCAN_VALUE, 5},
	{BYTES("\xd3......."), MSGPACK_SCAN_MORE, 8},
	{BYTES("\xca...."), MSGPACK_SCAN_VALUE, 5},
	{BYTES("\xcb........"), MSGPACK_SCAN_VALUE, 9},
	{BYTES("\xa0"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\xa3"
	       "ab"),
	 MSGPACK_SCAN_MORE, 3},
	{BYTES("\xa3"
	       "abcd"),
	 MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xd9"), MSGPACK_SCAN_MORE, 0},
	{BYTES("\xd9\x02"
	       "abc"),
	 MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xda\x00"), MSGPACK_SCAN_MORE, 0},
	{BYTES("\xda\x00\x01"
	       "ab"),
	 MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xdb\x00\x00\x00\x01"
	       "ab"),
	 MSGPACK_SCAN_VALUE, 6},
	{BYTES("\xc4\x01"
	       "ab"),
	 MSGPACK_SCAN_VALUE, 3},
	{BYTES("\xc5\x00\x01"
	       "ab"),
	 MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xc6\x00\x00\x00\x01"
	       "ab"),
	 MSGPACK_SCAN_VALUE, 6},
	{BYTES("\xd4\x01."), MSGPACK_SCAN_VALUE, 3},
	{BYTES("\xd5\x01.."), MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xd6\x01...."), MSGPACK_SCAN_VALUE, 6},
	{BYTES("\xd7\x01........"), MSGPACK_SCAN_VALUE, 10},
	{BYTES("\xd8\x01................"), MSGPACK_SCAN_VALUE, 18},
	{BYTES("\xc7\x01\x05"
	       "a"),
	 MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xc8\x00\x01\x05"
	       "a"),
	 MSGPACK_SCAN_VALUE, 5},
	{BYTES("\xc9\x00\x00\x00\x01\x05"
	       "a"),
	 MSGPACK_SCAN_VALUE, 7},
	{BYTES("\xc7\x01\x05"), MSGPACK_SCAN_MORE, 3},
	{BYTES("\x90\x01"), MSGPACK_SCAN_VALUE, 1},
	{BYTES("\x92\x01"), MSGPACK_SCAN_MORE, 2},
	{BYTES("\x92\x01\x02\x03"), MSGPACK_SCAN_VALUE, 3},
	{BYTES("\x92\x92\x01\xa1"
	       "a\x90\x05"),
	 MSGPACK_SCAN_VALUE, 6},
	{BYTES("\x82\x01\x02\x03"), MSGPACK_SCAN_MORE, 4},
	{BYTES("\x82\x01\x02\x03\x80\x04"), MSGPACK_SCAN_VALUE, 5},
	{BYTES("\xdc\x00\x01\x07"), MSGPACK_SCAN_VALUE, 4},
	{BYTES("\xdd\x00\x00\x00\x01\x07"), MSGPACK_SCAN_VALUE, 6},
	{BYTES("\xde\x00\x01\x07\x08"), MSGPACK_SCAN_VALUE, 5},
	{BYTES("\xdf\x00\x00\x00\x01\x07\x08"), MSGPACK_SCAN_VALUE, 7},
	{BYTES("\x92\x01\xc1"), MSGPACK_SCAN_INVALID, 2},
};

static void each_kind_of_value_ends_where_it_ends(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		size_t offset;
		enum msgpack_scan outcome =
			scan_once(kinds[i].bytes, kinds[i].size, 64, 4, &offset);

		if (outcome != kinds[i].outcome || offset != kinds[i].offset)
			fail_msg("case %zu: outcome %d at %zu, wanted %d at %zu", i, (int)outcome,
				 offset, (int)kinds[i].outcome, kinds[i].offset);
	}
}

static void depth_is_bounded(void **state)
{
	size_t offset;

	(void)state;
	assert_int_equal(scan_once(BYTES("\x01"), 64, 0, &offset), MSGPACK_SCAN_VALUE);
	assert_int_equal(scan_once(BYTES("\x90"), 64, 0, &offset), MSGPACK_SCAN_TOO_DEEP);
	assert_int_equal(scan_once(BYTES("\x91\x01"), 64, 1, &offset), MSGPACK_SCAN_VALUE);
	assert_int_equal(scan_once(BYTES("\x91\x91\x01"), 64, 1, &offset), MSGPACK_SCAN_TOO_DEEP);
	assert_int_equal(scan_once(BYTES("\x91\x90"), 64, 1, &offset), MSGPACK_SCAN_TOO_DEEP);
	assert_int_equal(scan_once(BYTES("\x91\x81\x01\x02"), 64, 2, &offset), MSGPACK_SCAN_VALUE);
	/* Known from the first byte, before the count has arrived. */
	assert_int_equal(scan_once(BYTES("\x91\xdd"), 64, 1, &offset), MSGPACK_SCAN_TOO_DEEP);
	/* Side by side is not deep. */
	assert_int_equal(scan_once(BYTES("\x93\x90\x91\x01\x90"), 64, 2, &offset),
			 MSGPACK_SCAN_VALUE);
}

static void the_deepest_level_allowed_can_be_used(void **state)
{
	uint8_t bytes[LIMIT_DEPTH + 2];
	size_t offset;

	(void)state;
	memset(bytes, 0x91, sizeof bytes);
	bytes[LIMIT_DEPTH] = 0x01;
	assert_int_equal(scan_once((char *)bytes, LIMIT_DEPTH + 1, 64, LIMIT_DEPTH, &offset),
			 MSGPACK_SCAN_VALUE);
	bytes[LIMIT_DEPTH] = 0x91;
	assert_int_equal(scan_once((char *)bytes, sizeof bytes, 64, LIMIT_DEPTH, &offset),
			 MSGPACK_SCAN_TOO_DEEP);
}

static void lengths_that_lie_are_found_at_once(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		size_t max;
		enum msgpack_scan outcome;
	} cases[] = {
		{BYTES(""), 0, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\x01"), 1, MSGPACK_SCAN_VALUE},
		{BYTES("\xa3"), 4, MSGPACK_SCAN_MORE},
		{BYTES("\xa3"), 3, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xcf"), 8, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xcf"), 9, MSGPACK_SCAN_MORE},
		{BYTES("\xdb\xff\xff\xff\xff"), 16 * MIB, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xdd\xff\xff\xff\xff"), 16 * MIB, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xdf\xff\xff\xff\xff"), 16 * MIB, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xdd\xff\xff\xff\xff"), SIZE_MAX, MSGPACK_SCAN_MORE},
		{BYTES("\x93"), 3, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\x93"), 4, MSGPACK_SCAN_MORE},
		{BYTES("\x93\xa1"), 4, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\x93\xa1"), 5, MSGPACK_SCAN_MORE},
		{BYTES("\x82"), 4, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\x82"), 5, MSGPACK_SCAN_MORE},
		/* The header's own bytes count before they have arrived. */
		{BYTES("\xdd"), 4, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xdd"), 5, MSGPACK_SCAN_MORE},
		{BYTES("\xc9"), 5, MSGPACK_SCAN_TOO_LONG},
		{BYTES("\xc9"), 6, MSGPACK_SCAN_MORE},
		/* Levels add up: 3 × 2 missing values and 4 headers. */
		{BYTES("\x93\x92\x01\x92\x92"), 10, MSGPACK_SCAN_MORE},
		{BYTES("\x93\x92\x01\x92\x92"), 7, MSGPACK_SCAN_TOO_LONG},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		size_t offset;
		enum msgpack_scan outcome =
			scan_once(cases[i].bytes, cases[i].size, cases[i].max, 4, &offset);

		if (outcome != cases[i].outcome)
			fail_msg("case %zu: outcome %d, wanted %d", i, (int)outcome,
				 (int)cases[i].outcome);
	}
}

static void sixteen_levels_of_the_largest_counts_do_not_overflow(void **state)
{
	struct msgpack_scanner scanner;
	uint8_t bytes[5 * LIMIT_DEPTH];

	(void)state;
	memset(bytes, 0xff, sizeof bytes);
	for (size_t i = 0; i < sizeof bytes; i += 5)
		bytes[i] = 0xdf;
	msgpack_scanner_init(&scanner, SIZE_MAX, LIMIT_DEPTH);
	assert_int_equal(msgpack_scan(&scanner, bytes, sizeof bytes), MSGPACK_SCAN_MORE);
	assert_true(scanner.missing ==
		    LIMIT_DEPTH * (UINT64_C(2) * UINT32_MAX) - (LIMIT_DEPTH - 1));
}

/* ---- against a model: a recursive parser of whole values, written from the specification ---- */

struct model {
	const uint8_t *at;
	const uint8_t *end;
	uint32_t depth_max;
};

static uint64_t model_number(struct model *model, size_t width)
{
	uint64_t number = 0;

	for (size_t i = 0; i < width; i++)
		number = number << 8 | (model->at < model->end ? *model->at++ : 0);
	return number;
}

static enum msgpack_scan model_bytes(struct model *model, uint64_t size)
{
	if ((uint64_t)(model->end - model->at) < size)
		return MSGPACK_SCAN_MORE;
	model->at += size;
	return MSGPACK_SCAN_VALUE;
}

static enum msgpack_scan model_value(struct model *model, uint32_t depth);

static enum msgpack_scan model_values(struct model *model, uint64_t count, uint32_t depth)
{
	enum msgpack_scan outcome = MSGPACK_SCAN_VALUE;

	for (uint64_t i = 0; i < count && outcome == MSGPACK_SCAN_VALUE; i++)
		outcome = model_value(model, depth);
	return outcome;
}

/* A number of `width` bytes that says how much follows; `each` values for each, or 0: bytes. */
static enum msgpack_scan model_counted(struct model *model, size_t width, uint64_t each,
				       uint64_t more, uint32_t depth)
{
	if (each > 0 && depth == model->depth_max)
		return MSGPACK_SCAN_TOO_DEEP;
	if ((size_t)(model->end - model->at) < width)
		return MSGPACK_SCAN_MORE;
	uint64_t number = model_number(model, width);

	return each > 0 ? model_values(model, number * each, depth + 1)
			: model_bytes(model, number + more);
}

static enum msgpack_scan model_value(struct model *model, uint32_t depth)
{
	if (model->at == model->end)
		return MSGPACK_SCAN_MORE;
	uint8_t first = *model->at++;

	if (first <= 0x7f || first >= 0xe0)
		return MSGPACK_SCAN_VALUE;
	if (first <= 0x9f && depth == model->depth_max)
		return MSGPACK_SCAN_TOO_DEEP;
	if (first <= 0x8f)
		return model_values(model, UINT64_C(2) * (first & 15), depth + 1);
	if (first <= 0x9f)
		return model_values(model, first & 15, depth + 1);
	if (first <= 0xbf)
		return model_bytes(model, first & 31);
	if (first == 0xc1)
		return MSGPACK_SCAN_INVALID;
	if (first <= 0xc3)
		return MSGPACK_SCAN_VALUE;
	if (first <= 0xc6)
		return model_counted(model, (size_t)1 << (first - 0xc4), 0, 0, depth);
	if (first <= 0xc9)
		return model_counted(model, (size_t)1 << (first - 0xc7), 0, 1, depth);
	if (first <= 0xcb)
		return model_bytes(model, first == 0xca ? 4 : 8);
	if (first <= 0xd3)
		return model_bytes(model, UINT64_C(1) << ((first - 0xcc) % 4));
	if (first <= 0xd8)
		return model_bytes(model, (UINT64_C(1) << (first - 0xd4)) + 1);
	if (first <= 0xdb)
		return model_counted(model, (size_t)1 << (first - 0xd9), 0, 0, depth);
	return model_counted(model, first % 2 == 0 ? 2 : 4, first <= 0xdd ? 1 : 2, 0, depth);
}

/* Bytes that are often well-formed: small containers, short strings, now and then anything. */
static size_t random_value_bytes(uint64_t *seed, uint8_t *bytes, size_t size)
{
	static const uint8_t firsts[] = {0x00, 0x7f, 0xe1, 0xc0, 0xc2, 0xcc, 0xcd, 0xce, 0xcf,
					 0xd0, 0xd3, 0xca, 0xcb, 0xa0, 0xa2, 0x90, 0x91, 0x92,
					 0x93, 0x80, 0x81, 0x82, 0xd4, 0xd5, 0xd8, 0xc1};
	static const uint8_t counted[] = {0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xd9,
					  0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf};
	size_t at = 0;

	while (at + 6 < size) {
		uint64_t dice = unit_random(seed);

		if (dice % 16 == 0) {
			bytes[at++] = (uint8_t)(dice >> 8);
		} else if (dice % 16 < 5) {
			uint8_t first = counted[(dice >> 8) % COUNT_OF(counted)];
			size_t width = (size_t)1 << (first >= 0xdc   ? 1 + first % 2
						     : first >= 0xd9 ? first - 0xd9
								     : (first - 0xc4) % 3);

			bytes[at] = first;
			memset(bytes + at + 1, 0, width);
			bytes[at + width] = (uint8_t)((dice >> 16) % 4);
			at += 1 + width;
		} else {
			bytes[at++] = firsts[(dice >> 8) % COUNT_OF(firsts)];
		}
	}
	return at;
}

/* The scanner's outcome when the bytes arrive in random pieces, checked at each of them. */
static enum msgpack_scan scan_in_pieces(uint64_t *seed, struct span bytes, uint32_t piece_max,
					uint32_t depth_max, size_t *offset)
{
	struct msgpack_scanner scanner;
	enum msgpack_scan outcome = MSGPACK_SCAN_MORE;
	size_t arrived = 0;

	msgpack_scanner_init(&scanner, SIZE_MAX, depth_max);
	do {
		arrived += (size_t)(unit_random(seed) % (piece_max + 1));
		if (arrived > bytes.size)
			arrived = bytes.size;
		struct span exact = unit_exact(bytes.data, arrived);

		outcome = msgpack_scan(&scanner, exact.data, exact.size);
		assert_true(scanner.offset <= arrived);
		unit_free_exact(exact);
	} while (outcome == MSGPACK_SCAN_MORE && arrived < bytes.size);
	*offset = scanner.offset;
	return outcome;
}

/* What the model says of the bytes, and the scanner, too. */
static enum msgpack_scan agree(uint64_t *seed, struct span bytes, uint32_t piece_max,
			       uint32_t depth_max, int round)
{
	struct model model = {
		.at = bytes.data, .end = bytes.data + bytes.size, .depth_max = depth_max};
	enum msgpack_scan wanted = model_value(&model, 0);
	size_t offset;
	enum msgpack_scan outcome = scan_in_pieces(seed, bytes, piece_max, depth_max, &offset);

	if (outcome != wanted)
		fail_msg("round %d: outcome %d, the model says %d", round, (int)outcome,
			 (int)wanted);
	if (wanted == MSGPACK_SCAN_VALUE && offset != (size_t)(model.at - bytes.data))
		fail_msg("round %d: ends at %zu, the model says %zu", round, offset,
			 (size_t)(model.at - bytes.data));
	return outcome;
}

static void the_scanner_agrees_with_the_model_however_bytes_arrive(void **state)
{
	uint64_t seed = 1;
	size_t seen[5] = {0};

	(void)state;
	for (int round = 0; round < 50000; round++) {
		uint8_t bytes[64];
		size_t size = random_value_bytes(&seed, bytes, 8 + unit_random(&seed) % 56);
		uint32_t piece_max = round % 4 == 0 ? 64 : 3;
		enum msgpack_scan outcome = agree(&seed, span_of(bytes, size), piece_max,
						  (uint32_t)(unit_random(&seed) % 5), round);

		seen[outcome]++;
	}
	/* The random bytes are no test of what they never produce. */
	assert_true(seen[MSGPACK_SCAN_VALUE] > 1000 && seen[MSGPACK_SCAN_MORE] > 1000);
	assert_true(seen[MSGPACK_SCAN_INVALID] > 100 && seen[MSGPACK_SCAN_TOO_DEEP] > 1000);
}

/* An event as nodes send it: position, version, time, id, stream, type, data, metadata, tags. */
static void write_event(struct buffer *into, uint64_t dice)
{
	static const uint8_t number[9] = {0xcf}, negative[9] = {0xd3}, id[18] = {0xc4, 16};
	uint32_t tags = dice % 4;

	msgpack_write_array(into, 9);
	buffer_append(into, number, sizeof number);
	buffer_append(into, number, sizeof number);
	buffer_append(into, dice >> 8 & 1 ? negative : number, sizeof number);
	buffer_append(into, id, sizeof id);
	msgpack_write_string(into, "order-1");
	msgpack_write_string(into, "a type of more than thirty-one bytes");
	msgpack_write_bin(into, span_of(id, dice >> 9 & 15));
	msgpack_write_bin(into, span_of(id, dice >> 13 & 1));
	msgpack_write_array(into, tags);
	for (uint32_t i = 0; i < tags; i++)
		msgpack_write_string(into, "a:b");
}

/* Whole, or with a byte that is another one. */
static void events_are_scanned_like_anything_else(void **state)
{
	struct buffer bytes = {0};
	uint64_t seed = 3;
	size_t seen[5] = {0};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint32_t events = 1 + (uint32_t)(unit_random(&seed) % 4);

		buffer_clear(&bytes);
		msgpack_write_array(&bytes, events);
		for (uint32_t i = 0; i < events; i++)
			write_event(&bytes, unit_random(&seed));
		if (round % 2 == 0)
			bytes.data[unit_random(&seed) % bytes.size] = (uint8_t)unit_random(&seed);
		seen[agree(&seed, buffer_span(&bytes), round % 3 == 0 ? 7 : 400,
			   (uint32_t)(round % 5), round)]++;
	}
	assert_true(seen[MSGPACK_SCAN_VALUE] > 1000 && seen[MSGPACK_SCAN_MORE] > 100);
	assert_true(seen[MSGPACK_SCAN_TOO_DEEP] > 1000);
	buffer_close(&bytes);
}

/* The shortest well-formed end that can follow is tried by the model: nil for each missing value.
 */
static bool could_end_within(struct span bytes, size_t max)
{
	uint8_t padded[256];

	memset(padded, 0xc0, sizeof padded);
	memcpy(padded, bytes.data, bytes.size);
	struct model model = {.at = padded, .end = padded + sizeof padded, .depth_max = 16};

	/* Whole headers only: 0xc0 as the rest of a length would be a long one. */
	return model_value(&model, 0) == MSGPACK_SCAN_VALUE && (size_t)(model.at - padded) <= max;
}

static void too_long_is_said_exactly_when_no_end_can_fit(void **state)
{
	uint64_t seed = 2;
	size_t too_long = 0;

	(void)state;
	for (int round = 0; round < 50000; round++) {
		uint8_t bytes[40];
		size_t size = random_value_bytes(&seed, bytes, 8 + unit_random(&seed) % 32);
		size_t max = (size_t)(unit_random(&seed) % 40);
		struct msgpack_scanner scanner;

		msgpack_scanner_init(&scanner, max, 16);
		enum msgpack_scan outcome = msgpack_scan(&scanner, bytes, size);
		bool whole_headers = scanner.offset == size || outcome == MSGPACK_SCAN_VALUE;

		if (outcome == MSGPACK_SCAN_TOO_LONG) {
			assert_false(could_end_within(span_of(bytes, size), max));
			too_long++;
		} else if (outcome == MSGPACK_SCAN_MORE && whole_headers) {
			assert_true(could_end_within(span_of(bytes, size), max));
		} else if (outcome == MSGPACK_SCAN_VALUE) {
			assert_true(scanner.offset <= max);
		}
	}
	assert_true(too_long > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_value_ends_where_it_ends),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(the_deepest_level_allowed_can_be_used),
		cmocka_unit_test(lengths_that_lie_are_found_at_once),
		cmocka_unit_test(sixteen_levels_of_the_largest_counts_do_not_overflow),
		cmocka_unit_test(the_scanner_agrees_with_the_model_however_bytes_arrive),
		cmocka_unit_test(events_are_scanned_like_anything_else),
		cmocka_unit_test(too_long_is_said_exactly_when_no_end_can_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
