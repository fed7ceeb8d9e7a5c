/* XXH3 (xxHash 0.8): damage is found by it; it is no protection against malice. */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t checksum64(const void *data, size_t size);
/* The same, continuing from a value: used for the running hash over records. */
uint64_t checksum64_seeded(const void *data, size_t size, uint64_t seed);

#endif
