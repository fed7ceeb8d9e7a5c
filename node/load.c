/*
 * load: an aggregate in one call: its latest snapshot, and the events after it. See read.h.
 *
 * The snapshot is read first. What is appended between the two reads is among the events, so together
 * they are the stream as of `head`. A snapshot that is put in between is not seen: the events that it
 * stands for are.
 */
#include "node/reading.h"

#include "base/assert.h"
#include "node/snapshot_find.h"

#include <errno.h>

static void write_snapshot(struct buffer *into, const struct snapshot_found *latest)
{
	msgpack_write_string(into, "snapshot");
	if (!latest->found) {
		msgpack_write_nil(into);
		return;
	}
	msgpack_write_map(into, 4);
	result_u64(into, "version", latest->snapshot.version);
	msgpack_write_string(into, "type");
	msgpack_write_str(into, latest->snapshot.type);
	msgpack_write_string(into, "data");
	msgpack_write_bin(into, latest->snapshot.data);
	msgpack_write_string(into, "created");
	msgpack_write_i64(into, latest->created);
}

/* A large snapshot and a large event may not fit into one message: then the events come later. */
static void leave_out_what_does_not_fit(const struct reading *reading, struct page *page,
					const struct snapshot_found *latest, size_t header_bytes)
{
	uint64_t bytes_max = read_page_bytes_max(reading->request->node);

	ASSERT(page->records.size >= header_bytes);
	if (!latest->found || page->records.size + latest->record.size <= bytes_max)
		return;
	page->records.size = header_bytes;
	page->count = 0;
	page->next = latest->snapshot.version + 1;
	page->end = false;
}

static int read_rest(struct reading *reading, struct store *store,
		     const struct snapshot_found *latest)
{
	struct read_range range = reading->range;
	struct stream_status status;
	struct page page = {0};

	range.from = latest->found ? latest->snapshot.version + 1 : 1;
	range.bytes_max =
		latest->record.size < range.bytes_max ? range.bytes_max - latest->record.size : 1;
	result_page_begin(reading, &page);
	size_t header_bytes = page.records.size;
	int rc = store_read_stream(store, reading->stream, &range, &page, &status, &reading->error);

	if (rc == 0 && status.state == STREAM_NONE)
		rc = -ENOENT;
	if (rc != 0) {
		buffer_close(&page.records);
		return rc;
	}
	leave_out_what_does_not_fit(reading, &page, latest, header_bytes);
	write_snapshot(&page.records, latest);
	result_state(&page.records, &status);
	result_place(&page.records, &page);
	result_page_end(reading, &page, 8);
	return 0;
}

static int run_load(struct reading *reading, struct store *store)
{
	struct snapshot_found latest = {0};
	uint64_t from = 0;

	buffer_init(&latest.record);
	int rc = snapshot_find(store, reading->stream, UINT64_MAX, &from, &latest, &reading->error);

	ASSERT(rc != 0 || from == 0); /* whichever is the last one decides */
	if (rc == 0)
		rc = read_rest(reading, store, &latest);
	buffer_close(&latest.record);
	return rc;
}

static const struct reading_kind load_kind = {run_load, reading_answer_no_stream, true, NULL};

void method_load(struct request *request)
{
	struct reading *reading = reading_new(request, &load_kind);

	reading_begin(reading,
		      request_arg_stream(request, &reading->stream) &&
			      read_get_bounds(request, LIMIT_READ_EVENTS, &reading->range));
}
