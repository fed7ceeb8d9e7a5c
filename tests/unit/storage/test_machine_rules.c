/*
 * What an append does, as tables: every expectation at every state of a stream, written and only
 * checked, and each of them again; ids that are stored; which rule wins.
 */
#include "tests/unit/storage/machine_world.h"

/* ---- expectations ---- */

enum life { NEVER, ONE, THREE, DELETED, TOMBSTONED, LIVES };

static const struct life_row {
	uint32_t versions;
	enum stream_state state;
} lives[LIVES] = {
	[NEVER] = {0, STREAM_NONE},
	[ONE] = {1, STREAM_LIVE},
	[THREE] = {3, STREAM_LIVE},
	[DELETED] = {2, STREAM_DELETED},
	[TOMBSTONED] = {2, STREAM_TOMBSTONED},
};

static const struct expectation_row {
	enum expectation_kind kind;
	uint64_t version;
	bool holds[LIVES];
} expectation_rows[] = {
	/*                                 never  one    three  deleted tombstoned */
	{EXPECTATION_ANY, 0, {true, true, true, true, true}},
	{EXPECTATION_VERSION, 0, {true, false, false, false, false}},
	{EXPECTATION_VERSION, 1, {false, true, false, false, false}},
	{EXPECTATION_VERSION, 2, {false, false, false, true, true}},
	{EXPECTATION_VERSION, 3, {false, false, true, false, false}},
	{EXPECTATION_VERSION, 4, {false, false, false, false, false}},
	{EXPECTATION_NO_STREAM, 0, {true, false, false, true, false}},
	{EXPECTATION_STREAM_EXISTS, 0, {false, true, true, false, false}},
	{EXPECTATION_AT_LEAST, 1, {false, true, true, false, false}},
	{EXPECTATION_AT_LEAST, 2, {false, false, true, false, false}},
	{EXPECTATION_AT_LEAST, 3, {false, false, true, false, false}},
	{EXPECTATION_AT_LEAST, 4, {false, false, false, false, false}},
};

#define SUBJECT "subject-1"
#define OTHER   "other-1"

static void append_one(struct world *world, const char *stream, uint64_t id)
{
	struct ask ask = {.events = {{.stream = stream, .id = id}}};

	assert_int_equal(world_append(world, &ask)->code, ANSWER_OK);
}

static void live(struct world *world, enum life life)
{
	append_one(world, OTHER, 900);
	for (uint32_t i = 0; i < lives[life].versions; i++)
		append_one(world, SUBJECT, 901 + i);
	if (life == DELETED || life == TOMBSTONED)
		world_mark_stream(world, SUBJECT, lives[life].state);
}

/* Two events, into the subject when it is written, else beside it. */
static struct ask ask_of(const struct expectation_row *row, bool written)
{
	const char *stream = written ? SUBJECT : OTHER;

	return (struct ask){
		.expectations = {{.stream = SUBJECT,
				  .kind = row->kind,
				  .version = row->version,
				  .checked = !written}},
		.events = {{.stream = stream, .id = 1}, {.stream = stream, .id = 2}},
	};
}

static void assert_written(const struct outcome *outcome, const char *stream,
			   uint64_t first_position, uint64_t first_version, bool duplicate)
{
	assert_int_equal(outcome->code, ANSWER_OK);
	assert_int_equal(outcome->duplicate, duplicate);
	assert_int_equal(outcome->first_position, first_position);
	assert_int_equal(outcome->position, first_position + 1);
	assert_int_equal(outcome->stream_count, 1);
	assert_int_equal(world_told(outcome, stream)->first_version, first_version);
	assert_int_equal(world_told(outcome, stream)->version, first_version + 1);
}

/* The retries of an append that was written: the numbers of then, until a tombstone. */
static void retry_written(struct world *world, const struct ask *ask, bool written)
{
	const char *stream = ask->events[0].stream;
	uint64_t position = world->head.position - 1;
	uint64_t version = world_facts(world, stream).version - 1;
	int64_t created = world->head.created;

	assert_written(world_append(world, ask), stream, position, version, true);
	append_one(world, SUBJECT, 501);
	append_one(world, OTHER, 502);
	assert_written(world_append(world, ask), stream, position, version, true);
	assert_int_equal(world->decision.outcome.created, created);
	world_mark_stream(world, SUBJECT, STREAM_DELETED);
	assert_written(world_append(world, ask), stream, position, version, true);
	append_one(world, SUBJECT, 503);
	assert_written(world_append(world, ask), stream, position, version, true);
	world_mark_stream(world, SUBJECT, STREAM_TOMBSTONED);
	if (written)
		assert_int_equal(world_append(world, ask)->code, ANSWER_STREAM_TOMBSTONED);
	else
		assert_written(world_append(world, ask), stream, position, version, true);
}

static void assert_violated(const struct outcome *outcome, const struct expectation_row *row,
			    uint64_t version, enum stream_state state)
{
	assert_int_equal(outcome->code, ANSWER_WRONG_EXPECTED_VERSION);
	assert_int_equal(outcome->violation_count, 1);
	const struct violation *violation = &outcome->violations[0];
	assert_int_equal(violation->expected.kind, row->kind);
	assert_int_equal(violation->expected.version, row->version);
	assert_int_equal(violation->expected.index, ASK_EXPECTATION_INDEX(0));
	assert_true(span_equal_string(violation->expected.stream, SUBJECT));
	assert_int_equal(violation->actual, version);
	assert_int_equal(violation->state, state);
}

/* The retries of one that was refused: refused until the expectation holds. */
static void retry_refused(struct world *world, const struct ask *ask,
			  const struct expectation_row *row, enum life life)
{
	uint64_t version = lives[life].versions;

	assert_violated(world_append(world, ask), row, version, lives[life].state);
	append_one(world, OTHER, 590);
	assert_violated(world_append(world, ask), row, version, lives[life].state);
	if (life == TOMBSTONED || row->kind == EXPECTATION_NO_STREAM ||
	    (row->kind == EXPECTATION_VERSION && row->version <= version))
		return;
	uint64_t id = 510;
	if (row->kind != EXPECTATION_VERSION && life != THREE)
		append_one(world, SUBJECT, id++);
	while (world_facts(world, SUBJECT).version < row->version)
		append_one(world, SUBJECT, id++);
	assert_int_equal(world_append(world, ask)->code, ANSWER_OK);
	retry_written(world, ask, !ask->expectations[0].checked);
}

static void check_expectation(const struct expectation_row *row, enum life life, bool written)
{
	struct world world;
	struct ask ask = ask_of(row, written);

	world_init(&world);
	live(&world, life);
	uint64_t head = world.head.position;
	const struct outcome *outcome = world_append(&world, &ask);
	if (written && life == TOMBSTONED) {
		assert_int_equal(outcome->code, ANSWER_STREAM_TOMBSTONED);
		assert_true(span_equal_string(outcome->conflict_stream, SUBJECT));
	} else if (row->holds[life]) {
		assert_written(outcome, written ? SUBJECT : OTHER, head + 1,
			       written ? lives[life].versions + 1 : 2, false);
		if (life != TOMBSTONED)
			retry_written(&world, &ask, written);
	} else {
		assert_violated(outcome, row, lives[life].versions, lives[life].state);
		assert_int_equal(world.head.position, head);
		retry_refused(&world, &ask, row, life);
	}
	world_close(&world);
}

static void each_expectation_at_each_state_of_its_stream(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(expectation_rows); i++)
		for (int life = 0; life < LIVES; life++)
			for (int written = 0; written < 2; written++)
				check_expectation(&expectation_rows[i], (enum life)life, written);
}

/* ---- several streams ---- */

static void interleaved_streams_count_their_versions(void **state)
{
	struct ask ask = {
		.expectations = {{.stream = "a", .kind = EXPECTATION_VERSION, .version = 2},
				 {.stream = "b", .kind = EXPECTATION_NO_STREAM}},
		.events = {{.stream = "a", .id = 1},
			   {.stream = "b", .id = 2},
			   {.stream = "a", .id = 3},
			   {.stream = "c", .id = 4},
			   {.stream = "b", .id = 5},
			   {.stream = "a", .id = 6}}};
	static const uint64_t versions[] = {3, 1, 4, 1, 2, 5};
	struct world world;

	(void)state;
	world_init(&world);
	append_one(&world, "a", 11);
	append_one(&world, "a", 12);
	for (int again = 0; again < 2; again++) {
		const struct outcome *outcome = world_append(&world, &ask);

		assert_int_equal(outcome->code, ANSWER_OK);
		assert_int_equal(outcome->duplicate, again);
		assert_int_equal(outcome->stream_count, 3);
		assert_true(span_equal_string(outcome->streams[0].stream, "a"));
		assert_int_equal(world_told(outcome, "a")->first_version, 3);
		assert_int_equal(world_told(outcome, "a")->version, 5);
		assert_int_equal(world_told(outcome, "b")->first_version, 1);
		assert_int_equal(world_told(outcome, "b")->version, 2);
		assert_int_equal(world_told(outcome, "c")->version, 1);
		assert_int_equal(outcome->first_position, 3);
		assert_int_equal(outcome->position, 8);
	}
	for (uint32_t i = 0; i < COUNT_OF(versions); i++)
		assert_int_equal(world.log[i + 2].version, versions[i]);
	world_close(&world);
}

static void all_violations_are_told_of_writes_and_of_checks(void **state)
{
	struct ask ask = {.expectations = {{.stream = "a", .kind = EXPECTATION_NO_STREAM},
					   {.stream = "b"},
					   {.stream = "c",
					    .kind = EXPECTATION_STREAM_EXISTS,
					    .checked = true},
					   {.stream = "a",
					    .kind = EXPECTATION_AT_LEAST,
					    .version = 2,
					    .checked = true}},
			  .events = {{.stream = "a", .id = 1}, {.stream = "b", .id = 2}}};
	struct world world;

	(void)state;
	world_init(&world);
	append_one(&world, "a", 11);
	const struct outcome *outcome = world_append(&world, &ask);
	assert_int_equal(outcome->code, ANSWER_WRONG_EXPECTED_VERSION);
	assert_int_equal(outcome->violation_count, 3);
	assert_int_equal(outcome->violations[0].expected.index, ASK_EXPECTATION_INDEX(0));
	assert_int_equal(outcome->violations[1].expected.index, ASK_EXPECTATION_INDEX(2));
	assert_int_equal(outcome->violations[1].state, STREAM_NONE);
	assert_int_equal(outcome->violations[2].expected.index, ASK_EXPECTATION_INDEX(3));
	assert_int_equal(outcome->violations[2].actual, 1);
	assert_int_equal(world.head.position, 1);
	world_close(&world);
}

static void checks_alone_are_told_the_head(void **state)
{
	struct ask ask = {.expectations = {{.stream = "a",
					    .kind = EXPECTATION_VERSION,
					    .version = 2,
					    .checked = true}}};
	struct world world;

	(void)state;
	world_init(&world);
	append_one(&world, "a", 11);
	assert_int_equal(world_append(&world, &ask)->code, ANSWER_WRONG_EXPECTED_VERSION);
	append_one(&world, "a", 12);
	const struct outcome *outcome = world_append(&world, &ask);
	assert_int_equal(outcome->code, ANSWER_OK);
	assert_false(outcome->duplicate);
	assert_int_equal(outcome->first_position, 2);
	assert_int_equal(outcome->position, 2);
	assert_int_equal(outcome->stream_count, 0);
	world_close(&world);
}

/* ---- ids ---- */

/* Stored: s 1, s 2, s 3 in one append; t 4; s 5. */
static void store_ids(struct world *world)
{
	struct ask ask = {.events = {{.stream = "s", .id = 1},
				     {.stream = "s", .id = 2},
				     {.stream = "s", .id = 3}}};

	assert_int_equal(world_append(world, &ask)->code, ANSWER_OK);
	append_one(world, "t", 4);
	append_one(world, "s", 5);
}

static const struct id_row {
	const char *events;                /* each: stream, id */
	uint64_t first_position, position; /* a duplicate's; else 0 */
	uint64_t first_version, version;   /* of stream s */
	uint64_t conflict;                 /* id */
	const char *stream;
	uint64_t conflict_version;
} id_rows[] = {
	{"s1 s2 s3", 1, 3, 1, 3, 0, NULL, 0},
	{"s1 s2", 1, 2, 1, 2, 0, NULL, 0},
	{"s2 s3", 2, 3, 2, 3, 0, NULL, 0},
	{"s2", 2, 2, 2, 2, 0, NULL, 0},
	{"s5", 5, 5, 4, 4, 0, NULL, 0},
	{"s3 t4 s5", 3, 5, 3, 4, 0, NULL, 0},
	/* a part of it, with a gap or with something new */
	{"s1 s3", 0, 0, 0, 0, 1, "s", 1},
	{"s3 s5", 0, 0, 0, 0, 3, "s", 3},
	{"s1 s9", 0, 0, 0, 0, 1, "s", 1},
	{"s9 s2", 0, 0, 0, 0, 2, "s", 2},
	{"s1 s2 s3 s9", 0, 0, 0, 0, 1, "s", 1},
	{"u9 t4 s5", 0, 0, 0, 0, 4, "t", 1},
	/* another order, another stream */
	{"s2 s1", 0, 0, 0, 0, 2, "s", 2},
	{"s3 s2 s1", 0, 0, 0, 0, 3, "s", 3},
	{"t1", 0, 0, 0, 0, 1, "s", 1},
	{"s1 t2 s3", 0, 0, 0, 0, 1, "s", 1},
	{"s4", 0, 0, 0, 0, 4, "t", 1},
	/* twice in the append itself: told before what is stored */
	{"s9 u9", 0, 0, 0, 0, 9, "u", 0},
	{"s1 s1", 0, 0, 0, 0, 1, "s", 0},
	{"s1 s9 s9", 0, 0, 0, 0, 9, "s", 0},
};

static void read_events(const char *text, struct ask *ask)
{
	static const char *const streams[] = {"s", "t", "u"};

	for (uint32_t i = 0; *text != 0; i++) {
		ask->events[i] = (struct ask_event){.stream = streams[text[0] - 's'],
						    .id = (uint64_t)(text[1] - '0')};
		text += text[2] == ' ' ? 3 : 2;
	}
}

static void assert_ids(const struct outcome *outcome, const struct id_row *row)
{
	uint8_t id[UUID_BYTES];

	if (row->conflict == 0) {
		assert_int_equal(outcome->code, ANSWER_OK);
		assert_true(outcome->duplicate);
		assert_int_equal(outcome->first_position, row->first_position);
		assert_int_equal(outcome->position, row->position);
		assert_int_equal(world_told(outcome, "s")->first_version, row->first_version);
		assert_int_equal(world_told(outcome, "s")->version, row->version);
		return;
	}
	ask_id(row->conflict, id);
	assert_int_equal(outcome->code, ANSWER_EVENT_ID_CONFLICT);
	assert_memory_equal(outcome->conflict_id, id, UUID_BYTES);
	assert_true(span_equal_string(outcome->conflict_stream, row->stream));
	assert_int_equal(outcome->conflict_version, row->conflict_version);
}

/* Whatever else is wrong with the append, and whatever was written since. */
static void ids_that_are_stored_decide_first(void **state)
{
	struct world world;

	(void)state;
	world_init(&world);
	store_ids(&world);
	for (size_t i = 0; i < COUNT_OF(id_rows); i++) {
		struct ask ask = {0};

		read_events(id_rows[i].events, &ask);
		assert_ids(world_append(&world, &ask), &id_rows[i]);
		ask.expectations[0] = (struct ask_expectation){
			.stream = "s", .kind = EXPECTATION_VERSION, .version = 77};
		ask.condition_count = 1;
		ask.checkpoint = (struct ask_checkpoint){
			.consumer = "c", .position = 1, .has_if_position = true, .if_position = 9};
		assert_ids(world_append(&world, &ask), &id_rows[i]);
		append_one(&world, "s", 1000 + i);
		assert_ids(world_append(&world, &ask), &id_rows[i]);
	}
	world_close(&world);
}

/* ---- which rule wins ---- */

enum { TOMBSTONE, TWICE, STORED, VIOLATION, CONDITION, CHECKPOINT, BREAKS };

static struct ask break_rules(uint32_t broken)
{
	struct ask ask = {.events = {{.stream = "s", .id = 21}}};

	if (broken & 1u << TOMBSTONE)
		ask.expectations[0].stream = "tomb";
	else
		ask.expectations[0].stream = "s";
	if (broken & 1u << TWICE)
		ask.events[1] = (struct ask_event){.stream = "s", .id = 21};
	if (broken & 1u << STORED)
		ask.events[2 - !(broken & 1u << TWICE)] =
			(struct ask_event){.stream = "s", .id = 2};
	ask.expectations[1] = (struct ask_expectation){.stream = "s",
						       .kind = EXPECTATION_VERSION,
						       .version = broken & 1u << VIOLATION ? 77 : 4,
						       .checked = true};
	ask.condition_count = 1;
	ask.conditions[0].after = broken & 1u << CONDITION ? 3 : 100;
	ask.checkpoint = (struct ask_checkpoint){.consumer = "c",
						 .position = 1,
						 .has_if_position = true,
						 .if_position = broken & 1u << CHECKPOINT};
	return ask;
}

static void the_first_rule_that_applies_wins(void **state)
{
	static const enum answer_code wanted[BREAKS] = {
		ANSWER_STREAM_TOMBSTONED, ANSWER_EVENT_ID_CONFLICT,
		ANSWER_EVENT_ID_CONFLICT, ANSWER_WRONG_EXPECTED_VERSION,
		ANSWER_CONDITION_FAILED,  ANSWER_CHECKPOINT_CONFLICT};

	(void)state;
	for (uint32_t broken = 0; broken < 1u << BREAKS; broken++) {
		enum answer_code code = ANSWER_OK;
		struct ask ask = break_rules(broken);
		struct world world;

		for (uint32_t rule = BREAKS; rule-- > 0;)
			if (broken & 1u << rule)
				code = wanted[rule];
		world_init(&world);
		store_ids(&world);
		append_one(&world, "tomb", 6);
		world_mark_stream(&world, "tomb", STREAM_TOMBSTONED);
		const struct outcome *outcome = world_append(&world, &ask);
		assert_int_equal(outcome->code, code);
		if (code == ANSWER_EVENT_ID_CONFLICT)
			assert_true((outcome->conflict_version == 0) ==
				    ((broken & 1u << TWICE) != 0));
		assert_int_equal(world.head.position, code == ANSWER_OK ? 8 : 6);
		world_close(&world);
	}
}

/* ---- errors ---- */

static void a_question_without_an_answer_decides_nothing(void **state)
{
	static const struct {
		const char *question;
		uint64_t id;
	} cases[] = {{"find_stream", 21}, {"find_id", 21},      {"read", 1},
		     {"find_match", 21},  {"read_version", 21}, {NULL, 21}};
	struct world world;

	(void)state;
	world_init(&world);
	store_ids(&world);
	struct ask put = {.checkpoint = {.consumer = "c", .position = 7}};
	assert_int_equal(world_append(&world, &put)->code, ANSWER_OK);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct ask ask = {.condition_count = 1,
				  .conditions[0].after = 100,
				  .events = {{.stream = "s", .id = cases[i].id}},
				  .checkpoint = {.consumer = "c", .position = 8}};

		world.failing = cases[i].question;
		assert_int_equal(world_try(&world, &ask), cases[i].question != NULL ? -EIO : 0);
	}
	world_take(&world, &(struct ask){.events = {{.stream = "s", .id = 21}},
					 .checkpoint = {.consumer = "c"}});
	world_close(&world);
}

/* A flipped bit: neither a duplicate of another event nor a conflict with it. */
static void an_id_that_leads_to_another_event_is_damage(void **state)
{
	static const struct ask asks[] = {
		{.events = {{.stream = SUBJECT, .id = 1}}},
		{.events = {{.stream = SUBJECT, .id = 1}, {.stream = SUBJECT, .id = 77}}},
	};
	struct world world;

	(void)state;
	world_init(&world);
	append_one(&world, SUBJECT, 1);
	append_one(&world, SUBJECT, 2);
	world.id_index_off = 1;
	for (size_t i = 0; i < COUNT_OF(asks); i++) {
		assert_int_equal(world_try(&world, &asks[i]), -EBADMSG);
		assert_non_null(strstr(world.error.message, "event ids is damaged: at position 2"));
	}
	/* The second id of a duplicate, which would become a conflict. */
	struct ask both = {.events = {{.stream = SUBJECT, .id = 1}, {.stream = SUBJECT, .id = 2}}};

	append_one(&world, SUBJECT, 3);
	world.id_index_right = 1;
	assert_int_equal(world_try(&world, &both), -EBADMSG);
	assert_non_null(strstr(world.error.message, "event ids is damaged: at position 3"));
	world.id_index_off = 0;
	assert_true(world_append(&world, &both)->duplicate);
	world_close(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_expectation_at_each_state_of_its_stream),
		cmocka_unit_test(interleaved_streams_count_their_versions),
		cmocka_unit_test(all_violations_are_told_of_writes_and_of_checks),
		cmocka_unit_test(checks_alone_are_told_the_head),
		cmocka_unit_test(ids_that_are_stored_decide_first),
		cmocka_unit_test(the_first_rule_that_applies_wins),
		cmocka_unit_test(an_id_that_leads_to_another_event_is_damage),
		cmocka_unit_test(a_question_without_an_answer_decides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
