/* The machine by itself, over a view that the test makes up. */
#include "tests/unit/storage/feed.h"

#include "storage/machine.h"

/* Every stream whose name begins with the letter of a state is in it, at version 3. */
static int find_stream(void *arg, struct span name, struct stream_facts *facts, struct error *error)
{
	(void)arg;
	(void)error;
	*facts = (struct stream_facts){0};
	switch (name.data[0]) {
	case 'l':
		facts->state = STREAM_LIVE;
		break;
	case 'd':
		facts->state = STREAM_DELETED;
		break;
	case 't':
		facts->state = STREAM_TOMBSTONED;
		break;
	default:
		return 0;
	}
	facts->version = 3;
	facts->first_version = 1;
	facts->created = 10;
	facts->updated = 30;
	return 0;
}

static int find_no_id(void *arg, const uint8_t *id, uint64_t *position, struct error *error)
{
	(void)id;
	(void)error;
	*position = 0;
	return arg == NULL ? 0 : error_set(error, -EIO, "a failing disk");
}

static int read_nothing(void *arg, uint64_t position, struct buffer *into, struct error *error)
{
	(void)arg;
	(void)position;
	(void)into;
	return error_set(error, -EIO, "there is nothing to read");
}

static struct machine *new_machine(void *failing)
{
	struct machine_view view = {.arg = failing,
				    .find_stream = find_stream,
				    .find_id = find_no_id,
				    .read = read_nothing};

	return machine_new(&view);
}

static int decide(struct machine *machine, struct buffer *items, const struct machine_head *head,
		  struct machine_decision *decision, struct error *error)
{
	struct span rest = buffer_span(items), sections;

	assert_true(command_next_item(&rest, &sections));
	return machine_decide(machine, sections, items->data + (sections.data - items->data), 100,
			      head, decision, error);
}

static struct machine_decision decide_append(struct machine *machine, struct buffer *items,
					     const struct feed_append *append)
{
	struct machine_head head = {.position = 5, .created = 50, .hash = 7};
	struct machine_decision decision;
	struct error error;

	buffer_clear(items);
	feed_item(items, append);
	assert_ok(decide(machine, items, &head, &decision, &error));
	return decision;
}

static void each_expectation_holds_for_some_states(void **state)
{
	static const struct {
		enum expectation_kind kind;
		uint64_t version;
		bool none, live, deleted, tombstoned; /* all but the first at version 3 */
	} cases[] = {
		{EXPECTATION_ANY, 0, true, true, true, true},
		{EXPECTATION_VERSION, 0, true, false, false, false},
		{EXPECTATION_VERSION, 2, false, false, false, false},
		{EXPECTATION_VERSION, 3, false, true, true, true},
		{EXPECTATION_VERSION, 4, false, false, false, false},
		{EXPECTATION_NO_STREAM, 0, true, false, true, false},
		{EXPECTATION_STREAM_EXISTS, 0, false, true, false, false},
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		const bool wanted[] = {cases[i].none, cases[i].live, cases[i].deleted,
				       cases[i].tombstoned};
		struct expectation expectation = {.kind = cases[i].kind,
						  .version = cases[i].version};

		for (size_t stream = 0; stream < COUNT_OF(wanted); stream++) {
			struct stream_facts facts;

			find_stream(NULL, span_of(&"nldt"[stream], 1), &facts, &error);
			assert_int_equal(machine_expectation_holds(&expectation, &facts),
					 wanted[stream]);
		}
	}
}

static void every_violation_is_told_with_its_place(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct feed_append append = feed_single("live", 1);
	struct buffer items;

	(void)state;
	append.expectation_count = 4;
	append.expectations[0].kind = EXPECTATION_VERSION;
	append.expectations[0].version = 9;
	append.expectations[1] = (struct expectation){
		.kind = EXPECTATION_STREAM_EXISTS, .stream = span_of_string("deleted"), .index = 2};
	append.expectations[2] = (struct expectation){.kind = EXPECTATION_VERSION,
						      .version = 3,
						      .stream = span_of_string("like"),
						      .index = 3};
	append.expectations[3] = (struct expectation){
		.kind = EXPECTATION_NO_STREAM, .stream = span_of_string("tomb"), .index = 9};
	buffer_init(&items);
	struct machine_decision decision = decide_append(machine, &items, &append);
	const struct outcome *outcome = &decision.outcome;
	assert_int_equal(outcome->code, ANSWER_WRONG_EXPECTED_VERSION);
	assert_int_equal(outcome->violation_count, 3);
	assert_int_equal(outcome->violations[0].actual, 3);
	assert_int_equal(outcome->violations[0].state, STREAM_LIVE);
	assert_int_equal(outcome->violations[0].expected.version, 9);
	assert_int_equal(outcome->violations[1].expected.index, 2);
	assert_int_equal(outcome->violations[1].state, STREAM_DELETED);
	assert_int_equal(outcome->violations[2].expected.index, 9);
	assert_true(span_equal_string(outcome->violations[2].expected.stream, "tomb"));
	assert_int_equal(decision.write_count, 0);
	assert_int_equal(decision.head.position, 5);
	assert_int_equal(decision.head.created, 50);
	assert_int_equal(decision.head.hash, 7);
	buffer_close(&items);
	machine_free(machine);
}

static void a_tombstoned_stream_takes_nothing(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct feed_append append = feed_single("tomb", 1);
	struct buffer items;

	(void)state;
	buffer_init(&items);
	struct machine_decision decision = decide_append(machine, &items, &append);
	assert_int_equal(decision.outcome.code, ANSWER_STREAM_TOMBSTONED);
	assert_true(span_equal_string(decision.outcome.conflict_stream, "tomb"));
	buffer_close(&items);
	machine_free(machine);
}

static void a_deleted_stream_goes_on_with_its_versions(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct feed_append append = feed_single("deleted", 1);
	struct buffer items;

	(void)state;
	buffer_init(&items);
	struct machine_decision decision = decide_append(machine, &items, &append);
	assert_int_equal(decision.outcome.code, ANSWER_OK);
	assert_int_equal(decision.outcome.streams[0].first_version, 4);
	assert_int_equal(decision.targets[0].facts.state, STREAM_LIVE);
	buffer_close(&items);
	machine_free(machine);
}

/* Many streams in any interleaving: versions count in each, positions over all. */
static void streams_may_be_interleaved(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct machine_head head = {.position = 0};
	struct machine_decision decision;
	struct buffer items;
	struct error error;
	char names[40][16];
	uint64_t versions[40] = {0};

	(void)state;
	buffer_init(&items);
	size_t item = command_item_begin(&items);
	for (uint32_t i = 0; i < 40; i++) {
		snprintf(names[i], sizeof names[i], "stream-%u", i);
		struct expectation expectation = {.written = true,
						  .stream = span_of_string(names[i])};
		command_item_add_expectation(&items, &expectation);
	}
	for (uint32_t i = 0; i < 2000; i++) {
		struct feed_append single = feed_single(names[i * 7 % 40], i);
		struct record_fields fields = {.id = single.events[0].id,
					       .stream = single.events[0].stream,
					       .type = single.events[0].type};
		command_item_add_record(&items, &fields);
	}
	command_item_end(&items, item);
	assert_ok(decide(machine, &items, &head, &decision, &error));
	assert_int_equal(decision.outcome.code, ANSWER_OK);
	assert_int_equal(decision.write_count, 2000);
	for (uint32_t i = 0; i < 2000; i++) {
		const uint8_t *record = decision.writes[i].bytes;

		assert_int_equal(record_position(record), i + 1);
		assert_int_equal(record_version(record), ++versions[i * 7 % 40]);
		assert_int_equal(record_created(record), 100);
	}
	assert_int_equal(decision.outcome.stream_count, 40);
	for (uint32_t i = 0; i < 40; i++) {
		assert_true(span_equal_string(decision.outcome.streams[i].stream, names[i]));
		assert_int_equal(decision.outcome.streams[i].first_version, 1);
		assert_int_equal(decision.outcome.streams[i].version, 50);
	}
	buffer_close(&items);
	machine_free(machine);
}

static void time_does_not_go_back(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct machine_head head = {.position = 5, .created = 5000};
	struct feed_append append = feed_single("new", 1);
	struct machine_decision decision;
	struct buffer items;
	struct error error;

	(void)state;
	buffer_init(&items);
	feed_item(&items, &append);
	assert_ok(decide(machine, &items, &head, &decision, &error));
	assert_int_equal(decision.outcome.created, 5000);
	assert_int_equal(record_created(decision.writes[0].bytes), 5000);
	assert_int_equal(decision.head.created, 5000);
	buffer_close(&items);
	machine_free(machine);
}

static void an_append_without_events_only_checks(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct feed_append append = feed_single("live", 1);
	struct buffer items;

	(void)state;
	append.event_count = 0;
	buffer_init(&items);
	struct machine_decision decision = decide_append(machine, &items, &append);
	assert_int_equal(decision.outcome.code, ANSWER_OK);
	assert_false(decision.outcome.duplicate);
	assert_int_equal(decision.outcome.first_position, 5); /* the head */
	assert_int_equal(decision.outcome.position, 5);
	assert_int_equal(decision.head.position, 5);
	assert_int_equal(decision.head.created, 50); /* nothing happened at the later time */
	assert_int_equal(decision.outcome.streams[0].version, 3);
	buffer_close(&items);
	machine_free(machine);
}

static void equal_items_lead_to_equal_bytes(void **state)
{
	struct machine *machines[] = {new_machine(NULL), new_machine(NULL)};
	struct feed_append append = feed_single("live", 1);
	struct buffer items[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		buffer_init(&items[i]);
	decide_append(machines[1], &items[1], &append); /* its arrays are used, now */
	struct machine_decision left = decide_append(machines[0], &items[0], &append);
	struct machine_decision right = decide_append(machines[1], &items[1], &append);
	assert_int_equal(left.head.hash, right.head.hash);
	assert_true(span_equal(buffer_span(&items[0]), buffer_span(&items[1])));
	for (int i = 0; i < 2; i++) {
		buffer_close(&items[i]);
		machine_free(machines[i]);
	}
}

static void a_record_needs_an_expectation(void **state)
{
	struct machine *machine = new_machine(NULL);
	struct feed_append append = feed_single("live", 1);
	struct machine_head head = {0};
	struct machine_decision decision;
	struct buffer items;
	struct error error;

	(void)state;
	append.events[0].stream = span_of_string("another");
	buffer_init(&items);
	feed_item(&items, &append);
	assert_int_equal(decide(machine, &items, &head, &decision, &error), -EBADMSG);
	append.events[0].stream = span_of_string("live");
	buffer_clear(&items);
	feed_item(&items, &append);
	items.data[items.size - 1] = 0x95; /* five tags, of which none follows */
	assert_int_equal(decide(machine, &items, &head, &decision, &error), -EBADMSG);
	buffer_close(&items);
	machine_free(machine);
}

static void a_failing_view_decides_nothing(void **state)
{
	int failing;
	struct machine *machine = new_machine(&failing);
	struct feed_append append = feed_single("live", 1);
	struct machine_head head = {0};
	struct machine_decision decision;
	struct buffer items;
	struct error error;

	(void)state;
	buffer_init(&items);
	feed_item(&items, &append);
	assert_int_equal(decide(machine, &items, &head, &decision, &error), -EIO);
	buffer_close(&items);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_expectation_holds_for_some_states),
		cmocka_unit_test(every_violation_is_told_with_its_place),
		cmocka_unit_test(a_tombstoned_stream_takes_nothing),
		cmocka_unit_test(a_deleted_stream_goes_on_with_its_versions),
		cmocka_unit_test(streams_may_be_interleaved),
		cmocka_unit_test(time_does_not_go_back),
		cmocka_unit_test(an_append_without_events_only_checks),
		cmocka_unit_test(equal_items_lead_to_equal_bytes),
		cmocka_unit_test(a_record_needs_an_expectation),
		cmocka_unit_test(a_failing_view_decides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
