/* The command line: options that all commands have, the table of commands, help. */
#include "client/tool.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define URL_DEFAULT "annal://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003"

#ifndef ANNAL_VERSION
#define ANNAL_VERSION "0"
#endif

static const struct tool_command *const commands[] = {
	&tool_append, &tool_read,       &tool_tail,       &tool_load,    &tool_event,
	&tool_stream, &tool_streams,    &tool_categories, &tool_types,   &tool_count,
	&tool_at,     &tool_checkpoint, &tool_snapshot,   &tool_import,  &tool_export,
	&tool_backup, &tool_verify,     &tool_status,     &tool_cluster, &tool_digest,
	&tool_stats,  &tool_ping,       &tool_bench,
};
#define COMMANDS_COUNT (sizeof commands / sizeof commands[0])

/* ---- errors ---- */

void tool_complain(const char *format, ...)
{
	va_list args;

	fputs("annal: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

enum tool_exit tool_exit_for(enum annal_code code)
{
	switch (code) {
	case ANNAL_OK:
		return TOOL_DONE;
	case ANNAL_UNREACHABLE:
	case ANNAL_NO_LEADER:
	case ANNAL_TIMEOUT:
	case ANNAL_OVERLOADED:
	case ANNAL_NOT_READY:
	case ANNAL_SHUTTING_DOWN:
		return TOOL_UNREACHABLE;
	case ANNAL_INVALID_ARGUMENT:
		return TOOL_USAGE;
	default:
		return TOOL_REFUSED;
	}
}

static void describe_expectation(struct annal_expect expect, char text[32])
{
	static const char *const names[] = {[ANNAL_EXPECT_ANY] = "any",
					    [ANNAL_EXPECT_NO_STREAM] = "no_stream",
					    [ANNAL_EXPECT_STREAM_EXISTS] = "stream_exists"};

	if (expect.kind == ANNAL_EXPECT_VERSION)
		snprintf(text, 32, "version %" PRIu64, expect.version);
	else
		snprintf(text, 32, "%s", names[expect.kind]);
}

void tool_explain(const struct annal_error *error)
{
	char expected[32];

	for (size_t i = 0; i < error->violations_count; i++) {
		const struct annal_violation *violation = &error->violations[i];

		describe_expectation(violation->expect, expected);
		tool_complain("  stream %.*s: %s was expected, it is at version %" PRIu64 " (%.*s)",
			      (int)violation->stream.size, (const char *)violation->stream.data,
			      expected, violation->actual, (int)violation->state.size,
			      (const char *)violation->state.data);
	}
	if (error->code == ANNAL_CHECKPOINT_CONFLICT)
		tool_complain("  stored is: position %" PRIu64 ", epoch %" PRIu64, error->position,
			      error->epoch);
	if (error->outcome_unknown)
		tool_complain(
			"  it may still happen; an append done again with the same ids is safe");
}

enum tool_exit tool_failed(struct annal_client *client, const char *what)
{
	const struct annal_error *error = annal_client_error(client);

	tool_complain("%s: %s: %s", what, annal_code_name(error->code), error->message);
	tool_explain(error);
	return tool_exit_for(error->code);
}

/* ---- arguments ---- */

uint64_t tool_number(struct argp_state *state, const char *name, const char *text, uint64_t min,
		     uint64_t max)
{
	char *end;

	errno = 0;
	uint64_t value = strtoull(text, &end, 10);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min ||
	    value > max)
		argp_error(state, "%s: '%s' is no number from %" PRIu64 " to %" PRIu64, name, text,
			   min, max);
	return value;
}

void tool_operand(struct argp_state *state, const char **into, const char *argument)
{
	if (*into != NULL)
		argp_error(state, "'%s' is one too many: '%s' was given already", argument, *into);
	*into = argument;
}

enum tool_format tool_format(const struct tool *tool)
{
	if (tool->format != TOOL_FORMAT_AUTO)
		return tool->format;
	return isatty(STDOUT_FILENO) ? TOOL_FORMAT_TABLE : TOOL_FORMAT_NDJSON;
}

/* Everything in a file, into `into`. */
static bool read_whole(FILE *file, struct buffer *into)
{
	size_t got;

	do {
		got = fread(buffer_reserve(into, 64 * KIB), 1, 64 * KIB, file);
		into->size += got;
	} while (got > 0 && into->size <= LIMIT_EVENT_BYTES);
	return !ferror(file);
}

void tool_take_payload(struct argp_state *state, const char *argument, struct buffer *into)
{
	FILE *file = stdin;

	buffer_clear(into);
	if (argument[0] != '@' && strcmp(argument, "-") != 0) {
		buffer_append_span(into, span_of_string(argument));
		return;
	}
	if (argument[0] == '@')
		file = fopen(argument + 1, "r");
	if (file == NULL)
		argp_failure(state, TOOL_USAGE, errno, "cannot open %s", argument + 1);
	if (file == NULL)
		return;
	if (!read_whole(file, into))
		argp_failure(state, TOOL_USAGE, errno, "cannot read %s", argument);
	/* Not the command line is wrong but the data: as when the node says TOO_LARGE. */
	if (into->size > LIMIT_EVENT_BYTES)
		argp_failure(state, TOOL_REFUSED, 0,
			     "%s has more than %llu bytes: too large for an event", argument,
			     (unsigned long long)LIMIT_EVENT_BYTES);
	if (file != stdin)
		fclose(file);
}

struct annal_expect tool_expect(struct argp_state *state, const char *name, const char *text)
{
	struct annal_expect expect = {.kind = ANNAL_EXPECT_ANY};

	if (strcmp(text, "any") == 0)
		return expect;
	if (strcmp(text, "no_stream") == 0)
		expect.kind = ANNAL_EXPECT_NO_STREAM;
	else if (strcmp(text, "stream_exists") == 0)
		expect.kind = ANNAL_EXPECT_STREAM_EXISTS;
	else if (text[0] >= '0' && text[0] <= '9')
		expect = (struct annal_expect){ANNAL_EXPECT_VERSION,
					       tool_number(state, name, text, 0, UINT64_MAX)};
	else
		argp_error(state, "%s: '%s' is no version, nor any, no_stream, stream_exists", name,
			   text);
	return expect;
}

const char *tool_split(struct argp_state *state, const char *option, char *text, const char **rest)
{
	char *equals = strrchr(text, '=');

	if (equals == NULL || equals == text || equals[1] == '\0')
		argp_error(state, "%s: '%s' is no NAME=VALUE", option, text);
	if (equals == NULL)
		return text;
	*equals = '\0';
	*rest = equals + 1;
	return text;
}

struct annal_client *tool_connect(const struct tool *tool, const char *url, const char *options)
{
	char message[512], whole[4096], timeout[32] = "";
	const char *separator = strchr(url, '?') == NULL ? "?" : "&";

	uint32_t timeout_ms = tool->timeout_ms > 0 ? tool->timeout_ms : tool->command->timeout_ms;

	if (timeout_ms > 0)
		snprintf(timeout, sizeof timeout, "&timeout_ms=%u", timeout_ms);
	int size = snprintf(whole, sizeof whole, "%s%sclient=annal-%s%s%s%s", url, separator,
			    tool->command->name, timeout, options[0] != '\0' ? "&" : "", options);

	if (size < 0 || (size_t)size >= sizeof whole) {
		tool_complain("the URL is longer than 4,000 bytes");
		return NULL;
	}
	struct annal_client *client = annal_client_new(whole, message, sizeof message);

	if (client == NULL)
		tool_complain("%s", message);
	return client;
}

static const struct argp_option common_options[] = {
	{"url", 'u', "URL", 0,
	 "The cluster: annal://HOST:PORT[,HOST:PORT...][?OPTION=VALUE...] "
	 "(else ANNAL_URL, else " URL_DEFAULT ")",
	 10},
	{"timeout", 't', "MS", 0,
	 "How long a request may take, in milliseconds (default 5000; of `cluster` "
	 "60000, of `backup` 3600000)",
	 10},
	{"output", 'o', "FORMAT", 0,
	 "table, json or ndjson (default: table on a terminal, ndjson otherwise)", 10},
	{0},
};

static error_t parse_format(struct tool *tool, const char *argument, struct argp_state *state)
{
	static const char *const names[] = {[TOOL_FORMAT_TABLE] = "table",
					    [TOOL_FORMAT_JSON] = "json",
					    [TOOL_FORMAT_NDJSON] = "ndjson"};

	for (unsigned i = TOOL_FORMAT_TABLE; i <= TOOL_FORMAT_NDJSON; i++) {
		if (strcmp(argument, names[i]) == 0) {
			tool->format = (enum tool_format)i;
			return 0;
		}
	}
	argp_error(state, "--output: '%s' is none of table, json, ndjson", argument);
	return EINVAL;
}

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
	struct tool *tool = state->input;

	switch (key) {
	case 'u':
		tool->url = argument;
		return 0;
	case 't':
		tool->timeout_ms = (uint32_t)tool_number(state, "--timeout", argument, 1,
							 LIMIT_TIMEOUT_MS_MAX);
		return 0;
	case 'o':
		return parse_format(tool, argument, state);
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp common_argp = {.options = common_options, .parser = parse_common};
static const struct argp_child common_child[] = {{&common_argp, 0, "Options of all commands:", 10},
						 {0}};

/* ---- which events ---- */

enum {
	KEY_QUERY_TYPE = 512,
	KEY_QUERY_TAG,
	KEY_QUERY_CATEGORY,
	KEY_QUERY_PREFIX,
	KEY_QUERY,
};

static const struct argp_option query_options[] = {
	{"type", KEY_QUERY_TYPE, "TYPE", 0, "Of that type; given again: or of that", 5},
	{"tag", KEY_QUERY_TAG, "TAG", 0, "With that tag; given again: and with that", 5},
	{"category", KEY_QUERY_CATEGORY, "NAME", 0, "Of streams NAME-...; given again: or of that",
	 5},
	{"prefix", KEY_QUERY_PREFIX, "TEXT", 0,
	 "Of streams whose names begin with it; given again: or with that", 5},
	{"query", KEY_QUERY, "QUERY", 0, "Instead of these: what `annal --help` calls a QUERY", 5},
	{0},
};

static error_t parse_query(int key, char *argument, struct argp_state *state)
{
	struct tool *tool = state->input;
	struct error error;
	int status = 0;

	if (key == ARGP_KEY_INIT) {
		tool->query = tool_query_new();
		return 0;
	}
	if (key < KEY_QUERY_TYPE || key > KEY_QUERY)
		return ARGP_ERR_UNKNOWN;
	if (tool->query_is_whole || (key == KEY_QUERY && !tool_query_is_empty(tool->query)))
		argp_error(state, "--query stands alone: its items can say all the others");
	tool->query_is_whole = key == KEY_QUERY;
	if (key == KEY_QUERY)
		status = tool_query_parse(tool->query, argument, &error);
	else if (key == KEY_QUERY_TYPE)
		status = tool_query_add(tool->query, TOOL_QUERY_TYPE, argument, &error);
	else if (key == KEY_QUERY_TAG)
		status = tool_query_add(tool->query, TOOL_QUERY_TAG, argument, &error);
	else if (key == KEY_QUERY_CATEGORY)
		status = tool_query_add(tool->query, TOOL_QUERY_CATEGORY, argument, &error);
	else
		status = tool_query_add(tool->query, TOOL_QUERY_PREFIX, argument, &error);
	if (status == 0)
		status = tool_query_build(tool->query, &tool->built_query, &error);
	if (status != 0)
		argp_error(state, "--%s: %s", query_options[key - KEY_QUERY_TYPE].name,
			   error.message);
	return 0;
}

static const struct argp tool_query_argp = {.options = query_options, .parser = parse_query};

/* ---- the first word ---- */

struct first_word {
	struct tool *tool;
	int at; /* in argv; 0: there is none */
};

static error_t parse_first(int key, char *argument, struct argp_state *state)
{
	struct first_word *first = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = first->tool;
		return 0;
	case ARGP_KEY_ARG:
		(void)argument;
		first->at = state->next - 1;
		state->next = state->argc; /* the rest is the command's */
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* The list of commands, behind the options in --help. */
static char *append_commands(int key, const char *text, void *input)
{
	struct buffer list;
	size_t size;

	(void)input;
	if (key != ARGP_KEY_HELP_POST_DOC)
		return (char *)(uintptr_t)text;
	buffer_init(&list);
	for (size_t i = 0; i < COMMANDS_COUNT; i++) {
		char line[256];
		int written = snprintf(line, sizeof line, "  %-10s %s\n", commands[i]->name,
				       commands[i]->summary);

		buffer_append(&list, line, (size_t)written);
	}
	buffer_append_span(
		&list, span_of_string("\n`annal COMMAND --help` says more.\n\n" TOOL_QUERY_SYNTAX));
	buffer_append(&list, "", 1);
	return (char *)buffer_take(&list, &size); /* argp frees it */
}

static const struct argp first_argp = {
	.parser = parse_first,
	.args_doc = "COMMAND [ARGUMENT...]",
	.doc = "Work with an annal cluster.\v",
	.children = common_child,
	.help_filter = append_commands,
};

static const struct tool_command *find_command(const char *name)
{
	for (size_t i = 0; i < COMMANDS_COUNT; i++)
		if (strcmp(name, commands[i]->name) == 0)
			return commands[i];
	tool_complain("there is no command '%s': `annal --help` lists them", name);
	return NULL;
}

/* ---- a command ---- */

static error_t parse_command(int key, char *argument, struct argp_state *state)
{
	struct tool *tool = state->input;

	if (key == ARGP_KEY_INIT) {
		state->child_inputs[0] = tool;
		if (tool->command->takes_query)
			state->child_inputs[1] = tool;
	}
	if (tool->command->parse != NULL)
		return tool->command->parse(key, argument, state);
	if (key == ARGP_KEY_ARG)
		argp_error(state, "'%s' is one too many: this command takes no operands", argument);
	return ARGP_ERR_UNKNOWN;
}

/* "-1h" looks like an option: "now-1h", which is never freed, does not. */
static char *from_now(const char *text)
{
	char *whole = memory_zeroed(strlen(text) + 4, 1);

	memcpy(whole, "now", 3);
	memcpy(whole + 3, text, strlen(text));
	return whole;
}

/* What argp cannot read for want of memory it passes over; all else that is wrong it says itself, and exits. */
static void parse(const struct argp *argp, int argc, char **argv, unsigned flags, void *input)
{
	error_t status = argp_parse(argp, argc, argv, flags, NULL, input);

	if (status == 0)
		return;
	tool_complain("the command line cannot be read: %s",
		      status == ENOMEM ? "out of memory" : strerror(status));
	exit(EX_SOFTWARE);
}

static void parse_command_line(struct tool *tool, int argc, char **argv)
{
	const struct tool_command *command = tool->command;
	char name[64], doc[4096];
	const struct argp_child with_query[] = {
		{&common_argp, 0, "Options of all commands:", 10},
		{&tool_query_argp, 0, "Which events of the whole store:", 5},
		{0}};
	struct argp argp = {.options = command->options,
			    .parser = parse_command,
			    .args_doc = command->operands,
			    .doc = doc,
			    .children = command->takes_query ? with_query : common_child};

	snprintf(name, sizeof name, "annal %s", command->name);
	snprintf(doc, sizeof doc, "%s\v%s", command->summary, command->details);
	argv[0] = name;
	for (int i = 1; command->takes_time && i < argc; i++)
		if (argv[i][0] == '-' && argv[i][1] >= '0' && argv[i][1] <= '9')
			argv[i] = from_now(argv[i]);
	parse(&argp, argc, argv, 0, tool);
}

static enum tool_exit run_command(struct tool *tool)
{
	const char *options = tool->command->client_options;

	if (!tool->command->offline) {
		tool->client = tool_connect(tool, tool->url, options != NULL ? options : "");
		if (tool->client == NULL)
			return TOOL_USAGE;
	}
	enum tool_exit status = tool->command->run(tool);

	annal_client_free(tool->client);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		tool_complain("cannot write to stdout: %s", strerror(errno));
		return TOOL_REFUSED;
	}
	return status;
}

int tool_main(int argc, char **argv)
{
	const char *environment = getenv("ANNAL_URL");
	struct tool tool = {.url = environment != NULL && environment[0] != '\0' ? environment
										 : URL_DEFAULT};
	struct first_word first = {.tool = &tool};

	json_set_alloc_funcs(memory_alloc, memory_free); /* else its errors look like bad input */
	argp_program_version = "annal " ANNAL_VERSION;
	argp_err_exit_status = TOOL_USAGE;
	parse(&first_argp, argc, argv, ARGP_IN_ORDER, &first);
	if (first.at == 0) {
		tool_complain("a command is missing: `annal --help` lists them");
		return TOOL_USAGE;
	}
	tool.command = find_command(argv[first.at]);
	if (tool.command == NULL)
		return TOOL_USAGE;
	tool.arguments = memory_zeroed(1, tool.command->arguments_size);
	parse_command_line(&tool, argc - first.at, argv + first.at);
	enum tool_exit status = run_command(&tool);

	tool_query_free(tool.query);
	memory_free(tool.arguments);
	return (int)status;
}
