/* The cache of stream facts: what it knows is the latest, and it stays within its bytes. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "storage/stream_cache.h"

#include <stdio.h>

static struct span name_of(uint64_t number, char text[32])
{
	snprintf(text, 32, "stream-%llu", (unsigned long long)number);
	return span_of_string(text);
}

static void what_is_known_is_the_latest(void **state)
{
	static uint64_t versions[3000];
	struct stream_cache cache;
	uint64_t seed = 1, hits = 0;
	char text[32];

	(void)state;
	stream_cache_init(&cache, 64 * KIB);
	for (uint64_t i = 0; i < 200000; i++) {
		uint64_t number = unit_random(&seed) % (unit_random(&seed) % 3000 + 1);
		struct stream_facts facts = {.version = versions[number] + 1};
		struct span name = name_of(number, text);

		if (unit_random(&seed) % 2 == 0) {
			versions[number]++;
			stream_cache_put(&cache, name, &facts);
		} else if (stream_cache_get(&cache, name, &facts)) {
			assert_int_equal(facts.version, versions[number]);
			hits++;
		}
		assert_true(map_bytes(&cache.names[0]) + map_bytes(&cache.names[1]) +
				    cache.facts[0].capacity + cache.facts[1].capacity <=
			    128 * KIB); /* the arrays double: it is checked after they have grown */
	}
	assert_true(hits > 20000);
	stream_cache_close(&cache);
}

static void a_stream_in_use_is_not_forgotten(void **state)
{
	struct stream_facts facts = {.version = 7};
	struct stream_cache cache;
	char text[32];

	(void)state;
	stream_cache_init(&cache, 64 * KIB);
	stream_cache_put(&cache, span_of_string("hot"), &facts);
	for (uint64_t i = 0; i < 100000; i++) {
		stream_cache_put(&cache, name_of(i, text), &facts);
		assert_true(stream_cache_get(&cache, span_of_string("hot"), &facts));
	}
	assert_false(stream_cache_get(&cache, name_of(0, text), &facts));
	stream_cache_close(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_known_is_the_latest),
		cmocka_unit_test(a_stream_in_use_is_not_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
