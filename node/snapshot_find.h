/* The stored snapshot that is wanted: for snapshot_get, snapshot_delete and load. */
#ifndef NODE_SNAPSHOT_FIND_H
#define NODE_SNAPSHOT_FIND_H

#include "storage/store.h"
#include "storage/system.h"

/* What was found. Its spans point into `record`. */
struct snapshot_found {
	bool found;
	struct system_snapshot snapshot;
	int64_t created;
	uint64_t head;        /* as of the last look */
	struct buffer record; /* the caller inits and closes it */
};

/*
 * Look for the snapshot of a stream that was stored last, of those with a version of at most max_version
 * (UINT64_MAX: any) that were not deleted. *from: 0 to begin with; one bounded step: when it comes back
 * as 0 the answer is there, else call again with it. 0, or a negative errno with a message. Worker.
 */
int snapshot_find(struct store *store, struct span stream, uint64_t max_version, uint64_t *from,
		  struct snapshot_found *found, struct error *error);

#endif
