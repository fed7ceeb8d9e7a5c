/* Settings, third part: --help, the documentation page and a configuration file, from the table. */
#include "base/assert.h"
#include "base/settings.h"
#include "base/settings_value.h"
#include <stdarg.h>
#include <stdio.h>

#define COLUMNS          80
#define FILE_VALUE_PIECE 120 /* bytes of a long value on one line of a file */
#define HELP_INDENT      "        "

static void add(struct buffer *into, const char *text)
{
	buffer_append(into, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static void add_format(struct buffer *into,
							     const char *format, ...)
{
	char text[2 * SETTING_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	int size = vsnprintf(text, sizeof text, format, args);

	va_end(args);
	ASSERT(size >= 0 && (size_t)size < sizeof text);
	add(into, text);
}

/* Words of `text`, each line behind `indent` and within 80 columns, as far as words allow. */
static void add_wrapped(struct buffer *into, const char *indent, struct span text)
{
	const char *at = (const char *)text.data;
	const char *end = at + text.size;
	size_t column = 0;

	while (at < end) {
		size_t size = 0;

		while (at + size < end && at[size] != ' ')
			size++;
		if (column > 0 && column + 1 + size > COLUMNS) {
			add(into, "\n");
			column = 0;
		}
		add(into, column == 0 ? indent : " ");
		buffer_append(into, at, size);
		column += size + (column == 0 ? strlen(indent) : 1);
		at += size < (size_t)(end - at) ? size + 1 : size;
	}
	add(into, "\n");
}

/* "from 1 to 64 MiB", "at least 1", or nothing. */
static void add_bounds(struct buffer *into, const struct setting *setting)
{
	char min[SETTING_TEXT_BYTES], max[SETTING_TEXT_BYTES];

	if (setting->kind != SETTING_U64 && setting->kind != SETTING_BYTES)
		return;
	if (setting->kind == SETTING_BYTES) {
		setting_format_bytes(setting->min, min);
		setting_format_bytes(setting->max, max);
	} else {
		snprintf(min, sizeof min, "%llu", (unsigned long long)setting->min);
		snprintf(max, sizeof max, "%llu", (unsigned long long)setting->max);
	}
	if (setting->max > 0)
		add_format(into, "from %s to %s", min, max);
	else if (setting->min > 0)
		add_format(into, "at least %s", min);
}

/* Whether no setting before this one is of its section. */
static bool begins_section(const struct settings_table *table, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(table->settings[i].section, table->settings[index].section) == 0)
			return false;
	return true;
}

/* Calls `print` for each setting, section by section, in the order of the table. */
static void
for_each_by_section(const struct settings_table *table, struct buffer *into, const void *from,
		    void (*begin)(const char *section, struct buffer *into),
		    void (*print)(const struct settings_table *table, const struct setting *setting,
				  const void *from, struct buffer *into))
{
	for (size_t i = 0; i < table->count; i++) {
		if (!begins_section(table, i))
			continue;
		begin(table->settings[i].section, into);
		for (size_t j = i; j < table->count; j++)
			if (strcmp(table->settings[j].section, table->settings[i].section) == 0)
				print(table, &table->settings[j], from, into);
	}
}

/* ---- --help ---- */

static void begin_help(const char *section, struct buffer *into)
{
	add_format(into, "\n[%s]\n", section);
}

static void print_help(const struct settings_table *table, const struct setting *setting,
		       const void *from, struct buffer *into)
{
	struct buffer prose;

	(void)from;
	buffer_init(&prose);
	add_format(&prose, "%s (", setting->help);
	if (setting->default_value != NULL && setting->default_value[0] != '\0')
		add_format(&prose, "default %s; ", setting->default_value);
	else if (setting->required)
		add(&prose, "required; ");
	size_t before = prose.size;

	add_bounds(&prose, setting);
	if (prose.size > before)
		add(&prose, "; ");
	settings_environment_name(table, setting, &prose);
	add(&prose, ")");
	add_format(into, "  --%s %s\n", setting->name, setting_placeholder(setting));
	add_wrapped(into, HELP_INDENT, buffer_span(&prose));
	buffer_close(&prose);
}

void settings_print_help(const struct settings_table *table, struct buffer *into)
{
	add(into, "Settings: a flag wins over the environment, that over the configuration file\n"
		  "(--config FILE: [section] and name = value), that over the default.\n");
	for_each_by_section(table, into, NULL, begin_help, print_help);
}

/* ---- the documentation page ---- */

static void begin_markdown(const char *section, struct buffer *into)
{
	add_format(into, "\n## `[%s]`\n\n", section);
	add(into, "| name | default | bounds | environment | meaning |\n|---|---|---|---|---|\n");
}

static void add_cell_text(struct buffer *into, const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			add(into, "\\");
		buffer_append(into, text, 1);
	}
}

static void print_markdown(const struct settings_table *table, const struct setting *setting,
			   const void *from, struct buffer *into)
{
	(void)from;
	add_format(into, "| `%s` | ", setting->name);
	if (setting->default_value != NULL && setting->default_value[0] != '\0')
		add_format(into, "`%s`", setting->default_value);
	else if (setting->required)
		add(into, "required");
	add(into, " | ");
	add_bounds(into, setting);
	add(into, " | `");
	settings_environment_name(table, setting, into);
	add(into, "` | ");
	add_cell_text(into, setting->help);
	add(into, " |\n");
}

void settings_print_markdown(const struct settings_table *table, struct buffer *into)
{
	for_each_by_section(table, into, NULL, begin_markdown, print_markdown);
}

/* ---- a configuration file ---- */

static void begin_file(const char *section, struct buffer *into)
{
	add_format(into, "%s[%s]\n", into->size > 0 ? "\n" : "", section);
}

/* Whether a line may end before this byte: the reader drops blanks around it, and could take the
 * rest for a comment or for a setting. */
static bool may_break(const struct settings_table *table, const char *text, size_t at)
{
	return strchr(" ;#", text[at]) == NULL && (text[at] & 0xc0) != 0x80 &&
	       text[at - 1] != ' ' && !settings_is_assignment(table, text + at);
}

/* How much of a long value to put on this line: the last good place within the piece, else the
 * first one behind it. */
static size_t piece_of(const struct settings_table *table, const char *text, size_t size)
{
	size_t at = FILE_VALUE_PIECE;

	while (at > 1 && !may_break(table, text, at))
		at--;
	if (at > 1)
		return at;
	for (at = FILE_VALUE_PIECE + 1; at < size && !may_break(table, text, at); at++)
		;
	return at;
}

static void print_file(const struct settings_table *table, const struct setting *setting,
		       const void *from, struct buffer *into)
{
	char value[SETTING_TEXT_BYTES];
	const char *at = value;

	setting_format(setting, from, value);
	add_wrapped(into, "# ", span_of_string(setting->help));
	add_format(into, "%s =%s", setting->name, *value == '\0' ? "" : " ");
	while (strlen(at) > FILE_VALUE_PIECE) {
		size_t size = piece_of(table, at, strlen(at));

		buffer_append(into, at, size);
		at += size;
		if (*at != '\0')
			add(into, "\n ");
	}
	add_format(into, "%s\n", at);
}

void settings_print_file(const struct settings_table *table, const void *from, struct buffer *into)
{
	ASSERT(from != NULL);
	for_each_by_section(table, into, from, begin_file, print_file);
}
