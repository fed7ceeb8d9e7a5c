#include "node/dispatch.h"

#include "base/assert.h"
#include "base/clock.h"
#include "node/deadline.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/own_writes.h"
#include "node/session.h"
#include "node/stats.h"
#include "node/subscribe.h"

static const struct method methods[] = {
#define X(name, handler, flags) {name, handler, flags},
	METHOD_TABLE(X)
#undef X
};

#define METHOD_COUNT (sizeof methods / sizeof methods[0])

const struct method *method_find(struct span name)
{
	ASSERT(name.data != NULL || name.size == 0);
	for (size_t i = 0; i < METHOD_COUNT; i++)
		if (span_equal_string(name, methods[i].name))
			return &methods[i];
	return NULL;
}

/* What is no printable ASCII must not come back as it was: it might be no UTF-8. */
static void copy_printable(struct span from, char into[LIMIT_METHOD_NAME_BYTES + 1])
{
	size_t size = from.size < LIMIT_METHOD_NAME_BYTES ? from.size : LIMIT_METHOD_NAME_BYTES;

	for (size_t i = 0; i < size; i++)
		into[i] = from.data[i] >= 0x20 && from.data[i] < 0x7f ? (char)from.data[i] : '?';
	into[size] = '\0';
}

static void answer_unknown_method(struct request *request, struct span method)
{
	char name[LIMIT_METHOD_NAME_BYTES + 1];
	struct buffer error;

	copy_printable(method, name);
	buffer_init(&error);
	request_error_begin(&error, 1, ANSWER_UNKNOWN_METHOD, "there is no method of that name");
	msgpack_write_string(&error, "method");
	msgpack_write_string(&error, name);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

/* The one map in the array, an empty one if the array is empty; false for anything else. */
static bool find_params_map(struct span params, struct span *map)
{
	static const uint8_t empty_map[] = {0x80};
	struct msgpack_reader reader = msgpack_reader_of(params);
	uint32_t count;

	*map = span_of(empty_map, sizeof empty_map);
	if (!msgpack_read_array(&reader, &count))
		return false;
	if (count == 0)
		return true;
	if (count > 1 || msgpack_read_type(&reader) != MSGPACK_TYPE_MAP)
		return false;
	*map = span_of(reader.at, (size_t)(reader.end - reader.at)); /* the last there is */
	return true;
}

/* An answer has to be there in time, not to leave in time. */
static int64_t deadline_of(uint64_t timeout_ms)
{
	uint64_t margin_ms = timeout_ms / 10 < 20 ? timeout_ms / 10 : 20;

	return clock_monotonic_ms() + (int64_t)(timeout_ms - margin_ms);
}

static bool read_common_arguments(struct request *request)
{
	uint64_t timeout_ms = request->node->settings.timeout_ms;

	if (!request_arg_u64(request, "timeout_ms", 1, LIMIT_TIMEOUT_MS_MAX, &timeout_ms) ||
	    !request_arg_bool(request, "forward", &request->forward))
		return false;
	request->deadline_ms = deadline_of(timeout_ms);
	return true;
}

static bool has_too_many_pairs(struct request *request)
{
	uint32_t pairs = request->arguments.pairs;

	if (pairs <= (request->forward ? LIMIT_MAP_PAIRS : ARGUMENTS_MAX))
		return false;
	request_answer_invalid(request, "params",
			       "params must be a map of at most %u pairs, not %u", LIMIT_MAP_PAIRS,
			       pairs);
	return true;
}

static bool refuse(struct request *request, struct span method, bool has_map)
{
	request->method = method_find(method);
	if (request->method == NULL) {
		answer_unknown_method(request, method);
		return true;
	}
	if (!has_map) {
		request_answer_invalid(request, "params",
				       "params must be an array of exactly one map, or empty");
		return true;
	}
	if (!read_common_arguments(request) || has_too_many_pairs(request))
		return true;
	if (request->node->stopping && (request->method->flags & METHOD_BEGINS) != 0) {
		request_answer_error(request, ANSWER_SHUTTING_DOWN,
				     "this node is stopping; nothing was proposed");
		return true;
	}
	return false;
}

void dispatch_request(struct node *node, struct session *session, uint32_t msgid,
		      struct span method, struct span params)
{
	struct span map;
	bool has_map = find_params_map(params, &map);
	struct request *request = request_new(node, session, msgid, map);

	node->counters->requests++;
	if (refuse(request, method, has_map)) {
		ASSERT(request->answered);
		request_release(request);
		return;
	}
	deadlines_add(node->deadlines, request);
	if ((request->method->flags & METHOD_READS) != 0 &&
	    own_writes_hold(node->own_writes, request))
		return;
	request->method->handle(request);
}

void dispatch_notification(struct node *node, struct session *session, struct span method,
			   struct span params)
{
	ASSERT(node != NULL);
	if (span_equal_string(method, "credit"))
		subscribe_credit(session, params);
	else if (span_equal_string(method, "$node"))
		session_is_of_node(session);
}
