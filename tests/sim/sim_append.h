/*
 * What simulated clients ask for, and what must come of it. An append is kept as it was meant, beside the
 * bytes of the command that was proposed: the model (sim_model.c) decides from the first, the stores from
 * the second.
 *
 * The vocabulary is small, so that appends meet each other: streams become usual and unusual again as time
 * goes by, consumers, types and tags stay.
 */
#ifndef TESTS_SIM_APPEND_H
#define TESTS_SIM_APPEND_H

#include "storage/command.h"
#include "storage/outcome.h"

#define SIM_STREAMS   64 /* behind them as many streams of snapshots, then those of checkpoints */
#define SIM_CONSUMERS 3
#define SIM_NAMES     (2 * SIM_STREAMS + SIM_CONSUMERS)
#define SIM_TYPES     4 /* behind them the two of snapshots, then the two of checkpoints */
#define SIM_TAGS      5
#define SIM_EVENTS    6 /* of one append */
#define SIM_EXPECTED  8
#define SIM_ITEMS     3 /* of one command */

enum sim_type {
	SIM_TYPE_SNAPSHOT = SIM_TYPES,
	SIM_TYPE_SNAPSHOT_DELETED,
	SIM_TYPE_CHECKPOINT,
	SIM_TYPE_CHECKPOINT_DELETED,
	SIM_TYPE_COUNT,
};

struct sim_event_asked {
	unsigned stream, type;
	unsigned tags; /* a bit for each */
	uint64_t id;   /* number of the id */
	size_t data_bytes;
};

struct sim_expectation {
	enum expectation_kind kind;
	bool written;
	unsigned stream, index;
	uint64_t version;
};

/* A bit for each name; 0: the part is absent. */
struct sim_query_item {
	unsigned types, tags, categories;
	uint64_t streams;
	const char *prefix; /* NULL: none */
};

struct sim_query {
	unsigned count;
	struct sim_query_item items[2];
};

struct sim_condition {
	uint64_t after;
	struct sim_query query;
};

struct sim_checkpoint {
	bool present, deleted, has_if_position;
	unsigned consumer;
	uint64_t position, epoch, if_position, id;
};

struct sim_append {
	unsigned event_count, expectation_count, condition_count;
	struct sim_event_asked events[SIM_EVENTS];
	struct sim_expectation expectations[SIM_EXPECTED];
	struct sim_condition conditions[2];
	struct sim_checkpoint checkpoint;
	bool is_part; /* of an append before */
};

/* What the model says of an append. */
struct sim_decided {
	enum answer_code code;
	bool duplicate;
	uint64_t first_position, position;
	int64_t created;
	unsigned stream_count;
	struct {
		unsigned stream;
		uint64_t first_version, version;
	} streams[SIM_EXPECTED];
	unsigned violation_count;
	struct {
		unsigned index;
		uint64_t actual;
		bool exists;
	} violations[SIM_EXPECTED];
	uint64_t conflict_id; /* number */
	unsigned conflict_stream;
	uint64_t conflict_version;
	unsigned condition_index;
	uint64_t condition_position;
	uint64_t checkpoint_position, checkpoint_epoch;
};

/* What must have been seen once by a range of seeds: else the run proves little. */
#define SIM_SEEN(X)                                                                                \
	X(ONE_STREAM, "append: one stream")                                                        \
	X(SEVERAL, "append: several streams")                                                      \
	X(INTERLEAVED, "append: interleaved streams")                                              \
	X(CHECK, "append: check of another stream")                                                \
	X(CHECK_ALONE, "append: checks alone")                                                     \
	X(CONDITION_TYPE, "condition: type")                                                       \
	X(CONDITION_TAG, "condition: tag")                                                         \
	X(CONDITION_CATEGORY, "condition: category")                                               \
	X(CONDITION_STREAM, "condition: stream")                                                   \
	X(CONDITION_PREFIX, "condition: prefix")                                                   \
	X(CONDITIONS, "condition: several")                                                        \
	X(CHECKPOINT, "checkpoint: with events")                                                   \
	X(CHECKPOINT_ALONE, "checkpoint: alone")                                                   \
	X(CHECKPOINT_GONE, "checkpoint: deleted")                                                  \
	X(SNAPSHOT, "snapshot: stored")                                                            \
	X(SNAPSHOT_GONE, "snapshot: deleted")                                                      \
	X(OK_VERSION, "holds: version")                                                            \
	X(OK_NO_STREAM, "holds: no_stream")                                                        \
	X(OK_EXISTS, "holds: stream_exists")                                                       \
	X(OK_CONDITION, "holds: condition")                                                        \
	X(OK_CHECKPOINT, "holds: if_position")                                                     \
	X(OK_EPOCH, "holds: higher epoch")                                                         \
	X(DUPLICATE, "answer: duplicate")                                                          \
	X(DUPLICATE_PART, "answer: duplicate of a part")                                           \
	X(DUPLICATE_FLUSHED, "answer: duplicate of a flushed event")                               \
	X(WRONG_VERSION, "refused: version")                                                       \
	X(WRONG_NO_STREAM, "refused: no_stream")                                                   \
	X(WRONG_EXISTS, "refused: stream_exists")                                                  \
	X(WRONG_AT_LEAST, "refused: snapshot of no such version")                                  \
	X(WRONG_SEVERAL, "refused: several expectations")                                          \
	X(WRONG_CHECK, "refused: check")                                                           \
	X(WRONG_CONDITION, "refused: condition")                                                   \
	X(WRONG_ID, "refused: stored id")                                                          \
	X(WRONG_ID_TWICE, "refused: id twice")                                                     \
	X(WRONG_EPOCH, "refused: fenced checkpoint")                                               \
	X(WRONG_IF_POSITION, "refused: if_position")                                               \
	X(WRONG_NOT_FOUND, "refused: no checkpoint to delete")                                     \
	X(READ_LEADER, "linearizable read on the leader")                                          \
	X(READ_FOLLOWER, "linearizable read on another node")                                      \
	X(READ_NO_LEADER, "linearizable read refused")                                             \
	X(QUERY, "query compared with the model")                                                  \
	X(FLUSH, "flush")                                                                          \
	X(TRIM, "trim that dropped")                                                               \
	X(PULL_PAGE, "page pulled")                                                                \
	X(PULL_HOLE, "hole pulled")                                                                \
	X(PULL_NEWER, "newer manifest taken")                                                      \
	X(PULL_AGAIN, "start while records were being pulled")                                     \
	X(COMMIT_FAILED, "commit of the store that failed")                                        \
	X(STORE_FULL, "store that was full")                                                       \
	X(LIMIT_TAIL, "seeds with a tail of three records")                                        \
	X(LIMIT_BATCH, "seeds with batches of one")                                                \
	X(LIMIT_FRAME, "seeds with messages of one entry")                                         \
	X(LIMIT_SEGMENT, "seeds with segments of one entry")                                       \
	X(LIMIT_LOG, "seeds that keep a log of one entry")                                         \
	X(LIMIT_PAGE, "seeds with pulled pages of one record")

enum sim_seen {
#define X(name, text) SEEN_##name,
	SIM_SEEN(X)
#undef X
		SEEN_COUNT
};
const char *sim_seen_name(enum sim_seen seen);

struct sim;
struct sim_node;

/* ---- names and appends (sim_append.c) ---- */

const char *sim_stream_name(unsigned stream);
const char *sim_type_name(unsigned type);
const char *sim_tag_name(unsigned tag);
const char *sim_category_name(unsigned category);
#define SIM_CATEGORIES 4
unsigned sim_snapshot_stream(unsigned stream);
unsigned sim_checkpoint_stream(unsigned consumer);
uint64_t sim_new_id(struct sim *sim);
const uint8_t *sim_id_bytes(const struct sim *sim, uint64_t id);
void sim_draw_append(struct sim *sim, struct sim_append *append);
/* Another try of what was asked before: the same, or nearly. */
void sim_draw_retry(struct sim *sim, const struct sim_append *before, struct sim_append *append);
void sim_draw_query(struct sim *sim, struct sim_query *query);
void sim_query_build(const struct sim_query *query, struct query *into);
/* As a node would: an item of a command. */
void sim_append_encode(struct sim *sim, const struct sim_append *append, struct buffer *into);

/* ---- the model (sim_model.c) ---- */

struct sim_stored {
	unsigned stream, type, tags;
	uint64_t version, id;
	int64_t created;
	uint64_t superseded; /* by the record at this position; 0: by none */
};

struct sim_stream_model {
	uint64_t version, last_position;
};

struct sim_consumer_model {
	bool exists;
	uint64_t position, epoch;
};

struct sim_model {
	uint64_t index; /* of the last command */
	uint64_t head;
	int64_t created;
	struct sim_stored *stored; /* by position, from 1 */
	size_t capacity;
	struct sim_stream_model streams[SIM_NAMES];
	struct sim_consumer_model consumers[SIM_CONSUMERS];
	uint64_t *positions; /* by number of the id; 0: not stored */
	size_t ids;          /* room in it */
};

void sim_model_append(struct sim *sim, const struct sim_append *append, int64_t created,
		      struct sim_decided *decided);
bool sim_model_matches(const struct sim_query *query, const struct sim_stored *stored);
uint64_t sim_model_id(const struct sim_model *model, uint64_t id);

#endif
