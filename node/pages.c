#include "node/pages.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include <pthread.h>

#define PAGES_KEPT     64u
#define PAGE_KEPT_MIN  (8 * KIB)   /* smaller ones are made quickly */
#define PAGE_SMALL_MAX (128 * KIB) /* a small page should not hold the memory of a large one */

struct shelf {
	uint32_t count;
	struct buffer kept[PAGES_KEPT];
};

struct pages {
	pthread_mutex_t lock;
	size_t bytes;
	struct shelf small, large;
};

struct pages *pages_new(void)
{
	struct pages *pages = memory_zeroed(1, sizeof *pages);

	pthread_mutex_init(&pages->lock, NULL);
	return pages;
}

static void shelf_close(struct shelf *shelf)
{
	while (shelf->count > 0)
		buffer_close(&shelf->kept[--shelf->count]);
}

void pages_free(struct pages *pages)
{
	shelf_close(&pages->small);
	shelf_close(&pages->large);
	pthread_mutex_destroy(&pages->lock);
	memory_free(pages);
}

void pages_take(struct pages *pages, bool large, struct buffer *into)
{
	struct shelf *shelf = large ? &pages->large : &pages->small;

	buffer_init(into);
	pthread_mutex_lock(&pages->lock);
	if (shelf->count > 0) {
		*into = shelf->kept[--shelf->count];
		ASSERT(pages->bytes >= into->capacity && into->size == 0);
		pages->bytes -= into->capacity;
	}
	pthread_mutex_unlock(&pages->lock);
}

void pages_give(struct pages *pages, struct buffer *buffer)
{
	struct shelf *shelf = buffer->capacity > PAGE_SMALL_MAX ? &pages->large : &pages->small;

	buffer_clear(buffer);
	if (buffer->capacity >= PAGE_KEPT_MIN) {
		pthread_mutex_lock(&pages->lock);
		if (shelf->count < PAGES_KEPT &&
		    pages->bytes + buffer->capacity <= LIMIT_PAGES_KEPT_BYTES) {
			shelf->kept[shelf->count++] = *buffer;
			pages->bytes += buffer->capacity;
			buffer_init(buffer);
		}
		pthread_mutex_unlock(&pages->lock);
	}
	buffer_close(buffer);
}
