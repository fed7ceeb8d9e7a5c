#include "client/uri.h"
#include "tests/unit/unit.h"
#include <stdio.h>
#include <string.h>

static void addresses_are_taken_in_order(void **state)
{
	struct uri uri;
	struct error error;

	(void)state;
	assert_int_equal(uri_parse("annal://a:1,[::1]:2,10.0.0.3:3", &uri, &error), 0);
	assert_int_equal(uri.count, 3);
	assert_string_equal(uri.addresses[0].host, "a");
	assert_string_equal(uri.addresses[1].host, "::1");
	assert_int_equal(uri.addresses[2].port, 3);
	assert_int_equal(uri.timeout_ms, 5000);
	assert_int_equal(uri.read_from, URI_READ_FROM_LEADER);
	assert_true(uri.session && uri.follow);
}

static void options_are_taken(void **state)
{
	struct uri uri;
	struct error error;

	(void)state;
	assert_int_equal(uri_parse("ANNAL://h:1/?timeout_ms=77&read_from=follower&session=off"
				   "&follow=off&client=my%20app&user=u&password=%26%3d&token=t",
				   &uri, &error),
			 0);
	assert_int_equal(uri.timeout_ms, 77);
	assert_int_equal(uri.read_from, URI_READ_FROM_FOLLOWER);
	assert_false(uri.session || uri.follow);
	assert_string_equal(uri.client, "my app");
	assert_string_equal(uri.user, "u");
	assert_string_equal(uri.password, "&=");
	assert_string_equal(uri.token, "t");
}

static void what_is_no_url_is_refused_with_the_reason(void **state)
{
	static const char *const cases[][2] = {
		{"", "annal://HOST:PORT"},
		{"http://h:1", "annal://HOST:PORT"},
		{"annal:/h:1", "annal://HOST:PORT"},
		{"annal://", "no HOST:PORT"},
		{"annal:///?session=on", "no HOST:PORT"},
		{"annal://h", "the port is missing"},
		{"annal://h:0", "port 0"},
		{"annal://h:1,", "the port is missing"},
		{"annal://h:1,,h:2", "the port is missing"},
		{"annal://h:99999", "the port is no number"},
		{"annal://h:1/path", "'/path'"},
		{"annal://h:1?nonsense=1", "no option 'nonsense'"},
		{"annal://h:1?session", "has no value"},
		{"annal://h:1?session=maybe", "on or off"},
		{"annal://h:1?follow=1", "on or off"},
		{"annal://h:1?read_from=moon", "leader, follower or any"},
		{"annal://h:1?timeout_ms=0", "from 1 to 3600000"},
		{"annal://h:1?timeout_ms=3600001", "from 1 to 3600000"},
		{"annal://h:1?timeout_ms=-1", "from 1 to 3600000"},
		{"annal://h:1?timeout_ms=5s", "from 1 to 3600000"},
		{"annal://h:1?client=%4", "two hexadecimal digits"},
		{"annal://h:1?client=%zz", "two hexadecimal digits"},
		{"annal://h:1?client=a%00b", "two hexadecimal digits"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct uri uri = {.count = 7};
		struct error error;

		assert_int_not_equal(uri_parse(cases[i][0], &uri, &error), 0);
		if (strstr(error.message, cases[i][1]) == NULL)
			fail_msg("%s gives: %s", cases[i][0], error.message);
		assert_int_equal(uri.count, 7); /* untouched */
	}
}

static void too_much_is_refused(void **state)
{
	char text[8192] = "annal://h:1";
	struct uri uri;
	struct error error;

	(void)state;
	for (int i = 0; i < ANNAL_NODES_MAX; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), ",h:%d", i + 2);
	assert_int_not_equal(uri_parse(text, &uri, &error), 0);
	assert_non_null(strstr(error.message, "more than 32"));
	memset(text, 'x', 2000);
	memcpy(text, "annal://", 8);
	strcpy(text + 2000, ":1");
	assert_int_not_equal(uri_parse(text, &uri, &error), 0);
	memcpy(text, "annal://h:1?client=", 19);
	assert_int_not_equal(uri_parse(text, &uri, &error), 0);
	assert_non_null(strstr(error.message, "longer than"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_taken_in_order),
		cmocka_unit_test(options_are_taken),
		cmocka_unit_test(what_is_no_url_is_refused_with_the_reason),
		cmocka_unit_test(too_much_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
