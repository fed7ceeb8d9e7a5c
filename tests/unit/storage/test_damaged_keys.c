/* A key with a flipped bit, which looks as if it had never been there: nobody may take its absence for the truth. */
#include "tests/unit/storage/feed.h"

#include "storage/tables.h"

#define COMMANDS 60
#define STREAMS  5

static uint64_t seed;

/* Every third id is of version 4; a name that is no key, checkpoints, closed chunks of the category. */
static struct feed_append append_of(uint64_t index)
{
	static char long_name[480];
	const char *const streams[STREAMS] = {"Order-1", "Order-2", "$meta", long_name, "Parcel-9"};
	struct feed_append append;

	memset(long_name, 'n', sizeof long_name - 1);
	append = feed_single(streams[(index - 1) % STREAMS], index);
	append.events[0].tag_count = 1;
	append.events[0].tags[0] = span_of_string(index % 2 == 0 ? "even" : "odd");
	if (index % 3 == 0)
		append.events[0].id[6] = 0x40;
	bytes_set_be32(append.events[0].id, (uint32_t)(index * 2654435761u));
	return append;
}

static void fill(struct feed_place *place, uint64_t commands)
{
	struct store *store = feed_store(place);
	struct error error;

	for (uint64_t index = 1; index <= commands; index++) {
		struct feed_append append = append_of(index);

		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (index % 1000 == 0)
			assert_ok(store_flush(store, &error));
	}
	assert_ok(store_flush(store, &error));
	store_close(store);
}

/* By its id, by its stream and version, by its position. */
static bool is_found(struct store *store, uint64_t index)
{
	struct feed_append append = append_of(index);
	struct span stream = append.events[0].stream;
	bool found = true;
	struct error error;

	for (int way = 0; way < 3; way++) {
		struct buffer record;
		int rc;

		buffer_init(&record);
		if (way == 0)
			rc = store_read_id(store, append.events[0].id, &record, &error);
		else if (way == 1)
			rc = store_read_version(store, stream, (index - 1) / STREAMS + 1, &record,
						&error);
		else
			rc = store_read_position(store, index, &record, &error);
		if (rc == 0)
			assert_int_equal(record_position(record.data), index);
		else
			assert_int_equal(rc, -EBADMSG);
		found = found && rc == 0;
		buffer_close(&record);
	}
	return found;
}

/* Ask for everything: it is there, or its absence is called damage. True: damage was met. */
static bool is_damage_met(struct feed_place *place)
{
	struct store_options options = {.kv = feed_kv(place), .tail_bytes_max = 1 * MIB};
	struct store *store;
	struct error error;
	bool damaged = false;
	int rc = store_open(&store, &options, &error);

	if (rc != 0) {
		assert_int_equal(rc, -EBADMSG);
		return true;
	}
	for (uint64_t index = 1; index <= COMMANDS; index++)
		damaged = !is_found(store, index) || damaged;
	store_close(store);
	return damaged;
}

/* Where the bits of the keys of a table begin, as kv_memory_disk_flip counts. */
struct key_bits {
	enum kv_table table;
	uint64_t first, count;
};

static void find_keys(struct feed_place *place, struct buffer *keys)
{
	struct kv *kv = feed_kv(place);
	struct kv_cursor *cursor;
	struct kv_txn *txn;
	struct kv_pair pair;
	struct error error;
	uint64_t bits = 0;

	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	for (unsigned table = 0; table < KV_TABLE_COUNT; table++) {
		assert_ok(kv_cursor_open(txn, (enum kv_table)table, &cursor, &error));
		int rc = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, &error);
		for (; rc == 0;
		     rc = kv_cursor_seek(cursor, KV_NEXT, span_of(NULL, 0), &pair, &error)) {
			struct key_bits key = {(enum kv_table)table, bits, 8 * pair.key.size};

			buffer_append(keys, &key, sizeof key);
			bits += 8 * (pair.key.size + pair.value.size);
		}
		kv_cursor_close(cursor);
	}
	kv_abort(txn);
	kv_close(kv);
}

static void no_key_vanishes(void **state)
{
	static const bool decides[KV_TABLE_COUNT] = {
		[KV_META] = true, [KV_BLOCK] = true, [KV_EVENT_ID] = true, [KV_STREAM] = true};
	struct feed_place place;
	struct buffer keys;

	(void)state;
	feed_place_init(&place, true);
	fill(&place, COMMANDS);
	buffer_init(&keys);
	find_keys(&place, &keys);
	const struct key_bits *all = (const struct key_bits *)(const void *)keys.data;
	for (size_t i = 0; i < keys.size / sizeof *all; i++) {
		for (uint64_t bit = 0; bit < all[i].count; bit += 1 + unit_random(&seed) % 5) {
			assert_int_equal(kv_memory_disk_flip(place.disk, all[i].first + bit),
					 all[i].table);
			if (!is_damage_met(&place) && decides[all[i].table])
				fail_msg("bit %u of key %zu, of table %s", (unsigned)bit, i,
					 kv_table_name(all[i].table));
			kv_memory_disk_flip(place.disk, all[i].first + bit);
		}
	}
	assert_false(is_damage_met(&place));
	buffer_close(&keys);
	feed_place_close(&place);
}

/* ---- LMDB: a key of an inner page is damaged, so that keys are looked for on another page ---- */

#define MANY         3000
#define PAGE_BYTES   4096
#define FLAGS_OFFSET 10 /* of a page, u16 */
#define BRANCH       0x01

static uint8_t *read_file(const char *path, size_t *size)
{
	FILE *file = fopen(path, "rb");

	assert_non_null(file);
	assert_int_equal(fseek(file, 0, SEEK_END), 0);
	*size = (size_t)ftell(file);
	rewind(file);
	uint8_t *bytes = memory_alloc(*size);

	assert_int_equal(fread(bytes, 1, *size, file), *size);
	fclose(file);
	return bytes;
}

static void flip_byte(const char *path, size_t offset, uint8_t byte)
{
	FILE *file = fopen(path, "r+b");

	assert_non_null(file);
	assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
	assert_int_equal(fputc(byte, file), byte);
	assert_int_equal(fclose(file), 0);
}

/* How many are called damage; the others are found. */
static unsigned look_for_ids(struct feed_place *place)
{
	struct kv *kv = feed_kv(place);
	struct kv_txn *txn;
	struct error error;
	unsigned damaged = 0;

	assert_ok(kv_begin(kv, KV_READ, &txn, &error));
	for (uint64_t index = 1; index <= MANY; index++) {
		struct feed_append append = append_of(index);
		uint64_t position = 0;
		int rc = tables_get_id(txn, append.events[0].id, &position, &error);

		if (rc == 0)
			assert_int_equal(position, index);
		else
			assert_int_equal(rc, -EBADMSG);
		damaged += rc != 0;
	}
	kv_abort(txn);
	kv_close(kv);
	return damaged;
}

/* The places of this id in inner pages; those of versions that are over among them. */
static void flip_in_branches(struct feed_place *place, const char *path, const uint8_t *file,
			     size_t size, const uint8_t *id, unsigned *damaged)
{
	for (size_t page = 0; page + PAGE_BYTES <= size; page += PAGE_BYTES) {
		const uint8_t *at = file + page;

		if ((at[FLAGS_OFFSET] & BRANCH) == 0 || at[FLAGS_OFFSET + 1] != 0)
			continue;
		at = memmem(at, PAGE_BYTES, id, UUID_BYTES);
		if (at == NULL)
			continue;
		size_t offset = (size_t)(at - file) + unit_random(&seed) % 2;
		uint8_t bit = (uint8_t)(1 << unit_random(&seed) % 8);

		flip_byte(path, offset, file[offset] ^ bit);
		*damaged += look_for_ids(place);
		flip_byte(path, offset, file[offset]);
	}
}

static void no_key_vanishes_behind_a_damaged_inner_page(void **state)
{
	struct feed_place place;
	unsigned damaged = 0;
	char path[96];
	size_t size;

	(void)state;
	feed_place_init(&place, false);
	fill(&place, MANY);
	snprintf(path, sizeof path, "%s/data.mdb", place.path);
	uint8_t *file = read_file(path, &size);

	for (uint64_t index = 1; index <= MANY; index++) {
		struct feed_append append = append_of(index);

		flip_in_branches(&place, path, file, size, append.events[0].id, &damaged);
	}
	assert_true(damaged > 100);
	assert_int_equal(look_for_ids(&place), 0);
	memory_free(file);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_key_vanishes),
		cmocka_unit_test(no_key_vanishes_behind_a_damaged_inner_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
