/*
 * jansson says whether the line is JSON and gives the names; the bytes of data and metadata are cut
 * out of the line, since parsing and printing them again would change numbers and spaces.
 */
#include "client/tool_line.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/limits.h"
#include "base/text.h"
#include "client/tool.h"
#include <errno.h>

#define WANTED "{\"stream\":...,\"type\":...,\"data\":...} is wanted"

/* ---- the bytes of a member ---- */

static const uint8_t *skip_space(const uint8_t *at, const uint8_t *end)
{
	while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r'))
		at++;
	return at;
}

/* Behind the closing quote of the string at `at`. */
static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end)
{
	for (at++; at < end && *at != '"'; at++)
		if (*at == '\\')
			at++;
	return at < end ? at + 1 : end;
}

/* Behind the value at `at`, which is well-formed. */
static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end)
{
	uint32_t depth = 0;

	while (at < end) {
		if (*at == '"') {
			at = skip_string(at, end);
		} else if (*at == '{' || *at == '[') {
			depth++;
			at++;
		} else if (depth > 0 && (*at == '}' || *at == ']')) {
			depth--;
			at++;
		} else if (depth == 0 && (*at == ',' || *at == '}' || *at == ']' || *at <= ' ')) {
			return at;
		} else {
			at++;
			continue;
		}
		if (depth == 0)
			return at;
	}
	return at;
}

/* The value of a key in an object that is well-formed; the last one, as jansson takes it. */
static bool find_member(struct span object, const char *key, struct span *value)
{
	const uint8_t *at = object.data, *end = object.data + object.size;
	bool found = false;

	at = skip_space(at, end);
	for (at++; at < end; at++) {
		const uint8_t *name = skip_space(at, end);

		if (name >= end || *name != '"')
			break;
		const uint8_t *name_end = skip_string(name, end);
		const uint8_t *begin = skip_space(name_end, end);

		begin = skip_space(begin < end ? begin + 1 : end, end); /* the colon */
		at = skip_value(begin, end);
		if (span_equal_string(span_of(name + 1, (size_t)(name_end - name) - 2), key)) {
			*value = span_of(begin, (size_t)(at - begin));
			found = true;
		}
		at = skip_space(at, end);
	}
	return found;
}

/* ---- parts ---- */

static int wrong(struct error *error, const char *key, const char *problem)
{
	return error_set(error, -EINVAL, "\"%s\" %s: " WANTED, key, problem);
}

/* Copied with a zero behind it. */
static size_t keep_text(struct buffer *bytes, const char *text)
{
	size_t at = bytes->size;

	buffer_append(bytes, text, strlen(text) + 1);
	return at;
}

static int take_name(const json_t *object, const char *key, bool is_stream, size_t *into,
		     struct buffer *bytes, struct error *error)
{
	const json_t *value = json_object_get(object, key);

	if (value == NULL)
		return wrong(error, key, "is missing");
	if (!json_is_string(value))
		return wrong(error, key, "is no text");
	struct span name = span_of(json_string_value(value), json_string_length(value));
	const char *problem = is_stream ? text_stream_name_problem(name) : text_label_problem(name);

	if (problem == NULL && memchr(name.data, 0, name.size) != NULL)
		problem = "contains a zero byte";
	if (problem != NULL)
		return wrong(error, key, problem);
	*into = keep_text(bytes, json_string_value(value));
	return 0;
}

static int take_base64(const json_t *value, const char *key, size_t *at, size_t *size,
		       struct buffer *bytes, struct error *error)
{
	*at = bytes->size;
	if (!json_is_string(value) ||
	    !tool_base64_decode(json_string_value(value), json_string_length(value), bytes))
		return wrong(error, key, "is no base64 (RFC 4648, with padding)");
	*size = bytes->size - *at;
	return 0;
}

static int take_text(const json_t *value, const char *key, size_t *at, size_t *size,
		     struct buffer *bytes, struct error *error)
{
	if (!json_is_string(value))
		return wrong(error, key, "is no text");
	*at = bytes->size;
	*size = json_string_length(value);
	buffer_append(bytes, json_string_value(value), *size);
	return 0;
}

static int take_payload(struct span text, const json_t *object, const char *key, size_t *at,
			size_t *size, struct buffer *bytes, struct error *error)
{
	char base64_key[32], text_key[32];
	struct span value;

	snprintf(base64_key, sizeof base64_key, "%s_base64", key);
	snprintf(text_key, sizeof text_key, "%s_text", key);
	const json_t *json = json_object_get(object, key);
	const json_t *base64 = json_object_get(object, base64_key);
	const json_t *plain = json_object_get(object, text_key);

	*at = bytes->size;
	*size = 0;
	if ((json != NULL) + (base64 != NULL) + (plain != NULL) > 1)
		return wrong(error, base64 != NULL ? base64_key : text_key,
			     "stands beside the same in another form: one of them");
	if (base64 != NULL)
		return take_base64(base64, base64_key, at, size, bytes, error);
	if (plain != NULL)
		return take_text(plain, text_key, at, size, bytes, error);
	if (json == NULL)
		return 0;
	if (!find_member(text, key, &value))
		return wrong(error, key, "is written with escapes in its name");
	buffer_append_span(bytes, value);
	*size = value.size;
	return 0;
}

static int take_tags(const json_t *object, struct tool_line *line, struct buffer *bytes,
		     struct error *error)
{
	const json_t *tags = json_object_get(object, "tags");

	line->tags_at = bytes->size;
	line->tags_count = json_array_size(tags);
	if (tags != NULL && !json_is_array(tags))
		return wrong(error, "tags", "is no array of texts");
	if (line->tags_count > LIMIT_TAGS)
		return wrong(error, "tags", "has more than 32");
	for (size_t i = 0; i < line->tags_count; i++) {
		const json_t *tag = json_array_get(tags, i);
		struct span text = span_of(json_string_value(tag), json_string_length(tag));

		if (!json_is_string(tag) || text_label_problem(text) != NULL ||
		    memchr(text.data, 0, text.size) != NULL)
			return wrong(error, "tags", "has one that is no text of 1 to 255 bytes");
		keep_text(bytes, json_string_value(tag));
	}
	return 0;
}

/* UUID version 8 (RFC 9562: made as one likes), from the text of the line and its number. */
static void derive_id(struct span text, uint64_t number, uint8_t id[ANNAL_ID_BYTES])
{
	bytes_set_be64(id, checksum64_seeded(text.data, text.size, number));
	bytes_set_be64(id + 8, checksum64_seeded(text.data, text.size, ~number));
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x80);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

static int take_id(struct span text, uint64_t number, const json_t *object, struct tool_line *line,
		   struct error *error)
{
	const json_t *id = json_object_get(object, "id");

	line->has_id = id != NULL;
	if (id == NULL)
		derive_id(text, number, line->id);
	else if (!json_is_string(id) || !annal_id_parse(json_string_value(id), line->id))
		return wrong(error, "id", "is no UUID (8-4-4-4-12 hexadecimal digits)");
	return 0;
}

static int take_expect(const json_t *object, struct tool_line *line, struct error *error)
{
	const json_t *value = json_object_get(object, "expected_version");
	const char *word = json_is_string(value) ? json_string_value(value) : "";

	if (value == NULL)
		return 0;
	line->has_expect = true;
	if (json_is_integer(value) && json_integer_value(value) >= 0)
		line->expect = (struct annal_expect){ANNAL_EXPECT_VERSION,
						     (uint64_t)json_integer_value(value)};
	else if (strcmp(word, "no_stream") == 0)
		line->expect.kind = ANNAL_EXPECT_NO_STREAM;
	else if (strcmp(word, "stream_exists") == 0)
		line->expect.kind = ANNAL_EXPECT_STREAM_EXISTS;
	else if (strcmp(word, "any") != 0)
		return wrong(error, "expected_version",
			     "is no version, nor any, no_stream, stream_exists");
	return 0;
}

static int take_all(struct span text, uint64_t number, const json_t *object, struct tool_line *line,
		    struct buffer *bytes, struct error *error)
{
	int status = take_name(object, "stream", true, &line->stream_at, bytes, error);

	if (status == 0)
		status = take_name(object, "type", false, &line->type_at, bytes, error);
	if (status == 0)
		status = take_payload(text, object, "data", &line->data_at, &line->data_size, bytes,
				      error);
	if (status == 0)
		status = take_payload(text, object, "metadata", &line->metadata_at,
				      &line->metadata_size, bytes, error);
	if (status == 0)
		status = take_tags(object, line, bytes, error);
	if (status == 0)
		status = take_id(text, number, object, line, error);
	if (status == 0)
		status = take_expect(object, line, error);
	if (status == 0 && line->data_size + line->metadata_size > LIMIT_EVENT_BYTES)
		status = error_set(error, -EINVAL, "the event is larger than %llu bytes",
				   (unsigned long long)LIMIT_EVENT_BYTES);
	return status;
}

int tool_line_parse(struct span text, uint64_t number, struct tool_line *line, struct buffer *bytes,
		    struct error *error)
{
	json_error_t problem;
	json_t *object = json_loadb((const char *)text.data, text.size, JSON_ALLOW_NUL, &problem);
	size_t before = bytes->size;

	if (object == NULL)
		return error_set(error, -EINVAL, "no JSON at column %d: %s: " WANTED,
				 problem.column, problem.text);
	*line = (struct tool_line){0};
	int status = json_is_object(object)
			     ? take_all(text, number, object, line, bytes, error)
			     : error_set(error, -EINVAL, "this is no object: " WANTED);

	json_decref(object);
	if (status != 0)
		bytes->size = before;
	return status;
}
