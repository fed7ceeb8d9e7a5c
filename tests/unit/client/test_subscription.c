/* Subscriptions over scripted nodes: nothing is left out, nothing comes twice, whoever goes away. */
#include "tests/unit/client/peer.h"

struct script {
	int subscribes;
	uint64_t after[8]; /* of each subscribe */
	uint64_t credits;
	int step;
};

static void accept_subscription(struct peer_request *request)
{
	struct script *script = request->arg;

	assert_true(script->subscribes < 8);
	script->after[script->subscribes++] = peer_number(request, "after");
	peer_result(request);
	msgpack_write_map(request->out, 2);
	wire_write_number(request->out, "subscription", 9);
	wire_write_number(request->out, "head", 100);
}

/* Events first … last of a stream whose version n has position 10 n. */
static void send_events(struct peer_request *request, uint64_t first, uint64_t last)
{
	msgpack_write_array(request->out, 3);
	msgpack_write_u64(request->out, 2);
	msgpack_write_string(request->out, "events");
	msgpack_write_array(request->out, 3);
	msgpack_write_u64(request->out, 9);
	msgpack_write_array(request->out, (uint32_t)(last - first + 1));
	for (uint64_t version = first; version <= last; version++)
		peer_event(request->out, version * 10, version);
	msgpack_write_u64(request->out, last * 10);
}

static void send_mark(struct peer_request *request, const char *what, uint64_t position)
{
	msgpack_write_array(request->out, 3);
	msgpack_write_u64(request->out, 2);
	msgpack_write_string(request->out, what);
	msgpack_write_array(request->out, 2);
	msgpack_write_u64(request->out, 9);
	msgpack_write_u64(request->out, position);
}

static void send_dropped(struct peer_request *request, const char *code)
{
	msgpack_write_array(request->out, 3);
	msgpack_write_u64(request->out, 2);
	msgpack_write_string(request->out, "dropped");
	msgpack_write_array(request->out, 3);
	msgpack_write_u64(request->out, 9);
	msgpack_write_map(request->out, 2);
	wire_write_text(request->out, "code", code);
	wire_write_text(request->out, "message", "as the script says");
	msgpack_write_u64(request->out, 0);
}

static struct annal_item next_item(struct annal_subscription *subscription)
{
	struct annal_item item;

	for (int i = 0; i < 300; i++) {
		assert_int_equal(annal_subscription_next(subscription, 100, &item), ANNAL_OK);
		if (item.kind != ANNAL_ITEM_NONE)
			return item;
	}
	fail_msg("nothing came within 30 s");
	return item;
}

static void expect_events(struct annal_subscription *subscription, uint64_t first, uint64_t last)
{
	for (uint64_t version = first; version <= last; version++) {
		struct annal_item item = next_item(subscription);

		assert_int_equal(item.kind, ANNAL_ITEM_EVENT);
		assert_int_equal(item.event.version, version);
		assert_int_equal(item.position, version * 10);
	}
}

/* ---- resuming ---- */

static void end_in_every_way(struct peer_request *request)
{
	struct script *script = request->arg;

	if (!peer_is(request, "subscribe"))
		return;
	if (script->subscribes == 3) { /* not yet: again, elsewhere */
		peer_error(request, "NOT_READY", "head", NULL, 1);
		script->after[script->subscribes++] = peer_number(request, "after");
		return;
	}
	accept_subscription(request);
	switch (script->subscribes) {
	case 1: /* the connection ends between two messages */
		send_events(request, 1, 3);
		send_mark(request, "caught_up", 30);
		request->close = true;
		break;
	case 2: /* a node that goes, and repeats more than it was asked for */
		send_events(request, 2, 5);
		send_dropped(request, "SHUTTING_DOWN");
		break;
	case 3: { /* the connection ends within a message */
		send_events(request, 6, 9);
		request->out->size -= 5;
		request->close = true;
		break;
	}
	default:
		send_events(request, script->after[script->subscribes - 1] + 1, 12);
		send_mark(request, "caught_up", 120);
		break;
	}
}

static void it_resumes_without_gap_or_repeat(void **state)
{
	const struct annal_subscribe subscribe = {.stream = "S"};
	struct annal_subscription *subscription;
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, end_in_every_way, &script, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_subscribe(client, &subscribe, &subscription), ANNAL_OK);
	expect_events(subscription, 1, 3);
	assert_int_equal(next_item(subscription).kind, ANNAL_ITEM_CAUGHT_UP);
	assert_int_equal(next_item(subscription).kind, ANNAL_ITEM_FELL_BEHIND);
	expect_events(subscription, 4, 12);
	assert_int_equal(next_item(subscription).kind, ANNAL_ITEM_CAUGHT_UP);
	assert_string_not_equal(annal_subscription_node(subscription), "");
	annal_subscription_free(subscription);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.subscribes, 5);
	assert_int_equal(script.after[0], 0);
	assert_int_equal(script.after[1], 3);
	assert_int_equal(script.after[2], 5);
	assert_int_equal(script.after[3], 5);
	assert_int_equal(script.after[4], 5);
}

/* ---- the whole store ---- */

static void send_checkpoints(struct peer_request *request)
{
	struct script *script = request->arg;

	if (!peer_is(request, "subscribe"))
		return;
	accept_subscription(request);
	if (script->subscribes == 1) {
		send_events(request, 1, 2);
		send_mark(request, "checkpoint", 77);
		request->close = true;
	} else {
		send_events(request, 8, 8);
	}
}

static void checkpoints_are_resumed_behind(void **state)
{
	const struct annal_subscribe subscribe = {.after = 4};
	struct annal_subscription *subscription;
	struct script script = {0};
	struct annal_item item;
	struct peers peers;

	(void)state;
	peers_begin(&peers, send_checkpoints, &script, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_subscribe(client, &subscribe, &subscription), ANNAL_OK);
	expect_events(subscription, 1, 2);
	item = next_item(subscription);
	assert_int_equal(item.kind, ANNAL_ITEM_CHECKPOINT);
	assert_int_equal(item.position, 77);
	expect_events(subscription, 8, 8);
	annal_subscription_free(subscription);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.after[0], 4);
	assert_int_equal(script.after[1], 77);
}

static void answer_the_end(struct peer_request *request)
{
	if (peer_is(request, "subscribe")) {
		accept_subscription(request);
		return;
	}
	struct span raw = peer_param(request, "consistency");
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span word;

	assert_true(msgpack_read_str(&reader, &word) && span_equal_string(word, "linearizable"));
	peer_result(request);
	msgpack_write_map(request->out, 3);
	msgpack_write_string(request->out, "events");
	msgpack_write_array(request->out, 0);
	wire_write_number(request->out, "version", 17);
	wire_write_number(request->out, "head", 400);
}

static void the_end_is_a_place_and_not_a_word(void **state)
{
	const struct annal_subscribe cases[] = {{.stream = "S", .from_end = true},
						{.from_end = true}};
	struct annal_subscription *subscription;
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, answer_the_end, &script, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		assert_int_equal(annal_subscribe(client, &cases[i], &subscription), ANNAL_OK);
		annal_subscription_free(subscription);
	}
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.after[0], 17);
	assert_int_equal(script.after[1], 400);
}

/* ---- flow ---- */

/* Twenty events for each credit of ten or more, up to 100. */
static void send_by_credit(struct peer_request *request)
{
	struct script *script = request->arg;

	if (peer_is(request, "subscribe")) {
		assert_int_equal(peer_number(request, "window"), 20);
		accept_subscription(request);
		send_events(request, 1, 20);
		script->step = 20;
	} else if (peer_is(request, "credit")) {
		struct msgpack_reader reader = msgpack_reader_of(request->params);
		uint32_t count = 0;
		uint64_t id = 0, credit = 0;

		assert_true(msgpack_read_array(&reader, &count) && count == 2 &&
			    msgpack_read_u64(&reader, &id) && id == 9 &&
			    msgpack_read_u64(&reader, &credit) && credit <= 20);
		script->credits += credit;
		if (script->step < 100) {
			send_events(request, (uint64_t)script->step + 1,
				    (uint64_t)script->step + credit);
			script->step += (int)credit;
		}
	}
}

static void credit_is_given_for_what_was_taken(void **state)
{
	const struct annal_subscribe subscribe = {.stream = "S", .window = 20};
	struct annal_subscription *subscription;
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, send_by_credit, &script, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_subscribe(client, &subscribe, &subscription), ANNAL_OK);
	expect_events(subscription, 1, 100);
	annal_subscription_free(subscription);
	annal_client_free(client);
	peers_end(&peers);
	assert_true(script.credits >= 80);
}

/* ---- ends ---- */

static void drop_for_good(struct peer_request *request)
{
	if (!peer_is(request, "subscribe"))
		return;
	accept_subscription(request);
	send_events(request, 1, 1);
	send_dropped(request, "STREAM_TOMBSTONED");
}

static void an_end_for_good_is_told(void **state)
{
	const struct annal_subscribe subscribe = {.stream = "S"};
	struct annal_subscription *subscription;
	struct script script = {0};
	struct annal_item item;
	struct peers peers;

	(void)state;
	peers_begin(&peers, drop_for_good, &script, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_subscribe(client, &subscribe, &subscription), ANNAL_OK);
	expect_events(subscription, 1, 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(annal_subscription_next(subscription, 30000, &item),
				 ANNAL_STREAM_TOMBSTONED);
	annal_subscription_free(subscription);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.subscribes, 1);
}

static void refuse(struct peer_request *request)
{
	peer_error(request, "INVALID_ARGUMENT", "argument", "stream", 0);
}

static void a_refused_subscription_is_told(void **state)
{
	const struct annal_subscribe subscribe = {.stream = ""};
	struct annal_subscription *subscription;
	struct peers peers;

	(void)state;
	peers_begin(&peers, refuse, NULL, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_subscribe(client, &subscribe, &subscription),
			 ANNAL_INVALID_ARGUMENT);
	annal_client_free(client);
	peers_end(&peers);
}

static void send_nonsense(struct peer_request *request)
{
	static const char *const nonsense[] = {
		"\xc1",
		"\x93\x02\xa6\x65vents\x90",
		"\x93\x02\xa6\x65vents\x93\x09\x91\x90\x01",
		"\x93\x02\xa9\x63\x61ught_up\x92\x09\xc0",
		"\x93\x02\xa7\x64ropped\x93\x09\x80\x01",
	};
	struct script *script = request->arg;

	if (!peer_is(request, "subscribe"))
		return;
	accept_subscription(request);
	if (script->subscribes <= (int)COUNT_OF(nonsense)) {
		const char *bytes = nonsense[script->subscribes - 1];

		buffer_append(request->out, bytes, strlen(bytes));
	} else {
		send_events(request, 1, 2);
	}
}

static void nonsense_is_left_for_another_node(void **state)
{
	const struct annal_subscribe subscribe = {.stream = "S"};
	struct annal_subscription *subscription;
	struct script script = {0};
	struct peers peers;

	(void)state;
	peers_begin(&peers, send_nonsense, &script, "timeout_ms=30000");
	struct annal_client *client = peers_client(&peers);

	assert_int_equal(annal_subscribe(client, &subscribe, &subscription), ANNAL_OK);
	expect_events(subscription, 1, 2);
	annal_subscription_free(subscription);
	annal_client_free(client);
	peers_end(&peers);
	assert_int_equal(script.subscribes, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_refused_subscription_is_told),
		cmocka_unit_test(the_end_is_a_place_and_not_a_word),
		cmocka_unit_test(credit_is_given_for_what_was_taken),
		cmocka_unit_test(it_resumes_without_gap_or_repeat),
		cmocka_unit_test(checkpoints_are_resumed_behind),
		cmocka_unit_test(an_end_for_good_is_told),
		cmocka_unit_test(nonsense_is_left_for_another_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
