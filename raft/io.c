#include "raft/io.h"

#include "base/assert.h"
#include "base/memory.h"
#include "raft/slow_syscall.h"

#include <errno.h>

/* ---- the transport that raft_uv gets: never used, since send and receive are ours ---- */

static int nowhere_init(struct raft_uv_transport *transport, raft_id id, const char *address)
{
	(void)transport, (void)id, (void)address;
	return 0;
}

static int nowhere_listen(struct raft_uv_transport *transport, raft_uv_accept_cb accepted)
{
	(void)transport, (void)accepted;
	return 0;
}

static int nowhere_connect(struct raft_uv_transport *transport, struct raft_uv_connect *request,
			   raft_id id, const char *address, raft_uv_connect_cb connected)
{
	(void)transport, (void)request, (void)id, (void)address, (void)connected;
	return RAFT_NOCONNECTION;
}

static void nowhere_close(struct raft_uv_transport *transport, raft_uv_transport_close_cb closed)
{
	closed(transport);
}

/* ---- what is replaced ---- */

static int io_start(struct raft_io *raft_io, unsigned tick_ms, raft_io_tick_cb tick,
		    raft_io_recv_cb receive)
{
	struct io *io = (struct io *)raft_io;
	int status = io->disk_start(raft_io, tick_ms, tick, receive);

	if (status == 0)
		io->receive = receive;
	return status;
}

/* When it cannot answer an AppendEntries, libraft 0.15 frees its entries twice: answers are never
 * refused, they are lost. */
static bool is_answer(const struct raft_message *message)
{
	return message->type == RAFT_IO_APPEND_ENTRIES_RESULT ||
	       message->type == RAFT_IO_REQUEST_VOTE_RESULT;
}

static int io_send(struct raft_io *raft_io, struct raft_io_send *request,
		   const struct raft_message *message, raft_io_send_cb done)
{
	struct io *io = (struct io *)raft_io;
	struct raft_message trimmed = *message;
	const char *endpoint = NULL;

	if (!io->muted && io->closed == NULL)
		endpoint = io->endpoint_of(io->arg, message->server_id);
	if (!io->muted && io->closed == NULL && endpoint == NULL)
		endpoint = message->server_address;
	if (is_answer(message)) {
		transport_send_or_lose(io->transport, endpoint, request, message, done);
		return 0;
	}
	if (endpoint == NULL)
		return RAFT_NOCONNECTION;
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		trimmed.append_entries.n_entries = wire_entries_that_fit(&message->append_entries);
	return transport_send(io->transport, endpoint, request, &trimmed, done);
}

static void maybe_closed(struct io *io)
{
	ASSERT(io->closed != NULL);
	if (io->sends_done && io->disk_done)
		io->closed(&io->raft_io);
}

static void on_sends_done(void *arg)
{
	struct io *io = arg;

	io->sends_done = true;
	maybe_closed(io);
}

static void on_disk_closed(struct raft_io *raft_io)
{
	struct io *io = (struct io *)raft_io;

	/* raft_uv 0.15 calls for each of its handles that closes after all else is done. */
	if (io->disk_done)
		return;
	io->disk_done = true;
	maybe_closed(io);
}

static void on_closer_closed(uv_handle_t *handle)
{
	struct io *io = handle->data;

	io->disk_close(&io->raft_io, on_disk_closed);
}

static void maybe_close_disk(struct io *io)
{
	if (io->closed == NULL || io->appends > 0)
		return;
	uv_timer_init(io->loop, &io->closer);
	io->closer.data = io;
	uv_close((uv_handle_t *)&io->closer, on_closer_closed);
}

struct appending {
	struct raft_io_append request; /* first */
	struct io *io;
	struct raft_io_append *outer;
	raft_io_append_cb appended;
};

static void on_appended(struct raft_io_append *request, int status)
{
	struct appending *appending = (struct appending *)request;
	struct io *io = appending->io;

	ASSERT(io->appends > 0);
	appending->appended(appending->outer, status);
	memory_free(appending);
	io->appends--;
	maybe_close_disk(io);
}

static int io_append(struct raft_io *raft_io, struct raft_io_append *request,
		     const struct raft_entry entries[], unsigned count, raft_io_append_cb appended)
{
	struct io *io = (struct io *)raft_io;
	struct appending *appending = memory_zeroed(1, sizeof *appending);

	appending->io = io;
	appending->outer = request;
	appending->appended = appended;
	int status = io->disk_append(raft_io, &appending->request, entries, count, on_appended);

	if (status == 0)
		io->appends++;
	else
		memory_free(appending);
	return status;
}

/* libraft's log goes when this is done: until then the sends may still read from it. */
static void io_close(struct raft_io *raft_io, raft_io_close_cb closed)
{
	struct io *io = (struct io *)raft_io;

	ASSERT(io->closed == NULL);
	io->closed = closed;
	io->receive = NULL;
	transport_disconnect(io->transport, on_sends_done, io);
	maybe_close_disk(io);
}

int io_open(struct io *io, struct uv_loop_s *loop, const char *directory, size_t segment_bytes,
	    struct transport *transport, struct error *error)
{
	memset(io, 0, sizeof *io);
	io->nowhere.init = nowhere_init;
	io->nowhere.listen = nowhere_listen;
	io->nowhere.connect = nowhere_connect;
	io->nowhere.close = nowhere_close;
	io->transport = transport;
	io->loop = loop;
	slow_syscall_apart();
	int status = raft_uv_init(&io->raft_io, loop, directory, &io->nowhere);

	if (status != 0)
		return error_set(error, -EINVAL, "open the log in %s: %s", directory,
				 raft_strerror(status));
	/* raft_uv has async_work but does not say so; snapshots that wait off the loop need it. */
	io->raft_io.version = 2;
	raft_uv_set_auto_recovery(&io->raft_io, false);
	raft_uv_set_segment_size(&io->raft_io, segment_bytes);
	io->disk_start = io->raft_io.start;
	io->disk_close = io->raft_io.close;
	io->raft_io.start = io_start;
	io->disk_append = io->raft_io.append;
	io->raft_io.send = io_send;
	io->raft_io.append = io_append;
	io->raft_io.close = io_close;
	return 0;
}

void io_free(struct io *io)
{
	raft_uv_close(&io->raft_io);
}

void io_receive(struct io *io, struct raft_message *message)
{
	if (io->receive == NULL || io->muted)
		wire_release(message);
	else
		io->receive(&io->raft_io, message);
}
