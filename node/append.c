#include "node/append.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/append_answer.h"
#include "node/append_decode.h"
#include "node/methods.h"
#include "node/route.h"
#include "node/stats.h"
#include "node/write.h"
#include <stdlib.h>

#define UNSEEN_STREAMS 16u /* of a refused append, whose events are sent along */

/* Events of one stream that a refused client has not seen. */
struct unseen {
	struct span stream; /* points into the item */
	uint64_t from;      /* version */
};

struct append {
	struct write write; /* first */
	struct append_form form;
	bool duplicate;
	bool refused_by_condition;
	uint32_t condition_index;
	uint64_t condition_position;
	uint32_t unseen_count;
	struct unseen unseen[UNSEEN_STREAMS];
};

struct append_service {
	struct node *node;
	struct append_decoder decoder;
};

struct append_service *append_service_new(struct node *node)
{
	struct append_service *service = memory_zeroed(1, sizeof *service);

	service->node = node;
	append_decoder_init(&service->decoder, node->settings.max_append, node->settings.max_event);
	return service;
}

void append_service_free(struct append_service *service)
{
	ASSERT(service->node->writes_in_flight == 0);
	append_decoder_close(&service->decoder);
	memory_free(service);
}

/* ---- the events that a refused client has not seen: worker ---- */

/* The expectation's stream name lies in the machine's memory: find it in the item, which stays. */
static struct span name_in_item(const struct append *append, struct span name)
{
	const struct buffer *item = &append->write.item;
	const uint8_t *found = memmem(item->data, item->size, name.data, name.size);

	ASSERT(found != NULL);
	return span_of(found, name.size);
}

static void note_unseen(struct append *append, const struct violation *violation)
{
	const struct expectation *expected = &violation->expected;

	if (expected->kind != EXPECTATION_VERSION && expected->kind != EXPECTATION_NO_STREAM)
		return;
	if (violation->actual <= expected->version || append->unseen_count == UNSEEN_STREAMS)
		return;
	append->unseen[append->unseen_count++] = (struct unseen){
		.stream = name_in_item(append, expected->stream), .from = expected->version + 1};
}

/* Cut the records one by one off the front. */
static bool next_record(struct span *records, struct span *record)
{
	struct msgpack_reader reader = msgpack_reader_of(*records);

	if (!msgpack_read_raw(&reader, record))
		return false;
	*records = span_of(reader.at, (size_t)(reader.end - reader.at));
	return true;
}

static int compare_positions(const void *left, const void *right)
{
	uint64_t a = record_position(((const struct span *)left)->data);
	uint64_t b = record_position(((const struct span *)right)->data);

	return a < b ? -1 : a > b;
}

static void warn(const struct error *error)
{
	log_warn("append", "cannot read the events of a conflict", "reason=\"%s\"", error->message);
}

static void read_unseen(struct append *append, const struct unseen *unseen, struct buffer *records)
{
	struct read_range range = {.from = unseen->from,
				   .limit = LIMIT_READ_EVENTS,
				   .bytes_max = LIMIT_CONFLICT_BYTES};
	struct stream_status status;
	struct page page = {0};
	struct error error;

	buffer_init(&page.records);
	if (store_read_stream(append->write.request->node->store, unseen->stream, &range, &page,
			      &status, &error) == 0)
		buffer_append_span(records, buffer_span(&page.records));
	else
		warn(&error);
	buffer_close(&page.records);
}

/* The condition that failed, in the item. */
static bool find_condition(const struct append *append, struct condition *condition)
{
	struct span items = buffer_span(&append->write.item), sections;
	struct command_section section;
	struct error error;

	if (!command_next_item(&items, &sections))
		return false;
	while (command_next_section(&sections, &section))
		if (section.tag == COMMAND_CONDITION &&
		    command_parse_condition(section.content, condition, &error) == 0 &&
		    condition->index == append->condition_index)
			return true;
	return false;
}

/* One page of what matches the condition that failed: its first match is known. */
static void read_matches(struct append *append, struct buffer *records)
{
	struct read_range range = {.from = append->condition_position,
				   .limit = LIMIT_READ_EVENTS,
				   .bytes_max = LIMIT_CONFLICT_BYTES};
	struct store *store = append->write.request->node->store;
	struct condition condition;
	struct page page = {0};
	struct query query;
	struct error error;
	bool found = find_condition(append, &condition);

	ASSERT(found);
	query_init(&query);
	buffer_init(&page.records);
	int rc = query_parse(condition.query, &query, &error);

	ASSERT(rc == 0);
	rc = query_is_all(&query) ? store_read_all(store, &range, false, &page, &error)
				  : store_read_query(store, &query, &range, &page, &error);
	if (rc == 0)
		buffer_append_span(records, buffer_span(&page.records));
	else
		warn(&error);
	buffer_close(&page.records);
	query_close(&query);
}

/* Write the oldest of the records, in the order of the log, at most LIMIT_CONFLICT_BYTES. */
static void write_unseen(struct buffer *into, struct span records)
{
	struct buffer spans;
	struct span record;
	size_t bytes = 0;
	uint32_t count = 0;

	buffer_init(&spans);
	while (next_record(&records, &record))
		buffer_append(&spans, &record, sizeof record);
	struct span *sorted = (struct span *)(void *)spans.data;
	size_t found = spans.size / sizeof record;

	if (found > 1)
		qsort(sorted, found, sizeof *sorted, compare_positions);
	while (count < found && bytes + sorted[count].size <= LIMIT_CONFLICT_BYTES)
		bytes += sorted[count++].size;
	msgpack_write_string(into, "events");
	msgpack_write_array(into, count);
	for (uint32_t i = 0; i < count; i++)
		buffer_append_span(into, sorted[i]);
	buffer_close(&spans);
}

static void answer_with_events(struct node_post *post)
{
	write_answer(write_of_post(post));
}

static void run_unseen(struct work *work)
{
	struct append *append = (struct append *)write_of_work(work);
	struct buffer records;

	buffer_init(&records);
	if (append->refused_by_condition)
		read_matches(append, &records);
	for (uint32_t i = 0; i < append->unseen_count; i++)
		read_unseen(append, &append->unseen[i], &records);
	write_unseen(&append->write.answer, buffer_span(&records));
	buffer_close(&records);
	write_come_back(&append->write, answer_with_events);
}

/* ---- the outcome ---- */

/* Apply thread. */
static void encode(struct write *write, const struct outcome *outcome)
{
	struct append *append = (struct append *)write;

	write->code = outcome->code;
	append->duplicate = outcome->duplicate;
	if (outcome->code == ANSWER_OK) {
		append_answer_result(&write->answer, outcome, append->form.one_stream);
		return;
	}
	append->refused_by_condition = outcome->code == ANSWER_CONDITION_FAILED;
	append->form.with_events =
		append->form.with_events &&
		(outcome->code == ANSWER_WRONG_EXPECTED_VERSION || append->refused_by_condition);
	append_answer_error(&write->answer, outcome, append->form.with_events ? 1 : 0);
	if (!append->form.with_events)
		return;
	append->condition_index = outcome->condition_index;
	append->condition_position = outcome->condition_position;
	for (uint32_t i = 0; i < outcome->violation_count; i++)
		note_unseen(append, &outcome->violations[i]);
}

static void decided(struct write *write)
{
	struct append *append = (struct append *)write;
	struct node_counters *counters = write->request->node->counters;

	counters->appends++;
	counters->append_events += append->form.event_count;
	counters->append_duplicates += append->duplicate;
	counters->append_conflicts += write->code != ANSWER_OK;
	if (write->code != ANSWER_OK && append->form.with_events)
		write_on_worker(write, run_unseen);
	else
		write_answer(write);
}

/* ---- the way in ---- */

static void answer_problem(struct request *request, const struct append_problem *problem)
{
	if (problem->code == ANSWER_TOO_LARGE)
		request_answer_too_large(request, problem->limit, problem->size, problem->message);
	else
		request_answer_invalid(request, problem->argument, "%s", problem->message);
}

static bool make(struct write *write)
{
	struct append *append = (struct append *)write;
	struct request *request = write->request;
	struct append_problem problem;

	/* Records name their stream and have blanks: mostly less than a quarter more than was sent. */
	buffer_reserve(&write->item, request->params.size + request->params.size / 4 + 256);
	if (append_decode(&request->node->appends->decoder, &request->arguments, &write->item,
			  &append->form, &problem))
		return true;
	answer_problem(request, &problem);
	return false;
}

static void append_here(struct request *request)
{
	static const struct write_kind kind = {
		.bytes = sizeof(struct append),
		.here = append_here,
		.make = make,
		.encode = encode,
		.decided = decided,
	};

	write_begin(request, &kind);
}

void method_append(struct request *request)
{
	ASSERT(request->references == 1);
	route_to_leader(request, append_here);
}
