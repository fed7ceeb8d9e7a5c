/*
 * The machine: what an append does, decided the same on every node (step 7). It is a pure function
 * of what the view shows, the head before, and the item: no clock, no random, no order by address.
 *
 * In this order, the first that applies wins:
 *   1. a written stream is tombstoned                        STREAM_TOMBSTONED
 *   2. an id occurs twice in the append                      EVENT_ID_CONFLICT (conflict_version 0)
 *   3. all ids are stored, in this order, in these streams,
 *      at consecutive positions                              OK, duplicate: the numbers of then
 *   4. an id is stored                                       EVENT_ID_CONFLICT
 *   5. an expectation does not hold                          WRONG_EXPECTED_VERSION, all that fail
 *   6. an event behind a condition's `after` matches it      CONDITION_FAILED, the first condition
 *   7. the checkpoint's epoch is lower than the stored one,  CHECKPOINT_CONFLICT
 *      or the stored position is not `if_position`; there    NOT_FOUND
 *      is none to delete
 *   8. else the records are stamped, the checkpoint's last   OK
 *
 * Of several conditions, the first in the order of the item that fails is told. One that would take
 * too much (struct match_budget) gives INVALID_ARGUMENT in its turn.
 *
 * A checkpoint never stored, or deleted, is at position 0 with epoch 0. Deleting one needs no epoch:
 * it ends a fencing. The id of the checkpoint's record is new each time and takes no part in rules
 * 2 to 4: with events, these decide whether the append was stored before; without, storing again is
 * what a retry asks for.
 *
 * Rule 3 also takes a part of an older, longer append for a duplicate when it is one run of it:
 * those events are stored as asked, which is all that a retry wants to know.
 *
 * Time never goes back: created is that of the command, or of the record before if that is later.
 */
#ifndef STORAGE_MACHINE_H
#define STORAGE_MACHINE_H

#include "storage/outcome.h"
#include "storage/stream.h"

/*
 * What the conditions of one append may take, since all others wait meanwhile. What a query takes
 * follows from the query and the log alone, not from where a node's tail begins or what it dropped:
 *
 *   looks  records looked at one by one, since no index rules them out or in: those that match an item's
 *          other parts, when it has a prefix; for "all", system records before the first event. Dropped
 *          ones count. Used up by one condition after the other.
 *   depth  of an item with several parts, each tag being one: a match is told if one of the parts has no
 *          more events than this, behind `after` and up to the match; that there is none, if one of them has
 *          no more in all.
 *
 * Items are gone through in their order, each up to the match that was found before.
 */
struct match_budget {
	uint64_t looks; /* left */
	uint64_t depth;
};

/* What the machine may look at. Each returns 0 or an operating error with a message. */
struct machine_view {
	void *arg;
	/* A stream that never existed: state STREAM_NONE, all else 0. */
	int (*find_stream)(void *arg, struct span name, struct stream_facts *facts,
			   struct error *error);
	int (*find_id)(void *arg, const uint8_t id[UUID_BYTES], uint64_t *position,
		       struct error *error); /* position 0: not stored */
	int (*read)(void *arg, uint64_t position, struct buffer *into, struct error *error);
	/* The record with that version of a stream, which has it. */
	int (*read_version)(void *arg, struct span stream, uint64_t version, struct buffer *into,
			    struct error *error);
	/*
	 * The first event behind `after` that matches; *position 0: none. -E2BIG: it would take more
	 * than the budget, on every node alike.
	 */
	int (*find_match)(void *arg, const struct query *query, uint64_t after,
			  struct match_budget *budget, uint64_t *position, struct error *error);
};

struct machine_head {
	uint64_t position;
	int64_t created;
	uint64_t hash; /* running */
};

struct machine_write {
	uint8_t *bytes; /* stamped */
	uint32_t size;
	uint32_t target;
	uint64_t hash; /* running, after it */
};

struct machine_target {
	struct span name;
	struct stream_facts facts; /* after the append */
	uint64_t first_version; /* of its records in this append (of then, for a duplicate); 0: none
				 */
	uint64_t version;       /* of its last one; without records: the stream's */
	bool written;
};

/* Valid until the next decision. */
struct machine_decision {
	struct outcome outcome;
	uint32_t write_count; /* 0 unless the outcome is OK and no duplicate; checkpoint last */
	const struct machine_write *writes;
	uint32_t target_count;
	const struct machine_target *targets;
	struct machine_head head; /* after it */
};

struct machine;

struct machine *machine_new(const struct machine_view *view);
void machine_free(struct machine *machine);

/*
 * Decide the item whose sections these are; `memory` is the same bytes, writable: records are
 * stamped there. -EBADMSG: the item is malformed; then, and after an error of the view, nothing is
 * decided.
 */
int machine_decide(struct machine *machine, struct span sections, uint8_t *memory, int64_t created,
		   const struct machine_head *before, struct machine_decision *decision,
		   struct error *error);

bool machine_expectation_holds(const struct expectation *expectation,
			       const struct stream_facts *facts);

#endif
