/* Which call fails, and what is told of it. See fail.h. */
#include "tests/fail/fail.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAMES_MAX 48
#define PATH_BYTES 512

static const char *const names[] = {
#define X(name, text) text,
	FAIL_KINDS(X)
#undef X
};

static int chosen = -1; /* of enum fail_kind */
static bool counting;   /* all kinds */
static uint64_t first, last;
static int error;
static struct fail_report *report;
static _Atomic uint64_t calls[FAIL_KIND_COUNT];
/* What this file does itself is neither counted nor struck. */
static _Thread_local int inside __attribute__((tls_model("initial-exec")));

void *fail_next(const char *name)
{
	inside++;
	void *found = dlsym(RTLD_NEXT, name);

	inside--;
	return found;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void map_report(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, sizeof *report) != 0)
		return;
	void *mapped = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	if (mapped != MAP_FAILED)
		report = mapped;
}

__attribute__((constructor)) static void begin(void)
{
	const char *kind = getenv("FAIL_KIND"), *path = getenv("FAIL_REPORT");
	void *frames[FRAMES_MAX];

	inside++;
	if (kind != NULL && path != NULL) {
		map_report(path);
		(void)backtrace(frames, FRAMES_MAX); /* loads what it needs now */
		first = number("FAIL_NTH", 0);
		last = number("FAIL_LAST", first);
		error = (int)number("FAIL_ERRNO", EIO);
		counting = report != NULL && strcmp(kind, "count") == 0;
		for (int i = 0; report != NULL && i < FAIL_KIND_COUNT; i++)
			if (strcmp(kind, names[i]) == 0)
				chosen = i;
	}
	inside--;
}

static void path_of(int fd, char path[PATH_BYTES])
{
	char link[64];

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, path, PATH_BYTES - 1);

	path[size > 0 ? size : 0] = '\0';
}

static void describe(const char *name, const char *path)
{
	void *frames[FRAMES_MAX];
	int count = backtrace(frames, FRAMES_MAX);
	size_t size = (size_t)snprintf(report->text, sizeof report->text, "%s\t%s\n", name, path);

	for (int i = 0; i < count && size < sizeof report->text; i++) {
		Dl_info info;

		if (dladdr(frames[i], &info) == 0 || info.dli_fname == NULL)
			continue;
		/* A return address is behind its call. */
		uintptr_t offset = (uintptr_t)frames[i] - (uintptr_t)info.dli_fbase - 1;

		size += (size_t)snprintf(report->text + size, sizeof report->text - size,
					 "%s+%lx\n", info.dli_fname, (unsigned long)offset);
	}
}

bool fail_call(enum fail_kind kind, const char *name, const char *path, int fd)
{
	char of_fd[PATH_BYTES];

	if (((int)kind != chosen && !counting) || inside > 0)
		return false;
	uint64_t call = ++calls[kind];

	report->calls[kind] = call;
	if (counting || call < first || call > last)
		return false;
	inside++;
	if (report->struck++ == 0) {
		if (path == NULL && fd >= 0)
			path_of(fd, of_fd);
		describe(name, path != NULL ? path : fd >= 0 ? of_fd : "");
	}
	inside--;
	errno = error;
	return true;
}

bool fail_transfer(enum fail_kind of_file, enum fail_kind of_socket, const char *name, int fd)
{
	char path[PATH_BYTES];
	int saved = errno;

	if (inside > 0 || fd == STDERR_FILENO ||
	    ((int)of_file != chosen && (int)of_socket != chosen && !counting))
		return false;
	inside++;
	path_of(fd, path);
	inside--;
	errno = saved;
	if (strncmp(path, "socket:", 7) == 0)
		return fail_call(of_socket, name, path, fd);
	/* Pipes and eventfds wake a loop up: they are there, and have room, or the process is broken. */
	return path[0] == '/' && fail_call(of_file, name, path, fd);
}
