/*
 * Clients: they send appends to whichever node believes that it leads, as fast as the seed says, and wait
 * for the answer, which comes when the node that proposed them has applied them. What has no answer, and
 * some that has, is sent again, to whichever node leads then. Others read what must not be stale.
 */
#include "base/bytes.h"
#include "raft/payload.h"
#include "raft/replica.h"
#include "tests/sim/sim.h"

#include <string.h>

#define RECENT     300 /* writes that are sent again */
#define READ_US    (5 * SIM_MS)
#define READ_TRIES 200
#define CREATED_NS INT64_C(1700000000000000000)
#define US_NS      1000

struct submitted {
	struct raft_apply request;
	struct sim_node *node;
};

static void on_committed(struct raft_apply *request, int status, void *result)
{
	struct submitted *submitted = request->data;

	(void)result;
	if (status != 0)
		submitted->node->sim->outcome.unknown++;
	memory_free(submitted);
}

/* ---- batches ---- */

struct sim_batch *sim_batch_find(const struct sim *sim, uint64_t index, uint64_t term)
{
	struct sim_batch *batch = index < SIM_INDEXES ? sim->batches[index] : NULL;

	while (batch != NULL && batch->term != term)
		batch = batch->next;
	return batch;
}

static void encode(struct sim *sim, const struct sim_batch *batch, struct buffer *body)
{
	uint8_t *header = buffer_reserve(body, COMMAND_HEADER_BYTES);

	command_header_write(header, batch->count > 0 ? COMMAND_BATCH : COMMAND_TERM, batch->count,
			     batch->created);
	body->size += COMMAND_HEADER_BYTES;
	for (unsigned i = 0; i < batch->count; i++)
		sim_append_encode(sim, sim->writes[batch->first_write + i].append, body);
}

static int submit(struct sim_node *node, const struct sim_batch *batch)
{
	struct submitted *submitted = memory_zeroed(1, sizeof *submitted);
	struct raft_buffer buffer;
	struct buffer body;

	buffer_init(&body);
	encode(node->sim, batch, &body);
	buffer.len = payload_bytes(body.size);
	buffer.base = raft_malloc(buffer.len);
	memcpy((uint8_t *)buffer.base + PAYLOAD_HEADER_BYTES, body.data, body.size);
	payload_seal(buffer.base, body.size, batch->index, batch->term);
	buffer_close(&body);
	submitted->node = node;
	submitted->request.data = submitted;
	int status = raft_apply(node->raft, &submitted->request, &buffer, 1, on_committed);

	if (status == 0)
		return 0;
	raft_free(buffer.base);
	memory_free(submitted);
	node->sim->outcome.refused++;
	return status;
}

/* The writes from `first` on; none: a term marker. The batch's index, or 0. */
static uint64_t propose(struct sim_node *node, uint64_t first, unsigned count)
{
	struct sim *sim = node->sim;
	struct sim_batch *batch = memory_zeroed(1, sizeof *batch);

	batch->index = raft_last_index(node->raft) + 1;
	batch->term = node->raft->current_term;
	batch->created = CREATED_NS + (int64_t)sim_node_time_us(node) * US_NS + node->clock.wall_ns;
	batch->first_write = first;
	batch->count = count;
	if (batch->index >= SIM_INDEXES || submit(node, batch) != 0) {
		memory_free(batch);
		return 0;
	}
	batch->next = sim->batches[batch->index];
	sim->batches[batch->index] = batch;
	return batch->index;
}

bool sim_client_propose_marker(struct sim_node *node, raft_term term)
{
	ASSERT(node->raft->current_term == term);
	return propose(node, 0, 0) != 0;
}

/* ---- writes ---- */

static void draw(struct sim *sim, struct sim_append *append)
{
	for (unsigned tries = sim_chance(sim, 200) ? 3 : 0; tries > 0; tries--) {
		uint64_t back = sim_between(sim, 1, RECENT);

		if (back >= sim->write_count)
			continue;
		const struct sim_write *before = &sim->writes[sim->write_count - back];

		if (before->append->event_count == 0 || (before->index != 0 && tries > 1))
			continue;
		sim_draw_retry(sim, before->append, append);
		return;
	}
	sim_draw_append(sim, append);
}

static uint64_t new_write(struct sim *sim)
{
	if (sim->write_count + 1 >= sim->write_capacity) {
		sim->write_capacity = sim->write_capacity == 0 ? 4096 : sim->write_capacity * 2;
		sim->writes = memory_resize(sim->writes, sim->write_capacity * sizeof *sim->writes);
	}
	struct sim_append *append = memory_alloc(sizeof *append);

	draw(sim, append);
	sim->writes[++sim->write_count] = (struct sim_write){
		.proposed_us = sim->now,
		.floor = sim->acknowledged_position,
		.proposed = true,
		.append = append,
	};
	return sim->write_count;
}

static bool takes_writes(struct sim_node *node)
{
	return sim_node_leads(node) && !node->witness && !node->intake_stopped &&
	       !sim_disk_is_low(node) && !store_is_full(node->store.store) &&
	       raft_last_index(node->raft) <
		       node->raft->commit_index + node->sim->profile.uncommitted_max;
}

static void answer(struct sim *sim, struct sim_write *write, uint64_t index, uint64_t term)
{
	write->done = true;
	write->index = index;
	write->term = term;
	sim->outcome.acknowledged++;
	if (index > sim->acknowledged_index)
		sim->acknowledged_index = index;
	if (sim->calm && sim->calm_write == 0 && write->proposed_us >= sim->calm_since)
		sim->calm_write = index;
}

/* A planted defect: before anything is decided. What will come of it is not known then. */
static void answer_early(struct sim_node *node, uint64_t index, uint64_t first, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct sim_write *write = &node->sim->writes[first + i];

		write->code = ANSWER_TIMEOUT;
		answer(node->sim, write, index, node->raft->current_term);
	}
}

static void write_to(struct sim_node *node)
{
	struct sim *sim = node->sim;
	bool one = sim_chance(sim, 700) || sim->profile.single;
	unsigned count = one ? 1 : (unsigned)sim_between(sim, 2, SIM_ITEMS);
	uint64_t first = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t id = new_write(sim);

		first = i == 0 ? id : first;
	}
	uint64_t index = propose(node, first, count);

	for (unsigned i = 0; index == 0 && i < count; i++) {
		sim->writes[first + i].done = true;
		sim->writes[first + i].proposed = false;
	}
	if (index != 0 && MUTANT(ACKNOWLEDGED_EARLY))
		answer_early(node, index, first, count);
	sim_node_after(node);
}

static void run_client(struct sim *sim, struct sim_node *nobody, void *data)
{
	uint64_t interval = sim->profile.client_interval * sim->options.load;
	unsigned first = (unsigned)sim_between(sim, 0, sim->node_count - 1);

	(void)nobody;
	(void)data;
	if (sim->quiet)
		return;
	for (unsigned i = 0; i < sim->node_count; i++) {
		struct sim_node *node = &sim->nodes[(first + i) % sim->node_count + 1];

		if (takes_writes(node))
			write_to(node);
	}
	sim_after(sim, sim_between(sim, interval / 2, interval * 3 / 2), "client", run_client, NULL,
		  NULL);
}

static void acknowledge(struct sim_node *node, const struct sim_batch *batch, unsigned item)
{
	struct sim *sim = node->sim;
	struct sim_write *write = &sim->writes[batch->first_write + item];
	const struct sim_decided *decided = &batch->decided[item];

	if (write->done)
		return;
	answer(sim, write, batch->index, batch->term);
	write->code = decided->code;
	write->first_position = decided->first_position;
	if (decided->code != ANSWER_OK)
		return;
	if (!decided->duplicate && write->append->event_count > 0 &&
	    decided->first_position <= write->floor)
		sim_violation(sim,
			      "node %u stores an append at position %" PRIu64 ", but %" PRIu64
			      " was acknowledged before it was sent",
			      node->number, decided->first_position, write->floor);
	if (decided->position > sim->acknowledged_position)
		sim->acknowledged_position = decided->position;
}

void sim_client_applied(struct sim_node *node, const struct sim_batch *batch)
{
	/* Only the node that proposed it in this life answers; it leads in that term. */
	if (node->state != NODE_RUNNING || node->leader_term != batch->term)
		return;
	for (unsigned i = 0; i < batch->count; i++)
		acknowledge(node, batch, i);
}

void sim_client_forget(struct sim_node *node)
{
	ASSERT(node->sim != NULL);
	node->leader_term = 0;
	barrier_init(&node->barrier);
}

/* ---- linearizable reads ---- */

struct reader {
	struct sim *sim;
	struct sim_node *at; /* the node that is read */
	uint64_t floor;      /* what had been seen when the read began */
	uint64_t position;   /* the point to read at */
	unsigned tries;
};

static void run_read(struct sim *sim, struct sim_node *node, void *data)
{
	struct reader *reader = data;

	bool behind = node->store.applied.position < reader->position && !MUTANT(READ_AHEAD);

	if (node->state != NODE_RUNNING || behind) {
		if (++reader->tries < READ_TRIES)
			sim_after(sim, READ_US, "read", run_read, node, reader);
		return;
	}
	if (node->store.applied.position < reader->floor)
		sim_violation(sim,
			      "node %u: a linearizable read sees %" PRIu64 ", %" PRIu64
			      " had been seen before it began",
			      node->number, node->store.applied.position, reader->floor);
	if (node->store.applied.position > sim->read_position)
		sim->read_position = node->store.applied.position;
	sim_verify_query(node);
	memory_free(reader);
	sim_node_after(node);
}

/* The leader says at which point it is to be read. */
static void on_point(void *arg, uint64_t position)
{
	struct reader *reader = arg;
	struct sim *sim = reader->sim;

	if (position == REPLICA_NOT_LEADER) {
		sim->outcome.seen[SEEN_READ_NO_LEADER]++;
		memory_free(reader);
		return;
	}
	if (position < reader->floor)
		sim_violation(sim,
			      "a linearizable read at position %" PRIu64 ", %" PRIu64
			      " had been seen before it began",
			      position, reader->floor);
	sim->outcome.seen[sim_node_leads(reader->at) ? SEEN_READ_LEADER : SEEN_READ_FOLLOWER]++;
	reader->position = position;
	sim_after(sim, 10, "read", run_read, reader->at, reader);
}

void sim_client_pump(struct sim_node *node)
{
	if (!takes_writes(node) || !barrier_wants(&node->barrier))
		return;
	uint64_t index = propose(node, 0, 0);

	if (index != 0)
		barrier_proposed(&node->barrier, index);
}

static void run_reader(struct sim *sim, struct sim_node *nobody, void *data)
{
	uint64_t interval = 8 * sim->profile.client_interval;
	struct sim_node *node = &sim->nodes[sim_between(sim, 1, sim->node_count)];
	struct sim_node *other = &sim->nodes[sim_between(sim, 1, sim->node_count)];

	(void)nobody;
	(void)data;
	if (sim->quiet)
		return;
	sim_after(sim, sim_between(sim, 0, interval), "reader", run_reader, NULL, NULL);
	if (!takes_writes(node))
		return;
	struct reader *reader = memory_zeroed(1, sizeof *reader);

	reader->sim = sim;
	reader->at = other->state == NODE_RUNNING && !other->witness ? other : node;
	reader->floor = sim->acknowledged_position > sim->read_position ? sim->acknowledged_position
									: sim->read_position;
	if (MUTANT(READ_AT_ONCE))
		on_point(reader, store_head(node->store.store));
	else
		barrier_add(&node->barrier, on_point, reader);
	sim_client_pump(node);
	sim_node_after(node);
}

void sim_client_start(struct sim *sim)
{
	uint64_t begin = sim->profile.election_ms * SIM_MS;

	sim_after(sim, begin, "client", run_client, NULL, NULL);
	if (!sim->options.no_reads)
		sim_after(sim, begin, "reader", run_reader, NULL, NULL);
}
