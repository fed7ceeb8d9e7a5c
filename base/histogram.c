/*
 * Values below 128 have a bucket each; above, the seven bits behind the highest one pick the bucket
 * within its power of two: 57 powers of 128 buckets, and the 128 small ones.
 */
#include "base/histogram.h"

#include "base/assert.h"
#include <stddef.h>

#define STEP_BITS 7
#define STEPS     (1u << STEP_BITS)

static size_t bucket_of(uint64_t value)
{
	if (value < STEPS)
		return (size_t)value;
	unsigned int shift = 63u - (unsigned int)__builtin_clzll(value) - STEP_BITS;

	return (size_t)(shift + 1) * STEPS + (size_t)((value >> shift) & (STEPS - 1));
}

/* The largest value that falls into the bucket. */
static uint64_t bucket_top(size_t bucket)
{
	if (bucket < STEPS)
		return bucket;
	unsigned int shift = (unsigned int)(bucket / STEPS) - 1;
	uint64_t bottom = (uint64_t)(STEPS + bucket % STEPS) << shift;

	return bottom + ((UINT64_C(1) << shift) - 1);
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	size_t bucket = bucket_of(value);

	ASSERT(bucket < HISTOGRAM_BUCKETS);
	histogram->bucket[bucket]++;
	histogram->count++;
	histogram->sum += value;
	if (value > histogram->max)
		histogram->max = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		into->bucket[i] += from->bucket[i];
	into->count += from->count;
	into->sum += from->sum;
	if (from->max > into->max)
		into->max = from->max;
}

uint64_t histogram_quantile(const struct histogram *histogram, double quantile)
{
	uint64_t seen = 0;

	ASSERT(quantile >= 0 && quantile <= 1);
	if (histogram->count == 0)
		return 0;
	double wanted = quantile * (double)histogram->count;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram->bucket[i];
		if (histogram->bucket[i] > 0 && (double)seen >= wanted) {
			uint64_t top = bucket_top(i);

			return top < histogram->max ? top : histogram->max;
		}
	}
	return histogram->max;
}
