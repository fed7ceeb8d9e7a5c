#include "node/query_decode.h"

#include "base/assert.h"
#include "base/map.h"
#include "base/text.h"
#include "node/arguments.h"
#include <stdarg.h>
#include <stdio.h>

#define PREFIX_KEY         "stream_prefix"
#define FEW_NAMES          16u /* compared one by one; more go through a map */
#define NO_INDEX           UINT32_MAX
#define PATH_BYTES_MAX     48u
#define ARGUMENT_BYTES_MAX 96u

static_assert(PATH_BYTES_MAX + sizeof "[4294967295].stream_prefix[4294967295]" <=
		      ARGUMENT_BYTES_MAX,
	      "the longest place is told whole");
static_assert(LIMIT_STREAM_NAME_BYTES <= UINT16_MAX && LIMIT_QUERY_NAMES <= UINT16_MAX,
	      "as the encoding has it");

/* In the order in which a query is built. */
static const char *const part_keys[QUERY_PARTS] = {
	[QUERY_TYPES] = "types",
	[QUERY_TAGS] = "tags",
	[QUERY_CATEGORIES] = "categories",
	[QUERY_STREAMS] = "streams",
};

/* What one decode carries along, the place in it included. */
struct decode {
	const char *path;
	struct query *query;
	struct query_problem *problem;
	uint32_t item; /* NO_INDEX: the query as a whole */
	const char *key;
	uint32_t element; /* of the part; NO_INDEX: the part as a whole */
	uint32_t names;   /* of all items so far */
};

/* ---- problems ---- */

static void write_place(const struct decode *decode, char place[ARGUMENT_BYTES_MAX])
{
	char item[16] = "", element[16] = "";

	if (decode->item != NO_INDEX)
		snprintf(item, sizeof item, "[%u]", decode->item);
	if (decode->element != NO_INDEX)
		snprintf(element, sizeof element, "[%u]", decode->element);
	snprintf(place, ARGUMENT_BYTES_MAX, "%s%s%s%s%s", decode->path, item,
		 decode->key != NULL ? "." : "", decode->key != NULL ? decode->key : "", element);
}

/* The sentence goes on behind the place where we are. */
static bool refuse(struct decode *decode, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static bool refuse(struct decode *decode, const char *format, ...)
{
	struct query_problem *problem = decode->problem;
	va_list list;

	static_assert(sizeof problem->argument == ARGUMENT_BYTES_MAX, "a place fits");
	write_place(decode, problem->argument);
	int written = snprintf(problem->message, sizeof problem->message, "%s ", problem->argument);

	ASSERT(written > 1 && (size_t)written < sizeof problem->message);
	va_start(list, format);
	vsnprintf(problem->message + written, sizeof problem->message - (size_t)written, format,
		  list);
	va_end(list);
	return false;
}

static bool refuse_type(struct decode *decode, const char *wanted, struct span value)
{
	struct msgpack_reader reader = msgpack_reader_of(value);

	return refuse(decode, "must be %s, not %s", wanted,
		      msgpack_type_name(msgpack_read_type(&reader)));
}

/* ---- names ---- */

static const char *category_problem(struct span name)
{
	if (name.size == 0)
		return "is empty";
	if (name.size > LIMIT_STREAM_NAME_BYTES)
		return "is longer than 1024 bytes";
	return text_is_utf8(name) ? NULL : "is not well-formed UTF-8";
}

static const char *name_problem(enum query_part part, struct span name)
{
	if (part == QUERY_CATEGORIES)
		return category_problem(name);
	return part == QUERY_STREAMS ? text_stream_name_problem(name) : text_label_problem(name);
}

static bool count_names(struct decode *decode, uint32_t count)
{
	if (count > LIMIT_QUERY_NAMES - decode->names) {
		decode->item = NO_INDEX;
		decode->key = NULL;
		return refuse(decode, "must have at most %u names in all its items together",
			      LIMIT_QUERY_NAMES);
	}
	decode->names += count;
	return true;
}

/* Whether the part that is being read has it already. `seen` is used when there are many. */
static bool is_repeated(const struct decode *decode, enum query_part part, struct map *seen,
			struct span name)
{
	const struct query *query = decode->query;
	const struct query_item *item = query_item(query, query_item_count(query) - 1);

	if (seen != NULL)
		return ++*map_put(seen, name, 0) > 1;
	for (uint32_t i = 0; i < item->count[part]; i++)
		if (span_equal(query_item_names(query, item, part)[i], name))
			return true;
	return false;
}

static bool read_names(struct decode *decode, enum query_part part, struct msgpack_reader *reader,
		       uint32_t count, struct map *seen)
{
	struct span name;

	for (uint32_t i = 0; i < count; i++) {
		decode->element = i;
		if (!msgpack_read_str(reader, &name))
			return refuse(decode, "must be a string, not %s",
				      msgpack_type_name(msgpack_read_type(reader)));
		const char *wrong = name_problem(part, name);

		if (wrong != NULL)
			return refuse(decode, "%s", wrong);
		if (!is_repeated(decode, part, seen, name))
			query_add_name(decode->query, part, name);
	}
	decode->element = NO_INDEX;
	return true;
}

static bool read_part(struct decode *decode, enum query_part part, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct map seen;
	uint32_t count;

	decode->key = part_keys[part];
	if (!msgpack_read_array(&reader, &count))
		return refuse_type(decode, "a non-empty array of strings", raw);
	if (count == 0)
		return refuse(decode, "must not be empty: leave it out, or name something");
	if (!count_names(decode, count))
		return false;
	map_init(&seen);
	bool right = read_names(decode, part, &reader, count, count > FEW_NAMES ? &seen : NULL);

	map_close(&seen);
	return right;
}

static bool read_prefix(struct decode *decode, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span prefix;

	decode->key = PREFIX_KEY;
	if (!msgpack_read_str(&reader, &prefix))
		return refuse_type(decode, "a non-empty string", raw);
	const char *wrong = text_stream_name_problem(prefix);

	if (wrong != NULL)
		return refuse(decode, "%s", wrong);
	if (!count_names(decode, 1))
		return false;
	query_set_prefix(decode->query, prefix);
	return true;
}

/* ---- items ---- */

static bool read_item(struct decode *decode, struct msgpack_reader *reader)
{
	struct arguments parts;
	struct span map = {0}, raw;
	uint32_t present = 0;

	decode->key = NULL;
	if (msgpack_read_type(reader) != MSGPACK_TYPE_MAP || !msgpack_read_raw(reader, &map))
		return refuse(decode, "must be a map, not %s",
			      msgpack_type_name(msgpack_read_type(reader)));
	bool whole = arguments_index(&parts, map);

	if (parts.pairs > LIMIT_MAP_PAIRS)
		return refuse(decode, "must be a map of at most %u pairs, not %u", LIMIT_MAP_PAIRS,
			      parts.pairs);
	if (!whole)
		return refuse(decode, "must be a map");
	query_add_item(decode->query);
	for (int part = 0; part < QUERY_PARTS; part++) {
		if (!arguments_find(&parts, part_keys[part], &raw))
			continue;
		if (!read_part(decode, (enum query_part)part, raw))
			return false;
		present++;
	}
	if (arguments_find(&parts, PREFIX_KEY, &raw))
		return read_prefix(decode, raw);
	decode->key = NULL;
	if (present == 0)
		return refuse(decode,
			      "must have at least one of types, tags, categories, streams and "
			      "stream_prefix");
	return true;
}

static bool read_items(struct decode *decode, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span text;
	uint32_t count;

	if (msgpack_read_str(&reader, &text) && span_equal_string(text, "all"))
		return true;
	reader = msgpack_reader_of(raw);
	if (!msgpack_read_array(&reader, &count))
		return refuse(decode, "must be \"all\" or a non-empty array of maps");
	if (count == 0)
		return refuse(decode, "must not be empty: \"all\" matches every event");
	if (count > LIMIT_QUERY_ITEMS)
		return refuse(decode, "must have at most %u items, not %u", LIMIT_QUERY_ITEMS,
			      count);
	for (uint32_t i = 0; i < count; i++) {
		decode->item = i;
		if (!read_item(decode, &reader))
			return false;
	}
	return true;
}

bool query_decode(struct span raw, const char *path, struct query *query,
		  struct query_problem *problem)
{
	struct decode decode = {.path = path,
				.query = query,
				.problem = problem,
				.item = NO_INDEX,
				.element = NO_INDEX};

	ASSERT(query->items.size == 0 && strlen(path) < PATH_BYTES_MAX);
	if (read_items(&decode, raw))
		return true;
	query_clear(query);
	return false;
}
