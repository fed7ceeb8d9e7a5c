/*
 * Finding what matches a query, by combining lists, on one side of the store: in the tables, or in
 * the tail.
 *
 *   item     all its groups hold          leapfrog: seek in each, the rarest first, until all agree
 *   group    one of its lists holds it    a heap of list cursors (one tag: a group of one list)
 *   query    one of its items matches     the lowest of the items
 *
 * Of an item's streams and categories only the narrowest matter: streams are checked against the
 * item's categories and prefix by name, categories against its prefix. What is left of a prefix is
 * checked on the records themselves: those of the category that the prefix names, when it goes
 * beyond one ("Order-4"), else any ("Ord") that the item's other parts leave.
 *
 * Which records are looked at for a prefix follows from the query and the log alone, not from where
 * the tail begins: going by position, every candidate of every item until one matches. What else may
 * not depend on it when a condition is decided: see condition.c, which asks item by item.
 *
 * Keys and directions are those of list_cursor.h. Memory is kept from one query to the next.
 *
 * Threads: one at a time; in the tail under its lock, or the store's apply lock.
 */
#ifndef STORAGE_MATCHER_H
#define STORAGE_MATCHER_H

#include "storage/block_reader.h"
#include "storage/list_cursor.h"
#include "storage/query.h"

/* Ready for use when zeroed. */
struct matcher {
	const struct query *query;
	const struct tail *tail; /* NULL: in the tables */
	struct list_tables tables;
	struct block_reader blocks;
	bool blocks_open;
	bool backward;
	uint64_t last_key; /* nothing behind it is wanted */
	uint64_t looks;    /* left: records that may be looked at for a prefix */
	uint64_t steps;    /* left: seeks in lists */
	uint64_t rounds;   /* left: seeks in all groups of an item */
	bool decides; /* a condition: dropped records count as looked at; groups without lists stay */

	struct buffer items;   /* struct matcher_item */
	struct buffer groups;  /* struct matcher_group, by item */
	struct buffer cursors; /* struct list_cursor, by group */
	struct buffer order;   /* uint32_t: the cursors of each group, as a heap by key */
};

enum matcher_result {
	MATCHER_FOUND,
	MATCHER_END,      /* nothing more up to last_key */
	MATCHER_NO_LOOKS, /* they are used up; nothing matches before the key */
	MATCHER_NO_STEPS, /* the same; or the rounds are */
};

/*
 * Begin with a query (not "all"), which is borrowed until the matcher is closed; it is closed when
 * this fails, too. There are no bounds yet: the caller lowers last_key, looks, steps and rounds.
 */
void matcher_open_tail(struct matcher *matcher, const struct query *query, const struct tail *tail,
		       bool backward);
int matcher_open_tables(struct matcher *matcher, const struct query *query, struct kv_txn *txn,
			bool backward, struct error *error);
void matcher_close(struct matcher *matcher); /* keeps its memory */
void matcher_free(struct matcher *matcher);  /* the memory, closed */

/* The first match whose key is at least *key, which never goes back from call to call; *key is it. */
int matcher_next(struct matcher *matcher, uint64_t *key, enum matcher_result *result,
		 struct error *error);
/* The record at a position that matcher_next found, valid until the next call. */
int matcher_record(struct matcher *matcher, uint64_t position, struct span *record,
		   struct error *error);
/* The list that alone decides what matches; NULL when there is no such. */
struct list_cursor *matcher_single(struct matcher *matcher);

/* ---- the groups of a condition's item, in an order that is the same on both sides ---- */

uint32_t matcher_group_count(const struct matcher *matcher);
/* Add how many positions each has on this side in all; of these, how many behind `after` up to `last`. */
void matcher_add_sizes(const struct matcher *matcher, uint64_t *counts);
int matcher_add_between(struct matcher *matcher, uint64_t after, uint64_t last, uint64_t *counts,
			struct error *error);

#endif
