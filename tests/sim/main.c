/* sim: its command line. */
#include "base/log.h"
#include "tests/sim/sim_range.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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
	struct range range;
	bool one, shrink;
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

/* Names as sim_fault_name gives them, with commas between; "none". */
static bool parse_kinds(const char *text, uint64_t *kinds)
{
	*kinds = 0;
	if (strcmp(text, "none") == 0)
		return true;
	while (*text != '\0') {
		size_t size = strcspn(text, ",");
		unsigned i = 0;

		while (i < FAULT_COUNT && (strlen(sim_fault_name(i)) != size ||
					   strncmp(sim_fault_name(i), text, size) != 0))
			i++;
		if (i == FAULT_COUNT)
			return false;
		*kinds |= UINT64_C(1) << i;
		text += size;
		text += *text == ',';
	}
	return true;
}

static bool parse_strikes(const char *text, struct sim_options *form)
{
	form->chosen = true;
	while (*text != '\0') {
		char *end;
		unsigned long number = strtoul(text, &end, 10);

		if (end == text || number == 0 || number >= SIM_STRIKES ||
		    (*end != ',' && *end != '\0'))
			return false;
		sim_strike_choose(form, (unsigned)number);
		text = end + (*end == ',');
	}
	return true;
}

static bool parse_seconds(const char *text, uint64_t *time_us)
{
	char *end;
	double seconds = strtod(text, &end);

	*time_us = (uint64_t)(seconds * 1e6 + 0.5);
	return end != text && *end == '\0' && seconds >= 0.001 && seconds <= 300;
}

static bool parse_number(const char *text, unsigned low, unsigned high, unsigned *number)
{
	char *end;
	unsigned long parsed = strtoul(text, &end, 10);

	*number = (unsigned)parsed;
	return end != text && *end == '\0' && parsed >= low && parsed <= high;
}

enum {
	KEY_ONE = 256,
	KEY_TRACE,
	KEY_EXPECT,
	KEY_MUTANT,
	KEY_MUTANTS,
	KEY_FAULTS,
	KEY_STRIKES,
	KEY_LOAD,
	KEY_NO_READS,
	KEY_SHRINK,
	KEY_FOR,
};

/* Of one seed: what a smaller form of it is made of. */
static error_t on_form(int key, char *value, struct argp_state *state, struct sim_options *form)
{
	switch (key) {
	case 't':
		if (!parse_seconds(value, &form->faults_us))
			argp_error(state, "0.001 to 300 seconds, not \"%s\"", value);
		return 0;
	case KEY_TRACE:
		form->trace = true;
		return 0;
	case KEY_FAULTS:
		if (!parse_kinds(value, &form->kinds))
			argp_error(state, "\"%s\" names no kinds of faults; see the table of a run",
				   value);
		return 0;
	case KEY_STRIKES:
		if (!parse_strikes(value, form))
			argp_error(state, "\"%s\" is no list of numbers below %u", value,
				   SIM_STRIKES);
		return 0;
	case KEY_LOAD:
		if (strncmp(value, "1/", 2) != 0 || !parse_number(value + 2, 1, 1000, &form->load))
			argp_error(state, "\"%s\" is no load, like 1/4", value);
		return 0;
	case KEY_NO_READS:
		form->no_reads = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t on_argument(int key, char *value, struct argp_state *state)
{
	struct arguments *arguments = state->input;
	struct range *range = &arguments->range;
	uint64_t ignored;

	switch (key) {
	case 's':
		if (!parse_range(value, &range->first, &range->last))
			argp_error(state, "\"%s\" is no range of seeds, like 1-1000", value);
		return 0;
	case 'n':
		if (!parse_number(value, 3, 5, &range->nodes) || range->nodes == 4)
			argp_error(state, "a cluster has 3 or 5 nodes, not \"%s\"", value);
		return 0;
	case KEY_FOR:
		if (!parse_number(value, 1, 1000000, &range->limit_seconds))
			argp_error(state, "1 to 1000000 seconds, not \"%s\"", value);
		return 0;
	case 'r':
		snprintf(range->rows, sizeof range->rows, "%s", value);
		if (!parse_rows(value, &range->form.rows))
			argp_error(state, "\"%s\" names no rows, like all, none, all-clamp", value);
		return 0;
	case 'j':
		if (!parse_number(value, 1, RANGE_JOBS_MAX, &range->jobs))
			argp_error(state, "1 to %d jobs, not \"%s\"", RANGE_JOBS_MAX, value);
		return 0;
	case KEY_ONE:
	case KEY_SHRINK:
		arguments->one = key == KEY_ONE;
		arguments->shrink = key == KEY_SHRINK;
		if (!parse_range(value, &range->first, &ignored))
			argp_error(state, "\"%s\" is no seed", value);
		return 0;
	case KEY_EXPECT:
		range->expect_violation = true;
		return 0;
	case KEY_MUTANT:
		range->mutant = value;
		if (!sim_mutant_plant(value))
			argp_error(state, "no mutant \"%s\" in this build; see --mutants", value);
		return 0;
	case KEY_MUTANTS:
		for (unsigned i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++)
			printf("%s\t%s\n", sim_mutant_name(i), sim_mutant_text(i));
		exit(0);
	default:
		return on_form(key, value, state, &range->form);
	}
}

static const struct argp_option options[] = {
	{"seeds", 's', "FIRST-LAST", 0, "the seeds to run (1-100)", 0},
	{"for", KEY_FOR, "SECONDS", 0, "as many seeds as are begun in that time, from FIRST on", 0},
	{"nodes", 'n', "3|5", 0, "size of the cluster (both)", 0},
	{"rows", 'r', "ROWS", 0, "of the guard: all, none, all-clamp, none,clamp,hold", 0},
	{"jobs", 'j', "JOBS", 0, "processes at once (one for each core)", 0},
	{"one", KEY_ONE, "SEED", 0, "run this seed alone, and print its trace hash", 0},
	{"shrink", KEY_SHRINK, "SEED", 0,
	 "find a smaller form of this seed that fails in the same way", 0},
	{"expect-violation", KEY_EXPECT, NULL, 0, "end at the first seed that fails, and succeed",
	 0},
	{"mutant", KEY_MUTANT, "NAME", 0,
	 "plant this defect (a build of its own: make sim-mutants)", 0},
	{"mutants", KEY_MUTANTS, NULL, 0, "list the defects that can be planted", 0},
	{NULL, 0, NULL, 0, "The form of a seed:", 1},
	{"seconds", 't', "SECONDS", 0, "virtual time under faults, of each seed (20)", 1},
	{"faults", KEY_FAULTS, "KIND,...", 0, "only these kinds, by their names; none (all)", 1},
	{"strikes", KEY_STRIKES, "N,...", 0, "only these strikes, by their numbers (all)", 1},
	{"load", KEY_LOAD, "1/N", 0, "a part of the writes (1/1)", 1},
	{"no-reads", KEY_NO_READS, NULL, 0, "no linearizable reads", 1},
	{"trace", KEY_TRACE, NULL, 0, "with --one: print what happens", 1},
	{0},
};

static int run_one(const struct range *range)
{
	struct sim_options seed_options = range->form;
	struct sim_outcome outcome;

	seed_options.seed = range->first;
	seed_options.nodes = range->nodes == 0 ? 3 : range->nodes;
	sim_run_seed(&seed_options, &outcome);
	printf("seed %" PRIu64 ", %u nodes: %s; %" PRIu64 " events, %" PRIu64
	       " acknowledged, agreed after %.3f s, trace hash %016" PRIx64 "\n",
	       outcome.seed, outcome.nodes, outcome.violated ? outcome.message : "no violation",
	       outcome.events, outcome.acknowledged, (double)outcome.converged_us / 1e6,
	       outcome.trace_hash);
	return outcome.violated == range->expect_violation ? 0 : 1;
}

/* Success: it fails, and here is its smaller form. */
static int run_shrink(const struct range *range)
{
	struct sim_options seed_options = range->form;
	struct sim_outcome *outcome = run_outcomes(1);
	int status;

	seed_options.seed = range->first;
	seed_options.nodes = range->nodes == 0 ? 3 : range->nodes;
	pid_t process = run_start(&seed_options, outcome);

	while (waitpid(process, &status, 0) < 0)
		continue;
	run_end(outcome, status);
	printf("seed %" PRIu64 ", %u nodes: %s\n", outcome->seed, outcome->nodes,
	       outcome->violated ? outcome->message : "no violation: there is nothing to shrink");
	return outcome->violated && shrink(range, &seed_options, outcome) ? 0 : 1;
}

int main(int argc, char **argv)
{
	static const struct argp argp = {.options = options,
					 .parser = on_argument,
					 .doc = "Simulate clusters under faults, from seeds."};
	struct arguments arguments = {.range = {.first = 1,
						.last = 100,
						.form = {.rows = GUARD_ALL,
							 .faults_us = SIM_FAULTS_US,
							 .kinds = SIM_KINDS_ALL,
							 .load = 1},
						.rows = "all"}};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	arguments.range.jobs = cores < 1                ? 1
			       : cores > RANGE_JOBS_MAX ? RANGE_JOBS_MAX
							: (unsigned)cores;
	argp_parse(&argp, argc, argv, 0, NULL, &arguments);
	log_set_level(LOG_LEVEL_ERROR);
	if (arguments.range.form.trace)
		setvbuf(stdout, NULL, _IOLBF, 0);
	if (arguments.one)
		return run_one(&arguments.range);
	if (arguments.shrink)
		return run_shrink(&arguments.range);
	return range_run(&arguments.range);
}
