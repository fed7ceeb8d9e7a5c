#include "node/own_writes.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/session.h"

struct held {
	struct own_writes *own_writes;
	struct request *request; /* one reference */
	uint64_t position;
	int64_t until_ms;
	struct held *next, **link;
};

struct own_writes {
	struct node *node;
	struct held *first;
	struct held **last;
};

struct own_writes *own_writes_new(struct node *node)
{
	struct own_writes *own_writes = memory_zeroed(1, sizeof *own_writes);

	own_writes->node = node;
	own_writes->last = &own_writes->first;
	return own_writes;
}

/* Its reference is the caller's now. */
static struct request *take(struct held *held)
{
	struct request *request = held->request;

	*held->link = held->next;
	if (held->next != NULL)
		held->next->link = held->link;
	else
		held->own_writes->last = held->link;
	request->ended = NULL;
	request->handler = NULL;
	memory_free(held);
	return request;
}

void own_writes_free(struct own_writes *own_writes)
{
	while (own_writes->first != NULL) {
		struct request *request = take(own_writes->first);

		request_answer_error(request, ANSWER_SHUTTING_DOWN, "this node is stopping");
		request_release(request);
	}
	memory_free(own_writes);
}

static void on_ended(struct request *request)
{
	request_release(take(request->handler));
}

/* Local reads only: the others say themselves what they wait for. */
static bool is_local(const struct request *request)
{
	struct span raw, text;

	if (!arguments_find(&request->arguments, "consistency", &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	return msgpack_read_str(&reader, &text) && span_equal_string(text, "local");
}

bool own_writes_hold(struct own_writes *own_writes, struct request *request)
{
	uint64_t position = session_own_position(request->session);

	ASSERT(request->session != NULL && request->ended == NULL);
	if (position <= store_head(own_writes->node->store) || !is_local(request))
		return false;
	struct held *held = memory_zeroed(1, sizeof *held);
	int64_t half_ms = request_left_ms(request) / 2;

	held->own_writes = own_writes;
	held->request = request;
	held->position = position;
	held->until_ms = clock_monotonic_ms() + (half_ms < OWN_WRITES_MS ? half_ms : OWN_WRITES_MS);
	held->link = own_writes->last;
	*own_writes->last = held;
	own_writes->last = &held->next;
	request->handler = held;
	request->ended = on_ended;
	return true;
}

static void let_go(struct held *held)
{
	struct request *request = take(held);

	request->method->handle(request);
}

void own_writes_advance(struct own_writes *own_writes)
{
	uint64_t head = store_head(own_writes->node->store);

	/* Who came later waits for more, but for a few of other connections: own_writes_check. */
	while (own_writes->first != NULL && own_writes->first->position <= head)
		let_go(own_writes->first);
}

void own_writes_check(struct own_writes *own_writes, int64_t now_ms)
{
	uint64_t head = store_head(own_writes->node->store);
	struct held *next;

	for (struct held *held = own_writes->first; held != NULL; held = next) {
		next = held->next;
		if (held->position <= head || held->until_ms <= now_ms)
			let_go(held);
	}
}
