/*
 * The hard state (term, vote, synced index) of a node on file, with checksum: two slots written in
 * turn, the newer whole one counts. Kept beside libraft's own metadata, which has no checksum.
 *
 *   offset 0, 512    slots:  (of even and of odd sequence) "ANHS0001"; u64 sequence; u64 term; u64 vote; u64 synced index;
 *                            u64 pulled index; u64 XXH3-64 of what is before it; zeros up to 512
 *   offset 4096, 4160 notes: u64 sequence of the slot it belongs to; u64 count; u64 synced index;
 *                            u64 XXH3-64 of what is before it
 *   8192 bytes, little-endian
 *
 * save() writes a slot and syncs (rarely called: votes, truncation). note() stores into a shared
 * mapping and costs no system call; the kernel writes it out in its own time. Notes have their own
 * page and their own checksums, so that a power cut in the middle of one never costs a term or a
 * vote; a note counts only while the slot that it names is the newest, so that a save takes earlier
 * notes back. A note of a later slot than the newest belongs to one that is damaged: it is forgotten.
 */
#ifndef RAFT_HARDSTATE_H
#define RAFT_HARDSTATE_H

#include "raft/guard.h"

struct hardstate_file;

/* Creates the file when `create`; else -ENOENT when it is missing, -EBADMSG when both slots are
 * bad. */
int hardstate_file_open(struct hardstate_file **file, const char *path, bool create,
			struct hardstate *state, struct error *error);
struct hardstate_keeper hardstate_file_keeper(struct hardstate_file *file);
void hardstate_file_close(struct hardstate_file *file);

#endif
