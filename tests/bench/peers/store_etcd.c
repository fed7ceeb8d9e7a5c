/*
 * etcd: gRPC over HTTP/2 (libnghttp2), protobuf by hand, one connection. Event V of stream N is the key
 * e/N/V, both with eight digits; an append is a transaction that wants that key not to be there, and
 * the one before it to be there.
 */
#include "tests/bench/peers/connection.h"
#include "tests/bench/peers/payload.h"
#include "tests/bench/peers/protobuf.h"
#include "tests/bench/peers/store.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES    19u
#define GRPC_HEAD    5u /* a flag and four bytes of length */
#define WINDOW_BYTES (16 << 20)
#define STREAMS_MAX  10000
#define PAGE_EVENTS  1000u
#define ANSWER_MS    60000

const char store_name[] = "etcd";
const uint32_t store_open_loop_max = WORK_OPERATIONS_MAX;

/* Numbers of the fields, from etcd's rpc.proto and kv.proto. */
enum { COMPARE_RESULT = 1, COMPARE_KEY = 3, COMPARE_VERSION = 4, COMPARE_GREATER = 1 };
enum {
	TXN_COMPARE = 1,
	TXN_SUCCESS = 2,
	TXN_SUCCEEDED = 2,
	OP_PUT = 2,
	PUT_KEY = 1,
	PUT_VALUE = 2
};
enum { RANGE_KEY = 1, RANGE_END = 2, RANGE_LIMIT = 3, RANGE_SERIALIZABLE = 7 };
enum { RANGE_KVS = 2, RANGE_MORE = 3, KV_KEY = 1, KV_VALUE = 5 };
enum { WATCH_CREATE = 1, WATCH_KEY = 1, WATCH_RANGE_END = 2 };
enum { WATCH_CREATED = 3, WATCH_EVENTS = 11, EVENT_KV = 2 };

enum call_kind { CALL_APPEND, CALL_READ, CALL_PAGE, CALL_WATCH };

/* A request and its answer, on a stream of HTTP/2. */
struct call {
	enum call_kind kind;
	uint64_t token;
	struct buffer out, in;
	size_t sent;
	bool answered;
	enum work_outcome outcome;
	struct call *next_free;
};

struct channel {
	struct connection connection;
	nghttp2_session *session;
	const char *authority;
};

/* What the last page held. */
struct page {
	bool over; /* the whole answer is there */
	bool more;
	char last_key[KEY_BYTES + 1];
};

static struct channel appender, reader;
static struct call *free_calls;
static struct page page;

static struct call *new_call(enum call_kind kind)
{
	struct call *call = free_calls;

	if (call != NULL)
		free_calls = call->next_free;
	else
		call = memory_zeroed(1, sizeof *call);
	call->kind = kind;
	buffer_clear(&call->out);
	buffer_clear(&call->in);
	buffer_reserve(&call->out, GRPC_HEAD);
	call->out.size = GRPC_HEAD;
	call->sent = 0;
	call->answered = false;
	call->outcome = WORK_DONE;
	return call;
}

static void free_call(struct call *call)
{
	call->next_free = free_calls;
	free_calls = call;
}

/* ---- answers ---- */

static void take_key_value(const struct protobuf_field *field, char key[KEY_BYTES + 1],
			   struct span *value)
{
	struct span rest = field->bytes;
	struct protobuf_field part;

	key[0] = '\0';
	*value = (struct span){0};
	while (protobuf_next(&rest, &part)) {
		if (part.number == KV_KEY && part.bytes.size == KEY_BYTES)
			snprintf(key, KEY_BYTES + 1, "%.*s", (int)KEY_BYTES,
				 (const char *)part.bytes.data);
		else if (part.number == KV_VALUE)
			*value = part.bytes;
	}
}

static void take_append(struct call *call, struct span answer)
{
	struct protobuf_field field;
	bool succeeded = false;

	while (protobuf_next(&answer, &field))
		if (field.number == TXN_SUCCEEDED)
			succeeded = field.value != 0;
	if (!succeeded)
		call->outcome = WORK_CONFLICT;
}

static void take_read(const struct call *call, struct span answer)
{
	const struct operation *operation = work_operation(call->token);
	struct protobuf_field field;
	uint32_t count = 0;
	struct span value;
	char key[KEY_BYTES + 1];

	while (protobuf_next(&answer, &field)) {
		if (field.number != RANGE_KVS)
			continue;
		take_key_value(&field, key, &value);
		count += value.size == work.options.size;
	}
	if (operation != NULL && count != operation->events)
		work_fail("stream %u has %u events, not %u", operation->stream, count,
			  operation->events);
}

static void take_page(struct span answer)
{
	struct protobuf_field field;
	struct span value;

	page.more = false;
	while (protobuf_next(&answer, &field)) {
		if (field.number == RANGE_MORE)
			page.more = field.value != 0;
		if (field.number != RANGE_KVS)
			continue;
		take_key_value(&field, page.last_key, &value);
		if (value.size != work.options.size)
			continue;
		struct payload payload = payload_read((const char *)value.data);

		work_saw(payload.stream, payload.version, value.size);
	}
}

static void take_event(struct span event)
{
	struct protobuf_field field;
	struct span value;
	char key[KEY_BYTES + 1];

	while (protobuf_next(&event, &field)) {
		if (field.number != EVENT_KV)
			continue;
		take_key_value(&field, key, &value);
		if (value.size == work.options.size)
			work_delivered(payload_read((const char *)value.data).sent_ns);
	}
}

static void take_watch(struct span answer)
{
	struct protobuf_field field;

	while (protobuf_next(&answer, &field)) {
		if (field.number == WATCH_CREATED)
			work_following();
		else if (field.number == WATCH_EVENTS)
			take_event(field.bytes);
	}
}

static void take_answer(struct call *call, struct span answer)
{
	call->answered = true;
	switch (call->kind) {
	case CALL_APPEND:
		take_append(call, answer);
		break;
	case CALL_READ:
		take_read(call, answer);
		break;
	case CALL_PAGE:
		take_page(answer);
		break;
	case CALL_WATCH:
		take_watch(answer);
		break;
	}
}

/* ---- HTTP/2 ---- */

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
		   size_t size, void *user)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, stream);
	size_t used = 0;

	(void)flags;
	(void)user;
	if (call == NULL)
		return 0;
	buffer_append(&call->in, data, size);
	while (call->in.size - used >= GRPC_HEAD) {
		const uint8_t *head = call->in.data + used;
		size_t length = (size_t)head[1] << 24 | (size_t)head[2] << 16 |
				(size_t)head[3] << 8 | head[4];

		if (call->in.size - used - GRPC_HEAD < length)
			break;
		take_answer(call, span_of(head + GRPC_HEAD, length));
		used += GRPC_HEAD + length;
	}
	if (used > 0)
		buffer_consume(&call->in, used);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
		     void *user)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)user;
	if (call == NULL)
		return 0;
	if (span_equal_string(span_of(name, name_size), "grpc-message"))
		work_complain(value, value_size);
	if (span_equal_string(span_of(name, name_size), "grpc-status") &&
	    !span_equal_string(span_of(value, value_size), "0"))
		call->outcome = WORK_FAILED;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *user)
{
	struct call *call = nghttp2_session_get_stream_user_data(session, stream);

	(void)error;
	(void)user;
	if (call == NULL)
		return 0;
	if (!call->answered)
		call->outcome = WORK_FAILED;
	if (call->kind == CALL_PAGE || call->kind == CALL_WATCH) {
		page.over = true;
		if (call->outcome != WORK_DONE)
			work_fail("a read was refused: %s", work.complaint);
	} else {
		work_end(call->token, call->outcome);
	}
	free_call(call);
	return 0;
}

static ssize_t on_send(nghttp2_session *session, int32_t stream, uint8_t *into, size_t size,
		       uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct call *call = source->ptr;
	size_t rest = call->out.size - call->sent;

	(void)session;
	(void)stream;
	(void)user;
	size = rest < size ? rest : size;
	memcpy(into, call->out.data + call->sent, size);
	call->sent += size;
	if (call->sent < call->out.size)
		return (ssize_t)size;
	if (call->kind != CALL_WATCH)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	else if (size == 0)
		return NGHTTP2_ERR_DEFERRED; /* a watch lasts as long as its request */
	return (ssize_t)size;
}

static void flush(struct channel *channel)
{
	const uint8_t *data;
	ssize_t size;

	if (channel->session == NULL)
		return;
	while ((size = nghttp2_session_mem_send(channel->session, &data)) > 0)
		connection_put(&channel->connection, data, (size_t)size);
	if (channel->connection.out.size > 0)
		connection_flush(&channel->connection);
}

static void heard(struct connection *connection)
{
	struct channel *channel = connection->owner;

	if (connection->lost)
		work_fail("the connection to %s was lost", channel->authority);
	ssize_t used = nghttp2_session_mem_recv(channel->session,
						(const uint8_t *)connection_data(connection),
						connection_size(connection));

	if (used < 0)
		work_fail("HTTP/2: %s", nghttp2_strerror((int)used));
	connection->in_used += (size_t)used;
	flush(channel);
}

static void open_channel(struct channel *channel, const char *server)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES},
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;

	channel->authority = server;
	channel->connection.owner = channel;
	if (!connection_open(&channel->connection, server, heard))
		work_fail("%s does not answer", server);
	if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
		work_fail("HTTP/2: no memory");
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	nghttp2_option_set_peer_max_concurrent_streams(option, STREAMS_MAX);
	if (nghttp2_session_client_new2(&channel->session, callbacks, channel, option) != 0)
		work_fail("HTTP/2: no session");
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	nghttp2_submit_settings(channel->session, NGHTTP2_FLAG_NONE, settings,
				sizeof settings / sizeof settings[0]);
	nghttp2_session_set_local_window_size(channel->session, NGHTTP2_FLAG_NONE, 0,
					      2 * WINDOW_BYTES);
	flush(channel);
}

static void close_channel(struct channel *channel)
{
	nghttp2_session_del(channel->session);
	channel->session = NULL;
	connection_close(&channel->connection);
}

static nghttp2_nv header(const char *name, const char *value)
{
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
			    .value = (uint8_t *)(uintptr_t)value,
			    .namelen = strlen(name),
			    .valuelen = strlen(value),
			    .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

static void submit(struct channel *channel, const char *path, struct call *call)
{
	uint32_t length = (uint32_t)(call->out.size - GRPC_HEAD);
	const nghttp2_data_provider provider = {.source.ptr = call, .read_callback = on_send};
	const nghttp2_nv headers[] = {header(":method", "POST"),
				      header(":scheme", "http"),
				      header(":path", path),
				      header(":authority", channel->authority),
				      header("content-type", "application/grpc"),
				      header("te", "trailers")};
	const uint8_t head[GRPC_HEAD] = {0, (uint8_t)(length >> 24), (uint8_t)(length >> 16),
					 (uint8_t)(length >> 8), (uint8_t)length};

	memcpy(call->out.data, head, sizeof head);
	if (nghttp2_submit_request(channel->session, NULL, headers,
				   sizeof headers / sizeof headers[0], &provider, call) < 0)
		work_fail("HTTP/2: no request can be sent");
}

/* ---- operations ---- */

static void event_key(uint32_t stream, uint64_t version, char key[KEY_BYTES + 1])
{
	int size = snprintf(key, KEY_BYTES + 1, "e/%08u/%08llu", stream % 100000000,
			    (unsigned long long)(version % 100000000));

	ASSERT(size == (int)KEY_BYTES);
}

/* A condition: the version of that key, as etcd counts its writes, is 0, or greater than 0. */
static void put_compare(struct buffer *out, const char *key, bool there)
{
	size_t size = (there ? 2u : 0u) + 2u + KEY_BYTES + 2u;

	protobuf_put_head(out, TXN_COMPARE, size);
	if (there)
		protobuf_put_number(out, COMPARE_RESULT, COMPARE_GREATER);
	protobuf_put_bytes(out, COMPARE_KEY, key, KEY_BYTES);
	protobuf_put_number(out, COMPARE_VERSION, 0);
}

static void put_event(struct buffer *out, const struct payload *payload)
{
	size_t size = work.options.size;
	size_t put = 2 + KEY_BYTES + 1 + protobuf_number_bytes(size) + size;
	char key[KEY_BYTES + 1];

	event_key(payload->stream, payload->version, key);
	protobuf_put_head(out, TXN_SUCCESS, 1 + protobuf_number_bytes(put) + put);
	protobuf_put_head(out, OP_PUT, put);
	protobuf_put_bytes(out, PUT_KEY, key, KEY_BYTES);
	protobuf_put_head(out, PUT_VALUE, size);
	payload_write((char *)buffer_reserve(out, size), size, payload);
	out->size += size;
}

void store_append(const struct operation *operation)
{
	struct call *call = new_call(CALL_APPEND);
	char key[KEY_BYTES + 1];

	call->token = operation_token(operation);
	event_key(operation->stream, operation->version, key);
	put_compare(&call->out, key, false);
	if (operation->version > 0) {
		event_key(operation->stream, operation->version - 1, key);
		put_compare(&call->out, key, true);
	}
	for (uint32_t i = 0; i < operation->events; i++) {
		const struct payload payload = {operation->stream, operation->version + i,
						operation->begin_ns};

		put_event(&call->out, &payload);
	}
	submit(&appender, "/etcdserverpb.KV/Txn", call);
}

/* From a key up to those that begin with "e/N0", which is behind all of "e/N/". */
void store_read(const struct operation *operation)
{
	struct call *call = new_call(CALL_READ);
	char from[KEY_BYTES + 1], to[KEY_BYTES + 1];
	const size_t prefix = sizeof "e/00000000/" - 1;

	call->token = operation_token(operation);
	event_key(operation->stream, 0, from);
	memcpy(to, from, sizeof to);
	to[prefix - 1] = '/' + 1;
	protobuf_put_bytes(&call->out, RANGE_KEY, from, prefix);
	protobuf_put_bytes(&call->out, RANGE_END, to, prefix);
	protobuf_put_number(&call->out, RANGE_SERIALIZABLE, 1);
	submit(&appender, "/etcdserverpb.KV/Range", call);
}

void store_open(const struct work_options *options)
{
	open_channel(&appender, options->servers[strcmp(options->row, "read-stream") == 0 ? 1 : 0]);
}

void store_poll(uint32_t timeout_us)
{
	flush(&appender);
	connections_poll(timeout_us);
}

/* ---- all events ---- */

static void read_page(bool serializable)
{
	struct call *call = new_call(CALL_PAGE);
	int64_t end = clock_monotonic_ms() + ANSWER_MS;

	page.over = false;
	/* With the zero at its end it is the next key there can be. */
	protobuf_put_bytes(&call->out, RANGE_KEY, page.last_key, strlen(page.last_key) + 1);
	protobuf_put_bytes(&call->out, RANGE_END, "e0", 2);
	protobuf_put_number(&call->out, RANGE_LIMIT, PAGE_EVENTS);
	protobuf_put_number(&call->out, RANGE_SERIALIZABLE, serializable ? 1 : 0);
	submit(&reader, "/etcdserverpb.KV/Range", call);
	flush(&reader);
	while (!page.over && clock_monotonic_ms() < end)
		connections_poll(1000);
	if (!page.over)
		work_fail("a page does not come");
}

void store_read_all(enum store_place place)
{
	page = (struct page){.last_key = "e/"};
	open_channel(&reader, work.options.servers[place == STORE_LEADER ? 0 : 1]);
	do
		read_page(place == STORE_FOLLOWER);
	while (page.more);
	close_channel(&reader);
}

void store_follow(void)
{
	struct call *call = new_call(CALL_WATCH);
	struct buffer create = {0};

	open_channel(&reader, work.options.servers[1]);
	protobuf_put_bytes(&create, WATCH_KEY, "e/", 2);
	protobuf_put_bytes(&create, WATCH_RANGE_END, "e0", 2);
	protobuf_put_bytes(&call->out, WATCH_CREATE, create.data, create.size);
	buffer_close(&create);
	submit(&reader, "/etcdserverpb.Watch/Watch", call);
	flush(&reader);
	while (!work_follow_is_over())
		connections_poll(10000);
	close_channel(&reader);
}

/* The first server of this row is one that stays, and it finds the leader. */
void store_lost_leader(void)
{
}

/* The pages are written by themselves, ten times a second. */
void store_flush(void)
{
}
