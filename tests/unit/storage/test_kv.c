/* The key-value contract, the same for memory and for LMDB, against a sorted array. */
#include "tests/unit/storage/feed.h"

#include <fcntl.h>
#include <sys/stat.h>

#define KEYS_MAX 600

struct model_pair {
	uint8_t key[40];
	size_t key_size;
	uint64_t value;
};

struct kv_model {
	struct model_pair pairs[KEYS_MAX]; /* sorted */
	uint32_t count;
};

static int compare(const struct model_pair *pair, const uint8_t *key, size_t size)
{
	size_t common = pair->key_size < size ? pair->key_size : size;
	int order = memcmp(pair->key, key, common);

	return order != 0 ? order : (pair->key_size > size) - (pair->key_size < size);
}

static uint32_t at_least(const struct kv_model *model, const uint8_t *key, size_t size)
{
	uint32_t at = 0;

	while (at < model->count && compare(&model->pairs[at], key, size) < 0)
		at++;
	return at;
}

static void model_put(struct kv_model *model, const uint8_t *key, size_t size, uint64_t value)
{
	uint32_t at = at_least(model, key, size);

	if (at == model->count || compare(&model->pairs[at], key, size) != 0) {
		memmove(&model->pairs[at + 1], &model->pairs[at],
			(model->count - at) * sizeof model->pairs[0]);
		model->count++;
		memcpy(model->pairs[at].key, key, size);
		model->pairs[at].key_size = size;
	}
	model->pairs[at].value = value;
}

static bool model_delete(struct kv_model *model, const uint8_t *key, size_t size)
{
	uint32_t at = at_least(model, key, size);

	if (at == model->count || compare(&model->pairs[at], key, size) != 0)
		return false;
	model->count--;
	memmove(&model->pairs[at], &model->pairs[at + 1],
		(model->count - at) * sizeof model->pairs[0]);
	return true;
}

static size_t random_key(uint64_t *seed, uint8_t *key)
{
	size_t size = 1 + unit_random(seed) % 6;

	for (size_t i = 0; i < size; i++)
		key[i] = (uint8_t)(unit_random(seed) % 3 * 127);
	return size;
}

static void check_pair(const struct kv_pair *pair, const struct model_pair *expected)
{
	assert_true(span_equal(pair->key, span_of(expected->key, expected->key_size)));
	assert_int_equal(pair->value.size, sizeof expected->value);
	assert_memory_equal(pair->value.data, &expected->value, sizeof expected->value);
}

static void check_around(struct kv_txn *txn, const struct kv_model *model, struct span key,
			 uint32_t at, bool is_there)
{
	struct kv_around around;
	struct error error;

	assert_ok(kv_find_around(txn, KV_TYPE, key, &around, &error));
	if (at < model->count)
		check_pair(&around.after, &model->pairs[at]);
	else
		assert_int_equal(around.after.key.size, 0);
	if (!is_there && at > 0)
		check_pair(&around.before, &model->pairs[at - 1]);
	else
		assert_int_equal(around.before.key.size, 0);
}

static void check_seeks(struct kv_txn *txn, const struct kv_model *model, uint64_t *seed)
{
	struct span none = span_of(NULL, 0);
	struct kv_cursor *cursor;
	struct kv_pair pair;
	struct error error;
	uint8_t key[40];

	assert_ok(kv_cursor_open(txn, KV_TYPE, &cursor, &error));
	for (int i = 0; i < 50; i++) {
		size_t size = random_key(seed, key);
		uint32_t at = at_least(model, key, size);
		bool equal = at < model->count && compare(&model->pairs[at], key, size) == 0;
		struct span wanted = span_of(key, size), value;

		assert_int_equal(kv_get(txn, KV_TYPE, wanted, &value, &error), equal ? 0 : -ENOENT);
		int rc = kv_cursor_seek(cursor, KV_AT_LEAST, wanted, &pair, &error);
		assert_int_equal(rc, at < model->count ? 0 : -ENOENT);
		if (rc == 0)
			check_pair(&pair, &model->pairs[at]);
		if (rc == 0) {
			rc = kv_cursor_seek(cursor, KV_NEXT, none, &pair, &error);
			assert_int_equal(rc, at + 1 < model->count ? 0 : -ENOENT);
			if (rc == 0)
				check_pair(&pair, &model->pairs[at + 1]);
		}
		check_around(txn, model, wanted, at, equal);
		uint32_t most = equal ? at : at - 1;
		rc = kv_cursor_seek(cursor, KV_AT_MOST, wanted, &pair, &error);
		assert_int_equal(rc, most < model->count ? 0 : -ENOENT);
		if (rc == 0)
			check_pair(&pair, &model->pairs[most]);
		if (rc == 0 && most > 0) {
			assert_ok(kv_cursor_seek(cursor, KV_PREVIOUS, none, &pair, &error));
			check_pair(&pair, &model->pairs[most - 1]);
		}
	}
	if (model->count > 0) {
		assert_ok(kv_cursor_seek(cursor, KV_FIRST, none, &pair, &error));
		check_pair(&pair, &model->pairs[0]);
		assert_int_equal(kv_cursor_seek(cursor, KV_PREVIOUS, none, &pair, &error), -ENOENT);
		assert_ok(kv_cursor_seek(cursor, KV_LAST, none, &pair, &error));
		check_pair(&pair, &model->pairs[model->count - 1]);
	}
	kv_cursor_close(cursor);
}

static void put_some(struct kv_txn *txn, struct kv_model *model, uint64_t *seed)
{
	struct error error;
	uint8_t key[40];

	for (int i = 0; i < 10; i++) {
		size_t size = random_key(seed, key);
		uint64_t value = unit_random(seed);
		struct span read;

		assert_ok(kv_put(txn, KV_TYPE, span_of(key, size), span_of(&value, 8), false,
				 &error));
		model_put(model, key, size, value);
		assert_ok(kv_get(txn, KV_TYPE, span_of(key, size), &read, &error));
		assert_true(span_equal(read, span_of(&value, 8)));
	}
}

/* Among puts of the same transaction, and of those before it. */
static void delete_some(struct kv_txn *txn, struct kv_model *model, uint64_t *seed)
{
	struct error error;
	uint8_t key[40];

	for (int i = 0; i < 15; i++) {
		size_t size = random_key(seed, key);
		bool was_there = model_delete(model, key, size);
		struct span read;

		assert_int_equal(kv_delete(txn, KV_TYPE, span_of(key, size), &error),
				 was_there ? 0 : -ENOENT);
		assert_int_equal(kv_get(txn, KV_TYPE, span_of(key, size), &read, &error), -ENOENT);
	}
}

static void run_kv_model(bool in_memory)
{
	static struct kv_model before, model;
	struct feed_place place;
	struct error error;
	uint64_t seed = 7;

	feed_place_init(&place, in_memory);
	struct kv *kv = feed_kv(&place);
	model.count = 0;
	for (int round = 0; round < 60; round++) {
		struct kv_txn *write, *old, *fresh;

		before = model;
		assert_ok(kv_begin(kv, KV_READ, &old, &error));
		assert_ok(kv_begin(kv, KV_WRITE, &write, &error));
		put_some(write, &model, &seed);
		if (round % 3 > 0) {
			delete_some(write, &model, &seed);
			put_some(write, &model, &seed);
		}
		check_seeks(old, &before, &seed); /* sees nothing of the writer */
		if (round % 4 == 3) {
			kv_abort(write);
			model = before;
		} else {
			assert_ok(kv_commit(write, &error));
		}
		check_seeks(old, &before, &seed); /* nor of its commit */
		kv_abort(old);
		assert_ok(kv_begin(kv, KV_READ_TRY, &fresh, &error));
		check_seeks(fresh, &model, &seed);
		kv_abort(fresh);
		if (round % 10 == 9) {
			kv_close(kv);
			kv = feed_kv(&place);
		}
	}
	kv_close(kv);
	feed_place_close(&place);
}

static void memory_keeps_what_is_committed(void **state)
{
	(void)state;
	run_kv_model(true);
}

static void lmdb_keeps_what_is_committed(void **state)
{
	(void)state;
	run_kv_model(false);
}

static void run_append(bool in_memory)
{
	struct feed_place place;
	struct kv_txn *txn;
	struct error error;

	feed_place_init(&place, in_memory);
	struct kv *kv = feed_kv(&place);
	struct span value = span_of(NULL, 0);
	assert_ok(kv_begin(kv, KV_WRITE, &txn, &error));
	assert_ok(kv_put(txn, KV_TIME, span_of("b", 1), value, true, &error));
	assert_ok(kv_put(txn, KV_TIME, span_of("c", 1), value, true, &error));
	assert_int_equal(kv_put(txn, KV_TIME, span_of("c", 1), value, true, &error), -EINVAL);
	assert_int_equal(kv_put(txn, KV_TIME, span_of("a", 1), value, true, &error), -EINVAL);
	assert_ok(kv_commit(txn, &error));
	assert_ok(kv_begin(kv, KV_WRITE, &txn, &error)); /* what was deleted is not the last */
	assert_ok(kv_put(txn, KV_TIME, span_of("d", 1), value, true, &error));
	assert_ok(kv_delete(txn, KV_TIME, span_of("d", 1), &error));
	assert_ok(kv_delete(txn, KV_TIME, span_of("c", 1), &error));
	assert_ok(kv_put(txn, KV_TIME, span_of("c", 1), value, true, &error));
	assert_ok(kv_commit(txn, &error));
	kv_close(kv);
	feed_place_close(&place);
}

static void an_append_that_is_not_the_last_key_is_refused(void **state)
{
	(void)state;
	run_append(true);
	run_append(false);
}

static void a_failing_commit_leaves_nothing(void **state)
{
	struct feed_place place;
	struct kv_txn *txn;
	struct error error;
	struct span value;

	(void)state;
	feed_place_init(&place, true);
	struct kv *kv = feed_kv(&place);
	kv_memory_disk_fail(place.disk, 2);
	for (int i = 0; i < 3; i++) {
		char key[1] = {(char)('a' + i)};

		assert_ok(kv_begin(kv, KV_WRITE, &txn, &error));
		assert_ok(kv_put(txn, KV_META, span_of(key, 1), span_of("x", 1), false, &error));
		assert_int_equal(kv_commit(txn, &error), i == 1 ? -EIO : 0);
	}
	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	assert_int_equal(kv_get(txn, KV_META, span_of("a", 1), &value, &error), 0);
	assert_int_equal(kv_get(txn, KV_META, span_of("b", 1), &value, &error), -ENOENT);
	assert_int_equal(kv_get(txn, KV_META, span_of("c", 1), &value, &error), 0);
	kv_abort(txn);
	kv_close(kv);
	feed_place_close(&place);
}

static int put_one(struct kv *kv, const char *value)
{
	struct kv_txn *txn;
	struct error error;

	assert_ok(kv_begin(kv, KV_WRITE, &txn, &error));
	assert_ok(kv_put(txn, KV_BLOCK, span_of("k", 1), span_of_string(value), false, &error));
	return kv_commit(txn, &error);
}

static void a_full_disk_takes_nothing_until_there_is_room(void **state)
{
	struct feed_place place;

	(void)state;
	feed_place_init(&place, true);
	struct kv *kv = feed_kv(&place);

	kv_memory_disk_fill(place.disk, true);
	assert_int_equal(put_one(kv, "a"), -ENOSPC);
	assert_int_equal(put_one(kv, "b"), -ENOSPC);
	kv_memory_disk_calm(place.disk);
	assert_int_equal(put_one(kv, "c"), 0);
	kv_close(kv);
	feed_place_close(&place);
}

static void a_flip_changes_one_bit_of_a_key_or_a_value(void **state)
{
	struct feed_place place;
	struct kv_txn *txn;
	struct error error;
	struct span value;

	(void)state;
	feed_place_init(&place, true);
	struct kv *kv = feed_kv(&place);

	assert_int_equal(kv_memory_disk_flip(place.disk, 10), KV_TABLE_COUNT);
	assert_int_equal(put_one(kv, "AAA"), 0);
	assert_int_equal(kv_memory_disk_flip(place.disk, 32 + 8 + 9), KV_BLOCK);
	assert_int_equal(kv_memory_disk_flip(place.disk, 1), KV_BLOCK);
	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	assert_ok(kv_get(txn, KV_BLOCK, span_of("i", 1), &value, &error));
	assert_true(span_equal_string(value, "ACA"));
	kv_abort(txn);
	kv_close(kv);
	feed_place_close(&place);
}

static void a_full_map_grows(void **state)
{
	static uint8_t large[100000];
	struct feed_place place;
	struct kv_txn *txn;
	struct error error;
	struct span value;
	int rc, grown = 0;

	(void)state;
	feed_place_init(&place, false);
	place.map_bytes = 1 * MIB;
	struct kv *kv = feed_kv(&place);
	for (uint8_t i = 0; i < 40; i++) {
		do {
			assert_ok(kv_begin(kv, KV_WRITE, &txn, &error));
			rc = kv_put(txn, KV_BLOCK, span_of(&i, 1), span_of(large, sizeof large),
				    false, &error);
			if (rc == 0) {
				rc = kv_commit(txn, &error);
			} else {
				kv_abort(txn);
			}
			if (rc == -ENOBUFS) {
				assert_ok(kv_grow(kv, &error));
				grown++;
			}
		} while (rc == -ENOBUFS);
		assert_int_equal(rc, 0);
	}
	assert_true(grown > 1);
	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	for (uint8_t i = 0; i < 40; i++)
		assert_ok(kv_get(txn, KV_BLOCK, span_of(&i, 1), &value, &error));
	kv_abort(txn);
	kv_close(kv);
	feed_place_close(&place);
}

static void a_missing_store_is_not_made_by_chance(void **state)
{
	struct kv_lmdb_options options = {.path = "/tmp/annal-no-such-store"};
	struct feed_place place;
	struct error error;
	struct kv *kv;

	(void)state;
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -ENOENT);
	feed_place_init(&place, false);
	options.path = place.path;
	assert_int_equal(kv_lmdb_open(&kv, &options, &error),
			 -ENOENT); /* a directory without a file */
	options.read_only = true;
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -ENOENT);
	feed_place_close(&place);
}

static void a_file_cut_short_is_damage(void **state)
{
	static uint8_t large[100000];
	struct feed_place place;
	struct kv_txn *txn;
	struct error error;
	char path[96];

	(void)state;
	feed_place_init(&place, false);
	struct kv *kv = feed_kv(&place);
	assert_ok(kv_begin(kv, KV_WRITE, &txn, &error));
	assert_ok(kv_put(txn, KV_BLOCK, span_of("a", 1), span_of(large, sizeof large), false,
			 &error));
	assert_ok(kv_commit(txn, &error));
	kv_close(kv);
	snprintf(path, sizeof path, "%s/data.mdb", place.path);
	assert_int_equal(truncate(path, 40960), 0);
	struct kv_lmdb_options options = {.path = place.path, .create = true};
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -EBADMSG);
	assert_int_equal(truncate(path, 0), 0);
	options.create = false;
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -EBADMSG);
	feed_place_close(&place);
}

static void a_store_can_be_opened_for_reading_only(void **state)
{
	struct feed_place place;
	struct kv *kv, *other;
	struct error error;

	(void)state;
	feed_place_init(&place, false);
	kv = feed_kv(&place);
	kv_close(kv);
	struct kv_lmdb_options options = {.path = place.path, .read_only = true};
	assert_ok(kv_lmdb_open(&other, &options, &error));
	kv_close(other);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_keeps_what_is_committed),
		cmocka_unit_test(lmdb_keeps_what_is_committed),
		cmocka_unit_test(an_append_that_is_not_the_last_key_is_refused),
		cmocka_unit_test(a_failing_commit_leaves_nothing),
		cmocka_unit_test(a_full_disk_takes_nothing_until_there_is_room),
		cmocka_unit_test(a_flip_changes_one_bit_of_a_key_or_a_value),
		cmocka_unit_test(a_full_map_grows),
		cmocka_unit_test(a_missing_store_is_not_made_by_chance),
		cmocka_unit_test(a_file_cut_short_is_damage),
		cmocka_unit_test(a_store_can_be_opened_for_reading_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
