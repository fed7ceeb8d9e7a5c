/* The JSON object of a row, on one line of stdout. */
#ifndef TESTS_BENCH_PEERS_REPORT_H
#define TESTS_BENCH_PEERS_REPORT_H

#include "base/histogram.h"
#include "tests/bench/peers/meter.h"

void report_begin(void);
void report_number(const char *name, double value);
void report_latency(const char *prefix, const struct histogram *histogram); /* microseconds */
/* CPU time for each million events, and how busy the machine was with other things. */
void report_cost(const struct meter *before, const struct meter *after, uint64_t events);
void report_end(void);

#endif
