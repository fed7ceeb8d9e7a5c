/* The client as its user sees it, and the loop. */
#include "client/client.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "base/random.h"
#include "base/uuid.h"
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#define POLLFDS_MAX  64u
#define CHECK_MS     100 /* how often silence is looked for while calls are in flight */
#define NODE_WAIT_MS 10  /* how soon nodes are looked at again while calls wait for one */
#define JITTER_MS    8u

struct annal_bytes annal_text(const char *text)
{
	return (struct annal_bytes){text, strlen(text)};
}

void annal_new_id(uint8_t id[ANNAL_ID_BYTES])
{
	uuid7_generate(id);
}

void annal_id_format(const uint8_t id[ANNAL_ID_BYTES], char text[ANNAL_ID_TEXT_BYTES])
{
	uuid_format(id, text);
}

bool annal_id_parse(const char *text, uint8_t id[ANNAL_ID_BYTES])
{
	return uuid_parse(text, id);
}

/* ---- life ---- */

static void write_hello(struct annal_client *client)
{
	const struct uri *uri = &client->options;
	const struct {
		const char *key;
		const char *value;
	} pairs[] = {{"client", uri->client},
		     {"user", uri->user},
		     {"password", uri->password},
		     {"token", uri->token}};
	struct wire_request request;
	uint32_t count = 0;

	wire_request_init(&request);
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		count += pairs[i].value[0] != '\0';
	wire_request_begin(&request, "hello", count, false);
	for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
		if (pairs[i].value[0] != '\0')
			wire_write_text(&request.bytes, pairs[i].key, pairs[i].value);
	wire_request_patch(&request, CLIENT_MSGID_HELLO, LIMIT_HANDSHAKE_MS, false);
	client->hello = request.bytes;
}

static void write_ping(struct annal_client *client)
{
	struct wire_request request;

	wire_request_init(&request);
	wire_request_begin(&request, "ping", 0, false);
	wire_request_patch(&request, CLIENT_MSGID_PING, LIMIT_HANDSHAKE_MS, false);
	client->ping = request.bytes;
}

struct annal_client *annal_client_new(const char *url, char *message, size_t size)
{
	struct uri uri;
	struct error error;

	if (uri_parse(url, &uri, &error) != 0) {
		if (message != NULL && size > 0)
			snprintf(message, size, "%s", error.message);
		return NULL;
	}
	struct annal_client *client = memory_zeroed(1, sizeof *client);

	client->options = uri;
	TAILQ_INIT(&client->waiting);
	LIST_INIT(&client->subscriptions);
	decode_error_init(&client->error);
	decode_error_init(&client->answer_error);
	decode_events_init(&client->page_events);
	buffer_init(&client->answer);
	for (uint32_t i = 0; i < CLIENT_CALLS_MAX; i++)
		client->free_slots[i] = CLIENT_CALLS_MAX - 1 - i; /* slot 0 is taken first */
	client->free_count = CLIENT_CALLS_MAX;
	client->deadline_ms = INT64_MAX;
	client->now_ms = clock_monotonic_ms();
	client->looked_ms = client->now_ms;
	client->jitter_ms = (uint32_t)(random_u64() % JITTER_MS);
	for (uint32_t i = 0; i < uri.count; i++)
		node_add(client, &uri.addresses[i]);
	write_hello(client);
	write_ping(client);
	return client;
}

static void end_calls(struct annal_client *client)
{
	for (uint32_t slot = 0; slot < CLIENT_CALLS_MAX && client->calls[slot] != NULL; slot++) {
		struct call *call = client->calls[slot];

		if (call->done != NULL) {
			call->maybe_happened |= call->node != NULL && call->writes;
			decode_error_set(&client->answer_error, ANNAL_MISUSE,
					 "the client was freed before the answer came");
			call_fail(client, call);
		}
	}
}

void annal_client_free(struct annal_client *client)
{
	if (client == NULL)
		return;
	ASSERT(!client->calling_back && LIST_EMPTY(&client->subscriptions));
	client->closing = true;
	end_calls(client);
	ASSERT(call_count(client) == 0);
	for (uint32_t i = 0; i < client->nodes_count; i++)
		link_close(&client->nodes[i].link);
	for (uint32_t slot = 0; slot < CLIENT_CALLS_MAX && client->calls[slot] != NULL; slot++) {
		wire_request_close(&client->calls[slot]->request);
		memory_free(client->calls[slot]);
	}
	decode_error_close(&client->error);
	decode_error_close(&client->answer_error);
	buffer_close(&client->answer);
	buffer_close(&client->hello);
	buffer_close(&client->ping);
	decode_events_close(&client->page_events);
	memory_free(client->versions.items);
	memory_free(client);
}

enum annal_code client_fail(struct annal_client *client, enum annal_code code, const char *format,
			    ...)
{
	struct decode_error *error = &client->error;
	va_list args;

	ASSERT(code != ANNAL_OK);
	decode_error_clear(error);
	error->public.code = code;
	va_start(args, format);
	vsnprintf(error->public.message, sizeof error->public.message, format, args);
	va_end(args);
	return code;
}

const struct annal_error *annal_client_error(const struct annal_client *client)
{
	return &client->error.public;
}

/* ---- session ---- */

void client_observe(struct annal_client *client, uint64_t position)
{
	if (position > client->position)
		client->position = position;
}

uint64_t client_session_position(const struct annal_client *client)
{
	return client->options.session && !MUTANT(SESSION_FORGOTTEN) ? client->position : 0;
}

uint64_t annal_client_position(const struct annal_client *client)
{
	return client->position;
}

void annal_client_observe(struct annal_client *client, uint64_t position)
{
	client_observe(client, position);
}

/* ---- loop ---- */

static void take_message(struct annal_client *client, struct node *node, struct span bytes)
{
	struct decode_message message;

	if (!decode_message(bytes, &message)) {
		node_failed(client, node, "what it sent is no message of annal");
	} else if (message.kind == DECODE_NOTIFICATION) {
		/* Without a subscription only "error" comes, and then the end of the connection. */
		if (span_equal_string(message.method, "error"))
			node_failed(client, node, "it refused what was sent and closed");
	} else if (message.msgid == CLIENT_MSGID_HELLO) {
		node_greeting(client, node, &message);
	} else if (message.msgid != CLIENT_MSGID_PING) {
		call_answer(client, node, &message);
	}
}

static void receive(struct annal_client *client, struct node *node)
{
	struct error error;
	struct span bytes;
	int status = link_receive(&node->link, client->now_ms, &error);

	while (status == 0 && node->link.state == LINK_OPEN) {
		status = link_next(&node->link, &bytes, &error);
		if (status != 1)
			break;
		take_message(client, node, bytes);
		status = 0;
	}
	if (status < 0)
		node_failed(client, node, error.message);
}

static void work_on_node(struct annal_client *client, struct node *node, short revents)
{
	struct error error;

	if (node->link.state == LINK_CLOSED)
		return;
	bool was_open = node->link.state == LINK_OPEN;

	if (revents != 0 && link_progress(&node->link, client->now_ms, &error) != 0)
		node_failed(client, node, error.message);
	else if (was_open && (revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		receive(client, node);
}

/* How long nothing can happen by itself. */
static int64_t quiet_ms(const struct annal_client *client)
{
	int64_t quiet = INT64_MAX;
	const struct annal_subscription *subscription;
	const struct call *call;

	if (client->deadline_ms != INT64_MAX)
		quiet = client->deadline_ms - client->now_ms;
	TAILQ_FOREACH(call, &client->waiting, entry)
	{
		int64_t left = call->due_ms - client->now_ms;

		left = left > 0 ? left : NODE_WAIT_MS;
		quiet = left < quiet ? left : quiet;
	}
	for (uint32_t i = 0; i < client->nodes_count; i++)
		if (!TAILQ_EMPTY(&client->nodes[i].in_flight) && quiet > CHECK_MS)
			quiet = CHECK_MS;
	LIST_FOREACH(subscription, &client->subscriptions, entry)
	{
		int64_t most = subscription->state == SUBSCRIPTION_LIVE ? CHECK_MS : NODE_WAIT_MS;

		quiet = most < quiet ? most : quiet;
	}
	return quiet > 0 ? quiet : 0;
}

struct watched {
	struct pollfd pollfds[POLLFDS_MAX];
	struct annal_subscription *subscriptions[POLLFDS_MAX]; /* NULL: a node */
	struct node *nodes[POLLFDS_MAX];
	nfds_t count;
};

static void watch(struct watched *watched, const struct link *link, bool want_input,
		  struct node *node, struct annal_subscription *subscription)
{
	if (link->state == LINK_CLOSED || watched->count == POLLFDS_MAX)
		return;
	watched->pollfds[watched->count] =
		(struct pollfd){.fd = link->fd, .events = link_poll_events(link, want_input)};
	watched->nodes[watched->count] = node;
	watched->subscriptions[watched->count++] = subscription;
}

/* The links are flushed first: one write for all that a turn has queued. */
static void watch_all(struct annal_client *client, struct watched *watched)
{
	struct annal_subscription *subscription;
	struct error error;

	watched->count = 0;
	for (uint32_t i = 0; i < client->nodes_count; i++) {
		struct node *node = &client->nodes[i];

		if (link_flush(&node->link, &error) != 0)
			node_failed(client, node, error.message);
		watch(watched, &node->link, true, node, NULL);
	}
	LIST_FOREACH(subscription, &client->subscriptions, entry)
	watch(watched, &subscription->link, subscription->starving_ms != 0, NULL, subscription);
}

static void run_timers(struct annal_client *client)
{
	struct annal_subscription *subscription;

	client->now_ms = clock_monotonic_ms();
	for (uint32_t i = 0; i < client->nodes_count; i++)
		node_check_silence(client, &client->nodes[i]);
	LIST_FOREACH(subscription, &client->subscriptions, entry)
	subscription_work(subscription, 0);
	call_expire(client);
	call_dispatch(client);
}

static void wait_and_work(struct annal_client *client, struct watched *watched, int64_t wait_ms)
{
	ASSERT(wait_ms >= 0 && wait_ms <= INT32_MAX);
	int ready = poll(watched->pollfds, watched->count, (int)wait_ms);

	client->now_ms = clock_monotonic_ms();
	client->looked_ms = client->now_ms;
	for (nfds_t i = 0; ready > 0 && i < watched->count; i++) {
		if (watched->nodes[i] != NULL)
			work_on_node(client, watched->nodes[i], watched->pollfds[i].revents);
		else if (watched->pollfds[i].revents != 0)
			subscription_work(watched->subscriptions[i], watched->pollfds[i].revents);
	}
}

/* Nobody has looked at what came meanwhile: that is no silence, and may be the answer in time. */
static void look_after_absence(struct annal_client *client)
{
	struct watched watched;

	if (clock_monotonic_ms() - client->looked_ms < 2 * CHECK_MS)
		return;
	watch_all(client, &watched);
	wait_and_work(client, &watched, 0);
}

void client_turn(struct annal_client *client, int64_t wait_ms)
{
	size_t callbacks = client->callbacks;
	struct watched watched;

	ASSERT(!client->calling_back);
	look_after_absence(client);
	run_timers(client);
	watch_all(client, &watched);
	if (client->callbacks != callbacks)
		return; /* what they started is sent without waiting for anything */
	int64_t quiet = quiet_ms(client);

	wait_and_work(client, &watched, wait_ms < quiet ? wait_ms : quiet);
}

void client_send(struct annal_client *client)
{
	run_timers(client);
	for (uint32_t i = 0; i < client->nodes_count; i++) {
		struct error error;

		if (link_flush(&client->nodes[i].link, &error) != 0)
			node_failed(client, &client->nodes[i], error.message);
	}
}

size_t annal_poll(struct annal_client *client, uint32_t timeout_ms)
{
	int64_t end = clock_monotonic_ms() + timeout_ms;

	if (!call_may_block(client))
		return 0;
	client->callbacks = 0;
	for (;;) {
		int64_t left = end - clock_monotonic_ms();

		client_turn(client, left > 0 ? left : 0);
		if (client->callbacks > 0 || left <= 0)
			break;
	}
	client_send(client); /* what the callbacks started goes out with this turn */
	return client->callbacks;
}

size_t annal_in_flight(const struct annal_client *client)
{
	return call_count(client);
}
