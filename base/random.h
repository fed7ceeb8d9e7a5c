/* Unpredictable bytes (getrandom). Replaced as a whole at link time by the simulator. Any thread.
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *into, size_t size);
uint64_t random_u64(void);

#endif
