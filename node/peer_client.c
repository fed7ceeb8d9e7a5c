/*
 *   IDLE ──call──► RESOLVING ──► CONNECTING ──► OPEN
 *     ▲                │              │           │
 *     └────────────────┴──── fail ────┴───────────┘   calls end: UNKNOWN when sent, else NEVER_SENT
 *
 * A connection is a link of its own, so that a broken one can close in its time while the next one is
 * made. Output is gathered in `out` and becomes `sending` at the end of a turn of the loop, when what
 * was sent before has left; the calls in it count as sent from then on.
 */
#include "node/peer_client.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/msgpack.h"
#include "base/mutant.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <uv.h>

#define CONNECT_MS    2000
#define SILENT_MS     10000u /* bytes sent and not acknowledged for so long: the peer is gone */
#define RECEIVE_BYTES (256 * KIB)
#define KEPT_BYTES    (1 * MIB) /* an empty buffer larger than this is given back */
#define ANSWER_BYTES  (LIMIT_MESSAGE_BYTES + 64 * KIB) /* the longest answer that is taken */

enum peer_state { PEER_IDLE, PEER_RESOLVING, PEER_CONNECTING, PEER_OPEN };

struct peer_link {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_getaddrinfo_t resolve;
	uv_write_t write;
	struct buffer sending;
	size_t sent;                /* of it */
	struct peer_client *client; /* NULL: nobody is interested any more */
	bool resolving, tcp_open;   /* what has to end before the memory goes */
};

struct peer_client {
	uv_loop_t *loop;
	uv_prepare_t turn; /* active while something waits for the end of this turn */
	uv_timer_t timer;  /* while resolving and connecting */
	char address[ADDRESS_TEXT_BYTES];
	enum peer_state state;
	struct peer_link *link;
	struct peer_call *calls; /* in flight, in order of their sending */
	struct peer_call **last;
	struct peer_call *unsent; /* the first of them whose bytes are in `out` */
	uint32_t next_msgid;
	struct buffer out;
	struct buffer in;
	struct msgpack_scanner scanner;
	bool failing; /* the address is wrong: fail at the end of this turn */
	bool closing;
	unsigned handles; /* to be closed before the memory goes */
};

static void begin_message(struct peer_client *client)
{
	msgpack_scanner_init(&client->scanner, ANSWER_BYTES, LIMIT_DEPTH);
}

/* ---- calls ---- */

static void end_call(struct peer_call *call, enum peer_result result)
{
	call->done(call, result, (struct span){0}, (struct span){0});
}

/* Take calls off the list: all of them, or those that were not sent. */
static struct peer_call *take_calls(struct peer_client *client, bool unsent_only)
{
	struct peer_call **link = &client->calls;

	while (unsent_only && *link != NULL && (*link)->sent)
		link = &(*link)->next;
	struct peer_call *taken = *link;

	*link = NULL;
	client->unsent = NULL;
	client->last = link;
	return taken;
}

static void end_calls(struct peer_client *client, bool unsent_only)
{
	struct peer_call *call = take_calls(client, unsent_only);

	buffer_clear(&client->out);
	while (call != NULL) {
		struct peer_call *next = call->next;

		ASSERT(!unsent_only || !call->sent);
		end_call(call, call->sent ? PEER_UNKNOWN : PEER_NEVER_SENT);
		call = next;
	}
}

/* ---- the link ---- */

static void link_free_if_ended(struct peer_link *link)
{
	if (link->resolving || link->tcp_open)
		return;
	buffer_close(&link->sending);
	memory_free(link);
}

static void on_link_closed(uv_handle_t *handle)
{
	struct peer_link *link = handle->data;

	link->tcp_open = false;
	link_free_if_ended(link);
}

static void abandon_link(struct peer_client *client)
{
	struct peer_link *link = client->link;

	if (link == NULL)
		return;
	client->link = NULL;
	link->client = NULL;
	if (link->resolving)
		(void)uv_cancel((uv_req_t *)&link->resolve);
	if (link->tcp_open)
		uv_close((uv_handle_t *)&link->tcp, on_link_closed);
	else
		link_free_if_ended(link);
}

static void fail(struct peer_client *client, const char *what, int status)
{
	if (client->state != PEER_IDLE && client->calls != NULL)
		log_info("peer_client", "connection lost", "peer=%s what=%s reason=\"%s\"",
			 client->address, what, status < 0 ? uv_strerror(status) : "closed");
	client->state = PEER_IDLE;
	client->failing = false;
	if (!client->closing) {
		uv_timer_stop(&client->timer);
		uv_prepare_stop(&client->turn);
	}
	abandon_link(client);
	buffer_close(&client->in);
	end_calls(client, false);
}

/* ---- answers ---- */

static struct peer_call *take_call(struct peer_client *client, uint64_t msgid)
{
	for (struct peer_call **link = &client->calls; *link != NULL; link = &(*link)->next) {
		struct peer_call *call = *link;

		if (call->msgid != msgid && !(MUTANT(ANSWER_OF_ANOTHER) && call->next != NULL &&
					      call->next->msgid == msgid))
			continue;
		if (!call->sent)
			return NULL;
		*link = call->next;
		if (call->next == NULL)
			client->last = link;
		return call;
	}
	return NULL;
}

/* False: it is no answer to a call of ours, nor a notification. */
static bool handle_message(struct peer_client *client, struct span message)
{
	struct msgpack_reader reader = msgpack_reader_of(message);
	struct span error, value;
	uint32_t elements;
	uint64_t type, msgid;

	if (!msgpack_read_array(&reader, &elements) || !msgpack_read_u64(&reader, &type))
		return false;
	if (type == 2 && elements == 3)
		return true;
	if (type != 1 || elements != 4 || !msgpack_read_u64(&reader, &msgid) ||
	    !msgpack_read_raw(&reader, &error) || !msgpack_read_raw(&reader, &value))
		return false;
	struct msgpack_reader error_reader = msgpack_reader_of(error);

	if (msgpack_read_nil(&error_reader))
		error.size = 0;
	else if (msgpack_read_type(&error_reader) != MSGPACK_TYPE_MAP)
		return false;
	struct peer_call *call = take_call(client, msgid);

	if (call == NULL)
		return false;
	call->done(call, PEER_ANSWERED, error, value);
	return true;
}

/* Returns how many bytes were taken; the client may be failed or closing afterwards. */
static size_t handle_messages(struct peer_client *client, const uint8_t *bytes, size_t size)
{
	size_t taken = 0;
	const struct peer_link *link = client->link;

	while (taken < size && client->link == link) {
		enum msgpack_scan found =
			msgpack_scan(&client->scanner, bytes + taken, size - taken);

		if (found == MSGPACK_SCAN_MORE)
			break;
		size_t message = client->scanner.offset;

		begin_message(client);
		if (found != MSGPACK_SCAN_VALUE ||
		    !handle_message(client, span_of(bytes + taken, message))) {
			log_warn("peer_client", "a peer answers what is no answer", "peer=%s",
				 client->address);
			if (client->link == link)
				fail(client, "read", UV_EPROTO);
			break;
		}
		taken += message;
	}
	return taken;
}

/* The input is taken away while messages are handled: who is called may end the connection. */
static void handle_input(struct peer_client *client)
{
	struct peer_link *link = client->link;
	struct buffer in = client->in;

	buffer_init(&client->in);
	size_t taken = handle_messages(client, in.data, in.size);

	if (client->link != link) {
		buffer_close(&in);
		return;
	}
	buffer_consume(&in, taken);
	if (in.size == 0 && in.capacity > KEPT_BYTES)
		buffer_close(&in);
	client->in = in;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct peer_link *link = handle->data;

	(void)suggested;
	if (link->client == NULL) {
		*buf = uv_buf_init(NULL, 0);
		return;
	}
	*buf = uv_buf_init((char *)buffer_reserve(&link->client->in, RECEIVE_BYTES), RECEIVE_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
	struct peer_link *link = stream->data;
	struct peer_client *client = link->client;

	(void)buf;
	if (client == NULL || count == 0)
		return;
	if (count < 0) {
		fail(client, "read", count == UV_EOF ? 0 : (int)count);
		return;
	}
	client->in.size += (size_t)count;
	handle_input(client);
}

/* ---- output ---- */

static void send_gathered(struct peer_client *client);

static void on_written(uv_write_t *write, int status)
{
	struct peer_link *link = write->data;
	struct peer_client *client = link->client;

	buffer_clear(&link->sending);
	link->sent = 0;
	if (client == NULL)
		return;
	if (status < 0) {
		fail(client, "write", status);
		return;
	}
	send_gathered(client);
}

static void swap_out(struct peer_client *client)
{
	struct buffer empty = client->link->sending;

	client->link->sending = client->out;
	client->link->sent = 0;
	client->out = empty;
	if (client->out.capacity > KEPT_BYTES)
		buffer_close(&client->out);
	for (struct peer_call *call = client->unsent; call != NULL; call = call->next)
		call->sent = true;
	client->unsent = NULL;
}

static void send_gathered(struct peer_client *client)
{
	struct peer_link *link = client->link;

	if (client->state != PEER_OPEN || link->sending.size > 0 || client->out.size == 0)
		return;
	swap_out(client);
	uv_buf_t buf = uv_buf_init((char *)link->sending.data, (unsigned)link->sending.size);
	int sent = uv_try_write((uv_stream_t *)&link->tcp, &buf, 1);

	if (sent == (int)link->sending.size) {
		buffer_clear(&link->sending);
		return;
	}
	link->sent = sent > 0 ? (size_t)sent : 0;
	buf = uv_buf_init((char *)link->sending.data + link->sent,
			  (unsigned)(link->sending.size - link->sent));
	link->write.data = link;
	int status = uv_write(&link->write, (uv_stream_t *)&link->tcp, &buf, 1, on_written);

	if (status < 0)
		fail(client, "write", status);
}

static void on_turn_end(uv_prepare_t *prepare)
{
	struct peer_client *client = prepare->data;

	uv_prepare_stop(prepare);
	if (client->failing)
		fail(client, "resolve", UV_EAI_NONAME);
	else
		send_gathered(client);
}

/* ---- connecting ---- */

static void set_options(const uv_tcp_t *tcp)
{
	unsigned silent_ms = SILENT_MS;
	uv_os_fd_t fd;

	(void)uv_tcp_nodelay((uv_tcp_t *)(uintptr_t)tcp, 1);
	if (uv_fileno((const uv_handle_t *)tcp, &fd) == 0)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silent_ms, sizeof silent_ms);
}

/* Before anything else, which may be large: "$node", so that it is read however much clients send. */
static int say_what_we_are(struct peer_link *link)
{
	static const uint8_t notification[] = "\x93\x02\xa5$node\x90";
	const uv_buf_t buf = uv_buf_init((char *)(uintptr_t)notification, sizeof notification - 1);
	int sent = uv_try_write((uv_stream_t *)&link->tcp, &buf, 1);

	return sent < 0 || sent == (int)buf.len ? sent : UV_EIO;
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct peer_link *link = connect->data;
	struct peer_client *client = link->client;

	if (client == NULL)
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&link->tcp, on_alloc, on_read);
	if (status == 0)
		status = say_what_we_are(link);
	if (status < 0) {
		fail(client, "connect", status);
		return;
	}
	ASSERT(client->state == PEER_CONNECTING);
	client->state = PEER_OPEN;
	uv_timer_stop(&client->timer);
	set_options(&link->tcp);
	begin_message(client);
	send_gathered(client);
}

static void connect_to(struct peer_client *client, const struct sockaddr *address)
{
	struct peer_link *link = client->link;

	client->state = PEER_CONNECTING;
	link->connect.data = link;
	int status = uv_tcp_connect(&link->connect, &link->tcp, address, on_connected);

	if (status < 0)
		fail(client, "connect", status);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
	struct peer_link *link = resolve->data;
	struct peer_client *client = link->client;

	link->resolving = false;
	if (client == NULL)
		link_free_if_ended(link);
	else if (status < 0)
		fail(client, "resolve", status);
	else
		connect_to(client, found->ai_addr);
	uv_freeaddrinfo(found);
}

static void resolve(struct peer_client *client, const struct address *address)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct peer_link *link = client->link;
	char port[8];

	snprintf(port, sizeof port, "%u", (unsigned)address->port);
	link->resolve.data = link;
	link->resolving = true;
	client->state = PEER_RESOLVING;
	int status = uv_getaddrinfo(client->loop, &link->resolve, on_resolved, address->host, port,
				    &hints);

	if (status < 0) {
		link->resolving = false;
		client->failing = true;
	}
}

static void on_connect_timeout(uv_timer_t *timer)
{
	fail(timer->data, "connect", UV_ETIMEDOUT);
}

/* Whatever fails here is told at the end of this turn. */
static void begin_connecting(struct peer_client *client)
{
	struct address address;
	struct error error;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to;

	ASSERT(client->state == PEER_IDLE && client->link == NULL);
	client->link = memory_zeroed(1, sizeof *client->link);
	client->link->client = client;
	client->link->tcp.data = client->link;
	client->state = PEER_RESOLVING;
	if (address_parse(client->address, &address, &error) != 0 ||
	    uv_tcp_init(client->loop, &client->link->tcp) != 0) {
		client->failing = true;
		return;
	}
	client->link->tcp_open = true;
	uv_timer_start(&client->timer, on_connect_timeout, CONNECT_MS, 0);
	client->link->connect.data = client->link;
	if (uv_ip4_addr(address.host, address.port, &to.v4) != 0 &&
	    uv_ip6_addr(address.host, address.port, &to.v6) != 0) {
		resolve(client, &address);
		return;
	}
	client->state = PEER_CONNECTING;
	if (uv_tcp_connect(&client->link->connect, &client->link->tcp, &to.any, on_connected) < 0)
		client->failing = true;
}

/* ---- doors ---- */

struct peer_client *peer_client_new(struct uv_loop_s *loop, const char *address)
{
	struct peer_client *client = memory_zeroed(1, sizeof *client);

	client->loop = loop;
	snprintf(client->address, sizeof client->address, "%s", address);
	client->last = &client->calls;
	uv_prepare_init(loop, &client->turn);
	uv_timer_init(loop, &client->timer);
	client->handles = 2;
	client->turn.data = client;
	client->timer.data = client;
	return client;
}

void peer_client_call(struct peer_client *client, struct peer_call *call, const char *method,
		      struct span params)
{
	ASSERT(!client->closing && call->done != NULL && params.size > 0);
	call->next = NULL;
	call->sent = false;
	call->msgid = client->next_msgid++;
	*client->last = call;
	client->last = &call->next;
	if (client->unsent == NULL)
		client->unsent = call;
	msgpack_write_array(&client->out, 4);
	msgpack_write_u64(&client->out, 0);
	msgpack_write_u64(&client->out, call->msgid);
	msgpack_write_string(&client->out, method);
	msgpack_write_array(&client->out, 1);
	buffer_append_span(&client->out, params);
	if (client->state == PEER_IDLE)
		begin_connecting(client);
	uv_prepare_start(&client->turn, on_turn_end);
}

size_t peer_client_unsent(const struct peer_client *client)
{
	size_t sending = client->link != NULL ? client->link->sending.size - client->link->sent : 0;

	return client->out.size + sending;
}

void peer_client_retire(struct peer_client *client)
{
	ASSERT(!client->closing);
	end_calls(client, true);
}

static void on_client_closed(uv_handle_t *handle)
{
	struct peer_client *client = handle->data;

	ASSERT(client->handles > 0);
	if (--client->handles > 0)
		return;
	buffer_close(&client->out);
	buffer_close(&client->in);
	memory_free(client);
}

void peer_client_free(struct peer_client *client)
{
	if (client == NULL)
		return;
	ASSERT(!client->closing);
	client->closing = true;
	uv_close((uv_handle_t *)&client->turn, on_client_closed);
	uv_close((uv_handle_t *)&client->timer, on_client_closed);
	fail(client, "close", 0);
}
