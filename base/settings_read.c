/* Settings, second part: the file (by inih), the environment and the command line. */
#include "base/assert.h"
#include "base/memory.h"
#include "base/settings.h"
#include "base/settings_value.h"
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

/* A file being read. inih hands over names and values; the lines are counted and judged here. */
struct reading {
	const struct settings_table *table;
	void *into;
	FILE *file;
	int line;
	bool indented;                  /* this line begins with a blank */
	const struct setting *previous; /* that a line that begins with a blank goes on with */
	char value[SETTING_TEXT_BYTES]; /* of `previous`, so far */
	bool *seen;                     /* one for each setting of the table */
	struct error *error;            /* of the first failure */
	int error_line;                 /* 0: none so far */
	int error_code;
};

static void fail(struct reading *reading, int code)
{
	reading->error_line = reading->line;
	reading->error_code = code;
}

/* inih's reader: one line. It cuts longer ones in two without a word, so they are refused here. */
static char *next_line(char *into, int size, void *arg)
{
	struct reading *reading = arg;

	if (reading->error_line > 0 || fgets(into, size, reading->file) == NULL)
		return NULL;
	size_t length = strlen(into);

	reading->line++;
	reading->indented = into[0] == ' ' || into[0] == '\t';
	if (into[0] == '[')
		reading->previous = NULL;
	if (length > 0 && (into[length - 1] == '\n' || feof(reading->file)))
		return into;
	fail(reading, error_set(reading->error, -EINVAL,
				"the line is longer than %d bytes, or has a zero byte; a line that "
				"begins with a blank goes on with the value before it",
				SETTINGS_LINE_BYTES));
	return NULL;
}

/* Sets `reading->previous` from the text gathered so far plus `more`. */
static int take_value(struct reading *reading, const char *more)
{
	size_t size = strlen(reading->value);
	size_t more_size = strlen(more);

	if (size + more_size >= sizeof reading->value)
		return error_set(reading->error, -EINVAL, "%s: the value is longer than %d bytes",
				 reading->previous->name, SETTING_TEXT_BYTES - 1);
	memcpy(reading->value + size, more, more_size + 1);
	int status =
		setting_parse(reading->previous, reading->value, reading->into, reading->error);

	if (status != 0)
		error_prefix(reading->error, "%s", reading->previous->name);
	return status;
}

static int take_continuation(struct reading *reading, const char *more)
{
	/* An indented `name = …` would silently become part of the value before it. */
	if (settings_is_assignment(reading->table, more))
		return error_set(reading->error, -EINVAL,
				 "'%.80s' is indented: that would go on with the value of '%s' "
				 "before it; begin the line without a blank",
				 more, reading->previous->name);
	return take_value(reading, more);
}

static int take_setting(struct reading *reading, const char *section, const char *name,
			const char *value)
{
	const struct setting *setting = settings_find(reading->table, name);

	if (setting == NULL)
		return settings_refuse_unknown(reading->table, name, reading->error);
	if (strcmp(setting->section, section) != 0)
		return error_set(reading->error, -EINVAL,
				 "'%s' belongs in section [%s], not in [%s]", name,
				 setting->section, section);
	bool *seen = &reading->seen[setting - reading->table->settings];

	if (*seen)
		return error_set(reading->error, -EINVAL, "'%s' is given twice", name);
	*seen = true;
	reading->previous = setting;
	reading->value[0] = '\0';
	return take_value(reading, value);
}

static int handle(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *reading = arg;
	bool goes_on = reading->indented && reading->previous != NULL;

	if (reading->error_line > 0)
		return 0;
	int status = goes_on ? take_continuation(reading, value)
			     : take_setting(reading, section, name, value);

	if (status != 0)
		fail(reading, status);
	return status == 0;
}

/* Parses the open file; `into_error` gets a message without the file's name. */
static int parse_file(struct reading *reading)
{
	int first_bad = ini_parse_stream(next_line, reading, handle, reading);

	if (ferror(reading->file))
		return error_set_errno(reading->error, errno, "cannot be read");
	if (first_bad < 0)
		return error_set(reading->error, -ENOMEM, "there is no memory to read it");
	if (first_bad > 0 && (reading->error_line == 0 || first_bad < reading->error_line)) {
		reading->line = first_bad;
		fail(reading, error_set(reading->error, -EINVAL,
					"is neither '[section]' nor 'name = value' nor a comment"));
	}
	if (reading->error_line > 0)
		error_prefix(reading->error, "line %d", reading->error_line);
	return reading->error_code;
}

int settings_read_file(const struct settings_table *table, void *into, const char *path,
		       struct error *error)
{
	struct reading reading = {.table = table, .into = into, .error = error};
	int status;

	reading.file = fopen(path, "re");
	if (reading.file == NULL)
		return error_set_errno(error, errno, "cannot open configuration file %.300s", path);
	reading.seen = memory_zeroed(table->count, sizeof reading.seen[0]);
	status = parse_file(&reading);
	ASSERT(status <= 0);
	if (status != 0)
		error_prefix(error, "%.300s", path);
	memory_free(reading.seen);
	fclose(reading.file);
	return status;
}

int settings_read_environment(const struct settings_table *table, void *into, struct error *error)
{
	struct buffer variable;
	int status = 0;

	ASSERT(table->environment_prefix != NULL);
	buffer_init(&variable);
	for (size_t i = 0; i < table->count && status == 0; i++) {
		buffer_clear(&variable);
		settings_environment_name(table, &table->settings[i], &variable);
		buffer_append(&variable, "", 1);
		const char *value = getenv((const char *)variable.data);

		if (value == NULL)
			continue;
		status = setting_parse(&table->settings[i], value, into, error);
		if (status != 0)
			error_prefix(error, "environment variable %s", (char *)variable.data);
	}
	buffer_close(&variable);
	return status;
}

/* One flag with its value; `used` arguments long, 0 when the arguments end before it. */
struct flag {
	char name[SETTING_NAME_BYTES];
	const char *value;
	int used;
};

/* Whether a value must follow in the next argument, and what stands for it otherwise. */
static int find_value(const struct settings_table *table, const char *next, struct flag *flag,
		      struct error *error)
{
	const struct setting *setting = settings_find(table, flag->name);
	bool value;

	if (setting == NULL && strcmp(flag->name, "config") != 0)
		return settings_refuse_unknown(table, flag->name, error);
	if (setting != NULL && setting->kind == SETTING_BOOL &&
	    (next == NULL || !setting_parse_bool(next, &value))) {
		flag->value = "true";
		return 0;
	}
	if (next == NULL)
		return error_set(error, -EINVAL, "--%s needs a value: %s", flag->name,
				 setting == NULL ? "FILE" : setting_placeholder(setting));
	flag->value = next;
	flag->used = 2;
	return 0;
}

static int read_flag(const struct settings_table *table, char **argv, struct flag *flag,
		     struct error *error)
{
	const char *argument = argv[0];

	*flag = (struct flag){.used = 0};
	if (argument == NULL || argument[0] != '-' || argument[1] == '\0')
		return 0;
	if (argument[1] != '-')
		return error_set(error, -EINVAL, "'%.100s' is no flag: all begin with '--'",
				 argument);
	size_t size = strcspn(argument + 2, "=");

	if (size >= sizeof flag->name)
		return settings_refuse_unknown(table, argument + 2, error);
	memcpy(flag->name, argument + 2, size);
	flag->used = 1;
	if (size == 0 && argument[2] == '\0')
		return 0; /* "--": the caller sees an empty name */
	if (argument[2 + size] != '=')
		return find_value(table, argv[1], flag, error);
	flag->value = argument + 2 + size + 1;
	if (strcmp(flag->name, "config") != 0 && settings_find(table, flag->name) == NULL)
		return settings_refuse_unknown(table, flag->name, error);
	return 0;
}

static int apply_flag(const struct settings_table *table, void *into, const struct flag *flag,
		      bool config, struct error *error)
{
	if ((strcmp(flag->name, "config") == 0) != config)
		return 0;
	if (config)
		return settings_read_file(table, into, flag->value, error);
	int status = setting_parse(settings_find(table, flag->name), flag->value, into, error);

	if (status != 0)
		error_prefix(error, "--%s", flag->name);
	return status;
}

/* Over all flags: either those named --config, or all others. */
static int read_flags(const struct settings_table *table, void *into, char **argv, bool config,
		      int *first_operand, struct error *error)
{
	int at = 1;

	for (;;) {
		struct flag flag;
		int status = read_flag(table, argv + at, &flag, error);

		if (status != 0)
			return status;
		at += flag.used;
		if (flag.value == NULL)
			break;
		status = apply_flag(table, into, &flag, config, error);
		if (status != 0)
			return status;
	}
	*first_operand = at;
	return 0;
}

int settings_read_arguments(const struct settings_table *table, void *into, int argc, char **argv,
			    int *first_operand, struct error *error)
{
	static char no_name[] = "";
	char *nothing[] = {no_name, NULL};
	char **arguments = argc > 0 ? argv : nothing;
	int operand;

	ASSERT(argc <= 0 || argv[argc] == NULL);
	int status = read_flags(table, into, arguments, true, &operand, error);

	if (status == 0)
		status = settings_read_environment(table, into, error);
	if (status == 0)
		status = read_flags(table, into, arguments, false, &operand, error);
	if (status == 0)
		*first_operand = operand;
	return status;
}
