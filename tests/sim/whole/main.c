/* sim-whole: run seeds in parallel, one process for each, and say what came of it. */
#include "tests/sim/whole/whole.h"

#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX       16
#define SEED_SECONDS   120 /* of the processor */
#define SHOWN_FAILURES 12

struct arguments {
	uint64_t first, last;
	unsigned nodes; /* 0: 3 and 5 in turn */
	unsigned seconds, jobs;
	bool one, trace, expect_violation;
};

struct job {
	pid_t process;
};

struct totals {
	uint64_t runs, violations, slowest_ns, slowest_seed;
	struct whole_outcome sum;
};

/* ---- names ---- */

const char *whole_fault_name(unsigned fault)
{
	static const char *const names[] = {
#define X(name, text) text,
		WHOLE_FAULT_TABLE(X)
#undef X
	};

	return names[fault];
}

const char *whole_seen_name(unsigned seen)
{
	static const char *const names[] = {
#define X(name, text) text,
		WHOLE_SEEN_TABLE(X)
#undef X
	};

	return names[seen];
}

/* ---- arguments ---- */

static bool parse_range(const char *text, uint64_t *first, uint64_t *last)
{
	char *end;

	*first = *last = strtoull(text, &end, 10);
	if (end == text)
		return false;
	if (*end == '-')
		*last = strtoull(end + 1, &end, 10);
	return *end == '\0' && *first <= *last;
}

enum { KEY_ONE = 256, KEY_TRACE, KEY_EXPECT, KEY_MUTANT, KEY_MUTANTS };

static error_t on_argument(int key, char *value, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	uint64_t ignored;

	switch (key) {
	case 's':
		if (!parse_range(value, &arguments->first, &arguments->last))
			argp_error(state, "\"%s\" is no range of seeds, like 1-100", value);
		return 0;
	case 'n':
		arguments->nodes = (unsigned)strtoul(value, NULL, 10);
		if (arguments->nodes != 3 && arguments->nodes != 5)
			argp_error(state, "a cluster has 3 or 5 nodes, not \"%s\"", value);
		return 0;
	case 't':
		arguments->seconds = (unsigned)strtoul(value, NULL, 10);
		if (arguments->seconds < 1 || arguments->seconds > 300)
			argp_error(state, "1 to 300 seconds, not \"%s\"", value);
		return 0;
	case 'j':
		arguments->jobs = (unsigned)strtoul(value, NULL, 10);
		if (arguments->jobs < 1 || arguments->jobs > JOBS_MAX)
			argp_error(state, "1 to %d jobs, not \"%s\"", JOBS_MAX, value);
		return 0;
	case KEY_ONE:
		arguments->one = true;
		if (!parse_range(value, &arguments->first, &ignored))
			argp_error(state, "\"%s\" is no seed", value);
		return 0;
	case KEY_TRACE:
		arguments->trace = true;
		return 0;
	case KEY_EXPECT:
		arguments->expect_violation = true;
		return 0;
	case KEY_MUTANT:
		if (!whole_mutant_plant(value))
			argp_error(state, "no mutant \"%s\" in this build; see --mutants", value);
		return 0;
	case KEY_MUTANTS:
		whole_mutants_print();
		exit(0);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"seeds", 's', "FIRST-LAST", 0, "the seeds to run (1-20)", 0},
	{"nodes", 'n', "3|5", 0, "size of the cluster (odd seeds 3, even ones 5)", 0},
	{"seconds", 't', "SECONDS", 0, "virtual time under faults, of each seed (15)", 0},
	{"jobs", 'j', "JOBS", 0, "processes at once (one for each core)", 0},
	{"one", KEY_ONE, "SEED", 0, "run this seed alone, and print its trace hash", 0},
	{"trace", KEY_TRACE, NULL, 0, "with --one: print what happens", 0},
	{"expect-violation", KEY_EXPECT, NULL, 0, "end at the first seed that fails, and succeed",
	 0},
	{"mutant", KEY_MUTANT, "NAME", 0,
	 "plant this defect (a build of its own: make sim-whole-mutants)", 0},
	{"mutants", KEY_MUTANTS, NULL, 0, "list the defects that can be planted", 0},
	{0},
};

/* ---- running ---- */

static struct whole_options options_of(const struct arguments *arguments, uint64_t seed)
{
	return (struct whole_options){
		.seed = seed,
		.nodes = arguments->nodes != 0 ? arguments->nodes
			 : seed % 2 == 0       ? 5
					       : 3,
		.seconds = arguments->seconds,
		.trace = arguments->trace,
	};
}

static void start_job(const struct arguments *arguments, struct job *job,
		      struct whole_outcome *outcome, uint64_t seed)
{
	struct whole_options seed_options = options_of(arguments, seed);
	static struct whole_outcome own;

	*outcome = (struct whole_outcome){.seed = seed, .nodes = seed_options.nodes};
	fflush(stdout);
	job->process = fork();
	if (job->process < 0) {
		perror("sim-whole: fork");
		exit(2);
	}
	if (job->process > 0)
		return;
	setrlimit(RLIMIT_CPU, &(struct rlimit){SEED_SECONDS, SEED_SECONDS + 1});
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(2);
	whole_run(&seed_options, &own);
	*outcome = own;
	_exit(0);
}

static void print_failure(const struct arguments *arguments, const struct whole_outcome *outcome)
{
	printf("seed %" PRIu64 ", %u nodes: %s\n", outcome->seed, outcome->nodes, outcome->message);
	printf("    again: sim-whole --one %" PRIu64 " --nodes %u --seconds %u --trace\n",
	       outcome->seed, outcome->nodes, arguments->seconds);
}

static void add(struct totals *totals, const struct whole_outcome *outcome)
{
	struct whole_outcome *sum = &totals->sum;

	totals->runs++;
	sum->virtual_ns += outcome->virtual_ns;
	sum->counters.switches += outcome->counters.switches;
	sum->counters.events += outcome->counters.events;
	sum->counters.messages += outcome->counters.messages;
	sum->counters.held_messages += outcome->counters.held_messages;
	sum->counters.delayed_messages += outcome->counters.delayed_messages;
	sum->counters.resets += outcome->counters.resets;
	sum->counters.stalls += outcome->counters.stalls;
	sum->counters.slow_writes += outcome->counters.slow_writes;
	sum->counters.failed_writes += outcome->counters.failed_writes;
	sum->counters.refused_writes += outcome->counters.refused_writes;
	sum->counters.lost_writes += outcome->counters.lost_writes;
	sum->counters.torn_writes += outcome->counters.torn_writes;
	sum->counters.lost_names += outcome->counters.lost_names;
	for (unsigned i = 0; i < WHOLE_FAULT_COUNT; i++) {
		sum->planned[i] += outcome->planned[i];
		sum->struck[i] += outcome->struck[i];
	}
	for (unsigned i = 0; i < WHOLE_SEEN_COUNT; i++)
		sum->seen[i] += outcome->seen[i];
	if (outcome->converged_ns > totals->slowest_ns) {
		totals->slowest_ns = outcome->converged_ns;
		totals->slowest_seed = outcome->seed;
	}
}

static void end_job(const struct arguments *arguments, struct totals *totals,
		    struct whole_outcome *outcome, int status)
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
	add(totals, outcome);
	if (!outcome->violated)
		return;
	if (totals->violations++ < SHOWN_FAILURES)
		print_failure(arguments, outcome);
}

static void run_all(const struct arguments *arguments, struct totals *totals)
{
	struct job jobs[JOBS_MAX] = {0};
	struct whole_outcome *outcomes =
		mmap(NULL, JOBS_MAX * sizeof *outcomes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t all = arguments->last - arguments->first + 1, started = 0;
	int status;

	ASSERT(outcomes != MAP_FAILED);
	for (;;) {
		if (arguments->expect_violation && totals->violations > 0)
			all = started;
		if (totals->runs == all)
			return;
		for (unsigned i = 0; i < arguments->jobs && started < all; i++)
			if (jobs[i].process == 0)
				start_job(arguments, &jobs[i], &outcomes[i],
					  arguments->first + started++);
		pid_t process = wait(&status);

		for (unsigned i = 0; i < arguments->jobs; i++) {
			if (jobs[i].process != process)
				continue;
			jobs[i].process = 0;
			end_job(arguments, totals, &outcomes[i], status);
		}
	}
}

/* ---- the verdict ---- */

static void print_line(const char *name, uint64_t count)
{
	printf("%-40s %12" PRIu64 "\n", name, count);
}

static void print_totals(const struct totals *totals, double seconds)
{
	const struct whole_outcome *sum = &totals->sum;

	printf("%-40s %12" PRIu64 "   in %.0f s\n", "runs", totals->runs, seconds);
	printf("%-40s %12.2f\n", "virtual hours", (double)sum->virtual_ns / 3.6e12);
	print_line("turns of threads", sum->counters.switches);
	print_line("messages", sum->counters.messages);
	for (unsigned i = 0; i < WHOLE_FAULT_COUNT; i++)
		printf("%-40s %12" PRIu64 "   in %" PRIu64 " runs\n", whole_fault_name(i),
		       sum->struck[i], sum->planned[i]);
	print_line("messages held by partitions", sum->counters.held_messages);
	print_line("messages delayed by slow links", sum->counters.delayed_messages);
	print_line("connections broken", sum->counters.resets);
	print_line("threads stalled", sum->counters.stalls);
	print_line("writes to slow disks", sum->counters.slow_writes);
	print_line("writes that failed", sum->counters.failed_writes);
	print_line("writes to full disks", sum->counters.refused_writes);
	print_line("files that lost what was not synced", sum->counters.lost_writes);
	print_line("files that lost a part of it", sum->counters.torn_writes);
	print_line("names of files taken back", sum->counters.lost_names);
	for (unsigned i = 0; i < WHOLE_SEEN_COUNT; i++)
		print_line(whole_seen_name(i), sum->seen[i]);
	printf("%-40s %12.3f   s, by seed %" PRIu64 "\n", "slowest to serve all when calm",
	       (double)totals->slowest_ns / 1e9, totals->slowest_seed);
	print_line("VIOLATIONS", totals->violations);
}

static bool all_seen(const struct totals *totals)
{
	const struct os_counters *sum = &totals->sum.counters;
	const struct {
		const char *name;
		const uint64_t *count;
	} counters[] = {{"threads stalled", &sum->stalls},
			{"files that lost what was not synced", &sum->lost_writes},
			{"files that lost a part of it", &sum->torn_writes},
			{"names of files taken back", &sum->lost_names}};
	bool all = true;

	for (unsigned i = 0; totals->runs >= 20 && i < WHOLE_SEEN_COUNT; i++) {
		if (totals->sum.seen[i] > 0)
			continue;
		printf("not once in %" PRIu64 " runs: %s\n", totals->runs, whole_seen_name(i));
		all = false;
	}
	for (unsigned i = 0; totals->runs >= 20 && i < WHOLE_FAULT_COUNT; i++) {
		if (totals->sum.struck[i] > 0)
			continue;
		printf("not once in %" PRIu64 " runs: %s\n", totals->runs, whole_fault_name(i));
		all = false;
	}
	for (unsigned i = 0; totals->runs >= 20 && i < sizeof counters / sizeof counters[0]; i++) {
		if (*counters[i].count > 0)
			continue;
		printf("not once in %" PRIu64 " runs: %s\n", totals->runs, counters[i].name);
		all = false;
	}
	return all;
}

static int run_one(const struct arguments *arguments)
{
	struct whole_options seed_options = options_of(arguments, arguments->first);
	static struct whole_outcome outcome;

	whole_run(&seed_options, &outcome);
	printf("seed %" PRIu64 ", %u nodes: %s; %" PRIu64 " turns, %" PRIu64
	       " acknowledged, %" PRIu64
	       " delivered, all served after %.3f s, trace hash %016" PRIx64 "\n",
	       outcome.seed, outcome.nodes, outcome.violated ? outcome.message : "no violation",
	       outcome.counters.switches, outcome.seen[WHOLE_SEEN_ACKNOWLEDGED],
	       outcome.seen[WHOLE_SEEN_DELIVERED], (double)outcome.converged_ns / 1e9,
	       outcome.trace_hash);
	fflush(stdout);
	_exit(outcome.violated == arguments->expect_violation ? 0 : 1);
}

int main(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = on_argument,
		.doc = "Simulate whole nodes and their clients under faults, from seeds."};
	struct arguments arguments = {.first = 1, .last = 20, .seconds = 15};
	static struct totals totals;
	struct timespec start, end;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	arguments.jobs = cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : (unsigned)cores;
	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	if (arguments.trace)
		setvbuf(stdout, NULL, _IOLBF, 0);
	if (arguments.one)
		return run_one(&arguments);
	clock_gettime(CLOCK_MONOTONIC, &start);
	run_all(&arguments, &totals);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_totals(&totals, (double)(end.tv_sec - start.tv_sec) +
				      (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	if (arguments.expect_violation)
		return totals.violations > 0 ? 0 : 1;
	return totals.violations == 0 && all_seen(&totals) ? 0 : 1;
}
