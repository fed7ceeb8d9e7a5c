#include "node/reading.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/node.h"
#include "node/pages.h"

#include <errno.h>
#include <uv.h>

/* What a read may come to that names no bytes: one record. */
#define SINGLE_READ_BYTES RECORD_BYTES_MAX

/* Brief reads that share a turn of a worker: few enough that another worker, the loop and the clients
 * have something to do meanwhile. */
#define TURN_READS 8u
#define TURN_BYTES (256 * KIB)
#define TURN_NS    500000

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
	struct pages *pages;
	struct table lanes;
	struct lane *turn_first, *turn_last;
	uint64_t running_bytes;
	uv_prepare_t *turn; /* closes later than the reader */
	struct reading *gathered_first,
		*gathered_last; /* brief ones, started in this turn of the loop */
	uint32_t gathered;      /* fewer than TURN_READS */
	size_t at_once_bytes;   /* answered by the loop itself in this turn */
	struct reader_status status;
};

static void lane_run(struct reader *reader, struct lane *lane);

/* ---- on a worker ---- */

static void reading_run(struct work *work)
{
	struct reading *reading = TABLE_ENTRY(work, struct reading, work);
	struct node *node = reading->reader->node;

	reading->status = reading->kind->run(reading, node->store);
	if (reading->status == READING_AGAIN && !atomic_load(&reading->given_up))
		workers_submit(node->workers, &reading->work); /* behind the others */
	else
		node_post(node, &reading->post);
}

/* Those that have not had their turn: each by itself, for whichever worker is free. */
static void run_apart(struct node *node, struct reading *reading)
{
	while (reading != NULL) {
		struct reading *next = reading->next;

		reading->next = NULL;
		workers_submit(node->workers, &reading->work);
		reading = next;
	}
}

/*
 * Several brief ones in one turn, their answers in one: waking another thread costs more than such a
 * read. As soon as they prove not to be brief the rest is left to others.
 */
static void turn_run(struct work *work)
{
	struct reading *first = TABLE_ENTRY(work, struct reading, work), *reading = first, *rest;
	struct node *node = first->reader->node;
	int64_t begun_ns = clock_monotonic_ns();
	size_t bytes = 0;

	for (;;) {
		rest = reading->next;
		reading->status = reading->kind->run(reading, node->store);
		ASSERT(reading->status != READING_AGAIN);
		bytes += reading->result.size;
		if (rest == NULL || bytes > TURN_BYTES || clock_monotonic_ns() - begun_ns > TURN_NS)
			break;
		reading = rest;
	}
	reading->next = NULL;
	for (reading = rest; reading != NULL; reading = reading->next)
		reading->work.run = reading_run;
	run_apart(node, rest);
	node_post(node, &first->post);
}

/* ---- answers ---- */

void reading_answer_absent(struct reading *reading, enum answer_code code, const char *message,
			   const char *field, struct span value)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 1, code, message);
	msgpack_write_string(&error, field);
	msgpack_write_str(&error, value);
	request_answer_error_map(reading->request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_failure(struct reading *reading)
{
	if (reading->status == -ENOENT && reading->kind->answer_absent != NULL) {
		reading->kind->answer_absent(reading);
		return;
	}
	log_error("read", "cannot read", "reason=\"%s\"", reading->error.message);
	request_answer_error(reading->request, ANSWER_INTERNAL, "%s", reading->error.message);
}

static void reading_free(struct reading *reading)
{
	reading->request->ended = NULL;
	reading->request->handler = NULL;
	request_release(reading->request);
	query_close(&reading->query);
	pages_give(reading->reader->pages, &reading->result);
	memory_free(reading);
}

static void reading_answer(struct reading *reading)
{
	struct reader_status *status = &reading->reader->status;

	if (reading->status == READING_AGAIN) /* it was given up half way: answered already */
		return;
	if (reading->status != 0) {
		answer_failure(reading);
		return;
	}
	status->reads++;
	status->events += reading->events;
	status->bytes += reading->result.size - (reading->is_page ? SESSION_PAGE_HEADROOM : 0u);
	if (reading->is_page)
		request_answer_page(reading->request, &reading->result);
	else
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
	return reading->range.bytes_max > 0 ? reading->range.bytes_max : SINGLE_READ_BYTES;
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

static void submit_gathered(struct reader *reader)
{
	struct reading *first = reader->gathered_first;

	ASSERT(first != NULL);
	reader->gathered_first = NULL;
	reader->gathered_last = NULL;
	reader->gathered = 0;
	workers_submit(reader->node->workers, &first->work);
}

static void gather(struct reader *reader, struct reading *reading)
{
	reading->work.run = turn_run;
	if (reader->gathered_last != NULL)
		reader->gathered_last->next = reading;
	else
		reader->gathered_first = reading;
	reader->gathered_last = reading;
	if (++reader->gathered == TURN_READS)
		submit_gathered(reader);
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
	if (reading->kind->brief && reading->range.limit <= LIMIT_READ_EVENTS_DEFAULT)
		gather(reader, reading);
	else
		workers_submit(reader->node->workers, &reading->work);
}

static void on_turn_end(uv_prepare_t *prepare)
{
	struct reader *reader = prepare->data;

	reader->at_once_bytes = 0;
	if (reader->gathered_first != NULL)
		submit_gathered(reader);
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

static void reading_done(struct reading *reading)
{
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

/* With those that shared its turn. */
static void on_done(struct node_post *post)
{
	struct reading *next, *reading = TABLE_ENTRY(post, struct reading, post);

	for (; reading != NULL; reading = next) {
		next = reading->next;
		reading_done(reading);
	}
}

/*
 * What is in memory takes less time than waking a worker. A turn of the loop does not do much of it, so that
 * the rest is not held up, and others' processors are used.
 */
static bool answer_at_once(struct reading *reading)
{
	struct reader *reader = reading->reader;
	const struct session *session = reading->request->session;

	if (reading->kind->run_at_once == NULL ||
	    reader->at_once_bytes >= LIMIT_AT_ONCE_TURN_BYTES || session_is_pressed(session) ||
	    session_unsent(session) >= session_unsent_max(session) ||
	    !reading->kind->run_at_once(reading, reader->node->store))
		return false;
	reader->at_once_bytes += reading->result.size;
	reader->status.waiting--;
	reading_answer(reading);
	reading_free(reading);
	return true;
}

static void reading_enter_lane(struct reading *reading)
{
	if (answer_at_once(reading))
		return;
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

/* Its deadline has passed, or its session has gone. One that runs comes back, soon. */
static void reading_ended(struct request *request)
{
	struct reading *reading = request->handler;
	struct reader *reader = reading->reader;
	struct lane *lane = reading->lane;

	if (reading->place == READING_RUNS) {
		atomic_store(&reading->given_up, true);
		return;
	}
	if (reading->place == READING_WAITS)
		waits_give_up(reader->waits, &reading->waiter);
	else
		lane_remove(lane, reading);
	reader->status.waiting--;
	reading_free(reading);
	if (lane != NULL)
		lane_free_if_idle(reader, lane);
}

struct reading *reading_new(struct request *request, const struct reading_kind *kind)
{
	struct reading *reading = memory_zeroed(1, sizeof *reading);

	ASSERT(request->session != NULL);
	reading->work.run = reading_run;
	reading->post.run = on_done;
	reading->waiter.request = request;
	reading->waiter.done = reading_waited;
	reading->reader = request->node->reader;
	reading->request = request;
	reading->kind = kind;
	query_init(&reading->query);
	buffer_init(&reading->result);
	return reading;
}

/* A position is waited for: the node may be told of it in time. */
static bool refuse_before_joining(struct request *request, const struct consistency *consistency)
{
	return consistency->kind != CONSISTENCY_AT_LEAST && read_refuse_before_joining(request);
}

void reading_begin(struct reading *reading, bool right)
{
	struct request *request = reading->request;
	struct reader *reader = reading->reader;
	struct consistency consistency;

	if (!right || !consistency_from_request(request, &consistency) ||
	    refuse_before_joining(request, &consistency)) {
		reading_free(reading);
		return;
	}
	request->handler = reading;
	request->ended = reading_ended;
	reader->status.waiting++;
	if (waits_add(reader->waits, &reading->waiter, consistency))
		reading_enter_lane(reading);
}

/* ---- public ---- */

bool read_refuse_before_joining(struct request *request)
{
	if (node_replica_status(request->node)->state != REPLICA_FORMING)
		return false;
	wait_answer_not_ready(
		request, 0,
		"this node belongs to no cluster yet: it waits to be added, or for the "
		"other first members");
	return true;
}

struct reader *reader_new(struct node *node)
{
	struct reader *reader = memory_zeroed(1, sizeof *reader);

	reader->node = node;
	reader->waits = waits_new(node);
	reader->pages = pages_new();
	table_init(&reader->lanes);
	reader->turn = memory_zeroed(1, sizeof *reader->turn);
	uv_prepare_init(node->loop, reader->turn);
	reader->turn->data = reader;
	uv_prepare_start(reader->turn, on_turn_end);
	uv_unref((uv_handle_t *)reader->turn);
	return reader;
}

struct pages *reader_pages(struct reader *reader)
{
	return reader->pages;
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

static void on_turn_closed(uv_handle_t *turn)
{
	memory_free(turn);
}

/* Nobody waits for them any more, and no worker is left. */
static void drop_gathered(struct reader *reader)
{
	struct reading *next, *reading = reader->gathered_first;

	for (; reading != NULL; reading = next) {
		next = reading->next;
		ASSERT(atomic_load(&reading->given_up));
		reading->status = READING_AGAIN;
		reading_done(reading);
	}
}

void reader_free(struct reader *reader)
{
	if (reader == NULL)
		return;
	uv_close((uv_handle_t *)reader->turn, on_turn_closed);
	drop_gathered(reader);
	ASSERT(reader->status.running == 0);
	waits_free(reader->waits);
	for (size_t i = 0; i < reader->lanes.slots_count; i++)
		while (reader->lanes.slots[i] != NULL)
			lane_refuse(reader, TABLE_ENTRY(reader->lanes.slots[i], struct lane, link));
	table_close(&reader->lanes);
	ASSERT(reader->status.waiting == 0);
	pages_free(reader->pages);
	memory_free(reader);
}
