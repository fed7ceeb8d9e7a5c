/*
 * The rules of machine.h written down a second time, plainly, over appends as they were asked: nothing
 * of the machine, of commands or of queries is used to say what is right. And random appends for them.
 */
#ifndef TESTS_STORAGE_MACHINE_ORACLE_H
#define TESTS_STORAGE_MACHINE_ORACLE_H

#include "tests/unit/storage/machine_world.h"

#define ORACLE_CONSUMERS 2
#define ORACLE_RECORDS   1024
#define ID_CHANCES(n)    ((n) + 12)

static const char *const streams[] = {"Order-1", "Order-2", "Cart-1", "Cart-2", "x", "$snapshot-x"};
static const char *const types[] = {"placed", "paid", "sent"};
static const char *const tags[] = {"a", "b", "c"};
static const char *const categories[] = {"Order", "Cart", "x"};
static const char *const prefixes[] = {"Order-", "C", "$", "nothing"};
static const char *const consumers[ORACLE_CONSUMERS] = {"first", "second"};

/* ---- what was stored, as it was asked for ---- */

struct stored {
	struct ask_event event;
	uint64_t version;
	int64_t created;
};

struct oracle {
	/* log[i] is at position i + 1; event.stream NULL: a checkpoint */
	struct stored log[ORACLE_RECORDS];
	uint32_t count;
	struct {
		bool ever, exists;
		uint64_t position, epoch;
	} checkpoints[ORACLE_CONSUMERS];
	struct {
		enum stream_state state;
		uint64_t version;
	} streams[COUNT_OF(streams)];
};

struct wanted_stream {
	bool written;
	uint64_t first_version, version;
};

struct wanted {
	enum answer_code code;
	bool duplicate;
	uint64_t first_position, position;
	struct wanted_stream streams[COUNT_OF(streams)];
	uint32_t violation_count;
	uint32_t violations[9]; /* which expectations */
	uint64_t conflict_id;
	const char *conflict_stream;
	uint64_t conflict_version;
	uint32_t condition;
	uint64_t condition_position;
	uint32_t consumer;
	uint64_t checkpoint_position, checkpoint_epoch;
};

static inline uint32_t number_of(const char *stream)
{
	for (uint32_t i = 0; i < COUNT_OF(streams); i++)
		if (strcmp(streams[i], stream) == 0)
			return i;
	fail_msg("no stream %s", stream);
	return 0;
}

/* ---- the rules ---- */

static inline bool is_written(const struct ask *ask, const char *stream)
{
	for (uint32_t i = 0; ask->events[i].stream != NULL; i++)
		if (strcmp(ask->events[i].stream, stream) == 0)
			return true;
	for (uint32_t i = 0; ask->expectations[i].stream != NULL; i++)
		if (!ask->expectations[i].checked &&
		    strcmp(ask->expectations[i].stream, stream) == 0)
			return true;
	return false;
}

static inline bool tombstoned(const struct oracle *oracle, const struct ask *ask,
			      struct wanted *wanted)
{
	for (uint32_t i = 0; ask->expectations[i].stream != NULL; i++) {
		const char *stream = ask->expectations[i].stream;

		if (!is_written(ask, stream) ||
		    oracle->streams[number_of(stream)].state != STREAM_TOMBSTONED)
			continue;
		wanted->code = ANSWER_STREAM_TOMBSTONED;
		wanted->conflict_stream = stream;
		return true;
	}
	return false;
}

static inline bool repeated(const struct ask *ask, struct wanted *wanted)
{
	for (uint32_t i = 0; ask->events[i].stream != NULL; i++)
		for (uint32_t before = 0; before < i; before++)
			if (ask->events[before].id == ask->events[i].id) {
				wanted->code = ANSWER_EVENT_ID_CONFLICT;
				wanted->conflict_id = ask->events[i].id;
				wanted->conflict_stream = ask->events[i].stream;
				return true;
			}
	return false;
}

static inline uint32_t place_of(const struct oracle *oracle, uint64_t id)
{
	for (uint32_t i = 0; i < oracle->count; i++)
		if (oracle->log[i].event.stream != NULL && oracle->log[i].event.id == id)
			return i + 1;
	return 0;
}

static inline void count_in(struct wanted *wanted, const char *stream, uint64_t version)
{
	struct wanted_stream *told = &wanted->streams[number_of(stream)];

	if (told->first_version == 0)
		told->first_version = version;
	told->version = version;
}

static inline bool stored_before(const struct oracle *oracle, const struct ask *ask,
				 struct wanted *wanted)
{
	uint32_t first = UINT32_MAX, count = ask_event_count(ask);
	bool run = count > 0;

	for (uint32_t i = count; i-- > 0;)
		if (place_of(oracle, ask->events[i].id) != 0)
			first = i;
	if (first == UINT32_MAX)
		return false;
	uint32_t place = place_of(oracle, ask->events[0].id);
	for (uint32_t i = 0; i < count; i++)
		run = run && place != 0 && place_of(oracle, ask->events[i].id) == place + i &&
		      strcmp(oracle->log[place + i - 1].event.stream, ask->events[i].stream) == 0;
	if (!run) {
		const struct stored *stored =
			&oracle->log[place_of(oracle, ask->events[first].id) - 1];

		wanted->code = ANSWER_EVENT_ID_CONFLICT;
		wanted->conflict_id = stored->event.id;
		wanted->conflict_stream = stored->event.stream;
		wanted->conflict_version = stored->version;
		return true;
	}
	wanted->duplicate = true;
	wanted->first_position = place;
	wanted->position = place + count - 1;
	for (uint32_t i = 0; i < count; i++)
		count_in(wanted, ask->events[i].stream, oracle->log[place + i - 1].version);
	return true;
}

static inline bool holds(const struct oracle *oracle, const struct ask_expectation *expectation)
{
	uint64_t version = oracle->streams[number_of(expectation->stream)].version;
	enum stream_state state = oracle->streams[number_of(expectation->stream)].state;

	if (expectation->kind == EXPECTATION_VERSION)
		return version == expectation->version;
	if (expectation->kind == EXPECTATION_NO_STREAM)
		return state == STREAM_NONE || state == STREAM_DELETED;
	if (expectation->kind == EXPECTATION_STREAM_EXISTS)
		return state == STREAM_LIVE;
	if (expectation->kind == EXPECTATION_AT_LEAST)
		return state == STREAM_LIVE && version >= expectation->version;
	return true;
}

static inline bool violated(const struct oracle *oracle, const struct ask *ask,
			    struct wanted *wanted)
{
	for (uint32_t i = 0; ask->expectations[i].stream != NULL; i++)
		if (!holds(oracle, &ask->expectations[i]))
			wanted->violations[wanted->violation_count++] = i;
	if (wanted->violation_count > 0)
		wanted->code = ANSWER_WRONG_EXPECTED_VERSION;
	return wanted->violation_count > 0;
}

/* No words: true. */
static inline bool is_one_of(const char *const *words, const char *word, size_t bytes)
{
	bool any = words[0] == NULL;

	for (; *words != NULL; words++)
		any |= strlen(*words) == bytes && memcmp(*words, word, bytes) == 0;
	return any;
}

static inline bool item_matches(const struct ask_item *item, const struct ask_event *event)
{
	const char *stream = event->stream;
	bool tagged = true;

	for (const char *const *tag = item->tags; *tag != NULL; tag++)
		tagged &= event->tags[0] != NULL && is_one_of(event->tags, *tag, strlen(*tag));
	return tagged && stream[0] != '$' &&
	       is_one_of(item->types, event->type, strlen(event->type)) &&
	       is_one_of(item->streams, stream, strlen(stream)) &&
	       is_one_of(item->categories, stream, strcspn(stream, "-")) &&
	       (item->prefix == NULL || strncmp(stream, item->prefix, strlen(item->prefix)) == 0);
}

static inline uint64_t first_match(const struct oracle *oracle,
				   const struct ask_condition *condition)
{
	for (uint64_t position = condition->after + 1; position <= oracle->count; position++) {
		const struct ask_event *event = &oracle->log[position - 1].event;

		if (event->stream == NULL || event->stream[0] == '$')
			continue;
		if (condition->item_count == 0)
			return position;
		for (uint32_t i = 0; i < condition->item_count; i++)
			if (item_matches(&condition->items[i], event))
				return position;
	}
	return 0;
}

static inline bool matched(const struct oracle *oracle, const struct ask *ask,
			   struct wanted *wanted)
{
	for (uint32_t i = 0; i < ask->condition_count; i++) {
		uint64_t position = first_match(oracle, &ask->conditions[i]);

		if (position == 0)
			continue;
		wanted->code = ANSWER_CONDITION_FAILED;
		wanted->condition = i;
		wanted->condition_position = position;
		return true;
	}
	return false;
}

static inline bool fenced(const struct oracle *oracle, const struct ask *ask, struct wanted *wanted)
{
	const struct ask_checkpoint *asked = &ask->checkpoint;
	uint32_t consumer = asked->consumer == consumers[1];

	if (asked->consumer == NULL)
		return false;
	wanted->consumer = consumer;
	if (!oracle->checkpoints[consumer].exists && asked->deleted)
		wanted->code = ANSWER_NOT_FOUND;
	else if ((!asked->deleted && asked->epoch < oracle->checkpoints[consumer].epoch) ||
		 (asked->has_if_position &&
		  asked->if_position != oracle->checkpoints[consumer].position))
		wanted->code = ANSWER_CHECKPOINT_CONFLICT;
	else
		return false;
	wanted->checkpoint_position = oracle->checkpoints[consumer].position;
	wanted->checkpoint_epoch = oracle->checkpoints[consumer].epoch;
	return true;
}

static inline void keep(struct oracle *oracle, const struct ask *ask, int64_t created,
			struct wanted *wanted)
{
	wanted->first_position = oracle->count + 1;
	for (uint32_t i = 0; ask->events[i].stream != NULL; i++) {
		uint32_t stream = number_of(ask->events[i].stream);

		oracle->streams[stream].state = STREAM_LIVE;
		oracle->log[oracle->count++] =
			(struct stored){.event = ask->events[i],
					.version = ++oracle->streams[stream].version,
					.created = created};
		count_in(wanted, streams[stream], oracle->streams[stream].version);
	}
	wanted->position = oracle->count;
	if (ask->checkpoint.consumer != NULL) {
		const struct ask_checkpoint *asked = &ask->checkpoint;
		uint32_t consumer = asked->consumer == consumers[1];

		oracle->log[oracle->count++] = (struct stored){.created = created};
		oracle->checkpoints[consumer].ever = true;
		oracle->checkpoints[consumer].exists = !asked->deleted;
		oracle->checkpoints[consumer].position = asked->deleted ? 0 : asked->position;
		oracle->checkpoints[consumer].epoch = asked->deleted ? 0 : asked->epoch;
	}
	if (ask->events[0].stream == NULL)
		wanted->first_position = wanted->position = oracle->count;
}

static inline struct wanted oracle_decide(struct oracle *oracle, const struct ask *ask,
					  int64_t created)
{
	struct wanted wanted = {.code = ANSWER_OK};

	for (uint32_t i = 0; i < COUNT_OF(streams); i++) {
		wanted.streams[i].written = is_written(ask, streams[i]);
		wanted.streams[i].version = oracle->streams[i].version;
	}
	if (!tombstoned(oracle, ask, &wanted) && !repeated(ask, &wanted) &&
	    !stored_before(oracle, ask, &wanted) && !violated(oracle, ask, &wanted) &&
	    !matched(oracle, ask, &wanted) && !fenced(oracle, ask, &wanted))
		keep(oracle, ask, created, &wanted);
	return wanted;
}

/* ---- comparing ---- */

static inline void compare_streams(const struct outcome *outcome, const struct wanted *wanted)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < COUNT_OF(streams); i++) {
		if (!wanted->streams[i].written)
			continue;
		const struct outcome_stream *told = world_told(outcome, streams[i]);
		assert_int_equal(told->first_version, wanted->streams[i].first_version);
		assert_int_equal(told->version, wanted->streams[i].version);
		count++;
	}
	assert_int_equal(outcome->stream_count, count);
}

static inline void compare_violations(const struct outcome *outcome, const struct oracle *oracle,
				      const struct ask *ask, const struct wanted *wanted)
{
	assert_int_equal(outcome->violation_count, wanted->violation_count);
	for (uint32_t i = 0; i < wanted->violation_count; i++) {
		const struct violation *told = &outcome->violations[i];
		const char *stream = ask->expectations[wanted->violations[i]].stream;

		assert_int_equal(told->expected.index,
				 ASK_EXPECTATION_INDEX(wanted->violations[i]));
		assert_true(span_equal_string(told->expected.stream, stream));
		assert_int_equal(told->actual, oracle->streams[number_of(stream)].version);
		assert_int_equal(told->state, oracle->streams[number_of(stream)].state);
	}
}

static inline void oracle_compare(const struct outcome *outcome, const struct oracle *oracle,
				  const struct ask *ask, const struct wanted *wanted)
{
	uint8_t id[UUID_BYTES];

	assert_string_equal(answer_name(outcome->code), answer_name(wanted->code));
	assert_int_equal(outcome->duplicate, wanted->duplicate);
	assert_int_equal(outcome->first_position, wanted->first_position);
	assert_int_equal(outcome->position, wanted->position);
	if (wanted->code == ANSWER_OK) {
		compare_streams(outcome, wanted);
		if (ask->events[0].stream != NULL)
			assert_int_equal(outcome->created,
					 oracle->log[wanted->position - 1].created);
	}
	compare_violations(outcome, oracle, ask, wanted);
	if (wanted->conflict_stream != NULL)
		assert_true(span_equal_string(outcome->conflict_stream, wanted->conflict_stream));
	assert_int_equal(outcome->conflict_version, wanted->conflict_version);
	if (wanted->code == ANSWER_EVENT_ID_CONFLICT) {
		ask_id(wanted->conflict_id, id);
		assert_memory_equal(outcome->conflict_id, id, UUID_BYTES);
	}
	if (wanted->code == ANSWER_CONDITION_FAILED)
		assert_int_equal(outcome->condition_index, ASK_CONDITION_INDEX(wanted->condition));
	assert_int_equal(outcome->condition_position, wanted->condition_position);
	if (wanted->code == ANSWER_CHECKPOINT_CONFLICT || wanted->code == ANSWER_NOT_FOUND)
		assert_true(span_equal_string(outcome->consumer, consumers[wanted->consumer]));
	assert_int_equal(outcome->checkpoint_position, wanted->checkpoint_position);
	assert_int_equal(outcome->checkpoint_epoch, wanted->checkpoint_epoch);
}

/* ---- making appends ---- */

#define PICK(random, array) ((array)[unit_random(random) % COUNT_OF(array)])

static inline bool chance(uint64_t *random, uint32_t percent)
{
	return unit_random(random) % 100 < percent;
}

static inline void make_event(uint64_t *random, const struct oracle *oracle,
			      struct ask_event *event)
{
	uint32_t tag_count = 0;

	event->stream = PICK(random, streams);
	event->type = PICK(random, types);
	event->id = chance(random, 90) ? 10000 + unit_random(random) % 1000000
				       : 1 + unit_random(random) % ID_CHANCES(oracle->count);
	for (uint32_t i = 0; i < COUNT_OF(tags); i++)
		if (chance(random, 30))
			event->tags[tag_count++] = tags[i];
}

/* Right for the state of the stream, mostly. */
static inline void make_expectation(uint64_t *random, const struct oracle *oracle,
				    struct ask_expectation *expectation)
{
	uint32_t stream = (uint32_t)(unit_random(random) % COUNT_OF(streams));

	expectation->stream = streams[stream];
	expectation->checked = chance(random, 70);
	for (int attempt = 0; attempt < 2; attempt++) {
		expectation->kind = (enum expectation_kind)(unit_random(random) % 5);
		expectation->version = 0;
		if (expectation->kind == EXPECTATION_VERSION ||
		    expectation->kind == EXPECTATION_AT_LEAST)
			expectation->version =
				oracle->streams[stream].version + unit_random(random) % 3 / 2;
		if (holds(oracle, expectation))
			return;
	}
}

static inline void make_names(uint64_t *random, const char *const *from, size_t count,
			      const char *names[ASK_NAMES + 1])
{
	uint32_t used = 0;

	for (size_t i = 0; i < count && used < ASK_NAMES; i++)
		if (chance(random, 40))
			names[used++] = from[i];
}

static inline void make_condition(uint64_t *random, const struct oracle *oracle,
				  struct ask_condition *condition)
{
	condition->after = oracle->count - (chance(random, 60) ? unit_random(random) % 3 : 0);
	if (condition->after > oracle->count || chance(random, 10))
		condition->after = 0;
	condition->item_count = (uint32_t)(unit_random(random) % 4);
	for (uint32_t i = 0; i < condition->item_count; i++) {
		struct ask_item *item = &condition->items[i];
		uint64_t parts = 1 + unit_random(random) % 31;

		if (parts & 1)
			make_names(random, types, COUNT_OF(types), item->types);
		if (parts & 2)
			make_names(random, tags, COUNT_OF(tags), item->tags);
		if (parts & 4)
			make_names(random, categories, COUNT_OF(categories), item->categories);
		if (parts & 8)
			make_names(random, streams, COUNT_OF(streams), item->streams);
		if ((parts & 16) || (item->types[0] == NULL && item->tags[0] == NULL &&
				     item->categories[0] == NULL && item->streams[0] == NULL))
			item->prefix = PICK(random, prefixes);
	}
}

static inline void make_checkpoint(uint64_t *random, const struct oracle *oracle,
				   struct ask_checkpoint *checkpoint)
{
	uint32_t consumer = (uint32_t)(unit_random(random) % ORACLE_CONSUMERS);

	checkpoint->consumer = consumers[consumer];
	checkpoint->deleted = chance(random, 20);
	if (!checkpoint->deleted) {
		checkpoint->position = unit_random(random) % 4;
		checkpoint->epoch = chance(random, 50) ? oracle->checkpoints[consumer].epoch
						       : unit_random(random) % 4;
	}
	checkpoint->has_if_position = chance(random, 50);
	if (checkpoint->has_if_position)
		checkpoint->if_position = chance(random, 70)
						  ? oracle->checkpoints[consumer].position
						  : unit_random(random) % 4;
}

/* Some run of stored events, in its order, possibly with an event changed. */
static inline void make_retry(uint64_t *random, const struct oracle *oracle, struct ask *ask)
{
	uint32_t place = (uint32_t)(unit_random(random) % oracle->count);
	uint32_t count = 1 + (uint32_t)(unit_random(random) % 5), used = 0;

	for (; used < count && place < oracle->count; place++)
		if (oracle->log[place].event.stream != NULL)
			ask->events[used++] = oracle->log[place].event;
	if (used > 0 && chance(random, 30))
		make_event(random, oracle, &ask->events[unit_random(random) % used]);
	if (used > 1 && chance(random, 15)) {
		struct ask_event first = ask->events[0];

		ask->events[0] = ask->events[used - 1];
		ask->events[used - 1] = first;
	}
}

static inline struct ask oracle_make_ask(uint64_t *random, const struct oracle *oracle)
{
	uint32_t events = (uint32_t)(unit_random(random) % 6);
	uint32_t expectations = chance(random, 60) ? (uint32_t)(unit_random(random) % 3) : 0;
	struct ask ask = {0};

	if (oracle->count > 0 && chance(random, 30))
		make_retry(random, oracle, &ask);
	else
		for (uint32_t i = 0; i < events; i++)
			make_event(random, oracle, &ask.events[i]);
	for (uint32_t i = 0; i < expectations; i++)
		make_expectation(random, oracle, &ask.expectations[i]);
	ask.condition_count = chance(random, 40) ? 1 + (uint32_t)(unit_random(random) % 3) : 0;
	for (uint32_t i = 0; i < ask.condition_count; i++)
		make_condition(random, oracle, &ask.conditions[i]);
	if (chance(random, 35))
		make_checkpoint(random, oracle, &ask.checkpoint);
	return ask_completed(&ask);
}

#endif
