/* The payload of a raft entry: what was sealed opens, and every single damaged bit is found. */
#include "tests/unit/unit.h"

#include "raft/payload.h"

#include <errno.h>
#include <string.h>

#define BODY "a command"

static size_t seal(uint8_t *into, uint64_t index, uint64_t term)
{
	memcpy(into + PAYLOAD_HEADER_BYTES, BODY, strlen(BODY));
	payload_seal(into, strlen(BODY), index, term);
	return payload_bytes(strlen(BODY));
}

static void sizes_are_multiples_of_8(void **state)
{
	(void)state;
	for (size_t size = 0; size < 64; size++) {
		assert_int_equal(payload_bytes(size) % 8, 0);
		assert_true(payload_bytes(size) >= PAYLOAD_HEADER_BYTES + size);
		assert_true(payload_bytes(size) < PAYLOAD_HEADER_BYTES + size + 8);
	}
}

static void sealed_payload_opens(void **state)
{
	uint8_t bytes[64];
	struct payload payload;
	struct error error;
	size_t size = seal(bytes, 7, 3);

	(void)state;
	struct span exact = unit_exact(bytes, size);

	assert_int_equal(payload_open(exact, 7, &payload, &error), 0);
	assert_int_equal(payload.index, 7);
	assert_int_equal(payload.term, 3);
	assert_true(span_equal_string(payload.body, BODY));
	assert_int_equal(payload_open(exact, 0, &payload, &error), 0);
	unit_free_exact(exact);
}

static void another_index_is_refused(void **state)
{
	uint8_t bytes[64];
	struct payload payload;
	struct error error;
	size_t size = seal(bytes, 7, 3);

	(void)state;
	assert_int_equal(payload_open(span_of(bytes, size), 8, &payload, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "8"));
}

static void every_flipped_bit_is_found(void **state)
{
	uint8_t bytes[64];
	struct payload payload;
	struct error error;
	size_t size = seal(bytes, 7, 3);

	(void)state;
	for (size_t bit = 0; bit < size * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(payload_open(span_of(bytes, size), 7, &payload, &error), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void every_shorter_one_is_refused(void **state)
{
	uint8_t bytes[64];
	struct payload payload;
	struct error error;
	size_t size = seal(bytes, 7, 3);

	(void)state;
	for (size_t cut = 0; cut < size; cut++) {
		struct span exact = unit_exact(bytes, cut);

		assert_int_equal(payload_open(exact, 7, &payload, &error), -EBADMSG);
		unit_free_exact(exact);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_multiples_of_8),
		cmocka_unit_test(sealed_payload_opens),
		cmocka_unit_test(another_index_is_refused),
		cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(every_shorter_one_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
