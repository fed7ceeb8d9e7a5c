/*
 * syscall(): writes that the kernel does by itself (io_submit), as libraft's log makes them, and the few
 * others that libuv asks for in this way. It takes the place of raft/slow_syscall.c: here io_destroy
 * takes no time.
 */
#include "raft/slow_syscall.h"
#include "tests/sim/whole/os.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONTEXTS_MAX 64
#define DONE_MAX     64
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

struct context {
	struct os_process *process; /* NULL: free */
	uint32_t starts;
	unsigned waiting; /* submitted, not done */
	unsigned done_count;
	struct io_event done[DONE_MAX];
};

struct submitted {
	struct context *context;
	uint32_t starts;
	struct os_process *process;
	struct os_write *write;
	struct io_event event;
	int event_fd; /* -1: none */
};

static struct context contexts[CONTEXTS_MAX];

void slow_syscall_apart(void)
{
}

static long fail(int problem)
{
	errno = problem;
	return -1;
}

static struct context *context_of(unsigned long id)
{
	ASSERT(id >= 1 && id <= CONTEXTS_MAX && contexts[id - 1].process == os_current());
	return &contexts[id - 1];
}

static long setup(unsigned long *id)
{
	for (unsigned i = 0; i < CONTEXTS_MAX; i++) {
		if (contexts[i].process != NULL)
			continue;
		contexts[i] =
			(struct context){.process = os_current(), .starts = os_current()->starts};
		*id = i + 1;
		return 0;
	}
	return fail(EAGAIN);
}

static void complete(struct context *context, const struct io_event *event, int event_fd)
{
	struct os_file *file = event_fd < 0 ? NULL : os_file(event_fd);

	ASSERT(context->done_count < DONE_MAX);
	context->done[context->done_count++] = *event;
	os_wake_all(context);
	if (file == NULL)
		return;
	file->counter++;
	os_io_changed(file->process);
}

static void on_written(void *data)
{
	struct submitted *submitted = data;
	struct os_process *process = submitted->process;

	submitted->event.res = (int64_t)os_write_end(submitted->write);
	if (process->runs && process->starts == submitted->starts) {
		submitted->context->waiting--;
		complete(submitted->context, &submitted->event, submitted->event_fd);
	}
	memory_free(submitted);
}

/* Beyond the end of what was allocated. */
static bool needs_room(const struct os_inode *inode, const struct iocb *request,
		       const struct iovec *parts)
{
	bool vector = request->aio_lio_opcode == IOCB_CMD_PWRITEV;
	uint64_t end = (uint64_t)request->aio_offset;

	for (uint64_t i = 0; i < (vector ? request->aio_nbytes : 1); i++)
		end += parts[i].iov_len;
	return end > os_inode_size(inode);
}

static void submit(struct context *context, const struct iocb *request)
{
	const struct os_file *file = os_file((int)request->aio_fildes);
	struct iovec whole = {.iov_base = (void *)(uintptr_t)request->aio_buf,
			      .iov_len = request->aio_nbytes};
	bool vector = request->aio_lio_opcode == IOCB_CMD_PWRITEV;
	const struct iovec *parts =
		vector ? (const struct iovec *)(uintptr_t)request->aio_buf : &whole;
	int event_fd = request->aio_flags & IOCB_FLAG_RESFD ? (int)request->aio_resfd : -1;
	struct io_event event = {.data = request->aio_data, .obj = (uintptr_t)request};

	ASSERT(file != NULL && file->kind == OS_FILE_DISK);
	ASSERT(vector || request->aio_lio_opcode == IOCB_CMD_PWRITE);
	if ((request->aio_rw_flags & RWF_NOWAIT) && os_chance(os.profile.aio_again)) {
		event.res = -EAGAIN;
		complete(context, &event, event_fd);
		return;
	}
	int problem = os_disk_problem(os_current()->disk, needs_room(file->inode, request, parts));

	if (problem != 0) {
		event.res = -problem;
		if (context->process->log_failed_at == 0)
			context->process->log_failed_at = os.now;
		complete(context, &event, event_fd);
		return;
	}
	struct submitted *submitted = memory_zeroed(1, sizeof *submitted);
	struct os_disk *disk = os_current()->disk;

	*submitted = (struct submitted){
		.context = context,
		.starts = context->starts,
		.process = context->process,
		.write = os_write_begin(disk, file->inode, (uint64_t)request->aio_offset, parts,
					vector ? (int)request->aio_nbytes : 1),
		.event = event,
		.event_fd = event_fd,
	};
	context->waiting++;
	os_at(os.now + os_disk_draw_delay(disk), on_written, submitted);
}

static long get_events(struct context *context, long least, long room, struct io_event *events)
{
	while ((long)context->done_count < least)
		os_wait(context, OS_NEVER);
	long count = (long)context->done_count < room ? (long)context->done_count : room;

	memcpy(events, context->done, (size_t)count * sizeof *events);
	context->done_count -= (unsigned)count;
	memmove(context->done, context->done + count, context->done_count * sizeof *events);
	return count;
}

static long destroy(struct context *context)
{
	while (context->waiting > 0)
		os_wait(context, OS_NEVER);
	context->process = NULL;
	return 0;
}

void os_aio_process_ended(struct os_process *process)
{
	for (unsigned i = 0; i < CONTEXTS_MAX; i++)
		if (contexts[i].process == process)
			contexts[i].process = NULL;
}

long syscall(long number, ...)
{
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (os_current() == NULL)
		return os_real(number, arguments[0], arguments[1], arguments[2], arguments[3],
			       arguments[4], arguments[5]);
	os_preempt();
	switch (number) {
	case SYS_io_setup:
		return setup((unsigned long *)arguments[1]);
	case SYS_io_submit:
		for (long i = 0; i < arguments[1]; i++)
			submit(context_of((unsigned long)arguments[0]),
			       ((struct iocb **)arguments[2])[i]);
		return arguments[1];
	case SYS_io_getevents:
		return get_events(context_of((unsigned long)arguments[0]), arguments[1],
				  arguments[2], (struct io_event *)arguments[3]);
	case SYS_io_destroy:
		return destroy(context_of((unsigned long)arguments[0]));
	case SYS_close:
		return close((int)arguments[0]);
	default:
		return fail(ENOSYS);
	}
}
