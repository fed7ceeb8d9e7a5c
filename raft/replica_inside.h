/*
 * The replica's own parts see each other here; nobody else includes this.
 *
 *   replica_start.c  the data directory: whose it is; opening, forming, starting raft
 *   replica_raft.c   what libraft, the guard and the peers ask of the replica
 *   replica_stop.c   stopping, step by step
 *   witness.c        raft while a pull finds nothing
 *   replica.c        the public doors, the table of states, and what each turn of the loop does
 */
#ifndef RAFT_REPLICA_INSIDE_H
#define RAFT_REPLICA_INSIDE_H

#include "raft/barrier.h"
#include "raft/disk_watch.h"
#include "raft/form.h"
#include "raft/instance.h"
#include "raft/members.h"
#include "raft/propose.h"

#define REPLICA_PATH_BYTES      4096
#define REPLICA_STEP_MS         20 /* of what waits for something to come to rest */
#define REPLICA_KEEP_MS         250 /* between looks at the connections to all members, and news to them */
#define REPLICA_ASK_MS          200  /* between questions to the initial members not found yet */
#define WITNESS_AFTER_MS        1500 /* of a pull that gets nothing; doubles with each time */
#define WITNESS_AFTER_MAX_MS    24000
#define WITNESS_ELECTION_FACTOR 2 /* of the election timeout: see witness.c */

enum stop_phase {
	STOP_NOT,
	STOP_DRAINING,     /* proposals in flight end */
	STOP_HANDING_OVER, /* another voter takes over */
	STOP_CLOSING_RAFT,
	STOP_APPLYING, /* what was committed passes the apply thread */
	STOP_CLOSING,  /* sockets, timers */
	STOP_DONE,
};

struct witness {
	uv_mutex_t lock; /* over runs and forbidden */
	uv_cond_t ended;
	bool runs;        /* raft is open, or being closed, on a store that is not complete */
	bool forbidden;   /* the pull is about to end */
	uint64_t head;    /* of the store, when something came last … */
	int64_t since_ms; /* … and when that was */
	int64_t after_ms; /* how long nothing may come */
	uint64_t
		log_bytes; /* of the log with which it caught up with its first leader; 0: it has not */
};

/* What `changed` speaks of. */
struct replica_facts {
	enum replica_state state;
	int raft_state;
	bool ready, removed, agreed;
	uint64_t term, leader_id, configuration_index, uncommitted_index;
	uint32_t members;
};

struct replica {
	struct replica_options options;
	char data_dir[REPLICA_PATH_BYTES];
	char cluster_name[HANDSHAKE_NAME_BYTES];
	enum replica_state state;
	struct form form;
	struct peers peers;
	struct transport *transport;
	struct apply *apply;
	struct instance *instance; /* NULL: raft does not run */
	struct propose propose;
	struct barrier barrier;
	struct members members;
	struct disk_watch disk;
	struct witness witness;
	int lock; /* the lock on the data directory; -1: none */

	uv_prepare_t prepare; /* before the loop sleeps … */
	uv_check_t check;     /* … and after it was woken: replica_turn */
	uv_async_t wake;      /* from the apply thread */
	uv_timer_t campaign;  /* runs after the leader's end */
	uv_timer_t step;      /* runs while something waits to come to rest */
	uv_work_t save;       /* the peers file, off the loop */
	struct buffer save_bytes;
	int save_status;
	struct error save_error;
	bool saving, save_wanted;
	int64_t kept_ms;  /* connected, last time */
	int64_t asked_ms; /* the initial members, or a new one, last time */

	uint64_t leading_term;  /* this node leads it; 0: none */
	uint64_t proposed_term; /* a term marker was proposed in it */
	uint64_t applied_term;  /* a term marker of it came back from the apply thread */
	bool dirty;             /* something may have changed: another round in this turn */
	bool in_turn;
	bool form_wanted; /* every initial member is found, or the cluster to join is known */
	bool pull_wanted; /* the store does not cover `manifest` */
	bool raft_closed, drained; /* both: the pull may begin */
	bool resume_wanted;
	bool removed;   /* peers say that this node is no member any more */
	bool starting;  /* errors are returned by replica_start */
	bool abandoned; /* replica_start failed: nobody is told anything */
	bool failed;
	int start_status; /* of the failure of a start; 0: the system refused something */
	struct error start_error;
	struct manifest manifest;
	struct replica_facts told;  /* what `changed` was told of last */
	struct replica_status last; /* members as long as raft does not run */

	enum stop_phase stop;
	int64_t stop_deadline_ms;
	bool handing_over;
	uint32_t open_parts; /* while STOP_CLOSING */
	void (*stopped)(void *arg);
	void *stopped_arg;
};

void replica_move(struct replica *replica, enum replica_state to);
/* The node must stop: once. */
void replica_fail(struct replica *replica, const struct error *error);
void replica_wake(struct replica *replica); /* a turn soon */
bool replica_is_ready(const struct replica *replica);
/* Ready, and no change of membership or leadership asks for silence. */
bool replica_may_propose(const struct replica *replica);
void replica_take_applied(struct replica *replica);
void replica_step(struct replica *replica, bool needed);
void replica_open_handles(struct replica *replica);

/* replica_start.c */
int replica_open_instance(struct replica *replica, bool bootstrap, struct error *error);
void replica_form_turn(struct replica *replica);
void replica_save_peers(struct replica *replica); /* off the loop */

/* replica_raft.c */
void replica_fill_instance_options(struct replica *replica, struct instance_options *options);
void replica_fill_transport_options(struct replica *replica, struct transport_options *options);
void replica_look_at_configuration(struct replica *replica); /* for handshakes */
void replica_review_peers(struct replica *replica);          /* after members changed */
void replica_keep_connected(struct replica *replica);
void replica_reach_turn(struct replica *replica);
void replica_lead_turn(struct replica *replica);
void replica_barrier_turn(struct replica *replica);
void replica_pull_turn(struct replica *replica);
int replica_submit(void *arg, struct batch *batch, uint8_t *payload, size_t body_bytes);

/* witness.c */
void witness_init(struct witness *witness);
void witness_close(struct witness *witness);
void witness_pull_begins(struct replica *replica);
void witness_turn(struct replica *replica); /* in PULLING */
bool witness_runs(const struct replica *replica);
bool witness_accepts_entries(struct replica *replica);
void witness_restored(struct replica *replica, const struct manifest *manifest);
void witness_raft_closed(struct replica *replica); /* by whoever else closed it */
/* Any thread but the loop's: until raft is closed; from then on it stays closed until the next pull. */
int witness_end_wait(struct replica *replica, struct error *error);

/* replica_stop.c */
void replica_stop_turn(struct replica *replica);
void replica_abandon(struct replica *replica); /* replica_start failed: everything goes by itself */

#endif
