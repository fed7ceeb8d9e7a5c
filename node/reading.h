/*
 * The inside of reads: one read from its arguments to its answer (reader.c), shared by the files that
 * say what each method reads: read.c, names.c, count.c, load.c. See read.h.
 *
 * A method makes a reading of its kind, fills in the arguments, and begins it. Later its kind's run()
 * is called on a worker, and writes the result.
 */
#ifndef NODE_READING_H
#define NODE_READING_H

#include "base/workers.h"
#include "node/node.h"
#include "node/read.h"
#include "node/session.h"
#include "node/table.h"
#include "node/wait.h"
#include "storage/record.h"

#include <stdatomic.h>

struct reading;

enum { READING_AGAIN = 1 };

struct reading_kind {
	/*
	 * On a worker: writes reading->result, one msgpack map. 0; READING_AGAIN: a part is done, to be
	 * called again when others have had their turn; -ENOENT: there is no such thing; else another
	 * negative errno with its message in reading->error.
	 */
	int (*run)(struct reading *reading, struct store *store);
	void (*answer_absent)(
		struct reading *reading); /* on the loop; NULL: there is always something */
	/* Usually done in some microseconds, never READING_AGAIN: may share a worker's turn with others. */
	bool brief;
	/* On the loop: what run() would come to, when that is small and in memory; false: it is not. May be
	 * NULL. */
	bool (*run_at_once)(struct reading *reading, struct store *store);
};

enum reading_place { READING_WAITS, READING_IN_LANE, READING_RUNS };

/* Spans point into the request's params, which live as long as the reading. */
struct reading {
	struct work work;
	struct node_post post;
	struct waiter waiter;
	struct reader *reader;
	struct request *request;         /* the reference that the handler was given */
	struct lane *lane;               /* IN_LANE, RUNS */
	struct reading *next, *previous; /* IN_LANE; `next` alone: of those that share a turn */
	enum reading_place place;
	atomic_bool given_up; /* RUNS: nobody waits for it any more */

	const struct reading_kind *kind;
	struct read_range range; /* bytes_max: what the result may come to; 0: one record */
	struct query query;
	bool with_system;
	struct span stream;
	uint64_t position, version;
	uint8_t id[UUID_BYTES];
	struct name_range names;
	int64_t time;
	struct query_tally tally;

	/* By the worker. */
	int status; /* what run() gave */
	struct buffer result;
	bool is_page; /* the result begins with SESSION_PAGE_HEADROOM bytes */
	uint32_t events;
	struct error error;
};

/* Takes the caller's reference of the request. */
struct reading *reading_new(struct request *request, const struct reading_kind *kind);
/* The arguments are right, or not: then the request has been answered. The reading is taken. */
void reading_begin(struct reading *reading, bool right);
/* `field` is the one that the error has: `stream`, `what`. */
void reading_answer_absent(struct reading *reading, enum answer_code code, const char *message,
			   const char *field, struct span value);

/* ---- read.c: pages ---- */

/* What events of one answer may come to: within LIMIT_READ_BYTES and what a message carries. */
uint64_t read_page_bytes_max(const struct node *node);
/* limit, max_bytes. */
bool read_get_bounds(struct request *request, uint64_t limit_default, struct read_range *range);
void reading_answer_no_stream(struct reading *reading);

/*
 * The records stand in the result where the page put them, between a header of known length and what
 * follows, so "events" comes first: result_page_begin, store_read_*,
 * the other pairs, result_page_end.
 */
void result_page_begin(struct reading *reading, struct page *page);
void result_page_end(struct reading *reading, struct page *page, uint32_t pairs);
void result_u64(struct buffer *into, const char *name, uint64_t value);
void result_place(struct buffer *into, const struct page *page);            /* 3 pairs */
void result_state(struct buffer *into, const struct stream_status *status); /* 3 pairs */

#endif
