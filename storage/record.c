/* The stored record: encode, stamp, parse. Steps 5 and 7 of the data path. */
#include "storage/record.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/msgpack.h"

#include <errno.h>

enum {
	ARRAY_OF_9 = 0x99,
	UINT64 = 0xcf,
	INT64 = 0xd3,
	BIN8 = 0xc4,
	BIN16 = 0xc5,
	BIN32 = 0xc6,
	FIXSTR = 0xa0,
	FIXSTR_MAX = 31,
	STR8 = 0xd9,
	STR16 = 0xda,
	FIXARRAY = 0x90,
	FIXARRAY_MAX = 15,
	ARRAY16 = 0xdc,
};

static void check_fields(const struct record_fields *fields)
{
	ASSERT(fields->stream.size >= 1 && fields->stream.size <= RECORD_STREAM_BYTES_MAX);
	ASSERT(fields->type.size >= 1 && fields->type.size <= LIMIT_TYPE_BYTES);
	ASSERT(fields->data.size <= LIMIT_EVENT_BYTES);
	ASSERT(fields->metadata.size <= LIMIT_EVENT_BYTES - fields->data.size);
	ASSERT(fields->tag_count <= LIMIT_TAGS);
	for (uint32_t i = 0; i < fields->tag_count; i++)
		ASSERT(fields->tags[i].size >= 1 && fields->tags[i].size <= LIMIT_TAG_BYTES);
}

static void write_fixed(uint8_t *at, const uint8_t *id)
{
	memset(at, 0, RECORD_STREAM_OFFSET);
	at[0] = ARRAY_OF_9;
	at[RECORD_POSITION_OFFSET - 1] = UINT64;
	at[RECORD_VERSION_OFFSET - 1] = UINT64;
	at[RECORD_CREATED_OFFSET - 1] = UINT64;
	at[RECORD_ID_OFFSET - 2] = BIN8;
	at[RECORD_ID_OFFSET - 1] = UUID_BYTES;
	memcpy(at + RECORD_ID_OFFSET, id, UUID_BYTES);
}

void record_encode(struct buffer *buffer, const struct record_fields *fields)
{
	check_fields(fields);
	size_t start = buffer->size;
	write_fixed(buffer_reserve(buffer, RECORD_STREAM_OFFSET), fields->id);
	buffer->size += RECORD_STREAM_OFFSET;
	msgpack_write_str(buffer, fields->stream);
	msgpack_write_str(buffer, fields->type);
	msgpack_write_bin(buffer, fields->data);
	msgpack_write_bin(buffer, fields->metadata);
	msgpack_write_array(buffer, fields->tag_count);
	for (uint32_t i = 0; i < fields->tag_count; i++)
		msgpack_write_str(buffer, fields->tags[i]);
	ASSERT(buffer->size - start <= RECORD_BYTES_MAX);
}

void record_stamp(uint8_t *record, uint64_t position, uint64_t version, int64_t created)
{
	ASSERT(record[0] == ARRAY_OF_9);
	bytes_set_be64(record + RECORD_POSITION_OFFSET, position);
	bytes_set_be64(record + RECORD_VERSION_OFFSET, version);
	record[RECORD_CREATED_OFFSET - 1] = created < 0 ? INT64 : UINT64;
	bytes_set_be64(record + RECORD_CREATED_OFFSET, (uint64_t)created);
}

/* ---- parse: strict, since equal events must be equal bytes on every node ---- */

struct reader {
	const uint8_t *at;
	const uint8_t *end;
};

static size_t left(const struct reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

static bool take(struct reader *reader, size_t header, size_t size, struct span *value)
{
	if (left(reader) < header || left(reader) - header < size)
		return false;
	*value = span_of(reader->at + header, size);
	reader->at += header + size;
	return true;
}

static bool take_str(struct reader *reader, size_t size_max, struct span *value)
{
	size_t available = left(reader), header = 1, size = 0;

	if (available < 3) /* the shortest name and what must follow a name are longer */
		return false;
	if (reader->at[0] >= FIXSTR && reader->at[0] <= FIXSTR + FIXSTR_MAX) {
		size = reader->at[0] - FIXSTR;
	} else if (reader->at[0] == STR8) {
		header = 2;
		size = reader->at[1];
		if (size <= FIXSTR_MAX)
			return false;
	} else if (reader->at[0] == STR16) {
		header = 3;
		size = bytes_be16(reader->at + 1);
		if (size <= UINT8_MAX)
			return false;
	}
	return size >= 1 && size <= size_max && take(reader, header, size, value);
}

static bool take_bin(struct reader *reader, size_t size_max, struct span *value)
{
	size_t available = left(reader), header = 2, size = 0;

	if (available >= 2 && reader->at[0] == BIN8) {
		size = reader->at[1];
	} else if (available >= 3 && reader->at[0] == BIN16) {
		header = 3;
		size = bytes_be16(reader->at + 1);
		if (size <= UINT8_MAX)
			return false;
	} else if (available >= 5 && reader->at[0] == BIN32) {
		header = 5;
		size = bytes_be32(reader->at + 1);
		if (size <= UINT16_MAX)
			return false;
	} else {
		return false;
	}
	return size <= size_max && take(reader, header, size, value);
}

static bool take_tag_count(struct reader *reader, uint32_t *count)
{
	size_t available = left(reader);

	if (available >= 1 && reader->at[0] >= FIXARRAY &&
	    reader->at[0] <= FIXARRAY + FIXARRAY_MAX) {
		*count = reader->at[0] - FIXARRAY;
		reader->at += 1;
		return true;
	}
	if (available < 3 || reader->at[0] != ARRAY16)
		return false;
	*count = bytes_be16(reader->at + 1);
	reader->at += 3;
	return *count > FIXARRAY_MAX && *count <= LIMIT_TAGS;
}

static bool take_tag(struct reader *reader, struct record *record, uint32_t index)
{
	/* The last tag may be the last two bytes of all: no look-ahead as for names. */
	size_t available = left(reader);
	struct span *tag = &record->tags[index];

	if (available >= 1 && reader->at[0] > FIXSTR && reader->at[0] <= FIXSTR + FIXSTR_MAX)
		return take(reader, 1, (size_t)(reader->at[0] - FIXSTR), tag);
	return take_str(reader, LIMIT_TAG_BYTES, tag);
}

static bool take_fixed(struct reader *reader, struct record *record)
{
	const uint8_t *at = reader->at;

	if (left(reader) < RECORD_STREAM_OFFSET || at[0] != ARRAY_OF_9 ||
	    at[RECORD_POSITION_OFFSET - 1] != UINT64 || at[RECORD_VERSION_OFFSET - 1] != UINT64 ||
	    at[RECORD_ID_OFFSET - 2] != BIN8 || at[RECORD_ID_OFFSET - 1] != UUID_BYTES)
		return false;
	record->position = record_position(at);
	record->version = record_version(at);
	record->created = record_created(at);
	record->id = record_id(at);
	reader->at += RECORD_STREAM_OFFSET;
	return at[RECORD_CREATED_OFFSET - 1] == (record->created < 0 ? INT64 : UINT64);
}

int record_parse(struct span bytes, struct record *record)
{
	struct reader reader = {.at = bytes.data, .end = bytes.data + bytes.size};

	if (!take_fixed(&reader, record) ||
	    !take_str(&reader, RECORD_STREAM_BYTES_MAX, &record->stream) ||
	    !take_str(&reader, LIMIT_TYPE_BYTES, &record->type) ||
	    !take_bin(&reader, LIMIT_EVENT_BYTES, &record->data) ||
	    !take_bin(&reader, LIMIT_EVENT_BYTES - record->data.size, &record->metadata) ||
	    !take_tag_count(&reader, &record->tag_count))
		return -EBADMSG;
	for (uint32_t i = 0; i < record->tag_count; i++)
		if (!take_tag(&reader, record, i))
			return -EBADMSG;
	record->bytes = span_of(bytes.data, (size_t)(reader.at - bytes.data));
	ASSERT(record->bytes.size <= bytes.size && record->bytes.size <= RECORD_BYTES_MAX);
	return 0;
}

/* ---- single fields ---- */

uint64_t record_position(const uint8_t *record)
{
	return bytes_be64(record + RECORD_POSITION_OFFSET);
}

uint64_t record_version(const uint8_t *record)
{
	return bytes_be64(record + RECORD_VERSION_OFFSET);
}

int64_t record_created(const uint8_t *record)
{
	return (int64_t)bytes_be64(record + RECORD_CREATED_OFFSET);
}

const uint8_t *record_id(const uint8_t *record)
{
	return record + RECORD_ID_OFFSET;
}

struct span record_stream(const uint8_t *record)
{
	const uint8_t *at = record + RECORD_STREAM_OFFSET;

	if (at[0] <= FIXSTR + FIXSTR_MAX)
		return span_of(at + 1, (size_t)(at[0] - FIXSTR));
	if (at[0] == STR8)
		return span_of(at + 2, at[1]);
	ASSERT(at[0] == STR16);
	return span_of(at + 3, bytes_be16(at + 1));
}

bool record_is_system(const uint8_t *record)
{
	return record_stream(record).data[0] == '$';
}
