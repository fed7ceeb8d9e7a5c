/* `annal status` and `annal cluster`. */
#include "client/tool.h"

#include "base/memory.h"
#include <inttypes.h>

/* ---- status ---- */

/* What one node says, put together with what the leader knows of it. */
struct row {
	uint64_t id;
	char address[ANNAL_ADDRESS_BYTES];
	char role[32], member[32], state[160];
	uint64_t term, head, lag, last_contact_ms;
};

static void copy_text(char *into, size_t size, struct annal_bytes text)
{
	snprintf(into, size, "%.*s", (int)(text.size < size ? text.size : size - 1),
		 text.size > 0 ? (const char *)text.data : "");
}

/* Ask the node itself; what it does not say stays as it was. */
static bool ask_node(const struct tool *tool, struct row *row)
{
	char url[ANNAL_ADDRESS_BYTES + 16];
	struct annal_cluster_status *status = memory_zeroed(1, sizeof *status);
	struct annal_pong pong;
	bool answered = false;

	snprintf(url, sizeof url, "annal://%s", row->address);
	struct annal_client *client = tool_connect(
		tool, url, tool->timeout_ms > 0 ? TOOL_ONE_NODE : TOOL_ONE_NODE "&timeout_ms=1000");

	if (client != NULL && annal_ping(client, &pong) == ANNAL_OK) {
		answered = true;
		row->head = pong.head;
		copy_text(row->role, sizeof row->role, pong.role);
		if (annal_cluster_status(client, status) == ANNAL_OK)
			row->term = status->term;
	} else if (client != NULL) {
		snprintf(row->role, sizeof row->role, "-");
		snprintf(row->state, sizeof row->state, "unreachable");
	}
	annal_client_free(client);
	memory_free(status);
	return answered;
}

static void fill_row(struct row *row, const struct annal_member *member)
{
	*row = (struct row){.id = member->id,
			    .head = member->head,
			    .lag = member->lag,
			    .last_contact_ms = member->last_contact_ms};
	copy_text(row->address, sizeof row->address, member->client_address);
	copy_text(row->member, sizeof row->member, member->role);
	copy_text(row->state, sizeof row->state, member->state);
}

static void print_cell(uint64_t value, int width)
{
	if (value == ANNAL_ABSENT)
		printf(" %*s", width, "-");
	else
		printf(" %*" PRIu64, width, value);
}

static void print_rows(const struct row *rows, size_t count)
{
	printf("%4s  %-22s %-10s %-8s %-12s %6s %12s %8s %8s\n", "NODE", "ADDRESS", "ROLE",
	       "MEMBER", "STATE", "TERM", "HEAD", "LAG", "CONTACT");
	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];

		printf("%4" PRIu64 "  %-22s %-10s %-8s %-12s", row->id, row->address, row->role,
		       row->member, row->state);
		print_cell(row->term > 0 ? row->term : ANNAL_ABSENT, 6);
		print_cell(row->head, 12);
		print_cell(row->lag, 8);
		print_cell(row->last_contact_ms, 6);
		printf("%s\n", row->last_contact_ms == ANNAL_ABSENT ? "" : "ms");
	}
}

static json_t *number_or_null(uint64_t value)
{
	return value == ANNAL_ABSENT ? json_null() : json_integer((json_int_t)value);
}

static json_t *rows_as_json(const struct row *rows, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct row *row = &rows[i];

		json_array_append_new(
			array, json_pack("{s:I, s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "id",
					 (json_int_t)row->id, "address", row->address, "role",
					 row->role, "member", row->member, "state", row->state,
					 "term", (json_int_t)row->term, "head",
					 number_or_null(row->head), "lag", number_or_null(row->lag),
					 "last_contact_ms", number_or_null(row->last_contact_ms)));
	}
	return array;
}

static void print_status(const struct tool *tool, const struct annal_cluster_status *status,
			 const struct row *rows)
{
	char cluster[256];

	copy_text(cluster, sizeof cluster, status->cluster);
	if (tool_format(tool) != TOOL_FORMAT_TABLE) {
		tool_print_object(tool, json_pack("{s:s, s:I, s:I, s:o}", "cluster", cluster,
						  "term", (json_int_t)status->term, "leader_id",
						  (json_int_t)status->leader_id, "nodes",
						  rows_as_json(rows, status->nodes_count)));
		return;
	}
	printf("cluster %s, term %" PRIu64 ", ", cluster, status->term);
	if (status->leader_id > 0)
		printf("leader: node %" PRIu64 "\n", status->leader_id);
	else
		printf("no leader\n");
	print_rows(rows, status->nodes_count);
}

/* Exit code 1 when not all nodes answer, or there is no leader. */
static enum tool_exit run_status(struct tool *tool)
{
	struct annal_cluster_status *status = memory_zeroed(1, sizeof *status);
	struct row *rows = memory_zeroed(ANNAL_NODES_MAX, sizeof *rows);
	enum tool_exit outcome = TOOL_DONE;

	if (annal_cluster_status(tool->client, status) != ANNAL_OK) {
		outcome = tool_failed(tool->client, "status");
	} else {
		if (status->leader_id == 0)
			outcome = TOOL_REFUSED;
		for (size_t i = 0; i < status->nodes_count; i++) {
			fill_row(&rows[i], &status->nodes[i]);
			if (!ask_node(tool, &rows[i]))
				outcome = TOOL_REFUSED;
		}
		print_status(tool, status, rows);
	}
	memory_free(rows);
	memory_free(status);
	return outcome;
}

const struct tool_command tool_status = {
	.name = "status",
	.summary = "Show the cluster as a table; asks every node.",
	.details = "Exit code 1 when a node does not answer or there is no leader.\n"
		   "Example: annal status --url annal://127.0.0.1:7001",
	.run = run_status,
};

/* ---- cluster ---- */

struct arguments {
	const char *words[5];
	size_t count;
	const char *role;
	uint64_t id;
};

static const struct argp_option options[] = {
	{"role", 'r', "ROLE", 0, "Of `add`: voter, standby or spare", 0},
	{0},
};

/* The verbs with their numbers of operands. */
static const struct verb {
	const char *name;
	size_t least, most;
	const char *usage;
} verbs[] = {
	{"status", 0, 0, "cluster status"},
	{"add", 3, 3, "cluster add ID PEER_ADDRESS CLIENT_ADDRESS [--role ROLE]"},
	{"assign", 2, 2, "cluster assign ID voter|standby|spare"},
	{"remove", 1, 1, "cluster remove ID"},
	{"transfer", 0, 1, "cluster transfer [ID]"},
};

static void check_words(struct argp_state *state, struct arguments *arguments)
{
	const char *verb = arguments->count > 0 ? arguments->words[0] : "";

	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		size_t operands = arguments->count - 1;

		if (strcmp(verb, verbs[i].name) != 0)
			continue;
		if (operands < verbs[i].least || operands > verbs[i].most)
			argp_error(state, "`annal %s` is wanted", verbs[i].usage);
		if (operands > 0)
			arguments->id = tool_number(state, "ID", arguments->words[1], 1, INT64_MAX);
		if (arguments->role != NULL && strcmp(verb, "add") != 0)
			argp_error(state, "--role goes with `cluster add`");
		return;
	}
	argp_error(state, "'%s': status, add, assign, remove or transfer is wanted", verb);
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case 'r':
		arguments->role = argument;
		return 0;
	case ARGP_KEY_ARG:
		if (arguments->count == sizeof arguments->words / sizeof arguments->words[0])
			argp_error(state, "'%s' is one too many", argument);
		arguments->words[arguments->count++] = argument;
		return 0;
	case ARGP_KEY_END:
		check_words(state, arguments);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static enum tool_exit run(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	const char *const *words = arguments->words;
	enum annal_code code;

	if (strcmp(words[0], "status") == 0)
		return run_status(tool);
	if (strcmp(words[0], "add") == 0)
		code = annal_cluster_add(tool->client, arguments->id, words[2], words[3],
					 arguments->role);
	else if (strcmp(words[0], "assign") == 0)
		code = annal_cluster_assign(tool->client, arguments->id, words[2]);
	else if (strcmp(words[0], "remove") == 0)
		code = annal_cluster_remove(tool->client, arguments->id);
	else
		code = annal_cluster_transfer(tool->client, arguments->id);
	if (code != ANNAL_OK)
		return tool_failed(tool->client, words[0]);
	tool_print_object(tool, json_pack("{s:s}", words[0], "done"));
	return TOOL_DONE;
}

const struct tool_command tool_cluster = {
	.name = "cluster",
	.operands = "status\nadd ID PEER_ADDRESS CLIENT_ADDRESS\nassign ID ROLE\nremove ID\n"
		    "transfer [ID]",
	.summary = "Look after the cluster's members.",
	.details = "Example: annal cluster add 4 10.0.0.4:7101 10.0.0.4:7001 --role standby",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.timeout_ms = 60000, /* a new voter catches up first */
	.run = run,
};
