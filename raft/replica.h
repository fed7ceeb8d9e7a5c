/*
 * The replica of one node: libraft behind its guard, the peer transport, the proposing of batches, and
 * the apply thread that feeds the store. The one door between node/ and raft/.
 *
 *   replica_propose ─► propose (batch, seal) ─► libraft + guard ─► fsm ─► apply thread: store_apply
 *                                                                           │ decided() for each proposal
 *        done(), applied()  ◄──────────────── loop ◄────────────────────────┘
 *
 * States (replica.c has the table of allowed moves):
 *
 *   FORMING ──► RUNNING ◄──► PULLING         FORMING  a new node: agrees with the initial members on
 *      │           │            │                     the cluster id, or waits to be added (joining)
 *      └───────────┴─────┬──────┘            RUNNING  raft runs; the store covers its snapshot
 *                        ▼                   PULLING  the log no longer connects: raft is closed (term
 *                     STOPPED                         and vote kept) until the store covers the manifest
 *
 * Everything is on the loop thread except `decided`. Callbacks never run before the function that
 * caused them returns.
 */
#ifndef RAFT_REPLICA_H
#define RAFT_REPLICA_H

#include "base/address.h"
#include "storage/flusher.h"
#include "storage/store.h"

#define MEMBERS_TEXT_BYTES 4096

struct uv_loop_s;
struct replica;

enum member_role { MEMBER_VOTER, MEMBER_STANDBY, MEMBER_SPARE };
const char *member_role_name(enum member_role role); /* "voter", "standby", "spare" */

struct member {
	uint64_t id;
	enum member_role role;
	char peer_address[ADDRESS_TEXT_BYTES];
	char client_address[ADDRESS_TEXT_BYTES];
	/* Known to the leader only; `known` says whether they are set. */
	bool known;
	uint64_t match_index;
	int64_t last_contact_ms; /* since its last message; -1 never */
	/* How far its records went when it told last; `told` says whether it is set. On every node. */
	bool told;
	uint64_t head;
};

enum replica_role { REPLICA_FOLLOWER, REPLICA_CANDIDATE, REPLICA_LEADER, REPLICA_LEARNER };
const char *replica_role_name(enum replica_role role); /* "follower", … */

enum replica_state { REPLICA_FORMING, REPLICA_RUNNING, REPLICA_PULLING, REPLICA_STOPPED };

struct replica_status {
	enum replica_state state;
	enum replica_role role;
	bool removed; /* it is no member any more: nobody will ever lead it */
	bool ready; /* leader: everything of earlier terms is applied, appends are decided at once */
	uint64_t term;
	uint64_t leader_id;                      /* 0: none known */
	char leader_address[ADDRESS_TEXT_BYTES]; /* its client address, "" when none */
	uint64_t commit_index, applied_index, last_index, snapshot_index;
	uint64_t log_bytes, queued_bytes, entries_in_flight;
	bool wants_cut; /* the log is longer than is kept; the next applied entry lets it be cut */
	uint32_t member_count;
	struct member members[LIMIT_MEMBERS];
};

/* What became of a proposal, told on the loop. */
enum proposal_result {
	PROPOSAL_DECIDED,     /* applied here; decided() was called before */
	PROPOSAL_UNKNOWN,     /* leadership lost or stopping: it may still happen */
	PROPOSAL_NOT_PROPOSED /* dropped before it reached the log: safe to retry */
};

/* One append; embedded in the request that it belongs to, which must live until done(). */
struct proposal {
	struct span item; /* a command item (storage/command.h), borrowed until done() */
	/* Apply thread; the outcome is valid during the call. Encode the answer here. */
	void (*decided)(struct proposal *proposal, const struct outcome *outcome);
	void (*done)(struct proposal *proposal, enum proposal_result result); /* loop */
	struct proposal *next;                                                /* private */
};

enum propose_refusal {
	PROPOSE_ACCEPTED = 0,
	PROPOSE_NOT_LEADER,
	PROPOSE_OVERLOADED_QUEUE, /* too many bytes wait */
	PROPOSE_OVERLOADED_STORE, /* the tail is full: the disk does not keep up */
	PROPOSE_OVERLOADED_DISK,  /* free space below the floor */
	PROPOSE_STOPPING,
};

struct replica_options {
	struct uv_loop_s *loop;
	struct store *store;
	struct flusher *flusher;
	const char *data_dir; /* owns data_dir/raft, data_dir/hardstate, data_dir/peers */
	const char *cluster_name;
	uint64_t node_id;
	struct address peer_listen;
	char peer_advertise[ADDRESS_TEXT_BYTES];
	char client_advertise[ADDRESS_TEXT_BYTES];
	char initial_members
		[MEMBERS_TEXT_BYTES]; /* "1=host:peer/host:client,2=…"; "" with one node: itself */
	uint64_t election_timeout_ms, heartbeat_ms;
	bool pack_log; /* when it leads; see storage/pack.h */
	uint64_t log_retained_bytes, log_trailing_bytes, segment_bytes, disk_free_bytes;
	void *arg;
	/* Role, term, leader, readiness or members changed. */
	void (*changed)(void *arg);
	/* Records first…last have joined the tail (visible to reads since before this call). */
	void (*applied)(void *arg, uint64_t first_position, uint64_t last_position);
	/* State is PULLING: bring the store to (at least) this manifest with store_ingest_*, then call
	 * replica_resume(). May be called again with a newer one only after replica_resume(). */
	void (*pull)(void *arg, const struct manifest *manifest);
	/* The node must stop now, without another write: exit with the message. */
	void (*fail)(void *arg, const struct error *error);
};

/*
 * Opens the raft directory, checks it against the hard state and the store, listens, starts. Errors
 * are for the operator: -EADDRINUSE, -EBADMSG (damage), -EEXIST (the directory is of another cluster or
 * node), -EINVAL (initial members). Nothing was touched then.
 */
int replica_start(struct replica **replica, const struct replica_options *options,
		  struct error *error);
void replica_get_status(struct replica *replica, struct replica_status *status);
bool replica_is_leader(const struct replica *replica); /* cheap */
uint64_t replica_term(const struct replica *replica);  /* of raft now; 0: it does not run */

/* Accepted proposals get done() exactly once, later. They are proposed in the order of the calls. */
enum propose_refusal replica_propose(struct replica *replica, struct proposal *proposal);

void replica_resume(struct replica *replica); /* PULLING: the store covers the manifest now */
/*
 * PULLING, any thread: the store is about to reach this index, which is beyond the manifest's, so that
 * the log ends before it for a while: noted durably in the hard state.
 */
int replica_note_pulled(struct replica *replica, uint64_t index, struct error *error);

/*
 * A point to read at: `ready(arg, position)` once everything acknowledged before the call is applied
 * here (leader: one shared barrier for all that wait). Position 0: the store is empty;
 * REPLICA_NOT_LEADER: not the leader (any more).
 */
#define REPLICA_NOT_LEADER UINT64_MAX
void replica_read_barrier(struct replica *replica, void (*ready)(void *arg, uint64_t position),
			  void *arg);

/*
 * ---- membership: one change at a time; done(arg, 0 or -errno, message) ----
 *
 * -EPERM: this node is not the leader. -EBUSY: another change is under way. -EINVAL, -ENOENT (no such
 * member), -EEXIST (id or address taken): the request. -EAGAIN: leadership was handed over or lost
 * before anything was changed: ask the new leader. -EINPROGRESS: leadership was lost after the change, or
 * a step of it, was proposed: it may still happen; look at the members before it is asked for again.
 * -EHOSTUNREACH: the node to be added does not answer, or is another one; nothing was changed.
 * -ETIMEDOUT: the log did not come to rest, or the member did not catch up; the
 * message says what was done and what was not.
 */

typedef void (*member_done)(void *arg, int status, const struct error *error);
void replica_member_add(struct replica *replica, uint64_t id, const char *peer_address,
			const char *client_address, enum member_role role, member_done done,
			void *arg);
void replica_member_assign(struct replica *replica, uint64_t id, enum member_role role,
			   member_done done, void *arg);
void replica_member_remove(struct replica *replica, uint64_t id, member_done done, void *arg);
/* id 0: the voter that is furthest. Stops intake, waits until the log is quiet, hands over. */
void replica_transfer(struct replica *replica, uint64_t id, member_done done, void *arg);

/*
 * Stop: proposals in flight are waited for (up to `grace_ms`), leadership is handed over, raft is
 * closed, the apply thread has applied what was committed; then stopped(arg). Then replica_free.
 */
void replica_stop(struct replica *replica, uint64_t grace_ms, void (*stopped)(void *arg),
		  void *arg);
void replica_free(struct replica *replica);

#endif
