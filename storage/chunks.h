/*
 * Taking closed chunks off the front of a list, in a write transaction: by the flush and by the trim,
 * which put back what is to stay.
 */
#ifndef STORAGE_CHUNKS_H
#define STORAGE_CHUNKS_H

#include "storage/tables.h"

struct chunks_taken {
	enum tables_list kind;
	uint64_t number;      /* of the list */
	uint64_t ordinal;     /* of the first chunk; then of what was not taken */
	uint64_t end;         /* ordinal of the open chunk */
	struct buffer *after; /* positions (u64) are appended here */
};

/* Delete the chunks that begin at `last` or before it; 0, or -EBADMSG and operating errors. */
int chunks_take(struct kv_txn *txn, struct chunks_taken *taken, uint64_t last, struct error *error);
/* Put a closed chunk; the positions fit into one. */
int chunks_put(struct kv_txn *txn, enum tables_list kind, uint64_t number, uint64_t ordinal,
	       const uint64_t *positions, size_t count, struct error *error);

#endif
