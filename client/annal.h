/*
 * annal: client of a replicated event store. Link with -lannal.
 *
 * Purpose    append events to streams, read them, follow them, look after a cluster.
 * Threads    a client, and everything that came from it, is used by one thread at a time. There are
 *            no locks, no threads and no signals inside; take one client for each thread.
 * Ownership  what a function returns as a pointer to a struct with a ..._free function is the
 *            caller's. Everything else that a result points into belongs to the client and lives
 *            until the next call on it. Arguments are only read during the call.
 * Errors     every function that can fail returns a code: ANNAL_OK (0), an answer of the cluster,
 *            or one of the client's own. annal_client_error() has the sentence and the fields.
 * Time       every call has a deadline (timeout_ms, default 5000). Until then it is tried again when
 *            that is safe: no leader, overloaded, node not ready, connection lost. Appends carry
 *            ids, so that one tried again is never stored twice.
 * Session    reads see what this client wrote and never go back in time, whichever node answers,
 *            unless `session=off`.
 * Callbacks  run inside annal_poll() and inside blocking calls, never before the call that took them
 *            has returned. They may start asynchronous calls, but not blocking ones.
 * Limits     4,096 calls in flight for each client, 32 nodes; the store's own are in annal_server.
 */
#ifndef ANNAL_H
#define ANNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ANNAL_API __attribute__((visibility("default")))

#define ANNAL_ID_BYTES      16
#define ANNAL_ID_TEXT_BYTES 37 /* with the closing zero */
#define ANNAL_ADDRESS_BYTES 272

/* A run of bytes that somebody else owns. Not zero-terminated. */
struct annal_bytes {
	const void *data;
	size_t size;
};

ANNAL_API struct annal_bytes annal_text(const char *text); /* its bytes without the zero */

/* ---- errors ---- */

enum annal_code {
	ANNAL_OK = 0,
	/* Answers of the cluster, with their names on the wire. */
	ANNAL_INVALID_ARGUMENT,
	ANNAL_UNKNOWN_METHOD,
	ANNAL_TOO_LARGE,
	ANNAL_WRONG_EXPECTED_VERSION,
	ANNAL_CONDITION_FAILED,
	ANNAL_EVENT_ID_CONFLICT,
	ANNAL_CHECKPOINT_CONFLICT,
	ANNAL_STREAM_NOT_FOUND,
	ANNAL_STREAM_DELETED,
	ANNAL_STREAM_TOMBSTONED,
	ANNAL_NOT_FOUND,
	ANNAL_NOT_LEADER,
	ANNAL_NO_LEADER,
	ANNAL_TIMEOUT, /* see outcome_unknown */
	ANNAL_OVERLOADED,
	ANNAL_NOT_READY,
	ANNAL_UNAUTHENTICATED,
	ANNAL_ACCESS_DENIED,
	ANNAL_SHUTTING_DOWN,
	ANNAL_INTERNAL,
	/* The client's own. */
	ANNAL_UNREACHABLE,   /* no node could be reached in time; see outcome_unknown */
	ANNAL_BAD_ANSWER,    /* a node answered with something that is no answer */
	ANNAL_MISUSE,        /* this call is not allowed now: the message says why */
	ANNAL_UNKNOWN_ERROR, /* an answer with a code of a later version: the message has it */
};

/* "WRONG_EXPECTED_VERSION"; never NULL. */
ANNAL_API const char *annal_code_name(enum annal_code code);

struct annal_event {
	uint64_t position;  /* in the store: 1, 2, 3, … with gaps */
	uint64_t version;   /* in its stream: 1, 2, 3, … */
	int64_t created_ns; /* since 1970 UTC */
	uint8_t id[ANNAL_ID_BYTES];
	struct annal_bytes stream, type, data, metadata;
	const struct annal_bytes *tags;
	size_t tags_count;
};

/* What is expected of a stream. */
enum annal_expect_kind {
	ANNAL_EXPECT_ANY,
	ANNAL_EXPECT_NO_STREAM,
	ANNAL_EXPECT_STREAM_EXISTS,
	ANNAL_EXPECT_VERSION,
};

struct annal_expect {
	enum annal_expect_kind kind;
	uint64_t version; /* ANNAL_EXPECT_VERSION */
};

/* One expectation that failed. */
struct annal_violation {
	uint64_t index; /* of the write, or of the check behind all writes */
	struct annal_bytes stream;
	struct annal_expect expect;
	uint64_t actual;          /* version */
	struct annal_bytes state; /* "live", "deleted", … */
};

/* What failed. Fields that the code does not have are 0 or empty. */
struct annal_error {
	enum annal_code code;
	char message[512];
	bool outcome_unknown; /* it may still happen; doing it again with the same ids is safe */
	uint64_t retry_after_ms;
	uint64_t position;         /* CONDITION_FAILED, CHECKPOINT_CONFLICT */
	uint64_t version;          /* EVENT_ID_CONFLICT */
	uint64_t epoch;            /* CHECKPOINT_CONFLICT */
	uint64_t index;            /* CONDITION_FAILED: of the condition */
	uint64_t limit, size;      /* TOO_LARGE */
	uint64_t head, wanted;     /* NOT_READY */
	uint64_t leader_id;        /* NOT_LEADER */
	struct annal_bytes leader; /* NOT_LEADER: its address */
	struct annal_bytes argument, stream, what, consumer, id;
	const struct annal_violation *violations; /* WRONG_EXPECTED_VERSION: all of them */
	size_t violations_count;
	const struct annal_event
		*events; /* with want_conflict_events: those not seen, oldest first */
	size_t events_count;
};

/* ---- client ---- */

struct annal_client;

/*
 * annal://HOST:PORT[,HOST:PORT…][/][?OPTION=VALUE[&…]]      (values are percent-decoded)
 *
 *   timeout_ms=N      of each call, 1 to 3600000 (default 5000)
 *   read_from=WHERE   leader (default), follower or any: which node is asked when there is a choice
 *   session=on|off    reads see own writes and never go back (default on)
 *   follow=on|off     also ask nodes that are not in the URL but named by the cluster (default on)
 *   client=NAME       how this program is called in the node's log
 *   user= password= token=   sent with the greeting
 *
 * Opens nothing yet: connections are made, and made again, when they are needed. Returns NULL for a
 * bad URL, with the reason in `message` (cut to `size` bytes; may be NULL).
 */
ANNAL_API struct annal_client *annal_client_new(const char *url, char *message, size_t size);

/* Closes everything. Callbacks of calls still in flight run with ANNAL_MISUSE. NULL is allowed.
 * Subscriptions and iterators of the client must be freed before. */
ANNAL_API void annal_client_free(struct annal_client *client);

/* The error of the last call that failed. Valid until the next call on the client. */
ANNAL_API const struct annal_error *annal_client_error(const struct annal_client *client);

/* The highest position this client knows of: the token for reading its own writes elsewhere. */
ANNAL_API uint64_t annal_client_position(const struct annal_client *client);

/* Raise that position, e.g. to one that another client handed over. */
ANNAL_API void annal_client_observe(struct annal_client *client, uint64_t position);

/* A new event id (UUID version 7). Any thread. */
ANNAL_API void annal_new_id(uint8_t id[ANNAL_ID_BYTES]);
ANNAL_API void annal_id_format(const uint8_t id[ANNAL_ID_BYTES], char text[ANNAL_ID_TEXT_BYTES]);
ANNAL_API bool annal_id_parse(const char *text, uint8_t id[ANNAL_ID_BYTES]);

/* ---- append ---- */

/* An event to append. Zeroed fields are left out; without id one is drawn. */
struct annal_new_event {
	const uint8_t *id; /* ANNAL_ID_BYTES, or NULL */
	const char *type;
	struct annal_bytes data, metadata;
	const char *const *tags;
	size_t tags_count;
};

struct annal_write {
	const char *stream;
	struct annal_expect expect;
	const struct annal_new_event *events;
	size_t events_count;
};

/* An expectation on a stream that is not written. */
struct annal_check {
	const char *stream;
	struct annal_expect expect;
};

struct annal_strings {
	const char *const *items;
	size_t count;
};

/* All parts that are present must hold. */
struct annal_query_item {
	struct annal_strings types;      /* the type is one of them */
	struct annal_strings tags;       /* the event has all of them */
	struct annal_strings categories; /* one of them */
	struct annal_strings streams;    /* one of them */
	const char *stream_prefix;
};

/* An event matches when any item matches; without items, every event does. */
struct annal_query {
	const struct annal_query_item *items;
	size_t count;
};

/* The append fails when an event at a position > after matches. */
struct annal_condition {
	struct annal_query fail_if;
	uint64_t after;
};

/* How far a consumer has come. */
struct annal_checkpoint {
	const char *consumer;
	uint64_t position;
	uint64_t epoch; /* one that is lower than the stored one is refused; 0: none */
};

/*
 * One atomic append to one stream or several. Zeroed fields are left out. Without writes it needs
 * checks or a checkpoint; it has no event ids then by which a second attempt would know the first.
 */
struct annal_append {
	const struct annal_write *writes; /* in this order in the log */
	size_t writes_count;
	const struct annal_check *checks;
	size_t checks_count;
	const struct annal_condition *conditions;
	size_t conditions_count;
	const struct annal_checkpoint *checkpoint; /* stored in the same atomic step */
	bool want_conflict_events; /* a conflict tells the events not seen, up to 64 KiB */
	uint32_t timeout_ms;       /* 0: that of the client */
};

struct annal_stream_version {
	struct annal_bytes stream;
	uint64_t version; /* of its last event now */
};

struct annal_append_result {
	uint64_t first_position, position; /* of the first and the last event; 0 without any */
	uint64_t first_version, version;   /* with one write only */
	int64_t created_ns;
	bool duplicate; /* it was stored before: these are the answers from then */
	const struct annal_stream_version *versions;
	size_t versions_count;
};

/* Append and wait until it is on stable storage of a majority. `result` may be NULL. */
ANNAL_API enum annal_code annal_append(struct annal_client *client,
				       const struct annal_append *append,
				       struct annal_append_result *result);

/* The same for some events of one stream. */
ANNAL_API enum annal_code annal_append_stream(struct annal_client *client, const char *stream,
					      struct annal_expect expect,
					      const struct annal_new_event *events, size_t count,
					      struct annal_append_result *result);

/* `result` is NULL unless code is ANNAL_OK; `error` is NULL then. Both are gone afterwards. */
typedef void annal_append_done(void *arg, enum annal_code code,
			       const struct annal_append_result *result,
			       const struct annal_error *error);

/*
 * Start an append; annal_poll() sends it and calls `done`. Appends are sent in the order in which
 * they were started, but when one is tried again it may come behind others: to be certain of their
 * order, start the second one in `done` of the first. ANNAL_MISUSE when 4,096 are in flight.
 */
ANNAL_API enum annal_code annal_append_async(struct annal_client *client,
					     const struct annal_append *append,
					     annal_append_done *done, void *arg);

/* Send, receive, call back; waits up to `timeout_ms` for something to happen (0: does not wait).
 * Returns how many callbacks ran. */
ANNAL_API size_t annal_poll(struct annal_client *client, uint32_t timeout_ms);

ANNAL_API size_t annal_in_flight(const struct annal_client *client);

/* ---- read ---- */

enum annal_consistency {
	ANNAL_CONSISTENCY_SESSION,      /* sees what this client knows of; see `session` */
	ANNAL_CONSISTENCY_LOCAL,        /* what the node has applied */
	ANNAL_CONSISTENCY_LINEARIZABLE, /* sees every append acknowledged before */
};

struct annal_read {
	const char *stream;              /* NULL: the whole store */
	const struct annal_query *query; /* of the whole store; NULL: everything */
	uint64_t from;                   /* version or position; 0: the first, backward: the last */
	bool backward;
	bool system;        /* of the whole store: system records too */
	uint32_t limit;     /* events in a page, 1 to 10000; 0: 1000 */
	uint64_t max_bytes; /* of a page; 0: the node's choice, an iterator's 512 KiB */
	enum annal_consistency consistency;
	uint32_t timeout_ms; /* 0: that of the client */
};

struct annal_page {
	const struct annal_event *events;
	size_t count;
	uint64_t next;                   /* `from` of the next page */
	bool end;                        /* there is no next page now */
	uint64_t head;                   /* last position that the node had applied */
	uint64_t version, first_version; /* of a stream */
	struct annal_bytes state;        /* of a stream: "live", "deleted", "tombstoned" */
};

/* One page. The caller frees it. ANNAL_STREAM_NOT_FOUND for a stream that never existed. */
ANNAL_API enum annal_code annal_read(struct annal_client *client, const struct annal_read *read,
				     struct annal_page **page);
ANNAL_API void annal_page_free(struct annal_page *page); /* NULL is allowed */

/* `page` is NULL unless code is ANNAL_OK; `error` is NULL then. Both are gone afterwards. */
typedef void annal_read_done(void *arg, enum annal_code code, const struct annal_page *page,
			     const struct annal_error *error);

/* Start a read of one page; annal_poll() sends it and calls `done`. Reads that are in flight
 * together may be answered in any order. ANNAL_MISUSE when 4,096 calls are in flight. */
ANNAL_API enum annal_code annal_read_async(struct annal_client *client,
					   const struct annal_read *read, annal_read_done *done,
					   void *arg);

/* Event by event, page by page; `limit` of the read counts events in a page, not in all. While the events of
 * a page are looked at, the next one is on its way, unless the read is linearizable: it counts in
 * annal_in_flight(). */
struct annal_iterator;
ANNAL_API struct annal_iterator *annal_iterate(struct annal_client *client,
					       const struct annal_read *read);
/* *event is NULL at the end, else valid until the next call. */
ANNAL_API enum annal_code annal_iterator_next(struct annal_iterator *iterator,
					      const struct annal_event **event);
ANNAL_API void annal_iterator_free(struct annal_iterator *iterator); /* NULL is allowed */

/* A page with the one event, or ANNAL_NOT_FOUND. */
ANNAL_API enum annal_code annal_read_position(struct annal_client *client, uint64_t position,
					      struct annal_page **page);
ANNAL_API enum annal_code annal_read_id(struct annal_client *client,
					const uint8_t id[ANNAL_ID_BYTES], struct annal_page **page);
ANNAL_API enum annal_code annal_read_version(struct annal_client *client, const char *stream,
					     uint64_t version, struct annal_page **page);

struct annal_stream_info {
	struct annal_bytes state;
	uint64_t version, first_version, count;
	int64_t created_ns, updated_ns;
	uint64_t head;
};

ANNAL_API enum annal_code annal_stream_info(struct annal_client *client, const char *stream,
					    struct annal_stream_info *info);

/* How many events there are for a query (NULL: all). */
ANNAL_API enum annal_code annal_count(struct annal_client *client, const struct annal_query *query,
				      uint64_t *count);

/* The first position whose `created` is not before that time (ns since 1970 UTC); behind the head
 * when there is none. */
ANNAL_API enum annal_code annal_position_at(struct annal_client *client, int64_t time_ns,
					    uint64_t *position);

/* ---- names ---- */

/* Names in order of their bytes, a page at a time. Zeroed fields are left out. */
struct annal_list {
	const char *prefix;       /* only names that begin with it */
	const char *category;     /* of streams: only those of that category */
	struct annal_bytes after; /* only names behind it: `next` of the page before */
	uint32_t limit;           /* names in a page, 1 to 10000; 0: the node's choice */
};

struct annal_name {
	struct annal_bytes name;
	uint64_t number; /* the version of a stream; of a category or type: its events */
};

struct annal_names {
	const struct annal_name *items;
	size_t count;
	struct annal_bytes next; /* `after` of the next page */
	bool end;                /* there is no next page */
	uint64_t head;
};

ANNAL_API enum annal_code annal_list_streams(struct annal_client *client,
					     const struct annal_list *list,
					     struct annal_names **names);
ANNAL_API enum annal_code annal_list_categories(struct annal_client *client,
						const struct annal_list *list,
						struct annal_names **names);
ANNAL_API enum annal_code annal_list_types(struct annal_client *client,
					   const struct annal_list *list,
					   struct annal_names **names);
ANNAL_API void annal_names_free(struct annal_names *names); /* NULL is allowed */

/* ---- checkpoints ---- */

/*
 * Store how far a consumer has come. With `if_position` (NULL: whatever it is) only when the stored
 * position is that one, none stored counting as 0. ANNAL_CHECKPOINT_CONFLICT when it is not, or when
 * the epoch is lower than the stored one; the error has what is stored.
 */
ANNAL_API enum annal_code annal_checkpoint_put(struct annal_client *client,
					       const struct annal_checkpoint *checkpoint,
					       const uint64_t *if_position);

struct annal_checkpoint_info {
	struct annal_bytes consumer;
	uint64_t position, epoch;
	int64_t updated_ns;
};

/* ANNAL_NOT_FOUND when there is none. */
ANNAL_API enum annal_code annal_checkpoint_get(struct annal_client *client, const char *consumer,
					       struct annal_checkpoint_info *info);
ANNAL_API enum annal_code annal_checkpoint_delete(struct annal_client *client,
						  const char *consumer);

struct annal_checkpoints {
	const struct annal_checkpoint_info *items;
	size_t count;
	struct annal_bytes next; /* `after` of the next page */
	bool end;                /* there is no next page */
	uint64_t head;
};

ANNAL_API enum annal_code annal_checkpoint_list(struct annal_client *client,
						const struct annal_list *list,
						struct annal_checkpoints **checkpoints);
ANNAL_API void annal_checkpoints_free(struct annal_checkpoints *checkpoints); /* NULL is allowed */

/* ---- snapshots ---- */

/* What the first `version` events of a stream come to. */
struct annal_snapshot {
	uint64_t version;
	struct annal_bytes type, data;
	int64_t created_ns;
};

/* The stream must have reached that version. `type` and `data` may be empty. */
ANNAL_API enum annal_code annal_snapshot_put(struct annal_client *client, const char *stream,
					     const struct annal_snapshot *snapshot);
/* The last one of a version up to `max_version` (0: any), or ANNAL_NOT_FOUND. */
ANNAL_API enum annal_code annal_snapshot_get(struct annal_client *client, const char *stream,
					     uint64_t max_version, struct annal_snapshot *snapshot);
/* All that the stream has. */
ANNAL_API enum annal_code annal_snapshot_delete(struct annal_client *client, const char *stream);

/* A stream as its last snapshot and the events behind that. */
struct annal_aggregate {
	const struct annal_snapshot *snapshot; /* NULL: there is none */
	const struct annal_event *events;
	size_t count;
	uint64_t version; /* of the stream */
	uint64_t next;    /* when not `end`: annal_read() goes on from here */
	bool end;
	uint64_t head;
};

/* In one round trip. ANNAL_STREAM_NOT_FOUND for a stream that never existed. */
ANNAL_API enum annal_code annal_load(struct annal_client *client, const char *stream,
				     struct annal_aggregate **aggregate);
ANNAL_API void annal_aggregate_free(struct annal_aggregate *aggregate); /* NULL is allowed */

/* ---- subscribe ---- */

struct annal_subscribe {
	const char *stream;              /* NULL: the whole store */
	const struct annal_query *query; /* of the whole store; NULL: everything */
	uint64_t after;                  /* version or position already seen; 0: from the start */
	bool from_end;                   /* only events that come from now on */
	uint32_t window;                 /* events on their way at most; 0: 1024 */
	uint32_t timeout_ms;             /* of annal_subscribe(); 0: that of the client */
};

enum annal_item_kind {
	ANNAL_ITEM_NONE,        /* nothing came in time */
	ANNAL_ITEM_EVENT,       /* the next event: in order, none left out, none repeated */
	ANNAL_ITEM_CAUGHT_UP,   /* history is done: what follows is new */
	ANNAL_ITEM_FELL_BEHIND, /* back to history */
	ANNAL_ITEM_CHECKPOINT,  /* nothing matched for a while: safe to resume after `position` */
};

struct annal_item {
	enum annal_item_kind kind;
	struct annal_event event; /* ANNAL_ITEM_EVENT; valid until the next call */
	uint64_t position;        /* in the store; 0 when nothing was delivered yet */
};

struct annal_subscription;

/* Waits until a node has accepted it. From then on it survives the loss of nodes by itself, going
 * on where it was on another node. It has a connection of its own: a slow reader slows nothing
 * else. */
ANNAL_API enum annal_code annal_subscribe(struct annal_client *client,
					  const struct annal_subscribe *subscribe,
					  struct annal_subscription **subscription);

/* Wait up to timeout_ms for the next item. While no node can be reached it is ANNAL_ITEM_NONE. An
 * error other than ANNAL_MISUSE ends the subscription: the stream is gone, access was withdrawn. */
ANNAL_API enum annal_code annal_subscription_next(struct annal_subscription *subscription,
						  uint32_t timeout_ms, struct annal_item *item);

/* The node that serves it now, "" when none. Valid until the next call. */
ANNAL_API const char *annal_subscription_node(const struct annal_subscription *subscription);
ANNAL_API void annal_subscription_free(struct annal_subscription *subscription); /* NULL: allowed */

/* ---- cluster and node ---- */

enum annal_target {
	ANNAL_TARGET_READ,   /* as read_from says; tried again on other nodes */
	ANNAL_TARGET_LEADER, /* the leader if known; tried again only when nothing happened */
};

/*
 * Any method of the protocol. `params` is a msgpack map (empty: none); `timeout_ms` in it sets the
 * deadline. `result` is msgpack, whole and at most 16 levels deep. No session guarantee is added.
 */
ANNAL_API enum annal_code annal_call(struct annal_client *client, enum annal_target target,
				     const char *method, struct annal_bytes params,
				     struct annal_bytes *result);

struct annal_server {
	struct annal_bytes version, cluster, role, leader;
	uint64_t protocol, node_id, leader_id, head;
	uint64_t max_event, max_append, max_message, max_depth;
};

ANNAL_API enum annal_code annal_hello(struct annal_client *client, struct annal_server *server);

struct annal_pong {
	int64_t time_ns;
	uint64_t head;
	struct annal_bytes role;
};

ANNAL_API enum annal_code annal_ping(struct annal_client *client, struct annal_pong *pong);

/* The running hash over every record up to `position` (0: the last): equal on all nodes. */
ANNAL_API enum annal_code annal_digest(struct annal_client *client, uint64_t *position,
				       struct annal_bytes *hash);

struct annal_backup {
	struct annal_bytes path;
	uint64_t position; /* everything up to it is in the file */
	uint64_t bytes;    /* of the file */
};

/*
 * Write everything that a node keeps into one file on that node's disk, while it works. Which node:
 * with `read_from=any&follow=off` in the URL the first one there. The answer comes when the file is
 * whole, so it wants a long timeout_ms (0: that of the client). It is never asked for twice:
 * ANNAL_OVERLOADED, when that node writes one already, comes at once.
 */
ANNAL_API enum annal_code annal_backup(struct annal_client *client, const char *path,
				       uint32_t timeout_ms, struct annal_backup *backup);

/* `backup` is NULL unless code is ANNAL_OK; `error` is NULL then. Both are gone afterwards. */
typedef void annal_backup_done(void *arg, enum annal_code code, const struct annal_backup *backup,
			       const struct annal_error *error);

/* Start one; annal_poll() calls `done`. Meanwhile the gauges backup_position and backup_wanted of
 * the method `stats` say how far it is. Freeing the client gives it up. */
ANNAL_API enum annal_code annal_backup_async(struct annal_client *client, const char *path,
					     uint32_t timeout_ms, annal_backup_done *done,
					     void *arg);

#define ANNAL_NODES_MAX 32

/* What a node knows of one member; ANNAL_ABSENT where it does not know. */
#define ANNAL_ABSENT UINT64_MAX
struct annal_member {
	uint64_t id;
	struct annal_bytes address, client_address, role, state;
	uint64_t match, head, lag, last_contact_ms;
};

struct annal_cluster_status {
	struct annal_bytes cluster;
	uint64_t term, leader_id; /* leader_id 0: none known */
	uint64_t head, commit_index, applied_index;
	struct annal_member nodes[ANNAL_NODES_MAX];
	size_t nodes_count;
};

ANNAL_API enum annal_code annal_cluster_status(struct annal_client *client,
					       struct annal_cluster_status *status);

/* Roles: "voter", "standby", "spare"; role NULL: the node's default. id 0 in transfer: any. */
ANNAL_API enum annal_code annal_cluster_add(struct annal_client *client, uint64_t id,
					    const char *peer_address, const char *client_address,
					    const char *role);
ANNAL_API enum annal_code annal_cluster_assign(struct annal_client *client, uint64_t id,
					       const char *role);
ANNAL_API enum annal_code annal_cluster_remove(struct annal_client *client, uint64_t id);
ANNAL_API enum annal_code annal_cluster_transfer(struct annal_client *client, uint64_t id);

#ifdef __cplusplus
}
#endif

#endif
