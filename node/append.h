/*
 * Appends on the node that leads (steps 3 to 5 and 8 of the data path).
 *
 *   append ─ route_to_leader ─► decode ─► replica_propose ─► decided (apply thread: answer encoded)
 *                                                                │
 *                         refused: violations with their events ◄┴─► done (loop): answered
 *                         read by a worker, when asked for
 *
 * A request whose deadline passes meanwhile is answered TIMEOUT {outcome: "unknown"}; the append lives
 * on until it is done. Loop thread, but for `decided` and the worker.
 */
#ifndef NODE_APPEND_H
#define NODE_APPEND_H

#include <stdint.h>

struct append_service;
struct node;

struct append_service *append_service_new(struct node *node);
/* Nothing is in flight any more: the replica has stopped, and the workers are joined. */
void append_service_free(struct append_service *service);
uint32_t append_service_in_flight(const struct append_service *service);

#endif
