/*
 * The peer network's own parts see each other here; nobody else includes this.
 *
 *   transport_connection.c  one socket: its life, writing, what is remembered of a peer
 *   transport_read.c        frames that arrive: handshakes, then messages
 *   transport.c             links to peers, listening, and the whole
 */
#ifndef RAFT_TRANSPORT_INSIDE_H
#define RAFT_TRANSPORT_INSIDE_H

#include "raft/transport.h"

#include <uv.h>

#define TRANSPORT_SCRATCH_BYTES (128 * 1024)
#define TRANSPORT_CONTACTS      64u

enum link_state { LINK_WAITING, LINK_RESOLVING, LINK_CONNECTING, LINK_GREETING, LINK_UP };

struct reader {
	uint8_t header_bytes[WIRE_HEADER_BYTES];
	struct wire_header header;
	struct buffer meta;
	uint8_t *payload; /* raft_malloc */
	enum { READ_HEADER, READ_META, READ_PAYLOAD } part;
	size_t filled; /* of the part */
};

struct connection {
	uv_tcp_t tcp; /* first: a uv_tcp_t is cast to it */
	uv_connect_t connecting;
	struct transport *transport;
	struct link *link; /* outgoing; NULL once the link has let go, and for incoming ones */
	struct connection *next;
	bool incoming, greeted, closing;
	int64_t deadline_ms; /* for the handshake of an incoming one */
	uint64_t peer;
	struct handshake hello; /* of an incoming peer */
	struct reader reader;
};

struct link {
	uv_timer_t timer; /* the wait, or the deadline of connecting and greeting */
	uv_getaddrinfo_t resolve;
	struct transport *transport;
	struct link *next;
	uint64_t peer;
	enum handshake_purpose purpose;
	enum link_state state;
	struct connection *connection;
	char endpoint[ENDPOINT_TEXT_BYTES];
	struct address address;
	uint32_t backoff_ms;
	uint32_t attempts;
	int64_t wanted_ms; /* when somebody last wanted to send */
	bool doubted;      /* the peer's own connection broke, and this one is not made again yet */
	bool resolving, closing, timer_closed;
};

/* What a peer was last told about, so that the same complaint is not logged at every attempt. */
struct contact {
	uint64_t peer;
	int64_t received_ms; /* 0: never */
	uint64_t head;       /* by its news … */
	bool told;           /* … if there were any */
	int64_t complained_ms;
	char complaint[HANDSHAKE_REASON_BYTES];
};

struct transport {
	struct transport_options options;
	uv_tcp_t listener;
	uv_timer_t sweep;
	uv_timer_t late; /* tells of answers that were lost */
	struct sending *lost;
	struct connection *connections;
	struct link *links;
	struct contact contacts[TRANSPORT_CONTACTS];
	uint32_t contact_count;
	struct contact strangers; /* all that nobody here asked for and nobody accepted */
	uint32_t handles;         /* uv handles and lookups that are not closed yet */
	uint32_t sends;           /* written, callback to come */
	void (*idle)(void *arg);
	void *idle_arg;
	void (*closed)(void *arg);
	void *closed_arg;
	uint8_t scratch[TRANSPORT_SCRATCH_BYTES];
};

struct sending {
	uv_write_t write; /* first */
	struct transport *transport;
	struct raft_io_send *request;
	raft_io_send_cb done;
	struct buffer head;
	struct sending *next; /* among those lost */
};

/* ---- transport_connection.c ---- */

/* What is remembered of a peer that this node connects to, or has accepted; made when there is none. */
struct contact *transport_contact_of(struct transport *transport, uint64_t peer);
/* Log it, unless the same was said of this peer, or anything a moment ago. */
void transport_complain(struct transport *transport, uint64_t peer, const char *address,
			const char *complaint);
void transport_address_of(struct connection *connection, char text[ADDRESS_TEXT_BYTES]);
/* A uv handle, or a lookup, of the transport has ended. */
void transport_handle_closed(struct transport *transport);
void transport_maybe_idle(struct transport *transport);
struct connection *transport_connection_new(struct transport *transport);
void transport_connection_close(struct connection *connection);
/* The connection is of no use any more; an outgoing one is made again, after a wait. */
void transport_connection_fail(struct connection *connection);
void transport_connection_refuse(struct connection *connection, const char *why);
void transport_socket_setup(struct connection *connection);
struct sending *transport_sending_new(struct transport *transport);
/* Write head and payload in one go; false: nothing was written, and the sending is freed. */
bool transport_sending_write(struct sending *sending, struct connection *connection,
			     const struct raft_message *message);
void transport_handshake_send(struct connection *connection, const struct handshake *handshake,
			      enum wire_type type);

/* ---- transport_read.c ---- */

void transport_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer);
void transport_on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer);

/* ---- transport.c ---- */

void transport_link_fail(struct link *link); /* its connection is gone */
void transport_link_close(struct link *link);
/* The connection that the peer made has broken, or is there again. */
void transport_link_doubt(struct transport *transport, uint64_t peer, bool broken);

#endif
