/*
 * Clients: they write to whichever node believes that it leads, as fast as the seed says, and wait for
 * the acknowledgement, which comes when the node that proposed the write has applied it.
 */
#include "base/bytes.h"
#include "raft/payload.h"
#include "tests/sim/sim.h"

#include <string.h>

#define BODY_BYTES_MIN 16 /* id, salt */

struct proposal {
	struct raft_apply request;
	struct sim_node *node;
};

static void on_committed(struct raft_apply *request, int status, void *result)
{
	struct proposal *proposal = request->data;

	(void)result;
	if (status != 0)
		proposal->node->sim->outcome.unknown++;
	memory_free(proposal);
}

/* Id 0 is a term marker. */
static bool propose(struct sim_node *node, uint64_t id, size_t body_bytes)
{
	struct sim *sim = node->sim;
	struct raft_buffer buffer = {.len = payload_bytes(body_bytes)};
	struct proposal *proposal = memory_zeroed(1, sizeof *proposal);

	buffer.base = raft_malloc(buffer.len);
	uint8_t *body = (uint8_t *)buffer.base + PAYLOAD_HEADER_BYTES;

	memset(body, 0x5a, body_bytes);
	bytes_set_le64(body, id);
	bytes_set_le64(body + 8, sim_random(sim));
	payload_seal(buffer.base, body_bytes, raft_last_index(node->raft) + 1,
		     node->raft->current_term);
	proposal->node = node;
	proposal->request.data = proposal;
	if (raft_apply(node->raft, &proposal->request, &buffer, 1, on_committed) == 0)
		return true;
	raft_free(buffer.base);
	memory_free(proposal);
	sim->outcome.refused++;
	return false;
}

bool sim_client_propose_marker(struct sim_node *node, raft_term term)
{
	ASSERT(node->raft->current_term == term);
	return propose(node, 0, BODY_BYTES_MIN);
}

static uint64_t new_write(struct sim *sim)
{
	if (sim->write_count + 1 >= sim->write_capacity) {
		sim->write_capacity = sim->write_capacity == 0 ? 4096 : sim->write_capacity * 2;
		sim->writes = memory_resize(sim->writes, sim->write_capacity * sizeof *sim->writes);
	}
	sim->writes[++sim->write_count] = (struct sim_write){.proposed_us = sim->now};
	return sim->write_count;
}

static bool takes_writes(const struct sim_node *node)
{
	return sim_node_leads(node) && !node->witness && !node->intake_stopped &&
	       raft_last_index(node->raft) <
		       node->raft->commit_index + node->sim->profile.uncommitted_max;
}

static void run_client(struct sim *sim, struct sim_node *nobody, void *data)
{
	uint64_t interval = sim->profile.client_interval;
	unsigned first = (unsigned)sim_between(sim, 0, sim->node_count - 1);

	(void)nobody;
	(void)data;
	if (sim->quiet)
		return;
	for (unsigned i = 0; i < sim->node_count; i++) {
		struct sim_node *node = &sim->nodes[(first + i) % sim->node_count + 1];

		if (!takes_writes(node))
			continue;
		size_t size = sim_between(sim, BODY_BYTES_MIN, sim->profile.payload_max);
		uint64_t id = new_write(sim);

		if (!propose(node, id, size))
			sim->writes[id].done = true;
		sim_node_after(node);
	}
	sim_after(sim, sim_between(sim, interval / 2, interval * 3 / 2), "client", run_client, NULL,
		  NULL);
}

void sim_client_start(struct sim *sim)
{
	sim_after(sim, sim->profile.election_ms * SIM_MS, "client", run_client, NULL, NULL);
}

void sim_client_applied(struct sim_node *node, const struct sim_command *command)
{
	struct sim *sim = node->sim;

	/* Only the node that proposed it in this life answers; it leads in that term. */
	if (command->id == 0 || node->state != NODE_RUNNING || node->leader_term != command->term)
		return;
	ASSERT(command->id <= sim->write_count);
	struct sim_write *write = &sim->writes[command->id];

	if (write->done)
		return;
	write->done = true;
	write->index = command->index;
	sim->outcome.acknowledged++;
	if (command->index > sim->acknowledged_index)
		sim->acknowledged_index = command->index;
	if (sim->calm && sim->calm_write == 0 && write->proposed_us >= sim->calm_since)
		sim->calm_write = command->index;
}

void sim_client_forget(struct sim_node *node)
{
	ASSERT(node->sim != NULL);
	node->leader_term = 0;
}
