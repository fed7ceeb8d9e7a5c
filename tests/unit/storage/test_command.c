/* Commands and manifests: what is encoded is parsed; what is cut, unknown or too much is refused. */
#include "tests/unit/storage/feed.h"

static struct span make_command(void)
{
	struct feed_append append = feed_single("Order-1", 1);
	struct buffer items;

	append.expectation_count = 2;
	append.expectations[1] = (struct expectation){.kind = EXPECTATION_VERSION,
						      .version = 77,
						      .stream = span_of_string("checked"),
						      .index = 5};
	append.event_count = 2;
	append.events[1] = append.events[0];
	buffer_init(&items);
	feed_item(&items, &append);
	feed_item(&items, &append);
	struct span command = feed_command(&items, 2, 123456789);
	buffer_close(&items);
	return command;
}

static uint8_t *bytes_of(struct span span)
{
	return (uint8_t *)(uintptr_t)span.data;
}

static void a_command_is_walked_as_it_was_written(void **state)
{
	struct span body = make_command(), items, sections;
	struct command_section section;
	struct expectation expectation;
	struct command command;
	struct record record;
	struct error error;
	uint32_t count = 0;

	(void)state;
	assert_ok(command_parse(body, &command, &error));
	assert_int_equal(command.kind, COMMAND_BATCH);
	assert_int_equal(command.item_count, 2);
	assert_int_equal(command.created, 123456789);
	for (items = command.items; command_next_item(&items, &sections); count++) {
		assert_true(command_next_section(&sections, &section));
		assert_int_equal(section.tag, COMMAND_EXPECTATION);
		assert_ok(command_parse_expectation(section.content, &expectation, &error));
		assert_true(expectation.written &&
			    span_equal_string(expectation.stream, "Order-1"));
		assert_true(command_next_section(&sections, &section));
		assert_ok(command_parse_expectation(section.content, &expectation, &error));
		assert_int_equal(expectation.kind, EXPECTATION_VERSION);
		assert_int_equal(expectation.version, 77);
		assert_int_equal(expectation.index, 5);
		assert_false(expectation.written);
		for (int i = 0; i < 2; i++) {
			assert_true(command_next_section(&sections, &section));
			assert_int_equal(section.tag, COMMAND_RECORD);
			assert_int_equal(record_parse(section.content, &record), 0);
		}
		assert_false(command_next_section(&sections, &section));
	}
	assert_int_equal(count, 2);
	unit_free_exact(body);
}

static void a_command_cut_short_is_refused(void **state)
{
	struct span body = make_command();
	struct command command;
	struct error error;

	(void)state;
	for (size_t size = 0; size < body.size; size++) {
		struct span exact = unit_exact(body.data, size);

		assert_int_equal(command_parse(exact, &command, &error), -EBADMSG);
		unit_free_exact(exact);
	}
	unit_free_exact(body);
}

/* One byte set to another value, at an offset of the command made above. */
static void what_is_unknown_is_refused(void **state)
{
	static const struct {
		size_t offset;
		uint8_t value;
		const char *says;
	} cases[] = {
		{0, 0, "unknown kind 0"},
		{0, 3, "unknown kind 3"},
		{0, COMMAND_TERM, "term marker"},
		{1, 2, "unknown format 2"},
		{2, 1, "unknown format"},
		{4, 1, "behind the last item"},
		{4, 3, "ends before item 2"},
		{7, 0xff, "ends before item 2"},
		{19, 1, "item 0 of 2 has"},
		{20, 0, "tag 0"},
		{20, COMMAND_CHECKPOINT + 1, "tag 5"},
		{20, COMMAND_RECORD, "behind a record"},
		{23, 0xff, "bytes where"},
	};
	struct span body = make_command();
	struct command command;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		uint8_t before = body.data[cases[i].offset];

		bytes_of(body)[cases[i].offset] = cases[i].value;
		assert_int_equal(command_parse(body, &command, &error), -EBADMSG);
		if (strstr(error.message, cases[i].says) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].says);
		bytes_of(body)[cases[i].offset] = before;
	}
	assert_ok(command_parse(body, &command, &error));
	unit_free_exact(body);
}

static void strange_expectations_are_refused(void **state)
{
	static uint8_t content[16 + RECORD_STREAM_BYTES_MAX + 1] = {EXPECTATION_STREAM_EXISTS, 1};
	struct expectation expectation;
	struct error error;

	(void)state;
	assert_int_equal(command_parse_expectation(span_of(content, 17), &expectation, &error), 0);
	assert_int_equal(command_parse_expectation(span_of(content, sizeof content - 1),
						   &expectation, &error),
			 0);
	assert_int_equal(command_parse_expectation(span_of(content, 16), &expectation, &error),
			 -EBADMSG);
	assert_int_equal(
		command_parse_expectation(span_of(content, sizeof content), &expectation, &error),
		-EBADMSG);
	for (size_t i = 0; i < 4; i++) {
		content[i] ^= 0x40;
		assert_int_equal(
			command_parse_expectation(span_of(content, 17), &expectation, &error),
			-EBADMSG);
		content[i] ^= 0x40;
	}
}

/* ---- conditions and checkpoints ---- */

enum { E = COMMAND_EXPECTATION, R = COMMAND_RECORD, C = COMMAND_CONDITION, P = COMMAND_CHECKPOINT };

static void add_section(struct buffer *items, int tag)
{
	static const uint8_t id[UUID_BYTES];
	struct expectation expectation = {.stream = span_of_string("s")};
	struct record_fields fields = {
		.id = id, .stream = span_of_string("s"), .type = span_of_string("t")};
	uint64_t if_position = 9;
	struct query query;

	query_init(&query);
	if (tag == E)
		command_item_add_expectation(items, &expectation);
	if (tag == R)
		command_item_add_record(items, &fields);
	if (tag == C)
		command_item_add_condition(items, 7, UINT64_C(1) << 60, &query);
	if (tag == P)
		command_item_add_checkpoint(items, &if_position, &fields);
	query_close(&query);
}

/* What may follow what in an item. */
static void sections_come_in_their_order(void **state)
{
	static const struct {
		int tags[4];
		const char *says; /* NULL: fine */
	} cases[] = {
		{{0}, NULL},
		{{C}, NULL},
		{{P}, NULL},
		{{E, C, R, P}, NULL},
		{{C, E, C, R}, NULL},
		{{C, P}, NULL},
		{{R, C}, "behind a record"},
		{{R, E}, "behind a record"},
		{{P, P}, "behind its checkpoint"},
		{{P, R}, "behind its checkpoint"},
		{{P, C}, "behind its checkpoint"},
		{{E, P, E}, "behind its checkpoint"},
	};
	struct command command;
	struct buffer items;
	struct error error;

	(void)state;
	buffer_init(&items);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		buffer_clear(&items);
		size_t item = command_item_begin(&items);
		for (int at = 0; at < 4 && cases[i].tags[at] != 0; at++)
			add_section(&items, cases[i].tags[at]);
		command_item_end(&items, item);
		struct span body = feed_command(&items, 1, 0);
		int rc = command_parse(body, &command, &error);
		unit_free_exact(body);
		assert_int_equal(rc, cases[i].says == NULL ? 0 : -EBADMSG);
		if (cases[i].says != NULL && strstr(error.message, cases[i].says) == NULL)
			fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i].says);
	}
	buffer_close(&items);
}

/* The only section of an item. */
static struct span only_section(struct buffer *items, int tag)
{
	struct command_section section;

	buffer_clear(items);
	size_t item = command_item_begin(items);
	add_section(items, tag);
	command_item_end(items, item);
	struct span rest = buffer_span(items), sections;
	assert_true(command_next_item(&rest, &sections));
	assert_true(command_next_section(&sections, &section));
	assert_int_equal(section.tag, tag);
	return section.content;
}

static void a_condition_is_read_back(void **state)
{
	struct condition condition;
	struct buffer items;
	struct error error;

	(void)state;
	buffer_init(&items);
	struct span content = only_section(&items, C);
	assert_ok(command_parse_condition(content, &condition, &error));
	assert_int_equal(condition.index, 7);
	assert_int_equal(condition.after, UINT64_C(1) << 60);
	assert_int_equal(condition.query.size, 4); /* "all" */
	for (size_t size = 0; size <= 16; size++)
		assert_int_equal(
			command_parse_condition(span_of(content.data, size), &condition, &error),
			-EBADMSG);
	for (size_t zero = 4; zero < 8; zero++) {
		bytes_of(content)[zero] = 1;
		assert_int_equal(command_parse_condition(content, &condition, &error), -EBADMSG);
		bytes_of(content)[zero] = 0;
	}
	buffer_close(&items);
}

static void a_checkpoint_is_read_back(void **state)
{
	struct checkpoint_section checkpoint;
	struct record record;
	struct buffer items;
	struct error error;

	(void)state;
	buffer_init(&items);
	struct span content = only_section(&items, P);
	assert_ok(command_parse_checkpoint(content, &checkpoint, &error));
	assert_true(checkpoint.has_if_position);
	assert_int_equal(checkpoint.if_position, 9);
	assert_int_equal(record_parse(checkpoint.record, &record), 0);
	assert_int_equal(record.bytes.size, checkpoint.record.size);
	for (size_t size = 0; size <= 16; size++)
		assert_int_equal(
			command_parse_checkpoint(span_of(content.data, size), &checkpoint, &error),
			-EBADMSG);
	for (size_t at = 0; at < 8; at++) {
		bytes_of(content)[at] ^= 0x02;
		assert_int_equal(command_parse_checkpoint(content, &checkpoint, &error), -EBADMSG);
		bytes_of(content)[at] ^= 0x02;
	}
	bytes_of(content)[0] = 0;
	assert_ok(command_parse_checkpoint(content, &checkpoint, &error));
	assert_false(checkpoint.has_if_position);
	buffer_close(&items);
}

static void a_term_marker_is_a_header(void **state)
{
	uint8_t header[COMMAND_HEADER_BYTES];
	struct command command;
	struct error error;

	(void)state;
	command_header_write(header, COMMAND_TERM, 0, -3);
	assert_ok(command_parse(span_of(header, sizeof header), &command, &error));
	assert_int_equal(command.kind, COMMAND_TERM);
	assert_int_equal(command.created, -3);
}

static void a_manifest_is_read_back_and_every_flip_is_found(void **state)
{
	struct manifest manifest = {.cluster_id = "0123456789abcde",
				    .applied_index = 1,
				    .position = 2,
				    .created = -3,
				    .hash = 4},
			read;
	uint8_t bytes[MANIFEST_BYTES];
	struct error error;

	(void)state;
	manifest_encode(&manifest, bytes);
	assert_ok(manifest_decode(span_of(bytes, sizeof bytes), &read, &error));
	assert_memory_equal(&read, &manifest, sizeof read);
	for (size_t i = 0; i < sizeof bytes; i++) {
		bytes[i] ^= 0x10;
		assert_int_equal(manifest_decode(span_of(bytes, sizeof bytes), &read, &error),
				 -EBADMSG);
		bytes[i] ^= 0x10;
	}
	assert_int_equal(manifest_decode(span_of(bytes, sizeof bytes - 1), &read, &error),
			 -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_is_walked_as_it_was_written),
		cmocka_unit_test(a_term_marker_is_a_header),
		cmocka_unit_test(a_command_cut_short_is_refused),
		cmocka_unit_test(what_is_unknown_is_refused),
		cmocka_unit_test(strange_expectations_are_refused),
		cmocka_unit_test(sections_come_in_their_order),
		cmocka_unit_test(a_condition_is_read_back),
		cmocka_unit_test(a_checkpoint_is_read_back),
		cmocka_unit_test(a_manifest_is_read_back_and_every_flip_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
