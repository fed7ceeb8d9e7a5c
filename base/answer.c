#include "base/answer.h"

#include "base/assert.h"

const char *answer_name(enum answer_code code)
{
	static const char *const names[ANSWER_COUNT] = {[ANSWER_OK] = "OK",
#define X(name, meaning) [ANSWER_##name] = #name,
							ANSWER_TABLE(X)
#undef X
	};

	ASSERT(code >= 0 && code < ANSWER_COUNT);
	return names[code];
}

const char *answer_meaning(enum answer_code code)
{
	static const char *const meanings[ANSWER_COUNT] = {[ANSWER_OK] =
								   "the request was carried out",
#define X(name, meaning) [ANSWER_##name] = meaning,
							   ANSWER_TABLE(X)
#undef X
	};

	ASSERT(code >= 0 && code < ANSWER_COUNT);
	return meanings[code];
}
