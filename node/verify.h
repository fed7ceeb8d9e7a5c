/* `annald verify DIR`: check the data of a node, offline. */
#ifndef NODE_VERIFY_H
#define NODE_VERIFY_H

/* The arguments behind the word. Prints a report; the exit code (node.h, enum node_exit). */
int verify_command(int argc, char **argv);

#endif
