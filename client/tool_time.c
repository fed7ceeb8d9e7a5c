/* Times as people write them, and `annal at`. */
#include "client/tool.h"

#include "base/clock.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define NS_PER_S        INT64_C(1000000000)
#define SECONDS_PER_DAY (24 * 3600)
/* What fits into 64 bits of nanoseconds, with room to spare. */
#define YEAR_MIN 1700
#define YEAR_MAX 2250

/* ---- relative ---- */

static int64_t unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	case 'd':
		return SECONDS_PER_DAY;
	case 'w':
		return 7 * SECONDS_PER_DAY;
	default:
		return 0;
	}
}

/* "1h30m": numbers with units, at least one. */
static bool parse_span(const char *text, int64_t *seconds)
{
	const int64_t most = (int64_t)(YEAR_MAX - YEAR_MIN) / 2 * 365 * SECONDS_PER_DAY;
	int64_t sum = 0;

	do {
		char *end;

		if (text[0] < '0' || text[0] > '9')
			return false;
		errno = 0;
		unsigned long long number = strtoull(text, &end, 10);
		int64_t unit = unit_seconds(*end);

		if (errno != 0 || unit == 0 || number > (uint64_t)(most / unit))
			return false;
		sum += (int64_t)number * unit;
		if (sum > most)
			return false;
		text = end + 1;
	} while (*text != '\0');
	*seconds = sum;
	return true;
}

/* ---- RFC 3339 ---- */

/* `count` digits at *text, which moves behind them; -1: there are none. */
static int digits(const char **text, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++, (*text)++) {
		if (**text < '0' || **text > '9')
			return -1;
		value = value * 10 + (**text - '0');
	}
	return value;
}

static bool take(const char **text, char wanted)
{
	if (**text != wanted)
		return false;
	(*text)++;
	return true;
}

static int days_of(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month - 1] + (month == 2 && leap);
}

static bool parse_date(const char **text, struct tm *tm)
{
	int year = digits(text, 4);

	if (!take(text, '-'))
		return false;
	int month = digits(text, 2);

	if (!take(text, '-'))
		return false;
	int day = digits(text, 2);

	*tm = (struct tm){.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
	return year >= YEAR_MIN && year < YEAR_MAX && month >= 1 && month <= 12 && day >= 1 &&
	       day <= days_of(year, month);
}

static bool parse_clock(const char **text, struct tm *tm, int64_t *part_ns)
{
	tm->tm_hour = digits(text, 2);
	if (!take(text, ':'))
		return false;
	tm->tm_min = digits(text, 2);
	if (!take(text, ':'))
		return false;
	tm->tm_sec = digits(text, 2);
	*part_ns = 0;
	if (**text == '.') {
		int64_t unit = NS_PER_S;

		(*text)++;
		if (**text < '0' || **text > '9')
			return false;
		for (; **text >= '0' && **text <= '9'; (*text)++) {
			unit /= 10;
			*part_ns += unit * (**text - '0');
		}
	}
	return tm->tm_hour >= 0 && tm->tm_hour < 24 && tm->tm_min >= 0 && tm->tm_min < 60 &&
	       tm->tm_sec >= 0 && tm->tm_sec <= 60;
}

/* "Z" or "+02:00". */
static bool parse_zone(const char **text, int *offset_s)
{
	int sign = **text == '-' ? -1 : 1;

	*offset_s = 0;
	if (**text == 'Z' || **text == 'z') {
		(*text)++;
		return true;
	}
	if (**text != '+' && **text != '-')
		return false;
	(*text)++;
	int hours = digits(text, 2);

	if (!take(text, ':'))
		return false;
	int minutes = digits(text, 2);

	*offset_s = sign * (hours * 3600 + minutes * 60);
	return hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60;
}

static bool parse_absolute(const char *text, int64_t *time_ns)
{
	struct tm tm;
	int64_t part_ns = 0;
	int offset_s = 0;

	if (!parse_date(&text, &tm))
		return false;
	if (*text == 'T' || *text == 't' || *text == ' ') {
		text++;
		if (!parse_clock(&text, &tm, &part_ns) || !parse_zone(&text, &offset_s))
			return false;
	}
	if (*text != '\0')
		return false;
	*time_ns = ((int64_t)timegm(&tm) - offset_s) * NS_PER_S + part_ns;
	return true;
}

bool tool_time_parse(const char *text, int64_t now_ns, int64_t *time_ns)
{
	int64_t seconds = 0;

	bool from_now = strncmp(text, "now", 3) == 0;

	text += from_now ? 3 : 0;
	if (from_now && *text == '\0') {
		*time_ns = now_ns;
		return true;
	}
	if (*text != '-')
		return !from_now && parse_absolute(text, time_ns);
	if (!parse_span(text + 1, &seconds))
		return false;
	*time_ns = now_ns - seconds * NS_PER_S;
	return true;
}

/* ---- at ---- */

struct arguments {
	const char *text;
	int64_t time_ns;
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
	struct arguments *arguments = ((struct tool *)state->input)->arguments;

	switch (key) {
	case ARGP_KEY_ARG:
		tool_operand(state, &arguments->text, argument);
		if (!tool_time_parse(argument, clock_realtime_ns(), &arguments->time_ns))
			argp_error(state,
				   "'%s' is no time: 2026-01-31T12:00:00Z, 2026-01-31, now, -1h or "
				   "-1d12h (s m h d w) is wanted",
				   argument);
		return 0;
	case ARGP_KEY_END:
		if (arguments->text == NULL)
			argp_error(state, "which time? 2026-01-31T12:00:00Z, or -1h");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static enum tool_exit run(struct tool *tool)
{
	const struct arguments *arguments = tool->arguments;
	uint64_t position;
	char text[40];

	if (annal_position_at(tool->client, arguments->time_ns, &position) != ANNAL_OK)
		return tool_failed(tool->client, "at");
	uint64_t head = annal_client_position(tool->client);

	tool_time(arguments->time_ns, text);
	tool_print_object(tool, json_pack("{s:s, s:I, s:I}", "time", text, "position",
					  (json_int_t)position, "head", (json_int_t)head));
	return TOOL_DONE;
}

const struct tool_command tool_at = {
	.name = "at",
	.operands = "TIME",
	.summary = "Say which position is the first of that time, or after it.",
	.details =
		"TIME: 2026-01-31T12:00:00Z, 2026-01-31T13:00:00+01:00, 2026-01-31 (UTC), now, or "
		"so long ago: -90s, -1h30m, -2d (s m h d w). A position behind the head: nothing "
		"is that young.\n"
		"Examples: annal at -1h\n"
		"annal read --all --from $(annal at -1h -o json | jq .position)",
	.parse = parse,
	.arguments_size = sizeof(struct arguments),
	.takes_time = true,
	.run = run,
};
