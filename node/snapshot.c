#include "node/snapshot.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "node/append_answer.h"
#include "node/reading.h"
#include "node/route.h"
#include "node/snapshot_find.h"
#include "node/write.h"

#include <errno.h>

/* What a record keeps beside the data: version, type, and their names. */
#define AROUND_DATA_BYTES 512u
#define DATA_BYTES_MAX    (LIMIT_EVENT_BYTES - AROUND_DATA_BYTES)
static_assert(LIMIT_TYPE_BYTES + 64 < AROUND_DATA_BYTES, "a snapshot's record has room for it");

/* The argument `stream` of a write: a name that events can be appended to. Required. */
static bool get_stream(struct request *request, struct span *stream)
{
	if (!request_arg_stream(request, stream))
		return false;
	const char *wrong = text_stream_name_problem(*stream);

	if (wrong != NULL)
		request_answer_invalid(request, "stream", "stream %s", wrong);
	return wrong == NULL;
}

/* ---- snapshot_get ---- */

static int run_get(struct reading *reading, struct store *store)
{
	struct buffer *result = &reading->result;
	struct snapshot_found found = {0};

	buffer_init(&found.record);
	int rc = snapshot_find(store, reading->stream, reading->version, &reading->position, &found,
			       &reading->error);

	if (rc == 0 && reading->position != 0) {
		rc = READING_AGAIN;
	} else if (rc == 0 && !found.found) {
		rc = -ENOENT;
	} else if (rc == 0) {
		msgpack_write_map(result, 5);
		result_u64(result, "version", found.snapshot.version);
		msgpack_write_string(result, "type");
		msgpack_write_str(result, found.snapshot.type);
		msgpack_write_string(result, "data");
		msgpack_write_bin(result, found.snapshot.data);
		msgpack_write_string(result, "created");
		msgpack_write_i64(result, found.created);
		result_u64(result, "head", found.head);
	}
	buffer_close(&found.record);
	return rc;
}

static void write_absent(struct buffer *into, struct span stream)
{
	request_error_begin(into, 2, ANSWER_NOT_FOUND, "there is no such snapshot of the stream");
	msgpack_write_string(into, "what");
	msgpack_write_string(into, "snapshot");
	msgpack_write_string(into, "stream");
	msgpack_write_str(into, stream);
}

static void answer_absent(struct reading *reading)
{
	struct buffer error;

	buffer_init(&error);
	write_absent(&error, reading->stream);
	request_answer_error_map(reading->request, buffer_span(&error));
	buffer_close(&error);
}

static const struct reading_kind get_kind = {run_get, answer_absent, false, NULL};

void method_snapshot_get(struct request *request)
{
	struct reading *reading = reading_new(request, &get_kind);

	reading->version = UINT64_MAX;
	reading_begin(reading, get_stream(request, &reading->stream) &&
				       request_arg_u64(request, "max_version", 0, UINT64_MAX,
						       &reading->version));
}

/* ---- snapshot_put ---- */

/* Its record into the item, in the stream of snapshots; `expected` is of that stream. */
static void add_record(struct write *write, struct span stream,
		       const struct system_snapshot *snapshot, struct expectation expected)
{
	struct record_fields fields;
	uint8_t id[UUID_BYTES];
	struct buffer text;

	buffer_init(&text);
	system_snapshot_fields(stream, snapshot, id, &text, &fields);
	expected.written = true;
	expected.stream = fields.stream;
	command_item_add_expectation(&write->item, &expected);
	command_item_add_record(&write->item, &fields);
	buffer_close(&text);
}

static bool get_data(struct request *request, struct span *data)
{
	uint64_t max_event = request->node->settings.max_event;
	uint64_t limit = max_event < DATA_BYTES_MAX ? max_event : DATA_BYTES_MAX;
	struct span raw = {0};

	if (!arguments_find(&request->arguments, "data", &raw)) {
		request_answer_invalid(request, "data", "data is missing; it may be empty");
		return false;
	}
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_bytes(&reader, data)) {
		request_answer_invalid(request, "data", "data must be bin or str, not %s",
				       msgpack_type_name(msgpack_read_type(&reader)));
		return false;
	}
	if (data->size <= limit)
		return true;
	request_answer_too_large(request, limit, data->size,
				 "data is larger than that of a snapshot may be, in bytes");
	return false;
}

static bool get_type(struct request *request, struct span *type)
{
	if (!request_arg_str(request, "type", type))
		return false;
	const char *wrong = type->size > 0 ? text_label_problem(*type) : NULL;

	if (wrong != NULL)
		request_answer_invalid(request, "type", "type %s", wrong);
	return wrong == NULL;
}

static bool make_put(struct write *write)
{
	struct system_snapshot snapshot = {0};
	struct expectation check = {.kind = EXPECTATION_AT_LEAST};
	struct request *request = write->request;

	if (!get_stream(request, &check.stream) ||
	    !request_arg_u64(request, "version", 1, UINT64_MAX, &snapshot.version) ||
	    !get_type(request, &snapshot.type) || !get_data(request, &snapshot.data))
		return false;
	if (snapshot.version == 0) {
		request_answer_invalid(request, "version",
				       "version is missing: that of the last event it stands for");
		return false;
	}
	size_t offset = command_item_begin(&write->item);

	check.version = snapshot.version;
	command_item_add_expectation(&write->item, &check);
	add_record(write, check.stream, &snapshot, (struct expectation){.kind = EXPECTATION_ANY});
	command_item_end(&write->item, offset);
	return true;
}

/* The one expectation that can fail is that of the stream: {code, message, stream}. */
static void write_no_stream(struct buffer *into, const struct violation *violation)
{
	enum answer_code code = violation->state == STREAM_NONE      ? ANSWER_STREAM_NOT_FOUND
				: violation->state == STREAM_DELETED ? ANSWER_STREAM_DELETED
								     : ANSWER_STREAM_TOMBSTONED;

	request_error_begin(into, 1, code, answer_meaning(code));
	msgpack_write_string(into, "stream");
	msgpack_write_str(into, violation->expected.stream);
}

static void encode_put(struct write *write, const struct outcome *outcome)
{
	write->code = outcome->code;
	if (outcome->code == ANSWER_OK)
		write_result_empty(write, outcome);
	else if (outcome->violation_count == 1 && outcome->violations[0].state != STREAM_LIVE)
		write_no_stream(&write->answer, &outcome->violations[0]);
	else
		append_answer_error(&write->answer, outcome, 0);
}

static void put_here(struct request *request)
{
	static const struct write_kind kind = {
		.bytes = sizeof(struct write),
		.here = put_here,
		.make = make_put,
		.encode = encode_put,
	};

	write_begin(request, &kind);
}

void method_snapshot_put(struct request *request)
{
	route_to_leader(request, put_here);
}

/* ---- snapshot_delete ---- */

struct deletion {
	struct write write; /* first */
	struct span stream; /* points into the request */
	bool moved;         /* another snapshot came in between */
	/* By the worker. */
	int status;
	uint64_t version; /* of the stream of snapshots */
	bool any;         /* there is one to delete */
	struct error error;
};

static int look_for_any(struct deletion *deletion, struct store *store)
{
	struct snapshot_found found = {0};
	struct stream_status status;
	uint64_t from = 0;
	struct buffer name;

	buffer_init(&name);
	buffer_init(&found.record);
	system_stream_name(SYSTEM_SNAPSHOT_PREFIX, deletion->stream, &name);
	/* In this order: what comes in between is noticed, since the version is another then. */
	int rc = store_stream_status(store, buffer_span(&name), &status, &deletion->error);

	deletion->version = status.version;
	if (rc == 0)
		rc = snapshot_find(store, deletion->stream, UINT64_MAX, &from, &found,
				   &deletion->error);
	deletion->any = found.found;
	buffer_close(&name);
	buffer_close(&found.record);
	return rc;
}

static void on_looked(struct node_post *post);

static void run_look(struct work *work)
{
	struct deletion *deletion = (struct deletion *)write_of_work(work);

	deletion->status = look_for_any(deletion, deletion->write.request->node->store);
	write_come_back(&deletion->write, on_looked);
}

/* Loop: what was seen must still hold when this is decided. */
static void on_looked(struct node_post *post)
{
	static const struct system_snapshot deleted = {.deleted = true};
	struct write *write = write_of_post(post);
	struct deletion *deletion = (struct deletion *)write;
	struct expectation expected = {.kind = EXPECTATION_VERSION, .version = deletion->version};

	if (write->request->answered) {
		write_end(write);
		return;
	}
	if (deletion->status != 0) {
		log_error("snapshot", "cannot read", "reason=\"%s\"", deletion->error.message);
		request_answer_error(write->request, ANSWER_INTERNAL, "%s",
				     deletion->error.message);
		write_end(write);
		return;
	}
	size_t offset = command_item_begin(&write->item);

	if (deletion->any) {
		add_record(write, deletion->stream, &deleted, expected);
	} else {
		struct buffer name;

		buffer_init(&name);
		system_stream_name(SYSTEM_SNAPSHOT_PREFIX, deletion->stream, &name);
		expected.stream = buffer_span(&name);
		command_item_add_expectation(&write->item, &expected);
		buffer_close(&name);
	}
	command_item_end(&write->item, offset);
	write_propose(write);
}

static void encode_delete(struct write *write, const struct outcome *outcome)
{
	struct deletion *deletion = (struct deletion *)write;

	write->code = outcome->code;
	deletion->moved = outcome->code == ANSWER_WRONG_EXPECTED_VERSION;
	if (deletion->moved)
		return;
	if (outcome->code != ANSWER_OK) {
		append_answer_error(&write->answer, outcome, 0);
	} else if (deletion->any) {
		write_result_empty(write, outcome);
	} else {
		write->code = ANSWER_NOT_FOUND;
		write_absent(&write->answer, deletion->stream);
	}
}

static void decided_delete(struct write *write)
{
	if (!((struct deletion *)write)->moved) {
		write_answer(write);
		return;
	}
	write->request->maybe_proposed = false; /* it did nothing */
	buffer_clear(&write->item);
	write_on_worker(write, run_look);
}

static void delete_here(struct request *request)
{
	static const struct write_kind kind = {
		.bytes = sizeof(struct deletion),
		.here = delete_here,
		.encode = encode_delete,
		.decided = decided_delete,
	};
	struct write *write = write_new(request, &kind);

	if (get_stream(request, &((struct deletion *)write)->stream))
		write_on_worker(write, run_look);
	else
		write_end(write);
}

void method_snapshot_delete(struct request *request)
{
	route_to_leader(request, delete_here);
}
