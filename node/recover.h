/*
 * `annald recover --data DIR [--inspect | --accept-loss] [--SETTING VALUE]...`: when most voters of a
 * cluster are gone for good, go on with what one of its nodes has.
 *
 *   --inspect       print how far this folder goes, as `name: value`, and change nothing
 *   (neither)       print what would be done, and change nothing
 *   --accept-loss   do it: every command in the log is applied to the store, whether it was agreed upon or
 *                   not; then a NEW cluster begins behind it, of this node alone
 *
 * Cut off in the middle, the folder carries a mark that no node starts on; the same command again does the
 * rest. What was done so far does no harm to it: each step can be done twice.
 */
#ifndef NODE_RECOVER_H
#define NODE_RECOVER_H

/* argv: what is behind "recover". An exit code of annald (node/node.h). */
int recover_command(int argc, char **argv);

#endif
