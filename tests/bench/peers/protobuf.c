#include "tests/bench/peers/protobuf.h"

#include "tests/bench/peers/work.h"

enum wire { WIRE_NUMBER = 0, WIRE_EIGHT = 1, WIRE_BYTES = 2, WIRE_FOUR = 5 };

size_t protobuf_number_bytes(uint64_t number)
{
	size_t size = 1;

	for (; number > 127; number >>= 7)
		size++;
	return size;
}

static void put(struct buffer *out, uint64_t number)
{
	uint8_t *into = buffer_reserve(out, 10);

	for (; number > 127; number >>= 7) {
		*into++ = (uint8_t)(number | 128);
		out->size++;
	}
	*into = (uint8_t)number;
	out->size++;
}

void protobuf_put_number(struct buffer *out, uint32_t field, uint64_t number)
{
	put(out, field << 3 | WIRE_NUMBER);
	put(out, number);
}

void protobuf_put_head(struct buffer *out, uint32_t field, size_t size)
{
	put(out, field << 3 | WIRE_BYTES);
	put(out, size);
}

void protobuf_put_bytes(struct buffer *out, uint32_t field, const void *data, size_t size)
{
	protobuf_put_head(out, field, size);
	buffer_append(out, data, size);
}

static uint64_t take(struct span *rest)
{
	uint64_t number = 0;

	for (uint32_t shift = 0; shift < 64 && rest->size > 0; shift += 7) {
		uint8_t byte = *rest->data;

		*rest = span_of(rest->data + 1, rest->size - 1);
		number |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return number;
	}
	work_fail("protobuf: a number without end");
}

static struct span take_bytes(struct span *rest, uint64_t size)
{
	if (size > rest->size)
		work_fail("protobuf: a field is cut");
	struct span bytes = span_of(rest->data, (size_t)size);

	*rest = span_of(rest->data + size, rest->size - (size_t)size);
	return bytes;
}

bool protobuf_next(struct span *rest, struct protobuf_field *field)
{
	if (rest->size == 0)
		return false;
	uint64_t key = take(rest);

	*field = (struct protobuf_field){.number = (uint32_t)(key >> 3)};
	switch (key & 7) {
	case WIRE_NUMBER:
		field->value = take(rest);
		break;
	case WIRE_BYTES:
		field->bytes = take_bytes(rest, take(rest));
		break;
	case WIRE_EIGHT:
		take_bytes(rest, 8);
		break;
	case WIRE_FOUR:
		take_bytes(rest, 4);
		break;
	default:
		work_fail("protobuf: wire type %u", (unsigned int)(key & 7));
	}
	return true;
}
