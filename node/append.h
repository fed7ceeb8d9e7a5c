/*
 * Appends on the node that leads (steps 3 to 5 and 8 of the data path); see write.h for their way.
 *
 * One that is refused and asked for the events that its client has not seen (on_conflict) goes by a
 * worker before it is answered: those behind the versions expected, or those that match the condition.
 */
#ifndef NODE_APPEND_H
#define NODE_APPEND_H

struct append_service;
struct node;

struct append_service *append_service_new(struct node *node);
/* No write is in flight any more: the replica has stopped, and the workers are joined. */
void append_service_free(struct append_service *service);

#endif
