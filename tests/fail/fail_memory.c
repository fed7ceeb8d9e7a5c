/* Memory and threads. See fail.h. */
#include "tests/fail/fail.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* glibc's own, under names that need no dlsym, which asks for memory itself. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
	return fail_call(FAIL_ALLOC, "malloc", NULL, -1) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fail_call(FAIL_ALLOC, "calloc", NULL, -1) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
	return fail_call(FAIL_ALLOC, "realloc", NULL, -1) ? NULL : __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return fail_call(FAIL_ALLOC, "aligned_alloc", NULL, -1) ? NULL
								: __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	if (fail_call(FAIL_ALLOC, "posix_memalign", NULL, -1))
		return ENOMEM;
	void *found = __libc_memalign(alignment, size);

	if (found == NULL)
		return ENOMEM;
	*block = found;
	return 0;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
	FAIL_NEXT(mmap)
	if (fail_call(FAIL_MAP, "mmap", NULL, fd))
		return MAP_FAILED;
	return next(address, size, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t size, int protection, int flags, int fd, off64_t offset)
{
	return mmap(address, size, protection, flags, fd, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
		   void *arg)
{
	FAIL_NEXT(pthread_create)
	if (fail_call(FAIL_THREAD, "pthread_create", NULL, -1))
		return errno;
	return next(thread, attributes, run, arg);
}
