/*
 * Who belongs to the cluster: how a new one is formed, and who is let in afterwards. Pure decisions over
 * handshakes, the peers file and raft's configuration; the replica acts on them.
 *
 * Forming. A new node that is an initial member asks all others for their instances. With all of them it
 * knows the cluster id: the XXH3 hash over the name and every (id, instance), 2 × 64 bits. All come to
 * the same id and the same first configuration. A node that has formed answers with the whole list: one
 * that is in it with its own instance may form, too; one that is in it with another instance has lost its
 * data and must not (its vote and its log are gone, and the others count on them).
 *
 * Joining. A new node that is no initial member waits until a member of a cluster of its name, which has
 * it in its configuration, connects; it takes over the cluster id from there.
 *
 * Afterwards. Each (id, nonce) in the configuration has one instance, recorded at the first handshake;
 * another one is refused. Who finds itself in a configuration of the log says in which; where a later one is
 * agreed upon that lacks it, it was removed, and hears that at its next contact. So was a recorded pair, or
 * instance, that is no member any more. Who is refused learns neither the cluster id nor an instance or nonce, and nothing that a hello claims ends a
 * node that serves.
 *
 * Loop thread.
 */
#ifndef RAFT_FORM_H
#define RAFT_FORM_H

#include "raft/peers.h"

struct form {
	uint64_t node_id;
	const char *cluster_name;
	struct roster roster; /* the initial members; empty: this node waits to be added */
	struct peers *peers;
	char endpoint[ENDPOINT_TEXT_BYTES]; /* of this node while no configuration has it */
	struct handshake_instance
		found[LIMIT_MEMBERS]; /* in the roster's order; instance 0: not yet */
	/* Set by the replica. */
	bool running;                                   /* raft runs on this node */
	const struct raft_configuration *configuration; /* NULL while raft does not run */
	bool configuration_settled;                     /* no change is pending */
	uint64_t configuration_index;                   /* in the log */
	bool configuration_agreed;                      /* … and committed, as this node knows */
};

/* What a handshake asks of the replica. */
enum form_effect {
	FORM_NOTHING = 0,
	FORM_RECORDED = 1 << 0, /* peers has a new record: save it */
	FORM_COMPLETE = 1 << 1, /* every initial member is found: form_finish */
	FORM_ADOPTED =
		1 << 2, /* peers has the cluster id of the cluster to join: save, start raft */
	FORM_DATA_LOST = 1 << 3, /* this node was here with other data: stop, with the reason */
	FORM_REMOVED = 1 << 4,   /* this node was removed */
	FORM_USE = 1 << 5,       /* welcomed: the connection may be used */
};

void form_init(struct form *form, uint64_t node_id, const char *cluster_name,
	       const struct roster *roster, struct peers *peers);
bool form_is_joining(const struct form *form); /* not an initial member */
bool form_is_complete(const struct form *form);
/* Cluster id, initial members, their records and the stage FORMED, into peers. */
void form_finish(struct form *form);
/* The first configuration, the same on every initial member; the caller closes it. */
void form_first_configuration(const struct form *form, struct raft_configuration *configuration);

void form_hello(const struct form *form, uint64_t peer, struct handshake *hello);
unsigned form_judge(struct form *form, const struct handshake *hello, struct handshake *welcome);
/* FORM_DATA_LOST and FORM_REMOVED, with the reason in `problem`, count only when form_believes. */
unsigned form_welcomed(struct form *form, uint64_t peer, const struct handshake *welcome,
		       char problem[HANDSHAKE_REASON_BYTES]);

/*
 * Whether the answer of this peer, to a connection that this node made to this endpoint, may end this
 * node: a node that serves believes only a member at the address that its configuration has.
 */
bool form_believes(const struct form *form, uint64_t peer, const char *endpoint);

/*
 * Whether the node that gave this answer to a question (HANDSHAKE_FORMING) can be added under this id: why
 * not, or "".
 */
void form_judge_new_member(const struct form *form, uint64_t id, const struct handshake *welcome,
			   char problem[HANDSHAKE_REASON_BYTES]);
/* Whether a node of this id was a member once; a member now counts, too. */
bool form_knew(const struct form *form, uint64_t id);
/* Whether who said this hello was a member once, and is none now. */
bool form_was_removed(const struct form *form, const struct handshake *hello);
/* A member's endpoint in a configuration; false: it is not there. */
bool form_find_member(const struct raft_configuration *configuration, uint64_t id,
		      struct endpoint *endpoint);

#endif
