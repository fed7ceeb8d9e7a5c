/*
 * Reading lists of the tables in one transaction: the positions of a stream, a category, a type or a
 * tag by ordinal. Damage is told as -EBADMSG with a message.
 */
#ifndef STORAGE_LIST_H
#define STORAGE_LIST_H

#include "storage/block_reader.h"
#include "storage/tables.h"

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
