/*
 * Ingest: a node that fell behind takes records from a peer instead of commands. The mark in the
 * tables says that applied_index does not tell how far the records go; it is set durably before the
 * first record and taken away in the transaction that makes the last ones durable, so that a crash
 * at any moment leads back into ingesting, at the head that is durable.
 */
#include "base/assert.h"
#include "base/checksum.h"
#include "base/memory.h"
#include "storage/store_inside.h"

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

/* Whether the record follows the head; then what is known of its stream after it. */
static int check_record(struct store *store, const struct record *record,
			struct stream_facts *facts, struct error *error)
{
	uint64_t stored;
	int rc = store_find_stream(store, record->stream, facts, error);

	if (rc == 0)
		rc = store_find_id(store, record->id, &stored, error);
	if (rc != 0)
		return rc;
	if (record->position != store->head.position + 1)
		return refuse(record, error, "another position", store->head.position + 1);
	if (record->version != facts->version + 1)
		return refuse(record, error, "another version in its stream", facts->version + 1);
	if (record->created < store->head.created)
		return refuse(record, error, "a time before that of the record before it",
			      store->head.position + 1);
	if (stored != 0)
		return refuse(record, error, "an id that is stored already",
			      store->head.position + 1);
	facts->version = record->version;
	facts->updated = record->created;
	facts->state = STREAM_LIVE;
	if (facts->first_version == 0) {
		facts->first_version = record->version;
		facts->created = record->created;
	}
	return 0;
}

static void add_record(struct store *store, const struct record *record,
		       const struct stream_facts *facts)
{
	struct span bytes = record->bytes;
	struct tail_record added = {.bytes = bytes.data, .size = (uint32_t)bytes.size};

	added.hash = checksum64_seeded(bytes.data, bytes.size, store->head.hash);
	pthread_rwlock_wrlock(&store->tail.lock);
	tail_add_record(&store->tail, &added, record->stream, facts);
	store->head = (struct machine_head){
		.position = record->position, .created = record->created, .hash = added.hash};
	store_count_record(store, record->stream, facts);
	pthread_rwlock_unlock(&store->tail.lock);
	stream_cache_put(&store->cache, record->stream, facts);
	atomic_store_explicit(&store->head_position, store->head.position, memory_order_release);
}

static int add_records(struct store *store, struct span left, struct error *error)
{
	while (left.size > 0) {
		struct record record;
		struct stream_facts facts;

		if (record_parse(left, &record) != 0)
			return error_set(error, -EBADMSG,
					 "ingest: what follows position %llu is no whole record",
					 (unsigned long long)store->head.position);
		int rc = check_record(store, &record, &facts, error);
		if (rc != 0)
			return rc;
		add_record(store, &record, &facts);
		left.data += record.bytes.size;
		left.size -= record.bytes.size;
	}
	return 0;
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
	rc = store_flush(store, error);
	if (rc != 0) {
		pthread_mutex_lock(&store->apply_lock);
		set_ingesting(store, true, applied_before);
		pthread_mutex_unlock(&store->apply_lock);
	}
	return rc;
}
