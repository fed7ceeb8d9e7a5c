/*
 * A node's reading half without its rest: a real store (in memory), real sessions, requests, workers
 * and a loop; the replica, the peers and the transport are played by the test. Included by one test
 * program each; what it defines stands for node.c, dispatch.c, replica.c and peer_client.c.
 */
#ifndef TESTS_READ_HARNESS_H
#define TESTS_READ_HARNESS_H

#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/msgpack.h"
#include "node/catch_up.h"
#include "node/deadline.h"
#include "node/dispatch.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/peer_client.h"
#include "node/read.h"
#include "node/request.h"
#include "node/session.h"
#include "node/stats.h"
#include "node/subscribe.h"
#include "node/subscription.h"
#include "node/wait.h"
#include "storage/command.h"
#include "storage/kv.h"
#include "storage/record.h"

#include <stdio.h>
#include <unistd.h>
#include <uv.h>

struct barrier {
	void (*ready)(void *arg, uint64_t position);
	void *arg;
};

struct harness {
	struct node node; /* first: the fakes get a node and want the harness */
	uv_loop_t loop;
	uv_async_t async;
	uv_timer_t clock;
	struct mailbox posts;
	struct kv_memory_disk *disk;
	struct node_counters counters;
	struct replica_status status;
	bool resumed;
	uint64_t noted_pulled;
	uint64_t index; /* raft index of the last command */
	struct barrier barriers[64];
	uint32_t barrier_count;
};

static struct harness *harness_of_replica; /* replica_* get no node: one harness at a time */

/* ---- what node.c does ---- */

void node_post(struct node *node, struct node_post *post)
{
	mailbox_put(&((struct harness *)node)->posts, &post->mail);
}

const struct replica_status *node_replica_status(struct node *node)
{
	return &((struct harness *)node)->status;
}

/* Ends the process; a test that wants it runs in a child and looks at what is written here. */
static struct error *harness_failure;

void node_fail(struct node *node, const struct error *error)
{
	(void)node;
	if (harness_failure == NULL)
		fail_msg("the node failed: %s", error->message);
	else
		*harness_failure = *error;
	_exit(70);
}

static void harness_wake(void *arg)
{
	uv_async_send(arg);
}

static void harness_run_posts(uv_async_t *async)
{
	struct harness *harness = async->data;
	struct mail *next;

	for (struct mail *mail = mailbox_take_all(&harness->posts); mail != NULL; mail = next) {
		struct node_post *post = TABLE_ENTRY(mail, struct node_post, mail);

		next = mail->next;
		post->run(post);
	}
}

static void harness_tick(uv_timer_t *timer)
{
	struct harness *harness = timer->data;

	deadlines_advance(harness->node.deadlines, clock_monotonic_ms());
}

/* ---- what the replica does ---- */

bool replica_is_leader(const struct replica *replica)
{
	(void)replica;
	return harness_of_replica->status.role == REPLICA_LEADER;
}

void replica_read_barrier(struct replica *replica, void (*ready)(void *arg, uint64_t position),
			  void *arg)
{
	struct harness *harness = harness_of_replica;

	(void)replica;
	assert_true(harness->barrier_count < COUNT_OF(harness->barriers));
	harness->barriers[harness->barrier_count++] = (struct barrier){.ready = ready, .arg = arg};
}

int replica_note_pulled(struct replica *replica, uint64_t index, struct error *error)
{
	(void)replica;
	(void)error;
	harness_of_replica->noted_pulled = index;
	return 0;
}

void replica_resume(struct replica *replica)
{
	(void)replica;
	harness_of_replica->resumed = true;
}

static inline void harness_answer_barriers(struct harness *harness, uint64_t position)
{
	uint32_t count = harness->barrier_count;
	struct barrier barriers[COUNT_OF(harness->barriers)];

	memcpy(barriers, harness->barriers, sizeof barriers);
	harness->barrier_count = 0;
	for (uint32_t i = 0; i < count; i++)
		barriers[i].ready(barriers[i].arg, position);
}

/* ---- what dispatch does ---- */

static const struct {
	const char *name;
	void (*handle)(struct request *request);
} harness_methods[] = {
	{"read_stream", method_read_stream},
	{"read_all", method_read_all},
	{"read_event", method_read_event},
	{"stream_info", method_stream_info},
	{"subscribe", method_subscribe},
	{"unsubscribe", method_unsubscribe},
	{"$read_barrier", method_read_barrier},
	{"load", method_load},
	{"count", method_count},
	{"position_at", method_position_at},
	{"stream_list", method_stream_list},
	{"category_list", method_category_list},
	{"type_list", method_type_list},
};

void dispatch_request(struct node *node, struct session *session, uint32_t msgid,
		      struct span method, struct span params)
{
	struct msgpack_reader reader = msgpack_reader_of(params);
	struct request *request;
	struct span map;
	uint32_t count;
	uint64_t timeout_ms = node->settings.timeout_ms;

	assert_true(msgpack_read_array(&reader, &count) && count == 1);
	assert_true(msgpack_read_raw(&reader, &map));
	request = request_new(node, session, msgid, map);
	assert_true(request_arg_u64(request, "timeout_ms", 1, LIMIT_TIMEOUT_MS_MAX, &timeout_ms));
	request->deadline_ms = clock_monotonic_ms() + (int64_t)timeout_ms;
	deadlines_add(node->deadlines, request);
	for (size_t i = 0; i < COUNT_OF(harness_methods); i++) {
		if (span_equal_string(method, harness_methods[i].name)) {
			harness_methods[i].handle(request);
			return;
		}
	}
	fail_msg("no method %.*s", (int)method.size, (const char *)method.data);
}

void dispatch_notification(struct node *node, struct session *session, struct span method,
			   struct span params)
{
	(void)node;
	assert_true(span_equal_string(method, "credit"));
	subscribe_credit(session, params);
}

/* ---- the store ---- */

static inline struct store *harness_store_new(struct kv_memory_disk *disk)
{
	struct store_options options = {.kv = kv_memory_open(disk),
					.tail_bytes_max = LIMIT_TAIL_BYTES};
	struct store *store = NULL;
	struct error error;

	assert_int_equal(store_open(&store, &options, &error), 0);
	return store;
}

/*
 * Labels of a record, from a number: bits 0-2 tags "a", "b", "c"; the rest, modulo 3, its type "T0" to
 * "T2". UNLABELLED: type "T" and no tags.
 */
#define UNLABELLED UINT64_MAX

static inline void harness_label(struct record_fields *fields, uint64_t labels)
{
	static const char *const types[] = {"T0", "T1", "T2"}, *const tags[] = {"a", "b", "c"};

	fields->type = span_of_string(labels == UNLABELLED ? "T" : types[(labels >> 3) % 3]);
	for (unsigned i = 0; labels != UNLABELLED && i < 3; i++)
		if ((labels >> i & 1) != 0)
			fields->tags[fields->tag_count++] = span_of_string(tags[i]);
}

/* One command with `count` events of one stream, labelled with numbers from `labels` on. */
static inline void store_append_labelled(struct store *store, uint64_t index, const char *stream,
					 uint32_t count, size_t data_bytes, uint64_t labels)
{
	struct buffer body;
	uint8_t *data = memory_zeroed(1, data_bytes + 1);
	struct apply_result result;
	struct error error;
	size_t size;

	buffer_init(&body);
	buffer_reserve(&body, COMMAND_HEADER_BYTES);
	body.size = COMMAND_HEADER_BYTES;
	size_t item = command_item_begin(&body);
	struct expectation expectation = {.written = true, .stream = span_of_string(stream)};

	command_item_add_expectation(&body, &expectation);
	for (uint32_t i = 0; i < count; i++) {
		uint8_t id[UUID_BYTES];
		struct record_fields fields = {.id = id,
					       .stream = span_of_string(stream),
					       .data = span_of(data, data_bytes)};

		harness_label(&fields, labels == UNLABELLED ? labels : labels + i);
		uuid7_generate(id);
		command_item_add_record(&body, &fields);
	}
	command_item_end(&body, item);
	command_header_write(body.data, COMMAND_BATCH, 1, (int64_t)(1000 + index));
	uint8_t *taken = buffer_take(&body, &size);

	assert_int_equal(store_apply(store, index, taken, size, NULL, &result, &error), 0);
	memory_free(data);
}

/* Nobody is told. */
static inline void store_append(struct store *store, uint64_t index, const char *stream,
				uint32_t count, size_t data_bytes)
{
	store_append_labelled(store, index, stream, count, data_bytes, UNLABELLED);
}

static inline void harness_flush(struct harness *harness)
{
	struct error error;

	assert_int_equal(store_flush(harness->node.store, &error), 0);
}

static inline void harness_notify(struct harness *harness)
{
	struct notifier_status status;
	uint64_t head = store_head(harness->node.store);

	notifier_get_status(harness->node.notifier, &status);
	if (head > status.seen)
		notifier_applied(harness->node.notifier, status.seen + 1, head);
}

static inline void harness_append(struct harness *harness, const char *stream, uint32_t count)
{
	store_append(harness->node.store, ++harness->index, stream, count, 10);
	harness_notify(harness);
}

/* ---- beginning and end ---- */

/* On what another harness has left behind, or on nothing (NULL). */
static inline void harness_init_on(struct harness *harness, struct kv_memory_disk *disk)
{
	memset(harness, 0, sizeof *harness);
	harness_of_replica = harness;
	assert_int_equal(uv_loop_init(&harness->loop), 0);
	assert_int_equal(uv_async_init(&harness->loop, &harness->async, harness_run_posts), 0);
	harness->async.data = harness;
	mailbox_init(&harness->posts, harness_wake, &harness->async);
	assert_int_equal(uv_timer_init(&harness->loop, &harness->clock), 0);
	harness->clock.data = harness;
	uv_timer_start(&harness->clock, harness_tick, 5, 5);
	harness->node.loop = &harness->loop;
	harness->node.settings = (struct node_settings){.node_id = 1,
							.election_timeout_ms = 300,
							.max_message = LIMIT_MESSAGE_BYTES,
							.out_queue_bytes = LIMIT_OUT_QUEUE_BYTES,
							.timeout_ms = 60000};
	harness->status.state = REPLICA_RUNNING;
	harness->status.role = REPLICA_LEADER;
	harness->status.ready = true;
	harness->status.leader_id = 1;
	harness->node.counters = &harness->counters;
	harness->node.deadlines = deadlines_new(clock_monotonic_ms());
	harness->disk = disk != NULL ? disk : kv_memory_disk_new();
	harness->node.store = harness_store_new(harness->disk);
	harness->node.workers = workers_new(2, "test");
	harness->node.reader = reader_new(&harness->node);
	harness->node.notifier = notifier_new(&harness->node);
	harness->node.catch_up = catch_up_new(&harness->node);
}

static inline void harness_init(struct harness *harness)
{
	harness_init_on(harness, NULL);
}

/* The disk is left. */
static inline struct kv_memory_disk *harness_crash(struct harness *harness)
{
	harness->node.stopping = true;
	workers_free(harness->node.workers);
	harness_run_posts(&harness->async);
	catch_up_free(harness->node.catch_up);
	notifier_free(harness->node.notifier);
	reader_free(harness->node.reader);
	uv_close((uv_handle_t *)&harness->async, NULL);
	uv_close((uv_handle_t *)&harness->clock, NULL);
	uv_run(&harness->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&harness->loop), 0);
	mailbox_close(&harness->posts);
	deadlines_free(harness->node.deadlines);
	store_close(harness->node.store);
	return harness->disk;
}

static inline void harness_close(struct harness *harness)
{
	kv_memory_disk_free(harness_crash(harness));
}

static inline bool harness_is_busy(const struct harness *harness)
{
	struct reader_status status;

	reader_get_status(harness->node.reader, &status);
	return status.running > 0 || harness->node.notifier->pages > 0 ||
	       harness->node.notifier->page != NULL;
}

/* Until no worker has anything to do. */
static inline void harness_settle(struct harness *harness)
{
	uv_run(&harness->loop, UV_RUN_NOWAIT);
	while (harness_is_busy(harness))
		uv_run(&harness->loop, UV_RUN_ONCE);
}

/* ---- a client ---- */

struct client {
	struct harness *harness;
	struct session *session;
	struct buffer received;
	size_t unsent; /* as the transport says */
	bool slow;     /* what is written stays unsent until client_drain */
	uint32_t next_msgid;
	void (*message)(struct client *client, struct msgpack_reader *reader); /* NULL: kept */
	void *arg;
};

static void client_write(void *arg, struct buffer *out)
{
	struct client *client = arg;

	buffer_append_span(&client->received, buffer_span(out));
	if (client->slow) {
		client->unsent += out->size;
		session_set_unsent(client->session, client->unsent);
	}
	buffer_clear(out);
}

static void client_pause(void *arg, bool paused)
{
	(void)arg;
	(void)paused;
}

static void client_closed(void *arg)
{
	(void)arg;
	fail_msg("the session was closed");
}

static inline void client_open(struct client *client, struct harness *harness)
{
	struct session_transport transport = {.arg = client,
					      .write = client_write,
					      .pause = client_pause,
					      .close = client_closed};

	*client = (struct client){.harness = harness, .next_msgid = 1};
	client->session = session_new(&harness->node, &transport, "test");
	buffer_init(&client->received);
}

static inline void client_close(struct client *client)
{
	session_free(client->session);
	buffer_close(&client->received);
}

/* The params are written by the caller: a map. The msgid. */
static inline uint32_t client_send(struct client *client, const char *method, struct span params)
{
	struct buffer message;
	uint32_t msgid = client->next_msgid++;

	buffer_init(&message);
	msgpack_write_array(&message, 4);
	msgpack_write_u64(&message, 0);
	msgpack_write_u64(&message, msgid);
	msgpack_write_string(&message, method);
	msgpack_write_array(&message, 1);
	buffer_append_span(&message, params);
	session_receive(client->session, message.data, message.size);
	buffer_close(&message);
	return msgid;
}

static inline void client_credit(struct client *client, uint64_t number, uint64_t count)
{
	struct buffer message;

	buffer_init(&message);
	msgpack_write_array(&message, 3);
	msgpack_write_u64(&message, 2);
	msgpack_write_string(&message, "credit");
	msgpack_write_array(&message, 2);
	msgpack_write_u64(&message, number);
	msgpack_write_u64(&message, count);
	session_receive(client->session, message.data, message.size);
	buffer_close(&message);
}

/* ---- a little language for params: s string, u number, b bool, n nil, x bin 16, { pairs ---- */

static inline struct span params_format(struct buffer *into, const char *format, ...)
{
	va_list list;

	buffer_clear(into);
	va_start(list, format);
	for (const char *at = format; *at != '\0'; at++) {
		if (*at == '{')
			msgpack_write_map(into, va_arg(list, unsigned));
		else if (*at == 's')
			msgpack_write_string(into, va_arg(list, const char *));
		else if (*at == 'u')
			msgpack_write_u64(into, va_arg(list, uint64_t));
		else if (*at == 'b')
			msgpack_write_bool(into, va_arg(list, int));
		else if (*at == 'n')
			msgpack_write_nil(into);
		else if (*at == 'x')
			msgpack_write_bin(into, span_of(va_arg(list, const uint8_t *), 16));
	}
	va_end(list);
	return buffer_span(into);
}

/* The value of a key; empty when it is not there. */
static inline struct span map_find(struct span map, const char *key)
{
	struct msgpack_reader reader = msgpack_reader_of(map);
	struct span name, value, found = {0};
	uint32_t pairs;

	if (map.size == 0 || !msgpack_read_map(&reader, &pairs))
		return found;
	while (pairs-- > 0) {
		assert_true(msgpack_read_str(&reader, &name));
		assert_true(msgpack_read_raw(&reader, &value));
		if (span_equal_string(name, key))
			found = value;
	}
	return found;
}

static inline uint64_t map_u64(struct span map, const char *key)
{
	struct span value = map_find(map, key);
	struct msgpack_reader reader = msgpack_reader_of(value);
	uint64_t number = UINT64_MAX;

	if (value.size == 0 || !msgpack_read_u64(&reader, &number))
		fail_msg("%s is missing, or no number", key);
	return number;
}

static inline bool map_is_text(struct span map, const char *key, const char *text)
{
	struct span value = map_find(map, key);
	struct msgpack_reader reader = msgpack_reader_of(value);
	struct span found;

	return value.size > 0 && msgpack_read_str(&reader, &found) &&
	       span_equal_string(found, text);
}

static inline bool map_bool(struct span map, const char *key)
{
	struct span value = map_find(map, key);
	struct msgpack_reader reader = msgpack_reader_of(value);
	bool found = false;

	if (value.size == 0 || !msgpack_read_bool(&reader, &found))
		fail_msg("%s is missing, or no bool", key);
	return found;
}

#endif
