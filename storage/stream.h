/* What is known of one stream (or, with versions counting events, of a category, type or tag). */
#ifndef STORAGE_STREAM_H
#define STORAGE_STREAM_H

#include "storage/outcome.h"

struct stream_facts {
	uint64_t version;       /* of the last event; 0: none */
	uint64_t first_version; /* of the first event that is readable; 0: none */
	int64_t created;        /* of that first event, ns */
	int64_t updated;        /* of the last event, ns */
	enum stream_state state;
};

#endif
