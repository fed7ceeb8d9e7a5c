/* What each seed draws: how fast things are, and which faults come how often. Many kinds of clusters are
 * better than one: some defects need slow disks, others fast ones. */
#include "tests/sim/sim.h"

static uint64_t pick(struct sim *sim, const uint64_t *values, size_t count)
{
	return values[sim_between(sim, 0, count - 1)];
}
#define TAIL_OF_THREE 400 /* bytes: of three small records */
#define PICK(sim, ...)                                                                             \
	pick(sim, (const uint64_t[]){__VA_ARGS__},                                                 \
	     sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void draw_speeds(struct sim *sim, struct sim_profile *profile)
{
	profile->latency_min = PICK(sim, 50, 200, 1000);
	profile->latency_max = profile->latency_min + PICK(sim, 200, 3000, 15000);
	profile->disk_min = PICK(sim, 50, 300, 2000);
	profile->disk_max = profile->disk_min + PICK(sim, 200, 4000, 20000);
	profile->apply_max = PICK(sim, 50, 500, 5000);
	profile->client_interval = PICK(sim, 2000, 4000, 4000, 10000);
	profile->payload_max = (unsigned)PICK(sim, 64, 64, 1024, 4096);
	/* Small writes never overload a cluster: whatever waits, waits for another reason. */
	profile->uncommitted_max = profile->payload_max == 64 ? SIM_INDEXES : 400;
}

static void draw_raft(struct sim *sim, struct sim_profile *profile)
{
	profile->heartbeat_ms = (unsigned)PICK(sim, 50, 100);
	profile->election_ms = profile->heartbeat_ms * (unsigned)PICK(sim, 6, 10);
	profile->install_ms = (unsigned)PICK(sim, 1000, 3000);
	profile->threshold = (unsigned)PICK(sim, 20, 100, 1000);
	profile->trailing = (unsigned)PICK(sim, 1, 10, 100, 1000);
	/* The guard must be enough without them, too. */
	profile->markers = sim_chance(sim, 500);
	profile->in_flight_bytes = PICK(sim, 32 * 1024, 256 * 1024);
	/* With little room in sockets, messages and what they refer to last long. */
	profile->socket_bytes = sim->options.seed % 3 == 0 ? 1 * KIB : 64 * KIB;
	profile->tells_commit = sim->options.seed % 4 >= 2;
}

/* Settings of the store, as small as they may be in some seeds. */
static void draw_store(struct sim *sim, struct sim_profile *profile)
{
	profile->tail_bytes_max = PICK(sim, TAIL_OF_THREE, 16 * KIB, 64 * KIB, MIB);
	profile->pull_records = (uint32_t)PICK(sim, 1, 3, 50, LIMIT_PULL_RECORDS);
	profile->pull_bytes = PICK(sim, 400, 16 * KIB, LIMIT_READ_BYTES);
	profile->trim_chance = (unsigned)PICK(sim, 0, 50, 500);
	profile->flush_chance = (unsigned)PICK(sim, 1, 20, 200);
}

static void draw_limits(struct sim *sim, struct sim_profile *profile)
{
	uint64_t *seen = sim->outcome.seen;

	profile->single = sim_chance(sim, 150);
	profile->single_frames = sim_chance(sim, 100);
	profile->segment_entries = (unsigned)PICK(sim, 1, 16, 256);
	seen[SEEN_LIMIT_TAIL] += profile->tail_bytes_max == TAIL_OF_THREE;
	seen[SEEN_LIMIT_BATCH] += profile->single;
	seen[SEEN_LIMIT_FRAME] += profile->single_frames;
	seen[SEEN_LIMIT_SEGMENT] += profile->segment_entries == 1;
	seen[SEEN_LIMIT_LOG] += profile->trailing == 1;
	seen[SEEN_LIMIT_PAGE] += profile->pull_records == 1;
}

/* Each fault is left out by some seeds, so that what it hides is seen too. */
static void draw_faults(struct sim *sim, struct sim_profile *profile)
{
	static const unsigned usual[FAULT_COUNT] = {
		[FAULT_CRASH] = 120,    [FAULT_POWER] = 120,    [FAULT_TORN_STATE] = 10,
		[FAULT_FRESH] = 500,    [FAULT_ISOLATE] = 120,  [FAULT_CUT] = 60,
		[FAULT_CUT_ONE] = 60,   [FAULT_RESET] = 60,     [FAULT_DELAY] = 60,
		[FAULT_STALL] = 100,    [FAULT_SLOW_DISK] = 40, [FAULT_PAUSE] = 60,
		[FAULT_TRANSFER] = 60,  [FAULT_WRITE] = 20,     [FAULT_LAG] = 40,
		[FAULT_MEMBER] = 60,    [FAULT_COMMIT] = 30,    [FAULT_RING] = 40,
		[FAULT_FULL] = 20,      [FAULT_LOW] = 20,       [FAULT_JUMP] = 30,
		[FAULT_RATE] = 40,      [FAULT_LOST] = 8,       [FAULT_FLIP_LOG] = 8,
		[FAULT_FLIP_STATE] = 8, [FAULT_FLIP_STORE] = 8, [FAULT_ALL] = 15,
		[FAULT_CHANGE] = 400,   [FAULT_LONELY] = 300,
	};

	profile->nemesis_interval = PICK(sim, 200, 450, 900) * SIM_MS;
	for (unsigned i = 0; i < FAULT_COUNT; i++)
		profile->weight[i] = sim_chance(sim, 700) ? usual[i] : 0;
}

void sim_profile_draw(struct sim *sim)
{
	draw_speeds(sim, &sim->profile);
	draw_raft(sim, &sim->profile);
	draw_store(sim, &sim->profile);
	draw_limits(sim, &sim->profile);
	draw_faults(sim, &sim->profile);
}
