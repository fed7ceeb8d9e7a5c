#include "base/thread.h"

#include "base/assert.h"
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

void thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	ASSERT(thread != NULL && run != NULL);
	int status = pthread_create(thread, NULL, run, arg);

	if (status == 0)
		return;
	dprintf(STDERR_FILENO, "annal: cannot start a thread: %s: stopping, a restart recovers\n",
		strerror(status));
	_exit(EX_SOFTWARE); /* 70, as thread.h promises */
}
