/*
 * The state machine as libraft sees it. It decides nothing itself: committed commands are checked,
 * copied and handed on in order (to the apply thread of a node, or to the simulator).
 *
 * Held commands. libraft 0.15 can count a command of an earlier term as committed before the leader's
 * own term has one (Raft, figure 8). The guard prevents it; this is the second line: a command is
 * handed on only when a command of the node's current term has been committed behind it (or is it).
 * Each leader therefore proposes a term marker (COMMAND_TERM) first. Snapshots wait while any is held.
 *
 * Snapshots hold a manifest only (storage/manifest.h). `snapshot` (loop) notes the index; the worker
 * of `snapshot_async` waits until the store is durable up to it and writes the manifest; then libraft
 * may drop its log. `restore` never fails: it hands the manifest on.
 *
 * Loop thread, but for snapshot_wait (one of libuv's pool).
 */
#ifndef RAFT_FSM_H
#define RAFT_FSM_H

#include "raft/guard.h"
#include "raft/payload.h"
#include "storage/manifest.h"

struct fsm_downstream {
	void *arg;
	/* A committed command (body: borrowed), in order of index, each once per run. */
	void (*apply)(void *arg, uint64_t index, uint64_t term, struct span body);
	/* Ask that everything up to `index`, a command that was handed on or the last one of a
	 * manifest, becomes durable; false: not now (snapshot answers busy). */
	bool (*snapshot_begin)(void *arg, uint64_t index);
	/* Wait for it; 0 and the manifest of a durable state at `index` or later. Worker thread. */
	int (*snapshot_wait)(void *arg, uint64_t index, struct manifest *manifest);
	/* A snapshot replaces the log: the state must be (or become) that of this manifest. */
	void (*restore)(void *arg, const struct manifest *manifest);
	/* The node must stop: damage. Called once. */
	void (*fail)(void *arg, const struct error *error);
};

struct fsm;

struct fsm *fsm_new(struct raft *raft, const struct fsm_downstream *downstream);
void fsm_set_guard(struct fsm *fsm, struct guard *guard);
struct raft_fsm *fsm_raft(struct fsm *fsm); /* what raft_init gets */
void fsm_free(struct fsm *fsm);
uint64_t fsm_held(const struct fsm *fsm); /* commands held now */

#endif
