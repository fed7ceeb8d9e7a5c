/* Partitions: links that carry nothing until a time. Several may cover a link. */
#include "tests/sim/sim.h"

struct cut {
	unsigned from, to;
};

static void run_join(struct sim *sim, struct sim_node *nobody, void *data)
{
	struct cut *cut = data;
	struct sim_link *link = &sim->links[cut->from][cut->to];

	(void)nobody;
	if (link->cuts > 0)
		link->cuts--;
	memory_free(cut);
}

static void cut_link(struct sim *sim, unsigned from, unsigned to, uint64_t until)
{
	struct cut *cut = memory_alloc(sizeof *cut);

	*cut = (struct cut){from, to};
	sim->links[from][to].cuts++;
	sim_at(sim, until, "join", run_join, NULL, cut);
}

void sim_cut_pair(struct sim *sim, unsigned from, unsigned to, bool both, uint64_t until)
{
	ASSERT(from != to);
	cut_link(sim, from, to, until);
	if (both)
		cut_link(sim, to, from, until);
}

void sim_cut_isolate(struct sim *sim, const struct sim_node *node, uint64_t until)
{
	for (unsigned i = 1; i <= sim->node_count; i++)
		if (i != node->number)
			sim_cut_pair(sim, node->number, i, true, until);
}

static void shuffle(struct sim *sim, unsigned *numbers, unsigned count)
{
	for (unsigned i = count; i > 1; i--) {
		unsigned j = (unsigned)sim_between(sim, 0, i - 1), number = numbers[i - 1];

		numbers[i - 1] = numbers[j];
		numbers[j] = number;
	}
}

/*
 * The nodes that are up stand in a ring. From four on, each hears its two neighbours: with five, everyone
 * sees a majority, and no two the same. Or, and always with three, each hears the one before it only.
 */
void sim_cut_ring(struct sim *sim, uint64_t until)
{
	unsigned ring[SIM_NODES], count = 0;

	for (unsigned i = 1; i <= sim->node_count; i++)
		if (sim_node_is_up(&sim->nodes[i]))
			ring[count++] = i;
	shuffle(sim, ring, count);
	bool one_way = count < 4 || sim_chance(sim, 300);

	for (unsigned i = 0; i < count; i++) {
		for (unsigned ahead = 1; ahead < count; ahead++) {
			bool kept = ahead == 1 || (!one_way && ahead == count - 1);

			if (!kept)
				cut_link(sim, ring[i], ring[(i + ahead) % count], until);
		}
	}
}
