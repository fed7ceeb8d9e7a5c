/* The nemesis: what goes wrong, when and where. It prefers the leader. Each fault ends by itself; in the
 * calm at the end everything is healed at once. */
#include "tests/sim/sim.h"

const char *sim_fault_name(enum sim_fault fault)
{
	static const char *const names[FAULT_COUNT] = {
		[FAULT_CRASH] = "crash",           [FAULT_POWER] = "power cut",
		[FAULT_TORN_STATE] = "torn state", [FAULT_FRESH] = "fresh leader",
		[FAULT_ISOLATE] = "isolated node", [FAULT_CUT] = "cut pair",
		[FAULT_CUT_ONE] = "cut direction", [FAULT_RESET] = "reset",
		[FAULT_DELAY] = "slow links",      [FAULT_STALL] = "stalled disk",
		[FAULT_SLOW_DISK] = "slow disk",   [FAULT_PAUSE] = "paused node",
		[FAULT_TRANSFER] = "transfer",     [FAULT_WRITE] = "failed write",
		[FAULT_LAG] = "lagging store",     [FAULT_MEMBER] = "member change",
		[FAULT_COMMIT] = "failed commit",
	};

	ASSERT(fault < FAULT_COUNT);
	return names[fault];
}

static struct sim_node *victim_of(struct sim *sim)
{
	struct sim_node *leader = sim_leader(sim);
	unsigned number = (unsigned)sim_between(sim, 1, sim->node_count);

	if (leader != NULL && sim_chance(sim, 500))
		return leader;
	return &sim->nodes[number];
}

static uint64_t a_while(struct sim *sim, uint64_t longest)
{
	return sim_between(sim, 20 * SIM_MS, sim_chance(sim, 700) ? longest / 6 : longest);
}

/* ---- nodes ---- */

static bool strike_crash(struct sim *sim, struct sim_node *node, enum sim_fault fault)
{
	unsigned down = 0;

	for (unsigned i = 1; i <= sim->node_count; i++)
		down += sim->nodes[i].state == NODE_DOWN;
	if (node->state == NODE_DOWN || node->state == NODE_ABSENT ||
	    (down > sim->options.nodes / 2 && !sim_chance(sim, 125)))
		return false;
	sim_node_crash(node, fault);
	sim->outcome.faults[fault]--; /* counted by the caller */
	sim_node_restart_in(node, a_while(sim, 3 * SIM_SECOND));
	return true;
}

static void run_fresh(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	if (!sim->calm && sim_node_leads(node) && strike_crash(sim, node, FAULT_POWER))
		sim->outcome.faults[FAULT_FRESH]++;
}

/* What a new leader does first, and what it has just begun, are the delicate parts: let many end there. */
void sim_nemesis_leader(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t longest = (sim_chance(sim, 500) ? 5 : 40) * SIM_MS;

	if (!sim->calm && sim_chance(sim, sim->profile.weight[FAULT_FRESH]))
		sim_after(sim, sim_between(sim, 0, longest), "fresh", run_fresh, node, NULL);
}

static void run_resume(struct sim *sim, struct sim_node *node, void *data)
{
	(void)sim;
	(void)data;
	node->paused = false;
}

static bool strike_pause(struct sim *sim, struct sim_node *node)
{
	if (node->state != NODE_RUNNING || node->paused)
		return false;
	node->paused = true;
	sim_after(sim, a_while(sim, 3 * SIM_SECOND), "resume", run_resume, node, NULL);
	return true;
}

/* ---- links ---- */

struct cut {
	unsigned from, to;
};

static void run_join(struct sim *sim, struct sim_node *nobody, void *data)
{
	struct cut *cut = data;
	struct sim_link *link = &sim->links[cut->from][cut->to];

	(void)nobody;
	if (link->cuts > 0)
		link->cuts--;
	memory_free(cut);
}

static void cut_link(struct sim *sim, unsigned from, unsigned to, uint64_t until)
{
	struct cut *cut = memory_alloc(sizeof *cut);

	*cut = (struct cut){from, to};
	sim->links[from][to].cuts++;
	sim_at(sim, until, "join", run_join, NULL, cut);
}

static bool strike_isolate(struct sim *sim, const struct sim_node *node)
{
	uint64_t until = sim->now + a_while(sim, 3 * SIM_SECOND);

	for (unsigned i = 1; i <= sim->node_count; i++) {
		if (i == node->number)
			continue;
		cut_link(sim, node->number, i, until);
		cut_link(sim, i, node->number, until);
	}
	return true;
}

static bool strike_cut(struct sim *sim, const struct sim_node *node, bool both)
{
	unsigned other = (unsigned)sim_between(sim, 1, sim->node_count);
	uint64_t until = sim->now + a_while(sim, 3 * SIM_SECOND);

	if (other == node->number)
		return false;
	if (both || sim_chance(sim, 500))
		cut_link(sim, node->number, other, until);
	else
		cut_link(sim, other, node->number, until);
	if (both)
		cut_link(sim, other, node->number, until);
	return true;
}

static bool strike_delay(struct sim *sim, const struct sim_node *node)
{
	uint64_t until = sim->now + a_while(sim, 2 * SIM_SECOND);

	for (unsigned i = 1; i <= sim->node_count; i++) {
		sim->links[node->number][i].slow_until = until;
		sim->links[i][node->number].slow_until = until;
	}
	return true;
}

/* ---- what only a leader can do, once its log is quiet ---- */

#define QUIET_POLLS 60 /* 5 ms apart */

struct quiet {
	unsigned polls;
	enum sim_fault fault;
};

static bool transfer(struct sim_node *leader);
static bool change_members(struct sim_node *leader);

/* As the replica does: stop intake, wait until the log is quiet, act. */
static void run_quiet(struct sim *sim, struct sim_node *leader, void *data)
{
	struct quiet *quiet = data;
	bool leads = sim_node_leads(leader);

	if (leads && !guard_is_quiet(leader->guard) && --quiet->polls > 0) {
		sim_after(sim, 5 * SIM_MS, "quiet", run_quiet, leader, quiet);
		return;
	}
	leader->intake_stopped = false;
	if (leads && guard_is_quiet(leader->guard) &&
	    (quiet->fault == FAULT_TRANSFER ? transfer(leader) : change_members(leader))) {
		sim->outcome.faults[quiet->fault]++;
		sim_trace(sim, "nemesis: %s", sim_fault_name(quiet->fault));
	}
	memory_free(quiet);
}

static bool begin_quiet(struct sim *sim, enum sim_fault fault)
{
	struct sim_node *leader = sim_leader(sim);
	struct quiet *quiet = memory_alloc(sizeof *quiet);

	*quiet = (struct quiet){QUIET_POLLS, fault};
	if (leader == NULL || leader->intake_stopped) {
		memory_free(quiet);
		return false;
	}
	leader->intake_stopped = true;
	sim_after(sim, 5 * SIM_MS, "quiet", run_quiet, leader, quiet);
	return false; /* counted when it strikes */
}

static bool transfer(struct sim_node *leader)
{
	bool struck = raft_transfer(leader->raft, &leader->transfer, 0, NULL) == 0;

	sim_node_after(leader);
	return struck;
}

static void on_changed(struct raft_change *change, int status)
{
	struct sim_node *node = change->data;

	if (status == 0)
		node->sim->outcome.member_changes++;
	if (node->change == change)
		node->change = NULL;
	memory_free(change);
}

static unsigned count_voters(const struct raft *raft)
{
	unsigned voters = 0;

	for (unsigned i = 0; i < raft->configuration.n; i++)
		voters += raft->configuration.servers[i].role == RAFT_VOTER;
	return voters;
}

static const struct raft_server *find_server(const struct raft *raft, raft_id id)
{
	for (unsigned i = 0; i < raft->configuration.n; i++)
		if (raft->configuration.servers[i].id == id)
			return &raft->configuration.servers[i];
	return NULL;
}

/* Add, promote, demote or remove the drawn node, keeping at least three voters. */
static int change_member(struct sim *sim, struct sim_node *leader, struct raft_change *change,
			 struct sim_node *node)
{
	struct raft *raft = leader->raft;
	const struct raft_server *server = find_server(raft, node->number);

	if (server == NULL && node->state == NODE_ABSENT)
		sim_node_boot(node, false);
	if (server == NULL)
		return raft_add(raft, change, node->number, node->address, on_changed);
	if (server->role == RAFT_SPARE)
		return raft_assign(raft, change, server->id, RAFT_STANDBY, on_changed);
	if (server->role == RAFT_STANDBY && sim_chance(sim, 700))
		return raft_assign(raft, change, server->id, RAFT_VOTER, on_changed);
	if (server->role == RAFT_STANDBY)
		return raft_remove(raft, change, server->id, on_changed);
	if (count_voters(raft) <= 3)
		return RAFT_CANTCHANGE;
	return raft_assign(raft, change, server->id, RAFT_STANDBY, on_changed);
}

static bool change_members(struct sim_node *leader)
{
	struct sim *sim = leader->sim;
	struct sim_node *node = &sim->nodes[sim_between(sim, 1, sim->node_count)];

	if (sim_chance(sim, 500))
		node = &sim->nodes[sim->node_count];
	struct raft_change *change = memory_zeroed(1, sizeof *change);

	change->data = leader;
	leader->change = change;
	bool struck = change_member(sim, leader, change, node) == 0;

	if (struck) {
		sim_nemesis_leader(leader);
	} else {
		leader->change = NULL;
		memory_free(change);
	}
	sim_node_after(leader);
	return struck;
}

/* ---- choosing ---- */

static bool strike(struct sim *sim, enum sim_fault fault)
{
	struct sim_node *node = victim_of(sim);

	switch (fault) {
	case FAULT_CRASH:
	case FAULT_POWER:
		return strike_crash(sim, node, fault);
	case FAULT_ISOLATE:
		return strike_isolate(sim, node);
	case FAULT_CUT:
		return strike_cut(sim, node, true);
	case FAULT_CUT_ONE:
		return strike_cut(sim, node, false);
	case FAULT_RESET:
		/* A new connection may be refused although the process lives. */
		if (sim_chance(sim, 300))
			sim_node_tell_gone(node);
		sim_network_reset(node);
		return true;
	case FAULT_DELAY:
		return strike_delay(sim, node);
	case FAULT_STALL:
		node->disk.stalled_until = sim->now + a_while(sim, 2500 * SIM_MS);
		return true;
	case FAULT_SLOW_DISK:
		node->disk.slow_until = sim->now + a_while(sim, 2 * SIM_SECOND);
		return true;
	case FAULT_PAUSE:
		return strike_pause(sim, node);
	case FAULT_TRANSFER:
	case FAULT_MEMBER:
		return begin_quiet(sim, fault);
	case FAULT_LAG:
		node->store.lag_until = sim->now + a_while(sim, 2 * SIM_SECOND);
		return true;
	case FAULT_COMMIT: /* the same (sim_store.c) */
		if (node->state != NODE_RUNNING && node->state != NODE_PULLING)
			return false;
		node->store.failing = true;
		kv_memory_disk_fail(node->store.disk, sim_between(sim, 1, 3));
		return false;
	case FAULT_WRITE: /* counted when it is met (sim_disk.c) */
		node->disk.failing = 1;
		return false;
	default:
		return false;
	}
}

/* Some come by themselves: torn states (sim_disk.c), the ends of fresh leaders. */
static unsigned weight_of(const struct sim *sim, unsigned fault)
{
	if (fault == FAULT_TORN_STATE || fault == FAULT_FRESH)
		return 0;
	return sim->profile.weight[fault];
}

static void run_nemesis(struct sim *sim, struct sim_node *nobody, void *data)
{
	uint64_t interval = sim->profile.nemesis_interval;
	unsigned sum = 0, drawn;

	(void)nobody;
	(void)data;
	if (sim->calm)
		return;
	sim_after(sim, sim_between(sim, 20 * SIM_MS, interval), "nemesis", run_nemesis, NULL, NULL);
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		sum += weight_of(sim, i);
	if (sum == 0)
		return;
	drawn = (unsigned)sim_between(sim, 0, sum - 1);
	for (unsigned i = 0; i < FAULT_COUNT; i++) {
		unsigned weight = weight_of(sim, i);

		if (drawn >= weight) {
			drawn -= weight;
			continue;
		}
		if (strike(sim, i)) {
			sim->outcome.faults[i]++;
			sim_trace(sim, "nemesis: %s", sim_fault_name(i));
		}
		return;
	}
}

void sim_nemesis_start(struct sim *sim)
{
	sim_after(sim, 3 * sim->profile.election_ms * SIM_MS, "nemesis", run_nemesis, NULL, NULL);
}

/* Snapshots so often, and so few entries kept, that nodes never catch up under load are faults, too. */
#define CALM_TRAILING  4000
#define CALM_THRESHOLD 1000

/* A majority must do: in half of the seeds, as many nodes as may be missing never come back. (Where
 * members change, nobody outside knows who may be missing.) */
static void choose_gone(struct sim *sim)
{
	if (sim->profile.weight[FAULT_MEMBER] != 0 || !sim_chance(sim, 500))
		return;
	while (sim->gone < (sim->options.nodes - 1) / 2) {
		struct sim_node *node = &sim->nodes[sim_between(sim, 1, sim->options.nodes)];

		if (node->gone)
			continue;
		node->gone = true;
		sim->gone++;
		if (node->state != NODE_DOWN)
			sim_node_crash(node, FAULT_CRASH);
	}
}

void sim_nemesis_calm(struct sim *sim)
{
	sim_trace(sim, "calm");
	choose_gone(sim);
	sim->profile.trailing = CALM_TRAILING;
	sim->profile.threshold = CALM_THRESHOLD;
	sim->profile.pull_records = LIMIT_PULL_RECORDS;
	sim->profile.pull_bytes = LIMIT_READ_BYTES;
	for (unsigned i = 1; i <= sim->node_count; i++) {
		struct sim_node *node = &sim->nodes[i];

		node->paused = false;
		node->disk.failing = 0;
		node->disk.stalled_until = node->disk.slow_until = 0;
		node->store.lag_until = 0;
		node->store.failing = false;
		if (node->store.disk != NULL)
			kv_memory_disk_fail(node->store.disk, 0);
		for (unsigned j = 1; j <= sim->node_count; j++) {
			sim->links[i][j].cuts = 0;
			sim->links[i][j].slow_until = 0;
		}
		if (node->state == NODE_RUNNING) {
			raft_set_snapshot_trailing(node->raft, CALM_TRAILING);
			raft_set_snapshot_threshold(node->raft, CALM_THRESHOLD);
		}
		if (node->state == NODE_DOWN)
			sim_node_restart_in(node, 0);
	}
}
