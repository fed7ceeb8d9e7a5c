#include "node/recover.h"

#include "base/assert.h"
#include "base/memory.h"
#include "node/command.h"
#include "node/data_dir.h"
#include "raft/offline.h"
#include "storage/kv.h"
#include "storage/tables.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] =
	"usage: annald recover --data DIR [--inspect | --accept-loss] [--config FILE] [--SETTING "
	"VALUE]...\n"
	"When most voters of a cluster are gone for good: makes a new cluster of the node with "
	"the\n"
	"data folder DIR alone. The node does not run.\n"
	"  --inspect      print how far this folder goes, to choose the node with the most\n"
	"  --accept-loss  do it; what other nodes have and this one has not is lost\n"
	"  without both   print what would be done";

struct recovery {
	const char *data_dir;
	bool inspect, accepted;
	uint64_t node_id;
	struct node_settings settings;
	struct store_status status; /* before anything is done */
	bool covers;                /* the store has all that the snapshot speaks of */
	uint64_t commands;          /* in the log, not yet applied */
	struct offline *offline;
	struct store *store;
};

/* ---- looking ---- */

static int open_store(struct recovery *recovery, bool write, const struct store_identity *identity,
		      struct error *error)
{
	char path[SETTING_TEXT_BYTES + 16];
	const struct kv_lmdb_options kv = {.path = path, .read_only = !write};
	struct store_options options = {.tail_bytes_max = LIMIT_TAIL_BYTES};

	snprintf(path, sizeof path, "%s/store", recovery->data_dir);
	int status = kv_lmdb_open(&options.kv, &kv, error);

	if (status == 0 && identity != NULL) {
		status = tables_write_identity(options.kv, identity, error);
		if (status != 0)
			kv_close(options.kv);
	}
	return status != 0 ? status : store_open(&recovery->store, &options, error);
}

static void close_store(struct recovery *recovery)
{
	if (recovery->store != NULL)
		store_close(recovery->store);
	recovery->store = NULL;
}

static int look_at_store(struct recovery *recovery, struct error *error)
{
	int status = open_store(recovery, false, NULL, error);

	if (status != 0)
		return status;
	store_get_status(recovery->store, &recovery->status);
	close_store(recovery);
	return 0;
}

static int count_command(void *arg, uint64_t index, struct span body, struct error *error)
{
	struct recovery *recovery = arg;

	(void)index, (void)body, (void)error;
	recovery->commands++;
	return 0;
}

static int look_at_log(struct recovery *recovery, struct error *error)
{
	const struct offline_options options = {.data_dir = recovery->data_dir,
						.cluster_name = recovery->settings.cluster_name,
						.node_id = recovery->node_id,
						.segment_bytes = LIMIT_SEGMENT_BYTES,
						.store_applied_index =
							recovery->status.applied_index};
	int status = offline_open(&recovery->offline, &options, error);

	if (status != 0)
		return status;
	const struct offline_facts *facts = offline_facts(recovery->offline);

	recovery->covers = !recovery->status.ingesting &&
			   (!facts->has_snapshot ||
			    facts->manifest.applied_index <= recovery->status.applied_index);
	if (!recovery->covers && recovery->status.horizon > recovery->status.head)
		return error_set(error, -ENODATA,
				 "%s: this node was catching up, and what it has up to position "
				 "%" PRIu64 " is not whole without the records up to %" PRIu64
				 ": choose another node, or restore a backup",
				 recovery->data_dir, recovery->status.head,
				 recovery->status.horizon);
	if (!recovery->covers)
		return 0;
	return offline_each_command(recovery->offline, recovery->status.applied_index,
				    count_command, recovery, error);
}

static const struct member *own_member(const struct recovery *recovery)
{
	const struct offline_facts *facts = offline_facts(recovery->offline);

	for (uint32_t i = 0; i < facts->member_count; i++)
		if (facts->members[i].id == recovery->node_id)
			return &facts->members[i];
	return NULL;
}

/* Addresses that the settings do not give stay what they were. */
static int read_settings(struct recovery *recovery, int argc, char **argv, struct error *error)
{
	struct node_settings *settings = &recovery->settings;
	const struct member *own = own_member(recovery);

	settings->node_id = recovery->node_id;
	if (own != NULL) {
		snprintf(settings->peer_advertise, sizeof settings->peer_advertise, "%s",
			 own->peer_address);
		snprintf(settings->client_advertise, sizeof settings->client_advertise, "%s",
			 own->client_address);
	}
	int status = command_read_settings(argc, argv, recovery->data_dir, settings, error);

	if (status == 0 && settings->node_id != recovery->node_id)
		return error_set(error, -EXDEV,
				 "%s is the folder of node %" PRIu64 ", not of node %" PRIu64,
				 recovery->data_dir, recovery->node_id, settings->node_id);
	return status;
}

/* ---- telling ---- */

static void print_members(const struct offline_facts *facts)
{
	for (uint32_t i = 0; i < facts->member_count; i++)
		printf("member: %" PRIu64 " %s %s %s\n", facts->members[i].id,
		       member_role_name(facts->members[i].role), facts->members[i].peer_address,
		       facts->members[i].client_address);
}

static void print_facts(const struct recovery *recovery)
{
	const struct offline_facts *facts = offline_facts(recovery->offline);
	const struct store_status *status = &recovery->status;
	char cluster[COMMAND_CLUSTER_TEXT_BYTES];

	command_cluster_text(facts->cluster_id, cluster);
	printf("node: %" PRIu64 "\ncluster_name: %s\ncluster: %s\n", recovery->node_id,
	       recovery->settings.cluster_name, cluster);
	printf("term: %" PRIu64 "\nlast_term: %" PRIu64 "\nlast_index: %" PRIu64
	       "\nsnapshot_index: %" PRIu64 "\n",
	       facts->term, facts->last_term, facts->last_index, facts->snapshot_index);
	printf("applied_index: %" PRIu64 "\nhead: %" PRIu64 "\nhash: %016" PRIx64 "\n",
	       status->applied_index, status->head, status->hash);
	printf("commands_to_apply: %" PRIu64 "\ncatching_up: %s\n", recovery->commands,
	       recovery->covers ? "no" : "yes");
	print_members(facts);
}

static void print_plan(const struct recovery *recovery)
{
	const struct offline_facts *facts = offline_facts(recovery->offline);
	const struct node_settings *settings = &recovery->settings;

	printf("\nWhat this does:\n");
	if (recovery->covers)
		printf("- %" PRIu64 " commands of the log that are not in the store yet are "
		       "applied, also those that were never agreed upon\n",
		       recovery->commands);
	else
		printf("- this node was catching up: it keeps the records up to position %" PRIu64
		       " and NOTHING of what came after them (the cluster had at least position "
		       "%" PRIu64 "). Choose another node if there is one\n",
		       recovery->status.head, facts->manifest.position);
	printf("- a new cluster begins with node %" PRIu64
	       " as its only member (clients: %s, peers: %s); the old members are none any more, "
	       "and are refused\n",
	       recovery->node_id, settings->client_advertise, settings->peer_advertise);
	printf("- events that were acknowledged by others and are not here are LOST; the log of "
	       "the "
	       "old cluster is removed from %s\n",
	       recovery->data_dir);
}

/* ---- doing ---- */

static int apply_command(void *arg, uint64_t index, struct span body, struct error *error)
{
	struct recovery *recovery = arg;
	struct apply_result result;
	int status = store_apply(recovery->store, index, memory_copy(body.data, body.size),
				 body.size, NULL, &result, error);

	if (status == 0 && store_is_full(recovery->store))
		status = store_flush(recovery->store, error);
	return status;
}

/* What the store has is all there will be, as if it had been asked for. */
static int end_catching_up(struct recovery *recovery, uint64_t index,
			   const uint8_t cluster_id[CLUSTER_ID_BYTES], struct error *error)
{
	const struct store_status *status = &recovery->status;
	struct manifest manifest = {.applied_index = index,
				    .position = status->head,
				    .created = status->created,
				    .hash = status->hash};

	memcpy(manifest.cluster_id, cluster_id, CLUSTER_ID_BYTES);
	int rc = store_ingest_begin(recovery->store, error);

	return rc != 0 ? rc : store_ingest_end(recovery->store, &manifest, error);
}

static int fold_log(struct recovery *recovery, uint64_t index,
		    const uint8_t cluster_id[CLUSTER_ID_BYTES], struct error *error)
{
	if (!recovery->covers)
		return end_catching_up(recovery, index, cluster_id, error);
	int status = offline_each_command(recovery->offline, recovery->status.applied_index,
					  apply_command, recovery, error);

	return status != 0 ? status : store_flush(recovery->store, error);
}

static uint64_t index_to_begin_at(const struct recovery *recovery)
{
	uint64_t last = offline_facts(recovery->offline)->last_index;
	uint64_t applied = recovery->status.applied_index;
	uint64_t index = last > applied ? last : applied;

	return index > 0 ? index : 1;
}

static int do_it(struct recovery *recovery, struct error *error)
{
	struct store_identity identity = {.node_id = recovery->node_id};
	uint64_t index = index_to_begin_at(recovery);
	struct manifest manifest;
	int status = data_dir_mark(recovery->data_dir, DATA_DIR_RECOVER, error);

	if (status == 0)
		status = offline_new_cluster(recovery->offline, recovery->settings.peer_advertise,
					     recovery->settings.client_advertise,
					     identity.cluster_id, error);
	if (status == 0)
		status = open_store(recovery, true, &identity, error);
	if (status == 0)
		status = fold_log(recovery, index, identity.cluster_id, error);
	if (status == 0) {
		store_get_manifest(recovery->store, &manifest);
		store_get_status(recovery->store, &recovery->status);
		status = offline_begin(recovery->offline, &manifest, index, error);
	}
	close_store(recovery);
	return status != 0 ? status : data_dir_unmark(recovery->data_dir, error);
}

static void print_done(const struct recovery *recovery)
{
	printf("\ndone: position %" PRIu64 ", hash %016" PRIx64 ". Start node %" PRIu64
	       ", check what it holds, then add others with empty folders. Never start a node of "
	       "the old cluster again: remove their data\n",
	       recovery->status.head, recovery->status.hash, recovery->node_id);
}

/* ---- the command ---- */

static int begin(struct recovery *recovery, int *lock_fd, struct error *error)
{
	struct node_settings *settings = &recovery->settings;
	int status;

	settings_set_defaults(&node_settings_table, settings);
	status = data_dir_cluster(recovery->data_dir, settings->cluster_name,
				  sizeof settings->cluster_name, error);
	if (status == 0 && settings->cluster_name[0] == '\0')
		status = error_set(error, -ENOENT, "%s is no data folder of a node",
				   recovery->data_dir);
	if (status == 0)
		status = data_dir_check_marked(recovery->data_dir, settings->cluster_name,
					       DATA_DIR_RECOVER, lock_fd, error);
	if (status == 0)
		status = offline_node_id(recovery->data_dir, &recovery->node_id, error);
	if (status == 0)
		status = look_at_store(recovery, error);
	return status != 0 ? status : look_at_log(recovery, error);
}

static int run(struct recovery *recovery, int argc, char **argv, struct error *error)
{
	print_facts(recovery);
	if (recovery->inspect)
		return 0;
	char cluster_name[SETTING_TEXT_BYTES];

	memcpy(cluster_name, recovery->settings.cluster_name, sizeof cluster_name);
	int status = read_settings(recovery, argc, argv, error);

	if (status == 0 && strcmp(cluster_name, recovery->settings.cluster_name) != 0)
		status = error_set(error, -EXDEV,
				   "%s holds the data of cluster \"%.100s\", not of \"%.100s\" "
				   "(cluster-name)",
				   recovery->data_dir, cluster_name,
				   recovery->settings.cluster_name);
	if (status != 0)
		return status;
	print_plan(recovery);
	fflush(stdout);
	if (!recovery->accepted)
		return error_set(error, -EINVAL,
				 "nothing was done: say --accept-loss once you have chosen this "
				 "node, and no other node of the cluster can come back");
	status = do_it(recovery, error);
	if (status == 0)
		print_done(recovery);
	else
		error_prefix(error, "not finished, run the same command again");
	return status;
}

int recover_command(int argc, char **argv)
{
	struct recovery recovery = {0};
	struct error error;
	int lock_fd = -1;

	if (command_help(argc, argv, usage))
		return NODE_EXIT_OK;
	recovery.inspect = command_take_flag(&argc, argv, "--inspect");
	recovery.accepted = command_take_flag(&argc, argv, "--accept-loss");
	recovery.data_dir = command_take_value(&argc, argv, "--data");
	if (recovery.data_dir == NULL || strlen(recovery.data_dir) >= SETTING_TEXT_BYTES ||
	    (recovery.inspect && recovery.accepted))
		return command_complain(NODE_EXIT_USAGE, usage);
	int status = begin(&recovery, &lock_fd, &error);

	if (status == 0)
		status = run(&recovery, argc, argv, &error);
	if (recovery.offline != NULL)
		offline_close(recovery.offline);
	if (lock_fd >= 0)
		close(lock_fd);
	return status == 0 ? NODE_EXIT_OK
			   : command_complain(command_exit_of(status), error.message);
}
