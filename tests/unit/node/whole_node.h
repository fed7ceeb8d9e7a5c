/*
 * A whole node without sockets, files and raft: real sessions, dispatch, appends, reads, a store in
 * memory and a loop; the replica is played here: it leads, and applies what it is given at the end of a
 * turn. Included by one program each, tests and fuzz targets; stands for node.c and replica.c.
 */
#ifndef TESTS_WHOLE_NODE_H
#define TESTS_WHOLE_NODE_H

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "node/append.h"
#include "node/backup.h"
#include "node/catch_up.h"
#include "node/deadline.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/own_writes.h"
#include "node/read.h"
#include "node/request.h"
#include "node/route.h"
#include "node/session.h"
#include "node/stats.h"
#include "node/write.h"
#include "storage/kv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* Who waits for a point to read at. */
struct whole_node_barrier {
	void (*ready)(void *arg, uint64_t position);
	void *arg;
};

struct whole_node {
	struct node node; /* first */
	uv_loop_t loop;
	uv_async_t async;
	struct mailbox posts;
	struct kv_memory_disk *disk;
	struct node_counters counters;
	struct replica_status status;
	struct proposal *proposals; /* in order */
	struct proposal **proposals_last;
	uint64_t index;
	enum propose_refusal refusal; /* what replica_propose answers */
	enum proposal_result result;  /* what becomes of proposals */
	uint32_t proposal_count;      /* all that were taken */
	bool has_barriers;            /* else linearizable reads end by their deadline */
	struct buffer barriers;       /* struct whole_node_barrier */
};

/* replica_* get no node: one at a time. */
static struct whole_node *whole_node_of_replica;

/* ---- node.c ---- */

void node_post(struct node *node, struct node_post *post)
{
	mailbox_put(&((struct whole_node *)node)->posts, &post->mail);
}

const struct replica_status *node_replica_status(struct node *node)
{
	return &((struct whole_node *)node)->status;
}

void node_fail(struct node *node, const struct error *error)
{
	(void)node;
	fprintf(stderr, "the node failed: %s\n", error->message);
	abort();
}

static void whole_node_run_posts(struct whole_node *whole)
{
	struct mail *mail = mailbox_take_all(&whole->posts), *next;

	for (; mail != NULL; mail = next) {
		struct node_post *post = (struct node_post *)mail;

		next = mail->next;
		post->run(post);
	}
}

static void whole_node_on_async(uv_async_t *async)
{
	whole_node_run_posts(async->data);
}

static void whole_node_wake(void *arg)
{
	uv_async_send(arg);
}

/* ---- replica.c ---- */

const char *member_role_name(enum member_role role)
{
	static const char *const names[] = {"voter", "standby", "spare"};

	return names[role];
}

const char *replica_role_name(enum replica_role role)
{
	static const char *const names[] = {"follower", "candidate", "leader", "learner"};

	return names[role];
}

bool replica_is_leader(const struct replica *replica)
{
	(void)replica;
	return whole_node_of_replica->status.role == REPLICA_LEADER;
}

uint64_t replica_term(const struct replica *replica)
{
	(void)replica;
	return whole_node_of_replica->status.term;
}

enum propose_refusal replica_propose(struct replica *replica, struct proposal *proposal)
{
	struct whole_node *whole = whole_node_of_replica;

	(void)replica;
	if (whole->refusal != PROPOSE_ACCEPTED)
		return whole->refusal;
	proposal->next = NULL;
	*whole->proposals_last = proposal;
	whole->proposals_last = &proposal->next;
	whole->proposal_count++;
	return PROPOSE_ACCEPTED;
}

void replica_read_barrier(struct replica *replica, void (*ready)(void *arg, uint64_t position),
			  void *arg)
{
	struct whole_node_barrier barrier = {ready, arg};

	(void)replica;
	if (whole_node_of_replica->has_barriers)
		buffer_append(&whole_node_of_replica->barriers, &barrier, sizeof barrier);
}

void replica_resume(struct replica *replica)
{
	(void)replica;
	abort(); /* nothing is pulled here */
}

int replica_note_pulled(struct replica *replica, uint64_t index, struct error *error)
{
	(void)replica;
	(void)index;
	(void)error;
	abort(); /* nothing is pulled here */
}

void replica_member_add(struct replica *replica, uint64_t id, const char *peer_address,
			const char *client_address, enum member_role role, member_done done,
			void *arg)
{
	struct error error = {.message = "a node of that id is a member already"};

	(void)replica;
	(void)peer_address;
	(void)client_address;
	(void)role;
	done(arg, id == 1 ? -EEXIST : 0, &error);
}

void replica_member_assign(struct replica *replica, uint64_t id, enum member_role role,
			   member_done done, void *arg)
{
	static const int fates[] = {0, -EBUSY, -EINPROGRESS, -EAGAIN};
	struct error error = {.message = "as it is"};

	(void)replica;
	(void)role;
	done(arg, id < sizeof fates / sizeof fates[0] ? fates[id] : 0, &error);
}

void replica_member_remove(struct replica *replica, uint64_t id, member_done done, void *arg)
{
	struct error error = {.message = "no such node"};

	(void)replica;
	done(arg, id == 1 ? -ENOENT : 0, &error);
}

void replica_transfer(struct replica *replica, uint64_t id, member_done done, void *arg)
{
	struct error error = {.message = "too late"};

	(void)replica;
	done(arg, id == 1 ? -ETIMEDOUT : 0, &error);
}

static void whole_node_decided(void *arg, uint32_t item, const struct outcome *outcome)
{
	struct proposal *proposal = arg;

	ASSERT(item == 0);
	proposal->decided(proposal, outcome);
}

static void whole_node_apply(struct whole_node *whole, struct proposal *proposal)
{
	struct apply_sink sink = {.decided = whole_node_decided, .arg = proposal};
	size_t size = COMMAND_HEADER_BYTES + proposal->item.size;
	uint8_t *body = memory_alloc(size);
	struct apply_result result;
	struct error error;

	command_header_write(body, COMMAND_BATCH, 1, clock_realtime_ns());
	memcpy(body + COMMAND_HEADER_BYTES, proposal->item.data, proposal->item.size);
	int status =
		store_apply(whole->node.store, ++whole->index, body, size, &sink, &result, &error);

	if (status != 0)
		fprintf(stderr, "apply: %s\n", error.message);
	ASSERT(status == 0);
	if (result.first_position != 0)
		notifier_applied(whole->node.notifier, result.first_position, result.last_position);
}

/* All is applied: whoever waits may read. What they ask for meanwhile is for the next turn. */
static void whole_node_pass_barriers(struct whole_node *whole)
{
	struct buffer barriers = whole->barriers;
	const struct whole_node_barrier *barrier = (const void *)barriers.data;
	size_t count = barriers.size / sizeof *barrier;

	buffer_init(&whole->barriers);
	for (size_t i = 0; i < count; i++)
		barrier[i].ready(barrier[i].arg, store_head(whole->node.store));
	buffer_close(&barriers);
}

/* One turn of the loop: what was proposed is applied. */
static inline void whole_node_turn(struct whole_node *whole)
{
	struct proposal *proposal = whole->proposals, *next;

	whole->proposals = NULL;
	whole->proposals_last = &whole->proposals;
	for (; proposal != NULL; proposal = next) {
		next = proposal->next;
		if (whole->result == PROPOSAL_DECIDED)
			whole_node_apply(whole, proposal);
		proposal->done(proposal, whole->result);
	}
	whole_node_pass_barriers(whole);
	uv_run(&whole->loop, UV_RUN_NOWAIT);
	deadlines_advance(whole->node.deadlines, clock_monotonic_ms());
}

/* ---- beginning and end ---- */

static inline void whole_node_init(struct whole_node *whole)
{
	struct store_options options = {.tail_bytes_max = LIMIT_TAIL_BYTES};
	struct error error;

	memset(whole, 0, sizeof *whole);
	whole_node_of_replica = whole;
	whole->proposals_last = &whole->proposals;
	whole->disk = kv_memory_disk_new();
	options.kv = kv_memory_open(whole->disk);
	int status = store_open(&whole->node.store, &options, &error);

	ASSERT(status == 0);
	uv_loop_init(&whole->loop);
	uv_async_init(&whole->loop, &whole->async, whole_node_on_async);
	whole->async.data = whole;
	mailbox_init(&whole->posts, whole_node_wake, &whole->async);
	settings_set_defaults(&node_settings_table, &whole->node.settings);
	whole->status = (struct replica_status){.state = REPLICA_RUNNING,
						.role = REPLICA_LEADER,
						.ready = true,
						.term = 1,
						.leader_id = 1,
						.leader_address = "127.0.0.1:1"};
	whole->node.loop = &whole->loop;
	whole->node.counters = &whole->counters;
	whole->node.deadlines = deadlines_new(clock_monotonic_ms());
	whole->node.workers = workers_new(1, "test");
	whole->node.appends = append_service_new(&whole->node);
	whole->node.backup = backup_service_new(&whole->node);
	whole->node.router = router_new(&whole->node);
	whole->node.own_writes = own_writes_new(&whole->node);
	whole->node.reader = reader_new(&whole->node);
	whole->node.notifier = notifier_new(&whole->node);
	whole->node.catch_up = catch_up_new(&whole->node);
}

/* Sessions are gone. */
static inline void whole_node_close(struct whole_node *whole)
{
	whole_node_turn(whole);
	backup_service_stop(whole->node.backup);
	backup_service_join(whole->node.backup);
	workers_free(whole->node.workers);
	whole_node_run_posts(whole);
	backup_service_free(whole->node.backup);
	catch_up_free(whole->node.catch_up);
	reader_free(whole->node.reader);
	notifier_free(whole->node.notifier);
	router_free(whole->node.router);
	own_writes_free(whole->node.own_writes);
	append_service_free(whole->node.appends);
	request_free_spare(&whole->node);
	write_free_spare(&whole->node);
	deadlines_free(whole->node.deadlines);
	uv_close((uv_handle_t *)&whole->async, NULL);
	uv_run(&whole->loop, UV_RUN_DEFAULT);
	int status = uv_loop_close(&whole->loop);

	ASSERT(status == 0);
	mailbox_close(&whole->posts);
	store_close(whole->node.store);
	kv_memory_disk_free(whole->disk);
}

/* ---- a client ---- */

struct fake_client {
	struct session *session;
	struct buffer out; /* what the node has sent */
	bool paused, closed;
};

static void fake_client_write(void *arg, struct buffer *out)
{
	struct fake_client *client = arg;

	ASSERT(!client->closed);
	buffer_append_span(&client->out, buffer_span(out));
	buffer_clear(out);
}

static void fake_client_pause(void *arg, bool paused)
{
	struct fake_client *client = arg;

	ASSERT(client->paused != paused);
	client->paused = paused;
}

static void fake_client_close(void *arg)
{
	struct fake_client *client = arg;

	ASSERT(!client->closed);
	client->closed = true;
}

static inline void fake_client_open(struct fake_client *client, struct whole_node *whole)
{
	const struct session_transport transport = {.arg = client,
						    .write = fake_client_write,
						    .pause = fake_client_pause,
						    .close = fake_client_close};

	*client = (struct fake_client){0};
	client->session = session_new(&whole->node, &transport, "test");
}

static inline void fake_client_close_session(struct fake_client *client)
{
	session_free(client->session);
	buffer_close(&client->out);
}

/* Turns until every request is answered, or for about ten seconds. */
static inline bool fake_client_settle(struct fake_client *client, struct whole_node *whole)
{
	for (int turns = 0; turns < 10000; turns++) {
		whole_node_turn(whole);
		session_flush(client->session);
		if (session_requests_in_flight(client->session) == 0)
			return true;
		usleep(turns < 100 ? 50 : 1000);
	}
	return false;
}

#endif
