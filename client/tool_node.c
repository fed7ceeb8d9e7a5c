/* `annal ping`, `annal stats` and `annal digest`: what a node says of itself. */
#include "client/tool.h"

#include "base/clock.h"
#include <inttypes.h>

static enum tool_exit run_ping(struct tool *tool)
{
	struct annal_server server;
	struct annal_pong pong;
	char cluster[256], time[40];

	/* The greeting makes the connection, so that the ping measures the way alone. */
	if (annal_hello(tool->client, &server) != ANNAL_OK)
		return tool_failed(tool->client, "ping");
	snprintf(cluster, sizeof cluster, "%.*s", (int)(server.cluster.size & 0xff),
		 server.cluster.size > 0 ? (const char *)server.cluster.data : "");
	uint64_t node = server.node_id;
	int64_t begin = clock_monotonic_ns();

	if (annal_ping(tool->client, &pong) != ANNAL_OK)
		return tool_failed(tool->client, "ping");
	int64_t end = clock_monotonic_ns();

	tool_time(pong.time_ns, time);
	tool_print_object(tool, json_pack("{s:s, s:I, s:s%, s:I, s:s, s:f}", "cluster", cluster,
					  "node", (json_int_t)node, "role",
					  pong.role.size > 0 ? pong.role.data : "", pong.role.size,
					  "head", (json_int_t)pong.head, "time", time,
					  "milliseconds", (double)(end - begin) / 1e6));
	return TOOL_DONE;
}

const struct tool_command tool_ping = {
	.name = "ping",
	.summary = "Ask a node whether it is there, and how long that takes.",
	.details = "Example: annal ping --url annal://127.0.0.1:7002",
	.client_options = TOOL_ONE_NODE,
	.run = run_ping,
};

static enum tool_exit run_stats(struct tool *tool)
{
	struct annal_bytes result;

	if (annal_call(tool->client, ANNAL_TARGET_READ, "stats", (struct annal_bytes){0},
		       &result) != ANNAL_OK)
		return tool_failed(tool->client, "stats");
	json_t *object = tool_json_from_msgpack(span_of(result.data, result.size));

	if (object == NULL) {
		tool_complain("stats: the answer is not as specified");
		return TOOL_REFUSED;
	}
	tool_print_object(tool, object);
	return TOOL_DONE;
}

const struct tool_command tool_stats = {
	.name = "stats",
	.summary = "Show a node's counters and gauges.",
	.details = "Example: annal stats --url annal://127.0.0.1:7002",
	.client_options = TOOL_ONE_NODE,
	.run = run_stats,
};

/* ---- digest ---- */

struct arguments {
	uint64_t position;
};

static const struct argp_option options[] = {
	{"position", 'p', "N", 0, "Up to that position (default: the last)", 0},
	{0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	if (key == ARGP_KEY_ARG)
		argp_error(state, "'%s' is one too many: this command takes no operands", argument);
	if (key != 'p')
		return ARGP_ERR_UNKNOWN;
	arguments->position = tool_number(state, "--position", argument, 1, INT64_MAX);
	return 0;
}

static json_t *hash_as_text(struct annal_bytes hash)
{
	char text[129];
	size_t size = 0;

	for (size_t i = 0; i < hash.size; i++)
		if (((const uint8_t *)hash.data)[i] < 0x20 ||
		    ((const uint8_t *)hash.data)[i] > 0x7e)
			goto binary;
	return json_stringn(hash.size > 0 ? hash.data : "", hash.size);
binary:
	for (size_t i = 0; i < hash.size && size + 2 < sizeof text; i++, size += 2)
		snprintf(text + size, 3, "%02x", ((const uint8_t *)hash.data)[i]);
	return json_stringn(text, size);
}

/* The head of the leader, as far as it can be asked; 0: it cannot. */
static uint64_t ask_leader(const struct tool *tool)
{
	struct annal_client *client = tool_connect(tool, tool->url, "read_from=leader");
	struct annal_server server;
	struct annal_pong pong;
	uint64_t head = 0;

	/* The greeting of any node tells who leads. */
	if (client != NULL && annal_hello(client, &server) == ANNAL_OK && server.leader_id > 0 &&
	    annal_ping(client, &pong) == ANNAL_OK && pong.role.size == 6 &&
	    memcmp(pong.role.data, "leader", 6) == 0)
		head = pong.head;
	annal_client_free(client);
	return head;
}

/* A node waits for a position that it has not applied yet. There is nothing to wait for when the
 * leader has none of it either. */
static bool is_beyond(const struct tool *tool, uint64_t position, uint64_t *head)
{
	struct annal_pong pong;

	if (annal_ping(tool->client, &pong) != ANNAL_OK || position <= pong.head)
		return false;
	*head = ask_leader(tool);
	return *head > 0 && position > *head;
}

static enum tool_exit run_digest(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	uint64_t position = arguments->position, head;
	struct annal_bytes hash;

	if (position > 0 && is_beyond(tool, position, &head)) {
		tool_complain("digest: position %" PRIu64
			      " is beyond the head of the store, which is %" PRIu64,
			      position, head);
		return TOOL_REFUSED;
	}
	if (annal_digest(tool->client, &position, &hash) != ANNAL_OK)
		return tool_failed(tool->client, "digest");
	tool_print_object(tool, json_pack("{s:I, s:o}", "position", (json_int_t)position, "hash",
					  hash_as_text(hash)));
	return TOOL_DONE;
}

const struct tool_command tool_digest = {
	.name = "digest",
	.summary = "Show the running hash over all records: equal on all nodes.",
	.details = "Example: annal digest --position 1000",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.client_options = TOOL_ONE_NODE,
	.run = run_digest,
};
