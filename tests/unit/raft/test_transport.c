/* The peer network on the loopback: greeting, messages both ways, strangers, garbage. */
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

static void on_heart(uv_timer_t *timer)
{
	(void)timer;
}

static void fill(const struct side *side, uint64_t peer, struct handshake *handshake)
{
	handshake->version = HANDSHAKE_VERSION;
	handshake->from = side->id;
	handshake->to = peer;
	handshake->instance = side->id;
	snprintf(handshake->endpoint, sizeof handshake->endpoint, "%s", side->endpoint);
}

static void on_hello(void *arg, uint64_t peer, struct handshake *hello)
{
	fill(arg, peer, hello);
}

static void on_judge(void *arg, const struct handshake *hello, struct handshake *welcome)
{
	const struct side *side = arg;

	fill(side, hello->from, welcome);
	welcome->verdict = side->verdict;
	snprintf(welcome->reason, sizeof welcome->reason, "because");
}

static bool on_welcomed(void *arg, uint64_t peer, const char *endpoint,
			const struct handshake *welcome, char problem[HANDSHAKE_REASON_BYTES])
{
	struct side *side = arg;

	(void)problem, (void)endpoint;
	assert_int_equal(welcome->from, peer);
	side->welcomed++;
	return welcome->verdict == HANDSHAKE_ACCEPTED;
}

static void on_gone(void *arg, uint64_t peer)
{
	struct side *side = arg;

	side->gone = peer;
}

static void on_receive(void *arg, struct raft_message *message)
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

static void side_open(struct side *side, uint64_t id)
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

static int setup(void **state)
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

static void on_closed(void *arg)
{
	struct side *side = arg;

	side->closed = true;
}

static void side_close(struct side *side)
{
	transport_close(side->transport, on_closed, side);
	run_until(side->closed);
	transport_free(side->transport);
}

static int teardown(void **state)
{
	(void)state;
	side_close(&a);
	side_close(&b);
	uv_close((uv_handle_t *)&heart, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

/* ---- sending ---- */

static void on_sent(struct raft_io_send *request, int status)
{
	struct side *side = request->data;

	if (status == 0)
		side->sent++;
	else
		side->canceled++;
}

static struct raft_message heartbeat(uint64_t to, uint64_t index)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = to};

	message.append_entries.term = 1;
	message.append_entries.prev_log_index = index;
	message.append_entries.prev_log_term = 1;
	return message;
}

static int send_to(struct side *from, struct side *to, struct raft_io_send *request,
		   const struct raft_message *message)
{
	request->data = from;
	return transport_send(from->transport, to->endpoint, request, message, on_sent);
}

static void connect_sides(struct side *from, struct side *to)
{
	struct raft_io_send request;
	struct raft_message message = heartbeat(to->id, 1);

	/* The first one is refused and makes the connection. */
	assert_int_equal(send_to(from, to, &request, &message), RAFT_NOCONNECTION);
	run_until(transport_is_up(from->transport, to->id));
}

static void messages_go_both_ways_in_order(void **state)
{
	struct raft_io_send requests[200];

	(void)state;
	connect_sides(&a, &b);
	connect_sides(&b, &a);
	for (uint64_t i = 0; i < COUNT_OF(requests); i++) {
		struct side *from = i % 2 == 0 ? &a : &b, *to = i % 2 == 0 ? &b : &a;
		struct raft_message message = heartbeat(to->id, i + 1);

		assert_int_equal(send_to(from, to, &requests[i], &message), 0);
		assert_int_equal(from->sent, 0); /* never inside the call */
	}
	run_until(a.received == 100 && b.received == 100 && a.sent == 100 && b.sent == 100);
	assert_int_equal(b.last_index, 199);
	assert_int_equal(a.last_index, 200);
	assert_true(transport_last_contact_ms(a.transport, 2) >= 0);
	assert_int_equal(transport_last_contact_ms(a.transport, 3), -1);
}

static void large_entries_arrive_whole(void **state)
{
	static const size_t sizes[] = {8, 5000, 70000, 1 << 20, LIMIT_ENTRY_BYTES_MAX - 100};
	struct raft_io_send requests[COUNT_OF(sizes)];
	struct raft_entry entries[COUNT_OF(sizes)];
	size_t sum = 0;

	(void)state;
	connect_sides(&a, &b);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct raft_message message = heartbeat(2, i + 1);
		struct raft_entry *entry = &entries[i];

		*entry = (struct raft_entry){.term = 1, .type = RAFT_COMMAND};
		entry->buf.len = payload_bytes(sizes[i]);
		entry->buf.base = raft_calloc(1, entry->buf.len);
		payload_seal(entry->buf.base, sizes[i], i + 2, 1);
		sum += entry->buf.len;
		message.append_entries.entries = entry;
		message.append_entries.n_entries = 1;
		assert_int_equal(send_to(&a, &b, &requests[i], &message), 0);
	}
	run_until(b.received == COUNT_OF(sizes) && a.sent == COUNT_OF(sizes));
	assert_int_equal(b.payload_bytes, sum);
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		raft_free(entries[i].buf.base);
}

static void a_refused_peer_is_not_sent_to_until_it_is_accepted(void **state)
{
	struct raft_io_send request;
	struct raft_message message = heartbeat(2, 1);

	(void)state;
	b.verdict = HANDSHAKE_MISMATCH;
	assert_int_equal(send_to(&a, &b, &request, &message), RAFT_NOCONNECTION);
	run_until(a.welcomed >= 3);
	assert_false(transport_is_up(a.transport, 2));
	b.verdict = HANDSHAKE_ACCEPTED;
	run_until(transport_is_up(a.transport, 2));
	assert_int_equal(b.received, 0);
}

static void an_answer_that_cannot_be_sent_is_lost_later(void **state)
{
	struct raft_io_send request = {.data = &a};
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES_RESULT, .server_id = 2};

	(void)state;
	b.verdict = HANDSHAKE_LATER;
	transport_send_or_lose(a.transport, b.endpoint, &request, &message, on_sent);
	assert_int_equal(a.canceled, 0);
	run_until(a.canceled == 1);
}

static void on_idle(void *arg)
{
	struct side *side = arg;

	side->idle = true;
}

static void disconnecting_ends_every_send(void **state)
{
	struct raft_io_send requests[64];
	struct raft_entry entry = {.term = 1, .type = RAFT_COMMAND};
	uint32_t begun = 0;

	(void)state;
	connect_sides(&a, &b);
	entry.buf.len = payload_bytes(1 << 20);
	entry.buf.base = raft_calloc(1, entry.buf.len);
	payload_seal(entry.buf.base, 1 << 20, 2, 1);
	for (; begun < COUNT_OF(requests); begun++) {
		struct raft_message message = heartbeat(2, 1);

		message.append_entries.entries = &entry;
		message.append_entries.n_entries = 1;
		if (send_to(&a, &b, &requests[begun], &message) != 0)
			break; /* so much is bounded, too */
	}
	assert_true(begun > 1);
	transport_disconnect(a.transport, on_idle, &a);
	run_until(a.idle);
	assert_int_equal(a.sent + a.canceled, begun);
	raft_free(entry.buf.base);
	/* It may be used again afterwards. */
	connect_sides(&a, &b);
}

static void a_peer_that_goes_is_found_again(void **state)
{
	(void)state;
	connect_sides(&a, &b);
	transport_disconnect(b.transport, on_idle, &b);
	run_until(b.idle && !transport_is_up(a.transport, 2));
	run_until(transport_is_up(a.transport, 2));
}

static void who_only_asks_gets_an_answer_and_no_more(void **state)
{
	(void)state;
	transport_ask(a.transport, 2, b.endpoint);
	transport_ask(a.transport, 2, b.endpoint);
	run_until(a.welcomed == 1);
	assert_false(transport_is_up(a.transport, 2));
}

/* ---- strangers ---- */

static int connect_raw(const struct side *side)
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

static bool is_closed(int socket_)
{
	char byte;
	ssize_t size = recv(socket_, &byte, 1, 0);

	return size == 0 || (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK);
}

static void send_raw(int socket_, const void *bytes, size_t size)
{
	ssize_t sent = -1;

	run_until((sent = send(socket_, bytes, size, MSG_NOSIGNAL)) >= 0 || errno == EPIPE ||
		  errno == ECONNRESET);
}

static void garbage_closes_its_own_connection_only(void **state)
{
	struct raft_io_send request;
	struct raft_message message = heartbeat(2, 7);
	struct buffer frame;
	int garbage, early;

	(void)state;
	connect_sides(&a, &b);
	garbage = connect_raw(&b);
	send_raw(garbage, "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n", 49);
	run_until(is_closed(garbage));
	close(garbage);

	/* A well-formed raft message, but from nobody. */
	early = connect_raw(&b);
	buffer_init(&frame);
	wire_encode(&message, &frame);
	send_raw(early, frame.data, frame.size);
	run_until(is_closed(early));
	close(early);
	buffer_close(&frame);
	assert_int_equal(b.received, 0);
	assert_int_equal(send_to(&a, &b, &request, &message), 0);
	run_until(b.received == 1 && a.sent == 1);
}

/* A connection that said hello and has read a welcome. */
static int say_hello(const struct side *to, uint64_t id, uint64_t instance)
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

static void refused_strangers_crowd_out_no_member(void **state)
{
	struct raft_io_send request;
	struct raft_message message = heartbeat(2, 7);

	(void)state;
	b.verdict = HANDSHAKE_MISMATCH;
	for (uint64_t id = 100; id < 200; id++)
		close(say_hello(&b, id, id));
	b.verdict = HANDSHAKE_ACCEPTED;
	connect_sides(&a, &b);
	assert_int_equal(send_to(&a, &b, &request, &message), 0);
	run_until(b.received == 1 && a.sent == 1);
	b.verdict = HANDSHAKE_MISMATCH;
	for (uint64_t id = 200; id < 300; id++)
		close(say_hello(&b, id, id));
	assert_true(transport_last_contact_ms(b.transport, 1) >= 0);
	assert_int_equal(transport_last_contact_ms(b.transport, 299), -1);
}

static void only_the_same_node_takes_the_place_of_a_connection(void **state)
{
	int first, other, again;

	(void)state;
	first = say_hello(&b, 3, 30);
	other = say_hello(&b, 3, 31);
	again = say_hello(&b, 3, 31);
	run_until(is_closed(other));
	assert_false(is_closed(first));
	assert_false(is_closed(again));
	close(first);
	close(other);
	close(again);
}

static void silent_connections_are_bounded(void **state)
{
	int sockets[TRANSPORT_UNGREETED + 8];
	uint32_t closed = 0;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sockets); i++)
		sockets[i] = connect_raw(&b);
	run_until(({
		closed = 0;
		for (size_t i = 0; i < COUNT_OF(sockets); i++)
			closed += is_closed(sockets[i]);
		closed >= 8;
	}));
	/* And those that are left do not stay for ever. */
	run_until(({
		closed = 0;
		for (size_t i = 0; i < COUNT_OF(sockets); i++)
			closed += is_closed(sockets[i]);
		closed == COUNT_OF(sockets);
	}));
	for (size_t i = 0; i < COUNT_OF(sockets); i++)
		close(sockets[i]);
	connect_sides(&a, &b);
}

static void a_peer_whose_process_ends_is_gone(void **state)
{
	(void)state;
	connect_sides(&a, &b);
	connect_sides(&b, &a);
	assert_int_equal(a.gone, 0);
	side_close(&b);
	run_until(a.gone == 2);
	side_open(&b, 2);
}

static void on_idle_again(void *arg)
{
	(void)arg;
}

static void a_connection_that_breaks_is_no_end_of_its_peer(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		connect_sides(&a, &b);
		connect_sides(&b, &a);
		transport_disconnect(b.transport, on_idle_again, NULL);
		run_until(!transport_is_up(a.transport, 2));
	}
	run_until(transport_is_up(a.transport, 2));
	assert_int_equal(a.gone, 0);
}

#define test_of(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_of(messages_go_both_ways_in_order),
		test_of(large_entries_arrive_whole),
		test_of(a_refused_peer_is_not_sent_to_until_it_is_accepted),
		test_of(an_answer_that_cannot_be_sent_is_lost_later),
		test_of(disconnecting_ends_every_send),
		test_of(a_peer_that_goes_is_found_again),
		test_of(a_peer_whose_process_ends_is_gone),
		test_of(a_connection_that_breaks_is_no_end_of_its_peer),
		test_of(who_only_asks_gets_an_answer_and_no_more),
		test_of(garbage_closes_its_own_connection_only),
		test_of(refused_strangers_crowd_out_no_member),
		test_of(only_the_same_node_takes_the_place_of_a_connection),
		test_of(silent_connections_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
