/*
 * The public doors, the table of states, and what each turn of the loop does. The other parts are named
 * in replica_inside.h.
 */
#include "raft/replica_inside.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define TURN_ROUNDS 8 /* of one turn; what is left comes in the next */

/* ---- states ---- */

static const char *state_name(enum replica_state state)
{
	static const char *const names[] = {"forming", "running", "pulling", "stopped"};

	ASSERT((size_t)state < sizeof names / sizeof names[0]);
	return names[state];
}

void replica_move(struct replica *replica, enum replica_state to)
{
	static const bool allowed[][4] = {
		[REPLICA_FORMING] = {[REPLICA_RUNNING] = true, [REPLICA_STOPPED] = true},
		[REPLICA_RUNNING] = {[REPLICA_PULLING] = true, [REPLICA_STOPPED] = true},
		[REPLICA_PULLING] = {[REPLICA_RUNNING] = true, [REPLICA_STOPPED] = true},
		[REPLICA_STOPPED] = {false},
	};

	ASSERT(allowed[replica->state][to]);
	log_info("replica", "state", "from=%s to=%s", state_name(replica->state), state_name(to));
	replica->state = to;
	replica_wake(replica);
}

const char *member_role_name(enum member_role role)
{
	static const char *const names[] = {"voter", "standby", "spare"};

	ASSERT((size_t)role < sizeof names / sizeof names[0]);
	return names[role];
}

const char *replica_role_name(enum replica_role role)
{
	static const char *const names[] = {"follower", "candidate", "leader", "learner"};

	ASSERT((size_t)role < sizeof names / sizeof names[0]);
	return names[role];
}

void replica_wake(struct replica *replica)
{
	replica->dirty = true;
	if (!replica->in_turn)
		uv_async_send(&replica->wake);
}

void replica_fail(struct replica *replica, const struct error *error)
{
	if (replica->failed || replica->abandoned)
		return;
	replica->failed = true;
	if (replica->instance != NULL)
		replica->instance->io.muted = true;
	if (replica->starting)
		replica->start_error = *error;
	else
		replica->options.fail(replica->options.arg, error);
}

/* ---- what each turn of the loop does ---- */

bool replica_is_ready(const struct replica *replica)
{
	const struct instance *instance = replica->instance;

	return instance_is_leader(instance) && !replica->pull_wanted && !replica->failed &&
	       replica->leading_term == instance->raft.current_term &&
	       replica->applied_term == replica->leading_term &&
	       replica->proposed_term == replica->leading_term;
}

bool replica_may_propose(const struct replica *replica)
{
	return replica_is_ready(replica) && !members_hold(&replica->members) &&
	       replica->instance->raft.transfer == NULL;
}

static void take_one(struct replica *replica, struct apply_item *item)
{
	if (item->status < 0)
		replica_fail(replica, &item->error);
	else if (item->is_term && item->term > replica->applied_term)
		replica->applied_term = item->term;
	if (item->batch != NULL)
		propose_applied(item->batch,
				item->status < 0 ? PROPOSAL_UNKNOWN : PROPOSAL_DECIDED);
	if (item->passed != NULL)
		item->passed(item->arg, item->status < 0 ? REPLICA_NOT_LEADER : item->head);
}

/* What the apply thread has done; neighbouring positions are told in one go. */
void replica_take_applied(struct replica *replica)
{
	uint64_t first = 0, last = 0;
	struct apply_item *next;

	if (replica->abandoned)
		return;
	for (struct apply_item *item = apply_take(replica->apply); item != NULL; item = next) {
		next = (struct apply_item *)item->mail.next;
		replica->dirty = true;
		take_one(replica, item);
		if (item->result.first_position != 0) {
			ASSERT(first == 0 || item->result.first_position == last + 1);
			first = first == 0 ? item->result.first_position : first;
			last = item->result.last_position;
		}
		memory_free(item);
	}
	if (first != 0)
		replica->options.applied(replica->options.arg, first, last);
}

static void gather_facts(const struct replica *replica, struct replica_facts *facts)
{
	const struct instance *instance = replica->instance;

	memset(facts, 0, sizeof *facts); /* they are compared as bytes */
	facts->state = replica->state;
	facts->removed = replica->removed;
	facts->ready = replica_is_ready(replica);
	if (instance == NULL)
		return;
	facts->raft_state = instance->raft.state;
	facts->term = instance->raft.current_term;
	facts->configuration_index = instance->raft.configuration_index;
	facts->uncommitted_index = instance->raft.configuration_uncommitted_index;
	facts->members = instance->raft.configuration.n;
	/* Who was removed may be told so only from then on. */
	facts->agreed = facts->configuration_index <= instance->raft.commit_index;
	if (instance->raft.state == RAFT_FOLLOWER)
		facts->leader_id = instance->raft.follower_state.current_leader.id;
}

static void tell_changed(struct replica *replica)
{
	struct replica_status status;
	struct replica_facts facts;

	if (replica->abandoned)
		return;
	gather_facts(replica, &facts);
	if (memcmp(&facts, &replica->told, sizeof facts) == 0)
		return;
	replica->told = facts;
	replica_get_status(replica, &status);
	replica->last = status;
	replica_review_peers(replica);
	replica->options.changed(replica->options.arg);
}

static void turn_round(struct replica *replica)
{
	replica_take_applied(replica);
	replica_form_turn(replica);
	replica_pull_turn(replica);
	replica_lead_turn(replica);
	members_turn(&replica->members, replica->instance, replica->propose.unsettled == 0);
	propose_tell(&replica->propose);
	tell_changed(replica);
	replica_barrier_turn(replica);
	if (replica_may_propose(replica))
		propose_flush(&replica->propose);
	replica_keep_connected(replica);
	replica_reach_turn(replica);
	if (replica->instance != NULL)
		instance_steer(replica->instance);
	replica_stop_turn(replica);
}

static void replica_turn(struct replica *replica)
{
	if (replica->in_turn || replica->stop >= STOP_CLOSING)
		return;
	replica->in_turn = true;
	for (int round = 0; round < TURN_ROUNDS; round++) {
		replica->dirty = false;
		turn_round(replica);
		if (!replica->dirty || replica->stop >= STOP_CLOSING)
			break;
	}
	replica->in_turn = false;
	if (replica->stop >= STOP_CLOSING)
		return;
	if (replica->instance != NULL && replica->stop < STOP_CLOSING_RAFT)
		guard_tell_commit(replica->instance->guard);
	if (replica->dirty)
		uv_async_send(&replica->wake);
	replica_step(replica, replica->stop != STOP_NOT || replica->members.kind != MEMBERS_NONE ||
				      replica->state == REPLICA_FORMING ||
				      replica->state == REPLICA_PULLING);
}

static void on_prepare(uv_prepare_t *prepare)
{
	replica_turn(prepare->data);
}

static void on_check(uv_check_t *check)
{
	replica_turn(check->data);
}

/* Its only use is that the loop turns. */
static void on_wake(uv_async_t *wake)
{
	(void)wake;
}

static void on_step(uv_timer_t *timer)
{
	(void)timer;
}

void replica_step(struct replica *replica, bool needed)
{
	if (needed == (uv_is_active((uv_handle_t *)&replica->step) != 0))
		return;
	if (needed)
		uv_timer_start(&replica->step, on_step, REPLICA_STEP_MS, REPLICA_STEP_MS);
	else
		uv_timer_stop(&replica->step);
}

/* Apply thread. */
static void on_apply_done(void *arg)
{
	struct replica *replica = arg;

	uv_async_send(&replica->wake);
}

void replica_open_handles(struct replica *replica)
{
	struct propose_options propose = {
		.arg = replica, .submit = replica_submit, .pack = replica->options.pack_log};
	struct uv_loop_s *loop = replica->options.loop;

	uv_async_init(loop, &replica->wake, on_wake);
	uv_prepare_init(loop, &replica->prepare);
	uv_check_init(loop, &replica->check);
	uv_timer_init(loop, &replica->step);
	uv_timer_init(loop, &replica->campaign);
	replica->campaign.data = replica;
	replica->prepare.data = replica;
	replica->check.data = replica;
	uv_prepare_start(&replica->prepare, on_prepare);
	uv_check_start(&replica->check, on_check);
	replica->apply =
		apply_new(replica->options.store, replica->options.flusher, on_apply_done, replica);
	propose_init(&replica->propose, &propose);
	barrier_init(&replica->barrier);
	witness_init(&replica->witness);
	disk_watch_start(&replica->disk, loop, replica->data_dir, replica->options.disk_free_bytes);
}

/* ---- status ---- */

static enum replica_role role_of(const struct replica *replica)
{
	const struct raft *raft = &replica->instance->raft;

	for (unsigned i = 0; i < raft->configuration.n; i++)
		if (raft->configuration.servers[i].id == raft->id &&
		    raft->configuration.servers[i].role == RAFT_VOTER && !replica->removed)
			return raft->state == RAFT_LEADER      ? REPLICA_LEADER
			       : raft->state == RAFT_CANDIDATE ? REPLICA_CANDIDATE
							       : REPLICA_FOLLOWER;
	return raft->state == RAFT_LEADER ? REPLICA_LEADER : REPLICA_LEARNER;
}

static void fill_member(struct replica *replica, const struct raft_server *server,
			struct member *member)
{
	const struct raft_progress *progress = instance_progress(replica->instance, server->id);
	struct endpoint endpoint = {0};
	struct error error;

	member->id = server->id;
	member->role = server->role == RAFT_VOTER     ? MEMBER_VOTER
		       : server->role == RAFT_STANDBY ? MEMBER_STANDBY
						      : MEMBER_SPARE;
	if (endpoint_parse(server->address, &endpoint, &error) == 0) {
		memcpy(member->peer_address, endpoint.peer, sizeof member->peer_address);
		memcpy(member->client_address, endpoint.client, sizeof member->client_address);
	}
	member->last_contact_ms = transport_last_contact_ms(replica->transport, server->id);
	member->told = transport_news_of(replica->transport, server->id, &member->head);
	if (progress == NULL)
		return;
	member->known = true;
	member->match_index = progress->match_index;
	if (server->id == replica->options.node_id)
		member->last_contact_ms = 0;
}

static void fill_members(struct replica *replica, struct replica_status *status)
{
	const struct raft_configuration *configuration = &replica->instance->raft.configuration;

	for (unsigned i = 0; i < configuration->n && status->member_count < LIMIT_MEMBERS; i++)
		if (!replica->removed || configuration->servers[i].id != replica->options.node_id)
			fill_member(replica, &configuration->servers[i],
				    &status->members[status->member_count++]);
}

static void fill_leader(struct replica *replica, struct replica_status *status)
{
	raft_id leader = 0;
	const char *address;

	raft_leader(&replica->instance->raft, &leader, &address);
	status->leader_id = leader;
	for (uint32_t i = 0; i < status->member_count; i++)
		if (status->members[i].id == leader)
			memcpy(status->leader_address, status->members[i].client_address,
			       sizeof status->leader_address);
}

/* Without raft: the members known last, or those that the cluster is to have. */
static void fill_without_raft(struct replica *replica, struct replica_status *status)
{
	const struct roster *roster = &replica->form.roster;

	status->role = REPLICA_LEARNER;
	status->term = replica->last.term;
	status->member_count = replica->last.member_count;
	memcpy(status->members, replica->last.members, sizeof status->members);
	if (replica->state != REPLICA_FORMING || form_is_joining(&replica->form))
		return;
	status->member_count = roster->count;
	for (uint32_t i = 0; i < roster->count; i++) {
		struct member *member = &status->members[i];

		*member = (struct member){.id = roster->members[i].id, .last_contact_ms = -1};
		memcpy(member->peer_address, roster->members[i].endpoint.peer,
		       sizeof member->peer_address);
		memcpy(member->client_address, roster->members[i].endpoint.client,
		       sizeof member->client_address);
	}
}

static void fill_from_raft(struct replica *replica, struct replica_status *status)
{
	struct raft *raft = &replica->instance->raft;

	status->role = role_of(replica);
	status->ready = replica_is_ready(replica);
	status->term = raft->current_term;
	status->commit_index = raft->commit_index;
	status->last_index = raft_last_index(raft);
	status->snapshot_index = instance_snapshot_index(replica->instance);
	status->log_bytes = guard_log_bytes(replica->instance->guard);
	status->wants_cut = replica->state == REPLICA_RUNNING && !replica->pull_wanted &&
			    instance_wants_cut(replica->instance);
	fill_members(replica, status);
	fill_leader(replica, status);
}

void replica_get_status(struct replica *replica, struct replica_status *status)
{
	struct store_status store;

	memset(status, 0, sizeof *status);
	status->state = replica->state;
	status->removed = replica->removed;
	if (replica->instance != NULL)
		fill_from_raft(replica, status);
	else
		fill_without_raft(replica, status);
	store_get_status(replica->options.store, &store);
	status->applied_index = store.applied_index;
	status->queued_bytes = replica->propose.queue_bytes;
	status->entries_in_flight = replica->propose.unsettled;
}

bool replica_is_leader(const struct replica *replica)
{
	return instance_is_leader(replica->instance) && !replica->pull_wanted &&
	       replica->state == REPLICA_RUNNING;
}

uint64_t replica_term(const struct replica *replica)
{
	return replica->instance != NULL ? replica->instance->raft.current_term : 0;
}

/* ---- the other doors ---- */

enum propose_refusal replica_propose(struct replica *replica, struct proposal *proposal)
{
	uint64_t waiting = replica->propose.queue_bytes + proposal->item.size;

	if (replica->stop != STOP_NOT || replica->failed)
		return PROPOSE_STOPPING;
	if (!replica_is_leader(replica))
		return PROPOSE_NOT_LEADER;
	if (waiting + apply_backlog_bytes(replica->apply) > LIMIT_PROPOSE_QUEUE_BYTES)
		return PROPOSE_OVERLOADED_QUEUE;
	if (replica->disk.low)
		return PROPOSE_OVERLOADED_DISK;
	if (store_is_full(replica->options.store))
		return PROPOSE_OVERLOADED_STORE;
	propose_add(&replica->propose, proposal);
	return PROPOSE_ACCEPTED;
}

void replica_resume(struct replica *replica)
{
	if (replica->state != REPLICA_PULLING)
		return;
	replica->resume_wanted = true;
	replica_wake(replica);
}

void replica_read_barrier(struct replica *replica, void (*ready)(void *arg, uint64_t position),
			  void *arg)
{
	barrier_add(&replica->barrier, ready, arg);
	replica_wake(replica);
}

/* ---- membership ---- */

struct refused_change {
	uv_timer_t timer;
	member_done done;
	void *arg;
	struct error error;
	int status;
};

static void refused_closed(uv_handle_t *handle)
{
	memory_free(handle->data);
}

static void on_refused(uv_timer_t *timer)
{
	struct refused_change *refused = timer->data;

	refused->done(refused->arg, refused->status, &refused->error);
	uv_close((uv_handle_t *)timer, refused_closed);
}

/* One change at a time; a second one is refused, in the next turn of the loop. */
static bool change_is_refused(struct replica *replica, member_done done, void *arg)
{
	struct refused_change *refused;

	if (replica->members.kind == MEMBERS_NONE && replica->stop == STOP_NOT)
		return false;
	refused = memory_zeroed(1, sizeof *refused);
	refused->done = done;
	refused->arg = arg;
	refused->status =
		error_set(&refused->error, -EBUSY, "another change of membership is under way");
	uv_timer_init(replica->options.loop, &refused->timer);
	refused->timer.data = refused;
	uv_timer_start(&refused->timer, on_refused, 0, 0);
	return true;
}

static struct instance *instance_for_change(struct replica *replica)
{
	replica_wake(replica);
	return replica_is_ready(replica) ? replica->instance : NULL;
}

void replica_member_add(struct replica *replica, uint64_t id, const char *peer_address,
			const char *client_address, enum member_role role, member_done done,
			void *arg)
{
	struct error error;

	if (change_is_refused(replica, done, arg))
		return;
	members_add(&replica->members, instance_for_change(replica), id, peer_address,
		    client_address, role, done, arg);
	if (members_reaching(&replica->members) == NULL || !form_knew(&replica->form, id))
		return;
	/* Its log and its vote are gone, or may come back at any time. */
	error_set(&error, -EEXIST,
		  "node %" PRIu64
		  " was a member before, and an id is used once: empty its directory "
		  "and give it a new id",
		  id);
	members_refuse(&replica->members, -EEXIST, &error);
}

void replica_member_assign(struct replica *replica, uint64_t id, enum member_role role,
			   member_done done, void *arg)
{
	if (!change_is_refused(replica, done, arg))
		members_assign(&replica->members, instance_for_change(replica), id, role, done,
			       arg);
}

void replica_member_remove(struct replica *replica, uint64_t id, member_done done, void *arg)
{
	if (!change_is_refused(replica, done, arg))
		members_remove(&replica->members, instance_for_change(replica), id, done, arg);
}

void replica_transfer(struct replica *replica, uint64_t id, member_done done, void *arg)
{
	if (!change_is_refused(replica, done, arg))
		members_transfer(&replica->members, instance_for_change(replica), id, done, arg);
}
