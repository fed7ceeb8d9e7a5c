/*
 * Linear probing over an array of 8-byte slots that is at most half full. A slot has half of the hash,
 * which sorts out nearly every stranger: a lookup touches one line of slots, and for a key that is
 * there one entry and the key's bytes.
 */
#include "base/map.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"

#define ENTRIES_MIN 16u
#define ENTRIES_MAX (UINT32_C(1) << 30)

void map_init(struct map *map)
{
	*map = (struct map){0};
	buffer_init(&map->arena);
}

void map_close(struct map *map)
{
	memory_free(map->entries);
	memory_free(map->slots);
	buffer_close(&map->arena);
	map_init(map);
}

void map_clear(struct map *map)
{
	if (map->count > 0)
		memset(map->slots, 0, map->slots_count * sizeof map->slots[0]);
	map->count = 0;
	buffer_clear(&map->arena);
}

size_t map_bytes(const struct map *map)
{
	return map->entries_capacity * sizeof map->entries[0] +
	       map->slots_count * sizeof map->slots[0] + map->arena.capacity;
}

struct span map_key(const struct map *map, const struct map_entry *entry)
{
	ASSERT(entry >= map->entries && entry < map->entries + map->count);
	return span_of(map->arena.data + entry->key_offset, entry->key_size);
}

static uint64_t slot_content(uint64_t hash, uint32_t number)
{
	return (hash >> 32 << 32) | (number + 1);
}

static bool has_hash(uint64_t slot, uint64_t hash)
{
	return slot >> 32 == hash >> 32;
}

static struct map_entry *entry_of(const struct map *map, uint64_t slot)
{
	return &map->entries[(uint32_t)slot - 1];
}

/* The entry of that key, or NULL with *free_slot set to where it belongs. */
static struct map_entry *find(const struct map *map, struct span key, uint64_t hash,
			      uint32_t *free_slot)
{
	uint32_t mask = map->slots_count - 1;

	for (uint32_t slot = (uint32_t)hash & mask;; slot = (slot + 1) & mask) {
		if (map->slots[slot] == 0) {
			*free_slot = slot;
			return NULL;
		}
		if (!has_hash(map->slots[slot], hash))
			continue;
		struct map_entry *entry = entry_of(map, map->slots[slot]);

		if (entry->hash == hash && span_equal(map_key(map, entry), key))
			return entry;
	}
}

static void grow(struct map *map)
{
	uint32_t capacity = map->entries_capacity == 0 ? ENTRIES_MIN : map->entries_capacity * 2;

	ASSERT(capacity <= ENTRIES_MAX);
	map->entries = memory_resize(map->entries, capacity * sizeof map->entries[0]);
	map->entries_capacity = capacity;
	memory_free(map->slots);
	map->slots_count = capacity * 2;
	map->slots = memory_zeroed(map->slots_count, sizeof map->slots[0]);
	buffer_reserve(&map->arena, capacity); /* an empty key points into it, too */
	uint32_t mask = map->slots_count - 1;

	for (uint32_t i = 0; i < map->count; i++) {
		uint64_t hash = map->entries[i].hash;
		uint32_t slot = (uint32_t)hash & mask;

		while (map->slots[slot] != 0)
			slot = (slot + 1) & mask;
		map->slots[slot] = slot_content(hash, i);
	}
}

uint64_t *map_get(const struct map *map, struct span key)
{
	uint32_t free_slot;

	if (map->count == 0)
		return NULL;
	ASSERT(map->count * 2 <= map->slots_count);
	struct map_entry *entry = find(map, key, hash64(key.data, key.size), &free_slot);

	return entry == NULL ? NULL : &entry->value;
}

uint64_t *map_put(struct map *map, struct span key, uint64_t initial)
{
	uint64_t hash = hash64(key.data, key.size);
	uint32_t free_slot = 0;

	if (map->slots_count > 0) {
		struct map_entry *entry = find(map, key, hash, &free_slot);

		if (entry != NULL)
			return &entry->value;
	}
	if (map->count == map->entries_capacity) {
		grow(map);
		find(map, key, hash, &free_slot);
	}
	ASSERT(key.size <= UINT32_MAX && map->arena.size <= UINT32_MAX - key.size);
	struct map_entry *entry = &map->entries[map->count++];

	*entry = (struct map_entry){.hash = hash,
				    .value = initial,
				    .key_offset = (uint32_t)map->arena.size,
				    .key_size = (uint32_t)key.size};
	map->slots[free_slot] = slot_content(hash, map->count - 1);
	buffer_append_span(&map->arena, key);
	return &entry->value;
}

/* ---- ahead of a lookup ---- */

/* The first entry with half of that hash, not looked at yet. */
static const struct map_entry *likely_entry(const struct map *map, uint64_t hash)
{
	uint32_t mask = map->slots_count - 1;

	for (uint32_t slot = (uint32_t)hash & mask; map->slots[slot] != 0; slot = (slot + 1) & mask)
		if (has_hash(map->slots[slot], hash))
			return entry_of(map, map->slots[slot]);
	return NULL;
}

const uint64_t *map_prefetch(const struct map *map, uint64_t hash, enum map_step step)
{
	if (map->count == 0)
		return NULL;
	if (step == MAP_SLOT) {
		__builtin_prefetch(&map->slots[(uint32_t)hash & (map->slots_count - 1)]);
		return NULL;
	}
	const struct map_entry *entry = likely_entry(map, hash);

	if (entry == NULL)
		return NULL;
	if (step == MAP_ENTRY) {
		__builtin_prefetch(entry);
		return NULL;
	}
	__builtin_prefetch(map->arena.data + entry->key_offset);
	return &entry->value;
}
