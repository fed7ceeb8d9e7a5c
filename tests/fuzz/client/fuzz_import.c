/*
 * A file of any bytes, plain or zstd, as lines to import and as a batch to append. A line is refused with
 * a message, or becomes an event that can be appended; printed as `annal export` prints it, it is read as
 * the same event. A batch has the events of its lines, in order, and can be put on the wire.
 */
#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/text.h"
#include "client/tool.h"
#include "client/tool_batch.h"
#include "client/tool_line.h"
#include "client/tool_source.h"
#include "client/wire.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINES_MAX 200

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct parsed {
	struct tool_line line;
	struct buffer bytes;
};

static struct span data_of(const struct parsed *parsed)
{
	return span_of(parsed->bytes.data + parsed->line.data_at, parsed->line.data_size);
}

static struct span metadata_of(const struct parsed *parsed)
{
	return span_of(parsed->bytes.data + parsed->line.metadata_at, parsed->line.metadata_size);
}

static const char *text_at(const struct parsed *parsed, size_t at)
{
	return (const char *)parsed->bytes.data + at;
}

static void check_limits(const struct parsed *parsed)
{
	const struct tool_line *line = &parsed->line;
	const char *tag = text_at(parsed, line->tags_at);

	ASSERT(text_stream_name_problem(span_of_string(text_at(parsed, line->stream_at))) == NULL);
	ASSERT(text_label_problem(span_of_string(text_at(parsed, line->type_at))) == NULL);
	ASSERT(line->data_size + line->metadata_size <= LIMIT_EVENT_BYTES);
	ASSERT(line->tags_count <= LIMIT_TAGS);
	for (size_t i = 0; i < line->tags_count; i++, tag += strlen(tag) + 1)
		ASSERT(text_label_problem(span_of_string(tag)) == NULL);
}

static void print_line(const struct parsed *parsed, struct buffer *into)
{
	struct annal_bytes tags[LIMIT_TAGS];
	const char *tag = text_at(parsed, parsed->line.tags_at);
	struct span data = data_of(parsed), metadata = metadata_of(parsed);
	struct annal_event event = {
		.stream = annal_text(text_at(parsed, parsed->line.stream_at)),
		.type = annal_text(text_at(parsed, parsed->line.type_at)),
		.data = {data.data, data.size},
		.metadata = {metadata.data, metadata.size},
		.tags = tags,
		.tags_count = parsed->line.tags_count,
	};

	for (size_t i = 0; i < event.tags_count; i++, tag += strlen(tag) + 1)
		tags[i] = annal_text(tag);
	memcpy(event.id, parsed->line.id, sizeof event.id);
	tool_event_line(into, &event, TOOL_PAYLOAD_EXACT);
}

static void check_same(const struct parsed *one, const struct parsed *other)
{
	ASSERT(strcmp(text_at(one, one->line.stream_at), text_at(other, other->line.stream_at)) ==
	       0);
	ASSERT(strcmp(text_at(one, one->line.type_at), text_at(other, other->line.type_at)) == 0);
	ASSERT(memcmp(one->line.id, other->line.id, sizeof one->line.id) == 0);
	ASSERT(span_equal(data_of(one), data_of(other)));
	ASSERT(span_equal(metadata_of(one), metadata_of(other)));
	ASSERT(one->line.tags_count == other->line.tags_count);
	const char *tag = text_at(one, one->line.tags_at);
	const char *again = text_at(other, other->line.tags_at);

	for (size_t i = 0; i < one->line.tags_count; i++) {
		ASSERT(strcmp(tag, again) == 0);
		tag += strlen(tag) + 1;
		again += strlen(again) + 1;
	}
}

/* Whether the line is an event. */
static bool check_line(struct span text, uint64_t number)
{
	struct parsed one = {0}, other = {0};
	struct buffer printed;
	struct error error = {{0}};

	buffer_init(&printed);
	buffer_append(&one.bytes, "kept", 4);
	bool good = tool_line_parse(text, number, &one.line, &one.bytes, &error) == 0;

	if (good) {
		check_limits(&one);
		print_line(&one, &printed);
		ASSERT(memchr(printed.data, '\n', printed.size) == NULL);
		ASSERT(tool_line_parse(buffer_span(&printed), number + 1, &other.line, &other.bytes,
				       &error) == 0);
		check_same(&one, &other);
	} else {
		ASSERT(error.message[0] != '\0' && one.bytes.size == 4);
	}
	buffer_close(&one.bytes);
	buffer_close(&other.bytes);
	buffer_close(&printed);
	return good;
}

/* Events up to the first line that is none; *whole: there was no such line, and the file ended well. */
static size_t check_lines(const char *path, bool *whole)
{
	struct tool_source source;
	struct error error = {{0}};
	struct span line;
	size_t events = 0;
	int status = tool_source_open(&source, path, &error);

	*whole = status == 0;
	for (int i = 0; status == 0 && i < LINES_MAX && *whole; i++) {
		int more = tool_source_next(&source, &line, &error);

		if (more <= 0) {
			ASSERT(more == 0 || strstr(error.message, path) != NULL);
			*whole = more == 0;
			break;
		}
		if (line.size == 0)
			continue;
		*whole = check_line(line, source.line);
		events += *whole;
	}
	tool_source_close(&source);
	return events;
}

static void check_writes(const struct tool_batch *batch, size_t events)
{
	struct annal_append append = {0};
	struct wire_request request;

	append.writes = tool_batch_writes(batch, &append.writes_count);
	size_t written = 0;

	for (size_t i = 0; i < append.writes_count; i++) {
		ASSERT(append.writes[i].events_count > 0);
		ASSERT(i == 0 || strcmp(append.writes[i].stream, append.writes[i - 1].stream) != 0);
		written += append.writes[i].events_count;
	}
	ASSERT(written == events && tool_batch_events(batch) == events);
	wire_request_init(&request);
	if (wire_append_problem(&append) == NULL)
		wire_append(&request, &append);
	wire_request_close(&request);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tool_batch *batch;
	struct error error = {{0}};
	char path[64];
	bool whole;
	int fd = memfd_create("lines", MFD_CLOEXEC);

	ASSERT(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	size_t events = check_lines(path, &whole);

	/* A batch is large: of the files that have none, every eighth. */
	if (events < LINES_MAX / 2 && ((whole && events > 0) || size % 8 == 0)) {
		int status = tool_batch_read(&batch, path, &error);

		ASSERT((status == 0) == (whole && events > 0));
		if (status == 0) {
			check_writes(batch, events);
			tool_batch_free(batch);
		} else {
			ASSERT(error.message[0] != '\0');
		}
	}
	close(fd);
	return 0;
}
