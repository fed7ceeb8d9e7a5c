#include "node/append_decoding.h"

#include "base/assert.h"
#include "base/text.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* One of `writes`, or the one stream of the other form. Spans point into the arguments. */
struct append_write {
	struct span stream;
	struct span expected; /* raw; no data when absent */
	struct span events;   /* raw */
};

void append_decoder_init(struct append_decoder *decoder, uint64_t max_append, uint64_t max_event)
{
	ASSERT(max_append <= LIMIT_APPEND_BYTES && max_event <= LIMIT_EVENT_BYTES);
	*decoder = (struct append_decoder){.max_append = max_append, .max_event = max_event};
	map_init(&decoder->streams);
	map_init(&decoder->ids);
	buffer_init(&decoder->writes);
	query_init(&decoder->query);
	buffer_init(&decoder->text);
}

void append_decoder_close(struct append_decoder *decoder)
{
	map_close(&decoder->streams);
	map_close(&decoder->ids);
	buffer_close(&decoder->writes);
	query_close(&decoder->query);
	buffer_close(&decoder->text);
}

/* ---- problems ---- */

void decode_write_place(const struct decode *decode, char path[APPEND_PATH_BYTES])
{
	int written = 0;

	path[0] = '\0';
	if (decode->list != NULL)
		written = snprintf(path, APPEND_PATH_BYTES, "%s[%u]", decode->list,
				   decode->list_index);
	if (decode->in_event)
		snprintf(path + written, APPEND_PATH_BYTES - (size_t)written, "%sevents[%u]",
			 written > 0 ? "." : "", decode->event_index);
}

bool decode_refuse(struct decode *decode, const char *name, const char *format, ...)
{
	struct append_problem *problem = decode->problem;
	char place[APPEND_PATH_BYTES];
	va_list list;

	decode_write_place(decode, place);
	problem->code = ANSWER_INVALID_ARGUMENT;
	snprintf(problem->argument, sizeof problem->argument, "%s%s%s", place,
		 place[0] != '\0' && name[0] != '\0' ? "." : "", name);
	int written = snprintf(problem->message, sizeof problem->message, "%s ", problem->argument);

	ASSERT(written > 1 && (size_t)written < sizeof problem->message);
	va_start(list, format);
	vsnprintf(problem->message + written, sizeof problem->message - (size_t)written, format,
		  list);
	va_end(list);
	return false;
}

bool decode_refuse_type(struct decode *decode, const char *name, const char *wanted,
			struct span value)
{
	struct msgpack_reader reader = msgpack_reader_of(value);

	return decode_refuse(decode, name, "must be %s, not %s", wanted,
			     msgpack_type_name(msgpack_read_type(&reader)));
}

bool decode_refuse_pairs(struct decode *decode, uint32_t pairs)
{
	ASSERT(pairs > LIMIT_MAP_PAIRS);
	return decode_refuse(decode, "", "must be a map of at most %u pairs, not %u",
			     LIMIT_MAP_PAIRS, pairs);
}

bool decode_too_large(struct decode *decode, uint64_t size, uint64_t limit, const char *what)
{
	struct append_problem *problem = decode->problem;

	ASSERT(size > limit);
	problem->code = ANSWER_TOO_LARGE;
	problem->argument[0] = '\0';
	problem->size = size;
	problem->limit = limit;
	snprintf(problem->message, sizeof problem->message,
		 "%s: %" PRIu64 ", the limit is %" PRIu64, what, size, limit);
	return false;
}

bool decode_check_size(struct decode *decode)
{
	if (decode->item->size <= APPEND_ITEM_BYTES_MAX)
		return true;
	return decode_too_large(decode, decode->item->size, APPEND_ITEM_BYTES_MAX,
				"what the append comes to in the log is too large, in bytes");
}

/* ---- values ---- */

static bool read_stream_name(struct decode *decode, struct span raw, struct span *name)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (raw.data == NULL)
		return decode_refuse(decode, "stream", "is missing");
	if (!msgpack_read_str(&reader, name))
		return decode_refuse_type(decode, "stream", "a string", raw);
	const char *wrong = text_stream_name_problem(*name);

	if (wrong != NULL)
		return decode_refuse(decode, "stream", "%s", wrong);
	return true;
}

static bool read_expectation(struct decode *decode, struct span raw,
			     struct expectation *expectation)
{
	static const struct {
		const char *name;
		enum expectation_kind kind;
	} names[] = {{"any", EXPECTATION_ANY},
		     {"no_stream", EXPECTATION_NO_STREAM},
		     {"stream_exists", EXPECTATION_STREAM_EXISTS}};
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span text;

	expectation->kind = EXPECTATION_ANY;
	expectation->version = 0;
	if (raw.data == NULL)
		return true;
	if (msgpack_read_u64(&reader, &expectation->version)) {
		expectation->kind = EXPECTATION_VERSION;
		return true;
	}
	if (msgpack_read_str(&reader, &text))
		for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
			if (span_equal_string(text, names[i].name)) {
				expectation->kind = names[i].kind;
				return true;
			}
	return decode_refuse(decode, "expected_version",
			     "must be an integer of at least 0, \"any\", \"no_stream\" or "
			     "\"stream_exists\"");
}

/* ---- expectations ---- */

/* True: the stream is mentioned for the first time. Most appends have one: no map for it. */
static bool mention(struct decode *decode, struct span stream)
{
	struct append_decoder *decoder = decode->decoder;

	if (decode->streams++ == 0) {
		decode->first_stream = stream;
		return true;
	}
	if (decode->streams == 2) {
		map_clear(&decoder->streams);
		map_put(&decoder->streams, decode->first_stream, 1);
	}
	return ++*map_put(&decoder->streams, stream, 0) == 1;
}

/* The stream's expectation, unless it was mentioned before: the first place counts. */
static bool add_expectation(struct decode *decode, const struct append_write *write, uint32_t index)
{
	struct expectation expectation = {.written = true, .index = index, .stream = write->stream};

	if (!read_expectation(decode, write->expected, &expectation))
		return false;
	if (mention(decode, write->stream))
		command_item_add_expectation(decode->item, &expectation);
	return decode_check_size(decode);
}

/* The values of one of `writes` or `checks`. */
static bool split_write(struct decode *decode, struct msgpack_reader *reader,
			struct append_write *write)
{
	struct arguments arguments;
	struct span map, raw_stream = {0};

	*write = (struct append_write){0};
	if (msgpack_read_type(reader) != MSGPACK_TYPE_MAP || !msgpack_read_raw(reader, &map))
		return decode_refuse(decode, "", "must be a map");
	bool whole = arguments_index(&arguments, map);

	if (arguments.pairs > LIMIT_MAP_PAIRS)
		return decode_refuse_pairs(decode, arguments.pairs);
	if (!whole)
		return decode_refuse(decode, "", "must be a map");
	(void)arguments_find(&arguments, "stream", &raw_stream);
	(void)arguments_find(&arguments, "expected_version", &write->expected);
	(void)arguments_find(&arguments, "events", &write->events);
	return read_stream_name(decode, raw_stream, &write->stream);
}

static bool split_writes(struct decode *decode, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct buffer *writes = &decode->decoder->writes;
	struct append_write write;
	uint32_t count;

	if (!msgpack_read_array(&reader, &count))
		return decode_refuse_type(decode, "writes", "an array of maps", raw);
	if (count > LIMIT_APPEND_EVENTS)
		return decode_too_large(decode, count, LIMIT_APPEND_EVENTS,
					"the append has too many writes");
	decode->list = "writes";
	for (uint32_t i = 0; i < count; i++) {
		decode->list_index = i;
		if (!split_write(decode, &reader, &write) || !add_expectation(decode, &write, i))
			return false;
		buffer_append(writes, &write, sizeof write);
	}
	decode->list = NULL;
	return true;
}

/* The one write of the form that has `stream`. */
static bool split_single(struct decode *decode)
{
	struct append_write write = {0};
	struct span raw_stream = {0};

	(void)arguments_find(decode->arguments, "stream", &raw_stream);
	(void)arguments_find(decode->arguments, "expected_version", &write.expected);
	(void)arguments_find(decode->arguments, "events", &write.events);
	if (!read_stream_name(decode, raw_stream, &write.stream) ||
	    !add_expectation(decode, &write, 0))
		return false;
	buffer_append(&decode->decoder->writes, &write, sizeof write);
	return true;
}

static bool decode_check(struct decode *decode, struct msgpack_reader *reader, uint32_t index)
{
	struct expectation expectation = {.written = false, .index = index};
	struct append_write check;

	if (!split_write(decode, reader, &check))
		return false;
	if (check.expected.data == NULL)
		return decode_refuse(decode, "expected_version", "is missing");
	if (!read_expectation(decode, check.expected, &expectation))
		return false;
	if (expectation.kind == EXPECTATION_ANY)
		return decode_refuse(decode, "expected_version",
				     "must not be \"any\": nothing would be checked");
	if (!mention(decode, check.stream))
		return decode_refuse(decode, "stream",
				     "is written by this append or checked before: say what is "
				     "expected of it there");
	expectation.stream = check.stream;
	command_item_add_expectation(decode->item, &expectation);
	return decode_check_size(decode);
}

static bool decode_checks(struct decode *decode)
{
	struct span raw = {0};
	uint32_t count;

	if (!arguments_find(decode->arguments, "checks", &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_array(&reader, &count))
		return decode_refuse_type(decode, "checks", "an array of maps", raw);
	if (count > LIMIT_APPEND_EVENTS)
		return decode_too_large(decode, count, LIMIT_APPEND_EVENTS,
					"the append has too many checks");
	decode->list = "checks";
	for (uint32_t i = 0; i < count; i++) {
		decode->list_index = i;
		if (!decode_check(decode, &reader, i))
			return false;
	}
	decode->list = NULL;
	return true;
}

/* ---- the whole ---- */

/* The second pass over the writes: expectations and conditions stand before the records. */
static bool decode_records(struct decode *decode)
{
	const struct buffer *writes = &decode->decoder->writes;
	uint32_t count = (uint32_t)(writes->size / sizeof(struct append_write));

	for (uint32_t i = 0; i < count; i++) {
		struct append_write write;

		memcpy(&write, writes->data + i * sizeof write, sizeof write);
		decode->list = decode->form->one_stream ? NULL : "writes";
		decode->list_index = i;
		if (!decode_events(decode, write.stream, write.events))
			return false;
	}
	decode->list = NULL;
	return true;
}

static bool read_on_conflict(struct decode *decode)
{
	struct span raw = {0}, text;

	if (!arguments_find(decode->arguments, "on_conflict", &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	decode->form->with_events =
		msgpack_read_str(&reader, &text) && span_equal_string(text, "events");
	if (!decode->form->with_events)
		return decode_refuse(decode, "on_conflict", "must be \"events\", or be left out");
	return true;
}

/* Which of the forms it is: with `stream`, with `writes`, or without events. */
static bool choose_form(struct decode *decode, struct span *raw_writes)
{
	static const char *const ones[] = {"stream", "expected_version", "events"};
	static const char *const others[] = {"checks", "condition", "checkpoint"};
	bool has_writes = arguments_find(decode->arguments, "writes", raw_writes),
	     has_others = false;
	const char *one = NULL;
	struct span raw;

	for (size_t i = 0; i < sizeof ones / sizeof ones[0]; i++) {
		if (one == NULL && arguments_find(decode->arguments, ones[i], &raw))
			one = ones[i];
		has_others = has_others || arguments_find(decode->arguments, others[i], &raw);
	}
	if (has_writes && one != NULL)
		return decode_refuse(decode, one, "belongs into `writes` when there are any");
	decode->form->one_stream = !has_writes && (one != NULL || !has_others);
	return true;
}

/* An append that asks for nothing is a mistake. */
static bool refuse_nothing(struct decode *decode, bool has_writes)
{
	return decode_refuse(decode, has_writes ? "writes" : "checks",
			     "must not be empty when the append has nothing else: neither events, "
			     "nor checks, conditions or a checkpoint");
}

static bool decode_all(struct decode *decode)
{
	struct append_decoder *decoder = decode->decoder;
	struct span raw_writes = {0};

	buffer_clear(&decoder->writes);
	if (!read_on_conflict(decode) || !choose_form(decode, &raw_writes))
		return false;
	if (decode->form->one_stream && !split_single(decode))
		return false;
	if (raw_writes.data != NULL && !split_writes(decode, raw_writes))
		return false;
	if (!decode_checks(decode) || !decode_conditions(decode) || !decode_records(decode) ||
	    !decode_checkpoint(decode))
		return false;
	if (decode->streams == 0 && !decode->form->has_others)
		return refuse_nothing(decode, raw_writes.data != NULL);
	return true;
}

bool append_decode(struct append_decoder *decoder, const struct arguments *arguments,
		   struct buffer *item, struct append_form *form, struct append_problem *problem)
{
	struct decode decode = {.decoder = decoder,
				.arguments = arguments,
				.problem = problem,
				.item = item,
				.form = form};

	ASSERT(item->size == 0); /* its size is compared with its bound */
	*form = (struct append_form){0};
	size_t offset = command_item_begin(item);

	if (!decode_all(&decode)) {
		item->size = 0;
		return false;
	}
	command_item_end(item, offset);
	return true;
}
