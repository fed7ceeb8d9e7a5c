/*
 * Hosts, the links between them, and TCP: bytes in order, at most once. What is sent is on its way for a
 * while; behind a cut link it waits, and is tried again until the link is whole. A connection breaks
 * when the nemesis says so, or when one end is gone: the other hears of it by a message of its own.
 */
#include "tests/sim/whole/os.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#define BACKLOG       64
#define RETRY_LOW_NS  (20 * OS_MS) /* what a cut link held is sent again after */
#define RETRY_HIGH_NS (200 * OS_MS)
#define FIRST_PORT    40000

enum segment_kind {
	SEGMENT_SYN,
	SEGMENT_ACCEPTED,
	SEGMENT_REFUSED,
	SEGMENT_DATA,
	SEGMENT_END,
	SEGMENT_RESET
};

struct segment {
	struct segment *next;
	struct os_stream *from;
	enum segment_kind kind;
	bool was_held;
	size_t size;
	uint8_t bytes[];
};

enum stream_state { STREAM_CONNECTING, STREAM_OPEN, STREAM_BROKEN };

struct os_stream {
	struct os_stream *peer;
	struct os_stream *next; /* of all, or in the queue of a listener */
	struct os_process *process;
	unsigned host, peer_host;
	uint16_t port, peer_port;
	uint32_t starts; /* of the process that has it */
	enum stream_state state;
	int error;
	bool closed; /* by its process: nobody has it any more */
	bool sent_end, got_end;
	struct buffer in;
	size_t on_its_way;     /* bytes sent, not yet in the peer's buffer */
	struct segment *first; /* sent by it, on their way */
	struct segment **last;
	uint64_t arrives; /* of the last one sent */
};

struct os_listener {
	struct os_listener *next;
	struct os_process *process;
	uint16_t port;
	unsigned count;
	struct os_stream *queue[BACKLOG];
};

static struct {
	bool cut[OS_PROCESSES][OS_PROCESSES];
	uint64_t delay[OS_PROCESSES][OS_PROCESSES];
	struct os_listener *listeners;
	struct os_stream **streams;
	size_t streams_count, streams_room;
	uint16_t ports;
} net;

static void deliver(void *data);

/* ---- links ---- */

void os_link_cut(unsigned from, unsigned to, bool cut)
{
	net.cut[from][to] = cut;
}

void os_link_delay(unsigned from, unsigned to, uint64_t ns)
{
	net.delay[from][to] = ns;
}

void os_links_heal(void)
{
	memset(net.cut, 0, sizeof net.cut);
	memset(net.delay, 0, sizeof net.delay);
}

static uint64_t draw_latency(unsigned from, unsigned to)
{
	uint64_t ns = os_between(os.profile.latency_low_ns, os.profile.latency_high_ns);

	if (os_chance(os.profile.late))
		ns *= 10;
	os.counters.delayed_messages += net.delay[from][to] > 0;
	return ns + (net.delay[from][to] > 0 ? os_between(0, net.delay[from][to]) : 0);
}

/* ---- sending ---- */

static void schedule(struct os_stream *stream, uint64_t at)
{
	/* In order: nothing overtakes what was sent before it. */
	stream->arrives = at > stream->arrives ? at : stream->arrives;
	os_at(stream->arrives, deliver, stream);
}

static struct segment *send_segment(struct os_stream *stream, enum segment_kind kind, size_t size)
{
	struct segment *segment = memory_zeroed(1, sizeof *segment + size);

	segment->from = stream;
	segment->kind = kind;
	segment->size = size;
	*stream->last = segment;
	stream->last = &segment->next;
	stream->on_its_way += size;
	os.counters.messages++;
	schedule(stream, os.now + draw_latency(stream->host, stream->peer_host));
	return segment;
}

static size_t room(const struct os_stream *stream)
{
	size_t used = stream->on_its_way + (stream->peer == NULL ? 0 : stream->peer->in.size);

	return used < os.profile.window_bytes ? os.profile.window_bytes - used : 0;
}

ssize_t os_stream_send(struct os_stream *stream, const struct iovec *parts, int count)
{
	size_t all = 0, space = room(stream), filled = 0;

	if (stream->error != 0)
		return -os_stream_take_error(stream);
	if (stream->state == STREAM_CONNECTING)
		return -EAGAIN;
	if (stream->state == STREAM_BROKEN || stream->sent_end)
		return -EPIPE;
	for (int i = 0; i < count; i++)
		all += parts[i].iov_len;
	if (all == 0)
		return 0;
	if (space == 0)
		return -EAGAIN;
	struct segment *segment = send_segment(stream, SEGMENT_DATA, all < space ? all : space);

	for (int i = 0; i < count && filled < segment->size; i++) {
		size_t size = parts[i].iov_len;

		if (size > segment->size - filled)
			size = segment->size - filled;
		memcpy(segment->bytes + filled, parts[i].iov_base, size);
		filled += size;
	}
	return (ssize_t)filled;
}

ssize_t os_stream_receive(struct os_stream *stream, void *into, size_t size)
{
	size_t most = size < os.profile.read_bytes ? size : os.profile.read_bytes;

	if (stream->in.size > 0) {
		if (most > stream->in.size)
			most = stream->in.size;
		memcpy(into, stream->in.data, most);
		buffer_consume(&stream->in, most);
		if (stream->peer != NULL && !stream->peer->closed)
			os_io_changed(stream->peer->process);
		return (ssize_t)most;
	}
	if (stream->error != 0)
		return -os_stream_take_error(stream);
	if (stream->got_end || stream->state == STREAM_BROKEN)
		return 0;
	return -EAGAIN;
}

void os_stream_shutdown(struct os_stream *stream)
{
	if (stream->state == STREAM_OPEN && !stream->sent_end)
		send_segment(stream, SEGMENT_END, 0);
	stream->sent_end = true;
}

int os_stream_take_error(struct os_stream *stream)
{
	int error = stream->error;

	stream->error = 0;
	return error;
}

unsigned os_stream_ready(const struct os_stream *stream)
{
	unsigned ready = 0;

	if (stream->state == STREAM_CONNECTING)
		return 0;
	if (stream->state == STREAM_BROKEN)
		return POLLIN | POLLOUT | POLLHUP | (stream->error != 0 ? POLLERR : 0);
	if (stream->in.size > 0 || stream->got_end)
		ready |= POLLIN;
	if (room(stream) > 0)
		ready |= POLLOUT;
	if (stream->got_end && stream->sent_end)
		ready |= POLLHUP;
	return ready;
}

void os_stream_address(const struct os_stream *stream, bool mine, unsigned *host, uint16_t *port)
{
	*host = mine ? stream->host : stream->peer_host;
	*port = mine ? stream->port : stream->peer_port;
}

/* ---- breaking ---- */

static void break_stream(struct os_stream *stream, int error)
{
	if (stream->state == STREAM_BROKEN)
		return;
	stream->state = STREAM_BROKEN;
	stream->error = error;
	if (!stream->closed)
		os_io_changed(stream->process);
}

void os_stream_close(struct os_stream *stream)
{
	bool unread = stream->in.size > 0;

	stream->closed = true;
	buffer_close(&stream->in);
	if (stream->state == STREAM_OPEN && unread)
		send_segment(stream, SEGMENT_RESET, 0);
	else if (stream->state == STREAM_OPEN && !stream->sent_end)
		send_segment(stream, SEGMENT_END, 0);
	stream->sent_end = true;
}

static bool joins(const struct os_stream *stream, unsigned a, unsigned b)
{
	return (stream->host == a && stream->peer_host == b) ||
	       (stream->host == b && stream->peer_host == a);
}

unsigned os_connections_reset(unsigned a, unsigned b)
{
	unsigned count = 0;

	for (size_t i = 0; i < net.streams_count; i++) {
		struct os_stream *stream = net.streams[i];

		if (!joins(stream, a, b) || stream->state == STREAM_BROKEN || stream->closed)
			continue;
		count++;
		os.counters.resets++;
		break_stream(stream, ECONNRESET);
	}
	return count;
}

void os_net_process_ended(struct os_process *process, bool silently)
{
	for (size_t i = 0; i < net.streams_count; i++) {
		struct os_stream *stream = net.streams[i];

		if (stream->process != process || stream->closed)
			continue;
		/* Without power nothing is sent: who is at the other end finds out later. */
		if (silently)
			stream->state = STREAM_BROKEN;
		else if (stream->in.size == 0 && os_chance(500))
			buffer_append(&stream->in, "", 1); /* unread: ends with a reset */
	}
}

/* ---- arriving ---- */

static struct os_stream *stream_new(struct os_process *process, unsigned peer_host, uint16_t port,
				    uint16_t peer_port)
{
	struct os_stream *stream = memory_zeroed(1, sizeof *stream);

	stream->process = process;
	stream->host = process->number;
	stream->peer_host = peer_host;
	stream->port = port;
	stream->peer_port = peer_port;
	stream->starts = process->starts;
	stream->last = &stream->first;
	buffer_init(&stream->in);
	if (net.streams_count == net.streams_room) {
		net.streams_room = net.streams_room == 0 ? 256 : net.streams_room * 2;
		net.streams = memory_resize(net.streams, net.streams_room * sizeof *net.streams);
	}
	net.streams[net.streams_count++] = stream;
	return stream;
}

static struct os_listener *find_listener(const struct os_process *process, uint16_t port)
{
	for (struct os_listener *at = net.listeners; at != NULL; at = at->next)
		if (at->process == process && at->port == port)
			return at;
	return NULL;
}

/* An answer of the host's, without a stream of its own. */
static void answer(struct os_stream *to, enum segment_kind kind)
{
	struct os_stream *end =
		stream_new(&os.processes[to->peer_host], to->host, to->peer_port, to->port);

	end->peer = to;
	end->closed = true;
	end->sent_end = true;
	end->state = STREAM_OPEN;
	send_segment(end, kind, 0);
}

static void on_syn(struct os_stream *from)
{
	struct os_listener *listener =
		find_listener(&os.processes[from->peer_host], from->peer_port);

	if (from->closed)
		return;
	if (listener == NULL || listener->count == BACKLOG) {
		answer(from, SEGMENT_REFUSED);
		return;
	}
	struct os_stream *end =
		stream_new(listener->process, from->host, from->peer_port, from->port);

	end->peer = from;
	end->state = STREAM_OPEN;
	from->peer = end;
	listener->queue[listener->count++] = end;
	send_segment(end, SEGMENT_ACCEPTED, 0);
	os_io_changed(listener->process);
}

static void on_data(struct os_stream *to, const struct segment *segment)
{
	if (to->closed || to->state == STREAM_BROKEN) {
		/* Nobody reads it: the host says so. */
		if (to->state != STREAM_BROKEN || to->closed)
			answer(segment->from, SEGMENT_RESET);
		return;
	}
	buffer_append(&to->in, segment->bytes, segment->size);
	os_io_changed(to->process);
}

static void arrive(const struct segment *segment)
{
	struct os_stream *from = segment->from, *to = from->peer;

	switch (segment->kind) {
	case SEGMENT_SYN:
		on_syn(from);
		return;
	case SEGMENT_ACCEPTED:
		if (to->state == STREAM_CONNECTING)
			to->state = STREAM_OPEN;
		break;
	case SEGMENT_REFUSED:
		break_stream(to, ECONNREFUSED);
		break;
	case SEGMENT_DATA:
		on_data(to, segment);
		return;
	case SEGMENT_END:
		to->got_end = true;
		break;
	case SEGMENT_RESET:
		os.counters.resets += to->state != STREAM_BROKEN;
		break_stream(to, ECONNRESET);
		break;
	}
	if (!to->closed)
		os_io_changed(to->process);
}

static void deliver(void *data)
{
	struct os_stream *stream = data;
	struct segment *segment = stream->first;

	if (segment == NULL)
		return;
	if (net.cut[stream->host][stream->peer_host] || os.processes[stream->peer_host].host_down) {
		os.counters.held_messages += !segment->was_held;
		segment->was_held = true;
		os_at(os.now + os_between(RETRY_LOW_NS, RETRY_HIGH_NS), deliver, stream);
		return;
	}
	stream->first = segment->next;
	if (stream->first == NULL)
		stream->last = &stream->first;
	stream->on_its_way -= segment->size;
	os_record(((uint64_t)stream->host << 40) | ((uint64_t)segment->kind << 32) | segment->size);
	/* A broken connection delivers nothing more. */
	if (stream->state != STREAM_BROKEN)
		arrive(segment);
	memory_free(segment);
	if (!stream->closed)
		os_io_changed(stream->process);
}

/* ---- connecting ---- */

struct os_stream *os_stream_connect(struct os_process *process, unsigned host, uint16_t port)
{
	struct os_stream *stream =
		stream_new(process, host, (uint16_t)(FIRST_PORT + net.ports++ % 20000), port);

	ASSERT(host < OS_PROCESSES);
	send_segment(stream, SEGMENT_SYN, 0);
	return stream;
}

bool os_port_in_use(const struct os_process *process, uint16_t port)
{
	return find_listener(process, port) != NULL;
}

struct os_listener *os_listener_new(struct os_process *process, uint16_t port)
{
	if (find_listener(process, port) != NULL)
		return NULL;
	struct os_listener *listener = memory_zeroed(1, sizeof *listener);

	listener->process = process;
	listener->port = port;
	listener->next = net.listeners;
	net.listeners = listener;
	return listener;
}

unsigned os_listener_ready(const struct os_listener *listener)
{
	return listener->count > 0 ? POLLIN : 0;
}

struct os_stream *os_listener_accept(struct os_listener *listener)
{
	if (listener->count == 0)
		return NULL;
	struct os_stream *stream = listener->queue[0];

	listener->count--;
	memmove(listener->queue, listener->queue + 1, listener->count * sizeof listener->queue[0]);
	return stream;
}

void os_listener_close(struct os_listener *listener)
{
	for (struct os_listener **at = &net.listeners; *at != NULL; at = &(*at)->next) {
		if (*at != listener)
			continue;
		*at = listener->next;
		break;
	}
	while (listener->count > 0) {
		struct os_stream *stream = os_listener_accept(listener);

		buffer_append(&stream->in, "", 1); /* unread: ends with a reset */
		os_stream_close(stream);
	}
	memory_free(listener);
}
