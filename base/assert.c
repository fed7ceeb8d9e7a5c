#include "base/assert.h"

#include "base/log.h"
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAMES_MAX 64

_Noreturn void assert_failed(const char *expression, const char *file, int line,
			     const char *function)
{
	/* A second failure on the way out must not loop, and must not hide the first. */
	static _Thread_local int failing;
	void *frames[FRAMES_MAX];

	if (failing++ > 0)
		abort();
	dprintf(STDERR_FILENO, "node %llu: broken invariant: %s\n  in %s, %s:%d\nlast log lines:\n",
		(unsigned long long)log_node(), expression, function, file, line);
	log_dump_recent(STDERR_FILENO);
	dprintf(STDERR_FILENO, "backtrace:\n");
	backtrace_symbols_fd(frames, backtrace(frames, FRAMES_MAX), STDERR_FILENO);
	abort();
}
