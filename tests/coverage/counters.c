/*
 * In the build that counts branches: a process that ends without exit() writes its counters, too.
 * That is a child of a unit test, and a node that ends at once because it cannot go on. One that is
 * killed does not.
 */
#include <gcov.h>
#include <sys/syscall.h>
#include <unistd.h>

void _exit(int status)
{
	__gcov_dump();
	for (;;)
		syscall(SYS_exit_group, status);
}
