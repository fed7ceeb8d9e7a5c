/*
 * From a whole message to the method that answers it. Every request is answered within its
 * timeout_ms, whatever the method does. Loop thread.
 */
#ifndef NODE_DISPATCH_H
#define NODE_DISPATCH_H

#include "base/span.h"

struct node;
struct session;

/* `params` is a msgpack array that a scanner has passed. Spans are valid during the call only. */
void dispatch_request(struct node *node, struct session *session, uint32_t msgid,
		      struct span method, struct span params);
/* Unknown ones are ignored, as MessagePack-RPC wants it. */
void dispatch_notification(struct node *node, struct session *session, struct span method,
			   struct span params);

#endif
