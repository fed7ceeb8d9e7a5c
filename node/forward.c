#include "node/forward.h"

#include "base/assert.h"

void forward_write(struct buffer *into, const struct request *request, uint64_t turn, uint64_t term)
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
	msgpack_write_string(into, "forward_term");
	msgpack_write_u64(into, term);
	ASSERT(into->size <= request->params.size + FORWARD_BYTES);
}

static uint64_t number_of(const struct request *request, const char *name)
{
	uint64_t number = 0;
	struct span raw;

	if (arguments_find(&request->arguments, name, &raw)) {
		struct msgpack_reader reader = msgpack_reader_of(raw);

		(void)msgpack_read_u64(&reader, &number);
	}
	return number;
}

uint64_t forward_turn_of(const struct request *request)
{
	return number_of(request, "forward_turn");
}

uint64_t forward_term_of(const struct request *request)
{
	return number_of(request, "forward_term");
}

static bool text_is(const struct arguments *fields, const char *name, const char *wanted)
{
	struct span raw, text;

	if (!arguments_find(fields, name, &raw))
		return false;
	struct msgpack_reader reader = msgpack_reader_of(raw);

	return msgpack_read_str(&reader, &text) && span_equal_string(text, wanted);
}

enum forward_verdict forward_verdict_of(struct span error)
{
	static const struct {
		enum answer_code code;
		enum forward_verdict verdict;
	} verdicts[] = {
		{ANSWER_WRONG_EXPECTED_VERSION, FORWARD_DECIDED},
		{ANSWER_CONDITION_FAILED, FORWARD_DECIDED},
		{ANSWER_EVENT_ID_CONFLICT, FORWARD_DECIDED},
		{ANSWER_CHECKPOINT_CONFLICT, FORWARD_DECIDED},
		{ANSWER_STREAM_DELETED, FORWARD_DECIDED},
		{ANSWER_STREAM_TOMBSTONED, FORWARD_DECIDED},
		{ANSWER_INVALID_ARGUMENT, FORWARD_DECIDED},
		{ANSWER_TOO_LARGE, FORWARD_DECIDED},
		{ANSWER_NOT_LEADER, FORWARD_REFUSED},
		{ANSWER_NO_LEADER, FORWARD_REFUSED},
		{ANSWER_SHUTTING_DOWN, FORWARD_REFUSED},
	};
	struct arguments fields;

	if (!arguments_index(&fields, error))
		return FORWARD_OTHER;
	if (text_is(&fields, "code", answer_name(ANSWER_TIMEOUT)))
		return text_is(&fields, "outcome", "none") ? FORWARD_OTHER : FORWARD_UNKNOWN;
	for (size_t i = 0; i < sizeof verdicts / sizeof verdicts[0]; i++)
		if (text_is(&fields, "code", answer_name(verdicts[i].code)))
			return verdicts[i].verdict;
	return FORWARD_OTHER;
}
