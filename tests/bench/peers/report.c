#include "tests/bench/peers/report.h"

#include "tests/bench/peers/store.h"

#include <inttypes.h>
#include <stdio.h>

void report_begin(void)
{
	printf("{\"store\":\"%s\",\"row\":\"%s\",\"in_flight\":%u,\"batch\":%u,\"size\":%u",
	       store_name, work.options.row, work.options.in_flight, work.options.batch,
	       work.options.size);
}

void report_number(const char *name, double value)
{
	printf(",\"%s\":%.6g", name, value);
}

void report_latency(const char *prefix, const struct histogram *histogram)
{
	static const struct {
		const char *name;
		double quantile;
	} wanted[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

	if (histogram->count == 0)
		return;
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		printf(",\"%s%s_us\":%.6g", prefix, wanted[i].name,
		       (double)histogram_quantile(histogram, wanted[i].quantile) / 1e3);
	printf(",\"%smax_us\":%.6g", prefix, (double)histogram->max / 1e3);
}

void report_cost(const struct meter *before, const struct meter *after, uint64_t events)
{
	double seconds = (double)(after->at_ns - before->at_ns) / 1e9;
	double servers = after->servers_s - before->servers_s;
	double client = after->client_s - before->client_s;
	double busy = after->busy_s - before->busy_s;

	if (events > 0) {
		report_number("servers_cpu_s_per_million", servers * 1e6 / (double)events);
		report_number("client_cpu_s_per_million", client * 1e6 / (double)events);
	}
	report_number("servers_cores", servers / seconds);
	report_number("client_cores", client / seconds);
	report_number("other_cores", (busy - servers - client) / seconds);
	report_number("steal_cores", (after->steal_s - before->steal_s) / seconds);
}

void report_end(void)
{
	printf(",\"conflicts\":%" PRIu64 ",\"failures\":%" PRIu64 ",\"expired\":%" PRIu64,
	       work.conflicts, work.failures, work.expired);
	if (work.complaint[0] != '\0')
		printf(",\"complaint\":\"%s\"", work.complaint);
	printf("}\n");
	fflush(stdout);
}
