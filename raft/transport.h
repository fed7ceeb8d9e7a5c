/*
 * The peer network: TCP between the nodes of a cluster, in place of raft_uv's own (which trusts every
 * byte). Messages to a peer go over the connection that this node made, its messages come over the one
 * that it made. Handshakes (raft/handshake.h) come first, both ways; every frame is checked (raft/wire.h)
 * before libraft sees it.
 *
 *   an outgoing link:
 *
 *   WAITING ──► RESOLVING ──► CONNECTING ──► GREETING ──► UP
 *      ▲            │              │             │         │
 *      └────────────┴──────────────┴─────────────┴─────────┘  any failure; the wait doubles from 50 ms
 *                                                             to 1 s and starts over once UP
 *
 * When the connection that a peer made breaks, the link to it is tried at once, and if that fails, too, the
 * peer is gone: its process has ended, most likely (`gone`).
 *
 * A link that nobody sent over for 10 s is given up. A message for a link that is not UP is refused, as
 * libraft expects: it sends again. Entries are written from where they lie in libraft's log, which keeps
 * them until the send's callback. When a connection ends, the callbacks of what it had not sent get
 * RAFT_CANCELED.
 *
 * Loop thread only. Callbacks run from the loop, never inside a function called here, but for `idle` of
 * transport_disconnect.
 */
#ifndef RAFT_TRANSPORT_H
#define RAFT_TRANSPORT_H

#include "raft/handshake.h"

#define TRANSPORT_CONNECT_MS     2000
#define TRANSPORT_BACKOFF_MS     50
#define TRANSPORT_BACKOFF_MAX_MS 1000
#define TRANSPORT_IDLE_MS        10000
#define TRANSPORT_UNGREETED      32u /* connections that have not introduced themselves */
#define TRANSPORT_INCOMING       64u /* connections in all */

struct uv_loop_s;
struct transport;

struct transport_options {
	struct uv_loop_s *loop;
	struct address listen;
	void *arg;
	/* Fill in the HELLO for this peer. */
	void (*hello)(void *arg, uint64_t peer, struct handshake *hello);
	/* Judge a peer's HELLO and fill in the WELCOME: its verdict decides, the reason is for people. */
	void (*judge)(void *arg, const struct handshake *hello, struct handshake *welcome);
	/* The answer to our HELLO from the peer at this endpoint. False: do not use the connection;
	 * why, for the log. */
	bool (*welcomed)(void *arg, uint64_t peer, const char *endpoint,
			 const struct handshake *welcome, char problem[HANDSHAKE_REASON_BYTES]);
	/* The connection that this peer had made broke, and a new one to it does not come about. */
	void (*gone)(void *arg, uint64_t peer);
	/* A checked message, the callee's from now on; server_address is valid during the call. */
	void (*receive)(void *arg, struct raft_message *message);
};

/* Listens when it returns. -EADDRINUSE, -EADDRNOTAVAIL, -EINVAL. */
int transport_open(struct transport **transport, const struct transport_options *options,
		   struct error *error);
uint16_t transport_port(const struct transport *transport); /* the one it listens on */

/* Send to the peer at this endpoint: 0, or RAFT_NOCONNECTION. `done` may be NULL. */
int transport_send(struct transport *transport, const char *endpoint, struct raft_io_send *request,
		   const struct raft_message *message, raft_io_send_cb done);
/* The same for an answer: when it cannot be sent, it is lost: `done` gets RAFT_NOCONNECTION later. */
void transport_send_or_lose(struct transport *transport, const char *endpoint,
			    struct raft_io_send *request, const struct raft_message *message,
			    raft_io_send_cb done);
/* Connect to this peer, and stay connected: before anything is to be sent. */
void transport_keep(struct transport *transport, uint64_t peer, const char *endpoint);
/* Tell this peer how far this node's records go, if there is a connection. */
void transport_send_news(struct transport *transport, uint64_t peer, uint64_t head);
/* What it told of itself last; false: nothing. */
bool transport_news_of(const struct transport *transport, uint64_t peer, uint64_t *head);
/* Connect once, exchange handshakes for forming, and close; `welcomed` tells. No-op while under way. */
void transport_ask(struct transport *transport, uint64_t peer, const char *endpoint);
/* Close every connection but the listening one. `idle` once every send has had its callback: perhaps at
 * once. */
void transport_disconnect(struct transport *transport, void (*idle)(void *arg), void *arg);

/* Members changed: close the connections of those that do not stay; they hear why when they come again. */
void transport_review(struct transport *transport,
		      bool (*stays)(void *arg, const struct handshake *hello), void *arg);

/* Since its last raft message; -1: never. */
int64_t transport_last_contact_ms(const struct transport *transport, uint64_t peer);
bool transport_is_up(const struct transport *transport, uint64_t peer);

void transport_close(struct transport *transport, void (*closed)(void *arg), void *arg);
void transport_free(struct transport *transport); /* once closed */

#endif
