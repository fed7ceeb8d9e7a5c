/*
 * The model: what appends must do, written from the rules of storage/machine.h, without lists, indexes,
 * tail, flush or trim. It decides each command once, when the first node applies it; every node must come
 * to the same.
 */
#include "tests/sim/sim.h"

#include <string.h>

static void see(struct sim *sim, enum sim_seen seen)
{
	sim->outcome.seen[seen]++;
}

uint64_t sim_model_id(const struct sim_model *model, uint64_t id)
{
	return id < model->ids ? model->positions[id] : 0;
}

/* ---- queries ---- */

/* What comes before the first '-'; all of it when there is none. */
static bool is_in_category(const char *stream, const char *category)
{
	size_t size = strcspn(stream, "-");

	return strlen(category) == size && strncmp(stream, category, size) == 0;
}

static bool item_matches(const struct sim_query_item *item, const struct sim_stored *stored)
{
	const char *stream = sim_stream_name(stored->stream);
	bool in_category = item->categories == 0;

	for (unsigned i = 0; i < SIM_CATEGORIES; i++)
		if ((item->categories >> i & 1) != 0)
			in_category = in_category || is_in_category(stream, sim_category_name(i));
	return in_category && (item->types == 0 || (item->types >> stored->type & 1) != 0) &&
	       (item->tags & stored->tags) == item->tags &&
	       (item->streams == 0 || (item->streams >> stored->stream & 1) != 0) &&
	       (item->prefix == NULL || strncmp(stream, item->prefix, strlen(item->prefix)) == 0);
}

bool sim_model_matches(const struct sim_query *query, const struct sim_stored *stored)
{
	if (stored->stream >= SIM_STREAMS) /* system records match nothing */
		return false;
	if (query->count == 0) /* all */
		return true;
	for (unsigned i = 0; i < query->count; i++)
		if (item_matches(&query->items[i], stored))
			return true;
	return false;
}

/* ---- rules 2 to 4: ids ---- */

static bool has_repeated_id(const struct sim_append *append, struct sim_decided *decided)
{
	for (unsigned i = 1; i < append->event_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (append->events[i].id == append->events[j].id) {
				decided->code = ANSWER_EVENT_ID_CONFLICT;
				decided->conflict_id = append->events[i].id;
				decided->conflict_stream = append->events[i].stream;
				return true;
			}
	return false;
}

static bool was_stored_as_asked(const struct sim_model *model, const struct sim_append *append)
{
	uint64_t first = sim_model_id(model, append->events[0].id);

	for (unsigned i = 0; i < append->event_count; i++) {
		uint64_t position = sim_model_id(model, append->events[i].id);

		if (position == 0 || position != first + i ||
		    model->stored[position].stream != append->events[i].stream)
			return false;
	}
	return true;
}

static void tell_streams(const struct sim_model *model, const struct sim_append *append,
			 struct sim_decided *decided)
{
	for (unsigned i = 0; i < append->expectation_count; i++) {
		unsigned at = decided->stream_count;

		if (!append->expectations[i].written)
			continue;
		decided->stream_count++;
		decided->streams[at].stream = append->expectations[i].stream;
		for (unsigned j = 0; j < append->event_count; j++) {
			if (append->events[j].stream != append->expectations[i].stream)
				continue;
			decided->streams[at].version =
				model->stored[decided->first_position + j].version;
			if (decided->streams[at].first_version == 0)
				decided->streams[at].first_version = decided->streams[at].version;
		}
	}
}

static bool is_stored(const struct sim_model *model, const struct sim_append *append,
		      struct sim_decided *decided)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < append->event_count && found == 0; i++)
		found = sim_model_id(model, append->events[i].id);
	if (found == 0)
		return false;
	if (was_stored_as_asked(model, append)) {
		decided->duplicate = true;
		decided->first_position = found;
		decided->position = found + append->event_count - 1;
		decided->created = model->stored[decided->position].created;
		tell_streams(model, append, decided);
		return true;
	}
	decided->code = ANSWER_EVENT_ID_CONFLICT;
	decided->conflict_id = model->stored[found].id;
	decided->conflict_stream = model->stored[found].stream;
	decided->conflict_version = model->stored[found].version;
	return true;
}

/* ---- rules 5 to 7 ---- */

static bool holds(const struct sim_expectation *expectation, uint64_t version)
{
	switch (expectation->kind) {
	case EXPECTATION_ANY:
		return true;
	case EXPECTATION_VERSION:
		return version == expectation->version;
	case EXPECTATION_NO_STREAM:
		return version == 0;
	case EXPECTATION_STREAM_EXISTS:
		return version > 0;
	case EXPECTATION_AT_LEAST:
		return version > 0 && version >= expectation->version;
	}
	return false;
}

static bool is_unexpected(const struct sim_model *model, const struct sim_append *append,
			  struct sim_decided *decided)
{
	for (unsigned i = 0; i < append->expectation_count; i++) {
		const struct sim_expectation *expectation = &append->expectations[i];
		uint64_t version = model->streams[expectation->stream].version;
		unsigned at = decided->violation_count;

		if (holds(expectation, version))
			continue;
		decided->violations[at].index = expectation->index;
		decided->violations[at].actual = version;
		decided->violations[at].exists = version > 0;
		decided->violation_count++;
	}
	if (decided->violation_count > 0)
		decided->code = ANSWER_WRONG_EXPECTED_VERSION;
	return decided->violation_count > 0;
}

static bool is_ruled_out(const struct sim_model *model, const struct sim_append *append,
			 struct sim_decided *decided)
{
	for (unsigned i = 0; i < append->condition_count; i++) {
		const struct sim_condition *condition = &append->conditions[i];

		for (uint64_t at = condition->after + 1; at <= model->head; at++) {
			if (!sim_model_matches(&condition->query, &model->stored[at]))
				continue;
			decided->code = ANSWER_CONDITION_FAILED;
			decided->condition_index = i;
			decided->condition_position = at;
			return true;
		}
	}
	return false;
}

static bool is_fenced(const struct sim_model *model, const struct sim_append *append,
		      struct sim_decided *decided)
{
	const struct sim_checkpoint *asked = &append->checkpoint;
	const struct sim_consumer_model *stored = &model->consumers[asked->consumer];

	if (!asked->present)
		return false;
	if (asked->deleted && !stored->exists) {
		decided->code = ANSWER_NOT_FOUND;
		return true;
	}
	if ((asked->deleted || asked->epoch >= stored->epoch) &&
	    (!asked->has_if_position || asked->if_position == stored->position))
		return false;
	decided->code = ANSWER_CHECKPOINT_CONFLICT;
	decided->checkpoint_position = stored->position;
	decided->checkpoint_epoch = stored->epoch;
	return true;
}

/* ---- rule 8 ---- */

static void remember_id(struct sim_model *model, uint64_t id, uint64_t position)
{
	if (id >= model->ids) {
		size_t before = model->ids;

		model->ids = 2 * id + 1024;
		model->positions =
			memory_resize(model->positions, model->ids * sizeof *model->positions);
		memset(model->positions + before, 0, (model->ids - before) * sizeof(uint64_t));
	}
	ASSERT(model->positions[id] == 0);
	model->positions[id] = position;
}

static void store(struct sim_model *model, struct sim_stored stored)
{
	struct sim_stream_model *stream = &model->streams[stored.stream];

	if (model->head + 2 > model->capacity) {
		model->capacity = 2 * model->capacity + 4096;
		model->stored =
			memory_resize(model->stored, model->capacity * sizeof *model->stored);
	}
	stored.version = ++stream->version;
	stored.created = model->created;
	model->stored[++model->head] = stored;
	if (stored.stream >= 2 * SIM_STREAMS && stream->last_position != 0)
		model->stored[stream->last_position].superseded = model->head;
	stream->last_position = model->head;
	/* The ids of checkpoints' records are not kept. */
	if (stored.stream < 2 * SIM_STREAMS)
		remember_id(model, stored.id, model->head);
}

static void store_all(struct sim_model *model, const struct sim_append *append, int64_t created,
		      struct sim_decided *decided)
{
	const struct sim_checkpoint *asked = &append->checkpoint;

	decided->created = created > model->created ? created : model->created;
	if (append->event_count > 0 || asked->present)
		model->created = decided->created;
	decided->first_position = model->head + 1;
	for (unsigned i = 0; i < append->event_count; i++)
		store(model, (struct sim_stored){.stream = append->events[i].stream,
						 .type = append->events[i].type,
						 .tags = append->events[i].tags,
						 .id = append->events[i].id});
	decided->position = model->head;
	if (asked->present) {
		store(model,
		      (struct sim_stored){.stream = sim_checkpoint_stream(asked->consumer),
					  .type = asked->deleted ? SIM_TYPE_CHECKPOINT_DELETED
								 : SIM_TYPE_CHECKPOINT,
					  .id = asked->id});
		model->consumers[asked->consumer] = (struct sim_consumer_model){
			.exists = !asked->deleted,
			.position = asked->deleted ? 0 : asked->position,
			.epoch = asked->deleted ? 0 : asked->epoch};
	}
	if (append->event_count == 0)
		decided->first_position = decided->position = model->head;
	else
		tell_streams(model, append, decided);
}

/* ---- what has been seen ---- */

static void see_asked(struct sim *sim, const struct sim_append *append)
{
	unsigned changes = 0, written = 0, checked = 0;

	for (unsigned i = 0; i < append->expectation_count; i++) {
		written += append->expectations[i].written;
		checked += !append->expectations[i].written;
	}
	for (unsigned i = 1; i < append->event_count; i++)
		changes += append->events[i].stream != append->events[i - 1].stream;
	if (append->event_count > 0)
		see(sim, written == 1 ? SEEN_ONE_STREAM : SEEN_SEVERAL);
	if (written > 0 && changes >= written)
		see(sim, SEEN_INTERLEAVED);
	if (checked > 0)
		see(sim, append->event_count > 0 ? SEEN_CHECK : SEEN_CHECK_ALONE);
	if (append->condition_count > 1)
		see(sim, SEEN_CONDITIONS);
	for (unsigned i = 0; i < append->condition_count; i++) {
		const struct sim_query_item *item = &append->conditions[i].query.items[0];

		sim->outcome.seen[SEEN_CONDITION_TYPE] += item->types != 0;
		sim->outcome.seen[SEEN_CONDITION_TAG] += item->tags != 0;
		sim->outcome.seen[SEEN_CONDITION_CATEGORY] += item->categories != 0;
		sim->outcome.seen[SEEN_CONDITION_STREAM] += item->streams != 0;
		sim->outcome.seen[SEEN_CONDITION_PREFIX] += item->prefix != NULL;
	}
}

static void see_stored(struct sim *sim, const struct sim_append *append, uint64_t epoch)
{
	static const int held[] = {[EXPECTATION_ANY] = -1,
				   [EXPECTATION_VERSION] = SEEN_OK_VERSION,
				   [EXPECTATION_NO_STREAM] = SEEN_OK_NO_STREAM,
				   [EXPECTATION_STREAM_EXISTS] = SEEN_OK_EXISTS,
				   [EXPECTATION_AT_LEAST] = -1};
	const struct sim_checkpoint *checkpoint = &append->checkpoint;

	for (unsigned i = 0; i < append->expectation_count; i++)
		if (held[append->expectations[i].kind] >= 0)
			see(sim, (enum sim_seen)held[append->expectations[i].kind]);
	if (append->condition_count > 0)
		see(sim, SEEN_OK_CONDITION);
	if (append->event_count > 0 && append->events[0].type == SIM_TYPE_SNAPSHOT)
		see(sim, SEEN_SNAPSHOT);
	if (append->event_count > 0 && append->events[0].type == SIM_TYPE_SNAPSHOT_DELETED)
		see(sim, SEEN_SNAPSHOT_GONE);
	if (!checkpoint->present)
		return;
	see(sim, checkpoint->deleted       ? SEEN_CHECKPOINT_GONE
		 : append->event_count > 0 ? SEEN_CHECKPOINT
					   : SEEN_CHECKPOINT_ALONE);
	if (checkpoint->has_if_position && checkpoint->if_position > 0)
		see(sim, SEEN_OK_CHECKPOINT);
	if (checkpoint->epoch > epoch)
		see(sim, SEEN_OK_EPOCH);
}

static void see_unexpected(struct sim *sim, const struct sim_append *append)
{
	static const int kinds[] = {[EXPECTATION_ANY] = -1,
				    [EXPECTATION_VERSION] = SEEN_WRONG_VERSION,
				    [EXPECTATION_NO_STREAM] = SEEN_WRONG_NO_STREAM,
				    [EXPECTATION_STREAM_EXISTS] = SEEN_WRONG_EXISTS,
				    [EXPECTATION_AT_LEAST] = SEEN_WRONG_AT_LEAST};
	unsigned count = 0;

	for (unsigned i = 0; i < append->expectation_count; i++) {
		const struct sim_expectation *expectation = &append->expectations[i];

		if (holds(expectation, sim->model.streams[expectation->stream].version))
			continue;
		count++;
		see(sim, (enum sim_seen)kinds[expectation->kind]);
		if (!expectation->written && expectation->kind != EXPECTATION_AT_LEAST)
			see(sim, SEEN_WRONG_CHECK);
	}
	if (count > 1)
		see(sim, SEEN_WRONG_SEVERAL);
}

static void see_refused(struct sim *sim, const struct sim_append *append,
			const struct sim_decided *decided)
{
	if (decided->code == ANSWER_WRONG_EXPECTED_VERSION)
		see_unexpected(sim, append);
	else if (decided->code == ANSWER_CONDITION_FAILED)
		see(sim, SEEN_WRONG_CONDITION);
	else if (decided->code == ANSWER_EVENT_ID_CONFLICT)
		see(sim, decided->conflict_version > 0 ? SEEN_WRONG_ID : SEEN_WRONG_ID_TWICE);
	else if (decided->code == ANSWER_NOT_FOUND)
		see(sim, SEEN_WRONG_NOT_FOUND);
	else if (append->checkpoint.epoch < decided->checkpoint_epoch &&
		 !append->checkpoint.deleted)
		see(sim, SEEN_WRONG_EPOCH);
	else
		see(sim, SEEN_WRONG_IF_POSITION);
}

void sim_model_append(struct sim *sim, const struct sim_append *append, int64_t created,
		      struct sim_decided *decided)
{
	struct sim_model *model = &sim->model;
	uint64_t epoch = model->consumers[append->checkpoint.consumer].epoch;

	*decided = (struct sim_decided){0};
	see_asked(sim, append);
	if (has_repeated_id(append, decided) || is_stored(model, append, decided) ||
	    is_unexpected(model, append, decided) || is_ruled_out(model, append, decided) ||
	    is_fenced(model, append, decided)) {
		if (decided->duplicate)
			see(sim, append->is_part ? SEEN_DUPLICATE_PART : SEEN_DUPLICATE);
		else
			see_refused(sim, append, decided);
		return;
	}
	store_all(model, append, created, decided);
	see_stored(sim, append, epoch);
}
