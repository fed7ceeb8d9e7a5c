/* Records: what is encoded is parsed; nothing else is; stamps go where they belong. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "storage/record.h"

#include <errno.h>

static const uint8_t some_id[UUID_BYTES] = {1, 2,  3,  4,  5,  6,  0x77, 8,
					    9, 10, 11, 12, 13, 14, 15,   16};

static struct record_fields simple_fields(void)
{
	struct record_fields fields = {.id = some_id,
				       .stream = span_of_string("Order-42"),
				       .type = span_of_string("placed"),
				       .data = span_of_string("{}"),
				       .metadata = span_of_string("m"),
				       .tag_count = 2};

	fields.tags[0] = span_of_string("a");
	fields.tags[1] = span_of_string("customer:7");
	return fields;
}

static void a_record_is_the_published_bytes(void **state)
{
	static const uint8_t expected[] =
		"\x99\xcf\0\0\0\0\0\0\0\x05\xcf\0\0\0\0\0\0\0\x02\xcf\0\0\0\0\0\0\x03\xe8"
		"\xc4\x10\x01\x02\x03\x04\x05\x06\x77\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
		"\xa8Order-42\xa6placed\xc4\x02{}\xc4\x01m\x92\xa1"
		"a\xaa"
		"customer:7";
	struct record_fields fields = simple_fields();
	struct buffer buffer;

	(void)state;
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	record_stamp(buffer.data, 5, 2, 1000);
	assert_int_equal(buffer.size, sizeof expected - 1);
	assert_memory_equal(buffer.data, expected, buffer.size);
	assert_int_equal(record_position(buffer.data), 5);
	assert_int_equal(record_version(buffer.data), 2);
	assert_int_equal(record_created(buffer.data), 1000);
	buffer_close(&buffer);
}

static void a_time_before_1970_is_a_signed_number(void **state)
{
	struct record_fields fields = simple_fields();
	struct buffer buffer;
	struct record record;

	(void)state;
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	record_stamp(buffer.data, 1, 1, -5);
	assert_int_equal(buffer.data[RECORD_CREATED_OFFSET - 1], 0xd3);
	assert_int_equal(record_parse(buffer_span(&buffer), &record), 0);
	assert_int_equal(record.created, -5);
	record_stamp(buffer.data, 1, 1, 5);
	assert_int_equal(record_parse(buffer_span(&buffer), &record), 0);
	buffer_close(&buffer);
}

static void check_round_trip(const struct record_fields *fields)
{
	struct buffer buffer;
	struct record record;

	buffer_init(&buffer);
	record_encode(&buffer, fields);
	struct span exact = unit_exact(buffer.data, buffer.size);
	assert_int_equal(record_parse(exact, &record), 0);
	assert_int_equal(record.bytes.size, exact.size);
	assert_true(span_equal(record.stream, fields->stream));
	assert_true(span_equal(record_stream(exact.data), fields->stream));
	assert_true(span_equal(record.type, fields->type));
	assert_true(span_equal(record.data, fields->data));
	assert_true(span_equal(record.metadata, fields->metadata));
	assert_int_equal(record.tag_count, fields->tag_count);
	for (uint32_t i = 0; i < fields->tag_count; i++)
		assert_true(span_equal(record.tags[i], fields->tags[i]));
	unit_free_exact(exact);
	buffer_close(&buffer);
}

static void every_size_of_every_field_survives(void **state)
{
	static const size_t names[] = {1, 31, 32, 255, 256, 1024, RECORD_STREAM_BYTES_MAX};
	static const size_t blobs[] = {0, 1, 255, 256, 65535, 65536, LIMIT_EVENT_BYTES};
	uint8_t *bytes = memory_zeroed(1, LIMIT_EVENT_BYTES);

	(void)state;
	memset(bytes, 'x', LIMIT_EVENT_BYTES);
	for (size_t i = 0; i < COUNT_OF(names); i++)
		for (size_t j = 0; j < COUNT_OF(blobs); j++) {
			struct record_fields fields = simple_fields();

			fields.stream = span_of(bytes, names[i]);
			fields.type = span_of(bytes, names[i] > 255 ? 255 : names[i]);
			fields.data = span_of(bytes, blobs[j]);
			fields.metadata = span_of(bytes, LIMIT_EVENT_BYTES - blobs[j]);
			fields.tag_count = LIMIT_TAGS;
			for (uint32_t tag = 0; tag < LIMIT_TAGS; tag++)
				fields.tags[tag] = span_of(bytes, tag % 2 == 0 ? 255 : tag);
			check_round_trip(&fields);
		}
	memory_free(bytes);
}

static void a_record_cut_short_is_refused(void **state)
{
	struct record_fields fields = simple_fields();
	struct buffer buffer;
	struct record record;

	(void)state;
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	for (size_t size = 0; size < buffer.size; size++) {
		struct span exact = unit_exact(buffer.data, size);

		assert_int_equal(record_parse(exact, &record), -EBADMSG);
		unit_free_exact(exact);
	}
	buffer_append(&buffer, "more", 4);
	assert_int_equal(record_parse(buffer_span(&buffer), &record), 0);
	assert_int_equal(record.bytes.size, buffer.size - 4);
	buffer_close(&buffer);
}

/* What stands at the place of the stream, and must not be taken. */
static void other_forms_of_the_same_values_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = {
#define CASE(text) {text, sizeof(text) - 1}
		CASE("\xa0\xa1t\xc4\x00\xc4\x00\x90"),      /* an empty stream */
		CASE("\xd9\x01s\xa1t\xc4\x00\xc4\x00\x90"), /* str8 for a short name */
		CASE("\xda\x00\x01s\xa1t\xc4\x00\xc4\x00\x90"),
		CASE("\xa1s\xa1t\xa0\xc4\x00\x90"),          /* data as str */
		CASE("\xa1s\xa1t\xc5\x00\x01x\xc4\x00\x90"), /* bin16 for a short blob */
		CASE("\xa1s\xa1t\xc4\x00\xc4\x00\xdc\x00\x01\xa1x"),
		CASE("\xa1s\xa1t\xc4\x00\xc4\x00\x91\xa0"),     /* an empty tag */
		CASE("\xa1s\xa1t\xc4\x00\xc4\x00\xdc\x00\x21"), /* 33 tags */
		CASE("\xa1s\xa1t\xc4\x00\xc4\x00\x80"),         /* a map for the tags */
		CASE("\xa1s\xc0\xc4\x00\xc4\x00\x90"),          /* nil for the type */
#undef CASE
	};
	struct record_fields fields = simple_fields();
	struct buffer buffer;
	struct record record;

	(void)state;
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		buffer.size = RECORD_STREAM_OFFSET;
		buffer_append(&buffer, cases[i].bytes, cases[i].size);
		assert_int_equal(record_parse(buffer_span(&buffer), &record), -EBADMSG);
	}
	buffer_close(&buffer);
}

static void a_changed_fixed_byte_is_refused(void **state)
{
	static const size_t fixed[] = {0, 1, 10, 19, 28, 29};
	struct record_fields fields = simple_fields();
	struct buffer buffer;
	struct record record;

	(void)state;
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	for (size_t i = 0; i < COUNT_OF(fixed); i++) {
		buffer.data[fixed[i]] ^= 1;
		assert_int_equal(record_parse(buffer_span(&buffer), &record), -EBADMSG);
		buffer.data[fixed[i]] ^= 1;
	}
	assert_int_equal(record_parse(buffer_span(&buffer), &record), 0);
	buffer_close(&buffer);
}

static void a_system_record_is_known_by_its_stream(void **state)
{
	struct record_fields fields = simple_fields();
	struct buffer buffer;

	(void)state;
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	assert_false(record_is_system(buffer.data));
	buffer_clear(&buffer);
	fields.stream = span_of_string("$checkpoint-x");
	record_encode(&buffer, &fields);
	assert_true(record_is_system(buffer.data));
	buffer_close(&buffer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_the_published_bytes),
		cmocka_unit_test(a_time_before_1970_is_a_signed_number),
		cmocka_unit_test(every_size_of_every_field_survives),
		cmocka_unit_test(a_record_cut_short_is_refused),
		cmocka_unit_test(other_forms_of_the_same_values_are_refused),
		cmocka_unit_test(a_changed_fixed_byte_is_refused),
		cmocka_unit_test(a_system_record_is_known_by_its_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
