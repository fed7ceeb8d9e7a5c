/*
 * Before libraft's raft_uv opens its directory. Two things there would end badly: an open segment that
 * ends within a batch makes 0.15 free memory twice (raft/open_segment.h), and files that are no part of a log are
 * passed over in silence although somebody may have meant them. And one takes time: libraft reads open
 * segments whole, those too that were prepared and never written, only to remove them.
 *
 *   metadata1, metadata2                         term and vote
 *   open-<n>                                     a segment being written, at its full size
 *   <first>-<last>, 16 digits each               a closed segment
 *   snapshot-<term>-<index>-<ms>[.meta]          the last two snapshots
 *   tmp-…                                        left by a crash: libraft removes them
 */
#ifndef RAFT_PREFLIGHT_H
#define RAFT_PREFLIGHT_H

#include "base/error.h"

#include <stddef.h>

/*
 * Extend short open segments with zeros (synced), empty those whose first write was cut off, remove those that
 * nothing was written to. 0 also when the
 * directory does not exist or is empty; -EBADMSG for a file that does not belong there, or an open segment that is
 * damaged so that libraft would fail (the message names it); or -errno. Blocking:
 * call it before the loop runs.
 */
int raft_preflight(const char *directory, size_t segment_bytes, struct error *error);

#endif
