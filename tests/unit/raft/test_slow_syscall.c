/* io_destroy is done on another thread, every other system call where it is called. */
#include "tests/unit/unit.h"

#include "raft/slow_syscall.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool exists(aio_context_t context)
{
	return syscall(SYS_io_getevents, context, 0L, 0L, NULL, NULL) == 0;
}

static void a_context_is_gone_soon_after(void **state)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	aio_context_t context = 0;

	(void)state;
	slow_syscall_apart();
	assert_int_equal(syscall(SYS_io_setup, 4L, &context), 0);
	assert_true(exists(context));
	assert_int_equal(syscall(SYS_io_destroy, context), 0);
	for (int tries = 0; exists(context); tries++) {
		assert_true(tries < 10000);
		nanosleep(&pause, NULL);
	}
}

static void other_calls_answer_as_ever(void **state)
{
	(void)state;
	assert_int_equal(syscall(SYS_getpid), getpid());
	errno = 0;
	assert_int_equal(syscall(SYS_close, -1), -1);
	assert_int_equal(errno, EBADF);
}

/* Any other error of it would be an append that never ends. */
static void a_write_that_is_refused_is_to_be_tried_again(void **state)
{
	struct iocb request = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = (uint32_t)-1};
	struct iocb *requests[] = {&request};
	aio_context_t context = 0;

	(void)state;
	assert_int_equal(syscall(SYS_io_setup, 4L, &context), 0);
	errno = 0;
	assert_int_equal(syscall(SYS_io_submit, context, 1L, requests), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(syscall(SYS_io_destroy, context), 0);
}

/* By this libraft knows a file system that cannot write so. */
static void what_is_not_supported_is_said(void **state)
{
	struct iocb request = {.aio_lio_opcode = UINT16_MAX, .aio_fildes = STDERR_FILENO};
	struct iocb *requests[] = {&request};
	aio_context_t context = 0;

	(void)state;
	assert_int_equal(syscall(SYS_io_setup, 4L, &context), 0);
	assert_int_equal(syscall(SYS_io_submit, context, 1L, requests), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(syscall(SYS_io_destroy, context), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_context_is_gone_soon_after),
		cmocka_unit_test(other_calls_answer_as_ever),
		cmocka_unit_test(a_write_that_is_refused_is_to_be_tried_again),
		cmocka_unit_test(what_is_not_supported_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
