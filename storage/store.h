/*
 * The store of one node: machine, tail, flush and tables behind one door.
 *
 *             apply thread                       flush thread                 any thread
 *   command ──► machine ──► tail (memory) ──► one big LMDB transaction ◄── reads: LMDB up to the
 *                  │           ▲                                          durable position, the
 *                  └ looks up ─┴─ LMDB                                    tail beyond it
 *
 * Apply is a pure function of (state, index, command). A record is visible to reads from the moment
 * store_apply returns. A flush makes everything applied before it began durable, in order. Reads never
 * block apply for longer than copying a page takes.
 *
 * Threads: apply and ingest from one thread at a time; flush from one thread at a time (it may be
 * another); everything else from any thread.
 *
 * Errors: functions that return int give 0 or a negative errno with a message. -EIO, -EBADMSG (damage:
 * a checksum, a broken invariant of the tables) and -ENOSPC from apply or flush are fatal to the node.
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include "base/limits.h"
#include "storage/manifest.h"
#include "storage/outcome.h"
#include "storage/query.h"

struct store;
struct kv; /* storage/kv.h: LMDB, or memory */

struct store_options {
	struct kv *kv;           /* taken over, also on failure */
	uint64_t tail_bytes_max; /* soft: store_is_full() beyond it */
};

struct store_status {
	uint64_t applied_index; /* raft index of the last command applied */
	uint64_t head;          /* last position applied; 0: none */
	int64_t created;        /* of the record at head */
	uint64_t hash;          /* running hash at head */
	uint64_t durable_index; /* as of the last flush */
	uint64_t durable_position;
	uint64_t tail_bytes, tail_records;
	uint64_t stream_count; /* of all kinds */
	uint64_t event_count;  /* records outside of system streams */
	uint64_t flushes, flushed_records;
	uint64_t flush_ns;   /* time spent in them */
	bool ingesting;      /* records are being pulled: apply is refused, see store_ingest_* */
	uint64_t superseded; /* records of checkpoints that can be dropped, in the tables */
	uint64_t
		horizon; /* what was dropped was superseded by a record up to here; 0: nothing was */
};

int store_open(struct store **store, const struct store_options *options, struct error *error);
void store_close(struct store *store); /* does not flush */
void store_get_status(struct store *store, struct store_status *status);
uint64_t store_head(struct store *store); /* cheap: one atomic load */
bool store_is_full(struct store *store);  /* the tail is over its bound: the leader pushes back */

/* ---- identity: written once, when the directory is made; -ENODATA before ---- */

struct store_identity {
	uint8_t cluster_id[CLUSTER_ID_BYTES];
	uint64_t node_id;
};
int store_get_identity(struct store *store, struct store_identity *identity, struct error *error);
int store_set_identity(struct store *store, const struct store_identity *identity,
		       struct error *error); /* durable when it returns */

/* ---- apply (step 7) ---- */

struct apply_sink {
	/* Told once for each item of a batch, in order, before store_apply returns. NULL: nobody asks. */
	void (*decided)(void *arg, uint32_t item, const struct outcome *outcome);
	void *arg;
};

struct apply_result {
	uint64_t first_position; /* of the records that this command added; 0: none */
	uint64_t last_position;
};

/*
 * Apply the command with this raft index. `take_body` is a command (command.h) in memory of
 * memory_alloc, taken over: its records become part of the tail where they lie. A command whose index
 * is not above applied_index was applied before (replay of the raft log) and is skipped.
 */
/*
 * -EBADMSG: the command is malformed, or the tables are damaged; -EBUSY: records are being ingested.
 * After any error the store is stopped: part of the batch may be applied, so apply and flush answer
 * -ESHUTDOWN from then on.
 */
int store_apply(struct store *store, uint64_t index, uint8_t *take_body, size_t size,
		const struct apply_sink *sink, struct apply_result *result, struct error *error);

/* ---- flush (step 9) ---- */

/* Make all that was applied before the call durable. What it did not find is left to the next one. */
int store_flush(struct store *store, struct error *error);
/* What the last durable transaction says of itself. */
void store_get_manifest(struct store *store, struct manifest *manifest);

/* ---- ingest: records pulled from a peer, instead of commands ---- */

int store_ingest_begin(struct store *store, struct error *error); /* durable mark; again is fine */
/*
 * Stored records and holes (store_read_raw) one after the other, positions following the head; a hole
 * may begin before the head when the peer dropped more than this store. Made durable in batches: after
 * a crash the head may be lower than it was, and ingesting goes on from there. -EBADMSG: something does
 * not follow what is before it (position, version, time, a hole's running hash), or an id is stored
 * already; what is before it is kept.
 */
int store_ingest(struct store *store, struct span records, struct error *error);
/*
 * The holes that follow are of a store with this horizon (store_status): the manifest must be of that
 * position or later, or what a record at the horizon superseded would be missing. Tell it before them.
 */
void store_ingest_horizon(struct store *store, uint64_t horizon);
/*
 * All is there: checks position, time and hash against the manifest, sets applied_index, flushes.
 * -EINVAL: the head is another position than the manifest's, or the manifest is older than the horizon
 * (pull the rest, or use the manifest that belongs to it); -EBADMSG: other records than those of the
 * cluster: the store must be made anew.
 */
int store_ingest_end(struct store *store, const struct manifest *manifest, struct error *error);

/* ---- reads ---- */

struct page {
	struct buffer records; /* stored records are appended here; the caller inits and closes */
	uint32_t count;
	uint64_t next; /* position (version) to go on from */
	bool end;      /* nothing more in this direction as of `head` */
	uint64_t head; /* the head that this page was read at: nothing beyond it is in the page */
};

struct read_range {
	uint64_t from; /* position or version; 0: the first, or the last when backward */
	bool backward;
	uint32_t limit;   /* records, at least 1 */
	size_t bytes_max; /* stop before exceeding it, but return at least one record */
};

struct stream_status {
	enum stream_state state;  /* STREAM_NONE: never existed */
	uint64_t version;         /* of the last event */
	uint64_t first_version;   /* of the first event that is readable */
	uint64_t count;           /* readable events */
	int64_t created, updated; /* ns: of the first and of the last event */
	uint64_t head;
};

int store_read_stream(struct store *store, struct span stream, const struct read_range *range,
		      struct page *page, struct stream_status *status, struct error *error);
/*
 * The same for a page that is small and in memory, without waiting for a lock: true. Else false, whatever the
 * page holds then, and nothing is known.
 */
bool store_read_stream_at_once(struct store *store, struct span stream,
			       const struct read_range *range, struct page *page,
			       struct stream_status *status);
/*
 * with_system: records of `$` streams too. Without them a page can be empty and yet not the end, when
 * LIMIT_SCAN_RECORDS were skipped: go on from `next`.
 */
int store_read_all(struct store *store, const struct read_range *range, bool with_system,
		   struct page *page, struct error *error);
/*
 * The events that match, found by the posting lists of categories, types, tags and streams: what does
 * not match is not read. Only a prefix is checked record by record: then a page can be empty and yet
 * not the end, when LIMIT_SCAN_RECORDS were looked at: go on from `next`. "All" is store_read_all.
 */
int store_read_query(struct store *store, const struct query *query, const struct read_range *range,
		     struct page *page, struct error *error);
/*
 * Count matches, a part at a time so that a caller can stop: from tally->next (begin with zeros) up to
 * tally->head (set by the first call) or a bounded step before it. Done when tally->end.
 */
struct query_tally {
	uint64_t count, next, head;
	bool end;
};
int store_count(struct store *store, const struct query *query, struct query_tally *tally,
		struct error *error);

/* ---- names ---- */

enum name_kind { NAMES_STREAMS, NAMES_CATEGORIES, NAMES_TYPES };

struct name_range {
	enum name_kind kind;
	struct span prefix;   /* empty: all, but for system streams: these need a prefix with '$' */
	struct span category; /* NAMES_STREAMS: of this category only; empty: all */
	struct span after;    /* the last name of the page before; empty: from the first on */
	uint32_t limit;       /* 1 to LIMIT_NAMES */
};

struct name_entry {
	uint32_t offset, size; /* of the name, in text */
	uint64_t count;        /* a stream's version; events of a category or type */
};

/* Names in one fixed order (their bytes, but for those over 400 bytes, see tables.h). */
struct name_page {
	struct buffer entries; /* struct name_entry; the caller inits and closes both */
	struct buffer text;
	uint32_t count;
	bool end;
	uint64_t head;
};
int store_list_names(struct store *store, const struct name_range *range, struct name_page *page,
		     struct error *error);
/* One record appended to `into`; -ENOENT when there is none. */
int store_read_position(struct store *store, uint64_t position, struct buffer *into,
			struct error *error);
int store_read_id(struct store *store, const uint8_t id[UUID_BYTES], struct buffer *into,
		  struct error *error);
int store_read_version(struct store *store, struct span stream, uint64_t version,
		       struct buffer *into, struct error *error);
int store_stream_status(struct store *store, struct span stream, struct stream_status *status,
			struct error *error);
/* The first position whose record was created at that time (ns) or later; head + 1 if there is none. */
int store_position_at(struct store *store, int64_t created, uint64_t *position,
		      struct error *error);
/* The running hash up to a position (0: the head, then *position says which). -ENOENT beyond it. */
int store_digest(struct store *store, uint64_t *position, uint64_t *hash, struct error *error);

/* ---- dropping superseded checkpoints ---- */

/*
 * Superseded checkpoint records (system.h) that are in the tables are dropped: their bytes and list
 * entries (ids they have none in the tables); their positions become holes. One bounded step, in transactions of its own; *again:
 * there is more to do. Flush thread. Cheap to ask: store_wants_trim, after a flush.
 */
bool store_wants_trim(struct store *store);
int store_trim(struct store *store, bool *again, struct error *error);
/*
 * Nothing is dropped between the two, which are counted: for who reads the whole store in many pages,
 * and wants the state of one moment.
 */
void store_hold_trim(struct store *store);
void store_release_trim(struct store *store);

/*
 * Everything as it is kept, forward only: stored records, and where some were dropped a hole, a
 * msgpack array [first u64, last u64, running hash before u64, and after u64] in their place. What
 * catching up and a backup ship, and store_ingest takes. page->next: behind the last one in it.
 */
int store_read_raw(struct store *store, const struct read_range *range, struct page *page,
		   struct error *error);

/*
 * Visit the records first…last that are still in the tail, oldest first, under its lock: copy what is
 * to be kept and return soon. -ENOENT (nobody visited) when `first` is in the tail no more: read pages.
 */
int store_visit_tail(struct store *store, uint64_t first, uint64_t last,
		     void (*visit)(void *arg, struct span record), void *arg);

#endif
