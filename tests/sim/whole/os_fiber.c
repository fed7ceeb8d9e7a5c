/* Fibers and the scheduler, virtual time, events, chance, and the hash over all that happens. */
#include "base/checksum.h"
#include "tests/sim/whole/os.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define FIBERS_MAX 512
#define STALL_MS   25
#define TURN_NS    (3 * OS_US) /* that a turn of a fiber takes, at most */

enum fiber_state { FIBER_FREE, FIBER_READY, FIBER_WAITING, FIBER_ENDED };

struct os_fiber {
	enum fiber_state state;
	struct os_process *process;
	uint64_t number; /* of all that ever were */
	char name[16];
	void *(*run)(void *arg);
	void *arg, *result;
	bool begun, detached;
	bool begins;     /* its process began with it */
	const void *key; /* that it waits for */
	uint64_t waits;  /* how often it did: a deadline of an earlier wait is no more */
	bool timed_out;
	int saved_errno;
	ucontext_t first;
	jmp_buf context;
	void *stack;
};

struct event {
	uint64_t at, number;
	void (*run)(void *data);
	void *data;
	struct os_fiber *fiber; /* whose deadline it is, when there is no function */
	uint64_t fiber_number, waits;
};

struct os os;

static struct {
	struct os_fiber fibers[FIBERS_MAX];
	unsigned count; /* of those that were ever in use */
	uint64_t numbers;
	struct os_fiber *current;
	jmp_buf main;
	struct event *heap;
	size_t heap_count, heap_room;
	uint64_t event_numbers;
} machine;

/* ---- chance ---- */

uint64_t os_random(void)
{
	uint64_t mixed = (os.random += UINT64_C(0x9e3779b97f4a7c15));

	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

uint64_t os_between(uint64_t low, uint64_t high)
{
	ASSERT(low <= high);
	return low + os_random() % (high - low + 1);
}

bool os_chance(unsigned thousandths)
{
	ASSERT(thousandths <= 1000);
	return os_random() % 1000 < thousandths;
}

/* ---- what is told ---- */

void os_record(uint64_t fact)
{
	uint64_t facts[2] = {os.now, fact};

	os.trace_hash = checksum64_seeded(facts, sizeof facts, os.trace_hash);
}

void os_trace(const char *format, ...)
{
	va_list args;

	if (!os.tracing)
		return;
	printf("%12.6f %-9s ", (double)os.now / 1e9,
	       machine.current != NULL ? machine.current->process->name : "");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void os_violation(const char *format, ...)
{
	va_list args;

	if (os.violated)
		return;
	os.violated = true;
	va_start(args, format);
	vsnprintf(os.message, sizeof os.message, format, args);
	va_end(args);
	os_trace("VIOLATION: %s", os.message);
}

/* ---- events ---- */

static bool comes_before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void heap_put(const struct event *event)
{
	if (machine.heap_count == machine.heap_room) {
		machine.heap_room = machine.heap_room == 0 ? 1024 : machine.heap_room * 2;
		machine.heap =
			memory_resize(machine.heap, machine.heap_room * sizeof *machine.heap);
	}
	size_t at = machine.heap_count++;

	for (; at > 0 && comes_before(event, &machine.heap[(at - 1) / 2]); at = (at - 1) / 2)
		machine.heap[at] = machine.heap[(at - 1) / 2];
	machine.heap[at] = *event;
}

static struct event heap_take(void)
{
	ASSERT(machine.heap_count > 0);
	struct event *heap = machine.heap;
	struct event first = heap[0], last = heap[--machine.heap_count];
	size_t at = 0;

	for (size_t child = 1; child < machine.heap_count; child = 2 * at + 1) {
		if (child + 1 < machine.heap_count && comes_before(&heap[child + 1], &heap[child]))
			child++;
		if (!comes_before(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return first;
}

void os_at(uint64_t time, void (*run)(void *data), void *data)
{
	struct event event = {.at = time < os.now ? os.now : time,
			      .number = machine.event_numbers++,
			      .run = run,
			      .data = data};

	heap_put(&event);
}

static void deadline_at(uint64_t time, struct os_fiber *fiber)
{
	struct event event = {.at = time < os.now ? os.now : time,
			      .number = machine.event_numbers++,
			      .fiber = fiber,
			      .fiber_number = fiber->number,
			      .waits = fiber->waits};

	heap_put(&event);
}

static void run_event(const struct event *event)
{
	struct os_fiber *fiber = event->fiber;

	os.counters.events++;
	os_record(event->number);
	if (fiber == NULL) {
		event->run(event->data);
		return;
	}
	if (fiber->number != event->fiber_number || fiber->state != FIBER_WAITING ||
	    fiber->waits != event->waits)
		return;
	fiber->state = FIBER_READY;
	fiber->timed_out = true;
}

/* ---- fibers ---- */

struct os_fiber *os_fiber_current(void)
{
	return machine.current;
}

struct os_process *os_current(void)
{
	return machine.current == NULL ? NULL : machine.current->process;
}

uint64_t os_fiber_number(const struct os_fiber *fiber)
{
	return fiber->state == FIBER_FREE ? 0 : fiber->number;
}

/* Back to the scheduler; returns when the fiber has its next turn. */
static void switch_back(void)
{
	struct os_fiber *fiber = machine.current;

	fiber->saved_errno = errno;
	if (_setjmp(fiber->context) == 0)
		_longjmp(machine.main, 1);
	errno = fiber->saved_errno;
}

static void begin(void)
{
	struct os_fiber *fiber = machine.current;

	fiber->result = fiber->run(fiber->arg);
	fiber->state = fiber->detached ? FIBER_FREE : FIBER_ENDED;
	os_wake_all(fiber);
	switch_back();
}

static void switch_to(struct os_fiber *fiber)
{
	machine.current = fiber;
	if (_setjmp(machine.main) == 0) {
		if (fiber->begun)
			_longjmp(fiber->context, 1);
		fiber->begun = true;
		setcontext(&fiber->first);
	}
	machine.current = NULL;
}

static struct os_fiber *free_fiber(void)
{
	for (unsigned i = 0; i < machine.count; i++)
		if (machine.fibers[i].state == FIBER_FREE)
			return &machine.fibers[i];
	ASSERT(machine.count < FIBERS_MAX);
	return &machine.fibers[machine.count++];
}

struct os_fiber *os_fiber_new(struct os_process *process, void *(*run)(void *arg), void *arg)
{
	struct os_fiber *fiber = free_fiber();
	void *stack = fiber->stack;

	if (stack == NULL) {
		stack = mmap(NULL, OS_STACK_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
		ASSERT(stack != MAP_FAILED);
		mprotect(stack, 4096, PROT_NONE);
	}
	*fiber = (struct os_fiber){.state = FIBER_READY,
				   .process = process,
				   .number = ++machine.numbers,
				   .run = run,
				   .arg = arg,
				   .stack = stack};
	snprintf(fiber->name, sizeof fiber->name, "main");
	getcontext(&fiber->first);
	fiber->first.uc_stack.ss_sp = stack;
	fiber->first.uc_stack.ss_size = OS_STACK_BYTES;
	makecontext(&fiber->first, begin, 0);
	return fiber;
}

bool os_fiber_is_first(const struct os_fiber *fiber)
{
	return fiber->begins;
}

void os_fiber_name(struct os_fiber *fiber, const char *name)
{
	snprintf(fiber->name, sizeof fiber->name, "%s", name);
}

void *os_fiber_join(struct os_fiber *fiber)
{
	while (fiber->state != FIBER_ENDED)
		os_wait(fiber, OS_NEVER);
	fiber->state = FIBER_FREE;
	return fiber->result;
}

void os_fiber_detach(struct os_fiber *fiber)
{
	fiber->detached = true;
	if (fiber->state == FIBER_ENDED)
		fiber->state = FIBER_FREE;
}

bool os_wait(const void *key, uint64_t deadline)
{
	struct os_fiber *fiber = machine.current;

	ASSERT(fiber != NULL);
	fiber->state = FIBER_WAITING;
	fiber->key = key;
	fiber->waits++;
	fiber->timed_out = false;
	if (deadline != OS_NEVER)
		deadline_at(deadline, fiber);
	switch_back();
	return !fiber->timed_out;
}

static bool wake(const void *key, bool all)
{
	struct os_fiber *waiting[FIBERS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < machine.count; i++)
		if (machine.fibers[i].state == FIBER_WAITING && machine.fibers[i].key == key)
			waiting[count++] = &machine.fibers[i];
	if (count == 0)
		return false;
	if (!all)
		waiting[0] = waiting[count > 1 ? os_random() % count : 0];
	for (unsigned i = 0; i < (all ? count : 1); i++)
		waiting[i]->state = FIBER_READY;
	return true;
}

void os_wake_one(const void *key)
{
	wake(key, false);
}

void os_wake_all(const void *key)
{
	wake(key, true);
}

void os_sleep(uint64_t ns)
{
	static const char nobody_wakes_it;

	os_wait(&nobody_wakes_it, os.now + ns);
}

void os_yield(void)
{
	if (machine.current != NULL)
		switch_back();
}

/* The host has other things to do for a while. */
static bool stalls(const struct os_process *process)
{
	return process->disk != NULL && os.profile.stall > 0 &&
	       os_random() % 100000 < os.profile.stall;
}

void os_preempt(void)
{
	if (machine.current == NULL)
		return;
	if (stalls(machine.current->process)) {
		os.counters.stalls++;
		os_sleep(os_between(1, STALL_MS) * OS_MS);
	} else if (os_chance(os.profile.preempt)) {
		switch_back();
	}
}

/* ---- the scheduler ---- */

static struct os_fiber *pick(void)
{
	struct os_fiber *ready[FIBERS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < machine.count; i++) {
		struct os_fiber *fiber = &machine.fibers[i];

		if (fiber->state == FIBER_READY && !fiber->process->paused)
			ready[count++] = fiber;
	}
	return count == 0 ? NULL : ready[count > 1 ? os_random() % count : 0];
}

void os_run_until(uint64_t time)
{
	ASSERT(machine.current == NULL);
	while (!os.violated) {
		uint64_t next = machine.heap_count == 0 ? OS_NEVER : machine.heap[0].at;
		struct os_fiber *fiber = next > os.now ? pick() : NULL;

		if (fiber == NULL && next > time) {
			os.now = time > os.now ? time : os.now;
			return;
		}
		if (fiber == NULL) {
			os.now = next > os.now ? next : os.now;
			struct event event = heap_take();
			run_event(&event);
			continue;
		}
		if (os.now >= time)
			return;
		os.now += os_random() % TURN_NS;
		os.counters.switches++;
		os_record(fiber->number);
		switch_to(fiber);
	}
}

void os_begin(uint64_t seed, bool tracing)
{
	memset(&os, 0, sizeof os);
	os.random = seed * UINT64_C(0x2545f4914f6cdd1d) + 1;
	os.tracing = tracing;
	for (unsigned i = 0; i < OS_PROCESSES; i++)
		os.processes[i].number = i;
}

/* ---- processes ---- */

void os_process_start(struct os_process *process, void *(*run)(void *arg), void *arg)
{
	ASSERT(!process->runs);
	process->runs = true;
	process->paused = false;
	process->host_down = false;
	process->starts++;
	process->started_at = os.now;
	process->log_failed_at = 0;
	struct os_fiber *fiber = os_fiber_new(process, run, arg);

	fiber->begins = true;
	os_fiber_detach(fiber);
}

static void drop_fibers(struct os_process *process)
{
	for (unsigned i = 0; i < machine.count; i++)
		if (machine.fibers[i].process == process)
			machine.fibers[i].state = FIBER_FREE;
}

unsigned os_process_fibers(const struct os_process *process)
{
	unsigned count = 0;

	for (unsigned i = 0; i < machine.count; i++)
		count += machine.fibers[i].state != FIBER_FREE &&
			 machine.fibers[i].process == process;
	return count;
}

static void close_files(struct os_process *process)
{
	for (int fd = OS_FIRST_FD; fd < OS_FIRST_FD + OS_FILES; fd++) {
		struct os_file *file = os_file(fd);

		if (file != NULL && file->process == process)
			os_file_close(fd);
	}
}

static void end(struct os_process *process, int exit_code, bool silently)
{
	ASSERT(process->runs);
	process->runs = false;
	process->paused = false;
	process->exit_code = exit_code;
	process->host_down = silently;
	drop_fibers(process);
	os_net_process_ended(process, silently);
	os_aio_process_ended(process);
	if (process->disk != NULL)
		os_disk_unmap(process->disk, NULL);
	if (silently && process->disk != NULL)
		os_disk_power_cut(process->disk);
	close_files(process);
}

void os_process_end(struct os_process *process, int exit_code)
{
	end(process, exit_code, false);
}

void os_process_power_cut(struct os_process *process)
{
	end(process, -1, true);
}

_Noreturn void os_process_exit(int exit_code)
{
	struct os_fiber *fiber = machine.current;

	ASSERT(fiber != NULL);
	os_process_end(fiber->process, exit_code);
	_longjmp(machine.main, 1);
}
