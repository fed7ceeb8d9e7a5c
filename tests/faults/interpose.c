/* The control page, clocks, free space, connections. See interpose.h. */
#include "tests/faults/interpose.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define ROUTES_MAX 64

struct route {
	uint16_t from, to;
};

static _Atomic uint64_t *control;
static char folder[INTERPOSE_PATH_MAX];
static struct route routes[ROUTES_MAX];
static size_t route_count;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_routes(const char *text)
{
	while (text != NULL && *text != '\0' && route_count < ROUTES_MAX) {
		unsigned from, to;

		if (sscanf(text, "%u:%u", &from, &to) != 2)
			return;
		routes[route_count++] = (struct route){(uint16_t)from, (uint16_t)to};
		text = strchr(text, ',');
		if (text != NULL)
			text++;
	}
}

static void map_control(const char *path)
{
	int (*next_open)(const char *, int, ...) = NULL;
	void *found = interpose_next("open");

	memcpy(&next_open, &found, sizeof found);
	int fd = next_open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	void *mapped = mmap(NULL, SLOT_COUNT * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED,
			    fd, 0);

	close(fd);
	if (mapped != MAP_FAILED)
		control = mapped;
}

static void prepare(void)
{
	const char *path = getenv("FAULT_CONTROL"), *below = getenv("FAULT_FOLDER");

	if (below != NULL)
		snprintf(folder, sizeof folder, "%s/", below);
	read_routes(getenv("FAULT_ROUTES"));
	if (path != NULL)
		map_control(path);
	if (getenv("FAULT_JOURNAL") != NULL)
		journal_open(getenv("FAULT_JOURNAL"));
}

static void ready(void)
{
	pthread_once(&once, prepare);
}

static void note_exit(int code)
{
	if (control != NULL)
		control[SLOT_EXIT] = (uint64_t)code + 1;
}

static void on_end(int code, void *unused)
{
	(void)unused;
	note_exit(code);
}

__attribute__((constructor)) static void begin(void)
{
	ready();
	if (control == NULL)
		return;
	control[SLOT_EXIT] = 0;
	on_exit(on_end, NULL);
}

void _exit(int code)
{
	void (*next)(int);
	void *found = interpose_next("_exit");

	memcpy(&next, &found, sizeof next);
	note_exit(code);
	next(code);
	__builtin_unreachable();
}

void *interpose_next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

uint64_t interpose_get(enum slot slot)
{
	return control != NULL ? control[slot] : 0;
}

void interpose_count(enum slot slot)
{
	if (control != NULL)
		control[slot]++;
}

bool interpose_is_below(const char *path)
{
	return folder[0] != '\0' && strncmp(path, folder, strlen(folder)) == 0;
}

bool interpose_path(int fd, char path[INTERPOSE_PATH_MAX])
{
	char link[64];
	int saved = errno;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	ssize_t size = readlink(link, path, INTERPOSE_PATH_MAX - 1);

	errno = saved;
	if (size < 0)
		return false;
	path[size] = '\0';
	/* The folder itself is synced, too. */
	return interpose_is_below(path) ||
	       (strlen(path) + 1 == strlen(folder) && strncmp(path, folder, strlen(path)) == 0);
}

/* ---- clocks ---- */

static void show(struct timespec *time, int64_t shown_ns)
{
	time->tv_sec = shown_ns / 1000000000;
	time->tv_nsec = shown_ns % 1000000000;
}

static int64_t ns_of(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

static void drift(struct timespec *time)
{
	uint64_t sequence;
	int64_t rate, real, shown;

	do {
		sequence = interpose_get(SLOT_CLOCK_SEQUENCE);
		rate = (int64_t)interpose_get(SLOT_CLOCK_RATE_PPM);
		real = (int64_t)interpose_get(SLOT_CLOCK_REAL_NS);
		shown = (int64_t)interpose_get(SLOT_CLOCK_SHOWN_NS);
	} while (sequence % 2 != 0 || sequence != interpose_get(SLOT_CLOCK_SEQUENCE));
	if (shown == 0)
		return;
	int64_t passed = ns_of(time) - real;

	show(time, shown + passed + passed / 1000 * rate / 1000);
	interpose_count(SLOT_MONOTONIC_ASKED);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
	static int (*next)(clockid_t, struct timespec *);

	if (next == NULL) {
		void *found = interpose_next("clock_gettime");

		memcpy(&next, &found, sizeof found);
	}
	int status = next(clock, time);

	if (status != 0 || control == NULL)
		return status;
	if (clock == CLOCK_REALTIME && control[SLOT_REALTIME_NS] != 0) {
		show(time, ns_of(time) + (int64_t)control[SLOT_REALTIME_NS]);
		interpose_count(SLOT_REALTIME_ASKED);
	} else if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) {
		drift(time);
	}
	return 0;
}

/* ---- free space ---- */

int statvfs(const char *path, struct statvfs *answer)
{
	static int (*next)(const char *, struct statvfs *);

	ready();
	if (next == NULL) {
		void *found = interpose_next("statvfs");

		memcpy(&next, &found, sizeof found);
	}
	int status = next(path, answer);
	uint64_t order = interpose_get(SLOT_FREE_BYTES);

	if (status == 0 && order != 0 && answer->f_frsize != 0) {
		answer->f_bavail = (order - 1) / answer->f_frsize;
		answer->f_bfree = answer->f_bavail;
		interpose_count(SLOT_FREE_ASKED);
	}
	return status;
}

int statvfs64(const char *path, struct statvfs64 *answer)
{
	_Static_assert(sizeof(struct statvfs) == sizeof *answer, "two names for one thing");
	return statvfs(path, (struct statvfs *)answer);
}

/* ---- connections ---- */

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	static int (*next)(int, const struct sockaddr *, socklen_t);
	struct sockaddr_in changed;

	ready();
	if (next == NULL) {
		void *found = interpose_next("connect");

		memcpy(&next, &found, sizeof found);
	}
	if (address->sa_family != AF_INET || size < sizeof changed)
		return next(fd, address, size);
	memcpy(&changed, address, sizeof changed);
	for (size_t i = 0; i < route_count; i++) {
		if (ntohs(changed.sin_port) != routes[i].from)
			continue;
		changed.sin_port = htons(routes[i].to);
		interpose_count(SLOT_REROUTED);
		return next(fd, (const struct sockaddr *)&changed, sizeof changed);
	}
	return next(fd, address, size);
}
