#include "client/tool_query.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include <errno.h>
#include <string.h>

static const char *const part_names[TOOL_QUERY_PARTS] = {
	[TOOL_QUERY_TYPE] = "type",         [TOOL_QUERY_TAG] = "tag",
	[TOOL_QUERY_CATEGORY] = "category", [TOOL_QUERY_STREAM] = "stream",
	[TOOL_QUERY_PREFIX] = "prefix",
};

struct value {
	uint32_t item;
	enum tool_query_part part;
	const char *text;
};

struct tool_query {
	char *text; /* values of a parsed one, each zero-terminated */
	bool parsed;
	uint32_t items_count; /* as given */
	struct value values[LIMIT_QUERY_NAMES];
	uint32_t values_count;
	/* As built. */
	const char *names[LIMIT_QUERY_NAMES];
	struct annal_query_item items[LIMIT_QUERY_ITEMS];
};

struct tool_query *tool_query_new(void)
{
	return memory_zeroed(1, sizeof(struct tool_query));
}

void tool_query_free(struct tool_query *query)
{
	if (query == NULL)
		return;
	memory_free(query->text);
	memory_free(query);
}

bool tool_query_is_empty(const struct tool_query *query)
{
	return query->values_count == 0 && !query->parsed;
}

static int add_value(struct tool_query *query, uint32_t item, enum tool_query_part part,
		     const char *text, struct error *error)
{
	ASSERT(part < TOOL_QUERY_PARTS);
	if (text[0] == '\0')
		return error_set(error, -EINVAL, "the value of %s is empty", part_names[part]);
	if (query->values_count == LIMIT_QUERY_NAMES)
		return error_set(error, -EINVAL, "a query has at most %u values",
				 LIMIT_QUERY_NAMES);
	query->values[query->values_count++] = (struct value){item, part, text};
	return 0;
}

int tool_query_add(struct tool_query *query, enum tool_query_part part, const char *value,
		   struct error *error)
{
	ASSERT(!query->parsed);
	query->items_count = 1;
	return add_value(query, 0, part, value, error);
}

/* ---- text ---- */

/* Where the parser is. What it has read of values is written over the copy, from its beginning. */
struct cursor {
	struct tool_query *query;
	const char *begin, *at;
	char *out;
	struct error *error;
};

static int wrong(const struct cursor *cursor, const char *at, const char *problem)
{
	return error_set(cursor->error, -EINVAL, "at character %zu ('%.20s'): %s",
			 (size_t)(at - cursor->begin) + 1, at, problem);
}

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static void skip_spaces(struct cursor *cursor)
{
	while (is_space(*cursor->at))
		cursor->at++;
}

static int read_part_name(struct cursor *cursor, enum tool_query_part *part)
{
	const char *begin = cursor->at;
	size_t size = strcspn(begin, "= \t\n\r;,");

	for (unsigned i = 0; i < TOOL_QUERY_PARTS; i++) {
		if (strlen(part_names[i]) != size || strncmp(begin, part_names[i], size) != 0)
			continue;
		if (begin[size] != '=')
			return wrong(cursor, begin,
				     "an `=` and a value are wanted behind the name");
		*part = (enum tool_query_part)i;
		cursor->at += size + 1;
		return 0;
	}
	return wrong(cursor, begin, "type=, tag=, category=, stream= or prefix= is wanted here");
}

/* Behind the opening quote, up to behind the closing one. */
static int read_quoted(struct cursor *cursor, const char *opening)
{
	for (; *cursor->at != '"'; cursor->at++) {
		if (*cursor->at == '\\' && cursor->at[1] != '\0')
			cursor->at++;
		if (*cursor->at == '\0')
			return wrong(cursor, opening, "the closing quote is missing");
		*cursor->out++ = *cursor->at;
	}
	cursor->at++;
	return 0;
}

static int read_value(struct cursor *cursor, enum tool_query_part part, uint32_t item)
{
	const char *begin = cursor->at;
	char *value = cursor->out;
	struct error unused;

	while (*cursor->at != '\0' && *cursor->at != ',' && *cursor->at != ';' &&
	       !is_space(*cursor->at)) {
		if (*cursor->at == '"') {
			int status = read_quoted(cursor, cursor->at++);

			if (status != 0)
				return status;
			continue;
		}
		if (*cursor->at == '\\' && *++cursor->at == '\0')
			return wrong(cursor, begin, "a character is wanted behind the backslash");
		*cursor->out++ = *cursor->at++;
	}
	if (cursor->out == value)
		return wrong(cursor, begin, "a value is wanted here");
	*cursor->out++ = '\0';
	if (add_value(cursor->query, item, part, value, &unused) != 0)
		return wrong(cursor, begin, unused.message);
	return 0;
}

static int read_part(struct cursor *cursor, uint32_t item)
{
	enum tool_query_part part = TOOL_QUERY_PARTS;
	int status = read_part_name(cursor, &part);

	if (status == 0)
		status = read_value(cursor, part, item);
	while (status == 0 && *cursor->at == ',') {
		cursor->at++;
		status = read_value(cursor, part, item);
	}
	return status;
}

static int read_item(struct cursor *cursor, uint32_t item)
{
	int status = 0;

	skip_spaces(cursor);
	if (*cursor->at == '\0' || *cursor->at == ';')
		return wrong(cursor, cursor->at, "an item is wanted here, such as type=A");
	while (status == 0 && *cursor->at != '\0' && *cursor->at != ';') {
		status = read_part(cursor, item);
		skip_spaces(cursor);
	}
	return status;
}

static bool is_all(struct cursor *cursor)
{
	skip_spaces(cursor);
	return strncmp(cursor->at, "all", 3) == 0 &&
	       cursor->at[3 + strspn(cursor->at + 3, " ")] == 0;
}

int tool_query_parse(struct tool_query *query, const char *text, struct error *error)
{
	struct cursor cursor = {.query = query, .begin = text, .at = text, .error = error};
	int status = 0;

	ASSERT(tool_query_is_empty(query));
	/* A value is never longer than what stands for it, and its zero takes the place of what
	 * separates it from the next one. */
	query->text = memory_zeroed(strlen(text) + 1, 1);
	query->parsed = true;
	cursor.out = query->text;
	if (is_all(&cursor))
		return 0;
	do {
		if (query->items_count == LIMIT_QUERY_ITEMS)
			return wrong(&cursor, cursor.at, "there are more than 64 items");
		status = read_item(&cursor, query->items_count++);
	} while (status == 0 && *cursor.at++ == ';');
	static_assert(LIMIT_QUERY_ITEMS == 64, "the message says so");
	return status;
}

/* ---- building ---- */

/* The values of a part of an item, put behind those that are there. */
static struct annal_strings gather(struct tool_query *query, uint32_t item,
				   enum tool_query_part part, uint32_t *used)
{
	struct annal_strings strings = {.items = &query->names[*used]};

	for (uint32_t i = 0; i < query->values_count; i++)
		if (query->values[i].item == item && query->values[i].part == part)
			query->names[(*used)++] = query->values[i].text;
	strings.count = (size_t)(&query->names[*used] - strings.items);
	return strings;
}

int tool_query_build(struct tool_query *query, struct annal_query *into, struct error *error)
{
	uint32_t used = 0;
	size_t count = 0;

	for (uint32_t i = 0; i < query->items_count; i++) {
		const struct annal_query_item item = {
			.types = gather(query, i, TOOL_QUERY_TYPE, &used),
			.tags = gather(query, i, TOOL_QUERY_TAG, &used),
			.categories = gather(query, i, TOOL_QUERY_CATEGORY, &used),
			.streams = gather(query, i, TOOL_QUERY_STREAM, &used),
		};
		const struct annal_strings prefixes = gather(query, i, TOOL_QUERY_PREFIX, &used);
		size_t copies = prefixes.count > 0 ? prefixes.count : 1;

		if (count + copies > LIMIT_QUERY_ITEMS)
			return error_set(error, -EINVAL,
					 "a query has at most %u items; each prefix makes one",
					 LIMIT_QUERY_ITEMS);
		for (size_t k = 0; k < copies; k++) {
			query->items[count] = item;
			if (prefixes.count > 0)
				query->items[count].stream_prefix = prefixes.items[k];
			count++;
		}
	}
	*into = (struct annal_query){query->items, count};
	return 0;
}
