/*
 * Reading the tables in one transaction: records by position, and the positions of a list (a
 * stream, a category, a type, a tag) by ordinal. Damage is told as -EBADMSG with a message.
 */
#ifndef STORAGE_LIST_H
#define STORAGE_LIST_H

#include "storage/block.h"
#include "storage/tables.h"

/* The last block used is kept: neighbours cost no lookup. */
struct block_reader {
	struct kv_txn *txn;
	struct kv_cursor *cursor;
	struct block block; /* count 0: none yet */
};

int block_reader_open(struct block_reader *reader, struct kv_txn *txn, struct error *error);
void block_reader_close(struct block_reader *reader);
/* The record at a position and the running hash after it; -ENOENT when the tables have none. */
int block_reader_get(struct block_reader *reader, uint64_t position, struct span *record,
		     uint64_t *hash, struct error *error);

struct list_reader {
	struct kv_txn *txn;
	enum tables_list kind;
	struct kv_cursor *cursor; /* NULL until a closed chunk is needed */
	struct tables_row row;
	uint64_t open_ordinal;  /* of the first in the open chunk, which is in the row */
	uint64_t first_ordinal; /* of the chunk that is unpacked */
	uint32_t count;
	uint64_t positions[POSTING_COUNT_MAX];
};

/* -ENOENT when there is no such list. Ordinals go from 1 to reader->row.facts.version. */
int list_reader_open(struct list_reader *reader, struct kv_txn *txn, enum tables_list kind,
		     struct span name, struct error *error);
void list_reader_close(struct list_reader *reader); /* only after an open that succeeded */
int list_reader_get(struct list_reader *reader, uint64_t ordinal, uint64_t *position,
		    struct error *error);

#endif
