/* Two transports on one loop, on the loopback, and strangers who connect to them with sockets of their own. */
#ifndef TESTS_RAFT_SIDES_H
#define TESTS_RAFT_SIDES_H

#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "raft/payload.h"
#include "raft/transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define PATIENCE_MS 60000

struct side {
	struct transport *transport;
	uint64_t id;
	char endpoint[ENDPOINT_TEXT_BYTES];
	enum handshake_verdict verdict; /* of its welcomes */
	uint32_t welcomed, received, sent, canceled;
	uint64_t gone;       /* the peer told of last */
	uint64_t last_index; /* of what it received */
	size_t payload_bytes;
	bool idle, closed;
};

static uv_loop_t loop;
static uv_timer_t heart;
static struct side a, b;

static inline void on_heart(uv_timer_t *timer)
{
	(void)timer;
}

static inline void fill(const struct side *side, uint64_t peer, struct handshake *handshake)
{
	handshake->version = HANDSHAKE_VERSION;
	handshake->from = side->id;
	handshake->to = peer;
	handshake->instance = side->id;
	snprintf(handshake->endpoint, sizeof handshake->endpoint, "%s", side->endpoint);
}

static inline void on_hello(void *arg, uint64_t peer, struct handshake *hello)
{
	fill(arg, peer, hello);
}

static inline void on_judge(void *arg, const struct handshake *hello, struct handshake *welcome)
{
	const struct side *side = arg;

	fill(side, hello->from, welcome);
	welcome->verdict = side->verdict;
	snprintf(welcome->reason, sizeof welcome->reason, "because");
}

static inline bool on_welcomed(void *arg, uint64_t peer, const char *endpoint,
			       const struct handshake *welcome,
			       char problem[HANDSHAKE_REASON_BYTES])
{
	struct side *side = arg;

	(void)problem, (void)endpoint;
	assert_int_equal(welcome->from, peer);
	side->welcomed++;
	return welcome->verdict == HANDSHAKE_ACCEPTED;
}

static inline void on_gone(void *arg, uint64_t peer)
{
	struct side *side = arg;

	side->gone = peer;
}

static inline void on_receive(void *arg, struct raft_message *message)
{
	struct side *side = arg;

	side->received++;
	assert_non_null(message->server_address);
	if (message->type == RAFT_IO_APPEND_ENTRIES) {
		side->last_index = message->append_entries.prev_log_index;
		if (message->append_entries.n_entries > 0)
			side->payload_bytes += message->append_entries.entries[0].buf.len;
	}
	wire_release(message);
}

static inline void side_open(struct side *side, uint64_t id)
{
	struct transport_options options = {.loop = &loop,
					    .listen = {.host = "127.0.0.1"},
					    .arg = side,
					    .hello = on_hello,
					    .judge = on_judge,
					    .welcomed = on_welcomed,
					    .gone = on_gone,
					    .receive = on_receive};
	struct error error;

	*side = (struct side){.id = id, .verdict = HANDSHAKE_ACCEPTED};
	assert_int_equal(transport_open(&side->transport, &options, &error), 0);
	snprintf(side->endpoint, sizeof side->endpoint, "127.0.0.1:%u/127.0.0.1:1#1",
		 transport_port(side->transport));
}

#define run_until(condition)                                                                       \
	do {                                                                                       \
		int64_t begun_ = clock_monotonic_ms();                                             \
                                                                                                   \
		while (!(condition)) {                                                             \
			uv_run(&loop, UV_RUN_ONCE);                                                \
			if (clock_monotonic_ms() - begun_ > PATIENCE_MS)                           \
				fail_msg("waited too long for: %s", #condition);                   \
		}                                                                                  \
	} while (0)

static inline int setup(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	uv_loop_init(&loop);
	uv_timer_init(&loop, &heart);
	uv_timer_start(&heart, on_heart, 5, 5);
	side_open(&a, 1);
	side_open(&b, 2);
	return 0;
}

static inline void on_closed(void *arg)
{
	struct side *side = arg;

	side->closed = true;
}

static inline void side_close(struct side *side)
{
	transport_close(side->transport, on_closed, side);
	run_until(side->closed);
	transport_free(side->transport);
}

static inline int teardown(void **state)
{
	(void)state;
	side_close(&a);
	side_close(&b);
	uv_close((uv_handle_t *)&heart, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

/* ---- sending ---- */

static inline void on_sent(struct raft_io_send *request, int status)
{
	struct side *side = request->data;

	if (status == 0)
		side->sent++;
	else
		side->canceled++;
}

static inline struct raft_message heartbeat(uint64_t to, uint64_t index)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = to};

	message.append_entries.term = 1;
	message.append_entries.prev_log_index = index;
	message.append_entries.prev_log_term = 1;
	return message;
}

static inline int send_to(struct side *from, struct side *to, struct raft_io_send *request,
			  const struct raft_message *message)
{
	request->data = from;
	return transport_send(from->transport, to->endpoint, request, message, on_sent);
}

static inline void connect_sides(struct side *from, struct side *to)
{
	struct raft_io_send request;
	struct raft_message message = heartbeat(to->id, 1);

	/* The first one is refused and makes the connection. */
	assert_int_equal(send_to(from, to, &request, &message), RAFT_NOCONNECTION);
	run_until(transport_is_up(from->transport, to->id));
}

static inline void on_idle(void *arg)
{
	struct side *side = arg;

	side->idle = true;
}

/* ---- strangers ---- */

static inline int connect_raw(const struct side *side)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_port = htons(transport_port(side->transport)),
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_true(socket_ >= 0);
	assert_true(connect(socket_, (struct sockaddr *)&address, sizeof address) == 0 ||
		    errno == EINPROGRESS);
	return socket_;
}

static inline bool is_closed(int socket_)
{
	char byte;
	ssize_t size = recv(socket_, &byte, 1, 0);

	return size == 0 || (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

static inline void send_raw(int socket_, const void *bytes, size_t size)
{
	ssize_t sent = -1;

	run_until((sent = send(socket_, bytes, size, MSG_NOSIGNAL)) >= 0 || errno == EPIPE ||
		  errno == ECONNRESET);
}

/* A connection that said hello and has read a welcome. */
static inline int say_hello(const struct side *to, uint64_t id, uint64_t instance)
{
	struct handshake hello = {.purpose = HANDSHAKE_RAFT};
	struct side from = {.id = id};
	struct buffer frame;
	int socket_ = connect_raw(to);
	char bytes[4096];

	snprintf(from.endpoint, sizeof from.endpoint, "127.0.0.1:1/127.0.0.1:2#1");
	fill(&from, to->id, &hello);
	hello.instance = instance;
	buffer_init(&frame);
	handshake_encode(&hello, WIRE_HELLO, &frame);
	send_raw(socket_, frame.data, frame.size);
	buffer_close(&frame);
	run_until(recv(socket_, bytes, sizeof bytes, 0) > 0);
	return socket_;
}

#endif
