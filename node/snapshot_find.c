#include "node/snapshot_find.h"

#include "base/msgpack.h"

#include <errno.h>

#define STEP_RECORDS 64u /* looked at in one step, when the last one does not decide */

enum look { LOOK_ON, LOOK_FOUND, LOOK_NONE };

/* Whether this record is it; records are looked at from the last one on. */
static int look_at(struct span bytes, uint64_t max_version, struct snapshot_found *found,
		   enum look *look, struct error *error)
{
	struct system_snapshot snapshot;
	struct record record;

	if (record_parse(bytes, &record) != 0 || system_snapshot_parse(&record, &snapshot) != 0)
		return error_set(error, -EBADMSG, "a stored snapshot cannot be parsed");
	*look = snapshot.deleted                  ? LOOK_NONE
		: snapshot.version <= max_version ? LOOK_FOUND
						  : LOOK_ON;
	if (*look != LOOK_FOUND)
		return 0;
	buffer_clear(&found->record);
	buffer_append_span(&found->record, bytes);
	found->found = true;
	found->created = record.created;
	(void)record_parse(buffer_span(&found->record), &record);
	return system_snapshot_parse(&record, &found->snapshot);
}

static int look_through(const struct page *page, uint64_t max_version, struct snapshot_found *found,
			enum look *look, struct error *error)
{
	struct msgpack_reader reader = msgpack_reader_of(buffer_span(&page->records));
	struct span bytes;
	int rc = 0;

	while (rc == 0 && *look == LOOK_ON && msgpack_read_raw(&reader, &bytes))
		rc = look_at(bytes, max_version, found, look, error);
	return rc;
}

int snapshot_find(struct store *store, struct span stream, uint64_t max_version, uint64_t *from,
		  struct snapshot_found *found, struct error *error)
{
	/* The last one is what most want, and may be large. */
	struct read_range range = {.from = *from,
				   .backward = true,
				   .limit = *from == 0 ? 1 : STEP_RECORDS,
				   .bytes_max = LIMIT_READ_BYTES_DEFAULT};
	struct stream_status status;
	struct page page = {0};
	enum look look = LOOK_ON;
	struct buffer name;

	found->found = false;
	buffer_init(&name);
	buffer_init(&page.records);
	system_stream_name(SYSTEM_SNAPSHOT_PREFIX, stream, &name);
	int rc = store_read_stream(store, buffer_span(&name), &range, &page, &status, error);

	if (rc == 0)
		rc = look_through(&page, max_version, found, &look, error);
	found->head = page.head;
	*from = look == LOOK_ON && !page.end ? page.next : 0;
	buffer_close(&name);
	buffer_close(&page.records);
	return rc;
}
