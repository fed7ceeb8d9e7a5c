/*
 * Whatever is taken for a record is exactly what encoding its fields would give: there is one form
 * for each event. The functions for single fields agree with the parse.
 */
#include "base/assert.h"
#include "storage/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_single_fields(const struct record *record)
{
	const uint8_t *bytes = record->bytes.data;

	ASSERT(record_position(bytes) == record->position);
	ASSERT(record_version(bytes) == record->version);
	ASSERT(record_created(bytes) == record->created);
	ASSERT(record_id(bytes) == record->id);
	ASSERT(span_equal(record_stream(bytes), record->stream));
	ASSERT(record_is_system(bytes) == (record->stream.data[0] == '$'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct record record;
	struct buffer buffer;

	if (record_parse(span_of(data, size), &record) != 0)
		return 0;
	struct record_fields fields = {.id = record.id,
				       .stream = record.stream,
				       .type = record.type,
				       .data = record.data,
				       .metadata = record.metadata,
				       .tag_count = record.tag_count};

	check_single_fields(&record);
	for (uint32_t i = 0; i < record.tag_count; i++)
		fields.tags[i] = record.tags[i];
	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	record_stamp(buffer.data, record.position, record.version, record.created);
	ASSERT(span_equal(buffer_span(&buffer), record.bytes));
	buffer_close(&buffer);
	return 0;
}
