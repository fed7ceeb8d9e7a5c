/*
 * `annald restore FILE --data DIR [--join] [--SETTING VALUE]...`: make a data folder from a backup.
 *
 *   without --join   the first and only voter of a NEW cluster: started with the same settings it serves and
 *                    accepts appends at once; others are added to it, empty
 *   --join           a node that will be added to the SAME cluster: it pulls only what is missing
 *
 * DIR is empty or not there. Until all is done it carries a mark that no node starts on.
 */
#ifndef NODE_RESTORE_H
#define NODE_RESTORE_H

/* argv: what is behind "restore". An exit code of annald (node/node.h). */
int restore_command(int argc, char **argv);

#endif
