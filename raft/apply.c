#include "raft/apply.h"

#include "base/assert.h"
#include "base/memory.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

struct apply {
	struct store *store;
	pthread_t thread;
	struct mailbox todo, done;
	sem_t filled;
	atomic_bool stopping;
	uint64_t put_index;     /* loop only */
	uint64_t backlog_bytes; /* loop only */
	pthread_mutex_t lock;   /* of the rest */
	pthread_cond_t advanced;
	uint64_t applied_index;
	int status; /* the store's first error */
	struct error error;
};

static void on_filled(void *arg)
{
	struct apply *apply = arg;

	sem_post(&apply->filled);
}

static void advance(struct apply *apply, const struct apply_item *item)
{
	pthread_mutex_lock(&apply->lock);
	if (item->status < 0 && apply->status == 0) {
		apply->status = item->status;
		apply->error = item->error;
	} else if (item->index > apply->applied_index) {
		apply->applied_index = item->index;
	}
	pthread_cond_broadcast(&apply->advanced);
	pthread_mutex_unlock(&apply->lock);
}

static void apply_one(struct apply *apply, struct apply_item *item)
{
	if (apply->status < 0) {
		memory_free(item->body);
		item->status = apply->status;
		item->error = apply->error;
	} else if (item->index > 0) {
		item->status = store_apply(apply->store, item->index, item->body, item->size,
					   &item->sink, &item->result, &item->error);
		advance(apply, item);
	}
	item->body = NULL;
	item->head = store_head(apply->store);
	mailbox_put(&apply->done, &item->mail);
}

static void apply_all(struct apply *apply)
{
	struct mail *next;

	for (struct mail *mail = mailbox_take_all(&apply->todo); mail != NULL; mail = next) {
		next = mail->next;
		apply_one(apply, (struct apply_item *)mail);
	}
}

static void *apply_run(void *arg)
{
	struct apply *apply = arg;

	while (!atomic_load(&apply->stopping)) {
		while (sem_wait(&apply->filled) < 0)
			ASSERT(errno == EINTR);
		apply_all(apply);
	}
	return NULL;
}

struct apply *apply_new(struct store *store, void (*wake)(void *arg), void *arg)
{
	struct apply *apply = memory_zeroed(1, sizeof *apply);
	struct store_status status;
	pthread_condattr_t attributes;

	store_get_status(store, &status);
	apply->store = store;
	apply->put_index = apply->applied_index = status.applied_index;
	mailbox_init(&apply->todo, on_filled, apply);
	mailbox_init(&apply->done, wake, arg);
	sem_init(&apply->filled, 0, 0);
	pthread_mutex_init(&apply->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&apply->advanced, &attributes);
	pthread_condattr_destroy(&attributes);
	int failed = pthread_create(&apply->thread, NULL, apply_run, apply);

	ASSERT(failed == 0);
	pthread_setname_np(apply->thread, "apply");
	return apply;
}

void apply_resync(struct apply *apply)
{
	struct store_status status;

	store_get_status(apply->store, &status);
	pthread_mutex_lock(&apply->lock);
	if (status.applied_index > apply->applied_index)
		apply->applied_index = status.applied_index;
	apply->put_index = apply->applied_index;
	pthread_mutex_unlock(&apply->lock);
}

void apply_put(struct apply *apply, struct apply_item *item)
{
	if (item->index > apply->put_index)
		apply->put_index = item->index;
	apply->backlog_bytes += item->size;
	mailbox_put(&apply->todo, &item->mail);
}

struct apply_item *apply_take(struct apply *apply)
{
	struct mail *first = mailbox_take_all(&apply->done);

	for (struct mail *mail = first; mail != NULL; mail = mail->next) {
		struct apply_item *item = (struct apply_item *)mail;

		ASSERT(apply->backlog_bytes >= item->size);
		apply->backlog_bytes -= item->size;
	}
	return (struct apply_item *)first;
}

uint64_t apply_backlog_bytes(const struct apply *apply)
{
	return apply->backlog_bytes;
}

uint64_t apply_put_index(const struct apply *apply)
{
	return apply->put_index;
}

int apply_wait(struct apply *apply, uint64_t index, uint32_t timeout_ms, struct error *error)
{
	struct timespec until;
	int waited = 0;
	int status = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&apply->lock);
	while (apply->status == 0 && apply->applied_index < index && waited == 0)
		waited = pthread_cond_timedwait(&apply->advanced, &apply->lock, &until);
	if (apply->status < 0) {
		status = apply->status;
		*error = apply->error;
	} else if (apply->applied_index < index) {
		status = error_set(error, -ETIMEDOUT, "index %llu is not applied yet",
				   (unsigned long long)index);
	}
	pthread_mutex_unlock(&apply->lock);
	return status;
}

void apply_free(struct apply *apply)
{
	struct mail *next;

	atomic_store(&apply->stopping, true);
	sem_post(&apply->filled);
	pthread_join(apply->thread, NULL);
	apply_all(apply);
	for (struct mail *mail = mailbox_take_all(&apply->done); mail != NULL; mail = next) {
		next = mail->next;
		memory_free(mail);
	}
	mailbox_close(&apply->todo);
	mailbox_close(&apply->done);
	sem_destroy(&apply->filled);
	pthread_cond_destroy(&apply->advanced);
	pthread_mutex_destroy(&apply->lock);
	memory_free(apply);
}
