/*
 * Subscribers: to everything, to a stream, by a query. They are slow now and then, lose their connection, move to
 * another node, or end and begin again where they were. What they get must be the log's events, each one
 * once and in order; what they are told must be true.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#define NODE_BYTES   64
#define END_MS       15000 /* from when the log is known to have all of it */
#define CLIENT_SLACK (100 * OS_MS)

/* How far each node was at a moment. */
struct heads {
	uint64_t head[WHOLE_NODES_MAX];
	uint32_t starts[WHOLE_NODES_MAX];
};

struct subscriber {
	unsigned number;
	const char *name;
	unsigned kind;
	uint32_t query_name;
	bool of_stream;
	char stream[32];
	struct annal_client *client;
	struct annal_subscription *subscription; /* NULL: none now */
	uint64_t begin;                          /* nothing up to this position is asked for */
	uint64_t place;                          /* version or position of the last event */
	uint64_t position;
	uint64_t *positions; /* of all that was delivered */
	uint32_t count;
	bool caught_up;
	char node[NODE_BYTES];      /* that serves it, "": none */
	struct heads heads, before; /* before it was asked for; before the last call */
	uint64_t end_seen;
};

/* ---- which node, and how far that was ---- */

static void note_heads(struct heads *heads)
{
	for (unsigned i = 0; i < whole.nodes_count; i++) {
		heads->head[i] = whole_node_head(&whole.nodes[i]);
		heads->starts[i] = whole.nodes[i].process->starts;
	}
}

static unsigned node_number(const char *text)
{
	unsigned number = 0;

	return sscanf(text, "10.0.0.%u", &number) == 1 ? number : 0;
}

static void note_node(struct subscriber *subscriber)
{
	const char *node = annal_subscription_node(subscriber->subscription);

	if (strcmp(node, subscriber->node) == 0)
		return;
	if (node[0] != '\0' && subscriber->count > 0)
		whole_saw(WHOLE_SEEN_MOVED);
	os_trace("subscriber %u: served by %s", subscriber->number, node);
	/* Lost during the last call: whoever is asked next is asked after it began. */
	if (subscriber->node[0] != '\0')
		subscriber->heads = subscriber->before;
	snprintf(subscriber->node, sizeof subscriber->node, "%s", node);
}

/* ---- what it is told ---- */

static uint32_t delivered_up_to(const struct subscriber *subscriber, uint64_t position)
{
	uint32_t count = subscriber->count;

	while (count > 0 && subscriber->positions[count - 1] > position)
		count--;
	return count;
}

static void on_event(struct subscriber *subscriber, const struct annal_event *event)
{
	uint32_t number = model_check_event(subscriber->name, event);
	uint64_t place = subscriber->of_stream ? event->version : event->position;

	if (!model_matches(subscriber->kind, subscriber->query_name, &model.events[number]))
		os_violation("%s got event %u, which it did not ask for", subscriber->name, number);
	if (subscriber->of_stream ? place != subscriber->place + 1 : place <= subscriber->place)
		os_violation("%s got %" PRIu64 " behind %" PRIu64, subscriber->name, place,
			     subscriber->place);
	if (event->position <= subscriber->position)
		os_violation("%s got position %" PRIu64 " behind %" PRIu64, subscriber->name,
			     event->position, subscriber->position);
	subscriber->place = place;
	subscriber->position = event->position;
	ASSERT(subscriber->count < WHOLE_EVENTS_MAX);
	subscriber->positions[subscriber->count++] = event->position;
	os_record(event->position);
	whole_saw(WHOLE_SEEN_DELIVERED);
}

/* History is done: nothing is missing that the node had before it was asked. */
static void on_caught_up(struct subscriber *subscriber)
{
	unsigned node = node_number(subscriber->node);

	if (subscriber->caught_up)
		os_violation("%s is told twice that it has caught up", subscriber->name);
	subscriber->caught_up = true;
	whole_saw(WHOLE_SEEN_CAUGHT_UP);
	if (node == 0 ||
	    whole.nodes[node - 1].process->starts != subscriber->heads.starts[node - 1])
		return;
	uint64_t head = subscriber->heads.head[node - 1];

	if (head > subscriber->begin)
		model_note_range(subscriber->kind, subscriber->query_name, subscriber->begin + 1,
				 head, delivered_up_to(subscriber, head),
				 "a subscription that was told it had caught up");
}

static void on_fell_behind(struct subscriber *subscriber)
{
	if (!subscriber->caught_up)
		os_violation("%s is told that it fell behind, but never that it had caught up",
			     subscriber->name);
	subscriber->caught_up = false;
	whole_saw(WHOLE_SEEN_FELL_BEHIND);
}

static void on_item(struct subscriber *subscriber, const struct annal_item *item)
{
	os_record((uint64_t)item->kind);
	switch (item->kind) {
	case ANNAL_ITEM_EVENT:
		on_event(subscriber, &item->event);
		break;
	case ANNAL_ITEM_CAUGHT_UP:
		on_caught_up(subscriber);
		break;
	case ANNAL_ITEM_FELL_BEHIND:
		on_fell_behind(subscriber);
		break;
	case ANNAL_ITEM_CHECKPOINT:
		model_note_range(subscriber->kind, subscriber->query_name, subscriber->begin + 1,
				 item->position, delivered_up_to(subscriber, item->position),
				 "a subscription's checkpoint");
		break;
	case ANNAL_ITEM_NONE:
		break;
	}
}

/* ---- beginning, and beginning again ---- */

static void subscribe(struct subscriber *subscriber)
{
	uint32_t timeout_ms = client_draw_timeout();
	struct annal_subscribe request = {
		.stream = subscriber->of_stream ? subscriber->stream : NULL,
		.query = subscriber->of_stream
				 ? NULL
				 : model_query(subscriber->kind, subscriber->query_name),
		.after = subscriber->place,
		.window = (uint32_t)whole.limits.window,
		.timeout_ms = timeout_ms,
	};
	uint64_t began = os.now;

	note_heads(&subscriber->heads);
	subscriber->caught_up = false;
	enum annal_code code =
		annal_subscribe(subscriber->client, &request, &subscriber->subscription);

	whole_check_time("annal_subscribe", began, timeout_ms);
	if (code == ANNAL_OK) {
		note_node(subscriber);
		return;
	}
	subscriber->subscription = NULL;
	if (code != ANNAL_UNREACHABLE && code != ANNAL_STREAM_NOT_FOUND)
		os_violation("%s cannot subscribe: %.200s", subscriber->name,
			     annal_client_error(subscriber->client)->message);
}

static void end_subscription(struct subscriber *subscriber)
{
	annal_subscription_free(subscriber->subscription);
	subscriber->subscription = NULL;
	subscriber->node[0] = '\0';
}

static void begin_again(struct subscriber *subscriber)
{
	os_trace("subscriber %u begins again behind %" PRIu64, subscriber->number,
		 subscriber->place);
	end_subscription(subscriber);
	annal_client_free(subscriber->client);
	subscriber->client = whole_connect(0, "any");
}

static void next(struct subscriber *subscriber)
{
	uint32_t timeout_ms = (uint32_t)os_between(0, 300);
	struct annal_item item;
	uint64_t began = os.now;

	note_heads(&subscriber->before);
	enum annal_code code = annal_subscription_next(subscriber->subscription, timeout_ms, &item);

	whole_check_time("annal_subscription_next", began, timeout_ms);
	if (code != ANNAL_OK) {
		os_violation("%s has ended: %.200s", subscriber->name,
			     annal_client_error(subscriber->client)->message);
		return;
	}
	note_node(subscriber);
	on_item(subscriber, &item);
}

/* All that the log has was delivered, and nothing follows. */
static bool is_done(struct subscriber *subscriber)
{
	if (whole.end_head == 0)
		return false;
	if (subscriber->end_seen == 0)
		subscriber->end_seen = os.now;
	uint32_t wanted = model_count(subscriber->kind, subscriber->query_name,
				      subscriber->begin + 1, whole.end_head);

	if (subscriber->count > wanted)
		os_violation("%s got %u events, the log has %u", subscriber->name,
			     subscriber->count, wanted);
	if (os.now > subscriber->end_seen + END_MS * OS_MS)
		os_violation("%s got %u events of %u, %d ms after all was written",
			     subscriber->name, subscriber->count, wanted, END_MS);
	return subscriber->count == wanted && os.now > subscriber->end_seen + OS_SECOND;
}

static void *run_subscriber(void *arg)
{
	struct subscriber *subscriber = arg;

	subscriber->client = whole_connect(0, "any");
	while (!os.violated && !is_done(subscriber)) {
		if (subscriber->subscription == NULL)
			subscribe(subscriber);
		else
			next(subscriber);
		if (subscriber->subscription == NULL)
			os_sleep(50 * OS_MS);
		else if (whole.end_head == 0 && os_chance(3))
			os_sleep(os_between(50, 2000) * OS_MS);
		else if (whole.end_head == 0 && os_chance(3))
			begin_again(subscriber);
	}
	end_subscription(subscriber);
	annal_client_free(subscriber->client);
	memory_free(subscriber->positions);
	memory_free(subscriber);
	if (os_process_files(os_current()) > 0)
		os_violation("%s has ended with descriptors open", os_current()->name);
	whole.subscribing--;
	os_process_exit(0);
}

void whole_subscribers_start(void)
{
	for (unsigned i = 0; i < WHOLE_SUBSCRIBERS; i++) {
		struct subscriber *subscriber = memory_zeroed(1, sizeof *subscriber);

		subscriber->number = i;
		subscriber->name = whole.subscribers[i]->name;
		subscriber->query_name = (uint32_t)os_between(0, whole.limits.streams - 1);
		subscriber->of_stream = i == 1;
		subscriber->kind = i == 0   ? 0
				   : i == 1 ? WHOLE_QUERY_STREAM
					    : (unsigned)os_between(1, WHOLE_QUERIES - 1);
		model_stream_name(subscriber->query_name, subscriber->stream);
		subscriber->positions =
			memory_zeroed(WHOLE_EVENTS_MAX, sizeof *subscriber->positions);
		whole.subscribing++;
		os_process_start(whole.subscribers[i], run_subscriber, subscriber);
	}
}
