/*
 * A hash table of structs that carry their own link (chained, grown by doubling). It owns nothing
 * but its slots. The caller hashes and compares: walk from table_first with table_next, which give
 * only links of that hash. Not thread-safe.
 */
#ifndef NODE_TABLE_H
#define NODE_TABLE_H

#include "base/span.h"

/* The struct that `member` at `pointer` is in. */
#define TABLE_ENTRY(pointer, type, member)                                                         \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct table_link {
	struct table_link *next;
	uint64_t hash;
};

struct table {
	struct table_link **slots;
	size_t slots_count; /* a power of two, or 0 */
	size_t count;
};

void table_init(struct table *table);  /* allocates nothing */
void table_close(struct table *table); /* must be empty */
void table_put(struct table *table, struct table_link *link, uint64_t hash);
void table_remove(struct table *table, struct table_link *link);
/* NULL when there is none. */
struct table_link *table_first(const struct table *table, uint64_t hash);
struct table_link *table_next(const struct table_link *link);
uint64_t table_hash(struct span key);
uint64_t table_hash_number(uint64_t number);

#endif
