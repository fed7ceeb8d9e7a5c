/*
 * Making a failing seed smaller. Each step takes something away, runs what is left, and keeps it when it
 * fails in the same way. Strikes of the nemesis draw their chance from numbers of their own
 * (sim_nemesis.c), so that taking one away leaves the others what they were; what the cluster makes of
 * it differs all the same, so a step may not work although its fault has nothing to do with it.
 *
 *   time       the shortest time under faults
 *   kinds      one kind of fault after the other
 *   strikes    halves, quarters, … of those that are left, then single ones
 *   load       half the writes, a quarter, …; no reads
 */
#include "tests/sim/sim_range.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define RUNS_MAX 400
#define LOAD_MAX 64u

struct shrinking {
	struct sim_options best;
	struct sim_outcome *outcome; /* shared: of the run under way */
	struct sim_outcome failed;   /* of the best one */
	char wanted[SIM_MESSAGE_BYTES];
	unsigned runs;
};

/* The message without its numbers. */
static void to_kind(const char *message, char kind[SIM_MESSAGE_BYTES])
{
	size_t size = 0;

	for (; *message != '\0' && size + 1 < SIM_MESSAGE_BYTES; message++) {
		if (!isdigit((unsigned char)*message))
			kind[size++] = *message;
		else if (size == 0 || kind[size - 1] != '#')
			kind[size++] = '#';
	}
	kind[size] = '\0';
}

static bool fails_alike(struct shrinking *shrinking, const struct sim_options *options)
{
	char kind[SIM_MESSAGE_BYTES];
	int status;

	if (shrinking->runs == RUNS_MAX)
		return false;
	shrinking->runs++;
	pid_t process = run_start(options, shrinking->outcome);

	while (waitpid(process, &status, 0) < 0)
		continue;
	run_end(shrinking->outcome, status);
	to_kind(shrinking->outcome->message, kind);
	return shrinking->outcome->violated && strcmp(kind, shrinking->wanted) == 0;
}

static bool keep_if(struct shrinking *shrinking, const struct sim_options *options)
{
	if (!fails_alike(shrinking, options))
		return false;
	shrinking->best = *options;
	shrinking->failed = *shrinking->outcome;
	return true;
}

/* ---- the steps: true when something was taken away ---- */

static bool shrink_time(struct shrinking *shrinking)
{
	uint64_t before = shrinking->best.faults_us, low = 0;

	while (shrinking->best.faults_us - low > 100 * SIM_MS) {
		struct sim_options options = shrinking->best;
		uint64_t middle = low + (options.faults_us - low) / 2;

		options.faults_us = (middle + SIM_MS - 1) / SIM_MS * SIM_MS;
		if (!keep_if(shrinking, &options))
			low = options.faults_us;
	}
	return shrinking->best.faults_us < before;
}

static bool shrink_kinds(struct shrinking *shrinking)
{
	uint64_t before = shrinking->best.kinds;

	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		struct sim_options options = shrinking->best;

		options.kinds &= ~(UINT64_C(1) << i);
		if (options.kinds == shrinking->best.kinds)
			continue;
		/* What never struck can go without a run. */
		if (shrinking->failed.faults[i] == 0 && !sim_fault_is_delayed(i))
			shrinking->best.kinds = options.kinds;
		else
			keep_if(shrinking, &options);
	}
	return shrinking->best.kinds != before;
}

static unsigned list_strikes(const struct sim_options *options, uint64_t last, unsigned *numbers)
{
	unsigned count = 0;

	for (unsigned i = 1; i <= last && i < SIM_STRIKES; i++)
		if (sim_strike_chosen(options, i))
			numbers[count++] = i;
	return count;
}

static bool shrink_strikes(struct shrinking *shrinking)
{
	static unsigned numbers[SIM_STRIKES];
	unsigned count = list_strikes(&shrinking->best, shrinking->failed.strikes, numbers);
	unsigned first_count = count;

	for (unsigned part = (count + 1) / 2; part > 0 && count > 0; part = part / 2) {
		for (unsigned at = 0; at < count;) {
			unsigned end = at + part < count ? at + part : count;
			struct sim_options options = shrinking->best;

			options.chosen = true;
			memset(options.strikes, 0, sizeof options.strikes);
			for (unsigned i = 0; i < count; i++)
				if (i < at || i >= end)
					sim_strike_choose(&options, numbers[i]);
			if (!keep_if(shrinking, &options)) {
				at = end;
				continue;
			}
			memmove(numbers + at, numbers + end, (count - end) * sizeof *numbers);
			count -= end - at;
		}
	}
	return count < first_count;
}

static bool shrink_load(struct shrinking *shrinking)
{
	struct sim_options options = shrinking->best;
	bool any = false;

	options.no_reads = true;
	if (!shrinking->best.no_reads)
		any = keep_if(shrinking, &options);
	while (shrinking->best.load < LOAD_MAX) {
		options = shrinking->best;
		options.load *= 2;
		if (!keep_if(shrinking, &options))
			break;
		any = true;
	}
	return any;
}

static void print_form(const struct range *range, const struct shrinking *shrinking)
{
	struct buffer text;

	buffer_init(&text);
	run_format(range, &shrinking->best, &text);
	printf("    smaller, after %u runs: %s\n    again: %s\n", shrinking->runs,
	       shrinking->failed.message, (const char *)text.data);
	buffer_close(&text);
}

bool shrink(const struct range *range, const struct sim_options *options,
	    const struct sim_outcome *outcome)
{
	struct shrinking shrinking = {.best = *options, .outcome = run_outcomes(1)};
	bool more = true;

	shrinking.best.trace = false;
	to_kind(outcome->message, shrinking.wanted);
	if (!keep_if(&shrinking, &shrinking.best)) {
		printf("    it does not fail again in the same way: %s\n",
		       shrinking.outcome->violated ? shrinking.outcome->message : "no violation");
		return false;
	}
	while (more && shrinking.runs < RUNS_MAX) {
		more = shrink_time(&shrinking);
		more = shrink_kinds(&shrinking) || more;
		more = shrink_strikes(&shrinking) || more;
		more = shrink_load(&shrinking) || more;
	}
	print_form(range, &shrinking);
	return true;
}
