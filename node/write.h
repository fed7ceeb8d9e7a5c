/*
 * Writes on the node that leads (steps 3 to 5 and 8 of the data path): what append, checkpoint_* and
 * snapshot_* share. What they differ in is their kind.
 *
 *   method ─ route_to_leader ─► here ─ write_begin ─► make ─► replica_propose
 *                                                                │
 *               answered ◄─ decided (loop) ◄─ encode (apply thread, while the outcome is there)
 *
 * A request whose deadline passes meanwhile is answered TIMEOUT {outcome: "unknown"}; the write lives on
 * until it is done. Loop thread, but for `encode` and the worker.
 */
#ifndef NODE_WRITE_H
#define NODE_WRITE_H

#include "base/workers.h"
#include "node/node.h"
#include "node/request.h"
#include "node/table.h"

struct write;

struct write_kind {
	size_t bytes; /* of the struct that begins with a struct write; zeroed when it is made */
	/* The method's way in on the node that leads; takes the reference. */
	void (*here)(struct request *request);
	/* From the arguments to write->item. False: the request has been answered. */
	bool (*make)(struct write *write);
	/* Apply thread: sets write->code, and writes the answer: a result for OK, else an error. */
	void (*encode)(struct write *write, const struct outcome *outcome);
	/* The answer is there: ends in write_answer(), now or later. NULL: it is given. */
	void (*decided)(struct write *write);
};

struct write {
	struct proposal proposal; /* first */
	const struct write_kind *kind;
	struct request *request; /* one reference; its params live as long as the write */
	struct buffer item;      /* storage/command.h; untouched by what is decided */
	struct buffer answer;
	enum answer_code code; /* of the answer */
	struct work work;
	struct node_post post;
};

/* Make it and propose it; takes the reference. For a kind that does not begin with something else. */
void write_begin(struct request *request, const struct write_kind *kind);

void write_free_spare(struct node *node); /* what is kept for further ones, when the node ends */
struct write *write_new(struct request *request, const struct write_kind *kind);
/* write->item is made: propose it. Refusals are answered. Takes the write. */
void write_propose(struct write *write);
/* Give the answer that is written. Takes the write. */
void write_answer(struct write *write);
/* It has been answered otherwise, or nobody waits. Takes the write. */
void write_end(struct write *write);

/*
 * For encode: the result {}. To a node that forwarded the request it tells `log_position`, so that later
 * reads of that connection see what was written; METHOD_EMPTY has it taken out there (route.c).
 */
void write_result_empty(struct write *write, const struct outcome *outcome);

/* Run on a worker; it ends in write_come_back. */
void write_on_worker(struct write *write, void (*run)(struct work *work));
struct write *write_of_work(struct work *work);
/* On the worker, at last: `then` runs on the loop. */
void write_come_back(struct write *write, void (*then)(struct node_post *post));
struct write *write_of_post(struct node_post *post);

#endif
