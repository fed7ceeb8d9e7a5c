/*
 * Reading the blocks of the tables in one transaction: records by position. Damage is told as
 * -EBADMSG with a message.
 */
#ifndef STORAGE_BLOCK_READER_H
#define STORAGE_BLOCK_READER_H

#include "storage/block.h"
#include "storage/tables.h"

/* The last block used is kept: neighbours cost no lookup. */
struct block_reader {
	struct kv_txn *txn;
	struct kv_cursor *cursor;
	struct block block; /* count 0: none yet */
	struct hole hole;   /* what the last -ENODATA was for */
};

int block_reader_open(struct block_reader *reader, struct kv_txn *txn, struct error *error);
void block_reader_close(struct block_reader *reader);
/*
 * The record at a position and the running hash after it. Both without a message: -ENODATA, it was
 * dropped, and reader->hole is the hole; -ENOENT, the tables have no such position.
 */
int block_reader_get(struct block_reader *reader, uint64_t position, struct span *record,
		     uint64_t *hash, struct error *error);
/* Load the block that holds a position; -ENOENT when there is none. */
int block_reader_load(struct block_reader *reader, uint64_t position, struct error *error);

#endif
