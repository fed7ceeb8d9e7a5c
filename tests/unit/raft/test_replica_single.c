/* One replica by itself: it forms, decides, keeps what it acknowledged, and drops its log in time. */
#include "tests/unit/raft/cluster.h"

static void a_single_node_forms_and_decides_appends(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 100, 100);
	assert_int_equal(store_head(cluster.nodes[0].store), 100);
	cluster_run_until(&cluster, cluster.nodes[0].told_position == 100);

	struct replica_status status = cluster_status(&cluster, 1);

	assert_int_equal(status.role, REPLICA_LEADER);
	assert_int_equal(status.leader_id, 1);
	assert_int_equal(status.member_count, 1);
	assert_string_equal(status.members[0].client_address, cluster.nodes[0].client);
	assert_string_equal(status.leader_address, cluster.nodes[0].client);
	cluster_close(&cluster);
}

static void acknowledged_appends_survive_a_crash_of_the_store(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 500, 100);
	cluster_stop(&cluster, 1, 0);
	cluster_start(&cluster, 1);
	cluster_run_until(&cluster, cluster_leader(&cluster) == 1);
	cluster_run_until(&cluster, store_head(cluster.nodes[0].store) == 500);
	cluster_append_many(&cluster, 501, 10, 100);
	assert_int_equal(store_head(cluster.nodes[0].store), 510);
	/* The same ids again are the same events. */
	cluster_append_many(&cluster, 1, 510, 100);
	assert_int_equal(store_head(cluster.nodes[0].store), 510);
	cluster_close(&cluster);
}

static void the_log_is_dropped_once_the_store_is_durable(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	cluster.log_retained_bytes = 1 * MIB;
	cluster.log_trailing_bytes = 256 * KIB;
	cluster_start(&cluster, 1);
	for (uint32_t i = 0; i < 20; i++)
		cluster_append_many(&cluster, 1 + 100 * i, 100, 4000);
	uint32_t count = 2000;

	/* It is looked at whenever something is applied. */
	while (cluster_status(&cluster, 1).snapshot_index == 0 ||
	       cluster_status(&cluster, 1).log_bytes > 2 * MIB)
		cluster_append_many(&cluster, ++count, 1, 100);
	cluster_stop(&cluster, 1, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, count + 1, 10, 100);
	assert_int_equal(store_head(cluster.nodes[0].store), count + 10);
	cluster_close(&cluster);
}

struct read {
	bool ready;
	uint64_t position;
};

static void on_ready(void *arg, uint64_t position)
{
	struct read *read = arg;

	read->ready = true;
	read->position = position;
}

static void a_read_point_covers_what_was_acknowledged(void **state)
{
	struct read reads[5] = {0};
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_run_until(&cluster, cluster_leader(&cluster) == 1);
	replica_read_barrier(cluster.nodes[0].replica, on_ready, &reads[0]);
	assert_false(reads[0].ready);
	cluster_run_until(&cluster, reads[0].ready);
	assert_int_equal(reads[0].position, 0);
	cluster_append_many(&cluster, 1, 50, 100);
	for (int i = 1; i < 5; i++)
		replica_read_barrier(cluster.nodes[0].replica, on_ready, &reads[i]);
	cluster_run_until(&cluster,
			  reads[1].ready && reads[2].ready && reads[3].ready && reads[4].ready);
	assert_int_equal(reads[4].position, 50);
	cluster_close(&cluster);
}

static void a_stopping_replica_takes_nothing_and_tells_of_everything(void **state)
{
	struct cluster_append appends[200];
	struct cluster cluster;
	uint32_t told = 0;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_run_until(&cluster, cluster_leader(&cluster) == 1);
	for (uint32_t i = 0; i < COUNT_OF(appends); i++) {
		cluster_append_init(&appends[i], i + 1, 1000);
		assert_int_equal(cluster_propose(&cluster, 1, &appends[i]), PROPOSE_ACCEPTED);
	}
	struct cluster_node *node = cluster_node(&cluster, 1);

	replica_stop(node->replica, 10000, cluster_on_stopped, node);
	struct cluster_append late;

	cluster_append_init(&late, 1000, 10);
	assert_int_equal(cluster_propose(&cluster, 1, &late), PROPOSE_STOPPING);
	cluster_run_until(&cluster, node->stopped);
	for (uint32_t i = 0; i < COUNT_OF(appends); i++) {
		told += appends[i].told && appends[i].result == PROPOSAL_DECIDED;
		buffer_close(&appends[i].item);
	}
	buffer_close(&late.item);
	assert_int_equal(told, COUNT_OF(appends));
	replica_free(node->replica);
	cluster_close_store(node, false);
	cluster_close(&cluster);
}

static void a_directory_belongs_to_one_node_and_one_process(void **state)
{
	struct cluster cluster;
	struct error error;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	/* The second one has its own store and port, but the directory of the first. */
	struct cluster_node *second = cluster_node(&cluster, 2);

	strcpy(second->directory, cluster.nodes[0].directory);
	assert_int_equal(cluster_try_start(second, &error), -EAGAIN);
	assert_non_null(strstr(error.message, "another process"));
	cluster_close_store(second, false);
	cluster_stop(&cluster, 1, 1);
	assert_int_equal(cluster_try_start(second, &error), -EEXIST);
	assert_non_null(strstr(error.message, "directory of node 1"));
	cluster_close_store(second, false);
	cluster_close(&cluster);
}

static void a_port_in_use_is_told(void **state)
{
	struct cluster cluster;
	struct error error;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	strcpy(cluster.nodes[1].peer, cluster.nodes[0].peer);
	assert_int_equal(cluster_try_start(&cluster.nodes[1], &error), -EADDRINUSE);
	cluster_close_store(&cluster.nodes[1], false);
	cluster_close(&cluster);
}

static void a_log_that_lost_its_files_is_damage(void **state)
{
	struct cluster cluster;
	char path[256];
	struct error error;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 50, 100);
	cluster_stop(&cluster, 1, 1);
	snprintf(path, sizeof path, "%s/hardstate", cluster.nodes[0].directory);
	assert_int_equal(remove(path), 0);
	assert_true(cluster_try_start(&cluster.nodes[0], &error) < 0);
	assert_non_null(strstr(error.message, "hard state"));
	cluster_close_store(&cluster.nodes[0], false);
	cluster_close(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_single_node_forms_and_decides_appends),
		cmocka_unit_test(acknowledged_appends_survive_a_crash_of_the_store),
		cmocka_unit_test(the_log_is_dropped_once_the_store_is_durable),
		cmocka_unit_test(a_read_point_covers_what_was_acknowledged),
		cmocka_unit_test(a_stopping_replica_takes_nothing_and_tells_of_everything),
		cmocka_unit_test(a_directory_belongs_to_one_node_and_one_process),
		cmocka_unit_test(a_port_in_use_is_told),
		cmocka_unit_test(a_log_that_lost_its_files_is_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
