/* What libraft's errors are about, and what libuv ends with when the system has nothing left. */
#include "tests/unit/base/child.h"
#include "tests/unit/unit.h"

#include "base/error.h"
#include "raft/guard.h"
#include "raft/libraft.h"
#include "raft/libraft_error.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

static void damage_and_refusals_are_told_apart(void **state)
{
	static const struct {
		int status;
		const char *message;
		int code;
		const char *words;
	} cases[] = {
		{RAFT_CORRUPT, "header checksum mismatch", -EBADMSG, "header checksum mismatch"},
		{RAFT_MALFORMED, "", -EBADMSG, "malformed"},
		{RAFT_MALFORMED, "load open-1: ", -EBADMSG, "load open-1: encoded data"},
		{RAFT_IOERR, "LZ4F_decompress ERROR_contentChecksum_invalid", -EBADMSG, "Checksum"},
		{RAFT_BADROLE, "", -EBADMSG, "server role is not valid"},
		{RAFT_IOERR, "read preamble: short read: 3 bytes instead of 8", -EBADMSG, "short"},
		{RAFT_IOERR, "load 1-2: file has only 4 bytes", -EBADMSG, "only 4 bytes"},
		{RAFT_IOERR, "read file: open: too many open files", -EIO, "too many open files"},
		{RAFT_IOERR, "", -EIO, "I/O error"},
		{RAFT_IOERR, "write failed: -28", -EIO, "No space left on device"},
		{RAFT_NOSPACE, "not enough space to allocate 8 bytes", -EIO, "not enough space"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct error error;

		assert_int_equal(libraft_error(&error, cases[i].status, cases[i].message),
				 cases[i].code);
		if (strstr(error.message, cases[i].words) == NULL)
			fail_msg("\"%s\" is not in \"%s\"", cases[i].words, error.message);
	}
}

static void make_loop_without_descriptors(void)
{
	uv_loop_t loop;
	int next = dup(STDERR_FILENO);
	const struct rlimit one_more = {.rlim_cur = (rlim_t)next + 1, .rlim_max = (rlim_t)next + 1};

	/* One is told to the caller; a pipe is not. */
	close(next);
	libraft_prepare();
	setrlimit(RLIMIT_NOFILE, &one_more);
	uv_loop_init(&loop);
}

static void libuv_ends_with_71_and_one_line(void **state)
{
	char text[8192];
	int status = child_run(make_loop_without_descriptors, text, sizeof text);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_OSERR);
	assert_non_null(strstr(text, "libuv lacks"));
	assert_non_null(strstr(text, "Too many open files"));
}

static void abort_here(void)
{
	libraft_prepare();
	abort();
}

static void others_abort_as_ever(void **state)
{
	char text[8192];
	int status = child_run(abort_here, text, sizeof text);

	(void)state;
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void allocate_all_through_libraft(void)
{
	libraft_prepare();
	raft_malloc(SIZE_MAX / 4);
}

static void libraft_without_memory_ends_with_70(void **state)
{
	char text[8192];
	int status = child_run(allocate_all_through_libraft, text, sizeof text);

	(void)state;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), EX_SOFTWARE);
	assert_non_null(strstr(text, "out of memory"));
}

/* The sanitizers' allocators end the process themselves unless told otherwise. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
	return "allocator_may_return_null=1";
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damage_and_refusals_are_told_apart),
		cmocka_unit_test(libuv_ends_with_71_and_one_line),
		cmocka_unit_test(others_abort_as_ever),
		cmocka_unit_test(libraft_without_memory_ends_with_70),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
