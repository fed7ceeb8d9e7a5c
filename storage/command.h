/*
 * Commands: what one raft entry carries (inside the raft payload, see raft/payload.h). Little-endian.
 *
 *   command   u8 kind; u8 format (1); u16 zero; u32 item count; i64 created (ns since 1970, the
 *             leader's clock when it proposed); then the items
 *     kind 1  COMMAND_BATCH: items are appends, decided one after the other, in order
 *     kind 2  COMMAND_TERM: no items: the first command of a leader in its term (raft/fsm.h)
 *   item      u32 bytes of the rest of the item; then sections:
 *   section   u8 tag; u24 bytes of the content … see command.c's encoder for each tag:
 *     EXPECTATION  u8 kind (enum expectation_kind); u8 written (1) or only checked (0); u64 version;
 *                  stream name (the rest). One for each distinct stream, in order of first mention.
 *     RECORD       one stored record with blanks (record.h). In order of the global log.
 *   Unknown tags stop the node: an older node must never skip what a newer leader decided. (Which is
 *   why a mixed cluster negotiates the format in the peer handshake.)
 *
 * The exact layout may be refined while nothing is released; it is specified here byte by byte.
 */
#ifndef STORAGE_COMMAND_H
#define STORAGE_COMMAND_H

#include "storage/record.h"

enum command_kind { COMMAND_BATCH = 1, COMMAND_TERM = 2 };

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

/* An item is built in a buffer of the caller: begin, add…, end; items are concatenated by propose. */
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

struct command_item {
	struct span sections;
	struct span rest; /* the items behind this one */
};

/* Each returns 0 or -EBADMSG with a message; every bound is checked, records are parsed by the machine. */
struct error;
int command_parse(struct span body, struct command *command, struct error *error);

#endif
