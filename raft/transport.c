#include "raft/transport.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <uv.h>

#define SCRATCH_BYTES     (128 * 1024)
#define DIRECT_BYTES      (16 * 1024) /* from this size on, a payload is read where it belongs */
#define USER_TIMEOUT_MS   5000
#define KEEPALIVE_SECONDS 5
#define SWEEP_MS          500
#define BACKLOG           64
#define CONTACTS          64u
#define COMPLAIN_AGAIN_MS 60000
#define SEND_QUEUE_BYTES  (2 * LIMIT_PEER_IN_FLIGHT_BYTES)

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
	char endpoint[ENDPOINT_TEXT_BYTES];
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
	bool resolving, closing, timer_closed;
};

/* What a peer was last told about, so that the same complaint is not logged at every attempt. */
struct contact {
	uint64_t peer;
	int64_t received_ms; /* 0: never */
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
	struct contact contacts[CONTACTS];
	uint32_t contact_count;
	uint32_t handles; /* uv handles and lookups that are not closed yet */
	uint32_t sends;   /* written, callback to come */
	void (*idle)(void *arg);
	void *idle_arg;
	void (*closed)(void *arg);
	void *closed_arg;
	uint8_t scratch[SCRATCH_BYTES];
};

struct sending {
	uv_write_t write; /* first */
	struct transport *transport;
	struct raft_io_send *request;
	raft_io_send_cb done;
	struct buffer head;
	struct sending *next; /* among those lost */
};

static void link_fail(struct link *link);
static void link_start(struct link *link);
static void link_close(struct link *link);

/* ---- contacts and complaints ---- */

static struct contact *contact_of(struct transport *transport, uint64_t peer)
{
	for (uint32_t i = 0; i < transport->contact_count; i++)
		if (transport->contacts[i].peer == peer)
			return &transport->contacts[i];
	/* The table is larger than any cluster; strangers share the last place. */
	if (transport->contact_count < CONTACTS)
		transport->contact_count++;
	struct contact *contact = &transport->contacts[transport->contact_count - 1];

	*contact = (struct contact){.peer = peer};
	return contact;
}

static void complain(struct transport *transport, uint64_t peer, const char *address,
		     const char *complaint)
{
	struct contact *contact = contact_of(transport, peer);
	int64_t now = clock_monotonic_ms();

	if (strncmp(contact->complaint, complaint, sizeof contact->complaint - 1) == 0 &&
	    now - contact->complained_ms < COMPLAIN_AGAIN_MS)
		return;
	snprintf(contact->complaint, sizeof contact->complaint, "%s", complaint);
	contact->complained_ms = now;
	log_warn("transport", "peer refused or refusing",
		 "peer=%" PRIu64 " address=%s reason=\"%s\"", peer, address, complaint);
}

int64_t transport_last_contact_ms(const struct transport *transport, uint64_t peer)
{
	for (uint32_t i = 0; i < transport->contact_count; i++)
		if (transport->contacts[i].peer == peer && transport->contacts[i].received_ms > 0)
			return clock_monotonic_ms() - transport->contacts[i].received_ms;
	return -1;
}

static void address_of(struct connection *connection, char text[ADDRESS_TEXT_BYTES])
{
	struct sockaddr_storage storage;
	struct address address = {0};
	int size = sizeof storage;

	snprintf(text, ADDRESS_TEXT_BYTES, "?");
	if (uv_tcp_getpeername(&connection->tcp, (struct sockaddr *)&storage, &size) < 0)
		return;
	address.port =
		ntohs(storage.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&storage)->sin6_port
						    : ((struct sockaddr_in *)&storage)->sin_port);
	if (uv_ip_name((struct sockaddr *)&storage, address.host, sizeof address.host) == 0)
		address_format(&address, text);
}

/* ---- closing ---- */

static void maybe_closed(struct transport *transport)
{
	if (transport->closed == NULL || transport->handles > 0)
		return;
	void (*closed)(void *arg) = transport->closed;

	ASSERT(transport->sends == 0 && transport->connections == NULL);
	transport->closed = NULL;
	closed(transport->closed_arg);
}

static void maybe_idle(struct transport *transport)
{
	if (transport->idle == NULL || transport->sends > 0)
		return;
	void (*idle)(void *arg) = transport->idle;

	transport->idle = NULL;
	idle(transport->idle_arg);
}

static void handle_closed(struct transport *transport)
{
	ASSERT(transport->handles > 0);
	transport->handles--;
	maybe_closed(transport);
}

static void own_handle_closed(uv_handle_t *handle)
{
	handle_closed(handle->data);
}

static void connection_closed(uv_handle_t *handle)
{
	struct connection *connection = (struct connection *)handle;
	struct transport *transport = connection->transport;
	struct connection **at = &transport->connections;

	while (*at != connection)
		at = &(*at)->next;
	*at = connection->next;
	raft_free(connection->reader.payload);
	buffer_close(&connection->reader.meta);
	memory_free(connection);
	handle_closed(transport);
}

static void connection_close(struct connection *connection)
{
	if (connection->closing)
		return;
	connection->closing = true;
	if (connection->link != NULL) {
		ASSERT(connection->link->connection == connection);
		connection->link->connection = NULL;
		connection->link = NULL;
	}
	uv_close((uv_handle_t *)&connection->tcp, connection_closed);
}

static struct connection *connection_new(struct transport *transport)
{
	struct connection *connection = memory_zeroed(1, sizeof *connection);
	int status = uv_tcp_init(transport->options.loop, &connection->tcp);

	ASSERT(status == 0);
	transport->handles++;
	connection->transport = transport;
	connection->next = transport->connections;
	transport->connections = connection;
	buffer_init(&connection->reader.meta);
	return connection;
}

/* The connection is of no use any more; an outgoing one is made again, after a wait. */
static void connection_fail(struct connection *connection)
{
	struct link *link = connection->link;

	connection_close(connection);
	if (link != NULL)
		link_fail(link);
}

static void connection_refuse(struct connection *connection, const char *why)
{
	char address[ADDRESS_TEXT_BYTES];

	address_of(connection, address);
	complain(connection->transport, connection->peer, address, why);
	connection_fail(connection);
}

static void socket_setup(struct connection *connection)
{
	unsigned timeout_ms = USER_TIMEOUT_MS;
	uv_os_fd_t socket;

	/* Each is a refinement: a connection without it still serves. */
	uv_tcp_nodelay(&connection->tcp, 1);
	uv_tcp_keepalive(&connection->tcp, 1, KEEPALIVE_SECONDS);
	if (uv_fileno((uv_handle_t *)&connection->tcp, &socket) == 0)
		(void)setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms,
				 sizeof timeout_ms);
}

/* ---- writing ---- */

static void written(uv_write_t *write, int status)
{
	struct sending *sending = (struct sending *)write;
	struct transport *transport = sending->transport;
	struct connection *connection = (struct connection *)write->handle;

	if (status < 0 && !connection->closing)
		connection_fail(connection);
	ASSERT(transport->sends > 0);
	transport->sends--;
	if (sending->done != NULL)
		sending->done(sending->request, status == 0 ? 0 : RAFT_CANCELED);
	buffer_close(&sending->head);
	memory_free(sending);
	maybe_idle(transport);
}

static struct sending *sending_new(struct transport *transport)
{
	struct sending *sending = memory_zeroed(1, sizeof *sending);

	sending->transport = transport;
	buffer_init(&sending->head);
	return sending;
}

/* Write head and payload in one go; libuv copies the list of buffers, not what they hold. */
static bool sending_write(struct sending *sending, struct connection *connection,
			  const struct raft_message *message)
{
	unsigned count = message != NULL ? wire_payload_count(message) : 0;
	uv_buf_t few[16];
	uv_buf_t *buffers = count < 16 ? few : memory_alloc((count + 1) * sizeof *buffers);

	buffers[0] = uv_buf_init((char *)sending->head.data, (unsigned)sending->head.size);
	for (unsigned i = 0; i < count; i++) {
		struct raft_buffer part = wire_payload_at(message, i);

		buffers[i + 1] = uv_buf_init(part.base, (unsigned)part.len);
	}
	int status = uv_write(&sending->write, (uv_stream_t *)&connection->tcp, buffers, count + 1,
			      written);

	if (buffers != few)
		memory_free(buffers);
	if (status == 0) {
		sending->transport->sends++;
		return true;
	}
	buffer_close(&sending->head);
	memory_free(sending);
	return false;
}

static void handshake_send(struct connection *connection, const struct handshake *handshake,
			   enum wire_type type)
{
	struct sending *sending = sending_new(connection->transport);

	handshake_encode(handshake, type, &sending->head);
	if (!sending_write(sending, connection, NULL))
		connection_fail(connection);
}

/* ---- handshakes ---- */

static void close_other_incoming(struct connection *connection)
{
	struct connection *other = connection->transport->connections;

	for (; other != NULL; other = other->next)
		if (other != connection && other->incoming && other->greeted &&
		    other->peer == connection->peer)
			connection_close(other);
}

static void after_welcome_sent(struct connection *connection, const struct handshake *welcome)
{
	if (connection->closing)
		return;
	/* Who only asks about forming gets an answer and nothing more. */
	connection->greeted =
		welcome->verdict == HANDSHAKE_ACCEPTED && welcome->purpose == HANDSHAKE_RAFT;
	connection->deadline_ms = clock_monotonic_ms() + LIMIT_HANDSHAKE_MS;
	if (connection->greeted)
		close_other_incoming(connection);
	/* A refused peer closes when it has read why; the sweep does it otherwise. */
}

static void on_hello(struct connection *connection, const struct handshake *hello)
{
	struct transport *transport = connection->transport;
	struct handshake welcome = {.purpose = hello->purpose};
	char address[ADDRESS_TEXT_BYTES];

	connection->peer = hello->from;
	memcpy(connection->endpoint, hello->endpoint, sizeof connection->endpoint);
	transport->options.judge(transport->options.arg, hello, &welcome);
	ASSERT(welcome.verdict != HANDSHAKE_NONE);
	if (welcome.verdict > HANDSHAKE_LATER) {
		address_of(connection, address);
		complain(transport, hello->from, address, welcome.reason);
	}
	handshake_send(connection, &welcome, WIRE_WELCOME);
	after_welcome_sent(connection, &welcome);
}

static void on_welcome(struct connection *connection, const struct handshake *welcome)
{
	struct link *link = connection->link;
	struct transport *transport = connection->transport;

	ASSERT(link != NULL && link->state == LINK_GREETING);
	char problem[HANDSHAKE_REASON_BYTES] = "";
	bool use =
		transport->options.welcomed(transport->options.arg, link->peer, welcome, problem);

	if (connection->closing || connection->link != link)
		return;
	if (problem[0] != '\0' || welcome->verdict > HANDSHAKE_LATER)
		complain(transport, link->peer, link->endpoint,
			 problem[0] != '\0' ? problem : welcome->reason);
	if (link->purpose == HANDSHAKE_FORMING) {
		link_close(link);
	} else if (use && welcome->verdict == HANDSHAKE_ACCEPTED) {
		connection->greeted = true;
		connection->peer = link->peer;
		link->state = LINK_UP;
		link->backoff_ms = TRANSPORT_BACKOFF_MS;
		uv_timer_stop(&link->timer);
		log_info("transport", "connected to peer", "peer=%" PRIu64 " endpoint=%s",
			 link->peer, link->endpoint);
	} else {
		connection_fail(connection);
	}
}

/* ---- reading ---- */

static void on_handshake_frame(struct connection *connection, struct span meta)
{
	struct reader *reader = &connection->reader;
	enum wire_type wanted = connection->incoming ? WIRE_HELLO : WIRE_WELCOME;
	struct handshake handshake;
	struct error error;

	if (reader->header.type != wanted || connection->greeted ||
	    (connection->incoming && connection->peer != 0)) {
		connection_refuse(connection, "a frame where no such frame is due");
		return;
	}
	if (wire_check_meta(&reader->header, meta, &error) < 0 ||
	    handshake_decode(meta, &handshake, &error) < 0) {
		connection_refuse(connection, error.message);
		return;
	}
	if (connection->incoming)
		on_hello(connection, &handshake);
	else
		on_welcome(connection, &handshake);
}

static void on_raft_frame(struct connection *connection, struct span meta)
{
	struct transport *transport = connection->transport;
	struct reader *reader = &connection->reader;
	struct raft_message message;
	struct error error;

	if (wire_decode(&reader->header, meta, reader->payload, connection->peer, &message,
			&error) < 0) {
		connection_refuse(connection, error.message);
		return;
	}
	reader->payload = NULL;
	message.server_address = connection->endpoint;
	contact_of(transport, connection->peer)->received_ms = clock_monotonic_ms();
	transport->options.receive(transport->options.arg, &message);
}

static void on_frame(struct connection *connection)
{
	struct span meta = buffer_span(&connection->reader.meta);

	if (connection->incoming && connection->greeted)
		on_raft_frame(connection, meta);
	else
		on_handshake_frame(connection, meta);
	connection->reader.part = READ_HEADER;
	connection->reader.filled = 0;
}

static bool on_header(struct connection *connection)
{
	struct reader *reader = &connection->reader;
	struct error error;
	bool raft = connection->incoming && connection->greeted;

	if (wire_parse_header(reader->header_bytes, &reader->header, &error) < 0) {
		connection_refuse(connection, error.message);
		return false;
	}
	/* Whoever has not introduced himself gets no memory for more than that. */
	if (!raft && reader->header.type < WIRE_HELLO) {
		connection_refuse(connection, "a raft message before the handshake");
		return false;
	}
	buffer_clear(&reader->meta);
	buffer_reserve(&reader->meta, reader->header.meta_bytes);
	ASSERT(reader->payload == NULL);
	return true;
}

/* Where the next bytes belong, and how many are missing there. */
static uint8_t *reader_target(struct reader *reader, size_t *missing)
{
	switch (reader->part) {
	case READ_HEADER:
		*missing = WIRE_HEADER_BYTES - reader->filled;
		return reader->header_bytes + reader->filled;
	case READ_META:
		*missing = reader->header.meta_bytes - reader->filled;
		return reader->meta.data + reader->filled;
	default:
		*missing = reader->header.payload_bytes - reader->filled;
		return reader->payload + reader->filled;
	}
}

/* The part is complete: go on to the next one that holds any bytes. False: the connection is done. */
static bool reader_advance(struct connection *connection)
{
	struct reader *reader = &connection->reader;

	if (reader->part == READ_HEADER) {
		if (!on_header(connection))
			return false;
		reader->part = READ_META;
	} else if (reader->part == READ_META) {
		reader->meta.size = reader->header.meta_bytes;
		reader->part = READ_PAYLOAD;
		if (reader->header.payload_bytes > 0) {
			reader->payload = raft_malloc(reader->header.payload_bytes);
			ASSERT(reader->payload != NULL);
		}
	} else {
		on_frame(connection);
		return !connection->closing;
	}
	reader->filled = 0;
	return true;
}

static bool reader_settle(struct connection *connection)
{
	size_t missing;

	for (;;) {
		reader_target(&connection->reader, &missing);
		if (missing > 0)
			return true;
		if (!reader_advance(connection))
			return false;
	}
}

static void reader_feed(struct connection *connection, const uint8_t *bytes, size_t size)
{
	while (size > 0) {
		size_t missing;
		uint8_t *target = reader_target(&connection->reader, &missing);
		size_t take = size < missing ? size : missing;

		memcpy(target, bytes, take);
		connection->reader.filled += take;
		bytes += take;
		size -= take;
		if (!reader_settle(connection))
			return;
	}
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct connection *connection = (struct connection *)handle;
	size_t missing;
	uint8_t *target = reader_target(&connection->reader, &missing);

	(void)suggested;
	if (connection->reader.part == READ_PAYLOAD && missing >= DIRECT_BYTES)
		*buffer = uv_buf_init((char *)target, (unsigned)missing);
	else
		*buffer = uv_buf_init((char *)connection->transport->scratch, SCRATCH_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct connection *connection = (struct connection *)stream;

	if (connection->closing || size == 0)
		return;
	if (size < 0) {
		connection_fail(connection);
	} else if (buffer->base == (char *)connection->transport->scratch) {
		reader_feed(connection, connection->transport->scratch, (size_t)size);
	} else {
		connection->reader.filled += (size_t)size;
		reader_settle(connection);
	}
}

/* ---- incoming ---- */

static void count_incoming(const struct transport *transport, uint32_t *all, uint32_t *ungreeted)
{
	*all = *ungreeted = 0;
	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		if (at->incoming && !at->closing) {
			++*all;
			*ungreeted += !at->greeted;
		}
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct transport *transport = listener->data;
	struct connection *connection;
	uint32_t all, ungreeted;

	if (status < 0)
		return;
	count_incoming(transport, &all, &ungreeted);
	connection = connection_new(transport);
	connection->incoming = true;
	connection->deadline_ms = clock_monotonic_ms() + LIMIT_HANDSHAKE_MS;
	if (uv_accept(listener, (uv_stream_t *)&connection->tcp) < 0 || all >= TRANSPORT_INCOMING ||
	    ungreeted >= TRANSPORT_UNGREETED) {
		connection_close(connection);
		return;
	}
	socket_setup(connection);
	if (uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) < 0)
		connection_close(connection);
}

static void on_sweep(uv_timer_t *timer)
{
	struct transport *transport = timer->data;
	int64_t now = clock_monotonic_ms();

	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		if (at->incoming && !at->greeted && now >= at->deadline_ms)
			connection_close(at);
}

/* ---- outgoing ---- */

static void link_maybe_free(struct link *link)
{
	struct transport *transport = link->transport;
	struct link **at = &transport->links;

	if (!link->closing || !link->timer_closed || link->resolving)
		return;
	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	memory_free(link);
	handle_closed(transport);
}

static void on_link_timer_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;

	link->timer_closed = true;
	link_maybe_free(link);
}

static void link_close(struct link *link)
{
	if (link->closing)
		return;
	link->closing = true;
	if (link->connection != NULL)
		connection_close(link->connection);
	if (link->resolving)
		(void)uv_cancel((uv_req_t *)&link->resolve); /* else it ends by itself */
	uv_close((uv_handle_t *)&link->timer, on_link_timer_closed);
}

static void on_link_timer(uv_timer_t *timer)
{
	struct link *link = timer->data;

	if (link->state == LINK_WAITING &&
	    clock_monotonic_ms() - link->wanted_ms > TRANSPORT_IDLE_MS)
		link_close(link);
	else if (link->state == LINK_WAITING)
		link_start(link);
	else if (link->connection != NULL)
		connection_fail(link->connection); /* too slow to connect or to greet */
}

static void link_set_timer(struct link *link, uint64_t after_ms)
{
	int status = uv_timer_start(&link->timer, on_link_timer, after_ms, 0);

	ASSERT(status == 0);
}

static void link_fail(struct link *link)
{
	ASSERT(link->connection == NULL);
	if (link->closing)
		return;
	if (link->state == LINK_UP)
		log_info("transport", "lost the connection to peer", "peer=%" PRIu64, link->peer);
	if (link->purpose == HANDSHAKE_FORMING) {
		link_close(link);
		return;
	}
	link->state = LINK_WAITING;
	link_set_timer(link, link->backoff_ms);
	if (link->backoff_ms < TRANSPORT_BACKOFF_MAX_MS)
		link->backoff_ms *= 2;
}

static void on_connected(uv_connect_t *request, int status)
{
	struct connection *connection = (struct connection *)request->handle;
	struct link *link = connection->link;

	if (connection->closing)
		return;
	ASSERT(link != NULL && link->state == LINK_CONNECTING);
	if (status < 0 || uv_read_start((uv_stream_t *)&connection->tcp, on_alloc, on_read) < 0) {
		connection_fail(connection);
		return;
	}
	socket_setup(connection);
	link->state = LINK_GREETING;
	link_set_timer(link, LIMIT_HANDSHAKE_MS);
	struct handshake hello = {.purpose = link->purpose};

	connection->transport->options.hello(connection->transport->options.arg, link->peer,
					     &hello);
	handshake_send(connection, &hello, WIRE_HELLO);
}

static void link_connect(struct link *link, const struct sockaddr *address)
{
	struct connection *connection = connection_new(link->transport);

	link->state = LINK_CONNECTING;
	link->connection = connection;
	connection->link = link;
	link_set_timer(link, TRANSPORT_CONNECT_MS);
	if (uv_tcp_connect(&connection->connecting, &connection->tcp, address, on_connected) < 0)
		connection_fail(connection);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct link *link = request->data;
	struct addrinfo *at = found;

	link->resolving = false;
	if (link->closing) {
		link_maybe_free(link);
	} else if (status < 0 || found == NULL) {
		complain(link->transport, link->peer, link->endpoint, "its name is not resolved");
		link_fail(link);
	} else {
		/* Each attempt takes the next of the addresses. */
		for (uint32_t skip = link->attempts++; skip > 0; skip--)
			at = at->ai_next != NULL ? at->ai_next : found;
		link_connect(link, at->ai_addr);
	}
	uv_freeaddrinfo(found);
}

static void link_resolve(struct link *link)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
	char port[8];

	snprintf(port, sizeof port, "%u", link->address.port);
	link->state = LINK_RESOLVING;
	link->resolve.data = link;
	if (uv_getaddrinfo(link->transport->options.loop, &link->resolve, on_resolved,
			   link->address.host, port, &hints) < 0)
		link_fail(link);
	else
		link->resolving = true;
}

static void link_start(struct link *link)
{
	struct sockaddr_storage address;

	ASSERT(link->state == LINK_WAITING && !link->closing);
	if (uv_ip4_addr(link->address.host, link->address.port, (struct sockaddr_in *)&address) ==
		    0 ||
	    uv_ip6_addr(link->address.host, link->address.port, (struct sockaddr_in6 *)&address) ==
		    0)
		link_connect(link, (struct sockaddr *)&address);
	else
		link_resolve(link);
}

static struct link *link_find(const struct transport *transport, uint64_t peer,
			      enum handshake_purpose purpose)
{
	struct link *link = transport->links;

	while (link != NULL && (link->closing || link->peer != peer || link->purpose != purpose))
		link = link->next;
	return link;
}

/* A new link, about to connect; NULL when the endpoint is none. */
static struct link *link_new(struct transport *transport, uint64_t peer, const char *text,
			     enum handshake_purpose purpose)
{
	struct endpoint endpoint;
	struct address address;
	struct error error;

	if (endpoint_parse(text, &endpoint, &error) < 0 ||
	    address_parse(endpoint.peer, &address, &error) < 0) {
		complain(transport, peer, text, error.message);
		return NULL;
	}
	struct link *link = memory_zeroed(1, sizeof *link);

	link->transport = transport;
	link->peer = peer;
	link->purpose = purpose;
	link->address = address;
	link->backoff_ms = TRANSPORT_BACKOFF_MS;
	snprintf(link->endpoint, sizeof link->endpoint, "%s", text);
	uv_timer_init(transport->options.loop, &link->timer);
	link->timer.data = link;
	link->next = transport->links;
	transport->links = link;
	transport->handles++;
	/* From the loop: nothing calls back before the caller has returned. */
	link_set_timer(link, 0);
	return link;
}

/* The link to a peer, made when there is none; NULL when there can be none. */
static struct link *link_wanted(struct transport *transport, uint64_t peer, const char *endpoint)
{
	struct link *link = link_find(transport, peer, HANDSHAKE_RAFT);

	if (transport->closed != NULL || transport->idle != NULL)
		return NULL;
	if (link != NULL && strcmp(link->endpoint, endpoint) != 0) {
		link_close(link);
		link = NULL;
	}
	if (link == NULL)
		link = link_new(transport, peer, endpoint, HANDSHAKE_RAFT);
	if (link != NULL)
		link->wanted_ms = clock_monotonic_ms();
	return link;
}

int transport_send(struct transport *transport, const char *endpoint, struct raft_io_send *request,
		   const struct raft_message *message, raft_io_send_cb done)
{
	struct link *link = link_wanted(transport, message->server_id, endpoint);

	if (link == NULL || link->state != LINK_UP ||
	    uv_stream_get_write_queue_size((uv_stream_t *)&link->connection->tcp) >
		    SEND_QUEUE_BYTES)
		return RAFT_NOCONNECTION;
	struct sending *sending = sending_new(transport);

	sending->request = request;
	sending->done = done;
	wire_encode(message, &sending->head);
	return sending_write(sending, link->connection, message) ? 0 : RAFT_NOCONNECTION;
}

static void tell_lost(struct transport *transport)
{
	struct sending *next;

	for (struct sending *sending = transport->lost; sending != NULL; sending = next) {
		next = sending->next;
		transport->sends--;
		if (sending->done != NULL)
			sending->done(sending->request, RAFT_NOCONNECTION);
		memory_free(sending);
	}
	transport->lost = NULL;
}

static void on_late(uv_timer_t *timer)
{
	struct transport *transport = timer->data;

	tell_lost(transport);
	maybe_idle(transport);
}

void transport_send_or_lose(struct transport *transport, const char *endpoint,
			    struct raft_io_send *request, const struct raft_message *message,
			    raft_io_send_cb done)
{
	struct sending *sending;

	if (endpoint != NULL && transport_send(transport, endpoint, request, message, done) == 0)
		return;
	sending = sending_new(transport);
	sending->request = request;
	sending->done = done;
	sending->next = transport->lost;
	transport->lost = sending;
	transport->sends++;
	uv_timer_start(&transport->late, on_late, 0, 0);
}

void transport_keep(struct transport *transport, uint64_t peer, const char *endpoint)
{
	link_wanted(transport, peer, endpoint);
}

void transport_ask(struct transport *transport, uint64_t peer, const char *endpoint)
{
	struct link *link = link_find(transport, peer, HANDSHAKE_FORMING);

	if (link == NULL && transport->closed == NULL)
		link = link_new(transport, peer, endpoint, HANDSHAKE_FORMING);
	if (link != NULL)
		link->wanted_ms = clock_monotonic_ms();
}

bool transport_is_up(const struct transport *transport, uint64_t peer)
{
	struct link *link = link_find(transport, peer, HANDSHAKE_RAFT);

	return link != NULL && link->state == LINK_UP;
}

void transport_review(struct transport *transport,
		      bool (*stays)(void *arg, uint64_t peer, const char *endpoint), void *arg)
{
	struct connection *at = transport->connections;

	for (; at != NULL; at = at->next)
		if (at->incoming && at->greeted && !stays(arg, at->peer, at->endpoint))
			connection_close(at);
}

/* ---- as a whole ---- */

void transport_disconnect(struct transport *transport, void (*idle)(void *arg), void *arg)
{
	ASSERT(transport->idle == NULL);
	for (struct link *link = transport->links; link != NULL; link = link->next)
		link_close(link);
	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		connection_close(at);
	tell_lost(transport);
	transport->idle = idle;
	transport->idle_arg = arg;
	maybe_idle(transport);
}

static int listen_address(const struct address *address, struct sockaddr_storage *into,
			  struct error *error)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
	struct addrinfo *found = NULL;
	char port[8];

	snprintf(port, sizeof port, "%u", address->port);
	int status = getaddrinfo(address->host, port, &hints, &found);

	if (status != 0)
		return error_set(error, -EADDRNOTAVAIL, "listen on %s: %s", address->host,
				 gai_strerror(status));
	memcpy(into, found->ai_addr, found->ai_addrlen);
	freeaddrinfo(found);
	return 0;
}

static int transport_listen(struct transport *transport, struct error *error)
{
	struct sockaddr_storage address = {0};
	char text[ADDRESS_TEXT_BYTES];
	int status = listen_address(&transport->options.listen, &address, error);

	if (status < 0)
		return status;
	status = uv_tcp_bind(&transport->listener, (struct sockaddr *)&address, 0);
	if (status == 0)
		status = uv_listen((uv_stream_t *)&transport->listener, BACKLOG, on_connection);
	address_format(&transport->options.listen, text);
	if (status < 0)
		return error_set(error, status, "listen for peers on %s: %s", text,
				 uv_strerror(status));
	return 0;
}

static void free_when_closed(void *arg)
{
	transport_free(arg);
}

int transport_open(struct transport **into, const struct transport_options *options,
		   struct error *error)
{
	struct transport *transport = memory_zeroed(1, sizeof *transport);

	transport->options = *options;
	uv_tcp_init(options->loop, &transport->listener);
	uv_timer_init(options->loop, &transport->sweep);
	uv_timer_init(options->loop, &transport->late);
	transport->late.data = transport;
	transport->listener.data = transport;
	transport->sweep.data = transport;
	transport->handles = 3;
	uv_timer_start(&transport->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	uv_unref((uv_handle_t *)&transport->sweep);
	int status = transport_listen(transport, error);

	if (status < 0) {
		/* The handles close with the loop's next turn. */
		transport_close(transport, free_when_closed, transport);
		return status;
	}
	*into = transport;
	return 0;
}

uint16_t transport_port(const struct transport *transport)
{
	struct sockaddr_storage address;
	int size = sizeof address;
	int status = uv_tcp_getsockname(&transport->listener, (struct sockaddr *)&address, &size);

	ASSERT(status == 0);
	return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
						   : ((struct sockaddr_in *)&address)->sin_port);
}

void transport_close(struct transport *transport, void (*closed)(void *arg), void *arg)
{
	ASSERT(transport->closed == NULL && closed != NULL);
	transport->closed = closed;
	transport->closed_arg = arg;
	for (struct link *link = transport->links; link != NULL; link = link->next)
		link_close(link);
	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		connection_close(at);
	uv_close((uv_handle_t *)&transport->listener, own_handle_closed);
	uv_close((uv_handle_t *)&transport->sweep, own_handle_closed);
	tell_lost(transport);
	uv_close((uv_handle_t *)&transport->late, own_handle_closed);
}

void transport_free(struct transport *transport)
{
	ASSERT(transport->handles == 0);
	memory_free(transport);
}
