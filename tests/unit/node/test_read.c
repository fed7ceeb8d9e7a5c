/* Reads over a session: ranges, what is absent, what is wrong, and the two kinds of waiting. */
#include "tests/unit/node/read_client.h"

/* a has positions 1-3 and 7-8, $s has 4-6. */
static void fill(void)
{
	harness_append(&harness, "a", 3);
	harness_append(&harness, "$s", 3);
	harness_append(&harness, "a", 2);
}

static void a_stream_is_read_with_its_state(void **state)
{
	(void)state;
	fill();
	struct answer answer = call("read_stream", params_format(&params, "{ss", 1, "stream", "a"));

	ASSERT_EVENTS(answer, 1, 1, 2, 3, 4, 5);
	ASSERT_EVENTS(answer, 0, 1, 2, 3, 7, 8);
	assert_int_equal(map_u64(answer.result, "version"), 5);
	assert_int_equal(map_u64(answer.result, "first_version"), 1);
	assert_int_equal(map_u64(answer.result, "next"), 6);
	assert_int_equal(map_u64(answer.result, "head"), 8);
	assert_true(map_bool(answer.result, "end"));
	assert_true(map_is_text(answer.result, "state", "live"));
}

static void pages_of_a_stream(void **state)
{
	static const struct {
		const char *direction;
		uint64_t from, limit;
		uint64_t versions[5];
		uint32_t count;
		uint64_t next;
		bool end;
	} cases[] = {
		{"forward", 0, 2, {1, 2}, 2, 3, false},
		{"forward", 3, 2, {3, 4}, 2, 5, false},
		{"forward", 5, 2, {5}, 1, 6, true},
		{"forward", 6, 2, {0}, 0, 6, true},
		{"forward", 1000, 2, {0}, 0, 1000, true},
		{"forward", UINT64_MAX, 2, {0}, 0, UINT64_MAX, true},
		{"backward", 0, 2, {5, 4}, 2, 3, false},
		{"backward", 3, 2, {3, 2}, 2, 1, false},
		{"backward", 1, 2, {1}, 1, 0, true},
		{"backward", 1000, 5, {5, 4, 3, 2, 1}, 5, 0, true},
	};

	(void)state;
	fill();
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		if (i == COUNT_OF(cases) / 2)
			harness_flush(&harness);
		struct answer answer =
			call("read_stream", params_format(&params, "{sssssusu", 4, "stream", "a",
							  "direction", cases[i].direction, "from",
							  cases[i].from, "limit", cases[i].limit));

		assert_events(answer, 1, cases[i].versions, cases[i].count);
		assert_int_equal(map_u64(answer.result, "next"), cases[i].next);
		assert_int_equal(map_bool(answer.result, "end"), cases[i].end);
	}
}

static void all_is_read_without_system_records_unless_asked_for(void **state)
{
	(void)state;
	fill();
	ASSERT_EVENTS(call("read_all", params_format(&params, "{", 0)), 0, 1, 2, 3, 7, 8);
	ASSERT_EVENTS(call("read_all", params_format(&params, "{ss", 1, "query", "all")), 0, 1, 2,
		      3, 7, 8);
	ASSERT_EVENTS(call("read_all",
			   params_format(&params, "{sbsu", 2, "system", 1, "from", UINT64_C(3))),
		      0, 3, 4, 5, 6, 7, 8);
	struct answer answer = call("read_all", params_format(&params, "{sssu", 2, "direction",
							      "backward", "limit", UINT64_C(3)));
	ASSERT_EVENTS(answer, 0, 8, 7, 3);
	assert_int_equal(map_u64(answer.result, "next"), 2);
	assert_int_equal(map_u64(answer.result, "head"), 8);
}

static void an_empty_store_can_be_read(void **state)
{
	(void)state;
	struct answer answer = call("read_all", params_format(&params, "{", 0));

	assert_events(answer, 0, NULL, 0);
	assert_true(map_bool(answer.result, "end"));
	assert_int_equal(map_u64(answer.result, "next"), 1);
	assert_int_equal(map_u64(answer.result, "head"), 0);
}

static void a_page_is_bounded_in_bytes_but_has_one_event(void **state)
{
	(void)state;
	store_append(harness.node.store, ++harness.index, "a", 10, 1000);
	struct answer answer = call("read_stream", params_format(&params, "{sssu", 2, "stream", "a",
								 "max_bytes", UINT64_C(3500)));

	ASSERT_EVENTS(answer, 1, 1, 2, 3);
	assert_false(map_bool(answer.result, "end"));
	answer = call("read_stream",
		      params_format(&params, "{sssu", 2, "stream", "a", "max_bytes", UINT64_C(1)));
	ASSERT_EVENTS(answer, 1, 1);
	answer = call("read_stream",
		      params_format(&params, "{sssu", 2, "stream", "a", "max_bytes", UINT64_MAX));
	ASSERT_EVENTS(answer, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
}

static void one_event_by_position_id_or_version(void **state)
{
	struct buffer record;
	struct error error;

	(void)state;
	fill();
	buffer_init(&record);
	assert_int_equal(store_read_position(harness.node.store, 7, &record, &error), 0);
	for (int i = 0; i < 3; i++) {
		struct span map;

		if (i == 0)
			map = params_format(&params, "{su", 1, "position", UINT64_C(7));
		else if (i == 1)
			map = params_format(&params, "{sx", 1, "id", record_id(record.data));
		else
			map = params_format(&params, "{sssu", 2, "stream", "a", "version",
					    UINT64_C(4));
		struct answer answer = call("read_event", map);

		assert_true(span_equal(map_find(answer.result, "event"), buffer_span(&record)));
		assert_int_equal(map_u64(answer.result, "head"), 8);
	}
	buffer_close(&record);
}

static void what_is_not_there(void **state)
{
	static const uint8_t id[16] = {1};
	struct answer answer;

	(void)state;
	fill();
	answer = call("read_stream", params_format(&params, "{ss", 1, "stream", "no"));
	assert_error(answer, "STREAM_NOT_FOUND");
	assert_true(map_is_text(answer.error, "stream", "no"));
	assert_error(call("stream_info", params_format(&params, "{ss", 1, "stream", "no")),
		     "STREAM_NOT_FOUND");
	answer = call("read_event", params_format(&params, "{su", 1, "position", UINT64_C(9)));
	assert_error(answer, "NOT_FOUND");
	assert_true(map_is_text(answer.error, "what", "event"));
	assert_error(call("read_event", params_format(&params, "{sx", 1, "id", id)), "NOT_FOUND");
	assert_error(call("read_event", params_format(&params, "{sssu", 2, "stream", "a", "version",
						      UINT64_C(6))),
		     "NOT_FOUND");
	assert_error(call("read_event", params_format(&params, "{sssu", 2, "stream", "no",
						      "version", UINT64_C(1))),
		     "NOT_FOUND");
}

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *method, *argument, *format, *name;
		const char *value;
	} cases[] = {
		{"read_stream", "stream", "{ss", "no", "x"},
		{"read_stream", "stream", "{ss", "stream", ""},
		{"read_all", "direction", "{ss", "direction", "sideways"},
		{"read_all", "query", "{ss", "query", "some"},
		{"read_all", "limit", "{ss", "limit", "x"},
		{"read_all", "from", "{ss", "from", "x"},
		{"read_all", "max_bytes", "{ss", "max_bytes", "x"},
		{"read_all", "system", "{ss", "system", "x"},
		{"read_all", "consistency", "{ss", "consistency", "strong"},
		{"read_event", "position", "{ss", "no", "x"},
		{"read_event", "version", "{ss", "stream", "x"},
		{"read_event", "id", "{ss", "id", "0123456789abcdef"},
		{"subscribe", "stream", "{ss", "no", "x"},
		{"subscribe", "query", "{ss", "query", "x"},
		{"unsubscribe", "subscription", "{ss", "no", "x"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct answer answer =
			call(cases[i].method,
			     params_format(&params, "{ss", 1, cases[i].name, cases[i].value));

		assert_error(answer, "INVALID_ARGUMENT");
		assert_true(map_is_text(answer.error, "argument", cases[i].argument));
	}
	assert_error(call("read_event", params_format(&params, "{susx", 2, "position", UINT64_C(1),
						      "id", (const uint8_t *)"0123456789abcdef")),
		     "INVALID_ARGUMENT");
	assert_error(call("read_all", params_format(&params, "{su", 1, "limit", UINT64_C(0))),
		     "INVALID_ARGUMENT");
	assert_error(call("read_all", params_format(&params, "{su", 1, "limit", UINT64_C(10001))),
		     "INVALID_ARGUMENT");
}

static void info_of_a_stream(void **state)
{
	(void)state;
	fill();
	struct answer answer = call("stream_info", params_format(&params, "{ss", 1, "stream", "a"));

	assert_int_equal(map_u64(answer.result, "version"), 5);
	assert_int_equal(map_u64(answer.result, "first_version"), 1);
	assert_int_equal(map_u64(answer.result, "count"), 5);
	assert_int_equal(map_u64(answer.result, "created"), 1001);
	assert_int_equal(map_u64(answer.result, "updated"), 1003);
	assert_int_equal(map_u64(answer.result, "head"), 8);
	assert_true(map_is_text(answer.result, "state", "live"));
}

/* ---- waiting ---- */

static struct span at_least(uint64_t position, uint64_t timeout_ms)
{
	return params_format(&params, "{s{susu", 2, "consistency", 1, "at_least", position,
			     "timeout_ms", timeout_ms);
}

static void reads_wait_for_their_position_in_any_order(void **state)
{
	static const uint64_t wanted[] = {5, 2, 9, 7, 3, 8, 1, 4, 6};
	struct answer answer;
	uint64_t msgid;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(wanted); i++)
		client_send(&client, "read_all", at_least(wanted[i], 60000));
	for (uint64_t head = 1; head <= COUNT_OF(wanted); head++) {
		harness_settle(&harness);
		assert_false(take_answer(&answer, &msgid));
		harness_append(&harness, "a", 1);
		harness_settle(&harness);
		assert_true(take_answer(&answer, &msgid));
		assert_int_equal(wanted[msgid - 1], head);
		assert_int_equal(map_u64(answer.result, "head"), head);
	}
	assert_events(call("read_all", at_least(9, 60000)), 0,
		      (const uint64_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9}, 9);
}

static void wait_for_answer(struct answer *answer)
{
	uint64_t msgid;

	while (!take_answer(answer, &msgid))
		uv_run(&harness.loop, UV_RUN_ONCE);
}

static void a_position_that_does_not_come_is_not_ready(void **state)
{
	struct answer answer;

	(void)state;
	fill();
	client_send(&client, "read_all", at_least(UINT64_C(1) << 63, 20));
	wait_for_answer(&answer);
	assert_error(answer, "NOT_READY");
	assert_int_equal(map_u64(answer.error, "head"), 8);
	assert_int_equal(map_u64(answer.error, "wanted"), UINT64_C(1) << 63);
}

static struct span linearizable(uint64_t timeout_ms)
{
	return params_format(&params, "{sssu", 2, "consistency", "linearizable", "timeout_ms",
			     timeout_ms);
}

static void one_barrier_serves_all_that_came_before_it_was_asked_for(void **state)
{
	struct answer answer;
	uint64_t msgid;

	(void)state;
	fill();
	for (int i = 0; i < 3; i++)
		client_send(&client, "read_all", linearizable(60000));
	harness_settle(&harness);
	assert_int_equal(harness.barrier_count, 1);
	assert_false(take_answer(&answer, &msgid));
	harness_answer_barriers(&harness, 8);
	harness_settle(&harness);
	assert_true(take_answer(&answer, &msgid));
	assert_int_equal(msgid, 1);
	/* The other two came after it was asked for: another one serves them. */
	assert_false(take_answer(&answer, &msgid));
	assert_int_equal(harness.barrier_count, 1);
	harness_answer_barriers(&harness, 8);
	harness_settle(&harness);
	assert_true(take_answer(&answer, &msgid) && take_answer(&answer, &msgid));
	assert_int_equal(harness.barrier_count, 0);
}

static void a_lost_barrier_is_asked_for_again(void **state)
{
	struct answer answer;

	(void)state;
	fill();
	client_send(&client, "read_all", linearizable(60000));
	for (int i = 0; i < 3; i++) {
		harness_answer_barriers(&harness, REPLICA_NOT_LEADER);
		while (harness.barrier_count == 0)
			uv_run(&harness.loop, UV_RUN_ONCE);
	}
	harness_answer_barriers(&harness, 0); /* as an empty store says it */
	wait_for_answer(&answer);
	assert_int_equal(map_u64(answer.result, "head"), 8);
}

static void follow(uint64_t leader_id, const char *address)
{
	harness.status.role = REPLICA_FOLLOWER;
	harness.status.leader_id = leader_id;
	snprintf(harness.status.leader_address, sizeof harness.status.leader_address, "%s",
		 address);
}

static void a_follower_asks_the_leader_and_waits_for_its_position(void **state)
{
	struct answer answer;
	uint64_t msgid;

	(void)state;
	follow(2, "leader:1");
	fill();
	client_send(&client, "read_all", linearizable(60000));
	peer_answer(PEER_UNKNOWN, 0);
	while (peer_asked == NULL)
		uv_run(&harness.loop, UV_RUN_ONCE);
	peer_answer(PEER_ANSWERED, 9);
	harness_settle(&harness);
	assert_false(take_answer(&answer, &msgid));
	harness_append(&harness, "a", 1);
	wait_for_answer(&answer);
	assert_int_equal(map_u64(answer.result, "head"), 9);
}

static void a_new_leader_is_asked_at_once(void **state)
{
	struct answer answer;

	(void)state;
	follow(2, "leader:1");
	fill();
	client_send(&client, "read_all", linearizable(60000));
	assert_int_equal(peer_calls, 1);
	follow(3, "leader:2");
	while (peer_calls == 1) {
		notifier_role_changed(harness.node.notifier);
		uv_run(&harness.loop, UV_RUN_ONCE);
	}
	peer_answer(PEER_ANSWERED, 8);
	wait_for_answer(&answer);
	assert_int_equal(map_u64(answer.result, "head"), 8);
}

static void without_a_leader_a_linearizable_read_says_so(void **state)
{
	struct answer answer;

	(void)state;
	follow(0, "");
	client_send(&client, "read_all", linearizable(20));
	wait_for_answer(&answer);
	assert_error(answer, "NO_LEADER");
	assert_true(map_u64(answer.error, "retry_after_ms") > 0);
	follow(2, "leader:1");
	client_send(&client, "read_all", linearizable(20));
	wait_for_answer(&answer);
	assert_error(answer, "TIMEOUT");
	assert_true(map_is_text(answer.error, "outcome", "none"));
}

static void the_leader_tells_others_its_barrier(void **state)
{
	struct answer answer;
	uint64_t msgid;

	(void)state;
	fill();
	client_send(&client, "$read_barrier", params_format(&params, "{", 0));
	harness_answer_barriers(&harness, 8);
	assert_true(take_answer(&answer, &msgid));
	assert_int_equal(map_u64(answer.result, "position"), 8);
	client_send(&client, "$read_barrier", params_format(&params, "{", 0));
	harness_answer_barriers(&harness, REPLICA_NOT_LEADER);
	assert_true(take_answer(&answer, &msgid));
	assert_error(answer, "NOT_LEADER");
	follow(2, "leader:1");
	assert_error(call("$read_barrier", params_format(&params, "{", 0)), "NOT_LEADER");
}

/* ---- bounds, and ends ---- */

static void a_session_that_does_not_read_starts_no_more_reads(void **state)
{
	struct reader_status status;

	(void)state;
	harness.node.settings.out_queue_bytes = 64 * KIB;
	client.slow = true;
	store_append(harness.node.store, ++harness.index, "a", 100, 1000);
	for (int i = 0; i < 500; i++)
		client_send(&client, "read_all", params_format(&params, "{", 0));
	harness_settle(&harness);
	session_flush(client.session);
	reader_get_status(harness.node.reader, &status);
	assert_true(session_unsent(client.session) < 64 * KIB + LIMIT_SESSION_READS * 110 * KIB);
	assert_true(status.waiting > 0);
	while (status.reads < 500) {
		client.unsent = 0;
		session_set_unsent(client.session, 0);
		session_flush(client.session);
		harness_settle(&harness);
		session_flush(client.session);
		reader_get_status(harness.node.reader, &status);
	}
	assert_int_equal(status.waiting, 0);
	assert_int_equal(status.running_bytes_max, 0);
}

/* Large pages go out as they are, small answers with others: each whole, under its own number. */
static void large_pages_come_whole_beside_other_answers(void **state)
{
	static const uint64_t limits[] = {1000, 1, 100, 3, 1000, 1000, 2, 60, 70, 1};
	uint32_t msgids[COUNT_OF(limits)], seen = 0;

	(void)state;
	store_append(harness.node.store, ++harness.index, "a", 1000, 1000);
	for (int round = 0; round < 3; round++) { /* the later ones in memory of the first */
		for (size_t i = 0; i < COUNT_OF(limits); i++)
			msgids[i] =
				client_send(&client, "read_all",
					    params_format(&params, "{su", 1, "limit", limits[i]));
		harness_settle(&harness);
		session_flush(client.session);
		struct msgpack_reader reader = msgpack_reader_of(buffer_span(&client.received));
		for (seen = 0; seen < COUNT_OF(limits); seen++) {
			uint32_t elements, count;
			uint64_t type, msgid;
			struct span result;
			size_t which = 0;

			assert_true(msgpack_read_array(&reader, &elements) && elements == 4);
			assert_true(msgpack_read_u64(&reader, &type) && type == 1);
			assert_true(msgpack_read_u64(&reader, &msgid));
			assert_true(msgpack_read_nil(&reader) &&
				    msgpack_read_raw(&reader, &result));
			while (which < COUNT_OF(limits) && msgids[which] != msgid)
				which++;
			assert_in_range(which, 0, COUNT_OF(limits) - 1);
			struct msgpack_reader events =
				msgpack_reader_of(map_find(result, "events"));
			assert_true(msgpack_read_array(&events, &count));
			assert_int_equal(count, limits[which]);
			assert_int_equal(map_u64(result, "next"), limits[which] + 1);
			msgids[which] = 0;
		}
		assert_ptr_equal(reader.at, reader.end);
		buffer_clear(&client.received);
	}
}

/* Many in one turn of the loop, of streams that are small, large (which ends a worker's turn) and none. */
static void brief_reads_of_one_turn_are_answered_each(void **state)
{
	static const uint32_t counts[] = {1, 2, 400, 0, 3, 900, 5, 0, 7, 8};
	uint32_t sent[6 * COUNT_OF(counts)];
	char stream[16];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		snprintf(stream, sizeof stream, "s%zu", i);
		if (counts[i] > 0)
			store_append(harness.node.store, ++harness.index, stream, counts[i], 1000);
		if (i == 5)
			harness_flush(&harness);
	}
	for (size_t i = 0; i < COUNT_OF(sent); i++) {
		snprintf(stream, sizeof stream, "s%zu", i % COUNT_OF(counts));
		sent[i] = client_send(&client, i % 3 == 0 ? "stream_info" : "read_stream",
				      params_format(&params, "{ss", 1, "stream", stream));
	}
	harness_settle(&harness);
	for (size_t seen = 0; seen < COUNT_OF(sent); seen++) {
		struct answer answer;
		uint64_t msgid;
		size_t which = 0;

		assert_true(take_answer(&answer, &msgid));
		while (which < COUNT_OF(sent) && sent[which] != msgid)
			which++;
		assert_in_range(which, 0, COUNT_OF(sent) - 1);
		sent[which] = 0;
		if (counts[which % COUNT_OF(counts)] == 0)
			assert_error(answer, "STREAM_NOT_FOUND");
		else
			assert_int_equal(map_u64(answer.result, "version"),
					 counts[which % COUNT_OF(counts)]);
		if (counts[which % COUNT_OF(counts)] > 0 && which % 3 != 0)
			assert_int_equal(map_u64(answer.result, "next"),
					 counts[which % COUNT_OF(counts)] + 1);
	}
}

static void a_node_can_end_before_its_workers_hear_of_a_read(void **state)
{
	struct reader_status status;

	(void)state;
	fill();
	for (int i = 0; i < 3; i++)
		client_send(&client, "stream_info",
			    params_format(&params, "{ss", 1, "stream", "a"));
	reader_get_status(harness.node.reader, &status);
	assert_int_equal(status.running, 3);
	client_close(&client);
	client.session = NULL;
}

/* A turn of the loop does not do much of it; what does not lie in memory as a whole is for workers. */
static void what_is_small_and_in_memory_is_answered_at_once(void **state)
{
	static const uint32_t sizes[] = {100, LIMIT_AT_ONCE_RECORDS, LIMIT_AT_ONCE_RECORDS + 1};
	struct reader_status status;
	uint32_t running = 0;

	(void)state;
	store_append(harness.node.store, ++harness.index, "flushed", 10, 10);
	harness_flush(&harness);
	store_append(harness.node.store, ++harness.index, "large", 20, 8000);
	store_append(harness.node.store, ++harness.index, "middle", 50, 1000);
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		char stream[16];

		snprintf(stream, sizeof stream, "s%zu", i);
		store_append(harness.node.store, ++harness.index, stream, sizes[i], 10);
		client_send(&client, "read_stream",
			    params_format(&params, "{ss", 1, "stream", stream));
		reader_get_status(harness.node.reader, &status);
		running += sizes[i] > LIMIT_AT_ONCE_RECORDS;
		assert_int_equal(status.running, running);
	}
	client_send(&client, "read_stream", params_format(&params, "{ss", 1, "stream", "flushed"));
	client_send(&client, "read_stream", params_format(&params, "{ss", 1, "stream", "large"));
	reader_get_status(harness.node.reader, &status);
	assert_int_equal(status.running, running + 2);
	for (uint32_t i = 0; i < 2 * LIMIT_AT_ONCE_TURN_BYTES / 50000; i++)
		client_send(&client, "read_stream",
			    params_format(&params, "{ss", 1, "stream", "middle"));
	reader_get_status(harness.node.reader, &status);
	assert_in_range(status.running, running + 2 + 3, running + 2 + 7);
	harness_settle(&harness);
	reader_get_status(harness.node.reader, &status);
	assert_int_equal(status.running + status.waiting, 0);
	assert_int_equal(status.reads, 5 + 2 * LIMIT_AT_ONCE_TURN_BYTES / 50000);
}

/* Others hold so much that each has less, and smaller pages; who reads goes on, who does not, waits. */
static void while_the_node_holds_too_much_each_session_has_less(void **state)
{
	struct reader_status status;

	(void)state;
	store_append(harness.node.store, ++harness.index, "a", 1000, 1000);
	harness.node.unsent_bytes = LIMIT_NODE_UNSENT_BYTES + 1;
	client.slow = true;
	for (int i = 0; i < 10; i++)
		client_send(&client, "read_all", params_format(&params, "{", 0));
	harness_settle(&harness);
	session_flush(client.session);
	harness_settle(&harness);
	reader_get_status(harness.node.reader, &status);
	assert_int_equal(status.reads, 1);
	assert_true(session_unsent(client.session) <= LIMIT_PRESSED_PAGE_BYTES + KIB);
	assert_int_equal(harness.node.unsent_bytes,
			 LIMIT_NODE_UNSENT_BYTES + 1 + session_unsent(client.session));
	for (uint64_t reads = 1; reads < 10; reads = status.reads) {
		client.unsent = 0;
		session_set_unsent(client.session, 0);
		session_flush(client.session);
		harness_settle(&harness);
		session_flush(client.session);
		reader_get_status(harness.node.reader, &status);
		assert_int_equal(status.reads, reads + 1);
	}
	client.unsent = 0;
	session_set_unsent(client.session, 0);
	assert_int_equal(harness.node.unsent_bytes, LIMIT_NODE_UNSENT_BYTES + 1);
	harness.node.unsent_bytes = 0;
}

static void names_may_begin_with_a_dash(void **state)
{
	(void)state;
	for (int flushed = 0; flushed <= 1; flushed++) {
		harness_append(&harness, "-", 1);
		harness_append(&harness, "-1", 2);
		if (flushed)
			harness_flush(&harness);
	}
	ASSERT_EVENTS(call("read_stream", params_format(&params, "{ss", 1, "stream", "-")), 1, 1,
		      2);
	ASSERT_EVENTS(call("read_stream", params_format(&params, "{ss", 1, "stream", "-1")), 0, 2,
		      3, 5, 6);
}

static void a_session_can_go_with_reads_in_every_place(void **state)
{
	struct reader_status status;

	(void)state;
	fill();
	for (int i = 0; i < 300; i++) {
		client_send(&client, "read_all", params_format(&params, "{", 0));
		client_send(&client, "read_all", at_least(1000, 60000));
		client_send(&client, "read_all", linearizable(60000));
		client_send(&client, "read_stream",
			    params_format(&params, "{ss", 1, "stream", "a"));
	}
	client_close(&client);
	client.session = NULL;
	harness_settle(&harness);
	harness_answer_barriers(&harness, 8);
	harness_settle(&harness);
	reader_get_status(harness.node.reader, &status);
	assert_int_equal(status.waiting, 0);
	assert_int_equal(status.running, 0);
	client_open(&client, &harness);
	ASSERT_EVENTS(call("read_all", params_format(&params, "{", 0)), 0, 1, 2, 3, 7, 8);
}

static void reads_that_wait_when_the_node_ends_are_refused(void **state)
{
	struct answer answer;
	uint64_t msgid;

	(void)state;
	client_send(&client, "read_all", at_least(1000, 60000));
	client_send(&client, "read_all", linearizable(60000));
	reader_free(harness.node.reader);
	harness.node.reader = NULL;
	harness_answer_barriers(&harness, 0);
	for (int i = 0; i < 2; i++) {
		assert_true(take_answer(&answer, &msgid));
		assert_error(answer, "SHUTTING_DOWN");
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_stream_is_read_with_its_state),
		TEST(pages_of_a_stream),
		TEST(all_is_read_without_system_records_unless_asked_for),
		TEST(an_empty_store_can_be_read),
		TEST(a_page_is_bounded_in_bytes_but_has_one_event),
		TEST(one_event_by_position_id_or_version),
		TEST(what_is_not_there),
		TEST(what_is_wrong_is_named),
		TEST(info_of_a_stream),
		TEST(reads_wait_for_their_position_in_any_order),
		TEST(a_position_that_does_not_come_is_not_ready),
		TEST(one_barrier_serves_all_that_came_before_it_was_asked_for),
		TEST(a_lost_barrier_is_asked_for_again),
		TEST(a_follower_asks_the_leader_and_waits_for_its_position),
		TEST(a_new_leader_is_asked_at_once),
		TEST(without_a_leader_a_linearizable_read_says_so),
		TEST(the_leader_tells_others_its_barrier),
		TEST(a_session_that_does_not_read_starts_no_more_reads),
		TEST(large_pages_come_whole_beside_other_answers),
		TEST(brief_reads_of_one_turn_are_answered_each),
		TEST(a_node_can_end_before_its_workers_hear_of_a_read),
		TEST(what_is_small_and_in_memory_is_answered_at_once),
		TEST(while_the_node_holds_too_much_each_session_has_less),
		TEST(names_may_begin_with_a_dash),
		TEST(a_session_can_go_with_reads_in_every_place),
		TEST(reads_that_wait_when_the_node_ends_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
