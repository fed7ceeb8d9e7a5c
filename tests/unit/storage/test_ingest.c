/* Ingest: a store that pulls records becomes equal to its source, whenever it is killed. */
#include "tests/unit/storage/feed.h"

#include "storage/verify.h"

#define COMMANDS 300

static struct store *make_source(struct feed_place *place, uint64_t *seed)
{
	static const uint8_t noise[2000] = {1, 2, 3};
	struct store *store = feed_store(place);
	struct error error;

	for (uint64_t index = 1; index <= COMMANDS; index++) {
		char stream[32];

		snprintf(stream, sizeof stream, "%s-%u",
			 unit_random(seed) % 5 == 0 ? "$meta" : "Order",
			 (unsigned)(unit_random(seed) % 20));
		struct feed_append append = feed_single(stream, unit_random(seed));
		append.events[0].data = span_of(noise, unit_random(seed) % sizeof noise);
		assert_ok(feed_apply(store, index, &append, NULL, &error));
		if (unit_random(seed) % 40 == 0)
			assert_ok(store_flush(store, &error));
	}
	assert_ok(store_flush(store, &error));
	return store;
}

static struct page pull(struct store *source, uint64_t from, uint32_t limit)
{
	struct read_range range = {.from = from, .limit = limit, .bytes_max = 1 * MIB};
	struct page page;
	struct error error;

	buffer_init(&page.records);
	assert_ok(store_read_all(source, &range, true, &page, &error));
	return page;
}

static void check_equal(struct store *source, struct store *target)
{
	struct store_status left, right;

	store_get_status(source, &left);
	store_get_status(target, &right);
	assert_int_equal(left.head, right.head);
	assert_int_equal(left.hash, right.hash);
	assert_int_equal(left.created, right.created);
	assert_int_equal(left.applied_index, right.applied_index);
	assert_int_equal(left.event_count, right.event_count);
	assert_int_equal(left.stream_count, right.stream_count);
	assert_false(right.ingesting);
}

static void check_whole(struct feed_place *place)
{
	static const struct verify_options options;
	static struct verify_report report;
	struct kv *kv = feed_kv(place);
	struct error error;

	assert_ok(verify_store(kv, &options, &report, &error));
	if (report.problem_count > 0)
		fail_msg("%s", report.problems[0]);
	kv_close(kv);
}

static bool roll_crash(uint64_t *seed)
{
	return unit_random(seed) % 5 == 0;
}

static void run_ingest(bool in_memory, uint64_t seed)
{
	struct feed_place source_place, place;
	struct manifest manifest;
	struct store_status status;
	struct error error;

	feed_place_init(&source_place, true);
	feed_place_init(&place, in_memory);
	struct store *source = make_source(&source_place, &seed), *store = feed_store(&place);
	store_get_manifest(source, &manifest);
	assert_ok(store_ingest_begin(store, &error));
	while (store_head(store) < manifest.position) {
		struct page page = pull(source, store_head(store) + 1,
					1 + (uint32_t)(unit_random(&seed) % 20));

		assert_ok(store_ingest(store, buffer_span(&page.records), &error));
		buffer_close(&page.records);
		if (unit_random(&seed) % 3 == 0)
			assert_ok(store_flush(store, &error));
		if (roll_crash(&seed)) {
			store_close(store);
			store = feed_store(&place);
			store_get_status(store, &status);
			assert_true(status.ingesting);
			assert_int_equal(status.applied_index, 0);
			assert_ok(store_ingest_begin(store, &error));
		}
	}
	assert_ok(store_ingest_end(store, &manifest, &error));
	check_equal(source, store);
	store_close(store);
	store = feed_store(&place);
	check_equal(source, store);
	/* From here on it applies what the others do. */
	for (uint64_t index = COMMANDS + 1; index < COMMANDS + 20; index++) {
		struct feed_append append = feed_single("Order-1", unit_random(&seed));

		assert_ok(feed_apply(source, index, &append, NULL, &error));
		assert_ok(feed_apply(store, index, &append, NULL, &error));
	}
	check_equal(source, store);
	assert_ok(store_flush(store, &error));
	store_close(store);
	store_close(source);
	check_whole(&place);
	feed_place_close(&source_place);
	feed_place_close(&place);
}

static void a_store_killed_while_it_pulls_goes_on_at_its_head(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		run_ingest(true, seed);
	for (uint64_t seed = 1; seed <= 2; seed++)
		run_ingest(false, seed);
}

/* Pull everything with the n-th commit failing; true when none failed any more. */
static bool pull_with_failure(struct store *source, struct feed_place *place, uint64_t failing)
{
	struct manifest manifest;
	struct error error;
	int rc;

	struct store *store = feed_store(place);
	store_get_manifest(source, &manifest);
	kv_memory_disk_fail(place->disk, failing);
	rc = store_ingest_begin(store, &error);
	while (rc == 0 && store_head(store) < manifest.position) {
		struct page page = pull(source, store_head(store) + 1, 50);

		rc = store_ingest(store, buffer_span(&page.records), &error);
		buffer_close(&page.records);
		if (rc == 0)
			rc = store_flush(store, &error);
	}
	if (rc == 0)
		rc = store_ingest_end(store, &manifest, &error);
	if (rc == 0)
		check_equal(source, store);
	store_close(store);
	return rc == 0;
}

static void every_commit_may_fail(void **state)
{
	struct feed_place source_place;
	uint64_t seed = 3;
	bool whole = false;

	(void)state;
	feed_place_init(&source_place, true);
	struct store *source = make_source(&source_place, &seed);
	for (uint64_t failing = 1; !whole; failing++) {
		struct feed_place place;

		feed_place_init(&place, true);
		whole = pull_with_failure(source, &place, failing);
		if (!whole)
			assert_true(pull_with_failure(source, &place, 0));
		check_whole(&place);
		feed_place_close(&place);
		assert_true(failing < 100);
	}
	store_close(source);
	feed_place_close(&source_place);
}

static void apply_is_refused_meanwhile(void **state)
{
	struct feed_append append = feed_single("s", 1);
	struct feed_place place;
	struct error error;

	(void)state;
	feed_place_init(&place, true);
	struct store *store = feed_store(&place);
	assert_int_equal(store_ingest(store, span_of("x", 1), &error), -EINVAL);
	assert_ok(store_ingest_begin(store, &error));
	assert_int_equal(feed_apply(store, 1, &append, NULL, &error), -EBUSY);
	store_close(store);
	feed_place_close(&place);
}

static void records_that_do_not_follow_are_refused(void **state)
{
	struct feed_place source_place, place;
	uint64_t seed = 5;
	struct error error;
	struct record record;

	(void)state;
	feed_place_init(&source_place, true);
	feed_place_init(&place, true);
	struct store *source = make_source(&source_place, &seed), *store = feed_store(&place);
	struct page page = pull(source, 1, 10);
	struct span all = buffer_span(&page.records);
	assert_int_equal(record_parse(all, &record), 0);
	struct span rest = span_of(all.data + record.bytes.size, all.size - record.bytes.size);
	assert_ok(store_ingest_begin(store, &error));
	assert_int_equal(store_ingest(store, rest, &error), -EBADMSG); /* a gap */
	assert_int_equal(store_ingest(store, span_of(all.data, 20), &error), -EBADMSG);
	assert_ok(store_ingest(store, record.bytes, &error));
	assert_int_equal(store_ingest(store, record.bytes, &error), -EBADMSG); /* again */
	page.records.data[record.bytes.size + RECORD_VERSION_OFFSET + 6] ^= 1;
	assert_int_equal(store_ingest(store, rest, &error), -EBADMSG);
	page.records.data[record.bytes.size + RECORD_VERSION_OFFSET + 6] ^= 1;
	uint8_t created[8];
	uint8_t *at = page.records.data + record.bytes.size + RECORD_CREATED_OFFSET;
	memcpy(created, at, sizeof created);
	bytes_set_be64(at, (uint64_t)record.created - 1);
	assert_int_equal(store_ingest(store, rest, &error), -EBADMSG); /* time goes back */
	memcpy(at, created, sizeof created);
	memcpy(page.records.data + record.bytes.size + RECORD_ID_OFFSET, record.id, UUID_BYTES);
	assert_int_equal(store_ingest(store, rest, &error), -EBADMSG); /* the id of the first */
	assert_int_equal(store_head(store), 1);
	buffer_close(&page.records);
	store_close(store);
	store_close(source);
	feed_place_close(&source_place);
	feed_place_close(&place);
}

static void other_records_than_the_manifests_are_found_in_the_end(void **state)
{
	struct feed_place source_place, place;
	struct manifest manifest, wrong;
	uint64_t seed = 5;
	struct error error;

	(void)state;
	feed_place_init(&source_place, true);
	feed_place_init(&place, true);
	struct store *source = make_source(&source_place, &seed), *store = feed_store(&place);
	store_get_manifest(source, &manifest);
	assert_int_equal(store_ingest_end(store, &manifest, &error), -EINVAL); /* not begun */
	assert_ok(store_ingest_begin(store, &error));
	assert_int_equal(store_ingest_end(store, &manifest, &error), -EINVAL); /* not all */
	struct page page = pull(source, 1, 10000);
	assert_ok(store_ingest(store, buffer_span(&page.records), &error));
	buffer_close(&page.records);
	wrong = manifest;
	wrong.hash ^= 1;
	assert_int_equal(store_ingest_end(store, &wrong, &error), -EBADMSG);
	wrong = manifest;
	wrong.created++;
	assert_int_equal(store_ingest_end(store, &wrong, &error), -EBADMSG);
	assert_ok(store_ingest_end(store, &manifest, &error));
	store_close(store);
	store_close(source);
	feed_place_close(&source_place);
	feed_place_close(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(apply_is_refused_meanwhile),
		cmocka_unit_test(records_that_do_not_follow_are_refused),
		cmocka_unit_test(other_records_than_the_manifests_are_found_in_the_end),
		cmocka_unit_test(a_store_killed_while_it_pulls_goes_on_at_its_head),
		cmocka_unit_test(every_commit_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
