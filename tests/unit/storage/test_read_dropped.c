/* Reads of a checkpoint's stream while its records are superseded and dropped. */
#include "tests/unit/storage/feed.h"

/* Once, when the reader looks at a row without holding any lock, others go on. */
static struct {
	struct kv_operations hooked;
	const struct kv_operations *real;
	struct store *store;
	uint64_t index;
	bool armed;
} others;

static int hooked_get(struct kv_txn *txn, enum kv_table table, struct span key, struct span *value,
		      struct error *error)
{
	bool again = true;

	if (others.armed && table == KV_STREAM && !txn->write) {
		others.armed = false;
		others.index++;
		feed_checkpoint(others.store, others.index, "consumer", others.index);
		assert_int_equal(store_flush(others.store, error), 0);
		while (again)
			assert_int_equal(store_trim(others.store, &again, error), 0);
	}
	return others.real->get(txn, table, key, value, error);
}

static void read_last(bool flushed)
{
	struct read_range range = {.backward = true, .limit = 1, .bytes_max = 1};
	struct store_options options = {.tail_bytes_max = 1 << 20};
	struct kv_memory_disk *disk = kv_memory_disk_new();
	struct span stream = span_of_string("$checkpoint-consumer");
	struct stream_status status;
	struct page page = {0};
	struct error error;

	options.kv = kv_memory_open(disk);
	others.real = options.kv->operations;
	others.hooked = *others.real;
	others.hooked.get = hooked_get;
	options.kv->operations = &others.hooked;
	assert_ok(store_open(&others.store, &options, &error));
	others.index = 1;
	feed_checkpoint(others.store, 1, "consumer", 1);
	if (flushed)
		assert_ok(store_flush(others.store, &error));
	buffer_init(&page.records);
	others.armed = true;
	assert_ok(store_read_stream(others.store, stream, &range, &page, &status, &error));
	assert_false(others.armed);
	assert_int_equal(page.count, 1);
	assert_int_equal(status.version, record_version(page.records.data));
	assert_int_equal(status.count, 1);
	assert_true(page.head >= record_position(page.records.data));
	buffer_close(&page.records);
	store_close(others.store);
	kv_memory_disk_free(disk);
}

static void the_last_checkpoint_is_read_although_it_is_dropped_meanwhile(void **state)
{
	(void)state;
	read_last(false);
	read_last(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_checkpoint_is_read_although_it_is_dropped_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
