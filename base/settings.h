/*
 * Settings from one table: each line names a field of a struct once and gives its kind, bounds,
 * unit, default and prose; the configuration file (INI, by inih), the environment (PREFIX_NAME),
 * the command line (--name), --help and the documentation page all come from it. Later sources win:
 * default < file < environment < flag. Any thread may read the table; after a failure the struct
 * has some fields set and others not.
 */
#ifndef BASE_SETTINGS_H
#define BASE_SETTINGS_H

#include "base/buffer.h"
#include "base/error.h"

#define SETTING_TEXT_BYTES  1024
#define SETTINGS_LINE_BYTES 198 /* of a configuration file, without the newline: inih's bound */

enum setting_kind {
	SETTING_TEXT,  /* char[SETTING_TEXT_BYTES]; UTF-8 without control characters, without a
			  blank at an end, without ';' at the beginning or behind a blank */
	SETTING_U64,   /* uint64_t, decimal */
	SETTING_BYTES, /* uint64_t; "64M", "64 MiB", "1G", "4096" */
	SETTING_BOOL,  /* bool; true/false, yes/no, on/off, 1/0 */
};

struct setting {
	const char *section; /* of the INI file */
	const char *name;    /* "client-listen": the INI key, the flag --client-listen and,
				upper-cased with _, the end of the environment variable */
	enum setting_kind kind;
	size_t offset;             /* of the field in the struct */
	const char *default_value; /* as text; NULL: no default, must be given when `required` */
	uint64_t min, max;         /* SETTING_U64 and SETTING_BYTES; max 0: no upper bound; when
				      `required`, min ≥ 1, so that 0 says that it is missing */
	const char *placeholder;   /* in --help: "HOST:PORT" */
	bool required;
	const char *help; /* a sentence or two, with the unit */
};

struct settings_table {
	const struct setting *settings;
	size_t count;
	const char *environment_prefix; /* "ANNAL_" */
};

/* Fill in every default. */
void settings_set_defaults(const struct settings_table *table, void *into);
/* Set one by its name. -ENOENT for an unknown name, -EINVAL for a bad value; the message says what
 * would be right, and which names come near. */
int settings_set(const struct settings_table *table, void *into, const char *name,
		 const char *value, struct error *error);
/*
 * `[section]`, `name = value`, `;` or `#` in front of a comment. A line that begins with a blank
 * goes on with the value before it (lines are short: SETTINGS_LINE_BYTES). A name given twice is
 * refused. -errno when it cannot be read, -EINVAL, -ENOENT; the message names the file and the
 * line.
 */
int settings_read_file(const struct settings_table *table, void *into, const char *path,
		       struct error *error);
/* Variables of the prefix that the table does not know are somebody else's and left alone. */
int settings_read_environment(const struct settings_table *table, void *into, struct error *error);
/*
 * Flags `--name VALUE` and `--name=VALUE`; a SETTING_BOOL may stand without a value: true. They end
 * before the first argument that is no flag, or after `--`: the rest, argv[*first_operand…], is the
 * caller's. `--config FILE` is read first, then the environment, then the flags, whatever their
 * order. --help and --version are the caller's to look for before.
 */
int settings_read_arguments(const struct settings_table *table, void *into, int argc, char **argv,
			    int *first_operand, struct error *error);
/* -EINVAL when a required one is missing. */
int settings_check(const struct settings_table *table, const void *from, struct error *error);
void settings_print_help(const struct settings_table *table, struct buffer *into); /* a terminal */
void settings_print_markdown(const struct settings_table *table, struct buffer *into); /* docs/ */
void settings_print_file(const struct settings_table *table, const void *from,
			 struct buffer *into); /* the values in force, as a configuration file;
						  long ones go on over several lines */

#endif
