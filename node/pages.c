#include "node/pages.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include <pthread.h>

#define PAGES_KEPT    16u
#define PAGE_KEPT_MIN (16 * KIB) /* smaller ones are made quickly */

struct pages {
	pthread_mutex_t lock;
	uint32_t count;
	size_t bytes;
	struct buffer kept[PAGES_KEPT];
};

struct pages *pages_new(void)
{
	struct pages *pages = memory_zeroed(1, sizeof *pages);

	pthread_mutex_init(&pages->lock, NULL);
	return pages;
}

void pages_free(struct pages *pages)
{
	while (pages->count > 0)
		buffer_close(&pages->kept[--pages->count]);
	pthread_mutex_destroy(&pages->lock);
	memory_free(pages);
}

void pages_take(struct pages *pages, struct buffer *into)
{
	buffer_init(into);
	pthread_mutex_lock(&pages->lock);
	if (pages->count > 0) {
		*into = pages->kept[--pages->count];
		ASSERT(pages->bytes >= into->capacity && into->size == 0);
		pages->bytes -= into->capacity;
	}
	pthread_mutex_unlock(&pages->lock);
}

void pages_give(struct pages *pages, struct buffer *buffer)
{
	buffer_clear(buffer);
	pthread_mutex_lock(&pages->lock);
	if (buffer->capacity >= PAGE_KEPT_MIN && pages->count < PAGES_KEPT &&
	    pages->bytes + buffer->capacity <= LIMIT_PAGES_KEPT_BYTES) {
		pages->kept[pages->count++] = *buffer;
		pages->bytes += buffer->capacity;
		buffer_init(buffer);
	}
	pthread_mutex_unlock(&pages->lock);
	buffer_close(buffer);
}
