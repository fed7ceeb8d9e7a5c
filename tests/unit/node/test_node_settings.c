/* The settings of annald: defaults hold together, what does not is refused by name. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "node/settings.h"
#include <errno.h>

static void set_all(struct node_settings *settings, const char *const *pairs)
{
	struct error error;

	settings_set_defaults(&node_settings_table, settings);
	for (; pairs != NULL && pairs[0] != NULL; pairs += 2)
		assert_int_equal(
			settings_set(&node_settings_table, settings, pairs[0], pairs[1], &error),
			0);
}

static void defaults_are_those_of_limits(void **state)
{
	static const char *const pairs[] = {"data-dir", "/d", NULL};
	struct node_settings settings;
	struct error error;

	(void)state;
	set_all(&settings, pairs);
	assert_int_equal(node_settings_prepare(&settings, &error), 0);
	assert_int_equal(settings.max_message, LIMIT_MESSAGE_BYTES);
	assert_int_equal(settings.max_append, LIMIT_APPEND_BYTES);
	assert_int_equal(settings.max_event, LIMIT_EVENT_BYTES);
	assert_int_equal(settings.out_queue_bytes, LIMIT_OUT_QUEUE_BYTES);
	assert_int_equal(settings.tail_bytes, LIMIT_TAIL_BYTES);
	assert_int_equal(settings.log_retained_bytes, LIMIT_LOG_RETAINED_BYTES);
	assert_int_equal(settings.log_trailing_bytes, LIMIT_LOG_TRAILING_BYTES);
	assert_int_equal(settings.segment_bytes, LIMIT_SEGMENT_BYTES);
	assert_true(settings.pack_log);
	assert_int_equal(settings.disk_free_bytes, LIMIT_DISK_FREE_BYTES);
	assert_int_equal(settings.max_connections, LIMIT_CONNECTIONS);
	assert_int_equal(settings.timeout_ms, LIMIT_TIMEOUT_MS_DEFAULT);
	assert_string_equal(settings.client_advertise, "127.0.0.1:7001");
	assert_string_equal(settings.peer_advertise, "127.0.0.1:7101");
	assert_int_equal(settings.client_address.port, 7001);
	assert_int_equal(settings.level, LOG_LEVEL_INFO);
}

static void addresses_follow_from_each_other(void **state)
{
	static const char *const pairs[] = {"data-dir",
					    "/d",
					    "client-listen",
					    "0.0.0.0:9000",
					    "peer-listen",
					    "10.1.1.1:9001",
					    "client-advertise",
					    "db1.example:9000",
					    NULL};
	struct node_settings settings;
	struct error error;

	(void)state;
	set_all(&settings, pairs);
	assert_int_equal(node_settings_prepare(&settings, &error), 0);
	assert_string_equal(settings.client_advertise, "db1.example:9000");
	assert_string_equal(settings.peer_advertise, "10.1.1.1:9001");
}

static void what_cannot_be_is_refused_by_name(void **state)
{
	static const struct {
		const char *pairs[8];
		const char *named;
	} cases[] = {
		{{NULL}, "data-dir"},
		{{"data-dir", "/d", "log-level", "loud", NULL}, "log-level"},
		{{"data-dir", "/d", "client-listen", "7001", NULL}, "client-listen"},
		{{"data-dir", "/d", "peer-listen", "a:b", NULL}, "peer-listen"},
		{{"data-dir", "/d", "client-listen", "0.0.0.0:1", NULL}, "client-advertise"},
		{{"data-dir", "/d", "peer-listen", "[::]:1", NULL}, "peer-advertise"},
		{{"data-dir", "/d", "client-listen", "127.0.0.1:0", NULL}, "client-advertise"},
		{{"data-dir", "/d", "election-timeout-ms", "200", "heartbeat-ms", "100", NULL},
		 "election-timeout-ms"},
		{{"data-dir", "/d", "max-append", "1M", "max-event", "2M", NULL}, "max-event"},
		{{"data-dir", "/d", "max-message", "8M", NULL}, "max-message"},
		{{"data-dir", "/d", "log-trailing-bytes", "48M", NULL}, "log-trailing-bytes"},
		{{"data-dir", "/d", "segment-bytes", "8M", NULL}, "segment-bytes"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct node_settings settings;
		struct error error;

		set_all(&settings, cases[i].pairs);
		assert_int_equal(node_settings_prepare(&settings, &error), -EINVAL);
		if (strstr(error.message, cases[i].named) == NULL)
			fail_msg("%s is not named: %s", cases[i].named, error.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_of_limits),
		cmocka_unit_test(addresses_follow_from_each_other),
		cmocka_unit_test(what_cannot_be_is_refused_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
