/*
 * What the programs asked for and what they were told, and the rules by which it is judged. Every event says in
 * its data which one it is, so that whoever reads it knows what it must be. At the end the whole log is
 * replayed here: places, versions, expectations, conditions, order in time, and that nothing was left out
 * of what anybody read.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 32

struct range {
	unsigned kind;
	uint32_t name, count;
	uint64_t from, to;
	const char *who;
};

struct whole_model model;

static struct {
	struct range *ranges;
	size_t ranges_count, ranges_room;
	uint32_t *final; /* numbers of events in the order of the log */
	uint64_t *final_position, *final_version;
	uint32_t final_count;
} log_end;

void model_begin(void)
{
	model = (struct whole_model){
		.events = memory_zeroed(WHOLE_EVENTS_MAX, sizeof *model.events),
		.appends = memory_zeroed(WHOLE_APPENDS_MAX, sizeof *model.appends),
		.at = memory_zeroed(WHOLE_EVENTS_MAX * 2, sizeof *model.at),
		.version_at = memory_zeroed(WHOLE_EVENTS_MAX * 2, sizeof *model.version_at),
		.place = memory_zeroed(WHOLE_EVENTS_MAX, sizeof *model.place),
	};
	log_end.final = memory_zeroed(WHOLE_EVENTS_MAX, sizeof *log_end.final);
	log_end.final_position = memory_zeroed(WHOLE_EVENTS_MAX, sizeof *log_end.final_position);
	log_end.final_version = memory_zeroed(WHOLE_EVENTS_MAX, sizeof *log_end.final_version);
}

/* ---- names ---- */

static const char *const types[WHOLE_TYPES] = {"Opened", "Changed", "Closed"};
static const char *const tags[WHOLE_TAGS] = {"k:0", "k:1", "k:2", "k:3"};
static const char *const categories[] = {"Order", "User"};

void model_stream_name(uint32_t stream, char name[32])
{
	snprintf(name, NAME_BYTES, "%s-%u", categories[stream % 2], stream);
}

const char *model_type_name(uint32_t type)
{
	return types[type];
}

const char *model_tag_name(uint32_t tag)
{
	return tags[tag];
}

/* ---- queries ---- */

enum { QUERY_NONE, QUERY_TYPE, QUERY_TAG, QUERY_CATEGORY, QUERY_STREAM, QUERY_TYPE_AND_TAG };

static uint32_t category_of(uint32_t name)
{
	return name % 2;
}

const struct annal_query *model_query(unsigned kind, uint32_t name)
{
	static const char *strings[2];
	static char stream[NAME_BYTES];
	static struct annal_query_item item;
	static struct annal_query query;

	item = (struct annal_query_item){0};
	query = (struct annal_query){.items = &item, .count = 1};
	strings[0] = types[name % WHOLE_TYPES];
	strings[1] = tags[name % WHOLE_TAGS];
	model_stream_name(name % (uint32_t)whole.limits.streams, stream);
	if (kind == QUERY_TYPE || kind == QUERY_TYPE_AND_TAG)
		item.types = (struct annal_strings){.items = &strings[0], .count = 1};
	if (kind == QUERY_TAG || kind == QUERY_TYPE_AND_TAG)
		item.tags = (struct annal_strings){.items = &strings[1], .count = 1};
	if (kind == QUERY_CATEGORY) {
		strings[0] = categories[category_of(name)];
		item.categories = (struct annal_strings){.items = &strings[0], .count = 1};
	}
	if (kind == QUERY_STREAM) {
		strings[0] = stream;
		item.streams = (struct annal_strings){.items = &strings[0], .count = 1};
	}
	return kind == QUERY_NONE ? NULL : &query;
}

bool model_matches(unsigned kind, uint32_t name, const struct whole_event *event)
{
	switch (kind) {
	case QUERY_TYPE:
		return event->type == name % WHOLE_TYPES;
	case QUERY_TAG:
		return event->tag == name % WHOLE_TAGS;
	case QUERY_CATEGORY:
		return event->stream % 2 == category_of(name);
	case QUERY_STREAM:
		return event->stream == name % (uint32_t)whole.limits.streams;
	case QUERY_TYPE_AND_TAG:
		return event->type == name % WHOLE_TYPES && event->tag == name % WHOLE_TAGS;
	default:
		return true;
	}
}

/* ---- events ---- */

size_t model_fill_data(uint32_t number, uint8_t *into)
{
	size_t size = model.events[number].size;

	memcpy(into, &number, sizeof number);
	for (size_t i = sizeof number; i < size; i++)
		into[i] = (uint8_t)(number * 31 + i * 7);
	return size;
}

static bool is_text(struct annal_bytes bytes, const char *text)
{
	return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static bool has_id(const struct whole_event *event)
{
	static const uint8_t none[ANNAL_ID_BYTES];

	return memcmp(event->id, none, sizeof none) != 0;
}

/* Is it what was appended, to the last byte? */
static bool is_as_appended(uint32_t number, const struct annal_event *event)
{
	const struct whole_event *wanted = &model.events[number];
	uint8_t data[4096];
	char stream[NAME_BYTES];
	size_t size = model_fill_data(number, data);
	size_t tags_count = wanted->tag < WHOLE_TAGS;

	model_stream_name(wanted->stream, stream);
	if (has_id(wanted) && memcmp(event->id, wanted->id, sizeof event->id) != 0)
		return false;
	return event->data.size == size && memcmp(event->data.data, data, size) == 0 &&
	       is_text(event->stream, stream) && is_text(event->type, types[wanted->type]) &&
	       event->tags_count == tags_count &&
	       (tags_count == 0 || is_text(event->tags[0], tags[wanted->tag]));
}

uint32_t model_check_event(const char *who, const struct annal_event *event)
{
	uint32_t number = UINT32_MAX;

	if (event->data.size >= sizeof number)
		memcpy(&number, event->data.data, sizeof number);
	if (number >= model.events_count || !is_as_appended(number, event)) {
		os_violation("%s got at position %" PRIu64 " what nobody appended", who,
			     event->position);
		return 0;
	}
	ASSERT(event->position < WHOLE_EVENTS_MAX * 2);
	uint32_t *at = &model.at[event->position];

	if (*at != 0 && (*at != number + 1 || model.version_at[event->position] != event->version))
		os_violation("%s got event %u, version %" PRIu64 ", at position %" PRIu64
			     ", where another got event %u, version %" PRIu64,
			     who, number, event->version, event->position, *at - 1,
			     model.version_at[event->position]);
	*at = number + 1;
	model.version_at[event->position] = event->version;
	return number;
}

void model_note_range(unsigned kind, uint32_t name, uint64_t from, uint64_t to, uint32_t count,
		      const char *who)
{
	if (log_end.ranges_count == log_end.ranges_room) {
		log_end.ranges_room = log_end.ranges_room == 0 ? 1024 : log_end.ranges_room * 2;
		log_end.ranges =
			memory_resize(log_end.ranges, log_end.ranges_room * sizeof *log_end.ranges);
	}
	log_end.ranges[log_end.ranges_count++] = (struct range){
		.kind = kind, .name = name, .count = count, .from = from, .to = to, .who = who};
}

void model_final_event(const struct annal_event *event)
{
	uint32_t number = model_check_event("the reader of everything", event);
	uint32_t at = log_end.final_count++;

	if (os.violated)
		return;
	if (model.place[number] != 0)
		os_violation("event %u is at position %u and at %" PRIu64, number,
			     model.place[number], event->position);
	model.place[number] = (uint32_t)event->position;
	log_end.final[at] = number;
	log_end.final_position[at] = event->position;
	log_end.final_version[at] = event->version;
}

/* ---- the whole log ---- */

static void check_versions(void)
{
	uint64_t versions[WHOLE_STREAMS_MAX] = {0};

	for (uint32_t i = 0; i < log_end.final_count; i++) {
		const struct whole_event *event = &model.events[log_end.final[i]];
		uint64_t wanted = ++versions[event->stream];

		if (log_end.final_version[i] != wanted)
			os_violation("event %u has version %" PRIu64 " of its stream, not %" PRIu64,
				     log_end.final[i], log_end.final_version[i], wanted);
	}
}

/* The version of each stream before that place of the log. */
static uint64_t version_before(uint32_t stream, uint64_t position)
{
	for (uint32_t i = log_end.final_count; i > 0; i--)
		if (log_end.final_position[i - 1] < position &&
		    model.events[log_end.final[i - 1]].stream == stream)
			return log_end.final_version[i - 1];
	return 0;
}

static bool holds(const struct annal_expect *expect, uint64_t version)
{
	switch (expect->kind) {
	case ANNAL_EXPECT_NO_STREAM:
		return version == 0;
	case ANNAL_EXPECT_STREAM_EXISTS:
		return version > 0;
	case ANNAL_EXPECT_VERSION:
		return version == expect->version;
	default:
		return true;
	}
}

static void check_condition(uint32_t number, const struct whole_append *append, uint64_t first)
{
	for (uint32_t i = 0; append->query != 0 && i < log_end.final_count; i++)
		if (log_end.final_position[i] > append->query_after &&
		    log_end.final_position[i] < first &&
		    model_matches(append->query, append->query_name,
				  &model.events[log_end.final[i]]))
			os_violation("append %u is stored although event %u at position %" PRIu64
				     " meets its condition",
				     number, log_end.final[i], log_end.final_position[i]);
}

/* All of its events, one behind the other, and what it expected was so. */
static void check_stored(uint32_t number, const struct whole_append *append)
{
	uint64_t first = model.place[append->writes[0].first_event], next = first;

	for (uint32_t i = 0; i < append->writes_count; i++) {
		const struct whole_write *write = &append->writes[i];

		for (uint32_t j = 0; j < write->events; j++, next++)
			if (model.place[write->first_event + j] != next)
				os_violation("append %u is not in one piece: event %u is at %u, "
					     "not at %" PRIu64,
					     number, write->first_event + j,
					     model.place[write->first_event + j], next);
		if (!holds(&write->expect, version_before(write->stream, first)))
			os_violation("append %u is stored although stream %u had version %" PRIu64,
				     number, write->stream, version_before(write->stream, first));
	}
	if (first <= append->floor)
		os_violation("append %u is at position %" PRIu64 ", but %" PRIu64
			     " was acknowledged before it was sent",
			     number, first, append->floor);
	check_condition(number, append, first);
	if (append->result != WHOLE_OK)
		return;
	if (append->first_position != first || append->position != next - 1)
		os_violation("append %u is at %" PRIu64 " to %" PRIu64
			     ", but was acknowledged at %" PRIu64 " to %" PRIu64,
			     number, first, next - 1, append->first_position, append->position);
	if (append->writes_count == 1 && append->version != model.version_at[next - 1])
		os_violation("append %u has version %" PRIu64
			     ", but was acknowledged with %" PRIu64,
			     number, model.version_at[next - 1], append->version);
}

static void check_append(uint32_t number)
{
	const struct whole_append *append = &model.appends[number];
	bool stored = model.place[append->writes[0].first_event] != 0;

	if (append->result == WHOLE_OK && !stored)
		os_violation("append %u was acknowledged at position %" PRIu64 " and is lost",
			     number, append->position);
	if (append->result == WHOLE_REFUSED && !append->once_unknown && stored)
		os_violation("append %u was refused and is stored at position %u", number,
			     model.place[append->writes[0].first_event]);
	if (stored)
		check_stored(number, append);
	if (append->conflict == 0)
		return;
	uint32_t met = model.at[append->conflict];

	if (append->conflict <= append->query_after || met == 0 ||
	    !model_matches(append->query, append->query_name, &model.events[met - 1]))
		os_violation("append %u was refused for position %" PRIu64
			     ", which does not meet its condition",
			     number, append->conflict);
}

uint32_t model_count(unsigned kind, uint32_t name, uint64_t from, uint64_t to)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < log_end.final_count; i++)
		count += log_end.final_position[i] >= from && log_end.final_position[i] <= to &&
			 model_matches(kind, name, &model.events[log_end.final[i]]);
	return count;
}

static void check_range(const struct range *range)
{
	uint32_t count = model_count(range->kind, range->name, range->from, range->to);

	if (count != range->count)
		os_violation("%s: %u events of query %u/%u from position %" PRIu64 " to %" PRIu64
			     ", the log has %u",
			     range->who, range->count, range->kind, range->name, range->from,
			     range->to, count);
}

void model_check_all(uint64_t head)
{
	for (uint64_t position = head + 1; position < WHOLE_EVENTS_MAX * 2; position++)
		if (model.at[position] != 0)
			os_violation("event %u was seen at position %" PRIu64
				     ", but the log ends at %" PRIu64,
				     model.at[position] - 1, position, head);
	for (uint64_t position = 0; position <= head; position++)
		if (model.at[position] != 0 && model.place[model.at[position] - 1] != position)
			os_violation("event %u was seen at position %" PRIu64 ", but is at %u",
				     model.at[position] - 1, position,
				     model.place[model.at[position] - 1]);
	check_versions();
	for (uint32_t i = 0; i < model.appends_count; i++)
		check_append(i);
	for (size_t i = 0; i < log_end.ranges_count; i++)
		check_range(&log_end.ranges[i]);
}
