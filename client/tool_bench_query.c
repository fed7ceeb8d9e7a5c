/*
 * Rows about tags and types: conditions, reads by query, linearizable reads. They share events that are
 * loaded once, in batches: all have one tag, one in ten has another one and another type, and some more
 * have a third tag alone.
 */
#include "client/tool_bench.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include <inttypes.h>

#define BATCH_EVENTS   500u
#define BATCHES_FLYING 16u
#define ONE_IN         10u
#define OTHERS         1000u /* events with the third tag */
#define ROUNDS         3     /* plain and compared take turns, so that both see the same machine */
#define SETTLE_MS      60000 /* for what is loaded to be in the tables of all nodes */

/* ---- loading ---- */

struct loading {
	uint64_t first, last, failed;
	enum annal_code code; /* of the first failure */
};

static void loaded(void *arg, enum annal_code code, const struct annal_append_result *result,
		   const struct annal_error *error)
{
	struct loading *loading = arg;

	(void)error;
	if (code != ANNAL_OK) {
		loading->code = loading->failed++ == 0 ? code : loading->code;
		return;
	}
	if (loading->first == 0 || result->first_position < loading->first)
		loading->first = result->first_position;
	if (result->position > loading->last)
		loading->last = result->position;
}

static void tag_name(const struct bench *bench, const char *which, char name[64])
{
	snprintf(name, 64, "bench:%s:%s", bench->tag, which);
}

static bool append_tagged(struct bench *bench, struct annal_client *client, uint64_t count,
			  const char *const *tags, struct loading *loading)
{
	struct annal_new_event events[BATCH_EVENTS];
	struct annal_write write = {.events = events};
	char stream[64];

	for (uint32_t i = 0; i < BATCH_EVENTS; i++)
		events[i] = (struct annal_new_event){
			.type = i % ONE_IN == 0 ? "TaggedTenth" : "Tagged",
			.data = {bench->data, 32},
			.tags = tags,
			.tags_count = i % ONE_IN == 0 && tags[1] != NULL ? 2 : 1};
	for (uint64_t done = 0; done < count && loading->failed == 0; done += BATCH_EVENTS) {
		const struct annal_append append = {
			.writes = &write, .writes_count = 1, .timeout_ms = 60000};

		while (annal_in_flight(client) >= BATCHES_FLYING)
			annal_poll(client, 100);
		bench_stream_name(bench, "tagged", done / BATCH_EVENTS, stream);
		write.stream = stream;
		write.events_count = count - done < BATCH_EVENTS ? count - done : BATCH_EVENTS;
		if (annal_append_async(client, &append, loaded, loading) != ANNAL_OK)
			return false;
	}
	while (annal_in_flight(client) > 0)
		annal_poll(client, 100);
	return loading->failed == 0;
}

/* The node's durable_position; 0 when it does not say. */
static uint64_t ask_durable(const struct bench *bench, const char *address)
{
	char url[ANNAL_ADDRESS_BYTES + 16];
	struct annal_bytes result;
	uint64_t position = 0;

	snprintf(url, sizeof url, "annal://%s", address);
	struct annal_client *client = tool_connect(bench->tool, url, TOOL_ONE_NODE);

	if (client != NULL && annal_call(client, ANNAL_TARGET_READ, "stats",
					 (struct annal_bytes){0}, &result) == ANNAL_OK) {
		json_t *stats = tool_json_from_msgpack(span_of(result.data, result.size));

		position = (uint64_t)json_integer_value(json_object_get(stats, "durable_position"));
		json_decref(stats);
	}
	annal_client_free(client);
	return position;
}

/* Rows are not to pay for the flushes of what was loaded. */
static void settle(const struct bench *bench, struct annal_client *client, uint64_t position)
{
	int64_t end_ms = clock_monotonic_ms() + SETTLE_MS;
	struct annal_cluster_status *status = memory_zeroed(1, sizeof *status);
	char address[ANNAL_ADDRESS_BYTES];

	if (annal_cluster_status(client, status) != ANNAL_OK)
		status->nodes_count = 0;
	for (size_t i = 0; i < status->nodes_count; i++) {
		const struct annal_bytes *text = &status->nodes[i].client_address;

		snprintf(address, sizeof address, "%.*s", (int)(text->size & 0xff),
			 text->size > 0 ? (const char *)text->data : "");
		while (clock_monotonic_ms() < end_ms && ask_durable(bench, address) < position)
			annal_poll(client, 200);
	}
	memory_free(status);
}

/* The events that these rows are about, unless they are there already. */
static bool load_tagged(struct bench *bench)
{
	struct annal_client *client;
	struct loading loading = {0};
	char big[64], tenth[64], other[64];
	const char *tags[] = {big, tenth}, *others[] = {other, NULL};

	if (bench->tagged_last > 0)
		return true;
	client = bench_client(bench, "");
	if (client == NULL)
		return false;
	fprintf(stderr, "annal: bench: loading %" PRIu64 " events with one tag\n",
		bench->options->tagged);
	tag_name(bench, "big", big);
	tag_name(bench, "tenth", tenth);
	tag_name(bench, "other", other);
	bool good = append_tagged(bench, client, bench->options->tagged, tags, &loading) &&
		    append_tagged(bench, client, OTHERS, others, &loading);

	if (good)
		settle(bench, client, loading.last);
	else
		tool_complain("bench: the tagged events cannot be appended: %s",
			      annal_code_name(loading.code));
	annal_client_free(client);
	bench->tagged_first = loading.first;
	bench->tagged_last = good ? loading.last : 0;
	return good;
}

/* ---- conditions ---- */

/* Plain appends and such with the condition take turns. */
static bool compare_appends(struct bench *bench, struct bench_row *row,
			    const struct annal_condition *condition)
{
	struct bench_row *plain = memory_zeroed(1, sizeof *plain);
	bool good = true;

	/* A B, B A, A B: neither is always the first. */
	for (int turn = 0; turn < 2 * ROUNDS && good; turn++) {
		bool with = turn % 4 == 1 || turn % 4 == 2;

		good = bench_append_more(bench, bench->parameter, with ? condition : NULL,
					 with ? row : plain);
	}
	if (good)
		row->base = (double)plain->events / plain->seconds;
	memory_free(plain);
	return good;
}

static void tell_condition(const struct bench *bench, struct bench_row *row, const char *what)
{
	double rate = row->seconds > 0 ? (double)row->events / row->seconds : 0;

	snprintf(row->note, sizeof row->note,
		 "%s, %" PRIu64
		 " events with it: %.0f a second without the condition, %.2f times as "
		 "many",
		 what, bench->options->tagged, row->base, rate > 0 ? row->base / rate : 0);
}

bool bench_condition_after(struct bench *bench, struct bench_row *row)
{
	char big[64];
	const char *const tags[] = {big};
	const struct annal_query_item item = {.tags = {tags, 1}};

	if (!load_tagged(bench))
		return false;
	tag_name(bench, "big", big);
	const struct annal_condition condition = {{&item, 1}, bench->tagged_last};

	if (!compare_appends(bench, row, &condition))
		return false;
	tell_condition(bench, row, "a condition on one tag, after the last one");
	return true;
}

bool bench_condition_two_tags(struct bench *bench, struct bench_row *row)
{
	char big[64], other[64];
	const char *const tags[] = {big, other};
	const struct annal_query_item item = {.tags = {tags, 2}};
	const struct annal_condition condition = {{&item, 1}, 0};

	if (!load_tagged(bench))
		return false;
	tag_name(bench, "big", big);
	tag_name(bench, "other", other);
	if (!compare_appends(bench, row, &condition))
		return false;
	tell_condition(bench, row, "a condition on that tag and one of 1,000 events, after 0");
	return true;
}

/* ---- reads by query ---- */

/* Read events of the range once, or for as long as a timed row runs; added to the row. */
static bool read_some(const struct bench *bench, struct annal_client *client,
		      const struct annal_query *query, struct bench_row *row)
{
	const struct annal_read read = {
		.query = query, .from = bench->tagged_first, .limit = 10000};
	struct annal_iterator *iterator = annal_iterate(client, &read);
	const struct annal_event *event = NULL;
	int64_t begin = clock_monotonic_ns();
	int64_t end = begin + (int64_t)bench->options->seconds * 1000000000;
	enum annal_code code;

	while ((code = annal_iterator_next(iterator, &event)) == ANNAL_OK && event != NULL &&
	       event->position <= bench->tagged_last) {
		row->events++;
		if ((row->events & 1023) == 0 && clock_monotonic_ns() > end)
			break;
	}
	row->seconds += (double)(clock_monotonic_ns() - begin) / 1e9;
	annal_iterator_free(iterator);
	return code == ANNAL_OK;
}

static bool compare_reads(struct bench *bench, struct bench_row *row,
			  const struct annal_query *query)
{
	struct annal_client *client = bench_client(bench, "read_from=follower");
	struct bench_row *whole = memory_zeroed(1, sizeof *whole);
	struct annal_server server;
	/* The greeting tells who leads, so that the reads go to another node. */
	bool good = client != NULL && annal_hello(client, &server) == ANNAL_OK;

	for (int round = 0; round < ROUNDS && good; round++)
		good = read_some(bench, client, NULL, whole) &&
		       read_some(bench, client, query, row);
	if (client != NULL && !good)
		tool_failed(client, "bench");
	if (good)
		row->base = (double)whole->events / whole->seconds;
	annal_client_free(client);
	memory_free(whole);
	return good;
}

bool bench_read_tag(struct bench *bench, struct bench_row *row)
{
	char tenth[64];
	const char *const tags[] = {tenth};
	const struct annal_query_item item = {.tags = {tags, 1}};

	tag_name(bench, "tenth", tenth);
	if (!load_tagged(bench) || !compare_reads(bench, row, &(struct annal_query){&item, 1}))
		return false;
	snprintf(row->note, sizeof row->note,
		 "events of a tag that one in ten has; %.0f a second of the same range without "
		 "query",
		 row->base);
	return true;
}

bool bench_read_type(struct bench *bench, struct bench_row *row)
{
	const char *const types[] = {"TaggedTenth"};
	const struct annal_query_item item = {.types = {types, 1}};

	if (!load_tagged(bench) || !compare_reads(bench, row, &(struct annal_query){&item, 1}))
		return false;
	snprintf(row->note, sizeof row->note,
		 "events of a type that one in ten is of; %.0f a second of the same range without "
		 "query",
		 row->base);
	return true;
}

/* ---- linearizable reads ---- */

struct readers {
	struct bench_row *row;
	struct bench_clock clock;
	struct annal_client *client;
	char problem[256]; /* the first one */
};

struct one_read {
	struct readers *readers;
	int64_t begin_ns; /* 0: it is free */
};

static void read_done(void *arg, enum annal_code code, const struct annal_page *page,
		      const struct annal_error *error)
{
	struct one_read *one = arg;
	struct readers *readers = one->readers;
	int64_t now = clock_monotonic_ns();

	if (code == ANNAL_OK && page->count == 1) {
		histogram_add(&readers->row->latency, (uint64_t)(now - one->begin_ns));
		bench_clock_count(&readers->clock, now, 1);
	} else if (readers->row->errors++ == 0) {
		snprintf(readers->problem, sizeof readers->problem, "%s: %.200s",
			 annal_code_name(code), error != NULL ? error->message : "no event");
	}
	one->begin_ns = 0;
}

static void read_linearizably(struct bench *bench, struct readers *readers, struct one_read *reads,
			      uint32_t count)
{
	const struct annal_read read = {
		.from = 1, .limit = 1, .consistency = ANNAL_CONSISTENCY_LINEARIZABLE};

	bench_clock_begin(&readers->clock, bench->options->seconds);
	while (bench_clock_runs(&readers->clock) && readers->row->errors < count) {
		for (uint32_t i = 0; i < count; i++) {
			if (reads[i].begin_ns != 0)
				continue;
			reads[i] = (struct one_read){readers, clock_monotonic_ns()};
			if (annal_read_async(readers->client, &read, read_done, &reads[i]) !=
			    ANNAL_OK)
				reads[i].begin_ns = 0;
		}
		annal_poll(readers->client, 100);
	}
	bench_clock_end(&readers->clock, readers->row);
	while (annal_in_flight(readers->client) > 0)
		annal_poll(readers->client, 100);
}

bool bench_linearizable(struct bench *bench, struct bench_row *row)
{
	struct readers *readers = memory_zeroed(1, sizeof *readers);
	struct one_read *reads = memory_zeroed(bench->parameter, sizeof *reads);
	struct annal_server server;

	readers->row = row;
	readers->client = bench_client(bench, "read_from=follower&session=off");
	bool good = readers->client != NULL && annal_hello(readers->client, &server) == ANNAL_OK;

	if (good)
		read_linearizably(bench, readers, reads, bench->parameter);
	else if (readers->client != NULL)
		tool_failed(readers->client, "bench");
	if (readers->problem[0] != '\0')
		tool_complain("bench: the first failure: %s", readers->problem);
	annal_client_free(readers->client);
	memory_free(reads);
	memory_free(readers);
	return good && row->events > 0;
}
