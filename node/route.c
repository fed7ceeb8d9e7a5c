#include "node/route.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "node/append_decode.h"
#include "node/forward.h"
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
#define DOUBT_TIMEOUTS   3u     /* of elections, that a later leader is waited for */

struct route {
	struct router *router;
	struct request *request; /* one reference */
	void (*here)(struct request *request);
	uint64_t number;            /* in order of coming */
	struct forwarding *current; /* whose answer counts; NULL while queued */
	struct forwarding *sent;    /* all that are not answered, the newest first */
	struct route *next, **link; /* in the queue */
};

/* One sending of a route to one leader. */
struct forwarding {
	struct peer_call call;
	struct route *route; /* NULL: it is answered already, by another sending */
	struct route_target *target;
	uint64_t term;                   /* in which that node leads */
	struct forwarding *earlier;      /* of the same route */
	struct forwarding *next, **link; /* of the same target, in order of sending */
};

/* A node that is the leader, as far as we know, or was it before. */
struct route_target {
	struct router *router;
	struct peer_client *client;
	char address[ADDRESS_TEXT_BYTES];
	uint64_t turn;
	uint32_t in_flight;
	struct forwarding *first, **last;
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
	uv_timer_t doubt; /* runs while a request waits for a later leader, who may not come */
	uv_timer_t backoff;
	uint32_t backoff_ms; /* 0: the last one was no refusal */
	bool pumping, stopping;
	struct buffer scratch;
};

static void pump(struct router *router);
static void on_doubt(uv_timer_t *timer);

/* ---- answers ---- */

static void answer_no_leader(struct request *request)
{
	bool removed = node_replica_status(request->node)->removed;

	if (!request_answer_if_unsure(request))
		request_answer_retry(request, ANSWER_NO_LEADER, NULL,
				     removed ? NODE_REMOVED_MESSAGE "; nothing was proposed"
					     : "the cluster has no leader at the moment; nothing "
					       "was proposed");
}

static void answer_stopping(struct request *request)
{
	if (!request_answer_if_unsure(request))
		request_answer_error(request, ANSWER_SHUTTING_DOWN,
				     "this node is stopping; nothing was proposed");
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

/* ---- turns and terms, on the side of the leader ---- */

/* It was meant for the leader of another term: its sender may have turned to a later one since. */
static bool is_of_another_term(const struct request *request)
{
	uint64_t term = forward_term_of(request);

	return term != 0 && term != replica_term(request->node->replica);
}

static void remember_refusal(struct request *request)
{
	uint64_t turn = forward_turn_of(request);

	if (turn != 0 && request->session != NULL)
		session_set_refused_turn(request->session, turn);
}

static bool is_turn_refused(const struct request *request)
{
	uint64_t turn = forward_turn_of(request);

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

/* Forget the route; its reference is the caller's now. Sendings that are not answered go on without it. */
static struct request *free_route(struct route *route)
{
	struct request *request = route->request;

	for (struct forwarding *sent = route->sent; sent != NULL; sent = sent->earlier)
		sent->route = NULL;

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

	if (route->current != NULL)
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

/* ---- what may have been proposed ---- */

static void answer_unknown(struct route *route)
{
	struct request *request = free_route(route);

	if (MUTANT(FORWARD_LOST_REFUSED))
		answer_no_leader(request);
	else
		request_answer_unknown(request);
	request_release(request);
}

/* An append that is stored once however often it is proposed. */
static bool may_be_sent_again(const struct route *route)
{
	const struct request *request = route->request;

	return !request->answered && !route->router->stopping &&
	       (request->method->flags & METHOD_BY_ID) != 0 && append_has_ids(&request->arguments);
}

/* It was sent to the leader of this term. */
static void wait_for_later_leader(struct route *route, uint64_t term)
{
	struct router *router = route->router;
	uint64_t patience_ms = DOUBT_TIMEOUTS * router->node->settings.election_timeout_ms;

	ASSERT(term > route->request->unsure_term);
	route->current = NULL;
	route->request->unsure_term = term;
	link_by_number(route);
	if (!uv_is_active((uv_handle_t *)&router->doubt))
		uv_timer_start(&router->doubt, on_doubt, patience_ms, 0);
}

/* The leader is the same all the time, or nobody leads: those behind it have waited long enough. */
static void on_doubt(uv_timer_t *timer)
{
	struct router *router = timer->data;
	uint64_t term = node_replica_status(router->node)->term;
	struct route *next;

	for (struct route *route = router->first; route != NULL; route = next) {
		next = route->next;
		if (route->request->unsure_term == 0 || route->request->unsure_term < term)
			continue;
		unlink_route(route);
		answer_unknown(route);
	}
	pump(router);
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

/*
 * A leader of a later term decides about what was sent to an earlier one, and need not be waited for: what
 * that one proposed and did not commit before, nobody ever will; what it did commit, the ids find.
 */
static void doubt_what_was_sent(struct router *router, const struct route_target *target)
{
	uint64_t term = node_replica_status(router->node)->term;

	for (struct forwarding *sent = target->first; sent != NULL; sent = sent->next)
		if (sent->route != NULL && sent->route->current == sent && sent->term < term &&
		    may_be_sent_again(sent->route))
			wait_for_later_leader(sent->route, sent->term);
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
	doubt_what_was_sent(router, target);
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
	target->last = &target->first;
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

	ASSERT(route->current == NULL);
	if (request->answered || route->router->stopping) {
		free_route(route);
		if (!request->answered)
			answer_no_leader(request);
		request_release(request);
		return;
	}
	request->maybe_proposed = request->unsure_term != 0;
	link_by_number(route);
}

/* Nobody says what became of it: the leader of a later term is asked, if it may be. */
static void doubted(struct route *route, uint64_t term)
{
	if (may_be_sent_again(route))
		wait_for_later_leader(route, term);
	else
		answer_unknown(route);
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

/* An earlier sending is not settled: only what holds for all of them is an answer. */
static void settle_doubted(struct route *route, struct span error, uint64_t term)
{
	enum forward_verdict verdict = forward_verdict_of(error);

	if (verdict == FORWARD_DECIDED)
		answered(route, error, (struct span){0});
	else if (verdict == FORWARD_UNKNOWN)
		doubted(route, term);
	else
		answer_unknown(route);
}

/* The newest sending has ended, without a result. */
static void failed(struct route *route, struct route_target *target, enum peer_result result,
		   struct span error, uint64_t term)
{
	enum forward_verdict verdict =
		result == PEER_ANSWERED ? forward_verdict_of(error) : FORWARD_UNKNOWN;

	if (result == PEER_NEVER_SENT)
		put_back(route);
	else if (verdict == FORWARD_REFUSED)
		refused(route, target);
	else if (result == PEER_UNKNOWN)
		doubted(route, term);
	else if (route->request->unsure_term != 0)
		settle_doubted(route, error, term);
	else if (verdict == FORWARD_UNKNOWN && may_be_sent_again(route))
		wait_for_later_leader(route, term);
	else
		answered(route, error, (struct span){0});
}

/* Off the lists: true: it is the one whose answer counts. */
static bool take_forwarding(struct forwarding *sent)
{
	struct route *route = sent->route;
	struct forwarding **at;
	bool current;

	*sent->link = sent->next;
	if (sent->next != NULL)
		sent->next->link = sent->link;
	else
		sent->target->last = sent->link;
	if (route == NULL)
		return false;
	for (at = &route->sent; *at != sent; at = &(*at)->earlier)
		;
	*at = sent->earlier;
	current = route->current == sent;
	if (current)
		route->current = NULL;
	return current;
}

static void on_call_done(struct peer_call *call, enum peer_result result, struct span error,
			 struct span value)
{
	struct forwarding *sent = (struct forwarding *)call; /* its first member */
	struct route_target *target = sent->target;
	struct router *router = target->router;
	struct route *route = sent->route;
	uint64_t term = sent->term;
	bool current = take_forwarding(sent);

	ASSERT(target->in_flight > 0);
	target->in_flight--;
	memory_free(sent);
	if (result != PEER_ANSWERED && target == router->target)
		target->refusing = true; /* the connection failed: pause */
	if (route != NULL && result == PEER_ANSWERED && error.size == 0) {
		router->backoff_ms = 0;
		answered(route, error, value);
	} else if (current) {
		failed(route, target, result, error, term);
	}
	end_turn(router, target);
}

static struct forwarding *forwarding_new(struct route_target *target, struct route *route,
					 uint64_t term)
{
	struct forwarding *sent = memory_zeroed(1, sizeof *sent);

	sent->call.done = on_call_done;
	sent->route = route;
	sent->target = target;
	sent->term = term;
	sent->earlier = route->sent;
	route->sent = route->current = sent;
	sent->link = target->last;
	*target->last = sent;
	target->last = &sent->next;
	target->in_flight++;
	return sent;
}

static void send_on(struct route_target *target, struct route *route, uint64_t term)
{
	struct router *router = route->router;

	ASSERT(route->current == NULL && route->request->unsure_term < term);
	unlink_route(route);
	route->request->maybe_proposed = true;
	forward_write(&router->scratch, route->request, target->turn, term);
	router->node->counters->forwarded++;
	router->node->counters->forwarded_again += route->request->unsure_term != 0;
	peer_client_call(target->client, &forwarding_new(target, route, term)->call,
			 route->request->method->name, buffer_span(&router->scratch));
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

	/* One that may have been proposed in this term holds up those behind it: order. */
	while (router->first != NULL && !target->refusing &&
	       router->first->request->unsure_term < status->term)
		send_on(target, router->first, status->term);
}

static void end_all(struct router *router, void (*answer)(struct request *request))
{
	while (router->first != NULL) {
		struct route *route = router->first;

		unlink_route(route);
		struct request *request = free_route(route);

		answer(request);
		request_release(request);
	}
}

/* Send on what waits, as far as somebody leads. */
static void pump(struct router *router)
{
	if (router->pumping || router->stopping || router->first == NULL ||
	    uv_is_active((uv_handle_t *)&router->backoff))
		return;
	router->pumping = true;
	if (node_replica_status(router->node)->removed) /* nobody will ever lead it */
		end_all(router, answer_no_leader);
	else if (replica_is_leader(router->node->replica))
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
	uv_timer_init(node->loop, &router->doubt);
	router->doubt.data = router;
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

static void on_doubt_closed(uv_handle_t *handle)
{
	struct router *router = handle->data;

	uv_close((uv_handle_t *)&router->backoff, on_router_closed);
}

void router_free(struct router *router)
{
	router->stopping = true;
	if (router->target != NULL)
		close_target(router->target);
	router->target = NULL;
	while (router->retired != NULL)
		close_target(router->retired);
	end_all(router, answer_stopping);
	ASSERT(router->bytes == 0);
	uv_close((uv_handle_t *)&router->doubt, on_doubt_closed);
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
		answer_stopping(request);
		request_release(request);
	} else if (router->bytes + forwarded > LIMIT_PROPOSE_QUEUE_BYTES) {
		if (!request_answer_if_unsure(request))
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

	if (!request->forward &&
	    (!leads || is_turn_refused(request) || is_of_another_term(request))) {
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
