#include "raft/barrier.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/replica.h"

struct barrier_wait {
	struct barrier_wait *next;
	struct barrier *barrier;
	void (*ready)(void *arg, uint64_t position);
	void *arg;
};

void barrier_init(struct barrier *barrier)
{
	*barrier = (struct barrier){.waiting_last = &barrier->waiting};
}

void barrier_add(struct barrier *barrier, void (*ready)(void *arg, uint64_t position), void *arg)
{
	struct barrier_wait *wait = memory_alloc(sizeof *wait);

	*wait = (struct barrier_wait){.barrier = barrier, .ready = ready, .arg = arg};
	*barrier->waiting_last = wait;
	barrier->waiting_last = &wait->next;
}

static struct barrier_wait *take_waiting(struct barrier *barrier)
{
	struct barrier_wait *first = barrier->waiting;

	barrier->waiting = NULL;
	barrier->waiting_last = &barrier->waiting;
	return first;
}

static void tell(struct barrier_wait *first, uint64_t position)
{
	struct barrier_wait *next;

	for (struct barrier_wait *wait = first; wait != NULL; wait = next) {
		next = wait->next;
		wait->ready(wait->arg, position);
		memory_free(wait);
	}
}

bool barrier_wants(const struct barrier *barrier)
{
	return barrier->waiting != NULL && barrier->carried == NULL;
}

void barrier_proposed(struct barrier *barrier, uint64_t index)
{
	ASSERT(barrier_wants(barrier) && index > 0);
	barrier->carried = take_waiting(barrier);
	barrier->index = index;
}

static void on_passed(void *arg, uint64_t head)
{
	struct barrier_wait *first = arg;

	ASSERT(first->barrier->markers > 0);
	first->barrier->markers--;
	tell(first, head);
}

void barrier_committed(struct barrier *barrier, uint64_t index, struct apply_item *item)
{
	if (barrier->carried == NULL || index != barrier->index)
		return;
	item->passed = on_passed;
	item->arg = barrier->carried;
	barrier->carried = NULL;
	barrier->index = 0;
	barrier->markers++;
}

void barrier_drop(struct barrier *barrier)
{
	struct barrier_wait *carried = barrier->carried;

	barrier->carried = NULL;
	barrier->index = 0;
	tell(carried, REPLICA_NOT_LEADER);
	tell(take_waiting(barrier), REPLICA_NOT_LEADER);
}

bool barrier_is_idle(const struct barrier *barrier)
{
	return barrier->waiting == NULL && barrier->carried == NULL && barrier->markers == 0;
}
