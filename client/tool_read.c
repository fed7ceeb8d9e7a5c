/* `annal read`, `annal event` and `annal stream`. */
#include "client/tool.h"

#include <errno.h>
#include <stdlib.h>

struct read_arguments {
	const char *stream;
	bool all;
	struct annal_read read;
	uint64_t limit; /* of all pages together; 0: none */
};

enum { KEY_SYSTEM = 256 };

static const struct argp_option read_options[] = {
	{"all", 'a', NULL, 0, "The whole store instead of a stream", 0},
	{"from", 'f', "N", 0, "First version wanted; of the whole store, first position", 0},
	{"backward", 'b', NULL, 0, "Newest first", 0},
	{"limit", 'n', "N", 0, "No more than N events", 0},
	{"system", KEY_SYSTEM, NULL, 0, "With --all: system records too", 0},
	{"linearizable", 'l', NULL, 0, "See every append acknowledged before, on any node", 0},
	{0},
};

static void check_read(struct argp_state *state, struct read_arguments *arguments)
{
	struct tool *tool = state->input;
	bool chosen = !tool_query_is_empty(tool->query);

	if (chosen && arguments->stream != NULL)
		argp_error(state, "a stream is read whole: --query 'stream=NAME type=...' reads "
				  "some of its events");
	if ((arguments->all || chosen) == (arguments->stream != NULL))
		argp_error(state, "one of these is wanted: a stream, --all, or which events "
				  "(--type and so on)");
	if (arguments->stream != NULL && arguments->read.system)
		argp_error(state, "--system goes with --all");
	if (chosen && arguments->read.system)
		argp_error(state, "--system: no query means system records");
	arguments->read.query = &tool->built_query;
}

static error_t parse_read(int key, char *argument, struct argp_state *state)
{
	struct read_arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'a':
		arguments->all = true;
		return 0;
	case 'f':
		arguments->read.from = tool_number(state, "--from", argument, 1, INT64_MAX);
		return 0;
	case 'b':
		arguments->read.backward = true;
		return 0;
	case 'n':
		arguments->limit = tool_number(state, "--limit", argument, 1, INT64_MAX);
		return 0;
	case 'l':
		arguments->read.consistency = ANNAL_CONSISTENCY_LINEARIZABLE;
		return 0;
	case KEY_SYSTEM:
		arguments->read.system = true;
		return 0;
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->stream, argument);
		return 0;
	case ARGP_KEY_END:
		check_read(state, arguments);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Print up to the limit; the code of the first failure. */
static enum annal_code print_all(struct tool *tool, const struct read_arguments *arguments,
				 bool *written)
{
	struct annal_iterator *iterator = annal_iterate(tool->client, &arguments->read);
	const struct annal_event *event;
	struct tool_printer printer;
	enum annal_code code;

	code = annal_iterator_next(iterator, &event);
	if (code == ANNAL_OK)
		tool_printer_begin(&printer, tool_format(tool));
	else
		goto done;
	*written = true;
	while (code == ANNAL_OK && event != NULL && *written) {
		*written = tool_print_event(&printer, event);
		if (printer.count == arguments->limit)
			break;
		code = annal_iterator_next(iterator, &event);
	}
	tool_printer_end(&printer);
done:
	annal_iterator_free(iterator);
	return code;
}

static enum tool_exit run_read(struct tool *tool)
{
	struct read_arguments *arguments = tool->arguments;
	bool written = true;

	arguments->read.stream = arguments->stream;
	if (arguments->limit > 0 && arguments->limit < 1000)
		arguments->read.limit = (uint32_t)arguments->limit;
	if (print_all(tool, arguments, &written) != ANNAL_OK)
		return tool_failed(tool->client, "read");
	return written ? TOOL_DONE : TOOL_REFUSED;
}

const struct tool_command tool_read = {
	.name = "read",
	.operands = "STREAM\n--all\n--type TYPE ...",
	.summary = "Read events of a stream, or of the whole store.",
	.details = "Examples: annal read Order-42 --backward --limit 10\n"
		   "annal read --type OrderPlaced --tag customer:7",
	.options = read_options,
	.parse = parse_read,
	.arguments_size = sizeof(struct read_arguments),
	.takes_query = true,
	.run = run_read,
};

/* ---- event ---- */

struct event_arguments {
	const char *which;
};

static error_t parse_event(int key, char *argument, struct argp_state *state)
{
	struct event_arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->which, argument);
		return 0;
	case ARGP_KEY_END:
		if (arguments->which == NULL)
			argp_error(state, "which event? A position, an id or STREAM@VERSION");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static bool is_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 10);
	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

/* The page with the event, or ANNAL_MISUSE when `which` is none of the three forms. */
static enum annal_code find_event(struct annal_client *client, const char *which,
				  struct annal_page **page, bool *understood)
{
	uint8_t id[ANNAL_ID_BYTES];
	uint64_t number;
	char stream[1025];
	const char *at = strrchr(which, '@');

	*understood = true;
	if (is_number(which, &number))
		return annal_read_position(client, number, page);
	if (annal_id_parse(which, id))
		return annal_read_id(client, id, page);
	*understood =
		at != NULL && (size_t)(at - which) < sizeof stream && is_number(at + 1, &number);
	if (!*understood)
		return ANNAL_MISUSE;
	snprintf(stream, sizeof stream, "%.*s", (int)(at - which), which);
	return annal_read_version(client, stream, number, page);
}

static enum tool_exit run_event(struct tool *tool)
{
	const struct event_arguments *arguments = tool->arguments;
	struct annal_page *page;
	struct tool_printer printer;
	bool understood;
	enum annal_code code = find_event(tool->client, arguments->which, &page, &understood);

	if (!understood) {
		tool_complain("'%s' is no position, no id and no STREAM@VERSION", arguments->which);
		return TOOL_USAGE;
	}
	if (code != ANNAL_OK)
		return tool_failed(tool->client, "event");
	tool_printer_begin(&printer, tool_format(tool));
	bool written = tool_print_event(&printer, &page->events[0]);

	tool_printer_end(&printer);
	annal_page_free(page);
	return written ? TOOL_DONE : TOOL_REFUSED;
}

const struct tool_command tool_event = {
	.name = "event",
	.operands = "POSITION\nID\nSTREAM@VERSION",
	.summary = "Show one event.",
	.details = "Example: annal event Order-42@3",
	.parse = parse_event,
	.arguments_size = sizeof(struct event_arguments),
	.run = run_event,
};

/* ---- stream ---- */

static error_t parse_stream(int key, char *argument, struct argp_state *state)
{
	struct event_arguments *arguments = ((struct tool *)state->input)->arguments;

	if (key == ARGP_KEY_END && arguments->which == NULL)
		argp_error(state, "which stream? Its name is wanted");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	tool_operand(state, &arguments->which, argument);
	return 0;
}

static enum tool_exit run_stream(struct tool *tool)
{
	const struct event_arguments *arguments = tool->arguments;
	struct annal_stream_info info;
	char created[40], updated[40];

	if (annal_stream_info(tool->client, arguments->which, &info) != ANNAL_OK)
		return tool_failed(tool->client, "stream");
	tool_time(info.created_ns, created);
	tool_time(info.updated_ns, updated);
	tool_print_object(
		tool, json_pack("{s:s, s:s%, s:I, s:I, s:I, s:s, s:s}", "stream", arguments->which,
				"state", info.state.data == NULL ? "" : info.state.data,
				info.state.size, "version", (json_int_t)info.version,
				"first_version", (json_int_t)info.first_version, "count",
				(json_int_t)info.count, "created", created, "updated", updated));
	return TOOL_DONE;
}

const struct tool_command tool_stream = {
	.name = "stream",
	.operands = "NAME",
	.summary = "Say what there is of a stream: state, version, count.",
	.details = "Example: annal stream Order-42",
	.parse = parse_stream,
	.arguments_size = sizeof(struct event_arguments),
	.run = run_stream,
};
