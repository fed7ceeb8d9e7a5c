/*
 * The network: between each two nodes a connection in each direction, as TCP gives it. What is sent on
 * a connection arrives in order and at most once. When it breaks, what is under way is lost, or (it was
 * in the receiver's buffers) arrives late, after messages of the next connection. Duplication does not
 * exist: nothing is sent again on a new connection, and a connection does not repeat.
 *
 * A partition that is silent keeps messages on their way until it heals or the connection times out;
 * one that refuses breaks connections at once. A node that is stopped lets messages pile up: libraft's
 * send is done when the message fits into the socket, else when it arrives.
 */
#include "tests/sim/sim.h"

#include <string.h>

#define FRAME_BYTES    (128 * 1024)
#define RETRY_US       (20 * SIM_MS)
#define CONNECTION_US  (5 * SIM_SECOND)
#define OVERHEAD_BYTES 64

struct sim_message {
	unsigned from, to;
	uint64_t connection;
	uint64_t sent_at;
	uint64_t to_epoch;
	size_t bytes;
	bool late; /* delivered although its connection is gone */
	struct raft_message message;
	/* Until libraft is called back. */
	uint64_t from_epoch;
	struct raft_io_send *request;
	int status;
	struct sim_message *next_unsent, **previous_unsent;
	unsigned references; /* the arrival, and the callback */
};

static struct sim_link *link_of(struct sim *sim, const struct sim_message *message)
{
	return &sim->links[message->from][message->to];
}

/* ---- copies ---- */

static size_t entry_bytes(const struct raft_entry *entry)
{
	return entry->buf.len + 16;
}

/* A frame takes a prefix of what libraft asks for, at least one entry. */
static void copy_entries(const struct raft_append_entries *from, struct raft_append_entries *to,
			 bool single, size_t *bytes)
{
	unsigned count = 0, most = single ? 1 : from->n_entries;
	size_t size = 0, at = 0;

	while (count < from->n_entries && count < most &&
	       (count == 0 || size + entry_bytes(&from->entries[count]) <= FRAME_BYTES))
		size += entry_bytes(&from->entries[count++]);
	*bytes += size;
	to->n_entries = count;
	to->entries = NULL;
	if (count == 0)
		return;
	uint8_t *batch = raft_malloc(size);

	to->entries = raft_malloc(count * sizeof *to->entries);
	for (unsigned i = 0; i < count; i++) {
		const struct raft_entry *entry = &from->entries[i];

		memcpy(batch + at, entry->buf.base, entry->buf.len);
		to->entries[i] = *entry;
		to->entries[i].batch = batch;
		to->entries[i].buf.base = batch + at;
		at += (entry->buf.len + 7) / 8 * 8;
	}
}

static void copy_snapshot(const struct raft_install_snapshot *from,
			  struct raft_install_snapshot *to)
{
	sim_configuration_copy(&from->conf, &to->conf);
	to->data.len = from->data.len;
	to->data.base = raft_malloc(from->data.len);
	memcpy(to->data.base, from->data.base, from->data.len);
}

static struct sim_message *copy_message(const struct raft_message *message, bool single)
{
	struct sim_message *copy = memory_zeroed(1, sizeof *copy);

	copy->bytes = OVERHEAD_BYTES;
	copy->message = *message;
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		copy_entries(&message->append_entries, &copy->message.append_entries, single,
			     &copy->bytes);
	if (message->type == RAFT_IO_INSTALL_SNAPSHOT)
		copy_snapshot(&message->install_snapshot, &copy->message.install_snapshot);
	return copy;
}

static void free_content(struct raft_message *message)
{
	if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
		raft_free(message->append_entries.entries[0].batch);
		raft_free(message->append_entries.entries);
	}
	if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&message->install_snapshot.conf);
		raft_free(message->install_snapshot.data.base);
	}
}

static void release(struct sim_message *message)
{
	ASSERT(message->references > 0);
	if (--message->references == 0)
		memory_free(message);
}

/* ---- what libraft waits for ---- */

static void add_unsent(struct sim_node *node, struct sim_message *message)
{
	message->next_unsent = node->unsent;
	message->previous_unsent = &node->unsent;
	if (node->unsent != NULL)
		node->unsent->previous_unsent = &message->next_unsent;
	node->unsent = message;
}

/* Done with it, or the node is not there any more to hear it. */
static struct raft_io_send *take_request(struct sim *sim, struct sim_message *message)
{
	struct raft_io_send *request = message->request;
	struct sim_node *node = &sim->nodes[message->from];

	message->request = NULL;
	if (request == NULL)
		return NULL;
	if (node->epoch != message->from_epoch)
		return NULL;
	link_of(sim, message)->unsent_bytes -= message->bytes;
	*message->previous_unsent = message->next_unsent;
	if (message->next_unsent != NULL)
		message->next_unsent->previous_unsent = message->previous_unsent;
	return request;
}

static void run_sent(struct sim *sim, struct sim_node *nobody, void *data)
{
	struct sim_message *message = data;
	struct sim_node *node = &sim->nodes[message->from];
	struct raft_io_send *request = take_request(sim, message);

	(void)nobody;
	if (request != NULL && !node->dying) {
		if (request->cb != NULL)
			request->cb(request, message->status);
		sim_node_after(node);
	}
	release(message);
}

static void finish_send(struct sim *sim, struct sim_message *message, int status, uint64_t delay)
{
	message->status = status;
	message->references++;
	sim_after(sim, delay, "sent", run_sent, NULL, message);
}

/* ---- arrival ---- */

static void deliver(struct sim *sim, struct sim_message *message)
{
	struct sim_node *node = &sim->nodes[message->to];

	message->message.server_id = message->from;
	message->message.server_address = sim->nodes[message->from].address;
	if (message->message.type == RAFT_IO_APPEND_ENTRIES_RESULT && !message->late)
		sim_check_walk(&sim->nodes[message->from], &link_of(sim, message)->walk,
			       &message->message.append_entries_result);
	node->receive(node->io, &message->message);
	sim_node_after(node);
}

static bool is_lost(struct sim *sim, const struct sim_message *message)
{
	const struct sim_node *node = &sim->nodes[message->to];

	if (!sim_node_is_up(node) || node->epoch != message->to_epoch || node->dying)
		return true;
	return link_of(sim, message)->connection != message->connection && !message->late;
}

static void run_arrival(struct sim *sim, struct sim_node *nobody, void *data)
{
	struct sim_message *message = data;
	struct sim_link *link = link_of(sim, message);
	bool lost = is_lost(sim, message);

	(void)nobody;
	if (!lost && link->cuts > 0 && sim->now - message->sent_at > CONNECTION_US) {
		link->connection++;
		lost = true;
	}
	if (!lost && (link->cuts > 0 || sim->nodes[message->to].paused)) {
		sim_after(sim, RETRY_US, "arrival", run_arrival, NULL, message);
		return;
	}
	if (!lost && link->connection != message->connection)
		sim->outcome.faults[FAULT_LATE]++;
	link->queued_bytes -= message->bytes;
	if (message->request != NULL && message->references == 1)
		finish_send(sim, message, lost ? RAFT_NOCONNECTION : 0, 0);
	if (lost)
		free_content(&message->message);
	else
		deliver(sim, message);
	release(message);
}

/* ---- sending ---- */

static uint64_t arrival_time(struct sim *sim, struct sim_link *link)
{
	const struct sim_profile *profile = &sim->profile;
	uint64_t latency = sim_between(sim, profile->latency_min, profile->latency_max);

	if (sim_chance(sim, 5))
		latency += sim_between(sim, 5 * SIM_MS, 80 * SIM_MS);
	if (link->slow_until > sim->now)
		latency += sim_between(sim, 20 * SIM_MS, 300 * SIM_MS);
	if (sim->now + latency > link->last_arrival)
		link->last_arrival = sim->now + latency;
	return link->last_arrival;
}

static void check_flow(struct sim *sim, const struct sim_message *message)
{
	size_t unsent = link_of(sim, message)->unsent_bytes;
	size_t allowed = sim->profile.in_flight_bytes + FRAME_BYTES + 1024 * OVERHEAD_BYTES;

	if (unsent > allowed)
		sim_violation(sim, "node %u keeps %zu bytes for node %u, allowed are %zu",
			      message->from, unsent, message->to, allowed);
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
		   const struct raft_message *message, raft_io_send_cb done)
{
	struct sim_node *node = sim_node_of(io);
	struct sim *sim = node->sim;
	unsigned to = (unsigned)message->server_id;

	if (node->dying)
		return message->type == RAFT_IO_APPEND_ENTRIES ? RAFT_NOCONNECTION : 0;
	if (to < 1 || to > sim->node_count) {
		sim_violation(sim, "node %u sends to node %u, which does not exist", node->number,
			      to);
		return RAFT_NOCONNECTION;
	}
	struct sim_message *copy = copy_message(message, sim->profile.single_frames);
	struct sim_link *link = &sim->links[node->number][to];

	request->cb = done;
	copy->from = node->number;
	copy->to = to;
	copy->connection = link->connection;
	copy->sent_at = sim->now;
	copy->from_epoch = node->epoch;
	copy->to_epoch = sim->nodes[to].epoch;
	copy->request = request;
	copy->references = 1;
	link->queued_bytes += copy->bytes;
	link->unsent_bytes += copy->bytes;
	add_unsent(node, copy);
	if (link->queued_bytes <= sim->profile.socket_bytes)
		finish_send(sim, copy, 0, sim_between(sim, 10, 200));
	/* Answers are small, and as many as there were requests: after a stall they come at once. */
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		check_flow(sim, copy);
	sim_at(sim, arrival_time(sim, link), "arrival", run_arrival, NULL, copy);
	return 0;
}

void sim_network_fill_io(struct raft_io *io)
{
	io->send = io_send;
}

/* ---- breaking ---- */

static void mark_late(struct sim *sim, unsigned from, unsigned to, uint64_t connection)
{
	for (size_t i = 0; i < sim->queue.count; i++) {
		struct sim_message *message = sim->queue.heap[i].data;

		if (sim->queue.heap[i].run == run_arrival && message->from == from &&
		    message->to == to && message->connection == connection)
			message->late = true;
	}
}

static void break_link(struct sim *sim, unsigned from, unsigned to, unsigned late_chance)
{
	struct sim_link *link = &sim->links[from][to];

	/* What is late is late together, and in order: it is in one buffer. */
	if (sim_chance(sim, late_chance))
		mark_late(sim, from, to, link->connection);
	link->connection++;
	link->last_arrival = sim->now;
}

/* A socket that is closed sends what is in it, unless something came that nobody has read. */
void sim_network_reset(struct sim_node *node, bool closed)
{
	struct sim *sim = node->sim;

	for (unsigned i = 1; i <= sim->node_count; i++) {
		if (i == node->number)
			continue;
		break_link(sim, i, node->number, 300);
		break_link(sim, node->number, i, closed ? 900 : 300);
	}
}

void sim_network_boot(struct sim_node *node)
{
	node->unsent = NULL;
	for (unsigned i = 1; i <= node->sim->node_count; i++)
		node->sim->links[node->number][i].unsent_bytes = 0;
}

void sim_network_cancel(struct sim_node *node)
{
	while (node->unsent != NULL) {
		struct raft_io_send *request = take_request(node->sim, node->unsent);

		if (request != NULL && request->cb != NULL)
			request->cb(request, RAFT_CANCELED);
	}
}
