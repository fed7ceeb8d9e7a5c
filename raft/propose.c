#include "raft/propose.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/memory.h"
#include "raft/payload.h"

#include <raft.h>

static_assert(LIMIT_APPEND_BYTES + COMMAND_HEADER_BYTES + PAYLOAD_HEADER_BYTES <
		      LIMIT_ENTRY_BYTES_MAX,
	      "the largest append makes an entry");

void proposals_init(struct proposals *proposals)
{
	*proposals = (struct proposals){.last = &proposals->first};
}

static void proposals_put(struct proposals *proposals, struct proposal *proposal)
{
	proposal->next = NULL;
	*proposals->last = proposal;
	proposals->last = &proposal->next;
	proposals->count++;
}

struct proposal *proposals_take(struct proposals *proposals)
{
	struct proposal *proposal = proposals->first;

	if (proposal == NULL)
		return NULL;
	proposals->first = proposal->next;
	proposals->count--;
	if (proposals->first == NULL)
		proposals->last = &proposals->first;
	return proposal;
}

static void proposals_move(struct proposals *into, struct proposals *from)
{
	struct proposal *proposal;

	while ((proposal = proposals_take(from)) != NULL)
		proposals_put(into, proposal);
}

void propose_init(struct propose *propose, const struct propose_options *options)
{
	*propose = (struct propose){.options = *options};
	proposals_init(&propose->queue);
	proposals_init(&propose->unknown);
	proposals_init(&propose->refused);
	propose->in_flight_last = &propose->in_flight;
	pack_init(&propose->pack);
	buffer_init(&propose->gathered);
}

void propose_close(struct propose *propose)
{
	pack_close(&propose->pack);
	buffer_close(&propose->gathered);
}

void propose_add(struct propose *propose, struct proposal *proposal)
{
	ASSERT(proposal->item.size > 0 && proposal->item.size <= LIMIT_ENTRY_BYTES_MAX);
	proposals_put(&propose->queue, proposal);
	propose->queue_bytes += proposal->item.size;
}

bool propose_is_idle(const struct propose *propose)
{
	return propose->queue.first == NULL && propose->in_flight == NULL &&
	       propose->unsettled == 0;
}

/* How many proposals from the front of the queue make one entry: at least one. */
static uint32_t count_fitting(const struct propose *propose, size_t *body_bytes)
{
	const struct proposal *proposal = propose->queue.first;
	size_t bytes = COMMAND_HEADER_BYTES + proposal->item.size;
	uint32_t count = 1;

	for (proposal = proposal->next; proposal != NULL; proposal = proposal->next) {
		if (bytes + proposal->item.size > LIMIT_ENTRY_BYTES)
			break;
		bytes += proposal->item.size;
		count++;
	}
	*body_bytes = bytes;
	return count;
}

static void gather(const struct propose *propose, uint32_t count, uint8_t *at)
{
	const struct proposal *proposal = propose->queue.first;

	command_header_write(at, COMMAND_BATCH, count, clock_realtime_ns());
	at += COMMAND_HEADER_BYTES;
	for (uint32_t i = 0; i < count; i++, proposal = proposal->next) {
		memcpy(at, proposal->item.data, proposal->item.size);
		at += proposal->item.size;
	}
}

static uint8_t *new_payload(size_t body_bytes)
{
	uint8_t *payload = raft_malloc(payload_bytes(body_bytes));

	ASSERT(payload != NULL);
	return payload;
}

/* The payload gets smaller with its body. */
static uint8_t *build_packed(struct propose *propose, uint32_t count, size_t *body_bytes)
{
	buffer_clear(&propose->gathered);
	struct span batch = span_of(buffer_reserve(&propose->gathered, *body_bytes), *body_bytes);
	uint8_t *payload = new_payload(*body_bytes);

	gather(propose, count, propose->gathered.data);
	size_t packed = pack_batch(&propose->pack, batch, payload + PAYLOAD_HEADER_BYTES);

	if (packed == 0) {
		memcpy(payload + PAYLOAD_HEADER_BYTES, batch.data, batch.size);
		return payload;
	}
	*body_bytes = packed;
	return raft_realloc(payload, payload_bytes(packed));
}

static uint8_t *build_payload(struct propose *propose, uint32_t count, size_t *body_bytes)
{
	if (propose->options.pack && pack_wants(&propose->pack, *body_bytes))
		return build_packed(propose, count, body_bytes);
	uint8_t *payload = new_payload(*body_bytes);

	gather(propose, count, payload + PAYLOAD_HEADER_BYTES);
	return payload;
}

static void batch_take_from_queue(struct propose *propose, struct batch *batch, uint32_t count)
{
	proposals_init(&batch->proposals);
	for (uint32_t i = 0; i < count; i++) {
		struct proposal *proposal = proposals_take(&propose->queue);

		propose->queue_bytes -= proposal->item.size;
		proposals_put(&batch->proposals, proposal);
	}
	batch->undecided = batch->proposals.first;
}

static bool flush_one(struct propose *propose, uint32_t count, size_t body_bytes)
{
	struct batch *batch = memory_zeroed(1, sizeof *batch);
	uint8_t *payload = build_payload(propose, count, &body_bytes);

	if (propose->options.submit(propose->options.arg, batch, payload, body_bytes) != 0) {
		raft_free(payload);
		memory_free(batch->request);
		memory_free(batch);
		return false;
	}
	ASSERT(batch->index > 0);
	batch_take_from_queue(propose, batch, count);
	*propose->in_flight_last = batch;
	propose->in_flight_last = &batch->next;
	propose->unsettled++;
	return true;
}

void propose_flush(struct propose *propose)
{
	while (propose->queue.first != NULL && propose->unsettled < LIMIT_ENTRIES_IN_FLIGHT) {
		size_t body_bytes;
		uint32_t count = count_fitting(propose, &body_bytes);
		bool full = count < propose->queue.count || body_bytes >= LIMIT_ENTRY_BYTES;

		if (propose->unsettled >= PROPOSE_EAGER && !full)
			break;
		if (!flush_one(propose, count, body_bytes))
			break;
	}
}

static void in_flight_remove(struct propose *propose, struct batch *batch)
{
	struct batch **at = &propose->in_flight;

	while (*at != batch)
		at = &(*at)->next;
	*at = batch->next;
	if (propose->in_flight_last == &batch->next)
		propose->in_flight_last = at;
	batch->next = NULL;
}

static void batch_free(struct batch *batch)
{
	ASSERT(batch->proposals.first == NULL && batch->settled);
	memory_free(batch->request);
	memory_free(batch);
}

struct batch *propose_take_applying(struct propose *propose, uint64_t index)
{
	struct batch *batch = propose->in_flight;

	while (batch != NULL && batch->index != index)
		batch = batch->next;
	if (batch == NULL)
		return NULL;
	in_flight_remove(propose, batch);
	batch->applying = true;
	return batch;
}

/* Items are decided in order, and so are the proposals. */
static void on_decided(void *arg, uint32_t item, const struct outcome *outcome)
{
	struct batch *batch = arg;
	struct proposal *proposal = batch->undecided;

	(void)item;
	ASSERT(proposal != NULL);
	batch->undecided = proposal->next;
	proposal->decided(proposal, outcome);
}

struct apply_sink propose_sink(struct batch *batch)
{
	return (struct apply_sink){.decided = on_decided, .arg = batch};
}

static void batch_give_up(struct propose *propose, struct batch *batch)
{
	in_flight_remove(propose, batch);
	proposals_move(&propose->unknown, &batch->proposals);
	batch_free(batch);
}

void propose_settled(struct propose *propose, struct batch *batch, bool lost)
{
	ASSERT(!batch->settled && propose->unsettled > 0);
	batch->settled = true;
	propose->unsettled--;
	/* A batch that is applying is told of when it comes back. */
	if (lost && !batch->applying)
		batch_give_up(propose, batch);
}

void propose_applied(struct batch *batch, enum proposal_result result)
{
	struct proposal *proposal;

	ASSERT(batch->applying);
	ASSERT(result != PROPOSAL_DECIDED || batch->undecided == NULL);
	while ((proposal = proposals_take(&batch->proposals)) != NULL)
		proposal->done(proposal, result);
	batch_free(batch);
}

void propose_drop(struct propose *propose)
{
	struct batch *next;

	propose->queue_bytes = 0;
	proposals_move(&propose->refused, &propose->queue);
	for (struct batch *batch = propose->in_flight; batch != NULL; batch = next) {
		next = batch->next;
		if (batch->settled)
			batch_give_up(propose, batch);
	}
}

static void tell(struct proposals *proposals, enum proposal_result result)
{
	struct proposals told;
	struct proposal *proposal;

	/* done() may add new proposals: they are not touched by this. */
	proposals_init(&told);
	proposals_move(&told, proposals);
	while ((proposal = proposals_take(&told)) != NULL)
		proposal->done(proposal, result);
}

void propose_tell(struct propose *propose)
{
	tell(&propose->unknown, PROPOSAL_UNKNOWN);
	tell(&propose->refused, PROPOSAL_NOT_PROPOSED);
}
