/* What the files of the guard share. Nobody else includes it; guard.h is the contract. */
#ifndef RAFT_GUARD_INTERNAL_H
#define RAFT_GUARD_INTERNAL_H

#include "base/assert.h"
#include "base/memory.h"
#include "raft/guard.h"

#include <inttypes.h>
#include <stdlib.h>

/* An append on its way: waiting for the disk, there, or done there and held back from libraft. */
struct guard_append {
	struct raft_io_append *outer; /* libraft's */
	raft_io_append_cb done;
	const struct raft_entry *entries; /* libraft's, until `done` */
	unsigned count;
	size_t bytes;
	struct guard_write *write; /* that it is a part of; NULL: it waits */
	uint64_t number;           /* in order of submission, from 1 */
	raft_term term;            /* ours when it was submitted */
	raft_index acknowledged;   /* the most that its completion may acknowledge */
	raft_index stored;         /* what the log reaches with it; less once it is truncated */
	bool leader;               /* submitted as leader */
	int status;
	struct guard_append *next;
};

struct guard_appends {
	struct guard_append *first;
	struct guard_append **last;
};

struct guard_held_result {
	struct raft_message message; /* server_address: owned */
	struct guard_held_result *next;
};

/* An answer that does not go out; libraft waits for the end of its request all the same. */
struct guard_dropped {
	struct raft_io_send *request;
	raft_io_send_cb done;
	struct guard_dropped *next;
};

struct guard_peer {
	raft_id id;
	size_t bytes;      /* handed to the network, not done */
	unsigned messages; /* the same */
	raft_index told;   /* the commit index that it has, or will have, from what it was sent */
};

/* Room for every member and those that were members lately; idle ones make place. */
#define GUARD_PEERS 32
/* Results held back at once; more are dropped as the network might do. */
#define GUARD_HELD_RESULTS 4096

struct guard {
	struct raft_io io; /* first: libraft's callbacks get a pointer to it */
	struct raft *raft;
	struct raft_io *inner;
	struct guard_options options;
	struct guard_counters counters;
	raft_io_tick_cb tick;
	raft_io_recv_cb receive;
	raft_io_close_cb closed;
	bool started, closing, failed;
	struct error damage;

	/* What libraft is busy with while it calls send(). */
	const struct raft_message *answering;
	const struct guard_append *completing;

	/* Leadership. */
	raft_term leader_term;    /* the last one in which this node led */
	bool barrier_proposed;    /* in leader_term */
	bool barrier_stored;      /* here, in leader_term */
	raft_index barrier_index; /* 0: none */
	struct guard_held_result *results_first;
	struct guard_held_result **results_last;
	unsigned results_count;

	/* The log. */
	struct guard_appends waiting; /* for the write that is under way, in order of submission */
	struct guard_appends in_flight; /* the same; not empty while any wait */
	struct guard_appends done;      /* in order of completion */
	bool pumping;
	uint64_t appends_submitted;
	uint64_t truncated_after; /* appends submitted before the last truncation */
	bool truncating;          /* until an append behind it is done */
	unsigned follower_appends;
	uint64_t log_bytes;

	/* Snapshots. */
	bool putting, installing, put_done;
	raft_term put_term;

	/* The last two configurations that libraft holds for committed, for taking one back. */
	struct raft_configuration configuration[2]; /* [0] is the one in force */
	raft_index configuration_index[2];

	/* Elections. */
	raft_time ticked_ms;     /* 0: not yet */
	raft_time campaign_ms;   /* when the leader was forgotten */
	unsigned campaigns;      /* attempts since */
	uint64_t waiting_number; /* of the oldest append on its way … */
	unsigned waiting_ticks;  /* … and how long it is the oldest */

	struct hardstate hard;
	struct guard_peer peers[GUARD_PEERS];
	struct guard_dropped *dropped;
};

static inline bool guard_has(const struct guard *guard, enum guard_row row)
{
	return (guard->options.rows & row) != 0;
}

static inline struct guard *guard_of(struct raft_io *io)
{
	ASSERT(io->impl != NULL);
	return io->impl;
}

/* Whether libraft is not to be called: it has failed or is being closed. */
static inline bool guard_is_over(const struct guard *guard)
{
	return guard->failed || guard->closing;
}

/* guard.c */
void guard_fail(struct guard *guard, const struct error *error);
int guard_inner_status(struct guard *guard, int status); /* copies the inner message on error */
/* With FAILSTOP an error ends the node, and libraft is told of none. */
int guard_fail_stop(struct guard *guard, int status, const char *what);
void guard_after_event(struct guard *guard);

/* guard_append.c */
void guard_appends_init(struct guard_appends *appends);
void guard_appends_put(struct guard_appends *appends, struct guard_append *append);
struct guard_append *guard_appends_take(struct guard_appends *appends); /* there is one */
void guard_appends_remove(struct guard_appends *appends, struct guard_append *append);
int guard_truncate(struct raft_io *io, raft_index index);
int guard_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *request,
		       const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done);
/* Hand completed appends to libraft, and held results once the barrier is stored. */
void guard_pump(struct guard *guard);
/* All of them, whatever they wait for: before this node steps down. */
void guard_release_appends(struct guard *guard);
void guard_end_appends(struct guard *guard); /* the same, once the inner raft_io is closed */
void guard_drop_results(struct guard *guard);
/* Keep an AppendEntries result until the barrier is stored; false: deliver it now. */
bool guard_hold_result(struct guard *guard, const struct raft_message *message);

/* guard_write.c */
int guard_append(struct raft_io *io, struct raft_io_append *request,
		 const struct raft_entry entries[], unsigned count, raft_io_append_cb done);
void guard_write_waiting(struct guard *guard); /* one write, of what waits, if anything does */
void guard_write_all(struct guard *guard);     /* all of it: something else must not overtake it */
void guard_write_close(
	struct guard *guard); /* the same; what a guard that failed has left is freed */

/* guard_elect.c */
void guard_elect_vote_asked(struct guard *guard); /* before libraft hears of it */
void guard_elect_tick(struct guard *guard);       /* the same */

/* guard_receive.c */
void guard_receive(struct raft_io *inner, struct raft_message *message);

/* guard_send.c */
int guard_send(struct raft_io *io, struct raft_io_send *request, const struct raft_message *message,
	       raft_io_send_cb done);
/* Tell libraft of the answers that were dropped. */
void guard_end_dropped(struct guard *guard);
/* A message of its own, which may be lost: it is a help, and nothing waits for it. false: not even sent. */
bool guard_tell(struct guard *guard, const struct raft_message *message);

/* guard_state.c */
int guard_load(struct raft_io *io, raft_term *term, raft_id *vote, struct raft_snapshot **snapshot,
	       raft_index *start, struct raft_entry *entries[], size_t *count);
int guard_bootstrap(struct raft_io *io, const struct raft_configuration *configuration);
int guard_set_term(struct raft_io *io, raft_term term);
int guard_set_vote(struct raft_io *io, raft_id vote);
void guard_note_synced(struct guard *guard, raft_index index);
void guard_forget_synced(struct guard *guard, raft_index last); /* durably, before a truncation */

/* The log is about to be replaced by this snapshot: durably, before it is. */
void guard_record_install(struct guard *guard, const struct raft_snapshot *snapshot);

/* guard_members.c */
void guard_members_loaded(struct guard *guard, const struct raft_snapshot *snapshot,
			  raft_index start, const struct raft_entry entries[], size_t count);
void guard_members_watch(struct guard *guard);
/* Entries from `index` on are about to be truncated. */
void guard_members_take_back(struct guard *guard, raft_index index);
/* This node as its own log knows it, when it is a member without a vote; else NULL. */
struct raft_server *guard_members_non_voter(struct guard *guard);
void guard_members_close(struct guard *guard);

#endif
