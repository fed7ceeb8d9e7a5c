/* Fixed-width integers at unaligned places: little-endian for our formats, big-endian for msgpack.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_ACCESSORS(bits)                                                                      \
	static inline uint##bits##_t bytes_le##bits(const void *at)                                \
	{                                                                                          \
		uint##bits##_t value;                                                              \
		memcpy(&value, at, sizeof value);                                                  \
		return le##bits##toh(value);                                                       \
	}                                                                                          \
	static inline uint##bits##_t bytes_be##bits(const void *at)                                \
	{                                                                                          \
		uint##bits##_t value;                                                              \
		memcpy(&value, at, sizeof value);                                                  \
		return be##bits##toh(value);                                                       \
	}                                                                                          \
	static inline void bytes_set_le##bits(void *at, uint##bits##_t value)                      \
	{                                                                                          \
		value = htole##bits(value);                                                        \
		memcpy(at, &value, sizeof value);                                                  \
	}                                                                                          \
	static inline void bytes_set_be##bits(void *at, uint##bits##_t value)                      \
	{                                                                                          \
		value = htobe##bits(value);                                                        \
		memcpy(at, &value, sizeof value);                                                  \
	}

BYTES_ACCESSORS(16)
BYTES_ACCESSORS(32)
BYTES_ACCESSORS(64)

#endif
