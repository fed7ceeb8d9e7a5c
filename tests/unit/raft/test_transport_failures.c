/*
 * The peer network when its calls fail, names are not resolved, and peers say what they must not: it costs a
 * connection, never the peer, and whoever can be reached is reached again.
 */
#include "tests/unit/failing_calls.h"
#include "tests/unit/raft/sides.h"

#include "raft/transport_inside.h"

#include <netdb.h>
#include <time.h>

/* ---- the clock, which may be set ahead ---- */

static int64_t ahead_ms;

int64_t clock_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec + ahead_ms * 1000000;
}

int64_t clock_monotonic_ms(void)
{
	return clock_monotonic_ns() / 1000000;
}

int64_t clock_realtime_ns(void)
{
	return clock_monotonic_ns();
}

/* ---- calls that fail ---- */

FAILING_CALL(int, uv_read_start, (uv_stream_t * stream, uv_alloc_cb alloc, uv_read_cb on_read),
	     (stream, alloc, on_read), UV_ENOTCONN)
FAILING_CALL(int, uv_tcp_connect,
	     (uv_connect_t * request, uv_tcp_t *tcp, const struct sockaddr *address,
	      uv_connect_cb on_connect),
	     (request, tcp, address, on_connect), UV_EMFILE)
FAILING_CALL(int, uv_getaddrinfo,
	     (uv_loop_t * on, uv_getaddrinfo_t *request, uv_getaddrinfo_cb on_found,
	      const char *host, const char *service, const struct addrinfo *hints),
	     (on, request, on_found, host, service, hints), UV_ENOMEM)
FAILING_CALL(int, uv_write,
	     (uv_write_t * request, uv_stream_t *stream, const uv_buf_t buffers[],
	      unsigned int count, uv_write_cb on_written),
	     (request, stream, buffers, count, on_written), UV_EPIPE)
FAILING_CALL(int, uv_listen, (uv_stream_t * stream, int backlog, uv_connection_cb on_connection),
	     (stream, backlog, on_connection), UV_EADDRINUSE)
FAILING_CALL(int, uv_tcp_getpeername, (const uv_tcp_t *tcp, struct sockaddr *name, int *size),
	     (tcp, name, size), UV_ENOTCONN)
FAILING_CALL(int, uv_fileno, (const uv_handle_t *handle, uv_os_fd_t *file), (handle, file),
	     UV_EBADF)

/* libuv takes no other one before this one is taken from it. */
int uv_accept(uv_stream_t *server, uv_stream_t *client)
{
	static int (*next)(uv_stream_t * server, uv_stream_t * client);

	if (next == NULL)
		*(void **)&next = failing_calls_next("uv_accept");
	int status = next(server, client);

	return failing_call_is_due("uv_accept") ? UV_EMFILE : status;
}

/* Names here: "two.test" has two addresses, of which nobody listens at the first. */
static _Atomic unsigned lookups;

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		struct addrinfo **found)
{
	static int (*next)(const char *host, const char *service, const struct addrinfo *hints,
			   struct addrinfo **found);

	if (next == NULL)
		*(void **)&next = failing_calls_next("getaddrinfo");
	lookups++;
	if (strcmp(host, "none.test") == 0)
		return EAI_NONAME;
	if (strcmp(host, "two.test") != 0)
		return next(host, service, hints, found);
	int status = next("127.0.0.1", "1", hints, found);

	return status != 0 ? status : next("127.0.0.1", service, hints, &(*found)->ai_next);
}

/* As libraft does: what was lost is sent again. */
static void reach(struct side *from, struct side *to)
{
	struct raft_message message = heartbeat(to->id, 7);
	struct raft_io_send request;
	uint32_t received = to->received;

	while (to->received == received) {
		run_until(transport_is_up(from->transport, to->id));
		uint32_t ended = from->sent + from->canceled;

		if (send_to(from, to, &request, &message) != 0)
			continue;
		run_until(from->sent + from->canceled > ended);
		run_until(to->received > received || !transport_is_up(from->transport, to->id));
	}
}

static void whatever_call_fails_peers_reach_each_other(void **state)
{
	static const char *const calls[] = {"uv_accept", "uv_read_start", "uv_tcp_connect",
					    "uv_write",  "uv_fileno",     NULL};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		uint64_t in = 1;

		do {
			assert_int_equal(setup(state), 0);
			failing_calls_set(calls[i], 0, in);
			transport_keep(a.transport, 2, b.endpoint);
			transport_keep(b.transport, 1, a.endpoint);
			reach(&a, &b);
			reach(&b, &a);
			failing_calls_stop();
			assert_int_equal(teardown(state), 0);
		} while (failing_calls.struck != NULL && ++in < 20);
		assert_true(calls[i] == NULL || in > 1);
	}
}

static void an_address_that_cannot_be_had_is_an_error(void **state)
{
	static const struct {
		const char *call, *host;
		uint16_t port;
		int status;
	} cases[] = {
		{"uv_listen", "127.0.0.1", 0, -EADDRINUSE},
		{NULL, "none.test", 0, -EADDRNOTAVAIL},
		{NULL, "192.0.2.1", 0, -EADDRNOTAVAIL},
	};
	struct transport_options options = {.loop = &loop, .arg = &a};
	struct transport *transport = NULL;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		error.message[0] = '\0';
		options.listen.port = cases[i].port;
		strcpy(options.listen.host, cases[i].host);
		failing_calls_set(cases[i].call != NULL ? cases[i].call : "nothing", 0, 1);
		if (transport_open(&transport, &options, &error) != cases[i].status)
			fail_msg("case %zu: %s", i, error.message);
		failing_calls_stop();
		assert_non_null(strstr(error.message, cases[i].host));
		assert_null(transport);
	}
}

/* A complaint has the address of whoever is refused, if there is one. */
static void a_peer_without_an_address_is_refused_as_well(void **state)
{
	(void)state;
	b.verdict = HANDSHAKE_MISMATCH;
	failing_calls_set("uv_tcp_getpeername", 0, 1);
	close(say_hello(&b, 3, 3));
	failing_calls_stop();
	assert_non_null(failing_calls.struck);
	ahead_ms += 10000;
	close(say_hello(&b, 3, 3));
}

/* ---- names ---- */

static void endpoint_of(const struct side *side, const char *host, char text[ENDPOINT_TEXT_BYTES])
{
	snprintf(text, ENDPOINT_TEXT_BYTES, "%s:%u/127.0.0.1:1#1", host,
		 transport_port(side->transport));
}

static void a_name_is_resolved_and_each_address_tried(void **state)
{
	char endpoint[ENDPOINT_TEXT_BYTES];

	(void)state;
	endpoint_of(&b, "two.test", endpoint);
	failing_calls_set("uv_getaddrinfo", 0, 1);
	transport_keep(a.transport, 2, endpoint);
	run_until(failing_calls.struck != NULL);
	run_until(transport_is_up(a.transport, 2));
	failing_calls_stop();
}

static void a_name_that_is_not_resolved_is_asked_for_again(void **state)
{
	char endpoint[ENDPOINT_TEXT_BYTES];

	(void)state;
	lookups = 0;
	endpoint_of(&b, "none.test", endpoint);
	transport_keep(a.transport, 2, endpoint);
	run_until(lookups >= 3);
	assert_false(transport_is_up(a.transport, 2));
	/* The member has another address by now. */
	transport_keep(a.transport, 2, b.endpoint);
	run_until(transport_is_up(a.transport, 2));
}

static void a_transport_may_close_while_a_name_is_resolved(void **state)
{
	char endpoint[ENDPOINT_TEXT_BYTES];

	(void)state;
	for (int turns = 0; turns < 4; turns++) {
		endpoint_of(&b, "two.test", endpoint);
		transport_keep(a.transport, 2, endpoint);
		for (int i = 0; i < turns; i++)
			uv_run(&loop, UV_RUN_NOWAIT);
		side_close(&a);
		side_open(&a, 1);
	}
}

static void what_is_no_endpoint_is_never_reached(void **state)
{
	struct raft_message message = heartbeat(2, 7);
	struct raft_io_send request = {.data = &a};

	(void)state;
	transport_keep(a.transport, 2, "nonsense");
	transport_keep(a.transport, 2, "nonsense:x/127.0.0.1:1#1");
	transport_ask(a.transport, 3, "nonsense");
	assert_int_equal(transport_send(a.transport, "nonsense", &request, &message, on_sent),
			 RAFT_NOCONNECTION);
	transport_send_or_lose(a.transport, "nonsense", &request, &message, on_sent);
	transport_send_or_lose(a.transport, NULL, &request, &message, NULL);
	transport_send_news(a.transport, 2, 1);
	run_until(a.canceled == 1);
	connect_sides(&a, &b);
}

static void nothing_is_sent_while_all_connections_end(void **state)
{
	struct raft_message message = heartbeat(2, 7);
	struct raft_io_send request = {.data = &a};

	(void)state;
	connect_sides(&a, &b);
	transport_disconnect(a.transport, on_idle, &a);
	assert_int_equal(send_to(&a, &b, &request, &message), RAFT_NOCONNECTION);
	run_until(a.idle);
	side_close(&b);
	transport_close(a.transport, on_closed, &a);
	assert_int_equal(send_to(&a, &b, &request, &message), RAFT_NOCONNECTION);
	transport_ask(a.transport, 2, b.endpoint);
	run_until(a.closed);
	transport_free(a.transport);
	side_open(&a, 1);
	side_open(&b, 2);
}

static void a_peer_that_nobody_wants_any_more_is_let_go(void **state)
{
	struct raft_message message = heartbeat(2, 7);
	struct raft_io_send request = {.data = &a};

	(void)state;
	b.verdict = HANDSHAKE_LATER;
	assert_int_equal(send_to(&a, &b, &request, &message), RAFT_NOCONNECTION);
	run_until(a.welcomed >= 1);
	ahead_ms += TRANSPORT_IDLE_MS + 1;
	run_until(a.transport->links == NULL);
	b.verdict = HANDSHAKE_ACCEPTED;
	connect_sides(&a, &b);
}

static void peers_over_ipv6(void **state)
{
	struct transport_options options = {.loop = &loop,
					    .listen = {.host = "::1"},
					    .hello = on_hello,
					    .judge = on_judge,
					    .welcomed = on_welcomed,
					    .gone = on_gone,
					    .receive = on_receive};
	struct side sixth = {.id = 6, .verdict = HANDSHAKE_ACCEPTED};
	struct error error;

	(void)state;
	options.arg = &sixth;
	if (transport_open(&sixth.transport, &options, &error) != 0) {
		print_message("this machine has no IPv6: %s\n", error.message);
		return;
	}
	snprintf(sixth.endpoint, sizeof sixth.endpoint, "[::1]:%u/127.0.0.1:1#1",
		 transport_port(sixth.transport));
	sixth.verdict = HANDSHAKE_MISMATCH;
	transport_keep(a.transport, 6, sixth.endpoint);
	run_until(a.welcomed >= 1);
	sixth.verdict = HANDSHAKE_ACCEPTED;
	run_until(transport_is_up(a.transport, 6));
	side_close(&sixth);
}

/* ---- what peers must not say ---- */

static void append_handshake(struct buffer *into, enum wire_type type, uint64_t from)
{
	struct side side = {.id = from};
	struct handshake handshake = {.purpose = HANDSHAKE_RAFT};

	snprintf(side.endpoint, sizeof side.endpoint, "127.0.0.1:1/127.0.0.1:2#1");
	fill(&side, 2, &handshake);
	handshake.verdict = type == WIRE_HELLO ? HANDSHAKE_NONE : HANDSHAKE_ACCEPTED;
	handshake_encode(&handshake, type, into);
}

enum wrong { SECOND_HELLO, WELCOME, NEWS_DAMAGED, NEWS_SHORT, HELLO_DAMAGED, RAFT_DAMAGED, WRONGS };

static void append_wrong(struct buffer *into, enum wrong wrong)
{
	struct raft_message message = heartbeat(2, 7);

	switch (wrong) {
	case SECOND_HELLO:
		append_handshake(into, WIRE_HELLO, 3);
		return;
	case WELCOME:
		append_handshake(into, WIRE_WELCOME, 3);
		return;
	case HELLO_DAMAGED:
		append_handshake(into, WIRE_HELLO, 3);
		break;
	case RAFT_DAMAGED:
		wire_encode(&message, into);
		break;
	default:
		wire_encode_news(12, into);
	}
	into->data[into->size - 1] ^= 1;
}

static void an_accepted_peer_that_says_what_it_must_not_is_cut_off(void **state)
{
	(void)state;
	for (enum wrong wrong = 0; wrong < WRONGS; wrong++) {
		int socket_ = say_hello(&b, 3, 3);
		struct buffer frame;

		buffer_init(&frame);
		append_wrong(&frame, wrong);
		send_raw(socket_, frame.data, frame.size);
		buffer_close(&frame);
		run_until(is_closed(socket_));
		close(socket_);
	}
	connect_sides(&a, &b);
}

/* One that was refused stays until it has read why; it may not try again on the same connection. */
static void a_refused_peer_says_hello_once(void **state)
{
	struct buffer frame;
	int socket_;

	(void)state;
	b.verdict = HANDSHAKE_LATER;
	socket_ = say_hello(&b, 3, 3);
	buffer_init(&frame);
	append_handshake(&frame, WIRE_HELLO, 3);
	send_raw(socket_, frame.data, frame.size);
	buffer_close(&frame);
	run_until(is_closed(socket_));
	close(socket_);
}

/* What somebody answers who listens at the address of a peer. */
static void an_answer_that_is_no_welcome_is_no_connection(void **state)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	char endpoint[ENDPOINT_TEXT_BYTES];

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	snprintf(endpoint, sizeof endpoint, "127.0.0.1:%u/127.0.0.1:1#1", ntohs(address.sin_port));
	transport_keep(a.transport, 3, endpoint);
	for (int i = 0; i < 3; i++) {
		struct buffer frame;
		int socket_;

		run_until((socket_ = accept(listener, NULL, NULL)) >= 0);
		buffer_init(&frame);
		append_handshake(&frame, i == 0 ? WIRE_HELLO : WIRE_WELCOME, 3);
		if (i == 1)
			frame.data[frame.size - 1] ^= 1;
		send_raw(socket_, frame.data, frame.size);
		if (i == 2) {
			/* Once is enough. */
			run_until(transport_is_up(a.transport, 3));
			send_raw(socket_, frame.data, frame.size);
		}
		run_until(is_closed(socket_));
		buffer_close(&frame);
		close(socket_);
	}
	run_until(!transport_is_up(a.transport, 3));
	close(listener);
}

/* More than any cluster has: whoever was silent for longest is forgotten. */
static void peers_are_remembered_as_long_as_there_is_room(void **state)
{
	struct raft_message message = heartbeat(2, 7);
	struct raft_io_send request = {.data = &a};

	(void)state;
	connect_sides(&a, &b);
	assert_int_equal(send_to(&a, &b, &request, &message), 0);
	run_until(b.received == 1);
	for (uint64_t id = 100; id < 170; id++) {
		int socket_ = say_hello(&b, id, id);
		struct buffer frame;
		uint64_t head = 0;

		buffer_init(&frame);
		wire_encode_news(id, &frame);
		send_raw(socket_, frame.data, frame.size);
		buffer_close(&frame);
		run_until(transport_news_of(b.transport, id, &head));
		assert_int_equal(head, id);
		close(socket_);
	}
	assert_true(transport_last_contact_ms(b.transport, 1) >= 0);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_call_fails_peers_reach_each_other),
		test_of(an_address_that_cannot_be_had_is_an_error),
		test_of(a_peer_without_an_address_is_refused_as_well),
		test_of(a_name_is_resolved_and_each_address_tried),
		test_of(a_name_that_is_not_resolved_is_asked_for_again),
		test_of(a_transport_may_close_while_a_name_is_resolved),
		test_of(what_is_no_endpoint_is_never_reached),
		test_of(nothing_is_sent_while_all_connections_end),
		test_of(a_peer_that_nobody_wants_any_more_is_let_go),
		test_of(peers_over_ipv6),
		test_of(an_accepted_peer_that_says_what_it_must_not_is_cut_off),
		test_of(a_refused_peer_says_hello_once),
		test_of(an_answer_that_is_no_welcome_is_no_connection),
		test_of(peers_are_remembered_as_long_as_there_is_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
