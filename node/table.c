#include "node/table.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"

#define SLOTS_MIN 64

void table_init(struct table *table)
{
	*table = (struct table){0};
}

void table_close(struct table *table)
{
	ASSERT(table->count == 0);
	memory_free(table->slots);
	table_init(table);
}

static struct table_link **slot_of(const struct table *table, uint64_t hash)
{
	ASSERT(table->slots_count > 0);
	return &table->slots[hash & (table->slots_count - 1)];
}

static void grow(struct table *table)
{
	struct table old = *table;

	table->slots_count = old.slots_count == 0 ? SLOTS_MIN : old.slots_count * 2;
	table->slots = memory_zeroed(table->slots_count, sizeof *table->slots);
	for (size_t i = 0; i < old.slots_count; i++) {
		struct table_link *next;

		for (struct table_link *link = old.slots[i]; link != NULL; link = next) {
			struct table_link **slot = slot_of(table, link->hash);

			next = link->next;
			link->next = *slot;
			*slot = link;
		}
	}
	memory_free(old.slots);
}

void table_put(struct table *table, struct table_link *link, uint64_t hash)
{
	if (table->count >= table->slots_count)
		grow(table);
	struct table_link **slot = slot_of(table, hash);

	link->hash = hash;
	link->next = *slot;
	*slot = link;
	table->count++;
}

void table_remove(struct table *table, struct table_link *link)
{
	struct table_link **at = slot_of(table, link->hash);

	while (*at != link) {
		ASSERT(*at != NULL);
		at = &(*at)->next;
	}
	*at = link->next;
	link->next = NULL;
	table->count--;
}

static struct table_link *of_hash(struct table_link *link, uint64_t hash)
{
	while (link != NULL && link->hash != hash)
		link = link->next;
	return link;
}

struct table_link *table_first(const struct table *table, uint64_t hash)
{
	if (table->count == 0)
		return NULL;
	return of_hash(*slot_of(table, hash), hash);
}

struct table_link *table_next(const struct table_link *link)
{
	ASSERT(link != NULL);
	return of_hash(link->next, link->hash);
}

uint64_t table_hash(struct span key)
{
	return hash64(key.data, key.size);
}

uint64_t table_hash_number(uint64_t number)
{
	return hash64(&number, sizeof number);
}
