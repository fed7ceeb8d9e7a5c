/* Appends for programs that measure the store alone. */
#include "tests/bench/store_load.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "storage/command.h"

#include <stdio.h>

const char *const load_tags[4] = {"shop", "2026", "eu", "web"};
static const char *const types[] = {"order-placed", "order-paid", "order-packed", "order-sent"};
static const uint8_t zeros[LIMIT_EVENT_BYTES];

uint64_t load_random(struct store_load *load)
{
	uint64_t mixed = (load->seed += UINT64_C(0x9e3779b97f4a7c15));

	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

void load_stream_name(uint64_t stream, char name[LOAD_STREAM_BYTES])
{
	snprintf(name, LOAD_STREAM_BYTES, "Order%llu-%llu", (unsigned long long)(stream % 10),
		 (unsigned long long)stream);
}

static void make_id(struct store_load *load, uint64_t number, uint8_t id[UUID_BYTES])
{
	bytes_set_be64(id, load_random(load));
	bytes_set_be64(id + 8, load_random(load));
	if (!load->version_4) /* a millisecond for every 500 events, then a counter */
		bytes_set_be64(id, (UINT64_C(1700000000000) + number / 500) << 16 | (number % 500));
	id[6] = (uint8_t)((load->version_4 ? 0x40 : 0x70) | (id[6] & 0x0f));
	id[8] = (uint8_t)(0x80 | (id[8] & 0x3f));
}

static uint64_t choose_stream(struct store_load *load, uint64_t number)
{
	if (load->order == LOAD_ROUND_ROBIN)
		return number % load->streams;
	uint64_t random = load_random(load);
	if (load->order == LOAD_UNIFORM)
		return random % load->streams;
	return (number / LOAD_EVENTS_IN_WINDOW + random % LOAD_WINDOW) % load->streams;
}

void load_add_append(struct store_load *load, struct buffer *items, uint64_t number)
{
	uint8_t id[UUID_BYTES];
	char stream[LOAD_STREAM_BYTES];

	ASSERT(load->bytes <= LIMIT_EVENT_BYTES && load->tags <= 4);
	load_stream_name(choose_stream(load, number), stream);
	make_id(load, number, id);
	struct record_fields fields = {.id = id,
				       .stream = span_of_string(stream),
				       .type = span_of_string(types[number % 4]),
				       .data = span_of(zeros, load->bytes),
				       .tag_count = load->tags};
	for (uint32_t i = 0; i < load->tags; i++)
		fields.tags[i] = span_of_string(load_tags[i]);
	struct expectation expectation = {.written = true, .stream = fields.stream};
	size_t item = command_item_begin(items);

	command_item_add_expectation(items, &expectation);
	command_item_add_record(items, &fields);
	command_item_end(items, item);
}
