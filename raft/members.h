/*
 * Changes of membership and of leadership: one at a time, on the leader. Each waits until the log is at
 * rest (guard_is_quiet), with intake held meanwhile: what libraft 0.15 does with a change while entries
 * are in flight is not safe to roll back, and a transfer under load never ends.
 *
 *   add       REACH (the new node answers) ─► SETTLE ─► spare in the log ─► SETTLE ─► standby in the log ─► promotion, if wished
 *   assign    SETTLE ─► role in the log;  to voter: CATCH_UP first, then a promotion
 *   promotion CATCH_UP (intake goes on) ─► SETTLE (with the member's log equal to ours) ─► voter in the log
 *   remove    SETTLE ─► gone in the log;  the leader itself: a transfer instead, and -EAGAIN:
 *             the next leader is to be asked
 *   transfer  SETTLE (likewise) ─► asked to take over ─► it leads; else asked again, a few times
 *
 * Loop thread only.
 */
#ifndef RAFT_MEMBERS_H
#define RAFT_MEMBERS_H

#include "raft/instance.h"
#include "raft/replica.h"

#define MEMBERS_REACH_MS         3000
#define MEMBERS_SETTLE_MS        5000
#define MEMBERS_CATCH_UP_MS      30000
#define MEMBERS_HAND_OVERS_MAX   4
#define MEMBERS_CATCH_UP_ENTRIES 64u /* so near, intake is held for the rest */

enum members_kind { MEMBERS_NONE, MEMBERS_ADD, MEMBERS_ASSIGN, MEMBERS_REMOVE, MEMBERS_TRANSFER };
enum members_phase {
	PHASE_REACH,
	PHASE_SETTLE,
	PHASE_IN_LOG,
	PHASE_CATCH_UP,
	PHASE_TAKING_OVER,
	PHASE_OVER
};

struct members {
	enum members_kind kind; /* NONE: free */
	enum members_phase phase;
	enum member_role role; /* wished for in the end */
	uint64_t id;
	struct endpoint endpoint; /* of a new member */
	int64_t deadline_ms;      /* of the phase */
	uint64_t term;            /* when it began */
	bool removing_self;       /* a transfer that a removal asked for */
	bool any_successor;       /* of a transfer that names none */
	uint32_t hand_overs;      /* how often a successor was asked */
	bool proposed;            /* a step reached the log, or a successor was asked */
	int status;               /* once OVER */
	struct error error;
	member_done done;
	void *arg;
};

/* Each begins, or ends at once in the next members_turn. */
void members_add(struct members *members, struct instance *instance, uint64_t id, const char *peer,
		 const char *client, enum member_role role, member_done done, void *arg);
void members_assign(struct members *members, struct instance *instance, uint64_t id,
		    enum member_role role, member_done done, void *arg);
void members_remove(struct members *members, struct instance *instance, uint64_t id,
		    member_done done, void *arg);
void members_transfer(struct members *members, struct instance *instance, uint64_t id,
		      member_done done, void *arg);

/* What has just begun is not to be: it ends in the next members_turn. */
void members_refuse(struct members *members, int status, const struct error *error);
/* REACH: the endpoint to ask there; NULL in other phases. */
const struct endpoint *members_reaching(const struct members *members);
/* REACH: the new node has answered; `problem` says why it cannot be added, "" that it can. */
void members_reached(struct members *members, uint64_t id, const char *problem);

/* Whether proposals and barriers must wait. */
bool members_hold(const struct members *members);
/* Once a turn of the loop, and every few ms while members->kind is not NONE. `idle`: nothing that this
 * node proposed is in flight. instance NULL: raft does not run. */
void members_turn(struct members *members, struct instance *instance, bool idle);

/* Whether another voter than this node exists. */
bool members_has_other_voter(const struct instance *instance);

#endif
