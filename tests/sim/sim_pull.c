/*
 * Pulling: raft is closed until the store covers a manifest. Pages come from any peer that has more, as
 * node/catch_up.c takes them: records, and holes where the peer has dropped checkpoints. What a hole lacks
 * may have counted as of the manifest; then the manifest of the peer is the one to reach. A crash between
 * any two pages leads back here.
 */
#include "node/pull_page.h"
#include "storage/hole.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

#define POLL_US     (100 * SIM_MS)
#define POLLS_ALONE 15 /* then others may wait for this node's vote */

static void run_pull(struct sim *sim, struct sim_node *node, void *data);

static void go_on(struct sim_node *node)
{
	struct sim *sim = node->sim;

	sim_after(sim, sim_between(sim, SIM_MS, 30 * SIM_MS), "pull", run_pull, node, NULL);
}

/* Nobody has what is wanted, for now. */
static void poll(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_pull *pull = &node->store.pull;

	if (++pull->polls <= POLLS_ALONE) {
		sim_after(sim, POLL_US, "pull", run_pull, node, NULL);
		return;
	}
	sim->outcome.witnesses++;
	sim_node_boot(node, true);
}

/* ---- pages ---- */

struct got {
	struct page page;
	struct pull_page answer;
};

static bool can_ask(const struct sim_node *node, const struct sim_node *peer)
{
	const struct sim *sim = node->sim;

	return peer != node && sim_node_is_up(peer) && !peer->paused &&
	       sim->links[node->number][peer->number].cuts == 0 &&
	       sim->links[peer->number][node->number].cuts == 0;
}

static struct sim_node *choose_peer(struct sim_node *node)
{
	struct sim *sim = node->sim;
	unsigned first = (unsigned)sim_between(sim, 0, sim->node_count - 1);

	for (unsigned i = 0; i < sim->node_count; i++) {
		struct sim_node *peer = &sim->nodes[(first + i) % sim->node_count + 1];

		if (can_ask(node, peer))
			return peer;
	}
	return NULL;
}

/* As node/read.c answers: the page, then the horizon, then the manifest. */
static int ask(struct sim_node *node, struct sim_node *peer, uint64_t from, struct got *got,
	       struct error *error)
{
	struct sim *sim = node->sim;
	struct read_range range = {
		.from = from,
		.limit = (uint32_t)sim_between(sim, 1, sim->profile.pull_records),
		.bytes_max = sim->profile.pull_bytes,
	};
	struct store_status status;
	int rc = store_read_raw(peer->store.store, &range, &got->page, error);

	if (rc != 0)
		return rc;
	store_get_status(peer->store.store, &status);
	got->answer = (struct pull_page){.items = buffer_span(&got->page.records),
					 .count = got->page.count,
					 .horizon = status.horizon,
					 .has_manifest = !status.ingesting};
	store_get_manifest(peer->store.store, &got->answer.manifest);
	return 0;
}

/* Which manifest is to be reached; -EAGAIN: a newer one than the peer has. */
static int look_at_horizon(struct sim_node *node, const struct pull_page *page, bool has_hole)
{
	struct manifest *manifest = &node->store.pull.manifest;
	struct store_status status;

	store_get_status(node->store.store, &status);
	uint64_t needed = status.horizon > status.head ? status.horizon : status.head;

	if (has_hole && page->horizon > needed)
		needed = page->horizon;
	if (needed <= manifest->position || MUTANT(NEWER_NOT_TAKEN))
		return 0;
	if (!page->has_manifest || page->manifest.position < needed ||
	    page->manifest.applied_index < manifest->applied_index)
		return -EAGAIN;
	*manifest = page->manifest;
	node->sim->outcome.seen[SEEN_PULL_NEWER]++;
	return 0;
}

static uint64_t wanted(struct sim_node *node)
{
	const struct manifest *manifest = &node->store.pull.manifest;
	struct store_status status;

	store_get_status(node->store.store, &status);
	uint64_t needed = status.horizon > status.head ? status.horizon : status.head;

	return needed > manifest->position ? needed : manifest->position;
}

static int take_page(struct sim_node *node, const struct got *got, uint64_t from,
		     struct error *error)
{
	struct store *store = node->store.store;
	uint64_t to = wanted(node);
	struct span items = {0};
	bool has_hole = false;
	int rc = 0;

	if (from <= to)
		rc = pull_page_cut(&got->answer, from, to, store_head(store), &items, &has_hole,
				   error);
	if (rc == 0)
		rc = look_at_horizon(node, &got->answer, has_hole);
	if (rc != 0)
		return rc;
	if (has_hole)
		store_ingest_horizon(store, got->answer.horizon);
	node->sim->outcome.seen[SEEN_PULL_PAGE] += items.size > 0;
	node->sim->outcome.seen[SEEN_PULL_HOLE] += has_hole;
	return store_ingest(store, items, error);
}

static void pull_page(struct sim_node *node)
{
	struct sim_node *peer = choose_peer(node);
	uint64_t head = store_head(node->store.store);
	struct got got = {0};
	struct error error;
	int rc = -EAGAIN;

	buffer_init(&got.page.records);
	if (peer != NULL)
		rc = ask(node, peer, head + 1, &got, &error);
	if (rc != 0 && peer != NULL && sim_damage_met(peer, &error)) {
		sim_node_after(peer);
		rc = -EAGAIN;
	}
	if (rc == 0)
		rc = take_page(node, &got, head + 1, &error);
	buffer_close(&got.page.records);
	if (rc != 0 && rc != -EAGAIN) {
		sim_store_fail(node, &error);
		return;
	}
	sim_store_refresh(node);
	if (store_head(node->store.store) > head) {
		node->store.pull.polls = 0;
		go_on(node);
	} else if (wanted(node) == node->store.pull.manifest.position && head >= wanted(node)) {
		go_on(node);
	} else {
		poll(node);
	}
}

/* ---- begin and end ---- */

static void begin(struct sim_node *node)
{
	struct sim_pull *pull = &node->store.pull;
	struct error error;

	pull->begun = true;
	pull->ending = false;
	pull->manifest = pull->asked;
	if (store_ingest_begin(node->store.store, &error) != 0)
		sim_store_fail(node, &error);
	else
		go_on(node);
}

/* With a newer manifest than raft's, the store will be ahead of the log: noted before it is. */
static void note(struct sim_node *node)
{
	struct sim_pull *pull = &node->store.pull;
	uint64_t position = pull->asked.position, hash = 0, index = pull->manifest.applied_index;
	struct error error;

	pull->ending = true;
	if (index != pull->asked.applied_index) {
		int rc = position == 0 ? -ENOENT
				       : store_digest(node->store.store, &position, &hash, &error);

		if (rc != 0 && rc != -ENOENT)
			sim_store_fail(node, &error);
		else if (rc == 0 && hash != pull->asked.hash)
			sim_violation(node->sim, "node %u has pulled records of another cluster",
				      node->number);
		if (index > node->disk.noted.pulled_index && !MUTANT(PULLED_NOT_NOTED))
			node->disk.saved.pulled_index = node->disk.noted.pulled_index = index;
	}
	if (node->state == NODE_PULLING)
		go_on(node);
}

static void end(struct sim_node *node)
{
	struct sim_pull *pull = &node->store.pull;
	struct error error;

	if (store_ingest_end(node->store.store, &pull->manifest, &error) != 0) {
		sim_store_fail(node, &error);
		return;
	}
	node->sim->outcome.pulls++;
	sim_store_refresh(node);
	sim_check_state(node);
	sim_node_boot(node, false);
}

static void run_pull(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_pull *pull = &node->store.pull;

	(void)data;
	if (node->paused)
		sim_after(sim, POLL_US, "pull", run_pull, node, NULL);
	else if (!pull->begun)
		begin(node);
	else if (pull->ending)
		end(node);
	else if (store_head(node->store.store) == pull->manifest.position &&
		 wanted(node) == pull->manifest.position)
		note(node);
	else
		pull_page(node);
}

void sim_pull_begin(struct sim_node *node)
{
	struct sim *sim = node->sim;

	ASSERT(node->state == NODE_PULLING);
	node->store.pull.polls = 0;
	node->store.pull.begun = false;
	sim_after(sim, sim_between(sim, 20 * SIM_MS, 1500 * SIM_MS), "pull", run_pull, node, NULL);
}

/* A peer has records that are missing here, or the manifest that is: a pull would get something. (A node goes on
 * to pull as a witness, and ends to be one when something comes.) */
static bool is_ahead(struct sim_node *node, struct sim_node *peer)
{
	const struct sim_pull *pull = &node->store.pull;
	uint64_t needed = wanted(node), head = store_head(node->store.store);
	struct store_status status;

	store_get_status(peer->store.store, &status);
	bool has_manifest = !status.ingesting && status.durable_position >= needed &&
			    status.durable_index >= pull->asked.applied_index;

	/* Holes that were taken before ask for a newer manifest than raft's, with each page. */
	if (needed > pull->asked.position && !has_manifest)
		return false;
	if (pull->asked.position > needed)
		needed = pull->asked.position;
	return status.head > head ||
	       (has_manifest && status.durable_position >= needed && head >= needed);
}

static void run_witness(struct sim *sim, struct sim_node *node, void *data)
{
	(void)data;
	for (unsigned i = 1; i <= sim->node_count && !node->paused; i++) {
		if (can_ask(node, &sim->nodes[i]) && is_ahead(node, &sim->nodes[i])) {
			sim_node_close(node);
			return;
		}
	}
	sim_after(sim, POLL_US, "witness", run_witness, node, NULL);
}

void sim_pull_witness(struct sim_node *node)
{
	ASSERT(node->witness);
	sim_trace(node->sim, "node %u is a witness", node->number);
	sim_after(node->sim, POLL_US, "witness", run_witness, node, NULL);
}
