/* Running seeds, each in a process of its own, and making a seed that fails smaller. */
#ifndef TESTS_SIM_RANGE_H
#define TESTS_SIM_RANGE_H

#include "tests/sim/sim.h"

#include <sys/types.h>

#define RANGE_JOBS_MAX 64

struct range {
	uint64_t first, last;
	unsigned nodes;         /* 0: 3 and 5 */
	unsigned limit_seconds; /* 0: all seeds; else as many as are begun in that time */
	unsigned jobs;
	const char *mutant; /* that is planted, or NULL */
	bool expect_violation;
	struct sim_options form; /* of each seed; seed and nodes are filled in */
	char rows[256];
};

/* Run all of them, say what came of it, and shrink what failed first. The exit code. */
int range_run(const struct range *range);

/* ---- one run (sim_run.c) ---- */

/* In shared memory, so that a child can hand its outcome over. */
struct sim_outcome *run_outcomes(unsigned count);
/* 0 and the child; it writes to `outcome`. */
pid_t run_start(const struct sim_options *options, struct sim_outcome *outcome);
/* What wait() says of it: a crash is a violation. */
void run_end(struct sim_outcome *outcome, int status);
/* Options of the command line that give this form again. */
void run_format(const struct range *range, const struct sim_options *options, struct buffer *text);

/* ---- smaller (sim_shrink.c) ---- */

/*
 * The outcome's seed with fewer kinds of faults, fewer strikes, less load and less time, as far as it
 * still fails in the same way: with the same message but for numbers. Prints what it comes to and the
 * command that replays it. False: it did not fail again.
 */
bool shrink(const struct range *range, const struct sim_options *options,
	    const struct sim_outcome *outcome);

#endif
