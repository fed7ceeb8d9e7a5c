#include "base/clock.h"

#include "base/assert.h"
#include <time.h>

static int64_t now_ns(clockid_t clock)
{
	struct timespec now;
	int status = clock_gettime(clock, &now);

	ASSERT(status == 0);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clock_realtime_ns(void)
{
	return now_ns(CLOCK_REALTIME);
}

int64_t clock_monotonic_ns(void)
{
	return now_ns(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
	return clock_monotonic_ns() / 1000000;
}
