/*
 * What apply knows of streams without asking the tables: the facts of streams that were looked up or
 * written lately, as of the head. Two halves: when the young one is full it becomes the old one, and
 * the old one is forgotten. The apply thread only.
 */
#ifndef STORAGE_STREAM_CACHE_H
#define STORAGE_STREAM_CACHE_H

#include "base/map.h"
#include "storage/stream.h"

struct stream_cache {
	uint64_t bytes_max;
	uint32_t young; /* which half */
	struct map names[2];
	struct buffer facts[2]; /* struct stream_facts, by number */
};

void stream_cache_init(struct stream_cache *cache, uint64_t bytes_max);
void stream_cache_close(struct stream_cache *cache);
bool stream_cache_get(struct stream_cache *cache, struct span name, struct stream_facts *facts);
void stream_cache_put(struct stream_cache *cache, struct span name,
		      const struct stream_facts *facts);
/* A name with this hash64 is looked up soon. */
void stream_cache_prefetch(const struct stream_cache *cache, uint64_t hash, enum map_step step);

#endif
