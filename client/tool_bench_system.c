/* What /proc says of the nodes' processes and of the machine. */
#include "client/tool_bench.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

/* The number behind `name` in a file of lines "name: number"; 0 when it is not there. */
static uint64_t number_in(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[256];
	uint64_t value = 0;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoull(line + strlen(name), NULL, 10);
	if (file != NULL)
		fclose(file);
	return value;
}

/* Ticks of a process: utime and stime, behind its name in brackets. */
static uint64_t processor_time(uint64_t pid)
{
	char path[64], line[1024], *at = NULL;
	uint64_t ticks = 0;

	snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
	FILE *file = fopen(path, "r");
	if (file != NULL && fgets(line, sizeof line, file) != NULL)
		at = strrchr(line, ')');
	if (file != NULL)
		fclose(file);
	for (int field = 2; at != NULL && field < 16; field++) {
		at = strchr(at + 1, ' ');
		if (at != NULL && field >= 13)
			ticks += strtoull(at, NULL, 10);
	}
	return ticks;
}

static void read_node(const char *cluster_dir, uint32_t node, struct bench_usage *usage)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/node-%u/annald.pid", cluster_dir, node);
	uint64_t pid = number_in(path, "");

	if (pid == 0)
		return;
	snprintf(path, sizeof path, "/proc/%" PRIu64 "/status", pid);
	usage->memory[usage->nodes] = number_in(path, "VmRSS:") * 1024;
	usage->private_memory[usage->nodes] = number_in(path, "RssAnon:") * 1024;
	usage->cpu_nodes += processor_time(pid);
	snprintf(path, sizeof path, "/proc/%" PRIu64 "/io", pid);
	usage->written[usage->nodes++] = number_in(path, "write_bytes:");
}

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal. */
static void read_processors(struct bench_usage *usage)
{
	FILE *file = fopen("/proc/stat", "r");
	char line[512], *at = line + 3;

	if (file != NULL && fgets(line, sizeof line, file) != NULL) {
		for (int column = 0; column < 8; column++) {
			uint64_t ticks = strtoull(at, &at, 10);

			usage->cpu_all += ticks;
			usage->cpu_idle += column == 3 || column == 4 ? ticks : 0;
			usage->cpu_steal += column == 7 ? ticks : 0;
		}
	}
	if (file != NULL)
		fclose(file);
}

void bench_usage_read(const char *cluster_dir, struct bench_usage *usage)
{
	*usage = (struct bench_usage){0};
	read_processors(usage);
	for (uint32_t node = 1; cluster_dir != NULL && node <= BENCH_NODES_MAX; node++)
		read_node(cluster_dir, node, usage);
}
