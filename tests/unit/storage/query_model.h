/*
 * Stores full of random events, and a model of what queries and names must give: plain loops over
 * all records.
 */
#ifndef TESTS_STORAGE_QUERY_MODEL_H
#define TESTS_STORAGE_QUERY_MODEL_H

#include "tests/unit/storage/feed.h"

#include "base/text.h"

#define MODEL_EVENTS_MAX 4000
#define MODEL_STREAMS    40
#define MODEL_LABELS     8

struct query_model {
	uint64_t seed;
	struct feed_place place;
	struct store *store;
	struct buffer names[MODEL_STREAMS];
	uint32_t count;
	struct span records[MODEL_EVENTS_MAX]; /* position - 1; owned */
	uint64_t versions[MODEL_STREAMS];
	uint64_t applied;
};

static const char *const model_types[MODEL_LABELS] = {"placed", "paid", "sent", "$odd",
						      "lost",   "a",    "b",    "never"};
static const char *const model_tags[MODEL_LABELS] = {"customer:1", "customer:2", "hot", "rare",
						     "cold",       "x",          "y",   "never"};

static inline uint64_t model_roll(struct query_model *model, uint64_t sides)
{
	return unit_random(&model->seed) % sides;
}

/* Low numbers are far more frequent than high ones; the last is never given. */
static inline uint32_t model_skewed(struct query_model *model, uint32_t sides)
{
	uint32_t number = 0;

	while (number + 2 < sides && model_roll(model, 2) == 0)
		number++;
	return number;
}

static inline struct span model_stream(const struct query_model *model, uint32_t number)
{
	return buffer_span(&model->names[number]);
}

static inline void model_make_names(struct query_model *model)
{
	static const char *const starts[] = {"Order-", "Order", "Ord-",       "Orders-",
					     "-",      "Ox-y-", "$snapshot-", "!"};

	for (uint32_t i = 0; i < MODEL_STREAMS; i++) {
		struct buffer *name = &model->names[i];
		char text[32];

		buffer_init(name);
		buffer_append_span(name, span_of_string(starts[i % 8]));
		if (i >= 24 && i % 8 != 6) /* no keys; some equal in their first 400 bytes */
			for (uint32_t j = 0; j < 190 + 10 * (i % 5); j++)
				buffer_append(name, "xy", 2);
		snprintf(text, sizeof text, i % 3 == 0 ? "-%u" : "%u", i);
		if (i >= 8)
			buffer_append_span(name, span_of_string(text));
	}
}

/* ---- filling ---- */

static inline void model_note(struct query_model *model, const struct record_fields *fields,
			      uint32_t stream, int64_t created)
{
	struct buffer buffer;
	size_t size;

	assert_true(model->count < MODEL_EVENTS_MAX);
	buffer_init(&buffer);
	record_encode(&buffer, fields);
	record_stamp(buffer.data, model->count + 1, ++model->versions[stream], created);
	uint8_t *bytes = buffer_take(&buffer, &size);
	model->records[model->count++] = span_of(bytes, size);
}

static inline void model_add_event(struct query_model *model, struct buffer *items)
{
	static const uint8_t data[300];
	uint32_t stream =
		(uint32_t)model_roll(model, model_roll(model, 2) == 0 ? 8 : MODEL_STREAMS);
	struct expectation expectation = {.written = true, .stream = model_stream(model, stream)};
	uint8_t id[UUID_BYTES];
	struct record_fields fields = {
		.id = id,
		.stream = expectation.stream,
		.type = span_of_string(model_types[model_skewed(model, MODEL_LABELS)]),
		.data = span_of(data, model_roll(model, 100)),
		.tag_count = (uint32_t)model_roll(model, 4)};

	bytes_set_be64(id, unit_random(&model->seed));
	bytes_set_be64(id + 8, unit_random(&model->seed));
	for (uint32_t i = 0; i < fields.tag_count; i++) /* sometimes the same twice */
		fields.tags[i] = span_of_string(model_tags[model_skewed(model, MODEL_LABELS)]);
	size_t item = command_item_begin(items);

	command_item_add_expectation(items, &expectation);
	command_item_add_record(items, &fields);
	command_item_end(items, item);
	model_note(model, &fields, stream, (int64_t)(model->applied + 1) * 1000);
}

static inline void model_append(struct query_model *model, uint32_t events)
{
	struct apply_result result;
	struct buffer items;
	struct error error;

	buffer_init(&items);
	for (uint32_t i = 0; i < events; i++)
		model_add_event(model, &items);
	model->applied++;
	struct span body = feed_command(&items, events, (int64_t)model->applied * 1000);
	buffer_close(&items);
	assert_ok(store_apply(model->store, model->applied, (uint8_t *)(uintptr_t)body.data,
			      body.size, NULL, &result, &error));
	assert_int_equal(store_head(model->store), model->count);
}

/* Sometimes it fails, and then the frozen part of the tail stays where it is. */
static inline void model_flush(struct query_model *model)
{
	struct error error;
	bool fails = model->place.disk != NULL && model_roll(model, 2) == 0;

	if (fails)
		kv_memory_disk_fail(model->place.disk, 1);
	int rc = store_flush(model->store, &error);
	assert_true(rc == 0 || (fails && rc == -EIO));
	if (fails)
		kv_memory_disk_fail(model->place.disk, 0);
}

static inline struct query_model *model_new(uint64_t seed, bool in_memory)
{
	struct query_model *model = memory_zeroed(1, sizeof *model);

	model->seed = seed;
	model_make_names(model);
	feed_place_init(&model->place, in_memory);
	model->store = feed_store(&model->place);
	return model;
}

static inline void model_free(struct query_model *model)
{
	store_close(model->store);
	feed_place_close(&model->place);
	for (uint32_t i = 0; i < model->count; i++)
		memory_free((void *)(uintptr_t)model->records[i].data);
	for (uint32_t i = 0; i < MODEL_STREAMS; i++)
		buffer_close(&model->names[i]);
	memory_free(model);
}

#endif
