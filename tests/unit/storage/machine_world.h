/*
 * What the machine sees, made of a plain array of records that is gone through for each question;
 * and appends as a test writes them down.
 */
#ifndef TESTS_STORAGE_MACHINE_WORLD_H
#define TESTS_STORAGE_MACHINE_WORLD_H

#include "tests/unit/storage/feed.h"

#include "base/checksum.h"
#include "storage/machine.h"
#include "storage/system.h"

/* ---- appends: lists end with a name that is NULL ---- */

#define ASK_NAMES 3

struct ask_item {
	const char *types[ASK_NAMES + 1], *tags[ASK_NAMES + 1], *categories[ASK_NAMES + 1],
		*streams[ASK_NAMES + 1];
	const char *prefix;
};

struct ask_condition {
	uint64_t after;
	uint32_t item_count; /* 0: all */
	struct ask_item items[3];
};

struct ask_expectation {
	const char *stream;
	enum expectation_kind kind;
	uint64_t version;
	bool checked; /* and not written */
};

struct ask_event {
	const char *stream;
	uint64_t id;
	const char *type; /* NULL: "happened" */
	const char *tags[ASK_NAMES + 1];
};

struct ask_checkpoint {
	const char *consumer;
	uint64_t position, epoch;
	bool deleted, has_if_position;
	uint64_t if_position;
};

struct ask {
	struct ask_expectation expectations[9];
	uint32_t condition_count;
	struct ask_condition conditions[3];
	struct ask_event events[9];
	struct ask_checkpoint checkpoint;
};

/* Places told in the outcome: any numbers, different ones. */
#define ASK_EXPECTATION_INDEX(i) (100 + (i))
#define ASK_CONDITION_INDEX(i)   (200 + (i))

static inline void ask_id(uint64_t number, uint8_t id[UUID_BYTES])
{
	bytes_set_be64(id, number * 7919);
	bytes_set_be64(id + 8, number);
}

static inline uint32_t ask_event_count(const struct ask *ask)
{
	uint32_t count = 0;

	while (ask->events[count].stream != NULL)
		count++;
	return count;
}

static inline uint32_t ask_expectation_count(const struct ask *ask)
{
	uint32_t count = 0;

	while (ask->expectations[count].stream != NULL)
		count++;
	return count;
}

static inline bool ask_expects(const struct ask *ask, const char *stream)
{
	for (uint32_t i = 0; ask->expectations[i].stream != NULL; i++)
		if (strcmp(ask->expectations[i].stream, stream) == 0)
			return true;
	return false;
}

/* Each stream that is written gets an expectation, if it has none. */
static inline struct ask ask_completed(const struct ask *ask)
{
	struct ask full = *ask;

	for (uint32_t i = 0; ask->events[i].stream != NULL; i++)
		if (!ask_expects(&full, ask->events[i].stream))
			full.expectations[ask_expectation_count(&full)].stream =
				ask->events[i].stream;
	assert_null(full.expectations[COUNT_OF(full.expectations) - 1].stream);
	return full;
}

static inline void ask_add_names(struct query *query, enum query_part part,
				 const char *const *names)
{
	for (; *names != NULL; names++)
		query_add_name(query, part, span_of_string(*names));
}

static inline void ask_build_query(const struct ask_condition *condition, struct query *query)
{
	for (uint32_t i = 0; i < condition->item_count; i++) {
		const struct ask_item *item = &condition->items[i];

		query_add_item(query);
		ask_add_names(query, QUERY_TYPES, item->types);
		ask_add_names(query, QUERY_TAGS, item->tags);
		ask_add_names(query, QUERY_CATEGORIES, item->categories);
		ask_add_names(query, QUERY_STREAMS, item->streams);
		if (item->prefix != NULL)
			query_set_prefix(query, span_of_string(item->prefix));
	}
}

static inline void ask_encode_condition(const struct ask *ask, uint32_t number,
					struct buffer *items)
{
	const struct ask_condition *condition = &ask->conditions[number];
	struct query query;

	query_init(&query);
	ask_build_query(condition, &query);
	command_item_add_condition(items, ASK_CONDITION_INDEX(number), condition->after, &query);
	query_close(&query);
}

static inline void ask_encode_event(const struct ask_event *event, struct buffer *items)
{
	uint8_t id[UUID_BYTES];
	struct record_fields fields = {
		.id = id,
		.stream = span_of_string(event->stream),
		.type = span_of_string(event->type != NULL ? event->type : "happened"),
		.data = span_of_string("data")};

	ask_id(event->id, id);
	for (; event->tags[fields.tag_count] != NULL; fields.tag_count++)
		fields.tags[fields.tag_count] = span_of_string(event->tags[fields.tag_count]);
	command_item_add_record(items, &fields);
}

static inline void ask_encode_checkpoint(const struct ask_checkpoint *checkpoint,
					 struct buffer *items)
{
	struct system_checkpoint value = {.deleted = checkpoint->deleted,
					  .position = checkpoint->position,
					  .epoch = checkpoint->epoch};
	struct record_fields fields = {0};
	uint8_t id[UUID_BYTES];
	struct buffer text;

	buffer_init(&text);
	system_checkpoint_fields(span_of_string(checkpoint->consumer), &value, id, &text, &fields);
	command_item_add_checkpoint(
		items, checkpoint->has_if_position ? &checkpoint->if_position : NULL, &fields);
	buffer_close(&text);
}

static inline void ask_encode(const struct ask *ask, struct buffer *items)
{
	size_t offset = command_item_begin(items);

	for (uint32_t i = 0; ask->expectations[i].stream != NULL; i++) {
		struct expectation expectation = {
			.kind = ask->expectations[i].kind,
			.written = !ask->expectations[i].checked,
			.version = ask->expectations[i].version,
			.stream = span_of_string(ask->expectations[i].stream),
			.index = ASK_EXPECTATION_INDEX(i)};

		command_item_add_expectation(items, &expectation);
	}
	for (uint32_t i = 0; i < ask->condition_count; i++)
		ask_encode_condition(ask, i, items);
	for (uint32_t i = 0; ask->events[i].stream != NULL; i++)
		ask_encode_event(&ask->events[i], items);
	if (ask->checkpoint.consumer != NULL)
		ask_encode_checkpoint(&ask->checkpoint, items);
	command_item_end(items, offset);
}

/* ---- the world ---- */

struct world_mark {
	const char *stream;
	uint64_t version; /* it holds as long as the stream is at this version */
	enum stream_state state;
};

struct world {
	struct machine *machine;
	struct machine_head head;
	int64_t clock;
	struct record *log; /* log[i] is at position i + 1 */
	uint32_t count;
	struct world_mark marks[16];
	uint32_t mark_count;
	const char *failing;        /* which question meets an error; NULL: none */
	bool too_wide;              /* prefixes are */
	uint32_t id_index_off;      /* the index of ids is wrong by so many positions … */
	uint32_t id_index_right;    /* … beyond this one */
	struct match_budget budget; /* that the last condition was given */
	struct buffer items;
	struct machine_decision decision;
	struct error error;
};

static inline bool world_fails(struct world *world, const char *question, struct error *error)
{
	return world->failing != NULL && strcmp(world->failing, question) == 0 &&
	       error_set(error, -EIO, "a failing disk") != 0;
}

static inline bool world_is_checkpoint(const struct record *record)
{
	return record->stream.size > 12 && memcmp(record->stream.data, "$checkpoint-", 12) == 0;
}

static inline int world_find_stream(void *arg, struct span name, struct stream_facts *facts,
				    struct error *error)
{
	struct world *world = arg;

	if (world_fails(world, "find_stream", error))
		return -EIO;
	*facts = (struct stream_facts){0};
	for (uint32_t i = 0; i < world->count; i++) {
		if (!span_equal(world->log[i].stream, name))
			continue;
		if (facts->version++ == 0)
			facts->created = world->log[i].created;
		facts->first_version = 1;
		facts->updated = world->log[i].created;
		facts->state = STREAM_LIVE;
	}
	for (uint32_t i = 0; i < world->mark_count; i++) {
		const struct world_mark *mark = &world->marks[i];

		if (!span_equal_string(name, mark->stream) || mark->version != facts->version)
			continue;
		facts->state = mark->state;
		facts->first_version = 0;
		facts->created = 0;
	}
	return 0;
}

static inline struct stream_facts world_facts(struct world *world, const char *stream)
{
	const char *failing = world->failing;
	struct stream_facts facts;

	world->failing = NULL;
	assert_int_equal(world_find_stream(world, span_of_string(stream), &facts, &world->error),
			 0);
	world->failing = failing;
	return facts;
}

static inline int world_find_id(void *arg, const uint8_t *id, uint64_t *position,
				struct error *error)
{
	struct world *world = arg;

	if (world_fails(world, "find_id", error))
		return -EIO;
	*position = 0;
	for (uint32_t i = 0; i < world->count; i++)
		if (memcmp(world->log[i].id, id, UUID_BYTES) == 0 &&
		    !world_is_checkpoint(&world->log[i]))
			*position = i + 1 + (i < world->id_index_right ? 0 : world->id_index_off);
	return 0;
}

static inline int world_read(void *arg, uint64_t position, struct buffer *into, struct error *error)
{
	struct world *world = arg;

	if (world_fails(world, "read", error))
		return -EIO;
	assert_in_range(position, 1, world->count);
	buffer_append_span(into, world->log[position - 1].bytes);
	return 0;
}

static inline int world_read_version(void *arg, struct span stream, uint64_t version,
				     struct buffer *into, struct error *error)
{
	struct world *world = arg;

	if (world_fails(world, "read_version", error))
		return -EIO;
	for (uint32_t i = 0; i < world->count; i++)
		if (span_equal(world->log[i].stream, stream) && world->log[i].version == version) {
			buffer_append_span(into, world->log[i].bytes);
			return 0;
		}
	fail_msg("the stream has no version %llu", (unsigned long long)version);
	return -EIO;
}

static inline struct span world_category(const struct record *record)
{
	size_t size = 0;

	while (size < record->stream.size && record->stream.data[size] != '-')
		size++;
	return span_of(record->stream.data, size);
}

/* How many of the names of a part are the word. */
static inline uint32_t world_named(const struct query *query, const struct query_item *item,
				   enum query_part part, struct span word)
{
	uint32_t named = 0;

	for (uint32_t i = 0; i < item->count[part]; i++)
		named += span_equal(query_item_names(query, item, part)[i], word);
	return named;
}

static inline bool world_matches(const struct query *query, const struct query_item *item,
				 const struct record *record)
{
	uint32_t tags = 0;

	for (uint32_t i = 0; i < record->tag_count; i++)
		tags += world_named(query, item, QUERY_TAGS, record->tags[i]);
	return tags == item->count[QUERY_TAGS] &&
	       (item->count[QUERY_TYPES] == 0 ||
		world_named(query, item, QUERY_TYPES, record->type) > 0) &&
	       (item->count[QUERY_CATEGORIES] == 0 ||
		world_named(query, item, QUERY_CATEGORIES, world_category(record)) > 0) &&
	       (item->count[QUERY_STREAMS] == 0 ||
		world_named(query, item, QUERY_STREAMS, record->stream) > 0) &&
	       record->stream.size >= item->prefix.size &&
	       (item->prefix.size == 0 ||
		memcmp(record->stream.data, item->prefix.data, item->prefix.size) == 0);
}

static inline int world_find_match(void *arg, const struct query *query, uint64_t after,
				   struct match_budget *budget, uint64_t *position,
				   struct error *error)
{
	struct world *world = arg;
	uint32_t count = query_item_count(query);

	if (world_fails(world, "find_match", error))
		return -EIO;
	world->budget = *budget;
	budget->looks--;
	for (uint32_t i = 0; i < count && world->too_wide; i++)
		if (query_item(query, i)->prefix.size > 0)
			return error_set(error, -E2BIG, "too many to look at");
	*position = 0;
	for (uint32_t at = 0; at < world->count && *position == 0; at++) {
		bool matches = count == 0;

		for (uint32_t i = 0; i < count; i++)
			matches |= world_matches(query, query_item(query, i), &world->log[at]);
		if (matches && at + 1 > after && world->log[at].stream.data[0] != '$')
			*position = at + 1;
	}
	return 0;
}

static inline void world_init(struct world *world)
{
	struct machine_view view = {.arg = world,
				    .find_stream = world_find_stream,
				    .find_id = world_find_id,
				    .read = world_read,
				    .read_version = world_read_version,
				    .find_match = world_find_match};

	*world = (struct world){.clock = 1000, .head = {.hash = 1}};
	world->machine = machine_new(&view);
	buffer_init(&world->items);
}

static inline void world_close(struct world *world)
{
	for (uint32_t i = 0; i < world->count; i++)
		unit_free_exact(world->log[i].bytes);
	memory_free(world->log);
	buffer_close(&world->items);
	machine_free(world->machine);
}

/* Delete the stream, or for good: not as the node would, but with what it would leave. */
static inline void world_mark_stream(struct world *world, const char *stream,
				     enum stream_state state)
{
	struct world_mark mark = {
		.stream = stream, .version = world_facts(world, stream).version, .state = state};

	assert_true(world->mark_count < COUNT_OF(world->marks));
	world->marks[world->mark_count++] = mark;
}

/* ---- decisions ---- */

static inline void world_keep(struct world *world, const struct machine_write *write)
{
	struct span bytes = unit_exact(write->bytes, write->size);
	struct record *record;

	world->log = memory_resize(world->log, (world->count + 1) * sizeof world->log[0]);
	record = &world->log[world->count];
	assert_int_equal(record_parse(bytes, record), 0);
	uint64_t version = 1;
	for (uint32_t i = 0; i < world->count; i++)
		version += span_equal(world->log[i].stream, record->stream);
	assert_int_equal(record->position, ++world->count);
	assert_int_equal(record->version, version);
	assert_int_equal(record->created, world->head.created);
	world->head.hash = checksum64_seeded(bytes.data, bytes.size, world->head.hash);
	assert_int_equal(write->hash, world->head.hash);
	assert_int_equal(record->bytes.size, bytes.size);
}

/* The records are those asked for, in their order and stamped in a row, or there are none. */
static inline void world_take(struct world *world, const struct ask *ask)
{
	const struct machine_decision *decision = &world->decision;
	uint32_t events = ask_event_count(ask);
	uint8_t id[UUID_BYTES];

	if (decision->write_count > 0) {
		assert_int_equal(decision->outcome.code, ANSWER_OK);
		assert_false(decision->outcome.duplicate);
		assert_int_equal(decision->write_count,
				 events + (ask->checkpoint.consumer != NULL));
		world->head.created = world->clock;
	}
	for (uint32_t i = 0; i < decision->write_count; i++) {
		world_keep(world, &decision->writes[i]);
		world->head.position++;
		const struct record *record = &world->log[world->count - 1];
		assert_true(world_is_checkpoint(record) == (i == events));
		if (i == events)
			continue;
		ask_id(ask->events[i].id, id);
		assert_memory_equal(record->id, id, UUID_BYTES);
		assert_true(span_equal_string(record->stream, ask->events[i].stream));
	}
	assert_memory_equal(&world->head, &decision->head, sizeof world->head);
}

static inline int world_try_items(struct world *world)
{
	struct span rest = buffer_span(&world->items), sections;

	assert_true(command_next_item(&rest, &sections));
	return machine_decide(world->machine, sections,
			      world->items.data + (sections.data - world->items.data),
			      ++world->clock, &world->head, &world->decision, &world->error);
}

/* An error of the view, or 0: decided, but not taken into the log. */
static inline int world_try(struct world *world, const struct ask *ask)
{
	struct ask full = ask_completed(ask);

	buffer_clear(&world->items);
	ask_encode(&full, &world->items);
	return world_try_items(world);
}

/* Decide it, and write what is to be written. Valid until the next one. */
static inline const struct outcome *world_append(struct world *world, const struct ask *ask)
{
	if (world_try(world, ask) != 0)
		fail_msg("%s", world->error.message);
	world_take(world, ask);
	const struct outcome *outcome = &world->decision.outcome;
	assert_true((outcome->code == ANSWER_OK) == (outcome->message[0] == 0));
	return outcome;
}

static inline const struct outcome_stream *world_told(const struct outcome *outcome,
						      const char *stream)
{
	for (uint32_t i = 0; i < outcome->stream_count; i++)
		if (span_equal_string(outcome->streams[i].stream, stream))
			return &outcome->streams[i];
	fail_msg("nothing is told of stream %s", stream);
	return NULL;
}

#endif
