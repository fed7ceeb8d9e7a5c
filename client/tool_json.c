/* Bytes as JSON and back. */
#include "client/tool.h"

#include "base/bytes.h"
#include "base/msgpack.h"
#include "base/text.h"
#include <inttypes.h>
#include <math.h>
#include <time.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void tool_base64(struct buffer *into, struct span bytes)
{
	for (size_t i = 0; i < bytes.size; i += 3) {
		size_t left = bytes.size - i;
		uint32_t group = (uint32_t)bytes.data[i] << 16;
		char text[4];

		group |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
		group |= left > 2 ? bytes.data[i + 2] : 0;
		text[0] = alphabet[group >> 18];
		text[1] = alphabet[group >> 12 & 63];
		text[2] = left > 1 ? alphabet[group >> 6 & 63] : '=';
		text[3] = left > 2 ? alphabet[group & 63] : '=';
		buffer_append(into, text, sizeof text);
	}
}

bool tool_base64_decode(const char *text, size_t size, struct buffer *into)
{
	if (size % 4 != 0)
		return false;
	for (size_t i = 0; i < size; i += 4) {
		size_t padding = 0;
		uint32_t group = 0;
		uint8_t bytes[3];

		if (i + 4 == size && text[i + 3] == '=')
			padding = text[i + 2] == '=' ? 2 : 1;
		for (size_t k = 0; k < 4; k++) {
			const char *at =
				k >= 4 - padding ? alphabet : memchr(alphabet, text[i + k], 64);

			if (at == NULL)
				return false;
			group = group << 6 | (uint32_t)(at - alphabet);
		}
		if ((group & ((UINT32_C(1) << 8 * padding) - 1)) != 0)
			return false; /* bits that the padding says are not there */
		bytes[0] = (uint8_t)(group >> 16);
		bytes[1] = (uint8_t)(group >> 8);
		bytes[2] = (uint8_t)group;
		buffer_append(into, bytes, 3 - padding);
	}
	return true;
}

/* What may not stand in a JSON string as it is. */
static void escape(struct buffer *into, uint8_t byte)
{
	char text[8];

	if (byte == '"' || byte == '\\')
		snprintf(text, sizeof text, "\\%c", byte);
	else
		snprintf(text, sizeof text, "\\u%04x", byte);
	buffer_append(into, text, strlen(text));
}

void tool_json_string(struct buffer *into, struct span text)
{
	size_t from = 0;

	buffer_append(into, "\"", 1);
	for (size_t i = 0; i < text.size; i++) {
		uint8_t byte = text.data[i];

		if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f)
			continue;
		buffer_append(into, text.data + from, i - from);
		escape(into, byte);
		from = i + 1;
	}
	buffer_append(into, text.data + from, text.size - from);
	buffer_append(into, "\"", 1);
}

bool tool_is_json(struct annal_bytes payload)
{
	json_t *parsed = payload.size == 0 ? NULL
					   : json_loadb(payload.data, payload.size,
							JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	json_decref(parsed);
	return parsed != NULL;
}

/* Newlines in JSON are white space between its parts: strings have them escaped. */
static void append_on_one_line(struct buffer *into, struct annal_bytes json)
{
	const char *at = json.data;

	for (size_t i = 0; i < json.size; i++)
		buffer_append(into, at[i] == '\n' || at[i] == '\r' ? " " : &at[i], 1);
}

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* Whether JSON that stands in a line as it is comes back as the same bytes. */
static bool survives_a_line(struct annal_bytes json)
{
	const char *text = json.data;

	return !is_space(text[0]) && !is_space(text[json.size - 1]) &&
	       memchr(text, '\n', json.size) == NULL && memchr(text, '\r', json.size) == NULL;
}

void tool_json_payload(struct buffer *into, const char *name, struct annal_bytes payload,
		       enum tool_payload how)
{
	struct span bytes = span_of(payload.data, payload.size);

	buffer_append(into, "\"", 1);
	buffer_append_span(into, span_of_string(name));
	if (tool_is_json(payload) && (how == TOOL_PAYLOAD_SHOWN || survives_a_line(payload))) {
		buffer_append(into, "\":", 2);
		append_on_one_line(into, payload);
	} else if (text_is_utf8(bytes)) {
		buffer_append_span(into, span_of_string("_text\":"));
		tool_json_string(into, bytes);
	} else {
		buffer_append_span(into, span_of_string("_base64\":\""));
		tool_base64(into, bytes);
		buffer_append(into, "\"", 1);
	}
}

void tool_time(int64_t time_ns, char text[40])
{
	int64_t part = time_ns % 1000000000;
	int64_t whole = time_ns / 1000000000 - (part < 0);
	time_t seconds = (time_t)whole;
	struct tm tm;

	part += part < 0 ? 1000000000 : 0;
	gmtime_r(&seconds, &tm);
	size_t size = strftime(text, 30, "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(text + size, 40 - size, ".%06" PRId64 "Z", part / 1000);
}

/* ---- from msgpack ---- */

static json_t *from_bytes(struct span bytes, bool is_text)
{
	static const char digits[] = "0123456789abcdef";
	struct buffer hex;
	json_t *text;

	if (is_text)
		return json_stringn((const char *)bytes.data, bytes.size);
	buffer_init(&hex);
	for (size_t i = 0; i < bytes.size; i++) {
		buffer_append(&hex, &digits[bytes.data[i] >> 4], 1);
		buffer_append(&hex, &digits[bytes.data[i] & 15], 1);
	}
	text = json_stringn(hex.size > 0 ? (const char *)hex.data : "", hex.size);
	buffer_close(&hex);
	return text;
}

static json_t *from_float(struct msgpack_reader *reader)
{
	struct span raw;
	double value = 0;
	float narrow;
	uint64_t bits;
	uint32_t narrow_bits;

	if (!msgpack_read_raw(reader, &raw))
		return NULL;
	if (raw.data[0] == 0xcb) {
		bits = bytes_be64(raw.data + 1);
		memcpy(&value, &bits, sizeof value);
	} else {
		narrow_bits = bytes_be32(raw.data + 1);
		memcpy(&narrow, &narrow_bits, sizeof narrow);
		value = (double)narrow;
	}
	return isfinite(value) ? json_real(value) : json_null();
}

static json_t *from_value(struct msgpack_reader *reader);

static json_t *from_array(struct msgpack_reader *reader)
{
	json_t *array = json_array();
	uint32_t count;

	if (!msgpack_read_array(reader, &count))
		count = 0;
	while (count-- > 0)
		json_array_append_new(array, from_value(reader));
	return array;
}

static json_t *from_map(struct msgpack_reader *reader)
{
	json_t *object = json_object();
	char key[256];
	uint32_t pairs;
	struct span name;

	if (!msgpack_read_map(reader, &pairs))
		pairs = 0;
	while (pairs-- > 0) {
		if (!msgpack_read_str(reader, &name)) {
			json_decref(object);
			return NULL;
		}
		snprintf(key, sizeof key, "%.*s", (int)(name.size < 255 ? name.size : 255),
			 (const char *)name.data);
		json_object_set_new(object, key, from_value(reader));
	}
	return object;
}

static json_t *from_integer(struct msgpack_reader *reader)
{
	int64_t integer;
	uint64_t large;

	if (msgpack_read_i64(reader, &integer))
		return json_integer(integer);
	return msgpack_read_u64(reader, &large) ? json_real((double)large) : NULL;
}

/* The depth is bounded: a scanner has passed the bytes. */
static json_t *from_value(struct msgpack_reader *reader)
{
	struct span bytes;
	bool boolean;

	switch (msgpack_read_type(reader)) {
	case MSGPACK_TYPE_NIL:
		msgpack_read_nil(reader);
		return json_null();
	case MSGPACK_TYPE_BOOL:
		return msgpack_read_bool(reader, &boolean) ? json_boolean(boolean) : NULL;
	case MSGPACK_TYPE_INT:
		return from_integer(reader);
	case MSGPACK_TYPE_FLOAT:
		return from_float(reader);
	case MSGPACK_TYPE_STR:
		return msgpack_read_str(reader, &bytes) ? from_bytes(bytes, text_is_utf8(bytes))
							: NULL;
	case MSGPACK_TYPE_BIN:
		return msgpack_read_bin(reader, &bytes) ? from_bytes(bytes, false) : NULL;
	case MSGPACK_TYPE_ARRAY:
		return from_array(reader);
	case MSGPACK_TYPE_MAP:
		return from_map(reader);
	default:
		return msgpack_read_skip(reader) ? json_null() : NULL;
	}
}

json_t *tool_json_from_msgpack(struct span value)
{
	struct msgpack_reader reader = msgpack_reader_of(value);

	return value.size > 0 ? from_value(&reader) : NULL;
}
