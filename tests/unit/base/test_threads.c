/* mailbox and workers */
#include "base/mailbox.h"
#include "base/workers.h"
#include "tests/unit/unit.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>

/* ---- mailbox ---- */

struct letter {
	struct mail mail; /* first: a mail is its letter */
	int sender;
	int number;
};

static void count_wake(void *arg)
{
	++*(int *)arg;
}

static void mail_comes_in_order_and_wakes_once(void **state)
{
	struct letter letters[5] = {0};
	struct mailbox mailbox;
	int wakes = 0;

	(void)state;
	mailbox_init(&mailbox, count_wake, &wakes);
	assert_null(mailbox_take_all(&mailbox));
	for (int round = 1; round <= 3; round++) {
		for (size_t i = 0; i < COUNT_OF(letters); i++)
			mailbox_put(&mailbox, &letters[i].mail);
		assert_int_equal(wakes, round);
		struct mail *mail = mailbox_take_all(&mailbox);

		for (size_t i = 0; i < COUNT_OF(letters); i++, mail = mail->next)
			assert_ptr_equal(mail, &letters[i].mail);
		assert_null(mail);
		assert_null(mailbox_take_all(&mailbox));
	}
	mailbox_close(&mailbox);
}

static void nobody_need_be_woken(void **state)
{
	struct letter letter = {0};
	struct mailbox mailbox;

	(void)state;
	mailbox_init(&mailbox, NULL, NULL);
	mailbox_put(&mailbox, &letter.mail);
	assert_ptr_equal(mailbox_take_all(&mailbox), &letter.mail);
	mailbox_close(&mailbox);
}

#define SENDERS 4
#define LETTERS 20000

struct sender {
	struct mailbox *mailbox;
	struct letter letters[LETTERS];
};

static void post(void *arg)
{
	sem_post(arg);
}

static void *send_all(void *arg)
{
	struct sender *sender = arg;

	for (int i = 0; i < LETTERS; i++)
		mailbox_put(sender->mailbox, &sender->letters[i].mail);
	return NULL;
}

/* The consumer sleeps until it is woken: a lost wake-up would let it sleep for ever. */
static void no_mail_and_no_wake_is_lost_among_threads(void **state)
{
	static struct sender senders[SENDERS];
	int next[SENDERS] = {0};
	pthread_t threads[SENDERS];
	struct mailbox mailbox;
	int taken = 0;
	sem_t woken;

	(void)state;
	sem_init(&woken, 0, 0);
	mailbox_init(&mailbox, post, &woken);
	for (int i = 0; i < SENDERS; i++) {
		senders[i].mailbox = &mailbox;
		for (int j = 0; j < LETTERS; j++)
			senders[i].letters[j] = (struct letter){.sender = i, .number = j};
		assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
	}
	while (taken < SENDERS * LETTERS) {
		sem_wait(&woken);
		struct mail *mail = mailbox_take_all(&mailbox);

		for (; mail != NULL; mail = mail->next, taken++) {
			struct letter *letter = (struct letter *)mail;

			assert_int_equal(letter->number, next[letter->sender]++);
		}
	}
	for (int i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
	mailbox_close(&mailbox);
	sem_destroy(&woken);
}

/* ---- workers ---- */

struct job {
	struct work work; /* first: a work is its job */
	int number;
	atomic_int *runs;
	int *order;
	sem_t *gate;
};

static void run_job(struct work *work)
{
	struct job *job = (struct job *)work;

	if (job->gate != NULL)
		sem_wait(job->gate);
	int run = atomic_fetch_add(job->runs, 1);

	if (job->order != NULL)
		job->order[run] = job->number;
}

static void one_worker_runs_in_order_and_finishes_what_is_queued(void **state)
{
	static struct job jobs[1000];
	static int order[COUNT_OF(jobs)];
	atomic_int runs = 0;
	sem_t gate;
	struct workers *workers = workers_new(1, "a name far too long for a thread");

	(void)state;
	sem_init(&gate, 0, 0);
	for (size_t i = 0; i < COUNT_OF(jobs); i++) {
		jobs[i] = (struct job){.work = {.run = run_job},
				       .number = (int)i,
				       .runs = &runs,
				       .order = order,
				       .gate = i == 0 ? &gate : NULL};
		workers_submit(workers, &jobs[i].work);
	}
	uint32_t queued = workers_queued(workers);

	assert_true(queued == COUNT_OF(jobs) || queued == COUNT_OF(jobs) - 1);
	assert_int_equal(runs, 0);
	sem_post(&gate);
	workers_free(workers);
	assert_int_equal(runs, COUNT_OF(jobs));
	for (size_t i = 0; i < COUNT_OF(jobs); i++)
		assert_int_equal(order[i], i);
	sem_destroy(&gate);
}

static void workers_that_ran_dry_take_work_again(void **state)
{
	atomic_int runs = 0;
	struct workers *workers = workers_new(2, "read");

	(void)state;
	for (int i = 1; i <= 100; i++) {
		struct job job = {.work = {.run = run_job}, .runs = &runs};

		workers_submit(workers, &job.work);
		while (atomic_load(&runs) < i)
			sched_yield();
		assert_int_equal(workers_queued(workers), 0);
	}
	workers_free(workers);
}

static void a_slow_job_does_not_stop_the_other_workers(void **state)
{
	atomic_int runs = 0;
	sem_t gate;
	struct workers *workers = workers_new(3, "read");
	struct job slow[2], quick;

	(void)state;
	sem_init(&gate, 0, 0);
	for (size_t i = 0; i < 2; i++) {
		slow[i] = (struct job){.work = {.run = run_job}, .runs = &runs, .gate = &gate};
		workers_submit(workers, &slow[i].work);
	}
	quick = (struct job){.work = {.run = run_job}, .runs = &runs};
	workers_submit(workers, &quick.work);
	while (atomic_load(&runs) == 0) /* hangs if it has to wait for the slow ones */
		sched_yield();
	sem_post(&gate);
	sem_post(&gate);
	workers_free(workers);
	assert_int_equal(runs, 3);
	sem_destroy(&gate);
}

static sigset_t worker_mask;

static void note_mask(struct work *work)
{
	(void)work;
	pthread_sigmask(SIG_SETMASK, NULL, &worker_mask);
}

static void signals_stay_with_the_thread_that_made_the_workers(void **state)
{
	struct work work = {.run = note_mask};
	struct workers *workers = workers_new(1, "read");
	sigset_t own;

	(void)state;
	workers_submit(workers, &work);
	workers_free(workers);
	pthread_sigmask(SIG_SETMASK, NULL, &own);
	assert_true(sigismember(&worker_mask, SIGTERM) && sigismember(&worker_mask, SIGINT));
	assert_false(sigismember(&own, SIGTERM));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mail_comes_in_order_and_wakes_once),
		cmocka_unit_test(nobody_need_be_woken),
		cmocka_unit_test(no_mail_and_no_wake_is_lost_among_threads),
		cmocka_unit_test(one_worker_runs_in_order_and_finishes_what_is_queued),
		cmocka_unit_test(workers_that_ran_dry_take_work_again),
		cmocka_unit_test(a_slow_job_does_not_stop_the_other_workers),
		cmocka_unit_test(signals_stay_with_the_thread_that_made_the_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
