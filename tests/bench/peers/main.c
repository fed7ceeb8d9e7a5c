/* One row on one store: see --help. */
#include "base/memory.h"
#include "tests/bench/peers/payload.h"
#include "tests/bench/peers/store.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"Usage: bench-STORE --row ROW --servers HOST:PORT,... [OPTION]...\n"
	"\n"
	"Rows: append, read-stream, fill, read-all, deliver, failover\n"
	"  --servers LIST     the leader first\n"
	"  --processes LIST   process ids of the servers, for what they cost\n"
	"  --folder PATH      on the disk that the servers write to\n"
	"  --mode TEXT        of the store, where it has several ways\n"
	"  --in-flight N      operations on their way at a time (1)\n"
	"  --batch N          events of each append, or in each stream that is read (1)\n"
	"  --size N           bytes of each event (256)\n"
	"  --first-stream N   number of the first stream (0)\n"
	"  --streams N        how many (10000)\n"
	"  --seconds N        measured (5)\n"
	"  --warm-up N        seconds before that (1)\n"
	"  --rate N           appends a second: deliver, failover (1000)\n"
	"  --timeout-ms N     of each append: failover (1000)\n"
	"  --expect N         events that read-all must find\n"
	"  --leader PID       process that failover kills\n"
	"  --after-kill TEXT  command for the shell, run at once after that\n";

enum {
	ROW = 1,
	SERVERS,
	PROCESSES,
	FOLDER,
	MODE,
	IN_FLIGHT,
	BATCH,
	SIZE,
	FIRST_STREAM,
	STREAMS,
	SECONDS,
	WARM_UP,
	RATE,
	TIMEOUT,
	EXPECT,
	LEADER,
	AFTER_KILL,
	HELP
};

static const struct option options[] = {
	{"row", required_argument, NULL, ROW},
	{"servers", required_argument, NULL, SERVERS},
	{"processes", required_argument, NULL, PROCESSES},
	{"folder", required_argument, NULL, FOLDER},
	{"mode", required_argument, NULL, MODE},
	{"in-flight", required_argument, NULL, IN_FLIGHT},
	{"batch", required_argument, NULL, BATCH},
	{"size", required_argument, NULL, SIZE},
	{"first-stream", required_argument, NULL, FIRST_STREAM},
	{"streams", required_argument, NULL, STREAMS},
	{"seconds", required_argument, NULL, SECONDS},
	{"warm-up", required_argument, NULL, WARM_UP},
	{"rate", required_argument, NULL, RATE},
	{"timeout-ms", required_argument, NULL, TIMEOUT},
	{"expect", required_argument, NULL, EXPECT},
	{"leader", required_argument, NULL, LEADER},
	{"after-kill", required_argument, NULL, AFTER_KILL},
	{"help", no_argument, NULL, HELP},
	{0},
};

static uint64_t number(const char *text, const char *name, uint64_t least, uint64_t most)
{
	char *end = NULL;
	uint64_t value = strtoull(text, &end, 10);

	if (end == text || *end != '\0' || value < least || value > most)
		work_fail("--%s takes a number from %llu to %llu, not '%s'", name,
			  (unsigned long long)least, (unsigned long long)most, text);
	return value;
}

static double seconds(const char *text, const char *name)
{
	char *end = NULL;
	double value = strtod(text, &end);

	if (end == text || *end != '\0' || value < 0 || value > 3600)
		work_fail("--%s takes seconds from 0 to 3600, not '%s'", name, text);
	return value;
}

static void parse_servers(char *text, struct work_options *into)
{
	for (char *part = strtok(text, ","); part != NULL; part = strtok(NULL, ",")) {
		if (into->servers_count == WORK_SERVERS_MAX)
			work_fail("at most %u servers", WORK_SERVERS_MAX);
		into->servers[into->servers_count++] = part;
	}
}

static void parse_processes(char *text)
{
	int processes[METER_PROCESSES_MAX];
	uint32_t count = 0;

	for (char *part = strtok(text, ","); part != NULL; part = strtok(NULL, ",")) {
		if (count == METER_PROCESSES_MAX)
			work_fail("at most %u processes", METER_PROCESSES_MAX);
		processes[count++] = (int)number(part, "processes", 1, INT32_MAX);
	}
	meter_init(processes, count);
}

static void parse_number(int option, const char *text, struct work_options *into)
{
	const char *name = options[option - 1].name;

	switch (option) {
	case IN_FLIGHT:
		into->in_flight = (uint32_t)number(text, name, 1, WORK_OPERATIONS_MAX);
		break;
	case BATCH:
		into->batch = (uint32_t)number(text, name, 1, WORK_BATCH_MAX);
		break;
	case SIZE:
		into->size = (uint32_t)number(text, name, PAYLOAD_BYTES_MIN, PAYLOAD_BYTES_MAX);
		break;
	case FIRST_STREAM:
		into->first_stream = (uint32_t)number(text, name, 0, 90000000);
		break;
	case STREAMS:
		into->streams = (uint32_t)number(text, name, 1, 9999999);
		break;
	case RATE:
		into->rate = (uint32_t)number(text, name, 1, 100000);
		break;
	case TIMEOUT:
		into->timeout_ms = (uint32_t)number(text, name, 1, 60000);
		break;
	case EXPECT:
		into->expect = number(text, name, 1, UINT32_MAX);
		break;
	default:
		into->leader = (int)number(text, name, 2, INT32_MAX);
	}
}

static void parse(int count, char **arguments, struct work_options *into)
{
	int option;

	while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
		switch (option) {
		case ROW:
			into->row = optarg;
			break;
		case SERVERS:
			parse_servers(optarg, into);
			break;
		case PROCESSES:
			parse_processes(optarg);
			break;
		case FOLDER:
			meter_init_disk(optarg);
			break;
		case MODE:
			into->mode = optarg;
			break;
		case AFTER_KILL:
			into->after_kill = optarg;
			break;
		case SECONDS:
			into->seconds = seconds(optarg, "seconds");
			break;
		case WARM_UP:
			into->warm_up = seconds(optarg, "warm-up");
			break;
		case HELP:
			fputs(usage, stdout);
			exit(0);
		case '?':
			fputs(usage, stderr);
			exit(2);
		default:
			parse_number(option, optarg, into);
		}
	}
}

static const struct row {
	const char *name;
	void (*run)(void);
	bool opens_itself;
	bool open_loop; /* operations are not bounded by --in-flight */
} rows[] = {
	{"append", row_append, false, false}, {"read-stream", row_read_stream, false, false},
	{"fill", row_fill, false, false},     {"read-all", row_read_all, false, false},
	{"deliver", row_deliver, true, true}, {"failover", row_failover, false, true},
};

static const struct row *find_row(const char *name)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (name != NULL && strcmp(rows[i].name, name) == 0)
			return &rows[i];
	work_fail("no row is called '%s': see --help", name == NULL ? "" : name);
}

int main(int argc, char **argv)
{
	struct work_options chosen = {.mode = "",
				      .in_flight = 1,
				      .batch = 1,
				      .size = 256,
				      .streams = 10000,
				      .seconds = 5,
				      .warm_up = 1,
				      .rate = 1000,
				      .timeout_ms = 1000};

	signal(SIGPIPE, SIG_IGN);
	parse(argc, argv, &chosen);
	const struct row *row = find_row(chosen.row);

	if (chosen.servers_count < 2)
		work_fail("--servers takes the leader and at least one more");
	if (row->open_loop)
		chosen.in_flight = store_open_loop_max;
	if (chosen.in_flight * 2 > chosen.streams)
		work_fail("%u in flight need at least twice as many streams", chosen.in_flight);
	payload_init();
	work_init(&chosen);
	if (!row->opens_itself)
		store_open(&work.options);
	row->run();
	return 0;
}
