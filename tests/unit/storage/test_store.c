/*
 * The store against a model: random appends, decided by plain loops over arrays, with flushes,
 * crashes and reads in between.
 */
#include "tests/unit/storage/feed.h"

#include "base/checksum.h"
#include "storage/verify.h"

#define EVENTS_MAX   4000
#define COMMANDS_MAX 4000
#define STREAMS      14

struct model_event {
	struct span record;
	const uint8_t *id;
	uint32_t stream;
	uint64_t hash;
};

struct model {
	uint64_t seed;
	struct feed_place place;
	struct store *store;
	struct buffer names[STREAMS];
	uint32_t count;
	struct model_event events[EVENTS_MAX]; /* position - 1 */
	uint64_t applied;
	struct span commands[COMMANDS_MAX]; /* as proposed, by index; for replay */
	struct feed_append last[8];         /* appends of the batch in the making */
	uint32_t batch_count;
	int64_t batch_created;
	bool replaying;
	uint32_t told;
	uint32_t successes, duplicates, conflicts, violations;
	uint32_t at_once, not_at_once;
};

static uint64_t roll(struct model *model, uint64_t sides)
{
	return unit_random(&model->seed) % sides;
}

static struct span stream_name(const struct model *model, uint32_t stream)
{
	return buffer_span(&model->names[stream]);
}

static void make_names(struct model *model)
{
	for (uint32_t i = 0; i < STREAMS; i++) {
		char text[32];

		buffer_init(&model->names[i]);
		snprintf(text, sizeof text, "%s%u-", i == 3 ? "$checkpoint" : "Order", i % 3);
		buffer_append_span(&model->names[i], span_of_string(text));
		if (i >= 10) /* names that are no keys: equal in their first 400 bytes */
			for (int j = 0; j < 300 + 50 * (int)(i % 4); j++)
				buffer_append(&model->names[i], "xy", 2);
		snprintf(text, sizeof text, "%u", i);
		buffer_append_span(&model->names[i], span_of_string(text));
	}
}

static uint32_t stream_number(const struct model *model, struct span name)
{
	for (uint32_t i = 0; i < STREAMS; i++)
		if (span_equal(stream_name(model, i), name))
			return i;
	fail_msg("an unknown stream");
	return 0;
}

static uint64_t model_version(const struct model *model, uint32_t stream)
{
	uint64_t version = 0;

	for (uint32_t i = 0; i < model->count; i++)
		version += model->events[i].stream == stream;
	return version;
}

static uint64_t model_find_id(const struct model *model, const uint8_t *id)
{
	for (uint32_t i = 0; i < model->count; i++)
		if (memcmp(model->events[i].id, id, UUID_BYTES) == 0)
			return i + 1;
	return 0;
}

/* ---- what an append must lead to ---- */

static bool model_repeats_an_id(const struct feed_append *append)
{
	for (uint32_t i = 0; i < append->event_count; i++)
		for (uint32_t j = 0; j < i; j++)
			if (memcmp(append->events[i].id, append->events[j].id, UUID_BYTES) == 0)
				return true;
	return false;
}

static enum answer_code model_stored(const struct model *model, const struct feed_append *append,
				     uint64_t *first)
{
	uint32_t stored = 0, in_place = 0;

	for (uint32_t i = 0; i < append->event_count; i++) {
		uint64_t position = model_find_id(model, append->events[i].id);

		if (i == 0)
			*first = position;
		stored += position > 0;
		in_place += position > 0 && position == *first + i &&
			    span_equal(stream_name(model, model->events[position - 1].stream),
				       append->events[i].stream);
	}
	if (stored == 0)
		return ANSWER_COUNT; /* to be decided by expectations */
	return in_place == append->event_count ? ANSWER_OK : ANSWER_EVENT_ID_CONFLICT;
}

static uint32_t model_violations(const struct model *model, const struct feed_append *append)
{
	uint32_t violated = 0;

	for (uint32_t i = 0; i < append->expectation_count; i++) {
		const struct expectation *expected = &append->expectations[i];
		uint64_t version = model_version(model, stream_number(model, expected->stream));

		violated +=
			(expected->kind == EXPECTATION_VERSION && expected->version != version) ||
			(expected->kind == EXPECTATION_NO_STREAM && version > 0) ||
			(expected->kind == EXPECTATION_STREAM_EXISTS && version == 0);
	}
	return violated;
}

static int64_t model_created(const struct model *model)
{
	return model->count == 0 ? 0 : record_created(model->events[model->count - 1].record.data);
}

static void model_write(struct model *model, const struct feed_append *append)
{
	int64_t created = model_created(model);

	if (model->batch_created > created)
		created = model->batch_created;
	for (uint32_t i = 0; i < append->event_count; i++) {
		const struct feed_event *event = &append->events[i];
		struct record_fields fields = {.id = event->id,
					       .stream = event->stream,
					       .type = event->type,
					       .data = event->data,
					       .tag_count = event->tag_count};
		struct model_event *stored = &model->events[model->count];
		struct buffer buffer;
		size_t size;

		memcpy(fields.tags, event->tags, sizeof event->tags);
		stored->stream = stream_number(model, event->stream);
		buffer_init(&buffer);
		record_encode(&buffer, &fields);
		record_stamp(buffer.data, model->count + 1,
			     model_version(model, stored->stream) + 1, created);
		uint8_t *bytes = buffer_take(&buffer, &size);
		stored->record = span_of(bytes, size);
		stored->id = bytes + RECORD_ID_OFFSET;
		stored->hash = checksum64_seeded(
			bytes, size, model->count == 0 ? 0 : model->events[model->count - 1].hash);
		model->count++;
	}
}

static void check_ok(struct model *model, const struct feed_append *append, uint64_t first,
		     const struct outcome *outcome)
{
	assert_int_equal(outcome->first_position, first);
	assert_int_equal(outcome->position, first + append->event_count - 1);
	assert_int_equal(outcome->created,
			 record_created(model->events[outcome->position - 1].record.data));
	for (uint32_t i = 0; i < outcome->stream_count; i++) {
		const struct outcome_stream *stream = &outcome->streams[i];
		uint64_t low = 0, high = 0;

		for (uint64_t at = first; at <= outcome->position; at++) {
			const uint8_t *record = model->events[at - 1].record.data;

			if (!span_equal(record_stream(record), stream->stream))
				continue;
			high = record_version(record);
			low = low == 0 ? high : low;
		}
		assert_int_equal(stream->first_version, low);
		assert_int_equal(stream->version, high);
	}
}

static void check_conflict(const struct model *model, const struct feed_append *append,
			   const struct outcome *outcome)
{
	if (outcome->conflict_version == 0) {
		assert_true(model_repeats_an_id(append));
		return;
	}
	for (uint32_t i = 0; i < append->event_count; i++) {
		uint64_t position = model_find_id(model, append->events[i].id);

		if (position == 0)
			continue;
		const uint8_t *record = model->events[position - 1].record.data;
		assert_memory_equal(outcome->conflict_id, append->events[i].id, UUID_BYTES);
		assert_true(span_equal(outcome->conflict_stream, record_stream(record)));
		assert_int_equal(outcome->conflict_version, record_version(record));
		return;
	}
	fail_msg("a conflict where no id is stored");
}

static void decided(void *arg, uint32_t item, const struct outcome *outcome)
{
	struct model *model = arg;
	const struct feed_append *append = &model->last[item];
	uint64_t first = 0;
	enum answer_code code = ANSWER_EVENT_ID_CONFLICT;

	assert_int_equal(item, model->told++);
	if (!model_repeats_an_id(append))
		code = model_stored(model, append, &first);
	bool duplicate = code == ANSWER_OK;
	uint32_t violated = model_violations(model, append);
	if (code == ANSWER_COUNT) {
		code = violated > 0 ? ANSWER_WRONG_EXPECTED_VERSION : ANSWER_OK;
		first = model->count + 1;
		if (violated == 0)
			model_write(model, append);
	}
	assert_string_equal(answer_name(outcome->code), answer_name(code));
	assert_int_equal(outcome->duplicate, duplicate);
	if (code == ANSWER_OK)
		check_ok(model, append, first, outcome);
	else
		assert_true(outcome->message[0] != 0);
	if (code == ANSWER_EVENT_ID_CONFLICT)
		check_conflict(model, append, outcome);
	if (code == ANSWER_WRONG_EXPECTED_VERSION)
		assert_int_equal(outcome->violation_count, violated);
	model->successes += code == ANSWER_OK && !duplicate;
	model->duplicates += duplicate;
	model->conflicts += code == ANSWER_EVENT_ID_CONFLICT;
	model->violations += code == ANSWER_WRONG_EXPECTED_VERSION;
}

/* ---- random appends ---- */

static struct span random_data(struct model *model)
{
	static uint8_t bytes[70000];

	if (roll(model, 200) == 0)
		return span_of(bytes, 40000 + roll(model, 30000));
	return span_of(bytes, roll(model, 300));
}

static void make_event(struct model *model, struct feed_event *event, uint32_t stream)
{
	static const char *const labels[] = {"placed", "paid", "sent", "customer:1", "customer:2"};

	*event = (struct feed_event){.stream = stream_name(model, stream),
				     .type = span_of_string(labels[roll(model, 3)]),
				     .data = random_data(model)};
	bytes_set_be64(event->id, roll(model, 2) == 0 ? unit_random(&model->seed)
						      : model->applied << 20 | roll(model, 1024));
	bytes_set_be64(event->id + 8, unit_random(&model->seed));
	event->id[6] = (uint8_t)((roll(model, 2) == 0 ? 0x70 : 0x40) | (event->id[6] & 15));
	event->tag_count = (uint32_t)roll(model, 4);
	for (uint32_t i = 0; i < event->tag_count; i++)
		event->tags[i] = span_of_string(labels[roll(model, 5)]); /* sometimes twice */
}

static void copy_event(const struct model *model, struct feed_event *event, uint64_t position)
{
	const struct model_event *stored = &model->events[position - 1];
	struct record record;

	assert_int_equal(record_parse(stored->record, &record), 0);
	*event = (struct feed_event){
		.stream = record.stream, .type = record.type, .data = record.data};
	memcpy(event->id, stored->id, UUID_BYTES);
}

static void expect(struct model *model, struct feed_append *append, uint32_t stream, bool written)
{
	struct expectation *expected = &append->expectations[append->expectation_count++];
	uint64_t version = model_version(model, stream);

	*expected = (struct expectation){.kind = EXPECTATION_ANY,
					 .stream = stream_name(model, stream),
					 .written = written,
					 .index = append->expectation_count - 1};
	if (roll(model, 3) > 0)
		return;
	expected->kind = (enum expectation_kind)roll(model, 4);
	expected->version = roll(model, 4) == 0 ? roll(model, 5) : version;
}

/* The streams of the events, each once, then perhaps one that is not written. */
static void expect_all(struct model *model, struct feed_append *append)
{
	uint32_t checked = (uint32_t)roll(model, STREAMS);
	bool seen[STREAMS] = {false};

	for (uint32_t i = 0; i < append->event_count; i++) {
		uint32_t stream = stream_number(model, append->events[i].stream);

		if (!seen[stream] && append->expectation_count < 7)
			expect(model, append, stream, true);
		seen[stream] = true;
	}
	if (!seen[checked] && roll(model, 4) == 0)
		expect(model, append, checked, false);
}

static void make_append(struct model *model, struct feed_append *append)
{
	uint32_t streams[3] = {(uint32_t)roll(model, STREAMS), (uint32_t)roll(model, STREAMS),
			       (uint32_t)roll(model, STREAMS)};
	uint64_t kind = roll(model, 10);

	*append = (struct feed_append){.event_count = 1 + (uint32_t)roll(model, 5)};
	for (uint32_t i = 0; i < append->event_count; i++)
		make_event(model, &append->events[i], streams[roll(model, 3)]);
	if (kind == 0 && model->count > 5) { /* a run that is stored, sometimes not quite */
		uint64_t first = 1 + roll(model, model->count - append->event_count);
		uint64_t skipped = first + append->event_count < model->count ? roll(model, 2) : 0;

		for (uint32_t i = 0; i < append->event_count; i++)
			copy_event(model, &append->events[i], first + i + (i > 0 ? skipped : 0));
		if (roll(model, 3) == 0)
			make_event(model, &append->events[roll(model, append->event_count)],
				   streams[0]);
		if (roll(model, 3) == 0)
			append->events[0].stream = stream_name(model, streams[0]);
	}
	if (kind == 1)
		memcpy(append->events[roll(model, append->event_count)].id,
		       append->events[roll(model, append->event_count)].id, UUID_BYTES);
	expect_all(model, append);
}

static void send_command(struct model *model, struct span command, uint64_t index,
			 const struct apply_sink *sink)
{
	struct apply_result result;
	struct error error;
	uint8_t *body = memory_copy(command.data, command.size);
	uint32_t before = model->count;

	assert_ok(store_apply(model->store, index, body, command.size, sink, &result, &error));
	if (sink != NULL && model->count > before) {
		assert_int_equal(result.first_position, before + 1);
		assert_int_equal(result.last_position, model->count);
	}
}

static void run_command(struct model *model)
{
	struct apply_sink sink = {.decided = decided, .arg = model};
	uint32_t count = 1 + (uint32_t)roll(model, 4);
	struct buffer items;

	model->applied++;
	model->told = 0;
	/* The clocks of successive leaders differ. */
	model->batch_created = (int64_t)(model->applied * 1000 + roll(model, 5000));
	buffer_init(&items);
	for (uint32_t i = 0; i < count; i++) {
		if (i > 0 && roll(model, 6) == 0)
			model->last[i] = model->last[i - 1]; /* the same twice in one batch */
		else
			make_append(model, &model->last[i]);
		feed_item(&items, &model->last[i]);
	}
	struct span command = feed_command(&items, count, model->batch_created);
	buffer_close(&items);
	model->commands[model->applied] = command;
	send_command(model, command, model->applied, &sink);
	assert_int_equal(model->told, count);
}

static void run_term(struct model *model)
{
	uint8_t *body = memory_alloc(COMMAND_HEADER_BYTES);

	model->applied++;
	command_header_write(body, COMMAND_TERM, 0, 1);
	model->commands[model->applied] = span_of(body, COMMAND_HEADER_BYTES);
	send_command(model, model->commands[model->applied], model->applied, NULL);
}

/* In memory, the disk sometimes fails: nothing is lost, and the next flush takes all. */
static void flush(struct model *model)
{
	struct error error;

	if (model->place.disk != NULL && roll(model, 3) == 0) {
		kv_memory_disk_fail(model->place.disk, 1);
		int rc = store_flush(model->store, &error);
		assert_true(rc == -EIO || rc == 0); /* 0: there was nothing to do */
		kv_memory_disk_fail(model->place.disk, 0);
		return;
	}
	assert_ok(store_flush(model->store, &error));
}

/* Lose the tail, and replay the log from where it may be, as raft does. */
static void crash(struct model *model)
{
	struct store_status status;

	store_close(model->store);
	model->store = feed_store(&model->place);
	store_get_status(model->store, &status);
	assert_int_equal(status.applied_index, status.durable_index);
	uint64_t from = status.applied_index > 3 ? status.applied_index - 3 : 1;
	for (uint64_t index = from; index <= model->applied; index++)
		send_command(model, model->commands[index], index, NULL);
}

/* ---- reads ---- */

static void check_page(const struct page *page, struct span *expected, uint32_t count)
{
	size_t offset = 0;

	for (uint32_t i = 0; i < page->count; i++) {
		assert_true(i < count);
		assert_true(offset + expected[i].size <= page->records.size);
		assert_memory_equal(page->records.data + offset, expected[i].data,
				    expected[i].size);
		offset += expected[i].size;
	}
	assert_int_equal(offset, page->records.size);
}

/* What of the records wanted, in order, a page may hold. */
static uint32_t page_share(const struct read_range *range, const struct span *wanted,
			   uint32_t count)
{
	size_t bytes = 0;
	uint32_t taken = 0;

	while (taken < count && taken < range->limit &&
	       (taken == 0 || bytes + wanted[taken].size <= range->bytes_max))
		bytes += wanted[taken++].size;
	return taken;
}

static struct read_range random_range(struct model *model, uint64_t last)
{
	return (struct read_range){
		.from = roll(model, last + 3),
		.backward = roll(model, 2) == 0,
		.limit = 1 + (uint32_t)roll(model, roll(model, 2) == 0 ? 5 : 3000),
		.bytes_max = 1 + roll(model, roll(model, 2) == 0 ? 2000 : 1 << 20)};
}

/* The positions of a range, filtered by stream (STREAMS: any). */
static uint32_t model_range(const struct model *model, const struct read_range *range,
			    uint32_t stream, bool with_system, struct span *wanted)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < model->count; i++) {
		uint32_t at = range->backward ? model->count - 1 - i : i;
		const struct model_event *event = &model->events[at];
		uint64_t place = stream == STREAMS ? at + 1 : record_version(event->record.data);
		bool inside = range->from == 0 ||
			      (range->backward ? place <= range->from : place >= range->from);

		if (inside && (stream == STREAMS || event->stream == stream) &&
		    (with_system || event->stream != 3))
			wanted[count++] = event->record;
	}
	return count;
}

static void check_read_all(struct model *model)
{
	static struct span wanted[EVENTS_MAX];
	struct read_range range = random_range(model, model->count);
	bool with_system = roll(model, 2) == 0;
	struct page page;
	struct error error;
	uint32_t count = model_range(model, &range, STREAMS, with_system, wanted);

	buffer_init(&page.records);
	assert_ok(store_read_all(model->store, &range, with_system, &page, &error));
	assert_int_equal(page.head, model->count);
	assert_int_equal(page.count, page_share(&range, wanted, count));
	check_page(&page, wanted, count);
	if (page.count < count) {
		assert_false(page.end);
		range.from = page.next;
		assert_int_equal(model_range(model, &range, STREAMS, with_system, wanted),
				 count - page.count);
	}
	if (page.end)
		assert_int_equal(page.count, count);
	buffer_close(&page.records);
}

/* What is read at once, if it is, is what is read otherwise. */
static void check_read_at_once(struct model *model, struct span name,
			       const struct read_range *range, const struct page *wanted,
			       const struct stream_status *wanted_status)
{
	struct stream_status status;
	struct page page;

	buffer_init(&page.records);
	if (store_read_stream_at_once(model->store, name, range, &page, &status)) {
		model->at_once += page.count > 1;
		assert_true(span_equal(buffer_span(&page.records), buffer_span(&wanted->records)));
		assert_int_equal(page.count, wanted->count);
		assert_int_equal(page.next, wanted->next);
		assert_int_equal(page.end, wanted->end);
		assert_int_equal(page.head, wanted->head);
		assert_memory_equal(&status, wanted_status, sizeof status);
	} else {
		model->not_at_once++;
	}
	buffer_close(&page.records);
}

static void check_read_stream(struct model *model)
{
	static struct span wanted[EVENTS_MAX];
	uint32_t stream = (uint32_t)roll(model, STREAMS);
	uint64_t version = model_version(model, stream);
	struct read_range range = random_range(model, version);
	struct stream_status status;
	struct page page;
	struct error error;
	uint32_t count = model_range(model, &range, stream, true, wanted);

	buffer_init(&page.records);
	assert_ok(store_read_stream(model->store, stream_name(model, stream), &range, &page,
				    &status, &error));
	check_read_at_once(model, stream_name(model, stream), &range, &page, &status);
	assert_int_equal(status.version, version);
	assert_int_equal(status.count, version);
	assert_int_equal(status.state, version > 0 ? STREAM_LIVE : STREAM_NONE);
	assert_int_equal(status.head, model->count);
	assert_int_equal(page.count, page_share(&range, wanted, count));
	check_page(&page, wanted, count);
	assert_int_equal(page.end, page.count == count);
	if (!page.end) {
		range.from = page.next;
		assert_int_equal(model_range(model, &range, stream, true, wanted),
				 count - page.count);
	}
	buffer_close(&page.records);
}

static void check_read_one(struct model *model)
{
	uint64_t position = 1 + roll(model, model->count);
	const struct model_event *event = &model->events[position - 1];
	uint64_t asked = position, hash;
	struct buffer into[3];
	struct error error;

	for (int i = 0; i < 3; i++)
		buffer_init(&into[i]);
	assert_ok(store_read_position(model->store, position, &into[0], &error));
	assert_ok(store_read_id(model->store, event->id, &into[1], &error));
	assert_ok(store_read_version(model->store, stream_name(model, event->stream),
				     record_version(event->record.data), &into[2], &error));
	for (int i = 0; i < 3; i++) {
		assert_true(span_equal(buffer_span(&into[i]), event->record));
		buffer_close(&into[i]);
	}
	assert_ok(store_digest(model->store, &asked, &hash, &error));
	assert_int_equal(asked, position);
	assert_int_equal(hash, event->hash);
}

static void check_position_at(struct model *model)
{
	int64_t created = (int64_t)roll(model, (uint64_t)model_created(model) + 3000);
	uint64_t position, wanted = 1;
	struct error error;

	if (roll(model, 2) == 0) /* the time of a record itself */
		created = record_created(model->events[roll(model, model->count)].record.data);
	while (wanted <= model->count &&
	       record_created(model->events[wanted - 1].record.data) < created)
		wanted++;
	assert_ok(store_position_at(model->store, created, &position, &error));
	assert_int_equal(position, wanted);
}

static void check_what_is_not_there(struct model *model)
{
	uint8_t id[UUID_BYTES] = {0xff};
	struct buffer into;
	struct error error;
	uint64_t position = model->count + 1, hash;

	buffer_init(&into);
	assert_int_equal(store_read_position(model->store, 0, &into, &error), -ENOENT);
	assert_int_equal(store_read_position(model->store, position, &into, &error), -ENOENT);
	assert_int_equal(store_read_id(model->store, id, &into, &error), -ENOENT);
	assert_int_equal(store_read_version(model->store, stream_name(model, 0),
					    model_version(model, 0) + 1, &into, &error),
			 -ENOENT);
	assert_int_equal(store_digest(model->store, &position, &hash, &error), -ENOENT);
	assert_int_equal(into.size, 0);
	buffer_close(&into);
}

static void check_status(struct model *model)
{
	struct store_status status;
	uint32_t events = 0, streams = 0;

	for (uint32_t i = 0; i < model->count; i++)
		events += model->events[i].stream != 3;
	for (uint32_t i = 0; i < STREAMS; i++)
		streams += model_version(model, i) > 0;
	store_get_status(model->store, &status);
	assert_int_equal(status.applied_index, model->applied);
	assert_int_equal(status.head, model->count);
	assert_int_equal(status.created, model_created(model));
	assert_int_equal(status.hash, model->events[model->count - 1].hash);
	assert_int_equal(status.head, status.durable_position + status.tail_records);
	assert_int_equal(status.event_count, events);
	assert_int_equal(status.stream_count, streams);
	assert_int_equal(store_head(model->store), model->count);
}

static void check_whole(struct model *model)
{
	static const struct verify_options options;
	static struct verify_report report;
	struct error error;

	store_close(model->store);
	struct kv *kv = feed_kv(&model->place);
	assert_ok(verify_store(kv, &options, &report, &error));
	kv_close(kv);
	if (report.problem_count > 0)
		fail_msg("%s", report.problems[0]);
	assert_int_equal(report.records, model->count);
	assert_int_equal(report.applied_index, model->applied);
	model->store = feed_store(&model->place);
	check_status(model);
}

static void run_model(bool in_memory, uint64_t seed, uint32_t steps)
{
	struct model *model = memory_zeroed(1, sizeof *model);
	struct error error;

	model->seed = seed;
	make_names(model);
	feed_place_init(&model->place, in_memory);
	model->store = feed_store(&model->place);
	run_command(model);
	while (model->count == 0)
		run_command(model);
	for (uint32_t step = 0; step < steps && model->count + 80 < EVENTS_MAX; step++) {
		run_command(model);
		if (roll(model, 20) == 0)
			run_term(model);
		if (roll(model, 8) == 0)
			flush(model);
		if (roll(model, 50) == 0)
			crash(model);
		check_read_all(model);
		check_read_stream(model);
		check_read_one(model);
		check_position_at(model);
	}
	check_what_is_not_there(model);
	check_status(model);
	assert_ok(store_flush(model->store, &error));
	check_status(model);
	check_whole(model);
	assert_true(model->successes > steps / 2 && model->duplicates > 0);
	assert_true(model->conflicts > 0 && model->violations > 0);
	assert_true(model->at_once > 2 && model->not_at_once > 20);
	store_close(model->store);
	feed_place_close(&model->place);
	for (uint32_t i = 0; i < model->count; i++)
		unit_free_exact(model->events[i].record);
	for (uint64_t i = 1; i <= model->applied; i++)
		unit_free_exact(model->commands[i]);
	for (uint32_t i = 0; i < STREAMS; i++)
		buffer_close(&model->names[i]);
	memory_free(model);
}

static void the_store_does_what_the_model_does_in_memory(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++)
		run_model(true, seed, 200);
}

static void the_store_does_what_the_model_does_on_disk(void **state)
{
	(void)state;
	for (uint64_t seed = 101; seed <= 102; seed++)
		run_model(false, seed, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_store_does_what_the_model_does_in_memory),
		cmocka_unit_test(the_store_does_what_the_model_does_on_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
