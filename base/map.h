/*
 * A hash map from byte strings to 64-bit values (open addressing, XXH3, the keys copied into one
 * arena). Keys are never removed one by one: clear the whole. Lookups by several threads at once
 * are fine while nobody writes. Iteration order is that of insertion.
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include "base/buffer.h"

struct map_entry {
	uint64_t hash;
	uint64_t value;
	uint32_t key_offset; /* in the arena */
	uint32_t key_size;
};

struct map {
	struct map_entry *entries; /* in order of insertion */
	uint32_t count;
	uint32_t entries_capacity;
	uint64_t *slots;      /* high half of the hash, entry number + 1 below; 0 when free */
	uint32_t slots_count; /* a power of two, or 0 */
	struct buffer arena;
};

void map_init(struct map *map); /* allocates nothing */
void map_close(struct map *map);
void map_clear(struct map *map);         /* keeps its memory */
size_t map_bytes(const struct map *map); /* of memory held */
/* The value's place, valid until the next map_put; NULL when the key is not there. */
uint64_t *map_get(const struct map *map, struct span key);
/* The value's place, a new one set to `initial` when the key was not there. */
uint64_t *map_put(struct map *map, struct span key, uint64_t initial);
/*
 * For a lookup that comes soon, of a key with this hash64: brings near what it will touch, step by step,
 * each when the one before has had time. MAP_KEY: the value's place, or NULL, of a key that has nearly
 * always this hash; NULL for the others.
 */
enum map_step { MAP_SLOT, MAP_ENTRY, MAP_KEY };
const uint64_t *map_prefetch(const struct map *map, uint64_t hash, enum map_step step);
struct span map_key(const struct map *map, const struct map_entry *entry);

#endif
