/*
 * A library for LD_PRELOAD that stands between a node and the C library, for the fault suite: it makes the
 * disk fail, fill up, or answer late, shifts clocks, leads connections through a proxy, and keeps a journal of
 * what a power cut would take away. Without a command it passes everything on.
 *
 *   FAULT_CONTROL   a file of 512 bytes that is mapped: u64 slots, little-endian, see enum slot. The suite
 *                   writes orders there while the node runs, the library counts there what it did
 *   FAULT_FOLDER    only files below it are touched (no trailing slash)
 *   FAULT_JOURNAL   where to keep the journal; without it none is kept
 *   FAULT_ROUTES    FROM:TO,…: a connection to port FROM of 127.0.0.1 goes to port TO
 *
 * The journal tells of every change below the folder what was there before, and of every sync which changes
 * it made durable; the suite undoes the rest when the process is dead. Records are 64 bytes of u64:
 *
 *   kind, sequence, inode, offset, old bytes that follow, size of the file before, refers to, path bytes
 *
 * (a write refers to nothing: there it is the number of bytes written),
 *
 * then the path, then the old bytes (of a rename: the new path; what a rename or an unlink takes
 * away keeps a second name, JOURNAL.SEQUENCE).
 *
 *   kind 1 write   2 written durably (refers to the sequence of the write; the size, too, is durable)
 *   kind 3 sync of a file: what began before the sequence referred to is durable
 *   kind 4 new size   5 created   6 renamed   7 unlinked
 *   kind 8 sync of a folder: the entries in it, likewise
 *
 * A file of at most JOURNAL_COPY_MAX bytes is copied at each sync, as JOURNAL.inode-NUMBER: it may be written
 * through a mapping, too, which nobody can watch.
 */
#ifndef FAULTS_INTERPOSE_H
#define FAULTS_INTERPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum slot {
	/* orders */
	SLOT_FAIL_ERRNO,     /* 0: nothing fails */
	SLOT_FAIL_KINDS,     /* bits of enum kind */
	SLOT_FAIL_AFTER,     /* so many calls of these kinds are let through first */
	SLOT_DELAY_US,       /* before each write and each sync */
	SLOT_FREE_BYTES,     /* what statvfs says, plus one; 0: the truth */
	SLOT_REALTIME_NS,    /* i64: added to CLOCK_REALTIME */
	SLOT_CLOCK_SEQUENCE, /* odd while the next three change */
	SLOT_CLOCK_RATE_PPM, /* i64: CLOCK_MONOTONIC runs faster by so much, */
	SLOT_CLOCK_REAL_NS,  /* from this moment on, */
	SLOT_CLOCK_SHOWN_NS, /* which is shown as this one; 0: the truth */
	/* counts */
	SLOT_FAILED = 32, /* for each kind: 32, 33, 34, 35 */
	SLOT_DELAYED = 36,
	SLOT_FREE_ASKED,
	SLOT_REALTIME_ASKED,
	SLOT_MONOTONIC_ASKED,
	SLOT_REROUTED,
	SLOT_WRITES,
	SLOT_SYNCS,
	SLOT_LOG_WRITES,
	SLOT_EXIT, /* exit code, plus one; 0: it runs, or was ended by a signal */
	SLOT_COUNT = 64,
};

enum kind {
	KIND_WRITE = 1,    /* write, pwrite, writev */
	KIND_LOG = 2,      /* io_submit: the raft log */
	KIND_SYNC = 4,     /* fsync, fdatasync, msync */
	KIND_ALLOCATE = 8, /* posix_fallocate, and ftruncate to more */
};

#define JOURNAL_COPY_MAX   65536
#define INTERPOSE_PATH_MAX 4096

/* ---- interpose.c ---- */

uint64_t interpose_get(enum slot slot);
void interpose_count(enum slot slot);
/* The function of the C library that has this name. */
void *interpose_next(const char *name);
/* The path of an open file; false: it is not below the folder. */
bool interpose_path(int fd, char path[INTERPOSE_PATH_MAX]);
bool interpose_is_below(const char *path);

/* ---- journal.c: does nothing when no journal is kept; errno stays ---- */

bool journal_is_kept(void);
void journal_open(const char *path);
/* Before a write: its sequence, 0 when none is noted. */
uint64_t journal_write(int fd, const char *path, uint64_t offset, uint64_t size);
/* A write to a file that is written durably has ended. */
void journal_written(uint64_t sequence);
void journal_resize(int fd, const char *path, uint64_t size);
void journal_created(const char *path);
void journal_rename(const char *from, const char *to);
void journal_unlink(const char *path);
/* Around a sync: what it covers, and that it succeeded. */
uint64_t journal_now(void);
void journal_synced(int fd, const char *path, uint64_t covered);

#endif
