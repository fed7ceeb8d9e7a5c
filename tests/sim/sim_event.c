/* The clock: a heap of events, the random numbers of the seed, and the hash over all that happens. */
#include "base/checksum.h"
#include "tests/sim/sim.h"

#include <stdarg.h>
#include <string.h>

/* ---- chance ---- */

uint64_t sim_random(struct sim *sim)
{
	uint64_t mixed = (sim->random += UINT64_C(0x9e3779b97f4a7c15));

	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
	ASSERT(low <= high);
	return low + sim_random(sim) % (high - low + 1);
}

bool sim_chance(struct sim *sim, unsigned thousandths)
{
	ASSERT(thousandths <= 1000);
	return sim_random(sim) % 1000 < thousandths;
}

/* ---- the heap ---- */

static bool comes_before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void heap_put(struct sim_queue *queue, const struct sim_event *event)
{
	if (queue->count == queue->capacity) {
		queue->capacity = queue->capacity == 0 ? 1024 : queue->capacity * 2;
		queue->heap = memory_resize(queue->heap, queue->capacity * sizeof *queue->heap);
	}
	size_t at = queue->count++;

	while (at > 0 && comes_before(event, &queue->heap[(at - 1) / 2])) {
		queue->heap[at] = queue->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	queue->heap[at] = *event;
}

static struct sim_event heap_take(struct sim_queue *queue)
{
	ASSERT(queue->count > 0);
	struct sim_event first = queue->heap[0];
	struct sim_event last = queue->heap[--queue->count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= queue->count)
			break;
		if (child + 1 < queue->count &&
		    comes_before(&queue->heap[child + 1], &queue->heap[child]))
			child++;
		if (!comes_before(&queue->heap[child], &last))
			break;
		queue->heap[at] = queue->heap[child];
		at = child;
	}
	queue->heap[at] = last;
	return first;
}

/* ---- events ---- */

void sim_at(struct sim *sim, uint64_t time, const char *name, sim_run run, struct sim_node *node,
	    void *data)
{
	ASSERT(time >= sim->now);
	struct sim_event event = {
		.at = time,
		.number = sim->queue.numbers++,
		.name = name,
		.run = run,
		.node = node,
		.epoch = node == NULL ? 0 : node->epoch,
		.data = data,
	};

	heap_put(&sim->queue, &event);
}

void sim_after(struct sim *sim, uint64_t delay, const char *name, sim_run run,
	       struct sim_node *node, void *data)
{
	sim_at(sim, sim->now + delay, name, run, node, data);
}

/* What the event did to its node goes into the hash: a run that differs is seen at once. */
static void record(struct sim *sim, const struct sim_event *event)
{
	const struct sim_node *node = event->node;
	uint64_t facts[8] = {event->at, event->number, sim_hash(event->name, strlen(event->name))};

	if (node != NULL && node->state == NODE_RUNNING) {
		facts[3] = node->number;
		facts[4] = (uint64_t)node->raft->state;
		facts[5] = node->raft->current_term;
		facts[6] = node->raft->commit_index;
		facts[7] = raft_last_index(node->raft);
	}
	sim->outcome.trace_hash = checksum64_seeded(facts, sizeof facts, sim->outcome.trace_hash);
	sim->outcome.events++;
}

bool sim_step(struct sim *sim, uint64_t until)
{
	struct sim_event event;

	if (sim->queue.count == 0 || sim->queue.heap[0].at > until) {
		sim->now = until;
		return false;
	}
	event = heap_take(&sim->queue);
	sim->now = event.at;
	if (event.node != NULL && event.node->epoch != event.epoch)
		return true;
	event.run(sim, event.node, event.data);
	record(sim, &event);
	return true;
}

void sim_trace(struct sim *sim, const char *format, ...)
{
	va_list args;

	if (!sim->options.trace)
		return;
	printf("%10.6f ", (double)sim->now / 1e6);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}
