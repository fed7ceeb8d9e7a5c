/*
 * Subscribers with libannal: to everything, to a stream, by a query, and one program with two subscriptions.
 * They are slow now and then, or all the time, lose their connection, move to another node, or end
 * and begin again where they were.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#define NODE_BYTES     64
#define DELIVERIES_MAX 2
#define WINDOW_OF_TWO  200
#define ITEMS_MAX      16 /* that are taken from one before the other has its turn */

struct delivery {
	struct whole_feed feed;
	struct annal_subscription *subscription; /* NULL: none now */
	char node[NODE_BYTES];                   /* that serves it, "": none */
	struct whole_heads before;               /* the last call */
};

struct subscriber {
	unsigned number, count;
	uint64_t pace_ns; /* that it takes for an item, at most */
	struct annal_client *client;
	struct delivery deliveries[DELIVERIES_MAX];
};

/* ---- which node ---- */

static unsigned node_number(const char *text)
{
	unsigned number = 0;

	return sscanf(text, "10.0.0.%u", &number) == 1 ? number : 0;
}

static void note_node(struct delivery *delivery)
{
	const char *node = annal_subscription_node(delivery->subscription);

	if (strcmp(node, delivery->node) == 0)
		return;
	if (node[0] != '\0' && delivery->feed.count > 0)
		whole_saw(WHOLE_SEEN_MOVED);
	os_trace("%s: served by %s", delivery->feed.name, node);
	/* Lost during the last call: whoever is asked next is asked after it began. */
	if (delivery->node[0] != '\0')
		delivery->feed.heads = delivery->before;
	snprintf(delivery->node, sizeof delivery->node, "%s", node);
	delivery->feed.node = node_number(node);
}

static void note_nodes(struct subscriber *subscriber)
{
	for (unsigned i = 0; i < subscriber->count; i++)
		if (subscriber->deliveries[i].subscription != NULL)
			note_node(&subscriber->deliveries[i]);
}

/* ---- what it is told ---- */

static void on_item(struct delivery *delivery, const struct annal_item *item)
{
	struct whole_feed *feed = &delivery->feed;

	os_record((uint64_t)item->kind);
	switch (item->kind) {
	case ANNAL_ITEM_EVENT:
		whole_feed_event(feed, &item->event);
		break;
	case ANNAL_ITEM_CAUGHT_UP:
		whole_feed_caught_up(feed, item->position);
		break;
	case ANNAL_ITEM_FELL_BEHIND:
		whole_feed_fell_behind(feed, item->position);
		break;
	case ANNAL_ITEM_CHECKPOINT:
		whole_feed_checkpoint(feed, item->position);
		break;
	case ANNAL_ITEM_NONE:
		break;
	}
}

/* ---- beginning, and beginning again ---- */

/*
 * Two that have their turns one after the other would never end with a window of one. With a large one much lies
 * there that was received and not given, behind a credit that was not sent yet, when a connection breaks.
 */
static uint32_t window_of(const struct subscriber *subscriber)
{
	uint64_t window = whole.limits.window;

	return (uint32_t)(subscriber->count > 1 && window < WINDOW_OF_TWO ? WINDOW_OF_TWO : window);
}

static void subscribe(struct subscriber *subscriber, struct delivery *delivery)
{
	struct whole_feed *feed = &delivery->feed;
	uint32_t timeout_ms = client_draw_timeout();
	struct annal_subscribe request = {
		.stream = feed->of_stream ? feed->stream : NULL,
		.query = feed->of_stream ? NULL : model_query(feed->kind, feed->query_name),
		.after = feed->place,
		.window = window_of(subscriber),
		.timeout_ms = timeout_ms,
	};
	uint64_t began = os.now;

	whole_feed_begin(feed, 0);
	for (unsigned i = 0; i < subscriber->count; i++)
		whole_heads_note(&subscriber->deliveries[i].before);
	enum annal_code code =
		annal_subscribe(subscriber->client, &request, &delivery->subscription);

	whole_check_time("annal_subscribe", began, timeout_ms);
	if (code != ANNAL_OK)
		delivery->subscription = NULL;
	note_nodes(subscriber);
	if (code == ANNAL_OK)
		return;
	if (code != ANNAL_UNREACHABLE && code != ANNAL_STREAM_NOT_FOUND)
		os_violation("%s cannot subscribe: %.200s", feed->name,
			     annal_client_error(subscriber->client)->message);
}

static void end_subscriptions(struct subscriber *subscriber)
{
	for (unsigned i = 0; i < subscriber->count; i++) {
		struct delivery *delivery = &subscriber->deliveries[i];

		annal_subscription_free(delivery->subscription);
		delivery->subscription = NULL;
		delivery->node[0] = '\0';
	}
	annal_client_free(subscriber->client);
}

static void begin_again(struct subscriber *subscriber)
{
	os_trace("subscriber %u begins again", subscriber->number);
	end_subscriptions(subscriber);
	subscriber->client = whole_connect(0, "any");
}

/* False: nothing came. */
static bool next(struct subscriber *subscriber, struct delivery *delivery)
{
	uint32_t timeout_ms = (uint32_t)os_between(0, subscriber->count > 1 ? 20 : 300);
	struct annal_item item;
	uint64_t began = os.now;

	/* A call for the one may bring the other to another node. */
	for (unsigned i = 0; i < subscriber->count; i++)
		whole_heads_note(&subscriber->deliveries[i].before);
	enum annal_code code = annal_subscription_next(delivery->subscription, timeout_ms, &item);

	whole_check_time("annal_subscription_next", began, timeout_ms);
	if (code != ANNAL_OK) {
		os_violation("%s has ended: %.200s", delivery->feed.name,
			     annal_client_error(subscriber->client)->message);
		return false;
	}
	note_nodes(subscriber);
	on_item(delivery, &item);
	if (whole.end_head == 0 && item.kind == ANNAL_ITEM_EVENT && subscriber->pace_ns > 0)
		os_sleep(os_between(0, subscriber->pace_ns));
	return item.kind != ANNAL_ITEM_NONE;
}

/* ---- the program ---- */

static bool is_done(struct subscriber *subscriber)
{
	bool done = true;

	for (unsigned i = 0; i < subscriber->count; i++)
		done &= whole_feed_is_done(&subscriber->deliveries[i].feed);
	return done;
}

static void turn(struct subscriber *subscriber)
{
	struct delivery *delivery = &subscriber->deliveries[os_between(0, subscriber->count - 1)];
	unsigned items = subscriber->count == 1 ? 1 : (unsigned)os_between(1, ITEMS_MAX);

	if (delivery->subscription == NULL)
		subscribe(subscriber, delivery);
	while (items > 0 && delivery->subscription != NULL && !os.violated)
		items = next(subscriber, delivery) ? items - 1 : 0;
	if (delivery->subscription == NULL)
		os_sleep(50 * OS_MS);
	else if (whole.end_head == 0 && os_chance(3))
		os_sleep(os_between(50, 2000) * OS_MS);
	else if (whole.end_head == 0 && os_chance(3))
		begin_again(subscriber);
}

static void *run_subscriber(void *arg)
{
	struct subscriber *subscriber = arg;

	subscriber->client = whole_connect(0, "any");
	while (!os.violated && !is_done(subscriber))
		turn(subscriber);
	end_subscriptions(subscriber);
	for (unsigned i = 0; i < subscriber->count; i++)
		whole_feed_close(&subscriber->deliveries[i].feed);
	memory_free(subscriber);
	if (os_process_files(os_current()) > 0)
		os_violation("%s has ended with descriptors open", os_current()->name);
	whole.subscribing--;
	os_process_exit(0);
}

static unsigned draw_kind(void)
{
	return (unsigned)os_between(1, WHOLE_QUERIES - 1);
}

void whole_subscribers_start(void)
{
	for (unsigned i = 0; i < WHOLE_SUBSCRIBERS; i++) {
		struct subscriber *subscriber = memory_zeroed(1, sizeof *subscriber);
		const char *name = whole.subscribers[i]->name;

		subscriber->number = i;
		whole_feed_init(&subscriber->deliveries[0].feed, name, i == 0 ? 0 : draw_kind(),
				i == 1);
		subscriber->count = 1;
		/* The last one has two on one client: what happens to the one is noticed in calls for the other. */
		if (i == WHOLE_SUBSCRIBERS - 1) {
			whole_feed_init(&subscriber->deliveries[1].feed, name, 0, false);
			subscriber->count = 2;
			subscriber->pace_ns = whole.limits.pace_ns;
		}
		whole.subscribing++;
		os_process_start(whole.subscribers[i], run_subscriber, subscriber);
	}
}
