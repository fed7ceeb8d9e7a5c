#include "node/restore.h"

#include "base/assert.h"
#include "base/clock.h"
#include "node/command.h"
#include "node/data_dir.h"
#include "raft/offline.h"
#include "storage/backup.h"
#include "storage/kv.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_MS 1000

static const char usage[] =
	"usage: annald restore FILE --data DIR [--join] [--config FILE] [--SETTING VALUE]...\n"
	"Makes the data folder DIR from a backup, for a node that is then started with the same\n"
	"settings (node-id, cluster-name, peer-advertise, client-advertise …).\n"
	"  without --join  a new cluster of this node alone; add others to it, with empty folders\n"
	"  --join          for a new node of the same cluster: start it, and add it to the cluster";

struct restore {
	const char *file;
	bool join;
	struct node_settings settings;
	struct backup_reader *reader;
	struct backup_header header;
	struct store *store;
	struct offline *offline; /* NULL: joining */
	struct manifest manifest;
	int64_t began_ms, told_ms;
};

static void print_header(const struct restore *restore)
{
	const struct backup_header *header = &restore->header;
	char cluster[COMMAND_CLUSTER_TEXT_BYTES], made[32];
	time_t seconds = (time_t)(header->created / 1000000000);
	struct tm utc;

	command_cluster_text(header->cluster_id, cluster);
	strftime(made, sizeof made, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
	printf("%s: made %s by node %" PRIu64 " of cluster %s, position %" PRIu64
	       ", hash %016" PRIx64 "\n",
	       restore->file, made, header->node_id, cluster, header->position, header->hash);
	fflush(stdout);
}

static void tell_progress(void *arg, const struct backup_progress *progress)
{
	struct restore *restore = arg;
	int64_t now = clock_monotonic_ms();

	if (now - restore->told_ms < PROGRESS_MS)
		return;
	restore->told_ms = now;
	printf("position %" PRIu64 " of %" PRIu64 " (%" PRIu64 " %%)\n", progress->position,
	       progress->wanted,
	       progress->wanted == 0 ? 100 : progress->position * 100 / progress->wanted);
	fflush(stdout);
}

static void offline_options_of(const struct restore *restore, struct offline_options *options)
{
	const struct node_settings *settings = &restore->settings;

	*options = (struct offline_options){.data_dir = settings->data_dir,
					    .cluster_name = settings->cluster_name,
					    .node_id = settings->node_id,
					    .segment_bytes = settings->segment_bytes,
					    .store_applied_index = restore->manifest.applied_index};
}

static int open_store(struct restore *restore, struct error *error)
{
	char path[SETTING_TEXT_BYTES + 16];
	const struct kv_lmdb_options kv = {.path = path, .create = true};
	struct store_options options = {.tail_bytes_max = restore->settings.tail_bytes};
	struct store_identity identity = {.node_id = restore->settings.node_id};

	snprintf(path, sizeof path, "%s/store", restore->settings.data_dir);
	memcpy(identity.cluster_id, restore->manifest.cluster_id, CLUSTER_ID_BYTES);
	int status = kv_lmdb_open(&options.kv, &kv, error);

	if (status == 0)
		status = store_open(&restore->store, &options, error);
	return status != 0 ? status : store_set_identity(restore->store, &identity, error);
}

/* The raft part of a new cluster is opened before the store: it draws the cluster's id. */
static int begin_cluster(struct restore *restore, struct error *error)
{
	struct offline_options options;

	/* A snapshot has an index; so has the state that it stands for. */
	if (restore->manifest.applied_index == 0)
		restore->manifest.applied_index = 1;
	offline_options_of(restore, &options);
	options.store_applied_index = 0; /* as yet */
	int status = offline_open(&restore->offline, &options, error);

	return status != 0 ? status
			   : offline_new_cluster(restore->offline, restore->settings.peer_advertise,
						 restore->settings.client_advertise,
						 restore->manifest.cluster_id, error);
}

static int finish(struct restore *restore, struct error *error)
{
	struct offline_options options;

	if (restore->offline != NULL)
		return offline_begin(restore->offline, &restore->manifest,
				     restore->manifest.applied_index, error);
	offline_options_of(restore, &options);
	return offline_make_joining(&options, restore->manifest.cluster_id, error);
}

static int fill(struct restore *restore, struct error *error)
{
	int status = 0;

	backup_manifest(&restore->header, &restore->manifest);
	if (!restore->join)
		status = begin_cluster(restore, error);
	if (status == 0)
		status = open_store(restore, error);
	if (status == 0)
		status = backup_restore(restore->store, restore->reader, &restore->manifest,
					tell_progress, restore, error);
	if (status == 0)
		status = finish(restore, error);
	if (restore->store != NULL)
		store_close(restore->store);
	if (restore->offline != NULL)
		offline_close(restore->offline);
	return status;
}

/* Everything was checked that can be without touching the folder. */
static int make(struct restore *restore, struct error *error)
{
	const char *data_dir = restore->settings.data_dir;
	int lock_fd = -1;
	int status = data_dir_make(data_dir, restore->settings.cluster_name, &lock_fd, error);

	if (status == 0)
		status = data_dir_mark(data_dir, DATA_DIR_RESTORE, error);
	if (status == 0)
		status = fill(restore, error);
	if (status == 0)
		status = data_dir_unmark(data_dir, error);
	if (lock_fd >= 0)
		close(lock_fd);
	return status;
}

static void print_done(const struct restore *restore)
{
	const struct node_settings *settings = &restore->settings;
	char cluster[COMMAND_CLUSTER_TEXT_BYTES];

	command_cluster_text(restore->manifest.cluster_id, cluster);
	printf("%s holds everything up to position %" PRIu64 " (%.1f s)\n", settings->data_dir,
	       restore->manifest.position,
	       (double)(clock_monotonic_ms() - restore->began_ms) / 1000);
	if (restore->join)
		printf("start node %" PRIu64 " with it, then: annal cluster add %" PRIu64
		       " %s %s\n",
		       settings->node_id, settings->node_id, settings->peer_advertise,
		       settings->client_advertise);
	else
		printf("start node %" PRIu64 " with it: it is cluster %s, alone, reached at %s "
		       "(peers: %s)\n",
		       settings->node_id, cluster, settings->client_advertise,
		       settings->peer_advertise);
}

static int check_header(const struct restore *restore, struct error *error)
{
	if (restore->join && restore->header.node_id == restore->settings.node_id)
		return error_set(error, -EINVAL,
				 "node-id is %" PRIu64
				 ", which made the backup: a node that joins needs an id that its "
				 "cluster never had",
				 restore->settings.node_id);
	return 0;
}

static int run(struct restore *restore)
{
	struct error error;
	int status = data_dir_check_empty(restore->settings.data_dir, &error);

	if (status == 0)
		status = backup_reader_open(&restore->reader, restore->file, &error);
	if (status != 0)
		return command_complain(command_exit_of(status), error.message);
	restore->header = *backup_reader_header(restore->reader);
	restore->began_ms = restore->told_ms = clock_monotonic_ms();
	status = check_header(restore, &error);
	if (status != 0) {
		backup_reader_close(restore->reader);
		return command_complain(NODE_EXIT_USAGE, error.message);
	}
	print_header(restore);
	status = make(restore, &error);
	backup_reader_close(restore->reader);
	if (status != 0) {
		error_prefix(&error, "nothing can be started on %s: remove it",
			     restore->settings.data_dir);
		return command_complain(command_exit_of(status), error.message);
	}
	print_done(restore);
	return NODE_EXIT_OK;
}

int restore_command(int argc, char **argv)
{
	struct restore restore = {0};
	struct error error;

	if (command_help(argc, argv, usage))
		return NODE_EXIT_OK;
	if (argc < 1 || argv[0][0] == '-')
		return command_complain(NODE_EXIT_USAGE, usage);
	restore.file = argv[0];
	argc--;
	argv++;
	restore.join = command_take_flag(&argc, argv, "--join");
	const char *data_dir = command_take_value(&argc, argv, "--data");

	if (data_dir == NULL || data_dir[0] == '\0')
		return command_complain(NODE_EXIT_USAGE, usage);
	settings_set_defaults(&node_settings_table, &restore.settings);
	if (command_read_settings(argc, argv, data_dir, &restore.settings, &error) != 0)
		return command_complain(NODE_EXIT_USAGE, error.message);
	return run(&restore);
}
