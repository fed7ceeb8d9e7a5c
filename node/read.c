#include "node/reading.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "node/pages.h"
#include "node/query_decode.h"

#include <errno.h>

/* ---- results, on a worker ---- */

/*
 * The records stand in the result where the page put them, between a header of known length and what
 * follows: "events" with a count of 32 bits comes first.
 */
static const uint8_t page_header[] = {0x80, 0xa6, 'e', 'v', 'e', 'n', 't', 's', 0xdd, 0, 0, 0, 0};
#define PAGE_HEADER_PAIRS (SESSION_PAGE_HEADROOM + 0)
#define PAGE_HEADER_COUNT (SESSION_PAGE_HEADROOM + 9)

void result_page_begin(struct reading *reading, struct page *page)
{
	pages_take(reader_pages(reading->reader), !reading->kind->brief, &page->records);
	(void)buffer_reserve(&page->records, SESSION_PAGE_HEADROOM);
	page->records.size = SESSION_PAGE_HEADROOM;
	buffer_append(&page->records, page_header, sizeof page_header);
}

void result_page_end(struct reading *reading, struct page *page, uint32_t pairs)
{
	ASSERT(pairs < 16 && page->records.size >= SESSION_PAGE_HEADROOM + sizeof page_header);
	page->records.data[PAGE_HEADER_PAIRS] = (uint8_t)(0x80u | pairs);
	bytes_set_be32(page->records.data + PAGE_HEADER_COUNT, page->count);
	reading->events = page->count;
	reading->result = page->records;
	reading->is_page = true;
}

void result_u64(struct buffer *into, const char *name, uint64_t value)
{
	msgpack_write_string(into, name);
	msgpack_write_u64(into, value);
}

void result_place(struct buffer *into, const struct page *page)
{
	result_u64(into, "next", page->next);
	msgpack_write_string(into, "end");
	msgpack_write_bool(into, page->end);
	result_u64(into, "head", page->head);
}

void result_state(struct buffer *into, const struct stream_status *status)
{
	msgpack_write_string(into, "state");
	msgpack_write_string(into, stream_state_name(status->state));
	result_u64(into, "version", status->version);
	result_u64(into, "first_version", status->first_version);
}

static void end_stream_page(struct reading *reading, struct page *page,
			    const struct stream_status *status)
{
	result_state(&page->records, status);
	result_place(&page->records, page);
	result_page_end(reading, page, 7);
}

static int run_stream(struct reading *reading, struct store *store)
{
	struct page page = {0};
	struct stream_status status;

	result_page_begin(reading, &page);
	int rc = store_read_stream(store, reading->stream, &reading->range, &page, &status,
				   &reading->error);
	if (rc == 0 && status.state == STREAM_NONE)
		rc = -ENOENT;
	if (rc != 0) {
		buffer_close(&page.records);
		return rc;
	}
	end_stream_page(reading, &page, &status);
	return 0;
}

static bool run_stream_at_once(struct reading *reading, struct store *store)
{
	struct page page = {0};
	struct stream_status status;

	result_page_begin(reading, &page);
	if (!store_read_stream_at_once(store, reading->stream, &reading->range, &page, &status) ||
	    status.state == STREAM_NONE) {
		pages_give(reader_pages(reading->reader), &page.records);
		return false;
	}
	end_stream_page(reading, &page, &status);
	return true;
}

/*
 * Between nodes: as it is kept, holes in place of what was dropped. The manifest is read after the
 * horizon, which is read after the page: each covers what is before it.
 */
static int run_raw(struct reading *reading, struct store *store)
{
	uint8_t bytes[MANIFEST_BYTES];
	struct manifest manifest;
	struct store_status status;
	struct page page = {0};

	result_page_begin(reading, &page);
	int rc = store_read_raw(store, &reading->range, &page, &reading->error);
	if (rc != 0) {
		buffer_close(&page.records);
		return rc;
	}
	store_get_status(store, &status);
	store_get_manifest(store, &manifest);
	result_place(&page.records, &page);
	result_u64(&page.records, "horizon", status.horizon);
	bool was_ingesting = status.ingesting;

	store_get_status(store, &status);
	msgpack_write_string(&page.records, "manifest");
	manifest_encode(&manifest, bytes);
	if (was_ingesting || status.ingesting) /* its index does not tell how far the records go */
		msgpack_write_nil(&page.records);
	else
		msgpack_write_bin(&page.records, span_of(bytes, sizeof bytes));
	result_page_end(reading, &page, 6);
	return 0;
}

static int run_all(struct reading *reading, struct store *store)
{
	struct page page = {0};

	result_page_begin(reading, &page);
	int rc = query_is_all(&reading->query)
			 ? store_read_all(store, &reading->range, reading->with_system, &page,
					  &reading->error)
			 : store_read_query(store, &reading->query, &reading->range, &page,
					    &reading->error);
	if (rc != 0) {
		buffer_close(&page.records);
		return rc;
	}
	result_place(&page.records, &page);
	result_page_end(reading, &page, 4);
	return 0;
}

static void event_begin(struct reading *reading)
{
	msgpack_write_map(&reading->result, 2);
	msgpack_write_string(&reading->result, "event");
}

static int event_end(struct reading *reading, struct store *store, int status)
{
	result_u64(&reading->result, "head", store_head(store));
	reading->events = 1;
	return status;
}

static int run_position(struct reading *reading, struct store *store)
{
	event_begin(reading);
	return event_end(
		reading, store,
		store_read_position(store, reading->position, &reading->result, &reading->error));
}

static int run_id(struct reading *reading, struct store *store)
{
	event_begin(reading);
	return event_end(reading, store,
			 store_read_id(store, reading->id, &reading->result, &reading->error));
}

static int run_version(struct reading *reading, struct store *store)
{
	event_begin(reading);
	return event_end(reading, store,
			 store_read_version(store, reading->stream, reading->version,
					    &reading->result, &reading->error));
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
	result_state(result, &status);
	result_u64(result, "count", status.count);
	msgpack_write_string(result, "created");
	msgpack_write_i64(result, status.created);
	msgpack_write_string(result, "updated");
	msgpack_write_i64(result, status.updated);
	result_u64(result, "head", status.head);
	return 0;
}

/* ---- kinds ---- */

void reading_answer_no_stream(struct reading *reading)
{
	reading_answer_absent(reading, ANSWER_STREAM_NOT_FOUND, "the stream never existed",
			      "stream", reading->stream);
}

static void answer_no_event(struct reading *reading)
{
	reading_answer_absent(reading, ANSWER_NOT_FOUND, "there is no such event", "what",
			      span_of_string("event"));
}

static const struct reading_kind stream_kind = {run_stream, reading_answer_no_stream, true,
						run_stream_at_once};
static const struct reading_kind all_kind = {run_all, NULL, false, NULL};
static const struct reading_kind raw_kind = {run_raw, NULL, false, NULL};
static const struct reading_kind info_kind = {run_info, reading_answer_no_stream, true, NULL};
static const struct reading_kind position_kind = {run_position, answer_no_event, true, NULL};
static const struct reading_kind id_kind = {run_id, answer_no_event, true, NULL};
static const struct reading_kind version_kind = {run_version, answer_no_event, true, NULL};

/* ---- arguments ---- */

bool query_from_request(struct request *request, struct query *query, bool *given)
{
	struct query_problem problem;
	struct span raw = {0};

	*given = false;
	if (!request_arg_raw(request, "query", &raw))
		return false;
	if (raw.size == 0)
		return true;
	*given = query_decode(raw, "query", query, &problem);
	if (!*given)
		request_answer_invalid(request, problem.argument, "%s", problem.message);
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

/* What a result has around its records is far below these 64 KiB. */
uint64_t read_page_bytes_max(const struct node *node)
{
	uint64_t message = node->settings.max_message - 64 * KIB;

	return message < LIMIT_READ_BYTES ? message : LIMIT_READ_BYTES;
}

bool read_get_bounds(struct request *request, uint64_t limit_default, struct read_range *range)
{
	uint64_t limit = limit_default, bytes_max = LIMIT_READ_BYTES_DEFAULT;

	if (!request_arg_u64(request, "limit", 1, LIMIT_READ_EVENTS, &limit) ||
	    !request_arg_u64(request, "max_bytes", 1, UINT64_MAX, &bytes_max))
		return false;
	if (bytes_max > read_page_bytes_max(request->node))
		bytes_max = read_page_bytes_max(request->node);
	range->limit = (uint32_t)limit;
	range->bytes_max = bytes_max;
	return true;
}

static bool get_range(struct request *request, struct read_range *range)
{
	return request_arg_u64(request, "from", 0, UINT64_MAX, &range->from) &&
	       get_direction(request, &range->backward) &&
	       read_get_bounds(request, LIMIT_READ_EVENTS_DEFAULT, range);
}

void method_read_stream(struct request *request)
{
	struct reading *reading = reading_new(request, &stream_kind);

	reading_begin(reading, request_arg_stream(request, &reading->stream) &&
				       get_range(request, &reading->range));
}

static bool get_raw(struct reading *reading)
{
	bool raw = false;

	if (!request_arg_bool(reading->request, "raw", &raw))
		return false;
	if (!raw)
		return true;
	reading->kind = &raw_kind;
	if (!reading->range.backward && query_is_all(&reading->query))
		return true;
	request_answer_invalid(reading->request, "raw",
			       "raw pages are of all records, forward: leave out query and "
			       "direction");
	return false;
}

void method_read_all(struct request *request)
{
	struct reading *reading = reading_new(request, &all_kind);
	bool given;

	reading_begin(reading, query_from_request(request, &reading->query, &given) &&
				       request_arg_bool(request, "system", &reading->with_system) &&
				       get_range(request, &reading->range) && get_raw(reading));
}

void method_stream_info(struct request *request)
{
	struct reading *reading = reading_new(request, &info_kind);

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
	reading->kind = &id_kind;
	return true;
}

static bool get_version(struct reading *reading)
{
	struct request *request = reading->request;

	reading->kind = &version_kind;
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
	struct reading *reading = reading_new(request, &position_kind);

	reading_begin(reading, get_event(reading));
}
