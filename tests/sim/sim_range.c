/* Seeds in parallel, as many at once as there are cores; then the table of what was tried. */
#include "tests/sim/sim_range.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHOWN_FAILURES   12
#define SHRUNK_FAILURES  2
#define PROGRESS_SECONDS 20 /* between two lines, when it is no terminal */

struct job {
	pid_t process;
};

struct totals {
	uint64_t seeds, violations;
	struct sim_outcome sum;
	struct sim_outcome failed[SHRUNK_FAILURES];
	uint64_t slowest_us, slowest_seed;
	uint64_t failovers, longest_us, longest_seed;
};

static double now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static unsigned sizes_of(const struct range *range)
{
	return range->nodes == 0 ? 2 : 1;
}

/* A run for each seed and size: number i is seed first + i / sizes. */
static struct sim_options options_of(const struct range *range, uint64_t number)
{
	struct sim_options options = range->form;

	options.seed = range->first + number / sizes_of(range);
	options.nodes = range->nodes != 0 ? range->nodes : number % 2 == 0 ? 3 : 5;
	return options;
}

static void print_failure(const struct range *range, const struct sim_outcome *outcome)
{
	struct sim_options options = range->form;
	struct buffer text;

	options.seed = outcome->seed;
	options.nodes = outcome->nodes;
	buffer_init(&text);
	run_format(range, &options, &text);
	printf("seed %" PRIu64 ", %u nodes: %s\n    again: %s\n", outcome->seed, outcome->nodes,
	       outcome->message, (const char *)text.data);
	buffer_close(&text);
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
	sum->replaced += outcome->replaced;
	sum->damage_at_start += outcome->damage_at_start;
	sum->damage_later += outcome->damage_later;
	sum->damage_hidden += outcome->damage_hidden;
	if (outcome->longest_walk > sum->longest_walk)
		sum->longest_walk = outcome->longest_walk;
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
	sum->guard.committed_told += outcome->guard.committed_told;
	sum->guard.votes_lent += outcome->guard.votes_lent;
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

static void end_job(const struct range *range, struct totals *totals, struct sim_outcome *outcome,
		    int status)
{
	run_end(outcome, status);
	add(totals, outcome);
	if (!outcome->violated)
		return;
	if (totals->violations < SHRUNK_FAILURES)
		totals->failed[totals->violations] = *outcome;
	if (totals->violations++ < SHOWN_FAILURES)
		print_failure(range, outcome);
}

static void print_progress(const struct totals *totals, uint64_t all, double seconds)
{
	static double printed;
	bool terminal = isatty(STDERR_FILENO);

	if (seconds < printed + (terminal ? 0.5 : PROGRESS_SECONDS))
		return;
	printed = seconds;
	fprintf(stderr, "%s%" PRIu64, terminal ? "\r" : "", totals->seeds);
	if (all != UINT64_MAX)
		fprintf(stderr, " of %" PRIu64, all);
	fprintf(stderr, " runs in %.0f s, %.1f virtual hours, %" PRIu64 " violations%s", seconds,
		(double)totals->sum.virtual_us / 3.6e9, totals->violations, terminal ? " " : "\n");
}

static bool is_over(const struct range *range, const struct totals *totals, double seconds)
{
	return (range->expect_violation && totals->violations > 0) ||
	       (range->limit_seconds != 0 && seconds >= range->limit_seconds);
}

static void wait_for_one(const struct range *range, struct totals *totals, struct job *jobs,
			 struct sim_outcome *outcomes)
{
	int status;
	pid_t process = wait(&status);

	for (unsigned i = 0; i < range->jobs; i++) {
		if (process <= 0 || jobs[i].process != process)
			continue;
		jobs[i].process = 0;
		end_job(range, totals, &outcomes[i], status);
	}
}

static void run_all(const struct range *range, struct totals *totals)
{
	struct job jobs[RANGE_JOBS_MAX] = {0};
	struct sim_outcome *outcomes = run_outcomes(range->jobs);
	uint64_t seeds = range->last - range->first + 1, started = 0;
	uint64_t all = range->limit_seconds != 0 ? UINT64_MAX : seeds * sizes_of(range);
	double begin = now_seconds();

	ASSERT(range->jobs <= RANGE_JOBS_MAX);
	while (totals->seeds < all) {
		if (is_over(range, totals, now_seconds() - begin))
			all = started;
		if (totals->seeds == all)
			break;
		for (unsigned i = 0; i < range->jobs && started < all; i++) {
			struct sim_options options = options_of(range, started);

			if (jobs[i].process != 0)
				continue;
			jobs[i].process = run_start(&options, &outcomes[i]);
			started++;
		}
		wait_for_one(range, totals, jobs, outcomes);
		print_progress(totals, all, now_seconds() - begin);
	}
	if (isatty(STDERR_FILENO))
		fputc('\n', stderr);
}

/* ---- the verdict ---- */

static void print_seen(const struct sim_outcome *sum)
{
	for (unsigned i = 0; i < SEEN_COUNT; i++)
		printf("%-48s %10" PRIu64 "\n", sim_seen_name(i), sum->seen[i]);
}

static void print_totals(const struct range *range, const struct totals *totals, double seconds)
{
	const struct sim_outcome *sum = &totals->sum;

	printf("%-16s %12" PRIu64 "   rows %s, %.0f s\n", "runs", totals->seeds, range->rows,
	       seconds);
	printf("%-16s %12.1f   a second: %.1f runs, %.2f seeds of both sizes\n", "virtual hours",
	       (double)sum->virtual_us / 3.6e9, (double)totals->seeds / seconds,
	       (double)totals->seeds / seconds / sizes_of(range));
	printf("%-16s %12" PRIu64 "\n", "events", sum->events);
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		printf("%-16s %12" PRIu64 "\n", sim_fault_name(i), sum->faults[i]);
	print_seen(sum);
	printf("%-16s %12" PRIu64 "   of nodes that met an error and ended\n", "stops", sum->stops);
	printf("%-16s %12" PRIu64 "   damage found at a start, %" PRIu64 " later, %" PRIu64
	       " hidden; members replaced %" PRIu64 "\n",
	       "flipped bits", sum->damage_at_start, sum->damage_later, sum->damage_hidden,
	       sum->replaced);
	printf("%-16s %12" PRIu64 "   at most %" PRIu64 " steps back to where two logs meet\n",
	       "elections", sum->elections, sum->longest_walk);
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
	       " commits told, %" PRIu64 " told with a rejection\n",
	       "", sum->guard.jumped, sum->guard.votes_raised, sum->guard.trimmed,
	       sum->guard.stripped, sum->guard.flow_refused, sum->guard.commits_told,
	       sum->guard.committed_told);
	printf("%-16s %12.3f   s of %" PRIu64 " without a leader, at most %.3f s, by seed %" PRIu64
	       "; %" PRIu64 " leaders forgotten, %" PRIu64 " resigned, %" PRIu64
	       " votes asked of members without one\n",
	       "failover",
	       (double)sum->failed_over_us / 1e6 /
		       (double)(totals->failovers > 0 ? totals->failovers : 1),
	       totals->failovers, (double)totals->longest_us / 1e6, totals->longest_seed,
	       sum->guard.leaders_gone, sum->guard.resigned, sum->guard.votes_lent);
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
	    totals->sum.member_changes == 0 || totals->sum.replaced == 0 ||
	    totals->sum.damage_at_start == 0 || totals->sum.damage_later == 0) {
		printf("no pull, no truncation, no change of members, none replaced, or no damage "
		       "found at a start or later\n");
		all = false;
	}
	return all;
}

static void shrink_failures(const struct range *range, const struct totals *totals)
{
	for (uint64_t i = 0; i < totals->violations && i < SHRUNK_FAILURES; i++) {
		struct sim_options options = range->form;

		options.seed = totals->failed[i].seed;
		options.nodes = totals->failed[i].nodes;
		printf("seed %" PRIu64 ", %u nodes, is made smaller:\n", options.seed,
		       options.nodes);
		shrink(range, &options, &totals->failed[i]);
	}
}

int range_run(const struct range *range)
{
	static struct totals totals;
	double begin = now_seconds();

	run_all(range, &totals);
	double seconds = now_seconds() - begin;

	if (!range->expect_violation)
		shrink_failures(range, &totals);
	print_totals(range, &totals, seconds);
	if (range->expect_violation)
		return totals.violations > 0 ? 0 : 1;
	return totals.violations == 0 && faults_struck(&totals) ? 0 : 1;
}
