/* Events of an append: from their maps to records with blanks. See append_decode.h. */
#include "node/append_decoding.h"

#include "base/assert.h"
#include "base/text.h"
#include <stdio.h>

/* The values of one event map, raw; no data when absent. */
struct event_parts {
	struct span type, data, metadata, id, tags;
};

static bool split_event(struct decode *decode, struct msgpack_reader *reader,
			struct event_parts *parts)
{
	uint32_t pairs;

	*parts = (struct event_parts){0};
	if (!msgpack_read_map(reader, &pairs))
		return decode_refuse(decode, "", "must be a map");
	if (pairs > LIMIT_MAP_PAIRS)
		return decode_refuse_pairs(decode, pairs);
	for (uint32_t i = 0; i < pairs; i++) {
		struct span name = {0}, value = {0};

		if (!msgpack_read_str(reader, &name))
			(void)msgpack_read_skip(reader);
		if (!msgpack_read_nil(reader) && !msgpack_read_raw(reader, &value))
			return decode_refuse(decode, "", "must be a map");
		if (span_equal_string(name, "type"))
			parts->type = value;
		else if (span_equal_string(name, "data"))
			parts->data = value;
		else if (span_equal_string(name, "metadata"))
			parts->metadata = value;
		else if (span_equal_string(name, "id"))
			parts->id = value;
		else if (span_equal_string(name, "tags"))
			parts->tags = value;
	}
	return true;
}

static bool read_type(struct decode *decode, struct span raw, struct span *type)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (raw.data == NULL)
		return decode_refuse(decode, "type", "is missing");
	if (!msgpack_read_str(&reader, type))
		return decode_refuse_type(decode, "type", "a string", raw);
	const char *wrong = text_label_problem(*type);

	if (wrong != NULL)
		return decode_refuse(decode, "type", "%s", wrong);
	return true;
}

static bool read_content(struct decode *decode, const char *name, struct span raw,
			 struct span *content)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_bytes(&reader, content))
		return decode_refuse_type(decode, name, "bin or str", raw);
	return true;
}

static bool read_id(struct decode *decode, struct span raw, uint8_t drawn[UUID_BYTES],
		    const uint8_t **id)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct append_decoder *decoder = decode->decoder;
	struct span given;

	if (raw.data == NULL) {
		uuid7_generate(drawn);
		*id = drawn;
		return true;
	}
	if (!msgpack_read_bin(&reader, &given))
		return decode_refuse_type(decode, "id", "bin of 16 bytes", raw);
	if (given.size != UUID_BYTES)
		return decode_refuse(decode, "id", "must have 16 bytes, not %zu", given.size);
	*id = given.data;
	if (decode->ids++ == 0) { /* most appends have one event: no map for them */
		decode->first_id = given.data;
		return true;
	}
	if (decode->ids == 2) {
		map_clear(&decoder->ids);
		map_put(&decoder->ids, span_of(decode->first_id, UUID_BYTES), 1);
	}
	if (++*map_put(&decoder->ids, given, 0) > 1)
		return decode_refuse(decode, "id", "is that of an event before it in this append");
	return true;
}

static bool is_repeated(const struct record_fields *fields, struct span tag)
{
	for (uint32_t i = 0; i < fields->tag_count; i++)
		if (span_equal(fields->tags[i], tag))
			return true;
	return false;
}

static bool read_tags(struct decode *decode, struct span raw, struct record_fields *fields)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	uint32_t count;
	struct span tag;

	fields->tag_count = 0;
	if (raw.data == NULL)
		return true;
	if (!msgpack_read_array(&reader, &count))
		return decode_refuse_type(decode, "tags", "an array of strings", raw);
	if (count > LIMIT_TAGS_GIVEN)
		return decode_refuse(decode, "tags",
				     "must be an array of at most %u strings, not %u",
				     LIMIT_TAGS_GIVEN, count);
	for (uint32_t i = 0; i < count; i++) {
		const char *wrong = "must be a string";
		char name[32];

		if (msgpack_read_str(&reader, &tag))
			wrong = text_label_problem(tag);
		if (wrong != NULL) {
			snprintf(name, sizeof name, "tags[%u]", i);
			return decode_refuse(decode, name, "%s", wrong);
		}
		if (is_repeated(fields, tag))
			continue;
		if (fields->tag_count == LIMIT_TAGS)
			return decode_refuse(decode, "tags", "must be at most %u different ones",
					     LIMIT_TAGS);
		fields->tags[fields->tag_count++] = tag;
	}
	return true;
}

static bool count_bytes(struct decode *decode, const struct record_fields *fields)
{
	const struct append_decoder *decoder = decode->decoder;
	uint64_t bytes = fields->data.size + fields->metadata.size;
	char place[APPEND_PATH_BYTES], what[APPEND_PATH_BYTES + 32];

	if (bytes > decoder->max_event) {
		decode_write_place(decode, place);
		snprintf(what, sizeof what, "%s is too large, in bytes", place);
		return decode_too_large(decode, bytes, decoder->max_event, what);
	}
	decode->bytes += bytes;
	if (decode->bytes > decoder->max_append)
		return decode_too_large(decode, decode->bytes, decoder->max_append,
					"the append is too large, in bytes");
	return true;
}

/* The event at the reader becomes a record of the item. */
static bool decode_event(struct decode *decode, struct span stream, struct msgpack_reader *reader)
{
	struct record_fields fields;
	struct event_parts parts;
	uint8_t drawn[UUID_BYTES];

	fields.stream = stream;
	fields.metadata = (struct span){0};
	if (!split_event(decode, reader, &parts))
		return false;
	if (parts.data.data == NULL)
		return decode_refuse(decode, "data", "is missing; it may be empty");
	if (!read_type(decode, parts.type, &fields.type) ||
	    !read_content(decode, "data", parts.data, &fields.data) ||
	    (parts.metadata.data != NULL &&
	     !read_content(decode, "metadata", parts.metadata, &fields.metadata)) ||
	    !read_id(decode, parts.id, drawn, &fields.id) ||
	    !read_tags(decode, parts.tags, &fields) || !count_bytes(decode, &fields))
		return false;
	command_item_add_record(decode->item, &fields);
	return true;
}

bool decode_events(struct decode *decode, struct span stream, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	uint32_t count;

	if (raw.data == NULL)
		return decode_refuse(decode, "events", "is missing");
	if (!msgpack_read_array(&reader, &count))
		return decode_refuse_type(decode, "events", "an array of maps", raw);
	if (count == 0)
		return decode_refuse(decode, "events", "must not be empty");
	if (count > LIMIT_APPEND_EVENTS - decode->form->event_count)
		return decode_too_large(decode, (uint64_t)decode->form->event_count + count,
					LIMIT_APPEND_EVENTS, "the append has too many events");
	decode->form->event_count += count;
	decode->in_event = true;
	for (uint32_t i = 0; i < count; i++) {
		decode->event_index = i;
		if (!decode_event(decode, stream, &reader))
			return false;
		if (!decode_check_size(decode))
			return false;
	}
	decode->in_event = false;
	return true;
}

/* ---- without decoding ---- */

static bool has_id(struct msgpack_reader *reader)
{
	struct arguments event;
	struct span raw, id;

	return msgpack_read_raw(reader, &raw) && arguments_index(&event, raw) &&
	       arguments_find(&event, "id", &id);
}

static bool have_ids(struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	uint32_t count;

	if (!msgpack_read_array(&reader, &count) || count == 0)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!has_id(&reader))
			return false;
	return true;
}

bool append_has_ids(const struct arguments *arguments)
{
	struct arguments write;
	struct span raw, events;
	uint32_t count;

	if (!arguments_find(arguments, "writes", &raw))
		return arguments_find(arguments, "events", &events) && have_ids(events);
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_array(&reader, &count) || count == 0)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!msgpack_read_raw(&reader, &raw) || !arguments_index(&write, raw) ||
		    !arguments_find(&write, "events", &events) || !have_ids(events))
			return false;
	return true;
}
