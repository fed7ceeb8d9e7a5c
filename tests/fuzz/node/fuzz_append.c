/*
 * Any params of append: refused with a name and a sentence, or taken as an item that apply can read:
 * every record, condition and checkpoint parses, each written stream has its expectation before.
 */
#include "base/assert.h"
#include "node/append_decode.h"
#include "storage/system.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_condition(struct span content)
{
	struct condition condition;
	struct query query;
	struct error error;

	query_init(&query);
	ASSERT(command_parse_condition(content, &condition, &error) == 0);
	ASSERT(query_parse(condition.query, &query, &error) == 0);
	query_close(&query);
}

static void check_checkpoint(struct span content)
{
	struct checkpoint_section section;
	struct system_checkpoint checkpoint;
	struct record record;
	struct error error;

	ASSERT(command_parse_checkpoint(content, &section, &error) == 0);
	ASSERT(record_parse(section.record, &record) == 0);
	ASSERT(system_is_checkpoint_record(section.record.data));
	ASSERT(system_checkpoint_parse(&record, &checkpoint) == 0);
}

static void check_record(struct span content)
{
	struct record record;

	ASSERT(record_parse(content, &record) == 0);
	ASSERT(record.bytes.size == content.size);
	ASSERT(!record_is_system(content.data));
}

static void check_item(struct span items, const struct append_form *form)
{
	uint32_t counts[COMMAND_CHECKPOINT + 1] = {0};
	struct command_section section;
	struct expectation expectation;
	struct error error;
	struct span sections;
	bool one = command_next_item(&items, &sections);

	ASSERT(one && items.size == 0);
	while (command_next_section(&sections, &section)) {
		ASSERT(section.tag <= COMMAND_CHECKPOINT && counts[COMMAND_CHECKPOINT] == 0);
		counts[section.tag]++;
		if (section.tag == COMMAND_EXPECTATION)
			ASSERT(counts[COMMAND_RECORD] == 0 &&
			       command_parse_expectation(section.content, &expectation, &error) ==
				       0);
		else if (section.tag == COMMAND_CONDITION)
			check_condition(section.content);
		else if (section.tag == COMMAND_RECORD)
			check_record(section.content);
		else
			check_checkpoint(section.content);
	}
	ASSERT(counts[COMMAND_RECORD] == form->event_count);
	ASSERT(form->event_count > 0 || counts[COMMAND_EXPECTATION] > 0 || form->has_others);
}

static void check_problem(const struct append_problem *problem)
{
	ASSERT(problem->message[0] != '\0');
	if (problem->code == ANSWER_TOO_LARGE)
		ASSERT(problem->size > problem->limit);
	else
		ASSERT(problem->code == ANSWER_INVALID_ARGUMENT && problem->argument[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct append_decoder decoder;
	struct append_problem problem;
	struct msgpack_scanner scanner;
	struct arguments arguments;
	struct append_form form;
	struct buffer item;

	msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
	if (msgpack_scan(&scanner, data, size) != MSGPACK_SCAN_VALUE)
		return 0;
	struct span params = span_of(data, scanner.offset);
	struct msgpack_reader reader = msgpack_reader_of(params);

	if (msgpack_read_type(&reader) != MSGPACK_TYPE_MAP)
		return 0;
	bool whole = arguments_index(&arguments, params);

	ASSERT(whole || arguments.pairs > ARGUMENTS_MAX);
	if (!whole)
		return 0;
	append_decoder_init(&decoder, 4096, 1024);
	buffer_init(&item);
	if (append_decode(&decoder, &arguments, &item, &form, &problem))
		check_item(buffer_span(&item), &form);
	else
		check_problem(&problem);
	buffer_close(&item);
	append_decoder_close(&decoder);
	return 0;
}
