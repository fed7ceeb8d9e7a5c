/*
 * The work that is measured, the same for every store. A program has one store: it links work.c and
 * the rows with one of store_*.c, and prints one JSON object for the row it was asked for.
 *
 * Streams are numbers; a stream's events have versions 0, 1, 2, … An operation appends to one stream,
 * expecting the version that it had, or reads one stream. Everything runs in one thread.
 *
 * Errors: whoever cannot go on calls work_fail(), which ends the program. An append that was refused
 * or got lost is counted, and its stream left alone from then on: its version is not known any more.
 */
#ifndef TESTS_BENCH_PEERS_WORK_H
#define TESTS_BENCH_PEERS_WORK_H

#include "base/histogram.h"
#include "tests/bench/peers/meter.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORK_OPERATIONS_MAX 1024u
#define WORK_BATCH_MAX      1000u
#define WORK_SERVERS_MAX    8u
#define WORK_SLICES         5u

struct work_options {
	const char *row;                       /* append, fill, read-all, read-stream, … */
	const char *mode;                      /* of the store, where it has several; "" */
	const char *servers[WORK_SERVERS_MAX]; /* HOST:PORT; appends go to the first, reads */
	uint32_t servers_count;                /* to the second */
	uint32_t in_flight, batch, size;       /* size: bytes of an event's data */
	uint32_t first_stream, streams;        /* numbers of this row's own streams */
	double seconds, warm_up;               /* measured, and before that */
	uint32_t rate;                         /* operations a second; deliver and failover */
	uint32_t timeout_ms;                   /* of an operation; failover */
	uint64_t expect;                       /* events that read-all must find; 0: any number */
	int leader;                            /* process to kill; failover */
	const char *after_kill; /* shell command that makes another one lead, or NULL */
};

enum work_outcome { WORK_DONE, WORK_CONFLICT, WORK_FAILED };

struct operation {
	uint32_t slot, generation;
	uint32_t stream;
	uint32_t events;  /* to be appended, or that the stream must have */
	uint64_t version; /* of the first event to be appended */
	int64_t begin_ns;
	bool busy;
};

/* What identifies an operation in a store's answer, also long after it was given up. */
static inline uint64_t operation_token(const struct operation *operation)
{
	return (uint64_t)operation->generation << 32 | operation->slot;
}

/* ---- what a store tells ---- */

/* An operation has ended. One that was given up before is ignored. */
void work_end(uint64_t token, enum work_outcome outcome);
/* NULL when the operation was given up. */
const struct operation *work_operation(uint64_t token);
/* Of why it was refused: the first such text is printed with the row. */
void work_complain(const void *text, size_t size);
/* An event of read-all. */
void work_saw(uint32_t stream, uint64_t version, size_t bytes);
/* In peer_follow(): events from now on will be delivered. */
void work_following(void);
bool work_follow_is_over(void);
/* An event that was sent at that time came. */
void work_delivered(int64_t sent_ns);

_Noreturn void work_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- rows: each prints its object ---- */

void row_append(void);
void row_read_stream(void);
void row_fill(void); /* each stream gets a batch */
void row_read_all(void);
void row_deliver(void);
void row_failover(void);

/* ---- inside ---- */

struct work {
	struct work_options options;
	bool reads;     /* operations read */
	bool stopped;   /* no new ones */
	bool each_once; /* one operation for each stream, in order; else at random */
	uint32_t next_stream;
	bool measuring; /* operations that end are counted */
	int64_t measure_begin_ns, pause_until_ns;
	struct operation operations[WORK_OPERATIONS_MAX];
	uint32_t free[WORK_OPERATIONS_MAX], free_count;
	uint64_t *versions; /* of each stream: how many events were acknowledged */
	uint8_t *states;    /* of each stream: enum stream_state */
	uint32_t lost;      /* streams that are left alone */
	struct histogram latency;
	uint64_t operations_done, events_done; /* while measuring */
	uint64_t events_all;                   /* acknowledged since the start */
	uint64_t slices[WORK_SLICES];          /* events */
	uint64_t conflicts, failures, expired;
	int64_t kill_ns, first_after_kill_ns; /* failover */
	uint64_t seen, seen_bytes;
	uint64_t *seen_versions; /* of each stream, for a row that checks; NULL */
	uint64_t seen_wrong;     /* not the version that was next in its stream */
	char complaint[256];
};

extern struct work work;

void work_init(const struct work_options *options);
/* Begin operations until `in_flight` are on their way. */
void work_begin_all(void);
bool work_begin_one(void); /* false when none is free */
void work_expire(void);    /* give up what has taken longer than timeout_ms */
uint32_t work_busy(void);
/* No new operations; wait for those on their way. */
void work_drain(int64_t milliseconds);

#endif
