/* The tail: generations of applied records in memory. */
#include "storage/tail.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"

#define RECORDS_MIN 64u
#define STREAMS_MIN 16u

/* ---- a generation ---- */

static struct tail_generation *generation_new(const struct machine_head *head)
{
	struct tail_generation *generation = memory_zeroed(1, sizeof *generation);

	generation->first_position = head->position + 1;
	generation->hash_before = head->hash;
	map_init(&generation->names);
	buffer_init(&generation->bodies);
	return generation;
}

void tail_generation_free(struct tail_generation *generation)
{
	uint8_t **bodies = (uint8_t **)(void *)generation->bodies.data;
	size_t count = generation->bodies.size / sizeof bodies[0];

	for (size_t i = 0; i < count; i++)
		memory_free(bodies[i]);
	for (uint32_t i = 0; i < generation->names.count; i++)
		if (generation->streams[i].capacity > 0)
			memory_free(generation->streams[i].places.many);
	buffer_close(&generation->bodies);
	map_close(&generation->names);
	memory_free(generation->records);
	memory_free(generation->streams);
	memory_free(generation->id_slots);
	memory_free(generation);
}

static uint64_t generation_bytes(const struct tail_generation *generation)
{
	return generation->body_bytes + generation->stream_bytes + generation->bodies.capacity +
	       map_bytes(&generation->names) +
	       (uint64_t)generation->capacity * sizeof generation->records[0] +
	       (uint64_t)generation->streams_capacity * sizeof generation->streams[0] +
	       (uint64_t)generation->id_slots_count * sizeof generation->id_slots[0];
}

/* ---- ids ---- */

static uint32_t id_slot(const uint8_t *id, uint32_t mask)
{
	return (uint32_t)hash64(id, UUID_BYTES) & mask;
}

static void put_id(struct tail_generation *generation, uint32_t index)
{
	uint32_t mask = generation->id_slots_count - 1;
	uint32_t slot = id_slot(record_id(generation->records[index].bytes), mask);

	while (generation->id_slots[slot] != 0)
		slot = (slot + 1) & mask;
	generation->id_slots[slot] = index + 1;
}

static void grow_ids(struct tail_generation *generation)
{
	memory_free(generation->id_slots);
	generation->id_slots_count = generation->capacity * 2;
	generation->id_slots =
		memory_zeroed(generation->id_slots_count, sizeof generation->id_slots[0]);
	for (uint32_t i = 0; i < generation->count; i++)
		put_id(generation, i);
}

static uint64_t find_id(const struct tail_generation *generation, const uint8_t *id)
{
	if (generation->count == 0)
		return 0;
	uint32_t mask = generation->id_slots_count - 1;

	for (uint32_t slot = id_slot(id, mask); generation->id_slots[slot] != 0;
	     slot = (slot + 1) & mask) {
		uint32_t index = generation->id_slots[slot] - 1;

		if (memcmp(record_id(generation->records[index].bytes), id, UUID_BYTES) == 0)
			return generation->first_position + index;
	}
	return 0;
}

/* ---- streams ---- */

static uint32_t *places_of(struct tail_stream *stream)
{
	return stream->capacity > 0 ? stream->places.many : stream->places.few;
}

const uint32_t *tail_stream_places(const struct tail_stream *stream)
{
	return stream->capacity > 0 ? stream->places.many : stream->places.few;
}

static void add_place(struct tail_generation *generation, struct tail_stream *stream,
		      uint32_t place)
{
	if (stream->capacity == 0 && stream->count == TAIL_FEW) {
		uint32_t *many = memory_alloc(2 * TAIL_FEW * 2 * sizeof many[0]);

		memcpy(many, stream->places.few, sizeof stream->places.few);
		stream->places.many = many;
		stream->capacity = 2 * TAIL_FEW * 2;
		generation->stream_bytes += stream->capacity * sizeof many[0];
	} else if (stream->capacity > 0 && stream->count == stream->capacity) {
		generation->stream_bytes += stream->capacity * sizeof(uint32_t);
		stream->capacity *= 2;
		stream->places.many =
			memory_resize(stream->places.many, stream->capacity * sizeof(uint32_t));
	}
	places_of(stream)[stream->count++] = place;
}

static uint32_t find_or_add_stream(struct tail_generation *generation, struct span name,
				   uint64_t first_version)
{
	uint32_t next = generation->names.count;
	uint32_t index = (uint32_t)*map_put(&generation->names, name, next);

	if (index != next)
		return index;
	if (next == generation->streams_capacity) {
		generation->streams_capacity = next == 0 ? STREAMS_MIN : next * 2;
		generation->streams =
			memory_resize(generation->streams,
				      generation->streams_capacity * sizeof generation->streams[0]);
	}
	generation->streams[next] = (struct tail_stream){.first_version = first_version};
	return next;
}

const struct tail_stream *tail_generation_stream(const struct tail_generation *generation,
						 struct span name)
{
	const uint64_t *index = generation->count > 0 ? map_get(&generation->names, name) : NULL;

	return index != NULL ? &generation->streams[*index] : NULL;
}

/* ---- the tail ---- */

void tail_init(struct tail *tail, const struct machine_head *head)
{
	pthread_rwlockattr_t attributes;

	/* Readers come all the time: apply must not wait for a moment without any. */
	pthread_rwlockattr_init(&attributes);
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&tail->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	tail->active = generation_new(head);
	tail->frozen = NULL;
	atomic_init(&tail->bytes, 0);
}

void tail_close(struct tail *tail)
{
	if (tail->frozen != NULL)
		tail_generation_free(tail->frozen);
	tail_generation_free(tail->active);
	pthread_rwlock_destroy(&tail->lock);
}

void tail_own(struct tail *tail, uint8_t *take_body, size_t size)
{
	buffer_append(&tail->active->bodies, &take_body, sizeof take_body);
	tail->active->body_bytes += size;
}

void tail_add_record(struct tail *tail, const struct tail_record *record, struct span stream,
		     const struct stream_facts *facts)
{
	struct tail_generation *generation = tail->active;

	ASSERT(record_position(record->bytes) == generation->first_position + generation->count);
	if (generation->count == generation->capacity) {
		generation->capacity = generation->count == 0 ? RECORDS_MIN : generation->count * 2;
		generation->records = memory_resize(
			generation->records, generation->capacity * sizeof generation->records[0]);
		grow_ids(generation);
	}
	uint32_t index = generation->count++;
	uint32_t number = find_or_add_stream(generation, stream, record_version(record->bytes));

	generation->records[index] = *record;
	generation->records[index].stream = number;
	generation->streams[number].facts = *facts;
	add_place(generation, &generation->streams[number], index);
	put_id(generation, index);
}

void tail_add(struct tail *tail, const struct machine_decision *decision)
{
	for (uint32_t i = 0; i < decision->write_count; i++) {
		const struct machine_write *write = &decision->writes[i];
		const struct machine_target *target = &decision->targets[write->target];
		struct tail_record record = {
			.bytes = write->bytes, .size = write->size, .hash = write->hash};

		tail_add_record(tail, &record, target->name, &target->facts);
	}
}

void tail_freeze(struct tail *tail, const struct machine_head *head)
{
	ASSERT(tail->frozen == NULL);
	ASSERT(tail->active->first_position + tail->active->count == head->position + 1);
	tail->frozen = tail->active;
	tail->active = generation_new(head);
}

struct tail_generation *tail_drop(struct tail *tail)
{
	struct tail_generation *dropped = tail->frozen;

	ASSERT(dropped != NULL);
	tail->frozen = NULL;
	tail_count_bytes(tail);
	return dropped;
}

void tail_count_bytes(struct tail *tail)
{
	uint64_t bytes = generation_bytes(tail->active);

	if (tail->frozen != NULL)
		bytes += generation_bytes(tail->frozen);
	atomic_store_explicit(&tail->bytes, bytes, memory_order_relaxed);
}

/* ---- looking ---- */

uint64_t tail_first_position(const struct tail *tail)
{
	return tail->frozen != NULL ? tail->frozen->first_position : tail->active->first_position;
}

uint64_t tail_records(const struct tail *tail)
{
	return tail->active->count + (tail->frozen != NULL ? tail->frozen->count : 0u);
}

static const struct tail_record *find_in(const struct tail_generation *generation,
					 uint64_t position)
{
	if (position < generation->first_position ||
	    position - generation->first_position >= generation->count)
		return NULL;
	return &generation->records[position - generation->first_position];
}

const struct tail_record *tail_find(const struct tail *tail, uint64_t position)
{
	const struct tail_record *record = find_in(tail->active, position);

	if (record == NULL && tail->frozen != NULL)
		record = find_in(tail->frozen, position);
	return record;
}

uint64_t tail_find_id(const struct tail *tail, const uint8_t id[UUID_BYTES])
{
	uint64_t position = find_id(tail->active, id);

	if (position == 0 && tail->frozen != NULL)
		position = find_id(tail->frozen, id);
	return position;
}

bool tail_find_stream(const struct tail *tail, struct span name, struct stream_facts *facts)
{
	const struct tail_stream *stream = tail_generation_stream(tail->active, name);

	if (stream == NULL && tail->frozen != NULL)
		stream = tail_generation_stream(tail->frozen, name);
	if (stream == NULL)
		return false;
	*facts = stream->facts;
	return true;
}

static const struct tail_record *find_version_in(const struct tail_generation *generation,
						 struct span name, uint64_t version)
{
	const struct tail_stream *stream = tail_generation_stream(generation, name);

	if (stream == NULL || version < stream->first_version ||
	    version - stream->first_version >= stream->count)
		return NULL;
	return &generation->records[tail_stream_places(stream)[version - stream->first_version]];
}

const struct tail_record *tail_find_version(const struct tail *tail, struct span name,
					    uint64_t version)
{
	const struct tail_record *record = find_version_in(tail->active, name, version);

	if (record == NULL && tail->frozen != NULL)
		record = find_version_in(tail->frozen, name, version);
	return record;
}
