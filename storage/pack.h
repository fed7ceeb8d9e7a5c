/*
 * Packed commands: a batch (command.h) whose items were made smaller by LZ4 before it was proposed. What a
 * byte of the log costs, libraft's CRC above all, is paid on every node; packing once, and unpacking
 * on each apply thread, costs a fraction of it. Little-endian.
 *
 *   offset bytes
 *        0    16  the header of the batch, but kind 3: COMMAND_PACKED
 *       16     4  bytes of the items
 *       20     …  the items as one LZ4 block, nothing behind it
 *
 * What does not get smaller is left as it is, and the batches after it are not even tried: 1, then 2, 4, …
 * up to PACK_PAUSE_MAX of them, until one gets smaller again. So bytes at random cost next to nothing.
 */
#ifndef STORAGE_PACK_H
#define STORAGE_PACK_H

#include "base/error.h"
#include "base/span.h"

#define PACK_HEADER_BYTES 20
#define PACK_BYTES_MIN    2048u /* of a command; smaller ones repeat too little */
#define PACK_PAUSE_MAX    64u

struct pack {
	void *memory; /* of LZ4; NULL until it is needed */
	uint32_t
		pause; /* so many batches were left alone after the last that did not get smaller … */
	uint32_t paused; /* … and so many of them are to come */
};

void pack_init(struct pack *pack);
void pack_close(struct pack *pack);
/* Whether the next batch, of so many bytes, is worth a try; each batch is asked about once. */
bool pack_wants(struct pack *pack, size_t size);
/*
 * Pack a batch into memory of as many bytes as it has. Returns the bytes of the packed command, at most
 * seven eighths of the batch's; 0: it did not get that small.
 */
size_t pack_batch(struct pack *pack, struct span batch, uint8_t *into);

bool pack_is_packed(struct span body);
/*
 * The batch that was packed, in memory of memory_alloc. -EBADMSG: this is no packed command, or says that it
 * is larger than any entry.
 */
int pack_open(struct span body, uint8_t **batch, size_t *size, struct error *error);

#endif
