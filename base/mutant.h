/*
 * Planted defects, to see that the tests find them: each is one line where it would be made, and is there
 * in one build only (`make sim-mutants`, docs/testing.md), where one of them at a time is switched on. In
 * every other build MUTANT() is false, and nothing of it is left.
 */
#ifndef BASE_MUTANT_H
#define BASE_MUTANT_H

#include <stdbool.h>

#define MUTANT_TABLE(X)                                                                            \
	X(AFTER_OFF_BY_ONE, "a condition leaves out the event right behind `after`")               \
	X(TAIL_IGNORED, "a condition looks at what is flushed only")                               \
	X(TABLES_IGNORED, "a condition looks at the tail only")                                    \
	X(FIRST_CONDITION_ONLY, "of several conditions, the first counts")                         \
	X(PREFIX_IGNORED, "a condition or query takes any stream of the prefix's category")        \
	X(CHECKS_IGNORED, "the expectation of a stream that is only checked does not count")       \
	X(FIRST_VIOLATION_ONLY, "of several failed expectations, the first is told")               \
	X(EPOCH_IGNORED, "a checkpoint of a lower epoch is stored")                                \
	X(IF_POSITION_IGNORED, "a checkpoint's if_position does not count")                        \
	X(ID_TWICE, "an id twice in one append is stored twice")                                   \
	X(DUPLICATE_ELSEWHERE, "events stored in another stream count as duplicates")              \
	X(DUPLICATES_FORGOTTEN, "ids are forgotten once they are flushed")                         \
	X(GREATEST_ID, "the greatest id is that of the last flush")                                \
	X(VERSION_GAP, "a version is left out now and then")                                       \
	X(HASH_UNCHAINED, "the running hash forgets what was before")                              \
	X(TIME_BACK, "time goes back with a leader's clock")                                       \
	X(APPLIED_TWICE, "what the log replays after a start is applied again")                    \
	X(MANIFEST_AHEAD, "a manifest tells an index that is not flushed yet")                     \
	X(TAGS_NOT_FLUSHED, "a flush forgets the lists of tags")                                   \
	X(TRIM_TAKES_LAST, "a trim drops the last checkpoint, too")                                \
	X(HORIZON_FORGOTTEN, "a trim does not say how far what it dropped was superseded")         \
	X(CACHE_STALE, "pulled records do not change what is remembered of streams")               \
	X(READ_AT_ONCE, "a leader answers a linearizable read without a marker")                   \
	X(READ_AHEAD, "another node is read before it is where the leader said")                   \
	X(ACKNOWLEDGED_EARLY, "a write is acknowledged when it is proposed")                       \
	X(VOTE_FORGOTTEN, "a crash forgets the vote")                                              \
	X(LOG_NOT_SYNCED, "a power cut takes entries that were told to be stored")                 \
	X(SNAPSHOT_NOT_FLUSHED, "a snapshot is taken before the store is flushed")                 \
	X(NEWER_NOT_TAKEN, "a pulled hole does not ask for the manifest of the peer")              \
	X(PULLED_NOT_NOTED, "a store goes ahead of its log, and the hard state does not say why")

enum mutant {
	MUTANT_NONE,
#define X(name, text) MUTANT_##name,
	MUTANT_TABLE(X)
#undef X
		MUTANT_COUNT
};

#ifdef ANNAL_MUTANTS
extern enum mutant mutant_planted; /* set once, by the test */
#define MUTANT(name) (mutant_planted == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
