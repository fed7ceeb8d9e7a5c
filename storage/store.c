/* The store: open and close, apply, flush, and what the machine sees of it. */
#include "storage/store.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "storage/ahead.h"
#include "storage/flush.h"
#include "storage/list.h"
#include "storage/pack.h"
#include "storage/store_inside.h"

#include <errno.h>

/* ---- what the machine sees ---- */

int store_lookup_txn(struct store *store, struct kv_txn **txn, struct error *error)
{
	if (store->lookup == NULL) {
		int rc = kv_begin(store->kv, KV_READ, &store->lookup, error);

		if (rc != 0) {
			store->lookup = NULL;
			return rc;
		}
	}
	*txn = store->lookup;
	return 0;
}

void store_end_lookup(struct store *store)
{
	if (store->lookup != NULL)
		kv_abort(store->lookup);
	store->lookup = NULL;
}

int store_find_stream(struct store *store, struct span name, struct stream_facts *facts,
		      struct error *error)
{
	struct kv_txn *txn;
	struct tables_key key;
	struct tables_row row = {0};

	if (stream_cache_get(&store->cache, name, facts))
		return 0;
	if (!tail_find_stream(&store->tail, name, &row.facts) && store->durable.position > 0) {
		int rc = store_lookup_txn(store, &txn, error);

		if (rc == 0)
			rc = tables_get_row(txn, TABLES_STREAMS, name, &key, &row, error);
		if (rc != 0 && rc != -ENOENT)
			return rc;
	}
	*facts = row.facts;
	stream_cache_put(&store->cache, name, facts);
	return 0;
}

/*
 * Ids of version 7 begin with the time: nearly every new one is above all that are stored, and then
 * nothing needs to be looked up. (What is in the tail is found there.)
 */
static bool is_above_stored(const struct store *store, const uint8_t *id)
{
	return tables_id_is_v7(id) && memcmp(id, store->durable.greatest_v7, UUID_BYTES) > 0;
}

int store_find_id(struct store *store, const uint8_t id[UUID_BYTES], uint64_t *position,
		  struct error *error)
{
	struct kv_txn *txn;
	uint64_t found = tail_find_id(&store->tail, id);

	if (found == 0 && store->durable.position > 0 && !is_above_stored(store, id) &&
	    !MUTANT(DUPLICATES_FORGOTTEN)) {
		int rc = store_lookup_txn(store, &txn, error);

		if (rc == 0)
			rc = tables_get_id(txn, id, &found, error);
		if (rc != 0 && rc != -ENOENT)
			return rc;
	}
	*position = found;
	return 0;
}

static int view_find_stream(void *arg, struct span name, struct stream_facts *facts,
			    struct error *error)
{
	return store_find_stream(arg, name, facts, error);
}

static int view_find_id(void *arg, const uint8_t *id, uint64_t *position, struct error *error)
{
	return store_find_id(arg, id, position, error);
}

static int view_read(void *arg, uint64_t position, struct buffer *into, struct error *error)
{
	struct store *store = arg;
	const struct tail_record *record = tail_find(&store->tail, position);
	struct kv_txn *txn;

	if (record != NULL) {
		buffer_append(into, record->bytes, record->size);
		return 0;
	}
	int rc = store_lookup_txn(store, &txn, error);
	if (rc == 0)
		rc = store_get_record(txn, position, into, NULL, error);
	if (rc == -ENOENT)
		rc = tables_damage(store->kv, error,
				   "an index: it points to position %llu, where no record is; it",
				   (unsigned long long)position);
	return rc;
}

static int listed_position(struct store *store, struct span stream, uint64_t version,
			   uint64_t *position, struct error *error)
{
	struct list_reader list;
	struct kv_txn *txn;
	int rc = store_lookup_txn(store, &txn, error);

	if (rc == 0)
		rc = list_reader_open(&list, txn, TABLES_STREAMS, stream, error);
	if (rc == 0) {
		rc = version <= list.row.facts.version
			     ? list_reader_get(&list, version, position, error)
			     : -ENOENT;
		list_reader_close(&list);
	}
	if (rc == -ENOENT)
		rc = tables_damage(
			store->kv, error, "table stream: version %llu of %.*s is missing; it",
			(unsigned long long)version, (int)(stream.size < 100 ? stream.size : 100),
			(const char *)stream.data);
	return rc;
}

static int view_read_version(void *arg, struct span stream, uint64_t version, struct buffer *into,
			     struct error *error)
{
	struct store *store = arg;
	const struct tail_record *record = tail_find_version(&store->tail, stream, version);
	uint64_t position;

	if (record != NULL) {
		buffer_append(into, record->bytes, record->size);
		return 0;
	}
	int rc = listed_position(store, stream, version, &position, error);
	return rc != 0 ? rc : view_read(store, position, into, error);
}

static int view_find_match(void *arg, const struct query *query, uint64_t after,
			   struct match_budget *budget, uint64_t *position, struct error *error)
{
	return store_find_match(arg, query, after, budget, position, error);
}

/* ---- open and close ---- */

static int load_identity(struct store *store, struct kv_txn *txn, struct error *error)
{
	int rc = tables_get_identity(txn, &store->identity, error);

	store->has_identity = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

/* Only a store without records has no state: one that lost it must not pass for new. */
static int check_empty(struct store *store, struct kv_txn *txn, struct error *error)
{
	struct kv_cursor *cursor;
	struct kv_pair pair;
	int rc = kv_cursor_open(txn, KV_BLOCK, &cursor, error);

	if (rc != 0)
		return rc;
	rc = kv_cursor_seek(cursor, KV_FIRST, span_of(NULL, 0), &pair, error);
	kv_cursor_close(cursor);
	if (rc == 0)
		return tables_damage(store->kv, error,
				     "the state of the tables (meta), which is missing,");
	return rc == -ENOENT ? 0 : rc;
}

static int load_state(struct store *store, struct error *error)
{
	struct kv_txn *txn;
	int rc = kv_begin(store->kv, KV_READ, &txn, error);

	if (rc != 0)
		return rc;
	rc = tables_get_state(txn, &store->durable, error);
	if (rc == -ENOENT) {
		store->durable = (struct tables_state){0};
		rc = check_empty(store, txn, error);
	}
	if (rc == 0)
		rc = load_identity(store, txn, error);
	kv_abort(txn);
	return rc;
}

int store_open(struct store **result, const struct store_options *options, struct error *error)
{
	struct store *store = memory_zeroed(1, sizeof *store);
	const struct tables_state *durable = &store->durable;
	struct machine_view view = {.arg = store,
				    .find_stream = view_find_stream,
				    .find_id = view_find_id,
				    .read = view_read,
				    .read_version = view_read_version,
				    .find_match = view_find_match};

	ASSERT(options->tail_bytes_max > 0);
	store->kv = options->kv;
	store->tail_bytes_max = options->tail_bytes_max;
	int rc = load_state(store, error);
	if (rc != 0) {
		kv_close(store->kv);
		memory_free(store);
		return rc;
	}
	store->head = (struct machine_head){
		.position = durable->position, .created = durable->created, .hash = durable->hash};
	store->applied_index = durable->applied_index;
	store->stream_count = durable->lists[TABLES_STREAMS];
	store->event_count = durable->events;
	store->last_event = durable->last_event;
	store->ingesting = durable->ingesting;
	store->horizon = durable->horizon;
	atomic_init(&store->head_position, durable->position);
	pthread_mutex_init(&store->flush_lock, NULL);
	pthread_mutex_init(&store->apply_lock, NULL);
	flush_memory_init(&store->flush_memory);
	tail_init(&store->tail, &store->head);
	stream_cache_init(&store->cache, LIMIT_STREAM_CACHE_BYTES);
	store->machine = machine_new(&view);
	*result = store;
	return 0;
}

void store_close(struct store *store)
{
	ASSERT(store->lookup == NULL);
	machine_free(store->machine);
	matcher_free(&store->matcher);
	buffer_close(&store->counts);
	stream_cache_close(&store->cache);
	tail_close(&store->tail);
	flush_memory_close(&store->flush_memory);
	pthread_mutex_destroy(&store->apply_lock);
	pthread_mutex_destroy(&store->flush_lock);
	kv_close(store->kv);
	memory_free(store);
}

void store_get_status(struct store *store, struct store_status *status)
{
	pthread_rwlock_rdlock(&store->tail.lock);
	*status = (struct store_status){
		.applied_index = store->applied_index,
		.head = store->head.position,
		.created = store->head.created,
		.hash = store->head.hash,
		.durable_index = store->durable.applied_index,
		.durable_position = store->durable.position,
		.tail_bytes = atomic_load_explicit(&store->tail.bytes, memory_order_relaxed),
		.tail_records = tail_records(&store->tail),
		.stream_count = store->stream_count,
		.event_count = store->event_count,
		.flushes = store->flushes,
		.flushed_records = store->flushed_records,
		.flush_ns = store->flush_ns,
		.ingesting = store->ingesting || store->durable.ingesting,
		.superseded = store->durable.superseded,
		.horizon = store->horizon > store->durable.horizon ? store->horizon
								   : store->durable.horizon,
	};
	pthread_rwlock_unlock(&store->tail.lock);
}

uint64_t store_head(struct store *store)
{
	return atomic_load_explicit(&store->head_position, memory_order_acquire);
}

bool store_is_full(struct store *store)
{
	return atomic_load_explicit(&store->tail.bytes, memory_order_relaxed) >
	       store->tail_bytes_max;
}

/* ---- identity ---- */

int store_get_identity(struct store *store, struct store_identity *identity, struct error *error)
{
	pthread_rwlock_rdlock(&store->tail.lock);
	bool has_identity = store->has_identity;
	if (has_identity)
		*identity = store->identity;
	pthread_rwlock_unlock(&store->tail.lock);
	return has_identity ? 0
			    : error_set(error, -ENODATA, "store %s has no identity yet",
					store->kv->name);
}

int store_set_identity(struct store *store, const struct store_identity *identity,
		       struct error *error)
{
	pthread_mutex_lock(&store->flush_lock);
	int rc = store->has_identity ? error_set(error, -EEXIST, "store %s has an identity already",
						 store->kv->name)
				     : tables_write_identity(store->kv, identity, error);
	if (rc == 0) {
		pthread_mutex_lock(&store->apply_lock);
		pthread_rwlock_wrlock(&store->tail.lock);
		store->identity = *identity;
		store->has_identity = true;
		pthread_rwlock_unlock(&store->tail.lock);
		pthread_mutex_unlock(&store->apply_lock);
	}
	pthread_mutex_unlock(&store->flush_lock);
	return rc;
}

/* ---- apply ---- */

struct batch {
	struct store *store;
	uint8_t *body;
	size_t size;
	bool owned; /* by the tail */
	struct apply_result result;
};

/* Make an item's records visible, all at once. */
static void publish(struct batch *batch, const struct machine_decision *decision)
{
	struct store *store = batch->store;

	pthread_rwlock_wrlock(&store->tail.lock);
	if (!batch->owned)
		tail_own(&store->tail, batch->body, batch->size);
	batch->owned = true;
	tail_add(&store->tail, decision);
	tail_count_bytes(&store->tail);
	store->head = decision->head;
	for (uint32_t i = 0; i < decision->write_count; i++) {
		const struct machine_target *target =
			&decision->targets[decision->writes[i].target];

		if (target->name.data[0] == '$')
			continue;
		store->event_count++;
		store->last_event = record_position(decision->writes[i].bytes);
	}
	for (uint32_t i = 0; i < decision->target_count; i++)
		store->stream_count += decision->targets[i].first_version == 1;
	pthread_rwlock_unlock(&store->tail.lock);
	for (uint32_t i = 0; i < decision->target_count; i++)
		if (decision->targets[i].first_version > 0)
			stream_cache_put(&store->cache, decision->targets[i].name,
					 &decision->targets[i].facts);
	if (batch->result.first_position == 0)
		batch->result.first_position = decision->head.position - decision->write_count + 1;
	batch->result.last_position = decision->head.position;
	atomic_store_explicit(&store->head_position, store->head.position, memory_order_release);
}

static int apply_items(struct batch *batch, const struct command *command,
		       const struct apply_sink *sink, struct error *error)
{
	struct store *store = batch->store;
	struct span items = command->items, sections;
	struct ahead ahead;

	ahead_begin(&ahead, &store->tail, &store->cache, items);
	for (uint32_t item = 0; command_next_item(&items, &sections); item++) {
		struct machine_decision decision;

		ahead_step(&ahead, item);
		int rc = machine_decide(store->machine, sections,
					batch->body + (sections.data - batch->body),
					command->created, &store->head, &decision, error);

		if (rc != 0) {
			error_prefix(error, "item %u", item);
			return rc;
		}
		if (decision.write_count > 0)
			publish(batch, &decision);
		if (sink != NULL && sink->decided != NULL)
			sink->decided(sink->arg, item, &decision.outcome);
	}
	return 0;
}

static int check_usable(const struct store *store, struct error *error)
{
	if (store->failed)
		return error_set(error, -ESHUTDOWN, "store %s stopped after an error",
				 store->kv->name);
	return 0;
}

static int unpack(struct batch *batch, struct error *error)
{
	struct span packed = span_of(batch->body, batch->size);

	if (!pack_is_packed(packed))
		return 0;
	int rc = pack_open(packed, &batch->body, &batch->size, error);

	if (rc == 0)
		memory_free((uint8_t *)(uintptr_t)packed.data);
	return rc;
}

static int apply_command(struct batch *batch, uint64_t index, const struct apply_sink *sink,
			 struct error *error)
{
	struct store *store = batch->store;
	struct command command;
	int rc = check_usable(store, error);

	if (rc != 0)
		return rc;
	if (store->ingesting)
		return error_set(error, -EBUSY, "store %s: records are being ingested",
				 store->kv->name);
	if (index <= store->applied_index && !MUTANT(APPLIED_TWICE))
		return 0;
	rc = unpack(batch, error);
	if (rc == 0)
		rc = command_parse(span_of(batch->body, batch->size), &command, error);
	if (rc == 0)
		rc = apply_items(batch, &command, sink, error);
	store_end_lookup(store);
	if (rc != 0) {
		error_prefix(error, "apply index %llu", (unsigned long long)index);
		store->failed = true;
		return rc;
	}
	pthread_rwlock_wrlock(&store->tail.lock);
	store->applied_index = index;
	pthread_rwlock_unlock(&store->tail.lock);
	return 0;
}

int store_apply(struct store *store, uint64_t index, uint8_t *take_body, size_t size,
		const struct apply_sink *sink, struct apply_result *result, struct error *error)
{
	struct batch batch = {.store = store, .body = take_body, .size = size};

	ASSERT(index >= 1);
	pthread_mutex_lock(&store->apply_lock);
	int rc = apply_command(&batch, index, sink, error);
	pthread_mutex_unlock(&store->apply_lock);
	if (!batch.owned)
		memory_free(batch.body);
	if (rc == 0)
		*result = batch.result;
	return rc;
}

/* ---- flush ---- */

/* Freeze what there is; false when nothing has changed since the last flush. */
static bool freeze(struct store *store)
{
	bool changed;

	pthread_mutex_lock(&store->apply_lock);
	changed = store->head.position != store->durable.position ||
		  store->applied_index != store->durable.applied_index ||
		  store->ingesting != store->durable.ingesting;
	if (changed) {
		pthread_rwlock_wrlock(&store->tail.lock);
		tail_freeze(&store->tail, &store->head);
		pthread_rwlock_unlock(&store->tail.lock);
		store->frozen = store->durable;
		store->frozen.applied_index = store->applied_index;
		store->frozen.position = store->head.position;
		store->frozen.created = store->head.created;
		store->frozen.hash = store->head.hash;
		store->frozen.events = store->event_count;
		store->frozen.last_event = store->last_event;
		store->frozen.ingesting = store->ingesting;
		if (store->horizon > store->frozen.horizon)
			store->frozen.horizon = store->horizon;
	}
	pthread_mutex_unlock(&store->apply_lock);
	return changed;
}

static void finish_flush(struct store *store, const struct tables_state *stored, int64_t started_ns)
{
	pthread_mutex_lock(&store->apply_lock);
	pthread_rwlock_wrlock(&store->tail.lock);
	struct tail_generation *generation = tail_drop(&store->tail);
	store->durable = *stored;
	store->flushes++;
	store->flushed_records += generation->count;
	store->flush_ns += (uint64_t)(clock_monotonic_ns() - started_ns);
	pthread_rwlock_unlock(&store->tail.lock);
	pthread_mutex_unlock(&store->apply_lock);
	tail_recycle(&store->tail, generation);
}

static int flush_frozen(struct store *store, struct error *error)
{
	struct tables_state state = store->frozen;
	int64_t started_ns = clock_monotonic_ns();
	int rc = flush_generation(store->kv, store->tail.frozen, &store->flush_memory, &state,
				  error);

	if (rc != 0) {
		error_prefix(error, "flush");
		return rc;
	}
	finish_flush(store, &state, started_ns);
	return 0;
}

static bool has_failed(struct store *store)
{
	pthread_mutex_lock(&store->apply_lock);
	bool failed = store->failed;
	pthread_mutex_unlock(&store->apply_lock);
	return failed;
}

int store_flush(struct store *store, struct error *error)
{
	int rc = 0;

	pthread_mutex_lock(&store->flush_lock);
	if (has_failed(store))
		rc = error_set(error, -ESHUTDOWN, "store %s stopped after an error",
			       store->kv->name);
	if (rc == 0 && store->tail.frozen != NULL) /* a flush that failed before */
		rc = flush_frozen(store, error);
	if (rc == 0 && freeze(store))
		rc = flush_frozen(store, error);
	pthread_mutex_unlock(&store->flush_lock);
	return rc;
}

void store_get_manifest(struct store *store, struct manifest *manifest)
{
	pthread_rwlock_rdlock(&store->tail.lock);
	*manifest = (struct manifest){
		.applied_index = MUTANT(MANIFEST_AHEAD) ? store->applied_index
							: store->durable.applied_index,
		.position = store->durable.position,
		.created = store->durable.created,
		.hash = store->durable.hash,
	};
	memcpy(manifest->cluster_id, store->identity.cluster_id, CLUSTER_ID_BYTES);
	pthread_rwlock_unlock(&store->tail.lock);
}
