#include "base/random.h"

#include "base/assert.h"
#include <errno.h>
#include <sys/random.h>

void random_bytes(void *into, size_t size)
{
	uint8_t *at = into;

	while (size > 0) {
		ssize_t drawn = getrandom(at, size, 0);

		if (drawn < 0 && errno == EINTR)
			continue;
		ASSERT(drawn > 0); /* it fails only when called wrongly */
		at += drawn;
		size -= (size_t)drawn;
	}
}

uint64_t random_u64(void)
{
	uint64_t value;

	random_bytes(&value, sizeof value);
	return value;
}
