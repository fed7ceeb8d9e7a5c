/*
 * One run of libraft on this node: the log on disk, the guard, the state machine, the hard state. Made
 * when raft starts, closed before a pull and when the node stops; another one is made after a pull.
 *
 * How much log is kept is a matter of bytes here, of entries in libraft: its threshold is set to 1 when
 * there is enough for a snapshot (and out of reach before), its trailing to the number of entries whose
 * bytes may stay.
 *
 * Loop thread only.
 */
#ifndef RAFT_INSTANCE_H
#define RAFT_INSTANCE_H

#include "base/limits.h"
#include "raft/fsm.h"
#include "raft/hardstate.h"
#include "raft/io.h"

#include <uv.h>

struct instance_options {
	struct uv_loop_s *loop;
	struct transport *transport;
	const char *data_dir;
	uint64_t node_id;
	const char *endpoint;
	uint64_t election_timeout_ms, heartbeat_ms;
	uint64_t log_retained_bytes, log_trailing_bytes, segment_bytes;
	uint64_t store_applied_index;
	/* A new log: it begins with this configuration. NULL: nothing is written. */
	const struct raft_configuration *first;
	bool create; /* there may be no hard state yet */
	void *arg;
	struct fsm_downstream downstream; /* its arg is set here */
	const char *(*endpoint_of)(void *arg, uint64_t peer);
	void (*became_leader)(void *arg, uint64_t term);
	void (*changed)(void *arg);
	void (*fail)(void *arg, const struct error *error);
	bool (*accepts_entries)(void *arg);
};

struct instance {
	struct raft raft; /* first */
	struct io io;
	struct guard *guard;
	struct fsm *fsm;
	struct hardstate_file *hardstate;
	struct raft_transfer transfer; /* must outlive its callback: libraft sends from inside it */
	struct raft_change change;
	uint64_t log_retained_bytes, log_trailing_bytes;
	uv_timer_t
		reaper; /* never runs: its closing frees the instance outside of libraft's callback */
	void (*closed)(void *arg);
	void *arg;
};

/* data_dir/raft exists. On failure *instance is NULL, or one that is of no use but to be closed. */
int instance_open(struct instance **instance, const struct instance_options *options,
		  struct error *error);
/* `closed` once libraft is done with everything; the instance is gone then. */
void instance_close(struct instance *instance, void (*closed)(void *arg), void *arg);

bool instance_is_leader(const struct instance *instance);
/* Set libraft's threshold by the bytes that the log holds. Cheap. */
void instance_steer(struct instance *instance);
/* Whether the log is longer than is kept, and no snapshot is under way that will cut it. */
bool instance_wants_cut(struct instance *instance);
/* A snapshot is about to be taken at this index: how many entries stay behind it. */
void instance_set_trailing(struct instance *instance, uint64_t index);
/* A member's progress on the leader; NULL: not the leader, or not a member. */
const struct raft_progress *instance_progress(const struct instance *instance, uint64_t id);
/* Of the last entry that is stored here. */
uint64_t instance_last_term(const struct instance *instance);
uint64_t instance_snapshot_index(const struct instance *instance);

#endif
