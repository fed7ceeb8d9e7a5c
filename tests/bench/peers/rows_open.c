/* Rows with an open loop: operations begin at a rate, whether or not those before have ended. */
#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "tests/bench/peers/report.h"
#include "tests/bench/peers/store.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLLOW_READY_MS  10000
#define FOLLOW_LAST_MS   3000
#define BEFORE_KILL_S    2.0
#define AFTER_ANSWER_NS  (1500 * INT64_C(1000000))
#define FAILOVER_SECONDS 60
#define DRAIN_MS         3000
#define POLL_US          1000u

extern char **environ;

/* ---- at a rate ---- */

struct pace {
	int64_t next_ns, gap_ns;
	uint64_t begun, late; /* late: nothing was free, so it never began */
};

static void pace_init(struct pace *pace)
{
	ASSERT(work.options.rate > 0);
	*pace = (struct pace){.next_ns = clock_monotonic_ns(),
			      .gap_ns = INT64_C(1000000000) / work.options.rate};
}

static void pace_turn(struct pace *pace)
{
	int64_t now = clock_monotonic_ns();

	for (; pace->next_ns <= now; pace->next_ns += pace->gap_ns) {
		if (work_begin_one())
			pace->begun++;
		else
			pace->late++;
	}
	int64_t wait_us = (pace->next_ns - clock_monotonic_ns()) / 1000;

	store_poll(wait_us < 0 ? 0 : wait_us < POLL_US ? (uint32_t)wait_us : POLL_US);
}

static void pace_for(struct pace *pace, double seconds)
{
	int64_t end = clock_monotonic_ns() + (int64_t)(seconds * 1e9);

	while (clock_monotonic_ns() < end)
		pace_turn(pace);
}

/* ---- append to delivered ---- */

/* Shared with the process that follows. */
struct delivery {
	atomic_bool ready, over;
	_Atomic int64_t measure_from_ns, measure_to_ns; /* events sent in between are counted */
	_Atomic uint64_t delivered;                     /* of these */
	struct histogram latency;
};

static struct delivery *delivery;

void work_following(void)
{
	atomic_store(&delivery->ready, true);
}

bool work_follow_is_over(void)
{
	return atomic_load(&delivery->over);
}

void work_delivered(int64_t sent_ns)
{
	int64_t now = clock_monotonic_ns();

	if (sent_ns < atomic_load(&delivery->measure_from_ns) ||
	    sent_ns >= atomic_load(&delivery->measure_to_ns))
		return;
	histogram_add(&delivery->latency, (uint64_t)(now - sent_ns));
	atomic_fetch_add(&delivery->delivered, 1);
}

static pid_t start_follower(void)
{
	delivery = mmap(NULL, sizeof *delivery, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (delivery == MAP_FAILED)
		work_fail("mmap: %s", strerror(errno));
	atomic_store(&delivery->measure_from_ns, INT64_MAX);
	atomic_store(&delivery->measure_to_ns, INT64_MAX);
	pid_t follower = fork();

	if (follower < 0)
		work_fail("fork: %s", strerror(errno));
	if (follower > 0)
		return follower;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	store_follow();
	_exit(0);
}

static void wait_ready(pid_t follower)
{
	int64_t end = clock_monotonic_ms() + FOLLOW_READY_MS;

	while (!atomic_load(&delivery->ready)) {
		if (waitpid(follower, NULL, WNOHANG) == follower || clock_monotonic_ms() > end)
			work_fail("no events can be followed on %s", work.options.servers[1]);
		usleep(1000);
	}
}

static void await_last(uint64_t wanted)
{
	int64_t end = clock_monotonic_ms() + FOLLOW_LAST_MS;

	while (atomic_load(&delivery->delivered) < wanted && clock_monotonic_ms() < end)
		store_poll(POLL_US);
}

void row_deliver(void)
{
	struct meter before, after;
	struct pace pace;
	pid_t follower = start_follower();

	wait_ready(follower);
	store_open(&work.options);
	pace_init(&pace);
	pace_for(&pace, work.options.warm_up);
	pace.begun = pace.late = 0;
	atomic_store(&delivery->measure_from_ns, clock_monotonic_ns());
	work.measure_begin_ns = clock_monotonic_ns();
	work.measuring = true;
	meter_read(&before);
	pace_for(&pace, work.options.seconds);
	meter_read(&after);
	atomic_store(&delivery->measure_to_ns, clock_monotonic_ns());
	work_drain(DRAIN_MS);
	work.measuring = false;
	await_last(pace.begun);
	atomic_store(&delivery->over, true);
	waitpid(follower, NULL, 0);
	report_begin();
	report_number("rate", work.options.rate);
	report_number("sent", (double)pace.begun);
	report_number("late", (double)pace.late);
	report_number("delivered", (double)atomic_load(&delivery->delivered));
	report_latency("", &delivery->latency);
	report_latency("acknowledged_", &work.latency);
	report_cost(&before, &after, pace.begun);
	report_end();
}

/* ---- the leader is killed ---- */

static pid_t run_command(const char *command)
{
	char shell[] = "/bin/sh", option[] = "-c";
	char line[2048];
	char *const arguments[] = {shell, option, line, NULL};
	pid_t process = 0;

	if (command == NULL)
		return 0;
	if (strlen(command) >= sizeof line)
		work_fail("the command after the kill is too long");
	memcpy(line, command, strlen(command) + 1);
	int status = posix_spawn(&process, shell, NULL, NULL, arguments, environ);

	if (status != 0)
		work_fail("'%s': %s", command, strerror(status));
	return process;
}

/* Until an append that began after the kill is acknowledged, and a little more. */
static void go_on_after_kill(struct pace *pace)
{
	int64_t end = work.kill_ns + FAILOVER_SECONDS * INT64_C(1000000000);
	int64_t now = work.kill_ns;

	while (now < end && (work.first_after_kill_ns == 0 ||
			     now < work.first_after_kill_ns + AFTER_ANSWER_NS)) {
		pace_turn(pace);
		work_expire();
		now = clock_monotonic_ns();
	}
	if (work.first_after_kill_ns == 0)
		work_fail("no append was acknowledged in %d seconds after the kill",
			  FAILOVER_SECONDS);
}

/* How many acknowledged events are not there. */
static uint64_t count_lost(void)
{
	uint64_t lost = 0;

	work.seen = 0;
	work.seen_versions = memory_zeroed(work.options.streams, sizeof work.seen_versions[0]);
	store_read_all(STORE_LEADER);
	for (uint32_t i = 0; i < work.options.streams; i++)
		if (work.seen_versions[i] < work.versions[i])
			lost += work.versions[i] - work.seen_versions[i];
	return lost;
}

void row_failover(void)
{
	struct pace pace;

	pace_init(&pace);
	pace_for(&pace, BEFORE_KILL_S);
	if (work.events_all == 0)
		work_fail("no append was acknowledged before the kill");
	if (kill(work.options.leader, SIGKILL) != 0)
		work_fail("process %d cannot be killed: %s", work.options.leader, strerror(errno));
	work.kill_ns = clock_monotonic_ns();
	pid_t command = run_command(work.options.after_kill);

	store_lost_leader();
	go_on_after_kill(&pace);
	if (command > 0)
		waitpid(command, NULL, 0);
	work_drain(DRAIN_MS);
	uint64_t lost = count_lost();

	report_begin();
	report_number("failover_ms", (double)(work.first_after_kill_ns - work.kill_ns) / 1e6);
	report_number("acknowledged", (double)work.events_all);
	report_number("acknowledged_lost", (double)lost);
	report_number("found", (double)work.seen);
	report_number("out_of_order", (double)work.seen_wrong);
	report_end();
}
