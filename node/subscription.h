/* The inside of subscriptions, shared by subscribe.c and notify.c. See subscribe.h and notify.h. */
#ifndef NODE_SUBSCRIPTION_H
#define NODE_SUBSCRIPTION_H

#include "base/answer.h"
#include "base/buffer.h"
#include "node/audience.h"
#include "node/followed.h"
#include "node/node.h"
#include "node/session.h"
#include "node/table.h"

enum subscription_state {
	SUBSCRIPTION_NEW,
	SUBSCRIPTION_LOCATING, /* a worker looks where its stream ends */
	SUBSCRIPTION_QUEUED,   /* wants a page of history */
	SUBSCRIPTION_READING,  /* a worker reads it */
	SUBSCRIPTION_DRAINING, /* until the session has sent some */
	SUBSCRIPTION_UNPAID,   /* until there is credit */
	SUBSCRIPTION_LIVE,
	SUBSCRIPTION_ENDED,
	SUBSCRIPTION_STATES
};

struct history_page;
struct request;

/* What the subscriptions of one session share; gone with the last of them. */
struct subscriber {
	struct session *session;
	struct subscription *told_last; /* of those in the row of progress.c, NULL: unknown */
	uint32_t count;
};

/* Ten thousand idle ones must be cheap: keep it small. */
struct subscription {
	struct table_link link; /* by number */
	struct subscription *session_next, **session_link;
	struct subscription *place_next,
		**place_link; /* LIVE: among the fed; QUEUED: in the queue */
	struct notifier *notifier;
	struct subscriber *subscriber;
	/* Of both at most one: a stream, a query with items. None: all records. */
	struct topic *topic;
	struct followed *followed;
	struct history_page *page; /* LOCATING, READING */
	struct session_drain drain;
	uint64_t number;
	uint64_t
		position; /* everything up to it was sent; of live ones of an audience: up to `seen` */
	uint64_t version; /* of a topic: of the last event sent or skipped */
	uint64_t told;    /* the last position that the client heard of */
	struct subscription *turn_next, **turn_link; /* LIVE: see progress.c */
	uint64_t allowed;                            /* events that the window still allows */
	uint32_t batch;
	uint32_t told_tick;
	uint8_t state;
	bool windowed;
	bool with_system;
};
static_assert(sizeof(struct subscription) <= 200, "ten thousand of them are cheap");

/* A stream that somebody follows: shared by its subscriptions, gone with the last of them. */
struct topic {
	struct table_link link;
	struct audience audience;
	uint32_t references;
	struct span name; /* behind the struct */
};

/* Records that are handed out together. */
struct feed_entry {
	size_t offset; /* in records */
	uint32_t size;
	bool system;
	bool concerns;       /* a query that is followed, perhaps */
	struct topic *topic; /* NULL: nobody follows its stream */
};

/* That an audience wants an entry. */
struct feed_link {
	uint32_t entry;
	uint32_t next; /* of the same audience: index + 1; 0: none */
};

struct feed {
	struct buffer records;
	struct feed_entry *entries;
	uint32_t count, capacity;
	struct feed_link *links;
	uint32_t link_count, link_capacity;
	struct audience *touched;
	uint64_t last; /* what anybody wants up to this position is in here */
	bool busy;
};

struct feed_page;

struct notifier {
	struct node *node;
	struct table numbers; /* subscriptions */
	struct table topics;
	struct followed_set followed;
	struct progress *progress;
	struct subscription_list live; /* of all records */
	uint32_t live_count;           /* with those of audiences */
	uint32_t live_system_count;    /* of all records, system records too */
	struct subscription_list queue;
	uint32_t pages; /* of history, on workers */
	uint64_t next_number;
	uint64_t seen, target;
	struct feed feed;
	struct feed_page *page; /* being read for the live ones, NULL: none */
	struct buffer message;
	uint64_t events, bytes, fell_behind;
};

/* ---- notify.c ---- */

void subscription_list_add(struct subscription_list *list, struct subscription *subscription);
void subscription_list_remove(struct subscription_list *list, struct subscription *subscription);
struct topic *topic_hold(struct notifier *notifier, struct span name);
void topic_release(struct notifier *notifier, struct topic *topic);
/* The topic of a record, when it has live subscriptions. */
struct topic *topic_followed(const struct notifier *notifier, struct span record);

/* ---- feed.c ---- */

/* Positions looked at in one visit of the tail, whose lock keeps apply waiting. */
#define FEED_RECORDS 1024u
#define FEED_BYTES   (4 * MIB)

void feed_begin(struct notifier *notifier);
void feed_end(struct notifier *notifier);
/* One record, in order: kept when somebody wants it, or may want it. */
void feed_visit(void *notifier, struct span record);
/* Stored records, one after the other; -EBADMSG: they are none. */
int feed_records(struct notifier *notifier, struct span records);
/*
 * All records up to `last` were visited: say who wants which. The position up to which that is so: a
 * feed has a bound, what is behind it comes with the next one.
 */
uint64_t feed_join(struct notifier *notifier, uint64_t last);
/* Fill the feed from the tail with what `only` (not NULL) lacks between its position and `seen`.
 * false: the tail does not reach back that far. feed_end when done. */
bool feed_for_one(struct notifier *notifier, const struct subscription *only);

/* ---- progress.c: those who see nothing are told how far they have come ---- */

struct progress *progress_new(struct notifier *notifier);
void progress_free(
	struct progress *progress); /* its memory goes when the loop has closed its timer */
void progress_enter(struct subscription *subscription); /* LIVE */
void progress_leave(struct subscription *subscription);
void progress_told(struct subscription *subscription); /* LIVE: just now */
void progress_moved(struct progress *progress);        /* `seen` is another one */

/* ---- subscription.c ---- */

/*
 * At the head of the session's list, in state NEW; of a stream, or (`stream` empty) of a query. NULL:
 * so many queries are followed on this node that there is no room for another one.
 */
struct subscription *subscription_new(struct notifier *notifier, struct session *session,
				      struct span stream, const struct query *query);
/* Those that it is fed with; NULL: all records. */
struct audience *subscription_audience(const struct subscription *subscription);
/* From NEW: history from its version or position on; or what comes from its position, a head, on.
 */
void subscription_begin(struct subscription *subscription);
void subscription_begin_at_end(struct subscription *subscription);
/* From NEW, for a stream: find its end, answer the request (held meanwhile), go on from there. */
void subscription_locate(struct subscription *subscription, struct request *request);
void subscription_credit(struct subscription *subscription, uint64_t count);
/* Up to here nothing more is to come. */
uint64_t subscription_cursor(const struct subscription *subscription);
/* LIVE: hand out what the feed has for it. */
void subscription_feed(struct subscription *subscription);
/* LIVE: tell it by a `checkpoint` how far it has come; false: its session does not keep up. */
bool subscription_checkpoint(struct subscription *subscription);
/* Tell the subscriber that it is over, and why; then it ends. */
void subscription_drop(struct subscription *subscription, enum answer_code code,
		       const char *message);
void subscription_end(struct subscription *subscription);

/* ---- subscribe.c ---- */

void subscribe_answer(struct request *request, const struct subscription *subscription,
		      uint64_t head);

#endif
