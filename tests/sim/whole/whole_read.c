/* Reads: of everything, by query, of a stream; in a session, linearizable, or whatever a node has. */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

/* What a page must not be behind. */
struct floors {
	uint64_t head, version;
};

static enum annal_consistency draw_consistency(const struct whole_client *client)
{
	static const enum annal_consistency kinds[] = {
		ANNAL_CONSISTENCY_SESSION, ANNAL_CONSISTENCY_SESSION,
		ANNAL_CONSISTENCY_LINEARIZABLE, ANNAL_CONSISTENCY_LOCAL};

	return kinds[os_between(client->reads_only ? 1 : 0, client->reads_only ? 2 : 3)];
}

/* Those that only read come often: nothing of theirs may wait for long. */
static uint32_t draw_timeout(const struct whole_client *client)
{
	return client->reads_only ? (uint32_t)os_between(30, 300) : client_draw_timeout();
}

static uint32_t draw_limit(const struct whole_client *client)
{
	return (uint32_t)os_between(1, os_chance(client->reads_only ? 950 : 500) ? 8 : 700);
}

static const char *name_of(enum annal_consistency consistency)
{
	return consistency == ANNAL_CONSISTENCY_SESSION        ? "a read in a session"
	       : consistency == ANNAL_CONSISTENCY_LINEARIZABLE ? "a linearizable read"
							       : "a local read";
}

static void note_floors(const struct whole_client *client, enum annal_consistency consistency,
			uint32_t stream, struct floors *floors)
{
	*floors = (struct floors){0};
	if (consistency == ANNAL_CONSISTENCY_SESSION) {
		floors->head = client->floor;
		floors->version = client->stream_floor[stream];
	}
	if (consistency == ANNAL_CONSISTENCY_LINEARIZABLE) {
		floors->head = model.floor;
		floors->version = model.stream_floor[stream];
	}
}

static void raise(uint64_t *floor, uint64_t to)
{
	if (*floor < to)
		*floor = to;
}

static void learn(struct whole_client *client, enum annal_consistency consistency, uint64_t head)
{
	static const enum whole_seen seen[] = {
		[ANNAL_CONSISTENCY_SESSION] = WHOLE_SEEN_SESSION,
		[ANNAL_CONSISTENCY_LOCAL] = WHOLE_SEEN_LOCAL,
		[ANNAL_CONSISTENCY_LINEARIZABLE] = WHOLE_SEEN_LINEARIZABLE,
	};

	whole_saw(seen[consistency]);
	if (consistency != ANNAL_CONSISTENCY_LOCAL)
		raise(&client->floor, head);
	if (consistency == ANNAL_CONSISTENCY_LINEARIZABLE)
		raise(&model.floor, head);
}

static void read_failed(const struct annal_error *error)
{
	switch (error->code) {
	case ANNAL_TIMEOUT:
	case ANNAL_UNREACHABLE:
	case ANNAL_NO_LEADER:
	case ANNAL_NOT_LEADER:
	case ANNAL_NOT_READY:
	case ANNAL_OVERLOADED:
	case ANNAL_SHUTTING_DOWN:
		whole_saw(WHOLE_SEEN_READ_FAILED);
		return;
	default:
		os_violation("a read failed with %s: %.200s", annal_code_name(error->code),
			     error->message);
	}
}

static void check_head(const char *who, uint64_t head, const struct floors *floors)
{
	if (head < floors->head)
		os_violation("%s is of position %" PRIu64 ", but %" PRIu64
			     " had been seen before it was sent",
			     who, head, floors->head);
}

/* ---- everything, or by query ---- */

static void check_log_page(const struct annal_read *read, unsigned kind, uint32_t name,
			   const struct annal_page *page, const char *who)
{
	uint64_t before = 0;

	for (size_t i = 0; i < page->count; i++) {
		const struct annal_event *event = &page->events[i];
		uint32_t number = model_check_event(who, event);

		if (i > 0 && (event->position > before) == read->backward)
			os_violation("%s: position %" PRIu64 " follows %" PRIu64, who,
				     event->position, before);
		if (!model_matches(kind, name, &model.events[number]))
			os_violation("%s got event %u, which its query does not match", who,
				     number);
		if (event->position > page->head)
			os_violation("%s got position %" PRIu64 " with a head of %" PRIu64, who,
				     event->position, page->head);
		before = event->position;
	}
	if (!read->backward)
		model_note_range(kind, name, read->from, page->end ? page->head : page->next - 1,
				 (uint32_t)page->count, who);
	else
		model_note_range(kind, name, page->end ? 0 : page->next + 1,
				 read->from == 0 ? page->head : read->from, (uint32_t)page->count,
				 who);
}

static void read_log(struct whole_client *client)
{
	unsigned kind = os_chance(400) ? 0 : (unsigned)os_between(1, WHOLE_QUERIES - 1);
	uint32_t name = (uint32_t)os_between(0, 19);
	struct annal_read read = {
		.query = model_query(kind, name),
		.backward = os_chance(500),
		.limit = draw_limit(client),
		.consistency = draw_consistency(client),
		.timeout_ms = draw_timeout(client),
	};
	struct annal_client *handle = client_handle(client);
	struct annal_page *page;
	struct floors floors;
	uint64_t began = os.now;
	const char *who = name_of(read.consistency);

	if (!read.backward)
		read.from = os_between(1, client->floor + 1);
	else if (os_chance(500))
		read.from = os_between(1, client->floor + 1);
	note_floors(client, read.consistency, 0, &floors);
	enum annal_code code = annal_read(handle, &read, &page);

	whole_check_time(who, began, read.timeout_ms);
	os_record(code == ANNAL_OK ? page->head : (uint64_t)code << 32);
	if (code != ANNAL_OK) {
		read_failed(annal_client_error(handle));
		return;
	}
	/* From beyond the head there is nothing: what it says of its end is of no range. */
	if (read.from <= page->head)
		check_log_page(&read, kind, name, page, who);
	check_head(who, page->head, &floors);
	learn(client, read.consistency, page->head);
	annal_page_free(page);
}

/* ---- a stream ---- */

static void check_stream_page(const struct annal_read *read, const struct annal_page *page,
			      const char *who)
{
	uint64_t version = read->backward && (read->from == 0 || read->from > page->version)
				   ? page->version
			   : read->from == 0 ? 1
					     : read->from;

	for (size_t i = 0; i < page->count; i++) {
		model_check_event(who, &page->events[i]);
		if (page->events[i].version != version)
			os_violation("%s of %s: version %" PRIu64 " where %" PRIu64 " should be",
				     who, read->stream, page->events[i].version, version);
		version += read->backward ? UINT64_MAX : 1;
	}
	if (page->end && version != (read->backward ? 0 : page->version + 1) &&
	    (read->backward || read->from <= page->version))
		os_violation("%s of %s ends before version %" PRIu64 " of %" PRIu64, who,
			     read->stream, version, page->version);
}

static void read_stream(struct whole_client *client)
{
	uint32_t stream = (uint32_t)os_between(0, whole.limits.streams - 1);
	char name[32];
	struct annal_read read = {
		.stream = name,
		.backward = os_chance(500),
		.limit = draw_limit(client),
		.consistency = draw_consistency(client),
		.timeout_ms = draw_timeout(client),
	};
	struct annal_client *handle = client_handle(client);
	struct annal_page *page;
	struct floors floors;
	uint64_t began = os.now;
	const char *who = name_of(read.consistency);

	model_stream_name(stream, name);
	if (os_chance(500))
		read.from = os_between(1, client->stream_floor[stream] + 1);
	note_floors(client, read.consistency, stream, &floors);
	enum annal_code code = annal_read(handle, &read, &page);
	uint64_t version = code == ANNAL_OK ? page->version : 0;

	whole_check_time(who, began, read.timeout_ms);
	os_record(code == ANNAL_OK ? version : (uint64_t)code << 32);
	if (code != ANNAL_OK && code != ANNAL_STREAM_NOT_FOUND) {
		read_failed(annal_client_error(handle));
		return;
	}
	if (version < floors.version)
		os_violation("%s of %s sees version %" PRIu64 ", but %" PRIu64
			     " had been seen before it was sent",
			     who, name, version, floors.version);
	if (code != ANNAL_OK)
		return;
	check_stream_page(&read, page, who);
	check_head(who, page->head, &floors);
	learn(client, read.consistency, page->head);
	if (read.consistency != ANNAL_CONSISTENCY_LOCAL)
		raise(&client->stream_floor[stream], version);
	if (read.consistency == ANNAL_CONSISTENCY_LINEARIZABLE)
		raise(&model.stream_floor[stream], version);
	client->guess[stream] = version;
	annal_page_free(page);
}

void client_read(struct whole_client *client)
{
	if (os_chance(500))
		read_log(client);
	else
		read_stream(client);
}
