#include "node/stats.h"

#include "base/clock.h"
#include "node/backup.h"
#include "node/catch_up.h"
#include "node/listener.h"
#include "node/memory_bound.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/read.h"
#include "node/stream.h"
#include <stdio.h>
#include <sys/resource.h>

/* What the gauges are taken from. */
struct stats_now {
	uint64_t uptime_ms, connections, requests_in_flight, unsent_bytes;
	uint64_t rss_max_bytes, cpu_ms, memory_bound;
	struct store_status store;
	const struct replica_status *replica;
	const struct input_bound *input;
	struct reader_status reader;
	struct notifier_status notifier;
	struct catch_up_status catch_up;
	struct backup_status backup;
};

static uint64_t milliseconds(const struct timeval *time)
{
	return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_usec / 1000;
}

static void take_usage(struct stats_now *now)
{
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) != 0)
		return;
	now->rss_max_bytes = (uint64_t)usage.ru_maxrss * 1024; /* of the kernel, in KiB */
	now->cpu_ms = milliseconds(&usage.ru_utime) + milliseconds(&usage.ru_stime);
}

static void take_now(struct node *node, struct stats_now *now)
{
	*now = (struct stats_now){0};
	now->uptime_ms = (uint64_t)(clock_monotonic_ms() - node->started_ms);
	if (node->listener != NULL) {
		struct streams *streams = listener_streams(node->listener);

		now->connections = streams_count(streams);
		now->requests_in_flight = streams_requests_in_flight(streams);
	}
	now->unsent_bytes = node->unsent_bytes;
	now->input = &node->input;
	take_usage(now);
	now->memory_bound = memory_bound(&node->settings);
	store_get_status(node->store, &now->store);
	now->replica = node_replica_status(node);
	reader_get_status(node->reader, &now->reader);
	notifier_get_status(node->notifier, &now->notifier);
	catch_up_get_status(node->catch_up, &now->catch_up);
	backup_service_get_status(node->backup, &now->backup);
}

void method_stats(struct request *request)
{
	const struct node_counters *counters = request->node->counters;
	struct stats_now taken;
	const struct stats_now *now = &taken;
	struct buffer result;

	take_now(request->node, &taken);
	buffer_init(&result);
#define X(...) +1
	msgpack_write_map(&result, NODE_COUNTERS(X) NODE_GAUGES(X));
#undef X
#define X(name, meaning)                                                                           \
	msgpack_write_string(&result, #name);                                                      \
	msgpack_write_u64(&result, counters->name);
	NODE_COUNTERS(X)
#undef X
#define X(name, value, meaning)                                                                    \
	msgpack_write_string(&result, #name);                                                      \
	msgpack_write_u64(&result, value);
	NODE_GAUGES(X)
#undef X
	request_answer_result(request, buffer_span(&result));
	buffer_close(&result);
	request_release(request);
}

void stats_print_markdown(struct buffer *into)
{
	static const struct {
		const char *name, *kind, *meaning;
	} rows[] = {
#define X(name, meaning) {#name, "counter", meaning},
		NODE_COUNTERS(X)
#undef X
#define X(name, value, meaning) {#name, "gauge", meaning},
			NODE_GAUGES(X)
#undef X
	};
	static const char head[] = "| name | kind | what |\n|---|---|---|\n";
	char line[256];

	buffer_append(into, head, sizeof head - 1);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int size = snprintf(line, sizeof line, "| `%s` | %s | %s |\n", rows[i].name,
				    rows[i].kind, rows[i].meaning);

		buffer_append(into, line, (size_t)size);
	}
}
