/*
 * `annal import`: lines become batches, consecutive lines of one stream one append; many appends
 * are in flight. Where one batch ends and the next begins depends on the file alone, so that doing
 * it again meets the same appends, which are in the store already or not as a whole.
 *
 *   FREE --line--> FILLING --full, or another stream--> BLOCKED by an earlier batch of its stream
 *     ^                          |                          |
 *     +---acknowledged--- IN FLIGHT <-----------------------+
 *                          |    ^
 *                          +----+ no leader, timeout: again, with the same ids
 *
 * A batch that is refused for what is in it (an id that comes twice, or is stored elsewhere; an event
 * that is too large) is none: its events go one by one, and only the bad ones are left out.
 *
 * Order: each stream has that of the file. Batches are sent in the order of the file too, but one that
 * waits for an earlier one of its stream, or is tried again, comes behind those of other streams.
 */
#include "client/tool.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/memory.h"
#include "client/tool_bench.h"
#include "client/tool_line.h"
#include "client/tool_source.h"
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCHES          512u
#define BATCH_EVENTS     256u
#define BATCH_BYTES      (1 * MIB)
#define PENDING_BYTES    (32 * MIB) /* of all batches; beyond it no line is read */
#define GIVE_UP_SECONDS  60u
#define PROGRESS_TERM_MS 200
#define PROGRESS_LINE_MS 5000

struct import;

struct batch {
	struct import *import;
	struct batch *next_free;
	struct batch *blocked; /* the next batch of the same stream */
	struct batch *same_hash;
	bool busy; /* in flight or blocked */
	const char *stream;
	uint32_t count;
	uint32_t single; /* when one by one: which is in flight; else UINT32_MAX */
	struct buffer bytes;
	struct tool_line lines[BATCH_EVENTS];
	uint64_t numbers[BATCH_EVENTS];
};

struct arguments {
	const char *path;
	uint64_t rate; /* events a second; 0: no bound */
	uint64_t give_up_seconds;
	bool skip_bad;
};

struct import {
	struct tool *tool;
	const struct arguments *arguments;
	struct tool_source source;
	struct batch *batches;
	struct batch *free;
	struct batch *filling;
	struct batch *by_stream[BATCHES]; /* the last batch of each stream, by hash */
	size_t pending_bytes;
	uint64_t lines, sent, stored, duplicates, bad, without_id;
	int64_t begin_ns, acknowledged_ns, longest_gap_ns;
	int64_t progress_ms;
	enum tool_exit outcome;
	bool stop;
	bool told_interrupted;
	/* Scratch for one append. */
	struct annal_new_event events[BATCH_EVENTS];
	const char *tags[BATCH_EVENTS * LIMIT_TAGS];
};

static const struct argp_option options[] = {
	{"rate", 'r', "N", 0, "At most N events a second", 0},
	{"skip-bad", 's', NULL, 0, "Tell bad lines and events, and go on without them", 0},
	{"give-up", 'g', "SECONDS", 0, "End when nothing was acknowledged for so long (60)", 0},
	{0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'r':
		arguments->rate = tool_number(state, "--rate", argument, 1, 100000000);
		return 0;
	case 's':
		arguments->skip_bad = true;
		return 0;
	case 'g':
		arguments->give_up_seconds = tool_number(state, "--give-up", argument, 1, 86400);
		return 0;
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->path, argument);
		return 0;
	case ARGP_KEY_END:
		if (arguments->path == NULL)
			argp_error(state, "a file is wanted, or - for stdin");
		if (arguments->give_up_seconds == 0)
			arguments->give_up_seconds = GIVE_UP_SECONDS;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- interruption ---- */

static volatile sig_atomic_t interrupted;

/* The second time it ends the program as if nothing had been set up. */
static void interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static void catch_interruption(void)
{
	const struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};

	interrupted = 0;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

/* ---- progress ---- */

static void clear_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static void show_progress(struct import *import)
{
	bool terminal = isatty(STDERR_FILENO);
	int64_t now_ms = clock_monotonic_ms();
	uint64_t done = import->stored + import->duplicates;
	double seconds = (double)(clock_monotonic_ns() - import->begin_ns) / 1e9;
	char share[16] = "";

	if (now_ms - import->progress_ms < (terminal ? PROGRESS_TERM_MS : PROGRESS_LINE_MS))
		return;
	import->progress_ms = now_ms;
	if (import->source.bytes_all > 0)
		snprintf(share, sizeof share, "%3.0f %%  ",
			 100.0 * (double)import->source.bytes_read /
				 (double)import->source.bytes_all);
	clear_progress();
	fprintf(stderr, "annal: import: %s%" PRIu64 " events, %.0f a second, %zu in flight%s",
		share, done, seconds > 0 ? (double)done / seconds : 0,
		annal_in_flight(import->tool->client), terminal ? "" : "\n");
	fflush(stderr);
}

/* ---- problems ---- */

static void stop(struct import *import, enum tool_exit outcome)
{
	import->stop = true;
	if (import->outcome == TOOL_DONE)
		import->outcome = outcome;
}

/* No line is read any more; what is on its way is waited for. */
static void look_for_interruption(struct import *import)
{
	if (!interrupted || import->told_interrupted)
		return;
	import->told_interrupted = true;
	clear_progress();
	tool_complain("import: interrupted: waiting for %zu appends on their way (again to end at "
		      "once)",
		      annal_in_flight(import->tool->client));
	stop(import, TOOL_INTERRUPTED);
}

/* A line, or an event, that will never be stored. */
static void tell_bad(struct import *import, uint64_t number, const char *message)
{
	clear_progress();
	tool_complain("%s:%" PRIu64 ": %s", import->source.name, number, message);
	import->bad++;
	if (!import->arguments->skip_bad)
		stop(import, TOOL_REFUSED);
}

static bool is_over(const struct import *import)
{
	int64_t silence = clock_monotonic_ns() - import->acknowledged_ns;

	return silence / 1000000000 >= (int64_t)import->arguments->give_up_seconds;
}

static void tell_refused(struct import *import, const struct batch *batch,
			 const struct annal_error *error)
{
	char message[640];
	uint32_t first = batch->single != UINT32_MAX ? batch->single : 0;

	snprintf(message, sizeof message, "%s: %s (stream %.60s)", annal_code_name(error->code),
		 error->message, batch->stream);
	tell_bad(import, batch->numbers[first], message);
	if (batch->single == UINT32_MAX)
		import->bad += batch->count - 1; /* as whole as it was sent */
}

/* ---- batches ---- */

static uint32_t stream_slot(const char *stream)
{
	uint32_t hash = 2166136261u;

	for (; *stream != '\0'; stream++)
		hash = (hash ^ (uint8_t)*stream) * 16777619u;
	return hash % BATCHES;
}

static void send_batch(struct import *import, struct batch *batch);

/* Another one may be of the same stream: it is its turn now. */
static void finish_batch(struct import *import, struct batch *batch)
{
	struct batch **at = &import->by_stream[stream_slot(batch->stream)];
	struct batch *next = batch->blocked;

	while (*at != NULL && *at != batch)
		at = &(*at)->same_hash;
	if (*at == batch) /* it was the last of its stream */
		*at = batch->same_hash;
	ASSERT(import->pending_bytes >= batch->bytes.size);
	import->pending_bytes -= batch->bytes.size;
	buffer_clear(&batch->bytes);
	batch->busy = false;
	batch->blocked = NULL;
	batch->next_free = import->free;
	import->free = batch;
	if (next != NULL && import->stop)
		finish_batch(import, next);
	else if (next != NULL)
		send_batch(import, next);
}

static void note_acknowledged(struct import *import)
{
	int64_t now = clock_monotonic_ns();

	if (now - import->acknowledged_ns > import->longest_gap_ns)
		import->longest_gap_ns = now - import->acknowledged_ns;
	import->acknowledged_ns = now;
}

static void next_single(struct import *import, struct batch *batch)
{
	if (++batch->single < batch->count && !import->stop)
		send_batch(import, batch);
	else
		finish_batch(import, batch);
}

/* Some event of the batch is refused, perhaps not all. */
static bool is_about_events(enum annal_code code)
{
	return code == ANNAL_EVENT_ID_CONFLICT || code == ANNAL_INVALID_ARGUMENT ||
	       code == ANNAL_TOO_LARGE;
}

static void batch_done(void *arg, enum annal_code code, const struct annal_append_result *result,
		       const struct annal_error *error)
{
	struct batch *batch = arg;
	struct import *import = batch->import;
	bool one_by_one = batch->single != UINT32_MAX;

	if (code == ANNAL_OK) {
		uint64_t count = one_by_one ? 1 : batch->count;

		*(result->duplicate ? &import->duplicates : &import->stored) += count;
		note_acknowledged(import);
	} else if (tool_exit_for(code) == TOOL_UNREACHABLE) {
		if (!import->stop && !is_over(import)) {
			send_batch(import, batch); /* with the same ids */
			return;
		}
		if (!import->stop) {
			clear_progress();
			tool_complain("import: nothing was acknowledged for %" PRIu64
				      " s: %s: %s; running it again goes on where it was",
				      import->arguments->give_up_seconds, annal_code_name(code),
				      error->message);
			stop(import, TOOL_UNREACHABLE);
		}
	} else if (is_about_events(code) && !one_by_one && batch->count > 1 && !import->stop) {
		batch->single = 0;
		send_batch(import, batch);
		return;
	} else if (code != ANNAL_MISUSE) {
		tell_refused(import, batch, error);
		note_acknowledged(import);
	}
	if (one_by_one)
		next_single(import, batch);
	else
		finish_batch(import, batch);
}

static void fill_event(const struct batch *batch, const struct tool_line *line,
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

static void send_batch(struct import *import, struct batch *batch)
{
	uint32_t first = batch->single != UINT32_MAX ? batch->single : 0;
	uint32_t count = batch->single != UINT32_MAX ? 1 : batch->count;
	const struct annal_write write = {
		.stream = batch->stream, .events = import->events, .events_count = count};
	const struct annal_append append = {.writes = &write, .writes_count = 1};

	for (uint32_t i = 0; i < count; i++)
		fill_event(batch, &batch->lines[first + i], &import->events[i],
			   &import->tags[i * LIMIT_TAGS]);
	if (annal_append_async(import->tool->client, &append, batch_done, batch) == ANNAL_OK)
		return;
	tell_refused(import, batch, annal_client_error(import->tool->client));
	stop(import, TOOL_REFUSED);
	finish_batch(import, batch);
}

/* Send it, or queue it behind the last batch of its stream. */
static void submit(struct import *import)
{
	struct batch *batch = import->filling;
	struct batch **at;

	import->filling = NULL;
	if (batch == NULL)
		return;
	batch->stream = (const char *)batch->bytes.data + batch->lines[0].stream_at;
	batch->single = UINT32_MAX;
	batch->busy = true;
	import->pending_bytes += batch->bytes.size;
	import->sent += batch->count;
	at = &import->by_stream[stream_slot(batch->stream)];
	while (*at != NULL && strcmp((*at)->stream, batch->stream) != 0)
		at = &(*at)->same_hash;
	struct batch *before = *at;

	batch->same_hash = before != NULL ? before->same_hash : NULL;
	*at = batch;
	if (before != NULL)
		before->blocked = batch;
	else
		send_batch(import, batch);
}

/* Wait until there is room for another batch and the rate allows it. */
static void wait_for_room(struct import *import)
{
	struct annal_client *client = import->tool->client;

	while (!import->stop && (import->free == NULL || import->pending_bytes > PENDING_BYTES)) {
		annal_poll(client, 100);
		look_for_interruption(import);
		show_progress(import);
	}
	while (!import->stop && import->arguments->rate > 0) {
		int64_t due_ns =
			(int64_t)((double)import->sent * 1e9 / (double)import->arguments->rate);
		int64_t left_ms = (import->begin_ns + due_ns - clock_monotonic_ns()) / 1000000;

		if (left_ms <= 0)
			break;
		annal_poll(client, left_ms < 100 ? (uint32_t)left_ms : 100);
		look_for_interruption(import);
		show_progress(import);
	}
}

/* ---- lines ---- */

static bool same_stream(const struct batch *batch, const char *stream)
{
	return strcmp((const char *)batch->bytes.data + batch->lines[0].stream_at, stream) == 0;
}

/* Put the line that is at the end of `bytes` of the batch in, or into a new one. */
static void add_line(struct import *import, const struct tool_line *line, struct span own,
		     uint64_t number)
{
	struct batch *batch = import->filling;

	if (batch == NULL) {
		wait_for_room(import);
		if (import->free == NULL)
			return;
		batch = import->free;
		import->free = batch->next_free;
		batch->count = 0;
		import->filling = batch;
	}
	size_t shift = batch->bytes.size;
	struct tool_line *into = &batch->lines[batch->count];

	buffer_append_span(&batch->bytes, own);
	*into = *line;
	into->stream_at += shift;
	into->type_at += shift;
	into->data_at += shift;
	into->metadata_at += shift;
	into->tags_at += shift;
	batch->numbers[batch->count++] = number;
	if (batch->count == BATCH_EVENTS || batch->bytes.size >= BATCH_BYTES)
		submit(import);
}

static void take_line(struct import *import, struct span text, struct buffer *own)
{
	struct tool_line line;
	struct error error;

	if (text.size == 0)
		return;
	import->lines++;
	buffer_clear(own);
	if (tool_line_parse(text, import->source.line, &line, own, &error) != 0) {
		tell_bad(import, import->source.line, error.message);
		return;
	}
	import->without_id += !line.has_id;
	if (import->filling != NULL &&
	    !same_stream(import->filling, (const char *)own->data + line.stream_at))
		submit(import);
	add_line(import, &line, buffer_span(own), import->source.line);
}

static void read_lines(struct import *import)
{
	struct buffer own;
	struct error error;
	struct span text;
	int status = 1;

	buffer_init(&own);
	while (!import->stop && (status = tool_source_next(&import->source, &text, &error)) == 1) {
		look_for_interruption(import);
		if (import->stop) /* what came last may be half a line */
			break;
		take_line(import, text, &own);
		/* Keep the connection going while lines are cheap to read. */
		if (import->lines % 64 == 0) {
			annal_poll(import->tool->client, 0);
			show_progress(import);
		}
	}
	buffer_close(&own);
	look_for_interruption(import);
	if (status < 0 && !import->told_interrupted) {
		clear_progress();
		tool_complain("import: %s", error.message);
		stop(import, TOOL_REFUSED);
	}
	if (!import->stop)
		submit(import);
	while (annal_in_flight(import->tool->client) > 0) {
		annal_poll(import->tool->client, 100);
		look_for_interruption(import);
		show_progress(import);
	}
}

/* ---- the whole ---- */

static void print_summary(const struct tool *tool, const struct import_summary *summary)
{
	uint64_t done = summary->stored + summary->duplicates;

	tool_print_object(
		tool, json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:f}", "events", (json_int_t)done,
				"new", (json_int_t)summary->stored, "already_there",
				(json_int_t)summary->duplicates, "bad", (json_int_t)summary->bad,
				"seconds", summary->seconds, "events_per_second",
				summary->seconds > 0 ? (double)done / summary->seconds : 0,
				"longest_gap_seconds", summary->longest_gap_seconds));
}

static struct import *new_import(struct tool *tool, const struct arguments *arguments)
{
	struct import *import = memory_zeroed(1, sizeof *import);

	import->tool = tool;
	import->arguments = arguments;
	import->batches = memory_zeroed(BATCHES, sizeof *import->batches);
	for (uint32_t i = 0; i < BATCHES; i++) {
		struct batch *batch = &import->batches[i];

		batch->import = import;
		buffer_init(&batch->bytes);
		batch->next_free = import->free;
		import->free = batch;
	}
	import->begin_ns = clock_monotonic_ns();
	import->acknowledged_ns = import->begin_ns;
	import->progress_ms = import->begin_ns / 1000000;
	return import;
}

static void free_import(struct import *import)
{
	tool_source_close(&import->source);
	for (uint32_t i = 0; i < BATCHES; i++)
		buffer_close(&import->batches[i].bytes);
	memory_free(import->batches);
	memory_free(import);
}

static enum tool_exit import_all(struct tool *tool, const struct arguments *arguments,
				 struct import_summary *summary)
{
	struct import *import = new_import(tool, arguments);
	struct error error;

	if (tool_source_open(&import->source, arguments->path, &error) != 0) {
		tool_complain("import: %s", error.message);
		import->outcome = TOOL_USAGE;
	} else {
		import->source.interrupted = &interrupted;
		read_lines(import);
		if (import->outcome == TOOL_DONE && import->bad > 0)
			import->outcome = TOOL_REFUSED;
		clear_progress();
	}
	enum tool_exit outcome = import->outcome;

	*summary = (struct import_summary){
		.stored = import->stored,
		.duplicates = import->duplicates,
		.bad = import->bad,
		.seconds = (double)(clock_monotonic_ns() - import->begin_ns) / 1e9,
		.longest_gap_seconds = (double)import->longest_gap_ns / 1e9};
	if (import->without_id > 0)
		tool_complain("import: %" PRIu64
			      " lines had no \"id\": theirs come from line number "
			      "and text, so importing the same file again stores nothing twice",
			      import->without_id);
	if (outcome == TOOL_INTERRUPTED)
		tool_complain("import: %" PRIu64 " events of the first %" PRIu64
			      " lines are stored: the same command again goes on, and stores "
			      "nothing twice",
			      summary->stored + summary->duplicates, import->source.line);
	free_import(import);
	return outcome;
}

enum tool_exit tool_import_file(struct tool *tool, const char *path, struct import_summary *summary)
{
	const struct arguments arguments = {.path = path, .give_up_seconds = GIVE_UP_SECONDS};

	return import_all(tool, &arguments, summary);
}

static enum tool_exit run(struct tool *tool)
{
	struct import_summary summary;

	catch_interruption();
	enum tool_exit outcome = import_all(tool, tool->arguments, &summary);

	if (outcome != TOOL_USAGE)
		print_summary(tool, &summary);
	return outcome;
}

const struct tool_command tool_import = {
	.name = "import",
	.operands = "FILE",
	.summary = "Append the events of a file: NDJSON, also .zst, - for stdin.",
	.details = "A line is {\"stream\":TEXT, \"type\":TEXT, \"id\":UUID, \"data\":JSON, "
		   "\"metadata\":JSON, \"tags\":[TEXT...]}; what is no JSON stands in data_text, "
		   "or in "
		   "data_base64, and so does metadata. Each stream keeps the order of the file; "
		   "events "
		   "of different streams that stand near each other may change places. Safe to run "
		   "again after any interruption.\n"
		   "Example: annal import history.ndjson.zst --rate 5000",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.run = run,
};
