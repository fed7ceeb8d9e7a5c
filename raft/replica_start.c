/*
 * The data directory: whose it is. Opening, forming, starting raft.
 *
 *   stage of data_dir/peers   what a start does
 *   (no file)                 makes an instance, writes the file: NEW
 *   NEW                       forms or joins: cluster id into the file (FORMED) and into the store
 *   FORMED                    an initial member without a log begins it; raft starts: STARTED
 *   STARTED                   raft starts; a log or hard state that is missing is damage
 *
 * Everything here may touch the disk: it runs before the node serves, or once in its life.
 */
#include "raft/replica_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOL_THREADS                                                                               \
	"8" /* of libuv: the log's writes, snapshots that wait, names that are resolved */

static void path_in(const struct replica *replica, const char *name, char path[REPLICA_PATH_BYTES])
{
	int size = snprintf(path, REPLICA_PATH_BYTES, "%s/%s", replica->data_dir, name);

	ASSERT(size > 0 && size < REPLICA_PATH_BYTES);
}

/* ---- the directory ---- */

static int lock_directory(struct replica *replica, struct error *error)
{
	char path[REPLICA_PATH_BYTES];

	path_in(replica, "raft", path);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(error, errno, "create %s", path);
	replica->lock = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (replica->lock < 0)
		return error_set_errno(error, errno, "open %s", path);
	if (flock(replica->lock, LOCK_EX | LOCK_NB) < 0)
		return error_set_errno(error, errno, "%s is in use by another process", path);
	return 0;
}

/* Whether a file of the log is there: a segment or a snapshot; metadata alone is no log. */
static int find_log(struct replica *replica, bool *found, struct error *error)
{
	char path[REPLICA_PATH_BYTES];
	struct dirent *entry;

	*found = false;
	path_in(replica, "raft", path);
	DIR *directory = opendir(path);

	if (directory == NULL)
		return errno == ENOENT ? 0 : error_set_errno(error, errno, "open %s", path);
	while (!*found && (errno = 0, entry = readdir(directory)) != NULL)
		*found = entry->d_name[0] != '.' && strncmp(entry->d_name, "metadata", 8) != 0;
	int status = *found || errno == 0 ? 0 : error_set_errno(error, errno, "list %s", path);

	closedir(directory);
	return status;
}

/* A log that was begun only half: nothing was ever said to anybody on its behalf. */
static int forget_half_begun_log(struct replica *replica, struct error *error)
{
	static const char *const names[] = {"raft/metadata1", "raft/metadata2", "hardstate"};
	char path[REPLICA_PATH_BYTES];

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		path_in(replica, names[i], path);
		if (unlink(path) < 0 && errno != ENOENT)
			return error_set_errno(error, errno, "remove %s", path);
	}
	return 0;
}

static int make_peers(struct replica *replica, const char *path, struct error *error)
{
	struct store_identity identity;
	struct error ignored;

	bool has_log;
	int status = find_log(replica, &has_log, error);

	if (status < 0)
		return status;
	if (has_log || store_get_identity(replica->options.store, &identity, &ignored) == 0)
		return error_set(
			error, -EBADMSG,
			"%s is missing, but the directory has data: empty the directory and "
			"add the node again under a new id",
			path);
	replica->peers =
		(struct peers){.node_id = replica->options.node_id, .instance = random_u64() | 1};
	return peers_save(path, &replica->peers, error);
}

static int load_peers(struct replica *replica, struct error *error)
{
	char path[REPLICA_PATH_BYTES];

	path_in(replica, "peers", path);
	int status = peers_read(path, &replica->peers, error);

	if (status == -ENOENT)
		return make_peers(replica, path, error);
	if (status == 0 && replica->peers.node_id != replica->options.node_id)
		return error_set(error, -EEXIST,
				 "%s is the directory of node %" PRIu64 ", not of node %" PRIu64,
				 replica->data_dir, replica->peers.node_id,
				 replica->options.node_id);
	return status;
}

/* The store is of the same cluster and node as the peers file. */
static int claim_store(struct replica *replica, struct error *error)
{
	struct store_identity wanted = {.node_id = replica->options.node_id};
	struct store_identity found;

	memcpy(wanted.cluster_id, replica->peers.cluster_id, CLUSTER_ID_BYTES);
	int status = store_get_identity(replica->options.store, &found, error);

	if (status == -ENODATA)
		return store_set_identity(replica->options.store, &wanted, error);
	if (status < 0)
		return status;
	if (found.node_id != wanted.node_id ||
	    memcmp(found.cluster_id, wanted.cluster_id, CLUSTER_ID_BYTES) != 0)
		return error_set(error, -EEXIST,
				 "the store in %s is of another cluster or of node %" PRIu64,
				 replica->data_dir, found.node_id);
	return 0;
}

static int save_peers_now(struct replica *replica, struct error *error)
{
	char path[REPLICA_PATH_BYTES];

	path_in(replica, "peers", path);
	return peers_save(path, &replica->peers, error);
}

/* ---- peers found later are saved off the loop ---- */

static void save_run(uv_work_t *work)
{
	struct replica *replica = work->data;
	char path[REPLICA_PATH_BYTES];

	path_in(replica, "peers", path);
	replica->save_status =
		file_replace(path, buffer_span(&replica->save_bytes), &replica->save_error);
}

static void saved(uv_work_t *work, int status)
{
	struct replica *replica = work->data;

	(void)status;
	replica->saving = false;
	if (replica->save_status < 0)
		replica_fail(replica, &replica->save_error);
	else if (replica->save_wanted)
		replica_save_peers(replica);
}

void replica_save_peers(struct replica *replica)
{
	replica->save_wanted = replica->saving;
	if (replica->saving)
		return;
	buffer_clear(&replica->save_bytes);
	peers_encode(&replica->peers, &replica->save_bytes);
	replica->save.data = replica;
	replica->saving =
		uv_queue_work(replica->options.loop, &replica->save, save_run, saved) == 0;
}

/* ---- raft ---- */

static void own_endpoint(const struct replica *replica, char text[ENDPOINT_TEXT_BYTES])
{
	struct endpoint endpoint = {0};

	snprintf(endpoint.peer, sizeof endpoint.peer, "%s", replica->options.peer_advertise);
	snprintf(endpoint.client, sizeof endpoint.client, "%s", replica->options.client_advertise);
	endpoint_format(&endpoint, text);
}

static int open_with(struct replica *replica, struct instance_options *options, bool begin,
		     struct error *error)
{
	struct raft_configuration first;
	int status = begin ? forget_half_begun_log(replica, error) : 0;

	if (status < 0)
		return status;
	if (begin) {
		form_first_configuration(&replica->form, &first);
		options->first = &first;
	}
	status = instance_open(&replica->instance, options, error);
	if (begin)
		raft_configuration_close(&first);
	return status;
}

int replica_open_instance(struct replica *replica, bool bootstrap, struct error *error)
{
	struct instance_options options = {
		.loop = replica->options.loop,
		.transport = replica->transport,
		.data_dir = replica->data_dir,
		.node_id = replica->options.node_id,
		.endpoint = replica->form.endpoint,
		.election_timeout_ms = replica->options.election_timeout_ms,
		.heartbeat_ms = replica->options.heartbeat_ms,
		.log_retained_bytes = replica->options.log_retained_bytes,
		.log_trailing_bytes = replica->options.log_trailing_bytes,
		.segment_bytes = replica->options.segment_bytes,
		.create = replica->peers.stage != PEERS_STARTED,
	};
	struct store_status store;
	bool has_log = true;

	if (replica->state == REPLICA_PULLING)
		options.election_timeout_ms *= WITNESS_ELECTION_FACTOR;
	ASSERT(replica->instance == NULL &&
	       (replica->state == REPLICA_RUNNING || replica->state == REPLICA_PULLING));
	store_get_status(replica->options.store, &store);
	options.store_applied_index = store.applied_index;
	replica_fill_instance_options(replica, &options);
	int status = bootstrap ? find_log(replica, &has_log, error) : 0;

	if (status == 0)
		status = open_with(replica, &options, !has_log, error);
	if (status < 0)
		return status;
	replica->instance->io.muted = replica->pull_wanted;
	if (replica->peers.stage != PEERS_STARTED) {
		replica->peers.stage = PEERS_STARTED;
		status = save_peers_now(replica, error);
	}
	log_info("replica", "raft runs", "last_index=%llu snapshot_index=%" PRIu64 " members=%u",
		 raft_last_index(&replica->instance->raft),
		 instance_snapshot_index(replica->instance),
		 replica->instance->raft.configuration.n);
	replica_wake(replica);
	return status;
}

/* The cluster is known: note it for good, then start raft. */
static int leave_forming(struct replica *replica, struct error *error)
{
	bool initial = replica->peers.initial_count > 0;
	int status;

	if (replica->peers.stage == PEERS_NEW) {
		form_finish(&replica->form);
		initial = true;
	}
	status = save_peers_now(replica, error);
	if (status == 0)
		status = claim_store(replica, error);
	if (status < 0)
		return status;
	log_info("replica", initial ? "formed" : "joined", "cluster=%s", replica->cluster_name);
	replica_move(replica, REPLICA_RUNNING);
	return replica_open_instance(replica, initial, error);
}

static void ask_initial_members(struct replica *replica)
{
	const struct form *form = &replica->form;

	if (form_is_joining(form) || clock_monotonic_ms() - replica->asked_ms < REPLICA_ASK_MS)
		return;
	replica->asked_ms = clock_monotonic_ms();
	for (uint32_t i = 0; i < form->roster.count; i++) {
		char text[ENDPOINT_TEXT_BYTES];

		if (form->found[i].instance != 0)
			continue;
		endpoint_format(&form->roster.members[i].endpoint, text);
		transport_ask(replica->transport, form->found[i].id, text);
	}
}

void replica_form_turn(struct replica *replica)
{
	struct error error;

	if (replica->state != REPLICA_FORMING || replica->stop != STOP_NOT || replica->failed)
		return;
	if (!replica->form_wanted) {
		ask_initial_members(replica);
		return;
	}
	replica->form_wanted = false;
	if (leave_forming(replica, &error) < 0)
		replica_fail(replica, &error);
}

/* ---- as a whole ---- */

static int read_roster(struct replica *replica, struct roster *roster, struct error *error)
{
	const struct replica_options *options = &replica->options;
	int status = roster_parse(options->initial_members, roster, error);

	if (status < 0) {
		error_prefix(error, "initial members");
		return status;
	}
	if (roster->count == 0) {
		roster->count = 1;
		roster->members[0].id = options->node_id;
		status = endpoint_set(&roster->members[0].endpoint, options->peer_advertise,
				      options->client_advertise, 0, error);
	}
	return status;
}

static int check_options(const struct replica_options *options, struct error *error)
{
	struct endpoint endpoint;

	if (options->node_id == 0)
		return error_set(error, -EINVAL, "0 is no node id: give a number from 1");
	if (options->heartbeat_ms == 0 || options->election_timeout_ms < 2 * options->heartbeat_ms)
		return error_set(error, -EINVAL,
				 "an election timeout of %" PRIu64
				 " ms with a heartbeat of %" PRIu64
				 " ms: it must be at least twice as long",
				 options->election_timeout_ms, options->heartbeat_ms);
	if (strlen(options->cluster_name) >= HANDSHAKE_NAME_BYTES)
		return error_set(error, -EINVAL, "the cluster's name is longer than %d bytes",
				 HANDSHAKE_NAME_BYTES - 1);
	return endpoint_set(&endpoint, options->peer_advertise, options->client_advertise, 0,
			    error);
}

static int start_or_form(struct replica *replica, struct error *error)
{
	int status = 0;

	if (replica->peers.stage != PEERS_NEW) {
		status = claim_store(replica, error);
		if (status < 0)
			return status;
		replica->state = REPLICA_RUNNING;
		return replica_open_instance(replica,
					     replica->peers.initial_count > 0 &&
						     replica->peers.stage == PEERS_FORMED,
					     error);
	}
	if (form_is_complete(&replica->form))
		return leave_forming(replica, error);
	log_info("replica",
		 form_is_joining(&replica->form) ? "waiting to be added to a cluster" : "forming",
		 "cluster=%s", replica->cluster_name);
	return 0;
}

static int open_parts(struct replica *replica, struct error *error)
{
	struct transport_options transport = {.loop = replica->options.loop,
					      .listen = replica->options.peer_listen};
	struct roster roster;
	int status = read_roster(replica, &roster, error);

	if (status == 0)
		status = lock_directory(replica, error);
	if (status == 0)
		status = load_peers(replica, error);
	if (status < 0)
		return status;
	form_init(&replica->form, replica->options.node_id, replica->cluster_name, &roster,
		  &replica->peers);
	own_endpoint(replica, replica->form.endpoint);
	replica_fill_transport_options(replica, &transport);
	return transport_open(&replica->transport, &transport, error);
}

static void copy_options(struct replica *replica, const struct replica_options *options)
{
	replica->options = *options;
	snprintf(replica->data_dir, sizeof replica->data_dir, "%s", options->data_dir);
	snprintf(replica->cluster_name, sizeof replica->cluster_name, "%s", options->cluster_name);
	replica->options.data_dir = replica->data_dir;
	replica->options.cluster_name = replica->cluster_name;
	replica->lock = -1;
	buffer_init(&replica->save_bytes);
}

static void free_unstarted(struct replica *replica)
{
	if (replica->lock >= 0)
		close(replica->lock);
	memory_free(replica);
}

int replica_start(struct replica **into, const struct replica_options *options, struct error *error)
{
	struct replica *replica;
	int status = check_options(options, error);

	if (status < 0)
		return status;
	/* Takes effect when libuv's pool is used for the first time. */
	setenv("UV_THREADPOOL_SIZE", POOL_THREADS, 0);
	replica = memory_zeroed(1, sizeof *replica);
	copy_options(replica, options);
	status = open_parts(replica, error);
	if (status < 0) {
		free_unstarted(replica);
		return status;
	}
	replica_open_handles(replica);
	replica->starting = true;
	status = start_or_form(replica, error);
	replica->starting = false;
	if (replica->failed) {
		status = replica->start_status != 0 ? replica->start_status : -EIO;
		*error = replica->start_error;
	}
	if (status < 0) {
		replica_abandon(replica);
		return status;
	}
	*into = replica;
	return 0;
}
