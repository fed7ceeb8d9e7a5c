/*
 * `annal bench`: rows that are measured one after the other against a running cluster. A row has its
 * own clients and streams, so that rows do not depend on each other.
 */
#ifndef CLIENT_TOOL_BENCH_H
#define CLIENT_TOOL_BENCH_H

#include "base/histogram.h"
#include "base/random.h"
#include "client/tool.h"

#define BENCH_SLICES     5u
#define BENCH_NODES_MAX  9u
#define BENCH_DATA_BYTES 256u
/* More than any packing of the log looks back: what is appended cannot be made smaller by what was before. */
#define BENCH_MUCH_BYTES (8u << 20)

struct bench_options {
	const char *rows; /* comma-separated names; NULL: all that can be measured */
	uint64_t seconds; /* for each timed row */
	uint64_t streams;
	uint64_t times;                             /* failovers */
	const char *file;                           /* to import; NULL: none */
	const char *json;                           /* file for the rows, too; NULL: none */
	uint64_t tagged;                            /* events with one tag */
	const char *backup_dir;                     /* of the nodes, on this machine; NULL: none */
	const char *cluster_dir;                    /* with node-N/annald.pid below; NULL: none */
	const char *kill_command, *restart_command; /* run with the node's id; NULL: none */
};

/* Of the nodes' processes, from /proc; and of the machine. */
struct bench_usage {
	uint32_t nodes;
	uint64_t memory[BENCH_NODES_MAX];         /* bytes resident */
	uint64_t private_memory[BENCH_NODES_MAX]; /* of these: without pages of files */
	uint64_t written[BENCH_NODES_MAX];        /* bytes, since they started */
	uint64_t cpu_nodes;                       /* clock ticks of all of them */
	uint64_t cpu_all, cpu_idle, cpu_steal;    /* clock ticks */
};

struct bench_row {
	uint64_t events;
	double seconds;
	struct histogram latency;    /* nanoseconds; of what, says the row's note */
	double slices[BENCH_SLICES]; /* events/s of repeated parts; 0: none */
	struct bench_usage before, after;
	uint64_t errors;
	double base; /* events/s of what the row is compared with, in the same run; 0: nothing */
	char note[256];
};

struct bench {
	struct tool *tool;
	const struct bench_options *options;
	char tag[16];                   /* in the names of this run's streams */
	uint8_t data[BENCH_DATA_BYTES]; /* of one event */
	const uint8_t *much_data;       /* BENCH_MUCH_BYTES at random: of events that must differ */
	uint32_t parameter;             /* of the row: requests in flight */
	const struct annal_condition *condition; /* of each single append; NULL: none */
	/* The tagged events, once they are loaded: positions; 0: they are not. */
	uint64_t tagged_first, tagged_last;
};

/* Each fills the row; false after a complaint. */
typedef bool bench_run(struct bench *bench, struct bench_row *row);
bench_run bench_append_single, bench_append_batch;
bench_run bench_read_all, bench_read_stream, bench_subscribe;
bench_run bench_failover, bench_restart, bench_import;
bench_run bench_condition_after, bench_condition_two_tags, bench_read_tag, bench_read_type;
bench_run bench_linearizable, bench_backup, bench_idle;

/* Single appends, to streams of their own; added to the row. */
bool bench_append_more(const struct bench *bench, uint32_t in_flight,
		       const struct annal_condition *condition, struct bench_row *row);

/* A client with further options; NULL after a complaint. */
struct annal_client *bench_client(const struct bench *bench, const char *options);
void bench_stream_name(const struct bench *bench, const char *what, uint64_t number, char name[64]);

/* Note that `count` events were done now: they count for the slice that now is in. */
struct bench_clock {
	int64_t begin_ns, end_ns;
	uint64_t slices[BENCH_SLICES];
};

void bench_clock_begin(struct bench_clock *clock, uint64_t seconds);
bool bench_clock_runs(const struct bench_clock *clock);
void bench_clock_count(struct bench_clock *clock, int64_t now_ns, uint64_t count);
void bench_clock_end(const struct bench_clock *clock, struct bench_row *row);

void bench_usage_read(const char *cluster_dir, struct bench_usage *usage);

/* `annal import` without its output. */
struct import_summary {
	uint64_t stored, duplicates, bad;
	double seconds, longest_gap_seconds;
};
enum tool_exit tool_import_file(struct tool *tool, const char *path,
				struct import_summary *summary);

#endif
