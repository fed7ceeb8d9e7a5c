/*
 * The inside of a store, shared by store.c, ingest.c and the files that read.
 *
 * Locks, in the order in which they are taken: flush_lock, apply_lock, tail.lock. What says "apply"
 * below changes under the apply lock and the tail's lock held for writing, so either is enough to
 * look.
 *
 * A read transaction that is begun under the tail's lock shows every record before the tail's
 * first, and none beyond the head: LMDB and tail together are one consistent state. Whoever holds
 * the lock begins with KV_READ_TRY (see kv_lmdb.c), and whoever holds a transaction does not ask
 * for the lock; but for apply, which begins before it takes the tail's lock.
 */
#ifndef STORAGE_STORE_INSIDE_H
#define STORAGE_STORE_INSIDE_H

#include "storage/flush.h"
#include "storage/matcher.h"
#include "storage/store.h"
#include "storage/stream_cache.h"
#include "storage/tables.h"
#include "storage/tail.h"

struct store {
	struct kv *kv;
	uint64_t tail_bytes_max;
	pthread_mutex_t flush_lock;
	pthread_mutex_t apply_lock;
	struct tail tail;
	struct machine *machine;   /* under the apply lock */
	struct stream_cache cache; /* the same */
	struct kv_txn *lookup; /* the same: open during store_apply and store_ingest, when needed */
	struct matcher matcher; /* the same: of conditions */
	struct buffer counts;   /* the same, see condition.c */
	bool failed;            /* the same */

	struct machine_head head; /* apply */
	uint64_t applied_index;   /* apply */
	uint64_t stream_count;    /* apply */
	uint64_t event_count;     /* apply */
	uint64_t last_event;      /* apply: position */
	bool ingesting;           /* apply */
	uint64_t horizon;         /* apply: that was told while ingesting; see tables.h */
	bool has_identity;        /* apply */
	struct store_identity identity;
	struct tables_state durable;      /* apply: as of the last flush */
	struct flush_memory flush_memory; /* under flush_lock */
	struct tables_state frozen; /* under flush_lock: what the frozen generation leads to */
	uint64_t flushes, flushed_records, flush_ns;
	atomic_uint_fast64_t head_position;
	atomic_uint_fast64_t trim_holds; /* who wants nothing dropped for now */
};

/* ---- lookups at the head, under the apply lock; 0 or an operating error ---- */

int store_find_stream(struct store *store, struct span name, struct stream_facts *facts,
		      struct error *error);
int store_find_id(struct store *store, const uint8_t id[UUID_BYTES], uint64_t *position,
		  struct error *error);
/* The transaction of these lookups; store_end_lookup ends it, too. */
int store_lookup_txn(struct store *store, struct kv_txn **txn, struct error *error);
void store_end_lookup(struct store *store);
/* The first event behind `after` that matches; *position 0: none. -E2BIG: see machine.h, find_match. */
int store_find_match(struct store *store, const struct query *query, uint64_t after,
		     struct match_budget *budget, uint64_t *position, struct error *error);

/* The running hash at a position that is not beyond the head; -ENODATA: it is in a hole. */
int store_find_hash(struct store *store, uint64_t position, uint64_t *hash, struct error *error);

/* Append the stored record, checked. -ENOENT without a message; hash may be NULL. */
int store_get_record(struct kv_txn *txn, uint64_t position, struct buffer *into, uint64_t *hash,
		     struct error *error);

#endif
