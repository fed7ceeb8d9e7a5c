/*
 * Progress: a live subscription of a query that sees nothing is told by a `checkpoint` how far it has
 * come, or it would begin from afar when it comes again.
 *
 * Live ones stand in a row, in the order in which they last heard anything. A tick looks at the first of
 * them: who has heard nothing for a second though the log went on, or for a tick in which it went on by
 * LIMIT_CHECKPOINT_POSITIONS, is told and stands last then. A tick tells no more than CHECKPOINTS_MAX,
 * so that ten thousand cost the loop little, whatever the log does. The timer rests while the log does.
 *
 * Those of one session that heard something at nearly the same time stand together: what a tick has for them
 * goes out in one system call.
 */
#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "node/subscription.h"

#include <uv.h>

#define TICK_MS         100
#define QUIET_TICKS     10u /* without a word, before one is told though it is little */
#define JOIN_TICKS      5u
#define CHECKPOINTS_MAX 250u

struct progress {
	struct notifier *notifier;
	uv_timer_t timer;
	struct subscription *first, **last;
	uint64_t seen;        /* by the tick before */
	uint32_t quiet_ticks; /* since it moved, or anybody lacked a word */
};

static uint32_t now_tick(void)
{
	return (uint32_t)(clock_monotonic_ms() / TICK_MS);
}

/* ---- the row ---- */

/* At the end; or behind one of its session that heard something lately, as if both had heard it then. */
static void row_add(struct progress *progress, struct subscription *subscription)
{
	struct subscription *mate = subscription->subscriber->told_last;
	struct subscription **place = progress->last;
	uint32_t now = now_tick();

	ASSERT(subscription->turn_link == NULL);
	subscription->told_tick = now;
	if (mate != NULL && now - mate->told_tick <= JOIN_TICKS) {
		place = &mate->turn_next;
		subscription->told_tick = mate->told_tick;
	}
	subscription->turn_next = *place;
	subscription->turn_link = place;
	if (*place != NULL)
		(*place)->turn_link = &subscription->turn_next;
	else
		progress->last = &subscription->turn_next;
	*place = subscription;
	subscription->subscriber->told_last = subscription;
}

/* The one before it, when it is of the same session; else NULL. */
static struct subscription *mate_before(const struct progress *progress,
					const struct subscription *subscription)
{
	if (subscription->turn_link == &progress->first)
		return NULL;
	struct subscription *before =
		TABLE_ENTRY(subscription->turn_link, struct subscription, turn_next);

	return before->subscriber == subscription->subscriber ? before : NULL;
}

static void row_remove(struct progress *progress, struct subscription *subscription)
{
	struct subscriber *subscriber = subscription->subscriber;

	ASSERT(subscription->turn_link != NULL);
	if (subscriber->told_last == subscription)
		subscriber->told_last = mate_before(progress, subscription);
	*subscription->turn_link = subscription->turn_next;
	if (subscription->turn_next != NULL)
		subscription->turn_next->turn_link = subscription->turn_link;
	else
		progress->last = subscription->turn_link;
	subscription->turn_next = NULL;
	subscription->turn_link = NULL;
}

void progress_enter(struct subscription *subscription)
{
	if (subscription->topic == NULL) /* that of a stream resumes after a version */
		row_add(subscription->notifier->progress, subscription);
}

void progress_leave(struct subscription *subscription)
{
	if (subscription->turn_link != NULL)
		row_remove(subscription->notifier->progress, subscription);
}

void progress_told(struct subscription *subscription)
{
	struct progress *progress = subscription->notifier->progress;

	if (subscription->turn_link == NULL)
		return;
	row_remove(progress, subscription);
	row_add(progress, subscription);
}

/* ---- ticks ---- */

static bool is_due(const struct subscription *subscription, uint32_t now)
{
	uint32_t ticks = now - subscription->told_tick;
	uint64_t behind = subscription_cursor(subscription) - subscription->told;

	return ticks >= QUIET_TICKS || (ticks > 0 && behind >= LIMIT_CHECKPOINT_POSITIONS);
}

/* Whether anybody lacks a word, or did. */
static bool tell_those_due(struct progress *progress)
{
	uint32_t now = now_tick();
	bool lacking = false;

	for (uint32_t looked = 0; looked < CHECKPOINTS_MAX; looked++) {
		struct subscription *subscription = progress->first;

		if (subscription == NULL || !is_due(subscription, now))
			break;
		bool lacks = subscription_cursor(subscription) != subscription->told;

		/* One whose session does not keep up stands last again, too. */
		if (!lacks || !subscription_checkpoint(subscription))
			progress_told(subscription);
		lacking = lacking || lacks;
	}
	return lacking;
}

static void tick(uv_timer_t *timer)
{
	struct progress *progress = TABLE_ENTRY(timer, struct progress, timer);
	uint64_t seen = progress->notifier->seen;
	bool moved = seen != progress->seen;

	progress->seen = seen;
	progress->quiet_ticks = tell_those_due(progress) || moved ? 0 : progress->quiet_ticks + 1;
	if (progress->first == NULL || progress->quiet_ticks > 2 * QUIET_TICKS)
		uv_timer_stop(timer);
}

void progress_moved(struct progress *progress)
{
	if (progress->first == NULL || uv_is_active((uv_handle_t *)&progress->timer))
		return;
	progress->quiet_ticks = 0;
	uv_timer_start(&progress->timer, tick, TICK_MS, TICK_MS);
}

/* ---- beginning and end ---- */

struct progress *progress_new(struct notifier *notifier)
{
	struct progress *progress = memory_zeroed(1, sizeof *progress);
	int rc = uv_timer_init(notifier->node->loop, &progress->timer);

	ASSERT(rc == 0);
	progress->notifier = notifier;
	progress->last = &progress->first;
	return progress;
}

static void timer_closed(uv_handle_t *handle)
{
	memory_free(TABLE_ENTRY(handle, struct progress, timer));
}

void progress_free(struct progress *progress)
{
	ASSERT(progress->first == NULL);
	uv_close((uv_handle_t *)&progress->timer, timer_closed);
}
