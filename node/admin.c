#include "node/admin.h"

#include "base/address.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/text.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/read.h"
#include "node/route.h"
#include "node/wait.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* ---- writing ---- */

static void write_text(struct buffer *into, const char *name, const char *value)
{
	msgpack_write_string(into, name);
	msgpack_write_string(into, value);
}

static void write_number(struct buffer *into, const char *name, uint64_t value)
{
	msgpack_write_string(into, name);
	msgpack_write_u64(into, value);
}

static void write_number_or_nil(struct buffer *into, const char *name, bool known, uint64_t value)
{
	msgpack_write_string(into, name);
	if (known)
		msgpack_write_u64(into, value);
	else
		msgpack_write_nil(into);
}

static void write_text_or_nil(struct buffer *into, const char *name, bool known, const char *value)
{
	msgpack_write_string(into, name);
	if (known)
		msgpack_write_string(into, value);
	else
		msgpack_write_nil(into);
}

static void answer(struct request *request, struct buffer *result)
{
	request_answer_result(request, buffer_span(result));
	buffer_close(result);
	request_release(request);
}

/* ---- hello, ping ---- */

void method_hello(struct request *request)
{
	struct node *node = request->node;
	const struct replica_status *status = node_replica_status(node);
	struct buffer result;

	buffer_init(&result);
	msgpack_write_map(&result, 10);
	write_text(&result, "server", "annal");
	write_text(&result, "version", ANNAL_VERSION);
	write_number(&result, "protocol", 1);
	write_text(&result, "cluster", node->settings.cluster_name);
	write_number(&result, "node_id", node->settings.node_id);
	write_text(&result, "role", replica_role_name(status->role));
	write_number_or_nil(&result, "leader_id", status->leader_id != 0, status->leader_id);
	write_text_or_nil(&result, "leader",
			  status->leader_id != 0 && status->leader_address[0] != '\0',
			  status->leader_address);
	write_number(&result, "head", store_head(node->store));
	msgpack_write_string(&result, "limits");
	msgpack_write_map(&result, 4);
	write_number(&result, "max_event", node->settings.max_event);
	write_number(&result, "max_append", node->settings.max_append);
	write_number(&result, "max_message", node->settings.max_message);
	write_number(&result, "max_depth", LIMIT_DEPTH);
	answer(request, &result);
}

void method_ping(struct request *request)
{
	struct node *node = request->node;
	struct buffer result;

	buffer_init(&result);
	msgpack_write_map(&result, 3);
	msgpack_write_string(&result, "time");
	msgpack_write_i64(&result, clock_realtime_ns());
	write_number(&result, "head", store_head(node->store));
	write_text(&result, "role", replica_role_name(node_replica_status(node)->role));
	answer(request, &result);
}

/* ---- cluster_status ---- */

static const char *own_state(const struct replica_status *status)
{
	switch (status->state) {
	case REPLICA_FORMING:
		return "forming";
	case REPLICA_PULLING:
		return "catching_up";
	default:
		return replica_role_name(status->role);
	}
}

static const char *member_state(const struct node *node, const struct replica_status *status,
				const struct member *member)
{
	int64_t silent_ms = UNREACHABLE_ELECTIONS * (int64_t)node->settings.election_timeout_ms;

	if (member->id == node->settings.node_id)
		return own_state(status);
	if (member->id == status->leader_id)
		return "leader";
	if (!member->known)
		return "unknown";
	if (member->last_contact_ms < 0 || member->last_contact_ms > silent_ms)
		return "unreachable";
	return member->role == MEMBER_VOTER ? "follower" : "learner";
}

/* Of those that this node has heard of: how far the records go. */
static uint64_t furthest_head(const struct replica_status *status, uint64_t own)
{
	uint64_t furthest = own;

	for (uint32_t i = 0; i < status->member_count; i++)
		if (status->members[i].told && status->members[i].head > furthest)
			furthest = status->members[i].head;
	return furthest;
}

static void write_member(struct buffer *into, const struct node *node,
			 const struct replica_status *status, const struct member *member)
{
	bool self = member->id == node->settings.node_id;
	bool known = member->known || (self && status->role == REPLICA_LEADER);
	uint64_t match = self ? status->last_index : member->match_index;
	uint64_t own = store_head(node->store), head = self ? own : member->head;
	bool told = self || member->told;
	uint64_t furthest = furthest_head(status, own);

	msgpack_write_map(into, 9);
	write_number(into, "id", member->id);
	write_text(into, "address", member->peer_address);
	write_text(into, "client_address", member->client_address);
	write_text(into, "role", member_role_name(member->role));
	write_text(into, "state", member_state(node, status, member));
	write_number_or_nil(into, "match", known, match);
	write_number_or_nil(into, "head", told, head);
	write_number_or_nil(into, "lag", told, furthest > head ? furthest - head : 0);
	write_number_or_nil(into, "last_contact_ms",
			    self || (known && member->last_contact_ms >= 0),
			    self ? 0 : (uint64_t)member->last_contact_ms);
}

void method_cluster_status(struct request *request)
{
	struct node *node = request->node;
	const struct replica_status *status = node_replica_status(node);
	struct buffer result;

	buffer_init(&result);
	msgpack_write_map(&result, 7);
	write_text(&result, "cluster", node->settings.cluster_name);
	write_number(&result, "term", status->term);
	write_number_or_nil(&result, "leader_id", status->leader_id != 0, status->leader_id);
	msgpack_write_string(&result, "nodes");
	msgpack_write_array(&result, status->member_count);
	for (uint32_t i = 0; i < status->member_count; i++)
		write_member(&result, node, status, &status->members[i]);
	write_number(&result, "head", store_head(node->store));
	write_number(&result, "commit_index", status->commit_index);
	write_number(&result, "applied_index", status->applied_index);
	answer(request, &result);
}

/* ---- changes of the cluster: on the leader ---- */

static void answer_not_found(struct request *request, const char *what, const char *message)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 1, ANSWER_NOT_FOUND, message);
	write_text(&error, "what", what);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_empty(struct request *request)
{
	static const uint8_t empty_map[] = {0x80};

	request_answer_result(request, span_of(empty_map, sizeof empty_map));
}

/* Nothing was changed, and another node leads, or this one not quite yet: ask whoever does. */
static void ask_again(struct request *request, int status, void (*here)(struct request *request))
{
	request->maybe_proposed = false;
	if (request->answered) {
		request_release(request);
	} else if (status == -EPERM && !request->forward) {
		route_answer_no_leader(request);
		request_release(request);
	} else {
		route_again(request, here);
	}
}

static void change_done(struct request *request, int status, const struct error *error,
			void (*here)(struct request *request))
{
	switch (status) {
	case 0:
		answer_empty(request);
		break;
	case -EPERM:
	case -EAGAIN:
		ask_again(request, status, here);
		return;
	case -ENOENT:
		answer_not_found(request, "node", error->message);
		break;
	case -EHOSTUNREACH:
		request_answer_invalid(request, "peer_address", "%s", error->message);
		break;
	case -EINVAL:
	case -EEXIST:
		request_answer_invalid(request, "id", "%s", error->message);
		break;
	case -EBUSY:
		request_answer_retry(request, ANSWER_OVERLOADED, "membership", error->message);
		break;
	case -EINPROGRESS: /* it may still happen */
	default:
		request_answer_unknown(request);
	}
	request_release(request);
}

static bool need_id(struct request *request, uint64_t *id)
{
	*id = 0;
	if (!request_arg_u64(request, "id", 1, INT64_MAX, id))
		return false;
	if (*id == 0)
		request_answer_invalid(request, "id", "id is missing: the number of a node");
	return *id != 0;
}

static bool read_role(struct request *request, bool required, enum member_role *role)
{
	struct span name = {0};

	if (!request_arg_str(request, "role", &name))
		return false;
	if (name.data == NULL && !required)
		return true;
	if (name.data == NULL) {
		request_answer_invalid(request, "role", "role is missing: voter, standby or spare");
		return false;
	}
	for (int each = MEMBER_VOTER; each <= MEMBER_SPARE; each++)
		if (span_equal_string(name, member_role_name((enum member_role)each))) {
			*role = (enum member_role)each;
			return true;
		}
	request_answer_invalid(request, "role", "role must be voter, standby or spare");
	return false;
}

static bool need_address(struct request *request, const char *name, char text[ADDRESS_TEXT_BYTES])
{
	struct span given = {0};
	struct address address;
	struct error error;

	if (!request_arg_str(request, name, &given))
		return false;
	if (given.data == NULL) {
		request_answer_invalid(request, name, "%s is missing: HOST:PORT", name);
		return false;
	}
	if (given.size == 0 || given.size >= ADDRESS_TEXT_BYTES ||
	    memchr(given.data, '\0', given.size) != NULL) {
		request_answer_invalid(request, name, "%s must be HOST:PORT", name);
		return false;
	}
	memcpy(text, given.data, given.size);
	text[given.size] = '\0';
	if (address_parse(text, &address, &error) != 0 || address.port == 0) {
		request_answer_invalid(request, name, "%s must be HOST:PORT, not \"%s\"", name,
				       text);
		return false;
	}
	return true;
}

static void add_here(struct request *request);

static void on_added(void *arg, int status, const struct error *error)
{
	change_done(arg, status, error, add_here);
}

static void add_here(struct request *request)
{
	char peer[ADDRESS_TEXT_BYTES], client[ADDRESS_TEXT_BYTES];
	enum member_role role = MEMBER_VOTER;
	uint64_t id;

	if (!need_id(request, &id) || !need_address(request, "peer_address", peer) ||
	    !need_address(request, "client_address", client) || !read_role(request, false, &role)) {
		request_release(request);
		return;
	}
	request->maybe_proposed = true;
	replica_member_add(request->node->replica, id, peer, client, role, on_added, request);
}

static void assign_here(struct request *request);

static void on_assigned(void *arg, int status, const struct error *error)
{
	change_done(arg, status, error, assign_here);
}

static void assign_here(struct request *request)
{
	enum member_role role = MEMBER_VOTER;
	uint64_t id;

	if (!need_id(request, &id) || !read_role(request, true, &role)) {
		request_release(request);
		return;
	}
	request->maybe_proposed = true;
	replica_member_assign(request->node->replica, id, role, on_assigned, request);
}

static void remove_here(struct request *request);

static void on_removed(void *arg, int status, const struct error *error)
{
	change_done(arg, status, error, remove_here);
}

static void remove_here(struct request *request)
{
	uint64_t id;

	if (!need_id(request, &id)) {
		request_release(request);
		return;
	}
	request->maybe_proposed = true;
	replica_member_remove(request->node->replica, id, on_removed, request);
}

static void transfer_here(struct request *request);

static void on_transferred(void *arg, int status, const struct error *error)
{
	change_done(arg, status, error, transfer_here);
}

static void transfer_here(struct request *request)
{
	uint64_t id = 0;

	if (!request_arg_u64(request, "id", 1, INT64_MAX, &id)) {
		request_release(request);
		return;
	}
	request->maybe_proposed = true;
	replica_transfer(request->node->replica, id, on_transferred, request);
}

void method_cluster_add(struct request *request)
{
	route_to_leader(request, add_here);
}

void method_cluster_assign(struct request *request)
{
	route_to_leader(request, assign_here);
}

void method_cluster_remove(struct request *request)
{
	route_to_leader(request, remove_here);
}

void method_cluster_transfer(struct request *request)
{
	route_to_leader(request, transfer_here);
}

/* ---- digest: read by a worker ---- */

struct digest {
	struct work work;
	struct node_post post;
	struct waiter waiter;    /* in the waits until the work is submitted */
	struct request *request; /* one reference */
	uint64_t position, hash;
	int status;
	struct error error;
};

static void answer_not_ready(struct request *request, uint64_t wanted)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 2, ANSWER_NOT_READY,
			    "this node has not applied that position yet");
	write_number(&error, "head", store_head(request->node->store));
	write_number(&error, "wanted", wanted);
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_dropped(struct request *request, const char *message)
{
	struct buffer error;

	buffer_init(&error);
	request_error_begin(&error, 1, ANSWER_NOT_FOUND, message);
	write_text(&error, "what", "digest");
	request_answer_error_map(request, buffer_span(&error));
	buffer_close(&error);
}

static void answer_digest(struct request *request, const struct digest *digest)
{
	struct buffer result;
	char hash[17];

	snprintf(hash, sizeof hash, "%016" PRIx64, digest->hash);
	buffer_init(&result);
	msgpack_write_map(&result, 2);
	write_number(&result, "position", digest->position);
	write_text(&result, "hash", hash);
	request_answer_result(request, buffer_span(&result));
	buffer_close(&result);
}

static void on_digest(struct node_post *post)
{
	struct digest *digest =
		(struct digest *)(void *)((char *)post - offsetof(struct digest, post));
	struct request *request = digest->request;

	if (digest->status == 0)
		answer_digest(request, digest);
	else if (digest->status == -ENOENT && digest->position <= store_head(request->node->store))
		answer_dropped(request, digest->error.message);
	else if (digest->status == -ENOENT)
		answer_not_ready(request, digest->position);
	else
		request_answer_error(request, ANSWER_INTERNAL, "%s", digest->error.message);
	memory_free(digest);
	request_release(request);
}

static void run_digest(struct work *work)
{
	struct digest *digest = (struct digest *)work; /* its first member */
	struct node *node = digest->request->node;

	digest->status =
		store_digest(node->store, &digest->position, &digest->hash, &digest->error);
	digest->post.run = on_digest;
	node_post(node, &digest->post);
}

/* From here on it comes back by itself, whatever becomes of the request. */
static void submit_digest(struct digest *digest)
{
	digest->request->ended = NULL;
	digest->request->handler = NULL;
	workers_submit(digest->request->node->workers, &digest->work);
}

static void drop_digest(struct digest *digest)
{
	struct request *request = digest->request;

	request->ended = NULL;
	request->handler = NULL;
	memory_free(digest);
	request_release(request);
}

static void on_position_reached(struct waiter *waiter, bool reached)
{
	struct digest *digest =
		(struct digest *)(void *)((char *)waiter - offsetof(struct digest, waiter));

	if (reached)
		submit_digest(digest);
	else
		drop_digest(digest);
}

/* Its deadline has passed, or its session has gone, while it waits. */
static void on_digest_ended(struct request *request)
{
	struct digest *digest = request->handler;

	ASSERT(digest->request == request);
	waits_give_up(reader_waits(request->node->reader), &digest->waiter);
	drop_digest(digest);
}

void method_digest(struct request *request)
{
	uint64_t position = 0;

	if (!request_arg_u64(request, "position", 1, UINT64_MAX, &position)) {
		request_release(request);
		return;
	}
	struct digest *digest = memory_zeroed(1, sizeof *digest);
	const struct consistency consistency = {.kind = CONSISTENCY_AT_LEAST, .position = position};

	digest->request = request;
	digest->position = position;
	digest->work.run = run_digest;
	digest->waiter.request = request;
	digest->waiter.done = on_position_reached;
	request->handler = digest;
	request->ended = on_digest_ended;
	if (waits_add(reader_waits(request->node->reader), &digest->waiter, consistency))
		submit_digest(digest);
}
