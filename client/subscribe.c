/*
 * A subscription has a connection of its own. What was handed to the user is the point to resume
 * from, so whatever was received and not handed out may be lost with the connection. Input is read
 * only when all that came before was looked at: a slow user stops the socket, and the node waits.
 */
#include "client/client.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/mutant.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define MSGID_SUBSCRIBE 1u
#define WINDOW_DEFAULT  1024u
#define ASKING_MS       3000 /* until the node has accepted it */
#define PING_MS         1000 /* of silence */
#define DEAD_MS         4000 /* of silence although it was pinged */
#define REST_MS_FIRST   20u
#define REST_MS_MAX     500u

/* ---- connection ---- */

static void lose(struct annal_subscription *subscription, const char *problem)
{
	uint32_t doublings = subscription->failures < 5 ? subscription->failures : 5;
	uint32_t rest = REST_MS_FIRST << doublings;

	ASSERT(problem != subscription->problem);
	snprintf(subscription->problem, sizeof subscription->problem, "%s: %.180s",
		 subscription->node == NULL ? "" : subscription->node->text, problem);
	link_close(&subscription->link);
	if (MUTANT(RESUME_BEHIND_BATCH) && subscription->stream == NULL &&
	    subscription->batch_at < subscription->batch.count)
		subscription->after = subscription->batch_position;
	subscription->batch.count = 0;
	subscription->batch_at = 0;
	subscription->failures++;
	subscription->retry_ms =
		subscription->client->now_ms + (rest < REST_MS_MAX ? rest : REST_MS_MAX);
	subscription->cursor++;
	if (subscription->caught_up) {
		subscription->caught_up = false;
		subscription->tell_fell_behind = true;
	}
	subscription->state = SUBSCRIPTION_RESTING;
}

/* Errors that another node, or the same one later, would not answer. */
static bool may_resume(enum annal_code code)
{
	switch (code) {
	case ANNAL_NO_LEADER:
	case ANNAL_NOT_LEADER:
	case ANNAL_TIMEOUT:
	case ANNAL_OVERLOADED:
	case ANNAL_NOT_READY:
	case ANNAL_SHUTTING_DOWN:
	case ANNAL_INTERNAL:
		return true;
	default:
		return false;
	}
}

/* The node has ended it, or not begun it. */
static void refused(struct annal_subscription *subscription, struct span body)
{
	struct decode_error *end = &subscription->end;

	if (!decode_error(body, end)) {
		lose(subscription, "its error has no code");
		return;
	}
	if (may_resume(end->public.code)) {
		lose(subscription, end->public.message);
		return;
	}
	link_close(&subscription->link);
	subscription->batch.count = 0;
	subscription->batch_at = 0;
	subscription->state = SUBSCRIPTION_ENDED;
}

static void write_request(struct annal_subscription *subscription)
{
	struct wire_request request;

	wire_request_init(&request);
	wire_request_begin(&request, "subscribe", 3, false);
	if (subscription->stream != NULL) {
		wire_write_text(&request.bytes, "stream", subscription->stream);
	} else {
		msgpack_write_string(&request.bytes, "query");
		buffer_append_span(&request.bytes, buffer_span(&subscription->query));
	}
	wire_write_number(&request.bytes, "after",
			  subscription->after +
				  (MUTANT(RESUME_OFF_BY_ONE) && subscription->after > 0));
	wire_write_number(&request.bytes, "window", subscription->window);
	wire_request_patch(&request, MSGID_SUBSCRIBE, ASKING_MS, false);
	link_write(&subscription->link, buffer_span(&request.bytes));
	wire_request_close(&request);
}

static void ask(struct annal_subscription *subscription)
{
	struct annal_client *client = subscription->client;
	struct node *node = node_rotate(client, &subscription->cursor);
	struct error error;

	if (node == NULL)
		return;
	subscription->node = node;
	subscription->state = SUBSCRIPTION_ASKING;
	subscription->starving_ms = client->now_ms;
	subscription->pinged_ms = 0;
	if (link_open(&subscription->link, &node->address, client->now_ms, &error) != 0) {
		lose(subscription, error.message);
		return;
	}
	link_write(&subscription->link, buffer_span(&client->hello));
	write_request(subscription);
}

static void accepted(struct annal_subscription *subscription, struct span body)
{
	uint64_t id = UINT64_MAX;
	const struct decode_field fields[] = {{"subscription", DECODE_U64, &id}};

	if (!DECODE_FIELDS(body, fields) || id == UINT64_MAX) {
		lose(subscription, "its answer to subscribe is not as specified");
		return;
	}
	subscription->id = id;
	subscription->consumed = 0;
	subscription->failures = 0;
	subscription->state = SUBSCRIPTION_LIVE;
}

/* The answers to the greeting and to the request; nothing else may come before. */
static void take_answer(struct annal_subscription *subscription, struct span bytes)
{
	struct decode_message message;

	if (!decode_message(bytes, &message) || message.kind != DECODE_RESPONSE)
		lose(subscription, "it sent something else than an answer");
	else if (message.failed)
		refused(subscription, message.body);
	else if (message.msgid == MSGID_SUBSCRIBE)
		accepted(subscription, message.body);
}

static void receive(struct annal_subscription *subscription)
{
	struct error error;
	struct span bytes;
	int status = link_receive(&subscription->link, subscription->client->now_ms, &error);

	if (status == 0)
		subscription->starving_ms = 0;
	while (status == 0 && subscription->state == SUBSCRIPTION_ASKING) {
		status = link_next(&subscription->link, &bytes, &error);
		if (status == 0) {
			subscription->starving_ms = subscription->client->now_ms;
			return;
		}
		if (status == 1) {
			take_answer(subscription, bytes);
			status = 0;
		}
	}
	if (status < 0)
		lose(subscription, error.message);
}

static void check_silence(struct annal_subscription *subscription)
{
	struct annal_client *client = subscription->client;
	int64_t since = subscription->link.heard_ms;

	if (subscription->starving_ms == 0)
		return; /* it is the user who does not listen */
	if (subscription->starving_ms > since)
		since = subscription->starving_ms;
	int64_t silence = client->now_ms - since;

	if (silence > (subscription->state == SUBSCRIPTION_ASKING ? ASKING_MS : DEAD_MS)) {
		lose(subscription, "it does not answer");
	} else if (silence > PING_MS && subscription->pinged_ms <= since &&
		   subscription->state == SUBSCRIPTION_LIVE) {
		subscription->pinged_ms = client->now_ms;
		link_write(&subscription->link, buffer_span(&client->ping));
	}
}

void subscription_work(struct annal_subscription *subscription, short revents)
{
	struct error error;

	if (subscription->state == SUBSCRIPTION_ENDED)
		return;
	if (subscription->state == SUBSCRIPTION_RESTING) {
		if (subscription->retry_ms <= subscription->client->now_ms)
			ask(subscription);
		return;
	}
	bool was_open = subscription->link.state == LINK_OPEN;

	if (link_progress(&subscription->link, subscription->client->now_ms, &error) != 0)
		lose(subscription, error.message);
	else if (was_open && subscription->starving_ms != 0 &&
		 (revents & (POLLIN | POLLHUP | POLLERR)) != 0)
		receive(subscription);
	else
		check_silence(subscription);
}

/* ---- notifications ---- */

static void send_credit(struct annal_subscription *subscription)
{
	struct buffer bytes;

	if (subscription->consumed < (subscription->window + 1) / 2 ||
	    subscription->state != SUBSCRIPTION_LIVE)
		return;
	buffer_init(&bytes);
	msgpack_write_array(&bytes, 3);
	msgpack_write_u64(&bytes, 2);
	msgpack_write_string(&bytes, "credit");
	msgpack_write_array(&bytes, 2);
	msgpack_write_u64(&bytes, subscription->id);
	msgpack_write_u64(&bytes, subscription->consumed);
	link_write(&subscription->link, buffer_span(&bytes));
	buffer_close(&bytes);
	subscription->consumed = 0;
}

/* [number, what, position] or [number, position]; `what` may be NULL. */
static bool read_parameters(struct span body, uint64_t *id, struct span *what, uint64_t *position)
{
	struct msgpack_reader reader = msgpack_reader_of(body);
	uint32_t count, wanted = what == NULL ? 2 : 3;

	return msgpack_read_array(&reader, &count) && count >= wanted &&
	       msgpack_read_u64(&reader, id) && (what == NULL || msgpack_read_raw(&reader, what)) &&
	       msgpack_read_u64(&reader, position);
}

/* Nothing matched up to there. */
static void advance(struct annal_subscription *subscription, uint64_t position)
{
	if (position > subscription->position)
		subscription->position = position;
	if (subscription->stream == NULL && position > subscription->after)
		subscription->after = position;
}

static bool take_events(struct annal_subscription *subscription, struct span body)
{
	struct span events;
	uint64_t id;

	if (!read_parameters(body, &id, &events, &subscription->batch_position) ||
	    !decode_events(events, &subscription->batch))
		return false;
	subscription->batch_at = 0;
	return true;
}

/* A notification with a position alone. `item` tells the user, if there is something to tell. */
static bool take_mark(struct annal_subscription *subscription, struct span body,
		      enum annal_item_kind kind, struct annal_item *item)
{
	uint64_t id, position;

	if (!read_parameters(body, &id, NULL, &position))
		return false;
	/* Of a stream the position may be that of its last event, far behind the store's. */
	advance(subscription, subscription->stream == NULL ? position : 0);
	if (kind == ANNAL_ITEM_FELL_BEHIND && !subscription->caught_up)
		return true;
	if (kind != ANNAL_ITEM_CHECKPOINT)
		subscription->caught_up = kind == ANNAL_ITEM_CAUGHT_UP;
	item->kind = kind;
	item->position = subscription->position;
	return true;
}

static bool take_dropped(struct annal_subscription *subscription, struct span body)
{
	struct span why;
	uint64_t id, position;

	if (!read_parameters(body, &id, &why, &position))
		return false;
	refused(subscription, why);
	return true;
}

static void take_notification(struct annal_subscription *subscription, struct span bytes,
			      struct annal_item *item)
{
	struct decode_message message;
	bool good = decode_message(bytes, &message);

	if (!good || message.kind == DECODE_RESPONSE) { /* to a ping */
		if (!good)
			lose(subscription, "what it sent is no message of annal");
		return;
	}
	if (span_equal_string(message.method, "events"))
		good = take_events(subscription, message.body);
	else if (span_equal_string(message.method, "caught_up"))
		good = take_mark(subscription, message.body, ANNAL_ITEM_CAUGHT_UP, item);
	else if (span_equal_string(message.method, "fell_behind"))
		good = take_mark(subscription, message.body, ANNAL_ITEM_FELL_BEHIND, item);
	else if (span_equal_string(message.method, "checkpoint"))
		good = take_mark(subscription, message.body, ANNAL_ITEM_CHECKPOINT, item);
	else if (span_equal_string(message.method, "dropped"))
		good = take_dropped(subscription, message.body);
	else if (span_equal_string(message.method, "error"))
		lose(subscription, "it refused what was sent and closed");
	if (!good)
		lose(subscription, "a notification is not as specified");
}

/* ---- what the user sees ---- */

/* The next event of the batch that was not delivered before. */
static bool take_from_batch(struct annal_subscription *subscription, struct annal_item *item)
{
	while (subscription->batch_at < subscription->batch.count) {
		const struct annal_event *event =
			&subscription->batch.events[subscription->batch_at++];
		uint64_t place = subscription->stream != NULL ? event->version : event->position;

		subscription->consumed++;
		if (place <= subscription->after)
			continue;
		subscription->after = place;
		if (event->position > subscription->position)
			subscription->position = event->position;
		item->kind = ANNAL_ITEM_EVENT;
		item->event = *event;
		item->position = event->position;
		return true;
	}
	if (subscription->batch.count > 0) {
		subscription->batch.count = 0;
		subscription->batch_at = 0;
		advance(subscription,
			subscription->stream == NULL ? subscription->batch_position : 0);
		send_credit(subscription);
	}
	return false;
}

/* Whether there is an item, or an end, without waiting. */
static bool take_item(struct annal_subscription *subscription, struct annal_item *item)
{
	struct error error;
	struct span bytes;

	for (;;) {
		if (take_from_batch(subscription, item) || item->kind != ANNAL_ITEM_NONE)
			return true;
		if (subscription->state == SUBSCRIPTION_ENDED)
			return true;
		if (subscription->tell_fell_behind) {
			subscription->tell_fell_behind = false;
			item->kind = ANNAL_ITEM_FELL_BEHIND;
			item->position = subscription->position;
			return true;
		}
		if (subscription->state != SUBSCRIPTION_LIVE || subscription->starving_ms != 0)
			return false;
		int status = link_next(&subscription->link, &bytes, &error);

		if (status == 1)
			take_notification(subscription, bytes, item);
		else if (status == 0)
			subscription->starving_ms = subscription->client->now_ms;
		else
			lose(subscription, error.message);
	}
}

static enum annal_code report_end(struct annal_subscription *subscription)
{
	const struct annal_error *end = &subscription->end.public;

	return client_fail(subscription->client, end->code, "the subscription is over: %.450s",
			   end->message);
}

enum annal_code annal_subscription_next(struct annal_subscription *subscription,
					uint32_t timeout_ms, struct annal_item *item)
{
	struct annal_client *client = subscription->client;
	int64_t end = clock_monotonic_ms() + timeout_ms;

	*item = (struct annal_item){.kind = ANNAL_ITEM_NONE, .position = subscription->position};
	if (!call_may_block(client))
		return ANNAL_MISUSE;
	for (;;) {
		if (take_item(subscription, item))
			return item->kind == ANNAL_ITEM_NONE ? report_end(subscription) : ANNAL_OK;
		int64_t left = end - clock_monotonic_ms();

		client_turn(client, left > 0 ? left : 0);
		if (left <= 0) /* once more, for what that turn has brought */
			return take_item(subscription, item) && item->kind == ANNAL_ITEM_NONE
				       ? report_end(subscription)
				       : ANNAL_OK;
	}
}

const char *annal_subscription_node(const struct annal_subscription *subscription)
{
	return subscription->state == SUBSCRIPTION_LIVE ? subscription->node->text : "";
}

/* ---- life ---- */

/* The end as of now, certain by a linearizable read. */
static enum annal_code find_end(struct annal_client *client,
				const struct annal_subscribe *subscribe, uint64_t *after)
{
	const struct annal_read last = {.stream = subscribe->stream,
					.backward = true,
					.limit = 1,
					.system = subscribe->stream == NULL,
					.consistency = ANNAL_CONSISTENCY_LINEARIZABLE,
					.timeout_ms = subscribe->timeout_ms};
	struct annal_page *page;
	enum annal_code code = annal_read(client, &last, &page);

	if (code == ANNAL_STREAM_NOT_FOUND) {
		*after = 0;
		return ANNAL_OK;
	}
	if (code != ANNAL_OK)
		return code;
	*after = subscribe->stream != NULL ? page->version : page->head;
	annal_page_free(page);
	return ANNAL_OK;
}

static struct annal_subscription *new_subscription(struct annal_client *client,
						   const struct annal_subscribe *subscribe,
						   uint64_t after)
{
	struct annal_subscription *subscription = memory_zeroed(1, sizeof *subscription);

	subscription->client = client;
	if (subscribe->stream != NULL)
		subscription->stream = memory_copy_string(subscribe->stream);
	buffer_init(&subscription->query);
	wire_write_query(&subscription->query, subscribe->query);
	subscription->window = subscribe->window > 0 ? subscribe->window : WINDOW_DEFAULT;
	subscription->after = after;
	subscription->position = subscribe->stream == NULL ? after : 0;
	subscription->cursor = client->current;
	link_init(&subscription->link);
	decode_events_init(&subscription->batch);
	decode_error_init(&subscription->end);
	LIST_INSERT_HEAD(&client->subscriptions, subscription, entry);
	return subscription;
}

void annal_subscription_free(struct annal_subscription *subscription)
{
	if (subscription == NULL)
		return;
	LIST_REMOVE(subscription, entry);
	link_close(&subscription->link);
	buffer_close(&subscription->query);
	decode_events_close(&subscription->batch);
	decode_error_close(&subscription->end);
	memory_free(subscription->stream);
	memory_free(subscription);
}

enum annal_code annal_subscribe(struct annal_client *client,
				const struct annal_subscribe *subscribe,
				struct annal_subscription **into)
{
	uint32_t timeout_ms =
		subscribe->timeout_ms > 0 ? subscribe->timeout_ms : client->options.timeout_ms;
	int64_t deadline = clock_monotonic_ms() + timeout_ms;
	uint64_t after = subscribe->after;
	enum annal_code code = ANNAL_OK;

	if (!call_may_block(client))
		return ANNAL_MISUSE;
	if (subscribe->from_end)
		code = find_end(client, subscribe, &after);
	if (code != ANNAL_OK)
		return code;
	struct annal_subscription *subscription = new_subscription(client, subscribe, after);

	while (subscription->state != SUBSCRIPTION_LIVE) {
		int64_t left = deadline - clock_monotonic_ms();

		if (subscription->state == SUBSCRIPTION_ENDED)
			code = client_fail(client, subscription->end.public.code, "%s",
					   subscription->end.public.message);
		else if (left <= 0)
			code = client_fail(client, ANNAL_UNREACHABLE,
					   "no node accepted the subscription within %u ms: %s",
					   timeout_ms, subscription->problem);
		if (code != ANNAL_OK) {
			annal_subscription_free(subscription);
			return code;
		}
		client_turn(client, left < 20 ? left : 20);
	}
	*into = subscription;
	return ANNAL_OK;
}
