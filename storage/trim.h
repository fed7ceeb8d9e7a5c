/*
 * The trim: superseded records of checkpoints are dropped from the tables.
 *
 *   rows "$checkpoint-…" ─► candidates: all that is listed but the last, oldest first
 *   candidates ─► their blocks, written anew: a hole where each was, neighbours joined when small
 *              └► their lists: off the front; the ordinals of what stays do not change
 *              └► table time: the entry moves to the next record of the run
 *
 * One step is one transaction: whatever moment a crash comes at, all of it is there or nothing is. What
 * is looked at and written in it is bounded, so that flushes need not wait long.
 */
#ifndef STORAGE_TRIM_H
#define STORAGE_TRIM_H

#include "storage/tables.h"

#define TRIM_SUPERSEDED_MIN 1024  /* below it, a trim is not worth its transaction */
#define TRIM_CANDIDATES_MAX 32768 /* of one step */
#define TRIM_BLOCKS_MAX     64    /* the same: blocks with candidates */

/* Whether enough has gathered, which is in proportion to what a trim must look at. */
bool trim_is_due(const struct tables_state *state);
/*
 * One step. `state` comes as the durable one and goes as what was stored. *again: something is left.
 * Grows the map when it must. -EIO, -ENOSPC, -EBADMSG: nothing is changed.
 */
int trim_step(struct kv *kv, struct tables_state *state, bool *again, struct error *error);

#endif
