/*
 * Ambushes: faults that wait for a delicate moment and strike in it, because chance alone seldom would.
 *
 *   a node has just become leader, or has     its process ends, now and then with its disk
 *   begun to change members
 *   a leader has begun to change members      nobody hears of it, and another leader takes it back; or
 *                                             one node does, and the leader ends, perhaps for good
 *   a candidate has won the pre-vote          nobody hears from it for some elections, in each of which
 *                                             its term grows; then its process ends
 */
#include "tests/sim/sim.h"

#define FOR_GOOD 100 /* thousandths: a leader that ends there never comes back … */
#define LAST_ONE 500 /* … and the same of one whose change one other node has */

static bool comes(struct sim *sim, enum sim_fault fault)
{
	return !sim->calm && sim_chance(sim, sim->profile.weight[fault]) &&
	       sim_nemesis_may(sim, fault);
}

static bool end_leader(struct sim_node *node, unsigned for_good)
{
	struct sim *sim = node->sim;
	bool is_last = sim_chance(sim, for_good);

	if (sim->calm || !sim_node_leads(node) || !sim_nemesis_crash(node, FAULT_POWER))
		return false;
	if (is_last && sim_nemesis_may(sim, FAULT_LOST) && sim_members_may_lose(sim, node)) {
		sim->outcome.faults[FAULT_LOST]++;
		sim_members_lost(node);
	}
	return true;
}

/* ---- leaders ---- */

static void run_fresh(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	sim->outcome.faults[FAULT_FRESH] += end_leader(node, FOR_GOOD);
}

/* What a new leader does first, and what it has just begun, are the delicate parts: let many end there. */
void sim_ambush_leader(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t longest = (sim_chance(sim, 500) ? 5 : 40) * SIM_MS;

	if (comes(sim, FAULT_FRESH))
		sim_after(sim, sim_between(sim, 0, longest), "fresh", run_fresh, node, NULL);
}

/* ---- changes of members ---- */

static void run_last(struct sim *sim, struct sim_node *node, void *data)
{
	(void)sim;
	(void)data;
	end_leader(node, LAST_ONE);
}

/* A voter that is up, and is not who the change is about. */
static unsigned draw_heir(const struct sim_node *leader, const struct sim_node *changed)
{
	struct sim *sim = leader->sim;
	const struct raft_configuration *configuration = &leader->raft->configuration;
	unsigned heir = 0, seen = 0;

	for (unsigned i = 0; i < configuration->n; i++) {
		const struct raft_server *server = &configuration->servers[i];

		if (server->role != RAFT_VOTER || server->id == leader->number ||
		    server->id == changed->number || !sim_node_is_up(&sim->nodes[server->id]))
			continue;
		if (sim_between(sim, 0, seen++) == 0)
			heir = (unsigned)server->id;
	}
	return heir;
}

void sim_ambush_change(struct sim_node *leader, const struct sim_node *changed)
{
	struct sim *sim = leader->sim;
	uint64_t timeouts = sim_between(sim, 1, 6);
	uint64_t end = sim->now + timeouts * sim->profile.election_ms * SIM_MS;
	unsigned heir = draw_heir(leader, changed);

	if (!comes(sim, FAULT_CHANGE))
		return;
	sim->outcome.faults[FAULT_CHANGE]++;
	if (heir == 0 || sim_chance(sim, 400)) {
		sim_cut_isolate(sim, leader, end);
		return;
	}
	for (unsigned i = 1; i <= sim->node_count; i++)
		if (i != leader->number && i != heir)
			sim_cut_pair(sim, leader->number, i, false, end);
	/* Long enough for the heir to have it on disk. */
	sim_after(sim, sim->profile.latency_max + sim->profile.disk_max, "last", run_last, leader,
		  NULL);
}

/* ---- candidates ---- */

static void run_lonely(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	if (!sim->calm)
		sim_nemesis_crash(node, FAULT_CRASH);
}

void sim_ambush_candidate(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t timeouts = sim_between(sim, 2, 8);

	if (node->stood_term == node->raft->current_term)
		return;
	node->stood_term = node->raft->current_term;
	/* It stands again and again: once is enough. */
	if (sim->links[node->number][node->number % sim->node_count + 1].cuts > 0 ||
	    !comes(sim, FAULT_LONELY))
		return;
	uint64_t end = sim->now + timeouts * sim->profile.election_ms * SIM_MS;

	sim->outcome.faults[FAULT_LONELY]++;
	sim_cut_isolate(sim, node, end);
	sim_at(sim, end - SIM_MS, "lonely", run_lonely, node, NULL);
}
