#include "base/buffer.h"
#include "tests/unit/unit.h"

static void an_empty_buffer_holds_nothing(void **state)
{
	struct buffer buffer;
	size_t size = 9;

	(void)state;
	buffer_init(&buffer);
	buffer_append(&buffer, NULL, 0);
	buffer_consume(&buffer, 0);
	assert_null(buffer.data);
	assert_null(buffer_take(&buffer, &size));
	assert_int_equal(size, 0);
	assert_non_null(buffer_reserve(&buffer, 0));
	buffer_close(&buffer);
	assert_null(buffer.data);
	assert_int_equal(buffer.capacity, 0);
}

static void what_is_taken_belongs_to_the_taker(void **state)
{
	struct buffer buffer;
	size_t size;

	(void)state;
	buffer_init(&buffer);
	buffer_append_span(&buffer, span_of_string("abc"));
	uint8_t *taken = buffer_take(&buffer, &size);

	assert_int_equal(size, 3);
	assert_memory_equal(taken, "abc", 3);
	assert_null(buffer.data);
	buffer_append(&buffer, "d", 1);
	assert_memory_equal(taken, "abc", 3);
	memory_free(taken);
	buffer_close(&buffer);
}

static void growth_doubles(void **state)
{
	struct buffer buffer;
	size_t moves = 0, capacity = 0;

	(void)state;
	buffer_init(&buffer);
	for (int i = 0; i < 1 << 16; i++) {
		buffer_append(&buffer, "x", 1);
		moves += buffer.capacity != capacity;
		capacity = buffer.capacity;
	}
	assert_true(moves <= 16);
	buffer_clear(&buffer);
	assert_int_equal(buffer.size, 0);
	assert_int_equal(buffer.capacity, capacity);
	buffer_close(&buffer);
}

static void appends_and_consumes_agree_with_a_model(void **state)
{
	static uint8_t model[1 << 20];
	size_t first = 0, last = 0;
	struct buffer buffer;
	uint64_t seed = 5;

	(void)state;
	buffer_init(&buffer);
	while (last + 300 < sizeof model) {
		size_t more = (size_t)(unit_random(&seed) % 300);
		uint8_t *room = buffer_reserve(&buffer, more);

		for (size_t i = 0; i < more; i++)
			model[last + i] = (uint8_t)unit_random(&seed);
		if (more % 2 == 0) {
			memcpy(room, model + last, more);
			buffer.size += more;
		} else {
			buffer_append(&buffer, model + last, more);
		}
		last += more;
		size_t less = (size_t)(unit_random(&seed) % (last - first + 1));

		if (less < 400) {
			buffer_consume(&buffer, less);
			first += less;
		}
		assert_true(span_equal(buffer_span(&buffer), span_of(model + first, last - first)));
	}
	buffer_close(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_buffer_holds_nothing),
		cmocka_unit_test(what_is_taken_belongs_to_the_taker),
		cmocka_unit_test(growth_doubles),
		cmocka_unit_test(appends_and_consumes_agree_with_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
