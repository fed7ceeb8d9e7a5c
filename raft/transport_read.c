/*
 * Frames that arrive on a connection: first a handshake, then, on one that a peer made and that was
 * accepted, raft messages. Payloads of some size are read where libraft wants them.
 */
#include "raft/transport_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>

#define DIRECT_BYTES (16 * 1024) /* from this size on, a payload is read where it belongs */

/* ---- handshakes ---- */

/* A node that connects again has left its old connection; who is another one does not cut it off. */
static void close_other_incoming(struct connection *connection)
{
	struct connection *other = connection->transport->connections;

	for (; other != NULL; other = other->next)
		if (other != connection && other->incoming && other->greeted &&
		    other->peer == connection->peer &&
		    other->hello.instance == connection->hello.instance)
			transport_connection_close(other);
}

static void after_welcome_sent(struct connection *connection, const struct handshake *welcome)
{
	if (connection->closing)
		return;
	/* Who only asks about forming gets an answer and nothing more. */
	connection->greeted =
		welcome->verdict == HANDSHAKE_ACCEPTED && welcome->purpose == HANDSHAKE_RAFT;
	connection->deadline_ms = clock_monotonic_ms() + LIMIT_HANDSHAKE_MS;
	if (connection->greeted) {
		close_other_incoming(connection);
		transport_link_doubt(connection->transport, connection->peer, false);
	}
	/* A refused peer closes when it has read why; the sweep does it otherwise. */
}

static void on_hello(struct connection *connection, const struct handshake *hello)
{
	struct transport *transport = connection->transport;
	struct handshake welcome = {.purpose = hello->purpose};
	char address[ADDRESS_TEXT_BYTES];

	connection->peer = hello->from;
	connection->hello = *hello;
	transport->options.judge(transport->options.arg, hello, &welcome);
	ASSERT(welcome.verdict != HANDSHAKE_NONE);
	if (welcome.verdict > HANDSHAKE_LATER) {
		transport_address_of(connection, address);
		transport_complain(transport, hello->from, address, welcome.reason);
	}
	transport_handshake_send(connection, &welcome, WIRE_WELCOME);
	after_welcome_sent(connection, &welcome);
}

static void on_welcome(struct connection *connection, const struct handshake *welcome)
{
	struct link *link = connection->link;
	struct transport *transport = connection->transport;

	ASSERT(link != NULL && link->state == LINK_GREETING);
	char problem[HANDSHAKE_REASON_BYTES] = "";
	bool use = transport->options.welcomed(transport->options.arg, link->peer, link->endpoint,
					       welcome, problem);

	if (connection->closing || connection->link != link)
		return;
	if (problem[0] != '\0' || welcome->verdict > HANDSHAKE_LATER)
		transport_complain(transport, link->peer, link->endpoint,
				   problem[0] != '\0' ? problem : welcome->reason);
	if (link->purpose == HANDSHAKE_FORMING) {
		transport_link_close(link);
	} else if (use && welcome->verdict == HANDSHAKE_ACCEPTED) {
		connection->greeted = true;
		connection->peer = link->peer;
		link->state = LINK_UP;
		link->doubted = false;
		link->backoff_ms = TRANSPORT_BACKOFF_MS;
		uv_timer_stop(&link->timer);
		log_info("transport", "connected to peer", "peer=%" PRIu64 " endpoint=%s",
			 link->peer, link->endpoint);
	} else {
		transport_connection_fail(connection);
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
		transport_connection_refuse(connection, "a frame where no such frame is due");
		return;
	}
	if (wire_check_meta(&reader->header, meta, &error) < 0 ||
	    handshake_decode(meta, &handshake, &error) < 0) {
		transport_connection_refuse(connection, error.message);
		return;
	}
	if (connection->incoming)
		on_hello(connection, &handshake);
	else
		on_welcome(connection, &handshake);
}

static void on_news(struct connection *connection, struct span meta)
{
	struct contact *contact = transport_contact_of(connection->transport, connection->peer);
	struct error error;

	if (wire_check_meta(&connection->reader.header, meta, &error) < 0 ||
	    wire_decode_news(meta, &contact->head, &error) < 0)
		transport_connection_refuse(connection, error.message);
	else
		contact->told = true;
}

static void on_raft_frame(struct connection *connection, struct span meta)
{
	struct transport *transport = connection->transport;
	struct reader *reader = &connection->reader;
	struct raft_message message;
	struct error error;

	if (wire_decode(&reader->header, meta, reader->payload, connection->peer, &message,
			&error) < 0) {
		transport_connection_refuse(connection, error.message);
		return;
	}
	reader->payload = NULL;
	message.server_address = connection->hello.endpoint;
	transport_contact_of(transport, connection->peer)->received_ms = clock_monotonic_ms();
	transport->options.receive(transport->options.arg, &message);
}

static void on_frame(struct connection *connection)
{
	struct span meta = buffer_span(&connection->reader.meta);

	if (connection->incoming && connection->greeted &&
	    connection->reader.header.type == WIRE_NEWS)
		on_news(connection, meta);
	else if (connection->incoming && connection->greeted)
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
		transport_connection_refuse(connection, error.message);
		return false;
	}
	/* Whoever has not introduced himself gets no memory for more than that. */
	if (!raft && reader->header.type != WIRE_HELLO && reader->header.type != WIRE_WELCOME) {
		transport_connection_refuse(connection, "a raft message before the handshake");
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

void transport_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct connection *connection = (struct connection *)handle;
	size_t missing;
	uint8_t *target = reader_target(&connection->reader, &missing);

	(void)suggested;
	if (connection->reader.part == READ_PAYLOAD && missing >= DIRECT_BYTES)
		*buffer = uv_buf_init((char *)target, (unsigned)missing);
	else
		*buffer = uv_buf_init((char *)connection->transport->scratch,
				      TRANSPORT_SCRATCH_BYTES);
}

void transport_on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
	struct connection *connection = (struct connection *)stream;

	if (connection->closing || size == 0)
		return;
	if (size < 0) {
		bool broken = connection->incoming && connection->greeted;

		transport_connection_fail(connection);
		if (broken)
			transport_link_doubt(connection->transport, connection->peer, true);
	} else if (buffer->base == (char *)connection->transport->scratch) {
		reader_feed(connection, connection->transport->scratch, (size_t)size);
	} else {
		connection->reader.filled += (size_t)size;
		reader_settle(connection);
	}
}
