/* Packed commands: they open as they were, are applied as they were, and what is no such thing is refused. */
#include "tests/unit/storage/feed.h"

#include "storage/pack.h"

/* Items are not looked at: any bytes will do. */
static struct span make_batch(size_t size, bool repeats, uint64_t seed)
{
	uint8_t *body = memory_alloc(size);

	command_header_write(body, COMMAND_BATCH, 3, 77);
	for (size_t i = COMMAND_HEADER_BYTES; i < size; i++)
		body[i] = repeats && i % 64 >= 16 ? 'r' : (uint8_t)unit_random(&seed);
	return span_of(body, size);
}

/* The batch, packed; in a block of exactly its size. */
static struct span packed_of(struct span batch)
{
	uint8_t *into = memory_alloc(batch.size);
	struct pack pack;

	pack_init(&pack);
	assert_true(pack_wants(&pack, batch.size));
	size_t size = pack_batch(&pack, batch, into);
	assert_true(size > 0 && size <= batch.size - batch.size / 8);
	struct span packed = unit_exact(into, size);

	memory_free(into);
	pack_close(&pack);
	return packed;
}

static void what_repeats_gets_smaller_and_opens_as_it_was(void **state)
{
	static const size_t sizes[] = {PACK_BYTES_MIN,    2049, 4096, 65536, 65537, 300 * 1000,
				       LIMIT_APPEND_BYTES};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct span batch = make_batch(sizes[i], true, i), packed = packed_of(batch);
		struct error error;
		uint8_t *opened;
		size_t size;

		assert_true(pack_is_packed(packed) && !pack_is_packed(batch));
		assert_ok(pack_open(packed, &opened, &size, &error));
		assert_int_equal(size, batch.size);
		assert_memory_equal(opened, batch.data, size);
		memory_free(opened);
		unit_free_exact(packed);
		unit_free_exact(batch);
	}
}

/* Of so many batches, how many were tried. */
static uint32_t tries(struct pack *pack, struct span batch, uint32_t count, bool gets_smaller)
{
	uint8_t *into = memory_alloc(batch.size);
	uint32_t tried = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (!pack_wants(pack, batch.size))
			continue;
		assert_int_equal(pack_batch(pack, batch, into) > 0, gets_smaller);
		tried++;
	}
	memory_free(into);
	return tried;
}

static void what_does_not_is_left_alone_for_ever_longer(void **state)
{
	struct span random = make_batch(8000, false, 1), repeats = make_batch(8000, true, 1);
	struct pack pack;

	(void)state;
	pack_init(&pack);
	assert_false(pack_wants(&pack, PACK_BYTES_MIN - 1));
	/* 1 + 1 left alone, 1 + 2, 1 + 4 … */
	assert_int_equal(tries(&pack, random, 2 + 3 + 5 + 9 + 17 + 33, false), 6);
	assert_int_equal(tries(&pack, random, 10 * (1 + PACK_PAUSE_MAX), false), 10);
	assert_int_equal(tries(&pack, repeats, 100, true), 100);
	assert_int_equal(tries(&pack, random, 2 + 3, false), 2);
	pack_close(&pack);
	unit_free_exact(random);
	unit_free_exact(repeats);
}

static void assert_refused(const uint8_t *body, size_t size)
{
	struct span exact = unit_exact(body, size);
	struct error error;
	uint8_t *opened;
	size_t opened_size;

	assert_int_equal(pack_open(exact, &opened, &opened_size, &error), -EBADMSG);
	unit_free_exact(exact);
}

static void what_is_no_packed_command_is_refused(void **state)
{
	struct span batch = make_batch(5000, true, 1), packed = packed_of(batch);
	static const uint32_t wrong[] = {0,         1, 4983, 4985, 65536, LIMIT_ENTRY_BYTES_MAX,
					 UINT32_MAX};
	uint8_t *copy = memory_copy(packed.data, packed.size);

	(void)state;
	for (size_t size = 1; size < packed.size; size++)
		assert_refused(packed.data, size);
	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		bytes_set_le32(copy + COMMAND_HEADER_BYTES, wrong[i]);
		assert_refused(copy, packed.size);
	}
	memory_free(copy);
	unit_free_exact(packed);
	unit_free_exact(batch);
}

static struct span make_events(uint64_t first, uint32_t count)
{
	struct buffer items;

	buffer_init(&items);
	for (uint32_t i = 0; i < count; i++) {
		struct feed_append append = feed_single(i % 3 == 0 ? "a-1" : "b-2", first + i);

		feed_item(&items, &append);
	}
	struct span body = feed_command(&items, count, (int64_t)first);

	buffer_close(&items);
	return body;
}

static void count_decided(void *arg, uint32_t item, const struct outcome *outcome)
{
	uint32_t *decided = arg;

	assert_int_equal(item, (*decided)++);
	assert_int_equal(outcome->code, ANSWER_OK);
}

/* Two stores, one with packed commands: the same records, and the same answers. */
static void it_is_applied_as_the_batch_is(void **state)
{
	struct manifest manifests[2];
	struct error error;

	(void)state;
	for (int packs = 0; packs < 2; packs++) {
		struct feed_place place;

		feed_place_init(&place, true);
		struct store *store = feed_store(&place);
		for (uint64_t index = 1; index <= 5; index++) {
			struct span body = make_events(100 * index, 40), batch = body;
			struct apply_result result;
			uint32_t decided = 0;
			struct apply_sink sink = {.decided = count_decided, .arg = &decided};

			if (packs == 1) {
				body = packed_of(batch);
				unit_free_exact(batch);
			}
			assert_ok(store_apply(store, index, (uint8_t *)(uintptr_t)body.data,
					      body.size, &sink, &result, &error));
			assert_int_equal(decided, 40);
			assert_int_equal(result.last_position, 40 * index);
		}
		assert_ok(store_flush(store, &error));
		store_get_manifest(store, &manifests[packs]);
		store_close(store);
		feed_place_close(&place);
	}
	assert_int_equal(manifests[0].position, 200);
	assert_int_equal(manifests[0].hash, manifests[1].hash);
	assert_int_equal(manifests[0].created, manifests[1].created);
}

/* A body that does not open stops the store, as any damaged command does. */
static void damage_stops_the_store(void **state)
{
	struct span batch = make_events(1, 40), packed = packed_of(batch);
	struct feed_place place;
	struct apply_result result;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	uint8_t *damaged = memory_copy(packed.data, packed.size - 1);

	assert_int_equal(store_apply(store, 1, damaged, packed.size - 1, NULL, &result, &error),
			 -EBADMSG);
	assert_int_equal(store_apply(store, 1, (uint8_t *)(uintptr_t)packed.data, packed.size, NULL,
				     &result, &error),
			 -ESHUTDOWN);
	store_close(store);
	feed_place_close(&place);
	unit_free_exact(batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_repeats_gets_smaller_and_opens_as_it_was),
		cmocka_unit_test(what_does_not_is_left_alone_for_ever_longer),
		cmocka_unit_test(what_is_no_packed_command_is_refused),
		cmocka_unit_test(it_is_applied_as_the_batch_is),
		cmocka_unit_test(damage_stops_the_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
