/*
 * Looking ahead while a command is applied: what the next items will look up is brought into the
 * processor's caches while the ones before them are decided. Reads memory and changes none: nothing
 * depends on it but time. Under the apply lock.
 */
#ifndef STORAGE_AHEAD_H
#define STORAGE_AHEAD_H

#include "storage/stream_cache.h"
#include "storage/tail.h"

#define AHEAD_ITEMS 8u /* a power of two */

struct ahead {
	const struct tail *tail;
	const struct stream_cache *cache;
	struct span items; /* not looked at yet */
	uint32_t seen;
	uint64_t hashes[AHEAD_ITEMS]; /* of the stream's name, by item; 0: none */
};

/* The items of a command that command_parse has accepted. */
void ahead_begin(struct ahead *ahead, const struct tail *tail, const struct stream_cache *cache,
		 struct span items);
/* This item is decided now: 0, then 1, … */
void ahead_step(struct ahead *ahead, uint32_t item);

#endif
