/*
 * Live subscriptions that want the same records: those of one stream, or of one query. While records
 * are handed out it has a chain of those that it wants. See subscription.h.
 */
#ifndef NODE_AUDIENCE_H
#define NODE_AUDIENCE_H

#include <stdint.h>

struct subscription;

struct subscription_list {
	struct subscription *first, **last;
};

struct audience {
	struct subscription_list live;
	uint32_t chain_first, chain_last; /* of the feed's links: index + 1; 0: none */
	struct audience *touched_next;
};

#endif
