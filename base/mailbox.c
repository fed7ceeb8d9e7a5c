#include "base/mailbox.h"

#include "base/assert.h"
#include <stddef.h>

void mailbox_init(struct mailbox *mailbox, void (*wake)(void *arg), void *arg)
{
	int status = pthread_mutex_init(&mailbox->lock, NULL);

	ASSERT(status == 0);
	mailbox->first = NULL;
	mailbox->last = &mailbox->first;
	mailbox->wake = wake;
	mailbox->arg = arg;
}

void mailbox_close(struct mailbox *mailbox)
{
	/* Wait for a thread that has put its mail but is still waking. */
	pthread_mutex_lock(&mailbox->lock);
	ASSERT(mailbox->first == NULL);
	pthread_mutex_unlock(&mailbox->lock);
	pthread_mutex_destroy(&mailbox->lock);
}

void mailbox_put(struct mailbox *mailbox, struct mail *mail)
{
	mail->next = NULL;
	pthread_mutex_lock(&mailbox->lock);
	int was_empty = mailbox->first == NULL;

	ASSERT(mailbox->last != NULL && *mailbox->last == NULL);
	*mailbox->last = mail;
	mailbox->last = &mail->next;
	/* Inside the lock: the consumer may close the mailbox once it has the mail. */
	if (was_empty && mailbox->wake != NULL)
		mailbox->wake(mailbox->arg);
	pthread_mutex_unlock(&mailbox->lock);
}

struct mail *mailbox_take_all(struct mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	struct mail *first = mailbox->first;

	mailbox->first = NULL;
	mailbox->last = &mailbox->first;
	pthread_mutex_unlock(&mailbox->lock);
	return first;
}
