/* The tail: generations of applied records in memory. */
#include "storage/tail.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "storage/system.h"

#define RECORDS_MIN    64u
#define NAMES_MIN      16u
#define PREFETCH_AHEAD 4u
#define SPARE_PART_MIN 8 /* arrays that were filled to less than this part are not kept */

#define SLOTS_EACH 2u /* for each record that there is room for */

/* ---- a generation ---- */

static struct tail_generation *generation_new(const struct machine_head *head)
{
	struct tail_generation *generation = memory_zeroed(1, sizeof *generation);

	generation->first_position = generation->next_position = head->position + 1;
	generation->hash_before = head->hash;
	for (int kind = 0; kind < TABLES_LISTS; kind++)
		map_init(&generation->names[kind].map);
	buffer_init(&generation->bodies);
	buffer_init(&generation->holes);
	return generation;
}

static struct tail_list *list_at(const struct tail_generation *generation, enum tables_list kind,
				 uint32_t index)
{
	ASSERT(index < generation->names[kind].map.count);
	return kind == TABLES_STREAMS ? &generation->streams[index].list
				      : &generation->names[kind].lists[index];
}

static void free_lists(struct tail_generation *generation, enum tables_list kind)
{
	struct tail_names *names = &generation->names[kind];

	for (uint32_t i = 0; i < names->map.count; i++) {
		struct tail_list *list = list_at(generation, kind, i);

		if (list->capacity > 0)
			memory_free(list->places.many);
	}
	memory_free(names->lists);
	map_close(&names->map);
}

static void generation_free(struct tail_generation *generation)
{
	uint8_t **bodies = (uint8_t **)(void *)generation->bodies.data;
	size_t count = generation->bodies.size / sizeof bodies[0];

	for (size_t i = 0; i < count; i++)
		memory_free(bodies[i]);
	for (int kind = 0; kind < TABLES_LISTS; kind++)
		free_lists(generation, (enum tables_list)kind);
	buffer_close(&generation->bodies);
	buffer_close(&generation->holes);
	memory_free(generation->records);
	memory_free(generation->streams);
	memory_free(generation->id_slots);
	memory_free(generation);
}

/* What its records would have grown to. Arrays used again may be larger: they must not make it look full. */
static uint64_t capacity_needed(const struct tail_generation *generation)
{
	uint64_t capacity = generation->count == 0 ? 0 : RECORDS_MIN;

	while (capacity < generation->count)
		capacity *= 2;
	return capacity;
}

static uint64_t generation_bytes(const struct tail_generation *generation)
{
	uint64_t capacity = capacity_needed(generation);
	uint64_t bytes = generation->body_bytes + generation->list_bytes +
			 generation->bodies.capacity + generation->holes.capacity +
			 capacity * sizeof generation->records[0] +
			 capacity * SLOTS_EACH * sizeof generation->id_slots[0];

	for (int kind = 0; kind < TABLES_LISTS; kind++) {
		const struct tail_names *names = &generation->names[kind];
		size_t each = kind == TABLES_STREAMS ? sizeof generation->streams[0]
						     : sizeof names->lists[0];

		bytes += map_bytes(&names->map) + (uint64_t)names->capacity * each;
	}
	return bytes;
}

/* ---- ids ---- */

static uint64_t *id_slot(const struct tail_generation *generation, uint32_t number)
{
	return &generation->id_slots[number & (generation->id_slots_count - 1)];
}

static void fill_slot(struct tail_generation *generation, uint64_t content)
{
	uint32_t number = (uint32_t)(content >> 32);

	while (*id_slot(generation, number) != 0)
		number++;
	*id_slot(generation, number) = content;
}

static void put_id(struct tail_generation *generation, uint32_t place)
{
	const uint8_t *record = generation->records[place].bytes, *id = record_id(record);

	if (system_is_checkpoint_record(record))
		return;
	fill_slot(generation, hash64(id, UUID_BYTES) << 32 | (place + 1));
	if (tables_id_is_v7(id) && memcmp(id, generation->greatest_v7, UUID_BYTES) > 0)
		memcpy(generation->greatest_v7, id, UUID_BYTES);
}

/* Written at once: fresh pages that are first read and then written are brought in twice. */
static uint64_t *empty_slots(uint32_t count)
{
	uint64_t *slots = memory_alloc(count * sizeof slots[0]);

	memset(slots, 0, count * sizeof slots[0]);
	return slots;
}

static void grow_ids(struct tail_generation *generation)
{
	uint64_t *before = generation->id_slots;
	uint32_t before_count = generation->id_slots_count;

	generation->id_slots_count = generation->capacity * SLOTS_EACH;
	generation->id_slots = empty_slots(generation->id_slots_count);
	for (uint32_t i = 0; i < before_count; i++)
		if (before[i] != 0)
			fill_slot(generation, before[i]);
	memory_free(before);
}

/* `number`: the low half of the id's hash. */
static uint64_t find_id(const struct tail_generation *generation, const uint8_t *id,
			uint32_t number)
{
	if (generation->count == 0)
		return 0;
	for (uint32_t at = number; *id_slot(generation, at) != 0; at++) {
		uint64_t content = *id_slot(generation, at);
		uint32_t place = (uint32_t)content - 1;

		if (content >> 32 == number &&
		    memcmp(record_id(generation->records[place].bytes), id, UUID_BYTES) == 0)
			return tail_position(generation, place);
	}
	return 0;
}

static bool is_above_all(const struct tail_generation *generation, const uint8_t *id)
{
	return tables_id_is_v7(id) && memcmp(id, generation->greatest_v7, UUID_BYTES) > 0;
}

/* ---- lists ---- */

static void add_place(struct tail_generation *generation, struct tail_list *list, uint32_t place)
{
	if (list->capacity == 0 && list->count == TAIL_FEW) {
		uint32_t *many = memory_alloc(2 * TAIL_FEW * 2 * sizeof many[0]);

		memcpy(many, list->places.few, sizeof list->places.few);
		list->places.many = many;
		list->capacity = 2 * TAIL_FEW * 2;
		generation->list_bytes += list->capacity * sizeof many[0];
	} else if (list->capacity > 0 && list->count == list->capacity) {
		generation->list_bytes += list->capacity * sizeof(uint32_t);
		list->capacity *= 2;
		list->places.many =
			memory_resize(list->places.many, list->capacity * sizeof(uint32_t));
	}
	uint32_t *places = list->capacity > 0 ? list->places.many : list->places.few;

	places[list->count++] = place;
}

/* The index of a name; *added: it is new, and has an empty list. */
static uint32_t find_or_add_name(struct tail_generation *generation, enum tables_list kind,
				 struct span name, bool *added)
{
	struct tail_names *names = &generation->names[kind];
	uint32_t next = names->map.count;
	uint32_t index = (uint32_t)*map_put(&names->map, name, next);

	*added = index == next;
	if (!*added)
		return index;
	if (next == names->capacity) {
		names->capacity = next == 0 ? NAMES_MIN : next * 2;
		if (kind == TABLES_STREAMS)
			generation->streams =
				memory_resize(generation->streams,
					      names->capacity * sizeof generation->streams[0]);
		else
			names->lists = memory_resize(names->lists,
						     names->capacity * sizeof names->lists[0]);
	}
	if (kind == TABLES_STREAMS)
		generation->streams[next] = (struct tail_stream){0};
	else
		names->lists[next] = (struct tail_list){0};
	return next;
}

static uint32_t category_of(struct tail_generation *generation, struct span stream)
{
	struct span category = text_category(stream);
	bool added;

	if (stream.data[0] == '$')
		return TAIL_SYSTEM;
	if (category.size == 0)
		return TAIL_NO_CATEGORY;
	return find_or_add_name(generation, TABLES_CATEGORIES, category, &added);
}

static void add_label(struct tail_generation *generation, enum tables_list kind, struct span name,
		      uint32_t place)
{
	bool added;
	uint32_t index = find_or_add_name(generation, kind, name, &added);
	struct tail_list *list = &generation->names[kind].lists[index];

	/* A tag that is twice on a record is listed once. */
	if (list->count == 0 || tail_places(list)[list->count - 1] != place)
		add_place(generation, list, place);
}

static void add_labels(struct tail_generation *generation, uint32_t category,
		       const struct tail_record *bytes, uint32_t place)
{
	struct record record;
	int rc = record_parse(span_of(bytes->bytes, bytes->size), &record);

	ASSERT(rc == 0);
	if (category != TAIL_NO_CATEGORY)
		add_place(generation, &generation->names[TABLES_CATEGORIES].lists[category], place);
	add_label(generation, TABLES_TYPES, record.type, place);
	for (uint32_t i = 0; i < record.tag_count; i++)
		add_label(generation, TABLES_TAGS, record.tags[i], place);
}

static void add_to_lists(struct tail_generation *generation, uint32_t place, struct span name,
			 const struct stream_facts *facts)
{
	const struct tail_record *record = &generation->records[place];
	bool added;
	uint32_t index = find_or_add_name(generation, TABLES_STREAMS, name, &added);
	struct tail_stream *stream = &generation->streams[index];

	if (added) {
		stream->first_version = record_version(record->bytes);
		stream->category = category_of(generation, name);
	} else {
		/* Versions of a checkpoint's stream may jump over what was dropped: the last counts. */
		stream->first_version = record_version(record->bytes) - stream->list.count;
	}
	stream->facts = *facts;
	add_place(generation, &stream->list, place);
	if (stream->category != TAIL_SYSTEM)
		add_labels(generation, stream->category, record, place);
}

const struct tail_list *tail_list(const struct tail_generation *generation, enum tables_list kind,
				  uint32_t index)
{
	return list_at(generation, kind, index);
}

const struct tail_list *tail_find_list(const struct tail_generation *generation,
				       enum tables_list kind, struct span name)
{
	const uint64_t *index = map_get(&generation->names[kind].map, name);

	return index != NULL ? list_at(generation, kind, (uint32_t)*index) : NULL;
}

static const struct tail_stream *find_stream(const struct tail_generation *generation,
					     struct span name)
{
	const uint64_t *index = map_get(&generation->names[TABLES_STREAMS].map, name);

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
	tail->spare = (struct tail_arrays){0};
	atomic_init(&tail->bytes, 0);
}

void tail_close(struct tail *tail)
{
	if (tail->frozen != NULL)
		generation_free(tail->frozen);
	generation_free(tail->active);
	memory_free(tail->spare.records);
	memory_free(tail->spare.id_slots);
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

	ASSERT(record_position(record->bytes) == generation->next_position);
	if (generation->count == generation->capacity) {
		generation->capacity = generation->count == 0 ? RECORDS_MIN : generation->count * 2;
		generation->records = memory_resize(
			generation->records, generation->capacity * sizeof generation->records[0]);
		grow_ids(generation);
	}
	uint32_t place = generation->count++;

	generation->next_position++;
	generation->records[place] = *record;
	add_to_lists(generation, place, stream, facts);
	put_id(generation, place);
}

void tail_add(struct tail *tail, const struct machine_decision *decision)
{
	for (uint32_t i = 0; i < decision->write_count; i++) {
		if (i + PREFETCH_AHEAD < decision->write_count)
			tail_prefetch_id(tail,
					 record_id(decision->writes[i + PREFETCH_AHEAD].bytes));
		const struct machine_write *write = &decision->writes[i];
		const struct machine_target *target = &decision->targets[write->target];
		struct tail_record record = {
			.bytes = write->bytes, .size = write->size, .hash = write->hash};

		tail_add_record(tail, &record, target->name, &target->facts);
	}
}

static struct tail_hole *holes_of(const struct tail_generation *generation, size_t *count)
{
	*count = generation->holes.size / sizeof(struct tail_hole);
	return (struct tail_hole *)(void *)generation->holes.data;
}

void tail_add_hole(struct tail *tail, const struct hole *hole)
{
	struct tail_generation *generation = tail->active;
	struct tail_hole added = {.hole = *hole, .place = generation->count};

	ASSERT(hole->first == generation->next_position && hole->last >= hole->first);
	buffer_append(&generation->holes, &added, sizeof added);
	generation->next_position = hole->last + 1;
}

void tail_freeze(struct tail *tail, const struct machine_head *head)
{
	ASSERT(tail->frozen == NULL);
	ASSERT(tail->active->next_position == head->position + 1);
	tail->frozen = tail->active;
	tail->active = generation_new(head);
	tail->active->capacity = tail->spare.capacity;
	tail->active->records = tail->spare.records;
	tail->active->id_slots_count = tail->spare.capacity * SLOTS_EACH;
	tail->active->id_slots = tail->spare.id_slots;
	tail->spare = (struct tail_arrays){0};
}

struct tail_generation *tail_drop(struct tail *tail)
{
	struct tail_generation *dropped = tail->frozen;

	ASSERT(dropped != NULL);
	tail->frozen = NULL;
	tail_count_bytes(tail);
	return dropped;
}

void tail_recycle(struct tail *tail, struct tail_generation *dropped)
{
	ASSERT(tail->spare.records == NULL && dropped != tail->frozen);
	if (dropped->count > 0 && dropped->count >= dropped->capacity / SPARE_PART_MIN) {
		memset(dropped->id_slots, 0, dropped->id_slots_count * sizeof dropped->id_slots[0]);
		tail->spare = (struct tail_arrays){.capacity = dropped->capacity,
						   .records = dropped->records,
						   .id_slots = dropped->id_slots};
		dropped->records = NULL;
		dropped->id_slots = NULL;
	}
	generation_free(dropped);
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

uint32_t tail_place(const struct tail_generation *generation, uint64_t position)
{
	uint32_t low = 0, high = generation->count;

	if (position <= generation->first_position)
		return 0;
	if (generation->holes.size == 0) {
		uint64_t offset = position - generation->first_position;

		return offset < high ? (uint32_t)offset : high;
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (tail_position(generation, middle) < position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const struct tail_record *find_in(const struct tail_generation *generation,
					 uint64_t position)
{
	if (position < generation->first_position || position >= generation->next_position)
		return NULL;
	uint32_t place = tail_place(generation, position);

	if (place == generation->count || tail_position(generation, place) != position)
		return NULL;
	return &generation->records[place];
}

static const struct hole *find_hole_in(const struct tail_generation *generation, uint64_t position)
{
	size_t low = 0, high;
	const struct tail_hole *holes = holes_of(generation, &high);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (holes[middle].hole.last < position)
			low = middle + 1;
		else
			high = middle;
	}
	holes_of(generation, &high);
	return low < high && holes[low].hole.first <= position ? &holes[low].hole : NULL;
}

const struct hole *tail_find_hole(const struct tail *tail, uint64_t position)
{
	const struct hole *hole = find_hole_in(tail->active, position);

	if (hole == NULL && tail->frozen != NULL)
		hole = find_hole_in(tail->frozen, position);
	return hole;
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
	bool in_active = !is_above_all(tail->active, id);
	bool in_frozen = tail->frozen != NULL && !is_above_all(tail->frozen, id);

	if (!in_active && !in_frozen)
		return 0;
	uint32_t number = (uint32_t)hash64(id, UUID_BYTES);
	uint64_t position = in_active ? find_id(tail->active, id, number) : 0;

	if (position == 0 && in_frozen)
		position = find_id(tail->frozen, id, number);
	return position;
}

void tail_prefetch_id(const struct tail *tail, const uint8_t id[UUID_BYTES])
{
	uint32_t number = (uint32_t)hash64(id, UUID_BYTES);

	if (tail->active->count > 0)
		__builtin_prefetch(id_slot(tail->active, number), 1);
	if (tail->frozen != NULL && tail->frozen->count > 0 && !is_above_all(tail->frozen, id))
		__builtin_prefetch(id_slot(tail->frozen, number));
}

void tail_prefetch_stream(const struct tail *tail, uint64_t hash, enum map_step step)
{
	const struct tail_generation *generation = tail->active;
	const uint64_t *index = map_prefetch(&generation->names[TABLES_STREAMS].map, hash, step);

	if (index != NULL)
		__builtin_prefetch(&generation->streams[*index], 1);
}

bool tail_find_stream(const struct tail *tail, struct span name, struct stream_facts *facts)
{
	const struct tail_stream *stream = find_stream(tail->active, name);

	if (stream == NULL && tail->frozen != NULL)
		stream = find_stream(tail->frozen, name);
	if (stream == NULL)
		return false;
	*facts = stream->facts;
	return true;
}

void tail_open_versions(const struct tail *tail, struct span name, struct tail_versions *versions)
{
	const struct tail_generation *generations[2] = {tail->active, tail->frozen};

	for (int i = 0; i < 2; i++) {
		versions->generations[i] = generations[i];
		versions->streams[i] =
			generations[i] != NULL ? find_stream(generations[i], name) : NULL;
	}
}

const struct tail_record *tail_version(const struct tail_versions *versions, uint64_t version)
{
	for (int i = 0; i < 2; i++) {
		const struct tail_stream *stream = versions->streams[i];

		if (stream != NULL && version >= stream->first_version &&
		    version - stream->first_version < stream->list.count)
			return &versions->generations[i]->records[tail_places(
				&stream->list)[version - stream->first_version]];
	}
	return NULL;
}

const struct tail_record *tail_find_version(const struct tail *tail, struct span name,
					    uint64_t version)
{
	struct tail_versions versions;

	tail_open_versions(tail, name, &versions);
	return tail_version(&versions, version);
}
