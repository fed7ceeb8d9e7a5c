#include "client/decode.h"

#include "base/answer.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/memory.h"
#include "base/uuid.h"
#include <stdarg.h>
#include <stdio.h>

#define VIOLATIONS_MAX (2 * LIMIT_APPEND_EVENTS) /* of the writes of an append, and of its checks */

/* The public codes are those of the cluster, by the same numbers. */
#define X(name, meaning)                                                                           \
	static_assert((int)ANNAL_##name == (int)ANSWER_##name,                                     \
		      "same order in annal.h as in answer.h");
ANSWER_TABLE(X)
#undef X
static_assert((int)ANNAL_UNREACHABLE == (int)ANSWER_COUNT, "the client's own codes come behind");
static_assert(ANNAL_ID_BYTES == UUID_BYTES && ANNAL_ID_TEXT_BYTES == UUID_TEXT_BYTES, "ids");

const char *annal_code_name(enum annal_code code)
{
	switch (code) {
	case ANNAL_UNREACHABLE:
		return "UNREACHABLE";
	case ANNAL_BAD_ANSWER:
		return "BAD_ANSWER";
	case ANNAL_MISUSE:
		return "MISUSE";
	case ANNAL_UNKNOWN_ERROR:
		return "UNKNOWN_ERROR";
	default:
		return answer_name((enum answer_code)code);
	}
}

enum annal_code decode_code(struct annal_bytes name)
{
	for (int code = ANSWER_OK + 1; code < ANSWER_COUNT; code++)
		if (span_equal_string(decode_span(name), answer_name((enum answer_code)code)))
			return (enum annal_code)code;
	return ANNAL_UNKNOWN_ERROR;
}

/* ---- messages ---- */

static bool decode_response(struct msgpack_reader *reader, struct decode_message *message)
{
	uint64_t msgid;
	struct span error;

	if (!msgpack_read_u64(reader, &msgid) || msgid > UINT32_MAX)
		return false;
	message->kind = DECODE_RESPONSE;
	message->msgid = (uint32_t)msgid;
	message->failed = !msgpack_read_nil(reader);
	if (!message->failed) {
		/* The last value of a message that has been scanned is all that is left of it. */
		message->body = span_of(reader->at, (size_t)(reader->end - reader->at));
		return message->body.size > 0;
	}
	if (!msgpack_read_raw(reader, &error) || !msgpack_read_nil(reader))
		return false;
	message->body = error;
	return true;
}

bool decode_message(struct span bytes, struct decode_message *message)
{
	struct msgpack_reader reader = msgpack_reader_of(bytes);
	uint32_t count;
	uint64_t type;

	*message = (struct decode_message){0};
	if (!msgpack_read_array(&reader, &count) || !msgpack_read_u64(&reader, &type))
		return false;
	if (type == 1 && count == 4)
		return decode_response(&reader, message);
	if (type != 2 || count != 3 || !msgpack_read_str(&reader, &message->method))
		return false;
	message->kind = DECODE_NOTIFICATION;
	return msgpack_read_type(&reader) == MSGPACK_TYPE_ARRAY &&
	       msgpack_read_raw(&reader, &message->body);
}

/* ---- events ---- */

#define EVENT_FIELDS 9u

void decode_events_init(struct decode_events *events)
{
	*events = (struct decode_events){0};
}

void decode_events_close(struct decode_events *events)
{
	memory_free(events->events);
	memory_free(events->tags);
	decode_events_init(events);
}

void *decode_make_room(void *items, size_t count, size_t *capacity, size_t item_size)
{
	if (count < *capacity)
		return items;
	*capacity = *capacity == 0 ? 16 : *capacity * 2;
	return memory_resize(items, *capacity * item_size);
}

static bool read_tags(struct msgpack_reader *reader, struct decode_events *list, size_t *count)
{
	uint32_t tags;
	struct span tag;

	if (!msgpack_read_array(reader, &tags) || tags > LIMIT_TAGS)
		return false;
	for (uint32_t i = 0; i < tags; i++) {
		if (!msgpack_read_str(reader, &tag))
			return false;
		list->tags = decode_make_room(list->tags, list->tags_count, &list->tags_capacity,
					      sizeof list->tags[0]);
		list->tags[list->tags_count++] = decode_bytes(tag);
	}
	*count = tags;
	return true;
}

/* How a node keeps an event, and so sends it: 0x99, three times 0xcf or 0xd3 and 8 bytes, 0xc4 0x10, id. */
#define EVENT_HEAD_BYTES 46

/* Position, version, time and id of an event in that form, in one go. */
static bool read_usual_head(struct msgpack_reader *reader, struct annal_event *event)
{
	const uint8_t *at = reader->at;

	if (reader->end - at < EVENT_HEAD_BYTES || at[0] != 0x99 || at[1] != 0xcf ||
	    at[10] != 0xcf || at[19] != 0xcf || at[28] != 0xc4 || at[29] != ANNAL_ID_BYTES ||
	    (at[20] & 0x80) != 0)
		return false;
	event->position = bytes_be64(at + 2);
	event->version = bytes_be64(at + 11);
	event->created_ns = (int64_t)bytes_be64(at + 20);
	memcpy(event->id, at + 30, sizeof event->id);
	reader->at += EVENT_HEAD_BYTES;
	return true;
}

static bool read_head(struct msgpack_reader *reader, struct annal_event *event, uint32_t *count)
{
	struct span id;

	*count = EVENT_FIELDS;
	if (read_usual_head(reader, event))
		return true;
	if (!msgpack_read_array(reader, count) || *count < EVENT_FIELDS ||
	    !msgpack_read_u64(reader, &event->position) ||
	    !msgpack_read_u64(reader, &event->version) ||
	    !msgpack_read_i64(reader, &event->created_ns) || !msgpack_read_bin(reader, &id) ||
	    id.size != ANNAL_ID_BYTES)
		return false;
	memcpy(event->id, id.data, sizeof event->id);
	return true;
}

static bool read_event(struct msgpack_reader *reader, struct decode_events *list)
{
	struct span stream, type, data, metadata;
	uint32_t count;

	list->events = decode_make_room(list->events, list->count, &list->capacity,
					sizeof list->events[0]);
	struct annal_event *event = &list->events[list->count];

	if (!read_head(reader, event, &count) || !msgpack_read_str(reader, &stream) ||
	    !msgpack_read_str(reader, &type) || !msgpack_read_bytes(reader, &data) ||
	    !msgpack_read_bytes(reader, &metadata) || !read_tags(reader, list, &event->tags_count))
		return false;
	for (uint32_t i = EVENT_FIELDS; i < count; i++)
		if (!msgpack_read_skip(reader))
			return false;
	event->stream = decode_bytes(stream);
	event->type = decode_bytes(type);
	event->data = decode_bytes(data);
	event->metadata = decode_bytes(metadata);
	list->count++;
	return true;
}

/* The array of tags has moved while it grew: point the events into it now. */
static void point_to_tags(struct decode_events *list)
{
	const struct annal_bytes *tags = list->tags;

	for (size_t i = 0; i < list->count; i++) {
		list->events[i].tags = tags;
		if (list->events[i].tags_count > 0)
			tags += list->events[i].tags_count;
	}
	ASSERT(list->tags_count == 0 || tags == list->tags + list->tags_count);
}

static bool read_events(struct msgpack_reader *reader, struct decode_events *events)
{
	uint32_t count;

	events->count = 0;
	events->tags_count = 0;
	events->found = true;
	if (!msgpack_read_array(reader, &count))
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!read_event(reader, events))
			return false;
	point_to_tags(events);
	return true;
}

bool decode_events(struct span array, struct decode_events *events)
{
	struct msgpack_reader reader = msgpack_reader_of(array);

	return array.size > 0 && read_events(&reader, events);
}

bool decode_event(struct span event, struct decode_events *events)
{
	struct msgpack_reader reader = msgpack_reader_of(event);

	events->count = 0;
	events->tags_count = 0;
	if (event.size == 0 || !read_event(&reader, events))
		return false;
	point_to_tags(events);
	return true;
}

/* ---- maps ---- */

static bool read_field(struct msgpack_reader *reader, const struct decode_field *field)
{
	struct span span;

	if (msgpack_read_nil(reader))
		return true;
	switch (field->type) {
	case DECODE_U64:
		return msgpack_read_u64(reader, field->into);
	case DECODE_I64:
		return msgpack_read_i64(reader, field->into);
	case DECODE_BOOL:
		return msgpack_read_bool(reader, field->into);
	case DECODE_RAW:
		return msgpack_read_raw(reader, field->into);
	case DECODE_EVENTS:
		return read_events(reader, field->into);
	case DECODE_TEXT:
		if (!msgpack_read_str(reader, &span))
			return false;
		break;
	case DECODE_BIN:
		if (!msgpack_read_bytes(reader, &span))
			return false;
		break;
	}
	*(struct annal_bytes *)field->into = decode_bytes(span);
	return true;
}

bool decode_fields(struct span map, const struct decode_field *fields, size_t count)
{
	struct msgpack_reader reader = msgpack_reader_of(map);
	uint32_t pairs;
	struct span key;

	if (map.size == 0 || !msgpack_read_map(&reader, &pairs))
		return false;
	while (pairs-- > 0) {
		size_t i = 0;

		if (!msgpack_read_str(&reader, &key))
			return false;
		while (i < count && !span_equal_string(key, fields[i].name))
			i++;
		if (i < count ? !read_field(&reader, &fields[i]) : !msgpack_read_skip(&reader))
			return false;
	}
	return true;
}

/* ---- answers ---- */

static bool read_versions(struct span map, struct annal_append_result *result,
			  struct decode_versions *versions)
{
	struct msgpack_reader reader = msgpack_reader_of(map);
	uint32_t pairs;
	struct span stream;
	uint64_t version;

	if (!msgpack_read_map(&reader, &pairs) || pairs > LIMIT_APPEND_EVENTS)
		return false;
	for (uint32_t i = 0; i < pairs; i++) {
		if (!msgpack_read_str(&reader, &stream) || !msgpack_read_u64(&reader, &version))
			return false;
		versions->items = decode_make_room(versions->items, i, &versions->capacity,
						   sizeof versions->items[0]);
		versions->items[i] = (struct annal_stream_version){decode_bytes(stream), version};
	}
	result->versions = versions->items;
	result->versions_count = pairs;
	return true;
}

bool decode_append_result(struct span map, bool has_events, struct annal_append_result *result,
			  struct decode_versions *versions)
{
	struct span raw_versions = {0};
	const struct decode_field fields[] = {
		{"first_position", DECODE_U64, &result->first_position},
		{"position", DECODE_U64, &result->position},
		{"first_version", DECODE_U64, &result->first_version},
		{"version", DECODE_U64, &result->version},
		{"created", DECODE_I64, &result->created_ns},
		{"duplicate", DECODE_BOOL, &result->duplicate},
		{"versions", DECODE_RAW, &raw_versions},
	};

	*result = (struct annal_append_result){0};
	if (!DECODE_FIELDS(map, fields) || (has_events && result->position == 0) ||
	    result->first_position > result->position)
		return false;
	return raw_versions.size == 0 || read_versions(raw_versions, result, versions);
}

void decode_error_init(struct decode_error *error)
{
	*error = (struct decode_error){0};
	buffer_init(&error->raw);
	decode_events_init(&error->events);
}

void decode_error_close(struct decode_error *error)
{
	buffer_close(&error->raw);
	decode_events_close(&error->events);
	memory_free(error->violations);
	decode_error_init(error);
}

void decode_error_clear(struct decode_error *error)
{
	error->public = (struct annal_error){0};
	buffer_clear(&error->raw);
}

/* A number or a word; a word of a later version counts as "any". */
static bool read_expected(struct span raw, struct annal_expect *expected)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span word;

	*expected = (struct annal_expect){.kind = ANNAL_EXPECT_ANY};
	if (msgpack_read_u64(&reader, &expected->version)) {
		expected->kind = ANNAL_EXPECT_VERSION;
		return true;
	}
	if (!msgpack_read_str(&reader, &word))
		return false;
	if (span_equal_string(word, "no_stream"))
		expected->kind = ANNAL_EXPECT_NO_STREAM;
	else if (span_equal_string(word, "stream_exists"))
		expected->kind = ANNAL_EXPECT_STREAM_EXISTS;
	return true;
}

static bool read_violation(struct span map, struct annal_violation *violation)
{
	struct span expected = {0};
	const struct decode_field fields[] = {
		{"index", DECODE_U64, &violation->index},
		{"stream", DECODE_TEXT, &violation->stream},
		{"expected", DECODE_RAW, &expected},
		{"actual", DECODE_U64, &violation->actual},
		{"state", DECODE_TEXT, &violation->state},
	};

	*violation = (struct annal_violation){0};
	return DECODE_FIELDS(map, fields) &&
	       (expected.size == 0 || read_expected(expected, &violation->expect));
}

static bool read_violations(struct span array, struct decode_error *error)
{
	struct msgpack_reader reader = msgpack_reader_of(array);
	uint32_t count;
	struct span map;

	if (!msgpack_read_array(&reader, &count) || count > VIOLATIONS_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		error->violations =
			decode_make_room(error->violations, i, &error->violations_capacity,
					 sizeof error->violations[0]);
		if (!msgpack_read_raw(&reader, &map) || !read_violation(map, &error->violations[i]))
			return false;
	}
	error->public.violations = error->violations;
	error->public.violations_count = count;
	return true;
}

static void copy_message(struct annal_error *error, struct annal_bytes text)
{
	size_t size = text.size < sizeof error->message ? text.size : sizeof error->message - 1;

	if (size > 0)
		memcpy(error->message, text.data, size);
	error->message[size] = '\0';
}

bool decode_error(struct span map, struct decode_error *error)
{
	struct annal_error *public = &error->public;
	struct annal_bytes code = {0}, message = {0}, outcome = {0};
	struct span violations = {0}, events = {0};
	const struct decode_field fields[] = {
		{"code", DECODE_TEXT, &code},
		{"message", DECODE_TEXT, &message},
		{"outcome", DECODE_TEXT, &outcome},
		{"violations", DECODE_RAW, &violations},
		{"events", DECODE_RAW, &events},
		{"retry_after_ms", DECODE_U64, &public->retry_after_ms},
		{"position", DECODE_U64, &public->position},
		{"version", DECODE_U64, &public->version},
		{"epoch", DECODE_U64, &public->epoch},
		{"index", DECODE_U64, &public->index},
		{"limit", DECODE_U64, &public->limit},
		{"size", DECODE_U64, &public->size},
		{"head", DECODE_U64, &public->head},
		{"wanted", DECODE_U64, &public->wanted},
		{"leader_id", DECODE_U64, &public->leader_id},
		{"leader", DECODE_TEXT, &public->leader},
		{"argument", DECODE_TEXT, &public->argument},
		{"stream", DECODE_TEXT, &public->stream},
		{"what", DECODE_TEXT, &public->what},
		{"consumer", DECODE_TEXT, &public->consumer},
		{"id", DECODE_BIN, &public->id},
	};

	decode_error_clear(error);
	buffer_append_span(&error->raw, map);
	if (!DECODE_FIELDS(buffer_span(&error->raw), fields) || code.size == 0)
		return false;
	if (violations.size > 0 && !read_violations(violations, error))
		return false;
	if (events.size > 0) {
		if (!decode_events(events, &error->events))
			return false;
		public->events = error->events.events;
		public->events_count = error->events.count;
	}
	public->code = decode_code(code);
	public->outcome_unknown = span_equal_string(decode_span(outcome), "unknown");
	copy_message(public, message);
	if (public->code == ANNAL_UNKNOWN_ERROR)
		snprintf(public->message, sizeof public->message, "%.*s: %.*s",
			 (int)(code.size & 0xff), (const char *)code.data,
			 (int)(message.size & 0xff),
			 message.size > 0 ? (const char *)message.data : "");
	return true;
}

void decode_error_set(struct decode_error *error, enum annal_code code, const char *format, ...)
{
	va_list args;

	ASSERT(code != ANNAL_OK);
	decode_error_clear(error);
	error->public.code = code;
	va_start(args, format);
	vsnprintf(error->public.message, sizeof error->public.message, format, args);
	va_end(args);
}
