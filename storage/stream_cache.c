/* The cache of stream facts. */
#include "storage/stream_cache.h"

#include "base/assert.h"

void stream_cache_init(struct stream_cache *cache, uint64_t bytes_max)
{
	*cache = (struct stream_cache){.bytes_max = bytes_max};
	for (int half = 0; half < 2; half++) {
		map_init(&cache->names[half]);
		buffer_init(&cache->facts[half]);
	}
}

void stream_cache_close(struct stream_cache *cache)
{
	for (int half = 0; half < 2; half++) {
		map_close(&cache->names[half]);
		buffer_close(&cache->facts[half]);
	}
}

static struct stream_facts *find(struct stream_cache *cache, uint32_t half, struct span name)
{
	const uint64_t *number = map_get(&cache->names[half], name);

	if (number == NULL)
		return NULL;
	ASSERT((*number + 1) * sizeof(struct stream_facts) <= cache->facts[half].size);
	return (struct stream_facts *)(void *)cache->facts[half].data + *number;
}

static void turn_over(struct stream_cache *cache)
{
	cache->young ^= 1;
	map_close(&cache->names[cache->young]);
	buffer_close(&cache->facts[cache->young]);
}

void stream_cache_put(struct stream_cache *cache, struct span name,
		      const struct stream_facts *facts)
{
	struct stream_facts *known = find(cache, cache->young, name);
	struct map *names = &cache->names[cache->young];
	struct buffer *room = &cache->facts[cache->young];

	if (known != NULL) {
		*known = *facts;
		return;
	}
	map_put(names, name, names->count);
	buffer_append(room, facts, sizeof *facts);
	if (map_bytes(names) + room->capacity > cache->bytes_max / 2)
		turn_over(cache);
}

bool stream_cache_get(struct stream_cache *cache, struct span name, struct stream_facts *facts)
{
	const struct stream_facts *known = find(cache, cache->young, name);

	if (known != NULL) {
		*facts = *known;
		return true;
	}
	known = find(cache, cache->young ^ 1, name);
	if (known == NULL)
		return false;
	*facts = *known;
	stream_cache_put(cache, name, facts);
	return true;
}

void stream_cache_prefetch(const struct stream_cache *cache, uint64_t hash, enum map_step step)
{
	const struct buffer *facts = &cache->facts[cache->young];
	const uint64_t *number = map_prefetch(&cache->names[cache->young], hash, step);

	if (number != NULL)
		__builtin_prefetch((const struct stream_facts *)(const void *)facts->data + *number,
				   1);
}
