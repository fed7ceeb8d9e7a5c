/* The inside of decoding an append, shared by the files that each know a part of it. See append_decode.h. */
#ifndef NODE_APPEND_DECODING_H
#define NODE_APPEND_DECODING_H

#include "node/append_decode.h"

#define APPEND_PATH_BYTES 64u

/* What one decode carries along. */
struct decode {
	struct append_decoder *decoder;
	const struct arguments *arguments;
	struct append_problem *problem;
	struct buffer *item;
	struct append_form *form;
	uint64_t bytes; /* data and metadata so far */
	uint64_t ids;   /* given so far */
	uint32_t names; /* in the queries of conditions so far */
	const uint8_t *first_id;
	uint32_t streams; /* mentioned so far, in writes and checks */
	struct span first_stream;
	/* Where we are, for the path in a problem. */
	const char *list; /* "writes", "checks", or NULL */
	uint32_t list_index;
	bool in_event;
	uint32_t event_index;
};

/* ---- problems: each gives false ---- */

/* `name` is that of an argument at this place; "": the place itself is wrong. */
bool decode_refuse(struct decode *decode, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
bool decode_refuse_type(struct decode *decode, const char *name, const char *wanted,
			struct span value);
bool decode_refuse_pairs(struct decode *decode, uint32_t pairs);
bool decode_too_large(struct decode *decode, uint64_t size, uint64_t limit, const char *what);
/* The path of the place where we are: "", "writes[3]", "writes[3].events[2]". */
void decode_write_place(const struct decode *decode, char path[APPEND_PATH_BYTES]);

/* False, with the problem told, when the item has become larger than it may. */
bool decode_check_size(struct decode *decode);

/* ---- parts: what is decoded is added to the item ---- */

/* append_event.c: the events of one write, raw. */
bool decode_events(struct decode *decode, struct span stream, struct span raw);
/* append_condition.c: the arguments `condition` and `checkpoint`, if they are there. */
bool decode_conditions(struct decode *decode);
bool decode_checkpoint(struct decode *decode);

#endif
