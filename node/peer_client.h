/*
 * A connection to another node's client port, as a MessagePack-RPC client over libuv: used to forward
 * appends to the leader and to pull records. One connection, made on demand, with requests in flight
 * in order; answers are scanned and bounded like anybody's bytes. Loop thread.
 */
#ifndef NODE_PEER_CLIENT_H
#define NODE_PEER_CLIENT_H

#include "base/address.h"
#include "base/buffer.h"

struct uv_loop_s;
struct peer_client;

enum peer_result {
	PEER_ANSWERED,   /* error (a map, or empty) and result are set */
	PEER_NEVER_SENT, /* no byte of it left this node: safe to send again */
	PEER_UNKNOWN,    /* the connection broke after it was sent */
};

struct peer_call {
	/* Called exactly once; spans are valid during the call. */
	void (*done)(struct peer_call *call, enum peer_result result, struct span error,
		     struct span value);
	struct peer_call *next; /* private */
	uint32_t msgid;         /* private */
	bool sent;              /* private */
};

struct peer_client *peer_client_new(struct uv_loop_s *loop, const char *address);
/* `params` is one msgpack map, copied. Bytes of one turn of the loop go out in one write. */
void peer_client_call(struct peer_client *client, struct peer_call *call, const char *method,
		      struct span params);
size_t peer_client_unsent(const struct peer_client *client);
/* Calls that were not sent yet end as PEER_NEVER_SENT before it returns; the others go on. */
void peer_client_retire(struct peer_client *client);
/* Calls in flight end (as said above) before it returns; the handle closes later. */
void peer_client_free(struct peer_client *client);

#endif
