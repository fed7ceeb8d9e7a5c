/* The rows, how they are run one after the other, and how they are shown. */
#include "client/tool_bench.h"

#include "base/clock.h"
#include "base/limits.h"
#include "base/memory.h"
#include <inttypes.h>

static const struct {
	const char *name;
	const char *what;
	bench_run *run;
	uint32_t parameter;
} rows[] = {
	/* First: what it adds to the nodes' memory would else find room in what they have freed. */
	{"idle", "single appends with 10,000 idle subscriptions on the leader, 64 in flight",
	 bench_idle, 64},
	{"append-1", "single appends, exact version, 1 in flight", bench_append_single, 1},
	{"append-16", "the same, 16 in flight", bench_append_single, 16},
	{"append-64", "the same, 64 in flight", bench_append_single, 64},
	{"append-256", "the same, 256 in flight", bench_append_single, 256},
	{"batch-100", "appends of 100 events, 16 in flight", bench_append_batch, 16},
	{"read-all", "the whole store from a follower, pages of 10,000", bench_read_all, 0},
	{"read-stream", "streams of 100 events, one after the other", bench_read_stream, 1},
	{"read-stream-16", "the same, 16 in flight", bench_read_stream, 16},
	{"subscribe", "1,000 appends/s: acknowledged to delivered by a follower", bench_subscribe,
	 1000},
	{"import", "the file, as `annal import` does", bench_import, 0},
	{"failover", "leader killed: longest time without an acknowledgement", bench_failover, 0},
	{"restart", "a node restarted: until it answers and has caught up", bench_restart, 0},
	{"condition", "single appends, each with a condition on a tag that many have, 64 in flight",
	 bench_condition_after, 64},
	{"condition-and", "the same, on two tags that no event has both of",
	 bench_condition_two_tags, 64},
	{"read-tag", "events with a tag that one in ten has, from a follower", bench_read_tag, 0},
	{"read-type", "events of a type that one in ten is of, from a follower", bench_read_type,
	 0},
	{"linearizable", "linearizable reads of one event on a follower, 64 in flight",
	 bench_linearizable, 64},
	{"backup", "single appends while a follower backs up, 64 in flight", bench_backup, 64},
};
#define ROWS_COUNT (sizeof rows / sizeof rows[0])

enum {
	KEY_ROWS = 256,
	KEY_STREAMS,
	KEY_TIMES,
	KEY_FILE,
	KEY_DIR,
	KEY_KILL,
	KEY_RESTART,
	KEY_JSON,
	KEY_TAGGED,
	KEY_BACKUP
};

static const struct argp_option options[] = {
	{"rows", KEY_ROWS, "NAME,...", 0, "Only these rows", 0},
	{"seconds", 's', "N", 0, "How long each timed row runs (5)", 0},
	{"streams", KEY_STREAMS, "N", 0, "Streams that single appends go to (10000)", 0},
	{"file", KEY_FILE, "FILE", 0, "Row `import`: the file", 0},
	{"cluster-dir", KEY_DIR, "DIR", 0,
	 "Memory and bytes written of the nodes DIR/node-N (annald.pid), on this machine", 0},
	{"kill", KEY_KILL, "COMMAND", 0, "Row `failover`: kills the node whose id is added", 0},
	{"restart", KEY_RESTART, "COMMAND", 0,
	 "Rows `failover` and `restart`: starts the node whose id is added", 0},
	{"times", KEY_TIMES, "N", 0, "Failovers and restarts (20)", 0},
	{"tagged", KEY_TAGGED, "N", 0,
	 "Rows `condition`, `read-tag` and the like: events with the tag (1000000)", 0},
	{"backup-dir", KEY_BACKUP, "DIR", 0,
	 "Row `backup`: absolute path of a folder of the nodes, on this machine (--cluster-dir)",
	 0},
	{"json", KEY_JSON, "FILE", 0, "Write the rows to FILE as JSON, too", 0},
	{0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct bench_options *into = ((struct tool *)state->input)->arguments;

	switch (key) {
	case KEY_ROWS:
		into->rows = argument;
		return 0;
	case 's':
		into->seconds = tool_number(state, "--seconds", argument, 1, 3600);
		return 0;
	case KEY_STREAMS:
		into->streams = tool_number(state, "--streams", argument, 512, 10000000);
		return 0;
	case KEY_TIMES:
		into->times = tool_number(state, "--times", argument, 1, 1000);
		return 0;
	case KEY_FILE:
		into->file = argument;
		return 0;
	case KEY_DIR:
		into->cluster_dir = argument;
		return 0;
	case KEY_KILL:
		into->kill_command = argument;
		return 0;
	case KEY_RESTART:
		into->restart_command = argument;
		return 0;
	case KEY_JSON:
		into->json = argument;
		return 0;
	case KEY_TAGGED:
		into->tagged = tool_number(state, "--tagged", argument, 10000, 1000000000);
		return 0;
	case KEY_BACKUP:
		into->backup_dir = argument;
		if (argument[0] != '/')
			argp_error(state, "--backup-dir: '%s' is no absolute path", argument);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is one too many: bench takes no operands", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- what rows share ---- */

struct annal_client *bench_client(const struct bench *bench, const char *client_options)
{
	return tool_connect(bench->tool, bench->tool->url, client_options);
}

void bench_stream_name(const struct bench *bench, const char *what, uint64_t number, char name[64])
{
	snprintf(name, 64, "Bench-%s-%s-%05" PRIu64, bench->tag, what, number);
}

void bench_clock_begin(struct bench_clock *clock, uint64_t seconds)
{
	*clock = (struct bench_clock){.begin_ns = clock_monotonic_ns()};
	clock->end_ns = clock->begin_ns + (int64_t)seconds * 1000000000;
}

bool bench_clock_runs(const struct bench_clock *clock)
{
	return clock_monotonic_ns() < clock->end_ns;
}

void bench_clock_count(struct bench_clock *clock, int64_t now_ns, uint64_t count)
{
	int64_t slice_ns = (clock->end_ns - clock->begin_ns) / BENCH_SLICES;
	int64_t slice = (now_ns - clock->begin_ns) / slice_ns;

	if (slice >= 0 && slice < BENCH_SLICES) /* what comes after the end does not count */
		clock->slices[slice] += count;
}

void bench_clock_end(const struct bench_clock *clock, struct bench_row *row)
{
	row->seconds = (double)(clock->end_ns - clock->begin_ns) / 1e9;
	for (uint32_t i = 0; i < BENCH_SLICES; i++) {
		row->events += clock->slices[i];
		row->slices[i] = (double)clock->slices[i] / (row->seconds / BENCH_SLICES);
	}
}

/* ---- results ---- */

/* Largest difference between slices, in percent of their mean. */
static double spread(const struct bench_row *row)
{
	double least = row->slices[0], most = row->slices[0], sum = 0;

	for (uint32_t i = 0; i < BENCH_SLICES; i++) {
		least = row->slices[i] < least ? row->slices[i] : least;
		most = row->slices[i] > most ? row->slices[i] : most;
		sum += row->slices[i];
	}
	return sum > 0 ? (most - least) * 100 * BENCH_SLICES / sum : 0;
}

static double share(uint64_t part, uint64_t all)
{
	return all > 0 ? 100.0 * (double)part / (double)all : 0;
}

static double milliseconds(const struct bench_row *row, double quantile)
{
	return (double)histogram_quantile(&row->latency, quantile) / 1e6;
}

/* Of all nodes together, for each event; 0 when not known. A node that was restarted counts anew. */
static double written_per_event(const struct bench_row *row)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < row->after.nodes && i < row->before.nodes; i++)
		if (row->after.written[i] > row->before.written[i])
			bytes += row->after.written[i] - row->before.written[i];
	return row->events > 0 && row->after.nodes > 0
		       ? (double)bytes / (double)row->events / row->after.nodes
		       : 0;
}

static uint64_t memory_max(const struct bench_row *row)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < row->after.nodes; i++)
		most = row->after.memory[i] > most ? row->after.memory[i] : most;
	return most;
}

/* To what it is compared with. */
static double ratio(const struct bench_row *row)
{
	return row->base > 0 && row->seconds > 0 ? (double)row->events / row->seconds / row->base
						 : 0;
}

static json_t *row_as_json(const char *name, const struct bench_row *row)
{
	uint64_t cpu = row->after.cpu_all - row->before.cpu_all;

	json_t *object = json_pack(
		"{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:I, s:f, s:f, s:f, s:s}", "row",
		name, "events", (json_int_t)row->events, "seconds", row->seconds,
		"events_per_second", row->seconds > 0 ? (double)row->events / row->seconds : 0,
		"p50_ms", milliseconds(row, 0.5), "p99_ms", milliseconds(row, 0.99), "max_ms",
		(double)row->latency.max / 1e6, "samples", (json_int_t)row->latency.count,
		"spread_percent", spread(row), "memory_bytes_max", (json_int_t)memory_max(row),
		"written_bytes_per_event_and_node", written_per_event(row), "idle_percent",
		share(row->after.cpu_idle - row->before.cpu_idle, cpu), "steal_percent",
		share(row->after.cpu_steal - row->before.cpu_steal, cpu), "note", row->note);

	if (row->base > 0) {
		json_object_set_new(object, "base_events_per_second", json_real(row->base));
		json_object_set_new(object, "ratio_to_base", json_real(ratio(row)));
	}
	return object;
}

static void print_head(void)
{
	printf("%-13s %10s %10s %10s %10s %8s %9s %9s %6s %6s  %s\n", "ROW", "EVENTS/S", "P50 ms",
	       "P99 ms", "MAX ms", "SPREAD", "MEM MiB", "B/EVENT", "IDLE", "STEAL", "NOTE");
}

static void print_row(const char *name, const struct bench_row *row)
{
	uint64_t cpu = row->after.cpu_all - row->before.cpu_all;

	printf("%-13s %10.0f %10.3f %10.3f %10.3f %6.0f %% %9.0f %9.0f %4.0f %% %4.1f %%  %s\n",
	       name, row->seconds > 0 ? (double)row->events / row->seconds : 0,
	       milliseconds(row, 0.5), milliseconds(row, 0.99), (double)row->latency.max / 1e6,
	       spread(row), (double)memory_max(row) / (double)MIB, written_per_event(row),
	       share(row->after.cpu_idle - row->before.cpu_idle, cpu),
	       share(row->after.cpu_steal - row->before.cpu_steal, cpu), row->note);
	fflush(stdout);
}

/* ---- the run ---- */

/* What a row that is asked for by name cannot do without; NULL: nothing. */
static const char *missing_for(const struct bench_options *wanted, size_t number)
{
	bench_run *run = rows[number].run;

	if (run == bench_import && wanted->file == NULL)
		return "--file FILE";
	if (run == bench_failover &&
	    (wanted->kill_command == NULL || wanted->restart_command == NULL))
		return "--kill and --restart";
	if (run == bench_restart && wanted->restart_command == NULL)
		return "--restart";
	if (run == bench_backup && wanted->backup_dir == NULL)
		return "--backup-dir";
	return NULL;
}

static bool is_wanted(const struct bench_options *wanted, size_t number)
{
	const char *name = rows[number].name;
	const char *at = wanted->rows;
	size_t size = strlen(name);

	if (at == NULL)
		return missing_for(wanted, number) == NULL;
	while ((at = strstr(at, name)) != NULL) {
		if ((at == wanted->rows || at[-1] == ',') && (at[size] == ',' || at[size] == '\0'))
			return true;
		at += size;
	}
	return false;
}

static bool check_rows(const struct bench_options *wanted)
{
	bool any = false;

	for (size_t i = 0; i < ROWS_COUNT; i++) {
		if (!is_wanted(wanted, i))
			continue;
		any = true;
		if (missing_for(wanted, i) == NULL)
			continue;
		tool_complain("bench: row %s: %s is wanted", rows[i].name, missing_for(wanted, i));
		return false;
	}
	if (!any)
		tool_complain("bench: --rows names no row: see `annal bench --help`");
	return any;
}

static bool run_row(struct bench *bench, size_t number, json_t *results)
{
	struct bench_row *row = memory_zeroed(1, sizeof *row);
	bool table = tool_format(bench->tool) == TOOL_FORMAT_TABLE;

	bench->parameter = rows[number].parameter;
	snprintf(row->note, sizeof row->note, "%s", rows[number].what);
	if (!table)
		fprintf(stderr, "annal: bench: %s: %s\n", rows[number].name, rows[number].what);
	bench_usage_read(bench->options->cluster_dir, &row->before);
	bool good = rows[number].run(bench, row);

	bench_usage_read(bench->options->cluster_dir, &row->after);
	if (good && row->errors > 0)
		tool_complain("bench: %s: %" PRIu64 " appends failed", rows[number].name,
			      row->errors);
	if (good) {
		if (table)
			print_row(rows[number].name, row);
		json_array_append_new(results, row_as_json(rows[number].name, row));
	}
	memory_free(row);
	return good;
}

static void set_defaults(struct bench_options *into)
{
	into->seconds = into->seconds > 0 ? into->seconds : 5;
	into->streams = into->streams > 0 ? into->streams : 10000;
	into->times = into->times > 0 ? into->times : 20;
	into->tagged = into->tagged > 0 ? into->tagged : 1000000;
	if (into->backup_dir == NULL && into->cluster_dir != NULL && into->cluster_dir[0] == '/')
		into->backup_dir = into->cluster_dir;
}

static bool write_json(const char *path, json_t *results)
{
	json_t *object = json_pack("{s:O}", "rows", results);
	int status = json_dump_file(object, path, JSON_INDENT(1));

	if (status != 0)
		tool_complain("bench: %s cannot be written", path);
	json_decref(object);
	return status == 0;
}

static enum tool_exit run(struct tool *tool)
{
	struct bench bench = {.tool = tool, .options = tool->arguments};
	json_t *results = json_array();
	bool good = true;

	set_defaults(tool->arguments);
	if (!check_rows(bench.options)) {
		json_decref(results);
		return TOOL_USAGE;
	}
	uint8_t *much_data = memory_alloc(BENCH_MUCH_BYTES);

	random_bytes(bench.data, sizeof bench.data);
	random_bytes(much_data, BENCH_MUCH_BYTES);
	bench.much_data = much_data;
	snprintf(bench.tag, sizeof bench.tag, "%08" PRIx64, random_u64() & 0xffffffff);
	if (tool_format(tool) == TOOL_FORMAT_TABLE)
		print_head();
	for (size_t i = 0; i < ROWS_COUNT && good; i++) {
		if (!is_wanted(bench.options, i))
			continue;
		good = run_row(&bench, i, results);
	}
	if (tool_format(tool) != TOOL_FORMAT_TABLE)
		tool_print_object(tool, json_pack("{s:O}", "rows", results));
	if (bench.options->json != NULL)
		good = write_json(bench.options->json, results) && good;
	json_decref(results);
	memory_free(much_data);
	return good ? TOOL_DONE : TOOL_REFUSED;
}

const struct tool_command tool_bench = {
	.name = "bench",
	.summary = "Measure a running cluster.",
	.details = "Rows: idle, append-1, append-16, append-64, append-256 (256-byte events, exact "
		   "expected "
		   "versions), batch-100, read-all, read-stream, read-stream-16, subscribe, "
		   "import, failover, "
		   "restart, condition, condition-and, read-tag, read-type, linearizable, backup. "
		   "Spread: largest difference between five parts of the row, in percent of their "
		   "mean; "
		   "idle and steal: of this machine's processors, meanwhile.\n"
		   "Example: annal bench --rows append-1,append-64 --seconds 10",
	.options = options,
	.parse = parse,
	.arguments_size = sizeof(struct bench_options),
	.run = run,
};
