/* stream_list, category_list, type_list: which names there are, a page at a time. See read.h. */
#include "node/reading.h"

#include "base/assert.h"

#include <errno.h>

#define LIST_STREAMS_DEFAULT 1000u
#define LIST_OTHERS_DEFAULT  LIMIT_NAMES
/* What a name comes to in a result besides its bytes: an array of 2, a header, a number. */
#define ENTRY_BYTES_MAX 16u

static const char *result_key(enum name_kind kind)
{
	static const char *const keys[] = {
		[NAMES_STREAMS] = "streams",
		[NAMES_CATEGORIES] = "categories",
		[NAMES_TYPES] = "types",
	};

	ASSERT((size_t)kind < sizeof keys / sizeof keys[0]);
	return keys[kind];
}

static const struct name_entry *entry_of(const struct name_page *page, uint32_t index)
{
	ASSERT(index < page->count);
	return (const struct name_entry *)(const void *)page->entries.data + index;
}

static struct span name_of(const struct name_page *page, uint32_t index)
{
	const struct name_entry *entry = entry_of(page, index);

	return span_of(page->text.data + entry->offset, entry->size);
}

/* How many of them fit. One does: a name is small beside the smallest message. */
static uint32_t count_that_fits(const struct name_page *page, size_t bytes_max)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < page->count; i++) {
		bytes += name_of(page, i).size + ENTRY_BYTES_MAX;
		if (bytes > bytes_max && i > 0)
			return i;
	}
	return page->count;
}

static void write_names(struct reading *reading, const struct name_page *page)
{
	struct buffer *result = &reading->result;
	uint32_t count = count_that_fits(page, reading->range.bytes_max);
	bool end = page->end && count == page->count;

	ASSERT(end || count > 0);
	msgpack_write_map(result, 4);
	msgpack_write_string(result, result_key(reading->names.kind));
	msgpack_write_array(result, count);
	for (uint32_t i = 0; i < count; i++) {
		msgpack_write_array(result, 2);
		msgpack_write_str(result, name_of(page, i));
		msgpack_write_u64(result, entry_of(page, i)->count);
	}
	msgpack_write_string(result, "next");
	if (end)
		msgpack_write_nil(result);
	else
		msgpack_write_str(result, name_of(page, count - 1));
	msgpack_write_string(result, "end");
	msgpack_write_bool(result, end);
	result_u64(result, "head", page->head);
}

static int run_names(struct reading *reading, struct store *store)
{
	struct name_page page = {0};

	buffer_init(&page.entries);
	buffer_init(&page.text);
	int rc = store_list_names(store, &reading->names, &page, &reading->error);

	if (rc == 0)
		write_names(reading, &page);
	buffer_close(&page.entries);
	buffer_close(&page.text);
	return rc == -ENOENT ? -EBADMSG : rc; /* an empty list is a list */
}

static const struct reading_kind names_kind = {run_names, NULL, false, NULL};

static bool get_name(struct request *request, const char *argument, struct span *name)
{
	struct span given = {0};

	if (!request_arg_str(request, argument, &given))
		return false;
	if (given.size <= RECORD_STREAM_BYTES_MAX) {
		*name = given;
		return true;
	}
	request_answer_invalid(request, argument, "%s must have at most %u bytes, not %zu",
			       argument, RECORD_STREAM_BYTES_MAX, given.size);
	return false;
}

static bool get_names(struct reading *reading, uint64_t limit)
{
	struct request *request = reading->request;
	struct name_range *range = &reading->names;
	uint64_t bytes_max = read_page_bytes_max(request->node);

	if (!get_name(request, "prefix", &range->prefix) ||
	    !get_name(request, "after", &range->after) ||
	    !request_arg_u64(request, "limit", 1, LIMIT_NAMES, &limit))
		return false;
	range->limit = (uint32_t)limit;
	if (bytes_max > limit * (RECORD_STREAM_BYTES_MAX + ENTRY_BYTES_MAX))
		bytes_max = limit * (RECORD_STREAM_BYTES_MAX + ENTRY_BYTES_MAX);
	reading->range.bytes_max = bytes_max;
	return true;
}

static void list(struct request *request, enum name_kind kind, uint64_t limit_default)
{
	struct reading *reading = reading_new(request, &names_kind);

	reading->names.kind = kind;
	reading_begin(reading, (kind != NAMES_STREAMS ||
				get_name(request, "category", &reading->names.category)) &&
				       get_names(reading, limit_default));
}

void method_stream_list(struct request *request)
{
	list(request, NAMES_STREAMS, LIST_STREAMS_DEFAULT);
}

void method_category_list(struct request *request)
{
	list(request, NAMES_CATEGORIES, LIST_OTHERS_DEFAULT);
}

void method_type_list(struct request *request)
{
	list(request, NAMES_TYPES, LIST_OTHERS_DEFAULT);
}
