/* count, position_at: numbers about the log. See read.h. */
#include "node/reading.h"

#include <errno.h>

/* What their results come to, and more. */
#define RESULT_BYTES 256u

/* ---- count ---- */

/* A step of it; the tally keeps the head of the first one, so the count is of one moment. */
static int run_count(struct reading *reading, struct store *store)
{
	struct query_tally *tally = &reading->tally;
	int rc = store_count(store, &reading->query, tally, &reading->error);

	if (rc != 0)
		return rc;
	if (!tally->end)
		return READING_AGAIN;
	msgpack_write_map(&reading->result, 2);
	result_u64(&reading->result, "count", tally->count);
	result_u64(&reading->result, "head", tally->head);
	return 0;
}

static const struct reading_kind count_kind = {run_count, NULL, false, NULL};

void method_count(struct request *request)
{
	struct reading *reading = reading_new(request, &count_kind);
	bool given;

	reading->range.bytes_max = RESULT_BYTES;
	reading_begin(reading, query_from_request(request, &reading->query, &given));
}

/* ---- position_at ---- */

/*
 * The head comes first: what is applied after it is not looked at, so a position above the head says
 * that nothing up to it is as young as that.
 */
static int run_position_at(struct reading *reading, struct store *store)
{
	uint64_t head = store_head(store), position = 0;
	int rc = store_position_at(store, reading->time, &position, &reading->error);

	if (rc != 0)
		return rc;
	msgpack_write_map(&reading->result, 2);
	result_u64(&reading->result, "position", position <= head ? position : head + 1);
	result_u64(&reading->result, "head", head);
	return 0;
}

static const struct reading_kind position_at_kind = {run_position_at, NULL, false, NULL};

static bool get_time(struct reading *reading)
{
	struct span raw = {0};

	if (!request_arg_raw(reading->request, "time", &raw))
		return false;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (raw.size > 0 && msgpack_read_i64(&reader, &reading->time))
		return true;
	request_answer_invalid(reading->request, "time",
			       raw.size == 0
				       ? "time is missing: nanoseconds since 1970 UTC"
				       : "time must be an integer: nanoseconds since 1970 UTC");
	return false;
}

void method_position_at(struct request *request)
{
	struct reading *reading = reading_new(request, &position_at_kind);

	reading->range.bytes_max = RESULT_BYTES;
	reading_begin(reading, get_time(reading));
}
