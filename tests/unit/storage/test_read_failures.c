/*
 * Reads of a store whose tables cannot be read, or are damaged on their way: the answer is the right one,
 * or it is an error.
 */
#include "tests/unit/storage/failing_kv.h"
#include "tests/unit/storage/feed.h"

#define EVENTS     2500 /* several blocks, closed chunks, three runs of table time */
#define IN_TAIL    40
#define FLUSH_EACH 400
#define LONG_NAME  450

static struct failing_plan plan;
static struct feed_place place;
static struct store *store;
static struct query queries[4];
static char long_name[LONG_NAME];

/* ---- what is asked: the answer is appended ---- */

static int ask_all(uint64_t from, bool backward, bool with_system, struct buffer *answer,
		   struct error *error)
{
	struct read_range range = {
		.from = from, .backward = backward, .limit = 60, .bytes_max = 1 * MIB};
	struct page page = {.records = *answer};
	int rc = store_read_all(store, &range, with_system, &page, error);

	*answer = page.records;
	return rc;
}

static int ask_stream(const char *stream, bool backward, struct buffer *answer, struct error *error)
{
	struct read_range range = {
		.from = 5, .backward = backward, .limit = 300, .bytes_max = 1 * MIB};
	struct stream_status status;
	struct page page = {.records = *answer};
	int rc = store_read_stream(store, span_of_string(stream), &range, &page, &status, error);

	*answer = page.records;
	if (rc == 0)
		buffer_append(answer, &status.version, sizeof status.version);
	return rc;
}

static int ask_query(const struct query *query, bool backward, struct buffer *answer,
		     struct error *error)
{
	struct read_range range = {.backward = backward, .limit = 50, .bytes_max = 1 * MIB};
	struct page page = {.records = *answer};
	int rc = store_read_query(store, query, &range, &page, error);

	*answer = page.records;
	return rc;
}

static int ask_count(const struct query *query, struct buffer *answer, struct error *error)
{
	struct query_tally tally = {0};
	int rc = 0;

	while (rc == 0 && !tally.end)
		rc = store_count(store, query, &tally, error);
	if (rc == 0)
		buffer_append(answer, &tally.count, sizeof tally.count);
	return rc;
}

static int ask_names(enum name_kind kind, const char *category, const char *after,
		     struct buffer *answer, struct error *error)
{
	struct name_range range = {.kind = kind,
				   .category = span_of_string(category),
				   .after = span_of_string(after),
				   .limit = 4};
	struct name_page page = {.text = *answer};

	buffer_init(&page.entries);
	int rc = store_list_names(store, &range, &page, error);
	*answer = page.text;
	if (rc == 0)
		buffer_append_span(answer, buffer_span(&page.entries));
	buffer_close(&page.entries);
	return rc;
}

static int ask_status(const char *stream, struct buffer *answer, struct error *error)
{
	struct stream_status status = {0};
	int rc = store_stream_status(store, span_of_string(stream), &status, error);

	if (rc == 0) {
		buffer_append(answer, &status.version, sizeof status.version);
		buffer_append(answer, &status.updated, sizeof status.updated);
	}
	return rc;
}

static int ask_time(int64_t created, struct buffer *answer, struct error *error)
{
	uint64_t position;
	int rc = store_position_at(store, created, &position, error);

	if (rc == 0)
		buffer_append(answer, &position, sizeof position);
	return rc;
}

static int ask_digest(uint64_t position, struct buffer *answer, struct error *error)
{
	uint64_t hash;
	int rc = store_digest(store, &position, &hash, error);

	if (rc == 0)
		buffer_append(answer, &hash, sizeof hash);
	return rc;
}

static int ask_id(uint64_t number, struct buffer *answer, struct error *error)
{
	struct feed_append append = feed_single("x", number);

	return store_read_id(store, append.events[0].id, answer, error);
}

static int ask_raw(uint64_t from, struct buffer *answer, struct error *error)
{
	struct read_range range = {.from = from, .limit = 30, .bytes_max = 1 * MIB};
	struct page page = {.records = *answer};
	int rc = store_read_raw(store, &range, &page, error);

	*answer = page.records;
	return rc;
}

/* Question number `number`; false: there is no such one. */
static bool ask(int number, struct buffer *answer, int *rc, struct error *error)
{
	const int64_t late = (int64_t)(EVENTS - 1) * 1000;

	/* clang-format off */
	switch (number) {
	case 0: *rc = ask_all(0, false, true, answer, error); break;
	case 1: *rc = ask_all(0, true, true, answer, error); break;
	case 2: *rc = ask_all(1200, false, false, answer, error); break;
	case 3: *rc = ask_all(1200, true, false, answer, error); break;
	case 4: *rc = ask_stream("Order-1", false, answer, error); break;
	case 5: *rc = ask_stream("Order-1", true, answer, error); break;
	case 6: *rc = ask_stream(long_name, false, answer, error); break;
	case 7: *rc = ask_query(&queries[0], false, answer, error); break;
	case 8: *rc = ask_query(&queries[0], true, answer, error); break;
	case 9: *rc = ask_query(&queries[1], false, answer, error); break;
	case 10: *rc = ask_query(&queries[1], true, answer, error); break;
	case 11: *rc = ask_query(&queries[2], false, answer, error); break;
	case 12: *rc = ask_query(&queries[3], true, answer, error); break;
	case 13: *rc = ask_count(&queries[0], answer, error); break;
	case 14: *rc = ask_count(&queries[1], answer, error); break;
	case 15: *rc = ask_count(&queries[2], answer, error); break;
	case 16: *rc = ask_names(NAMES_STREAMS, "", "", answer, error); break;
	case 17: *rc = ask_names(NAMES_STREAMS, "Order", "Order-1", answer, error); break;
	case 18: *rc = ask_names(NAMES_CATEGORIES, "", "L", answer, error); break;
	case 19: *rc = ask_names(NAMES_TYPES, "", "", answer, error); break;
	case 20: *rc = ask_names(NAMES_STREAMS, "", long_name, answer, error); break;
	case 21: *rc = ask_status("Order-2", answer, error); break;
	case 22: *rc = ask_status("Nobody-2", answer, error); break;
	case 23: *rc = ask_status(long_name, answer, error); break;
	case 24: *rc = ask_time(1, answer, error); break;
	case 25: *rc = ask_time(1500 * 1000, answer, error); break;
	case 26: *rc = ask_time(late, answer, error); break;
	case 27: *rc = ask_digest(1, answer, error); break;
	case 28: *rc = ask_digest(1300, answer, error); break;
	case 29: *rc = ask_digest(EVENTS - 2, answer, error); break;
	case 30: *rc = ask_id(7, answer, error); break;
	case 31: *rc = ask_id(EVENTS - 1, answer, error); break;
	case 32: *rc = store_read_position(store, 1000, answer, error); break;
	case 33: *rc = store_read_version(store, span_of_string("Order-1"), 50, answer, error); break;
	case 34: *rc = ask_raw(1, answer, error); break;
	case 35: *rc = ask_raw(1990, answer, error); break;
	default: return false;
	}
	/* clang-format on */
	return true;
}

/* ---- what must come ---- */

static void check_answer(int number, struct span right)
{
	struct error error = {.message = ""};
	struct buffer answer;
	int rc = 0;

	buffer_init(&answer);
	ask(number, &answer, &rc, &error);
	if (rc == 0) {
		if (plan.struck && plan.how == FAILING_ANY)
			fail_msg("question %d: a failure is not told", number);
		if (!span_equal(buffer_span(&answer), right))
			fail_msg("question %d: a wrong answer, damage %d", number, plan.how);
	} else {
		if (!plan.struck || rc != plan.error || error.message[0] == 0)
			fail_msg("question %d: %d, %s", number, rc, error.message);
	}
	buffer_close(&answer);
}

static void ask_with(enum failing_how how, int code)
{
	int rc;

	for (int number = 0;; number++) {
		struct error error = {.message = ""};
		struct buffer right;

		failing_plan_close(&plan);
		buffer_init(&right);
		if (!ask(number, &right, &rc, &error))
			break;
		if (rc != 0)
			fail_msg("question %d: %s", number, error.message);
		for (uint64_t in = 1;; in++) {
			failing_plan_set(&plan, how, code, in);
			check_answer(number, buffer_span(&right));
			if (!plan.struck)
				break;
		}
		buffer_close(&right);
	}
}

static void a_read_that_fails_says_so(void **state)
{
	(void)state;
	ask_with(FAILING_ANY, -EIO);
}

static void damage_is_never_served(void **state)
{
	(void)state;
	for (enum failing_how how = FAILING_FLIP; how <= FAILING_EMPTY; how++)
		ask_with(how, -EBADMSG);
}

/* ---- the store ---- */

static void add_event(uint64_t index)
{
	static const char *const streams[] = {"Order-1", "Order-2", "Ledger-1", "$meta", "Other-1"};
	struct feed_append append =
		feed_single(index % 20 == 0 ? long_name : streams[index % 5], index);
	struct error error;

	append.events[0].type = span_of_string(index % 3 == 0 ? "paid" : "placed");
	append.events[0].tag_count = 2;
	append.events[0].tags[0] = span_of_string(index % 2 == 0 ? "even" : "odd");
	append.events[0].tags[1] = span_of_string(index % 50 == 1 ? "rare" : "frequent");
	assert_ok(feed_apply(store, index, &append, NULL, &error));
}

static void make_queries(void)
{
	for (size_t i = 0; i < COUNT_OF(queries); i++) {
		query_init(&queries[i]);
		query_add_item(&queries[i]);
	}
	query_add_name(&queries[0], QUERY_TYPES, span_of_string("paid"));
	query_add_name(&queries[0], QUERY_TYPES, span_of_string("placed"));
	query_add_name(&queries[0], QUERY_TAGS, span_of_string("odd"));
	query_add_name(&queries[0], QUERY_TAGS, span_of_string("rare"));
	query_add_name(&queries[1], QUERY_TAGS, span_of_string("even"));
	query_add_item(&queries[1]);
	query_add_name(&queries[1], QUERY_CATEGORIES, span_of_string("Ledger"));
	query_add_name(&queries[1], QUERY_STREAMS, span_of_string("Ledger-1"));
	query_add_name(&queries[2], QUERY_TYPES, span_of_string("paid"));
	query_set_prefix(&queries[2], span_of_string("Ot"));
	query_set_prefix(&queries[3], span_of_string("Order-2"));
}

static int make_store(void **state)
{
	struct store_options options = {.tail_bytes_max = 1 * MIB};
	struct error error;

	(void)state;
	memset(long_name, 'n', sizeof long_name - 1);
	make_queries();
	feed_place_init(&place, true);
	options.kv = failing_kv_new(feed_kv(&place), &plan);
	assert_ok(store_open(&store, &options, &error));
	for (uint64_t index = 1; index <= EVENTS; index++) {
		add_event(index);
		if (index % FLUSH_EACH == 0 || index == EVENTS - IN_TAIL)
			assert_ok(store_flush(store, &error));
	}
	return 0;
}

static int drop_store(void **state)
{
	(void)state;
	failing_plan_close(&plan);
	for (size_t i = 0; i < COUNT_OF(queries); i++)
		query_close(&queries[i]);
	store_close(store);
	feed_place_close(&place);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_that_fails_says_so),
		cmocka_unit_test(damage_is_never_served),
	};

	return cmocka_run_group_tests(tests, make_store, drop_store);
}
