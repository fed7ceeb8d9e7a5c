/* A disk that refuses, memory that ends, a log that is not what it was: the node ends once, and says why. */
#include "tests/unit/raft/lone_peers.h"

static struct lone lone;

/* A node that ends leaves behind what libraft has on its way: it is never told of an end. */
int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
	return 1;
}

static void start(unsigned members)
{
	lone_init(&lone, members);
	lone_start(&lone);
}

/* A follower of 2 in term 2, with entries at indexes 2 to 4 that nobody has agreed upon. */
static void follow_with_entries(void)
{
	struct raft_entry entries[3];

	start(3);
	for (unsigned i = 0; i < COUNT_OF(entries); i++)
		entries[i] = lone_entry(2 + i, 2, 8);
	lone_append(&lone, 2, 2, 1, 1, 1, COUNT_OF(entries), entries);
	lone_settle(&lone);
	assert_int_equal(lone_raft(&lone)->last_stored, 4);
	assert_int_equal(lone_sent(&lone, RAFT_IO_APPEND_ENTRIES_RESULT).last, 4);
}

/* Of another leader, in a term later: libraft truncates at index 3. */
static void append_what_conflicts(void)
{
	struct raft_entry entry = lone_entry(3, 3, 8);

	lone_append(&lone, 3, 3, 2, 2, 1, 1, &entry);
}

/* Once; and whatever happens from then on, nobody hears of it. */
static void expect_end(const char *what, const char *said)
{
	struct raft_message heartbeat = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};
	struct raft_io *io = guard_io(lone.instance.guard);
	unsigned sent = lone.message_count, saves = lone.saves;
	struct raft_entry entry = lone_entry(9, 9, 8);

	if (lone.failures != 1 || strstr(lone.error.message, said) == NULL)
		fail_msg("%s: %u failures, '%s'", what, lone.failures, lone.error.message);
	lone_tick(&lone, LONE_ELECTION_MS * 3);
	lone_append(&lone, 3, 9, 8, 9, 1, 1, &entry);
	lone_install(&lone, 3, 9, 9, 9);
	lone_ask_vote(&lone, 3, 10, false, false);
	assert_int_equal(guard_send(io, NULL, &heartbeat, NULL), RAFT_NOCONNECTION);
	heartbeat.type = RAFT_IO_TIMEOUT_NOW;
	assert_int_equal(guard_send(io, NULL, &heartbeat, NULL), 0);
	assert_int_equal(guard_truncate(io, 2), 0);
	assert_int_equal(guard_set_term(io, 20), 0);
	assert_int_equal(guard_set_vote(io, 3), 0);
	assert_int_equal(guard_peer_gone(lone.instance.guard, 2), -1);
	assert_int_equal(guard_campaign(lone.instance.guard), -1);
	assert_false(guard_snapshot_allowed(lone.instance.guard));
	assert_false(guard_is_quiet(lone.instance.guard));
	lone_settle(&lone);
	assert_int_equal(lone.failures, 1);
	assert_int_equal(lone.message_count, sent);
	assert_int_equal(lone.saves, saves);
	lone_close(&lone);
}

enum provocation { HIGHER_TERM, VOTE_WANTED, CONFLICT, INSTALL };

static void provoke(enum provocation provocation)
{
	switch (provocation) {
	case HIGHER_TERM:
		lone_follow(&lone, 3, 3);
		break;
	case VOTE_WANTED:
		lone_ask_vote(&lone, 3, 2, false, true);
		break;
	case CONFLICT:
		append_what_conflicts();
		break;
	case INSTALL:
		lone_install(&lone, 2, 2, 9, 9);
	}
}

static void a_disk_that_refuses_ends_the_node(void **state)
{
	static const struct {
		const char *what;
		enum provocation provocation;
		struct lone_answers answers;
		bool save_fails;
		const char *said;
	} cases[] = {
		{"term", HIGHER_TERM, {.set_term = RAFT_IOERR}, false, "term could not be written"},
		{"vote", VOTE_WANTED, {.set_vote = RAFT_IOERR}, false, "vote could not be written"},
		{"truncate", CONFLICT, {.truncate = RAFT_IOERR}, false, "could not be truncated"},
		{"append",
		 CONFLICT,
		 {.append = RAFT_IOERR},
		 false,
		 "a write to the raft log failed"},
		{"put", INSTALL, {.put = RAFT_IOERR}, false, "snapshot could not be written"},
		{"record term", HIGHER_TERM, {0}, true, "term and vote could not be recorded"},
		{"record vote", VOTE_WANTED, {0}, true, "term and vote could not be recorded"},
		{"record cut", CONFLICT, {0}, true, "term and vote could not be recorded"},
		{"record install", INSTALL, {0}, true, "term and vote could not be recorded"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		follow_with_entries();
		if (cases[i].provocation == CONFLICT)
			lone_follow(&lone, 3, 3); /* the term is known */
		lone_settle(&lone);
		lone.answers = cases[i].answers;
		lone.save_fails = cases[i].save_fails;
		provoke(cases[i].provocation);
		expect_end(cases[i].what, cases[i].said);
	}
}

/* A record that is refused is not followed by libraft's own. */
static void what_is_not_recorded_is_not_done(void **state)
{
	(void)state;
	follow_with_entries();
	lone.save_fails = true;
	provoke(HIGHER_TERM);
	assert_int_equal(lone.term, 2);
	lone_close(&lone);
	follow_with_entries();
	lone.save_fails = true;
	lone_ask_vote(&lone, 3, 2, false, true);
	assert_int_equal(lone.vote, 0);
	lone_close(&lone);
}

static void a_snapshot_that_cannot_be_put_ends_the_node(void **state)
{
	static struct raft_apply request;

	(void)state;
	follow_with_entries();
	provoke(INSTALL);
	lone_end_put(&lone, RAFT_IOERR);
	assert_int_equal(lone.restores, 1); /* that of the start */
	expect_end("installed", "a raft snapshot could not be written: put: failed");

	start(3);
	lone_lead(&lone);
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	lone_propose(&lone, &request, 8);
	lone_end_write(&lone, 0);
	lone_stored(&lone, 2, raft_last_index(lone_raft(&lone)));
	assert_int_equal(lone.applied_count, 1);
	lone_end_work(&lone);
	assert_int_equal(lone.put_trailing, lone_raft(&lone)->snapshot.trailing);
	lone_end_put(&lone, RAFT_IOERR);
	expect_end("its own", "a raft snapshot could not be written");
}

/* libraft takes it with a silent end of its own. */
static void a_put_that_is_cancelled_is_no_failure(void **state)
{
	(void)state;
	follow_with_entries();
	provoke(INSTALL);
	assert_non_null(lone.put);
	lone_close(&lone);
	assert_int_equal(lone.failures, 0);
}

/* raft_uv remembers one barrier only, and loses the other: the guard keeps such messages away, and should one
 * come through all the same, the node ends. */
static void two_barriers_of_the_disk_end_the_node(void **state)
{
	(void)state;
	follow_with_entries();
	lone_follow(&lone, 3, 3);
	lone_settle(&lone);
	append_what_conflicts();
	assert_int_equal(lone.truncated_at, 3);
	assert_int_equal(guard_truncate(guard_io(lone.instance.guard), 2), 0);
	expect_end("two truncations", "truncated at index 2 while it is truncated already");

	follow_with_entries();
	provoke(INSTALL);
	assert_int_equal(guard_truncate(guard_io(lone.instance.guard), 2), 0);
	expect_end("a truncation during a put", "while a snapshot is being put");
}

/* Two at once cannot be: what was before the first one is known to nobody. */
static void two_changes_cannot_be_taken_back(void **state)
{
	static const int roles[] = {0, RAFT_VOTER, RAFT_VOTER, RAFT_SPARE};
	struct raft_entry entry = lone_entry(2, 3, 8);

	(void)state;
	lone_init(&lone, 3);
	lone.term = 2;
	for (int i = 0; i < 3; i++)
		lone_hold(&lone, lone_change(&lone, 2, 3, roles));
	lone_start(&lone);
	lone_append(&lone, 3, 3, 1, 1, 1, 1, &entry);
	assert_int_equal(lone.failures, 1);
	assert_non_null(strstr(lone.error.message,
			       "the members as of raft index 3 are not known any more"));
	lone_close(&lone);
}

static void *no_malloc(void *data, size_t size)
{
	(void)data, (void)size;
	return NULL;
}

static void *plain_realloc(void *data, void *block, size_t size)
{
	(void)data;
	return realloc(block, size);
}

static void *no_calloc(void *data, size_t count, size_t size)
{
	(void)data, (void)count, (void)size;
	return NULL;
}

static void plain_free(void *data, void *block)
{
	(void)data;
	free(block);
}

/* Of a higher term, and there is no room for what a candidate has to keep. */
static void libraft_that_gives_up_ends_the_node(void **state)
{
	static struct raft_heap empty = {.malloc = no_malloc,
					 .calloc = no_calloc,
					 .realloc = plain_realloc,
					 .free = plain_free};

	(void)state;
	start(3);
	raft_heap_set(&empty);
	for (int i = 0; i < 100 && lone.failures == 0; i++)
		lone_tick(&lone, LONE_TICK_MS);
	raft_heap_set_default();
	assert_int_equal(lone_raft(&lone)->state, RAFT_UNAVAILABLE);
	expect_end("libraft", "libraft has given up: ");
}

/* ---- a start that fails ---- */

/* The snapshot, then entries at 2 and 3 of term 2. */
static void prepare_log(void)
{
	lone_init(&lone, 3);
	lone.term = 2;
	lone.vote = 2;
	lone_hold(&lone, lone_entry(2, 2, 8));
	lone_hold(&lone, lone_entry(3, 2, 8));
}

static void free_log(void)
{
	for (size_t i = 0; lone.entries != NULL && i < lone.entry_count; i++)
		raft_free(lone.entries[i].batch);
	raft_free(lone.entries);
}

static void what_is_found_is_compared_with_what_was_recorded(void **state)
{
	static const struct {
		const char *what;
		struct hardstate loaded;
		uint64_t store_applied;
		unsigned without;
		const char *said;      /* NULL: it starts … */
		struct hardstate hard; /* … with this */
	} cases[] = {
		{"nothing", {0}, 0, 0, NULL, {2, 2, 3, 0}},
		{"the same", {2, 2, 3, 0}, 3, 0, NULL, {0}},
		{"shorter than the log", {2, 2, 2, 0}, 3, 0, NULL, {0}},
		{"a log that was longer",
		 {2, 2, 4, 0},
		 0,
		 0,
		 "but reached 4 on stable storage",
		 {0}},
		{"a store that is ahead", {2, 2, 3, 0}, 4, 0, "the store has applied 4", {0}},
		{"a store that was filled", {2, 2, 3, 4}, 4, 0, NULL, {0}},
		{"filled with less", {2, 2, 3, 3}, 4, 0, "the store has applied 4", {0}},
		{"another vote",
		 {2, 3, 3, 0},
		 0,
		 0,
		 "and vote 2, our record term 2 and vote 3",
		 {0}},
		{"a term before", {1, 0, 3, 0}, 0, 0, "says term 2", {0}},
		{"a vote without record", {2, 0, 3, 0}, 0, 0, "our record term 2 and vote 0", {0}},
		{"a later term with a vote",
		 {3, 1, 3, 0},
		 0,
		 0,
		 "our record term 3 and vote 1",
		 {0}},
		{"no row MEMORY", {9, 9, 9, 0}, 9, GUARD_MEMORY, NULL, {0}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		prepare_log();
		lone.options.loaded = cases[i].loaded;
		lone.options.store_applied_index = cases[i].store_applied;
		lone.options.rows &= ~cases[i].without;
		int status = lone_try_start(&lone);
		const char *said = guard_damage(lone.instance.guard)->message;

		if ((status != 0) != (cases[i].said != NULL))
			fail_msg("%s: %d, %s", cases[i].what, status, said);
		if (status != 0 && (status != RAFT_CORRUPT || strstr(said, cases[i].said) == NULL))
			fail_msg("%s: %s", cases[i].what, said);
		if (cases[i].hard.term != 0)
			assert_memory_equal(&lone.hard, &cases[i].hard, sizeof lone.hard);
		else
			assert_int_equal(lone.saves, 0);
		lone_close(&lone);
	}
}

/* A record that is ahead of libraft's metadata: what it said was to be written, and is. */
static void an_interrupted_save_is_made_good(void **state)
{
	static const struct {
		struct hardstate loaded;
		raft_id vote;
	} cases[] = {
		{{2, 3, 3, 0}, 0}, /* the vote was not written */
		{{3, 0, 3, 0}, 2}, /* nor was the term */
		{{2, 2, 3, 0}, 2}, /* all was */
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		prepare_log();
		lone.vote = cases[i].vote;
		lone.options.loaded = cases[i].loaded;
		lone_start(&lone);
		assert_int_equal(lone_raft(&lone)->current_term, cases[i].loaded.term);
		assert_int_equal(lone_raft(&lone)->voted_for, cases[i].loaded.vote);
		assert_int_equal(lone.term, cases[i].loaded.term);
		if (cases[i].loaded.vote != 0)
			assert_int_equal(lone.vote, cases[i].loaded.vote);
		lone_close(&lone);
	}
}

static void a_start_that_cannot_read_or_write_fails(void **state)
{
	static const struct {
		const char *what;
		struct lone_answers answers;
		struct hardstate loaded;
		bool save_fails;
		int status;
	} cases[] = {
		{"load", {.load = RAFT_IOERR}, {0}, false, RAFT_IOERR},
		{"term", {.set_term = RAFT_IOERR}, {3, 0, 3, 0}, false, RAFT_IOERR},
		{"vote", {.set_vote = RAFT_IOERR}, {2, 3, 3, 0}, false, RAFT_IOERR},
		{"start", {.start = RAFT_IOERR}, {2, 0, 3, 0}, false, RAFT_IOERR},
		{"record", {0}, {0}, true, RAFT_IOERR},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		prepare_log();
		lone.vote = 0;
		lone.answers = cases[i].answers;
		lone.options.loaded = cases[i].loaded;
		lone.save_fails = cases[i].save_fails;
		int status = lone_try_start(&lone);

		if (status != cases[i].status)
			fail_msg("%s: %d", cases[i].what, status);
		if (!cases[i].save_fails)
			assert_non_null(strstr(guard_io(lone.instance.guard)->errmsg, "refused"));
		free_log();
		lone_close(&lone);
	}
}

static void an_entry_that_is_not_what_it_says_is_damage(void **state)
{
	struct raft_entry entry;

	(void)state;
	for (int which = 0; which < 2; which++) {
		prepare_log();
		entry = lone_entry(4, 2, 8);
		if (which == 0)
			((uint8_t *)entry.buf.base)[PAYLOAD_HEADER_BYTES] ^= 1;
		else
			entry.term = 3;
		lone_hold(&lone, entry);
		assert_int_equal(lone_try_start(&lone), RAFT_CORRUPT);
		assert_non_null(strstr(guard_damage(lone.instance.guard)->message,
				       which == 0 ? "damaged at index 4"
						  : "an entry of term 3 has a payload of term 2"));
		lone_close(&lone);
	}
}

static void entries_of_one_batch_are_freed_once(void **state)
{
	uint8_t *batch = raft_malloc(4 * payload_bytes(8));

	(void)state;
	prepare_log();
	for (raft_index index = 4; index < 8; index++) {
		uint8_t *payload = batch + (index - 4) * payload_bytes(8);

		memset(payload, 0, payload_bytes(8));
		payload_seal(payload, 8, index, 2);
		lone_hold(&lone, (struct raft_entry){.term = 2,
						     .type = RAFT_COMMAND,
						     .buf = {payload, payload_bytes(8)},
						     .batch = batch});
	}
	/* A refused log goes whole, too. */
	lone.options.loaded = (struct hardstate){.term = 2, .vote = 2, .synced_index = 7};
	lone.options.store_applied_index = 8;
	assert_int_equal(lone_try_start(&lone), RAFT_CORRUPT);
	lone_close(&lone);
}

/* ---- the state machine ---- */

static void expect_damage(const char *said)
{
	assert_int_equal(lone.failures, 1);
	if (strstr(lone.error.message, said) == NULL)
		fail_msg("%s", lone.error.message);
}

/* What a leader of this term sent and committed, and what was received before. */
static void a_damaged_command_ends_the_node(void **state)
{
	static const struct {
		raft_index index;
		raft_term term;
		const char *said;
	} cases[] = {
		{2, 9, "index 2 is of term 9, this node in term 2"},
		{7, 2, "a committed command is damaged"},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct raft_entry entries[2] = {lone_entry(cases[i].index, cases[i].term, 8),
						lone_entry(3, 2, 8)};

		start(3);
		entries[0].term = 2;
		lone_append(&lone, 2, 2, 1, 1, 1, 2, entries);
		lone_settle(&lone);
		lone_append(&lone, 2, 2, 3, 2, 3, 0, NULL);
		expect_damage(cases[i].said);
		assert_int_equal(lone.applied_count, 0);
		lone_close(&lone);
	}
}

static void a_damaged_manifest_ends_the_node(void **state)
{
	(void)state;
	start(3);
	struct raft_buffer manifest = lone_manifest(5);

	((uint8_t *)manifest.base)[30] ^= 1;
	struct raft_fsm *fsm = fsm_raft(lone.instance.fsm);

	assert_int_equal(fsm->restore(fsm, &manifest), 0);
	expect_damage("the manifest in a raft snapshot is damaged");
	/* Nothing goes on: neither another manifest nor a snapshot of its own. */
	manifest = lone_manifest(6);
	assert_int_equal(fsm->restore(fsm, &manifest), 0);
	assert_int_equal(lone.restores, 1);
	struct raft_buffer *buffers = NULL;
	unsigned count = 0;

	assert_int_equal(fsm->snapshot(fsm, &buffers, &count), RAFT_BUSY);
	assert_null(buffers);
	lone_close(&lone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_disk_that_refuses_ends_the_node),
		cmocka_unit_test(what_is_not_recorded_is_not_done),
		cmocka_unit_test(a_snapshot_that_cannot_be_put_ends_the_node),
		cmocka_unit_test(a_put_that_is_cancelled_is_no_failure),
		cmocka_unit_test(two_barriers_of_the_disk_end_the_node),
		cmocka_unit_test(two_changes_cannot_be_taken_back),
		cmocka_unit_test(libraft_that_gives_up_ends_the_node),
		cmocka_unit_test(what_is_found_is_compared_with_what_was_recorded),
		cmocka_unit_test(an_interrupted_save_is_made_good),
		cmocka_unit_test(a_start_that_cannot_read_or_write_fails),
		cmocka_unit_test(an_entry_that_is_not_what_it_says_is_damage),
		cmocka_unit_test(entries_of_one_batch_are_freed_once),
		cmocka_unit_test(a_damaged_command_ends_the_node),
		cmocka_unit_test(a_damaged_manifest_ends_the_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
