#include "client/link.h"

#include "base/assert.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES     (256 * KIB) /* in one receive */
#define CHUNK_BYTES    (64 * KIB)
#define KEEP_BYTES_MIN (64 * KIB) /* below that a copy is cheap */
#define IN_KEPT_BYTES  (8 * MIB)  /* an empty buffer larger than this is given back */
#define MESSAGE_BYTES                                                                              \
	(LIMIT_MESSAGE_BYTES + 64 * KIB) /* an event of full size fits with its frame */

void link_init(struct link *link)
{
	*link = (struct link){.state = LINK_CLOSED, .fd = -1};
	buffer_init(&link->out);
	buffer_init(&link->in);
}

static void forget_resolved(struct link *link)
{
	if (link->resolved != NULL)
		freeaddrinfo(link->resolved);
	link->resolved = NULL;
	link->trying = NULL;
}

void link_close(struct link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
	link->state = LINK_CLOSED;
	forget_resolved(link);
	buffer_close(&link->out);
	buffer_close(&link->in);
	link->sent = 0;
	link->taken = 0;
}

static void begin_message(struct link *link)
{
	msgpack_scanner_init(&link->scanner, MESSAGE_BYTES, LIMIT_DEPTH);
}

static void opened(struct link *link, int64_t now_ms)
{
	int on = 1;

	/* Fails on sockets that are not TCP, which need it not. */
	(void)setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	forget_resolved(link);
	link->state = LINK_OPEN;
	link->heard_ms = now_ms;
}

void link_adopt(struct link *link, int fd, int64_t now_ms)
{
	ASSERT(link->state == LINK_CLOSED && fd >= 0);
	link->fd = fd;
	begin_message(link);
	opened(link, now_ms);
}

/* Try the addresses from link->trying on until one is connected or on its way. */
static int try_addresses(struct link *link, int64_t now_ms, struct error *error)
{
	int problem = EADDRNOTAVAIL;

	for (; link->trying != NULL; link->trying = link->trying->ai_next) {
		struct addrinfo *info = link->trying;

		link->fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (link->fd < 0) {
			problem = errno;
			continue;
		}
		if (connect(link->fd, info->ai_addr, info->ai_addrlen) == 0) {
			opened(link, now_ms);
			return 0;
		}
		if (errno == EINPROGRESS) {
			link->state = LINK_CONNECTING;
			link->heard_ms = now_ms;
			return 0;
		}
		problem = errno;
		close(link->fd);
		link->fd = -1;
	}
	return error_set_errno(error, problem, "cannot connect");
}

int link_open(struct link *link, const struct address *address, int64_t now_ms, struct error *error)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	char port[8];

	ASSERT(link->state == LINK_CLOSED);
	snprintf(port, sizeof port, "%u", (unsigned)address->port);
	int status = getaddrinfo(address->host, port, &hints, &link->resolved);

	if (status != 0) {
		link->resolved = NULL;
		return error_set(error, -EHOSTUNREACH, "cannot resolve the host: %s",
				 address_resolve_error(status));
	}
	begin_message(link);
	link->trying = link->resolved;
	return try_addresses(link, now_ms, error);
}

short link_poll_events(const struct link *link, bool want_input)
{
	short events = 0;

	if (link->state == LINK_CONNECTING)
		return POLLOUT;
	if (link->state == LINK_OPEN && want_input)
		events |= POLLIN;
	if (link->state == LINK_OPEN && link->sent < link->out.size)
		events |= POLLOUT;
	return events;
}

static int finish_connecting(struct link *link, int64_t now_ms, struct error *error)
{
	int problem = 0;
	socklen_t size = sizeof problem;
	struct pollfd pollfd = {.fd = link->fd, .events = POLLOUT};

	if (poll(&pollfd, 1, 0) == 0)
		return 0;
	if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &problem, &size) != 0)
		problem = errno;
	if (problem == 0) {
		opened(link, now_ms);
		return 0;
	}
	close(link->fd);
	link->fd = -1;
	link->trying = link->trying->ai_next;
	if (link->trying == NULL)
		return error_set_errno(error, problem, "cannot connect");
	return try_addresses(link, now_ms, error);
}

int link_progress(struct link *link, int64_t now_ms, struct error *error)
{
	if (link->state == LINK_CONNECTING) {
		int status = finish_connecting(link, now_ms, error);

		if (status != 0)
			return status;
	}
	return link->state == LINK_OPEN ? link_flush(link, error) : 0;
}

void link_write(struct link *link, struct span bytes)
{
	ASSERT(link->state != LINK_CLOSED);
	buffer_append_span(&link->out, bytes);
}

int link_flush(struct link *link, struct error *error)
{
	while (link->state == LINK_OPEN && link->sent < link->out.size) {
		ssize_t sent = send(link->fd, link->out.data + link->sent,
				    link->out.size - link->sent, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return 0;
		if (sent < 0)
			return error_set_errno(error, errno, "cannot send");
		link->sent += (size_t)sent;
	}
	if (link->sent == link->out.size) {
		buffer_clear(&link->out);
		link->sent = 0;
	}
	return 0;
}

/* Drop what was handed out; a large buffer that is empty goes back to the system. */
static void make_room(struct link *link)
{
	buffer_consume(&link->in, link->taken);
	link->taken = 0;
	if (link->in.size == 0 && link->in.capacity > IN_KEPT_BYTES)
		buffer_close(&link->in);
}

int link_receive(struct link *link, int64_t now_ms, struct error *error)
{
	size_t total = 0;

	ASSERT(link->state == LINK_OPEN);
	make_room(link);
	while (total < READ_BYTES) {
		uint8_t *into = buffer_reserve(&link->in, CHUNK_BYTES);
		ssize_t got = recv(link->fd, into, CHUNK_BYTES, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return 0;
		if (got < 0)
			return error_set_errno(error, errno, "connection lost");
		if (got == 0) /* what came before it is still to be looked at */
			return total > 0 ? 0
					 : error_set(error, -ECONNRESET,
						     "the node closed the connection");
		link->in.size += (size_t)got;
		link->heard_ms = now_ms;
		total += (size_t)got;
		if ((size_t)got < CHUNK_BYTES)
			return 0;
	}
	return 0;
}

int link_next(struct link *link, struct span *message, struct error *error)
{
	const uint8_t *bytes = link->in.data + link->taken;
	size_t size = link->in.size - link->taken;

	if (size == 0)
		return 0;
	switch (msgpack_scan(&link->scanner, bytes, size)) {
	case MSGPACK_SCAN_MORE:
		return 0;
	case MSGPACK_SCAN_VALUE:
		*message = span_of(bytes, link->scanner.offset);
		link->taken += link->scanner.offset;
		begin_message(link);
		return 1;
	case MSGPACK_SCAN_INVALID:
		return error_set(error, -EPROTO, "what came is not MessagePack: no annal node?");
	case MSGPACK_SCAN_TOO_DEEP:
		return error_set(error, -EPROTO, "an answer is nested deeper than %u levels",
				 LIMIT_DEPTH);
	case MSGPACK_SCAN_TOO_LONG:
		break;
	}
	return error_set(error, -EPROTO, "an answer is longer than %llu bytes",
			 (unsigned long long)MESSAGE_BYTES);
}

void link_keep(struct link *link, struct span *value, struct buffer *into)
{
	size_t rest = link->in.size - link->taken;

	ASSERT(value->data >= link->in.data &&
	       value->data + value->size <= link->in.data + link->taken);
	buffer_clear(into);
	if (value->size < KEEP_BYTES_MIN || rest > value->size) {
		buffer_append_span(into, *value);
		*value = buffer_span(into);
		return;
	}
	struct buffer in = *into;

	buffer_append(&in, link->in.data + link->taken, rest);
	*into = link->in;
	link->in = in;
	link->taken = 0;
}

size_t link_unread(const struct link *link)
{
	return link->in.size - link->taken;
}
