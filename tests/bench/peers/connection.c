#include "tests/bench/peers/connection.h"

#include "tests/bench/peers/work.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX     64
#define RECEIVE_BYTES  131072u
#define TEXT_BYTES_MAX 1024u

static int epoll_descriptor = -1;

/* The lowest bit of what epoll keeps tells a watch from a connection. */
static void epoll_add(int descriptor, uintptr_t what)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = what};

	if (epoll_descriptor < 0)
		epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_descriptor < 0 ||
	    epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event) != 0)
		work_fail("epoll: %s", strerror(errno));
}

static bool parse_address(const char *text, struct sockaddr_in *address)
{
	const char *colon = strrchr(text, ':');
	char host[64];

	if (colon == NULL || colon - text >= (ptrdiff_t)sizeof host)
		return false;
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	*address = (struct sockaddr_in){.sin_family = AF_INET,
					.sin_port = htons((uint16_t)atoi(colon + 1))};
	return inet_pton(AF_INET, host, &address->sin_addr) == 1;
}

bool connection_open(struct connection *connection, const char *address, connection_heard *heard)
{
	struct sockaddr_in to;
	const int on = 1;

	if (!parse_address(address, &to))
		work_fail("'%s' is no address: give HOST:PORT with a numeric host", address);
	connection->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	connection->lost = false;
	connection->heard = heard;
	connection->in_used = 0;
	buffer_clear(&connection->in);
	buffer_clear(&connection->out);
	if (connection->descriptor < 0)
		work_fail("socket: %s", strerror(errno));
	setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(connection->descriptor, (struct sockaddr *)&to, sizeof to) != 0) {
		close(connection->descriptor);
		connection->descriptor = -1;
		connection->lost = true;
		return false;
	}
	fcntl(connection->descriptor, F_SETFL, O_NONBLOCK);
	epoll_add(connection->descriptor, (uintptr_t)connection);
	return true;
}

void connection_close(struct connection *connection)
{
	if (connection->descriptor >= 0)
		close(connection->descriptor);
	connection->descriptor = -1;
	connection->lost = true;
	buffer_clear(&connection->out);
}

void connection_put(struct connection *connection, const void *data, size_t size)
{
	buffer_append(&connection->out, data, size);
}

void connection_put_text(struct connection *connection, const char *format, ...)
{
	va_list arguments;
	char *room = (char *)buffer_reserve(&connection->out, TEXT_BYTES_MAX);

	va_start(arguments, format);
	int size = vsnprintf(room, TEXT_BYTES_MAX, format, arguments);
	va_end(arguments);
	if (size < 0 || size >= (int)TEXT_BYTES_MAX)
		work_fail("a line of more than %u bytes", TEXT_BYTES_MAX);
	connection->out.size += (size_t)size;
}

void connection_flush(struct connection *connection)
{
	size_t sent = 0;

	while (!connection->lost && sent < connection->out.size) {
		ssize_t size = send(connection->descriptor, connection->out.data + sent,
				    connection->out.size - sent, MSG_NOSIGNAL);

		if (size < 0 && errno == EAGAIN)
			break;
		if (size < 0 && errno != EINTR) {
			connection_close(connection);
			connection->heard(connection);
			return;
		}
		sent += size > 0 ? (size_t)size : 0;
	}
	if (sent > 0)
		buffer_consume(&connection->out, sent);
}

static void receive(struct connection *connection)
{
	struct buffer *in = &connection->in;

	if (connection->in_used > 0)
		buffer_consume(in, connection->in_used);
	connection->in_used = 0;
	ssize_t size =
		recv(connection->descriptor, buffer_reserve(in, RECEIVE_BYTES), RECEIVE_BYTES, 0);

	if (size > 0)
		in->size += (size_t)size;
	else if (size == 0 || (errno != EAGAIN && errno != EINTR))
		connection_close(connection);
	connection->heard(connection);
}

void connections_poll(uint32_t timeout_us)
{
	const struct timespec timeout = {.tv_sec = timeout_us / 1000000,
					 .tv_nsec = timeout_us % 1000000 * 1000L};
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_pwait2(epoll_descriptor, events, EVENTS_MAX, &timeout, NULL);

	for (int i = 0; i < count; i++) {
		uintptr_t what = (uintptr_t)events[i].data.u64;

		if ((what & 1) != 0) {
			const struct watch *watch = (const struct watch *)(what & ~(uintptr_t)1);

			watch->heard(watch->arg);
			continue;
		}
		struct connection *connection = (struct connection *)what;

		if (!connection->lost)
			receive(connection);
	}
}

void connections_watch(int descriptor, struct watch *watch)
{
	epoll_add(descriptor, (uintptr_t)watch | 1);
}

void connections_unwatch(int descriptor)
{
	epoll_ctl(epoll_descriptor, EPOLL_CTL_DEL, descriptor, NULL);
}
