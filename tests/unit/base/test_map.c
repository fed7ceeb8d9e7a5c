#include "base/map.h"
#include "tests/unit/unit.h"
#include <stdio.h>

static void an_empty_map_has_no_key(void **state)
{
	struct map map;

	(void)state;
	map_init(&map);
	assert_null(map_get(&map, span_of_string("a")));
	assert_null(map_get(&map, span_of(NULL, 0)));
	assert_int_equal(map_bytes(&map), 0);
	map_clear(&map);
	map_close(&map);
}

static void a_value_is_set_once_and_then_kept(void **state)
{
	struct map map;

	(void)state;
	map_init(&map);
	uint64_t *value = map_put(&map, span_of_string("a"), 1);

	assert_int_equal(*value, 1);
	*value = 5;
	assert_int_equal(*map_put(&map, span_of_string("a"), 2), 5);
	assert_int_equal(*map_get(&map, span_of_string("a")), 5);
	assert_int_equal(map.count, 1);
	map_close(&map);
}

static void keys_are_bytes_of_any_kind(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} keys[] = {{NULL, 0}, {"\0", 1}, {"\0\0", 2}, {"a", 1}, {"a\0", 2}, {"ab", 2}};
	struct map map;

	(void)state;
	map_init(&map);
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		assert_int_equal(*map_put(&map, span_of(keys[i].bytes, keys[i].size), i), i);
	for (size_t i = 0; i < COUNT_OF(keys); i++) {
		struct span key = span_of(keys[i].bytes, keys[i].size);

		assert_int_equal(*map_get(&map, key), i);
		assert_true(span_equal(map_key(&map, &map.entries[i]), key));
	}
	map_close(&map);
}

static void clearing_forgets_all_and_keeps_the_memory(void **state)
{
	struct map map;
	size_t first_bytes = 0;

	(void)state;
	map_init(&map);
	for (int round = 0; round < 20; round++) {
		for (uint64_t i = 0; i < 1000; i++)
			map_put(&map, span_of(&i, sizeof i), i);
		size_t bytes = map_bytes(&map);

		map_clear(&map);
		assert_int_equal(map_bytes(&map), bytes);
		if (round == 0)
			first_bytes = bytes;
		assert_int_equal(bytes, first_bytes);
		for (uint64_t i = 0; i < 1000; i++)
			assert_null(map_get(&map, span_of(&i, sizeof i)));
	}
	map_close(&map);
}

#define MODEL_KEYS 4096

/* The model is an array: key number → value + 1. */
static void puts_and_gets_agree_with_a_model(void **state)
{
	static uint64_t model[MODEL_KEYS];
	static uint32_t order[MODEL_KEYS];
	uint32_t count = 0;
	uint64_t seed = 6;
	struct map map;

	(void)state;
	map_init(&map);
	for (uint64_t round = 0; round < 100000; round++) {
		uint32_t number = (uint32_t)(unit_random(&seed) % MODEL_KEYS);
		char name[32];
		int size = snprintf(name, sizeof name, "stream-%u", number);
		struct span key = span_of(name, (size_t)size);

		if (unit_random(&seed) % 2 == 0) {
			uint64_t *value = map_get(&map, key);

			assert_int_equal(value == NULL, model[number] == 0);
			if (value != NULL)
				assert_int_equal(*value, model[number] - 1);
			continue;
		}
		if (model[number] == 0) {
			model[number] = round + 1;
			order[count++] = number;
		}
		assert_int_equal(*map_put(&map, key, round), model[number] - 1);
	}
	assert_int_equal(map.count, count);
	for (uint32_t i = 0; i < count; i++) { /* in order of insertion */
		char name[32];
		int size = snprintf(name, sizeof name, "stream-%u", order[i]);

		assert_true(
			span_equal(map_key(&map, &map.entries[i]), span_of(name, (size_t)size)));
	}
	map_close(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_map_has_no_key),
		cmocka_unit_test(a_value_is_set_once_and_then_kept),
		cmocka_unit_test(keys_are_bytes_of_any_kind),
		cmocka_unit_test(clearing_forgets_all_and_keeps_the_memory),
		cmocka_unit_test(puts_and_gets_agree_with_a_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
