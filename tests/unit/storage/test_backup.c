/* A store goes into a file and comes out of it equal, whatever is appended meanwhile. */
#include "tests/unit/storage/feed.h"

#include "storage/backup.h"
#include "storage/command.h"
#include "storage/system.h"
#include "storage/tables.h"
#include "storage/verify.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct place {
	char folder[64], path[96], partial[112];
};

static int make_place(void **state)
{
	struct place *place = memory_zeroed(1, sizeof *place);

	snprintf(place->folder, sizeof place->folder, "/tmp/annal-backup-XXXXXX");
	assert_non_null(mkdtemp(place->folder));
	snprintf(place->path, sizeof place->path, "%s/one", place->folder);
	snprintf(place->partial, sizeof place->partial, "%s.partial", place->path);
	*state = place;
	return 0;
}

static int leave_place(void **state)
{
	struct place *place = *state;

	unlink(place->path);
	assert_int_equal(rmdir(place->folder), 0); /* nothing else was left in it */
	memory_free(place);
	return 0;
}

static const struct store_identity identity = {.cluster_id = "0123456789abcde", .node_id = 7};

static void append_some(struct store *store, uint64_t first, uint64_t count, size_t data_bytes)
{
	uint8_t *noise = memory_zeroed(data_bytes + 1, 1);
	uint64_t seed = first;
	struct error error;

	for (uint64_t index = first; index < first + count; index++) {
		char stream[32];

		snprintf(stream, sizeof stream, "Order-%u", (unsigned)(index % 20));
		for (size_t i = 0; i + 8 <= data_bytes; i += 8)
			bytes_set_le64(noise + i, unit_random(&seed));
		struct feed_append append = feed_single(stream, index);

		append.events[0].data = span_of(noise, unit_random(&seed) % (data_bytes + 1));
		assert_ok(feed_apply(store, index, &append, NULL, &error));
	}
	memory_free(noise);
}

static struct store *make_store(struct feed_place *place, uint64_t count, size_t data_bytes)
{
	struct store *store = feed_store(place);
	struct error error;

	assert_ok(store_set_identity(store, &identity, &error));
	append_some(store, 1, count, data_bytes);
	assert_ok(store_flush(store, &error));
	return store;
}

/* ---- a backup, with a say in it ---- */

struct job {
	struct store *store;
	uint64_t appended;   /* at each piece, one more from here on; 0: nothing */
	uint32_t pieces;     /* so far */
	uint32_t pieces_max; /* then it is given up; 0: never */
	bool publish_refused;
	uint64_t last_position;
};

static bool go_on(void *arg, const struct backup_progress *progress)
{
	struct job *job = arg;
	struct error error;

	assert_true(progress->position <= progress->wanted);
	assert_true(job->pieces == 0 || progress->position > job->last_position);
	job->last_position = progress->position;
	if (job->appended > 0) {
		append_some(job->store, job->appended++, 1, 100);
		assert_ok(store_flush(job->store, &error));
	}
	return ++job->pieces != job->pieces_max;
}

static bool publish(void *arg)
{
	const struct job *job = arg;

	return !job->publish_refused;
}

static int back_up(struct job *job, const struct place *place, struct backup_progress *progress,
		   struct error *error)
{
	const struct backup_options options = {
		.path = place->path, .go_on = go_on, .publish = publish, .arg = job};

	return backup_write(job->store, &options, progress, error);
}

static struct store *restore(const struct place *place, struct feed_place *target)
{
	struct store *store = feed_store(target);
	struct backup_reader *reader;
	struct manifest manifest;
	struct error error;

	assert_ok(backup_reader_open(&reader, place->path, &error));
	backup_manifest(backup_reader_header(reader), &manifest);
	assert_memory_equal(manifest.cluster_id, identity.cluster_id, CLUSTER_ID_BYTES);
	assert_ok(store_set_identity(store, &identity, &error));
	assert_ok(backup_restore(store, reader, &manifest, NULL, NULL, &error));
	backup_reader_close(reader);
	return store;
}

static void read_all(struct store *store, uint64_t last, struct buffer *into)
{
	struct page page = {0};
	struct error error;
	uint64_t next = 1;

	buffer_init(into);
	buffer_init(&page.records);
	while (next <= last) {
		struct read_range range = {
			.from = next, .limit = (uint32_t)(last - next + 1), .bytes_max = 64 * MIB};

		buffer_clear(&page.records);
		assert_ok(store_read_all(store, &range, true, &page, &error));
		buffer_append_span(into, buffer_span(&page.records));
		next = page.next;
	}
	buffer_close(&page.records);
}

static void assert_same_records(struct store *source, struct store *target, uint64_t last)
{
	struct buffer left, right;

	read_all(source, last, &left);
	read_all(target, last, &right);
	assert_true(span_equal(buffer_span(&left), buffer_span(&right)));
	buffer_close(&left);
	buffer_close(&right);
}

static void assert_whole(struct feed_place *place)
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

static void a_store_comes_back_equal_from_its_file(void **state)
{
	static const uint64_t counts[] = {0, 1, 300, 9000};
	const struct place *place = *state;

	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		struct feed_place source_place, target_place;
		struct backup_progress progress;
		struct store_status left, right;
		struct error error;

		feed_place_init(&source_place, true);
		feed_place_init(&target_place, true);
		struct job job = {.store = make_store(&source_place, counts[i], 600)};

		assert_ok(back_up(&job, place, &progress, &error));
		assert_int_equal(progress.position, counts[i]);
		assert_int_equal(progress.wanted, counts[i]);
		struct store *store = restore(place, &target_place);

		store_get_status(job.store, &left);
		store_get_status(store, &right);
		assert_int_equal(left.head, right.head);
		assert_int_equal(left.hash, right.hash);
		assert_int_equal(left.created, right.created);
		assert_int_equal(left.applied_index, right.applied_index);
		assert_int_equal(left.event_count, right.event_count);
		assert_int_equal(left.stream_count, right.stream_count);
		assert_int_equal(right.durable_position, counts[i]);
		assert_false(right.ingesting);
		assert_same_records(job.store, store, counts[i]);
		store_close(job.store);
		store_close(store);
		assert_whole(&target_place);
		feed_place_close(&source_place);
		feed_place_close(&target_place);
		assert_int_equal(unlink(place->path), 0);
	}
}

static void what_is_applied_meanwhile_is_not_in_it(void **state)
{
	const struct place *place = *state;
	struct feed_place source_place, target_place;
	struct backup_progress progress;
	struct error error;

	feed_place_init(&source_place, false);
	feed_place_init(&target_place, true);
	struct job job = {.store = make_store(&source_place, 5000, 1000), .appended = 5001};

	append_some(job.store, job.appended++, 1, 100); /* not durable: not wanted either */
	assert_ok(back_up(&job, place, &progress, &error));
	assert_int_equal(progress.position, 5000);
	assert_true(job.pieces > 2 && store_head(job.store) > 5001);
	struct store *store = restore(place, &target_place);

	assert_int_equal(store_head(store), 5000);
	assert_same_records(job.store, store, 5000);
	store_close(job.store);
	store_close(store);
	feed_place_close(&source_place);
	feed_place_close(&target_place);
}

/* ---- with holes ---- */

static void apply_checkpoint(struct store *store, uint64_t index)
{
	const struct system_checkpoint checkpoint = {.position = index};
	struct record_fields fields;
	struct buffer text, items;
	struct apply_result result;
	struct error error;
	uint8_t id[UUID_BYTES];

	buffer_init(&text);
	buffer_init(&items);
	system_checkpoint_fields(span_of_string("one"), &checkpoint, id, &text, &fields);
	size_t item = command_item_begin(&items);

	command_item_add_checkpoint(&items, NULL, &fields);
	command_item_end(&items, item);
	struct span body = feed_command(&items, 1, (int64_t)index * 1000);

	assert_ok(store_apply(store, index, (uint8_t *)(uintptr_t)body.data, body.size, NULL,
			      &result, &error));
	buffer_close(&text);
	buffer_close(&items);
}

/* Two of three records are checkpoints of one consumer: all but the last can be dropped. */
static void append_checkpoints(struct store *store, uint64_t first, uint64_t count)
{
	struct error error;

	for (uint64_t index = first; index < first + count; index++) {
		struct feed_append append = feed_single("Order-1", index);

		if (index % 3 == 0)
			assert_ok(feed_apply(store, index, &append, NULL, &error));
		else
			apply_checkpoint(store, index);
	}
	assert_ok(store_flush(store, &error));
}

static void trim_all(struct store *store)
{
	struct error error;
	bool again = true;

	while (again)
		assert_ok(store_trim(store, &again, &error));
}

static bool trim_and_go_on(void *arg, const struct backup_progress *progress)
{
	struct job *job = arg;

	append_checkpoints(job->store, job->appended, 500);
	job->appended += 500;
	trim_all(job->store);
	return go_on(&(struct job){.store = job->store}, progress);
}

static void read_raw(struct store *store, uint64_t last, struct buffer *into)
{
	struct read_range range = {.from = 1, .limit = 1000000, .bytes_max = 64 * MIB};
	struct page page = {0};
	struct error error;

	buffer_init(&page.records);
	assert_ok(store_read_raw(store, &range, &page, &error));
	assert_true(page.end && page.next == last + 1);
	*into = page.records;
}

static void holes_are_kept_and_none_comes_meanwhile(void **state)
{
	const struct place *place = *state;
	struct feed_place source_place, target_place;
	struct backup_progress progress;
	struct backup_report report;
	struct buffer left, right;
	struct error error;

	feed_place_init(&source_place, true);
	feed_place_init(&target_place, true);
	struct job job = {.store = make_store(&source_place, 0, 0), .appended = 20001};

	append_checkpoints(job.store, 1, 20000);
	trim_all(job.store);
	read_raw(job.store, 20000, &left);
	const struct backup_options options = {
		.path = place->path, .go_on = trim_and_go_on, .publish = publish, .arg = &job};

	assert_ok(backup_write(job.store, &options, &progress, &error));
	assert_int_equal(progress.position, 20000);
	assert_true(job.appended > 20001);
	assert_ok(backup_file_verify(place->path, NULL, NULL, &report, &error));
	assert_true(report.holes > 1000);
	assert_int_equal(report.content_bytes, left.size);
	struct store *store = restore(place, &target_place);

	read_raw(store, 20000, &right);
	assert_true(span_equal(buffer_span(&left), buffer_span(&right)));
	store_close(store);
	assert_whole(&target_place);
	/* Nobody holds it any more. */
	trim_all(job.store);
	struct store_status status;

	store_get_status(job.store, &status);
	assert_true(status.superseded < 2000);
	store_close(job.store);
	buffer_close(&left);
	buffer_close(&right);
	feed_place_close(&source_place);
	feed_place_close(&target_place);
}

static void given_up_it_leaves_nothing(void **state)
{
	const struct place *place = *state;
	struct feed_place source_place;
	struct backup_progress progress;
	struct error error;

	feed_place_init(&source_place, true);
	struct job job = {.store = make_store(&source_place, 5000, 1000)};

	for (uint32_t pieces = 1; pieces <= 3; pieces++) {
		job.pieces = 0;
		job.pieces_max = pieces;
		assert_int_equal(back_up(&job, place, &progress, &error), -ECANCELED);
		assert_int_not_equal(access(place->path, F_OK), 0);
		assert_int_not_equal(access(place->partial, F_OK), 0);
	}
	job.pieces = job.pieces_max = 0;
	job.publish_refused = true;
	assert_int_equal(back_up(&job, place, &progress, &error), -ECANCELED);
	assert_int_not_equal(access(place->path, F_OK), 0);
	store_close(job.store);
	feed_place_close(&source_place);
}

static void a_disk_that_is_full_is_said_and_leaves_nothing(void **state)
{
	const struct place *place = *state;
	struct rlimit before, small = {.rlim_cur = 1 * MIB, .rlim_max = RLIM_INFINITY};
	struct feed_place source_place;
	struct backup_progress progress;
	struct error error;

	feed_place_init(&source_place, true);
	struct job job = {.store = make_store(&source_place, 5000, 1000)};

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int status = back_up(&job, place, &progress, &error);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(status, -EFBIG);
	assert_non_null(strstr(error.message, place->partial));
	assert_int_not_equal(access(place->path, F_OK), 0);
	assert_int_not_equal(access(place->partial, F_OK), 0);
	job.pieces = 0;
	assert_ok(back_up(&job, place, &progress, &error));
	store_close(job.store);
	feed_place_close(&source_place);
}

static void a_store_without_an_identity_has_no_backup(void **state)
{
	const struct place *place = *state;
	struct feed_place source_place;
	struct backup_progress progress;
	struct error error;

	feed_place_init(&source_place, true);
	struct job job = {.store = feed_store(&source_place)};

	assert_int_equal(back_up(&job, place, &progress, &error), -ENODATA);
	store_close(job.store);
	feed_place_close(&source_place);
}

/* Its applied index would be that of before, and what came since would be applied a second time. */
static void a_store_that_ingests_has_no_backup(void **state)
{
	const struct place *place = *state;
	struct feed_place source_place, target_place;
	struct backup_progress progress;
	struct error error;

	feed_place_init(&source_place, true);
	feed_place_init(&target_place, true);
	struct job job = {.store = make_store(&source_place, 20, 100)};
	struct store *target = make_store(&target_place, 10, 100);
	struct read_range range = {.from = 11, .limit = 5, .bytes_max = 1 << 20};
	struct page page = {0};

	buffer_init(&page.records);
	assert_ok(store_read_raw(job.store, &range, &page, &error));
	assert_ok(store_ingest_begin(target, &error));
	assert_ok(store_ingest(target, buffer_span(&page.records), &error));
	assert_ok(store_flush(target, &error));
	buffer_close(&page.records);
	store_close(job.store);
	job.store = target;
	assert_int_equal(back_up(&job, place, &progress, &error), -EBUSY);
	assert_int_equal(access(place->path, F_OK), -1);
	store_close(target);
	feed_place_close(&source_place);
	feed_place_close(&target_place);
}

static void a_manifest_of_other_records_is_refused(void **state)
{
	const struct place *place = *state;
	struct feed_place source_place, target_place;
	struct backup_progress progress;
	struct backup_reader *reader;
	struct manifest manifest;
	struct error error;

	feed_place_init(&source_place, true);
	feed_place_init(&target_place, true);
	struct job job = {.store = make_store(&source_place, 300, 100)};

	assert_ok(back_up(&job, place, &progress, &error));
	store_close(job.store);
	struct store *store = feed_store(&target_place);

	assert_ok(backup_reader_open(&reader, place->path, &error));
	backup_manifest(backup_reader_header(reader), &manifest);
	manifest.hash++;
	assert_int_equal(backup_restore(store, reader, &manifest, NULL, NULL, &error), -EBADMSG);
	backup_reader_close(reader);
	store_close(store);
	feed_place_close(&source_place);
	feed_place_close(&target_place);
}

static void an_identity_can_be_replaced(void **state)
{
	const struct store_identity other = {.cluster_id = "another cluster", .node_id = 9};
	struct feed_place place;
	struct store_identity found;
	struct error error;

	(void)state;
	feed_place_init(&place, false);
	store_close(make_store(&place, 10, 100));
	struct kv *kv = feed_kv(&place);

	assert_ok(tables_write_identity(kv, &other, &error));
	kv_close(kv);
	struct store *store = feed_store(&place);

	assert_ok(store_get_identity(store, &found, &error));
	assert_memory_equal(&found, &other, sizeof found);
	assert_int_equal(store_head(store), 10);
	store_close(store);
	feed_place_close(&place);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_place, leave_place)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_store_comes_back_equal_from_its_file),
		TEST(what_is_applied_meanwhile_is_not_in_it),
		TEST(holes_are_kept_and_none_comes_meanwhile),
		TEST(given_up_it_leaves_nothing),
		TEST(a_disk_that_is_full_is_said_and_leaves_nothing),
		TEST(a_store_without_an_identity_has_no_backup),
		TEST(a_store_that_ingests_has_no_backup),
		TEST(a_manifest_of_other_records_is_refused),
		cmocka_unit_test(an_identity_can_be_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
