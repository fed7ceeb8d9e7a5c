/*
 * Sessions gather output; what they have is sent once at the end of a turn of the loop (on_turn_end),
 * tried at once, the rest by uv_write. Ends are dealt with there, too, never within a callback of the
 * session: whoever finds a reason marks the stream as dirty.
 */
#include "node/stream.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/node.h"
#include "node/output.h"
#include "node/read.h"
#include "node/session.h"
#include "node/stats.h"
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define RECEIVE_BYTES  (256 * KIB)
#define PEER_NAME_SIZE 80

enum connection { CONNECTION_OPEN, CONNECTION_CLOSING, CONNECTION_LINGERING, CONNECTION_GONE };

/* What was moved since when. */
struct pace {
	int64_t since_ms; /* 0: nothing to complain about */
	uint64_t bytes;   /* moved at that time */
};

struct stream {
	uv_tcp_t tcp;
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct streams *streams;
	struct session *session; /* NULL: refused */
	enum connection state;
	bool reading, writing, dirty;
	bool ended;            /* the other side sends no more */
	bool broken;           /* nothing can be sent any more */
	struct output sending; /* with uv_write while `writing` */
	struct output pending; /* behind it */
	uint64_t written;      /* bytes given to the socket in all */
	struct pace in_pace, out_pace;
	uint64_t last_message; /* number of the message that in_pace is about */
	int64_t linger_until_ms;
	struct stream *next, **link;
	struct stream *dirty_next;
};

struct streams {
	struct node *node;
	uv_prepare_t turn;
	uv_idle_t awake; /* active while a stream is dirty: the loop must not sleep then */
	uv_timer_t check;
	unsigned handles;
	struct stream *first;
	struct stream *dirty;
	uint32_t count, refused;
	uint8_t *receive; /* RECEIVE_BYTES, shared: what comes is handled before the next read */
};

static void mark_dirty(struct stream *stream);

static const struct node_settings *settings_of(const struct stream *stream)
{
	return &stream->streams->node->settings;
}

/* ---- reading ---- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct stream *stream = handle->data;

	(void)suggested;
	*buf = uv_buf_init((char *)stream->streams->receive, stream->streams->node->input.pressed
								     ? LIMIT_PRESSED_IN_BYTES
								     : RECEIVE_BYTES);
}

static void on_read(uv_stream_t *tcp, ssize_t count, const uv_buf_t *buf)
{
	struct stream *stream = tcp->data;

	if (count < 0) {
		(void)uv_read_stop(tcp);
		stream->reading = false;
		stream->ended = true;
		stream->broken |= count != UV_EOF;
		mark_dirty(stream);
	} else if (count > 0 && stream->state == CONNECTION_OPEN) {
		session_receive(stream->session, (const uint8_t *)buf->base, (size_t)count);
	}
}

static void set_reading(struct stream *stream, bool reading)
{
	if (stream->reading == reading || stream->ended || stream->state == CONNECTION_GONE)
		return;
	stream->reading = reading;
	if (!reading) {
		(void)uv_read_stop((uv_stream_t *)&stream->tcp);
	} else if (uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read) < 0) {
		stream->broken = true;
		mark_dirty(stream);
	}
}

/* ---- writing ---- */

static void send_pending(struct stream *stream);

static size_t unsent(const struct stream *stream)
{
	size_t waiting = stream->writing
				 ? uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp)
				 : 0;

	return waiting + stream->pending.bytes;
}

static void clear_sent(struct stream *stream)
{
	output_clear(&stream->sending, reader_pages(stream->streams->node->reader));
}

static void on_written(uv_write_t *write, int status)
{
	struct stream *stream = write->data;

	stream->writing = false;
	if (stream->state == CONNECTION_GONE) { /* and so may be the node's other parts */
		output_close(&stream->sending);
		return;
	}
	clear_sent(stream);
	if (status < 0)
		stream->broken = true;
	else
		send_pending(stream);
	if (stream->session != NULL)
		session_set_unsent(stream->session, unsent(stream));
	mark_dirty(stream);
}

/* `sending` behind its first bytes, for libuv. */
static unsigned buffers_to_send(const struct stream *stream, size_t sent,
				uv_buf_t buffers[OUTPUT_PARTS])
{
	struct span spans[OUTPUT_PARTS];
	unsigned count = output_spans(&stream->sending, sent, spans);

	for (unsigned i = 0; i < count; i++)
		buffers[i] = uv_buf_init((char *)(uintptr_t)spans[i].data, (unsigned)spans[i].size);
	return count;
}

static void write_rest(struct stream *stream, size_t sent)
{
	uv_buf_t buffers[OUTPUT_PARTS];
	unsigned count = buffers_to_send(stream, sent, buffers);

	stream->write.data = stream;
	stream->writing = true;
	if (uv_write(&stream->write, (uv_stream_t *)&stream->tcp, buffers, count, on_written) < 0) {
		stream->writing = false;
		stream->broken = true;
		mark_dirty(stream);
	}
}

/* What came since the last time, in one system call. */
static void send_pending(struct stream *stream)
{
	struct output empty = stream->sending;
	uv_buf_t buffers[OUTPUT_PARTS];

	if (stream->broken || stream->state == CONNECTION_GONE)
		output_close(&stream->pending);
	if (stream->writing || stream->pending.bytes == 0)
		return;
	ASSERT(empty.count == 0);
	stream->sending = stream->pending;
	stream->pending = empty;
	stream->written += stream->sending.bytes;
	unsigned count = buffers_to_send(stream, 0, buffers);
	int sent = uv_try_write((uv_stream_t *)&stream->tcp, buffers, count);

	if (sent < 0 || (size_t)sent < stream->sending.bytes)
		write_rest(stream, sent > 0 ? (size_t)sent : 0);
	else
		clear_sent(stream);
	if (stream->session != NULL)
		session_set_unsent(stream->session, unsent(stream));
}

/* Sent when the turn ends, with what else there is then. */
static void transport_write(void *arg, struct buffer *out)
{
	struct stream *stream = arg;

	output_add(&stream->pending, out);
	if (stream->session != NULL)
		session_set_unsent(stream->session, unsent(stream));
}

static void transport_pause(void *arg, bool paused)
{
	struct stream *stream = arg;

	if (stream->state == CONNECTION_OPEN)
		set_reading(stream, !paused);
}

static void transport_close(void *arg)
{
	struct stream *stream = arg;

	if (stream->state == CONNECTION_OPEN)
		stream->state = CONNECTION_CLOSING;
	mark_dirty(stream);
}

static void transport_dirty(void *arg)
{
	mark_dirty(arg);
}

/* ---- the end ---- */

static void on_closed(uv_handle_t *handle)
{
	struct stream *stream = handle->data;

	output_close(&stream->sending);
	output_close(&stream->pending);
	memory_free(stream);
}

static void unlink_dirty(struct stream *stream)
{
	struct stream **link = &stream->streams->dirty;

	while (stream->dirty && *link != stream)
		link = &(*link)->dirty_next;
	if (stream->dirty)
		*link = stream->dirty_next;
	stream->dirty = false;
}

/* The session goes before the state: what it does at its end finds an ordinary stream. */
static void end_stream(struct stream *stream)
{
	struct session *session = stream->session;

	ASSERT(stream->state != CONNECTION_GONE);
	stream->broken = true;
	stream->session = NULL;
	if (session != NULL)
		session_free(session);
	unlink_dirty(stream);
	stream->state = CONNECTION_GONE;
	*stream->link = stream->next;
	if (stream->next != NULL)
		stream->next->link = stream->link;
	if (session != NULL)
		stream->streams->count--;
	else
		stream->streams->refused--;
	uv_close((uv_handle_t *)&stream->tcp, on_closed);
}

static void on_shut_down(uv_shutdown_t *shutdown, int status)
{
	struct stream *stream = shutdown->data;

	if (status < 0 && stream->state != CONNECTION_GONE) {
		stream->broken = true;
		mark_dirty(stream);
	}
}

/*
 * A socket that is closed with bytes unread is reset, and the other side might never see the last
 * words: so what it still sends is taken in and thrown away for a while.
 */
static void linger(struct stream *stream)
{
	stream->state = CONNECTION_LINGERING;
	stream->linger_until_ms = clock_monotonic_ms() + LIMIT_HANDSHAKE_MS;
	stream->shutdown.data = stream;
	if (uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shut_down) < 0)
		stream->broken = true;
	set_reading(stream, true);
}

/* Whether the other side, which has ended, still waits for something. */
static bool is_awaited(const struct stream *stream)
{
	return stream->session != NULL && session_owes_answer(stream->session);
}

static void settle(struct stream *stream)
{
	bool all_sent = !stream->writing && stream->pending.bytes == 0;

	if (stream->state == CONNECTION_CLOSING && all_sent && !stream->broken)
		linger(stream);
	if (stream->broken || (stream->ended && stream->state == CONNECTION_LINGERING) ||
	    (stream->ended && all_sent && !is_awaited(stream)))
		end_stream(stream);
}

/* ---- the turn of the loop ---- */

static void on_awake(uv_idle_t *idle)
{
	(void)idle;
}

static void mark_dirty(struct stream *stream)
{
	struct streams *streams = stream->streams;

	if (stream->dirty || stream->state == CONNECTION_GONE)
		return;
	if (streams->dirty == NULL)
		uv_idle_start(&streams->awake, on_awake);
	stream->dirty = true;
	stream->dirty_next = streams->dirty;
	streams->dirty = stream;
}

/* What becomes dirty meanwhile has its turn after the next poll, which does not wait then. */
static void on_turn_end(uv_prepare_t *prepare)
{
	struct streams *streams = prepare->data;
	struct stream *stream = streams->dirty, *next;

	streams->dirty = NULL;
	for (; stream != NULL; stream = next) {
		next = stream->dirty_next;
		stream->dirty = false;
		if (stream->session != NULL)
			session_flush(stream->session);
		send_pending(stream);
		settle(stream);
	}
	if (streams->dirty == NULL)
		uv_idle_stop(&streams->awake);
}

/* ---- who is stuck ---- */

/* Whether `moved` has grown too slowly since the pace was set. */
static bool is_too_slow(struct pace *pace, bool active, uint64_t moved, uint64_t slowest,
			int64_t now_ms)
{
	if (!active) {
		pace->since_ms = 0;
		return false;
	}
	if (pace->since_ms == 0) {
		*pace = (struct pace){.since_ms = now_ms, .bytes = moved};
		return false;
	}
	uint64_t allowed_ms = LIMIT_HANDSHAKE_MS + (moved - pace->bytes) * 1000u / slowest;

	return (uint64_t)(now_ms - pace->since_ms) > allowed_ms;
}

static bool is_in_stuck(struct stream *stream, int64_t now_ms)
{
	bool in_message = stream->state == CONNECTION_OPEN && stream->reading &&
			  session_in_message(stream->session);

	if (stream->session == NULL)
		return false;
	if (session_message_count(stream->session) != stream->last_message) {
		stream->last_message = session_message_count(stream->session);
		stream->in_pace.since_ms = 0;
	}
	uint64_t slowest =
		session_has_turn(stream->session) ? STREAM_SLOWEST_IN_TURN : STREAM_SLOWEST;

	return is_too_slow(&stream->in_pace, in_message, session_message_bytes(stream->session),
			   slowest, now_ms);
}

static bool is_out_stuck(struct stream *stream, int64_t now_ms)
{
	size_t waiting = unsent(stream);
	bool over = waiting > settings_of(stream)->out_queue_bytes ||
		    (stream->state == CONNECTION_CLOSING && waiting > 0);

	return is_too_slow(&stream->out_pace, over,
			   stream->written + stream->pending.bytes - waiting, STREAM_SLOWEST,
			   now_ms);
}

static void check(struct stream *stream, int64_t now_ms)
{
	if (stream->state == CONNECTION_LINGERING) {
		if (now_ms >= stream->linger_until_ms)
			end_stream(stream);
	} else if (is_out_stuck(stream, now_ms)) {
		log_info("stream", "cut off a client that does not read", "unsent=%zu",
			 unsent(stream));
		stream->streams->node->counters->connections_cut++;
		end_stream(stream);
	} else if (is_in_stuck(stream, now_ms)) {
		session_fail(stream->session, ANSWER_INVALID_ARGUMENT,
			     "a message was begun and not finished in time");
	} else if (stream->writing && stream->session != NULL) {
		session_set_unsent(stream->session, unsent(stream));
	}
}

static void on_check(uv_timer_t *timer)
{
	struct streams *streams = timer->data;
	int64_t now_ms = clock_monotonic_ms();
	struct stream *next;

	for (struct stream *stream = streams->first; stream != NULL; stream = next) {
		next = stream->next;
		check(stream, now_ms);
	}
	if (streams->first == NULL)
		uv_timer_stop(timer);
}

/* ---- doors ---- */

struct streams *streams_new(struct node *node)
{
	struct streams *streams = memory_zeroed(1, sizeof *streams);

	streams->node = node;
	streams->receive = memory_alloc(RECEIVE_BYTES);
	uv_prepare_init(node->loop, &streams->turn);
	uv_idle_init(node->loop, &streams->awake);
	uv_timer_init(node->loop, &streams->check);
	streams->handles = 3;
	streams->turn.data = streams;
	streams->awake.data = streams;
	streams->check.data = streams;
	uv_prepare_start(&streams->turn, on_turn_end);
	return streams;
}

static void on_streams_closed(uv_handle_t *handle)
{
	struct streams *streams = handle->data;

	ASSERT(streams->handles > 0);
	if (--streams->handles > 0)
		return;
	memory_free(streams->receive);
	memory_free(streams);
}

void streams_free(struct streams *streams)
{
	ASSERT(streams->first == NULL && streams->dirty == NULL);
	uv_close((uv_handle_t *)&streams->turn, on_streams_closed);
	uv_close((uv_handle_t *)&streams->awake, on_streams_closed);
	uv_close((uv_handle_t *)&streams->check, on_streams_closed);
}

/* NULL: it could not be had, and the socket is closed. */
static struct stream *new_stream(struct streams *streams, int fd)
{
	struct stream *stream = memory_zeroed(1, sizeof *stream);

	stream->streams = streams;
	if (uv_tcp_init(streams->node->loop, &stream->tcp) < 0) {
		close(fd);
		memory_free(stream);
		return NULL;
	}
	stream->tcp.data = stream;
	if (uv_tcp_open(&stream->tcp, fd) < 0) {
		close(fd);
		stream->state = CONNECTION_GONE;
		uv_close((uv_handle_t *)&stream->tcp, on_closed);
		return NULL;
	}
	(void)uv_tcp_nodelay(&stream->tcp, 1);
	stream->next = streams->first;
	stream->link = &streams->first;
	if (stream->next != NULL)
		stream->next->link = &stream->next;
	streams->first = stream;
	if (!uv_is_active((uv_handle_t *)&streams->check))
		uv_timer_start(&streams->check, on_check, STREAM_CHECK_MS, STREAM_CHECK_MS);
	return stream;
}

static void name_peer(int fd, char name[PEER_NAME_SIZE])
{
	struct sockaddr_storage address;
	socklen_t size = sizeof address;
	char host[64], port[8];

	if (getpeername(fd, (struct sockaddr *)&address, &size) == 0 &&
	    getnameinfo((struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(name, PEER_NAME_SIZE, "%s:%s", host, port);
	else
		snprintf(name, PEER_NAME_SIZE, "unknown");
}

void streams_open(struct streams *streams, int fd)
{
	char name[PEER_NAME_SIZE];

	name_peer(fd, name);
	struct stream *stream = new_stream(streams, fd);

	if (stream == NULL)
		return;
	const struct session_transport transport = {.arg = stream,
						    .write = transport_write,
						    .pause = transport_pause,
						    .close = transport_close,
						    .dirty = transport_dirty};

	stream->session = session_new(streams->node, &transport, name);
	streams->count++;
	set_reading(stream, true);
}

void streams_refuse(struct streams *streams, int fd)
{
	if (streams->refused >= STREAM_REFUSED) {
		close(fd);
		return;
	}
	struct stream *stream = new_stream(streams, fd);

	if (stream == NULL)
		return;
	struct buffer refusal;

	streams->refused++;
	buffer_init(&refusal);
	session_write_last_error(&refusal, ANSWER_OVERLOADED,
				 "this node has as many connections as it may have");
	output_add(&stream->pending, &refusal);
	buffer_close(&refusal);
	stream->state = CONNECTION_CLOSING;
	send_pending(stream);
	mark_dirty(stream);
}

uint32_t streams_count(const struct streams *streams)
{
	return streams->count;
}

uint32_t streams_requests_in_flight(const struct streams *streams)
{
	uint32_t requests = 0;

	for (const struct stream *stream = streams->first; stream != NULL; stream = stream->next)
		if (stream->session != NULL)
			requests += session_requests_in_flight(stream->session);
	return requests;
}

void streams_stop_reading(struct streams *streams)
{
	for (struct stream *stream = streams->first; stream != NULL; stream = stream->next)
		if (stream->state == CONNECTION_OPEN)
			set_reading(stream, false);
}

void streams_close_all(struct streams *streams)
{
	for (struct stream *stream = streams->first; stream != NULL; stream = stream->next)
		transport_close(stream);
}

void streams_kill_all(struct streams *streams)
{
	while (streams->first != NULL)
		end_stream(streams->first);
	uv_timer_stop(&streams->check);
}
