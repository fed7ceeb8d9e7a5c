/*
 * The arguments `query` and `fail_if` (PROTOCOL section 2): "all", or a non-empty array of maps, each with
 * any of `types`, `tags`, `categories`, `streams` and `stream_prefix`. Pure: no clock, no I/O.
 *
 * What PROTOCOL leaves open:
 * - a part that is there names something: an empty array or string is refused, nil is no part.
 * - unknown keys are ignored, but an item with none of the parts is refused: it would match nothing that
 *   was meant.
 * - at most LIMIT_QUERY_ITEMS items, and LIMIT_QUERY_NAMES names and prefixes in all of them together,
 *   repeated ones included. A name repeated in a part is dropped.
 * - names of system streams (`$`) are refused, since no query matches their records. A category may be
 *   any text as long as a stream's name: one with a '-' in it matches nothing.
 */
#ifndef NODE_QUERY_DECODE_H
#define NODE_QUERY_DECODE_H

#include "storage/query.h"

struct query_problem {
	char argument[96]; /* "query[2].tags[0]" */
	char message[256]; /* a sentence that begins with it */
};

/*
 * `raw` is one msgpack value that a scanner has passed, `path` what to call it. True: `query`, which is
 * empty before, has its items; their names point into `raw`. False: *problem says what is wrong, and the
 * query is empty again.
 */
bool query_decode(struct span raw, const char *path, struct query *query,
		  struct query_problem *problem);

#endif
