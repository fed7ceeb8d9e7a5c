/* A backup whose file cannot be written or read is told to be none, and leaves nothing behind. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/unit.h"

#include "base/backup_file.h"
#include "base/buffer.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/msgpack.h"

#include <stdlib.h>

static char directory[] = "/tmp/annal-backup-XXXXXX";
static char path[64], partial[80];
static struct buffer items;
static struct backup_header header = {.cluster_id = "0123456789abcde", .node_id = 3};

static void add_record(uint64_t position)
{
	size_t start = items.size;
	uint8_t head[46] = {0x99, 0xcf, [10] = 0xcf, [19] = 0xcf, [28] = 0xc4, 0x10};

	bytes_set_be64(head + 2, position);
	buffer_append(&items, head, sizeof head);
	msgpack_write_string(&items, "Stream-1");
	msgpack_write_string(&items, "type");
	msgpack_write_bin(&items, span_of("data", 4));
	msgpack_write_bin(&items, span_of("", 0));
	msgpack_write_array(&items, 0);
	header.position = position;
	header.hash = checksum64_seeded(items.data + start, items.size - start, header.hash);
}

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/one", directory);
	snprintf(partial, sizeof partial, "%s.partial", path);
	buffer_init(&items);
	for (uint64_t position = 1; position <= 20; position++)
		add_record(position);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	buffer_close(&items);
	unlink(path);
	return rmdir(directory);
}

static int write_file(struct error *error)
{
	struct backup_writer *writer;
	int rc = backup_writer_open(&writer, path, &header, error);

	if (rc != 0)
		return rc;
	rc = backup_writer_add(writer, buffer_span(&items), error);
	if (rc == 0)
		rc = backup_writer_complete(writer, error);
	if (rc == 0)
		rc = backup_writer_publish(writer, error);
	backup_writer_close(writer);
	return rc;
}

static int check_file(struct error *error)
{
	struct backup_report report;
	int rc = backup_file_verify(path, NULL, NULL, &report, error);

	if (rc == 0)
		assert_int_equal(report.records, 20);
	return rc;
}

static void a_file_that_cannot_be_written_is_no_backup(void **state)
{
	bool struck = true;
	uint64_t in = 1;

	(void)state;
	for (; struck; in++) {
		struct error error = {.message = ""};

		failing_calls_set(NULL, EIO, in);
		int rc = write_file(&error);

		failing_calls_stop();
		struck = failing_calls.struck != NULL;
		if (struck && rc != -EIO)
			fail_msg("%s failed: %d", failing_calls.struck, rc);
		if (struck)
			assert_non_null(strstr(error.message, directory));
		assert_int_not_equal(access(partial, F_OK), 0);
		/* Once it has its name it is whole, also when the directory cannot be synced. */
		if (rc == 0 || access(path, F_OK) == 0) {
			assert_int_equal(check_file(&error), 0);
			assert_int_equal(unlink(path), 0);
		}
	}
	assert_true(in > 6);
}

static void a_file_that_cannot_be_read_is_not_called_whole(void **state)
{
	struct error error = {.message = ""};
	bool struck = true;
	uint64_t in = 1;

	(void)state;
	assert_int_equal(write_file(&error), 0);
	for (; struck; in++) {
		failing_calls_set(NULL, EIO, in);
		int rc = check_file(&error);

		failing_calls_stop();
		struck = failing_calls.struck != NULL;
		assert_int_equal(rc, struck ? -EIO : 0);
	}
	assert_true(in > 5);
	assert_int_equal(unlink(path), 0);
}

static void an_interrupted_call_is_made_again(void **state)
{
	static const char *const calls[] = {"write", "read"};
	struct error error = {.message = ""};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(calls); i++) {
		for (uint64_t in = 1; in <= 3; in++) {
			failing_calls_set(calls[i], EINTR, in);
			assert_int_equal(write_file(&error), 0);
			assert_int_equal(check_file(&error), 0);
			failing_calls_stop();
			assert_non_null(failing_calls.struck);
			assert_int_equal(unlink(path), 0);
		}
	}
}

/* Where a file cannot be renamed without replacing, it is linked. */
static void a_file_system_without_an_exclusive_rename_will_do(void **state)
{
	static const int codes[] = {EINVAL, ENOSYS};
	struct error error = {.message = ""};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(codes); i++) {
		failing_calls_set("renameat2", codes[i], 1);
		assert_int_equal(write_file(&error), 0);
		failing_calls_stop();
		assert_int_equal(check_file(&error), 0);
		assert_int_not_equal(access(partial, F_OK), 0);
		assert_int_equal(unlink(path), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_that_cannot_be_written_is_no_backup),
		cmocka_unit_test(a_file_that_cannot_be_read_is_not_called_whole),
		cmocka_unit_test(an_interrupted_call_is_made_again),
		cmocka_unit_test(a_file_system_without_an_exclusive_rename_will_do),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
