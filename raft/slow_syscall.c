#include "raft/slow_syscall.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/syscall.h>

typedef long syscall_function(long number, ...);

void slow_syscall_apart(void)
{
}

/* The C library's own: looked up once, the same whoever does it. */
static syscall_function *libc_syscall(void)
{
	static _Atomic(syscall_function *) known;
	/* The way of POSIX to get a function out of dlsym. */
	union {
		void *object;
		syscall_function *function;
	} found = {.function = known};

	if (found.object == NULL) {
		found.object = dlsym(RTLD_NEXT, "syscall");
		known = found.function;
	}
	return found.function;
}

static void *destroy(void *context)
{
	libc_syscall()(SYS_io_destroy, (unsigned long)(uintptr_t)context);
	return NULL;
}

static long destroy_apart(unsigned long context)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, destroy, (void *)(uintptr_t)context) != 0)
		return libc_syscall()(SYS_io_destroy, context);
	pthread_detach(thread);
	return 0;
}

long syscall(long number, ...);

/* AddressSanitizer would mind what lies where arguments were not given. */
__attribute__((no_sanitize("address"))) long syscall(long number, ...)
{
	long arguments[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++) /* of those not given, the callee takes none */
		arguments[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_io_destroy)
		return destroy_apart((unsigned long)arguments[0]);
	long answer = libc_syscall()(number, arguments[0], arguments[1], arguments[2], arguments[3],
				     arguments[4], arguments[5]);

	/* These two say that a file system cannot do it: libraft asks at its start. */
	if (number == SYS_io_submit && answer < 0 && errno != EINVAL && errno != EOPNOTSUPP)
		errno = EAGAIN;
	return answer;
}
