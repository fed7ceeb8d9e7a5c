/*
 * The `annal` tool: a command line over annal.h. Commands are a table (tool.c); each has its own
 * file. Results go to stdout, everything else to stderr. One thread.
 */
#ifndef CLIENT_TOOL_H
#define CLIENT_TOOL_H

#include "base/buffer.h"
#include "client/annal.h"
#include "client/tool_query.h"

#include <argp.h>
#include <jansson.h>
#include <stdio.h>

enum tool_exit {
	TOOL_DONE = 0,
	TOOL_REFUSED = 1, /* the cluster, or the data, did not allow it */
	TOOL_USAGE = 2,   /* the command line is wrong, whoever noticed: also INVALID_ARGUMENT */
	TOOL_UNREACHABLE = 3, /* no node could be asked, or none answered in time */
	TOOL_INTERRUPTED = 130,
};

enum tool_format { TOOL_FORMAT_AUTO, TOOL_FORMAT_TABLE, TOOL_FORMAT_JSON, TOOL_FORMAT_NDJSON };

struct tool {
	const struct tool_command *command;
	const char *url;
	uint32_t timeout_ms; /* 0: not given */
	enum tool_format format;
	/* Of a command that takes a query: what its options say, and whether by --query. */
	struct tool_query *query;
	bool query_is_whole;
	struct annal_query built_query;
	void *arguments; /* of the command: command->arguments_size bytes, zeroed before parsing */
	struct annal_client *client;
};

struct tool_command {
	const char *name;
	const char *operands; /* "STREAM" */
	const char *summary;  /* one line */
	const char *details;  /* behind the options in --help, with an example */
	const struct argp_option *options;
	/* An argp parser; `struct tool` is state->input. NULL: neither options nor operands. */
	error_t (*parse)(int key, char *argument, struct argp_state *state);
	size_t arguments_size;
	bool takes_query;           /* has the options that say which events */
	bool takes_time;            /* an operand may be -1h */
	bool offline;               /* needs no cluster */
	const char *client_options; /* of the URL; NULL: none */
	uint32_t timeout_ms;        /* unless --timeout says otherwise; 0: 5000 */
	enum tool_exit (*run)(struct tool *tool);
};

extern const struct tool_command tool_append, tool_read, tool_tail, tool_load, tool_event,
	tool_stream, tool_streams, tool_categories, tool_types, tool_count, tool_at,
	tool_checkpoint, tool_snapshot, tool_import, tool_export, tool_backup, tool_verify,
	tool_status, tool_cluster, tool_digest, tool_stats, tool_ping, tool_bench;

#define TOOL_ONE_NODE "read_from=any&follow=off" /* the one in the URL, not its leader */

int tool_main(int argc, char **argv);

/* ---- errors and arguments ---- */

/* "annal: <message>" to stderr. */
void tool_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Tell the client's last error, and how to exit for it. */
enum tool_exit tool_failed(struct annal_client *client, const char *what);
enum tool_exit tool_exit_for(enum annal_code code);
/* Further lines about an error that has several parts. */
void tool_explain(const struct annal_error *error);
/* A number in an argument; ends the program with a message when it is none. */
uint64_t tool_number(struct argp_state *state, const char *name, const char *text, uint64_t min,
		     uint64_t max);
/* A client for the URL with further options, "a=b&c=d"; NULL with a message. */
struct annal_client *tool_connect(const struct tool *tool, const char *url, const char *options);
enum tool_format tool_format(const struct tool *tool); /* never AUTO */
/* Text, @FILE or - for standard input, into `into`. */
void tool_take_payload(struct argp_state *state, const char *argument, struct buffer *into);
/* A version, or any, no_stream, stream_exists. */
struct annal_expect tool_expect(struct argp_state *state, const char *name, const char *text);
/* "NAME=REST", taken apart where it stands, at the last `=`: the name, and *rest. */
const char *tool_split(struct argp_state *state, const char *option, char *text, const char **rest);
/* An operand that is there once; complains about a second one. */
void tool_operand(struct argp_state *state, const char **into, const char *argument);

/* ---- JSON ---- */

void tool_json_string(struct buffer *into, struct span text); /* quoted; any bytes */
/* How bytes become a member of an object. */
enum tool_payload {
	TOOL_PAYLOAD_SHOWN, /* JSON is JSON, though its white space may change */
	TOOL_PAYLOAD_EXACT, /* `annal import` makes the same bytes of it */
};
/* `"<name>":<JSON>` if it is JSON, `"<name>_text":"…"` for other text, else `"<name>_base64":"…"`. */
void tool_json_payload(struct buffer *into, const char *name, struct annal_bytes payload,
		       enum tool_payload how);
bool tool_is_json(struct annal_bytes payload);
void tool_base64(struct buffer *into, struct span bytes);
bool tool_base64_decode(const char *text, size_t size, struct buffer *into);
/* The value as a JSON value: bin becomes hexadecimal text. NULL when it is no msgpack. */
json_t *tool_json_from_msgpack(struct span value);
void tool_time(int64_t time_ns, char text[40]); /* RFC 3339, UTC */
/* RFC 3339, a date alone (UTC), `now`, or that many units before: -1h, now-1d12h (s m h d w). */
bool tool_time_parse(const char *text, int64_t now_ns, int64_t *time_ns);

/* ---- output ---- */

/* Events one by one, in the format asked for. */
struct tool_printer {
	enum tool_format format;
	uint64_t count;
	struct buffer line;
};

void tool_printer_begin(struct tool_printer *printer, enum tool_format format);
bool tool_print_event(struct tool_printer *printer, const struct annal_event *event);
void tool_printer_end(struct tool_printer *printer);
/* One line of NDJSON that `annal import` takes back. */
void tool_event_line(struct buffer *into, const struct annal_event *event, enum tool_payload how);
/* Text without control characters, or base64 with a marker; cut to the width of a column. */
void tool_table_data(struct buffer *into, struct annal_bytes data);

/* Rows one by one: objects, or in a table their values in columns. */
struct tool_rows {
	enum tool_format format;
	const struct tool_column *columns;
	size_t columns_count;
	uint64_t count;
};

struct tool_column {
	const char *key, *title;
	int width; /* negative: to the left */
};

void tool_rows_begin(struct tool_rows *rows, const struct tool *tool,
		     const struct tool_column *columns, size_t count);
void tool_rows_print(struct tool_rows *rows, json_t *object); /* takes the reference */
void tool_rows_end(struct tool_rows *rows);
/* An object: as JSON, or as lines of name and value. Takes the reference. */
void tool_print_object(const struct tool *tool, json_t *object);

#endif
