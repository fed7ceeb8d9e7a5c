/* What an append depends on or does besides its events: conditions, a checkpoint. See append_decode.h. */
#include "node/append_decoding.h"

#include "base/text.h"
#include "node/query_decode.h"
#include "storage/system.h"
#include <stdio.h>

/* ---- conditions ---- */

/* One of them, or the only one. */
struct place {
	char path[32];  /* "condition", "condition[3]" */
	uint32_t index; /* in the request */
};

static bool refuse_at(struct decode *decode, const struct place *place, const char *name,
		      const char *wrong)
{
	char argument[APPEND_PATH_BYTES];

	snprintf(argument, sizeof argument, "%s%s", place->path, name);
	return decode_refuse(decode, argument, "%s", wrong);
}

static bool read_query(struct decode *decode, const struct place *place, struct span raw)
{
	struct query *query = &decode->decoder->query;
	struct query_problem problem;
	char path[APPEND_PATH_BYTES];

	snprintf(path, sizeof path, "%s.fail_if", place->path);
	query_clear(query);
	if (!query_decode(raw, path, query, &problem)) {
		static_assert(sizeof problem.argument <= sizeof decode->problem->argument &&
				      sizeof problem.message <= sizeof decode->problem->message,
			      "a problem of a query is one of an append");
		decode->problem->code = ANSWER_INVALID_ARGUMENT;
		memcpy(decode->problem->argument, problem.argument, sizeof problem.argument);
		memcpy(decode->problem->message, problem.message, sizeof problem.message);
		return false;
	}
	decode->names += query_name_count(query);
	if (decode->names > LIMIT_QUERY_NAMES)
		return decode_refuse(decode, "condition",
				     "must have at most %u names in all its queries together",
				     LIMIT_QUERY_NAMES);
	return true;
}

static bool decode_condition(struct decode *decode, const struct place *place,
			     struct msgpack_reader *reader)
{
	struct arguments parts;
	struct span map, raw_query = {0}, raw_after = {0};
	uint64_t after = 0;

	if (msgpack_read_type(reader) != MSGPACK_TYPE_MAP || !msgpack_read_raw(reader, &map))
		return refuse_at(decode, place, "", "must be a map");
	bool whole = arguments_index(&parts, map);

	if (parts.pairs > LIMIT_MAP_PAIRS)
		return refuse_at(decode, place, "", "must be a map of at most 64 pairs");
	if (!whole)
		return refuse_at(decode, place, "", "must be a map");
	if (!arguments_find(&parts, "fail_if", &raw_query))
		return refuse_at(decode, place, ".fail_if", "is missing");
	if (arguments_find(&parts, "after", &raw_after)) {
		struct msgpack_reader number = msgpack_reader_of(raw_after);

		if (!msgpack_read_u64(&number, &after))
			return refuse_at(decode, place, ".after",
					 "must be a position: an integer of at least 0");
	}
	if (!read_query(decode, place, raw_query))
		return false;
	command_item_add_condition(decode->item, place->index, after, &decode->decoder->query);
	decode->form->has_others = true;
	return decode_check_size(decode);
}

bool decode_conditions(struct decode *decode)
{
	struct place place = {.path = "condition"};
	struct span raw = {0};
	uint32_t count;

	static_assert(LIMIT_MAP_PAIRS == 64, "decode_condition says so");
	if (!arguments_find(decode->arguments, "condition", &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (msgpack_read_type(&reader) == MSGPACK_TYPE_MAP)
		return decode_condition(decode, &place, &reader);
	if (!msgpack_read_array(&reader, &count))
		return decode_refuse_type(decode, "condition", "a map or a non-empty array of maps",
					  raw);
	if (count == 0)
		return decode_refuse(decode, "condition",
				     "must not be empty: leave it out, or say what is not to be");
	if (count > LIMIT_CONDITIONS)
		return decode_refuse(decode, "condition", "must be at most %u maps, not %u",
				     LIMIT_CONDITIONS, count);
	for (; place.index < count; place.index++) {
		snprintf(place.path, sizeof place.path, "condition[%u]", place.index);
		if (!decode_condition(decode, &place, &reader))
			return false;
	}
	return true;
}

/* ---- the checkpoint ---- */

static bool read_position(struct decode *decode, const struct arguments *parts, const char *name,
			  uint64_t *value, bool *given)
{
	char argument[APPEND_PATH_BYTES];
	struct span raw;

	*given = arguments_find(parts, name, &raw);
	if (!*given)
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	snprintf(argument, sizeof argument, "checkpoint.%s", name);
	return msgpack_read_u64(&reader, value) ||
	       decode_refuse_type(decode, argument, "an integer of at least 0", raw);
}

static bool read_consumer(struct decode *decode, const struct arguments *parts,
			  struct span *consumer)
{
	struct span raw;

	if (!arguments_find(parts, "consumer", &raw))
		return decode_refuse(decode, "checkpoint.consumer", "is missing");
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_str(&reader, consumer))
		return decode_refuse_type(decode, "checkpoint.consumer", "a string", raw);
	const char *wrong = text_stream_name_problem(*consumer);

	return wrong == NULL || decode_refuse(decode, "checkpoint.consumer", "%s", wrong);
}

bool decode_checkpoint(struct decode *decode)
{
	struct system_checkpoint checkpoint = {0};
	struct record_fields fields;
	uint8_t id[UUID_BYTES];
	struct arguments parts;
	struct span raw, consumer;
	uint64_t if_position = 0;
	bool has_position, has_if_position, has_epoch;

	if (!arguments_find(decode->arguments, "checkpoint", &raw))
		return true;
	bool whole = arguments_index(&parts, raw);

	if (!whole || parts.pairs > LIMIT_MAP_PAIRS)
		return decode_refuse(decode, "checkpoint", "must be a map of at most %u pairs",
				     LIMIT_MAP_PAIRS);
	if (!read_consumer(decode, &parts, &consumer) ||
	    !read_position(decode, &parts, "position", &checkpoint.position, &has_position) ||
	    !read_position(decode, &parts, "if_position", &if_position, &has_if_position) ||
	    !read_position(decode, &parts, "epoch", &checkpoint.epoch, &has_epoch))
		return false;
	if (!has_position)
		return decode_refuse(decode, "checkpoint.position", "is missing");
	system_checkpoint_fields(consumer, &checkpoint, id, &decode->decoder->text, &fields);
	command_item_add_checkpoint(decode->item, has_if_position ? &if_position : NULL, &fields);
	decode->form->has_others = true;
	return decode_check_size(decode);
}
