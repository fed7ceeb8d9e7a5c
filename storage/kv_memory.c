/*
 * The kv contract in memory. Each table is an immutable sorted array of entries, shared by count; a
 * commit merges what was put into a new array, so a reader's arrays never change under it.
 */
#include "storage/kv.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/map.h"
#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct entry {
	atomic_uint references;
	uint32_t key_size;
	size_t value_size;
	uint8_t bytes[]; /* key, then value */
};

struct version {
	atomic_uint references;
	size_t count;
	struct entry **entries; /* sorted by key */
};

struct kv_memory_disk {
	pthread_mutex_t lock;   /* guards the pointers below */
	pthread_mutex_t writer; /* held during a write transaction */
	struct version *tables[KV_TABLE_COUNT];
	uint64_t fail_in; /* commits */
	bool full;
};

struct memory_kv {
	struct kv base;
	struct kv_memory_disk *disk;
};

struct memory_put {
	size_t key_offset, value_offset; /* in the bytes of the transaction */
	size_t key_size, value_size;
	bool deleted;         /* the key is to go; there is no value */
	const uint8_t *bytes; /* set before sorting */
};

struct pending {
	struct map index; /* key → number of the put */
	struct buffer puts;
};

struct memory_txn {
	struct kv_txn base;
	struct version *tables[KV_TABLE_COUNT];
	struct pending pending[KV_TABLE_COUNT];
	struct buffer bytes;
};

struct memory_cursor {
	struct kv_cursor base;
	struct version *version;
	size_t at;
};

static struct span entry_key(const struct entry *entry)
{
	return span_of(entry->bytes, entry->key_size);
}

static struct span entry_value(const struct entry *entry)
{
	return span_of(entry->bytes + entry->key_size, entry->value_size);
}

static struct entry *entry_new(struct span key, struct span value)
{
	struct entry *entry = memory_alloc(sizeof *entry + key.size + value.size);

	atomic_init(&entry->references, 1);
	entry->key_size = (uint32_t)key.size;
	entry->value_size = value.size;
	memcpy(entry->bytes, key.data, key.size);
	if (value.size > 0)
		memcpy(entry->bytes + key.size, value.data, value.size);
	return entry;
}

static void entry_release(struct entry *entry)
{
	if (atomic_fetch_sub(&entry->references, 1) == 1)
		memory_free(entry);
}

static struct version *version_new(size_t capacity)
{
	struct version *version = memory_alloc(sizeof *version);

	atomic_init(&version->references, 1);
	version->count = 0;
	version->entries = memory_alloc(capacity * sizeof version->entries[0]);
	return version;
}

static void version_release(struct version *version)
{
	if (atomic_fetch_sub(&version->references, 1) != 1)
		return;
	for (size_t i = 0; i < version->count; i++)
		entry_release(version->entries[i]);
	memory_free(version->entries);
	memory_free(version);
}

/* The place of the first key ≥ `key`. */
static size_t version_find(const struct version *version, struct span key)
{
	size_t low = 0, high = version->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (span_compare(entry_key(version->entries[middle]), key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- disk ---- */

struct kv_memory_disk *kv_memory_disk_new(void)
{
	struct kv_memory_disk *disk = memory_zeroed(1, sizeof *disk);

	pthread_mutex_init(&disk->lock, NULL);
	pthread_mutex_init(&disk->writer, NULL);
	for (int table = 0; table < KV_TABLE_COUNT; table++)
		disk->tables[table] = version_new(0);
	return disk;
}

void kv_memory_disk_free(struct kv_memory_disk *disk)
{
	for (int table = 0; table < KV_TABLE_COUNT; table++)
		version_release(disk->tables[table]);
	pthread_mutex_destroy(&disk->lock);
	pthread_mutex_destroy(&disk->writer);
	memory_free(disk);
}

void kv_memory_disk_fail(struct kv_memory_disk *disk, uint64_t commits)
{
	pthread_mutex_lock(&disk->lock);
	disk->fail_in = commits;
	pthread_mutex_unlock(&disk->lock);
}

void kv_memory_disk_fill(struct kv_memory_disk *disk, bool full)
{
	pthread_mutex_lock(&disk->lock);
	disk->full = full;
	pthread_mutex_unlock(&disk->lock);
}

void kv_memory_disk_calm(struct kv_memory_disk *disk)
{
	kv_memory_disk_fail(disk, 0);
	kv_memory_disk_fill(disk, false);
}

/* Readers of another version share the entry: it is copied first. */
static void flip_bit(struct entry **place, uint64_t bit)
{
	struct entry *entry = entry_new(entry_key(*place), entry_value(*place));

	entry->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	entry_release(*place);
	*place = entry;
}

static uint64_t entry_bits(const struct entry *entry)
{
	return 8 * (entry->key_size + entry->value_size);
}

enum kv_table kv_memory_disk_flip(struct kv_memory_disk *disk, uint64_t number)
{
	uint64_t bits = 0;

	for (int table = 0; table < KV_TABLE_COUNT; table++)
		for (size_t i = 0; i < disk->tables[table]->count; i++)
			bits += entry_bits(disk->tables[table]->entries[i]);
	if (bits == 0)
		return KV_TABLE_COUNT;
	number %= bits;
	for (unsigned table = 0; table < KV_TABLE_COUNT; table++) {
		for (size_t i = 0; i < disk->tables[table]->count; i++) {
			struct entry **entry = &disk->tables[table]->entries[i];

			if (number < entry_bits(*entry)) {
				flip_bit(entry, number);
				return (enum kv_table)table;
			}
			number -= entry_bits(*entry);
		}
	}
	return KV_TABLE_COUNT;
}

/* ---- transactions ---- */

static struct kv_memory_disk *disk_of(struct kv *kv)
{
	return ((struct memory_kv *)kv)->disk;
}

static int memory_begin(struct kv *kv, enum kv_begin how, struct kv_txn **result,
			struct error *error)
{
	struct kv_memory_disk *disk = disk_of(kv);
	struct memory_txn *txn = memory_zeroed(1, sizeof *txn);

	(void)error;
	txn->base = (struct kv_txn){.kv = kv, .write = how == KV_WRITE};
	if (how == KV_WRITE)
		pthread_mutex_lock(&disk->writer);
	pthread_mutex_lock(&disk->lock);
	for (int table = 0; table < KV_TABLE_COUNT; table++) {
		txn->tables[table] = disk->tables[table];
		atomic_fetch_add(&txn->tables[table]->references, 1);
	}
	pthread_mutex_unlock(&disk->lock);
	*result = &txn->base;
	return 0;
}

static void memory_abort(struct kv_txn *base)
{
	struct memory_txn *txn = (struct memory_txn *)base;

	for (int table = 0; table < KV_TABLE_COUNT; table++) {
		version_release(txn->tables[table]);
		map_close(&txn->pending[table].index);
		buffer_close(&txn->pending[table].puts);
	}
	buffer_close(&txn->bytes);
	if (base->write)
		pthread_mutex_unlock(&disk_of(base->kv)->writer);
	memory_free(txn);
}

static int compare_puts(const void *a, const void *b)
{
	const struct memory_put *left = a, *right = b;

	return span_compare(span_of(left->bytes + left->key_offset, left->key_size),
			    span_of(right->bytes + right->key_offset, right->key_size));
}

static void version_add(struct version *version, struct entry *entry)
{
	version->entries[version->count++] = entry;
}

static void version_share(struct version *version, struct entry *entry)
{
	atomic_fetch_add(&entry->references, 1);
	version_add(version, entry);
}

static struct version *merge(const struct version *old, struct pending *pending,
			     const uint8_t *bytes)
{
	struct memory_put *puts = (struct memory_put *)(void *)pending->puts.data;
	size_t count = pending->puts.size / sizeof puts[0], at = 0;
	struct version *merged = version_new(old->count + count);

	for (size_t i = 0; i < count; i++)
		puts[i].bytes = bytes;
	qsort(puts, count, sizeof puts[0], compare_puts);
	for (size_t i = 0; i < count; i++) {
		struct span key = span_of(bytes + puts[i].key_offset, puts[i].key_size);
		struct span value = span_of(bytes + puts[i].value_offset, puts[i].value_size);

		while (at < old->count && span_compare(entry_key(old->entries[at]), key) < 0)
			version_share(merged, old->entries[at++]);
		if (at < old->count && span_equal(entry_key(old->entries[at]), key))
			at++;
		if (!puts[i].deleted)
			version_add(merged, entry_new(key, value));
	}
	while (at < old->count)
		version_share(merged, old->entries[at++]);
	return merged;
}

static bool disk_fails_now(struct kv_memory_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	bool fails = disk->fail_in == 1;
	if (disk->fail_in > 0)
		disk->fail_in--;
	pthread_mutex_unlock(&disk->lock);
	return fails;
}

static bool disk_is_full(struct kv_memory_disk *disk)
{
	pthread_mutex_lock(&disk->lock);
	bool full = disk->full;

	pthread_mutex_unlock(&disk->lock);
	return full;
}

static int memory_commit(struct kv_txn *base, struct error *error)
{
	struct memory_txn *txn = (struct memory_txn *)base;
	struct kv_memory_disk *disk = disk_of(base->kv);
	struct version *merged[KV_TABLE_COUNT] = {0};

	ASSERT(base->write);
	if (disk_is_full(disk)) {
		memory_abort(base);
		return error_set_errno(error, ENOSPC, "commit to memory, as the test asked for");
	}
	if (disk_fails_now(disk)) {
		memory_abort(base);
		return error_set_errno(error, EIO, "commit to memory, as the test asked for");
	}
	for (int table = 0; table < KV_TABLE_COUNT; table++)
		if (txn->pending[table].puts.size > 0)
			merged[table] =
				merge(txn->tables[table], &txn->pending[table], txn->bytes.data);
	pthread_mutex_lock(&disk->lock);
	for (int table = 0; table < KV_TABLE_COUNT; table++) {
		if (merged[table] == NULL)
			continue;
		struct version *old = disk->tables[table];

		disk->tables[table] = merged[table];
		version_release(old);
	}
	pthread_mutex_unlock(&disk->lock);
	memory_abort(base);
	return 0;
}

/* ---- values ---- */

static struct memory_put *find_put(struct memory_txn *txn, enum kv_table table, struct span key)
{
	uint64_t *number = map_get(&txn->pending[table].index, key);
	struct memory_put *puts = (struct memory_put *)(void *)txn->pending[table].puts.data;

	return number != NULL ? &puts[*number] : NULL;
}

static int memory_get(struct kv_txn *base, enum kv_table table, struct span key, struct span *value,
		      struct error *error)
{
	struct memory_txn *txn = (struct memory_txn *)base;
	const struct version *version = txn->tables[table];

	(void)error;
	if (base->write) {
		const struct memory_put *put = find_put(txn, table, key);

		if (put != NULL && put->deleted)
			return -ENOENT;
		if (put != NULL) {
			*value = span_of(txn->bytes.data + put->value_offset, put->value_size);
			return 0;
		}
	}
	size_t at = version_find(version, key);
	if (at == version->count || !span_equal(entry_key(version->entries[at]), key))
		return -ENOENT;
	*value = entry_value(version->entries[at]);
	return 0;
}

static struct kv_pair pair_at(const struct version *version, size_t at)
{
	if (at >= version->count)
		return (struct kv_pair){0};
	return (struct kv_pair){.key = entry_key(version->entries[at]),
				.value = entry_value(version->entries[at])};
}

static bool is_deleted(struct memory_txn *txn, enum kv_table table, struct span key)
{
	const struct memory_put *put = find_put(txn, table, key);

	return put != NULL && put->deleted;
}

static int memory_around(struct kv_txn *base, enum kv_table table, struct span key,
			 struct kv_around *around, struct error *error)
{
	struct memory_txn *txn = (struct memory_txn *)base;
	const struct version *version = txn->tables[table];
	const struct memory_put *put = base->write ? find_put(txn, table, key) : NULL;
	size_t at = version_find(version, key), before = at - 1;

	(void)error;
	*around = (struct kv_around){0};
	if (put != NULL && !put->deleted) {
		around->after.key = key;
		around->after.value = span_of(txn->bytes.data + put->value_offset, put->value_size);
		return 0;
	}
	while (base->write && at < version->count &&
	       is_deleted(txn, table, entry_key(version->entries[at])))
		at++;
	while (base->write && before < version->count &&
	       is_deleted(txn, table, entry_key(version->entries[before])))
		before--;
	around->after = pair_at(version, at);
	if (!span_equal(around->after.key, key))
		around->before = pair_at(version, before);
	return 0;
}

static bool is_above_all(struct memory_txn *txn, enum kv_table table, struct span key)
{
	const struct version *version = txn->tables[table];
	const struct memory_put *puts = (struct memory_put *)(void *)txn->pending[table].puts.data;
	size_t count = txn->pending[table].puts.size / sizeof puts[0], last = version->count;

	while (last > 0 && is_deleted(txn, table, entry_key(version->entries[last - 1])))
		last--;
	if (last > 0 && span_compare(entry_key(version->entries[last - 1]), key) >= 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (!puts[i].deleted &&
		    span_compare(span_of(txn->bytes.data + puts[i].key_offset, puts[i].key_size),
				 key) >= 0)
			return false;
	return true;
}

static void remember_put(struct memory_txn *txn, enum kv_table table, struct span key,
			 struct span value, bool deleted)
{
	struct memory_put put = {
		.key_size = key.size, .value_size = value.size, .deleted = deleted};

	put.key_offset = txn->bytes.size;
	buffer_append_span(&txn->bytes, key);
	put.value_offset = txn->bytes.size;
	buffer_append_span(&txn->bytes, value);

	struct memory_put *before = find_put(txn, table, key);
	if (before != NULL) {
		*before = put;
		return;
	}
	map_put(&txn->pending[table].index, key, txn->pending[table].puts.size / sizeof put);
	buffer_append(&txn->pending[table].puts, &put, sizeof put);
}

static int memory_put(struct kv_txn *base, enum kv_table table, struct span key, struct span value,
		      bool append, struct error *error)
{
	struct memory_txn *txn = (struct memory_txn *)base;

	ASSERT(base->write && key.size >= 1 && key.size <= KV_KEY_BYTES_MAX);
	if (append && !is_above_all(txn, table, key))
		return error_set(error, -EINVAL, "append to table %s: the key is not the last",
				 kv_table_name(table));
	remember_put(txn, table, key, value, false);
	return 0;
}

static int memory_delete(struct kv_txn *base, enum kv_table table, struct span key,
			 struct error *error)
{
	struct span value;

	ASSERT(base->write);
	int rc = memory_get(base, table, key, &value, error);
	if (rc == 0)
		remember_put((struct memory_txn *)base, table, key, span_of(NULL, 0), true);
	return rc;
}

/* ---- cursors ---- */

static int memory_cursor_open(struct kv_txn *txn, enum kv_table table, struct kv_cursor **result,
			      struct error *error)
{
	struct memory_cursor *cursor = memory_zeroed(1, sizeof *cursor);

	(void)error;
	ASSERT(!txn->write);
	cursor->base.txn = txn;
	cursor->version = ((struct memory_txn *)txn)->tables[table];
	*result = &cursor->base;
	return 0;
}

/* SIZE_MAX, which is not below count, stands for "before the first". */
static size_t seek_place(const struct memory_cursor *cursor, enum kv_seek how, struct span key)
{
	const struct version *version = cursor->version;
	size_t at;

	ASSERT(how <= KV_AT_MOST);
	switch (how) {
	case KV_FIRST:
		return 0;
	case KV_LAST:
		return version->count - 1;
	case KV_NEXT:
		return cursor->at + 1;
	case KV_PREVIOUS:
		return cursor->at - 1;
	case KV_AT_LEAST:
		return version_find(version, key);
	case KV_AT_MOST:
		at = version_find(version, key);
		if (at < version->count && span_equal(entry_key(version->entries[at]), key))
			return at;
		return at - 1;
	}
	return SIZE_MAX;
}

static int memory_cursor_seek(struct kv_cursor *base, enum kv_seek how, struct span key,
			      struct kv_pair *pair, struct error *error)
{
	struct memory_cursor *cursor = (struct memory_cursor *)base;

	(void)error;
	cursor->at = seek_place(cursor, how, key);
	if (cursor->at >= cursor->version->count)
		return -ENOENT;
	pair->key = entry_key(cursor->version->entries[cursor->at]);
	pair->value = entry_value(cursor->version->entries[cursor->at]);
	return 0;
}

static void memory_cursor_close(struct kv_cursor *cursor)
{
	memory_free(cursor);
}

/* ---- the kv ---- */

static void memory_close(struct kv *kv)
{
	memory_free(kv);
}

static int memory_grow(struct kv *kv, struct error *error)
{
	(void)kv;
	(void)error;
	return 0;
}

static const struct kv_operations memory_operations = {
	.close = memory_close,
	.grow = memory_grow,
	.begin = memory_begin,
	.commit = memory_commit,
	.abort = memory_abort,
	.get = memory_get,
	.around = memory_around,
	.put = memory_put,
	.delete = memory_delete,
	.cursor_open = memory_cursor_open,
	.cursor_seek = memory_cursor_seek,
	.cursor_close = memory_cursor_close,
};

struct kv *kv_memory_open(struct kv_memory_disk *disk)
{
	struct memory_kv *kv = memory_zeroed(1, sizeof *kv);

	kv->base = (struct kv){.operations = &memory_operations, .name = "memory"};
	kv->disk = disk;
	return &kv->base;
}
