/*
 * Commands: what one raft entry carries (inside the raft payload, see raft/payload.h).
 * Little-endian.
 *
 *   command, 16 bytes and the items
 *        0     1  kind (enum command_kind)
 *        1     1  format: 1
 *        2     2  zero
 *        4     4  number of items
 *        8     8  created, ns since 1970 (i64): the leader's clock when it proposed
 *       16     …  the items, one after the other, nothing behind them
 *     kind 1  COMMAND_BATCH: items are appends, decided one after the other, in order
 *     kind 2  COMMAND_TERM: no items: the first command of a leader in its term (raft/fsm.h)
 *     kind 3  COMMAND_PACKED: a batch made smaller (pack.h); nothing here but the header knows of it
 *   item
 *        0     4  bytes of the rest of the item
 *        4     …  sections, one after the other
 *   section
 *        0     1  tag (enum command_section_tag)
 *        1     3  bytes of the content (u24)
 *        4     …  content
 *   content of COMMAND_EXPECTATION: one for each distinct stream, in order of first mention, before
 *   the records; each stream that is written has one (kind EXPECTATION_ANY when nothing is expected)
 *        0     1  kind (enum expectation_kind)
 *        1     1  1: the append writes this stream; 0: only checked
 *        2     2  zero
 *        4     4  index: place in the request, told in violations
 *        8     8  version, for EXPECTATION_VERSION and EXPECTATION_AT_LEAST, else 0
 *       16     …  stream name, 1 byte to RECORD_STREAM_BYTES_MAX
 *   content of COMMAND_CONDITION: the append fails when an event behind `after` matches. Before the
 *   records; LIMIT_CONDITIONS at most in an item.
 *        0     4  index: place in the request, told when it fails
 *        4     4  zero
 *        8     8  after: a position
 *       16     …  query (query.h)
 *   content of COMMAND_RECORD: one stored record with blanks (record.h), of any stream but one that
 *   keeps checkpoints. In order of the global log.
 *   content of COMMAND_CHECKPOINT: at most one in an item, the last section
 *        0     1  flags: bit 0: `if_position` counts
 *        1     7  zero
 *        8     8  if_position: the stored one must be at it (none stored: 0)
 *       16     …  the record with blanks that stores or deletes a checkpoint (system.h)
 *
 * Unknown kinds, formats and tags stop the node: an older node must never skip what a newer leader
 * decided. (Which is why a mixed cluster negotiates the format in the peer handshake.)
 */
#ifndef STORAGE_COMMAND_H
#define STORAGE_COMMAND_H

#include "base/error.h"
#include "storage/query.h"
#include "storage/record.h"

enum command_kind { COMMAND_BATCH = 1, COMMAND_TERM = 2, COMMAND_PACKED = 3 };

enum command_section_tag {
	COMMAND_EXPECTATION = 1,
	COMMAND_RECORD = 2,
	COMMAND_CONDITION = 3,
	COMMAND_CHECKPOINT = 4,
};

enum expectation_kind {
	EXPECTATION_ANY,
	EXPECTATION_VERSION, /* exactly this version; 0: never had an event */
	EXPECTATION_NO_STREAM,
	EXPECTATION_STREAM_EXISTS,
	EXPECTATION_AT_LEAST, /* this version or a later one; of our own, for snapshots */
};

struct expectation {
	enum expectation_kind kind;
	bool written;     /* false: a check on a stream that this append does not write */
	uint64_t version; /* for EXPECTATION_VERSION and _AT_LEAST */
	struct span stream;
	uint32_t index; /* place in the request's `writes` (or `checks`), told in violations */
};

struct condition {
	uint32_t index;    /* place in the request's `condition` */
	uint64_t after;    /* position: only events behind it count */
	struct span query; /* encoded */
};

struct checkpoint_section {
	bool has_if_position;
	uint64_t if_position;
	struct span record; /* bytes; with blanks */
};

/* ---- encoding, on the leader ---- */

/* An item is built in a buffer of the caller: begin, add…, end; items are concatenated by propose.
 */
size_t command_item_begin(struct buffer *buffer); /* the item's offset, for end */
void command_item_add_expectation(struct buffer *buffer, const struct expectation *expectation);
void command_item_add_condition(struct buffer *buffer, uint32_t index, uint64_t after,
				const struct query *query);
void command_item_add_checkpoint(struct buffer *buffer, const uint64_t *if_position, /* or NULL */
				 const struct record_fields *fields);
void command_item_add_record(struct buffer *buffer, const struct record_fields *fields);
void command_item_end(struct buffer *buffer, size_t item_offset);

#define COMMAND_HEADER_BYTES 16
/* Write the header of a command into the COMMAND_HEADER_BYTES at `into`; items follow it. */
void command_header_write(uint8_t *into, enum command_kind kind, uint32_t items, int64_t created);

/* ---- decoding, when applied ---- */

struct command {
	enum command_kind kind;
	uint32_t item_count;
	int64_t created;
	struct span items; /* all of them */
};

struct command_section {
	enum command_section_tag tag;
	struct span content;
};

/*
 * Each returns 0 or -EBADMSG with a message. command_parse checks the frame of everything: kinds,
 * lengths, tags. Afterwards the walk over items and sections cannot fail; what is inside a section
 * is checked by the other parsers, by query_parse and by record_parse.
 */
int command_parse(struct span body, struct command *command, struct error *error);
int command_parse_expectation(struct span content, struct expectation *expectation,
			      struct error *error);
int command_parse_condition(struct span content, struct condition *condition, struct error *error);
int command_parse_checkpoint(struct span content, struct checkpoint_section *checkpoint,
			     struct error *error);

/* Take the first item off `items`: its sections; false when there is none left. */
bool command_next_item(struct span *items, struct span *sections);
/* Take the first section off `sections`; false when there is none left. */
bool command_next_section(struct span *sections, struct command_section *section);

#endif
