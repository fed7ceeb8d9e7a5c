/*
 * Whatever operation of the key-value store fails, and whatever it finds is damaged: who asked is told,
 * and a store that is opened again and applies the rest of its log becomes what it would have been.
 */
#include "tests/unit/storage/failing_kv.h"
#include "tests/unit/storage/feed.h"

#include "storage/backup.h"
#include "storage/verify.h"

#define COMMANDS   150
#define FLUSH_EACH 30
#define CONSUMERS  2

struct life {
	struct feed_place place;
	struct failing_plan plan;
	struct store *store; /* NULL: it does not run */
};

static struct buffer expected; /* everything that the store keeps when nothing fails */
static struct verify_report report;

/* ---- a life: apply, flush and trim, from where the store is ---- */

static void make_event(uint64_t index, struct feed_append *append)
{
	static const char *const streams[] = {"Order-1", "Order-2", "Ledger-1", "$meta"};
	static char name[480];

	memset(name, 'n', sizeof name - 1);
	*append = feed_single(index % 13 == 0 ? name : streams[index % 4 * (index % 3 > 0)], index);
	append->events[0].tag_count = 2;
	append->events[0].tags[0] = span_of_string(index % 2 == 0 ? "even" : "odd");
	append->events[0].tags[1] = span_of_string(index % 20 == 1 ? "rare" : "frequent");
	if (index % 5 == 0)
		append->events[0].id[6] = 0x40;
	if (index % 17 == 0) /* as one before it: a duplicate */
		make_event(index - 12, append);
}

/* One event on the condition that nothing rare came after it. */
static int apply_conditional(struct store *store, uint64_t index, struct error *error)
{
	struct feed_append append = feed_single("Guarded-1", index);
	struct apply_result result;
	struct buffer items;
	struct query query;

	buffer_init(&items);
	query_init(&query);
	query_add_item(&query);
	query_add_name(&query, QUERY_TYPES, span_of_string("happened"));
	query_add_name(&query, QUERY_TAGS, span_of_string("rare"));
	query_add_name(&query, QUERY_TAGS, span_of_string("odd"));
	struct record_fields fields = {.id = append.events[0].id,
				       .stream = append.events[0].stream,
				       .type = append.events[0].type,
				       .data = append.events[0].data};
	size_t item = command_item_begin(&items);
	command_item_add_expectation(&items, &append.expectations[0]);
	command_item_add_condition(&items, 0, index % 4 == 0 ? 0 : index / 2, &query);
	command_item_add_record(&items, &fields);
	command_item_end(&items, item);
	struct span body = feed_command(&items, 1, (int64_t)index * 1000);
	query_close(&query);
	buffer_close(&items);
	return store_apply(store, index, (uint8_t *)(uintptr_t)body.data, body.size, NULL, &result,
			   error);
}

static int apply_one(struct store *store, uint64_t index, struct error *error)
{
	struct feed_append append;

	if (index % 3 == 0)
		return feed_try_checkpoint(store, index, index % 2 == 0 ? "a" : "b", index, error);
	if (index % 7 == 0)
		return apply_conditional(store, index, error);
	make_event(index, &append);
	return feed_apply(store, index, &append, NULL, error);
}

static int trim_all(struct store *store, struct error *error)
{
	bool again = true;
	int rc = 0;

	while (rc == 0 && again)
		rc = store_trim(store, &again, error);
	return rc;
}

static int open_store(struct life *life, struct error *error)
{
	struct store_options options = {.kv = failing_kv_new(feed_kv(&life->place), &life->plan),
					.tail_bytes_max = 1 * MIB};

	life->store = NULL;
	return store_open(&life->store, &options, error);
}

static int live(struct life *life, struct error *error)
{
	static const struct store_identity identity = {.cluster_id = "0123456789abcde"};
	struct store_identity found;
	struct store_status status;
	int rc = open_store(life, error);

	if (rc == 0)
		rc = store_get_identity(life->store, &found, error);
	if (rc == -ENODATA)
		rc = store_set_identity(life->store, &identity, error);
	if (rc != 0)
		return rc;
	store_get_status(life->store, &status);
	for (uint64_t i = status.applied_index + 1; rc == 0 && i <= COMMANDS; i++) {
		rc = apply_one(life->store, i, error);
		if (rc == 0 && i % FLUSH_EACH == 0)
			rc = store_flush(life->store, error);
		if (rc == 0 && i % (3 * FLUSH_EACH) == 0)
			rc = trim_all(life->store, error);
	}
	if (rc == 0)
		rc = store_flush(life->store, error);
	return rc != 0 ? rc : trim_all(life->store, error);
}

static void stop(struct life *life)
{
	if (life->store != NULL)
		store_close(life->store);
	life->store = NULL;
}

static void start(struct life *life)
{
	*life = (struct life){0};
	feed_place_init(&life->place, true);
}

static void end(struct life *life)
{
	stop(life);
	feed_place_close(&life->place);
	failing_plan_close(&life->plan);
}

static void check_whole(struct life *life)
{
	static const struct verify_options options;
	struct kv *kv = feed_kv(&life->place);
	struct error error;

	assert_ok(verify_store(kv, &options, &report, &error));
	if (report.problem_count > 0)
		fail_msg("%s", report.problems[0]);
	kv_close(kv);
}

static int read_raw(struct store *store, struct buffer *into, struct error *error)
{
	struct read_range range = {.from = 1, .limit = 10000, .bytes_max = 16 * MIB};
	struct page page = {.records = *into};
	int rc = store_read_raw(store, &range, &page, error);

	*into = page.records;
	return rc;
}

static void check_as_expected(struct life *life)
{
	struct buffer found;
	struct error error;

	failing_plan_close(&life->plan);
	buffer_init(&found);
	assert_ok(read_raw(life->store, &found, &error));
	assert_true(span_equal(buffer_span(&found), buffer_span(&expected)));
	buffer_close(&found);
	stop(life);
	check_whole(life);
}

/* With the plan until it strikes, then again without; whether it struck. */
static bool live_with(enum failing_how how, int code, uint64_t in)
{
	struct error error = {.message = ""};
	struct life life;

	start(&life);
	failing_plan_set(&life.plan, how, code, in);
	int rc = live(&life, &error);
	bool struck = life.plan.struck;

	if (rc != 0) {
		if (!struck || rc != code || error.message[0] == 0)
			fail_msg("at %llu: %d, %s", (unsigned long long)in, rc, error.message);
		stop(&life);
		failing_plan_close(&life.plan);
		assert_ok(live(&life, &error));
	}
	check_as_expected(&life);
	end(&life);
	return struck;
}

static void every_operation_may_fail(void **state)
{
	uint64_t in = 1;

	(void)state;
	while (live_with(FAILING_ANY, -EIO, in))
		in++;
	assert_true(in > 400);
}

/* The map is made larger, and all goes on as if nothing had been. */
static void every_write_may_find_the_map_full(void **state)
{
	uint64_t in = 1;
	struct error error;
	struct life life;
	bool struck = true;

	(void)state;
	for (; struck; in++) {
		start(&life);
		failing_plan_set(&life.plan, FAILING_WRITES, -ENOBUFS, in);
		assert_ok(live(&life, &error));
		struck = life.plan.struck;
		check_as_expected(&life);
		end(&life);
	}
	assert_true(in > 100);
}

static void damage_that_apply_or_flush_meets_stops_them(void **state)
{
	(void)state;
	for (enum failing_how how = FAILING_FLIP; how <= FAILING_KEY; how++) {
		uint64_t in = 1;

		while (live_with(how, -EBADMSG, in))
			in++;
		assert_in_range(in, 20, 1000);
	}
}

/* ---- a store that is pulled from another one ---- */

static int pull(struct life *life, struct store *source, struct error *error)
{
	struct manifest manifest;
	int rc = open_store(life, error);

	store_get_manifest(source, &manifest);
	if (rc == 0)
		rc = store_ingest_begin(life->store, error);
	while (rc == 0 && store_head(life->store) < manifest.position) {
		struct read_range range = {
			.from = store_head(life->store) + 1, .limit = 40, .bytes_max = 16 * MIB};
		struct page page;

		buffer_init(&page.records);
		if (store_read_raw(source, &range, &page, error) != 0)
			fail_msg("%s", error->message);
		rc = store_ingest(life->store, buffer_span(&page.records), error);
		if (rc == 0)
			rc = store_flush(life->store, error);
		buffer_close(&page.records);
	}
	if (rc == 0)
		rc = store_ingest_end(life->store, &manifest, error);
	return rc != 0 ? rc : trim_all(life->store, error);
}

static bool pull_with(struct store *source, enum failing_how how, int code, uint64_t in)
{
	struct error error = {.message = ""};
	struct life life;

	start(&life);
	failing_plan_set(&life.plan, how, code, in);
	int rc = pull(&life, source, &error);
	bool struck = life.plan.struck;

	if (rc != 0) {
		if (!struck || rc != code || error.message[0] == 0)
			fail_msg("at %llu: %d, %s", (unsigned long long)in, rc, error.message);
		stop(&life);
		failing_plan_close(&life.plan);
		assert_ok(pull(&life, source, &error));
	}
	check_as_expected(&life);
	end(&life);
	return struck;
}

static void every_operation_may_fail_while_records_are_pulled(void **state)
{
	struct life source;
	struct error error;
	uint64_t in = 1;

	(void)state;
	start(&source);
	assert_ok(live(&source, &error));
	while (pull_with(source.store, FAILING_ANY, -EIO, in))
		in++;
	assert_true(in > 200);
	for (enum failing_how how = FAILING_FLIP; how <= FAILING_KEY; how++)
		for (in = 1; pull_with(source.store, how, -EBADMSG, in);)
			in++;
	end(&source);
}

/* ---- verify ---- */

static void a_check_that_cannot_read_says_so(void **state)
{
	static const struct verify_options options;
	struct failing_plan plan = {.how = FAILING_ANY};
	struct error error = {.message = ""};
	struct life life;

	(void)state;
	start(&life);
	assert_ok(live(&life, &error));
	struct kv *kv = failing_kv_new(feed_kv(&life.place), &plan);
	for (uint64_t in = 1;; in++) {
		failing_plan_set(&plan, FAILING_ANY, -EIO, in);
		int rc = verify_store(kv, &options, &report, &error);

		assert_int_equal(rc, plan.struck ? -EIO : 0);
		if (!plan.struck)
			break;
	}
	/* What is read last are the entries of ids, to count them. */
	uint64_t counted = report.records - CONSUMERS;
	for (enum failing_how how = FAILING_FLIP; how <= FAILING_EMPTY; how++) {
		uint64_t unfound = 0;

		for (uint64_t in = 1;; in++) {
			failing_plan_set(&plan, how, 0, in);
			assert_ok(verify_store(kv, &options, &report, &error));
			if (!plan.struck)
				break;
			if (report.problem_count == 0)
				unfound++;
			else if (unfound > 0)
				fail_msg(
					"damage %d of what is read before number %llu is not found",
					how, (unsigned long long)in);
		}
		assert_int_equal(unfound, counted);
	}
	failing_plan_close(&plan);
	kv_close(kv);
	end(&life);
}

/* ---- backups ---- */

static bool go_on(void *arg, const struct backup_progress *progress)
{
	(void)arg;
	return progress->position < progress->wanted;
}

static bool publish(void *arg)
{
	(void)arg;
	return true;
}

static int back_up(struct store *store, const char *path, struct error *error)
{
	struct backup_options options = {.path = path, .go_on = go_on, .publish = publish};
	struct backup_progress progress;

	return backup_write(store, &options, &progress, error);
}

static int restore(struct life *life, const char *path, struct error *error)
{
	struct backup_reader *reader;
	struct manifest manifest;

	if (backup_reader_open(&reader, path, error) != 0)
		fail_msg("%s", error->message);
	backup_manifest(backup_reader_header(reader), &manifest);
	int rc = open_store(life, error);
	if (rc == 0)
		rc = backup_restore(life->store, reader, &manifest, NULL, NULL, error);
	backup_reader_close(reader);
	return rc;
}

static void a_backup_that_cannot_be_read_or_restored_is_none(void **state)
{
	struct error error = {.message = ""};
	char path[] = "/tmp/annal-failures-XXXXXX";
	struct life source, life;
	bool struck = true;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(rmdir(path), 0);
	start(&source);
	assert_ok(live(&source, &error));
	for (uint64_t in = 1; struck; in++) {
		failing_plan_set(&source.plan, FAILING_ANY, -EIO, in);
		int rc = back_up(source.store, path, &error);

		struck = source.plan.struck;
		assert_int_equal(rc, struck ? -EIO : 0);
		assert_int_equal(access(path, F_OK), struck ? -1 : 0);
	}
	struck = true;
	for (uint64_t in = 1; struck; in++) {
		start(&life);
		failing_plan_set(&life.plan, FAILING_ANY, -EIO, in);
		int rc = restore(&life, path, &error);

		struck = life.plan.struck;
		assert_int_equal(rc, struck ? -EIO : 0);
		if (!struck)
			check_as_expected(&life);
		end(&life);
	}
	assert_int_equal(unlink(path), 0);
	end(&source);
}

static int live_undisturbed(void **state)
{
	struct life life;
	struct error error;

	(void)state;
	buffer_init(&expected);
	start(&life);
	assert_ok(live(&life, &error));
	assert_ok(read_raw(life.store, &expected, &error));
	stop(&life);
	check_whole(&life);
	assert_true(report.holes > 0 && report.events > 50);
	end(&life);
	return 0;
}

static int forget(void **state)
{
	(void)state;
	buffer_close(&expected);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_that_cannot_read_says_so),
		cmocka_unit_test(a_backup_that_cannot_be_read_or_restored_is_none),
		cmocka_unit_test(every_write_may_find_the_map_full),
		cmocka_unit_test(damage_that_apply_or_flush_meets_stops_them),
		cmocka_unit_test(every_operation_may_fail_while_records_are_pulled),
		cmocka_unit_test(every_operation_may_fail),
	};

	return cmocka_run_group_tests(tests, live_undisturbed, forget);
}
