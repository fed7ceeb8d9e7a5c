/* System records: what is written is read back, of other records and of malformed ones it is refused. */
#include "tests/unit/storage/feed.h"

#include "storage/system.h"

#define STREAM_BYTES (LIMIT_STREAM_NAME_BYTES + 1)

static struct record encode(const struct record_fields *fields, struct buffer *bytes)
{
	struct record record;

	buffer_clear(bytes);
	record_encode(bytes, fields);
	assert_int_equal(record_parse(buffer_span(bytes), &record), 0);
	return record;
}

static void which_streams_keep_checkpoints(void **state)
{
	static const struct {
		const char *stream;
		bool keeps;
	} cases[] = {{"$checkpoint-x", true},  {"$checkpoint-$checkpoint-", true},
		     {"$checkpoint--", true},  {"$checkpoint-", false},
		     {"$checkpoint", false},   {"$checkpoints-x", false},
		     {"checkpoint-x", false},  {"$snapshot-$checkpoint-x", false},
		     {"$Checkpoint-x", false}, {"$", false}};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		assert_int_equal(system_is_checkpoint_stream(span_of_string(cases[i].stream)),
				 cases[i].keeps);
}

static void the_name_in_a_stream_is_found_again(void **state)
{
	static const char *const names[] = {"x", "Order-1", "$checkpoint-x", "-"};
	static const char *const prefixes[] = {SYSTEM_CHECKPOINT_PREFIX, SYSTEM_SNAPSHOT_PREFIX};
	struct buffer stream;

	(void)state;
	buffer_init(&stream);
	for (size_t i = 0; i < COUNT_OF(names) * COUNT_OF(prefixes); i++) {
		const char *name = names[i / 2], *prefix = prefixes[i % 2];

		buffer_clear(&stream);
		system_stream_name(prefix, span_of_string(name), &stream);
		assert_true(span_equal_string(system_name(buffer_span(&stream), prefix), name));
	}
	buffer_close(&stream);
}

static void checkpoints_are_read_back(void **state)
{
	static const struct system_checkpoint cases[] = {
		{false, 0, 0},          {false, 127, 128},
		{false, UINT64_MAX, 0}, {false, 65536, UINT64_MAX},
		{true, 0, 0},
	};
	uint8_t id[UUID_BYTES], id_before[UUID_BYTES] = {0};
	struct record_fields fields;
	struct buffer text, bytes;

	(void)state;
	buffer_init(&text);
	buffer_init(&bytes);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct system_checkpoint read;
		struct system_snapshot other;

		system_checkpoint_fields(span_of_string("c"), &cases[i], id, &text, &fields);
		struct record record = encode(&fields, &bytes);
		assert_true(span_equal_string(record.stream, "$checkpoint-c"));
		assert_memory_not_equal(record.id, id_before, UUID_BYTES);
		memcpy(id_before, id, UUID_BYTES);
		assert_int_equal(system_checkpoint_parse(&record, &read), 0);
		assert_int_equal(read.deleted, cases[i].deleted);
		assert_int_equal(read.position, cases[i].position);
		assert_int_equal(read.epoch, cases[i].epoch);
		assert_int_equal(system_snapshot_parse(&record, &other), -EBADMSG);
	}
	buffer_close(&bytes);
	buffer_close(&text);
}

static void snapshots_are_read_back(void **state)
{
	static char name[STREAM_BYTES];
	struct system_snapshot cases[] = {
		{false, 1, span_of_string(""), span_of_string("")},
		{false, UINT64_MAX, span_of_string("Order"), span_of_string("some state")},
		{true, 0, span_of_string(""), span_of_string("")},
	};
	uint8_t id[UUID_BYTES];
	struct record_fields fields;
	struct buffer text, bytes;

	(void)state;
	memset(name, 'n', sizeof name - 1); /* the longest that a stream can have */
	buffer_init(&text);
	buffer_init(&bytes);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct system_checkpoint other;
		struct system_snapshot read;

		system_snapshot_fields(span_of_string(name), &cases[i], id, &text, &fields);
		struct record record = encode(&fields, &bytes);
		assert_true(span_equal_string(system_name(record.stream, SYSTEM_SNAPSHOT_PREFIX),
					      name));
		assert_int_equal(system_snapshot_parse(&record, &read), 0);
		assert_int_equal(read.deleted, cases[i].deleted);
		assert_int_equal(read.version, cases[i].version);
		assert_true(span_equal(read.type, cases[i].type));
		assert_true(span_equal(read.data, cases[i].data));
		assert_int_equal(system_checkpoint_parse(&record, &other), -EBADMSG);
	}
	buffer_close(&bytes);
	buffer_close(&text);
}

static void data_cut_short_is_refused(void **state)
{
	struct system_checkpoint checkpoint = {.position = 300, .epoch = 70000};
	struct system_snapshot snapshot = {
		.version = 5, .type = span_of_string("t"), .data = span_of_string("d")};
	uint8_t id[UUID_BYTES];
	struct record_fields fields;
	struct buffer text, bytes;

	(void)state;
	buffer_init(&text);
	buffer_init(&bytes);
	for (int kind = 0; kind < 2; kind++) {
		if (kind == 0)
			system_checkpoint_fields(span_of_string("c"), &checkpoint, id, &text,
						 &fields);
		else
			system_snapshot_fields(span_of_string("s"), &snapshot, id, &text, &fields);
		for (fields.data.size -= 1; fields.data.size > 0; fields.data.size--) {
			struct record record = encode(&fields, &bytes);
			struct system_checkpoint read;
			struct system_snapshot other;

			assert_int_equal(kind == 0 ? system_checkpoint_parse(&record, &read)
						   : system_snapshot_parse(&record, &other),
					 -EBADMSG);
		}
	}
	buffer_close(&bytes);
	buffer_close(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(which_streams_keep_checkpoints),
		cmocka_unit_test(the_name_in_a_stream_is_found_again),
		cmocka_unit_test(checkpoints_are_read_back),
		cmocka_unit_test(snapshots_are_read_back),
		cmocka_unit_test(data_cut_short_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
