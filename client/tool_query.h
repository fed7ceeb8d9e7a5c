/*
 * Queries as a person types them:
 *
 *   query  item [; item]…                an event is meant when ANY item fits; `all`: every event
 *   item   part [white space part]…      ALL parts must fit
 *   part   name=value[,value]…
 *   name   type, category, stream, prefix: ONE of the values; tag: ALL of them. A part may come
 *          again: its values are added.
 *   value  as it is; white space, and the characters , ; " \ in it, stand in "…" or behind a \
 *
 *   type=OrderPlaced,OrderPaid tag=customer:7; category=Refund
 *
 * An item of the protocol has one prefix, so one with several becomes several.
 */
#ifndef CLIENT_TOOL_QUERY_H
#define CLIENT_TOOL_QUERY_H

#include "base/error.h"
#include "client/annal.h"

#define TOOL_QUERY_SYNTAX                                                                          \
	"A QUERY says which events are meant: items separated by `;`, of which one must fit; an "  \
	"item is parts separated by spaces, which must all fit. Parts: type=A,B category=A,B "     \
	"stream=A,B prefix=A,B (one of the values) and tag=A,B (all of them). What is not plain "  \
	"stands in \"quotes\" or behind a backslash. `all` means every event.\n"                   \
	"Example: 'type=OrderPlaced,OrderPaid tag=customer:7; category=Refund'"

enum tool_query_part {
	TOOL_QUERY_TYPE,
	TOOL_QUERY_TAG,
	TOOL_QUERY_CATEGORY,
	TOOL_QUERY_STREAM,
	TOOL_QUERY_PREFIX,
	TOOL_QUERY_PARTS,
};

struct tool_query;

struct tool_query *tool_query_new(void);
void tool_query_free(struct tool_query *query); /* NULL is allowed */
bool tool_query_is_empty(const struct tool_query *query);

/* The whole query; 0, or -EINVAL with a message that says where. Once, on an empty one. */
int tool_query_parse(struct tool_query *query, const char *text, struct error *error);
/* One more value, as it is, for the one item of a query that is not parsed. It is borrowed. */
int tool_query_add(struct tool_query *query, enum tool_query_part part, const char *value,
		   struct error *error);
/* For requests; valid until the query is freed or changed. Without items it means every event. */
int tool_query_build(struct tool_query *query, struct annal_query *into, struct error *error);

#endif
