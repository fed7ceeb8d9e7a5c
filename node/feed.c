/*
 * The feed: records on their way to live subscriptions, and who wants which. See notify.h.
 *
 *   visit, under the tail's lock: copied when a stream that is followed, a name that queries are found
 *   by, or a subscription of all records asks for it; join, without the lock: linked to the audiences
 *   that want it. An audience's links are a chain through `links`, in order.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "node/subscription.h"
#include "storage/record.h"

#include <errno.h>

/* As many as are applied while a page of history is read, and more, or one that is about to go live
 * would never get there under load. */
#define CROSSING_RECORDS 16384u
/* Beyond it a feed ends with the record at hand. */
#define LINKS_ENOUGH 65536u

void feed_begin(struct notifier *notifier)
{
	struct feed *feed = &notifier->feed;

	ASSERT(!feed->busy && feed->touched == NULL);
	feed->busy = true;
	feed->count = 0;
	feed->link_count = 0;
	buffer_clear(&feed->records);
}

/* One burst should not be held for ever. */
static void give_back_memory(struct feed *feed)
{
	if (feed->records.capacity > 2 * FEED_BYTES)
		buffer_close(&feed->records);
	if (feed->link_capacity <= 2 * LINKS_ENOUGH)
		return;
	memory_free(feed->links);
	feed->links = NULL;
	feed->link_capacity = 0;
}

void feed_end(struct notifier *notifier)
{
	struct feed *feed = &notifier->feed;
	struct audience *next;

	ASSERT(feed->busy);
	for (struct audience *audience = feed->touched; audience != NULL; audience = next) {
		next = audience->touched_next;
		audience->touched_next = NULL;
		audience->chain_first = 0;
		audience->chain_last = 0;
	}
	feed->touched = NULL;
	feed->busy = false;
	give_back_memory(feed);
}

static struct feed_entry *feed_add(struct feed *feed, struct span record)
{
	if (feed->count == feed->capacity) {
		feed->capacity = feed->capacity == 0 ? FEED_RECORDS : feed->capacity * 2;
		feed->entries =
			memory_resize(feed->entries, feed->capacity * sizeof *feed->entries);
	}
	struct feed_entry *entry = &feed->entries[feed->count++];

	*entry = (struct feed_entry){.offset = feed->records.size,
				     .size = (uint32_t)record.size,
				     .system = record_is_system(record.data)};
	buffer_append_span(&feed->records, record);
	return entry;
}

/* Behind what the audience has already. */
static void feed_link(struct feed *feed, struct audience *audience, uint32_t entry)
{
	if (feed->link_count == feed->link_capacity) {
		feed->link_capacity =
			feed->link_capacity == 0 ? FEED_RECORDS : feed->link_capacity * 2;
		feed->links = memory_resize(feed->links, feed->link_capacity * sizeof *feed->links);
	}
	feed->links[feed->link_count++] = (struct feed_link){.entry = entry};
	if (audience->chain_first == 0) {
		audience->chain_first = feed->link_count;
		audience->touched_next = feed->touched;
		feed->touched = audience;
	} else {
		feed->links[audience->chain_last - 1].next = feed->link_count;
	}
	audience->chain_last = feed->link_count;
}

/* ---- everybody's ---- */

static bool concerns_queries(const struct notifier *notifier, struct span bytes)
{
	struct record record;

	return notifier->followed.labels.count > 0 && !record_is_system(bytes.data) &&
	       record_parse(bytes, &record) == 0 &&
	       followed_set_concerns(&notifier->followed, &record);
}

void feed_visit(void *arg, struct span record)
{
	struct notifier *notifier = arg;
	struct topic *topic = topic_followed(notifier, record);
	bool concerns = concerns_queries(notifier, record);
	bool wanted = notifier->live.first != NULL &&
		      (notifier->live_system_count > 0 || !record_is_system(record.data));

	if (topic == NULL && !concerns && !wanted)
		return;
	struct feed_entry *entry = feed_add(&notifier->feed, record);

	entry->topic = topic;
	entry->concerns = concerns;
}

int feed_records(struct notifier *notifier, struct span records)
{
	while (records.size > 0) {
		struct record record;

		if (record_parse(records, &record) != 0)
			return -EBADMSG;
		feed_visit(notifier, record.bytes);
		records.data += record.bytes.size;
		records.size -= record.bytes.size;
	}
	return 0;
}

struct joining {
	struct feed *feed;
	uint32_t entry;
};

static void link_query(void *arg, struct followed *followed)
{
	const struct joining *joining = arg;

	feed_link(joining->feed, &followed->audience, joining->entry);
}

static void join_queries(struct notifier *notifier, uint32_t index)
{
	struct feed *feed = &notifier->feed;
	const struct feed_entry *entry = &feed->entries[index];
	struct joining joining = {.feed = feed, .entry = index};
	struct record record;
	int rc = record_parse(span_of(feed->records.data + entry->offset, entry->size), &record);

	ASSERT(rc == 0);
	followed_set_match(&notifier->followed, &record, link_query, &joining);
}

uint64_t feed_join(struct notifier *notifier, uint64_t last)
{
	struct feed *feed = &notifier->feed;

	ASSERT(feed->busy && feed->link_count == 0);
	feed->last = last;
	for (uint32_t i = 0; i < feed->count; i++) {
		struct feed_entry *entry = &feed->entries[i];

		if (entry->topic != NULL)
			feed_link(feed, &entry->topic->audience, i);
		if (entry->concerns)
			join_queries(notifier, i);
		if (feed->link_count < LINKS_ENOUGH || i + 1 == feed->count)
			continue;
		feed->count = i + 1;
		feed->last = record_position(feed->records.data + entry->offset);
	}
	return feed->last;
}

/* ---- for one ---- */

struct feed_one {
	struct notifier *notifier;
	const struct subscription *only;
};

static bool wants(const struct subscription *subscription, struct span bytes)
{
	struct record record;

	if (subscription->topic != NULL)
		return span_equal(record_stream(bytes.data), subscription->topic->name);
	if (subscription->followed != NULL)
		return record_parse(bytes, &record) == 0 &&
		       query_matches(&subscription->followed->query, &record);
	return true;
}

static void feed_visit_one(void *arg, struct span record)
{
	const struct feed_one *one = arg;
	struct feed *feed = &one->notifier->feed;
	struct audience *audience = subscription_audience(one->only);

	if (!wants(one->only, record))
		return;
	feed_add(feed, record);
	if (audience != NULL)
		feed_link(feed, audience, feed->count - 1);
}

bool feed_for_one(struct notifier *notifier, const struct subscription *only)
{
	struct feed_one one = {.notifier = notifier, .only = only};

	ASSERT(only->position < notifier->seen);
	feed_begin(notifier);
	notifier->feed.last = notifier->seen;
	if (notifier->seen - only->position <= CROSSING_RECORDS &&
	    store_visit_tail(notifier->node->store, only->position + 1, notifier->seen,
			     feed_visit_one, &one) == 0)
		return true;
	feed_end(notifier);
	return false;
}
