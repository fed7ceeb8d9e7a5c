/*
 * NATS JetStream: the text protocol by hand over one connection. Events of stream N are messages with
 * the subject ev.N; an append expects the last sequence of its subject. Of several events only the
 * first can expect something; with --mode packed one message carries them all.
 *
 * Answers come to inboxes: _INBOX.a.SLOT.GENERATION for publishes, _INBOX.i.PID.… for requests; what a
 * consumer delivers comes to f.SLOT.GENERATION.PID (one stream) or d.PID (all).
 */
#include "tests/bench/peers/connection.h"
#include "tests/bench/peers/payload.h"
#include "tests/bench/peers/store.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_BYTES   8192u
#define ANSWER_MS      8000
#define READ_ALL_MS    300000
#define CONSUMER_TRIES 8
#define LINE_BYTES     512u
#define CONSUMER_BYTES 64u

const char store_name[] = "nats";
const uint32_t store_open_loop_max = WORK_OPERATIONS_MAX;

/* Subscriptions; those of single streams begin at SUBSCRIPTION_READ. */
enum {
	SUBSCRIPTION_ACK = 1,
	SUBSCRIPTION_ANSWER,
	SUBSCRIPTION_CREATED,
	SUBSCRIPTION_ALL,
	SUBSCRIPTION_READ = 100
};

/* What is on its way in a slot. */
struct publish {
	uint32_t answers; /* still to come */
	uint64_t token, last;
	uint32_t got;                  /* events of a read */
	char consumer[CONSUMER_BYTES]; /* of the last read, to be deleted */
	enum work_outcome outcome;
};

/* A message as it stands in the connection's buffer. */
struct message {
	int subscription;
	char subject[LINE_BYTES], reply[LINE_BYTES];
	const char *head, *data;
	size_t head_size, data_size;
};

static struct connection appender, reader;
static struct publish publishes[WORK_OPERATIONS_MAX];
static uint64_t *sequences; /* of each stream: of its last message */
static bool packed;
static char answer[ANSWER_BYTES];
static bool answered, read_over;
static void (*on_event)(const char *data);

/* ---- messages ---- */

static void put_publish(struct connection *connection, const char *subject, const char *reply,
			const char *data)
{
	connection_put_text(connection, "PUB %s %s %zu\r\n", subject, reply, strlen(data));
	connection_put(connection, data, strlen(data));
	connection_put(connection, "\r\n", 2);
}

static bool is_error(const struct message *message)
{
	return memmem(message->data, message->data_size, "\"error\"", 7) != NULL;
}

/* The token at the end of a subject, SLOT.GENERATION behind the prefix. */
static uint64_t token_of(const char *subject, size_t prefix)
{
	char *rest;
	uint64_t slot = strtoull(subject + prefix, &rest, 10);

	return *rest == '.' ? strtoull(rest + 1, NULL, 10) << 32 | slot : UINT64_MAX;
}

static void take_ack(const struct message *message)
{
	uint64_t token = token_of(message->subject, sizeof "_INBOX.a." - 1);
	const struct operation *operation = work_operation(token);

	if (operation == NULL)
		return;
	struct publish *publish = &publishes[operation->slot];

	if (message->head_size > 0 || is_error(message)) {
		bool conflict = memmem(message->data, message->data_size, "wrong last", 10) != NULL;

		if (message->data_size > 0)
			work_complain(message->data, message->data_size);
		else
			work_complain(message->head, message->head_size);
		publish->outcome = conflict ? WORK_CONFLICT : WORK_FAILED;
	} else {
		const char *at = memmem(message->data, message->data_size, "\"seq\":", 6);
		uint64_t sequence = at != NULL ? strtoull(at + 6, NULL, 10) : 0;

		publish->last = sequence > publish->last ? sequence : publish->last;
	}
	if (--publish->answers > 0)
		return;
	if (publish->outcome == WORK_DONE)
		sequences[operation->stream - work.options.first_stream] = publish->last;
	work_end(token, publish->outcome);
}

/* A consumer for one stream was made: its name is needed to delete it. */
static void take_created(const struct message *message)
{
	static const char name[] = "\"name\":\"";
	uint64_t token = token_of(message->subject, sizeof "_INBOX.r." - 1);
	const struct operation *operation = work_operation(token);

	if (is_error(message)) {
		work_complain(message->data, message->data_size);
		work_end(token, WORK_FAILED);
		return;
	}
	const char *at = memmem(message->data, message->data_size, name, sizeof name - 1);

	if (operation == NULL || at == NULL)
		return;
	struct publish *publish = &publishes[operation->slot];
	size_t size = strcspn(at + sizeof name - 1, "\"");

	if (size < sizeof publish->consumer)
		snprintf(publish->consumer, sizeof publish->consumer, "%.*s", (int)size,
			 at + sizeof name - 1);
}

static void take_read(const struct message *message, struct connection *connection)
{
	uint32_t slot = (uint32_t)(message->subscription - SUBSCRIPTION_READ);
	struct publish *publish = &publishes[slot];
	const struct operation *operation = work_operation(publish->token);

	if (operation == NULL || strncmp(message->reply, "$JS.ACK", 7) != 0)
		return;
	if (++publish->got < operation->events)
		return;
	connection_put_text(connection, "UNSUB %d\r\n", message->subscription);
	work_end(publish->token, WORK_DONE);
}

/* Of a consumer of all events: either an event, or a question whether the flow may go on. */
static void take_all(const struct message *message, struct connection *connection)
{
	static const char stalled[] = "Nats-Consumer-Stalled: ";
	const char *pending = strrchr(message->reply, '.');
	const char *at;
	char subject[LINE_BYTES];

	if (message->head_size > 0 && message->data_size == 0) {
		if (message->reply[0] != '\0')
			put_publish(connection, message->reply, "", "");
		at = memmem(message->head, message->head_size, stalled, sizeof stalled - 1);
		if (at == NULL)
			return;
		at += sizeof stalled - 1;
		snprintf(subject, sizeof subject, "%.*s", (int)strcspn(at, "\r\n"), at);
		put_publish(connection, subject, "", "");
		return;
	}
	for (size_t from = 0; from + work.options.size <= message->data_size;
	     from += work.options.size)
		on_event(message->data + from);
	/* The last part of the reply says how many are still to come. */
	if (pending != NULL && strtoull(pending + 1, NULL, 10) == 0)
		read_over = true;
}

static void take_answer(const struct message *message)
{
	snprintf(answer, sizeof answer, "%.*s", (int)message->data_size, message->data);
	answered = true;
}

static void take_message(const struct message *message, struct connection *connection)
{
	if (message->subscription >= SUBSCRIPTION_READ)
		take_read(message, connection);
	else if (message->subscription == SUBSCRIPTION_ACK)
		take_ack(message);
	else if (message->subscription == SUBSCRIPTION_ANSWER)
		take_answer(message);
	else if (message->subscription == SUBSCRIPTION_CREATED)
		take_created(message);
	else
		take_all(message, connection);
}

/* `MSG subject sid [reply] size` or `HMSG subject sid [reply] head-size size`. */
static bool parse_line(const char *line, size_t size, struct message *message, size_t *total)
{
	char text[LINE_BYTES * 2], *words[7], *rest = text;
	size_t count = 0;

	*message = (struct message){.subscription = -1};
	if (size >= sizeof text)
		work_fail("a line of %zu bytes", size);
	memcpy(text, line, size);
	text[size] = '\0';
	for (char *word; count < 7 && (word = strsep(&rest, " \r\n")) != NULL;)
		if (word[0] != '\0')
			words[count++] = word;
	bool head = strcmp(words[0], "HMSG") == 0;
	size_t least = head ? 5 : 4;

	if (count < least)
		return false;
	message->subscription = atoi(words[2]);
	snprintf(message->subject, sizeof message->subject, "%s", words[1]);
	if (count > least)
		snprintf(message->reply, sizeof message->reply, "%s", words[3]);
	*total = strtoul(words[count - 1], NULL, 10);
	message->head_size = head ? strtoul(words[count - 2], NULL, 10) : 0;
	message->data_size = *total - message->head_size;
	return true;
}

/* Take the line or message at the front; false when it is not complete. */
static bool take_one(struct connection *connection)
{
	const char *data = connection_data(connection);
	size_t size = connection_size(connection), total = 0;
	const char *end = size > 0 ? memchr(data, '\n', size) : NULL;
	struct message message;

	if (end == NULL)
		return false;
	size_t line = (size_t)(end - data) + 1;

	if (strncmp(data, "MSG ", 4) != 0 && strncmp(data, "HMSG ", 5) != 0) {
		if (strncmp(data, "PING", 4) == 0)
			connection_put(connection, "PONG\r\n", 6);
		else if (strncmp(data, "-ERR", 4) == 0)
			work_complain(data, line - 2);
		connection->in_used += line;
		return true;
	}
	if (!parse_line(data, line, &message, &total))
		work_fail("a message without size");
	if (size < line + total + 2)
		return false;
	message.head = data + line;
	message.data = data + line + message.head_size;
	connection->in_used += line + total + 2;
	take_message(&message, connection);
	return true;
}

static void heard(struct connection *connection)
{
	while (take_one(connection))
		;
	if (connection->lost)
		work_fail("a connection was lost");
	connection_flush(connection);
}

static void open_connection(struct connection *connection, const char *server)
{
	if (!connection_open(connection, server, heard))
		work_fail("%s does not answer", server);
	connection_put_text(connection,
			    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
			    "\"no_responders\":true,\"protocol\":1,\"name\":\"bench\","
			    "\"lang\":\"c\",\"version\":\"1\"}\r\nSUB _INBOX.i.%d.%p %d\r\n",
			    getpid(), (void *)connection, SUBSCRIPTION_ANSWER);
	connection_flush(connection);
}

/* Ask, and wait for the answer; false when there is none. */
static bool ask(struct connection *connection, const char *subject, const char *body)
{
	char inbox[64];
	int64_t end = clock_monotonic_ms() + ANSWER_MS;

	snprintf(inbox, sizeof inbox, "_INBOX.i.%d.%p", getpid(), (void *)connection);
	answered = false;
	put_publish(connection, subject, inbox, body);
	connection_flush(connection);
	while (!answered && clock_monotonic_ms() < end)
		connections_poll(1000);
	return answered && strstr(answer, "\"error\"") == NULL;
}

/* ---- operations ---- */

void store_open(const struct work_options *options)
{
	bool reads = strcmp(options->row, "read-stream") == 0;

	packed = strcmp(options->mode, "packed") == 0;
	sequences = memory_zeroed(options->streams, sizeof sequences[0]);
	open_connection(&appender, options->servers[reads ? 1 : 0]);
	connection_put_text(&appender, "SUB _INBOX.a.> %d\r\nSUB _INBOX.r.> %d\r\n",
			    SUBSCRIPTION_ACK, SUBSCRIPTION_CREATED);
	connection_flush(&appender);
}

static void put_payloads(const struct operation *operation, uint32_t from, uint32_t count)
{
	size_t size = work.options.size;

	for (uint32_t i = from; i < from + count; i++) {
		const struct payload payload = {operation->stream, operation->version + i,
						operation->begin_ns};

		payload_write((char *)buffer_reserve(&appender.out, size), size, &payload);
		appender.out.size += size;
	}
	connection_put(&appender, "\r\n", 2);
}

void store_append(const struct operation *operation)
{
	struct publish *publish = &publishes[operation->slot];
	uint32_t first = packed ? operation->events : 1; /* events of the first message */
	char head[128], inbox[64];
	int head_size = snprintf(
		head, sizeof head, "NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: %llu\r\n\r\n",
		(unsigned long long)sequences[operation->stream - work.options.first_stream]);

	*publish = (struct publish){.token = operation_token(operation),
				    .answers = operation->events - first + 1};
	snprintf(inbox, sizeof inbox, "_INBOX.a.%u.%u", operation->slot, operation->generation);
	connection_put_text(&appender, "HPUB ev.%u %s %d %u\r\n%s", operation->stream, inbox,
			    head_size, (unsigned int)head_size + first * work.options.size, head);
	put_payloads(operation, 0, first);
	for (uint32_t i = first; i < operation->events; i++) {
		connection_put_text(&appender, "PUB ev.%u %s %u\r\n", operation->stream, inbox,
				    work.options.size);
		put_payloads(operation, i, 1);
	}
}

/* As client libraries do it: a consumer in memory, for this subject alone. */
void store_read(const struct operation *operation)
{
	struct publish *publish = &publishes[operation->slot];
	char subject[64], inbox[64], body[LINE_BYTES], old[160];

	if (publish->consumer[0] != '\0') {
		snprintf(old, sizeof old, "$JS.API.CONSUMER.DELETE.EV.%s", publish->consumer);
		put_publish(&appender, old, "_INBOX.none", "");
	}
	*publish = (struct publish){.token = operation_token(operation)};
	snprintf(subject, sizeof subject, "f.%u.%u.%d", operation->slot, operation->generation,
		 getpid());
	snprintf(inbox, sizeof inbox, "_INBOX.r.%u.%u", operation->slot, operation->generation);
	/* A wildcard would not wake the consumer: each needs a subscription of its own. */
	connection_put_text(&appender, "SUB %s %u\r\n", subject,
			    SUBSCRIPTION_READ + operation->slot);
	snprintf(body, sizeof body,
		 "{\"stream_name\":\"EV\",\"config\":{\"deliver_subject\":\"%s\","
		 "\"deliver_policy\":\"all\",\"ack_policy\":\"none\","
		 "\"replay_policy\":\"instant\",\"filter_subject\":\"ev.%u\","
		 "\"mem_storage\":true,\"num_replicas\":1,\"inactive_threshold\":5000000000}}",
		 subject, operation->stream);
	put_publish(&appender, "$JS.API.CONSUMER.CREATE.EV", inbox, body);
}

void store_poll(uint32_t timeout_us)
{
	if (appender.out.size > 0)
		connection_flush(&appender);
	connections_poll(timeout_us);
}

/* ---- all events ---- */

static void consume(const char *server, const char *policy, void (*each)(const char *data))
{
	static uint32_t number; /* each consumer has a subject of its own */
	char body[LINE_BYTES], subject[64];
	int tries = 0;

	number++;
	on_event = each;
	read_over = false;
	open_connection(&reader, server);
	snprintf(subject, sizeof subject, "d.%d.%u", getpid(), number);
	connection_put_text(&reader, "SUB %s %d\r\n", subject, SUBSCRIPTION_ALL);
	snprintf(body, sizeof body,
		 "{\"stream_name\":\"EV\",\"config\":{\"deliver_subject\":\"%s\","
		 "\"deliver_policy\":\"%s\",\"ack_policy\":\"none\","
		 "\"replay_policy\":\"instant\",\"flow_control\":true,"
		 "\"idle_heartbeat\":5000000000,\"mem_storage\":true,\"num_replicas\":1}}",
		 subject, policy);
	while (!ask(&reader, "$JS.API.CONSUMER.CREATE.EV", body)) {
		if (++tries == CONSUMER_TRIES)
			work_fail("no consumer can be made: %s", answer);
		usleep(500000);
	}
}

static void saw(const char *data)
{
	struct payload payload = payload_read(data);

	work_saw(payload.stream, payload.version, work.options.size);
}

void store_read_all(enum store_place place)
{
	int64_t end = clock_monotonic_ms() + READ_ALL_MS;

	/* Only when appends have ended is "no more to come" the end. */
	consume(work.options.servers[place == STORE_LEADER ? 0 : 1], "all", saw);
	while (!read_over && clock_monotonic_ms() < end)
		connections_poll(1000);
	if (!read_over)
		work_fail("read-all: %llu events in %d seconds", (unsigned long long)work.seen,
			  READ_ALL_MS / 1000);
	connection_close(&reader);
}

static void delivered(const char *data)
{
	work_delivered(payload_read(data).sent_ns);
}

void store_follow(void)
{
	consume(work.options.servers[1], "new", delivered);
	work_following();
	while (!work_follow_is_over())
		connections_poll(10000);
	connection_close(&reader);
}

/* The first server of this row is one that stays, and it finds the leader. */
void store_lost_leader(void)
{
}

/* Messages go to their file at once. */
void store_flush(void)
{
}
