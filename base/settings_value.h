/* Parts of settings.h that its three files share; nobody else includes this. */
#ifndef BASE_SETTINGS_VALUE_H
#define BASE_SETTINGS_VALUE_H

#include "base/settings.h"

#define SETTING_NAME_BYTES 48 /* of names and sections, with the closing zero: inih keeps 49 */

/* Parse the text into the setting's field, untouched on failure. -EINVAL; the message begins with
 * the quoted value, and leaves it to the caller to say where that came from. */
int setting_parse(const struct setting *setting, const char *text, void *into, struct error *error);
/* The field's value as setting_parse takes it. */
void setting_format(const struct setting *setting, const void *from, char text[SETTING_TEXT_BYTES]);
/* A number of bytes with the largest unit that leaves no rest: "64 MiB". */
void setting_format_bytes(uint64_t bytes, char text[SETTING_TEXT_BYTES]);
bool setting_parse_bool(const char *text, bool *value);
/* NULL when there is none. */
const struct setting *settings_find(const struct settings_table *table, const char *name);
/* -ENOENT, naming those that come near. */
int settings_refuse_unknown(const struct settings_table *table, const char *name,
			    struct error *error);
/* Whether the text reads `name = …` or `name: …` with a name of the table. */
bool settings_is_assignment(const struct settings_table *table, const char *text);
/* What stands for the value in --help; never NULL. */
const char *setting_placeholder(const struct setting *setting);
/* "ANNAL_CLIENT_LISTEN" */
void settings_environment_name(const struct settings_table *table, const struct setting *setting,
			       struct buffer *into);

#endif
