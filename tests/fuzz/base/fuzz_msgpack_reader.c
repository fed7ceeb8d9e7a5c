/*
 * Of any value that can be skipped: the typed readers take it apart to the same end, those of other
 * types refuse it and do not move, and what is written from it is the same again when that is read.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "base/msgpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_type(enum msgpack_type type, enum msgpack_type a, enum msgpack_type b)
{
	return type == a || type == b;
}

/* Each reader on a copy of its own: it moves exactly when it succeeds, and only on its type. */
static void try_all(const struct msgpack_reader *at, enum msgpack_type type)
{
	struct msgpack_reader nil = *at, truth = *at, u64 = *at, i64 = *at, str = *at, bin = *at;
	struct msgpack_reader bytes = *at, array = *at, map = *at;
	uint64_t unsigned_value = 0;
	int64_t signed_value = 0;
	struct span span;
	uint32_t count;
	bool value;

	ASSERT(msgpack_read_nil(&nil) == (nil.at > at->at));
	ASSERT(msgpack_read_bool(&truth, &value) == (truth.at > at->at));
	ASSERT(msgpack_read_u64(&u64, &unsigned_value) == (u64.at > at->at));
	ASSERT(msgpack_read_i64(&i64, &signed_value) == (i64.at > at->at));
	ASSERT(msgpack_read_str(&str, &span) == (str.at > at->at));
	ASSERT(msgpack_read_bin(&bin, &span) == (bin.at > at->at));
	ASSERT(msgpack_read_bytes(&bytes, &span) == (bytes.at > at->at));
	ASSERT(msgpack_read_array(&array, &count) == (array.at > at->at));
	ASSERT(msgpack_read_map(&map, &count) == (map.at > at->at));
	ASSERT((nil.at > at->at) == (type == MSGPACK_TYPE_NIL));
	ASSERT((truth.at > at->at) == (type == MSGPACK_TYPE_BOOL));
	ASSERT((u64.at > at->at || i64.at > at->at) == (type == MSGPACK_TYPE_INT));
	ASSERT(u64.at == at->at || i64.at == at->at ||
	       (u64.at == i64.at && unsigned_value == (uint64_t)signed_value));
	ASSERT((str.at > at->at) == (type == MSGPACK_TYPE_STR));
	ASSERT((bin.at > at->at) == (type == MSGPACK_TYPE_BIN));
	ASSERT((bytes.at > at->at) == is_type(type, MSGPACK_TYPE_STR, MSGPACK_TYPE_BIN));
	ASSERT((array.at > at->at) == (type == MSGPACK_TYPE_ARRAY));
	ASSERT((map.at > at->at) == (type == MSGPACK_TYPE_MAP));
}

static void copy_scalar(struct msgpack_reader *reader, enum msgpack_type type, struct buffer *into)
{
	uint64_t unsigned_value;
	int64_t signed_value;
	struct span span;
	bool value;

	if (msgpack_read_nil(reader)) {
		msgpack_write_nil(into);
	} else if (msgpack_read_bool(reader, &value)) {
		msgpack_write_bool(into, value);
	} else if (msgpack_read_u64(reader, &unsigned_value)) {
		msgpack_write_u64(into, unsigned_value);
	} else if (msgpack_read_i64(reader, &signed_value)) {
		msgpack_write_i64(into, signed_value);
	} else if (msgpack_read_str(reader, &span)) {
		msgpack_write_str(into, span);
	} else if (msgpack_read_bin(reader, &span)) {
		msgpack_write_bin(into, span);
	} else {
		ASSERT(is_type(type, MSGPACK_TYPE_FLOAT, MSGPACK_TYPE_EXT));
		ASSERT(msgpack_read_raw(reader, &span));
		buffer_append_span(into, span);
	}
}

/* Copies one value, written anew: no recursion, `missing` counts what is open. */
static void copy_value(struct msgpack_reader *reader, struct buffer *into)
{
	uint64_t missing = 1;

	for (; missing > 0; missing--) {
		enum msgpack_type type = msgpack_read_type(reader);
		uint32_t count;

		try_all(reader, type);
		if (msgpack_read_array(reader, &count)) {
			msgpack_write_array(into, count);
			missing += count;
		} else if (msgpack_read_map(reader, &count)) {
			msgpack_write_map(into, count);
			missing += UINT64_C(2) * count;
		} else {
			copy_scalar(reader, type, into);
		}
	}
}

static void check(struct span bytes)
{
	struct msgpack_reader reader = msgpack_reader_of(bytes), skipping = reader, again;
	struct buffer first, second;

	if (!msgpack_read_skip(&skipping))
		return;
	buffer_init(&first);
	buffer_init(&second);
	copy_value(&reader, &first);
	ASSERT(reader.at == skipping.at);
	again = msgpack_reader_of(buffer_span(&first));
	copy_value(&again, &second);
	ASSERT(again.at == again.end);
	ASSERT(span_equal(buffer_span(&first), buffer_span(&second)));
	ASSERT(first.size <= (size_t)(skipping.at - bytes.data)); /* ours are the short forms */
	buffer_close(&first);
	buffer_close(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(span_of(data, size));
	return 0;
}
