/* The nemesis: what goes wrong, when and where. It prefers the leader. Each fault ends by itself; in the
 * calm at the end everything is healed at once. */
#include "tests/sim/sim.h"

const char *sim_fault_name(enum sim_fault fault)
{
	static const char *const names[FAULT_COUNT] = {
		[FAULT_CRASH] = "crash",
		[FAULT_POWER] = "power cut",
		[FAULT_TORN_STATE] = "torn state",
		[FAULT_FRESH] = "fresh leader",
		[FAULT_ISOLATE] = "isolated node",
		[FAULT_CUT] = "cut pair",
		[FAULT_CUT_ONE] = "cut direction",
		[FAULT_RESET] = "reset",
		[FAULT_DELAY] = "slow links",
		[FAULT_STALL] = "stalled disk",
		[FAULT_SLOW_DISK] = "slow disk",
		[FAULT_PAUSE] = "paused node",
		[FAULT_TRANSFER] = "transfer",
		[FAULT_WRITE] = "failed write",
		[FAULT_LAG] = "lagging store",
		[FAULT_MEMBER] = "member change",
		[FAULT_COMMIT] = "failed commit",
		[FAULT_RING] = "ring partition",
		[FAULT_FULL] = "full disk",
		[FAULT_LOW] = "nearly full disk",
		[FAULT_JUMP] = "clock jump",
		[FAULT_RATE] = "clock rate",
		[FAULT_LATE] = "late message",
		[FAULT_LOST] = "lost disk",
		[FAULT_FLIP_LOG] = "damaged log",
		[FAULT_FLIP_STATE] = "damaged state",
		[FAULT_FLIP_STORE] = "damaged table",
		[FAULT_ALL] = "crash of all",
		[FAULT_CHANGE] = "cut change",
		[FAULT_LONELY] = "lonely candidate",
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
	while (sim->nodes[number].lost)
		number = number % sim->node_count + 1;
	return &sim->nodes[number];
}

uint64_t sim_nemesis_while(struct sim *sim, uint64_t longest)
{
	return sim_between(sim, 20 * SIM_MS, sim_chance(sim, 700) ? longest / 6 : longest);
}

/* ---- nodes ---- */

bool sim_nemesis_crash(struct sim_node *node, enum sim_fault fault)
{
	struct sim *sim = node->sim;
	unsigned down = 0;

	for (unsigned i = 1; i <= sim->node_count; i++)
		down += sim->nodes[i].state == NODE_DOWN;
	/* One that is lost counts for as long as it is a member. */
	down -= sim->losses - (sim->lost != NULL);
	if (node->state == NODE_DOWN || node->state == NODE_ABSENT ||
	    (down > sim->options.nodes / 2 && !sim_chance(sim, 125)))
		return false;
	sim_node_crash(node, fault);
	sim->outcome.faults[fault]--; /* counted by the caller */
	sim_node_restart_in(node, sim_nemesis_while(sim, 3 * SIM_SECOND));
	return true;
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
	sim_after(sim, sim_nemesis_while(sim, 3 * SIM_SECOND), "resume", run_resume, node, NULL);
	return true;
}

/* As when a room loses its power, or a program is upgraded carelessly: all that they know is on their disks. */
static bool strike_all(struct sim *sim)
{
	enum sim_fault fault = sim_chance(sim, 500) ? FAULT_CRASH : FAULT_POWER;
	unsigned struck = 0;

	for (unsigned i = 1; i <= sim->node_count; i++) {
		struct sim_node *node = &sim->nodes[i];

		if (node->state == NODE_DOWN || node->state == NODE_ABSENT)
			continue;
		sim_node_crash(node, fault);
		sim_node_restart_in(node, sim_nemesis_while(sim, 500 * SIM_MS));
		struck++;
	}
	return struck > 1;
}

/* ---- links ---- */

static uint64_t until(struct sim *sim, uint64_t longest)
{
	return sim->now + sim_nemesis_while(sim, longest);
}

static bool strike_cut(struct sim *sim, const struct sim_node *node, bool both)
{
	unsigned other = (unsigned)sim_between(sim, 1, sim->node_count), number = node->number;
	uint64_t end = until(sim, 3 * SIM_SECOND);

	if (other == number)
		return false;
	if (both || sim_chance(sim, 500))
		sim_cut_pair(sim, number, other, both, end);
	else
		sim_cut_pair(sim, other, number, false, end);
	return true;
}

static bool strike_delay(struct sim *sim, const struct sim_node *node)
{
	uint64_t end = until(sim, 2 * SIM_SECOND);

	for (unsigned i = 1; i <= sim->node_count; i++) {
		sim->links[node->number][i].slow_until = end;
		sim->links[i][node->number].slow_until = end;
	}
	return true;
}

/* ---- disks and clocks ---- */

static void run_room(struct sim *sim, struct sim_node *nobody, void *data)
{
	struct sim_node *node = data;

	(void)nobody;
	if (node->store.disk != NULL && node->disk.full_until <= sim->now)
		kv_memory_disk_fill(node->store.disk, false);
}

/* What is free is looked up once a second: the disk may be full before that. */
static bool strike_space(struct sim *sim, struct sim_node *node, bool full)
{
	struct sim_disk *disk = &node->disk;

	disk->low_until = until(sim, 3 * SIM_SECOND);
	disk->low_from = sim->now;
	if (!full)
		return true;
	disk->low_from += sim_chance(sim, 300) ? 0 : sim_between(sim, 0, SIM_SECOND);
	disk->full_until = disk->low_until;
	if (node->store.disk != NULL)
		kv_memory_disk_fill(node->store.disk, true);
	sim_at(sim, disk->full_until, "room", run_room, NULL, node);
	return false; /* counted when a write meets it */
}

/* Mostly by little, as a time service does it; now and then by years, as a wrong setting does. */
static bool strike_jump(struct sim *sim, struct sim_node *node)
{
	bool far = sim_chance(sim, 50);
	uint64_t most = far ? UINT64_C(600000000) * SIM_SECOND : 3 * SIM_SECOND;
	int64_t by = (int64_t)(sim_between(sim, 0, most) * 1000);

	node->clock.wall_ns = sim_chance(sim, 600) ? -by : by;
	return true;
}

static void run_good_rate(struct sim *sim, struct sim_node *nobody, void *data)
{
	(void)sim;
	(void)nobody;
	sim_node_set_rate(data, 1000);
}

static bool strike_rate(struct sim *sim, struct sim_node *node)
{
	sim_node_set_rate(node, (unsigned)sim_between(sim, 700, 1300));
	sim_at(sim, until(sim, 5 * SIM_SECOND), "rate", run_good_rate, NULL, node);
	return true;
}

/* ---- what a disk loses ---- */

static bool strike_lost(struct sim *sim, struct sim_node *node)
{
	if (!sim_members_may_lose(sim, node))
		return false;
	if (node->state != NODE_DOWN && !sim_nemesis_crash(node, FAULT_POWER))
		return false;
	sim_members_lost(node);
	return true;
}

/* Its process has ended before, and said how far the log goes. */
static bool strike_flip(struct sim *sim, struct sim_node *node, enum sim_fault fault)
{
	if (!sim_members_may_lose(sim, node) || node->damaged ||
	    !sim_nemesis_crash(node, FAULT_CRASH))
		return false;
	return sim_damage_flip(node, fault);
}

/* ---- choosing ---- */

static bool strike_store(struct sim *sim, struct sim_node *node)
{
	if (node->state != NODE_RUNNING && node->state != NODE_PULLING)
		return false;
	node->store.failing = true;
	kv_memory_disk_fail(node->store.disk, sim_between(sim, 1, 3));
	return false; /* counted when it is met (sim_store.c) */
}

static bool strike_disk(struct sim *sim, struct sim_node *node, enum sim_fault fault)
{
	switch (fault) {
	case FAULT_STALL:
		node->disk.stalled_until = until(sim, 2500 * SIM_MS);
		return true;
	case FAULT_SLOW_DISK:
		node->disk.slow_until = until(sim, 2 * SIM_SECOND);
		return true;
	case FAULT_LAG:
		node->store.lag_until = until(sim, 2 * SIM_SECOND);
		return true;
	case FAULT_COMMIT:
		return strike_store(sim, node);
	case FAULT_FULL:
	case FAULT_LOW:
		return strike_space(sim, node, fault == FAULT_FULL);
	case FAULT_WRITE: /* counted when it is met (sim_disk.c) */
		node->disk.failing = 1;
		return false;
	case FAULT_LOST:
		return strike_lost(sim, node);
	case FAULT_FLIP_LOG:
	case FAULT_FLIP_STATE:
	case FAULT_FLIP_STORE:
		return strike_flip(sim, node, fault);
	default:
		return false;
	}
}

static bool strike(struct sim *sim, struct sim_node *node, enum sim_fault fault)
{
	switch (fault) {
	case FAULT_CRASH:
	case FAULT_POWER:
		return sim_nemesis_crash(node, fault);
	case FAULT_ALL:
		return strike_all(sim);
	case FAULT_ISOLATE:
		sim_cut_isolate(sim, node, until(sim, 3 * SIM_SECOND));
		return true;
	case FAULT_RING:
		sim_cut_ring(sim, until(sim, 3 * SIM_SECOND));
		return true;
	case FAULT_CUT:
	case FAULT_CUT_ONE:
		return strike_cut(sim, node, fault == FAULT_CUT);
	case FAULT_RESET:
		/* A new connection may be refused although the process lives. */
		if (sim_chance(sim, 300))
			sim_node_tell_gone(node);
		sim_network_reset(node, false);
		return true;
	case FAULT_DELAY:
		return strike_delay(sim, node);
	case FAULT_PAUSE:
		return strike_pause(sim, node);
	case FAULT_JUMP:
		return strike_jump(sim, node);
	case FAULT_RATE:
		return strike_rate(sim, node);
	case FAULT_TRANSFER:
	case FAULT_MEMBER:
		sim_members_begin(sim, fault);
		return false; /* counted when it strikes */
	default:
		return strike_disk(sim, node, fault);
	}
}

bool sim_fault_is_delayed(enum sim_fault fault)
{
	return fault == FAULT_TORN_STATE || fault == FAULT_FRESH || fault == FAULT_TRANSFER ||
	       fault == FAULT_MEMBER || fault == FAULT_COMMIT || fault == FAULT_WRITE ||
	       fault == FAULT_FULL || fault == FAULT_CHANGE || fault == FAULT_LONELY;
}

/* Some come by themselves: torn states (sim_disk.c), late messages, ambushes (sim_ambush.c). */
static unsigned weight_of(const struct sim *sim, unsigned fault)
{
	if (fault == FAULT_TORN_STATE || fault == FAULT_FRESH || fault == FAULT_LATE ||
	    fault == FAULT_CHANGE || fault == FAULT_LONELY)
		return 0;
	return sim->profile.weight[fault];
}

bool sim_nemesis_may(const struct sim *sim, enum sim_fault fault)
{
	return (sim->options.kinds & UINT64_C(1) << fault) != 0;
}

static enum sim_fault draw_fault(struct sim *sim)
{
	unsigned sum = 0, drawn, fault = 0;

	for (unsigned i = 0; i < FAULT_COUNT; i++)
		sum += weight_of(sim, i);
	if (sum == 0)
		return FAULT_COUNT;
	drawn = (unsigned)sim_between(sim, 0, sum - 1);
	while (drawn >= weight_of(sim, fault))
		drawn -= weight_of(sim, fault++);
	return fault;
}

static void strike_one(struct sim *sim)
{
	enum sim_fault fault = draw_fault(sim);
	struct sim_node *node = victim_of(sim);

	if (fault == FAULT_COUNT || !sim_nemesis_may(sim, fault) ||
	    !sim_strike_chosen(&sim->options, sim->outcome.strikes))
		return;
	bool struck = strike(sim, node, fault);

	sim->outcome.faults[fault] += struck;
	sim_trace(sim, "nemesis, strike %" PRIu64 ": %s, node %u%s", sim->outcome.strikes,
		  sim_fault_name(fault), node->number, struck ? "" : ", or later");
}

/* The chance of each strike is its own, so that one that is left out changes no other (sim_shrink.c). */
static void run_nemesis(struct sim *sim, struct sim_node *nobody, void *data)
{
	uint64_t random = sim->random;

	(void)nobody;
	(void)data;
	if (sim->calm)
		return;
	sim->outcome.strikes++;
	sim->random = sim->options.seed * 7919 + sim->options.nodes + (sim->outcome.strikes << 40);
	sim_after(sim, sim_between(sim, 20 * SIM_MS, sim->profile.nemesis_interval), "nemesis",
		  run_nemesis, NULL, NULL);
	strike_one(sim);
	sim->random = random;
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
	if (sim->profile.weight[FAULT_MEMBER] != 0 || sim->losses > 0 || sim->damaged != NULL ||
	    !sim_chance(sim, 500))
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
	sim->losses_at_calm = sim->losses;
	choose_gone(sim);
	sim->profile.single_frames = sim->profile.single = false;
	sim->profile.trailing = CALM_TRAILING;
	sim->profile.threshold = CALM_THRESHOLD;
	sim->profile.pull_records = LIMIT_PULL_RECORDS;
	sim->profile.pull_bytes = LIMIT_READ_BYTES;
	for (unsigned i = 1; i <= sim->node_count; i++) {
		struct sim_node *node = &sim->nodes[i];

		node->paused = false;
		node->disk.failing = 0;
		node->disk.stalled_until = node->disk.slow_until = 0;
		node->disk.full_until = node->disk.low_until = 0;
		sim_node_set_rate(node, 1000);
		node->store.lag_until = 0;
		node->store.failing = false;
		if (node->store.disk != NULL)
			kv_memory_disk_calm(node->store.disk);
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
