/* annal through its client library: one client, asynchronous calls. */
#include "client/annal.h"

#include "base/clock.h"
#include "tests/bench/peers/payload.h"
#include "tests/bench/peers/store.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PAGE_EVENTS     10000u
#define CALL_TIMEOUT_MS 30000u
#define URL_BYTES       1024u
#define STREAM_BYTES    32u
#define FLUSH_MS        90000

const char store_name[] = "annal";
const uint32_t store_open_loop_max = WORK_OPERATIONS_MAX;

static struct annal_client *client;
static uint32_t timeout_ms;

static struct annal_client *connect_to(const char *options)
{
	char url[URL_BYTES] = "annal://", problem[256];

	for (uint32_t i = 0; i < work.options.servers_count; i++) {
		size_t used = strlen(url);

		snprintf(url + used, sizeof url - used, "%s%s", i > 0 ? "," : "",
			 work.options.servers[i]);
	}
	size_t used = strlen(url);

	snprintf(url + used, sizeof url - used, "?timeout_ms=%u&%s", CALL_TIMEOUT_MS, options);
	struct annal_client *made = annal_client_new(url, problem, sizeof problem);
	struct annal_server server;

	if (made == NULL)
		work_fail("%s: %s", url, problem);
	/* The greeting tells who leads. */
	if (annal_hello(made, &server) != ANNAL_OK)
		work_fail("%s: %s", url, annal_client_error(made)->message);
	return made;
}

void store_open(const struct work_options *options)
{
	bool reads = strcmp(options->row, "read-stream") == 0;

	timeout_ms = options->leader > 0 ? options->timeout_ms : 0;
	client = connect_to(reads ? "read_from=follower" : "read_from=leader");
}

static void stream_name(uint32_t stream, char name[STREAM_BYTES])
{
	snprintf(name, STREAM_BYTES, "order-%08u", stream);
}

static uint32_t stream_number(struct annal_bytes name)
{
	const char *text = name.data;
	uint32_t number = 0;

	for (size_t i = sizeof "order-" - 1; i < name.size; i++)
		number = number * 10 + (uint32_t)(text[i] - '0');
	return number;
}

/* The token of an operation fits into the pointer that comes back with the answer. */
static void *as_argument(const struct operation *operation)
{
	static_assert(sizeof(void *) == sizeof(uint64_t), "tokens travel as pointers");
	return (void *)(uintptr_t)operation_token(operation);
}

static void end(void *arg, enum annal_code code, const struct annal_error *error)
{
	enum work_outcome outcome = code == ANNAL_OK                       ? WORK_DONE
				    : code == ANNAL_WRONG_EXPECTED_VERSION ? WORK_CONFLICT
									   : WORK_FAILED;

	if (code != ANNAL_OK)
		work_complain(error->message, strlen(error->message));
	work_end((uint64_t)(uintptr_t)arg, outcome);
}

static void append_done(void *arg, enum annal_code code, const struct annal_append_result *result,
			const struct annal_error *error)
{
	(void)result;
	end(arg, code, error);
}

void store_append(const struct operation *operation)
{
	static char data[WORK_BATCH_MAX * 1024];
	static struct annal_new_event events[WORK_BATCH_MAX];
	size_t size = work.options.size;
	char name[STREAM_BYTES];

	if (size * operation->events > sizeof data)
		work_fail("a batch has at most %zu bytes", sizeof data);
	stream_name(operation->stream, name);
	for (uint32_t i = 0; i < operation->events; i++) {
		const struct payload payload = {operation->stream, operation->version + i,
						operation->begin_ns};

		payload_write(data + i * size, size, &payload);
		events[i] = (struct annal_new_event){.type = "OrderPlaced",
						     .data = {data + i * size, size},
						     .metadata = annal_text("{\"user\":\"u1\"}")};
	}
	const struct annal_write write = {
		.stream = name,
		.expect = {operation->version == 0 ? ANNAL_EXPECT_NO_STREAM : ANNAL_EXPECT_VERSION,
			   operation->version},
		.events = events,
		.events_count = operation->events};
	const struct annal_append append = {
		.writes = &write, .writes_count = 1, .timeout_ms = timeout_ms};

	if (annal_append_async(client, &append, append_done, as_argument(operation)) != ANNAL_OK)
		work_fail("append: %s", annal_client_error(client)->message);
}

static void read_done(void *arg, enum annal_code code, const struct annal_page *page,
		      const struct annal_error *error)
{
	const struct operation *operation = work_operation((uint64_t)(uintptr_t)arg);

	if (code == ANNAL_OK && operation != NULL && page->count != operation->events)
		work_fail("stream %u has %zu events, not %u", operation->stream, page->count,
			  operation->events);
	end(arg, code, error);
}

void store_read(const struct operation *operation)
{
	char name[STREAM_BYTES];
	const struct annal_read read = {.stream = name, .limit = WORK_BATCH_MAX};

	stream_name(operation->stream, name);
	if (annal_read_async(client, &read, read_done, as_argument(operation)) != ANNAL_OK)
		work_fail("read: %s", annal_client_error(client)->message);
}

void store_poll(uint32_t timeout_us)
{
	annal_poll(client, (timeout_us + 999) / 1000);
}

void store_read_all(enum store_place place)
{
	struct annal_client *reader =
		connect_to(place == STORE_LEADER ? "read_from=leader" : "read_from=follower");
	const struct annal_read read = {.limit = PAGE_EVENTS,
					.consistency = place == STORE_LEADER
							       ? ANNAL_CONSISTENCY_LINEARIZABLE
							       : ANNAL_CONSISTENCY_SESSION};
	struct annal_iterator *iterator = annal_iterate(reader, &read);
	const struct annal_event *event = NULL;
	enum annal_code code;

	while ((code = annal_iterator_next(iterator, &event)) == ANNAL_OK && event != NULL)
		if (event->data.size == work.options.size)
			work_saw(stream_number(event->stream), event->version - 1,
				 event->data.size);
	if (code != ANNAL_OK)
		work_fail("read-all: %s", annal_client_error(reader)->message);
	annal_iterator_free(iterator);
	annal_client_free(reader);
}

void store_follow(void)
{
	struct annal_client *reader = connect_to("read_from=follower");
	const struct annal_subscribe subscribe = {.from_end = true};
	struct annal_subscription *subscription;
	struct annal_item item;

	if (annal_subscribe(reader, &subscribe, &subscription) != ANNAL_OK)
		work_fail("subscribe: %s", annal_client_error(reader)->message);
	work_following();
	while (!work_follow_is_over()) {
		if (annal_subscription_next(subscription, 50, &item) != ANNAL_OK)
			work_fail("subscription: %s", annal_client_error(reader)->message);
		if (item.kind == ANNAL_ITEM_EVENT && item.event.data.size == work.options.size)
			work_delivered(payload_read(item.event.data.data).sent_ns);
	}
	annal_subscription_free(subscription);
	annal_client_free(reader);
}

/* The client finds it. */
void store_lost_leader(void)
{
}

static const char unwritten[] = "tail_records";

/* Whether a node has nothing in memory that is not in its tables: the number stands behind its name. */
static bool is_written(struct annal_client *node)
{
	struct annal_bytes result;

	if (annal_call(node, ANNAL_TARGET_READ, "stats", (struct annal_bytes){0}, &result) !=
	    ANNAL_OK)
		work_fail("stats: %s", annal_client_error(node)->message);
	const uint8_t *at = memmem(result.data, result.size, unwritten, sizeof unwritten - 1);
	const uint8_t *end = (const uint8_t *)result.data + result.size;

	if (at == NULL || at + sizeof unwritten > end)
		work_fail("stats: there is no %s", unwritten);
	return at[sizeof unwritten - 1] == 0;
}

/* The tables are written after some seconds at the latest. */
void store_flush(void)
{
	int64_t end = clock_monotonic_ms() + FLUSH_MS;
	char url[URL_BYTES];

	for (uint32_t i = 0; i < work.options.servers_count; i++) {
		snprintf(url, sizeof url, "annal://%s?follow=off&read_from=any",
			 work.options.servers[i]);
		struct annal_client *node = annal_client_new(url, NULL, 0);

		while (!is_written(node)) {
			if (clock_monotonic_ms() > end)
				work_fail("%s is not in its tables after %d ms", url, FLUSH_MS);
			annal_poll(client, 50);
		}
		annal_client_free(node);
	}
}
