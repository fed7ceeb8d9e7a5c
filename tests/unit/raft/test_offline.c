/* The raft part of a directory whose node does not run: read, replaced, made; then nodes start on it. */
#include "tests/unit/raft/cluster.h"

#include "raft/offline.h"
#include "storage/tables.h"

static struct offline_options options_of(struct cluster_node *node, uint64_t applied_index)
{
	return (struct offline_options){.data_dir = node->directory,
					.cluster_name = "test",
					.node_id = node->id,
					.segment_bytes = 8 * MIB,
					.store_applied_index = applied_index};
}

static uint64_t applied_of(struct cluster_node *node)
{
	struct store *store = feed_store(&node->place);
	struct store_status status;

	store_get_status(store, &status);
	store_close(store);
	return status.applied_index;
}

struct fold {
	struct store *store;
	uint64_t commands, last_index;
};

static int fold_command(void *arg, uint64_t index, struct span body, struct error *error)
{
	struct fold *fold = arg;
	struct apply_result result;

	assert_true(index > fold->last_index);
	fold->last_index = index;
	fold->commands++;
	return store_apply(fold->store, index, memory_copy(body.data, body.size), body.size, NULL,
			   &result, error);
}

/* As `annald recover` does it. */
static uint64_t recover(struct cluster_node *node)
{
	struct offline_options options = options_of(node, applied_of(node));
	struct store_identity identity = {.node_id = node->id};
	struct store_options store = {.tail_bytes_max = 1 * MIB};
	struct fold fold = {0};
	struct manifest manifest;
	struct offline *offline;
	struct error error;

	assert_ok(offline_open(&offline, &options, &error));
	assert_ok(offline_new_cluster(offline, node->peer, node->client, identity.cluster_id,
				      &error));
	store.kv = feed_kv(&node->place);
	assert_ok(tables_write_identity(store.kv, &identity, &error));
	assert_ok(store_open(&fold.store, &store, &error));
	assert_ok(offline_each_command(offline, options.store_applied_index, fold_command, &fold,
				       &error));
	assert_ok(store_flush(fold.store, &error));
	store_get_manifest(fold.store, &manifest);
	assert_memory_equal(manifest.cluster_id, identity.cluster_id, CLUSTER_ID_BYTES);
	assert_ok(offline_begin(offline, &manifest, offline_facts(offline)->last_index, &error));
	store_close(fold.store);
	offline_close(offline);
	return fold.commands;
}

static void add_member(struct cluster *cluster, uint64_t to, uint64_t id)
{
	struct cluster_node *node = cluster_node(cluster, id);
	struct cluster_change change = {0};

	cluster_run_until(cluster, cluster_status(cluster, to).ready);
	replica_member_add(cluster_node(cluster, to)->replica, id, node->peer, node->client,
			   MEMBER_VOTER, cluster_on_change, &change);
	assert_changed(cluster, change);
}

static void a_directory_tells_how_far_it_goes(void **state)
{
	struct cluster cluster;
	struct offline *offline;
	struct error error;
	uint64_t node_id = 0;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 100, 100);
	struct replica_status running = cluster_status(&cluster, 1);

	cluster_stop(&cluster, 1, 0);
	struct cluster_node *node = cluster_node(&cluster, 1);
	struct offline_options options = options_of(node, 0);
	struct fold fold = {.store = feed_store(&node->place)};

	store_close(fold.store);
	assert_ok(offline_node_id(node->directory, &node_id, &error));
	assert_int_equal(node_id, 1);
	assert_ok(offline_open(&offline, &options, &error));
	const struct offline_facts *facts = offline_facts(offline);

	assert_int_equal(facts->term, running.term);
	assert_int_equal(facts->last_term, running.term);
	assert_int_equal(facts->last_index, running.last_index);
	assert_false(facts->has_snapshot);
	assert_int_equal(facts->member_count, 1);
	assert_int_equal(facts->members[0].id, 1);
	assert_int_equal(facts->members[0].role, MEMBER_VOTER);
	assert_string_equal(facts->members[0].peer_address, node->peer);
	assert_string_equal(facts->members[0].client_address, node->client);
	offline_close(offline);
	/* Looked at, it is what it was. */
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 110, 100);
	assert_int_equal(store_head(node->store), 110);
	cluster_close(&cluster);
}

static void what_is_none_is_refused(void **state)
{
	struct cluster cluster;
	struct offline *offline;
	struct error error;
	uint64_t node_id;
	char path[160];

	(void)state;
	cluster_init(&cluster, 0);
	struct cluster_node *node = cluster_node(&cluster, 1);

	assert_int_equal(offline_node_id(node->directory, &node_id, &error), -ENOENT);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 10, 100);
	cluster_stop(&cluster, 1, 1);
	struct offline_options options = options_of(node, 0);

	options.node_id = 2;
	assert_int_equal(offline_open(&offline, &options, &error), -EEXIST);
	assert_non_null(strstr(error.message, "node 1"));
	options = options_of(node, 1000000);
	assert_int_equal(offline_open(&offline, &options, &error), -EBADMSG);
	snprintf(path, sizeof path, "%s/peers", node->directory);
	assert_int_equal(truncate(path, 20), 0);
	assert_int_equal(offline_node_id(node->directory, &node_id, &error), -EBADMSG);
	cluster_close(&cluster);
}

static void what_is_left_of_a_cluster_goes_on_and_others_pull_from_it(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 200, 100);
	cluster_check_equal(&cluster);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_stop(&cluster, id, 0);
	/* Nothing of it had become durable in the tables. */
	feed_place_close(&cluster_node(&cluster, 3)->place);
	feed_place_init(&cluster_node(&cluster, 3)->place, true);
	assert_true(recover(cluster_node(&cluster, 3)) > 0);
	/* Once more: it may have been cut off. */
	assert_int_equal(recover(cluster_node(&cluster, 3)), 0);
	cluster_start(&cluster, 3);
	cluster_run_until(&cluster, cluster_leader(&cluster) == 3);
	assert_int_equal(cluster_status(&cluster, 3).member_count, 1);
	cluster_append_many(&cluster, 1, 210, 100);
	assert_int_equal(store_head(cluster_node(&cluster, 3)->store), 210);
	cluster_start(&cluster, 4);
	add_member(&cluster, 3, 4);
	assert_int_equal(cluster_node(&cluster, 4)->pulls, 1);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

static void members_of_the_old_cluster_are_refused(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 3);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_start(&cluster, id);
	cluster_append_many(&cluster, 1, 50, 100);
	cluster_check_equal(&cluster);
	for (uint64_t id = 1; id <= 3; id++)
		cluster_stop(&cluster, id, 0);
	recover(cluster_node(&cluster, 3));
	cluster_start(&cluster, 3);
	cluster_start(&cluster, 1);
	cluster_run_until(&cluster, cluster_leader(&cluster) == 3);
	cluster_append_many(&cluster, 51, 50, 100);
	int64_t begun = clock_monotonic_ms();

	cluster_run_until(&cluster, clock_monotonic_ms() - begun > 2500);
	assert_true(cluster_status(&cluster, 3).ready);
	assert_int_equal(cluster_status(&cluster, 3).member_count, 1);
	assert_int_not_equal(cluster_status(&cluster, 1).role, REPLICA_LEADER);
	assert_true(store_head(cluster_node(&cluster, 1)->store) <= 50);
	assert_int_equal(store_head(cluster_node(&cluster, 3)->store), 100);
	cluster_close(&cluster);
}

/* A store that is ahead of its log, which begins with what the cluster sends. */
static void seed(struct cluster *cluster, uint64_t from, uint64_t id)
{
	struct cluster_node *node = cluster_node(cluster, id);
	struct store *source = cluster_node(cluster, from)->store;
	struct manifest manifest;
	struct store_identity identity = {.node_id = id};
	struct error error;

	assert_ok(store_flush(source, &error));
	store_get_manifest(source, &manifest);
	memcpy(identity.cluster_id, manifest.cluster_id, CLUSTER_ID_BYTES);
	node->store = feed_store(&node->place);
	assert_ok(store_set_identity(node->store, &identity, &error));
	assert_ok(store_ingest_begin(node->store, &error));
	cluster_copy(node, source, &manifest);
	assert_ok(store_ingest_end(node->store, &manifest, &error));
	store_close(node->store);
	struct offline_options options = options_of(node, manifest.applied_index);

	assert_ok(offline_make_joining(&options, manifest.cluster_id, &error));
}

static void a_log_from_the_beginning_is_passed_over_by_a_store_that_has_it(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 1);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 100, 100);
	seed(&cluster, 1, 4);
	cluster_append_many(&cluster, 101, 100, 100);
	cluster_start(&cluster, 4);
	add_member(&cluster, 1, 4);
	assert_int_equal(cluster_node(&cluster, 4)->pulls, 0);
	cluster_check_equal(&cluster);
	cluster_stop(&cluster, 4, 0);
	cluster_start(&cluster, 4);
	cluster_append_many(&cluster, 201, 10, 100);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

static void a_seeded_node_that_gets_a_snapshot_pulls_the_rest(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 1);
	cluster.log_retained_bytes = 1 * MIB;
	cluster.log_trailing_bytes = 256 * KIB;
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 100, 4000);
	seed(&cluster, 1, 4);
	uint32_t count = 100;

	while (cluster_status(&cluster, 1).snapshot_index == 0 || count < 1000)
		cluster_append_many(&cluster, 1 + count, 100, 4000), count += 100;
	cluster_start(&cluster, 4);
	assert_int_equal(store_head(cluster_node(&cluster, 4)->store), 100);
	add_member(&cluster, 1, 4);
	assert_int_equal(cluster_node(&cluster, 4)->pulls, 1);
	cluster_check_equal(&cluster);
	cluster_close(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directory_tells_how_far_it_goes),
		cmocka_unit_test(what_is_none_is_refused),
		cmocka_unit_test(what_is_left_of_a_cluster_goes_on_and_others_pull_from_it),
		cmocka_unit_test(members_of_the_old_cluster_are_refused),
		cmocka_unit_test(a_log_from_the_beginning_is_passed_over_by_a_store_that_has_it),
		cmocka_unit_test(a_seeded_node_that_gets_a_snapshot_pulls_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
