/*
 * One TCP connection to a node: bytes out, whole messages in. It never blocks, but for the resolver
 * when the host is a name. One thread.
 *
 *   CLOSED --open--> CONNECTING --connected--> OPEN --any failure, close--> CLOSED
 *
 * What is written before it is open is sent once it is. Messages handed out stay in place until the
 * next link_receive().
 */
#ifndef CLIENT_LINK_H
#define CLIENT_LINK_H

#include "base/address.h"
#include "base/msgpack.h"

#include <netdb.h>

enum link_state { LINK_CLOSED, LINK_CONNECTING, LINK_OPEN };

struct link {
	enum link_state state;
	int fd;                    /* -1 when closed */
	struct addrinfo *resolved; /* all addresses of the host, while connecting */
	struct addrinfo *trying;
	struct buffer out;
	size_t sent; /* bytes of `out` */
	struct buffer in;
	size_t taken; /* bytes of `in` that were handed out */
	struct msgpack_scanner scanner;
	int64_t heard_ms; /* when bytes came last, or it opened */
};

void link_init(struct link *link);
void link_close(struct link *link); /* at once; what was not sent is lost; may be opened again */

/* Begin to connect. 0, or negative with a message when that fails at once. */
int link_open(struct link *link, const struct address *address, int64_t now_ms,
	      struct error *error);

/* Take over a connected non-blocking socket. */
void link_adopt(struct link *link, int fd, int64_t now_ms);

/* What to poll for: POLLIN only while `want_input`. 0 when closed. */
short link_poll_events(const struct link *link, bool want_input);

/* After poll(2): finish connecting, or write. 0, or negative with a message: close it then. */
int link_progress(struct link *link, int64_t now_ms, struct error *error);

void link_write(struct link *link, struct span bytes); /* queued; nothing is sent yet */
int link_flush(struct link *link, struct error *error);

/* Read what is there, up to some hundred KiB. 0, or negative: the peer is gone. */
int link_receive(struct link *link, int64_t now_ms, struct error *error);

/* 1 and the next whole message; 0 when more must be received; -EPROTO for something else. */
int link_next(struct link *link, struct span *message, struct error *error);

/*
 * Keep the message that was handed out last, or a value in it: *value points into `into` afterwards, which
 * the caller owns. A large message is not copied: its memory changes places with that of `into`.
 */
void link_keep(struct link *link, struct span *value, struct buffer *into);

size_t link_unread(const struct link *link); /* bytes received and not handed out */

#endif
