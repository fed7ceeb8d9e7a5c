/* What the check of a raft directory does to open segments, on a file system that knows holes. */
#include "tests/unit/unit.h"

#include "raft/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_BYTES (1024 * 1024)

static char directory[64];

static void path_of(const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", directory, name);
}

/* As raft_uv prepares one: allocated, not written. */
static void make_segment(const char *name, off_t bytes)
{
	char path[128];

	path_of(name, path);
	int file = open(path, O_CREAT | O_EXCL | O_RDWR, 0600);
	assert_true(file >= 0);
	if (bytes > 0)
		assert_int_equal(posix_fallocate(file, 0, bytes), 0);
	assert_int_equal(fsync(file), 0);
	close(file);
}

static void write_byte(const char *name, off_t offset, uint8_t value)
{
	char path[128];

	path_of(name, path);
	int file = open(path, O_WRONLY);
	assert_true(file >= 0);
	assert_int_equal(pwrite(file, &value, 1, offset), 1);
	close(file);
}

static off_t size_of(const char *name)
{
	struct stat status;
	char path[128];

	path_of(name, path);
	return stat(path, &status) == 0 ? status.st_size : -1;
}

static void check(void)
{
	struct error error;

	assert_int_equal(raft_preflight(directory, SEGMENT_BYTES, &error), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/test_preflight-XXXXXX");
	return mkdtemp(directory) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"open-1", "open-2", "open-3", "stray"};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		path_of(names[i], path);
		unlink(path);
	}
	return rmdir(directory);
}

static void an_unwritten_segment_goes(void **state)
{
	(void)state;
	make_segment("open-1", SEGMENT_BYTES);
	make_segment("open-2", SEGMENT_BYTES);
	check();
	assert_int_equal(size_of("open-1"), -1);
	assert_int_equal(size_of("open-2"), -1);
}

static void a_written_segment_stays_wherever_it_was_written(void **state)
{
	(void)state;
	make_segment("open-1", SEGMENT_BYTES);
	make_segment("open-2", SEGMENT_BYTES);
	make_segment("open-3", SEGMENT_BYTES);
	write_byte("open-1", 0, 1);
	write_byte("open-2", 511, 1);
	write_byte("open-3", SEGMENT_BYTES / 2, 0); /* zeros that were written may be anything's */
	check();
	assert_int_equal(size_of("open-1"), SEGMENT_BYTES);
	assert_int_equal(size_of("open-2"), SEGMENT_BYTES);
	assert_int_equal(size_of("open-3"), SEGMENT_BYTES);
}

static uint8_t byte_at(const char *name, off_t offset)
{
	uint8_t value = 255;
	char path[128];

	path_of(name, path);
	int file = open(path, O_RDONLY);
	assert_true(file >= 0);
	assert_int_equal(pread(file, &value, 1, offset), 1);
	close(file);
	return value;
}

/* A power cut: of the first write the second sector was written, and the first was not. */
static void a_segment_whose_first_write_was_cut_off_is_emptied(void **state)
{
	(void)state;
	make_segment("open-1", SEGMENT_BYTES);
	make_segment("open-2", SEGMENT_BYTES);
	write_byte("open-1", 512, 7);
	write_byte("open-2", 8, 7); /* a part of the first sector: that is no cut, but damage */
	write_byte("open-2", 512, 7);
	check();
	assert_int_equal(size_of("open-1"), SEGMENT_BYTES);
	assert_int_equal(byte_at("open-1", 512), 0);
	assert_int_equal(byte_at("open-2", 512), 7);
}

static void a_short_segment_becomes_a_whole_one(void **state)
{
	(void)state;
	make_segment("open-1", 0);
	make_segment("open-2", SEGMENT_BYTES / 4);
	write_byte("open-2", 5, 1);
	check();
	assert_int_equal(size_of("open-1"), SEGMENT_BYTES);
	assert_int_equal(size_of("open-2"), SEGMENT_BYTES);
}

static void a_file_that_is_no_part_of_a_log_is_named(void **state)
{
	struct error error;

	(void)state;
	make_segment("stray", 1);
	assert_int_equal(raft_preflight(directory, SEGMENT_BYTES, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "\"stray\""));
}

#define PREFLIGHT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PREFLIGHT_TEST(an_unwritten_segment_goes),
		PREFLIGHT_TEST(a_written_segment_stays_wherever_it_was_written),
		PREFLIGHT_TEST(a_segment_whose_first_write_was_cut_off_is_emptied),
		PREFLIGHT_TEST(a_short_segment_becomes_a_whole_one),
		PREFLIGHT_TEST(a_file_that_is_no_part_of_a_log_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
