#include "node/append.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/append_answer.h"
#include "node/append_decode.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/route.h"
#include "node/stats.h"
#include <stdlib.h>

#define UNSEEN_STREAMS 16u /* of a refused append, whose events are sent along */

/* Events of one stream that a refused client has not seen. */
struct unseen {
	struct span stream; /* points into the item */
	uint64_t from;      /* version */
};

struct append {
	struct proposal proposal; /* first */
	struct append_service *service;
	struct request *request; /* one reference */
	struct append_form form;
	struct buffer item;
	struct buffer answer;
	enum answer_code code; /* of the answer */
	bool duplicate;
	uint32_t unseen_count;
	struct unseen unseen[UNSEEN_STREAMS];
	struct work work;
	struct node_post post;
};

struct append_service {
	struct node *node;
	struct append_decoder decoder;
	uint32_t in_flight;
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
	ASSERT(service->in_flight == 0);
	append_decoder_close(&service->decoder);
	memory_free(service);
}

uint32_t append_service_in_flight(const struct append_service *service)
{
	return service->in_flight;
}

static struct append *new_append(struct append_service *service, struct request *request)
{
	struct append *append = memory_alloc(sizeof *append);

	memset(append, 0, offsetof(struct append, unseen));
	append->service = service;
	append->request = request;
	buffer_init(&append->item);
	buffer_init(&append->answer);
	service->in_flight++;
	return append;
}

/* Hands the reference to the request back. */
static struct request *free_append(struct append *append)
{
	struct request *request = append->request;

	ASSERT(append->service->in_flight > 0);
	append->service->in_flight--;
	buffer_close(&append->item);
	buffer_close(&append->answer);
	memory_free(append);
	return request;
}

/* ---- the events that a refused client has not seen: worker ---- */

/* The expectation's stream name lies in the machine's memory: find it in the item, which stays. */
static struct span name_in_item(const struct append *append, struct span name)
{
	const uint8_t *found = memmem(append->item.data, append->item.size, name.data, name.size);

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

static void read_unseen(struct append *append, const struct unseen *unseen, struct buffer *records)
{
	struct read_range range = {.from = unseen->from,
				   .limit = LIMIT_READ_EVENTS,
				   .bytes_max = LIMIT_CONFLICT_BYTES};
	struct stream_status status;
	struct page page = {0};
	struct error error;

	buffer_init(&page.records);
	if (store_read_stream(append->service->node->store, unseen->stream, &range, &page, &status,
			      &error) == 0)
		buffer_append_span(records, buffer_span(&page.records));
	else
		log_warn("append", "cannot read the events of a conflict", "reason=\"%s\"",
			 error.message);
	buffer_close(&page.records);
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
	struct append *append =
		(struct append *)(void *)((char *)post - offsetof(struct append, post));

	request_answer_error_map(append->request, buffer_span(&append->answer));
	request_release(free_append(append));
}

static void run_unseen(struct work *work)
{
	struct append *append =
		(struct append *)(void *)((char *)work - offsetof(struct append, work));
	struct buffer records;

	buffer_init(&records);
	for (uint32_t i = 0; i < append->unseen_count; i++)
		read_unseen(append, &append->unseen[i], &records);
	write_unseen(&append->answer, buffer_span(&records));
	buffer_close(&records);
	append->post.run = answer_with_events;
	node_post(append->service->node, &append->post);
}

/* ---- the outcome ---- */

/* Apply thread: the outcome is gone after it. */
static void on_decided(struct proposal *proposal, const struct outcome *outcome)
{
	struct append *append = (struct append *)proposal;

	ASSERT(append->answer.size == 0);
	append->code = outcome->code;
	append->duplicate = outcome->duplicate;
	if (outcome->code == ANSWER_OK) {
		append_answer_result(&append->answer, outcome, append->form.one_stream);
		return;
	}
	append->form.with_events =
		append->form.with_events && outcome->code == ANSWER_WRONG_EXPECTED_VERSION;
	append_answer_error(&append->answer, outcome, append->form.with_events ? 1 : 0);
	if (append->form.with_events)
		for (uint32_t i = 0; i < outcome->violation_count; i++)
			note_unseen(append, &outcome->violations[i]);
}

static void count_decided(const struct append *append)
{
	struct node_counters *counters = append->service->node->counters;

	counters->appends++;
	counters->append_events += append->form.event_count;
	if (append->duplicate)
		counters->append_duplicates++;
	if (append->code != ANSWER_OK)
		counters->append_conflicts++;
}

static void finish_decided(struct append *append)
{
	count_decided(append);
	if (append->code != ANSWER_OK && append->form.with_events) {
		append->work.run = run_unseen;
		workers_submit(append->service->node->workers, &append->work);
		return;
	}
	if (append->code == ANSWER_OK)
		request_answer_result(append->request, buffer_span(&append->answer));
	else
		request_answer_error_map(append->request, buffer_span(&append->answer));
	request_release(free_append(append));
}

static void on_done(struct proposal *proposal, enum proposal_result result)
{
	struct append *append = (struct append *)proposal;

	if (result == PROPOSAL_DECIDED) {
		finish_decided(append);
		return;
	}
	struct request *request = free_append(append);

	if (result == PROPOSAL_UNKNOWN)
		request_answer_unknown(request);
	else
		route_answer_no_leader(request);
	request_release(request);
}

/* ---- the way in ---- */

static void refuse_overload(struct request *request, const char *reason, const char *message)
{
	request->node->counters->append_overloads++;
	request_answer_retry(request, ANSWER_OVERLOADED, reason, message);
	request_release(request);
}

static void append_here(struct request *request);

static void finish_refused(struct request *request, enum propose_refusal refusal)
{
	switch (refusal) {
	case PROPOSE_NOT_LEADER:
		route_again(request, append_here);
		break;
	case PROPOSE_OVERLOADED_QUEUE:
		refuse_overload(request, "queue", "too many appends wait to be proposed");
		break;
	case PROPOSE_OVERLOADED_STORE:
		refuse_overload(request, "store", "the tables do not keep up with the log");
		break;
	case PROPOSE_OVERLOADED_DISK:
		refuse_overload(request, "disk", "the disk has too little free space");
		break;
	case PROPOSE_STOPPING:
	case PROPOSE_ACCEPTED:
		request_answer_error(request, ANSWER_SHUTTING_DOWN,
				     "this node is stopping; nothing was proposed");
		request_release(request);
		break;
	}
}

static void answer_problem(struct request *request, const struct append_problem *problem)
{
	if (problem->code == ANSWER_TOO_LARGE)
		request_answer_too_large(request, problem->limit, problem->size, problem->message);
	else
		request_answer_invalid(request, problem->argument, "%s", problem->message);
}

/* This node leads. Takes the reference. */
static void append_here(struct request *request)
{
	struct append_service *service = request->node->appends;
	struct append_problem problem;
	struct append *append = new_append(service, request);

	buffer_reserve(&append->item, request->params.size + 256);
	if (!append_decode(&service->decoder, &request->arguments, &append->item, &append->form,
			   &problem)) {
		free_append(append);
		answer_problem(request, &problem);
		request_release(request);
		return;
	}
	append->proposal.item = buffer_span(&append->item);
	append->proposal.decided = on_decided;
	append->proposal.done = on_done;
	enum propose_refusal refusal = replica_propose(service->node->replica, &append->proposal);

	if (refusal == PROPOSE_ACCEPTED) {
		request->maybe_proposed = true;
		return;
	}
	free_append(append);
	finish_refused(request, refusal);
}

void method_append(struct request *request)
{
	ASSERT(request->references == 1);
	route_to_leader(request, append_here);
}
