#include "raft/members.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"

#include <errno.h>
#include <inttypes.h>

static int role_in_raft(enum member_role role)
{
	switch (role) {
	case MEMBER_VOTER:
		return RAFT_VOTER;
	case MEMBER_STANDBY:
		return RAFT_STANDBY;
	default:
		ASSERT(role == MEMBER_SPARE);
		return RAFT_SPARE;
	}
}

static const struct raft_server *server_of(const struct instance *instance, uint64_t id)
{
	const struct raft_configuration *configuration = &instance->raft.configuration;

	for (unsigned i = 0; i < configuration->n; i++)
		if (configuration->servers[i].id == id)
			return &configuration->servers[i];
	return NULL;
}

bool members_has_other_voter(const struct instance *instance)
{
	const struct raft_configuration *configuration = &instance->raft.configuration;

	for (unsigned i = 0; i < configuration->n; i++)
		if (configuration->servers[i].role == RAFT_VOTER &&
		    configuration->servers[i].id != instance->raft.id)
			return true;
	return false;
}

bool members_hold(const struct members *members)
{
	return members->kind != MEMBERS_NONE &&
	       (members->phase == PHASE_SETTLE || members->phase == PHASE_TAKING_OVER);
}

/* ---- the phases ---- */

static void over(struct members *members, int status)
{
	ASSERT(members->kind != MEMBERS_NONE);
	members->status = status;
	members->phase = PHASE_OVER;
}

static void enter(struct members *members, enum members_phase phase, uint32_t limit_ms)
{
	members->phase = phase;
	members->deadline_ms = clock_monotonic_ms() + limit_ms;
}

static void settle(struct members *members)
{
	enter(members, PHASE_SETTLE, MEMBERS_SETTLE_MS);
}

static bool begin(struct members *members, struct instance *instance, enum members_kind kind,
		  uint64_t id, member_done done, void *arg)
{
	struct members begun = {.kind = kind, .id = id, .done = done, .arg = arg};

	ASSERT(members->kind == MEMBERS_NONE);
	*members = begun;
	members->error.message[0] = '\0';
	settle(members);
	if (!instance_is_leader(instance)) {
		over(members, error_set(&members->error, -EPERM, "this node is not the leader"));
		return false;
	}
	members->term = instance->raft.current_term;
	return true;
}

/* What follows once the change of this phase is committed. */
static void after_change(struct members *members, struct instance *instance)
{
	const struct raft_server *server = server_of(instance, members->id);

	log_info("members", "membership changed", "member=%" PRIu64 " members=%u", members->id,
		 instance->raft.configuration.n);
	if (server == NULL || server->role == role_in_raft(members->role))
		over(members, 0);
	else if (members->role == MEMBER_VOTER && server->role == RAFT_STANDBY)
		enter(members, PHASE_CATCH_UP, MEMBERS_CATCH_UP_MS);
	else
		settle(members);
}

static void on_changed(struct raft_change *change, int status)
{
	struct members *members = change->data;

	if (members->kind == MEMBERS_NONE || members->phase != PHASE_IN_LOG)
		return;
	if (status == 0)
		members->status = 1; /* committed: members_turn goes on, outside of libraft */
	else
		over(members, error_set(&members->error, -EINPROGRESS,
					"leadership was lost: the change may still happen (%s)",
					raft_strerror(status)));
}

static void refused_by_raft(struct members *members, struct instance *instance, int status)
{
	ASSERT(status != RAFT_NOTLEADER);
	over(members, error_set(&members->error, -EBUSY, "%s", raft_errmsg(&instance->raft)));
}

/* The role that the next step gives: a voter has been a standby before, so that it has the data. */
static int next_role(const struct members *members, const struct raft_server *server)
{
	if (members->role == MEMBER_VOTER && server->role == RAFT_SPARE)
		return RAFT_STANDBY;
	return role_in_raft(members->role);
}

static void change_in_log(struct members *members, struct instance *instance)
{
	struct raft *raft = &instance->raft;
	const struct raft_server *server = server_of(instance, members->id);
	char text[ENDPOINT_TEXT_BYTES];
	int status;

	members->status = 0;
	members->phase = PHASE_IN_LOG;
	instance->change.data = members;
	if (members->kind == MEMBERS_REMOVE) {
		status = raft_remove(raft, &instance->change, members->id, on_changed);
	} else if (server == NULL) {
		endpoint_format(&members->endpoint, text);
		status = raft_add(raft, &instance->change, members->id, text, on_changed);
	} else {
		status = raft_assign(raft, &instance->change, members->id,
				     next_role(members, server), on_changed);
	}
	if (status != 0)
		refused_by_raft(members, instance, status);
	else
		members->proposed = true;
}

static void on_transferred(struct raft_transfer *transfer)
{
	struct members *members = transfer->data;

	if (members->kind != MEMBERS_NONE && members->phase == PHASE_TAKING_OVER)
		members->status = 1; /* judged in members_turn */
}

static void hand_over(struct members *members, struct instance *instance)
{
	members->status = 0;
	members->hand_overs++;
	enter(members, PHASE_TAKING_OVER, MEMBERS_SETTLE_MS);
	instance->transfer.data = members;
	int status =
		raft_transfer(&instance->raft, &instance->transfer, members->id, on_transferred);

	if (status != 0)
		refused_by_raft(members, instance, status);
	else if (!members->removing_self)
		members->proposed = true;
}

/* A transfer to nobody in particular goes to the voter that has most of the log. */
static uint64_t furthest_voter(const struct instance *instance)
{
	const struct raft_configuration *configuration = &instance->raft.configuration;
	uint64_t best = 0, best_match = 0;

	for (unsigned i = 0; i < configuration->n; i++) {
		const struct raft_server *server = &configuration->servers[i];
		const struct raft_progress *progress = instance_progress(instance, server->id);

		if (server->role != RAFT_VOTER || server->id == instance->raft.id ||
		    progress == NULL || (best != 0 && progress->match_index <= best_match))
			continue;
		best = server->id;
		best_match = progress->match_index;
	}
	return best;
}

/* Voters and successors must have the whole log at the moment of the change. */
static bool needs_whole_log(const struct members *members, const struct instance *instance)
{
	const struct raft_server *server = server_of(instance, members->id);

	return members->kind == MEMBERS_TRANSFER ||
	       (members->kind != MEMBERS_REMOVE && members->role == MEMBER_VOTER &&
		server != NULL && server->role == RAFT_STANDBY);
}

static bool has_whole_log(const struct members *members, struct instance *instance)
{
	const struct raft_progress *progress = instance_progress(instance, members->id);

	return progress != NULL && progress->match_index == raft_last_index(&instance->raft);
}

static void settle_turn(struct members *members, struct instance *instance, bool idle)
{
	bool whole = !needs_whole_log(members, instance) || has_whole_log(members, instance);

	if (idle && whole && guard_is_quiet(instance->guard)) {
		if (members->kind == MEMBERS_TRANSFER)
			hand_over(members, instance);
		else
			change_in_log(members, instance);
	} else if (clock_monotonic_ms() >= members->deadline_ms) {
		over(members,
		     error_set(&members->error, -ETIMEDOUT,
			       whole ? "the log did not come to rest in %d ms: try again"
				     : "the member did not get the whole log in %d ms: try again",
			       MEMBERS_SETTLE_MS));
	}
}

/* A member that is not there would cost the cluster a vote that it never gets. */
static void reach_turn(struct members *members)
{
	if (clock_monotonic_ms() >= members->deadline_ms)
		over(members, error_set(&members->error, -EHOSTUNREACH,
					"nobody answers at %s: start node %" PRIu64
					" there, then add it; nothing was changed",
					members->endpoint.peer, members->id));
}

void members_refuse(struct members *members, int status, const struct error *error)
{
	members->error = *error;
	over(members, status);
}

const struct endpoint *members_reaching(const struct members *members)
{
	return members->kind != MEMBERS_NONE && members->phase == PHASE_REACH ? &members->endpoint
									      : NULL;
}

void members_reached(struct members *members, uint64_t id, const char *problem)
{
	if (members_reaching(members) == NULL || id != members->id)
		return;
	if (problem[0] == '\0')
		settle(members);
	else
		over(members, error_set(&members->error, -EHOSTUNREACH,
					"%s cannot be added: %s; nothing was changed",
					members->endpoint.peer, problem));
}

static void catch_up_turn(struct members *members, struct instance *instance)
{
	const struct raft_progress *progress = instance_progress(instance, members->id);
	uint64_t last = raft_last_index(&instance->raft);

	if (progress == NULL)
		over(members, error_set(&members->error, -ENOENT, "the member was removed"));
	else if (progress->match_index + MEMBERS_CATCH_UP_ENTRIES >= last &&
		 progress->match_index > 0)
		settle(members);
	else if (clock_monotonic_ms() >= members->deadline_ms)
		over(members,
		     error_set(&members->error, -ETIMEDOUT,
			       "node %" PRIu64 " is a standby now and still catching up (log index "
			       "%llu of %" PRIu64 "): make it a voter when it has caught up",
			       members->id, progress->match_index, last));
}

/* A new voter may still lack connections to those whose votes it needs: they are there the next time. */
static void not_taken_over(struct members *members)
{
	members->proposed = false;
	if (members->hand_overs < MEMBERS_HAND_OVERS_MAX)
		settle(members);
	else
		over(members, error_set(&members->error, -ETIMEDOUT,
					"node %" PRIu64 " did not take over", members->id));
}

static void taking_over_turn(struct members *members, struct instance *instance)
{
	raft_id leader = 0;
	const char *address;

	raft_leader(&instance->raft, &leader, &address);
	if (leader != 0 && leader != instance->raft.id) {
		if (members->removing_self || (leader != members->id && !members->any_successor))
			over(members, error_set(&members->error, -EAGAIN,
						"node %llu leads now: ask it to do this", leader));
		else
			over(members, 0);
	} else if (members->status == 1 && instance_is_leader(instance)) {
		not_taken_over(members);
	} else if (clock_monotonic_ms() >= members->deadline_ms) {
		over(members, error_set(&members->error, -ETIMEDOUT,
					"node %" PRIu64 " did not take over in time", members->id));
	}
}

static void leader_turn(struct members *members, struct instance *instance, bool idle)
{
	switch (members->phase) {
	case PHASE_REACH:
		reach_turn(members);
		break;
	case PHASE_SETTLE:
		settle_turn(members, instance, idle);
		break;
	case PHASE_CATCH_UP:
		catch_up_turn(members, instance);
		break;
	case PHASE_IN_LOG:
		if (members->status == 1)
			after_change(members, instance);
		break;
	default:
		break;
	}
}

static void tell_if_over(struct members *members)
{
	struct members told = *members;

	if (members->phase != PHASE_OVER)
		return;
	/* Free before it is told: the next change may begin in the callback. */
	members->kind = MEMBERS_NONE;
	told.done(told.arg, told.status, &told.error);
}

/* Whether it may have happened nobody here can tell, once something was proposed. */
static void leadership_lost(struct members *members)
{
	if (members->proposed)
		over(members,
		     error_set(&members->error, -EINPROGRESS,
			       "leadership was lost: the change may still happen, or in part"));
	else
		over(members, error_set(&members->error, -EAGAIN,
					"leadership was lost before anything was changed: ask the "
					"new leader"));
}

void members_turn(struct members *members, struct instance *instance, bool idle)
{
	if (members->kind == MEMBERS_NONE)
		return;
	bool leads = instance_is_leader(instance) && instance->raft.current_term == members->term;

	if (instance != NULL && members->phase == PHASE_TAKING_OVER)
		taking_over_turn(members, instance);
	else if (leads)
		leader_turn(members, instance, idle);
	else if (members->phase != PHASE_OVER)
		leadership_lost(members);
	tell_if_over(members);
}

/* ---- the requests ---- */

void members_add(struct members *members, struct instance *instance, uint64_t id, const char *peer,
		 const char *client, enum member_role role, member_done done, void *arg)
{
	struct endpoint endpoint;
	struct error *error = &members->error;
	int status = 0;

	if (!begin(members, instance, MEMBERS_ADD, id, done, arg))
		return;
	members->role = role;
	if (id == 0)
		status = error_set(error, -EINVAL, "0 is no node id");
	else if (server_of(instance, id) != NULL)
		status = error_set(error, -EEXIST, "node %" PRIu64 " is a member already", id);
	else if (instance->raft.configuration.n >= LIMIT_MEMBERS)
		status = error_set(error, -EINVAL, "a cluster has at most %u members",
				   LIMIT_MEMBERS);
	else
		status = endpoint_set(&members->endpoint, peer, client, random_u64() | 1, error);
	for (unsigned i = 0; status == 0 && i < instance->raft.configuration.n; i++) {
		uint64_t other = instance->raft.configuration.servers[i].id;

		if (endpoint_parse(instance->raft.configuration.servers[i].address, &endpoint,
				   error) == 0 &&
		    strcmp(endpoint.peer, members->endpoint.peer) == 0)
			status = error_set(error, -EEXIST, "%s is the address of node %" PRIu64,
					   endpoint.peer, other);
	}
	if (status < 0)
		over(members, status);
	else
		enter(members, PHASE_REACH, MEMBERS_REACH_MS);
}

/* The last voter stays one. */
static bool is_last_voter(const struct instance *instance, const struct raft_server *server)
{
	unsigned voters = 0;

	for (unsigned i = 0; i < instance->raft.configuration.n; i++)
		voters += instance->raft.configuration.servers[i].role == RAFT_VOTER;
	return server->role == RAFT_VOTER && voters == 1;
}

/* The leader steps aside first, and the next one does what was asked. */
static void step_aside(struct members *members, const struct instance *instance)
{
	members->kind = MEMBERS_TRANSFER;
	members->removing_self = true;
	members->id = furthest_voter(instance);
	ASSERT(members->id != 0);
}

void members_assign(struct members *members, struct instance *instance, uint64_t id,
		    enum member_role role, member_done done, void *arg)
{
	if (!begin(members, instance, MEMBERS_ASSIGN, id, done, arg))
		return;
	const struct raft_server *server = server_of(instance, id);

	members->role = role;
	if (server == NULL)
		over(members,
		     error_set(&members->error, -ENOENT, "node %" PRIu64 " is no member", id));
	else if (server->role == role_in_raft(role))
		over(members, 0);
	else if (is_last_voter(instance, server))
		over(members,
		     error_set(&members->error, -EINVAL, "node %" PRIu64 " is the only voter", id));
	else if (id == instance->raft.id)
		step_aside(members, instance);
	else if (role == MEMBER_VOTER && server->role == RAFT_STANDBY)
		enter(members, PHASE_CATCH_UP, MEMBERS_CATCH_UP_MS);
}

void members_remove(struct members *members, struct instance *instance, uint64_t id,
		    member_done done, void *arg)
{
	if (!begin(members, instance, MEMBERS_REMOVE, id, done, arg))
		return;
	const struct raft_server *server = server_of(instance, id);

	if (server == NULL)
		over(members,
		     error_set(&members->error, -ENOENT, "node %" PRIu64 " is no member", id));
	else if (is_last_voter(instance, server))
		over(members,
		     error_set(&members->error, -EINVAL, "node %" PRIu64 " is the only voter", id));
	else if (id == instance->raft.id)
		step_aside(members, instance);
}

void members_transfer(struct members *members, struct instance *instance, uint64_t id,
		      member_done done, void *arg)
{
	if (!begin(members, instance, MEMBERS_TRANSFER, id, done, arg))
		return;
	const struct raft_server *server;

	if (id == 0) {
		members->id = furthest_voter(instance);
		members->any_successor = true;
	}
	server = server_of(instance, members->id);
	if (members->id == 0)
		over(members, error_set(&members->error, -EINVAL, "there is no other voter"));
	else if (server == NULL)
		over(members,
		     error_set(&members->error, -ENOENT, "node %" PRIu64 " is no member", id));
	else if (server->role != RAFT_VOTER)
		over(members,
		     error_set(&members->error, -EINVAL, "node %" PRIu64 " is no voter", id));
	else if (id == instance->raft.id)
		over(members, 0);
}
