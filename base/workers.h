/*
 * A few threads that run work off the loop: reads of the store, mostly. The pool is our own, not
 * libuv's, so that a slow read never stands before a write of the raft log. FIFO.
 */
#ifndef BASE_WORKERS_H
#define BASE_WORKERS_H

#include <stdint.h>

struct workers;

struct work {
	void (*run)(
		struct work *work); /* on a worker thread; the work is the callee's from then on */
	struct work *next;          /* private */
};

struct workers *workers_new(uint32_t threads, const char *thread_name);
void workers_submit(struct workers *workers, struct work *work); /* any thread */
uint32_t workers_queued(struct workers *workers);
void workers_free(struct workers *workers); /* runs what is queued, then joins */

#endif
