#include "node/listener.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/node.h"
#include "node/stats.h"
#include "node/stream.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define BACKLOG        1024
#define ACCEPT_AT_ONCE 64 /* then others have their turn */
#define PAUSE_MS       100

struct listener {
	struct node *node;
	struct streams *streams;
	int fd; /* -1: stopped */
	uv_poll_t poll;
	uv_timer_t pause; /* active while there are no file descriptors */
	unsigned handles;
	bool out_of_files; /* it was said */
};

static int bind_socket(const struct addrinfo *info)
{
	int on = 1;
	int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	/* Only a socket that listens keeps another from binding: begin, with nobody in the queue. */
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int problem = errno;

	close(fd);
	return -problem;
}

int listener_bind(const struct address *address, const char *setting, int *fd, struct error *error)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found;
	char port[8], text[ADDRESS_TEXT_BYTES];

	address_format(address, text);
	snprintf(port, sizeof port, "%u", (unsigned)address->port);
	int status = getaddrinfo(address->host, port, &hints, &found);

	if (status != 0)
		return error_set(error, -EADDRNOTAVAIL, "cannot listen on %s: %s: correct %s", text,
				 address_resolve_error(status), setting);
	status = bind_socket(found);
	freeaddrinfo(found);
	if (status < 0)
		return error_set_errno(error, -status, "cannot listen on %s (%s)", text, setting);
	*fd = status;
	return 0;
}

/* ---- accepting ---- */

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	if (listener->fd >= 0)
		uv_poll_start(&listener->poll, UV_READABLE, on_acceptable);
}

static void pause_accepting(struct listener *listener, int problem)
{
	if (!listener->out_of_files)
		log_error("listener", "cannot take connections: raise the limit of open files",
			  "reason=\"%s\" connections=%u", strerror(problem),
			  streams_count(listener->streams));
	listener->out_of_files = true;
	listener->node->counters->connections_refused++;
	uv_poll_stop(&listener->poll);
	uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
}

/* Whether there may be more. */
static bool accept_one(struct listener *listener)
{
	struct node *node = listener->node;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			pause_accepting(listener, errno);
			return false;
		}
		return errno != EAGAIN && errno != EWOULDBLOCK;
	}
	if (streams_count(listener->streams) >= node->settings.max_connections) {
		log_warn("listener", "more connections than max-connections", "max=%llu",
			 (unsigned long long)node->settings.max_connections);
		node->counters->connections_refused++;
		streams_refuse(listener->streams, fd);
		return true;
	}
	listener->out_of_files = false;
	node->counters->connections_accepted++;
	streams_open(listener->streams, fd);
	return true;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;

	if (status < 0 || (events & UV_READABLE) == 0)
		return;
	for (int i = 0; i < ACCEPT_AT_ONCE && accept_one(listener); i++)
		;
}

/* ---- doors ---- */

int listener_new(struct listener **listener, struct node *node, int fd, struct error *error)
{
	struct listener *made = memory_zeroed(1, sizeof *made);
	int status = uv_poll_init(node->loop, &made->poll, fd);

	ASSERT(fd >= 0);
	if (status < 0) {
		close(fd);
		memory_free(made);
		return error_set(error, -EIO, "cannot watch the client port: %s",
				 uv_strerror(status));
	}
	made->node = node;
	made->fd = fd;
	made->streams = streams_new(node);
	uv_timer_init(node->loop, &made->pause);
	made->handles = 2;
	made->poll.data = made;
	made->pause.data = made;
	uv_poll_start(&made->poll, UV_READABLE, on_acceptable);
	*listener = made;
	return 0;
}

struct streams *listener_streams(struct listener *listener)
{
	return listener->streams;
}

void listener_stop(struct listener *listener)
{
	if (listener->fd < 0)
		return;
	uv_poll_stop(&listener->poll);
	uv_timer_stop(&listener->pause);
	close(listener->fd);
	listener->fd = -1;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	ASSERT(listener->handles > 0);
	if (--listener->handles == 0)
		memory_free(listener);
}

void listener_free(struct listener *listener)
{
	listener_stop(listener);
	streams_free(listener->streams);
	uv_close((uv_handle_t *)&listener->poll, on_listener_closed);
	uv_close((uv_handle_t *)&listener->pause, on_listener_closed);
}
