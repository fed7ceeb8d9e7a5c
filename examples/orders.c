/*
 * Append with an expected version and with a condition, read back, load by a snapshot, subscribe. Takes
 * the cluster's address:
 *
 *     cc orders.c -lannal -o orders && ./orders annal://127.0.0.1:7001
 */
#include <annal.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void check(struct annal_client *client, enum annal_code code, const char *what)
{
	if (code == ANNAL_OK)
		return;
	fprintf(stderr, "orders: %s: %s: %s\n", what, annal_code_name(code),
		annal_client_error(client)->message);
	exit(1);
}

static void fail(const char *what)
{
	fprintf(stderr, "orders: %s\n", what);
	exit(1);
}

/* Two events for a stream that must not exist yet; doing that again must be refused. */
static void append(struct annal_client *client, const char *stream)
{
	const struct annal_expect no_stream = {.kind = ANNAL_EXPECT_NO_STREAM};
	const struct annal_new_event events[] = {
		{.type = "OrderPlaced", .data = annal_text("{\"total\":42}")},
		{.type = "OrderPaid", .data = annal_text("{\"by\":\"card\"}")},
	};
	struct annal_append_result result;

	check(client, annal_append_stream(client, stream, no_stream, events, 2, &result), "append");
	printf("%s is at version %" PRIu64 ", position %" PRIu64 "\n", stream, result.version,
	       result.position);
	if (annal_append_stream(client, stream, no_stream, events, 1, NULL) !=
	    ANNAL_WRONG_EXPECTED_VERSION)
		fail("a second stream of that name was not refused");
	printf("refused: %s\n", annal_client_error(client)->message);
}

static void read_back(struct annal_client *client, const char *stream)
{
	const struct annal_read read = {.stream = stream};
	struct annal_iterator *iterator = annal_iterate(client, &read);
	const struct annal_event *event;
	uint64_t version = 0;

	for (;;) {
		check(client, annal_iterator_next(iterator, &event), "read");
		if (event == NULL)
			break;
		version = event->version;
		printf("%" PRIu64 " %.*s %.*s\n", event->version, (int)event->type.size,
		       (const char *)event->type.data, (int)event->data.size,
		       (const char *)event->data.data);
	}
	annal_iterator_free(iterator);
	if (version != 2)
		fail("two events were written, others were read");
}

/* A seat is taken once, whichever stream says so: two buyers, one tag, one condition. */
static void take_seat(struct annal_client *client, const char *stream)
{
	char seat[80];
	const char *const tags[] = {seat};
	const struct annal_query_item item = {.tags = {tags, 1}};
	const struct annal_condition free_yet = {.fail_if = {&item, 1}};
	const struct annal_new_event taken = {.type = "SeatTaken", .tags = tags, .tags_count = 1};
	const struct annal_write write = {.stream = stream, .events = &taken, .events_count = 1};
	const struct annal_append append = {.writes = &write,
					    .writes_count = 1,
					    .conditions = &free_yet,
					    .conditions_count = 1,
					    .want_conflict_events = true};
	const struct annal_error *error = annal_client_error(client);

	snprintf(seat, sizeof seat, "seat:%s", stream);
	check(client, annal_append(client, &append, NULL), "take a seat");
	if (annal_append(client, &append, NULL) != ANNAL_CONDITION_FAILED ||
	    error->events_count != 1)
		fail("a seat was taken twice");
	printf("refused: %s: it was taken at position %" PRIu64 "\n", error->message,
	       error->events[0].position);
}

/* What the first three events come to is kept, so that only later ones must be read. */
static void load(struct annal_client *client, const char *stream)
{
	const struct annal_snapshot state = {.version = 3, .data = annal_text("{\"paid\":true}")};
	struct annal_aggregate *order;

	check(client, annal_snapshot_put(client, stream, &state), "snapshot");
	check(client, annal_load(client, stream, &order), "load");
	if (order->snapshot == NULL || order->snapshot->version != 3 || order->count != 0)
		fail("the snapshot is not what was put");
	printf("state at version %" PRIu64 ": %.*s\n", order->snapshot->version,
	       (int)order->snapshot->data.size, (const char *)order->snapshot->data.data);
	annal_aggregate_free(order);
}

/* History first, then what comes while we listen. */
static void subscribe(struct annal_client *client, const char *stream)
{
	const struct annal_subscribe from_start = {.stream = stream};
	const struct annal_expect at_three = {.kind = ANNAL_EXPECT_VERSION, .version = 3};
	const struct annal_new_event shipped = {.type = "OrderShipped"};
	struct annal_subscription *subscription;
	struct annal_item item = {0};
	uint64_t seen = 0;

	check(client, annal_subscribe(client, &from_start, &subscription), "subscribe");
	while (item.kind != ANNAL_ITEM_CAUGHT_UP || seen < 3) {
		check(client, annal_subscription_next(subscription, 10000, &item), "next");
		if (item.kind == ANNAL_ITEM_NONE)
			fail("history did not come within 10 seconds");
		seen += item.kind == ANNAL_ITEM_EVENT;
	}
	check(client, annal_append_stream(client, stream, at_three, &shipped, 1, NULL), "append");
	while (item.kind != ANNAL_ITEM_EVENT) {
		check(client, annal_subscription_next(subscription, 10000, &item), "next");
		if (item.kind == ANNAL_ITEM_NONE)
			fail("the new event did not come within 10 seconds");
	}
	printf("live: %.*s\n", (int)item.event.type.size, (const char *)item.event.type.data);
	annal_subscription_free(subscription);
}

int main(int argc, char **argv)
{
	const char *url = argc > 1 ? argv[1] : "annal://127.0.0.1:7001";
	char message[512], stream[64], text[ANNAL_ID_TEXT_BYTES];
	uint8_t id[ANNAL_ID_BYTES];
	struct annal_client *client = annal_client_new(url, message, sizeof message);

	if (client == NULL)
		fail(message);
	annal_new_id(id);
	annal_id_format(id, text);
	snprintf(stream, sizeof stream, "Example-%s", text);
	append(client, stream);
	read_back(client, stream);
	take_seat(client, stream);
	load(client, stream);
	subscribe(client, stream);
	annal_client_free(client);
	return 0;
}
