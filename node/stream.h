/*
 * One client's TCP connection over libuv, and what all of them share. A stream moves bytes between its
 * socket and its session, and ends a connection that is stuck.
 *
 *   OPEN ──session ended, node stops──► CLOSING ──all written──► LINGERING ──► GONE
 *     │                                    │        (shut down; what still comes is thrown away until
 *     └──────── error, end, stuck ─────────┴──────►  the other side has ended, or for a while)   ▲
 *                                                    └───────────────────────────────────────────┘
 *
 * Stuck: in the middle of a message, or with more than out_queue_bytes unsent, for longer than
 * LIMIT_HANDSHAKE_MS plus the time that what has moved since takes at STREAM_SLOWEST bytes a second, or
 * STREAM_SLOWEST_IN_TURN while others wait for their turn to be read (node/input_bound.h).
 * Loop thread.
 */
#ifndef NODE_STREAM_H
#define NODE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#define STREAM_SLOWEST         (64u * 1024u)
#define STREAM_SLOWEST_IN_TURN (1024u * 1024u)
#define STREAM_CHECK_MS        250
#define STREAM_REFUSED         64u /* connections that wait for the end of their refusal */

struct node;
struct stream;
struct streams;

struct streams *streams_new(struct node *node);
/* None is left. Handles close later, in the loop. */
void streams_free(struct streams *streams);
/* A new connection; takes the socket. */
void streams_open(struct streams *streams, int fd);
/* Tell it that there are too many, then close; takes the socket. */
void streams_refuse(struct streams *streams, int fd);
uint32_t streams_count(const struct streams *streams); /* without those refused */
uint32_t streams_requests_in_flight(const struct streams *streams);
/* Nothing more is read; answers still go out. */
void streams_stop_reading(struct streams *streams);
/* Send what is gathered, then close. */
void streams_close_all(struct streams *streams);
/* Whatever is left ends now, with its session. */
void streams_kill_all(struct streams *streams);

#endif
