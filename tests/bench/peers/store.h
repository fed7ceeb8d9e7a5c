/*
 * A store to be measured: store_NAME.c implements these. Nothing here is called before store_open();
 * everything is called by one thread.
 */
#ifndef TESTS_BENCH_PEERS_STORE_H
#define TESTS_BENCH_PEERS_STORE_H

#include "tests/bench/peers/work.h"

extern const char store_name[];
/* How many appends can be on their way in a row with a rate. */
extern const uint32_t store_open_loop_max;

enum store_place { STORE_LEADER, STORE_FOLLOWER };

/* Connect: to the follower for a row of reads, else to the leader. */
void store_open(const struct work_options *options);

/* Start an operation; store_poll() calls work_end() for it. */
void store_append(const struct operation *operation);
void store_read(const struct operation *operation);

/* Send, receive, wait for something to happen. */
void store_poll(uint32_t timeout_us);

/* Read every event there is, calling work_saw() for each. */
void store_read_all(enum store_place place);

/* In a process of its own, without store_open(): follow all events on a node that does not lead, until
 * work_follow_is_over(). */
void store_follow(void);

/* The leader was just killed: find the next one, from store_poll(), if the store does not itself. */
void store_lost_leader(void);

/* Make what is buffered for later reach the files, so that the bytes written can be counted. */
void store_flush(void);

#endif
