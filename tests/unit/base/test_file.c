/* A file is replaced whole or not at all, whatever call fails. */
#include "tests/unit/failing_calls.h"
#include "tests/unit/unit.h"

#include "base/file.h"

#include <stdlib.h>

static char directory[] = "/tmp/annal-file-XXXXXX";
static char path[64], aside[80];

static int set_up(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/one", directory);
	snprintf(aside, sizeof aside, "%s.new", path);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	unlink(aside);
	return rmdir(directory);
}

static void check_content(const char *wanted)
{
	char content[64];
	int file = open(path, O_RDONLY);

	assert_true(file >= 0);
	ssize_t size = read(file, content, sizeof content);
	close(file);
	assert_true(size >= 0 && span_equal_string(span_of(content, (size_t)size), wanted));
}

static void what_is_written_is_there_for_its_owner_alone(void **state)
{
	struct error error;
	struct stat found;

	(void)state;
	assert_int_equal(file_replace(path, span_of_string("a"), &error), 0);
	check_content("a");
	assert_int_equal(file_replace(path, span_of_string("another"), &error), 0);
	check_content("another");
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_mode & 0777, 0600);
	assert_int_not_equal(access(aside, F_OK), 0);
}

static void a_failing_call_leaves_the_old_content_or_the_new(void **state)
{
	bool struck = true;

	(void)state;
	for (uint64_t in = 1; struck; in++) {
		struct error error = {.message = ""};

		assert_int_equal(file_replace(path, span_of_string("old"), &error), 0);
		failing_calls_set(NULL, EIO, in);
		int status = file_replace(path, span_of_string("new"), &error);

		failing_calls_stop();
		struck = failing_calls.struck != NULL;
		assert_int_equal(status, struck ? -EIO : 0);
		if (struck)
			assert_non_null(strstr(error.message, directory));
		/* The directory is synced last: then the file has its name. */
		bool named = in > 4;
		check_content(named ? "new" : "old");
		assert_true(struck == (in < 7));
	}
}

static void names_that_cannot_be_are_refused(void **state)
{
	struct error error;
	char *name = memory_alloc(6000);

	(void)state;
	memset(name, 'n', 6000);
	name[5999] = '\0';
	assert_int_equal(file_replace(name, span_of_string("a"), &error), -ENAMETOOLONG);
	name[5000] = '/';
	assert_int_equal(file_sync_parent(name, &error), -ENAMETOOLONG);
	memory_free(name);
	assert_int_equal(file_sync_directory("/proc/nowhere", &error), -ENOENT);
	assert_int_equal(file_sync_parent("here", &error), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_there_for_its_owner_alone),
		cmocka_unit_test(a_failing_call_leaves_the_old_content_or_the_new),
		cmocka_unit_test(names_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
