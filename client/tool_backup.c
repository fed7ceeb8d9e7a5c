/* `annal backup` and `annal verify`. */
#include "client/tool.h"

#include "base/backup_file.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/uuid.h"
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#define BACKUP_MS        (3600u * 1000u)
#define CATCH_UP_MS      10000u
#define PROGRESS_TERM_MS 300
#define PROGRESS_LINE_MS 5000

struct arguments {
	const char *path;
};

/* A line that is written over on a terminal. */
static void show_progress(const char *what, uint64_t done, uint64_t all, const char *unit)
{
	bool terminal = isatty(STDERR_FILENO);

	fprintf(stderr, "%sannal: %s: %3.0f %%, %s %" PRIu64 " of %" PRIu64 "%s",
		terminal ? "\r\033[K" : "", what,
		all > 0 ? 100.0 * (double)done / (double)all : 0.0, unit, done, all,
		terminal ? "" : "\n");
	fflush(stderr);
}

static void clear_progress(void)
{
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
}

static int64_t progress_ms(void)
{
	return isatty(STDERR_FILENO) ? PROGRESS_TERM_MS : PROGRESS_LINE_MS;
}

/* ---- backup ---- */

static error_t parse_backup(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	if (key == ARGP_KEY_END && arguments->path == NULL)
		argp_error(state, "which file? An absolute path on the node's disk is wanted");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	tool_operand(state, &arguments->path, argument);
	if (argument[0] != '/')
		argp_error(state,
			   "'%s' is no absolute path: the node writes the file, on its own disk, "
			   "and knows nothing of the folder you are in",
			   argument);
	return 0;
}

struct backing_up {
	struct tool *tool;
	bool done;
	enum tool_exit outcome;
	int64_t begin_ns;
};

static void backup_done(void *arg, enum annal_code code, const struct annal_backup *backup,
			const struct annal_error *error)
{
	struct backing_up *backing_up = arg;
	double seconds = (double)(clock_monotonic_ns() - backing_up->begin_ns) / 1e9;

	backing_up->done = true;
	clear_progress();
	if (code != ANNAL_OK) {
		tool_complain("backup: %s: %s", annal_code_name(code), error->message);
		tool_explain(error);
		backing_up->outcome = tool_exit_for(code);
		return;
	}
	tool_print_object(backing_up->tool,
			  json_pack("{s:s%, s:I, s:I, s:f}", "path", backup->path.data,
				    backup->path.size, "position", (json_int_t)backup->position,
				    "bytes", (json_int_t)backup->bytes, "seconds", seconds));
}

/* What the node's gauges say; nothing when it has none, or does not answer now. */
static void look(struct backing_up *backing_up)
{
	struct annal_client *client = backing_up->tool->client;
	struct annal_bytes result;

	if (annal_call(client, ANNAL_TARGET_READ, "stats", (struct annal_bytes){0}, &result) !=
	    ANNAL_OK)
		return;
	json_t *stats = tool_json_from_msgpack(span_of(result.data, result.size));
	json_int_t position = json_integer_value(json_object_get(stats, "backup_position"));
	json_int_t wanted = json_integer_value(json_object_get(stats, "backup_wanted"));

	if (!backing_up->done && wanted > 0)
		show_progress("backup", (uint64_t)position, (uint64_t)wanted, "position");
	json_decref(stats);
}

/*
 * A follower is behind the leader by a moment: what was acknowledged before must be in the file. False:
 * there is no node. Without a leader a node still has what it has.
 */
static bool wait_for_head(struct tool *tool)
{
	const struct annal_read read = {.limit = 1,
					.consistency = ANNAL_CONSISTENCY_LINEARIZABLE,
					.timeout_ms = CATCH_UP_MS};
	struct annal_page *page;
	enum annal_code code = annal_read(tool->client, &read, &page);

	if (code == ANNAL_OK)
		annal_page_free(page);
	else if (code != ANNAL_UNREACHABLE)
		tool_complain("backup: the node cannot tell whether it has all that was "
			      "acknowledged (%s): the file will have what it has",
			      annal_code_name(code));
	return code != ANNAL_UNREACHABLE;
}

static enum tool_exit run_backup(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;

	if (!wait_for_head(tool))
		return tool_failed(tool->client, "backup");
	struct backing_up backing_up = {.tool = tool, .begin_ns = clock_monotonic_ns()};
	int64_t look_ms = clock_monotonic_ms() + progress_ms();

	if (annal_backup_async(tool->client, arguments->path, 0, backup_done, &backing_up) !=
	    ANNAL_OK)
		return tool_failed(tool->client, "backup");
	while (!backing_up.done) {
		annal_poll(tool->client, 100);
		if (!backing_up.done && clock_monotonic_ms() >= look_ms) {
			look(&backing_up);
			look_ms = clock_monotonic_ms() + progress_ms();
		}
	}
	return backing_up.outcome;
}

const struct tool_command tool_backup = {
	.name = "backup",
	.operands = "PATH",
	.summary = "Let a node write all it keeps into one file, while it works.",
	.details =
		"PATH is on the disk of the node, the first one in the URL that answers. "
		"Interrupted, "
		"it leaves no file. `annal verify PATH` checks the file, `annald restore` makes a "
		"node of it.\n"
		"Example: annal backup /var/backups/annal-monday --url annal://127.0.0.1:7002",
	.parse = parse_backup,
	.arguments_size = sizeof(struct arguments),
	.client_options = TOOL_ONE_NODE,
	.timeout_ms = BACKUP_MS,
	.run = run_backup,
};

/* ---- verify ---- */

static error_t parse_verify(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	if (key == ARGP_KEY_END && arguments->path == NULL)
		argp_error(state, "which file? The path of a backup is wanted");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	tool_operand(state, &arguments->path, argument);
	return 0;
}

static void verify_progress(void *arg, uint64_t bytes, uint64_t all)
{
	int64_t *next_ms = arg;

	if (clock_monotonic_ms() < *next_ms)
		return;
	*next_ms = clock_monotonic_ms() + progress_ms();
	show_progress("verify", bytes, all, "byte");
}

static json_t *report_as_json(const char *path, const struct backup_report *report)
{
	const struct backup_header *header = &report->header;
	char cluster[UUID_TEXT_BYTES], created[40], last[40], hash[24];

	uuid_format(header->cluster_id, cluster);
	tool_time(header->created, created);
	tool_time(header->last_created, last);
	snprintf(hash, sizeof hash, "%016" PRIx64, header->hash);
	return json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:I}", "path",
			 path, "state", "good", "cluster_id", cluster, "node",
			 (json_int_t)header->node_id, "created", created, "position",
			 (json_int_t)header->position, "last_created", last, "hash", hash,
			 "records", (json_int_t)report->records, "holes", (json_int_t)report->holes,
			 "content_bytes", (json_int_t)report->content_bytes, "bytes",
			 (json_int_t)report->file_bytes);
}

static enum tool_exit run_verify(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	int64_t next_ms = clock_monotonic_ms() + progress_ms();
	struct backup_report report;
	struct error error;
	int status =
		backup_file_verify(arguments->path, verify_progress, &next_ms, &report, &error);

	clear_progress();
	if (status != 0) {
		tool_complain("verify: %s", error.message);
		return status == -ENOENT || status == -EACCES || status == -EISDIR ? TOOL_USAGE
										   : TOOL_REFUSED;
	}
	tool_print_object(tool, report_as_json(arguments->path, &report));
	return TOOL_DONE;
}

const struct tool_command tool_verify = {
	.name = "verify",
	.operands = "FILE",
	.summary = "Check a backup file: checksums, positions, running hash.",
	.details = "Needs no cluster. A data directory is checked by `annald verify`.\n"
		   "Example: annal verify /var/backups/annal-monday",
	.parse = parse_verify,
	.arguments_size = sizeof(struct arguments),
	.offline = true,
	.run = run_verify,
};
