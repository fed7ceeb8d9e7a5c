/*
 * Changes of members that are taken back. A follower uses a new configuration as soon as it is in its
 * log; when a new leader's entries replace that one, libraft 0.15 goes back to the entry of the
 * configuration before. It does not see that this entry may be compacted away (it reads through a NULL
 * pointer), and after a restart it does not know that the newest configuration in its log was never
 * agreed upon, and keeps it although its entry is truncated.
 *
 * So the guard takes it back itself, before libraft sees the message that truncates: from the entry if
 * it is there, else from a copy. Two copies are enough: a leader makes a change only when the one before
 * is committed, so at most the newest one can ever be taken back.
 *
 * And votes of a member that does not know yet that it is a voter. A leader counts it as one as soon as
 * it has the change in its log. If the leader ends before the change has reached the new voter, those who
 * have it may need this one's vote; libraft 0.15 gives none, and nobody leads until the old leader
 * returns. In Raft, who may vote is up to the candidate's configuration alone: a vote of one that is no
 * voter there is not counted, by libraft neither. So a standby or spare answers as a voter does. A node
 * that is no member by its own log does not: it may have lost that log.
 */
#include "raft/guard_internal.h"
#include "raft/wire.h"

static void copy_configuration(const struct raft_configuration *from, struct raft_configuration *to)
{
	raft_configuration_init(to);
	for (unsigned i = 0; i < from->n; i++) {
		const struct raft_server *server = &from->servers[i];
		int status = raft_configuration_add(to, server->id, server->address, server->role);

		ASSERT(status == 0);
	}
}

/* Takes the configuration; the older of the two copies goes. */
static void remember(struct guard *guard, struct raft_configuration configuration, raft_index index)
{
	raft_configuration_close(&guard->configuration[1]);
	guard->configuration[1] = guard->configuration[0];
	guard->configuration_index[1] = guard->configuration_index[0];
	guard->configuration[0] = configuration;
	guard->configuration_index[0] = index;
}

static bool decode(const struct raft_entry *entry, struct raft_configuration *configuration)
{
	struct error error;

	return entry != NULL && entry->type == RAFT_CHANGE &&
	       wire_decode_configuration(span_of(entry->buf.base, entry->buf.len), configuration,
					 &error) == 0;
}

void guard_members_loaded(struct guard *guard, const struct raft_snapshot *snapshot,
			  raft_index start, const struct raft_entry entries[], size_t count)
{
	struct raft_configuration configuration;

	ASSERT(guard->configuration_index[0] == 0);
	if (snapshot != NULL) {
		copy_configuration(&snapshot->configuration, &configuration);
		remember(guard, configuration, snapshot->configuration_index);
	}
	for (size_t i = 0; i < count; i++)
		if (decode(&entries[i], &configuration))
			remember(guard, configuration, start + i);
}

void guard_members_watch(struct guard *guard)
{
	const struct raft *raft = guard->raft;
	struct raft_configuration configuration;

	if (raft->configuration_uncommitted_index != 0 ||
	    raft->configuration_index == guard->configuration_index[0])
		return;
	copy_configuration(&raft->configuration, &configuration);
	remember(guard, configuration, raft->configuration_index);
}

static bool find_configuration(const struct guard *guard, raft_index index,
			       struct raft_configuration *configuration)
{
	if (decode(guard_entry(guard->raft, index), configuration))
		return true;
	for (int i = 0; i < 2; i++) {
		if (guard->configuration_index[i] != index || guard->configuration[i].n == 0)
			continue;
		copy_configuration(&guard->configuration[i], configuration);
		return true;
	}
	return false;
}

/* The index of the configuration to go back to; 0: none needs to be taken back. */
static raft_index index_before(const struct guard *guard, raft_index truncated)
{
	const struct raft *raft = guard->raft;

	if (raft->configuration_uncommitted_index >= truncated)
		return raft->configuration_index;
	if (raft->configuration_uncommitted_index == 0 && raft->configuration_index >= truncated)
		return guard->configuration_index[1];
	return 0;
}

void guard_members_take_back(struct guard *guard, raft_index truncated)
{
	struct raft *raft = guard->raft;
	raft_index index = index_before(guard, truncated);
	struct raft_configuration configuration;
	struct error error;

	if (!guard_has(guard, GUARD_MEMBERS) || index == 0)
		return;
	if (index >= truncated || !find_configuration(guard, index, &configuration)) {
		error_set(&error, -1, "the members as of raft index %llu are not known any more",
			  index);
		guard_fail(guard, &error);
		return;
	}
	raft_configuration_close(&raft->configuration);
	raft->configuration = configuration;
	raft->configuration_index = index;
	raft->configuration_uncommitted_index = 0;
}

struct raft_server *guard_members_non_voter(struct guard *guard)
{
	struct raft_configuration *configuration = &guard->raft->configuration;

	for (unsigned i = 0; i < configuration->n; i++)
		if (configuration->servers[i].id == guard->raft->id)
			return configuration->servers[i].role == RAFT_VOTER
				       ? NULL
				       : &configuration->servers[i];
	return NULL;
}

void guard_members_close(struct guard *guard)
{
	for (int i = 0; i < 2; i++)
		raft_configuration_close(&guard->configuration[i]);
}
