/* `annal append`: one event, or a file of events in one atomic step. */
#include "client/tool.h"

#include "base/limits.h"
#include "base/memory.h"
#include "client/tool_batch.h"
#include <errno.h>
#include <inttypes.h>

#define CHECKS_MAX 256u

struct arguments {
	const char *stream, *type, *path;
	struct buffer data, metadata;
	const char *tags[LIMIT_TAGS];
	size_t tags_count;
	uint8_t id[ANNAL_ID_BYTES];
	bool has_id, has_expect, has_after;
	struct annal_expect expect;
	struct tool_query *queries[LIMIT_CONDITIONS];
	struct annal_condition conditions[LIMIT_CONDITIONS];
	size_t conditions_count;
	uint64_t after;
	struct annal_check checks[CHECKS_MAX];
	size_t checks_count;
	struct annal_checkpoint checkpoint;
	bool missed;
};

enum { KEY_TAGS = 256, KEY_AFTER, KEY_CHECKPOINT, KEY_EPOCH, KEY_MISSED };

static const struct argp_option options[] = {
	{NULL, 0, NULL, 0, "The event:", 1},
	{"type", 'T', "TYPE", 0, "Its type; required", 1},
	{"data", 'd', "DATA", 0, "Its data: text, @FILE, or - for stdin", 1},
	{"metadata", 'm', "DATA", 0, "Its metadata, given like data", 1},
	{"tag", 'g', "TAG", 0, "A tag; may be given again", 1},
	{"tags", KEY_TAGS, "TAG,...", 0, "Tags without commas in them", 1},
	{"id", 'i', "UUID", 0, "Its id: an append that is done again with it is stored once", 1},
	{"expect", 'e', "VERSION", 0,
	 "Refuse unless the stream is at that version, or: any, no_stream, stream_exists", 1},
	{NULL, 0, NULL, 0, "Several events in one step:", 2},
	{"batch", 'b', "FILE", 0,
	 "NDJSON as of `annal import`, - for stdin; \"expected_version\" in the first line of a "
	 "stream is its --expect",
	 2},
	{NULL, 0, NULL, 0, "Refuse the whole step:", 3},
	{"if-none", 'x', "QUERY", 0,
	 "When an event is what QUERY says (see `annal --help`); may be given again", 3},
	{"after", KEY_AFTER, "POSITION", 0, "With --if-none: only events behind it count", 3},
	{"check", 'c', "STREAM=VERSION", 0,
	 "Unless that stream, which is not written, is at VERSION (as of --expect)", 3},
	{"missed", KEY_MISSED, NULL, 0, "When it is refused, print the events that were missed", 3},
	{NULL, 0, NULL, 0, "In the same step:", 4},
	{"checkpoint", KEY_CHECKPOINT, "CONSUMER=POSITION", 0, "Store that checkpoint", 4},
	{"epoch", KEY_EPOCH, "N", 0, "With --checkpoint: its epoch", 4},
	{0},
};

/* ---- arguments ---- */

static void add_tag(struct argp_state *state, struct arguments *arguments, const char *tag)
{
	if (arguments->tags_count == LIMIT_TAGS)
		argp_error(state, "an event has at most %u tags", LIMIT_TAGS);
	arguments->tags[arguments->tags_count++] = tag;
}

static void add_tags(struct argp_state *state, struct arguments *arguments, char *list)
{
	char *rest = list, *tag;

	while ((tag = strsep(&rest, ",")) != NULL) {
		if (tag[0] == '\0')
			argp_error(state, "--tags: a tag is empty");
		add_tag(state, arguments, tag);
	}
}

static void add_condition(struct argp_state *state, struct arguments *arguments, const char *text)
{
	struct tool_query *query = tool_query_new();
	struct error error;

	if (arguments->conditions_count == LIMIT_CONDITIONS)
		argp_error(state, "an append has at most %u conditions", LIMIT_CONDITIONS);
	size_t at = arguments->conditions_count++;

	arguments->queries[at] = query;
	if (tool_query_parse(query, text, &error) != 0 ||
	    tool_query_build(query, &arguments->conditions[at].fail_if, &error) != 0)
		argp_error(state, "--if-none: %s", error.message);
}

static void add_check(struct argp_state *state, struct arguments *arguments, char *text)
{
	const char *version = "any", *stream = tool_split(state, "--check", text, &version);

	if (arguments->checks_count == CHECKS_MAX)
		argp_error(state, "there are more than %u checks", CHECKS_MAX);
	struct annal_check *check = &arguments->checks[arguments->checks_count++];

	*check = (struct annal_check){stream, tool_expect(state, "--check", version)};
	if (check->expect.kind == ANNAL_EXPECT_ANY)
		argp_error(state, "--check: 'any' checks nothing");
}

static void check_all(struct argp_state *state, struct arguments *arguments)
{
	if (arguments->path != NULL &&
	    (arguments->stream != NULL || arguments->type != NULL || arguments->has_id ||
	     arguments->has_expect || arguments->tags_count > 0 || arguments->data.size > 0 ||
	     arguments->metadata.size > 0))
		argp_error(state, "--batch: what is to be appended stands in the file alone");
	if (arguments->path == NULL && (arguments->stream == NULL || arguments->type == NULL))
		argp_error(state, "a stream and --type are wanted, or --batch");
	if (arguments->has_after && arguments->conditions_count == 0)
		argp_error(state, "--after goes with --if-none");
	if (arguments->checkpoint.epoch > 0 && arguments->checkpoint.consumer == NULL)
		argp_error(state, "--epoch goes with --checkpoint");
	for (size_t i = 0; i < arguments->conditions_count; i++)
		arguments->conditions[i].after = arguments->after;
}

static void take_checkpoint(struct argp_state *state, struct arguments *arguments, char *text)
{
	const char *position = "";

	arguments->checkpoint.consumer = tool_split(state, "--checkpoint", text, &position);
	arguments->checkpoint.position = tool_number(state, "--checkpoint", position, 0, INT64_MAX);
}

static error_t parse_step(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'b':
		arguments->path = argument;
		return 0;
	case 'x':
		add_condition(state, arguments, argument);
		return 0;
	case KEY_AFTER:
		arguments->has_after = true;
		arguments->after = tool_number(state, "--after", argument, 0, INT64_MAX);
		return 0;
	case 'c':
		add_check(state, arguments, argument);
		return 0;
	case KEY_CHECKPOINT:
		take_checkpoint(state, arguments, argument);
		return 0;
	case KEY_EPOCH:
		arguments->checkpoint.epoch = tool_number(state, "--epoch", argument, 1, INT64_MAX);
		return 0;
	case KEY_MISSED:
		arguments->missed = true;
		return 0;
	case ARGP_KEY_END:
		check_all(state, arguments);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'T':
		arguments->type = argument;
		return 0;
	case 'd':
		tool_take_payload(state, argument, &arguments->data);
		return 0;
	case 'm':
		tool_take_payload(state, argument, &arguments->metadata);
		return 0;
	case 'g':
		add_tag(state, arguments, argument);
		return 0;
	case KEY_TAGS:
		add_tags(state, arguments, argument);
		return 0;
	case 'i':
		arguments->has_id = annal_id_parse(argument, arguments->id);
		if (!arguments->has_id)
			argp_error(state, "--id: '%s' is no UUID (8-4-4-4-12 hexadecimal digits)",
				   argument);
		return 0;
	case 'e':
		arguments->has_expect = true;
		arguments->expect = tool_expect(state, "--expect", argument);
		return 0;
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->stream, argument);
		return 0;
	default:
		return parse_step(key, argument, state);
	}
}

/* ---- results ---- */

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

static void print_batch_result(const struct tool *tool, size_t events,
			       const struct annal_append_result *result)
{
	json_t *versions = json_object();
	char name[LIMIT_STREAM_NAME_BYTES + 1];

	for (size_t i = 0; i < result->versions_count; i++) {
		const struct annal_stream_version *stream = &result->versions[i];

		snprintf(name, sizeof name, "%.*s", (int)(stream->stream.size & 0x7ff),
			 (const char *)stream->stream.data);
		json_object_set_new(versions, name, json_integer((json_int_t)stream->version));
	}
	tool_print_object(tool, json_pack("{s:I, s:I, s:I, s:b, s:o}", "events", (json_int_t)events,
					  "first_position", (json_int_t)result->first_position,
					  "position", (json_int_t)result->position, "duplicate",
					  (int)result->duplicate, "versions", versions));
}

/* On stdout: they are the answer to the question why. */
static void print_missed(const struct tool *tool, const struct annal_error *error)
{
	struct tool_printer printer;

	tool_printer_begin(&printer, tool_format(tool));
	for (size_t i = 0; i < error->events_count; i++)
		if (!tool_print_event(&printer, &error->events[i]))
			break;
	tool_printer_end(&printer);
}

static enum tool_exit refused(const struct tool *tool, bool missed)
{
	const struct annal_error *error = annal_client_error(tool->client);

	if (missed &&
	    (error->code == ANNAL_WRONG_EXPECTED_VERSION || error->code == ANNAL_CONDITION_FAILED))
		print_missed(tool, error);
	return tool_failed(tool->client, "append");
}

/* ---- the step ---- */

static enum tool_exit append_one(struct tool *tool, struct annal_append *append)
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
	const struct annal_write write = {.stream = arguments->stream,
					  .expect = arguments->expect,
					  .events = &event,
					  .events_count = 1};

	append->writes = &write;
	append->writes_count = 1;
	if (annal_append(tool->client, append, &result) != ANNAL_OK)
		return refused(tool, arguments->missed);
	print_result(tool, arguments->id, &result);
	return TOOL_DONE;
}

static enum tool_exit append_batch(struct tool *tool, struct annal_append *append)
{
	struct arguments *arguments = tool->arguments;
	struct annal_append_result result;
	enum tool_exit outcome = TOOL_DONE;
	struct tool_batch *batch;
	struct error error;
	int status = tool_batch_read(&batch, arguments->path, &error);

	if (status != 0) {
		tool_complain("append: %s", error.message);
		return status == -EINVAL ? TOOL_REFUSED : TOOL_USAGE;
	}
	append->writes = tool_batch_writes(batch, &append->writes_count);
	if (annal_append(tool->client, append, &result) != ANNAL_OK)
		outcome = refused(tool, arguments->missed);
	else
		print_batch_result(tool, tool_batch_events(batch), &result);
	tool_batch_free(batch);
	return outcome;
}

static enum tool_exit run(struct tool *tool)
{
	struct arguments *arguments = tool->arguments;
	struct annal_append append = {
		.checks = arguments->checks,
		.checks_count = arguments->checks_count,
		.conditions = arguments->conditions,
		.conditions_count = arguments->conditions_count,
		.checkpoint =
			arguments->checkpoint.consumer != NULL ? &arguments->checkpoint : NULL,
		.want_conflict_events = arguments->missed,
	};
	enum tool_exit outcome =
		arguments->path != NULL ? append_batch(tool, &append) : append_one(tool, &append);

	for (size_t i = 0; i < arguments->conditions_count; i++)
		tool_query_free(arguments->queries[i]);
	buffer_close(&arguments->data);
	buffer_close(&arguments->metadata);
	return outcome;
}

const struct tool_command tool_append = {
	.name = "append",
	.operands = "STREAM --type TYPE\n--batch FILE",
	.summary = "Append an event to a stream, or a file of them in one step.",
	.details = "Examples: annal append Order-42 --type OrderPlaced --data '{\"total\":12}' "
		   "--expect no_stream\n"
		   "annal append Course-7 --type Enrolled --tags course:7,student:3 --if-none "
		   "'type=Enrolled tag=course:7,student:3' --check Student-3=stream_exists",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run,
};
