/* LMDB's files and calls: what fails is told, and what was committed before is there. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/storage/feed.h"

#define KEYS 40

static void data_path(const struct feed_place *place, char path[96])
{
	snprintf(path, 96, "%s/data.mdb", place->path);
}

/* One more generation of the same keys. */
static int write_generation(struct kv *kv, uint64_t generation, struct error *error)
{
	struct kv_txn *txn;
	uint8_t key[8], value[2000];
	int rc = kv_begin(kv, KV_WRITE, &txn, error);

	if (rc != 0)
		return rc;
	for (uint64_t i = 0; rc == 0 && i < KEYS; i++) {
		bytes_set_be64(key, i);
		memset(value, (int)generation, sizeof value);
		rc = kv_put(txn, KV_BLOCK, span_of(key, 8), span_of(value, sizeof value), false,
			    error);
	}
	if (rc == 0)
		return kv_commit(txn, error);
	kv_abort(txn);
	return rc;
}

static void check_generation(struct kv *kv, uint64_t generation)
{
	struct kv_txn *txn;
	struct error error;
	struct span value;
	uint8_t key[8];

	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	for (uint64_t i = 0; i < KEYS; i++) {
		bytes_set_be64(key, i);
		assert_ok(kv_get(txn, KV_BLOCK, span_of(key, 8), &value, &error));
		assert_int_equal(value.size, 2000);
		assert_int_equal(value.data[i], generation);
	}
	kv_abort(txn);
}

static void a_store_that_cannot_be_made_is_made_the_next_time(void **state)
{
	bool struck = true;

	(void)state;
	for (uint64_t in = 1; struck; in++) {
		struct error error = {.message = ""};
		struct feed_place place;
		struct kv *kv;

		feed_place_init(&place, false);
		struct kv_lmdb_options options = {.path = place.path, .create = true};

		failing_calls_set(NULL, EIO, in);
		int rc = kv_lmdb_open(&kv, &options, &error);

		failing_calls_stop();
		struck = failing_calls.struck != NULL;
		if (rc != 0) {
			assert_true(struck && rc == -EIO && error.message[0] != 0);
			assert_ok(kv_lmdb_open(&kv, &options, &error));
		}
		assert_ok(write_generation(kv, 1, &error));
		check_generation(kv, 1);
		kv_close(kv);
		feed_place_close(&place);
		assert_true(in < 200);
	}
}

static void a_commit_that_fails_leaves_what_was_before(void **state)
{
	struct error error = {.message = ""};
	struct feed_place place;
	uint64_t generation = 1;
	bool struck = true;

	(void)state;
	feed_place_init(&place, false);
	struct kv *kv = feed_kv(&place);
	assert_ok(write_generation(kv, generation, &error));
	for (uint64_t in = 1; struck; in++) {
		failing_calls_set(NULL, EIO, in);
		int rc = write_generation(kv, generation + 1, &error);

		failing_calls_stop();
		struck = failing_calls.struck != NULL;
		assert_int_equal(rc, struck ? -EIO : 0);
		generation += rc == 0;
		kv_close(kv); /* as a node does, that ends */
		kv = feed_kv(&place);
		check_generation(kv, generation);
		assert_true(in < 200);
	}
	assert_int_equal(generation, 2);
	kv_close(kv);
	feed_place_close(&place);
}

static void overwrite(const char *path, off_t at, uint8_t byte)
{
	int file = open(path, O_WRONLY);

	assert_true(file >= 0);
	assert_int_equal(pwrite(file, &byte, 1, at), 1);
	close(file);
}

/* The frame of both meta pages, as LMDB checks it. */
static void a_file_that_is_no_store_is_damage(void **state)
{
	static const struct {
		off_t at;
		uint8_t byte;
	} cases[] = {{16, 0x11}, {20, 0x77}, {10, 0}}; /* magic, version, kind of page */
	struct error error;
	char path[96];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct feed_place place;
		struct kv *kv;

		feed_place_init(&place, false);
		struct kv_lmdb_options options = {.path = place.path, .create = true};
		kv = feed_kv(&place);
		assert_ok(write_generation(kv, 1, &error));
		kv_close(kv);
		data_path(&place, path);
		overwrite(path, cases[i].at, cases[i].byte);
		overwrite(path, 4096 + cases[i].at, cases[i].byte);
		assert_int_equal(kv_lmdb_open(&kv, &options, &error), -EBADMSG);
		assert_non_null(strstr(error.message, path));
		feed_place_close(&place);
	}
}

static void places_that_cannot_hold_a_store_are_refused(void **state)
{
	static char too_long[4200];
	struct kv_lmdb_options options = {.path = "/dev/null", .create = true};
	struct feed_place place;
	struct error error;
	struct kv *kv;
	char below[96];

	(void)state;
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -ENOTDIR);
	options.path = "/proc/nowhere/store";
	assert_int_equal(kv_lmdb_open(&kv, &options, &error), -ENOENT);
	memset(too_long, '/', sizeof too_long - 1);
	options.path = too_long;
	assert_true(kv_lmdb_open(&kv, &options, &error) < 0);
	/* A directory that is made, too. */
	feed_place_init(&place, false);
	snprintf(below, sizeof below, "%s/store", place.path);
	options.path = below;
	assert_ok(kv_lmdb_open(&kv, &options, &error));
	kv_close(kv);
	strcat(below, "/data.mdb");
	assert_int_equal(unlink(below), 0);
	memcpy(strrchr(below, '/'), "/lock.mdb", sizeof "/lock.mdb");
	assert_int_equal(unlink(below), 0);
	*strrchr(below, '/') = 0;
	assert_int_equal(rmdir(below), 0);
	feed_place_close(&place);
}

/* A file that LMDB made, and that was never filled. */
static void a_store_without_its_tables_is_damage(void **state)
{
	struct kv_lmdb_options options = {0};
	struct feed_place place;
	struct error error;
	struct kv *kv;
	bool found = false;

	(void)state;
	for (uint64_t in = 1; !found; in++) {
		feed_place_init(&place, false);
		options = (struct kv_lmdb_options){.path = place.path, .create = true};
		failing_calls_set("fdatasync", EIO, in);
		int rc = kv_lmdb_open(&kv, &options, &error);

		failing_calls_stop();
		if (rc == 0)
			kv_close(kv);
		options.create = false;
		rc = kv_lmdb_open(&kv, &options, &error);
		if (rc == 0)
			kv_close(kv);
		else
			assert_int_equal(rc, -EBADMSG);
		found = rc != 0 && strstr(error.message, "there is no table") != NULL;
		feed_place_close(&place);
		assert_true(in < 20);
	}
}

static void more_readers_than_there_is_room_for_are_told(void **state)
{
	static struct kv_txn *txns[2000];
	struct feed_place place;
	struct error error;
	size_t count = 0;
	int rc = 0;

	(void)state;
	feed_place_init(&place, false);
	struct kv *kv = feed_kv(&place);
	while (rc == 0 && count < COUNT_OF(txns)) {
		rc = kv_begin(kv, KV_READ, &txns[count], &error);
		count += rc == 0;
	}
	assert_int_equal(rc, -EUSERS);
	while (count > 0)
		kv_abort(txns[--count]);
	assert_ok(kv_begin(kv, KV_READ, &txns[0], &error));
	kv_abort(txns[0]);
	kv_close(kv);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places_that_cannot_hold_a_store_are_refused),
		cmocka_unit_test(a_file_that_is_no_store_is_damage),
		cmocka_unit_test(more_readers_than_there_is_room_for_are_told),
		cmocka_unit_test(a_store_that_cannot_be_made_is_made_the_next_time),
		cmocka_unit_test(a_store_without_its_tables_is_damage),
		cmocka_unit_test(a_commit_that_fails_leaves_what_was_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
