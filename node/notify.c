#include "node/notify.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/read.h"
#include "node/subscription.h"
#include "node/wait.h"
#include "storage/record.h"

#include <errno.h>

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
		list_init(&topic->audience.live);
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
	ASSERT(topic->audience.chain_first == 0);
	ASSERT(topic->audience.live.first == NULL);
	table_remove(&notifier->topics, &topic->link);
	memory_free(topic);
}

struct topic *topic_followed(const struct notifier *notifier, struct span record)
{
	if (notifier->topics.count == 0)
		return NULL;
	struct span name = record_stream(record.data);
	struct topic *topic = topic_find(notifier, name, table_hash(name));

	return topic != NULL && topic->audience.live.first != NULL ? topic : NULL;
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

/* All records up to `last` were visited. */
static void hand_out(struct notifier *notifier, uint64_t last)
{
	ASSERT(last > notifier->seen);
	last = feed_join(notifier, last);
	for (struct audience *audience = notifier->feed.touched; audience != NULL;
	     audience = audience->touched_next)
		feed_list(audience->live.first);
	feed_list(notifier->live.first);
	feed_end(notifier);
	notifier->seen = last;
	progress_moved(notifier->progress);
}

/* ---- what the tail does not have any more ---- */

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
		.from = notifier->seen + 1, .limit = LIMIT_READ_EVENTS, .bytes_max = FEED_BYTES};
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

	return notifier->seen + (left < FEED_RECORDS ? left : FEED_RECORDS);
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
	followed_set_init(&notifier->followed);
	notifier->progress = progress_new(notifier);
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
	followed_set_close(&notifier->followed);
	progress_free(notifier->progress);
	buffer_close(&notifier->feed.records);
	memory_free(notifier->feed.entries);
	memory_free(notifier->feed.links);
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
		.queries = notifier->followed.queries.count,
		.query_bytes = notifier->followed.bytes,
	};
}
