/*
 * Programs that append without libannal: many appends in flight on one connection to one node, often without
 * ids, so that nobody may send them again; and between them an operator's mistakes, which are answered
 * at once while appends wait. What a node says of an append is taken at its word.
 */
#include "tests/sim/whole/whole_plain.h"

#include <string.h>

#define CALLS_MAX  8
#define MISTAKE    UINT32_MAX /* instead of the number of an append */
#define ABSENT_ID  4711       /* a node that there is not */
#define LEAVING_NS (6 * OS_SECOND)

struct plain_call {
	bool busy;
	uint32_t msgid, append;
	uint64_t floors[WHOLE_WRITES];
};

struct program {
	struct whole_client writer; /* what it knows of streams; it has no client */
	struct plain plain;
	struct plain_call calls[CALLS_MAX];
	uint32_t last_msgid;
	uint64_t stay_until; /* with this node */
	struct decode_error error;
	struct decode_versions versions;
};

/* ---- asking ---- */

static struct plain_call *free_call(struct program *program)
{
	for (unsigned i = 0; i < CALLS_MAX; i++)
		if (!program->calls[i].busy)
			return &program->calls[i];
	return NULL;
}

static unsigned busy_calls(const struct program *program)
{
	unsigned count = 0;

	for (unsigned i = 0; i < CALLS_MAX; i++)
		count += program->calls[i].busy;
	return count;
}

static void send_request(struct program *program, struct plain_call *call,
			 struct wire_request *request)
{
	call->busy = true;
	call->msgid = ++program->last_msgid;
	wire_request_patch(request, call->msgid, client_draw_timeout(), true);
	plain_write(&program->plain, buffer_span(&request->bytes));
	wire_request_close(request);
}

/* A single write, whose events have no ids: the node draws them. */
static void write_anonymous(struct wire_request *request, const struct annal_write *write)
{
	struct buffer *bytes = &request->bytes;
	bool expects = write->expect.kind == ANNAL_EXPECT_VERSION;

	wire_request_begin(request, "append", 2u + expects, true);
	wire_write_text(bytes, "stream", write->stream);
	if (expects)
		wire_write_number(bytes, "expected_version", write->expect.version);
	msgpack_write_string(bytes, "events");
	msgpack_write_array(bytes, (uint32_t)write->events_count);
	for (size_t i = 0; i < write->events_count; i++) {
		const struct annal_new_event *event = &write->events[i];

		msgpack_write_map(bytes, 2u + (event->tags_count > 0));
		wire_write_text(bytes, "type", event->type);
		wire_write_bin(bytes, "data", event->data);
		if (event->tags_count == 0)
			continue;
		msgpack_write_string(bytes, "tags");
		msgpack_write_array(bytes, 1);
		msgpack_write_string(bytes, event->tags[0]);
	}
}

static void make_anonymous(uint32_t number)
{
	struct whole_write *write = &model.appends[number].writes[0];

	for (uint32_t i = 0; i < write->events; i++)
		memset(model.events[write->first_event + i].id, 0, ANNAL_ID_BYTES);
	if (write->expect.kind != ANNAL_EXPECT_VERSION)
		write->expect.kind = ANNAL_EXPECT_ANY;
}

static void send_append(struct program *program, struct plain_call *call)
{
	uint32_t number = client_draw_append(&program->writer);
	const struct whole_append *append = &model.appends[number];
	struct wire_request request;
	bool anonymous = append->writes_count == 1 && append->query == 0 && os_chance(800);

	if (anonymous)
		make_anonymous(number);
	const struct annal_append *made = client_make_request(append, program->writer.number);

	wire_request_init(&request);
	if (anonymous)
		write_anonymous(&request, &made->writes[0]);
	else
		wire_append(&request, made);
	call->append = number;
	client_note_floors(append, call->floors);
	send_request(program, call, &request);
}

static void send_mistake(struct program *program, struct plain_call *call)
{
	struct wire_request request;
	bool without_id = os_chance(700);

	wire_request_init(&request);
	wire_request_begin(&request, "cluster_remove", without_id ? 0 : 1, true);
	if (!without_id)
		wire_write_number(&request.bytes, "id", ABSENT_ID);
	call->append = MISTAKE;
	send_request(program, call, &request);
}

/* ---- answers ---- */

static void mistake_answered(const struct program *program, bool failed)
{
	const struct annal_error *error = &program->error.public;

	if (!failed) {
		os_violation("a node that there is not was removed");
		return;
	}
	switch (error->code) {
	case ANNAL_INVALID_ARGUMENT:
	case ANNAL_NOT_FOUND:
		whole_saw(WHOLE_SEEN_MISTAKE);
		return;
	case ANNAL_TIMEOUT:
	case ANNAL_NO_LEADER:
	case ANNAL_OVERLOADED:
	case ANNAL_SHUTTING_DOWN:
		return;
	default:
		os_violation("an operator's mistake was answered with %s: %.200s",
			     annal_code_name(error->code), error->message);
	}
}

static void append_answered(struct program *program, const struct plain_call *call,
			    const struct decode_message *message)
{
	struct annal_append_result result;
	const struct annal_error *error = &program->error.public;

	if (!message->failed &&
	    !decode_append_result(message->body, true, &result, &program->versions)) {
		os_violation("append %u got the answer to something else", call->append);
		return;
	}
	/* In the form for several streams, one of them has its version there, too. */
	if (!message->failed && result.versions_count == 1)
		result.version = result.versions[0].version;
	whole_saw(WHOLE_SEEN_PLAIN);
	client_take_outcome(&program->writer, call->append,
			    message->failed ? error->code : ANNAL_OK, &result, error, call->floors);
}

static void take(struct program *program, const struct decode_message *message)
{
	struct plain_call *call = NULL;

	if (message->kind != DECODE_RESPONSE)
		return;
	for (unsigned i = 0; i < CALLS_MAX && call == NULL; i++)
		if (program->calls[i].busy && program->calls[i].msgid == message->msgid)
			call = &program->calls[i];
	if (call == NULL) {
		os_violation("node %u answers request %u, which is answered or never was",
			     program->plain.node, message->msgid);
		return;
	}
	call->busy = false;
	if (message->failed && !decode_error(message->body, &program->error))
		os_violation("node %u answers with an error without a code", program->plain.node);
	else if (call->append == MISTAKE)
		mistake_answered(program, message->failed);
	else
		append_answered(program, call, message);
}

/* ---- the program ---- */

/* Nobody says what became of those: they may be there or not. */
static void forget_calls(struct program *program)
{
	for (unsigned i = 0; i < CALLS_MAX; i++)
		program->calls[i].busy = false;
}

static void connect_anew(struct program *program)
{
	forget_calls(program);
	program->stay_until = os.now + os_between(500, 5000) * OS_MS;
	if (!plain_open(&program->plain, whole_pick_node()))
		os_sleep(50 * OS_MS);
}

static void ask(struct program *program)
{
	unsigned count = (unsigned)os_between(1, CALLS_MAX);

	for (unsigned i = 0; i < count; i++) {
		struct plain_call *call = free_call(program);

		if (call == NULL)
			return;
		if (os_chance(150))
			send_mistake(program, call);
		else
			send_append(program, call);
	}
}

static void turn(struct program *program)
{
	struct decode_message message;
	uint32_t wait_ms = (uint32_t)os_between(0, whole.limits.think_high_ns / OS_MS);

	if (program->plain.node == 0)
		connect_anew(program);
	if (program->plain.node == 0)
		return;
	if (!whole.ending && busy_calls(program) == 0)
		program->plain.heard_at = os.now;
	if (!whole.ending && os_chance(80))
		ask(program);
	if (!plain_turn(&program->plain, wait_ms, true))
		return;
	while (!os.violated && plain_next(&program->plain, &message))
		take(program, &message);
	if (os.now > program->stay_until && busy_calls(program) == 0)
		plain_close(&program->plain);
	else
		os_sleep(os_between(0, whole.limits.think_low_ns));
}

static void *run(void *arg)
{
	struct program *program = arg;
	uint64_t leave_at = OS_NEVER;

	while (!os.violated && os.now < leave_at && !(whole.ending && busy_calls(program) == 0)) {
		turn(program);
		if (whole.ending && leave_at == OS_NEVER)
			leave_at = os.now + LEAVING_NS;
	}
	plain_close(&program->plain);
	decode_error_close(&program->error);
	memory_free(program->versions.items);
	memory_free(program);
	whole.appending--;
	os_process_exit(0);
}

void whole_plain_start(void)
{
	for (unsigned i = 0; i < WHOLE_PLAIN; i++) {
		struct program *program = memory_zeroed(1, sizeof *program);

		program->writer.number = WHOLE_CLIENTS + WHOLE_READERS + i;
		program->writer.process = whole.plain[i];
		program->writer.calm = true; /* nobody waits for its appends */
		plain_init(&program->plain);
		decode_error_init(&program->error);
		whole.appending++;
		os_process_start(whole.plain[i], run, program);
	}
}
