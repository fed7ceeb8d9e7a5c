/* Run a function in a child process and look at how it ended and what it wrote to stderr. */
#ifndef TESTS_UNIT_BASE_CHILD_H
#define TESTS_UNIT_BASE_CHILD_H

#include "tests/unit/unit.h"
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The status as waitpid has it; stderr as text, cut at `size`. */
static inline int child_run(void (*run)(void), char *text, size_t size)
{
	int ends[2], status;
	size_t used = 0;
	ssize_t got;

	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		run();
		_exit(0);
	}
	close(ends[1]);
	while (used + 1 < size && (got = read(ends[0], text + used, size - 1 - used)) > 0)
		used += (size_t)got;
	text[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

#endif
