/* sim: run seeds in parallel, one process for each, and say what came of it. */
#include "base/log.h"
#include "tests/sim/sim.h"

#include <argp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define JOBS_MAX       64
#define SEED_SECONDS   60 /* of the processor; a run takes some milliseconds */
#define SHOWN_FAILURES 12

static const struct {
	const char *name;
	unsigned row;
} rows[] = {
	{"clamp", GUARD_CLAMP},     {"barrier", GUARD_BARRIER}, {"hold", GUARD_HOLD},
	{"commit", GUARD_COMMIT},   {"serial", GUARD_SERIAL},   {"jump", GUARD_JUMP},
	{"vote", GUARD_VOTE},       {"flow", GUARD_FLOW},       {"failstop", GUARD_FAILSTOP},
	{"payload", GUARD_PAYLOAD}, {"memory", GUARD_MEMORY},   {"members", GUARD_MEMBERS},
	{"batch", GUARD_BATCH},     {"elect", GUARD_ELECT},
};
#define ROWS (sizeof rows / sizeof rows[0])

struct arguments {
	uint64_t first, last;
	unsigned nodes; /* 0: 3 and 5 */
	unsigned seconds, rows, jobs;
	char rows_text[256];
	bool one, trace, expect_violation;
};

/* ---- arguments ---- */

static bool parse_row(const char *name, unsigned *mask)
{
	bool off = name[0] == '-';

	if (off)
		name++;
	if (strcmp(name, "all") == 0 || strcmp(name, "none") == 0) {
		*mask = name[0] == 'a' ? GUARD_ALL : 0;
		return !off;
	}
	for (size_t i = 0; i < ROWS; i++) {
		if (strcmp(name, rows[i].name) != 0)
			continue;
		*mask = off ? *mask & ~rows[i].row : *mask | rows[i].row;
		return true;
	}
	return false;
}

/* "all", "none", "all-clamp-barrier", "none,clamp". */
static bool parse_rows(const char *text, unsigned *mask)
{
	char word[32];

	*mask = 0;
	while (*text != '\0') {
		size_t size = 1 + strcspn(text + 1, ",-");

		if (size >= sizeof word)
			return false;
		snprintf(word, sizeof word, "%.*s", (int)size, text);
		if (!parse_row(word, mask))
			return false;
		text += size;
		if (*text == ',')
			text++;
	}
	return true;
}

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
			argp_error(state, "\"%s\" is no range of seeds, like 1-1000", value);
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
	case 'r':
		snprintf(arguments->rows_text, sizeof arguments->rows_text, "%s", value);
		if (!parse_rows(value, &arguments->rows))
			argp_error(state, "\"%s\" names no rows, like all, none, all-clamp", value);
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
		if (!sim_mutant_plant(value))
			argp_error(state, "no mutant \"%s\" in this build; see --mutants", value);
		return 0;
	case KEY_MUTANTS:
		for (unsigned i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++)
			printf("%s\t%s\n", sim_mutant_name(i), sim_mutant_text(i));
		exit(0);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"seeds", 's', "FIRST-LAST", 0, "the seeds to run (1-100)", 0},
	{"nodes", 'n', "3|5", 0, "size of the cluster (both)", 0},
	{"seconds", 't', "SECONDS", 0, "virtual time under faults, of each seed (20)", 0},
	{"rows", 'r', "ROWS", 0, "of the guard: all, none, all-clamp, none,clamp,hold", 0},
	{"jobs", 'j', "JOBS", 0, "processes at once (one for each core)", 0},
	{"one", KEY_ONE, "SEED", 0, "run this seed alone, and print its trace hash", 0},
	{"trace", KEY_TRACE, NULL, 0, "with --one: print what happens", 0},
	{"expect-violation", KEY_EXPECT, NULL, 0, "end at the first seed that fails, and succeed",
	 0},
	{"mutant", KEY_MUTANT, "NAME", 0,
	 "plant this defect (a build of its own: make sim-mutants)", 0},
	{"mutants", KEY_MUTANTS, NULL, 0, "list the defects that can be planted", 0},
	{0},
};

/* ---- running ---- */

struct job {
	pid_t process;
	uint64_t seed;
	unsigned nodes;
};

struct totals {
	uint64_t seeds, violations;
	struct sim_outcome sum;
	uint64_t slowest_us, slowest_seed;
	uint64_t failovers, longest_us, longest_seed;
};

static struct sim_options options_of(const struct arguments *arguments, uint64_t seed,
				     unsigned nodes)
{
	return (struct sim_options){
		.seed = seed,
		.nodes = nodes,
		.seconds = arguments->seconds,
		.rows = arguments->rows,
		.trace = arguments->trace,
	};
}

static void start_job(const struct arguments *arguments, struct job *job,
		      struct sim_outcome *outcome, uint64_t seed, unsigned nodes)
{
	struct sim_options seed_options = options_of(arguments, seed, nodes);

	*outcome = (struct sim_outcome){.seed = seed, .nodes = nodes};
	job->seed = seed;
	job->nodes = nodes;
	fflush(stdout);
	job->process = fork();
	if (job->process < 0) {
		perror("sim: fork");
		exit(2);
	}
	if (job->process > 0)
		return;
	/* Of the processor, not of the clock: the machine may be busy. */
	setrlimit(RLIMIT_CPU, &(struct rlimit){SEED_SECONDS, SEED_SECONDS + 1});
	if (freopen("/dev/null", "w", stderr) == NULL)
		_exit(2);
	struct sim_outcome own;

	sim_run_seed(&seed_options, &own);
	*outcome = own;
	_exit(0);
}

static void print_failure(const struct arguments *arguments, const struct sim_outcome *outcome)
{
	printf("seed %" PRIu64 ", %u nodes: %s\n", outcome->seed, outcome->nodes, outcome->message);
	printf("    again: sim --one %" PRIu64 " --nodes %u --seconds %u --rows %s --trace\n",
	       outcome->seed, outcome->nodes, arguments->seconds, arguments->rows_text);
}

static void add(struct totals *totals, const struct sim_outcome *outcome)
{
	struct sim_outcome *sum = &totals->sum;

	totals->seeds++;
	sum->events += outcome->events;
	sum->virtual_us += outcome->virtual_us;
	sum->acknowledged += outcome->acknowledged;
	sum->unknown += outcome->unknown;
	sum->refused += outcome->refused;
	sum->elections += outcome->elections;
	sum->restores += outcome->restores;
	sum->pulls += outcome->pulls;
	sum->snapshots += outcome->snapshots;
	sum->truncations += outcome->truncations;
	sum->restarts += outcome->restarts;
	sum->stops += outcome->stops;
	sum->witnesses += outcome->witnesses;
	sum->member_changes += outcome->member_changes;
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		sum->faults[i] += outcome->faults[i];
	for (unsigned i = 0; i < SEEN_COUNT; i++)
		sum->seen[i] += outcome->seen[i];
	sum->appends += outcome->appends;
	sum->records += outcome->records;
	sum->guard.clamped += outcome->guard.clamped;
	sum->guard.dropped += outcome->guard.dropped;
	sum->guard.barriers += outcome->guard.barriers;
	sum->guard.held_results += outcome->guard.held_results;
	sum->guard.held_appends += outcome->guard.held_appends;
	sum->guard.trimmed += outcome->guard.trimmed;
	sum->guard.jumped += outcome->guard.jumped;
	sum->guard.votes_raised += outcome->guard.votes_raised;
	sum->guard.flow_refused += outcome->guard.flow_refused;
	sum->guard.stripped += outcome->guard.stripped;
	sum->guard.leaders_gone += outcome->guard.leaders_gone;
	sum->guard.resigned += outcome->guard.resigned;
	sum->guard.commits_told += outcome->guard.commits_told;
	if (outcome->failed_over_us > 0) {
		totals->failovers++;
		sum->failed_over_us += outcome->failed_over_us;
	}
	if (outcome->failed_over_us > totals->longest_us) {
		totals->longest_us = outcome->failed_over_us;
		totals->longest_seed = outcome->seed;
	}
	if (outcome->converged_us > totals->slowest_us) {
		totals->slowest_us = outcome->converged_us;
		totals->slowest_seed = outcome->seed;
	}
}

static void end_job(const struct arguments *arguments, struct totals *totals,
		    struct sim_outcome *outcome, int status)
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

static void print_progress(const struct totals *totals, uint64_t all)
{
	if (isatty(STDERR_FILENO) && totals->seeds % 20 == 0)
		fprintf(stderr, "\r%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " violations ",
			totals->seeds, all, totals->violations);
}

/* A run for each seed and size: number i is seed first + i / sizes. */
static void run_all(const struct arguments *arguments, struct totals *totals)
{
	struct job jobs[JOBS_MAX] = {0};
	struct sim_outcome *outcomes =
		mmap(NULL, JOBS_MAX * sizeof *outcomes, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned sizes = arguments->nodes == 0 ? 2 : 1;
	uint64_t all = (arguments->last - arguments->first + 1) * sizes, started = 0;

	ASSERT(outcomes != MAP_FAILED);
	while (totals->seeds < all) {
		if (arguments->expect_violation && totals->violations > 0)
			all = started;
		if (totals->seeds == all)
			break;
		for (unsigned i = 0; i < arguments->jobs && started < all; i++) {
			unsigned nodes = arguments->nodes != 0 ? arguments->nodes
					 : started % 2 == 0    ? 3
							       : 5;

			if (jobs[i].process == 0)
				start_job(arguments, &jobs[i], &outcomes[i],
					  arguments->first + started++ / sizes, nodes);
		}
		int status;
		pid_t process = wait(&status);

		for (unsigned i = 0; i < arguments->jobs; i++) {
			if (jobs[i].process != process)
				continue;
			jobs[i].process = 0;
			end_job(arguments, totals, &outcomes[i], status);
		}
		print_progress(totals, all);
	}
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
	munmap(outcomes, JOBS_MAX * sizeof *outcomes);
}

/* ---- the verdict ---- */

static void print_seen(const struct sim_outcome *sum)
{
	for (unsigned i = 0; i < SEEN_COUNT; i++)
		printf("%-48s %10" PRIu64 "\n", sim_seen_name(i), sum->seen[i]);
}

static void print_totals(const struct arguments *arguments, const struct totals *totals,
			 double seconds)
{
	const struct sim_outcome *sum = &totals->sum;

	printf("%-16s %12" PRIu64 "   rows %s, %.0f s\n", "runs", totals->seeds,
	       arguments->rows_text, seconds);
	printf("%-16s %12.1f\n", "virtual hours", (double)sum->virtual_us / 3.6e9);
	printf("%-16s %12" PRIu64 "\n", "events", sum->events);
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		printf("%-16s %12" PRIu64 "\n", sim_fault_name(i), sum->faults[i]);
	print_seen(sum);
	printf("%-16s %12" PRIu64 "   of nodes that met an error and ended\n", "stops", sum->stops);
	printf("%-16s %12" PRIu64 "\n", "elections", sum->elections);
	printf("%-16s %12" PRIu64 "   snapshots put %" PRIu64 ", restored %" PRIu64
	       ", pulls %" PRIu64 ", witnesses %" PRIu64 "\n",
	       "truncations", sum->truncations, sum->snapshots, sum->restores, sum->pulls,
	       sum->witnesses);
	printf("%-16s %12" PRIu64 "   unknown %" PRIu64 ", refused %" PRIu64 "\n", "acknowledged",
	       sum->acknowledged, sum->unknown, sum->refused);
	printf("%-16s %12" PRIu64 "   records stored %" PRIu64 "\n", "decided", sum->appends,
	       sum->records);
	printf("%-16s %12" PRIu64 "   acks clamped, %" PRIu64 " barriers, %" PRIu64
	       " results and %" PRIu64 " appends held, %" PRIu64 " messages dropped\n",
	       "guard", sum->guard.clamped, sum->guard.barriers, sum->guard.held_results,
	       sum->guard.held_appends, sum->guard.dropped);
	printf("%-16s %12" PRIu64 "   jumps, %" PRIu64 " votes raised, %" PRIu64
	       " trimmed, %" PRIu64 " stripped, %" PRIu64 " sends refused, %" PRIu64
	       " commits told\n",
	       "", sum->guard.jumped, sum->guard.votes_raised, sum->guard.trimmed,
	       sum->guard.stripped, sum->guard.flow_refused, sum->guard.commits_told);
	printf("%-16s %12.3f   s of %" PRIu64 " without a leader, at most %.3f s, by seed %" PRIu64
	       "; %" PRIu64 " leaders forgotten, %" PRIu64 " resigned\n",
	       "failover",
	       (double)sum->failed_over_us / 1e6 /
		       (double)(totals->failovers > 0 ? totals->failovers : 1),
	       totals->failovers, (double)totals->longest_us / 1e6, totals->longest_seed,
	       sum->guard.leaders_gone, sum->guard.resigned);
	printf("%-16s %12.3f   s, by seed %" PRIu64 "\n", "slowest to agree",
	       (double)totals->slowest_us / 1e6, totals->slowest_seed);
	printf("%-16s %12" PRIu64 "\n", "VIOLATIONS", totals->violations);
}

static bool all_seen(const struct totals *totals)
{
	bool all = true;

	for (unsigned i = 0; i < SEEN_COUNT; i++) {
		if (totals->sum.seen[i] > 0)
			continue;
		printf("not once in %" PRIu64 " runs: %s\n", totals->seeds, sim_seen_name(i));
		all = false;
	}
	return all;
}

/* A nemesis that does not strike proves nothing, nor do clients that ask for little. */
static bool faults_struck(const struct totals *totals)
{
	bool all = totals->seeds < 100 || all_seen(totals);

	if (totals->seeds < 100)
		return true;
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		if (totals->sum.faults[i] > 0)
			continue;
		printf("no %s in %" PRIu64 " runs\n", sim_fault_name(i), totals->seeds);
		all = false;
	}
	if (totals->sum.pulls == 0 || totals->sum.truncations == 0 ||
	    totals->sum.member_changes == 0) {
		printf("no pull, no truncation or no change of members\n");
		all = false;
	}
	return all;
}

static int run_one(const struct arguments *arguments)
{
	unsigned nodes = arguments->nodes == 0 ? 3 : arguments->nodes;
	struct sim_options seed_options = options_of(arguments, arguments->first, nodes);
	struct sim_outcome outcome;

	sim_run_seed(&seed_options, &outcome);
	printf("seed %" PRIu64 ", %u nodes: %s; %" PRIu64 " events, %" PRIu64
	       " acknowledged, agreed after %.3f s, trace hash %016" PRIx64 "\n",
	       outcome.seed, outcome.nodes, outcome.violated ? outcome.message : "no violation",
	       outcome.events, outcome.acknowledged, (double)outcome.converged_us / 1e6,
	       outcome.trace_hash);
	return outcome.violated == arguments->expect_violation ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.options = options,
					 .parser = on_argument,
					 .doc = "Simulate clusters under faults, from seeds."};
	struct arguments arguments = {
		.first = 1, .last = 100, .seconds = 20, .rows = GUARD_ALL, .rows_text = "all"};
	struct totals totals = {0};
	struct timespec start, end;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	arguments.jobs = cores < 1 ? 1 : cores > JOBS_MAX ? JOBS_MAX : (unsigned)cores;
	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	log_set_level(LOG_LEVEL_ERROR);
	if (arguments.trace)
		setvbuf(stdout, NULL, _IOLBF, 0);
	if (arguments.one)
		return run_one(&arguments);
	clock_gettime(CLOCK_MONOTONIC, &start);
	run_all(&arguments, &totals);
	clock_gettime(CLOCK_MONOTONIC, &end);
	print_totals(&arguments, &totals,
		     (double)(end.tv_sec - start.tv_sec) +
			     (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	if (arguments.expect_violation)
		return totals.violations > 0 ? 0 : 1;
	return totals.violations == 0 && faults_struck(&totals) ? 0 : 1;
}
