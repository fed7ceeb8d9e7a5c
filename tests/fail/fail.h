/*
 * A library for LD_PRELOAD that makes the n-th call of one kind fail, in whatever a process calls in the C
 * library: annal's own code, libraft, libuv, LMDB, zstd, jansson.
 *
 *   FAIL_KIND     the name of a kind, see FAIL_KINDS; "count": the calls of all kinds are counted, none fails
 *   FAIL_NTH      the first call of it to fail, from 1
 *   FAIL_LAST     the last one (default: FAIL_NTH)
 *   FAIL_ERRNO    what they fail with, as a number
 *   FAIL_REPORT   a file of struct fail_report, which is made, mapped and written while the process runs:
 *                 it survives whatever end the process comes to
 *
 * Calls are counted from the start of main on, over all threads. Output
 * to file descriptor 2 always goes through: the message is what the process is judged by. Calls inside the C
 * library (of fopen to open, of getaddrinfo to socket) cannot be seen from here; fopen and opendir count as
 * open, getaddrinfo is of a kind of its own.
 */
#ifndef FAIL_FAIL_H
#define FAIL_FAIL_H

#include <stdbool.h>
#include <stdint.h>

#define FAIL_KINDS(X)                                                                              \
	X(ALLOC, "alloc")           /* malloc, calloc, realloc, posix_memalign, aligned_alloc */   \
	X(MAP, "map")               /* mmap of files and memory, by others than malloc */          \
	X(OPEN, "open")             /* files and folders */                                        \
	X(READ, "read")             /* files: read, pread, readv, readdir */                       \
	X(WRITE, "write")           /* files: write, pwrite, writev, fwrite, fflush, fclose */     \
	X(SYNC, "sync")             /* fsync, fdatasync, msync */                                  \
	X(TRUNCATE, "truncate")     /* ftruncate */                                                \
	X(ALLOCATE, "allocate")     /* posix_fallocate */                                          \
	X(RENAME, "rename")         /* rename, link */                                             \
	X(UNLINK, "unlink")         /* unlink, rmdir */                                            \
	X(MKDIR, "mkdir")           /* */                                                          \
	X(STAT, "stat")             /* stat, fstat, fstatat, statx, access, statvfs */             \
	X(LOCK, "lock")             /* flock, fcntl that locks */                                  \
	X(AIO_SETUP, "aio-setup")   /* io_setup */                                                 \
	X(AIO_SUBMIT, "aio-submit") /* io_submit */                                                \
	X(AIO_RESULT, "aio-result") /* what io_getevents says of a write of the log */             \
	X(SOCKET, "socket")         /* socket, socketpair */                                       \
	X(BIND, "bind")             /* bind, listen */                                             \
	X(ACCEPT, "accept")         /* */                                                          \
	X(CONNECT, "connect")       /* */                                                          \
	X(OPTION, "option")         /* setsockopt, getsockopt, getsockname, getpeername */         \
	X(SEND, "send")             /* sockets: write, writev, send, sendmsg */                    \
	X(RECEIVE, "receive")       /* sockets: read, readv, recv, recvmsg */                      \
	X(RESOLVE, "resolve")       /* getaddrinfo */                                              \
	X(EPOLL_CREATE, "epoll-create") /* */                                                      \
	X(EPOLL_CTL, "epoll-ctl")       /* */                                                      \
	X(WAIT, "wait")                 /* epoll_wait, poll, io_getevents */                       \
	X(PIPE, "pipe")                 /* pipe, eventfd */                                        \
	X(THREAD, "thread")             /* pthread_create */

enum fail_kind {
#define X(name, text) FAIL_##name,
	FAIL_KINDS(X)
#undef X
		FAIL_KIND_COUNT
};

#define FAIL_TEXT_BYTES 3072

/* Little-endian, as it is in memory. */
struct fail_report {
	uint64_t struck;                 /* so many calls failed */
	uint64_t calls[FAIL_KIND_COUNT]; /* so far: of the kind asked for, or of all */
	/* Of the first one: its name, a tab, the file or what else it was about, a newline; then the
	 * frames that it came from, the innermost first, each as module, '+' and the offset in hexadecimal. */
	char text[FAIL_TEXT_BYTES];
};

/* Whether this call is to fail; errno is set then. `name` is the function, `path` or fd what it is about. */
bool fail_call(enum fail_kind kind, const char *name, const char *path, int fd);
/* The same for a call that is told about sockets and files alike: of the kind that fd is of. */
bool fail_transfer(enum fail_kind of_file, enum fail_kind of_socket, const char *name, int fd);
/* The function of the C library with this name. */
void *fail_next(const char *name);

/* `next`: the function of that name in the C library, looked up once. */
#define FAIL_NEXT(name)                                                                            \
	static __typeof__(&name) next;                                                             \
	if (next == NULL) {                                                                        \
		void *looked_up = fail_next(#name);                                                \
		memcpy(&next, &looked_up, sizeof next);                                            \
	}

#endif
