/*
 * Operations on the files of the raft log whose failure libraft 0.15 keeps to itself: each of them ends the
 * process, with a line that names the operation and the file, and exit code 71.
 *
 *   a segment is closed     cut to its length, synced, renamed, on a thread of the pool. Fails one of these,
 *                           libraft goes on, closes later segments, and the log cannot be loaded any more
 *                           (src/uv_finalize.c: `errored` is set, and read by nobody)
 *   a log is truncated      entries that should be gone stay (src/uv_truncate.c, the same), behind which those that
 *                           come instead are written: the log cannot be loaded any more. What is left of a
 *                           segment is written anew, for which there may be no room
 *   the folder is listed    libraft frees what it has not got, or frees twice (src/uv_list.c)
 *
 * All others that fail are told: a segment that cannot be made, a write of entries, everything while a log is
 * loaded. (A snapshot that cannot be written would be told, too; it ends the node all the same.) libraft does all of them through libuv's functions for files; those of this program are found first by
 * the dynamic linker, and call libuv's. Nobody else in this program uses them.
 */
#ifndef RAFT_LOG_FILES_H
#define RAFT_LOG_FILES_H

/* From now on; the calling thread is that of the loop, where failures are told. */
void log_files_watch(void);

#endif
