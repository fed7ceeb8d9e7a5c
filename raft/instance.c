#include "raft/instance.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/libraft_error.h"
#include "raft/preflight.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define NEVER_THRESHOLD (1u << 30)
#define PATH_BYTES      4096
/*
 * A manifest is tiny; who got one pulls what it lacks, with raft closed, and cannot tell the leader when it is
 * back. Until the leader sends the next one it sends nothing else: longer than the log that is kept
 * lasts, a node would never catch up under load.
 */
#define INSTALL_TIMEOUT_MS 1000

bool instance_is_leader(const struct instance *instance)
{
	return instance != NULL && instance->raft.state == RAFT_LEADER;
}

uint64_t instance_last_term(const struct instance *instance)
{
	const struct raft *raft = &instance->raft;
	const struct raft_entry *entry = guard_entry(raft, raft->last_stored);

	return entry != NULL ? entry->term : raft->log.snapshot.last_term;
}

uint64_t instance_snapshot_index(const struct instance *instance)
{
	return instance->raft.log.snapshot.last_index;
}

static bool is_long(struct instance *instance)
{
	struct raft *raft = &instance->raft;
	uint64_t entries = raft_last_index(raft) - raft->log.offset;

	return guard_log_bytes(instance->guard) > instance->log_retained_bytes ||
	       entries > LIMIT_LOG_ENTRIES / 2;
}

void instance_steer(struct instance *instance)
{
	raft_set_snapshot_threshold(&instance->raft, is_long(instance) ? 1 : NEVER_THRESHOLD);
}

bool instance_wants_cut(struct instance *instance)
{
	return is_long(instance) && instance->raft.snapshot.pending.term == 0;
}

void instance_set_trailing(struct instance *instance, uint64_t index)
{
	const struct raft_entry *entry;
	uint64_t bytes = 0;
	unsigned trailing = 0;

	ASSERT(index > 0); /* index 0 is never there */
	while (trailing < LIMIT_LOG_ENTRIES / 4) {
		entry = guard_entry(&instance->raft, index - trailing);
		if (entry == NULL)
			break;
		bytes += entry->buf.len;
		if (bytes > instance->log_trailing_bytes)
			break;
		trailing++;
	}
	raft_set_snapshot_trailing(&instance->raft, trailing);
}

const struct raft_progress *instance_progress(const struct instance *instance, uint64_t id)
{
	if (!instance_is_leader(instance))
		return NULL;
	for (unsigned i = 0; i < instance->raft.configuration.n; i++)
		if (instance->raft.configuration.servers[i].id == id)
			return &instance->raft.leader_state.progress[i];
	return NULL;
}

/* ---- opening ---- */

static int open_hardstate(struct instance *instance, const struct instance_options *options,
			  struct hardstate *loaded, struct error *error)
{
	char path[PATH_BYTES];

	snprintf(path, sizeof path, "%s/hardstate", options->data_dir);
	int status =
		hardstate_file_open(&instance->hardstate, path, options->create, loaded, error);

	if (status == -ENOENT)
		error_prefix(error,
			     "this directory had a log before, but its hard state is missing");
	return status;
}

static void make_guard(struct instance *instance, const struct instance_options *options,
		       const struct hardstate *loaded)
{
	struct guard_options guard = {
		.rows = GUARD_ALL,
		.peer_in_flight_bytes = LIMIT_PEER_IN_FLIGHT_BYTES,
		.peer_in_flight_messages = 256,
		.keeper = hardstate_file_keeper(instance->hardstate),
		.loaded = *loaded,
		.store_applied_index = options->store_applied_index,
		.arg = options->arg,
		.became_leader = options->became_leader,
		.changed = options->changed,
		.fail = options->fail,
		.accepts_entries = options->accepts_entries,
	};
	struct fsm_downstream downstream = options->downstream;

	downstream.arg = options->arg;
	instance->io.endpoint_of = options->endpoint_of;
	instance->io.arg = options->arg;
	instance->fsm = fsm_new(&instance->raft, &downstream);
	instance->guard = guard_new(&instance->raft, &instance->io.raft_io, &guard);
	fsm_set_guard(instance->fsm, instance->guard);
}

static void configure(struct instance *instance, const struct instance_options *options)
{
	struct raft *raft = &instance->raft;

	raft_set_election_timeout(raft, (unsigned)options->election_timeout_ms);
	raft_set_heartbeat_timeout(raft, (unsigned)options->heartbeat_ms);
	raft_set_install_snapshot_timeout(raft, INSTALL_TIMEOUT_MS);
	raft_set_pre_vote(raft, true);
	raft_set_snapshot_threshold(raft, NEVER_THRESHOLD);
	raft_set_snapshot_trailing(raft, 0);
	instance->log_retained_bytes = options->log_retained_bytes;
	instance->log_trailing_bytes = options->log_trailing_bytes;
}

static int start(struct instance *instance, const struct instance_options *options,
		 struct error *error)
{
	struct raft *raft = &instance->raft;
	int status = 0;

	configure(instance, options);
	if (options->first != NULL) {
		status = raft_bootstrap(raft, options->first);
		if (status != 0) {
			libraft_error(error, status, instance->io.raft_io.errmsg);
			error_prefix(error, "begin the log in %s/raft", options->data_dir);
			return -EIO;
		}
	}
	status = raft_start(raft);
	if (status == 0)
		return 0;
	const char *damage = guard_damage(instance->guard)->message;

	status = libraft_error(error, status, damage[0] != '\0' ? damage : raft_errmsg(raft));
	error_prefix(error, "%s/raft", options->data_dir);
	return status;
}

static void instance_free(struct instance *instance)
{
	if (instance->guard != NULL)
		guard_free(instance->guard);
	if (instance->fsm != NULL)
		fsm_free(instance->fsm);
	if (instance->io.raft_io.impl != NULL)
		io_free(&instance->io);
	if (instance->hardstate != NULL)
		hardstate_file_close(instance->hardstate);
	memory_free(instance);
}

int instance_open(struct instance **into, const struct instance_options *options,
		  struct error *error)
{
	struct instance *instance = memory_zeroed(1, sizeof *instance);
	struct hardstate loaded = {0};
	char directory[PATH_BYTES];

	snprintf(directory, sizeof directory, "%s/raft", options->data_dir);
	int status = raft_preflight(directory, options->segment_bytes, error);

	if (status == 0)
		status = open_hardstate(instance, options, &loaded, error);
	if (status == 0)
		status = io_open(&instance->io, options->loop, directory, options->segment_bytes,
				 options->transport, error);
	if (status < 0)
		goto free_instance;
	make_guard(instance, options, &loaded);
	status = raft_init(&instance->raft, guard_io(instance->guard), fsm_raft(instance->fsm),
			   options->node_id, options->endpoint);
	if (status != 0) {
		status = libraft_error(error, status, raft_errmsg(&instance->raft));
		error_prefix(error, "open the log in %s", directory);
		goto free_instance;
	}
	uv_timer_init(options->loop, &instance->reaper);
	*into = instance;
	return start(instance, options, error);
free_instance:
	instance_free(instance);
	return status;
}

static void on_reaped(uv_handle_t *handle)
{
	struct instance *instance = handle->data;
	void (*closed)(void *arg) = instance->closed;
	void *arg = instance->arg;

	instance_free(instance);
	closed(arg);
}

static void on_raft_closed(struct raft *raft)
{
	struct instance *instance = (struct instance *)raft;

	instance->reaper.data = instance;
	uv_close((uv_handle_t *)&instance->reaper, on_reaped);
}

void instance_close(struct instance *instance, void (*closed)(void *arg), void *arg)
{
	instance->closed = closed;
	instance->arg = arg;
	raft_close(&instance->raft, on_raft_closed);
}
