/*
 * How the store does as it grows: one store is filled, and before each of the sizes that are asked for
 * the last appends are measured. One line of JSON for each size.
 *
 *   scale_store [--sizes N,N,...] [--streams N] [--order window|uniform] [--ids v7|v4] [--measured N]
 *               [--dir DIR]
 *
 * Behind each size the same is measured with a new store up to the first size, the reference: what the machine
 * does besides changes from one hour to the next.
 *
 * Events of 256 bytes of data with two tags come in commands of up to 64 KiB, as from the log. A measured
 * part begins and ends with everything in the tables. Processor time is that of the apply thread inside
 * store_apply, and of all other threads, which is the flush; making the events is not in it.
 */
#include "base/clock.h"
#include "base/histogram.h"
#include "base/memory.h"
#include "storage/flusher.h"
#include "storage/kv.h"
#include "storage/store.h"
#include "tests/bench/store_load.h"

#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SIZES_MAX       16u
#define FLUSH_WAIT_MS   600000u
#define DATA_BYTES      256u
#define MEASURED_EVENTS 1000000u
#define SEED            1u

/* Totals since the start of the process. */
struct usage {
	int64_t at_ns, apply_cpu_ns, main_cpu_ns, all_cpu_ns;
	uint64_t written, read, faults;
	uint64_t private_bytes, mapped_bytes; /* now */
};

struct scale {
	struct store_load load;
	uint64_t sizes[SIZES_MAX];
	uint32_t size_count;
	uint64_t measured;
	const char *directory;
	char path[400];
	struct store *store;
	struct flusher *flusher;
	uint64_t index;
	int64_t apply_cpu_ns, waited_ns;
	struct histogram applies; /* ns of a command, without waiting for room */
	uint64_t flush_ns;        /* so far; of the flush thread, but while all is flushed */
	struct histogram flushes; /* the same */
};

static void die(const char *what, const struct error *error)
{
	fprintf(stderr, "scale_store: %s: %s\n", what, error->message);
	exit(1);
}

/* On the flush thread: how long the flush took that has ended. */
static void flushed(void *arg)
{
	struct scale *scale = arg;
	struct store_status status;

	store_get_status(scale->store, &status);
	if (status.flush_ns == scale->flush_ns) /* there was nothing to do */
		return;
	histogram_add(&scale->flushes, status.flush_ns - scale->flush_ns);
	scale->flush_ns = status.flush_ns;
}

static void flush_failed(void *arg, const struct error *error)
{
	(void)arg;
	die("flush", error);
}

/* ---- what it costs ---- */

static int64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The number behind `name` in a file of lines "name: number". */
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

static void read_usage(const struct scale *scale, struct usage *usage)
{
	struct rusage resources;

	getrusage(RUSAGE_SELF, &resources);
	*usage = (struct usage){.at_ns = clock_monotonic_ns(),
				.apply_cpu_ns = scale->apply_cpu_ns,
				.main_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID),
				.all_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
				.written = number_in("/proc/self/io", "wchar:"),
				.read = number_in("/proc/self/io", "read_bytes:"),
				.faults = (uint64_t)resources.ru_majflt,
				.private_bytes = number_in("/proc/self/status", "RssAnon:") * KIB,
				.mapped_bytes = number_in("/proc/self/status", "RssFile:") * KIB};
}

/* ---- appends ---- */

static void wait_for_room(struct scale *scale)
{
	int64_t before = clock_monotonic_ns();

	if (!store_is_full(scale->store))
		return;
	while (store_is_full(scale->store))
		usleep(1000);
	scale->waited_ns += clock_monotonic_ns() - before;
}

static void send(struct scale *scale, const struct buffer *items, uint32_t count)
{
	size_t size = COMMAND_HEADER_BYTES + items->size;
	uint8_t *body = memory_alloc(size);
	struct apply_result result;
	struct error error;

	command_header_write(body, COMMAND_BATCH, count, clock_realtime_ns());
	memcpy(body + COMMAND_HEADER_BYTES, items->data, items->size);
	wait_for_room(scale);
	int64_t at = clock_monotonic_ns(), cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	if (store_apply(scale->store, ++scale->index, body, size, NULL, &result, &error) != 0)
		die("apply", &error);
	scale->apply_cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
	histogram_add(&scale->applies, (uint64_t)(clock_monotonic_ns() - at));
	flusher_notice(scale->flusher);
}

static void append_up_to(struct scale *scale, uint64_t from, uint64_t to)
{
	struct buffer items;
	uint32_t count = 0;

	buffer_init(&items);
	for (uint64_t number = from; number < to; number++) {
		load_add_append(&scale->load, &items, number);
		count++;
		if (items.size < LOAD_COMMAND_BYTES - 1024 && number + 1 < to)
			continue;
		send(scale, &items, count);
		buffer_clear(&items);
		count = 0;
	}
	buffer_close(&items);
	if (flusher_wait(scale->flusher, scale->index, FLUSH_WAIT_MS) != 0) {
		fprintf(stderr, "scale_store: no flush within %u s\n", FLUSH_WAIT_MS / 1000);
		exit(1);
	}
}

/* ---- results ---- */

/* Processor time of an append: of apply, and of all other threads but for the one that makes events. */
static double apply_cost(const struct usage *before, const struct usage *after, uint64_t events)
{
	return (double)(after->apply_cpu_ns - before->apply_cpu_ns) / (double)events;
}

static double flush_cost(const struct usage *before, const struct usage *after, uint64_t events)
{
	return (double)((after->all_cpu_ns - before->all_cpu_ns) -
			(after->main_cpu_ns - before->main_cpu_ns)) /
	       (double)events;
}

static void print_size(struct scale *scale, uint64_t size, uint64_t events, double reference_ns,
		       const struct usage *before, const struct usage *after)
{
	double count = (double)events, seconds = (double)(after->at_ns - before->at_ns) / 1e9;
	struct store_status status;
	struct stat file;
	char path[512];

	store_get_status(scale->store, &status);
	snprintf(path, sizeof path, "%s/data.mdb", scale->path);
	double stored = stat(path, &file) == 0 ? (double)file.st_blocks * 512 : 0;
	printf("{\"events\": %llu, \"streams\": %llu, \"streams_written\": %llu, \"order\": "
	       "\"%s\", "
	       "\"ids\": \"%s\", \"measured\": %llu, \"events_per_second\": %.0f, "
	       "\"apply_cpu_ns\": %.0f, \"flush_cpu_ns\": %.0f, \"reference_cpu_ns\": %.0f, "
	       "\"apply_p99_us\": %.0f, "
	       "\"apply_max_us\": %.0f, \"waited_percent\": %.1f, \"flush_p50_ms\": %.0f, "
	       "\"flush_max_ms\": %.0f, "
	       "\"written_per_event\": %.0f, \"read_per_event\": %.0f, \"major_faults\": %llu, "
	       "\"private_bytes\": %llu, \"mapped_bytes\": %llu, \"stored_per_event\": %.0f}\n",
	       (unsigned long long)size, (unsigned long long)scale->load.streams,
	       (unsigned long long)status.stream_count,
	       scale->load.order == LOAD_UNIFORM ? "uniform" : "window",
	       scale->load.version_4 ? "v4" : "v7", (unsigned long long)events, count / seconds,
	       apply_cost(before, after, events), flush_cost(before, after, events), reference_ns,
	       (double)histogram_quantile(&scale->applies, 0.99) / 1e3,
	       (double)scale->applies.max / 1e3, (double)scale->waited_ns / seconds / 1e7,
	       (double)histogram_quantile(&scale->flushes, 0.5) / 1e6,
	       (double)scale->flushes.max / 1e6, (double)(after->written - before->written) / count,
	       (double)(after->read - before->read) / count,
	       (unsigned long long)(after->faults - before->faults),
	       (unsigned long long)after->private_bytes, (unsigned long long)after->mapped_bytes,
	       stored / (double)size);
	fflush(stdout);
}

static void open_store(struct scale *scale)
{
	struct kv_lmdb_options lmdb = {.path = scale->path, .create = true};
	struct store_options options = {.tail_bytes_max = LIMIT_TAIL_BYTES};
	struct error error;

	snprintf(scale->path, sizeof scale->path, "%s/scale_store-XXXXXX", scale->directory);
	if (mkdtemp(scale->path) == NULL) {
		perror(scale->path);
		exit(1);
	}
	if (kv_lmdb_open(&options.kv, &lmdb, &error) != 0 ||
	    store_open(&scale->store, &options, &error) != 0)
		die("open", &error);
	struct flusher_options flusher = {.store = scale->store,
					  .tail_bytes = LIMIT_TAIL_BYTES / 2,
					  .age_ms = LIMIT_FLUSH_AGE_MS,
					  .flushed = flushed,
					  .failed = flush_failed,
					  .arg = scale};
	scale->flusher = flusher_new(&flusher);
}

static void close_store(struct scale *scale)
{
	static const char *const names[] = {"data.mdb", "lock.mdb"};
	char file[512];

	flusher_free(scale->flusher);
	store_close(scale->store);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		snprintf(file, sizeof file, "%s/%s", scale->path, names[i]);
		unlink(file);
	}
	rmdir(scale->path);
}

/* ---- sizes ---- */

/* Fill the store up to the size and measure the end of it; how many events that is. */
static uint64_t grow(struct scale *scale, uint64_t at, uint64_t size, struct usage *before,
		     struct usage *after)
{
	uint64_t begin = size - at > scale->measured ? size - scale->measured : at;

	append_up_to(scale, at, begin);
	scale->applies = (struct histogram){0};
	scale->flushes = (struct histogram){0};
	scale->waited_ns = 0;
	read_usage(scale, before);
	append_up_to(scale, begin, size);
	read_usage(scale, after);
	return size - begin;
}

static double measure_reference(const struct scale *scale)
{
	struct scale *small = memory_zeroed(1, sizeof *small);
	struct usage before, after;

	small->load = scale->load;
	small->load.seed = SEED;
	small->measured = scale->measured;
	small->directory = scale->directory;
	open_store(small);
	uint64_t events = grow(small, 0, scale->sizes[0], &before, &after);
	double cost = apply_cost(&before, &after, events) + flush_cost(&before, &after, events);
	close_store(small);
	memory_free(small);
	return cost;
}

static void run(struct scale *scale)
{
	for (uint32_t i = 0; i < scale->size_count; i++) {
		struct usage before, after;
		uint64_t events = grow(scale, i > 0 ? scale->sizes[i - 1] : 0, scale->sizes[i],
				       &before, &after);
		print_size(scale, scale->sizes[i], events, measure_reference(scale), &before,
			   &after);
	}
}

/* ---- arguments ---- */

static uint64_t number(const char *text, char **end)
{
	unsigned long long value = strtoull(text, end, 10);

	if (*end == text || value == 0) {
		fprintf(stderr, "scale_store: %s is no number above 0\n", text);
		exit(2);
	}
	return value;
}

static uint64_t whole_number(const char *text)
{
	char *end;
	uint64_t value = number(text, &end);

	if (*end != '\0') {
		fprintf(stderr, "scale_store: %s is no number\n", text);
		exit(2);
	}
	return value;
}

static void parse_sizes(struct scale *scale, const char *text)
{
	scale->size_count = 0;
	for (char *end; scale->size_count < SIZES_MAX; text = end + 1) {
		uint64_t size = number(text, &end);

		if (scale->size_count > 0 && size <= scale->sizes[scale->size_count - 1])
			break;
		scale->sizes[scale->size_count++] = size;
		if (*end == '\0')
			return;
		if (*end != ',')
			break;
	}
	fprintf(stderr, "scale_store: --sizes: up to %u ascending numbers with commas\n",
		SIZES_MAX);
	exit(2);
}

/* Which of the two words it is. */
static bool is_second(const char *option, const char *text, const char *first, const char *second)
{
	if (strcmp(text, first) != 0 && strcmp(text, second) != 0) {
		fprintf(stderr, "scale_store: %s: %s or %s, not %s\n", option, first, second, text);
		exit(2);
	}
	return strcmp(text, second) == 0;
}

static void parse(struct scale *scale, int argc, char **argv)
{
	static const struct option flags[] = {{"sizes", required_argument, NULL, 'n'},
					      {"streams", required_argument, NULL, 's'},
					      {"order", required_argument, NULL, 'o'},
					      {"ids", required_argument, NULL, 'i'},
					      {"measured", required_argument, NULL, 'm'},
					      {"dir", required_argument, NULL, 'd'},
					      {NULL, 0, NULL, 0}};
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (flag == 'n')
			parse_sizes(scale, optarg);
		else if (flag == 's')
			scale->load.streams = whole_number(optarg);
		else if (flag == 'o')
			scale->load.order = is_second("--order", optarg, "window", "uniform")
						    ? LOAD_UNIFORM
						    : LOAD_WINDOWED;
		else if (flag == 'i')
			scale->load.version_4 = is_second("--ids", optarg, "v7", "v4");
		else if (flag == 'm')
			scale->measured = whole_number(optarg);
		else if (flag == 'd')
			scale->directory = optarg;
		else
			exit(2);
	}
}

int main(int argc, char **argv)
{
	struct scale *scale = memory_zeroed(1, sizeof *scale);

	*scale = (struct scale){.load = {.bytes = DATA_BYTES,
					 .streams = 10000,
					 .tags = 2,
					 .order = LOAD_WINDOWED,
					 .seed = SEED},
				.sizes = {MEASURED_EVENTS},
				.size_count = 1,
				.measured = MEASURED_EVENTS,
				.directory = "/tmp"};
	parse(scale, argc, argv);
	open_store(scale);
	run(scale);
	close_store(scale);
	memory_free(scale);
	return 0;
}
