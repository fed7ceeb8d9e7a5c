#include "base/memory.h"

#include "base/assert.h"
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define EXIT_NO_MEMORY EX_SOFTWARE /* 70, as memory.h promises */

/* _exit and write only: whatever runs at exit might ask for memory again. */
static _Noreturn void stop_without_memory(void)
{
	static const char line[] = "annal: out of memory: stopping, a restart recovers\n";
	ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);

	(void)written;
	_exit(EXIT_NO_MEMORY);
}

void *memory_alloc(size_t size)
{
	void *block = malloc(size > 0 ? size : 1);

	if (block == NULL)
		stop_without_memory();
	return block;
}

void *memory_zeroed(size_t count, size_t size)
{
	void *block = count > 0 && size > 0 ? calloc(count, size) : calloc(1, 1);

	if (block == NULL) /* calloc checks the product */
		stop_without_memory();
	return block;
}

void *memory_resize(void *block, size_t size)
{
	void *resized = realloc(block, size > 0 ? size : 1);

	if (resized == NULL)
		stop_without_memory();
	return resized;
}

void *memory_aligned(size_t alignment, size_t size)
{
	void *block = aligned_alloc(alignment, size > 0 ? size : alignment);

	if (block == NULL)
		stop_without_memory();
	return block;
}

void *memory_copy(const void *data, size_t size)
{
	void *copy = memory_alloc(size);

	ASSERT(data != NULL || size == 0);
	if (size > 0)
		memcpy(copy, data, size);
	return copy;
}

char *memory_copy_string(const char *text)
{
	ASSERT(text != NULL);
	return memory_copy(text, strlen(text) + 1);
}

void memory_free(void *block)
{
	free(block);
}

void *memory_or_stop(void *made)
{
	if (made == NULL)
		stop_without_memory();
	return made;
}
