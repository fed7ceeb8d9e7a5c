/*
 * Arguments of a request by their names: an index over the params map, made in one pass, so that the
 * values (ten thousand events, perhaps) are skipped once and not once for each name asked for.
 * Loop thread, no clock, no I/O.
 */
#ifndef NODE_ARGUMENTS_H
#define NODE_ARGUMENTS_H

#include "base/limits.h"
#include "base/msgpack.h"

#define ARGUMENTS_FORWARD_PAIRS 4u /* put behind a client's by the node that forwards them */
#define ARGUMENTS_MAX           (LIMIT_MAP_PAIRS + ARGUMENTS_FORWARD_PAIRS)

struct arguments {
	struct span map; /* one msgpack map that a scanner has passed; not owned */
	uint32_t pairs, indexed;
	struct argument_place {
		uint32_t name_at, name_size, value_at, value_size;
	} places[ARGUMENTS_MAX];
};

/*
 * False: the map's keys and values are not whole, or it is no map (`pairs` is 0 then), or it has more
 * than ARGUMENTS_MAX pairs (`pairs` says how many). Nothing is found in it then.
 */
bool arguments_index(struct arguments *arguments, struct span map);
/*
 * The value as its bytes; false when there is none, or it is nil, as from clients that pack what they
 * leave out. If a name occurs twice the last one counts.
 */
bool arguments_find(const struct arguments *arguments, const char *name, struct span *value);

#endif
