/*
 * What must hold. After each event of a node:
 *   - the entries that it counts as committed are the same as those of every other node (committed);
 *   - the commands that it applies are the same, and lead to the same state (applied);
 *   - a term has one leader; neither term nor vote goes back, on disk;
 *   - libraft has not given up, and the guard's count of bytes is right.
 * At the end, within SIM_CONVERGE_US after the last fault: a new write is acknowledged and applied by
 * all members; every acknowledged write is still there, and they have the same state.
 */
#include "base/checksum.h"
#include "tests/sim/sim.h"

#include <stdarg.h>

void sim_violation(struct sim *sim, const char *format, ...)
{
	struct sim_outcome *outcome = &sim->outcome;
	va_list args;

	if (outcome->violated)
		return;
	outcome->violated = true;
	va_start(args, format);
	vsnprintf(outcome->message, sizeof outcome->message, format, args);
	va_end(args);
	sim_trace(sim, "VIOLATION: %s", outcome->message);
}

uint64_t sim_hash(const void *data, size_t size)
{
	return checksum64(data, size) | 1;
}

static const struct raft_entry *entry_at(const struct raft *raft, raft_index index)
{
	const struct raft_log *log = &raft->log;
	size_t count = log->size == 0 ? 0 : (log->back + log->size - log->front) % log->size;

	if (index <= log->offset || index > log->offset + count)
		return NULL;
	return &log->entries[(log->front + (size_t)(index - 1 - log->offset)) % log->size];
}

/* ---- after each event ---- */

static void check_committed(struct sim_node *node, raft_index index, const struct raft_entry *entry)
{
	struct sim *sim = node->sim;
	uint64_t hash = sim_hash(entry->buf.base, entry->buf.len);

	if (index >= SIM_INDEXES) {
		sim_violation(sim, "the log is longer than the simulator can follow");
		return;
	}
	struct sim_truth *truth = &sim->truth[index];

	if (!truth->known) {
		truth->known = true;
		truth->term = entry->term;
		truth->type = entry->type;
		truth->hash = hash;
	} else if (truth->term != entry->term || truth->type != entry->type ||
		   truth->hash != hash) {
		sim_violation(sim,
			      "node %u counts an entry of term %llu as committed at index %llu, "
			      "where another of term %llu was",
			      node->number, entry->term, index, truth->term);
	}
}

static void check_leader(struct sim_node *node)
{
	struct sim *sim = node->sim;
	raft_term term = node->raft->current_term;

	if (node->raft->state != RAFT_LEADER || term >= SIM_TERMS)
		return;
	if (sim->leaders[term] == 0) {
		sim->leaders[term] = node->number;
		sim->outcome.elections++;
	} else if (sim->leaders[term] != node->number) {
		sim_violation(sim, "nodes %llu and %u both lead in term %llu", sim->leaders[term],
			      node->number, term);
	}
}

static void check_bytes(struct sim_node *node)
{
	const struct raft *raft = node->raft;
	const struct raft_entry *entry;
	uint64_t bytes = 0;

	for (raft_index i = raft->log.offset + 1; (entry = entry_at(raft, i)) != NULL; i++)
		bytes += entry->buf.len;
	if (bytes != guard_log_bytes(node->guard))
		sim_violation(node->sim,
			      "node %u: the guard counts %" PRIu64
			      " bytes of log, there are %" PRIu64,
			      node->number, guard_log_bytes(node->guard), bytes);
}

void sim_check_node(struct sim_node *node)
{
	struct raft *raft = node->raft;

	if (raft->state == RAFT_UNAVAILABLE)
		sim_violation(node->sim, "node %u: libraft has given up: %s", node->number,
			      raft_errmsg(raft));
	check_leader(node);
	while (node->seen_commit < raft->commit_index) {
		const struct raft_entry *entry = entry_at(raft, ++node->seen_commit);

		if (entry != NULL)
			check_committed(node, node->seen_commit, entry);
	}
	if (raft->current_term > node->sim->outcome.terms)
		node->sim->outcome.terms = raft->current_term;
	if (node->sim->outcome.events % 256 == 0)
		check_bytes(node);
}

void sim_check_applied(struct sim_node *node, const struct sim_command *command)
{
	struct sim *sim = node->sim;
	struct sim_truth *truth;

	if (command->index >= SIM_INDEXES)
		return;
	truth = &sim->truth[command->index];
	if (truth->known && truth->type != RAFT_COMMAND) {
		sim_violation(sim, "node %u applies a command at index %" PRIu64 ", where none is",
			      node->number, command->index);
		return;
	}
	sim_check_state(node);
}

void sim_check_state(struct sim_node *node)
{
	const struct sim_state *applied = &node->store.applied;
	struct sim_truth *truth;

	if (applied->index >= SIM_INDEXES)
		return;
	truth = &node->sim->truth[applied->index];
	if (!truth->applied) {
		truth->applied = true;
		truth->after = *applied;
	} else if (truth->after.hash != applied->hash ||
		   truth->after.position != applied->position) {
		sim_violation(node->sim, "node %u: another state than others at index %" PRIu64,
			      node->number, applied->index);
	}
}

void sim_check_term(struct sim_node *node, raft_term term, raft_id vote)
{
	const struct sim_disk *disk = &node->disk;

	if (term < disk->term)
		sim_violation(node->sim, "node %u goes back from term %llu to %llu", node->number,
			      disk->term, term);
	if (vote != 0 && disk->vote != 0 && disk->vote != vote)
		sim_violation(node->sim, "node %u votes for %llu and for %llu in term %llu",
			      node->number, disk->vote, vote, term);
}

/* Each step takes a heartbeat. It must go back by a term at least, not by an entry: else a follower whose
 * log has some hundred entries of terms that are over does not agree for as many heartbeats. */
void sim_check_walk(struct sim_node *follower, struct sim_walk *walk,
		    const struct raft_append_entries_result *result)
{
	struct sim *sim = follower->sim;

	if (result->rejected == 0 || result->term != walk->term)
		*walk = (struct sim_walk){.term = result->term};
	if (result->rejected == 0 || (walk->rejected != 0 && result->rejected >= walk->rejected))
		return;
	walk->steps += walk->rejected != 0;
	walk->rejected = result->rejected;
	if (walk->steps > sim->outcome.longest_walk)
		sim->outcome.longest_walk = walk->steps;
	if (walk->steps > sim->outcome.elections + SIM_WALK_STEPS)
		sim_violation(
			sim,
			"node %u was asked for one entry before the other, %u times, although "
			"there were %" PRIu64 " terms only",
			follower->number, walk->steps, sim->outcome.elections);
}

void sim_check_manifest(struct sim_node *node, const struct manifest *manifest)
{
	const struct sim_truth *truth = &node->sim->truth[manifest->applied_index];

	if (manifest->applied_index >= SIM_INDEXES || !truth->applied ||
	    truth->after.hash != manifest->hash || truth->after.position != manifest->position)
		sim_violation(node->sim, "node %u restores a state that no node ever had",
			      node->number);
}

/* ---- in the calm ---- */

static const struct raft *leading(const struct sim *sim)
{
	for (unsigned i = 1; i <= sim->node_count; i++)
		if (sim_node_leads(&sim->nodes[i]))
			return sim->nodes[i].raft;
	return NULL;
}

/* A leader's end is heard of: most often long before an election timeout has passed. */
void sim_check_failed_over(struct sim *sim)
{
	uint64_t allowed = sim->profile.election_ms * SIM_MS * 3;

	if (sim->outcome.failed_over_us > allowed)
		sim_violation(sim,
			      "%" PRIu64 " ms after the leader's end, none leads (%u ms allowed)",
			      sim->outcome.failed_over_us / SIM_MS, (unsigned)(allowed / SIM_MS));
}

void sim_check_resigned(struct sim *sim, const struct sim_node *stalled)
{
	struct sim_node *leader = sim_leader(sim);

	if (!sim->outcome.violated && (leader == NULL || leader == stalled))
		sim_violation(sim, "node %u leads on although its disk stalls", stalled->number);
}

static bool member_has(const struct sim *sim, const struct raft_server *server, uint64_t index)
{
	const struct sim_node *node = &sim->nodes[server->id];

	return server->role == RAFT_SPARE || node->gone || node->lost ||
	       (sim_node_is_up(node) && node->store.applied.index >= index);
}

bool sim_everybody_has(const struct sim *sim, uint64_t index)
{
	const struct raft *leader = leading(sim);

	if (leader == NULL)
		return false;
	for (unsigned i = 0; i < leader->configuration.n; i++)
		if (!member_has(sim, &leader->configuration.servers[i], index))
			return false;
	return true;
}

void sim_check_converged(struct sim *sim)
{
	ASSERT(sim->calm);
	if (sim->converged_at == 0 && sim->calm_write != 0 &&
	    sim_everybody_has(sim, sim->calm_write)) {
		sim->converged_at = sim->now;
		sim_check_answers_from(sim, sim->now);
		sim->outcome.converged_us = sim->now - sim->calm_since;
	}
	uint64_t allowed = sim->outcome.witnesses > 0 ? SIM_CONVERGE_WITNESS_US : SIM_CONVERGE_US;

	if (sim->losses_at_calm < sim->losses || sim->lost != NULL)
		allowed = SIM_CONVERGE_REPLACE_US;

	if (sim->converged_at == 0 && sim->now - sim->calm_since > allowed)
		sim_violation(sim, "%s within %u s after the last fault",
			      leading(sim) == NULL   ? "no leader"
			      : sim->calm_write == 0 ? "no write was acknowledged"
						     : "not every member has the first write",
			      (unsigned)(allowed / SIM_SECOND));
}

void sim_check_answers_from(struct sim *sim, uint64_t since)
{
	if (since > sim->answers_since)
		sim->answers_since = since;
}

void sim_check_waiting(struct sim *sim)
{
	for (uint64_t id = 1; id <= sim->write_count; id++) {
		const struct sim_write *write = &sim->writes[id];

		if (!write->done && write->proposed_us >= sim->answers_since &&
		    write->proposed_us + SIM_SECOND <= sim->now) {
			sim_violation(sim, "a write waits for an answer since %" PRIu64 " ms",
				      (sim->now - write->proposed_us) / SIM_MS);
			return;
		}
	}
}

static void check_same(struct sim *sim)
{
	const struct raft *leader = leading(sim);

	for (unsigned i = 0; leader != NULL && i < leader->configuration.n; i++) {
		const struct raft_server *server = &leader->configuration.servers[i];
		const struct sim_state *state = &sim->nodes[server->id].store.applied;
		const struct sim_state *expected = &sim->nodes[leader->id].store.applied;

		if (server->role != RAFT_SPARE && !sim->nodes[server->id].gone &&
		    !sim->nodes[server->id].lost &&
		    (state->index != expected->index || state->hash != expected->hash))
			sim_violation(sim,
				      "at the end node %llu is at %" PRIu64
				      ", node %llu at %" PRIu64,
				      server->id, state->index, leader->id, expected->index);
	}
}

void sim_check_end(struct sim *sim)
{
	if (!sim_everybody_has(sim, sim->acknowledged_index))
		sim_violation(sim, "at the end not every member has all that was acknowledged");
	sim_check_waiting(sim);
	check_same(sim);
	for (unsigned i = 1; i <= sim->node_count; i++) {
		const struct sim_node *node = &sim->nodes[i];

		if (sim_node_is_up(node) && node->store.applied.index == sim->model.index &&
		    !sim->outcome.violated && !node->damage.met)
			sim_verify_store(&sim->nodes[i]);
	}
	sim_verify_answers(sim);
}
