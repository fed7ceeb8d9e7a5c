/* What a condition may take: the rule, written down a second time, and three stores that must agree. */
#include "tests/unit/storage/feed.h"

#include "storage/store_inside.h"

#define STORES   3 /* all in the tables; some in the tail; some in both, and dropped */
#define COMMANDS 400

struct shown {
	bool is_event;
	uint32_t tags; /* bits */
	uint32_t type, stream;
};

struct scene {
	struct feed_place places[STORES];
	struct store *stores[STORES];
	struct shown log[COMMANDS + 1];
	uint64_t count;
	uint64_t seed;
};

static const char *const tag_names[] = {"a", "b", "c", "absent"};
static const char *const type_names[] = {"x", "y", "absent"};
static const char *const stream_names[] = {"Order-1", "Order-2", "Other-1"};

static uint32_t draw(struct scene *scene, uint32_t below)
{
	return (uint32_t)(unit_random(&scene->seed) % below);
}

/* ---- the log ---- */

static void add_event(struct scene *scene, uint64_t index, struct shown *shown)
{
	struct error error;

	*shown = (struct shown){.is_event = true,
				.tags = draw(scene, 8),
				.type = draw(scene, 2),
				.stream = draw(scene, 3)};
	struct feed_append append = feed_single(stream_names[shown->stream], index);

	append.events[0].type = span_of_string(type_names[shown->type]);
	for (uint32_t tag = 0; tag < 3; tag++)
		if (shown->tags & (1u << tag))
			append.events[0].tags[append.events[0].tag_count++] =
				span_of_string(tag_names[tag]);
	for (int i = 0; i < STORES; i++)
		assert_ok(feed_apply(scene->stores[i], index, &append, NULL, &error));
}

static void trim(struct store *store)
{
	struct error error;
	bool again = true;

	while (again)
		assert_ok(store_trim(store, &again, &error));
}

static void make_scene(struct scene *scene, uint64_t seed)
{
	struct error error;

	*scene = (struct scene){.seed = seed};
	for (int i = 0; i < STORES; i++) {
		feed_place_init(&scene->places[i], true);
		scene->stores[i] = feed_store(&scene->places[i]);
	}
	uint64_t flushed = draw(scene, COMMANDS);

	while (scene->count < COMMANDS) {
		uint64_t index = ++scene->count;

		if (draw(scene, 4) > 0)
			add_event(scene, index, &scene->log[index]);
		else
			for (int i = 0; i < STORES; i++)
				feed_checkpoint(scene->stores[i], index, "consumer", index);
		if (index != flushed)
			continue;
		for (int i = 1; i < STORES; i++)
			assert_ok(store_flush(scene->stores[i], &error));
		trim(scene->stores[2]);
	}
	assert_ok(store_flush(scene->stores[0], &error));
}

static void end_scene(struct scene *scene)
{
	for (int i = 0; i < STORES; i++) {
		store_close(scene->stores[i]);
		feed_place_close(&scene->places[i]);
	}
}

/* ---- the rule ---- */

static bool name_is(struct span name, const char *text)
{
	return span_equal(name, span_of_string(text));
}

/* Whether the event is in a part of the item: its types, its streams, or one of its tags. */
static bool part_holds(const struct query *query, const struct query_item *item, uint32_t part,
		       const struct shown *shown)
{
	bool has_streams = item->count[QUERY_STREAMS] > 0, has_types = item->count[QUERY_TYPES] > 0;
	bool holds = false;

	if (part < has_streams) {
		for (uint32_t i = 0; i < item->count[QUERY_STREAMS]; i++)
			holds |= name_is(query_item_names(query, item, QUERY_STREAMS)[i],
					 stream_names[shown->stream]);
		return holds;
	}
	part -= has_streams;
	if (part < has_types) {
		for (uint32_t i = 0; i < item->count[QUERY_TYPES]; i++)
			holds |= name_is(query_item_names(query, item, QUERY_TYPES)[i],
					 type_names[shown->type]);
		return holds;
	}
	struct span tag = query_item_names(query, item, QUERY_TAGS)[part - has_types];

	for (uint32_t i = 0; i < 3; i++)
		holds |= (shown->tags & (1u << i)) != 0 && name_is(tag, tag_names[i]);
	return holds;
}

static uint32_t part_count(const struct query_item *item)
{
	uint32_t named = item->count[QUERY_STREAMS] > 0;

	named += item->count[QUERY_TYPES] > 0;
	return named + item->count[QUERY_TAGS];
}

static uint64_t first_match(const struct scene *scene, const struct query *query,
			    const struct query_item *item, uint64_t after, uint64_t last)
{
	for (uint64_t at = after + 1; at <= last; at++) {
		bool matches = scene->log[at].is_event;

		for (uint32_t part = 0; part < part_count(item); part++)
			matches &= part_holds(query, item, part, &scene->log[at]);
		if (matches)
			return at;
	}
	return 0;
}

static bool is_too_wide(const struct scene *scene, const struct query *query,
			const struct query_item *item, uint64_t after, uint64_t last,
			uint64_t depth)
{
	uint64_t least = UINT64_MAX;

	for (uint32_t part = 0; part < part_count(item); part++) {
		uint64_t count = 0;

		for (uint64_t at = after + 1; at <= last; at++)
			count += scene->log[at].is_event &&
				 part_holds(query, item, part, &scene->log[at]);
		least = count < least ? count : least;
	}
	return part_count(item) > 1 && least > depth;
}

static int decide(const struct scene *scene, const struct query *query, uint64_t after,
		  uint64_t depth, uint64_t *position)
{
	uint64_t last = scene->count;

	*position = 0;
	while (last > 0 && !scene->log[last].is_event)
		last--;
	for (uint32_t i = 0; i < query_item_count(query) && after < last; i++) {
		const struct query_item *item = query_item(query, i);
		uint64_t found = first_match(scene, query, item, after, last);

		if (is_too_wide(scene, query, item, after, found != 0 ? found : last, depth))
			return -E2BIG;
		if (found != 0) {
			*position = found;
			last = found - 1;
		}
	}
	return 0;
}

/* ---- asking ---- */

static int find(struct store *store, const struct query *query, uint64_t after,
		struct match_budget *budget, uint64_t *position)
{
	struct error error;

	pthread_mutex_lock(&store->apply_lock);
	int rc = store_find_match(store, query, after, budget, position, &error);
	store_end_lookup(store);
	pthread_mutex_unlock(&store->apply_lock);
	return rc;
}

static void draw_item(struct scene *scene, struct query *query)
{
	uint32_t kinds = 1 + draw(scene, 7);

	query_add_item(query);
	if (kinds & 1)
		for (uint32_t i = draw(scene, 3); i < 3; i += 1 + draw(scene, 2))
			query_add_name(query, QUERY_TYPES, span_of_string(type_names[i]));
	if (kinds & 2)
		for (uint32_t i = draw(scene, 4); i < 4; i += 1 + draw(scene, 3))
			query_add_name(query, QUERY_TAGS, span_of_string(tag_names[i]));
	if (kinds & 4)
		for (uint32_t i = draw(scene, 3); i < 3; i += 1 + draw(scene, 2))
			query_add_name(query, QUERY_STREAMS, span_of_string(stream_names[i]));
}

static void items_are_refused_by_the_rule(void **state)
{
	(void)state;
	uint32_t refused = 0, matched = 0, free = 0;
	struct scene scene;
	struct query query;

	query_init(&query);
	for (uint64_t seed = 1; seed <= 10; seed++) {
		make_scene(&scene, seed);
		for (uint32_t round = 0; round < 3000; round++) {
			uint64_t depth = draw(&scene, 12), after = draw(&scene, COMMANDS + 1),
				 expected;

			query_clear(&query);
			for (uint32_t items = 1 + draw(&scene, 3); items > 0; items--)
				draw_item(&scene, &query);
			int rc = decide(&scene, &query, after, depth, &expected);

			refused += rc != 0;
			matched += rc == 0 && expected != 0;
			free += rc == 0 && expected == 0;
			for (int i = 0; i < STORES; i++) {
				struct match_budget budget = {.looks = 0, .depth = depth};
				uint64_t found = 0;

				assert_int_equal(
					find(scene.stores[i], &query, after, &budget, &found), rc);
				if (rc == 0)
					assert_int_equal(found, expected);
			}
		}
		end_scene(&scene);
	}
	assert_true(refused > 1000 && matched > 1000 && free > 1000);
	query_close(&query);
}

/* A prefix and "all" look at records: the same answer, and the same is left, on all three. */
static void looks_are_used_up_alike(void **state)
{
	(void)state;
	static const char *const prefixes[] = {"O", "Order-2", "Ot", "No", "Order-"};
	uint32_t refused = 0;
	struct scene scene;
	struct query query;

	query_init(&query);
	for (uint64_t seed = 1; seed <= 10; seed++) {
		make_scene(&scene, seed);
		for (uint32_t round = 0; round < 3000; round++) {
			uint64_t looks = draw(&scene, 40), after = draw(&scene, COMMANDS + 1);
			struct match_budget budgets[STORES];
			uint64_t found[STORES] = {0};
			int rc[STORES];

			query_clear(&query);
			for (uint32_t items = draw(&scene, 3); items > 0; items--) {
				draw_item(&scene, &query);
				query_set_prefix(&query, span_of_string(prefixes[draw(&scene, 5)]));
			}
			for (int i = 0; i < STORES; i++) {
				budgets[i] = (struct match_budget){.looks = looks, .depth = 30};
				rc[i] = find(scene.stores[i], &query, after, &budgets[i],
					     &found[i]);
				assert_int_equal(rc[i], rc[0]);
				assert_int_equal(found[i], found[0]);
				if (rc[i] == 0)
					assert_int_equal(budgets[i].looks, budgets[0].looks);
			}
			refused += rc[0] != 0;
		}
		end_scene(&scene);
	}
	assert_true(refused > 500);
	query_close(&query);
}

/* ---- two long lists that have nothing in common ---- */

static void fill_by_turns(struct store *store, uint32_t events)
{
	struct error error;

	for (uint32_t done = 0, index = 1; done < events; done += 16, index++) {
		struct feed_append append = feed_single("Order-1", index);

		append.event_count = 16;
		for (uint32_t i = 0; i < 16; i++) {
			append.events[i] = append.events[0];
			bytes_set_be64(append.events[i].id + 8, (uint64_t)index << 8 | i);
			append.events[i].id[8] = 0x80;
			append.events[i].tag_count = 1;
			append.events[i].tags[0] = span_of_string(i % 2 == 0 ? "even" : "odd");
		}
		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (index == events / 48)
			assert_ok(store_flush(store, &error));
	}
}

static void long_lists_are_combined_no_further_than_allowed(void **state)
{
	(void)state;
	uint64_t head = 200000, depth = 60000, found = 0;
	struct match_budget budget = {.depth = depth};
	struct feed_place place;
	struct query query;
	struct error error;

	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	fill_by_turns(store, (uint32_t)head);
	query_init(&query);
	query_add_item(&query);
	query_add_name(&query, QUERY_TAGS, span_of_string("even"));
	query_add_name(&query, QUERY_TAGS, span_of_string("odd"));
	for (int flushed = 0; flushed < 2; flushed++) {
		assert_int_equal(find(store, &query, head - 2 * depth, &budget, &found), 0);
		assert_int_equal(find(store, &query, head - 2 * depth - 1, &budget, &found), 0);
		assert_int_equal(find(store, &query, head - 2 * depth - 2, &budget, &found),
				 -E2BIG);
		assert_int_equal(find(store, &query, 0, &budget, &found), -E2BIG);
		assert_int_equal(found, 0);
		assert_ok(store_flush(store, &error));
	}
	query_close(&query);
	store_close(store);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(items_are_refused_by_the_rule),
		cmocka_unit_test(looks_are_used_up_alike),
		cmocka_unit_test(long_lists_are_combined_no_further_than_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
