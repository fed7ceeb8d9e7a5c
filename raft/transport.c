/*
 * Links to peers, listening, and the transport as a whole. A link is what stays of a peer between
 * connections; transport.h draws its states.
 */
#include "raft/transport_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>

#define SWEEP_MS         500
#define BACKLOG          64
#define SEND_QUEUE_BYTES (2 * LIMIT_PEER_IN_FLIGHT_BYTES)

static void link_start(struct link *link);

static void own_handle_closed(uv_handle_t *handle)
{
	transport_handle_closed(handle->data);
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
	connection = transport_connection_new(transport);
	connection->incoming = true;
	connection->deadline_ms = clock_monotonic_ms() + LIMIT_HANDSHAKE_MS;
	if (uv_accept(listener, (uv_stream_t *)&connection->tcp) < 0 || all >= TRANSPORT_INCOMING ||
	    ungreeted >= TRANSPORT_UNGREETED) {
		transport_connection_close(connection);
		return;
	}
	transport_socket_setup(connection);
	if (uv_read_start((uv_stream_t *)&connection->tcp, transport_on_alloc, transport_on_read) <
	    0)
		transport_connection_close(connection);
}

static void on_sweep(uv_timer_t *timer)
{
	struct transport *transport = timer->data;
	int64_t now = clock_monotonic_ms();

	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		if (at->incoming && !at->greeted && now >= at->deadline_ms)
			transport_connection_close(at);
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
	transport_handle_closed(transport);
}

static void on_link_timer_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;

	link->timer_closed = true;
	link_maybe_free(link);
}

void transport_link_close(struct link *link)
{
	if (link->closing)
		return;
	link->closing = true;
	if (link->connection != NULL)
		transport_connection_close(link->connection);
	if (link->resolving)
		(void)uv_cancel((uv_req_t *)&link->resolve); /* else it ends by itself */
	uv_close((uv_handle_t *)&link->timer, on_link_timer_closed);
}

static void on_link_timer(uv_timer_t *timer)
{
	struct link *link = timer->data;

	if (link->state == LINK_WAITING &&
	    clock_monotonic_ms() - link->wanted_ms > TRANSPORT_IDLE_MS)
		transport_link_close(link);
	else if (link->state == LINK_WAITING)
		link_start(link);
	else if (link->connection != NULL)
		transport_connection_fail(link->connection); /* too slow to connect or to greet */
}

static void link_set_timer(struct link *link, uint64_t after_ms)
{
	int status = uv_timer_start(&link->timer, on_link_timer, after_ms, 0);

	ASSERT(status == 0);
}

/* One more attempt decides about a peer that is doubted. */
static void link_retry(struct link *link, bool was_up)
{
	struct transport *transport = link->transport;
	bool gone = link->doubted && !was_up;

	link->state = LINK_WAITING;
	link_set_timer(link, link->doubted && was_up ? 0 : link->backoff_ms);
	if (link->backoff_ms < TRANSPORT_BACKOFF_MAX_MS)
		link->backoff_ms *= 2;
	if (!gone)
		return;
	link->doubted = false;
	transport->options.gone(transport->options.arg, link->peer);
}

void transport_link_fail(struct link *link)
{
	bool was_up = link->state == LINK_UP;

	ASSERT(link->connection == NULL);
	if (link->closing)
		return;
	if (was_up)
		log_info("transport", "lost the connection to peer", "peer=%" PRIu64, link->peer);
	if (link->purpose == HANDSHAKE_FORMING) {
		transport_link_close(link);
		return;
	}
	link_retry(link, was_up);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct connection *connection = (struct connection *)request->handle;
	struct link *link = connection->link;

	if (connection->closing)
		return;
	ASSERT(link != NULL && link->state == LINK_CONNECTING);
	if (status < 0 || uv_read_start((uv_stream_t *)&connection->tcp, transport_on_alloc,
					transport_on_read) < 0) {
		transport_connection_fail(connection);
		return;
	}
	transport_socket_setup(connection);
	link->state = LINK_GREETING;
	link_set_timer(link, LIMIT_HANDSHAKE_MS);
	struct handshake hello = {.purpose = link->purpose};

	connection->transport->options.hello(connection->transport->options.arg, link->peer,
					     &hello);
	transport_handshake_send(connection, &hello, WIRE_HELLO);
}

static void link_connect(struct link *link, const struct sockaddr *address)
{
	struct connection *connection = transport_connection_new(link->transport);

	link->state = LINK_CONNECTING;
	link->connection = connection;
	connection->link = link;
	link_set_timer(link, TRANSPORT_CONNECT_MS);
	if (uv_tcp_connect(&connection->connecting, &connection->tcp, address, on_connected) < 0)
		transport_connection_fail(connection);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct link *link = request->data;
	struct addrinfo *at = found;

	link->resolving = false;
	if (link->closing) {
		link_maybe_free(link);
	} else if (status < 0 || found == NULL) {
		transport_complain(link->transport, link->peer, link->endpoint,
				   "its name is not resolved");
		transport_link_fail(link);
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
		transport_link_fail(link);
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

void transport_link_doubt(struct transport *transport, uint64_t peer, bool broken)
{
	struct link *link = link_find(transport, peer, HANDSHAKE_RAFT);

	if (link == NULL)
		return;
	link->doubted = broken;
	if (broken && link->state == LINK_WAITING)
		link_set_timer(link, 0);
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
		transport_complain(transport, peer, text, error.message);
		return NULL;
	}
	struct link *link = memory_zeroed(1, sizeof *link);

	transport_contact_of(transport, peer);

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
		transport_link_close(link);
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
	struct sending *sending = transport_sending_new(transport);

	sending->request = request;
	sending->done = done;
	wire_encode(message, &sending->head);
	return transport_sending_write(sending, link->connection, message) ? 0 : RAFT_NOCONNECTION;
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
	transport_maybe_idle(transport);
}

void transport_send_or_lose(struct transport *transport, const char *endpoint,
			    struct raft_io_send *request, const struct raft_message *message,
			    raft_io_send_cb done)
{
	struct sending *sending;

	if (endpoint != NULL && transport_send(transport, endpoint, request, message, done) == 0)
		return;
	sending = transport_sending_new(transport);
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

void transport_send_news(struct transport *transport, uint64_t peer, uint64_t head)
{
	struct link *link = link_find(transport, peer, HANDSHAKE_RAFT);

	if (link == NULL || link->state != LINK_UP ||
	    uv_stream_get_write_queue_size((uv_stream_t *)&link->connection->tcp) > 0)
		return;
	struct sending *sending = transport_sending_new(transport);

	wire_encode_news(head, &sending->head);
	transport_sending_write(sending, link->connection, NULL);
}

bool transport_news_of(const struct transport *transport, uint64_t peer, uint64_t *head)
{
	for (uint32_t i = 0; i < transport->contact_count; i++)
		if (transport->contacts[i].peer == peer && transport->contacts[i].told) {
			*head = transport->contacts[i].head;
			return true;
		}
	return false;
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
		      bool (*stays)(void *arg, const struct handshake *hello), void *arg)
{
	struct connection *at = transport->connections;

	for (; at != NULL; at = at->next)
		if (at->incoming && at->greeted && !stays(arg, &at->hello))
			transport_connection_close(at);
}

/* ---- as a whole ---- */

void transport_disconnect(struct transport *transport, void (*idle)(void *arg), void *arg)
{
	ASSERT(transport->idle == NULL);
	for (struct link *link = transport->links; link != NULL; link = link->next)
		transport_link_close(link);
	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		transport_connection_close(at);
	tell_lost(transport);
	transport->idle = idle;
	transport->idle_arg = arg;
	transport_maybe_idle(transport);
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
				 address_resolve_error(status));
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
		return error_set(error, status == -EADDRINUSE ? status : -EADDRNOTAVAIL,
				 "listen for peers on %s: %s", text, uv_strerror(status));
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
		transport_link_close(link);
	for (struct connection *at = transport->connections; at != NULL; at = at->next)
		transport_connection_close(at);
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
