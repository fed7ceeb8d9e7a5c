/* Queries: matching as a truth table, encoding there and back, every malformed one refused. */
#include "tests/unit/storage/feed.h"

#include "storage/query.h"

/* ---- matching ---- */

static struct record record_of(struct buffer *bytes, const char *stream, const char *type,
			       const char *const *tags)
{
	static const uint8_t id[UUID_BYTES];
	struct record_fields fields = {
		.id = id, .stream = span_of_string(stream), .type = span_of_string(type)};
	struct record record;

	for (; *tags != NULL; tags++)
		fields.tags[fields.tag_count++] = span_of_string(*tags);
	buffer_clear(bytes);
	record_encode(bytes, &fields);
	assert_int_equal(record_parse(buffer_span(bytes), &record), 0);
	return record;
}

/* One event: stream Order-1-b, type placed, tags red and big. */
static const struct part_row {
	const char *names[QUERY_PARTS][3];
	const char *prefix;
	bool matches;
} part_rows[] = {
	{.names[QUERY_TYPES] = {"placed"}, .matches = true},
	{.names[QUERY_TYPES] = {"paid", "placed"}, .matches = true},
	{.names[QUERY_TYPES] = {"paid", "place"}, .matches = false},
	{.names[QUERY_TYPES] = {"placed "}, .matches = false},
	{.names[QUERY_TYPES] = {"Placed"}, .matches = false},
	{.names[QUERY_TAGS] = {"red"}, .matches = true},
	{.names[QUERY_TAGS] = {"big"}, .matches = true},
	{.names[QUERY_TAGS] = {"big", "red"}, .matches = true},
	{.names[QUERY_TAGS] = {"red", "red"}, .matches = true},
	{.names[QUERY_TAGS] = {"red", "small"}, .matches = false},
	{.names[QUERY_TAGS] = {"re"}, .matches = false},
	{.names[QUERY_CATEGORIES] = {"Order"}, .matches = true},
	{.names[QUERY_CATEGORIES] = {"Cart", "Order"}, .matches = true},
	{.names[QUERY_CATEGORIES] = {"Order-1"}, .matches = false},
	{.names[QUERY_CATEGORIES] = {"Orde"}, .matches = false},
	{.names[QUERY_STREAMS] = {"Order-1-b"}, .matches = true},
	{.names[QUERY_STREAMS] = {"Order-1", "Order-1-b"}, .matches = true},
	{.names[QUERY_STREAMS] = {"Order-1"}, .matches = false},
	{.prefix = "O", .matches = true},
	{.prefix = "Order-1", .matches = true},
	{.prefix = "Order-1-b", .matches = true},
	{.prefix = "Order-1-bc", .matches = false},
	{.prefix = "rder", .matches = false},
};

static void add_part(struct query *query, const struct part_row *row)
{
	for (int part = 0; part < QUERY_PARTS; part++)
		for (int i = 0; i < 3 && row->names[part][i] != NULL; i++)
			query_add_name(query, (enum query_part)part,
				       span_of_string(row->names[part][i]));
}

static enum query_part part_of(const struct part_row *row)
{
	for (int part = 0; part < QUERY_PARTS; part++)
		if (row->names[part][0] != NULL)
			return (enum query_part)part;
	return QUERY_PARTS; /* the prefix */
}

static void add_prefix(struct query *query, const struct part_row *row)
{
	if (row->prefix != NULL)
		query_set_prefix(query, span_of_string(row->prefix));
}

/* Alone; in one item with each other part (AND); in two items (OR); after a way over the wire. */
static void check_pair(const struct part_row *left, const struct part_row *right,
		       const struct record *record)
{
	bool swapped = part_of(left) > part_of(right);
	struct query query, parsed;
	struct buffer bytes;
	struct error error;

	query_init(&query);
	query_init(&parsed);
	buffer_init(&bytes);
	for (int items = 1; items <= 2; items++) {
		if (items == 1 && part_of(left) == part_of(right))
			continue; /* one part has its names once */
		query_clear(&query);
		query_add_item(&query);
		add_part(&query, swapped ? right : left);
		add_prefix(&query, swapped ? right : left);
		if (items == 2)
			query_add_item(&query);
		add_part(&query, swapped ? left : right);
		add_prefix(&query, swapped ? left : right);
		bool wanted = items == 1 ? left->matches && right->matches
					 : left->matches || right->matches;
		assert_int_equal(query_matches(&query, record), wanted);
		buffer_clear(&bytes);
		query_encode(&query, &bytes);
		assert_ok(query_parse(buffer_span(&bytes), &parsed, &error));
		assert_int_equal(query_matches(&parsed, record), wanted);
	}
	buffer_close(&bytes);
	query_close(&parsed);
	query_close(&query);
}

static void parts_must_all_hold_and_any_item(void **state)
{
	static const char *const tags[] = {"red", "big", NULL};
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	struct record record = record_of(&bytes, "Order-1-b", "placed", tags);
	for (size_t left = 0; left < COUNT_OF(part_rows); left++)
		for (size_t right = 0; right < COUNT_OF(part_rows); right++)
			check_pair(&part_rows[left], &part_rows[right], &record);
	buffer_close(&bytes);
}

static void the_category_ends_at_the_first_dash(void **state)
{
	static const struct {
		const char *stream, *category;
		bool matches;
	} cases[] = {{"Order-1", "Order", true},
		     {"Order", "Order", true},
		     {"Order-", "Order", true},
		     {"Order-1-2", "Order", true},
		     {"Order-1-2", "Order-1", false},
		     {"Orders-1", "Order", false},
		     {"-x", "x", false},
		     {"-x", "-x", false}};
	static const char *const none[] = {NULL};
	struct buffer bytes;
	struct query query;

	(void)state;
	buffer_init(&bytes);
	query_init(&query);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct record record = record_of(&bytes, cases[i].stream, "t", none);

		query_clear(&query);
		query_add_item(&query);
		query_add_name(&query, QUERY_CATEGORIES, span_of_string(cases[i].category));
		assert_int_equal(query_matches(&query, &record), cases[i].matches);
	}
	query_close(&query);
	buffer_close(&bytes);
}

static void system_records_match_nothing(void **state)
{
	static const char *const tags[] = {"red", NULL};
	struct query query;
	struct buffer bytes;

	(void)state;
	buffer_init(&bytes);
	query_init(&query);
	struct record event = record_of(&bytes, "x", "placed", tags);
	assert_true(query_matches(&query, &event)); /* all */
	struct record record = record_of(&bytes, "$snapshot-x", "placed", tags);
	assert_false(query_matches(&query, &record));
	query_add_item(&query);
	query_add_name(&query, QUERY_TAGS, span_of_string("red"));
	assert_false(query_matches(&query, &record));
	query_clear(&query);
	query_add_item(&query);
	query_set_prefix(&query, span_of_string("$"));
	assert_false(query_matches(&query, &record));
	query_close(&query);
	buffer_close(&bytes);
}

/* ---- encoding ---- */

static void fill_query(struct query *query, uint64_t seed)
{
	static const char *const words[] = {"a", "bb", "Order-1", "a somewhat longer name"};
	uint64_t random = seed;
	uint64_t items = unit_random(&random) % 5;

	query_clear(query);
	while (items-- > 0) {
		query_add_item(query);
		uint64_t all = 0;
		for (int part = 0; part < QUERY_PARTS; part++) {
			uint64_t names = unit_random(&random) % 4;

			for (all += names; names > 0; names--)
				query_add_name(query, (enum query_part)part,
					       span_of_string(words[unit_random(&random) % 4]));
		}
		if (all == 0 || unit_random(&random) % 2 == 0)
			query_set_prefix(query, span_of_string(words[unit_random(&random) % 4]));
	}
}

static void assert_same(const struct query *left, const struct query *right)
{
	assert_int_equal(query_item_count(left), query_item_count(right));
	assert_int_equal(query_name_count(left), query_name_count(right));
	for (uint32_t i = 0; i < query_item_count(left); i++) {
		const struct query_item *one = query_item(left, i), *other = query_item(right, i);

		assert_true(span_equal(one->prefix, other->prefix));
		for (int part = 0; part < QUERY_PARTS; part++) {
			assert_int_equal(one->count[part], other->count[part]);
			for (uint32_t name = 0; name < one->count[part]; name++)
				assert_true(span_equal(
					query_item_names(left, one, (enum query_part)part)[name],
					query_item_names(right, other,
							 (enum query_part)part)[name]));
		}
	}
}

/* And cut short anywhere, or with a byte more, it is refused. */
static void what_is_encoded_is_parsed_and_nothing_less(void **state)
{
	struct query query, parsed;
	struct buffer bytes;
	struct error error;

	(void)state;
	query_init(&query);
	query_init(&parsed);
	buffer_init(&bytes);
	for (uint64_t seed = 0; seed < 200; seed++) {
		fill_query(&query, seed);
		buffer_clear(&bytes);
		query_encode(&query, &bytes);
		struct span exact = unit_exact(bytes.data, bytes.size);
		assert_ok(query_parse(exact, &parsed, &error));
		assert_same(&query, &parsed);
		unit_free_exact(exact);
		for (size_t size = 0; size < bytes.size; size++) {
			exact = unit_exact(bytes.data, size);
			assert_int_equal(query_parse(exact, &parsed, &error), -EBADMSG);
			unit_free_exact(exact);
		}
		buffer_append(&bytes, "", 1);
		assert_int_equal(query_parse(buffer_span(&bytes), &parsed, &error), -EBADMSG);
	}
	buffer_close(&bytes);
	query_close(&parsed);
	query_close(&query);
}

static void an_encoded_query_is_as_documented(void **state)
{
	static const uint8_t wanted[] = {
		2,   0,   0,   0,                       /* items */
		1,   0,   1,   0,   0, 0, 0,   0, 2, 0, /* counts, prefix */
		2,   0,   't', 'y', 1, 0, 'g',          /* type, tag */
		'O', '-',                               /* prefix */
		0,   0,   0,   0,   1, 0, 1,   0, 0, 0, 1, 0, 'c', 1, 0, 's'};
	struct query query;
	struct buffer bytes;

	(void)state;
	query_init(&query);
	buffer_init(&bytes);
	query_add_item(&query);
	query_add_name(&query, QUERY_TYPES, span_of_string("ty"));
	query_add_name(&query, QUERY_TAGS, span_of_string("g"));
	query_set_prefix(&query, span_of_string("O-"));
	query_add_item(&query);
	query_add_name(&query, QUERY_CATEGORIES, span_of_string("c"));
	query_add_name(&query, QUERY_STREAMS, span_of_string("s"));
	query_encode(&query, &bytes);
	assert_int_equal(bytes.size, sizeof wanted);
	assert_memory_equal(bytes.data, wanted, sizeof wanted);
	buffer_close(&bytes);
	query_close(&query);
}

static void assert_malformed(const void *bytes, size_t size, const char *why)
{
	struct span exact = unit_exact(bytes, size);
	struct query query;
	struct error error;

	query_init(&query);
	assert_int_equal(query_parse(exact, &query, &error), -EBADMSG);
	if (strstr(error.message, why) == NULL)
		fail_msg("%s: %s", why, error.message);
	query_close(&query);
	unit_free_exact(exact);
}

static void what_no_query_looks_like_is_refused(void **state)
{
	static const uint8_t no_part[] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t no_name[] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
	static const uint8_t long_name[] = {1, 0, 0, 0, 1, 0,   0,   0,  0,
					    0, 0, 0, 0, 0, 255, 255, 'x'};
	static const uint8_t many_names[] = {1,   0,   0,   0, 255, 255, 255, 255, 255,
					     255, 255, 255, 0, 0,   1,   0,   'x'};
	static const uint8_t many_items[] = {255, 255, 255, 255};

	(void)state;
	assert_malformed("", 0, "too few");
	assert_malformed(no_part, sizeof no_part, "item 0 of 1");
	assert_malformed(no_name, sizeof no_name, "item 0 of 1");
	assert_malformed(long_name, sizeof long_name, "item 0 of 1");
	assert_malformed(many_names, sizeof many_names, "item 0 of 1");
	assert_malformed(many_items, sizeof many_items, "4294967295 items");
}

static int parse_of(const struct query *query)
{
	struct query parsed;
	struct buffer bytes;
	struct error error;

	query_init(&parsed);
	buffer_init(&bytes);
	query_encode(query, &bytes);
	int rc = query_parse(buffer_span(&bytes), &parsed, &error);
	buffer_close(&bytes);
	query_close(&parsed);
	return rc;
}

static void add_names(struct query *query, enum query_part part, uint32_t count)
{
	while (count-- > 0)
		query_add_name(query, part, span_of_string("x"));
}

/* One item, or one name (prefixes are names, too), beyond the limit is too much. */
static void the_limits_are_exact(void **state)
{
	struct query query;

	(void)state;
	query_init(&query);
	for (uint32_t more = 0; more < 2; more++) {
		int wanted = more == 0 ? 0 : -EBADMSG;

		query_clear(&query);
		for (uint32_t i = 0; i < LIMIT_QUERY_ITEMS + more; i++) {
			query_add_item(&query);
			add_names(&query, QUERY_TAGS, 1);
		}
		assert_int_equal(parse_of(&query), wanted);
		query_clear(&query);
		query_add_item(&query);
		add_names(&query, QUERY_TYPES, LIMIT_QUERY_NAMES / 2);
		query_add_item(&query);
		add_names(&query, QUERY_STREAMS, LIMIT_QUERY_NAMES / 2 + more);
		assert_int_equal(parse_of(&query), wanted);
		query_clear(&query);
		query_add_item(&query);
		query_set_prefix(&query, span_of_string("p"));
		query_add_item(&query);
		add_names(&query, QUERY_TYPES, LIMIT_QUERY_NAMES - 1 + more);
		assert_int_equal(parse_of(&query), wanted);
		query_clear(&query);
		query_add_item(&query);
		add_names(&query, QUERY_TYPES, LIMIT_QUERY_NAMES - 1 + more);
		query_set_prefix(&query, span_of_string("p"));
		assert_int_equal(parse_of(&query), wanted);
	}
	query_close(&query);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_must_all_hold_and_any_item),
		cmocka_unit_test(the_category_ends_at_the_first_dash),
		cmocka_unit_test(system_records_match_nothing),
		cmocka_unit_test(what_is_encoded_is_parsed_and_nothing_less),
		cmocka_unit_test(an_encoded_query_is_as_documented),
		cmocka_unit_test(what_no_query_looks_like_is_refused),
		cmocka_unit_test(the_limits_are_exact),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
