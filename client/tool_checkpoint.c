/* `annal checkpoint`. */
#include "client/tool.h"

struct arguments {
	const char *words[3]; /* verb, consumer, position */
	size_t count;
	struct annal_checkpoint checkpoint;
	bool has_if_position;
	uint64_t if_position;
	struct annal_list list;
};

static const struct argp_option options[] = {
	{"if-position", 'i', "N", 0, "Of `put`: only when the stored position is N (none: 0)", 0},
	{"epoch", 'e', "N", 0, "Of `put`: refused when a higher one is stored", 0},
	{"prefix", 'p', "TEXT", 0, "Of `list`: only consumers whose names begin with it", 0},
	{0},
};

static const struct verb {
	const char *name;
	size_t operands;
	const char *usage;
} verbs[] = {
	{"get", 1, "checkpoint get CONSUMER"},
	{"put", 2, "checkpoint put CONSUMER POSITION [--if-position N] [--epoch N]"},
	{"list", 0, "checkpoint list [--prefix TEXT]"},
	{"delete", 1, "checkpoint delete CONSUMER"},
};

static void check_words(struct argp_state *state, struct arguments *arguments)
{
	const char *verb = arguments->count > 0 ? arguments->words[0] : "";
	bool puts = strcmp(verb, "put") == 0;

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(verb, verbs[i].name) != 0)
			continue;
		if (arguments->count != verbs[i].operands + 1)
			argp_error(state, "`annal %s` is wanted", verbs[i].usage);
		if ((arguments->has_if_position || arguments->checkpoint.epoch > 0) && !puts)
			argp_error(state, "--if-position and --epoch go with `checkpoint put`");
		if (arguments->list.prefix != NULL && strcmp(verb, "list") != 0)
			argp_error(state, "--prefix goes with `checkpoint list`");
		if (puts)
			arguments->checkpoint.position =
				tool_number(state, "POSITION", arguments->words[2], 0, INT64_MAX);
		arguments->checkpoint.consumer = arguments->words[1];
		return;
	}
	argp_error(state, "'%s': get, put, list or delete is wanted", verb);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'i':
		arguments->has_if_position = true;
		arguments->if_position =
			tool_number(state, "--if-position", argument, 0, INT64_MAX);
		return 0;
	case 'e':
		arguments->checkpoint.epoch = tool_number(state, "--epoch", argument, 1, INT64_MAX);
		return 0;
	case 'p':
		arguments->list.prefix = argument;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->count == sizeof arguments->words / sizeof arguments->words[0])
			argp_error(state, "'%s' is one too many", argument);
		arguments->words[arguments->count++] = argument;
		return 0;
	case ARGP_KEY_END:
		check_words(state, arguments);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static json_t *as_json(const struct annal_checkpoint_info *info)
{
	char updated[40];

	tool_time(info->updated_ns, updated);
	return json_pack("{s:s%, s:I, s:I, s:s}", "consumer", info->consumer.data,
			 info->consumer.size, "position", (json_int_t)info->position, "epoch",
			 (json_int_t)info->epoch, "updated", updated);
}

static enum tool_exit run_get(struct tool *tool, const char *consumer)
{
	struct annal_checkpoint_info info;

	if (annal_checkpoint_get(tool->client, consumer, &info) != ANNAL_OK)
		return tool_failed(tool->client, "checkpoint");
	tool_print_object(tool, as_json(&info));
	return TOOL_DONE;
}

static enum tool_exit run_list(struct tool *tool, struct annal_list *list)
{
	static const struct tool_column columns[] = {{"consumer", "CONSUMER", -40},
						     {"position", "POSITION", 12},
						     {"epoch", "EPOCH", 6},
						     {"updated", "UPDATED", -27}};
	struct annal_checkpoints *page, *last = NULL;
	struct tool_rows rows;
	enum annal_code code;

	while ((code = annal_checkpoint_list(tool->client, list, &page)) == ANNAL_OK) {
		if (last == NULL)
			tool_rows_begin(&rows, tool, columns, sizeof columns / sizeof columns[0]);
		annal_checkpoints_free(last);
		last = page;
		for (size_t i = 0; i < page->count; i++)
			tool_rows_print(&rows, as_json(&page->items[i]));
		if (page->end)
			break;
		list->after = page->next; /* as long as the page is kept */
	}
	if (last != NULL)
		tool_rows_end(&rows);
	annal_checkpoints_free(last);
	return code == ANNAL_OK ? TOOL_DONE : tool_failed(tool->client, "checkpoint");
}

static enum tool_exit run(struct tool *tool)
{
	struct arguments *arguments = tool->arguments;
	const char *verb = arguments->words[0];
	enum annal_code code;

	if (strcmp(verb, "get") == 0)
		return run_get(tool, arguments->words[1]);
	if (strcmp(verb, "list") == 0)
		return run_list(tool, &arguments->list);
	if (strcmp(verb, "put") == 0)
		code = annal_checkpoint_put(tool->client, &arguments->checkpoint,
					    arguments->has_if_position ? &arguments->if_position
								       : NULL);
	else
		code = annal_checkpoint_delete(tool->client, arguments->words[1]);
	if (code != ANNAL_OK)
		return tool_failed(tool->client, "checkpoint");
	tool_print_object(tool, json_pack("{s:s}", verb, "done"));
	return TOOL_DONE;
}

const struct tool_command tool_checkpoint = {
	.name = "checkpoint",
	.operands = "get CONSUMER\nput CONSUMER POSITION\nlist\ndelete CONSUMER",
	.summary = "Look at, and set, how far consumers have come.",
	.details = "Example: annal checkpoint put mailer 4711 --if-position 4700 --epoch 3",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run,
};
