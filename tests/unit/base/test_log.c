#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/base/child.h"
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

/* Time, in place of base/clock.c: it stands still unless a test moves it. */
static int64_t now_ns = INT64_C(1700000000123456789);

int64_t clock_realtime_ns(void)
{
	return now_ns;
}

int64_t clock_monotonic_ns(void)
{
	return now_ns;
}

int64_t clock_monotonic_ms(void)
{
	return now_ns / 1000000;
}

static char output[1 << 20];

/* The number of lines; each is checked to look like one. */
static size_t count_lines(const char *text)
{
	size_t count = 0;

	for (const char *at = text; *at != '\0'; at = strchr(at, '\n') + 1) {
		assert_non_null(strchr(at, '\n'));
		count++;
	}
	return count;
}

static void log_one(void)
{
	log_set_node(3);
	log_warn("raft", "peer \"b\" is slow\\", "peer=%s lag_ms=%d", "b", 250);
}

static void a_line_has_time_level_module_message_and_pairs(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_one, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 1);
	assert_string_equal(output, "2023-11-14T22:13:20.123Z warn raft node=3"
				    " msg=\"peer \\\"b\\\" is slow\\\\\" peer=b lag_ms=250\n");
}

static void log_forged(void)
{
	log_error("a", "one\ntwo", "x=%s", "y\nz\x1b[0m");
	log_error("a", "without pairs", "");
}

static void a_value_cannot_forge_a_line(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_forged, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 2);
	assert_non_null(strstr(output, " error a msg=\"one?two\" x=y?z?[0m\n"));
	assert_non_null(strstr(output, " msg=\"without pairs\"\n"));
}

static void log_at_every_level(void)
{
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		log_set_level((enum log_level)level);
		log_error("m", "e", "at=%d", level);
		log_warn("m", "w", "at=%d", level);
		log_info("m", "i", "at=%d", level);
		log_debug("m", "d", "at=%d", level);
	}
}

static void a_level_lets_itself_and_the_graver_ones_through(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_at_every_level, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 1 + 2 + 3 + 4);
	assert_non_null(strstr(output, "msg=\"w\" at=1"));
	assert_null(strstr(output, "msg=\"i\" at=1"));
}

static void levels_have_names(void **state)
{
	enum log_level level = LOG_LEVEL_INFO;

	(void)state;
	assert_true(log_level_parse("error", &level) && level == LOG_LEVEL_ERROR);
	assert_true(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
	assert_false(log_level_parse("Debug", &level));
	assert_false(log_level_parse("", &level));
	assert_int_equal(level, LOG_LEVEL_DEBUG);
}

static void log_endless_value(void)
{
	static char value[100000];

	memset(value, 'v', sizeof value - 1);
	log_info("m", "long", "value=%s", value);
	log_info("m", value, "");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_endless_value, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 2);
	assert_true(strlen(output) > 2000 && strlen(output) <= 4096);
}

static void log_a_flood(void)
{
	for (int i = 0; i < 1003; i++) {
		if (i == 1000)
			now_ns += 999000000; /* still the same second */
		if (i == 1001)
			now_ns += 1000000;
		log_info("m", "flood", "i=%d", i);
	}
}

static void a_flood_is_cut_to_ten_lines_a_second_and_counted(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_a_flood, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 10 + 1 + 2);
	assert_non_null(strstr(output, "i=9\n"));
	assert_null(strstr(output, "i=10\n"));
	assert_non_null(strstr(output, "msg=\"flood\" suppressed=991\n"));
	assert_true(strstr(output, "suppressed=991\n") < strstr(output, "i=1001\n"));
	assert_non_null(strstr(output, "i=1002\n"));
}

static void log_a_flood_at_another_place(void)
{
	for (int i = 0; i < 100; i++)
		log_info("m", "flood", "i=%d", i);
	log_info("m", "calm", "");
}

static void a_flood_at_one_place_leaves_others_alone(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_a_flood_at_another_place, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 10 + 1);
	assert_non_null(strstr(output, "msg=\"calm\"\n"));
}

static void log_and_dump(void)
{
	for (int i = 0; i < 100; i++) {
		struct log_place place = {0};

		log_write(&place, LOG_LEVEL_INFO, "m", "line", "i=%d", i);
	}
	dprintf(STDERR_FILENO, "dump\n");
	log_dump_recent(STDERR_FILENO);
}

static void the_last_64_lines_are_kept_oldest_first(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_and_dump, output, sizeof output), 0);
	const char *dump = strstr(output, "dump\n");

	assert_non_null(dump);
	assert_int_equal(count_lines(dump + 5), 64);
	assert_null(strstr(dump, "i=35\n"));
	assert_true(strstr(dump, "i=36\n") < strstr(dump, "i=99\n"));
}

static void *log_from_a_thread(void *arg)
{
	for (int i = 0; i < 200; i++) {
		struct log_place place = {0};

		log_write(&place, LOG_LEVEL_INFO, "m", "thread", "name=%s%s end=1", (char *)arg,
			  (char *)arg);
	}
	return NULL;
}

static void log_from_threads(void)
{
	static char names[4][500];
	pthread_t threads[4];

	for (size_t i = 0; i < COUNT_OF(threads); i++) {
		memset(names[i], (int)('a' + i), sizeof names[i] - 1);
		pthread_create(&threads[i], NULL, log_from_a_thread, names[i]);
	}
	for (size_t i = 0; i < COUNT_OF(threads); i++)
		pthread_join(threads[i], NULL);
}

static void lines_of_several_threads_never_interleave(void **state)
{
	(void)state;
	assert_int_equal(child_run(log_from_threads, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 800);
	for (const char *at = output; *at != '\0'; at = strchr(at, '\n') + 1) {
		const char *name = strstr(at, "name=") + 5;
		size_t same = strspn(name, (char[]){*name, '\0'});

		assert_int_equal(same, 998);
		assert_memory_equal(name + same, " end=1\n", 7);
	}
}

static void log_to_the_journal(void)
{
	struct stat status;
	char stream[64];

	fstat(STDERR_FILENO, &status);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_set_level(LOG_LEVEL_DEBUG);
	log_error("m", "e", "");
	log_warn("m", "w", "");
	log_info("m", "i", "");
	log_debug("m", "d", "");
}

static void log_to_something_else(void)
{
	setenv("JOURNAL_STREAM", "1:1", 1);
	log_error("m", "e", "");
}

static void the_journal_is_told_the_priority(void **state)
{
	static const char *const prefixes[] = {"<3>", "<4>", "<6>", "<7>"};
	const char *at = output;

	(void)state;
	assert_int_equal(child_run(log_to_the_journal, output, sizeof output), 0);
	assert_int_equal(count_lines(output), 4);
	for (size_t i = 0; i < 4; i++, at = strchr(at, '\n') + 1)
		assert_memory_equal(at, prefixes[i], 3);
	assert_int_equal(child_run(log_to_something_else, output, sizeof output), 0);
	assert_true(output[0] != '<');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_have_names),
		cmocka_unit_test(a_line_has_time_level_module_message_and_pairs),
		cmocka_unit_test(a_value_cannot_forge_a_line),
		cmocka_unit_test(a_level_lets_itself_and_the_graver_ones_through),
		cmocka_unit_test(a_long_line_is_cut_and_still_ends),
		cmocka_unit_test(a_flood_is_cut_to_ten_lines_a_second_and_counted),
		cmocka_unit_test(a_flood_at_one_place_leaves_others_alone),
		cmocka_unit_test(the_last_64_lines_are_kept_oldest_first),
		cmocka_unit_test(lines_of_several_threads_never_interleave),
		cmocka_unit_test(the_journal_is_told_the_priority),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
