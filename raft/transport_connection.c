/* One socket of the peer network: its life, writing, and what is remembered of a peer. */
#include "raft/transport_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#define USER_TIMEOUT_MS   5000
#define KEEPALIVE_SECONDS 5
#define COMPLAIN_AGAIN_MS 60000
#define COMPLAIN_PAUSE_MS 1000 /* between complaints that differ: anybody can cause them */
#define STRANGER_PAUSE_MS 5000

/* ---- contacts and complaints ---- */

static struct contact *contact_find(struct transport *transport, uint64_t peer)
{
	for (uint32_t i = 0; i < transport->contact_count; i++)
		if (transport->contacts[i].peer == peer)
			return &transport->contacts[i];
	return NULL;
}

/* The table is larger than any cluster; whoever was silent for longest makes room. */
static struct contact *contact_place(struct transport *transport)
{
	struct contact *place = &transport->contacts[0];

	if (transport->contact_count < TRANSPORT_CONTACTS)
		return &transport->contacts[transport->contact_count++];
	for (uint32_t i = 1; i < TRANSPORT_CONTACTS; i++)
		if (transport->contacts[i].received_ms < place->received_ms)
			place = &transport->contacts[i];
	return place;
}

struct contact *transport_contact_of(struct transport *transport, uint64_t peer)
{
	struct contact *contact = contact_find(transport, peer);

	if (contact == NULL) {
		contact = contact_place(transport);
		*contact = (struct contact){.peer = peer};
	}
	return contact;
}

static bool said_lately(const struct contact *contact, const char *complaint, int64_t pause_ms)
{
	int64_t since_ms = clock_monotonic_ms() - contact->complained_ms;

	if (contact->complaint[0] == '\0')
		return false;
	return since_ms < pause_ms ||
	       (since_ms < COMPLAIN_AGAIN_MS &&
		strncmp(contact->complaint, complaint, sizeof contact->complaint - 1) == 0);
}

void transport_complain(struct transport *transport, uint64_t peer, const char *address,
			const char *complaint)
{
	struct contact *contact = contact_find(transport, peer);
	int64_t pause_ms = contact != NULL ? COMPLAIN_PAUSE_MS : STRANGER_PAUSE_MS;

	if (contact == NULL)
		contact = &transport->strangers;
	if (said_lately(contact, complaint, pause_ms))
		return;
	snprintf(contact->complaint, sizeof contact->complaint, "%s", complaint);
	contact->complained_ms = clock_monotonic_ms();
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

void transport_address_of(struct connection *connection, char text[ADDRESS_TEXT_BYTES])
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

void transport_maybe_idle(struct transport *transport)
{
	if (transport->idle == NULL || transport->sends > 0)
		return;
	void (*idle)(void *arg) = transport->idle;

	transport->idle = NULL;
	idle(transport->idle_arg);
}

void transport_handle_closed(struct transport *transport)
{
	ASSERT(transport->handles > 0);
	transport->handles--;
	maybe_closed(transport);
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
	transport_handle_closed(transport);
}

void transport_connection_close(struct connection *connection)
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

struct connection *transport_connection_new(struct transport *transport)
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
void transport_connection_fail(struct connection *connection)
{
	struct link *link = connection->link;

	transport_connection_close(connection);
	if (link != NULL)
		transport_link_fail(link);
}

void transport_connection_refuse(struct connection *connection, const char *why)
{
	char address[ADDRESS_TEXT_BYTES];

	transport_address_of(connection, address);
	transport_complain(connection->transport, connection->peer, address, why);
	transport_connection_fail(connection);
}

void transport_socket_setup(struct connection *connection)
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
		transport_connection_fail(connection);
	ASSERT(transport->sends > 0);
	transport->sends--;
	if (sending->done != NULL)
		sending->done(sending->request, status == 0 ? 0 : RAFT_CANCELED);
	buffer_close(&sending->head);
	memory_free(sending);
	transport_maybe_idle(transport);
}

struct sending *transport_sending_new(struct transport *transport)
{
	struct sending *sending = memory_zeroed(1, sizeof *sending);

	sending->transport = transport;
	buffer_init(&sending->head);
	return sending;
}

/* Write head and payload in one go; libuv copies the list of buffers, not what they hold. */
bool transport_sending_write(struct sending *sending, struct connection *connection,
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

void transport_handshake_send(struct connection *connection, const struct handshake *handshake,
			      enum wire_type type)
{
	struct sending *sending = transport_sending_new(connection->transport);

	handshake_encode(handshake, type, &sending->head);
	if (!transport_sending_write(sending, connection, NULL))
		transport_connection_fail(connection);
}
