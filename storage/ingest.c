/*
 * Ingest: a node that fell behind takes records from a peer instead of commands. The mark in the
 * tables says that applied_index does not tell how far the records go; it is set durably before the
 * first record and taken away in the transaction that makes the last ones durable, so that a crash
 * at any moment leads back into ingesting, at the head that is durable.
 */
#include "base/assert.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "storage/store_inside.h"
#include "storage/system.h"

#include <errno.h>

static void set_ingesting(struct store *store, bool ingesting, uint64_t applied_index)
{
	pthread_rwlock_wrlock(&store->tail.lock);
	store->ingesting = ingesting;
	store->applied_index = applied_index;
	pthread_rwlock_unlock(&store->tail.lock);
}

int store_ingest_begin(struct store *store, struct error *error)
{
	pthread_mutex_lock(&store->apply_lock);
	set_ingesting(store, true, store->applied_index);
	pthread_mutex_unlock(&store->apply_lock);
	return store_flush(store, error);
}

static int refuse(const struct record *record, struct error *error, const char *why,
		  uint64_t wanted)
{
	return error_set(error, -EBADMSG,
			 "ingest: the record at position %llu has %s; %llu is next",
			 (unsigned long long)record->position, why, (unsigned long long)wanted);
}

/* ---- records ---- */

static int check_id(struct store *store, const struct record *record, struct error *error)
{
	uint64_t stored;

	if (system_is_checkpoint_stream(record->stream)) /* their ids are not listed */
		return 0;
	int rc = store_find_id(store, record->id, &stored, error);

	if (rc == 0 && stored != 0)
		return refuse(record, error, "an id that is stored already",
			      store->head.position + 1);
	return rc;
}

/*
 * What is known of a stream after the record. Versions of checkpoints jump over those that the peer
 * has dropped; what is here of them is superseded.
 */
static int check_version(const struct record *record, struct stream_facts *facts,
			 struct error *error)
{
	uint64_t step = record->version > facts->version ? record->version - facts->version : 0;
	bool jumps = step > 1 && system_is_checkpoint_stream(record->stream);

	if (step != 1 && !jumps)
		return refuse(record, error, "another version in its stream", facts->version + 1);
	facts->version = record->version;
	facts->updated = record->created;
	facts->state = STREAM_LIVE;
	if (facts->first_version == 0 || jumps) {
		facts->first_version = record->version;
		facts->created = record->created;
	}
	return 0;
}

/* Whether the record follows the head; then what is known of its stream after it. */
static int check_record(struct store *store, const struct record *record,
			struct stream_facts *facts, bool *is_new, struct error *error)
{
	if (record->position != store->head.position + 1)
		return refuse(record, error, "another position", store->head.position + 1);
	if (record->position > LIMIT_POSITION)
		return refuse(record, error, "a position that no store reaches",
			      store->head.position + 1);
	if (record->version > record->position)
		return refuse(record, error, "a version above its position",
			      store->head.position + 1);
	if (record->created < store->head.created)
		return refuse(record, error, "a time before that of the record before it",
			      store->head.position + 1);
	int rc = store_find_stream(store, record->stream, facts, error);

	*is_new = rc == 0 && facts->version == 0;
	if (rc == 0)
		rc = check_id(store, record, error);
	return rc == 0 ? check_version(record, facts, error) : rc;
}

static void add_record(struct store *store, const struct record *record,
		       const struct stream_facts *facts, bool is_new)
{
	struct span bytes = record->bytes;
	struct tail_record added = {.bytes = bytes.data, .size = (uint32_t)bytes.size};

	added.hash = checksum64_seeded(bytes.data, bytes.size, store->head.hash);
	pthread_rwlock_wrlock(&store->tail.lock);
	tail_add_record(&store->tail, &added, record->stream, facts);
	store->head = (struct machine_head){
		.position = record->position, .created = record->created, .hash = added.hash};
	store->stream_count += is_new;
	if (record->stream.data[0] != '$') {
		store->event_count++;
		store->last_event = record->position;
	}
	pthread_rwlock_unlock(&store->tail.lock);
	if (!MUTANT(CACHE_STALE))
		stream_cache_put(&store->cache, record->stream, facts);
	atomic_store_explicit(&store->head_position, store->head.position, memory_order_release);
}

static int take_record(struct store *store, struct span left, size_t *size, struct error *error)
{
	struct record record;
	struct stream_facts facts;
	bool is_new = false;

	if (record_parse(left, &record) != 0)
		return error_set(error, -EBADMSG,
				 "ingest: what follows position %llu is no whole record",
				 (unsigned long long)store->head.position);
	int rc = check_record(store, &record, &facts, &is_new, error);
	if (rc == 0)
		add_record(store, &record, &facts, is_new);
	*size = record.bytes.size;
	return rc;
}

/* ---- holes ---- */

static int refuse_hole(const struct hole *hole, struct error *error, const char *why)
{
	return error_set(error, -EBADMSG, "ingest: the hole from position %llu to %llu %s",
			 (unsigned long long)hole->first, (unsigned long long)hole->last, why);
}

/*
 * A peer that dropped more than this node may have a hole that begins before the head and ends behind
 * it: what is known of the running hash before it must be the same here.
 */
static int check_hole(struct store *store, const struct hole *hole, struct error *error)
{
	uint64_t before = hole->first - 1, hash = 0;
	int rc = 0;

	if (before > store->head.position || hole->last <= store->head.position)
		return refuse_hole(hole, error, "does not follow the head");
	if (before == store->head.position)
		hash = store->head.hash;
	else if (before > 0)
		rc = store_find_hash(store, before, &hash, error);
	if (rc == -ENODATA) /* in a hole here, too: the hash behind it has the last word */
		return 0;
	if (rc == 0 && hash != hole->hash_before)
		return refuse_hole(hole, error,
				   "follows other records than those that are here (running hash)");
	return rc;
}

static int take_hole(struct store *store, struct span left, size_t *size, struct error *error)
{
	struct hole hole;

	if (hole_parse(left, &hole) != 0)
		return error_set(error, -EBADMSG,
				 "ingest: what follows position %llu is no whole hole",
				 (unsigned long long)store->head.position);
	int rc = check_hole(store, &hole, error);
	if (rc != 0)
		return rc;
	hole.first = store->head.position + 1;
	hole.hash_before = store->head.hash;
	pthread_rwlock_wrlock(&store->tail.lock);
	tail_add_hole(&store->tail, &hole);
	store->head.position = hole.last;
	store->head.hash = hole.hash_after;
	pthread_rwlock_unlock(&store->tail.lock);
	atomic_store_explicit(&store->head_position, store->head.position, memory_order_release);
	*size = HOLE_BYTES;
	return 0;
}

/* ---- both ---- */

static int add_records(struct store *store, struct span left, struct error *error)
{
	while (left.size > 0) {
		size_t size = 0;
		int rc = hole_is_next(left) ? take_hole(store, left, &size, error)
					    : take_record(store, left, &size, error);

		if (rc != 0)
			return rc;
		left = span_of(left.data + size, left.size - size);
	}
	return 0;
}

void store_ingest_horizon(struct store *store, uint64_t horizon)
{
	pthread_mutex_lock(&store->apply_lock);
	pthread_rwlock_wrlock(&store->tail.lock);
	if (horizon > store->horizon)
		store->horizon = horizon;
	pthread_rwlock_unlock(&store->tail.lock);
	pthread_mutex_unlock(&store->apply_lock);
}

static int ingest_locked(struct store *store, struct span records, struct error *error)
{
	if (store->failed)
		return error_set(error, -ESHUTDOWN, "store %s stopped after an error",
				 store->kv->name);
	if (!store->ingesting)
		return error_set(error, -EINVAL, "ingest has not begun");
	if (records.size == 0)
		return 0;
	uint8_t *copy = memory_copy(records.data, records.size);

	pthread_rwlock_wrlock(&store->tail.lock);
	tail_own(&store->tail, copy, records.size);
	pthread_rwlock_unlock(&store->tail.lock);
	int rc = add_records(store, span_of(copy, records.size), error);
	store_end_lookup(store);
	pthread_rwlock_wrlock(&store->tail.lock);
	tail_count_bytes(&store->tail);
	pthread_rwlock_unlock(&store->tail.lock);
	return rc;
}

int store_ingest(struct store *store, struct span records, struct error *error)
{
	pthread_mutex_lock(&store->apply_lock);
	int rc = ingest_locked(store, records, error);
	pthread_mutex_unlock(&store->apply_lock);
	uint64_t bytes = atomic_load_explicit(&store->tail.bytes, memory_order_relaxed);

	if (rc == 0 && bytes >= store->tail_bytes_max / 2)
		rc = store_flush(store, error);
	return rc;
}

static int check_manifest(const struct store *store, const struct manifest *manifest,
			  struct error *error)
{
	const struct machine_head *head = &store->head;

	if (!store->ingesting)
		return error_set(error, -EINVAL, "ingest has not begun");
	if (head->position != manifest->position)
		return error_set(
			error, -EINVAL, "ingested up to position %llu, but the manifest says %llu",
			(unsigned long long)head->position, (unsigned long long)manifest->position);
	if (manifest->position < store->horizon)
		return error_set(
			error, -EINVAL,
			"records that others superseded up to position %llu are not here "
			"any more: a manifest of that position or later is needed, not %llu",
			(unsigned long long)store->horizon, (unsigned long long)manifest->position);
	if (manifest->applied_index < store->applied_index)
		return error_set(error, -EINVAL,
				 "the manifest's index %llu is older than the store's %llu",
				 (unsigned long long)manifest->applied_index,
				 (unsigned long long)store->applied_index);
	if (head->hash != manifest->hash || head->created != manifest->created)
		return error_set(error, -EBADMSG,
				 "the records up to position %llu are not those of the cluster "
				 "(hash %016llx, "
				 "not %016llx): remove this node's data and sync again",
				 (unsigned long long)head->position, (unsigned long long)head->hash,
				 (unsigned long long)manifest->hash);
	if (store->has_identity &&
	    memcmp(store->identity.cluster_id, manifest->cluster_id, CLUSTER_ID_BYTES) != 0)
		return error_set(error, -EINVAL, "the manifest is that of another cluster");
	return 0;
}

int store_ingest_end(struct store *store, const struct manifest *manifest, struct error *error)
{
	pthread_mutex_lock(&store->apply_lock);
	uint64_t applied_before = store->applied_index;
	int rc = check_manifest(store, manifest, error);
	if (rc == 0)
		set_ingesting(store, false, manifest->applied_index);
	pthread_mutex_unlock(&store->apply_lock);
	if (rc != 0)
		return rc;
	store_ingest_horizon(store, manifest->position); /* holes may have come without one */
	rc = store_flush(store, error);
	if (rc != 0) {
		pthread_mutex_lock(&store->apply_lock);
		set_ingesting(store, true, applied_before);
		pthread_mutex_unlock(&store->apply_lock);
	}
	return rc;
}
