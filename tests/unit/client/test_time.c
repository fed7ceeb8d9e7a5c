/* Times as people write them. */
#include "client/tool.h"
#include "tests/unit/unit.h"

#define NOW (INT64_C(1767225600) * 1000000000 + 5) /* 2026-01-01T00:00:00.000000005Z */

static void a_time_is_understood(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds, part;
	} cases[] = {
		{"now", 1767225600, 5},
		{"-1s", 1767225599, 5},
		{"now-1h", 1767222000, 5},
		{"-1d12h", 1767225600 - 129600, 5},
		{"-1w2d3h4m5s", 1767225600 - 604800 - 172800 - 10800 - 240 - 5, 5},
		{"-0s", 1767225600, 5},
		{"1970-01-01", 0, 0},
		{"1970-01-01T00:00:00Z", 0, 0},
		{"1969-12-31T23:59:59.5Z", -1, 500000000},
		{"2026-01-01T00:00:00Z", 1767225600, 0},
		{"2026-01-01 01:30:00+01:30", 1767225600, 0},
		{"2025-12-31t16:00:00.123456789-08:00", 1767225600, 123456789},
		{"2026-01-01T00:00:00.1234567891Z", 1767225600, 123456789},
		{"2024-02-29", 1709164800, 0},
		{"2016-12-31T23:59:60Z", 1483228800, 0},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t time_ns = -1;

		if (!tool_time_parse(cases[i].text, NOW, &time_ns))
			fail_msg("%s is not understood", cases[i].text);
		if (time_ns != cases[i].seconds * 1000000000 + cases[i].part)
			fail_msg("%s: %lld", cases[i].text, (long long)time_ns);
	}
}

static void what_is_no_time_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		"-",
		"yesterday",
		"nowish",
		"now-",
		"now+1h",
		"now2026-01-01",
		"-1",
		"-1y",
		"-h",
		"-1h-",
		"-1h 1m",
		"-99999999999999999999s",
		"-9999999999h",
		"1h",
		"2026",
		"2026-1-1",
		"2026-13-01",
		"2026-00-01",
		"2026-02-30",
		"2025-02-29",
		"2026-02-30T00:00:60Z",
		"1900-02-29",
		"2026-01-32",
		"2026-01-01T",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:61Z",
		"2026-01-01T00:00Z",
		"2026-01-01T00:00:00",
		"2026-01-01T00:00:00.Z",
		"2026-01-01T00:00:00+1:00",
		"2026-01-01T00:00:00+25:00",
		"2026-01-01T00:00:00Zulu",
		"0001-01-01",
		"9999-01-01",
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		int64_t time_ns;

		if (tool_time_parse(cases[i], NOW, &time_ns))
			fail_msg("'%s' is taken for %lld", cases[i], (long long)time_ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_time_is_understood),
		cmocka_unit_test(what_is_no_time_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
