/*
 * Inside of the client: nodes with their connections, calls on their way, one turn of the loop.
 *
 * The story of a call: it is encoded, gets a deadline and waits. Each turn hands every waiting call
 * that is due to the node that its route asks for, once that node has answered the greeting. The
 * answer finishes it, or makes it wait again when trying again is safe. A connection that ends
 * makes all calls wait that may be tried again, and finishes the others with an unknown outcome.
 * The deadline finishes whatever is left. A call is finished exactly once.
 *
 *   WAITING --sent--> IN FLIGHT --answer, deadline--> finished
 *      ^                  |
 *      +--connection lost, refused for now
 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "client/decode.h"
#include "client/link.h"
#include "client/uri.h"
#include "client/wire.h"

#include <sys/queue.h>

#define CLIENT_CALLS_MAX 4096u
static_assert(CLIENT_CALLS_MAX <= LIMIT_REQUESTS_IN_FLIGHT, "a node reads all that may be sent");

/* Message ids of requests that are no calls; those of calls stay below. */
#define CLIENT_MSGID_HELLO UINT32_MAX
#define CLIENT_MSGID_PING  (UINT32_MAX - 1)
#define CLIENT_MSGID_CALLS (UINT32_MAX - CLIENT_CALLS_MAX)

enum call_route { CALL_ROUTE_LEADER, CALL_ROUTE_READ };

struct annal_client;
struct call;

/* `result` is empty unless code is ANNAL_OK; else client->answer_error says what failed. The call may
 * be in use for another as soon as the user's code has run: read what is needed of it before. */
typedef void call_done(struct annal_client *client, struct call *call, enum annal_code code,
		       struct span result);

struct call {
	TAILQ_ENTRY(call) entry; /* of client->waiting or node->in_flight */
	struct wire_request request;
	enum call_route route;
	bool idempotent; /* may be tried again although the outcome is unknown */
	bool writes;     /* has an outcome that matters */
	bool once;       /* OVERLOADED ends it: it is not tried again */
	bool has_ids;    /* of events: what an earlier attempt did is recognized by them */
	bool maybe_happened;
	uint32_t events;   /* of all writes together: the answer tells their positions */
	bool one_write;    /* and then their versions */
	struct node *node; /* NULL: waiting */
	uint32_t slot, msgid;
	uint32_t attempts;
	uint32_t timeout_ms;
	int64_t deadline_ms, due_ms; /* due: when it may be sent */
	enum annal_code last_code;   /* why it waits again; ANNAL_OK: it does not */
	call_done *done;
	/* Of the user, for calls that are not waited for; `done` calls the one that is set. */
	annal_append_done *append_done;
	annal_read_done *read_done;
	annal_backup_done *backup_done;
	void *arg;
};
TAILQ_HEAD(call_list, call);

struct node {
	struct address address;
	char text[ADDRESS_TEXT_BYTES];
	struct link link;
	bool greeted;
	struct call_list in_flight;
	uint32_t failures; /* in a row */
	int64_t retry_ms;  /* not opened again before */
	int64_t busy_ms;   /* since when answers are awaited */
	int64_t pinged_ms;
	char problem[256]; /* why it was closed last; "": it was not */
};

struct annal_client {
	struct uri options;
	struct node nodes[ANNAL_NODES_MAX];
	uint32_t nodes_count;
	struct node *leader;                  /* NULL: not known */
	uint32_t current;                     /* node that serves when there is a choice */
	struct call *calls[CLIENT_CALLS_MAX]; /* by slot; allocated when first used */
	uint32_t free_slots[CLIENT_CALLS_MAX];
	uint32_t free_count;
	struct call_list waiting;
	int64_t now_ms;      /* of this turn */
	int64_t looked_ms;   /* when sockets were looked at last */
	int64_t deadline_ms; /* no call has an earlier one */
	uint32_t jitter_ms;  /* so that clients do not come back all at once */
	uint64_t position;   /* highest known */
	struct buffer hello, ping;
	bool calling_back;
	bool closing;
	size_t callbacks; /* since the beginning of annal_poll */
	char retry_reason[768];
	struct decode_error error;        /* of the last call that failed */
	struct decode_error answer_error; /* of the answer in hand */
	struct buffer answer;             /* of the last blocking call */
	struct node *answering;           /* whose answer a call_done has in hand; NULL: nobody's */
	struct decode_versions versions;
	struct decode_events page_events; /* of the page that a callback gets */
	LIST_HEAD(, annal_subscription) subscriptions;
};

/* ---- node.c ---- */

struct node *node_add(struct annal_client *client, const struct address *address);
/* Closes the connection; its calls wait again or end. */
void node_failed(struct annal_client *client, struct node *node, const char *problem);
/* The node for a call, opened if need be; NULL: none can be tried now. */
struct node *node_pick(struct annal_client *client, const struct call *call, bool *forward);
/* Any usable node from *cursor on, moving it there; NULL: none. For subscriptions. */
struct node *node_rotate(struct annal_client *client, uint32_t *cursor);
bool node_usable(const struct annal_client *client, const struct node *node);
/* When there is a choice, it is not this one from now on. */
void node_prefer_another(struct annal_client *client, const struct node *node);
void node_learn_leader(struct annal_client *client, struct annal_bytes address);
/* The answer to the greeting. */
void node_greeting(struct annal_client *client, struct node *node,
		   const struct decode_message *message);
void node_check_silence(struct annal_client *client, struct node *node);
/* "127.0.0.1:7001 (Connection refused), …" */
void node_describe_problems(const struct annal_client *client, char *text, size_t size);

/* ---- call.c ---- */

/* A call with an empty request, or NULL with client->error set when all are in use. */
struct call *call_new(struct annal_client *client);
/* The same for a blocking function, with its route; also NULL when it may not be called now. */
struct call *call_new_read(struct annal_client *client);
struct call *call_new_write(struct annal_client *client, bool idempotent);
void call_start(struct annal_client *client, struct call *call, uint32_t timeout_ms);
void call_abandon(struct annal_client *client, struct call *call); /* instead of starting it */
void call_dispatch(struct annal_client *client);
void call_answer(struct annal_client *client, struct node *node,
		 const struct decode_message *message);
void call_lost(struct annal_client *client, struct call *call, const char *problem);
void call_expire(struct annal_client *client);
/* Ends it with client->answer_error. */
void call_fail(struct annal_client *client, struct call *call);
size_t call_count(const struct annal_client *client);
/* In a call_done that is given a result: keep it in `into`, *result with it, where large without a copy. */
void call_keep_answer(struct annal_client *client, struct span *result, struct buffer *into);
/* Start it and wait for its end. The result lies at the beginning of client->answer. */
enum annal_code call_run(struct annal_client *client, struct call *call, uint32_t timeout_ms,
			 struct span *result);
/* The same, the result anywhere in `answer`, which is replaced. */
enum annal_code call_run_into(struct annal_client *client, struct call *call, uint32_t timeout_ms,
			      struct buffer *answer, struct span *result);
/* The same for a write whose answer tells at most the place of its record in the log. */
enum annal_code call_run_write(struct annal_client *client, struct call *call, const char *method);
/* Whether a blocking function may be called now; else ANNAL_MISUSE is set. */
bool call_may_block(struct annal_client *client);
/* An answer that does not decode: sets the error. */
enum annal_code call_bad_answer(struct annal_client *client, const char *method);

/* ---- read.c ---- */

/* Begin a request for a read in the session that has `pairs` parameters besides the consistency. */
void read_begin(struct annal_client *client, struct call *call, const char *method, uint32_t pairs);

/* ---- names.c ---- */

/* A whole request for a page of names. */
void list_begin(struct annal_client *client, struct call *call, const char *method,
		const struct annal_list *list);

/* ---- client.c ---- */

/* Send what has been started, without waiting for anything. */
void client_send(struct annal_client *client);
/* One turn: timers, sending, waiting at most `wait_ms`, receiving. */
void client_turn(struct annal_client *client, int64_t wait_ms);
enum annal_code client_fail(struct annal_client *client, enum annal_code code, const char *format,
			    ...) __attribute__((format(printf, 3, 4)));
void client_observe(struct annal_client *client, uint64_t position);
/* The position for a session read, 0 when there is no session. */
uint64_t client_session_position(const struct annal_client *client);

/* ---- subscribe.c ---- */

/*
 *   RESTING --a node is usable--> ASKING --accepted--> LIVE
 *      ^                            |                   |
 *      +--connection lost, dropped--+-------------------+--refused for good--> ENDED
 */
enum subscription_state {
	SUBSCRIPTION_RESTING, /* no connection; tried again at retry_ms */
	SUBSCRIPTION_ASKING,  /* connecting, greeting, request sent */
	SUBSCRIPTION_LIVE,
	SUBSCRIPTION_ENDED, /* `end` says why */
};

struct annal_subscription {
	LIST_ENTRY(annal_subscription) entry;
	struct annal_client *client;
	char *stream;        /* NULL: the whole store */
	struct buffer query; /* its msgpack, of the whole store */
	uint32_t window;
	uint64_t after;    /* version or position that was delivered: resumed behind it */
	uint64_t position; /* in the store, of what was delivered */
	enum subscription_state state;
	struct link link;
	struct node *node; /* whose address the link has; NULL: none yet */
	uint32_t cursor;   /* node to try */
	uint32_t failures; /* in a row */
	int64_t retry_ms;
	int64_t starving_ms; /* since when more must be received; 0: something is left to look at */
	int64_t pinged_ms;
	uint64_t id;       /* the node's number for it */
	uint32_t consumed; /* events since the last credit */
	bool caught_up;    /* as the user knows it */
	bool tell_fell_behind;
	struct decode_events batch; /* points into link.in */
	size_t batch_at;
	uint64_t batch_position; /* safe to resume after the whole batch */
	char problem[512];
	struct decode_error end;
};

/* Timers, and what poll(2) found. */
void subscription_work(struct annal_subscription *subscription, short revents);

#endif
