/* Results on stdout. */
#include "client/tool.h"

#include "base/assert.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdlib.h>

#define DATA_COLUMN_BYTES 100u

static void append_text(struct buffer *into, const char *text)
{
	buffer_append_span(into, span_of_string(text));
}

static void append_number(struct buffer *into, const char *name, uint64_t value)
{
	char text[64];
	int size = snprintf(text, sizeof text, "\"%s\":%" PRIu64 ",", name, value);

	buffer_append(into, text, (size_t)size);
}

static void append_string(struct buffer *into, const char *name, struct annal_bytes value)
{
	append_text(into, "\"");
	append_text(into, name);
	append_text(into, "\":");
	tool_json_string(into, span_of(value.data, value.size));
	append_text(into, ",");
}

void tool_event_line(struct buffer *into, const struct annal_event *event, enum tool_payload how)
{
	char id[ANNAL_ID_TEXT_BYTES], created[40];

	annal_id_format(event->id, id);
	tool_time(event->created_ns, created);
	append_text(into, "{");
	append_string(into, "stream", event->stream);
	append_string(into, "id", annal_text(id));
	append_string(into, "type", event->type);
	append_number(into, "position", event->position);
	append_number(into, "version", event->version);
	append_string(into, "created", annal_text(created));
	if (event->data.size > 0) {
		tool_json_payload(into, "data", event->data, how);
		append_text(into, ",");
	}
	if (event->metadata.size > 0) {
		tool_json_payload(into, "metadata", event->metadata, how);
		append_text(into, ",");
	}
	append_text(into, "\"tags\":[");
	for (size_t i = 0; i < event->tags_count; i++) {
		append_text(into, i > 0 ? "," : "");
		tool_json_string(into, span_of(event->tags[i].data, event->tags[i].size));
	}
	append_text(into, "]}");
}

/* ---- tables ---- */

static int cut(struct annal_bytes bytes, size_t most)
{
	return (int)(bytes.size < most ? bytes.size : most);
}

void tool_table_data(struct buffer *into, struct annal_bytes data)
{
	struct span span = span_of(data.data, data.size);

	if (data.size == 0)
		return;
	if (!text_is_utf8(span)) {
		append_text(into, "base64:");
		span.size = span.size < DATA_COLUMN_BYTES / 2 ? span.size : DATA_COLUMN_BYTES / 2;
		tool_base64(into, span);
		append_text(into, span.size < data.size ? "..." : "");
		return;
	}
	span.size = span.size < DATA_COLUMN_BYTES ? span.size : DATA_COLUMN_BYTES;
	while (span.size < data.size && span.size > 0 && (span.data[span.size] & 0xc0) == 0x80)
		span.size--;
	for (size_t i = 0; i < span.size; i++)
		buffer_append(into,
			      span.data[i] < 0x20 || span.data[i] == 0x7f ? (const uint8_t *)" "
									  : &span.data[i],
			      1);
	append_text(into, span.size < data.size ? "..." : "");
}

static void append_row(struct buffer *into, const struct annal_event *event)
{
	char head[512], created[40];

	tool_time(event->created_ns, created);
	int size = snprintf(head, sizeof head, "%10" PRIu64 " %7" PRIu64 " %.23s  %-30.*s %-18.*s ",
			    event->position, event->version, created, cut(event->stream, 120),
			    (const char *)event->stream.data, cut(event->type, 80),
			    (const char *)event->type.data);

	buffer_append(into, head, (size_t)size);
	tool_table_data(into, event->data);
}

void tool_printer_begin(struct tool_printer *printer, enum tool_format format)
{
	ASSERT(format != TOOL_FORMAT_AUTO);
	*printer = (struct tool_printer){.format = format};
	buffer_init(&printer->line);
	if (format == TOOL_FORMAT_TABLE)
		printf("%10s %7s %-23s  %-30s %-18s %s\n", "POSITION", "VERSION", "CREATED",
		       "STREAM", "TYPE", "DATA");
	if (format == TOOL_FORMAT_JSON)
		putchar('[');
}

bool tool_print_event(struct tool_printer *printer, const struct annal_event *event)
{
	buffer_clear(&printer->line);
	if (printer->format == TOOL_FORMAT_TABLE)
		append_row(&printer->line, event);
	else
		tool_event_line(&printer->line, event, TOOL_PAYLOAD_SHOWN);
	if (printer->format == TOOL_FORMAT_JSON)
		fputs(printer->count > 0 ? ",\n" : "\n", stdout);
	else
		buffer_append(&printer->line, "\n", 1);
	printer->count++;
	return fwrite(printer->line.data, 1, printer->line.size, stdout) == printer->line.size;
}

void tool_printer_end(struct tool_printer *printer)
{
	if (printer->format == TOOL_FORMAT_JSON)
		fputs("\n]\n", stdout);
	buffer_close(&printer->line);
}

static void print_pair(const char *name, const json_t *value)
{
	if (json_is_string(value)) {
		printf("%-36s %s\n", name, json_string_value(value));
		return;
	}
	char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));

	printf("%-36s %s\n", name, text == NULL ? "?" : text);
	free(text);
}

void tool_print_object(const struct tool *tool, json_t *object)
{
	enum tool_format format = tool_format(tool);
	const char *name;
	json_t *value;

	if (format != TOOL_FORMAT_TABLE || !json_is_object(object)) {
		json_dumpf(object, stdout,
			   JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) |
				   (format == TOOL_FORMAT_NDJSON ? JSON_COMPACT : JSON_INDENT(2)));
		putchar('\n');
	} else {
		json_object_foreach(object, name, value) print_pair(name, value);
	}
	json_decref(object);
}

/* ---- rows ---- */

void tool_rows_begin(struct tool_rows *rows, const struct tool *tool,
		     const struct tool_column *columns, size_t count)
{
	*rows = (struct tool_rows){
		.format = tool_format(tool), .columns = columns, .columns_count = count};
	if (rows->format == TOOL_FORMAT_JSON)
		putchar('[');
	if (rows->format != TOOL_FORMAT_TABLE)
		return;
	for (size_t i = 0; i < count; i++)
		printf("%s%*s", i > 0 ? " " : "", columns[i].width, columns[i].title);
	putchar('\n');
}

static void print_columns(const struct tool_rows *rows, const json_t *object)
{
	for (size_t i = 0; i < rows->columns_count; i++) {
		const struct tool_column *column = &rows->columns[i];
		const json_t *value = json_object_get(object, column->key);

		printf("%s", i > 0 ? " " : "");
		if (json_is_integer(value))
			printf("%*" PRIu64, column->width, (uint64_t)json_integer_value(value));
		else
			printf("%*s", column->width,
			       json_is_string(value) ? json_string_value(value) : "-");
	}
	putchar('\n');
}

void tool_rows_print(struct tool_rows *rows, json_t *object)
{
	if (rows->format == TOOL_FORMAT_JSON)
		fputs(rows->count > 0 ? ",\n" : "\n", stdout);
	if (rows->format == TOOL_FORMAT_TABLE)
		print_columns(rows, object);
	else
		json_dumpf(object, stdout, JSON_COMPACT);
	if (rows->format == TOOL_FORMAT_NDJSON)
		putchar('\n');
	rows->count++;
	json_decref(object);
}

void tool_rows_end(struct tool_rows *rows)
{
	if (rows->format == TOOL_FORMAT_JSON)
		fputs("\n]\n", stdout);
}
