#include "node/wait.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "node/node.h"
#include "node/peer_client.h"
#include "node/table.h"

#include <uv.h>

/* Between two tries to ask. */
#define RETRY_MS 20
/* Between two looks at whether the one asked still leads. */
#define CHECK_MS 100
/* A leader that has not answered the question for so long is asked over a new connection. */
#define SILENCE_MS 3000

/* One question for a barrier; it outlives `waits` when nobody needs the answer any more. */
struct question {
	struct peer_call call;
	struct waits *waits; /* NULL: abandoned */
};

struct queue {
	struct waiter *first, *last;
};

struct waits {
	struct node *node;
	struct waiter **heap; /* waiting for a position, the lowest first */
	size_t count, capacity;
	struct queue arriving; /* waiting for the next question */
	struct queue asking;   /* waiting for the one that is out */
	struct question *question;
	bool asked_elsewhere;
	int64_t asked_ms;
	bool retrying;              /* a try is due when the timer fires */
	struct peer_client *leader; /* NULL: none yet */
	char leader_address[ADDRESS_TEXT_BYTES];
	uv_timer_t timer; /* runs while there is a question elsewhere, or a try is due */
};

static void ask(struct waits *waits);

/* ---- the argument ---- */

/* The value of a key in a map. */
static bool find_u64(struct span map, const char *wanted, uint64_t *value)
{
	struct msgpack_reader reader = msgpack_reader_of(map);
	uint32_t pairs;
	struct span key;

	if (!msgpack_read_map(&reader, &pairs))
		return false;
	for (uint32_t i = 0; i < pairs; i++) {
		if (!msgpack_read_str(&reader, &key))
			return false;
		if (span_equal_string(key, wanted))
			return msgpack_read_u64(&reader, value);
		if (!msgpack_read_skip(&reader))
			return false;
	}
	return false;
}

static bool read_consistency(struct span raw, struct consistency *consistency)
{
	struct msgpack_reader reader = msgpack_reader_of(raw);
	struct span text;

	if (msgpack_read_str(&reader, &text)) {
		if (span_equal_string(text, "linearizable"))
			consistency->kind = CONSISTENCY_LINEARIZABLE;
		else if (!span_equal_string(text, "local"))
			return false;
		return true;
	}
	consistency->kind = CONSISTENCY_AT_LEAST;
	return find_u64(raw, "at_least", &consistency->position);
}

bool consistency_from_request(struct request *request, struct consistency *consistency)
{
	struct span raw = {0};

	*consistency = (struct consistency){.kind = CONSISTENCY_LOCAL};
	if (!request_arg_raw(request, "consistency", &raw))
		return false;
	if (raw.size == 0 || read_consistency(raw, consistency))
		return true;
	request_answer_invalid(request, "consistency",
			       "it must be \"local\", \"linearizable\" or {at_least: position}");
	return false;
}

/* ---- queues, and the heap of positions ---- */

static void queue_add(struct queue *queue, struct waiter *waiter)
{
	waiter->next = NULL;
	waiter->previous = queue->last;
	if (queue->last != NULL)
		queue->last->next = waiter;
	else
		queue->first = waiter;
	queue->last = waiter;
}

static void queue_remove(struct queue *queue, struct waiter *waiter)
{
	if (waiter->previous != NULL)
		waiter->previous->next = waiter->next;
	else
		queue->first = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	else
		queue->last = waiter->previous;
	waiter->next = NULL;
	waiter->previous = NULL;
}

static struct waiter *queue_take(struct queue *queue)
{
	struct waiter *waiter = queue->first;

	if (waiter != NULL)
		queue_remove(queue, waiter);
	return waiter;
}

static void heap_set(struct waits *waits, size_t place, struct waiter *waiter)
{
	waits->heap[place] = waiter;
	waiter->place = place;
}

static void heap_up(struct waits *waits, size_t place, struct waiter *waiter)
{
	while (place > 0 && waits->heap[(place - 1) / 2]->position > waiter->position) {
		heap_set(waits, place, waits->heap[(place - 1) / 2]);
		place = (place - 1) / 2;
	}
	heap_set(waits, place, waiter);
}

static void heap_down(struct waits *waits, size_t place, struct waiter *waiter)
{
	for (size_t child; (child = place * 2 + 1) < waits->count; place = child) {
		if (child + 1 < waits->count &&
		    waits->heap[child + 1]->position < waits->heap[child]->position)
			child++;
		if (waits->heap[child]->position >= waiter->position)
			break;
		heap_set(waits, place, waits->heap[child]);
	}
	heap_set(waits, place, waiter);
}

static void heap_add(struct waits *waits, struct waiter *waiter)
{
	ASSERT(waiter->position > 0);
	if (waits->count == waits->capacity) {
		waits->capacity = waits->capacity == 0 ? 64 : waits->capacity * 2;
		waits->heap = memory_resize(waits->heap, waits->capacity * sizeof(struct waiter *));
	}
	waits->count++;
	heap_up(waits, waits->count - 1, waiter);
}

static void heap_remove(struct waits *waits, struct waiter *waiter)
{
	struct waiter *last = waits->heap[--waits->count];
	size_t place = waiter->place;

	ASSERT(place <= waits->count && (waits->heap[place] == waiter || last == waiter));
	if (last == waiter)
		return;
	heap_down(waits, place, last);
	heap_up(waits, last->place, last);
}

/* ---- waiters ---- */

/* A barrier has told its position: reached, or waited for like any other. */
static void waiter_set_position(struct waits *waits, struct waiter *waiter, uint64_t position)
{
	if (MUTANT(BARRIER_NOT_AWAITED) || store_head(waits->node->store) >= position) {
		waiter->done(waiter, true);
		return;
	}
	waiter->position = position;
	heap_add(waits, waiter);
}

void wait_answer_not_ready(struct request *request, uint64_t wanted, const char *message)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 2, ANSWER_NOT_READY, message);
	msgpack_write_string(&error, "head");
	msgpack_write_u64(&error, store_head(request->node->store));
	msgpack_write_string(&error, "wanted");
	msgpack_write_u64(&error, wanted);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_not_reached(struct waits *waits, struct waiter *waiter)
{
	char message[128];

	snprintf(message, sizeof message,
		 "this node has applied positions up to %llu, and %llu was not reached in time",
		 (unsigned long long)store_head(waits->node->store),
		 (unsigned long long)waiter->position);
	wait_answer_not_ready(waiter->request, waiter->position, message);
}

static void answer_no_barrier(struct waits *waits, struct waiter *waiter)
{
	const struct replica_status *status = node_replica_status(waits->node);
	bool known = status->leader_id != 0 && !status->removed;
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 1, known ? ANSWER_TIMEOUT : ANSWER_NO_LEADER,
			    known             ? "the leader could not be asked in time"
			    : status->removed ? NODE_REMOVED_MESSAGE
					      : "no leader is known to ask what was acknowledged");
	if (known) {
		msgpack_write_string(&error, "outcome");
		msgpack_write_string(&error, "none");
	} else {
		msgpack_write_string(&error, "retry_after_ms");
		msgpack_write_u64(&error, waits->node->settings.election_timeout_ms);
	}
	request_answer_error_map(waiter->request, buffer_span(&error));
	buffer_close(&error);
}

void waits_give_up(struct waits *waits, struct waiter *waiter)
{
	bool asked = waiter->request != NULL && !waiter->request->answered;

	if (waiter->position > 0) {
		heap_remove(waits, waiter);
		if (asked)
			answer_not_reached(waits, waiter);
		return;
	}
	queue_remove(waiter->asking ? &waits->asking : &waits->arriving, waiter);
	if (asked)
		answer_no_barrier(waits, waiter);
}

/* ---- time ---- */

static void timer_fired(uv_timer_t *timer);

static void wake_in(struct waits *waits, uint64_t after_ms)
{
	/* libuv counts from the loop's own idea of now, which may be old. */
	uv_update_time(waits->node->loop);
	uv_timer_start(&waits->timer, timer_fired, after_ms, 0);
}

/* A leader that is another one now, or silent, will not answer: ask anew. */
static void check_question(struct waits *waits, int64_t now)
{
	if (waits->question == NULL || !waits->asked_elsewhere)
		return;
	const char *leader = node_replica_status(waits->node)->leader_address;

	if (strcmp(leader, waits->leader_address) == 0 && now - waits->asked_ms < SILENCE_MS)
		return;
	struct peer_client *old = waits->leader;

	waits->leader = NULL;
	waits->leader_address[0] = '\0';
	peer_client_free(old); /* ends the question, as one that failed */
	ASSERT(waits->question == NULL);
}

static void retry_if_due(struct waits *waits)
{
	if (!waits->retrying)
		return;
	waits->retrying = false;
	ask(waits);
}

/* Nobody can be asked ever again. */
static void refuse_if_removed(struct waits *waits)
{
	struct waiter *waiter;

	if (waits->question != NULL || !node_replica_status(waits->node)->removed)
		return;
	while ((waiter = queue_take(&waits->arriving)) != NULL) {
		if (waiter->request != NULL)
			answer_no_barrier(waits, waiter);
		waiter->done(waiter, false);
	}
}

static void timer_fired(uv_timer_t *timer)
{
	struct waits *waits = TABLE_ENTRY(timer, struct waits, timer);

	check_question(waits, clock_monotonic_ms());
	refuse_if_removed(waits);
	retry_if_due(waits);
	if (waits->question != NULL && waits->asked_elsewhere)
		wake_in(waits, CHECK_MS);
}

/* ---- barriers ---- */

static void question_failed(struct waits *waits)
{
	struct queue late = waits->arriving;
	struct waiter *waiter;

	waits->arriving = waits->asking;
	waits->asking = (struct queue){0};
	for (waiter = waits->arriving.first; waiter != NULL; waiter = waiter->next)
		waiter->asking = false;
	while ((waiter = queue_take(&late)) != NULL)
		queue_add(&waits->arriving, waiter);
	if (waits->arriving.first == NULL)
		return;
	waits->retrying = true;
	wake_in(waits, RETRY_MS);
}

static void question_answered(struct waits *waits, uint64_t position)
{
	struct waiter *waiter;

	while ((waiter = queue_take(&waits->asking)) != NULL)
		waiter_set_position(waits, waiter, position);
	ask(waits);
}

/* The waits that asked, NULL when they do not care any more. The question is gone. */
static struct waits *question_end(struct question *question)
{
	struct waits *waits = question->waits;

	if (waits != NULL)
		waits->question = NULL;
	memory_free(question);
	return waits;
}

static void answered_here(void *arg, uint64_t position)
{
	struct waits *waits = question_end(arg);

	if (waits == NULL)
		return;
	if (position == REPLICA_NOT_LEADER)
		question_failed(waits);
	else
		question_answered(waits, position);
}

static void answered_elsewhere(struct peer_call *call, enum peer_result result, struct span error,
			       struct span value)
{
	struct waits *waits = question_end(TABLE_ENTRY(call, struct question, call));
	uint64_t position;

	if (waits == NULL)
		return;
	if (result == PEER_ANSWERED && error.size == 0 && find_u64(value, "position", &position))
		question_answered(waits, position);
	else
		question_failed(waits);
}

static void ask_elsewhere(struct waits *waits, const struct replica_status *status)
{
	struct question *question = waits->question;
	struct buffer params;

	if (waits->leader == NULL || strcmp(waits->leader_address, status->leader_address) != 0) {
		if (waits->leader != NULL)
			peer_client_free(waits->leader);
		memcpy(waits->leader_address, status->leader_address, sizeof waits->leader_address);
		waits->leader = peer_client_new(waits->node->loop, waits->leader_address);
	}
	buffer_init(&params);
	msgpack_write_map(&params, 1);
	msgpack_write_string(&params, "timeout_ms");
	msgpack_write_u64(&params, SILENCE_MS);
	question->call.done = answered_elsewhere;
	peer_client_call(waits->leader, &question->call, "$read_barrier", buffer_span(&params));
	buffer_close(&params);
}

/* One question for all who have come so far. */
static void ask(struct waits *waits)
{
	const struct replica_status *status = node_replica_status(waits->node);
	bool here = replica_is_leader(waits->node->replica);

	if (waits->question != NULL || waits->arriving.first == NULL)
		return;
	if (!here && (status->leader_id == 0 || status->leader_address[0] == '\0' ||
		      status->leader_id == waits->node->settings.node_id)) {
		question_failed(waits);
		return;
	}
	ASSERT(waits->asking.first == NULL);
	waits->asking = waits->arriving;
	waits->arriving = (struct queue){0};
	for (struct waiter *at = waits->asking.first; at != NULL; at = at->next)
		at->asking = true;
	waits->question = memory_zeroed(1, sizeof *waits->question);
	waits->question->waits = waits;
	waits->asked_ms = clock_monotonic_ms();
	waits->asked_elsewhere = !here;
	if (here) {
		replica_read_barrier(waits->node->replica, answered_here, waits->question);
	} else {
		ask_elsewhere(waits, status);
		wake_in(waits, CHECK_MS);
	}
}

void waits_role_changed(struct waits *waits)
{
	check_question(waits, clock_monotonic_ms());
	retry_if_due(waits);
}

/* ---- public ---- */

struct waits *waits_new(struct node *node)
{
	struct waits *waits = memory_zeroed(1, sizeof *waits);
	int rc = uv_timer_init(node->loop, &waits->timer);

	ASSERT(rc == 0);
	waits->node = node;
	return waits;
}

static void timer_closed(uv_handle_t *handle)
{
	struct waits *waits = TABLE_ENTRY(handle, struct waits, timer);

	memory_free(waits->heap);
	memory_free(waits);
}

static void refuse(struct waiter *waiter)
{
	if (waiter->request != NULL)
		request_answer_error(waiter->request, ANSWER_SHUTTING_DOWN, "the node is stopping");
	waiter->done(waiter, false);
}

void waits_free(struct waits *waits)
{
	struct waiter *waiter;

	if (waits == NULL)
		return;
	if (waits->question != NULL)
		waits->question->waits = NULL;
	waits->question = NULL;
	while (waits->count > 0) {
		waiter = waits->heap[0];
		heap_remove(waits, waiter);
		refuse(waiter);
	}
	while ((waiter = queue_take(&waits->asking)) != NULL ||
	       (waiter = queue_take(&waits->arriving)) != NULL)
		refuse(waiter);
	if (waits->leader != NULL)
		peer_client_free(waits->leader);
	uv_close((uv_handle_t *)&waits->timer, timer_closed);
}

bool waits_add(struct waits *waits, struct waiter *waiter, struct consistency consistency)
{
	bool barrier = consistency.kind == CONSISTENCY_LINEARIZABLE;

	if (consistency.kind == CONSISTENCY_LOCAL ||
	    (!barrier &&
	     (MUTANT(AT_LEAST_IGNORED) || store_head(waits->node->store) >= consistency.position)))
		return true;
	waiter->asking = false;
	waiter->position = barrier ? 0 : consistency.position;
	if (!barrier) {
		heap_add(waits, waiter);
		return false;
	}
	queue_add(&waits->arriving, waiter);
	if (!waits->retrying)
		ask(waits);
	return false;
}

void waits_advance(struct waits *waits, uint64_t head)
{
	while (waits->count > 0 && waits->heap[0]->position <= head) {
		struct waiter *waiter = waits->heap[0];

		heap_remove(waits, waiter);
		waiter->done(waiter, true);
	}
}

/* ---- the leader's side ---- */

static void barrier_ready(void *arg, uint64_t position)
{
	struct request *request = arg;
	struct buffer result;

	if (position == REPLICA_NOT_LEADER) {
		request_answer_error(request, ANSWER_NOT_LEADER, "this node leads no more");
	} else {
		buffer_init(&result);
		msgpack_write_map(&result, 1);
		msgpack_write_string(&result, "position");
		msgpack_write_u64(&result, position);
		request_answer_result(request, buffer_span(&result));
		buffer_close(&result);
	}
	request_release(request);
}

void method_read_barrier(struct request *request)
{
	ASSERT(!request->answered);
	if (MUTANT(BARRIER_FORGOTTEN)) {
		barrier_ready(request, store_head(request->node->store));
		return;
	}
	if (replica_is_leader(request->node->replica)) {
		replica_read_barrier(request->node->replica, barrier_ready, request);
		return;
	}
	request_answer_error(request, ANSWER_NOT_LEADER, "this node does not lead");
	request_release(request);
}
