/* Files that become one append. */
#include "base/limits.h"
#include "client/tool_batch.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What tool_batch_read makes of a file with that text. */
static int read_text(const char *text, struct tool_batch **batch, struct error *error)
{
	char path[] = "/tmp/annal-unit-XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	int status = tool_batch_read(batch, path, error);

	unlink(path);
	return status;
}

static void runs_of_one_stream_are_writes(void **state)
{
	static const struct {
		const char *stream;
		size_t events;
		enum annal_expect_kind expect;
	} expected[] = {{"A", 2, ANNAL_EXPECT_NO_STREAM},
			{"B", 1, ANNAL_EXPECT_ANY},
			{"A", 1, ANNAL_EXPECT_ANY}};
	struct tool_batch *batch;
	struct error error;
	size_t count;

	(void)state;
	assert_int_equal(
		read_text("{\"stream\":\"A\",\"type\":\"T1\",\"expected_version\":\"no_stream\"}\n"
			  "\n"
			  "{\"stream\":\"A\",\"type\":\"T2\",\"tags\":[\"x\",\"y\"],\"data\":7}\n"
			  "{\"stream\":\"B\",\"type\":\"T3\",\"tags\":[\"z\"]}\n"
			  "{\"stream\":\"A\",\"type\":\"T4\"}",
			  &batch, &error),
		0);
	const struct annal_write *writes = tool_batch_writes(batch, &count);

	assert_int_equal(count, COUNT_OF(expected));
	assert_int_equal(tool_batch_events(batch), 4);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(writes[i].stream, expected[i].stream);
		assert_int_equal(writes[i].events_count, expected[i].events);
		assert_int_equal(writes[i].expect.kind, expected[i].expect);
	}
	assert_string_equal(writes[0].events[1].type, "T2");
	assert_int_equal(writes[0].events[1].tags_count, 2);
	assert_string_equal(writes[0].events[1].tags[1], "y");
	assert_memory_equal(writes[0].events[1].data.data, "7", 1);
	assert_string_equal(writes[1].events[0].tags[0], "z");
	assert_int_equal(writes[2].events[0].tags_count, 0);
	tool_batch_free(batch);
}

static void lines_without_id_are_new_each_time(void **state)
{
	static const char text[] = "{\"stream\":\"A\",\"type\":\"T\"}\n"
				   "{\"stream\":\"A\",\"type\":\"T\","
				   "\"id\":\"8f435bf8-f97e-5f3a-b52d-65f11f3fb4f1\"}\n";
	struct tool_batch *first, *second;
	struct error error;
	size_t count;

	(void)state;
	assert_int_equal(read_text(text, &first, &error), 0);
	assert_int_equal(read_text(text, &second, &error), 0);
	const struct annal_write *one = tool_batch_writes(first, &count);
	const struct annal_write *two = tool_batch_writes(second, &count);

	assert_memory_not_equal(one->events[0].id, two->events[0].id, ANNAL_ID_BYTES);
	assert_memory_equal(one->events[1].id, two->events[1].id, ANNAL_ID_BYTES);
	tool_batch_free(first);
	tool_batch_free(second);
}

static void what_is_no_batch_is_told(void **state)
{
	struct tool_batch *batch = NULL;
	struct error error;

	(void)state;
	assert_int_equal(read_text("", &batch, &error), -EINVAL);
	assert_non_null(strstr(error.message, "has no events"));
	assert_int_equal(read_text("{\"stream\":\"A\",\"type\":\"T\"}\n{}\n", &batch, &error),
			 -EINVAL);
	assert_non_null(strstr(error.message, ":2: \"stream\" is missing"));
	assert_int_equal(tool_batch_read(&batch, "/no/such/file", &error), -ENOENT);
	assert_null(batch);
	tool_batch_free(NULL);
}

static void more_than_one_append_takes_is_refused(void **state)
{
	static const char line[] = "{\"stream\":\"A\",\"type\":\"T\"}\n";
	size_t size = sizeof line - 1;
	char *text = memory_zeroed(LIMIT_APPEND_EVENTS + 1, size + 1);
	struct tool_batch *batch = NULL;
	struct error error;

	(void)state;
	for (size_t i = 0; i < LIMIT_APPEND_EVENTS; i++)
		memcpy(text + i * size, line, size);
	assert_int_equal(read_text(text, &batch, &error), 0);
	assert_int_equal(tool_batch_events(batch), LIMIT_APPEND_EVENTS);
	tool_batch_free(batch);
	memcpy(text + LIMIT_APPEND_EVENTS * size, line, size);
	assert_int_equal(read_text(text, &batch, &error), -EINVAL);
	assert_non_null(strstr(error.message, "10000 events"));
	memory_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_of_one_stream_are_writes),
		cmocka_unit_test(lines_without_id_are_new_each_time),
		cmocka_unit_test(what_is_no_batch_is_told),
		cmocka_unit_test(more_than_one_append_takes_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
