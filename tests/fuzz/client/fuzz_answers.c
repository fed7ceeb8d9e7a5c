/*
 * What a node sends to a client of libannal: answers to every method, the notifications of a
 * subscription, and bytes as they come. A call ends with a result whose every part can be read, or with a
 * code and a message; a subscription delivers positions that increase, or loses its node, or ends.
 *
 * Input: which of the methods below (bit 7: the answer is an error), the body of the answer. Behind the
 * methods: a subscription that is live, one that asks, and a node that has not greeted yet, with all bytes
 * that come.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "client/client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAILED    0x80u
#define MSGID     CLIENT_CALLS_MAX /* of the first attempt of a client's first call */
#define ITEMS_MAX 10000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- every byte of a result is read ---- */

static volatile uint64_t sum;

static void read_bytes(struct annal_bytes bytes)
{
	const uint8_t *data = bytes.data;

	for (size_t i = 0; i < bytes.size; i++)
		sum += data[i];
}

static void read_events(const struct annal_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		read_bytes(events[i].stream);
		read_bytes(events[i].type);
		read_bytes(events[i].data);
		read_bytes(events[i].metadata);
		for (size_t tag = 0; tag < events[i].tags_count; tag++)
			read_bytes(events[i].tags[tag]);
	}
}

static void read_error(const struct annal_error *error)
{
	ASSERT(error->code != ANNAL_OK);
	ASSERT(memchr(error->message, '\0', sizeof error->message) != NULL);
	ASSERT(annal_code_name(error->code) != NULL);
	read_bytes(error->leader);
	read_bytes(error->argument);
	read_bytes(error->stream);
	read_bytes(error->what);
	read_bytes(error->consumer);
	read_bytes(error->id);
	for (size_t i = 0; i < error->violations_count; i++) {
		read_bytes(error->violations[i].stream);
		read_bytes(error->violations[i].state);
	}
	read_events(error->events, error->events_count);
}

static void read_page(const struct annal_page *page)
{
	read_events(page->events, page->count);
	read_bytes(page->state);
	sum += page->next + page->head + page->end;
}

/* ---- the methods ---- */

typedef enum annal_code method(struct annal_client *client);

static enum annal_code append_writes(struct annal_client *client, size_t writes_count)
{
	const struct annal_new_event event = {.type = "T", .data = {"d", 1}};
	const struct annal_write writes[] = {{"a", {ANNAL_EXPECT_ANY, 0}, &event, 1},
					     {"b", {ANNAL_EXPECT_VERSION, 3}, &event, 1}};
	const struct annal_append append = {
		.writes = writes, .writes_count = writes_count, .want_conflict_events = true};
	struct annal_append_result result;
	enum annal_code code = annal_append(client, &append, &result);

	for (size_t i = 0; code == ANNAL_OK && i < result.versions_count; i++)
		read_bytes(result.versions[i].stream);
	if (code == ANNAL_OK)
		ASSERT(result.position >= result.first_position && result.position > 0);
	return code;
}

static enum annal_code append_one(struct annal_client *client)
{
	return append_writes(client, 1);
}

static enum annal_code append_two(struct annal_client *client)
{
	return append_writes(client, 2);
}

static enum annal_code take_page(enum annal_code code, struct annal_page *page)
{
	if (code != ANNAL_OK)
		return code;
	read_page(page);
	annal_page_free(page);
	return ANNAL_OK;
}

static enum annal_code read_stream(struct annal_client *client)
{
	const struct annal_read read = {.stream = "s", .limit = 10};
	struct annal_page *page = NULL;

	return take_page(annal_read(client, &read, &page), page);
}

static enum annal_code read_position(struct annal_client *client)
{
	struct annal_page *page = NULL;

	return take_page(annal_read_position(client, 7, &page), page);
}

static enum annal_code read_id(struct annal_client *client)
{
	static const uint8_t id[ANNAL_ID_BYTES] = {1, 2, 3};
	struct annal_page *page = NULL;

	return take_page(annal_read_id(client, id, &page), page);
}

static enum annal_code stream_info(struct annal_client *client)
{
	struct annal_stream_info info;
	enum annal_code code = annal_stream_info(client, "s", &info);

	if (code == ANNAL_OK)
		read_bytes(info.state);
	return code;
}

static enum annal_code count(struct annal_client *client)
{
	uint64_t number = 0;
	enum annal_code code = annal_count(client, NULL, &number);

	sum += number;
	return code;
}

static enum annal_code position_at(struct annal_client *client)
{
	uint64_t position = 0;
	enum annal_code code = annal_position_at(client, 5, &position);

	sum += position;
	return code;
}

static enum annal_code take_names(enum annal_code code, struct annal_names *names)
{
	if (code != ANNAL_OK)
		return code;
	for (size_t i = 0; i < names->count; i++)
		read_bytes(names->items[i].name);
	read_bytes(names->next);
	annal_names_free(names);
	return ANNAL_OK;
}

static enum annal_code list_streams(struct annal_client *client)
{
	const struct annal_list list = {.prefix = "a"};
	struct annal_names *names = NULL;

	return take_names(annal_list_streams(client, &list, &names), names);
}

static enum annal_code list_types(struct annal_client *client)
{
	const struct annal_list list = {.limit = 5};
	struct annal_names *names = NULL;

	return take_names(annal_list_types(client, &list, &names), names);
}

static enum annal_code checkpoint_put(struct annal_client *client)
{
	const struct annal_checkpoint checkpoint = {.consumer = "c", .position = 5};

	return annal_checkpoint_put(client, &checkpoint, NULL);
}

static enum annal_code checkpoint_get(struct annal_client *client)
{
	struct annal_checkpoint_info info;
	enum annal_code code = annal_checkpoint_get(client, "c", &info);

	if (code == ANNAL_OK)
		read_bytes(info.consumer);
	return code;
}

static enum annal_code checkpoint_list(struct annal_client *client)
{
	const struct annal_list list = {.limit = 5};
	struct annal_checkpoints *found;
	enum annal_code code = annal_checkpoint_list(client, &list, &found);

	if (code != ANNAL_OK)
		return code;
	for (size_t i = 0; i < found->count; i++)
		read_bytes(found->items[i].consumer);
	read_bytes(found->next);
	annal_checkpoints_free(found);
	return code;
}

static enum annal_code snapshot_get(struct annal_client *client)
{
	struct annal_snapshot snapshot;
	enum annal_code code = annal_snapshot_get(client, "s", 0, &snapshot);

	if (code == ANNAL_OK) {
		read_bytes(snapshot.type);
		read_bytes(snapshot.data);
	}
	return code;
}

static enum annal_code load(struct annal_client *client)
{
	struct annal_aggregate *aggregate;
	enum annal_code code = annal_load(client, "s", &aggregate);

	if (code != ANNAL_OK)
		return code;
	if (aggregate->snapshot != NULL) {
		read_bytes(aggregate->snapshot->type);
		read_bytes(aggregate->snapshot->data);
	}
	read_events(aggregate->events, aggregate->count);
	annal_aggregate_free(aggregate);
	return code;
}

static enum annal_code call(struct annal_client *client)
{
	struct annal_bytes result;
	enum annal_code code = annal_call(client, ANNAL_TARGET_READ, "stats",
					  (struct annal_bytes){NULL, 0}, &result);

	if (code == ANNAL_OK)
		read_bytes(result);
	return code;
}

static enum annal_code hello(struct annal_client *client)
{
	struct annal_server server;
	enum annal_code code = annal_hello(client, &server);

	if (code == ANNAL_OK) {
		read_bytes(server.version);
		read_bytes(server.cluster);
		read_bytes(server.role);
		read_bytes(server.leader);
	}
	return code;
}

static enum annal_code ping(struct annal_client *client)
{
	struct annal_pong pong;
	enum annal_code code = annal_ping(client, &pong);

	if (code == ANNAL_OK)
		read_bytes(pong.role);
	return code;
}

static enum annal_code digest(struct annal_client *client)
{
	uint64_t position = 0;
	struct annal_bytes hash;
	enum annal_code code = annal_digest(client, &position, &hash);

	if (code == ANNAL_OK)
		read_bytes(hash);
	return code;
}

static enum annal_code backup(struct annal_client *client)
{
	struct annal_backup made;
	enum annal_code code = annal_backup(client, "/x", 0, &made);

	if (code == ANNAL_OK)
		read_bytes(made.path);
	return code;
}

static enum annal_code cluster_status(struct annal_client *client)
{
	struct annal_cluster_status status;
	enum annal_code code = annal_cluster_status(client, &status);

	if (code != ANNAL_OK)
		return code;
	ASSERT(status.nodes_count <= ANNAL_NODES_MAX);
	read_bytes(status.cluster);
	for (size_t i = 0; i < status.nodes_count; i++) {
		read_bytes(status.nodes[i].address);
		read_bytes(status.nodes[i].client_address);
		read_bytes(status.nodes[i].role);
		read_bytes(status.nodes[i].state);
	}
	return code;
}

static enum annal_code cluster_add(struct annal_client *client)
{
	return annal_cluster_add(client, 4, "h:1", "h:2", "voter");
}

static enum annal_code iterate(struct annal_client *client)
{
	const struct annal_read read = {.stream = NULL, .limit = 10};
	struct annal_iterator *iterator = annal_iterate(client, &read);
	const struct annal_event *event;
	enum annal_code code;

	do {
		code = annal_iterator_next(iterator, &event);
		if (code == ANNAL_OK && event != NULL)
			read_events(event, 1);
	} while (code == ANNAL_OK && event != NULL);
	annal_iterator_free(iterator);
	return code;
}

static enum annal_code list_categories(struct annal_client *client)
{
	const struct annal_list list = {.after = {"a", 1}};
	struct annal_names *names = NULL;

	return take_names(annal_list_categories(client, &list, &names), names);
}

static method *const methods[] = {
	append_one,      append_two,   read_stream,    read_position,
	read_id,         stream_info,  count,          position_at,
	list_streams,    list_types,   checkpoint_put, checkpoint_get,
	checkpoint_list, snapshot_get, load,           call,
	hello,           ping,         digest,         backup,
	cluster_status,  cluster_add,  iterate,        list_categories,
};
#define METHODS (sizeof methods / sizeof methods[0])

/* ---- the node ---- */

/* Nothing listens there: what the client does besides this connection fails at once. */
static struct annal_client *new_client(void)
{
	struct annal_client *client =
		annal_client_new("annal://127.0.0.1:1?timeout_ms=1&follow=off", NULL, 0);

	ASSERT(client != NULL);
	return client;
}

static int connect_link(struct link *link)
{
	int fds[2], status = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);

	ASSERT(status == 0);
	ASSERT(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0 && fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	link_adopt(link, fds[0], clock_monotonic_ms());
	return fds[1];
}

static void check_method(method *run, bool failed, struct span body)
{
	struct annal_client *client = new_client();
	int peer = connect_link(&client->nodes[0].link);
	struct buffer answer;

	client->nodes[0].greeted = true;
	buffer_init(&answer);
	msgpack_write_array(&answer, 4);
	msgpack_write_u64(&answer, 1);
	msgpack_write_u64(&answer, MSGID);
	if (!failed)
		msgpack_write_nil(&answer);
	buffer_append_span(&answer, body);
	if (failed)
		msgpack_write_nil(&answer);
	ASSERT(write(peer, answer.data, answer.size) == (ssize_t)answer.size);
	enum annal_code code = run(client);

	if (code != ANNAL_OK) {
		ASSERT(annal_client_error(client)->code == code);
		read_error(annal_client_error(client));
	}
	buffer_close(&answer);
	close(peer);
	annal_client_free(client);
}

/* One as annal_subscribe makes it, but for the connection. */
static struct annal_subscription *new_subscription(struct annal_client *client, bool live)
{
	struct annal_subscription *subscription = memory_zeroed(1, sizeof *subscription);

	subscription->client = client;
	subscription->node = &client->nodes[0];
	subscription->window = 4;
	subscription->state = live ? SUBSCRIPTION_LIVE : SUBSCRIPTION_ASKING;
	subscription->starving_ms = clock_monotonic_ms();
	subscription->id = 4;
	buffer_init(&subscription->query);
	wire_write_query(&subscription->query, NULL);
	link_init(&subscription->link);
	decode_events_init(&subscription->batch);
	decode_error_init(&subscription->end);
	LIST_INSERT_HEAD(&client->subscriptions, subscription, entry);
	return subscription;
}

static void check_subscription(bool live, struct span bytes)
{
	struct annal_client *client = new_client();
	struct annal_subscription *subscription = new_subscription(client, live);
	int peer = connect_link(&subscription->link);
	enum annal_code code = ANNAL_OK;
	uint64_t position = 0;
	struct annal_item item;

	ASSERT(write(peer, bytes.data, bytes.size) == (ssize_t)bytes.size);
	close(peer);
	/* Each item takes a byte at least; in between it receives, in pieces. */
	for (int i = 0; i < ITEMS_MAX && code == ANNAL_OK; i++) {
		code = annal_subscription_next(subscription, 0, &item);
		if (code != ANNAL_OK)
			break;
		ASSERT(item.kind == ANNAL_ITEM_NONE || item.position >= position ||
		       item.kind == ANNAL_ITEM_EVENT);
		if (item.kind == ANNAL_ITEM_EVENT) {
			ASSERT(item.event.position > position);
			read_events(&item.event, 1);
		}
		if (item.kind == ANNAL_ITEM_NONE && subscription->state == SUBSCRIPTION_RESTING)
			break;
		position = item.position > position ? item.position : position;
	}
	if (code != ANNAL_OK)
		read_error(annal_client_error(client));
	ASSERT(code != ANNAL_OK || subscription->state == SUBSCRIPTION_RESTING);
	annal_subscription_free(subscription);
	annal_client_free(client);
}

static void check_node(struct span bytes)
{
	struct annal_client *client = new_client();
	int peer = connect_link(&client->nodes[0].link);

	ASSERT(write(peer, bytes.data, bytes.size) == (ssize_t)bytes.size);
	close(peer);
	enum annal_code code = ping(client);

	if (code != ANNAL_OK)
		read_error(annal_client_error(client));
	annal_client_free(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct msgpack_scanner scanner;

	if (size < 2 || size > 32 * KIB)
		return 0;
	uint8_t kind = data[0] & (FAILED - 1);
	struct span body = span_of(data + 1, size - 1);

	if (kind < METHODS) {
		/* A body alone: what is no msgpack would only be waited for. */
		msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH - 1);
		if (msgpack_scan(&scanner, body.data, body.size) == MSGPACK_SCAN_VALUE)
			check_method(methods[kind], (data[0] & FAILED) != 0,
				     span_of(body.data, scanner.offset));
	} else if (kind < METHODS + 2) {
		check_subscription(kind == METHODS, body);
	} else {
		check_node(body);
	}
	return 0;
}
