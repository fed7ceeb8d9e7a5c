/*
 * The raft_io under the guard: the disk by raft_uv, the network by raft/transport. raft_uv is given a
 * transport that does nothing; its send, start, append and close are replaced by ours.
 *
 * raft_uv is closed only once it has nothing to write: it would cancel what it has not begun, and for
 * each canceled append libraft 0.15 truncates its log again, beyond its end.
 *
 * Loop thread only.
 */
#ifndef RAFT_IO_H
#define RAFT_IO_H

#include "raft/transport.h"

#include <raft/uv.h>
#include <uv.h>

struct io {
	struct raft_io raft_io; /* first: libraft's callbacks get a pointer to it */
	struct raft_uv_transport nowhere;
	struct transport *transport;
	/* The endpoint of a peer as the configuration has it; NULL: not a member, use the message's. */
	const char *(*endpoint_of)(void *arg, uint64_t peer);
	void *arg;
	bool muted; /* nothing is sent or delivered any more */
	int (*disk_start)(struct raft_io *io, unsigned tick_ms, raft_io_tick_cb tick,
			  raft_io_recv_cb receive);
	int (*disk_append)(struct raft_io *io, struct raft_io_append *request,
			   const struct raft_entry entries[], unsigned count,
			   raft_io_append_cb appended);
	void (*disk_close)(struct raft_io *io, raft_io_close_cb closed);
	uint32_t appends;  /* that the disk has not completed */
	uv_timer_t closer; /* never runs: its closing leads out of raft_uv's callback */
	struct uv_loop_s *loop;
	raft_io_recv_cb receive; /* NULL until started */
	raft_io_close_cb closed;
	bool sends_done, disk_done;
};

/* `directory` exists. 0, or a negative errno with a message; nothing is to be closed then. */
int io_open(struct io *io, struct uv_loop_s *loop, const char *directory, size_t segment_bytes,
	    struct transport *transport, struct error *error);
void io_free(struct io *io); /* after raft_close has called back, or when raft_init failed */
/* Takes the message: to libraft, or nowhere while muted or not started. */
void io_receive(struct io *io, struct raft_message *message);

#endif
