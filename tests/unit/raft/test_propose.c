/* Group commit against a pretended log: what goes together, in which order, and what becomes of it. */
#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/limits.h"
#include "raft/payload.h"
#include "raft/propose.h"

#include "raft/wire.h"

#define PROPOSALS 64

struct request {
	struct proposal proposal;
	uint8_t *item;
	uint32_t decided, told;
	enum proposal_result result;
};

struct log {
	struct propose propose;
	struct request requests[PROPOSALS];
	bool refuses;
	uint64_t index;
	struct batch *batches[PROPOSALS]; /* by index - 1 */
	uint32_t item_count[PROPOSALS];
	size_t item_bytes[PROPOSALS];
	uint8_t *payloads[PROPOSALS];
	uint32_t decisions; /* in order over all */
	uint32_t order[PROPOSALS];
};

static struct log log_;

static int submit(void *arg, struct batch *batch, uint8_t *payload, size_t body_bytes)
{
	struct log *log = arg;
	const uint8_t *body = payload + PAYLOAD_HEADER_BYTES;

	if (log->refuses)
		return -1;
	batch->index = ++log->index;
	log->batches[batch->index - 1] = batch;
	log->payloads[batch->index - 1] = payload;
	assert_int_equal(body[0], log->propose.options.pack ? COMMAND_PACKED : COMMAND_BATCH);
	log->item_count[batch->index - 1] = bytes_le32(body + 4);
	log->item_bytes[batch->index - 1] = body_bytes - COMMAND_HEADER_BYTES;
	return 0;
}

static void on_decided(struct proposal *proposal, const struct outcome *outcome)
{
	struct request *request = (struct request *)proposal;

	(void)outcome;
	request->decided++;
	log_.order[log_.decisions++] = (uint32_t)(request - log_.requests);
}

static void on_done(struct proposal *proposal, enum proposal_result result)
{
	struct request *request = (struct request *)proposal;

	request->told++;
	request->result = result;
}

static void add(uint32_t number, size_t bytes)
{
	struct request *request = &log_.requests[number];

	request->item = memory_zeroed(1, bytes);
	request->item[0] = (uint8_t)(bytes - 4);
	request->item[1] = (uint8_t)((bytes - 4) >> 8);
	request->item[2] = (uint8_t)((bytes - 4) >> 16);
	request->proposal.item = span_of(request->item, bytes);
	request->proposal.decided = on_decided;
	request->proposal.done = on_done;
	propose_add(&log_.propose, &request->proposal);
}

static int setup(void **state)
{
	struct propose_options options = {.arg = &log_, .submit = submit};

	(void)state;
	memset(&log_, 0, sizeof log_);
	propose_init(&log_.propose, &options);
	return 0;
}

static int setup_packing(void **state)
{
	setup(state);
	log_.propose.options.pack = true;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	propose_close(&log_.propose);
	for (uint32_t i = 0; i < PROPOSALS; i++) {
		memory_free(log_.requests[i].item);
		raft_free(log_.payloads[i]);
	}
	return 0;
}

/* As libraft and the apply thread do it: committed, decided, told. */
static void commit(uint64_t index)
{
	static const struct outcome outcome = {.code = ANSWER_OK};
	struct batch *batch = propose_take_applying(&log_.propose, index);

	assert_ptr_equal(batch, log_.batches[index - 1]);
	struct apply_sink sink = propose_sink(batch);

	propose_settled(&log_.propose, batch, false);
	for (uint32_t i = 0; i < log_.item_count[index - 1]; i++)
		sink.decided(sink.arg, i, &outcome);
	propose_applied(batch, PROPOSAL_DECIDED);
}

static void one_turn_makes_one_entry(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		add(i, 100);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, 1);
	assert_int_equal(log_.item_count[0], 10);
	assert_int_equal(log_.item_bytes[0], 1000);
	assert_int_equal(log_.propose.queue_bytes, 0);
	commit(1);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(log_.requests[i].decided, 1);
		assert_int_equal(log_.requests[i].told, 1);
		assert_int_equal(log_.requests[i].result, PROPOSAL_DECIDED);
		assert_int_equal(log_.order[i], i);
	}
	assert_true(propose_is_idle(&log_.propose));
}

/* The entry is smaller than its items, and what is in it is what was added. */
static void an_entry_is_packed_when_that_makes_it_smaller(void **state)
{
	struct span body;
	struct error error;
	uint8_t *batch;
	size_t size;

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		add(i, 1000);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, 1);
	assert_int_equal(log_.item_count[0], 10);
	assert_true(log_.item_bytes[0] < 2000);
	body = span_of(log_.payloads[0] + PAYLOAD_HEADER_BYTES,
		       COMMAND_HEADER_BYTES + log_.item_bytes[0]);
	assert_int_equal(pack_open(body, &batch, &size, &error), 0);
	assert_int_equal(size, COMMAND_HEADER_BYTES + 10 * 1000);
	for (uint32_t i = 0; i < 10; i++)
		assert_memory_equal(batch + COMMAND_HEADER_BYTES + i * 1000, log_.requests[i].item,
				    1000);
	memory_free(batch);
	commit(1);
	assert_true(propose_is_idle(&log_.propose));
}

static void beyond_the_eager_ones_only_full_entries_go(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < PROPOSE_EAGER; i++) {
		add(i, 100);
		propose_flush(&log_.propose);
	}
	assert_int_equal(log_.index, PROPOSE_EAGER);
	add(10, 100);
	add(11, 100);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, PROPOSE_EAGER);
	/* Two that do not fit together: the first three are full then. */
	add(12, LIMIT_ENTRY_BYTES - 300);
	add(13, 1000);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, PROPOSE_EAGER + 1);
	assert_int_equal(log_.item_count[PROPOSE_EAGER], 3);
	commit(1);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, PROPOSE_EAGER + 1);
	commit(2);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, PROPOSE_EAGER + 2);
	commit(3);
	commit(4);
	assert_true(propose_is_idle(&log_.propose));
}

static void an_append_above_the_entry_size_goes_by_itself(void **state)
{
	(void)state;
	add(0, 100);
	add(1, 4 * LIMIT_ENTRY_BYTES);
	add(2, 100);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, 2);
	commit(1);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(log_.item_count[i], 1);
	commit(2);
	commit(3);
}

static void never_more_in_flight_than_allowed(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 20; i++)
		add(i, LIMIT_ENTRY_BYTES);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, LIMIT_ENTRIES_IN_FLIGHT);
	for (uint64_t index = 1; index <= 20; index++) {
		commit(index);
		propose_flush(&log_.propose);
	}
	assert_int_equal(log_.decisions, 20);
	for (uint32_t i = 0; i < 20; i++)
		assert_int_equal(log_.order[i], i);
	assert_true(propose_is_idle(&log_.propose));
}

static void what_is_refused_stays_in_the_queue(void **state)
{
	(void)state;
	log_.refuses = true;
	add(0, 100);
	propose_flush(&log_.propose);
	assert_false(propose_is_idle(&log_.propose));
	log_.refuses = false;
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, 1);
	commit(1);
}

static void lost_leadership_is_told_as_what_it_is(void **state)
{
	(void)state;
	add(0, LIMIT_ENTRY_BYTES);
	add(1, LIMIT_ENTRY_BYTES);
	add(2, LIMIT_ENTRY_BYTES);
	propose_flush(&log_.propose);
	assert_int_equal(log_.index, 3);
	add(3, 100);
	/* The first is about to be applied, the second fails, the third was committed and is held. */
	struct batch *first = propose_take_applying(&log_.propose, 1);

	propose_settled(&log_.propose, first, false);
	propose_settled(&log_.propose, log_.batches[1], true);
	propose_settled(&log_.propose, log_.batches[2], false);
	propose_drop(&log_.propose);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(log_.requests[i].told, 0);
	propose_tell(&log_.propose);
	assert_int_equal(log_.requests[0].told, 0);
	assert_int_equal(log_.requests[1].result, PROPOSAL_UNKNOWN);
	assert_int_equal(log_.requests[2].result, PROPOSAL_UNKNOWN);
	assert_int_equal(log_.requests[3].result, PROPOSAL_NOT_PROPOSED);
	/* Its index may come again with another leader's command: that is nobody's here. */
	assert_null(propose_take_applying(&log_.propose, 2));
	assert_null(propose_take_applying(&log_.propose, 3));

	struct apply_sink sink = propose_sink(first);
	static const struct outcome outcome = {.code = ANSWER_OK};

	sink.decided(sink.arg, 0, &outcome);
	propose_applied(first, PROPOSAL_DECIDED);
	assert_int_equal(log_.requests[0].result, PROPOSAL_DECIDED);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(log_.requests[i].told, 1);
	assert_true(propose_is_idle(&log_.propose));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_turn_makes_one_entry, setup, teardown),
		cmocka_unit_test_setup_teardown(an_entry_is_packed_when_that_makes_it_smaller,
						setup_packing, teardown),
		cmocka_unit_test_setup_teardown(beyond_the_eager_ones_only_full_entries_go, setup,
						teardown),
		cmocka_unit_test_setup_teardown(an_append_above_the_entry_size_goes_by_itself,
						setup, teardown),
		cmocka_unit_test_setup_teardown(never_more_in_flight_than_allowed, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_refused_stays_in_the_queue, setup,
						teardown),
		cmocka_unit_test_setup_teardown(lost_leadership_is_told_as_what_it_is, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
