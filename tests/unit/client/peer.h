/*
 * Scripted nodes for tests of the client: three listeners on free ports of 127.0.0.1, served by one
 * thread. The greeting is answered here, everything else by the test's handler, on that thread.
 */
#ifndef TESTS_UNIT_CLIENT_PEER_H
#define TESTS_UNIT_CLIENT_PEER_H

#include "client/annal.h"
#include "client/wire.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PEER_NODES       3
#define PEER_CONNECTIONS 16

struct peer_request {
	void *arg;
	int node; /* 0, 1, 2 */
	uint32_t msgid;
	bool notification;
	struct span method, params; /* the map; of a notification the array */
	struct buffer *out;         /* whole messages */
	bool close;                 /* set: the connection ends once `out` is sent */
};

typedef void peer_handler(struct peer_request *request);

struct peer_connection {
	int fd, node;
	struct buffer in;
};

struct peers {
	int listeners[PEER_NODES];
	struct peer_connection connections[PEER_CONNECTIONS];
	char addresses[PEER_NODES][32];
	char url[256];
	atomic_int leader; /* that the greeting names; -1: none */
	atomic_bool over;
	peer_handler *handle;
	void *arg;
	pthread_t thread;
};

/* ---- what a handler writes ---- */

/* After it, exactly one value. */
static inline void peer_result(struct peer_request *request)
{
	msgpack_write_array(request->out, 4);
	msgpack_write_u64(request->out, 1);
	msgpack_write_u64(request->out, request->msgid);
	msgpack_write_nil(request->out);
}

/* An error with one more field: text, or a number when `text` is NULL. */
static inline void peer_error(struct peer_request *request, const char *code, const char *key,
			      const char *text, uint64_t number)
{
	msgpack_write_array(request->out, 4);
	msgpack_write_u64(request->out, 1);
	msgpack_write_u64(request->out, request->msgid);
	msgpack_write_map(request->out, 3);
	wire_write_text(request->out, "code", code);
	wire_write_text(request->out, "message", "as the script says");
	if (text != NULL)
		wire_write_text(request->out, key, text);
	else
		wire_write_number(request->out, key, number);
	msgpack_write_nil(request->out);
}

static inline void peer_appended(struct peer_request *request, uint64_t position)
{
	peer_result(request);
	msgpack_write_map(request->out, 3);
	wire_write_number(request->out, "first_position", position);
	wire_write_number(request->out, "position", position);
	wire_write_number(request->out, "version", 1);
}

static inline void peer_event(struct buffer *out, uint64_t position, uint64_t version)
{
	msgpack_write_array(out, 9);
	msgpack_write_u64(out, position);
	msgpack_write_u64(out, version);
	msgpack_write_i64(out, 1);
	msgpack_write_bin(out, span_of("0123456789abcdef", 16));
	msgpack_write_string(out, "S");
	msgpack_write_string(out, "T");
	msgpack_write_bin(out, span_of_string("{}"));
	msgpack_write_bin(out, span_of_string(""));
	msgpack_write_array(out, 0);
}

static inline bool peer_is(const struct peer_request *request, const char *method)
{
	return span_equal_string(request->method, method);
}

/* The value of a key of the params as bytes; size 0 when it is not there. */
static inline struct span peer_param(const struct peer_request *request, const char *name)
{
	struct msgpack_reader reader = msgpack_reader_of(request->params);
	struct span key, value, found = {0};
	uint32_t pairs = 0;

	msgpack_read_map(&reader, &pairs);
	while (pairs-- > 0) {
		assert_true(msgpack_read_str(&reader, &key) && msgpack_read_raw(&reader, &value));
		if (span_equal_string(key, name))
			found = value;
	}
	return found;
}

static inline uint64_t peer_number(const struct peer_request *request, const char *name)
{
	struct span raw = peer_param(request, name);
	struct msgpack_reader reader = msgpack_reader_of(raw);
	uint64_t value = UINT64_MAX;

	if (raw.size > 0)
		msgpack_read_u64(&reader, &value);
	return value;
}

/* ---- the thread ---- */

static inline void peer_hello(struct peers *peers, struct peer_request *request)
{
	int leader = atomic_load(&peers->leader);

	peer_result(request);
	msgpack_write_map(request->out, 4);
	wire_write_text(request->out, "server", "annal");
	wire_write_number(request->out, "protocol", 1);
	wire_write_text(request->out, "role", leader == request->node ? "leader" : "follower");
	msgpack_write_string(request->out, "leader");
	if (leader < 0)
		msgpack_write_nil(request->out);
	else
		msgpack_write_string(request->out, peers->addresses[leader]);
}

static inline void peer_message(struct peers *peers, struct span bytes,
				struct peer_request *request)
{
	struct msgpack_reader reader = msgpack_reader_of(bytes);
	uint32_t count, one;
	uint64_t type = 0, msgid = 0;

	assert_true(msgpack_read_array(&reader, &count) && msgpack_read_u64(&reader, &type));
	request->notification = type == 2;
	if (!request->notification)
		assert_true(msgpack_read_u64(&reader, &msgid));
	request->msgid = (uint32_t)msgid;
	assert_true(msgpack_read_str(&reader, &request->method));
	if (!request->notification)
		assert_true(msgpack_read_array(&reader, &one));
	assert_true(msgpack_read_raw(&reader, &request->params));
	if (peer_is(request, "hello"))
		peer_hello(peers, request);
	else
		peers->handle(request);
}

static inline void peer_close(struct peer_connection *connection)
{
	close(connection->fd);
	buffer_close(&connection->in);
	connection->fd = -1;
}

static inline void peer_serve(struct peers *peers, struct peer_connection *connection)
{
	struct peer_request request = {.arg = peers->arg, .node = connection->node};
	struct msgpack_scanner scanner;
	struct buffer out;
	ssize_t got = recv(connection->fd, buffer_reserve(&connection->in, 65536), 65536, 0);

	if (got <= 0) {
		peer_close(connection);
		return;
	}
	connection->in.size += (size_t)got;
	buffer_init(&out);
	request.out = &out;
	while (connection->in.size > 0 && !request.close) {
		msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
		if (msgpack_scan(&scanner, connection->in.data, connection->in.size) !=
		    MSGPACK_SCAN_VALUE)
			break;
		peer_message(peers, span_of(connection->in.data, scanner.offset), &request);
		buffer_consume(&connection->in, scanner.offset);
	}
	if (out.size > 0)
		assert_int_equal(send(connection->fd, out.data, out.size, MSG_NOSIGNAL), out.size);
	buffer_close(&out);
	if (request.close)
		peer_close(connection);
}

static inline void peer_accept(struct peers *peers, int node)
{
	int fd = accept(peers->listeners[node], NULL, NULL);

	for (int i = 0; i < PEER_CONNECTIONS; i++) {
		if (peers->connections[i].fd < 0) {
			peers->connections[i] = (struct peer_connection){.fd = fd, .node = node};
			return;
		}
	}
	close(fd);
}

static inline void *peer_run(void *arg)
{
	struct peers *peers = arg;

	while (!atomic_load(&peers->over)) {
		struct pollfd fds[PEER_NODES + PEER_CONNECTIONS];

		for (int i = 0; i < PEER_NODES; i++)
			fds[i] = (struct pollfd){.fd = peers->listeners[i], .events = POLLIN};
		for (int i = 0; i < PEER_CONNECTIONS; i++)
			fds[PEER_NODES + i] =
				(struct pollfd){.fd = peers->connections[i].fd, .events = POLLIN};
		poll(fds, PEER_NODES + PEER_CONNECTIONS, 20);
		for (int i = 0; i < PEER_CONNECTIONS; i++)
			if (fds[PEER_NODES + i].fd >= 0 && fds[PEER_NODES + i].revents != 0)
				peer_serve(peers, &peers->connections[i]);
		for (int i = 0; i < PEER_NODES; i++)
			if (fds[i].revents != 0)
				peer_accept(peers, i);
	}
	return NULL;
}

/* ---- begin and end ---- */

static inline void peers_begin(struct peers *peers, peer_handler *handle, void *arg,
			       const char *options)
{
	*peers = (struct peers){.handle = handle, .arg = arg};
	for (int i = 0; i < PEER_CONNECTIONS; i++)
		peers->connections[i].fd = -1;
	for (int i = 0; i < PEER_NODES; i++) {
		struct sockaddr_in address = {.sin_family = AF_INET,
					      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t size = sizeof address;

		peers->listeners[i] = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(bind(peers->listeners[i], (struct sockaddr *)&address, size), 0);
		assert_int_equal(listen(peers->listeners[i], 16), 0);
		getsockname(peers->listeners[i], (struct sockaddr *)&address, &size);
		snprintf(peers->addresses[i], sizeof peers->addresses[i], "127.0.0.1:%u",
			 (unsigned)ntohs(address.sin_port));
	}
	snprintf(peers->url, sizeof peers->url, "annal://%s,%s,%s%s%s", peers->addresses[0],
		 peers->addresses[1], peers->addresses[2], options[0] != '\0' ? "?" : "", options);
	assert_int_equal(pthread_create(&peers->thread, NULL, peer_run, peers), 0);
}

static inline void peers_end(struct peers *peers)
{
	atomic_store(&peers->over, true);
	pthread_join(peers->thread, NULL);
	for (int i = 0; i < PEER_NODES; i++)
		close(peers->listeners[i]);
	for (int i = 0; i < PEER_CONNECTIONS; i++)
		if (peers->connections[i].fd >= 0)
			peer_close(&peers->connections[i]);
}

static inline struct annal_client *peers_client(const struct peers *peers)
{
	char message[512] = "";
	struct annal_client *client = annal_client_new(peers->url, message, sizeof message);

	if (client == NULL)
		fail_msg("%s", message);
	return client;
}

#endif
