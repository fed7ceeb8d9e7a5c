/* Settings, first part: values and names. settings_read.c has the sources, settings_print.c the
 * rest. */
#include "base/settings.h"

#include "base/assert.h"
#include "base/settings_value.h"
#include "base/text.h"
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define NEAR_MAX 3

static void *field_of(const struct setting *setting, void *into)
{
	return (char *)into + setting->offset;
}

static const void *field_in(const struct setting *setting, const void *from)
{
	return (const char *)from + setting->offset;
}

/* ---- values ---- */

/* Decimal digits at the front of the text; what follows them is at *rest. False without digits, or
 * beyond 64 bits. */
static bool parse_digits(const char *text, uint64_t *value, const char **rest)
{
	uint64_t sum = 0;
	const char *at = text;

	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(sum, 10u, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(*at - '0'), &sum))
			return false;
	*value = sum;
	*rest = at;
	return at > text;
}

static bool parse_u64(const char *text, uint64_t *value)
{
	const char *rest;

	return parse_digits(text, value, &rest) && *rest == '\0';
}

static bool parse_bytes(const char *text, uint64_t *value)
{
	static const char units[] = "KMGT";
	const char *rest;
	uint64_t count;

	if (!parse_digits(text, &count, &rest))
		return false;
	while (*rest == ' ')
		rest++;
	const char *unit = *rest == '\0' ? NULL : strchr(units, toupper((unsigned char)*rest));
	unsigned int shift = unit == NULL ? 0 : 10u * (unsigned int)(unit - units + 1);

	if (unit != NULL)
		rest++;
	bool suffix_fits = *rest == '\0' || (unit == NULL && strcmp(rest, "B") == 0) ||
			   (unit != NULL && strcasecmp(rest, "iB") == 0);

	if (!suffix_fits || (shift > 0 && count >> (64 - shift) != 0))
		return false;
	*value = count << shift;
	return true;
}

bool setting_parse_bool(const char *text, bool *value)
{
	static const char *const words[][2] = {
		{"false", "true"}, {"no", "yes"}, {"off", "on"}, {"0", "1"}};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		for (size_t j = 0; j < 2; j++) {
			if (strcasecmp(text, words[i][j]) == 0) {
				*value = j == 1;
				return true;
			}
		}
	}
	return false;
}

void setting_format_bytes(uint64_t bytes, char text[SETTING_TEXT_BYTES])
{
	static const char units[] = "KMGT";
	int unit = -1;

	while (bytes > 0 && bytes % 1024 == 0 && unit < 3) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, SETTING_TEXT_BYTES, unit < 0 ? "%llu" : "%llu %ciB",
		 (unsigned long long)bytes, unit < 0 ? ' ' : units[unit]);
}

/* A number of the setting's unit, as a user writes it. */
static void format_number(const struct setting *setting, uint64_t value,
			  char text[SETTING_TEXT_BYTES])
{
	if (setting->kind == SETTING_BYTES)
		setting_format_bytes(value, text);
	else
		snprintf(text, SETTING_TEXT_BYTES, "%llu", (unsigned long long)value);
}

static int parse_number(const struct setting *setting, const char *text, uint64_t *into,
			struct error *error)
{
	bool bytes = setting->kind == SETTING_BYTES;
	char min[SETTING_TEXT_BYTES], max[SETTING_TEXT_BYTES];
	uint64_t value;

	if (!(bytes ? parse_bytes(text, &value) : parse_u64(text, &value)))
		return error_set(error, -EINVAL, "'%.200s' is no %s", text,
				 bytes ? "number of bytes like 4096, 512K, 64M or 64 MiB"
				       : "decimal number within 64 bits");
	format_number(setting, setting->min, min);
	format_number(setting, setting->max, max);
	if (value < setting->min)
		return error_set(error, -EINVAL, "'%.200s' is too low: the least is %s", text, min);
	if (setting->max > 0 && value > setting->max)
		return error_set(error, -EINVAL, "'%.200s' is too high: the most is %s", text, max);
	*into = value;
	return 0;
}

/* What a configuration file cannot carry is refused from elsewhere, too. */
static int parse_text(const char *text, char into[SETTING_TEXT_BYTES], struct error *error)
{
	size_t size = strlen(text);

	if (size >= SETTING_TEXT_BYTES)
		return error_set(error, -EINVAL, "'%.40s…' is too long: %zu bytes, the most is %d",
				 text, size, SETTING_TEXT_BYTES - 1);
	if (!text_is_utf8(span_of(text, size)))
		return error_set(error, -EINVAL, "the value is not well-formed UTF-8");
	for (size_t i = 0; i < size; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return error_set(error, -EINVAL,
					 "the value has a control character at byte %zu", i + 1);
	if (size > 0 && (text[0] == ' ' || text[size - 1] == ' '))
		return error_set(error, -EINVAL, "'%.200s' has a blank at an end", text);
	if (text[0] == ';' || strstr(text, " ;") != NULL)
		return error_set(error, -EINVAL,
				 "'%.200s' has a ';' at its beginning or behind a blank: that "
				 "would begin a comment in a configuration file",
				 text);
	memcpy(into, text, size + 1);
	return 0;
}

int setting_parse(const struct setting *setting, const char *text, void *into, struct error *error)
{
	void *field = field_of(setting, into);

	switch (setting->kind) {
	case SETTING_TEXT:
		return parse_text(text, field, error);
	case SETTING_U64:
	case SETTING_BYTES:
		return parse_number(setting, text, field, error);
	case SETTING_BOOL:
		if (setting_parse_bool(text, field))
			return 0;
		return error_set(error, -EINVAL,
				 "'%.200s' is neither true nor false (or yes/no, on/off, 1/0)",
				 text);
	}
	ASSERT(false && "a kind of setting");
	return 0;
}

void setting_format(const struct setting *setting, const void *from, char text[SETTING_TEXT_BYTES])
{
	const void *field = field_in(setting, from);

	switch (setting->kind) {
	case SETTING_TEXT:
		snprintf(text, SETTING_TEXT_BYTES, "%s", (const char *)field);
		return;
	case SETTING_U64:
	case SETTING_BYTES:
		format_number(setting, *(const uint64_t *)field, text);
		return;
	case SETTING_BOOL:
		snprintf(text, SETTING_TEXT_BYTES, "%s", *(const bool *)field ? "true" : "false");
		return;
	}
	ASSERT(false && "a kind of setting");
}

/* ---- names ---- */

const struct setting *settings_find(const struct settings_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++) {
		ASSERT(strlen(table->settings[i].name) < SETTING_NAME_BYTES);
		if (strcmp(table->settings[i].name, name) == 0)
			return &table->settings[i];
	}
	return NULL;
}

bool settings_is_assignment(const struct settings_table *table, const char *text)
{
	char name[SETTING_NAME_BYTES];
	size_t size = strcspn(text, "=:");

	if (text[size] == '\0')
		return false;
	while (size > 0 && isspace((unsigned char)text[size - 1]))
		size--;
	if (size >= sizeof name)
		return false;
	memcpy(name, text, size);
	name[size] = '\0';
	return settings_find(table, name) != NULL;
}

const char *setting_placeholder(const struct setting *setting)
{
	static const char *const of_kind[] = {[SETTING_TEXT] = "TEXT",
					      [SETTING_U64] = "NUMBER",
					      [SETTING_BYTES] = "BYTES",
					      [SETTING_BOOL] = "true|false"};

	return setting->placeholder != NULL ? setting->placeholder : of_kind[setting->kind];
}

/* How many letters to put in, drop or change (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
	size_t b_size = strlen(b);
	size_t row[SETTING_NAME_BYTES];

	ASSERT(b_size < SETTING_NAME_BYTES);
	for (size_t j = 0; j <= b_size; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1] != '\0'; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_size; j++) {
			size_t changed = diagonal + (a[i - 1] != b[j - 1]);
			size_t least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;

			diagonal = row[j];
			row[j] = changed < least ? changed : least;
		}
	}
	return row[b_size];
}

/* The names within a third of their letters, the nearest first. */
static size_t find_near(const struct settings_table *table, const char *name,
			const char *near[NEAR_MAX])
{
	size_t distances[NEAR_MAX];
	size_t count = 0;

	for (size_t i = 0; i < table->count && strlen(name) < SETTING_NAME_BYTES; i++) {
		const char *candidate = table->settings[i].name;
		size_t far = distance(name, candidate);
		size_t at = count;

		if (far > 1 + strlen(candidate) / 3)
			continue;
		for (; at > 0 && distances[at - 1] > far; at--)
			;
		if (at == NEAR_MAX)
			continue;
		count += count < NEAR_MAX;
		memmove(&near[at + 1], &near[at], (count - 1 - at) * sizeof near[0]);
		memmove(&distances[at + 1], &distances[at], (count - 1 - at) * sizeof distances[0]);
		near[at] = candidate;
		distances[at] = far;
	}
	return count;
}

int settings_refuse_unknown(const struct settings_table *table, const char *name,
			    struct error *error)
{
	const char *near[NEAR_MAX];
	size_t count = find_near(table, name, near);

	switch (count) {
	case 0:
		return error_set(error, -ENOENT, "there is no setting '%.100s'; --help lists all",
				 name);
	case 1:
		return error_set(error, -ENOENT, "there is no setting '%.100s'; near is '%s'", name,
				 near[0]);
	case 2:
		return error_set(error, -ENOENT,
				 "there is no setting '%.100s'; near are '%s', '%s'", name, near[0],
				 near[1]);
	default:
		return error_set(error, -ENOENT,
				 "there is no setting '%.100s'; near are '%s', '%s', '%s'", name,
				 near[0], near[1], near[2]);
	}
}

void settings_environment_name(const struct settings_table *table, const struct setting *setting,
			       struct buffer *into)
{
	buffer_append(into, table->environment_prefix, strlen(table->environment_prefix));
	for (const char *at = setting->name; *at != '\0'; at++) {
		char letter = *at == '-' ? '_' : (char)toupper((unsigned char)*at);

		buffer_append(into, &letter, 1);
	}
}

/* ---- the table ---- */

void settings_set_defaults(const struct settings_table *table, void *into)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct setting *setting = &table->settings[i];
		struct error error;

		if (setting->default_value != NULL) {
			int status = setting_parse(setting, setting->default_value, into, &error);

			ASSERT(status == 0); /* the table contradicts itself */
		} else if (setting->kind == SETTING_TEXT) {
			*(char *)field_of(setting, into) = '\0';
		} else if (setting->kind == SETTING_BOOL) {
			*(bool *)field_of(setting, into) = false;
		} else {
			*(uint64_t *)field_of(setting, into) = 0;
		}
	}
}

int settings_set(const struct settings_table *table, void *into, const char *name,
		 const char *value, struct error *error)
{
	const struct setting *setting = settings_find(table, name);

	if (setting == NULL)
		return settings_refuse_unknown(table, name, error);
	int status = setting_parse(setting, value, into, error);

	if (status != 0)
		error_prefix(error, "%s", name);
	return status;
}

static bool is_missing(const struct setting *setting, const void *from)
{
	const void *field = field_in(setting, from);

	switch (setting->kind) {
	case SETTING_TEXT:
		return *(const char *)field == '\0';
	case SETTING_U64:
	case SETTING_BYTES:
		ASSERT(setting->min > 0);
		return *(const uint64_t *)field == 0;
	case SETTING_BOOL:
		break;
	}
	ASSERT(false && "a kind of setting that can be required");
	return false;
}

int settings_check(const struct settings_table *table, const void *from, struct error *error)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct setting *setting = &table->settings[i];

		if (!setting->required || !is_missing(setting, from))
			continue;
		struct buffer variable;

		buffer_init(&variable);
		settings_environment_name(table, setting, &variable);
		int status = error_set(error, -EINVAL,
				       "%s is missing: give --%s %s, %.*s or '%s' in section [%s]",
				       setting->name, setting->name, setting_placeholder(setting),
				       (int)variable.size, (const char *)variable.data,
				       setting->name, setting->section);

		buffer_close(&variable);
		return status;
	}
	return 0;
}
