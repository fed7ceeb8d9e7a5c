/* System records: their names and their data. */
#include "storage/system.h"

#include "base/assert.h"
#include "base/msgpack.h"

#include <errno.h>

#define CHECKPOINT         "$checkpoint"
#define CHECKPOINT_DELETED "$checkpoint-deleted"
#define SNAPSHOT           "$snapshot"
#define SNAPSHOT_DELETED   "$snapshot-deleted"

static bool begins_with(struct span name, const char *prefix)
{
	size_t size = strlen(prefix);

	return name.size > size && memcmp(name.data, prefix, size) == 0;
}

bool system_is_checkpoint_stream(struct span stream)
{
	return begins_with(stream, SYSTEM_CHECKPOINT_PREFIX);
}

bool system_is_checkpoint_record(const uint8_t *record)
{
	return record_is_system(record) && system_is_checkpoint_stream(record_stream(record));
}

struct span system_name(struct span stream, const char *prefix)
{
	ASSERT(begins_with(stream, prefix));
	return span_of(stream.data + strlen(prefix), stream.size - strlen(prefix));
}

void system_stream_name(const char *prefix, struct span name, struct buffer *into)
{
	buffer_append(into, prefix, strlen(prefix));
	buffer_append_span(into, name);
}

/* `text` is the stream's name, then the data. */
static void set_fields(struct record_fields *fields, uint8_t id[UUID_BYTES], const char *type,
		       const struct buffer *text, size_t name_bytes)
{
	uuid7_generate(id);
	fields->id = id;
	fields->stream = span_of(text->data, name_bytes);
	fields->type = span_of_string(type);
	fields->data = span_of(text->data + name_bytes, text->size - name_bytes);
	fields->metadata = span_of(NULL, 0);
	fields->tag_count = 0;
}

void system_checkpoint_fields(struct span consumer, const struct system_checkpoint *checkpoint,
			      uint8_t id[UUID_BYTES], struct buffer *text,
			      struct record_fields *fields)
{
	buffer_clear(text);
	system_stream_name(SYSTEM_CHECKPOINT_PREFIX, consumer, text);
	size_t name_bytes = text->size;

	if (checkpoint->deleted) {
		msgpack_write_map(text, 0);
	} else {
		msgpack_write_map(text, 2);
		msgpack_write_string(text, "position");
		msgpack_write_u64(text, checkpoint->position);
		msgpack_write_string(text, "epoch");
		msgpack_write_u64(text, checkpoint->epoch);
	}
	set_fields(fields, id, checkpoint->deleted ? CHECKPOINT_DELETED : CHECKPOINT, text,
		   name_bytes);
}

void system_snapshot_fields(struct span stream, const struct system_snapshot *snapshot,
			    uint8_t id[UUID_BYTES], struct buffer *text,
			    struct record_fields *fields)
{
	buffer_clear(text);
	system_stream_name(SYSTEM_SNAPSHOT_PREFIX, stream, text);
	size_t name_bytes = text->size;

	if (snapshot->deleted) {
		msgpack_write_map(text, 0);
	} else {
		msgpack_write_map(text, 3);
		msgpack_write_string(text, "version");
		msgpack_write_u64(text, snapshot->version);
		msgpack_write_string(text, "type");
		msgpack_write_str(text, snapshot->type);
		msgpack_write_string(text, "data");
		msgpack_write_bin(text, snapshot->data);
	}
	set_fields(fields, id, snapshot->deleted ? SNAPSHOT_DELETED : SNAPSHOT, text, name_bytes);
}

static bool read_name(struct msgpack_reader *reader, const char *name)
{
	struct span found;

	return msgpack_read_str(reader, &found) && span_equal_string(found, name);
}

int system_checkpoint_parse(const struct record *record, struct system_checkpoint *checkpoint)
{
	struct msgpack_reader reader = msgpack_reader_of(record->data);
	uint32_t pairs;

	*checkpoint = (struct system_checkpoint){
		.deleted = span_equal_string(record->type, CHECKPOINT_DELETED)};
	if (checkpoint->deleted)
		return 0;
	if (!span_equal_string(record->type, CHECKPOINT) || !msgpack_read_map(&reader, &pairs) ||
	    pairs != 2 || !read_name(&reader, "position") ||
	    !msgpack_read_u64(&reader, &checkpoint->position) || !read_name(&reader, "epoch") ||
	    !msgpack_read_u64(&reader, &checkpoint->epoch))
		return -EBADMSG;
	return 0;
}

int system_snapshot_parse(const struct record *record, struct system_snapshot *snapshot)
{
	struct msgpack_reader reader = msgpack_reader_of(record->data);
	uint32_t pairs;

	*snapshot = (struct system_snapshot){
		.deleted = span_equal_string(record->type, SNAPSHOT_DELETED)};
	if (snapshot->deleted)
		return 0;
	if (!span_equal_string(record->type, SNAPSHOT) || !msgpack_read_map(&reader, &pairs) ||
	    pairs != 3 || !read_name(&reader, "version") ||
	    !msgpack_read_u64(&reader, &snapshot->version) || !read_name(&reader, "type") ||
	    !msgpack_read_str(&reader, &snapshot->type) || !read_name(&reader, "data") ||
	    !msgpack_read_bin(&reader, &snapshot->data))
		return -EBADMSG;
	return 0;
}
