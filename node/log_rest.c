#include "node/log_rest.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/node.h"
#include "node/read.h"
#include "node/table.h"
#include "node/wait.h"

#include <inttypes.h>
#include <uv.h>

#define LOOK_MS      1000
#define LOOKS_LEADER 1u /* at a log at rest, before it asks */
#define LOOKS_OTHER  2u
#define LOOKS_MAX    64u
#define LOOKS_ASKING 5u /* for so long a question may be out */

struct log_rest {
	struct node *node;
	uv_timer_t timer;
	struct waiter waiter;
	bool asking;
	uint64_t last_index; /* of the log when it was looked at last */
	uint32_t looks;      /* since it came to rest, or since the last question */
	uint32_t patience;   /* doubles with each question that does not help */
};

static void on_marker(struct waiter *waiter, bool reached)
{
	struct log_rest *rest = TABLE_ENTRY(waiter, struct log_rest, waiter);

	(void)reached; /* what it is for, libraft does by itself */
	rest->asking = false;
}

static void stop_asking(struct log_rest *rest)
{
	if (rest->asking)
		waits_give_up(reader_waits(rest->node->reader), &rest->waiter);
	rest->asking = false;
}

static void ask(struct log_rest *rest, const struct replica_status *status)
{
	const struct consistency linearizable = {.kind = CONSISTENCY_LINEARIZABLE};

	log_debug("log", "long and at rest: asks for an entry to be cut behind",
		  "log_bytes=%" PRIu64 " last_index=%" PRIu64, status->log_bytes,
		  status->last_index);
	rest->looks = 0;
	rest->patience = 2 * rest->patience < LOOKS_MAX ? 2 * rest->patience : LOOKS_MAX;
	rest->waiter = (struct waiter){.done = on_marker};
	rest->asking = true;
	bool holds = waits_add(reader_waits(rest->node->reader), &rest->waiter, linearizable);

	ASSERT(!holds);
}

static void look(uv_timer_t *timer)
{
	struct log_rest *rest = TABLE_ENTRY(timer, struct log_rest, timer);
	const struct replica_status *status = node_replica_status(rest->node);
	bool at_rest = status->last_index == rest->last_index &&
		       status->commit_index == status->last_index;

	rest->last_index = status->last_index;
	if (!status->wants_cut)
		rest->patience = 0;
	if (!status->wants_cut || !at_rest || status->leader_id == 0 || rest->node->stopping) {
		rest->looks = 0;
		stop_asking(rest);
		return;
	}
	if (rest->patience == 0)
		rest->patience = status->role == REPLICA_LEADER ? LOOKS_LEADER : LOOKS_OTHER;
	rest->looks++;
	if (rest->asking && rest->looks >= LOOKS_ASKING)
		stop_asking(rest);
	if (!rest->asking && rest->looks >= rest->patience)
		ask(rest, status);
}

struct log_rest *log_rest_new(struct node *node)
{
	struct log_rest *rest = memory_zeroed(1, sizeof *rest);
	int rc = uv_timer_init(node->loop, &rest->timer);

	ASSERT(rc == 0);
	rest->node = node;
	uv_timer_start(&rest->timer, look, LOOK_MS, LOOK_MS);
	return rest;
}

static void timer_closed(uv_handle_t *handle)
{
	memory_free(TABLE_ENTRY(handle, struct log_rest, timer));
}

void log_rest_free(struct log_rest *rest)
{
	stop_asking(rest);
	uv_close((uv_handle_t *)&rest->timer, timer_closed);
}
