/*
 * An item goes through three steps, two items apart each, as every one of them waits for memory that the
 * step before has asked for. Only the first stream and the first record of an item count: most have no
 * more, and of those that have, the records lie in one stream, with ids that lie together.
 */
#include "storage/ahead.h"

#include "base/assert.h"
#include "base/hash.h"
#include "storage/command.h"

#define APART 2u

static_assert(3 * APART < AHEAD_ITEMS, "a hash is kept until the last step");

void ahead_begin(struct ahead *ahead, const struct tail *tail, const struct stream_cache *cache,
		 struct span items)
{
	*ahead = (struct ahead){.tail = tail, .cache = cache, .items = items};
}

static void prefetch(const struct ahead *ahead, uint32_t item, enum map_step step)
{
	uint64_t hash = ahead->hashes[item % AHEAD_ITEMS];

	if (item >= ahead->seen || hash == 0)
		return;
	stream_cache_prefetch(ahead->cache, hash, step);
	tail_prefetch_stream(ahead->tail, hash, step);
}

/* The hash of the first stream, 0 when there is none; the first record's id is brought near. */
static uint64_t look_at(const struct ahead *ahead, struct span sections)
{
	struct command_section section;
	struct expectation expectation;
	struct error error;
	uint64_t hash = 0;

	while (command_next_section(&sections, &section)) {
		if (section.tag == COMMAND_EXPECTATION && hash == 0 &&
		    command_parse_expectation(section.content, &expectation, &error) == 0)
			hash = hash64(expectation.stream.data, expectation.stream.size);
		if (section.tag != COMMAND_RECORD)
			continue;
		if (section.content.size > RECORD_STREAM_OFFSET)
			tail_prefetch_id(ahead->tail, record_id(section.content.data));
		break;
	}
	return hash;
}

void ahead_step(struct ahead *ahead, uint32_t item)
{
	struct span sections;

	while (ahead->seen <= item + 3 * APART && command_next_item(&ahead->items, &sections)) {
		ahead->hashes[ahead->seen % AHEAD_ITEMS] = look_at(ahead, sections);
		ahead->seen++;
		prefetch(ahead, ahead->seen - 1, MAP_SLOT);
	}
	prefetch(ahead, item + 2 * APART, MAP_ENTRY);
	prefetch(ahead, item + APART, MAP_KEY);
}
