#include "node/read.h"
#include "base/assert.h"
#include "base/bytes.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/node.h"
#include "node/session.h"
#include "node/table.h"
#include "node/wait.h"
#include "storage/record.h"

#include <errno.h>

/* What a result has around its records is far below the 64 KiB that LIMIT_READ_BYTES leaves. */
#define SINGLE_READ_BYTES RECORD_BYTES_MAX

enum read_kind { READ_STREAM, READ_ALL, READ_POSITION, READ_ID, READ_VERSION, READ_INFO };

enum reading_place { READING_WAITS, READING_IN_LANE, READING_RUNS };

/* One read, from its arguments to its answer. Spans point into the request's params. */
struct reading {
	struct work work;
	struct node_post post;
	struct waiter waiter;
	struct reader *reader;
	struct request *request;         /* the reference that the handler was given */
	struct lane *lane;               /* IN_LANE, RUNS */
	struct reading *next, *previous; /* IN_LANE */
	enum reading_place place;

	enum read_kind kind;
	struct read_range range;
	bool with_system;
	struct span stream;
	uint64_t position, version;
	uint8_t id[UUID_BYTES];

	/* By the worker. */
	int status; /* 0, -ENOENT: there is no such thing, or another error with its message */
	struct buffer result;
	uint32_t events;
	struct error error;
};

/* What one session has under way; gone when that is nothing. */
struct lane {
	struct table_link link; /* by session */
	struct session *session;
	struct reading *first, *last; /* waiting for their turn */
	uint32_t running;
	size_t running_bytes; /* what their pages may come to */
	bool drains;          /* waits until the session has sent some */
	struct session_drain drain;
	struct lane *turn_next; /* among those that wait for the node's bytes */
	bool in_turn;
};

struct reader {
	struct node *node;
	struct waits *waits;
	struct table lanes;
	struct lane *turn_first, *turn_last;
	uint64_t running_bytes;
	struct reader_status status;
};

static void lane_run(struct reader *reader, struct lane *lane);

/* ---- on a worker ---- */

/*
 * The records stand in the result where the page put them, between a header of known length and what
 * follows: "events" with a count of 32 bits comes first.
 */
static const uint8_t page_header[] = {0x80, 0xa6, 'e', 'v', 'e', 'n', 't', 's', 0xdd, 0, 0, 0, 0};
#define PAGE_HEADER_PAIRS 0
#define PAGE_HEADER_COUNT 9

static void page_begin(struct page *page)
{
	buffer_init(&page->records);
	buffer_append(&page->records, page_header, sizeof page_header);
}

static void page_end(struct reading *reading, struct page *page, uint32_t pairs)
{
	ASSERT(pairs < 16 && page->records.size >= sizeof page_header);
	page->records.data[PAGE_HEADER_PAIRS] = (uint8_t)(0x80u | pairs);
	bytes_set_be32(page->records.data + PAGE_HEADER_COUNT, page->count);
	reading->events = page->count;
	reading->result = page->records;
}

static void write_u64(struct buffer *into, const char *name, uint64_t value)
{
	msgpack_write_string(into, name);
	msgpack_write_u64(into, value);
}

static void write_place(struct buffer *into, const struct page *page)
{
	write_u64(into, "next", page->next);
	msgpack_write_string(into, "end");
	msgpack_write_bool(into, page->end);
	write_u64(into, "head", page->head);
}

static void write_state(struct buffer *into, const struct stream_status *status)
{
	msgpack_write_string(into, "state");
	msgpack_write_string(into, stream_state_name(status->state));
	write_u64(into, "version", status->version);
	write_u64(into, "first_version", status->first_version);
}

static int run_stream(struct reading *reading, struct store *store)
{
	struct page page = {0};
	struct stream_status status;

	page_begin(&page);
	int rc = store_read_stream(store, reading->stream, &reading->range, &page, &status,
				   &reading->error);
	if (rc == 0 && status.state == STREAM_NONE)
		rc = -ENOENT;
	if (rc != 0) {
		buffer_close(&page.records);
		return rc;
	}
	write_state(&page.records, &status);
	write_place(&page.records, &page);
	page_end(reading, &page, 7);
	return 0;
}

static int run_all(struct reading *reading, struct store *store)
{
	struct page page = {0};

	page_begin(&page);
	int rc = store_read_all(store, &reading->range, reading->with_system, &page,
				&reading->error);
	if (rc != 0) {
		buffer_close(&page.records);
		return rc;
	}
	write_place(&page.records, &page);
	page_end(reading, &page, 4);
	return 0;
}

static int run_event(struct reading *reading, struct store *store)
{
	struct buffer *result = &reading->result;
	int rc;

	msgpack_write_map(result, 2);
	msgpack_write_string(result, "event");
	if (reading->kind == READ_POSITION)
		rc = store_read_position(store, reading->position, result, &reading->error);
	else if (reading->kind == READ_ID)
		rc = store_read_id(store, reading->id, result, &reading->error);
	else
		rc = store_read_version(store, reading->stream, reading->version, result,
					&reading->error);
	write_u64(result, "head", store_head(store));
	reading->events = 1;
	return rc;
}

static int run_info(struct reading *reading, struct store *store)
{
	struct buffer *result = &reading->result;
	struct stream_status status;
	int rc = store_stream_status(store, reading->stream, &status, &reading->error);

	if (rc == 0 && status.state == STREAM_NONE)
		rc = -ENOENT;
	if (rc != 0)
		return rc;
	msgpack_write_map(result, 7);
	write_state(result, &status);
	write_u64(result, "count", status.count);
	msgpack_write_string(result, "created");
	msgpack_write_i64(result, status.created);
	msgpack_write_string(result, "updated");
	msgpack_write_i64(result, status.updated);
	write_u64(result, "head", status.head);
	return 0;
}

static void reading_run(struct work *work)
{
	struct reading *reading = TABLE_ENTRY(work, struct reading, work);
	struct node *node = reading->reader->node;

	if (reading->kind == READ_STREAM)
		reading->status = run_stream(reading, node->store);
	else if (reading->kind == READ_ALL)
		reading->status = run_all(reading, node->store);
	else if (reading->kind == READ_INFO)
		reading->status = run_info(reading, node->store);
	else
		reading->status = run_event(reading, node->store);
	node_post(node, &reading->post);
}

/* ---- answers ---- */

/* `field` is the one that the error has, `stream` or `what`. */
static void answer_absent(struct request *request, enum answer_code code, const char *message,
			  const char *field, struct span value)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 1, code, message);
	msgpack_write_string(&error, field);
	msgpack_write_str(&error, value);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_failure(struct reading *reading)
{
	struct request *request = reading->request;

	if (reading->status != -ENOENT) {
		log_error("read", "cannot read", "reason=\"%s\"", reading->error.message);
		request_answer_error(request, ANSWER_INTERNAL, "%s", reading->error.message);
	} else if (reading->kind == READ_STREAM || reading->kind == READ_INFO) {
		answer_absent(request, ANSWER_STREAM_NOT_FOUND, "the stream never existed",
			      "stream", reading->stream);
	} else {
		answer_absent(request, ANSWER_NOT_FOUND, "there is no such event", "what",
			      span_of_string("event"));
	}
}

static void reading_free(struct reading *reading)
{
	reading->request->ended = NULL;
	reading->request->handler = NULL;
	request_release(reading->request);
	buffer_close(&reading->result);
	memory_free(reading);
}

static void reading_answer(struct reading *reading)
{
	struct reader_status *status = &reading->reader->status;

	if (reading->status != 0) {
		answer_failure(reading);
		return;
	}
	status->reads++;
	status->events += reading->events;
	status->bytes += reading->result.size;
	request_answer_result(reading->request, buffer_span(&reading->result));
}

/* ---- lanes ---- */

static struct lane *lane_of(struct reader *reader, struct session *session)
{
	uint64_t hash = table_hash_number((uintptr_t)session);

	for (struct table_link *link = table_first(&reader->lanes, hash); link != NULL;
	     link = table_next(link)) {
		struct lane *lane = TABLE_ENTRY(link, struct lane, link);

		if (lane->session == session)
			return lane;
	}
	struct lane *lane = memory_zeroed(1, sizeof *lane);

	lane->session = session;
	table_put(&reader->lanes, &lane->link, hash);
	return lane;
}

static void lane_add(struct lane *lane, struct reading *reading)
{
	reading->place = READING_IN_LANE;
	reading->lane = lane;
	reading->previous = lane->last;
	if (lane->last != NULL)
		lane->last->next = reading;
	else
		lane->first = reading;
	lane->last = reading;
}

static void lane_remove(struct lane *lane, struct reading *reading)
{
	ASSERT(reading->place == READING_IN_LANE);
	if (reading->previous != NULL)
		reading->previous->next = reading->next;
	else
		lane->first = reading->next;
	if (reading->next != NULL)
		reading->next->previous = reading->previous;
	else
		lane->last = reading->previous;
	reading->next = NULL;
	reading->previous = NULL;
	if (lane->first == NULL && lane->drains) {
		lane->drains = false;
		session_cancel_drain(&lane->drain);
	}
}

/* A lane that waits for its turn goes when the turn has come. */
static void lane_free_if_idle(struct reader *reader, struct lane *lane)
{
	if (lane->first != NULL || lane->running > 0 || lane->in_turn)
		return;
	ASSERT(!lane->drains);
	table_remove(&reader->lanes, &lane->link);
	memory_free(lane);
}

static void lane_drained(struct session_drain *drain)
{
	struct lane *lane = TABLE_ENTRY(drain, struct lane, drain);

	lane->drains = false;
	ASSERT(lane->first != NULL);
	lane_run(lane->first->reader, lane);
}

static void lane_await_drain(struct lane *lane)
{
	if (lane->drains)
		return;
	lane->drains = true;
	lane->drain.below = session_unsent_max(lane->session) / 2 + 1;
	lane->drain.drained = lane_drained;
	session_await_drain(lane->session, &lane->drain);
}

static size_t bytes_of(const struct reading *reading)
{
	if (reading->kind == READ_STREAM || reading->kind == READ_ALL)
		return reading->range.bytes_max;
	return SINGLE_READ_BYTES;
}

static bool node_has_room(const struct reader *reader, const struct reading *reading)
{
	return reader->running_bytes + bytes_of(reading) <= LIMIT_NODE_READ_BYTES;
}

static bool lane_has_room(const struct lane *lane)
{
	return lane->running == 0 ||
	       (!session_is_pressed(lane->session) && lane->running < LIMIT_SESSION_READS &&
		lane->running_bytes + bytes_of(lane->first) <= LIMIT_SESSION_READ_BYTES);
}

static void lane_await_turn(struct reader *reader, struct lane *lane)
{
	lane->in_turn = true;
	lane->turn_next = NULL;
	if (reader->turn_last != NULL)
		reader->turn_last->turn_next = lane;
	else
		reader->turn_first = lane;
	reader->turn_last = lane;
}

static void lane_start(struct reader *reader, struct lane *lane)
{
	struct reading *reading = lane->first;

	lane_remove(lane, reading);
	if (session_is_pressed(lane->session) &&
	    reading->range.bytes_max > LIMIT_PRESSED_PAGE_BYTES)
		reading->range.bytes_max = LIMIT_PRESSED_PAGE_BYTES;
	reading->place = READING_RUNS;
	lane->running++;
	lane->running_bytes += bytes_of(reading);
	reader->running_bytes += bytes_of(reading);
	reader->status.running++;
	reader->status.waiting--;
	workers_submit(reader->node->workers, &reading->work);
}

/* Start what may be started. */
static void lane_run(struct reader *reader, struct lane *lane)
{
	while (lane->first != NULL && !lane->in_turn && lane_has_room(lane)) {
		if (session_unsent(lane->session) >= session_unsent_max(lane->session)) {
			lane_await_drain(lane);
			return;
		}
		if (!node_has_room(reader, lane->first)) {
			lane_await_turn(reader, lane);
			return;
		}
		lane_start(reader, lane);
	}
}

/* The node has room again: those who wait for it, in the order in which they came. */
static void turns_run(struct reader *reader)
{
	struct lane *lane;

	while ((lane = reader->turn_first) != NULL &&
	       (lane->first == NULL || node_has_room(reader, lane->first))) {
		reader->turn_first = lane->turn_next;
		if (reader->turn_first == NULL)
			reader->turn_last = NULL;
		lane->in_turn = false;
		lane_run(reader, lane);
		lane_free_if_idle(reader, lane);
	}
}

/* ---- one read ---- */

static void reading_done(struct node_post *post)
{
	struct reading *reading = TABLE_ENTRY(post, struct reading, post);
	struct reader *reader = reading->reader;
	struct lane *lane = reading->lane;

	ASSERT(reading->place == READING_RUNS && lane->running > 0);
	lane->running--;
	lane->running_bytes -= bytes_of(reading);
	reader->running_bytes -= bytes_of(reading);
	reader->status.running--;
	reading_answer(reading);
	reading_free(reading);
	lane_run(reader, lane);
	lane_free_if_idle(reader, lane);
	turns_run(reader);
}

static void reading_enter_lane(struct reading *reading)
{
	struct lane *lane = lane_of(reading->reader, reading->request->session);

	lane_add(lane, reading);
	lane_run(reading->reader, lane);
}

static void reading_waited(struct waiter *waiter, bool reached)
{
	struct reading *reading = TABLE_ENTRY(waiter, struct reading, waiter);

	if (reached) {
		reading_enter_lane(reading);
		return;
	}
	reading->reader->status.waiting--;
	reading_free(reading);
}

/* Its deadline has passed, or its session has gone. One that runs comes back by itself. */
static void reading_ended(struct request *request)
{
	struct reading *reading = request->handler;
	struct reader *reader = reading->reader;
	struct lane *lane = reading->lane;

	if (reading->place == READING_RUNS)
		return;
	if (reading->place == READING_WAITS)
		waits_give_up(reader->waits, &reading->waiter);
	else
		lane_remove(lane, reading);
	reader->status.waiting--;
	reading_free(reading);
	if (lane != NULL)
		lane_free_if_idle(reader, lane);
}

static struct reading *reading_new(struct request *request, enum read_kind kind)
{
	struct reading *reading = memory_zeroed(1, sizeof *reading);

	ASSERT(request->session != NULL);
	reading->work.run = reading_run;
	reading->post.run = reading_done;
	reading->waiter.request = request;
	reading->waiter.done = reading_waited;
	reading->reader = request->node->reader;
	reading->request = request;
	reading->kind = kind;
	buffer_init(&reading->result);
	return reading;
}

/* The arguments are right, or not: then the request has been answered. */
static void reading_begin(struct reading *reading, bool right)
{
	struct request *request = reading->request;
	struct reader *reader = reading->reader;
	struct consistency consistency;

	if (!right || !consistency_from_request(request, &consistency)) {
		reading_free(reading);
		return;
	}
	request->handler = reading;
	request->ended = reading_ended;
	reader->status.waiting++;
	if (waits_add(reader->waits, &reading->waiter, consistency))
		reading_enter_lane(reading);
}

/* ---- arguments ---- */

bool query_from_request(struct request *request, bool *given)
{
	struct span raw = {0}, text;

	*given = false;
	if (!request_arg_raw(request, "query", &raw))
		return false;
	if (raw.size == 0)
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	*given = msgpack_read_str(&reader, &text) && span_equal_string(text, "all");
	if (!*given)
		request_answer_invalid(request, "query",
				       "this version has the query \"all\" and no other");
	return *given;
}

static bool get_direction(struct request *request, bool *backward)
{
	struct span direction = span_of_string("forward");

	if (!request_arg_str(request, "direction", &direction))
		return false;
	*backward = span_equal_string(direction, "backward");
	if (*backward || span_equal_string(direction, "forward"))
		return true;
	request_answer_invalid(request, "direction",
			       "direction must be \"forward\" or \"backward\"");
	return false;
}

static uint64_t page_bytes_max(const struct node *node)
{
	uint64_t message = node->settings.max_message - 64 * KIB;

	return message < LIMIT_READ_BYTES ? message : LIMIT_READ_BYTES;
}

static bool get_range(struct request *request, struct read_range *range)
{
	uint64_t limit = LIMIT_READ_EVENTS_DEFAULT, bytes_max = LIMIT_READ_BYTES_DEFAULT;

	if (!request_arg_u64(request, "from", 0, UINT64_MAX, &range->from) ||
	    !get_direction(request, &range->backward) ||
	    !request_arg_u64(request, "limit", 1, LIMIT_READ_EVENTS, &limit) ||
	    !request_arg_u64(request, "max_bytes", 1, UINT64_MAX, &bytes_max))
		return false;
	if (bytes_max > page_bytes_max(request->node))
		bytes_max = page_bytes_max(request->node);
	range->limit = (uint32_t)limit;
	range->bytes_max = bytes_max;
	return true;
}

void method_read_stream(struct request *request)
{
	struct reading *reading = reading_new(request, READ_STREAM);

	reading_begin(reading, request_arg_stream(request, &reading->stream) &&
				       get_range(request, &reading->range));
}

void method_read_all(struct request *request)
{
	struct reading *reading = reading_new(request, READ_ALL);
	bool query;

	reading_begin(reading, query_from_request(request, &query) &&
				       request_arg_bool(request, "system", &reading->with_system) &&
				       get_range(request, &reading->range));
}

void method_stream_info(struct request *request)
{
	struct reading *reading = reading_new(request, READ_INFO);

	reading_begin(reading, request_arg_stream(request, &reading->stream));
}

static bool get_id(struct reading *reading, struct span raw)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span id;

	if (!msgpack_read_bin(&reader, &id) || id.size != UUID_BYTES) {
		request_answer_invalid(reading->request, "id", "id must be bin of 16 bytes");
		return false;
	}
	memcpy(reading->id, id.data, UUID_BYTES);
	reading->kind = READ_ID;
	return true;
}

static bool get_version(struct reading *reading)
{
	struct request *request = reading->request;

	reading->kind = READ_VERSION;
	if (!request_arg_stream(request, &reading->stream) ||
	    !request_arg_u64(request, "version", 1, UINT64_MAX, &reading->version))
		return false;
	if (reading->version != 0)
		return true;
	request_answer_invalid(request, "version", "a stream is named without a version");
	return false;
}

static bool get_event(struct reading *reading)
{
	struct request *request = reading->request;
	struct span position = {0}, id = {0}, stream = {0}, version = {0};

	if (!request_arg_raw(request, "position", &position) ||
	    !request_arg_raw(request, "id", &id) || !request_arg_raw(request, "stream", &stream) ||
	    !request_arg_raw(request, "version", &version))
		return false;
	bool by_version = stream.size > 0 || version.size > 0;
	if ((position.size > 0) + (id.size > 0) + by_version != 1) {
		request_answer_invalid(request, "position",
				       "name the event by exactly one of: position; id; stream and "
				       "version");
		return false;
	}
	if (by_version)
		return get_version(reading);
	if (id.size > 0)
		return get_id(reading, id);
	return request_arg_u64(request, "position", 1, UINT64_MAX, &reading->position);
}

void method_read_event(struct request *request)
{
	struct reading *reading = reading_new(request, READ_POSITION);

	reading_begin(reading, get_event(reading));
}

/* ---- public ---- */

struct reader *reader_new(struct node *node)
{
	struct reader *reader = memory_zeroed(1, sizeof *reader);

	reader->node = node;
	reader->waits = waits_new(node);
	table_init(&reader->lanes);
	return reader;
}

struct waits *reader_waits(struct reader *reader)
{
	return reader->waits;
}

void reader_get_status(const struct reader *reader, struct reader_status *status)
{
	*status = reader->status;
	status->running_bytes_max = reader->running_bytes;
}

static void lane_refuse(struct reader *reader, struct lane *lane)
{
	while (lane->first != NULL) {
		struct reading *reading = lane->first;

		lane_remove(lane, reading);
		reader->status.waiting--;
		request_answer_error(reading->request, ANSWER_SHUTTING_DOWN,
				     "the node is stopping");
		reading_free(reading);
	}
	lane->in_turn = false;
	lane_free_if_idle(reader, lane);
}

void reader_free(struct reader *reader)
{
	if (reader == NULL)
		return;
	ASSERT(reader->status.running == 0);
	waits_free(reader->waits);
	for (size_t i = 0; i < reader->lanes.slots_count; i++)
		while (reader->lanes.slots[i] != NULL)
			lane_refuse(reader, TABLE_ENTRY(reader->lanes.slots[i], struct lane, link));
	table_close(&reader->lanes);
	ASSERT(reader->status.waiting == 0);
	memory_free(reader);
}
