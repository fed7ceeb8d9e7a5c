/* A growable run of bytes that it owns. Not thread-safe. Growth doubles; memory never runs out
 * (memory.h). */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include "base/span.h"

struct buffer {
	uint8_t *data;
	size_t size;     /* bytes in use */
	size_t capacity; /* bytes allocated */
};

void buffer_init(struct buffer *buffer);  /* allocates nothing */
void buffer_close(struct buffer *buffer); /* frees; ready for use again */
void buffer_clear(struct buffer *buffer); /* size 0, memory kept */

/* Make room for `more` bytes behind the size; the pointer to that room. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_span(struct buffer *buffer, struct span span);
/* Drop the first `size` bytes, moving the rest to the front. */
void buffer_consume(struct buffer *buffer, size_t size);
/* Hand the memory over to the caller (memory_free it), leaving the buffer empty. */
uint8_t *buffer_take(struct buffer *buffer, size_t *size);

static inline struct span buffer_span(const struct buffer *buffer)
{
	return span_of(buffer->data, buffer->size);
}

#endif
