/*
 * A node whose calls fail: it does not start and says why, or it ends and says why, or it goes on; and
 * started again it has what it acknowledged. Each life is a process of its own, which ends as annald does.
 */
#include "tests/unit/failing_calls.h"
#include "tests/unit/raft/cluster.h"

#include <sys/wait.h>

#define APPENDS   5
#define CALLS_MAX 60 /* of one name in one life */

struct told {
	bool struck, refused, failed;
	uint32_t acknowledged;
	struct error error;
};

static char directory[128];
static char peer[64];
static struct told *told; /* shared with the lives */

static int set_up(void **state)
{
	(void)state;
	told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(told != MAP_FAILED);
	snprintf(peer, sizeof peer, "127.0.0.1:%u", cluster_free_port());
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return munmap(told, sizeof *told);
}

/* ---- a life ---- */

/* Whether it was acknowledged; it was acknowledged before, when it has to be there. */
static bool append_one(struct cluster *cluster, uint64_t number, bool has_to_be_there)
{
	struct cluster_node *node = &cluster->nodes[0];
	struct cluster_append append;

	cluster_append_init(&append, number, 100);
	cluster_run_until(cluster, node->failed || cluster_leader(cluster) == node->id);
	if (!node->failed && cluster_propose(cluster, node->id, &append) == PROPOSE_ACCEPTED)
		cluster_run_until(cluster, node->failed || append.told);
	if (!append.told || append.result != PROPOSAL_DECIDED)
		return false;
	assert_int_equal(append.code, ANSWER_OK);
	assert_true(append.duplicate || !has_to_be_there);
	buffer_close(&append.item);
	return true;
}

/* `first` of what is appended was acknowledged in the life before. */
static void live(const char *call, int code, uint64_t in, uint32_t first)
{
	struct cluster cluster;
	struct cluster_node *node = &cluster.nodes[0];
	uint32_t count = 0;

	cluster_init(&cluster, 0);
	strcpy(node->directory, directory);
	strcpy(node->peer, peer);
	failing_calls_set(call, code, in);
	if (cluster_try_start(node, &told->error) < 0) {
		told->refused = true;
	} else {
		while (count < APPENDS && append_one(&cluster, count + 1, count < first))
			count++;
		told->failed = node->failed;
		if (node->failed)
			told->error = node->error;
	}
	told->acknowledged = count;
	told->struck = failing_calls.struck != NULL;
	failing_calls_stop();
	if (!told->refused && !told->failed)
		assert_int_equal(store_head(node->store), APPENDS);
	nftw(cluster.directory, cluster_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	_exit(0);
}

static void live_in_a_process(const char *call, int code, uint64_t in, uint32_t first)
{
	int status;

	*told = (struct told){0};
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		live(call, code, in, first);
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("%s number %u failed: the process ended with %x", call, (unsigned)in,
			 (unsigned)status);
}

/* Whether the call was made. */
static bool fail_one(const char *call, int code, uint64_t in)
{
	strcpy(directory, "/tmp/annal-failing-XXXXXX");
	assert_non_null(mkdtemp(directory));
	live_in_a_process(call, code, in, 0);
	struct told first = *told;

	if (first.refused || first.failed) {
		if (!first.struck || first.error.message[0] == '\0')
			fail_msg("%s number %u: '%s'", call, (unsigned)in, first.error.message);
		live_in_a_process(NULL, 0, 0, first.acknowledged);
	}
	if (told->refused || told->failed || told->acknowledged != APPENDS)
		fail_msg("after %s number %u it does not start, or decides nothing: %s", call,
			 (unsigned)in, told->error.message);
	nftw(directory, cluster_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return first.struck;
}

static void every_call_may_fail(void **state)
{
	static const char *const calls[] = {"mkdir",     "open",   "opendir",  "readdir", "fsync",
					    "fdatasync", "rename", "stat",     "fstat",   "pread",
					    "pwrite",    "mmap",   "ftruncate"};
	(void)state;
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		uint64_t in = 1;

		while (fail_one(calls[i], EIO, in)) {
			in++;
			assert_true(in < CALLS_MAX);
		}
		if (getenv("TEST_LOG") != NULL)
			printf("%s: %u calls\n", calls[i], (unsigned)in - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_call_may_fail),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
