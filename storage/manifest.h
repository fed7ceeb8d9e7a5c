/*
 * The manifest: what one LMDB transaction says of itself. It is the whole content of a raft snapshot:
 * the data itself is fetched from peers when a node lacks it.
 *
 *   offset bytes (little-endian)
 *        0     8  "ANNALMF1"
 *        8    16  cluster id
 *       24     8  applied raft index
 *       32     8  last position
 *       40     8  last created, ns
 *       48     8  running hash over every record up to the last position
 *       56     8  XXH3-64 of bytes 0…55
 */
#ifndef STORAGE_MANIFEST_H
#define STORAGE_MANIFEST_H

#include "base/error.h"
#include "base/span.h"

#define MANIFEST_BYTES   64
#define CLUSTER_ID_BYTES 16

struct manifest {
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	uint64_t applied_index; /* of the raft log: commands up to it are contained */
	uint64_t position;      /* of the last record; 0: none */
	int64_t created;        /* of the last record */
	uint64_t hash;
};

void manifest_encode(const struct manifest *manifest, uint8_t into[MANIFEST_BYTES]);
int manifest_decode(struct span bytes, struct manifest *manifest,
		    struct error *error); /* -EBADMSG */

#endif
