/*
 * Subscriptions against a model: what a subscriber gets is, in order and once each, what the log has
 * for it behind its cursor; and what it is told is true when it is told.
 */
#include "tests/unit/node/read_harness.h"

#define STREAMS 5 /* "s0" … "s3" and "$s4" */
#define KEPT    32
#define SEEDS   12

/* Nobody here asks a peer. */
struct peer_client *peer_client_new(struct uv_loop_s *loop, const char *address)
{
	(void)loop;
	(void)address;
	fail_msg("nobody should ask a peer");
	return NULL;
}

void peer_client_call(struct peer_client *peer, struct peer_call *call, const char *method,
		      struct span map)
{
	(void)peer;
	(void)call;
	(void)method;
	(void)map;
}

void peer_client_free(struct peer_client *peer)
{
	(void)peer;
}

/* What one subscription has seen. */
struct follower {
	uint64_t number; /* 0: none */
	int stream;      /* -1: all */
	bool system;
	bool answered;
	uint64_t position, version; /* of the last event seen, or those of `after` */
	uint64_t allowed;           /* by its window; UINT64_MAX: none */
	uint64_t batch;
	uint64_t events, checkpoints;
	uint64_t caught_up_times, fell_behind_times;
	bool live;    /* as it was told last */
	bool dropped; /* the same */
	uint64_t told;
};

struct subscriber_client {
	struct client client;
	struct follower followers[KEPT];
	uint32_t count;
	uint32_t requests[KEPT]; /* msgid of the subscribe of each */
	size_t checked;          /* of client.received */
};

static struct harness harness;
static struct subscriber_client subscribers[4];
static struct buffer params;
static uint64_t notified; /* the last position that the notifier was told of before this turn */

static struct {
	struct buffer bytes;
	size_t *offsets; /* of the record at position + 1 */
	uint64_t count, capacity;
} book;

static void book_clear(void)
{
	buffer_close(&book.bytes);
	memory_free(book.offsets);
	book.offsets = NULL;
	book.count = 0;
	book.capacity = 0;
}

static const char *stream_name(int stream)
{
	static const char *const names[STREAMS] = {"s0", "s1", "s2", "s3", "$s4"};

	return names[stream];
}

/* ---- the model: the log itself, looked at record by record ---- */

static void book_read_on(void)
{
	struct read_range range = {
		.from = book.count + 1, .limit = LIMIT_READ_EVENTS, .bytes_max = MIB};
	struct page page = {0};
	struct record record;
	struct error error;
	size_t at = book.bytes.size;

	assert_int_equal(store_read_all(harness.node.store, &range, true, &page, &error), 0);
	buffer_append_span(&book.bytes, buffer_span(&page.records));
	buffer_close(&page.records);
	while (at < book.bytes.size) {
		struct span left = span_of(book.bytes.data + at, book.bytes.size - at);

		assert_int_equal(record_parse(left, &record), 0);
		if (book.count == book.capacity) {
			book.capacity = book.capacity == 0 ? 1024 : book.capacity * 2;
			book.offsets = memory_resize(book.offsets, book.capacity * sizeof(size_t));
		}
		book.offsets[book.count++] = at;
		assert_int_equal(record.position, book.count);
		at += record.bytes.size;
	}
}

static const uint8_t *book_at(uint64_t position)
{
	while (book.count < position)
		book_read_on();
	return book.bytes.data + book.offsets[position - 1];
}

static int setup(void **state)
{
	(void)state;
	harness_init(&harness);
	buffer_init(&params);
	notified = 0;
	for (size_t i = 0; i < COUNT_OF(subscribers); i++) {
		subscribers[i] = (struct subscriber_client){0};
		client_open(&subscribers[i].client, &harness);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(subscribers); i++)
		if (subscribers[i].client.session != NULL)
			client_close(&subscribers[i].client);
	harness_close(&harness);
	buffer_close(&params);
	book_clear();
	return 0;
}

static bool is_for(const struct follower *follower, const uint8_t *record)
{
	if (follower->stream >= 0)
		return span_equal_string(record_stream(record), stream_name(follower->stream)) &&
		       record_version(record) > follower->version;
	return follower->system || !record_is_system(record);
}

/* The first record for it behind its cursor, up to a position; NULL: there is none. */
static const uint8_t *next_for(const struct follower *follower, uint64_t up_to)
{
	for (uint64_t at = follower->position + 1; at <= up_to; at++)
		if (is_for(follower, book_at(at)))
			return book_at(at);
	return NULL;
}

static struct follower *follower_of(struct subscriber_client *subscriber, uint64_t number)
{
	for (uint32_t i = 0; i < subscriber->count; i++)
		if (subscriber->followers[i].number == number)
			return &subscriber->followers[i];
	fail_msg("no subscription has the number %llu", (unsigned long long)number);
	return NULL;
}

static void see_events(struct follower *follower, struct span list, uint64_t position)
{
	struct msgpack_reader reader = msgpack_reader_of(list);
	struct span event;
	uint32_t count;

	assert_true(msgpack_read_array(&reader, &count));
	assert_true(count >= 1 && count <= follower->batch);
	if (follower->allowed != UINT64_MAX) {
		assert_true(count <= follower->allowed);
		follower->allowed -= count;
	}
	while (count-- > 0) {
		assert_true(msgpack_read_raw(&reader, &event));
		const uint8_t *expected = next_for(follower, store_head(harness.node.store));

		assert_non_null(expected);
		assert_memory_equal(event.data, expected, event.size);
		follower->position = record_position(event.data);
		follower->version = record_version(event.data);
		follower->events++;
	}
	assert_int_equal(position, follower->position);
	follower->told = position;
}

/* It was told that there is nothing for it up to `position`. */
static void see_place(struct follower *follower, uint64_t position)
{
	uint64_t head = store_head(harness.node.store);

	assert_null(next_for(follower, position < head ? position : head));
	assert_true(position >= follower->told);
	follower->told = position;
}

static void see_notification(struct subscriber_client *subscriber, struct msgpack_reader *reader)
{
	struct span method, list = {0};
	uint64_t number, position;
	uint32_t count;

	assert_true(msgpack_read_str(reader, &method));
	assert_true(msgpack_read_array(reader, &count));
	assert_true(msgpack_read_u64(reader, &number));
	struct follower *follower = follower_of(subscriber, number);
	bool three = span_equal_string(method, "events") || span_equal_string(method, "dropped");

	assert_true(follower->answered && !follower->dropped);
	assert_int_equal(count, three ? 3 : 2);
	if (three)
		assert_true(msgpack_read_raw(reader, &list));
	assert_true(msgpack_read_u64(reader, &position));
	if (span_equal_string(method, "events")) {
		see_events(follower, list, position);
		return;
	}
	see_place(follower, position);
	if (span_equal_string(method, "caught_up")) {
		assert_false(follower->live);
		assert_true(position >= notified);
		follower->live = true;
		follower->caught_up_times++;
	} else if (span_equal_string(method, "fell_behind")) {
		assert_true(follower->live);
		follower->live = false;
		follower->fell_behind_times++;
	} else if (span_equal_string(method, "checkpoint")) {
		assert_int_equal(follower->stream, -1);
		follower->checkpoints++;
	} else {
		assert_true(span_equal_string(method, "dropped"));
		assert_true(map_is_text(list, "code", "SHUTTING_DOWN"));
		follower->dropped = true;
	}
}

static void see_answer(struct subscriber_client *subscriber, struct msgpack_reader *reader)
{
	struct span result;
	uint64_t msgid;

	assert_true(msgpack_read_u64(reader, &msgid));
	assert_true(msgpack_read_nil(reader)); /* no error */
	assert_true(msgpack_read_raw(reader, &result));
	for (uint32_t i = 0; i < subscriber->count; i++) {
		struct follower *follower = &subscriber->followers[i];

		if (subscriber->requests[i] != msgid)
			continue;
		follower->answered = true;
		follower->number = map_u64(result, "subscription");
		if (follower->position == UINT64_MAX) /* after "end" */
			follower->position = map_u64(result, "head");
		return;
	}
}

/* Look at whatever has come. */
static void see(struct subscriber_client *subscriber)
{
	if (subscriber->client.session == NULL)
		return;
	session_flush(subscriber->client.session);
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&subscriber->client.received));
	uint32_t count;
	uint64_t kind;

	while (reader.at < reader.end) {
		assert_true(msgpack_read_array(&reader, &count));
		assert_true(msgpack_read_u64(&reader, &kind));
		if (kind == 1)
			see_answer(subscriber, &reader);
		else
			see_notification(subscriber, &reader);
	}
	buffer_clear(&subscriber->client.received);
}

static void see_all(void)
{
	for (size_t i = 0; i < COUNT_OF(subscribers); i++)
		see(&subscribers[i]);
}

/* ---- what happens ---- */

static void turn(void)
{
	uv_run(&harness.loop, UV_RUN_NOWAIT);
	see_all();
}

static void settle(void)
{
	turn();
	while (harness_is_busy(&harness)) {
		uv_run(&harness.loop, UV_RUN_ONCE);
		see_all();
	}
}

static void tell(void)
{
	see_all();
	harness_notify(&harness);
	see_all();
	notified = store_head(harness.node.store);
}

static void append(int stream, uint32_t count, size_t bytes)
{
	store_append(harness.node.store, ++harness.index, stream_name(stream), count, bytes);
}

enum { AFTER_END = -1 };

static struct follower *follow(struct subscriber_client *subscriber, int stream, bool system,
			       int64_t after, uint64_t batch, uint64_t window)
{
	struct follower *follower = &subscriber->followers[subscriber->count];
	bool windowed = window != UINT64_MAX;

	assert_true(subscriber->count < KEPT);
	*follower = (struct follower){
		.stream = stream, .system = system, .allowed = window, .batch = batch};
	if (after == AFTER_END)
		follower->position = UINT64_MAX;
	else if (stream >= 0)
		follower->version = (uint64_t)after;
	else
		follower->position = (uint64_t)after;
	params_format(&params, "{sssbsu", windowed ? 5 : 4, stream >= 0 ? "stream" : "query",
		      stream >= 0 ? stream_name(stream) : "all", "system", system, "batch", batch);
	msgpack_write_string(&params, "after");
	if (after == AFTER_END)
		msgpack_write_string(&params, "end");
	else
		msgpack_write_u64(&params, (uint64_t)after);
	if (windowed) {
		msgpack_write_string(&params, "window");
		msgpack_write_u64(&params, window);
	}
	subscriber->requests[subscriber->count++] =
		client_send(&subscriber->client, "subscribe", buffer_span(&params));
	return follower;
}

static void credit(struct subscriber_client *subscriber, struct follower *follower, uint64_t count)
{
	if (follower->allowed != UINT64_MAX)
		follower->allowed += count;
	client_credit(&subscriber->client, follower->number, count);
}

static void drain(struct subscriber_client *subscriber)
{
	see(subscriber);
	subscriber->client.unsent = 0;
	session_set_unsent(subscriber->client.session, 0);
	see(subscriber);
}

static void assert_complete(const struct follower *follower)
{
	assert_null(next_for(follower, store_head(harness.node.store)));
	assert_true(follower->live);
}

/* ---- tests ---- */

static void history_then_caught_up_then_live(void **state)
{
	(void)state;
	append(0, 5, 10);
	append(1, 5, 10);
	tell();
	struct follower *one = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[1], -1, false, 0, 500, UINT64_MAX);
	struct follower *late = follow(&subscribers[1], 1, false, 3, 500, UINT64_MAX);

	settle();
	assert_int_equal(one->events, 5);
	assert_int_equal(all->events, 10);
	assert_int_equal(late->events, 2);
	append(0, 2, 10);
	tell();
	assert_int_equal(one->events, 7); /* on the loop: no worker was needed */
	assert_int_equal(all->events, 12);
	assert_int_equal(late->events, 2);
	assert_complete(one);
	assert_complete(all);
	assert_complete(late);
}

static void a_stream_that_does_not_exist_yet(void **state)
{
	(void)state;
	struct follower *follower = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);

	settle();
	assert_int_equal(follower->caught_up_times, 1);
	append(0, 3, 10);
	tell();
	assert_int_equal(follower->events, 3);
}

static void after_the_end_only_new_ones(void **state)
{
	(void)state;
	append(0, 5, 10);
	tell();
	struct follower *one = follow(&subscribers[0], 0, false, AFTER_END, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[0], -1, false, AFTER_END, 500, UINT64_MAX);

	settle();
	assert_int_equal(one->caught_up_times, 1);
	assert_int_equal(all->caught_up_times, 1);
	append(0, 2, 10);
	tell();
	settle();
	assert_int_equal(one->events, 2);
	assert_int_equal(all->events, 2);
}

static void after_what_is_not_there_yet(void **state)
{
	(void)state;
	append(0, 5, 10);
	tell();
	struct follower *one = follow(&subscribers[0], 0, false, 7, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[0], -1, false, 7, 500, UINT64_MAX);

	settle();
	append(0, 4, 10);
	tell();
	assert_int_equal(one->events, 2);
	assert_int_equal(all->events, 2);
}

static void a_window_bounds_history_and_live(void **state)
{
	(void)state;
	append(0, 50, 10);
	tell();
	struct follower *follower = follow(&subscribers[0], 0, false, 0, 500, 10);

	settle();
	assert_int_equal(follower->events, 10);
	assert_int_equal(follower->caught_up_times, 0);
	credit(&subscribers[0], follower, 40);
	settle();
	assert_int_equal(follower->events, 50);
	assert_int_equal(follower->caught_up_times, 1);
	append(0, 5, 10);
	tell();
	settle();
	assert_int_equal(follower->events, 50);
	assert_int_equal(follower->fell_behind_times, 1);
	credit(&subscribers[0], follower, 3);
	settle();
	assert_int_equal(follower->events, 53);
	credit(&subscribers[0], follower, UINT64_MAX - 1000);
	settle();
	assert_int_equal(follower->events, 55);
	assert_complete(follower);
}

static void a_window_of_nothing_learns_that_there_is_nothing(void **state)
{
	(void)state;
	struct follower *empty = follow(&subscribers[0], 0, false, 0, 500, 0);
	struct follower *full = follow(&subscribers[0], 1, false, 0, 500, 0);

	append(1, 1, 10);
	tell();
	settle();
	assert_int_equal(empty->caught_up_times, 1);
	assert_int_equal(full->events, 0);
	credit(&subscribers[0], full, 1);
	settle();
	assert_int_equal(full->events, 1);
	assert_complete(full);
}

static void records_that_left_the_tail_before_they_were_handed_out(void **state)
{
	(void)state;
	struct follower *one = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);
	struct follower *all = follow(&subscribers[0], -1, true, 0, 500, UINT64_MAX);

	settle();
	for (int i = 0; i < 30; i++) {
		append(i % STREAMS, 1000, 10);
		if (i % 3 == 0)
			harness_flush(&harness);
	}
	tell();
	settle();
	assert_int_equal(one->events, 6000);
	assert_int_equal(all->events, 30000);
	assert_int_equal(one->fell_behind_times + all->fell_behind_times, 0);
}

static void who_sees_nothing_learns_how_far_the_log_is(void **state)
{
	(void)state;
	struct follower *live = follow(&subscribers[0], -1, false, 0, 500, UINT64_MAX);
	struct follower *one = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);

	settle();
	for (int i = 0; i < 3; i++) {
		append(4, 1000, 10);
		tell();
	}
	settle();
	assert_int_equal(live->events, 0);
	assert_int_equal(live->checkpoints, 3);
	assert_int_equal(live->told, 3000);
	assert_int_equal(one->checkpoints, 0);
}

static void a_slow_reader_slows_only_itself_and_its_memory_is_bounded(void **state)
{
	(void)state;
	harness.node.settings.out_queue_bytes = 64 * KIB;
	subscribers[0].client.slow = true;
	struct follower *slow = follow(&subscribers[0], 0, false, 0, 10, UINT64_MAX);
	struct follower *fast = follow(&subscribers[1], 0, false, 0, 500, UINT64_MAX);

	settle();
	for (int i = 0; i < 200; i++) {
		append(0, 10, 1000);
		tell();
		settle();
		assert_true(session_unsent(subscribers[0].client.session) < 64 * KIB);
	}
	assert_int_equal(fast->events, 2000);
	assert_int_equal(slow->fell_behind_times, 1);
	while (slow->events < 2000) {
		drain(&subscribers[0]);
		settle();
		assert_true(session_unsent(subscribers[0].client.session) < 64 * KIB);
	}
	assert_complete(slow);
}

static void one_unsubscribes(void **state)
{
	(void)state;
	append(0, 3, 10);
	tell();
	struct follower *follower = follow(&subscribers[0], 0, false, 0, 500, UINT64_MAX);

	settle();
	/* Of another connection: not found, and nothing happens. */
	client_send(&subscribers[1].client, "unsubscribe",
		    params_format(&params, "{su", 1, "subscription", follower->number));
	session_flush(subscribers[1].client.session);
	struct msgpack_reader reader =
		msgpack_reader_of(buffer_span(&subscribers[1].client.received));
	uint32_t count;
	struct span error;

	assert_true(msgpack_read_array(&reader, &count) && msgpack_read_skip(&reader) &&
		    msgpack_read_skip(&reader) && msgpack_read_raw(&reader, &error));
	assert_true(map_is_text(error, "code", "NOT_FOUND"));
	assert_true(map_is_text(error, "what", "subscription"));
	buffer_clear(&subscribers[1].client.received);
	append(0, 1, 10);
	tell();
	assert_int_equal(follower->events, 4);
	client_send(&subscribers[0].client, "unsubscribe",
		    params_format(&params, "{su", 1, "subscription", follower->number));
	see_all();
	append(0, 1, 10);
	tell();
	settle();
	assert_int_equal(follower->events, 4);
	assert_int_equal(harness.node.notifier->numbers.count, 0);
	assert_int_equal(harness.node.notifier->topics.count, 0);
}

static void all_are_told_when_the_node_stops(void **state)
{
	(void)state;
	append(0, 3, 10);
	tell();
	for (int i = 0; i < 8; i++)
		follow(&subscribers[i % 2], i % 4 == 0 ? -1 : 0, false, 0, 500,
		       i == 3 ? 0 : UINT64_MAX);
	see_all();
	notifier_stop(harness.node.notifier);
	settle();
	for (int i = 0; i < 8; i++)
		assert_true(subscribers[i % 2].followers[i / 2].dropped);
	assert_int_equal(harness.node.notifier->numbers.count, 0);
}

static void ten_thousand_idle_ones_cost_nothing(void **state)
{
	char name[32];

	(void)state;
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof name, "idle-%d", i);
		client_send(&subscribers[0].client, "subscribe",
			    params_format(&params, "{ss", 1, "stream", name));
	}
	harness_settle(&harness);
	assert_int_equal(harness.node.notifier->live_count, 10000);
	session_flush(subscribers[0].client.session);
	buffer_clear(&subscribers[0].client.received);
	store_append(harness.node.store, ++harness.index, "idle-77", 1, 10);
	store_append(harness.node.store, ++harness.index, "s0", 1000, 10);
	harness_notify(&harness);
	session_flush(subscribers[0].client.session);
	assert_in_range(subscribers[0].client.received.size, 1, 200);
	buffer_clear(&subscribers[0].client.received);
}

/* ---- anything at all ---- */

static uint64_t random_state;

static uint64_t below(uint64_t bound)
{
	return unit_random(&random_state) % bound;
}

static void random_follow(struct subscriber_client *subscriber)
{
	uint64_t head = store_head(harness.node.store);
	int stream = (int)below(STREAMS + 3);
	int64_t after = below(3) == 0 ? (int64_t)below(head + 20) : 0;

	if (subscriber->count == KEPT)
		return;
	if (stream >= STREAMS)
		stream = -1;
	if (below(8) == 0)
		after = AFTER_END;
	follow(subscriber, stream, below(2) == 0, after, 1 + below(below(4) == 0 ? 20 : 600),
	       below(2) ? UINT64_MAX : below(100));
}

static void random_unsubscribe(struct subscriber_client *subscriber)
{
	if (subscriber->count == 0)
		return;
	uint32_t which = (uint32_t)below(subscriber->count);

	if (subscriber->followers[which].number == 0)
		return;
	client_send(&subscriber->client, "unsubscribe",
		    params_format(&params, "{su", 1, "subscription",
				  subscriber->followers[which].number));
	see(subscriber);
	subscriber->count--;
	subscriber->followers[which] = subscriber->followers[subscriber->count];
	subscriber->requests[which] = subscriber->requests[subscriber->count];
}

static void random_credit(struct subscriber_client *subscriber)
{
	for (uint32_t i = 0; i < subscriber->count; i++)
		if (subscriber->followers[i].number != 0)
			credit(subscriber, &subscriber->followers[i], below(60));
}

static void random_reconnect(struct subscriber_client *subscriber)
{
	client_close(&subscriber->client);
	subscriber->count = 0;
	client_open(&subscriber->client, &harness);
	subscriber->client.slow = below(2) == 0;
}

static void random_step(void)
{
	struct subscriber_client *subscriber = &subscribers[below(COUNT_OF(subscribers))];

	switch (below(12)) {
	case 0:
	case 1:
	case 2:
		append((int)below(STREAMS), 1 + (uint32_t)below(40), below(300));
		if (below(3) != 0)
			tell();
		break;
	case 3:
		append((int)below(STREAMS), 1 + (uint32_t)below(1500), below(20));
		break;
	case 4:
		harness_flush(&harness);
		break;
	case 5:
		random_follow(subscriber);
		break;
	case 6:
		random_credit(subscriber);
		break;
	case 7:
		drain(subscriber);
		break;
	case 8:
		if (below(4) == 0)
			random_unsubscribe(subscriber);
		if (below(16) == 0)
			random_reconnect(subscriber);
		break;
	case 9:
		tell();
		break;
	case 10:
		settle();
		break;
	default:
		turn();
	}
	see_all();
}

static void finish(void)
{
	bool done = false;

	tell();
	while (!done) {
		done = true;
		for (size_t i = 0; i < COUNT_OF(subscribers); i++) {
			struct subscriber_client *subscriber = &subscribers[i];

			subscriber->client.slow = false;
			drain(subscriber);
			settle();
			for (uint32_t j = 0; j < subscriber->count; j++) {
				struct follower *follower = &subscriber->followers[j];

				if (follower->allowed == 0)
					credit(subscriber, follower, 10000);
				done = done && follower->live;
			}
		}
		settle();
	}
}

static void whatever_happens_each_sees_each_event_once_and_in_order(void **state)
{
	uint64_t live = 0, behind = 0, events = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		random_state = seed;
		if (seed > 1)
			setup(NULL);
		harness.node.settings.out_queue_bytes = 16 * KIB << below(6);
		for (int step = 0; step < 400; step++)
			random_step();
		finish();
		for (size_t i = 0; i < COUNT_OF(subscribers); i++) {
			for (uint32_t j = 0; j < subscribers[i].count; j++) {
				assert_complete(&subscribers[i].followers[j]);
				live += subscribers[i].followers[j].caught_up_times;
				behind += subscribers[i].followers[j].fell_behind_times;
				events += subscribers[i].followers[j].events;
			}
		}
		if (seed < SEEDS)
			teardown(NULL);
	}
	/* The steps do lead to where things could go wrong. */
	print_message("went live %u, fell behind %u times, %u events\n", (unsigned)live,
		      (unsigned)behind, (unsigned)events);
	assert_true(live > 300 && behind > 50 && events > 100000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(history_then_caught_up_then_live),
		TEST(a_stream_that_does_not_exist_yet),
		TEST(after_the_end_only_new_ones),
		TEST(after_what_is_not_there_yet),
		TEST(a_window_bounds_history_and_live),
		TEST(a_window_of_nothing_learns_that_there_is_nothing),
		TEST(records_that_left_the_tail_before_they_were_handed_out),
		TEST(who_sees_nothing_learns_how_far_the_log_is),
		TEST(a_slow_reader_slows_only_itself_and_its_memory_is_bounded),
		TEST(one_unsubscribes),
		TEST(all_are_told_when_the_node_stops),
		TEST(ten_thousand_idle_ones_cost_nothing),
		TEST(whatever_happens_each_sees_each_event_once_and_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
