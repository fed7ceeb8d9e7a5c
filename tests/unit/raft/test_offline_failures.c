/* A directory that cannot be read while its node does not run: it is told, and nothing is lost by looking. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/raft/cluster.h"

#include "raft/offline.h"

#define CALLS_MAX 100 /* of one name in one look */

static const char *const calls[] = {"mkdir", "open",  "opendir", "readdir", "fsync", "rename",
				    "stat",  "fstat", "fstatat", "pread",   "mmap",  "pwrite"};

static struct offline_options options_of(const struct cluster_node *node)
{
	return (struct offline_options){.data_dir = node->directory,
					.cluster_name = "test",
					.node_id = node->id,
					.segment_bytes = 8 * MIB};
}

/* Each call of each name fails once, until `attempt` makes it no more. */
static void fail_each(const struct cluster_node *node,
		      int (*attempt)(const struct cluster_node *node, struct error *error),
		      void (*check)(const struct cluster_node *node))
{
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		bool struck = true;

		for (uint64_t in = 1; struck; in++) {
			struct error error = {.message = ""};

			assert_true(in < CALLS_MAX);
			failing_calls_set(calls[i], EIO, in);
			int status = attempt(node, &error);

			failing_calls_stop();
			struck = failing_calls.struck != NULL;
			if (status != 0 && (!struck || error.message[0] == '\0'))
				fail_msg("%s number %u: %d '%s'", calls[i], (unsigned)in, status,
					 error.message);
			check(node);
		}
	}
}

static uint64_t last_index, term;

static int look(const struct cluster_node *node, struct error *error)
{
	struct offline_options options = options_of(node);
	struct offline *offline;
	int status = offline_open(&offline, &options, error);

	if (status != 0)
		return status;
	assert_int_equal(offline_facts(offline)->last_index, last_index);
	assert_int_equal(offline_facts(offline)->term, term);
	offline_close(offline);
	return 0;
}

static void check_looked(const struct cluster_node *node)
{
	struct error error;

	assert_ok(look(node, &error));
}

static void a_log_that_cannot_be_read_is_told_and_left_as_it_is(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 20, 100);
	last_index = cluster_status(&cluster, 1).last_index;
	term = cluster_status(&cluster, 1).term;
	cluster_stop(&cluster, 1, 0);
	fail_each(&cluster.nodes[0], look, check_looked);
	cluster_start(&cluster, 1);
	cluster_append_many(&cluster, 1, 30, 100);
	assert_int_equal(store_head(cluster.nodes[0].store), 30);
	cluster_close(&cluster);
}

static int join(const struct cluster_node *node, struct error *error)
{
	static const uint8_t cluster_id[CLUSTER_ID_BYTES] = {7};
	struct offline_options options = options_of(node);

	return offline_make_joining(&options, cluster_id, error);
}

static void check_joining(const struct cluster_node *node)
{
	struct error error;
	uint64_t node_id;

	nftw(node->directory, cluster_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(node->directory, 0700), 0);
	assert_ok(join(node, &error));
	assert_ok(offline_node_id(node->directory, &node_id, &error));
	assert_int_equal(node_id, node->id);
	nftw(node->directory, cluster_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(node->directory, 0700), 0);
}

static void a_directory_that_cannot_be_made_is_told(void **state)
{
	struct cluster cluster;

	(void)state;
	cluster_init(&cluster, 0);
	fail_each(&cluster.nodes[0], join, check_joining);
	cluster_close(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_directory_that_cannot_be_made_is_told),
		cmocka_unit_test(a_log_that_cannot_be_read_is_told_and_left_as_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
