/* What libraft would keep to itself about the files of its log ends the process. */
#include "tests/unit/base/child.h"
#include "tests/unit/unit.h"

#include "raft/log_files.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#define TOLD 7 /* exit code: the caller was told, and went on */

static void rename_into_nowhere(void)
{
	uv_fs_t request;

	if (uv_fs_rename(NULL, &request, "/dev/null", "/dev/null/closed", NULL) < 0)
		_exit(TOLD);
}

static void rename_what_is_not_there(void)
{
	uv_fs_t request;

	if (uv_fs_rename(NULL, &request, "/no-such-segment", "/closed", NULL) < 0)
		_exit(TOLD);
}

static void make_where_nothing_can_be_made(void)
{
	uv_fs_t request;

	if (uv_fs_open(NULL, &request, "/dev/null/open-1", O_WRONLY | O_CREAT, 0600, NULL) < 0)
		_exit(TOLD);
}

static void open_what_cannot_be_opened(void)
{
	uv_fs_t request;

	if (uv_fs_open(NULL, &request, "/dev/null/open-1", O_RDWR, 0, NULL) < 0)
		_exit(TOLD);
}

static void make_a_temporary_file_where_none_can_be_made(void)
{
	uv_fs_t request;

	if (uv_fs_open(NULL, &request, "/dev/null/tmp-1", O_WRONLY | O_CREAT, 0600, NULL) < 0)
		_exit(TOLD);
}

static void write_where_there_is_no_room(void)
{
	uv_fs_t request;
	char entries[] = "entries";
	uv_buf_t part = uv_buf_init(entries, sizeof entries);

	if (uv_fs_write(NULL, &request, open("/dev/full", O_WRONLY | O_CLOEXEC), &part, 1, 0,
			NULL) < 0)
		_exit(TOLD);
}

static void cut_what_cannot_be_cut(void)
{
	uv_fs_t request;

	if (uv_fs_ftruncate(NULL, &request, open("/dev/null", O_RDWR | O_CLOEXEC), 8, NULL) < 0)
		_exit(TOLD);
}

static void sync_what_cannot_be_synced(void)
{
	uv_fs_t request;

	if (uv_fs_fsync(NULL, &request, open("/dev/null", O_RDWR | O_CLOEXEC), NULL) < 0)
		_exit(TOLD);
}

static void remove_what_cannot_be_removed(void)
{
	uv_fs_t request;

	if (uv_fs_unlink(NULL, &request, "/dev/null/open-1", NULL) < 0)
		_exit(TOLD);
}

static void list_what_is_no_folder(void)
{
	uv_fs_t request;

	if (uv_fs_scandir(NULL, &request, "/dev/null", 0, NULL) < 0)
		_exit(TOLD);
}

static void ask_about_what_cannot_be_there(void)
{
	uv_fs_t request;

	if (uv_fs_stat(NULL, &request, "/dev/null/snapshot", NULL) < 0)
		_exit(TOLD);
}

static const struct {
	void (*run)(void);
	const char *words; /* NULL: its caller is told, wherever */
	bool everywhere;   /* the process ends on the thread of the loop, too */
} cases[] = {
	{rename_into_nowhere, "rename /dev/null: not a directory", false},
	{open_what_cannot_be_opened, "open /dev/null/open-1: not a directory", false},
	{make_a_temporary_file_where_none_can_be_made, "open /dev/null/tmp-1: not a directory",
	 false},
	{write_where_there_is_no_room, "write /dev/full: no space left on device", false},
	{cut_what_cannot_be_cut, "truncate /dev/null: invalid argument", false},
	{sync_what_cannot_be_synced, "sync /dev/null: invalid argument", false},
	{remove_what_cannot_be_removed, "remove /dev/null/open-1: not a directory", false},
	{list_what_is_no_folder, "list /dev/null: not a directory", true},
	{ask_about_what_cannot_be_there, "stat /dev/null/snapshot: not a directory", true},
	{rename_what_is_not_there, NULL, false},
	{make_where_nothing_can_be_made, NULL, false},
};

static size_t current;

static void *run_current(void *unused)
{
	cases[current].run();
	return unused;
}

static void run_on_the_pool(void)
{
	pthread_t thread;

	log_files_watch();
	if (pthread_create(&thread, NULL, run_current, NULL) == 0)
		pthread_join(thread, NULL);
}

static void run_on_the_loop(void)
{
	log_files_watch();
	run_current(NULL);
}

static void expect(void (*run)(void), const char *words)
{
	char text[8192];
	int status = child_run(run, text, sizeof text);

	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) != (words == NULL ? TOLD : EX_OSERR))
		fail_msg("case %zu: exit code %d: %s", current, WEXITSTATUS(status), text);
	if (words != NULL && strstr(text, words) == NULL)
		fail_msg("case %zu: \"%s\" is not in: %s", current, words, text);
}

static void a_failure_on_the_pool_ends_the_process(void **state)
{
	(void)state;
	for (current = 0; current < COUNT_OF(cases); current++)
		expect(run_on_the_pool, cases[current].words);
}

static void on_the_loop_it_is_told_unless_libraft_cannot_stand_it(void **state)
{
	(void)state;
	for (current = 0; current < COUNT_OF(cases); current++)
		expect(run_on_the_loop, cases[current].everywhere ? cases[current].words : NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_on_the_pool_ends_the_process),
		cmocka_unit_test(on_the_loop_it_is_told_unless_libraft_cannot_stand_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
