/* Bytes in, bytes out: whole messages, split at every byte, garbage, deep, long, lying. */
#include "tests/unit/node/notation.h"
#include "tests/unit/node/whole_node.h"
#include "tests/unit/unit.h"

#include <malloc.h>

static struct whole_node whole;

static int set_up(void **state)
{
	(void)state;
	whole_node_init(&whole);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	whole_node_close(&whole);
	return 0;
}

/* ---- making messages ---- */

static void begin_request(struct buffer *into, uint32_t msgid, const char *method)
{
	msgpack_write_array(into, 4);
	msgpack_write_u64(into, 0);
	msgpack_write_u64(into, msgid);
	msgpack_write_string(into, method);
	msgpack_write_array(into, 1);
}

static void write_ping(struct buffer *into, uint32_t msgid)
{
	begin_request(into, msgid, "ping");
	msgpack_write_map(into, 0);
}

static void write_append(struct buffer *into, uint32_t msgid, const char *stream, size_t data_bytes)
{
	uint8_t *data = memory_zeroed(1, data_bytes + 1);

	begin_request(into, msgid, "append");
	msgpack_write_map(into, 2);
	msgpack_write_string(into, "stream");
	msgpack_write_string(into, stream);
	msgpack_write_string(into, "events");
	msgpack_write_array(into, 1);
	msgpack_write_map(into, 2);
	msgpack_write_string(into, "type");
	msgpack_write_string(into, "T");
	msgpack_write_string(into, "data");
	msgpack_write_bin(into, span_of(data, data_bytes));
	memory_free(data);
}

/* ---- reading answers ---- */

struct answer {
	uint64_t msgid;
	bool failed;
	char code[64];     /* of an error */
	char argument[64]; /* the same */
	char outcome[64];
	struct span value;
};

static void read_text(struct span map, const char *name, char text[64])
{
	struct arguments fields;
	struct span raw, found;

	text[0] = '\0';
	assert_true(arguments_index(&fields, map));
	if (!arguments_find(&fields, name, &raw))
		return;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (msgpack_read_str(&reader, &found))
		snprintf(text, 64, "%.*s", (int)found.size, (const char *)found.data);
}

static bool next_answer(struct msgpack_reader *reader, struct answer *answer)
{
	struct span error;
	uint32_t elements;
	uint64_t type;

	if (msgpack_read_type(reader) == MSGPACK_TYPE_END)
		return false;
	assert_true(msgpack_read_array(reader, &elements) && elements == 4);
	assert_true(msgpack_read_u64(reader, &type) && type == 1);
	assert_true(msgpack_read_u64(reader, &answer->msgid));
	assert_true(msgpack_read_raw(reader, &error));
	assert_true(msgpack_read_raw(reader, &answer->value));
	struct msgpack_reader inside = msgpack_reader_of(error);

	answer->failed = !msgpack_read_nil(&inside);
	answer->code[0] = '\0';
	answer->argument[0] = '\0';
	answer->outcome[0] = '\0';
	if (answer->failed) {
		read_text(error, "code", answer->code);
		read_text(error, "argument", answer->argument);
		read_text(error, "outcome", answer->outcome);
	}
	return true;
}

/* What the node says at last: [2, "error", [{code, message}]]. */
static void assert_last_words(struct fake_client *client, const char *wanted)
{
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client->out));
	struct span method, map;
	uint32_t elements, count;
	uint64_t type;
	char code[64], message[64];

	assert_true(client->closed);
	assert_true(msgpack_read_array(&reader, &elements) && elements == 3);
	assert_true(msgpack_read_u64(&reader, &type) && type == 2);
	assert_true(msgpack_read_str(&reader, &method) && span_equal_string(method, "error"));
	assert_true(msgpack_read_array(&reader, &count) && count == 1);
	assert_true(msgpack_read_raw(&reader, &map));
	assert_int_equal(msgpack_read_type(&reader), MSGPACK_TYPE_END);
	read_text(map, "code", code);
	read_text(map, "message", message);
	assert_string_equal(code, wanted);
	assert_true(message[0] != '\0');
}

/* ---- tests ---- */

static void a_request_is_answered(void **state)
{
	struct fake_client client;
	struct buffer in = {0};
	struct answer answer;

	(void)state;
	fake_client_open(&client, &whole);
	write_ping(&in, 77);
	session_receive(client.session, in.data, in.size);
	assert_int_equal(client.out.size, 0); /* gathered until the end of the turn */
	session_flush(client.session);
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

	assert_true(next_answer(&reader, &answer));
	assert_int_equal(answer.msgid, 77);
	assert_false(answer.failed);
	assert_false(next_answer(&reader, &answer));
	assert_false(session_in_message(client.session));
	fake_client_close_session(&client);
	buffer_close(&in);
}

/* Three messages in two pieces, cut at every byte. */
static void messages_may_be_cut_anywhere(void **state)
{
	struct buffer in = {0};

	(void)state;
	write_ping(&in, 1);
	write_append(&in, 2, "cut-1", 300);
	write_ping(&in, 3);
	for (size_t cut = 0; cut <= in.size; cut++) {
		struct fake_client client;
		struct answer answer;
		uint32_t seen = 0;

		fake_client_open(&client, &whole);
		struct span front = unit_exact(in.data, cut);
		struct span back = unit_exact(in.data + cut, in.size - cut);

		session_receive(client.session, front.data, front.size);
		unit_free_exact(front);
		session_receive(client.session, back.data, back.size);
		unit_free_exact(back);
		assert_true(fake_client_settle(&client, &whole));
		struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

		while (next_answer(&reader, &answer)) {
			assert_false(answer.failed);
			seen |= 1u << answer.msgid;
		}
		assert_int_equal(seen, 2 + 4 + 8);
		fake_client_close_session(&client);
	}
	buffer_close(&in);
}

static void messages_may_come_byte_by_byte(void **state)
{
	struct fake_client client;
	struct buffer in = {0};
	struct answer answer;

	(void)state;
	fake_client_open(&client, &whole);
	write_append(&in, 9, "slow-1", 200);
	for (size_t i = 0; i < in.size; i++) {
		assert_int_equal(session_in_message(client.session), i > 0);
		assert_int_equal(session_message_bytes(client.session), i);
		session_receive(client.session, in.data + i, 1);
	}
	assert_true(fake_client_settle(&client, &whole));
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

	assert_true(next_answer(&reader, &answer) && !answer.failed && answer.msgid == 9);
	fake_client_close_session(&client);
	buffer_close(&in);
}

static void what_is_no_message_ends_the_session(void **state)
{
	static const struct {
		const char *what, *bytes;
		size_t size;
		const char *code;
	} cases[] = {
#define CASE(what, bytes, code) {what, bytes, sizeof bytes - 1, code}
		CASE("text", "GET / HTTP/1.1\r\n\r\n", "INVALID_ARGUMENT"),
		CASE("the byte that begins nothing", "\xc1", "INVALID_ARGUMENT"),
		CASE("nil", "\xc0", "INVALID_ARGUMENT"),
		CASE("an empty array", "\x90", "INVALID_ARGUMENT"),
		CASE("a kind of text", "\x94\xa1x\x01\xa4ping\x90", "INVALID_ARGUMENT"),
		CASE("an answer", "\x94\x01\x01\xc0\xc0", "INVALID_ARGUMENT"),
		CASE("a request that is too short", "\x93\x00\x01\xa4ping", "INVALID_ARGUMENT"),
		CASE("a request that is too long", "\x95\x00\x01\xa4ping\x90\xc0",
		     "INVALID_ARGUMENT"),
		CASE("a negative msgid", "\x94\x00\xff\xa4ping\x90", "INVALID_ARGUMENT"),
		CASE("a msgid beyond 32 bits",
		     "\x94\x00\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa4ping\x90",
		     "INVALID_ARGUMENT"),
		CASE("a method that is a number", "\x94\x00\x01\x05\x90", "INVALID_ARGUMENT"),
		CASE("params that are a map", "\x94\x00\x01\xa4ping\x80", "INVALID_ARGUMENT"),
		CASE("a notification that is too short", "\x92\x02\xa4ping", "INVALID_ARGUMENT"),
		CASE("a notification without params", "\x93\x02\xa4ping\xc0", "INVALID_ARGUMENT"),
		CASE("17 levels",
		     "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91",
		     "INVALID_ARGUMENT"),
		CASE("an array of 4 G", "\xdd\xff\xff\xff\xff", "TOO_LARGE"),
		CASE("a map of 4 G", "\xdf\xff\xff\xff\xff", "TOO_LARGE"),
		CASE("bin of 4 G", "\xc6\xff\xff\xff\xff", "TOO_LARGE"),
		CASE("str of 17 M in a request", "\x94\x00\x01\xdb\x01\x10\x00\x00", "TOO_LARGE"),
#undef CASE
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span bytes = unit_exact(cases[i].bytes, cases[i].size);
		struct fake_client client;

		fake_client_open(&client, &whole);
		session_receive(client.session, bytes.data, bytes.size);
		if (!client.closed)
			fail_msg("%s was let through", cases[i].what);
		assert_last_words(&client, cases[i].code);
		/* Nothing more comes or goes. */
		session_receive(client.session, bytes.data, bytes.size);
		session_flush(client.session);
		assert_last_words(&client, cases[i].code);
		fake_client_close_session(&client);
		unit_free_exact(bytes);
	}
}

/* A declared length costs nothing before its bytes have come. */
static void memory_grows_with_what_has_come_only(void **state)
{
	static const uint8_t head[] = "\x94\x00\x01\xa6"
				      "append\x91\x81\xa1x\xc6\x00\xf0\x00\x00";
	struct fake_client client;

	(void)state;
	fake_client_open(&client, &whole);
	session_receive(client.session, head, sizeof head - 1);
	assert_false(client.closed);
	assert_true(session_in_message(client.session));
	assert_int_equal(session_message_bytes(client.session), sizeof head - 1);
	fake_client_close_session(&client);
}

static void wrong_envelopes_are_refused_by_name(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		const char *code, *argument;
	} cases[] = {
#define CASE(bytes, code, argument) {bytes, sizeof bytes - 1, code, argument}
		CASE("\x94\x00\x07\xa4ping\x90", "", ""),
		CASE("\x94\x00\x07\xa4ping\x91\x80", "", ""),
		CASE("\x94\x00\x07\xa4ping\x91\x90", "INVALID_ARGUMENT", "params"),
		CASE("\x94\x00\x07\xa4ping\x91\xc0", "INVALID_ARGUMENT", "params"),
		CASE("\x94\x00\x07\xa4ping\x92\x80\x80", "INVALID_ARGUMENT", "params"),
		CASE("\x94\x00\x07\xa4pong\x91\x80", "UNKNOWN_METHOD", ""),
		CASE("\x94\x00\x07\xa0\x91\x80", "UNKNOWN_METHOD", ""),
		CASE("\x94\x00\x07\xa4p\xff\x00g\x91\x80", "UNKNOWN_METHOD", ""),
		CASE("\x94\x00\x07\xa4ping\x91\x81\xaatimeout_ms\x00", "INVALID_ARGUMENT",
		     "timeout_ms"),
		CASE("\x94\x00\x07\xa4ping\x91\x81\xaatimeout_ms\xff", "INVALID_ARGUMENT",
		     "timeout_ms"),
		CASE("\x94\x00\x07\xa4ping\x91\x81\xaatimeout_ms\xa1x", "INVALID_ARGUMENT",
		     "timeout_ms"),
		CASE("\x94\x00\x07\xa4ping\x91\x81\xaatimeout_ms\xce\xff\xff\xff\xff",
		     "INVALID_ARGUMENT", "timeout_ms"),
		CASE("\x94\x00\x07\xa4ping\x91\x82\xaatimeout_ms\xff\xaatimeout_ms\x01", "", ""),
		CASE("\x94\x00\x07\xa4ping\x91\x81\xa7"
		     "forward\x01",
		     "INVALID_ARGUMENT", "forward"),
		CASE("\x94\x00\x07\xa4ping\x91\x81\x01\x02", "", ""),
#undef CASE
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span bytes = unit_exact(cases[i].bytes, cases[i].size);
		struct fake_client client;
		struct answer answer;

		fake_client_open(&client, &whole);
		session_receive(client.session, bytes.data, bytes.size);
		session_flush(client.session);
		struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

		assert_false(client.closed);
		assert_true(next_answer(&reader, &answer));
		assert_int_equal(answer.msgid, 7);
		assert_string_equal(answer.code, cases[i].code);
		assert_string_equal(answer.argument, cases[i].argument);
		fake_client_close_session(&client);
		unit_free_exact(bytes);
	}
}

static void ask_for_pairs(uint32_t pairs, bool forward, struct answer *answer)
{
	struct fake_client client;
	struct buffer in = {0};

	fake_client_open(&client, &whole);
	begin_request(&in, 7, "ping");
	msgpack_write_map(&in, pairs);
	for (uint32_t i = 1; i < pairs; i++) {
		msgpack_write_string(&in, "x");
		msgpack_write_u64(&in, i);
	}
	msgpack_write_string(&in, "forward");
	msgpack_write_bool(&in, forward);
	session_receive(client.session, in.data, in.size);
	session_flush(client.session);
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

	assert_true(next_answer(&reader, answer));
	fake_client_close_session(&client);
	buffer_close(&in);
}

/* What another node puts behind a client's comes on top of what a client may send. */
static void params_have_a_bound(void **state)
{
	static const struct {
		uint32_t pairs;
		bool forward;
		const char *code;
	} cases[] = {
		{LIMIT_MAP_PAIRS, true, ""},
		{LIMIT_MAP_PAIRS + 1, true, "INVALID_ARGUMENT"},
		{ARGUMENTS_MAX, false, ""},
		{ARGUMENTS_MAX + 1, false, "INVALID_ARGUMENT"},
		{1000000, true, "INVALID_ARGUMENT"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct answer answer;

		ask_for_pairs(cases[i].pairs, cases[i].forward, &answer);
		assert_string_equal(answer.code, cases[i].code);
		assert_string_equal(answer.argument, cases[i].code[0] != '\0' ? "params" : "");
	}
}

/* Beyond the bound nothing more is read, and nothing is lost. */
static void too_many_requests_stall_the_session(void **state)
{
	struct fake_client client;
	struct buffer in = {0};
	struct answer answer;
	uint32_t answers = 0;

	(void)state;
	fake_client_open(&client, &whole);
	for (uint32_t i = 0; i < LIMIT_REQUESTS_IN_FLIGHT + 100; i++)
		write_append(&in, i, "many-1", 0);
	session_receive(client.session, in.data, in.size);
	assert_true(client.paused);
	assert_int_equal(session_requests_in_flight(client.session), LIMIT_REQUESTS_IN_FLIGHT);
	assert_false(session_in_message(client.session));
	assert_true(fake_client_settle(&client, &whole));
	assert_true(fake_client_settle(&client, &whole)); /* what was held back */
	assert_false(client.paused);
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

	while (next_answer(&reader, &answer)) {
		assert_false(answer.failed);
		assert_int_equal(answer.msgid, answers);
		answers++;
	}
	assert_int_equal(answers, LIMIT_REQUESTS_IN_FLIGHT + 100);
	fake_client_close_session(&client);
	buffer_close(&in);
}

static void unsent_answers_stall_the_session(void **state)
{
	struct fake_client client;
	struct buffer in = {0};

	(void)state;
	fake_client_open(&client, &whole);
	write_ping(&in, 1);
	session_set_unsent(client.session, whole.node.settings.out_queue_bytes + 1);
	session_receive(client.session, in.data, in.size);
	session_flush(client.session);
	assert_true(client.paused);
	assert_int_equal(client.out.size, 0);
	session_set_unsent(client.session, 0);
	session_flush(client.session);
	assert_false(client.paused);
	assert_true(client.out.size > 0);
	fake_client_close_session(&client);
	buffer_close(&in);
}

static void requests_in_flight_outlive_their_session(void **state)
{
	struct fake_client client;
	struct buffer in = {0};

	(void)state;
	fake_client_open(&client, &whole);
	write_append(&in, 1, "gone-1", 10);
	session_receive(client.session, in.data, in.size);
	assert_int_equal(session_requests_in_flight(client.session), 1);
	uint64_t head = store_head(whole.node.store);

	fake_client_close_session(&client);
	whole_node_turn(&whole);
	assert_int_equal(store_head(whole.node.store), head + 1);
	buffer_close(&in);
}

/* ---- what becomes of an append ---- */

static void assert_append_code(const char *wanted)
{
	struct fake_client client;
	struct buffer in = {0};
	struct answer answer;

	fake_client_open(&client, &whole);
	write_append(&in, 1, "fate-1", 10);
	session_receive(client.session, in.data, in.size);
	assert_true(fake_client_settle(&client, &whole));
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

	assert_true(next_answer(&reader, &answer));
	assert_string_equal(answer.code, wanted);
	fake_client_close_session(&client);
	buffer_close(&in);
}

static void refusals_have_their_codes(void **state)
{
	static const struct {
		enum propose_refusal refusal;
		enum proposal_result result;
		const char *code;
	} cases[] = {
		{PROPOSE_ACCEPTED, PROPOSAL_DECIDED, ""},
		{PROPOSE_OVERLOADED_QUEUE, PROPOSAL_DECIDED, "OVERLOADED"},
		{PROPOSE_OVERLOADED_STORE, PROPOSAL_DECIDED, "OVERLOADED"},
		{PROPOSE_OVERLOADED_DISK, PROPOSAL_DECIDED, "OVERLOADED"},
		{PROPOSE_STOPPING, PROPOSAL_DECIDED, "SHUTTING_DOWN"},
		{PROPOSE_ACCEPTED, PROPOSAL_UNKNOWN, "TIMEOUT"},
		{PROPOSE_ACCEPTED, PROPOSAL_NOT_PROPOSED, "NO_LEADER"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		whole.refusal = cases[i].refusal;
		whole.result = cases[i].result;
		assert_append_code(cases[i].code);
	}
	whole.refusal = PROPOSE_ACCEPTED;
	whole.result = PROPOSAL_DECIDED;
	whole.node.stopping = true;
	assert_append_code("SHUTTING_DOWN");
	whole.node.stopping = false;
}

/* With a short time: nobody leads, so it ends as NO_LEADER; proposed and not decided: TIMEOUT. */
static void deadlines_are_kept(void **state)
{
	static const char request[] = "\x94\x00\x01\xa6"
				      "append\x91\x83\xa6stream\xa1x\xa6"
				      "events\x91\x82\xa4type\xa1t\xa4"
				      "data\xa0\xaatimeout_ms\x32";
	struct fake_client client;
	struct answer answer;

	(void)state;
	for (int leads = 0; leads <= 1; leads++) {
		whole.status.role = leads ? REPLICA_LEADER : REPLICA_FOLLOWER;
		whole.status.leader_id = 0;
		fake_client_open(&client, &whole);
		session_receive(client.session, (const uint8_t *)request, sizeof request - 1);
		for (int i = 0; i < 2000 && session_requests_in_flight(client.session) > 0; i++) {
			deadlines_advance(whole.node.deadlines, clock_monotonic_ms());
			usleep(1000);
		}
		session_flush(client.session);
		struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

		assert_true(next_answer(&reader, &answer));
		assert_string_equal(answer.code, leads ? "TIMEOUT" : "NO_LEADER");
		fake_client_close_session(&client);
	}
	whole.status.leader_id = 1;
	whole_node_turn(&whole);
}

/* ---- other methods ---- */

static void send_request(struct fake_client *client, const char *method, const char *params)
{
	struct buffer in = {0};

	begin_request(&in, 1, method);
	notation_append(&in, params);
	session_receive(client->session, in.data, in.size);
	buffer_close(&in);
}

/* The answer's texts; its value is not there any more. */
static struct answer ask(const char *method, const char *params)
{
	struct fake_client client;
	struct answer answer;

	fake_client_open(&client, &whole);
	send_request(&client, method, params);
	assert_true(fake_client_settle(&client, &whole));
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));

	assert_true(next_answer(&reader, &answer));
	fake_client_close_session(&client);
	answer.value = (struct span){0};
	return answer;
}

/* 0 where another allocator stands in for that of the library. */
static size_t allocated_bytes(void)
{
	struct mallinfo2 info = mallinfo2();

	return info.uordblks + info.hblkhd;
}

static void a_digest_that_waits_is_forgotten_when_it_ends(void **state)
{
	size_t before = allocated_bytes();
	struct fake_client client;

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_string_equal(
			ask("digest",
			    "{position: 4611686018427387904, timeout_ms: 5, pad: b'x' * 1048576}")
				.code,
			"NOT_READY");
	for (int i = 0; i < 10; i++) {
		fake_client_open(&client, &whole);
		send_request(&client, "digest",
			     "{position: 4611686018427387904, pad: b'x' * 1048576}");
		assert_int_equal(session_requests_in_flight(client.session), 1);
		fake_client_close_session(&client);
	}
	assert_true(allocated_bytes() < before + 4 * MIB);
}

static void a_digest_waits_for_its_position(void **state)
{
	struct fake_client client, writer;
	struct buffer in = {0};
	char params[64];

	(void)state;
	fake_client_open(&client, &whole);
	fake_client_open(&writer, &whole);
	snprintf(params, sizeof params, "{position: %llu}",
		 (unsigned long long)store_head(whole.node.store) + 1);
	send_request(&client, "digest", params);
	whole_node_turn(&whole);
	assert_int_equal(session_requests_in_flight(client.session), 1);
	write_append(&in, 1, "digested-1", 10);
	session_receive(writer.session, in.data, in.size);
	assert_true(fake_client_settle(&writer, &whole));
	assert_true(fake_client_settle(&client, &whole));
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.out));
	struct answer answer;

	assert_true(next_answer(&reader, &answer));
	assert_string_equal(answer.code, "");
	fake_client_close_session(&client);
	fake_client_close_session(&writer);
	buffer_close(&in);
}

/* Of every method: all that is optional may be nil, and what is required is missing then. */
static void nil_is_absent(void **state)
{
	static const struct {
		const char *method, *params, *code, *argument;
	} cases[] = {
		{"ping", "{timeout_ms: nil, forward: nil}", "", ""},
		{"append",
		 "{stream: 'nil-1', expected_version: nil, on_conflict: nil, timeout_ms: nil, "
		 "events: [{type: 'T', data: '', id: nil, metadata: nil, tags: nil}]}",
		 "", ""},
		{"read_stream",
		 "{stream: 'nil-1', from: nil, direction: nil, limit: nil, max_bytes: nil, "
		 "consistency: nil}",
		 "", ""},
		{"read_all",
		 "{query: nil, system: nil, from: nil, direction: nil, limit: nil, max_bytes: nil, "
		 "consistency: nil}",
		 "", ""},
		{"read_event", "{position: 1, id: nil, stream: nil, version: nil}", "", ""},
		{"stream_info", "{stream: 'nil-1', consistency: nil}", "", ""},
		{"subscribe",
		 "{stream: 'nil-1', query: nil, after: nil, window: nil, batch: nil, system: nil}",
		 "", ""},
		{"subscribe", "{stream: nil, query: 'all'}", "", ""},
		{"digest", "{position: nil}", "", ""},
		{"cluster_add",
		 "{id: 9, peer_address: '127.0.0.1:1', client_address: '127.0.0.1:2', role: nil}",
		 "", ""},
		{"cluster_transfer", "{id: nil}", "", ""},
		{"append", "{stream: nil, events: []}", "INVALID_ARGUMENT", "stream"},
		{"append", "{stream: 'nil-1', events: nil}", "INVALID_ARGUMENT", "events"},
		{"read_stream", "{stream: nil}", "INVALID_ARGUMENT", "stream"},
		{"stream_info", "{stream: nil}", "INVALID_ARGUMENT", "stream"},
		{"read_event", "{position: nil}", "INVALID_ARGUMENT", "position"},
		{"read_event", "{stream: 'nil-1', version: nil}", "INVALID_ARGUMENT", "version"},
		{"subscribe", "{stream: nil}", "INVALID_ARGUMENT", "stream"},
		{"unsubscribe", "{subscription: nil}", "INVALID_ARGUMENT", "subscription"},
		{"cluster_add", "{id: 9, peer_address: nil}", "INVALID_ARGUMENT", "peer_address"},
		{"cluster_assign", "{id: 9, role: nil}", "INVALID_ARGUMENT", "role"},
		{"cluster_remove", "{id: nil}", "INVALID_ARGUMENT", "id"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct answer answer = ask(cases[i].method, cases[i].params);

		if (strcmp(answer.code, cases[i].code) != 0 ||
		    strcmp(answer.argument, cases[i].argument) != 0)
			fail_msg("%s %s: %s %s", cases[i].method, cases[i].params, answer.code,
				 answer.argument);
	}
}

/* OVERLOADED says that nothing was proposed; the fake replica has a fate for each id. */
static void changes_of_members_have_their_codes(void **state)
{
	(void)state;
	assert_string_equal(ask("cluster_assign", "{id: 1, role: 'voter'}").code, "OVERLOADED");
	assert_string_equal(ask("cluster_assign", "{id: 2, role: 'voter'}").code, "TIMEOUT");
	assert_string_equal(ask("cluster_assign", "{id: 2, role: 'voter'}").outcome, "unknown");
	/* It is to ask whoever leads now; nobody does. */
	assert_string_equal(ask("cluster_assign", "{id: 3, role: 'voter'}").code, "NO_LEADER");
	assert_string_equal(ask("cluster_assign", "{id: 4, role: 'voter'}").code, "");
	assert_string_equal(ask("cluster_remove", "{id: 1}").code, "NOT_FOUND");
	assert_string_equal(ask("cluster_transfer", "{id: 1}").code, "TIMEOUT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_is_answered),
		cmocka_unit_test(messages_may_be_cut_anywhere),
		cmocka_unit_test(messages_may_come_byte_by_byte),
		cmocka_unit_test(what_is_no_message_ends_the_session),
		cmocka_unit_test(memory_grows_with_what_has_come_only),
		cmocka_unit_test(wrong_envelopes_are_refused_by_name),
		cmocka_unit_test(params_have_a_bound),
		cmocka_unit_test(too_many_requests_stall_the_session),
		cmocka_unit_test(unsent_answers_stall_the_session),
		cmocka_unit_test(requests_in_flight_outlive_their_session),
		cmocka_unit_test(refusals_have_their_codes),
		cmocka_unit_test(deadlines_are_kept),
		cmocka_unit_test(a_digest_that_waits_is_forgotten_when_it_ends),
		cmocka_unit_test(a_digest_waits_for_its_position),
		cmocka_unit_test(nil_is_absent),
		cmocka_unit_test(changes_of_members_have_their_codes),
	};

	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
