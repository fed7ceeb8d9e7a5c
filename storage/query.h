/*
 * Queries: which events are meant. "All", or some items; an event matches when ANY item matches; an
 * item matches when ALL its parts do:
 *
 *   types       the event's type is one of them
 *   tags        the event has all of them
 *   categories  the category of its stream is one of them
 *   streams     its stream is one of them
 *   prefix      its stream's name begins with it
 *
 * A part without names is absent; an item has one part at least. System records match no query, not
 * even "all".
 *
 * Encoding, little-endian (in commands):
 *   query   u32 number of items, 0: all; then the items
 *   item    u16 each: number of types, tags, categories, streams; u16 bytes of the prefix, 0: none;
 *           then the names in that order, each u16 bytes and the bytes; then the prefix
 *
 * Threads: none of it is thread-safe on one object while it is built; a built one can be shared.
 */
#ifndef STORAGE_QUERY_H
#define STORAGE_QUERY_H

#include "base/error.h"
#include "storage/record.h"

enum query_part { QUERY_TYPES, QUERY_TAGS, QUERY_CATEGORIES, QUERY_STREAMS, QUERY_PARTS };

struct query_item {
	uint32_t first[QUERY_PARTS]; /* of the names of the query */
	uint32_t count[QUERY_PARTS];
	struct span prefix;
};

/* Names and prefixes are borrowed from whoever built it. Used again after query_clear. */
struct query {
	struct buffer items; /* struct query_item */
	struct buffer names; /* struct span */
};

void query_init(struct query *query); /* "all"; allocates nothing */
void query_close(struct query *query);
void query_clear(struct query *query); /* "all" again; keeps its memory */

/* ---- building: an item, then its names, part after part in the order of enum query_part ---- */

void query_add_item(struct query *query);
void query_add_name(struct query *query, enum query_part part, struct span name);
void query_set_prefix(struct query *query, struct span prefix);

/* ---- looking ---- */

static inline uint32_t query_item_count(const struct query *query)
{
	return (uint32_t)(query->items.size / sizeof(struct query_item));
}
static inline bool query_is_all(const struct query *query)
{
	return query->items.size == 0;
}
const struct query_item *query_item(const struct query *query, uint32_t index);
/* item->count[part] of them; NULL when there are none. */
const struct span *query_item_names(const struct query *query, const struct query_item *item,
				    enum query_part part);
uint32_t query_name_count(const struct query *query); /* names and prefixes of all items */

bool query_item_matches(const struct query *query, const struct query_item *item,
			const struct record *record);
bool query_matches(const struct query *query, const struct record *record);

/* ---- encoding ---- */

void query_encode(const struct query *query, struct buffer *into);
/*
 * 0, or -EBADMSG with a message: cut short, bytes left over, more than LIMIT_QUERY_ITEMS or
 * LIMIT_QUERY_NAMES (prefixes count), an item without parts, an empty name. Names point into `bytes`.
 */
int query_parse(struct span bytes, struct query *query, struct error *error);

#endif
