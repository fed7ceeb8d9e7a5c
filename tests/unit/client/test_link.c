#include "base/clock.h"
#include "client/link.h"
#include "tests/unit/unit.h"
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A link over a socketpair, and the peer's end of it. */
struct wire {
	struct link link;
	int peer;
};

static void open_wire(struct wire *wire)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	link_init(&wire->link);
	link_adopt(&wire->link, fds[0], 1);
	wire->peer = fds[1];
}

static void close_wire(struct wire *wire)
{
	link_close(&wire->link);
	close(wire->peer);
}

static void give(struct wire *wire, const char *bytes, size_t size)
{
	struct error error;

	assert_int_equal(write(wire->peer, bytes, size), size);
	assert_int_equal(link_receive(&wire->link, 2, &error), 0);
}

static void messages_come_whole_however_they_arrive(void **state)
{
	static const char bytes[] = "\x93\x02\xa5hello\x91\xc3\x2a\xc4\x03xyz";
	static const size_t sizes[] = {10, 1, 5};
	struct wire wire;
	struct error error;
	struct span message;
	size_t seen = 0;

	(void)state;
	open_wire(&wire);
	for (size_t i = 0; i < sizeof bytes - 1; i++) {
		give(&wire, &bytes[i], 1);
		while (link_next(&wire.link, &message, &error) == 1)
			assert_int_equal(message.size, sizes[seen++]);
	}
	assert_int_equal(seen, 3);
	give(&wire, bytes, sizeof bytes - 1);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(link_next(&wire.link, &message, &error), 1);
		assert_int_equal(message.size, sizes[i]);
	}
	assert_int_equal(link_next(&wire.link, &message, &error), 0);
	close_wire(&wire);
}

/* An array of one blob of this size, behind 4 bytes of headers, filled with `byte`. */
static void put_blob(struct buffer *bytes, size_t size, int byte)
{
	msgpack_write_array(bytes, 1);
	memset(buffer_reserve(bytes, size + 5), byte, size + 5);
	uint8_t *at = bytes->data + bytes->size;

	at[0] = 0xc6;
	for (int i = 0; i < 4; i++)
		at[1 + i] = (uint8_t)(size >> (24 - 8 * i));
	bytes->size += size + 5;
}

static void receive_all(struct wire *wire, struct span bytes)
{
	struct error error;

	while (bytes.size > 0) {
		ssize_t sent = write(wire->peer, bytes.data, bytes.size);

		if (sent > 0)
			bytes = span_of(bytes.data + sent, bytes.size - (size_t)sent);
		assert_int_equal(link_receive(&wire->link, 2, &error), 0);
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(link_receive(&wire->link, 2, &error), 0);
}

/* Kept by a copy or by a change of memory: what follows stays, and so does what is kept. */
static void a_message_is_kept_whatever_comes_behind_it(void **state)
{
	static const size_t sizes[] = {10, 1000, 70000, 300000, 100, 200000, 90000, 80000, 5};
	struct buffer bytes, kept[COUNT_OF(sizes)];
	struct span values[COUNT_OF(sizes)], message;
	struct error error;
	struct wire wire;

	(void)state;
	open_wire(&wire);
	buffer_init(&bytes);
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
		put_blob(&bytes, sizes[i], 'a' + (int)i);
	receive_all(&wire, buffer_span(&bytes));
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		buffer_init(&kept[i]);
		assert_int_equal(link_next(&wire.link, &message, &error), 1);
		assert_int_equal(message.size, sizes[i] + 6);
		values[i] = span_of(message.data + 6, sizes[i]);
		link_keep(&wire.link, &values[i], &kept[i]);
	}
	assert_int_equal(link_next(&wire.link, &message, &error), 0);
	close_wire(&wire);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		assert_int_equal(values[i].size, sizes[i]);
		for (size_t k = 0; k < sizes[i]; k++)
			assert_int_equal(values[i].data[k], 'a' + (int)i);
		buffer_close(&kept[i]);
	}
	buffer_close(&bytes);
}

static void what_is_no_message_is_refused(void **state)
{
	static const struct {
		const char *bytes, *reason;
		size_t size;
	} cases[] = {
		{"\xc1", "not MessagePack", 1},
		{"HTTP/1.1 400 Bad Request\r\n\xc1", "not MessagePack", 27},
		{"\xdd\xff\xff\xff\xff", "longer than", 5},
		{"\xc6\xff\xff\xff\xff", "longer than", 5},
		{"\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91", "deeper",
		 17},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct wire wire;
		struct error error;
		struct span message;
		int status;

		open_wire(&wire);
		give(&wire, cases[i].bytes, cases[i].size);
		do
			status = link_next(&wire.link, &message, &error);
		while (status == 1); /* letters are numbers in MessagePack */
		assert_true(status < 0);
		if (strstr(error.message, cases[i].reason) == NULL)
			fail_msg("%s", error.message);
		close_wire(&wire);
	}
}

static void a_declared_length_costs_no_memory(void **state)
{
	struct wire wire;
	struct error error;
	struct span message;

	(void)state;
	open_wire(&wire);
	give(&wire, "\xc6\x00\xff\xff\xff", 5); /* 16 MiB - 1, allowed */
	assert_int_equal(link_next(&wire.link, &message, &error), 0);
	assert_true(wire.link.in.capacity <= 1 * MIB);
	close_wire(&wire);
}

static void what_came_before_the_end_is_still_there(void **state)
{
	struct wire wire;
	struct error error;
	struct span message;

	(void)state;
	open_wire(&wire);
	assert_int_equal(write(wire.peer, "\x07\x91", 2), 2);
	close(wire.peer);
	assert_int_equal(link_receive(&wire.link, 2, &error), 0);
	assert_int_equal(link_next(&wire.link, &message, &error), 1);
	assert_int_equal(link_next(&wire.link, &message, &error), 0);
	assert_true(link_receive(&wire.link, 2, &error) < 0);
	assert_non_null(strstr(error.message, "closed"));
	link_close(&wire.link);
}

#define MUCH (8 * MIB)

static void *read_much(void *arg)
{
	const int *fd = arg;
	uint8_t block[65536];
	size_t total = 0;

	while (total < MUCH) {
		struct pollfd pollfd = {.fd = *fd, .events = POLLIN};

		poll(&pollfd, 1, 1000);
		ssize_t got = read(*fd, block, sizeof block);

		for (ssize_t i = 0; i < got; i++)
			assert_int_equal(block[i], (uint8_t)((total + (size_t)i) * 7));
		total += got > 0 ? (size_t)got : 0;
	}
	return NULL;
}

static void more_than_a_socket_holds_is_sent_in_parts(void **state)
{
	uint8_t *bytes = memory_alloc(MUCH);
	struct wire wire;
	struct error error;
	pthread_t thread;

	(void)state;
	for (size_t i = 0; i < MUCH; i++)
		bytes[i] = (uint8_t)(i * 7);
	open_wire(&wire);
	link_write(&wire.link, span_of(bytes, MUCH));
	assert_int_equal(link_flush(&wire.link, &error), 0);
	assert_true(link_poll_events(&wire.link, true) & POLLOUT);
	pthread_create(&thread, NULL, read_much, &wire.peer);
	while (link_poll_events(&wire.link, true) & POLLOUT) {
		struct pollfd pollfd = {.fd = wire.link.fd, .events = POLLOUT};

		poll(&pollfd, 1, 1000);
		assert_int_equal(link_progress(&wire.link, 3, &error), 0);
	}
	pthread_join(thread, NULL);
	close_wire(&wire);
	memory_free(bytes);
}

static void a_port_without_listener_is_refused(void **state)
{
	const struct address nobody = {"127.0.0.1", 1};
	struct link link;
	struct error error;
	int status;

	(void)state;
	link_init(&link);
	status = link_open(&link, &nobody, 1, &error);
	for (int i = 0; status == 0 && i < 100; i++) {
		struct pollfd pollfd = {.fd = link.fd, .events = POLLOUT};

		poll(&pollfd, 1, 100);
		status = link_progress(&link, 1, &error);
	}
	assert_true(status < 0);
	assert_non_null(strstr(error.message, "refused"));
	link_close(&link);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_come_whole_however_they_arrive),
		cmocka_unit_test(a_message_is_kept_whatever_comes_behind_it),
		cmocka_unit_test(what_is_no_message_is_refused),
		cmocka_unit_test(a_declared_length_costs_no_memory),
		cmocka_unit_test(what_came_before_the_end_is_still_there),
		cmocka_unit_test(more_than_a_socket_holds_is_sent_in_parts),
		cmocka_unit_test(a_port_without_listener_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
