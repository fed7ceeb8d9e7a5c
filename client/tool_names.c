/* `annal streams`, `categories`, `types` and `count`: what there is. */
#include "client/tool.h"

#include "base/limits.h"

struct arguments {
	struct annal_list list;
	uint64_t limit; /* of all pages together; 0: none */
};

static const struct argp_option stream_options[] = {
	{"prefix", 'p', "TEXT", 0, "Only names that begin with it", 0},
	{"category", 'c', "NAME", 0, "Only streams of that category", 0},
	{"after", 'f', "NAME", 0, "Only names behind that one, in order of their bytes", 0},
	{"limit", 'n', "N", 0, "No more than N", 0},
	{0},
};

static const struct argp_option other_options[] = {
	{"prefix", 'p', "TEXT", 0, "Only names that begin with it", 0},
	{"after", 'f', "NAME", 0, "Only names behind that one, in order of their bytes", 0},
	{"limit", 'n', "N", 0, "No more than N", 0},
	{0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'p':
		arguments->list.prefix = argument;
		return 0;
	case 'c':
		arguments->list.category = argument;
		return 0;
	case 'f':
		arguments->list.after = annal_text(argument);
		return 0;
	case 'n':
		arguments->limit = tool_number(state, "--limit", argument, 1, INT64_MAX);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is one too many: this command takes no operands", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

typedef enum annal_code list_function(struct annal_client *client, const struct annal_list *list,
				      struct annal_names **names);

static void print_page(struct tool_rows *rows, const struct annal_names *page, uint64_t limit)
{
	for (size_t i = 0; i < page->count && (limit == 0 || rows->count < limit); i++) {
		const struct annal_name *item = &page->items[i];

		tool_rows_print(rows, json_pack("{s:s%, s:I}", rows->columns[0].key,
						item->name.data, item->name.size,
						rows->columns[1].key, (json_int_t)item->number));
	}
}

static enum tool_exit print_names(struct tool *tool, list_function *list,
				  const struct tool_column columns[2])
{
	struct arguments *arguments = tool->arguments;
	struct annal_names *page = NULL, *last = NULL;
	struct tool_rows rows;
	enum annal_code code;

	if (arguments->limit > 0 && arguments->limit < LIMIT_NAMES)
		arguments->list.limit = (uint32_t)arguments->limit;
	while ((code = list(tool->client, &arguments->list, &page)) == ANNAL_OK) {
		if (last == NULL)
			tool_rows_begin(&rows, tool, columns, 2);
		annal_names_free(last);
		last = page;
		print_page(&rows, page, arguments->limit);
		if (page->end || rows.count == arguments->limit)
			break;
		arguments->list.after = page->next; /* as long as the page is kept */
	}
	if (last != NULL)
		tool_rows_end(&rows);
	annal_names_free(last);
	return code == ANNAL_OK ? TOOL_DONE : tool_failed(tool->client, tool->command->name);
}

static enum tool_exit run_streams(struct tool *tool)
{
	static const struct tool_column columns[] = {{"stream", "STREAM", -50},
						     {"version", "VERSION", 12}};

	return print_names(tool, annal_list_streams, columns);
}

static enum tool_exit run_categories(struct tool *tool)
{
	static const struct tool_column columns[] = {{"category", "CATEGORY", -50},
						     {"events", "EVENTS", 12}};

	return print_names(tool, annal_list_categories, columns);
}

static enum tool_exit run_types(struct tool *tool)
{
	static const struct tool_column columns[] = {{"type", "TYPE", -50},
						     {"events", "EVENTS", 12}};

	return print_names(tool, annal_list_types, columns);
}

const struct tool_command tool_streams = {
	.name = "streams",
	.summary = "List streams with their versions.",
	.details = "Example: annal streams --category Order --limit 20",
	.options = stream_options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run_streams,
};

const struct tool_command tool_categories = {
	.name = "categories",
	.summary = "List categories with their numbers of events.",
	.details = "Example: annal categories",
	.options = other_options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run_categories,
};

const struct tool_command tool_types = {
	.name = "types",
	.summary = "List event types with their numbers of events.",
	.details = "Example: annal types --prefix Order",
	.options = other_options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run_types,
};

/* ---- count ---- */

static enum tool_exit run_count(struct tool *tool)
{
	uint64_t count;

	if (annal_count(tool->client, &tool->built_query, &count) != ANNAL_OK)
		return tool_failed(tool->client, "count");
	uint64_t head = annal_client_position(tool->client);

	tool_print_object(tool, json_pack("{s:I, s:I}", "count", (json_int_t)count, "head",
					  (json_int_t)head));
	return TOOL_DONE;
}

const struct tool_command tool_count = {
	.name = "count",
	.summary = "Count events, all or some.",
	.details = "Example: annal count --type OrderPlaced --tag customer:7",
	.takes_query = true,
	.run = run_count,
};
