/*
 * Operations and streams. A stream is idle, or has one operation on its way, or is lost: something of
 * it failed, so that nobody knows its version, and it is left alone.
 */
#include "tests/bench/peers/work.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/random.h"
#include "tests/bench/peers/store.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAUSE_NS (5 * INT64_C(1000000)) /* after a failure, before anything new */

enum stream_state { STREAM_IDLE, STREAM_BUSY, STREAM_LOST };

struct work work;
static uint64_t chance;

void work_fail(const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "bench-%s: ", store_name);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	if (work.complaint[0] != '\0')
		fprintf(stderr, "bench-%s: the first complaint: %s\n", store_name, work.complaint);
	exit(1);
}

void work_complain(const void *text, size_t size)
{
	if (work.complaint[0] != '\0')
		return;
	if (size > sizeof work.complaint - 1)
		size = sizeof work.complaint - 1;
	memcpy(work.complaint, text, size);
	work.complaint[size] = '\0';
	for (char *c = work.complaint; *c != '\0'; c++) /* printed inside of JSON */
		if (*c == '"' || *c == '\\' || (unsigned char)*c < 32)
			*c = '\'';
}

void work_init(const struct work_options *options)
{
	ASSERT(options->streams > 0 && options->in_flight <= WORK_OPERATIONS_MAX);
	work.options = *options;
	work.versions = memory_zeroed(options->streams, sizeof work.versions[0]);
	work.states = memory_zeroed(options->streams, sizeof work.states[0]);
	for (uint32_t i = options->in_flight; i-- > 0;) {
		work.operations[i].slot = i;
		work.free[work.free_count++] = i;
	}
	chance = random_u64() | 1;
}

static uint32_t random_stream(void)
{
	chance ^= chance << 13;
	chance ^= chance >> 7;
	chance ^= chance << 17;
	return (uint32_t)(chance % work.options.streams);
}

static uint32_t idle_stream(void)
{
	uint32_t stream = random_stream();

	if (work.lost > work.options.streams / 2)
		work_fail("half of the streams are lost: %s", work.complaint);
	while (work.states[stream] != STREAM_IDLE)
		stream = (stream + 1) % work.options.streams;
	return stream;
}

bool work_begin_one(void)
{
	if (work.free_count == 0 || (work.each_once && work.next_stream == work.options.streams))
		return false;
	struct operation *operation = &work.operations[work.free[--work.free_count]];
	uint32_t stream = work.each_once ? work.next_stream++ : idle_stream();

	work.states[stream] = STREAM_BUSY;
	operation->stream = work.options.first_stream + stream;
	operation->version = work.versions[stream];
	operation->events = work.options.batch;
	operation->busy = true;
	operation->begin_ns = clock_monotonic_ns();
	if (work.reads)
		store_read(operation);
	else
		store_append(operation);
	return true;
}

void work_begin_all(void)
{
	if (work.stopped || work.free_count == 0)
		return;
	if (work.pause_until_ns > 0 && clock_monotonic_ns() < work.pause_until_ns)
		return;
	for (uint32_t many = work.free_count; many > 0; many--)
		work_begin_one();
}

const struct operation *work_operation(uint64_t token)
{
	uint32_t slot = (uint32_t)token;

	if (slot >= WORK_OPERATIONS_MAX)
		return NULL;
	const struct operation *operation = &work.operations[slot];

	return operation->busy && operation->generation == token >> 32 ? operation : NULL;
}

static void release(struct operation *operation, enum stream_state state)
{
	uint32_t stream = operation->stream - work.options.first_stream;

	ASSERT(operation->busy && work.states[stream] == STREAM_BUSY);
	work.states[stream] = (uint8_t)state;
	if (state == STREAM_LOST)
		work.lost++;
	operation->busy = false;
	operation->generation++;
	work.free[work.free_count++] = operation->slot;
}

static void count_done(const struct operation *operation, int64_t now)
{
	uint32_t stream = operation->stream - work.options.first_stream;

	if (!work.reads) {
		work.versions[stream] += operation->events;
		work.events_all += operation->events;
	}
	if (work.kill_ns > 0 && operation->begin_ns > work.kill_ns && work.first_after_kill_ns == 0)
		work.first_after_kill_ns = now;
	if (!work.measuring)
		return;
	double share = (double)(now - work.measure_begin_ns) / (work.options.seconds * 1e9);

	histogram_add(&work.latency, (uint64_t)(now - operation->begin_ns));
	work.operations_done++;
	work.events_done += operation->events;
	if (share < 1)
		work.slices[(size_t)(share * WORK_SLICES)] += operation->events;
}

void work_end(uint64_t token, enum work_outcome outcome)
{
	if (work_operation(token) == NULL)
		return;
	struct operation *operation = &work.operations[(uint32_t)token];
	int64_t now = clock_monotonic_ns();

	if (outcome == WORK_DONE) {
		count_done(operation, now);
		release(operation, STREAM_IDLE);
		return;
	}
	if (outcome == WORK_CONFLICT)
		work.conflicts++;
	else
		work.failures++;
	work.pause_until_ns = now + PAUSE_NS;
	release(operation, work.reads ? STREAM_IDLE : STREAM_LOST);
}

void work_expire(void)
{
	int64_t begun_before = clock_monotonic_ns() - (int64_t)work.options.timeout_ms * 1000000;

	for (uint32_t i = 0; i < work.options.in_flight; i++) {
		struct operation *operation = &work.operations[i];

		if (!operation->busy || operation->begin_ns > begun_before)
			continue;
		work.expired++;
		release(operation, STREAM_LOST);
	}
}

uint32_t work_busy(void)
{
	return work.options.in_flight - work.free_count;
}

void work_drain(int64_t milliseconds)
{
	int64_t end = clock_monotonic_ms() + milliseconds;

	work.stopped = true;
	while (work_busy() > 0 && clock_monotonic_ms() < end)
		store_poll(1000);
}

void work_saw(uint32_t stream, uint64_t version, size_t bytes)
{
	uint32_t index = stream - work.options.first_stream;

	work.seen++;
	work.seen_bytes += bytes;
	if (work.seen_versions == NULL || index >= work.options.streams)
		return;
	if (version == work.seen_versions[index])
		work.seen_versions[index]++;
	else
		work.seen_wrong++;
}
