/*
 * Threads that are always there, as memory is (memory.h): when the system has none left, one line goes to
 * stderr and the process ends with exit code 70.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

void thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg);

#endif
