/*
 * One seed, from beginning to end:
 *
 *   FAULTS    nodes, clients and subscribers run, and the nemesis strikes
 *   CALM      all is healed, every node runs: soon each client has an append acknowledged
 *   SILENCE   clients stop: soon all nodes have the same log
 *   READING   everything is read from every node and judged; subscribers get the rest of it
 *   STOPPING  every node is stopped in order, and leaves nothing open
 */
#include "base/log.h"
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>
#include <uv.h>

#define STEP_NS       (20 * OS_MS)
#define LOOK_EVERY    5                /* steps */
#define RECOVER_NS    (10 * OS_SECOND) /* after the last fault, every client is served */
#define SETTLE_NS     (40 * OS_SECOND) /* an operator replaces what is being replaced */
#define AGREE_NS      (10 * OS_SECOND)
#define MORE_FAULTS_S 45 /* for those that were planned and did not strike */

struct whole whole;

/* ---- what a seed draws ---- */

static uint64_t pick(const uint64_t *values, size_t count)
{
	return values[os_between(0, count - 1)];
}
#define PICK(...)                                                                                  \
	pick((const uint64_t[]){__VA_ARGS__},                                                      \
	     sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void draw_machine(struct os_profile *profile)
{
	profile->preempt = (unsigned)PICK(0, 30, 200);
	profile->stall = (unsigned)PICK(0, 50, 250);
	profile->latency_low_ns = PICK(30, 100, 500) * OS_US;
	profile->latency_high_ns = profile->latency_low_ns + PICK(50, 500, 5000) * OS_US;
	profile->late = (unsigned)PICK(0, 5, 20);
	profile->window_bytes = PICK(8, 64, 1024) * 1024;
	profile->read_bytes = PICK(600, 4096, 1 << 20);
	profile->disk_low_ns = PICK(50, 300, 1000) * OS_US;
	profile->disk_high_ns = profile->disk_low_ns + PICK(100, 2000, 8000) * OS_US;
	profile->aio_again = (unsigned)PICK(0, 500, 1000);
}

/* As small as settings may be, in some seeds. */
static void draw_limits(struct whole_limits *limits)
{
	limits->election_ms = PICK(300, 500, 1000);
	limits->tail_bytes = PICK(1, 2, 64) << 20;
	limits->log_bytes = PICK(1, 1, 48) << 20;
	limits->trailing_bytes = 256 * 1024;
	limits->out_queue_bytes = PICK(64, 256, 8192) * 1024;
	limits->read_threads = PICK(1, 2, 4);
	limits->window = PICK(1, 7, 100, 1024);
	limits->pace_ns = PICK(5, 20, 60) * OS_MS;
	limits->think_low_ns = PICK(1, 5, 20) * OS_MS;
	limits->think_high_ns = limits->think_low_ns + PICK(5, 20, 50) * OS_MS;
	limits->payload_bytes = PICK(16, 64, 600, 2000);
	limits->streams = PICK(2, 5, 20);
	limits->fault_low_ns = PICK(100, 300, 800) * OS_MS;
	limits->fault_high_ns = limits->fault_low_ns + PICK(200, 1500) * OS_MS;
	limits->fault_lasts_ns = PICK(200, 800, 2500) * OS_MS;
}

static void note_limits(const struct whole_limits *limits)
{
	if (limits->tail_bytes == 1 << 20)
		whole_saw(WHOLE_SEEN_SMALL_TAIL);
	if (limits->log_bytes == 1 << 20)
		whole_saw(WHOLE_SEEN_SMALL_LOG);
	if (limits->out_queue_bytes == 64 * 1024)
		whole_saw(WHOLE_SEEN_SMALL_QUEUE);
	if (limits->window == 1)
		whole_saw(WHOLE_SEEN_WINDOW_ONE);
}

static struct os_process *make_process(unsigned number, const char *name, unsigned suffix)
{
	struct os_process *process = &os.processes[number];

	snprintf(process->name, sizeof process->name, "%s %u", name, suffix);
	return process;
}

static void make_processes(void)
{
	unsigned number = WHOLE_NODES_MAX + 1;

	whole_nodes_make();
	for (unsigned i = 0; i < WHOLE_CLIENTS; i++)
		whole.clients[i] = make_process(number++, "client", i);
	for (unsigned i = 0; i < WHOLE_READERS; i++)
		whole.clients[WHOLE_CLIENTS + i] = make_process(number++, "looker", i);
	for (unsigned i = 0; i < WHOLE_PLAIN; i++)
		whole.plain[i] = make_process(number++, "plain", i);
	whole.operator= make_process(number++, "operator", 0);
	whole.window = make_process(number++, "window", 0);
	for (unsigned i = 0; i < WHOLE_SUBSCRIBERS; i++)
		whole.subscribers[i] = make_process(number++, "sub", i);
	whole.reader = make_process(number++, "reader", 0);
	ASSERT(number <= OS_PROCESSES);
	for (unsigned i = 1; i < number; i++)
		os.processes[i].clock_rate_ppm = (int64_t)os_between(0, 400) - 200;
}

/* libuv makes a pipe of its own with the first loop, for signals: it is nobody's. */
static void prepare_libuv(void)
{
	uv_loop_t loop;
	int status = uv_loop_init(&loop);

	ASSERT(status == 0);
	status = uv_loop_close(&loop);
	ASSERT(status == 0);
}

/* ---- steps ---- */

static void step(void)
{
	static unsigned steps;

	os_run_until(os.now + STEP_NS);
	if (whole.calm_at != OS_NEVER)
		nemesis_stopping();
	if (++steps % LOOK_EVERY == 0)
		for (unsigned i = 0; i < whole.nodes_count; i++)
			whole_node_look(&whole.nodes[i]);
	for (unsigned i = 0; i < whole.nodes_count; i++) {
		const struct os_process *process = whole.nodes[i].process;

		if (!process->runs && process->exit_code > 0 && !whole.nodes[i].excused)
			os_violation("%s has ended with exit code %d", process->name,
				     process->exit_code);
	}
}

/* Step until it is so; a violation when it is not within that time. */
static void await(bool (*is_so)(void), uint64_t within, const char *otherwise)
{
	uint64_t until = os.now + within;

	while (!os.violated && !is_so()) {
		if (os.now >= until) {
			os_violation("%s within %" PRIu64 " s", otherwise, within / OS_SECOND);
			return;
		}
		step();
	}
}

static void faults(void)
{
	uint64_t until = os.now + whole.options.seconds * OS_SECOND;
	uint64_t last = until + MORE_FAULTS_S * OS_SECOND;

	nemesis_begin();
	while (!os.violated && os.now < last && nemesis_step(os.now >= until))
		step();
	nemesis_end();
}

static bool all_run(void)
{
	nemesis_stopping();
	for (unsigned i = 0; i < whole.nodes_count; i++) {
		const struct whole_node *node = &whole.nodes[i];

		if (!node->retired && (!node->process->runs || node->stopping))
			return false;
	}
	return whole_members_settled();
}

static bool all_served(void)
{
	return whole.calm_clients == WHOLE_CLIENTS;
}

static bool clients_ended(void)
{
	return whole.appending == 0;
}

static bool nodes_agree(void)
{
	return whole_nodes_agree(whole.silent_at);
}

static bool reader_ended(void)
{
	return !whole.reader->runs;
}

static bool subscribers_ended(void)
{
	return whole.subscribing == 0;
}

static bool nodes_ended(void)
{
	for (unsigned i = 0; i < whole.nodes_count; i++)
		if (whole.nodes[i].process->runs)
			return false;
	return true;
}

static void calm(void)
{
	await(all_run, SETTLE_NS, "not every node runs, or not every one is replaced");
	whole.calm_at = os.now;
	os_trace("calm");
	await(all_served, RECOVER_NS, "not every client had an append acknowledged");
	whole.outcome->converged_ns = os.now - whole.calm_at;
	whole.ending = true;
	await(clients_ended, 10 * OS_SECOND, "not every client has ended");
	os_trace("silence");
	whole.silent_at = os.now;
	await(nodes_agree, AGREE_NS, "not every node has the same log");
}

static void judge(void)
{
	if (os.violated)
		return;
	os_trace("reading");
	whole_reader_start();
	await(reader_ended, 60 * OS_SECOND, "not everything was read");
	await(subscribers_ended, 45 * OS_SECOND, "not every subscriber has ended");
}

static void stop(void)
{
	if (os.violated)
		return;
	os_trace("stopping");
	for (unsigned i = 0; i < whole.nodes_count; i++)
		if (whole_node_in_use(&whole.nodes[i]))
			whole_node_stop(&whole.nodes[i]);
	await(nodes_ended, 15 * OS_SECOND, "not every node has stopped");
}

/* ---- the run ---- */

static void conclude(struct whole_outcome *outcome)
{
	outcome->seed = whole.options.seed;
	outcome->nodes = whole.options.nodes;
	outcome->violated = os.violated;
	memcpy(outcome->message, os.message, sizeof outcome->message);
	outcome->trace_hash = os.trace_hash;
	outcome->virtual_ns = os.now;
	outcome->counters = os.counters;
}

void whole_saw(enum whole_seen what)
{
	whole.outcome->seen[what]++;
}

void whole_run(const struct whole_options *options, struct whole_outcome *outcome)
{
	*outcome = (struct whole_outcome){0};
	whole = (struct whole){.options = *options, .outcome = outcome, .calm_at = OS_NEVER};
	log_set_level(LOG_LEVEL_INFO);
	os_begin(options->seed * 8 + options->nodes, options->trace);
	prepare_libuv();
	draw_machine(&os.profile);
	draw_limits(&whole.limits);
	note_limits(&whole.limits);
	make_processes();
	model_begin();
	for (unsigned i = 0; i < whole.nodes_count; i++)
		whole_node_start(&whole.nodes[i]);
	whole_clients_start();
	whole_subscribers_start();
	whole_plain_start();
	whole_window_start();
	whole_members_start();
	faults();
	calm();
	judge();
	stop();
	conclude(outcome);
}
