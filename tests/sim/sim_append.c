/* What clients ask for: drawn from the seed, and encoded as a node would propose it. */
#include "base/bytes.h"
#include "storage/system.h"
#include "tests/sim/sim.h"

#include <string.h>

#define AWHILE_US (400 * SIM_MS) /* then another stream comes into use, and one goes out of it */
#define IN_USE    8

const char *sim_seen_name(enum sim_seen seen)
{
	static const char *const names[SEEN_COUNT] = {
#define X(name, text) text,
		SIM_SEEN(X)
#undef X
	};

	ASSERT(seen < SEEN_COUNT);
	return names[seen];
}

/* ---- names ---- */

static void name_stream(unsigned stream, char *text, size_t size)
{
	static const char *const before[8] = {"order-", "order-", "order-", "order-",
					      "cart-",  "cart-",  "stock",  "-odd"};

	if (stream < SIM_STREAMS)
		snprintf(text, size, "%s%u%s", before[stream % 8], stream,
			 stream % 8 == 3 ? "-a" : "");
	else if (stream >= 2 * SIM_STREAMS)
		snprintf(text, size, "$checkpoint-consumer%u", stream - 2 * SIM_STREAMS);
	else
		snprintf(text, size, "$snapshot-%s", sim_stream_name(stream - SIM_STREAMS));
}

const char *sim_stream_name(unsigned stream)
{
	static char names[SIM_NAMES][40];

	ASSERT(stream < SIM_NAMES);
	if (names[stream][0] == '\0')
		name_stream(stream, names[stream], sizeof names[stream]);
	return names[stream];
}

const char *sim_type_name(unsigned type)
{
	static const char *const names[SIM_TYPE_COUNT] = {
		"Opened",    "Changed",           "Moved",       "Closed",
		"$snapshot", "$snapshot-deleted", "$checkpoint", "$checkpoint-deleted"};

	ASSERT(type < SIM_TYPE_COUNT);
	return names[type];
}

const char *sim_tag_name(unsigned tag)
{
	static const char *const names[SIM_TAGS] = {"red", "green", "blue", "user:1", "user:12"};

	ASSERT(tag < SIM_TAGS);
	return names[tag];
}

const char *sim_category_name(unsigned category)
{
	static const char *const names[SIM_CATEGORIES] = {"order", "cart", "stock6", "ord"};

	ASSERT(category < SIM_CATEGORIES);
	return names[category];
}

static const char *draw_prefix(struct sim *sim)
{
	static const char *const prefixes[] = {"order-", "order-1", "ca", "cart-5", "s", "-", "$s"};

	return prefixes[sim_between(sim, 0, sizeof prefixes / sizeof prefixes[0] - 1)];
}

unsigned sim_snapshot_stream(unsigned stream)
{
	ASSERT(stream < SIM_STREAMS);
	return SIM_STREAMS + stream;
}

unsigned sim_checkpoint_stream(unsigned consumer)
{
	ASSERT(consumer < SIM_CONSUMERS);
	return 2 * SIM_STREAMS + consumer;
}

/* ---- ids: most of version 7, as clients draw them; some of version 4 ---- */

uint64_t sim_new_id(struct sim *sim)
{
	uint8_t id[UUID_BYTES];

	bytes_set_le64(id, sim_random(sim));
	bytes_set_le64(id + 8, sim_random(sim));
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
	if (sim_chance(sim, 900)) {
		/* Clients' clocks are not the same. */
		uint64_t ms = UINT64_C(1700000000000) + sim->now / SIM_MS +
			      sim_between(sim, 0, sim_chance(sim, 100) ? 3000 : 5);

		for (unsigned i = 0; i < 6; i++)
			id[i] = (uint8_t)(ms >> (8 * (5 - i)));
		id[6] = (uint8_t)((id[6] & 0x0f) | 0x70);
	}
	buffer_append(&sim->ids, id, sizeof id);
	return sim->ids.size / UUID_BYTES;
}

const uint8_t *sim_id_bytes(const struct sim *sim, uint64_t id)
{
	ASSERT(id >= 1 && id * UUID_BYTES <= sim->ids.size);
	return sim->ids.data + (id - 1) * UUID_BYTES;
}

/* ---- drawing ---- */

static unsigned draw_stream(struct sim *sim)
{
	uint64_t first = sim->now / AWHILE_US;

	if (first > SIM_STREAMS - IN_USE)
		first = SIM_STREAMS - IN_USE;
	return (unsigned)(first + sim_between(sim, 0, IN_USE - 1));
}

static uint64_t draw_version(struct sim *sim, unsigned stream)
{
	uint64_t version = sim->model.streams[stream].version;

	if (sim_chance(sim, 800))
		return version;
	return sim_chance(sim, 500) || version == 0 ? version + 1 : version - 1;
}

static void add_expectation(struct sim_append *append, struct sim_expectation expectation)
{
	for (unsigned i = 0; i < append->expectation_count; i++)
		if (append->expectations[i].stream == expectation.stream)
			return;
	if (append->expectation_count < SIM_EXPECTED)
		append->expectations[append->expectation_count++] = expectation;
}

static struct sim_expectation draw_expectation(struct sim *sim, unsigned stream, unsigned index,
					       bool written)
{
	struct sim_expectation expectation = {.stream = stream, .index = index, .written = written};
	uint64_t drawn = sim_between(sim, written ? 0 : 50, 99);

	if (drawn < 50)
		expectation.kind = EXPECTATION_ANY;
	else if (drawn < 80)
		expectation.kind = EXPECTATION_VERSION;
	else if (drawn < 88)
		expectation.kind = EXPECTATION_NO_STREAM;
	else
		expectation.kind = EXPECTATION_STREAM_EXISTS;
	if (expectation.kind == EXPECTATION_VERSION)
		expectation.version = draw_version(sim, stream);
	return expectation;
}

static struct sim_event_asked draw_event(struct sim *sim, unsigned stream)
{
	unsigned longest = sim_chance(sim, 100) ? sim->profile.payload_max : 32;

	return (struct sim_event_asked){
		.stream = stream,
		.type = (unsigned)sim_between(sim, 0, SIM_TYPES - 1),
		.tags = (unsigned)(sim_random(sim) & sim_random(sim)) & ((1u << SIM_TAGS) - 1),
		.id = sim_new_id(sim),
		.data_bytes = sim_between(sim, 0, longest),
	};
}

static void draw_events(struct sim *sim, struct sim_append *append)
{
	unsigned streams[3], stream_count = sim_chance(sim, 600) ? 1 : 3;

	for (unsigned i = 0; i < stream_count; i++)
		streams[i] = draw_stream(sim);
	append->event_count =
		sim_chance(sim, 600) ? 1 : (unsigned)sim_between(sim, 2, SIM_EVENTS - 1);
	for (unsigned i = 0; i < append->event_count; i++) {
		unsigned stream = streams[sim_between(sim, 0, stream_count - 1)];

		append->events[i] = draw_event(sim, stream);
		add_expectation(append, draw_expectation(sim, stream, i, true));
	}
	if (append->event_count > 1 && sim_chance(sim, 10))
		append->events[1].id = append->events[0].id;
}

static void draw_checks(struct sim *sim, struct sim_append *append)
{
	unsigned count = (unsigned)sim_between(sim, 1, 2);

	for (unsigned i = 0; i < count; i++)
		add_expectation(append, draw_expectation(sim, draw_stream(sim), i, false));
}

static struct sim_query_item draw_item(struct sim *sim)
{
	struct sim_query_item item = {0};

	while (item.types == 0 && item.tags == 0 && item.categories == 0 && item.streams == 0 &&
	       item.prefix == NULL) {
		if (sim_chance(sim, 350))
			item.types = (unsigned)sim_between(sim, 1, (1u << SIM_TYPES) - 1);
		if (sim_chance(sim, 500))
			item.tags = 1u << sim_between(sim, 0, SIM_TAGS - 1);
		if (item.tags != 0 && sim_chance(sim, 300))
			item.tags |= 1u << sim_between(sim, 0, SIM_TAGS - 1);
		if (sim_chance(sim, 150))
			item.categories = (unsigned)sim_between(sim, 1, (1u << SIM_CATEGORIES) - 1);
		if (sim_chance(sim, 150))
			item.streams =
				UINT64_C(1) << draw_stream(sim) | UINT64_C(1) << draw_stream(sim);
		if (sim_chance(sim, 150))
			item.prefix = draw_prefix(sim);
	}
	return item;
}

void sim_draw_query(struct sim *sim, struct sim_query *query)
{
	query->count = sim_chance(sim, 750) ? 1 : 2;
	for (unsigned i = 0; i < query->count; i++)
		query->items[i] = draw_item(sim);
}

static void draw_conditions(struct sim *sim, struct sim_append *append)
{
	append->condition_count = sim_chance(sim, 800) ? 1 : 2;
	for (unsigned i = 0; i < append->condition_count; i++) {
		struct sim_condition *condition = &append->conditions[i];
		uint64_t head = sim->model.head, back = sim_between(sim, 0, 4);

		sim_draw_query(sim, &condition->query);
		if (sim_chance(sim, 30)) /* all */
			condition->query.count = 0;
		if (sim_chance(sim, 100))
			condition->after = sim_between(sim, 0, head);
		else
			condition->after = sim_chance(sim, 50) ? head + back
					   : head > back       ? head - back
							       : 0;
	}
}

static void draw_checkpoint(struct sim *sim, struct sim_append *append)
{
	struct sim_checkpoint *checkpoint = &append->checkpoint;
	unsigned consumer = (unsigned)sim_between(sim, 0, SIM_CONSUMERS - 1);
	const struct sim_consumer_model *known = &sim->model.consumers[consumer];

	*checkpoint = (struct sim_checkpoint){
		.present = true,
		.consumer = consumer,
		.deleted = sim_chance(sim, 60),
		.has_if_position = sim_chance(sim, 500),
		.if_position = known->position,
		.position = sim_between(sim, 0, sim->model.head),
		.epoch = known->epoch,
		.id = sim_new_id(sim),
	};
	if (sim_chance(sim, 150))
		checkpoint->if_position++;
	if (sim_chance(sim, 80))
		checkpoint->epoch++;
	else if (sim_chance(sim, 80) && known->epoch > 0)
		checkpoint->epoch--;
}

/* Snapshots must be of a version that the stream has. */
static void draw_snapshot(struct sim *sim, struct sim_append *append)
{
	unsigned stream = draw_stream(sim);
	bool deleted = sim_chance(sim, 200);
	struct sim_expectation any = {.kind = EXPECTATION_ANY, .written = true};

	any.stream = sim_snapshot_stream(stream);
	append->event_count = 1;
	append->events[0] = draw_event(sim, any.stream);
	append->events[0].type = deleted ? SIM_TYPE_SNAPSHOT_DELETED : SIM_TYPE_SNAPSHOT;
	append->events[0].tags = 0;
	if (!deleted) {
		struct sim_expectation reached = {.kind = EXPECTATION_AT_LEAST, .stream = stream};

		reached.version = draw_version(sim, stream);
		if (reached.version == 0)
			reached.version = 1;
		add_expectation(append, reached);
	}
	add_expectation(append, any);
}

void sim_draw_append(struct sim *sim, struct sim_append *append)
{
	uint64_t drawn = sim_between(sim, 0, 99);

	*append = (struct sim_append){0};
	if (drawn < 12) {
		draw_checkpoint(sim, append);
		return;
	}
	if (drawn < 20) {
		draw_snapshot(sim, append);
		return;
	}
	if (drawn >= 25)
		draw_events(sim, append);
	if (drawn < 25 || sim_chance(sim, 200))
		draw_checks(sim, append);
	if (sim_chance(sim, 350))
		draw_conditions(sim, append);
	if (sim_chance(sim, 100))
		draw_checkpoint(sim, append);
}

/* ---- again ---- */

static void expect_anything(struct sim_append *append)
{
	append->expectation_count = 0;
	for (unsigned i = 0; i < append->event_count; i++)
		add_expectation(append, (struct sim_expectation){.kind = EXPECTATION_ANY,
								 .written = true,
								 .stream = append->events[i].stream,
								 .index = i});
}

void sim_draw_retry(struct sim *sim, const struct sim_append *before, struct sim_append *append)
{
	unsigned last = before->event_count - 1;
	uint64_t drawn = sim_between(sim, 0, 99);

	ASSERT(before->event_count > 0);
	*append = *before;
	append->is_part = false;
	if (append->checkpoint.present) /* its record has a new id each time */
		append->checkpoint.id = sim_new_id(sim);
	if (drawn < 70)
		return;
	if (drawn < 80 && last > 0) { /* a part of it */
		append->event_count = (unsigned)sim_between(sim, 1, last);
		append->is_part = true;
	} else if (drawn < 86 && last > 0) { /* in another order */
		append->events[0] = before->events[last];
		append->events[last] = before->events[0];
	} else if (drawn < 92 && before->events[0].stream < SIM_STREAMS) { /* elsewhere */
		append->events[0].stream = draw_stream(sim);
	} else if (append->event_count < SIM_EVENTS) { /* and something new */
		append->events[append->event_count++] = draw_event(sim, draw_stream(sim));
	}
	expect_anything(append);
}

/* ---- encoding ---- */

static void add_names(struct query *into, enum query_part part, uint64_t names,
		      const char *(*name_of)(unsigned name))
{
	for (unsigned i = 0; names >> i != 0; i++) {
		if ((names >> i & 1) != 0)
			query_add_name(into, part, span_of_string(name_of(i)));
		if (i == 63)
			break;
	}
}

void sim_query_build(const struct sim_query *query, struct query *into)
{
	query_clear(into);
	for (unsigned i = 0; i < query->count; i++) {
		const struct sim_query_item *item = &query->items[i];

		query_add_item(into);
		add_names(into, QUERY_TYPES, item->types, sim_type_name);
		add_names(into, QUERY_TAGS, item->tags, sim_tag_name);
		add_names(into, QUERY_CATEGORIES, item->categories, sim_category_name);
		add_names(into, QUERY_STREAMS, item->streams, sim_stream_name);
		if (item->prefix != NULL)
			query_set_prefix(into, span_of_string(item->prefix));
	}
}

static void encode_snapshot(struct sim *sim, const struct sim_event_asked *event, struct span data,
			    struct buffer *into)
{
	struct system_snapshot snapshot = {.deleted = event->type == SIM_TYPE_SNAPSHOT_DELETED,
					   .version = 1,
					   .type = span_of_string("State"),
					   .data = data};
	const char *of = sim_stream_name(event->stream - SIM_STREAMS);
	struct record_fields fields;
	uint8_t drawn[UUID_BYTES];
	struct buffer text;

	buffer_init(&text);
	system_snapshot_fields(span_of_string(of), &snapshot, drawn, &text, &fields);
	fields.id = sim_id_bytes(sim, event->id);
	command_item_add_record(into, &fields);
	buffer_close(&text);
}

static void encode_event(struct sim *sim, const struct sim_event_asked *event, struct buffer *into)
{
	static uint8_t zeros[8192];
	struct record_fields fields = {
		.id = sim_id_bytes(sim, event->id),
		.stream = span_of_string(sim_stream_name(event->stream)),
		.type = span_of_string(sim_type_name(event->type)),
		.data = span_of(zeros, event->data_bytes),
	};

	ASSERT(event->data_bytes <= sizeof zeros);
	if (event->stream >= SIM_STREAMS) {
		encode_snapshot(sim, event, fields.data, into);
		return;
	}
	for (unsigned i = 0; i < SIM_TAGS; i++)
		if ((event->tags >> i & 1) != 0)
			fields.tags[fields.tag_count++] = span_of_string(sim_tag_name(i));
	command_item_add_record(into, &fields);
}

static void encode_checkpoint(struct sim *sim, const struct sim_checkpoint *asked,
			      struct buffer *into)
{
	struct system_checkpoint checkpoint = {
		.deleted = asked->deleted, .position = asked->position, .epoch = asked->epoch};
	const char *stream = sim_stream_name(sim_checkpoint_stream(asked->consumer));
	struct record_fields fields;
	uint8_t drawn[UUID_BYTES];
	struct buffer text;

	buffer_init(&text);
	system_checkpoint_fields(span_of_string(stream + strlen(SYSTEM_CHECKPOINT_PREFIX)),
				 &checkpoint, drawn, &text, &fields);
	fields.id = sim_id_bytes(sim, asked->id);
	command_item_add_checkpoint(into, asked->has_if_position ? &asked->if_position : NULL,
				    &fields);
	buffer_close(&text);
}

void sim_append_encode(struct sim *sim, const struct sim_append *append, struct buffer *into)
{
	size_t item = command_item_begin(into);
	struct query query;

	query_init(&query);
	for (unsigned i = 0; i < append->expectation_count; i++) {
		const struct sim_expectation *asked = &append->expectations[i];
		struct expectation expectation = {
			.kind = asked->kind,
			.written = asked->written,
			.version = asked->version,
			.index = asked->index,
			.stream = span_of_string(sim_stream_name(asked->stream)),
		};

		command_item_add_expectation(into, &expectation);
	}
	for (unsigned i = 0; i < append->condition_count; i++) {
		sim_query_build(&append->conditions[i].query, &query);
		command_item_add_condition(into, i, append->conditions[i].after, &query);
	}
	for (unsigned i = 0; i < append->event_count; i++)
		encode_event(sim, &append->events[i], into);
	if (append->checkpoint.present)
		encode_checkpoint(sim, &append->checkpoint, into);
	command_item_end(into, item);
	query_close(&query);
}
