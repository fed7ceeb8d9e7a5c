/* Rows that append. Nothing is allocated for each event: operations are slots that are used again. */
#include "client/tool_bench.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include <inttypes.h>

#define IN_FLIGHT_MAX 256u
#define BATCH_EVENTS  100u

struct load;

struct operation {
	struct load *load;
	struct operation *next_free;
	uint32_t stream;
	int64_t begin_ns;
};

struct load {
	struct bench *bench;
	struct bench_row *row;
	struct annal_client *client;
	struct bench_clock clock;
	uint32_t events_each;
	struct operation operations[IN_FLIGHT_MAX];
	struct operation *free;
	uint64_t *versions; /* of each stream; UINT64_MAX while an append is on its way */
	uint32_t streams, next_stream;
	struct annal_new_event events[BATCH_EVENTS];
	uint32_t data_offset; /* in bench->much_data, of the next event */
	char problem[256];    /* the first one */
};

static void append_done(void *arg, enum annal_code code, const struct annal_append_result *result,
			const struct annal_error *error)
{
	struct operation *operation = arg;
	struct load *load = operation->load;
	int64_t now = clock_monotonic_ns();

	operation->next_free = load->free;
	load->free = operation;
	if (code != ANNAL_OK) {
		load->row->errors++; /* its stream stays out: its version is not known */
		if (load->problem[0] == '\0')
			snprintf(load->problem, sizeof load->problem, "%s: %.200s",
				 annal_code_name(code), error->message);
		return;
	}
	load->versions[operation->stream] = result->version;
	histogram_add(&load->row->latency, (uint64_t)(now - operation->begin_ns));
	bench_clock_count(&load->clock, now, load->events_each);
}

/* The next stream that no append is on its way to. */
static uint32_t idle_stream(struct load *load)
{
	uint32_t stream = load->next_stream;

	while (load->versions[stream] == UINT64_MAX)
		stream = (stream + 1) % load->streams;
	/* A stride that shares no divisor with most counts: streams take turns, out of order. */
	load->next_stream = (uint32_t)((stream + UINT64_C(7919)) % load->streams);
	return stream;
}

/* No two events near each other have the same data. */
static void next_data(struct load *load)
{
	for (uint32_t i = 0; i < load->events_each; i++) {
		load->events[i].data.data = load->bench->much_data + load->data_offset;
		load->data_offset += BENCH_DATA_BYTES;
		if (load->data_offset > BENCH_MUCH_BYTES - BENCH_DATA_BYTES)
			load->data_offset = 0;
	}
}

static bool start_append(struct load *load)
{
	struct operation *operation = load->free;
	char name[64];

	next_data(load);
	load->free = operation->next_free;
	operation->stream = idle_stream(load);
	bench_stream_name(load->bench, load->events_each > 1 ? "batch" : "single",
			  operation->stream, name);
	const struct annal_write write = {
		.stream = name,
		.expect = {ANNAL_EXPECT_VERSION, load->versions[operation->stream]},
		.events = load->events,
		.events_count = load->events_each};
	const struct annal_append append = {.writes = &write,
					    .writes_count = 1,
					    .conditions = load->bench->condition,
					    .conditions_count = load->bench->condition != NULL};

	load->versions[operation->stream] = UINT64_MAX;
	operation->begin_ns = clock_monotonic_ns();
	return annal_append_async(load->client, &append, append_done, operation) == ANNAL_OK;
}

static bool drive(struct load *load)
{
	bool good = true;

	bench_clock_begin(&load->clock, load->bench->options->seconds);
	while (good && bench_clock_runs(&load->clock) && load->row->errors < load->streams / 2) {
		while (good && load->free != NULL)
			good = start_append(load);
		annal_poll(load->client, 100);
	}
	bench_clock_end(&load->clock, load->row);
	while (annal_in_flight(load->client) > 0)
		annal_poll(load->client, 100);
	if (load->problem[0] != '\0')
		tool_complain("bench: the first failure: %s", load->problem);
	return good && load->row->events > 0;
}

static bool run_load(struct bench *bench, struct bench_row *row, uint32_t events_each,
		     uint32_t streams, uint64_t *versions)
{
	struct load *load = memory_zeroed(1, sizeof *load);
	bool good = false;

	ASSERT(bench->parameter > 0 && bench->parameter <= IN_FLIGHT_MAX);
	*load = (struct load){.bench = bench,
			      .row = row,
			      .events_each = events_each,
			      .versions = versions,
			      .streams = streams};
	for (uint32_t i = 0; i < bench->parameter; i++) {
		load->operations[i] = (struct operation){.load = load, .next_free = load->free};
		load->free = &load->operations[i];
	}
	for (uint32_t i = 0; i < events_each; i++)
		load->events[i] =
			(struct annal_new_event){.type = "Measured", .data.size = BENCH_DATA_BYTES};
	load->client = bench_client(bench, "");
	if (load->client != NULL)
		good = drive(load);
	annal_client_free(load->client);
	memory_free(load);
	return good;
}

/* Rows follow each other on the same streams: each has a generation of its own. */
bool bench_append_single(struct bench *bench, struct bench_row *row)
{
	uint32_t streams = (uint32_t)bench->options->streams;
	uint64_t *versions = memory_zeroed(streams, sizeof versions[0]);
	struct bench own = *bench;

	snprintf(own.tag, sizeof own.tag, "%.8s-%u", bench->tag, bench->parameter);
	bool good = run_load(&own, row, 1, streams, versions);

	memory_free(versions);
	return good;
}

bool bench_append_more(const struct bench *bench, uint32_t in_flight,
		       const struct annal_condition *condition, struct bench_row *row)
{
	struct bench own = *bench;
	struct bench_row *part = memory_zeroed(1, sizeof *part);

	snprintf(own.tag, sizeof own.tag, "%08" PRIx64, random_u64() & 0xffffffff);
	own.parameter = in_flight;
	own.condition = condition;
	bool good = bench_append_single(&own, part);

	row->events += part->events;
	row->seconds += part->seconds;
	row->errors += part->errors;
	histogram_merge(&row->latency, &part->latency);
	memory_free(part);
	return good;
}

bool bench_append_batch(struct bench *bench, struct bench_row *row)
{
	uint32_t streams = (uint32_t)bench->options->streams;
	uint64_t *versions = memory_zeroed(streams, sizeof versions[0]);
	bool good = run_load(bench, row, BATCH_EVENTS, streams, versions);

	memory_free(versions);
	return good;
}

bool bench_import(struct bench *bench, struct bench_row *row)
{
	struct import_summary summary;

	enum tool_exit outcome = tool_import_file(bench->tool, bench->options->file, &summary);

	row->events = summary.stored + summary.duplicates;
	row->seconds = summary.seconds;
	snprintf(row->note, sizeof row->note,
		 "%" PRIu64 " new, %" PRIu64 " already there, longest gap %.3f s", summary.stored,
		 summary.duplicates, summary.longest_gap_seconds);
	return outcome == TOOL_DONE;
}
