/* What a node does to its files. See interpose.h. */
#include "tests/faults/interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NEXT(name)                                                                                 \
	static __typeof__(&name) next;                                                             \
	if (next == NULL) {                                                                        \
		void *found = interpose_next(#name);                                               \
		memcpy(&next, &found, sizeof found);                                               \
	}

static bool is_idle(void)
{
	return !journal_is_kept() && interpose_get(SLOT_FAIL_ERRNO) == 0 &&
	       interpose_get(SLOT_DELAY_US) == 0;
}

static enum slot slot_of(enum kind kind)
{
	return kind == KIND_WRITE  ? SLOT_FAILED
	       : kind == KIND_LOG  ? SLOT_FAILED + 1
	       : kind == KIND_SYNC ? SLOT_FAILED + 2
				   : SLOT_FAILED + 3;
}

static void wait_as_ordered(void)
{
	uint64_t us = interpose_get(SLOT_DELAY_US);
	struct timespec left = {.tv_sec = (time_t)(us / 1000000),
				.tv_nsec = (long)(us % 1000000) * 1000};

	if (us == 0)
		return;
	interpose_count(SLOT_DELAYED);
	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* 0, or the error that this call is to end with. */
static int strike(enum kind kind)
{
	static _Atomic uint64_t let_through;
	uint64_t error = interpose_get(SLOT_FAIL_ERRNO);

	if (kind != KIND_ALLOCATE)
		wait_as_ordered();
	if (error == 0) {
		let_through = 0;
		return 0;
	}
	if ((interpose_get(SLOT_FAIL_KINDS) & kind) == 0 ||
	    let_through++ < interpose_get(SLOT_FAIL_AFTER))
		return 0;
	interpose_count(slot_of(kind));
	return (int)error;
}

/* ---- writes ---- */

struct write_order {
	uint64_t sequence;
	bool is_durable;
};

/* Before a write: 0, or the error to end with. */
static int before_write(int fd, int64_t offset, size_t size, struct write_order *order)
{
	char path[INTERPOSE_PATH_MAX];

	*order = (struct write_order){0};
	if (is_idle() || !interpose_path(fd, path))
		return 0;
	int error = strike(KIND_WRITE);

	if (error != 0)
		return error;
	interpose_count(SLOT_WRITES);
	if (!journal_is_kept())
		return 0;
	int flags = fcntl(fd, F_GETFL);

	if (offset < 0)
		offset = lseek(fd, 0, (flags & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
	order->sequence = journal_write(fd, path, (uint64_t)offset, size);
	order->is_durable = (flags & (O_DSYNC | O_SYNC)) != 0;
	return 0;
}

static void after_write(const struct write_order *order, ssize_t written)
{
	if (written > 0 && order->is_durable)
		journal_written(order->sequence);
}

ssize_t write(int fd, const void *data, size_t size)
{
	NEXT(write);
	struct write_order order;
	int error = before_write(fd, -1, size, &order);

	if (error != 0) {
		errno = error;
		return -1;
	}
	ssize_t written = next(fd, data, size);

	after_write(&order, written);
	return written;
}

static size_t size_of(const struct iovec *parts, int count)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	return size;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	NEXT(writev);
	struct write_order order;
	int error = before_write(fd, -1, size_of(parts, count), &order);

	if (error != 0) {
		errno = error;
		return -1;
	}
	ssize_t written = next(fd, parts, count);

	after_write(&order, written);
	return written;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	NEXT(pwrite);
	struct write_order order;
	int error = before_write(fd, offset, size, &order);

	if (error != 0) {
		errno = error;
		return -1;
	}
	ssize_t written = next(fd, data, size, offset);

	after_write(&order, written);
	return written;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
	return pwrite(fd, data, size, offset);
}

/* ---- the log: raw asynchronous writes through syscall(2) ---- */

#define UNDER_WAY_MAX 256

static pthread_mutex_t under_way_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uint64_t request; /* address of its iocb; 0: free */
	uint64_t sequence;
} under_way[UNDER_WAY_MAX];

static void remember(const struct iocb *request, uint64_t sequence)
{
	pthread_mutex_lock(&under_way_lock);
	for (size_t i = 0; i < UNDER_WAY_MAX; i++) {
		if (under_way[i].request != 0)
			continue;
		under_way[i].request = (uint64_t)(uintptr_t)request;
		under_way[i].sequence = sequence;
		break;
	}
	pthread_mutex_unlock(&under_way_lock);
}

static uint64_t recall(uint64_t request)
{
	uint64_t sequence = 0;

	pthread_mutex_lock(&under_way_lock);
	for (size_t i = 0; i < UNDER_WAY_MAX && sequence == 0; i++) {
		if (under_way[i].request != request)
			continue;
		sequence = under_way[i].sequence;
		under_way[i].request = 0;
	}
	pthread_mutex_unlock(&under_way_lock);
	return sequence;
}

/* Only what is durable once it has ended needs to be known then. */
static void note_request(const struct iocb *request)
{
	char path[INTERPOSE_PATH_MAX];
	int fd = (int)request->aio_fildes;
	bool is_vector = request->aio_lio_opcode == IOCB_CMD_PWRITEV;
	size_t size = request->aio_nbytes;

	if (!is_vector && request->aio_lio_opcode != IOCB_CMD_PWRITE)
		return;
	if (!interpose_path(fd, path))
		return;
	interpose_count(SLOT_LOG_WRITES);
	if (is_vector)
		size = size_of((const struct iovec *)(uintptr_t)request->aio_buf, (int)size);
	uint64_t sequence = journal_write(fd, path, (uint64_t)request->aio_offset, size);

	if (sequence != 0 && ((request->aio_rw_flags & RWF_DSYNC) != 0 ||
			      (fcntl(fd, F_GETFL) & (O_DSYNC | O_SYNC)) != 0))
		remember(request, sequence);
}

/* A slow disk does not hold up who asks not to wait: he is told to come again on another thread. */
static bool must_not_wait(struct iocb *const requests[], long count)
{
	for (long i = 0; i < count; i++)
		if ((requests[i]->aio_rw_flags & RWF_NOWAIT) != 0)
			return true;
	return false;
}

static int before_submit(const long arguments[6])
{
	struct iocb **requests = (struct iocb **)arguments[2];

	if (is_idle())
		return 0;
	if (interpose_get(SLOT_DELAY_US) != 0 && must_not_wait(requests, arguments[1]))
		return EAGAIN;
	int error = strike(KIND_LOG);

	for (long i = 0; error == 0 && i < arguments[1]; i++)
		note_request(requests[i]);
	return error;
}

static void after_events(const long arguments[6], long count)
{
	const struct io_event *events = (const struct io_event *)arguments[3];

	for (long i = 0; journal_is_kept() && i < count; i++) {
		uint64_t sequence = recall(events[i].obj);

		if (events[i].res > 0)
			journal_written(sequence);
	}
}

long syscall(long number, ...);

long syscall(long number, ...)
{
	NEXT(syscall);
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++) /* of those not given, the callee takes none */
		arguments[i] = va_arg(list, long);
	va_end(list);
	int error = number == SYS_io_submit ? before_submit(arguments) : 0;

	if (error != 0) {
		errno = error;
		return -1;
	}
	long answer = next(number, arguments[0], arguments[1], arguments[2], arguments[3],
			   arguments[4], arguments[5]);

	if (number == SYS_io_getevents && answer > 0)
		after_events(arguments, answer);
	return answer;
}

/* ---- syncs ---- */

static int sync_file(int fd, int (*next)(int))
{
	char path[INTERPOSE_PATH_MAX];

	if (is_idle() || !interpose_path(fd, path))
		return next(fd);
	int error = strike(KIND_SYNC);

	if (error != 0) {
		errno = error;
		return -1;
	}
	uint64_t covered = journal_now();
	int status = next(fd);

	interpose_count(SLOT_SYNCS);
	if (status == 0)
		journal_synced(fd, path, covered);
	return status;
}

int fsync(int fd)
{
	NEXT(fsync);
	return sync_file(fd, next);
}

int fdatasync(int fd)
{
	NEXT(fdatasync);
	return sync_file(fd, next);
}

/* ---- sizes and names ---- */

static int before_size(int fd, uint64_t size)
{
	char path[INTERPOSE_PATH_MAX];
	struct stat found;

	if (is_idle() || !interpose_path(fd, path) || fstat(fd, &found) != 0)
		return 0;
	/* To make a file shorter takes no room. */
	int error = size > (uint64_t)found.st_size ? strike(KIND_ALLOCATE) : 0;

	if (error == 0)
		journal_resize(fd, path, size);
	return error;
}

int ftruncate(int fd, off_t size)
{
	NEXT(ftruncate);
	int error = before_size(fd, (uint64_t)size);

	if (error != 0) {
		errno = error;
		return -1;
	}
	return next(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
	NEXT(posix_fallocate);
	int error = before_size(fd, (uint64_t)(offset + size));

	return error != 0 ? error : next(fd, offset, size);
}

int posix_fallocate64(int fd, off64_t offset, off64_t size)
{
	return posix_fallocate(fd, offset, size);
}

static void note_emptied(const char *path)
{
	int fd = openat(AT_FDCWD, path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	journal_resize(fd, path, 0);
	close(fd);
}

/* An open that may make a file, or empty one. */
static int open_watched(int (*next)(int, const char *, int, ...), int folder, const char *path,
			int flags, mode_t mode)
{
	bool watched = journal_is_kept() && (flags & O_CREAT) != 0 && interpose_is_below(path);
	struct stat found;
	bool is_new = watched && stat(path, &found) != 0;

	if (watched && !is_new && (flags & O_TRUNC) != 0)
		note_emptied(path);
	int fd = next(folder, path, flags, mode);

	if (fd >= 0 && is_new)
		journal_created(path);
	return fd;
}

#define OPEN_MODE(flags, mode)                                                                     \
	mode_t mode = 0;                                                                           \
	if (((flags) & (O_CREAT | __O_TMPFILE)) != 0) {                                            \
		va_list list;                                                                      \
		va_start(list, flags);                                                             \
		mode = va_arg(list, mode_t);                                                       \
		va_end(list);                                                                      \
	}

int openat(int folder, const char *path, int flags, ...)
{
	NEXT(openat);
	OPEN_MODE(flags, mode)
	return open_watched(next, folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return openat(folder, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return openat(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	OPEN_MODE(flags, mode)
	return openat(AT_FDCWD, path, flags, mode);
}

int __open64_2(const char *path, int flags);

int __open64_2(const char *path, int flags)
{
	return openat(AT_FDCWD, path, flags);
}

int rename(const char *from, const char *to)
{
	NEXT(rename);
	if (interpose_is_below(from))
		journal_rename(from, to);
	return next(from, to);
}

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags)
{
	NEXT(renameat2);
	if (interpose_is_below(from))
		journal_rename(from, to);
	return next(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path)
{
	NEXT(unlink);
	if (interpose_is_below(path))
		journal_unlink(path);
	return next(path);
}
