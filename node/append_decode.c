#include "node/append_decode.h"

#include "base/assert.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define PATH_BYTES 64

/* One of `writes`, or the one stream of the other form. Spans point into the arguments. */
struct append_write {
	struct span stream;
	struct span expected; /* raw; no data when absent */
	struct span events;   /* raw */
};

/* What one decode carries along. */
struct decode {
	struct append_decoder *decoder;
	struct append_problem *problem;
	struct buffer *item;
	struct append_form *form;
	uint64_t bytes; /* data and metadata so far */
	uint64_t ids;   /* given so far */
	const uint8_t *first_id;
	/* Where we are, for the path in a problem. */
	const char *list; /* "writes", "checks", or NULL */
	uint32_t list_index;
	bool in_event;
	uint32_t event_index;
};

void append_decoder_init(struct append_decoder *decoder, uint64_t max_append, uint64_t max_event)
{
	ASSERT(max_append <= LIMIT_APPEND_BYTES && max_event <= LIMIT_EVENT_BYTES);
	*decoder = (struct append_decoder){.max_append = max_append, .max_event = max_event};
	map_init(&decoder->streams);
	map_init(&decoder->ids);
	buffer_init(&decoder->writes);
}

void append_decoder_close(struct append_decoder *decoder)
{
	map_close(&decoder->streams);
	map_close(&decoder->ids);
	buffer_close(&decoder->writes);
}

/* ---- problems ---- */

/* The path of the place where we are: "", "writes[3]", "writes[3].events[2]". */
static void write_place(const struct decode *decode, char path[PATH_BYTES])
{
	int written = 0;

	path[0] = '\0';
	if (decode->list != NULL)
		written = snprintf(path, PATH_BYTES, "%s[%u]", decode->list, decode->list_index);
	if (decode->in_event)
		snprintf(path + written, PATH_BYTES - (size_t)written, "%sevents[%u]",
			 written > 0 ? "." : "", decode->event_index);
}

/* `name` is that of an argument at this place; "": the place itself is wrong. */
static bool refuse(struct decode *decode, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool refuse(struct decode *decode, const char *name, const char *format, ...)
{
	struct append_problem *problem = decode->problem;
	char place[PATH_BYTES];
	va_list list;

	write_place(decode, place);
	problem->code = ANSWER_INVALID_ARGUMENT;
	snprintf(problem->argument, sizeof problem->argument, "%s%s%s", place,
		 place[0] != '\0' && name[0] != '\0' ? "." : "", name);
	int written = snprintf(problem->message, sizeof problem->message, "%s ", problem->argument);

	ASSERT(written > 1 && (size_t)written < sizeof problem->message);
	va_start(list, format);
	vsnprintf(problem->message + written, sizeof problem->message - (size_t)written, format,
		  list);
	va_end(list);
	return false;
}

static bool refuse_type(struct decode *decode, const char *name, const char *wanted,
			struct span value)
{
	struct msgpack_reader reader = msgpack_reader_of(value);

	return refuse(decode, name, "must be %s, not %s", wanted,
		      msgpack_type_name(msgpack_read_type(&reader)));
}

static bool refuse_pairs(struct decode *decode, uint32_t pairs)
{
	ASSERT(pairs > LIMIT_MAP_PAIRS);
	return refuse(decode, "", "must be a map of at most %u pairs, not %u", LIMIT_MAP_PAIRS,
		      pairs);
}

static bool too_large(struct append_problem *problem, uint64_t size, uint64_t limit,
		      const char *what)
{
	ASSERT(size > limit);
	problem->code = ANSWER_TOO_LARGE;
	problem->argument[0] = '\0';
	problem->size = size;
	problem->limit = limit;
	snprintf(problem->message, sizeof problem->message,
		 "%s: %" PRIu64 ", the limit is %" PRIu64, what, size, limit);
	return false;
}

/* ---- values ---- */

static bool read_stream_name(struct decode *decode, struct span raw, struct span *name)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (raw.data == NULL)
		return refuse(decode, "stream", "is missing");
	if (!msgpack_read_str(&reader, name))
		return refuse_type(decode, "stream", "a string", raw);
	const char *wrong = text_stream_name_problem(*name);

	if (wrong != NULL)
		return refuse(decode, "stream", "%s", wrong);
	return true;
}

static bool read_expectation(struct decode *decode, struct span raw,
			     struct expectation *expectation)
{
	static const struct {
		const char *name;
		enum expectation_kind kind;
	} names[] = {{"any", EXPECTATION_ANY},
		     {"no_stream", EXPECTATION_NO_STREAM},
		     {"stream_exists", EXPECTATION_STREAM_EXISTS}};
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span text;

	expectation->kind = EXPECTATION_ANY;
	expectation->version = 0;
	if (raw.data == NULL)
		return true;
	if (msgpack_read_u64(&reader, &expectation->version)) {
		expectation->kind = EXPECTATION_VERSION;
		return true;
	}
	if (msgpack_read_str(&reader, &text))
		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
			if (span_equal_string(text, names[i].name)) {
				expectation->kind = names[i].kind;
				return true;
			}
	return refuse(decode, "expected_version",
		      "must be an integer of at least 0, \"any\", \"no_stream\" or "
		      "\"stream_exists\"");
}

/* ---- events ---- */

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
		return refuse(decode, "", "must be a map");
	if (pairs > LIMIT_MAP_PAIRS)
		return refuse_pairs(decode, pairs);
	for (uint32_t i = 0; i < pairs; i++) {
		struct span name = {0}, value = {0};

		if (!msgpack_read_str(reader, &name))
			(void)msgpack_read_skip(reader);
		if (!msgpack_read_nil(reader) && !msgpack_read_raw(reader, &value))
			return refuse(decode, "", "must be a map");
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
		return refuse(decode, "type", "is missing");
	if (!msgpack_read_str(&reader, type))
		return refuse_type(decode, "type", "a string", raw);
	const char *wrong = text_label_problem(*type);

	if (wrong != NULL)
		return refuse(decode, "type", "%s", wrong);
	return true;
}

static bool read_content(struct decode *decode, const char *name, struct span raw,
			 struct span *content)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_bytes(&reader, content))
		return refuse_type(decode, name, "bin or str", raw);
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
		return refuse_type(decode, "id", "bin of 16 bytes", raw);
	if (given.size != UUID_BYTES)
		return refuse(decode, "id", "must have 16 bytes, not %zu", given.size);
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
		return refuse(decode, "id", "is that of an event before it in this append");
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
		return refuse_type(decode, "tags", "an array of strings", raw);
	if (count > LIMIT_TAGS_GIVEN)
		return refuse(decode, "tags", "must be an array of at most %u strings, not %u",
			      LIMIT_TAGS_GIVEN, count);
	for (uint32_t i = 0; i < count; i++) {
		const char *wrong = "must be a string";
		char name[32];

		if (msgpack_read_str(&reader, &tag))
			wrong = text_label_problem(tag);
		if (wrong != NULL) {
			snprintf(name, sizeof name, "tags[%u]", i);
			return refuse(decode, name, "%s", wrong);
		}
		if (is_repeated(fields, tag))
			continue;
		if (fields->tag_count == LIMIT_TAGS)
			return refuse(decode, "tags", "must be at most %u different ones",
				      LIMIT_TAGS);
		fields->tags[fields->tag_count++] = tag;
	}
	return true;
}

static bool count_bytes(struct decode *decode, const struct record_fields *fields)
{
	const struct append_decoder *decoder = decode->decoder;
	uint64_t bytes = fields->data.size + fields->metadata.size;
	char place[PATH_BYTES], what[PATH_BYTES + 32];

	if (bytes > decoder->max_event) {
		write_place(decode, place);
		snprintf(what, sizeof what, "%s is too large, in bytes", place);
		return too_large(decode->problem, bytes, decoder->max_event, what);
	}
	decode->bytes += bytes;
	if (decode->bytes > decoder->max_append)
		return too_large(decode->problem, decode->bytes, decoder->max_append,
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
		return refuse(decode, "data", "is missing; it may be empty");
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

static bool decode_events(struct decode *decode, struct span stream, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	uint32_t count;

	if (raw.data == NULL)
		return refuse(decode, "events", "is missing");
	if (!msgpack_read_array(&reader, &count))
		return refuse_type(decode, "events", "an array of maps", raw);
	if (count == 0)
		return refuse(decode, "events", "must not be empty");
	if (count > LIMIT_APPEND_EVENTS - decode->form->event_count)
		return too_large(decode->problem, (uint64_t)decode->form->event_count + count,
				 LIMIT_APPEND_EVENTS, "the append has too many events");
	decode->form->event_count += count;
	decode->in_event = true;
	for (uint32_t i = 0; i < count; i++) {
		decode->event_index = i;
		if (!decode_event(decode, stream, &reader))
			return false;
		if (decode->item->size > APPEND_ITEM_BYTES_MAX)
			return too_large(decode->problem, decode->item->size, APPEND_ITEM_BYTES_MAX,
					 "the append's records are too large, in bytes");
	}
	decode->in_event = false;
	return true;
}

/* ---- the two forms ---- */

/* The stream's expectation, unless it was mentioned before: the first place counts. */
static bool add_expectation(struct decode *decode, const struct append_write *write, uint32_t index)
{
	struct expectation expectation = {.written = true, .index = index, .stream = write->stream};

	if (!read_expectation(decode, write->expected, &expectation))
		return false;
	if (++*map_put(&decode->decoder->streams, write->stream, 0) == 1)
		command_item_add_expectation(decode->item, &expectation);
	return true;
}

static bool decode_one_stream(struct decode *decode, const struct arguments *arguments)
{
	struct append_write write = {0};
	struct span raw_stream = {0};
	struct expectation expectation = {.written = true};

	(void)arguments_find(arguments, "stream", &raw_stream);
	(void)arguments_find(arguments, "expected_version", &write.expected);
	(void)arguments_find(arguments, "events", &write.events);
	if (!read_stream_name(decode, raw_stream, &expectation.stream) ||
	    !read_expectation(decode, write.expected, &expectation))
		return false;
	command_item_add_expectation(decode->item, &expectation);
	return decode_events(decode, expectation.stream, write.events);
}

/* The values of one of `writes` or `checks`. */
static bool split_write(struct decode *decode, struct msgpack_reader *reader,
			struct append_write *write)
{
	struct arguments arguments;
	struct span map, raw_stream = {0};

	*write = (struct append_write){0};
	if (msgpack_read_type(reader) != MSGPACK_TYPE_MAP || !msgpack_read_raw(reader, &map))
		return refuse(decode, "", "must be a map");
	bool whole = arguments_index(&arguments, map);

	if (arguments.pairs > LIMIT_MAP_PAIRS)
		return refuse_pairs(decode, arguments.pairs);
	if (!whole)
		return refuse(decode, "", "must be a map");
	(void)arguments_find(&arguments, "stream", &raw_stream);
	(void)arguments_find(&arguments, "expected_version", &write->expected);
	(void)arguments_find(&arguments, "events", &write->events);
	return read_stream_name(decode, raw_stream, &write->stream);
}

/* The first pass: expectations stand before the records. */
static bool split_writes(struct decode *decode, struct span raw, uint32_t *count)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct buffer *writes = &decode->decoder->writes;
	struct append_write write;

	if (!msgpack_read_array(&reader, count))
		return refuse_type(decode, "writes", "an array of maps", raw);
	if (*count == 0)
		return refuse(decode, "writes", "must not be empty");
	if (*count > LIMIT_APPEND_EVENTS)
		return too_large(decode->problem, *count, LIMIT_APPEND_EVENTS,
				 "the append has too many writes");
	buffer_clear(writes);
	decode->list = "writes";
	for (uint32_t i = 0; i < *count; i++) {
		decode->list_index = i;
		if (!split_write(decode, &reader, &write) || !add_expectation(decode, &write, i))
			return false;
		buffer_append(writes, &write, sizeof write);
	}
	decode->list = NULL;
	return true;
}

static bool decode_check(struct decode *decode, struct msgpack_reader *reader, uint32_t index)
{
	struct expectation expectation = {.written = false, .index = index};
	struct append_write check;

	if (!split_write(decode, reader, &check))
		return false;
	if (check.expected.data == NULL)
		return refuse(decode, "expected_version", "is missing");
	if (!read_expectation(decode, check.expected, &expectation))
		return false;
	if (++*map_put(&decode->decoder->streams, check.stream, 0) > 1)
		return refuse(decode, "stream",
			      "is written by this append or checked before: say what is expected "
			      "of it there");
	expectation.stream = check.stream;
	command_item_add_expectation(decode->item, &expectation);
	return true;
}

static bool decode_checks(struct decode *decode, const struct arguments *arguments)
{
	struct span raw = {0};
	uint32_t count;

	if (!arguments_find(arguments, "checks", &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_array(&reader, &count))
		return refuse_type(decode, "checks", "an array of maps", raw);
	if (count > LIMIT_APPEND_EVENTS)
		return too_large(decode->problem, count, LIMIT_APPEND_EVENTS,
				 "the append has too many checks");
	decode->list = "checks";
	for (uint32_t i = 0; i < count; i++) {
		decode->list_index = i;
		if (!decode_check(decode, &reader, i))
			return false;
	}
	decode->list = NULL;
	return true;
}

static bool decode_writes(struct decode *decode, const struct arguments *arguments,
			  struct span raw_writes)
{
	uint32_t count;

	map_clear(&decode->decoder->streams);
	if (!split_writes(decode, raw_writes, &count) || !decode_checks(decode, arguments))
		return false;
	decode->list = "writes";
	for (uint32_t i = 0; i < count; i++) {
		struct append_write write;

		memcpy(&write, decode->decoder->writes.data + i * sizeof write, sizeof write);
		decode->list_index = i;
		if (!decode_events(decode, write.stream, write.events))
			return false;
	}
	decode->list = NULL;
	return true;
}

static bool read_on_conflict(struct decode *decode, const struct arguments *arguments)
{
	struct span raw = {0}, text;

	if (!arguments_find(arguments, "on_conflict", &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	decode->form->with_events =
		msgpack_read_str(&reader, &text) && span_equal_string(text, "events");
	if (!decode->form->with_events)
		return refuse(decode, "on_conflict", "must be \"events\", or be left out");
	return true;
}

static bool refuse_other_forms(struct decode *decode, const struct arguments *arguments,
			       bool has_writes)
{
	static const char *const unsupported[] = {"condition", "checkpoint"};
	struct span raw;

	for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++)
		if (arguments_find(arguments, unsupported[i], &raw))
			return refuse(decode, unsupported[i],
				      "is not supported by this version of annal");
	if (has_writes) {
		static const char *const ones[] = {"stream", "expected_version", "events"};

		for (size_t i = 0; i < sizeof ones / sizeof ones[0]; i++)
			if (arguments_find(arguments, ones[i], &raw))
				return refuse(decode, ones[i],
					      "belongs into `writes` when there are any");
	} else if (arguments_find(arguments, "checks", &raw)) {
		return refuse(decode, "checks", "can only stand beside `writes`");
	}
	return true;
}

bool append_decode(struct append_decoder *decoder, const struct arguments *arguments,
		   struct buffer *item, struct append_form *form, struct append_problem *problem)
{
	struct decode decode = {.decoder = decoder, .problem = problem, .item = item, .form = form};
	size_t before = item->size;
	struct span raw_writes = {0};
	bool has_writes = arguments_find(arguments, "writes", &raw_writes);

	ASSERT(before == 0); /* the item's size is compared with its bound */
	*form = (struct append_form){.one_stream = !has_writes};
	size_t offset = command_item_begin(item);

	if (!read_on_conflict(&decode, arguments) ||
	    !refuse_other_forms(&decode, arguments, has_writes) ||
	    !(has_writes ? decode_writes(&decode, arguments, raw_writes)
			 : decode_one_stream(&decode, arguments))) {
		item->size = before;
		return false;
	}
	command_item_end(item, offset);
	return true;
}
