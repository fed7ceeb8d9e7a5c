/* Building commands and stores for the tests of storage. */
#ifndef TESTS_STORAGE_FEED_H
#define TESTS_STORAGE_FEED_H

#include "tests/unit/unit.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "storage/kv.h"
#include "storage/store.h"
#include "storage/system.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- commands ---- */

struct feed_event {
	uint8_t id[UUID_BYTES];
	struct span stream, type, data;
	uint32_t tag_count;
	struct span tags[4];
};

struct feed_append {
	uint32_t expectation_count;
	struct expectation expectations[8];
	uint32_t event_count;
	struct feed_event events[16];
};

static inline void feed_item(struct buffer *items, const struct feed_append *append)
{
	size_t item = command_item_begin(items);

	for (uint32_t i = 0; i < append->expectation_count; i++)
		command_item_add_expectation(items, &append->expectations[i]);
	for (uint32_t i = 0; i < append->event_count; i++) {
		const struct feed_event *event = &append->events[i];
		struct record_fields fields = {.id = event->id,
					       .stream = event->stream,
					       .type = event->type,
					       .data = event->data,
					       .tag_count = event->tag_count};

		memcpy(fields.tags, event->tags, sizeof event->tags);
		command_item_add_record(items, &fields);
	}
	command_item_end(items, item);
}

/* The bytes of a command around items: to be freed by the store. */
static inline struct span feed_command(const struct buffer *items, uint32_t count, int64_t created)
{
	uint8_t *body = memory_alloc(COMMAND_HEADER_BYTES + items->size);

	command_header_write(body, COMMAND_BATCH, count, created);
	if (items->size > 0)
		memcpy(body + COMMAND_HEADER_BYTES, items->data, items->size);
	return span_of(body, COMMAND_HEADER_BYTES + items->size);
}

/* One event in one stream, nothing expected. */
static inline struct feed_append feed_single(const char *stream, uint64_t number)
{
	struct feed_append append = {.expectation_count = 1, .event_count = 1};

	append.expectations[0] = (struct expectation){
		.kind = EXPECTATION_ANY, .written = true, .stream = span_of_string(stream)};
	append.events[0].stream = span_of_string(stream);
	append.events[0].type = span_of_string("happened");
	append.events[0].data = span_of_string("{\"some\": \"data\"}");
	bytes_set_be64(append.events[0].id, number);
	append.events[0].id[6] = (uint8_t)(0x70 | (append.events[0].id[6] & 0x0f));
	bytes_set_be64(append.events[0].id + 8, number);
	return append;
}

static inline int feed_apply(struct store *store, uint64_t index, const struct feed_append *append,
			     const struct apply_sink *sink, struct error *error)
{
	struct apply_result result;
	struct buffer items;

	buffer_init(&items);
	feed_item(&items, append);
	struct span body = feed_command(&items, 1, (int64_t)index * 1000);
	buffer_close(&items);
	return store_apply(store, index, (uint8_t *)(uintptr_t)body.data, body.size, sink, &result,
			   error);
}

/* A checkpoint of a consumer, alone in its command. */
static inline int feed_try_checkpoint(struct store *store, uint64_t index, const char *consumer,
				      uint64_t position, struct error *error)
{
	struct system_checkpoint checkpoint = {.position = position};
	struct apply_result result;
	struct record_fields fields;
	struct buffer text, items;
	uint8_t id[UUID_BYTES];

	buffer_init(&text);
	buffer_init(&items);
	system_checkpoint_fields(span_of_string(consumer), &checkpoint, id, &text, &fields);
	bytes_set_be64(id, index); /* the same in every run */
	bytes_set_be64(id + 8, ~index);
	size_t item = command_item_begin(&items);
	command_item_add_checkpoint(&items, NULL, &fields);
	command_item_end(&items, item);
	struct span body = feed_command(&items, 1, (int64_t)index * 1000);
	buffer_close(&text);
	buffer_close(&items);
	return store_apply(store, index, (uint8_t *)(uintptr_t)body.data, body.size, NULL, &result,
			   error);
}

static inline void feed_checkpoint(struct store *store, uint64_t index, const char *consumer,
				   uint64_t position)
{
	struct error error;

	if (feed_try_checkpoint(store, index, consumer, position, &error) != 0)
		fail_msg("%s", error.message);
}

/* ---- places for stores ---- */

/* Memory, or a directory that is removed in the end. */
struct feed_place {
	struct kv_memory_disk *disk;
	char path[64];
	uint64_t map_bytes;
};

static inline void feed_place_init(struct feed_place *place, bool in_memory)
{
	*place = (struct feed_place){0};
	if (in_memory) {
		place->disk = kv_memory_disk_new();
		return;
	}
	strcpy(place->path, "/tmp/annal-storage-XXXXXX");
	assert_non_null(mkdtemp(place->path));
}

static inline void feed_place_close(struct feed_place *place)
{
	char path[96];

	if (place->disk != NULL) {
		kv_memory_disk_free(place->disk);
		return;
	}
	snprintf(path, sizeof path, "%s/data.mdb", place->path);
	unlink(path);
	snprintf(path, sizeof path, "%s/lock.mdb", place->path);
	unlink(path);
	assert_int_equal(rmdir(place->path), 0);
}

static inline struct kv *feed_kv(struct feed_place *place)
{
	struct kv_lmdb_options options = {
		.path = place->path, .create = true, .map_bytes = place->map_bytes};
	struct error error;
	struct kv *kv;

	if (place->disk != NULL)
		return kv_memory_open(place->disk);
	if (kv_lmdb_open(&kv, &options, &error) != 0)
		fail_msg("%s", error.message);
	return kv;
}

static inline struct store *feed_store(struct feed_place *place)
{
	struct store_options options = {.kv = feed_kv(place), .tail_bytes_max = 1 * MIB};
	struct error error;
	struct store *store;

	if (store_open(&store, &options, &error) != 0)
		fail_msg("%s", error.message);
	return store;
}

#define assert_ok(call)                                                                            \
	do {                                                                                       \
		if ((call) != 0)                                                                   \
			fail_msg("%s: %s", #call, error.message);                                  \
	} while (0)

#endif
