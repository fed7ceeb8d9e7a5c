/*
 * A cursor over one list (the positions of a stream, a category, a type or a tag), which seeks by
 * position, in the tables or in the tail.
 *
 * Both directions go from lower to higher keys: the key of a position is the position itself or,
 * backward, its complement. So whoever combines lists (matcher.h) knows no directions.
 *
 * In the tables the chunk is found from the row (the open chunk first), then by binary search over
 * the ordinals of the closed ones; a window of a few positions of it is unpacked at a time.
 *
 * Threads: one at a time; in the tail under its lock, or the store's apply lock.
 */
#ifndef STORAGE_LIST_CURSOR_H
#define STORAGE_LIST_CURSOR_H

#include "storage/tables.h"
#include "storage/tail.h"

#define LIST_NONE   UINT64_MAX /* the key behind every other */
#define LIST_WINDOW 64

static inline uint64_t list_key(uint64_t position, bool backward)
{
	return backward ? ~position : position;
}

/* Shared by the cursors in one transaction. */
struct list_tables {
	struct kv_txn *txn;
	struct kv_cursor *cursors[TABLES_LISTS]; /* of closed chunks; NULL until one is needed */
};

struct list_cursor {
	bool backward;
	uint64_t key;   /* where it stands; 0 before the first seek */
	uint64_t count; /* of positions in the list */

	/* in the tail: the frozen generation's part, the active one's */
	const struct tail_list *parts[2];
	const struct tail_generation *generations[2];
	uint32_t at[2]; /* a place at or before (backward: behind) the next one */

	/* in the tables */
	struct list_tables *tables; /* NULL: it is in the tail */
	enum tables_list kind;
	uint64_t number;
	struct span open;
	uint64_t open_ordinal, open_first; /* ordinal and position of the first in the open chunk */
	bool loaded, missed;               /* missed: the chunk had nothing that was sought */
	struct span chunk, rest;           /* packed; rest: of what is not unpacked yet */
	uint64_t chunk_ordinal, chunk_first; /* of its first record */
	uint64_t next_ordinal, last;         /* of the first in rest; position before it */
	uint32_t window_at, window_count;
	uint64_t window_ordinal;
	uint64_t window[LIST_WINDOW];
};

/* -ENOENT when there is no such list: then the cursor may be forgotten. Nothing needs closing. */
int list_cursor_open_tail(struct list_cursor *cursor, const struct tail *tail,
			  enum tables_list kind, struct span name, bool backward);
int list_cursor_open_tables(struct list_cursor *cursor, struct list_tables *tables,
			    enum tables_list kind, struct span name, bool backward,
			    struct error *error);
/* To the first key that is at least this one, which is above cursor->key; LIST_NONE: no such. */
int list_cursor_seek(struct list_cursor *cursor, uint64_t key, struct error *error);
/* How many positions of the list are at most this one. Forward; positions never go back, as keys. */
int list_cursor_rank(struct list_cursor *cursor, uint64_t position, uint64_t *rank,
		     struct error *error);

void list_tables_close(struct list_tables *tables);

#endif
