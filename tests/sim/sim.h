/*
 * The simulator: a cluster of nodes in one process, in virtual time, with the real libraft.so, the real
 * guard and the real state machine; the disk, the network, the store, the clock and chance are ours.
 * Everything that happens is an event in one queue, drawn from one seed: the same seed gives the same
 * run, to the last bit (the hash over all events is printed).
 *
 *   client ─► node: raft_apply ─► libraft ─► guard ─► sim_disk, sim_network
 *                                    └► fsm ─► sim_store ─► acknowledgement
 *   nemesis ─► crashes, partitions, pauses, stalls, failing writes, …
 *   checks  ─► after each event of a node, and at the end
 *
 * One process simulates one seed: what a crashed node has allocated is never freed.
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include "base/assert.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "raft/apply.h"
#include "raft/barrier.h"
#include "raft/fsm.h"
#include "raft/guard.h"
#include "storage/kv.h"
#include "storage/store.h"
#include "tests/sim/sim_append.h"

#include <inttypes.h>
#include <stdio.h>

#define SIM_REPLACEMENTS  3                      /* of members whose disk is gone */
#define SIM_NODES         (6 + SIM_REPLACEMENTS) /* the initial ones, one that may be added, … */
#define SIM_INDEXES       (1u << 17)
#define SIM_TERMS         4096u
#define SIM_MESSAGE_BYTES 256
#define SIM_MS            UINT64_C(1000) /* times are in µs */
#define SIM_SECOND        UINT64_C(1000000)
#define SIM_FAULTS_US     (20 * SIM_SECOND) /* how long faults go on */
#define SIM_STRIKES       4096u             /* of the nemesis, that can be chosen */

/* After the last fault, a write must be acknowledged and be applied everywhere within this. */
#define SIM_CONVERGE_US (10 * SIM_SECOND)
/* When nodes must pull from each other as witnesses first. */
#define SIM_CONVERGE_WITNESS_US (25 * SIM_SECOND)
/* When a member must be replaced by a new one first. */
#define SIM_CONVERGE_REPLACE_US (30 * SIM_SECOND)
/* Then the load goes on for this long, and nothing may wait longer than that. */
#define SIM_AFTERMATH_US (2 * SIM_SECOND)
/* Then one leader's process ends for so long; long before, another one leads. */
#define SIM_FAIL_OVER_DOWN_US (3 * SIM_SECOND)
#define SIM_FAIL_OVER_VOTERS  3 /* or more, for two to be left that elect one */
/* Then, in some seeds, the leader's disk stalls for so many election timeouts. */
#define SIM_STALL_TIMEOUTS 5u
/* A leader finds where a follower's log meets its own in as many steps as there were terms, and some: the
 * follower's log may change meanwhile. */
#define SIM_WALK_STEPS 8u
/* Without load, all members have the same state within this. */
#define SIM_SILENCE_US (8 * SIM_SECOND)

struct sim;
struct sim_node;

/* ---- faults, each counted when it struck ---- */

enum sim_fault {
	FAULT_CRASH,      /* process ends; disk keeps what was synced and noted */
	FAULT_POWER,      /* the same, and notes that were not synced are gone */
	FAULT_TORN_STATE, /* crash between our record and libraft's metadata */
	FAULT_FRESH,      /* a leader ends as soon as it is one */
	FAULT_ISOLATE,    /* a node from all others */
	FAULT_CUT,        /* one pair, both ways */
	FAULT_CUT_ONE,    /* one direction */
	FAULT_RESET,      /* connections of a node break: messages lost, or late */
	FAULT_DELAY,      /* slow links for a while */
	FAULT_STALL,      /* a disk does nothing for a while */
	FAULT_SLOW_DISK,
	FAULT_PAUSE,      /* a process is stopped */
	FAULT_TRANSFER,   /* leadership handed over */
	FAULT_WRITE,      /* an append fails */
	FAULT_LAG,        /* a store applies nothing for a while */
	FAULT_MEMBER,     /* membership changes */
	FAULT_COMMIT,     /* a transaction of the store fails */
	FAULT_RING,       /* each node hears two of the others, or one of two */
	FAULT_FULL,       /* a disk takes no more; counted for each write that meets it */
	FAULT_LOW,        /* a disk is nearly full: the node takes no more entries */
	FAULT_JUMP,       /* a wall clock is set */
	FAULT_RATE,       /* a clock is fast or slow */
	FAULT_LATE,       /* a message arrives after its connection has ended */
	FAULT_LOST,       /* a disk is gone: the member is replaced by a new one */
	FAULT_FLIP_LOG,   /* a bit of the log flips at rest, or an open segment is cut by one */
	FAULT_FLIP_STATE, /* the same, of libraft's metadata or snapshot */
	FAULT_FLIP_STORE, /* the same, of the tables */
	FAULT_ALL,        /* the processes of all nodes end */
	FAULT_CHANGE, /* a change of members reaches nobody, or one node, whose leader then ends */
	FAULT_LONELY, /* who has won the pre-vote is alone through several terms, and ends */
	FAULT_COUNT,
};
#define SIM_KINDS_ALL ((UINT64_C(1) << FAULT_COUNT) - 1)
const char *sim_fault_name(enum sim_fault fault);
/* It strikes by itself, or is counted when it is met: not by the nemesis when it chooses it. */
bool sim_fault_is_delayed(enum sim_fault fault);

/* ---- what each seed draws for itself (sim_profile.c) ---- */

struct sim_profile {
	unsigned election_ms, heartbeat_ms, install_ms;
	unsigned threshold, trailing;      /* entries */
	uint64_t latency_min, latency_max; /* of the network */
	uint64_t disk_min, disk_max;
	uint64_t apply_max;
	uint64_t client_interval;
	unsigned payload_max;
	uint64_t uncommitted_max; /* entries; then a leader pushes back */
	bool markers;             /* new leaders propose a term marker, as our replica does */
	uint64_t nemesis_interval;
	size_t in_flight_bytes;
	size_t socket_bytes; /* of what was sent to a node: it is on its way, whatever becomes of it */
	bool tells_commit; /* leaders do not leave news of a commit to the next heartbeat */
	/* Out of 1000: how often the nemesis chooses each (enum sim_fault). */
	unsigned weight[FAULT_COUNT];
	/* Of the store: settings, as small as they may be in some seeds. */
	uint64_t tail_bytes_max;
	uint32_t pull_records; /* of a page, at most */
	size_t pull_bytes;
	unsigned trim_chance, flush_chance; /* out of 1000: after a flush; after applying */
	/* Limits, as small as they go in some seeds. */
	bool single;              /* batches of one: append, write, command at a time */
	bool single_frames;       /* messages of one entry */
	unsigned segment_entries; /* the log is cut at its front by so many at once */
};

/* What one seed came to; also what a worker hands to its parent. */
struct sim_outcome {
	uint64_t seed;
	unsigned nodes;
	bool violated;
	char message[SIM_MESSAGE_BYTES];
	uint64_t trace_hash, events;
	uint64_t virtual_us;
	uint64_t strikes;        /* of the nemesis */
	uint64_t longest_walk;   /* steps */
	uint64_t converged_us;   /* after the last fault */
	uint64_t failed_over_us; /* after the end of one leader, in the calm; 0: not tried */
	uint64_t acknowledged, unknown, refused;
	uint64_t elections, terms, restores, pulls, snapshots, truncations, restarts;
	uint64_t witnesses;
	uint64_t stops; /* nodes that stopped themselves */
	uint64_t member_changes;
	uint64_t replaced;        /* members under a new id */
	uint64_t damage_at_start; /* flipped bits, found at a start */
	uint64_t damage_later;    /* the same, found when they were met */
	uint64_t damage_hidden; /* flipped keys of ids that nobody met before later ids hid them */
	uint64_t faults[FAULT_COUNT];
	uint64_t seen[SEEN_COUNT];
	uint64_t appends, records; /* decided; stored */
	struct guard_counters guard;
};

/* Which seed, and how much of it: a seed that fails may do so in a smaller form, too. */
struct sim_options {
	uint64_t seed;
	unsigned nodes; /* 3 or 5 */
	unsigned rows;
	uint64_t faults_us; /* SIM_FAULTS_US */
	uint64_t kinds;     /* of faults, by number: SIM_KINDS_ALL */
	unsigned load;      /* one in so many writes: 1 */
	bool no_reads;      /* no linearizable ones */
	bool chosen;        /* only these strikes, by number from 1 */
	uint8_t strikes[SIM_STRIKES / 8];
	bool trace; /* print each event */
};

static inline void sim_strike_choose(struct sim_options *options, unsigned number)
{
	ASSERT(number < SIM_STRIKES);
	options->strikes[number / 8] |= (uint8_t)(1u << number % 8);
}

static inline bool sim_strike_chosen(const struct sim_options *options, uint64_t number)
{
	return !options->chosen ||
	       (number < SIM_STRIKES && (options->strikes[number / 8] & 1u << number % 8) != 0);
}

/* ---- planted defects (sim_mutant.c): base/mutant.h ---- */

const char *sim_mutant_name(enum mutant mutant);
const char *sim_mutant_text(enum mutant mutant);
/* False: there is none of that name, or none at all in this build. */
bool sim_mutant_plant(const char *name);

/* ---- clock and queue (sim_event.c) ---- */

typedef void (*sim_run)(struct sim *sim, struct sim_node *node, void *data);

struct sim_event {
	uint64_t at, number;
	const char *name;
	sim_run run;
	struct sim_node *node; /* NULL: of none */
	uint64_t epoch;        /* of the node: dropped when it has another one by then */
	void *data;
};

struct sim_queue {
	struct sim_event *heap;
	size_t count, capacity;
	uint64_t numbers;
};

void sim_at(struct sim *sim, uint64_t time, const char *name, sim_run run, struct sim_node *node,
	    void *data);
void sim_after(struct sim *sim, uint64_t delay, const char *name, sim_run run,
	       struct sim_node *node, void *data);
/* Run the next event; false when the time is over. */
bool sim_step(struct sim *sim, uint64_t until);
uint64_t sim_random(struct sim *sim);
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high); /* both included */
bool sim_chance(struct sim *sim, unsigned thousandths);
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- disk (sim_disk.c): what survives a crash, and the order in which it gets there ---- */

struct sim_entry {
	raft_term term;
	unsigned short type;
	size_t size;
	uint8_t *data;
};

struct sim_snapshot {
	raft_index index, configuration_index;
	raft_term term;
	struct raft_configuration configuration;
	uint8_t *data;
	size_t size;
};

struct sim_disk_request;

struct sim_disk {
	/* Durable. */
	bool formed; /* bootstrapped */
	raft_term term;
	raft_id vote;
	struct hardstate saved;
	struct hardstate noted;
	struct sim_entry *entries;
	size_t count, capacity;
	raft_index start;             /* index of entries[0] */
	struct sim_snapshot snapshot; /* index 0: none */
	/* Until the next crash. */
	struct sim_disk_request *first, **last;
	unsigned writing; /* requests from the first on that are in the write under way */
	uint64_t stalled_until, slow_until;
	uint64_t full_until;          /* it takes no more */
	uint64_t low_from, low_until; /* the node knows that it is nearly full */
	unsigned failing;             /* writes to come that fail */
	bool broken;                  /* the write under way has failed */
};

void sim_disk_reset(struct sim_node *node); /* at boot: nothing is under way */
void sim_disk_crash(struct sim_node *node, bool power);
void sim_disk_cancel(
	struct sim_node *node); /* closing: the write under way ends, callbacks get canceled */
bool sim_disk_is_low(const struct sim_node *node);
void sim_disk_fill_io(struct raft_io *io);
struct hardstate_keeper sim_disk_keeper(struct sim_node *node);
void sim_snapshot_copy(const struct raft_snapshot *from, struct sim_snapshot *to);
/* In memory of raft_malloc, as libraft wants it. */
struct raft_snapshot *sim_snapshot_for_raft(const struct sim_snapshot *snapshot);
void sim_configuration_copy(const struct raft_configuration *from, struct raft_configuration *to);

/* ---- network (sim_network.c): connections that keep their order, break, and fill up ---- */

/* A leader looks for where a follower's log meets its own, from one rejection to the next. */
struct sim_walk {
	raft_term term;
	raft_index rejected; /* 0: it is over */
	unsigned steps;      /* further back */
};

struct sim_link {
	unsigned cuts;       /* partitions that cover it */
	uint64_t connection; /* counts up when it breaks */
	uint64_t last_arrival;
	uint64_t slow_until;
	size_t queued_bytes; /* sent, not arrived */
	size_t unsent_bytes; /* the same, and libraft's send is not done yet */
	struct sim_walk walk;
};

void sim_network_fill_io(struct raft_io *io);
/* All its connections break, or are closed by a process that goes on. */
void sim_network_reset(struct sim_node *node, bool closed);
void sim_network_boot(struct sim_node *node); /* nothing is under way from it */
void sim_network_cancel(struct sim_node *node);

/* ---- store (sim_store.c): the real one on a disk in memory; apply thread, flush, trim ---- */

struct sim_state {
	uint64_t index; /* of the last command */
	uint64_t position;
	uint64_t hash; /* running, of the records */
};

struct sim_command {
	uint64_t index, term;
	uint8_t *body;
	size_t size;
	struct apply_item marker; /* `passed`: who waits for it to be applied */
	struct sim_command *next;
};

/* What must be covered before raft may run (sim_pull.c). */
struct sim_pull {
	bool wanted, begun, ending;
	struct manifest asked;    /* by raft */
	struct manifest manifest; /* that it is brought to: that one, or a newer one */
	unsigned polls;           /* in which no peer had what is wanted */
};

struct sim_store {
	struct kv_memory_disk *disk; /* outlives a crash */
	struct store *store;
	bool failing;             /* a commit to come fails */
	struct sim_state applied; /* what the store says of itself */
	uint64_t durable_index, durable_position;
	struct sim_command *first, **last; /* handed on by the fsm, not applied */
	uint64_t handed;                   /* index of the last command handed on */
	uint64_t snapshot_index;           /* what a snapshot under way must contain */
	size_t queued;
	bool applying, flushing;
	uint64_t lag_until;
	struct sim_pull pull;
};

struct fsm_downstream sim_store_downstream(struct sim_node *node);
/* A process begins; false: what is on disk is damaged, and refused. */
bool sim_store_open(struct sim_node *node);
void sim_store_reset(struct sim_node *node); /* raft begins */
bool sim_store_accepts_entries(void *arg);
/* Whether the worker that takes a snapshot need not wait any more. */
bool sim_store_snapshot_ready(struct sim_node *node);
void sim_store_refresh(struct sim_node *node); /* `applied` and what is durable */
/* The store met an error: the node stops, and it must have been ours. */
void sim_store_fail(struct sim_node *node, const struct error *error);
void sim_pull_begin(struct sim_node *node);   /* until covered; then the node starts raft again */
void sim_pull_witness(struct sim_node *node); /* waits until a peer has what it lacks */

/* ---- nodes (sim_node.c) ---- */

enum sim_node_state {
	NODE_ABSENT, /* never started */
	NODE_DOWN,   /* crashed */
	NODE_RUNNING,
	NODE_CLOSING, /* raft is being closed, to pull */
	NODE_PULLING,
};

struct sim_work {
	struct raft_io_async_work *request;
	raft_io_async_work_cb done;
};

struct sim_get {
	struct raft_io_snapshot_get *request;
	raft_io_snapshot_get_cb done;
};

struct sim_message;

/* A node's own clock: monotonic time runs at its rate, the wall clock is somewhere else besides. */
struct sim_clock {
	uint64_t since, local_us; /* at `since` of the simulated time, it showed local_us */
	unsigned rate;            /* out of 1000 */
	int64_t wall_ns;          /* of the wall clock, beside its time */
};

/* What a flipped bit must come to (sim_damage.c). */
struct sim_damage {
	enum sim_fault fault;
	bool refused;   /* a start must be refused */
	bool met;       /* it was, or the node stopped later */
	raft_term term; /* what libraft's metadata said before */
	raft_id vote;
};

struct sim_node {
	struct sim *sim;
	unsigned number; /* 1… : also its id and address */
	enum sim_node_state state;
	uint64_t epoch;
	bool paused;
	bool witness; /* runs raft, but applies nothing and takes no writes */
	bool gone;    /* stays down in the calm */
	bool lost;    /* its disk is gone or found to be damaged: it never comes back */
	bool damaged; /* a bit of its disk has flipped */
	struct sim_damage damage;
	bool dying;  /* crashes when the event ends; every call of its raft_io fails */
	bool failed; /* it has told us to stop it */
	struct error failure;
	char address[16];

	struct raft *raft;
	struct raft_io *io;
	struct guard *guard;
	struct fsm *fsm;
	raft_io_tick_cb tick;
	raft_io_recv_cb receive;
	raft_io_close_cb closed;
	uint64_t tick_us;
	struct sim_work *work; /* under way, or NULL */
	struct sim_get *gets[SIM_NODES];
	struct sim_message *unsent; /* libraft waits for their callbacks */
	raft_term leader_term;      /* became_leader was called */
	bool intake_stopped;        /* until the log is quiet, for what needs that */
	struct raft_transfer transfer;
	struct raft_change *change;

	struct sim_disk disk;
	struct sim_store store;
	struct barrier barrier;
	struct sim_clock clock;

	/* For the checks. */
	raft_index seen_commit;
	raft_term seen_term;
	raft_term stood_term; /* in which it was a candidate, past the pre-vote */
};

void sim_node_boot(struct sim_node *node, bool witness);
void sim_node_close(struct sim_node *node); /* raft, to pull */
void sim_node_crash(struct sim_node *node, enum sim_fault fault);
/* It stops itself, and starts again, or is lost when its disk is damaged. */
void sim_node_stop(struct sim_node *node);
void sim_node_restart_in(struct sim_node *node, uint64_t delay);
/* After anything that called into libraft for this node. */
void sim_node_after(struct sim_node *node);
bool sim_node_leads(const struct sim_node *node);
bool sim_node_is_up(const struct sim_node *node);
struct sim_node *sim_leader(struct sim *sim); /* NULL: none */
/* What its own clock shows, and how long it takes until that has gone on by so much. */
uint64_t sim_node_time_us(const struct sim_node *node);
uint64_t sim_node_lasting(const struct sim_node *node, uint64_t local_us);
void sim_node_set_rate(struct sim_node *node, unsigned rate);
/* The others hear that its process has ended, or (a false alarm) believe so. */
void sim_node_tell_gone(struct sim_node *node);
static inline struct sim_node *sim_node_of(struct raft_io *io)
{
	return io->impl;
}

/* ---- client, nemesis (sim_client.c, sim_nemesis.c) ---- */

/* One command, as its leader proposed it. In a term there is one leader, and it proposes one at an index. */
struct sim_batch {
	uint64_t index, term;
	int64_t created;
	uint64_t first_write;
	unsigned count; /* 0: a term marker */
	bool is_decided;
	uint64_t head; /* of the model after it */
	struct sim_decided decided[SIM_ITEMS];
	struct sim_batch *next; /* of another term */
};

struct sim_write {
	uint64_t proposed_us;
	uint64_t floor;       /* what had been acknowledged by then: a position */
	uint64_t index, term; /* 0: not acknowledged */
	bool done;            /* acknowledged, or never will be */
	bool proposed;
	struct sim_append *append;
	enum answer_code code;
	uint64_t first_position;
};

void sim_client_start(struct sim *sim);
struct sim_batch *sim_batch_find(const struct sim *sim, uint64_t index, uint64_t term);
/* A batch was applied on this node: acknowledge it if the node proposed it. */
void sim_client_applied(struct sim_node *node, const struct sim_batch *batch);
/* The node will never answer for what it has proposed. */
void sim_client_forget(struct sim_node *node);
bool sim_client_propose_marker(struct sim_node *node, raft_term term);
/* A marker for who waits to read, if one is wanted. */
void sim_client_pump(struct sim_node *node);

/* ---- links (sim_cut.c) ---- */

void sim_cut_isolate(struct sim *sim, const struct sim_node *node, uint64_t until);
void sim_cut_pair(struct sim *sim, unsigned from, unsigned to, bool both, uint64_t until);
void sim_cut_ring(struct sim *sim, uint64_t until);

/* ---- members (sim_members.c): changes, transfers, replacing what is lost ---- */

/* Once the leader's log is quiet; false: there is no leader, or it is busy with such a thing. */
bool sim_members_begin(struct sim *sim, enum sim_fault fault);
/* A member that will never come back: an operator replaces it by a new node. */
void sim_members_lost(struct sim_node *node);
/* One at a time may be lost or damaged: a majority must have its disks. */
unsigned sim_members_voters(const struct raft *raft);
bool sim_members_may_lose(const struct sim *sim, const struct sim_node *node);

/* ---- flipped bits at rest (sim_damage.c) ---- */

/* False: there is nothing to flip. The node is down. */
bool sim_damage_flip(struct sim_node *node, enum sim_fault fault);
/* raft_start of a damaged node has ended, and was refused if it had to be. */
void sim_damage_started(struct sim_node *node, int status);
/* The store or the log of a node failed: true when a flipped bit may be why. Then the node stops. */
bool sim_damage_met(struct sim_node *node, const struct error *error);

void sim_nemesis_start(struct sim *sim);
bool sim_nemesis_may(const struct sim *sim, enum sim_fault fault); /* the form of the seed has it */
void sim_nemesis_calm(struct sim *sim);                            /* heal everything */
/* False: too many are down. It starts again. */
bool sim_nemesis_crash(struct sim_node *node, enum sim_fault fault);
uint64_t sim_nemesis_while(struct sim *sim, uint64_t longest);

/* ---- ambushes (sim_ambush.c): what strikes in a delicate moment, whenever it comes ---- */

void sim_ambush_leader(struct sim_node *node);
void sim_ambush_candidate(struct sim_node *node);
/* This leader is about to change members, and that node's role. */
void sim_ambush_change(struct sim_node *leader, const struct sim_node *changed);

/* ---- checks (sim_check.c) ---- */

struct sim_truth {
	bool known;
	raft_term term;
	unsigned short type;
	uint64_t hash;
	/* For commands, once one node has applied it. */
	bool applied;
	struct sim_state after;
};

void sim_violation(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_check_node(struct sim_node *node);
void sim_check_applied(struct sim_node *node, const struct sim_command *command);
/* The store is where others were at that index. */
void sim_check_state(struct sim_node *node);
void sim_check_term(struct sim_node *node, raft_term term, raft_id vote);
/* A result is on its way to the leader; `walk` is that of the link. */
void sim_check_walk(struct sim_node *follower, struct sim_walk *walk,
		    const struct raft_append_entries_result *result);
void sim_check_manifest(struct sim_node *node, const struct manifest *manifest);
void sim_check_converged(struct sim *sim);
bool sim_everybody_has(const struct sim *sim, uint64_t index);
/* A leader may have ended until then, with writes that nobody answers. */
void sim_check_answers_from(struct sim *sim, uint64_t since);
void sim_check_waiting(struct sim *sim);
void sim_check_failed_over(struct sim *sim);
void sim_check_resigned(struct sim *sim, const struct sim_node *stalled);
void sim_check_end(struct sim *sim);
uint64_t sim_hash(const void *data, size_t size);

/* ---- stores against the model (sim_verify.c) ---- */

/* The model's decision, made when the first node applies the batch. */
void sim_verify_decide(struct sim *sim, struct sim_batch *batch);
void sim_verify_outcome(struct sim_node *node, const struct sim_batch *batch, unsigned item,
			const struct outcome *outcome);
void sim_verify_query(struct sim_node *node); /* a random one */
void sim_verify_store(struct sim_node *node); /* all of it */
void sim_verify_answers(struct sim *sim);

/* ---- the world (sim_world.c) ---- */

struct sim {
	struct sim_options options;
	struct sim_profile profile;
	uint64_t random;
	uint64_t now;
	struct sim_queue queue;
	struct sim_node nodes[SIM_NODES + 1]; /* from 1 */
	unsigned node_count;                  /* with those that may be added */
	struct sim_link links[SIM_NODES + 1][SIM_NODES + 1];
	struct sim_outcome outcome;

	bool calm;
	uint64_t calm_since, converged_at;
	uint64_t answers_since;   /* what is proposed from then on is answered */
	unsigned gone;            /* nodes that stay down in the calm */
	struct sim_node *lost;    /* to be replaced, or NULL */
	struct sim_node *damaged; /* and not found to be, or NULL */
	unsigned losses;          /* members that were ever lost */
	unsigned losses_at_calm;
	bool quiet;               /* the client has stopped */
	struct sim_write *writes; /* by id, from 1 */
	uint64_t write_count, write_capacity;
	uint64_t calm_write; /* the first one after the last fault that was acknowledged */

	struct sim_model model;
	struct buffer ids;                             /* UUID_BYTES each, from number 1 on */
	struct sim_batch **batches;                    /* by index */
	uint64_t acknowledged_position, read_position; /* the highest that a client has seen */

	struct sim_truth *truth; /* by index */
	raft_id leaders[SIM_TERMS];
	raft_index acknowledged_index;
};

/* The whole life of a seed. */
void sim_run_seed(const struct sim_options *options, struct sim_outcome *outcome);
void sim_profile_draw(struct sim *sim);

#endif
