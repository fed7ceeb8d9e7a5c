/*
 * Row `idle`: what ten thousand subscriptions cost the node that has them, the leader, while nothing comes
 * for them: half follow a stream each that nobody writes, half a query each that nothing matches. They
 * share connections, which a thread of its own serves. Appends with and without them take turns.
 */
#include "client/tool_bench.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "client/decode.h"
#include "client/link.h"
#include "client/wire.h"
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

#define LINKS          100u
#define SUBSCRIPTIONS  10000u
#define ROUNDS         3    /* with and without take turns, so that both see the same machine */
#define ACCEPT_SECONDS 30   /* for all of them to be accepted */
#define REST_MS        4000 /* so that the nodes have flushed and freed what they had */
#define POLL_MS        50

static_assert(SUBSCRIPTIONS % LINKS == 0, "every link has as many");

struct crowd {
	struct bench *bench;
	struct address address;
	struct link links[LINKS];
	pthread_t thread;
	uint32_t answers;      /* of the thread, until `ready` */
	uint64_t told, pieces; /* checkpoints, and in how many pieces they came */
	atomic_bool ready, failed, over;
	struct error error; /* before `failed` */
};

/* ---- requests ---- */

static void ask_for(struct crowd *crowd, uint32_t number)
{
	struct link *link = &crowd->links[number % LINKS];
	struct annal_query_item item = {0};
	struct wire_request request;
	char name[64];
	const char *const types[] = {name};

	bench_stream_name(crowd->bench, "idle", number, name);
	wire_request_init(&request);
	wire_request_begin(&request, "subscribe", 2, false);
	if (number / LINKS % 2 == 0) {
		wire_write_text(&request.bytes, "stream", name);
	} else {
		item.types = (struct annal_strings){types, 1};
		msgpack_write_string(&request.bytes, "query");
		wire_write_query(&request.bytes, &(struct annal_query){&item, 1});
	}
	wire_write_text(&request.bytes, "after", "end");
	wire_request_patch(&request, number, ACCEPT_SECONDS * 1000, false);
	link_write(link, buffer_span(&request.bytes));
	wire_request_close(&request);
}

/* ---- the thread ---- */

static bool take(struct crowd *crowd, struct span bytes)
{
	struct decode_message message;

	if (!decode_message(bytes, &message))
		return false;
	if (message.kind != DECODE_RESPONSE) {
		bool is_checkpoint = span_equal_string(message.method, "checkpoint");

		crowd->told += is_checkpoint;
		return is_checkpoint || span_equal_string(message.method, "caught_up");
	}
	if (!message.failed)
		crowd->answers++;
	return !message.failed;
}

static int serve(struct crowd *crowd, struct link *link, short revents)
{
	int64_t now_ms = clock_monotonic_ms();
	struct span message;
	uint64_t told = crowd->told;
	int rc = link_progress(link, now_ms, &crowd->error);

	if (rc == 0 && link->state == LINK_OPEN && (revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
		rc = link_receive(link, now_ms, &crowd->error);
		while (rc == 0 && (rc = link_next(link, &message, &crowd->error)) == 1)
			rc = take(crowd, message)
				     ? 0
				     : error_set(&crowd->error, -EPROTO,
						 "a subscription was refused, or got something");
	}
	crowd->pieces += crowd->told > told;
	return rc;
}

static int serve_all(struct crowd *crowd)
{
	struct pollfd polled[LINKS];
	int rc = 0;

	for (uint32_t i = 0; i < LINKS; i++)
		polled[i] = (struct pollfd){.fd = crowd->links[i].fd,
					    .events = link_poll_events(&crowd->links[i], true)};
	if (poll(polled, LINKS, POLL_MS) < 0 && errno != EINTR)
		return error_set_errno(&crowd->error, errno, "poll");
	for (uint32_t i = 0; rc == 0 && i < LINKS; i++)
		if (polled[i].revents != 0)
			rc = serve(crowd, &crowd->links[i], polled[i].revents);
	return rc;
}

static void *crowd_run(void *arg)
{
	struct crowd *crowd = arg;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < LINKS; i++)
		rc = link_open(&crowd->links[i], &crowd->address, clock_monotonic_ms(),
			       &crowd->error);
	for (uint32_t i = 0; rc == 0 && i < SUBSCRIPTIONS; i++)
		ask_for(crowd, i);
	while (rc == 0 && !atomic_load(&crowd->over)) {
		rc = serve_all(crowd);
		if (crowd->answers == SUBSCRIPTIONS)
			atomic_store(&crowd->ready, true);
	}
	if (rc != 0)
		atomic_store(&crowd->failed, true);
	for (uint32_t i = 0; i < LINKS; i++)
		link_close(&crowd->links[i]);
	return NULL;
}

/* ---- beginning and end ---- */

static void leave(struct crowd *crowd)
{
	atomic_store(&crowd->over, true);
	pthread_join(crowd->thread, NULL);
	memory_free(crowd);
}

/* All are accepted; NULL after a complaint. */
static struct crowd *gather(struct bench *bench, const struct address *address)
{
	struct crowd *crowd = memory_zeroed(1, sizeof *crowd);
	int64_t deadline_ms = clock_monotonic_ms() + ACCEPT_SECONDS * 1000;

	crowd->bench = bench;
	crowd->address = *address;
	for (uint32_t i = 0; i < LINKS; i++)
		link_init(&crowd->links[i]);
	if (pthread_create(&crowd->thread, NULL, crowd_run, crowd) != 0) {
		tool_complain("bench: no thread can be started");
		memory_free(crowd);
		return NULL;
	}
	while (!atomic_load(&crowd->ready) && !atomic_load(&crowd->failed) &&
	       clock_monotonic_ms() < deadline_ms)
		poll(NULL, 0, POLL_MS);
	if (atomic_load(&crowd->ready))
		return crowd;
	tool_complain("bench: %u idle subscriptions: %s", SUBSCRIPTIONS,
		      atomic_load(&crowd->failed) ? crowd->error.message
						  : "not all were accepted in time");
	leave(crowd);
	return NULL;
}

/* ---- the row ---- */

static uint64_t private_memory(const struct bench *bench)
{
	struct bench_usage usage;
	uint64_t sum = 0;

	poll(NULL, 0, REST_MS);
	bench_usage_read(bench->options->cluster_dir, &usage);
	for (uint32_t i = 0; i < usage.nodes; i++)
		sum += usage.private_memory[i];
	return sum;
}

/* Before the first append of the row: what they add to a node that does nothing else. */
static bool weigh(struct bench *bench, const struct address *leader, int64_t *bytes)
{
	uint64_t before = private_memory(bench);
	struct crowd *crowd = gather(bench, leader);

	if (crowd == NULL)
		return false;
	*bytes = (int64_t)(private_memory(bench) - before);
	leave(crowd);
	return true;
}

/* Appends, and what processor time of the nodes they took. */
struct side {
	struct bench_row row;
	uint64_t ticks;
	uint64_t told, pieces;
};

static bool append_turn(struct bench *bench, const struct address *leader, bool with,
			struct side *side)
{
	struct bench_usage before, after;
	struct crowd *crowd = with ? gather(bench, leader) : NULL;

	if (with && crowd == NULL)
		return false;
	bench_usage_read(bench->options->cluster_dir, &before);
	bool good = bench_append_more(bench, bench->parameter, NULL, &side->row);
	bench_usage_read(bench->options->cluster_dir, &after);
	side->ticks += after.cpu_nodes - before.cpu_nodes;
	if (with && atomic_load(&crowd->failed)) {
		tool_complain("bench: idle subscriptions: %s", crowd->error.message);
		good = false;
	}
	if (with) {
		atomic_store(&crowd->over, true);
		pthread_join(crowd->thread, NULL);
		side->told += crowd->told;
		side->pieces += crowd->pieces;
		memory_free(crowd);
	}
	return good;
}

static bool find_leader(struct bench *bench, struct address *address)
{
	struct annal_client *client = bench_client(bench, "");
	struct annal_server server;
	struct error error;
	char text[ANNAL_ADDRESS_BYTES];
	bool good = client != NULL && annal_hello(client, &server) == ANNAL_OK;

	if (good) {
		snprintf(text, sizeof text, "%.*s", (int)(server.leader.size & 0xff),
			 server.leader.size > 0 ? (const char *)server.leader.data : "");
		good = address_parse(text, address, &error) == 0;
	}
	if (!good)
		tool_complain("bench: idle: no node says who leads");
	annal_client_free(client);
	return good;
}

static void tell(struct bench_row *row, const struct side *with, const struct side *without,
		 int64_t bytes)
{
	double each = (double)with->ticks / (double)with->row.events;
	double each_without = (double)without->ticks / (double)without->row.events;

	row->events = with->row.events;
	row->seconds = with->row.seconds;
	row->errors = with->row.errors + without->row.errors;
	row->latency = with->row.latency;
	row->base = (double)without->row.events / without->row.seconds;
	snprintf(row->note, sizeof row->note,
		 "with %u idle subscriptions on the leader: %.2f × the %.0f a second without, "
		 "%.2f × the nodes' processor time for each; %.0f checkpoints/s in %.0f pieces; "
		 "they take %.1f MiB",
		 SUBSCRIPTIONS, (double)row->events / row->seconds / row->base, row->base,
		 without->ticks > 0 ? each / each_without : 0, (double)with->told / row->seconds,
		 (double)with->pieces / row->seconds, (double)bytes / (double)MIB);
}

bool bench_idle(struct bench *bench, struct bench_row *row)
{
	struct bench_options shorter = *bench->options;
	struct bench own = *bench;
	struct side *sides = memory_zeroed(2, sizeof *sides); /* without, with */
	struct address leader;
	int64_t bytes = 0;
	bool good = find_leader(bench, &leader) && weigh(bench, &leader, &bytes);

	shorter.seconds = shorter.seconds > 1 ? shorter.seconds / 2 : 1;
	own.options = &shorter;
	/* A B, B A, A B: neither is always the first. */
	for (int turn = 0; turn < 2 * ROUNDS && good; turn++) {
		bool with = turn % 4 == 1 || turn % 4 == 2;

		good = append_turn(&own, &leader, with, &sides[with]);
	}
	if (good)
		tell(row, &sides[1], &sides[0], bytes);
	memory_free(sides);
	return good;
}
