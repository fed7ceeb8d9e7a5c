#include "client/client.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/mutant.h"
#include <stdio.h>

#define BACKOFF_MS_FIRST   10u
#define BACKOFF_MS_MAX     400u
#define RETRY_AFTER_MS_MAX 2000u
#define ATTEMPT_MS_MIN     1000       /* shorter deadlines are not divided among attempts */
#define REQUEST_KEPT_BYTES (64 * KIB) /* a free call keeps no larger buffer */

struct waiter {
	bool done;
	enum annal_code code;
	struct buffer *answer;
	struct span result; /* in it */
};

struct call *call_new(struct annal_client *client)
{
	if (client->closing) {
		client_fail(client, ANNAL_MISUSE, "the client is being freed");
		return NULL;
	}
	if (client->free_count == 0) {
		client_fail(client, ANNAL_MISUSE,
			    "%u calls are in flight: call annal_poll() until some are done",
			    CLIENT_CALLS_MAX);
		return NULL;
	}
	uint32_t slot = client->free_slots[--client->free_count];
	struct call *call = client->calls[slot];

	if (call == NULL) {
		call = memory_zeroed(1, sizeof *call);
		wire_request_init(&call->request);
		call->slot = slot;
		call->msgid = slot;
		client->calls[slot] = call;
	}
	call->node = NULL;
	call->attempts = 0;
	call->maybe_happened = false;
	call->last_code = ANNAL_OK;
	call->done = NULL;
	call->append_done = NULL;
	call->read_done = NULL;
	call->backup_done = NULL;
	call->once = false;
	call->has_ids = false;
	call->events = 0;
	call->one_write = false;
	return call;
}

static struct call *new_blocking(struct annal_client *client, enum call_route route,
				 bool idempotent, bool writes)
{
	struct call *call = call_may_block(client) ? call_new(client) : NULL;

	if (call == NULL)
		return NULL;
	call->route = route;
	call->idempotent = idempotent;
	call->writes = writes;
	return call;
}

struct call *call_new_read(struct annal_client *client)
{
	return new_blocking(client, CALL_ROUTE_READ, true, false);
}

struct call *call_new_write(struct annal_client *client, bool idempotent)
{
	return new_blocking(client, CALL_ROUTE_LEADER, idempotent, true);
}

static void recycle(struct annal_client *client, struct call *call)
{
	ASSERT(client->free_count < CLIENT_CALLS_MAX && client->calls[call->slot] == call);
	if (call->request.bytes.capacity > REQUEST_KEPT_BYTES)
		wire_request_close(&call->request);
	call->done = NULL;
	client->free_slots[client->free_count++] = call->slot;
}

void call_abandon(struct annal_client *client, struct call *call)
{
	ASSERT(call->done == NULL && call->node == NULL);
	recycle(client, call);
}

size_t call_count(const struct annal_client *client)
{
	return CLIENT_CALLS_MAX - client->free_count;
}

void call_start(struct annal_client *client, struct call *call, uint32_t timeout_ms)
{
	ASSERT(call->done != NULL && call->node == NULL);
	call->timeout_ms = timeout_ms > 0 ? timeout_ms : client->options.timeout_ms;
	/* A callback starts calls within a turn: its clock is fresh enough. */
	if (!client->calling_back)
		client->now_ms = clock_monotonic_ms();
	call->deadline_ms = client->now_ms + call->timeout_ms;
	call->due_ms = client->now_ms;
	if (call->deadline_ms < client->deadline_ms)
		client->deadline_ms = call->deadline_ms;
	TAILQ_INSERT_TAIL(&client->waiting, call, entry);
}

static void leave_list(struct annal_client *client, struct call *call)
{
	if (call->node != NULL)
		TAILQ_REMOVE(&call->node->in_flight, call, entry);
	else
		TAILQ_REMOVE(&client->waiting, call, entry);
	call->node = NULL;
}

static void finish(struct annal_client *client, struct call *call, enum annal_code code,
		   struct span result)
{
	bool outer = client->calling_back;
	call_done *done = call->done;

	leave_list(client, call);
	recycle(client, call); /* so that the callback finds room for another */
	client->calling_back = true;
	client->callbacks++;
	done(client, call, code, result);
	client->calling_back = outer;
}

void call_fail(struct annal_client *client, struct call *call)
{
	struct annal_error *error = &client->answer_error.public;

	ASSERT(error->code != ANNAL_OK);
	if (call->maybe_happened)
		error->outcome_unknown = true;
	finish(client, call, error->code, (struct span){0});
}

/* ---- sending ---- */

/* Leave time for another attempt, and for the answer to come back before the deadline. */
static uint32_t attempt_timeout_ms(const struct annal_client *client, const struct call *call)
{
	int64_t left = call->deadline_ms - client->now_ms;

	if (call->idempotent && left > ATTEMPT_MS_MIN)
		return (uint32_t)(left / 2);
	left -= left / 10 < 50 ? left / 10 : 50;
	return left > 0 ? (uint32_t)left : 1;
}

static void send_call(struct annal_client *client, struct call *call, struct node *node,
		      bool forward)
{
	/* A new id for each attempt: a late answer to an earlier one is nobody's. */
	call->msgid += CLIENT_CALLS_MAX;
	if (call->msgid >= CLIENT_MSGID_CALLS)
		call->msgid = call->slot;
	wire_request_patch(&call->request, call->msgid, attempt_timeout_ms(client, call), forward);
	TAILQ_REMOVE(&client->waiting, call, entry);
	if (TAILQ_EMPTY(&node->in_flight))
		node->busy_ms = client->now_ms;
	TAILQ_INSERT_TAIL(&node->in_flight, call, entry);
	call->node = node;
	call->attempts++;
	link_write(&node->link, buffer_span(&call->request.bytes));
}

void call_dispatch(struct annal_client *client)
{
	struct call *next;

	for (struct call *call = TAILQ_FIRST(&client->waiting); call != NULL; call = next) {
		bool forward;

		next = TAILQ_NEXT(call, entry);
		if (call->due_ms > client->now_ms)
			continue;
		struct node *node = node_pick(client, call, &forward);

		if (node != NULL && node->greeted)
			send_call(client, call, node, forward);
	}
}

/* ---- trying again ---- */

static void wait_again(struct annal_client *client, struct call *call, uint64_t at_least_ms)
{
	uint32_t doublings = call->attempts < 6 ? call->attempts : 6;
	uint64_t delay = (BACKOFF_MS_FIRST << doublings) / 2;

	delay = delay < BACKOFF_MS_MAX ? delay : BACKOFF_MS_MAX;
	if (at_least_ms > RETRY_AFTER_MS_MAX)
		at_least_ms = RETRY_AFTER_MS_MAX;
	delay = delay > at_least_ms ? delay : at_least_ms;
	leave_list(client, call);
	call->due_ms = client->now_ms + (int64_t)delay + client->jitter_ms;
	TAILQ_INSERT_TAIL(&client->waiting, call, entry);
}

/* Whether the error says that trying again is safe for any call, or for one that may be repeated.
 */
static bool may_try_again(const struct call *call, const struct annal_error *error)
{
	switch (error->code) {
	case ANNAL_NO_LEADER:
	case ANNAL_NOT_LEADER:
	case ANNAL_SHUTTING_DOWN:
	case ANNAL_NOT_READY:
		return true;
	case ANNAL_OVERLOADED:
		return !call->once;
	case ANNAL_TIMEOUT:
		return call->idempotent || !error->outcome_unknown;
	default:
		return false;
	}
}

static void remember_reason(struct annal_client *client, struct call *call, enum annal_code code,
			    const char *node, const char *message)
{
	call->last_code = code;
	snprintf(client->retry_reason, sizeof client->retry_reason, "%s: %.400s", node, message);
}

/* What the refusal teaches about where to go next. */
static uint64_t learn_from_refusal(struct annal_client *client, struct node *node)
{
	const struct annal_error *error = &client->answer_error.public;

	switch (error->code) {
	case ANNAL_NOT_LEADER:
		if (client->leader == node)
			client->leader = NULL;
		node_learn_leader(client, error->leader);
		if (client->leader == NULL)
			node_prefer_another(client, node);
		break;
	case ANNAL_NO_LEADER:
	case ANNAL_TIMEOUT:
	case ANNAL_SHUTTING_DOWN:
		if (client->leader == node)
			client->leader = NULL;
		node_prefer_another(client, node);
		break;
	case ANNAL_NOT_READY:
		node_prefer_another(client, node);
		break;
	default:
		break;
	}
	return error->retry_after_ms;
}

static void refused(struct annal_client *client, struct call *call)
{
	const struct annal_error *error = &client->answer_error.public;
	struct node *node = call->node;

	if (error->code == ANNAL_TIMEOUT && error->outcome_unknown && call->writes)
		call->maybe_happened = true;
	uint64_t delay = learn_from_refusal(client, node);

	if (!may_try_again(call, error)) {
		/* Refused for good: an earlier attempt would have been found by its ids. */
		if (error->code != ANNAL_TIMEOUT && call->has_ids)
			call->maybe_happened = false;
		call_fail(client, call);
		return;
	}
	remember_reason(client, call, error->code, node->text, error->message);
	bool elsewhere = error->code == ANNAL_NOT_LEADER && client->leader != NULL &&
			 client->leader != node && node_usable(client, client->leader) &&
			 call->attempts <= client->nodes_count;

	wait_again(client, call, delay);
	if (elsewhere)
		call->due_ms = client->now_ms;
}

void call_lost(struct annal_client *client, struct call *call, const char *problem)
{
	struct node *node = call->node;

	ASSERT(node != NULL);
	if (call->writes && !MUTANT(LOST_IS_CERTAIN))
		call->maybe_happened = true;
	if (call->idempotent) {
		remember_reason(client, call, ANNAL_UNREACHABLE, node->text, problem);
		wait_again(client, call, 0);
		return;
	}
	decode_error_set(&client->answer_error, ANNAL_UNREACHABLE,
			 "%s: %s: it is not known whether it was done", node->text, problem);
	call_fail(client, call);
}

/* ---- ends ---- */

void call_answer(struct annal_client *client, struct node *node,
		 const struct decode_message *message)
{
	struct call *call = client->calls[message->msgid % CLIENT_CALLS_MAX];

	if (call == NULL || call->node != node ||
	    (call->msgid != message->msgid && !MUTANT(LATE_ANSWER)))
		return; /* the call has reached its deadline before */
	if (!message->failed) {
		client->answering = node;
		finish(client, call, ANNAL_OK, message->body);
		client->answering = NULL;
	} else if (decode_error(message->body, &client->answer_error)) {
		refused(client, call);
	} else {
		decode_error_set(&client->answer_error, ANNAL_BAD_ANSWER,
				 "%s answered with an error that has no code", node->text);
		call_fail(client, call);
	}
}

static void expire(struct annal_client *client, struct call *call)
{
	struct decode_error *error = &client->answer_error;
	char problems[400];

	if (call->node != NULL && call->writes && !MUTANT(EXPIRED_IS_CERTAIN))
		call->maybe_happened = true;
	if (call->node != NULL) {
		decode_error_set(error, ANNAL_TIMEOUT, "no answer from %s within %u ms",
				 call->node->text, call->timeout_ms);
	} else if (call->maybe_happened) {
		decode_error_set(error, ANNAL_TIMEOUT,
				 "not confirmed within %u ms, it may still happen; last: %.380s",
				 call->timeout_ms, client->retry_reason);
	} else if (call->last_code == ANNAL_NOT_LEADER) {
		decode_error_set(error, ANNAL_NO_LEADER,
				 "no leader was found (tried %u times in %u ms); last: %.340s",
				 call->attempts, call->timeout_ms, client->retry_reason);
	} else if (call->last_code != ANNAL_OK) {
		decode_error_set(error, call->last_code, "%.380s (tried %u times in %u ms)",
				 client->retry_reason, call->attempts, call->timeout_ms);
	} else {
		node_describe_problems(client, problems, sizeof problems);
		decode_error_set(error, ANNAL_UNREACHABLE, "no node answered within %u ms: %s",
				 call->timeout_ms, problems);
	}
	call_fail(client, call);
}

void call_expire(struct annal_client *client)
{
	if (client->now_ms < client->deadline_ms)
		return;
	client->deadline_ms = INT64_MAX; /* callbacks may start calls meanwhile */
	for (uint32_t slot = 0; slot < CLIENT_CALLS_MAX && client->calls[slot] != NULL; slot++) {
		struct call *call = client->calls[slot];

		if (call->done == NULL)
			continue;
		if (call->deadline_ms <= client->now_ms &&
		    !(MUTANT(DEADLINE_IGNORED) && call->node != NULL))
			expire(client, call);
		else if (call->deadline_ms < client->deadline_ms)
			client->deadline_ms = call->deadline_ms;
	}
}

/* ---- blocking ---- */

bool call_may_block(struct annal_client *client)
{
	if (!client->calling_back)
		return true;
	client_fail(client, ANNAL_MISUSE,
		    "a blocking function was called from a callback: use an asynchronous one");
	return false;
}

static void wake_waiter(struct annal_client *client, struct call *call, enum annal_code code,
			struct span result)
{
	struct waiter *waiter = call->arg;

	waiter->done = true;
	waiter->code = code;
	if (code == ANNAL_OK) {
		waiter->result = result;
		call_keep_answer(client, &waiter->result, waiter->answer);
	} else {
		struct decode_error error = client->error;

		client->error = client->answer_error;
		client->answer_error = error;
	}
}

void call_keep_answer(struct annal_client *client, struct span *result, struct buffer *into)
{
	ASSERT(client->answering != NULL);
	link_keep(&client->answering->link, result, into);
}

enum annal_code call_run(struct annal_client *client, struct call *call, uint32_t timeout_ms,
			 struct span *result)
{
	enum annal_code code = call_run_into(client, call, timeout_ms, &client->answer, result);

	/* Others take the buffer, and expect the result at its beginning. */
	if (code == ANNAL_OK && result->data != client->answer.data) {
		buffer_consume(&client->answer, (size_t)(result->data - client->answer.data));
		client->answer.size = result->size;
		*result = buffer_span(&client->answer);
	}
	return code;
}

enum annal_code call_run_into(struct annal_client *client, struct call *call, uint32_t timeout_ms,
			      struct buffer *answer, struct span *result)
{
	struct waiter waiter = {.answer = answer};

	ASSERT(!client->calling_back);
	call->done = wake_waiter;
	call->arg = &waiter;
	call_start(client, call, timeout_ms);
	while (!waiter.done)
		client_turn(client, LIMIT_TIMEOUT_MS_DEFAULT);
	*result = waiter.result;
	return waiter.code;
}

enum annal_code call_run_write(struct annal_client *client, struct call *call, const char *method)
{
	uint64_t position = 0;
	struct span answer;
	const struct decode_field fields[] = {{"log_position", DECODE_U64, &position}};
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!DECODE_FIELDS(answer, fields))
		return call_bad_answer(client, method);
	client_observe(client, position); /* reads see it, whichever node answers */
	return ANNAL_OK;
}

enum annal_code call_bad_answer(struct annal_client *client, const char *method)
{
	return client_fail(client, ANNAL_BAD_ANSWER, "the answer to %s is not as specified",
			   method);
}
