/*
 * How bytes become messages. As long as a message is whole in the bytes that came, it is read where
 * they lie; only what is left over, the beginning of a message, is kept in `in`. While the session is
 * stalled (too many requests, too many unsent bytes), whole messages are kept there too and the
 * transport is asked to stop reading: they are taken up again by session_flush.
 */
#include "node/session.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/dispatch.h"
#include "node/input_bound.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/request.h"
#include "node/stats.h"
#include "node/subscribe.h"
#include "node/table.h"
#include <stdio.h>

#define PEER_NAME_BYTES  80
#define IN_KEPT_BYTES    (64 * KIB) /* an empty buffer larger than this is given back */
#define COPIED_BYTES     (8 * KIB)  /* a page up to so many is sent with the other answers */
#define MESSAGE_REQUEST  0u
#define MESSAGE_RESPONSE 1u
#define MESSAGE_NOTIFY   2u

struct session {
	struct node *node;
	struct session_transport transport;
	struct msgpack_scanner scanner; /* of the message at the front of `in` */
	struct buffer in;               /* what has come of messages that are not handled yet */
	struct buffer out;              /* gathered since the last flush */
	struct input_share input;       /* what `in` and the requests hold */
	size_t unsent;                  /* with the transport */
	size_t unsent_counted;          /* in the node's sum */
	struct request *requests;
	uint32_t request_count;
	size_t request_bytes; /* of their params */
	uint64_t message_count;
	uint64_t refused_turn;
	uint64_t own_position;
	struct session_drain *drains;
	struct subscription *subscriptions;
	bool whole_waits; /* `in` holds messages that a stall has held back */
	bool paused;      /* the transport was told so */
	bool dirty;       /* the same */
	bool failed;      /* the last notification is out: nothing else goes or comes */
	bool working;     /* within session_receive or session_flush */
	char peer_name[PEER_NAME_BYTES];
};

static void begin_message(struct session *session)
{
	msgpack_scanner_init(&session->scanner, session->node->settings.max_message, LIMIT_DEPTH);
}

/* What is kept of an empty `in` is not worth to be counted. */
static void count_input(struct session *session)
{
	size_t in = session->in.size > 0 ? session->in.capacity : 0;

	input_set(&session->node->input, &session->input, in + session->request_bytes);
}

/* Whether what all clients have sent leaves room for more of this one. */
static bool has_room(struct session *session)
{
	count_input(session);
	return input_may_read(&session->node->input, &session->input,
			      session_in_message(session) ? session->message_count + 1 : 0);
}

static void on_input_goes_on(struct input_share *share);

struct session *session_new(struct node *node, const struct session_transport *transport,
			    const char *peer_name)
{
	struct session *session = memory_zeroed(1, sizeof *session);

	ASSERT(transport->write != NULL && transport->pause != NULL && transport->close != NULL);
	session->node = node;
	session->transport = *transport;
	snprintf(session->peer_name, sizeof session->peer_name, "%s", peer_name);
	buffer_init(&session->in);
	buffer_init(&session->out);
	session->input.go_on = on_input_goes_on;
	begin_message(session);
	return session;
}

void session_free(struct session *session)
{
	ASSERT(!session->working);
	session->failed = true;
	subscriptions_end(session);
	while (session->requests != NULL)
		request_abandon(session->requests);
	ASSERT(session->request_count == 0 && session->request_bytes == 0);
	ASSERT(session->drains == NULL);
	session->node->unsent_bytes -= session->unsent_counted;
	input_end(&session->node->input, &session->input);
	buffer_close(&session->in);
	buffer_close(&session->out);
	memory_free(session);
}

/* ---- output ---- */

static void count_unsent(struct session *session)
{
	struct node *node = session->node;

	ASSERT(node->unsent_bytes >= session->unsent_counted);
	node->unsent_bytes -= session->unsent_counted;
	session->unsent_counted = session_unsent(session);
	node->unsent_bytes += session->unsent_counted;
}

static void mark_dirty(struct session *session)
{
	if (session->dirty)
		return;
	session->dirty = true;
	if (session->transport.dirty != NULL)
		session->transport.dirty(session->transport.arg);
}

static void on_input_goes_on(struct input_share *share)
{
	mark_dirty(TABLE_ENTRY(share, struct session, input));
}

static void begin_output(struct session *session, uint32_t elements, uint64_t type)
{
	mark_dirty(session);
	msgpack_write_array(&session->out, elements);
	msgpack_write_u64(&session->out, type);
}

void session_answer_result(struct session *session, uint32_t msgid, struct span result)
{
	if (session->failed)
		return;
	begin_output(session, 4, MESSAGE_RESPONSE);
	msgpack_write_u64(&session->out, msgid);
	msgpack_write_nil(&session->out);
	buffer_append_span(&session->out, result);
	count_unsent(session);
}

static void hand_over(struct session *session);
static void give(struct session *session, struct buffer *output);

/* The msgid in its widest form, so that the header has one width. */
static void write_page_header(uint8_t *at, uint32_t msgid)
{
	at[0] = 0x94;
	at[1] = MESSAGE_RESPONSE;
	at[2] = 0xce;
	bytes_set_be32(at + 3, msgid);
	at[7] = 0xc0;
}

/* Memory that is nearly empty should not wait for a client that does not read. */
static bool is_worth_taking(const struct buffer *page)
{
	return page->size > COPIED_BYTES && page->size >= page->capacity / 2;
}

void session_answer_page(struct session *session, uint32_t msgid, struct buffer *page)
{
	ASSERT(page->size > SESSION_PAGE_HEADROOM);
	if (!is_worth_taking(page) || session->failed) {
		session_answer_result(session, msgid,
				      span_of(page->data + SESSION_PAGE_HEADROOM,
					      page->size - SESSION_PAGE_HEADROOM));
		buffer_clear(page);
		return;
	}
	mark_dirty(session);
	hand_over(session);
	write_page_header(page->data, msgid);
	give(session, page);
}

void session_answer_error(struct session *session, uint32_t msgid, struct span error)
{
	if (session->failed)
		return;
	begin_output(session, 4, MESSAGE_RESPONSE);
	msgpack_write_u64(&session->out, msgid);
	buffer_append_span(&session->out, error);
	msgpack_write_nil(&session->out);
	count_unsent(session);
}

void session_notify(struct session *session, const char *method, struct span params)
{
	if (session->failed)
		return;
	begin_output(session, 3, MESSAGE_NOTIFY);
	msgpack_write_string(&session->out, method);
	buffer_append_span(&session->out, params);
	count_unsent(session);
}

void session_write_last_error(struct buffer *into, enum answer_code code, const char *message)
{
	msgpack_write_array(into, 3);
	msgpack_write_u64(into, MESSAGE_NOTIFY);
	msgpack_write_string(into, "error");
	msgpack_write_array(into, 1);
	request_error_begin(into, 0, code, message);
}

void session_fail(struct session *session, enum answer_code code, const char *message)
{
	if (session->failed)
		return;
	log_info("session", "a connection is ended", "peer=%s reason=\"%s\"", session->peer_name,
		 message);
	session->node->counters->connections_cut++;
	session_write_last_error(&session->out, code, message);
	session->failed = true;
	session->whole_waits = false;
	buffer_close(&session->in);
	(void)has_room(session); /* it waits no more, and has no turn */
	session->transport.write(session->transport.arg, &session->out);
	session->transport.close(session->transport.arg);
}

size_t session_unsent(const struct session *session)
{
	return session->unsent + session->out.size;
}

bool session_is_pressed(const struct session *session)
{
	return session->node->unsent_bytes > LIMIT_NODE_UNSENT_BYTES;
}

size_t session_unsent_max(const struct session *session)
{
	size_t usual = session->node->settings.out_queue_bytes;

	return session_is_pressed(session) && usual > LIMIT_PRESSED_OUT_BYTES
		       ? LIMIT_PRESSED_OUT_BYTES
		       : usual;
}

/* ---- messages ---- */

/* The last element of a message that a scanner has passed, without another walk over it. */
static struct span what_is_left(const struct msgpack_reader *reader)
{
	ASSERT(reader->at < reader->end);
	return span_of(reader->at, (size_t)(reader->end - reader->at));
}

static void handle_request(struct session *session, struct msgpack_reader *reader)
{
	struct span method;
	uint64_t msgid;

	if (!msgpack_read_u64(reader, &msgid) || msgid > UINT32_MAX)
		session_fail(session, ANSWER_INVALID_ARGUMENT,
			     "no MessagePack-RPC: the msgid of a request must be 0 to 4294967295");
	else if (!msgpack_read_str(reader, &method))
		session_fail(session, ANSWER_INVALID_ARGUMENT,
			     "no MessagePack-RPC: the method of a request must be a string");
	else if (msgpack_read_type(reader) != MSGPACK_TYPE_ARRAY)
		session_fail(session, ANSWER_INVALID_ARGUMENT,
			     "no MessagePack-RPC: the params of a request must be an array");
	else
		dispatch_request(session->node, session, (uint32_t)msgid, method,
				 what_is_left(reader));
}

static void handle_notification(struct session *session, struct msgpack_reader *reader)
{
	struct span method;

	if (!msgpack_read_str(reader, &method) || msgpack_read_type(reader) != MSGPACK_TYPE_ARRAY)
		session_fail(session, ANSWER_INVALID_ARGUMENT,
			     "no MessagePack-RPC: a notification is [2, method, [params…]]");
	else
		dispatch_notification(session->node, session, method, what_is_left(reader));
}

static void handle_message(struct session *session, struct span message)
{
	struct msgpack_reader reader = msgpack_reader_of(message);
	uint32_t elements;
	uint64_t type;

	session->message_count++;
	if (!msgpack_read_array(&reader, &elements) || elements == 0 ||
	    !msgpack_read_u64(&reader, &type))
		session_fail(session, ANSWER_INVALID_ARGUMENT,
			     "no MessagePack-RPC: a message is an array that begins with its kind");
	else if (type == MESSAGE_REQUEST && elements == 4)
		handle_request(session, &reader);
	else if (type == MESSAGE_NOTIFY && elements == 3)
		handle_notification(session, &reader);
	else
		session_fail(session, ANSWER_INVALID_ARGUMENT,
			     "no MessagePack-RPC: a client sends [0, msgid, method, params] and "
			     "[2, method, params]");
}

static void refuse_bytes(struct session *session, enum msgpack_scan found)
{
	char message[128];

	switch (found) {
	case MSGPACK_SCAN_TOO_DEEP:
		snprintf(message, sizeof message, "a message is nested deeper than %u levels",
			 LIMIT_DEPTH);
		session_fail(session, ANSWER_INVALID_ARGUMENT, message);
		break;
	case MSGPACK_SCAN_TOO_LONG:
		snprintf(message, sizeof message,
			 "a message is longer than max_message, %llu bytes",
			 (unsigned long long)session->node->settings.max_message);
		session_fail(session, ANSWER_TOO_LARGE, message);
		break;
	default:
		session_fail(session, ANSWER_INVALID_ARGUMENT, "these bytes are no msgpack");
	}
}

static bool is_stalled(const struct session *session)
{
	return session->request_count >= LIMIT_REQUESTS_IN_FLIGHT ||
	       session->request_bytes > 2 * session->node->settings.max_message ||
	       session_unsent(session) > session_unsent_max(session);
}

/* Handle the whole messages at the front of the bytes; how many bytes they took. */
static size_t handle_whole(struct session *session, const uint8_t *bytes, size_t size)
{
	size_t taken = 0;

	while (taken < size && !session->failed && !is_stalled(session)) {
		enum msgpack_scan found =
			msgpack_scan(&session->scanner, bytes + taken, size - taken);

		if (found == MSGPACK_SCAN_MORE)
			break;
		if (found != MSGPACK_SCAN_VALUE) {
			refuse_bytes(session, found);
			break;
		}
		size_t message = session->scanner.offset;

		begin_message(session);
		handle_message(session, span_of(bytes + taken, message));
		taken += message;
	}
	session->whole_waits = taken < size && !session->failed && is_stalled(session);
	return taken;
}

static void tell_pause(struct session *session)
{
	bool room = has_room(session);
	bool pause = session->whole_waits || ((is_stalled(session) || !room) && !session->failed);

	if (pause == session->paused)
		return;
	session->paused = pause;
	session->transport.pause(session->transport.arg, pause);
}

/* Messages do not change `in` while they are handled from it: session_fail alone empties it. */
static void handle_kept(struct session *session)
{
	struct buffer in = session->in;

	buffer_init(&session->in);
	size_t taken = handle_whole(session, in.data, in.size);

	if (session->failed) {
		buffer_close(&in);
		return;
	}
	ASSERT(session->in.size == 0);
	if (taken < in.size)
		buffer_consume(&in, taken);
	else if (in.capacity > IN_KEPT_BYTES)
		buffer_close(&in);
	else
		buffer_clear(&in);
	session->in = in;
}

void session_receive(struct session *session, const uint8_t *bytes, size_t size)
{
	ASSERT(!session->working);
	session->node->counters->bytes_in += size;
	if (session->failed)
		return;
	session->working = true;
	if (session->in.size > 0) {
		buffer_append(&session->in, bytes, size);
		handle_kept(session);
	} else {
		size_t taken = handle_whole(session, bytes, size);

		if (!session->failed && taken < size)
			buffer_append(&session->in, bytes + taken, size - taken);
	}
	session->working = false;
	tell_pause(session);
}

bool session_in_message(const struct session *session)
{
	return session->in.size > 0 && !session->whole_waits && !session->failed;
}

size_t session_message_bytes(const struct session *session)
{
	return session->in.size;
}

uint64_t session_message_count(const struct session *session)
{
	return session->message_count;
}

/* ---- back-pressure ---- */

static void link_drain(struct session_drain **list, struct session_drain *drain)
{
	ASSERT(drain->link == NULL);
	drain->next = *list;
	drain->link = list;
	if (drain->next != NULL)
		drain->next->link = &drain->next;
	*list = drain;
}

void session_cancel_drain(struct session_drain *drain)
{
	if (drain->link == NULL)
		return;
	*drain->link = drain->next;
	if (drain->next != NULL)
		drain->next->link = drain->link;
	drain->next = NULL;
	drain->link = NULL;
}

void session_await_drain(struct session *session, struct session_drain *drain)
{
	ASSERT(drain->drained != NULL);
	link_drain(&session->drains, drain);
}

/* Who is called may cancel others, and may wait anew: so those that are due get a list of their own. */
static void call_drained(struct session *session)
{
	struct session_drain *due = NULL, *drain, *next;

	for (drain = session->drains; drain != NULL; drain = next) {
		next = drain->next;
		if (session_unsent(session) < drain->below) {
			session_cancel_drain(drain);
			link_drain(&due, drain);
		}
	}
	while ((drain = due) != NULL) {
		session_cancel_drain(drain);
		drain->drained(drain);
	}
}

void session_set_unsent(struct session *session, size_t bytes)
{
	session->unsent = bytes;
	count_unsent(session);
	if (session->drains != NULL || session->paused)
		mark_dirty(session);
}

static void give(struct session *session, struct buffer *output)
{
	session->node->counters->bytes_out += output->size;
	session->transport.write(session->transport.arg, output);
	ASSERT(output->size == 0);
	count_unsent(session);
}

static void hand_over(struct session *session)
{
	if (session->out.size > 0)
		give(session, &session->out);
}

void session_flush(struct session *session)
{
	ASSERT(!session->working);
	session->dirty = false;
	if (session->failed)
		return;
	hand_over(session);
	while (session->whole_waits && !is_stalled(session) && !session->failed) {
		session->working = true;
		handle_kept(session);
		session->working = false;
		hand_over(session);
	}
	call_drained(session);
	if (!session->failed)
		tell_pause(session);
}

/* ---- requests ---- */

void session_link_request(struct session *session, struct request *request)
{
	ASSERT(request->session_link == NULL);
	request->session_next = session->requests;
	request->session_link = &session->requests;
	if (request->session_next != NULL)
		request->session_next->session_link = &request->session_next;
	session->requests = request;
	session->request_count++;
	session->request_bytes += request->params.size;
	count_input(session);
}

void session_unlink_request(struct session *session, struct request *request)
{
	ASSERT(request->session_link != NULL && session->request_count > 0);
	ASSERT(session->request_bytes >= request->params.size);
	*request->session_link = request->session_next;
	if (request->session_next != NULL)
		request->session_next->session_link = request->session_link;
	request->session_next = NULL;
	request->session_link = NULL;
	session->request_count--;
	session->request_bytes -= request->params.size;
	count_input(session);
	mark_dirty(session); /* it might have been what the session was stalled by */
}

void session_is_of_node(struct session *session)
{
	input_is_of_node(&session->node->input, &session->input);
}

bool session_has_turn(const struct session *session)
{
	return session->input.state == INPUT_TURN;
}

uint32_t session_requests_in_flight(const struct session *session)
{
	return session->request_count;
}

bool session_owes_answer(const struct session *session)
{
	const struct request *request = session->requests;

	if (session->subscriptions != NULL)
		return false;
	while (request != NULL && (request->method->flags & METHOD_BEGINS) == 0)
		request = request->session_next;
	return request != NULL;
}

uint64_t session_own_position(const struct session *session)
{
	return session->own_position;
}

void session_note_own_position(struct session *session, uint64_t position)
{
	if (position > session->own_position)
		session->own_position = position;
}

uint64_t session_refused_turn(const struct session *session)
{
	return session->refused_turn;
}

void session_set_refused_turn(struct session *session, uint64_t turn)
{
	session->refused_turn = turn;
}

struct subscription **session_subscriptions(struct session *session)
{
	return &session->subscriptions;
}
