/* Programs without libannal: whole_plain.c, whole_plain_append.c, whole_window.c. */
#ifndef WHOLE_WHOLE_PLAIN_H
#define WHOLE_WHOLE_PLAIN_H

#include "client/decode.h"
#include "client/link.h"
#include "client/wire.h"
#include "tests/sim/whole/whole.h"

struct plain {
	struct link link;
	unsigned node; /* 0: no connection */
	uint64_t heard_at;
};

void plain_init(struct plain *plain);
/* False: it failed at once, and there is no connection. */
bool plain_open(struct plain *plain, unsigned node);
void plain_close(struct plain *plain);
void plain_write(struct plain *plain, struct span bytes);
/* Send, and receive if it reads, after waiting so long at most. False: the connection is lost. */
bool plain_turn(struct plain *plain, uint32_t wait_ms, bool reads);
/* The next message that was received, which lasts until the next turn; false: there is none. */
bool plain_next(struct plain *plain, struct decode_message *message);

#endif
