/* Which planted defect is switched on. */
#include "tests/sim/sim.h"

#include <string.h>

#ifdef ANNAL_MUTANTS
enum mutant mutant_planted;
#endif

const char *sim_mutant_name(enum mutant mutant)
{
	static const char *const names[MUTANT_COUNT] = {"",
#define X(name, text) #name,
							MUTANT_TABLE(X)
#undef X
	};

	ASSERT(mutant < MUTANT_COUNT);
	return names[mutant];
}

const char *sim_mutant_text(enum mutant mutant)
{
	static const char *const texts[MUTANT_COUNT] = {"",
#define X(name, text) text,
							MUTANT_TABLE(X)
#undef X
	};

	ASSERT(mutant < MUTANT_COUNT);
	return texts[mutant];
}

bool sim_mutant_plant(const char *name)
{
#ifdef ANNAL_MUTANTS
	for (unsigned i = MUTANT_NONE + 1; i < MUTANT_COUNT; i++) {
		if (strcmp(sim_mutant_name(i), name) != 0)
			continue;
		mutant_planted = i;
		return true;
	}
#else
	(void)name;
#endif
	return false;
}
