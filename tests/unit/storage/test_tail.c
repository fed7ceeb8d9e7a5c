/* The tail's ids: each is found at its position, whatever their order and version; no other is. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "storage/ahead.h"
#include "storage/command.h"

#define RECORDS 6000u

/* How the ids of a run are made. */
enum id_kind { RISING, SHUFFLED, RANDOM, MIXED, KINDS };

static void make_id(enum id_kind kind, uint64_t number, uint64_t *seed, uint8_t id[UUID_BYTES])
{
	uint64_t place = kind == SHUFFLED ? number ^ 0x3f : number;

	if (kind == MIXED)
		kind = (enum id_kind)(unit_random(seed) % MIXED);
	bytes_set_be64(id, kind == RANDOM ? unit_random(seed) : (place + 1) << 16);
	bytes_set_be64(id + 8, unit_random(seed));
	id[6] = (uint8_t)((kind == RANDOM ? 0x40 : 0x70) | (id[6] & 0x0f));
}

static void add(struct tail *tail, const uint8_t *id, uint64_t position)
{
	const struct record_fields fields = {
		.id = id, .stream = span_of_string("s"), .type = span_of_string("t")};
	const struct stream_facts facts = {.version = position, .first_version = 1};
	struct tail_record record = {.hash = position};
	struct buffer buffer;
	size_t size;

	buffer_init(&buffer);
	record_encode(&buffer, &fields);
	record_stamp(buffer.data, position, position, 0);
	record.size = (uint32_t)buffer.size;
	record.bytes = buffer.data;
	uint8_t *body = buffer_take(&buffer, &size);

	tail_own(tail, body, size);
	tail_add_record(tail, &record, fields.stream, &facts);
}

static void check_kind(enum id_kind kind)
{
	static uint8_t ids[RECORDS][UUID_BYTES];
	struct machine_head head = {0};
	uint64_t seed = kind + 1;
	struct tail tail;

	tail_init(&tail, &head);
	for (uint32_t i = 0; i < RECORDS; i++) {
		make_id(kind, i, &seed, ids[i]);
		assert_int_equal(tail_find_id(&tail, ids[i]), 0);
		tail_prefetch_id(&tail, ids[i]);
		add(&tail, ids[i], i + 1);
		assert_int_equal(tail_find_id(&tail, ids[i]), i + 1);
		if (i == RECORDS / 2) {
			head.position = i + 1;
			tail_freeze(&tail, &head);
		}
	}
	for (uint32_t i = 0; i < RECORDS; i++) {
		uint8_t other[UUID_BYTES];

		memcpy(other, ids[i], sizeof other);
		other[15] ^= 1;
		assert_int_equal(tail_find_id(&tail, ids[i]), i + 1);
		assert_int_equal(tail_find_id(&tail, other), 0);
	}
	tail_recycle(&tail, tail_drop(&tail));
	assert_int_equal(tail_find_id(&tail, ids[0]), 0);
	assert_int_equal(tail_find_id(&tail, ids[RECORDS - 1]), RECORDS);
	tail_close(&tail);
}

static void each_id_is_found_and_no_other(void **state)
{
	(void)state;
	for (int kind = 0; kind < KINDS; kind++)
		check_kind((enum id_kind)kind);
}

static void add_run(struct tail *tail, uint32_t first, uint32_t count, uint64_t *seed)
{
	for (uint32_t i = first; i < first + count; i++) {
		uint8_t id[UUID_BYTES];

		make_id(RANDOM, i, seed, id);
		add(tail, id, i);
		assert_int_equal(tail_find_id(tail, id), i);
	}
	tail_count_bytes(tail);
}

static uint32_t ids_listed(const struct tail_generation *generation)
{
	uint32_t listed = 0;

	for (uint32_t i = 0; i < generation->id_slots_count; i++)
		listed += generation->id_slots[i] != 0;
	return listed;
}

/* Generations of every size, each on the arrays of the last but one: as on new ones, and as full. */
static void arrays_used_again_are_as_new(void **state)
{
	static const uint32_t counts[] = {5000, 700, 6000, 3000, 0, 64, 65, 10, 2000};
	struct machine_head head = {0};
	struct tail tail;
	bool kept = false;

	(void)state;
	tail_init(&tail, &head);
	for (uint32_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		uint64_t seed = i + 1, fresh_seed = seed;
		struct tail fresh;

		tail_init(&fresh, &head);
		add_run(&fresh, (uint32_t)head.position + 1, counts[i], &fresh_seed);
		add_run(&tail, (uint32_t)head.position + 1, counts[i], &seed);
		assert_int_equal(atomic_load(&tail.bytes), atomic_load(&fresh.bytes));
		assert_int_equal(ids_listed(tail.active), counts[i]);
		tail_close(&fresh);
		head.position += counts[i];
		tail_freeze(&tail, &head);
		tail_recycle(&tail, tail_drop(&tail));
		kept = kept || tail.spare.records != NULL;
	}
	assert_true(kept);
	tail_close(&tail);
}

/* ---- looking ahead ---- */

static void build_item(struct buffer *items, uint32_t number)
{
	const struct expectation expectation = {.stream = span_of_string("stream"),
						.written = true};
	const uint8_t id[UUID_BYTES] = {(uint8_t)number};
	const struct record_fields fields = {
		.id = id, .stream = expectation.stream, .type = span_of_string("t")};
	size_t offset = command_item_begin(items);

	for (uint32_t i = 0; i < number % 3; i++)
		command_item_add_expectation(items, &expectation);
	if (number % 4 > 0)
		command_item_add_record(items, &fields);
	command_item_end(items, offset);
}

/* Each item once, and not beyond the last one: the sanitizers watch the reads. */
static void every_item_is_looked_at_before_its_turn(void **state)
{
	const struct machine_head head = {0};
	struct stream_cache cache;
	struct tail tail;

	(void)state;
	tail_init(&tail, &head);
	stream_cache_init(&cache, MIB);
	for (uint32_t count = 0; count < 40; count++) {
		struct buffer items;
		struct ahead ahead;

		buffer_init(&items);
		for (uint32_t i = 0; i < count; i++)
			build_item(&items, i);
		struct span exact =
			unit_exact(count > 0 ? items.data : (const uint8_t *)"", items.size);

		ahead_begin(&ahead, &tail, &cache, exact);
		for (uint32_t i = 0; i < count; i++) {
			ahead_step(&ahead, i);
			assert_true(ahead.seen > i && ahead.seen <= count);
		}
		assert_int_equal(ahead.seen, count);
		unit_free_exact(exact);
		buffer_close(&items);
	}
	stream_cache_close(&cache);
	tail_close(&tail);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_id_is_found_and_no_other),
		cmocka_unit_test(arrays_used_again_are_as_new),
		cmocka_unit_test(every_item_is_looked_at_before_its_turn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
