/*
 * Memory that is always there: these never return NULL. When the system has none left, one line
 * goes to stderr and the process ends with exit code 70: a replica restarts from its log.
 * Everything that a client can make grow is bounded before it comes here. Any thread.
 */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>

void *memory_alloc(size_t size);                     /* not zeroed; size 0 is allowed */
void *memory_zeroed(size_t count, size_t size);      /* zeroed; stops on overflow of the product */
void *memory_resize(void *block, size_t size);       /* as realloc */
void *memory_aligned(size_t alignment, size_t size); /* as aligned_alloc */
void *memory_copy(const void *data, size_t size);
char *memory_copy_string(const char *text);
void memory_free(void *block); /* NULL is allowed */
/* What a library made, NULL when it had no memory for it. */
void *memory_or_stop(void *made);

#endif
