#include "base/workers.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/thread.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 16 /* what the kernel keeps of a thread's name */

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* work came, or stopping began */
	struct work *first;
	struct work **last;
	uint32_t queued;
	bool stopping;
	char name[NAME_BYTES];
	uint32_t threads_count;
	pthread_t threads[];
};

/* Waits for the next piece of work; NULL when stopping and nothing is left. */
static struct work *next_work(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	while (workers->first == NULL && !workers->stopping)
		pthread_cond_wait(&workers->changed, &workers->lock);
	struct work *work = workers->first;

	if (work != NULL) {
		workers->first = work->next;
		if (workers->first == NULL)
			workers->last = &workers->first;
		ASSERT(workers->queued > 0);
		workers->queued--;
	}
	pthread_mutex_unlock(&workers->lock);
	return work;
}

static void *run_worker(void *arg)
{
	struct workers *workers = arg;
	struct work *work;

	pthread_setname_np(pthread_self(), workers->name);
	while ((work = next_work(workers)) != NULL)
		work->run(work);
	return NULL;
}

struct workers *workers_new(uint32_t threads, const char *thread_name)
{
	ASSERT(threads > 0 && threads <= 1024);
	struct workers *workers =
		memory_zeroed(1, sizeof *workers + threads * sizeof workers->threads[0]);
	sigset_t all, before;

	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->changed, NULL);
	workers->last = &workers->first;
	workers->threads_count = threads;
	snprintf(workers->name, sizeof workers->name, "%s", thread_name);
	/* Signals are for the thread that asked for them: the new ones inherit an all-closed mask.
	 */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (uint32_t i = 0; i < threads; i++)
		thread_start(&workers->threads[i], run_worker, workers);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return workers;
}

void workers_submit(struct workers *workers, struct work *work)
{
	ASSERT(work->run != NULL);
	work->next = NULL;
	pthread_mutex_lock(&workers->lock);
	ASSERT(*workers->last == NULL);
	*workers->last = work;
	workers->last = &work->next;
	workers->queued++;
	pthread_cond_signal(&workers->changed);
	pthread_mutex_unlock(&workers->lock);
}

uint32_t workers_queued(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	uint32_t queued = workers->queued;

	pthread_mutex_unlock(&workers->lock);
	return queued;
}

void workers_free(struct workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_cond_broadcast(&workers->changed);
	pthread_mutex_unlock(&workers->lock);
	for (uint32_t i = 0; i < workers->threads_count; i++)
		pthread_join(workers->threads[i], NULL);
	ASSERT(workers->first == NULL && workers->queued == 0);
	pthread_cond_destroy(&workers->changed);
	pthread_mutex_destroy(&workers->lock);
	memory_free(workers);
}
