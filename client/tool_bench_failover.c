/*
 * Rows that kill and restart nodes, by commands that the user gives. Appends go on meanwhile, a few in
 * flight, and the longest time between two acknowledgements is what a client sees of the loss.
 */
#include "client/tool_bench.h"

#include "base/clock.h"
#include "base/memory.h"
#include <inttypes.h>
#include <spawn.h>
#include <sys/wait.h>

#define IN_FLIGHT     4u
#define CALM_MS       1500 /* of appends before the kill and after the first success behind it */
#define COMMAND_MS    60000
#define CAUGHT_UP_LAG 1000u /* positions; appends go on, so it is never quite there */

extern char **environ;

struct pulse {
	struct bench *bench;
	struct annal_client *client;
	char stream[64];
	uint64_t acknowledged, failed;
	int64_t last_ns, longest_gap_ns;
	bool watching;
};

static void pulse_done(void *arg, enum annal_code code, const struct annal_append_result *result,
		       const struct annal_error *error)
{
	struct pulse *pulse = arg;
	int64_t now = clock_monotonic_ns();

	(void)result;
	(void)error;
	if (code != ANNAL_OK) {
		pulse->failed++;
		return;
	}
	if (pulse->watching && now - pulse->last_ns > pulse->longest_gap_ns)
		pulse->longest_gap_ns = now - pulse->last_ns;
	pulse->last_ns = now;
	pulse->acknowledged++;
}

static void pulse_turn(struct pulse *pulse)
{
	const struct annal_new_event event = {
		.type = "Measured", .data = {pulse->bench->data, sizeof pulse->bench->data}};
	const struct annal_write write = {
		.stream = pulse->stream, .events = &event, .events_count = 1};
	const struct annal_append append = {
		.writes = &write, .writes_count = 1, .timeout_ms = 30000};

	while (annal_in_flight(pulse->client) < IN_FLIGHT &&
	       annal_append_async(pulse->client, &append, pulse_done, pulse) == ANNAL_OK)
		;
	annal_poll(pulse->client, 5);
}

static void pulse_for(struct pulse *pulse, int64_t milliseconds)
{
	int64_t end = clock_monotonic_ms() + milliseconds;

	while (clock_monotonic_ms() < end)
		pulse_turn(pulse);
}

/* `command ID` by the shell, with appends going on; its exit code is 0. */
static bool run_command(struct pulse *pulse, const char *command, uint64_t id)
{
	char line[2048];
	char shell[] = "/bin/sh", option[] = "-c";
	char *const argv[] = {shell, option, line, NULL};
	int64_t end = clock_monotonic_ms() + COMMAND_MS;
	int status = -1;
	pid_t pid;

	if (snprintf(line, sizeof line, "%s %" PRIu64 " >/dev/null", command, id) >=
	    (int)sizeof line)
		return false;
	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environ) != 0)
		return false;
	while (waitpid(pid, &status, WNOHANG) == 0 && clock_monotonic_ms() < end)
		pulse_turn(pulse);
	if (status != 0)
		tool_complain("bench: `%s` failed", line);
	return status == 0;
}

/* A node that leads, or one that does not; and its address. False after a complaint. */
static bool find_node(struct pulse *pulse, bool leader, uint64_t *id,
		      char address[ANNAL_ADDRESS_BYTES])
{
	struct annal_cluster_status *status = memory_zeroed(1, sizeof *status);
	bool found = false;

	if (annal_cluster_status(pulse->client, status) != ANNAL_OK)
		tool_failed(pulse->client, "bench");
	for (size_t i = 0; i < status->nodes_count && status->leader_id > 0; i++) {
		const struct annal_member *node = &status->nodes[i];

		if ((node->id == status->leader_id) != leader)
			continue;
		*id = node->id;
		snprintf(address, ANNAL_ADDRESS_BYTES, "%.*s",
			 (int)(node->client_address.size & 0xff),
			 node->client_address.size > 0 ? (const char *)node->client_address.data
						       : "");
		found = true;
	}
	if (!found)
		tool_complain("bench: there is no leader, or it is alone");
	memory_free(status);
	return found;
}

/* Until the node has what this client saw acknowledged, but for a little. */
static bool wait_caught_up(struct pulse *pulse, const char *address)
{
	int64_t end = clock_monotonic_ms() + COMMAND_MS;
	char url[ANNAL_ADDRESS_BYTES + 16];
	struct annal_pong pong = {0};

	snprintf(url, sizeof url, "annal://%s", address);
	struct annal_client *node =
		tool_connect(pulse->bench->tool, url, "read_from=any&follow=off");
	uint64_t wanted = annal_client_position(pulse->client);
	bool there = false;

	while (node != NULL && !there && clock_monotonic_ms() < end) {
		pulse_turn(pulse);
		there = annal_ping(node, &pong) == ANNAL_OK &&
			pong.head + CAUGHT_UP_LAG >= wanted && pong.head > 0;
	}
	annal_client_free(node);
	if (!there)
		tool_complain("bench: %s has not caught up after 60 s", address);
	return there;
}

static bool fail_over(struct pulse *pulse, struct bench_row *row)
{
	const struct bench_options *options = pulse->bench->options;
	char address[ANNAL_ADDRESS_BYTES];
	uint64_t id;

	if (!find_node(pulse, true, &id, address))
		return false;
	pulse_for(pulse, CALM_MS);
	pulse->longest_gap_ns = 0;
	pulse->watching = true;
	bool good = run_command(pulse, options->kill_command, id);
	uint64_t before = pulse->acknowledged;

	/* At least IN_FLIGHT may have been acknowledged before the node died. */
	while (good && pulse->acknowledged <= before + IN_FLIGHT && pulse->failed == 0)
		pulse_turn(pulse);
	pulse_for(pulse, CALM_MS);
	pulse->watching = false;
	if (!good || pulse->failed > 0)
		return false;
	histogram_add(&row->latency, (uint64_t)pulse->longest_gap_ns);
	return run_command(pulse, options->restart_command, id) && wait_caught_up(pulse, address);
}

static bool restart_one(struct pulse *pulse, struct bench_row *row)
{
	char address[ANNAL_ADDRESS_BYTES];
	uint64_t id;

	if (!find_node(pulse, false, &id, address))
		return false;
	pulse_for(pulse, CALM_MS);
	int64_t begin = clock_monotonic_ns();

	if (!run_command(pulse, pulse->bench->options->restart_command, id) ||
	    !wait_caught_up(pulse, address))
		return false;
	histogram_add(&row->latency, (uint64_t)(clock_monotonic_ns() - begin));
	return true;
}

static bool repeat(struct bench *bench, struct bench_row *row, const char *what,
		   bool (*once)(struct pulse *, struct bench_row *))
{
	struct pulse pulse = {.bench = bench, .client = bench_client(bench, "")};
	int64_t begin = clock_monotonic_ns();
	bool good = pulse.client != NULL;

	bench_stream_name(bench, what, 0, pulse.stream);
	for (uint64_t i = 0; good && i < bench->options->times; i++)
		good = once(&pulse, row);
	row->events = pulse.acknowledged;
	row->errors = pulse.failed;
	row->seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
	if (!good)
		tool_complain("bench: %s: gave up after %" PRIu64 " times, %" PRIu64
			      " appends failed",
			      what, row->latency.count, pulse.failed);
	annal_client_free(pulse.client);
	return good;
}

bool bench_failover(struct bench *bench, struct bench_row *row)
{
	return repeat(bench, row, "failover", fail_over);
}

bool bench_restart(struct bench *bench, struct bench_row *row)
{
	return repeat(bench, row, "restart", restart_one);
}
