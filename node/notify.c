#include "node/notify.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/read.h"
#include "node/subscription.h"
#include "node/wait.h"
#include "storage/record.h"

#include <errno.h>

/* Positions looked at in one visit of the tail, whose lock keeps apply waiting. */
#define PIECE_RECORDS 1024u
/* The same for one that is about to go live: more than is applied while a page of history is read, or
 * it would never get there under load. */
#define CROSSING_RECORDS 16384u
#define PAGE_BYTES       (4 * MIB)

/* A page that a worker reads for the live ones. */
struct feed_page {
	struct work work;
	struct node_post post;
	struct notifier *notifier;
	struct read_range range;
	struct page page;
	int status;
	struct error error;
};

static void pump(struct notifier *notifier);

/* ---- lists ---- */

static void list_init(struct subscription_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

void subscription_list_add(struct subscription_list *list, struct subscription *subscription)
{
	ASSERT(subscription->place_link == NULL);
	subscription->place_next = NULL;
	subscription->place_link = list->last;
	*list->last = subscription;
	list->last = &subscription->place_next;
}

void subscription_list_remove(struct subscription_list *list, struct subscription *subscription)
{
	ASSERT(subscription->place_link != NULL);
	*subscription->place_link = subscription->place_next;
	if (subscription->place_next != NULL)
		subscription->place_next->place_link = subscription->place_link;
	else
		list->last = subscription->place_link;
	subscription->place_next = NULL;
	subscription->place_link = NULL;
}

/* ---- topics ---- */

static struct topic *topic_find(const struct notifier *notifier, struct span name, uint64_t hash)
{
	for (struct table_link *link = table_first(&notifier->topics, hash); link != NULL;
	     link = table_next(link)) {
		struct topic *topic = TABLE_ENTRY(link, struct topic, link);

		if (span_equal(topic->name, name))
			return topic;
	}
	return NULL;
}

struct topic *topic_hold(struct notifier *notifier, struct span name)
{
	uint64_t hash = table_hash(name);
	struct topic *topic = topic_find(notifier, name, hash);

	if (topic == NULL) {
		topic = memory_zeroed(1, sizeof *topic + name.size);
		memcpy(topic + 1, name.data, name.size);
		topic->name = span_of(topic + 1, name.size);
		list_init(&topic->live);
		table_put(&notifier->topics, &topic->link, hash);
	}
	topic->references++;
	return topic;
}

void topic_release(struct notifier *notifier, struct topic *topic)
{
	ASSERT(topic->references > 0);
	if (--topic->references > 0)
		return;
	ASSERT(topic->entry_first == 0);
	ASSERT(topic->live.first == NULL);
	table_remove(&notifier->topics, &topic->link);
	memory_free(topic);
}

/* ---- the feed ---- */

static void feed_begin(struct notifier *notifier)
{
	struct feed *feed = &notifier->feed;

	ASSERT(!feed->busy && feed->touched == NULL);
	feed->busy = true;
	feed->count = 0;
	buffer_clear(&feed->records);
}

void feed_end(struct notifier *notifier)
{
	struct feed *feed = &notifier->feed;
	struct topic *next;

	ASSERT(feed->busy);
	for (struct topic *topic = feed->touched; topic != NULL; topic = next) {
		next = topic->touched_next;
		topic->touched_next = NULL;
		topic->entry_first = 0;
		topic->entry_last = 0;
	}
	feed->touched = NULL;
	feed->busy = false;
	/* One burst of large events should not be held for ever. */
	if (feed->records.capacity > 2 * PAGE_BYTES)
		buffer_close(&feed->records);
}

static struct feed_entry *feed_add(struct feed *feed, struct span record)
{
	if (feed->count == feed->capacity) {
		feed->capacity = feed->capacity == 0 ? PIECE_RECORDS : feed->capacity * 2;
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

/* Behind the other entries of the topic; the entry is the last one of the feed. */
static void feed_chain(struct feed *feed, struct topic *topic)
{
	if (topic->entry_first == 0) {
		topic->entry_first = feed->count;
		topic->touched_next = feed->touched;
		feed->touched = topic;
	} else {
		feed->entries[topic->entry_last - 1].next = feed->count;
	}
	topic->entry_last = feed->count;
}

static struct topic *topic_followed(const struct notifier *notifier, struct span record)
{
	if (notifier->topics.count == 0)
		return NULL;
	struct span name = record_stream(record.data);
	struct topic *topic = topic_find(notifier, name, table_hash(name));

	return topic != NULL && topic->live.first != NULL ? topic : NULL;
}

/* One record of the pass: kept when somebody wants it. */
static void feed_visit(void *arg, struct span record)
{
	struct notifier *notifier = arg;
	struct topic *topic = topic_followed(notifier, record);
	bool wanted = notifier->live.first != NULL &&
		      (notifier->live_system_count > 0 || !record_is_system(record.data));

	if (topic == NULL && !wanted)
		return;
	feed_add(&notifier->feed, record);
	if (topic != NULL)
		feed_chain(&notifier->feed, topic);
}

struct feed_one {
	struct notifier *notifier;
	const struct subscription *only;
};

static void feed_visit_one(void *arg, struct span record)
{
	const struct feed_one *one = arg;
	struct topic *topic = one->only->topic;

	if (topic != NULL && !span_equal(record_stream(record.data), topic->name))
		return;
	feed_add(&one->notifier->feed, record);
	if (topic != NULL)
		feed_chain(&one->notifier->feed, topic);
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

/* ---- handing out ---- */

/* A subscription can leave its list while it is fed, but no other one does. */
static void feed_list(struct subscription *first)
{
	struct subscription *next;

	for (struct subscription *at = first; at != NULL; at = next) {
		next = at->place_next;
		subscription_feed(at);
	}
}

static void hand_out(struct notifier *notifier, uint64_t last)
{
	ASSERT(last > notifier->seen);
	notifier->feed.last = last;
	for (struct topic *topic = notifier->feed.touched; topic != NULL;
	     topic = topic->touched_next)
		feed_list(topic->live.first);
	feed_list(notifier->live.first);
	feed_end(notifier);
	notifier->seen = last;
}

/* ---- what the tail does not have any more ---- */

static int feed_records(struct notifier *notifier, struct span records)
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

static void page_arrived(struct node_post *post)
{
	struct feed_page *page = TABLE_ENTRY(post, struct feed_page, post);
	struct notifier *notifier = page->notifier;
	int rc = page->status;

	notifier->page = NULL;
	if (rc == 0) {
		feed_begin(notifier);
		rc = feed_records(notifier, buffer_span(&page->page.records));
		if (rc == 0)
			hand_out(notifier, page->page.next - 1);
		else
			feed_end(notifier);
	}
	if (rc != 0)
		node_fail(notifier->node, &page->error);
	else
		pump(notifier);
	buffer_close(&page->page.records);
	memory_free(page);
}

static void page_run(struct work *work)
{
	struct feed_page *page = TABLE_ENTRY(work, struct feed_page, work);
	struct node *node = page->notifier->node;

	page->status = store_read_all(node->store, &page->range, true, &page->page, &page->error);
	node_post(node, &page->post);
}

static void page_start(struct notifier *notifier)
{
	struct feed_page *page = memory_zeroed(1, sizeof *page);

	ASSERT(notifier->page == NULL);
	page->notifier = notifier;
	page->work.run = page_run;
	page->post.run = page_arrived;
	page->range = (struct read_range){
		.from = notifier->seen + 1, .limit = LIMIT_READ_EVENTS, .bytes_max = PAGE_BYTES};
	buffer_init(&page->page.records);
	error_set(&page->error, -EBADMSG, "records behind position %llu cannot be parsed",
		  (unsigned long long)notifier->seen);
	notifier->page = page;
	workers_submit(notifier->node->workers, &page->work);
}

/* ---- the pump ---- */

static uint64_t piece_end(const struct notifier *notifier)
{
	uint64_t left = notifier->target - notifier->seen;

	return notifier->seen + (left < PIECE_RECORDS ? left : PIECE_RECORDS);
}

static void pump(struct notifier *notifier)
{
	while (notifier->page == NULL && notifier->seen < notifier->target) {
		uint64_t last = piece_end(notifier);

		if (notifier->live_count == 0) {
			notifier->seen = notifier->target;
			return;
		}
		feed_begin(notifier);
		if (store_visit_tail(notifier->node->store, notifier->seen + 1, last, feed_visit,
				     notifier) != 0) {
			feed_end(notifier);
			page_start(notifier);
			return;
		}
		hand_out(notifier, last);
	}
}

/* ---- public ---- */

struct notifier *notifier_new(struct node *node)
{
	struct notifier *notifier = memory_zeroed(1, sizeof *notifier);

	ASSERT(node->store != NULL);
	notifier->node = node;
	notifier->seen = store_head(node->store);
	notifier->target = notifier->seen;
	table_init(&notifier->numbers);
	table_init(&notifier->topics);
	list_init(&notifier->live);
	list_init(&notifier->queue);
	buffer_init(&notifier->feed.records);
	buffer_init(&notifier->message);
	return notifier;
}

void notifier_applied(struct notifier *notifier, uint64_t first, uint64_t last)
{
	ASSERT(first >= 1 && first <= last);
	ASSERT(last <= store_head(notifier->node->store));
	if (last > notifier->target)
		notifier->target = last;
	if (notifier->node->reader != NULL)
		waits_advance(reader_waits(notifier->node->reader), last);
	pump(notifier);
}

void notifier_role_changed(struct notifier *notifier)
{
	if (notifier->node->reader != NULL)
		waits_role_changed(reader_waits(notifier->node->reader));
}

void notifier_stop(struct notifier *notifier)
{
	for (size_t i = 0; i < notifier->numbers.slots_count; i++)
		while (notifier->numbers.slots[i] != NULL)
			subscription_drop(
				TABLE_ENTRY(notifier->numbers.slots[i], struct subscription, link),
				ANSWER_SHUTTING_DOWN, "the node is stopping");
	ASSERT(notifier->numbers.count == 0);
}

void notifier_free(struct notifier *notifier)
{
	if (notifier == NULL)
		return;
	ASSERT(notifier->pages == 0 && notifier->page == NULL);
	for (size_t i = 0; i < notifier->numbers.slots_count; i++)
		while (notifier->numbers.slots[i] != NULL)
			subscription_end(
				TABLE_ENTRY(notifier->numbers.slots[i], struct subscription, link));
	table_close(&notifier->numbers);
	table_close(&notifier->topics);
	buffer_close(&notifier->feed.records);
	memory_free(notifier->feed.entries);
	buffer_close(&notifier->message);
	memory_free(notifier);
}

void notifier_get_status(const struct notifier *notifier, struct notifier_status *status)
{
	*status = (struct notifier_status){
		.subscriptions = notifier->numbers.count,
		.live = notifier->live_count,
		.seen = notifier->seen,
		.events = notifier->events,
		.bytes = notifier->bytes,
		.fell_behind = notifier->fell_behind,
	};
}
