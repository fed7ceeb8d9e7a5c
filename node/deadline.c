#include "node/deadline.h"

#include "base/assert.h"
#include "base/memory.h"

static int64_t tick_of(int64_t ms)
{
	return ms / DEADLINE_TICK_MS;
}

struct deadlines *deadlines_new(int64_t now_ms)
{
	struct deadlines *deadlines = memory_zeroed(1, sizeof *deadlines);

	deadlines->tick = tick_of(now_ms);
	return deadlines;
}

void deadlines_free(struct deadlines *deadlines)
{
	ASSERT(deadlines->count == 0);
	memory_free(deadlines);
}

static void link_into(struct request **slot, struct request *request)
{
	ASSERT(request->deadline_link == NULL);
	request->deadline_next = *slot;
	request->deadline_link = slot;
	if (*slot != NULL)
		(*slot)->deadline_link = &request->deadline_next;
	*slot = request;
}

static void unlink_from_slot(struct request *request)
{
	*request->deadline_link = request->deadline_next;
	if (request->deadline_next != NULL)
		request->deadline_next->deadline_link = request->deadline_link;
	request->deadline_next = NULL;
	request->deadline_link = NULL;
}

static struct request **slot_of(struct deadlines *deadlines, int64_t tick)
{
	return &deadlines->slots[(uint64_t)tick % DEADLINE_SLOTS];
}

static void link_by_deadline(struct deadlines *deadlines, struct request *request)
{
	/* The first tick that begins at the deadline or later, and was not looked at yet. */
	int64_t tick = tick_of(request->deadline_ms + DEADLINE_TICK_MS - 1);

	link_into(slot_of(deadlines, tick > deadlines->tick ? tick : deadlines->tick + 1), request);
}

void deadlines_add(struct deadlines *deadlines, struct request *request)
{
	link_by_deadline(deadlines, request);
	deadlines->count++;
}

void deadlines_remove(struct deadlines *deadlines, struct request *request)
{
	if (request->deadline_link == NULL)
		return;
	ASSERT(deadlines->count > 0);
	unlink_from_slot(request);
	deadlines->count--;
}

/* Whoever expires may end other requests, of this slot too: so each time from a list's head. */
static void expire_slot(struct deadlines *deadlines, struct request **slot, int64_t now_ms)
{
	struct request *later = NULL, *request;

	while ((request = *slot) != NULL) {
		if (request->deadline_ms <= now_ms) {
			deadlines_remove(deadlines, request);
			request_expire(request);
		} else { /* of another turn of the wheel */
			unlink_from_slot(request);
			link_into(&later, request);
		}
	}
	while ((request = later) != NULL) {
		unlink_from_slot(request);
		link_by_deadline(deadlines, request);
	}
}

void deadlines_advance(struct deadlines *deadlines, int64_t now_ms)
{
	int64_t until = tick_of(now_ms);

	/* After a long pause each slot is looked at once. */
	if (until - deadlines->tick > (int64_t)DEADLINE_SLOTS)
		deadlines->tick = until - (int64_t)DEADLINE_SLOTS;
	while (deadlines->tick < until) {
		deadlines->tick++;
		expire_slot(deadlines, slot_of(deadlines, deadlines->tick), now_ms);
	}
}
