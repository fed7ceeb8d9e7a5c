/* TCP connections to servers on this machine, with buffers, watched by one epoll. */
#ifndef TESTS_BENCH_PEERS_CONNECTION_H
#define TESTS_BENCH_PEERS_CONNECTION_H

#include "base/buffer.h"

#include <stdbool.h>

struct connection;
/* Something came, or the connection was lost (`lost` is set then). */
typedef void connection_heard(struct connection *connection);

struct connection {
	int descriptor; /* -1: there is none */
	bool lost;
	struct buffer out, in; /* `in`: what came and was not consumed */
	size_t in_used;        /* bytes of it that were */
	connection_heard *heard;
	void *owner;
};

/* False when nobody listens at HOST:PORT. */
bool connection_open(struct connection *connection, const char *address, connection_heard *heard);
void connection_close(struct connection *connection);
void connection_put(struct connection *connection, const void *data, size_t size);
void connection_put_text(struct connection *connection, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Send what was put; what the socket does not take stays. */
void connection_flush(struct connection *connection);

static inline const char *connection_data(const struct connection *connection)
{
	return (const char *)connection->in.data + connection->in_used;
}

static inline size_t connection_size(const struct connection *connection)
{
	return connection->in.size - connection->in_used;
}

/* Wait until something comes on any connection, and call its owner. */
void connections_poll(uint32_t timeout_us);
/* For a descriptor of somebody else's: `heard` is called with `arg`. It leaves when it is closed. */
struct watch {
	void (*heard)(void *arg);
	void *arg;
};
void connections_watch(int descriptor, struct watch *watch);
void connections_unwatch(int descriptor);

#endif
