#include "base/buffer.h"

#include "base/assert.h"
#include "base/memory.h"

#define CAPACITY_MIN 64u

void buffer_init(struct buffer *buffer)
{
	*buffer = (struct buffer){0};
}

void buffer_close(struct buffer *buffer)
{
	memory_free(buffer->data);
	buffer_init(buffer);
}

void buffer_clear(struct buffer *buffer)
{
	buffer->size = 0;
}

static void grow(struct buffer *buffer, size_t wanted)
{
	size_t capacity = buffer->capacity * 2;

	if (capacity < CAPACITY_MIN)
		capacity = CAPACITY_MIN;
	if (capacity < wanted)
		capacity = wanted;
	buffer->data = memory_resize(buffer->data, capacity);
	buffer->capacity = capacity;
}

uint8_t *buffer_reserve(struct buffer *buffer, size_t more)
{
	ASSERT(buffer->size <= buffer->capacity);
	ASSERT(more <= SIZE_MAX / 4 && buffer->size <= SIZE_MAX / 4);
	if (buffer->capacity == 0 || more > buffer->capacity - buffer->size)
		grow(buffer, buffer->size + more);
	return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	if (size == 0)
		return;
	ASSERT(data != NULL);
	memcpy(buffer_reserve(buffer, size), data, size);
	buffer->size += size;
}

void buffer_append_span(struct buffer *buffer, struct span span)
{
	buffer_append(buffer, span.data, span.size);
}

void buffer_consume(struct buffer *buffer, size_t size)
{
	ASSERT(size <= buffer->size);
	if (size == 0)
		return;
	buffer->size -= size;
	memmove(buffer->data, buffer->data + size, buffer->size);
}

uint8_t *buffer_take(struct buffer *buffer, size_t *size)
{
	uint8_t *data = buffer->data;

	ASSERT(size != NULL);
	*size = buffer->size;
	buffer_init(buffer);
	return data;
}
