/* The flush thread: what it is asked for becomes durable, by size, by age, by request and at the
 * end. */
#include "tests/unit/storage/feed.h"

#include "storage/flusher.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define LONG_MS 600000u

struct watched {
	struct feed_place place;
	struct store *store;
	struct flusher *flusher;
	uint64_t applied;
	atomic_uint flushed, failed;
};

static void flushed(void *arg)
{
	atomic_fetch_add(&((struct watched *)arg)->flushed, 1);
}

static void failed(void *arg, const struct error *error)
{
	assert_true(error->message[0] != 0);
	atomic_fetch_add(&((struct watched *)arg)->failed, 1);
}

/* map_bytes 0: in memory; else on LMDB, with a map so small at first. */
static void start_on(struct watched *watched, uint64_t map_bytes, uint64_t tail_bytes,
		     uint32_t age_ms)
{
	memset(watched, 0, sizeof *watched);
	feed_place_init(&watched->place, map_bytes == 0);
	watched->place.map_bytes = map_bytes;
	watched->store = feed_store(&watched->place);
	struct flusher_options options = {.store = watched->store,
					  .tail_bytes = tail_bytes,
					  .age_ms = age_ms,
					  .flushed = flushed,
					  .failed = failed,
					  .arg = watched};
	watched->flusher = flusher_new(&options);
}

static void start(struct watched *watched, uint64_t tail_bytes, uint32_t age_ms)
{
	start_on(watched, 0, tail_bytes, age_ms);
}

static void stop(struct watched *watched)
{
	store_close(watched->store);
	feed_place_close(&watched->place);
}

static void apply_one(struct watched *watched)
{
	struct feed_append append = feed_single("s", watched->applied + 1);
	struct error error;

	assert_ok(feed_apply(watched->store, ++watched->applied, &append, NULL, &error));
	flusher_notice(watched->flusher);
}

static void wait_until_durable(struct watched *watched)
{
	struct store_status status;

	do {
		usleep(1000);
		store_get_status(watched->store, &status);
	} while (status.durable_index < watched->applied);
}

static void what_is_asked_for_becomes_durable(void **state)
{
	static struct watched watched;
	struct manifest manifest;

	(void)state;
	start(&watched, 1 * GIB, LONG_MS);
	for (int i = 0; i < 10; i++)
		apply_one(&watched);
	assert_int_equal(flusher_wait(watched.flusher, 7, LONG_MS), 0);
	store_get_manifest(watched.store, &manifest);
	assert_int_equal(manifest.applied_index, 10);
	assert_int_equal(flusher_wait(watched.flusher, 10, 0), 0); /* at once: it is */
	assert_int_equal(flusher_wait(watched.flusher, 11, 1), -ETIMEDOUT);
	apply_one(&watched); /* was asked for already */
	wait_until_durable(&watched);
	flusher_free(watched.flusher);
	stop(&watched);
}

static void an_old_record_becomes_durable(void **state)
{
	static struct watched watched;

	(void)state;
	start(&watched, 1 * GIB, 5);
	for (int i = 0; i < 3; i++) {
		apply_one(&watched);
		wait_until_durable(&watched);
	}
	flusher_free(watched.flusher);
	assert_true(atomic_load(&watched.flushed) >= 3);
	stop(&watched);
}

static void a_large_tail_becomes_durable(void **state)
{
	static struct watched watched;

	(void)state;
	start(&watched, 1, LONG_MS);
	apply_one(&watched);
	wait_until_durable(&watched);
	flusher_free(watched.flusher);
	stop(&watched);
}

static void the_rest_becomes_durable_at_the_end(void **state)
{
	static struct watched watched;
	struct store_status status;

	(void)state;
	for (int i = 0; i < 50; i++) { /* also when it is freed before the thread has begun */
		start(&watched, 1 * GIB, LONG_MS);
		apply_one(&watched);
		flusher_free(watched.flusher);
		store_get_status(watched.store, &status);
		assert_int_equal(status.durable_index, 1);
		stop(&watched);
	}
}

static void a_failed_flush_is_told_once_and_ends_the_waiting(void **state)
{
	static struct watched watched;
	struct store_status status;

	(void)state;
	start(&watched, 1 * GIB, LONG_MS);
	apply_one(&watched);
	kv_memory_disk_fail(watched.place.disk, 1);
	assert_int_equal(flusher_wait(watched.flusher, 1, LONG_MS), -EIO);
	apply_one(&watched);
	assert_int_equal(flusher_wait(watched.flusher, 2, LONG_MS), -EIO);
	flusher_free(watched.flusher);
	assert_int_equal(atomic_load(&watched.failed), 1);
	assert_int_equal(atomic_load(&watched.flushed), 0);
	store_get_status(watched.store, &status);
	assert_int_equal(status.durable_index, 0);
	assert_int_equal(status.head, 2);
	stop(&watched);
}

static atomic_bool over;

/* ---- superseded checkpoints ---- */

static void commit_one(struct watched *watched)
{
	uint64_t number = ++watched->applied;

	feed_checkpoint(watched->store, number, number % 2 == 0 ? "a" : "b", number);
	flusher_notice(watched->flusher);
}

static void *read_backward_all_the_time(void *arg);

/* With somebody who reads meanwhile; and the node may end in the middle of it. */
static void superseded_checkpoints_are_dropped(void **state)
{
	static struct watched watched;
	struct store_status status;
	pthread_t reader;

	(void)state;
	start_on(&watched, 256 * KIB, 20000, 1);
	atomic_store(&over, false);
	pthread_create(&reader, NULL, read_backward_all_the_time, &watched);
	for (int i = 0; i < 20000; i++)
		commit_one(&watched);
	assert_int_equal(flusher_wait(watched.flusher, watched.applied, LONG_MS), 0);
	do {
		usleep(1000);
		store_get_status(watched.store, &status);
	} while (status.superseded >= 1024);
	for (int i = 0; i < 2000; i++)
		commit_one(&watched);
	atomic_store(&over, true);
	pthread_join(reader, NULL);
	flusher_free(watched.flusher);
	assert_int_equal(atomic_load(&watched.failed), 0);
	store_get_status(watched.store, &status);
	assert_true(status.horizon > 0);
	stop(&watched);
}

static void a_failed_trim_is_told_once(void **state)
{
	static struct watched watched;
	struct store_status status;

	(void)state;
	start(&watched, 1 * GIB, LONG_MS);
	for (int i = 0; i < 2000; i++)
		commit_one(&watched);
	kv_memory_disk_fail(watched.place.disk, 2); /* the flush is the first */
	assert_int_equal(flusher_wait(watched.flusher, 2000, LONG_MS), 0);
	while (atomic_load(&watched.failed) == 0)
		usleep(1000);
	assert_int_equal(flusher_wait(watched.flusher, 2001, LONG_MS), -EIO);
	flusher_free(watched.flusher);
	assert_int_equal(atomic_load(&watched.failed), 1);
	store_get_status(watched.store, &status);
	assert_int_equal(status.superseded, 1998);
	stop(&watched);
}

/* ---- everything at once, for the thread sanitizer ---- */

static void check_order(struct page *page, bool backward)
{
	struct span left = buffer_span(&page->records);
	uint64_t before = 0;

	for (uint32_t i = 0; i < page->count; i++) {
		struct record record;

		assert_int_equal(record_parse(left, &record), 0);
		assert_true(before == 0 || record.position == (backward ? before - 1 : before + 1));
		before = record.position;
		left.data += record.bytes.size;
		left.size -= record.bytes.size;
	}
	assert_int_equal(left.size, 0);
}

static void *read_all_the_time(void *arg)
{
	struct watched *watched = arg;
	struct read_range all = {.limit = 10000, .bytes_max = 1 * MIB}, some = all;
	struct stream_status status;
	struct page page;
	struct error error;

	buffer_init(&page.records);
	while (!atomic_load(&over)) {
		buffer_clear(&page.records);
		assert_ok(store_read_all(watched->store, &all, true, &page, &error));
		check_order(&page, false);
		all.from = page.end ? 0 : page.next;
		buffer_clear(&page.records);
		assert_ok(store_read_stream(watched->store, span_of_string("s"), &some, &page,
					    &status, &error));
		check_order(&page, some.backward);
		assert_int_equal(status.version, status.head); /* one stream: they move together */
		some.backward = !some.backward;
	}
	buffer_close(&page.records);
	return NULL;
}

/* From the head to the first record: the last of both consumers are always there. */
static void *read_backward_all_the_time(void *arg)
{
	struct watched *watched = arg;
	struct read_range range = {.limit = 10000, .bytes_max = 16 * MIB, .backward = true};
	struct page page;
	struct error error;
	uint32_t seen = 0;

	buffer_init(&page.records);
	while (!atomic_load(&over)) {
		buffer_clear(&page.records);
		assert_ok(store_read_all(watched->store, &range, true, &page, &error));
		seen = range.from == 0 ? page.count : seen + page.count;
		assert_true(!page.end || page.head < 2 || seen >= 2);
		range.from = page.end ? 0 : page.next;
	}
	buffer_close(&page.records);
	return NULL;
}

static void run_readers(uint64_t map_bytes)
{
	static struct watched watched;
	pthread_t readers[2];

	start_on(&watched, map_bytes, 50000, 1);
	atomic_store(&over, false);
	for (size_t i = 0; i < COUNT_OF(readers); i++)
		pthread_create(&readers[i], NULL, read_all_the_time, &watched);
	for (int i = 0; i < 5000; i++)
		apply_one(&watched);
	atomic_store(&over, true);
	for (size_t i = 0; i < COUNT_OF(readers); i++)
		pthread_join(readers[i], NULL);
	assert_int_equal(flusher_wait(watched.flusher, watched.applied, LONG_MS), 0);
	flusher_free(watched.flusher);
	assert_int_equal(atomic_load(&watched.failed), 0);
	if (map_bytes > 0) {
		char path[96];
		struct stat status;

		snprintf(path, sizeof path, "%s/data.mdb", watched.place.path);
		assert_int_equal(stat(path, &status), 0);
		assert_true((uint64_t)status.st_size > map_bytes); /* or nothing had to grow */
	}
	stop(&watched);
}

static void readers_see_one_consistent_state_while_flushes_run(void **state)
{
	(void)state;
	run_readers(0);
}

static void readers_go_on_while_the_map_grows(void **state)
{
	(void)state;
	run_readers(256 * KIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_asked_for_becomes_durable),
		cmocka_unit_test(an_old_record_becomes_durable),
		cmocka_unit_test(a_large_tail_becomes_durable),
		cmocka_unit_test(the_rest_becomes_durable_at_the_end),
		cmocka_unit_test(a_failed_flush_is_told_once_and_ends_the_waiting),
		cmocka_unit_test(superseded_checkpoints_are_dropped),
		cmocka_unit_test(a_failed_trim_is_told_once),
		cmocka_unit_test(readers_see_one_consistent_state_while_flushes_run),
		cmocka_unit_test(readers_go_on_while_the_map_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
