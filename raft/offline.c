/*
 * Reading and replacing the log of a node that does not run: raft_uv under the guard's checks, on a loop
 * of its own that turns only while something is written.
 */
#include "raft/offline.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/random.h"
#include "raft/form.h"
#include "raft/guard.h"
#include "raft/hardstate.h"
#include "raft/io.h"
#include "raft/libraft_error.h"
#include "raft/payload.h"
#include "raft/preflight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#define PATH_BYTES 4096

struct offline {
	struct offline_options options;
	struct offline_facts facts;
	char directory[PATH_BYTES];
	uv_loop_t loop;
	struct io io;
	struct raft raft; /* nothing but what the guard looks at; libraft does not run */
	struct guard *guard;
	struct hardstate_file *hardstate;
	struct peers peers;
	struct form form; /* of the new cluster */
	raft_term term;
	raft_id vote;
	struct raft_snapshot *snapshot;
	raft_index start;
	struct raft_entry *entries;
	size_t count;
	struct error failure; /* that the guard told of */
	int status;           /* of what the loop turns for */
};

static void path_in(const char *data_dir, const char *name, char path[PATH_BYTES])
{
	int size = snprintf(path, PATH_BYTES, "%s/%s", data_dir, name);

	ASSERT(size > 0 && size < PATH_BYTES);
}

static int make_raft_directory(const char *data_dir, char path[PATH_BYTES], struct error *error)
{
	path_in(data_dir, "raft", path);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(error, errno, "create %s", path);
	return 0;
}

int offline_node_id(const char *data_dir, uint64_t *node_id, struct error *error)
{
	char path[PATH_BYTES];
	struct peers peers;

	path_in(data_dir, "peers", path);
	int status = peers_read(path, &peers, error);

	if (status == 0)
		*node_id = peers.node_id;
	return status;
}

/* ---- reading ---- */

static void on_guard_failed(void *arg, const struct error *error)
{
	struct offline *offline = arg;

	offline->failure = *error;
}

static int load_peers(struct offline *offline, struct error *error)
{
	char path[PATH_BYTES];

	path_in(offline->options.data_dir, "peers", path);
	int status = peers_read(path, &offline->peers, error);

	if (status == -ENOENT)
		return 0;
	if (status < 0)
		return status;
	if (offline->peers.node_id != offline->options.node_id)
		return error_set(error, -EEXIST,
				 "%s is the directory of node %" PRIu64 ", not of node %" PRIu64,
				 offline->options.data_dir, offline->peers.node_id,
				 offline->options.node_id);
	memcpy(offline->facts.cluster_id, offline->peers.cluster_id, CLUSTER_ID_BYTES);
	return 0;
}

static void take_member(const struct raft_server *server, struct member *member)
{
	struct endpoint endpoint = {0};
	struct error error;

	*member = (struct member){.id = server->id, .last_contact_ms = -1};
	member->role = server->role == RAFT_VOTER     ? MEMBER_VOTER
		       : server->role == RAFT_STANDBY ? MEMBER_STANDBY
						      : MEMBER_SPARE;
	if (endpoint_parse(server->address, &endpoint, &error) != 0)
		return;
	memcpy(member->peer_address, endpoint.peer, sizeof member->peer_address);
	memcpy(member->client_address, endpoint.client, sizeof member->client_address);
}

static void take_members(struct offline_facts *facts,
			 const struct raft_configuration *configuration)
{
	facts->member_count = 0;
	for (unsigned i = 0; i < configuration->n && i < LIMIT_MEMBERS; i++)
		take_member(&configuration->servers[i], &facts->members[facts->member_count++]);
}

static int take_changes(struct offline *offline, struct error *error)
{
	struct raft_configuration changed;

	for (size_t i = 0; i < offline->count; i++) {
		const struct raft_entry *entry = &offline->entries[i];

		if (entry->type != RAFT_CHANGE)
			continue;
		int status = wire_decode_configuration(span_of(entry->buf.base, entry->buf.len),
						       &changed, error);

		if (status < 0) {
			error_prefix(error, "raft index %llu", offline->start + i);
			return status;
		}
		take_members(&offline->facts, &changed);
		raft_configuration_close(&changed);
	}
	return 0;
}

static int take_facts(struct offline *offline, struct error *error)
{
	struct offline_facts *facts = &offline->facts;
	const struct raft_snapshot *snapshot = offline->snapshot;
	int status = 0;

	facts->term = offline->term;
	if (snapshot != NULL) {
		facts->has_snapshot = true;
		facts->snapshot_index = facts->last_index = snapshot->index;
		facts->last_term = snapshot->term;
		take_members(facts, &snapshot->configuration);
		status = snapshot->n_bufs == 1
				 ? manifest_decode(
					   span_of(snapshot->bufs[0].base, snapshot->bufs[0].len),
					   &facts->manifest, error)
				 : error_set(error, -EBADMSG, "the snapshot holds no manifest");
	}
	if (status == 0 && offline->count > 0) {
		facts->last_index = offline->start + offline->count - 1;
		facts->last_term = offline->entries[offline->count - 1].term;
		status = take_changes(offline, error);
	}
	if (status < 0)
		error_prefix(error, "%s", offline->directory);
	return status;
}

static int load(struct offline *offline, struct error *error)
{
	struct raft_io *io = guard_io(offline->guard);
	int status = io->init(io, offline->options.node_id, "offline");

	if (status == 0)
		status = io->load(io, &offline->term, &offline->vote, &offline->snapshot,
				  &offline->start, &offline->entries, &offline->count);
	if (status == 0)
		return take_facts(offline, error);
	/* What is refused is freed already. */
	offline->snapshot = NULL;
	offline->entries = NULL;
	offline->count = 0;
	const char *damage = guard_damage(offline->guard)->message;

	status = libraft_error(error, status, damage[0] != '\0' ? damage : io->errmsg);
	error_prefix(error, "%s", offline->directory);
	return status;
}

static int open_parts(struct offline *offline, struct error *error)
{
	struct guard_options options = {.rows = GUARD_ALL,
					.arg = offline,
					.fail = on_guard_failed,
					.store_applied_index =
						offline->options.store_applied_index};
	char path[PATH_BYTES];
	int status = load_peers(offline, error);

	if (status == 0)
		status = make_raft_directory(offline->options.data_dir, offline->directory, error);
	if (status == 0)
		status = raft_preflight(offline->directory, offline->options.segment_bytes, error);
	if (status < 0)
		return status;
	path_in(offline->options.data_dir, "hardstate", path);
	status = hardstate_file_open(&offline->hardstate, path,
				     offline->peers.stage != PEERS_STARTED, &options.loaded, error);
	if (status == 0)
		status = io_open(&offline->io, &offline->loop, offline->directory,
				 offline->options.segment_bytes, NULL, error);
	if (status < 0)
		return status;
	options.keeper = hardstate_file_keeper(offline->hardstate);
	offline->guard = guard_new(&offline->raft, &offline->io.raft_io, &options);
	return load(offline, error);
}

int offline_open(struct offline **into, const struct offline_options *options, struct error *error)
{
	struct offline *offline = memory_zeroed(1, sizeof *offline);
	int status = uv_loop_init(&offline->loop);

	if (status < 0) {
		memory_free(offline);
		return error_set_errno(error, -status, "an event loop cannot be had");
	}
	offline->options = *options;
	status = open_parts(offline, error);
	if (status < 0) {
		offline_close(offline);
		return status;
	}
	*into = offline;
	return 0;
}

const struct offline_facts *offline_facts(const struct offline *offline)
{
	return &offline->facts;
}

int offline_each_command(struct offline *offline, uint64_t after,
			 int (*visit)(void *arg, uint64_t index, struct span body,
				      struct error *error),
			 void *arg, struct error *error)
{
	for (size_t i = 0; i < offline->count; i++) {
		const struct raft_entry *entry = &offline->entries[i];
		uint64_t index = offline->start + i;
		struct payload payload;

		if (index <= after || entry->type != RAFT_COMMAND)
			continue;
		int status = payload_open(span_of(entry->buf.base, entry->buf.len), index, &payload,
					  error);

		if (status == 0)
			status = visit(arg, index, payload.body, error);
		if (status < 0)
			return status;
	}
	return 0;
}

/* ---- the end ---- */

/* raft_uv may call it more than once. */
static void on_disk_closed(struct raft_io *io)
{
	(void)io;
}

static void free_loaded(struct offline *offline)
{
	for (size_t i = 0; i < offline->count; i++)
		raft_free(offline->entries[i].buf.base);
	raft_free(offline->entries);
	if (offline->snapshot == NULL)
		return;
	raft_configuration_close(&offline->snapshot->configuration);
	for (unsigned i = 0; i < offline->snapshot->n_bufs; i++)
		raft_free(offline->snapshot->bufs[i].base);
	raft_free(offline->snapshot->bufs);
	raft_free(offline->snapshot);
}

void offline_close(struct offline *offline)
{
	if (offline->guard != NULL) {
		offline->io.disk_close(&offline->io.raft_io, on_disk_closed);
		uv_run(&offline->loop, UV_RUN_DEFAULT);
		guard_free(offline->guard);
		io_free(&offline->io);
	}
	hardstate_file_close(offline->hardstate);
	free_loaded(offline);
	uv_loop_close(&offline->loop);
	memory_free(offline);
}

/* ---- beginning anew ---- */

int offline_new_cluster(struct offline *offline, const char *peer_advertise,
			const char *client_advertise, uint8_t cluster_id[CLUSTER_ID_BYTES],
			struct error *error)
{
	struct roster roster = {.count = 1};
	int status = endpoint_set(&roster.members[0].endpoint, peer_advertise, client_advertise, 0,
				  error);

	if (status < 0)
		return status;
	roster.members[0].id = offline->options.node_id;
	/* A new instance: else the id of a node that was alone from the beginning would come again. */
	offline->peers =
		(struct peers){.node_id = offline->options.node_id, .instance = random_u64() | 1};
	form_init(&offline->form, offline->options.node_id, offline->options.cluster_name, &roster,
		  &offline->peers);
	form_finish(&offline->form);
	memcpy(cluster_id, offline->peers.cluster_id, CLUSTER_ID_BYTES);
	return 0;
}

static void on_snapshot_put(struct raft_io_snapshot_put *request, int status)
{
	struct offline *offline = request->data;

	offline->status = status;
	uv_stop(&offline->loop);
}

/* Trailing 0 makes raft_uv take it for one that replaces the whole log. */
static int put_snapshot(struct offline *offline, const struct manifest *manifest, uint64_t index,
			raft_term term)
{
	struct raft_io *io = &offline->io.raft_io;
	struct raft_io_snapshot_put request = {.data = offline};
	uint8_t bytes[MANIFEST_BYTES];
	struct raft_buffer buffer = {.base = bytes, .len = sizeof bytes};
	struct raft_snapshot snapshot = {.index = index,
					 .term = term,
					 .configuration_index = index,
					 .bufs = &buffer,
					 .n_bufs = 1};

	manifest_encode(manifest, bytes);
	form_first_configuration(&offline->form, &snapshot.configuration);
	int status = io->snapshot_put(io, 0, &request, &snapshot, on_snapshot_put);

	if (status == 0) {
		offline->status = RAFT_CANCELED; /* until it says otherwise */
		uv_run(&offline->loop, UV_RUN_DEFAULT);
		status = offline->status;
	}
	raft_configuration_close(&snapshot.configuration);
	return status;
}

static int save_peers(struct offline *offline, struct error *error)
{
	char path[PATH_BYTES];

	path_in(offline->options.data_dir, "peers", path);
	offline->peers.stage = PEERS_STARTED;
	return peers_save(path, &offline->peers, error);
}

int offline_begin(struct offline *offline, const struct manifest *manifest, uint64_t index,
		  struct error *error)
{
	struct raft_io *io = guard_io(offline->guard);
	raft_term term = offline->term + 1;

	ASSERT(offline->form.peers == &offline->peers && offline->peers.stage == PEERS_FORMED);
	ASSERT(index >= 1 && index >= offline->facts.last_index &&
	       index >= manifest->applied_index);
	/* Our own record first, then libraft's: the guard's order. */
	int status = io->set_term(io, term);

	if (offline->failure.message[0] != '\0') {
		*error = offline->failure;
		return -EIO;
	}
	if (status == 0)
		status = put_snapshot(offline, manifest, index, term);
	if (status != 0)
		return error_set(error, -EIO, "begin the log in %s: %s (%s)", offline->directory,
				 offline->io.raft_io.errmsg, raft_strerror(status));
	return save_peers(offline, error);
}

int offline_make_joining(const struct offline_options *options,
			 const uint8_t cluster_id[CLUSTER_ID_BYTES], struct error *error)
{
	/* The log begins with what the cluster sends; the store is ahead of it. */
	const struct hardstate ahead = {.pulled_index = options->store_applied_index};
	struct peers peers = {
		.node_id = options->node_id, .instance = random_u64() | 1, .stage = PEERS_FORMED};
	struct hardstate_file *hardstate;
	struct hardstate found;
	char path[PATH_BYTES];
	int status = make_raft_directory(options->data_dir, path, error);

	memcpy(peers.cluster_id, cluster_id, CLUSTER_ID_BYTES);
	path_in(options->data_dir, "hardstate", path);
	if (status == 0)
		status = hardstate_file_open(&hardstate, path, true, &found, error);
	if (status < 0)
		return status;
	struct hardstate_keeper keeper = hardstate_file_keeper(hardstate);

	status = keeper.save(keeper.impl, &ahead, error);
	hardstate_file_close(hardstate);
	path_in(options->data_dir, "peers", path);
	return status < 0 ? status : peers_save(path, &peers, error);
}
