/* What apply decided about one append: the same on every node, told only to whoever proposed it. */
#ifndef STORAGE_OUTCOME_H
#define STORAGE_OUTCOME_H

#include "base/answer.h"
#include "storage/command.h"

enum stream_state { STREAM_NONE, STREAM_LIVE, STREAM_DELETED, STREAM_TOMBSTONED };

const char *
stream_state_name(enum stream_state state); /* "none", "live", "deleted", "tombstoned" */

struct violation {
	struct expectation expected;
	uint64_t actual; /* version */
	enum stream_state state;
};

struct outcome_stream {
	struct span stream;
	uint64_t first_version; /* of this append's events in it */
	uint64_t version;       /* after the append */
};

/* All pointers are valid during the call that hands the outcome over, and no longer. */
struct outcome {
	/* OK, WRONG_EXPECTED_VERSION, CONDITION_FAILED, EVENT_ID_CONFLICT, CHECKPOINT_CONFLICT,
	 * STREAM_TOMBSTONED, NOT_FOUND (a checkpoint to delete), INVALID_ARGUMENT (a condition that
	 * looks at more than LIMIT_CONDITION_SCAN records). */
	enum answer_code code;
	bool duplicate; /* OK: stored before; the numbers are those of then */
	/* Of the events. Without events: of the checkpoint's record; without that: the head. */
	uint64_t first_position, position;
	int64_t created;
	uint32_t stream_count; /* in order of first mention */
	const struct outcome_stream *streams;
	uint32_t violation_count; /* WRONG_EXPECTED_VERSION: every one that failed */
	const struct violation *violations;
	uint8_t conflict_id
		[UUID_BYTES]; /* EVENT_ID_CONFLICT: the first id that is stored already … */
	struct span conflict_stream; /* … and where */
	uint64_t conflict_version;
	uint32_t condition_index;    /* CONDITION_FAILED, and INVALID_ARGUMENT: which one */
	uint64_t condition_position; /* the first one that matches */
	struct span consumer;        /* CHECKPOINT_CONFLICT and NOT_FOUND: whose */
	uint64_t checkpoint_position, checkpoint_epoch; /* CHECKPOINT_CONFLICT: the stored one */
	char message[256];                              /* for people; empty for OK */
};

#endif
