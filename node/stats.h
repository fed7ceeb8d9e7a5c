/*
 * Counters and gauges: what `stats` answers. One table each feeds the struct, the answer and the
 * documentation. Names are those of the answer. Loop thread.
 */
#ifndef NODE_STATS_H
#define NODE_STATS_H

#include "base/buffer.h"

struct node;
struct request;

/* X(name, what it counts since the start of the process) */
#define NODE_COUNTERS(X)                                                                           \
	X(requests, "requests that have come in")                                                  \
	X(errors, "requests answered with an error")                                               \
	X(timeouts, "requests that were not answered in time")                                     \
	X(appends, "appends decided here, duplicates included")                                    \
	X(append_events, "events in them")                                                         \
	X(append_duplicates, "appends that were stored before")                                    \
	X(append_conflicts, "appends refused: expectations, conditions, ids, checkpoints")         \
	X(append_overloads, "appends refused before they were proposed")                           \
	X(forwarded, "requests sent on to the leader")                                             \
	X(forwarded_again, "appends sent to a later leader, too, for want of an answer")           \
	X(bytes_in, "bytes received from clients")                                                 \
	X(bytes_out, "bytes sent to clients")                                                      \
	X(connections_accepted, "connections of clients")                                          \
	X(connections_refused, "connections beyond max-connections, or without a file for them")   \
	X(connections_cut, "connections ended for bad bytes, or for being stuck")

struct node_counters {
#define X(name, meaning) uint64_t name;
	NODE_COUNTERS(X)
#undef X
};

/* X(name, value, what it is now) with `now`, a struct stats_now, in scope of the value. */
#define NODE_GAUGES(X)                                                                             \
	X(uptime_ms, now->uptime_ms, "since the start of the process")                             \
	X(connections, now->connections, "client connections")                                     \
	X(requests_in_flight, now->requests_in_flight, "requests that wait for an answer")         \
	X(unsent_bytes, now->unsent_bytes, "answers and notifications that wait to be sent")       \
	X(input_bytes, now->input->bytes,                                                          \
	  "messages of clients that are not whole, or not answered")                               \
	X(input_waiting, now->input->waiting,                                                      \
	  "connections that wait to be read, for want of memory")                                  \
	X(reads, now->reader.reads, "reads answered")                                              \
	X(read_events, now->reader.events, "events in them")                                       \
	X(read_bytes, now->reader.bytes, "bytes in them")                                          \
	X(reads_waiting, now->reader.waiting, "reads that wait for a position or their turn")      \
	X(reads_running, now->reader.running, "reads on a thread")                                 \
	X(subscriptions, now->notifier.subscriptions, "subscriptions")                             \
	X(subscriptions_live, now->notifier.live, "those that have reached the head")              \
	X(subscription_events, now->notifier.events, "events sent to subscribers")                 \
	X(subscription_bytes, now->notifier.bytes, "bytes sent to subscribers")                    \
	X(subscriptions_fell_behind, now->notifier.fell_behind, "how often one went back")         \
	X(subscription_queries, now->notifier.queries, "different queries that they follow")       \
	X(subscription_query_bytes, now->notifier.query_bytes, "memory of these")                  \
	X(head, now->store.head, "last position applied here")                                     \
	X(durable_position, now->store.durable_position, "last position in the tables")            \
	X(events, now->store.event_count, "events stored")                                         \
	X(streams, now->store.stream_count, "streams that were ever written")                      \
	X(tail_bytes, now->store.tail_bytes, "records in memory, not yet in the tables")           \
	X(tail_records, now->store.tail_records, "their number")                                   \
	X(flushes, now->store.flushes, "transactions that moved the tail into the tables")         \
	X(flushed_records, now->store.flushed_records, "records in them")                          \
	X(flush_ms, now->store.flush_ns / 1000000, "time spent in them")                           \
	X(term, now->replica->term, "raft term")                                                   \
	X(is_leader, now->replica->role == REPLICA_LEADER ? 1u : 0u, "1 on the leader, else 0")    \
	X(commit_index, now->replica->commit_index, "raft index committed")                        \
	X(applied_index, now->replica->applied_index, "raft index applied")                        \
	X(last_index, now->replica->last_index, "raft index of the last entry")                    \
	X(snapshot_index, now->replica->snapshot_index, "raft index of the last snapshot")         \
	X(log_bytes, now->replica->log_bytes, "raft log kept")                                     \
	X(propose_queue_bytes, now->replica->queued_bytes, "appends that wait to be proposed")     \
	X(entries_in_flight, now->replica->entries_in_flight, "raft entries not yet committed")    \
	X(catch_up_active, now->catch_up.active ? 1u : 0u, "1 while records are pulled")           \
	X(catch_up_wanted, now->catch_up.wanted, "position at which pulling ends")                 \
	X(catch_up_records_per_second, now->catch_up.records_per_second, "its speed")              \
	X(backup_position, now->backup.position, "position that the running backup has reached")   \
	X(backup_wanted, now->backup.wanted, "position at which it ends; 0: none is running")      \
	X(backup_bytes, now->backup.bytes, "what it has written")                                  \
	X(memory_bound_bytes, now->memory_bound, "the most memory that the settings allow")        \
	X(rss_max_bytes, now->rss_max_bytes, "the most memory that was resident")                  \
	X(cpu_ms, now->cpu_ms, "processor time used")

/* "stats" {} → {name: value…} */
void method_stats(struct request *request);
/* A table in Markdown for docs/. */
void stats_print_markdown(struct buffer *into);

#endif
