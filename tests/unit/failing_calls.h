/*
 * Calls of the C library, of which one fails: the in-th that is made from now on, by annal or by a library
 * that it uses. Included by test programs whose calls are to be in its hands: what is defined here stands
 * before the C library's own.
 */
#ifndef TESTS_UNIT_FAILING_CALLS_H
#define TESTS_UNIT_FAILING_CALLS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ThreadSanitizer calls some of these before it can be told of anything. */
#define FAILING_UNWATCHED __attribute__((no_sanitize("thread")))

static struct {
	const char *only; /* calls of this name alone; NULL: of all that are below */
	int error;
	atomic_uint_fast64_t in; /* 0: none fails */
	const char *struck;      /* the name of the call that failed; NULL: none did */
} failing_calls;

static inline void failing_calls_set(const char *only, int error, uint64_t in)
{
	failing_calls.only = only;
	failing_calls.error = error;
	failing_calls.struck = NULL;
	atomic_store(&failing_calls.in, in);
}

static inline void failing_calls_stop(void)
{
	atomic_store(&failing_calls.in, 0);
}

FAILING_UNWATCHED static inline bool failing_call_is_due(const char *name)
{
	if (atomic_load(&failing_calls.in) == 0 ||
	    (failing_calls.only != NULL && strcmp(failing_calls.only, name) != 0))
		return false;
	if (atomic_fetch_sub(&failing_calls.in, 1) != 1)
		return false;
	failing_calls.struck = name;
	errno = failing_calls.error;
	return true;
}

/* The C library's own. */
FAILING_UNWATCHED static inline void *failing_calls_next(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found == NULL) {
		fprintf(stderr, "the C library has no %s\n", name);
		_exit(1);
	}
	return found;
}

#define FAILING_CALL(type, name, parameters, arguments, failed)                                    \
	FAILING_UNWATCHED type name parameters                                                     \
	{                                                                                          \
		static type(*next) parameters;                                                     \
                                                                                                   \
		if (next == NULL)                                                                  \
			*(void **)&next = failing_calls_next(#name);                               \
		return failing_call_is_due(#name) ? failed : next arguments;                       \
	}

FAILING_CALL(ssize_t, read, (int file, void *into, size_t size), (file, into, size), -1)
FAILING_CALL(ssize_t, pread, (int file, void *into, size_t size, off_t at), (file, into, size, at),
	     -1)
FAILING_CALL(ssize_t, write, (int file, const void *from, size_t size), (file, from, size), -1)
FAILING_CALL(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at),
	     (file, from, size, at), -1)
FAILING_CALL(int, fsync, (int file), (file), -1)
FAILING_CALL(int, fdatasync, (int file), (file), -1)
FAILING_CALL(int, ftruncate, (int file, off_t size), (file, size), -1)
FAILING_CALL(off_t, lseek, (int file, off_t at, int whence), (file, at, whence), -1)
FAILING_CALL(int, rename, (const char *from, const char *to), (from, to), -1)
FAILING_CALL(int, renameat2,
	     (int old, const char *from, int new, const char *to, unsigned int flags),
	     (old, from, new, to, flags), -1)
FAILING_CALL(int, link, (const char *from, const char *to), (from, to), -1)
FAILING_CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)
FAILING_CALL(int, stat, (const char *path, struct stat *into), (path, into), -1)
FAILING_CALL(int, fstat, (int file, struct stat *into), (file, into), -1)
FAILING_CALL(int, fstatat, (int directory, const char *path, struct stat *into, int flags),
	     (directory, path, into, flags), -1)
FAILING_CALL(DIR *, opendir, (const char *path), (path), NULL)
FAILING_CALL(struct dirent *, readdir, (DIR * directory), (directory), NULL)
FAILING_CALL(void *, mmap, (void *at, size_t size, int protect, int flags, int file, off_t from),
	     (at, size, protect, flags, file, from), MAP_FAILED)

/* The mode is there when a file may be made. */
#define FAILING_MODE(mode, flags)                                                                  \
	va_list more;                                                                              \
	va_start(more, flags);                                                                     \
	mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;                           \
	va_end(more)

FAILING_UNWATCHED int open(const char *path, int flags, ...)
{
	static int (*next)(const char *path, int flags, ...);
	FAILING_MODE(mode, flags);

	if (next == NULL)
		*(void **)&next = failing_calls_next("open");
	return failing_call_is_due("open") ? -1 : next(path, flags, mode);
}

FAILING_UNWATCHED int openat(int directory, const char *path, int flags, ...)
{
	static int (*next)(int directory, const char *path, int flags, ...);
	FAILING_MODE(mode, flags);

	if (next == NULL)
		*(void **)&next = failing_calls_next("openat");
	return failing_call_is_due("openat") ? -1 : next(directory, path, flags, mode);
}

#endif
