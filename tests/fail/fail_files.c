/* Files: names, sizes, contents, the raw asynchronous writes of the log. See fail.h. */
#include "tests/fail/fail.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ERROR_SEEN 0x20 /* glibc's _IO_ERR_SEEN */

/* Of an older C library, by which LMDB is compiled. */
int __fxstat(int version, int fd, struct stat *found);

/* A function that is passed on unless it is to fail: of a path, or of a descriptor. */
#define OF_PATH(kind, type, failed, name, parameters, arguments, path)                             \
	type name parameters                                                                       \
	{                                                                                          \
		FAIL_NEXT(name)                                                                    \
		return fail_call(kind, #name, path, -1) ? (failed) : next arguments;               \
	}
#define OF_FD(kind, type, failed, name, parameters, arguments, fd)                                 \
	type name parameters                                                                       \
	{                                                                                          \
		FAIL_NEXT(name)                                                                    \
		return fail_call(kind, #name, NULL, fd) ? (failed) : next arguments;               \
	}
#define TRANSFER(of_file, of_socket, name, parameters, arguments, fd)                              \
	ssize_t name parameters                                                                    \
	{                                                                                          \
		FAIL_NEXT(name)                                                                    \
		return fail_transfer(of_file, of_socket, #name, fd) ? -1 : next arguments;         \
	}

/* ---- contents ---- */

/* clang-format off */
TRANSFER(FAIL_READ, FAIL_RECEIVE, read, (int fd, void *data, size_t size), (fd, data, size), fd)
TRANSFER(FAIL_READ, FAIL_RECEIVE, readv, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd)
TRANSFER(FAIL_READ, FAIL_RECEIVE, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), fd)
TRANSFER(FAIL_READ, FAIL_RECEIVE, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at), fd)
TRANSFER(FAIL_WRITE, FAIL_SEND, write, (int fd, const void *data, size_t size), (fd, data, size), fd)
TRANSFER(FAIL_WRITE, FAIL_SEND, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd)
TRANSFER(FAIL_WRITE, FAIL_SEND, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd)
TRANSFER(FAIL_WRITE, FAIL_SEND, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at), fd)
OF_FD(FAIL_SYNC, int, -1, fsync, (int fd), (fd), fd)
OF_FD(FAIL_SYNC, int, -1, fdatasync, (int fd), (fd), fd)
OF_FD(FAIL_SYNC, int, -1, msync, (void *data, size_t size, int flags), (data, size, flags), -1)
OF_FD(FAIL_TRUNCATE, int, -1, ftruncate, (int fd, off_t size), (fd, size), fd)
OF_FD(FAIL_TRUNCATE, int, -1, ftruncate64, (int fd, off64_t size), (fd, size), fd)
OF_FD(FAIL_ALLOCATE, int, errno, posix_fallocate, (int fd, off_t at, off_t size), (fd, at, size), fd)
OF_FD(FAIL_ALLOCATE, int, errno, posix_fallocate64, (int fd, off64_t at, off64_t size), (fd, at, size), fd)

/* ---- names ---- */

OF_PATH(FAIL_RENAME, int, -1, rename, (const char *from, const char *to), (from, to), from)
OF_PATH(FAIL_RENAME, int, -1, link, (const char *from, const char *to), (from, to), from)
OF_PATH(FAIL_RENAME, int, -1, renameat2, (int folder, const char *from, int to_folder, const char *to, unsigned flags), (folder, from, to_folder, to, flags), from)
OF_PATH(FAIL_UNLINK, int, -1, unlink, (const char *path), (path), path)
OF_PATH(FAIL_UNLINK, int, -1, rmdir, (const char *path), (path), path)
OF_PATH(FAIL_MKDIR, int, -1, mkdir, (const char *path, mode_t mode), (path, mode), path)
OF_PATH(FAIL_STAT, int, -1, stat, (const char *path, struct stat *found), (path, found), path)
OF_PATH(FAIL_STAT, int, -1, stat64, (const char *path, struct stat64 *found), (path, found), path)
OF_PATH(FAIL_STAT, int, -1, lstat64, (const char *path, struct stat64 *found), (path, found), path)
OF_FD(FAIL_STAT, int, -1, fstat, (int fd, struct stat *found), (fd, found), fd)
OF_FD(FAIL_STAT, int, -1, fstat64, (int fd, struct stat64 *found), (fd, found), fd)
OF_FD(FAIL_STAT, int, -1, __fxstat, (int version, int fd, struct stat *found), (version, fd, found), fd)
OF_PATH(FAIL_STAT, int, -1, fstatat, (int folder, const char *path, struct stat *found, int flags), (folder, path, found, flags), path)
OF_PATH(FAIL_STAT, int, -1, access, (const char *path, int mode), (path, mode), path)
OF_PATH(FAIL_STAT, int, -1, statvfs, (const char *path, struct statvfs *found), (path, found), path)
OF_FD(FAIL_STAT, int, -1, fstatfs, (int fd, struct statfs *found), (fd, found), fd)
OF_FD(FAIL_STAT, int, -1, fstatfs64, (int fd, struct statfs64 *found), (fd, found), fd)
OF_PATH(FAIL_STAT, char *, NULL, realpath, (const char *path, char *found), (path, found), path)
OF_FD(FAIL_LOCK, int, -1, flock, (int fd, int operation), (fd, operation), fd)

/* ---- streams and folders of the C library ---- */

OF_PATH(FAIL_OPEN, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode), path)
OF_PATH(FAIL_OPEN, FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode), path)
OF_PATH(FAIL_OPEN, DIR *, NULL, opendir, (const char *path), (path), path)
OF_PATH(FAIL_OPEN, int, -1, scandir64, (const char *path, struct dirent64 ***list, int (*filter)(const struct dirent64 *), int (*compare)(const struct dirent64 **, const struct dirent64 **)), (path, list, filter, compare), path)
OF_FD(FAIL_READ, struct dirent *, NULL, readdir, (DIR *folder), (folder), dirfd(folder))
OF_FD(FAIL_READ, struct dirent64 *, NULL, readdir64, (DIR *folder), (folder), dirfd(folder))
/* clang-format on */

/* A file that could not be written out is closed all the same. */
int fclose(FILE *file)
{
	FAIL_NEXT(fclose)
	bool fails = file != stderr && fail_call(FAIL_WRITE, "fclose", NULL, fileno(file));
	int error = errno, status = next(file);

	if (!fails)
		return status;
	errno = error;
	return EOF;
}

/* What ferror says from now on. */
static void mark_failed(FILE *file)
{
	file->_flags |= ERROR_SEEN;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file)
{
	FAIL_NEXT(fwrite)
	if (file == stderr || !fail_call(FAIL_WRITE, "fwrite", NULL, fileno(file)))
		return next(data, size, count, file);
	mark_failed(file);
	return 0;
}

int fflush(FILE *file)
{
	FAIL_NEXT(fflush)
	if (file == NULL || file == stderr || !fail_call(FAIL_WRITE, "fflush", NULL, fileno(file)))
		return next(file);
	mark_failed(file);
	return EOF;
}

/* ---- with a variable number of arguments ---- */

static int open_unless_failed(const char *name, int folder, const char *path, int flags,
			      mode_t mode)
{
	static int (*next)(int, const char *, int, ...);

	if (next == NULL) {
		void *found = fail_next("openat64");

		memcpy(&next, &found, sizeof found);
	}
	return fail_call(FAIL_OPEN, name, path, -1) ? -1 : next(folder, path, flags, mode);
}

#define OPEN_MODE(flags, mode)                                                                     \
	mode_t mode = 0;                                                                           \
	if (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE) {                          \
		va_list list;                                                                      \
		va_start(list, flags);                                                             \
		mode = va_arg(list, mode_t);                                                       \
		va_end(list);                                                                      \
	}

int open(const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return open_unless_failed("open", AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return open_unless_failed("open", AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return open_unless_failed("openat", folder, path, flags, mode);
}

int __open64_2(const char *path, int flags);

int __open64_2(const char *path, int flags)
{
	return open_unless_failed("open", AT_FDCWD, path, flags, 0);
}

int fcntl(int fd, int command, ...)
{
	static int (*next)(int, int, ...);
	va_list list;

	if (next == NULL) {
		void *found = fail_next("fcntl64");

		memcpy(&next, &found, sizeof found);
	}
	va_start(list, command);
	void *argument = va_arg(list, void *);

	va_end(list);
	/* What cannot fail on an open file is let through. */
	if ((command == F_SETLK || command == F_SETLKW) && fail_call(FAIL_LOCK, "fcntl", NULL, fd))
		return -1;
	return next(fd, command, argument);
}

/* ---- raw system calls ---- */

/* An end of a write, told as a failure. */
static void strike_results(struct io_event *events, long count)
{
	for (long i = 0; i < count; i++) {
		const struct iocb *request = (const struct iocb *)(uintptr_t)events[i].obj;

		if (fail_call(FAIL_AIO_RESULT, "io_getevents", NULL, (int)request->aio_fildes))
			events[i].res = -errno;
	}
}

static bool raw_fails(long number, const long arguments[6])
{
	switch (number) {
	case SYS_io_setup:
		return fail_call(FAIL_AIO_SETUP, "io_setup", NULL, -1);
	case SYS_io_submit: {
		struct iocb **requests = (struct iocb **)arguments[2];

		return fail_call(FAIL_AIO_SUBMIT, "io_submit", NULL, (int)requests[0]->aio_fildes);
	}
	case SYS_io_getevents:
		return fail_call(FAIL_WAIT, "io_getevents", NULL, -1);
	case SYS_statx:
		return fail_call(FAIL_STAT, "statx", (const char *)arguments[1], -1);
	case SYS_pwritev:
	case SYS_pwritev2:
		return fail_call(FAIL_WRITE, "pwritev", NULL, (int)arguments[0]);
	case SYS_preadv:
	case SYS_preadv2:
		return fail_call(FAIL_READ, "preadv", NULL, (int)arguments[0]);
	default:
		return false;
	}
}

long syscall(long number, ...);

long syscall(long number, ...)
{
	FAIL_NEXT(syscall)
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++) /* of those not given, the callee takes none */
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (raw_fails(number, arguments))
		return -1;
	long answer = next(number, arguments[0], arguments[1], arguments[2], arguments[3],
			   arguments[4], arguments[5]);

	if (number == SYS_io_getevents && answer > 0)
		strike_results((struct io_event *)arguments[3], answer);
	return answer;
}
