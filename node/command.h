/*
 * What the commands of annald share: arguments of their own among the settings, complaints. argv has no
 * program name and no command in it; what is taken is removed.
 */
#ifndef NODE_COMMAND_H
#define NODE_COMMAND_H

#include "node/node.h"

/* Whether `--name` is there. */
bool command_take_flag(int *argc, char **argv, const char *name);
/* The value of `--name VALUE` or `--name=VALUE`; NULL: not there, or without one. */
const char *command_take_value(int *argc, char **argv, const char *name);
/* The settings in what is left, over those that `settings` has; prepared. -EINVAL and others. */
int command_read_settings(int argc, char **argv, const char *data_dir,
			  struct node_settings *settings, struct error *error);
/* Whether `--help` or `-h` is there; then the text is printed. */
bool command_help(int argc, char **argv, const char *text);
/* Print the message; gives the code. */
int command_complain(enum node_exit code, const char *message);
/* The exit code for what an operating error is about. */
enum node_exit command_exit_of(int status);
/* Hexadecimal digits. */
#define COMMAND_CLUSTER_TEXT_BYTES (2 * CLUSTER_ID_BYTES + 1)
void command_cluster_text(const uint8_t cluster_id[CLUSTER_ID_BYTES],
			  char text[COMMAND_CLUSTER_TEXT_BYTES]);

#endif
