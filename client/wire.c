#include "client/wire.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/uuid.h"

#define MSGID_AT 3u /* behind array header, type and 0xce */

void wire_request_init(struct wire_request *request)
{
	*request = (struct wire_request){0};
	buffer_init(&request->bytes);
}

void wire_request_close(struct wire_request *request)
{
	buffer_close(&request->bytes);
}

void wire_request_begin(struct wire_request *request, const char *method, uint32_t pairs,
			bool forwardable)
{
	static const uint8_t head[] = {0x94, 0x00, 0xce, 0, 0, 0, 0};
	static const uint8_t number[] = {0xce, 0, 0, 0, 0};
	struct buffer *bytes = &request->bytes;

	buffer_clear(bytes);
	buffer_append(bytes, head, sizeof head);
	msgpack_write_string(bytes, method);
	msgpack_write_array(bytes, 1);
	msgpack_write_map(bytes, pairs + 1 + forwardable);
	msgpack_write_string(bytes, "timeout_ms");
	request->timeout_at = bytes->size + 1;
	buffer_append(bytes, number, sizeof number);
	request->forward_at = 0;
	if (forwardable) {
		msgpack_write_string(bytes, "forward");
		request->forward_at = bytes->size;
		msgpack_write_bool(bytes, true);
	}
}

void wire_request_patch(struct wire_request *request, uint32_t msgid, uint32_t timeout_ms,
			bool forward)
{
	uint8_t *data = request->bytes.data;

	ASSERT(request->timeout_at + 4 <= request->bytes.size);
	bytes_set_be32(data + MSGID_AT, msgid);
	bytes_set_be32(data + request->timeout_at, timeout_ms);
	if (request->forward_at != 0)
		data[request->forward_at] = forward ? 0xc3 : 0xc2;
}

/* ---- values ---- */

void wire_write_text(struct buffer *buffer, const char *key, const char *value)
{
	msgpack_write_string(buffer, key);
	msgpack_write_string(buffer, value);
}

void wire_write_number(struct buffer *buffer, const char *key, uint64_t value)
{
	msgpack_write_string(buffer, key);
	msgpack_write_u64(buffer, value);
}

void wire_write_string(struct buffer *buffer, const char *key, struct annal_bytes value)
{
	msgpack_write_string(buffer, key);
	msgpack_write_str(buffer, span_of(value.data, value.size));
}

void wire_write_bin(struct buffer *buffer, const char *key, struct annal_bytes value)
{
	msgpack_write_string(buffer, key);
	msgpack_write_bin(buffer, span_of(value.data, value.size));
}

static void write_strings(struct buffer *buffer, const char *key, const char *const *items,
			  size_t count)
{
	msgpack_write_string(buffer, key);
	msgpack_write_array(buffer, (uint32_t)count);
	for (size_t i = 0; i < count; i++)
		msgpack_write_string(buffer, items[i]);
}

static void write_query_item(struct buffer *buffer, const struct annal_query_item *item)
{
	const struct {
		const char *name;
		const struct annal_strings *strings;
	} parts[] = {{"types", &item->types},
		     {"tags", &item->tags},
		     {"categories", &item->categories},
		     {"streams", &item->streams}};
	uint32_t pairs = item->stream_prefix != NULL;

	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		pairs += parts[i].strings->count > 0;
	msgpack_write_map(buffer, pairs);
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (parts[i].strings->count > 0)
			write_strings(buffer, parts[i].name, parts[i].strings->items,
				      parts[i].strings->count);
	if (item->stream_prefix != NULL)
		wire_write_text(buffer, "stream_prefix", item->stream_prefix);
}

void wire_write_query(struct buffer *buffer, const struct annal_query *query)
{
	if (query == NULL || query->count == 0) {
		msgpack_write_string(buffer, "all");
		return;
	}
	msgpack_write_array(buffer, (uint32_t)query->count);
	for (size_t i = 0; i < query->count; i++)
		write_query_item(buffer, &query->items[i]);
}

static void write_expect(struct buffer *buffer, struct annal_expect expect)
{
	static const char *const names[] = {[ANNAL_EXPECT_ANY] = "any",
					    [ANNAL_EXPECT_NO_STREAM] = "no_stream",
					    [ANNAL_EXPECT_STREAM_EXISTS] = "stream_exists"};

	if (expect.kind == ANNAL_EXPECT_VERSION) {
		wire_write_number(buffer, "expected_version", expect.version);
		return;
	}
	ASSERT(expect.kind <= ANNAL_EXPECT_STREAM_EXISTS);
	wire_write_text(buffer, "expected_version", names[expect.kind]);
}

uint32_t wire_consistency_pairs(enum annal_consistency consistency, uint64_t at_least)
{
	return consistency == ANNAL_CONSISTENCY_LINEARIZABLE ||
	       (consistency == ANNAL_CONSISTENCY_SESSION && at_least > 0);
}

void wire_write_consistency(struct buffer *buffer, enum annal_consistency consistency,
			    uint64_t at_least)
{
	if (wire_consistency_pairs(consistency, at_least) == 0)
		return;
	if (consistency == ANNAL_CONSISTENCY_LINEARIZABLE) {
		wire_write_text(buffer, "consistency", "linearizable");
		return;
	}
	msgpack_write_string(buffer, "consistency");
	msgpack_write_map(buffer, 1);
	wire_write_number(buffer, "at_least", at_least);
}

/* ---- append ---- */

static const char *events_problem(const struct annal_write *write)
{
	if (write->stream == NULL)
		return "a write has no stream";
	if (write->events_count == 0 || write->events == NULL)
		return "a write has no events";
	if (write->events_count > LIMIT_APPEND_EVENTS)
		return "a write has more than 10,000 events";
	if (write->expect.kind > ANNAL_EXPECT_VERSION)
		return "the expectation is none of enum annal_expect_kind";
	for (size_t i = 0; i < write->events_count; i++)
		if (write->events[i].type == NULL)
			return "an event has no type";
	return NULL;
}

const char *wire_append_problem(const struct annal_append *append)
{
	static_assert(LIMIT_APPEND_EVENTS == 10000, "the messages say so");

	if (append->writes_count == 0 && append->checks_count == 0 && append->checkpoint == NULL)
		return "an append needs a write, a check or a checkpoint";
	if (append->writes_count > LIMIT_APPEND_EVENTS || append->checks_count > UINT16_MAX ||
	    append->conditions_count > UINT16_MAX)
		return "an append has at most 10,000 writes and 65,535 checks and conditions";
	for (size_t i = 0; i < append->writes_count; i++) {
		const char *problem = events_problem(&append->writes[i]);

		if (problem != NULL)
			return problem;
	}
	for (size_t i = 0; i < append->checks_count; i++)
		if (append->checks[i].stream == NULL)
			return "a check has no stream";
	if (append->checkpoint != NULL && append->checkpoint->consumer == NULL)
		return "the checkpoint has no consumer";
	return NULL;
}

static void write_event(struct buffer *buffer, const struct annal_new_event *event)
{
	uint8_t drawn[UUID_BYTES];
	const uint8_t *id = event->id;

	if (id == NULL) {
		uuid7_generate(drawn);
		id = drawn;
	}
	msgpack_write_map(buffer, 3u + (event->metadata.size > 0) + (event->tags_count > 0));
	wire_write_bin(buffer, "id", (struct annal_bytes){id, UUID_BYTES});
	wire_write_text(buffer, "type", event->type);
	wire_write_bin(buffer, "data", event->data);
	if (event->metadata.size > 0)
		wire_write_bin(buffer, "metadata", event->metadata);
	if (event->tags_count > 0)
		write_strings(buffer, "tags", event->tags, event->tags_count);
}

/* The pairs stream, expected_version (unless "any") and events. */
static uint32_t write_pairs(const struct annal_write *write)
{
	return 2u + (write->expect.kind != ANNAL_EXPECT_ANY);
}

static void write_write(struct buffer *buffer, const struct annal_write *write)
{
	wire_write_text(buffer, "stream", write->stream);
	if (write->expect.kind != ANNAL_EXPECT_ANY)
		write_expect(buffer, write->expect);
	msgpack_write_string(buffer, "events");
	msgpack_write_array(buffer, (uint32_t)write->events_count);
	for (size_t i = 0; i < write->events_count; i++)
		write_event(buffer, &write->events[i]);
}

static void write_conditions(struct buffer *buffer, const struct annal_append *append)
{
	msgpack_write_string(buffer, "condition");
	msgpack_write_array(buffer, (uint32_t)append->conditions_count);
	for (size_t i = 0; i < append->conditions_count; i++) {
		msgpack_write_map(buffer, 2);
		msgpack_write_string(buffer, "fail_if");
		wire_write_query(buffer, &append->conditions[i].fail_if);
		wire_write_number(buffer, "after", append->conditions[i].after);
	}
}

static void write_checks(struct buffer *buffer, const struct annal_append *append)
{
	msgpack_write_string(buffer, "checks");
	msgpack_write_array(buffer, (uint32_t)append->checks_count);
	for (size_t i = 0; i < append->checks_count; i++) {
		msgpack_write_map(buffer, 2);
		wire_write_text(buffer, "stream", append->checks[i].stream);
		write_expect(buffer, append->checks[i].expect);
	}
}

uint32_t wire_checkpoint_pairs(const struct annal_checkpoint *checkpoint)
{
	return 2u + (checkpoint->epoch > 0);
}

void wire_write_checkpoint(struct buffer *buffer, const struct annal_checkpoint *checkpoint)
{
	wire_write_text(buffer, "consumer", checkpoint->consumer);
	wire_write_number(buffer, "position", checkpoint->position);
	if (checkpoint->epoch > 0)
		wire_write_number(buffer, "epoch", checkpoint->epoch);
}

void wire_append(struct wire_request *request, const struct annal_append *append)
{
	/* Checks, conditions and a checkpoint stand beside `writes` alone. */
	bool single = append->writes_count == 1 && append->checks_count == 0 &&
		      append->conditions_count == 0 && append->checkpoint == NULL;
	struct buffer *bytes = &request->bytes;
	uint32_t pairs = single ? write_pairs(&append->writes[0]) : 1;

	pairs += (uint32_t)((append->checks_count > 0) + (append->conditions_count > 0) +
			    (append->checkpoint != NULL) + append->want_conflict_events);
	wire_request_begin(request, "append", pairs, true);
	if (single) {
		write_write(bytes, &append->writes[0]);
	} else {
		msgpack_write_string(bytes, "writes");
		msgpack_write_array(bytes, (uint32_t)append->writes_count);
		for (size_t i = 0; i < append->writes_count; i++) {
			msgpack_write_map(bytes, write_pairs(&append->writes[i]));
			write_write(bytes, &append->writes[i]);
		}
	}
	if (append->checks_count > 0)
		write_checks(bytes, append);
	if (append->conditions_count > 0)
		write_conditions(bytes, append);
	if (append->checkpoint != NULL) {
		msgpack_write_string(bytes, "checkpoint");
		msgpack_write_map(bytes, wire_checkpoint_pairs(append->checkpoint));
		wire_write_checkpoint(bytes, append->checkpoint);
	}
	if (append->want_conflict_events)
		wire_write_text(bytes, "on_conflict", "events");
}

/* ---- read, and any method ---- */

void wire_read(struct wire_request *request, const struct annal_read *read, uint64_t at_least)
{
	struct buffer *bytes = &request->bytes;
	bool of_stream = read->stream != NULL;
	bool has_query = !of_stream && read->query != NULL && read->query->count > 0;
	bool system = !of_stream && read->system;
	uint32_t pairs = wire_consistency_pairs(read->consistency, at_least);

	pairs += (uint32_t)(of_stream + has_query + system + (read->from > 0) + read->backward +
			    (read->limit > 0) + (read->max_bytes > 0));

	wire_request_begin(request, of_stream ? "read_stream" : "read_all", pairs, false);
	if (of_stream)
		wire_write_text(bytes, "stream", read->stream);
	if (has_query) {
		msgpack_write_string(bytes, "query");
		wire_write_query(bytes, read->query);
	}
	if (system) {
		msgpack_write_string(bytes, "system");
		msgpack_write_bool(bytes, true);
	}
	if (read->from > 0)
		wire_write_number(bytes, "from", read->from);
	if (read->backward)
		wire_write_text(bytes, "direction", "backward");
	if (read->limit > 0)
		wire_write_number(bytes, "limit", read->limit);
	if (read->max_bytes > 0)
		wire_write_number(bytes, "max_bytes", read->max_bytes);
	wire_write_consistency(bytes, read->consistency, at_least);
}

/* Whether the next key is timeout_ms; then its value, when it is a number, is taken. */
static bool take_timeout(struct msgpack_reader *params, uint32_t *timeout_ms)
{
	struct msgpack_reader ahead = *params;
	struct span key;
	uint64_t value;

	if (!msgpack_read_str(&ahead, &key) || !span_equal_string(key, "timeout_ms") ||
	    !msgpack_read_u64(&ahead, &value) || value == 0 || value > LIMIT_TIMEOUT_MS_MAX)
		return false;
	*timeout_ms = (uint32_t)value;
	*params = ahead;
	return true;
}

bool wire_generic(struct wire_request *request, const char *method, struct span params,
		  uint32_t *timeout_ms)
{
	struct msgpack_reader reader = msgpack_reader_of(params);
	struct msgpack_reader count_reader;
	uint32_t pairs = 0, timeouts = 0;
	struct span raw;

	if (params.size > 0 && !msgpack_read_map(&reader, &pairs))
		return false;
	count_reader = reader;
	for (uint32_t i = 0; i < pairs; i++) {
		if (take_timeout(&count_reader, timeout_ms))
			timeouts++;
		else if (!msgpack_read_skip(&count_reader) || !msgpack_read_skip(&count_reader))
			return false;
	}
	wire_request_begin(request, method, pairs - timeouts, false);
	for (uint32_t i = 0; i < pairs; i++) {
		if (take_timeout(&reader, timeout_ms))
			continue;
		for (int part = 0; part < 2; part++) {
			if (!msgpack_read_raw(&reader, &raw))
				return false;
			buffer_append_span(&request->bytes, raw);
		}
	}
	return true;
}
