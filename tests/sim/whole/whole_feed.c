/*
 * What a subscription delivers, whoever receives it: the log's events, each one once and in order, and what
 * it is told of its place must be true. Parts of the log that must have been delivered by then are
 * counted when the whole log is known.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>

#define END_MS 40000 /* from when the log is known to have all of it */

void whole_heads_note(struct whole_heads *heads)
{
	for (unsigned i = 0; i < WHOLE_NODES_MAX; i++) {
		const struct whole_node *node = &whole.nodes[i];

		heads->head[i] = whole_node_head(node);
		heads->starts[i] = node->process == NULL ? 0 : node->process->starts;
	}
}

void whole_feed_init(struct whole_feed *feed, const char *name, unsigned kind, bool of_stream)
{
	*feed = (struct whole_feed){.name = name, .kind = kind, .of_stream = of_stream};
	feed->query_name = (uint32_t)os_between(0, whole.limits.streams - 1);
	if (of_stream)
		feed->kind = WHOLE_QUERY_STREAM;
	model_stream_name(feed->query_name, feed->stream);
	feed->positions = memory_zeroed(WHOLE_EVENTS_MAX, sizeof *feed->positions);
}

void whole_feed_close(struct whole_feed *feed)
{
	memory_free(feed->positions);
}

void whole_feed_begin(struct whole_feed *feed, unsigned node)
{
	feed->node = node;
	feed->caught_up = false;
	whole_heads_note(&feed->heads);
}

static uint32_t delivered_up_to(const struct whole_feed *feed, uint64_t position)
{
	uint32_t count = feed->count;

	while (count > 0 && feed->positions[count - 1] > position)
		count--;
	return count;
}

/* Everything up to there was delivered, it says. */
static void claim(const struct whole_feed *feed, uint64_t position, const char *who)
{
	if (position > 0)
		model_note_range(feed->kind, feed->query_name, 1, position,
				 delivered_up_to(feed, position), who);
}

void whole_feed_event(struct whole_feed *feed, const struct annal_event *event)
{
	uint32_t number = model_check_event(feed->name, event);
	uint64_t place = feed->of_stream ? event->version : event->position;

	if (!model_matches(feed->kind, feed->query_name, &model.events[number]))
		os_violation("%s got event %u, which it did not ask for", feed->name, number);
	if (feed->of_stream ? place != feed->place + 1 : place <= feed->place)
		os_violation("%s got %" PRIu64 " behind %" PRIu64, feed->name, place, feed->place);
	if (event->position <= feed->position)
		os_violation("%s got position %" PRIu64 " behind %" PRIu64, feed->name,
			     event->position, feed->position);
	feed->place = place;
	feed->position = event->position;
	ASSERT(feed->count < WHOLE_EVENTS_MAX);
	feed->positions[feed->count++] = event->position;
	os_record(event->position);
	whole_saw(WHOLE_SEEN_DELIVERED);
}

/* History is done: nothing is missing that the node had before it was asked, nor up to where it says. */
void whole_feed_caught_up(struct whole_feed *feed, uint64_t position)
{
	unsigned node = feed->node;

	if (feed->caught_up)
		os_violation("%s is told twice that it has caught up", feed->name);
	feed->caught_up = true;
	whole_saw(WHOLE_SEEN_CAUGHT_UP);
	claim(feed, position, "a subscription that was told where it had caught up");
	if (node != 0 && whole.nodes[node - 1].process->starts == feed->heads.starts[node - 1])
		claim(feed, feed->heads.head[node - 1],
		      "a subscription that was told it had caught up");
}

void whole_feed_fell_behind(struct whole_feed *feed, uint64_t position)
{
	if (!feed->caught_up)
		os_violation("%s is told that it fell behind, but never that it had caught up",
			     feed->name);
	feed->caught_up = false;
	claim(feed, position, "a subscription that was told where it fell behind");
	whole_saw(WHOLE_SEEN_FELL_BEHIND);
}

void whole_feed_checkpoint(const struct whole_feed *feed, uint64_t position)
{
	claim(feed, position, "a subscription's checkpoint");
}

/* All that the log has was delivered, and nothing follows. */
bool whole_feed_is_done(struct whole_feed *feed)
{
	if (whole.end_head == 0)
		return false;
	if (feed->end_seen == 0) {
		feed->end_seen = os.now;
		feed->wanted = model_count(feed->kind, feed->query_name, 1, whole.end_head);
	}
	uint32_t wanted = feed->wanted;

	if (feed->count > wanted)
		os_violation("%s got %u events, the log has %u", feed->name, feed->count, wanted);
	if (feed->count < wanted && os.now > feed->end_seen + END_MS * OS_MS)
		os_violation("%s got %u events of %u, %d ms after all was written", feed->name,
			     feed->count, wanted, END_MS);
	return feed->count == wanted && os.now > feed->end_seen + OS_SECOND;
}
