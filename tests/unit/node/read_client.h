/* One client of a node's reading half: it calls, and looks at what it is answered. */
#ifndef TESTS_READ_CLIENT_H
#define TESTS_READ_CLIENT_H

#include "tests/unit/node/read_harness.h"

struct answer {
	struct span error, result; /* one of them is empty */
};

static struct harness harness;
static struct client client;
static struct buffer params;

/* Nobody talks to a peer but who waits for a barrier: the last call is looked at. */
struct peer_client {
	char address[ADDRESS_TEXT_BYTES];
};
static struct peer_call *peer_asked;
static uint32_t peer_calls;

struct peer_client *peer_client_new(struct uv_loop_s *loop, const char *address)
{
	struct peer_client *peer = memory_zeroed(1, sizeof *peer);

	(void)loop;
	snprintf(peer->address, sizeof peer->address, "%s", address);
	return peer;
}

void peer_client_call(struct peer_client *peer, struct peer_call *call, const char *method,
		      struct span map)
{
	(void)map;
	assert_string_equal(method, "$read_barrier");
	assert_string_equal(peer->address, harness.status.leader_address);
	peer_asked = call;
	peer_calls++;
}

static inline void peer_answer(enum peer_result result, uint64_t position)
{
	struct buffer value;
	struct peer_call *call = peer_asked;

	assert_non_null(call);
	peer_asked = NULL;
	buffer_init(&value);
	params_format(&value, "{su", 1, "position", position);
	call->done(call, result, (struct span){0},
		   result == PEER_ANSWERED ? buffer_span(&value) : (struct span){0});
	buffer_close(&value);
}

void peer_client_free(struct peer_client *peer)
{
	if (peer_asked != NULL)
		peer_answer(PEER_UNKNOWN, 0);
	memory_free(peer);
}

static inline int setup(void **state)
{
	(void)state;
	harness_init(&harness);
	client_open(&client, &harness);
	buffer_init(&params);
	peer_asked = NULL;
	peer_calls = 0;
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	if (client.session != NULL)
		client_close(&client);
	harness_close(&harness);
	buffer_close(&params);
	return 0;
}

/* The next answer, whichever it is; its msgid. false: none has come. */
static inline bool take_answer(struct answer *answer, uint64_t *msgid)
{
	static struct buffer kept;
	uint64_t kind;
	uint32_t count;

	session_flush(client.session);
	if (client.received.size == 0)
		return false;
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.received));
	assert_true(msgpack_read_array(&reader, &count) && count == 4);
	assert_true(msgpack_read_u64(&reader, &kind) && kind == 1);
	assert_true(msgpack_read_u64(&reader, msgid));
	size_t size = (size_t)(reader.at - client.received.data);
	struct msgpack_reader rest = reader;
	assert_true(msgpack_read_skip(&rest) && msgpack_read_skip(&rest));
	buffer_close(&kept);
	kept.data = NULL;
	buffer_append(&kept, reader.at, (size_t)(rest.at - reader.at));
	buffer_consume(&client.received, size + (size_t)(rest.at - reader.at));
	reader = msgpack_reader_of(buffer_span(&kept));
	*answer = (struct answer){0};
	if (!msgpack_read_nil(&reader))
		assert_true(msgpack_read_raw(&reader, &answer->error));
	if (!msgpack_read_nil(&reader))
		assert_true(msgpack_read_raw(&reader, &answer->result));
	return true;
}

static inline struct answer call(const char *method, struct span map)
{
	struct answer answer;
	uint32_t sent = client_send(&client, method, map);
	uint64_t msgid = 0;

	harness_settle(&harness);
	assert_true(take_answer(&answer, &msgid));
	assert_int_equal(msgid, sent);
	return answer;
}

static inline void assert_error(struct answer answer, const char *code)
{
	assert_int_equal(answer.result.size, 0);
	if (!map_is_text(answer.error, "code", code))
		fail_msg("the error is not %s", code);
}

/* The number in place `field` of each event: 0 positions, 1 versions. */
static inline void assert_events(struct answer answer, uint32_t field, const uint64_t *expected,
				 uint32_t expected_count)
{
	struct msgpack_reader reader = msgpack_reader_of(map_find(answer.result, "events"));
	struct span event;
	uint32_t count;

	assert_int_equal(answer.error.size, 0);
	assert_true(msgpack_read_array(&reader, &count));
	assert_int_equal(count, expected_count);
	for (uint32_t i = 0; i < count; i++) {
		struct record record;

		assert_true(msgpack_read_raw(&reader, &event));
		assert_int_equal(record_parse(event, &record), 0);
		assert_int_equal(record.bytes.size, event.size);
		assert_int_equal(field == 0 ? record.position : record.version, expected[i]);
	}
	assert_true(reader.at == reader.end);
}

#define ASSERT_EVENTS(answer, field, ...)                                                          \
	assert_events(answer, field, (const uint64_t[]){__VA_ARGS__},                              \
		      sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

#endif
