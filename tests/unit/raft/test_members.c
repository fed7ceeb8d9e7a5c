/* Requests to change members: which are refused and how, and every move between roles. */
#include "tests/unit/raft/cluster.h"

enum request { ADD, ASSIGN, REMOVE, TRANSFER };

struct request_case {
	const char *what;
	enum request request;
	uint64_t id;
	enum member_role role;
	int status;
	const char *said;
	const char *peer; /* NULL: that of the node */
};

static void ask(struct cluster *cluster, uint64_t asked, const struct request_case *request,
		struct cluster_change *change)
{
	struct replica *replica = cluster_node(cluster, asked)->replica;
	uint64_t id = request->id;
	const struct cluster_node *node =
		cluster_node(cluster, id >= 1 && id <= CLUSTER_NODES ? id : CLUSTER_NODES);

	*change = (struct cluster_change){0};
	switch (request->request) {
	case ADD:
		replica_member_add(replica, id, request->peer != NULL ? request->peer : node->peer,
				   node->client, request->role, cluster_on_change, change);
		break;
	case ASSIGN:
		replica_member_assign(replica, id, request->role, cluster_on_change, change);
		break;
	case REMOVE:
		replica_member_remove(replica, id, cluster_on_change, change);
		break;
	default:
		replica_transfer(replica, id, cluster_on_change, change);
	}
}

static void expect(struct cluster *cluster, uint64_t asked, const struct request_case *request)
{
	struct cluster_change change;

	ask(cluster, asked, request, &change);
	cluster_run_until(cluster, change.done);
	if (change.status != request->status ||
	    (request->said != NULL && strstr(change.error.message, request->said) == NULL))
		fail_msg("%s: %d, %s", request->what, change.status, change.error.message);
}

static void a_single_node_refuses_what_cannot_be(void **state)
{
	static const struct request_case cases[] = {
		{"add id 0", ADD, 0, MEMBER_VOTER, -EINVAL, "no node id", NULL},
		{"add itself", ADD, 1, MEMBER_VOTER, -EEXIST, "member already", NULL},
		{"add without a port", ADD, 2, MEMBER_VOTER, -EINVAL, NULL, "nowhere"},
		{"assign a stranger", ASSIGN, 2, MEMBER_SPARE, -ENOENT, "no member", NULL},
		{"assign what it is", ASSIGN, 1, MEMBER_VOTER, 0, NULL, NULL},
		{"take its vote", ASSIGN, 1, MEMBER_STANDBY, -EINVAL, "only voter", NULL},
		{"remove a stranger", REMOVE, 2, 0, -ENOENT, "no member", NULL},
		{"remove itself", REMOVE, 1, 0, -EINVAL, "only voter", NULL},
		{"hand over to a stranger", TRANSFER, 2, 0, -ENOENT, "no member", NULL},
		{"hand over to itself", TRANSFER, 1, 0, 0, NULL, NULL},
		{"hand over to nobody", TRANSFER, 0, 0, -EINVAL, "no other voter", NULL},
	};
	struct request_case own_address = {"add its own address", ADD, 2, MEMBER_VOTER, -EEXIST,
					   "address of node 1",   NULL};
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_run_until(&cluster, cluster_leader(&cluster) == 1);
	for (size_t i = 0; i < COUNT_OF(cases); i++)
		expect(&cluster, 1, &cases[i]);
	own_address.peer = cluster.nodes[0].peer;
	expect(&cluster, 1, &own_address);
	assert_int_equal(cluster_status(&cluster, 1).member_count, 1);
	cluster_close(&cluster);
}

static bool has_role(struct cluster *cluster, uint64_t asked, uint64_t id, enum member_role role)
{
	struct replica_status status = cluster_status(cluster, asked);

	for (uint32_t i = 0; i < status.member_count; i++)
		if (status.members[i].id == id)
			return status.members[i].role == role;
	return false;
}

static void every_move_between_roles(void **state)
{
	static const enum member_role roles[] = {MEMBER_STANDBY, MEMBER_SPARE, MEMBER_STANDBY,
						 MEMBER_VOTER,   MEMBER_SPARE, MEMBER_VOTER};
	struct cluster_change first, second;
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 20, 100);
	uint64_t leader = cluster_leader(&cluster), other = leader % 3 + 1;
	struct request_case move = {"move", ASSIGN, other, MEMBER_SPARE, 0, NULL, NULL};
	struct request_case hand_over = {
		"hand over to no voter", TRANSFER, other, 0, -EINVAL, "no voter", NULL};
	struct request_case elsewhere = {"ask a follower", REMOVE,           leader, 0,
					 -EPERM,           "not the leader", NULL};

	expect(&cluster, other, &elsewhere);
	for (size_t i = 0; i < COUNT_OF(roles); i++) {
		move.role = roles[i];
		expect(&cluster, leader, &move);
		assert_true(has_role(&cluster, leader, other, roles[i]));
		if (roles[i] != MEMBER_VOTER)
			expect(&cluster, leader, &hand_over);
		cluster_append_many(&cluster, 100 * (i + 1), 5, 100);
	}
	/* One at a time. */
	move.role = MEMBER_STANDBY;
	ask(&cluster, leader, &move, &first);
	ask(&cluster, leader, &move, &second);
	cluster_run_until(&cluster, first.done && second.done);
	assert_int_equal(first.status, 0);
	assert_int_equal(second.status, -EBUSY);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

static void a_leader_that_is_to_lose_its_vote_hands_over_first(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 20, 100);
	uint64_t before = cluster_leader(&cluster);
	struct request_case move = {"move", ASSIGN, before, MEMBER_STANDBY, -EAGAIN, NULL, NULL};

	expect(&cluster, before, &move);
	cluster_run_until(&cluster,
			  cluster_leader(&cluster) != 0 && cluster_leader(&cluster) != before);
	uint64_t leader = cluster_leader(&cluster);
	move.status = 0;
	expect(&cluster, leader, &move);
	assert_true(has_role(&cluster, leader, before, MEMBER_STANDBY));
	cluster_close(&cluster);
}

static void too_many_members_are_refused(void **state)
{
	struct cluster cluster;
	struct error error;

	(void)state;
	cluster_init(&cluster, 0);
	cluster.initial_members[0] = '\0';
	for (uint32_t id = 1; id <= LIMIT_MEMBERS + 1; id++)
		sprintf(cluster.initial_members + strlen(cluster.initial_members),
			"%s%u=127.0.0.1:%u/127.0.0.1:%u", id > 1 ? "," : "", id, 10000 + id,
			20000 + id);
	assert_int_equal(cluster_try_start(&cluster.nodes[0], &error), -EINVAL);
	assert_non_null(strstr(error.message, "more than"));
	cluster_close_store(&cluster.nodes[0], false);
	cluster_close(&cluster);
}

/* ---- what a node is started with ---- */

static void options_that_cannot_be_are_refused(void **state)
{
	static char long_name[300];
	struct cluster cluster;
	struct replica *replica;
	struct error error;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_open_store(&cluster.nodes[0]);
	memset(long_name, 'n', sizeof long_name - 1);
	for (int i = 0; i < 7; i++) {
		struct replica_options options = cluster_options(&cluster.nodes[0]);

		if (i == 0)
			options.node_id = 0;
		else if (i == 1)
			options.heartbeat_ms = 0;
		else if (i == 2)
			options.election_timeout_ms = 2 * options.heartbeat_ms - 1;
		else if (i == 3)
			options.cluster_name = long_name;
		else if (i == 4)
			strcpy(options.peer_advertise, "nowhere");
		else if (i == 5)
			strcpy(options.client_advertise, "a:0");
		else
			strcpy(options.initial_members, "1=a:1");
		error.message[0] = '\0';
		if (replica_start(&replica, &options, &error) != -EINVAL || error.message[0] == 0)
			fail_msg("options number %d", i);
	}
	cluster_close_store(&cluster.nodes[0], false);
	cluster_close(&cluster);
}

static void a_store_of_another_node_is_refused(void **state)
{
	struct store_identity other = {.cluster_id = "0123456789abcde", .node_id = 7};
	struct cluster cluster;
	struct error error;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 5, 100);
	cluster_stop(&cluster, 1, 1);
	feed_place_close(&cluster.nodes[0].place);
	feed_place_init(&cluster.nodes[0].place, true);
	struct store *store = feed_store(&cluster.nodes[0].place);
	assert_ok(store_set_identity(store, &other, &error));
	store_close(store);
	assert_int_equal(cluster_try_start(&cluster.nodes[0], &error), -EEXIST);
	assert_non_null(strstr(error.message, "of node 7"));
	cluster_close_store(&cluster.nodes[0], false);
	cluster_close(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_that_cannot_be_are_refused),
		cmocka_unit_test(too_many_members_are_refused),
		cmocka_unit_test(a_store_of_another_node_is_refused),
		cmocka_unit_test(a_single_node_refuses_what_cannot_be),
		cmocka_unit_test(every_move_between_roles),
		cmocka_unit_test(a_leader_that_is_to_lose_its_vote_hands_over_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
