/* A log-linear histogram of durations: 128 steps for each power of two, so an error under 1 %. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_BUCKETS (58 * 128)

struct histogram {
	uint64_t count;
	uint64_t sum;
	uint64_t max;
	uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The value below which the share `quantile` (0…1) lies; 0 when empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double quantile);

#endif
