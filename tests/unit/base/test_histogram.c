#include "base/histogram.h"
#include "tests/unit/unit.h"
#include <stdlib.h>

static void an_empty_histogram_says_0(void **state)
{
	static const struct histogram histogram;

	(void)state;
	assert_int_equal(histogram_quantile(&histogram, 0), 0);
	assert_int_equal(histogram_quantile(&histogram, 1), 0);
}

static void a_single_value_is_every_quantile_and_within_1_percent(void **state)
{
	uint64_t seed = 7;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		uint64_t value = unit_random(&seed) >> (unit_random(&seed) % 64);
		struct histogram *histogram = memory_zeroed(1, sizeof *histogram);

		histogram_add(histogram, value);
		histogram_add(histogram, UINT64_MAX); /* or the maximum would hide the bucket */
		uint64_t median = histogram_quantile(histogram, 0.5);

		assert_true(median >= value && median - value <= value / 100);
		assert_true(histogram->count == 2 && histogram->max == UINT64_MAX);
		memory_free(histogram);
	}
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static void quantiles_agree_with_a_sorted_array(void **state)
{
	static const double quantiles[] = {0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1};
	static struct histogram whole, half;
	static uint64_t values[10000];
	uint64_t seed = 8, sum = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(values); i++) {
		values[i] = unit_random(&seed) % 1000000;
		sum += values[i];
		histogram_add(i % 2 == 0 ? &whole : &half, values[i]);
	}
	histogram_merge(&whole, &half);
	qsort(values, COUNT_OF(values), sizeof values[0], compare);
	assert_true(whole.sum == sum && whole.count == COUNT_OF(values));
	assert_true(whole.max == values[COUNT_OF(values) - 1]);
	for (size_t i = 0; i < COUNT_OF(quantiles); i++) {
		size_t rank = (size_t)(quantiles[i] * (double)COUNT_OF(values) + 0.5);
		uint64_t wanted = values[rank > 0 ? rank - 1 : 0];
		uint64_t got = histogram_quantile(&whole, quantiles[i]);

		if (got < wanted || got - wanted > wanted / 100)
			fail_msg("quantile %g: %llu, wanted %llu", quantiles[i],
				 (unsigned long long)got, (unsigned long long)wanted);
	}
	assert_true(histogram_quantile(&whole, 1) == whole.max);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_histogram_says_0),
		cmocka_unit_test(a_single_value_is_every_quantile_and_within_1_percent),
		cmocka_unit_test(quantiles_agree_with_a_sorted_array),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
