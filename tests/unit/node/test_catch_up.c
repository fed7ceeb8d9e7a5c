/* Catching up from peers that fail in every way; the store ends as the manifest says, or the node. */
#include "tests/unit/node/pull_peers.h"

#include <sys/mman.h>
#include <sys/wait.h>

/* ---- tests ---- */

static void everything_is_pulled_and_no_more(void **state)
{
	(void)state;
	source_append(300);
	struct manifest manifest = source_manifest();

	source_append(50);
	pull(&manifest);
	assert_equals(&manifest);
	assert_int_equal(connections, 1);
}

static void what_is_missing_later_is_pulled_later(void **state)
{
	struct catch_up_status status;

	(void)state;
	for (int i = 0; i < 3; i++) {
		source_append(100);
		struct manifest manifest = source_manifest();

		pull(&manifest);
		assert_equals(&manifest);
	}
	catch_up_get_status(harness.node.catch_up, &status);
	assert_false(status.active);
	assert_int_equal(status.head, store_head(source));
}

static void nothing_is_missing(void **state)
{
	struct manifest manifest = {0};

	(void)state;
	pull(&manifest);
	source_append(10);
	manifest = source_manifest();
	pull(&manifest);
	pull(&manifest);
	assert_equals(&manifest);
}

static void followers_are_asked_before_the_leader(void **state)
{
	(void)state;
	source_append(10);
	struct manifest manifest = source_manifest();

	catch_up_pull(harness.node.catch_up, &manifest);
	for (const char *const *name = (const char *const[]){"node-3", "node-4", "node-2", NULL};
	     *name != NULL; name++) {
		while (clients == NULL || strcmp(clients->address, *name) != 0)
			uv_run(&harness.loop, UV_RUN_NOWAIT);
		assert_true(clients->count > 0);
		end_calls(clients, PEER_UNKNOWN);
	}
	while (!harness.resumed)
		step();
	assert_equals(&manifest);
}

static void peers_that_lack_records_are_left_for_others(void **state)
{
	(void)state;
	source_append(200);
	struct manifest manifest = source_manifest();

	peer_head[1] = 1000; /* node 3, which is asked first */
	peer_head[2] = 0;
	pull(&manifest);
	assert_equals(&manifest);
	assert_true(connections >= 3);
}

static void it_waits_until_somebody_has_the_records(void **state)
{
	(void)state;
	source_append(50);
	struct manifest manifest = source_manifest();

	for (int i = 0; i < PEERS; i++)
		peer_head[i] = 500;
	catch_up_pull(harness.node.catch_up, &manifest);
	while (connections < 8)
		step();
	assert_int_equal(store_head(harness.node.store), 500);
	assert_false(harness.resumed);
	peer_head[0] = store_head(source);
	while (!harness.resumed)
		step();
	assert_equals(&manifest);
}

static const enum badness kinds[] = {NO_PAGE, OTHER_POSITION, OTHER_VERSION, TOO_MANY, NO_RECORDS};

/* Node 3 is asked first, then 4, then 2. */
static void peers_whose_records_do_not_fit_are_left(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT_OF(kinds); i++) {
		uint32_t before = connections;

		source_append(60);
		struct manifest manifest = source_manifest();

		source_append(1); /* so that there is more than what is wanted */
		peer_badness[1] = kinds[i];
		peer_badness[2] = kinds[(i + 1) % COUNT_OF(kinds)];
		pull(&manifest);
		assert_equals(&manifest);
		assert_true(connections >= before + 3);
	}
}

/* Who cannot be reached might have them. */
static void records_that_do_not_fit_end_nothing_while_others_are_away(void **state)
{
	(void)state;
	source_append(60);
	struct manifest manifest = source_manifest();

	peer_badness[1] = OTHER_POSITION;
	catch_up_pull(harness.node.catch_up, &manifest);
	for (uint32_t before = connections; connections < before + 12;) {
		if (clients != NULL && strcmp(clients->address, "node-3") != 0)
			end_calls(clients, PEER_NEVER_SENT);
		step();
	}
	assert_int_equal(store_head(harness.node.store), 0);
	while (!harness.resumed)
		step();
	assert_equals(&manifest);
}

static void peers_that_fail_in_every_way(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		random_state = seed;
		source_append(150);
		struct manifest manifest = source_manifest();

		faulty = true;
		pull(&manifest);
		assert_equals(&manifest);
		faulty = false;
	}
	assert_true(connections > 10);
}

static void a_node_that_is_killed_goes_on_at_its_head(void **state)
{
	(void)state;
	source_append(400);
	struct manifest manifest = source_manifest();
	struct store_status status;

	for (uint64_t stop_at = 2000; stop_at <= 8000; stop_at += 2000) {
		catch_up_pull(harness.node.catch_up, &manifest);
		while (store_head(harness.node.store) < stop_at)
			step();
		if (stop_at % 4000 == 0)
			harness_flush(&harness);
		struct kv_memory_disk *disk = harness_crash(&harness);

		harness_init_on(&harness, disk);
		know_peers();
		store_get_status(harness.node.store, &status);
		assert_true(status.ingesting);
	}
	assert_true(store_head(harness.node.store) >= 8000);
	pull(&manifest);
	assert_equals(&manifest);
}

static void subscribers_see_what_is_pulled(void **state)
{
	struct client client;
	struct notifier_status status;
	struct buffer params;

	(void)state;
	buffer_init(&params);
	client_open(&client, &harness);
	client_send(&client, "subscribe",
		    params_format(&params, "{sssb", 2, "query", "all", "system", 1));
	harness_settle(&harness);
	source_append(100);
	struct manifest manifest = source_manifest();

	pull(&manifest);
	harness_settle(&harness);
	notifier_get_status(harness.node.notifier, &status);
	assert_int_equal(status.seen, manifest.position);
	assert_int_equal(status.events, manifest.position);
	client_close(&client);
	buffer_close(&params);
}

/* ---- what ends the node ---- */

static void pull_in_a_child(const struct manifest *manifest)
{
	int status;

	harness_failure = mmap(NULL, sizeof *harness_failure, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(harness_failure != MAP_FAILED);
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		harness_init(&harness);
		know_peers();
		pull(manifest);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 70);
}

static void assert_failure(const char *part)
{
	if (strstr(harness_failure->message, part) == NULL)
		fail_msg("\"%s\" is not in: %s", part, harness_failure->message);
	assert_non_null(strstr(harness_failure->message, "catching up"));
	munmap(harness_failure, sizeof *harness_failure);
	harness_failure = NULL;
}

static void another_hash_than_the_manifests_ends_the_node(void **state)
{
	(void)state;
	source_append(50);
	struct manifest manifest = source_manifest();

	manifest.hash ^= 1;
	pull_in_a_child(&manifest);
	assert_failure("are not those of the cluster");
}

static void nobodys_records_fit(void **state)
{
	(void)state;
	source_append(50);
	struct manifest manifest = source_manifest();

	for (size_t i = 0; i < PEERS; i++)
		peer_badness[i] = kinds[i];
	pull_in_a_child(&manifest);
	assert_failure("");
}

static void a_record_that_is_another_one_ends_the_node(void **state)
{
	(void)state;
	source_append(1);
	store_append(source, ++source_index, "x", 1, 100);
	damaged_position = store_head(source);
	source_append(20);
	struct manifest manifest = source_manifest();

	pull_in_a_child(&manifest);
	assert_failure("are not those of the cluster");
}

int main(void)
{
#define TEST(name)          cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_IN_CHILD(name) cmocka_unit_test_setup_teardown(name, setup_source, teardown_source)
	const struct CMUnitTest tests[] = {
		TEST(everything_is_pulled_and_no_more),
		TEST(what_is_missing_later_is_pulled_later),
		TEST(nothing_is_missing),
		TEST(followers_are_asked_before_the_leader),
		TEST(peers_that_lack_records_are_left_for_others),
		TEST(it_waits_until_somebody_has_the_records),
		TEST(peers_whose_records_do_not_fit_are_left),
		TEST(records_that_do_not_fit_end_nothing_while_others_are_away),
		TEST(peers_that_fail_in_every_way),
		TEST(a_node_that_is_killed_goes_on_at_its_head),
		TEST(subscribers_see_what_is_pulled),
		TEST_IN_CHILD(another_hash_than_the_manifests_ends_the_node),
		TEST_IN_CHILD(nobodys_records_fit),
		TEST_IN_CHILD(a_record_that_is_another_one_ends_the_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
