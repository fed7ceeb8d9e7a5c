/*
 * What clients have sent and this node still holds, all of them together: messages that are not whole, and the
 * params of requests that are not answered. Beyond LIMIT_NODE_INPUT_BYTES each connection has less, until there
 * is room again: one with more than LIMIT_PRESSED_IN_BYTES is not read, those with little are read as ever.
 *
 *              over its share, in the          one of LIMIT_INPUT_TURNS                its message is whole,
 *              middle of a message             is free, the oldest first               or it has ended
 *   READ ──────────────────────────► WAITING ────────────────────────────► TURN ──────────────────────► READ
 *     ▲                                 │
 *     └──── the node has room again ────┘
 *
 * Turns are there because the room may be taken by beginnings of messages alone: then nothing would ever be
 * answered, and nothing freed. A connection that is over its share between two messages waits, too, but has no turn:
 * what it has sent is answered, or there is room again.
 *
 * Connections of other nodes count, but never wait for this. Loop thread.
 */
#ifndef NODE_INPUT_BOUND_H
#define NODE_INPUT_BOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum input_state { INPUT_READ, INPUT_WAITING, INPUT_TURN };

/* Of one session, embedded there. */
struct input_share {
	enum input_state state;
	size_t bytes;
	uint64_t message; /* that the turn is for; 0: none */
	bool of_node;
	/* It may be read again: soon, not from here. */
	void (*go_on)(struct input_share *share);
	struct input_share *next, **link; /* among those that wait */
};

struct input_list {
	struct input_share *first, **last;
};

/* All zero to begin with. */
struct input_bound {
	uint64_t bytes; /* of all shares */
	bool pressed;   /* beyond the bound, and not yet well below it */
	uint32_t turns, waiting, nodes;
	struct input_list for_turn, for_room;
};

/* The session holds so many bytes now. */
void input_set(struct input_bound *bound, struct input_share *share, size_t bytes);
/*
 * Whether it may be read; asked whenever what it holds has changed. `message`: the number of the one that it is in
 * the middle of, 0: of none. false: go_on is called when that has changed.
 */
bool input_may_read(struct input_bound *bound, struct input_share *share, uint64_t message);
/* It has said so ("$node"). No more than LIMIT_INPUT_NODES connections are taken for nodes. */
void input_is_of_node(struct input_bound *bound, struct input_share *share);
/* The session goes. */
void input_end(struct input_bound *bound, struct input_share *share);

#endif
