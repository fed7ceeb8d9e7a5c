/*
 * What one node tells another with a request that it sends on, and what it makes of the answer. Behind the
 * client's own params stand four more, of which the last of a name counts:
 *
 *   forward: false        the other node is to lead, or to say NOT_LEADER
 *   timeout_ms            what is left of the client's
 *   forward_turn          see node/route.h
 *   forward_term          in which the other node leads: in any other term it is to refuse. So what was sent to
 *                         a leader is proposed in its term or never, however late it is read
 *
 * Pure functions. Loop thread.
 */
#ifndef NODE_FORWARD_H
#define NODE_FORWARD_H

#include "node/request.h"

#define FORWARD_BYTES 128u /* what is added, at most */

/* What an error of the other node says. */
enum forward_verdict {
	FORWARD_DECIDED, /* by the log, or by what the request is: the same wherever it is sent */
	FORWARD_REFUSED, /* not proposed, for want of leadership */
	FORWARD_UNKNOWN, /* it may have been proposed */
	FORWARD_OTHER,   /* not proposed: it says nothing about an earlier sending */
};

/* Replaces what is in the buffer by the params to send. */
void forward_write(struct buffer *into, const struct request *request, uint64_t turn,
		   uint64_t term);
uint64_t forward_turn_of(const struct request *request); /* 0: none */
uint64_t forward_term_of(const struct request *request); /* 0: any */
enum forward_verdict forward_verdict_of(struct span error);

#endif
