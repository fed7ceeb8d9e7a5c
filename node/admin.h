/*
 * What a node says of itself and of its cluster: hello, ping, cluster_status, digest; and the changes
 * of the cluster, which the leader makes (PROTOCOL, "Session" and "Cluster and node"). The handlers
 * are declared in methods.h.
 *
 * What PROTOCOL leaves open:
 * - `leader_id` and `leader` are nil while no leader is known.
 * - a node's `state`: "leader", "follower" or "candidate" for one that takes part; "learner" for a
 *   standby or spare; "catching_up" and "forming" of the node that answers; "unreachable" for one that
 *   the leader has not heard of for UNREACHABLE_ELECTIONS election timeouts; "unknown" for others when
 *   this node is not the leader.
 * - `lag` is in entries of the log that the node has not confirmed yet; `head` is known of the node
 *   that answers.
 * - cluster_add makes a voter unless `role` says otherwise, as soon as the node has caught up.
 * - digest waits for a position that this node has not reached yet: NOT_READY {head, wanted} if it is not
 *   reached in time. `hash` is a string of
 *   16 hexadecimal digits.
 */
#ifndef NODE_ADMIN_H
#define NODE_ADMIN_H

#define UNREACHABLE_ELECTIONS 3

#endif
