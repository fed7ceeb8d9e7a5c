/* Stores against the model: each outcome, queries at random moments, and all of it at the end. */
#include "base/checksum.h"
#include "storage/hole.h"
#include "storage/system.h"
#include "tests/sim/sim.h"

#include <errno.h>
#include <string.h>

#define PAGE_RECORDS 200
#define QUERIES      12
#define IDS          150

/* ---- outcomes ---- */

void sim_verify_decide(struct sim *sim, struct sim_batch *batch)
{
	struct sim_model *model = &sim->model;

	if (batch->is_decided)
		return;
	if (batch->index <= model->index) {
		sim_violation(sim,
			      "index %" PRIu64 " is applied after %" PRIu64
			      ", and not what was applied there first",
			      batch->index, model->index);
		return;
	}
	model->index = batch->index;
	for (unsigned i = 0; i < batch->count; i++)
		sim_model_append(sim, sim->writes[batch->first_write + i].append, batch->created,
				 &batch->decided[i]);
	batch->is_decided = true;
	batch->head = model->head;
	sim->outcome.appends += batch->count;
	sim->outcome.records = model->head;
}

static bool same_streams(const struct outcome *outcome, const struct sim_decided *decided)
{
	if (outcome->stream_count != decided->stream_count)
		return false;
	for (unsigned i = 0; i < decided->stream_count; i++) {
		const struct outcome_stream *stream = &outcome->streams[i];

		if (!span_equal_string(stream->stream,
				       sim_stream_name(decided->streams[i].stream)) ||
		    stream->first_version != decided->streams[i].first_version ||
		    stream->version != decided->streams[i].version)
			return false;
	}
	return true;
}

static bool same_violations(const struct outcome *outcome, const struct sim_decided *decided)
{
	if (outcome->violation_count != decided->violation_count)
		return false;
	for (unsigned i = 0; i < decided->violation_count; i++) {
		const struct violation *violation = &outcome->violations[i];

		if (violation->expected.index != decided->violations[i].index ||
		    violation->actual != decided->violations[i].actual ||
		    (violation->state == STREAM_LIVE) != decided->violations[i].exists)
			return false;
	}
	return true;
}

static bool same_details(const struct sim *sim, const struct outcome *outcome,
			 const struct sim_decided *decided)
{
	switch (decided->code) {
	case ANSWER_OK:
		return outcome->duplicate == decided->duplicate &&
		       outcome->first_position == decided->first_position &&
		       outcome->position == decided->position &&
		       outcome->created == decided->created && same_streams(outcome, decided);
	case ANSWER_WRONG_EXPECTED_VERSION:
		return same_violations(outcome, decided);
	case ANSWER_CONDITION_FAILED:
		return outcome->condition_index == decided->condition_index &&
		       outcome->condition_position == decided->condition_position;
	case ANSWER_EVENT_ID_CONFLICT:
		return memcmp(outcome->conflict_id, sim_id_bytes(sim, decided->conflict_id),
			      UUID_BYTES) == 0 &&
		       span_equal_string(outcome->conflict_stream,
					 sim_stream_name(decided->conflict_stream)) &&
		       outcome->conflict_version == decided->conflict_version;
	case ANSWER_CHECKPOINT_CONFLICT:
		return outcome->checkpoint_position == decided->checkpoint_position &&
		       outcome->checkpoint_epoch == decided->checkpoint_epoch;
	default:
		return decided->code == ANSWER_NOT_FOUND;
	}
}

void sim_verify_outcome(struct sim_node *node, const struct sim_batch *batch, unsigned item,
			const struct outcome *outcome)
{
	struct sim *sim = node->sim;

	if (item >= batch->count) {
		sim_violation(sim, "node %u decides item %u of %u", node->number, item,
			      batch->count);
		return;
	}
	const struct sim_decided *decided = &batch->decided[item];

	if (outcome->code != decided->code || !same_details(sim, outcome, decided))
		sim_violation(sim,
			      "node %u decides item %u of index %" PRIu64 " as %s%s (%" PRIu64
			      "), the model as %s%s (%" PRIu64 ")",
			      node->number, item, batch->index, answer_name(outcome->code),
			      outcome->duplicate ? ", duplicate" : "",
			      outcome->code == ANSWER_CONDITION_FAILED ? outcome->condition_position
								       : outcome->position,
			      answer_name(decided->code), decided->duplicate ? ", duplicate" : "",
			      decided->code == ANSWER_CONDITION_FAILED ? decided->condition_position
								       : decided->position);
	if (decided->duplicate && decided->position <= node->store.durable_position)
		sim->outcome.seen[SEEN_DUPLICATE_FLUSHED]++;
}

/* ---- queries ---- */

/* From `at`, the next position that matches, or 0. */
static uint64_t next_match(const struct sim_model *model, const struct sim_query *query,
			   uint64_t at, uint64_t head, bool backward)
{
	for (; at >= 1 && at <= head; at += backward ? UINT64_MAX : 1)
		if (sim_model_matches(query, &model->stored[at]))
			return at;
	return 0;
}

static void compare_page(struct sim_node *node, const struct sim_query *query,
			 const struct read_range *range, const struct page *page)
{
	struct span left = buffer_span(&page->records);
	uint64_t at = range->from;
	struct record record;

	for (uint32_t i = 0; i < page->count; i++) {
		at = next_match(&node->sim->model, query, at, page->head, range->backward);
		if (record_parse(left, &record) != 0 || record.position != at) {
			sim_violation(node->sim,
				      "node %u: a query gives another event, after %" PRIu64
				      " records, than that at %" PRIu64,
				      node->number, (uint64_t)i, at);
			return;
		}
		left = span_of(left.data + record.bytes.size, left.size - record.bytes.size);
		at += range->backward ? UINT64_MAX : 1;
	}
	if (page->end && next_match(&node->sim->model, query, at, page->head, range->backward) != 0)
		sim_violation(node->sim, "node %u: a query misses events at its end", node->number);
	if (!page->end && page->count < range->limit)
		sim_violation(node->sim, "node %u: a page of a query is short", node->number);
}

/* Only where a bit has flipped may reading fail. */
static void failed(struct sim_node *node, const char *what, const struct error *error)
{
	if (!sim_damage_met(node, error))
		sim_violation(node->sim, "node %u: %s fails: %.200s", node->number, what,
			      error->message);
}

void sim_verify_query(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t head = store_head(node->store.store);
	struct read_range range = {.limit = (uint32_t)sim_between(sim, 1, 40),
				   .bytes_max = LIMIT_READ_BYTES_DEFAULT};
	struct sim_query asked;
	struct query query;
	struct page page = {0};
	struct error error;

	sim_draw_query(sim, &asked);
	range.backward = sim_chance(sim, 500);
	if (head == 0)
		return;
	range.from = sim_between(sim, 1, head);
	query_init(&query);
	buffer_init(&page.records);
	sim_query_build(&asked, &query);
	if (store_read_query(node->store.store, &query, &range, &page, &error) != 0)
		failed(node, "a query", &error);
	else
		compare_page(node, &asked, &range, &page);
	sim->outcome.seen[SEEN_QUERY]++;
	buffer_close(&page.records);
	query_close(&query);
}

/* ---- the whole store ---- */

struct reading {
	struct sim_node *node;
	uint64_t position, hash; /* of what was read */
};

static bool is_as_stored(const struct sim *sim, const struct record *record,
			 const struct sim_stored *stored)
{
	unsigned tags = 0;

	for (unsigned i = 0; i < record->tag_count; i++)
		for (unsigned tag = 0; tag < SIM_TAGS; tag++)
			if (span_equal_string(record->tags[i], sim_tag_name(tag)))
				tags |= 1u << tag;
	return record->version == stored->version && record->created == stored->created &&
	       memcmp(record->id, sim_id_bytes(sim, stored->id), UUID_BYTES) == 0 &&
	       span_equal_string(record->stream, sim_stream_name(stored->stream)) &&
	       span_equal_string(record->type, sim_type_name(stored->type)) && tags == stored->tags;
}

static size_t look_at_record(struct reading *reading, struct span left)
{
	const struct sim *sim = reading->node->sim;
	uint64_t next = reading->position + 1;
	struct record record;

	if (record_parse(left, &record) != 0 || record.position != next || next > sim->model.head ||
	    !is_as_stored(sim, &record, &sim->model.stored[next]))
		return 0;
	reading->position = next;
	reading->hash = checksum64_seeded(record.bytes.data, record.bytes.size, reading->hash);
	return record.bytes.size;
}

static size_t look_at_hole(struct reading *reading, struct span left)
{
	const struct sim_model *model = &reading->node->sim->model;
	struct hole hole;

	if (hole_parse(left, &hole) != 0 || hole.first != reading->position + 1 ||
	    hole.last > model->head || hole.hash_before != reading->hash)
		return 0;
	for (uint64_t at = hole.first; at <= hole.last; at++)
		if (model->stored[at].superseded == 0)
			return 0;
	reading->position = hole.last;
	reading->hash = hole.hash_after;
	return HOLE_BYTES;
}

static bool look_at_page(struct reading *reading, struct span left)
{
	while (left.size > 0) {
		size_t size = hole_is_next(left) ? look_at_hole(reading, left)
						 : look_at_record(reading, left);

		if (size == 0) {
			sim_violation(reading->node->sim,
				      "node %u: behind position %" PRIu64
				      " it has not what the model has",
				      reading->node->number, reading->position);
			return false;
		}
		left = span_of(left.data + size, left.size - size);
	}
	return true;
}

static void verify_records(struct sim_node *node)
{
	struct reading reading = {.node = node};
	struct page page = {0};
	struct error error;

	buffer_init(&page.records);
	do {
		struct read_range range = {.from = reading.position + 1,
					   .limit = PAGE_RECORDS,
					   .bytes_max = LIMIT_READ_BYTES_DEFAULT};

		buffer_clear(&page.records);
		if (store_read_raw(node->store.store, &range, &page, &error) != 0) {
			failed(node, "reading everything", &error);
			buffer_close(&page.records);
			return;
		}
	} while (look_at_page(&reading, buffer_span(&page.records)) && page.count > 0);
	buffer_close(&page.records);
	if (reading.position != node->store.applied.position ||
	    reading.hash != node->store.applied.hash)
		sim_violation(node->sim,
			      "node %u: its records up to %" PRIu64 " are not those of its hash",
			      node->number, reading.position);
}

static void verify_streams(struct sim_node *node)
{
	for (unsigned i = 0; i < SIM_NAMES; i++) {
		struct stream_status status;
		struct error error;
		uint64_t version = node->sim->model.streams[i].version;

		if (store_stream_status(node->store.store, span_of_string(sim_stream_name(i)),
					&status, &error) != 0)
			failed(node, "a stream's status", &error);
		else if (status.version != version)
			sim_violation(node->sim,
				      "node %u: stream %s is at version %" PRIu64
				      ", not at %" PRIu64,
				      node->number, sim_stream_name(i), status.version, version);
	}
}

/* The last record of each consumer, as it was asked for. */
static void verify_consumers(struct sim_node *node)
{
	for (unsigned i = 0; i < SIM_CONSUMERS; i++) {
		unsigned stream = sim_checkpoint_stream(i);
		uint64_t version = node->sim->model.streams[stream].version;
		const struct sim_consumer_model *known = &node->sim->model.consumers[i];
		struct system_checkpoint checkpoint = {.deleted = true};
		struct record record;
		struct buffer bytes;
		struct error error;

		buffer_init(&bytes);
		int rc = version == 0 ? 0
				      : store_read_version(node->store.store,
							   span_of_string(sim_stream_name(stream)),
							   version, &bytes, &error);

		if (rc != 0 && sim_damage_met(node, &error)) {
			buffer_close(&bytes);
			return;
		}
		if (rc == 0 && version > 0)
			rc = record_parse(buffer_span(&bytes), &record) != 0 ||
					     system_checkpoint_parse(&record, &checkpoint) != 0
				     ? -EBADMSG
				     : 0;
		if (rc != 0 || checkpoint.deleted == known->exists ||
		    checkpoint.position != known->position || checkpoint.epoch != known->epoch)
			sim_violation(node->sim, "node %u: another checkpoint of consumer %u",
				      node->number, i);
		buffer_close(&bytes);
	}
}

/*
 * The entry of an id whose key has flipped stands at a wrong place: ids of later events can come between it
 * and the place that it is looked for at, and then nothing there tells of it (docs/decisions/0006).
 */
static bool may_be_hidden(const struct sim_node *node, uint64_t position, int rc)
{
	return rc == -ENOENT && position > 0 && node->damaged &&
	       node->damage.fault == FAULT_FLIP_STORE;
}

static void verify_ids(struct sim_node *node)
{
	struct sim *sim = node->sim;
	uint64_t count = sim->ids.size / UUID_BYTES;

	/* Some of them; all where a bit has flipped that nobody has met. */
	for (uint64_t i = 0; i < (node->damaged ? count : IDS) && count > 0; i++) {
		uint64_t id = node->damaged ? i + 1 : sim_between(sim, 1, count);
		uint64_t position = sim_model_id(&sim->model, id);
		struct buffer bytes;
		struct error error;

		buffer_init(&bytes);
		int rc = store_read_id(node->store.store, sim_id_bytes(sim, id), &bytes, &error);

		if (rc != 0 && rc != -ENOENT && sim_damage_met(node, &error)) {
			buffer_close(&bytes);
			return;
		}
		if (may_be_hidden(node, position, rc)) {
			sim->outcome.damage_hidden++;
			buffer_close(&bytes);
			return;
		}
		if (position == 0 ? rc != -ENOENT
				  : rc != 0 || record_position(bytes.data) != position)
			sim_violation(sim,
				      "node %u finds id %" PRIu64 " elsewhere than at %" PRIu64,
				      node->number, id, position);
		buffer_close(&bytes);
	}
}

void sim_verify_store(struct sim_node *node)
{
	verify_records(node);
	verify_streams(node);
	verify_consumers(node);
	verify_ids(node);
	for (unsigned i = 0; i < QUERIES; i++)
		sim_verify_query(node);
}

/* ---- what clients were told ---- */

enum { ID_ABSENT, ID_UNKNOWN, ID_STORED };

/* Every id that was acknowledged is stored where the answer said; no refused one is stored. */
void sim_verify_answers(struct sim *sim)
{
	size_t count = sim->ids.size / UUID_BYTES + 1;
	uint8_t *told = memory_zeroed(count, 1);

	for (uint64_t i = 1; i <= sim->write_count; i++) {
		const struct sim_write *write = &sim->writes[i];
		const struct sim_batch *batch = sim_batch_find(sim, write->index, write->term);
		bool is_unknown = write->index == 0 || write->code == ANSWER_TIMEOUT;
		uint8_t what = is_unknown                 ? ID_UNKNOWN
			       : write->code == ANSWER_OK ? ID_STORED
							  : ID_ABSENT;

		if (write->index != 0 && (batch == NULL || !batch->is_decided))
			sim_violation(sim, "acknowledged write %" PRIu64 " is lost", i);
		for (unsigned j = 0; write->proposed && j < write->append->event_count; j++) {
			uint64_t id = write->append->events[j].id;

			if (what > told[id])
				told[id] = what;
			if (what == ID_STORED &&
			    sim_model_id(&sim->model, id) != write->first_position + j)
				sim_violation(sim, "acknowledged write %" PRIu64 " is elsewhere",
					      i);
		}
	}
	for (uint64_t id = 1; id < count; id++)
		if (told[id] == ID_ABSENT && sim_model_id(&sim->model, id) != 0)
			sim_violation(sim, "id %" PRIu64 " is stored, and was only refused", id);
	memory_free(told);
}
