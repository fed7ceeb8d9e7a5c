/* Holes: encode and parse. */
#include "storage/hole.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"

#include <errno.h>

#define ARRAY_OF_4 0x94
#define U64        0xcf
#define NUMBERS    4

void hole_encode(const struct hole *hole, uint8_t into[HOLE_BYTES])
{
	const uint64_t numbers[NUMBERS] = {hole->first, hole->last, hole->hash_before,
					   hole->hash_after};

	ASSERT(hole->first >= 1 && hole->first <= hole->last && hole->last <= LIMIT_POSITION);
	into[0] = ARRAY_OF_4;
	for (int i = 0; i < NUMBERS; i++) {
		into[1 + 9 * i] = U64;
		bytes_set_be64(into + 2 + 9 * i, numbers[i]);
	}
}

bool hole_is_next(struct span bytes)
{
	return bytes.size > 0 && bytes.data[0] == ARRAY_OF_4;
}

int hole_parse(struct span bytes, struct hole *hole)
{
	uint64_t numbers[NUMBERS];

	if (bytes.size < HOLE_BYTES || !hole_is_next(bytes))
		return -EBADMSG;
	for (int i = 0; i < NUMBERS; i++) {
		if (bytes.data[1 + 9 * i] != U64)
			return -EBADMSG;
		numbers[i] = bytes_be64(bytes.data + 2 + 9 * i);
	}
	if (numbers[0] == 0 || numbers[1] < numbers[0] || numbers[1] > LIMIT_POSITION ||
	    numbers[1] - numbers[0] >= HOLE_POSITIONS_MAX)
		return -EBADMSG;
	*hole = (struct hole){.first = numbers[0],
			      .last = numbers[1],
			      .hash_before = numbers[2],
			      .hash_after = numbers[3]};
	return 0;
}
