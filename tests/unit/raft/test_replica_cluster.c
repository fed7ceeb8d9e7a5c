/* Replicas together: forming, replicating, losing and regaining members, pulling, changes. */
#include "tests/unit/raft/cluster.h"

#include "raft/replica_inside.h"

static void start_three(struct cluster *cluster)
{
	cluster_init(cluster, 3);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(cluster, id);
	cluster_run_until(cluster, cluster_leader(cluster) != 0);
}

static uint64_t some_follower(struct cluster *cluster)
{
	uint64_t leader = cluster_leader(cluster);

	for (uint64_t id = 1; id <= CLUSTER_NODES; id++)
		if (id != leader && cluster_node(cluster, id)->running)
			return id;
	fail_msg("no follower runs");
	return 0;
}

static void three_nodes_form_and_become_equal(void **state)
{
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 1000, 200);
	cluster_check_equal(&cluster);
	assert_int_equal(store_head(cluster.nodes[2].store), 1000);
	for (uint64_t id = 1; id <= 3; id++) {
		struct replica_status status = cluster_status(&cluster, id);

		assert_int_equal(status.member_count, 3);
		assert_int_equal(status.leader_id, cluster_leader(&cluster));
		assert_string_equal(status.leader_address,
				    cluster_node(&cluster, cluster_leader(&cluster))->client);
	}
	cluster_close(&cluster);
}

/* From now on no heartbeat is due, and nobody misses any. */
static void silence(struct cluster *cluster)
{
	const unsigned never_ms = 10 * CLUSTER_PATIENCE_MS;

	for (uint64_t id = 1; id <= 3; id++) {
		struct raft *raft = &cluster_node(cluster, id)->replica->instance->raft;

		raft_set_election_timeout(raft, 2 * never_ms);
		raft_set_heartbeat_timeout(raft, never_ms);
		if (raft->state == RAFT_FOLLOWER)
			raft->follower_state.randomized_election_timeout = 2 * never_ms;
	}
}

static void followers_apply_what_is_committed_without_waiting_for_a_heartbeat(void **state)
{
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 20, 200);
	cluster_check_equal(&cluster);
	silence(&cluster);
	for (uint64_t number = 21; number <= 30; number++) {
		cluster_append_many(&cluster, number, 1, 200);
		for (uint64_t id = 1; id <= 3; id++)
			cluster_run_until(&cluster,
					  cluster_node(&cluster, id)->told_position == number);
	}
	cluster_close(&cluster);
}

static void all_nodes_restart_and_go_on(void **state)
{
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 300, 200);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_stop(&cluster, id, 0);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 301, 300, 200);
	cluster_check_equal(&cluster);
	assert_int_equal(store_head(cluster.nodes[0].store), 600);
	cluster_close(&cluster);
}

static void a_lost_leader_is_replaced_and_comes_back(void **state)
{
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 200, 200);
	uint64_t old = cluster_leader(&cluster);

	cluster_stop(&cluster, old, 0);
	cluster_append_many(&cluster, 201, 200, 200);
	assert_int_not_equal(cluster_leader(&cluster), old);
	cluster_start(&cluster, old);
	cluster_append_many(&cluster, 401, 200, 200);
	cluster_check_equal(&cluster);
	assert_int_equal(store_head(cluster.nodes[0].store), 600);
	cluster_close(&cluster);
}

/* Its connections break and it takes no new one: nobody waits for a timeout. */
static void a_leader_that_ends_is_replaced_before_an_election_timeout(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	cluster.election_timeout_ms = 3000;
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 20, 200);
	cluster_check_equal(&cluster);
	cluster_stop(&cluster, cluster_leader(&cluster), 0);
	int64_t ended_ms = clock_monotonic_ms();

	cluster_run_until(&cluster, cluster_leader(&cluster) != 0);
	assert_true(clock_monotonic_ms() - ended_ms < 2700);
	cluster_append_many(&cluster, 21, 20, 200);
	cluster_close(&cluster);
}

/* In flight when leadership goes: unknown, or not proposed, but always told. */
static void a_stopping_leader_tells_of_everything_and_hands_over(void **state)
{
	struct cluster_append appends[300];
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	uint64_t old = cluster_leader(&cluster);
	struct cluster_node *node = cluster_node(&cluster, old);

	for (uint32_t i = 0; i < COUNT_OF(appends); i++) {
		cluster_append_init(&appends[i], i + 1, 5000);
		assert_int_equal(cluster_propose(&cluster, old, &appends[i]), PROPOSE_ACCEPTED);
	}
	node->stopped = false;
	replica_stop(node->replica, 20000, cluster_on_stopped, node);
	cluster_run_until(&cluster, node->stopped);
	replica_free(node->replica);
	cluster_close_store(node, false);
	for (uint32_t i = 0; i < COUNT_OF(appends); i++) {
		assert_true(appends[i].told);
		assert_int_equal(appends[i].result, PROPOSAL_DECIDED);
		buffer_close(&appends[i].item);
	}
	cluster_run_until(&cluster, cluster_leader(&cluster) != 0);
	assert_int_not_equal(cluster_leader(&cluster), old);
	cluster_append_many(&cluster, 1, 310, 5000);
	assert_int_equal(store_head(cluster_node(&cluster, cluster_leader(&cluster))->store), 310);
	cluster_close(&cluster);
}

static void a_node_alone_decides_nothing(void **state)
{
	struct cluster_append append;
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 10, 100);
	uint64_t leader = cluster_leader(&cluster);

	for (uint64_t id = 1; id <= 3; id++)
		if (id != leader)
			cluster_stop(&cluster, id, 0);
	cluster_append_init(&append, 11, 100);
	/* It may still believe to lead; then it takes the append, and tells that it does not know. */
	if (cluster_propose(&cluster, leader, &append) == PROPOSE_ACCEPTED) {
		cluster_run_until(&cluster, append.told);
		assert_int_not_equal(append.result, PROPOSAL_DECIDED);
	}
	cluster_run_until(&cluster, !cluster_status(&cluster, leader).ready);
	assert_int_equal(cluster_propose(&cluster, leader, &append), PROPOSE_NOT_LEADER);
	for (uint64_t id = 1; id <= 3; id++)
		if (id != leader)
			cluster_start(&cluster, id);
	cluster_append_many(&cluster, 11, 10, 100);
	cluster_check_equal(&cluster);
	assert_int_equal(store_head(cluster.nodes[0].store), 20);
	buffer_close(&append.item);
	cluster_close(&cluster);
}

static void a_node_that_fell_behind_the_log_pulls(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	cluster.log_retained_bytes = 512 * KIB;
	cluster.log_trailing_bytes = 64 * KIB;
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 50, 1000);
	uint64_t behind = some_follower(&cluster);

	cluster_stop(&cluster, behind, 0);
	for (uint32_t i = 0; i < 20; i++)
		cluster_append_many(&cluster, 51 + 50 * i, 50, 4000);
	cluster_start(&cluster, behind);
	cluster_run_until(&cluster, cluster_node(&cluster, behind)->pulls > 0);
	cluster_append_many(&cluster, 1051, 50, 1000);
	cluster_check_equal(&cluster);
	assert_int_equal(store_head(cluster_node(&cluster, behind)->store), 1100);
	assert_int_equal(cluster_status(&cluster, behind).state, REPLICA_RUNNING);
	cluster_close(&cluster);
}

/* Killed while it pulls: raft has the snapshot, the store has not; it pulls again at the start. */
static void a_pull_that_was_cut_off_is_begun_again(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	cluster.log_retained_bytes = 512 * KIB;
	cluster.log_trailing_bytes = 64 * KIB;
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 50, 1000);
	uint64_t behind = some_follower(&cluster);
	struct cluster_node *node = cluster_node(&cluster, behind);

	cluster_stop(&cluster, behind, 0);
	for (uint32_t i = 0; i < 20; i++)
		cluster_append_many(&cluster, 51 + 50 * i, 50, 4000);
	node->pull_ignored = true;
	cluster_start(&cluster, behind);
	cluster_run_until(&cluster, node->pulls == 1);
	assert_int_equal(cluster_status(&cluster, behind).state, REPLICA_PULLING);
	assert_int_equal(cluster_status(&cluster, behind).member_count, 3);
	cluster_stop(&cluster, behind, 0);
	node->pull_ignored = false;
	cluster_start(&cluster, behind);
	cluster_run_until(&cluster, node->pulls == 2);
	cluster_append_many(&cluster, 1051, 10, 1000);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

struct end_of_pull {
	uv_thread_t thread;
	struct replica *replica;
	uint64_t index;
	int status;
	_Atomic bool done;
};

static void note_pulled(void *arg)
{
	struct end_of_pull *end = arg;
	struct error error;

	end->status = replica_note_pulled(end->replica, end->index, &error);
	end->done = true;
}

/* Records that come end the witness; silence makes it one again; a pull that ends, ends it for good. */
static void pull_bit_by_bit(struct cluster_node *node, struct store *source)
{
	struct replica *replica = node->replica;
	struct manifest manifest = replica->manifest, part = manifest;
	struct end_of_pull end = {.replica = replica, .index = manifest.applied_index};
	struct error error;

	assert_true(witness_runs(replica));
	assert_ok(store_ingest_begin(node->store, &error));
	part.position = store_head(node->store) + 10;
	cluster_copy(node, source, &part);
	cluster_run_until(node->cluster, !witness_runs(replica) && replica->raft_closed);
	assert_int_equal(replica->witness.after_ms, 2 * WITNESS_AFTER_MS);
	cluster_run_until(node->cluster, witness_runs(replica));
	assert_int_equal(uv_thread_create(&end.thread, note_pulled, &end), 0);
	cluster_run_until(node->cluster, end.done);
	uv_thread_join(&end.thread);
	assert_int_equal(end.status, 0);
	assert_true(!witness_runs(replica) && replica->raft_closed);
	manifest = replica->manifest;
	cluster_copy(node, source, &manifest);
	assert_ok(store_ingest_end(node->store, &manifest, &error));
	node->told_position = store_head(node->store);
	node->pull_ignored = false;
	replica_resume(replica);
}

/* One of three is gone for good, one pulls and finds nothing: the third one needs its vote. */
static void a_node_that_finds_nothing_to_pull_votes_as_a_witness(void **state)
{
	struct cluster_append append;
	struct cluster_change transferred = {0};
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	cluster.log_retained_bytes = 512 * KIB;
	cluster.log_trailing_bytes = 64 * KIB;
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 50, 1000);
	struct cluster_node *witness = cluster_node(&cluster, some_follower(&cluster));

	cluster_stop(&cluster, witness->id, 0);
	for (uint32_t i = 0; i < 20; i++)
		cluster_append_many(&cluster, 51 + 50 * i, 50, 4000);
	witness->pull_ignored = true;
	cluster_start(&cluster, witness->id);
	cluster_run_until(&cluster, witness->pulls == 1);
	cluster_stop(&cluster, cluster_leader(&cluster), 0);
	cluster_run_until(&cluster, cluster_leader(&cluster) != 0);
	uint64_t holder = cluster_leader(&cluster);

	assert_int_not_equal(holder, witness->id);
	cluster_append_many(&cluster, 1051, 50, 1000);
	assert_int_equal(cluster_status(&cluster, witness->id).state, REPLICA_PULLING);
	assert_true(store_head(witness->store) < 1050);

	/* It may even lead, and then takes nothing. */
	replica_transfer(cluster_node(&cluster, holder)->replica, witness->id, cluster_on_change,
			 &transferred);
	assert_changed(&cluster, transferred);
	assert_int_equal(cluster_status(&cluster, witness->id).role, REPLICA_LEADER);
	cluster_append_init(&append, 1101, 100);
	assert_int_equal(cluster_propose(&cluster, witness->id, &append), PROPOSE_NOT_LEADER);
	buffer_close(&append.item);

	pull_bit_by_bit(witness, cluster_node(&cluster, holder)->store);
	cluster_append_many(&cluster, 1101, 50, 1000);
	cluster_run_until(&cluster, cluster_status(&cluster, witness->id).state == REPLICA_RUNNING);
	cluster_check_equal(&cluster);
	assert_int_equal(store_head(witness->store), 1150);
	cluster_close(&cluster);
}

static void leadership_is_handed_over_on_request(void **state)
{
	struct cluster_change change = {0};
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 100, 200);
	uint64_t old = cluster_leader(&cluster);
	uint64_t next = some_follower(&cluster);

	replica_transfer(cluster_node(&cluster, old)->replica, next, cluster_on_change, &change);
	assert_false(change.done);
	assert_changed(&cluster, change);
	cluster_run_until(&cluster, cluster_leader(&cluster) == next);
	cluster_append_many(&cluster, 101, 100, 200);
	cluster_check_equal(&cluster);

	struct cluster_change refused = {0};

	replica_transfer(cluster_node(&cluster, old)->replica, 0, cluster_on_change, &refused);
	cluster_run_until(&cluster, refused.done);
	assert_int_equal(refused.status, -EPERM);
	cluster_close(&cluster);
}

static void a_member_is_added_promoted_and_removed(void **state)
{
	struct cluster_change added = {0}, again = {0}, busy = {0}, removed = {0}, unknown = {0};
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 100, 200);
	cluster_start(&cluster, 4);
	assert_int_equal(cluster_status(&cluster, 4).state, REPLICA_FORMING);
	struct cluster_node *fourth = cluster_node(&cluster, 4);
	struct cluster_node *leader = cluster_node(&cluster, cluster_leader(&cluster));

	replica_member_add(leader->replica, 4, fourth->peer, fourth->client, MEMBER_VOTER,
			   cluster_on_change, &added);
	replica_member_remove(leader->replica, 4, cluster_on_change, &busy);
	assert_changed(&cluster, added);
	assert_int_equal(busy.status, -EBUSY);
	assert_int_equal(cluster_status(&cluster, leader->id).member_count, 4);
	cluster_append_many(&cluster, 101, 100, 200);
	cluster_check_equal(&cluster);
	assert_int_equal(cluster_status(&cluster, 4).role, REPLICA_FOLLOWER);
	assert_string_equal(cluster_status(&cluster, 1).members[3].client_address, fourth->client);

	leader = cluster_node(&cluster, cluster_leader(&cluster));
	replica_member_add(leader->replica, 4, fourth->peer, fourth->client, MEMBER_VOTER,
			   cluster_on_change, &again);
	cluster_run_until(&cluster, again.done);
	assert_int_equal(again.status, -EEXIST);

	uint64_t victim = some_follower(&cluster);

	replica_member_remove(leader->replica, victim, cluster_on_change, &removed);
	assert_changed(&cluster, removed);
	cluster_run_until(&cluster, cluster_status(&cluster, victim).member_count == 3);
	assert_int_equal(cluster_status(&cluster, victim).role, REPLICA_LEARNER);
	cluster_stop(&cluster, victim, 0);
	replica_member_remove(leader->replica, victim, cluster_on_change, &unknown);
	cluster_run_until(&cluster, unknown.done);
	assert_int_equal(unknown.status, -ENOENT);
	cluster_append_many(&cluster, 201, 50, 200);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

/* The leader stops talking to it at once; it hears why when it comes again. Nobody else could tell it. */
static void a_member_is_told_that_it_was_removed(void **state)
{
	struct cluster_change added = {0}, removed = {0};
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 1);
	cluster_start(&cluster, 1);
	cluster_start(&cluster, 2);
	cluster_run_until(&cluster, cluster_leader(&cluster) != 0);
	replica_member_add(cluster.nodes[0].replica, 2, cluster.nodes[1].peer,
			   cluster.nodes[1].client, MEMBER_STANDBY, cluster_on_change, &added);
	assert_changed(&cluster, added);
	cluster_append_many(&cluster, 1, 10, 100);
	cluster_check_equal(&cluster);
	assert_int_equal(cluster_status(&cluster, 2).member_count, 2);
	replica_member_remove(cluster.nodes[0].replica, 2, cluster_on_change, &removed);
	assert_changed(&cluster, removed);
	cluster_run_until(&cluster, cluster_status(&cluster, 2).member_count == 1);
	cluster_close(&cluster);
}

static void a_member_that_cannot_be_is_refused_before_anything_changes(void **state)
{
	struct cluster_change absent = {0}, other = {0}, forming = {0}, standby = {0},
			      removed = {0}, again = {0};
	struct cluster_node *leader, *fifth;
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	leader = cluster_node(&cluster, cluster_leader(&cluster));
	fifth = cluster_node(&cluster, 5);
	replica_member_add(leader->replica, 5, fifth->peer, fifth->client, MEMBER_VOTER,
			   cluster_on_change, &absent);
	cluster_run_until(&cluster, absent.done);
	assert_int_equal(absent.status, -EHOSTUNREACH);
	assert_non_null(strstr(absent.error.message, fifth->peer));

	cluster_start(&cluster, 5);
	replica_member_add(leader->replica, 4, fifth->peer, fifth->client, MEMBER_VOTER,
			   cluster_on_change, &other);
	cluster_run_until(&cluster, other.done);
	assert_int_equal(other.status, -EHOSTUNREACH);
	assert_non_null(strstr(other.error.message, "node 5 is there, not node 4"));

	/* One that would be a cluster of its own. */
	struct cluster_node *fourth = cluster_node(&cluster, 4);
	char initial[MEMBERS_TEXT_BYTES];

	strcpy(initial, cluster.initial_members);
	snprintf(cluster.initial_members, sizeof cluster.initial_members, "4=%s/%s,6=%s/%s",
		 fourth->peer, fourth->client, cluster_node(&cluster, 6)->peer,
		 cluster_node(&cluster, 6)->client);
	cluster_start(&cluster, 4);
	strcpy(cluster.initial_members, initial);
	replica_member_add(leader->replica, 4, fourth->peer, fourth->client, MEMBER_VOTER,
			   cluster_on_change, &forming);
	cluster_run_until(&cluster, forming.done);
	assert_int_equal(forming.status, -EHOSTUNREACH);
	cluster_stop(&cluster, 4, 0);
	assert_int_equal(cluster_status(&cluster, leader->id).member_count, 3);

	replica_member_add(leader->replica, 5, fifth->peer, fifth->client, MEMBER_STANDBY,
			   cluster_on_change, &standby);
	assert_changed(&cluster, standby);
	cluster_append_many(&cluster, 1, 10, 100);
	cluster_run_until(&cluster,
			  cluster_status(&cluster, leader->id).members[3].told &&
				  cluster_status(&cluster, leader->id).members[3].head == 10);
	assert_int_equal(cluster_status(&cluster, 5).role, REPLICA_LEARNER);
	replica_member_remove(leader->replica, 5, cluster_on_change, &removed);
	assert_changed(&cluster, removed);
	replica_member_add(leader->replica, 5, fifth->peer, fifth->client, MEMBER_STANDBY,
			   cluster_on_change, &again);
	cluster_run_until(&cluster, again.done);
	assert_int_equal(again.status, -EEXIST);
	assert_non_null(strstr(again.error.message, "give it a new id"));
	cluster_close(&cluster);
}

static void a_leader_that_is_to_be_removed_hands_over_first(void **state)
{
	struct cluster_change first = {0}, second = {0};
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	uint64_t old = cluster_leader(&cluster);

	replica_member_remove(cluster_node(&cluster, old)->replica, old, cluster_on_change, &first);
	cluster_run_until(&cluster, first.done);
	assert_int_equal(first.status, -EAGAIN);
	cluster_run_until(&cluster, cluster_leader(&cluster) != 0);
	uint64_t next = cluster_leader(&cluster);

	assert_int_not_equal(next, old);
	replica_member_remove(cluster_node(&cluster, next)->replica, old, cluster_on_change,
			      &second);
	assert_changed(&cluster, second);
	assert_int_equal(cluster_status(&cluster, next).member_count, 2);
	cluster_close(&cluster);
}

/* The leader proposes it to nobody, and only then finds out that it is alone. */
static void a_change_without_a_majority_has_an_unknown_outcome(void **state)
{
	struct cluster_change change = {0};
	struct cluster cluster;

	(void)state;
	start_three(&cluster);
	uint64_t id = cluster_leader(&cluster);
	struct replica *leader = cluster_node(&cluster, id)->replica;

	cluster_run_until(&cluster, guard_is_quiet(leader->instance->guard));
	silence(&cluster);
	for (uint64_t other = 1; other <= 3; other++)
		if (other != id)
			cluster_stop(&cluster, other, 0);
	replica_member_remove(leader, id % 3 + 1, cluster_on_change, &change);
	cluster_run_until(&cluster, leader->members.phase == PHASE_IN_LOG);
	assert_false(change.done);
	raft_set_election_timeout(&leader->instance->raft, 1);
	raft_set_heartbeat_timeout(&leader->instance->raft, 1);
	cluster_run_until(&cluster, change.done);
	assert_int_equal(change.status, -EINPROGRESS);
	assert_non_null(strstr(change.error.message, "the change may still happen"));
	cluster_close(&cluster);
}

static void keep_change(void *arg, int status, const struct error *error)
{
	int *into = arg;

	(void)error;
	*into = status;
}

/* Leadership goes before the log came to rest, and after a first step. */
static void a_change_that_was_not_proposed_can_be_asked_for_again(void **state)
{
	static const enum members_phase phases[] = {PHASE_SETTLE, PHASE_CATCH_UP};

	(void)state;
	for (int i = 0; i < 4; i++) {
		int status = 1;
		struct members members = {.kind = MEMBERS_ASSIGN,
					  .phase = phases[i & 1],
					  .proposed = i >= 2,
					  .done = keep_change,
					  .arg = &status};

		members_turn(&members, NULL, true);
		assert_int_equal(status, i >= 2 ? -EINPROGRESS : -EAGAIN);
		assert_int_equal(members.kind, MEMBERS_NONE);
	}
}

static void a_node_that_lost_its_data_must_not_come_back(void **state)
{
	struct cluster cluster;
	struct cluster_node *node;

	(void)state;
	start_three(&cluster);
	cluster_append_many(&cluster, 1, 10, 100);
	node = cluster_node(&cluster, some_follower(&cluster));
	cluster_stop(&cluster, node->id, 0);
	cluster_wipe(node);
	cluster_start(&cluster, node->id);
	cluster_run_until(&cluster, node->failed);
	assert_non_null(strstr(node->error.message, "with another data directory"));
	assert_non_null(strstr(node->error.message, "start it under a new id"));
	cluster_append_many(&cluster, 11, 10, 100);
	cluster_close(&cluster);
}

static void an_added_node_that_lost_its_data_must_not_come_back(void **state)
{
	struct cluster_change added = {0};
	struct cluster cluster;
	struct cluster_node *node;

	(void)state;
	start_three(&cluster);
	node = cluster_node(&cluster, 5);
	cluster_start(&cluster, 5);
	replica_member_add(cluster_node(&cluster, cluster_leader(&cluster))->replica, 5, node->peer,
			   node->client, MEMBER_STANDBY, cluster_on_change, &added);
	assert_changed(&cluster, added);
	cluster_append_many(&cluster, 1, 10, 100);
	cluster_check_equal(&cluster);
	/* Whoever has met it knows its instance. */
	for (uint64_t id = 1; id <= 3; id++)
		cluster_run_until(
			&cluster,
			transport_is_up(cluster_node(&cluster, id)->replica->transport, 5));
	cluster_stop(&cluster, 5, 0);
	cluster_wipe(node);
	cluster_start(&cluster, 5);
	cluster_run_until(&cluster, node->failed);
	assert_non_null(strstr(node->error.message, "with another data directory"));
	cluster_close(&cluster);
}

static void a_follower_with_a_full_disk_takes_no_entries(void **state)
{
	struct cluster_change added = {0};
	struct cluster cluster;
	struct cluster_node *full;

	(void)state;
	start_three(&cluster);
	full = cluster_node(&cluster, 4);
	full->disk_free_bytes = UINT64_MAX;
	cluster_start(&cluster, 4);
	cluster_run_until(&cluster, full->replica->disk.low);
	replica_member_add(cluster_node(&cluster, cluster_leader(&cluster))->replica, 4, full->peer,
			   full->client, MEMBER_STANDBY, cluster_on_change, &added);
	assert_changed(&cluster, added);
	cluster_run_until(&cluster, cluster_status(&cluster, 4).leader_id != 0);
	cluster_append_many(&cluster, 1, 100, 200);
	assert_int_equal(cluster_status(&cluster, 4).last_index, 0);
	assert_false(full->failed);
	/* There is room again. */
	full->replica->disk.floor_bytes = 0;
	cluster_check_equal(&cluster);
	assert_false(full->replica->disk.low);
	cluster_close(&cluster);
}

static void a_new_member_of_an_old_cluster_pulls_what_the_log_lacks(void **state)
{
	struct cluster_change added = {0};
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 1);
	cluster.log_retained_bytes = 512 * KIB;
	cluster.log_trailing_bytes = 64 * KIB;
	cluster_start(&cluster, 1);
	for (uint32_t i = 0; i < 20; i++)
		cluster_append_many(&cluster, 1 + 50 * i, 50, 4000);
	cluster_start(&cluster, 2);
	replica_member_add(cluster.nodes[0].replica, 2, cluster.nodes[1].peer,
			   cluster.nodes[1].client, MEMBER_VOTER, cluster_on_change, &added);
	assert_changed(&cluster, added);
	assert_true(cluster.nodes[1].pulls > 0);
	cluster_append_many(&cluster, 1001, 50, 1000);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_nodes_form_and_become_equal),
		cmocka_unit_test(followers_apply_what_is_committed_without_waiting_for_a_heartbeat),
		cmocka_unit_test(all_nodes_restart_and_go_on),
		cmocka_unit_test(a_lost_leader_is_replaced_and_comes_back),
		cmocka_unit_test(a_leader_that_ends_is_replaced_before_an_election_timeout),
		cmocka_unit_test(a_stopping_leader_tells_of_everything_and_hands_over),
		cmocka_unit_test(a_node_alone_decides_nothing),
		cmocka_unit_test(a_node_that_fell_behind_the_log_pulls),
		cmocka_unit_test(a_pull_that_was_cut_off_is_begun_again),
		cmocka_unit_test(a_node_that_finds_nothing_to_pull_votes_as_a_witness),
		cmocka_unit_test(leadership_is_handed_over_on_request),
		cmocka_unit_test(a_member_is_added_promoted_and_removed),
		cmocka_unit_test(a_member_is_told_that_it_was_removed),
		cmocka_unit_test(a_member_that_cannot_be_is_refused_before_anything_changes),
		cmocka_unit_test(a_leader_that_is_to_be_removed_hands_over_first),
		cmocka_unit_test(a_change_without_a_majority_has_an_unknown_outcome),
		cmocka_unit_test(a_change_that_was_not_proposed_can_be_asked_for_again),
		cmocka_unit_test(a_node_that_lost_its_data_must_not_come_back),
		cmocka_unit_test(an_added_node_that_lost_its_data_must_not_come_back),
		cmocka_unit_test(a_follower_with_a_full_disk_takes_no_entries),
		cmocka_unit_test(a_new_member_of_an_old_cluster_pulls_what_the_log_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
