/*
 * The life of a node.
 *
 *            ┌──────────── crash ◄──────────────┐
 *            ▼                                  │
 *   DOWN ── boot ──► RUNNING ── restore that the store does not cover ──► CLOSING ──► PULLING
 *                       ▲                                                                │
 *                       └────────────────────────── boot ◄───────────────────────────────┘
 *
 * When no peer has what a node needs to pull, perhaps because its vote is missing for what the peers
 * hold to be committed, it boots as a witness until one has: a full member of raft, even a leader if it
 * must be, that applies nothing and takes no writes. (Were it never to lead, its own log might be the
 * only one that the others may vote for.)
 *
 * Each boot, crash and close begins a new epoch, so that events of the one before are dropped.
 */
#include "tests/sim/sim.h"

#include <string.h>

/* ---- its clock ---- */

uint64_t sim_node_time_us(const struct sim_node *node)
{
	const struct sim_clock *clock = &node->clock;

	return clock->local_us + (node->sim->now - clock->since) * clock->rate / 1000;
}

uint64_t sim_node_lasting(const struct sim_node *node, uint64_t local_us)
{
	ASSERT(node->clock.rate > 0);
	return local_us * 1000 / node->clock.rate;
}

void sim_node_set_rate(struct sim_node *node, unsigned rate)
{
	node->clock.local_us = sim_node_time_us(node);
	node->clock.since = node->sim->now;
	node->clock.rate = rate;
}

/* ---- the rest of the raft_io ---- */

static void run_tick(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	sim_after(sim, sim_node_lasting(node, node->tick_us), "tick", run_tick, node, NULL);
	if (node->paused)
		return;
	node->tick(node->io);
	sim_node_after(node);
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
	ASSERT(sim_node_of(io)->number == id);
	(void)address;
	return 0;
}

static int io_start(struct raft_io *io, unsigned tick_ms, raft_io_tick_cb tick,
		    raft_io_recv_cb receive)
{
	struct sim_node *node = sim_node_of(io);
	struct sim *sim = node->sim;

	node->tick = tick;
	node->receive = receive;
	node->tick_us = tick_ms * SIM_MS;
	sim_after(sim, node->tick_us + sim_between(sim, 0, node->tick_us), "tick", run_tick, node,
		  NULL);
	return 0;
}

static int io_recover(struct raft_io *io, const struct raft_configuration *configuration)
{
	(void)io;
	(void)configuration;
	return RAFT_IOERR;
}

static void run_closed(struct sim *sim, struct sim_node *node, void *data)
{
	(void)sim;
	(void)data;
	node->closed(node->io);
}

/* As raft_uv does: the write under way ends, everything else is canceled. */
static void io_close(struct raft_io *io, raft_io_close_cb closed)
{
	struct sim_node *node = sim_node_of(io);

	node->closed = closed;
	sim_disk_cancel(node);
	sim_network_cancel(node);
	for (unsigned i = 0; i < SIM_NODES; i++)
		if (node->gets[i] != NULL)
			node->gets[i]->done(node->gets[i]->request, NULL, RAFT_CANCELED);
	if (node->work != NULL)
		node->work->done(node->work->request, RAFT_CANCELED);
	memset(node->gets, 0, sizeof node->gets);
	node->work = NULL;
	node->epoch++;
	sim_after(node->sim, 5 * SIM_MS, "closed", run_closed, node, NULL);
}

static void run_get(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_get *get = data;
	bool there = node->disk.snapshot.index != 0;

	if (node->paused) {
		sim_after(sim, 20 * SIM_MS, "get", run_get, node, data);
		return;
	}
	for (unsigned i = 0; i < SIM_NODES; i++)
		if (node->gets[i] == get)
			node->gets[i] = NULL;
	get->done(get->request, there ? sim_snapshot_for_raft(&node->disk.snapshot) : NULL,
		  there ? 0 : RAFT_NOTFOUND);
	memory_free(get);
	sim_node_after(node);
}

static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
			   raft_io_snapshot_get_cb done)
{
	struct sim_node *node = sim_node_of(io);
	struct sim_get *get = memory_zeroed(1, sizeof *get);
	unsigned slot = 0;

	while (slot < SIM_NODES && node->gets[slot] != NULL)
		slot++;
	if (slot == SIM_NODES || node->dying)
		return RAFT_BUSY;
	get->request = request;
	get->done = done;
	node->gets[slot] = get;
	sim_after(node->sim, sim_between(node->sim, 300, 3000), "get", run_get, node, get);
	return 0;
}

static raft_time io_time(struct raft_io *io)
{
	return sim_node_time_us(sim_node_of(io)) / SIM_MS;
}

static int io_random(struct raft_io *io, int min, int max)
{
	ASSERT(min < max);
	return (int)sim_between(sim_node_of(io)->sim, (uint64_t)min, (uint64_t)max - 1);
}

/* The worker waits for the flush: here it is run once there is nothing to wait for. */
static void run_work(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_work *work = data;

	if (node->paused || !sim_store_snapshot_ready(node)) {
		sim_after(sim, 2 * SIM_MS, "work", run_work, node, data);
		return;
	}
	node->work = NULL;
	work->done(work->request, work->request->work(work->request));
	memory_free(work);
	sim_node_after(node);
}

static int io_async_work(struct raft_io *io, struct raft_io_async_work *request,
			 raft_io_async_work_cb done)
{
	struct sim_node *node = sim_node_of(io);
	struct sim_work *work = memory_zeroed(1, sizeof *work);

	ASSERT(node->work == NULL);
	work->request = request;
	work->done = done;
	node->work = work;
	sim_after(node->sim, sim_between(node->sim, 1000, 20000), "work", run_work, node, work);
	return 0;
}

static struct raft_io *make_io(struct sim_node *node)
{
	struct raft_io *io = memory_zeroed(1, sizeof *io);

	io->version = 2;
	io->impl = node;
	io->init = io_init;
	io->close = io_close;
	io->start = io_start;
	io->recover = io_recover;
	io->snapshot_get = io_snapshot_get;
	io->time = io_time;
	io->random = io_random;
	io->async_work = io_async_work;
	sim_disk_fill_io(io);
	sim_network_fill_io(io);
	return io;
}

/* ---- booting ---- */

static void on_fail(void *arg, const struct error *error)
{
	struct sim_node *node = arg;

	node->failed = true;
	node->failure = *error;
}

static void on_became_leader(void *arg, uint64_t term)
{
	struct sim_node *node = arg;

	sim_trace(node->sim, "node %u leads in term %" PRIu64, node->number, term);
	bool marker = node->sim->profile.markers || node->witness;

	if (!marker || sim_client_propose_marker(node, term))
		node->leader_term = term;
	sim_ambush_leader(node);
}

static void make_guard(struct sim_node *node)
{
	const struct sim *sim = node->sim;
	struct guard_options options = {
		.rows = sim->options.rows,
		.peer_in_flight_bytes = sim->profile.in_flight_bytes,
		.peer_in_flight_messages = 1024,
		.keeper = sim_disk_keeper(node),
		.loaded = node->disk.noted,
		.store_applied_index = node->store.applied.index,
		.arg = node,
		.became_leader = on_became_leader,
		.fail = on_fail,
		.accepts_entries = sim_store_accepts_entries,
	};

	node->guard = guard_new(node->raft, node->io, &options);
}

static void configure(struct sim_node *node)
{
	const struct sim_profile *profile = &node->sim->profile;

	raft_set_pre_vote(node->raft, true);
	raft_set_election_timeout(node->raft, profile->election_ms);
	raft_set_heartbeat_timeout(node->raft, profile->heartbeat_ms);
	raft_set_install_snapshot_timeout(node->raft, profile->install_ms);
	raft_set_snapshot_threshold(node->raft, profile->threshold);
	raft_set_snapshot_trailing(node->raft, profile->trailing);
}

/* The initial nodes agree on who they are; the one that may be added knows nobody. */
static void bootstrap(struct sim_node *node)
{
	const struct sim *sim = node->sim;
	struct raft_configuration configuration;
	int status = 0;

	if (node->disk.formed || node->number > sim->options.nodes)
		return;
	node->disk.formed = true;
	raft_configuration_init(&configuration);
	for (unsigned i = 1; i <= sim->options.nodes; i++)
		status |= raft_configuration_add(&configuration, i, sim->nodes[i].address,
						 RAFT_VOTER);
	status |= raft_bootstrap(node->raft, &configuration);
	ASSERT(status == 0);
	raft_configuration_close(&configuration);
}

void sim_node_boot(struct sim_node *node, bool witness)
{
	struct sim *sim = node->sim;

	ASSERT(node->state != NODE_RUNNING && node->state != NODE_CLOSING);
	node->epoch++;
	if (node->state != NODE_PULLING && !sim_store_open(node)) {
		node->state = NODE_DOWN;
		sim_members_lost(node);
		return;
	}
	node->state = NODE_RUNNING;
	node->paused = node->dying = node->failed = false;
	node->leader_term = 0;
	node->intake_stopped = false;
	node->witness = witness;
	node->work = NULL;
	sim_network_boot(node);
	node->change = NULL;
	node->seen_commit = 0;
	memset(node->gets, 0, sizeof node->gets);
	sim_disk_reset(node);
	sim_store_reset(node);
	node->raft = memory_zeroed(1, sizeof *node->raft);
	node->io = make_io(node);
	make_guard(node);
	struct fsm_downstream downstream = sim_store_downstream(node);

	node->fsm = fsm_new(node->raft, &downstream);
	fsm_set_guard(node->fsm, node->guard);
	int status = raft_init(node->raft, guard_io(node->guard), fsm_raft(node->fsm), node->number,
			       node->address);

	ASSERT(status == 0);
	configure(node);
	bootstrap(node);
	int started = raft_start(node->raft);

	if (node->damaged)
		sim_damage_started(node, started);
	else if (started != 0 && node->disk.full_until > sim->now)
		on_fail(node, &(struct error){"its disk is full"});
	else if (started != 0 && !node->dying && !node->failed)
		sim_violation(sim, "node %u does not start: %s", node->number,
			      raft_errmsg(node->raft));
	sim_trace(sim, "node %u boots: term %llu, last index %llu, applied %" PRIu64, node->number,
		  node->raft->current_term, raft_last_index(node->raft), node->store.applied.index);
	sim_node_after(node);
	if (witness && node->state == NODE_RUNNING)
		sim_pull_witness(node);
}

/* ---- what the others hear of an end ---- */

static void run_campaign(struct sim *sim, struct sim_node *node, void *data)
{
	int after_ms = -1;

	(void)data;
	if (node->state != NODE_RUNNING)
		return;
	if (node->paused) {
		sim_after(sim, 20 * SIM_MS, "campaign", run_campaign, node, NULL);
		return;
	}
	after_ms = guard_campaign(node->guard);
	sim_trace(sim, "node %u campaigns: term %llu, again in %d ms", node->number,
		  node->raft->current_term, after_ms);
	sim_node_after(node);
	if (after_ms >= 0)
		sim_after(sim, sim_node_lasting(node, (uint64_t)after_ms * SIM_MS), "campaign",
			  run_campaign, node, NULL);
}

static void run_gone(struct sim *sim, struct sim_node *node, void *data)
{
	const struct sim_node *other = data;
	bool cut = sim->links[other->number][node->number].cuts > 0 ||
		   sim->links[node->number][other->number].cuts > 0;
	int after_ms = -1;

	if (node->state != NODE_RUNNING || cut)
		return;
	if (node->paused) {
		sim_after(sim, 20 * SIM_MS, "gone", run_gone, node, data);
		return;
	}
	after_ms = guard_peer_gone(node->guard, other->number);
	sim_trace(sim, "node %u hears that node %u is gone: campaigns in %d ms", node->number,
		  other->number, after_ms);
	sim_node_after(node);
	if (after_ms >= 0)
		sim_after(sim, sim_node_lasting(node, (uint64_t)after_ms * SIM_MS), "campaign",
			  run_campaign, node, NULL);
}

/* What was under way comes first; then the connection ends, and a new one is refused: two ways. */
void sim_node_tell_gone(struct sim_node *node)
{
	struct sim *sim = node->sim;
	const struct sim_profile *profile = &sim->profile;

	for (unsigned i = 1; i <= sim->node_count; i++) {
		uint64_t delay = 2 * sim_between(sim, profile->latency_min, profile->latency_max);
		uint64_t arrived = sim->links[node->number][i].last_arrival;

		if (i != node->number && sim->nodes[i].state == NODE_RUNNING)
			sim_at(sim, (arrived > sim->now ? arrived : sim->now) + delay, "gone",
			       run_gone, &sim->nodes[i], node);
	}
}

/* ---- ending ---- */

static void add_counters(struct sim_node *node)
{
	struct guard_counters *sum = &node->sim->outcome.guard;
	struct guard_counters one;

	guard_get_counters(node->guard, &one);
	sum->clamped += one.clamped;
	sum->dropped += one.dropped;
	sum->barriers += one.barriers;
	sum->held_results += one.held_results;
	sum->held_appends += one.held_appends;
	sum->trimmed += one.trimmed;
	sum->jumped += one.jumped;
	sum->votes_raised += one.votes_raised;
	sum->flow_refused += one.flow_refused;
	sum->stripped += one.stripped;
	sum->leaders_gone += one.leaders_gone;
	sum->resigned += one.resigned;
	sum->commits_told += one.commits_told;
	sum->votes_lent += one.votes_lent;
	sum->committed_told += one.committed_told;
}

static void run_restart(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	if (node->state != NODE_DOWN || node->gone || node->lost)
		return;
	sim->outcome.restarts++;
	sim_node_boot(node, false);
}

void sim_node_restart_in(struct sim_node *node, uint64_t delay)
{
	ASSERT(node->state == NODE_DOWN);
	sim_after(node->sim, delay, "restart", run_restart, node, NULL);
}

void sim_node_crash(struct sim_node *node, enum sim_fault fault)
{
	struct sim *sim = node->sim;

	ASSERT(node->state != NODE_ABSENT && node->state != NODE_DOWN);
	sim->outcome.faults[fault]++;
	sim_trace(sim, "node %u ends by %s", node->number, sim_fault_name(fault));
	if (node->state == NODE_RUNNING) {
		add_counters(node);
		sim_disk_crash(node, fault == FAULT_POWER);
	}
	/* A machine without power says nothing. */
	if (fault != FAULT_POWER)
		sim_node_tell_gone(node);
	sim_network_reset(node, false);
	sim_client_forget(node);
	node->state = NODE_DOWN;
	node->epoch++;
	node->paused = false;
	node->dying = false;
}

void sim_node_stop(struct sim_node *node)
{
	struct sim *sim = node->sim;

	sim_trace(sim, "node %u stops itself: %s", node->number, node->failure.message);
	sim->outcome.stops++;
	sim_node_crash(node, FAULT_CRASH);
	if (node->damaged && node->damage.met)
		sim_members_lost(node);
	else
		sim_node_restart_in(node, sim_between(sim, 50 * SIM_MS, 500 * SIM_MS));
}

static void on_raft_closed(struct raft *raft)
{
	struct sim_node *node = raft->data;

	ASSERT(node->state == NODE_CLOSING);
	guard_free(node->guard);
	fsm_free(node->fsm);
	memory_free(node->raft);
	node->guard = NULL;
	node->fsm = NULL;
	node->raft = NULL;
	node->state = NODE_PULLING;
	sim_pull_begin(node);
}

void sim_node_close(struct sim_node *node)
{
	sim_trace(node->sim, "node %u closes raft to pull up to %" PRIu64, node->number,
		  node->store.pull.asked.applied_index);
	add_counters(node);
	node->state = NODE_CLOSING;
	node->raft->data = node;
	sim_client_forget(node);
	sim_node_tell_gone(node);
	sim_network_reset(node, true);
	raft_close(node->raft, on_raft_closed);
}

void sim_node_after(struct sim_node *node)
{
	struct sim *sim = node->sim;

	if (node->state != NODE_RUNNING)
		return;
	if (node->dying) {
		sim_node_crash(node, FAULT_TORN_STATE);
		sim_node_restart_in(node, sim_between(sim, 50 * SIM_MS, 500 * SIM_MS));
		return;
	}
	if (node->failed) {
		sim_node_stop(node);
		return;
	}
	sim_check_node(node);
	if (node->raft->state == RAFT_CANDIDATE && !node->raft->candidate_state.in_pre_vote)
		sim_ambush_candidate(node);
	if (!sim_node_leads(node) && !barrier_is_idle(&node->barrier))
		barrier_drop(&node->barrier);
	if (node->store.pull.wanted && !node->witness)
		sim_node_close(node);
	else if (sim->profile.tells_commit)
		guard_tell_commit(node->guard);
}

bool sim_node_is_up(const struct sim_node *node)
{
	return node->state == NODE_RUNNING;
}

bool sim_node_leads(const struct sim_node *node)
{
	return node->state == NODE_RUNNING && !node->paused && !node->dying &&
	       node->raft->state == RAFT_LEADER && node->leader_term == node->raft->current_term;
}

struct sim_node *sim_leader(struct sim *sim)
{
	for (unsigned i = 1; i <= sim->node_count; i++)
		if (sim_node_leads(&sim->nodes[i]))
			return &sim->nodes[i];
	return NULL;
}
