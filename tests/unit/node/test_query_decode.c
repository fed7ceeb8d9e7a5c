/* The argument `query`: what is taken is the query that was meant, what is wrong is named. */
#include "tests/unit/unit.h"

#include "node/query_decode.h"
#include "tests/unit/node/notation.h"

/* One decode, of a text. Names of the query point into `exact`. */
struct trial {
	struct buffer text;
	struct span exact;
	struct query query;
	struct query_problem problem;
	bool taken;
};

static void decode(struct trial *trial, const char *text)
{
	memset(trial, 0, sizeof *trial);
	notation_append(&trial->text, text);
	trial->exact = unit_exact(trial->text.data, trial->text.size);
	trial->taken = query_decode(trial->exact, "query", &trial->query, &trial->problem);
}

static void end(struct trial *trial)
{
	query_close(&trial->query);
	unit_free_exact(trial->exact);
	buffer_close(&trial->text);
}

/* ---- what is wrong is named ---- */

static const struct {
	const char *text, *argument, *says;
} bad[] = {
	{"nil", "query", "\"all\""},
	{"'everything'", "query", "\"all\""},
	{"7", "query", "non-empty array"},
	{"{types: ['A']}", "query", "array of maps"},
	{"[]", "query", "must not be empty"},
	{"['all']", "query[0]", "must be a map, not str"},
	{"[{types: ['A']}, 3]", "query[1]", "must be a map, not int"},
	{"[{}]", "query[0]", "types, tags, categories, streams and stream_prefix"},
	{"[{type: 'A', limit: 3}]", "query[0]", "stream_prefix"},
	{"[{types: nil, tags: nil}]", "query[0]", "at least one of"},
	{"[{types: 'A'}]", "query[0].types", "array of strings, not str"},
	{"[{types: []}]", "query[0].types", "must not be empty"},
	{"[{types: [3]}]", "query[0].types[0]", "must be a string, not int"},
	{"[{types: ['']}]", "query[0].types[0]", "is empty"},
	{"[{types: ['A', 'a' * 256]}]", "query[0].types[1]", "longer than 255"},
	{"[{types: ['\\xff']}]", "query[0].types[0]", "UTF-8"},
	{"[{types: ['A']}, {types: ['B']}, {tags: [b'x']}]", "query[2].tags[0]",
	 "must be a string"},
	{"[{tags: ['a' * 256]}]", "query[0].tags[0]", "longer than 255"},
	{"[{categories: ['']}]", "query[0].categories[0]", "is empty"},
	{"[{categories: ['a' * 1025]}]", "query[0].categories[0]", "longer than 1024"},
	{"[{categories: ['\\xc3']}]", "query[0].categories[0]", "UTF-8"},
	{"[{streams: ['s', '$checkpoint-a']}]", "query[0].streams[1]", "begins with '$'"},
	{"[{streams: ['a\\x07']}]", "query[0].streams[0]", "control character"},
	{"[{streams: {}}]", "query[0].streams", "array of strings, not map"},
	{"[{stream_prefix: ''}]", "query[0].stream_prefix", "is empty"},
	{"[{stream_prefix: ['a']}]", "query[0].stream_prefix", "non-empty string, not array"},
	{"[{types: ['A'], stream_prefix: '$'}]", "query[0].stream_prefix", "begins with '$'"},
};

static void test_what_is_wrong_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct trial trial;

		decode(&trial, bad[i].text);
		if (trial.taken)
			fail_msg("taken: %s", bad[i].text);
		if (strcmp(trial.problem.argument, bad[i].argument) != 0 ||
		    strstr(trial.problem.message, bad[i].says) == NULL ||
		    strncmp(trial.problem.message, bad[i].argument, strlen(bad[i].argument)) != 0)
			fail_msg("%s: %s: %s", bad[i].text, trial.problem.argument,
				 trial.problem.message);
		assert_true(query_is_all(&trial.query));
		assert_int_equal(query_name_count(&trial.query), 0);
		end(&trial);
	}
}

/* ---- bounds ---- */

/* [{types: [n names]} × items], the names all different. */
static void write_items(struct buffer *into, uint32_t items, uint32_t names)
{
	char name[24];

	msgpack_write_array(into, items);
	for (uint32_t i = 0; i < items; i++) {
		msgpack_write_map(into, 1);
		msgpack_write_string(into, "types");
		msgpack_write_array(into, names);
		for (uint32_t k = 0; k < names; k++) {
			snprintf(name, sizeof name, "t%u-%u", i, k);
			msgpack_write_string(into, name);
		}
	}
}

static bool takes_items(uint32_t items, uint32_t names, struct query_problem *problem)
{
	struct buffer text = {0};
	struct query query;

	query_init(&query);
	write_items(&text, items, names);
	bool taken = query_decode(buffer_span(&text), "query", &query, problem);

	assert_int_equal(query_item_count(&query), taken ? items : 0);
	assert_int_equal(query_name_count(&query), taken ? items * names : 0);
	query_close(&query);
	buffer_close(&text);
	return taken;
}

static void test_items_and_names_are_bounded(void **state)
{
	struct query_problem problem;

	(void)state;
	assert_true(takes_items(LIMIT_QUERY_ITEMS, 1, &problem));
	assert_false(takes_items(LIMIT_QUERY_ITEMS + 1, 1, &problem));
	assert_string_equal(problem.argument, "query");
	assert_non_null(strstr(problem.message, "at most 64 items, not 65"));
	assert_true(takes_items(1, LIMIT_QUERY_NAMES, &problem));
	assert_true(
		takes_items(LIMIT_QUERY_ITEMS, LIMIT_QUERY_NAMES / LIMIT_QUERY_ITEMS, &problem));
	assert_false(takes_items(1, LIMIT_QUERY_NAMES + 1, &problem));
	assert_string_equal(problem.argument, "query");
	assert_non_null(strstr(problem.message, "at most 1024 names"));
	assert_false(takes_items(LIMIT_QUERY_ITEMS, LIMIT_QUERY_NAMES / LIMIT_QUERY_ITEMS + 1,
				 &problem));
}

/* An array that says it has more than it has: no allocation by what is declared. */
static void test_a_declared_count_is_not_believed(void **state)
{
	static const uint8_t bytes[] = {0x91, 0x81, 0xa4, 't',  'a',  'g',
					's',  0xdd, 0x7f, 0xff, 0xff, 0xff};
	struct query_problem problem;
	struct query query;

	(void)state;
	query_init(&query);
	assert_false(query_decode(span_of(bytes, sizeof bytes), "query", &query, &problem));
	query_close(&query);
}

/* ---- what is right is taken ---- */

static void assert_names(const struct query *query, uint32_t item, enum query_part part,
			 const char *const *names, uint32_t count)
{
	const struct query_item *found = query_item(query, item);

	assert_int_equal(found->count[part], count);
	for (uint32_t i = 0; i < count; i++)
		assert_true(span_equal_string(query_item_names(query, found, part)[i], names[i]));
}

static void test_all_has_no_items(void **state)
{
	struct trial trial;

	(void)state;
	decode(&trial, "'all'");
	assert_true(trial.taken && query_is_all(&trial.query));
	end(&trial);
}

/* Whatever the order of the keys is; unknown ones and nil are passed over. */
static void test_items_and_parts_are_taken(void **state)
{
	struct trial trial;

	(void)state;
	decode(&trial, "[{stream_prefix: 'Ord', streams: ['Order-1', 'Order-2'], types: ['A'], "
		       "tags: ['x', 'y'], categories: ['Order', 'a-b']}, "
		       "{colour: [1], tags: ['z'], types: nil, 7: 'x'}]");
	assert_true(trial.taken);
	assert_int_equal(query_item_count(&trial.query), 2);
	assert_names(&trial.query, 0, QUERY_TYPES, (const char *const[]){"A"}, 1);
	assert_names(&trial.query, 0, QUERY_TAGS, (const char *const[]){"x", "y"}, 2);
	assert_names(&trial.query, 0, QUERY_CATEGORIES, (const char *const[]){"Order", "a-b"}, 2);
	assert_names(&trial.query, 0, QUERY_STREAMS, (const char *const[]){"Order-1", "Order-2"},
		     2);
	assert_true(span_equal_string(query_item(&trial.query, 0)->prefix, "Ord"));
	assert_names(&trial.query, 1, QUERY_TAGS, (const char *const[]){"z"}, 1);
	assert_names(&trial.query, 1, QUERY_TYPES, NULL, 0);
	assert_int_equal(query_item(&trial.query, 1)->prefix.size, 0);
	end(&trial);
}

static void test_repeated_names_are_dropped(void **state)
{
	struct trial trial;
	struct buffer text = {0};
	struct query query;
	struct query_problem problem;

	(void)state;
	decode(&trial, "[{tags: ['a', 'b', 'a', 'b', 'c']}, {tags: ['a'], types: ['a']}]");
	assert_true(trial.taken);
	assert_names(&trial.query, 0, QUERY_TAGS, (const char *const[]){"a", "b", "c"}, 3);
	assert_names(&trial.query, 1, QUERY_TAGS, (const char *const[]){"a"}, 1);
	assert_names(&trial.query, 1, QUERY_TYPES, (const char *const[]){"a"}, 1);
	end(&trial);
	query_init(&query); /* so many that they are not compared one by one */
	msgpack_write_array(&text, 1);
	msgpack_write_map(&text, 1);
	msgpack_write_string(&text, "tags");
	msgpack_write_array(&text, 900);
	for (uint32_t i = 0; i < 900; i++)
		msgpack_write_string(&text, i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c");
	assert_true(query_decode(buffer_span(&text), "query", &query, &problem));
	assert_names(&query, 0, QUERY_TAGS, (const char *const[]){"a", "b", "c"}, 3);
	query_close(&query);
	buffer_close(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_has_no_items),
		cmocka_unit_test(test_items_and_parts_are_taken),
		cmocka_unit_test(test_repeated_names_are_dropped),
		cmocka_unit_test(test_what_is_wrong_is_named),
		cmocka_unit_test(test_items_and_names_are_bounded),
		cmocka_unit_test(test_a_declared_count_is_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
