/*
 * A server may be many processes (PostgreSQL has one for each connection): those are found as the
 * descendants of the one that was started. Time and bytes of children that have ended are part of
 * what /proc says of their parent.
 *
 * Bytes are taken from the disk: write_bytes of /proc/PID/io counts a whole folio for each page in it that
 * is dirtied, which with large folios is a hundred times too much. It still tells when nobody writes.
 */
#include "tests/bench/peers/meter.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define SECTOR_BYTES  512u
#define SETTLED_MS    1500
#define SETTLED_BYTES 65536u /* what an idle server may write meanwhile */

struct process {
	int id, parent;
	uint64_t ticks; /* its own, and those of children that have ended */
	bool member;
};

static int servers[METER_PROCESSES_MAX];
static uint32_t servers_count;
static struct process *processes;
static size_t processes_count, processes_capacity;
static int folder_descriptor = -1;
static char disk_path[64];

void meter_init(const int *list, uint32_t count)
{
	ASSERT(count <= METER_PROCESSES_MAX);
	memcpy(servers, list, count * sizeof list[0]);
	servers_count = count;
}

void meter_init_disk(const char *folder)
{
	struct stat status;

	folder_descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder_descriptor < 0 || fstat(folder_descriptor, &status) != 0)
		return;
	snprintf(disk_path, sizeof disk_path, "/sys/dev/block/%u:%u/stat", major(status.st_dev),
		 minor(status.st_dev));
}

/* The seventh number is that of sectors written. */
static uint64_t disk_written(void)
{
	uint64_t sectors = 0;
	FILE *file = disk_path[0] != '\0' ? fopen(disk_path, "r") : NULL;

	if (file == NULL)
		return 0;
	if (fscanf(file, "%*u %*u %*u %*u %*u %*u %" SCNu64, &sectors) != 1)
		sectors = 0;
	fclose(file);
	return sectors * SECTOR_BYTES;
}

static bool read_process(int id, struct process *process)
{
	char path[64], line[1024];
	uint64_t user, system, child_user, child_system;

	snprintf(path, sizeof path, "/proc/%d/stat", id);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return false;
	size_t size = fread(line, 1, sizeof line - 1, file);
	fclose(file);
	line[size] = '\0';
	const char *rest = strrchr(line, ')'); /* the name may hold anything */
	if (rest == NULL ||
	    sscanf(rest,
		   ") %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64
		   " %" SCNu64,
		   &process->parent, &user, &system, &child_user, &child_system) != 5)
		return false;
	process->id = id;
	process->ticks = user + system + child_user + child_system;
	process->member = false;
	return true;
}

static void read_processes(void)
{
	DIR *folder = opendir("/proc");

	processes_count = 0;
	for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		if (processes_count == processes_capacity) {
			processes_capacity = processes_capacity * 2 + 256;
			processes =
				memory_resize(processes, processes_capacity * sizeof processes[0]);
		}
		if (read_process(atoi(entry->d_name), &processes[processes_count]))
			processes_count++;
	}
	if (folder != NULL)
		closedir(folder);
}

static bool is_member(int id)
{
	for (size_t i = 0; i < processes_count; i++)
		if (processes[i].id == id)
			return processes[i].member;
	return false;
}

/* Mark the given processes and their descendants. */
static void mark_family(const int *roots, uint32_t count)
{
	bool more = true;

	for (size_t i = 0; i < processes_count; i++) {
		processes[i].member = false;
		for (uint32_t k = 0; k < count; k++)
			processes[i].member |= processes[i].id == roots[k];
	}
	while (more) {
		more = false;
		for (size_t i = 0; i < processes_count; i++) {
			if (processes[i].member || !is_member(processes[i].parent))
				continue;
			processes[i].member = more = true;
		}
	}
}

static double family_seconds(void)
{
	uint64_t ticks = 0;

	for (size_t i = 0; i < processes_count; i++)
		if (processes[i].member)
			ticks += processes[i].ticks;
	return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t bytes_dirtied(int id)
{
	char path[64], line[128];
	uint64_t bytes = 0;

	snprintf(path, sizeof path, "/proc/%d/io", id);
	FILE *file = fopen(path, "r");
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "write_bytes: %" SCNu64, &bytes) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return bytes;
}

static uint64_t family_dirtied(void)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < processes_count; i++)
		if (processes[i].member)
			bytes += bytes_dirtied(processes[i].id);
	return bytes;
}

static void read_machine(struct meter *meter)
{
	uint64_t user = 0, nice = 0, system = 0, irq = 0, soft_irq = 0, steal = 0;
	double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
	FILE *file = fopen("/proc/stat", "r");

	if (file != NULL && fscanf(file,
				   "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %" SCNu64
				   " %" SCNu64 " %" SCNu64,
				   &user, &nice, &system, &irq, &soft_irq, &steal) != 6)
		user = nice = system = irq = soft_irq = steal = 0;
	if (file != NULL)
		fclose(file);
	meter->busy_s = (double)(user + nice + system + irq + soft_irq) * tick;
	meter->steal_s = (double)steal * tick;
}

void meter_read(struct meter *meter)
{
	const int self = getpid();

	read_processes();
	mark_family(&self, 1);
	meter->client_s = family_seconds();
	mark_family(servers, servers_count);
	meter->servers_s = family_seconds();
	meter->dirtied = family_dirtied();
	meter->written = disk_written();
	read_machine(meter);
	meter->at_ns = clock_monotonic_ns();
}

static void wait_calm(double seconds)
{
	const struct timespec pause = {.tv_nsec = 100000000};
	int64_t end = clock_monotonic_ms() + (int64_t)(seconds * 1e3);
	int64_t calm_since = clock_monotonic_ms();
	uint64_t calm_at = 0;
	struct meter meter;

	while (clock_monotonic_ms() < end) {
		meter_read(&meter);
		if (meter.dirtied > calm_at + SETTLED_BYTES) {
			calm_at = meter.dirtied;
			calm_since = clock_monotonic_ms();
		} else if (clock_monotonic_ms() - calm_since >= SETTLED_MS) {
			return;
		}
		nanosleep(&pause, NULL);
	}
}

void meter_settle(double seconds)
{
	wait_calm(seconds);
	if (folder_descriptor >= 0)
		syncfs(folder_descriptor);
}
