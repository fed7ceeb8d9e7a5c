/*
 * The store by itself, for the fail loops: opens DIR/store, applies commands, flushes, reads them back, drops
 * superseded checkpoints, writes a backup, checks everything, closes.
 *
 *   store_work DIR     prints `flushed POSITION` after each flush. Exit codes: 0 done, 1 refused, with a message
 */
#include "base/bytes.h"
#include "base/memory.h"
#include "storage/backup.h"
#include "storage/command.h"
#include "storage/kv.h"
#include "storage/store.h"
#include "storage/system.h"
#include "storage/verify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define ROUNDS     6
#define APPENDS    12
#define DATA_BYTES 3000
#define TAIL_BYTES (1024 * 1024)

static void check(int status, const char *what, const struct error *error)
{
	if (status == 0)
		return;
	fprintf(stderr, "store: %s: %s\n", what, error->message);
	exit(1);
}

static void apply(struct store *store, uint64_t index, const struct buffer *items)
{
	uint8_t *body = memory_alloc(COMMAND_HEADER_BYTES + items->size);
	struct apply_result result;
	struct error error;

	command_header_write(body, COMMAND_BATCH, 1, (int64_t)index * 1000);
	memcpy(body + COMMAND_HEADER_BYTES, items->data, items->size);
	check(store_apply(store, index, body, COMMAND_HEADER_BYTES + items->size, NULL, &result,
			  &error),
	      "apply", &error);
}

static void append(struct store *store, uint64_t index)
{
	static uint8_t data[DATA_BYTES];
	uint8_t id[UUID_BYTES] = {0};
	struct buffer items;
	char stream[32];

	snprintf(stream, sizeof stream, "Order-%u", (unsigned)(index % 5));
	bytes_set_be64(id, index);
	id[6] = (uint8_t)(0x70 | (id[6] & 0x0f));
	bytes_set_be64(id + 8, index);
	struct record_fields fields = {.id = id,
				       .stream = span_of_string(stream),
				       .type = span_of_string("placed"),
				       .data = span_of(data, sizeof data),
				       .tag_count = 1,
				       .tags = {span_of_string("red")}};
	const struct expectation any = {.written = true, .stream = fields.stream};

	buffer_init(&items);
	size_t item = command_item_begin(&items);

	command_item_add_expectation(&items, &any);
	command_item_add_record(&items, &fields);
	command_item_end(&items, item);
	apply(store, index, &items);
	buffer_close(&items);
}

static void put_checkpoint(struct store *store, uint64_t index)
{
	const struct system_checkpoint checkpoint = {.position = index};
	struct record_fields fields;
	struct buffer text, items;
	uint8_t id[UUID_BYTES];

	buffer_init(&text);
	buffer_init(&items);
	system_checkpoint_fields(span_of_string("worker"), &checkpoint, id, &text, &fields);
	size_t item = command_item_begin(&items);

	command_item_add_checkpoint(&items, NULL, &fields);
	command_item_end(&items, item);
	apply(store, index, &items);
	buffer_close(&text);
	buffer_close(&items);
}

static void read_back(struct store *store)
{
	const struct read_range range = {.from = 1, .limit = 1000, .bytes_max = TAIL_BYTES};
	struct page page = {0};
	struct stream_status stream;
	struct error error;

	buffer_init(&page.records);
	check(store_read_all(store, &range, false, &page, &error), "read", &error);
	buffer_clear(&page.records);
	check(store_read_stream(store, span_of_string("Order-1"), &range, &page, &stream, &error),
	      "read", &error);
	buffer_close(&page.records);
}

static void work(struct store *store)
{
	struct store_status status;
	struct error error;
	bool again = true;

	store_get_status(store, &status);
	uint64_t index = status.applied_index;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < APPENDS; i++)
			append(store, ++index);
		put_checkpoint(store, ++index);
		read_back(store);
		check(store_flush(store, &error), "flush", &error);
		printf("flushed %" PRIu64 "\n", store_head(store));
		fflush(stdout);
	}
	while (again)
		check(store_trim(store, &again, &error), "trim", &error);
	read_back(store);
}

static bool go_on(void *arg, const struct backup_progress *progress)
{
	(void)arg, (void)progress;
	return true;
}

static bool publish(void *arg)
{
	(void)arg;
	return true;
}

static void back_up(struct store *store, const char *directory)
{
	char path[4096];
	const struct backup_options options = {.path = path, .go_on = go_on, .publish = publish};
	struct backup_progress progress;
	struct error error;

	snprintf(path, sizeof path, "%s/backup", directory);
	check(backup_write(store, &options, &progress, &error), "backup", &error);
}

int main(int argc, char **argv)
{
	char path[4096];
	const struct kv_lmdb_options kv = {.path = path, .create = true};
	const struct store_identity identity = {.cluster_id = "0123456789abcde", .node_id = 1};
	struct store_options options = {.tail_bytes_max = TAIL_BYTES};
	struct store_identity found;
	struct store *store;
	struct error error;

	if (argc != 2) {
		fprintf(stderr, "store: usage: store_work DIR\n");
		return 1;
	}
	snprintf(path, sizeof path, "%s/store", argv[1]);
	check(kv_lmdb_open(&options.kv, &kv, &error), "open", &error);
	check(store_open(&store, &options, &error), "open", &error);
	if (store_get_identity(store, &found, &error) != 0)
		check(store_set_identity(store, &identity, &error), "identity", &error);
	work(store);
	back_up(store, argv[1]);
	store_close(store);
	return 0;
}
