#include "raft/log_files.h"

#include "base/assert.h"
#include "base/log.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>
#include <uv.h>

#define PATH_BYTES 4096

static atomic_bool watched;
static pthread_t loop_thread;

void log_files_watch(void)
{
	loop_thread = pthread_self();
	atomic_store(&watched, true);
}

/* libuv's function of that name. */
#define NEXT(name)                                                                                 \
	union {                                                                                    \
		void *object;                                                                      \
		__typeof__(&(name)) function;                                                      \
	} next = {.object = dlsym(RTLD_NEXT, #name)};                                              \
	ASSERT(next.object != NULL);

static _Noreturn void stop(const char *operation, const char *path, int status)
{
	log_error("raft", "stopped: the log on disk is not as libraft takes it to be",
		  "reason=\"%s %s: %s\"", operation, path, uv_strerror(status));
	_exit(EX_OSERR);
}

/* On a thread of the pool; what happens on the loop's own is told. */
static bool is_kept_secret(int status)
{
	return status < 0 && atomic_load(&watched) && !pthread_equal(pthread_self(), loop_thread);
}

static int check_path(const char *operation, const char *path, int status)
{
	if (is_kept_secret(status) && status != UV_ENOENT)
		stop(operation, path, status);
	return status;
}

static int check_file(const char *operation, uv_file file, int status)
{
	char link[64], path[PATH_BYTES];

	if (!is_kept_secret(status))
		return status;
	snprintf(link, sizeof link, "/proc/self/fd/%d", file);
	ssize_t size = readlink(link, path, sizeof path - 1);

	path[size > 0 ? size : 0] = '\0';
	stop(operation, path, status);
}

/* What a truncation leaves of a segment is made under such a name. Other files that are made are missed. */
static bool is_temporary(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strncmp(slash == NULL ? path : slash + 1, "tmp-", 4) == 0;
}

int uv_fs_open(uv_loop_t *loop, uv_fs_t *request, const char *path, int flags, int mode,
	       uv_fs_cb done)
{
	NEXT(uv_fs_open)
	int status = next.function(loop, request, path, flags, mode, done);

	return (flags & O_CREAT) != 0 && !is_temporary(path) ? status
							     : check_path("open", path, status);
}

/* Less than was asked for is as bad as nothing: what is left of the disk did not suffice. */
int uv_fs_write(uv_loop_t *loop, uv_fs_t *request, uv_file file, const uv_buf_t parts[],
		unsigned count, int64_t at, uv_fs_cb done)
{
	size_t size = 0;

	NEXT(uv_fs_write)
	for (unsigned i = 0; i < count; i++)
		size += parts[i].len;
	int status = next.function(loop, request, file, parts, count, at, done);

	if (done == NULL && status >= 0 && (size_t)status < size)
		check_file("write", file, UV_ENOSPC);
	else
		check_file("write", file, status);
	return status;
}

int uv_fs_ftruncate(uv_loop_t *loop, uv_fs_t *request, uv_file file, int64_t size, uv_fs_cb done)
{
	NEXT(uv_fs_ftruncate)
	return check_file("truncate", file, next.function(loop, request, file, size, done));
}

int uv_fs_fsync(uv_loop_t *loop, uv_fs_t *request, uv_file file, uv_fs_cb done)
{
	NEXT(uv_fs_fsync)
	return check_file("sync", file, next.function(loop, request, file, done));
}

int uv_fs_rename(uv_loop_t *loop, uv_fs_t *request, const char *path, const char *new_path,
		 uv_fs_cb done)
{
	NEXT(uv_fs_rename)
	return check_path("rename", path, next.function(loop, request, path, new_path, done));
}

int uv_fs_unlink(uv_loop_t *loop, uv_fs_t *request, const char *path, uv_fs_cb done)
{
	NEXT(uv_fs_unlink)
	return check_path("remove", path, next.function(loop, request, path, done));
}

int uv_fs_stat(uv_loop_t *loop, uv_fs_t *request, const char *path, uv_fs_cb done)
{
	NEXT(uv_fs_stat)
	int status = next.function(loop, request, path, done);

	/* While a log is loaded, too. */
	if (status < 0 && status != UV_ENOENT && atomic_load(&watched))
		stop("stat", path, status);
	return status;
}

int uv_fs_scandir(uv_loop_t *loop, uv_fs_t *request, const char *path, int flags, uv_fs_cb done)
{
	NEXT(uv_fs_scandir)
	int status = next.function(loop, request, path, flags, done);

	if (status < 0 && status != UV_ENOENT && atomic_load(&watched))
		stop("list", path, status);
	return status;
}
