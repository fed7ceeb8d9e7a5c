/* Which planted defect is switched on. */
#include "base/mutant.h"
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#ifdef ANNAL_MUTANTS
enum mutant mutant_planted;
#endif

static const struct {
	const char *name, *text;
} mutants[] = {
#define X(name, text) {#name, text},
	MUTANT_WHOLE_TABLE(X)
#undef X
};
#define MUTANTS (sizeof mutants / sizeof mutants[0])

bool whole_mutant_plant(const char *name)
{
	for (unsigned i = 0; i < MUTANTS; i++) {
		if (strcmp(mutants[i].name, name) != 0)
			continue;
#ifdef ANNAL_MUTANTS
		mutant_planted = MUTANT_COUNT + 1 + i;
		return true;
#endif
	}
	return false;
}

void whole_mutants_print(void)
{
	for (unsigned i = 0; i < MUTANTS; i++)
		printf("%s\t%s\n", mutants[i].name, mutants[i].text);
}
