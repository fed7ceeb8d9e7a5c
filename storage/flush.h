/*
 * The flush: one generation of the tail becomes one durable transaction (step 9). All keys are put in
 * the order of their table. The last block is filled up first, so that blocks are full in the long
 * run, however small the flushes.
 */
#ifndef STORAGE_FLUSH_H
#define STORAGE_FLUSH_H

#include "storage/tables.h"
#include "storage/tail.h"

/* What a flush sorts: kept for the next one, so that its pages are touched once. */
struct flush_memory {
	struct buffer ids;
};

void flush_memory_init(struct flush_memory *memory);
void flush_memory_close(struct flush_memory *memory);

/*
 * Write the generation (possibly empty) behind what is there. `state` comes with the last durable
 * state's lists, last_block and greatest_v7, and with the applied_index, position, created, hash,
 * events and ingesting that hold after the generation; it goes as what was stored.
 * Grows the map when it must. -EIO, -ENOSPC, -EBADMSG: nothing is changed.
 */
int flush_generation(struct kv *kv, const struct tail_generation *generation,
		     struct flush_memory *memory, struct tables_state *state, struct error *error);

#endif
