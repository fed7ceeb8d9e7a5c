#include "node/memory_bound.h"

#include "base/assert.h"
#include "base/limits.h"
#include "storage/kv.h"

#include <stdarg.h>
#include <stdio.h>

/* X(bytes, how they follow from settings, what) with `settings` in scope of the bytes */
#define PARTS(X)                                                                                   \
	X(2 * settings->tail_bytes, "2 × `tail-bytes`",                                            \
	  "records not yet in the tables and their indexes, which double as they grow")            \
	X(2 * settings->tail_bytes + KV_DIRTY_BYTES, "2 × `tail-bytes` + 512 MiB",                 \
	  "a flush: what it sorts, its blocks, and changed pages of the tables until it writes "   \
	  "them")                                                                                  \
	X(settings->log_retained_bytes + settings->log_trailing_bytes + settings->tail_bytes,      \
	  "`log-retained-bytes` + `log-trailing-bytes` + `tail-bytes`",                            \
	  "the raft log, until a flush lets it be cut")                                            \
	X(3 * LIMIT_PROPOSE_QUEUE_BYTES + LIMIT_ENTRIES_IN_FLIGHT * LIMIT_ENTRY_BYTES_MAX, "",     \
	  "appends that wait to be proposed, sent on to the leader or applied, or are in flight")  \
	X((LIMIT_MEMBERS - 1) * 3 * LIMIT_PEER_IN_FLIGHT_BYTES, "",                                \
	  "messages to and from the other nodes, at most 8 of them")                               \
	X(LIMIT_STREAM_CACHE_BYTES, "", "what is known of streams without a lookup")               \
	X(LIMIT_NODE_INPUT_BYTES + LIMIT_INPUT_TURNS * 2 * settings->max_message,                  \
	  "256 MiB + 8 × `max-message`",                                                           \
	  "what clients have sent and is not whole, or not answered")                              \
	X((LIMIT_MEMBERS - 1) * LIMIT_PROPOSE_QUEUE_BYTES, "", "appends that other nodes forward") \
	X(LIMIT_NODE_UNSENT_BYTES, "", "answers and notifications that wait for clients to read")  \
	X(LIMIT_NODE_READ_BYTES + LIMIT_PAGES_KEPT_BYTES, "", "pages that are being read or kept") \
	X(LIMIT_FOLLOWED_BYTES, "", "queries of subscriptions")                                    \
	X(LIMIT_PULLS_IN_FLIGHT *LIMIT_MESSAGE_BYTES, "", "records that are pulled from a peer")

uint64_t memory_bound(const struct node_settings *settings)
{
	uint64_t sum = 0;

	ASSERT(settings->tail_bytes > 0);
#define X(bytes, formula, what) sum += (bytes);
	PARTS(X)
#undef X
	return sum;
}

__attribute__((format(printf, 2, 3))) static void add(struct buffer *into, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(text, sizeof text, format, args);

	va_end(args);
	ASSERT(size >= 0 && (size_t)size < sizeof text);
	buffer_append(into, text, (size_t)size);
}

void memory_bound_print_markdown(const struct node_settings *settings, struct buffer *into)
{
	add(into, "## Memory\n\n"
		  "What a node takes at most, whatever the load (gauge `memory_bound_bytes`):\n\n"
		  "| part | follows from | with the defaults, MiB |\n|---|---|---|\n");
#define X(bytes, formula, what)                                                                    \
	add(into, "| %s | %s | %llu |\n", what, formula, (unsigned long long)((bytes) / MIB));
	PARTS(X)
#undef X
	add(into, "| **in all** | | **%llu** |\n\n",
	    (unsigned long long)(memory_bound(settings) / MIB));
	add(into,
	    "Each connection adds up to 256 KiB of what it sends, and 64 KiB of answers, once "
	    "those "
	    "of the node are used up; some\n300 bytes and the name of its stream for each "
	    "subscription, at most 16,384. What the allocator keeps between used\nmemory is not in "
	    "it. Neither are mapped pages of the tables: they are the kernel's page cache, which "
	    "it "
	    "takes back\nwhen memory is short.\n");
}
