/* What every unit test includes: cmocka with what it needs before it, and blocks that end exactly
 * where their bytes end, so that the sanitizers see a read behind them. */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/span.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A copy in a block of exactly its size; unit_free_exact it. */
static inline struct span unit_exact(const void *data, size_t size)
{
	return span_of(memory_copy(data, size), size);
}

static inline void unit_free_exact(struct span span)
{
	memory_free((void *)(uintptr_t)span.data);
}

/* A small generator with a seed, so that a failure comes again. */
static inline uint64_t unit_random(uint64_t *state)
{
	uint64_t mixed = (*state += UINT64_C(0x9e3779b97f4a7c15));

	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

#endif
