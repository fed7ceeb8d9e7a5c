/*
 * PostgreSQL through libpq: a connection for each operation on its way, prepared statements. The
 * tables and functions are made by the set-up.
 */
#include "tests/bench/peers/connection.h"
#include "tests/bench/peers/payload.h"
#include "tests/bench/peers/store.h"

#include "base/clock.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECTIONS_MAX 256u
#define AFTER_KILL      4u   /* connections to the next leader: each takes its time */
#define OPEN_LOOP       128u /* connections of a row with a rate */
#define PAGE_TEXT       "1000"
#define RETRY_NS        (5 * INT64_C(1000000))
#define FOLLOW_POLL_US  1000 /* between two looks for new events */

const char store_name[] = "postgres";
const uint32_t store_open_loop_max = OPEN_LOOP;

#define COLUMNS "global_position, stream_id, version, event_type, event_data, metadata, created_at"
enum { COLUMN_POSITION = 0, COLUMN_STREAM = 1, COLUMN_VERSION = 2, COLUMN_DATA = 4 };

struct lane {
	PGconn *connection; /* NULL: lost */
	struct watch watch;
	uint64_t token;
	bool busy;
	enum work_outcome outcome;
};

static struct lane lanes[CONNECTIONS_MAX];
static uint32_t lanes_count;
static bool lost_leader;
static int64_t retry_ns;
static const char *leader;

/* ---- connections ---- */

static PGconn *dial(const char *server)
{
	const char *colon = strrchr(server, ':');
	char settings[256];

	if (colon == NULL)
		work_fail("'%s' is no address: give HOST:PORT", server);
	snprintf(settings, sizeof settings,
		 "host=%.*s port=%s dbname=postgres user=postgres sslmode=disable "
		 "gssencmode=disable connect_timeout=3",
		 (int)(colon - server), server, colon + 1);
	PGconn *connection = PQconnectdb(settings);

	if (PQstatus(connection) == CONNECTION_OK)
		return connection;
	work_complain(PQerrorMessage(connection), strlen(PQerrorMessage(connection)));
	PQfinish(connection);
	return NULL;
}

static PGconn *dial_surely(const char *server)
{
	PGconn *connection = dial(server);

	if (connection == NULL)
		work_fail("%s does not answer", server);
	return connection;
}

static void prepare(PGconn *connection, const char *name, const char *query)
{
	PGresult *result = PQprepare(connection, name, query, 0, NULL);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		work_fail("%s: %s", name, PQerrorMessage(connection));
	PQclear(result);
}

static void prepare_all(PGconn *connection)
{
	prepare(connection, "append-one",
		"SELECT append_event($1, 'order', $2::bigint, 'OrderPlaced', $3::jsonb, "
		"'{\"user\":\"u1\"}'::jsonb)");
	prepare(connection, "append-many",
		"SELECT append_events($1, 'order', $2::bigint, $3::jsonb)");
	prepare(connection, "read-stream",
		"SELECT " COLUMNS " FROM events WHERE stream_id = $1 ORDER BY version");
}

static void prepare_page(PGconn *connection)
{
	prepare(connection, "page",
		"SELECT " COLUMNS " FROM events WHERE global_position > $1::bigint "
		"ORDER BY global_position LIMIT $2::bigint");
}

static void lane_heard(void *arg);

static void lane_open(struct lane *lane, const char *server)
{
	lane->connection = dial_surely(server);
	prepare_all(lane->connection);
	PQsetnonblocking(lane->connection, 1);
	lane->watch = (struct watch){lane_heard, lane};
	connections_watch(PQsocket(lane->connection), &lane->watch);
	lane->busy = false;
}

static void lane_close(struct lane *lane)
{
	if (lane->connection == NULL)
		return;
	connections_unwatch(PQsocket(lane->connection));
	PQfinish(lane->connection);
	lane->connection = NULL;
	if (!lane->busy)
		return;
	lane->busy = false;
	work_end(lane->token, WORK_FAILED);
}

void store_open(const struct work_options *options)
{
	bool reads = strcmp(options->row, "read-stream") == 0;

	leader = options->servers[0];
	lanes_count = options->in_flight;
	if (lanes_count > CONNECTIONS_MAX)
		work_fail("at most %u in flight: each has a connection", CONNECTIONS_MAX);
	for (uint32_t i = 0; i < lanes_count; i++)
		lane_open(&lanes[i], reads ? options->servers[1] : leader);
}

/* ---- operations ---- */

static void take_result(struct lane *lane, PGresult *result)
{
	const struct operation *operation = work_operation(lane->token);

	if (PQresultStatus(result) != PGRES_TUPLES_OK) {
		const char *message = PQresultErrorMessage(result);

		work_complain(message, strlen(message));
		lane->outcome = strstr(message, "WrongExpectedVersion") != NULL ||
						strstr(message, "duplicate key") != NULL
					? WORK_CONFLICT
					: WORK_FAILED;
	} else if (work.reads && operation != NULL && PQntuples(result) != (int)operation->events) {
		work_fail("a stream has %d events, not %u", PQntuples(result), operation->events);
	}
	PQclear(result);
}

static void lane_heard(void *arg)
{
	struct lane *lane = arg;
	PGresult *result;

	if (lane->connection == NULL)
		return;
	if (PQconsumeInput(lane->connection) == 0) {
		lane_close(lane);
		return;
	}
	while (lane->busy && PQisBusy(lane->connection) == 0) {
		result = PQgetResult(lane->connection);
		if (result != NULL) {
			take_result(lane, result);
			continue;
		}
		lane->busy = false;
		work_end(lane->token, lane->outcome);
	}
}

static struct lane *begin(const struct operation *operation)
{
	for (uint32_t i = 0; i < lanes_count; i++) {
		struct lane *lane = &lanes[i];

		if (lane->busy || lane->connection == NULL)
			continue;
		lane->token = operation_token(operation);
		lane->outcome = WORK_DONE;
		lane->busy = true;
		return lane;
	}
	work_complain("no connection is free", 21);
	work_end(operation_token(operation), WORK_FAILED);
	return NULL;
}

static void send_query(struct lane *lane, const char *name, int count, const char *const *values)
{
	if (PQsendQueryPrepared(lane->connection, name, count, values, NULL, NULL, 0) == 0) {
		lane_close(lane);
		return;
	}
	PQflush(lane->connection);
}

/* One event as it is; several as an array of objects. Valid until the next call. */
static const char *event_text(const struct operation *operation)
{
	static const char before[] =
		"{\"type\":\"OrderPlaced\",\"meta\":{\"user\":\"u1\"},\"data\":";
	static struct buffer text;
	const size_t size = work.options.size;

	buffer_clear(&text);
	if (operation->events > 1)
		buffer_append(&text, "[", 1);
	for (uint32_t i = 0; i < operation->events; i++) {
		const struct payload payload = {operation->stream, operation->version + i,
						operation->begin_ns};

		if (i > 0)
			buffer_append(&text, ",", 1);
		if (operation->events > 1)
			buffer_append(&text, before, sizeof before - 1);
		payload_write((char *)buffer_reserve(&text, size), size, &payload);
		text.size += size;
		if (operation->events > 1)
			buffer_append(&text, "}", 1);
	}
	if (operation->events > 1)
		buffer_append(&text, "]", 1);
	buffer_append(&text, "", 1);
	return (const char *)text.data;
}

void store_append(const struct operation *operation)
{
	struct lane *lane = begin(operation);
	char stream[32], version[32];

	if (lane == NULL)
		return;
	snprintf(stream, sizeof stream, "%u", operation->stream);
	snprintf(version, sizeof version, "%llu", (unsigned long long)operation->version);
	const char *const values[] = {stream, version, event_text(operation)};

	send_query(lane, operation->events > 1 ? "append-many" : "append-one", 3, values);
}

void store_read(const struct operation *operation)
{
	struct lane *lane = begin(operation);
	char stream[32];

	if (lane == NULL)
		return;
	snprintf(stream, sizeof stream, "%u", operation->stream);
	const char *const values[] = {stream};

	send_query(lane, "read-stream", 1, values);
}

/* ---- another leader ---- */

static bool leads(const char *server)
{
	PGconn *connection = dial(server);

	if (connection == NULL)
		return false;
	PGresult *result = PQexec(connection, "SELECT pg_is_in_recovery()");
	bool yes = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 'f';

	PQclear(result);
	PQfinish(connection);
	return yes;
}

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
		if (lanes_count > AFTER_KILL)
			lanes_count = AFTER_KILL;
		for (uint32_t k = 0; k < lanes_count; k++)
			lane_open(&lanes[k], leader);
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
	for (uint32_t i = 0; i < lanes_count; i++)
		lane_close(&lanes[i]);
	lost_leader = true;
}

/* ---- all events ---- */

/* The events behind `*after`, which moves on; how many there were. */
static int read_page(PGconn *connection, char after[32], void (*each)(PGresult *, int))
{
	const char *const values[] = {after, PAGE_TEXT};
	PGresult *result = PQexecPrepared(connection, "page", 2, values, NULL, NULL, 0);
	int count = PQntuples(result);

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		work_fail("page: %s", PQerrorMessage(connection));
	for (int i = 0; i < count; i++)
		each(result, i);
	if (count > 0)
		snprintf(after, 32, "%s", PQgetvalue(result, count - 1, COLUMN_POSITION));
	PQclear(result);
	return count;
}

/* jsonb has an order of its own for the members, so stream and version come from their columns. */
static void saw(PGresult *result, int row)
{
	work_saw((uint32_t)strtoul(PQgetvalue(result, row, COLUMN_STREAM), NULL, 10),
		 strtoull(PQgetvalue(result, row, COLUMN_VERSION), NULL, 10) - 1,
		 work.options.size);
}

void store_read_all(enum store_place place)
{
	PGconn *connection = dial_surely(place == STORE_LEADER ? leader : work.options.servers[1]);
	char after[32] = "0";

	prepare_page(connection);
	while (read_page(connection, after, saw) > 0)
		;
	PQfinish(connection);
}

static void delivered(PGresult *result, int row)
{
	static const char name[] = "\"t\": \"";
	const char *time = strstr(PQgetvalue(result, row, COLUMN_DATA), name);

	if (time != NULL)
		work_delivered(strtoll(time + sizeof name - 1, NULL, 10));
}

/* A standby has no notifications, so it is asked again and again. */
void store_follow(void)
{
	PGconn *connection = dial_surely(work.options.servers[1]);
	const struct timespec pause = {.tv_nsec = FOLLOW_POLL_US * 1000L};
	char after[32];

	prepare_page(connection);
	PGresult *result =
		PQexec(connection, "SELECT coalesce(max(global_position), 0) FROM events");

	snprintf(after, sizeof after, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	work_following();
	while (!work_follow_is_over())
		if (read_page(connection, after, delivered) == 0)
			nanosleep(&pause, NULL);
	PQfinish(connection);
}

/* Tables are written at checkpoints, which come every few minutes. One for each row would be more than
 * what a server in use does: after it, the log gets a copy of each page that is changed. */
void store_flush(void)
{
}
