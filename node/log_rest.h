/*
 * Cuts a raft log that has come to rest while it was long.
 *
 * libraft may take a snapshot, and drop log, when it has applied an entry, and never else. So what a burst
 * leaves behind when its last entry comes while a snapshot is on its way (the store is being flushed)
 * would stay until the next write, and a start would read all of it. Each node looks once in a while: its log
 * is longer than `log-retained-bytes`, nothing has been added since it looked last, no snapshot is under way.
 * Then it asks for a term marker, as a linearizable read does (node/wait.h), and the applied marker lets libraft
 * take its snapshot. The marker passes through every node's log: as a rule the leader's question, which comes
 * first, does for all. As long as it does not help, the next questions come later and later. Loop thread.
 */
#ifndef NODE_LOG_REST_H
#define NODE_LOG_REST_H

struct node;
struct log_rest;

struct log_rest *log_rest_new(struct node *node);
/* Nobody is asked any more. The memory goes when the loop has closed its timer. */
void log_rest_free(struct log_rest *rest);

#endif
