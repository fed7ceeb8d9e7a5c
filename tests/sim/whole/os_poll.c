/* Waiting for descriptors: poll and epoll, level-triggered. What is ready together comes in any order. */
#include "tests/sim/whole/os.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WATCHED_MAX 512

static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR &&
		      POLLHUP == EPOLLHUP,
	      "one set of bits for both");

struct watched {
	int fd;
	struct epoll_event event;
};

struct os_epoll {
	unsigned count;
	struct watched watched[WATCHED_MAX];
};

static int fail(int problem)
{
	errno = problem;
	return -1;
}

static uint64_t deadline_of(int timeout_ms)
{
	if (timeout_ms < 0)
		return OS_NEVER;
	return os_time_of(os_current(),
			  os_monotonic_ns(os_current()) + timeout_ms * (int64_t)OS_MS);
}

/* ---- poll ---- */

static int look(struct pollfd *polled, nfds_t count)
{
	int ready = 0;

	for (nfds_t i = 0; i < count; i++) {
		const struct os_file *file = os_file(polled[i].fd);
		unsigned found = file == NULL ? POLLNVAL : os_file_ready(file);

		polled[i].revents = 0;
		if (polled[i].fd < 0)
			continue;
		found &= (unsigned)polled[i].events | POLLERR | POLLHUP | POLLNVAL;
		polled[i].revents = (short)found;
		ready += found != 0;
	}
	return ready;
}

int poll(struct pollfd *polled, nfds_t count, int timeout_ms)
{
	struct os_process *process = os_current();

	if (process == NULL)
		return (int)os_real(SYS_poll, polled, count, timeout_ms);
	os_yield(); /* however often it is called, time passes */
	uint64_t deadline = deadline_of(timeout_ms);
	int ready = look(polled, count);

	while (ready == 0 && timeout_ms != 0 && os.now < deadline) {
		os_wait(process, deadline);
		ready = look(polled, count);
	}
	return ready;
}

/* ---- epoll ---- */

int epoll_create1(int flags)
{
	int fd = os_file_new(OS_FILE_EPOLL, flags);

	if (fd >= 0)
		os_file(fd)->epoll = memory_zeroed(1, sizeof(struct os_epoll));
	return fd;
}

static struct watched *find(struct os_epoll *epoll, int fd)
{
	for (unsigned i = 0; i < epoll->count; i++)
		if (epoll->watched[i].fd == fd)
			return &epoll->watched[i];
	return NULL;
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	struct os_file *file = os_file(epoll_fd);

	if (file == NULL || os_file(fd) == NULL)
		return fail(EBADF);
	struct os_epoll *epoll = file->epoll;
	struct watched *watched = find(epoll, fd);

	if (operation == EPOLL_CTL_ADD && watched != NULL)
		return fail(EEXIST);
	if (operation != EPOLL_CTL_ADD && watched == NULL)
		return fail(ENOENT);
	if (operation == EPOLL_CTL_DEL) {
		*watched = epoll->watched[--epoll->count];
		return 0;
	}
	if (watched == NULL) {
		ASSERT(epoll->count < WATCHED_MAX);
		watched = &epoll->watched[epoll->count++];
	}
	*watched = (struct watched){.fd = fd, .event = *event};
	os_io_changed(os_current());
	return 0;
}

static int gather(struct os_epoll *epoll, struct epoll_event *events, int room)
{
	int ready = 0;
	unsigned first = epoll->count > 1 ? (unsigned)(os_random() % epoll->count) : 0;

	for (unsigned i = 0; i < epoll->count && ready < room; i++) {
		const struct watched *watched = &epoll->watched[(first + i) % epoll->count];
		const struct os_file *file = os_file(watched->fd);

		if (file == NULL)
			continue;
		unsigned found = os_file_ready(file) & (watched->event.events | POLLERR | POLLHUP);

		if (found == 0)
			continue;
		events[ready] = watched->event;
		events[ready++].events = found;
	}
	return ready;
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int room, int timeout_ms)
{
	struct os_process *process = os_current();
	struct os_file *file = os_file(epoll_fd);

	if (file == NULL || file->kind != OS_FILE_EPOLL)
		return fail(EBADF);
	os_yield(); /* however often it is called, time passes */
	uint64_t deadline = deadline_of(timeout_ms);
	int ready = gather(file->epoll, events, room);

	while (ready == 0 && timeout_ms != 0 && os.now < deadline) {
		os_wait(process, deadline);
		ready = gather(file->epoll, events, room);
	}
	return ready;
}

int epoll_pwait(int epoll_fd, struct epoll_event *events, int room, int timeout_ms,
		const sigset_t *signals)
{
	(void)signals;
	return epoll_wait(epoll_fd, events, room, timeout_ms);
}

/* ---- closing, of any kind ---- */

static void forget(const struct os_process *process, int fd)
{
	for (int i = OS_FIRST_FD; i < OS_FIRST_FD + OS_FILES; i++) {
		struct os_file *file = os_file(i);

		if (file == NULL || file->kind != OS_FILE_EPOLL || file->process != process)
			continue;
		struct watched *watched = find(file->epoll, fd);

		if (watched != NULL)
			*watched = file->epoll->watched[--file->epoll->count];
	}
}

void os_file_close(int fd)
{
	struct os_file *file = os_file(fd);

	ASSERT(file != NULL);
	forget(file->process, fd);
	if (file->kind == OS_FILE_EPOLL)
		memory_free(file->epoll);
	if (file->kind == OS_FILE_STREAM)
		os_stream_close(file->stream);
	if (file->kind == OS_FILE_LISTENER)
		os_listener_close(file->listener);
	if (file->kind == OS_FILE_DISK) {
		if (file->locked)
			os_inode_unlock(file->inode);
		os_inode_closed(file->inode);
		memory_free(file->path);
	}
	*file = (struct os_file){.kind = OS_FILE_FREE};
}
