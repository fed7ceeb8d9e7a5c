/* The peer network on the loopback: greeting, messages both ways, strangers, garbage. */
#include "tests/unit/raft/sides.h"

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
