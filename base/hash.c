#include "base/hash.h"

#include "base/checksum.h"
#include "base/random.h"

#include <pthread.h>

static pthread_once_t seeded = PTHREAD_ONCE_INIT;
static uint64_t seed;

static void draw_seed(void)
{
	seed = random_u64();
}

uint64_t hash64(const void *data, size_t size)
{
	pthread_once(&seeded, draw_seed);
	return checksum64_seeded(data, size, seed);
}
