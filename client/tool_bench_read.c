/* Rows that read and subscribe. */
#include "client/tool_bench.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/memory.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>

#define STREAM_EVENTS    100u
#define STREAMS          200u
#define STREAM_READS_MAX 64u
#define EVENTS_PER_S     1000u

/* ---- the whole store ---- */

bool bench_read_all(struct bench *bench, struct bench_row *row)
{
	struct annal_client *client = bench_client(bench, "read_from=follower");
	const struct annal_read read = {.limit = 10000};
	const struct annal_event *event = NULL;
	enum annal_code code = ANNAL_OK;
	struct annal_server server;
	struct bench_clock clock;
	uint64_t bytes = 0;

	/* The greeting tells who leads, so that the read goes to another node. */
	if (client == NULL || annal_hello(client, &server) != ANNAL_OK)
		goto failed;
	struct annal_iterator *iterator = annal_iterate(client, &read);

	bench_clock_begin(&clock, 3600);
	while ((code = annal_iterator_next(iterator, &event)) == ANNAL_OK && event != NULL) {
		row->events++;
		bytes += event->data.size;
		if ((row->events & 1023) == 0 &&
		    clock_monotonic_ns() - clock.begin_ns >
			    (int64_t)bench->options->seconds * 2000000000)
			break; /* enough is known */
	}
	row->seconds = (double)(clock_monotonic_ns() - clock.begin_ns) / 1e9;
	annal_iterator_free(iterator);
	if (code != ANNAL_OK)
		goto failed;
	annal_client_free(client);
	snprintf(row->note, sizeof row->note,
		 "the whole store from a follower: %" PRIu64 " events, %.0f MB/s of data",
		 row->events, (double)bytes / 1e6 / row->seconds);
	return true;
failed:
	if (client != NULL)
		tool_failed(client, "bench");
	annal_client_free(client);
	return false;
}

/* ---- streams ---- */

static bool write_streams(struct bench *bench, struct annal_client *client)
{
	struct annal_new_event events[STREAM_EVENTS];
	const struct annal_expect any = {0};
	char name[64];

	for (uint32_t i = 0; i < STREAM_EVENTS; i++)
		events[i] = (struct annal_new_event){.type = "Measured",
						     .data = {bench->data, sizeof bench->data}};
	for (uint32_t i = 0; i < STREAMS; i++) {
		bench_stream_name(bench, "hundred", i, name);
		if (annal_append_stream(client, name, any, events, STREAM_EVENTS, NULL) != ANNAL_OK)
			return false;
	}
	return true;
}

struct stream_reads;

/* One of those that are in flight. */
struct stream_read {
	struct stream_reads *reads;
	int64_t begin_ns; /* 0: it is over */
};

struct stream_reads {
	struct annal_client *client;
	struct bench_row *row;
	struct bench_clock clock;
	bool failed;
	char problem[256];
	struct stream_read slots[STREAM_READS_MAX];
};

static void stream_read_done(void *arg, enum annal_code code, const struct annal_page *page,
			     const struct annal_error *error)
{
	struct stream_read *slot = arg;
	struct stream_reads *reads = slot->reads;
	int64_t end = clock_monotonic_ns();

	if (code == ANNAL_OK && page->count == STREAM_EVENTS) {
		histogram_add(&reads->row->latency, (uint64_t)(end - slot->begin_ns));
		bench_clock_count(&reads->clock, end, page->count);
	} else if (!reads->failed) {
		reads->failed = true;
		snprintf(reads->problem, sizeof reads->problem, "%.250s",
			 code == ANNAL_OK ? "a stream has not as many events as it was given"
					  : error->message);
	}
	slot->begin_ns = 0;
}

static bool start_stream_read(const struct bench *bench, struct stream_reads *reads,
			      struct stream_read *slot, uint32_t number)
{
	char name[64];
	const struct annal_read read = {.stream = name};

	bench_stream_name(bench, "hundred", number % STREAMS, name);
	slot->reads = reads;
	slot->begin_ns = clock_monotonic_ns();
	return annal_read_async(reads->client, &read, stream_read_done, slot) == ANNAL_OK;
}

static bool read_streams(struct bench *bench, struct bench_row *row, struct annal_client *client)
{
	struct stream_reads *reads = memory_zeroed(1, sizeof *reads);
	uint32_t number = 0;
	bool good = true;

	ASSERT(bench->parameter > 0 && bench->parameter <= STREAM_READS_MAX);
	reads->client = client;
	reads->row = row;
	bench_clock_begin(&reads->clock, bench->options->seconds);
	while (good && !reads->failed && bench_clock_runs(&reads->clock)) {
		for (uint32_t i = 0; good && i < bench->parameter; i++)
			if (reads->slots[i].begin_ns == 0)
				good = start_stream_read(bench, reads, &reads->slots[i], number++);
		annal_poll(client, 100);
	}
	bench_clock_end(&reads->clock, row);
	while (annal_in_flight(client) > 0)
		annal_poll(client, 100);
	if (reads->failed)
		tool_complain("bench: the first failure: %s", reads->problem);
	good = good && !reads->failed;
	memory_free(reads);
	return good;
}

bool bench_read_stream(struct bench *bench, struct bench_row *row)
{
	struct annal_client *client = bench_client(bench, "");
	struct bench own = *bench;

	if (client == NULL)
		return false;
	/* Each row has streams of its own. */
	snprintf(own.tag, sizeof own.tag, "%.8s-%u", bench->tag, bench->parameter);
	bool written = write_streams(&own, client);

	if (!written)
		tool_failed(client, "bench");
	bool good = written && read_streams(&own, row, client);

	annal_client_free(client);
	return good;
}

/* ---- subscription ---- */

/* When an event was acknowledged to one thread and delivered to the other; 0: not yet. */
struct passage {
	_Atomic int64_t acknowledged_ns, delivered_ns;
};

/* Two threads: one appends, one listens on another node. Event number i has passage i. */
struct relay {
	struct bench *bench;
	uint64_t count;
	char stream[64];
	struct passage *passages;
	atomic_bool ready, over;
	bool failed;
	char node[ANNAL_ADDRESS_BYTES];
};

static enum annal_code listen_all(struct relay *relay, struct annal_subscription *subscription)
{
	struct annal_item item;
	enum annal_code code = ANNAL_OK;
	uint64_t seen = 0;

	while (seen < relay->count && !atomic_load(&relay->over)) {
		code = annal_subscription_next(subscription, 100, &item);
		if (code != ANNAL_OK)
			break;
		if (item.kind != ANNAL_ITEM_EVENT || item.event.data.size < 8)
			continue;
		uint64_t number = bytes_le64(item.event.data.data);

		if (number < relay->count)
			atomic_store(&relay->passages[number].delivered_ns, clock_monotonic_ns());
		seen++;
	}
	return code;
}

static void *listener(void *arg)
{
	struct relay *relay = arg;
	struct annal_client *client = bench_client(relay->bench, "read_from=follower");
	const struct annal_subscribe subscribe = {.stream = relay->stream};
	struct annal_subscription *subscription;
	struct annal_server server;

	if (client == NULL || annal_hello(client, &server) != ANNAL_OK ||
	    annal_subscribe(client, &subscribe, &subscription) != ANNAL_OK) {
		relay->failed = true;
		atomic_store(&relay->ready, true);
		annal_client_free(client);
		return NULL;
	}
	snprintf(relay->node, sizeof relay->node, "%s", annal_subscription_node(subscription));
	atomic_store(&relay->ready, true);
	relay->failed = listen_all(relay, subscription) != ANNAL_OK;
	annal_subscription_free(subscription);
	annal_client_free(client);
	return NULL;
}

static void relay_done(void *arg, enum annal_code code, const struct annal_append_result *result,
		       const struct annal_error *error)
{
	(void)error;
	(void)result;
	struct passage *passage = arg;

	if (code == ANNAL_OK)
		atomic_store(&passage->acknowledged_ns, clock_monotonic_ns());
}

static void append_at_rate(struct relay *relay, struct annal_client *client)
{
	int64_t begin = clock_monotonic_ns();
	uint8_t data[BENCH_DATA_BYTES];

	memcpy(data, relay->bench->data, sizeof data);
	for (uint64_t i = 0; i < relay->count; i++) {
		int64_t due = begin + (int64_t)(i * 1000000000 / EVENTS_PER_S);
		const struct annal_new_event event = {.type = "Measured",
						      .data = {data, sizeof data}};
		const struct annal_write write = {
			.stream = relay->stream, .events = &event, .events_count = 1};
		const struct annal_append append = {.writes = &write, .writes_count = 1};

		while (clock_monotonic_ns() < due)
			annal_poll(client, 1);
		bytes_set_le64(data, i);
		if (annal_append_async(client, &append, relay_done, &relay->passages[i]) !=
		    ANNAL_OK)
			annal_poll(client, 100);
	}
	while (annal_in_flight(client) > 0)
		annal_poll(client, 100);
}

/* Each event that came: how long after its acknowledgement, 0 when before. */
static void sum_up(const struct relay *relay, struct bench_row *row)
{
	uint64_t missing = 0;

	for (uint64_t i = 0; i < relay->count; i++) {
		int64_t acknowledged = atomic_load(&relay->passages[i].acknowledged_ns);
		int64_t delivered = atomic_load(&relay->passages[i].delivered_ns);

		if (acknowledged == 0 || delivered == 0)
			missing++;
		else
			histogram_add(&row->latency, delivered > acknowledged
							     ? (uint64_t)(delivered - acknowledged)
							     : 0);
	}
	row->events = relay->count - missing;
	row->errors = missing;
	snprintf(row->note, sizeof row->note,
		 "1,000 appends/s: acknowledged to delivered by %.100s; %" PRIu64 " missing",
		 relay->node, missing);
}

static bool run_relay(struct relay *relay, struct bench_row *row, struct annal_client *client)
{
	pthread_t thread;
	int64_t begin;

	if (pthread_create(&thread, NULL, listener, relay) != 0)
		return false;
	while (!atomic_load(&relay->ready))
		annal_poll(client, 10);
	begin = clock_monotonic_ns();
	if (!relay->failed)
		append_at_rate(relay, client);
	row->seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
	for (int i = 0; i < 20 && atomic_load(&relay->passages[relay->count - 1].delivered_ns) == 0;
	     i++)
		annal_poll(client, 100);
	atomic_store(&relay->over, true);
	pthread_join(thread, NULL);
	if (relay->failed)
		tool_complain("bench: the subscription failed");
	return !relay->failed;
}

bool bench_subscribe(struct bench *bench, struct bench_row *row)
{
	struct relay *relay = memory_zeroed(1, sizeof *relay);
	struct annal_client *client = bench_client(bench, "");
	bool good = false;

	relay->bench = bench;
	relay->count = bench->options->seconds * EVENTS_PER_S;
	relay->passages = memory_zeroed(relay->count, sizeof relay->passages[0]);
	bench_stream_name(bench, "relay", 0, relay->stream);
	if (client != NULL)
		good = run_relay(relay, row, client);
	if (good)
		sum_up(relay, row);
	annal_client_free(client);
	memory_free(relay->passages);
	memory_free(relay);
	return good;
}
