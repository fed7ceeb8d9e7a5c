/*
 * The flush thread, which also trims. It sleeps until there is a reason to flush; flusher_notice, called after each
 * apply, wakes it only when a reason has come up: the first change after a flush (the clock of age
 * starts), the tail at its mark, or an index asked for that is applied now.
 */
#include "storage/flusher.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/thread.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

struct flusher {
	struct flusher_options options;
	pthread_t thread;
	pthread_mutex_t lock; /* guards all below, but for the atomics */
	pthread_cond_t wake;  /* the thread */
	pthread_cond_t done;  /* who waits for an index */
	bool stopping;
	bool failed;
	int64_t changed_ms; /* when the oldest change that is not durable was noticed; 0: none */
	uint64_t requested; /* raft index */
	uint64_t durable;   /* raft index */
	/* What flusher_notice looks at before it takes the lock. */
	atomic_bool clock_runs;
	atomic_uint_fast64_t wanted; /* requested, while it is not durable; else 0 */
};

/* ---- deadlines on the monotonic clock ---- */

static struct timespec deadline_after(int64_t ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(ms / 1000);
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

static void init_condition(pthread_cond_t *condition)
{
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(condition, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* ---- the thread ---- */

static bool is_requested(const struct flusher *flusher, const struct store_status *status)
{
	return flusher->requested > flusher->durable && status->applied_index >= flusher->requested;
}

/* How long until a flush is due: 0 now, -1 no reason yet. The lock is held. */
static int64_t due_in_ms(const struct flusher *flusher)
{
	struct store_status status;

	store_get_status(flusher->options.store, &status);
	if (status.tail_bytes >= flusher->options.tail_bytes || is_requested(flusher, &status))
		return 0;
	if (flusher->changed_ms == 0)
		return -1;
	int64_t left = flusher->changed_ms + flusher->options.age_ms - clock_monotonic_ms();
	return left > 0 ? left : 0;
}

static void wait_for_reason(struct flusher *flusher)
{
	for (;;) {
		int64_t due_ms = due_in_ms(flusher);

		if (flusher->stopping || due_ms == 0)
			return;
		if (due_ms < 0) {
			pthread_cond_wait(&flusher->wake, &flusher->lock);
		} else {
			struct timespec deadline = deadline_after(due_ms);

			pthread_cond_timedwait(&flusher->wake, &flusher->lock, &deadline);
		}
	}
}

static int flush(struct flusher *flusher, struct manifest *manifest)
{
	struct store *store = flusher->options.store;
	struct error error;
	int rc = store_flush(store, &error);

	store_get_manifest(store, manifest);
	if (rc == 0 && flusher->options.flushed != NULL)
		flusher->options.flushed(flusher->options.arg);
	if (rc != 0)
		flusher->options.failed(flusher->options.arg, &error);
	return rc;
}

/* The lock is held on entry and on return. */
static void flush_now(struct flusher *flusher)
{
	struct manifest manifest;

	/* Whatever is applied from here on starts the clock again. */
	flusher->changed_ms = 0;
	atomic_store(&flusher->clock_runs, false);
	pthread_mutex_unlock(&flusher->lock);
	int rc = flush(flusher, &manifest);
	pthread_mutex_lock(&flusher->lock);
	flusher->failed = rc != 0;
	flusher->durable = manifest.applied_index;
	if (flusher->durable >= flusher->requested)
		atomic_store(&flusher->wanted, 0);
	pthread_cond_broadcast(&flusher->done);
}

/*
 * After a flush: drop what was superseded, until there is nothing more, or the next flush is due. One
 * step at least, so that a node that always flushes keeps up. The lock is held on entry and on return.
 */
static void trim_now(struct flusher *flusher)
{
	struct store *store = flusher->options.store;
	bool again = store_wants_trim(store);
	struct error error;

	while (again && !flusher->failed && !flusher->stopping) {
		pthread_mutex_unlock(&flusher->lock);
		int rc = store_trim(store, &again, &error);
		if (rc != 0)
			flusher->options.failed(flusher->options.arg, &error);
		pthread_mutex_lock(&flusher->lock);
		flusher->failed = rc != 0;
		if (rc != 0)
			pthread_cond_broadcast(&flusher->done);
		again = again && due_in_ms(flusher) != 0;
	}
}

static void *run(void *arg)
{
	struct flusher *flusher = arg;

	pthread_setname_np(pthread_self(), "flush");
	pthread_mutex_lock(&flusher->lock);
	for (bool last = false; !last && !flusher->failed;) {
		wait_for_reason(flusher);
		last = flusher->stopping;
		flush_now(flusher);
		trim_now(flusher);
	}
	pthread_mutex_unlock(&flusher->lock);
	return NULL;
}

/* ---- doors ---- */

struct flusher *flusher_new(const struct flusher_options *options)
{
	struct flusher *flusher = memory_zeroed(1, sizeof *flusher);
	struct manifest manifest;

	ASSERT(options->failed != NULL && options->tail_bytes > 0);
	flusher->options = *options;
	store_get_manifest(options->store, &manifest);
	flusher->durable = manifest.applied_index;
	pthread_mutex_init(&flusher->lock, NULL);
	init_condition(&flusher->wake);
	init_condition(&flusher->done);
	atomic_init(&flusher->clock_runs, false);
	atomic_init(&flusher->wanted, 0);
	thread_start(&flusher->thread, run, flusher);
	return flusher;
}

void flusher_free(struct flusher *flusher)
{
	pthread_mutex_lock(&flusher->lock);
	flusher->stopping = true;
	pthread_cond_signal(&flusher->wake);
	pthread_mutex_unlock(&flusher->lock);
	pthread_join(flusher->thread, NULL);
	pthread_mutex_destroy(&flusher->lock);
	pthread_cond_destroy(&flusher->wake);
	pthread_cond_destroy(&flusher->done);
	memory_free(flusher);
}

void flusher_notice(struct flusher *flusher)
{
	struct store_status status;

	store_get_status(flusher->options.store, &status);
	uint64_t wanted = atomic_load(&flusher->wanted);
	bool due = status.tail_bytes >= flusher->options.tail_bytes ||
		   (wanted > 0 && status.applied_index >= wanted);

	if (atomic_load(&flusher->clock_runs) && !due)
		return;
	pthread_mutex_lock(&flusher->lock);
	if (flusher->changed_ms == 0)
		flusher->changed_ms = clock_monotonic_ms();
	atomic_store(&flusher->clock_runs, true);
	pthread_cond_signal(&flusher->wake);
	pthread_mutex_unlock(&flusher->lock);
}

static void request_locked(struct flusher *flusher, uint64_t index)
{
	if (index <= flusher->requested)
		return;
	flusher->requested = index;
	if (index <= flusher->durable)
		return;
	atomic_store(&flusher->wanted, index);
	pthread_cond_signal(&flusher->wake);
}

void flusher_request(struct flusher *flusher, uint64_t index)
{
	pthread_mutex_lock(&flusher->lock);
	request_locked(flusher, index);
	pthread_mutex_unlock(&flusher->lock);
}

int flusher_wait(struct flusher *flusher, uint64_t index, uint32_t timeout_ms)
{
	struct timespec deadline = deadline_after(timeout_ms);
	int rc = 0;

	pthread_mutex_lock(&flusher->lock);
	request_locked(flusher, index);
	while (rc == 0 && flusher->durable < index && !flusher->failed)
		rc = pthread_cond_timedwait(&flusher->done, &flusher->lock, &deadline);
	bool durable = flusher->durable >= index, failed = flusher->failed;
	pthread_mutex_unlock(&flusher->lock);
	if (durable)
		return 0;
	return failed ? -EIO : -ETIMEDOUT;
}
