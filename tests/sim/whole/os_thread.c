/*
 * Threads are fibers; a mutex, condition, lock or semaphore keeps its state in its own memory, where all
 * zeros (the static initializers) mean free. Only one fiber runs at a time: no atomics are needed.
 */
#include "tests/sim/whole/os.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#define FIRST_THREAD ((pthread_t)1)

/* One whose owner is gone is free: what lies on a disk in memory outlives who had it open. */
struct mutex {
	const struct os_fiber *owner;
	uint64_t number; /* of the owner: fibers are used again */
};
static_assert(sizeof(struct mutex) <= sizeof(pthread_mutex_t), "it fits");

struct lock {
	uint32_t readers, writer, writers_waiting;
};
static_assert(sizeof(struct lock) <= sizeof(pthread_rwlock_t), "it fits");

struct semaphore {
	uint64_t value;
};
static_assert(sizeof(struct semaphore) <= sizeof(sem_t), "it fits");

/* Harness code outside of fibers takes locks that nobody holds, and gives them back at once. */
static char outside;

static const struct os_fiber *self(void)
{
	const struct os_fiber *fiber = os_fiber_current();

	return fiber != NULL ? fiber : (const struct os_fiber *)&outside;
}

/* ---- mutexes ---- */

int pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
	(void)attributes;
	memset(mutex, 0, sizeof *mutex);
	return 0;
}

int pthread_mutex_destroy(pthread_mutex_t *mutex)
{
	ASSERT(((struct mutex *)(void *)mutex)->owner == NULL);
	return 0;
}

static uint64_t number_of(const struct os_fiber *fiber)
{
	return fiber == (const struct os_fiber *)&outside ? 0 : os_fiber_number(fiber);
}

static bool is_held(const struct mutex *mutex)
{
	return mutex->owner != NULL && number_of(mutex->owner) == mutex->number;
}

static void own(struct mutex *mutex)
{
	mutex->owner = self();
	mutex->number = number_of(mutex->owner);
}

static void take(struct mutex *mutex)
{
	while (is_held(mutex)) {
		ASSERT(mutex->owner != self());
		os_wait(mutex, OS_NEVER);
	}
	own(mutex);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	os_preempt();
	take((struct mutex *)(void *)mutex);
	return 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	if (is_held((struct mutex *)(void *)mutex))
		return EBUSY;
	own((struct mutex *)(void *)mutex);
	return 0;
}

static void give(struct mutex *mutex)
{
	ASSERT(mutex->owner == self());
	mutex->owner = NULL;
	os_wake_one(mutex);
}

int pthread_mutex_unlock(pthread_mutex_t *mutex)
{
	give((struct mutex *)(void *)mutex);
	return 0;
}

/* ---- conditions: always of the monotonic clock ---- */

int pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
	(void)attributes;
	memset(condition, 0, sizeof *condition);
	return 0;
}

int pthread_cond_destroy(pthread_cond_t *condition)
{
	(void)condition;
	return 0;
}

static int wait_condition(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t deadline)
{
	give((struct mutex *)(void *)mutex);
	bool woken = os_wait(condition, deadline);
	take((struct mutex *)(void *)mutex);
	return woken ? 0 : ETIMEDOUT;
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
	return wait_condition(condition, mutex, OS_NEVER);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
			   const struct timespec *until)
{
	int64_t ns = (int64_t)until->tv_sec * 1000000000 + until->tv_nsec;

	return wait_condition(condition, mutex, os_time_of(os_current(), ns));
}

int pthread_cond_signal(pthread_cond_t *condition)
{
	os_wake_one(condition);
	return 0;
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
	os_wake_all(condition);
	return 0;
}

/* ---- locks of readers and writers: writers first ---- */

int pthread_rwlock_init(pthread_rwlock_t *lock, const pthread_rwlockattr_t *attributes)
{
	(void)attributes;
	memset(lock, 0, sizeof *lock);
	return 0;
}

int pthread_rwlock_destroy(pthread_rwlock_t *lock)
{
	const struct lock *own = (const struct lock *)(const void *)lock;

	ASSERT(own->readers == 0 && own->writer == 0);
	return 0;
}

int pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
	struct lock *own = (struct lock *)(void *)lock;

	os_preempt();
	while (own->writer > 0 || own->writers_waiting > 0)
		os_wait(own, OS_NEVER);
	own->readers++;
	return 0;
}

int pthread_rwlock_tryrdlock(pthread_rwlock_t *lock)
{
	struct lock *own = (struct lock *)(void *)lock;

	os_preempt();
	if (own->writer > 0 || own->writers_waiting > 0)
		return EBUSY;
	own->readers++;
	return 0;
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
	struct lock *own = (struct lock *)(void *)lock;

	os_preempt();
	own->writers_waiting++;
	while (own->writer > 0 || own->readers > 0)
		os_wait(own, OS_NEVER);
	own->writers_waiting--;
	own->writer = 1;
	return 0;
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
	struct lock *own = (struct lock *)(void *)lock;

	ASSERT(own->writer + own->readers > 0);
	if (own->writer > 0)
		own->writer = 0;
	else
		own->readers--;
	os_wake_all(own);
	return 0;
}

/* ---- semaphores ---- */

int sem_init(sem_t *semaphore, int shared, unsigned value)
{
	(void)shared;
	memset(semaphore, 0, sizeof *semaphore);
	((struct semaphore *)(void *)semaphore)->value = value;
	return 0;
}

int sem_destroy(sem_t *semaphore)
{
	(void)semaphore;
	return 0;
}

int sem_post(sem_t *semaphore)
{
	((struct semaphore *)(void *)semaphore)->value++;
	os_wake_one(semaphore);
	return 0;
}

int sem_wait(sem_t *semaphore)
{
	struct semaphore *own = (struct semaphore *)(void *)semaphore;

	while (own->value == 0)
		os_wait(own, OS_NEVER);
	own->value--;
	return 0;
}

/* ---- threads ---- */

/* libuv and the log use it: what it runs may wait, which the library's own would do for real. */
int pthread_once(pthread_once_t *once, void (*run)(void))
{
	if (*once != 0)
		return 0;
	*once = 1;
	run();
	return 0;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *arg),
		   void *arg)
{
	(void)attributes;
	ASSERT(os_current() != NULL);
	struct os_fiber *fiber = os_fiber_new(os_current(), run, arg);

	*thread = (pthread_t)(uintptr_t)fiber;
	os_preempt();
	return 0;
}

int pthread_join(pthread_t thread, void **result)
{
	void *returned = os_fiber_join((struct os_fiber *)(uintptr_t)thread);

	if (result != NULL)
		*result = returned;
	return 0;
}

int pthread_detach(pthread_t thread)
{
	os_fiber_detach((struct os_fiber *)(uintptr_t)thread);
	return 0;
}

/* The first thread has the same name in every process: nodes of several share what is static. */
pthread_t pthread_self(void)
{
	const struct os_fiber *fiber = os_fiber_current();

	return fiber != NULL && os_fiber_is_first(fiber) ? FIRST_THREAD
							 : (pthread_t)(uintptr_t)fiber;
}

int pthread_setname_np(pthread_t thread, const char *name)
{
	if (thread != 0)
		os_fiber_name((struct os_fiber *)(uintptr_t)thread, name);
	return 0;
}

#define YIELD_NS (100 * OS_US)

/* libuv's loop spins a thousand times before it asks for this: what it waits for may take milliseconds. */
int sched_yield(void)
{
	os_sleep(YIELD_NS);
	return 0;
}
