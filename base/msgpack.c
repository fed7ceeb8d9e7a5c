#include "base/msgpack.h"

#include "base/assert.h"
#include "base/bytes.h"

/* What the first byte of a value says about the bytes behind it. */
enum form {
	FORM_PLAIN, /* `fixed` more bytes */
	FORM_BLOB,  /* a length, then `fixed` + length bytes */
	FORM_ARRAY, /* a count, then as many values */
	FORM_MAP,   /* a count, then twice as many values */
	FORM_INVALID,
};

struct shape {
	uint8_t form;
	uint8_t length_size; /* 0 (within the first byte), 1, 2 or 4 bytes */
	uint8_t fixed;
	uint8_t type; /* enum msgpack_type */
};

#define SHAPE(form_, length_size_, fixed_, type_)                                                  \
	{                                                                                          \
		.form = FORM_##form_, .length_size = (length_size_), .fixed = (fixed_),            \
		.type = MSGPACK_TYPE_##type_                                                       \
	}

static const struct shape shapes[256] = {
	[0x00 ... 0x7f] = SHAPE(PLAIN, 0, 0, INT),
	[0x80 ... 0x8f] = SHAPE(MAP, 0, 0, MAP),
	[0x90 ... 0x9f] = SHAPE(ARRAY, 0, 0, ARRAY),
	[0xa0 ... 0xbf] = SHAPE(BLOB, 0, 0, STR),
	[0xc0] = SHAPE(PLAIN, 0, 0, NIL),
	[0xc1] = SHAPE(INVALID, 0, 0, INVALID),
	[0xc2 ... 0xc3] = SHAPE(PLAIN, 0, 0, BOOL),
	[0xc4] = SHAPE(BLOB, 1, 0, BIN),
	[0xc5] = SHAPE(BLOB, 2, 0, BIN),
	[0xc6] = SHAPE(BLOB, 4, 0, BIN),
	[0xc7] = SHAPE(BLOB, 1, 1, EXT),
	[0xc8] = SHAPE(BLOB, 2, 1, EXT),
	[0xc9] = SHAPE(BLOB, 4, 1, EXT),
	[0xca] = SHAPE(PLAIN, 0, 4, FLOAT),
	[0xcb] = SHAPE(PLAIN, 0, 8, FLOAT),
	[0xcc] = SHAPE(PLAIN, 0, 1, INT),
	[0xcd] = SHAPE(PLAIN, 0, 2, INT),
	[0xce] = SHAPE(PLAIN, 0, 4, INT),
	[0xcf] = SHAPE(PLAIN, 0, 8, INT),
	[0xd0] = SHAPE(PLAIN, 0, 1, INT),
	[0xd1] = SHAPE(PLAIN, 0, 2, INT),
	[0xd2] = SHAPE(PLAIN, 0, 4, INT),
	[0xd3] = SHAPE(PLAIN, 0, 8, INT),
	[0xd4] = SHAPE(PLAIN, 0, 2, EXT),
	[0xd5] = SHAPE(PLAIN, 0, 3, EXT),
	[0xd6] = SHAPE(PLAIN, 0, 5, EXT),
	[0xd7] = SHAPE(PLAIN, 0, 9, EXT),
	[0xd8] = SHAPE(PLAIN, 0, 17, EXT),
	[0xd9] = SHAPE(BLOB, 1, 0, STR),
	[0xda] = SHAPE(BLOB, 2, 0, STR),
	[0xdb] = SHAPE(BLOB, 4, 0, STR),
	[0xdc] = SHAPE(ARRAY, 2, 0, ARRAY),
	[0xdd] = SHAPE(ARRAY, 4, 0, ARRAY),
	[0xde] = SHAPE(MAP, 2, 0, MAP),
	[0xdf] = SHAPE(MAP, 4, 0, MAP),
	[0xe0 ... 0xff] = SHAPE(PLAIN, 0, 0, INT),
};

/* The length or count that a header declares; all of its bytes must be there. */
static inline uint32_t declared_length(struct shape shape, const uint8_t *at)
{
	switch (shape.length_size) {
	case 1:
		return at[1];
	case 2:
		return bytes_be16(at + 1);
	case 4:
		return bytes_be32(at + 1);
	default:
		return shape.form == FORM_BLOB ? at[0] & 0x1f : at[0] & 0x0f;
	}
}

/* ---- scanner ---- */

#define LEVELS_PASSED     2u  /* an event, and its tags */
#define EVENT_HEAD_BYTES  46u /* as each one is kept and sent: see storage/record.h */
#define EVENT_HEAD_VALUES 4u

void msgpack_scanner_init(struct msgpack_scanner *scanner, size_t bytes_max, uint32_t depth_max)
{
	ASSERT(depth_max <= LIMIT_DEPTH);
	scanner->bytes_max = bytes_max;
	scanner->depth_max = depth_max;
	scanner->offset = 0;
	scanner->skip = 0;
	scanner->depth = 0;
	scanner->missing = 1;
	scanner->left[0] = 1;
}

/*
 * Whether the value is longer than allowed, whatever follows: `known` bytes are certain, and each
 * missing value needs one at least. No sum overflows: at most 17 levels miss 2^33 values each.
 */
static bool is_too_long(const struct msgpack_scanner *scanner, uint64_t known)
{
	return known > scanner->bytes_max || scanner->missing > scanner->bytes_max - known;
}

static void open_level(struct msgpack_scanner *scanner, uint64_t values)
{
	if (values == 0)
		return;
	ASSERT(scanner->depth < scanner->depth_max);
	scanner->left[++scanner->depth] = values;
	scanner->missing += values;
}

static void close_levels(struct msgpack_scanner *scanner)
{
	while (scanner->depth > 0 && scanner->left[scanner->depth] == 0)
		scanner->depth--;
}

/* Take in the value that begins at the offset; MORE stands for "go on". */
static enum msgpack_scan begin_value(struct msgpack_scanner *scanner, const uint8_t *at,
				     size_t size)
{
	struct shape shape = shapes[at[0]];
	size_t header = 1u + shape.length_size;
	bool container = shape.form == FORM_ARRAY || shape.form == FORM_MAP;

	if (shape.form == FORM_INVALID)
		return MSGPACK_SCAN_INVALID;
	if (container && scanner->depth == scanner->depth_max)
		return MSGPACK_SCAN_TOO_DEEP;
	if (size < header) {
		scanner->missing--; /* its own byte is counted in the header */
		bool too_long = is_too_long(scanner, scanner->offset + header + shape.fixed);

		scanner->missing++;
		return too_long ? MSGPACK_SCAN_TOO_LONG : MSGPACK_SCAN_MORE;
	}
	uint32_t length = shape.form == FORM_PLAIN ? 0 : declared_length(shape, at);

	scanner->offset += header;
	scanner->skip = shape.fixed + (container ? 0 : (size_t)length);
	scanner->missing--;
	scanner->left[scanner->depth]--;
	if (container)
		open_level(scanner, shape.form == FORM_MAP ? UINT64_C(2) * length : length);
	close_levels(scanner);
	if (is_too_long(scanner, (uint64_t)scanner->offset + scanner->skip))
		return MSGPACK_SCAN_TOO_LONG;
	return MSGPACK_SCAN_MORE;
}

/* Of a value that is no container, its bytes in all; 0: it is one, or not there as a whole. */
static inline size_t whole_scalar(const uint8_t *at, size_t there)
{
	struct shape shape = shapes[at[0]];
	size_t wanted = 1u + shape.length_size + shape.fixed;

	if (shape.form > FORM_BLOB || wanted > there)
		return 0;
	if (shape.form == FORM_BLOB)
		wanted += declared_length(shape, at);
	return wanted <= there ? wanted : 0;
}

/* Whether an array begins as an event does: three numbers of 8 bytes, an id. That is EVENT_HEAD_BYTES long. */
static inline bool is_event_head(const uint8_t *at, size_t there)
{
	return there >= EVENT_HEAD_BYTES && at[0] == 0x99 && at[1] == 0xcf && at[10] == 0xcf &&
	       (at[19] == 0xcf || at[19] == 0xd3) && at[28] == 0xc4 && at[29] == 16;
}

/*
 * Of an array of up to 15 values, its bytes in all; 0: it is none, or not there as a whole, or more is in it
 * than scalars and, above the last of the levels, such arrays. Small, as it is looked at again when more has
 * come.
 */
static size_t whole_array(const uint8_t *bytes, size_t there, uint32_t levels)
{
	uint32_t count = bytes[0] & 0x0f;
	size_t offset = 1;

	if ((bytes[0] & 0xf0) != 0x90 || levels == 0)
		return 0;
	if (is_event_head(bytes, there)) {
		offset = EVENT_HEAD_BYTES;
		count -= EVENT_HEAD_VALUES;
	}
	for (; count > 0; count--) {
		if (offset == there)
			return 0;
		size_t size = whole_scalar(bytes + offset, there - offset);

		if (size == 0)
			size = whole_array(bytes + offset, there - offset, levels - 1);
		if (size == 0)
			return 0;
		offset += size;
	}
	return offset;
}

/*
 * Past the values of the open level that are scalars, or events or the like, and are there as a whole, but for
 * its last one, which closes levels: most of what there is, quickly. As long as all that is there and a byte
 * for each value that is missing fit, none of them can be too long.
 */
static void skip_present(struct msgpack_scanner *scanner, const uint8_t *bytes, size_t size)
{
	uint32_t levels = scanner->depth_max - scanner->depth;
	size_t offset = scanner->offset;
	uint64_t left = scanner->left[scanner->depth];

	if (size > scanner->bytes_max || scanner->missing > scanner->bytes_max - size)
		return;
	if (levels > LEVELS_PASSED)
		levels = LEVELS_PASSED;
	while (left > 1 && offset < size) {
		size_t whole = whole_scalar(bytes + offset, size - offset);

		if (whole == 0)
			whole = whole_array(bytes + offset, size - offset, levels);
		if (whole == 0)
			break;
		offset += whole;
		left--;
	}
	scanner->offset = offset;
	scanner->missing -= scanner->left[scanner->depth] - left;
	scanner->left[scanner->depth] = left;
}

enum msgpack_scan msgpack_scan(struct msgpack_scanner *scanner, const uint8_t *bytes, size_t size)
{
	ASSERT(scanner->offset <= size);
	if (is_too_long(scanner, (uint64_t)scanner->offset + scanner->skip))
		return MSGPACK_SCAN_TOO_LONG;
	for (;;) {
		size_t there = size - scanner->offset;
		size_t skipped = scanner->skip < there ? scanner->skip : there;

		scanner->offset += skipped;
		scanner->skip -= skipped;
		if (scanner->skip > 0)
			return MSGPACK_SCAN_MORE;
		if (scanner->missing == 0)
			return MSGPACK_SCAN_VALUE;
		skip_present(scanner, bytes, size);
		if (scanner->offset == size)
			return MSGPACK_SCAN_MORE;
		size_t before = scanner->offset;
		enum msgpack_scan outcome = begin_value(scanner, bytes + before, size - before);

		if (outcome != MSGPACK_SCAN_MORE || scanner->offset == before)
			return outcome;
	}
}

/* ---- reader ---- */

static inline size_t bytes_left(const struct msgpack_reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

enum msgpack_type msgpack_read_type(const struct msgpack_reader *reader)
{
	return reader->at == reader->end ? MSGPACK_TYPE_END
					 : (enum msgpack_type)shapes[*reader->at].type;
}

const char *msgpack_type_name(enum msgpack_type type)
{
	static const char *const names[] = {
		[MSGPACK_TYPE_END] = "nothing",
		[MSGPACK_TYPE_NIL] = "nil",
		[MSGPACK_TYPE_BOOL] = "bool",
		[MSGPACK_TYPE_INT] = "int",
		[MSGPACK_TYPE_FLOAT] = "float",
		[MSGPACK_TYPE_STR] = "str",
		[MSGPACK_TYPE_BIN] = "bin",
		[MSGPACK_TYPE_ARRAY] = "array",
		[MSGPACK_TYPE_MAP] = "map",
		[MSGPACK_TYPE_EXT] = "ext",
		[MSGPACK_TYPE_INVALID] = "an invalid byte",
	};

	ASSERT(type <= MSGPACK_TYPE_INVALID);
	return names[type];
}

bool msgpack_read_nil(struct msgpack_reader *reader)
{
	if (reader->at == reader->end || *reader->at != 0xc0)
		return false;
	reader->at++;
	return true;
}

bool msgpack_read_bool(struct msgpack_reader *reader, bool *value)
{
	if (reader->at == reader->end || (*reader->at & 0xfe) != 0xc2)
		return false;
	*value = *reader->at++ == 0xc3;
	return true;
}

/*
 * An integer of any form as 64 bits of two's complement; *negative tells values below 0 from those
 * above INT64_MAX. The size of the value, 0 when there is none.
 */
static inline size_t peek_integer(const struct msgpack_reader *reader, uint64_t *bits,
				  bool *negative)
{
	const uint8_t *at = reader->at;
	size_t left = bytes_left(reader);
	int64_t value;

	if (left == 0)
		return 0;
	*negative = false;
	if (at[0] <= 0x7f) {
		*bits = at[0];
		return 1;
	}
	if (shapes[at[0]].type != MSGPACK_TYPE_INT || left < 1u + shapes[at[0]].fixed)
		return 0;
	switch (at[0]) {
	case 0xcc:
		*bits = at[1];
		return 2;
	case 0xcd:
		*bits = bytes_be16(at + 1);
		return 3;
	case 0xce:
		*bits = bytes_be32(at + 1);
		return 5;
	case 0xcf:
		*bits = bytes_be64(at + 1);
		return 9;
	case 0xd0:
		value = (int8_t)at[1];
		break;
	case 0xd1:
		value = (int16_t)bytes_be16(at + 1);
		break;
	case 0xd2:
		value = (int32_t)bytes_be32(at + 1);
		break;
	case 0xd3:
		value = (int64_t)bytes_be64(at + 1);
		break;
	default:
		value = (int8_t)at[0];
		break;
	}
	*bits = (uint64_t)value;
	*negative = value < 0;
	return 1u + shapes[at[0]].fixed;
}

bool msgpack_read_u64(struct msgpack_reader *reader, uint64_t *value)
{
	uint64_t bits;
	bool negative;
	size_t size = peek_integer(reader, &bits, &negative);

	if (size == 0 || negative)
		return false;
	*value = bits;
	reader->at += size;
	return true;
}

bool msgpack_read_i64(struct msgpack_reader *reader, int64_t *value)
{
	uint64_t bits;
	bool negative;
	size_t size = peek_integer(reader, &bits, &negative);

	if (size == 0 || (!negative && bits > INT64_MAX))
		return false;
	*value = (int64_t)bits;
	reader->at += size;
	return true;
}

/* A length in front of `header` bytes, then as many bytes, all of them there. */
static inline bool take_blob(struct msgpack_reader *reader, size_t header, size_t length,
			     struct span *value)
{
	if (length > bytes_left(reader) - header)
		return false;
	*value = span_of(reader->at + header, length);
	reader->at += header + length;
	return true;
}

bool msgpack_read_str(struct msgpack_reader *reader, struct span *value)
{
	const uint8_t *at = reader->at;
	size_t left = bytes_left(reader);

	if (left == 0)
		return false;
	if ((at[0] & 0xe0) == 0xa0)
		return take_blob(reader, 1, at[0] & 0x1f, value);
	switch (at[0]) {
	case 0xd9:
		return left >= 2 && take_blob(reader, 2, at[1], value);
	case 0xda:
		return left >= 3 && take_blob(reader, 3, bytes_be16(at + 1), value);
	case 0xdb:
		return left >= 5 && take_blob(reader, 5, bytes_be32(at + 1), value);
	default:
		return false;
	}
}

bool msgpack_read_bin(struct msgpack_reader *reader, struct span *value)
{
	const uint8_t *at = reader->at;
	size_t left = bytes_left(reader);

	if (left == 0)
		return false;
	switch (at[0]) {
	case 0xc4:
		return left >= 2 && take_blob(reader, 2, at[1], value);
	case 0xc5:
		return left >= 3 && take_blob(reader, 3, bytes_be16(at + 1), value);
	case 0xc6:
		return left >= 5 && take_blob(reader, 5, bytes_be32(at + 1), value);
	default:
		return false;
	}
}

bool msgpack_read_bytes(struct msgpack_reader *reader, struct span *value)
{
	return msgpack_read_bin(reader, value) || msgpack_read_str(reader, value);
}

/* A count of things that need `bytes_each` at least; one that lies is like one cut short. */
static inline bool take_count(struct msgpack_reader *reader, enum form form, uint32_t bytes_each,
			      uint32_t *count)
{
	size_t left = bytes_left(reader);

	if (left == 0 || shapes[*reader->at].form != form)
		return false;
	struct shape shape = shapes[*reader->at];
	size_t header = 1u + shape.length_size;

	if (left < header)
		return false;
	uint32_t declared = declared_length(shape, reader->at);

	if (declared > (left - header) / bytes_each)
		return false;
	*count = declared;
	reader->at += header;
	return true;
}

bool msgpack_read_array(struct msgpack_reader *reader, uint32_t *count)
{
	return take_count(reader, FORM_ARRAY, 1, count);
}

bool msgpack_read_map(struct msgpack_reader *reader, uint32_t *pairs)
{
	return take_count(reader, FORM_MAP, 2, pairs);
}

/* The end of the value at the reader, NULL when it is cut short or invalid; of any depth. */
static const uint8_t *value_end(const struct msgpack_reader *reader)
{
	const uint8_t *at = reader->at;
	uint64_t missing = 1;

	while (missing > 0) {
		size_t left = (size_t)(reader->end - at);

		/* Bounded by the bytes left: `missing` cannot overflow. */
		if (missing > left || shapes[*at].form == FORM_INVALID)
			return NULL;
		struct shape shape = shapes[*at];
		size_t size = 1u + shape.length_size + shape.fixed;

		if (size > left)
			return NULL;
		uint32_t length = shape.form == FORM_PLAIN ? 0 : declared_length(shape, at);

		missing--;
		if (shape.form == FORM_ARRAY)
			missing += length;
		else if (shape.form == FORM_MAP)
			missing += UINT64_C(2) * length;
		else if (length > left - size)
			return NULL;
		else
			size += length;
		at += size;
	}
	return at;
}

bool msgpack_read_skip(struct msgpack_reader *reader)
{
	const uint8_t *end = value_end(reader);

	if (end == NULL)
		return false;
	ASSERT(end > reader->at && end <= reader->end);
	reader->at = end;
	return true;
}

bool msgpack_read_raw(struct msgpack_reader *reader, struct span *value)
{
	const uint8_t *begin = reader->at;

	if (!msgpack_read_skip(reader))
		return false;
	*value = span_of(begin, (size_t)(reader->at - begin));
	return true;
}

/* ---- writer ---- */

static int append_packed(void *arg, const char *bytes, size_t size)
{
	buffer_append(arg, bytes, size);
	return 0;
}

static inline msgpack_packer packer_into(struct buffer *buffer)
{
	return (msgpack_packer){.data = buffer, .callback = append_packed};
}

void msgpack_write_nil(struct buffer *buffer)
{
	msgpack_packer packer = packer_into(buffer);

	msgpack_pack_nil(&packer);
}

void msgpack_write_bool(struct buffer *buffer, bool value)
{
	msgpack_packer packer = packer_into(buffer);

	if (value)
		msgpack_pack_true(&packer);
	else
		msgpack_pack_false(&packer);
}

void msgpack_write_u64(struct buffer *buffer, uint64_t value)
{
	msgpack_packer packer = packer_into(buffer);

	msgpack_pack_uint64(&packer, value);
}

void msgpack_write_i64(struct buffer *buffer, int64_t value)
{
	msgpack_packer packer = packer_into(buffer);

	msgpack_pack_int64(&packer, value);
}

void msgpack_write_double(struct buffer *buffer, double value)
{
	msgpack_packer packer = packer_into(buffer);

	msgpack_pack_double(&packer, value);
}

void msgpack_write_str(struct buffer *buffer, struct span value)
{
	msgpack_packer packer = packer_into(buffer);

	ASSERT(value.size <= UINT32_MAX);
	msgpack_pack_str(&packer, value.size);
	buffer_append_span(buffer, value);
}

void msgpack_write_string(struct buffer *buffer, const char *text)
{
	msgpack_write_str(buffer, span_of_string(text));
}

void msgpack_write_bin(struct buffer *buffer, struct span value)
{
	msgpack_packer packer = packer_into(buffer);

	ASSERT(value.size <= UINT32_MAX);
	msgpack_pack_bin(&packer, value.size);
	buffer_append_span(buffer, value);
}

void msgpack_write_array(struct buffer *buffer, uint32_t count)
{
	msgpack_packer packer = packer_into(buffer);

	msgpack_pack_array(&packer, count);
}

void msgpack_write_map(struct buffer *buffer, uint32_t pairs)
{
	msgpack_packer packer = packer_into(buffer);

	msgpack_pack_map(&packer, pairs);
}
