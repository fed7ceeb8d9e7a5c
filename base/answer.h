/*
 * Answers: the outcomes of a request that are no operating errors. One table feeds the enum, the
 * names on the wire and the documentation (docs/protocol.md, section "Errors").
 */
#ifndef BASE_ANSWER_H
#define BASE_ANSWER_H

/* X(name on the wire, what it means) */
#define ANSWER_TABLE(X)                                                                            \
	X(INVALID_ARGUMENT, "the request is malformed; nothing happened")                          \
	X(UNKNOWN_METHOD, "there is no method of that name")                                       \
	X(TOO_LARGE, "event, append or message over its limit; nothing happened")                  \
	X(WRONG_EXPECTED_VERSION, "an expectation about a stream failed; nothing was written")     \
	X(CONDITION_FAILED, "an event matches the append condition; nothing was written")          \
	X(EVENT_ID_CONFLICT, "some event ids are stored already, elsewhere or in another order")   \
	X(CHECKPOINT_CONFLICT,                                                                     \
	  "the stored checkpoint is not the one expected, or fences this one")                     \
	X(STREAM_NOT_FOUND, "the stream never existed")                                            \
	X(STREAM_DELETED, "the stream was deleted")                                                \
	X(STREAM_TOMBSTONED, "the stream was deleted for good")                                    \
	X(NOT_FOUND, "the named thing does not exist")                                             \
	X(NOT_LEADER, "this node is not the leader and the request forbade forwarding")            \
	X(NO_LEADER, "no leader is known; nothing was proposed, safe to retry")                    \
	X(TIMEOUT, "no answer in time; the field outcome says whether it may still happen")        \
	X(OVERLOADED, "refused before it was proposed; safe to retry")                             \
	X(NOT_READY, "the node did not reach the position asked for in time")                      \
	X(UNAUTHENTICATED, "log in first")                                                         \
	X(ACCESS_DENIED, "this user may not do that")                                              \
	X(SHUTTING_DOWN, "the node is stopping; nothing was proposed")                             \
	X(INTERNAL, "a defect or damage on the node; its log says more")

enum answer_code {
	ANSWER_OK = 0,
#define X(name, meaning) ANSWER_##name,
	ANSWER_TABLE(X)
#undef X
		ANSWER_COUNT
};

/* The name on the wire, "OK" for ANSWER_OK; never NULL. */
const char *answer_name(enum answer_code code);

/* The meaning in a sentence; never NULL. */
const char *answer_meaning(enum answer_code code);

#endif
