/*
 * The ordered key-value store under the tables: LMDB (kv_lmdb.c), or memory (kv_memory.c, for the
 * simulator and for tests). One writer at a time, any number of readers, snapshot isolation: a read
 * transaction sees what was committed before it began, and nothing later. A commit is atomic, and
 * durable when it returns.
 *
 * Keys are 1 to KV_KEY_BYTES_MAX bytes and compare as bytes (memcmp, shorter first); numbers are
 * stored big-endian in keys so that they sort. Values may be empty.
 *
 * Threads: any. A transaction and its cursors belong to one thread at a time.
 * Errors: negative errno with a message; -ENOENT (nothing there) comes without one. -EIO, -ENOSPC:
 * the disk; -EBADMSG: the files are damaged; -ENOBUFS (put, delete, commit): the map is full: abort, kv_grow,
 * and do the whole transaction again; -EUSERS: too many readers.
 */
#ifndef STORAGE_KV_H
#define STORAGE_KV_H

#include "base/error.h"
#include "base/limits.h"
#include "base/span.h"

#include <stdint.h>

#define KV_KEY_BYTES_MAX 500
/* Changed pages (large values apart) that a write transaction keeps in memory at most: beyond it LMDB writes
 * some out. */
#define KV_DIRTY_BYTES (512 * MIB)

/* What is in them: storage/tables.h. The order is part of no format: tables are found by name. */
#define KV_TABLE(X)                                                                                \
	X(META, "meta")                                                                            \
	X(BLOCK, "block")                                                                          \
	X(TIME, "time")                                                                            \
	X(EVENT_ID, "event_id")                                                                    \
	X(STREAM, "stream")                                                                        \
	X(STREAM_RECORD, "stream_record")                                                          \
	X(CATEGORY, "category")                                                                    \
	X(CATEGORY_RECORD, "category_record")                                                      \
	X(TYPE, "type")                                                                            \
	X(TYPE_RECORD, "type_record")                                                              \
	X(TAG, "tag")                                                                              \
	X(TAG_RECORD, "tag_record")

enum kv_table {
#define X(name, text) KV_##name,
	KV_TABLE(X)
#undef X
		KV_TABLE_COUNT
};

const char *kv_table_name(enum kv_table table);

enum kv_begin {
	KV_READ,
	KV_READ_TRY, /* -EAGAIN instead of waiting while the map grows: for callers that hold a lock */
	KV_WRITE,    /* waits for the writer before it */
};

enum kv_seek {
	KV_FIRST,
	KV_LAST,
	KV_NEXT,     /* from where the cursor stands */
	KV_PREVIOUS, /* the same */
	KV_AT_LEAST, /* the first key ≥ the one given */
	KV_AT_MOST,  /* the last key ≤ the one given */
};

struct kv;
struct kv_txn;
struct kv_cursor;

struct kv_pair {
	struct span key, value;
};

/* What is at a key, or where it would be. A pair whose key is empty: there is none. */
struct kv_around {
	struct kv_pair before; /* not looked for when the key is there */
	struct kv_pair after;  /* at the key, or the next one */
};

struct kv_operations {
	void (*close)(struct kv *kv);
	int (*grow)(struct kv *kv, struct error *error);
	int (*begin)(struct kv *kv, enum kv_begin how, struct kv_txn **txn, struct error *error);
	int (*commit)(struct kv_txn *txn, struct error *error);
	void (*abort)(struct kv_txn *txn);
	int (*get)(struct kv_txn *txn, enum kv_table table, struct span key, struct span *value,
		   struct error *error);
	int (*around)(struct kv_txn *txn, enum kv_table table, struct span key,
		      struct kv_around *around, struct error *error);
	int (*put)(struct kv_txn *txn, enum kv_table table, struct span key, struct span value,
		   bool append, struct error *error);
	int (*delete)(struct kv_txn *txn, enum kv_table table, struct span key,
		      struct error *error);
	int (*cursor_open)(struct kv_txn *txn, enum kv_table table, struct kv_cursor **cursor,
			   struct error *error);
	int (*cursor_seek)(struct kv_cursor *cursor, enum kv_seek how, struct span key,
			   struct kv_pair *pair, struct error *error);
	void (*cursor_close)(struct kv_cursor *cursor);
};

/* First member of every implementation's struct. */
struct kv {
	const struct kv_operations *operations;
	const char *name; /* for messages: the directory */
};

struct kv_txn {
	struct kv *kv;
	bool write;
};

struct kv_cursor {
	struct kv_txn *txn;
};

/* ---- the two implementations ---- */

struct kv_lmdb_options {
	const char *path;   /* a directory */
	bool create;        /* make what is missing, durably; else -ENOENT */
	bool read_only;     /* no write transactions; works beside a running node */
	uint64_t map_bytes; /* first try for the size of the map; 0: LIMIT_MAP_BYTES */
};
int kv_lmdb_open(struct kv **kv, const struct kv_lmdb_options *options, struct error *error);

/* What a memory kv keeps: it outlives the kv as a disk outlives a process. */
struct kv_memory_disk;
struct kv_memory_disk *kv_memory_disk_new(void);
void kv_memory_disk_free(struct kv_memory_disk *disk); /* after every kv on it is closed */
struct kv *kv_memory_open(struct kv_memory_disk *disk);
/* The `commits`-th commit from now on (1: the next) fails with -EIO and leaves nothing; 0: never. */
void kv_memory_disk_fail(struct kv_memory_disk *disk, uint64_t commits);
/* While it is full, each commit fails with -ENOSPC and leaves nothing. */
void kv_memory_disk_fill(struct kv_memory_disk *disk, bool full);
/* No commit fails any more. */
void kv_memory_disk_calm(struct kv_memory_disk *disk);
/* One bit of a key or a value flips; which one follows from the number. No transaction is open. The table that
 * has it; KV_TABLE_COUNT: all are empty. */
enum kv_table kv_memory_disk_flip(struct kv_memory_disk *disk, uint64_t number);

/* ---- doors ---- */

/* No transaction may be open. Frees the kv. */
static inline void kv_close(struct kv *kv)
{
	kv->operations->close(kv);
}

/* Make the map larger; waits until no transaction is open (the caller has none). */
static inline int kv_grow(struct kv *kv, struct error *error)
{
	return kv->operations->grow(kv, error);
}

static inline int kv_begin(struct kv *kv, enum kv_begin how, struct kv_txn **txn,
			   struct error *error)
{
	return kv->operations->begin(kv, how, txn, error);
}

/* Ends the write transaction, also when it fails: then nothing of it is there. */
static inline int kv_commit(struct kv_txn *txn, struct error *error)
{
	return txn->kv->operations->commit(txn, error);
}

/* Ends a transaction of either kind. Its cursors are closed before. */
static inline void kv_abort(struct kv_txn *txn)
{
	txn->kv->operations->abort(txn);
}

/*
 * What `write` does, in a transaction of its own that is committed. When the map is full, it is made
 * larger, and `write` is called again from the beginning.
 */
int kv_write(struct kv *kv, int (*write)(struct kv_txn *txn, void *arg, struct error *error),
	     void *arg, struct error *error);

/* The value is valid until the transaction ends or, in a write transaction, until the next put or
 * delete. */
static inline int kv_get(struct kv_txn *txn, enum kv_table table, struct span key,
			 struct span *value, struct error *error)
{
	return txn->kv->operations->get(txn, table, key, value, error);
}

/* One descent, whether the key is there or not. Of what the transaction itself has put, neighbours may be
 * left out; a key is not. The pairs are valid as long as the value of kv_get. */
static inline int kv_find_around(struct kv_txn *txn, enum kv_table table, struct span key,
				 struct kv_around *around, struct error *error)
{
	return txn->kv->operations->around(txn, table, key, around, error);
}

/* Insert or replace. append: the key is above every key of the table (quicker; else -EINVAL). */
static inline int kv_put(struct kv_txn *txn, enum kv_table table, struct span key,
			 struct span value, bool append, struct error *error)
{
	return txn->kv->operations->put(txn, table, key, value, append, error);
}

/* -ENOENT when there is no such key. */
static inline int kv_delete(struct kv_txn *txn, enum kv_table table, struct span key,
			    struct error *error)
{
	return txn->kv->operations->delete (txn, table, key, error);
}

/* Read transactions only. */
static inline int kv_cursor_open(struct kv_txn *txn, enum kv_table table, struct kv_cursor **cursor,
				 struct error *error)
{
	return txn->kv->operations->cursor_open(txn, table, cursor, error);
}

/* The key is looked at by KV_AT_LEAST and KV_AT_MOST only. -ENOENT leaves the place undefined. */
static inline int kv_cursor_seek(struct kv_cursor *cursor, enum kv_seek how, struct span key,
				 struct kv_pair *pair, struct error *error)
{
	return cursor->txn->kv->operations->cursor_seek(cursor, how, key, pair, error);
}

static inline void kv_cursor_close(struct kv_cursor *cursor)
{
	cursor->txn->kv->operations->cursor_close(cursor);
}

#endif
