/*
 * Bits that flip while a node is down, and what must come of it: the node refuses to start, or stops
 * when it meets the damage, or never needs what was hit. In no case may it serve, decide or vote by
 * something that is not what was written. What is found is lost, and the member is replaced.
 *
 * raft_uv has checksums of its own on closed segments and on snapshots. In an open segment a flipped bit
 * looks like a torn write, and cuts off all that is behind it; its metadata has no checksum at all. So a
 * payload whose bit flips stands for what slips past raft_uv's checksum, and a log that is cut
 * for what it does by itself.
 */
#include "base/bytes.h"
#include "tests/sim/sim.h"

#include <string.h>

static void flip(struct sim *sim, void *data, size_t size)
{
	uint8_t *bytes = data;

	ASSERT(size > 0);
	bytes[sim_between(sim, 0, size - 1)] ^= (uint8_t)(1u << sim_between(sim, 0, 7));
}

/* ---- the log ---- */

/* Behind a flipped bit of the open segment, the log ends; what was noted as synced tells of it. */
static bool cut_open_segment(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_disk *disk = &node->disk;
	raft_index last = disk->start + disk->count - 1, first;

	if (disk->noted.synced_index < disk->start || disk->count == 0)
		return false;
	if (last > disk->noted.synced_index)
		last = disk->noted.synced_index;
	first = last - last % sim->profile.segment_entries;
	if (first < disk->start)
		first = disk->start;
	raft_index index = sim_between(sim, first, last);

	while (disk->count > index - disk->start)
		memory_free(disk->entries[--disk->count].data);
	sim_trace(sim, "node %u: its log is cut at %llu, it reached %" PRIu64, node->number, index,
		  disk->noted.synced_index);
	/* Nothing is missing when the snapshot has it all. */
	node->damage.refused = disk->count > 0 || disk->snapshot.index < disk->noted.synced_index;
	return true;
}

static bool flip_payload(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	size_t at = disk->count == 0 ? 0 : sim_between(node->sim, 0, disk->count - 1);

	if (disk->count == 0 || disk->entries[at].type != RAFT_COMMAND)
		return false;
	flip(node->sim, disk->entries[at].data, disk->entries[at].size);
	sim_trace(node->sim, "node %u: a bit of its entry %llu flips", node->number,
		  disk->start + at);
	node->damage.refused = true;
	return true;
}

static bool flip_log(struct sim_node *node)
{
	return sim_chance(node->sim, 500) ? cut_open_segment(node) : flip_payload(node);
}

/* ---- what libraft remembers beside it ---- */

static bool flip_state(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_disk *disk = &node->disk;

	if (disk->snapshot.index != 0 && sim_chance(sim, 300)) {
		flip(sim, disk->snapshot.data, disk->snapshot.size);
		sim_trace(sim, "node %u: a bit of its snapshot flips", node->number);
		node->damage.refused = true;
		return true;
	}
	if (sim_chance(sim, 500))
		flip(sim, &disk->term, sim_chance(sim, 500) ? 1 : sizeof disk->term);
	else
		flip(sim, &disk->vote, sim_chance(sim, 500) ? 1 : sizeof disk->vote);
	sim_trace(sim, "node %u: its metadata says term %llu, vote %llu, it was %llu, %llu",
		  node->number, disk->term, disk->vote, node->damage.term, node->damage.vote);
	return true;
}

/* ---- the tables ---- */

/* Of a key, too: then it looks as if it had never been there. */
static bool flip_store(struct sim_node *node)
{
	struct kv_memory_disk *disk = node->store.disk;
	enum kv_table table = KV_TABLE_COUNT;

	if (disk != NULL)
		table = kv_memory_disk_flip(disk, sim_random(node->sim));
	if (table == KV_TABLE_COUNT)
		return false;
	sim_trace(node->sim, "node %u: a bit of a key or a value of table %s flips", node->number,
		  kv_table_name(table));
	return true;
}

bool sim_damage_flip(struct sim_node *node, enum sim_fault fault)
{
	bool done = false;

	ASSERT(node->state == NODE_DOWN && !node->lost);
	node->damage = (struct sim_damage){
		.fault = fault, .term = node->disk.term, .vote = node->disk.vote};
	if (fault == FAULT_FLIP_LOG)
		done = flip_log(node);
	else if (fault == FAULT_FLIP_STATE)
		done = flip_state(node);
	else
		done = flip_store(node);
	node->damaged = done;
	if (done)
		node->sim->damaged = node;
	return done;
}

/* ---- what comes of it ---- */

static void heal(struct sim_node *node)
{
	node->damaged = false;
	node->sim->damaged = NULL;
}

static void check_started(struct sim_node *node)
{
	const struct sim_damage *damage = &node->damage;

	if (damage->refused)
		sim_violation(node->sim, "node %u starts although a bit of its disk has flipped",
			      node->number);
	/* Its own record may be one step ahead of libraft's: then that is what counts. */
	if (damage->fault == FAULT_FLIP_STATE &&
	    (node->raft->current_term != node->disk.saved.term ||
	     node->raft->voted_for != node->disk.saved.vote))
		sim_violation(node->sim, "node %u starts with term %llu and vote %llu",
			      node->number, node->raft->current_term, node->raft->voted_for);
}

void sim_damage_started(struct sim_node *node, int status)
{
	if (status == 0 && !node->failed) {
		check_started(node);
		/* What is wrong with the tables may be met later. */
		if (node->damage.fault != FAULT_FLIP_STORE)
			heal(node);
		return;
	}
	if (!node->failed)
		error_set(&node->failure, -1, "%s", raft_errmsg(node->raft));
	node->failed = node->damage.met = true;
	node->sim->outcome.damage_at_start++;
}

bool sim_damage_met(struct sim_node *node, const struct error *error)
{
	if (!node->damaged || node->lost)
		return false;
	sim_trace(node->sim, "node %u meets damage: %s", node->number, error->message);
	if (!node->damage.met)
		node->sim->outcome.damage_later++;
	node->failed = node->damage.met = true;
	node->failure = *error;
	return true;
}
