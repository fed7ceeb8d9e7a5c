#include "node/checkpoint.h"

#include "base/assert.h"
#include "base/text.h"
#include "node/append_answer.h"
#include "node/reading.h"
#include "node/route.h"
#include "node/write.h"
#include "storage/system.h"

#include <errno.h>

#define LIST_DEFAULT 1000u
/* What a checkpoint comes to in a list besides its consumer's name. */
#define ENTRY_BYTES_MAX 96u
#define NAME_BYTES_MAX  (sizeof SYSTEM_CHECKPOINT_PREFIX + LIMIT_CONSUMER_BYTES)

static_assert(LIMIT_CONSUMER_BYTES == LIMIT_STREAM_NAME_BYTES, "one rule for both");
static_assert(NAME_BYTES_MAX <= RECORD_STREAM_BYTES_MAX + 1, "a consumer's stream has a name");

/* The argument `consumer`: required. */
static bool get_consumer(struct request *request, struct span *consumer)
{
	struct span given = {0};

	if (!request_arg_str(request, "consumer", &given))
		return false;
	const char *wrong = given.data == NULL ? "is missing" : text_stream_name_problem(given);

	*consumer = given;
	if (wrong != NULL)
		request_answer_invalid(request, "consumer", "consumer %s", wrong);
	return wrong == NULL;
}

/* ---- writes ---- */

struct checkpoint_write {
	struct write write; /* first */
	uint64_t position;
};

/* An item with nothing but the checkpoint. */
static void make_item(struct write *write, struct span consumer,
		      const struct system_checkpoint *checkpoint, const uint64_t *if_position)
{
	struct record_fields fields;
	uint8_t id[UUID_BYTES];
	struct buffer text;
	size_t offset = command_item_begin(&write->item);

	buffer_init(&text);
	system_checkpoint_fields(consumer, checkpoint, id, &text, &fields);
	command_item_add_checkpoint(&write->item, if_position, &fields);
	command_item_end(&write->item, offset);
	buffer_close(&text);
}

static bool make_put(struct write *write)
{
	struct request *request = write->request;
	struct system_checkpoint checkpoint = {0};
	struct span consumer, raw;
	uint64_t if_position = 0;

	if (!get_consumer(request, &consumer) ||
	    !request_arg_u64(request, "position", 0, UINT64_MAX, &checkpoint.position) ||
	    !request_arg_u64(request, "epoch", 0, UINT64_MAX, &checkpoint.epoch) ||
	    !request_arg_u64(request, "if_position", 0, UINT64_MAX, &if_position))
		return false;
	if (!arguments_find(&request->arguments, "position", &raw)) {
		request_answer_invalid(request, "position",
				       "position is missing: how far the consumer has come");
		return false;
	}
	bool has_if_position = arguments_find(&request->arguments, "if_position", &raw);

	((struct checkpoint_write *)write)->position = checkpoint.position;
	make_item(write, consumer, &checkpoint, has_if_position ? &if_position : NULL);
	return true;
}

static void encode_put(struct write *write, const struct outcome *outcome)
{
	write->code = outcome->code;
	if (outcome->code != ANSWER_OK) {
		append_answer_error(&write->answer, outcome, 0);
		return;
	}
	msgpack_write_map(&write->answer, 2);
	result_u64(&write->answer, "position", ((struct checkpoint_write *)write)->position);
	result_u64(&write->answer, "log_position", outcome->position);
}

static void put_here(struct request *request)
{
	static const struct write_kind kind = {
		.bytes = sizeof(struct checkpoint_write),
		.here = put_here,
		.make = make_put,
		.encode = encode_put,
	};

	write_begin(request, &kind);
}

void method_checkpoint_put(struct request *request)
{
	route_to_leader(request, put_here);
}

static bool make_delete(struct write *write)
{
	static const struct system_checkpoint deleted = {.deleted = true};
	struct span consumer;

	if (!get_consumer(write->request, &consumer))
		return false;
	make_item(write, consumer, &deleted, NULL);
	return true;
}

static void encode_delete(struct write *write, const struct outcome *outcome)
{
	write->code = outcome->code;
	if (outcome->code == ANSWER_OK)
		write_result_empty(write, outcome);
	else
		append_answer_error(&write->answer, outcome, 0);
}

static void delete_here(struct request *request)
{
	static const struct write_kind kind = {
		.bytes = sizeof(struct write),
		.here = delete_here,
		.make = make_delete,
		.encode = encode_delete,
	};

	write_begin(request, &kind);
}

void method_checkpoint_delete(struct request *request)
{
	route_to_leader(request, delete_here);
}

/* ---- reads, on a worker ---- */

struct stored {
	struct system_checkpoint checkpoint; /* deleted: there is none */
	int64_t updated;
	uint64_t head;
};

/* The last record of its stream, whichever that is by now. */
static int find_stored(struct store *store, struct span stream, struct stored *stored,
		       struct error *error)
{
	const struct read_range range = {.backward = true, .limit = 1, .bytes_max = 1};
	struct stream_status status;
	struct page page = {0};
	struct record record;

	buffer_init(&page.records);
	int rc = store_read_stream(store, stream, &range, &page, &status, error);

	*stored = (struct stored){.checkpoint = {.deleted = true}, .head = page.head};
	if (rc == 0 && page.count > 0) {
		if (record_parse(buffer_span(&page.records), &record) != 0 ||
		    system_checkpoint_parse(&record, &stored->checkpoint) != 0)
			rc = error_set(error, -EBADMSG, "the stored checkpoint cannot be parsed");
		else
			stored->updated = record.created;
	}
	buffer_close(&page.records);
	return rc;
}

/* 3 pairs */
static void write_stored(struct buffer *into, const struct stored *stored)
{
	result_u64(into, "position", stored->checkpoint.position);
	result_u64(into, "epoch", stored->checkpoint.epoch);
	msgpack_write_string(into, "updated");
	msgpack_write_i64(into, stored->updated);
}

static int run_get(struct reading *reading, struct store *store)
{
	struct buffer name;
	struct stored stored;

	buffer_init(&name);
	system_stream_name(SYSTEM_CHECKPOINT_PREFIX, reading->stream, &name);
	int rc = find_stored(store, buffer_span(&name), &stored, &reading->error);

	buffer_close(&name);
	if (rc != 0)
		return rc == -ENOENT ? -EBADMSG : rc;
	if (stored.checkpoint.deleted)
		return -ENOENT;
	msgpack_write_map(&reading->result, 4);
	write_stored(&reading->result, &stored);
	result_u64(&reading->result, "head", stored.head);
	return 0;
}

static void answer_absent(struct reading *reading)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 2, ANSWER_NOT_FOUND, "the consumer has no checkpoint");
	msgpack_write_string(&error, "what");
	msgpack_write_string(&error, "checkpoint");
	msgpack_write_string(&error, "consumer");
	msgpack_write_str(&error, reading->stream);
	request_answer_error_map(reading->request, buffer_span(&error));
	buffer_close(&error);
}

static const struct reading_kind get_kind = {run_get, answer_absent, true, NULL};

void method_checkpoint_get(struct request *request)
{
	struct reading *reading = reading_new(request, &get_kind);

	reading->range.bytes_max = ENTRY_BYTES_MAX;
	reading_begin(reading, get_consumer(request, &reading->stream));
}

/* ---- the list ---- */

/* A page of names of streams, of which those with a checkpoint are told. */
struct list {
	struct name_page names;
	struct buffer entries; /* their maps */
	uint32_t count;
	uint32_t looked_at; /* names */
};

static struct span name_at(const struct list *list, uint32_t index)
{
	const struct name_entry *entry =
		(const struct name_entry *)(const void *)list->names.entries.data + index;

	ASSERT(index < list->names.count);
	return span_of(list->names.text.data + entry->offset, entry->size);
}

/* Go through the names, as far as what they come to fits. */
static int fill_list(struct reading *reading, struct store *store, struct list *list)
{
	struct stored stored;

	for (; list->looked_at < list->names.count; list->looked_at++) {
		struct span stream = name_at(list, list->looked_at);

		if (list->looked_at > 0 &&
		    list->entries.size + stream.size + ENTRY_BYTES_MAX > reading->range.bytes_max)
			break;
		int rc = find_stored(store, stream, &stored, &reading->error);

		if (rc != 0)
			return rc;
		if (stored.checkpoint.deleted)
			continue;
		msgpack_write_map(&list->entries, 4);
		msgpack_write_string(&list->entries, "consumer");
		msgpack_write_str(&list->entries, system_name(stream, SYSTEM_CHECKPOINT_PREFIX));
		write_stored(&list->entries, &stored);
		list->count++;
	}
	return 0;
}

static void write_list(struct buffer *into, const struct list *list)
{
	bool end = list->names.end && list->looked_at == list->names.count;

	ASSERT(end || list->looked_at > 0);
	msgpack_write_map(into, 4);
	msgpack_write_string(into, "checkpoints");
	msgpack_write_array(into, list->count);
	buffer_append_span(into, buffer_span(&list->entries));
	msgpack_write_string(into, "next");
	if (end)
		msgpack_write_nil(into);
	else
		msgpack_write_str(into, system_name(name_at(list, list->looked_at - 1),
						    SYSTEM_CHECKPOINT_PREFIX));
	msgpack_write_string(into, "end");
	msgpack_write_bool(into, end);
	result_u64(into, "head", list->names.head);
}

static int list_names(struct reading *reading, struct store *store, struct name_page *page)
{
	struct name_range range = {.kind = NAMES_STREAMS, .limit = reading->names.limit};
	struct buffer prefix, after;

	buffer_init(&prefix);
	buffer_init(&after);
	system_stream_name(SYSTEM_CHECKPOINT_PREFIX, reading->names.prefix, &prefix);
	range.prefix = buffer_span(&prefix);
	if (reading->names.after.size > 0) {
		system_stream_name(SYSTEM_CHECKPOINT_PREFIX, reading->names.after, &after);
		range.after = buffer_span(&after);
	}
	int rc = store_list_names(store, &range, page, &reading->error);

	buffer_close(&prefix);
	buffer_close(&after);
	return rc;
}

static int run_list(struct reading *reading, struct store *store)
{
	struct list list = {0};

	buffer_init(&list.names.entries);
	buffer_init(&list.names.text);
	buffer_init(&list.entries);
	int rc = list_names(reading, store, &list.names);

	if (rc == 0)
		rc = fill_list(reading, store, &list);
	if (rc == 0)
		write_list(&reading->result, &list);
	buffer_close(&list.names.entries);
	buffer_close(&list.names.text);
	buffer_close(&list.entries);
	return rc == -ENOENT ? -EBADMSG : rc; /* an empty list is a list */
}

static const struct reading_kind list_kind = {run_list, NULL, false, NULL};

static bool get_name(struct request *request, const char *argument, struct span *name)
{
	struct span given = {0};

	if (!request_arg_str(request, argument, &given))
		return false;
	*name = given;
	if (given.size <= LIMIT_CONSUMER_BYTES)
		return true;
	request_answer_invalid(request, argument, "%s must have at most %u bytes, not %zu",
			       argument, LIMIT_CONSUMER_BYTES, given.size);
	return false;
}

void method_checkpoint_list(struct request *request)
{
	struct reading *reading = reading_new(request, &list_kind);
	uint64_t limit = LIST_DEFAULT, page_max = read_page_bytes_max(request->node);
	bool right = get_name(request, "prefix", &reading->names.prefix) &&
		     get_name(request, "after", &reading->names.after) &&
		     request_arg_u64(request, "limit", 1, LIMIT_NAMES, &limit);
	uint64_t bytes_max = limit * (NAME_BYTES_MAX + ENTRY_BYTES_MAX);

	reading->names.limit = (uint32_t)limit;
	reading->range.bytes_max = bytes_max < page_max ? bytes_max : page_max;
	reading_begin(reading, right);
}
