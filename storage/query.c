/* Queries: built, encoded, matched against a record. */
#include "storage/query.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/text.h"

#include <errno.h>

#define ITEM_HEADER_BYTES 10

void query_init(struct query *query)
{
	buffer_init(&query->items);
	buffer_init(&query->names);
}

void query_close(struct query *query)
{
	buffer_close(&query->items);
	buffer_close(&query->names);
}

void query_clear(struct query *query)
{
	buffer_clear(&query->items);
	buffer_clear(&query->names);
}

/* ---- building ---- */

static struct query_item *last_item(struct query *query)
{
	ASSERT(query->items.size > 0);
	return (struct query_item *)(void *)(query->items.data + query->items.size) - 1;
}

void query_add_item(struct query *query)
{
	struct query_item item = {0};

	buffer_append(&query->items, &item, sizeof item);
}

void query_add_name(struct query *query, enum query_part part, struct span name)
{
	struct query_item *item = last_item(query);

	for (int later = (int)part + 1; later < QUERY_PARTS; later++)
		ASSERT(item->count[later] == 0);
	if (item->count[part]++ == 0)
		item->first[part] = (uint32_t)(query->names.size / sizeof name);
	buffer_append(&query->names, &name, sizeof name);
}

void query_set_prefix(struct query *query, struct span prefix)
{
	last_item(query)->prefix = prefix;
}

/* ---- looking ---- */

const struct query_item *query_item(const struct query *query, uint32_t index)
{
	ASSERT(index < query_item_count(query));
	return (const struct query_item *)(const void *)query->items.data + index;
}

const struct span *query_item_names(const struct query *query, const struct query_item *item,
				    enum query_part part)
{
	const struct span *names = (const struct span *)(const void *)query->names.data;

	return item->count[part] > 0 ? names + item->first[part] : NULL;
}

uint32_t query_name_count(const struct query *query)
{
	uint32_t count = (uint32_t)(query->names.size / sizeof(struct span));

	for (uint32_t i = 0; i < query_item_count(query); i++)
		count += query_item(query, i)->prefix.size > 0;
	return count;
}

static bool is_one_of(struct span name, const struct span *names, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (span_equal(names[i], name))
			return true;
	return false;
}

static bool has_all_tags(const struct record *record, const struct span *tags, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (!is_one_of(tags[i], record->tags, record->tag_count))
			return false;
	return true;
}

static bool begins_with(struct span name, struct span prefix)
{
	return name.size >= prefix.size && memcmp(name.data, prefix.data, prefix.size) == 0;
}

bool query_item_matches(const struct query *query, const struct query_item *item,
			const struct record *record)
{
	struct {
		enum query_part part;
		struct span name;
	} single[] = {{QUERY_TYPES, record->type},
		      {QUERY_CATEGORIES, text_category(record->stream)},
		      {QUERY_STREAMS, record->stream}};

	for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
		enum query_part part = single[i].part;

		if (item->count[part] > 0 &&
		    !is_one_of(single[i].name, query_item_names(query, item, part),
			       item->count[part]))
			return false;
	}
	return has_all_tags(record, query_item_names(query, item, QUERY_TAGS),
			    item->count[QUERY_TAGS]) &&
	       (item->prefix.size == 0 || begins_with(record->stream, item->prefix));
}

bool query_matches(const struct query *query, const struct record *record)
{
	if (record->stream.data[0] == '$')
		return false;
	for (uint32_t i = 0; i < query_item_count(query); i++)
		if (query_item_matches(query, query_item(query, i), record))
			return true;
	return query_is_all(query);
}

/* ---- encoding ---- */

static void append_u16(struct buffer *into, size_t value)
{
	ASSERT(value <= UINT16_MAX);
	bytes_set_le16(buffer_reserve(into, 2), (uint16_t)value);
	into->size += 2;
}

static void encode_item(const struct query *query, const struct query_item *item,
			struct buffer *into)
{
	for (int part = 0; part < QUERY_PARTS; part++)
		append_u16(into, item->count[part]);
	append_u16(into, item->prefix.size);
	for (int part = 0; part < QUERY_PARTS; part++) {
		const struct span *names = query_item_names(query, item, (enum query_part)part);

		for (uint32_t i = 0; i < item->count[part]; i++) {
			append_u16(into, names[i].size);
			buffer_append_span(into, names[i]);
		}
	}
	buffer_append_span(into, item->prefix);
}

void query_encode(const struct query *query, struct buffer *into)
{
	uint32_t count = query_item_count(query);

	bytes_set_le32(buffer_reserve(into, 4), count);
	into->size += 4;
	for (uint32_t i = 0; i < count; i++)
		encode_item(query, query_item(query, i), into);
}

/* Take `size` bytes off the front; false when there are fewer. */
static bool take(struct span *bytes, size_t size, struct span *taken)
{
	if (bytes->size < size)
		return false;
	*taken = span_of(bytes->data, size);
	*bytes = span_of(bytes->data + size, bytes->size - size);
	return true;
}

static bool take_name(struct span *bytes, struct span *name)
{
	struct span size;

	return take(bytes, 2, &size) && bytes_le16(size.data) > 0 &&
	       take(bytes, bytes_le16(size.data), name);
}

/* False: it is malformed. */
static bool parse_item(struct span *bytes, struct query *query)
{
	struct span header, name;
	uint32_t all = 0;

	if (!take(bytes, ITEM_HEADER_BYTES, &header))
		return false;
	query_add_item(query);
	for (int part = 0; part < QUERY_PARTS; part++) {
		uint32_t count = bytes_le16(header.data + 2 * part);

		all += count;
		if (query_name_count(query) + count > LIMIT_QUERY_NAMES)
			return false;
		for (uint32_t i = 0; i < count; i++) {
			if (!take_name(bytes, &name))
				return false;
			query_add_name(query, (enum query_part)part, name);
		}
	}
	uint32_t prefix_bytes = bytes_le16(header.data + 8);

	if (!take(bytes, prefix_bytes, &name))
		return false;
	query_set_prefix(query, name);
	return (all > 0 || prefix_bytes > 0) && query_name_count(query) <= LIMIT_QUERY_NAMES;
}

int query_parse(struct span bytes, struct query *query, struct error *error)
{
	struct span header;

	query_clear(query);
	if (!take(&bytes, 4, &header))
		return error_set(error, -EBADMSG, "query: %zu bytes are too few", bytes.size);
	uint32_t count = bytes_le32(header.data);

	if (count > LIMIT_QUERY_ITEMS)
		return error_set(error, -EBADMSG, "query: %u items, the limit is %u", count,
				 LIMIT_QUERY_ITEMS);
	for (uint32_t i = 0; i < count; i++)
		if (!parse_item(&bytes, query))
			return error_set(error, -EBADMSG, "query: item %u of %u is malformed", i,
					 count);
	if (bytes.size > 0)
		return error_set(error, -EBADMSG, "query: %zu bytes behind the last item",
				 bytes.size);
	return 0;
}
