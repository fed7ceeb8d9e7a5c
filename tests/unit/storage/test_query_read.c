/* Reads by query, conditions and counts against a model that goes through every record. */
#include "tests/unit/storage/query_model.h"

#include "storage/store_inside.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- random queries ---- */

static struct span random_prefix(struct query_model *model)
{
	static const char *const prefixes[] = {"Order-", "Order", "Or", "Order-1",    "O",
					       "-",      "Ox-y",  "$",  "$snapshot-", "Nothing-"};
	struct span name = model_stream(model, (uint32_t)model_roll(model, MODEL_STREAMS));

	if (model_roll(model, 3) == 0)
		return span_of(name.data, 1 + model_roll(model, name.size));
	return span_of_string(prefixes[model_roll(model, 10)]);
}

static struct span random_name(struct query_model *model, enum query_part part)
{
	struct span stream = model_stream(model, (uint32_t)model_roll(model, MODEL_STREAMS));

	switch (part) {
	case QUERY_TYPES:
		return span_of_string(model_types[model_roll(model, MODEL_LABELS)]);
	case QUERY_TAGS:
		return span_of_string(model_tags[model_roll(
			model, model_roll(model, 2) == 0 ? MODEL_LABELS : 2)]);
	case QUERY_CATEGORIES:
		return text_category(stream).size > 0 ? text_category(stream)
						      : span_of_string("Order");
	default:
		return stream;
	}
}

static void make_query(struct query_model *model, struct query *query)
{
	uint64_t items = 1 + model_roll(model, 3);

	query_clear(query);
	for (uint64_t i = 0; i < items; i++) {
		uint64_t parts = 1 + model_roll(model, 31);

		query_add_item(query);
		for (int part = 0; part < QUERY_PARTS; part++) {
			uint64_t names = (parts >> part & 1) != 0 ? 1 + model_roll(model, 3) : 0;

			if (part == QUERY_TAGS && names > 2)
				names = 1;
			for (uint64_t j = 0; j < names; j++) /* sometimes the same twice */
				query_add_name(query, (enum query_part)part,
					       random_name(model, (enum query_part)part));
		}
		if ((parts >> QUERY_PARTS & 1) != 0)
			query_set_prefix(query, random_prefix(model));
	}
}

static bool model_matches(const struct query_model *model, const struct query *query,
			  uint64_t position)
{
	struct record record;

	assert_int_equal(record_parse(model->records[position - 1], &record), 0);
	return query_matches(query, &record);
}

/* ---- reads ---- */

static void check_page(struct query_model *model, const struct query *query,
		       const struct read_range *range, const struct page *page)
{
	bool backward = range->backward;
	uint64_t position = range->from, head = model->count;
	struct span rest = buffer_span(&page->records);
	uint32_t count = 0;

	if (position == 0 || (backward && position > head))
		position = backward ? head : 1;
	for (; position >= 1 && position <= head; position += backward ? UINT64_MAX : 1) {
		struct span record = model->records[position - 1];
		size_t used = page->records.size - rest.size;

		if (count == range->limit)
			break;
		if (!model_matches(model, query, position))
			continue;
		if (count > 0 && used + record.size > range->bytes_max)
			break;
		assert_true(rest.size >= record.size);
		assert_memory_equal(rest.data, record.data, record.size);
		rest = span_of(rest.data + record.size, rest.size - record.size);
		count++;
	}
	assert_int_equal(rest.size, 0);
	assert_int_equal(page->count, count);
	assert_int_equal(page->head, head);
	assert_int_equal(page->next, position);
	assert_int_equal(page->end, backward ? position == 0 : position > head);
}

/* One page after the other, until the end. */
static void check_read(struct query_model *model, const struct query *query)
{
	struct read_range range = {
		.from = model_roll(model, 2) == 0 ? 0 : model_roll(model, model->count + 3),
		.backward = model_roll(model, 2) == 0,
		.limit = 1 + (uint32_t)model_roll(model, 200),
		.bytes_max = model_roll(model, 20000)};
	struct page page = {.end = false};
	struct error error;

	buffer_init(&page.records);
	while (!page.end) {
		buffer_clear(&page.records);
		assert_ok(store_read_query(model->store, query, &range, &page, &error));
		check_page(model, query, &range, &page);
		range.from = page.next;
	}
	buffer_close(&page.records);
}

static void check_count(struct query_model *model, const struct query *query)
{
	struct query_tally tally = {0};
	struct error error;
	uint64_t count = 0;

	for (uint64_t position = 1; position <= model->count; position++)
		count += model_matches(model, query, position);
	while (!tally.end)
		assert_ok(store_count(model->store, query, &tally, &error));
	assert_int_equal(tally.count, count);
	assert_int_equal(tally.head, model->count);
	assert_int_equal(tally.next, model->count + 1);
}

/* ---- conditions ---- */

static int find(struct store *store, const struct query *query, uint64_t after, uint64_t *position,
		struct error *error)
{
	struct match_budget budget = {.looks = LIMIT_CONDITION_SCAN,
				      .depth = LIMIT_CONDITION_SEEKS};

	pthread_mutex_lock(&store->apply_lock);
	int rc = store_find_match(store, query, after, &budget, position, error);
	store_end_lookup(store);
	pthread_mutex_unlock(&store->apply_lock);
	return rc;
}

static void check_condition(struct query_model *model, const struct query *query)
{
	uint64_t expected = 0, found;
	struct error error;

	assert_ok(find(model->store, query, UINT64_MAX, &found, &error));
	assert_int_equal(found, 0);
	for (uint64_t after = model->count + 1; after <= model->count + 1; after--) {
		if (after < model->count && model_matches(model, query, after + 1))
			expected = after + 1;
		assert_ok(find(model->store, query, after, &found, &error));
		assert_int_equal(found, expected);
	}
}

/* ---- runs ---- */

static void check_all(struct query_model *model, struct query *query)
{
	make_query(model, query);
	check_read(model, query);
	check_count(model, query);
	make_query(model, query);
	check_condition(model, query);
}

static void run_model(uint64_t seed, bool in_memory, uint32_t events_max)
{
	struct query_model *model = model_new(seed, in_memory);
	uint32_t batch = 1 + (uint32_t)model_roll(model, 60);
	struct query query;

	query_init(&query);
	while (model->count + batch < events_max) {
		model_append(model, 1 + (uint32_t)model_roll(model, batch));
		if (model_roll(model, 4) == 0)
			model_flush(model);
		if (model_roll(model, 4) == 0)
			check_all(model, &query);
	}
	for (int i = 0; i < 12; i++)
		check_all(model, &query);
	query_clear(&query); /* "all" */
	check_read(model, &query);
	check_count(model, &query);
	check_condition(model, &query);
	query_close(&query);
	model_free(model);
}

static void queries_find_what_the_model_finds_in_memory(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		run_model(seed, true, 300);
	for (uint64_t seed = 101; seed <= 103; seed++)
		run_model(seed, true, 2500);
}

static void queries_find_what_the_model_finds_on_disk(void **state)
{
	(void)state;
	for (uint64_t seed = 201; seed <= 206; seed++)
		run_model(seed, false, 300);
	run_model(301, false, 2500);
}

static void an_empty_store_has_no_matches(void **state)
{
	(void)state;
	struct query_model *model = model_new(1, true);
	struct query query;

	query_init(&query);
	check_read(model, &query);
	check_count(model, &query);
	for (int i = 0; i < 50; i++)
		check_all(model, &query);
	query_close(&query);
	model_free(model);
}

/* ---- lists of many chunks ---- */

#define NUMBERS 60000u

static const uint32_t divisors[] = {1, 2, 3, 7, 100, 977, 20011};

/* The event at position n has a tag for each of the divisors that divide n; its type is n's parity. */
static void fill_numbers(struct store *store)
{
	char tags[COUNT_OF(divisors)][16];
	struct error error;
	uint64_t number = 0;

	for (uint32_t i = 0; i < COUNT_OF(divisors); i++)
		snprintf(tags[i], sizeof tags[i], "by %u", divisors[i]);
	for (uint64_t index = 1; number < NUMBERS; index++) {
		struct feed_append append = feed_single("Number-1", index);

		for (append.event_count = 0; append.event_count < 16 && number < NUMBERS;) {
			struct feed_event *event = &append.events[append.event_count++];

			*event = append.events[0];
			event->type = span_of_string(++number % 2 == 0 ? "even" : "odd");
			bytes_set_be64(event->id + 8, number);
			event->tag_count = 0;
			for (uint32_t i = 1; i < COUNT_OF(divisors) && event->tag_count < 4; i++)
				if (number % divisors[i] == 0)
					event->tags[event->tag_count++] = span_of_string(tags[i]);
		}
		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (index % 700 == 0)
			assert_ok(store_flush(store, &error));
	}
}

struct numbers {
	uint32_t both[2]; /* divisors of the first item */
	uint32_t other;   /* of the second; 0: there is none */
	bool even;
};

static bool numbers_match(const struct numbers *numbers, uint64_t number)
{
	bool first = number % numbers->both[0] == 0 && number % numbers->both[1] == 0 &&
		     (!numbers->even || number % 2 == 0);

	return first || (numbers->other != 0 && number % numbers->other == 0);
}

static void numbers_query(const struct numbers *numbers, struct query *query, char text[3][16])
{
	query_clear(query);
	query_add_item(query);
	query_add_name(query, QUERY_TYPES, span_of_string("even"));
	if (!numbers->even)
		query_add_name(query, QUERY_TYPES, span_of_string("odd"));
	for (uint32_t i = 0; i < 2; i++) {
		snprintf(text[i], 16, "by %u", numbers->both[i]);
		if (numbers->both[i] > 1)
			query_add_name(query, QUERY_TAGS, span_of_string(text[i]));
	}
	if (numbers->other == 0)
		return;
	snprintf(text[2], 16, "by %u", numbers->other);
	query_add_item(query);
	query_add_name(query, QUERY_TAGS, span_of_string(text[2]));
}

static void check_numbers_read(struct store *store, const struct numbers *numbers,
			       const struct query *query, const struct read_range *range)
{
	uint64_t position = range->from, count = 0;
	struct page page;
	struct error error;

	buffer_init(&page.records);
	assert_ok(store_read_query(store, query, range, &page, &error));
	struct span rest = buffer_span(&page.records);

	for (; position >= 1 && position <= NUMBERS && count < range->limit;
	     position += range->backward ? UINT64_MAX : 1) {
		struct record record;

		if (!numbers_match(numbers, position))
			continue;
		assert_int_equal(record_parse(rest, &record), 0);
		assert_int_equal(record.position, position);
		rest = span_of(rest.data + record.bytes.size, rest.size - record.bytes.size);
		count++;
	}
	assert_int_equal(page.count, count);
	assert_int_equal(page.next, position);
	buffer_close(&page.records);
}

static void check_numbers(struct store *store, const struct numbers *numbers, uint64_t *seed)
{
	struct query_tally tally = {0};
	struct query query;
	char text[3][16];
	struct error error;
	uint64_t count = 0, found = 0;

	query_init(&query);
	numbers_query(numbers, &query, text);
	for (int i = 0; i < 10; i++) {
		struct read_range range = {.from = 1 + unit_random(seed) % NUMBERS,
					   .backward = unit_random(seed) % 2 == 0,
					   .limit = 1 + (uint32_t)(unit_random(seed) % 2000),
					   .bytes_max = 4 * MIB};

		check_numbers_read(store, numbers, &query, &range);
		uint64_t after = unit_random(seed) % NUMBERS, next = after + 1;

		while (next <= NUMBERS && !numbers_match(numbers, next))
			next++;
		assert_ok(find(store, &query, after, &found, &error));
		assert_int_equal(found, next <= NUMBERS ? next : 0);
	}
	for (uint64_t number = 1; number <= NUMBERS; number++)
		count += numbers_match(numbers, number);
	while (!tally.end)
		assert_ok(store_count(store, &query, &tally, &error));
	assert_int_equal(tally.count, count);
	query_close(&query);
}

static void run_numbers(bool in_memory, uint64_t seed)
{
	struct feed_place place;
	struct error error;

	feed_place_init(&place, in_memory);
	struct store *store = feed_store(&place);
	fill_numbers(store);
	for (int i = 0; i < 60; i++) {
		struct numbers numbers = {.even = unit_random(&seed) % 2 == 0};

		numbers.both[0] = divisors[unit_random(&seed) % COUNT_OF(divisors)];
		numbers.both[1] = divisors[unit_random(&seed) % COUNT_OF(divisors)];
		if (unit_random(&seed) % 2 == 0)
			numbers.other = divisors[1 + unit_random(&seed) % 6];
		check_numbers(store, &numbers, &seed);
		if (i == 40)
			assert_ok(store_flush(store, &error));
	}
	store_close(store);
	feed_place_close(&place);
}

static void lists_of_many_chunks_are_found_in(void **state)
{
	(void)state;
	run_numbers(true, 1);
	run_numbers(false, 2);
}

/* ---- budgets ---- */

/* `events` events "happened" in one stream; those whose number divides by 1,000 are "special". */
static void fill(struct store *store, const char *stream, uint32_t events)
{
	static uint64_t index, number;
	struct error error;

	for (uint32_t done = 0; done < events; index++) {
		struct feed_append append = feed_single(stream, ++number);

		append.event_count = events - done < 16 ? events - done : 16;
		for (uint32_t i = 0; i < append.event_count; i++) {
			append.events[i] = append.events[0];
			bytes_set_be64(append.events[i].id + 8, number << 8 | i);
			append.events[i].id[8] = 0x80;
			append.events[i].tag_count = 1;
			append.events[i].tags[0] =
				span_of_string((done + i) % 1000 == 0 ? "special" : "plain");
		}
		done += append.event_count;
		assert_ok(feed_apply(store, index + 1, &append, NULL, &error));
	}
}

static void set_prefix(struct query *query, const char *prefix)
{
	query_clear(query);
	query_add_item(query);
	query_set_prefix(query, span_of_string(prefix));
}

static void expect_condition(struct store *store, const struct query *query, uint64_t after,
			     int expected_rc, uint64_t expected)
{
	struct error error;
	uint64_t found = 0;
	int rc = find(store, query, after, &found, &error);

	assert_int_equal(rc, expected_rc);
	assert_int_equal(found, expected);
}

/* Equal wherever the tail begins: what is refused on one node is refused on all. */
static void check_budget(struct store *store)
{
	struct query query;
	uint64_t head = store_head(store), limit = LIMIT_CONDITION_SCAN;

	query_init(&query);
	set_prefix(&query, "No"); /* any record may be in such a stream */
	expect_condition(store, &query, head - limit, 0, 0);
	expect_condition(store, &query, head - limit - 1, -E2BIG, 0);
	set_prefix(&query, "Other-1"); /* those of the category may */
	expect_condition(store, &query, 0, 0, limit + 2);
	set_prefix(&query, "Order-2");
	expect_condition(store, &query, 1, 0, 0);
	expect_condition(store, &query, 0, -E2BIG, 0);
	set_prefix(&query, "Order-1");
	expect_condition(store, &query, 0, 0, 1);
	query_clear(&query); /* two items look at the same records */
	query_add_item(&query);
	query_set_prefix(&query, span_of_string("Order-2"));
	query_add_item(&query);
	query_set_prefix(&query, span_of_string("Order-3"));
	expect_condition(store, &query, 1 + limit / 2, 0, 0);
	expect_condition(store, &query, limit / 2, -E2BIG, 0);
	query_clear(&query); /* a stream's name needs no record */
	query_add_item(&query);
	query_add_name(&query, QUERY_STREAMS, span_of_string("Order-1"));
	query_set_prefix(&query, span_of_string("Order-2"));
	expect_condition(store, &query, 0, 0, 0);
	query_close(&query);
}

static void what_a_prefix_may_look_at_does_not_depend_on_flushes(void **state)
{
	(void)state;
	struct feed_place place;
	struct error error;

	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	fill(store, "Order-1", LIMIT_CONDITION_SCAN / 2);
	assert_ok(store_flush(store, &error));
	fill(store, "Order-1", LIMIT_CONDITION_SCAN / 2 + 1);
	fill(store, "Other-1", 2);
	check_budget(store);
	assert_ok(store_flush(store, &error));
	check_budget(store);
	store_close(store);
	feed_place_close(&place);
}

static void a_read_by_prefix_goes_on_where_it_stopped(void **state)
{
	(void)state;
	struct read_range range = {.limit = 10, .bytes_max = 10000};
	struct feed_place place;
	struct query query;
	struct page page;
	struct error error;

	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	fill(store, "Order-1", LIMIT_SCAN_RECORDS + 1000);
	fill(store, "Order-2", 1);
	query_init(&query);
	set_prefix(&query, "Order-2");
	buffer_init(&page.records);
	for (int flushed = 0; flushed < 2; flushed++) {
		range.from = 0;
		assert_ok(store_read_query(store, &query, &range, &page, &error));
		assert_int_equal(page.count, 0);
		assert_false(page.end);
		assert_int_equal(page.next, LIMIT_SCAN_RECORDS + 1);
		range.from = page.next;
		assert_ok(store_read_query(store, &query, &range, &page, &error));
		assert_int_equal(page.count, 1);
		assert_true(page.end);
		assert_ok(store_flush(store, &error));
	}
	buffer_close(&page.records);
	query_close(&query);
	store_close(store);
	feed_place_close(&place);
}

/* ---- dropped records ---- */

struct twins {
	struct feed_place places[2];
	struct store *stores[2]; /* the same commands; from the first, what can be is dropped */
	uint64_t index;
};

static void start_twins(struct twins *twins)
{
	for (int i = 0; i < 2; i++) {
		feed_place_init(&twins->places[i], true);
		twins->stores[i] = feed_store(&twins->places[i]);
	}
	twins->index = 0;
}

static void stop_twins(struct twins *twins)
{
	for (int i = 0; i < 2; i++) {
		store_close(twins->stores[i]);
		feed_place_close(&twins->places[i]);
	}
}

/* An event now and then, checkpoints between them; then both are flushed, and the first trimmed. */
static void feed_twins(struct twins *twins, uint64_t commands, uint64_t event_every)
{
	struct error error;
	bool again = true;

	for (uint64_t end = twins->index + commands; twins->index < end;) {
		uint64_t index = ++twins->index;
		struct feed_append append =
			feed_single(index % 2 == 0 ? "Order-1" : "Other-2", index);

		for (int i = 0; i < 2; i++)
			if (index % event_every == 0)
				assert_ok(
					feed_apply(twins->stores[i], index, &append, NULL, &error));
			else
				feed_checkpoint(twins->stores[i], index, "consumer", index);
	}
	for (int i = 0; i < 2; i++)
		assert_ok(store_flush(twins->stores[i], &error));
	while (again)
		assert_ok(store_trim(twins->stores[0], &again, &error));
	for (int i = 0; i < 2; i++) {
		struct buffer record;

		buffer_init(&record);
		assert_int_equal(store_read_position(twins->stores[i], 1, &record, &error),
				 i == 0 ? -ENOENT : 0);
		buffer_close(&record);
	}
}

static void check_twins(struct twins *twins, const struct query *query, uint64_t after)
{
	struct error error;
	uint64_t found[2] = {0, 0};
	int rc[2];

	for (int i = 0; i < 2; i++)
		rc[i] = find(twins->stores[i], query, after, &found[i], &error);
	assert_int_equal(rc[0], rc[1]);
	assert_int_equal(found[0], found[1]);
}

static void check_twin_reads(struct twins *twins, const struct query *query, bool backward)
{
	struct read_range range = {.backward = backward, .limit = 1000, .bytes_max = 4 * MIB};
	struct page pages[2];
	struct error error;

	for (int i = 0; i < 2; i++) {
		buffer_init(&pages[i].records);
		assert_ok(store_read_query(twins->stores[i], query, &range, &pages[i], &error));
		assert_true(pages[i].end);
	}
	assert_true(pages[0].count > 0);
	assert_int_equal(pages[0].count, pages[1].count);
	assert_memory_equal(pages[0].records.data, pages[1].records.data, pages[0].records.size);
	for (int i = 0; i < 2; i++)
		buffer_close(&pages[i].records);
}

static void what_was_dropped_changes_no_match(void **state)
{
	(void)state;
	static const char *const prefixes[] = {"O", "Ot", "Order-1", "Other-"};
	struct twins twins;
	struct query query;

	start_twins(&twins);
	feed_twins(&twins, 2000, 37);
	feed_twins(&twins, 100, 7);
	query_init(&query);
	for (int i = -1; i < (int)COUNT_OF(prefixes); i++) {
		if (i >= 0)
			set_prefix(&query, prefixes[i]);
		for (uint64_t after = 0; after <= twins.index; after++)
			check_twins(&twins, &query, after);
		check_twin_reads(&twins, &query, false);
		check_twin_reads(&twins, &query, true);
	}
	query_close(&query);
	stop_twins(&twins);
}

static void what_was_dropped_counts_as_looked_at(void **state)
{
	(void)state;
	uint64_t limit = LIMIT_CONDITION_SCAN, step = limit + 464, last = 2 * step;
	struct twins twins;
	struct query query;

	start_twins(&twins);
	feed_twins(&twins, last + 10, step);
	query_init(&query);
	for (int i = 0; i < 2; i++) {
		set_prefix(&query, "No"); /* behind the last event, nothing needs to be looked at */
		expect_condition(twins.stores[i], &query, last, 0, 0);
		expect_condition(twins.stores[i], &query, last - limit, 0, 0);
		expect_condition(twins.stores[i], &query, last - limit - 1, -E2BIG, 0);
		set_prefix(&query, "Or");
		expect_condition(twins.stores[i], &query, last - limit, 0, last);
		expect_condition(twins.stores[i], &query, last - limit - 1, -E2BIG, 0);
		query_clear(&query); /* "all": what stands before the first event is looked at */
		expect_condition(twins.stores[i], &query, last, 0, 0);
		expect_condition(twins.stores[i], &query, last - limit - 1, 0, last);
		expect_condition(twins.stores[i], &query, last - limit - 2, -E2BIG, 0);
	}
	query_close(&query);
	stop_twins(&twins);
}

/* ---- while others write ---- */

#define RUN_EVENTS 6000

struct race {
	struct store *store;
	atomic_bool over;
	uint64_t reads;
};

/* Event n is at position n, and has the tag of n % 3. */
static void check_raced_page(const struct page *page, const struct read_range *range)
{
	struct span rest = buffer_span(&page->records);
	uint64_t from = range->backward ? page->head : 1, count = 0;

	while (from % 3 != 1 && range->backward && from > 0)
		from--;
	for (uint64_t position = from; count < page->count;
	     position += range->backward ? (uint64_t)-3 : 3) {
		struct record record;

		assert_int_equal(record_parse(rest, &record), 0);
		assert_int_equal(record.position, position);
		assert_true(position <= page->head);
		rest = span_of(rest.data + record.bytes.size, rest.size - record.bytes.size);
		count++;
	}
	assert_int_equal(rest.size, 0);
	assert_int_equal(count, page->end ? (page->head + 2) / 3 : range->limit);
}

static void *read_while_writing(void *arg)
{
	struct race *race = arg;
	struct query query;
	struct page page;
	struct error error;

	query_init(&query);
	query_add_item(&query);
	query_add_name(&query, QUERY_TYPES, span_of_string("happened"));
	query_add_name(&query, QUERY_TAGS, span_of_string("tag 1"));
	buffer_init(&page.records);
	while (!atomic_load(&race->over)) {
		struct read_range range = {.backward = race->reads % 2 == 1,
					   .limit = race->reads % 4 < 2 ? 100 : RUN_EVENTS,
					   .bytes_max = 4 * MIB};
		struct query_tally tally = {0};

		buffer_clear(&page.records);
		assert_ok(store_read_query(race->store, &query, &range, &page, &error));
		check_raced_page(&page, &range);
		while (!tally.end)
			assert_ok(store_count(race->store, &query, &tally, &error));
		assert_int_equal(tally.count, (tally.head + 2) / 3);
		race->reads++;
	}
	buffer_close(&page.records);
	query_close(&query);
	return NULL;
}

static void pages_are_of_one_moment_while_others_write(void **state)
{
	(void)state;
	static const char *const tags[] = {"tag 0", "tag 1", "tag 2"};
	struct race race = {.reads = 0};
	struct feed_place place;
	struct error error;
	pthread_t reader;

	feed_place_init(&place, false);
	race.store = feed_store(&place);
	atomic_init(&race.over, false);
	assert_int_equal(pthread_create(&reader, NULL, read_while_writing, &race), 0);
	for (uint64_t number = 1; number <= RUN_EVENTS; number++) {
		struct feed_append append = feed_single("Order-1", number);

		append.events[0].tag_count = 1;
		append.events[0].tags[0] = span_of_string(tags[number % 3]);
		assert_ok(feed_apply(race.store, number, &append, NULL, &error));
		if (number % 500 == 0)
			assert_ok(store_flush(race.store, &error));
	}
	atomic_store(&race.over, true);
	pthread_join(reader, NULL);
	assert_true(race.reads > 0);
	store_close(race.store);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_store_has_no_matches),
		cmocka_unit_test(queries_find_what_the_model_finds_in_memory),
		cmocka_unit_test(queries_find_what_the_model_finds_on_disk),
		cmocka_unit_test(lists_of_many_chunks_are_found_in),
		cmocka_unit_test(what_a_prefix_may_look_at_does_not_depend_on_flushes),
		cmocka_unit_test(a_read_by_prefix_goes_on_where_it_stopped),
		cmocka_unit_test(what_was_dropped_changes_no_match),
		cmocka_unit_test(what_was_dropped_counts_as_looked_at),
		cmocka_unit_test(pages_are_of_one_moment_while_others_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
