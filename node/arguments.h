/*
 * Arguments of a request by their names: an index over the params map, made in one pass, so that the
 * values (ten thousand events, perhaps) are skipped once and not once for each name asked for.
 */
#ifndef NODE_ARGUMENTS_H
#define NODE_ARGUMENTS_H

#include "base/msgpack.h"

#define ARGUMENTS_INDEXED 12u /* pairs; those behind are found by a walk */

struct arguments {
	struct span map; /* one msgpack map that a scanner has passed */
	uint32_t pairs, indexed;
	size_t rest; /* where in the map the pairs begin that are not indexed */
	struct argument_place {
		uint32_t name_at, name_size, value_at, value_size;
	} places[ARGUMENTS_INDEXED];
};

/* False: the map's keys and values are not whole, or it is no map; nothing is found in it then. */
bool arguments_index(struct arguments *arguments, struct span map);
/* The value as its bytes; false when there is none. If a name occurs twice the last one counts. */
bool arguments_find(const struct arguments *arguments, const char *name, struct span *value);

#endif
