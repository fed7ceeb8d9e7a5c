/* `annal export`: events as NDJSON that `annal import` takes back. */
#include "client/tool.h"

#include "base/limits.h"
#include "base/memory.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define CHUNK_BYTES (1 * MIB)

struct arguments {
	const char *path; /* NULL: stdout */
	uint64_t from;
	const char *stream;
};

static const struct argp_option options[] = {
	{"from", 'f', "N", 0, "First position wanted; with --stream, first version", 0},
	{"stream", 's', "NAME", 0, "That stream alone instead of the whole store", 0},
	{0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'f':
		arguments->from = tool_number(state, "--from", argument, 1, INT64_MAX);
		return 0;
	case 's':
		arguments->stream = argument;
		return 0;
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->path, argument);
		return 0;
	case ARGP_KEY_END:
		if (arguments->stream != NULL &&
		    !tool_query_is_empty(((struct tool *)state->input)->query))
			argp_error(state, "--stream is that stream whole: --query 'stream=NAME "
					  "type=...' means some of its events");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

struct sink {
	FILE *file;
	const char *path;    /* NULL: standard output */
	char part[PATH_MAX]; /* what is written until it is whole; "": the path itself (a device) */
	ZSTD_CStream *zstd;  /* NULL: plain */
	struct buffer text, packed;
};

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), end_size = strlen(end);

	return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* Write what has gathered. False with errno set. */
static bool write_out(struct sink *sink, bool last)
{
	ZSTD_inBuffer in = {sink->text.data, sink->text.size, 0};
	size_t left = 1;

	if (sink->zstd == NULL) {
		bool good = sink->text.size == 0 || fwrite(sink->text.data, 1, sink->text.size,
							   sink->file) == sink->text.size;

		buffer_clear(&sink->text);
		return good;
	}
	while (in.pos < in.size || (last && left > 0)) {
		size_t room = ZSTD_CStreamOutSize();
		ZSTD_outBuffer out = {buffer_reserve(&sink->packed, room), room, 0};

		left = ZSTD_compressStream2(sink->zstd, &out, &in,
					    last ? ZSTD_e_end : ZSTD_e_continue);
		if (ZSTD_isError(left)) {
			errno = EIO;
			return false;
		}
		if (fwrite(out.dst, 1, out.pos, sink->file) != out.pos)
			return false;
	}
	buffer_clear(&sink->text);
	return true;
}

static enum annal_code write_events(struct annal_client *client, const struct annal_read *read,
				    struct sink *sink, uint64_t *count, bool *written)
{
	struct annal_iterator *iterator = annal_iterate(client, read);
	const struct annal_event *event;
	enum annal_code code;

	*written = true;
	while ((code = annal_iterator_next(iterator, &event)) == ANNAL_OK && event != NULL) {
		tool_event_line(&sink->text, event, TOOL_PAYLOAD_EXACT);
		buffer_append(&sink->text, "\n", 1);
		++*count;
		if (sink->text.size >= CHUNK_BYTES && !write_out(sink, false)) {
			*written = false;
			break;
		}
	}
	annal_iterator_free(iterator);
	if (code == ANNAL_OK && *written)
		*written = write_out(sink, true) && fflush(sink->file) == 0;
	return code;
}

/* What is there already is replaced when the new file is whole, and not before. */
static bool name_part(struct sink *sink)
{
	struct stat status;

	if (stat(sink->path, &status) == 0 && !S_ISREG(status.st_mode))
		return true;
	return (size_t)snprintf(sink->part, sizeof sink->part, "%s.part", sink->path) <
	       sizeof sink->part;
}

static bool open_sink(struct sink *sink, const char *path)
{
	sink->file = stdout;
	if (path != NULL && strcmp(path, "-") != 0) {
		sink->path = path;
		errno = ENAMETOOLONG;
		sink->file = NULL;
		if (name_part(sink))
			sink->file = fopen(sink->part[0] != '\0' ? sink->part : path, "w");
	}
	if (sink->file == NULL) {
		tool_complain("export: cannot open %s: %s", path, strerror(errno));
		return false;
	}
	if (path != NULL && ends_with(path, ".zst"))
		sink->zstd = memory_or_stop(ZSTD_createCStream());
	return true;
}

static enum tool_exit close_file(struct sink *sink, enum tool_exit outcome)
{
	bool whole = outcome == TOOL_DONE;

	if (whole && fsync(fileno(sink->file)) != 0 && errno != EINVAL && errno != EROFS)
		whole = false;
	if (fclose(sink->file) != 0)
		whole = false;
	if (whole && sink->part[0] != '\0' && rename(sink->part, sink->path) != 0)
		whole = false;
	if (!whole && outcome == TOOL_DONE) {
		tool_complain("export: cannot write %s: %s", sink->path, strerror(errno));
		outcome = TOOL_REFUSED;
	}
	if (!whole && sink->part[0] != '\0')
		unlink(sink->part);
	return outcome;
}

static enum tool_exit close_sink(struct sink *sink, enum tool_exit outcome)
{
	if (sink->path != NULL)
		outcome = close_file(sink, outcome);
	ZSTD_freeCStream(sink->zstd);
	buffer_close(&sink->text);
	buffer_close(&sink->packed);
	return outcome;
}

static enum tool_exit run(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	const struct annal_read read = {.stream = arguments->stream,
					.query = &tool->built_query,
					.from = arguments->from,
					.limit = LIMIT_READ_EVENTS};
	struct sink sink = {0};
	enum tool_exit outcome = TOOL_DONE;
	uint64_t count = 0;
	bool written;

	if (!open_sink(&sink, arguments->path))
		return TOOL_USAGE;
	if (write_events(tool->client, &read, &sink, &count, &written) != ANNAL_OK) {
		outcome = tool_failed(tool->client, "export");
	} else if (!written) {
		tool_complain("export: cannot write: %s", strerror(errno));
		outcome = TOOL_REFUSED;
	}
	bool to_file = sink.path != NULL;

	outcome = close_sink(&sink, outcome);
	if (to_file && outcome == TOOL_DONE)
		fprintf(stderr, "annal: export: %" PRIu64 " events in %s\n", count,
			arguments->path);
	return outcome;
}

const struct tool_command tool_export = {
	.name = "export",
	.operands = "[FILE]",
	.summary = "Write events, all or some, as NDJSON; compressed into FILE.zst.",
	.details =
		"The file can be imported again, here or elsewhere: each stream keeps its order, "
		"the streams among each other need not.\n"
		"Examples: annal export events.ndjson.zst\n"
		"annal export orders.ndjson --category Order",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.takes_query = true,
	.run = run,
};
