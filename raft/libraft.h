/*
 * What libraft 0.15 and libuv 1.44 do when the system refuses them something, made an end with a message.
 *
 *   memory       both get theirs from base/memory: what libraft does without it was never tried by anybody
 *   abort()      libuv calls it where it has no thread, event loop, pipe or watch of a file descriptor: one
 *                line, exit code 71. Called by anybody else, it is what it always is. It is a function of this
 *                program, which the dynamic linker prefers to the C library's
 *   files        log_files.h
 */
#ifndef RAFT_LIBRAFT_H
#define RAFT_LIBRAFT_H

/* Once in a process, before anything else of libuv or libraft; the caller is the thread of the loop. */
void libraft_prepare(void);

#endif
