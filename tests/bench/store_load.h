/*
 * Appends for programs that measure the store alone: each event an append of its own, in a stream of one
 * of ten categories, of one of four types, with up to four tags.
 */
#ifndef TESTS_BENCH_STORE_LOAD_H
#define TESTS_BENCH_STORE_LOAD_H

#include "base/buffer.h"
#include "base/uuid.h"

#define LOAD_STREAM_BYTES     64u
#define LOAD_COMMAND_BYTES    (64u << 10) /* a command is closed at this size */
#define LOAD_WINDOW           5000u       /* streams that are written at a time ... */
#define LOAD_EVENTS_IN_WINDOW 5u          /* ... and events that each gets meanwhile, in the mean */

enum load_order {
	LOAD_ROUND_ROBIN,
	LOAD_WINDOWED, /* a window of streams moves over all of them, again and again */
	LOAD_UNIFORM   /* any stream at any time */
};

extern const char *const load_tags[4];

struct store_load {
	uint64_t bytes; /* of data; at most LIMIT_EVENT_BYTES */
	uint64_t streams;
	uint32_t tags; /* on every event; at most 4 */
	enum load_order order;
	bool version_4; /* ids at random; else of version 7 */
	uint64_t seed;
};

uint64_t load_random(struct store_load *load);
void load_stream_name(uint64_t stream, char name[LOAD_STREAM_BYTES]);
/* Append the item of a command (storage/command.h) that appends event `number`, from 0. */
void load_add_append(struct store_load *load, struct buffer *items, uint64_t number);

#endif
