/* `annal tail`: follow a stream or the store, across the loss of nodes. */
#include "client/tool.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

struct arguments {
	const char *stream;
	bool all;
	uint64_t after;
	bool from_end;
	uint64_t limit;
};

static const struct argp_option options[] = {
	{"all", 'a', NULL, 0, "The whole store instead of a stream", 0},
	{"after", 'f', "N", 0,
	 "Begin behind that version (of the whole store: position), or `end`: only new events", 0},
	{"limit", 'n', "N", 0, "End after N events", 0},
	{0},
};

static volatile sig_atomic_t stopped;

static void stop(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static void check(struct argp_state *state, const struct arguments *arguments)
{
	const struct tool *tool = state->input;
	bool chosen = !tool_query_is_empty(tool->query);

	if (chosen && arguments->stream != NULL)
		argp_error(state, "a stream is followed whole: --query 'stream=NAME type=...' "
				  "follows some of its events");
	if ((arguments->all || chosen) == (arguments->stream != NULL))
		argp_error(state, "one of these is wanted: a stream, --all, or which events "
				  "(--type and so on)");
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'a':
		arguments->all = true;
		return 0;
	case 'f':
		arguments->from_end = strcmp(argument, "end") == 0;
		if (!arguments->from_end)
			arguments->after = tool_number(state, "--after", argument, 0, INT64_MAX);
		return 0;
	case 'n':
		arguments->limit = tool_number(state, "--limit", argument, 1, INT64_MAX);
		return 0;
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->stream, argument);
		return 0;
	case ARGP_KEY_END:
		check(state, arguments);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static enum annal_code follow(struct tool *tool, struct annal_subscription *subscription,
			      uint64_t limit)
{
	enum tool_format format = tool_format(tool);
	struct tool_printer printer;
	struct annal_item item;
	enum annal_code code = ANNAL_OK;
	uint32_t wait_ms = 0;

	/* An array that never ends is no JSON. */
	tool_printer_begin(&printer, format == TOOL_FORMAT_JSON ? TOOL_FORMAT_NDJSON : format);
	while (!stopped && (limit == 0 || printer.count < limit)) {
		code = annal_subscription_next(subscription, wait_ms, &item);
		if (code != ANNAL_OK)
			break;
		/* Whoever reads it gets everything before we wait; or is gone. */
		if (item.kind == ANNAL_ITEM_EVENT ? !tool_print_event(&printer, &item.event)
						  : fflush(stdout) != 0)
			break;
		wait_ms = item.kind == ANNAL_ITEM_EVENT ? 0 : 200;
	}
	tool_printer_end(&printer);
	return code;
}

static enum tool_exit run(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	const struct annal_subscribe subscribe = {.stream = arguments->stream,
						  .query = &tool->built_query,
						  .after = arguments->after,
						  .from_end = arguments->from_end};
	const struct sigaction action = {.sa_handler = stop};
	struct annal_subscription *subscription;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	if (annal_subscribe(tool->client, &subscribe, &subscription) != ANNAL_OK)
		return tool_failed(tool->client, "tail");
	enum annal_code code = follow(tool, subscription, arguments->limit);

	annal_subscription_free(subscription);
	return code == ANNAL_OK ? TOOL_DONE : tool_failed(tool->client, "tail");
}

const struct tool_command tool_tail = {
	.name = "tail",
	.operands = "STREAM\n--all\n--type TYPE ...",
	.summary = "Follow a stream, or the whole store, until interrupted.",
	.details = "Examples: annal tail --all --after end\n"
		   "annal tail --category Order --after end",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.takes_query = true,
	.run = run,
};
