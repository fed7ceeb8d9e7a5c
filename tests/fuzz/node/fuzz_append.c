/*
 * Any params of append: refused with a name and a sentence, or taken as an item that apply can read:
 * every record parses, each written stream has its expectation before.
 */
#include "base/assert.h"
#include "node/append_decode.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_item(struct span items, const struct append_form *form)
{
	struct command_section section;
	struct expectation expectation;
	struct record record;
	struct error error;
	struct span sections;
	uint32_t records = 0;
	bool one = command_next_item(&items, &sections);

	ASSERT(one && items.size == 0);
	while (command_next_section(&sections, &section)) {
		if (section.tag == COMMAND_EXPECTATION) {
			ASSERT(records == 0);
			ASSERT(command_parse_expectation(section.content, &expectation, &error) ==
			       0);
		} else {
			ASSERT(record_parse(section.content, &record) == 0);
			ASSERT(record.bytes.size == section.content.size);
			ASSERT(!record_is_system(section.content.data));
			records++;
		}
	}
	ASSERT(records > 0 && records == form->event_count);
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
	ASSERT(item.size == 0 || form.event_count > 0);
	buffer_close(&item);
	append_decoder_close(&decoder);
	return 0;
}
