/* The row that appends while a follower writes backups, one after the other. */
#include "client/tool_bench.h"

#include "base/backup_file.h"
#include "base/clock.h"
#include "base/memory.h"
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define BACKUP_TIMEOUT "timeout_ms=3600000"

/* What the other thread does; its results are read when it has ended. */
struct saving {
	const struct bench *bench;
	atomic_bool begun, over;
	uint64_t count;
	double seconds;
	uint64_t content_bytes, file_bytes, records; /* of all backups */
	bool failed;
};

/* Of what there is in the file, and that it is right. */
static bool look_at(struct saving *saving, const char *path)
{
	struct backup_report report;
	struct error error;

	if (backup_file_verify(path, NULL, NULL, &report, &error) != 0) {
		tool_complain("bench: %s", error.message);
		return false;
	}
	saving->content_bytes += report.content_bytes;
	saving->file_bytes += report.file_bytes;
	saving->records += report.records;
	return true;
}

static bool save_once(struct saving *saving, struct annal_client *client)
{
	char path[PATH_MAX];
	struct annal_backup backup;

	if ((size_t)snprintf(path, sizeof path, "%s/bench-%s-%" PRIu64,
			     saving->bench->options->backup_dir, saving->bench->tag,
			     saving->count) >= sizeof path)
		return false;
	int64_t begin = clock_monotonic_ns();

	if (annal_backup(client, path, 0, &backup) != ANNAL_OK) {
		tool_failed(client, "bench");
		return false;
	}
	saving->seconds += (double)(clock_monotonic_ns() - begin) / 1e9;
	saving->count++;
	/* Looking at it takes time of the processors: after the appends, and at the last one. */
	bool good = !atomic_load(&saving->over) || look_at(saving, path);

	unlink(path);
	return good;
}

static void *save(void *arg)
{
	struct saving *saving = arg;
	struct annal_client *client =
		bench_client(saving->bench, "read_from=follower&" BACKUP_TIMEOUT);
	struct annal_server server;

	/* The greeting tells who leads, so that another node does it. */
	saving->failed = client == NULL || annal_hello(client, &server) != ANNAL_OK;
	atomic_store(&saving->begun, true);
	do
		saving->failed = saving->failed || !save_once(saving, client);
	while (!saving->failed && (!atomic_load(&saving->over) || saving->records == 0));
	annal_client_free(client);
	return NULL;
}

static bool append_meanwhile(struct bench *bench, struct saving *saving, struct bench_row *row)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, save, saving) != 0)
		return false;
	while (!atomic_load(&saving->begun))
		usleep(1000);
	bool good = bench_append_more(bench, bench->parameter, NULL, row);

	atomic_store(&saving->over, true);
	pthread_join(thread, NULL);
	return good && !saving->failed;
}

/* Appends alone before and afterwards: what is compared with saw the same machine. */
bool bench_backup(struct bench *bench, struct bench_row *row)
{
	struct saving saving = {.bench = bench};
	struct bench_row *alone = memory_zeroed(1, sizeof *alone);
	bool good = bench_append_more(bench, bench->parameter, NULL, alone) &&
		    append_meanwhile(bench, &saving, row) &&
		    bench_append_more(bench, bench->parameter, NULL, alone);

	if (good) {
		double each = saving.seconds / (double)saving.count;

		row->base = (double)alone->events / alone->seconds;
		snprintf(row->note, sizeof row->note,
			 "%" PRIu64 " backups, %.1f s and %" PRIu64
			 " records each: %.0f MB/s of records, %.0f MB/s of file; %.0f appends a "
			 "second without",
			 saving.count, each, saving.records,
			 (double)saving.content_bytes / 1e6 / each,
			 (double)saving.file_bytes / 1e6 / each, row->base);
	}
	memory_free(alone);
	return good;
}
