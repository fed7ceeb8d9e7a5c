/*
 * A queue from any thread to one consumer, intrusive and unbounded (bound what you put in). `wake`
 * is called by the putting thread when the mailbox goes from empty to not empty (e.g.
 * uv_async_send); it runs inside mailbox_put, under the lock: it must not touch the mailbox. NULL:
 * nobody is woken.
 */
#ifndef BASE_MAILBOX_H
#define BASE_MAILBOX_H

#include <pthread.h>

struct mail {
	struct mail *next;
};

struct mailbox {
	pthread_mutex_t lock;
	struct mail *first;
	struct mail **last;
	void (*wake)(void *arg);
	void *arg;
};

void mailbox_init(struct mailbox *mailbox, void (*wake)(void *arg), void *arg);
void mailbox_close(struct mailbox *mailbox); /* must be empty */
void mailbox_put(struct mailbox *mailbox, struct mail *mail);
/* Everything that is in it, oldest first, linked by next; NULL when empty. The consumer only. */
struct mail *mailbox_take_all(struct mailbox *mailbox);

#endif
