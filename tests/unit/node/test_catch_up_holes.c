/* Catching up from peers that have dropped superseded checkpoints, and go on dropping. */
#include "tests/unit/node/pull_peers.h"

#include "storage/system.h"

static const char *const consumers[] = {"a", "b", "c"};

static void source_commit(const char *consumer)
{
	struct system_checkpoint checkpoint = {.position = source_index};
	struct record_fields fields;
	struct apply_result result;
	struct buffer text, item;
	struct error error;
	uint8_t id[UUID_BYTES];

	buffer_init(&text);
	buffer_init(&item);
	system_checkpoint_fields(span_of_string(consumer), &checkpoint, id, &text, &fields);
	size_t offset = command_item_begin(&item);
	command_item_add_checkpoint(&item, NULL, &fields);
	command_item_end(&item, offset);
	uint8_t *body = memory_alloc(COMMAND_HEADER_BYTES + item.size);
	command_header_write(body, COMMAND_BATCH, 1, (int64_t)source_index);
	memcpy(body + COMMAND_HEADER_BYTES, item.data, item.size);
	assert_int_equal(store_apply(source, ++source_index, body, COMMAND_HEADER_BYTES + item.size,
				     NULL, &result, &error),
			 0);
	buffer_close(&text);
	buffer_close(&item);
}

static void source_commit_some(uint32_t commands)
{
	for (uint32_t i = 0; i < commands; i++) {
		if (below(10) == 0)
			source_append(1);
		else
			source_commit(consumers[below(COUNT_OF(consumers))]);
	}
	for (int i = 0; i < PEERS; i++)
		peer_head[i] = store_head(source);
}

static void source_trim(void)
{
	bool again = true;
	struct error error;

	assert_int_equal(store_flush(source, &error), 0);
	while (again)
		assert_int_equal(store_trim(source, &again, &error), 0);
}

static uint64_t last_version(struct store *store, const char *consumer, uint64_t *position)
{
	struct read_range range = {.limit = 1, .backward = true, .bytes_max = 1 * MIB};
	struct stream_status status;
	struct page page = {0};
	struct error error;
	struct buffer name;

	buffer_init(&name);
	system_stream_name(SYSTEM_CHECKPOINT_PREFIX, span_of_string(consumer), &name);
	assert_int_equal(
		store_read_stream(store, buffer_span(&name), &range, &page, &status, &error), 0);
	*position = page.count == 0 ? 0 : record_position(page.records.data);
	buffer_close(&name);
	buffer_close(&page.records);
	return status.version;
}

/* The node's store is that of the source at the node's head: hashes, and what a checkpoint depends on. */
static void assert_is_the_sources(void)
{
	struct manifest mine;
	struct error error;
	uint64_t hash, at_source, here;

	store_get_manifest(harness.node.store, &mine);
	int rc = store_digest(source, &mine.position, &hash, &error);
	assert_true(rc == 0 || rc == -ENOENT); /* it has dropped the record there since */
	assert_true(rc != 0 || mine.hash == hash);
	for (size_t i = 0; i < COUNT_OF(consumers); i++) {
		uint64_t version = last_version(source, consumers[i], &at_source);

		if (at_source > mine.position)
			continue; /* written later: what was there before is gone at the source */
		assert_int_equal(last_version(harness.node.store, consumers[i], &here), version);
		assert_int_equal(here, at_source);
	}
}

static void holes_are_pulled(void **state)
{
	(void)state;
	source_commit_some(9000);
	source_trim();
	struct manifest manifest = source_manifest();

	pull(&manifest);
	assert_equals(&manifest);
	assert_is_the_sources();
	assert_int_equal(harness.noted_pulled, 0);
}

/* What was a consumer's last checkpoint as of the manifest is gone: the peer's manifest is taken. */
static void a_manifest_that_is_too_old_is_replaced(void **state)
{
	(void)state;
	source_commit_some(5000);
	struct manifest manifest = source_manifest();

	source_commit_some(500);
	source_trim();
	struct manifest newer = source_manifest();

	pull(&manifest);
	assert_came_to(&newer);
	assert_is_the_sources();
	assert_int_equal(harness.noted_pulled, newer.applied_index);
}

static void commit_and_trim(void)
{
	source_commit_some(60);
	source_trim();
}

/*
 * Every page comes with holes that need a manifest newer than the one before: a node that asked for the
 * rest only after it knew how far it must come would never be done.
 */
static void a_source_that_drops_before_each_answer_is_caught_up_with(void **state)
{
	(void)state;
	source_commit_some(9000);
	struct manifest manifest = source_manifest();

	before_answer = commit_and_trim;
	pull(&manifest);
	before_answer = NULL;
	assert_is_the_sources();
}

static void it_waits_for_a_peer_that_tells_a_manifest(void **state)
{
	(void)state;
	source_commit_some(500);
	struct manifest manifest = source_manifest();

	source_commit_some(500);
	source_trim();
	source_manifest_from = UINT64_MAX;
	catch_up_pull(harness.node.catch_up, &manifest);
	for (uint32_t before = connections; connections < before + 8;)
		step();
	assert_false(harness.resumed);
	source_manifest_from = 0;
	while (!harness.resumed)
		step();
	assert_is_the_sources();
}

/*
 * The source goes on, flushes and trims; the node is killed now and then. All of this is counted in
 * steps of the loop, which may be many for one of the node's worker: so it is bounded.
 */
#define SOURCE_COMMITS 100
#define NODE_CRASHES   20
static void pull_while_the_source_goes_on(struct manifest *manifest)
{
	struct error error;
	uint32_t commits = 0, crashes = 0;

	harness.resumed = false;
	catch_up_pull(harness.node.catch_up, manifest);
	while (!harness.resumed) {
		step();
		if (commits < SOURCE_COMMITS && below(30) == 0) {
			source_commit_some((uint32_t)below(200));
			commits++;
		}
		if (below(40) == 0)
			source_trim();
		if (below(10) == 0)
			assert_int_equal(store_flush(source, &error), 0);
		if (crashes == NODE_CRASHES || below(300) != 0)
			continue;
		crashes++;
		if (below(2) == 0)
			harness_flush(&harness);
		struct kv_memory_disk *disk = harness_crash(&harness);

		harness_init_on(&harness, disk);
		know_peers();
		catch_up_pull(harness.node.catch_up, manifest);
	}
}

static void the_source_goes_on_meanwhile(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		random_state = seed;
		source_commit_some(3000);
		struct manifest manifest = source_manifest();

		source_commit_some((uint32_t)below(3000));
		if (below(2) == 0)
			source_trim();
		faulty = seed % 2 == 0;
		pull_while_the_source_goes_on(&manifest);
		faulty = false;
		assert_is_the_sources();
	}
	struct manifest manifest = source_manifest();

	pull(&manifest);
	assert_came_to(&manifest);
	assert_is_the_sources();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(holes_are_pulled),
		TEST(a_manifest_that_is_too_old_is_replaced),
		TEST(a_source_that_drops_before_each_answer_is_caught_up_with),
		TEST(it_waits_for_a_peer_that_tells_a_manifest),
		TEST(the_source_goes_on_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
