/*
 * Appends, as programs make them: with expectations and conditions, to one stream and to several, one at a time
 * and many in flight; what has no outcome is sent again with the same ids, often through another node;
 * what was acknowledged is sent again now and then, and must be answered as before.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#define BURST_MAX  12
#define UNSURE_MAX 16

/* ---- making one up ---- */

static void draw_expectation(const struct whole_client *client, struct whole_write *write)
{
	static const unsigned kinds[] = {ANNAL_EXPECT_ANY, ANNAL_EXPECT_VERSION,
					 ANNAL_EXPECT_VERSION, ANNAL_EXPECT_NO_STREAM,
					 ANNAL_EXPECT_STREAM_EXISTS};
	uint64_t guess = client->guess[write->stream];

	write->expect.kind = kinds[os_between(0, 4)];
	if (write->expect.kind == ANNAL_EXPECT_VERSION && guess == 0)
		write->expect.kind = ANNAL_EXPECT_NO_STREAM;
	if (write->expect.kind == ANNAL_EXPECT_NO_STREAM && guess > 0 && os_chance(900))
		write->expect.kind = ANNAL_EXPECT_ANY;
	write->expect.version = write->expect.kind == ANNAL_EXPECT_VERSION ? guess : 0;
}

static void draw_events(uint32_t append, struct whole_write *write)
{
	write->first_event = model.events_count;
	for (uint32_t i = 0; i < write->events; i++) {
		struct whole_event *event = &model.events[model.events_count++];

		ASSERT(model.events_count < WHOLE_EVENTS_MAX);
		annal_new_id(event->id);
		event->append = append;
		event->stream = write->stream;
		event->type = (uint32_t)os_between(0, WHOLE_TYPES - 1);
		event->tag = (uint32_t)os_between(0, WHOLE_TAGS);
		event->size = (uint32_t)os_between(4, 4 + whole.limits.payload_bytes);
	}
}

uint32_t client_draw_append(struct whole_client *client)
{
	uint32_t number = model.appends_count++;
	struct whole_append *append = &model.appends[number];

	ASSERT(model.appends_count < WHOLE_APPENDS_MAX);
	*append = (struct whole_append){.client = client->number, .sent_at = os.now};
	append->writes_count = os_chance(800) ? 1 : (uint32_t)os_between(2, WHOLE_WRITES);
	append->floor = model.acknowledged;
	for (uint32_t i = 0; i < append->writes_count; i++) {
		struct whole_write *write = &append->writes[i];
		uint64_t streams = whole.limits.streams;

		/* Different streams: the first is drawn, the others follow it. */
		write->stream = i == 0 ? (uint32_t)os_between(0, streams - 1)
				       : (append->writes[0].stream + i) % (uint32_t)streams;
		if (i >= streams) {
			append->writes_count = i;
			break;
		}
		write->events = (uint32_t)os_between(1, WHOLE_WRITE_EVENTS);
		draw_expectation(client, write);
		draw_events(number, write);
	}
	if (os_chance(200)) {
		append->query = (unsigned)os_between(1, WHOLE_QUERIES - 1);
		append->query_name = (uint32_t)os_between(0, 19);
		append->query_after = os_chance(800) ? model.floor : client->floor;
	}
	return number;
}

/* ---- asking for it ---- */

struct request {
	struct annal_append append;
	struct annal_write writes[WHOLE_WRITES];
	struct annal_new_event events[WHOLE_WRITES * WHOLE_WRITE_EVENTS];
	const char *tags[WHOLE_WRITES * WHOLE_WRITE_EVENTS];
	char streams[WHOLE_WRITES][32];
	uint8_t data[WHOLE_WRITES * WHOLE_WRITE_EVENTS][4096];
	struct annal_condition condition;
};

static void make_event(struct request *request, uint32_t at, uint32_t number)
{
	const struct whole_event *event = &model.events[number];
	struct annal_new_event *made = &request->events[at];

	*made = (struct annal_new_event){.id = event->id, .type = model_type_name(event->type)};
	made->data.data = request->data[at];
	made->data.size = model_fill_data(number, request->data[at]);
	if (event->tag == WHOLE_TAGS)
		return;
	request->tags[at] = model_tag_name(event->tag);
	made->tags = &request->tags[at];
	made->tags_count = 1;
}

struct annal_append *client_make_request(const struct whole_append *append, unsigned writer)
{
	static struct request requests[WHOLE_WRITERS];
	struct request *request = &requests[writer];
	uint32_t at = 0;

	request->append = (struct annal_append){.writes = request->writes,
						.writes_count = append->writes_count};
	for (uint32_t i = 0; i < append->writes_count; i++) {
		const struct whole_write *write = &append->writes[i];

		model_stream_name(write->stream, request->streams[i]);
		request->writes[i] = (struct annal_write){.stream = request->streams[i],
							  .expect = write->expect,
							  .events = &request->events[at],
							  .events_count = write->events};
		for (uint32_t j = 0; j < write->events; j++)
			make_event(request, at++, write->first_event + j);
	}
	if (append->query == 0)
		return &request->append;
	request->condition =
		(struct annal_condition){.fail_if = *model_query(append->query, append->query_name),
					 .after = append->query_after};
	request->append.conditions = &request->condition;
	request->append.conditions_count = 1;
	return &request->append;
}

/* ---- what came of it ---- */

static void learn_version(struct whole_client *client, uint32_t stream, uint64_t version)
{
	uint64_t *floors[] = {&model.stream_floor[stream], &client->stream_floor[stream],
			      &client->guess[stream]};

	for (size_t i = 0; i < sizeof floors / sizeof floors[0]; i++)
		if (*floors[i] < version)
			*floors[i] = version;
}

static void learn_versions(struct whole_client *client, const struct whole_append *append,
			   const struct annal_append_result *result)
{
	char name[32];

	if (append->writes_count == 1) {
		learn_version(client, append->writes[0].stream, result->version);
		return;
	}
	for (size_t i = 0; i < result->versions_count; i++)
		for (uint32_t j = 0; j < append->writes_count; j++) {
			const struct annal_stream_version *version = &result->versions[i];

			model_stream_name(append->writes[j].stream, name);
			if (version->stream.size == strlen(name) &&
			    memcmp(version->stream.data, name, version->stream.size) == 0)
				learn_version(client, append->writes[j].stream, version->version);
		}
}

static void acknowledged(struct whole_client *client, uint32_t number,
			 const struct annal_append_result *result)
{
	struct whole_append *append = &model.appends[number];

	if (append->result == WHOLE_OK &&
	    (append->first_position != result->first_position ||
	     append->position != result->position || !result->duplicate))
		os_violation("append %u was acknowledged at position %" PRIu64
			     ", and when sent again at %" PRIu64,
			     number, append->position, result->position);
	append->result = WHOLE_OK;
	append->first_position = result->first_position;
	append->position = result->position;
	append->version = result->version;
	learn_versions(client, append, result);
	if (model.floor < result->position)
		model.floor = result->position;
	if (model.acknowledged < result->position)
		model.acknowledged = result->position;
	if (client->floor < result->position)
		client->floor = result->position;
	whole_saw(WHOLE_SEEN_ACKNOWLEDGED);
	if (result->duplicate)
		whole_saw(WHOLE_SEEN_DUPLICATE);
	if (!client->calm && append->sent_at > whole.calm_at) {
		client->calm = true;
		whole.calm_clients++;
	}
}

static void check_violation(uint32_t number, const struct annal_violation *violation,
			    const uint64_t *floors)
{
	const struct whole_append *append = &model.appends[number];

	ASSERT(violation->index < append->writes_count);
	const struct whole_write *write = &append->writes[violation->index];

	if (violation->actual < floors[violation->index])
		os_violation("append %u was refused since stream %u had version %" PRIu64
			     ", but %" PRIu64 " was acknowledged before",
			     number, write->stream, violation->actual, floors[violation->index]);
	if (write->expect.kind == ANNAL_EXPECT_VERSION &&
	    write->expect.version == violation->actual)
		os_violation("append %u expected version %" PRIu64 " and was refused for it",
			     number, violation->actual);
}

static void refused(struct whole_client *client, uint32_t number, const struct annal_error *error,
		    const uint64_t *floors)
{
	struct whole_append *append = &model.appends[number];

	if (append->result == WHOLE_OK)
		os_violation("append %u was acknowledged, and refused when sent again: %s", number,
			     annal_code_name(error->code));
	append->result = WHOLE_REFUSED;
	for (size_t i = 0; i < error->violations_count; i++) {
		check_violation(number, &error->violations[i], floors);
		client->guess[append->writes[error->violations[i].index].stream] =
			error->violations[i].actual;
	}
	if (error->code == ANNAL_CONDITION_FAILED)
		append->conflict = error->position;
	whole_saw(error->code == ANNAL_CONDITION_FAILED ? WHOLE_SEEN_CONDITION
							: WHOLE_SEEN_REFUSED);
}

static void keep_unsure(struct whole_client *client, uint32_t number)
{
	if (client->unsure != NULL && client->unsure_count < UNSURE_MAX)
		client->unsure[client->unsure_count++] = number;
}

/* No answer of the store: whether it happened, the client says. */
static void failed(struct whole_client *client, uint32_t number, const struct annal_error *error)
{
	struct whole_append *append = &model.appends[number];

	if (strstr(error->message, "too little free space") != NULL)
		whole_saw(WHOLE_SEEN_NO_SPACE);
	switch (error->code) {
	case ANNAL_TIMEOUT:
	case ANNAL_UNREACHABLE:
	case ANNAL_NO_LEADER:
	case ANNAL_NOT_LEADER:
	case ANNAL_NOT_READY:
	case ANNAL_OVERLOADED:
	case ANNAL_SHUTTING_DOWN:
		break;
	default:
		os_violation("append %u failed with %s: %.200s", number,
			     annal_code_name(error->code), error->message);
	}
	if (append->result == WHOLE_OK)
		return;
	append->once_unknown |= error->outcome_unknown;
	append->result = append->once_unknown ? WHOLE_UNKNOWN : WHOLE_REFUSED;
	/* What is said not to have happened is not sent again: it must never be there. */
	if (!append->once_unknown)
		return;
	whole_saw(WHOLE_SEEN_UNKNOWN);
	keep_unsure(client, number);
}

void client_take_outcome(struct whole_client *client, uint32_t number, enum annal_code code,
			 const struct annal_append_result *result, const struct annal_error *error,
			 const uint64_t *floors)
{
	os_trace("append %u: %s, position %" PRIu64 "%s", number, annal_code_name(code),
		 code == ANNAL_OK ? result->position : 0,
		 code != ANNAL_OK && error->outcome_unknown ? " (unknown)" : "");
	os_record(code == ANNAL_OK ? result->position : (uint64_t)code << 32);
	if (code == ANNAL_OK)
		acknowledged(client, number, result);
	else if (code == ANNAL_WRONG_EXPECTED_VERSION || code == ANNAL_CONDITION_FAILED)
		refused(client, number, error, floors);
	else
		failed(client, number, error);
}

void client_note_floors(const struct whole_append *append, uint64_t floors[WHOLE_WRITES])
{
	for (uint32_t i = 0; i < append->writes_count; i++)
		floors[i] = model.stream_floor[append->writes[i].stream];
}

/* ---- one at a time ---- */

static void run_append(struct whole_client *client, uint32_t number)
{
	struct annal_append *append = client_make_request(&model.appends[number], client->number);
	struct annal_client *handle = client_handle(client);
	struct annal_append_result result;
	uint64_t floors[WHOLE_WRITES], began = os.now;
	uint32_t timeout_ms = client_draw_timeout();

	client_note_floors(&model.appends[number], floors);
	append->timeout_ms = timeout_ms;
	enum annal_code code = annal_append(handle, append, &result);

	whole_check_time("an append", began, timeout_ms);
	client_take_outcome(client, number, code, &result, annal_client_error(handle), floors);
}

void client_append(struct whole_client *client)
{
	if (client->unsure_count > 0 && os_chance(600)) {
		uint32_t number = client->unsure[--client->unsure_count];

		whole_saw(WHOLE_SEEN_AGAIN);
		run_append(client, number);
		return;
	}
	uint32_t number = client_draw_append(client);

	run_append(client, number);
	if (model.appends[number].result == WHOLE_OK && os_chance(30))
		run_append(client, number);
}

/* ---- many in flight ---- */

struct flight {
	struct whole_client *client;
	uint32_t number, timeout_ms;
	uint64_t began, floors[WHOLE_WRITES];
	bool done;
};

static void on_done(void *arg, enum annal_code code, const struct annal_append_result *result,
		    const struct annal_error *error)
{
	struct flight *flight = arg;

	ASSERT(!flight->done);
	flight->done = true;
	whole_check_time("an append in flight", flight->began, flight->timeout_ms);
	client_take_outcome(flight->client, flight->number, code, result, error, flight->floors);
}

void client_append_burst(struct whole_client *client)
{
	struct flight flights[BURST_MAX];
	struct annal_client *handle = client_handle(client);
	unsigned count = (unsigned)os_between(2, BURST_MAX);

	for (unsigned i = 0; i < count; i++) {
		struct flight *flight = &flights[i];

		*flight = (struct flight){.client = client,
					  .number = client_draw_append(client),
					  .timeout_ms = client_draw_timeout(),
					  .began = os.now};
		client_note_floors(&model.appends[flight->number], flight->floors);
		struct annal_append *append =
			client_make_request(&model.appends[flight->number], client->number);

		append->timeout_ms = flight->timeout_ms;
		enum annal_code code = annal_append_async(handle, append, on_done, flight);

		if (code != ANNAL_OK)
			os_violation("append %u cannot be started: %s", flight->number,
				     annal_client_error(handle)->message);
	}
	while (annal_in_flight(handle) > 0 && !os.violated)
		annal_poll(handle, 100);
	for (unsigned i = 0; i < count; i++)
		if (!flights[i].done)
			os_violation("append %u ends without an outcome", flights[i].number);
}
