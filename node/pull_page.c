#include "node/pull_page.h"

#include "base/assert.h"
#include "base/msgpack.h"
#include "storage/hole.h"
#include "storage/record.h"

#include <errno.h>

static bool parse_items(struct span raw, struct pull_page *page)
{
	struct msgpack_reader inside = msgpack_reader_of(raw);

	if (!msgpack_read_array(&inside, &page->count))
		return false;
	page->items = span_of(inside.at, (size_t)(inside.end - inside.at));
	return true;
}

static bool parse_manifest(struct span raw, struct pull_page *page)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct error error;
	struct span bytes;

	if (msgpack_read_nil(&reader))
		return true;
	page->has_manifest = msgpack_read_bin(&reader, &bytes) &&
			     manifest_decode(bytes, &page->manifest, &error) == 0;
	return page->has_manifest;
}

static bool parse_pair(struct span key, struct span raw, struct pull_page *page, bool *has_items)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (span_equal_string(key, "horizon"))
		return msgpack_read_u64(&reader, &page->horizon);
	if (span_equal_string(key, "manifest"))
		return parse_manifest(raw, page);
	if (!span_equal_string(key, "events"))
		return true;
	*has_items = parse_items(raw, page);
	return *has_items;
}

int pull_page_parse(struct span result, struct pull_page *page)
{
	struct msgpack_reader reader = msgpack_reader_of(result);
	bool has_items = false;
	uint32_t pairs;

	*page = (struct pull_page){0};
	if (!msgpack_read_map(&reader, &pairs))
		return -EBADMSG;
	while (pairs-- > 0) {
		struct span key, raw;

		if (!msgpack_read_str(&reader, &key) || !msgpack_read_raw(&reader, &raw) ||
		    !parse_pair(key, raw, page, &has_items))
			return -EBADMSG;
	}
	return has_items ? 0 : -EBADMSG;
}

/* A record or a hole at the front, as the positions that it covers. */
static int parse_item(struct span left, uint64_t next, struct hole *item, size_t *size,
		      struct error *error)
{
	struct record record;

	if (hole_is_next(left) && hole_parse(left, item) == 0) {
		*size = HOLE_BYTES;
		return 0;
	}
	if (record_parse(left, &record) != 0)
		return error_set(error, -EBADMSG, "what came for position %llu is no record",
				 (unsigned long long)next);
	*item = (struct hole){.first = record.position, .last = record.position};
	*size = record.bytes.size;
	return 0;
}

int pull_page_cut(const struct pull_page *page, uint64_t from, uint64_t to, uint64_t head,
		  struct span *items, bool *has_hole, struct error *error)
{
	struct span left = page->items;
	const uint8_t *begin = NULL;
	uint64_t next = from;

	ASSERT(from >= 1 && from <= to);
	*has_hole = false;
	while (left.size > 0 && next <= to) {
		struct hole item;
		size_t size;
		bool is_hole = hole_is_next(left);
		int rc = parse_item(left, next, &item, &size, error);

		if (rc != 0)
			return rc;
		/* A hole is told whole: that at `from` may begin before it. */
		bool follows = item.first == next ||
			       (is_hole && next == from && item.first < next && item.last >= next);
		if (!follows)
			return error_set(error, -EBADMSG,
					 "the record for position %llu says that it is at %llu",
					 (unsigned long long)next, (unsigned long long)item.first);
		if (begin == NULL && item.last > head)
			begin = left.data;
		*has_hole = *has_hole || (is_hole && begin != NULL);
		next = item.last + 1;
		left = span_of(left.data + size, left.size - size);
	}
	*items = begin != NULL ? span_of(begin, (size_t)(left.data - begin)) : span_of(NULL, 0);
	return 0;
}
