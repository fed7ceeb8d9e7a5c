#include "node/route.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/peer_client.h"
#include "node/session.h"
#include "node/stats.h"
#include <uv.h>

#define RETRY_AFTER_MS   100u /* told to clients */
#define BACKOFF_MS_FIRST 5u
#define BACKOFF_MS_MAX   200u
#define RETIRED_MS       10000u /* an old leader may take so long for what was sent to it */
#define FORWARD_BYTES    128u   /* the added pairs, at most */

struct route {
	struct peer_call call;
	struct router *router;
	struct request *request; /* one reference */
	void (*here)(struct request *request);
	uint64_t number;             /* in order of coming */
	struct route_target *target; /* sent there; NULL while queued */
	struct route *next, **link;  /* in the queue */
};

/* A node that is the leader, as far as we know, or was it before. */
struct route_target {
	struct router *router;
	struct peer_client *client;
	char address[ADDRESS_TEXT_BYTES];
	uint64_t turn;
	uint32_t in_flight;
	bool refusing; /* one of this turn was refused: nothing more is sent in it */
	struct route_target *next, **link; /* among the retired */
	uv_timer_t timer;                  /* of a retired one */
};

struct router {
	struct node *node;
	struct route *first;
	struct route **last;
	uint64_t next_number;
	uint64_t next_turn;
	uint64_t bytes;              /* params of all that are queued or sent */
	struct route_target *target; /* NULL: none yet */
	struct route_target *retired;
	uv_timer_t backoff;
	uint32_t backoff_ms; /* 0: the last one was no refusal */
	bool pumping, stopping;
	struct buffer scratch;
};

static void pump(struct router *router);

/* ---- answers ---- */

static void answer_no_leader(struct request *request)
{
	request_answer_retry(request, ANSWER_NO_LEADER, NULL,
			     "the cluster has no leader at the moment; nothing was proposed");
}

static void answer_not_leader(struct request *request)
{
	const struct replica_status *status = node_replica_status(request->node);
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 2, ANSWER_NOT_LEADER, "this node is not the leader");
	msgpack_write_string(&error, "leader_id");
	if (status->leader_id != 0)
		msgpack_write_u64(&error, status->leader_id);
	else
		msgpack_write_nil(&error);
	msgpack_write_string(&error, "leader");
	if (status->leader_id != 0 && status->leader_address[0] != '\0')
		msgpack_write_string(&error, status->leader_address);
	else
		msgpack_write_nil(&error);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

/* ---- turns, on the side of the leader ---- */

/* 0: the request belongs to none. */
static uint64_t turn_of(const struct request *request)
{
	uint64_t turn = 0;
	struct span raw;

	if (arguments_find(&request->arguments, "forward_turn", &raw)) {
		struct msgpack_reader reader = msgpack_reader_of(raw);

		(void)msgpack_read_u64(&reader, &turn);
	}
	return turn;
}

static void remember_refusal(struct request *request)
{
	uint64_t turn = turn_of(request);

	if (turn != 0 && request->session != NULL)
		session_set_refused_turn(request->session, turn);
}

static bool is_turn_refused(const struct request *request)
{
	uint64_t turn = turn_of(request);

	return turn != 0 && session_refused_turn(request->session) == turn;
}

void route_answer_no_leader(struct request *request)
{
	remember_refusal(request);
	if (!request->answered)
		answer_no_leader(request);
}

/* ---- the queue ---- */

static void unlink_route(struct route *route)
{
	struct router *router = route->router;

	ASSERT(route->link != NULL);
	*route->link = route->next;
	if (route->next != NULL)
		route->next->link = route->link;
	else
		router->last = route->link;
	route->next = NULL;
	route->link = NULL;
}

static void link_last(struct route *route)
{
	struct router *router = route->router;

	ASSERT(route->link == NULL);
	route->next = NULL;
	route->link = router->last;
	*router->last = route;
	router->last = &route->next;
}

/* Where it was before: those that come back are older than those that wait. */
static void link_by_number(struct route *route)
{
	struct router *router = route->router;
	struct route **link = &router->first;

	while (*link != NULL && (*link)->number < route->number)
		link = &(*link)->next;
	if (*link == NULL) {
		link_last(route);
		return;
	}
	route->next = *link;
	route->link = link;
	route->next->link = &route->next;
	*link = route;
}

/* Forget the route; its reference is the caller's now. */
static struct request *free_route(struct route *route)
{
	struct request *request = route->request;

	ASSERT(route->link == NULL && route->router->bytes >= request->params.size);
	route->router->bytes -= request->params.size;
	request->ended = NULL;
	request->handler = NULL;
	memory_free(route);
	return request;
}

/* Its deadline has come, or its session has gone. What was sent is waited for. */
static void on_request_ended(struct request *request)
{
	struct route *route = request->handler;

	if (route->target != NULL)
		return;
	unlink_route(route);
	free_route(route);
	if (!request->answered)
		answer_no_leader(request);
	request_release(request);
}

static struct route *new_route(struct router *router, struct request *request,
			       void (*here)(struct request *request))
{
	struct route *route = memory_zeroed(1, sizeof *route);

	ASSERT(request->ended == NULL && request->handler == NULL);
	route->router = router;
	route->request = request;
	route->here = here;
	route->number = ++router->next_number;
	router->bytes += request->params.size;
	request->handler = route;
	request->ended = on_request_ended;
	return route;
}

/* ---- targets ---- */

static void on_target_closed(uv_handle_t *handle)
{
	memory_free(handle->data);
}

static void close_target(struct route_target *target)
{
	if (target->link != NULL) {
		*target->link = target->next;
		if (target->next != NULL)
			target->next->link = target->link;
	}
	target->link = NULL;
	/* Every call ends here, and finds the target still there. */
	peer_client_free(target->client);
	ASSERT(target->in_flight == 0);
	uv_close((uv_handle_t *)&target->timer, on_target_closed);
}

static void on_retired_long_enough(uv_timer_t *timer)
{
	close_target(timer->data);
}

/* Another node leads: what was not sent comes back to the queue. */
static void retire_target(struct router *router)
{
	struct route_target *target = router->target;

	router->target = NULL;
	target->next = router->retired;
	target->link = &router->retired;
	if (target->next != NULL)
		target->next->link = &target->next;
	router->retired = target;
	peer_client_retire(target->client);
	/* Also for one without calls: it might be retired from within one of its callbacks. */
	uv_timer_start(&target->timer, on_retired_long_enough,
		       target->in_flight > 0 ? RETIRED_MS : 0, 0);
}

static struct route_target *target_for(struct router *router, const char *address)
{
	struct route_target *target = router->target;

	if (target != NULL && strcmp(target->address, address) == 0)
		return target;
	if (target != NULL)
		retire_target(router);
	target = memory_zeroed(1, sizeof *target);
	target->router = router;
	target->turn = ++router->next_turn;
	target->client = peer_client_new(router->node->loop, address);
	snprintf(target->address, sizeof target->address, "%s", address);
	uv_timer_init(router->node->loop, &target->timer);
	target->timer.data = target;
	router->target = target;
	router->backoff_ms = 0;
	uv_timer_stop(&router->backoff);
	return target;
}

/* ---- sending and answers ---- */

/* A refusal that says that nothing was proposed, since the node does not lead. */
static bool is_refusal(struct span error)
{
	struct msgpack_reader reader = msgpack_reader_of(error);
	uint32_t pairs;
	struct span name, code;

	if (!msgpack_read_map(&reader, &pairs))
		return false;
	for (uint32_t i = 0; i < pairs; i++) {
		if (!msgpack_read_str(&reader, &name))
			return false;
		if (!span_equal_string(name, "code")) {
			if (!msgpack_read_skip(&reader))
				return false;
			continue;
		}
		return msgpack_read_str(&reader, &code) &&
		       (span_equal_string(code, answer_name(ANSWER_NOT_LEADER)) ||
			span_equal_string(code, answer_name(ANSWER_NO_LEADER)) ||
			span_equal_string(code, answer_name(ANSWER_SHUTTING_DOWN)));
	}
	return false;
}

static void on_backoff(uv_timer_t *timer)
{
	pump(timer->data);
}

static void back_off(struct router *router)
{
	uint32_t next = router->backoff_ms == 0 ? BACKOFF_MS_FIRST : 2 * router->backoff_ms;

	router->backoff_ms = next < BACKOFF_MS_MAX ? next : BACKOFF_MS_MAX;
	uv_timer_start(&router->backoff, on_backoff, router->backoff_ms, 0);
}

/* Back into the queue, unless nobody waits any more. */
static void put_back(struct route *route)
{
	struct request *request = route->request;

	ASSERT(route->target == NULL);
	if (request->answered || route->router->stopping) {
		free_route(route);
		if (!request->answered)
			answer_no_leader(request);
		request_release(request);
		return;
	}
	request->maybe_proposed = false;
	link_by_number(route);
}

static void refused(struct route *route, struct route_target *target)
{
	struct router *router = route->router;
	struct request *request = route->request;

	if (target == router->target) {
		target->refusing = true;
		put_back(route);
		return;
	}
	/* What came behind it may have been sent to the new leader already: only order forbids it. */
	if ((request->method->flags & METHOD_UNORDERED) != 0) {
		put_back(route);
		pump(router);
		return;
	}
	free_route(route);
	if (!request->answered)
		answer_no_leader(request);
	request_release(request);
}

/* What the request has written, so that later reads of its connection wait for it. */
static void note_own_position(const struct request *request, struct span result)
{
	struct arguments fields;
	struct span raw;
	uint64_t position;

	if (request->session == NULL || !arguments_index(&fields, result) ||
	    (!arguments_find(&fields, "log_position", &raw) &&
	     !arguments_find(&fields, "position", &raw)))
		return;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (msgpack_read_u64(&reader, &position))
		session_note_own_position(request->session, position);
}

static void answered(struct route *route, struct span error, struct span value)
{
	static const uint8_t empty_map[] = {0x80};
	struct request *request = free_route(route);

	if (error.size > 0) {
		request_answer_error_map(request, error);
	} else {
		note_own_position(request, value);
		if (request->method->flags & METHOD_EMPTY)
			value = span_of(empty_map, sizeof empty_map);
		request_answer_result(request, value);
	}
	request_release(request);
}

/* All of a turn are answered: the next one begins after a pause. */
static void end_turn(struct router *router, struct route_target *target)
{
	if (target != router->target || !target->refusing || target->in_flight > 0)
		return;
	target->refusing = false;
	target->turn = ++router->next_turn;
	back_off(router);
}

static void on_call_done(struct peer_call *call, enum peer_result result, struct span error,
			 struct span value)
{
	struct route *route = (struct route *)call; /* its first member */
	struct route_target *target = route->target;
	struct router *router = route->router;

	ASSERT(target != NULL && target->in_flight > 0);
	target->in_flight--;
	route->target = NULL;
	if (result == PEER_NEVER_SENT) {
		if (target == router->target)
			target->refusing = true; /* the connection failed: pause */
		put_back(route);
	} else if (result == PEER_UNKNOWN) {
		struct request *request = free_route(route);

		request_answer_unknown(request);
		request_release(request);
	} else if (error.size > 0 && is_refusal(error)) {
		refused(route, target);
	} else {
		router->backoff_ms = 0;
		answered(route, error, value);
	}
	end_turn(router, target);
}

/* The params with what the other node has to know behind them: of a name given twice the last counts. */
static void write_forwarded(struct buffer *into, const struct request *request, uint64_t turn)
{
	struct msgpack_reader reader = msgpack_reader_of(request->params);
	int64_t left_ms = request_left_ms(request);
	uint32_t pairs;
	bool is_map = msgpack_read_map(&reader, &pairs);

	ASSERT(is_map);
	buffer_clear(into);
	msgpack_write_map(into, pairs + ARGUMENTS_FORWARD_PAIRS);
	buffer_append(into, reader.at, (size_t)(reader.end - reader.at));
	msgpack_write_string(into, "forward");
	msgpack_write_bool(into, false);
	msgpack_write_string(into, "timeout_ms");
	msgpack_write_u64(into, left_ms > 0 ? (uint64_t)left_ms : 1);
	msgpack_write_string(into, "forward_turn");
	msgpack_write_u64(into, turn);
}

static void send_on(struct route_target *target, struct route *route)
{
	struct router *router = route->router;

	unlink_route(route);
	route->target = target;
	route->call.done = on_call_done;
	route->request->maybe_proposed = true;
	target->in_flight++;
	write_forwarded(&router->scratch, route->request, target->turn);
	router->node->counters->forwarded++;
	peer_client_call(target->client, &route->call, route->request->method->name,
			 buffer_span(&router->scratch));
}

/* Those that come back meanwhile wait for the next time. */
static void pump_here(struct router *router)
{
	uint64_t until = router->next_number;

	while (router->first != NULL && router->first->number <= until &&
	       replica_is_leader(router->node->replica)) {
		struct route *route = router->first;
		void (*here)(struct request *) = route->here;

		unlink_route(route);
		here(free_route(route));
	}
}

static void pump_there(struct router *router)
{
	const struct replica_status *status = node_replica_status(router->node);

	if (status->leader_id == 0 || status->leader_address[0] == '\0' ||
	    status->leader_id == router->node->settings.node_id)
		return;
	struct route_target *target = target_for(router, status->leader_address);

	while (router->first != NULL && !target->refusing)
		send_on(target, router->first);
}

/* Send on what waits, as far as somebody leads. */
static void pump(struct router *router)
{
	if (router->pumping || router->stopping || router->first == NULL ||
	    uv_is_active((uv_handle_t *)&router->backoff))
		return;
	router->pumping = true;
	if (replica_is_leader(router->node->replica))
		pump_here(router);
	else
		pump_there(router);
	router->pumping = false;
}

/* ---- doors ---- */

struct router *router_new(struct node *node)
{
	struct router *router = memory_zeroed(1, sizeof *router);

	router->node = node;
	router->last = &router->first;
	buffer_init(&router->scratch);
	uv_timer_init(node->loop, &router->backoff);
	router->backoff.data = router;
	return router;
}

static void on_router_closed(uv_handle_t *handle)
{
	struct router *router = handle->data;

	buffer_close(&router->scratch);
	memory_free(router);
}

void router_free(struct router *router)
{
	router->stopping = true;
	if (router->target != NULL)
		close_target(router->target);
	router->target = NULL;
	while (router->retired != NULL)
		close_target(router->retired);
	while (router->first != NULL) {
		struct route *route = router->first;

		unlink_route(route);
		struct request *request = free_route(route);

		request_answer_error(request, ANSWER_SHUTTING_DOWN,
				     "this node is stopping; nothing was proposed");
		request_release(request);
	}
	ASSERT(router->bytes == 0);
	uv_close((uv_handle_t *)&router->backoff, on_router_closed);
}

void router_changed(struct router *router)
{
	const struct replica_status *status = node_replica_status(router->node);

	if (router->target != NULL && status->leader_id != 0 && status->leader_address[0] != '\0' &&
	    strcmp(status->leader_address, router->target->address) != 0)
		retire_target(router);
	uv_timer_stop(&router->backoff);
	pump(router);
}

static void enqueue(struct request *request, void (*here)(struct request *request))
{
	struct router *router = request->node->router;
	size_t forwarded = request->params.size + FORWARD_BYTES;
	uint64_t max_message = request->node->settings.max_message;

	if (router->stopping) {
		request_answer_error(request, ANSWER_SHUTTING_DOWN,
				     "this node is stopping; nothing was proposed");
		request_release(request);
	} else if (router->bytes + forwarded > LIMIT_PROPOSE_QUEUE_BYTES) {
		request_answer_retry(request, ANSWER_OVERLOADED, "forward",
				     "too much waits to be sent on to the leader");
		request_release(request);
	} else if (forwarded > max_message) {
		request_answer_too_large(request, max_message, forwarded,
					 "the request is too large to be sent on to the leader");
		request_release(request);
	} else {
		link_last(new_route(router, request, here));
	}
}

void route_to_leader(struct request *request, void (*here)(struct request *request))
{
	struct router *router = request->node->router;
	bool leads = replica_is_leader(request->node->replica);

	if (!request->forward && (!leads || is_turn_refused(request))) {
		remember_refusal(request);
		answer_not_leader(request);
		request_release(request);
	} else if (leads && (router->first == NULL || !request->forward)) {
		here(request);
	} else {
		enqueue(request, here);
		pump(router);
	}
}

void route_again(struct request *request, void (*here)(struct request *request))
{
	struct router *router = request->node->router;

	if (request->forward) {
		enqueue(request, here);
		if (!router->stopping)
			back_off(router);
		return;
	}
	remember_refusal(request);
	answer_not_leader(request);
	request_release(request);
}
