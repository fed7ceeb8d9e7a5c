#include "node/request.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "node/deadline.h"
#include "node/node.h"
#include "node/session.h"
#include "node/stats.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_BYTES  512  /* of an error, for people */
#define RETRY_AFTER_MS 100u /* about what an election takes, or a queue to become shorter */

/* Requests that are no larger than most, params included, are kept for the next ones. */
#define SMALL_BYTES 2048u
#define SMALL_KEPT  1024u

static bool is_small(size_t params_bytes)
{
	return params_bytes <= SMALL_BYTES - sizeof(struct request);
}

/* One block: the request and, behind it, its params. */
struct request *request_new(struct node *node, struct session *session, uint32_t msgid,
			    struct span params)
{
	struct request *request = is_small(params.size)
					  ? spare_take(&node->spare_requests, SMALL_BYTES)
					  : memory_alloc(sizeof *request + params.size);
	uint8_t *copy = (uint8_t *)(request + 1);

	ASSERT(session != NULL && params.size > 0);
	memset(request, 0, sizeof *request);
	memcpy(copy, params.data, params.size);
	request->node = node;
	request->session = session;
	request->msgid = msgid;
	request->params = span_of(copy, params.size);
	request->forward = true;
	request->references = 1;
	bool whole = arguments_index(&request->arguments, request->params);

	ASSERT(whole || request->arguments.pairs > ARGUMENTS_MAX);
	session_link_request(session, request);
	return request;
}

struct request *request_hold(struct request *request)
{
	ASSERT(request->references > 0);
	request->references++;
	return request;
}

void request_release(struct request *request)
{
	ASSERT(request->references > 0);
	if (--request->references > 0)
		return;
	ASSERT(request->answered || request->session == NULL);
	ASSERT(request->deadline_link == NULL && request->session_link == NULL);
	if (!is_small(request->params.size) ||
	    !spare_give(&request->node->spare_requests, request, SMALL_KEPT))
		memory_free(request);
}

void request_free_spare(struct node *node)
{
	struct request *kept;

	while ((kept = spare_take_kept(&node->spare_requests)) != NULL)
		memory_free(kept);
}

int64_t request_left_ms(const struct request *request)
{
	int64_t left = request->deadline_ms - clock_monotonic_ms();

	return left > 0 ? left : 0;
}

/* ---- answers ---- */

/* Whether the answer that comes now is the one to be sent. */
static bool take_answer(struct request *request)
{
	if (request->answered)
		return false;
	request->answered = true;
	deadlines_remove(request->node->deadlines, request);
	if (request->session == NULL)
		return false;
	session_unlink_request(request->session, request);
	return true;
}

void request_answer_result(struct request *request, struct span result)
{
	ASSERT(result.size > 0);
	if (take_answer(request))
		session_answer_result(request->session, request->msgid, result);
}

void request_answer_page(struct request *request, struct buffer *page)
{
	ASSERT(page->size > SESSION_PAGE_HEADROOM);
	if (take_answer(request))
		session_answer_page(request->session, request->msgid, page);
}

void request_answer_error_map(struct request *request, struct span error)
{
	ASSERT(error.size > 0);
	if (!take_answer(request))
		return;
	request->node->counters->errors++;
	session_answer_error(request->session, request->msgid, error);
}

void request_error_begin(struct buffer *into, uint32_t extra, enum answer_code code,
			 const char *message)
{
	ASSERT(code != ANSWER_OK && message != NULL);
	msgpack_write_map(into, 2 + extra);
	msgpack_write_string(into, "code");
	msgpack_write_string(into, answer_name(code));
	msgpack_write_string(into, "message");
	msgpack_write_string(into, message);
}

/* Names of clients are quoted in messages: what was cut, or was no UTF-8, must not go out. */
static void make_printable(char *message)
{
	if (text_is_utf8(span_of_string(message)))
		return;
	for (char *at = message; *at != '\0'; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
}

static void answer_error(struct request *request, enum answer_code code, const char *argument,
			 char *message)
{
	struct buffer error;

	if (request->answered)
		return;
	make_printable(message);
	buffer_init(&error);
	request_error_begin(&error, argument != NULL ? 1 : 0, code, message);
	if (argument != NULL) {
		msgpack_write_string(&error, "argument");
		msgpack_write_string(&error, argument);
	}
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

void request_answer_error(struct request *request, enum answer_code code, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list list;

	va_start(list, format);
	vsnprintf(message, sizeof message, format, list);
	va_end(list);
	answer_error(request, code, NULL, message);
}

void request_answer_invalid(struct request *request, const char *argument, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list list;

	ASSERT(argument != NULL);
	va_start(list, format);
	vsnprintf(message, sizeof message, format, list);
	va_end(list);
	answer_error(request, ANSWER_INVALID_ARGUMENT, argument, message);
}

void request_answer_retry(struct request *request, enum answer_code code, const char *reason,
			  const char *message)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, reason != NULL ? 2 : 1, code, message);
	msgpack_write_string(&error, "retry_after_ms");
	msgpack_write_u64(&error, RETRY_AFTER_MS);
	if (reason != NULL) {
		msgpack_write_string(&error, "reason");
		msgpack_write_string(&error, reason);
	}
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

void request_answer_too_large(struct request *request, uint64_t limit, uint64_t size,
			      const char *message)
{
	struct buffer error;

	ASSERT(size > limit);
	buffer_init(&error);
	request_error_begin(&error, 2, ANSWER_TOO_LARGE, message);
	msgpack_write_string(&error, "limit");
	msgpack_write_u64(&error, limit);
	msgpack_write_string(&error, "size");
	msgpack_write_u64(&error, size);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_timeout(struct request *request)
{
	struct buffer error;

	request->node->counters->timeouts++;
	buffer_init(&error);
	request_error_begin(
		&error, 1, ANSWER_TIMEOUT,
		request->maybe_proposed
			? "no answer in time: it may still happen; trying again with the "
			  "same event ids is safe"
			: "no answer in time; nothing has happened");
	msgpack_write_string(&error, "outcome");
	msgpack_write_string(&error, request->maybe_proposed ? "unknown" : "none");
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

void request_answer_unknown(struct request *request)
{
	request->maybe_proposed = true;
	if (!request->answered)
		answer_timeout(request);
}

bool request_answer_if_unsure(struct request *request)
{
	if (request->unsure_term == 0)
		return false;
	request_answer_unknown(request);
	return true;
}

/* The owner is told before, and might let go of the request. */
static void tell_owner(struct request *request)
{
	if (request->ended != NULL)
		request->ended(request);
}

void request_expire(struct request *request)
{
	ASSERT(!request->answered && request->deadline_link == NULL);
	request_hold(request);
	tell_owner(request);
	if (!request->answered)
		answer_timeout(request);
	request_release(request);
}

void request_abandon(struct request *request)
{
	ASSERT(!request->answered && request->session != NULL);
	request_hold(request);
	deadlines_remove(request->node->deadlines, request);
	session_unlink_request(request->session, request);
	request->session = NULL;
	request->answered = true;
	tell_owner(request);
	request_release(request);
}

/* ---- arguments ---- */

static const char *found_type(struct span value)
{
	struct msgpack_reader reader = msgpack_reader_of(value);

	return msgpack_type_name(msgpack_read_type(&reader));
}

bool request_arg_raw(struct request *request, const char *name, struct span *value)
{
	arguments_find(&request->arguments, name, value);
	return true;
}

bool request_arg_u64(struct request *request, const char *name, uint64_t min, uint64_t max,
		     uint64_t *value)
{
	struct span raw;
	uint64_t number;

	ASSERT(min <= max);
	if (!arguments_find(&request->arguments, name, &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);
	enum msgpack_type type = msgpack_read_type(&reader);

	if (msgpack_read_u64(&reader, &number) && number >= min && number <= max) {
		*value = number;
		return true;
	}
	if (type != MSGPACK_TYPE_INT)
		request_answer_invalid(request, name, "%s must be an integer, not %s", name,
				       msgpack_type_name(type));
	else if (max == UINT64_MAX)
		request_answer_invalid(request, name, "%s must be at least %" PRIu64, name, min);
	else
		request_answer_invalid(request, name, "%s must be %" PRIu64 " to %" PRIu64, name,
				       min, max);
	return false;
}

bool request_arg_bool(struct request *request, const char *name, bool *value)
{
	struct span raw;

	if (!arguments_find(&request->arguments, name, &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (msgpack_read_bool(&reader, value))
		return true;
	request_answer_invalid(request, name, "%s must be true or false, not %s", name,
			       found_type(raw));
	return false;
}

bool request_arg_str(struct request *request, const char *name, struct span *value)
{
	struct span raw, text;

	if (!arguments_find(&request->arguments, name, &raw))
		return true;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	if (!msgpack_read_str(&reader, &text)) {
		request_answer_invalid(request, name, "%s must be a string, not %s", name,
				       found_type(raw));
		return false;
	}
	if (!text_is_utf8(text)) {
		request_answer_invalid(request, name, "%s must be UTF-8", name);
		return false;
	}
	*value = text;
	return true;
}

bool request_arg_stream(struct request *request, struct span *name)
{
	struct span given = {0};

	if (!request_arg_str(request, "stream", &given))
		return false;
	if (given.size >= 1 && given.size <= LIMIT_STREAM_NAME_BYTES) {
		*name = given;
		return true;
	}
	if (given.data == NULL)
		request_answer_invalid(request, "stream", "stream is missing: the stream's name");
	else
		request_answer_invalid(request, "stream", "stream must have 1 to %u bytes, not %zu",
				       LIMIT_STREAM_NAME_BYTES, given.size);
	return false;
}
