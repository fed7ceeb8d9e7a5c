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
	X(VOTE_NOT_LENT, "a member that does not know yet that it is a voter gives no vote")       \
	X(RECORD_UNCHECKED, "a record is read although it does not give its running hash")         \
	X(ROW_UNCHECKED, "a row or a chunk is read although its checksum is another")              \
	X(NEIGHBOURS_UNCHECKED,                                                                    \
	  "a lookup that finds nothing does not ask whether keys are damaged")                     \
	X(PULLED_NOT_NOTED, "a store goes ahead of its log, and the hard state does not say why")

/* Those that show in whole nodes and their clients (`make sim-whole-mutants`). */
#define MUTANT_WHOLE_TABLE(X)                                                                      \
	X(LOST_IS_CERTAIN,                                                                         \
	  "the client says of a write whose connection was lost that it did not happen")           \
	X(EXPIRED_IS_CERTAIN,                                                                      \
	  "the client says of a write without an answer that it did not happen")                   \
	X(LATE_ANSWER, "the client takes a late answer for that of another call")                  \
	X(DEADLINE_IGNORED, "the client waits for an answer beyond the deadline")                  \
	X(SESSION_FORGOTTEN, "the client's reads do not say what it has seen")                     \
	X(RESUME_OFF_BY_ONE, "a subscription resumes one event too late")                          \
	X(RESUME_BEHIND_BATCH,                                                                     \
	  "a subscription resumes behind what it received, not behind what it gave")               \
	X(ANSWER_OF_ANOTHER, "a forwarded write gets the answer to another one")                   \
	X(FORWARD_LOST_REFUSED,                                                                    \
	  "a forwarded write that was lost on its way is told to have been refused")               \
	X(PROPOSAL_LOST_REFUSED,                                                                   \
	  "a write whose leader lost its lead is told to have been refused")                       \
	X(AT_LEAST_IGNORED, "a read does not wait for the position that it names")                 \
	X(BARRIER_FORGOTTEN, "the leader tells others its head without a marker")                  \
	X(BARRIER_NOT_AWAITED,                                                                     \
	  "another node is read before it is where the leader said it must be")                    \
	X(CAUGHT_UP_EARLY,                                                                         \
	  "a subscriber is told that it has caught up before its history is read")                 \
	X(FELL_BEHIND_SILENT, "a subscriber is not told that it fell behind")                      \
	X(PAGE_SKIPPED, "a page of history that may not be sent yet is not sent at all")           \
	X(GAP_BEFORE_LIVE, "what came between history and now is left out")                        \
	X(WINDOW_EXCEEDED, "a subscription is sent more than its window allows")                   \
	X(FAILED_WRITE_IGNORED, "a node goes on although its log could not be written")

enum mutant {
	MUTANT_NONE,
#define X(name, text) MUTANT_##name,
	MUTANT_TABLE(X)
#undef X
		MUTANT_COUNT,
#define X(name, text) MUTANT_##name,
	MUTANT_WHOLE_TABLE(X)
#undef X
};

#ifdef ANNAL_MUTANTS
extern enum mutant mutant_planted; /* set once, by the test */
#define MUTANT(name) (mutant_planted == MUTANT_##name)
#else
#define MUTANT(name) false
#endif

#endif
