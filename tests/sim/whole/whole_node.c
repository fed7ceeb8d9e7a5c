/*
 * A node: as annald starts it, on a host of its own. What main() does beside that, signals among it, is left
 * out. The tables are the key-value store in memory, whose commits take as long as a disk does.
 */
#include "base/log.h"
#include "node/node.h"
#include "raft/log_files.h"
#include "storage/kv.h"
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

/* ---- tables: instead of storage/kv_lmdb.c ---- */

static const struct kv_operations *memory_operations;
static struct kv_operations slow_operations;

static int slow_commit(struct kv_txn *txn, struct error *error)
{
	os_disk_delay(os_current()->disk);
	return memory_operations->commit(txn, error);
}

int kv_lmdb_open(struct kv **kv, const struct kv_lmdb_options *options, struct error *error)
{
	(void)options, (void)error;
	*kv = kv_memory_open(whole.nodes[os_current()->number - 1].tables);
	memory_operations = (*kv)->operations;
	slow_operations = *memory_operations;
	slow_operations.commit = slow_commit;
	(*kv)->operations = &slow_operations;
	return 0;
}

/* ---- settings ---- */

static void set(struct node_settings *settings, const char *name, const char *before,
		uint64_t value, const char *behind)
{
	char text[64];
	struct error error;

	snprintf(text, sizeof text, "%s%" PRIu64 "%s", before, value, behind);
	int status = settings_set(&node_settings_table, settings, name, text, &error);

	ASSERT(status == 0);
}

static void set_members(const struct whole_node *node, struct node_settings *settings)
{
	size_t size = 0;

	const char *between = "";

	/* A new cluster, or the one that it will be added to. */
	for (unsigned i = 1; i <= whole.nodes_count; i++) {
		if (node->process->number > whole.options.nodes
			    ? i == node->process->number || whole.nodes[i - 1].retired
			    : i > whole.options.nodes)
			continue;
		size += (size_t)snprintf(settings->initial_members + size,
					 sizeof settings->initial_members - size,
					 "%s%u=10.0.0.%u:%u/10.0.0.%u:%u", between, i, i,
					 WHOLE_PEER_PORT, i, WHOLE_CLIENT_PORT);
		between = ",";
	}
}

static void make_settings(const struct whole_node *node, struct node_settings *settings)
{
	const struct whole_limits *limits = &whole.limits;
	struct error error;

	settings_set_defaults(&node_settings_table, settings);
	set(settings, "node-id", "", node->process->number, "");
	set(settings, "client-listen", "10.0.0.", node->process->number, ":7001");
	set(settings, "peer-listen", "10.0.0.", node->process->number, ":7101");
	set(settings, "data-dir", "/annal/", node->process->number, "");
	set(settings, "election-timeout-ms", "", limits->election_ms, "");
	set(settings, "heartbeat-ms", "", limits->election_ms / 6, "");
	set(settings, "max-append", "", 64 * 1024, "");
	set(settings, "max-event", "", 32 * 1024, "");
	set(settings, "out-queue-bytes", "", limits->out_queue_bytes, "");
	set(settings, "tail-bytes", "", limits->tail_bytes, "");
	set(settings, "log-retained-bytes", "", limits->log_bytes, "");
	set(settings, "log-trailing-bytes", "", limits->trailing_bytes, "");
	set(settings, "segment-bytes", "", 2304 * 1024, "");
	set(settings, "read-threads", "", limits->read_threads, "");
	set_members(node, settings);
	int status = node_settings_prepare(settings, &error);

	if (status != 0)
		os_violation("settings of a node: %s", error.message);
}

/* ---- its life ---- */

static const char *reason_of(enum node_exit code, const struct error *error)
{
	static char text[OS_MESSAGE_BYTES];

	snprintf(text, sizeof text, "exit code %d: %.300s", (int)code, error->message);
	return text;
}

/* All that a node that stopped in order had open is closed. */
static void check_closed(const struct os_process *process)
{
	unsigned files = os_process_files(process);
	unsigned fibers = os_process_fibers(process);

	if (files > 0 || fibers > 1)
		os_violation("%s has ended with %u descriptors open and %u threads running",
			     process->name, files, fibers - 1);
}

static void *run_node(void *arg)
{
	struct whole_node *node = arg;
	struct node_settings settings;
	struct error error = {0};

	make_settings(node, &settings);
	log_files_watch();
	enum node_exit code = node_start(&node->node, &settings, &error);

	if (code != NODE_EXIT_OK) {
		os_trace("does not start: %s", reason_of(code, &error));
		if (!node->excused)
			os_violation("%s does not start: %s", node->process->name,
				     reason_of(code, &error));
		os_process_exit((int)code);
	}
	node->serving = true;
	node_run(node->node);
	node->node = NULL;
	check_closed(node->process);
	os_process_exit(0);
}

void whole_node_start(struct whole_node *node)
{
	os_trace("%s starts", node->process->name);
	node->node = NULL;
	node->stopping = node->serving = false;
	os_process_start(node->process, run_node, node);
}

/* What of it the simulator must not look at any more. */
void whole_node_gone(struct whole_node *node)
{
	node->node = NULL;
	node->serving = false;
}

/* ---- looking at it ---- */

#define SEEN_MAX 65536
#define TERM_MAX 65536

static struct {
	uint64_t hash[SEEN_MAX]; /* by head, of all nodes; 0: not seen */
	uint64_t leader[TERM_MAX];
} seen;

struct look {
	struct node_post post; /* first */
	struct whole_node *node;
};

static void check_digest(struct whole_node *node, const struct store_status *status)
{
	node->head = status->head;
	node->hash = status->hash;
	node->seen_at = os.now;
	os_record(status->hash);
	if (status->ingesting || status->head >= SEEN_MAX)
		return;
	if (seen.hash[status->head] != 0 && seen.hash[status->head] != status->hash)
		os_violation("%s has another digest at position %" PRIu64 " than others",
			     node->process->name, status->head);
	seen.hash[status->head] = status->hash;
}

static void check_leader(const struct whole_node *node, const struct replica_status *status)
{
	if (status->leader_id != node->process->number || status->role != REPLICA_LEADER ||
	    status->term >= TERM_MAX)
		return;
	uint64_t *leader = &seen.leader[status->term];

	if (*leader == 0)
		whole_saw(WHOLE_SEEN_ELECTED);
	if (*leader != 0 && *leader != status->leader_id)
		os_violation("nodes %" PRIu64 " and %" PRIu64 " both lead in term %" PRIu64,
			     *leader, status->leader_id, status->term);
	*leader = status->leader_id;
	if (status->term > whole.leader_term) {
		whole.leader_term = status->term;
		whole.leader = (unsigned)status->leader_id;
	}
}

bool whole_node_serves(const struct whole_node *node)
{
	return node->serving && node->process->runs && !node->node->stopping;
}

static void note_pulling(struct whole_node *node, const struct replica_status *status)
{
	bool pulling = status->state == REPLICA_PULLING;

	if (pulling && !node->pulling)
		whole_saw(WHOLE_SEEN_PULLED);
	node->pulling = pulling;
}

static void look(struct node_post *post)
{
	struct look *looking = (struct look *)post;
	struct whole_node *node = looking->node;
	struct store_status status;

	memory_free(looking);
	if (!whole_node_serves(node))
		return;
	store_get_status(node->node->store, &status);
	check_digest(node, &status);
	note_pulling(node, node_replica_status(node->node));
	check_leader(node, node_replica_status(node->node));
}

static void *post_look(void *arg)
{
	struct whole_node *node = arg;
	struct look *looking;

	if (!whole_node_serves(node))
		return NULL;
	looking = memory_zeroed(1, sizeof *looking);
	looking->post.run = look;
	looking->node = node;
	node_post(node->node, &looking->post);
	return NULL;
}

void whole_node_look(struct whole_node *node)
{
	if (whole_node_serves(node) && !node->process->paused)
		os_fiber_detach(os_fiber_new(node->process, post_look, node));
}

uint64_t whole_node_head(const struct whole_node *node)
{
	return whole_node_serves(node) ? store_head(node->node->store) : 0;
}

bool whole_nodes_agree(uint64_t since)
{
	const struct whole_node *first = NULL;

	for (unsigned i = 0; i < whole.nodes_count; i++) {
		const struct whole_node *node = &whole.nodes[i];

		if (node->retired)
			continue;
		if (first == NULL)
			first = node;
		if (!whole_node_serves(node) || node->seen_at <= since ||
		    node->head != first->head || node->hash != first->hash)
			return false;
	}
	return true;
}

/* ---- its end ---- */

struct stopping {
	struct node_post post; /* first */
	struct node *node;
};

static void stop(struct node_post *post)
{
	struct stopping *stopping = (struct stopping *)post;
	struct node *node = stopping->node;

	memory_free(stopping);
	node_stop(node);
}

/* As a signal does it: on the loop of the node. */
static void *post_stop(void *arg)
{
	struct whole_node *node = arg;
	struct stopping *stopping = memory_zeroed(1, sizeof *stopping);

	stopping->post.run = stop;
	stopping->node = node->node;
	node_post(node->node, &stopping->post);
	return NULL;
}

void whole_node_stop(struct whole_node *node)
{
	ASSERT(whole_node_serves(node) && !node->stopping);
	os_trace("%s is asked to stop", node->process->name);
	node->stopping = true;
	node->serving = false;
	os_fiber_detach(os_fiber_new(node->process, post_stop, node));
}

void whole_nodes_make(void)
{
	while (whole.nodes_count < whole.options.nodes)
		whole_node_make();
}

unsigned whole_node_make(void)
{
	ASSERT(whole.nodes_count < WHOLE_NODES_MAX);
	struct whole_node *node = &whole.nodes[whole.nodes_count++];
	unsigned number = whole.nodes_count;

	node->process = &os.processes[number];
	snprintf(node->process->name, sizeof node->process->name, "node %u", number);
	node->process->disk = os_disk_new();
	node->tables = kv_memory_disk_new();
	return number;
}

void whole_node_wipe(struct whole_node *node)
{
	ASSERT(!node->process->runs);
	os_disk_wipe(node->process->disk);
	node->tables = kv_memory_disk_new();
}

bool whole_node_in_use(const struct whole_node *node)
{
	return node->process != NULL && !node->retired;
}

unsigned whole_pick_node(void)
{
	unsigned at = (unsigned)os_between(0, whole.nodes_count - 1);

	while (!whole_node_in_use(&whole.nodes[at]))
		at = (at + 1) % whole.nodes_count;
	return at + 1;
}
