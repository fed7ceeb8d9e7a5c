#include "node/append_answer.h"

#include "base/assert.h"
#include "node/request.h"

/* Of most results: a buffer that grows from nothing is moved three times on the way. */
#define RESULT_BYTES 224

static void write_u64(struct buffer *into, const char *name, uint64_t value)
{
	msgpack_write_string(into, name);
	msgpack_write_u64(into, value);
}

void append_answer_result(struct buffer *into, const struct outcome *outcome, bool one_stream)
{
	ASSERT(outcome->code == ANSWER_OK);
	ASSERT(!one_stream || outcome->stream_count == 1);
	buffer_reserve(into, RESULT_BYTES);
	msgpack_write_map(into, one_stream ? 7 : 5);
	write_u64(into, "first_position", outcome->first_position);
	write_u64(into, "position", outcome->position);
	msgpack_write_string(into, "versions");
	msgpack_write_map(into, outcome->stream_count);
	for (uint32_t i = 0; i < outcome->stream_count; i++) {
		msgpack_write_str(into, outcome->streams[i].stream);
		msgpack_write_u64(into, outcome->streams[i].version);
	}
	if (one_stream) {
		write_u64(into, "first_version", outcome->streams[0].first_version);
		write_u64(into, "version", outcome->streams[0].version);
	}
	msgpack_write_string(into, "duplicate");
	msgpack_write_bool(into, outcome->duplicate);
	msgpack_write_string(into, "created");
	msgpack_write_i64(into, outcome->created);
}

/* As the client gave it. */
static void write_expected(struct buffer *into, const struct expectation *expected)
{
	switch (expected->kind) {
	case EXPECTATION_VERSION:
	case EXPECTATION_AT_LEAST:
		msgpack_write_u64(into, expected->version);
		break;
	case EXPECTATION_NO_STREAM:
		msgpack_write_string(into, "no_stream");
		break;
	case EXPECTATION_STREAM_EXISTS:
		msgpack_write_string(into, "stream_exists");
		break;
	case EXPECTATION_ANY:
		msgpack_write_string(into, "any");
		break;
	}
}

static void write_violations(struct buffer *into, const struct outcome *outcome)
{
	msgpack_write_string(into, "violations");
	msgpack_write_array(into, outcome->violation_count);
	for (uint32_t i = 0; i < outcome->violation_count; i++) {
		const struct violation *violation = &outcome->violations[i];

		msgpack_write_map(into, 5);
		write_u64(into, "index", violation->expected.index);
		msgpack_write_string(into, "stream");
		msgpack_write_str(into, violation->expected.stream);
		msgpack_write_string(into, "expected");
		write_expected(into, &violation->expected);
		write_u64(into, "actual", violation->actual);
		msgpack_write_string(into, "state");
		msgpack_write_string(into, stream_state_name(violation->state));
	}
}

void append_answer_error(struct buffer *into, const struct outcome *outcome, uint32_t extra)
{
	ASSERT(outcome->code != ANSWER_OK && outcome->code < ANSWER_COUNT);
	switch (outcome->code) {
	case ANSWER_WRONG_EXPECTED_VERSION:
		request_error_begin(into, extra + 1, outcome->code, outcome->message);
		write_violations(into, outcome);
		break;
	case ANSWER_EVENT_ID_CONFLICT:
		request_error_begin(into, extra + 3, outcome->code, outcome->message);
		msgpack_write_string(into, "id");
		msgpack_write_bin(into, span_of(outcome->conflict_id, UUID_BYTES));
		msgpack_write_string(into, "stream");
		msgpack_write_str(into, outcome->conflict_stream);
		write_u64(into, "version", outcome->conflict_version);
		break;
	case ANSWER_CONDITION_FAILED:
		request_error_begin(into, extra + 2, outcome->code, outcome->message);
		write_u64(into, "index", outcome->condition_index);
		write_u64(into, "position", outcome->condition_position);
		break;
	case ANSWER_CHECKPOINT_CONFLICT:
		request_error_begin(into, extra + 3, outcome->code, outcome->message);
		msgpack_write_string(into, "consumer");
		msgpack_write_str(into, outcome->consumer);
		write_u64(into, "position", outcome->checkpoint_position);
		write_u64(into, "epoch", outcome->checkpoint_epoch);
		break;
	case ANSWER_NOT_FOUND:
		request_error_begin(into, extra + 2, outcome->code, outcome->message);
		msgpack_write_string(into, "what");
		msgpack_write_string(into, "checkpoint");
		msgpack_write_string(into, "consumer");
		msgpack_write_str(into, outcome->consumer);
		break;
	case ANSWER_INVALID_ARGUMENT: /* of a condition, whose index the message tells */
		request_error_begin(into, extra + 1, outcome->code, outcome->message);
		msgpack_write_string(into, "argument");
		msgpack_write_string(into, "condition");
		break;
	case ANSWER_STREAM_TOMBSTONED:
	case ANSWER_STREAM_DELETED:
		request_error_begin(into, extra + 1, outcome->code, outcome->message);
		msgpack_write_string(into, "stream");
		msgpack_write_str(into, outcome->conflict_stream);
		break;
	default:
		request_error_begin(into, extra, outcome->code, outcome->message);
	}
}
