#include "client/tool_batch.h"

#include "base/limits.h"
#include "base/memory.h"
#include "client/tool_line.h"
#include "client/tool_source.h"
#include <errno.h>

struct tool_batch {
	struct buffer bytes; /* of all lines */
	struct tool_line lines[LIMIT_APPEND_EVENTS];
	size_t count;
	struct annal_new_event events[LIMIT_APPEND_EVENTS];
	const char **tags; /* of all events */
	struct annal_write writes[LIMIT_APPEND_EVENTS];
	size_t writes_count;
};

void tool_batch_free(struct tool_batch *batch)
{
	if (batch == NULL)
		return;
	buffer_close(&batch->bytes);
	memory_free(batch->tags);
	memory_free(batch);
}

static int read_lines(struct tool_batch *batch, struct tool_source *source, struct error *error)
{
	struct error problem;
	struct span text;
	int status;

	while ((status = tool_source_next(source, &text, error)) == 1) {
		if (text.size == 0)
			continue;
		if (batch->count == LIMIT_APPEND_EVENTS)
			return error_set(error, -EINVAL,
					 "%s has more than the %u events of one append: `annal "
					 "import` takes more",
					 source->name, LIMIT_APPEND_EVENTS);
		if (tool_line_parse(text, source->line, &batch->lines[batch->count], &batch->bytes,
				    &problem) != 0)
			return error_set(error, -EINVAL, "%s:%llu: %s", source->name,
					 (unsigned long long)source->line, problem.message);
		batch->count++;
		if (batch->bytes.size > LIMIT_MESSAGE_BYTES)
			return error_set(error, -EINVAL, "%s is larger than one append may be",
					 source->name);
	}
	if (status == 0 && batch->count == 0)
		return error_set(error, -EINVAL, "%s has no events", source->name);
	return status;
}

static void fill_event(struct tool_batch *batch, const struct tool_line *line,
		       struct annal_new_event *event, const char **tags)
{
	const char *bytes = (const char *)batch->bytes.data;
	const char *tag = bytes + line->tags_at;

	for (size_t i = 0; i < line->tags_count; i++, tag += strlen(tag) + 1)
		tags[i] = tag;
	*event = (struct annal_new_event){
		.id = line->id,
		.type = bytes + line->type_at,
		.data = {bytes + line->data_at, line->data_size},
		.metadata = {bytes + line->metadata_at, line->metadata_size},
		.tags = tags,
		.tags_count = line->tags_count,
	};
}

/* Bytes no longer move: lines become events, and runs of one stream writes. */
static void make_writes(struct tool_batch *batch)
{
	const char *bytes = (const char *)batch->bytes.data;
	size_t tags = 0;

	for (size_t i = 0; i < batch->count; i++)
		tags += batch->lines[i].tags_count;
	batch->tags = memory_zeroed(tags + 1, sizeof batch->tags[0]);
	tags = 0;
	for (size_t i = 0; i < batch->count; i++) {
		struct tool_line *line = &batch->lines[i];
		const char *stream = bytes + line->stream_at;
		struct annal_write *last =
			batch->writes_count > 0 ? &batch->writes[batch->writes_count - 1] : NULL;

		if (!line->has_id) /* the one that depends on the text is for files imported twice */
			annal_new_id(line->id);
		fill_event(batch, line, &batch->events[i], &batch->tags[tags]);
		tags += line->tags_count;
		if (last != NULL && strcmp(last->stream, stream) == 0)
			last->events_count++;
		else
			batch->writes[batch->writes_count++] =
				(struct annal_write){.stream = stream,
						     .expect = line->expect,
						     .events = &batch->events[i],
						     .events_count = 1};
	}
}

int tool_batch_read(struct tool_batch **into, const char *path, struct error *error)
{
	struct tool_batch *batch = memory_zeroed(1, sizeof *batch);
	struct tool_source source;
	int status = tool_source_open(&source, path, error);

	buffer_init(&batch->bytes);
	if (status == 0)
		status = read_lines(batch, &source, error);
	tool_source_close(&source);
	if (status != 0) {
		tool_batch_free(batch);
		return status;
	}
	make_writes(batch);
	*into = batch;
	return 0;
}

const struct annal_write *tool_batch_writes(const struct tool_batch *batch, size_t *count)
{
	*count = batch->writes_count;
	return batch->writes;
}

size_t tool_batch_events(const struct tool_batch *batch)
{
	return batch->count;
}
