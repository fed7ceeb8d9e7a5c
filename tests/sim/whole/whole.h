/*
 * Whole nodes and programs that use them, in one process: what a seed plays, and what must hold. One run
 * for each process: it is forked, and its state is global.
 */
#ifndef WHOLE_WHOLE_H
#define WHOLE_WHOLE_H

#include "client/annal.h"
#include "tests/sim/whole/os.h"

#define WHOLE_NODES_MAX   9 /* with those that join */
#define WHOLE_CLIENTS     4
#define WHOLE_READERS     2 /* clients that only read */
#define WHOLE_PLAIN       1 /* programs that append without libannal */
#define WHOLE_WRITERS     (WHOLE_CLIENTS + WHOLE_READERS + WHOLE_PLAIN)
#define WHOLE_SUBSCRIBERS 3
#define WHOLE_TICKETS     6 /* subscriptions on one connection without libannal */
#define WHOLE_CLIENT_PORT 7001
#define WHOLE_PEER_PORT   7101

struct node;
struct kv_memory_disk;

/* ---- faults ---- */

#define WHOLE_FAULT_TABLE(X)                                                                       \
	X(KILL, "processes killed")                                                                \
	X(POWER, "power cuts")                                                                     \
	X(PAUSE, "processes paused")                                                               \
	X(STOP, "orderly restarts")                                                                \
	X(PARTITION, "partitions")                                                                 \
	X(ONE_WAY, "one-way partitions")                                                           \
	X(DELAY, "slow links")                                                                     \
	X(RESET, "connections between nodes reset")                                                \
	X(CLIENT_RESET, "connections of clients reset")                                            \
	X(CLIENT_CUT, "clients cut off")                                                           \
	X(MINORITY, "leaders cut off with a minority")                                             \
	X(SLOW_DISK, "slow disks")                                                                 \
	X(CLOCK, "wall clocks set")                                                                \
	X(RATE, "clocks fast or slow by up to 30 %")                                               \
	X(BLACKOUT, "power cuts of all nodes at once")                                             \
	X(DISK_ERROR, "failed writes")                                                             \
	X(DISK_FULL, "full disks")                                                                 \
	X(TRANSFER, "leads handed over")                                                           \
	X(REPLACE, "members replaced by new nodes")                                                \
	X(LOST, "members replaced whose disk was lost")

enum whole_fault {
#define X(name, text) WHOLE_FAULT_##name,
	WHOLE_FAULT_TABLE(X)
#undef X
		WHOLE_FAULT_COUNT
};

const char *whole_fault_name(unsigned fault);

/* ---- what must come up, at least once in a range of seeds ---- */

#define WHOLE_SEEN_TABLE(X)                                                                        \
	X(ACKNOWLEDGED, "appends acknowledged")                                                    \
	X(DUPLICATE, "answered from the first attempt")                                            \
	X(UNKNOWN, "appends with an unknown outcome")                                              \
	X(AGAIN, "tried again with the same ids")                                                  \
	X(REFUSED, "expectations refused")                                                         \
	X(CONDITION, "conditions refused")                                                         \
	X(LINEARIZABLE, "linearizable reads")                                                      \
	X(SESSION, "reads in a session")                                                           \
	X(LOCAL, "local reads")                                                                    \
	X(READ_FAILED, "reads that failed")                                                        \
	X(DELIVERED, "events delivered to subscriptions")                                          \
	X(MOVED, "subscriptions moved to another node")                                            \
	X(CAUGHT_UP, "caught up")                                                                  \
	X(FELL_BEHIND, "fell behind")                                                              \
	X(CREDIT, "windows opened further")                                                        \
	X(PLAIN, "appends answered without libannal")                                              \
	X(PLAIN_LOST, "connections without libannal lost")                                         \
	X(MISTAKE, "mistakes of an operator refused")                                              \
	X(ELECTED, "leaders elected")                                                              \
	X(ADDED, "members added")                                                                  \
	X(ASSIGNED, "roles assigned")                                                              \
	X(REMOVED, "members removed")                                                              \
	X(PULLED, "nodes that had to pull records")                                                \
	X(FAILSTOP, "nodes that ended for a failed write")                                         \
	X(NO_SPACE, "appends refused for want of disk space")                                      \
	X(SMALL_TAIL, "runs with the smallest tail")                                               \
	X(SMALL_LOG, "runs with the smallest log")                                                 \
	X(SMALL_QUEUE, "runs with the smallest output queue")                                      \
	X(WINDOW_ONE, "runs with a window of one event")

enum whole_seen {
#define X(name, text) WHOLE_SEEN_##name,
	WHOLE_SEEN_TABLE(X)
#undef X
		WHOLE_SEEN_COUNT
};

const char *whole_seen_name(unsigned seen);

/* ---- one run ---- */

struct whole_options {
	uint64_t seed;
	unsigned nodes, seconds; /* under faults */
	bool trace;
};

struct whole_outcome {
	uint64_t seed;
	unsigned nodes;
	bool violated;
	char message[OS_MESSAGE_BYTES];
	uint64_t trace_hash, virtual_ns, converged_ns;
	struct os_counters counters;
	uint64_t planned[WHOLE_FAULT_COUNT], struck[WHOLE_FAULT_COUNT];
	uint64_t seen[WHOLE_SEEN_COUNT];
};

void whole_run(const struct whole_options *options, struct whole_outcome *outcome);

/* ---- whole_mutant.c: planted defects (base/mutant.h) ---- */

bool whole_mutant_plant(const char *name); /* false: none of that name in this build */
void whole_mutants_print(void);

/* ---- whole_node.c ---- */

struct whole_node {
	struct os_process *process;
	struct node *node; /* NULL: not started, or ended */
	struct kv_memory_disk *tables;
	bool stopping, serving;
	bool retired;                 /* it was removed, or lost its disk: it never starts again */
	bool excused;                 /* its disk fails: it may end by itself, or not start */
	uint64_t excused_until;       /* 0: it still fails */
	bool pulling;                 /* when it was looked at last */
	uint64_t seen_at, head, hash; /* when it was looked at last */
};

/* Settings and habits that a seed draws. */
struct whole_limits {
	uint64_t election_ms, tail_bytes, log_bytes, trailing_bytes, out_queue_bytes, read_threads;
	uint64_t window;                      /* of a subscription */
	uint64_t pace_ns;                     /* of the slow subscriber, for an event at most */
	uint64_t think_low_ns, think_high_ns; /* of a client, between two calls */
	uint64_t payload_bytes, streams;
	uint64_t fault_low_ns, fault_high_ns; /* between two faults */
	uint64_t fault_lasts_ns;
};

struct whole {
	struct whole_options options;
	struct whole_limits limits;
	struct whole_outcome *outcome;
	unsigned nodes_count; /* that were ever made */
	struct whole_node nodes[WHOLE_NODES_MAX];
	struct os_process *clients[WHOLE_CLIENTS + WHOLE_READERS];
	struct os_process *subscribers[WHOLE_SUBSCRIBERS];
	struct os_process *plain[WHOLE_PLAIN];
	struct os_process *window, *operator;
	struct os_process *reader; /* of everything, at the end */
	uint64_t calm_at;          /* the last fault is over; OS_NEVER: not yet */
	bool ending;               /* clients stop */
	uint64_t silent_at;        /* they have */
	unsigned appending;        /* clients that have not stopped */
	unsigned calm_clients;     /* that had an append acknowledged since it is calm */
	uint64_t end_head;         /* subscribers end there; 0: not yet known */
	unsigned leader;           /* number of the node that was seen leading last; 0: none */
	uint64_t leader_term;
	unsigned subscribing;
};

extern struct whole whole;

/* Made and not retired. */
bool whole_node_in_use(const struct whole_node *node);
unsigned whole_pick_node(void); /* any such, by its number */
unsigned whole_node_make(void); /* one more, which has never run; its number */
/* Its disk with all that is on it is gone. */
void whole_node_wipe(struct whole_node *node);
void whole_nodes_make(void);
void whole_node_start(struct whole_node *node);
void whole_node_gone(struct whole_node *node);         /* its process has ended */
bool whole_node_serves(const struct whole_node *node); /* started, and not ended nor stopping */
void whole_node_stop(struct whole_node *node);         /* in order; takes a while */
/* Look at it on its own loop, as soon as that runs: digest, term and leader. */
void whole_node_look(struct whole_node *node);
uint64_t whole_node_head(const struct whole_node *node); /* 0: it does not serve */
/* Every node serves and was seen at one head, with one hash, since that time. */
bool whole_nodes_agree(uint64_t since);
void whole_saw(enum whole_seen seen);

/* ---- whole_model.c: what was asked for, and what was answered ---- */

#define WHOLE_EVENTS_MAX   200000u
#define WHOLE_APPENDS_MAX  100000u
#define WHOLE_WRITES       3
#define WHOLE_WRITE_EVENTS 4
#define WHOLE_STREAMS_MAX  20
#define WHOLE_TYPES        3
#define WHOLE_TAGS         4
#define WHOLE_QUERIES      6 /* kinds; 0: everything */
#define WHOLE_QUERY_STREAM 4 /* of one stream */

/* An event that a client made up; its number is in its data. */
struct whole_event {
	uint8_t id[ANNAL_ID_BYTES];         /* zero: the node draws it */
	uint32_t append, stream, type, tag; /* tag WHOLE_TAGS: none */
	uint32_t size;                      /* of the data */
};

struct whole_write {
	uint32_t stream, first_event, events;
	struct annal_expect expect;
};

enum whole_result { WHOLE_OPEN, WHOLE_OK, WHOLE_REFUSED, WHOLE_UNKNOWN };

struct whole_append {
	uint32_t client, writes_count;
	struct whole_write writes[WHOLE_WRITES];
	unsigned query; /* of its condition; 0: none */
	uint32_t query_name;
	uint64_t query_after;
	enum whole_result result;
	bool once_unknown;
	uint64_t sent_at; /* first */
	uint64_t floor;   /* highest position acknowledged to anybody before */
	uint64_t first_position, position, first_version, version;
	uint64_t conflict; /* position that met its condition, as it was told; 0: none */
};

struct whole_model {
	uint32_t events_count, appends_count;
	struct whole_event *events;
	struct whole_append *appends;
	uint64_t floor; /* the highest position that was acknowledged, or read linearizably */
	uint64_t acknowledged;                    /* position */
	uint64_t stream_floor[WHOLE_STREAMS_MAX]; /* versions acknowledged */
	uint32_t *at; /* position → number of the event + 1 that was seen there */
	uint64_t *version_at;
	uint64_t positions;
	uint32_t *place; /* number of the event → position in the final log */
};

extern struct whole_model model;

void model_begin(void);
void model_stream_name(uint32_t stream, char name[32]);
const char *model_type_name(uint32_t type);
const char *model_tag_name(uint32_t tag);
/* The query of that kind; what it points to is static, until the next call. */
const struct annal_query *model_query(unsigned kind, uint32_t name);
bool model_matches(unsigned kind, uint32_t name, const struct whole_event *event);
/* The number of an event that somebody got; checks that it is what was appended, and what others saw. */
uint32_t model_check_event(const char *who, const struct annal_event *event);
size_t model_fill_data(uint32_t number, uint8_t *into); /* of that event; its size */
/* A range of positions that was read: what is missing in it is found at the end. */
void model_note_range(unsigned kind, uint32_t name, uint64_t from, uint64_t to, uint32_t count,
		      const char *who);
/* How many the final log has. */
uint32_t model_count(unsigned kind, uint32_t name, uint64_t from, uint64_t to);
/* Of the final log, ascending; then everything that must hold of it. */
void model_final_event(const struct annal_event *event);
void model_check_all(uint64_t head);

/* ---- whole_feed.c: what a subscription delivers ---- */

/* How far each node was at a moment. */
struct whole_heads {
	uint64_t head[WHOLE_NODES_MAX];
	uint32_t starts[WHOLE_NODES_MAX];
};

struct whole_feed {
	const char *name;
	unsigned kind;
	uint32_t query_name;
	bool of_stream;
	char stream[32];
	uint64_t place; /* version or position of the last event */
	uint64_t position;
	uint64_t *positions; /* of all that was delivered */
	uint32_t count;
	bool caught_up;
	unsigned node;            /* that serves it; 0: none, or not known */
	struct whole_heads heads; /* before it was asked for */
	uint64_t end_seen;
	uint32_t wanted; /* of the whole log, once that is known */
};

void whole_heads_note(struct whole_heads *heads);
void whole_feed_init(struct whole_feed *feed, const char *name, unsigned kind, bool of_stream);
void whole_feed_close(struct whole_feed *feed);
void whole_feed_begin(struct whole_feed *feed,
		      unsigned node); /* it is asked for, behind its place */
void whole_feed_event(struct whole_feed *feed, const struct annal_event *event);
/* With the position that it is told; 0: it says nothing of the log. */
void whole_feed_caught_up(struct whole_feed *feed, uint64_t position);
void whole_feed_fell_behind(struct whole_feed *feed, uint64_t position);
void whole_feed_checkpoint(const struct whole_feed *feed, uint64_t position);
bool whole_feed_is_done(struct whole_feed *feed);

/* ---- the programs ---- */

/* One program with two clients: one that knows all nodes, one that knows a single one and stays there. */
struct whole_client {
	unsigned number;
	struct os_process *process;
	struct annal_client *handles[2];
	uint64_t floor;                           /* what its session has seen */
	uint64_t stream_floor[WHOLE_STREAMS_MAX]; /* versions that it wrote or read */
	uint64_t guess[WHOLE_STREAMS_MAX];        /* versions that it expects */
	uint32_t *unsure;                         /* appends to be tried again */
	unsigned unsure_count;
	bool calm; /* had one acknowledged since it is calm */
	bool reads_only;
	unsigned home; /* the node that the second one knows */
};

/* A new append of the model. */
uint32_t client_draw_append(struct whole_client *client);
/* What to ask for; it lasts until the next one of that writer, of WHOLE_WRITERS. */
struct annal_append *client_make_request(const struct whole_append *append, unsigned writer);
/* Versions that were acknowledged before it is sent, and are told to client_take_outcome. */
void client_note_floors(const struct whole_append *append, uint64_t floors[WHOLE_WRITES]);
void client_take_outcome(struct whole_client *client, uint32_t number, enum annal_code code,
			 const struct annal_append_result *result, const struct annal_error *error,
			 const uint64_t *floors);
void client_append(struct whole_client *client);       /* one, or one again */
void client_append_burst(struct whole_client *client); /* several in flight */
void client_read(struct whole_client *client);
struct annal_client *client_handle(struct whole_client *client); /* any of its two */
uint32_t client_draw_timeout(void);
/* A client of all nodes (node 0), or of one alone. */
struct annal_client *whole_connect(unsigned node, const char *read_from);

void whole_clients_start(void);
void whole_subscribers_start(void);
void whole_plain_start(void);  /* whole_plain_append.c */
void whole_window_start(void); /* whole_window.c */
void whole_reader_start(void); /* reads every node's log into the model; then `reader` ends */
/* A call began then and may take so long: a violation when it took longer. */
void whole_check_time(const char *call, uint64_t began, uint32_t timeout_ms);

/* ---- whole_members.c: an operator who changes members ---- */

void whole_members_start(void);
/* A new node is to take the place of that one, whose disk may be lost. False: not now. */
bool whole_members_replace(struct whole_node *node, bool lost);
bool whole_members_transfer(void);
bool whole_members_settled(void); /* nobody is being replaced */

/* ---- whole_nemesis.c ---- */

void nemesis_begin(void);
bool nemesis_step(bool ending); /* false: nothing is left to be done */
void nemesis_end(void);
void nemesis_stopping(
	void); /* after the end: nodes that stop, or end for their disk, start again */

#endif
