#include "base/checksum.h"

#include "base/assert.h"
#include <xxhash.h>

uint64_t checksum64(const void *data, size_t size)
{
	ASSERT(data != NULL || size == 0);
	return XXH3_64bits(data, size);
}

uint64_t checksum64_seeded(const void *data, size_t size, uint64_t seed)
{
	ASSERT(data != NULL || size == 0);
	return XXH3_64bits_withSeed(data, size, seed);
}
