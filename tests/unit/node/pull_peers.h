/*
 * A node that catches up, and peers that fail in every way, which all have the same source: fakes of
 * peer_client.h, and a store behind them.
 */
#ifndef TESTS_NODE_PULL_PEERS_H
#define TESTS_NODE_PULL_PEERS_H

#include "tests/unit/node/read_harness.h"

#include "storage/hole.h"

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
static uint64_t source_manifest_from; /* before this position, peers tell no manifest */
static struct peer_client *clients;   /* open ones, newest first */
static uint64_t peer_head[PEERS];
static enum badness peer_badness[PEERS];
static uint32_t connections;
static uint64_t asked_last; /* the highest position that was ever asked for */
static uint64_t random_state;
static bool faulty;
static void (*before_answer)(
	void); /* what the source does before it answers anything, NULL: nothing */
static uint64_t damaged_position; /* a byte of its data is another one */

static inline uint64_t below(uint64_t bound)
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
	assert_true(map_bool(map, "raw"));
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

static inline void end_calls(struct peer_client *peer, enum peer_result result)
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

		if (hole_is_next(left)) {
			at += HOLE_BYTES;
			continue;
		}
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

/* What the peer says of its store, in two pairs. */
static void write_source(struct buffer *into)
{
	uint8_t bytes[MANIFEST_BYTES];
	struct store_status status;
	struct manifest manifest;

	store_get_status(source, &status);
	store_get_manifest(source, &manifest);
	manifest_encode(&manifest, bytes);
	msgpack_write_string(into, "manifest");
	if (manifest.position < source_manifest_from)
		msgpack_write_nil(into); /* it catches up itself */
	else
		msgpack_write_bin(into, span_of(bytes, sizeof bytes));
	msgpack_write_string(into, "horizon");
	msgpack_write_u64(into, status.horizon);
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
		assert_int_equal(store_read_raw(source, &range, &page, &error), 0);
	}
	damage(&page.records);
	if (page.count > 0 && badness != GOOD)
		spoil_last(&page, badness);
	if (badness == NO_PAGE) {
		msgpack_write_map(into, 0);
		buffer_close(&page.records);
		return;
	}
	msgpack_write_map(into, 6);
	write_source(into);
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
	if (before_answer != NULL)
		before_answer();
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

static inline void know_peers(void)
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
static inline int setup_source(void **state)
{
	(void)state;
	source_disk = kv_memory_disk_new();
	source = harness_store_new(source_disk);
	source_index = 0;
	source_manifest_from = 0;
	connections = 0;
	asked_last = 0;
	faulty = false;
	before_answer = NULL;
	damaged_position = 0;
	memset(peer_badness, 0, sizeof peer_badness);
	random_state = 1;
	return 0;
}

static inline int setup(void **state)
{
	harness_init(&harness);
	know_peers();
	return setup_source(state);
}

static inline int teardown_source(void **state)
{
	(void)state;
	store_close(source);
	kv_memory_disk_free(source_disk);
	return 0;
}

static inline int teardown(void **state)
{
	harness_close(&harness);
	assert_null(clients);
	return teardown_source(state);
}

static inline void source_append(uint32_t commands)
{
	static const char *const streams[] = {"a", "b", "$c", "d-1"};

	for (uint32_t i = 0; i < commands; i++)
		store_append(source, ++source_index, streams[below(COUNT_OF(streams))],
			     1 + (uint32_t)below(100), below(200));
	for (int i = 0; i < PEERS; i++)
		peer_head[i] = store_head(source);
}

static inline struct manifest source_manifest(void)
{
	struct manifest manifest;
	struct error error;

	assert_int_equal(store_flush(source, &error), 0);
	store_get_manifest(source, &manifest);
	return manifest;
}

static inline void step(void)
{
	peers_step();
	uv_run(&harness.loop, UV_RUN_NOWAIT);
}

static inline void pull(const struct manifest *manifest)
{
	harness.resumed = false;
	catch_up_pull(harness.node.catch_up, manifest);
	while (!harness.resumed)
		step();
}

/* A node that was told a newer manifest may have asked beyond it; `assert_equals` says that it did not. */
static inline void assert_came_to(const struct manifest *manifest)
{
	struct manifest mine;

	store_get_manifest(harness.node.store, &mine);
	assert_int_equal(mine.position, manifest->position);
	assert_int_equal(mine.hash, manifest->hash);
	assert_int_equal(mine.created, manifest->created);
	assert_int_equal(mine.applied_index, manifest->applied_index);
}

static inline void assert_equals(const struct manifest *manifest)
{
	assert_came_to(manifest);
	assert_true(asked_last <= manifest->position);
}

#endif
