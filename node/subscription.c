#include "node/subscription.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "node/request.h"
#include "node/subscribe.h"
#include "storage/record.h"

#include <errno.h>

/* [n, [event…], position] with fixed widths: an array of 3, a u64, an array of 32-bit count. */
#define EVENTS_HEADER_BYTES 15

/* What goes into one notification. */
struct piece {
	size_t end; /* of its records in the page */
	uint32_t count;
	uint64_t last; /* position of its last record */
};

struct history_page {
	struct work work;
	struct node_post post;
	struct notifier *notifier;
	struct subscription *subscription; /* NULL: it has ended meanwhile */
	struct request *request;           /* LOCATING: to be answered */
	struct topic *topic;               /* both held; none: all records */
	struct followed *followed;
	struct read_range range;
	bool with_system;
	struct page page;
	struct stream_status stream;
	uint32_t batch;
	struct piece *pieces; /* at most batch records in each */
	uint32_t piece_count;
	int status;
	struct error error;
};

static void queue_run(struct notifier *notifier);
static void drained(struct session_drain *drain);

/* ---- states ---- */

#define TO(state) (1u << SUBSCRIPTION_##state)
static const uint32_t moves[SUBSCRIPTION_STATES] = {
	[SUBSCRIPTION_NEW] = TO(LOCATING) | TO(QUEUED) | TO(LIVE) | TO(DRAINING) | TO(UNPAID),
	[SUBSCRIPTION_LOCATING] = TO(QUEUED) | TO(LIVE) | TO(DRAINING) | TO(UNPAID) | TO(ENDED),
	[SUBSCRIPTION_QUEUED] = TO(READING) | TO(DRAINING) | TO(ENDED),
	[SUBSCRIPTION_READING] = TO(QUEUED) | TO(LIVE) | TO(DRAINING) | TO(UNPAID) | TO(ENDED),
	[SUBSCRIPTION_DRAINING] = TO(QUEUED) | TO(ENDED),
	[SUBSCRIPTION_UNPAID] = TO(QUEUED) | TO(ENDED),
	[SUBSCRIPTION_LIVE] = TO(DRAINING) | TO(UNPAID) | TO(ENDED),
};

struct audience *subscription_audience(const struct subscription *subscription)
{
	if (subscription->topic != NULL)
		return &subscription->topic->audience;
	return subscription->followed != NULL ? &subscription->followed->audience : NULL;
}

static void leave_live(struct subscription *subscription)
{
	struct notifier *notifier = subscription->notifier;
	struct audience *audience = subscription_audience(subscription);

	ASSERT(notifier->live_count > 0);
	notifier->live_count--;
	progress_leave(subscription);
	if (audience != NULL) {
		subscription_list_remove(&audience->live, subscription);
		return;
	}
	subscription_list_remove(&notifier->live, subscription);
	notifier->live_system_count -= subscription->with_system;
}

static void enter_live(struct subscription *subscription)
{
	struct notifier *notifier = subscription->notifier;
	struct audience *audience = subscription_audience(subscription);

	ASSERT(subscription->position >= notifier->seen);
	notifier->live_count++;
	progress_enter(subscription);
	if (audience != NULL) {
		subscription_list_add(&audience->live, subscription);
		return;
	}
	subscription_list_add(&notifier->live, subscription);
	notifier->live_system_count += subscription->with_system;
}

/* Beyond so many unsent bytes of its session, a subscription waits. */
static size_t share_of(const struct subscription *subscription)
{
	size_t half = session_unsent_max(subscription->subscriber->session) / 2;

	return half < LIMIT_SUBSCRIPTION_UNSENT_BYTES ? half : LIMIT_SUBSCRIPTION_UNSENT_BYTES;
}

/* What one page, or one notification, comes to at most (but for a large event). */
static size_t page_bytes(const struct subscription *subscription)
{
	size_t half = share_of(subscription) / 2;

	return half < LIMIT_SUBSCRIPTION_PAGE_BYTES ? half : LIMIT_SUBSCRIPTION_PAGE_BYTES;
}

static bool is_over_share(const struct subscription *subscription)
{
	return session_unsent(subscription->subscriber->session) > share_of(subscription);
}

/* The one place where the state changes. */
static void move(struct subscription *subscription, enum subscription_state to)
{
	struct notifier *notifier = subscription->notifier;

	ASSERT(moves[subscription->state] & (1u << to));
	if (subscription->state == SUBSCRIPTION_LIVE)
		leave_live(subscription);
	else if (subscription->state == SUBSCRIPTION_QUEUED)
		subscription_list_remove(&notifier->queue, subscription);
	subscription->state = (uint8_t)to;
	if (to == SUBSCRIPTION_LIVE) {
		enter_live(subscription);
	} else if (to == SUBSCRIPTION_QUEUED) {
		subscription_list_add(&notifier->queue, subscription);
	} else if (to == SUBSCRIPTION_DRAINING) {
		subscription->drain.below = share_of(subscription) / 2 + 1;
		subscription->drain.drained = drained;
		session_await_drain(subscription->subscriber->session, &subscription->drain);
	}
}

/* LIVE when it may send, else the state in which it waits until it may. */
static enum subscription_state halt_of(const struct subscription *subscription)
{
	if (subscription->windowed && subscription->allowed == 0)
		return SUBSCRIPTION_UNPAID;
	return is_over_share(subscription) ? SUBSCRIPTION_DRAINING : SUBSCRIPTION_LIVE;
}

/* ---- notifications ---- */

static void put_events_header(uint8_t *at, uint64_t number, uint32_t count)
{
	at[0] = 0x93;
	at[1] = 0xcf;
	bytes_set_be64(at + 2, number);
	at[10] = 0xdd;
	bytes_set_be32(at + 11, count);
}

/* Room for the header; records follow it. */
static void message_begin(struct buffer *message)
{
	buffer_clear(message);
	buffer_reserve(message, EVENTS_HEADER_BYTES);
	message->size = EVENTS_HEADER_BYTES;
}

static void notify_place(struct subscription *subscription, const char *method)
{
	struct buffer *message = &subscription->notifier->message;

	buffer_clear(message);
	msgpack_write_array(message, 2);
	msgpack_write_u64(message, subscription->number);
	msgpack_write_u64(message, subscription->position);
	session_notify(subscription->subscriber->session, method, buffer_span(message));
	subscription->told = subscription->position;
	progress_told(subscription);
}

/* The records lie in the message behind room for the header; `last` is the last one's position. */
static void notify_events(struct subscription *subscription, struct buffer *message, uint32_t count,
			  uint64_t last)
{
	struct notifier *notifier = subscription->notifier;

	ASSERT(count > 0 && last > subscription->position);
	put_events_header(message->data, subscription->number, count);
	msgpack_write_u64(message, last);
	session_notify(subscription->subscriber->session, "events", buffer_span(message));
	subscription->position = last;
	subscription->told = last;
	progress_told(subscription);
	if (subscription->windowed && !MUTANT(WINDOW_EXCEEDED)) {
		ASSERT(subscription->allowed >= count);
		subscription->allowed -= count;
	}
	notifier->events += count;
	notifier->bytes += message->size;
}

/* A client that sees nothing must still learn how far it has come, or it starts from afar again. */
static void notify_checkpoint_if_due(struct subscription *subscription)
{
	if (subscription->topic == NULL &&
	    subscription->position - subscription->told >= LIMIT_CHECKPOINT_POSITIONS)
		notify_place(subscription, "checkpoint");
}

bool subscription_checkpoint(struct subscription *subscription)
{
	ASSERT(subscription->state == SUBSCRIPTION_LIVE && subscription->topic == NULL);
	if (is_over_share(subscription))
		return false;
	subscription->position = subscription_cursor(subscription);
	notify_place(subscription, "checkpoint");
	return true;
}

/* ---- what the feed has for one ---- */

/* A place in the feed is an index + 1: of its audience's links, or (all records) of the entries. */
static const struct feed_entry *entry_at(const struct subscription *subscription, uint32_t at)
{
	const struct feed *feed = &subscription->notifier->feed;
	uint32_t entry =
		subscription_audience(subscription) != NULL ? feed->links[at - 1].entry : at - 1;

	ASSERT(entry < feed->count);
	return &feed->entries[entry];
}

static uint32_t place_after(const struct subscription *subscription, uint32_t at)
{
	const struct feed *feed = &subscription->notifier->feed;

	if (subscription_audience(subscription) != NULL)
		return feed->links[at - 1].next;
	return at < feed->count ? at + 1 : 0;
}

static uint32_t first_place(const struct subscription *subscription)
{
	const struct audience *audience = subscription_audience(subscription);

	return audience != NULL ? audience->chain_first : subscription->notifier->feed.count > 0;
}

static bool is_wanted(const struct subscription *subscription, const struct feed_entry *entry)
{
	const uint8_t *record = subscription->notifier->feed.records.data + entry->offset;

	if (record_position(record) <= subscription->position)
		return false;
	if (subscription->topic != NULL)
		return record_version(record) > subscription->version;
	return subscription->followed != NULL || subscription->with_system || !entry->system;
}

/* The first place from `at` on that has what it wants; 0: none. */
static uint32_t next_wanted(const struct subscription *subscription, uint32_t at)
{
	while (at != 0 && !is_wanted(subscription, entry_at(subscription, at)))
		at = place_after(subscription, at);
	return at;
}

static uint32_t events_limit(const struct subscription *subscription)
{
	if (subscription->windowed && subscription->allowed < subscription->batch)
		return (uint32_t)subscription->allowed;
	return subscription->batch;
}

/* One notification from the place `at` on; the next place that has what it wants. */
static uint32_t send_batch(struct subscription *subscription, uint32_t at)
{
	const struct feed *feed = &subscription->notifier->feed;
	struct buffer *message = &subscription->notifier->message;
	uint32_t count = 0, limit = events_limit(subscription);
	const uint8_t *last = NULL;

	message_begin(message);
	while (at != 0 && count < limit) {
		const struct feed_entry *entry = entry_at(subscription, at);

		if (count > 0 && message->size + entry->size > page_bytes(subscription))
			break;
		last = feed->records.data + entry->offset;
		buffer_append(message, last, entry->size);
		count++;
		at = next_wanted(subscription, place_after(subscription, at));
	}
	if (subscription->topic != NULL)
		subscription->version = record_version(last);
	notify_events(subscription, message, count, record_position(last));
	return at;
}

/* LIVE: all of it was sent; else the state in which it has to wait with the rest. */
static enum subscription_state send_feed(struct subscription *subscription)
{
	const struct feed *feed = &subscription->notifier->feed;

	ASSERT(feed->busy);
	for (uint32_t at = next_wanted(subscription, first_place(subscription)); at != 0;) {
		enum subscription_state halt = halt_of(subscription);

		if (halt != SUBSCRIPTION_LIVE)
			return halt;
		at = send_batch(subscription, at);
	}
	if (feed->last > subscription->position)
		subscription->position = feed->last;
	return SUBSCRIPTION_LIVE;
}

void subscription_feed(struct subscription *subscription)
{
	struct notifier *notifier = subscription->notifier;

	ASSERT(subscription->state == SUBSCRIPTION_LIVE);
	if (subscription->position < notifier->seen)
		subscription->position = notifier->seen;
	enum subscription_state next = send_feed(subscription);
	if (next == SUBSCRIPTION_LIVE) {
		notify_checkpoint_if_due(subscription);
		return;
	}
	notifier->fell_behind++;
	if (!MUTANT(FELL_BEHIND_SILENT))
		notify_place(subscription, "fell_behind");
	move(subscription, next);
}

/* ---- history ---- */

static void enqueue(struct subscription *subscription)
{
	move(subscription, SUBSCRIPTION_QUEUED);
	queue_run(subscription->notifier);
}

/* Everything up to its position was sent, as of a moment: go live when that is as far as others. */
static void cross(struct subscription *subscription)
{
	struct notifier *notifier = subscription->notifier;

	/* The live ones wait for a page of it: nobody has caught up before they have. */
	if (notifier->target > notifier->seen && notifier->target > subscription->position) {
		move(subscription, SUBSCRIPTION_QUEUED);
		return;
	}
	if (MUTANT(GAP_BEFORE_LIVE) && subscription->position < notifier->seen)
		subscription->position = notifier->seen;
	if (subscription->position < notifier->seen) {
		if (!feed_for_one(notifier, subscription)) {
			move(subscription, SUBSCRIPTION_QUEUED);
			return;
		}
		enum subscription_state next = send_feed(subscription);
		feed_end(notifier);
		if (next != SUBSCRIPTION_LIVE) {
			move(subscription, next);
			return;
		}
	}
	move(subscription, SUBSCRIPTION_LIVE);
	if (!MUTANT(CAUGHT_UP_EARLY))
		notify_place(subscription, "caught_up");
}

/* A page is one notification as it lies there, or is taken apart. */
static void send_pieces(struct subscription *subscription, struct history_page *page)
{
	struct buffer *message = &subscription->notifier->message;
	size_t begin = EVENTS_HEADER_BYTES;

	if (page->piece_count == 1) {
		notify_events(subscription, &page->page.records, page->page.count,
			      page->pieces[0].last);
		return;
	}
	for (uint32_t i = 0; i < page->piece_count; i++) {
		const struct piece *piece = &page->pieces[i];

		message_begin(message);
		buffer_append(message, page->page.records.data + begin, piece->end - begin);
		notify_events(subscription, message, piece->count, piece->last);
		begin = piece->end;
	}
}

/* false: it may not be sent now, and will be read again. */
static bool send_page(struct subscription *subscription, struct history_page *page)
{
	if (subscription->windowed && subscription->allowed < page->page.count) {
		move(subscription, SUBSCRIPTION_UNPAID);
		return false;
	}
	if (page->page.count > 0 &&
	    session_unsent(subscription->subscriber->session) >= 2 * share_of(subscription)) {
		move(subscription, SUBSCRIPTION_DRAINING);
		return false;
	}
	send_pieces(subscription, page);
	return true;
}

static void take_page(struct subscription *subscription, struct history_page *page)
{
	uint64_t passed = page->page.next - 1;

	if (!send_page(subscription, page)) {
		if (MUTANT(PAGE_SKIPPED) && subscription->topic == NULL)
			subscription->position = passed;
		return;
	}
	if (subscription->topic != NULL)
		subscription->version = passed;
	else if (passed > subscription->position)
		subscription->position = passed;
	if (page->page.end) {
		if (page->page.head > subscription->position)
			subscription->position = page->page.head;
		cross(subscription);
		return;
	}
	notify_checkpoint_if_due(subscription);
	enum subscription_state halt = halt_of(subscription);
	move(subscription, halt == SUBSCRIPTION_LIVE ? SUBSCRIPTION_QUEUED : halt);
}

/* LOCATING is over: what comes behind this head is new. */
static void take_place(struct subscription *subscription, struct history_page *page)
{
	if (page->request->answered || page->request->session == NULL) {
		subscription_end(subscription);
		return;
	}
	subscribe_answer(page->request, subscription, page->stream.head);
	subscription->version = page->stream.version;
	subscription->position = page->stream.head;
	subscription->told = subscription->position;
	cross(subscription);
}

static void page_failed(struct subscription *subscription, struct history_page *page)
{
	log_error("subscribe", "cannot read", "subscription=%llu reason=\"%s\"",
		  (unsigned long long)subscription->number, page->error.message);
	subscription_drop(subscription, ANSWER_INTERNAL, page->error.message);
}

static void page_free(struct history_page *page)
{
	if (page->topic != NULL)
		topic_release(page->notifier, page->topic);
	if (page->followed != NULL)
		followed_release(&page->notifier->followed, page->followed);
	if (page->request != NULL)
		request_release(page->request);
	buffer_close(&page->page.records);
	memory_free(page->pieces);
	memory_free(page);
}

static void page_arrived(struct node_post *post)
{
	struct history_page *page = TABLE_ENTRY(post, struct history_page, post);
	struct notifier *notifier = page->notifier;
	struct subscription *subscription = page->subscription;

	ASSERT(notifier->pages > 0);
	notifier->pages--;
	if (subscription != NULL && page->status != 0) {
		page_failed(subscription, page);
	} else if (subscription != NULL) {
		subscription->page = NULL;
		if (page->request != NULL)
			take_place(subscription, page);
		else
			take_page(subscription, page);
	}
	page_free(page);
	queue_run(notifier);
}

static int find_pieces(struct history_page *page)
{
	const struct buffer *records = &page->page.records;
	uint32_t pieces = (page->page.count + page->batch - 1) / page->batch;
	size_t at = EVENTS_HEADER_BYTES;
	struct record record;

	ASSERT(page->piece_count == 0);
	page->pieces = memory_alloc(pieces * sizeof *page->pieces);
	for (uint32_t i = 0; i < page->page.count; i++) {
		int rc = record_parse(span_of(records->data + at, records->size - at), &record);

		if (rc != 0)
			return error_set(&page->error, rc, "a record of the page has no end");
		at += record.bytes.size;
		if (i % page->batch == 0)
			page->pieces[page->piece_count++] = (struct piece){0};
		struct piece *piece = &page->pieces[page->piece_count - 1];

		piece->end = at;
		piece->count++;
		piece->last = record.position;
	}
	return 0;
}

static int read_records(struct history_page *page, struct store *store)
{
	if (page->topic != NULL)
		return store_read_stream(store, page->topic->name, &page->range, &page->page,
					 &page->stream, &page->error);
	if (page->followed != NULL)
		return store_read_query(store, &page->followed->query, &page->range, &page->page,
					&page->error);
	return store_read_all(store, &page->range, page->with_system, &page->page, &page->error);
}

static int read_page(struct history_page *page, struct store *store)
{
	if (page->request != NULL)
		return store_stream_status(store, page->topic->name, &page->stream, &page->error);
	message_begin(&page->page.records);
	int rc = read_records(page, store);

	return rc == 0 ? find_pieces(page) : rc;
}

static void page_run(struct work *work)
{
	struct history_page *page = TABLE_ENTRY(work, struct history_page, work);
	struct node *node = page->notifier->node;

	page->status = read_page(page, node->store);
	node_post(node, &page->post);
}

/* Small batches are read together; never more than may be sent, but one to see whether there is any. */
static uint32_t page_limit(const struct subscription *subscription)
{
	uint64_t limit = subscription->batch;

	if (limit < LIMIT_SUBSCRIPTION_BATCH_DEFAULT)
		limit = LIMIT_SUBSCRIPTION_BATCH_DEFAULT;
	if (subscription->windowed && limit > subscription->allowed)
		limit = subscription->allowed;
	return limit > 0 ? (uint32_t)limit : 1;
}

/* Let a worker read for the subscription; a `request` that comes along asks for its place only. */
static void page_start(struct subscription *subscription, struct request *request)
{
	struct history_page *page = memory_zeroed(1, sizeof *page);
	struct notifier *notifier = subscription->notifier;

	page->work.run = page_run;
	page->post.run = page_arrived;
	page->notifier = notifier;
	page->subscription = subscription;
	page->request = request;
	if (subscription->topic != NULL)
		page->topic = topic_hold(notifier, subscription->topic->name);
	else if (subscription->followed != NULL)
		page->followed = followed_again(subscription->followed);
	page->with_system = subscription->with_system;
	page->batch = subscription->batch;
	page->range = (struct read_range){
		.from = (page->topic != NULL ? subscription->version : subscription->position) + 1,
		.limit = page_limit(subscription),
		.bytes_max = page_bytes(subscription),
	};
	buffer_init(&page->page.records);
	subscription->page = page;
	notifier->pages++;
	workers_submit(notifier->node->workers, &page->work);
}

/* Give out what pages there are, in the order in which they were asked for. */
static void queue_run(struct notifier *notifier)
{
	while (notifier->pages < LIMIT_SUBSCRIPTION_PAGES && notifier->queue.first != NULL) {
		struct subscription *subscription = notifier->queue.first;

		if (is_over_share(subscription)) {
			move(subscription, SUBSCRIPTION_DRAINING);
			continue;
		}
		move(subscription, SUBSCRIPTION_READING);
		page_start(subscription, NULL);
	}
}

static void drained(struct session_drain *drain)
{
	enqueue(TABLE_ENTRY(drain, struct subscription, drain));
}

void subscription_credit(struct subscription *subscription, uint64_t count)
{
	if (!subscription->windowed || count == 0)
		return;
	if (count > UINT64_MAX - subscription->allowed)
		count = UINT64_MAX - subscription->allowed;
	subscription->allowed += count;
	if (subscription->state == SUBSCRIPTION_UNPAID)
		enqueue(subscription);
}

/* ---- beginning and end ---- */

static struct subscriber *subscriber_hold(struct session *session)
{
	struct subscription *other = *session_subscriptions(session);
	struct subscriber *subscriber = other != NULL ? other->subscriber : NULL;

	if (subscriber == NULL) {
		subscriber = memory_zeroed(1, sizeof *subscriber);
		subscriber->session = session;
	}
	subscriber->count++;
	return subscriber;
}

struct subscription *subscription_new(struct notifier *notifier, struct session *session,
				      struct span stream, const struct query *query)
{
	struct subscription **first = session_subscriptions(session);
	struct followed *followed = NULL;

	if (stream.size == 0 && !query_is_all(query)) {
		followed = followed_hold(&notifier->followed, query);
		if (followed == NULL)
			return NULL;
	}
	struct subscription *subscription = memory_zeroed(1, sizeof *subscription);

	subscription->notifier = notifier;
	subscription->subscriber = subscriber_hold(session);
	subscription->followed = followed;
	if (stream.size > 0)
		subscription->topic = topic_hold(notifier, stream);
	subscription->number = ++notifier->next_number;
	table_put(&notifier->numbers, &subscription->link, table_hash_number(subscription->number));
	subscription->session_next = *first;
	subscription->session_link = first;
	if (*first != NULL)
		(*first)->session_link = &subscription->session_next;
	*first = subscription;
	return subscription;
}

void subscription_begin(struct subscription *subscription)
{
	subscription->told = subscription->position;
	if (MUTANT(CAUGHT_UP_EARLY))
		notify_place(subscription, "caught_up");
	enqueue(subscription);
}

void subscription_begin_at_end(struct subscription *subscription)
{
	subscription->told = subscription->position;
	cross(subscription);
	queue_run(subscription->notifier);
}

void subscription_locate(struct subscription *subscription, struct request *request)
{
	ASSERT(subscription->topic != NULL);
	move(subscription, SUBSCRIPTION_LOCATING);
	page_start(subscription, request_hold(request));
}

void subscription_end(struct subscription *subscription)
{
	struct notifier *notifier = subscription->notifier;

	if (subscription->state == SUBSCRIPTION_DRAINING)
		session_cancel_drain(&subscription->drain);
	move(subscription, SUBSCRIPTION_ENDED);
	if (subscription->page != NULL)
		subscription->page->subscription = NULL;
	*subscription->session_link = subscription->session_next;
	if (subscription->session_next != NULL)
		subscription->session_next->session_link = subscription->session_link;
	table_remove(&notifier->numbers, &subscription->link);
	if (subscription->topic != NULL)
		topic_release(notifier, subscription->topic);
	if (subscription->followed != NULL)
		followed_release(&notifier->followed, subscription->followed);
	if (--subscription->subscriber->count == 0)
		memory_free(subscription->subscriber);
	memory_free(subscription);
}

uint64_t subscription_cursor(const struct subscription *subscription)
{
	uint64_t seen = subscription->notifier->seen;

	if (subscription->state == SUBSCRIPTION_LIVE && seen > subscription->position)
		return seen;
	return subscription->position;
}

void subscription_drop(struct subscription *subscription, enum answer_code code,
		       const char *message)
{
	struct buffer params;

	if (subscription->state == SUBSCRIPTION_LOCATING) { /* its client has no number of it */
		request_answer_error(subscription->page->request, code, "%s", message);
		subscription_end(subscription);
		return;
	}
	buffer_init(&params);
	msgpack_write_array(&params, 3);
	msgpack_write_u64(&params, subscription->number);
	msgpack_write_map(&params, 2);
	msgpack_write_string(&params, "code");
	msgpack_write_string(&params, answer_name(code));
	msgpack_write_string(&params, "message");
	msgpack_write_string(&params, message);
	msgpack_write_u64(&params, subscription_cursor(subscription));
	session_notify(subscription->subscriber->session, "dropped", buffer_span(&params));
	buffer_close(&params);
	subscription_end(subscription);
}

void subscriptions_end(struct session *session)
{
	struct subscription **first = session_subscriptions(session);

	while (*first != NULL)
		subscription_end(*first);
}
