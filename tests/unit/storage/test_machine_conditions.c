/* Conditions and checkpoints in the machine. */
#include "tests/unit/storage/machine_world.h"

static void append_event(struct world *world, struct ask_event event)
{
	struct ask ask = {.events = {event}};

	assert_int_equal(world_append(world, &ask)->code, ANSWER_OK);
}

/* ---- conditions ---- */

#define HEAD 7

static void store_events(struct world *world)
{
	append_event(world, (struct ask_event){"Order-1", 1, "placed", {"a"}});
	append_event(world, (struct ask_event){"Order-2", 2, "paid", {"b"}});
	append_event(world, (struct ask_event){"Order-1", 3, "paid", {"a", "b"}});
	append_event(world, (struct ask_event){"Cart-1", 4, "placed", {"c"}});
	append_event(world, (struct ask_event){"$snapshot-Order-1", 5, "placed", {"a"}});
	append_event(world, (struct ask_event){"Order-10", 6, "sent", {NULL}});
	append_event(world, (struct ask_event){"Cart-1", 7, "placed", {"a", "c"}});
	assert_int_equal(world->head.position, HEAD);
}

static const struct condition_row {
	uint32_t item_count;
	struct ask_item items[3];
	const char *matches; /* positions */
} condition_rows[] = {
	{0, {{.prefix = NULL}}, "123467"},
	{1, {{.types = {"placed"}}}, "147"},
	{1, {{.types = {"placed", "sent"}}}, "1467"},
	{1, {{.types = {"unknown"}}}, ""},
	{1, {{.tags = {"a"}}}, "137"},
	{1, {{.tags = {"a", "b"}}}, "3"},
	{1, {{.tags = {"b", "c"}}}, ""},
	{1, {{.types = {"placed"}, .tags = {"a"}}}, "17"},
	{1, {{.types = {"paid", "placed"}, .tags = {"b"}}}, "23"},
	{1, {{.categories = {"Order"}}}, "1236"},
	{1, {{.categories = {"Order", "Cart"}, .types = {"placed"}}}, "147"},
	{1, {{.categories = {"$snapshot"}}}, ""},
	{1, {{.streams = {"Order-1"}}}, "13"},
	{1, {{.streams = {"Order-1", "Cart-1"}, .tags = {"a"}}}, "137"},
	{1, {{.streams = {"$snapshot-Order-1"}}}, ""},
	{1, {{.prefix = "Order-1"}}, "136"},
	{1, {{.prefix = "Order-1", .types = {"placed"}}}, "1"},
	{1, {{.prefix = "$"}}, ""},
	{2, {{.types = {"sent"}}, {.tags = {"c"}}}, "467"},
	{2, {{.types = {"sent"}, .tags = {"a"}}, {.streams = {"Order-2"}}}, "2"},
	{3, {{.tags = {"x"}}, {.types = {"paid"}, .tags = {"a"}}, {.prefix = "Cart"}}, "347"},
	{3, {{.tags = {"x"}}, {.tags = {"y"}}, {.tags = {"z"}}}, ""},
};

static uint64_t first_match(const char *matches, uint64_t after)
{
	for (; *matches != 0; matches++)
		if ((uint64_t)(*matches - '0') > after)
			return (uint64_t)(*matches - '0');
	return 0;
}

static void check_condition(const struct condition_row *row, uint64_t after)
{
	struct ask ask = {.condition_count = 1,
			  .conditions = {{.after = after, .item_count = row->item_count}},
			  .events = {{.stream = "new", .id = 50}}};
	uint64_t wanted = first_match(row->matches, after);
	struct world world;

	memcpy(ask.conditions[0].items, row->items, sizeof row->items);
	world_init(&world);
	store_events(&world);
	for (int again = 0; again < 2; again++) {
		const struct outcome *outcome = world_append(&world, &ask);

		if (wanted == 0) {
			assert_int_equal(outcome->code, ANSWER_OK);
			assert_int_equal(outcome->duplicate, again);
			assert_int_equal(outcome->position, HEAD + 1);
			continue;
		}
		assert_int_equal(outcome->code, ANSWER_CONDITION_FAILED);
		assert_int_equal(outcome->condition_index, ASK_CONDITION_INDEX(0));
		assert_int_equal(outcome->condition_position, wanted);
		assert_int_equal(world.head.position, HEAD);
	}
	world_close(&world);
}

static void each_condition_behind_each_position(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(condition_rows); i++)
		for (uint64_t after = 0; after <= HEAD + 1; after++)
			check_condition(&condition_rows[i], after);
	check_condition(&condition_rows[0], UINT64_MAX);
}

static void the_first_condition_that_fails_is_told(void **state)
{
	static const char *const types[] = {"unknown", "sent", "paid"};
	static const struct {
		uint32_t picked[3];
		uint32_t index; /* 3: none fails */
		uint64_t position;
	} cases[] = {{{0, 0, 0}, 3, 0}, {{1, 0, 0}, 0, 6}, {{0, 1, 0}, 1, 6}, {{0, 0, 2}, 2, 2},
		     {{1, 2, 0}, 0, 6}, {{2, 1, 0}, 0, 2}, {{0, 2, 1}, 1, 2}, {{1, 1, 1}, 0, 6}};
	struct world world;

	(void)state;
	world_init(&world);
	store_events(&world);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct ask ask = {.condition_count = 3,
				  .events = {{.stream = "new", .id = 50 + i}}};

		for (int at = 0; at < 3; at++)
			ask.conditions[at] = (struct ask_condition){
				.item_count = 1,
				.items = {{.types = {types[cases[i].picked[at]]}}}};
		const struct outcome *outcome = world_append(&world, &ask);
		if (cases[i].index == 3) {
			assert_int_equal(outcome->code, ANSWER_OK);
			continue;
		}
		assert_int_equal(outcome->code, ANSWER_CONDITION_FAILED);
		assert_int_equal(outcome->condition_index, ASK_CONDITION_INDEX(cases[i].index));
		assert_int_equal(outcome->condition_position, cases[i].position);
	}
	world_close(&world);
}

/* Of writers with one condition, the first wins; others go on undisturbed. */
static void a_condition_sees_what_was_decided_just_before(void **state)
{
	struct world world;

	(void)state;
	world_init(&world);
	for (uint64_t writer = 0; writer < 6; writer++) {
		const char *tag = writer % 2 == 0 ? "even" : "odd";
		struct ask ask = {.condition_count = 1,
				  .conditions = {{.item_count = 1, .items = {{.tags = {tag}}}}},
				  .events = {{"s", 10 + writer, NULL, {tag}}}};
		const struct outcome *outcome = world_append(&world, &ask);

		if (writer < 2) {
			assert_int_equal(outcome->code, ANSWER_OK);
			continue;
		}
		assert_int_equal(outcome->code, ANSWER_CONDITION_FAILED);
		assert_int_equal(outcome->condition_position, 1 + writer % 2);
	}
	world_close(&world);
}

static void a_condition_that_looks_at_too_much_is_refused_in_its_turn(void **state)
{
	struct ask ask = {
		.condition_count = 2,
		.conditions = {{.after = 100}, {.item_count = 1, .items = {{.prefix = "O"}}}},
		.events = {{.stream = "new", .id = 50}}};
	struct world world;

	(void)state;
	world_init(&world);
	store_events(&world);
	world.too_wide = true;
	const struct outcome *outcome = world_append(&world, &ask);
	assert_int_equal(outcome->code, ANSWER_INVALID_ARGUMENT);
	assert_int_equal(outcome->condition_index, ASK_CONDITION_INDEX(1));
	static const char *const ways[] = {"types", "tags", "categories", "streams"};
	for (size_t i = 0; i < COUNT_OF(ways); i++)
		assert_non_null(strstr(outcome->message, ways[i]));
	ask.conditions[0].after = 0;
	assert_int_equal(world_append(&world, &ask)->code, ANSWER_CONDITION_FAILED);
	assert_int_equal(world.head.position, HEAD);
	world_close(&world);
}

/* The conditions of an append share what they may look at; the more names, the less deep each goes. */
static void conditions_share_a_budget(void **state)
{
	struct ask ask = {
		.condition_count = 3,
		.conditions = {{.after = 100},
			       {.item_count = 1, .items = {{.prefix = "Nothing"}}},
			       {.item_count = 2, .items = {{.prefix = "No"}, {.prefix = "None"}}}},
		.events = {{.stream = "new", .id = 50}}};
	struct world world;

	(void)state;
	world_init(&world);
	store_events(&world);
	for (int again = 0; again < 2; again++) {
		ask.events[0].id++;
		assert_int_equal(world_append(&world, &ask)->code, ANSWER_OK);
		assert_int_equal(world.budget.looks, LIMIT_CONDITION_SCAN - 2);
		assert_int_equal(world.budget.depth, LIMIT_CONDITION_SEEKS / 3);
	}
	world_close(&world);
}

static void conditions_alone_are_decided_too(void **state)
{
	struct ask ask = {.condition_count = 1, .conditions = {{.after = 6}}};
	struct world world;

	(void)state;
	world_init(&world);
	store_events(&world);
	const struct outcome *outcome = world_append(&world, &ask);
	assert_int_equal(outcome->code, ANSWER_CONDITION_FAILED);
	assert_int_equal(outcome->condition_position, 7);
	ask.conditions[0].after = 7;
	outcome = world_append(&world, &ask);
	assert_int_equal(outcome->code, ANSWER_OK);
	assert_int_equal(outcome->first_position, HEAD);
	assert_int_equal(outcome->position, HEAD);
	world_close(&world);
}

/* ---- checkpoints ---- */

#define NO_IF UINT64_MAX

static const struct checkpoint_row {
	const char *consumer;
	bool deleted;
	uint64_t position, epoch, if_position;
	enum answer_code code;
	uint64_t told_position, told_epoch; /* of a conflict */
} checkpoint_rows[] = {
	{"one", true, 0, 0, NO_IF, ANSWER_NOT_FOUND, 0, 0},
	{"one", true, 0, 0, 0, ANSWER_NOT_FOUND, 0, 0},
	{"one", false, 10, 0, 3, ANSWER_CHECKPOINT_CONFLICT, 0, 0},
	{"one", false, 10, 0, 0, ANSWER_OK, 0, 0},
	{"one", false, 10, 0, 0, ANSWER_CHECKPOINT_CONFLICT, 10, 0},
	{"one", false, 5, 0, NO_IF, ANSWER_OK, 0, 0}, /* going back is allowed */
	{"one", false, 20, 0, 10, ANSWER_CHECKPOINT_CONFLICT, 5, 0},
	{"one", false, 20, 0, 5, ANSWER_OK, 0, 0},
	{"one", false, 20, 0, NO_IF, ANSWER_OK, 0, 0},
	{"two", true, 0, 0, NO_IF, ANSWER_NOT_FOUND, 0, 0},
	{"two", false, 0, 0, NO_IF, ANSWER_OK, 0, 0}, /* at 0, and stored */
	/* fencing */
	{"one", false, 30, 2, NO_IF, ANSWER_OK, 0, 0},
	{"one", false, 40, 1, NO_IF, ANSWER_CHECKPOINT_CONFLICT, 30, 2},
	{"one", false, 40, 0, NO_IF, ANSWER_CHECKPOINT_CONFLICT, 30, 2},
	{"one", false, 40, 0, 30, ANSWER_CHECKPOINT_CONFLICT, 30, 2},
	{"one", false, 40, 2, 29, ANSWER_CHECKPOINT_CONFLICT, 30, 2},
	{"one", false, 40, 2, 30, ANSWER_OK, 0, 0},
	{"one", false, 50, 7, NO_IF, ANSWER_OK, 0, 0},
	{"two", false, 50, 0, 0, ANSWER_OK, 0, 0},
	/* deleting, and beginning anew */
	{"one", true, 0, 0, 40, ANSWER_CHECKPOINT_CONFLICT, 50, 7},
	{"one", true, 0, 0, 50, ANSWER_OK, 0, 0},
	{"one", true, 0, 0, NO_IF, ANSWER_NOT_FOUND, 0, 0},
	{"one", false, 1, 0, 50, ANSWER_CHECKPOINT_CONFLICT, 0, 0},
	{"one", false, 1, 0, 0, ANSWER_OK, 0, 0},
	{"one", false, 2, 3, 1, ANSWER_OK, 0, 0},
	{"one", true, 0, 0, NO_IF, ANSWER_OK, 0, 0},
	{"one", false, 3, 0, NO_IF, ANSWER_OK, 0, 0},
	{"two", true, 0, 0, NO_IF, ANSWER_OK, 0, 0},
};

static struct ask ask_checkpoint(const struct checkpoint_row *row)
{
	return (struct ask){.checkpoint = {.consumer = row->consumer,
					   .deleted = row->deleted,
					   .position = row->position,
					   .epoch = row->epoch,
					   .has_if_position = row->if_position != NO_IF,
					   .if_position = row->if_position}};
}

static void assert_stored(const struct world *world, const struct checkpoint_row *row)
{
	const struct record *record = &world->log[world->count - 1];
	struct system_checkpoint stored;
	char stream[32];

	snprintf(stream, sizeof stream, "$checkpoint-%s", row->consumer);
	assert_true(span_equal_string(record->stream, stream));
	assert_int_equal(system_checkpoint_parse(record, &stored), 0);
	assert_int_equal(stored.deleted, row->deleted);
	assert_int_equal(stored.position, row->position);
	assert_int_equal(stored.epoch, row->epoch);
}

static void check_checkpoint(struct world *world, const struct checkpoint_row *row,
			     uint64_t event_id)
{
	struct ask ask = ask_checkpoint(row);
	uint64_t head = world->head.position;

	if (event_id != 0)
		ask.events[0] = (struct ask_event){.stream = "s", .id = event_id};
	const struct outcome *outcome = world_append(world, &ask);
	assert_int_equal(outcome->code, row->code);
	if (row->code == ANSWER_OK) {
		assert_int_equal(world->head.position, head + 1 + (event_id != 0));
		assert_int_equal(outcome->first_position, head + 1);
		assert_int_equal(outcome->position, head + 1); /* the event's, if there is one */
		assert_int_equal(outcome->stream_count, event_id != 0);
		assert_stored(world, row);
		return;
	}
	assert_int_equal(world->head.position, head);
	assert_true(span_equal_string(outcome->consumer, row->consumer));
	assert_int_equal(outcome->checkpoint_position, row->told_position);
	assert_int_equal(outcome->checkpoint_epoch, row->told_epoch);
}

static void checkpoints_are_stored_fenced_and_deleted(void **state)
{
	(void)state;
	for (uint64_t events = 0; events < 2; events++) {
		struct world world;

		world_init(&world);
		for (size_t i = 0; i < COUNT_OF(checkpoint_rows); i++)
			check_checkpoint(&world, &checkpoint_rows[i], events * (i + 1));
		world_close(&world);
	}
}

/* With events, these say whether it was stored before; then the checkpoint is not stored again. */
static void a_duplicate_stores_no_checkpoint(void **state)
{
	struct ask ask = {
		.events = {{.stream = "s", .id = 1}, {.stream = "s", .id = 2}},
		.checkpoint = {.consumer = "one", .position = 9, .has_if_position = true}};
	struct world world;

	(void)state;
	world_init(&world);
	for (int again = 0; again < 3; again++) {
		const struct outcome *outcome = world_append(&world, &ask);

		assert_int_equal(outcome->code, ANSWER_OK);
		assert_int_equal(outcome->duplicate, again > 0);
		assert_int_equal(outcome->first_position, 1);
		assert_int_equal(outcome->position, 2);
		assert_int_equal(world.head.position, 3);
	}
	world_close(&world);
}

/* Alone, it is stored each time that it is asked for, as another version of its stream. */
static void a_checkpoint_alone_is_no_duplicate(void **state)
{
	struct ask ask = {.checkpoint = {.consumer = "one", .position = 9}};
	struct world world;

	(void)state;
	world_init(&world);
	for (uint64_t again = 1; again < 4; again++) {
		const struct outcome *outcome = world_append(&world, &ask);

		assert_int_equal(outcome->code, ANSWER_OK);
		assert_false(outcome->duplicate);
		assert_int_equal(outcome->position, again);
		assert_int_equal(outcome->stream_count, 0);
		assert_int_equal(world.decision.target_count, 1);
		assert_int_equal(world.decision.targets[0].first_version, again);
	}
	world_close(&world);
}

/* The id of the checkpoint's record is nothing to an event with the same one. */
static void the_id_of_a_checkpoint_is_no_event(void **state)
{
	struct ask ask = {.events = {{.stream = "s", .id = 1}},
			  .checkpoint = {.consumer = "one", .position = 9}};
	struct ask full = ask_completed(&ask);
	struct world world;

	(void)state;
	world_init(&world);
	for (uint64_t i = 1; i < 4; i++) {
		full.events[0].id = i;
		buffer_clear(&world.items);
		ask_encode(&full, &world.items);
		struct span rest = buffer_span(&world.items), sections;
		struct command_section section;
		assert_true(command_next_item(&rest, &sections));
		while (command_next_section(&sections, &section))
			continue;
		uint8_t *record = world.items.data + (section.content.data - world.items.data) + 16;
		ask_id(i, record + RECORD_ID_OFFSET);
		assert_int_equal(world_try_items(&world), 0);
		world_take(&world, &full);
		assert_int_equal(world.decision.outcome.position, 2 * i - 1);
	}
	world_close(&world);
}

/* ---- malformed sections ---- */

static void assert_refused(struct world *world, const char *why)
{
	assert_int_equal(world_try_items(world), -EBADMSG);
	if (strstr(world->error.message, why) == NULL)
		fail_msg("%s: %s", why, world->error.message);
}

/* Also where an earlier rule would decide: every node stops at the same command. */
static void bad_queries_are_refused(void **state)
{
	struct ask ask = {.condition_count = 1,
			  .conditions = {{.item_count = 1, .items = {{.types = {"t"}}}}},
			  .events = {{.stream = "s", .id = 1}, {.stream = "s", .id = 1}}};
	struct ask full = ask_completed(&ask);
	struct world world;

	(void)state;
	world_init(&world);
	assert_int_equal(world_append(&world, &ask)->code, ANSWER_EVENT_ID_CONFLICT);
	buffer_clear(&world.items);
	ask_encode(&full, &world.items);
	/* The item and the expectation before it; section header, index, zeros, after. */
	size_t query = 4 + 4 + 16 + 1 + 4 + 16;
	assert_int_equal(world.items.data[query], 1);
	world.items.data[query] = 2;
	assert_refused(&world, "query");
	world.items.data[query] = 1;
	world.items.data[query + 4] = 0; /* no type, but bytes of one */
	assert_refused(&world, "query");
	world.items.data[query + 4] = 1;
	world.items.data[query - 12] = 1; /* the zeros */
	assert_refused(&world, "condition");
	world.items.data[query - 12] = 0;
	assert_int_equal(world_try_items(&world), 0);
	world_close(&world);
}

static void too_many_conditions_are_refused(void **state)
{
	struct world world;
	struct query query;

	(void)state;
	world_init(&world);
	query_init(&query);
	for (uint32_t count = LIMIT_CONDITIONS; count <= LIMIT_CONDITIONS + 1; count++) {
		buffer_clear(&world.items);
		size_t item = command_item_begin(&world.items);
		for (uint32_t i = 0; i < count; i++)
			command_item_add_condition(&world.items, i, 0, &query);
		command_item_end(&world.items, item);
		if (count <= LIMIT_CONDITIONS)
			assert_int_equal(world_try_items(&world), 0);
		else
			assert_refused(&world, "conditions");
	}
	query_close(&query);
	world_close(&world);
}

static void put_checkpoint_record(struct world *world, const char *stream, const char *type,
				  struct span data)
{
	static const uint8_t id[UUID_BYTES];
	struct record_fields fields = {.id = id,
				       .stream = span_of_string(stream),
				       .type = span_of_string(type),
				       .data = data};

	buffer_clear(&world->items);
	size_t item = command_item_begin(&world->items);
	command_item_add_checkpoint(&world->items, NULL, &fields);
	command_item_end(&world->items, item);
}

static void only_checkpoints_are_in_a_checkpoint_section(void **state)
{
	static const uint8_t good[] = {0x82, 0xa8, 'p',  'o', 's', 'i', 't', 'i', 'o',
				       'n',  7,    0xa5, 'e', 'p', 'o', 'c', 'h', 0};
	static const struct {
		const char *stream, *type;
		size_t bytes;
	} cases[] = {{"order-1", "$checkpoint", sizeof good},
		     {"$checkpoint-", "$checkpoint", sizeof good},
		     {"$snapshot-x", "$checkpoint", sizeof good},
		     {"$checkpoint-x", "checkpoint", sizeof good},
		     {"$checkpoint-x", "$checkpoint", sizeof good - 1},
		     {"$checkpoint-x", "$checkpoint", 0}};
	struct world world;

	(void)state;
	world_init(&world);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		put_checkpoint_record(&world, cases[i].stream, cases[i].type,
				      span_of(good, cases[i].bytes));
		assert_refused(&world, "checkpoint");
	}
	put_checkpoint_record(&world, "$checkpoint-x", "$checkpoint", span_of(good, sizeof good));
	assert_int_equal(world_try_items(&world), 0);
	assert_int_equal(world.decision.write_count, 1);
	world_close(&world);
}

static void a_checkpoint_is_in_no_other_section(void **state)
{
	struct ask ask = {.events = {{.stream = "$checkpoint-x", .id = 1}}};
	struct world world;

	(void)state;
	world_init(&world);
	assert_int_equal(world_try(&world, &ask), -EBADMSG);
	assert_non_null(strstr(world.error.message, "checkpoint"));
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_condition_behind_each_position),
		cmocka_unit_test(the_first_condition_that_fails_is_told),
		cmocka_unit_test(a_condition_sees_what_was_decided_just_before),
		cmocka_unit_test(a_condition_that_looks_at_too_much_is_refused_in_its_turn),
		cmocka_unit_test(conditions_share_a_budget),
		cmocka_unit_test(conditions_alone_are_decided_too),
		cmocka_unit_test(checkpoints_are_stored_fenced_and_deleted),
		cmocka_unit_test(a_duplicate_stores_no_checkpoint),
		cmocka_unit_test(a_checkpoint_alone_is_no_duplicate),
		cmocka_unit_test(the_id_of_a_checkpoint_is_no_event),
		cmocka_unit_test(bad_queries_are_refused),
		cmocka_unit_test(too_many_conditions_are_refused),
		cmocka_unit_test(only_checkpoints_are_in_a_checkpoint_section),
		cmocka_unit_test(a_checkpoint_is_in_no_other_section),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
