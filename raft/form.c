#include "raft/form.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

#include <inttypes.h>
#include <stdio.h>

static const uint8_t no_cluster[CLUSTER_ID_BYTES];

static bool knows_cluster(const uint8_t cluster_id[CLUSTER_ID_BYTES])
{
	return memcmp(cluster_id, no_cluster, CLUSTER_ID_BYTES) != 0;
}

void form_init(struct form *form, uint64_t node_id, const char *cluster_name,
	       const struct roster *roster, struct peers *peers)
{
	*form = (struct form){.node_id = node_id, .cluster_name = cluster_name, .peers = peers};
	form->roster = *roster;
	ASSERT(peers->instance != 0 && peers->node_id == node_id);
	for (uint32_t i = 0; i < roster->count; i++) {
		form->found[i].id = roster->members[i].id;
		if (roster->members[i].id == node_id)
			form->found[i].instance = peers->instance;
	}
}

bool form_is_joining(const struct form *form)
{
	return roster_find(&form->roster, form->node_id) == NULL;
}

bool form_is_complete(const struct form *form)
{
	for (uint32_t i = 0; i < form->roster.count; i++)
		if (form->found[i].instance == 0)
			return false;
	return !form_is_joining(form);
}

static uint64_t initial_nonce(const struct form *form, uint64_t id)
{
	uint64_t nonce = checksum64_seeded(form->peers->cluster_id, CLUSTER_ID_BYTES, id);

	return nonce != 0 ? nonce : 1;
}

void form_finish(struct form *form)
{
	struct peers *peers = form->peers;
	uint64_t half[2] = {1, 2};

	ASSERT(form_is_complete(form) && peers->stage == PEERS_NEW);
	for (uint32_t i = 0; i < 2; i++) {
		half[i] =
			checksum64_seeded(form->cluster_name, strlen(form->cluster_name), half[i]);
		for (uint32_t j = 0; j < form->roster.count; j++) {
			uint8_t pair[16];

			bytes_set_le64(pair, form->found[j].id);
			bytes_set_le64(pair + 8, form->found[j].instance);
			half[i] = checksum64_seeded(pair, sizeof pair, half[i]);
		}
		bytes_set_le64(peers->cluster_id + 8 * i, half[i]);
	}
	peers->initial_count = form->roster.count;
	memcpy(peers->initial, form->found, sizeof peers->initial);
	for (uint32_t i = 0; i < form->roster.count; i++)
		peers_record(peers, form->found[i].id, initial_nonce(form, form->found[i].id),
			     form->found[i].instance);
	peers->stage = PEERS_FORMED;
}

void form_first_configuration(const struct form *form, struct raft_configuration *configuration)
{
	raft_configuration_init(configuration);
	for (uint32_t i = 0; i < form->roster.count; i++) {
		struct endpoint endpoint = form->roster.members[i].endpoint;
		char text[ENDPOINT_TEXT_BYTES];

		endpoint.nonce = initial_nonce(form, form->roster.members[i].id);
		endpoint_format(&endpoint, text);
		int status = raft_configuration_add(configuration, form->roster.members[i].id, text,
						    RAFT_VOTER);

		ASSERT(status == 0);
	}
}

bool form_find_member(const struct raft_configuration *configuration, uint64_t id,
		      struct endpoint *endpoint)
{
	struct error error;

	for (unsigned i = 0; configuration != NULL && i < configuration->n; i++)
		if (configuration->servers[i].id == id)
			return endpoint_parse(configuration->servers[i].address, endpoint,
					      &error) == 0;
	return false;
}

/* ---- what every handshake of this node says ---- */

static void introduce(const struct form *form, uint64_t peer, struct handshake *handshake)
{
	struct endpoint endpoint;

	handshake->version = HANDSHAKE_VERSION;
	handshake->from = form->node_id;
	handshake->to = peer;
	handshake->instance = form->peers->instance;
	handshake->members_hash = roster_hash(&form->roster);
	memcpy(handshake->cluster_id, form->peers->cluster_id, CLUSTER_ID_BYTES);
	snprintf(handshake->cluster_name, sizeof handshake->cluster_name, "%s", form->cluster_name);
	snprintf(handshake->endpoint, sizeof handshake->endpoint, "%s", form->endpoint);
	if (form_find_member(form->configuration, form->node_id, &endpoint)) {
		handshake->from_nonce = endpoint.nonce;
		handshake->configuration_index = form->configuration_index;
		endpoint_format(&endpoint, handshake->endpoint);
	}
	if (form_find_member(form->configuration, peer, &endpoint)) {
		handshake->to_nonce = endpoint.nonce;
		handshake->to_instance = peers_instance_of(form->peers, peer, endpoint.nonce);
	}
}

void form_hello(const struct form *form, uint64_t peer, struct handshake *hello)
{
	introduce(form, peer, hello);
}

/* ---- judging a hello ---- */

static unsigned verdict(struct handshake *welcome, enum handshake_verdict given, unsigned effect,
			const char *format, ...) __attribute__((format(printf, 4, 5)));

static unsigned verdict(struct handshake *welcome, enum handshake_verdict given, unsigned effect,
			const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(welcome->reason, sizeof welcome->reason, format, arguments);
	va_end(arguments);
	welcome->verdict = given;
	return effect;
}

static unsigned verdict_data_lost(const struct form *form, struct handshake *welcome, uint64_t id,
				  unsigned effect)
{
	return verdict(welcome, HANDSHAKE_DATA_LOST, effect,
		       "node %" PRIu64
		       " of cluster %s was here before with another data directory. "
		       "Its data is gone: remove it (annal cluster remove %" PRIu64
		       "), start it under a new id, and add that one (annal cluster add)",
		       id, form->cluster_name, id);
}

/* Whether others count on this node: what somebody claims must not make it give itself up then. */
static bool serves(const struct form *form)
{
	return form->running || form->peers->stage == PEERS_STARTED;
}

/* Somebody knows this node with another instance. The data of who asks is not lost: no DATA_LOST. */
static unsigned judge_other_instance(const struct form *form, const struct handshake *hello,
				     struct handshake *welcome)
{
	if (serves(form))
		return verdict(welcome, HANDSHAKE_MISMATCH, 0,
			       "node %" PRIu64 " knows node %" PRIu64
			       " with another data directory",
			       hello->from, form->node_id);
	verdict_data_lost(form, welcome, form->node_id, 0);
	welcome->verdict = HANDSHAKE_MISMATCH;
	return FORM_DATA_LOST;
}

/* What holds for every purpose; true: the verdict is given. */
static bool judge_basics(const struct form *form, const struct handshake *hello,
			 struct handshake *welcome)
{
	if (hello->verdict != HANDSHAKE_NONE || hello->instance == 0)
		verdict(welcome, HANDSHAKE_MISMATCH, 0, "that is no hello");
	else if (strcmp(hello->cluster_name, form->cluster_name) != 0)
		verdict(welcome, HANDSHAKE_MISMATCH, 0,
			"node %" PRIu64 " belongs to another cluster: it says '%s', this is '%s'",
			hello->from, hello->cluster_name, form->cluster_name);
	else if (hello->from == form->node_id)
		verdict(welcome, HANDSHAKE_MISMATCH, 0, "two nodes have the id %" PRIu64,
			form->node_id);
	else if (hello->to != form->node_id)
		verdict(welcome, HANDSHAKE_MISMATCH, 0,
			"node %" PRIu64 " looks for node %" PRIu64 ", but node %" PRIu64
			" is at this address",
			hello->from, hello->to, form->node_id);
	else if (knows_cluster(form->peers->cluster_id) && knows_cluster(hello->cluster_id) &&
		 memcmp(form->peers->cluster_id, hello->cluster_id, CLUSTER_ID_BYTES) != 0)
		verdict(welcome, HANDSHAKE_MISMATCH, 0,
			"node %" PRIu64 " belongs to another cluster, which has the same name '%s' "
			"as that of node %" PRIu64 ": to join one, a node starts with an empty "
			"folder and with initial-members that do not list it",
			hello->from, form->cluster_name, form->node_id);
	else
		return false;
	return true;
}

static unsigned note_found(struct form *form, uint64_t id, uint64_t instance)
{
	for (uint32_t i = 0; i < form->roster.count; i++)
		if (form->found[i].id == id && id != form->node_id)
			form->found[i].instance = instance;
	return form_is_complete(form) ? FORM_COMPLETE : FORM_NOTHING;
}

/* The cluster is formed here: the list is for those alone that are in it, with the same data. */
static unsigned judge_late_forming(const struct form *form, const struct handshake *hello,
				   struct handshake *welcome)
{
	const struct peers *peers = form->peers;
	uint64_t known = 0;

	for (uint32_t i = 0; i < peers->initial_count; i++)
		if (peers->initial[i].id == hello->from)
			known = peers->initial[i].instance;
	if (known == 0)
		return verdict(welcome, HANDSHAKE_MISMATCH, 0,
			       "cluster %s was formed by other initial members than node %" PRIu64
			       " was given",
			       form->cluster_name, hello->from);
	if (known != hello->instance)
		return verdict_data_lost(form, welcome, hello->from, 0);
	welcome->instance_count = peers->initial_count;
	memcpy(welcome->instances, peers->initial, sizeof welcome->instances);
	return verdict(welcome, HANDSHAKE_ACCEPTED, 0, "%s", "");
}

static unsigned judge_forming(struct form *form, const struct handshake *hello,
			      struct handshake *welcome)
{
	if (form->peers->stage != PEERS_NEW)
		return judge_late_forming(form, hello, welcome);
	if (form_is_joining(form))
		return verdict(welcome, HANDSHAKE_LATER, 0, "node %" PRIu64 " waits to be added",
			       form->node_id);
	if (hello->members_hash != roster_hash(&form->roster))
		return verdict(welcome, HANDSHAKE_MISMATCH, 0,
			       "nodes %" PRIu64 " and %" PRIu64
			       " were given different initial members",
			       hello->from, form->node_id);
	/* Who asks tells its instance, too. */
	return verdict(welcome, HANDSHAKE_ACCEPTED, note_found(form, hello->from, hello->instance),
		       "%s", "");
}

static unsigned judge_joining(struct form *form, const struct handshake *hello,
			      struct handshake *welcome)
{
	if (!form_is_joining(form) || !knows_cluster(hello->cluster_id) || hello->to_nonce == 0)
		return verdict(welcome, HANDSHAKE_LATER, 0, "node %" PRIu64 " is forming",
			       form->node_id);
	if (hello->to_instance != 0 && hello->to_instance != form->peers->instance)
		return judge_other_instance(form, hello, welcome);
	memcpy(form->peers->cluster_id, hello->cluster_id, CLUSTER_ID_BYTES);
	form->peers->stage = PEERS_FORMED;
	return verdict(welcome, HANDSHAKE_LATER, FORM_ADOPTED, "node %" PRIu64 " is joining",
		       form->node_id);
}

static bool is_member(const struct form *form, const struct handshake *hello)
{
	struct endpoint endpoint;

	/* A node that has just been added does not know its nonce yet. */
	return form_find_member(form->configuration, hello->from, &endpoint) &&
	       (hello->from_nonce == 0 || hello->from_nonce == endpoint.nonce);
}

bool form_was_removed(const struct form *form, const struct handshake *hello)
{
	if (!form->running || !form->configuration_settled || is_member(form, hello))
		return false;
	/* It was in a configuration before ours, which is agreed upon and lacks it. */
	if (hello->configuration_index != 0 && form->configuration_agreed &&
	    hello->configuration_index <= form->configuration_index)
		return true;
	return hello->from_nonce != 0
		       ? peers_instance_of(form->peers, hello->from, hello->from_nonce) != 0
		       : peers_has(form->peers, hello->from, hello->instance);
}

/*
 * Whether somebody whom the configuration here lacks has no business here. A new leader may be unknown to
 * a member that lags, but has that very member in its own configuration and so knows its nonce; a node
 * that is being added does not know itself as a member yet, and takes whom it gets.
 */
static bool is_out_of_place(const struct form *form, const struct handshake *hello)
{
	struct endpoint own;

	return form->configuration_settled &&
	       form_find_member(form->configuration, form->node_id, &own) &&
	       hello->to_nonce != own.nonce;
}

static unsigned judge_member(struct form *form, const struct handshake *hello,
			     struct handshake *welcome)
{
	struct endpoint endpoint = {0};
	bool member = form_find_member(form->configuration, hello->from, &endpoint);
	/* A node that has just been added does not know its nonce yet. */
	uint64_t nonce = hello->from_nonce != 0 ? hello->from_nonce : endpoint.nonce;
	uint64_t recorded = peers_instance_of(form->peers, hello->from, nonce);

	if (!knows_cluster(hello->cluster_id))
		return verdict(welcome, HANDSHAKE_LATER, 0, "the cluster id is missing");
	if (hello->to_instance != 0 && hello->to_instance != form->peers->instance)
		return judge_other_instance(form, hello, welcome);
	if (recorded != 0 && recorded != hello->instance)
		return verdict_data_lost(form, welcome, hello->from, 0);
	if (form_was_removed(form, hello))
		return verdict(welcome, HANDSHAKE_REMOVED, 0,
			       "node %" PRIu64 " was removed from cluster %s", hello->from,
			       form->cluster_name);
	if (!form->running)
		return verdict(welcome, HANDSHAKE_LATER, 0, "node %" PRIu64 " is catching up",
			       form->node_id);
	bool known = member && nonce == endpoint.nonce;

	if (!known && is_out_of_place(form, hello))
		return verdict(welcome, HANDSHAKE_LATER, 0,
			       "node %" PRIu64 " knows no such member %" PRIu64, form->node_id,
			       hello->from);
	bool added = known && peers_record(form->peers, hello->from, nonce, hello->instance);

	return verdict(welcome, HANDSHAKE_ACCEPTED, added ? FORM_RECORDED : 0, "%s", "");
}

static unsigned judge(struct form *form, const struct handshake *hello, struct handshake *welcome)
{
	if (judge_basics(form, hello, welcome))
		return FORM_NOTHING;
	if (hello->purpose == HANDSHAKE_FORMING)
		return judge_forming(form, hello, welcome);
	if (form->peers->stage == PEERS_NEW)
		return judge_joining(form, hello, welcome);
	return judge_member(form, hello, welcome);
}

/* Who is refused learns nothing that would let it in when it comes again. */
static void conceal(const struct form *form, const struct handshake *hello,
		    struct handshake *welcome)
{
	ASSERT(welcome->verdict > HANDSHAKE_ACCEPTED && welcome->instance_count == 0);
	welcome->instance = welcome->to_instance = welcome->members_hash = 0;
	welcome->from_nonce = welcome->to_nonce = welcome->configuration_index = 0;
	snprintf(welcome->endpoint, sizeof welcome->endpoint, "%s", form->endpoint);
	if (memcmp(welcome->cluster_id, hello->cluster_id, CLUSTER_ID_BYTES) != 0)
		memset(welcome->cluster_id, 0, CLUSTER_ID_BYTES);
}

unsigned form_judge(struct form *form, const struct handshake *hello, struct handshake *welcome)
{
	introduce(form, hello->from, welcome);
	welcome->purpose = hello->purpose;
	unsigned effects = judge(form, hello, welcome);

	if (welcome->verdict != HANDSHAKE_ACCEPTED)
		conceal(form, hello, welcome);
	return effects;
}

/* ---- judging a welcome ---- */

static unsigned problem_set(char problem[HANDSHAKE_REASON_BYTES], unsigned effect,
			    const char *format, ...) __attribute__((format(printf, 3, 4)));

static unsigned problem_set(char problem[HANDSHAKE_REASON_BYTES], unsigned effect,
			    const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(problem, HANDSHAKE_REASON_BYTES, format, arguments);
	va_end(arguments);
	return effect;
}

/* The list of a formed cluster: may this node form, too? */
static unsigned take_list(struct form *form, const struct handshake *welcome,
			  char problem[HANDSHAKE_REASON_BYTES])
{
	struct handshake lost = {0};
	uint64_t own = 0;

	for (uint32_t i = 0; i < welcome->instance_count; i++)
		if (welcome->instances[i].id == form->node_id)
			own = welcome->instances[i].instance;
	if (own != 0 && own != form->peers->instance) {
		verdict_data_lost(form, &lost, form->node_id, 0);
		return problem_set(problem, FORM_DATA_LOST, "%s", lost.reason);
	}
	if (own == 0 || welcome->instance_count != form->roster.count)
		return problem_set(
			problem, FORM_NOTHING,
			"cluster %s was formed by other initial members than node %" PRIu64
			" was given",
			form->cluster_name, form->node_id);
	for (uint32_t i = 0; i < welcome->instance_count; i++)
		note_found(form, welcome->instances[i].id, welcome->instances[i].instance);
	return form_is_complete(form) ? FORM_COMPLETE : FORM_NOTHING;
}

static unsigned welcomed_forming(struct form *form, uint64_t peer, const struct handshake *welcome,
				 char problem[HANDSHAKE_REASON_BYTES])
{
	if (form->peers->stage != PEERS_NEW || welcome->verdict != HANDSHAKE_ACCEPTED)
		return FORM_NOTHING;
	if (welcome->instance_count > 0)
		return take_list(form, welcome, problem);
	return note_found(form, peer, welcome->instance);
}

static unsigned welcomed_member(struct form *form, uint64_t peer, const struct handshake *welcome,
				char problem[HANDSHAKE_REASON_BYTES])
{
	struct endpoint endpoint;

	if (memcmp(welcome->cluster_id, form->peers->cluster_id, CLUSTER_ID_BYTES) != 0)
		return problem_set(problem, FORM_NOTHING,
				   "node %" PRIu64 " belongs to another cluster", peer);
	if (!form_find_member(form->configuration, peer, &endpoint))
		return FORM_USE; /* an answer to a leader that is not in our configuration yet */
	uint64_t recorded = peers_instance_of(form->peers, peer, endpoint.nonce);

	if (recorded != 0 && recorded != welcome->instance)
		return problem_set(problem, FORM_NOTHING,
				   "node %" PRIu64 " came back with another data directory", peer);
	return peers_record(form->peers, peer, endpoint.nonce, welcome->instance)
		       ? FORM_USE | FORM_RECORDED
		       : FORM_USE;
}

unsigned form_welcomed(struct form *form, uint64_t peer, const struct handshake *welcome,
		       char problem[HANDSHAKE_REASON_BYTES])
{
	bool same_cluster =
		strcmp(welcome->cluster_name, form->cluster_name) == 0 &&
		(!knows_cluster(form->peers->cluster_id) ||
		 memcmp(welcome->cluster_id, form->peers->cluster_id, CLUSTER_ID_BYTES) == 0);

	problem[0] = '\0';
	if (welcome->from != peer)
		return problem_set(problem, FORM_NOTHING,
				   "node %" PRIu64 " answers where node %" PRIu64 " is expected",
				   welcome->from, peer);
	if (welcome->verdict == HANDSHAKE_DATA_LOST && same_cluster)
		return problem_set(problem, FORM_DATA_LOST, "%s", welcome->reason);
	if (welcome->verdict == HANDSHAKE_REMOVED && same_cluster)
		return problem_set(problem, FORM_REMOVED, "%s", welcome->reason);
	if (welcome->purpose == HANDSHAKE_FORMING)
		return welcomed_forming(form, peer, welcome, problem);
	if (welcome->verdict != HANDSHAKE_ACCEPTED)
		return FORM_NOTHING;
	return welcomed_member(form, peer, welcome, problem);
}

bool form_believes(const struct form *form, uint64_t peer, const char *endpoint)
{
	const struct raft_configuration *configuration = form->configuration;

	if (!serves(form))
		return true;
	for (unsigned i = 0; configuration != NULL && i < configuration->n; i++)
		if (configuration->servers[i].id == peer)
			return strcmp(configuration->servers[i].address, endpoint) == 0;
	return false;
}

void form_judge_new_member(const struct form *form, uint64_t id, const struct handshake *welcome,
			   char problem[HANDSHAKE_REASON_BYTES])
{
	/* A node that was being added before has our cluster id, and waits for no first one. */
	bool ours = memcmp(welcome->cluster_id, form->peers->cluster_id, CLUSTER_ID_BYTES) == 0;

	problem[0] = '\0';
	if (welcome->from != id)
		problem_set(problem, FORM_NOTHING, "node %" PRIu64 " is there, not node %" PRIu64,
			    welcome->from, id);
	else if (welcome->verdict == HANDSHAKE_ACCEPTED && !ours)
		problem_set(problem, FORM_NOTHING,
			    "it forms a cluster of its own: start it without itself among its "
			    "initial members");
	else if (welcome->verdict > HANDSHAKE_LATER && !ours)
		problem_set(problem, FORM_NOTHING, "%s", welcome->reason);
}

bool form_knew(const struct form *form, uint64_t id)
{
	for (uint32_t i = 0; i < form->peers->record_count; i++)
		if (form->peers->records[i].id == id)
			return true;
	return false;
}
