/* What libraft, the guard and the peers ask of the replica. Everything here runs inside one of their
 * callbacks, or in a turn of the loop. */
#include "raft/replica_inside.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>

#define SNAPSHOT_WAIT_MS    60000
#define APPLY_BACKLOG_BYTES (LIMIT_PROPOSE_QUEUE_BYTES / 2)

/* ---- committed commands ---- */

static void on_command(void *arg, uint64_t index, uint64_t term, struct span body)
{
	struct replica *replica = arg;
	struct apply_item *item;

	/* Before and during a pull: it will come again from the log when raft has started anew. */
	if (replica->pull_wanted || replica->abandoned || replica->state == REPLICA_PULLING)
		return;
	ASSERT(body.size >= COMMAND_HEADER_BYTES);
	item = memory_zeroed(1, sizeof *item);
	item->index = index;
	item->term = term;
	item->is_term = body.data[0] == COMMAND_TERM;
	item->body = memory_copy(body.data, body.size);
	item->size = body.size;
	item->batch = propose_take_applying(&replica->propose, index);
	if (item->batch != NULL)
		item->sink = propose_sink(item->batch);
	if (item->is_term)
		barrier_committed(&replica->barrier, index, item);
	apply_put(replica->apply, item);
}

/* ---- snapshots ---- */

static bool on_snapshot_begin(void *arg, uint64_t index)
{
	struct replica *replica = arg;

	/*
	 * Inside raft_start there is no instance yet, and no need to drop log at once. At the index of a
	 * barrier or a configuration the store will never be: the next command comes soon.
	 */
	if (replica->pull_wanted || replica->instance == NULL || witness_runs(replica) ||
	    apply_put_index(replica->apply) != index)
		return false;
	instance_set_trailing(replica->instance, index);
	flusher_request(replica->options.flusher, index);
	return true;
}

/* A thread of libuv's pool. */
static int on_snapshot_wait(void *arg, uint64_t index, struct manifest *manifest)
{
	struct replica *replica = arg;
	int status = flusher_wait(replica->options.flusher, index, SNAPSHOT_WAIT_MS);

	if (status < 0) {
		log_warn("replica", "no snapshot: the store did not become durable in time",
			 "index=%" PRIu64, index);
		return status;
	}
	store_get_manifest(replica->options.store, manifest);
	return 0;
}

static bool store_covers(struct replica *replica, const struct manifest *manifest)
{
	struct store_status status;

	store_get_status(replica->options.store, &status);
	if (status.ingesting)
		return false;
	return manifest->applied_index <= status.applied_index ||
	       manifest->applied_index <= apply_put_index(replica->apply);
}

static void on_restore(void *arg, const struct manifest *manifest)
{
	struct replica *replica = arg;
	struct error error;

	if (memcmp(manifest->cluster_id, replica->peers.cluster_id, CLUSTER_ID_BYTES) != 0) {
		replica->start_status = -EEXIST;
		error_set(&error, -EEXIST, "the snapshot is of another cluster");
		replica_fail(replica, &error);
		return;
	}
	if (replica->state == REPLICA_PULLING) {
		witness_restored(replica, manifest);
		return;
	}
	if (store_covers(replica, manifest) && !replica->pull_wanted)
		return;
	log_info("replica", "the store lacks what the snapshot speaks of: pulling",
		 "index=%" PRIu64 " position=%" PRIu64, manifest->applied_index,
		 manifest->position);
	replica->manifest = *manifest;
	replica->pull_wanted = true;
	/* Nothing of raft may go on: not even the answer that the snapshot is there. */
	if (replica->instance != NULL)
		replica->instance->io.muted = true;
	replica_wake(replica);
}

static void on_fail(void *arg, const struct error *error)
{
	replica_fail(arg, error);
}

/* ---- leadership ---- */

static void on_became_leader(void *arg, uint64_t term)
{
	struct replica *replica = arg;

	replica->leading_term = term;
	log_info("replica", "this node leads", "term=%" PRIu64, term);
	replica_wake(replica);
}

static void on_raft_changed(void *arg)
{
	struct replica *replica = arg;

	replica_wake(replica);
}

static bool on_accepts_entries(void *arg)
{
	struct replica *replica = arg;

	if (witness_runs(replica))
		return !replica->disk.low && witness_accepts_entries(replica);
	return !replica->disk.low && apply_backlog_bytes(replica->apply) < APPLY_BACKLOG_BYTES &&
	       !store_is_full(replica->options.store);
}

static const char *on_endpoint_of(void *arg, uint64_t peer)
{
	const struct replica *replica = arg;

	if (replica->instance == NULL)
		return NULL;
	const struct raft_configuration *configuration = &replica->instance->raft.configuration;

	for (unsigned i = 0; i < configuration->n; i++)
		if (configuration->servers[i].id == peer)
			return configuration->servers[i].address;
	return NULL;
}

void replica_fill_instance_options(struct replica *replica, struct instance_options *options)
{
	options->arg = replica;
	options->downstream.apply = on_command;
	options->downstream.snapshot_begin = on_snapshot_begin;
	options->downstream.snapshot_wait = on_snapshot_wait;
	options->downstream.restore = on_restore;
	options->downstream.fail = on_fail;
	options->endpoint_of = on_endpoint_of;
	options->became_leader = on_became_leader;
	options->changed = on_raft_changed;
	options->fail = on_fail;
	options->accepts_entries = on_accepts_entries;
}

/* ---- proposing ---- */

struct apply_request {
	struct raft_apply raft; /* first */
	struct replica *replica;
	struct batch *batch; /* NULL: a term marker */
};

static void on_applied_by_raft(struct raft_apply *raft, int status, void *result)
{
	struct apply_request *request = (struct apply_request *)raft;

	(void)result;
	if (request->batch == NULL)
		memory_free(request);
	else
		propose_settled(&request->replica->propose, request->batch, status != 0);
}

/* Seal and propose; the payload is libraft's when 0 is returned. */
static int propose_payload(struct replica *replica, struct apply_request *request, uint8_t *payload,
			   size_t body_bytes)
{
	struct raft *raft = &replica->instance->raft;
	struct raft_buffer buffer = {.base = payload, .len = payload_bytes(body_bytes)};

	ASSERT(raft->state == RAFT_LEADER);
	payload_seal(payload, body_bytes, raft_last_index(raft) + 1, raft->current_term);
	return raft_apply(raft, &request->raft, &buffer, 1, on_applied_by_raft);
}

int replica_submit(void *arg, struct batch *batch, uint8_t *payload, size_t body_bytes)
{
	struct replica *replica = arg;
	struct apply_request *request = memory_zeroed(1, sizeof *request);

	request->replica = replica;
	request->batch = batch;
	batch->request = request;
	batch->index = raft_last_index(&replica->instance->raft) + 1;
	return propose_payload(replica, request, payload, body_bytes);
}

/* A term marker: its index, or 0 when libraft refused it. */
static uint64_t propose_marker(struct replica *replica)
{
	struct apply_request *request = memory_zeroed(1, sizeof *request);
	uint8_t *payload = raft_malloc(payload_bytes(COMMAND_HEADER_BYTES));
	uint64_t index = raft_last_index(&replica->instance->raft) + 1;

	ASSERT(payload != NULL);
	command_header_write(payload + PAYLOAD_HEADER_BYTES, COMMAND_TERM, 0, clock_realtime_ns());
	if (propose_payload(replica, request, payload, COMMAND_HEADER_BYTES) == 0)
		return index;
	raft_free(payload);
	memory_free(request);
	return 0;
}

/* The first command of a leader: what was committed before it is certain once it is applied. */
static void begin_term(struct replica *replica)
{
	propose_drop(&replica->propose);
	barrier_drop(&replica->barrier);
	if (propose_marker(replica) != 0)
		replica->proposed_term = replica->leading_term;
}

static void end_term(struct replica *replica)
{
	if (replica->leading_term != 0)
		log_info("replica", "this node does not lead any more", "term=%" PRIu64,
			 replica->leading_term);
	replica->leading_term = 0;
	/* A sole voter leads again in the same term: it needs a marker of this run. */
	replica->proposed_term = 0;
	replica->applied_term = 0;
	propose_drop(&replica->propose);
	barrier_drop(&replica->barrier);
}

void replica_lead_turn(struct replica *replica)
{
	struct instance *instance = replica->instance;

	if (!instance_is_leader(instance) || replica->pull_wanted)
		end_term(replica);
	else if (witness_runs(replica))
		barrier_drop(&replica->barrier); /* nobody reads here */
	if (instance_is_leader(instance) && !replica->pull_wanted &&
	    replica->leading_term == instance->raft.current_term &&
	    replica->proposed_term != replica->leading_term)
		begin_term(replica);
}

void replica_barrier_turn(struct replica *replica)
{
	uint64_t index;

	if (!barrier_wants(&replica->barrier) || !replica_may_propose(replica))
		return;
	index = propose_marker(replica);
	if (index != 0)
		barrier_proposed(&replica->barrier, index);
}

/* ---- pulling ---- */

static void on_drained(void *arg, uint64_t head)
{
	struct replica *replica = arg;

	(void)head;
	replica->drained = true;
	replica_wake(replica);
}

static void on_closed_for_pull(void *arg)
{
	struct replica *replica = arg;

	replica->raft_closed = true;
	replica_wake(replica);
}

static void pull_begin(struct replica *replica)
{
	struct apply_item *marker = memory_zeroed(1, sizeof *marker);
	struct instance *instance = replica->instance;
	struct replica_status status;

	/* The members that came with the snapshot are those to pull from. */
	replica_get_status(replica, &status);
	replica->last = status;
	replica_move(replica, REPLICA_PULLING);
	replica->raft_closed = replica->drained = false;
	replica->instance = NULL;
	replica_look_at_configuration(replica);
	instance_close(instance, on_closed_for_pull, replica);
	marker->passed = on_drained;
	marker->arg = replica;
	apply_put(replica->apply, marker);
}

static void resume(struct replica *replica)
{
	struct error error;

	replica->resume_wanted = false;
	apply_resync(replica->apply);
	if (!store_covers(replica, &replica->manifest)) {
		log_warn("replica", "the store does not cover the manifest yet: pulling again",
			 "index=%" PRIu64, replica->manifest.applied_index);
		replica->pull_wanted = true;
		return;
	}
	replica_move(replica, REPLICA_RUNNING);
	if (replica_open_instance(replica, false, &error) < 0)
		replica_fail(replica, &error);
}

void replica_pull_turn(struct replica *replica)
{
	if (replica->stop != STOP_NOT || replica->failed)
		return;
	if (replica->pull_wanted && replica->state == REPLICA_RUNNING && replica->instance != NULL)
		pull_begin(replica);
	if (replica->state != REPLICA_PULLING)
		return;
	witness_turn(replica);
	if (replica->resume_wanted && replica->instance == NULL && replica->raft_closed)
		resume(replica);
	if (replica->pull_wanted && replica->raft_closed && replica->drained) {
		replica->pull_wanted = false;
		witness_pull_begins(replica);
		replica->options.pull(replica->options.arg, &replica->manifest);
	}
}

/* ---- peers ---- */

void replica_look_at_configuration(struct replica *replica)
{
	const struct instance *instance = replica->instance;
	struct form *form = &replica->form;

	form->running =
		instance != NULL && !replica->pull_wanted && replica->stop < STOP_CLOSING_RAFT;
	form->configuration = NULL;
	form->configuration_settled = form->configuration_agreed = false;
	form->configuration_index = 0;
	if (instance == NULL)
		return;
	const struct raft *raft = &instance->raft;

	form->configuration = &raft->configuration;
	form->configuration_settled = raft->configuration_uncommitted_index == 0;
	form->configuration_index = form->configuration_settled
					    ? raft->configuration_index
					    : raft->configuration_uncommitted_index;
	/* After a start libraft takes what is in its log for settled. */
	form->configuration_agreed =
		form->configuration_settled && form->configuration_index <= raft->commit_index;
}

static void on_hello(void *arg, uint64_t peer, struct handshake *hello)
{
	struct replica *replica = arg;

	replica_look_at_configuration(replica);
	form_hello(&replica->form, peer, hello);
}

static void act_on(struct replica *replica, unsigned effects, const char *reason)
{
	struct error error;

	if (effects & FORM_DATA_LOST) {
		error_set(&error, -EEXIST, "%s", reason);
		replica_fail(replica, &error);
	}
	if (effects & FORM_RECORDED)
		replica_save_peers(replica);
	if (effects & (FORM_COMPLETE | FORM_ADOPTED)) {
		replica->form_wanted = true;
		replica_wake(replica);
	}
	if ((effects & FORM_REMOVED) && !replica->removed) {
		log_error("replica", "this node was removed from the cluster: stop it",
			  "reason=\"%s\"", reason);
		replica->removed = true;
		replica_wake(replica);
	}
	if ((effects & FORM_USE) && replica->removed) {
		replica->removed = false;
		replica_wake(replica);
	}
}

static void on_judge(void *arg, const struct handshake *hello, struct handshake *welcome)
{
	struct replica *replica = arg;

	replica_look_at_configuration(replica);
	unsigned effects = form_judge(&replica->form, hello, welcome);

	act_on(replica, effects, welcome->reason);
}

static bool on_welcomed(void *arg, uint64_t peer, const char *endpoint,
			const struct handshake *welcome, char problem[HANDSHAKE_REASON_BYTES])
{
	struct replica *replica = arg;

	replica_look_at_configuration(replica);
	if (welcome->purpose == HANDSHAKE_FORMING && members_reaching(&replica->members) != NULL) {
		form_judge_new_member(&replica->form, peer, welcome, problem);
		members_reached(&replica->members, peer, problem);
		replica_wake(replica);
		return false;
	}
	unsigned effects = form_welcomed(&replica->form, peer, welcome, problem);

	if (!form_believes(&replica->form, peer, endpoint))
		effects &= ~(unsigned)(FORM_DATA_LOST | FORM_REMOVED);
	act_on(replica, effects, problem);
	return (effects & FORM_USE) != 0;
}

static void on_receive(void *arg, struct raft_message *message)
{
	struct replica *replica = arg;

	if (replica->instance == NULL || replica->pull_wanted || replica->failed)
		wire_release(message);
	else
		io_receive(&replica->instance->io, message);
}

static void on_campaign(uv_timer_t *timer)
{
	struct replica *replica = timer->data;
	int after_ms = -1;

	if (replica->instance != NULL && !replica->instance->io.muted && replica->stop == STOP_NOT)
		after_ms = guard_campaign(replica->instance->guard);
	if (after_ms >= 0)
		uv_timer_start(timer, on_campaign, (uint64_t)after_ms, 0);
}

static void on_gone(void *arg, uint64_t peer)
{
	struct replica *replica = arg;
	int after_ms = -1;

	if (replica->instance != NULL && !replica->instance->io.muted)
		after_ms = guard_peer_gone(replica->instance->guard, peer);
	if (after_ms < 0)
		return;
	if (witness_runs(replica)) /* the others first */
		after_ms += (int)replica->options.election_timeout_ms;
	log_info("replica", "the leader is gone", "leader=%" PRIu64, peer);
	uv_timer_start(&replica->campaign, on_campaign, (uint64_t)after_ms, 0);
}

static bool on_review(void *arg, const struct handshake *hello)
{
	const struct replica *replica = arg;

	return !form_was_removed(&replica->form, hello);
}

void replica_review_peers(struct replica *replica)
{
	replica_look_at_configuration(replica);
	transport_review(replica->transport, on_review, replica);
}

/* So that an election does not have to wait for connections to be made, and operators see who lags. */
void replica_keep_connected(struct replica *replica)
{
	const struct raft_configuration *configuration;
	int64_t now = clock_monotonic_ms();

	if (replica->instance == NULL || replica->instance->io.muted ||
	    replica->stop >= STOP_CLOSING_RAFT || now - replica->kept_ms < REPLICA_KEEP_MS)
		return;
	replica->kept_ms = now;
	configuration = &replica->instance->raft.configuration;
	for (unsigned i = 0; i < configuration->n; i++) {
		const struct raft_server *server = &configuration->servers[i];

		if (server->id == replica->options.node_id)
			continue;
		transport_keep(replica->transport, server->id, server->address);
		transport_send_news(replica->transport, server->id,
				    store_head(replica->options.store));
	}
}

/* A new member is asked until it answers, or the change gives up. */
void replica_reach_turn(struct replica *replica)
{
	const struct endpoint *endpoint = members_reaching(&replica->members);
	char text[ENDPOINT_TEXT_BYTES];

	if (endpoint == NULL || clock_monotonic_ms() - replica->asked_ms < REPLICA_ASK_MS)
		return;
	replica->asked_ms = clock_monotonic_ms();
	endpoint_format(endpoint, text);
	transport_ask(replica->transport, replica->members.id, text);
}

void replica_fill_transport_options(struct replica *replica, struct transport_options *options)
{
	options->arg = replica;
	options->hello = on_hello;
	options->judge = on_judge;
	options->welcomed = on_welcomed;
	options->gone = on_gone;
	options->receive = on_receive;
}
