#include "raft/libraft.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include "raft/endpoint.h"
#include "raft/log_files.h"

#include <dlfcn.h>
#include <errno.h>
#include <raft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#define ZEROED_BYTES_MAX 8192u

/* The largest configuration: for each member an id, an address, a role; a byte, the number of members, padding. */
static_assert(LIMIT_MEMBERS * (8 + ENDPOINT_TEXT_BYTES + 1) + 1 + 8 + 7 <= ZEROED_BYTES_MAX,
	      "a configuration begins as zeros");

/* ---- memory ---- */

/*
 * libraft never sets the content of a barrier, nor the padding of a configuration: both are written to disk and sent
 * to peers. So what is as small as they are begins as zeros, not as what was in memory before.
 */
static void *heap_malloc(void *data, size_t size)
{
	(void)data;
	return size <= ZEROED_BYTES_MAX ? memory_zeroed(1, size) : memory_alloc(size);
}

static void heap_free(void *data, void *block)
{
	(void)data;
	memory_free(block);
}

static void *heap_calloc(void *data, size_t count, size_t size)
{
	(void)data;
	return memory_zeroed(count, size);
}

static void *heap_realloc(void *data, void *block, size_t size)
{
	(void)data;
	return memory_resize(block, size);
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
	(void)data;
	return memory_aligned(alignment, size);
}

static void heap_aligned_free(void *data, size_t alignment, void *block)
{
	(void)data, (void)alignment;
	memory_free(block);
}

static void *zeroed(size_t count, size_t size)
{
	return memory_zeroed(count, size);
}

void libraft_prepare(void)
{
	static struct raft_heap heap = {
		.malloc = heap_malloc,
		.free = heap_free,
		.calloc = heap_calloc,
		.realloc = heap_realloc,
		.aligned_alloc = heap_aligned_alloc,
		.aligned_free = heap_aligned_free,
	};
	int status = uv_replace_allocator(memory_alloc, memory_resize, zeroed, memory_free);

	ASSERT(status == 0);
	raft_heap_set(&heap);
	log_files_watch();
}

/* ---- ends ---- */

static _Noreturn void stop_without_means(int errno_value)
{
	dprintf(STDERR_FILENO,
		"annal: libuv lacks a thread, an event loop, a file descriptor or a watch of one: "
		"%s: "
		"stopping, a restart recovers\n",
		strerror(errno_value));
	_exit(EX_OSERR);
}

_Noreturn void abort(void)
{
	int errno_value = errno;
	union {
		void *object;
		void (*function)(void);
	} next;
	Dl_info caller;

	if (dladdr(__builtin_return_address(0), &caller) != 0 && caller.dli_fname != NULL &&
	    strstr(caller.dli_fname, "/libuv.so") != NULL)
		stop_without_means(errno_value);
	next.object = dlsym(RTLD_NEXT, "abort");
	next.function();
	_exit(EX_OSERR); /* never reached */
}
