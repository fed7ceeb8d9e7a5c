/* What a call becomes of, over scripted nodes: answers, retries, deadlines, hostile answers. */
#include "tests/unit/client/peer.h"

#define SEEN_MAX 64

/* What the nodes have seen, in order; written by their thread, read when the calls are over. */
struct script {
	int step;
	int seen_node[SEEN_MAX];
	uint8_t seen_id[SEEN_MAX][ANNAL_ID_BYTES];
	struct peers *peers;
};

static enum annal_code append_one(struct annal_client *client, struct annal_append_result *result)
{
	const struct annal_new_event event = {.type = "T", .data = annal_text("{}")};

	return annal_append_stream(client, "S", (struct annal_expect){0}, &event, 1, result);
}

/* Note where an append went, and the id of its event; the number of the step. */
static int note_append(struct peer_request *request)
{
	struct script *script = request->arg;
	struct msgpack_reader reader = msgpack_reader_of(peer_param(request, "events"));
	struct span key, id;
	uint32_t count;

	assert_true(script->step < SEEN_MAX);
	assert_true(msgpack_read_array(&reader, &count) && msgpack_read_map(&reader, &count) &&
		    msgpack_read_str(&reader, &key) && msgpack_read_bin(&reader, &id));
	script->seen_node[script->step] = request->node;
	memcpy(script->seen_id[script->step], id.data, ANNAL_ID_BYTES);
	return script->step++;
}

static void answer_at_once(struct peer_request *request)
{
	note_append(request);
	peer_appended(request, 41);
}

static void an_append_goes_to_the_leader(void **state)
{
	struct annal_append_result result;
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, answer_at_once, &script, "");
	atomic_store(&peers.leader, 2);
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(append_one(client, &result), ANNAL_OK);
	assert_int_equal(append_one(client, &result), ANNAL_OK);
	assert_int_equal(result.position, 41);
	assert_int_equal(annal_client_position(client), 41);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.seen_node[script.step - 1], 2);
}

/* Each refusal once, then success: all with the same id. */
static void refuse_in_every_safe_way(struct peer_request *request)
{
	struct script *script = request->arg;

	switch (note_append(request)) {
	case 0:
		peer_error(request, "NO_LEADER", "retry_after_ms", NULL, 1);
		break;
	case 1:
		peer_error(request, "OVERLOADED", "retry_after_ms", NULL, 1);
		break;
	case 2:
		peer_error(request, "TIMEOUT", "outcome", "unknown", 0);
		break;
	case 3:
		peer_error(request, "TIMEOUT", "outcome", "none", 0);
		break;
	case 4:
		peer_error(request, "NOT_LEADER", "leader", script->peers->addresses[1], 0);
		break;
	case 5:
		assert_int_equal(request->node, 1);
		peer_error(request, "SHUTTING_DOWN", "x", NULL, 0);
		break;
	case 6:
		request->close = true;
		break;
	default:
		peer_appended(request, 7);
		break;
	}
}

static void what_is_safe_is_tried_again_with_the_same_id(void **state)
{
	struct annal_append_result result;
	struct peers peers;
	struct script script = {.peers = &peers};

	(void)state;
	peers_begin(&peers, refuse_in_every_safe_way, &script, "timeout_ms=60000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(append_one(client, &result), ANNAL_OK);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.step, 8);
	for (int i = 1; i < script.step; i++)
		assert_memory_equal(script.seen_id[i], script.seen_id[0], ANNAL_ID_BYTES);
}

static void refuse_for_good(struct peer_request *request)
{
	note_append(request);
	peer_error(request, "STREAM_TOMBSTONED", "stream", "S", 0);
}

static void a_refusal_for_good_is_told_at_once(void **state)
{
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, refuse_for_good, &script, "timeout_ms=60000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(append_one(client, NULL), ANNAL_STREAM_TOMBSTONED);
	const struct annal_error *error = annal_client_error(client);

	assert_string_equal(error->message, "as the script says");
	assert_int_equal(error->stream.size, 1);
	assert_false(error->outcome_unknown);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.step, 1);
}

static void stay_silent(struct peer_request *request)
{
	struct script *script = request->arg;

	if (peer_is(request, "ping")) {
		peer_result(request);
		msgpack_write_map(request->out, 0);
	} else {
		script->step++;
	}
}

static void silence_ends_at_the_deadline_with_unknown_outcome(void **state)
{
	struct script script = {0};
	struct peers peers;
	struct annal_page *page;

	(void)state;
	peers_begin(&peers, stay_silent, &script, "timeout_ms=150");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(append_one(client, NULL), ANNAL_TIMEOUT);
	assert_true(annal_client_error(client)->outcome_unknown);
	assert_int_equal(annal_read_position(client, 1, &page), ANNAL_TIMEOUT);
	assert_false(annal_client_error(client)->outcome_unknown);
	annal_client_free(client);
	peers_end(&peers);
}

static void close_after_request(struct peer_request *request)
{
	struct script *script = request->arg;

	script->step++;
	request->close = true;
}

static void what_is_not_safe_is_not_tried_again(void **state)
{
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, close_after_request, &script, "timeout_ms=60000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_cluster_transfer(client, 2), ANNAL_UNREACHABLE);
	assert_true(annal_client_error(client)->outcome_unknown);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.step, 1);
}

static void nobody_there_is_told_with_addresses(void **state)
{
	char message[256];
	struct annal_client *client =
		annal_client_new("annal://127.0.0.1:1?timeout_ms=100", message, sizeof message);

	(void)state;
	assert_non_null(client);
	assert_int_equal(append_one(client, NULL), ANNAL_UNREACHABLE);
	assert_non_null(strstr(annal_client_error(client)->message, "127.0.0.1:1"));
	assert_non_null(strstr(annal_client_error(client)->message, "refused"));
	assert_false(annal_client_error(client)->outcome_unknown);
	annal_client_free(client);
}

static void bad_url_is_told(void **state)
{
	char message[256] = "";

	(void)state;
	assert_null(annal_client_new("nonsense", message, sizeof message));
	assert_non_null(strstr(message, "annal://HOST:PORT"));
	assert_null(annal_client_new("nonsense", NULL, 0));
}

/* ---- session ---- */

static void note_consistency(struct peer_request *request)
{
	struct script *script = request->arg;
	struct span raw = peer_param(request, "consistency");
	struct msgpack_reader reader = msgpack_reader_of(raw);
	uint64_t at_least = 0;
	struct span key;
	uint32_t pairs;

	if (peer_is(request, "append")) {
		peer_appended(request, 50);
		return;
	}
	if (raw.size > 0)
		assert_true(msgpack_read_map(&reader, &pairs) && msgpack_read_str(&reader, &key) &&
			    span_equal_string(key, "at_least") &&
			    msgpack_read_u64(&reader, &at_least));
	script->seen_node[script->step++] = (int)at_least;
	peer_result(request);
	msgpack_write_map(request->out, 3);
	msgpack_write_string(request->out, "events");
	msgpack_write_array(request->out, 1);
	peer_event(request->out, 60, 1);
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, true);
	wire_write_number(request->out, "head", 70);
}

static void read_append_read_read(const char *options, const int expected[3])
{
	const struct annal_read read = {.stream = "S"};
	struct script script = {0};
	struct peers peers;
	struct annal_page *page;

	peers_begin(&peers, note_consistency, &script, options);
	struct annal_client *client = peers_client(&peers);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(annal_read(client, &read, &page), ANNAL_OK);
		assert_int_equal(page->count, 1);
		assert_int_equal(page->events[0].position, 60);
		annal_page_free(page);
		if (i == 0)
			annal_client_observe(client, 72);
		if (i == 1)
			assert_int_equal(append_one(client, NULL), ANNAL_OK);
	}
	annal_client_free(client);
	peers_end(&peers);
	for (int i = 0; i < 3; i++)
		assert_int_equal(script.seen_node[i], expected[i]);
}

static void reads_never_go_back_in_a_session(void **state)
{
	(void)state;
	read_append_read_read("", (const int[]){0, 72, 72});
	read_append_read_read("session=off", (const int[]){0, 0, 0});
}

/* ---- many in flight ---- */

struct tally {
	struct annal_client *client;
	int done, again;
	enum annal_code blocking;
};

static void count_done(void *arg, enum annal_code code, const struct annal_append_result *result,
		       const struct annal_error *error)
{
	struct tally *tally = arg;
	struct annal_pong pong;

	(void)error;
	assert_int_equal(code, ANNAL_OK);
	assert_int_equal(result->position, 41);
	tally->done++;
	tally->blocking = annal_ping(tally->client, &pong);
	if (tally->again > 0) {
		const struct annal_new_event event = {.type = "T"};
		const struct annal_write write = {
			.stream = "S", .events = &event, .events_count = 1};
		const struct annal_append append = {.writes = &write, .writes_count = 1};

		tally->again--;
		assert_int_equal(annal_append_async(tally->client, &append, count_done, tally),
				 ANNAL_OK);
	}
}

static void answer_uncounted(struct peer_request *request)
{
	peer_appended(request, 41);
}

static void many_are_in_flight_and_callbacks_start_more(void **state)
{
	const struct annal_new_event event = {.type = "T"};
	const struct annal_write write = {.stream = "S", .events = &event, .events_count = 1};
	const struct annal_append append = {.writes = &write, .writes_count = 1};
	struct peers peers;

	(void)state;
	peers_begin(&peers, answer_uncounted, NULL, "timeout_ms=60000");
	struct tally tally = {.client = peers_client(&peers), .again = 500};

	for (int i = 0; i < 4096; i++)
		assert_int_equal(annal_append_async(tally.client, &append, count_done, &tally),
				 ANNAL_OK);
	assert_int_equal(tally.done, 0); /* never before the call has returned */
	assert_int_equal(annal_append_async(tally.client, &append, count_done, &tally),
			 ANNAL_MISUSE);
	size_t callbacks = 0;

	while (annal_in_flight(tally.client) > 0)
		callbacks += annal_poll(tally.client, 1000);
	assert_int_equal(tally.done, 4596);
	assert_int_equal(callbacks, 4596);
	assert_int_equal(tally.blocking, ANNAL_MISUSE);
	annal_client_free(tally.client);
	peers_end(&peers);
}

static void count_end(void *arg, enum annal_code code, const struct annal_append_result *result,
		      const struct annal_error *error)
{
	int *ended = arg;

	assert_int_equal(code, ANNAL_MISUSE);
	assert_null(result);
	assert_non_null(error);
	++*ended;
}

static void freeing_the_client_ends_what_is_in_flight(void **state)
{
	const struct annal_new_event event = {.type = "T"};
	const struct annal_write write = {.stream = "S", .events = &event, .events_count = 1};
	const struct annal_append append = {.writes = &write, .writes_count = 1};
	struct script script = {0};
	struct peers peers;
	int ended = 0;

	(void)state;
	peers_begin(&peers, stay_silent, &script, "");
	struct annal_client *client = peers_client(&peers);

	for (int i = 0; i < 10; i++)
		annal_append_async(client, &append, count_end, &ended);
	annal_poll(client, 50);
	annal_client_free(client);
	assert_int_equal(ended, 10);
	peers_end(&peers);
}

/* ---- hostile ---- */

static void answer_badly(struct peer_request *request)
{
	static const char *const answers[] = {
		"\xc1",                         /* no MessagePack: another node, to the end */
		"\xdd\xff\xff\xff\xff",         /* too long */
		"\x94\x01\x05",                 /* cut short */
		"\x94\x00\x05\xa1x\x90",        /* a request */
		"\x93\x02\xa5\x65rror\x91\x80", /* a last word */
	};
	struct script *script = request->arg;

	if (script->step == (int)COUNT_OF(answers)) {
		peer_appended(request, 1);
		return;
	}
	const char *answer = answers[script->step++];

	buffer_append(request->out, answer, strlen(answer));
	request->close = true;
}

static void nonsense_ends_the_connection_and_nothing_else(void **state)
{
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, answer_badly, &script, "timeout_ms=60000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(append_one(client, NULL), ANNAL_OK);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.step, 5);
}

static void answer_with_another_shape(struct peer_request *request)
{
	peer_result(request);
	if (peer_is(request, "append"))
		msgpack_write_array(request->out, 0);
	else
		msgpack_write_map(request->out, 0);
}

static void answers_of_another_shape_are_refused(void **state)
{
	const struct annal_read read = {0};
	struct annal_page *page;
	struct peers peers;
	struct annal_server server;
	struct annal_cluster_status status;

	(void)state;
	peers_begin(&peers, answer_with_another_shape, NULL, "");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(append_one(client, NULL), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_read(client, &read, &page), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_read_position(client, 1, &page), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_cluster_status(client, &status), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_hello(client, &server), ANNAL_BAD_ANSWER);
	annal_client_free(client);
	peers_end(&peers);
}

static void parameters_that_are_no_map_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {{"\x90", 1}, {"\x81\xa1", 2}, {"\xc1", 1}, {"\x80\x80", 2}, {"\xdf\xff", 2}};
	struct annal_client *client = annal_client_new("annal://127.0.0.1:1", NULL, 0);
	struct annal_bytes result;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_int_equal(annal_call(client, ANNAL_TARGET_READ, "x",
					    (struct annal_bytes){cases[i].bytes, cases[i].size},
					    &result),
				 ANNAL_INVALID_ARGUMENT);
	annal_client_free(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_url_is_told),
		cmocka_unit_test(nobody_there_is_told_with_addresses),
		cmocka_unit_test(parameters_that_are_no_map_are_refused),
		cmocka_unit_test(an_append_goes_to_the_leader),
		cmocka_unit_test(a_refusal_for_good_is_told_at_once),
		cmocka_unit_test(what_is_safe_is_tried_again_with_the_same_id),
		cmocka_unit_test(what_is_not_safe_is_not_tried_again),
		cmocka_unit_test(silence_ends_at_the_deadline_with_unknown_outcome),
		cmocka_unit_test(reads_never_go_back_in_a_session),
		cmocka_unit_test(many_are_in_flight_and_callbacks_start_more),
		cmocka_unit_test(freeing_the_client_ends_what_is_in_flight),
		cmocka_unit_test(nonsense_ends_the_connection_and_nothing_else),
		cmocka_unit_test(answers_of_another_shape_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
