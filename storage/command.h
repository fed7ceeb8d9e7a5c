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
 *   item
 *        0     4  bytes of the rest of the item
 *        4     …  sections, one after the other
 *   section
 *        0     1  tag (enum command_section_tag)
 *        1     3  bytes of the content (u24)
 *        4     …  content
 *   content of COMMAND_EXPECTATION: one for each distinct stream, in order of first mention, before
 *   the records; each stream that is written has one (kind EXPECTATION_ANY when nothing is
 * expected) 0     1  kind (enum expectation_kind) 1     1  1: the append writes this stream; 0:
 * only checked 2     2  zero 4     4  index: place in the request, told in violations 8     8
 * version, for EXPECTATION_VERSION, else 0 16     …  stream name, 1 byte to RECORD_STREAM_BYTES_MAX
 *   content of COMMAND_RECORD: one stored record with blanks (record.h). In order of the global
 * log.
 *
 * Unknown kinds, formats and tags stop the node: an older node must never skip what a newer leader
 * decided. (Which is why a mixed cluster negotiates the format in the peer handshake.)
 */
#ifndef STORAGE_COMMAND_H
#define STORAGE_COMMAND_H

#include "base/error.h"
#include "storage/record.h"

enum command_kind { COMMAND_BATCH = 1, COMMAND_TERM = 2 };

enum command_section_tag { COMMAND_EXPECTATION = 1, COMMAND_RECORD = 2 };

enum expectation_kind {
	EXPECTATION_ANY,
	EXPECTATION_VERSION, /* exactly this version; 0: never had an event */
	EXPECTATION_NO_STREAM,
	EXPECTATION_STREAM_EXISTS,
};

struct expectation {
	enum expectation_kind kind;
	bool written;     /* false: a check on a stream that this append does not write */
	uint64_t version; /* for EXPECTATION_VERSION */
	struct span stream;
	uint32_t index; /* place in the request's `writes` (or `checks`), told in violations */
};

/* ---- encoding, on the leader ---- */

/* An item is built in a buffer of the caller: begin, add…, end; items are concatenated by propose.
 */
size_t command_item_begin(struct buffer *buffer); /* the item's offset, for end */
void command_item_add_expectation(struct buffer *buffer, const struct expectation *expectation);
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
 * is checked by command_parse_expectation and record_parse.
 */
int command_parse(struct span body, struct command *command, struct error *error);
int command_parse_expectation(struct span content, struct expectation *expectation,
			      struct error *error);

/* Take the first item off `items`: its sections; false when there is none left. */
bool command_next_item(struct span *items, struct span *sections);
/* Take the first section off `sections`; false when there is none left. */
bool command_next_section(struct span *sections, struct command_section *section);

#endif
