/*
 * The hash of tables in memory: XXH3 with a seed drawn once for each process, so that nobody can prepare
 * keys that fall into one place. Differs from run to run: for nothing that is stored, sent or compared
 * with another node (that is checksum.h). Any thread.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash64(const void *data, size_t size);

#endif
