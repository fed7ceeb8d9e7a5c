/*
 * The kv contract over LMDB; the only place that knows lmdb.h.
 *
 * The map is one large reservation of addresses over a sparse file. Where so much cannot be
 * reserved it begins smaller and kv_grow doubles it: growing waits until the last transaction is
 * over and holds new ones back meanwhile. Nobody may therefore wait for a lock that the holder of a
 * transaction of this kv could need while it waits for a transaction; KV_READ_TRY is for those who
 * would.
 *
 * Ended read transactions are kept and renewed, which saves an allocation and a reader's slot each.
 */
#include "storage/kv.h"

#include "base/assert.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define READERS_MAX     512
#define SPARE_MAX       32
#define MAP_BYTES_MIN   (64 * MIB)
#define DISK_FULL_BYTES (1 * MIB)
#define PATH_BYTES      4096
#define FILE_MODE       0600
#define DIRECTORY_MODE  0700

struct lmdb_txn {
	struct kv_txn base;
	MDB_txn *mdb;
	MDB_cursor *cursors[KV_TABLE_COUNT]; /* of a write transaction: opened at first use */
};

struct lmdb_kv {
	struct kv base;
	MDB_env *env;
	MDB_dbi tables[KV_TABLE_COUNT];
	char *path;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	bool growing;
	uint32_t open; /* transactions */
	uint32_t spare_count;
	struct lmdb_txn *spare[SPARE_MAX]; /* reset read transactions */
};

struct lmdb_cursor {
	struct kv_cursor base;
	MDB_cursor *mdb;
};

static struct lmdb_kv *lmdb_of(struct kv *kv)
{
	return (struct lmdb_kv *)kv;
}

static MDB_val to_val(struct span span)
{
	MDB_val val = {.mv_size = span.size};

	/* LMDB takes keys and values to read by a pointer without const. */
	memcpy(&val.mv_data, &span.data, sizeof val.mv_data);
	return val;
}

static struct span to_span(const MDB_val *val)
{
	return span_of(val->mv_data, val->mv_size);
}

/* Translate what LMDB returned; never called with 0 or MDB_NOTFOUND. */
static int failed(const struct lmdb_kv *kv, int rc, const char *what, struct error *error)
{
	int code = -EIO;

	if (rc > 0)
		code = -rc;
	else if (rc == MDB_MAP_FULL)
		code = -ENOBUFS;
	else if (rc == MDB_READERS_FULL)
		code = -EUSERS;
	else if (rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID ||
		 rc == MDB_VERSION_MISMATCH || rc == MDB_INCOMPATIBLE)
		code = -EBADMSG;
	return error_set(error, code, "%s/data.mdb: %s: %s", kv->path, what, mdb_strerror(rc));
}

/* ---- begin and end ---- */

static int enter(struct lmdb_kv *kv, bool wait, struct error *error)
{
	pthread_mutex_lock(&kv->lock);
	while (kv->growing && wait)
		pthread_cond_wait(&kv->changed, &kv->lock);
	bool entered = !kv->growing;
	if (entered)
		kv->open++;
	pthread_mutex_unlock(&kv->lock);
	if (!entered)
		return error_set(error, -EAGAIN, "%s: the map is being grown", kv->path);
	return 0;
}

static void leave(struct lmdb_kv *kv)
{
	pthread_mutex_lock(&kv->lock);
	ASSERT(kv->open > 0);
	kv->open--;
	if (kv->growing)
		pthread_cond_broadcast(&kv->changed);
	pthread_mutex_unlock(&kv->lock);
}

static struct lmdb_txn *take_spare(struct lmdb_kv *kv)
{
	pthread_mutex_lock(&kv->lock);
	struct lmdb_txn *txn = kv->spare_count > 0 ? kv->spare[--kv->spare_count] : NULL;
	pthread_mutex_unlock(&kv->lock);
	return txn;
}

static bool give_spare(struct lmdb_kv *kv, struct lmdb_txn *txn)
{
	pthread_mutex_lock(&kv->lock);
	bool kept = kv->spare_count < SPARE_MAX;
	if (kept)
		kv->spare[kv->spare_count++] = txn;
	pthread_mutex_unlock(&kv->lock);
	return kept;
}

static int begin_read(struct lmdb_kv *kv, struct lmdb_txn **result)
{
	struct lmdb_txn *txn = take_spare(kv);
	int rc;

	if (txn != NULL) {
		rc = mdb_txn_renew(txn->mdb);
	} else {
		txn = memory_zeroed(1, sizeof *txn);
		txn->base.kv = &kv->base;
		rc = mdb_txn_begin(kv->env, NULL, MDB_RDONLY, &txn->mdb);
	}
	if (rc != 0) {
		mdb_txn_abort(txn->mdb);
		memory_free(txn);
		return rc;
	}
	*result = txn;
	return 0;
}

static int begin_write(struct lmdb_kv *kv, struct lmdb_txn **result)
{
	struct lmdb_txn *txn = memory_zeroed(1, sizeof *txn);

	txn->base = (struct kv_txn){.kv = &kv->base, .write = true};
	int rc = mdb_txn_begin(kv->env, NULL, 0, &txn->mdb);
	if (rc != 0) {
		memory_free(txn);
		return rc;
	}
	*result = txn;
	return 0;
}

static int lmdb_begin(struct kv *base, enum kv_begin how, struct kv_txn **result,
		      struct error *error)
{
	struct lmdb_kv *kv = lmdb_of(base);
	struct lmdb_txn *txn;
	int rc = enter(kv, how != KV_READ_TRY, error);

	if (rc != 0)
		return rc;
	rc = how == KV_WRITE ? begin_write(kv, &txn) : begin_read(kv, &txn);
	if (rc != 0) {
		leave(kv);
		return failed(kv, rc, "begin a transaction", error);
	}
	*result = &txn->base;
	return 0;
}

static void close_cursors(struct lmdb_txn *txn)
{
	for (int table = 0; table < KV_TABLE_COUNT; table++)
		if (txn->cursors[table] != NULL)
			mdb_cursor_close(txn->cursors[table]);
}

static void lmdb_abort(struct kv_txn *base)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	struct lmdb_kv *kv = lmdb_of(base->kv);

	if (base->write) {
		close_cursors(txn);
		mdb_txn_abort(txn->mdb);
		memory_free(txn);
	} else {
		mdb_txn_reset(txn->mdb);
		if (!give_spare(kv, txn)) {
			mdb_txn_abort(txn->mdb);
			memory_free(txn);
		}
	}
	leave(kv);
}

/* A write that the disk takes only a part of, since it is full, is EIO to LMDB. */
static bool is_disk_full(const struct lmdb_kv *kv)
{
	struct statvfs status;

	return statvfs(kv->path, &status) == 0 &&
	       (uint64_t)status.f_bavail * status.f_frsize < DISK_FULL_BYTES;
}

static int lmdb_commit(struct kv_txn *base, struct error *error)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	struct lmdb_kv *kv = lmdb_of(base->kv);

	ASSERT(base->write);
	close_cursors(txn);
	int rc = mdb_txn_commit(txn->mdb);
	memory_free(txn);
	leave(kv);
	if (rc == EIO && is_disk_full(kv))
		rc = ENOSPC;
	return rc == 0 ? 0 : failed(kv, rc, "commit", error);
}

/* ---- values ---- */

/* A write transaction works through one cursor for each table: sorted keys mostly stay in its page.
 */
static int write_cursor(struct lmdb_txn *txn, enum kv_table table, MDB_cursor **cursor)
{
	int rc = 0;

	if (txn->cursors[table] == NULL)
		rc = mdb_cursor_open(txn->mdb, lmdb_of(txn->base.kv)->tables[table],
				     &txn->cursors[table]);
	*cursor = txn->cursors[table];
	return rc;
}

static int lmdb_get(struct kv_txn *base, enum kv_table table, struct span key, struct span *value,
		    struct error *error)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	MDB_val mdb_key = to_val(key), mdb_value;
	int rc;

	ASSERT(key.size >= 1 && key.size <= KV_KEY_BYTES_MAX);
	if (base->write) {
		MDB_cursor *cursor;

		rc = write_cursor(txn, table, &cursor);
		if (rc == 0)
			rc = mdb_cursor_get(cursor, &mdb_key, &mdb_value, MDB_SET_KEY);
	} else {
		rc = mdb_get(txn->mdb, lmdb_of(base->kv)->tables[table], &mdb_key, &mdb_value);
	}
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return failed(lmdb_of(base->kv), rc, "get", error);
	*value = to_span(&mdb_value);
	return 0;
}

static int lmdb_put(struct kv_txn *base, enum kv_table table, struct span key, struct span value,
		    bool append, struct error *error)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	MDB_val mdb_key = to_val(key), mdb_value = to_val(value);
	MDB_cursor *cursor;

	ASSERT(base->write && key.size >= 1 && key.size <= KV_KEY_BYTES_MAX);
	int rc = write_cursor(txn, table, &cursor);
	if (rc == 0)
		rc = mdb_cursor_put(cursor, &mdb_key, &mdb_value, append ? MDB_APPEND : 0);
	if (rc == MDB_KEYEXIST)
		return error_set(error, -EINVAL, "append to table %s: the key is not the last",
				 kv_table_name(table));
	return rc == 0 ? 0 : failed(lmdb_of(base->kv), rc, "put", error);
}

static int lmdb_delete(struct kv_txn *base, enum kv_table table, struct span key,
		       struct error *error)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	MDB_val mdb_key = to_val(key), mdb_value;
	MDB_cursor *cursor;

	ASSERT(base->write && key.size >= 1 && key.size <= KV_KEY_BYTES_MAX);
	int rc = write_cursor(txn, table, &cursor);
	if (rc == 0)
		rc = mdb_cursor_get(cursor, &mdb_key, &mdb_value, MDB_SET_KEY);
	if (rc == 0)
		rc = mdb_cursor_del(cursor, 0);
	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	return rc == 0 ? 0 : failed(lmdb_of(base->kv), rc, "delete", error);
}

static int find_around(MDB_cursor *cursor, struct span wanted, struct kv_around *around)
{
	MDB_val key = to_val(wanted), value;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);

	if (rc == 0) {
		around->after = (struct kv_pair){.key = to_span(&key), .value = to_span(&value)};
		if (span_equal(around->after.key, wanted))
			return 0;
	} else if (rc != MDB_NOTFOUND) {
		return rc;
	}
	rc = mdb_cursor_get(cursor, &key, &value, rc == 0 ? MDB_PREV : MDB_LAST);
	if (rc == 0)
		around->before = (struct kv_pair){.key = to_span(&key), .value = to_span(&value)};
	return rc == MDB_NOTFOUND ? 0 : rc;
}

static int lmdb_around(struct kv_txn *base, enum kv_table table, struct span key,
		       struct kv_around *around, struct error *error)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	MDB_cursor *cursor = NULL;
	int rc;

	ASSERT(key.size >= 1 && key.size <= KV_KEY_BYTES_MAX);
	*around = (struct kv_around){0};
	if (base->write)
		rc = write_cursor(txn, table, &cursor);
	else
		rc = mdb_cursor_open(txn->mdb, lmdb_of(base->kv)->tables[table], &cursor);
	if (rc == 0)
		rc = find_around(cursor, key, around);
	if (!base->write && cursor != NULL)
		mdb_cursor_close(cursor);
	return rc == 0 ? 0 : failed(lmdb_of(base->kv), rc, "look around a key", error);
}

/* ---- cursors ---- */

static int lmdb_cursor_open(struct kv_txn *base, enum kv_table table, struct kv_cursor **result,
			    struct error *error)
{
	struct lmdb_txn *txn = (struct lmdb_txn *)base;
	struct lmdb_cursor *cursor = memory_zeroed(1, sizeof *cursor);

	ASSERT(!base->write);
	cursor->base.txn = base;
	int rc = mdb_cursor_open(txn->mdb, lmdb_of(base->kv)->tables[table], &cursor->mdb);
	if (rc != 0) {
		memory_free(cursor);
		return failed(lmdb_of(base->kv), rc, "open a cursor", error);
	}
	*result = &cursor->base;
	return 0;
}

static int seek_at_most(struct lmdb_cursor *cursor, struct span wanted, MDB_val *key,
			MDB_val *value)
{
	*key = to_val(wanted);
	int rc = mdb_cursor_get(cursor->mdb, key, value, MDB_SET_RANGE);

	if (rc == MDB_NOTFOUND)
		return mdb_cursor_get(cursor->mdb, key, value, MDB_LAST);
	if (rc != 0 || span_equal(to_span(key), wanted))
		return rc;
	return mdb_cursor_get(cursor->mdb, key, value, MDB_PREV);
}

static int seek(struct lmdb_cursor *cursor, enum kv_seek how, struct span wanted, MDB_val *key,
		MDB_val *value)
{
	ASSERT(how <= KV_AT_MOST);
	switch (how) {
	case KV_FIRST:
		return mdb_cursor_get(cursor->mdb, key, value, MDB_FIRST);
	case KV_LAST:
		return mdb_cursor_get(cursor->mdb, key, value, MDB_LAST);
	case KV_NEXT:
		return mdb_cursor_get(cursor->mdb, key, value, MDB_NEXT);
	case KV_PREVIOUS:
		return mdb_cursor_get(cursor->mdb, key, value, MDB_PREV);
	case KV_AT_LEAST:
		*key = to_val(wanted);
		return mdb_cursor_get(cursor->mdb, key, value, MDB_SET_RANGE);
	case KV_AT_MOST:
		return seek_at_most(cursor, wanted, key, value);
	}
	return MDB_NOTFOUND;
}

static int lmdb_cursor_seek(struct kv_cursor *base, enum kv_seek how, struct span key,
			    struct kv_pair *pair, struct error *error)
{
	MDB_val mdb_key, mdb_value;
	int rc = seek((struct lmdb_cursor *)base, how, key, &mdb_key, &mdb_value);

	if (rc == MDB_NOTFOUND)
		return -ENOENT;
	if (rc != 0)
		return failed(lmdb_of(base->txn->kv), rc, "seek", error);
	*pair = (struct kv_pair){.key = to_span(&mdb_key), .value = to_span(&mdb_value)};
	return 0;
}

static void lmdb_cursor_close(struct kv_cursor *base)
{
	struct lmdb_cursor *cursor = (struct lmdb_cursor *)base;

	mdb_cursor_close(cursor->mdb);
	memory_free(cursor);
}

/* ---- growing ---- */

static int lmdb_grow(struct kv *base, struct error *error)
{
	struct lmdb_kv *kv = lmdb_of(base);
	MDB_envinfo info;

	pthread_mutex_lock(&kv->lock);
	ASSERT(!kv->growing);
	kv->growing = true;
	while (kv->open > 0)
		pthread_cond_wait(&kv->changed, &kv->lock);
	mdb_env_info(kv->env, &info);
	int rc = mdb_env_set_mapsize(kv->env, info.me_mapsize * 2);
	kv->growing = false;
	pthread_cond_broadcast(&kv->changed);
	pthread_mutex_unlock(&kv->lock);
	return rc == 0 ? 0 : failed(kv, rc, "enlarge the map", error);
}

/* ---- open and close ---- */

static void lmdb_close(struct kv *base)
{
	struct lmdb_kv *kv = lmdb_of(base);

	ASSERT(kv->open == 0);
	for (uint32_t i = 0; i < kv->spare_count; i++) {
		mdb_txn_abort(kv->spare[i]->mdb);
		memory_free(kv->spare[i]);
	}
	if (kv->env != NULL)
		mdb_env_close(kv->env);
	pthread_mutex_destroy(&kv->lock);
	pthread_cond_destroy(&kv->changed);
	memory_free(kv->path);
	memory_free(kv);
}

static int sync_parent(const char *path, struct error *error)
{
	char parent[PATH_BYTES];
	int size = snprintf(parent, sizeof parent, "%s/..", path);

	if (size < 0 || (size_t)size >= sizeof parent)
		return error_set(error, -ENAMETOOLONG, "%s: the path is too long", path);
	return file_sync_directory(parent, error);
}

static int make_directory(const struct kv_lmdb_options *options, struct error *error)
{
	struct stat status;

	if (options->create && mkdir(options->path, DIRECTORY_MODE) == 0)
		return sync_parent(options->path, error);
	if (options->create && errno != EEXIST)
		return error_set_errno(error, errno, "create store directory %s", options->path);
	if (stat(options->path, &status) != 0)
		return error_set_errno(error, errno, "store directory %s", options->path);
	if (!S_ISDIR(status.st_mode))
		return error_set(error, -ENOTDIR, "%s is no directory", options->path);
	return 0;
}

static int check_file(const struct kv_lmdb_options *options, struct error *error)
{
	char path[PATH_BYTES];
	struct stat status;

	snprintf(path, sizeof path, "%s/data.mdb", options->path);
	if (stat(path, &status) != 0) {
		if (errno == ENOENT && options->create)
			return 0;
		return error_set_errno(error, errno, "%s", path);
	}
	if (status.st_size == 0 && !options->create)
		return error_set(error, -EBADMSG, "%s is empty: it holds no store", path);
	return 0;
}

/* A page beyond the end of the file would be a SIGBUS at some later read. */
static int check_length(struct lmdb_kv *kv, struct error *error)
{
	MDB_envinfo info;
	MDB_stat stat_main;
	struct stat status;
	mdb_filehandle_t fd;

	mdb_env_info(kv->env, &info);
	mdb_env_stat(kv->env, &stat_main);
	if (mdb_env_get_fd(kv->env, &fd) != 0 || fstat(fd, &status) != 0)
		return error_set_errno(error, errno, "%s/data.mdb", kv->path);
	uint64_t wanted = ((uint64_t)info.me_last_pgno + 1) * stat_main.ms_psize;
	if ((uint64_t)status.st_size >= wanted)
		return 0;
	return error_set(
		error, -EBADMSG,
		"%s/data.mdb has %lld bytes where %llu are needed: it was cut short; remove this "
		"node's data and let it sync again as a new non-voter",
		kv->path, (long long)status.st_size, (unsigned long long)wanted);
}

static int open_env(struct lmdb_kv *kv, const struct kv_lmdb_options *options, uint64_t map_bytes)
{
	unsigned flags = MDB_NOTLS | (options->read_only ? MDB_RDONLY : 0u);
	int rc = mdb_env_create(&kv->env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(kv->env, KV_TABLE_COUNT);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(kv->env, READERS_MAX);
	if (rc == 0)
		rc = mdb_env_set_mapsize(kv->env, map_bytes);
	if (rc == 0)
		rc = mdb_env_open(kv->env, options->path, flags, FILE_MODE);
	if (rc != 0 && kv->env != NULL) {
		mdb_env_close(kv->env);
		kv->env = NULL;
	}
	return rc;
}

/* As large as can be reserved, from what was asked for downwards. */
static int open_largest(struct lmdb_kv *kv, const struct kv_lmdb_options *options,
			struct error *error)
{
	uint64_t map_bytes = options->map_bytes > 0 ? options->map_bytes : LIMIT_MAP_BYTES;
	int rc = open_env(kv, options, map_bytes);

	while ((rc == ENOMEM || rc == EINVAL || rc == EFBIG) && map_bytes / 2 >= MAP_BYTES_MIN) {
		map_bytes /= 2;
		rc = open_env(kv, options, map_bytes);
	}
	return rc == 0 ? 0 : failed(kv, rc, "open", error);
}

static int open_tables(struct lmdb_kv *kv, const struct kv_lmdb_options *options,
		       struct error *error)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(kv->env, NULL, options->read_only ? MDB_RDONLY : 0, &txn);

	if (rc != 0)
		return failed(kv, rc, "begin a transaction", error);
	for (int table = 0; table < KV_TABLE_COUNT; table++) {
		const char *name = kv_table_name((enum kv_table)table);

		rc = mdb_dbi_open(txn, name, options->create ? MDB_CREATE : 0, &kv->tables[table]);
		if (rc == 0)
			continue;
		mdb_txn_abort(txn);
		if (rc == MDB_NOTFOUND)
			return error_set(error, -EBADMSG, "%s holds no store: there is no table %s",
					 kv->path, name);
		return failed(kv, rc, "open the tables", error);
	}
	rc = mdb_txn_commit(txn);
	return rc == 0 ? 0 : failed(kv, rc, "open the tables", error);
}

static int open_all(struct lmdb_kv *kv, const struct kv_lmdb_options *options, struct error *error)
{
	int dead;
	int rc = make_directory(options, error);

	if (rc == 0)
		rc = check_file(options, error);
	if (rc == 0)
		rc = open_largest(kv, options, error);
	if (rc == 0)
		rc = check_length(kv, error);
	if (rc == 0)
		rc = open_tables(kv, options, error);
	if (rc == 0)
		mdb_reader_check(kv->env, &dead); /* slots of processes that are no more */
	/* LMDB syncs the file that it makes, but not the directory that holds the name. */
	if (rc == 0 && options->create)
		rc = file_sync_directory(options->path, error);
	return rc;
}

static const struct kv_operations lmdb_operations = {
	.close = lmdb_close,
	.grow = lmdb_grow,
	.begin = lmdb_begin,
	.commit = lmdb_commit,
	.abort = lmdb_abort,
	.get = lmdb_get,
	.around = lmdb_around,
	.put = lmdb_put,
	.delete = lmdb_delete,
	.cursor_open = lmdb_cursor_open,
	.cursor_seek = lmdb_cursor_seek,
	.cursor_close = lmdb_cursor_close,
};

int kv_lmdb_open(struct kv **result, const struct kv_lmdb_options *options, struct error *error)
{
	ASSERT(!options->create || !options->read_only);
	struct lmdb_kv *kv = memory_zeroed(1, sizeof *kv);

	kv->path = memory_copy_string(options->path);
	kv->base = (struct kv){.operations = &lmdb_operations, .name = kv->path};
	pthread_mutex_init(&kv->lock, NULL);
	pthread_cond_init(&kv->changed, NULL);
	int rc = open_all(kv, options, error);
	if (rc != 0) {
		lmdb_close(&kv->base);
		return rc;
	}
	*result = &kv->base;
	return 0;
}
