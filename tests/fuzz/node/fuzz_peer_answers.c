/*
 * What another member answers, whole or in pieces, to requests that a node sends on to it, over a real connection:
 * each call ends once; answered, with one msgpack value that the scanner has passed and an error that is a map or
 * nothing; what was answered as it should be arrives byte for byte; whose call ends may ask again or end the
 * connection. What is sent on reads back as what it was, and each error means what the protocol says of it.
 *
 * Input: steps, a byte each (modulo the table below), some with numbers of a byte or bytes behind a u16 of their size.
 */
#include "base/answer.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/forward.h"
#include "node/peer_client.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define CALLS_MAX 32u
#define TURN      12345u /* that the first call says; each one more */
#define NOBODY    UINT32_MAX
#define TERM      77u
#define METHOD    "append"

enum step {
	STEP_CALL,   /* bytes: the client's params, when they are a map */
	STEP_TURN,   /* of the loop */
	STEP_ANSWER, /* which call; bytes: the result */
	STEP_ERROR,  /* which call; bytes: the error */
	STEP_NAMED,  /* which call; an error of the table */
	STEP_NOTIFY, /* bytes: params of a notification */
	STEP_BYTES,  /* bytes, as they are */
	STEP_END,    /* of the connection: by an end or by a reset */
	STEP_RETIRE,
	STEP_THEN, /* what whose call ends next does */
	STEP_KINDS,
};

enum then { THEN_NOTHING, THEN_CALL, THEN_FREE, THEN_KINDS };

static const uint8_t nil[] = {0xc0};

/* What an error means for a request that was sent on. */
static const struct {
	enum answer_code code;
	const char *outcome;
	enum forward_verdict verdict;
} named[] = {
	{ANSWER_WRONG_EXPECTED_VERSION, NULL, FORWARD_DECIDED},
	{ANSWER_CONDITION_FAILED, NULL, FORWARD_DECIDED},
	{ANSWER_EVENT_ID_CONFLICT, NULL, FORWARD_DECIDED},
	{ANSWER_CHECKPOINT_CONFLICT, NULL, FORWARD_DECIDED},
	{ANSWER_STREAM_TOMBSTONED, NULL, FORWARD_DECIDED},
	{ANSWER_INVALID_ARGUMENT, NULL, FORWARD_DECIDED},
	{ANSWER_NOT_LEADER, NULL, FORWARD_REFUSED},
	{ANSWER_NO_LEADER, NULL, FORWARD_REFUSED},
	{ANSWER_SHUTTING_DOWN, NULL, FORWARD_REFUSED},
	{ANSWER_TIMEOUT, NULL, FORWARD_UNKNOWN},
	{ANSWER_TIMEOUT, "unknown", FORWARD_UNKNOWN},
	{ANSWER_TIMEOUT, "none", FORWARD_OTHER},
	{ANSWER_OVERLOADED, NULL, FORWARD_OTHER},
};
#define NAMED (sizeof named / sizeof named[0])

struct exchange;

struct asked {
	struct peer_call call; /* first */
	struct exchange *exchange;
	struct buffer params;       /* as they were sent */
	struct buffer error, value; /* that it must be answered with, once `certain` */
	uint32_t base;              /* the number of its client's first call */
	bool has_answer; /* one that names it was sent while it waited, or was to be sent */
	bool certain, ended;
	int verdict; /* of enum forward_verdict, or -1 */
};

struct exchange {
	uv_loop_t loop;
	struct peer_client *client; /* NULL: none now */
	int socket;                 /* of the other member; -1: not connected */
	bool clean;     /* all that was sent on it are answers to calls, and notifications */
	bool has_bytes; /* bytes were sent on it that may be anything */
	struct asked calls[CALLS_MAX];
	uint32_t count;
	uint32_t base; /* number of this client's first call */
	uint32_t
		owner; /* of the connection: the same of the client that has sent on it, or NOBODY */
	struct buffer received;
	enum then then;
	struct span rest;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the place where the other member listens: one for the process ---- */

static int listener = -1;
static char address[64];

static void listen_once(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof at;

	if (listener >= 0)
		return;
	signal(SIGPIPE, SIG_IGN); /* as a node does */
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ASSERT(listener >= 0);
	int status = bind(listener, (struct sockaddr *)&at, sizeof at);

	if (status == 0)
		status = listen(listener, 64);
	if (status == 0)
		status = getsockname(listener, (struct sockaddr *)&at, &size);
	ASSERT(status == 0);
	snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
}

/* By a reset: thousands of connections in a second must not leave their ports taken. */
static void close_socket(struct exchange *exchange)
{
	const struct linger at_once = {.l_onoff = 1};

	if (exchange->socket < 0)
		return;
	(void)setsockopt(exchange->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
	close(exchange->socket);
	exchange->socket = -1;
	buffer_clear(&exchange->received);
}

static void take_connections(struct exchange *exchange)
{
	int accepted;

	while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		close_socket(exchange);
		exchange->socket = accepted;
		exchange->clean = true;
		exchange->has_bytes = false;
		exchange->owner = NOBODY;
	}
}

static void send_bytes(struct exchange *exchange, struct span bytes)
{
	if (exchange->socket < 0 || bytes.size == 0)
		return;
	/* The connection may be gone on the other side; there is room for what an input holds. */
	ssize_t sent = send(exchange->socket, bytes.data, bytes.size, MSG_NOSIGNAL);

	if (sent != (ssize_t)bytes.size)
		exchange->clean = false;
}

/* ---- what arrives at the other member ---- */

static bool is_value(struct span bytes)
{
	struct msgpack_scanner scanner;

	msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH - 1);
	return bytes.size > 0 &&
	       msgpack_scan(&scanner, bytes.data, bytes.size) == MSGPACK_SCAN_VALUE &&
	       scanner.offset == bytes.size;
}

static bool is_map(struct span bytes)
{
	struct msgpack_reader reader = msgpack_reader_of(bytes);

	return is_value(bytes) && msgpack_read_type(&reader) == MSGPACK_TYPE_MAP;
}

/* What a node says first: that it is one. */
static bool is_greeting(struct span message)
{
	static const uint8_t greeting[] = {0x93, 0x02, 0xa5, '$', 'n', 'o', 'd', 'e', 0x90};

	return message.size == sizeof greeting &&
	       memcmp(message.data, greeting, sizeof greeting) == 0;
}

static void check_request(struct exchange *exchange, struct span message)
{
	struct msgpack_reader reader = msgpack_reader_of(message);
	struct span method, params;
	uint32_t elements, one;
	uint64_t type, msgid;
	bool read = msgpack_read_array(&reader, &elements) && msgpack_read_u64(&reader, &type) &&
		    msgpack_read_u64(&reader, &msgid) && msgpack_read_str(&reader, &method) &&
		    msgpack_read_array(&reader, &one) && msgpack_read_raw(&reader, &params);

	ASSERT(read && elements == 4 && type == 0 && one == 1);
	ASSERT(span_equal_string(method, METHOD));
	struct request request = {.params = params};

	if (!arguments_index(&request.arguments, params))
		return; /* more pairs than a client may send */
	uint64_t number = forward_turn_of(&request) - TURN;

	ASSERT(number < exchange->count);
	const struct asked *asked = &exchange->calls[number];

	ASSERT(asked->base + msgid == number && (asked->call.sent || asked->ended));
	exchange->owner = asked->base;
	ASSERT(params.size == asked->params.size &&
	       memcmp(params.data, asked->params.data, params.size) == 0);
}

static void check_received(struct exchange *exchange)
{
	struct buffer *received = &exchange->received;
	struct msgpack_scanner scanner;
	size_t at = 0;

	for (;;) {
		msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
		if (at == received->size || msgpack_scan(&scanner, received->data + at,
							 received->size - at) != MSGPACK_SCAN_VALUE)
			break;
		struct span message = span_of(received->data + at, scanner.offset);

		if (!is_greeting(message))
			check_request(exchange, message);
		at += scanner.offset;
	}
	buffer_consume(received, at);
}

static void receive(struct exchange *exchange)
{
	uint8_t bytes[4096];
	ssize_t count;

	while (exchange->socket >= 0 &&
	       (count = recv(exchange->socket, bytes, sizeof bytes, 0)) > 0)
		buffer_append(&exchange->received, bytes, (size_t)count);
	check_received(exchange);
}

static void turn(struct exchange *exchange)
{
	uv_run(&exchange->loop, UV_RUN_NOWAIT);
	take_connections(exchange);
	receive(exchange);
}

/* ---- calls ---- */

static void ask(struct exchange *exchange, struct span params);

static void check_answer(const struct asked *asked, struct span error, struct span value)
{
	struct arguments fields;
	struct span raw;

	ASSERT(asked->has_answer || asked->exchange->has_bytes);
	ASSERT(error.size == 0 || is_map(error));
	ASSERT(is_value(value));
	(void)(arguments_index(&fields, value) && arguments_find(&fields, "position", &raw));
	if (error.size > 0) {
		enum forward_verdict verdict = forward_verdict_of(error);

		ASSERT(asked->verdict < 0 || (int)verdict == asked->verdict);
	}
	if (!asked->certain)
		return;
	ASSERT(error.size == asked->error.size);
	ASSERT(error.size == 0 || memcmp(error.data, asked->error.data, error.size) == 0);
	ASSERT(value.size == asked->value.size &&
	       memcmp(value.data, asked->value.data, value.size) == 0);
}

static void go_on(struct exchange *exchange)
{
	static const uint8_t empty_map[] = {0x80};
	enum then then = exchange->then;

	exchange->then = THEN_NOTHING;
	if (then == THEN_FREE && exchange->client != NULL) {
		struct peer_client *client = exchange->client;

		exchange->client = NULL;
		peer_client_free(client);
	} else if (then == THEN_CALL && exchange->client != NULL) {
		ask(exchange, span_of(empty_map, sizeof empty_map));
	}
}

static void on_done(struct peer_call *call, enum peer_result result, struct span error,
		    struct span value)
{
	struct asked *asked = (struct asked *)call;

	ASSERT(!asked->ended);
	asked->ended = true;
	ASSERT((result == PEER_NEVER_SENT) == !call->sent);
	if (result == PEER_ANSWERED)
		check_answer(asked, error, value);
	else
		ASSERT(error.size == 0 && value.size == 0);
	go_on(asked->exchange);
}

static void check_forwarded(const struct asked *asked, struct span params)
{
	struct request sent_on = {.params = buffer_span(&asked->params)};

	ASSERT(asked->params.size <= params.size + FORWARD_BYTES);
	if (!arguments_index(&sent_on.arguments, sent_on.params))
		return; /* more pairs than a client may send */
	ASSERT(forward_turn_of(&sent_on) == TURN + asked->base + asked->call.msgid);
	ASSERT(forward_term_of(&sent_on) == TERM);
}

static void ask(struct exchange *exchange, struct span params)
{
	struct request request = {.params = params, .deadline_ms = clock_monotonic_ms() + 1000};

	if (exchange->count == CALLS_MAX)
		return;
	if (exchange->client == NULL) {
		exchange->client = peer_client_new(&exchange->loop, address);
		exchange->base = exchange->count;
	}
	uint32_t number = exchange->count++;
	struct asked *asked = &exchange->calls[number];

	*asked = (struct asked){
		.exchange = exchange, .call.done = on_done, .base = exchange->base, .verdict = -1};
	forward_write(&asked->params, &request, TURN + number, TERM);
	peer_client_call(exchange->client, &asked->call, METHOD, buffer_span(&asked->params));
	check_forwarded(asked, params);
}

/* ---- steps ---- */

static unsigned take_byte(struct exchange *exchange)
{
	struct span *rest = &exchange->rest;

	if (rest->size == 0)
		return 0;
	unsigned byte = rest->data[0];

	*rest = span_of(rest->data + 1, rest->size - 1);
	return byte;
}

static struct span take_bytes(struct exchange *exchange)
{
	size_t wanted = take_byte(exchange);

	wanted |= (size_t)take_byte(exchange) << 8;
	struct span *rest = &exchange->rest, taken = *rest;

	taken.size = wanted < rest->size ? wanted : rest->size;
	*rest = span_of(rest->data + taken.size, rest->size - taken.size);
	return taken;
}

static struct span value_or_nil(struct span bytes)
{
	return is_value(bytes) ? bytes : span_of(nil, sizeof nil);
}

/* One answer; certain, when the call waits for it and nothing before it has ended the connection. */
static void answer(struct exchange *exchange, unsigned which, struct span error, struct span value,
		   int verdict)
{
	uint32_t own = exchange->count - exchange->base;
	uint32_t msgid = own > 0 ? which % own : which;
	struct asked *asked = own > 0 ? &exchange->calls[exchange->base + msgid] : NULL;
	bool is_nil = error.size == 1 && error.data[0] == nil[0];
	bool waits = exchange->client != NULL && asked != NULL && !asked->ended &&
		     asked->call.sent && !asked->certain;

	if (asked != NULL)
		asked->has_answer = true;
	bool arrives =
		exchange->clean && exchange->socket >= 0 && exchange->owner == exchange->base;

	if (arrives && waits && (is_nil || is_map(error))) {
		asked->certain = true;
		asked->verdict = verdict;
		if (!is_nil)
			buffer_append_span(&asked->error, error);
		buffer_append_span(&asked->value, value);
	} else {
		exchange->clean = false;
	}
	struct buffer message;

	buffer_init(&message);
	msgpack_write_array(&message, 4);
	msgpack_write_u64(&message, 1);
	msgpack_write_u64(&message, msgid);
	buffer_append_span(&message, error);
	buffer_append_span(&message, value);
	send_bytes(exchange, buffer_span(&message));
	buffer_close(&message);
}

static void answer_named(struct exchange *exchange)
{
	unsigned which = take_byte(exchange);
	size_t error = take_byte(exchange) % NAMED;
	struct buffer map;

	buffer_init(&map);
	msgpack_write_map(&map, named[error].outcome != NULL ? 2 : 1);
	msgpack_write_string(&map, "code");
	msgpack_write_string(&map, answer_name(named[error].code));
	if (named[error].outcome != NULL) {
		msgpack_write_string(&map, "outcome");
		msgpack_write_string(&map, named[error].outcome);
	}
	answer(exchange, which, buffer_span(&map), span_of(nil, sizeof nil),
	       (int)named[error].verdict);
	buffer_close(&map);
}

static void notify(struct exchange *exchange)
{
	struct span params = value_or_nil(take_bytes(exchange));
	struct buffer message;

	buffer_init(&message);
	msgpack_write_array(&message, 3);
	msgpack_write_u64(&message, 2);
	msgpack_write_string(&message, "events");
	buffer_append_span(&message, params);
	send_bytes(exchange, buffer_span(&message));
	buffer_close(&message);
}

static void end_connection(struct exchange *exchange)
{
	if ((take_byte(exchange) & 1) != 0)
		close_socket(exchange);
	else if (exchange->socket >= 0)
		(void)shutdown(exchange->socket, SHUT_WR);
	exchange->clean = false;
}

static void step(struct exchange *exchange)
{
	enum step kind = take_byte(exchange) % STEP_KINDS;
	unsigned which;
	struct span bytes;

	switch (kind) {
	case STEP_CALL:
		bytes = take_bytes(exchange);
		if (is_map(bytes))
			ask(exchange, bytes);
		break;
	case STEP_ANSWER:
		which = take_byte(exchange);
		answer(exchange, which, span_of(nil, sizeof nil),
		       value_or_nil(take_bytes(exchange)), -1);
		break;
	case STEP_ERROR:
		which = take_byte(exchange);
		answer(exchange, which, value_or_nil(take_bytes(exchange)),
		       span_of(nil, sizeof nil), -1);
		break;
	case STEP_NAMED:
		answer_named(exchange);
		break;
	case STEP_NOTIFY:
		notify(exchange);
		break;
	case STEP_BYTES:
		exchange->clean = false;
		exchange->has_bytes = true;
		send_bytes(exchange, take_bytes(exchange));
		break;
	case STEP_END:
		end_connection(exchange);
		break;
	case STEP_RETIRE:
		if (exchange->client != NULL)
			peer_client_retire(exchange->client);
		break;
	case STEP_THEN:
		exchange->then = take_byte(exchange) % THEN_KINDS;
		break;
	default:
		turn(exchange);
	}
}

/* ---- the end ---- */

static bool has_settled(const struct exchange *exchange)
{
	for (uint32_t i = exchange->base; i < exchange->count; i++)
		if (exchange->calls[i].certain && !exchange->calls[i].ended)
			return !exchange->clean;
	return true;
}

/* What was answered as it should be arrives, at once unless the machine is busy. */
static void check_certain(struct exchange *exchange)
{
	for (int turns = 0; turns < 4 || (turns < 10000 && !has_settled(exchange)); turns++) {
		turn(exchange);
		if (turns >= 4)
			usleep(1000);
	}
	ASSERT(has_settled(exchange));
}

static void close_exchange(struct exchange *exchange)
{
	exchange->then = THEN_NOTHING;
	if (exchange->client != NULL)
		peer_client_free(exchange->client);
	exchange->client = NULL;
	uv_run(&exchange->loop, UV_RUN_DEFAULT);
	take_connections(exchange);
	close_socket(exchange);
	int status = uv_loop_close(&exchange->loop);

	ASSERT(status == 0);
	for (uint32_t i = 0; i < exchange->count; i++) {
		ASSERT(exchange->calls[i].ended);
		buffer_close(&exchange->calls[i].params);
		buffer_close(&exchange->calls[i].error);
		buffer_close(&exchange->calls[i].value);
	}
	buffer_close(&exchange->received);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct exchange exchange = {.socket = -1, .rest = span_of(data, size)};

	log_set_level(LOG_LEVEL_ERROR);
	listen_once();
	int status = uv_loop_init(&exchange.loop);

	ASSERT(status == 0);
	while (exchange.rest.size > 0)
		step(&exchange);
	check_certain(&exchange);
	close_exchange(&exchange);
	return 0;
}
