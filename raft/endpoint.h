/*
 * Where a member is: the address text in raft's configuration, `peerhost:port/clienthost:port#nonce`.
 * It travels in the log, so every member knows the peer and the client address of all others. The
 * nonce (hex) tells a member from an earlier one of the same id that was removed. Also the list of
 * initial members of a new cluster, `1=host:peer/host:client,2=…`. Pure functions.
 */
#ifndef RAFT_ENDPOINT_H
#define RAFT_ENDPOINT_H

#include "base/address.h"
#include "base/limits.h"

/* Two addresses, '/', '#', 16 digits and the closing zero. */
#define ENDPOINT_TEXT_BYTES (2 * ADDRESS_TEXT_BYTES + 18)

struct endpoint {
	char peer[ADDRESS_TEXT_BYTES];
	char client[ADDRESS_TEXT_BYTES];
	uint64_t nonce;
};

void endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_BYTES]);
/* 0, or -EINVAL with what is wrong. */
int endpoint_parse(const char *text, struct endpoint *endpoint, struct error *error);
/* Whether both addresses can be put into an endpoint; -EINVAL with what is wrong. */
int endpoint_set(struct endpoint *endpoint, const char *peer, const char *client, uint64_t nonce,
		 struct error *error);

struct roster_member {
	uint64_t id;
	struct endpoint endpoint; /* nonce 0 */
};

struct roster {
	uint32_t count; /* sorted by id */
	struct roster_member members[LIMIT_MEMBERS];
};

/* -EINVAL: malformed, an id twice or 0, too many, an address twice; *roster is undefined then. */
int roster_parse(const char *text, struct roster *roster, struct error *error);
const struct roster_member *roster_find(const struct roster *roster, uint64_t id); /* NULL: none */
/* The same for the same members, however the text was written. */
uint64_t roster_hash(const struct roster *roster);

#endif
