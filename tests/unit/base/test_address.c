#include "base/address.h"
#include "tests/unit/unit.h"
#include <errno.h>
#include <stdio.h>

static void addresses_are_taken_apart_and_put_together_again(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} cases[] = {
		{"db1.example:7001", "db1.example", 7001},
		{"127.0.0.1:0", "127.0.0.1", 0},
		{"a_b-c:65535", "a_b-c", 65535},
		{"[::1]:1", "::1", 1},
		{"[fe80::1%eth0]:80", "fe80::1%eth0", 80},
		{"[2001:db8::7]:443", "2001:db8::7", 443},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		char text[ADDRESS_TEXT_BYTES];
		struct address address;
		struct error error;

		assert_int_equal(address_parse(cases[i].text, &address, &error), 0);
		assert_string_equal(address.host, cases[i].host);
		assert_int_equal(address.port, cases[i].port);
		address_format(&address, text);
		assert_string_equal(text, cases[i].text);
	}
}

static void what_is_no_address_is_refused_with_the_reason(void **state)
{
	static const char *const cases[][2] = {
		{"", "the port is missing"},
		{"host", "the port is missing"},
		{":1", "the host is empty"},
		{"host:", "the port is no number"},
		{"host:65536", "the port is no number"},
		{"host:000001", "the port is no number"},
		{"host:-1", "the port is no number"},
		{"host:1x", "the port is no number"},
		{"::1:80", "needs brackets"},
		{"[::1]", "the bracket is not closed"},
		{"[::1:80", "the bracket is not closed"},
		{"[::1]80:1", "the bracket is not closed"},
		{"[", "the port is missing"},
		{"[:1", "the bracket is not closed"},
		{"[]:1", "the host is empty"},
		{"[host]:1", "no IPv6 address"},
		{"[::1%]]:1", "no IPv6 address"},
		{"a b:1", "characters that no name has"},
		{"h\xc3\xb6st:1", "characters that no name has"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct address address = {.port = 9};
		struct error error;

		if (address_parse(cases[i][0], &address, &error) != -EINVAL)
			fail_msg("'%s' is taken", cases[i][0]);
		if (strstr(error.message, cases[i][1]) == NULL ||
		    strstr(error.message, "HOST:PORT") == NULL)
			fail_msg("'%s': %s", cases[i][0], error.message);
		assert_int_equal(address.port, 9);
	}
}

static void the_longest_host_has_255_bytes(void **state)
{
	char text[300], formatted[ADDRESS_TEXT_BYTES];
	struct address address;
	struct error error;

	(void)state;
	memset(text, 'h', sizeof text);
	memcpy(text + 255, ":65535", 7);
	assert_int_equal(address_parse(text, &address, &error), 0);
	address_format(&address, formatted);
	assert_string_equal(formatted, text);
	memset(text, 'h', sizeof text);
	memcpy(text + 256, ":1", 3);
	assert_int_equal(address_parse(text, &address, &error), -EINVAL);
	assert_non_null(strstr(error.message, "longer than 255 bytes"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_taken_apart_and_put_together_again),
		cmocka_unit_test(what_is_no_address_is_refused_with_the_reason),
		cmocka_unit_test(the_longest_host_has_255_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
