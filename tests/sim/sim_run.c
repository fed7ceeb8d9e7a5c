/* One seed in a process of its own: its end is seen whatever it is. */
#include "tests/sim/sim_range.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUN_SECONDS 60 /* of the processor; a run takes some tenths of one */

struct sim_outcome *run_outcomes(unsigned count)
{
	struct sim_outcome *outcomes = mmap(NULL, count * sizeof *outcomes, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT(count > 0);
	if (outcomes == MAP_FAILED) {
		perror("sim: mmap");
		exit(2);
	}
	return outcomes;
}

pid_t run_start(const struct sim_options *options, struct sim_outcome *outcome)
{
	*outcome = (struct sim_outcome){.seed = options->seed, .nodes = options->nodes};
	fflush(stdout);
	pid_t process = fork();

	if (process < 0) {
		perror("sim: fork");
		exit(2);
	}
	if (process > 0)
		return process;
	/* Of the processor, not of the clock: the machine may be busy. */
	setrlimit(RLIMIT_CPU, &(struct rlimit){RUN_SECONDS, RUN_SECONDS + 1});
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(2);
	struct sim_outcome own;

	sim_run_seed(options, &own);
	*outcome = own;
	_exit(0);
}

void run_end(struct sim_outcome *outcome, int status)
{
	if (WIFSIGNALED(status)) {
		outcome->violated = true;
		snprintf(outcome->message, sizeof outcome->message, "%s (%s)",
			 WTERMSIG(status) == SIGXCPU ? "does not end" : "the process crashed",
			 strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) != 0) {
		outcome->violated = true;
		snprintf(outcome->message, sizeof outcome->message, "exit code %d",
			 WEXITSTATUS(status));
	}
}

/* ---- the command that runs it again ---- */

static void add_text(struct buffer *text, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add_text(struct buffer *text, const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(line, sizeof line, format, args);

	va_end(args);
	ASSERT(size >= 0 && (size_t)size < sizeof line);
	buffer_append(text, line, (size_t)size);
}

static void add_kinds(struct buffer *text, uint64_t kinds)
{
	const char *separator = "";

	if (kinds == SIM_KINDS_ALL)
		return;
	add_text(text, " --faults '");
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		if ((kinds & UINT64_C(1) << i) == 0)
			continue;
		add_text(text, "%s%s", separator, sim_fault_name(i));
		separator = ",";
	}
	add_text(text, "%s'", kinds == 0 ? "none" : "");
}

static void add_strikes(struct buffer *text, const struct sim_options *options)
{
	const char *separator = "";

	if (!options->chosen)
		return;
	add_text(text, " --strikes '");
	for (unsigned i = 1; i < SIM_STRIKES; i++) {
		if (!sim_strike_chosen(options, i))
			continue;
		add_text(text, "%s%u", separator, i);
		separator = ",";
	}
	add_text(text, "'");
}

void run_format(const struct range *range, const struct sim_options *options, struct buffer *text)
{
	add_text(text, "sim --one %" PRIu64 " --nodes %u", options->seed, options->nodes);
	if (options->faults_us != SIM_FAULTS_US)
		add_text(text, " --seconds %.6g", (double)options->faults_us / 1e6);
	if (options->rows != GUARD_ALL)
		add_text(text, " --rows %.200s", range->rows);
	if (range->mutant != NULL)
		add_text(text, " --mutant %s", range->mutant);
	if (options->load > 1)
		add_text(text, " --load 1/%u", options->load);
	if (options->no_reads)
		add_text(text, " --no-reads");
	add_kinds(text, options->kinds);
	add_strikes(text, options);
	add_text(text, " --trace");
	buffer_append(text, "", 1);
}
