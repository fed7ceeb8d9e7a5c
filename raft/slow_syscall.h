/*
 * libraft closes a segment of its log with io_destroy(2), which waits for a grace period of the
 * kernel: some 40 ms on the loop thread, at each segment and each snapshot, while no heartbeat and no
 * answer is sent. It calls it through syscall(2), which programs that link this file define themselves
 * (the dynamic linker prefers a program's own symbols): io_destroy goes to a thread of its own,
 * everything else to the C library. The context has nothing in flight when libraft destroys it.
 *
 * And it never tells anybody of a write that io_submit(2) refuses on the loop thread with another error
 * than EAGAIN, when that write was started by the end of the one before: the append never ends, the node
 * runs on without a log. After EAGAIN it tries again on a thread of its pool, and how that ends is told: so
 * every error of io_submit is shown as EAGAIN, but for those by which libraft finds out, before it writes,
 * what a file system cannot do.
 *
 * Source: libraft 0.15, src/uv_writer.c (uvWriterClose, UvWriterSubmit), src/uv_append.c
 * (uvAliveSegmentWriteCb) and src/syscall.c.
 */
#ifndef RAFT_SLOW_SYSCALL_H
#define RAFT_SLOW_SYSCALL_H

/* Call it from where libraft is started: it makes the linker take this file along. */
void slow_syscall_apart(void);

#endif
