/*
 * A session: one client's connection as bytes in, bytes out. It knows no socket (and no libuv), so
 * that a simulator can drive it. Finds messages (base/msgpack scanner), checks them, makes a request
 * of each and hands it to dispatch; gathers answers and notifications and gives them to the transport
 * once per turn of the loop. Loop thread only.
 *
 * Limits: a message longer than max_message, deeper than LIMIT_DEPTH or not MessagePack-RPC ends the
 * session after a last notification ["error", [{code, message}]]. More than LIMIT_REQUESTS_IN_FLIGHT
 * requests, or more than LIMIT_OUT_QUEUE_BYTES of unsent answers, or too much of what all clients together
 * have sent (node/input_bound.h): the transport is asked to stop reading (never is an answer dropped). The listener cuts off who stays silent in the middle of a
 * message, or does not read, for LIMIT_HANDSHAKE_MS.
 */
#ifndef NODE_SESSION_H
#define NODE_SESSION_H

#include "base/answer.h"
#include "base/buffer.h"

struct node;
struct session;
struct request;

struct session_transport {
	void *arg;
	/*
	 * Take what is in `out` (swap or copy; leave it empty): to be sent behind what was taken before,
	 * when session_flush has returned or close() is called at the latest.
	 */
	void (*write)(void *arg, struct buffer *out);
	/* Stop (true) or go on (false) reading. */
	void (*pause)(void *arg, bool paused);
	/* Send what was written, then close; session_free follows from the transport. */
	void (*close)(void *arg);
	/* Something waits for session_flush: told once until it is called. May be NULL. */
	void (*dirty)(void *arg);
};

struct session *session_new(struct node *node, const struct session_transport *transport,
			    const char *peer_name);
/* The transport is gone: requests in flight are answered into nothing, subscriptions end. */
void session_free(struct session *session);
void session_receive(struct session *session, const uint8_t *bytes, size_t size);
/* End of a turn of the loop: hand the gathered output to the transport. */
void session_flush(struct session *session);
/* How many bytes written to the transport are still unsent; called when it shrinks. */
void session_set_unsent(struct session *session, size_t bytes);
/* End it after a last notification ["error", [{code, message}]]. Not from within session_receive. */
void session_fail(struct session *session, enum answer_code code, const char *message);
/* That notification as its bytes. */
void session_write_last_error(struct buffer *into, enum answer_code code, const char *message);
bool session_in_message(const struct session *session);      /* a message has begun and not ended */
size_t session_message_bytes(const struct session *session); /* of it that have arrived */
uint64_t session_message_count(const struct session *session); /* whole ones so far */
bool session_has_turn(const struct session *session); /* others wait to be read until it is whole */

/* ---- for requests and subscriptions ---- */

/* From when a request is made until it is answered. */
void session_link_request(struct session *session, struct request *request);
void session_unlink_request(struct session *session, struct request *request);
uint32_t session_requests_in_flight(const struct session *session);
/* It is another node's, and read however much clients send (node/input_bound.h). */
void session_is_of_node(struct session *session);
/* Whether the client, which sends no more, is still owed an answer worth waiting for: that of a write,
 * and not a page or a subscription that it is hardly there to read. */
bool session_owes_answer(const struct session *session);

/* The last position written by a request of this session that was forwarded; see own_writes.h. */
uint64_t session_own_position(const struct session *session);
void session_note_own_position(struct session *session, uint64_t position);

/*
 * Requests that another node forwards are numbered in turns (node/route.h): after one of a turn was
 * refused for want of leadership, the later ones of that turn are too, so that order is kept.
 */
uint64_t session_refused_turn(const struct session *session); /* 0: none */
void session_set_refused_turn(struct session *session, uint64_t turn);

/* Answers: exactly one of them for each request, then the request is gone. Any order. `result` is one
 * msgpack value, copied. */
void session_answer_result(struct session *session, uint32_t msgid, struct span result);
void session_answer_error(struct session *session, uint32_t msgid, struct span error);
/*
 * A result that may be large: `page` is SESSION_PAGE_HEADROOM bytes for the session, then the value. It
 * is taken as it is when that is better than a copy; it is left empty.
 */
#define SESSION_PAGE_HEADROOM 8u
void session_answer_page(struct session *session, uint32_t msgid, struct buffer *page);
/* ["method", params] with params one msgpack value (an array). */
void session_notify(struct session *session, const char *method, struct span params);
/* Unsent bytes, gathered ones included: a subscription waits while it is over its share. */
size_t session_unsent(const struct session *session);
/* How many of them it may have before it waits: fewer while all sessions together have too many. */
size_t session_unsent_max(const struct session *session);
bool session_is_pressed(const struct session *session); /* the latter */
/* Called (once) when session_unsent has fallen below `below`. One waiter per struct. */
struct session_drain {
	size_t below;
	void (*drained)(struct session_drain *drain);
	struct session_drain *next, **link; /* private */
};
void session_await_drain(struct session *session, struct session_drain *drain);
void session_cancel_drain(struct session_drain *drain);
/* The head of the list of subscriptions of this session (node/subscribe.h owns its elements). */
struct subscription **session_subscriptions(struct session *session);

#endif
