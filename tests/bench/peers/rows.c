/* Rows with a closed loop: as many operations on their way as asked for, a new one for each that ended. */
#include "base/clock.h"
#include "base/memory.h"
#include "tests/bench/peers/report.h"
#include "tests/bench/peers/store.h"

#define DRAIN_MS       15000
#define SETTLE_SECONDS 30
#define FILL_SECONDS   600
#define POLL_US        1000

static void run_for(double seconds)
{
	int64_t end = clock_monotonic_ns() + (int64_t)(seconds * 1e9);

	while (clock_monotonic_ns() < end) {
		work_begin_all();
		store_poll(POLL_US);
	}
}

/* Largest difference between the parts of the row, in percent of their mean. */
static double spread_percent(void)
{
	uint64_t least = work.slices[0], most = work.slices[0], sum = 0;

	for (size_t i = 0; i < WORK_SLICES; i++) {
		least = work.slices[i] < least ? work.slices[i] : least;
		most = work.slices[i] > most ? work.slices[i] : most;
		sum += work.slices[i];
	}
	return sum == 0 ? 0 : (double)(most - least) * WORK_SLICES * 100 / (double)sum;
}

static void report_loop(const struct meter *before, const struct meter *after)
{
	double seconds = (double)(after->at_ns - before->at_ns) / 1e9;

	report_begin();
	report_number("seconds", seconds);
	report_number("events_per_s", (double)work.events_done / seconds);
	report_number("operations_per_s", (double)work.operations_done / seconds);
	report_number("spread_percent", spread_percent());
	report_latency("", &work.latency);
	report_cost(before, after, work.events_done);
}

static void measure(struct meter *before, struct meter *after)
{
	run_for(work.options.warm_up);
	meter_read(before);
	work.measure_begin_ns = clock_monotonic_ns();
	work.measuring = true;
	run_for(work.options.seconds);
	work.measuring = false;
	meter_read(after);
	work_drain(DRAIN_MS);
	if (work.events_done == 0)
		work_fail("nothing was done in %.0f seconds", work.options.seconds);
}

void row_append(void)
{
	struct meter start, before, after, settled;

	store_flush(); /* what rows before this one left behind is theirs */
	meter_settle(SETTLE_SECONDS);
	meter_read(&start);
	measure(&before, &after);
	store_flush();
	meter_settle(SETTLE_SECONDS);
	meter_read(&settled);
	report_loop(&before, &after);
	if (settled.written > start.written)
		report_number("written_bytes_per_event",
			      (double)(settled.written - start.written) / (double)work.events_all);
	report_number("dirtied_bytes_per_event",
		      (double)(settled.dirtied - start.dirtied) / (double)work.events_all);
	report_end();
}

void row_read_stream(void)
{
	struct meter before, after;

	work.reads = true;
	measure(&before, &after);
	report_loop(&before, &after);
	report_end();
}

void row_fill(void)
{
	int64_t begin = clock_monotonic_ns();

	work.each_once = true;
	while (work.next_stream < work.options.streams || work_busy() > 0) {
		work_begin_all();
		store_poll(POLL_US);
		if (work.conflicts + work.failures > 0)
			work_fail("the store refuses to be filled: %s", work.complaint);
		if (clock_monotonic_ns() - begin > FILL_SECONDS * INT64_C(1000000000))
			work_fail("%u of %u streams filled after %d seconds", work.next_stream,
				  work.options.streams, FILL_SECONDS);
	}
	store_flush();
	meter_settle(SETTLE_SECONDS);
	report_begin();
	report_number("events", (double)work.events_all);
	report_end();
}

/* Everything, again and again until the time is over. */
void row_read_all(void)
{
	struct meter before, after;
	int64_t end = clock_monotonic_ns() + (int64_t)(work.options.seconds * 1e9);
	uint64_t passes = 0;

	meter_read(&before);
	do {
		uint64_t seen = work.seen;

		store_read_all(STORE_FOLLOWER);
		passes++;
		if (work.options.expect > 0 && work.seen - seen != work.options.expect)
			work_fail("read-all found %llu events of %llu",
				  (unsigned long long)(work.seen - seen),
				  (unsigned long long)work.options.expect);
	} while (clock_monotonic_ns() < end);
	meter_read(&after);
	double seconds = (double)(after.at_ns - before.at_ns) / 1e9;

	report_begin();
	report_number("seconds", seconds);
	report_number("passes", (double)passes);
	report_number("events_per_s", (double)work.seen / seconds);
	report_number("data_mb_per_s", (double)work.seen_bytes / 1e6 / seconds);
	report_cost(&before, &after, work.seen);
	report_end();
}
