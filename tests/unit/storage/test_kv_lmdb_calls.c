/*
 * Whatever a call of LMDB answers: it is told as what it is, with the file and what was being done, nothing is
 * left half done, and the next try finds what was there before.
 */
#include "tests/unit/failing_calls.h"
#include "tests/unit/storage/feed.h"

#include <lmdb.h>
#include <sys/statvfs.h>

#define KEYS      3
#define MAP_BYTES (64 * MIB)

FAILING_CALL(int, mdb_env_create, (MDB_env * *env), (env), failing_calls.error)
FAILING_CALL(int, mdb_env_set_maxdbs, (MDB_env * env, MDB_dbi count), (env, count),
	     failing_calls.error)
FAILING_CALL(int, mdb_env_set_maxreaders, (MDB_env * env, unsigned int count), (env, count),
	     failing_calls.error)
FAILING_CALL(int, mdb_env_set_mapsize, (MDB_env * env, size_t size), (env, size),
	     failing_calls.error)
FAILING_CALL(int, mdb_env_open,
	     (MDB_env * env, const char *path, unsigned int flags, mdb_mode_t mode),
	     (env, path, flags, mode), failing_calls.error)
FAILING_CALL(int, mdb_env_get_fd, (MDB_env * env, mdb_filehandle_t *file), (env, file),
	     failing_calls.error)
FAILING_CALL(int, mdb_txn_begin,
	     (MDB_env * env, MDB_txn *parent, unsigned int flags, MDB_txn **txn),
	     (env, parent, flags, txn), failing_calls.error)
FAILING_CALL(int, mdb_txn_renew, (MDB_txn * txn), (txn), failing_calls.error)
FAILING_CALL(int, mdb_dbi_open,
	     (MDB_txn * txn, const char *name, unsigned int flags, MDB_dbi *table),
	     (txn, name, flags, table), failing_calls.error)
FAILING_CALL(int, mdb_cursor_open, (MDB_txn * txn, MDB_dbi table, MDB_cursor **cursor),
	     (txn, table, cursor), failing_calls.error)
FAILING_CALL(int, mdb_cursor_get,
	     (MDB_cursor * cursor, MDB_val *key, MDB_val *value, MDB_cursor_op how),
	     (cursor, key, value, how), failing_calls.error)
FAILING_CALL(int, mdb_cursor_put,
	     (MDB_cursor * cursor, MDB_val *key, MDB_val *value, unsigned int flags),
	     (cursor, key, value, flags), failing_calls.error)
FAILING_CALL(int, mdb_cursor_del, (MDB_cursor * cursor, unsigned int flags), (cursor, flags),
	     failing_calls.error)
FAILING_CALL(int, mdb_get, (MDB_txn * txn, MDB_dbi table, MDB_val *key, MDB_val *value),
	     (txn, table, key, value), failing_calls.error)

/* Whatever it answers, the transaction is over. */
int mdb_txn_commit(MDB_txn *txn)
{
	static int (*next)(MDB_txn * txn);

	if (next == NULL)
		*(void **)&next = failing_calls_next("mdb_txn_commit");
	if (!failing_call_is_due("mdb_txn_commit"))
		return next(txn);
	mdb_txn_abort(txn);
	return failing_calls.error;
}

static bool disk_is_full, disk_is_unknown;

int statvfs(const char *path, struct statvfs *into)
{
	static int (*next)(const char *path, struct statvfs *into);

	if (next == NULL)
		*(void **)&next = failing_calls_next("statvfs");
	int status = next(path, into);

	if (disk_is_full)
		into->f_bavail = 0;
	return disk_is_unknown ? -1 : status;
}

/* ---- what is done ---- */

static struct span key_of(uint8_t key[8], uint64_t number)
{
	bytes_set_be64(key, number);
	return span_of(key, 8);
}

static int write_all(struct kv_txn *txn, uint8_t generation, struct error *error)
{
	struct span value = span_of(&generation, 1), found;
	struct kv_around around;
	uint8_t key[8];
	int rc = 0;

	for (uint64_t i = 1; rc == 0 && i <= KEYS + 1; i++)
		rc = kv_put(txn, KV_BLOCK, key_of(key, 2 * i), value, false, error);
	if (rc == 0)
		rc = kv_delete(txn, KV_BLOCK, key_of(key, 2 * (KEYS + 1)), error);
	if (rc == 0)
		rc = kv_find_around(txn, KV_BLOCK, key_of(key, 3), &around, error);
	if (rc == 0)
		rc = kv_get(txn, KV_BLOCK, key_of(key, 2), &found, error);
	if (rc == 0)
		assert_int_equal(found.data[0], generation);
	return rc;
}

static int write_generation(struct kv *kv, uint8_t generation, struct error *error)
{
	struct kv_txn *txn;
	int rc = kv_begin(kv, KV_WRITE, &txn, error);

	if (rc != 0)
		return rc;
	rc = write_all(txn, generation, error);
	if (rc == 0)
		return kv_commit(txn, error);
	kv_abort(txn);
	return rc;
}

static int walk(struct kv_txn *txn, struct error *error)
{
	static const struct {
		enum kv_seek how;
		uint64_t from, found;
	} steps[] = {{KV_FIRST, 0, 2},    {KV_NEXT, 0, 4},     {KV_LAST, 0, 6},
		     {KV_PREVIOUS, 0, 4}, {KV_AT_LEAST, 3, 4}, {KV_AT_MOST, 5, 4},
		     {KV_AT_MOST, 9, 6},  {KV_AT_MOST, 2, 2}};
	struct kv_cursor *cursor;
	struct kv_pair pair;
	uint8_t key[8];
	int rc = kv_cursor_open(txn, KV_BLOCK, &cursor, error);

	if (rc != 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < COUNT_OF(steps); i++) {
		rc = kv_cursor_seek(cursor, steps[i].how, key_of(key, steps[i].from), &pair, error);
		if (rc == 0)
			assert_int_equal(bytes_be64(pair.key.data), steps[i].found);
	}
	kv_cursor_close(cursor);
	return rc;
}

static int read_all(struct kv *kv, uint8_t generation, struct error *error)
{
	struct kv_around around;
	struct kv_txn *txn;
	struct span value;
	uint8_t key[8];
	int rc = kv_begin(kv, KV_READ, &txn, error);

	if (rc != 0)
		return rc;
	rc = kv_get(txn, KV_BLOCK, key_of(key, 2), &value, error);
	if (rc == 0)
		assert_int_equal(value.data[0], generation);
	if (rc == 0)
		rc = kv_find_around(txn, KV_BLOCK, key_of(key, 5), &around, error);
	if (rc == 0) {
		assert_int_equal(bytes_be64(around.before.key.data), 4);
		assert_int_equal(bytes_be64(around.after.key.data), 6);
		rc = walk(txn, error);
	}
	kv_abort(txn);
	return rc;
}

/* ---- the tests ---- */

static const struct {
	int answer, told;
} answers[] = {
	{EIO, -EIO},
	{MDB_MAP_FULL, -ENOBUFS},
	{MDB_READERS_FULL, -EUSERS},
	{MDB_CORRUPTED, -EBADMSG},
	{MDB_PAGE_NOTFOUND, -EBADMSG},
	{MDB_INVALID, -EBADMSG},
	{MDB_VERSION_MISMATCH, -EBADMSG},
	{MDB_INCOMPATIBLE, -EBADMSG},
	{MDB_PANIC, -EIO},
};

static void expect(int rc, int told, const struct error *error, const char *path)
{
	const char *struck = failing_calls.struck != NULL ? failing_calls.struck : "nothing";

	if (failing_calls.struck == NULL ? rc != 0
					 : rc != told || strstr(error->message, path) == NULL)
		fail_msg("%s: %d, '%s'", struck, rc, error->message);
}

/* LMDB may refuse all that follows: a node ends then, and starts again. */
static struct kv *again(struct kv *kv, struct feed_place *place)
{
	kv_close(kv);
	return feed_kv(place);
}

static void every_call_of_a_write_may_fail(void **state)
{
	struct error error = {.message = ""};
	struct feed_place place;
	struct kv *kv;

	(void)state;
	feed_place_init(&place, false);
	place.map_bytes = MAP_BYTES;
	kv = feed_kv(&place);
	assert_ok(write_generation(kv, 1, &error));
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		uint8_t generation = (uint8_t)(i + 1);

		for (uint64_t in = 1; generation == i + 1; in++) {
			failing_calls_set(NULL, answers[i].answer, in);
			int rc = write_generation(kv, (uint8_t)(generation + 1), &error);

			failing_calls_stop();
			expect(rc, answers[i].told, &error, place.path);
			generation = (uint8_t)(generation + (rc == 0));
			kv = again(kv, &place);
			assert_ok(read_all(kv, generation, &error));
			assert_true(in < 100);
		}
	}
	kv_close(kv);
	feed_place_close(&place);
}

static void every_call_of_a_read_may_fail(void **state)
{
	struct error error = {.message = ""};
	struct feed_place place;
	struct kv *kv;

	(void)state;
	feed_place_init(&place, false);
	place.map_bytes = MAP_BYTES;
	kv = feed_kv(&place);
	assert_ok(write_generation(kv, 1, &error));
	assert_ok(read_all(kv, 1, &error));
	for (size_t i = 0; i < COUNT_OF(answers); i++) {
		bool struck = true;

		for (uint64_t in = 1; struck; in++) {
			failing_calls_set(NULL, answers[i].answer, in);
			int rc = read_all(kv, 1, &error);

			failing_calls_stop();
			struck = failing_calls.struck != NULL;
			expect(rc, answers[i].told, &error, place.path);
			assert_ok(read_all(kv, 1, &error));
			assert_true(in < 100);
		}
	}
	kv_close(kv);
	feed_place_close(&place);
}

/* One that is asked for too much room is asked for less. */
static void every_call_of_an_opening_may_fail(void **state)
{
	static const int codes[] = {EIO, ENOMEM, EINVAL, EFBIG};
	struct error error = {.message = ""};
	struct feed_place place;
	struct kv *kv;

	(void)state;
	feed_place_init(&place, false);
	place.map_bytes = MAP_BYTES;
	struct kv_lmdb_options options = {.path = place.path, .create = true};

	assert_ok(kv_lmdb_open(&kv, &options, &error));
	assert_ok(write_generation(kv, 1, &error));
	kv_close(kv);
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		bool struck = true;

		for (uint64_t in = 1; struck; in++) {
			failing_calls_set(NULL, codes[i], in);
			int rc = kv_lmdb_open(&kv, &options, &error);

			failing_calls_stop();
			struck = failing_calls.struck != NULL;
			if (rc != 0)
				expect(rc, -codes[i], &error, place.path);
			else
				kv_close(kv);
			assert_true(rc == 0 || struck);
			assert_true(in < 300);
		}
		assert_ok(kv_lmdb_open(&kv, &options, &error));
		assert_ok(read_all(kv, 1, &error));
		kv_close(kv);
	}
	/* There is a least. */
	options.map_bytes = 1;
	failing_calls_set("mdb_env_set_mapsize", ENOMEM, 1);
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -ENOMEM);
	failing_calls_stop();
	feed_place_close(&place);
}

static void a_map_that_cannot_be_enlarged_stays(void **state)
{
	struct error error = {.message = ""};
	struct feed_place place;
	struct kv *kv;

	(void)state;
	feed_place_init(&place, false);
	place.map_bytes = MAP_BYTES;
	kv = feed_kv(&place);
	assert_ok(write_generation(kv, 1, &error));
	failing_calls_set("mdb_env_set_mapsize", ENOMEM, 1);
	assert_int_equal(kv_grow(kv, &error), -ENOMEM);
	failing_calls_stop();
	assert_non_null(strstr(error.message, "enlarge the map"));
	assert_ok(read_all(kv, 1, &error));
	assert_ok(kv_grow(kv, &error));
	assert_ok(read_all(kv, 1, &error));
	kv_close(kv);
	feed_place_close(&place);
}

/* To LMDB, a write that the disk takes only a part of is an input/output error. */
static void a_full_disk_is_told_as_such(void **state)
{
	struct error error = {.message = ""};
	struct feed_place place;
	struct kv *kv;

	(void)state;
	feed_place_init(&place, false);
	place.map_bytes = MAP_BYTES;
	kv = feed_kv(&place);
	for (int i = 0; i < 4; i++) {
		disk_is_full = (i & 1) != 0;
		disk_is_unknown = (i & 2) != 0;
		failing_calls_set("mdb_txn_commit", EIO, 1);
		assert_int_equal(write_generation(kv, 1, &error), i == 1 ? -ENOSPC : -EIO);
		failing_calls_stop();
	}
	disk_is_full = disk_is_unknown = false;
	assert_ok(write_generation(kv, 1, &error));
	kv_close(kv);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_of_a_write_may_fail),
		cmocka_unit_test(every_call_of_a_read_may_fail),
		cmocka_unit_test(every_call_of_an_opening_may_fail),
		cmocka_unit_test(a_map_that_cannot_be_enlarged_stays),
		cmocka_unit_test(a_full_disk_is_told_as_such),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
