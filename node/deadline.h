/*
 * Deadlines of requests: a timing wheel. Adding, removing and expiring are O(1); a deadline further
 * away than one turn of the wheel stays in its slot until its turn has come. Loop thread.
 */
#ifndef NODE_DEADLINE_H
#define NODE_DEADLINE_H

#include "node/request.h"

#define DEADLINE_TICK_MS 5
#define DEADLINE_SLOTS   2048u /* a power of two: one turn is 10 s */

struct deadlines {
	int64_t tick; /* the last one looked at */
	uint32_t count;
	struct request *slots[DEADLINE_SLOTS];
};

struct deadlines *deadlines_new(int64_t now_ms);
void deadlines_free(struct deadlines *deadlines); /* none is left in it */
/* By request->deadline_ms. */
void deadlines_add(struct deadlines *deadlines, struct request *request);
/* Also for one that is not there (any more). */
void deadlines_remove(struct deadlines *deadlines, struct request *request);
/* Call request_expire for each request whose deadline has passed. */
void deadlines_advance(struct deadlines *deadlines, int64_t now_ms);

#endif
