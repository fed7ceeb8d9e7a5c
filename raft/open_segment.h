/*
 * An open segment of libraft's log, before libraft 0.15 reads it. When one ends within a batch that is not its first,
 * libraft frees its content, and then once more what it has read of it (src/uv_segment.c: uvSegmentLoadOpen, then
 * uvSegmentLoadAll): the process aborts, at each start again. A segment ends so
 *
 *   - when it was written up to 8 bytes before its end and the process was killed then: libraft looks for one more
 *     batch there, of which it reads the checksums and no more;
 *   - when a count or a size in it is damaged.
 *
 * And one whose first write was cut off by a power cut, so that its beginning is missing and more of it is there,
 * it does not start with.
 *
 *   offset bytes
 *        0     8  format: 1; 0 as long as nothing was written
 *        8     …  batches, then zeros. A batch:
 *                    4  checksum of the header
 *                    4  checksum of the data
 *                    8  entries                      header, from here
 *                   16  for each entry: u64 term, u8 type, 3 bytes, u32 bytes of its data
 *                    …  the data of all
 *
 * The checksum is a CRC-32 from the highest bit on (polynomial 04c11db7) that begins with 0 and is not inverted.
 */
#ifndef RAFT_OPEN_SEGMENT_H
#define RAFT_OPEN_SEGMENT_H

#include "base/error.h"

/*
 * Look through the batches of the file, as far as libraft will read them. One that is as good as full gets more
 * zeros, one whose first sector was never written gets nothing but zeros, synced. -EBADMSG when it is damaged so that libraft would fail, or -errno; the message names `name`.
 * Blocking.
 */
int open_segment_prepare(int file, const char *name, struct error *error);

#endif
