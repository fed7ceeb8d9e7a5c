/*
 * From the arguments of `append` to the command item that is proposed (storage/command.h), in one
 * pass over the events, every bound checked. Pure: no clock, no I/O; ids are drawn for events that
 * bring none. PROTOCOL section 4, "Write".
 *
 * What PROTOCOL leaves open:
 * - an event's size is that of its data and metadata, an append's the sum over its events; the stored
 *   records of one append together are at most APPEND_ITEM_BYTES_MAX (names and tags count there).
 * - one form or the other: `stream` beside `writes` is refused; `checks`, `condition` and `checkpoint`
 *   go with both, and alone (`writes` absent or empty). Each write has an event at least.
 * - a stream in `checks` is in no write, and there once; "any" checks nothing and is refused.
 * - conditions: at most LIMIT_CONDITIONS, with LIMIT_QUERY_NAMES names in all of them together.
 * - a consumer is named by the rules for stream names.
 * - nil is an argument that was left out.
 */
#ifndef NODE_APPEND_DECODE_H
#define NODE_APPEND_DECODE_H

#include "base/answer.h"
#include "base/map.h"
#include "node/arguments.h"
#include "storage/command.h"
#include "storage/query.h"

#define APPEND_ITEM_BYTES_MAX (LIMIT_ENTRY_BYTES_MAX - 64 * KIB)

static_assert(LIMIT_APPEND_BYTES + 10 * KIB < APPEND_ITEM_BYTES_MAX,
	      "a largest append with ordinary names fits");

/* Scratch memory, reused from append to append. */
struct append_decoder {
	uint64_t max_append, max_event;
	struct map streams;   /* those with an expectation → how often they were mentioned */
	struct map ids;       /* of the append, when more than one is given */
	struct buffer writes; /* struct append_write, private */
	struct query query;   /* of a condition */
	struct buffer text;   /* of the checkpoint's record */
};

void append_decoder_init(struct append_decoder *decoder, uint64_t max_append, uint64_t max_event);
void append_decoder_close(struct append_decoder *decoder);

struct append_problem {
	enum answer_code code; /* INVALID_ARGUMENT or TOO_LARGE */
	char argument[96];     /* "events[2].type" */
	char message[256];
	uint64_t limit, size; /* TOO_LARGE */
};

struct append_form {
	bool one_stream;  /* the form with `stream` */
	bool with_events; /* on_conflict: "events" */
	bool has_others;  /* conditions, a checkpoint */
	uint32_t event_count;
};

/* True: the item is appended to `item`. False: *problem says why, `item` is as it was. */
bool append_decode(struct append_decoder *decoder, const struct arguments *arguments,
		   struct buffer *item, struct append_form *form, struct append_problem *problem);

/*
 * Whether an append that is forwarded may be sent once more to a later leader: it has events, each with an id,
 * so that it is stored once. Without checking anything else of it.
 */
bool append_has_ids(const struct arguments *arguments);

#endif
