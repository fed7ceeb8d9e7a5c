#include "raft/apply.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/thread.h"

#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>

struct apply {
	struct store *store;
	struct flusher *flusher;
	pthread_t thread;
	struct mailbox todo, done;
	sem_t filled;
	atomic_bool stopping;
	uint64_t put_index;     /* loop */
	uint64_t backlog_bytes; /* loop */
	int status;             /* apply thread: the store's first error */
	struct error error;
};

static void on_filled(void *arg)
{
	struct apply *apply = arg;

	sem_post(&apply->filled);
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
		apply->status = item->status;
		apply->error = item->error;
		flusher_notice(apply->flusher);
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

struct apply *apply_new(struct store *store, struct flusher *flusher, void (*wake)(void *arg),
			void *arg)
{
	struct apply *apply = memory_zeroed(1, sizeof *apply);
	struct store_status status;

	store_get_status(store, &status);
	apply->store = store;
	apply->flusher = flusher;
	apply->put_index = status.applied_index;
	mailbox_init(&apply->todo, on_filled, apply);
	mailbox_init(&apply->done, wake, arg);
	sem_init(&apply->filled, 0, 0);
	thread_start(&apply->thread, apply_run, apply);
	pthread_setname_np(apply->thread, "apply");
	return apply;
}

void apply_resync(struct apply *apply)
{
	struct store_status status;

	store_get_status(apply->store, &status);
	apply->put_index = status.applied_index;
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
	memory_free(apply);
}
