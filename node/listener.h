/*
 * The client port: accepts connections up to the setting max-connections and hands them to streams.h.
 * Without file descriptors left it pauses, says so once, and goes on. Loop thread.
 */
#ifndef NODE_LISTENER_H
#define NODE_LISTENER_H

#include "base/address.h"

struct listener;
struct node;
struct streams;

/* A socket that listens, before anything else is touched; nobody is accepted yet. 0, or
 * -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EINVAL with a message that names the address. */
int listener_bind(const struct address *address, const char *setting, int *fd, struct error *error);
/* Takes the socket, also on failure. */
int listener_new(struct listener **listener, struct node *node, int fd, struct error *error);
struct streams *listener_streams(struct listener *listener);
/* No more connections; those that are there stay. */
void listener_stop(struct listener *listener);
/* Its streams are gone. Handles close later, in the loop. */
void listener_free(struct listener *listener);

#endif
