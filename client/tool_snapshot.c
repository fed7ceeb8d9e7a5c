/* `annal snapshot` and `annal load`. */
#include "client/tool.h"

#include <errno.h>
#include <inttypes.h>

struct arguments {
	const char *words[3]; /* verb, stream, version */
	size_t count;
	const char *type;
	struct buffer data;
	bool has_data, raw;
	uint64_t version, max_version;
};

static const struct argp_option options[] = {
	{"data", 'd', "DATA", 0, "Of `put`: the state, text, @FILE, or - for stdin; required", 0},
	{"type", 'T', "TYPE", 0, "Of `put`: what kind of state it is", 0},
	{"max-version", 'm', "N", 0, "Of `get`: the last one of a version up to N", 0},
	{"raw", 'r', NULL, 0, "Of `get`: the data alone, byte by byte", 0},
	{0},
};

static const struct verb {
	const char *name;
	size_t operands;
	const char *usage;
} verbs[] = {
	{"get", 1, "snapshot get STREAM [--max-version N] [--raw]"},
	{"put", 2, "snapshot put STREAM VERSION --data DATA [--type TYPE]"},
	{"delete", 1, "snapshot delete STREAM"},
};

static void check_words(struct argp_state *state, struct arguments *arguments)
{
	const char *verb = arguments->count > 0 ? arguments->words[0] : "";
	bool puts = strcmp(verb, "put") == 0, gets = strcmp(verb, "get") == 0;

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		if (strcmp(verb, verbs[i].name) != 0)
			continue;
		if (arguments->count != verbs[i].operands + 1 || arguments->has_data != puts)
			argp_error(state, "`annal %s` is wanted", verbs[i].usage);
		if (arguments->type != NULL && !puts)
			argp_error(state, "--type goes with `snapshot put`");
		if ((arguments->max_version > 0 || arguments->raw) && !gets)
			argp_error(state, "--max-version and --raw go with `snapshot get`");
		if (puts)
			arguments->version =
				tool_number(state, "VERSION", arguments->words[2], 1, INT64_MAX);
		return;
	}
	argp_error(state, "'%s': get, put or delete is wanted", verb);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'd':
		arguments->has_data = true;
		tool_take_payload(state, argument, &arguments->data);
		return 0;
	case 'T':
		arguments->type = argument;
		return 0;
	case 'm':
		arguments->max_version =
			tool_number(state, "--max-version", argument, 1, INT64_MAX);
		return 0;
	case 'r':
		arguments->raw = true;
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

/* ---- output ---- */

static void append_text(struct buffer *into, const char *text)
{
	buffer_append_span(into, span_of_string(text));
}

/* {"version":…,"type":…,"created":…,"data":…} */
static void append_snapshot(struct buffer *into, const struct annal_snapshot *snapshot)
{
	char head[96], created[40];

	tool_time(snapshot->created_ns, created);
	snprintf(head, sizeof head,
		 "{\"version\":%" PRIu64 ",\"created\":\"%s\",\"type\":", snapshot->version,
		 created);
	append_text(into, head);
	tool_json_string(into, span_of(snapshot->type.data, snapshot->type.size));
	append_text(into, ",");
	tool_json_payload(into, "data", snapshot->data, TOOL_PAYLOAD_SHOWN);
	append_text(into, "}");
}

static bool write_out(struct buffer *text)
{
	bool good = text->size == 0 || fwrite(text->data, 1, text->size, stdout) == text->size;

	buffer_clear(text);
	return good;
}

static void print_table(const struct annal_snapshot *snapshot)
{
	char created[40];
	struct buffer data;

	tool_time(snapshot->created_ns, created);
	buffer_init(&data);
	tool_table_data(&data, snapshot->data);
	printf("snapshot of version %" PRIu64 ", %.*s, %.19s: %.*s\n", snapshot->version,
	       (int)(snapshot->type.size & 0xff),
	       snapshot->type.size > 0 ? (const char *)snapshot->type.data : "", created,
	       (int)data.size, data.size > 0 ? (const char *)data.data : "");
	buffer_close(&data);
}

static enum tool_exit run_get(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	struct annal_snapshot snapshot;
	struct buffer text;
	bool good = true;

	if (annal_snapshot_get(tool->client, arguments->words[1], arguments->max_version,
			       &snapshot) != ANNAL_OK)
		return tool_failed(tool->client, "snapshot");
	buffer_init(&text);
	if (arguments->raw) {
		buffer_append_span(&text, span_of(snapshot.data.data, snapshot.data.size));
		good = write_out(&text);
	} else if (tool_format(tool) == TOOL_FORMAT_TABLE) {
		print_table(&snapshot);
	} else {
		append_snapshot(&text, &snapshot);
		append_text(&text, "\n");
		good = write_out(&text);
	}
	buffer_close(&text);
	return good ? TOOL_DONE : TOOL_REFUSED;
}

static enum tool_exit run(struct tool *tool)
{
	struct arguments *arguments = tool->arguments;
	const char *verb = arguments->words[0], *stream = arguments->words[1];
	const struct annal_snapshot snapshot = {
		.version = arguments->version,
		.type = annal_text(arguments->type != NULL ? arguments->type : ""),
		.data = {arguments->data.data, arguments->data.size},
	};
	enum annal_code code;

	if (strcmp(verb, "get") == 0)
		return run_get(tool);
	if (strcmp(verb, "put") == 0)
		code = annal_snapshot_put(tool->client, stream, &snapshot);
	else
		code = annal_snapshot_delete(tool->client, stream);
	buffer_close(&arguments->data);
	if (code != ANNAL_OK)
		return tool_failed(tool->client, "snapshot");
	tool_print_object(tool, json_pack("{s:s}", verb, "done"));
	return TOOL_DONE;
}

const struct tool_command tool_snapshot = {
	.name = "snapshot",
	.operands = "get STREAM\nput STREAM VERSION --data DATA\ndelete STREAM",
	.summary = "Keep what a stream comes to, so that it loads faster.",
	.details = "Example: annal snapshot put Order-42 300 --type Order --data @order.json",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run,
};

/* ---- load ---- */

struct load_arguments {
	const char *stream;
};

static error_t parse_load(int key, char *argument, struct argp_state *state)
{
	struct load_arguments *arguments = ((struct tool *)state->input)->arguments;

	if (key == ARGP_KEY_END && arguments->stream == NULL)
		argp_error(state, "which stream? Its name is wanted");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	tool_operand(state, &arguments->stream, argument);
	return 0;
}

/* Events one by one: those at hand, then those of further pages. */
struct loading {
	struct tool *tool;
	const struct annal_aggregate *aggregate;
	struct annal_iterator *iterator;
	size_t at;
};

static enum annal_code next_event(struct loading *loading, const struct annal_event **event)
{
	const struct annal_aggregate *aggregate = loading->aggregate;
	const struct load_arguments *arguments = loading->tool->arguments;

	*event = NULL;
	if (loading->at < aggregate->count) {
		*event = &aggregate->events[loading->at++];
		return ANNAL_OK;
	}
	if (aggregate->end)
		return ANNAL_OK;
	if (loading->iterator == NULL) {
		const struct annal_read read = {.stream = arguments->stream,
						.from = aggregate->next};

		loading->iterator = annal_iterate(loading->tool->client, &read);
	}
	return annal_iterator_next(loading->iterator, event);
}

static enum annal_code print_loaded_table(struct loading *loading, bool *written)
{
	const struct annal_event *event;
	struct tool_printer printer;
	enum annal_code code;

	printf("version %" PRIu64 "\n", loading->aggregate->version);
	if (loading->aggregate->snapshot != NULL)
		print_table(loading->aggregate->snapshot);
	tool_printer_begin(&printer, TOOL_FORMAT_TABLE);
	while ((code = next_event(loading, &event)) == ANNAL_OK && event != NULL && *written)
		*written = tool_print_event(&printer, event);
	tool_printer_end(&printer);
	return code;
}

static enum annal_code print_loaded_json(struct loading *loading, bool *written)
{
	const struct annal_aggregate *aggregate = loading->aggregate;
	const struct load_arguments *arguments = loading->tool->arguments;
	bool compact = tool_format(loading->tool) == TOOL_FORMAT_NDJSON;
	const struct annal_event *event;
	enum annal_code code;
	struct buffer text;
	char head[96];

	buffer_init(&text);
	append_text(&text, "{\"stream\":");
	tool_json_string(&text, span_of_string(arguments->stream));
	snprintf(head, sizeof head,
		 ",\"version\":%" PRIu64 ",\"head\":%" PRIu64 ",\"snapshot\":", aggregate->version,
		 aggregate->head);
	append_text(&text, head);
	if (aggregate->snapshot != NULL)
		append_snapshot(&text, aggregate->snapshot);
	else
		append_text(&text, "null");
	append_text(&text, ",\"events\":[");
	for (bool first = true; *written; first = false) {
		code = next_event(loading, &event);
		if (code != ANNAL_OK || event == NULL)
			break;
		append_text(&text, first ? "" : ",");
		append_text(&text, compact ? "" : "\n");
		tool_event_line(&text, event, TOOL_PAYLOAD_SHOWN);
		*written = write_out(&text);
	}
	append_text(&text, "]}\n");
	if (*written && code == ANNAL_OK)
		*written = write_out(&text);
	buffer_close(&text);
	return code;
}

static enum tool_exit run_load(struct tool *tool)
{
	const struct load_arguments *arguments = tool->arguments;
	struct annal_aggregate *aggregate;
	bool written = true;

	if (annal_load(tool->client, arguments->stream, &aggregate) != ANNAL_OK)
		return tool_failed(tool->client, "load");
	struct loading loading = {.tool = tool, .aggregate = aggregate};
	enum annal_code code = tool_format(tool) == TOOL_FORMAT_TABLE
				       ? print_loaded_table(&loading, &written)
				       : print_loaded_json(&loading, &written);

	annal_iterator_free(loading.iterator);
	annal_aggregate_free(aggregate);
	if (code != ANNAL_OK)
		return tool_failed(tool->client, "load");
	return written ? TOOL_DONE : TOOL_REFUSED;
}

const struct tool_command tool_load = {
	.name = "load",
	.operands = "STREAM",
	.summary = "Show a stream as its last snapshot and the events behind that.",
	.details = "Example: annal load Order-42 -o json",
	.parse = parse_load,
	.arguments_size = sizeof(struct load_arguments),
	.run = run_load,
};
