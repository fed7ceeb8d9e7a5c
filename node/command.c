#include "node/command.h"

#include "base/assert.h"
#include "base/memory.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static void take(int *argc, char **argv, int at, int count)
{
	ASSERT(at + count <= *argc);
	for (int i = at; i + count < *argc; i++)
		argv[i] = argv[i + count];
	*argc -= count;
}

bool command_take_flag(int *argc, char **argv, const char *name)
{
	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], name) != 0)
			continue;
		take(argc, argv, i, 1);
		return true;
	}
	return false;
}

const char *command_take_value(int *argc, char **argv, const char *name)
{
	size_t size = strlen(name);

	for (int i = 0; i < *argc; i++) {
		const char *argument = argv[i], *value;

		if (strncmp(argument, name, size) != 0)
			continue;
		if (argument[size] == '=') {
			take(argc, argv, i, 1);
			return argument + size + 1;
		}
		if (argument[size] != '\0' || i + 1 == *argc)
			continue;
		value = argv[i + 1];
		take(argc, argv, i, 2);
		return value;
	}
	return NULL;
}

int command_read_settings(int argc, char **argv, const char *data_dir,
			  struct node_settings *settings, struct error *error)
{
	char **all = memory_zeroed((size_t)argc + 4, sizeof *all);
	char program[] = "annald", flag[] = "--data-dir", folder[SETTING_TEXT_BYTES];
	int first_operand, count = 0;
	int size = snprintf(folder, sizeof folder, "%s", data_dir);

	if (size >= (int)sizeof folder) {
		memory_free(all);
		return error_set(error, -EINVAL, "the name of the folder is too long");
	}
	all[count++] = program;
	for (int i = 0; i < argc; i++)
		all[count++] = argv[i];
	all[count++] = flag;
	all[count++] = folder;
	int status = settings_read_arguments(&node_settings_table, settings, count, all,
					     &first_operand, error);

	if (status == 0 && first_operand < count)
		status = error_set(error, -EINVAL, "\"%.100s\" is not expected here",
				   all[first_operand]);
	memory_free(all);
	return status != 0 ? status : node_settings_prepare(settings, error);
}

bool command_help(int argc, char **argv, const char *text)
{
	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
			continue;
		puts(text);
		return true;
	}
	return false;
}

int command_complain(enum node_exit code, const char *message)
{
	fprintf(stderr, "annald: %s\n", message);
	return (int)code;
}

enum node_exit command_exit_of(int status)
{
	switch (status) {
	case -EBADMSG:
		return NODE_EXIT_DAMAGE;
	case -EXDEV:
		return NODE_EXIT_OTHER;
	case -EINVAL:
		return NODE_EXIT_USAGE;
	default:
		return NODE_EXIT_DIRECTORY;
	}
}

void command_cluster_text(const uint8_t cluster_id[CLUSTER_ID_BYTES],
			  char text[COMMAND_CLUSTER_TEXT_BYTES])
{
	for (size_t i = 0; i < CLUSTER_ID_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", cluster_id[i]);
}
