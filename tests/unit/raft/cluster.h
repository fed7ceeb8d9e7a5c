/*
 * Replicas in one process: one loop, real logs in a temporary directory, real TCP on the loopback, stores
 * in memory that outlive the replica as a disk does. A node is stopped in good order, or dropped: then
 * what its store had not made durable is lost, as in a crash.
 */
#ifndef TESTS_RAFT_CLUSTER_H
#define TESTS_RAFT_CLUSTER_H

#include "tests/unit/storage/feed.h"

#include "base/clock.h"
#include "base/log.h"
#include "raft/replica.h"

#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <uv.h>

#define CLUSTER_NODES       6
#define CLUSTER_PATIENCE_MS 120000 /* against a test that hangs for ever; none is about time */

struct cluster_node {
	struct cluster *cluster;
	uint64_t id;
	bool running, stopped, failed, pull_ignored;
	char directory[128];
	struct feed_place place;
	struct store *store;
	struct flusher *flusher;
	struct replica *replica;
	uint16_t port;
	char peer[64], client[64];
	uint64_t disk_free_bytes; /* the floor */
	uint64_t told_position;   /* by applied() */
	uint32_t changes, pulls;
	struct error error;
};

struct cluster {
	uv_loop_t loop;
	uv_timer_t heart; /* so that the loop never sleeps long */
	char directory[64];
	char initial_members[MEMBERS_TEXT_BYTES];
	uint64_t log_retained_bytes, log_trailing_bytes, election_timeout_ms;
	struct cluster_node nodes[CLUSTER_NODES]; /* ids 1…, index id - 1 */
};

struct cluster_append {
	struct proposal proposal;
	struct buffer item;
	bool pending, told;
	enum proposal_result result;
	enum answer_code code;
	bool duplicate;
	uint64_t position;
};

static inline void on_heart(uv_timer_t *timer)
{
	(void)timer;
}

static inline uint16_t cluster_free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int socket_ = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(socket_ >= 0);
	assert_int_equal(bind(socket_, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(getsockname(socket_, (struct sockaddr *)&address, &size), 0);
	close(socket_);
	return ntohs(address.sin_port);
}

/* ---- what a replica calls ---- */

static inline void cluster_on_changed(void *arg)
{
	struct cluster_node *node = arg;

	node->changes++;
}

static inline void cluster_on_applied(void *arg, uint64_t first, uint64_t last)
{
	struct cluster_node *node = arg;

	assert_true(node->told_position == 0 || first == node->told_position + 1);
	assert_true(last >= first);
	node->told_position = last;
}

static inline void cluster_on_fail(void *arg, const struct error *error)
{
	struct cluster_node *node = arg;

	node->failed = true;
	node->error = *error;
}

static inline void cluster_copy(struct cluster_node *node, struct store *source,
				const struct manifest *manifest)
{
	struct error error;

	while (store_head(node->store) < manifest->position) {
		uint64_t missing = manifest->position - store_head(node->store);
		struct read_range range = {.from = store_head(node->store) + 1,
					   .limit = missing < 500 ? (uint32_t)missing : 500,
					   .bytes_max = 1 * MIB};
		struct page page;

		buffer_init(&page.records);
		assert_ok(store_read_all(source, &range, true, &page, &error));
		assert_true(page.count > 0);
		assert_ok(store_ingest(node->store, buffer_span(&page.records), &error));
		buffer_close(&page.records);
	}
}

/* Pull from whoever has most. */
static inline void cluster_on_pull(void *arg, const struct manifest *manifest)
{
	struct cluster_node *node = arg;
	struct store *source = NULL;
	struct error error;

	node->pulls++;
	if (node->pull_ignored)
		return;
	for (int i = 0; i < CLUSTER_NODES; i++) {
		struct cluster_node *other = &node->cluster->nodes[i];

		if (other != node && other->running &&
		    (source == NULL || store_head(other->store) > store_head(source)))
			source = other->store;
	}
	assert_non_null(source);
	assert_ok(store_ingest_begin(node->store, &error));
	cluster_copy(node, source, manifest);
	assert_ok(store_ingest_end(node->store, manifest, &error));
	node->told_position = store_head(node->store);
	replica_resume(node->replica);
}

static inline void cluster_on_flush_failed(void *arg, const struct error *error)
{
	(void)arg;
	fprintf(stderr, "flush failed: %s\n", error->message);
	abort();
}

/* ---- nodes ---- */

static inline struct cluster_node *cluster_node(struct cluster *cluster, uint64_t id)
{
	return &cluster->nodes[id - 1];
}

static inline void cluster_open_store(struct cluster_node *node)
{
	struct flusher_options flusher = {
		.tail_bytes = 512 * KIB, .age_ms = 1000, .failed = cluster_on_flush_failed};

	node->store = feed_store(&node->place);
	flusher.store = node->store;
	node->flusher = flusher_new(&flusher);
	node->told_position = 0;
}

static inline struct replica_options cluster_options(struct cluster_node *node)
{
	struct replica_options options = {
		.loop = &node->cluster->loop,
		.store = node->store,
		.flusher = node->flusher,
		.data_dir = node->directory,
		.cluster_name = "test",
		.node_id = node->id,
		.election_timeout_ms = node->cluster->election_timeout_ms,
		.heartbeat_ms = 50,
		.log_retained_bytes = node->cluster->log_retained_bytes,
		.log_trailing_bytes = node->cluster->log_trailing_bytes,
		.segment_bytes = 8 * MIB,
		.disk_free_bytes = node->disk_free_bytes,
		.arg = node,
		.changed = cluster_on_changed,
		.applied = cluster_on_applied,
		.pull = cluster_on_pull,
		.fail = cluster_on_fail,
	};
	struct error error;

	assert_ok(address_parse(node->peer, &options.peer_listen, &error));
	strcpy(options.peer_advertise, node->peer);
	strcpy(options.client_advertise, node->client);
	strcpy(options.initial_members, node->cluster->initial_members);
	return options;
}

static inline int cluster_try_start(struct cluster_node *node, struct error *error)
{
	cluster_open_store(node);
	struct replica_options options = cluster_options(node);
	int status = replica_start(&node->replica, &options, error);

	node->running = status == 0;
	node->failed = false;
	return status;
}

static inline void cluster_start(struct cluster *cluster, uint64_t id)
{
	struct error error;

	assert_ok(cluster_try_start(cluster_node(cluster, id), &error));
}

static inline void cluster_on_stopped(void *arg)
{
	struct cluster_node *node = arg;

	node->stopped = true;
}

/* With a flush it is a stop in good order, without one a crash of the store. */
static inline void cluster_close_store(struct cluster_node *node, bool flush)
{
	struct error error;

	if (flush)
		assert_ok(store_flush(node->store, &error));
	flusher_free(node->flusher);
	store_close(node->store);
	node->store = NULL;
	node->running = false;
}

#define cluster_run_until(cluster, condition)                                                      \
	do {                                                                                       \
		int64_t begun_ = clock_monotonic_ms();                                             \
                                                                                                   \
		while (!(condition)) {                                                             \
			uv_run(&(cluster)->loop, UV_RUN_ONCE);                                     \
			if (clock_monotonic_ms() - begun_ > CLUSTER_PATIENCE_MS)                   \
				fail_msg("waited too long for: %s", #condition);                   \
		}                                                                                  \
	} while (0)

static inline void cluster_stop(struct cluster *cluster, uint64_t id, uint64_t grace_ms)
{
	struct cluster_node *node = cluster_node(cluster, id);

	node->stopped = false;
	replica_stop(node->replica, grace_ms, cluster_on_stopped, node);
	cluster_run_until(cluster, node->stopped);
	replica_free(node->replica);
	cluster_close_store(node, grace_ms > 0);
}

static inline void cluster_init(struct cluster *cluster, uint32_t initial)
{
	memset(cluster, 0, sizeof *cluster);
	signal(SIGPIPE, SIG_IGN); /* as a node does */
	log_set_level(getenv("TEST_LOG") != NULL ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
	cluster->election_timeout_ms = 500;
	cluster->log_retained_bytes = 48 * MIB;
	cluster->log_trailing_bytes = 16 * MIB;
	strcpy(cluster->directory, "/tmp/annal-raft-XXXXXX");
	assert_non_null(mkdtemp(cluster->directory));
	assert_int_equal(uv_loop_init(&cluster->loop), 0);
	uv_timer_init(&cluster->loop, &cluster->heart);
	uv_timer_start(&cluster->heart, on_heart, 10, 10);
	for (uint32_t i = 0; i < CLUSTER_NODES; i++) {
		struct cluster_node *node = &cluster->nodes[i];

		node->cluster = cluster;
		node->id = i + 1;
		node->port = cluster_free_port();
		feed_place_init(&node->place, true);
		snprintf(node->directory, sizeof node->directory, "%s/node-%u", cluster->directory,
			 i + 1);
		assert_int_equal(mkdir(node->directory, 0700), 0);
		snprintf(node->peer, sizeof node->peer, "127.0.0.1:%u", node->port);
		snprintf(node->client, sizeof node->client, "127.0.0.1:%u", 1 + i);
		if (i < initial)
			sprintf(cluster->initial_members + strlen(cluster->initial_members),
				"%s%u=%s/%s", i > 0 ? "," : "", i + 1, node->peer, node->client);
	}
}

static inline int cluster_remove_entry(const char *path, const struct stat *stat, int type,
				       struct FTW *walk)
{
	(void)stat, (void)type, (void)walk;
	return remove(path);
}

/* As if the disk was lost. */
static inline void cluster_wipe(struct cluster_node *node)
{
	assert_false(node->running);
	nftw(node->directory, cluster_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(node->directory, 0700), 0);
	feed_place_close(&node->place);
	feed_place_init(&node->place, true);
}

static inline void cluster_close(struct cluster *cluster)
{
	for (uint64_t id = 1; id <= CLUSTER_NODES; id++)
		if (cluster_node(cluster, id)->running)
			cluster_stop(cluster, id, 1);
	uv_close((uv_handle_t *)&cluster->heart, NULL);
	while (uv_run(&cluster->loop, UV_RUN_DEFAULT) != 0)
		;
	assert_int_equal(uv_loop_close(&cluster->loop), 0);
	for (uint32_t i = 0; i < CLUSTER_NODES; i++)
		feed_place_close(&cluster->nodes[i].place);
	nftw(cluster->directory, cluster_remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- looking ---- */

static inline struct replica_status cluster_status(struct cluster *cluster, uint64_t id)
{
	struct replica_status status;

	replica_get_status(cluster_node(cluster, id)->replica, &status);
	return status;
}

/* The id of a leader that is ready; 0: none. */
static inline uint64_t cluster_leader(struct cluster *cluster)
{
	for (uint64_t id = 1; id <= CLUSTER_NODES; id++)
		if (cluster_node(cluster, id)->running && cluster_status(cluster, id).ready)
			return id;
	return 0;
}

static inline bool cluster_agrees(struct cluster *cluster)
{
	struct store_status first = {0}, other;

	for (uint64_t id = 1; id <= CLUSTER_NODES; id++) {
		struct cluster_node *node = cluster_node(cluster, id);

		if (!node->running)
			continue;
		store_get_status(node->store, &other);
		if (first.applied_index == 0)
			first = other;
		if (other.applied_index != first.applied_index || other.head != first.head ||
		    other.ingesting)
			return false;
	}
	return true;
}

/* All that run come to the same position, with the same hash over every record. */
static inline void cluster_check_equal(struct cluster *cluster)
{
	uint64_t hash = 0, head = 0;

	cluster_run_until(cluster, cluster_agrees(cluster));
	for (uint64_t id = 1; id <= CLUSTER_NODES; id++) {
		struct cluster_node *node = cluster_node(cluster, id);
		struct store_status status;

		if (!node->running)
			continue;
		store_get_status(node->store, &status);
		if (head != 0) {
			assert_int_equal(status.head, head);
			assert_true(status.hash == hash);
		}
		head = status.head;
		hash = status.hash;
	}
}

/* ---- appending ---- */

static inline void cluster_on_decided(struct proposal *proposal, const struct outcome *outcome)
{
	struct cluster_append *append = (struct cluster_append *)proposal;

	append->code = outcome->code;
	append->duplicate = outcome->duplicate;
	append->position = outcome->position;
}

static inline void cluster_on_done(struct proposal *proposal, enum proposal_result result)
{
	struct cluster_append *append = (struct cluster_append *)proposal;

	assert_true(append->pending && !append->told);
	append->told = true;
	append->pending = false;
	append->result = result;
}

static inline void cluster_append_init(struct cluster_append *append, uint64_t number,
				       size_t data_bytes)
{
	static uint8_t data[256 * 1024];
	char stream[32];

	memset(append, 0, sizeof *append);
	snprintf(stream, sizeof stream, "Order-%u", (unsigned)(number % 7));
	struct feed_append fed = feed_single(stream, number);

	assert_true(data_bytes <= sizeof data);
	fed.events[0].data = span_of(data, data_bytes);
	buffer_init(&append->item);
	feed_item(&append->item, &fed);
	append->proposal.item = buffer_span(&append->item);
	append->proposal.decided = cluster_on_decided;
	append->proposal.done = cluster_on_done;
}

static inline enum propose_refusal cluster_propose(struct cluster *cluster, uint64_t id,
						   struct cluster_append *append)
{
	append->told = false;
	append->pending = true;
	enum propose_refusal refusal =
		replica_propose(cluster_node(cluster, id)->replica, &append->proposal);

	append->pending = refusal == PROPOSE_ACCEPTED;
	return refusal;
}

/* Append `count` events through whoever leads, retrying with the same ids, until all are decided. */
static inline void cluster_append_many(struct cluster *cluster, uint64_t first, uint32_t count,
				       size_t data_bytes)
{
	struct cluster_append *appends = memory_zeroed(count, sizeof *appends);
	uint32_t decided = 0;

	for (uint32_t i = 0; i < count; i++)
		cluster_append_init(&appends[i], first + i, data_bytes);
	int64_t begun = clock_monotonic_ms();

	while (decided < count) {
		uint64_t leader = cluster_leader(cluster);

		decided = 0;
		for (uint32_t i = 0; i < count; i++) {
			struct cluster_append *append = &appends[i];

			if (append->told && append->result == PROPOSAL_DECIDED)
				decided++;
			else if (!append->pending && leader != 0)
				cluster_propose(cluster, leader, append);
		}
		if (decided < count)
			uv_run(&cluster->loop, UV_RUN_ONCE);
		assert_true(clock_monotonic_ms() - begun < CLUSTER_PATIENCE_MS);
	}
	for (uint32_t i = 0; i < count; i++) {
		assert_int_equal(appends[i].code, ANSWER_OK);
		buffer_close(&appends[i].item);
	}
	memory_free(appends);
}

/* ---- changes ---- */

struct cluster_change {
	bool done;
	int status;
	struct error error;
};

static inline void cluster_on_change(void *arg, int status, const struct error *error)
{
	struct cluster_change *change = arg;

	assert_false(change->done);
	change->done = true;
	change->status = status;
	if (status < 0)
		change->error = *error;
}

#define assert_changed(cluster, change)                                                            \
	do {                                                                                       \
		cluster_run_until(cluster, (change).done);                                         \
		if ((change).status != 0)                                                          \
			fail_msg("%s", (change).error.message);                                    \
	} while (0)

#endif
