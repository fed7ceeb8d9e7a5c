/*
 * Any bytes as a query: refused, or exactly what encoding it again gives; each of its items is a query
 * by itself, and it matches an event when one of them does.
 */
#include "base/assert.h"
#include "storage/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_encoding(const struct query *query, struct span wanted)
{
	struct buffer bytes;

	buffer_init(&bytes);
	query_encode(query, &bytes);
	ASSERT(span_equal(buffer_span(&bytes), wanted));
	buffer_close(&bytes);
}

static void copy_item(const struct query *query, const struct query_item *item, struct query *into)
{
	query_clear(into);
	query_add_item(into);
	for (int part = 0; part < QUERY_PARTS; part++)
		for (uint32_t i = 0; i < item->count[part]; i++)
			query_add_name(into, (enum query_part)part,
				       query_item_names(query, item, (enum query_part)part)[i]);
	query_set_prefix(into, item->prefix);
}

/* An event that has what the item asks for, if one can: then the item matches it. */
static struct record make_match(const struct query *query, const struct query_item *item)
{
	const struct span *streams = query_item_names(query, item, QUERY_STREAMS);
	struct record record = {.stream = span_of_string("Order-1"),
				.type = span_of_string("placed")};

	if (item->count[QUERY_STREAMS] > 0)
		record.stream = streams[item->count[QUERY_STREAMS] - 1];
	else if (item->prefix.size > 0)
		record.stream = item->prefix;
	if (item->count[QUERY_TYPES] > 0)
		record.type = query_item_names(query, item, QUERY_TYPES)[0];
	for (uint32_t i = 0; i < item->count[QUERY_TAGS] && i < LIMIT_TAGS; i++)
		record.tags[record.tag_count++] = query_item_names(query, item, QUERY_TAGS)[i];
	return record;
}

static void check_item(const struct query *query, const struct query_item *item)
{
	struct record record = make_match(query, item);
	bool any = false, is_system = record.stream.data[0] == '$';
	struct query single;

	query_init(&single);
	for (uint32_t i = 0; i < query_item_count(query); i++) {
		copy_item(query, query_item(query, i), &single);
		any |= query_matches(&single, &record);
	}
	ASSERT(query_matches(query, &record) == any && !(any && is_system));
	bool whole = item->count[QUERY_TAGS] <= LIMIT_TAGS && !is_system;

	if (whole && item->count[QUERY_CATEGORIES] == 0 &&
	    (item->count[QUERY_STREAMS] == 0 || item->prefix.size == 0))
		ASSERT(any);
	query_close(&single);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct query query;
	struct error error;

	query_init(&query);
	if (query_parse(span_of(data, size), &query, &error) == 0) {
		ASSERT(query_item_count(&query) <= LIMIT_QUERY_ITEMS);
		ASSERT(query_name_count(&query) <= LIMIT_QUERY_NAMES);
		check_encoding(&query, span_of(data, size));
		for (uint32_t i = 0; i < query_item_count(&query); i++)
			check_item(&query, query_item(&query, i));
	}
	query_close(&query);
	return 0;
}
