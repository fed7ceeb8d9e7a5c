/*
 * The store of a node, as small as it can be: the state is a running hash over all commands. What the
 * state machine hands on waits for the apply thread; what is applied waits for a flush. A crash loses
 * both. A snapshot waits for the flush, on a worker. A store that does not cover a manifest pulls from a
 * peer that does, while raft is not running.
 */
#include "base/bytes.h"
#include "base/checksum.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

#define LAG_COMMANDS 64 /* waiting to be applied; beyond, no more entries are taken */

/* ---- the flush ---- */

static void run_flush(struct sim *sim, struct sim_node *node, void *data)
{
	(void)sim;
	(void)data;
	node->store.flushing = false;
	node->store.durable = node->store.applied;
}

static void begin_flush(struct sim_node *node)
{
	struct sim *sim = node->sim;

	if (node->store.flushing)
		return;
	node->store.flushing = true;
	sim_after(sim, sim_between(sim, 2 * SIM_MS, 60 * SIM_MS), "flush", run_flush, node, NULL);
}

/* ---- the apply thread ---- */

static void apply_one(struct sim_node *node)
{
	struct sim_store *store = &node->store;
	struct sim_command *command = store->first;

	ASSERT(command != NULL && store->queued > 0);
	store->first = command->next;
	if (store->first == NULL)
		store->last = &store->first;
	store->queued--;
	if (command->index > store->applied.index) {
		store->applied.index = command->index;
		store->applied.position++;
		store->applied.hash = checksum64_seeded(&command->hash, sizeof command->hash,
							store->applied.hash);
	}
	sim_check_applied(node, command);
	sim_client_applied(node, command);
	memory_free(command);
}

static void begin_apply(struct sim_node *node);

static void run_apply(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_store *store = &node->store;
	size_t count = sim_between(sim, 1, 32);

	(void)data;
	store->applying = false;
	while (count-- > 0 && store->first != NULL)
		apply_one(node);
	if (sim_chance(sim, 20))
		begin_flush(node);
	if (store->first != NULL)
		begin_apply(node);
}

static void begin_apply(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t delay = sim_between(sim, 5, sim->profile.apply_max);

	if (node->store.lag_until > sim->now)
		delay += node->store.lag_until - sim->now;
	node->store.applying = true;
	sim_after(sim, delay, "apply", run_apply, node, NULL);
}

bool sim_store_accepts_entries(void *arg)
{
	const struct sim_node *node = arg;

	return node->store.queued < LAG_COMMANDS;
}

/* ---- what the state machine calls ---- */

static void on_apply(void *arg, uint64_t index, uint64_t term, struct span body)
{
	struct sim_node *node = arg;
	struct sim_store *store = &node->store;
	struct sim_command *command = memory_zeroed(1, sizeof *command);

	ASSERT(body.size >= 8);
	/* What a witness hears comes again when it starts as what it should be. */
	if (node->witness)
		return;
	if (index <= store->handed && !node->dying)
		sim_violation(node->sim, "node %u: command %" PRIu64 " handed on after %" PRIu64,
			      node->number, index, store->handed);
	command->index = index;
	command->term = term;
	command->id = bytes_le64(body.data);
	command->hash = sim_hash(body.data, body.size);
	store->handed = index;
	*store->last = command;
	store->last = &command->next;
	store->queued++;
	if (!store->applying)
		begin_apply(node);
}

static bool on_snapshot_begin(void *arg, uint64_t index)
{
	struct sim_node *node = arg;

	if (node->store.pull_wanted || node->dying || sim_chance(node->sim, 100))
		return false;
	node->store.snapshot_index = index;
	return true;
}

bool sim_store_snapshot_ready(struct sim_node *node)
{
	const struct sim_store *store = &node->store;

	if (store->pull_wanted || store->durable.index >= store->snapshot_index)
		return true;
	begin_flush(node);
	return false;
}

static int on_snapshot_wait(void *arg, uint64_t index, struct manifest *manifest)
{
	const struct sim_node *node = arg;
	const struct sim_state *durable = &node->store.durable;

	if (durable->index < index)
		return -ETIMEDOUT;
	*manifest = (struct manifest){
		.applied_index = durable->index,
		.position = durable->position,
		.hash = durable->hash,
	};
	return 0;
}

static void on_restore(void *arg, const struct manifest *manifest)
{
	struct sim_node *node = arg;
	struct sim_store *store = &node->store;
	uint64_t reached = store->applied.index;

	node->sim->outcome.restores++;
	sim_check_manifest(node, manifest);
	if (store->handed > reached)
		reached = store->handed;
	if (store->pull_wanted || reached < manifest->applied_index) {
		store->pull_wanted = true;
		store->pull = *manifest;
	}
}

static void on_fail(void *arg, const struct error *error)
{
	struct sim_node *node = arg;

	node->failed = true;
	node->failure = *error;
}

struct fsm_downstream sim_store_downstream(struct sim_node *node)
{
	return (struct fsm_downstream){
		.arg = node,
		.apply = on_apply,
		.snapshot_begin = on_snapshot_begin,
		.snapshot_wait = on_snapshot_wait,
		.restore = on_restore,
		.fail = on_fail,
	};
}

void sim_store_reset(struct sim_node *node)
{
	struct sim_store *store = &node->store;

	store->applied = store->durable;
	store->first = NULL;
	store->last = &store->first;
	store->handed = store->snapshot_index = 0;
	store->queued = 0;
	store->applying = store->flushing = false;
	store->lag_until = 0;
	store->pull_wanted = false;
}

/* ---- pulling ---- */

#define POLL_US     (100 * SIM_MS)
#define POLLS_ALONE 15 /* then others may wait for this node's vote */

static bool somebody_has(const struct sim *sim, uint64_t index)
{
	for (unsigned i = 1; i <= sim->node_count; i++) {
		const struct sim_node *node = &sim->nodes[i];

		if (sim_node_is_up(node) && !node->paused && node->store.applied.index >= index)
			return true;
	}
	return false;
}

static void run_pull(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_store *store = &node->store;
	const struct manifest *manifest = &store->pull;

	(void)data;
	if (node->paused || !somebody_has(sim, manifest->applied_index)) {
		if (!node->paused && ++store->pull_polls > POLLS_ALONE) {
			sim->outcome.witnesses++;
			sim_node_boot(node, true);
		} else {
			sim_after(sim, POLL_US, "pull", run_pull, node, NULL);
		}
		return;
	}
	store->durable = (struct sim_state){
		.index = manifest->applied_index,
		.position = manifest->position,
		.hash = manifest->hash,
	};
	sim->outcome.pulls++;
	sim_node_boot(node, false);
}

void sim_store_pull(struct sim_node *node)
{
	struct sim *sim = node->sim;

	ASSERT(node->state == NODE_PULLING);
	node->store.pull_polls = 0;
	sim_after(sim, sim_between(sim, 20 * SIM_MS, 1500 * SIM_MS), "pull", run_pull, node, NULL);
}

static void run_witness(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	/* The manifest that it waits for may have become a newer one. */
	if (!node->paused && somebody_has(sim, node->store.pull.applied_index))
		sim_node_close(node);
	else
		sim_after(sim, POLL_US, "witness", run_witness, node, NULL);
}

void sim_store_witness(struct sim_node *node)
{
	ASSERT(node->witness);
	sim_trace(node->sim, "node %u is a witness", node->number);
	sim_after(node->sim, POLL_US, "witness", run_witness, node, NULL);
}
