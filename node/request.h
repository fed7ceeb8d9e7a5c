/*
 * A request that is being answered: from the moment that its message is whole until exactly one answer
 * is given, in time. Reference-counted, since the work for it may outlive it: when its deadline
 * passes, or its session goes, the request is answered (or not) and later answers are ignored.
 *
 * Loop thread, except request_params and the fields said to be constant.
 */
#ifndef NODE_REQUEST_H
#define NODE_REQUEST_H

#include "base/answer.h"
#include "base/msgpack.h"
#include "node/arguments.h"

struct node;
struct session;
struct request;

/* What a method gives back to dispatch when it can say it at once; else REQUEST_PENDING. */
struct request {
	struct node *node;
	struct session *session; /* NULL once the session is gone */
	uint32_t msgid;
	const struct method *method; /* constant */
	struct span params;          /* the params map, owned by the request: constant */
	int64_t deadline_ms;         /* clock_monotonic_ms() */
	bool forward;                /* false: NOT_LEADER instead of forwarding */
	bool answered;
	uint32_t references;
	/* What its timeout means: "none" (nothing was proposed) until this is set. */
	bool maybe_proposed;
	/* It was sent to the leader of this term, and may have been proposed there; 0: it was not. */
	uint64_t unsure_term;
	/*
	 * Of the method that handles it: called at the deadline before the TIMEOUT is given, so it may
	 * answer otherwise, and when the session has gone, so it may stop working. NULL: nobody asks.
	 */
	void (*ended)(struct request *request);
	void *handler;                                  /* of the same */
	struct arguments arguments;                     /* private to request.c */
	struct request *deadline_next, **deadline_link; /* private to deadline.c */
	struct request *session_next, **session_link;   /* private to session.c */
};

/*
 * A request with one reference, the caller's, already counted and linked to its session. `params` is
 * copied: one msgpack map that a scanner has passed; of more than ARGUMENTS_MAX pairs no argument is
 * found. The deadline is set later, by dispatch.
 */
struct request *request_new(struct node *node, struct session *session, uint32_t msgid,
			    struct span params);
void request_free_spare(struct node *node); /* what is kept for further ones, when the node ends */
/* The deadline has passed: answers TIMEOUT {outcome}, unless `ended` has answered. For deadline.c. */
void request_expire(struct request *request);
/* The session goes: there is nobody to answer any more. For session.c. */
void request_abandon(struct request *request);

struct request *request_hold(struct request *request);
void request_release(struct request *request);
int64_t request_left_ms(const struct request *request); /* at least 0 */

/* Each answers once; a second answer is ignored. They do not release. */
void request_answer_result(struct request *request, struct span result); /* one msgpack value */
/* The same, of one that may be large: see session_answer_page. */
void request_answer_page(struct request *request, struct buffer *page);
/* {code, message} */
void request_answer_error(struct request *request, enum answer_code code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* INVALID_ARGUMENT with {argument} */
void request_answer_invalid(struct request *request, const char *argument, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* With {retry_after_ms}, and {reason} unless it is NULL: NO_LEADER, OVERLOADED. */
void request_answer_retry(struct request *request, enum answer_code code, const char *reason,
			  const char *message);
/* TOO_LARGE {limit, size} */
void request_answer_too_large(struct request *request, uint64_t limit, uint64_t size,
			      const char *message);
/* TIMEOUT {outcome: "unknown"}: it was proposed, and nobody can say what became of it. */
void request_answer_unknown(struct request *request);
/* Whoever would say that nothing was proposed asks this first: true: it has answered TIMEOUT instead. */
bool request_answer_if_unsure(struct request *request);
/* A whole error map, made by the caller (with request_error_begin). */
void request_answer_error_map(struct request *request, struct span error);
/* Write a map header for `extra` more pairs, then code and message; the caller adds the pairs. */
void request_error_begin(struct buffer *into, uint32_t extra, enum answer_code code,
			 const char *message);

/*
 * Arguments by name, from the params map. Each returns true when the argument is there and right, or
 * absent, or nil, with *value left as it was; false when it is wrong: then the request has been answered with
 * INVALID_ARGUMENT naming it. If a name occurs twice the last one counts.
 */
bool request_arg_u64(struct request *request, const char *name, uint64_t min, uint64_t max,
		     uint64_t *value);
bool request_arg_bool(struct request *request, const char *name, bool *value);
bool request_arg_str(struct request *request, const char *name, struct span *value);
bool request_arg_raw(struct request *request, const char *name, struct span *value); /* any kind */
/* A stream name to read from: 1…1,024 bytes of UTF-8, `$` allowed. Required. */
bool request_arg_stream(struct request *request, struct span *name);

#endif
