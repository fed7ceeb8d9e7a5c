/*
 * Programs with many subscriptions on one connection, without libannal: some with a window that begins at nothing
 * and opens late, some ended and begun again, read slowly or not at all for a while. So the node has
 * pages that it may not send yet, and one slow reader's subscriptions share what it may keep for it.
 */
#include "tests/sim/whole/whole_plain.h"

#include <string.h>

#define PAUSES_NS (2500 * OS_MS) /* that it does not read */
#define ASKED_NS  (5 * OS_SECOND)

enum ticket_state { TICKET_NONE, TICKET_ASKED, TICKET_LIVE, TICKET_ENDING };

struct ticket {
	struct whole_feed feed;
	enum ticket_state state;
	bool windowed;
	uint64_t number;            /* the node's, of the subscription */
	uint64_t granted, received; /* events, of this subscription */
	uint32_t msgid;             /* of the request under way */
};

struct program {
	struct plain plain;
	struct ticket tickets[WHOLE_TICKETS];
	uint32_t last_msgid;
	uint64_t deaf_until;
	struct decode_events events;
	struct decode_error error;
};

/* ---- asking ---- */

static void send_bytes(struct program *program, struct buffer *bytes)
{
	plain_write(&program->plain, buffer_span(bytes));
	buffer_close(bytes);
}

static void begin_request(struct program *program, struct ticket *ticket, struct buffer *bytes,
			  const char *method, uint32_t pairs)
{
	ticket->msgid = ++program->last_msgid;
	buffer_init(bytes);
	msgpack_write_array(bytes, 4);
	msgpack_write_u64(bytes, 0);
	msgpack_write_u64(bytes, ticket->msgid);
	msgpack_write_string(bytes, method);
	msgpack_write_array(bytes, 1);
	msgpack_write_map(bytes, pairs);
}

static void subscribe(struct program *program, struct ticket *ticket)
{
	static const uint64_t windows[] = {0, 0, 1, 7, 100};
	struct whole_feed *feed = &ticket->feed;
	struct buffer bytes;
	bool in_batches = os_chance(500);

	ticket->windowed = os_chance(600);
	ticket->granted = windows[os_between(0, 4)];
	ticket->received = 0;
	begin_request(program, ticket, &bytes, "subscribe", 2u + ticket->windowed + in_batches);
	if (feed->of_stream) {
		wire_write_text(&bytes, "stream", feed->stream);
	} else if (feed->kind == 0) {
		wire_write_text(&bytes, "query", "all");
	} else {
		msgpack_write_string(&bytes, "query");
		wire_write_query(&bytes, model_query(feed->kind, feed->query_name));
	}
	wire_write_number(&bytes, "after", feed->place);
	if (ticket->windowed)
		wire_write_number(&bytes, "window", ticket->granted);
	if (in_batches)
		wire_write_number(&bytes, "batch", os_between(1, 20));
	send_bytes(program, &bytes);
	ticket->state = TICKET_ASKED;
	whole_feed_begin(feed, program->plain.node);
}

static void unsubscribe(struct program *program, struct ticket *ticket)
{
	struct buffer bytes;

	begin_request(program, ticket, &bytes, "unsubscribe", 1);
	wire_write_number(&bytes, "subscription", ticket->number);
	send_bytes(program, &bytes);
	ticket->state = TICKET_ENDING;
}

static void grant(struct program *program, struct ticket *ticket, uint64_t count)
{
	struct buffer bytes;

	buffer_init(&bytes);
	msgpack_write_array(&bytes, 3);
	msgpack_write_u64(&bytes, 2);
	msgpack_write_string(&bytes, "credit");
	msgpack_write_array(&bytes, 2);
	msgpack_write_u64(&bytes, ticket->number);
	msgpack_write_u64(&bytes, count);
	send_bytes(program, &bytes);
	ticket->granted += count;
	whole_saw(WHOLE_SEEN_CREDIT);
}

/* ---- what comes ---- */

static struct ticket *ticket_asking(struct program *program, uint32_t msgid)
{
	for (unsigned i = 0; i < WHOLE_TICKETS; i++)
		if (program->tickets[i].msgid == msgid)
			return &program->tickets[i];
	return NULL;
}

static struct ticket *ticket_of(struct program *program, uint64_t number)
{
	for (unsigned i = 0; i < WHOLE_TICKETS; i++) {
		struct ticket *ticket = &program->tickets[i];

		if (ticket->state >= TICKET_LIVE && ticket->number == number)
			return ticket;
	}
	return NULL;
}

static bool may_come_back(enum annal_code code)
{
	switch (code) {
	case ANNAL_NO_LEADER:
	case ANNAL_NOT_LEADER:
	case ANNAL_TIMEOUT:
	case ANNAL_OVERLOADED:
	case ANNAL_NOT_READY:
	case ANNAL_SHUTTING_DOWN:
		return true;
	default:
		return false;
	}
}

/* The node has ended it, or not begun it. */
static void refused(struct program *program, struct ticket *ticket, struct span error)
{
	ticket->state = TICKET_NONE;
	if (!decode_error(error, &program->error))
		os_violation("%s is refused without a code", ticket->feed.name);
	else if (!may_come_back(program->error.public.code))
		os_violation("%s is refused: %.200s", ticket->feed.name,
			     program->error.public.message);
}

static void take_response(struct program *program, const struct decode_message *message)
{
	struct ticket *ticket = ticket_asking(program, message->msgid);
	uint64_t number = UINT64_MAX;
	const struct decode_field fields[] = {{"subscription", DECODE_U64, &number}};

	if (ticket == NULL || ticket->state == TICKET_NONE)
		return;
	if (ticket->state == TICKET_ENDING) {
		ticket->state = TICKET_NONE;
		return;
	}
	if (message->failed) {
		refused(program, ticket, message->body);
		return;
	}
	if (!DECODE_FIELDS(message->body, fields) || number == UINT64_MAX)
		os_violation("the answer to subscribe has no number");
	ticket->number = number;
	ticket->state = TICKET_LIVE;
}

static void take_events(struct program *program, struct ticket *ticket, struct span array,
			uint64_t position)
{
	if (!decode_events(array, &program->events)) {
		os_violation("%s got what are no events", ticket->feed.name);
		return;
	}
	for (size_t i = 0; i < program->events.count && !os.violated; i++)
		whole_feed_event(&ticket->feed, &program->events.events[i]);
	ticket->received += program->events.count;
	if (ticket->windowed && ticket->received > ticket->granted)
		os_violation("%s got %" PRIu64 " events, and had allowed %" PRIu64,
			     ticket->feed.name, ticket->received, ticket->granted);
	if (!ticket->feed.of_stream)
		whole_feed_checkpoint(&ticket->feed, position);
}

/* [number, position], or with something between them: events, or why it was dropped. */
static bool read_body(struct span body, uint64_t *number, struct span *what, uint64_t *position)
{
	struct msgpack_reader reader = msgpack_reader_of(body);
	uint32_t count;

	*what = (struct span){0};
	return msgpack_read_array(&reader, &count) && count >= 2 &&
	       msgpack_read_u64(&reader, number) &&
	       (count == 2 || msgpack_read_raw(&reader, what)) &&
	       msgpack_read_u64(&reader, position);
}

static void take_notification(struct program *program, const struct decode_message *message)
{
	uint64_t number, position;
	struct span what;

	if (!read_body(message->body, &number, &what, &position)) {
		os_violation("node %u sent a notification that is none: %.*s", program->plain.node,
			     (int)message->method.size, (const char *)message->method.data);
		return;
	}
	struct ticket *ticket = ticket_of(program, number);

	if (ticket == NULL) {
		os_violation("node %u tells of subscription %" PRIu64 ", which there is not",
			     program->plain.node, number);
		return;
	}
	os_record(position);
	uint64_t claimed = ticket->feed.of_stream ? 0 : position;

	if (span_equal_string(message->method, "events")) {
		take_events(program, ticket, what, position);
	} else if (span_equal_string(message->method, "caught_up")) {
		whole_feed_caught_up(&ticket->feed, claimed);
	} else if (span_equal_string(message->method, "fell_behind")) {
		whole_feed_fell_behind(&ticket->feed, claimed);
	} else if (span_equal_string(message->method, "checkpoint")) {
		whole_feed_checkpoint(&ticket->feed, claimed);
	} else if (span_equal_string(message->method, "dropped")) {
		whole_feed_checkpoint(&ticket->feed, claimed);
		refused(program, ticket, what);
	}
}

/* ---- the program ---- */

static void connect_anew(struct program *program)
{
	for (unsigned i = 0; i < WHOLE_TICKETS; i++)
		program->tickets[i].state = TICKET_NONE;
	if (!plain_open(&program->plain, whole_pick_node()))
		os_sleep(50 * OS_MS);
}

static void serve(struct program *program, struct ticket *ticket)
{
	bool ends = whole.end_head > 0;

	if (ticket->state == TICKET_NONE && (ends || os_chance(200)))
		subscribe(program, ticket);
	if (ticket->state != TICKET_LIVE)
		return;
	if (ticket->windowed && ends && ticket->granted < WHOLE_EVENTS_MAX)
		grant(program, ticket, WHOLE_EVENTS_MAX);
	else if (ticket->windowed && ticket->granted == ticket->received && os_chance(100))
		grant(program, ticket, os_between(1, os_chance(500) ? 3 : 200));
	else if (!ends && os_chance(2))
		unsubscribe(program, ticket);
}

static bool is_done(struct program *program)
{
	bool done = true;

	for (unsigned i = 0; i < WHOLE_TICKETS; i++)
		done &= whole_feed_is_done(&program->tickets[i].feed);
	return done;
}

static void turn(struct program *program)
{
	struct decode_message message;
	bool reads = os.now >= program->deaf_until || whole.end_head > 0;

	if (program->plain.node == 0)
		connect_anew(program);
	if (program->plain.node == 0)
		return;
	for (unsigned i = 0; i < WHOLE_TICKETS; i++)
		serve(program, &program->tickets[i]);
	if (!reads)
		program->plain.heard_at = os.now;
	if (!plain_turn(&program->plain, (uint32_t)os_between(1, 20), reads))
		return;
	while (!os.violated && plain_next(&program->plain, &message)) {
		if (message.kind == DECODE_RESPONSE)
			take_response(program, &message);
		else
			take_notification(program, &message);
	}
	if (!reads)
		os_sleep(10 * OS_MS);
	else if (os_chance(10))
		program->deaf_until = os.now + os_between(0, PAUSES_NS);
	else if (os_chance(2) && program->plain.node != 0)
		plain_close(&program->plain);
}

static void *run(void *arg)
{
	struct program *program = arg;

	while (!os.violated && !is_done(program))
		turn(program);
	plain_close(&program->plain);
	for (unsigned i = 0; i < WHOLE_TICKETS; i++)
		whole_feed_close(&program->tickets[i].feed);
	decode_events_close(&program->events);
	decode_error_close(&program->error);
	memory_free(program);
	whole.subscribing--;
	os_process_exit(0);
}

void whole_window_start(void)
{
	struct program *program = memory_zeroed(1, sizeof *program);

	plain_init(&program->plain);
	decode_events_init(&program->events);
	decode_error_init(&program->error);
	for (unsigned i = 0; i < WHOLE_TICKETS; i++)
		whole_feed_init(&program->tickets[i].feed, whole.window->name,
				i % 3 == 0 ? 0 : (unsigned)os_between(1, WHOLE_QUERIES - 1),
				i == 1);
	whole.subscribing++;
	os_process_start(whole.window, run, program);
}
