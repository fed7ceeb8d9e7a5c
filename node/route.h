/*
 * Where a request goes that the leader has to handle: here, or on to another node.
 *
 *   route_to_leader ──┬─ this node leads, nobody before it waits ──► here(request)
 *                     └─► QUEUED ──leader known──► SENT ──answer──► relayed byte for byte
 *                           ▲  │                    │ ├─ connection broke, no ids ──► TIMEOUT unknown
 *                           │  └─ deadline:         │ └─ connection broke, or another node leads ──┐
 *                           │     NO_LEADER         │                                              │
 *                           ├──── refused for want of leadership, or never sent                    │
 *                           └──── an append with ids: it is sent to a leader of a later term ◄─────┘
 *
 * Order: requests are sent on in the order in which they came, over one connection. When one is refused
 * because the other node does not lead, later ones might find that it leads by then and overtake. So
 * requests carry a turn, `forward_turn`: a node that has refused one of a turn refuses the later ones
 * of that turn on that connection, too. The router waits until all of a turn are answered, puts those
 * that were refused back in their order, and begins the next turn.
 *
 * When the leader changes, what has no ids, was sent to the old one and is refused now is answered with
 * NO_LEADER: later requests may have gone to the new one already.
 *
 * An append with ids is not waited for when its leader is frozen or gone: the leader of a later term gets it, too,
 * before all that came after it. Either the earlier one is in the log before that term begins, and the ids find
 * it; or it is never committed, for no node proposes in one term what was sent to it for another
 * (node/forward.h). So a result of any sending is true, a refusal only of the last one. Until the later
 * leader is known those behind it wait, for three election timeouts at most: then its outcome is unknown.
 * Loop thread.
 */
#ifndef NODE_ROUTE_H
#define NODE_ROUTE_H

#include "node/request.h"

struct router;

struct router *router_new(struct node *node);
/* What waits is answered SHUTTING_DOWN, what was sent TIMEOUT. Handles close later, in the loop. */
void router_free(struct router *router);
/* Leader or role changed. */
void router_changed(struct router *router);

/*
 * Have the request handled by the leader. `here` is called, now or later, when this node leads; it gets
 * the caller's reference. With `forward: false` it is here or NOT_LEADER.
 */
void route_to_leader(struct request *request, void (*here)(struct request *request));
/* From `here`, at once: this node does not lead after all, nothing was proposed. Takes the reference. */
void route_again(struct request *request, void (*here)(struct request *request));
/* It was taken in here, but never proposed: answers NO_LEADER. Keeps the caller's reference. */
void route_answer_no_leader(struct request *request);

#endif
