/*
 * The address of a cluster: annal://HOST:PORT[,…][/][?OPTION=VALUE[&…]], as annal.h specifies it.
 * Parsing touches nothing but its arguments.
 */
#ifndef CLIENT_URI_H
#define CLIENT_URI_H

#include "base/address.h"
#include "client/annal.h"

#define URI_TEXT_BYTES 256

enum uri_read_from { URI_READ_FROM_LEADER, URI_READ_FROM_FOLLOWER, URI_READ_FROM_ANY };

struct uri {
	struct address addresses[ANNAL_NODES_MAX];
	uint32_t count;
	enum uri_read_from read_from;
	uint32_t timeout_ms;
	bool session;
	bool follow; /* nodes that the cluster names, too */
	char client[URI_TEXT_BYTES];
	char user[URI_TEXT_BYTES], password[URI_TEXT_BYTES], token[URI_TEXT_BYTES]; /* "": none */
};

/* 0, or -EINVAL with a message that names what is wrong and what would be right. */
int uri_parse(const char *text, struct uri *uri, struct error *error);

#endif
