/*
 * A hole: a run of positions whose records were dropped, since later ones superseded them (system.h).
 * The running hash before and after it is kept, so that all that is left can be checked as before.
 *
 *   offset  bytes  content
 *        0      1  0x94: a msgpack array of 4
 *        1      9  0xcf, first position: u64 big-endian
 *       10      9  0xcf, last position
 *       19      9  0xcf, running hash before the first
 *       28      9  0xcf, running hash after the last
 *
 * It covers at most HOLE_POSITIONS_MAX positions, as many as a block can hold: a longer run is several.
 */
#ifndef STORAGE_HOLE_H
#define STORAGE_HOLE_H

#include "base/buffer.h"

#define HOLE_BYTES         37
#define HOLE_POSITIONS_MAX UINT32_MAX

struct hole {
	uint64_t first, last; /* positions */
	uint64_t hash_before, hash_after;
};

void hole_encode(const struct hole *hole, uint8_t into[HOLE_BYTES]);
/* Whether what stands at the front is a hole, and no record. */
bool hole_is_next(struct span bytes);
/* Parse the hole at the front, HOLE_BYTES long: 0, or -EBADMSG. */
int hole_parse(struct span bytes, struct hole *hole);

#endif
