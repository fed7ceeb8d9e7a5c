/*
 * The faults. A seed plans which kinds come; each of them must strike: a partition that held no message, a slow
 * disk that nobody wrote to, was none. The nemesis goes on until all that were planned have struck.
 */
#include "storage/kv.h"
#include "tests/sim/whole/whole.h"

#include <string.h>

#define ACTIVE_MAX    6
#define STOP_LIMIT    (15 * OS_SECOND) /* an orderly stop takes no longer */
#define DOWN_LOW_NS   (20 * OS_MS)
#define SLOW_DISK_NS  (300 * OS_MS)
#define SLOW_LINK_NS  (400 * OS_MS)
#define CLOCK_STEP_MS 10000
#define RATE_PPM      300000
#define FULL_NS       (3 * OS_SECOND) /* that a disk is full, beyond what other faults last */
#define FAILSTOP_NS   (8 * OS_SECOND) /* from a write that failed to its end; it may be paused */
#define EXCUSED_NS    (10 * OS_SECOND)
#define FAILING_NS    (2 * OS_SECOND) /* within which something is written */
#define FIRST_CLIENT  (WHOLE_NODES_MAX + 1)

struct active {
	enum whole_fault fault;
	bool runs;
	struct whole_node *node;
	uint64_t until, counter; /* that must have grown */
	unsigned side;           /* of a partition: a bit for each node */
};

static struct {
	struct active active[ACTIVE_MAX];
	uint64_t next_at;
	bool ending; /* only what has not struck yet */
} nemesis;

/* ---- striking ---- */

static void struck(enum whole_fault fault)
{
	whole.outcome->struck[fault]++;
}

static struct whole_node *pick_node(bool (*fits)(const struct whole_node *node))
{
	unsigned first = (unsigned)os_between(0, whole.nodes_count - 1);

	for (unsigned i = 0; i < whole.nodes_count; i++) {
		struct whole_node *node = &whole.nodes[(first + i) % whole.nodes_count];

		if (fits(node))
			return node;
	}
	return NULL;
}

static bool runs(const struct whole_node *node)
{
	return !node->retired && node->process->runs && !node->process->paused;
}

static bool serves(const struct whole_node *node)
{
	return runs(node) && whole_node_serves(node) &&
	       node->process->started_at + OS_SECOND < os.now;
}

static void cut(const struct active *active, bool both, bool is_cut)
{
	for (unsigned a = 1; a <= whole.nodes_count; a++)
		for (unsigned b = 1; b <= whole.nodes_count; b++) {
			bool apart = (active->side >> a & 1) && !(active->side >> b & 1);

			if (!apart)
				continue;
			os_link_cut(a, b, is_cut);
			if (both)
				os_link_cut(b, a, is_cut);
		}
}

static void cut_clients(const struct active *active, bool is_cut)
{
	for (unsigned client = FIRST_CLIENT; client < OS_PROCESSES; client++) {
		if (!(active->side >> client & 1))
			continue;
		for (unsigned node = 1; node <= whole.nodes_count; node++) {
			os_link_cut(client, node, is_cut);
			os_link_cut(node, client, is_cut);
		}
	}
}

static void slow_links(const struct whole_node *node, uint64_t ns)
{
	for (unsigned other = 1; other < OS_PROCESSES; other++) {
		os_link_delay(node->process->number, other, ns);
		os_link_delay(other, node->process->number, ns);
	}
}

static unsigned reset_connections(const struct whole_node *node, bool of_clients)
{
	unsigned count = 0;

	for (unsigned other = 1; other < OS_PROCESSES; other++)
		if ((other >= FIRST_CLIENT) == of_clients && other != node->process->number)
			count += os_connections_reset(node->process->number, other);
	return count;
}

static unsigned draw_side(unsigned first, unsigned count)
{
	unsigned side = 0;

	while (side == 0)
		for (unsigned i = 0; i < count; i++)
			side |= (unsigned)os_chance(400) << (first + i);
	return side;
}

/* The leader, with as many others as leave a majority without it; until that has one of its own. */
static bool draw_minority(struct active *active)
{
	unsigned others = (whole.options.nodes - 1) / 2 - 1;

	if (whole.leader == 0 || !runs(&whole.nodes[whole.leader - 1]))
		return false;
	active->side = 1u << whole.leader;
	while (others > 0) {
		unsigned bit = 1u << whole_pick_node();

		others -= (active->side & bit) == 0;
		active->side |= bit;
	}
	active->until = os.now + os_between(2, 5) * whole.limits.election_ms * OS_MS;
	return true;
}

/* What must have grown when the fault is over. */
static uint64_t counter_of(enum whole_fault fault)
{
	switch (fault) {
	case WHOLE_FAULT_DELAY:
		return os.counters.delayed_messages;
	case WHOLE_FAULT_SLOW_DISK:
		return os.counters.slow_writes;
	case WHOLE_FAULT_DISK_FULL:
		return os.counters.refused_writes + whole.outcome->seen[WHOLE_SEEN_NO_SPACE];
	default:
		return os.counters.held_messages;
	}
}

static void power_cut(struct whole_node *node)
{
	os_process_power_cut(node->process);
	whole_node_gone(node);
}

static bool begin_process(struct active *active)
{
	struct whole_node *node = pick_node(active->fault == WHOLE_FAULT_STOP ? serves : runs);

	if (node == NULL)
		return false;
	active->node = node;
	switch (active->fault) {
	case WHOLE_FAULT_KILL:
		os_process_end(node->process, -1);
		whole_node_gone(node);
		break;
	case WHOLE_FAULT_POWER:
		power_cut(node);
		break;
	case WHOLE_FAULT_STOP:
		whole_node_stop(node);
		active->until = os.now + STOP_LIMIT;
		break;
	default:
		node->process->paused = true;
	}
	struck(active->fault);
	return true;
}

static bool begin_machine(struct active *active)
{
	struct whole_node *node = pick_node(runs);

	if (node == NULL)
		return false;
	active->node = node;
	switch (active->fault) {
	case WHOLE_FAULT_SLOW_DISK:
		os_disk_slow(node->process->disk, SLOW_DISK_NS);
		return true;
	case WHOLE_FAULT_DELAY:
		slow_links(node, SLOW_LINK_NS);
		return true;
	case WHOLE_FAULT_CLOCK:
		node->process->clock_offset_ns =
			((int64_t)os_between(0, 2 * CLOCK_STEP_MS) - CLOCK_STEP_MS) *
			(int64_t)OS_MS;
		struck(active->fault);
		return false;
	case WHOLE_FAULT_RATE:
		os_clock_set_rate(node->process, (int64_t)os_between(0, 2 * RATE_PPM) - RATE_PPM);
		struck(active->fault);
		return false;
	default:
		if (reset_connections(node, active->fault == WHOLE_FAULT_CLIENT_RESET) > 0)
			struck(active->fault);
		return false;
	}
}

static bool begin_blackout(struct active *active)
{
	for (unsigned i = 0; i < whole.nodes_count; i++)
		if (whole_node_in_use(&whole.nodes[i]) && whole.nodes[i].process->runs)
			power_cut(&whole.nodes[i]);
	struck(active->fault);
	return true;
}

/* Its end is when the disk is well again; then it starts again, if it has ended. */
static bool begin_disk(struct active *active)
{
	struct whole_node *node = pick_node(serves);
	bool full = active->fault == WHOLE_FAULT_DISK_FULL;

	if (node == NULL || node->excused)
		return false;
	active->node = node;
	node->excused = true;
	node->excused_until = 0;
	if (full) {
		os_disk_fill(node->process->disk, true);
		kv_memory_disk_fill(node->tables, true);
		active->until += FULL_NS;
		return true;
	}
	if (os_chance(300))
		kv_memory_disk_fail(node->tables, 1);
	else
		os_disk_fail(node->process->disk, true);
	active->until += FAILING_NS;
	return true;
}

/* The operator looks after those. */
static bool begin_members(struct active *active)
{
	struct whole_node *node = pick_node(serves);
	bool lost = active->fault == WHOLE_FAULT_LOST;

	if (active->fault == WHOLE_FAULT_TRANSFER) {
		whole_members_transfer();
		return false;
	}
	if (node != NULL && whole.leader != 0 && os_chance(400))
		node = &whole.nodes[whole.leader - 1];
	if (node == NULL || !serves(node) || node->excused || !whole_members_replace(node, lost) ||
	    !lost)
		return false;
	power_cut(node);
	whole_node_wipe(node);
	return false;
}

static bool begin(struct active *active)
{
	switch (active->fault) {
	case WHOLE_FAULT_KILL:
	case WHOLE_FAULT_POWER:
	case WHOLE_FAULT_STOP:
	case WHOLE_FAULT_PAUSE:
		return begin_process(active);
	case WHOLE_FAULT_PARTITION:
	case WHOLE_FAULT_ONE_WAY:
		active->side = draw_side(1, whole.nodes_count);
		cut(active, active->fault == WHOLE_FAULT_PARTITION, true);
		return true;
	case WHOLE_FAULT_MINORITY:
		if (!draw_minority(active))
			return false;
		cut(active, true, true);
		return true;
	case WHOLE_FAULT_BLACKOUT:
		return begin_blackout(active);
	case WHOLE_FAULT_DISK_ERROR:
	case WHOLE_FAULT_DISK_FULL:
		return begin_disk(active);
	case WHOLE_FAULT_TRANSFER:
	case WHOLE_FAULT_REPLACE:
	case WHOLE_FAULT_LOST:
		return begin_members(active);
	case WHOLE_FAULT_CLIENT_CUT:
		active->side = draw_side(FIRST_CLIENT, OS_PROCESSES - FIRST_CLIENT);
		cut_clients(active, true);
		return true;
	default:
		return begin_machine(active);
	}
}

/* ---- and its end ---- */

static void restart(struct active *active)
{
	if (!active->node->process->runs && !active->node->retired)
		whole_node_start(active->node);
}

static void end_blackout(void)
{
	for (unsigned i = 0; i < whole.nodes_count; i++)
		if (whole_node_in_use(&whole.nodes[i]) && !whole.nodes[i].process->runs)
			whole_node_start(&whole.nodes[i]);
}

/* What failed ends the node, for good reason; what was refused in time does not. */
static void end_disk(struct active *active)
{
	struct whole_node *node = active->node;
	bool full = active->fault == WHOLE_FAULT_DISK_FULL;

	os_disk_fail(node->process->disk, false);
	os_disk_fill(node->process->disk, false);
	kv_memory_disk_calm(node->tables);
	if (!node->process->runs && node->process->exit_code > 0) {
		whole_saw(WHOLE_SEEN_FAILSTOP);
		struck(active->fault);
	} else if (full && counter_of(active->fault) > active->counter) {
		struck(active->fault);
	}
	restart(active);
	node->excused_until = os.now + EXCUSED_NS;
}

/* What a bad disk did to a node may show a little later. */
static void tend(struct whole_node *node)
{
	if (!node->excused || node->retired || os_disk_is_full(node->process->disk) ||
	    node->excused_until == 0)
		return;
	if (!node->process->runs && node->process->exit_code > 0)
		whole_node_start(node);
	else if (os.now > node->excused_until && runs(node))
		node->excused = false;
	uint64_t failed_at = node->process->log_failed_at;

	if (runs(node) && failed_at > 0 && os.now > failed_at + FAILSTOP_NS)
		os_violation("%s was told that its log could not be written, and goes on",
			     node->process->name);
}

static void tend_all(void)
{
	for (unsigned i = 0; i < whole.nodes_count; i++)
		tend(&whole.nodes[i]);
}

static void end_process(struct active *active)
{
	if (active->fault == WHOLE_FAULT_PAUSE) {
		active->node->process->paused = false;
		return;
	}
	if (active->node->retired)
		return;
	if (active->fault == WHOLE_FAULT_STOP && active->node->process->runs &&
	    active->node->stopping)
		os_violation("%s was asked to stop %" PRIu64 " s ago and still runs",
			     active->node->process->name, STOP_LIMIT / OS_SECOND);
	restart(active);
}

static void end(struct active *active)
{
	active->runs = false;
	os_trace("over: %s", whole_fault_name(active->fault));
	switch (active->fault) {
	case WHOLE_FAULT_PARTITION:
	case WHOLE_FAULT_ONE_WAY:
	case WHOLE_FAULT_MINORITY:
		cut(active, active->fault != WHOLE_FAULT_ONE_WAY, false);
		break;
	case WHOLE_FAULT_CLIENT_CUT:
		cut_clients(active, false);
		break;
	case WHOLE_FAULT_DELAY:
		slow_links(active->node, 0);
		break;
	case WHOLE_FAULT_SLOW_DISK:
		os_disk_slow(active->node->process->disk, 0);
		break;
	case WHOLE_FAULT_BLACKOUT:
		end_blackout();
		return;
	case WHOLE_FAULT_DISK_ERROR:
	case WHOLE_FAULT_DISK_FULL:
		end_disk(active);
		return;
	default:
		end_process(active);
		return;
	}
	if (counter_of(active->fault) > active->counter)
		struck(active->fault);
}

/* ---- when ---- */

static enum whole_fault draw_fault(void)
{
	unsigned first = (unsigned)os_between(0, WHOLE_FAULT_COUNT - 1);
	bool missing_only = nemesis.ending || os_chance(500);

	for (unsigned pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < WHOLE_FAULT_COUNT; i++) {
			unsigned fault = (first + i) % WHOLE_FAULT_COUNT;

			if (whole.outcome->planned[fault] == 0)
				continue;
			if (pass == 1 || !missing_only || whole.outcome->struck[fault] == 0)
				return fault;
		}
	return WHOLE_FAULT_CLOCK;
}

static void strike(void)
{
	struct active *active = NULL;

	for (unsigned i = 0; i < ACTIVE_MAX && active == NULL; i++)
		if (!nemesis.active[i].runs)
			active = &nemesis.active[i];
	if (active == NULL)
		return;
	*active = (struct active){.fault = draw_fault()};
	active->until = os.now + os_between(DOWN_LOW_NS, whole.limits.fault_lasts_ns);
	active->counter = counter_of(active->fault);
	active->runs = begin(active);
	os_trace("fault: %s %s", whole_fault_name(active->fault),
		 active->node == NULL ? "" : active->node->process->name);
}

static bool is_over(const struct active *active)
{
	return os.now >= active->until ||
	       (active->fault == WHOLE_FAULT_STOP && !active->node->process->runs);
}

static bool all_struck(void)
{
	for (unsigned i = 0; i < WHOLE_FAULT_COUNT; i++)
		if (whole.outcome->planned[i] > 0 && whole.outcome->struck[i] == 0)
			return false;
	return true;
}

bool nemesis_step(bool ending)
{
	for (unsigned i = 0; i < ACTIVE_MAX; i++)
		if (nemesis.active[i].runs && is_over(&nemesis.active[i]))
			end(&nemesis.active[i]);
	tend_all();
	nemesis.ending = ending;
	if (ending && all_struck() && whole_members_settled())
		return false;
	if (os.now >= nemesis.next_at) {
		nemesis.next_at =
			os.now + os_between(whole.limits.fault_low_ns, whole.limits.fault_high_ns);
		strike();
	}
	return true;
}

void nemesis_begin(void)
{
	unsigned planned = 0;

	while (planned < 3)
		for (unsigned i = 0; i < WHOLE_FAULT_COUNT; i++) {
			unsigned *count = &planned;

			if (whole.outcome->planned[i] > 0 || !os_chance(600))
				continue;
			whole.outcome->planned[i] = 1;
			++*count;
		}
	nemesis.next_at = os.now + os_between(0, whole.limits.fault_high_ns);
}

void nemesis_end(void)
{
	for (unsigned i = 0; i < ACTIVE_MAX; i++)
		if (nemesis.active[i].runs && nemesis.active[i].fault != WHOLE_FAULT_STOP)
			end(&nemesis.active[i]);
	os_links_heal();
	for (unsigned i = 0; i < whole.nodes_count; i++)
		os_clock_set_rate(whole.nodes[i].process, 0);
	for (unsigned i = 0; i < WHOLE_FAULT_COUNT; i++)
		if (whole.outcome->planned[i] > 0 && whole.outcome->struck[i] == 0)
			os_violation("this seed plans %s, but none struck", whole_fault_name(i));
}

void nemesis_stopping(void)
{
	tend_all();
	for (unsigned i = 0; i < ACTIVE_MAX; i++)
		if (nemesis.active[i].runs && is_over(&nemesis.active[i]))
			end(&nemesis.active[i]);
}
