/*
 * What a person types for the tool: a query, a time, base64. Refused with a message, or taken: a query
 * is one that the protocol can say and has no more than its limits; a time that is printed is read as the
 * same microsecond; base64 that is decoded and coded again is the same text.
 */
#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"
#include "base/msgpack.h"
#include "client/tool.h"
#include "client/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_names(const struct annal_query *query, size_t *names)
{
	for (size_t i = 0; i < query->count; i++) {
		const struct annal_query_item *item = &query->items[i];
		size_t before = *names;

		*names += item->types.count + item->tags.count + item->categories.count +
			  item->streams.count + (item->stream_prefix != NULL);
		ASSERT(*names > before);
	}
}

static void check_built(const struct annal_query *query)
{
	struct msgpack_scanner scanner;
	struct buffer bytes;
	size_t names = 0;

	ASSERT(query->count <= LIMIT_QUERY_ITEMS);
	count_names(query, &names);
	/* An item with several prefixes becomes several, each with its names. */
	ASSERT(names <= (size_t)LIMIT_QUERY_NAMES * LIMIT_QUERY_ITEMS);
	buffer_init(&bytes);
	wire_write_query(&bytes, query);
	msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
	ASSERT(msgpack_scan(&scanner, bytes.data, bytes.size) == MSGPACK_SCAN_VALUE);
	ASSERT(scanner.offset == bytes.size);
	buffer_close(&bytes);
}

static void check_query(const char *text)
{
	struct tool_query *query = tool_query_new();
	struct annal_query built;
	struct error error = {{0}};

	if (tool_query_parse(query, text, &error) == 0 &&
	    tool_query_build(query, &built, &error) == 0)
		check_built(&built);
	else
		ASSERT(error.message[0] != '\0');
	tool_query_free(query);
}

static void check_time(const char *text)
{
	const int64_t now = INT64_C(1700000000123456789);
	int64_t time_ns, again;
	char printed[40];

	if (!tool_time_parse(text, now, &time_ns))
		return;
	tool_time(time_ns, printed);
	/* Microseconds are printed. */
	ASSERT(tool_time_parse(printed, now, &again));
	ASSERT(again <= time_ns && time_ns - again < 1000);
}

static void check_base64(const char *text, size_t size)
{
	struct buffer bytes, again;

	buffer_init(&bytes);
	buffer_init(&again);
	if (tool_base64_decode(text, size, &bytes)) {
		tool_base64(&again, buffer_span(&bytes));
		ASSERT(span_equal(buffer_span(&again), span_of(text, size)));
	}
	buffer_close(&bytes);
	buffer_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = memory_alloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_query(text);
	check_time(text);
	check_base64(text, size);
	memory_free(text);
	return 0;
}
