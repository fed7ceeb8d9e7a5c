/* One seed from the first boot to the verdict: faults, calm, convergence, aftermath, silence, checks. */
#include "tests/sim/sim.h"

static void begin(struct sim *sim, const struct sim_options *options)
{
	sim->options = *options;
	sim->random = options->seed * 7919 + options->nodes;
	sim->outcome.seed = options->seed;
	sim->outcome.nodes = options->nodes;
	sim->node_count = options->nodes + 1;
	sim->truth = memory_zeroed(SIM_INDEXES, sizeof *sim->truth);
	sim->batches = memory_zeroed(SIM_INDEXES, sizeof *sim->batches);
	buffer_init(&sim->ids);
	ASSERT(sim->node_count + SIM_REPLACEMENTS <= SIM_NODES);
	sim_profile_draw(sim);
	for (unsigned i = 1; i <= SIM_NODES; i++) {
		sim->nodes[i].sim = sim;
		sim->nodes[i].number = i;
		snprintf(sim->nodes[i].address, sizeof sim->nodes[i].address, "%u", i);
		sim->nodes[i].clock.rate = 1000;
		sim_disk_reset(&sim->nodes[i]);
	}
	for (unsigned i = 1; i <= options->nodes; i++)
		sim_node_boot(&sim->nodes[i], false);
	sim_client_start(sim);
	sim_nemesis_start(sim);
}

static void run_until(struct sim *sim, uint64_t until)
{
	while (!sim->outcome.violated && sim_step(sim, until))
		continue;
}

static void converge(struct sim *sim)
{
	sim->calm = true;
	sim->calm_since = sim->now;
	sim_nemesis_calm(sim);
	while (!sim->outcome.violated && sim->converged_at == 0) {
		run_until(sim, sim->now + 10 * SIM_MS);
		sim_check_converged(sim);
	}
}

/* An operator who has begun ends it, without calls for help. */
static void finish_replacing(struct sim *sim)
{
	uint64_t end = sim->calm_since + SIM_CONVERGE_REPLACE_US;

	while (!sim->outcome.violated && sim->lost != NULL && sim->now < end)
		run_until(sim, sim->now + 100 * SIM_MS);
	if (sim->lost != NULL)
		sim_violation(sim, "node %u is not replaced %u s after the last fault",
			      sim->lost->number, (unsigned)(SIM_CONVERGE_REPLACE_US / SIM_SECOND));
}

/* Until nobody pulls or lags: then each voter may be the next leader. */
static bool wait_for_equals(struct sim *sim)
{
	for (unsigned i = 0; i < 20 && !sim->outcome.violated; i++) {
		uint64_t index = sim->acknowledged_index;

		run_until(sim, sim->now + 200 * SIM_MS);
		if (sim_everybody_has(sim, index))
			return true;
	}
	return false;
}

/* A damaged one may stop itself at any moment. */
static bool is_short_of_nodes(const struct sim *sim)
{
	return sim->gone > 0 || sim->lost != NULL || sim->damaged != NULL;
}

/* The leader's process ends, and nothing else happens. */
static void fail_over(struct sim *sim)
{
	struct sim_node *leader;

	if (is_short_of_nodes(sim) || !wait_for_equals(sim) || sim->outcome.violated)
		return;
	leader = sim_leader(sim);
	ASSERT(leader != NULL);
	/* A member that was made a standby just before the calm has remained one. */
	if (sim_members_voters(leader->raft) < SIM_FAIL_OVER_VOTERS)
		return;
	uint64_t ended_us = sim->now;

	sim_check_waiting(sim);
	sim_node_crash(leader, FAULT_CRASH);
	sim_node_restart_in(leader, SIM_FAIL_OVER_DOWN_US);
	while (!sim->outcome.violated && sim_leader(sim) == NULL &&
	       sim->now < ended_us + SIM_FAIL_OVER_DOWN_US)
		run_until(sim, sim->now + SIM_MS);
	sim->outcome.failed_over_us = sim->now - ended_us;
	/* Two may have begun at about the same time: then the second to win is the one that stays. */
	sim_check_answers_from(sim, sim->now + 2 * sim->profile.election_ms * SIM_MS);
	sim_check_failed_over(sim);
	run_until(sim, ended_us + SIM_FAIL_OVER_DOWN_US + SIM_AFTERMATH_US);
}

/* The leader's disk does nothing for long: it makes room for another one. In an eighth of the seeds. */
static void stall(struct sim *sim)
{
	uint64_t long_us = SIM_STALL_TIMEOUTS * sim->profile.election_ms * SIM_MS;
	struct sim_node *leader;

	if (sim->options.seed % 8 != 0 || is_short_of_nodes(sim) || !wait_for_equals(sim) ||
	    sim->outcome.violated)
		return;
	leader = sim_leader(sim);
	ASSERT(leader != NULL);
	leader->disk.stalled_until = sim->now + long_us;
	while (!sim->outcome.violated && (sim_leader(sim) == NULL || sim_leader(sim) == leader) &&
	       sim->now < leader->disk.stalled_until)
		run_until(sim, sim->now + 10 * SIM_MS);
	sim_check_answers_from(sim, leader->disk.stalled_until + SIM_SECOND);
	sim_check_resigned(sim, leader);
	run_until(sim, sim->answers_since + SIM_AFTERMATH_US);
}

static void fall_silent(struct sim *sim)
{
	uint64_t until = sim->now + SIM_SILENCE_US;

	sim->quiet = true;
	run_until(sim, sim->now + SIM_SECOND);
	while (!sim->outcome.violated && sim->now < until &&
	       (!sim_everybody_has(sim, sim->acknowledged_index) ||
		!sim_everybody_has(sim, sim->model.index)))
		run_until(sim, sim->now + 100 * SIM_MS);
}

void sim_run_seed(const struct sim_options *options, struct sim_outcome *outcome)
{
	struct sim *sim = memory_zeroed(1, sizeof *sim);

	begin(sim, options);
	run_until(sim, options->faults_us);
	converge(sim);
	finish_replacing(sim);
	run_until(sim, sim->now + SIM_AFTERMATH_US);
	fail_over(sim);
	stall(sim);
	fall_silent(sim);
	if (!sim->outcome.violated)
		sim_check_end(sim);
	sim->outcome.virtual_us = sim->now;
	*outcome = sim->outcome;
}
