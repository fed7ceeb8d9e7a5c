/* What may be in the folder of a raft log, by its name. */
#include "tests/unit/unit.h"

#include "raft/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_BYTES 65536

static char folder[] = "/tmp/annal-preflight-XXXXXX";

static void path_of(const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", folder, name);
}

static void make_file(const char *name)
{
	char path[128];

	path_of(name, path);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

static bool is_there(const char *name)
{
	struct stat stat_;
	char path[128];

	path_of(name, path);
	return stat(path, &stat_) == 0;
}

static void remove_file(const char *name)
{
	char path[128];

	path_of(name, path);
	unlink(path);
}

static int check(struct error *error)
{
	return raft_preflight(folder, SEGMENT_BYTES, error);
}

static void what_raft_uv_makes_is_let_through(void **state)
{
	static const char *const names[] = {
		"metadata1",
		"metadata2",
		"0000000000000001-0000000000000012",
		"snapshot-1-22-333",
		"snapshot-1-22-333.meta",
		"tmp-snapshot-1-2-3",
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		make_file(names[i]);
		assert_int_equal(check(&error), 0);
		assert_true(is_there(names[i]));
		remove_file(names[i]);
	}
}

static void anything_else_is_refused_by_name(void **state)
{
	static const char *const names[] = {
		"metadata",
		"metadata3",
		"metadata11",
		"open-",
		"open-1x",
		"open",
		"001-002",
		"snapshot-1-22",
		"snapshot-1-22-333.met",
		"snapshot-1--3",
		"0000000000000001-",
		"0000000000000001-00000000000000012",
		"notes.txt",
		"0000000000000001-0000000000000012x",
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(names); i++) {
		make_file(names[i]);
		if (check(&error) != -EBADMSG || strstr(error.message, names[i]) == NULL)
			fail_msg("%s is let through", names[i]);
		remove_file(names[i]);
	}
}

/* A process that ended while raft_uv tried the file system out: it would not start any more. */
static void a_probe_that_was_left_is_removed(void **state)
{
	struct error error;

	(void)state;
	make_file(".probe");
	assert_int_equal(check(&error), 0);
	assert_false(is_there(".probe"));
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_raft_uv_makes_is_let_through),
		cmocka_unit_test(anything_else_is_refused_by_name),
		cmocka_unit_test(a_probe_that_was_left_is_removed),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
