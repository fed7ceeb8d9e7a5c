/*
 * Offline check of a store: everything that the tables promise (tables.h), against the records.
 *
 *   blocks    keys, frames, checksums, positions without gaps (but for holes), the running hash from
 *             the first record on: of each record, and before and after each hole
 *   records   well-formed; versions of each stream without gaps, those of checkpoints increasing; time
 *             never goes back
 *   lists     each stream, category, type and tag lists exactly its records, rows tell the truth
 *   ids       each record's id leads to it, and no id leads elsewhere; checkpoints' are not listed
 *   times     the first record in each run of 1,024 positions is listed, and nothing else
 *   meta      the state is that of the last record; it counts the checkpoints; the identity is whole
 *
 * Memory: some 100 bytes for each distinct name. Reads everything once, in one read transaction: on
 * a running node, which it may be used beside, that keeps LMDB from using freed pages again.
 */
#ifndef STORAGE_VERIFY_H
#define STORAGE_VERIFY_H

#include "storage/kv.h"

#include <stdint.h>

#define VERIFY_PROBLEMS_MAX  20 /* described; all are counted */
#define VERIFY_PROBLEM_BYTES 256

struct verify_options {
	/* Now and then; last is the position of the last record. NULL: nobody asks. */
	void (*progress)(void *arg, uint64_t position, uint64_t last);
	void *arg;
};

struct verify_report {
	uint64_t records, record_bytes, events, blocks;
	uint64_t holes, dropped; /* the positions in them */
	uint64_t streams, categories, types, tags;
	uint64_t applied_index, position, hash; /* as the store says of itself */
	bool ingesting;
	uint64_t problem_count; /* 0: the store is whole */
	char problems[VERIFY_PROBLEMS_MAX][VERIFY_PROBLEM_BYTES];
};

/* 0: checked, and the report says how it is; else an operating error. The kv may be read-only. */
int verify_store(struct kv *kv, const struct verify_options *options, struct verify_report *report,
		 struct error *error);

#endif
