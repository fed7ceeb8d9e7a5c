#include "client/client.h"

static uint32_t count_events(const struct annal_append *append)
{
	size_t count = 0;

	for (size_t i = 0; i < append->writes_count; i++)
		count += append->writes[i].events_count;
	return (uint32_t)count; /* of at most 10,000 writes with 10,000 events each */
}

/* The answer to an append of so many events, in one write or several. */
static bool decode_result(struct annal_client *client, struct span answer, uint32_t events,
			  bool one_write, struct annal_append_result *result)
{
	if (!decode_append_result(answer, events > 0, result, &client->versions))
		return false;
	/* Only the short form of the request makes nodes tell these two. */
	if (one_write && result->version == 0 && result->versions_count == 1) {
		result->version = result->versions[0].version;
		if (result->version >= events)
			result->first_version = result->version - events + 1;
	}
	return true;
}

/* An encoded call, or NULL with the error set. */
static struct call *new_append(struct annal_client *client, const struct annal_append *append)
{
	const char *problem = wire_append_problem(append);

	if (problem != NULL) {
		client_fail(client, ANNAL_INVALID_ARGUMENT, "%s", problem);
		return NULL;
	}
	struct call *call = call_new(client);

	if (call == NULL)
		return NULL;
	wire_append(&call->request, append);
	if (call->request.bytes.size > LIMIT_MESSAGE_BYTES) {
		client_fail(client, ANNAL_TOO_LARGE,
			    "the append has %zu bytes, a message has at most %llu",
			    call->request.bytes.size, (unsigned long long)LIMIT_MESSAGE_BYTES);
		client->error.public.size = call->request.bytes.size;
		client->error.public.limit = LIMIT_MESSAGE_BYTES;
		call_abandon(client, call);
		return NULL;
	}
	call->route = CALL_ROUTE_LEADER;
	/* Every event has an id; checks and a checkpoint alone may be done twice. */
	call->idempotent = true;
	call->has_ids = append->writes_count > 0;
	call->events = count_events(append);
	call->one_write = append->writes_count == 1;
	call->writes = true;
	return call;
}

enum annal_code annal_append(struct annal_client *client, const struct annal_append *append,
			     struct annal_append_result *result)
{
	struct annal_append_result decoded;
	struct span answer;

	if (!call_may_block(client))
		return ANNAL_MISUSE;
	struct call *call = new_append(client, append);

	if (call == NULL)
		return client->error.public.code;
	enum annal_code code = call_run(client, call, append->timeout_ms, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!decode_result(client, answer, count_events(append), append->writes_count == 1,
			   &decoded))
		return call_bad_answer(client, "append");
	client_observe(client, decoded.position);
	if (result != NULL)
		*result = decoded;
	return ANNAL_OK;
}

enum annal_code annal_append_stream(struct annal_client *client, const char *stream,
				    struct annal_expect expect,
				    const struct annal_new_event *events, size_t count,
				    struct annal_append_result *result)
{
	const struct annal_write write = {
		.stream = stream, .expect = expect, .events = events, .events_count = count};
	const struct annal_append append = {.writes = &write, .writes_count = 1};

	return annal_append(client, &append, result);
}

static void append_done(struct annal_client *client, struct call *call, enum annal_code code,
			struct span answer)
{
	struct annal_append_result result;

	if (code == ANNAL_OK &&
	    !decode_result(client, answer, call->events, call->one_write, &result)) {
		decode_error_set(&client->answer_error, ANNAL_BAD_ANSWER,
				 "the answer to append is not as specified");
		client->answer_error.public.outcome_unknown = true;
		code = ANNAL_BAD_ANSWER;
	}
	if (code != ANNAL_OK) {
		call->append_done(call->arg, code, NULL, &client->answer_error.public);
		return;
	}
	client_observe(client, result.position);
	call->append_done(call->arg, ANNAL_OK, &result, NULL);
}

enum annal_code annal_append_async(struct annal_client *client, const struct annal_append *append,
				   annal_append_done *done, void *arg)
{
	struct call *call = new_append(client, append);

	if (call == NULL)
		return client->error.public.code;
	call->done = append_done;
	call->append_done = done;
	call->arg = arg;
	call_start(client, call, append->timeout_ms);
	return ANNAL_OK;
}
