/*
 * What only a leader can do, once its log is quiet: handing over, and changes of members. Some come from
 * the nemesis, which adds, promotes, demotes and removes as it likes. Others are those of an operator
 * who replaces a member that will never come back: a new node under a new id is added and becomes a
 * standby and a voter, and the lost member is removed, before that or after it.
 */
#include "tests/sim/sim.h"

#define QUIET_POLLS 60 /* 5 ms apart */
#define VOTERS_MIN  3

struct quiet {
	unsigned polls;
	enum sim_fault fault;
};

typedef bool (*leader_act)(struct sim_node *leader);

static bool transfer(struct sim_node *leader);
static bool change_members(struct sim_node *leader);
static bool replace(struct sim_node *leader);

static leader_act act_of(enum sim_fault fault)
{
	return fault == FAULT_TRANSFER ? transfer : fault == FAULT_LOST ? replace : change_members;
}

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
	if (leads && guard_is_quiet(leader->guard) && act_of(quiet->fault)(leader)) {
		sim_trace(sim, "node %u as leader: %s", leader->number,
			  quiet->fault == FAULT_LOST ? "a step of replacing"
						     : sim_fault_name(quiet->fault));
		if (quiet->fault != FAULT_LOST)
			sim->outcome.faults[quiet->fault]++;
	}
	memory_free(quiet);
}

bool sim_members_begin(struct sim *sim, enum sim_fault fault)
{
	struct sim_node *leader = sim_leader(sim);

	if (leader == NULL || leader->intake_stopped)
		return false;
	struct quiet *quiet = memory_alloc(sizeof *quiet);

	*quiet = (struct quiet){QUIET_POLLS, fault};
	leader->intake_stopped = true;
	sim_after(sim, 5 * SIM_MS, "quiet", run_quiet, leader, quiet);
	return true;
}

static bool transfer(struct sim_node *leader)
{
	bool struck = raft_transfer(leader->raft, &leader->transfer, 0, NULL) == 0;

	sim_node_after(leader);
	return struck;
}

/* ---- changes ---- */

static void on_changed(struct raft_change *change, int status)
{
	struct sim_node *node = change->data;

	if (status == 0)
		node->sim->outcome.member_changes++;
	if (node->change == change)
		node->change = NULL;
	memory_free(change);
}

unsigned sim_members_voters(const struct raft *raft)
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

typedef int (*leader_change)(struct sim_node *leader, struct raft_change *change,
			     struct sim_node *node);

static bool change(struct sim_node *leader, struct sim_node *node, leader_change make)
{
	struct raft_change *request = memory_zeroed(1, sizeof *request);

	request->data = leader;
	leader->change = request;
	sim_ambush_change(leader, node);
	bool struck = make(leader, request, node) == 0;

	if (struck) {
		sim_ambush_leader(leader);
	} else {
		leader->change = NULL;
		memory_free(request);
	}
	sim_node_after(leader);
	return struck;
}

/* Add, promote, demote or remove, keeping at least three voters. */
static int change_at_will(struct sim_node *leader, struct raft_change *request,
			  struct sim_node *node)
{
	struct sim *sim = leader->sim;
	struct raft *raft = leader->raft;
	const struct raft_server *server = find_server(raft, node->number);

	if (server == NULL && node->state == NODE_ABSENT)
		sim_node_boot(node, false);
	if (server == NULL)
		return raft_add(raft, request, node->number, node->address, on_changed);
	if (server->role == RAFT_SPARE)
		return raft_assign(raft, request, server->id, RAFT_STANDBY, on_changed);
	if (server->role == RAFT_STANDBY && sim_chance(sim, 700))
		return raft_assign(raft, request, server->id, RAFT_VOTER, on_changed);
	if (server->role == RAFT_STANDBY)
		return raft_remove(raft, request, server->id, on_changed);
	if (sim_members_voters(raft) <= VOTERS_MIN)
		return RAFT_CANTCHANGE;
	return raft_assign(raft, request, server->id, RAFT_STANDBY, on_changed);
}

/* Mostly one that is on its way to become a voter: that takes three changes. */
static struct sim_node *draw_member(const struct sim_node *leader)
{
	struct sim *sim = leader->sim;
	const struct raft_configuration *configuration = &leader->raft->configuration;
	unsigned number = (unsigned)sim_between(sim, 1, sim->node_count);

	if (sim_chance(sim, 500))
		number = sim->options.nodes + 1;
	for (unsigned i = 0; i < configuration->n; i++)
		if (configuration->servers[i].role != RAFT_VOTER && sim_chance(sim, 700))
			number = (unsigned)configuration->servers[i].id;
	return &sim->nodes[number];
}

static bool change_members(struct sim_node *leader)
{
	struct sim *sim = leader->sim;
	struct sim_node *node = draw_member(leader);

	/* An operator looks after those. */
	if (node->lost || (sim->lost != NULL && node->number == sim->node_count))
		return false;
	return change(leader, node, change_at_will);
}

/* ---- replacing ---- */

/* The next step as of the leader's members: NULL when there is none left. */
static leader_change next_step(const struct sim_node *leader, const struct sim_node *lost,
			       const struct sim_node *successor);

static int remove_lost(struct sim_node *leader, struct raft_change *request, struct sim_node *node)
{
	return raft_remove(leader->raft, request, node->sim->lost->number, on_changed);
}

static int add_new(struct sim_node *leader, struct raft_change *request, struct sim_node *node)
{
	return raft_add(leader->raft, request, node->number, node->address, on_changed);
}

static int make_standby(struct sim_node *leader, struct raft_change *request, struct sim_node *node)
{
	return raft_assign(leader->raft, request, node->number, RAFT_STANDBY, on_changed);
}

/* With the whole log only, as the replica does it. */
static int make_voter(struct sim_node *leader, struct raft_change *request, struct sim_node *node)
{
	struct raft *raft = leader->raft;

	for (unsigned i = 0; i < raft->configuration.n; i++)
		if (raft->configuration.servers[i].id == node->number &&
		    raft->leader_state.progress[i].match_index != raft_last_index(raft))
			return RAFT_CANTCHANGE;
	return raft_assign(raft, request, node->number, RAFT_VOTER, on_changed);
}

static leader_change next_step(const struct sim_node *leader, const struct sim_node *lost,
			       const struct sim_node *successor)
{
	const struct raft_server *old = find_server(leader->raft, lost->number);
	const struct raft_server *new = find_server(leader->raft, successor->number);
	bool first = (lost->number + leader->sim->options.seed) % 2 == 0;

	if (old != NULL && (first || (new != NULL &&new->role == RAFT_VOTER)))
		return remove_lost;
	if (new == NULL)
		return add_new;
	if (new->role == RAFT_SPARE)
		return make_standby;
	return new->role == RAFT_STANDBY ? make_voter : NULL;
}

static bool replace(struct sim_node *leader)
{
	struct sim *sim = leader->sim;
	struct sim_node *successor = &sim->nodes[sim->node_count];

	if (sim->lost == NULL)
		return false;
	leader_change step = next_step(leader, sim->lost, successor);

	return step != NULL && change(leader, successor, step);
}

static bool is_replaced(const struct sim *sim, const struct sim_node *leader)
{
	return leader->raft->configuration_uncommitted_index == 0 &&
	       next_step(leader, sim->lost, &sim->nodes[sim->node_count]) == NULL;
}

static void run_operator(struct sim *sim, struct sim_node *nobody, void *data)
{
	struct sim_node *leader = sim_leader(sim);

	(void)nobody;
	(void)data;
	if (leader != NULL && is_replaced(sim, leader)) {
		sim_trace(sim, "node %u is replaced by node %u", sim->lost->number,
			  sim->node_count);
		sim->outcome.replaced++;
		sim->lost = NULL;
		return;
	}
	sim_members_begin(sim, FAULT_LOST);
	sim_after(sim, sim_between(sim, 50 * SIM_MS, 300 * SIM_MS), "operator", run_operator, NULL,
		  NULL);
}

bool sim_members_may_lose(const struct sim *sim, const struct sim_node *node)
{
	return sim->lost == NULL && sim->losses < SIM_REPLACEMENTS && !node->lost &&
	       (sim->damaged == NULL || sim->damaged == node) && node->state != NODE_ABSENT &&
	       node->number <= sim->node_count;
}

void sim_members_lost(struct sim_node *node)
{
	struct sim *sim = node->sim;

	ASSERT(node->state == NODE_DOWN && sim_members_may_lose(sim, node));
	node->lost = true;
	if (sim->damaged == node)
		sim->damaged = NULL;
	sim->losses++;
	sim->lost = node;
	struct sim_node *successor = &sim->nodes[++sim->node_count];

	sim_trace(sim, "node %u is lost, node %u is to replace it", node->number,
		  successor->number);
	/* In the calm it can only have met damage, and may have led: then another one leads, as after a crash. */
	if (sim->calm)
		sim_check_answers_from(sim, sim->now + 2 * sim->profile.election_ms * SIM_MS);
	sim_node_boot(successor, false);
	sim_after(sim, sim_between(sim, 50 * SIM_MS, SIM_SECOND), "operator", run_operator, NULL,
		  NULL);
}
