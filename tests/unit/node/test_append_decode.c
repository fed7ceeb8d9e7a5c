/* Arguments of append: what is taken becomes the item that was meant, what is wrong is named. */
#include "tests/unit/unit.h"

#include "node/append_decode.h"
#include "node/forward.h"
#include "storage/system.h"
#include "tests/unit/node/notation.h"

#define MAX_APPEND 5000u
#define MAX_EVENT  2000u
#define EVENT      "{type: 'T', data: ''}"

/* One decode, of a text. */
struct trial {
	struct append_decoder decoder;
	struct buffer params, item;
	struct append_form form;
	struct append_problem problem;
	bool taken;
};

static void decode(struct trial *trial, const char *text)
{
	struct arguments arguments;

	memset(trial, 0, sizeof *trial);
	append_decoder_init(&trial->decoder, MAX_APPEND, MAX_EVENT);
	notation_append(&trial->params, text);
	struct span exact = unit_exact(trial->params.data, trial->params.size);

	assert_true(arguments_index(&arguments, exact));
	trial->taken = append_decode(&trial->decoder, &arguments, &trial->item, &trial->form,
				     &trial->problem);
	unit_free_exact(exact);
}

static void end(struct trial *trial)
{
	append_decoder_close(&trial->decoder);
	buffer_close(&trial->params);
	buffer_close(&trial->item);
}

/* ---- what is wrong is named ---- */

struct bad {
	const char *text, *argument;
};

static void assert_named(const struct bad *bad)
{
	struct trial trial;

	decode(&trial, bad->text);
	if (trial.taken)
		fail_msg("taken: %s", bad->text);
	if (trial.problem.code != ANSWER_INVALID_ARGUMENT ||
	    strcmp(trial.problem.argument, bad->argument) != 0)
		fail_msg("%s: %s, not %s", bad->text, trial.problem.argument, bad->argument);
	assert_true(strlen(trial.problem.message) > strlen(bad->argument));
	assert_memory_equal(trial.problem.message, bad->argument, strlen(bad->argument));
	assert_int_equal(trial.item.size, 0);
	end(&trial);
}

#define ONE(event)      "{stream: 's', events: [" event "]}"
#define EXPECTED(value) "{stream: 's', expected_version: " value ", events: [" EVENT "]}"

static void each_wrong_argument_of_one_stream_is_named(void **state)
{
	static const struct bad cases[] = {
		{"{}", "stream"},
		{"{events: [" EVENT "]}", "stream"},
		{"{stream: nil, events: [" EVENT "]}", "stream"},
		{"{stream: 5, events: [" EVENT "]}", "stream"},
		{"{stream: b's', events: [" EVENT "]}", "stream"},
		{"{stream: '', events: [" EVENT "]}", "stream"},
		{"{stream: 'a' * 1025, events: [" EVENT "]}", "stream"},
		{"{stream: '$a', events: [" EVENT "]}", "stream"},
		{"{stream: 'a\\x09', events: [" EVENT "]}", "stream"},
		{"{stream: 'a\\xff', events: [" EVENT "]}", "stream"},
		{"{stream: 's'}", "events"},
		{"{stream: 's', events: nil}", "events"},
		{"{stream: 's', events: {}}", "events"},
		{"{stream: 's', events: 'x'}", "events"},
		{"{stream: 's', events: []}", "events"},
		{"{stream: 's', events: [" EVENT "], on_conflict: 5}", "on_conflict"},
		{"{stream: 's', events: [" EVENT "], on_conflict: 'all'}", "on_conflict"},
		{"{expected_version: 0, checks: [{stream: 'a', expected_version: 0}]}", "stream"},
		{"{events: [" EVENT "], checkpoint: {consumer: 'c', position: 1}}", "stream"},
		{"{stream: 's', events: [" EVENT "], checks: [{stream: 's', expected_version: 0}]}",
		 "checks[0].stream"},
		{EXPECTED("-1"), "expected_version"},
		{EXPECTED("float"), "expected_version"},
		{EXPECTED("true"), "expected_version"},
		{EXPECTED("'none'"), "expected_version"},
		{EXPECTED("b'any'"), "expected_version"},
		{EXPECTED("[]"), "expected_version"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_named(&cases[i]);
}

static void each_wrong_part_of_an_event_is_named(void **state)
{
	static const struct bad cases[] = {
		{ONE("5"), "events[0]"},
		{ONE("nil"), "events[0]"},
		{ONE(EVENT ", []"), "events[1]"},
		{ONE("{data: ''}"), "events[0].type"},
		{ONE("{type: nil, data: ''}"), "events[0].type"},
		{ONE("{type: 5, data: ''}"), "events[0].type"},
		{ONE("{type: b'T', data: ''}"), "events[0].type"},
		{ONE("{type: '', data: ''}"), "events[0].type"},
		{ONE("{type: 'T' * 256, data: ''}"), "events[0].type"},
		{ONE("{type: '\\xff', data: ''}"), "events[0].type"},
		{ONE(EVENT ", " EVENT ", {type: 5, data: ''}"), "events[2].type"},
		{ONE("{type: 'T'}"), "events[0].data"},
		{ONE("{type: 'T', data: nil}"), "events[0].data"},
		{ONE("{type: 'T', data: 5}"), "events[0].data"},
		{ONE("{type: 'T', data: {}}"), "events[0].data"},
		{ONE("{type: 'T', data: '', metadata: 5}"), "events[0].metadata"},
		{ONE("{type: 'T', data: '', metadata: []}"), "events[0].metadata"},
		{ONE("{type: 'T', data: '', id: 5}"), "events[0].id"},
		{ONE("{type: 'T', data: '', id: 'a' * 16}"), "events[0].id"},
		{ONE("{type: 'T', data: '', id: b'a' * 15}"), "events[0].id"},
		{ONE("{type: 'T', data: '', id: b'a' * 17}"), "events[0].id"},
		{ONE("{type: 'T', data: '', id: b''}"), "events[0].id"},
		{ONE("{type: 'T', data: '', id: b'a' * 16}, " EVENT
		     ", {type: 'T', data: '', id: b'b' * 16}, {type: 'T', data: '', id: b'a' * "
		     "16}"),
		 "events[3].id"},
		{ONE("{type: 'T', data: '', tags: 'a'}"), "events[0].tags"},
		{ONE("{type: 'T', data: '', tags: {}}"), "events[0].tags"},
		{ONE("{type: 'T', data: '', tags: [5]}"), "events[0].tags[0]"},
		{ONE("{type: 'T', data: '', tags: ['a', '']}"), "events[0].tags[1]"},
		{ONE("{type: 'T', data: '', tags: ['a', 'b' * 256]}"), "events[0].tags[1]"},
		{ONE("{type: 'T', data: '', tags: ['a', 'b', '\\xff']}"), "events[0].tags[2]"},
		{ONE("{type: 'T', data: '', tags: ['1','2','3','4','5','6','7','8','9','10','11',"
		     "'12','13','14','15','16','17','18','19','20','21','22','23','24','25','26','"
		     "27',"
		     "'28','29','30','31','32','33']}"),
		 "events[0].tags"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_named(&cases[i]);
}

/* `many` with its '@' replaced by "x, x, x": so many of `each`. */
static void repeat(struct buffer *text, const char *many, const char *each, uint32_t count)
{
	const char *at = strchr(many, '@');

	buffer_clear(text);
	buffer_append(text, many, (size_t)(at - many));
	for (uint32_t i = 0; i < count; i++) {
		buffer_append(text, ", ", i > 0 ? 2 : 0);
		buffer_append(text, each, strlen(each));
	}
	buffer_append(text, at + 1, strlen(at + 1) + 1);
}

/* A walk over what is repeated, or ignored, must not take the loop's time. */
static void what_is_repeated_is_bounded(void **state)
{
	static const struct {
		const char *many, *each, *argument;
		uint32_t bound; /* of `each` */
	} cases[] = {
		{"{stream: 's', events: [{type: 'T', data: '', tags: [@]}]}", "'a'",
		 "events[0].tags", LIMIT_TAGS_GIVEN},
		{"{stream: 's', events: [" EVENT ", {type: 'T', data: '', @}]}", "x: 1",
		 "events[1]", LIMIT_MAP_PAIRS - 2},
		{"{writes: [{stream: 's', events: [" EVENT "], @}]}", "x: 1", "writes[0]",
		 LIMIT_MAP_PAIRS - 2},
		{"{writes: [{stream: 's', events: [" EVENT
		 "]}], checks: [{stream: 'b', expected_version: 0, @}]}",
		 "1: 1", "checks[0]", LIMIT_MAP_PAIRS - 2},
		{"{writes: [{stream: 's', events: [" EVENT "], @}]}", "x: 1", "writes[0]",
		 ARGUMENTS_MAX},
	};
	struct buffer text = {0};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct trial trial;

		repeat(&text, cases[i].many, cases[i].each, cases[i].bound + 1);
		assert_named(&(struct bad){(char *)text.data, cases[i].argument});
		if (cases[i].bound > LIMIT_MAP_PAIRS)
			continue;
		repeat(&text, cases[i].many, cases[i].each, cases[i].bound);
		decode(&trial, (char *)text.data);
		assert_true(trial.taken);
		end(&trial);
	}
	buffer_close(&text);
}

#define GOOD_WRITE "{stream: 'a', events: [" EVENT "]}"

static void each_wrong_argument_of_several_streams_is_named(void **state)
{
	static const struct bad cases[] = {
		{"{writes: nil}", "stream"},
		{"{writes: 5}", "writes"},
		{"{writes: {}}", "writes"},
		{"{writes: []}", "writes"},
		{"{writes: [5]}", "writes[0]"},
		{"{writes: [" GOOD_WRITE ", {}]}", "writes[1].stream"},
		{"{writes: [" GOOD_WRITE ", {stream: '$a', events: [" EVENT "]}]}",
		 "writes[1].stream"},
		{"{writes: [" GOOD_WRITE ", {stream: 'a'}]}", "writes[1].events"},
		{"{writes: [" GOOD_WRITE ", {stream: 'a', events: []}]}", "writes[1].events"},
		{"{writes: [{stream: 'a', expected_version: 'x', events: [" EVENT "]}]}",
		 "writes[0].expected_version"},
		{"{writes: [" GOOD_WRITE ", {stream: 'b', events: [" EVENT ", {type: 'T'}]}]}",
		 "writes[1].events[1].data"},
		{"{writes: [{stream: 'a', events: [{type: 'T', data: '', id: b'a' * 16}]}, "
		 "{stream: "
		 "'b', events: [{type: 'T', data: '', id: b'a' * 16}]}]}",
		 "writes[1].events[0].id"},
		{"{writes: [" GOOD_WRITE "], stream: 'a'}", "stream"},
		{"{writes: [" GOOD_WRITE "], events: []}", "events"},
		{"{writes: [" GOOD_WRITE "], checks: 5}", "checks"},
		{"{writes: [" GOOD_WRITE "], checks: [5]}", "checks[0]"},
		{"{writes: [" GOOD_WRITE "], checks: [{stream: 'b'}]}",
		 "checks[0].expected_version"},
		{"{writes: [" GOOD_WRITE "], checks: [{stream: 'b', expected_version: nil}]}",
		 "checks[0].expected_version"},
		{"{writes: [" GOOD_WRITE "], checks: [{stream: 'b', expected_version: 0}, "
		 "{expected_version: 0}]}",
		 "checks[1].stream"},
		{"{writes: [" GOOD_WRITE "], checks: [{stream: 'a', expected_version: 0}]}",
		 "checks[0].stream"},
		{"{writes: [" GOOD_WRITE "], checks: [{stream: 'b', expected_version: 0}, {stream: "
		 "'b', expected_version: 0}]}",
		 "checks[1].stream"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_named(&cases[i]);
}

#define CONDITION(value)  "{stream: 's', events: [" EVENT "], condition: " value "}"
#define CHECKPOINT(value) "{stream: 's', events: [" EVENT "], checkpoint: " value "}"
#define QUERY             "[{types: ['T']}]"

static void each_wrong_part_of_what_an_append_depends_on_is_named(void **state)
{
	static const struct bad cases[] = {
		{"{checks: []}", "checks"},
		{"{writes: [], checks: []}", "writes"},
		{"{checks: [{stream: 'a'}]}", "checks[0].expected_version"},
		{"{checks: [{stream: 'a', expected_version: 'any'}]}",
		 "checks[0].expected_version"},
		{"{checks: [{stream: 'a', expected_version: 0}, {stream: 'b', expected_version: "
		 "0}, "
		 "{stream: 'a', expected_version: 0}]}",
		 "checks[2].stream"},
		{"{checks: [{stream: '$a', expected_version: 0}]}", "checks[0].stream"},
		{"{condition: []}", "condition"},
		{CONDITION("5"), "condition"},
		{CONDITION("'all'"), "condition"},
		{CONDITION("[]"), "condition"},
		{CONDITION("{}"), "condition.fail_if"},
		{CONDITION("{fail_if: nil}"), "condition.fail_if"},
		{CONDITION("{fail_if: []}"), "condition.fail_if"},
		{CONDITION("{fail_if: [{}]}"), "condition.fail_if[0]"},
		{CONDITION("{fail_if: [{types: ['T']}, {tags: ['a', 5]}]}"),
		 "condition.fail_if[1].tags[1]"},
		{CONDITION("{fail_if: " QUERY ", after: -1}"), "condition.after"},
		{CONDITION("{fail_if: " QUERY ", after: 'end'}"), "condition.after"},
		{CONDITION("[5]"), "condition[0]"},
		{CONDITION("[{fail_if: " QUERY "}, 5]"), "condition[1]"},
		{CONDITION("[{fail_if: " QUERY "}, {after: 5}]"), "condition[1].fail_if"},
		{CONDITION("[{fail_if: " QUERY "}, {fail_if: [{streams: ['$a']}]}]"),
		 "condition[1].fail_if[0].streams[0]"},
		{CONDITION("[{fail_if: " QUERY ", after: float}]"), "condition[0].after"},
		{CHECKPOINT("5"), "checkpoint"},
		{CHECKPOINT("[]"), "checkpoint"},
		{CHECKPOINT("{}"), "checkpoint.consumer"},
		{CHECKPOINT("{consumer: 5, position: 1}"), "checkpoint.consumer"},
		{CHECKPOINT("{consumer: '', position: 1}"), "checkpoint.consumer"},
		{CHECKPOINT("{consumer: '$c', position: 1}"), "checkpoint.consumer"},
		{CHECKPOINT("{consumer: 'c' * 1025, position: 1}"), "checkpoint.consumer"},
		{CHECKPOINT("{consumer: 'c'}"), "checkpoint.position"},
		{CHECKPOINT("{consumer: 'c', position: -1}"), "checkpoint.position"},
		{CHECKPOINT("{consumer: 'c', position: 1, epoch: '1'}"), "checkpoint.epoch"},
		{CHECKPOINT("{consumer: 'c', position: 1, if_position: -1}"),
		 "checkpoint.if_position"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_named(&cases[i]);
}

/* Names of all conditions together, and conditions. */
static void what_conditions_look_for_is_bounded(void **state)
{
	static const struct {
		uint32_t conditions, names;
		bool taken;
	} cases[] = {
		{1, LIMIT_QUERY_NAMES, true},
		{2, LIMIT_QUERY_NAMES / 2, true},
		{2, LIMIT_QUERY_NAMES / 2 + 1, false},
		{LIMIT_CONDITIONS, LIMIT_QUERY_NAMES / LIMIT_CONDITIONS, true},
		{LIMIT_CONDITIONS + 1, 1, false},
	};
	char name[16];

	(void)state;
	for (size_t c = 0; c < COUNT_OF(cases); c++) {
		struct buffer text = {0};
		struct trial trial;

		buffer_append(&text, "{condition: [", 13);
		for (uint32_t i = 0; i < cases[c].conditions; i++) {
			buffer_append(&text, "{fail_if: [{tags: [", 19);
			for (uint32_t k = 0; k < cases[c].names; k++) {
				snprintf(name, sizeof name, "'%u',", k);
				buffer_append(&text, name, strlen(name));
			}
			buffer_append(&text, "]}]},", 5);
		}
		buffer_append(&text, "]}", 3);
		decode(&trial, (char *)text.data);
		assert_int_equal(trial.taken, cases[c].taken);
		if (!trial.taken)
			assert_string_equal(trial.problem.argument, "condition");
		end(&trial);
		buffer_close(&text);
	}
}

static void what_is_too_large_is_told_with_its_limit(void **state)
{
	static const struct {
		const char *text;
		uint64_t limit, size;
	} cases[] = {
		{ONE("{type: 'T', data: 'x' * 2000}"), 0, 0},
		{ONE("{type: 'T', data: 'x' * 1000, metadata: b'x' * 1000}"), 0, 0},
		{ONE("{type: 'T', data: 'x' * 2001}"), MAX_EVENT, 2001},
		{ONE("{type: 'T', data: 'x' * 1000, metadata: b'x' * 1001}"), MAX_EVENT, 2001},
		{ONE("{type: 'T', data: 'x' * 2000}, {type: 'T', data: 'x' * 2000}, {type: 'T', "
		     "data: "
		     "'x' * 1000}"),
		 0, 0},
		{ONE("{type: 'T', data: 'x' * 2000}, {type: 'T', data: 'x' * 2000}, {type: 'T', "
		     "data: "
		     "'x' * 1001}"),
		 MAX_APPEND, 5001},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct trial trial;

		decode(&trial, cases[i].text);
		assert_int_equal(trial.taken, cases[i].limit == 0);
		if (!trial.taken) {
			assert_int_equal(trial.problem.code, ANSWER_TOO_LARGE);
			assert_int_equal(trial.problem.limit, cases[i].limit);
			assert_int_equal(trial.problem.size, cases[i].size);
			assert_int_equal(trial.item.size, 0);
		}
		end(&trial);
	}
}

static void events_are_counted_over_all_writes(void **state)
{
	struct buffer params = {0}, item = {0};
	struct append_decoder decoder;
	struct append_problem problem;
	struct append_form form;
	struct arguments arguments;

	(void)state;
	append_decoder_init(&decoder, LIMIT_APPEND_BYTES, LIMIT_EVENT_BYTES);
	for (uint32_t more = 0; more <= 1; more++) {
		buffer_clear(&params);
		msgpack_write_map(&params, 1);
		msgpack_write_string(&params, "writes");
		msgpack_write_array(&params, 2);
		for (uint32_t i = 0; i < 2; i++) {
			msgpack_write_map(&params, 2);
			notation_append(&params, "'stream'");
			notation_append(&params, "'s'");
			notation_append(&params, "'events'");
			msgpack_write_array(&params, LIMIT_APPEND_EVENTS / 2 + i * more);
			for (uint32_t j = 0; j < LIMIT_APPEND_EVENTS / 2 + i * more; j++)
				notation_append(&params, EVENT);
		}
		assert_true(arguments_index(&arguments, buffer_span(&params)));
		buffer_clear(&item);
		assert_int_equal(append_decode(&decoder, &arguments, &item, &form, &problem),
				 more == 0);
	}
	assert_int_equal(problem.code, ANSWER_TOO_LARGE);
	assert_int_equal(problem.limit, LIMIT_APPEND_EVENTS);
	assert_int_equal(problem.size, LIMIT_APPEND_EVENTS + 1);
	append_decoder_close(&decoder);
	buffer_close(&params);
	buffer_close(&item);
}

/* ---- what is taken is what was meant ---- */

static void describe_condition(struct span content, char *text, size_t size)
{
	struct condition condition;
	struct query query;
	struct error error;

	query_init(&query);
	assert_int_equal(command_parse_condition(content, &condition, &error), 0);
	assert_int_equal(query_parse(condition.query, &query, &error), 0);
	snprintf(text, size, "!%u>%llu(%u,%u) ", condition.index,
		 (unsigned long long)condition.after, query_item_count(&query),
		 query_name_count(&query));
	query_close(&query);
}

static void describe_checkpoint(struct span content, char *text, size_t size)
{
	struct checkpoint_section section;
	struct system_checkpoint checkpoint;
	struct record record;
	struct error error;

	assert_int_equal(command_parse_checkpoint(content, &section, &error), 0);
	assert_int_equal(record_parse(section.record, &record), 0);
	assert_int_equal(system_checkpoint_parse(&record, &checkpoint), 0);
	assert_false(checkpoint.deleted);
	snprintf(text, size, "%.*s=%llu/%llu?%lld ", (int)record.stream.size,
		 (const char *)record.stream.data, (unsigned long long)checkpoint.position,
		 (unsigned long long)checkpoint.epoch,
		 section.has_if_position ? (long long)section.if_position : -1LL);
}

/* The sections of the one item, written down as text. */
static void describe(const struct buffer *item, char *text, size_t size)
{
	struct span items = buffer_span(item), sections;
	struct command_section section;
	size_t at = 0;

	assert_true(command_next_item(&items, &sections));
	assert_int_equal(items.size, 0);
	text[0] = '\0';
	while (command_next_section(&sections, &section)) {
		struct expectation expectation;
		struct record record;
		struct error error;

		if (section.tag == COMMAND_EXPECTATION) {
			assert_int_equal(
				command_parse_expectation(section.content, &expectation, &error),
				0);
			at += (size_t)snprintf(
				text + at, size - at, "%s%.*s=%d.%llu@%u ",
				expectation.written ? "" : "?", (int)expectation.stream.size,
				(const char *)expectation.stream.data, (int)expectation.kind,
				(unsigned long long)expectation.version, expectation.index);
			continue;
		}
		if (section.tag != COMMAND_RECORD) {
			if (section.tag == COMMAND_CONDITION)
				describe_condition(section.content, text + at, size - at);
			else
				describe_checkpoint(section.content, text + at, size - at);
			at += strlen(text + at);
			continue;
		}
		assert_int_equal(record_parse(section.content, &record), 0);
		at += (size_t)snprintf(text + at, size - at, "%.*s:%.*s:%.*s:%.*s:%u ",
				       (int)record.stream.size, (const char *)record.stream.data,
				       (int)record.type.size, (const char *)record.type.data,
				       (int)record.data.size, (const char *)record.data.data,
				       (int)record.metadata.size,
				       (const char *)record.metadata.data, record.tag_count);
		assert_true(at < size);
	}
}

static void items_say_what_was_meant(void **state)
{
	static const struct {
		const char *text, *item;
	} cases[] = {
		{"{stream: 's', events: [{type: 'T', data: 'd'}]}", "s=0.0@0 s:T:d::0 "},
		{"{events: [{data: b'd', metadata: 'm', type: 'T', tags: ['a', 'b', 'a']}], "
		 "expected_version: 7, stream: 's'}",
		 "s=1.7@0 s:T:d:m:2 "},
		{"{stream: 's', expected_version: 0, events: [" EVENT "]}", "s=1.0@0 s:T:::0 "},
		{"{stream: 's', expected_version: 'any', events: [" EVENT "]}", "s=0.0@0 s:T:::0 "},
		{"{stream: 's', expected_version: 'no_stream', events: [" EVENT "]}",
		 "s=2.0@0 s:T:::0 "},
		{"{stream: 's', expected_version: 'stream_exists', events: [" EVENT "]}",
		 "s=3.0@0 s:T:::0 "},
		{"{stream: 's', expected_version: 18446744073709551615, events: [" EVENT "]}",
		 "s=1.18446744073709551615@0 s:T:::0 "},
		{"{stream: 's', expected_version: nil, writes: nil, checks: nil, condition: nil, "
		 "checkpoint: nil, on_conflict: nil, events: [{type: 'T', data: 'd', metadata: "
		 "nil, "
		 "id: nil, tags: nil}]}",
		 "s=0.0@0 s:T:d::0 "},
		{"{stream: nil, expected_version: nil, events: nil, writes: [{stream: 'a', "
		 "expected_version: nil, events: [{type: 'T', data: 'd', metadata: 'm', metadata: "
		 "nil}]}]}",
		 "a=0.0@0 a:T:d::0 "},
		{"{stream: 'x', stream: 's', colour: {a: [1]}, 5: 6, events: [" EVENT "]}",
		 "s=0.0@0 s:T:::0 "},
		{"{writes: [{stream: 'a', expected_version: 1, events: [" EVENT "]}, {stream: 'b', "
		 "events: [" EVENT "]}, {stream: 'a', expected_version: 9, events: [" EVENT
		 "]}], checks: [{stream: 'c', expected_version: 'no_stream'}]}",
		 "a=1.1@0 b=0.0@1 ?c=2.0@0 a:T:::0 b:T:::0 a:T:::0 "},
		{"{stream: 's', events: [" EVENT "], checks: [{stream: 'a', expected_version: 3}], "
		 "checkpoint: {consumer: 'c', position: 7}, condition: {fail_if: " QUERY "}}",
		 "s=0.0@0 ?a=1.3@0 !0>0(1,1) s:T:::0 $checkpoint-c=7/0?-1 "},
		{"{checks: [{stream: 'a', expected_version: 'stream_exists'}, {stream: 'b', "
		 "expected_version: 'no_stream'}]}",
		 "?a=3.0@0 ?b=2.0@1 "},
		{"{writes: [], checks: nil, condition: [{fail_if: 'all', after: 9}, {fail_if: "
		 "[{types: ['a', 'b', 'a'], stream_prefix: 'x'}, {tags: ['t']}]}]}",
		 "!0>9(0,0) !1>0(2,4) "},
		{"{checkpoint: {consumer: 'c', position: 18446744073709551615, epoch: 4, "
		 "if_position: 0}}",
		 "$checkpoint-c=18446744073709551615/4?0 "},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct trial trial;
		char found[512];

		decode(&trial, cases[i].text);
		if (!trial.taken)
			fail_msg("%s: %s", cases[i].text, trial.problem.message);
		describe(&trial.item, found, sizeof found);
		assert_string_equal(found, cases[i].item);
		end(&trial);
	}
}

static void ids_are_kept_or_drawn(void **state)
{
	struct span items, sections;
	struct command_section section;
	struct trial trial;
	uint8_t given[UUID_BYTES];
	const uint8_t *ids[2];
	uint32_t count = 0;

	(void)state;
	memset(given, 'a', sizeof given);
	decode(&trial, ONE("{type: 'T', data: '', id: b'a' * 16}, " EVENT));
	assert_true(trial.taken);
	assert_int_equal(trial.form.event_count, 2);
	assert_true(trial.form.one_stream);
	items = buffer_span(&trial.item);
	assert_true(command_next_item(&items, &sections));
	while (command_next_section(&sections, &section))
		if (section.tag == COMMAND_RECORD)
			ids[count++] = record_id(section.content.data);
	assert_int_equal(count, 2);
	assert_memory_equal(ids[0], given, UUID_BYTES);
	assert_int_equal(ids[1][6] >> 4, 7); /* version 7 */
	end(&trial);
}

/* ---- what may be proposed twice ---- */

#define ID "id: b'a' * 16"

static void an_append_with_all_its_ids_may_be_sent_again(void **state)
{
	static const struct {
		const char *text;
		bool has;
	} cases[] = {
		{"{stream: 'S', events: [{" ID "}]}", true},
		{"{stream: 'S', events: [{" ID "}, {" ID "}]}", true},
		{"{stream: 'S', events: [{" ID "}, {type: 'T'}]}", false},
		{"{stream: 'S', events: [{id: nil}]}", false},
		{"{stream: 'S', events: []}", false},
		{"{stream: 'S', events: [7]}", false},
		{"{stream: 'S'}", false},
		{"{writes: [{events: [{" ID "}]}, {events: [{" ID "}]}]}", true},
		{"{writes: [{events: [{" ID "}]}, {events: [{}]}]}", false},
		{"{writes: [{events: [{" ID "}]}, {stream: 'S'}]}", false},
		{"{writes: [], checks: [{stream: 'S', expected_version: 1}]}", false},
		{"{checkpoint: {consumer: 'C', position: 1}}", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct arguments arguments;
		struct buffer params = {0};

		notation_append(&params, cases[i].text);
		struct span exact = unit_exact(params.data, params.size);

		assert_true(arguments_index(&arguments, exact));
		if (append_has_ids(&arguments) != cases[i].has)
			fail_msg("%s", cases[i].text);
		unit_free_exact(exact);
		buffer_close(&params);
	}
}

static void the_error_of_a_leader_says_whether_it_was_proposed(void **state)
{
	static const struct {
		const char *text;
		enum forward_verdict verdict;
	} cases[] = {
		{"{code: 'WRONG_EXPECTED_VERSION', message: ''}", FORWARD_DECIDED},
		{"{message: '', code: 'INVALID_ARGUMENT'}", FORWARD_DECIDED},
		{"{code: 'NOT_LEADER'}", FORWARD_REFUSED},
		{"{code: 'SHUTTING_DOWN'}", FORWARD_REFUSED},
		{"{code: 'TIMEOUT', outcome: 'unknown'}", FORWARD_UNKNOWN},
		{"{code: 'TIMEOUT', outcome: 'none'}", FORWARD_OTHER},
		{"{code: 'TIMEOUT'}", FORWARD_UNKNOWN},
		{"{code: 'OVERLOADED'}", FORWARD_OTHER},
		{"{code: 'INTERNAL'}", FORWARD_OTHER},
		{"{code: 7}", FORWARD_OTHER},
		{"{}", FORWARD_OTHER},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct buffer error = {0};

		notation_append(&error, cases[i].text);
		assert_int_equal(forward_verdict_of(buffer_span(&error)), cases[i].verdict);
		buffer_close(&error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_wrong_argument_of_one_stream_is_named),
		cmocka_unit_test(each_wrong_part_of_an_event_is_named),
		cmocka_unit_test(what_is_repeated_is_bounded),
		cmocka_unit_test(each_wrong_argument_of_several_streams_is_named),
		cmocka_unit_test(each_wrong_part_of_what_an_append_depends_on_is_named),
		cmocka_unit_test(what_conditions_look_for_is_bounded),
		cmocka_unit_test(what_is_too_large_is_told_with_its_limit),
		cmocka_unit_test(events_are_counted_over_all_writes),
		cmocka_unit_test(items_say_what_was_meant),
		cmocka_unit_test(ids_are_kept_or_drawn),
		cmocka_unit_test(an_append_with_all_its_ids_may_be_sent_again),
		cmocka_unit_test(the_error_of_a_leader_says_whether_it_was_proposed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
