/*
 * Every bound of the project, in one place. What a setting can change is here as its default; what a
 * format fixes is here as it is. Neighbours are tied together below, with the reason.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#include <assert.h>
#include <stdint.h>

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* What a client may send. */
#define LIMIT_MESSAGE_BYTES       (16 * MIB)
#define LIMIT_APPEND_BYTES        (8 * MIB)
#define LIMIT_EVENT_BYTES         (4 * MIB)
#define LIMIT_APPEND_EVENTS       10000u
#define LIMIT_DEPTH               16u
#define LIMIT_MAP_PAIRS           64u /* of params, and of what is listed in them */
#define LIMIT_STREAM_NAME_BYTES   1024u
#define LIMIT_TYPE_BYTES          255u
#define LIMIT_TAG_BYTES           255u
#define LIMIT_TAGS                32u   /* different ones ... */
#define LIMIT_TAGS_GIVEN          64u   /* ... of so many, duplicates included */
#define LIMIT_QUERY_ITEMS         64u   /* of one query ... */
#define LIMIT_QUERY_NAMES         1024u /* ... and in all of them together; of an append's too */
#define LIMIT_CONDITIONS          64u   /* of one append */
#define LIMIT_CONSUMER_BYTES      1024u /* name of a consumer, see storage/system.h */
#define LIMIT_METHOD_NAME_BYTES   64u
#define LIMIT_TIMEOUT_MS_DEFAULT  5000u
#define LIMIT_TIMEOUT_MS_MAX      (3600u * 1000u)
#define LIMIT_READ_EVENTS_DEFAULT 1000u
#define LIMIT_READ_EVENTS         10000u
#define LIMIT_READ_BYTES_DEFAULT  (4 * MIB)
#define LIMIT_CONFLICT_BYTES      (64 * KIB)

/* Connections. */
#define LIMIT_CONNECTIONS        4096u
#define LIMIT_HANDSHAKE_MS       5000u
#define LIMIT_OUT_QUEUE_BYTES    (8 * MIB)
#define LIMIT_NODE_UNSENT_BYTES  (256 * MIB) /* of all connections; beyond, each has less: */
#define LIMIT_PRESSED_OUT_BYTES  (64 * KIB)  /* ... unsent before it waits ... */
#define LIMIT_PRESSED_PAGE_BYTES (256 * KIB) /* ... and in a page, but for a large event */
#define LIMIT_NODE_INPUT_BYTES   (256 * MIB) /* sent by clients, not whole or not answered; beyond, */
#define LIMIT_PRESSED_IN_BYTES   (64 * KIB) /* ... who has more than this of it is read in turns: */
#define LIMIT_INPUT_TURNS        4u         /* ... so many, each until its message is whole */
#define LIMIT_INPUT_NODES        32u        /* connections that are taken for other nodes' */
#define LIMIT_REQUESTS_IN_FLIGHT 4096u      /* of one connection; beyond, its socket is not read */
#define LIMIT_SUBSCRIPTIONS      16384u     /* of one connection */

/* Reads, subscriptions, catching up. */
#define LIMIT_AT_ONCE_RECORDS            256u       /* of one page that the loop makes itself ... */
#define LIMIT_AT_ONCE_BYTES              (64 * KIB) /* ... and in all of one turn of the loop ... */
#define LIMIT_AT_ONCE_TURN_BYTES         (256 * KIB)
#define LIMIT_READ_BYTES                 (LIMIT_MESSAGE_BYTES - 64 * KIB)
#define LIMIT_SESSION_READS              64u         /* of one session on their way at once ... */
#define LIMIT_SESSION_READ_BYTES         (32 * MIB)  /* ... and what their pages may come to */
#define LIMIT_NODE_READ_BYTES            (256 * MIB) /* the same, of all sessions */
#define LIMIT_PAGES_KEPT_BYTES           (16 * MIB)  /* memory of pages, between one and the next */
#define LIMIT_SUBSCRIPTION_BATCH_DEFAULT 500u
#define LIMIT_SUBSCRIPTION_BATCH         10000u
#define LIMIT_SUBSCRIPTION_PAGE_BYTES    (256 * KIB)
#define LIMIT_SUBSCRIPTION_PAGES         16u        /* of history being read at once, on a node */
#define LIMIT_SUBSCRIPTION_UNSENT_BYTES  (4 * MIB)  /* beyond, its session's go back to history */
#define LIMIT_FOLLOWED_BYTES             (64 * MIB) /* queries of subscriptions, on a node */
#define LIMIT_CHECKPOINT_POSITIONS       1000u /* without a match, before a subscriber is told */
#define LIMIT_PULLS_IN_FLIGHT            4u    /* pages asked for ahead while catching up */
#define LIMIT_PULL_RECORDS               4000u /* in each of them */

/* The log. */
#define LIMIT_ENTRY_BYTES          (256 * KIB) /* a batch is closed at this size ... */
#define LIMIT_ENTRY_BYTES_MAX      (9 * MIB)   /* ... and one append never exceeds this */
#define LIMIT_ENTRIES_IN_FLIGHT    8u
#define LIMIT_PROPOSE_QUEUE_BYTES  (64 * MIB)
#define LIMIT_PEER_IN_FLIGHT_BYTES (16 * MIB)
#define LIMIT_LOG_RETAINED_BYTES   (48 * MIB)
#define LIMIT_LOG_TRAILING_BYTES   (16 * MIB)
#define LIMIT_LOG_ENTRIES          150000u /* threshold + trailing + in flight, see raft/guard.h */
#define LIMIT_SEGMENT_BYTES        (64 * MIB)
#define LIMIT_MEMBERS              9u

/* The store. */
#define LIMIT_POSITION           (UINT64_C(1) << 62) /* a million a second: 146,000 years */
#define LIMIT_TAIL_BYTES         (64 * MIB)
#define LIMIT_BLOCK_BYTES        (64 * KIB)
#define LIMIT_STREAM_CACHE_BYTES (32 * MIB) /* what apply knows of streams without a lookup */
#define LIMIT_FLUSH_AGE_MS       2000u      /* of the oldest record that is not durable in tables */
#define LIMIT_SCAN_RECORDS       65536u     /* looked at for one page, when many are skipped */
/* Of an append's conditions, see storage/machine.h: */
#define LIMIT_CONDITION_SCAN                                                                       \
	65536u /* records looked at because no index tells whether they match */
#define LIMIT_CONDITION_SEEKS 262144u      /* in lists that are combined */
#define LIMIT_NAMES           10000u       /* of streams, categories or types in one page */
#define LIMIT_MAP_BYTES       (1024 * GIB) /* sparse: costs address space only */
#define LIMIT_DISK_FREE_BYTES (512 * MIB)  /* below it, writes are refused */

static_assert(LIMIT_EVENT_BYTES <= LIMIT_APPEND_BYTES, "one event is an append");
static_assert(LIMIT_APPEND_BYTES < LIMIT_MESSAGE_BYTES, "an append travels in one message");
static_assert(LIMIT_APPEND_BYTES < LIMIT_ENTRY_BYTES_MAX, "an append is one raft entry");
static_assert(LIMIT_EVENT_BYTES < LIMIT_READ_BYTES, "any event can be read");
static_assert(LIMIT_READ_BYTES <= LIMIT_SESSION_READ_BYTES, "the largest page can be asked for");
static_assert(LIMIT_SESSION_READ_BYTES <= LIMIT_NODE_READ_BYTES, "no session waits for ever");
static_assert(LIMIT_SUBSCRIPTION_UNSENT_BYTES < LIMIT_OUT_QUEUE_BYTES,
	      "subscriptions stop before requests do");
static_assert((LIMIT_MEMBERS - 1) * 4 <= LIMIT_INPUT_NODES,
	      "of each: for what it forwards, asks and pulls, and one more for a while");
static_assert(LIMIT_INPUT_TURNS * 2 * LIMIT_MESSAGE_BYTES < LIMIT_NODE_INPUT_BYTES,
	      "turns alone are not what the bound is exceeded by");
static_assert(LIMIT_PULL_RECORDS <= LIMIT_READ_EVENTS, "a pull is a read");
static_assert(LIMIT_ENTRY_BYTES_MAX < LIMIT_PEER_IN_FLIGHT_BYTES, "the largest entry can be sent");
static_assert(LIMIT_LOG_ENTRIES < 200000, "libraft cannot read a batch of 262,144 entries back");

#endif
