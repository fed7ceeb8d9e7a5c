#include "node/subscribe.h"
#include "base/assert.h"
#include "node/read.h"
#include "node/request.h"
#include "node/subscription.h"

#include <stdio.h>

/* ---- subscribe ---- */

struct subscribe_arguments {
	struct span stream; /* empty: the query */
	struct query query;
	uint64_t after;
	bool end;
	bool system;
	bool windowed;
	uint64_t window;
	uint64_t batch;
};

static bool get_what(struct request *request, struct subscribe_arguments *arguments)
{
	struct span stream = {0};
	bool query = false;

	if (!query_from_request(request, &arguments->query, &query) ||
	    !request_arg_raw(request, "stream", &stream) ||
	    !request_arg_bool(request, "system", &arguments->system))
		return false;
	if (query && stream.size > 0) {
		request_answer_invalid(request, "query",
				       "give a stream or a query, not both of them");
		return false;
	}
	if (query)
		return true;
	if (stream.size == 0) {
		request_answer_invalid(request, "stream", "a stream or a query is missing");
		return false;
	}
	return request_arg_stream(request, &arguments->stream);
}

static bool get_after(struct request *request, struct subscribe_arguments *arguments)
{
	struct span raw = {0}, text;

	if (!request_arg_raw(request, "after", &raw))
		return false;
	struct msgpack_reader reader = msgpack_reader_of(raw);
	if (raw.size == 0 ||
	    (msgpack_read_u64(&reader, &arguments->after) && arguments->after < UINT64_MAX))
		return true;
	reader = msgpack_reader_of(raw);
	arguments->end = msgpack_read_str(&reader, &text) && span_equal_string(text, "end");
	if (!arguments->end)
		request_answer_invalid(request, "after",
				       "it must be the %s already seen (0: none), or \"end\"",
				       arguments->stream.size > 0 ? "version" : "position");
	return arguments->end;
}

static bool get_flow(struct request *request, struct subscribe_arguments *arguments)
{
	struct span window = {0};

	arguments->batch = LIMIT_SUBSCRIPTION_BATCH_DEFAULT;
	if (!request_arg_u64(request, "batch", 1, LIMIT_SUBSCRIPTION_BATCH, &arguments->batch) ||
	    !request_arg_raw(request, "window", &window))
		return false;
	if (window.size == 0)
		return true;
	arguments->windowed = true;
	return request_arg_u64(request, "window", 0, UINT64_MAX, &arguments->window);
}

static bool has_room(struct request *request)
{
	const struct subscription *other = *session_subscriptions(request->session);

	if (other == NULL || other->subscriber->count < LIMIT_SUBSCRIPTIONS)
		return true;
	request_answer_retry(request, ANSWER_OVERLOADED, "subscriptions",
			     "this connection has as many subscriptions as it may have");
	return false;
}

void subscribe_answer(struct request *request, const struct subscription *subscription,
		      uint64_t head)
{
	struct buffer *message = &subscription->notifier->message;

	buffer_clear(message);
	msgpack_write_map(message, 2);
	msgpack_write_string(message, "subscription");
	msgpack_write_u64(message, subscription->number);
	msgpack_write_string(message, "head");
	msgpack_write_u64(message, head);
	request_answer_result(request, buffer_span(message));
}

static void begin(struct request *request, const struct subscribe_arguments *arguments)
{
	struct notifier *notifier = request->node->notifier;
	struct subscription *subscription =
		subscription_new(notifier, request->session, arguments->stream, &arguments->query);
	uint64_t head = store_head(request->node->store);

	if (subscription == NULL) {
		request_answer_retry(
			request, ANSWER_OVERLOADED, "queries",
			"the queries followed on this node are as large as they may be");
		return;
	}
	subscription->batch = (uint32_t)arguments->batch;
	subscription->windowed = arguments->windowed;
	subscription->allowed = arguments->window;
	subscription->with_system = arguments->system;
	if (arguments->end && subscription->topic != NULL) {
		subscription_locate(subscription, request);
		return;
	}
	subscribe_answer(request, subscription, head);
	if (subscription->topic != NULL)
		subscription->version = arguments->after;
	else
		subscription->position = arguments->end ? head : arguments->after;
	if (arguments->end)
		subscription_begin_at_end(subscription);
	else
		subscription_begin(subscription);
}

void method_subscribe(struct request *request)
{
	struct subscribe_arguments arguments = {0};

	ASSERT(request->session != NULL);
	query_init(&arguments.query);
	if (!read_refuse_before_joining(request) && get_what(request, &arguments) &&
	    get_after(request, &arguments) && get_flow(request, &arguments) && has_room(request))
		begin(request, &arguments);
	query_close(&arguments.query);
	request_release(request);
}

/* ---- unsubscribe, credit ---- */

static struct subscription *find(struct session *session, uint64_t number)
{
	struct subscription *any = *session_subscriptions(session);

	if (any == NULL)
		return NULL;
	const struct table *numbers = &any->notifier->numbers;
	for (struct table_link *link = table_first(numbers, table_hash_number(number));
	     link != NULL; link = table_next(link)) {
		struct subscription *found = TABLE_ENTRY(link, struct subscription, link);

		if (found->number == number)
			return found->subscriber->session == session &&
					       found->state != SUBSCRIPTION_LOCATING
				       ? found
				       : NULL;
	}
	return NULL;
}

static void answer_not_found(struct request *request, uint64_t number)
{
	struct buffer error;
	char message[96];

	snprintf(message, sizeof message, "this connection has no subscription %llu",
		 (unsigned long long)number);
	buffer_init(&error);
	request_error_begin(&error, 1, ANSWER_NOT_FOUND, message);
	msgpack_write_string(&error, "what");
	msgpack_write_string(&error, "subscription");
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void unsubscribe(struct request *request, uint64_t number)
{
	struct subscription *subscription = find(request->session, number);
	struct buffer result;

	if (subscription == NULL) {
		answer_not_found(request, number);
		return;
	}
	buffer_init(&result);
	msgpack_write_map(&result, 1);
	msgpack_write_string(&result, "position");
	msgpack_write_u64(&result, subscription_cursor(subscription));
	subscription_end(subscription);
	request_answer_result(request, buffer_span(&result));
	buffer_close(&result);
}

void method_unsubscribe(struct request *request)
{
	uint64_t number = 0;

	ASSERT(request->session != NULL);
	if (request_arg_u64(request, "subscription", 1, UINT64_MAX, &number)) {
		if (number == 0)
			request_answer_invalid(request, "subscription",
					       "the number of a subscription is missing");
		else
			unsubscribe(request, number);
	}
	request_release(request);
}

void subscribe_credit(struct session *session, struct span params)
{
	struct msgpack_reader reader = msgpack_reader_of(params);
	uint32_t elements;
	uint64_t number, count;

	if (!msgpack_read_array(&reader, &elements) || elements < 2 ||
	    !msgpack_read_u64(&reader, &number) || !msgpack_read_u64(&reader, &count))
		return;
	struct subscription *subscription = find(session, number);
	if (subscription != NULL)
		subscription_credit(subscription, count);
}
