/*
 * The store of a node: the real one, on a disk in memory. What the state machine hands on waits for the
 * apply thread; what is applied waits for a flush, which comes soon or late; a crash loses both. A
 * snapshot waits for the flush, on a worker. After a flush, superseded checkpoints may be trimmed.
 */
#include "base/checksum.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

#define LAG_COMMANDS 64 /* waiting to be applied; beyond, no more entries are taken */
#define FLUSH_AGE_US (1500 * SIM_MS)
#define TRIM_STEPS   8

void sim_store_refresh(struct sim_node *node)
{
	struct store_status status;

	store_get_status(node->store.store, &status);
	node->store.applied = (struct sim_state){
		.index = status.applied_index, .position = status.head, .hash = status.hash};
	node->store.durable_index = status.durable_index;
	node->store.durable_position = status.durable_position;
}

void sim_store_fail(struct sim_node *node, const struct error *error)
{
	bool full = node->disk.full_until > node->sim->now;

	if (!node->store.failing && !full) {
		if (!sim_damage_met(node, error))
			sim_violation(node->sim, "node %u: its store fails: %.200s", node->number,
				      error->message);
	} else {
		node->sim->outcome.faults[full ? FAULT_FULL : FAULT_COMMIT]++;
		node->sim->outcome.seen[SEEN_COMMIT_FAILED]++;
		node->failed = true;
		node->failure = *error;
	}
	if (node->failed && (node->state == NODE_PULLING || node->state == NODE_CLOSING))
		sim_node_stop(node);
}

/* ---- flush and trim ---- */

static void trim(struct sim_node *node)
{
	struct store_status before, after;
	struct error error;
	bool again = true;
	int rc = 0;

	store_get_status(node->store.store, &before);
	for (unsigned i = 0; rc == 0 && again && i < TRIM_STEPS; i++)
		rc = store_trim(node->store.store, &again, &error);
	if (rc != 0) {
		sim_store_fail(node, &error);
		return;
	}
	store_get_status(node->store.store, &after);
	node->sim->outcome.seen[SEEN_TRIM] += after.superseded < before.superseded;
}

static void run_flush(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_store *store = &node->store;
	struct error error;

	(void)data;
	store->flushing = false;
	int rc = store_flush(store->store, &error);

	if (rc != 0)
		sim_store_fail(node, &error);
	else if (sim_chance(sim, sim->profile.trim_chance))
		trim(node);
	sim->outcome.seen[SEEN_FLUSH] += rc == 0;
	sim_store_refresh(node);
	sim_node_after(node);
}

static void begin_flush(struct sim_node *node, uint64_t longest)
{
	struct sim *sim = node->sim;

	if (node->store.flushing)
		return;
	node->store.flushing = true;
	sim_after(sim, sim_between(sim, 2 * SIM_MS, longest), "flush", run_flush, node, NULL);
}

static void run_aged(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	begin_flush(node, 60 * SIM_MS);
	sim_after(sim, sim_between(sim, SIM_MS, FLUSH_AGE_US), "age", run_aged, node, NULL);
}

/* ---- the apply thread ---- */

struct applying {
	struct sim_node *node;
	const struct sim_batch *batch;
};

static void on_decided(void *arg, uint32_t item, const struct outcome *outcome)
{
	const struct applying *applying = arg;

	sim_verify_outcome(applying->node, applying->batch, item, outcome);
}

static void apply_command(struct sim_node *node, struct sim_command *command)
{
	struct sim *sim = node->sim;
	struct sim_batch *batch = sim_batch_find(sim, command->index, command->term);
	struct applying applying = {node, batch};
	struct apply_sink sink = {on_decided, &applying};
	struct apply_result result;
	struct error error;

	if (batch == NULL) {
		sim_violation(sim,
			      "node %u applies a command that nobody proposed at index %" PRIu64,
			      node->number, command->index);
		return;
	}
	sim_verify_decide(sim, batch);
	int rc = store_apply(node->store.store, command->index, command->body, command->size, &sink,
			     &result, &error);

	command->body = NULL;
	if (rc != 0) {
		sim_store_fail(node, &error);
		return;
	}
	sim_store_refresh(node);
	sim_check_applied(node, command);
	sim_client_applied(node, batch);
}

/* What the log replays was applied before: nothing may come of it. */
static void apply_again(struct sim_node *node, struct sim_command *command)
{
	uint64_t head = store_head(node->store.store);
	struct apply_result result;
	struct error error;
	int rc = store_apply(node->store.store, command->index, command->body, command->size, NULL,
			     &result, &error);

	command->body = NULL;
	if (rc != 0) {
		sim_store_fail(node, &error);
		return;
	}
	sim_store_refresh(node);
	sim_check_state(node);
	if (store_head(node->store.store) != head)
		sim_violation(node->sim, "node %u applies index %" PRIu64 " twice", node->number,
			      command->index);
}

static void apply_one(struct sim_node *node)
{
	struct sim_store *store = &node->store;
	struct sim_command *command = store->first;

	ASSERT(command != NULL && store->queued > 0);
	store->first = command->next;
	if (store->first == NULL)
		store->last = &store->first;
	store->queued--;
	if (command->index > store->applied.index)
		apply_command(node, command);
	else
		apply_again(node, command);
	if (command->marker.passed != NULL)
		command->marker.passed(command->marker.arg, store_head(store->store));
	memory_free(command->body);
	memory_free(command);
}

static void begin_apply(struct sim_node *node);

static void run_apply(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_store *store = &node->store;
	size_t count = sim_between(sim, 1, sim->profile.single ? 1 : 32);

	(void)data;
	store->applying = false;
	while (count-- > 0 && store->first != NULL && !sim->outcome.violated && !node->failed)
		apply_one(node);
	if (node->failed) {
		sim_node_after(node);
		return;
	}
	if (store_is_full(store->store)) {
		sim->outcome.seen[SEEN_STORE_FULL]++;
		begin_flush(node, 5 * SIM_MS);
	} else if (sim_chance(sim, sim->profile.flush_chance)) {
		begin_flush(node, 60 * SIM_MS);
	}
	if (sim_chance(sim, 10))
		sim_verify_query(node);
	if (store->first != NULL)
		begin_apply(node);
	sim_client_pump(node);
	sim_node_after(node);
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

	return node->store.queued < LAG_COMMANDS && !store_is_full(node->store.store) &&
	       !sim_disk_is_low(node);
}

/* ---- what the state machine calls ---- */

static void on_apply(void *arg, uint64_t index, uint64_t term, struct span body)
{
	struct sim_node *node = arg;
	struct sim_store *store = &node->store;
	struct sim_command *command;

	ASSERT(body.size >= COMMAND_HEADER_BYTES);
	/* What a witness hears comes again when it starts as what it should be. */
	if (node->witness || store->pull.wanted)
		return;
	if (index <= store->handed && !node->dying)
		sim_violation(node->sim, "node %u: command %" PRIu64 " handed on after %" PRIu64,
			      node->number, index, store->handed);
	command = memory_zeroed(1, sizeof *command);
	command->index = index;
	command->term = term;
	command->body = memory_copy(body.data, body.size);
	command->size = body.size;
	if (body.data[0] == COMMAND_TERM)
		barrier_committed(&node->barrier, index, &command->marker);
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

	if (node->store.pull.wanted || node->witness || node->dying || sim_chance(node->sim, 100))
		return false;
	node->store.snapshot_index = index;
	return true;
}

bool sim_store_snapshot_ready(struct sim_node *node)
{
	const struct sim_store *store = &node->store;

	if (store->pull.wanted || store->durable_index >= store->snapshot_index ||
	    (MUTANT(SNAPSHOT_NOT_FLUSHED) && store->applied.index >= store->snapshot_index))
		return true;
	begin_flush(node, 60 * SIM_MS);
	return false;
}

static void tell_unflushed(const struct sim_node *node, struct manifest *manifest)
{
	struct store_status status;

	store_get_status(node->store.store, &status);
	manifest->applied_index = status.applied_index;
	manifest->position = status.head;
	manifest->created = status.created;
	manifest->hash = status.hash;
}

static int on_snapshot_wait(void *arg, uint64_t index, struct manifest *manifest)
{
	const struct sim_node *node = arg;

	if (node->store.durable_index < index && !MUTANT(SNAPSHOT_NOT_FLUSHED))
		return -ETIMEDOUT;
	store_get_manifest(node->store.store, manifest);
	if (MUTANT(SNAPSHOT_NOT_FLUSHED))
		tell_unflushed(node, manifest);
	return 0;
}

static bool covers(struct sim_node *node, const struct manifest *manifest)
{
	struct store_status status;

	store_get_status(node->store.store, &status);
	return !status.ingesting && (manifest->applied_index <= status.applied_index ||
				     manifest->applied_index <= node->store.handed);
}

static void on_restore(void *arg, const struct manifest *manifest)
{
	struct sim_node *node = arg;
	struct sim_pull *pull = &node->store.pull;

	node->sim->outcome.restores++;
	sim_check_manifest(node, manifest);
	if (covers(node, manifest) && !pull->wanted)
		return;
	/* Later snapshots need not have later manifests. */
	if (node->witness && manifest->applied_index <= pull->asked.applied_index)
		return;
	pull->wanted = true;
	pull->asked = *manifest;
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

/* ---- lives ---- */

static void forget_queue(struct sim_store *store)
{
	while (store->first != NULL) {
		struct sim_command *next = store->first->next;

		memory_free(store->first->body);
		memory_free(store->first);
		store->first = next;
	}
	store->last = &store->first;
	store->queued = 0;
}

bool sim_store_open(struct sim_node *node)
{
	struct sim_store *store = &node->store;
	struct store_identity identity = {.cluster_id = "simulated", .node_id = node->number};
	struct store_options options = {.tail_bytes_max = node->sim->profile.tail_bytes_max};
	struct store_status status;
	struct error error;
	int rc = 0;

	if (store->store != NULL)
		store_close(store->store);
	store->store = NULL;
	if (store->disk == NULL)
		store->disk = kv_memory_disk_new();
	kv_memory_disk_calm(store->disk);
	store->failing = false;
	options.kv = kv_memory_open(store->disk);
	rc = store_open(&store->store, &options, &error);
	if (rc != 0 && sim_damage_met(node, &error))
		return false;
	ASSERT(rc == 0);
	struct store_identity stored;

	if (store_get_identity(store->store, &stored, &error) != 0)
		rc = store_set_identity(store->store, &identity, &error);
	ASSERT(rc == 0);
	/* A node whose disk is full when it first starts would only refuse to. */
	kv_memory_disk_fill(store->disk, node->disk.full_until > node->sim->now);
	store_get_status(store->store, &status);
	node->sim->outcome.seen[SEEN_PULL_AGAIN] += status.ingesting;
	node->clock.wall_ns = (int64_t)sim_between(node->sim, 0, 2000000000) - 1000000000;
	sim_store_refresh(node);
	return true;
}

void sim_store_reset(struct sim_node *node)
{
	struct sim_store *store = &node->store;

	forget_queue(store);
	store->handed = store->snapshot_index = 0;
	store->applying = store->flushing = false;
	store->lag_until = 0;
	store->pull.wanted = false;
	barrier_init(&node->barrier);
	sim_store_refresh(node);
	sim_after(node->sim, sim_between(node->sim, SIM_MS, FLUSH_AGE_US), "age", run_aged, node,
		  NULL);
}
