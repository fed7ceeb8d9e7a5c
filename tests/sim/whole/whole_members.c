/*
 * An operator: hands the lead over, and replaces members by new nodes under new ids, the leader too, as
 * docs/operating.md says, while clients go on. A member may be replaced because its disk is lost, or
 * because the operator likes to; the new node comes before the old one goes, or behind it. One
 * replacement at a time. What has an unknown outcome is looked at again before the next step.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#define REST_MS    100
#define RETIRED_NS (20 * OS_SECOND) /* an old node that was asked to stop has stopped */

static struct {
	unsigned old, new; /* numbers of nodes; 0: none is being replaced */
	bool lost;         /* the old one is gone already */
	bool add_first, through_spare;
	bool transfer;        /* the lead is to be handed over */
	unsigned replaced[2]; /* at will; for a lost disk */
} operator;

/* ---- what is wanted ---- */

/* One of those that a client knows from the beginning stays. */
static bool may_replace(const struct whole_node *node, bool lost)
{
	return operator.old == 0 && operator.replaced[lost]<(whole.options.nodes - 1) / 2 &&
	       whole.nodes_count < WHOLE_NODES_MAX && whole_node_in_use(node) &&
	       node->process->starts > 0;
}

bool whole_members_replace(struct whole_node *node, bool lost)
{
	if (!may_replace(node, lost))
		return false;
	operator.old = node->process->number;
	operator.lost = lost;
	operator.new = whole_node_make();
	operator.add_first = os_chance(500);
	operator.through_spare = os_chance(500);
	operator.replaced[lost]++;
	os_trace("node %u is to replace node %u%s", operator.new, operator.old,
		 lost ? ", whose disk is lost" : "");
	if (lost)
		node->retired = true;
	whole_node_start(&whole.nodes[operator.new - 1]);
	return true;
}

bool whole_members_transfer(void)
{
	bool idle = !operator.transfer;

	operator.transfer = true;
	return idle;
}

bool whole_members_settled(void)
{
	return operator.old == 0;
}

/* ---- one step after the other ---- */

static const struct annal_member *find(const struct annal_cluster_status *status, uint64_t id)
{
	for (size_t i = 0; i < status->nodes_count; i++)
		if (status->nodes[i].id == id)
			return &status->nodes[i];
	return NULL;
}

static bool has_role(const struct annal_member *member, const char *role)
{
	return member->role.size == strlen(role) &&
	       memcmp(member->role.data, role, member->role.size) == 0;
}

static enum annal_code add(struct annal_client *client)
{
	char peer[ANNAL_ADDRESS_BYTES], own[ANNAL_ADDRESS_BYTES];

	snprintf(peer, sizeof peer, "10.0.0.%u:%u", operator.new, WHOLE_PEER_PORT);
	snprintf(own, sizeof own, "10.0.0.%u:%u", operator.new, WHOLE_CLIENT_PORT);
	return annal_cluster_add(client, operator.new, peer,
				 own, operator.through_spare ? "spare" : NULL);
}

static void stepped(struct annal_client *client, const char *what, enum annal_code code,
		    enum whole_seen seen)
{
	os_trace("operator: %s: %s", what,
		 code == ANNAL_OK ? "done" : annal_client_error(client)->message);
	if (code == ANNAL_OK)
		whole_saw(seen);
}

/* The node that was removed is stopped, and its data thrown away. */
static void retire(struct whole_node *node)
{
	node->retired = true;
	if (node->process->paused)
		node->process->paused = false;
	if (whole_node_serves(node))
		whole_node_stop(node);
	uint64_t until = os.now + RETIRED_NS;

	while (node->process->runs && os.now < until && !os.violated)
		os_sleep(REST_MS * OS_MS);
	if (node->process->runs)
		os_violation("%s was removed and asked to stop, and still runs",
			     node->process->name);
}

static void conclude(void)
{
	struct whole_node *old = &whole.nodes[operator.old - 1];

	os_trace("node %u is replaced by node %u", operator.old, operator.new);
	whole.outcome->struck[operator.lost ? WHOLE_FAULT_LOST : WHOLE_FAULT_REPLACE]++;
	if (!operator.lost)
		retire(old);
	operator.old = 0;
}

static void step(struct annal_client *client, const struct annal_cluster_status *status)
{
	const struct annal_member *old = find(status, operator.old);
	const struct annal_member *new = find(status, operator.new);
	bool votes = new != NULL &&has_role(new, "voter");

	if (old != NULL && (!operator.add_first || votes))
		stepped(client, "remove", annal_cluster_remove(client, operator.old),
			WHOLE_SEEN_REMOVED);
	else if (new == NULL)
		stepped(client, "add", add(client), WHOLE_SEEN_ADDED);
	else if (has_role(new, "spare"))
		stepped(client, "make a standby",
			annal_cluster_assign(client, operator.new, "standby"), WHOLE_SEEN_ASSIGNED);
	else if (!votes)
		stepped(client, "make a voter", annal_cluster_assign(client, operator.new, "voter"),
			WHOLE_SEEN_ASSIGNED);
	else
		conclude();
}

static void hand_over(struct annal_client *client)
{
	enum annal_code code = annal_cluster_transfer(client, 0);

	os_trace("operator: hand over: %s",
		 code == ANNAL_OK ? "done" : annal_client_error(client)->message);
	if (code == ANNAL_OK)
		whole.outcome->struck[WHOLE_FAULT_TRANSFER]++;
}

/* ---- the program ---- */

static void *run(void *arg)
{
	struct annal_client *client = whole_connect(0, "leader");

	(void)arg;
	while (!os.violated && !(whole.ending && operator.old == 0)) {
		struct annal_cluster_status status;

		os_sleep(os_between(REST_MS / 2, 3 * REST_MS) * OS_MS);
		if (operator.transfer) {
			operator.transfer = false;
			hand_over(client);
		}
		if (operator.old != 0 && annal_cluster_status(client, &status) == ANNAL_OK)
			step(client, &status);
	}
	annal_client_free(client);
	whole.appending--;
	os_process_exit(0);
}

void whole_members_start(void)
{
	memset(&operator, 0, sizeof operator);
	whole.appending++;
	os_process_start(whole.operator, run, NULL);
}
