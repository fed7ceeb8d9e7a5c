/*
 * Blocks of one size that are given back and taken again, by one thread: for what comes and goes with each
 * request, in bursts of hundreds, which malloc's own short lists are not made for. Zeroed, it is an empty one.
 * Under AddressSanitizer nothing is kept, so that it sees who uses what was given back.
 */
#ifndef BASE_SPARE_H
#define BASE_SPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct spare {
	void *first; /* the first pointer of each block leads to the next */
	uint32_t count;
	size_t size; /* of each block; 0: none was taken yet */
};

/* A block of `size` bytes, the same each time: as it was given back but for its first pointer, or zeroed. */
void *spare_take(struct spare *spare, size_t size);
/* Keep the block for the next one, if fewer than `max` are kept: true. False: it stays the caller's. */
bool spare_give(struct spare *spare, void *block, uint32_t max);
/* Take a block that is kept, for memory_free; NULL: there is none left. */
void *spare_take_kept(struct spare *spare);

#endif
