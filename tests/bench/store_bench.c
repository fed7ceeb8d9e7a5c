/*
 * How quick the store is by itself: appends through store_apply with the flush thread beside it,
 * then reads. Prints a table, and one line of JSON for each run to --json FILE.
 *
 *   store_bench [--events N] [--bytes N] [--streams N] [--tags N] [--uniform] [--tail MIB]
 *               [--dir DIR] [--json FILE]
 *
 * Events come in commands of up to 64 KiB, as from the log, each event an append of its own, round
 * robin over the streams (--uniform: at random). The clock stops when all is durable in the tables.
 * Queries ask for one of the four types and, with --tags, for the tags, which every event has.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "storage/flusher.h"
#include "storage/kv.h"
#include "storage/store_inside.h"
#include "storage/verify.h"
#include "tests/bench/store_load.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct bench {
	struct store_load load;
	uint64_t events, tail_bytes;
	const char *directory;
	FILE *json;
	struct store *store;
	struct flusher *flusher;
	uint64_t stalls_ms;
	int64_t apply_ns;
};

struct figures {
	double append, durable, read_all, read_streams, read_query, stored_bytes;
	double condition_tables_ns, condition_tail_ns; /* after one of the last events there */
};

static void die(const char *what, const struct error *error)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, error->message);
	exit(1);
}

static void flush_failed(void *arg, const struct error *error)
{
	(void)arg;
	die("flush", error);
}

/* ---- appends ---- */

static void send(struct bench *bench, const struct buffer *items, uint32_t count, uint64_t index)
{
	uint8_t *body = memory_alloc(COMMAND_HEADER_BYTES + items->size);
	struct apply_result result;
	struct error error;

	command_header_write(body, COMMAND_BATCH, count, clock_realtime_ns());
	memcpy(body + COMMAND_HEADER_BYTES, items->data, items->size);
	while (store_is_full(bench->store)) {
		usleep(1000);
		bench->stalls_ms++;
	}
	int64_t before = clock_monotonic_ns();
	if (store_apply(bench->store, index, body, COMMAND_HEADER_BYTES + items->size, NULL,
			&result, &error) != 0)
		die("apply", &error);
	bench->apply_ns += clock_monotonic_ns() - before;
	flusher_notice(bench->flusher);
}

static void append_all(struct bench *bench, struct figures *figures)
{
	int64_t started = clock_monotonic_ns();
	struct buffer items;
	uint32_t count = 0;
	uint64_t index = 0;

	buffer_init(&items);
	for (uint64_t number = 0; number < bench->events; number++) {
		load_add_append(&bench->load, &items, number);
		count++;
		if (items.size < LOAD_COMMAND_BYTES - 1024 && number + 1 < bench->events)
			continue;
		send(bench, &items, count, ++index);
		buffer_clear(&items);
		count = 0;
	}
	buffer_close(&items);
	if (flusher_wait(bench->flusher, index, 600000) != 0)
		exit(1);
	double seconds = (double)(clock_monotonic_ns() - started) / 1e9;
	figures->durable = (double)bench->events / seconds;
	figures->append = (double)bench->events / ((double)bench->apply_ns / 1e9);
}

/* ---- reads ---- */

static double read_everything(struct bench *bench)
{
	struct read_range range = {.limit = 10000, .bytes_max = 4 * MIB};
	struct page page;
	struct error error;
	uint64_t events = 0;
	int64_t started = clock_monotonic_ns();

	buffer_init(&page.records);
	do {
		buffer_clear(&page.records);
		if (store_read_all(bench->store, &range, false, &page, &error) != 0)
			die("read_all", &error);
		events += page.count;
		range.from = page.next;
	} while (!page.end);
	buffer_close(&page.records);
	if (events != bench->events)
		exit(1);
	return (double)events / ((double)(clock_monotonic_ns() - started) / 1e9);
}

static double read_streams(struct bench *bench)
{
	struct read_range range = {.limit = 100, .bytes_max = 4 * MIB};
	struct stream_status status;
	struct page page;
	struct error error;
	uint64_t reads = bench->load.streams < 20000 ? bench->load.streams : 20000;
	int64_t started = clock_monotonic_ns();

	buffer_init(&page.records);
	for (uint64_t i = 0; i < reads; i++) {
		char stream[LOAD_STREAM_BYTES];

		load_stream_name(load_random(&bench->load) % bench->load.streams, stream);
		buffer_clear(&page.records);
		if (store_read_stream(bench->store, span_of_string(stream), &range, &page, &status,
				      &error) != 0)
			die("read_stream", &error);
	}
	buffer_close(&page.records);
	return (double)reads / ((double)(clock_monotonic_ns() - started) / 1e9);
}

/* ---- queries ---- */

static void make_query(struct bench *bench, struct query *query)
{
	query_init(query);
	query_add_item(query);
	query_add_name(query, QUERY_TYPES, span_of_string("order-paid"));
	for (uint64_t i = 0; i < bench->load.tags; i++)
		query_add_name(query, QUERY_TAGS, span_of_string(load_tags[i]));
}

static double read_query(struct bench *bench, const struct query *query)
{
	struct read_range range = {.limit = 10000, .bytes_max = 4 * MIB};
	struct page page;
	struct error error;
	uint64_t events = 0;
	int64_t started = clock_monotonic_ns();

	buffer_init(&page.records);
	do {
		buffer_clear(&page.records);
		if (store_read_query(bench->store, query, &range, &page, &error) != 0)
			die("read_query", &error);
		events += page.count;
		range.from = page.next;
	} while (!page.end);
	buffer_close(&page.records);
	return (double)events / ((double)(clock_monotonic_ns() - started) / 1e9);
}

/* Nanoseconds to decide one, as apply does for one append after the other. */
static double find_matches(struct bench *bench, const struct query *query, uint64_t after)
{
	struct store *store = bench->store;
	uint64_t found, rounds = 100000;
	struct match_budget budget = {.looks = LIMIT_CONDITION_SCAN,
				      .depth = LIMIT_CONDITION_SEEKS};
	struct error error;
	int64_t started = clock_monotonic_ns();

	pthread_mutex_lock(&store->apply_lock);
	for (uint64_t i = 0; i < rounds; i++)
		if (store_find_match(store, query, after - i % 4, &budget, &found, &error) != 0)
			die("condition", &error);
	store_end_lookup(store);
	pthread_mutex_unlock(&store->apply_lock);
	return (double)(clock_monotonic_ns() - started) / (double)rounds;
}

static void run_queries(struct bench *bench, struct figures *figures)
{
	struct query query;
	struct buffer items;

	make_query(bench, &query);
	figures->read_query = read_query(bench, &query);
	figures->condition_tables_ns = find_matches(bench, &query, store_head(bench->store) - 8);
	buffer_init(&items);
	for (uint64_t i = 0; i < 16; i++) /* a tail that no flush has taken yet */
		load_add_append(&bench->load, &items, bench->events + i);
	send(bench, &items, 16, bench->events + 1);
	figures->condition_tail_ns = find_matches(bench, &query, store_head(bench->store) - 8);
	buffer_close(&items);
	query_close(&query);
}

/* ---- a run ---- */

static void open_store(struct bench *bench, const char *path)
{
	struct kv_lmdb_options lmdb = {.path = path, .create = true};
	struct store_options options = {.tail_bytes_max = bench->tail_bytes};
	struct error error;

	if (kv_lmdb_open(&options.kv, &lmdb, &error) != 0 ||
	    store_open(&bench->store, &options, &error) != 0)
		die("open", &error);
	struct flusher_options flusher = {.store = bench->store,
					  .tail_bytes = bench->tail_bytes / 2,
					  .age_ms = LIMIT_FLUSH_AGE_MS,
					  .failed = flush_failed};
	bench->flusher = flusher_new(&flusher);
}

static void close_store(struct bench *bench, const char *path, struct figures *figures)
{
	struct kv_lmdb_options lmdb = {.path = path, .read_only = true};
	struct verify_options options = {0};
	struct verify_report report;
	struct error error;
	struct stat status;
	struct kv *kv;
	char file[512];

	flusher_free(bench->flusher);
	store_close(bench->store);
	int64_t started = clock_monotonic_ns();
	if (kv_lmdb_open(&kv, &lmdb, &error) != 0 ||
	    verify_store(kv, &options, &report, &error) != 0)
		die("verify", &error);
	kv_close(kv);
	for (uint64_t i = 0; i < report.problem_count && i < VERIFY_PROBLEMS_MAX; i++)
		fprintf(stderr, "verify: %s\n", report.problems[i]);
	if (report.problem_count > 0)
		exit(1);
	fprintf(stderr, "verified %llu records in %.1f s\n", (unsigned long long)report.records,
		(double)(clock_monotonic_ns() - started) / 1e9);
	snprintf(file, sizeof file, "%s/data.mdb", path);
	figures->stored_bytes = stat(file, &status) == 0
					? (double)status.st_blocks * 512 / (double)bench->events
					: 0;
	unlink(file);
	snprintf(file, sizeof file, "%s/lock.mdb", path);
	unlink(file);
	rmdir(path);
}

static void run(struct bench *bench, bool version_4)
{
	struct figures figures = {0};
	const char *ids = version_4 ? "v4" : "v7";
	char path[400];

	bench->load.version_4 = version_4;
	bench->load.seed = 1;
	bench->apply_ns = 0;
	bench->stalls_ms = 0;
	snprintf(path, sizeof path, "%s/store_bench-XXXXXX", bench->directory);
	if (mkdtemp(path) == NULL) {
		perror(path);
		exit(1);
	}
	open_store(bench, path);
	append_all(bench, &figures);
	figures.read_all = read_everything(bench);
	figures.read_streams = read_streams(bench);
	run_queries(bench, &figures);
	struct store_status status;
	store_get_status(bench->store, &status);
	close_store(bench, path, &figures);
	printf("%-4s %10.0f %10.0f %12.0f %12.0f %12.0f %11.0f %11.0f %10.0f %8llu %9llu\n", ids,
	       figures.append, figures.durable, figures.read_all, figures.read_streams,
	       figures.read_query, figures.condition_tables_ns, figures.condition_tail_ns,
	       figures.stored_bytes, (unsigned long long)status.flushes,
	       (unsigned long long)bench->stalls_ms);
	fflush(stdout);
	if (bench->json == NULL)
		return;
	fprintf(bench->json,
		"{\"bench\": \"store\", \"ids\": \"%s\", \"events\": %llu, \"bytes\": %llu, "
		"\"streams\": %llu, \"uniform\": %s, \"applied_per_s\": %.0f, \"durable_per_s\": "
		"%.0f, "
		"\"read_all_per_s\": %.0f, \"streams_read_per_s\": %.0f, \"tags\": %llu, "
		"\"read_query_per_s\": %.0f, \"condition_tables_ns\": %.0f, "
		"\"condition_tail_ns\": %.0f, \"disk_bytes_per_event\": %.0f}\n",
		ids, (unsigned long long)bench->events, (unsigned long long)bench->load.bytes,
		(unsigned long long)bench->load.streams,
		bench->load.order == LOAD_UNIFORM ? "true" : "false", figures.append,
		figures.durable, figures.read_all, figures.read_streams,
		(unsigned long long)bench->load.tags, figures.read_query,
		figures.condition_tables_ns, figures.condition_tail_ns, figures.stored_bytes);
}

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	if (*end != 0 || value == 0) {
		fprintf(stderr, "store_bench: %s is no number above 0\n", text);
		exit(2);
	}
	return value;
}

static void check_options(const struct bench *bench)
{
	if (bench->load.bytes > LIMIT_EVENT_BYTES) {
		fprintf(stderr, "store_bench: an event has %llu bytes at most\n",
			(unsigned long long)LIMIT_EVENT_BYTES);
		exit(2);
	}
	if (bench->load.tags > sizeof load_tags / sizeof load_tags[0]) {
		fprintf(stderr, "store_bench: there are %zu tags\n",
			sizeof load_tags / sizeof load_tags[0]);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	static const struct option flags[] = {{"events", required_argument, NULL, 'e'},
					      {"bytes", required_argument, NULL, 'b'},
					      {"streams", required_argument, NULL, 's'},
					      {"tail", required_argument, NULL, 't'},
					      {"tags", required_argument, NULL, 'g'},
					      {"uniform", no_argument, NULL, 'u'},
					      {"dir", required_argument, NULL, 'd'},
					      {"json", required_argument, NULL, 'j'},
					      {NULL, 0, NULL, 0}};
	struct bench bench = {.events = 1000000,
			      .load = {.bytes = 176, /* some 256 with names, id and numbers */
				       .streams = 10000},
			      .tail_bytes = LIMIT_TAIL_BYTES,
			      .directory = "/tmp"};
	int flag;

	while ((flag = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		switch (flag) {
		case 'e':
			bench.events = number(optarg);
			break;
		case 'b':
			bench.load.bytes = number(optarg);
			break;
		case 's':
			bench.load.streams = number(optarg);
			break;
		case 't':
			bench.tail_bytes = number(optarg) * MIB;
			break;
		case 'g':
			bench.load.tags = (uint32_t)number(optarg);
			break;
		case 'u':
			bench.load.order = LOAD_UNIFORM;
			break;
		case 'd':
			bench.directory = optarg;
			break;
		case 'j':
			bench.json = fopen(optarg, "a");
			if (bench.json == NULL) {
				perror(optarg);
				return 1;
			}
			break;
		default:
			return 2;
		}
	}
	check_options(&bench);
	printf("%-4s %10s %10s %12s %12s %12s %11s %11s %10s %8s %9s\n", "ids", "applied/s",
	       "durable/s", "read_all/s", "streams/s", "read_query/s", "cond.tables", "cond.tail",
	       "disk B/ev", "flushes", "stalls ms");
	run(&bench, false);
	run(&bench, true);
	if (bench.json != NULL)
		fclose(bench.json);
	return 0;
}
