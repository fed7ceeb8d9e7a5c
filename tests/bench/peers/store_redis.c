/*
 * Redis streams. RESP by hand; a connection for each operation on its way, because WAIT blocks its
 * connection. An append is a script that compares the stream's length with what is expected and adds
 * to the stream and to one of all events, then WAIT until a replica has it.
 */
#include "tests/bench/peers/connection.h"
#include "tests/bench/peers/payload.h"
#include "tests/bench/peers/store.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 256u
#define OPEN_LOOP       128u /* connections of a row with a rate */
#define SHA_BYTES       40
#define ID_BYTES        64
#define RETRY_NS        (5 * INT64_C(1000000))
#define ANSWER_MS       10000
#define WAIT_REPLICAS   1
#define PAGE_TEXT       "1000" /* larger ones were slower */

const char store_name[] = "redis";
const uint32_t store_open_loop_max = OPEN_LOOP;

static const char script[] =
	"local n=redis.call('XLEN',KEYS[1]) "
	"if n~=tonumber(ARGV[1]) then return redis.error_reply('WRONGVERSION '..n) end "
	"for i=2,#ARGV do redis.call('XADD',KEYS[1],'*','e',ARGV[i]) "
	"redis.call('XADD','all','*','e',ARGV[i]) end return n+#ARGV-1";

/* An answer as it comes, and what it held. */
struct answer {
	size_t size;      /* bytes understood so far */
	uint64_t missing; /* values still to come */
	uint32_t events;
	char last_id[ID_BYTES];
	void (*each)(const char *data, size_t size);
};

/* A connection and the operation that it carries. */
struct lane {
	struct answer answer;
	struct connection connection;
	uint64_t token;
	uint32_t answers; /* still to come */
	bool busy;
	enum work_outcome outcome;
};

static struct lane lanes[CONNECTIONS_MAX];
static uint32_t lanes_count;
static char sha[SHA_BYTES + 1];
static bool lost_leader;
static int64_t retry_ns;
static const char *leader;

/* ---- RESP ---- */

static void put_argument(struct connection *connection, const char *text)
{
	connection_put_text(connection, "$%zu\r\n%s\r\n", strlen(text), text);
}

static void put_command(struct connection *connection, const char *const *arguments, size_t count)
{
	connection_put_text(connection, "*%zu\r\n", count);
	for (size_t i = 0; i < count; i++)
		put_argument(connection, arguments[i]);
}

#define COMMAND(connection, ...)                                                                   \
	put_command(connection, (const char *const[]){__VA_ARGS__},                                \
		    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void take_string(struct answer *answer, const char *data, size_t size)
{
	if (size == work.options.size) {
		answer->events++;
		if (answer->each != NULL)
			answer->each(data, size);
	} else if (size > 2 && size < ID_BYTES && memchr(data, '-', size) != NULL) {
		memcpy(answer->last_id, data, size);
		answer->last_id[size] = '\0';
	}
}

/* One value, or a part of it: false when the rest has not come yet. */
static bool parse_one(const char *from, const char *end, struct answer *answer, size_t *used)
{
	const char *line_end = from < end ? memchr(from, '\n', (size_t)(end - from)) : NULL;

	if (line_end == NULL)
		return false;
	const char *rest = line_end + 1;
	long size = atol(from + 1);

	switch (*from) {
	case '+':
	case '-':
	case ':':
		break;
	case '$':
		if (size < 0)
			break;
		if (end - rest < size + 2)
			return false;
		take_string(answer, rest, (size_t)size);
		rest += size + 2;
		break;
	case '*':
		answer->missing += size > 0 ? (uint64_t)size : 0;
		break;
	default:
		work_fail("an answer has a part that begins with '%c'", *from);
	}
	answer->missing--;
	*used = (size_t)(rest - from);
	return true;
}

/* Go on with the answer at the front of the connection's data; true when all of it is there. What is
 * understood already is not looked at again. */
static bool parse_answer(struct connection *connection, struct answer *answer)
{
	const char *data = connection_data(connection);
	const char *end = data + connection_size(connection);
	size_t used;

	if (answer->size == 0)
		answer->missing = 1;
	while (answer->missing > 0 && parse_one(data + answer->size, end, answer, &used))
		answer->size += used;
	return answer->missing == 0;
}

/* ---- one question, one answer ---- */

/* The whole answer, valid until the next one; NULL when the connection is lost. `answer` says what to
 * do with what is in it. */
static const char *ask(struct connection *connection, struct answer *answer)
{
	int64_t end_ms = clock_monotonic_ms() + ANSWER_MS;

	connection_flush(connection);
	while (!connection->lost && clock_monotonic_ms() < end_ms) {
		if (!parse_answer(connection, answer)) {
			connections_poll(1000);
			continue;
		}
		const char *data = connection_data(connection);

		connection->in_used += answer->size;
		return data;
	}
	return NULL;
}

static void heard_nothing(struct connection *connection)
{
	(void)connection; /* ask() looks */
}

static void load_script(struct connection *connection)
{
	struct answer answer = {0};

	COMMAND(connection, "SCRIPT", "LOAD", script);
	const char *text = ask(connection, &answer);

	if (text == NULL || text[0] != '$' || answer.size < SHA_BYTES)
		work_fail("the script cannot be loaded");
	memcpy(sha, strchr(text, '\n') + 1, SHA_BYTES);
}

/* ---- operations ---- */

static void lane_lost(struct lane *lane)
{
	lane->answers = 0;
	if (!lane->busy)
		return;
	lane->busy = false;
	work_complain("connection lost", 15);
	work_end(lane->token, WORK_FAILED);
}

static void take_answer(struct lane *lane, const char *text)
{
	const struct operation *operation = work_operation(lane->token);

	if (text[0] == '-') {
		work_complain(text, strcspn(text, "\r"));
		lane->outcome =
			strncmp(text, "-WRONGVERSION", 13) == 0 ? WORK_CONFLICT : WORK_FAILED;
	} else if (work.reads) {
		if (operation != NULL && lane->answer.events != operation->events)
			work_fail("a stream has %u events, not %u", lane->answer.events,
				  operation->events);
	} else if (lane->answers == 1 && atoi(text + 1) < WAIT_REPLICAS &&
		   lane->outcome == WORK_DONE) {
		work_complain("WAIT: no replica has it", 23);
		lane->outcome = WORK_FAILED;
	}
	lane->answers--;
}

static void lane_heard(struct connection *connection)
{
	struct lane *lane = connection->owner;

	while (lane->answers > 0 && parse_answer(connection, &lane->answer)) {
		take_answer(lane, connection_data(connection));
		connection->in_used += lane->answer.size;
		lane->answer = (struct answer){0};
	}
	if (connection->lost) {
		lane_lost(lane);
	} else if (lane->busy && lane->answers == 0) {
		lane->busy = false;
		work_end(lane->token, lane->outcome);
	}
}

static struct lane *free_lane(void)
{
	for (uint32_t i = 0; i < lanes_count; i++)
		if (!lanes[i].busy && !lanes[i].connection.lost)
			return &lanes[i];
	return NULL;
}

static struct lane *begin(const struct operation *operation)
{
	struct lane *lane = free_lane();

	if (lane == NULL) {
		work_complain("no connection is free", 21);
		work_end(operation_token(operation), WORK_FAILED);
		return NULL;
	}
	lane->token = operation_token(operation);
	lane->busy = true;
	lane->outcome = WORK_DONE;
	lane->answer = (struct answer){0};
	return lane;
}

void store_append(const struct operation *operation)
{
	struct lane *lane = begin(operation);
	char key[32], version[32];

	if (lane == NULL)
		return;
	struct connection *connection = &lane->connection;

	snprintf(key, sizeof key, "s:%u", operation->stream);
	snprintf(version, sizeof version, "%llu", (unsigned long long)operation->version);
	connection_put_text(connection, "*%u\r\n", 5 + operation->events);
	put_argument(connection, "EVALSHA");
	put_argument(connection, sha);
	put_argument(connection, "1");
	put_argument(connection, key);
	put_argument(connection, version);
	for (uint32_t i = 0; i < operation->events; i++) {
		const struct payload payload = {operation->stream, operation->version + i,
						operation->begin_ns};

		connection_put_text(connection, "$%u\r\n", work.options.size);
		payload_write((char *)buffer_reserve(&connection->out, work.options.size),
			      work.options.size, &payload);
		connection->out.size += work.options.size;
		connection_put(connection, "\r\n", 2);
	}
	COMMAND(connection, "WAIT", "1", "5000");
	lane->answers = 2;
	connection_flush(connection);
}

void store_read(const struct operation *operation)
{
	struct lane *lane = begin(operation);
	char key[32];

	if (lane == NULL)
		return;
	snprintf(key, sizeof key, "s:%u", operation->stream);
	COMMAND(&lane->connection, "XRANGE", key, "-", "+");
	lane->answers = 1;
	connection_flush(&lane->connection);
}

/* ---- connections ---- */

static void open_lanes(const char *server)
{
	for (uint32_t i = 0; i < lanes_count; i++) {
		lanes[i].connection.owner = &lanes[i];
		if (!connection_open(&lanes[i].connection, server, lane_heard))
			work_fail("%s does not answer", server);
	}
}

static bool leads(const char *server)
{
	static struct connection probe;
	struct answer answer = {0};
	bool yes = false;

	if (!connection_open(&probe, server, heard_nothing))
		return false;
	COMMAND(&probe, "ROLE");
	const char *text = ask(&probe, &answer);

	if (text != NULL && memmem(text, answer.size, "master", 6) != NULL) {
		load_script(&probe);
		yes = true;
	}
	connection_close(&probe);
	return yes;
}

void store_open(const struct work_options *options)
{
	bool reads = strcmp(options->row, "read-stream") == 0;

	leader = options->servers[0];
	lanes_count = options->in_flight;
	if (lanes_count > CONNECTIONS_MAX)
		work_fail("at most %u in flight: each has a connection", CONNECTIONS_MAX);
	if (!leads(leader))
		work_fail("%s does not lead", leader);
	open_lanes(reads ? options->servers[1] : leader);
}

/* Once somebody was made the leader, all connections go there. */
static void find_leader(void)
{
	int64_t now = clock_monotonic_ns();

	if (now < retry_ns)
		return;
	retry_ns = now + RETRY_NS;
	for (uint32_t i = 1; i < work.options.servers_count; i++) {
		if (!leads(work.options.servers[i]))
			continue;
		leader = work.options.servers[i];
		lost_leader = false;
		open_lanes(leader);
		return;
	}
}

void store_poll(uint32_t timeout_us)
{
	if (lost_leader)
		find_leader();
	connections_poll(timeout_us);
}

void store_lost_leader(void)
{
	for (uint32_t i = 0; i < lanes_count; i++) {
		connection_close(&lanes[i].connection);
		lane_lost(&lanes[i]);
	}
	lost_leader = true;
}

/* ---- all events ---- */

static void saw(const char *data, size_t size)
{
	struct payload payload = payload_read(data);

	work_saw(payload.stream, payload.version, size);
}

void store_read_all(enum store_place place)
{
	static struct connection reader;
	struct answer answer;
	char from[ID_BYTES + 1] = "-";

	if (!connection_open(&reader, place == STORE_LEADER ? leader : work.options.servers[1],
			     heard_nothing))
		work_fail("no connection to read from");
	do {
		answer = (struct answer){.each = saw};
		COMMAND(&reader, "XRANGE", "all", from, "+", "COUNT", PAGE_TEXT);
		if (ask(&reader, &answer) == NULL)
			work_fail("XRANGE: no answer");
		snprintf(from, sizeof from, "(%s", answer.last_id);
	} while (answer.events > 0);
	connection_close(&reader);
}

static void delivered(const char *data, size_t size)
{
	(void)size;
	work_delivered(payload_read(data).sent_ns);
}

void store_follow(void)
{
	static struct connection reader;
	struct answer answer = {0};
	char last[ID_BYTES] = "0";

	if (!connection_open(&reader, work.options.servers[1], heard_nothing))
		work_fail("no connection to follow by");
	COMMAND(&reader, "XREVRANGE", "all", "+", "-", "COUNT", "1");
	if (ask(&reader, &answer) == NULL)
		work_fail("XREVRANGE: no answer");
	work_following();
	while (!work_follow_is_over()) {
		if (answer.last_id[0] != '\0')
			memcpy(last, answer.last_id, sizeof last);
		answer = (struct answer){.each = delivered};
		COMMAND(&reader, "XREAD", "COUNT", "1000", "BLOCK", "50", "STREAMS", "all", last);
		if (ask(&reader, &answer) == NULL)
			work_fail("XREAD: no answer");
	}
	connection_close(&reader);
}

/* Everything is in the file of appends already. */
void store_flush(void)
{
}
