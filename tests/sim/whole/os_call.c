/*
 * The C library's functions on clocks, chance, the end of a process and descriptors. A descriptor from
 * OS_FIRST_FD on is simulated; what is below, or is called outside of a simulated process, is real.
 */
#include "tests/sim/whole/os.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define WALL_BEGIN_NS INT64_C(1700000000000000000) /* when a run begins, by the wall clock */
#define BOOTED_NS     INT64_C(1000000000000)       /* the hosts have been up for so long */
#define LOG_BYTES     2048

static struct os_file files[OS_FILES];

/* ---- the real ones ---- */

typedef long syscall_function(long number, ...);

long os_real(long number, ...)
{
	static syscall_function *function;
	union {
		void *object;
		syscall_function *function;
	} found;
	long arguments[6];
	va_list list;

	if (function == NULL) {
		found.object = dlsym(RTLD_NEXT, "syscall");
		function = found.function;
	}
	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	return function(number, arguments[0], arguments[1], arguments[2], arguments[3],
			arguments[4], arguments[5]);
}

/* ---- clocks ---- */

int64_t os_monotonic_ns(const struct os_process *process)
{
	int64_t passed = (int64_t)(os.now - process->clock_set_at);

	return BOOTED_NS + process->clock_base_ns + passed +
	       passed / 1000000 * process->clock_rate_ppm;
}

void os_clock_set_rate(struct os_process *process, int64_t ppm)
{
	process->clock_base_ns = os_monotonic_ns(process) - BOOTED_NS;
	process->clock_set_at = os.now;
	process->clock_rate_ppm = ppm;
}

uint64_t os_time_of(const struct os_process *process, int64_t monotonic_ns)
{
	int64_t passed = monotonic_ns - os_monotonic_ns(process);

	if (passed <= 0)
		return os.now;
	return os.now +
	       (uint64_t)(passed / (1000000 + process->clock_rate_ppm) * 1000000 + 1000000);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	const struct os_process *process = os_current();

	if (process == NULL)
		return (int)os_real(SYS_clock_gettime, clock, time);
	int64_t ns = os_monotonic_ns(process);

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		ns += WALL_BEGIN_NS + process->clock_offset_ns;
	time->tv_sec = ns / 1000000000;
	time->tv_nsec = ns % 1000000000;
	return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	struct timespec found;
	int status = clock_gettime(CLOCK_REALTIME, &found);

	(void)zone;
	time->tv_sec = found.tv_sec;
	time->tv_usec = found.tv_nsec / 1000;
	return status;
}

time_t time(time_t *into)
{
	struct timespec found;

	clock_gettime(CLOCK_REALTIME, &found);
	if (into != NULL)
		*into = found.tv_sec;
	return found.tv_sec;
}

int usleep(useconds_t microseconds)
{
	ASSERT(os_current() != NULL);
	os_sleep(microseconds * OS_US);
	return 0;
}

/* ---- chance, and what differs from machine to machine ---- */

ssize_t getrandom(void *into, size_t size, unsigned flags)
{
	uint8_t *at = into;

	(void)flags;
	for (size_t i = 0; i < size; i++)
		at[i] = (uint8_t)os_random();
	return (ssize_t)size;
}

int rand(void)
{
	return (int)(os_random() & RAND_MAX);
}

void srand(unsigned seed)
{
	(void)seed;
}

int getrusage(__rusage_who_t who, struct rusage *usage)
{
	if (os_current() == NULL)
		return (int)os_real(SYS_getrusage, who, usage);
	memset(usage, 0, sizeof *usage);
	return 0;
}

int setpriority(__priority_which_t which, id_t who, int priority)
{
	(void)which, (void)who, (void)priority;
	return 0;
}

/* ---- the end of a process ---- */

void _exit(int status)
{
	if (os_current() != NULL)
		os_process_exit(status);
	for (;;)
		os_real(SYS_exit_group, status);
}

/* Instead of base/assert.c: a broken invariant is a violation of the run. */
void assert_failed(const char *expression, const char *file, int line, const char *function)
{
	const struct os_process *process = os_current();

	os_violation("%s: %s:%d: %s: ASSERT(%s)", process == NULL ? "simulator" : process->name,
		     file, line, function, expression);
	if (process != NULL && process->runs)
		os_process_exit(-1);
	fprintf(stderr, "%s\n", os.message);
	for (;;)
		os_real(SYS_exit_group, 3);
}

void abort(void)
{
	if (os_current() != NULL) {
		os_violation("%s: abort()", os_current()->name);
		os_process_exit(-1);
	}
	for (;;)
		os_real(SYS_exit_group, 3);
}

/* ---- descriptors ---- */

struct os_file *os_file(int fd)
{
	if (fd < OS_FIRST_FD || fd >= OS_FIRST_FD + OS_FILES)
		return NULL;
	struct os_file *file = &files[fd - OS_FIRST_FD];

	return file->kind == OS_FILE_FREE ? NULL : file;
}

int os_file_new(enum os_file_kind kind, int flags)
{
	for (int i = 0; i < OS_FILES; i++) {
		if (files[i].kind != OS_FILE_FREE)
			continue;
		files[i] = (struct os_file){.kind = kind, .process = os_current(), .flags = flags};
		return i + OS_FIRST_FD;
	}
	errno = EMFILE;
	return -1;
}

unsigned os_process_files(const struct os_process *process)
{
	unsigned count = 0;

	for (int i = 0; i < OS_FILES; i++)
		count += files[i].kind != OS_FILE_FREE && files[i].process == process;
	return count;
}

void os_io_changed(struct os_process *process)
{
	os_wake_all(process);
}

unsigned os_file_ready(const struct os_file *file)
{
	switch (file->kind) {
	case OS_FILE_STREAM:
		return os_stream_ready(file->stream);
	case OS_FILE_LISTENER:
		return os_listener_ready(file->listener);
	case OS_FILE_EVENT:
		return POLLOUT | (file->counter > 0 ? POLLIN : 0);
	case OS_FILE_PIPE_OUT:
		return POLLOUT;
	case OS_FILE_SOCKET:
		return POLLOUT | POLLHUP;
	default:
		return 0;
	}
}

static ssize_t fail(int problem)
{
	errno = problem;
	return -1;
}

/* -errno as the C library tells it. */
static ssize_t result_of(ssize_t result)
{
	return result < 0 ? fail((int)-result) : result;
}

static ssize_t event_read(struct os_file *file, void *into, size_t size)
{
	if (size < sizeof file->counter)
		return fail(EINVAL);
	if (file->counter == 0)
		return fail(EAGAIN);
	memcpy(into, &file->counter, sizeof file->counter);
	file->counter = 0;
	return sizeof file->counter;
}

static ssize_t event_write(struct os_file *file, const void *from, size_t size)
{
	uint64_t added;

	if (size < sizeof added)
		return fail(EINVAL);
	memcpy(&added, from, sizeof added);
	file->counter += added;
	os_io_changed(file->process);
	return sizeof added;
}

/* What a node logs goes into the trace. */
static ssize_t log_line(const char *text, size_t size)
{
	size_t shown = size > 0 && text[size - 1] == '\n' ? size - 1 : size;

	os_trace("%.*s", (int)(shown < LOG_BYTES ? shown : LOG_BYTES), text);
	return (ssize_t)size;
}

static ssize_t disk_read(struct os_file *file, void *into, size_t size)
{
	size_t got = os_inode_read(file->inode, file->at, into, size);

	file->at += got;
	return (ssize_t)got;
}

static ssize_t disk_write(struct os_file *file, uint64_t at, const struct iovec *parts, int count)
{
	size_t all = 0;

	for (int i = 0; i < count; i++)
		all += parts[i].iov_len;
	bool synced = file->flags & (O_DSYNC | O_SYNC),
	     grows = at + all > os_inode_size(file->inode);
	int problem = synced || grows ? os_disk_problem(file->process->disk, grows) : 0;

	if (problem != 0)
		return fail(problem);
	if (synced) {
		struct os_write *write =
			os_write_begin(file->process->disk, file->inode, at, parts, count);

		os_disk_delay(file->process->disk);
		return (ssize_t)os_write_end(write);
	}
	size_t size = 0;

	for (int i = 0; i < count; i++) {
		os_inode_write(file->inode, at + size, parts[i].iov_base, parts[i].iov_len);
		size += parts[i].iov_len;
	}
	return (ssize_t)size;
}

ssize_t read(int fd, void *into, size_t size)
{
	struct os_file *file = os_file(fd);

	if (file == NULL)
		return os_real(SYS_read, fd, into, size);
	os_preempt();
	switch (file->kind) {
	case OS_FILE_STREAM:
		return result_of(os_stream_receive(file->stream, into, size));
	case OS_FILE_EVENT:
		return event_read(file, into, size);
	case OS_FILE_DISK:
		return disk_read(file, into, size);
	case OS_FILE_PIPE_IN:
		return fail(EAGAIN);
	default:
		return fail(EINVAL);
	}
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	struct os_file *file = os_file(fd);
	ssize_t written;

	if (file == NULL && fd == STDERR_FILENO && os_current() != NULL)
		return log_line(parts[0].iov_base, parts[0].iov_len);
	if (file == NULL)
		return os_real(SYS_writev, fd, parts, count);
	os_preempt();
	switch (file->kind) {
	case OS_FILE_STREAM:
		return result_of(os_stream_send(file->stream, parts, count));
	case OS_FILE_EVENT:
		return event_write(file, parts[0].iov_base, parts[0].iov_len);
	case OS_FILE_DISK:
		written = disk_write(file, file->at, parts, count);
		file->at += written > 0 ? (uint64_t)written : 0;
		return written;
	case OS_FILE_PIPE_OUT:
		return (ssize_t)parts[0].iov_len;
	default:
		return fail(EINVAL);
	}
}

ssize_t write(int fd, const void *from, size_t size)
{
	union {
		const void *from;
		void *base;
	} bytes = {.from = from};
	const struct iovec part = {.iov_base = bytes.base, .iov_len = size};

	return writev(fd, &part, 1);
}

int dprintf(int fd, const char *format, ...)
{
	char text[LOG_BYTES];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	ASSERT(size >= 0 && (size_t)size < sizeof text);
	return (int)write(fd, text, (size_t)size);
}

int close(int fd)
{
	if (os_file(fd) == NULL)
		return (int)os_real(SYS_close, fd);
	os_file_close(fd);
	return 0;
}

int eventfd(unsigned value, int flags);

int eventfd(unsigned value, int flags)
{
	int fd = os_file_new(OS_FILE_EVENT, flags);

	if (fd >= 0)
		os_file(fd)->counter = value;
	return fd;
}

int pipe2(int ends[2], int flags)
{
	ends[0] = os_file_new(OS_FILE_PIPE_IN, flags);
	ends[1] = os_file_new(OS_FILE_PIPE_OUT, flags);
	return ends[1] < 0 ? -1 : 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	struct os_file *file = os_file(fd);
	va_list list;

	va_start(list, request);
	const int *value = va_arg(list, const int *);
	va_end(list);
	if (file == NULL)
		return (int)os_real(SYS_ioctl, fd, request, value);
	if (request == FIONBIO)
		file->flags = *value != 0 ? file->flags | O_NONBLOCK : file->flags & ~O_NONBLOCK;
	return 0;
}

int fcntl(int fd, int command, ...)
{
	struct os_file *file = os_file(fd);
	va_list list;

	va_start(list, command);
	long value = va_arg(list, long);
	va_end(list);
	if (file == NULL)
		return (int)os_real(SYS_fcntl, fd, command, value);
	if (command == F_SETFL)
		file->flags = (file->flags & (O_DSYNC | O_SYNC)) | (int)value;
	return command == F_GETFL ? file->flags : 0;
}

int fcntl64(int fd, int command, ...)
{
	va_list list;

	va_start(list, command);
	long value = va_arg(list, long);
	va_end(list);
	return fcntl(fd, command, value);
}
