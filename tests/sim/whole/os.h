/*
 * A simulated operating system, for whole programs: threads, clocks, sockets, files and chance, all in one
 * thread of one process and decided by one seed.
 *
 * The programs are not changed. What they call of the C library (pthread_*, clock_gettime, epoll, sockets,
 * files, io_submit, getrandom, …) is defined here under the same names, so that the linker gives them, and
 * libuv and libraft with them, these functions instead of the library's. Outside of a simulated process
 * the same functions do what the library does.
 *
 *   os_fiber.c    fibers, the scheduler, virtual time, events, chance, the trace hash
 *   os_thread.c   pthread_*, sem_*: mutexes, conditions, threads
 *   os_call.c     clocks, random numbers, exit; descriptors: read, write, close, epoll, poll, eventfd
 *   os_net.c      hosts, links between them, TCP connections
 *   os_socket.c   the calls that make and use sockets
 *   os_disk.c     files that a crash can take back
 *   os_file.c     the calls that open and use files
 *   os_aio.c      syscall: io_submit and its kin, for the raft log
 *   os_uv.c       libuv's pool of threads: one fiber for each piece of work
 *
 * A fiber runs until it waits, or where it takes a lock or calls the system, and the seed says that
 * another one goes first. Virtual time passes between events, and a little with each turn of a fiber.
 */
#ifndef WHOLE_OS_H
#define WHOLE_OS_H

#include "base/assert.h"
#include "base/buffer.h"
#include "base/memory.h"

#include <assert.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define OS_US            UINT64_C(1000) /* time is in nanoseconds */
#define OS_MS            (1000 * OS_US)
#define OS_SECOND        (1000 * OS_MS)
#define OS_NEVER         UINT64_MAX
#define OS_PROCESSES     32   /* nodes and clients; number 0 is nobody's */
#define OS_FIRST_FD      512  /* lower ones are real */
#define OS_FILES         4096 /* descriptors at a time, of all processes */
#define OS_STACK_BYTES   (256 * 1024)
#define OS_MESSAGE_BYTES 400

struct os_disk;
struct os_file;

/* A program on a host of its own: 10.0.0.NUMBER. Outlives what runs in it. */
struct os_process {
	unsigned number;
	char name[16];
	bool runs;       /* its fibers do, unless it is paused */
	bool paused;     /* nothing of it is scheduled; the host's network goes on */
	bool host_down;  /* no power: nothing is answered, not even refused */
	int exit_code;   /* of the last run; -1: it was killed */
	uint32_t starts; /* how often it was started */
	uint64_t started_at;
	int64_t clock_offset_ns; /* of the wall clock */
	int64_t clock_rate_ppm;  /* of both clocks, beyond one; os_clock_set_rate changes it */
	int64_t clock_base_ns;   /* what the monotonic clock showed when the rate was set */
	uint64_t clock_set_at;   /* when that was */
	struct os_disk *disk;    /* NULL: it has none */
	uint64_t log_failed_at;  /* a write by io_submit, since it was started last; 0: never */
};

/* What one seed draws for the machine. Thousandths are chances. */
struct os_profile {
	unsigned preempt;                         /* thousandths: another fiber first, at a call */
	unsigned stall;                           /* hundred-thousandths: a node's waits there */
	uint64_t latency_low_ns, latency_high_ns; /* of a message */
	unsigned late;                      /* thousandths: a message takes ten times as long */
	size_t window_bytes;                /* sent and not yet read, of a connection */
	size_t read_bytes;                  /* most that one read returns */
	uint64_t disk_low_ns, disk_high_ns; /* of a write or a sync */
	unsigned aio_again;                 /* thousandths: the kernel refuses to write at once */
};

/* What happened, for the faults that must have struck. */
struct os_counters {
	uint64_t switches, events, messages;
	uint64_t held_messages;    /* by a partition */
	uint64_t delayed_messages; /* by a slow link */
	uint64_t resets;           /* connections that broke */
	uint64_t stalls;           /* of threads, for milliseconds */
	uint64_t slow_writes;      /* by a slow disk */
	uint64_t failed_writes;    /* by a failing disk */
	uint64_t refused_writes;   /* by a full disk */
	uint64_t lost_writes;      /* by a crash: what was not synced */
	uint64_t torn_writes;      /* by a crash: in part */
	uint64_t lost_names;       /* made, renamed or removed, and taken back by a crash */
};

struct os {
	uint64_t now;
	uint64_t random;
	uint64_t trace_hash;
	bool tracing;
	bool violated;
	char message[OS_MESSAGE_BYTES]; /* the first violation */
	struct os_profile profile;
	struct os_counters counters;
	struct os_process processes[OS_PROCESSES];
};

extern struct os os;

/* ---- os_fiber.c: once, before anything else; then the run ---- */

void os_begin(uint64_t seed, bool tracing);
/* Run fibers and events until that time, or a violation. */
void os_run_until(uint64_t time);
void os_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
void os_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Into the hash over all that happens. */
void os_record(uint64_t fact);

uint64_t os_random(void);
uint64_t os_between(uint64_t low, uint64_t high);
bool os_chance(unsigned thousandths);

/* `run(data)` at that time, outside of any process. */
void os_at(uint64_t time, void (*run)(void *data), void *data);

/* ---- fibers ---- */

struct os_fiber;

/* A fiber of that process; it begins to run at the next turn. */
struct os_fiber *os_fiber_new(struct os_process *process, void *(*run)(void *arg), void *arg);
bool os_fiber_is_first(const struct os_fiber *fiber); /* that its process began with */
void os_fiber_name(struct os_fiber *fiber, const char *name);
/* Wait for the end of a fiber; frees it. Within a fiber. */
void *os_fiber_join(struct os_fiber *fiber);
void os_fiber_detach(struct os_fiber *fiber);
struct os_fiber *os_fiber_current(void);                /* NULL: outside */
struct os_process *os_current(void);                    /* NULL: outside */
uint64_t os_fiber_number(const struct os_fiber *fiber); /* 0: it is gone */

/* The fiber waits until somebody wakes the key. False: the deadline came first. */
bool os_wait(const void *key, uint64_t deadline);
void os_wake_one(const void *key);
void os_wake_all(const void *key);
void os_sleep(uint64_t ns);
void os_yield(void);   /* others first */
void os_preempt(void); /* others first, when the seed says so */

/* ---- processes ---- */

void os_process_start(struct os_process *process, void *(*run)(void *arg), void *arg);
/* All its fibers are gone; what it had open is closed by the system. */
void os_process_end(struct os_process *process, int exit_code);
/* As end, without a word to anybody, and what the disk had not synced is lost. */
void os_process_power_cut(struct os_process *process);
/* From within: never returns. */
_Noreturn void os_process_exit(int exit_code);
unsigned os_process_fibers(const struct os_process *process);
unsigned os_process_files(const struct os_process *process); /* that are open */

/* ---- clocks ---- */

int64_t os_monotonic_ns(const struct os_process *process);
void os_clock_set_rate(struct os_process *process, int64_t ppm);
/* When the process's monotonic clock will show that. */
uint64_t os_time_of(const struct os_process *process, int64_t monotonic_ns);

/* ---- descriptors ---- */

enum os_file_kind {
	OS_FILE_FREE,
	OS_FILE_SOCKET, /* not connected */
	OS_FILE_LISTENER,
	OS_FILE_STREAM,
	OS_FILE_EVENT,
	OS_FILE_PIPE_IN, /* never anything to read: signals are not simulated */
	OS_FILE_PIPE_OUT,
	OS_FILE_EPOLL,
	OS_FILE_DISK,
};

struct os_epoll;
struct os_stream;
struct os_listener;
struct os_inode;

struct os_file {
	enum os_file_kind kind;
	struct os_process *process;
	int flags;        /* O_NONBLOCK, O_DSYNC, … */
	uint64_t counter; /* EVENT */
	uint64_t at;      /* DISK: where to read or write next */
	uint16_t port;    /* SOCKET, LISTENER: bound to */
	bool locked;      /* DISK: by flock */
	struct os_epoll *epoll;
	struct os_stream *stream;
	struct os_listener *listener;
	struct os_inode *inode;
	char *path; /* DISK */
};

/* The file of a simulated descriptor, or NULL. */
struct os_file *os_file(int fd);
int os_file_new(enum os_file_kind kind, int flags); /* -1: too many */
void os_file_close(int fd);
/* What can be done with it now: POLLIN, POLLOUT, POLLERR, POLLHUP. */
unsigned os_file_ready(const struct os_file *file);
/* Something can be done that could not before. */
void os_io_changed(struct os_process *process);

/* ---- os_net.c ---- */

/* The link from one host to another, in this direction. */
void os_link_cut(unsigned from, unsigned to, bool cut);
void os_link_delay(unsigned from, unsigned to, uint64_t ns); /* more, for each message */
void os_links_heal(void);
/* Break the connections between two hosts; how many there were. */
unsigned os_connections_reset(unsigned a, unsigned b);
void os_net_process_ended(struct os_process *process, bool silently);

unsigned os_stream_ready(const struct os_stream *stream);
unsigned os_listener_ready(const struct os_listener *listener);
void os_stream_close(struct os_stream *stream);
void os_listener_close(struct os_listener *listener);
struct os_listener *os_listener_new(struct os_process *process, uint16_t port); /* NULL: in use */
bool os_port_in_use(const struct os_process *process, uint16_t port);
struct os_stream *os_listener_accept(struct os_listener *listener); /* NULL: none waits */
struct os_stream *os_stream_connect(struct os_process *process, unsigned host, uint16_t port);
/* Bytes taken or got; 0: the end; -errno. */
ssize_t os_stream_send(struct os_stream *stream, const struct iovec *parts, int count);
ssize_t os_stream_receive(struct os_stream *stream, void *into, size_t size);
void os_stream_shutdown(struct os_stream *stream);
int os_stream_take_error(struct os_stream *stream);
/* Host and port of the own (mine) or the other end. */
void os_stream_address(const struct os_stream *stream, bool mine, unsigned *host, uint16_t *port);

/* ---- os_disk.c ---- */

struct os_disk *os_disk_new(void);
/* Everything is gone, as with a new disk. */
void os_disk_wipe(struct os_disk *disk);
/* Each write and sync takes so much longer; 0: no longer. */
void os_disk_slow(struct os_disk *disk, uint64_t ns);
/* The next write or sync fails with EIO, or does not any more. */
void os_disk_fail(struct os_disk *disk, bool fails);
/* What needs room fails with ENOSPC. */
void os_disk_fill(struct os_disk *disk, bool full);
bool os_disk_is_full(const struct os_disk *disk);
/* 0, or the errno of a write or sync that is made now. */
int os_disk_problem(struct os_disk *disk, bool needs_room);
/* What was not synced is lost, or kept in part. */
void os_disk_power_cut(struct os_disk *disk);
void os_disk_release_locks(struct os_disk *disk);

struct os_inode *os_disk_find(struct os_disk *disk, const char *path); /* NULL: not there */
struct os_inode *os_disk_make(struct os_disk *disk, const char *path, bool directory);
bool os_disk_remove(struct os_disk *disk, const char *path);
bool os_disk_rename(struct os_disk *disk, const char *from, const char *to);
/* The name of entry `*cursor` or a later one directly in that directory; NULL: no more. */
const char *os_disk_list(struct os_disk *disk, const char *directory, unsigned *cursor);
void os_disk_sync_names(struct os_disk *disk);
void os_disk_delay(struct os_disk *disk); /* as long as a write or sync takes; within a fiber */
uint64_t os_disk_draw_delay(struct os_disk *disk);

bool os_inode_is_directory(const struct os_inode *inode);
size_t os_inode_size(const struct os_inode *inode);
size_t os_inode_read(const struct os_inode *inode, uint64_t at, void *into, size_t size);
void os_inode_write(struct os_inode *inode, uint64_t at, const void *bytes, size_t size);
void os_inode_truncate(struct os_inode *inode, uint64_t size);
void os_inode_sync(struct os_inode *inode);
/* A part of the file as memory, one at a time; what is written there is in the file when that is synced,
 * or the process ends. */
void *os_inode_map(struct os_inode *inode, uint64_t at, size_t size);
bool os_disk_unmap(struct os_disk *disk, const void *mapped); /* NULL: all. False: not ours */
bool os_inode_lock(struct os_inode *inode);                   /* false: it is */
void os_inode_unlock(struct os_inode *inode);
void os_inode_opened(struct os_inode *inode);
void os_inode_closed(struct os_inode *inode);
/* A write that is under way: a power cut keeps parts of it. */
struct os_write;
struct os_write *os_write_begin(struct os_disk *disk, struct os_inode *inode, uint64_t at,
				const struct iovec *parts, int count);
size_t os_write_end(struct os_write *write); /* done, and on disk: its bytes. Frees it. */

/* ---- os_call.c: the C library's own, for what is not simulated ---- */

long os_real(long number, ...);
void os_aio_process_ended(struct os_process *process);

#endif
