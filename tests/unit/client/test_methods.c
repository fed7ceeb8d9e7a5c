/* Counts, names, checkpoints, snapshots: what is asked, over scripted nodes, and what is understood. */
#include "client/tool.h"
#include "tests/unit/client/peer.h"

#define HEAD 90

/* The last request as JSON, and how it is answered. */
struct script {
	char asked[1024];
	int requests;
	void (*answer)(struct peer_request *request);
	bool lose_first; /* the connection ends instead of the first answer */
};

static void note(struct peer_request *request)
{
	struct script *script = request->arg;
	json_t *params = tool_json_from_msgpack(request->params);

	json_object_del(params, "timeout_ms");
	json_object_del(params, "forward");
	char *text = json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS);

	snprintf(script->asked, sizeof script->asked, "%.*s %s", (int)request->method.size,
		 (const char *)request->method.data, text);
	free(text);
	json_decref(params);
	script->requests++;
	if (script->lose_first && script->requests == 1)
		request->close = true;
	else
		script->answer(request);
}

static struct annal_client *begin(struct peers *peers, struct script *script)
{
	peers_begin(peers, note, script, "timeout_ms=10000&session=on");
	struct annal_client *client = peers_client(peers);

	return client;
}

static void end(struct peers *peers, struct annal_client *client)
{
	annal_client_free(client);
	peers_end(peers);
}

/* ---- names ---- */

static void answer_names(struct peer_request *request)
{
	static const char *const keys[][2] = {{"stream_list", "streams"},
					      {"category_list", "categories"},
					      {"type_list", "types"}};

	peer_result(request);
	msgpack_write_map(request->out, 4);
	for (size_t i = 0; i < COUNT_OF(keys); i++)
		if (peer_is(request, keys[i][0]))
			msgpack_write_string(request->out, keys[i][1]);
	msgpack_write_array(request->out, 2);
	msgpack_write_array(request->out, 2);
	msgpack_write_string(request->out, "A");
	msgpack_write_u64(request->out, 3);
	msgpack_write_array(request->out, 3); /* a later version says more */
	msgpack_write_string(request->out, "B");
	msgpack_write_u64(request->out, UINT64_MAX);
	msgpack_write_nil(request->out);
	wire_write_text(request->out, "next", "B");
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, false);
	wire_write_number(request->out, "head", HEAD);
}

static void names_come_with_their_numbers(void **state)
{
	static const struct {
		enum annal_code (*list)(struct annal_client *client, const struct annal_list *list,
					struct annal_names **names);
		struct annal_list request;
		const char *asked;
	} cases[] = {
		{annal_list_streams, {0}, "stream_list {}"},
		{annal_list_streams,
		 {.prefix = "A", .category = "C", .after = {"A-1", 3}, .limit = 7},
		 "stream_list {\"after\":\"A-1\",\"category\":\"C\",\"consistency\":"
		 "{\"at_least\":90},\"limit\":7,\"prefix\":\"A\"}"},
		{annal_list_categories, {0}, "category_list {\"consistency\":{\"at_least\":90}}"},
		{annal_list_types, {0}, "type_list {\"consistency\":{\"at_least\":90}}"},
	};
	struct script script = {.answer = answer_names};
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct annal_names *names;

		assert_int_equal(cases[i].list(client, &cases[i].request, &names), ANNAL_OK);
		assert_string_equal(script.asked, cases[i].asked);
		assert_int_equal(names->count, 2);
		assert_memory_equal(names->items[0].name.data, "A", 1);
		assert_int_equal(names->items[0].number, 3);
		assert_true(names->items[1].number == UINT64_MAX);
		assert_memory_equal(names->next.data, "B", 1);
		assert_false(names->end);
		assert_int_equal(names->head, HEAD);
		annal_names_free(names);
	}
	end(&peers, client);
}

static void answer_number(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 2);
	wire_write_number(request->out, peer_is(request, "count") ? "count" : "position", 12);
	wire_write_number(request->out, "head", HEAD);
}

static void numbers_are_asked_for_by_query_and_time(void **state)
{
	const char *const tags[] = {"a"};
	const struct annal_query_item item = {.tags = {tags, 1}};
	const struct annal_query query = {&item, 1};
	struct script script = {.answer = answer_number};
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);
	uint64_t number = 0;

	(void)state;
	assert_int_equal(annal_count(client, &query, &number), ANNAL_OK);
	assert_int_equal(number, 12);
	assert_string_equal(script.asked, "count {\"query\":[{\"tags\":[\"a\"]}]}");
	assert_int_equal(annal_client_position(client), HEAD);
	assert_int_equal(annal_count(client, NULL, &number), ANNAL_OK);
	assert_string_equal(script.asked,
			    "count {\"consistency\":{\"at_least\":90},\"query\":\"all\"}");
	assert_int_equal(annal_position_at(client, -5, &number), ANNAL_OK);
	assert_int_equal(number, 12);
	assert_string_equal(script.asked,
			    "position_at {\"consistency\":{\"at_least\":90},\"time\":-5}");
	end(&peers, client);
}

/* ---- checkpoints ---- */

static void answer_put(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 2);
	wire_write_number(request->out, "position", 5);
	wire_write_number(request->out, "log_position", 77);
}

static void a_checkpoint_is_put_and_seen_afterwards(void **state)
{
	const uint64_t before = 0;
	struct script script = {.answer = answer_put};
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);

	(void)state;
	assert_int_equal(annal_checkpoint_put(client, &(struct annal_checkpoint){"me", 5, 0}, NULL),
			 ANNAL_OK);
	assert_string_equal(script.asked, "checkpoint_put {\"consumer\":\"me\",\"position\":5}");
	assert_int_equal(annal_client_position(client), 77);
	assert_int_equal(
		annal_checkpoint_put(client, &(struct annal_checkpoint){"me", 5, 3}, &before),
		ANNAL_OK);
	assert_string_equal(script.asked, "checkpoint_put {\"consumer\":\"me\",\"epoch\":3,"
					  "\"if_position\":0,\"position\":5}");
	assert_int_equal(annal_checkpoint_delete(client, "me"), ANNAL_OK);
	assert_string_equal(script.asked, "checkpoint_delete {\"consumer\":\"me\"}");
	assert_int_equal(annal_checkpoint_put(client, &(struct annal_checkpoint){0}, NULL),
			 ANNAL_INVALID_ARGUMENT);
	assert_int_equal(script.requests, 3);
	end(&peers, client);
}

/* With if_position a second attempt would be refused for what the first one did. */
static void a_lost_put_is_done_again_only_without_if_position(void **state)
{
	const struct annal_checkpoint checkpoint = {"me", 5, 0};
	const uint64_t before = 4;

	(void)state;
	for (int with = 0; with < 2; with++) {
		struct script script = {.answer = answer_put, .lose_first = true};
		struct peers peers;
		struct annal_client *client = begin(&peers, &script);
		enum annal_code code =
			annal_checkpoint_put(client, &checkpoint, with ? &before : NULL);

		assert_int_equal(code, with ? ANNAL_UNREACHABLE : ANNAL_OK);
		if (with)
			assert_true(annal_client_error(client)->outcome_unknown);
		assert_int_equal(script.requests, with ? 1 : 2);
		end(&peers, client);
	}
}

static void refuse_put(struct peer_request *request)
{
	peer_error(request, "CHECKPOINT_CONFLICT", "epoch", NULL, 9);
}

static void a_checkpoint_conflict_tells_what_is_stored(void **state)
{
	struct script script = {.answer = refuse_put};
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);

	(void)state;
	assert_int_equal(annal_checkpoint_put(client, &(struct annal_checkpoint){"me", 5, 3}, NULL),
			 ANNAL_CHECKPOINT_CONFLICT);
	assert_int_equal(annal_client_error(client)->epoch, 9);
	end(&peers, client);
}

static void write_checkpoint(struct buffer *out, const char *consumer)
{
	msgpack_write_map(out, 5);
	wire_write_text(out, "consumer", consumer);
	wire_write_number(out, "position", 5);
	wire_write_number(out, "epoch", 2);
	wire_write_number(out, "updated", 1000);
	wire_write_number(out, "head", HEAD);
}

static void answer_checkpoints(struct peer_request *request)
{
	peer_result(request);
	if (peer_is(request, "checkpoint_get")) {
		write_checkpoint(request->out, "me");
		return;
	}
	msgpack_write_map(request->out, 4);
	msgpack_write_string(request->out, "checkpoints");
	msgpack_write_array(request->out, 2);
	write_checkpoint(request->out, "a");
	write_checkpoint(request->out, "b");
	msgpack_write_string(request->out, "next");
	msgpack_write_nil(request->out);
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, true);
	wire_write_number(request->out, "head", HEAD);
}

static void checkpoints_are_read_one_by_one_and_by_page(void **state)
{
	struct script script = {.answer = answer_checkpoints};
	struct annal_checkpoint_info info;
	struct annal_checkpoints *page;
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);

	(void)state;
	assert_int_equal(annal_checkpoint_get(client, "me", &info), ANNAL_OK);
	assert_string_equal(script.asked, "checkpoint_get {\"consumer\":\"me\"}");
	assert_memory_equal(info.consumer.data, "me", 2);
	assert_int_equal(info.position, 5);
	assert_int_equal(info.epoch, 2);
	assert_int_equal(info.updated_ns, 1000);
	assert_int_equal(annal_checkpoint_list(client, &(struct annal_list){.prefix = "m"}, &page),
			 ANNAL_OK);
	assert_string_equal(script.asked, "checkpoint_list {\"consistency\":{\"at_least\":90},"
					  "\"prefix\":\"m\"}");
	assert_int_equal(page->count, 2);
	assert_memory_equal(page->items[1].consumer.data, "b", 1);
	assert_int_equal(page->items[1].epoch, 2);
	assert_true(page->end);
	annal_checkpoints_free(page);
	end(&peers, client);
}

/* ---- snapshots ---- */

static void write_snapshot(struct buffer *out)
{
	msgpack_write_map(out, 4);
	wire_write_number(out, "version", 3);
	wire_write_text(out, "type", "T");
	msgpack_write_string(out, "data");
	msgpack_write_bin(out, span_of_string("xyz"));
	wire_write_number(out, "created", 1000);
}

static void answer_snapshot(struct peer_request *request)
{
	peer_result(request);
	if (peer_is(request, "snapshot_get"))
		write_snapshot(request->out);
	else
		msgpack_write_map(request->out, 0);
}

static void a_snapshot_goes_there_and_back(void **state)
{
	const struct annal_snapshot put = {3, annal_text("T"), annal_text("xyz"), 0};
	struct script script = {.answer = answer_snapshot};
	struct annal_snapshot got;
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);

	(void)state;
	assert_int_equal(annal_snapshot_put(client, "S", &put), ANNAL_OK);
	assert_string_equal(script.asked, "snapshot_put {\"data\":\"78797a\",\"stream\":\"S\","
					  "\"type\":\"T\",\"version\":3}");
	assert_int_equal(annal_snapshot_get(client, "S", 4, &got), ANNAL_OK);
	assert_string_equal(script.asked, "snapshot_get {\"max_version\":4,\"stream\":\"S\"}");
	assert_int_equal(got.version, 3);
	assert_int_equal(got.data.size, 3);
	assert_memory_equal(got.data.data, "xyz", 3);
	assert_int_equal(got.created_ns, 1000);
	assert_int_equal(annal_snapshot_delete(client, "S"), ANNAL_OK);
	assert_string_equal(script.asked, "snapshot_delete {\"stream\":\"S\"}");
	end(&peers, client);
}

static void write_aggregate(struct peer_request *request, bool with_snapshot)
{
	peer_result(request);
	msgpack_write_map(request->out, 6);
	msgpack_write_string(request->out, "snapshot");
	if (with_snapshot)
		write_snapshot(request->out);
	else
		msgpack_write_nil(request->out);
	msgpack_write_string(request->out, "events");
	msgpack_write_array(request->out, 1);
	peer_event(request->out, 60, 4);
	wire_write_number(request->out, "version", 9);
	wire_write_number(request->out, "next", 5);
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, false);
	wire_write_number(request->out, "head", HEAD);
}

static void answer_with_snapshot(struct peer_request *request)
{
	write_aggregate(request, true);
}

static void answer_without_snapshot(struct peer_request *request)
{
	write_aggregate(request, false);
}

static void a_stream_is_loaded_with_and_without_snapshot(void **state)
{
	(void)state;
	for (int with = 0; with < 2; with++) {
		struct script script = {.answer = with ? answer_with_snapshot
						       : answer_without_snapshot};
		struct annal_aggregate *aggregate;
		struct peers peers;
		struct annal_client *client = begin(&peers, &script);

		assert_int_equal(annal_load(client, "S", &aggregate), ANNAL_OK);
		assert_string_equal(script.asked, "load {\"stream\":\"S\"}");
		assert_true((aggregate->snapshot != NULL) == with);
		if (with)
			assert_int_equal(aggregate->snapshot->version, 3);
		assert_int_equal(aggregate->count, 1);
		assert_int_equal(aggregate->events[0].version, 4);
		assert_int_equal(aggregate->version, 9);
		assert_int_equal(aggregate->next, 5);
		assert_false(aggregate->end);
		annal_aggregate_free(aggregate);
		end(&peers, client);
	}
}

/* ---- backup ---- */

static void answer_backup(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 3);
	wire_write_text(request->out, "path", "/b");
	wire_write_number(request->out, "position", 8);
	wire_write_number(request->out, "bytes", 4000);
}

static void a_backup_is_never_asked_for_twice(void **state)
{
	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		struct script script = {.answer = answer_backup, .lose_first = lost};
		struct annal_backup backup;
		struct peers peers;
		struct annal_client *client = begin(&peers, &script);

		assert_int_equal(annal_backup(client, "/b", 0, &backup),
				 lost ? ANNAL_UNREACHABLE : ANNAL_OK);
		if (!lost)
			assert_int_equal(backup.bytes, 4000);
		assert_string_equal(script.asked, "backup {\"path\":\"/b\"}");
		assert_int_equal(script.requests, 1);
		end(&peers, client);
	}
}

/* ---- appends without events, reads in flight ---- */

static void answer_without_positions(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 1);
	msgpack_write_string(request->out, "duplicate");
	msgpack_write_bool(request->out, false);
}

static void an_append_may_check_and_commit_only(void **state)
{
	const struct annal_check check = {"S", {ANNAL_EXPECT_VERSION, 2}};
	const struct annal_checkpoint checkpoint = {"me", 5, 0};
	struct script script = {.answer = answer_without_positions};
	struct annal_append_result result;
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);

	(void)state;
	struct annal_append append = {
		.checks = &check, .checks_count = 1, .checkpoint = &checkpoint};

	assert_int_equal(annal_append(client, &append, &result), ANNAL_OK);
	assert_string_equal(script.asked, "append {\"checkpoint\":{\"consumer\":\"me\","
					  "\"position\":5},\"checks\":[{\"expected_version\":2,"
					  "\"stream\":\"S\"}],\"writes\":[]}");
	assert_int_equal(result.position, 0);
	append = (struct annal_append){0};
	assert_int_equal(annal_append(client, &append, &result), ANNAL_INVALID_ARGUMENT);
	end(&peers, client);
}

static void answer_page(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 3);
	msgpack_write_string(request->out, "events");
	msgpack_write_array(request->out, 1);
	peer_event(request->out, peer_number(request, "from"), 1);
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, true);
	wire_write_number(request->out, "head", HEAD);
}

static void note_page(void *arg, enum annal_code code, const struct annal_page *page,
		      const struct annal_error *error)
{
	uint64_t *sum = arg;

	assert_int_equal(code, ANNAL_OK);
	assert_null(error);
	assert_int_equal(page->count, 1);
	*sum += page->events[0].position;
}

static void note_bad_page(void *arg, enum annal_code code, const struct annal_page *page,
			  const struct annal_error *error)
{
	enum annal_code *into = arg;

	assert_null(page);
	assert_non_null(error);
	*into = code;
}

static void many_reads_are_in_flight(void **state)
{
	struct script script = {.answer = answer_page};
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);
	enum annal_code code = ANNAL_OK;
	uint64_t sum = 0;

	(void)state;
	for (uint64_t from = 1; from <= 100; from++) {
		const struct annal_read read = {.from = from, .limit = 1};

		assert_int_equal(annal_read_async(client, &read, note_page, &sum), ANNAL_OK);
	}
	while (annal_in_flight(client) > 0)
		annal_poll(client, 1000);
	assert_int_equal(sum, 5050);
	script.answer = answer_without_positions;
	assert_int_equal(
		annal_read_async(client, &(struct annal_read){.from = 1}, note_bad_page, &code),
		ANNAL_OK);
	while (annal_in_flight(client) > 0)
		annal_poll(client, 1000);
	assert_int_equal(code, ANNAL_BAD_ANSWER);
	end(&peers, client);
}

/* ---- hostile ---- */

static void answer_empty(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 0);
}

/* The beginning of a page that leads nowhere. */
static void answer_endless(struct peer_request *request)
{
	peer_result(request);
	msgpack_write_map(request->out, 2);
	msgpack_write_string(request->out,
			     peer_is(request, "stream_list") ? "streams" : "checkpoints");
	msgpack_write_array(request->out, 0);
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, false);
}

static void answers_of_another_shape_are_refused(void **state)
{
	struct script script = {.answer = answer_empty};
	const struct annal_list all = {0};
	struct annal_checkpoint_info info;
	struct annal_checkpoints *checkpoints;
	struct annal_aggregate *aggregate;
	struct annal_snapshot snapshot;
	struct annal_backup backup;
	struct annal_names *names;
	struct peers peers;
	struct annal_client *client = begin(&peers, &script);
	uint64_t number;

	(void)state;
	assert_int_equal(annal_count(client, NULL, &number), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_position_at(client, 1, &number), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_list_streams(client, &all, &names), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_checkpoint_get(client, "me", &info), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_checkpoint_list(client, &all, &checkpoints), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_snapshot_get(client, "S", 0, &snapshot), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_load(client, "S", &aggregate), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_backup(client, "/b", 0, &backup), ANNAL_BAD_ANSWER);
	script.answer = answer_endless;
	assert_int_equal(annal_list_streams(client, &all, &names), ANNAL_BAD_ANSWER);
	assert_int_equal(annal_checkpoint_list(client, &all, &checkpoints), ANNAL_BAD_ANSWER);
	end(&peers, client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_come_with_their_numbers),
		cmocka_unit_test(numbers_are_asked_for_by_query_and_time),
		cmocka_unit_test(a_checkpoint_is_put_and_seen_afterwards),
		cmocka_unit_test(a_lost_put_is_done_again_only_without_if_position),
		cmocka_unit_test(a_checkpoint_conflict_tells_what_is_stored),
		cmocka_unit_test(checkpoints_are_read_one_by_one_and_by_page),
		cmocka_unit_test(a_snapshot_goes_there_and_back),
		cmocka_unit_test(a_stream_is_loaded_with_and_without_snapshot),
		cmocka_unit_test(a_backup_is_never_asked_for_twice),
		cmocka_unit_test(an_append_may_check_and_commit_only),
		cmocka_unit_test(many_reads_are_in_flight),
		cmocka_unit_test(answers_of_another_shape_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
