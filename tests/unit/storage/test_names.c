/* Lists of names against a model that goes through every record. */
#include "tests/unit/storage/query_model.h"

#include "base/checksum.h"
#include "storage/tables.h"

#include <pthread.h>
#include <stdatomic.h>

struct model_name {
	struct span name;
	uint64_t count;
};

/* The order that is promised: long names by their first 400 bytes, 0xff and a checksum. */
static int compare_models(const void *a, const void *b)
{
	const struct model_name *names[2] = {a, b};
	uint8_t keys[2][TABLES_NAME_BYTES_MAX + 9];
	size_t sizes[2];

	for (int i = 0; i < 2; i++) {
		struct span name = names[i]->name;

		sizes[i] = name.size < 400 ? name.size : 400;
		memcpy(keys[i], name.data, sizes[i]);
		if (name.size <= 400)
			continue;
		keys[i][400] = 0xff;
		bytes_set_be64(keys[i] + 401, checksum64(name.data, name.size));
		sizes[i] = 409;
	}
	int order = memcmp(keys[0], keys[1], sizes[0] < sizes[1] ? sizes[0] : sizes[1]);

	return order != 0 ? order : (sizes[0] > sizes[1]) - (sizes[0] < sizes[1]);
}

static bool starts(struct span name, struct span prefix)
{
	return name.size >= prefix.size &&
	       (prefix.size == 0 || memcmp(name.data, prefix.data, prefix.size) == 0);
}

/* The name that a record counts for; empty: none. */
static struct span name_in(const struct record *record, enum name_kind kind)
{
	bool is_system = record->stream.data[0] == '$';

	if (kind == NAMES_STREAMS)
		return record->stream;
	if (is_system)
		return span_of(NULL, 0);
	return kind == NAMES_TYPES ? record->type : text_category(record->stream);
}

static uint32_t model_names(const struct query_model *model, const struct name_range *range,
			    struct model_name *names)
{
	uint32_t count = 0, at;

	for (uint32_t i = 0; i < model->count; i++) {
		struct record record;

		assert_int_equal(record_parse(model->records[i], &record), 0);
		struct model_name found = {.name = name_in(&record, range->kind)};

		if (found.name.size == 0 || !starts(found.name, range->prefix))
			continue;
		if (range->kind == NAMES_STREAMS &&
		    ((found.name.data[0] == '$' && range->prefix.size == 0) ||
		     (range->category.size > 0 &&
		      !span_equal(text_category(found.name), range->category))))
			continue;
		for (at = 0; at < count && !span_equal(names[at].name, found.name); at++)
			;
		if (at == count)
			names[count++] = found;
		names[at].count =
			range->kind == NAMES_STREAMS ? record.version : names[at].count + 1;
	}
	qsort(names, count, sizeof names[0], compare_models);
	return count;
}

/* Page after page, each of which begins behind the one before. */
static void check_names(struct query_model *model, struct name_range *range)
{
	struct model_name names[2 * MODEL_STREAMS];
	uint32_t count = model_names(model, range, names), at = 0;
	struct name_page page = {.end = false};
	struct error error;

	buffer_init(&page.entries);
	buffer_init(&page.text);
	for (range->after = span_of(NULL, 0); !page.end; range->after = names[at - 1].name) {
		buffer_clear(&page.entries);
		buffer_clear(&page.text);
		assert_ok(store_list_names(model->store, range, &page, &error));
		assert_int_equal(page.head, model->count);
		assert_int_equal(page.count, count - at < range->limit ? count - at : range->limit);
		assert_int_equal(page.end, at + page.count == count);
		const struct name_entry *entries =
			(const struct name_entry *)(const void *)page.entries.data;

		for (uint32_t i = 0; i < page.count; i++, at++) {
			struct span name =
				span_of(page.text.data + entries[i].offset, entries[i].size);

			assert_true(span_equal(name, names[at].name));
			assert_int_equal(entries[i].count, names[at].count);
		}
		if (at == 0)
			break;
	}
	buffer_close(&page.entries);
	buffer_close(&page.text);
}

static void check_random(struct query_model *model)
{
	static const char *const prefixes[] = {"Order-", "Or", "O", "$", "$snapshot-1", "-", "p"};
	struct span stream = model_stream(model, (uint32_t)model_roll(model, MODEL_STREAMS));
	struct name_range range = {.kind = (enum name_kind)model_roll(model, 3),
				   .limit = 1 + (uint32_t)model_roll(model, 20)};

	if (model_roll(model, 3) == 0)
		range.prefix = span_of_string(prefixes[model_roll(model, 7)]);
	else if (model_roll(model, 3) == 0)
		range.prefix = span_of(stream.data, 1 + model_roll(model, stream.size));
	if (model_roll(model, 3) == 0)
		range.category = text_category(stream);
	check_names(model, &range);
}

static void run_model(uint64_t seed, bool in_memory)
{
	struct query_model *model = model_new(seed, in_memory);

	check_random(model);
	while (model->count < 400) {
		model_append(model, 1 + (uint32_t)model_roll(model, 20));
		if (model_roll(model, 4) == 0)
			model_flush(model);
		for (int i = 0; i < 10; i++)
			check_random(model);
	}
	model_free(model);
}

static void names_are_those_of_the_model_in_memory(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++)
		run_model(seed, true);
}

static void names_are_those_of_the_model_on_disk(void **state)
{
	(void)state;
	for (uint64_t seed = 101; seed <= 106; seed++)
		run_model(seed, false);
}

/* ---- more names than are looked at under the lock at once ---- */

#define MANY 10000u

static void apply_stream(struct store *store, uint64_t number)
{
	struct error error;
	char stream[32];

	/* Not in the order of the names. */
	snprintf(stream, sizeof stream, "Many-%05u", (unsigned)(number * 7919 % MANY));
	struct feed_append append = feed_single(stream, number);

	assert_ok(feed_apply(store, number, &append, NULL, &error));
}

static void check_many(struct store *store, uint32_t limit)
{
	struct name_range range = {.kind = NAMES_STREAMS, .limit = limit};
	struct name_page page = {.end = false};
	struct error error;
	char last[32];
	uint32_t at = 0;

	buffer_init(&page.entries);
	buffer_init(&page.text);
	while (!page.end) {
		buffer_clear(&page.entries);
		buffer_clear(&page.text);
		assert_ok(store_list_names(store, &range, &page, &error));
		for (uint32_t i = 0; i < page.count; i++, at++) {
			const struct name_entry *entry =
				(const struct name_entry *)(const void *)page.entries.data + i;

			snprintf(last, sizeof last, "Many-%05u", at);
			assert_true(span_equal_string(
				span_of(page.text.data + entry->offset, entry->size), last));
			assert_int_equal(entry->count, 1);
		}
		range.after = span_of_string(last);
	}
	assert_int_equal(at, MANY);
	buffer_close(&page.entries);
	buffer_close(&page.text);
}

static void many_names_come_in_pages(void **state)
{
	(void)state;
	struct feed_place place;
	struct error error;

	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	for (uint64_t number = 1; number <= MANY; number++) {
		apply_stream(store, number);
		if (number == MANY / 4) {
			assert_ok(store_flush(store, &error));
		} else if (number == MANY / 2) {
			kv_memory_disk_fail(place.disk, 1);
			assert_int_equal(store_flush(store, &error), -EIO);
		}
	}
	check_many(store, 999);
	check_many(store, MANY);
	assert_ok(store_flush(store, &error));
	check_many(store, 4999);
	store_close(store);
	feed_place_close(&place);
}

struct race {
	struct store *store;
	atomic_bool over;
	uint64_t lists;
};

/* Every event is of one type and one category, and in one stream of its own. */
static void *list_while_writing(void *arg)
{
	struct race *race = arg;
	struct name_page page;
	struct error error;

	buffer_init(&page.entries);
	buffer_init(&page.text);
	while (!atomic_load(&race->over)) {
		struct name_range range = {.kind = (enum name_kind)(race->lists++ % 3),
					   .limit = LIMIT_NAMES};
		uint64_t sum = 0;

		buffer_clear(&page.entries);
		buffer_clear(&page.text);
		assert_ok(store_list_names(race->store, &range, &page, &error));
		for (uint32_t i = 0; i < page.count; i++)
			sum += ((const struct name_entry *)(const void *)page.entries.data)[i]
				       .count;
		assert_int_equal(sum, page.head);
	}
	buffer_close(&page.entries);
	buffer_close(&page.text);
	return NULL;
}

static void counts_are_of_one_moment_while_others_write(void **state)
{
	(void)state;
	struct race race = {.lists = 0};
	struct feed_place place;
	struct error error;
	pthread_t reader;

	feed_place_init(&place, false);
	race.store = feed_store(&place);
	atomic_init(&race.over, false);
	assert_int_equal(pthread_create(&reader, NULL, list_while_writing, &race), 0);
	for (uint64_t number = 1; number <= MANY; number++) {
		apply_stream(race.store, number);
		if (number % 500 == 0)
			assert_ok(store_flush(race.store, &error));
	}
	atomic_store(&race.over, true);
	pthread_join(reader, NULL);
	assert_true(race.lists > 0);
	store_close(race.store);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_those_of_the_model_in_memory),
		cmocka_unit_test(names_are_those_of_the_model_on_disk),
		cmocka_unit_test(many_names_come_in_pages),
		cmocka_unit_test(counts_are_of_one_moment_while_others_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
