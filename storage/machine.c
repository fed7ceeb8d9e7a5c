/* The machine: decides appends. */
#include "storage/machine.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "base/map.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "storage/system.h"

#include <errno.h>
#include <stdio.h>

/* Up to so many, comparing one by one is quicker than hashing. */
#define FEW 8

/* The checkpoint of an item. */
struct pending_checkpoint {
	bool present;
	bool has_if_position;
	uint64_t if_position;
	struct system_checkpoint value;
	struct machine_write write;
};

/* Arrays that grow and are used again for each item. */
struct machine {
	struct machine_view view;
	struct buffer targets;      /* struct machine_target */
	struct buffer expectations; /* struct expectation; the target of each in: */
	struct buffer expectation_targets;
	struct buffer writes;     /* struct machine_write: the events, in the end the checkpoint */
	struct buffer positions;  /* uint64_t: where each id is stored already */
	struct buffer violations; /* struct violation */
	struct buffer streams;    /* struct outcome_stream */
	struct buffer stored;     /* one record */
	struct buffer conflict;   /* the stored record that conflicts */
	struct buffer conditions; /* struct condition; the query of each in: */
	struct buffer queries; /* struct query, as many as any item ever had: each keeps memory */
	struct pending_checkpoint checkpoint;
	struct map names; /* stream → target, when there are more than a few */
	struct map ids;
};

#define ARRAY(buffer, type) ((type *)(void *)(buffer).data)
#define COUNT(buffer, type) ((uint32_t)((buffer).size / sizeof(type)))

struct machine *machine_new(const struct machine_view *view)
{
	struct machine *machine = memory_zeroed(1, sizeof *machine);

	machine->view = *view;
	map_init(&machine->names);
	map_init(&machine->ids);
	return machine;
}

void machine_free(struct machine *machine)
{
	buffer_close(&machine->targets);
	buffer_close(&machine->expectations);
	buffer_close(&machine->expectation_targets);
	buffer_close(&machine->writes);
	buffer_close(&machine->positions);
	buffer_close(&machine->violations);
	buffer_close(&machine->streams);
	buffer_close(&machine->stored);
	buffer_close(&machine->conflict);
	buffer_close(&machine->conditions);
	for (uint32_t i = 0; i < COUNT(machine->queries, struct query); i++)
		query_close(&ARRAY(machine->queries, struct query)[i]);
	buffer_close(&machine->queries);
	map_close(&machine->names);
	map_close(&machine->ids);
	memory_free(machine);
}

static void machine_clear(struct machine *machine)
{
	buffer_clear(&machine->targets);
	buffer_clear(&machine->expectations);
	buffer_clear(&machine->expectation_targets);
	buffer_clear(&machine->writes);
	buffer_clear(&machine->positions);
	buffer_clear(&machine->violations);
	buffer_clear(&machine->streams);
	buffer_clear(&machine->conflict);
	buffer_clear(&machine->conditions);
	machine->checkpoint.present = false;
	map_clear(&machine->names);
	map_clear(&machine->ids);
}

/* ---- reading the item ---- */

/* The target of that name, or UINT32_MAX. */
static uint32_t find_target(struct machine *machine, struct span name)
{
	const struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	uint32_t count = COUNT(machine->targets, struct machine_target);

	if (count > FEW) {
		const uint64_t *number = map_get(&machine->names, name);

		return number != NULL ? (uint32_t)*number : UINT32_MAX;
	}
	for (uint32_t i = 0; i < count; i++)
		if (span_equal(targets[i].name, name))
			return i;
	return UINT32_MAX;
}

static void remember_target(struct machine *machine)
{
	const struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	uint32_t count = COUNT(machine->targets, struct machine_target);

	if (count <= FEW)
		return;
	for (uint32_t i = machine->names.count; i < count; i++)
		map_put(&machine->names, targets[i].name, i);
}

static int add_target(struct machine *machine, struct span name, uint32_t *number,
		      struct error *error)
{
	struct machine_target target = {.name = name};
	int rc = machine->view.find_stream(machine->view.arg, name, &target.facts, error);

	if (rc != 0)
		return rc;
	target.version = target.facts.version;
	*number = COUNT(machine->targets, struct machine_target);
	buffer_append(&machine->targets, &target, sizeof target);
	remember_target(machine);
	return 0;
}

static int find_or_add_target(struct machine *machine, struct span name, uint32_t *number,
			      struct error *error)
{
	*number = find_target(machine, name);
	return *number != UINT32_MAX ? 0 : add_target(machine, name, number, error);
}

static int add_expectation(struct machine *machine, struct span content, struct error *error)
{
	struct expectation expectation;
	uint32_t target;
	int rc = command_parse_expectation(content, &expectation, error);

	if (rc == 0)
		rc = find_or_add_target(machine, expectation.stream, &target, error);
	if (rc != 0)
		return rc;
	ARRAY(machine->targets, struct machine_target)[target].written |= expectation.written;
	buffer_append(&machine->expectations, &expectation, sizeof expectation);
	buffer_append(&machine->expectation_targets, &target, sizeof target);
	return 0;
}

static int add_condition(struct machine *machine, struct span content, struct error *error)
{
	uint32_t number = COUNT(machine->conditions, struct condition);
	struct condition condition;
	struct query query;

	if (number == LIMIT_CONDITIONS)
		return error_set(error, -EBADMSG, "command: an item with more than %u conditions",
				 LIMIT_CONDITIONS);
	int rc = command_parse_condition(content, &condition, error);
	if (rc != 0)
		return rc;
	if (number == COUNT(machine->queries, struct query)) {
		query_init(&query);
		buffer_append(&machine->queries, &query, sizeof query);
	}
	buffer_append(&machine->conditions, &condition, sizeof condition);
	return query_parse(condition.query, &ARRAY(machine->queries, struct query)[number], error);
}

static int add_write(struct machine *machine, struct span content, uint8_t *bytes,
		     struct error *error)
{
	struct record record;

	if (record_parse(content, &record) != 0 || record.bytes.size != content.size)
		return error_set(error, -EBADMSG, "command: a malformed record of %zu bytes",
				 content.size);
	if (record.stream.data[0] == '$' && system_is_checkpoint_stream(record.stream))
		return error_set(error, -EBADMSG,
				 "command: a checkpoint's record outside of a checkpoint section");
	struct machine_write write = {.bytes = bytes, .size = (uint32_t)content.size};
	write.target = find_target(machine, record.stream);
	if (write.target == UINT32_MAX)
		return error_set(error, -EBADMSG,
				 "command: a record of stream %.*s, which has no expectation",
				 (int)(record.stream.size < 100 ? record.stream.size : 100),
				 (const char *)record.stream.data);
	ARRAY(machine->targets, struct machine_target)[write.target].written = true;
	buffer_append(&machine->writes, &write, sizeof write);
	return 0;
}

static int add_checkpoint(struct machine *machine, struct span content, uint8_t *bytes,
			  struct error *error)
{
	struct pending_checkpoint *checkpoint = &machine->checkpoint;
	struct checkpoint_section section;
	struct record record;
	int rc = command_parse_checkpoint(content, &section, error);

	ASSERT(!checkpoint->present); /* command_parse: it is the last section */
	if (rc != 0)
		return rc;
	if (record_parse(section.record, &record) != 0 ||
	    record.bytes.size != section.record.size ||
	    !system_is_checkpoint_stream(record.stream) ||
	    system_checkpoint_parse(&record, &checkpoint->value) != 0)
		return error_set(error, -EBADMSG,
				 "command: a malformed checkpoint record of %zu bytes",
				 section.record.size);
	checkpoint->present = true;
	checkpoint->has_if_position = section.has_if_position;
	checkpoint->if_position = section.if_position;
	checkpoint->write =
		(struct machine_write){.bytes = bytes + (record.bytes.data - content.data),
				       .size = (uint32_t)record.bytes.size};
	return find_or_add_target(machine, record.stream, &checkpoint->write.target, error);
}

static int read_section(struct machine *machine, const struct command_section *section,
			uint8_t *bytes, struct error *error)
{
	switch (section->tag) {
	case COMMAND_EXPECTATION:
		return add_expectation(machine, section->content, error);
	case COMMAND_RECORD:
		return add_write(machine, section->content, bytes, error);
	case COMMAND_CONDITION:
		return add_condition(machine, section->content, error);
	case COMMAND_CHECKPOINT:
		return add_checkpoint(machine, section->content, bytes, error);
	}
	ASSERT(false); /* command_parse knows the tags */
	return -EBADMSG;
}

static int read_item(struct machine *machine, struct span sections, uint8_t *memory,
		     struct error *error)
{
	const uint8_t *start = sections.data;
	struct command_section section;
	int rc = 0;

	while (rc == 0 && command_next_section(&sections, &section))
		rc = read_section(machine, &section, memory + (section.content.data - start),
				  error);
	return rc;
}

/* ---- conflicts and duplicates ---- */

static bool find_tombstone(struct machine *machine, struct outcome *outcome)
{
	const struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	uint32_t count = COUNT(machine->targets, struct machine_target);

	for (uint32_t i = 0; i < count; i++) {
		if (!targets[i].written || targets[i].facts.state != STREAM_TOMBSTONED)
			continue;
		outcome->code = ANSWER_STREAM_TOMBSTONED;
		outcome->conflict_stream = targets[i].name;
		snprintf(outcome->message, sizeof outcome->message,
			 "the stream was deleted for good: nothing can be appended to it");
		return true;
	}
	return false;
}

static struct span id_of(const struct machine_write *write)
{
	return span_of(record_id(write->bytes), UUID_BYTES);
}

static bool is_repeated(struct machine *machine, uint32_t index)
{
	const struct machine_write *writes = ARRAY(machine->writes, struct machine_write);
	uint32_t count = COUNT(machine->writes, struct machine_write);

	if (count > FEW)
		return *map_put(&machine->ids, id_of(&writes[index]), index) != index;
	for (uint32_t i = 0; i < index; i++)
		if (span_equal(id_of(&writes[i]), id_of(&writes[index])))
			return true;
	return false;
}

static bool find_repeated(struct machine *machine, struct outcome *outcome)
{
	const struct machine_write *writes = ARRAY(machine->writes, struct machine_write);
	uint32_t count = COUNT(machine->writes, struct machine_write);

	for (uint32_t i = 0; i < count; i++) {
		if (!is_repeated(machine, i) || MUTANT(ID_TWICE))
			continue;
		outcome->code = ANSWER_EVENT_ID_CONFLICT;
		memcpy(outcome->conflict_id, id_of(&writes[i]).data, UUID_BYTES);
		outcome->conflict_stream = record_stream(writes[i].bytes);
		snprintf(outcome->message, sizeof outcome->message,
			 "two events of this append have the same id");
		return true;
	}
	return false;
}

/* Where the ids are stored; *found counts them. */
static int find_ids(struct machine *machine, uint32_t *found, struct error *error)
{
	const struct machine_write *writes = ARRAY(machine->writes, struct machine_write);
	uint32_t count = COUNT(machine->writes, struct machine_write);

	*found = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t position = 0;
		int rc = machine->view.find_id(machine->view.arg, id_of(&writes[i]).data, &position,
					       error);

		if (rc != 0)
			return rc;
		*found += position != 0;
		buffer_append(&machine->positions, &position, sizeof position);
	}
	return 0;
}

/* The record that has the id of this write: the index, which has no checksum, says where. */
static int read_stored(struct machine *machine, uint32_t write, struct buffer *into,
		       struct error *error)
{
	uint64_t position = ARRAY(machine->positions, uint64_t)[write];
	const uint8_t *id = id_of(&ARRAY(machine->writes, struct machine_write)[write]).data;

	buffer_clear(into);
	int rc = machine->view.read(machine->view.arg, position, into, error);

	if (rc != 0 || memcmp(record_id(into->data), id, UUID_BYTES) == 0)
		return rc;
	return error_set(error, -EBADMSG,
			 "the index of event ids is damaged: at position %llu, where it has one of "
			 "them, is another event; move this node's data away, start it empty as a "
			 "non-voter, and let it sync from its peers",
			 (unsigned long long)position);
}

static bool is_one_run(struct machine *machine)
{
	const uint64_t *positions = ARRAY(machine->positions, uint64_t);
	uint32_t count = COUNT(machine->positions, uint64_t);

	for (uint32_t i = 0; i < count; i++)
		if (positions[i] == 0 || positions[i] != positions[0] + i)
			return false;
	return true;
}

/* Whether the stored run is in the same streams; then the targets get the versions of then. */
static int compare_run(struct machine *machine, bool *same, struct outcome *outcome,
		       struct error *error)
{
	struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	const struct machine_write *writes = ARRAY(machine->writes, struct machine_write);
	const uint64_t *positions = ARRAY(machine->positions, uint64_t);
	uint32_t count = COUNT(machine->writes, struct machine_write);

	for (uint32_t i = 0; i < count; i++) {
		struct machine_target *target = &targets[writes[i].target];
		int rc = read_stored(machine, i, &machine->stored, error);

		if (rc != 0)
			return rc;
		const uint8_t *record = machine->stored.data;
		*same = span_equal(record_stream(record), target->name) ||
			MUTANT(DUPLICATE_ELSEWHERE);
		if (!*same)
			return 0;
		target->version = record_version(record);
		if (target->first_version == 0)
			target->first_version = target->version;
		outcome->created = record_created(record);
	}
	outcome->first_position = positions[0];
	outcome->position = positions[count - 1];
	return 0;
}

static int answer_conflict(struct machine *machine, struct outcome *outcome, struct error *error)
{
	const uint64_t *positions = ARRAY(machine->positions, uint64_t);
	uint32_t index = 0;

	while (positions[index] == 0)
		index++;
	ASSERT(index < COUNT(machine->positions, uint64_t));
	int rc = read_stored(machine, index, &machine->conflict, error);
	if (rc != 0)
		return rc;
	const uint8_t *record = machine->conflict.data;

	outcome->code = ANSWER_EVENT_ID_CONFLICT;
	memcpy(outcome->conflict_id, record_id(record), UUID_BYTES);
	outcome->conflict_stream = record_stream(record);
	outcome->conflict_version = record_version(record);
	snprintf(outcome->message, sizeof outcome->message,
		 "some event ids of this append are stored already, but not all of them in this "
		 "order in "
		 "these streams: the first is at position %llu",
		 (unsigned long long)positions[index]);
	return 0;
}

/* An id that leads elsewhere must not make a conflict of a duplicate. */
static int check_stored(struct machine *machine, struct error *error)
{
	const uint64_t *positions = ARRAY(machine->positions, uint64_t);
	uint32_t count = COUNT(machine->positions, uint64_t);
	int rc = 0;

	for (uint32_t i = 0; i < count && rc == 0; i++)
		if (positions[i] != 0)
			rc = read_stored(machine, i, &machine->stored, error);
	return rc;
}

/* Rules 3 and 4; *decided when one of them applies. */
static int decide_stored(struct machine *machine, struct outcome *outcome, bool *decided,
			 struct error *error)
{
	uint32_t found;
	int rc = find_ids(machine, &found, error);

	*decided = found > 0;
	if (rc != 0 || found == 0)
		return rc;
	if (is_one_run(machine)) {
		rc = compare_run(machine, &outcome->duplicate, outcome, error);
		if (rc != 0 || outcome->duplicate)
			return rc;
		*outcome = (struct outcome){0};
	} else {
		rc = check_stored(machine, error);
		if (rc != 0)
			return rc;
	}
	return answer_conflict(machine, outcome, error);
}

/* ---- expectations ---- */

bool machine_expectation_holds(const struct expectation *expectation,
			       const struct stream_facts *facts)
{
	ASSERT(expectation->kind <= EXPECTATION_AT_LEAST);
	switch (expectation->kind) {
	case EXPECTATION_ANY:
		return true;
	case EXPECTATION_VERSION:
		return facts->version == expectation->version;
	case EXPECTATION_NO_STREAM:
		return facts->state == STREAM_NONE || facts->state == STREAM_DELETED;
	case EXPECTATION_STREAM_EXISTS:
		return facts->state == STREAM_LIVE && facts->version > 0;
	case EXPECTATION_AT_LEAST:
		return facts->state == STREAM_LIVE && facts->version >= expectation->version;
	}
	return false;
}

static bool find_violations(struct machine *machine, struct outcome *outcome)
{
	const struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	const struct expectation *expectations = ARRAY(machine->expectations, struct expectation);
	const uint32_t *numbers = ARRAY(machine->expectation_targets, uint32_t);
	uint32_t count = COUNT(machine->expectations, struct expectation);

	for (uint32_t i = 0; i < count; i++) {
		const struct stream_facts *facts = &targets[numbers[i]].facts;
		struct violation violation = {.expected = expectations[i],
					      .actual = facts->version,
					      .state = facts->state};

		if (MUTANT(CHECKS_IGNORED) && !expectations[i].written)
			continue;
		if (MUTANT(FIRST_VIOLATION_ONLY) && machine->violations.size > 0)
			break;
		if (!machine_expectation_holds(&expectations[i], facts))
			buffer_append(&machine->violations, &violation, sizeof violation);
	}
	outcome->violation_count = COUNT(machine->violations, struct violation);
	outcome->violations = ARRAY(machine->violations, struct violation);
	if (outcome->violation_count == 0)
		return false;
	outcome->code = ANSWER_WRONG_EXPECTED_VERSION;
	if (outcome->violations[0].expected.kind == EXPECTATION_AT_LEAST)
		snprintf(outcome->message, sizeof outcome->message,
			 "the stream is at version %llu: it has not reached version %llu",
			 (unsigned long long)outcome->violations[0].actual,
			 (unsigned long long)outcome->violations[0].expected.version);
	else
		snprintf(outcome->message, sizeof outcome->message,
			 "%u of %u expectations about streams failed; the first finds its stream "
			 "%s at version %llu",
			 outcome->violation_count, count,
			 stream_state_name(outcome->violations[0].state),
			 (unsigned long long)outcome->violations[0].actual);
	return true;
}

/* ---- conditions ---- */

static void tell_too_wide(const struct condition *condition, struct outcome *outcome)
{
	outcome->code = ANSWER_INVALID_ARGUMENT;
	outcome->condition_index = condition->index;
	snprintf(outcome->message, sizeof outcome->message,
		 "condition %u would look at too many events (%u that no index tells apart, or %u "
		 "of "
		 "each of its parts): narrow it by types, tags, categories or streams, or with a "
		 "later "
		 "`after`",
		 condition->index, LIMIT_CONDITION_SCAN, LIMIT_CONDITION_SEEKS);
}

static void tell_condition(const struct condition *condition, uint64_t position,
			   struct outcome *outcome)
{
	outcome->code = ANSWER_CONDITION_FAILED;
	outcome->condition_index = condition->index;
	outcome->condition_position = position;
	snprintf(outcome->message, sizeof outcome->message,
		 "condition %u: the event at position %llu matches it (after: %llu)",
		 condition->index, (unsigned long long)position,
		 (unsigned long long)condition->after);
}

/* The more names the conditions have, the more each step among them costs. */
static struct match_budget make_budget(const struct machine *machine)
{
	const struct query *queries = ARRAY(machine->queries, struct query);
	uint32_t count = COUNT(machine->conditions, struct condition);
	uint64_t names = 0;

	for (uint32_t i = 0; i < count; i++)
		names += query_name_count(&queries[i]);
	return (struct match_budget){.looks = LIMIT_CONDITION_SCAN,
				     .depth = LIMIT_CONDITION_SEEKS / (names > 0 ? names : 1)};
}

/* Rule 6. */
static int decide_conditions(struct machine *machine, struct outcome *outcome, bool *decided,
			     struct error *error)
{
	const struct condition *conditions = ARRAY(machine->conditions, struct condition);
	const struct query *queries = ARRAY(machine->queries, struct query);
	uint32_t all = COUNT(machine->conditions, struct condition);
	uint32_t count = MUTANT(FIRST_CONDITION_ONLY) && all > 1 ? 1 : all;
	struct match_budget budget = make_budget(machine);

	for (uint32_t i = 0; i < count; i++) {
		uint64_t position = 0;
		int rc = machine->view.find_match(machine->view.arg, &queries[i],
						  conditions[i].after + MUTANT(AFTER_OFF_BY_ONE),
						  &budget, &position, error);

		if (rc == -E2BIG)
			tell_too_wide(&conditions[i], outcome);
		else if (rc != 0)
			return rc;
		else if (position != 0)
			tell_condition(&conditions[i], position, outcome);
		*decided = outcome->code != ANSWER_OK;
		if (*decided)
			break;
	}
	return 0;
}

/* ---- the checkpoint ---- */

/* The checkpoint that is stored: the last record of its stream. */
static int find_checkpoint(struct machine *machine, const struct machine_target *target,
			   struct system_checkpoint *stored, struct error *error)
{
	struct record record;

	*stored = (struct system_checkpoint){.deleted = true};
	if (target->facts.version == 0)
		return 0;
	buffer_clear(&machine->stored);
	int rc = machine->view.read_version(machine->view.arg, target->name, target->facts.version,
					    &machine->stored, error);
	if (rc != 0)
		return rc;
	if (record_parse(buffer_span(&machine->stored), &record) != 0 ||
	    system_checkpoint_parse(&record, stored) != 0)
		return error_set(error, -EBADMSG,
				 "the stored checkpoint at version %llu of its stream is damaged",
				 (unsigned long long)target->facts.version);
	return 0;
}

static void tell_no_checkpoint(struct span consumer, struct outcome *outcome)
{
	outcome->code = ANSWER_NOT_FOUND;
	outcome->consumer = consumer;
	snprintf(outcome->message, sizeof outcome->message,
		 "the consumer has no checkpoint to delete");
}

static void tell_checkpoint(const struct pending_checkpoint *checkpoint, struct span consumer,
			    const struct system_checkpoint *stored, struct outcome *outcome)
{
	outcome->code = ANSWER_CHECKPOINT_CONFLICT;
	outcome->consumer = consumer;
	outcome->checkpoint_position = stored->position;
	outcome->checkpoint_epoch = stored->epoch;
	if (!checkpoint->value.deleted && checkpoint->value.epoch < stored->epoch)
		snprintf(outcome->message, sizeof outcome->message,
			 "epoch %llu is fenced off: the checkpoint was stored with epoch %llu",
			 (unsigned long long)checkpoint->value.epoch,
			 (unsigned long long)stored->epoch);
	else
		snprintf(outcome->message, sizeof outcome->message,
			 "the checkpoint is at position %llu, not at %llu",
			 (unsigned long long)stored->position,
			 (unsigned long long)checkpoint->if_position);
}

/* Rule 7. Deleting needs no epoch: it is for operators, and ends the fencing. */
static int decide_checkpoint(struct machine *machine, struct outcome *outcome, bool *decided,
			     struct error *error)
{
	const struct pending_checkpoint *checkpoint = &machine->checkpoint;
	struct system_checkpoint stored;

	if (!checkpoint->present)
		return 0;
	const struct machine_target *target =
		&ARRAY(machine->targets, struct machine_target)[checkpoint->write.target];
	struct span consumer = system_name(target->name, SYSTEM_CHECKPOINT_PREFIX);
	int rc = find_checkpoint(machine, target, &stored, error);
	if (rc != 0)
		return rc;
	bool fenced = !checkpoint->value.deleted && checkpoint->value.epoch < stored.epoch &&
		      !MUTANT(EPOCH_IGNORED);
	bool moved = checkpoint->has_if_position && checkpoint->if_position != stored.position &&
		     !MUTANT(IF_POSITION_IGNORED);

	if (checkpoint->value.deleted && stored.deleted)
		tell_no_checkpoint(consumer, outcome);
	else if (fenced || moved)
		tell_checkpoint(checkpoint, consumer, &stored, outcome);
	*decided = outcome->code != ANSWER_OK;
	return 0;
}

/* ---- writing ---- */

static void count_record(struct machine_target *target, int64_t created)
{
	struct stream_facts *facts = &target->facts;

	facts->version += MUTANT(VERSION_GAP) && facts->version % 16 == 15 ? 2 : 1;
	facts->updated = created;
	facts->state = STREAM_LIVE;
	if (facts->first_version == 0) {
		facts->first_version = facts->version;
		facts->created = created;
	}
	target->version = facts->version;
	if (target->first_version == 0)
		target->first_version = facts->version;
}

static void stamp_all(struct machine *machine, struct machine_head *head, struct outcome *outcome)
{
	uint32_t events = COUNT(machine->writes, struct machine_write);

	if (machine->checkpoint.present)
		buffer_append(&machine->writes, &machine->checkpoint.write,
			      sizeof machine->checkpoint.write);
	struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	struct machine_write *writes = ARRAY(machine->writes, struct machine_write);
	uint32_t count = COUNT(machine->writes, struct machine_write);
	uint64_t before = head->position;

	for (uint32_t i = 0; i < count; i++) {
		struct machine_target *target = &targets[writes[i].target];

		count_record(target, head->created);
		head->position++;
		record_stamp(writes[i].bytes, head->position, target->version, head->created);
		head->hash = checksum64_seeded(writes[i].bytes, writes[i].size,
					       MUTANT(HASH_UNCHAINED) ? 0 : head->hash);
		writes[i].hash = head->hash;
	}
	outcome->created = head->created;
	outcome->first_position = events > 0 ? before + 1 : head->position;
	outcome->position = events > 0 ? before + events : head->position;
}

static void tell_streams(struct machine *machine, struct outcome *outcome)
{
	const struct machine_target *targets = ARRAY(machine->targets, struct machine_target);
	uint32_t count = COUNT(machine->targets, struct machine_target);

	for (uint32_t i = 0; i < count; i++) {
		struct outcome_stream stream = {.stream = targets[i].name,
						.first_version = targets[i].first_version,
						.version = targets[i].version};

		if (targets[i].written)
			buffer_append(&machine->streams, &stream, sizeof stream);
	}
	outcome->stream_count = COUNT(machine->streams, struct outcome_stream);
	outcome->streams = ARRAY(machine->streams, struct outcome_stream);
}

/* Rules 1 to 7; the outcome's code, or `duplicate`, says which of them applied, if one did. */
static int decide_rules(struct machine *machine, struct outcome *outcome, bool *decided,
			struct error *error)
{
	int rc = 0;

	*decided = find_tombstone(machine, outcome) || find_repeated(machine, outcome);
	if (!*decided)
		rc = decide_stored(machine, outcome, decided, error);
	if (rc == 0 && !*decided)
		*decided = find_violations(machine, outcome);
	if (rc == 0 && !*decided)
		rc = decide_conditions(machine, outcome, decided, error);
	if (rc == 0 && !*decided)
		rc = decide_checkpoint(machine, outcome, decided, error);
	return rc;
}

/* Rule 8. */
static void write_all(struct machine *machine, int64_t created, struct machine_decision *made)
{
	int64_t before = made->head.created;

	if (created > before || MUTANT(TIME_BACK))
		made->head.created = created;
	stamp_all(machine, &made->head, &made->outcome);
	made->write_count = COUNT(machine->writes, struct machine_write);
	made->writes = ARRAY(machine->writes, struct machine_write);
	if (made->write_count == 0)
		made->head.created = before;
}

int machine_decide(struct machine *machine, struct span sections, uint8_t *memory, int64_t created,
		   const struct machine_head *before, struct machine_decision *decision,
		   struct error *error)
{
	struct machine_decision made = {.head = *before};
	bool decided;

	machine_clear(machine);
	int rc = read_item(machine, sections, memory, error);
	if (rc == 0)
		rc = decide_rules(machine, &made.outcome, &decided, error);
	if (rc != 0)
		return rc;
	if (!decided)
		write_all(machine, created, &made);
	if (made.outcome.code == ANSWER_OK)
		tell_streams(machine, &made.outcome);
	made.target_count = COUNT(machine->targets, struct machine_target);
	made.targets = ARRAY(machine->targets, struct machine_target);
	*decision = made;
	return 0;
}
