/*
 * The queries that live subscriptions follow, found by what a record says: its cost is that of the
 * queries that may match it, however many others there are.
 *
 *   item of a query ─── watch ──► label (kind, name) ◄── looked up ─── record: stream, category, type,
 *                                                                     each tag, each prefix in use
 *
 * An item is watched by one of its parts: its streams; else one of its tags, of which it needs all (the
 * one that the fewest others are watched by); else its categories, or the one that its prefix names;
 * else its types; else its prefix. Who is found by a label is then matched as a whole. Equal queries are
 * one, shared by their subscriptions; all of them together have a bound. Loop thread.
 */
#ifndef NODE_FOLLOWED_H
#define NODE_FOLLOWED_H

#include "node/audience.h"
#include "node/table.h"
#include "storage/query.h"

enum label_kind { LABEL_STREAM, LABEL_TAG, LABEL_CATEGORY, LABEL_TYPE, LABEL_PREFIX, LABEL_KINDS };

struct followed_set {
	struct table queries;
	struct table labels;
	uint32_t label_counts[LABEL_KINDS];
	uint32_t prefix_counts[LIMIT_STREAM_NAME_BYTES +
			       1]; /* labels of prefixes, by their length */
	size_t prefix_bytes_max;
	uint64_t bytes; /* of all queries and their watches */
};

struct watch;

struct followed {
	struct table_link link; /* by its encoding */
	struct audience audience;
	struct query query; /* constant; its names point into `encoded` */
	struct span encoded;
	uint32_t references;
	uint32_t watch_count;
	struct watch *watches;
	uint64_t matched; /* the last record that it was told of: several items may find it */
	uint64_t bytes;
};

void followed_set_init(struct followed_set *set);
void followed_set_close(struct followed_set *set); /* empty */
/*
 * A query with items, copied, or the equal one that is there; NULL: all together would come to more
 * than LIMIT_FOLLOWED_BYTES.
 */
struct followed *followed_hold(struct followed_set *set, const struct query *query);
struct followed *followed_again(struct followed *followed);
void followed_release(struct followed_set *set, struct followed *followed);

/* Whether any of its names is a label. Cheap. */
bool followed_set_concerns(const struct followed_set *set, const struct record *record);
/* Calls matched(arg, …) once for each query with an audience that the record matches. */
void followed_set_match(const struct followed_set *set, const struct record *record,
			void (*matched)(void *arg, struct followed *followed), void *arg);

#endif
