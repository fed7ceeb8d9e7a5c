/* `annal append`: one event. */
#include "client/tool.h"

#include "base/limits.h"
#include "base/memory.h"
#include <errno.h>
#include <inttypes.h>

struct arguments {
	const char *stream, *type;
	struct buffer data, metadata;
	const char *tags[LIMIT_TAGS];
	size_t tags_count;
	uint8_t id[ANNAL_ID_BYTES];
	bool has_id;
	struct annal_expect expect;
};

static const struct argp_option options[] = {
	{"type", 'T', "TYPE", 0, "The event's type; required", 0},
	{"data", 'd', "DATA", 0, "The event's data: text, @FILE, or - for stdin", 0},
	{"metadata", 'm', "DATA", 0, "Its metadata, given like data", 0},
	{"tag", 'g', "TAG", 0, "A tag; may be given again", 0},
	{"id", 'i', "UUID", 0, "Its id: an append that is done again with it is stored once", 0},
	{"expect", 'e', "VERSION", 0,
	 "Refuse unless the stream is at that version, or: any, no_stream, stream_exists", 0},
	{0},
};

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

static void take_payload(struct argp_state *state, const char *argument, struct buffer *into)
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
	if (into->size > LIMIT_EVENT_BYTES)
		argp_error(state, "%s has more than %llu bytes: too large for an event", argument,
			   (unsigned long long)LIMIT_EVENT_BYTES);
	if (file != stdin)
		fclose(file);
}

static struct annal_expect parse_expect(struct argp_state *state, const char *argument)
{
	struct annal_expect expect = {.kind = ANNAL_EXPECT_ANY};

	if (strcmp(argument, "any") == 0)
		return expect;
	if (strcmp(argument, "no_stream") == 0)
		expect.kind = ANNAL_EXPECT_NO_STREAM;
	else if (strcmp(argument, "stream_exists") == 0)
		expect.kind = ANNAL_EXPECT_STREAM_EXISTS;
	else if (argument[0] >= '0' && argument[0] <= '9')
		expect = (struct annal_expect){
			ANNAL_EXPECT_VERSION,
			tool_number(state, "--expect", argument, 0, UINT64_MAX)};
	else
		argp_error(state, "--expect: '%s' is no version, nor any, no_stream, stream_exists",
			   argument);
	return expect;
}

static void add_tag(struct argp_state *state, struct arguments *arguments, const char *tag)
{
	if (arguments->tags_count == LIMIT_TAGS)
		argp_error(state, "an event has at most %u tags", LIMIT_TAGS);
	arguments->tags[arguments->tags_count++] = tag;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'T':
		arguments->type = argument;
		return 0;
	case 'd':
		take_payload(state, argument, &arguments->data);
		return 0;
	case 'm':
		take_payload(state, argument, &arguments->metadata);
		return 0;
	case 'g':
		add_tag(state, arguments, argument);
		return 0;
	case 'i':
		arguments->has_id = annal_id_parse(argument, arguments->id);
		if (!arguments->has_id)
			argp_error(state, "--id: '%s' is no UUID (8-4-4-4-12 hexadecimal digits)",
				   argument);
		return 0;
	case 'e':
		arguments->expect = parse_expect(state, argument);
		return 0;
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->stream, argument);
		return 0;
	case ARGP_KEY_END:
		if (arguments->stream == NULL || arguments->type == NULL)
			argp_error(state, "a stream and --type are wanted");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void print_result(const struct tool *tool, const uint8_t *id,
			 const struct annal_append_result *result)
{
	char text[ANNAL_ID_TEXT_BYTES];

	annal_id_format(id, text);
	tool_print_object(tool, json_pack("{s:I, s:I, s:s, s:b}", "position",
					  (json_int_t)result->position, "version",
					  (json_int_t)result->version, "id", text, "duplicate",
					  (int)result->duplicate));
}

static enum tool_exit run(struct tool *tool)
{
	struct arguments *arguments = tool->arguments;
	struct annal_append_result result;

	if (!arguments->has_id)
		annal_new_id(arguments->id);
	const struct annal_new_event event = {
		.id = arguments->id,
		.type = arguments->type,
		.data = {arguments->data.data, arguments->data.size},
		.metadata = {arguments->metadata.data, arguments->metadata.size},
		.tags = arguments->tags,
		.tags_count = arguments->tags_count,
	};
	enum annal_code code = annal_append_stream(tool->client, arguments->stream,
						   arguments->expect, &event, 1, &result);

	if (code == ANNAL_OK)
		print_result(tool, arguments->id, &result);
	buffer_close(&arguments->data);
	buffer_close(&arguments->metadata);
	return code == ANNAL_OK ? TOOL_DONE : tool_failed(tool->client, "append");
}

const struct tool_command tool_append = {
	.name = "append",
	.operands = "STREAM",
	.summary = "Append an event to a stream.",
	.details = "Example: annal append Order-42 --type OrderPlaced --data '{\"total\":12}' "
		   "--expect no_stream",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run,
};
