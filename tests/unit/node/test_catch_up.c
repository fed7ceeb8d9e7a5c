/* Catching up from peers that fail in every way; the store ends as the manifest says, or the node. */
#include "tests/unit/node/read_harness.h"

#include <sys/mman.h>
#include <sys/wait.h>

#define CALLS_MAX 16
#define PEERS     3 /* nodes 2, 3, 4; node 2 leads */

/* A connection to a peer: what it was asked, in order. */
struct peer_client {
	char address[ADDRESS_TEXT_BYTES];
	struct peer_call *calls[CALLS_MAX];
	uint64_t from[CALLS_MAX], limit[CALLS_MAX];
	uint32_t count;
	struct peer_client *next;
};

/* What is wrong with all pages of a peer. */
enum badness { GOOD, NO_PAGE, OTHER_POSITION, OTHER_VERSION, TOO_MANY, NO_RECORDS };

enum behaviour { WELL, CUT_SHORT, ERROR_ANSWER, CONNECTION_LOST, NEVER_SENT };

static struct harness harness;
static struct kv_memory_disk *source_disk;
static struct store *source; /* what every peer has, up to its head */
static uint64_t source_index;
static struct peer_client *clients; /* open ones, newest first */
static uint64_t peer_head[PEERS];
static enum badness peer_badness[PEERS];
static uint32_t connections;
static uint64_t asked_last; /* the highest position that was ever asked for */
static uint64_t random_state;
static bool faulty;
static uint64_t damaged_position; /* a byte of its data is another one */

static uint64_t below(uint64_t bound)
{
	return unit_random(&random_state) % bound;
}

/* ---- peers ---- */

struct peer_client *peer_client_new(struct uv_loop_s *loop, const char *address)
{
	struct peer_client *peer = memory_zeroed(1, sizeof *peer);

	(void)loop;
	snprintf(peer->address, sizeof peer->address, "%s", address);
	peer->next = clients;
	clients = peer;
	connections++;
	return peer;
}

void peer_client_call(struct peer_client *peer, struct peer_call *call, const char *method,
		      struct span map)
{
	uint32_t at = peer->count++;

	assert_string_equal(method, "read_all");
	assert_true(at < LIMIT_PULLS_IN_FLIGHT);
	assert_true(map_bool(map, "system"));
	peer->calls[at] = call;
	peer->from[at] = map_u64(map, "from");
	peer->limit[at] = map_u64(map, "limit");
	assert_true(peer->limit[at] <= LIMIT_READ_EVENTS);
	if (peer->from[at] + peer->limit[at] - 1 > asked_last)
		asked_last = peer->from[at] + peer->limit[at] - 1;
}

static struct peer_call *take_call(struct peer_client *peer)
{
	struct peer_call *call = peer->calls[0];

	peer->count--;
	for (uint32_t i = 0; i < peer->count; i++) {
		peer->calls[i] = peer->calls[i + 1];
		peer->from[i] = peer->from[i + 1];
		peer->limit[i] = peer->limit[i + 1];
	}
	return call;
}

static void end_calls(struct peer_client *peer, enum peer_result result)
{
	while (peer->count > 0) {
		struct peer_call *call = take_call(peer);

		call->done(call, result, (struct span){0}, (struct span){0});
	}
}

void peer_client_free(struct peer_client *peer)
{
	struct peer_client **at = &clients;

	end_calls(peer, PEER_UNKNOWN);
	while (*at != peer)
		at = &(*at)->next;
	*at = peer->next;
	memory_free(peer);
}

static void damage(struct buffer *records)
{
	size_t at = 0;
	struct record record;

	while (at < records->size) {
		struct span left = span_of(records->data + at, records->size - at);

		assert_int_equal(record_parse(left, &record), 0);
		if (record.position == damaged_position)
			records->data[(size_t)(record.data.data - records->data)] ^= 1;
		at += record.bytes.size;
	}
}

/* The last record of the page becomes another one. */
static void spoil_last(struct page *page, enum badness badness)
{
	struct span left = buffer_span(&page->records);
	struct record record = {0};

	while (left.size > 0) {
		assert_int_equal(record_parse(left, &record), 0);
		left.data += record.bytes.size;
		left.size -= record.bytes.size;
	}
	size_t at = (size_t)(record.bytes.data - page->records.data);

	if (badness == OTHER_POSITION)
		page->records.data[at + RECORD_POSITION_OFFSET + 7] ^= 1;
	else if (badness == OTHER_VERSION)
		page->records.data[at + RECORD_VERSION_OFFSET] ^= 1;
	else if (badness == NO_RECORDS) /* nine numbers in an array: whole, as MessagePack goes */
		memset(page->records.data + at + 1, 0, record.bytes.size - 1);
}

/* What a peer whose head is `head` answers. */
static void make_page(uint64_t from, uint64_t limit, uint64_t head, enum badness badness,
		      struct buffer *into)
{
	struct read_range range = {.from = from, .bytes_max = 100 * KIB};
	struct page page = {0};
	struct error error;
	uint64_t left = head >= from ? head - from + 1 : 0;

	if (left > 0) {
		range.limit = (uint32_t)(limit < left ? limit : left);
		assert_int_equal(store_read_all(source, &range, true, &page, &error), 0);
	}
	damage(&page.records);
	if (page.count > 0)
		spoil_last(&page, badness);
	if (badness == NO_PAGE) {
		msgpack_write_map(into, 0);
		buffer_close(&page.records);
		return;
	}
	msgpack_write_map(into, 4);
	msgpack_write_string(into, "next");
	msgpack_write_u64(into, page.next);
	msgpack_write_string(into, "events");
	msgpack_write_array(into, page.count);
	buffer_append_span(into, buffer_span(&page.records));
	msgpack_write_string(into, "end");
	msgpack_write_bool(into, page.end);
	msgpack_write_string(into, "head");
	msgpack_write_u64(into, head);
	buffer_close(&page.records);
}

static void answer_call(struct peer_client *peer, uint64_t limit_max)
{
	uint32_t number = (uint32_t)(peer->address[5] - '0') - 2;
	uint64_t head = peer_head[number];
	enum badness badness = peer_badness[number];
	uint64_t from = peer->from[0], limit = peer->limit[0];
	struct peer_call *call = take_call(peer);
	struct buffer page;

	buffer_init(&page);
	if (badness == TOO_MANY)
		make_page(from, limit + 1, head, badness, &page);
	else
		make_page(from, limit < limit_max ? limit : limit_max, head, badness, &page);
	call->done(call, PEER_ANSWERED, (struct span){0}, buffer_span(&page));
	buffer_close(&page);
}

static void answer_error(struct peer_client *peer)
{
	struct peer_call *call = take_call(peer);
	struct buffer error;

	buffer_init(&error);
	params_format(&error, "{ss", 1, "code", "INTERNAL");
	call->done(call, PEER_ANSWERED, buffer_span(&error), (struct span){0});
	buffer_close(&error);
}

/* One thing happens at the peer that is connected, if any is asked something. */
static void peers_step(void)
{
	struct peer_client *peer = clients;
	enum behaviour behaviour = WELL;

	if (peer == NULL || peer->count == 0)
		return;
	if (faulty && below(4) == 0)
		behaviour = (enum behaviour)(1 + below(4));
	else if (faulty && below(3) == 0)
		behaviour = CUT_SHORT;
	if (behaviour == ERROR_ANSWER)
		answer_error(peer);
	else if (behaviour == CONNECTION_LOST)
		end_calls(peer, PEER_UNKNOWN);
	else if (behaviour == NEVER_SENT)
		end_calls(peer, PEER_NEVER_SENT);
	else
		answer_call(peer, behaviour == CUT_SHORT ? 1 + below(500) : UINT64_MAX);
}

/* ---- the node ---- */

static void know_peers(void)
{
	harness.status.role = REPLICA_FOLLOWER;
	harness.status.state = REPLICA_PULLING;
	harness.status.leader_id = 2;
	harness.status.member_count = PEERS + 1;
	for (uint32_t i = 0; i < PEERS + 1; i++) {
		struct member *member = &harness.status.members[i];

		member->id = i + 1;
		snprintf(member->client_address, sizeof member->client_address, "node-%u", i + 1);
	}
}

/* Without a node: for tests that make it in a child process, as threads do not survive a fork. */
static int setup_source(void **state)
{
	(void)state;
	source_disk = kv_memory_disk_new();
	source = harness_store_new(source_disk);
	source_index = 0;
	connections = 0;
	asked_last = 0;
	faulty = false;
	damaged_position = 0;
	memset(peer_badness, 0, sizeof peer_badness);
	random_state = 1;
	return 0;
}

static int setup(void **state)
{
	harness_init(&harness);
	know_peers();
	return setup_source(state);
}

static int teardown_source(void **state)
{
	(void)state;
	store_close(source);
	kv_memory_disk_free(source_disk);
	return 0;
}

static int teardown(void **state)
{
	harness_close(&harness);
	assert_null(clients);
	return teardown_source(state);
}

static void source_append(uint32_t commands)
{
	static const char *const streams[] = {"a", "b", "$c", "d-1"};

	for (uint32_t i = 0; i < commands; i++)
		store_append(source, ++source_index, streams[below(COUNT_OF(streams))],
			     1 + (uint32_t)below(100), below(200));
	for (int i = 0; i < PEERS; i++)
		peer_head[i] = store_head(source);
}

static struct manifest source_manifest(void)
{
	struct manifest manifest;
	struct error error;

	assert_int_equal(store_flush(source, &error), 0);
	store_get_manifest(source, &manifest);
	return manifest;
}

static void step(void)
{
	peers_step();
	uv_run(&harness.loop, UV_RUN_NOWAIT);
}

static void pull(const struct manifest *manifest)
{
	harness.resumed = false;
	catch_up_pull(harness.node.catch_up, manifest);
	while (!harness.resumed)
		step();
}

static void assert_equals(const struct manifest *manifest)
{
	struct manifest mine;

	store_get_manifest(harness.node.store, &mine);
	assert_int_equal(mine.position, manifest->position);
	assert_int_equal(mine.hash, manifest->hash);
	assert_int_equal(mine.created, manifest->created);
	assert_int_equal(mine.applied_index, manifest->applied_index);
	assert_true(asked_last <= manifest->position);
}

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
