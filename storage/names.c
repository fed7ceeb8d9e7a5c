/* Names of streams, categories and types, with their counts. */
#include "base/assert.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/text.h"
#include "storage/page.h"

#include <stdlib.h>

#define STEP_RECORDS 1024

static int compare_names(const void *a, const void *b)
{
	const struct span *left = a, *right = b;
	struct tables_key left_key, right_key;

	tables_name_key(*left, 0, &left_key);
	tables_name_key(*right, 0, &right_key);
	size_t common = left_key.size < right_key.size ? left_key.size : right_key.size;
	int order = memcmp(left_key.bytes, right_key.bytes, common);

	return order != 0 ? order
			  : (left_key.size > right_key.size) - (left_key.size < right_key.size);
}

static bool begins_with(struct span name, struct span prefix)
{
	return name.size >= prefix.size &&
	       (prefix.size == 0 || memcmp(name.data, prefix.data, prefix.size) == 0);
}

static bool is_wanted(const struct name_range *range, struct span name)
{
	if (!begins_with(name, range->prefix))
		return false;
	if (range->kind == NAMES_STREAMS && name.data[0] == '$' && range->prefix.size == 0)
		return false;
	if (range->kind == NAMES_STREAMS && range->category.size > 0 &&
	    !span_equal(text_category(name), range->category))
		return false;
	return range->after.size == 0 || compare_names(&name, &range->after) > 0;
}

static void note_record(const struct name_range *range, const struct record *record,
			struct map *counts)
{
	bool is_system = record->stream.data[0] == '$';
	struct span name = record->stream;

	if (range->kind == NAMES_CATEGORIES)
		name = text_category(record->stream);
	else if (range->kind == NAMES_TYPES)
		name = record->type;
	if (name.size == 0 || (is_system && range->kind != NAMES_STREAMS) ||
	    !is_wanted(range, name))
		return;
	uint64_t *count = map_put(counts, name, 0);
	*count = range->kind == NAMES_STREAMS ? record->version : *count + 1;
}

static int count_names(struct store *store, const struct name_range *range, struct map *counts,
		       uint64_t *head, struct error *error)
{
	struct read_range step = {
		.from = 1, .limit = STEP_RECORDS, .bytes_max = LIMIT_READ_BYTES_DEFAULT};
	struct page page = {.end = false};
	int rc = 0;

	buffer_init(&page.records);
	*head = 0;
	while (rc == 0 && !page.end) {
		buffer_clear(&page.records);
		rc = store_read_all(store, &step, true, &page, error);
		struct span rest = buffer_span(&page.records);

		*head = *head == 0 ? page.head : *head;
		for (uint32_t i = 0; rc == 0 && i < page.count; i++) {
			struct record record;

			rc = record_parse(rest, &record);
			ASSERT(rc == 0);
			if (record.position <= *head)
				note_record(range, &record, counts);
			rest = span_of(record.bytes.data + record.bytes.size,
				       rest.size - record.bytes.size);
		}
		step.from = page.next;
	}
	buffer_close(&page.records);
	return rc;
}

static void add_entry(struct name_page *page, struct span name, uint64_t count)
{
	struct name_entry entry = {
		.offset = (uint32_t)page->text.size, .size = (uint32_t)name.size, .count = count};

	buffer_append_span(&page->text, name);
	buffer_append(&page->entries, &entry, sizeof entry);
	page->count++;
}

int store_list_names(struct store *store, const struct name_range *range, struct name_page *page,
		     struct error *error)
{
	struct map counts;

	ASSERT(range->limit >= 1 && range->limit <= LIMIT_NAMES);
	map_init(&counts);
	page->count = 0;
	int rc = count_names(store, range, &counts, &page->head, error);
	struct span *names = memory_alloc((counts.count + 1) * sizeof names[0]);

	for (uint32_t i = 0; i < counts.count; i++)
		names[i] = map_key(&counts, &counts.entries[i]);
	qsort(names, counts.count, sizeof names[0], compare_names);
	for (uint32_t i = 0; i < counts.count && i < range->limit; i++)
		add_entry(page, names[i], *map_get(&counts, names[i]));
	page->end = counts.count <= range->limit;
	memory_free(names);
	map_close(&counts);
	return rc;
}
