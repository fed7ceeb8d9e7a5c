/*
 * Subscriptions against a model: what a subscriber gets is, in order and once each, what the log has
 * for it behind its cursor; and what it is told is true when it is told.
 */
#ifndef TESTS_SUBSCRIBE_MODEL_H
#define TESTS_SUBSCRIBE_MODEL_H

#include "tests/unit/node/notation.h"
#include "tests/unit/node/read_harness.h"

#define STREAMS 5
#define KEPT    32

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
	int stream;      /* -1: all, or a query */
	int query;       /* of `queries`; -1: none */
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

static inline void book_clear(void)
{
	buffer_close(&book.bytes);
	memory_free(book.offsets);
	book.offsets = NULL;
	book.count = 0;
	book.capacity = 0;
}

static inline const char *stream_name(int stream)
{
	static const char *const names[STREAMS] = {"s0", "s1", "Order-1", "Order-22", "$s4"};

	return names[stream];
}

/* ---- the model: the log itself, looked at record by record ---- */

static inline void book_read_on(void)
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

static inline const uint8_t *book_at(uint64_t position)
{
	while (book.count < position)
		book_read_on();
	return book.bytes.data + book.offsets[position - 1];
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

/* ---- queries, and what they want ---- */

static inline bool has_type(const struct record *record, const char *type)
{
	return span_equal_string(record->type, type);
}

static inline bool has_tag(const struct record *record, const char *tag)
{
	for (uint32_t i = 0; i < record->tag_count; i++)
		if (span_equal_string(record->tags[i], tag))
			return true;
	return false;
}

static inline bool is_in(const struct record *record, const char *stream)
{
	return span_equal_string(record->stream, stream);
}

static inline bool in_orders(const struct record *record)
{
	return is_in(record, "Order-1") || is_in(record, "Order-22");
}

static inline bool wants_t1(const struct record *r)
{
	return has_type(r, "T1");
}
static inline bool wants_t0_or_t2(const struct record *r)
{
	return has_type(r, "T0") || has_type(r, "T2");
}
static inline bool wants_a_and_b(const struct record *r)
{
	return has_tag(r, "a") && has_tag(r, "b");
}
static inline bool wants_c_in_s0(const struct record *r)
{
	return has_tag(r, "c") && is_in(r, "s0");
}
static inline bool wants_category(const struct record *r)
{
	return in_orders(r);
}
static inline bool wants_prefix_in_category(const struct record *r)
{
	return is_in(r, "Order-22") && has_type(r, "T2");
}
static inline bool wants_prefix(const struct record *r)
{
	return is_in(r, "s0") || is_in(r, "s1");
}
static inline bool wants_either(const struct record *r)
{
	return (has_type(r, "T0") && has_tag(r, "a")) || is_in(r, "s1") ||
	       (in_orders(r) && has_tag(r, "c"));
}
static inline bool wants_nothing(const struct record *r)
{
	(void)r;
	return false;
}

static const struct {
	const char *text;
	bool (*wants)(const struct record *record);
} queries[] = {
	{"[{types: ['T1']}]", wants_t1},
	{"[{types: ['T0', 'T2']}]", wants_t0_or_t2},
	{"[{tags: ['a', 'b']}]", wants_a_and_b},
	{"[{tags: ['c'], streams: ['s0', 's9']}]", wants_c_in_s0},
	{"[{categories: ['Order', 'None']}]", wants_category},
	{"[{stream_prefix: 'Order-2', types: ['T2']}]", wants_prefix_in_category},
	{"[{stream_prefix: 's'}]", wants_prefix},
	{"[{types: ['T0'], tags: ['a']}, {streams: ['s1']}, {stream_prefix: 'Ord', tags: ['c']}]",
	 wants_either},
	{"[{stream_prefix: 'Ord'}]", wants_category},
	{"[{types: ['T9']}, {tags: ['a', 'z']}, {stream_prefix: 'Order-3'}]", wants_nothing},
};
#define SCANNED 8 /* of them, by no index */
#define QUERIES ((int)COUNT_OF(queries))

static inline bool is_wanted_by_query(int query, const uint8_t *bytes)
{
	struct record record;

	assert_int_equal(record_parse(span_of(bytes, RECORD_BYTES_MAX), &record), 0);
	return !record_is_system(bytes) && queries[query].wants(&record);
}

static inline bool is_for(const struct follower *follower, const uint8_t *record)
{
	if (follower->query >= 0)
		return is_wanted_by_query(follower->query, record);
	if (follower->stream >= 0)
		return span_equal_string(record_stream(record), stream_name(follower->stream)) &&
		       record_version(record) > follower->version;
	return follower->system || !record_is_system(record);
}

/* The first record for it behind its cursor, up to a position; NULL: there is none. */
static inline const uint8_t *next_for(const struct follower *follower, uint64_t up_to)
{
	for (uint64_t at = follower->position + 1; at <= up_to; at++)
		if (is_for(follower, book_at(at)))
			return book_at(at);
	return NULL;
}

static inline struct follower *follower_of(struct subscriber_client *subscriber, uint64_t number)
{
	for (uint32_t i = 0; i < subscriber->count; i++)
		if (subscriber->followers[i].number == number)
			return &subscriber->followers[i];
	fail_msg("no subscription has the number %llu", (unsigned long long)number);
	return NULL;
}

static inline void see_events(struct follower *follower, struct span list, uint64_t position)
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
static inline void see_place(struct follower *follower, uint64_t position)
{
	uint64_t head = store_head(harness.node.store);

	assert_null(next_for(follower, position < head ? position : head));
	assert_true(position >= follower->told);
	follower->told = position;
}

static inline void see_notification(struct subscriber_client *subscriber,
				    struct msgpack_reader *reader)
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

static inline void see_answer(struct subscriber_client *subscriber, struct msgpack_reader *reader)
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
static inline void see(struct subscriber_client *subscriber)
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

static inline void see_all(void)
{
	for (size_t i = 0; i < COUNT_OF(subscribers); i++)
		see(&subscribers[i]);
}

/* ---- what happens ---- */

static inline void turn(void)
{
	uv_run(&harness.loop, UV_RUN_NOWAIT);
	see_all();
}

static inline void settle(void)
{
	turn();
	while (harness_is_busy(&harness)) {
		uv_run(&harness.loop, UV_RUN_ONCE);
		see_all();
	}
}

static inline void tell(void)
{
	see_all();
	harness_notify(&harness);
	see_all();
	notified = store_head(harness.node.store);
}

static inline void append(int stream, uint32_t count, size_t bytes)
{
	harness.index++;
	store_append_labelled(harness.node.store, harness.index, stream_name(stream), count, bytes,
			      harness.index * 7);
}

enum { AFTER_END = -1 };

static inline struct follower *follower_new(struct subscriber_client *subscriber, int64_t after,
					    uint64_t batch, uint64_t window)
{
	struct follower *follower = &subscriber->followers[subscriber->count];

	assert_true(subscriber->count < KEPT);
	*follower = (struct follower){.stream = -1, .query = -1, .allowed = window, .batch = batch};
	follower->position = after == AFTER_END ? UINT64_MAX : (uint64_t)after;
	return follower;
}

/* Behind what there is in `params`: what every kind of subscription has. */
static inline void subscribe(struct subscriber_client *subscriber, int64_t after, uint64_t window)
{
	msgpack_write_string(&params, "after");
	if (after == AFTER_END)
		msgpack_write_string(&params, "end");
	else
		msgpack_write_u64(&params, (uint64_t)after);
	if (window != UINT64_MAX) {
		msgpack_write_string(&params, "window");
		msgpack_write_u64(&params, window);
	}
	subscriber->requests[subscriber->count++] =
		client_send(&subscriber->client, "subscribe", buffer_span(&params));
}

static inline struct follower *follow(struct subscriber_client *subscriber, int stream, bool system,
				      int64_t after, uint64_t batch, uint64_t window)
{
	struct follower *follower = follower_new(subscriber, after, batch, window);

	follower->stream = stream;
	follower->system = system;
	if (stream >= 0 && after != AFTER_END) {
		follower->version = (uint64_t)after;
		follower->position = 0;
	}
	params_format(&params, "{sssbsu", window != UINT64_MAX ? 5 : 4,
		      stream >= 0 ? "stream" : "query", stream >= 0 ? stream_name(stream) : "all",
		      "system", system, "batch", batch);
	subscribe(subscriber, after, window);
	return follower;
}

static inline struct follower *follow_query(struct subscriber_client *subscriber, int query,
					    int64_t after, uint64_t batch, uint64_t window)
{
	struct follower *follower = follower_new(subscriber, after, batch, window);

	follower->query = query;
	params_format(&params, "{sus", window != UINT64_MAX ? 4 : 3, "batch", batch, "query");
	notation_append(&params, queries[query].text);
	subscribe(subscriber, after, window);
	return follower;
}

static inline void credit(struct subscriber_client *subscriber, struct follower *follower,
			  uint64_t count)
{
	if (follower->allowed != UINT64_MAX)
		follower->allowed += count;
	client_credit(&subscriber->client, follower->number, count);
}

static inline void drain(struct subscriber_client *subscriber)
{
	see(subscriber);
	subscriber->client.unsent = 0;
	session_set_unsent(subscriber->client.session, 0);
	see(subscriber);
}

static inline void assert_complete(const struct follower *follower)
{
	assert_null(next_for(follower, store_head(harness.node.store)));
	assert_true(follower->live);
}

#endif
