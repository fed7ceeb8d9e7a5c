/*
 * The guard makes libraft 0.15.0 safe from outside. It is a `struct raft_io` around another one
 * (raft_uv, or the simulator's): raft_init() gets guard->io, the guard calls the inner one. Each row
 * below is one defence; docs/architecture.md tells what each is against. All rows are on in every
 * build of annald; they can be switched off one by one for the tests that show why they are there.
 *
 * Loop thread only. `io` must stay where it is from guard_init to the end of raft_close.
 */
#ifndef RAFT_GUARD_H
#define RAFT_GUARD_H

#include "base/error.h"

#include <raft.h>
#include <stdbool.h>
#include <stdint.h>

enum guard_row {
	GUARD_CLAMP = 1 << 0,   /* a success acknowledges no more than what was asked */
	GUARD_BARRIER = 1 << 1, /* an entry of its own term first in each leader's term */
	GUARD_HOLD = 1 << 2,    /* results wait until that entry is stored here */
	GUARD_COMMIT = 1 << 3,  /* own appends complete when a quorum matches them */
	GUARD_SERIAL = 1 << 4,  /* nothing else happens while a snapshot is installed or put */
	GUARD_JUMP =
		1 << 5, /* rejections say where to go on: conflicting term, what is committed */
	GUARD_VOTE = 1 << 6,     /* a refused pre-vote carries the higher term */
	GUARD_FLOW = 1 << 7,     /* bounded bytes in flight to each peer */
	GUARD_FAILSTOP = 1 << 8, /* an append that failed stops the node */
	GUARD_PAYLOAD = 1 << 9,  /* payloads are checked when they are loaded */
	GUARD_MEMORY = 1 << 10,  /* our own record of term, vote and synced index rules at load */
	GUARD_MEMBERS = 1 << 11, /* a change of members is taken back by our own copy;
				  * a member that does not know that it is a voter votes */
	GUARD_BATCH = 1 << 12,   /* entries that are loaded own their memory, one by one */
	GUARD_ELECT = 1 << 13,   /* a leader that is gone is not followed; a stall is not its end */
	GUARD_ALL = (1 << 14) - 1,
};

/*
 * Our own durable copy of what libraft keeps without a checksum. Implemented on files by
 * raft/hardstate.c and by the simulator. Every function returns 0 or a negative errno.
 */
struct hardstate {
	uint64_t term;
	uint64_t vote;         /* node id, 0: none */
	uint64_t synced_index; /* the log reached at least this far */
	/* The highest applied index in a manifest of a snapshot that was installed: a store that was
	 * filled from a peer may be ahead of the log up to here. */
	uint64_t pulled_index;
};

struct hardstate_keeper {
	void *impl;
	/* Durable on return: called before libraft's own term and vote change, and on truncation. */
	int (*save)(void *impl, const struct hardstate *state, struct error *error);
	/* Cheap and not durable at once: the synced index grew. A power cut may forget it. */
	void (*note)(void *impl, const struct hardstate *state);
};

struct guard_options {
	unsigned rows;               /* GUARD_ALL */
	size_t peer_in_flight_bytes; /* LIMIT_PEER_IN_FLIGHT_BYTES */
	unsigned peer_in_flight_messages;
	struct hardstate_keeper keeper;
	struct hardstate loaded; /* what the keeper found at start; all 0 for a new node */
	/* The log must reach (snapshot or entries) at least this far. */
	uint64_t store_applied_index;
	void *arg;
	/* In the very callback of libraft that made this node leader, after the barrier. */
	void (*became_leader)(void *arg, uint64_t term);
	/* State, term or leader may have changed: cheap, called after every event of libraft. */
	void (*changed)(void *arg);
	/* The node must stop now; called once. libraft is not called any more after it. */
	void (*fail)(void *arg, const struct error *error);
	/* false: this node cannot take more entries now; they are stripped and sent again later. */
	bool (*accepts_entries)(void *arg);
};

struct guard;

struct guard *guard_new(struct raft *raft, struct raft_io *inner,
			const struct guard_options *options);
struct raft_io *guard_io(struct guard *guard); /* what raft_init gets */
void guard_free(struct guard *guard);          /* after raft_close has called back */
/* After raft_start failed: why the guard refused what was loaded, whole; "" when it did not. */
const struct error *guard_damage(const struct guard *guard);

/* Whether libraft may take a snapshot now; else fsm->snapshot answers RAFT_BUSY. */
bool guard_snapshot_allowed(const struct guard *guard);
/* Whether membership may change and leadership may be handed over now. */
bool guard_is_quiet(const struct guard *guard);
/* Bytes of log kept in memory since the last compaction, for steering threshold and trailing. */
uint64_t guard_log_bytes(const struct guard *guard);
/* The entry at an index of libraft's log in memory, or NULL. */
const struct raft_entry *guard_entry(const struct raft *raft, raft_index index);

/*
 * ---- the process of a peer has ended ----
 *
 * The network says so when its connections have broken and it takes no new one. If it was the leader,
 * this node forgets it; guard_campaign is to be called after the ms that are returned. -1: never.
 */
int guard_peer_gone(struct guard *guard, raft_id peer);
/* Begin an election, unless there is a leader by now. The ms until it is to be called again; -1: never. */
int guard_campaign(struct guard *guard);

/*
 * At the end of a turn, when everything that was to be proposed in it has been. If this node leads and
 * nothing is on its way that would carry the commit index, those who have stored what it covers are told
 * of it now: an AppendEntries without entries, which libraft sends only with the next heartbeat.
 */
void guard_tell_commit(struct guard *guard);

struct guard_counters {
	uint64_t clamped, dropped, barriers, held_results, held_appends, trimmed, jumped,
		votes_raised, flow_refused, stripped, leaders_gone, resigned, commits_told,
		votes_lent, committed_told;
};
void guard_get_counters(const struct guard *guard, struct guard_counters *counters);

#endif
